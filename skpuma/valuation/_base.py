"""What all valuation systems share: one contract, checks, folds and the frame."""

from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.utils import check_array, check_random_state, get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, validate_data

from skpuma import rows
from skpuma.refit import LARGEST_SEED, base_of
from skpuma.utils._grouping import check_grouping
from skpuma.utils._progress import Interruptible
from skpuma.utils._validation import (
    check_jobs,
    check_same_order,
    check_whole,
    index_of,
)
from skpuma.utils.errors import PatchWarning, warn


@dataclass(frozen=True)
class Part:
    """What one fit says about its training rows.

    Attributes
    ----------
    values : ndarray (n,)
        High is helpful; the lowest are the most harmful.
    standard_errors : ndarray (n,) or None
    state : dict
        Whatever the system keeps of this fit (a network, counts, utilities).
    interrupted : bool
    """

    values: np.ndarray
    standard_errors: np.ndarray | None = None
    state: dict = field(default_factory=dict)
    interrupted: bool = False


class BaseValuation(BaseEstimator):
    """Base of the valuation systems: ``fit(X, y, X_val=, y_val=)`` gives ``values_``.

    A system implements ``_value(X, y, X_val, y_val, rng) -> Part`` and, if it keeps
    more than values, ``_keep(parts, trains)``. Without validation rows, systems with
    ``needs_validation`` value the rows of each of the `cv` folds' training sets by the
    fold that is left out; the value of a row is the mean over the folds that trained
    on it.

    Validation labels that no training row has are refused, unless the system
    ``scores_unknown_labels``: to a score or a vote they are rows that no model of these
    training rows gets right.
    """

    needs_validation = True
    scores_unknown_labels = False

    def fit(self, X, y, *, X_val=None, y_val=None):
        """Value the rows of X.

        Parameters
        ----------
        X : array-like or DataFrame (n, d)
        y : array-like (n,)
        X_val, y_val : optional
            Rows that measure what a training row is worth. Without them the values are
            means over `cv` folds.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For input that does not fit together; the message says what to do.
        """
        return self._fit(X, y, X_val, y_val)

    def to_frame(self):
        """The values as a DataFrame on the index of X, in the order of its rows.

        Returns
        -------
        DataFrame
            Columns ``value``, ``standard_error`` where the system estimates one, and
            ``rank`` (0 is the lowest value, the most harmful row; missing where the
            row has no value).
        """
        import pandas as pd
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "values_")
        data = {"value": self.values_}
        if hasattr(self, "standard_errors_"):
            data["standard_error"] = self.standard_errors_
        order = np.argsort(self.values_, kind="stable")
        rank = np.empty(len(order), dtype=int)
        rank[order] = np.arange(len(order))
        data["rank"] = pd.array(rank, dtype="Int64")
        data["rank"][np.isnan(self.values_)] = pd.NA
        return pd.DataFrame(data, index=self._index)

    # -- for the systems ---------------------------------------------------------------

    def _value(self, X, y, X_val, y_val, rng):
        """The `Part` of these rows; with ``grouping=`` where `fit` takes groups."""
        raise NotImplementedError

    def _keep(self, parts, trains):
        """Set further fitted attributes from the parts."""

    def _estimator(self):
        """The wrapped estimator (None means LogisticRegression), or None."""
        return base_of(self.estimator) if hasattr(self, "estimator") else None

    def _classifies(self):
        estimator = self._estimator()
        return estimator is None or is_classifier(estimator)

    # -- the contract ------------------------------------------------------------------

    def _fit(self, X, y, X_val, y_val, groups=None):
        """Fit, for systems whose `fit` takes more than the contract."""
        before = vars(self).copy()
        try:
            check_jobs(getattr(self, "n_jobs", None))
            X, y, X_val, y_val = self._checked(X, y, X_val, y_val)
            grouping = check_grouping(groups, len(y), X)
            rng = check_random_state(self.random_state)
            if X_val is not None or not self.needs_validation:
                grouped = {} if grouping is None else {"grouping": grouping}
                parts = [self._value(X, y, X_val, y_val, rng, **grouped)]
                trains = [np.arange(len(y))]
            else:
                parts, trains = self._over_folds(X, y, rng, grouping)
            self._store(X, parts, trains, len(y))
        except BaseException:
            # A fit that fails changes nothing, not even the names of the features.
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _checked(self, X, y, X_val, y_val):
        """The user's rows, after the checks that no estimator makes for us."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        validate_data(self, X, skip_check_array=True)
        check_same_order(y, X)
        X, y = _table(X), _column(y)
        check_consistent_length(X, y)
        if len(y) == 0:
            raise ValueError("X has 0 rows: there is nothing to value.")
        if (X_val is None) != (y_val is None):
            missing = "X_val" if X_val is None else "y_val"
            raise ValueError(f"X_val and y_val go together: {missing} is missing.")
        if X_val is not None:
            X_val, y_val = self._checked_validation(X_val, y_val)
        self._check_targets(y, y_val)
        return X, y, X_val, y_val

    def _checked_validation(self, X_val, y_val):
        validate_data(self, X_val, reset=False, skip_check_array=True)
        check_same_order(y_val, X_val, "y_val")
        X_val, y_val = _table(X_val), _column(y_val)
        if len(y_val) == 0:
            raise ValueError(
                "X_val has no rows: pass rows that measure what a training row is "
                "worth, or leave X_val and y_val out for cross-fitting."
            )
        check_consistent_length(X_val, y_val)
        return X_val, y_val

    def _check_targets(self, y, y_val):
        refuse_missing(y, "y")
        if y_val is not None and self.needs_validation:
            refuse_missing(y_val, "y_val")
            if y_val.shape[1:] != y.shape[1:]:
                raise ValueError(
                    f"y_val has shape {y_val.shape} and y has shape {y.shape}: they "
                    "need as many columns."
                )
        if not self._classifies():
            return
        check_classification_targets(y)
        if y.ndim > 1:
            return
        if len(set(y.tolist())) < 2:
            raise ValueError(
                f"y has a single class, {y.tolist()[0]!r}: there is nothing to learn "
                "from, and no row is worth more than another. The number of classes "
                "has to be greater than one; got 1 class."
            )
        if y_val is not None and self.needs_validation:
            self._check_labels(y, y_val)

    def _check_labels(self, y, y_val):
        known = set(y.tolist())
        given = dict.fromkeys(y_val.tolist())
        unknown = [label for label in given if label not in known]
        if len(unknown) == len(given) or (unknown and not self.scores_unknown_labels):
            raise ValueError(
                f"y_val has labels that no training row has: {unknown[:5]}; those of y "
                f"are {list(dict.fromkeys(y.tolist()))[:5]}. Validation rows need the "
                "labels of y."
            )

    def _over_folds(self, X, y, rng, grouping=None):
        splits = splits_of(self.cv, y, self._classifies(), rng, grouping=grouping)
        parts, trains = [], []
        folds = Interruptible(
            self._folds(X, y, splits, rng, grouping), len(splits), title="folds"
        )
        for part, train in folds:
            parts.append(part)
            trains.append(train)
            if part.interrupted:
                break
        if folds.interrupted:
            parts[-1] = replace(parts[-1], interrupted=True)
        return parts, trains

    def _folds(self, X, y, splits, rng, grouping):
        for train, test in splits:
            inside = rows.take_user(X, train), y[train]
            left_out = rows.take_user(X, test), y[test]
            grouped = {} if grouping is None else {"grouping": grouping.take(train)}
            part = self._value(*inside, *left_out, rng, **grouped)
            yield part, np.asarray(train)

    def _store(self, X, parts, trains, n):
        total, count = np.zeros(n), np.zeros(n)
        variance = np.zeros(n)
        known = all(part.standard_errors is not None for part in parts)
        for part, train in zip(parts, trains, strict=True):
            # Ctrl-C leaves rows of a fold without a value; other folds may know them.
            done = ~np.isnan(part.values)
            total[train[done]] += part.values[done]
            count[train[done]] += 1
            if known:
                variance[train[done]] += part.standard_errors[done] ** 2
        count[count == 0] = np.nan
        self.values_ = total / count
        if known:
            self.standard_errors_ = np.sqrt(variance) / count
        elif hasattr(self, "standard_errors_"):
            del self.standard_errors_
        self.interrupted_ = any(part.interrupted for part in parts)
        self._index = index_of(X, n)
        self._keep(parts, trains)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        estimator = self._estimator()
        if estimator is not None:
            inner = get_tags(estimator)
            tags.input_tags = inner.input_tags
            tags.target_tags = inner.target_tags
            tags.classifier_tags = inner.classifier_tags
            tags.regressor_tags = inner.regressor_tags
            tags.target_tags.required = True
            tags.non_deterministic = inner.non_deterministic
        tags.estimator_type = None
        tags.array_api_support = False
        return tags


def check_output(out, shape):
    """Where to write a result of this shape; a new array for None.

    Raises
    ------
    TypeError
        If `out` is no array of floats.
    ValueError
        If it has another shape.
    """
    if out is None:
        return np.empty(shape)
    if not isinstance(out, np.ndarray):
        raise TypeError(
            "out must be a numpy array (or a memory map) of floats, got "
            f"{type(out).__name__}."
        )
    if out.dtype.kind != "f":
        raise TypeError(f"out must hold floats, got dtype {out.dtype}.")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, the result has {shape}.")
    return out


def refuse_missing(y, name):
    """Refuse None and missing values among labels of any type.

    Raises
    ------
    ValueError
    """
    if y.dtype != object:
        return
    import pandas as pd

    if pd.isna(y).any():
        raise ValueError(
            f"Input {name} contains missing values: leave these rows out, or fill "
            "them in."
        )


def targets_of(y, classifies):
    """Targets as one column where they are one; of regressors as finite numbers.

    Raises
    ------
    ValueError
        If a classifier has several labels per row.
    """
    y = _column(y)
    if not classifies:
        return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    if y.ndim != 1:
        raise ValueError(
            f"y has shape {y.shape}; a classifier is valued by one label per row."
        )
    return y


def splits_of(
    cv,
    y,
    classifies,
    rng,
    advice="pass X_val= and y_val=, or more rows",
    grouping=None,
):
    """(train, test) positions of shuffled, stratified folds, or of a user's splitter.

    Parameters
    ----------
    grouping : Grouping, optional
        All the rows of one of its groups are in the same fold.
    advice : str
        What errors tell the user to do.

    Raises
    ------
    ValueError
        If there are too few rows for two folds, or a class has a single row.
    """
    if not isinstance(cv, (int, np.integer)):
        groups = None if grouping is None else grouping.code
        return list(check_cv(cv).split(np.zeros(len(y)), y, groups))
    if grouping is not None:
        return _grouped_splits(cv, y, classifies, rng, grouping)
    n_splits = min(check_whole(cv, "cv", low=2), len(y))
    if n_splits < 2:
        raise ValueError(
            f"The rows are split into folds, but n_samples={len(y)}: {advice}."
        )
    seed = rng.randint(LARGEST_SEED)
    if not classifies:
        return list(KFold(n_splits, shuffle=True, random_state=seed).split(y))
    rare = int(np.unique(y, return_counts=True)[1].min())
    if rare < 2:
        raise ValueError(
            f"The rows are split into folds, and a class has a single row: {advice}."
        )
    if rare < n_splits:
        warn(
            f"cv={cv} folds were reduced to {rare}: the rarest class has {rare} rows.",
            PatchWarning,
        )
        n_splits = rare
    folds = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    return list(folds.split(np.zeros(len(y)), y))


def _grouped_splits(cv, y, classifies, rng, grouping):
    n_splits = min(check_whole(cv, "cv", low=2), len(grouping.labels))
    if n_splits < 2:
        raise ValueError(
            "Without X_val whole groups are left out in turn, but there is a single "
            "group: pass X_val= and y_val=, or rows of more groups."
        )
    seed = rng.randint(LARGEST_SEED)
    if classifies:
        folds = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    else:
        folds = GroupKFold(n_splits, shuffle=True, random_state=seed)
    return list(folds.split(np.zeros(len(y)), y, grouping.code))


def _table(X):
    """A user's table that can be indexed by rows."""
    return X if hasattr(X, "shape") else np.asarray(X)


def _column(y):
    """Targets as an array, (n,) where they are a single column."""
    y = np.asarray(y)
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
