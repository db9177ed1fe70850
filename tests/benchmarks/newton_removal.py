"""NewtonRemoval: residuals against their bound, Ridge against refits, the budget."""

import copy
import time

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression, Ridge

from skpuma.unlearning import NewtonRemoval
from tests.benchmarks import data

REMOVALS = 1000
# Every fifth removal goes on from the last one, so that the bound accumulates.
IN_TURN = 5
SIZES = (1, 1, 1, 2, 5, 20)


def newton_removal():
    """Residuals of 1,000 random removals, Ridge, how long a budget lasts, and speed."""
    return [*_residuals(), *_ridge(), *_budget()]


def _leverage():
    """Rows of which a few are a thousand times as long as the others."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 8))
    X[:10] *= 1000.0
    return X, (X[:, 0] + rng.standard_normal(500) > 0).astype(int)


def _few_rows():
    rng = np.random.default_rng(0)
    return rng.standard_normal((200, 300)), np.arange(200) % 2


def _short():
    """Standardised rows divided by their length: the paper's setting."""
    X, y = data.breast_cancer()
    return X / np.linalg.norm(X, axis=1, keepdims=True), y


def _spambase():
    """Counts and percentages as they are, or None."""
    path = data.folder()
    if path is None or not (path / "spambase.csv.gz").exists():
        return None
    table = pd.read_csv(path / "spambase.csv.gz").to_numpy()[::3]
    return table[:, :-1].astype(float), table[:, -1].astype(int)


def _problems():
    """(rows, estimator) by name."""
    logistic = LogisticRegression()
    found = {
        "breast_cancer": (data.breast_cancer(), logistic),
        "breast_cancer, as it is": (load_breast_cancer(return_X_y=True), logistic),
        "breast_cancer, C = 1000": (data.breast_cancer(), LogisticRegression(C=1e3)),
        "rows of length 1": (_short(), LogisticRegression(C=100.0)),
        "wine, as it is": (load_wine(return_X_y=True), logistic),
        "digits": (tuple(part[:500] for part in data.digits()), logistic),
        "leverage": (_leverage(), logistic),
        "more columns than rows": (_few_rows(), logistic),
        "spambase, as it is": (_spambase(), logistic),
        "diabetes, Ridge": (data.diabetes(), Ridge(1e-3)),
    }
    return {name: one for name, one in found.items() if one[0] is not None}


def _residuals():
    problems = _problems()
    shares = np.diff(np.linspace(0, REMOVALS, len(problems) + 1).astype(int))
    within, off, loose = [], [], {}
    for seed, (name, share) in enumerate(zip(problems, shares, strict=True)):
        ratios, errors, kept = _removals(*problems[name], share, seed)
        within += kept
        off += errors
        if ratios:
            loose[name] = np.median(ratios)
    table = [
        (
            f"residual within its bound, {len(within)} random removals",
            f"{sum(within)}",
            f"{len(within)}",
            all(within),
        ),
        (
            "  residual_ against numpy, largest relative error",
            f"{max(off):.0e}",
            "-",
            None,
        ),
    ]
    return table + [
        (f"  bound / residual, single rows, {name}", f"{ratio:.3g}", "-", None)
        for name, ratio in loose.items()
    ]


def _removals(problem, estimator, n_removals, seed):
    """(bounds / residuals of single rows, errors of residual_, within the bound)."""
    (X, y), rng = problem, np.random.default_rng(seed)
    fitted = NewtonRemoval(estimator, exhausted="warn", random_state=seed).fit(X, y)
    drawn = -_gradients(fitted, X, y)
    system, ratios, errors, within = fitted, [], [], []
    for removal in range(n_removals):
        if removal % IN_TURN == 0:
            system = fitted
        size = rng.choice(SIZES)
        gone = rng.choice(np.flatnonzero(~system.forgotten_), size, replace=False)
        system = copy.copy(system).forget(X, y, gone)
        within.append(system.residual_ <= system.residual_bound_)
        kept = ~system.forgotten_
        left = np.linalg.norm(_gradients(system, X[kept], y[kept]) + drawn)
        # Below the bound's allowance for rounding there is nothing to compare.
        if system.residual_ > 10.0 * fitted.residual_bound_:
            errors.append(abs(left / system.residual_ - 1.0))
            if size == 1:
                ratios.append(system.residual_bound_ / system.residual_)
    return ratios, errors, within


def _gradients(system, X, y):
    """Gradients of the summed objectives without the random term, by plain numpy."""
    if isinstance(system.estimator_, Ridge):
        error = X @ system.coef_ + system.intercept_ - y
        slope = X.T @ error + system.estimator_.alpha * system.coef_
        return np.append(slope, error.sum())[None]
    parts = getattr(system.estimator_, "estimators_", [system.estimator_])
    W = np.array([[*one.coef_[0], *one.intercept_] for one in parts])
    classes = system.classes_ if len(system.classes_) > 2 else system.classes_[1:]
    A = np.column_stack([X, np.ones(len(X))])
    return (expit(A @ W.T) - (y[:, None] == classes)).T @ A + W / parts[0].C


def _ridge():
    """Largest difference from a refit of what 50 rows in turn and 100 at once leave."""
    X, y = data.diabetes()
    scaled = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    system = NewtonRemoval(Ridge()).fit(*scaled)
    for row in range(50):
        system.forget(*scaled, [row])
    system.forget(*scaled, range(50, 150))
    again = Ridge().fit(scaled[0][150:], scaled[1][150:])
    error = np.abs(system.coef_ - again.coef_).max()
    what = "Ridge, 50 rows in turn and 100 at once: distance from a refit"
    return [(what, f"{error:.0e}", "<= 1e-10", error <= 1e-10)]


def _budget():
    """How many single rows go before the budget is exhausted, and the time of one."""
    X, y = data.gaussian(20_000, 30, 0)
    start = time.perf_counter()
    system = NewtonRemoval(random_state=0).fit(X, y)
    train = time.perf_counter() - start
    start, n = time.perf_counter(), 0
    while n < 300 and system.n_refits_ == 0:
        system.forget(X, y, [n])
        n += 1
    one = (time.perf_counter() - start) / n
    used = system.residual_bound_ / system.budget_
    what = "20,000 x 30, sigma 1: budget used"
    return [
        (f"{what} by {n} single rows", f"{used:.3f}", "-", None),
        (
            "  milliseconds: training, one row",
            f"{1e3 * train:.0f}, {1e3 * one:.0f}",
            "-",
            None,
        ),
    ]
