"""What must not matter: row order, containers, encodings, scales, copies, block sizes.

The table has one line per model; a new one is tested by adding its line.
"""

from functools import lru_cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from skpuma import PumaPatcher, PumaValuator, rows
from skpuma.models import MODELS, adapt
from tests.contracts import problems

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
]

NET = {"hidden_layer_sizes": (4,), "random_state": 0, "activation": "tanh"}
LBFGS = {"solver": "lbfgs", "max_iter": 60, **NET}
CV = {"Cs": [0.3], "cv": 2}

# name: (estimator, task of problems.TARGETS)
TABLE = {
    "ElasticNet": (ElasticNet(alpha=0.1, l1_ratio=0.4), "regression"),
    "ElasticNetCV": (ElasticNetCV(alphas=[0.1], l1_ratio=0.4, cv=2), "regression"),
    "GammaRegressor": (GammaRegressor(alpha=0.1), "positive"),
    "HuberRegressor": (HuberRegressor(epsilon=1.2, alpha=0.1), "regression"),
    "Lasso": (Lasso(alpha=0.1), "regression"),
    "LassoCV": (LassoCV(alphas=[0.1], cv=2), "regression"),
    "LinearRegression": (LinearRegression(), "regression"),
    "LinearSVC": (LinearSVC(C=0.3, dual=False), "binary"),
    "LinearSVC multiclass": (LinearSVC(C=0.3, dual=False), "multiclass"),
    "LinearSVR": (
        LinearSVR(loss="squared_epsilon_insensitive", epsilon=0.3, dual=False),
        "regression",
    ),
    "LogisticRegression": (LogisticRegression(C=0.3), "binary"),
    "LogisticRegression multiclass": (LogisticRegression(C=0.3), "multiclass"),
    "LogisticRegression liblinear": (
        LogisticRegression(C=0.3, solver="liblinear"),
        "binary",
    ),
    "LogisticRegressionCV": (LogisticRegressionCV(**CV), "binary"),
    "MLPClassifier": (MLPClassifier(**LBFGS), "binary"),
    "MLPClassifier adam": (MLPClassifier(max_iter=50, **NET), "multiclass"),
    "MLPRegressor": (MLPRegressor(**LBFGS), "regression"),
    "OneVsRestClassifier": (OneVsRestClassifier(LogisticRegression()), "multiclass"),
    "PoissonRegressor": (PoissonRegressor(alpha=0.1), "counts"),
    "Ridge": (Ridge(alpha=3.0), "regression"),
    "Ridge two outputs": (Ridge(alpha=3.0), "two outputs"),
    "RidgeCV": (RidgeCV(alphas=[3.0]), "regression"),
    "RidgeClassifier": (RidgeClassifier(alpha=3.0), "binary"),
    "RidgeClassifier multiclass": (RidgeClassifier(alpha=3.0), "multiclass"),
    "RidgeClassifierCV": (RidgeClassifierCV(alphas=[3.0]), "binary"),
    "SGDClassifier": (SGDClassifier(loss="log_loss", random_state=0), "binary"),
    "SGDRegressor": (SGDRegressor(random_state=0), "regression"),
    "TweedieRegressor": (TweedieRegressor(power=1.6, alpha=0.1), "counts"),
}
try:
    from glum import GeneralizedLinearRegressor

    TABLE["GeneralizedLinearRegressor"] = (
        GeneralizedLinearRegressor(family="poisson", alpha=0.1),
        "counts",
    )
except ImportError:
    GeneralizedLinearRegressor = None

# These divide their penalty by a number of rows (of a batch), whatever the weights.
ROWS_COUNT = {"SGDClassifier", "SGDRegressor", "MLPClassifier adam"}
CLASSIFIERS = [
    name for name, (_, task) in TABLE.items() if task in ("binary", "multiclass")
]
CONVEX = [name for name in TABLE if not name.startswith("MLP")]


@pytest.mark.parametrize("key", sorted(MODELS))
def test_every_model_has_a_line(key):
    package, name = key.split(".")
    if package == "glum" and GeneralizedLinearRegressor is None:
        pytest.skip("glum is not installed")
    lines = [type(estimator).__name__ for estimator, _ in TABLE.values()]
    assert name in lines, f"Add a line for {key} to TABLE in {__name__}."


@lru_cache
def problem(name):
    """(estimator, X, y, X_val, y_val, mask): half of the entries of X are zero."""
    estimator, task = TABLE[name]
    X = problems.rows(110, 4)
    X[np.abs(X) < 0.6] = 0.0
    y = problems.TARGETS[task](X)
    mask = np.zeros(70, dtype=bool)
    mask[[1, 3, 20, 40]] = True
    estimator = clone(estimator).fit(X[:70], y[:70])
    return estimator, X[:70], y[:70], X[70:], y[70:], mask


def results(estimator, X, y, X_val, y_val, mask, weight=None):
    """(psi, one-step effects, raw outputs of the patched model)."""
    frozen = FrozenEstimator(estimator)
    rows_of_C = {"X_val": X_val, "y_val": y_val}
    valuator = PumaValuator(frozen, effect="one_step").fit(X, y, weight, **rows_of_C)
    patcher = PumaPatcher(frozen, delta=0.05, eta=0.5)
    patcher.patch(X, y, remove=mask, sample_weight=weight, **rows_of_C)
    return valuator.psi_, valuator.removal_effect_, patcher.transform(X_val)


@lru_cache
def reference(name):
    return results(*problem(name))


def same(ours, expected, tolerance=1e-6):
    for one, other in zip(ours, expected, strict=True):
        scale = np.nanmax(np.abs(other))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("name", TABLE)
def test_row_order(name):
    estimator, X, y, X_val, y_val, mask = problem(name)
    order = np.random.default_rng(1).permutation(len(y))
    psi, effect, raw = reference(name)
    found = results(estimator, X[order], y[order], X_val, y_val, mask[order])
    same(found, (psi[order], effect[order], raw))


@pytest.mark.parametrize("name", TABLE)
def test_block_size(name, monkeypatch):
    expected = reference(name)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1)  # blocks of 16 rows
    same(results(*problem(name)), expected)


@pytest.mark.parametrize("name", TABLE)
def test_a_row_twice_is_a_weight_of_two(name):
    estimator, X, y, X_val, y_val, mask = problem(name)
    if name in ROWS_COUNT:
        pytest.skip("counts rows, not their weights")
    weight = np.ones(len(y))
    weight[:10] = 2.0
    twice = np.concatenate([np.arange(len(y)), np.arange(10)])
    psi, _, raw = results(estimator, X, y, X_val, y_val, mask, weight)
    found = results(estimator, X[twice], y[twice], X_val, y_val, mask[twice])
    same((found[0], found[2]), (psi[twice], raw))


@pytest.mark.parametrize("name", TABLE)
def test_a_row_of_weight_zero_is_no_row(name):
    estimator, X, y, X_val, y_val, mask = problem(name)
    if name in ROWS_COUNT:
        pytest.skip("counts rows, not their weights")
    weight = np.ones(len(y))
    weight[5:9] = 0.0
    keep = weight > 0
    found = results(estimator, X, y, X_val, y_val, mask, weight)
    expected = results(estimator, X[keep], y[keep], X_val, y_val, mask[keep])
    same((found[0][keep], found[1][keep], found[2]), expected)
    assert np.all(found[1][~keep] == 0) and np.all(np.isfinite(found[0]))


DENSE = {
    "fortran": np.asfortranarray,
    "list": np.ndarray.tolist,
    "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "frame": lambda X: pd.DataFrame(X, columns=list("abcd")),
    "polars": lambda X: pl.DataFrame(X, schema=list("abcd")),
    "float32": lambda X: X.astype(np.float32),
}
SPARSE = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc_matrix": sparse.csc_matrix,
    "csc_array": sparse.csc_array,
    "coo_array": sparse.coo_array,
    "csr float32": lambda X: sparse.csr_array(X.astype(np.float32)),
    "csr int64": lambda X: wide(sparse.csr_matrix(X)),
    "unsorted csr": lambda X: unsorted(sparse.csr_matrix(X)),
}


def wide(X):
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def unsorted(X):
    for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        X.indices[start:stop] = X.indices[start:stop][::-1].copy()
        X.data[start:stop] = X.data[start:stop][::-1].copy()
    X.has_sorted_indices = False
    return X


@pytest.mark.parametrize("container", [*DENSE, *SPARSE])
@pytest.mark.parametrize("name", TABLE)
def test_container(name, container):
    estimator, X, y, X_val, y_val, mask = problem(name)
    hold = {**DENSE, **SPARSE}[container]
    if container in SPARSE and not adapt(estimator).sparse:
        with pytest.raises(TypeError, match="[Ss]parse"):
            results(estimator, hold(X), y, hold(X_val), y_val, mask)
        return
    found = results(estimator, hold(X), y, hold(X_val), y_val, mask)
    same(found, reference(name), 1e-4 if "float32" in container else 1e-6)


ENCODINGS = {
    "0 1": [0, 1, 2],
    "1 2": [1, 2, 3],
    "-1 1": [-1, 1, 5],
    "floats": [0.0, 1.0, 2.0],
    "strings": ["a", "b", "c"],
    "objects": np.array(["a", "b", "c"], dtype=object),
    "bools": [False, True],
}


@pytest.mark.parametrize("labels", ENCODINGS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_encoding_of_classes(name, labels):
    _, X, y, X_val, y_val, mask = problem(name)
    code = (
        np.unique(y, return_inverse=True)[1],
        np.unique(y_val, return_inverse=True)[1],
    )
    labels = np.asarray(ENCODINGS[labels])
    if code[0].max() >= len(labels):
        pytest.skip("more classes than labels")
    y, y_val = labels[code[0]], labels[code[1]]
    estimator = clone(TABLE[name][0]).fit(X, y)
    same(results(estimator, X, y, X_val, y_val, mask), reference(name))


@pytest.mark.parametrize("kind", ["series", "categorical", "polars", "list", "column"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_container_of_labels(name, kind):
    estimator, X, y, X_val, y_val, mask = problem(name)
    hold = {
        "series": pd.Series,
        "categorical": lambda y: pd.Series(pd.Categorical(y)),
        "polars": pl.Series,
        "list": np.ndarray.tolist,
        "column": lambda y: y[:, None],
    }[kind]
    same(results(estimator, X, hold(y), X_val, hold(y_val), mask), reference(name))


@pytest.mark.parametrize("name", CONVEX)
def test_scale_of_columns_in_a_pipeline(name):
    _, X, y, X_val, y_val, mask = problem(name)
    found = []
    for scale in (np.ones(4), np.array([1e3, 1e-3, -2.0, 1e-6])):
        pipeline = make_pipeline(StandardScaler(), clone(TABLE[name][0]))
        pipeline.fit(X * scale, y)
        part = results(pipeline, X * scale, y, X_val * scale, y_val, mask)
        found.append(part)
    same(*found)


@pytest.mark.parametrize("name", ["LogisticRegression multiclass", "Ridge", "Lasso"])
def test_jobs(name):
    from joblib import parallel_config

    _, X, y, *_ = problem(name)
    found = []
    for n_jobs in (1, 2):
        with parallel_config(backend="threading"):
            valuator = PumaValuator(clone(TABLE[name][0]), n_jobs=n_jobs)
            valuator.set_params(random_state=0).fit(X, y)
        found.append(valuator.psi_)
    np.testing.assert_array_equal(*found)
