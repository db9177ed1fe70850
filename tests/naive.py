"""An obvious numpy twin of every kernel in `skpuma.kernels`, under the same name."""

import numpy as np


def gram_csr(data, indices, indptr, weight, out):
    for i in range(len(weight)):
        entries = range(indptr[i], indptr[i + 1])
        for q in entries:
            for s in range(q, entries.stop):
                out[indices[q], indices[s]] += weight[i] * data[q] * data[s]
    return out


def squares_csr(data, indices, indptr, weight, out):
    for i in range(len(weight)):
        for q in range(indptr[i], indptr[i + 1]):
            out[indices[q]] += float(data[q]) ** 2 * weight[i]
    return out


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
