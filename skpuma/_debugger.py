"""PumaDebugger: detect, attribute, patch and verify in one estimator."""

from dataclasses import replace

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state

from skpuma import refit, valuing
from skpuma._meta import (
    OWN_METADATA,
    DelegatesPrediction,
    PumaMeta,
    criterion_rows,
    n_rows,
)
from skpuma._patch_request import check_parameters, deltas_of
from skpuma._patcher import PumaPatcher
from skpuma._suspects import (
    HARMFUL,
    MISLABELLED,
    OVER,
    UNDER,
    by_labels,
    by_psi,
    one_cell_per_row,
)
from skpuma._valuator import PumaValuator
from skpuma.criteria import measures_of
from skpuma.detection import VIEWS
from skpuma.models import adapt
from skpuma.reporting import issues_facts
from skpuma.utils._validation import (
    check_groups,
    check_number,
    check_weights,
    check_whole,
    index_of,
)

# Of the training weight, by labels and by psi alone.
MAX_REMOVED = {"labels": 0.3, "psi": 0.1}
# Kullback-Leibler moves of the outputs in one step of the patch (nats).
TRUST, WHOLE_PATH = 0.01, 100.0
ACTS_ON = (MISLABELLED, OVER, UNDER, HARMFUL)
BY_LABELS = (
    "label_probability_",
    "noise_rate_",
    "transition_",
    "view_shares_",
    "n_rounds_",
)


class PumaDebugger(DelegatesPrediction, PumaMeta):
    """Find the training rows that hurt a model, say why, and patch the model.

    The framework of the PUMA post in one estimator. *Detect*: for classifiers, several
    models that have not seen a row (the model itself, left out in closed form where it
    is convex; nearest neighbours; trees) say how probable each label is, Bayes' rule
    with estimated flip rates turns that into the probability that the given label is
    right, the rows are weighted with it, and all look again. *Attribute*: psi and an
    interval of it say what each of these rows does to the criteria. *Patch*: the fitted
    model is moved to where it would be without the mislabelled rows. *Verify*: the
    report measures what that did.

    Validation rows help, and their labels may be as noisy as those of the training
    rows: they are judged in the same way, and a row measures the criteria in proportion
    to the probability that its own label is right. Without them the training rows
    measure the criteria, weighted in this way.

    Regressors, and classifiers with several outputs, are debugged by psi alone: the
    rows whose removal is predicted to lower the first criterion by far the most (eight
    median absolute deviations).

    Parameters
    ----------
    estimator : estimator, default None
        As in `PumaValuator`; None means ``LogisticRegression()``.
    criterion : str, criterion or list of them, default "auto"
        What the model fails at. All are measured and kept within `delta`; the first
        one says which rows are over- or under-confident.
    views : "auto" or sequence of str, default "auto"
        Who looks at the labels: "model", "neighbors", "forest" and "extra_trees".
        "auto" is all of them; "model" alone for convex models of at least 10,000 rows,
        which keeps the cost at that of a few fits.
    rounds : int, default 3
        Number of looks, each with rows weighted by the one before. Fewer if the result
        settles.
    act_on : sequence of str, default ("mislabelled", "harmful")
        Kinds of issues that the patch acts on: "mislabelled", "harmful" and
        "over-confident" rows are removed, "under-confident" ones get double weight. The
        others are listed.
    max_removed : "auto" or float in [0, 1), default "auto"
        Largest share of the training weight to remove: 0.3 for wrong labels, 0.1 by psi
        alone. Never more than half of a class. All issues are listed, those beyond the
        share without an action.
    delta : "auto", float or list of float, default "auto"
        Bound on what gets worse; see `PumaPatcher`.
    effect : {"linear", "one_step"}, default "linear"
        How the effect of a removal is predicted; see `PumaValuator`.
    cv : int, splitter or list of splits, default 5
        Folds of models without a closed form, and of psi without validation rows.
    n_jobs : int, default None
    verbose : int, default 0
        Above 0: a bar over the rounds (needs tqdm).
    random_state : int, RandomState or None, default None
        Grows the trees and draws folds and intervals.

    Attributes
    ----------
    estimator_ : estimator
        The patched model, of the class of `estimator`.
    score_ : ndarray (n,)
        The lowest are the most suspicious. Classifiers: probability that the given
        label is right. Others: predicted change of the first criterion per unit of the
        row's weight taken away (``removal_effect_ / sample_weight``). nan for rows of
        weight 0.
    issues_ : DataFrame
        The rows that were found, on the user's index: ``position``; ``kind``
        ("mislabelled": the label is more probably wrong than right; "over-confident"
        and "under-confident": the model is surer, or less sure, of the label than
        models that have not seen the row, and removing the row, or giving it more
        weight, is predicted to lower the first criterion; "harmful": by psi alone);
        ``score`` (as ``score_``); ``given`` and ``predicted`` label;
        ``psi_<criterion>`` (in units of the criterion, see `PumaValuator`) with its
        95 % bootstrap interval ``low_<criterion>`` and ``high_<criterion>``; ``action``
        ("removed", "partly removed" where a bound of `delta` ended the patch,
        "up-weighted" or "none"). Mislabelled rows come first, the most
        suspicious on top; the others by their effect.
    label_probability_ : ndarray (n, n_classes)
        Classifiers: how probable every class is as the true one, given features and
        label.
    noise_rate_ : float
        Classifiers: estimated share of wrong labels among the training rows.
    transition_ : ndarray (n_classes, n_classes)
        Classifiers: estimated share of the rows of a true class (row) that were given
        a label (column).
    view_shares_ : dict of str to float
        Classifiers: share of every view in the mixture.
    n_rounds_ : int
        Classifiers: number of looks that were taken.
    psi_ : ndarray (n, m)
        Units as in `PumaValuator`, on the rows and weights that measured the criteria.
    criterion_names_ : list of str
    report_ : PatchReport
        Criteria before and after on the rows that measured them.
    patcher_ : PumaPatcher
        Its `unpatch` gives the fitted model back, as ``patcher_.estimator_``.
    row_weight_ : ndarray (n,)
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    References
    ----------
    G. Wu, M. Hashemi, C. Srinivasa, "PUMA: Performance Unchanged Model Augmentation for
    Training Data Removal", AAAI 2022.

    T. Liu, D. Tao, "Classification with Noisy Labels by Importance Reweighting", IEEE
    TPAMI 38(3), 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skpuma import PumaDebugger
    >>> from skpuma.datasets import flip_labels
    >>> X, y = load_iris(return_X_y=True)
    >>> y, flipped = flip_labels(y, 0.1, random_state=0)
    >>> debugger = PumaDebugger(random_state=0).fit(X, y)
    >>> found = debugger.issues_.query("kind == 'mislabelled'").index
    >>> bool(flipped[found].mean() > 0.8)
    True
    """

    __metadata_request__fit = {
        k: v for k, v in OWN_METADATA.items() if k not in ("marked", "groups")
    }

    def __init__(
        self,
        estimator=None,
        criterion="auto",
        *,
        views="auto",
        rounds=3,
        act_on=("mislabelled", "harmful"),
        max_removed="auto",
        delta="auto",
        effect="linear",
        cv=5,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.criterion = criterion
        self.views = views
        self.rounds = rounds
        self.act_on = act_on
        self.max_removed = max_removed
        self.delta = delta
        self.effect = effect
        self.cv = cv
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
        sensitive_features=None,
        sensitive_features_val=None,
    ):
        """Fit the estimator, find its harmful rows, and patch it without them.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val : as in `PumaValuator`
        sensitive_features, sensitive_features_val : array-like, optional

        Returns
        -------
        self

        Raises
        ------
        NotDifferentiableError
            If the estimator is not supported.
        ValueError, TypeError
            For parameters and input that do not fit together.
        """
        self._check_parameters()
        measured = {
            "X_val": X_val,
            "y_val": y_val,
            "sample_weight_val": sample_weight_val,
            "sensitive_features_val": sensitive_features_val,
        }
        rng = check_random_state(self.random_state)
        estimator = self._fit_base(
            X, y, sample_weight, sensitive_features=sensitive_features, **measured
        )
        weight = check_weights(sample_weight, n_rows(y))
        table = X, y, weight, sensitive_features
        model = adapt(estimator)
        patcher = PumaPatcher(
            FrozenEstimator(estimator),
            self.criterion,
            delta=self.delta,
            # Corrected at its end, a step of a convex model may be as long as it likes.
            trust=WHOLE_PATH if model.convex else TRUST,
            random_state=self.random_state,
        )
        _refuse_early(patcher, model, table, measured)
        found = self._suspects(model, estimator, table, measured, rng)
        labels = model.targets(y) if model.loss.classification else None
        patcher.patch(
            X,
            y,
            remove=found.to_remove(
                [kind for kind in self.act_on if kind != UNDER],
                weight,
                labels,
                self._max_removed("labels" if labels is not None else "psi"),
            ),
            upweight=found.mask([kind for kind in self.act_on if kind == UNDER]),
            sample_weight=weight,
            sensitive_features=sensitive_features,
            **found.measured,
        )
        issues = _issues(found, patcher.row_weight_, weight, X, y)
        self._take_names(X)
        self._store(found, patcher, issues)
        return self

    def _facts(self):
        if not hasattr(self, "issues_"):
            return ""
        noise_rate = getattr(self, "noise_rate_", None)
        return issues_facts(self.issues_, noise_rate, self.report_)

    def _suspects(self, model, estimator, table, measured, rng):
        """Rows to list, by their labels where there is one label a row."""
        # The patch says how far the model was from its optimum.
        settings = valuing.Settings(
            criterion=self.criterion, effect=self.effect, distance=False
        )
        if model.loss.classification:
            options = {
                "views": self.views,
                "rounds": self.rounds,
                "cv": self.cv,
                "n_jobs": self.n_jobs,
                "verbose": self.verbose,
            }
            return by_labels(model, table, measured, settings, options, rng)
        base = estimator if refit.is_frozen(self._base()) else self._base()
        valuator = PumaValuator(
            FrozenEstimator(base) if base is estimator else base,
            self.criterion,
            effect=self.effect,
            cv=self.cv,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        )
        return by_psi(valuator, table, measured, self._max_removed("psi"))

    def _max_removed(self, kind):
        if isinstance(self.max_removed, str):
            return MAX_REMOVED[kind]
        return self.max_removed

    def _check_parameters(self):
        if isinstance(self.max_removed, str):
            if self.max_removed != "auto":
                raise ValueError(
                    f"max_removed={self.max_removed!r} is neither 'auto' nor a share."
                )
        elif check_number(self.max_removed, "max_removed", low=0.0) >= 1.0:
            raise ValueError(f"max_removed={self.max_removed!r} must be below 1.")
        if self.effect not in ("linear", "one_step"):
            raise ValueError(
                f"effect={self.effect!r} is neither 'linear' nor 'one_step'."
            )
        check_whole(self.rounds, "rounds", low=1)
        if isinstance(self.cv, (int, np.integer)):
            check_whole(self.cv, "cv", low=2)
        _check_names(self.act_on, "act_on", ACTS_ON)
        if not (isinstance(self.views, str) and self.views == "auto"):
            _check_names(self.views, "views", sorted(VIEWS))
            if not len(self.views):
                raise ValueError(f"views is empty: name some of {sorted(VIEWS)}.")

    def _store(self, found, patcher, issues):
        for name in BY_LABELS:
            if hasattr(self, name):
                delattr(self, name)
        for name, value in found.attributes.items():
            setattr(self, name, value)
        self.score_ = found.score
        self.psi_ = found.psi
        self.criterion_names_ = found.names
        self.issues_ = issues
        self.patcher_ = patcher
        self.estimator_ = patcher.estimator_
        self.report_ = patcher.report_
        if found.measured_on is not None:
            self.report_ = replace(patcher.report_, measured_on=found.measured_on)
        self.row_weight_ = patcher.row_weight_


def _refuse_early(patcher, model, table, measured):
    """Refuse what the patch would refuse, before the rows are looked at for long.

    Raises
    ------
    TypeError, ValueError
    """
    parameters = patcher.get_params(deep=False)
    check_parameters(parameters)
    X, y, weight, sensitive = table
    groups = check_groups(sensitive, len(weight))
    rows_of_C = model.inputs(X), model.targets(y), weight, groups
    if any(part is not None for part in measured.values()):
        rows_of_C = criterion_rows(model, *measured.values())
    measures = measures_of(parameters["criterion"], model, *rows_of_C)
    deltas_of(parameters, model, measures, rows_of_C)


def _check_names(names, parameter, known):
    """Refuse anything but a sequence of known names.

    Raises
    ------
    TypeError, ValueError
    """
    if isinstance(names, str) or not isinstance(names, (list, tuple, set, np.ndarray)):
        raise TypeError(
            f"{parameter} must be a list or tuple of names, got {names!r}; choose from "
            f"{list(known)}."
        )
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"{parameter} has unknown names: {unknown}; choose from {list(known)}."
        )


def _issues(found, row_weight, weight, X, y):
    """The frame of the rows that were found."""
    import pandas as pd

    at = found.position
    data = {
        "position": at,
        "kind": found.kind,
        "score": found.score[at],
        "given": one_cell_per_row(y)[at],
        "predicted": found.predicted,
    }
    for c, name in enumerate(found.names):
        data[f"psi_{name}"] = found.psi[at, c]
        data[f"low_{name}"] = found.low[:, c]
        data[f"high_{name}"] = found.high[:, c]
    change = np.sign(row_weight[at] - weight[at]).astype(int)
    action = np.array(["none", "up-weighted", "partly removed"], dtype=object)[change]
    action[(change < 0) & (row_weight[at] == 0.0)] = "removed"
    data["action"] = action
    return pd.DataFrame(data, index=index_of(X, len(weight))[at])
