"""Gaussian clusters on a circle, with alternating classes."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state, check_scalar

from skpuma.utils._validation import check_number


def make_radial(n_clusters=8, n_per_cluster=100, noise=0.12, random_state=None):
    """Gaussian clusters on the unit circle whose classes alternate (Blog fig. 6).

    A task for removal: to forget one cluster, a model has to give up a pattern that it
    has learnt confidently, while the clusters beside it stay where they are.

    Parameters
    ----------
    n_clusters : int, default 8
        Even, so that neighbours on the circle never share a class.
    n_per_cluster : int, default 100
        Rows of each cluster.
    noise : float, default 0.12
        Standard deviation of a cluster along each axis; the circle has radius 1. With
        8 clusters, neighbours are 0.77 apart, and about 0.2 % of the rows lie nearer
        to a neighbour's centre than to their own.
    random_state : int, RandomState or None, default None

    Returns
    -------
    X : ndarray (n, 2)
        Coordinates of ``n = n_clusters * n_per_cluster`` rows, shuffled.
    y : ndarray of int (n,)
        Classes 0 and 1: the cluster's number modulo 2.
    cluster : ndarray of int (n,)
        Number of the cluster, counted anticlockwise from the point (1, 0).

    Raises
    ------
    TypeError, ValueError
        If `n_clusters` is not an even number of at least 2, or another parameter is
        out of range.

    References
    ----------
    G. Wu, M. Hashemi, C. Srinivasa, "PUMA: Performance Unchanged Model Augmentation for
    Training Data Removal", AAAI 2022.

    Examples
    --------
    >>> from skpuma.datasets import make_radial
    >>> X, y, cluster = make_radial(n_per_cluster=50, random_state=0)
    >>> X.shape
    (400, 2)
    """
    check_scalar(n_clusters, "n_clusters", Integral, min_val=2)
    check_scalar(n_per_cluster, "n_per_cluster", Integral, min_val=1)
    check_number(noise, "noise", low=0.0)
    if n_clusters % 2:
        raise ValueError(
            f"n_clusters={n_clusters} is not even: two neighbours would share a class."
        )
    rng = check_random_state(random_state)
    cluster = rng.permutation(np.repeat(np.arange(n_clusters), n_per_cluster))
    angle = 2.0 * np.pi * cluster / n_clusters
    centre = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return centre + noise * rng.standard_normal(centre.shape), cluster % 2, cluster
