"""Row kernels of models that are linear in their parameters."""

import numpy as np

from skpuma.kernels._jit import kernel


@kernel
def outer_rows(A, B, out):
    """Write the flattened outer product A[i] x B[i] of every row into `out`.

    With inputs A (n, f) and back-propagated residuals B (n, h) this is the per-sample
    gradient of one (f, h) weight matrix; for a linear model call it with (R, X).
    """
    n, f = A.shape
    h = B.shape[1]
    for i in range(n):
        for p in range(f):
            a = A[i, p]
            for q in range(h):
                out[i, p * h + q] = a * B[i, q]
    return out


@kernel
def gram_csr(data, indices, indptr, weight, out):
    """Add the sum of ``weight[i] * x_i x_i.T`` over CSR rows to `out` (d, d).

    Every pair of entries of a row is added once, on the side of the diagonal that the
    order of its columns says: add the transpose and halve the diagonal.
    """
    for i in range(indptr.shape[0] - 1):
        for q in range(indptr[i], indptr[i + 1]):
            scaled = weight[i] * data[q]
            for s in range(q, indptr[i + 1]):
                out[indices[q], indices[s]] += scaled * data[s]
    return out


@kernel
def squares_csr(data, indices, indptr, weight, out):
    """Add ``x_ij^2 * weight[i]`` over CSR rows to `out` (d, m), for weight (n, m)."""
    for a in range(weight.shape[1]):
        for i in range(indptr.shape[0] - 1):
            w = weight[i, a]
            for q in range(indptr[i], indptr[i + 1]):
                out[indices[q], a] += w * data[q] * np.float64(data[q])
    return out
