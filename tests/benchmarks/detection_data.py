"""Cells of the detection benchmark: rows, noise and model of one seed.

Features are ready for every system (numbers standardised on the training rows, words
one-hot), because a distance or a bag of trees takes arrays. Nothing of the labels goes
into them.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_moons
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skpuma.datasets import flip_labels, load_mnist
from tests.benchmarks import data


@dataclass(frozen=True)
class Size:
    """Rows and seeds of a set, and the weight decay and units of the network.

    The decay is the power of ten, or three times one, with the best accuracy on clean
    validation rows at 10 % flips: what a careful user would have found. With less of it
    the network learns the wrong labels by heart, and what is measured is overfitting.
    `cost` is 0 for few rows, 1 for a thousand, 2 for ten classes.
    """

    n: int
    n_val: int
    seeds: int
    alpha: float
    hidden: int = 32
    cost: int = 0


SETS = {
    "wine": Size(120, 58, 20, 1.0),
    "breast_cancer": Size(400, 169, 20, 10.0),
    "two moons": Size(500, 200, 20, 0.3),
    "digits": Size(1000, 400, 10, 3.0, hidden=16, cost=2),
    "spambase": Size(1000, 400, 10, 10.0, cost=1),
    "Adult": Size(1000, 400, 10, 10.0, cost=1),
    "bank": Size(1000, 400, 10, 10.0, cost=1),
    "MNIST": Size(5000, 1000, 10, 10.0, hidden=16, cost=2),
}
NEEDS_FOLDER = ("spambase", "Adult", "bank", "MNIST")
# "uneven": rates that differ between the classes.
NOISES = ("10 %", "20 %", "uneven")
MODELS = ("logistic", "MLP")
VALIDATIONS = ("clean", "noisy")
MNIST_COMPONENTS = 50


@dataclass(frozen=True, order=True)
class Cell:
    """One problem; `val` is "clean", "noisy" or "none"."""

    set: str
    model: str = "logistic"
    noise: str = "10 %"
    val: str = "clean"
    seed: int = 0

    def at(self, **changes):
        """The same cell, but for the changes."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Problem:
    """Rows of a cell; `y` is what a system sees, `y_true` what an oracle sees."""

    X: np.ndarray
    y: np.ndarray
    y_true: np.ndarray
    flipped: np.ndarray
    X_val: np.ndarray | None
    y_val: np.ndarray | None
    model: object
    seed: int

    @property
    def validation(self):
        """Keywords of fit."""
        return {"X_val": self.X_val, "y_val": self.y_val}

    def with_proxy(self, components=None):
        """The same rows for a logistic regression, of `components` if many classes."""
        X, X_val = self.X, self.X_val
        if components and len(np.unique(self.y)) == 10:
            step = PCA(components, random_state=0).fit(X)
            X = step.transform(X)
            X_val = None if X_val is None else step.transform(X_val)
        model = LogisticRegression(max_iter=1000)
        return replace(self, X=X, X_val=X_val, model=model)


def available():
    """Names of the sets whose files are there."""
    there = data.folder() is not None
    return [name for name in SETS if there or name not in NEEDS_FOLDER]


def cells(sets=None, models=MODELS, noises=NOISES, vals=VALIDATIONS, seeds=None):
    """All cells of a grid; `seeds` caps the number of seeds of each set."""
    out = []
    for name in available() if sets is None else sets:
        last = SETS[name].seeds if seeds is None else min(seeds, SETS[name].seeds)
        out += [
            Cell(name, model, noise, val, seed)
            for model in models
            for noise in noises
            for val in vals
            for seed in range(last)
        ]
    return out


@lru_cache(maxsize=64)
def problem(cell):
    """The rows and the unfitted model of a cell; the same whenever it is asked for."""
    X, y, X_val, y_val = rows_of(cell.set, cell.seed)
    noisy, flipped = flip(y, cell.noise, cell.seed)
    if cell.val == "noisy":
        # Other flips than those of the training rows, at the same rates.
        y_val, _ = flip(y_val, cell.noise, cell.seed + 1000)
    if cell.val == "none":
        X_val = y_val = None
    model = model_of(cell)
    return Problem(X, noisy, y, flipped, X_val, y_val, model, cell.seed)


def flip(y, noise, seed):
    """Labels with noise of one kind, and which of them are wrong."""
    if noise != "uneven":
        return flip_labels(y, float(noise.rstrip(" %")) / 100.0, random_state=seed)
    rates = {label: (0.05, 0.25)[i % 2] for i, label in enumerate(np.unique(y))}
    return flip_labels(y, 0.0, per_class=rates, random_state=seed)


def model_of(cell):
    """A fresh model."""
    if cell.model == "logistic":
        return LogisticRegression(max_iter=1000)
    size = SETS[cell.set]
    return MLPClassifier(
        (size.hidden,),
        activation="tanh",
        solver="lbfgs",
        alpha=size.alpha,
        max_iter=300,
        random_state=cell.seed,
    )


@lru_cache(maxsize=32)
def rows_of(name, seed):
    """(X, y, X_val, y_val): stratified rows of a set, with true labels."""
    n, n_val = SETS[name].n, SETS[name].n_val
    if name == "two moons":
        X, y = make_moons(n + n_val, noise=0.2, random_state=seed)
    else:
        X, y = _table(name)
    X, X_val, y, y_val = train_test_split(
        X, y, train_size=n, test_size=n_val, stratify=y, random_state=seed
    )
    X, X_val = _numbers(name, X, X_val)
    return X, y, X_val, y_val


def _numbers(name, X, X_val):
    """Arrays from the rows, by what the training rows say about the features."""
    if name == "digits":
        return X / 16.0, X_val / 16.0
    if name == "MNIST":
        # Full Hessians of all systems fit, and little of the images is lost.
        step = PCA(MNIST_COMPONENTS, random_state=0)
        return step.fit_transform(X / 255.0), step.transform(X_val / 255.0)
    if isinstance(X, pd.DataFrame):
        words = OneHotEncoder(
            handle_unknown="ignore", min_frequency=20, sparse_output=False
        )
        step = make_column_transformer(
            (StandardScaler(), make_column_selector(dtype_include=np.number)),
            (words, make_column_selector(dtype_exclude=np.number)),
        )
    else:
        step = StandardScaler()
    return step.fit_transform(X), step.transform(X_val)


@lru_cache
def _table(name):
    """Features and codes of the labels of a whole set."""
    bundled = {
        "wine": load_wine,
        "breast_cancer": load_breast_cancer,
        "digits": load_digits,
    }
    if name in bundled:
        return bundled[name](return_X_y=True)
    folder = data.folder()
    if name == "spambase":
        table = pd.read_csv(folder / "spambase.csv.gz")
        y = table.pop("class").to_numpy()
        return table.to_numpy(dtype=float), y
    if name == "Adult":
        X, y, _, _ = data.adult()
        return X, y.to_numpy()
    if name == "bank":
        table = pd.read_csv(folder / "bank-additional-full.csv.gz", sep=";")
        y = (table.pop("y") == "yes").astype(int).to_numpy()
        return table.drop(columns="duration"), y
    X, y, _, _ = load_mnist(folder / "mnist")
    return X, y
