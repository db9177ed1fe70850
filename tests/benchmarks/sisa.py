"""SISA: what random single deletions save, in rows and in seconds."""

import time
from copy import deepcopy

import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from skpuma.unlearning import SISAClassifier
from skpuma.unlearning._sharding import expected_speedup

N_ROWS, N_FEATURES, N_CLUSTERS = 30_000, 600, 10
SETTINGS = {"n_shards": 5, "n_slices": 4, "epochs": 20, "random_state": 0}
# The mean cost of so many has a standard error of 5 %.
DELETIONS = 40
MODELS = {
    "600-128-1 network": MLPClassifier((128,), activation="tanh"),
    "linear, by SGD": SGDClassifier(loss="log_loss"),
}


def sisa_speed():
    """Speed-up of forgetting one row, against training all shards from scratch."""
    X, y = _purchases()
    gone = np.random.default_rng(1).choice(N_ROWS, DELETIONS, replace=False)
    figures = []
    with threadpool_limits(1):
        for name, estimator in MODELS.items():
            system = SISAClassifier(estimator, **SETTINGS)
            figures += _figures(name, *_compared(system, X, y, gone))
    return figures


def _purchases(seed=0):
    """Binary baskets of customers in clusters; a label is that of half the clusters."""
    rng = np.random.default_rng(seed)
    tastes = rng.beta(0.5, 1.5, size=(N_CLUSTERS, N_FEATURES))
    cluster = rng.integers(N_CLUSTERS, size=N_ROWS)
    draws = rng.random((N_ROWS, N_FEATURES), dtype=np.float32)
    return (draws < 0.2 + 0.2 * tastes[cluster]).astype(np.uint8), cluster % 2


def _compared(system, X, y, gone):
    """(rows times epochs, wall seconds, CPU seconds) of fits, and of deletions.

    Fits are before, between and after the deletions: what else runs on the machine
    slows both.
    """
    fits, deletions = [_measured(system, system.fit, X, y)], []
    for half in np.array_split(gone, 2):
        for row in half:
            asked = deepcopy(system)
            deletions.append(_measured(asked, asked.forget, X, y, [row]))
        again = deepcopy(system)
        fits.append(_measured(again, again.fit, X, y))
    return np.array(fits), np.array(deletions)


def _measured(system, call, *given):
    wall, cpu = time.perf_counter(), time.process_time()
    call(*given)
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    return system.cost_, *seconds


def _figures(name, fits, deletions):
    theory = expected_speedup(SETTINGS["n_shards"], SETTINGS["n_slices"])
    fit, deletion = fits.mean(axis=0), deletions.mean(axis=0)
    rows, wall, cpu = fit / deletion
    goal = f"{theory:.2f} +- 20 %"
    what = f"{name}: {DELETIONS} single deletions, 5 x 4, times fewer"
    return [
        (f"{what} rows x epochs", f"{rows:.2f}", goal, _near(rows, theory)),
        ("  seconds", f"{wall:.2f}", goal, _near(wall, theory)),
        ("  CPU seconds", f"{cpu:.2f}", goal, _near(cpu, theory)),
        (
            "  seconds of a fit, of a deletion",
            f"{fit[1]:.2f}, {deletion[1]:.3f}",
            "-",
            None,
        ),
    ]


def _near(value, theory):
    return bool(0.8 * theory <= value <= 1.2 * theory)
