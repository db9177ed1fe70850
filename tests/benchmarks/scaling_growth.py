"""How the cost grows with n and p, and what the first call costs."""

import os
import subprocess
import sys
import tempfile

import numpy as np

from tests.benchmarks import machine, own, workloads
from tests.benchmarks.scaling_figure import draw

COLD, WARM = 2.0, 0.2
N_EXPONENT = 1.05
REPEATS = 5

FIRST_CALL = """
import time, warnings
import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from skpuma import PumaValuator
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = rng.standard_normal((400, 5))
y = (X[:, 0] + rng.standard_normal(400) > 0).astype(int)
models = [
    LogisticRegression().fit(X, y),
    LogisticRegression().fit(X, y + (X[:, 1] > 1)),
    LinearRegression().fit(X, y),
    MLPClassifier((4,), max_iter=20).fit(X, y),
]
targets = [y, y + (X[:, 1] > 1), y, y]
def call():
    start = time.process_time()
    for model, target in zip(models, targets):
        valuator = PumaValuator(FrozenEstimator(model), polish=False)
        valuator.fit(X, target, X_val=X[:100] + 0.1, y_val=target[:100])
    return time.process_time() - start
first = call()
print(first - min(call() for _ in range(3)))
"""


def compile_figures(quick):
    """First call less a later one, in processes with an empty and a full cache."""
    with tempfile.TemporaryDirectory() as folder:
        # CPU seconds of one thread: what a busy machine does not change.
        environment = {
            **os.environ,
            "NUMBA_CACHE_DIR": folder,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        cold = _first_call(environment)
        warm = min(_first_call(environment) for _ in range(1 if quick else 3))
    return [
        (
            "first call, four models, no cache: seconds more",
            f"{cold:.2f}",
            f"<= {COLD:g}",
            bool(cold <= COLD),
        ),
        (
            "first call, four models, cached: seconds more",
            f"{warm:.2f}",
            f"<= {WARM:g}",
            bool(warm <= WARM),
        ),
    ]


def _first_call(environment):
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALL],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def _sizes(quick):
    """{curve: (settings, [(size, workload)])} of the curves over n and over p."""
    rows = (10_000, 30_000, 100_000, 300_000, 1_000_000)
    rows = rows[:3] if quick else rows
    most, cg = rows[-1], {"what": "CG", "solver": "cg"}
    # Few steps of the fit: the time of psi does not depend on how good it is.
    over_n = {
        "logistic, d = 50": ({}, workloads.w1(most, max_iter=5)),
        "least squares, d = 50": ({}, workloads.w5(most)),
        "3 classes, d = 50, CG": (cg, workloads.w2(most, 50, 3, max_iter=5)),
    }
    over_n = {
        name: (settings, [(n, full.head(n)) for n in rows])
        for name, (settings, full) in over_n.items()
    }
    n = 4_000 if quick else 20_000
    columns = (25, 50, 100, 200) if quick else (25, 50, 100, 200, 400, 800)
    over_p = {
        f"logistic, n = {n:,}, explicit": (
            {},
            [(d + 1, workloads.w1(n, d, max_iter=5)) for d in columns],
        ),
        f"10 classes, n = {n:,}, CG": (
            cg,
            [(10 * (d + 1), workloads.w2(n, d, max_iter=5)) for d in columns],
        ),
        f"MLP d-64-1, n = {n:,}, CG": (
            cg,
            [(64 * (d + 2) + 1, workloads.w3(n, d, 64, 0.1, 3)) for d in columns],
        ),
    }
    return over_n, over_p


def growth_figures(quick):
    """Exponents by least squares on logarithms, and the figure."""
    from tests.benchmarks.scaling import folder, stored

    over_n, over_p = _sizes(quick)
    curves = {"n": _measured(over_n), "p": _measured(over_p)}
    records = [
        {"axis": axis, "curve": name, "size": size, "seconds": seconds}
        for axis, of in curves.items()
        for name, points in of.items()
        for size, seconds in points
    ]
    stored("growth", "curves", records)
    out = []
    for axis, of in curves.items():
        for name, points in of.items():
            value = exponent(points)
            goal, holds = "-", None
            if axis == "n":
                goal, holds = f"<= {N_EXPONENT:g}", bool(value <= N_EXPONENT)
            elif "explicit" in name:
                # n p^2 for the Hessian, p^3 for its factor.
                goal, holds = "<= 3", bool(value <= 3.0)
            else:
                goal, holds = "<= 1.3", bool(value <= 1.3)
            out.append((f"exponent of {axis}: {name}", f"{value:.2f}", goal, holds))
    draw(curves, exponent, folder() / "growth.png")
    return out


def _measured(curves):
    """Seconds of every point: the fastest of repeats in turn, least disturbed."""
    trials = []
    for name, (settings, sizes) in curves.items():
        for size, workload in sizes:
            system = own.Below(**settings)
            system.prepare(workload)
            system.run()
            trials.append((name, size, system, []))
    for _ in range(REPEATS):
        for _, _, system, times in trials:
            times.append(machine.seconds_of(system.run))
    out = {}
    for name, size, _, times in trials:
        out.setdefault(name, []).append((size, min(times)))
    return out


def exponent(points):
    """Slope of log seconds over log size."""
    size, seconds = np.log(np.array(points)).T
    return float(np.polyfit(size, seconds, 1)[0])
