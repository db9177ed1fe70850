"""The contract of a solver."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from skpuma.utils.errors import SolverError


@dataclass(frozen=True)
class Solution:
    """Solution of ``H x = b`` for every column of b.

    Attributes
    ----------
    value : ndarray, shape of b
    residual : ndarray (m,)
        ``||H x - b|| / ||b||`` of every column (0 where b is 0), measured, not assumed.
    n_iter : int
        Products with H; 0 for a direct solver.
    """

    value: np.ndarray
    residual: np.ndarray
    n_iter: int = 0


class BaseSolver(ABC):
    """A factored curvature.

    Parameters
    ----------
    curvature : Curvature
        Its null space, if it has one, is left out: right-hand sides are projected and
        the solution is orthogonal to it.

    Attributes
    ----------
    info : dict
        What was found out about the matrix on the way.
    max_residual : float
        Largest relative residual of all solves so far.
    """

    name = ""
    explicit = True
    tolerance = 1e-6

    def __init__(self, curvature):
        self.curvature = curvature
        self.damping = curvature.damping
        self.null_space = curvature.null_space
        self.info = {}
        self.max_residual = 0.0

    def detached(self):
        """The same factor without the rows that it came from, or None.

        What is stored on a fitted estimator must not hold training rows.
        """
        if not self.explicit:
            return None
        solver = copy.copy(self)
        solver.curvature = None
        return solver

    @abstractmethod
    def _solve(self, B):
        """Solve for the columns of B (p, m): (X, residual (m,), n_iter)."""

    def solve(self, b):
        """Solve ``H x = b`` for b (p,) or (p, m).

        Returns
        -------
        Solution

        Raises
        ------
        SolverError
            If the residual is not below the solver's tolerance, or not finite.
        """
        B = b[:, None] if b.ndim == 1 else b
        basis = self.null_space
        if basis is not None:
            B = B - basis @ (basis.T @ B)
        X, residual, n_iter = self._solve(B)
        if basis is not None:
            X = X - basis @ (basis.T @ X)
        worst = float(residual.max(initial=0.0))
        if not worst <= self.tolerance:
            raise SolverError(
                f"The {self.name} solver stopped at a relative residual of "
                f"{worst:.1e}, above {self.tolerance:.0e}. Raise `damping` "
                f"(now {self.damping:.1e}) or use solver='cholesky'."
            )
        self.max_residual = max(self.max_residual, worst)
        return Solution(X[:, 0] if b.ndim == 1 else X, residual, n_iter)

    def _residual(self, matrix, X, B):
        norm = np.linalg.norm(B, axis=0)
        error = np.linalg.norm(matrix @ X - B, axis=0)
        return np.divide(error, norm, out=np.zeros_like(error), where=norm > 0)


def explicit_matrix(curvature):
    """Dense curvature, with its null space filled so that it can be factored."""
    matrix = curvature.dense()
    basis = curvature.null_space
    if basis is not None:
        scale = np.trace(matrix) / len(matrix)
        matrix += (scale if scale > 0 else 1.0) * (basis @ basis.T)
    return matrix


def singular_error(smallest, largest):
    """The error for a matrix that has no usable inverse."""
    return SolverError(
        "The curvature is singular or not positive definite (smallest eigenvalue "
        f"{smallest:.2e}, largest {largest:.2e}). Set damping='auto' or a positive "
        "damping, use a penalised model (Ridge, a smaller C), drop collinear columns, "
        "or use curvature='gauss_newton' on a network."
    )
