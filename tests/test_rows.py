"""Sums and selections over rows, wherever the rows live."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skpuma import rows
from tests.contracts import problems

CONTAINERS = {
    "array": np.asarray,
    "fortran": np.asfortranarray,
    "float32": lambda X: X.astype(np.float32),
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
}


@pytest.mark.parametrize("row_bytes", [0, 8, 2**20, 2**40])
@pytest.mark.parametrize("n", [0, 1, 16, 17, 10_000])
def test_blocks_cover_every_row_once(n, row_bytes):
    blocks = list(rows.blocks(n, row_bytes))
    covered = [i for block in blocks for i in range(n)[block]]
    assert covered == list(range(n))
    assert all(block.stop - block.start <= 4096 for block in blocks)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("container", CONTAINERS)
def test_weighted_gram_and_column_sums(container, weighted, signed):
    X = np.round(4.0 * problems.rows(5000, 4)) / 4.0  # exact in single precision
    weight = np.random.default_rng(0).uniform(-1.0 if signed else 0.0, 1.0, 5000)
    expected = (X.T * weight) @ X if weighted else X.T @ X
    held = CONTAINERS[container](X)
    ours = rows.weighted_gram(held, weight if weighted else None)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(rows.column_sums(held, weight), X.T @ weight, atol=1e-9)
    np.testing.assert_array_equal(rows.to_dense(rows.take(held, [4, 2])), X[[4, 2]])
    assert rows.count(held) == 5000


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
