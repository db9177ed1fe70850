"""StreamingRemoval: 10,000 single deletions against one Newton solve each."""

import time

import numpy as np
from scipy import linalg
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge

from skpuma.unlearning import StreamingRemoval
from tests.benchmarks import data

N, D, REQUESTS = 100_000, 50, 10_000
TIGHT = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}
# Requests whose model is compared with a refit of its own.
LOOKED_AT = (1, 100, 1000, 5000)


def streaming():
    """Time and distance from a refit, logistic and ridge; bounds against distances."""
    logistic = LogisticRegression(**TIGHT)
    return [
        *_against_solves("logistic", logistic, data.gaussian(N, D, 0)),
        *_against_solves("ridge", Ridge(), data.gaussian(N, D, 0, regression=True)),
        *_bounds(logistic),
    ]


def _requests():
    return np.random.default_rng(0).permutation(N)[:REQUESTS]


def _theta(model):
    return np.append(np.ravel(model.coef_), np.ravel(model.intercept_))


def _far(model, other):
    return np.linalg.norm(_theta(model) - _theta(other)) / np.linalg.norm(_theta(other))


def _refit(estimator, X, y, gone):
    kept = np.ones(len(y), dtype=bool)
    kept[gone] = False
    return estimator.fit(X[kept], y[kept])


def _newton_solve(X, y, model):
    """Gradient, Hessian and its solution, by plain numpy in BLAS-sized blocks."""
    w, b = np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])
    d = X.shape[1]
    H, g = np.zeros((d + 1, d + 1)), np.zeros(d + 1)
    buffer = np.ones((2000, d + 1))
    binary = isinstance(model, LogisticRegression)
    for start in range(0, len(y), len(buffer)):
        A = buffer[: min(len(buffer), len(y) - start)]
        A[:, :d] = X[start : start + len(A)]
        z = A[:, :d] @ w + b
        p = expit(z) if binary else z
        g += A.T @ (p - y[start : start + len(A)])
        if binary:
            A = A * np.sqrt(p * (1.0 - p))[:, None]
        H += A.T @ A
    penalty = np.append(np.full(d, 1.0 / model.C if binary else model.alpha), 0.0)
    H[np.diag_indices(d + 1)] += penalty
    g += penalty * np.append(w, b)
    return linalg.cho_solve(linalg.cho_factor(H), g)


def _against_solves(name, estimator, problem):
    (X, y), gone = problem, _requests()
    # Whatever is compiled is compiled.
    StreamingRemoval(estimator).fit(X[:500], y[:500]).forget(X[:500], y[:500], [0])
    ours, solves, systems = [], [], []
    for _ in range(5):
        system = StreamingRemoval(estimator).fit(X, y)
        before = system.n_corrections_
        start = time.perf_counter()
        system.forget(X, y, gone)
        ours.append(time.perf_counter() - start)
        systems.append((system, system.n_corrections_ - before))
        start = time.perf_counter()
        _newton_solve(X, y, system.estimator_)
        solves.append(time.perf_counter() - start)
    ratio = REQUESTS * np.median(solves) / np.median(ours)
    system, n_corrections = systems[0]
    error = _far(system, _refit(estimator, X, y, gone))
    return [
        (
            f"{name}, {N:,} x {D}, {REQUESTS:,} deletions: times faster than solves",
            f"{ratio:.0f}",
            ">= 100",
            ratio >= 100.0,
        ),
        (
            "  relative distance from a refit",
            f"{error:.0e}",
            "<= 1e-6",
            error <= 1e-6,
        ),
        (
            "  corrections; largest bound on the way, at the end",
            f"{n_corrections}; {system.bounds_.max():.0e}, {system.bounds_[-1]:.0e}",
            "-",
            None,
        ),
        (
            "  seconds: all deletions; milliseconds: one solve",
            f"{np.median(ours):.2f}; {1e3 * np.median(solves):.0f}",
            "-",
            None,
        ),
    ]


def _bounds(estimator):
    """Distances of models on the way from refits of their own, in units of bounds."""
    (X, y), gone = data.gaussian(N, D, 0), _requests()
    system = StreamingRemoval(estimator).fit(X, y)
    seen = {}
    for m, model in enumerate(system.stream(X, y, gone[: max(LOOKED_AT)]), 1):
        if m in LOOKED_AT:
            seen[m] = _far(model, _refit(estimator, X, y, gone[:m]))
    shares = [seen[m] / system.bounds_[m - 1] for m in LOOKED_AT]
    return [
        (
            f"distance / bound after {', '.join(map(str, LOOKED_AT))} deletions, "
            "largest",
            f"{max(shares):.2f}",
            "<= 1",
            max(shares) <= 1.0,
        )
    ]
