"""Small fitted objects that figures are made of, and every Display of the table."""

from functools import lru_cache

import numpy as np
from sklearn.linear_model import LogisticRegression

from skpuma import PumaDebugger, PumaPatcher, PumaValuator, plotting
from skpuma.datasets import flip_labels
from tests.data import blobs, digits, frame


@lru_cache
def table():
    """A frame on a string index, and its labels."""
    X, y = blobs()
    return frame(X), y


@lru_cache
def valuator():
    X, y = table()
    criteria = ["log_loss", "brier_score", "calibration_error"]
    return PumaValuator(criterion=criteria, random_state=0).fit(X, y)


@lru_cache
def patcher():
    X, y = table()
    patcher = PumaPatcher(
        criterion=["log_loss", "calibration_error"],
        target="brier_score",
        delta=[0.02, np.inf],
        eta=np.inf,
        alpha=0.2,
    )
    return patcher.fit(X, y).patch(X, y, remove=np.arange(12))


@lru_cache
def compensated():
    """A patcher that re-weights rows, to keep the criterion where it was."""
    X, y = table()
    patcher = PumaPatcher(delta=0.02, side="both", alpha=0.1).fit(X, y)
    return patcher.patch(X, y, remove=np.arange(12))


@lru_cache
def noisy():
    """A debugger on rows with wrong labels, the rows, and which are wrong."""
    X, y = blobs(n=200, d=3)
    y, wrong = flip_labels(y, 0.1, random_state=0)
    return PumaDebugger(views=("model",), random_state=0).fit(X, y), X, wrong


@lru_cache
def pictures():
    """Two models of digits, and pictures, rows and labels."""
    X, y = digits(n_classes=3, n=120)
    models = [LogisticRegression(C=C).fit(X, y) for C in (1.0, 1e-3)]
    return *models, X[:, :49].reshape(-1, 7, 7)[:10], X[:10], y[:10]


def bowl(theta):
    return theta @ theta + theta[0]


def valley(theta):
    return (theta[0] + theta[1]) ** 2


MOVES = {
    "theta": [0.5, -1.0],
    "phi": [[1.0, 0.2], [0.3, -1.0], [-0.4, 0.1]],
    "naive": [1.0, 0.2],
    "puma": [0.3, 0.6],
    "J": bowl,
    "C": valley,
}


def detection(ax=None):
    values = np.arange(10.0)
    wrong = values < 2
    return plotting.DetectionCurveDisplay.from_values(values, wrong, ax=ax)


def direction(ax=None):
    marked = [True, False, False]
    return plotting.DirectionDisplay.from_surfaces(**MOVES, marked=marked, ax=ax)


def reliability(ax=None):
    X, y = table()
    models = {f"C = {C}": LogisticRegression(C=C).fit(X, y) for C in (1e-3, 1.0)}
    return plotting.ReliabilityDisplay.from_estimators(models, X, y, ax=ax)


def influence(ax=None):
    return plotting.InfluenceDisplay.from_valuator(valuator(), *table(), ax=ax)


def issues(ax=None):
    debugger, X, wrong = noisy()
    return plotting.IssueBoardDisplay.from_debugger(debugger, X, is_noisy=wrong, ax=ax)


def patched_images(ax=None):
    return plotting.PatchedImagesDisplay.from_estimators(*pictures(), ax=ax)


DRAW = {
    "ConflictDisplay": lambda ax=None: plotting.ConflictDisplay.from_valuator(
        valuator(), ax=ax
    ),
    "DetectionCurveDisplay": detection,
    "DirectionDisplay": direction,
    "InfluenceDisplay": influence,
    "IssueBoardDisplay": issues,
    "PatchPathDisplay": lambda ax=None: plotting.PatchPathDisplay.from_patcher(
        patcher(), ax=ax
    ),
    "PatchedImagesDisplay": patched_images,
    "ReliabilityDisplay": reliability,
    "WeightsDisplay": lambda ax=None: plotting.WeightsDisplay.from_patcher(
        compensated(), ax=ax
    ),
}
