"""Cells of the unlearning benchmark: rows, model and the rows that are to go.

Features are plain numbers, so that systems that train by themselves see what the others
see: standardised and one-hot, and of MNIST the first 50 principal components (a Hessian
of its 784 pixels and ten classes has 7,850 columns, which nobody factors in the time of
a retraining). The preprocessing is fitted once, on all training rows, and is not
forgotten by any system.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from skpuma.datasets import load_mnist
from tests.benchmarks import data
from tests.benchmarks.detection_data import _numbers


@dataclass(frozen=True)
class Size:
    """Rows that are trained on and that measure C, and the networks' weight decay.

    The decay is the power of ten, or three times one, with the best accuracy on fresh
    rows. `label` is the class of which a cluster goes.
    """

    n: int
    n_val: int
    alpha: float
    label: int


SETS = {
    "spambase": Size(3000, 600, 10.0, 1),
    "MNIST": Size(10_000, 2000, 10.0, 4),
    "Adult": Size(32_561, 4000, 30.0, 1),
}
MODELS = ("logistic", "MLP")
REMOVALS = ("1 %", "5 %", "cluster")
SEEDS = 5
HIDDEN = 32
N_CLUSTERS = 6
# A style is a minority; of several clusters the one that is nearest to this share goes.
CLUSTER_SHARE = 0.05


@dataclass(frozen=True, order=True)
class Cell:
    """One problem."""

    set: str
    model: str = "logistic"
    removal: str = "1 %"
    seed: int = 0


@dataclass(frozen=True)
class Problem:
    """Rows of a cell.

    Attributes
    ----------
    X, y : training rows
    X_val, y_val : rows that measure the criterion C, neither trained on nor tested
    X_test, y_test : test rows
    gone : ndarray of bool
        Training rows that are to be forgotten.
    fresh, fresh_val : ndarray of bool
        Test and validation rows from where the forgotten ones come from: all of them,
        or those of the cluster.
    model : estimator, not fitted
    seed : int
    """

    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    gone: np.ndarray
    fresh: np.ndarray
    fresh_val: np.ndarray
    model: object
    seed: int


def cells(sets=None, models=MODELS, removals=REMOVALS, seeds=SEEDS):
    """All cells of a grid, seed by seed and from the smallest set to the largest."""
    return [
        Cell(name, model, removal, seed)
        for seed in range(seeds)
        for name in sorted(sets or SETS, key=lambda name: SETS[name].n)
        for model in models
        for removal in removals
    ]


def problem(cell):
    """The rows and the unfitted model of a cell; the same whenever it is asked for."""
    X, y, X_val, y_val, X_test, y_test = rows_of(cell.set, cell.seed)
    gone, fresh, fresh_val = _removal(cell.set, cell.removal, cell.seed)
    return Problem(
        X,
        y,
        X_val,
        y_val,
        X_test,
        y_test,
        gone,
        fresh,
        fresh_val,
        model_of(cell),
        cell.seed,
    )


def model_of(cell):
    """A fresh model."""
    if cell.model == "logistic":
        return LogisticRegression(max_iter=1000)
    return MLPClassifier(
        (HIDDEN,),
        activation="tanh",
        solver="lbfgs",
        alpha=SETS[cell.set].alpha,
        max_iter=500,
        random_state=cell.seed,
    )


@lru_cache(maxsize=4)
def _removal(name, removal, seed):
    """Masks of the training rows that go, and of the test and validation rows alike."""
    X, y, X_val, y_val, X_test, y_test = rows_of(name, seed)
    rng = np.random.default_rng(seed)
    if removal != "cluster":
        n_gone = round(float(removal.rstrip(" %")) / 100.0 * len(y))
        gone = np.zeros(len(y), dtype=bool)
        gone[rng.choice(len(y), n_gone, replace=False)] = True
        return gone, np.ones(len(y_test), dtype=bool), np.ones(len(y_val), dtype=bool)
    label = SETS[name].label
    clusters = KMeans(N_CLUSTERS, n_init=4, random_state=seed).fit(X[y == label])
    share = np.bincount(clusters.labels_) / len(y)
    chosen = np.argmin(np.abs(share - CLUSTER_SHARE))
    return tuple(
        (labels == label) & (clusters.predict(table) == chosen)
        for table, labels in ((X, y), (X_test, y_test), (X_val, y_val))
    )


@lru_cache(maxsize=2)
def rows_of(name, seed):
    """(X, y, X_val, y_val, X_test, y_test) of a set, as numbers."""
    size = SETS[name]
    X, y, X_test, y_test = _table(name)
    if name == "Adult":
        # All rows are trained on; which of the others measure C depends on the seed.
        X_val, X_test, y_val, y_test = _drawn(X_test, y_test, size.n_val, seed)
    else:
        X, X_val, y, y_val = _drawn(X, y, size.n, seed)
        if X_test is None:
            X_val, X_test, y_val, y_test = _drawn(X_val, y_val, size.n_val, seed)
        else:
            X_val, y_val = X_val[: size.n_val], y_val[: size.n_val]
    together = pd.concat if isinstance(X, pd.DataFrame) else np.concatenate
    X, other = _numbers(name, X, together([X_val, X_test]))
    return X, y, other[: len(y_val)], y_val, other[len(y_val) :], y_test


def _drawn(X, y, n, seed):
    return train_test_split(X, y, train_size=n, stratify=y, random_state=seed)


@lru_cache
def _table(name):
    """Features and labels of a set, and of its test rows where they are apart."""
    folder = data.folder()
    if name == "spambase":
        table = pd.read_csv(folder / "spambase.csv.gz")
        y = table.pop("class").to_numpy()
        return table.to_numpy(dtype=float), y, None, None
    if name == "Adult":
        X, y, X_test, y_test = data.adult()
        return X, y.to_numpy(), X_test, y_test.to_numpy()
    return load_mnist(folder / "mnist")
