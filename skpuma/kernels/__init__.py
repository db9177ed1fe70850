"""Compiled kernels: arrays and scalars in, arrays out. The only door to numba.

Each kernel is loaded (and numba imported) when it is first used, so that importing
skpuma stays as cheap as importing scikit-learn. ``tests/naive.py`` has a plain numpy
twin of each.
"""

from skpuma.utils._registry import lazy

KERNELS = {
    "outer_rows": "skpuma.kernels._linear",
    "gram_csr": "skpuma.kernels._linear",
    "squares_csr": "skpuma.kernels._linear",
    "network_gradient": "skpuma.kernels._networks",
    "network_sgd": "skpuma.kernels._networks",
    "downdates": "skpuma.kernels._downdating",
    "bin_sums": "skpuma.kernels._binning",
    "least_squares_scan": "skpuma.kernels._permutations",
    "logistic_scan": "skpuma.kernels._permutations",
    "sgd_scan": "skpuma.kernels._permutations",
}

__getattr__ = lazy(__name__, KERNELS)
