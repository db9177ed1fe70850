"""Second derivatives of a loss in the raw outputs, as far as they have to be formed."""

import numpy as np

# Share of the largest entry below which a sum of entries is rounding.
CLOSED = 1e-13
# Shares of the largest that single precision leaves out: their products would be
# denormal numbers, which take a processor a hundred times as long.
LOST = 1e-15


class OutputHessian:
    """Matrices ``L_i`` (k, k) of n rows that are multiplied from the left.

    Parameters
    ----------
    matrices : ndarray (n, k, k)
    """

    def __init__(self, matrices):
        self.matrices = matrices

    def __getitem__(self, rows):
        return OutputHessian(self.matrices[rows])

    def __matmul__(self, V):
        """``L_i V_i`` (n, k, m) for V (n, k, m)."""
        return self.matrices @ V

    def in_single(self):
        """The same in single precision, and the number that it is to be times."""
        matrices, unit = _in_single(self.matrices)
        return OutputHessian(matrices), unit

    def closed(self):
        """Whether the rows of every L_i sum to zero, up to rounding."""
        largest = np.abs(self.matrices).max(initial=0.0)
        over = np.abs(self.matrices.sum(axis=2)).max(initial=0.0)
        return bool(over <= CLOSED * largest)

    def pairs(self, a, b):
        """``L_iab`` (n, q) of pairs of outputs, each (q,)."""
        return self.matrices[:, a, b]

    def trace(self):
        """``tr L_i`` (n,)."""
        return np.einsum("nkk->n", self.matrices)

    def total(self):
        """``sum_i L_i`` (k, k)."""
        return self.matrices.sum(axis=0)


class SoftmaxHessian:
    """``L_i = s_i (diag(p_i) - p_i p_i.T)``, of which only p and s are kept.

    Parameters
    ----------
    p : ndarray (n, k)
        Probabilities.
    scale : ndarray (n,)
    """

    def __init__(self, p, scale, weighted=None):
        self.p = p
        self.scale = scale
        # Products need it again and again.
        self.weighted = scale[:, None] * p if weighted is None else weighted

    def __getitem__(self, rows):
        return SoftmaxHessian(self.p[rows], self.scale[rows], self.weighted[rows])

    def __matmul__(self, V):
        """``L_i V_i`` (n, k, m) for V (n, k, m)."""
        if V.shape[2] == 1:
            V = V[:, :, 0]
            # As a product: a reduction of short rows takes longer than all else.
            mean = (self.p * V) @ np.ones(V.shape[1], V.dtype)
            moved = V - mean[:, None]
            moved *= self.weighted
            return moved[:, :, None]
        moved = V - (self.p[:, :, None] * V).sum(axis=1, keepdims=True)
        moved *= self.weighted[:, :, None]
        return moved

    def in_single(self):
        """The same in single precision, and the number that it is to be times."""
        p, size = _in_single(self.p)
        scale, unit = _in_single(self.scale)
        return SoftmaxHessian(p * np.float32(size), scale), unit

    def closed(self):
        """Whether the rows of every L_i sum to zero."""
        return True

    def pairs(self, a, b):
        """``L_iab`` (n, q) of pairs of outputs, each (q,)."""
        out = -self.p[:, a] * self.p[:, b]
        out[:, a == b] += self.p[:, a[a == b]]
        out *= self.scale[:, None]
        return out

    def trace(self):
        """``tr L_i`` (n,)."""
        return self.scale * (1.0 - np.einsum("nk,nk->n", self.p, self.p))

    def total(self):
        """``sum_i L_i`` (k, k)."""
        return np.diag(self.weighted.sum(axis=0)) - self.weighted.T @ self.p


def _in_single(array):
    """An array in single precision with entries of at most 1, and their unit."""
    unit = float(np.abs(array).max(initial=0.0)) or 1.0
    array = array / unit
    array[np.abs(array) < LOST] = 0.0
    return array.astype(np.float32), unit
