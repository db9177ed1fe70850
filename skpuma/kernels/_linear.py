"""Row kernels of models that are linear in their parameters.

``X`` (n, d), residual ``R`` (n, k), coefficients ``S`` (k, d), intercepts ``c`` (k,).
"""

import numpy as np

from skpuma.kernels._jit import kernel


@kernel
def psi_dense(X, R, S, c):
    """sum_a R[i, a] * (X[i] . S[a] + c[a]) for every row, in one pass over X."""
    n, d = X.shape
    k = S.shape[0]
    out = np.empty(n)
    for i in range(n):
        total = 0.0
        for a in range(k):
            dot = c[a]
            for j in range(d):
                dot += X[i, j] * S[a, j]
            total += R[i, a] * dot
        out[i] = total
    return out


@kernel
def psi_csr(data, indices, indptr, R, S, c):
    """The same as `psi_dense` for a CSR matrix."""
    n = indptr.shape[0] - 1
    k = S.shape[0]
    out = np.empty(n)
    for i in range(n):
        total = 0.0
        for a in range(k):
            dot = c[a]
            for q in range(indptr[i], indptr[i + 1]):
                dot += data[q] * S[a, indices[q]]
            total += R[i, a] * dot
        out[i] = total
    return out


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
