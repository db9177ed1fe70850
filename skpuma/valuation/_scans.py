"""Engines that walk a permutation: V of every prefix, by refits or by a kernel."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
)
from sklearn.utils import check_array

from skpuma import kernels, rows

# Consecutive quiet steps after which a permutation is cut (Ghorbani and Zou's code).
PATIENCE = 5
# Newton step, relative to the largest parameter, at which a warm-started fit stops. The
# log-loss of a validation row is then known to about 1e-6.
PRECISION = 1e-6
MAX_ITER = 100
# Parameters from which refits are faster than Newton steps with an explicit Hessian
# (CPU milliseconds of one more row among 300: 0.1 against 3.6 with 61 parameters of two
# classes, 1.8 against 4.4 with 198 of three, 5.2 against 3.7 with 251 of two).
MAX_PARAMETERS = 200
# The same for least squares (1,000 features: 29 ms against 113 ms).
MAX_FEATURES = 1000
# Numbers by which the kernels know the scores.
METRICS = {
    "accuracy": 0,
    "neg_log_loss": 1,
    "r2": 2,
    "neg_mean_squared_error": 3,
}


@dataclass(frozen=True)
class Walk:
    """V along one permutation of the sources.

    Attributes
    ----------
    scores : ndarray (G,)
        V after each source; NaN where the permutation was cut.
    fell_back : int
        Subsets that could not be fitted and scored.
    unconverged : int
        Subsets whose fit did not reach the tolerance.
    """

    scores: np.ndarray
    fell_back: int = 0
    unconverged: int = 0


class Engine:
    """V of the prefixes of a permutation of the sources.

    Parameters
    ----------
    utility : Utility
    members : list of ndarray
        Rows of every source.
    truncation : float
        Relative to V(all rows); 0 walks every permutation to its end.

    Attributes
    ----------
    full, empty : float
    tolerance : float
        Truncation in units of the score, negative if there is none.
    threads : bool
        Whether permutations run best in threads.
    """

    threads = False

    def __init__(self, utility, members, truncation):
        self.utility, self.members = utility, members
        self.empty = utility.empty
        self.full = self._full()
        self.tolerance = truncation * abs(self.full) if truncation > 0 else -1.0

    def _full(self):
        return self.utility.full

    def walk(self, order, start=1):
        """The `Walk` of a permutation; only prefixes of at least `start` sources.

        Parameters
        ----------
        order : ndarray of int (G,)
        start : int
        """
        raise NotImplementedError

    def _rows(self, order):
        """Rows in the order of their sources, and the number of rows at every stop."""
        parts = [self.members[source] for source in order]
        return np.concatenate(parts), np.cumsum([len(part) for part in parts])


class RefitEngine(Engine):
    """One fit per prefix: any estimator and scorer."""

    def walk(self, order, start=1):
        index, stops = self._rows(order)
        scores = np.full(len(order), np.nan)
        streak = fell_back = 0
        for s in range(start - 1, len(order)):
            scores[s], failed = self.utility.evaluate(index[: stops[s]])
            fell_back += failed
            streak = streak + 1 if abs(scores[s] - self.full) <= self.tolerance else 0
            if streak > PATIENCE:
                break
        return Walk(scores, fell_back)


class ScanEngine(Engine):
    """The common part of the kernels' engines."""

    threads = True

    def __init__(self, utility, members, truncation):
        self.metric = METRICS[metric_of(utility)]
        self.X, self.X_val = _dense(utility.X), _dense(utility.X_val)
        self.n_classes = 0
        if utility.code is None:
            self.y = np.asarray(utility.y, dtype=np.float64)
            self.y_val = np.asarray(utility.y_val, dtype=np.float64)
        else:
            classes = np.unique(utility.y)
            self.n_classes = len(classes)
            self.y = utility.code.astype(np.int64)
            match = np.asarray(utility.y_val)[:, None] == classes
            self.y_val = np.where(match.any(axis=1), match.argmax(axis=1), -1.0)
        self.empty, self.full, self.tolerance = utility.empty, np.nan, -1.0
        self.members = members
        everything = np.arange(len(members))
        self.full = float(self.walk(everything, len(members)).scores[-1])
        if truncation > 0:
            self.tolerance = truncation * abs(self.full)

    def _ending(self, scores, stops):
        """The last prefix holds all rows, in another order: its score is known."""
        reached = not np.isnan(scores[-1]) and stops[-1] == len(self.y)
        if reached and not np.isnan(self.full):
            scores[-1] = self.full
        return scores


class LeastSquaresScan(ScanEngine):
    """Rank-one updates of Ridge, LinearRegression and RidgeClassifier."""

    def __init__(self, utility, members, truncation):
        estimator = utility.estimator
        self.penalty = float(getattr(estimator, "alpha", 0.0))
        self.intercept = bool(estimator.fit_intercept)
        super().__init__(utility, members, truncation)

    def walk(self, order, start=1):
        index, stops = self._rows(order)
        code, Y = np.zeros(len(index), dtype=np.int64), self.y[index][:, None]
        if self.n_classes:
            code, k = self.y[index], np.arange(self.n_classes)
            Y = np.where(code[:, None] == (k if self.n_classes > 2 else 1), 1.0, -1.0)
        scores = np.full(len(order), np.nan)
        scores[start - 1 :] = kernels.least_squares_scan(
            self.X[index],
            np.ascontiguousarray(Y),
            code,
            stops[start - 1 :],
            self.penalty,
            self.intercept,
            self.X_val,
            self.y_val,
            self.metric,
            self.full,
            self.tolerance,
            PATIENCE,
        )
        return Walk(self._ending(scores, stops))


class LogisticScan(ScanEngine):
    """Warm-started Newton steps of LogisticRegression with an L2 penalty.

    A permutation is walked in phases, each with the classes that were seen before it,
    as a fit of its rows alone would know them.
    """

    def __init__(self, utility, members, truncation):
        estimator = utility.estimator
        self.intercept = bool(estimator.fit_intercept)
        self.strength = 1.0 / float(estimator.C)
        super().__init__(utility, members, truncation)

    def walk(self, order, start=1):
        index, stops = self._rows(order)
        code = self.y[index]
        first = np.full(self.n_classes, len(code))
        np.minimum.at(first, code, np.arange(len(code)))
        n_seen = (first < stops[:, None]).sum(axis=1)
        scores = np.full(len(order), np.nan)
        streak = fell_back = unconverged = 0
        X = self._design(self.X)[index]
        for count in np.unique(n_seen[start - 1 :]):
            at = np.flatnonzero(n_seen == count)
            at = at[at >= start - 1]
            seen = np.flatnonzero(first < stops[at[0]])
            found, converged = self._phase(X, code, stops[at], seen, streak)
            scores[at] = found
            fell_back += len(at) if 1 < count and self._cannot(count) else 0
            unconverged += int(np.sum(converged == 0))
            streak = _streak(found, self.full, self.tolerance, streak)
            if streak > PATIENCE:
                break
        return Walk(self._ending(scores, stops), fell_back, unconverged)

    def _phase(self, X, code, stops, seen, streak):
        """(scores, converged) of stops whose rows have the classes `seen`."""
        if self._cannot(len(seen)) or len(seen) == 1:
            value = self.empty
            if not self._cannot(len(seen)):
                value = np.mean(self.y_val == seen[0])
            scores = np.full(len(stops), value)
            cut = _cut(scores, self.full, self.tolerance, streak)
            scores[cut:] = np.nan
            return scores, np.ones(len(stops))
        # Labels that were not seen get numbers that no prediction has.
        number = np.full(self.n_classes, -1)
        number[seen] = np.arange(len(seen))
        y_val = np.where(self.y_val < 0, -1, number[self.y_val.astype(int)])
        penalty = np.full(X.shape[1], self.strength)
        if self.intercept:
            penalty[0] = 0.0
        out = kernels.logistic_scan(
            X,
            number[code],
            len(seen),
            stops,
            penalty,
            self._design(self.X_val),
            y_val.astype(float),
            self.metric,
            self.full,
            self.tolerance,
            PATIENCE,
            streak,
            PRECISION,
            MAX_ITER,
        )
        return out[:, 0], out[:, 1]

    def _cannot(self, n_seen):
        """Whether the scorer needs a class that the rows do not have."""
        return self.metric == METRICS["neg_log_loss"] and n_seen < self.n_classes

    def _design(self, X):
        return np.column_stack([np.ones(len(X)), X]) if self.intercept else X


def _cut(scores, full, tolerance, streak):
    """Number of stops that are walked before truncation."""
    for s, score in enumerate(scores):
        streak = streak + 1 if abs(score - full) <= tolerance else 0
        if streak > PATIENCE:
            return s + 1
    return len(scores)


def _streak(scores, full, tolerance, streak):
    """Quiet steps up to the end of `scores`, past PATIENCE if it was cut there."""
    for score in scores[~np.isnan(scores)]:
        streak = streak + 1 if abs(score - full) <= tolerance else 0
    return streak


def metric_of(utility):
    """The scorer by name, if it has one."""
    if utility.scoring is None:
        return "r2" if utility.code is None else "accuracy"
    return utility.scoring if isinstance(utility.scoring, str) else None


def engine_of(kind, utility, members, truncation):
    """The engine that walks permutations.

    Parameters
    ----------
    kind : {"auto", "scan", "refit"}

    Raises
    ------
    ValueError
        If a scan is asked for and does not exist; the message says why.
    """
    # The errors of the fit and the scorer on all rows are scikit-learn's own.
    _ = utility.full
    if kind == "refit":
        return RefitEngine(utility, members, truncation)
    reason = scan_refusal(utility)
    if reason is None and (kind == "scan" or _small(utility)):
        logistic = isinstance(utility.estimator, LogisticRegression)
        scan = LogisticScan if logistic else LeastSquaresScan
        return scan(utility, members, truncation)
    if kind == "scan":
        raise ValueError(f"engine='scan' is not possible: {reason} Use engine='auto'.")
    return RefitEngine(utility, members, truncation)


def scan_refusal(utility):
    """Why the kernels cannot walk these permutations, or None if they can."""
    estimator = utility.estimator
    scores = _SCORES.get(type(estimator))
    if scores is None:
        return f"{type(estimator).__name__} is none of {_names()}."
    scoring = utility.scoring
    if scoring is not None and (not isinstance(scoring, str) or scoring not in scores):
        return f"scoring={scoring!r} is none of None, {', '.join(scores)}."
    if utility.y.ndim > 1 or utility.y_val.ndim > 1:
        return "y has several columns."
    return _option_refusal(estimator)


def _option_refusal(estimator):
    if getattr(estimator, "class_weight", None) is not None:
        return "class_weight would change with every row."
    if getattr(estimator, "positive", False):
        return "positive=True is no linear least squares."
    if isinstance(estimator, (Ridge, RidgeClassifier)):
        if np.ndim(estimator.alpha) or estimator.alpha <= 0:
            return f"alpha={estimator.alpha!r} is no positive number."
    if isinstance(estimator, LogisticRegression):
        return _logistic_refusal(estimator)
    return None


def _logistic_refusal(estimator):
    # scikit-learn 1.8 replaced `penalty` by C and l1_ratio.
    penalty = getattr(estimator, "penalty", "deprecated")
    shared = penalty == "deprecated" and not estimator.l1_ratio
    if not (penalty == "l2" or shared) or not np.isfinite(estimator.C):
        return "the penalty is not L2."
    if estimator.solver == "liblinear":
        return "solver='liblinear' penalises the intercept."
    # "ovr" is one model per class, "multinomial" has two outputs for two classes.
    if getattr(estimator, "multi_class", "auto") not in ("auto", "deprecated"):
        return f"multi_class={estimator.multi_class!r} is another objective."
    return None


_SCORES = {
    LinearRegression: ("r2", "neg_mean_squared_error"),
    LogisticRegression: ("accuracy", "neg_log_loss"),
    Ridge: ("r2", "neg_mean_squared_error"),
    RidgeClassifier: ("accuracy",),
}


def _names():
    return ", ".join(cls.__name__ for cls in _SCORES)


def _small(utility):
    """Whether an explicit Hessian, which an added row updates, beats a refit."""
    n_features = utility.X.shape[1]
    if isinstance(utility.estimator, LogisticRegression):
        outputs = 1 if utility.n_classes == 2 else utility.n_classes
        return (n_features + 1) * outputs <= MAX_PARAMETERS
    return n_features <= MAX_FEATURES


def _dense(X):
    X = check_array(X, accept_sparse="csr", dtype=np.float64)
    return np.ascontiguousarray(rows.to_dense(X))
