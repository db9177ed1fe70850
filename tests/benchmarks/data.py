"""Data sets of the measurements. ``SKPUMA_DATA`` names a folder of the larger ones.

Adult: ``adult.data.gz`` and ``adult.test.gz`` of the UCI repository. MNIST: the four
original files in the sub-folder ``mnist``. Without them those measurements are skipped.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.preprocessing import StandardScaler

ADULT = (
    "age workclass fnlwgt education education-num marital-status occupation "
    "relationship race sex capital-gain capital-loss hours-per-week native-country "
    "income"
).split()


def folder():
    """The folder of the larger data sets, or None."""
    name = os.environ.get("SKPUMA_DATA")
    return Path(name) if name and Path(name).is_dir() else None


def breast_cancer():
    """Standardised breast_cancer."""
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def digits():
    """Digits with pixels in [0, 1]."""
    X, y = load_digits(return_X_y=True)
    return X / 16.0, y


def diabetes():
    """Diabetes, as scikit-learn ships it."""
    return load_diabetes(return_X_y=True)


def adult():
    """(X_train, y_train, X_test, y_test) without fnlwgt, or None."""
    path = folder()
    if path is None or not (path / "adult.data.gz").exists():
        return None
    keywords = {
        "header": None,
        "names": ADULT,
        "skipinitialspace": True,
        "na_values": "?",
    }
    train = pd.read_csv(path / "adult.data.gz", **keywords)
    test = pd.read_csv(path / "adult.test.gz", skiprows=1, **keywords)
    y_train, y_test = (
        f.income.str.startswith(">50K").astype(int) for f in (train, test)
    )
    drop = ["income", "fnlwgt"]
    return train.drop(columns=drop), y_train, test.drop(columns=drop), y_test


def gaussian(n, d, seed, regression=False):
    """A Gaussian design with a linear signal."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    signal = X @ rng.standard_normal(d) / np.sqrt(d)
    if regression:
        return X, signal + 0.5 * rng.standard_normal(n)
    return X, (rng.random(n) < 1.0 / (1.0 + np.exp(-signal))).astype(int)
