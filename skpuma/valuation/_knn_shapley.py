"""KNNShapley: exact Shapley values for k nearest neighbours, by sorting."""

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import pairwise_distances
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed

from skpuma import rows
from skpuma.utils._progress import Interruptible
from skpuma.utils._validation import check_whole
from skpuma.valuation._base import BaseValuation, Part, targets_of

TASKS = ("classification", "regression")


class KNNShapley(BaseValuation):
    """Exact Shapley values of the rows for an unweighted k-nearest-neighbour model.

    A set S of rows is worth, on a validation row with neighbours 1, 2, ... in S,
    ``(1/k) sum_{j <= min(k, |S|)} 1[y_j = y_val]`` for classification, the share of the
    k neighbours with the right label, and
    ``-((1/k) sum_{j <= min(k, |S|)} y_j - y_val)^2`` for regression, with the mean of
    the training targets subtracted from y, so that fewer than k neighbours predict
    towards that mean. The value of a row is its Shapley value, averaged over the
    validation rows: no model is fitted, and a validation row costs one sort.

    Parameters
    ----------
    n_neighbors : int, default 5
        k.
    task : {"classification", "regression"}, default "classification"
    transformer : "standardize", None or transformer, default "standardize"
        What the distances are taken on. "standardize" divides every column by its
        standard deviation on the training rows, so that the values do not depend on
        units; None takes the columns as they are; a transformer (a ``Pipeline``, a
        ``ColumnTransformer``) is cloned and fitted on the training rows, which it may
        turn from any DataFrame into numbers.
    metric : str or callable, default "euclidean"
        As in ``sklearn.metrics.pairwise_distances``. Rows at the same distance count as
        near in the order of X.
    cv : int, splitter or list of splits, default 5
        Folds that measure the values where there is no ``X_val``.
    n_jobs : int, default None
        Blocks of validation rows in parallel threads; the values do not depend on it.
    verbose : int, default 0
        Above 0: a progress bar.
    random_state : int, RandomState or None, default None
        Shuffles the rows into folds when `cv` is an int; the values are exact.

    Attributes
    ----------
    values_ : ndarray (n,)
        Mean share of correct neighbours (0 to 1), or minus a squared error (units of y
        squared), that a row adds: low is harmful. With ``X_val``, they sum to
        ``utility_`` minus the worth of no rows.
    standard_errors_ : ndarray (n,)
        Of the means over validation rows.
    utility_ : float
        Worth of all training rows, on average over the rows that measured it.
    interrupted_ : bool
        Whether Ctrl-C ended the run early; the values are then those of the validation
        rows that were done.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    References
    ----------
    R. Jia, D. Dao, B. Wang, F. A. Hubis, N. M. Gurel, B. Li, C. Zhang, C. J. Spanos,
    D. Song, "Efficient Task-Specific Data Valuation for Nearest Neighbor Algorithms",
    VLDB 2019, theorems 1 (classification) and 6 (regression).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skpuma.valuation import KNNShapley
    >>> X, y = load_iris(return_X_y=True)
    >>> y[:2] = 2
    >>> system = KNNShapley(random_state=0).fit(X, y)
    >>> sorted(system.values_.argsort()[:2].tolist())
    [0, 1]
    """

    scores_unknown_labels = True

    def __init__(
        self,
        n_neighbors=5,
        *,
        task="classification",
        transformer="standardize",
        metric="euclidean",
        cv=5,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.n_neighbors = n_neighbors
        self.task = task
        self.transformer = transformer
        self.metric = metric
        self.cv = cv
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def _classifies(self):
        if self.task not in TASKS:
            raise ValueError(f"task={self.task!r} is not one of {TASKS}.")
        return self.task == "classification"

    def _value(self, X, y, X_val, y_val, rng):
        k = check_whole(self.n_neighbors, "n_neighbors", low=1)
        y, y_val = self._targets(y), self._targets(y_val)
        X, X_val = self._transformed(X, X_val)
        if self._classifies():
            shapley = classification_shapley
            code = np.unique(np.concatenate([y, y_val]), return_inverse=True)[1]
            y, y_val = code[: len(y)], code[len(y) :]
        else:
            shapley = regression_shapley
            y, y_val = y - y.mean(), y_val - y.mean()
        n = len(y)
        blocks = list(rows.blocks(len(y_val), 80 * n))
        done = Interruptible(
            Parallel(n_jobs=self.n_jobs, prefer="threads", return_as="generator")(
                delayed(_block)(
                    shapley, X, y, X_val[block], y_val[block], k, self.metric
                )
                for block in blocks
            ),
            total=len(blocks),
            verbose=self.verbose,
            title="blocks of validation rows",
        )
        count, total, square, worth = 0, np.zeros(n), np.zeros(n), 0.0
        for size, part, part_square, part_worth in done:
            count += size
            total += part
            square += part_square
            worth += part_worth
        mean = total / count
        spread = np.maximum(square / count - mean**2, 0.0)
        errors = np.sqrt(spread / (count - 1)) if count > 1 else np.full(n, np.nan)
        state = {"worth": worth, "count": count}
        return Part(mean, errors, state, done.interrupted)

    def _keep(self, parts, trains):
        worth = sum(part.state["worth"] for part in parts)
        self.utility_ = worth / sum(part.state["count"] for part in parts)

    def _targets(self, y):
        y = targets_of(y, self._classifies())
        if y.ndim != 1:
            raise ValueError(f"y has shape {y.shape}; only one target is valued.")
        if not self._classifies():
            return y
        check_classification_targets(y)
        return y

    def _transformed(self, X, X_val):
        """Numbers that distances can be taken on."""
        transformer = self.transformer
        if isinstance(transformer, str) and transformer == "standardize":
            X = _numbers(X)
            # The mean moves no distance, and a sparse X would be dense without it.
            transformer = StandardScaler(with_mean=not sparse.issparse(X)).fit(X)
            return transformer.transform(X), transformer.transform(_numbers(X_val))
        if transformer is None:
            return _numbers(X), _numbers(X_val)
        if not hasattr(transformer, "transform"):
            raise TypeError(
                "transformer must be 'standardize', None or a transformer with the "
                f"methods fit and transform; got {transformer!r}."
            )
        transformer = clone(transformer).fit(X)
        return _numbers(transformer.transform(X)), _numbers(
            transformer.transform(X_val)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _numbers(X):
    return check_array(X, accept_sparse="csr", dtype=np.float64)


def _block(shapley, X, y, X_val, y_val, k, metric):
    """(rows, sum of their values (n,), sum of squares (n,), sum of their V(D))."""
    order = np.argsort(pairwise_distances(X_val, X, metric=metric), kind="stable")
    in_order, worth = shapley(y[order], y_val, k)
    values = np.empty_like(in_order)
    np.put_along_axis(values, order, in_order, axis=1)
    return len(y_val), values.sum(axis=0), np.square(values).sum(axis=0), worth.sum()


def classification_shapley(y, y_val, k):
    """Shapley values of neighbours in the order of their distance (theorem 1).

    Parameters
    ----------
    y : ndarray (b, n)
        Labels of the n neighbours of every validation row, the nearest first.
    y_val : ndarray (b,)
    k : int

    Returns
    -------
    values : ndarray (b, n)
    worth : ndarray (b,)
        V of all neighbours.
    """
    match = (y == y_val[:, None]).astype(float)
    n = match.shape[1]
    i = np.arange(1, n)
    values = np.empty_like(match)
    values[:, -1] = match[:, -1] * min(k, n) / (n * k)
    values[:, :-1] = (match[:, :-1] - match[:, 1:]) / k * np.minimum(k, i) / i
    return _summed_back(values), match[:, :k].sum(axis=1) / k


def regression_shapley(y, y_val, k):
    """The same for minus the squared error of the mean (theorem 6).

    Parameters
    ----------
    y : ndarray (b, n)
        Targets of the n neighbours of every validation row, the nearest first.
    y_val : ndarray (b,)
    k : int

    Returns
    -------
    values : ndarray (b, n)
    worth : ndarray (b,)
        V of all neighbours.

    Notes
    -----
    The worth of no neighbours is ``-y_val**2`` here and 0 in the paper, which shifts
    all values by the same amount.
    """
    n = y.shape[1]
    last = y[:, -1]
    # What the farthest row adds: only sets with fewer than k others notice it.
    others = (y.sum(axis=1) - last) / max(n - 1, 1)
    m = min(k, n)
    both = last / k - 2.0 * y_val
    final = -last / (n * k) * (m * both + m * (m - 1) / k * others)
    i = np.arange(1, n)
    step = (y[:, :-1] - y[:, 1:]) / k * np.minimum(k, i) / i
    values = np.empty_like(y)
    values[:, -1] = final
    values[:, :-1] = -step * (_with_others(y, k) / k - 2.0 * y_val[:, None])
    return _summed_back(values), -np.square(y[:, :k].sum(axis=1) / k - y_val)


def _with_others(y, k):
    """``sum_l A_i^(l) y_l`` (b, n - 1): expected sum of targets around the pair i."""
    n = y.shape[1]
    i = np.arange(1, n)
    before = np.cumsum(y, axis=1)[:, :-1] - y[:, :-1]
    nearer = np.minimum(k - 1, i - 1) / np.maximum(i - 1, 1) * before
    l = np.arange(3, n + 1)  # noqa: E741
    share = np.minimum(k, l - 1) * np.minimum(k - 1, l - 2) / ((l - 1) * (l - 2))
    farther = np.zeros((len(y), n - 1))
    farther[:, : n - 2] = _summed_back(y[:, 2:] * share)
    return nearer + y[:, :-1] + y[:, 1:] + i / np.minimum(k, i) * farther


def _summed_back(values):
    """Sums of every column and those after it."""
    return np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
