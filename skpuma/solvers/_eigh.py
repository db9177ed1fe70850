"""Eigendecomposition: direct, and tells the spectrum."""

import numpy as np
from scipy import linalg

from skpuma.solvers._base import BaseSolver, explicit_matrix, singular_error


class Eigh(BaseSolver):
    """Direct solver by the spectral decomposition.

    Accepts an indefinite matrix (the exact Hessian of a network) as long as no
    eigenvalue is numerically zero: the stationary point of the quadratic model is
    then a saddle, and `info` says how many eigenvalues are negative.
    """

    name = "eigh"

    def __init__(self, curvature):
        super().__init__(curvature)
        self.matrix = explicit_matrix(curvature)
        self.eigenvalues, self._vectors = linalg.eigh(self.matrix)
        size = np.abs(self.eigenvalues)
        if not size.min() > 1e-13 * size.max():
            raise singular_error(self.eigenvalues[size.argmin()], size.max())
        self.condition = float(size.max() / size.min())
        self.info = {
            "condition": self.condition,
            "n_negative": int(np.count_nonzero(self.eigenvalues < 0)),
        }

    def _raw_solve(self, B):
        return self._vectors @ ((self._vectors.T @ B) / self.eigenvalues[:, None])

    def _solve(self, B):
        X = self._raw_solve(B)
        X = X + self._raw_solve(B - self.matrix @ X)
        return X, self._residual(self.matrix, X, B), 0

    def extreme_eigenvalues(self):
        """Smallest and largest eigenvalue."""
        return float(self.eigenvalues[0]), float(self.eigenvalues[-1])
