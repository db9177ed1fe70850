"""Ratios of time, measured in the same process or in turn."""

import subprocess
import sys
import time

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skpuma import PumaValuator
from tests.benchmarks import data


def _median(functions, repeats=9):
    """Median seconds of each function, run in turn after one warm-up."""
    times = [[] for _ in functions]
    for repeat in range(repeats + 1):
        for function, record in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if repeat:
                record.append(time.perf_counter() - start)
    return [float(np.median(record)) for record in times]


def psi_speed():
    """psi of 100,000 x 50 binary logistic against one X.T D X and one pass over X."""
    X, y = data.gaussian(101_000, 50, 0)
    train, val = slice(0, 100_000), slice(100_000, None)
    frozen = FrozenEstimator(LogisticRegression().fit(X[train], y[train]))
    A, b = np.ascontiguousarray(X[train]), y[train]
    weight = np.random.default_rng(0).random(len(A))
    v = np.ones(A.shape[1])

    def machine():
        A.T @ (A * weight[:, None])
        A @ v

    def fit(polish):
        valuator = PumaValuator(frozen, "log_loss", polish=polish)
        return lambda: valuator.fit(A, b, X_val=X[val], y_val=y[val])

    floor, off, on = _median([machine, fit(False), fit(True)])
    return [
        (
            "psi / (X.T D X + one pass), polish off",
            f"{off / floor:.2f}",
            "<= 3",
            off / floor <= 3,
        ),
        ("  polish on", f"{on / floor:.2f}", "-", None),
        (
            "  milliseconds: machine, off, on",
            f"{1e3 * floor:.0f}, {1e3 * off:.0f}, {1e3 * on:.0f}",
            "-",
            None,
        ),
    ]


def import_cost():
    """`import skpuma` and its estimators against `import sklearn.linear_model`."""
    codes = [
        "import sklearn.linear_model",
        "import skpuma",
        "from skpuma import PumaPatcher, PumaValuator",
    ]
    runs = [
        lambda c=c: subprocess.run([sys.executable, "-c", c], check=True) for c in codes
    ]
    sklearn, package, estimators = _median(runs, repeats=7)
    return [
        (
            "import skpuma / import sklearn.linear_model",
            f"{package / sklearn:.2f}",
            "<= 1.2",
            package / sklearn <= 1.2,
        ),
        (
            "  with PumaPatcher and PumaValuator",
            f"{estimators / sklearn:.2f}",
            "<= 1.2",
            estimators / sklearn <= 1.2,
        ),
    ]
