"""Where the rows live: numpy arrays and CSR matrices, whole or in blocks.

Every sum over rows and every map over rows goes through here, so that the rest of the
library does not know how the rows are stored.
"""

import numpy as np
from scipy import sparse

BLOCK_BYTES = 8 * 2**20


def count(X):
    """Number of rows."""
    return X.shape[0]


def take(X, index):
    """Rows of prepared `X` by a slice, a boolean mask or positions."""
    return X[index]


def take_user(X, index):
    """Rows of a user's table (DataFrame, array, sparse, list) by positions."""
    if hasattr(X, "iloc"):
        return X.iloc[index]
    if sparse.issparse(X):
        return X.tocsr()[index]
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    return X[index]


def blocks(n, row_bytes, budget=BLOCK_BYTES):
    """Slices that cover ``range(n)``, each of about `budget` bytes.

    Parameters
    ----------
    n : int
        Number of rows.
    row_bytes : int
        Bytes that the caller's temporaries need per row.
    budget : int
        Bytes of one block. A few megabytes stay in cache, which makes tall-skinny
        products several times faster than one call over all rows.
    """
    size = int(min(max(budget // max(row_bytes, 1), 16), 4096))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def weighted_gram(X, weight=None):
    """``X.T @ diag(weight) @ X`` (d, d), in cache-sized blocks; signed weights too."""
    n, d = X.shape
    if sparse.issparse(X):
        scaled = X if weight is None else X.multiply(weight[:, None])
        return np.asarray((X.T @ scaled).toarray(), dtype=np.float64)
    # One buffer for all blocks: fresh temporaries cost more in page faults than the
    # multiplication itself. A non-negative weight is split as sqrt * sqrt, since BLAS
    # then computes one triangle only (A.T @ A is a syrk).
    total = np.zeros((d, d))
    symmetric = weight is None or not np.any(weight < 0)
    root = None if weight is None else (np.sqrt(weight) if symmetric else weight)
    buffer = None
    for rows in blocks(n, 8 * d, 2**20):
        block = X[rows]
        if root is None:
            total += np.asarray(block.T @ block, dtype=np.float64)
            continue
        if buffer is None:
            buffer = np.empty(block.shape)
        scaled = np.multiply(block, root[rows, None], out=buffer[: block.shape[0]])
        total += scaled.T @ scaled if symmetric else block.T @ scaled
    return total


def column_sums(X, weight):
    """``X.T @ weight`` for weight (n,) or (n, k)."""
    return np.asarray(X.T @ weight)


def to_dense(X):
    """A dense copy of a (small) selection of rows."""
    return X.toarray() if sparse.issparse(X) else np.asarray(X)
