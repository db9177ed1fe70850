"""Against Shapley values by enumeration of all subsets."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skpuma.valuation import KNNShapley
from tests.data import blobs


def enumerated(worth, n):
    """Shapley values of a set function by their definition."""
    values = np.zeros(n)
    for i in range(n):
        rest = [j for j in range(n) if j != i]
        for size in range(n):
            for chosen in combinations(rest, size):
                gain = worth([*chosen, i]) - worth(list(chosen))
                values[i] += gain / (n * comb(n - 1, size))
    return values


def worth_of(X, y, X_val, y_val, k, regression):
    """V(S) for k nearest neighbours, written from its definition."""

    def worth(chosen):
        total = 0.0
        for x, target in zip(X_val, y_val, strict=True):
            near = sorted(chosen, key=lambda j: np.linalg.norm(X[j] - x))[:k]
            if regression:
                total -= (sum(y[j] for j in near) / k - target) ** 2
            else:
                total += sum(y[j] == target for j in near) / k
        return total / len(y_val)

    return worth


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_equals_enumeration(n, k, regression):
    rng = np.random.default_rng(n * 10 + k)
    X, X_val = rng.standard_normal((n, 2)), rng.standard_normal((3, 2))
    y, y_val = rng.standard_normal(n), rng.standard_normal(3)
    task = "regression" if regression else "classification"
    if not regression:
        y, y_val = np.arange(n) % 2, np.arange(3) % 2
    system = KNNShapley(k, task=task, transformer=None)
    system.fit(X, y, X_val=X_val, y_val=y_val)
    mean = y.mean() if regression else 0
    worth = worth_of(X, y - mean, X_val, y_val - mean, k, regression)
    np.testing.assert_allclose(system.values_, enumerated(worth, n), atol=1e-12)
    assert system.utility_ == pytest.approx(worth(list(range(n))))
    total = system.utility_ - worth([])
    assert system.values_.sum() == pytest.approx(total, abs=1e-12)


def test_worth_is_that_of_the_sklearn_model():
    X, y = blobs(80, k=3)
    X, y, X_val, y_val = X[:50], y[:50], X[50:], y[50:]
    system = KNNShapley(7, transformer=None).fit(X, y, X_val=X_val, y_val=y_val)
    p = KNeighborsClassifier(7).fit(X, y).predict_proba(X_val)
    assert system.utility_ == pytest.approx(p[np.arange(30), y_val].mean())


def test_standard_errors_are_over_validation_rows():
    X, y = blobs(60)
    val = {"X_val": X[40:], "y_val": y[40:]}
    each = [
        KNNShapley(3, transformer=StandardScaler())
        .fit(X[:40], y[:40], X_val=X[i : i + 1], y_val=y[i : i + 1])
        .values_
        for i in range(40, 60)
    ]
    system = KNNShapley(3).fit(X[:40], y[:40], **val)
    np.testing.assert_allclose(system.values_, np.mean(each, axis=0), atol=1e-14)
    errors = np.std(each, axis=0, ddof=1) / np.sqrt(20)
    np.testing.assert_allclose(system.standard_errors_, errors, atol=1e-12)


def test_units_do_not_matter_unless_asked():
    X, y = blobs(60)
    val = {"X_val": X[40:], "y_val": y[40:]}
    scale = np.array([1.0, 100.0, 1.0, 1.0])
    big = {"X_val": X[40:] * scale, "y_val": y[40:]}
    plain = KNNShapley().fit(X[:40], y[:40], **val).values_
    scaled = KNNShapley().fit(X[:40] * scale, y[:40], **big).values_
    np.testing.assert_allclose(scaled, plain, atol=1e-12)
    raw = KNNShapley(transformer=None)
    raw = [
        raw.fit(X[:40] * s, y[:40], **v).values_ for s, v in ((1, val), (scale, big))
    ]
    assert not np.allclose(*raw)


def test_sparse_rows_and_other_metrics():
    X, y = blobs(60)
    X = np.where(X > 0, X, 0.0)
    fit = (X[:40], y[:40]), {"X_val": X[40:], "y_val": y[40:]}
    thin = (
        (sparse.csr_array(X[:40]), y[:40]),
        {
            "X_val": sparse.csr_array(X[40:]),
            "y_val": y[40:],
        },
    )
    for metric in ("euclidean", "manhattan", "cosine"):
        dense = KNNShapley(metric=metric, transformer=None).fit(*fit[0], **fit[1])
        same = KNNShapley(metric=metric, transformer=None).fit(*thin[0], **thin[1])
        np.testing.assert_allclose(same.values_, dense.values_, atol=1e-12)
    dense, same = (KNNShapley().fit(*a, **b).values_ for a, b in (fit, thin))
    np.testing.assert_allclose(same, dense, atol=1e-12)


def test_a_transformer_is_fitted_on_the_training_rows():
    X, y = blobs(60)
    pca = PCA(2)
    system = KNNShapley(transformer=pca).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    again = PCA(2).fit(X[:40])
    inside = KNNShapley(transformer=None).fit(
        again.transform(X[:40]), y[:40], X_val=again.transform(X[40:]), y_val=y[40:]
    )
    np.testing.assert_allclose(system.values_, inside.values_, atol=1e-12)
    assert not hasattr(pca, "components_")


def test_blocks_do_not_matter(monkeypatch):
    X, y = blobs(120)
    val = {"X_val": X[40:], "y_val": y[40:]}
    one = KNNShapley().fit(X[:40], y[:40], **val).values_
    monkeypatch.setattr("skpuma.rows.BLOCK_BYTES", 1)
    many = KNNShapley(n_jobs=2).fit(X[:40], y[:40], **val).values_
    np.testing.assert_allclose(many, one, atol=1e-14)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_neighbors": 0}, "n_neighbors must be >= 1"),
        ({"n_neighbors": 2.5}, "n_neighbors must be an int"),
        ({"task": "ranking"}, "task='ranking' is not one of"),
        ({"transformer": "scale"}, "transformer must be 'standardize'"),
    ],
)
def test_bad_parameters(parameters, match):
    X, y = blobs(20)
    with pytest.raises((TypeError, ValueError), match=match):
        KNNShapley(**parameters).fit(X, y, X_val=X, y_val=y)


def test_numbers_are_no_labels():
    X, _ = blobs(20)
    with pytest.raises(ValueError, match="continuous"):
        KNNShapley().fit(X, X[:, 0], X_val=X, y_val=X[:, 0])
