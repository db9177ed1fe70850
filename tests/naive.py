"""An obvious numpy twin of every kernel in `skpuma.kernels`, under the same name."""

import numpy as np


def psi_dense(X, R, S, c):
    return (R * (X @ S.T + c)).sum(axis=1)


def psi_csr(data, indices, indptr, R, S, c):
    X = np.zeros((len(indptr) - 1, S.shape[1]))
    row = np.repeat(np.arange(len(X)), np.diff(indptr))
    np.add.at(X, (row, indices), data)
    return psi_dense(X, R, S, c)


def outer_rows(A, B, out):
    for i in range(len(A)):
        out[i] = np.outer(A[i], B[i]).ravel()
    return out


def bin_sums(confidence, outcome, weight, n_bins):
    edges = np.arange(1, n_bins) / n_bins
    bins = np.searchsorted(edges, confidence, side="left")
    member = bins[:, None] == np.arange(n_bins)
    columns = [weight, weight * confidence, weight * outcome]
    return np.stack([(member * c[:, None]).sum(axis=0) for c in columns], axis=1)
