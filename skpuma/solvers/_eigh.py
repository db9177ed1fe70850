"""Eigendecomposition: direct, and tells the spectrum."""

import copy

import numpy as np
from scipy import linalg

from skpuma.solvers._base import BaseSolver, explicit_matrix, singular_error
from skpuma.utils.errors import SolverError


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
        self._check()

    def shifted(self, shift):
        """The same decomposition with `shift` added to every eigenvalue.

        Raises
        ------
        SolverError
            If an eigenvalue becomes zero, or the matrix has a null space that is left
            out: a shift would bring it back.
        """
        if self.null_space is not None:
            raise SolverError(
                "A null space was left out of this decomposition; decompose the damped "
                "curvature."
            )
        solver = copy.copy(self)
        solver.matrix = self.matrix.copy()
        solver.matrix[np.diag_indices_from(self.matrix)] += shift
        solver.eigenvalues = self.eigenvalues + shift
        solver.damping = self.damping + shift
        if self.curvature is not None:
            solver.curvature = self.curvature.with_damping(solver.damping)
        solver.max_residual = 0.0
        solver._check()
        return solver

    def _check(self):
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
