"""Sums and selections over rows, wherever the rows live."""

import os
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from threadpoolctl import threadpool_info, threadpool_limits

from skpuma import rows
from tests.contracts import problems

# Whether the kernels are loops of Python.
PLAIN = os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"
CONTAINERS = {
    "array": np.asarray,
    "fortran": np.asfortranarray,
    "float32": lambda X: X.astype(np.float32),
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csr float32": lambda X: sparse.csr_matrix(X.astype(np.float32)),
    "few entries": lambda X: sparse.csr_array(few(X)),
}
# Of the rows that hold the same numbers whatever the container.
SPARSER = {"few entries"}


def few(X):
    """X with one entry in ten."""
    return np.where(np.random.default_rng(0).random(X.shape) < 0.1, X, 0.0)


@pytest.mark.parametrize("row_bytes", [0, 8, 2**20, 2**40])
@pytest.mark.parametrize("n", [0, 1, 16, 17, 10_000])
def test_blocks_cover_every_row_once(n, row_bytes):
    blocks = list(rows.blocks(n, row_bytes))
    covered = [i for block in blocks for i in range(n)[block]]
    assert covered == list(range(n))
    assert all(block.stop - block.start <= 4096 for block in blocks)


def held_and_dense(container, n=5000, d=4):
    X = np.round(4.0 * problems.rows(n, d)) / 4.0  # exact in single precision
    held = CONTAINERS[container](X)
    return held, few(X) if container in SPARSER else X


@pytest.mark.parametrize("kind", ["none", "equal", "uneven", "signed", "negative"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_weighted_gram(container, kind):
    held, X = held_and_dense(container)
    low = -1.0 if kind in ("signed", "negative") else 0.0
    high = 0.0 if kind == "negative" else 1.0
    weight = np.random.default_rng(0).uniform(low, high, len(X))
    weight = {"none": None, "equal": np.full(len(X), 0.3)}.get(kind, weight)
    ones = np.ones(len(X)) if weight is None else weight
    gram, sums = rows.weighted_moments(held, weight)
    np.testing.assert_allclose(gram, (X.T * ones) @ X, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(sums, X.T @ ones, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(rows.weighted_gram(held, weight), gram, rtol=1e-15)


@pytest.mark.parametrize("q", [2, 12], ids=["few", "several"])
@pytest.mark.parametrize("d", [1, 4, 70])
@pytest.mark.parametrize("container", CONTAINERS)
def test_weighted_grams_of_many_weights(container, d, q):
    held, X = held_and_dense(container, n=600, d=d)
    weights = np.random.default_rng(0).uniform(-1.0, 1.0, (len(X), q))
    grams, sums = rows.weighted_moments_each(held, weights)
    naive = np.einsum("na,nq,nb->qab", X, weights, X)
    np.testing.assert_allclose(grams, naive, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(sums, weights.T @ X, rtol=1e-10, atol=1e-9)
    again, none = rows.weighted_moments_each(held, weights, sums=False)
    np.testing.assert_array_equal(again, grams)
    assert none is None


@pytest.mark.parametrize("columns", [(), (3,)], ids=["vector", "matrix"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_products_and_sums(container, columns):
    held, X = held_and_dense(container)
    rng = np.random.default_rng(0)
    u = rng.uniform(-1.0, 1.0, (len(X), *columns))
    v = rng.uniform(-1.0, 1.0, (X.shape[1], *columns))
    close = {"rtol": 1e-11, "atol": 1e-10}
    np.testing.assert_allclose(rows.product(held, v), X @ v, **close)
    np.testing.assert_allclose(rows.column_sums(held, u), X.T @ u, **close)
    np.testing.assert_allclose(
        rows.squared_column_sums(held, u), np.square(X).T @ u, **close
    )
    for out in (rows.product(held, v), rows.column_sums(held, u)):
        assert type(out) is np.ndarray and out.dtype == np.float64


@pytest.mark.parametrize("container", CONTAINERS)
def test_selections(container):
    held, X = held_and_dense(container, 50)
    np.testing.assert_array_equal(rows.to_dense(rows.take(held, [4, 2])), X[[4, 2]])
    mask = np.arange(50) % 3 == 0
    np.testing.assert_array_equal(rows.to_dense(rows.take(held, mask)), X[mask])
    for every in (np.ones(50, dtype=bool), np.arange(50)):
        assert rows.take(held, every) is held
    assert rows.take(held, np.arange(50)[::-1]) is not held
    assert rows.count(held) == 50


@pytest.mark.parametrize("container", CONTAINERS)
def test_nothing_as_large_as_the_rows_is_allocated(container, monkeypatch):
    if PLAIN and container.startswith("csr"):
        pytest.skip("Plain Python takes half a minute for so many entries.")
    held, _ = held_and_dense(container, 40_000, 60)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 2**18)
    n, d = held.shape
    data = 8 * n * d
    if sparse.issparse(held):
        data = held.data.nbytes + held.indices.nbytes
    u, v = np.ones(n), np.ones(d)
    calls = [
        lambda: rows.product(held, v),
        lambda: rows.column_sums(held, u),
        lambda: rows.squared_column_sums(held, u),
    ]
    for call in calls:
        call()
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < max(0.3 * data, 4 * 2**20)


@pytest.mark.parametrize("index", [[3, 1], np.arange(6) % 2 == 0], ids=["at", "mask"])
@pytest.mark.parametrize(
    "make",
    [
        np.asarray,
        np.ndarray.tolist,
        sparse.coo_matrix,
        sparse.csc_array,
        lambda X: pd.DataFrame(X, index=list("uvwxyz")),
    ],
    ids=["array", "list", "coo", "csc", "frame"],
)
def test_rows_of_a_users_table(make, index):
    X = problems.rows(6)
    taken = rows.take_user(make(X), index)
    taken = taken.to_numpy() if hasattr(taken, "to_numpy") else rows.to_dense(taken)
    np.testing.assert_array_equal(taken, X[index])


@pytest.mark.parametrize("weighted", ["no", "equal", "uneven", "signed"])
def test_threads_give_the_sums_of_one(weighted, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 7))
    weight = {
        "no": None,
        "equal": np.full(500, 0.3),
        "uneven": rng.uniform(size=500),
        "signed": rng.standard_normal(500),
    }[weighted]
    full = np.ones(500) if weight is None else weight
    monkeypatch.setattr(rows, "THREADED_WORK", 0)
    with threadpool_limits(3, user_api="blas"):
        before = threads_of_blas()
        gram, sums = rows.weighted_moments(X, weight)
        assert threads_of_blas() == before
    np.testing.assert_allclose(gram, (X.T * full) @ X, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(sums, X.T @ full, rtol=1e-11, atol=1e-12)


def threads_of_blas():
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {pool["filepath"]: pool["num_threads"] for pool in pools}


def test_entries_of_a_sparse_row_in_two_parts_are_one_entry():
    indptr, indices = np.array([0, 3, 4]), np.array([1, 1, 0, 2])
    X = sparse.csr_array((np.array([1.0, 2.0, 4.0, 5.0]), indices, indptr), (2, 3))
    dense = X.toarray()
    assert dense[0, 1] == 3.0
    np.testing.assert_allclose(rows._sparse_gram(X, np.ones(2)), dense.T @ dense)
    assert X.nnz == 4


def test_blocks_keep_to_the_working_memory():
    with config_context(working_memory=0.25):
        sizes = [block.stop - block.start for block in rows.blocks(5000, 1024)]
    assert max(sizes) == 256 and sum(sizes) == 5000
    X = np.random.default_rng(0).standard_normal((5000, 30))
    with config_context(working_memory=0.01):
        gram = rows.weighted_gram(X, np.arange(5000.0))
    np.testing.assert_allclose(gram, X.T @ (np.arange(5000.0)[:, None] * X), rtol=1e-12)


@pytest.mark.parametrize("d", [3, 300, 700])
@pytest.mark.parametrize("columns", [1, 7, 60])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_are_read_twice(d, columns, dtype):
    """Blocks of most rows, of those that BLAS need not pack, and of too few of them."""
    rng = np.random.default_rng(d)
    X = rng.standard_normal((1100, d)).astype(dtype)
    M = rng.standard_normal((d, columns))
    weight = rng.random((1100, 1))
    found, totals = rows.there_and_back(X, M, lambda z, at: weight[at] * z)
    U = weight * (X.astype(float) @ M)
    np.testing.assert_allclose(found, X.astype(float).T @ U, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(totals, U.sum(axis=0), rtol=1e-11, atol=1e-9)
