"""Second derivatives of a loss in the raw outputs, as far as they have to be formed."""

import numpy as np

from skpuma.utils._softmax import row_sum

# Share of the largest entry below which a sum of entries is rounding.
CLOSED = 1e-13


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

    def __init__(self, p, scale):
        self.p = p
        self.scale = scale

    def __getitem__(self, rows):
        return SoftmaxHessian(self.p[rows], self.scale[rows])

    def __matmul__(self, V):
        """``L_i V_i`` (n, k, m) for V (n, k, m)."""
        if V.shape[2] == 1:
            # A reduction of short rows takes longer than all else.
            moved = self.p * V[:, :, 0]
            moved -= self.p * row_sum(moved)[:, None]
            moved *= self.scale[:, None]
            return moved[:, :, None]
        p = self.p[:, :, None]
        moved = p * V
        moved -= p * moved.sum(axis=1, keepdims=True)
        moved *= self.scale[:, None, None]
        return moved

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
        weighted = self.scale[:, None] * self.p
        return np.diag(weighted.sum(axis=0)) - weighted.T @ self.p
