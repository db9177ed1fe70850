"""Data that ships with scikit-learn, standardised, and a look at an object's state."""

import pickle
from functools import lru_cache

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.preprocessing import scale

# The referee of a refit: lbfgs at its tightest is still 1e-5 off.
TIGHT = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}


def frozen(*arrays):
    """The arrays, read-only: whoever writes into the user's data fails."""
    for array in arrays:
        array.flags.writeable = False
    return arrays


@lru_cache
def breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return frozen(scale(X), y)


@lru_cache
def digits(n_classes=10, n=1797):
    X, y = load_digits(n_class=n_classes, return_X_y=True)
    used = X.std(axis=0) > 0
    return frozen(scale(X[:n, used]), y[:n])


@lru_cache
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return frozen(scale(X), (y - y.mean()) / y.std())


def blobs(n=120, d=4, k=2, seed=0):
    """A small problem with overlapping classes 0 ... k - 1."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    X = rng.standard_normal((n, d)) + np.eye(k, d)[y] * 1.5
    return frozen(X, y)


def frame(X, seed=0):
    """X as a DataFrame with named columns, on a string index in random order."""
    labels = [f"row{i}" for i in np.random.default_rng(seed).permutation(len(X))]
    return pd.DataFrame(X, index=labels, columns=[f"x{i}" for i in range(X.shape[1])])


def mask_of(n, rows):
    """A mask of length n from positions."""
    mask = np.zeros(n, dtype=bool)
    mask[rows] = True
    return mask


def some(n, share, seed=0):
    """A mask of a random share of n rows."""
    size = max(round(share * n), 1)
    return mask_of(n, np.random.default_rng(seed).permutation(n)[:size])


def snapshot(estimator):
    """Everything that an estimator holds, to compare before and after."""
    return pickle.dumps(estimator)
