"""Compiled kernels: arrays and scalars in, arrays out. The only door to numba.

Each kernel is loaded (and numba imported) when it is first used, so that importing
skpuma stays as cheap as importing scikit-learn. ``tests/naive.py`` has a plain numpy
twin of each.
"""

import sys

import numpy as np

from skpuma.utils._registry import lazy

# Products that are not worth the import of a compiler.
FEW_PRODUCTS = 200_000

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


def outer(A, B, out):
    """``out[i] = (A_i B_i.T).ravel()`` (n, k d) for A (n, k) and B (n, d).

    `outer_rows`, where there is much to do or the compiler is loaded anyway, unless
    a row is one multiple of B_i.
    """
    (n, k), d = A.shape, B.shape[1]
    if k > 1 and (n * k * d >= FEW_PRODUCTS or "numba" in sys.modules):
        __getattr__("outer_rows")(A, np.ascontiguousarray(B), out)
    else:
        np.multiply(A[:, :, None], B[:, None, :], out=out.reshape(n, k, d))
