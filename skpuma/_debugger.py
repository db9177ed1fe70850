"""PumaDebugger: detect, attribute, patch and verify in one estimator."""

import numpy as np
from sklearn.frozen import FrozenEstimator

from skpuma._meta import OWN_METADATA, DelegatesPrediction, PumaMeta, n_rows
from skpuma._patcher import PumaPatcher
from skpuma._valuator import PumaValuator
from skpuma.models import adapt
from skpuma.utils._validation import check_number, check_weights, index_of

CLASS_SHARE = 0.5


class PumaDebugger(DelegatesPrediction, PumaMeta):
    """Find the training rows that hurt a model and patch the model without them.

    Pass ``X_val``, ``y_val``, a few rows with labels that can be trusted: where the
    labels that measure the criterion are as noisy as those of the training rows, far
    fewer of the harmful rows are found, and the report cannot see what was lost.

    One round of the framework of the PUMA post: psi finds the rows whose removal is
    predicted to improve the criterion, the model is patched without them, and the
    report verifies what was gained on the rows that measure the criterion.

    Parameters
    ----------
    estimator : estimator, default None
        As in `PumaValuator`; None means ``LogisticRegression()``.
    criterion : str, criterion or list of them, default "auto"
        What the model fails at. Rows are ranked by the first; all are protected.
    max_removed : float in [0, 1), default 0.1
        Largest share of the training weight to remove. Never more than half of a
        class, and only rows whose removal is predicted to lower the criterion.
    delta : "auto", float or list of float, default "auto"
        Bound on what gets worse; see `PumaPatcher`.
    effect : {"linear", "one_step"}, default "linear"
        How the rows are ranked; see `PumaValuator`.
    cv : int, splitter or list of splits, default 5
        Cross-fitting of psi when no ``X_val`` is given.
    n_jobs : int, default None
    verbose : int, default 0
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    estimator_ : estimator
        The patched model, of the class of `estimator`.
    issues_ : DataFrame
        The rows that were found, the most harmful first, on the user's index:
        ``position``, ``kind`` ("mislabelled" where the model predicts another label
        than the given one, which is a reason to look and no proof; else "harmful"),
        ``given``, ``predicted``, ``score`` (removal effect of the first criterion, in
        its units), ``psi_<criterion>`` and ``action``.
    report_ : PatchReport
    valuator_ : PumaValuator
    patcher_ : PumaPatcher
    row_weight_ : ndarray (n,)
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    References
    ----------
    G. Wu, M. Hashemi, C. Srinivasa, "PUMA: Performance Unchanged Model Augmentation for
    Training Data Removal", AAAI 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma import PumaDebugger
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> debugger = PumaDebugger(max_removed=0.05, random_state=0).fit(X, y)
    >>> list(debugger.issues_["action"].unique())
    ['removed']
    """

    __metadata_request__fit = {
        k: v for k, v in OWN_METADATA.items() if k not in ("marked", "groups")
    }

    def __init__(
        self,
        estimator=None,
        criterion="auto",
        *,
        max_removed=0.1,
        delta="auto",
        effect="linear",
        cv=5,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.criterion = criterion
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
        """
        if check_number(self.max_removed, "max_removed", low=0.0) >= 1.0:
            raise ValueError(f"max_removed={self.max_removed!r} must be below 1.")
        keywords = {
            "X_val": X_val,
            "y_val": y_val,
            "sample_weight_val": sample_weight_val,
            "sensitive_features": sensitive_features,
            "sensitive_features_val": sensitive_features_val,
        }
        valuator = PumaValuator(
            self.estimator,
            self.criterion,
            effect=self.effect,
            cv=self.cv,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        )
        valuator.fit(X, y, sample_weight, **keywords)
        weight = check_weights(sample_weight, n_rows(y))
        model = adapt(valuator.estimator_)
        coded = model.targets(y) if model.classes is not None else None
        effect = np.nan_to_num(valuator.removal_effect_[:, 0])
        rate = np.divide(effect, weight, out=np.zeros(len(weight)), where=weight > 0)
        mask = select_harmful(rate, weight, coded, self.max_removed)
        patcher = PumaPatcher(
            FrozenEstimator(valuator.estimator_),
            self.criterion,
            delta=self.delta,
            verbose=self.verbose,
            random_state=self.random_state,
        )
        patcher.patch(X, y, remove=mask, sample_weight=weight, **keywords)
        issues = self._issues(valuator, patcher, weight, mask, X, y)
        self._take_names(X)
        self.valuator_ = valuator
        self.patcher_ = patcher
        self.estimator_ = patcher.estimator_
        self.report_ = patcher.report_
        self.row_weight_ = patcher.row_weight_
        self.issues_ = issues
        return self

    def _issues(self, valuator, patcher, weight, mask, X, y):
        """One row per row found, the most harmful first."""
        import pandas as pd

        index = index_of(X, len(mask))
        positions = np.flatnonzero(mask)
        score = valuator.removal_effect_[positions, 0]
        positions = positions[np.argsort(score, kind="stable")]
        given = _one_cell_per_row(y)[positions]
        predicted = _one_cell_per_row(valuator.estimator_.predict(X))[positions]
        kind = np.full(len(positions), "harmful", dtype=object)
        if hasattr(valuator.estimator_, "classes_"):
            kind[predicted != given] = "mislabelled"
        moved = patcher.row_weight_[positions] < weight[positions]
        data = {
            "position": positions,
            "kind": kind,
            "given": given,
            "predicted": predicted,
            "score": valuator.removal_effect_[positions, 0],
        }
        for c, name in enumerate(valuator.criterion_names_):
            data[f"psi_{name}"] = valuator.psi_[positions, c]
        data["action"] = np.where(moved, "removed", "kept")
        return pd.DataFrame(data, index=index[positions])


def _one_cell_per_row(y):
    """Targets (n,): as they are, or a tuple per row for several outputs."""
    y = np.asarray(y)
    if y.ndim == 1 or y.shape[1] == 1:
        return y.ravel()
    cells = np.empty(len(y), dtype=object)
    cells[:] = [tuple(row) for row in y.tolist()]
    return cells


def select_harmful(rate, weight, classes, share):
    """Rows with the lowest negative effect per weight, within a share of the weight.

    Rows of equal effect (copies of each other) are taken together or not at all, so
    that a row of weight 2 means the same as two rows.

    Parameters
    ----------
    rate : ndarray (n,)
        Change of the criterion per unit of weight that is removed.
    weight : ndarray (n,)
    classes : ndarray (n,) or None
        Coded labels: at most half of the weight of a class is taken.
    share : float

    Returns
    -------
    ndarray of bool (n,)
    """
    order = np.argsort(rate, kind="stable")
    scale = np.abs(rate).max(initial=0.0)
    chosen = np.zeros(len(rate), dtype=bool)
    if scale == 0.0:
        return chosen
    steps = np.diff(rate[order], prepend=rate[order[0]]) > 1e-9 * scale
    group = np.cumsum(steps)

    def affordable(rows, budget):
        """Of rows in order: whose group still fits into the budget."""
        total = np.cumsum(weight[order[rows]])
        ends = np.append(np.flatnonzero(np.diff(group[rows])), len(rows) - 1)
        until_end = total[ends][np.searchsorted(ends, np.arange(len(rows)))]
        return until_end <= budget * (1.0 + 1e-12)

    harmful = rate[order] < -1e-9 * scale
    keep = harmful & affordable(np.arange(len(order)), share * weight.sum())
    if classes is not None:
        for c in np.unique(classes):
            rows = np.flatnonzero(classes[order] == c)
            budget = CLASS_SHARE * weight[classes == c].sum()
            keep[rows] &= affordable(rows, budget)
    chosen[order[keep]] = True
    return chosen & (weight > 0)
