"""Sparse rows of many columns: time against the solver's own passes, and memory."""

import json
import subprocess
import sys
import time
import tracemalloc
import warnings
from functools import lru_cache

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skpuma import PumaPatcher, PumaValuator, scores
from skpuma.criteria import measures_of
from skpuma.curvature import curvature_of
from skpuma.models import adapt
from skpuma.objective import Objective
from skpuma.solvers import EXPLICIT_LIMIT, factor
from skpuma.valuing import PSI_RESIDUAL

SHAPE = (50_000, 100_000)
DENSITY = 1e-3
VALIDATION = 5_000


def corpus(n, d, density, seed=0):
    """(X, y): tf-idf rows of unit length, columns as popular as words (Zipf)."""
    rng = np.random.default_rng(seed)
    popularity = np.cumsum(1.0 / (np.arange(d) + 0.02 * d))
    popularity /= popularity[-1]
    # A word that comes twice takes one entry: draw a few more than are wanted.
    length = np.maximum(rng.poisson(1.05 * density * d, n), 3)
    words = np.searchsorted(popularity, rng.random(length.sum()))
    indptr = np.concatenate([[0], np.cumsum(length)])
    counts = sparse.csr_matrix((np.ones(len(words)), words, indptr), shape=(n, d))
    counts.sum_duplicates()
    X = sparse.csr_matrix(TfidfTransformer(sublinear_tf=True).fit_transform(counts))
    coef = rng.standard_normal(d) * (rng.random(d) < 0.1)
    signal = X @ coef
    signal *= 3.0 / signal.std()
    y = (rng.random(n) < 1.0 / (1.0 + np.exp(-signal))).astype(int)
    return X, y


def size_of(X):
    """Bytes of a CSR matrix."""
    return X.data.nbytes + X.indices.nbytes + X.indptr.nbytes


@lru_cache
def problem():
    """(estimator, X, y, X_val, y_val) of the long and wide corpus."""
    n, d = SHAPE
    X, y = corpus(n + VALIDATION, d, DENSITY)
    estimator = LogisticRegression().fit(X[:n], y[:n])
    return estimator, X[:n], y[:n], X[n:], y[n:]


def _seconds(function, repeats=5):
    """Median seconds after one warm-up."""
    function()
    record = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        record.append(time.perf_counter() - start)
    return float(np.median(record))


def text_speed():
    """psi of 50,000 x 100,000 tf-idf rows against one iteration of lbfgs.

    That is one X @ w and one X.T @ r; conjugate gradients need both for every product.
    """
    estimator, X, y, X_val, y_val = problem()
    model = adapt(estimator)
    ones = np.ones(len(y))
    objective = Objective.at_fit(model, model.inputs(X), model.targets(y), ones)
    rows_of_C = (model.inputs(X_val), model.targets(y_val), np.ones(len(y_val)), None)
    measure = measures_of("log_loss", model, *rows_of_C)[0]
    w, r = estimator.coef_.ravel(), objective.residual[:, 0]
    iteration = _seconds(lambda: (X @ w, X.T @ r))
    solvers = []

    def factored():
        solvers.append(factor(curvature_of(objective), "cg"))

    def solved():
        gradient = measure.gradient(model)[:, None]
        loose = solvers[-1].loosened(PSI_RESIDUAL)
        return scores.solve_criteria(loose, gradient)

    setup = _seconds(factored, 3)
    S = solved()
    right = measure.gradient(model)[:, None]
    exact = solvers[-1].solve(right)
    count = solvers[-1].loosened(PSI_RESIDUAL).solve(right).n_iter
    reference = scores.psi_matrix(objective, exact.value)
    error = np.linalg.norm(scores.psi_matrix(objective, S) - reference)
    error /= np.linalg.norm(reference)
    solving = _seconds(solved, 3)
    psi = _seconds(lambda: scores.psi_matrix(objective, S))
    whole = {}
    for polish in (False, True):
        valuator = PumaValuator(
            FrozenEstimator(estimator), "log_loss", solver="cg", polish=polish
        )
        whole[polish] = _seconds(
            lambda v=valuator: v.fit(X, y, X_val=X_val, y_val=y_val), 1
        )
    total = (setup + solving + psi) / iteration
    kind = solvers[-1].info.get("preconditioner")
    return [
        (
            "text: preconditioner, grad C, solve and psi / lbfgs iteration",
            f"{total:.1f}",
            "< 10",
            total < 10,
        ),
        (
            f"  products with H ({kind}); to a residual of 1e-8",
            f"{count}; {exact.n_iter}",
            "-",
            None,
        ),
        ("  relative error of psi", f"{error:.1e}", "<= 1e-4", error <= 1e-4),
        ("  psi of all rows / iteration", f"{psi / iteration:.2f}", "-", None),
        (
            "  PumaValuator.fit / iteration, polish off",
            f"{whole[False] / iteration:.0f}",
            "-",
            None,
        ),
        (
            "  PumaValuator.fit / iteration, polish on",
            f"{whole[True] / iteration:.0f}",
            "-",
            None,
        ),
        ("  the fit itself: iterations", f"{int(estimator.n_iter_[0])}", "-", None),
    ]


# Rows, columns, density: conjugate gradients, and a Hessian that is held.
MEMORY = {"wide": (50_000, 100_000, 1e-3), "tall": (200_000, 1_000, 5e-2)}


def text_memory():
    """What valuing and patching allocate beside CSR rows; nothing is made dense."""
    out = []
    for name in MEMORY:
        for what in ("fit", "patch"):
            code = (
                f"from tests.benchmarks import text; text.measure({name!r}, {what!r})"
            )
            done = subprocess.run(
                [sys.executable, "-c", code], check=True, capture_output=True, text=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            bound = 0.3 * found["data"] + found["hessian"]
            value = f"{found['allocated']:.0f} + {found['data']:.0f} MB"
            label = f"{name} CSR, {what}: peak of allocations + data"
            goal = f"<= {bound:.0f} + data"
            out.append((label, value, goal, found["allocated"] <= bound))
    return out


def measure(name, what):
    """Print, in a process of its own, what one call allocates, in megabytes.

    The process first does the same on a few rows, so that code is loaded and compiled.
    """
    warnings.simplefilter("ignore")
    n, d, density = MEMORY[name]
    for size in (500, n):
        X, y = corpus(size + 500, d, density)
        estimator = LogisticRegression(C=10.0, tol=1e-2).fit(X[:size], y[:size])
        call = _call(
            what, FrozenEstimator(estimator), X[:size], y[:size], X[size:], y[size:]
        )
        if size < n:
            call()
    tracemalloc.start()
    call()
    allocated = tracemalloc.get_traced_memory()[1]
    solver = "cg" if d > EXPLICIT_LIMIT else "cholesky"
    hessian = 0 if solver == "cg" else 8 * (d + 1) ** 2
    mega = 2.0**20
    print(
        json.dumps(
            {
                "data": size_of(X[:n]) / mega,
                "hessian": hessian / mega,
                "allocated": allocated / mega,
            }
        )
    )


def _call(what, frozen, X, y, X_val, y_val):
    if what == "fit":
        return lambda: PumaValuator(frozen, "log_loss").fit(
            X, y, X_val=X_val, y_val=y_val
        )
    remove = np.arange(len(y)) % 100 == 0
    return lambda: PumaPatcher(frozen, "log_loss").patch(X, y, remove=remove)
