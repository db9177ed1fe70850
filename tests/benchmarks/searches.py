"""PumaPatcherCV against GridSearchCV over the same grid, and the same scores."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier

from skpuma import PumaPatcher, PumaPatcherCV
from tests.benchmarks import data
from tests.benchmarks.speed import _median

ETAS = [0.25, 0.5, 0.75, 1.0, 2.0]


def patcher_cv():
    """A 5 x 5 grid, by log loss; rows in a corner of the features are removed."""
    X, y = data.gaussian(20_000, 50, 0)
    corner = X[:, 0] > np.quantile(X[:, 0], 0.95)
    network = MLPClassifier((16,), max_iter=20, random_state=0)
    loose, tight = [0.003, 0.01, 0.03, 0.1, 0.3], [1e-5, 3e-5, 1e-4, 3e-4, 1e-3]
    return (
        _compared(
            "logistic, few deltas bind", LogisticRegression(), X, y, corner, loose
        )
        + _compared("logistic, most bind", LogisticRegression(), X, y, corner, tight)
        + _compared("network", network, X[:5000], y[:5000], corner[:5000], tight)
    )


def _compared(name, estimator, X, y, marked, deltas):
    options = {"scoring": "neg_log_loss", "cv": 3, "refit": False}
    grid = {"delta": deltas, "eta": ETAS}
    patcher = PumaPatcher(estimator, side="both", random_state=0)
    slow = GridSearchCV(patcher, grid, **options)
    fast = PumaPatcherCV(
        estimator, deltas=deltas, etas=ETAS, side="both", random_state=0, **options
    )
    searches = [slow, fast]
    runs = [lambda s=s: s.fit(X, y, marked=marked) for s in searches]
    wall = _median(runs, repeats=3)
    bound = np.mean(fast.cv_results_["mean_s"] < 0.999 * fast.cv_results_["param_eta"])
    error = max(
        np.abs(fast.cv_results_[f"split{i}_test_score"] - scores).max()
        for i in range(3)
        for scores in [slow.cv_results_[f"split{i}_test_score"]]
    )
    ratio = wall[0] / wall[1]
    return [
        (
            f"{name}: GridSearchCV / PumaPatcherCV",
            f"{ratio:.1f}",
            ">= 5",
            bool(ratio >= 5),
        ),
        (
            "  seconds, share of candidates that a delta ends",
            f"{wall[0]:.1f}, {wall[1]:.1f}, {bound:.2f}",
            "-",
            None,
        ),
        (
            "  largest difference of a score",
            f"{error:.1e}",
            "<= 1e-8",
            bool(error <= 1e-8),
        ),
    ]
