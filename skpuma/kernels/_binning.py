"""Sums over equal-width bins of a confidence in [0, 1]."""

import numpy as np

from skpuma.kernels._jit import kernel


@kernel
def bin_sums(confidence, outcome, weight, n_bins):
    """Weight, weighted confidence and weighted outcome of every bin: (n_bins, 3).

    Bin b is (b / n_bins, (b + 1) / n_bins]; a confidence of exactly 0 falls into the
    first bin.
    """
    sums = np.zeros((n_bins, 3))
    for i in range(confidence.shape[0]):
        b = int(np.ceil(confidence[i] * n_bins)) - 1
        b = min(max(b, 0), n_bins - 1)
        sums[b, 0] += weight[i]
        sums[b, 1] += weight[i] * confidence[i]
        sums[b, 2] += weight[i] * outcome[i]
    return sums
