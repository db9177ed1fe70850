"""Cholesky: positive definite matrices, direct."""

import numpy as np
from scipy import linalg

from skpuma.solvers._base import BaseSolver, explicit_matrix, singular_error

CONDITION_LIMIT = 1e13


class Cholesky(BaseSolver):
    """Direct solver for positive definite curvatures; the matrix is formed."""

    name = "cholesky"

    def __init__(self, curvature):
        super().__init__(curvature)
        self.matrix = explicit_matrix(curvature)
        # Columns of very different scale are not ill-posed: equilibrate first.
        diagonal = np.diagonal(self.matrix)
        if not np.all(diagonal > 0):
            raise singular_error(diagonal.min(), diagonal.max())
        self._scale = 1.0 / np.sqrt(diagonal)
        scaled = self.matrix * self._scale[:, None]
        scaled *= self._scale
        norm = linalg.norm(scaled, 1)
        try:
            # In place: the transpose is the same matrix, in the order of LAPACK.
            self._factor = linalg.cho_factor(scaled.T, lower=True, overwrite_a=True)
        except linalg.LinAlgError:
            eigenvalues = linalg.eigvalsh(self.matrix)
            raise singular_error(eigenvalues[0], eigenvalues[-1]) from None
        potri = linalg.lapack.dpocon(self._factor[0], norm, uplo="L")
        self.condition = float(1.0 / potri[0]) if potri[0] > 0 else np.inf
        self.info = {"condition": self.condition}
        if self.condition > CONDITION_LIMIT:
            raise singular_error(1.0 / self.condition, 1.0)

    def _raw_solve(self, B):
        scaled = linalg.cho_solve(self._factor, B * self._scale[:, None])
        return scaled * self._scale[:, None]

    def _solve(self, B):
        X = self._raw_solve(B)
        # One step of iterative refinement: the equilibrated residual reaches rounding.
        X = X + self._raw_solve(B - self.matrix @ X)
        return X, self._residual(self.matrix, X, B), 0

    def extreme_eigenvalues(self):
        """Smallest and largest eigenvalue, by 30 power steps each."""
        rng = np.random.default_rng(0)
        start = rng.standard_normal((len(self.matrix), 1))
        smallest = 1.0 / _power(lambda v: self._raw_solve(v), start)
        return smallest, _power(lambda v: self.matrix @ v, start)


def _power(apply, v):
    for _ in range(30):
        v = apply(v / np.linalg.norm(v))
    return float(np.linalg.norm(v))
