"""Small data sets and the objectives of models fitted to them."""

import numpy as np

from skpuma.models import adapt
from skpuma.objective import Objective

LABELS = {2: np.array(["no", "yes"]), 3: np.array(["ape", "bee", "cat"])}


def rows(n=40, d=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def classes(X, k, seed=1, labels=None):
    """Labels (n,) that overlap, so that fits without a penalty exist."""
    rng = np.random.default_rng(seed)
    score = X @ rng.standard_normal((X.shape[1], k)) / np.sqrt(X.shape[1])
    code = (score + 1.5 * rng.gumbel(size=score.shape)).argmax(axis=1)
    return (LABELS[k] if labels is None else np.asarray(labels))[code]


def numbers(X, k=1, seed=1):
    """Targets (n,) or (n, k)."""
    rng = np.random.default_rng(seed)
    y = np.sin(X @ rng.standard_normal((X.shape[1], k))) + 0.5
    y = y + 0.5 * rng.standard_normal(y.shape)
    return y[:, 0] if k == 1 else y


def counts(X, seed=1):
    return np.random.default_rng(seed).poisson(np.exp(0.4 * X[:, 0])).astype(float)


TARGETS = {
    "binary": lambda X: classes(X, 2),
    "multiclass": lambda X: classes(X, 3),
    "regression": numbers,
    "two outputs": lambda X: numbers(X, 2),
    "counts": counts,
    "positive": lambda X: counts(X) + 0.5,
    "multilabel": lambda X: (numbers(X, 2) > 0.5).astype(int),
}


def weights(n, seed=2):
    """Uneven weights, some of them zero."""
    weight = np.random.default_rng(seed).uniform(0.2, 1.0, n)
    weight[:: max(n // 4, 1)] = 0.0
    return weight


def objective_of(estimator, X, y, weight=None):
    """The objective of a fitted estimator on its rows."""
    model = adapt(estimator)
    weight = np.ones(len(y)) if weight is None else weight
    return Objective.at_fit(model, model.inputs(X), model.targets(y), weight)
