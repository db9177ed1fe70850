"""Where the rows live: numpy arrays, memory maps and CSR matrices, whole or in blocks.

Every sum over rows and every map over rows goes through here, so that the rest of the
library does not know how the rows are stored. Results are float64; rows in single
precision, and the temporaries of sparse ones, are converted block by block, so that
nothing of the size of the data is allocated.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import numpy as np
from scipy import sparse
from sklearn import get_config
from threadpoolctl import ThreadpoolController

from skpuma import kernels

BLOCK_BYTES = 8 * 2**20
# What a copy of rows in single precision may take.
SINGLE_BYTES = 32 * 2**20
# Share of stored entries above which dense blocks make a Gram matrix faster.
SPARSE_GRAM_DENSITY = 0.15
# Multiplications from which several threads make a Gram matrix faster.
THREADED_WORK = 2e7
# Columns from which a product is faster the other way round.
WIDE = 256
# Columns up to which, and weights from which, several Gram matrices are made at once,
# and rows and products of a block of them.
NARROW, SEVERAL, TRIANGLE_ROWS, TRIANGLE_PRODUCTS = 160, 10, 256, 1280
# Rows of a block that is read twice, and multiplications up to which BLAS takes such a
# block as it is, instead of a packed copy of it, if it has rows enough to be worth it.
TWICE_READ, UNPACKED, FEWEST = 512, 1_000_000, 32


def count(X):
    """Number of rows."""
    return X.shape[0]


def take(X, index):
    """Rows of prepared `X` by a slice, a boolean mask or positions.

    All rows in their order are X itself, which is not copied then.
    """
    if isinstance(index, np.ndarray) and index.shape == X.shape[:1]:
        every = index if index.dtype == bool else index == np.arange(len(index))
        if every.all():
            return X
    return X[index]


def take_user(X, index):
    """Rows of a user's table (DataFrame, array, sparse, list) by positions or mask."""
    if hasattr(X, "iloc"):
        return X.iloc[index]
    if sparse.issparse(X):
        return X.tocsr()[index]
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    if not isinstance(X, np.ndarray) and np.asarray(index).dtype == bool:
        index = np.flatnonzero(index)  # polars selects by positions only
    return X[index]


def blocks(n, row_bytes, budget=None):
    """Slices that cover ``range(n)``, each of about `budget` bytes.

    Parameters
    ----------
    n : int
        Number of rows.
    row_bytes : int
        Bytes that the caller's temporaries need per row.
    budget : int, optional
        Bytes of one block, by default `BLOCK_BYTES`. A few megabytes stay in cache,
        which makes tall-skinny products several times faster than one call over all
        rows. Never more than scikit-learn's ``working_memory``.
    """
    budget = BLOCK_BYTES if budget is None else budget
    budget = min(budget, int(get_config()["working_memory"] * 2**20))
    size = int(min(max(budget // max(row_bytes, 1), 16), 4096))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def product(X, M):
    """``X @ M`` in float64 for M (d,) or (d, m)."""
    if X.dtype == np.float64:
        if is_dense(X) and M.ndim == 2 and X.shape[1] >= WIDE:
            # BLAS reads long rows better as columns of the transpose.
            return (M.T @ X.T).T
        return np.asarray(X @ M)
    # A mixed product would convert all of X first.
    out = np.empty((X.shape[0], *M.shape[1:]))
    for rows, block in _double(X):
        out[rows] = block @ M
    return out


def is_dense(X):
    """Whether the rows are a numpy array."""
    return isinstance(X, np.ndarray)


def in_single(X):
    """Dense rows in single precision, or themselves where a copy would not be small.

    Those are converted block by block, by every product with a matrix in it.
    """
    return X.astype(np.float32, copy=False) if 4 * X.size <= SINGLE_BYTES else X


def column_sums(X, weight):
    """``X.T @ weight`` in float64 for weight (n,) or (n, m)."""
    if X.dtype == np.float64:
        if is_dense(X) and weight.ndim == 2:
            return (weight.T @ X).T
        return np.asarray(X.T @ weight)
    out = np.zeros((X.shape[1], *weight.shape[1:]))
    for rows, block in _double(X):
        out += block.T @ weight[rows]
    return out


def there_and_back(X, M, function):
    """``X.T @ U`` and the column sums of ``U = function(X @ M, rows)``, in one pass.

    Parameters
    ----------
    X : rows (n, d)
    M : ndarray (d, m)
        Dense rows are multiplied in its precision; sums of blocks are double.
    function : callable
        (products (b, m) of some rows, slice of these rows) -> ndarray (b, q).

    Returns
    -------
    ndarray (d, q), ndarray (q,)
    """
    n, d = X.shape
    if not is_dense(X):
        U = function(product(X, M), slice(0, n))
        return column_sums(X, U), U.sum(axis=0)

    size = min(UNPACKED // max(d * M.shape[1], 1), TWICE_READ)
    size = size if size >= FEWEST else TWICE_READ
    # Short rows in single precision leave room for twice as many.
    several = 2 if M.dtype == np.float32 and d <= NARROW else 1
    several *= max(TWICE_READ // size, 1) * size

    def part(rows):
        sums = totals = 0.0
        for start in range(rows.start, rows.stop, several):
            at = slice(start, min(start + several, rows.stop))
            # Still in cache when it is read for the second time.
            block = X[at].astype(M.dtype, copy=False)
            forward = np.empty((len(block), M.shape[1]), M.dtype)
            inside = [slice(a, a + size) for a in range(0, len(block), size)]
            for few in inside:
                # BLAS reads long rows better as columns of the transpose.
                if d >= WIDE:
                    forward[few] = (M.T @ block[few].T).T
                else:
                    np.matmul(block[few], M, out=forward[few])
            U = function(forward, at)
            for few in inside:
                sums = sums + (U[few].T @ block[few]).T
            totals = totals + U.sum(axis=0, dtype=np.float64)
        return sums, totals

    with _threads(n * d * M.shape[1]) as run:
        parts = list(run(part, n))
    return sum(one for one, _ in parts), sum(total for _, total in parts)


def squared_column_sums(X, weight):
    """``(X * X).T @ weight`` in float64 for weight (n,) or (n, m)."""
    out = np.zeros((X.shape[1], *weight.shape[1:]))
    if sparse.issparse(X):
        X = _canonical(X)
        n, d = X.shape
        flat = weight.reshape(n, -1), out.reshape(d, -1)
        kernels.squares_csr(X.data, X.indices, X.indptr, *flat)
        return out
    for rows, block in _double(X):
        out += np.square(block).T @ weight[rows]
    return out


def weighted_gram(X, weight=None):
    """``X.T @ diag(weight) @ X`` (d, d), in cache-sized blocks; signed weights too."""
    return weighted_moments(X, weight, sums=False)[0]


def weighted_moments(X, weight=None, sums=True):
    """`weighted_gram` and ``X.T @ weight``, in one pass over dense rows.

    Returns
    -------
    gram : ndarray (d, d)
    sums : ndarray (d,), or None if not asked for
    """
    n, d = X.shape
    if sparse.issparse(X) and X.nnz <= SPARSE_GRAM_DENSITY * n * d:
        ones = np.ones(n) if weight is None else weight
        return _sparse_gram(X, ones), column_sums(X, ones) if sums else None
    constant = 1.0
    if weight is not None and n:
        low, high = weight.min(), weight.max()
        if low == high:
            constant, weight = low, None
        elif high <= 0.0:
            # Like weights that are not negative: half the work (see `_moments`).
            constant, weight = -1.0, -weight
    total, total_sums = np.zeros((d, d)), np.zeros(d)
    with _threads(n * d * d) as run:
        for part, part_sums in run(lambda rows: _moments(X, weight, rows, sums), n):
            total += part
            total_sums += part_sums
    return constant * total, constant * total_sums if sums else None


def weighted_moments_each(X, weights, sums=True):
    """`weighted_moments` for every column of `weights` (n, q).

    Returns
    -------
    grams : ndarray (q, d, d)
    sums : ndarray (q, d), or None if not asked for
    """
    (n, d), q = X.shape, weights.shape[1]
    if not is_dense(X) or q < SEVERAL or d > NARROW:
        grams, columns = np.empty((q, d, d)), np.empty((q, d)) if sums else None
        for j, weight in enumerate(np.ascontiguousarray(weights.T)):
            grams[j], one = weighted_moments(X, weight, sums)
            if sums:
                columns[j] = one
        return grams, columns
    with _threads(q * n * d * d) as run:
        packed = sum(run(lambda rows: _triangles(X, weights, rows), n))
    upper = np.triu_indices(d)
    grams = np.empty((q, d, d))
    grams[:, upper[0], upper[1]] = packed
    grams[:, upper[1], upper[0]] = packed
    return grams, column_sums(X, weights).T if sums else None


def _triangles(X, weights, rows):
    """Upper triangles (q, d (d + 1) / 2) of Gram matrices of a slice of rows.

    The products of two columns, ``x_ia x_ib``, are made once for all weights, block by
    block in cache, and one half of them only; one product of matrices sums them.
    """
    d = X.shape[1]
    starts = np.append(0, np.cumsum(np.arange(d, 0, -1)))
    buffer = np.empty((TRIANGLE_PRODUCTS + d) * TRIANGLE_ROWS)
    total = np.zeros((weights.shape[1], starts[-1]))
    for first in range(rows.start, rows.stop, TRIANGLE_ROWS):
        at = slice(first, min(first + TRIANGLE_ROWS, rows.stop))
        columns = np.ascontiguousarray(X[at].T, dtype=np.float64)
        weight = np.ascontiguousarray(weights[at].T)
        n, a = columns.shape[1], 0
        while a < d:
            begin = a
            while a < d and starts[a + 1] - starts[begin] <= TRIANGLE_PRODUCTS + d:
                a += 1
            part = slice(starts[begin], starts[a])
            products = buffer[: (part.stop - part.start) * n].reshape(-1, n)
            for c in range(begin, a):
                place = slice(starts[c] - part.start, starts[c + 1] - part.start)
                np.multiply(columns[c], columns[c:], out=products[place])
            total[:, part] += weight @ products.T
    return total


def _moments(X, weight, rows, sums):
    """`weighted_moments` of a slice of rows."""
    d = X.shape[1]
    # One buffer for all blocks: fresh temporaries cost more in page faults than the
    # multiplication itself. A non-negative weight is split as sqrt * sqrt, since BLAS
    # then computes one triangle only (A.T @ A is a syrk).
    total, total_sums = np.zeros((d, d)), np.zeros(d)
    symmetric = weight is None or not np.any(weight < 0)
    root = None if weight is None else (np.sqrt(weight) if symmetric else weight)
    buffer = None
    for inner in blocks(rows.stop - rows.start, 8 * d, 2**20):
        at = slice(rows.start + inner.start, rows.start + inner.stop)
        block = to_dense(X[at])
        if root is None:
            block = block.astype(np.float64, copy=False)
            total += block.T @ block
            if sums:
                total_sums += block.T @ np.ones(len(block))
            continue
        if buffer is None:
            buffer = np.empty(block.shape)
        scaled = np.multiply(block, root[at, None], out=buffer[: block.shape[0]])
        total += scaled.T @ scaled if symmetric else block.T @ scaled
        if sums:
            total_sums += scaled.T @ root[at] if symmetric else scaled.sum(axis=0)
    return total, total_sums


@contextmanager
def _threads(work):
    """A map over slices of rows: one for each thread that BLAS may use now.

    BLAS itself gets one thread meanwhile: on blocks that stay in cache its own threads
    wait for each other more than they work. In a worker of a parallel fit it has one
    thread already, and there is one slice.
    """
    pools = _blas()
    n_threads = max((pool.num_threads for pool in pools.lib_controllers), default=1)
    if n_threads == 1 or work < THREADED_WORK:
        with one_blas_thread():
            yield lambda function, n: [function(slice(0, n))]
        return
    with one_blas_thread(), ThreadPoolExecutor(n_threads) as pool:

        def run(function, n):
            edges = np.linspace(0, n, n_threads + 1).astype(int).tolist()
            parts = [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
            return pool.map(function, parts)

        yield run


def one_blas_thread():
    """A context for small matrices, on which threads of BLAS wait for each other."""
    return _blas().limit(limits=1)


@cache
def _blas():
    return ThreadpoolController().select(user_api="blas")


def _sparse_gram(X, weight):
    """`weighted_gram` of a CSR matrix, without a sparse product of its size."""
    d = X.shape[1]
    X = _canonical(X)
    total = kernels.gram_csr(X.data, X.indices, X.indptr, weight, np.zeros((d, d)))
    total += total.T
    total[np.diag_indices(d)] *= 0.5
    return total


def _canonical(X):
    """A CSR matrix that stores no entry in two parts, which would be squared apart."""
    if X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X


def _double(X):
    """(slice, rows in float64) of all rows, block by block."""
    n, d = X.shape
    if not sparse.issparse(X):
        for rows in blocks(n, 8 * d, BLOCK_BYTES // 4):
            yield rows, X[rows].astype(np.float64, copy=False)
        return
    for rows in blocks(n, 16 * X.nnz // max(n, 1), BLOCK_BYTES // 4):
        # A slice of a CSR matrix copies its entries and their columns; these are views.
        indptr = X.indptr[rows.start : rows.stop + 1]
        entries = slice(indptr[0], indptr[-1])
        data = X.data[entries].astype(np.float64, copy=False)
        inner = (data, X.indices[entries], indptr - indptr[0])
        yield rows, sparse.csr_array(inner, shape=(rows.stop - rows.start, d))


def to_dense(X):
    """A dense copy of a (small) selection of rows."""
    return X.toarray() if sparse.issparse(X) else np.asarray(X)
