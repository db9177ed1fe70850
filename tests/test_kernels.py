"""Every kernel against its numpy twin; also meant for ``NUMBA_DISABLE_JIT=1``."""

import sys

import numpy as np
import pytest
from scipy import sparse

from skpuma import kernels
from tests import naive

SIZES = [(0, 3, 2), (1, 3, 2), (1, 1, 1), (7, 4, 1), (40, 5, 3), (5, 0, 2)]


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def gram_csr(n, d, k, dtype):
    X = normal(0, n, d)
    X = sparse.csr_array(np.where(X > 0.3, X, 0.0).astype(dtype))
    return X.data, X.indices, X.indptr, normal(1, n), normal(2, d, d)


def squares_csr(n, d, k, dtype):
    data, indices, indptr, *_ = gram_csr(n, d, k, dtype)
    return data, indices, indptr, normal(1, n, k), normal(2, d, k)


def outer_rows(n, d, k, dtype):
    return normal(0, n, k), normal(1, n, d).astype(dtype), np.full((n, d * k), np.nan)


def downdates(n, d, k, dtype):
    """A penalty that is lost with an odd number of rows; it stops before the last."""
    A = (0.1 * normal(0, n, k, d)).astype(dtype).astype(float)
    if n > 5:
        A[-1] = 9.0
    F = 0.1 * normal(1, d, d)
    penalty, lost = np.zeros((0, 0)), np.zeros(n)
    if n % 2:
        penalty, lost = F @ F.T, 0.01 * np.arange(1.0, n + 1)
    return A, normal(2, n, d), lost, penalty, 0.99, np.eye(d) / 1.5


def bin_sums(n, d, k, dtype):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(size=n).astype(dtype)
    outcome = rng.integers(0, 2, n).astype(float)
    return confidence, outcome, rng.uniform(0.0, 2.0, n), d + 1


def least_squares_scan(n, d, k, dtype):
    """Two duplicates and more columns than the first stops have rows."""
    X = normal(0, n, d + 1).astype(dtype).astype(float)
    X[1::5] = X[: len(X[1::5])]
    Y, code = normal(1, n, k), np.arange(n) % max(k, 2)
    X_val, y_val = normal(2, 9, d + 1), normal(3, 9)
    stops, penalty = np.arange(1, n + 1), 0.0 if n % 2 else 0.3
    return X, Y, code, stops, penalty, True, X_val, y_val, 2, 0.0, 0.05, 1


def logistic_scan(n, d, k, dtype):
    n_classes = max(k, 2)
    X = normal(0, n, d + 1).astype(dtype).astype(float)
    X[:, 0] = 1.0
    code = np.arange(n) % n_classes
    stops = np.arange(n_classes, n + 1, 2)
    penalty = np.append(0.0, np.full(d, 0.5))
    X_val, y_val = normal(2, 9, d + 1), np.arange(9.0) % n_classes
    truncation = (-1.1, 0.01, 2, 1)
    limits = (1e-13, 100)
    return X, code, n_classes, stops, penalty, X_val, y_val, 1, *truncation, *limits


def sgd_scan(n, d, k, dtype):
    X = normal(0, n, d + 1).astype(dtype).astype(float)
    k = 1 if k == 2 else k
    y = (np.arange(n) % max(k, 2)).astype(float)
    X_val, y_val = normal(2, 9, d + 1), np.arange(9.0) % max(k, 2)
    stops = np.unique(np.append(np.arange(1, n, 3), n)[: n or 0])
    return X, y, stops, normal(1, d + 1, k), 0.1, 1, X_val, y_val, 1


def network_gradient(n, d, k, dtype):
    """Rectifiers and no intercepts for an even number of rows, else tanh units."""
    k = 1 if k == 2 else k
    X = normal(0, n, d + 1).astype(dtype).astype(float)
    widths = np.array([d + 1, 4, 3, k] if n > 5 else [d + 1, k])
    y = (np.arange(n) % max(k, 2)).astype(float)
    weight = np.random.default_rng(3).uniform(0.0, 2.0, n)
    theta = normal(4, int((widths[:-1] * widths[1:] + widths[1:]).sum()))
    activation, loss = 1 - n % 2, 1 if k > 1 or n > 5 else 0
    return X, y, weight, theta, widths, activation, loss, 0.3, n % 2 == 1


def network_sgd(n, d, k, dtype):
    X, y, weight, theta, *network = network_gradient(n, d, k, dtype)
    order = np.random.default_rng(5).permutation(n)
    starts = np.unique(np.append(np.arange(0, n, 3), n))
    return X, y, weight, order, starts, theta, *network, 0.05, 0.2


MAKE_ARGUMENTS = {
    "bin_sums": bin_sums,
    "downdates": downdates,
    "gram_csr": gram_csr,
    "least_squares_scan": least_squares_scan,
    "logistic_scan": logistic_scan,
    "network_gradient": network_gradient,
    "network_sgd": network_sgd,
    "outer_rows": outer_rows,
    "sgd_scan": sgd_scan,
    "squares_csr": squares_csr,
}


def copies(arguments):
    return [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]


@pytest.mark.parametrize("name", sorted(kernels.KERNELS))
def test_every_kernel_has_a_twin_and_arguments(name):
    assert hasattr(naive, name), f"Write the numpy twin {name} in tests/naive.py."
    assert name in MAKE_ARGUMENTS, f"Add arguments of {name} to {__name__}."


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", sorted(kernels.KERNELS))
def test_kernel_equals_its_twin(name, size, dtype):
    arguments = MAKE_ARGUMENTS[name](*size, dtype)
    ours = getattr(kernels, name)(*copies(arguments))
    expected = getattr(naive, name)(*copies(arguments))
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-13)
    if dtype == np.float64:
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", sorted(kernels.KERNELS))
def test_kernel_leaves_its_inputs(name):
    arguments = MAKE_ARGUMENTS[name](7, 4, 2, np.float64)
    kept = copies(arguments)
    getattr(kernels, name)(*arguments)
    adds = name in ("downdates", "gram_csr", "outer_rows", "squares_csr")
    inputs = slice(None, -1) if adds else slice(None)
    for after, before in zip(arguments[inputs], kept[inputs], strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("confidence", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_bins_are_closed_on_the_right(confidence):
    one = np.ones(1)
    sums = kernels.bin_sums(np.array([confidence]), one, one, 4)
    assert np.flatnonzero(sums[:, 0]) == max(int(4 * confidence) - 1, 0)


def test_outer_rows_writes_into_a_slice_only():
    A, B, _ = outer_rows(6, 3, 2, np.float64)
    out = np.full((6, 9), -1.0)
    kernels.outer_rows(A, B, out[:, 1:7])
    np.testing.assert_allclose(out[:, 1:7], naive.outer_rows(A, B, np.empty((6, 6))))
    assert (out[:, [0, 7, 8]] == -1.0).all()


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outer_products_do_not_load_a_compiler_for_little(monkeypatch, dtype, loaded):
    A, B, _ = outer_rows(6, 3, 2, dtype)
    if not loaded:
        monkeypatch.delitem(sys.modules, "numba", raising=False)
        monkeypatch.setitem(kernels.KERNELS, "outer_rows", "not.to.be.imported")
        monkeypatch.delattr(kernels, "outer_rows", raising=False)
    out = np.full((6, 9), -1.0)
    kernels.outer(A, np.asfortranarray(B), out[:, 1:7])
    np.testing.assert_allclose(out[:, 1:7], naive.outer_rows(A, B, np.empty((6, 6))))
    assert (out[:, [0, 7, 8]] == -1.0).all()


def test_an_unknown_kernel_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_kernel"):
        _ = kernels.no_such_kernel
