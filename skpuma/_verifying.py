"""Forgetting under the contract of unlearning systems, and the evidence of it.

The room of evidence is imported where it is used: a patch does not need it.
"""

import pickle

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from skpuma._dask_rows import refuse
from skpuma._meta import criterion_rows, n_rows, require_fitted
from skpuma._patch_request import rows_to_remove
from skpuma.models import adapt
from skpuma.objective import Objective, fingerprint, same_rows
from skpuma.rows import take, take_user
from skpuma.utils._grouping import check_grouping
from skpuma.utils._validation import (
    check_groups,
    check_number,
    check_same_index,
    check_same_order,
    check_whole,
)


class Verifying:
    """What `PumaPatcher` shares with unlearning systems, and evidence of its work."""

    @property
    def forgotten_(self):
        """Rows of the fit that have lost all of their weight (n,)."""
        require_fitted(self, "_fit_weight")
        return (self.row_weight_ == 0) & (self._fit_weight > 0)

    @property
    def storage_(self):
        """Bytes kept to undo patches, as they are pickled; 0 if there are none."""
        require_fitted(self, "_undo")
        return len(pickle.dumps(self._undo)) if self._undo else 0

    def forget(self, X, y, rows, *, groups=None):
        """Remove rows, or groups: `patch` under the contract of `skpuma.unlearning`.

        Parameters
        ----------
        X, y : the rows of the fit
            No rows are kept in the object, so they are asked for again. Rows that were
            removed before keep their place, but may hold anything: they are not looked
            at.
        rows : bool mask, positions, or labels of X's index
            Rows to remove, as in `patch`. Rows that were removed before are passed
            over; if there are no others, nothing changes but ``cost_``, which is 0.
        groups : array-like (n,), optional
            A label per row, as in `patch`.

        Returns
        -------
        self

        Raises
        ------
        ValueError, IndexError, KeyError, TypeError
            For rows that are not those of the fit, or if nothing would be left to learn
            from. The model is then unchanged.

        Warns
        -----
        DeltaReachedWarning
            If a criterion reached its delta before the rows were removed. They then
            keep part of their weight (``row_weight_``): call `forget` with a larger
            delta for the rest.
        """
        refuse(
            X, "forget takes rows in memory (patch with reweight=False does not), not"
        )
        if not hasattr(self, "estimator_"):
            return self.patch(X, y, remove=rows, groups=groups)
        check_same_order(y, X)
        n = n_rows(y)
        mask = rows_to_remove(rows, check_grouping(groups, n, X), n, X, "rows")
        if n == len(self.row_weight_):
            gone = self.forgotten_
            X, y = _without(X, y, gone)
            mask = mask & ~gone
        if not mask.any():
            self._now(X, y)
            self.cost_ = 0.0
            return self
        if n == len(self.row_weight_):
            self._keep_classes(y, mask, self.row_weight_ > 0)
        return self.patch(X, y, remove=mask, groups=groups)

    def _keep_classes(self, y, mask, used):
        """Refuse to take the last rows of a class out of a convex model.

        Raises
        ------
        ValueError
        """
        from skpuma.evidence import _outputs

        labels = _outputs.labels_of(y)
        if not is_classifier(self.estimator_) or labels.ndim != 1:
            return
        if len(self.classes_) == 2:
            return  # a patch refuses that by itself
        lost = set(labels[mask & used].tolist()) - set(labels[~mask & used].tolist())
        if lost and adapt(self.estimator_).convex:
            raise ValueError(
                f"Classes {sorted(lost)} would lose their last rows. The intercept of "
                "a class without rows has no finite optimum, so that a patch cannot "
                "take them out altogether: keep a row of each class, or train again "
                "(skpuma.unlearning.Retrainer)."
            )

    def verify(
        self,
        X,
        y,
        *,
        X_test=None,
        y_test=None,
        rows=None,
        groups=None,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
        sensitive_features=None,
        sensitive_features_val=None,
        retrain="auto",
        attack="auto",
        n_shadows=16,
        n_bootstrap=200,
        level=0.95,
        time=None,
        n_jobs=None,
        random_state=None,
    ):
        """Evidence of what the patches since the fit did, and how well rows are gone.

        The patcher is not changed. The model before is that of the fit; after
        `finalize` it is not known any more, and the record says so.

        Parameters
        ----------
        X, y : the rows of the fit
            All of them as they were, those that were removed included.
        X_test, y_test : optional
            Rows that no model was trained on: they measure scores, and an attack is
            whether it can tell the removed rows from them.
        rows : bool mask, positions, or labels of X's index, optional
            Rows that are asked about. Default: those that have lost all of their
            weight.
        groups : array-like (n,), optional
            A label per row: `rows` then names groups, as in `patch`.
        X_val, y_val, sample_weight_val : optional
            Rows that measure the criteria; default those that are left of X.
        sensitive_features, sensitive_features_val : array-like, optional
            Groups of the rows of X and X_val.
        retrain : "auto" or bool, default "auto"
            Whether to train a model without the rows, the yardstick of the others, with
            the parameters, weights and preprocessing of the fit. Convex models are
            solved tightly; others are trained from scratch, twice, and the distance of
            the two is the noise floor. "auto" where that takes no more than about a
            minute: up to 1e10 rows times squared parameters for convex models, 1e8 rows
            times parameters for others.
        attack : {"auto", "loss", "shadow", "lira"} or None, default "auto"
            Method of `skpuma.evidence.membership_inference`. "auto" is "loss" with
            X_test, and no attack without.
        n_shadows : int, default 16
            Shadow models of "shadow" and "lira", each a fit.
        n_bootstrap : int, default 200
            Resamples of the intervals.
        level : float in (0, 1), default 0.95
            Coverage of the intervals.
        time : datetime, optional
            When this is done, in UTC unless it has a time zone; default now.
        n_jobs : int, default None
            Of the shadow models.
        random_state : int, RandomState or None, default None

        Returns
        -------
        RemovalEvidence
            A record with ``to_frame()``, an HTML view and ``save(path)``.

        Raises
        ------
        ValueError, TypeError, IndexError, KeyError
            For rows that are not those of the fit, if nothing was patched, or if rows
            that are asked about were not removed.

        Notes
        -----
        A criterion's delta is summed up over the patches, each of which promises its
        own; ``kept`` is whether each of them kept it when it was made, on the rows that
        measured it then. The attack is on the model as it is: that the patcher can
        bring the model before back, until `finalize`, is another matter.

        Examples
        --------
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.preprocessing import scale
        >>> from skpuma import PumaPatcher
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> X = scale(X)
        >>> X, X_test, y, y_test = X[:400], X[400:], y[:400], y[400:]
        >>> patcher = PumaPatcher(LogisticRegression(), delta=0.02, reweight=False)
        >>> patcher = patcher.fit(X, y).forget(X, y, range(20))
        >>> evidence = patcher.verify(
        ...     X, y, X_test=X_test, y_test=y_test, random_state=0
        ... )
        >>> evidence.kept
        True
        >>> gap = evidence.to_frame().loc[("attack", "auc"), "gap"]
        >>> bool(abs(gap) < 0.01)
        True
        """
        from skpuma.evidence import _outputs, _record
        from skpuma.evidence._removal import Removal, evidence_of

        require_fitted(self, "estimator_")
        if not self._moved():
            raise ValueError("Nothing was patched: there is nothing to verify.")
        if not (isinstance(retrain, (bool, np.bool_)) or retrain == "auto"):
            raise ValueError(f"retrain={retrain!r} is not 'auto', True or False.")
        time = _record.utc(time)
        check_whole(n_bootstrap, "n_bootstrap", low=1)
        if not 0.0 < check_number(level, "level") < 1.0:
            raise ValueError(f"level={level!r} is not between 0 and 1, exclusive.")
        test = self._test_rows(X_test, y_test)
        attack = self._attack_settings(attack, test, n_shadows, n_jobs)
        objective = self._of_fit(X, y)
        labels = _outputs.labels_of(y)
        _outputs.refuse_multilabel(self.estimator_, labels)
        if test is not None and is_classifier(self.estimator_):
            _outputs.refuse_unknown_labels([self.estimator_], test[1], "y_test")
        gone, asked = self._gone(X, rows, groups)
        val = (X_val, y_val, sample_weight_val, sensitive_features_val)
        measured, measured_on = _measured(
            objective, gone, self._fit_weight, X, val, sensitive_features
        )
        settings = {
            **{name: _record.as_text(v) for name, v in self.get_params(False).items()},
            "retrain": retrain,
            "attack": None if attack is None else attack.method,
            "n_shadows": None if attack is None else attack.n_shadows,
            "measured_on": measured_on,
            "n_test": 0 if test is None else len(test[1]),
            "n_bootstrap": n_bootstrap,
            "level": level,
        }
        removal = Removal(
            before=None if self._finalized else self._undo[0].estimator,
            after=self.estimator_,
            objective=objective,
            X=X,
            y=labels,
            gone=gone,
            asked=asked,
            fit_weight=self._fit_weight,
            row_weight=self.row_weight_,
            criterion=self.criterion,
            measured=measured,
            test=test,
            reports=self._reports(),
            settings=settings,
        )
        bootstrap = (check_random_state(random_state), n_bootstrap, level)
        return evidence_of(removal, retrain, attack, bootstrap, time)

    # -- what it asks for --------------------------------------------------------------

    def _reports(self):
        """Reports of the patches since the fit, as far as they are known."""
        found = [undo.attributes.get("report_") for undo in self._undo]
        found.append(getattr(self, "report_", None))
        return [report for report in found if report is not None]

    def _of_fit(self, X, y):
        """The objective of the fit; refuses rows other than all of those of the fit."""
        objective = self._now(X, y)[1]
        given = objective.X, objective.y
        if not same_rows(self._fingerprint, fingerprint(*given)):
            raise ValueError(
                "The removed rows are not those of the fit: to verify that they are "
                "forgotten, pass them once more as they were."
            )
        return Objective.at_fit(objective.model, *given, self._fit_weight, self._record)

    def _gone(self, X, rows, groups):
        """Masks (n,) of the rows to train without, and of those asked about."""
        removed, n = self.forgotten_, len(self.row_weight_)
        grouping = check_grouping(groups, n, X)
        if rows is None:
            if grouping is not None:
                raise ValueError("groups says what rows= names: pass rows= too.")
            asked = removed
        else:
            asked = rows_to_remove(rows, grouping, n, X) & (self._fit_weight > 0)
        untouched = int((asked & (self.row_weight_ >= self._fit_weight)).sum())
        if untouched:
            raise ValueError(
                f"{untouched} of the rows asked about still have all of their weight: "
                "ask about rows that were removed."
            )
        if not asked.any():
            raise ValueError(
                "No row has lost all of its weight, or rows names none: name the rows "
                "that were removed in part by rows=."
            )
        return removed | asked, asked

    def _test_rows(self, X_test, y_test):
        """(X, y), or None."""
        from skpuma.evidence import _outputs

        if (X_test is None) != (y_test is None):
            missing = "X_test" if X_test is None else "y_test"
            raise ValueError(f"X_test and y_test go together: {missing} is missing.")
        if X_test is None:
            return None
        check_same_order(y_test, X_test, "y_test")
        y_test = _outputs.labels_of(y_test)
        check_consistent_length(X_test, y_test)
        if not len(y_test):
            raise ValueError("X_test has no rows: leave it out, or pass some.")
        return X_test, y_test

    def _attack_settings(self, attack, test, n_shadows, n_jobs):
        """`Settings` of the attack, or None for no attack."""
        from skpuma.evidence._attacks import check_settings
        from skpuma.evidence._methods import METHODS, Settings

        if attack is None or (attack == "auto" and test is None):
            return None
        if attack != "auto" and attack not in METHODS:
            raise ValueError(
                f"attack={attack!r} is not 'auto', None or one of {sorted(METHODS)}."
            )
        if test is None:
            raise ValueError(
                f"attack={attack!r} tells removed rows from rows that no model has "
                "seen: pass X_test= and y_test=."
            )
        # A search would be run again for every shadow model.
        shadow = getattr(self.estimator_, "best_estimator_", self.estimator_)
        settings = Settings(
            method="loss" if attack == "auto" else attack,
            shadow_estimator=shadow,
            n_shadows=n_shadows,
            n_jobs=n_jobs,
            verbose=self.verbose,
        )
        check_settings(settings, shadow)
        return settings


def _without(X, y, gone):
    """The rows with another one in the place of those that are gone."""
    if not gone.any():
        return X, y
    index = np.where(gone, np.argmin(gone), np.arange(len(gone)))
    table = take_user(X, index)
    if hasattr(table, "set_axis"):
        table = table.set_axis(X.index)
    return table, np.asarray(y)[index]


def _measured(objective, gone, weight, X, val, sensitive):
    """Prepared rows that measure the criteria, all with a weight, and their name."""
    if any(part is not None for part in val):
        if sensitive is not None:
            raise ValueError(
                "sensitive_features are of the rows of X, which do not measure the "
                "criteria where X_val is given: pass sensitive_features_val=."
            )
        measured = criterion_rows(objective.model, *val)
        unit = "validation rows"
    else:
        check_same_index(sensitive, X, "sensitive_features")
        groups = check_groups(sensitive, len(gone))
        weight = np.where(gone, 0.0, weight)
        measured = (objective.X, objective.y, weight, groups)
        unit = "training rows that are left"
    used = measured[2] > 0
    X, y, weight, groups = measured
    groups = None if groups is None else groups[used]
    measured = (take(X, used), y[used], weight[used], groups)
    return measured, f"{np.count_nonzero(used)} {unit}"
