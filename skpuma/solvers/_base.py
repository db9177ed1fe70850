"""The contract of a solver."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from skpuma.utils.errors import SolverError

COLLINEAR = (
    "collinear columns without a penalty. Set `damping` to a positive value, use "
    "solver='cholesky' with damping='auto', a penalised model, or drop columns."
)


@dataclass(frozen=True)
class Solution:
    """Solution of ``H x = b`` for every column of b.

    Attributes
    ----------
    value : ndarray, shape of b
    residual : ndarray (m,)
        ``||H x - b|| / ||b||`` of every column (0 where b is 0), measured; a few steps
        of conjugate gradients to a loose tolerance keep count of it instead.
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
        ``"solver"``, its name, and what was found out about the matrix on the way.
    max_residual : float
        Largest relative residual of all solves so far.
    explicit : bool
        Whether the matrix was formed, so that solves are cheap.
    iterative : bool
        Whether every solve takes products with H, a few dozen or more.
    tolerance : float
        Relative residual above which a solve is refused.
    """

    name = ""
    explicit = True
    iterative = False
    tolerance = 1e-6
    # Tolerance of the solver that this one was loosened from.
    _asked = None

    def __init__(self, curvature):
        self.curvature = curvature
        self.damping = curvature.damping
        self.null_space = curvature.null_space
        self.info = {}
        self.max_residual = 0.0

    @property
    def info(self):
        self._info.update(self._found())
        return self._info

    @info.setter
    def info(self, found):
        self._info = {"solver": self.name or type(self).__name__, **found}

    def _found(self):
        """What is worked out only when `info` is asked for."""
        return {}

    def detached(self):
        """The same factor without the rows that it came from, or None.

        What is stored on a fitted estimator must not hold training rows.
        """
        if not self.explicit:
            return None
        solver = copy.copy(self)
        solver.curvature = None
        return solver

    def attached(self, curvature):
        """A detached factor, with the curvature that it came from."""
        solver = copy.copy(self)
        solver.curvature = curvature
        return solver

    def loosened(self, tolerance):
        """The same factor for solves that may stop at a larger relative residual.

        Itself, where it is direct and has nothing to leave out, or where its tolerance
        is larger already.
        """
        if not self.iterative or tolerance <= self.tolerance:
            return self
        solver = copy.copy(self)
        solver.tolerance = tolerance
        solver._asked = self._asked or self.tolerance
        return solver

    def handed_on(self):
        """What `renewed` needs, without the curvature and its rows, or None."""
        return None

    def renewed(self, curvature):
        """A solver of another curvature that keeps what was costly, or None."""
        return None

    @abstractmethod
    def _solve(self, B):
        """Solve for the columns of B (p, m): (X, residual (m,), n_iter)."""

    def solve(self, b, **options):
        """Solve ``H x = b`` for b (p,) or (p, m).

        Parameters
        ----------
        b : ndarray (p,) or (p, m)
        **options
            What the class of the solver offers beyond; a direct solver takes none.

        Returns
        -------
        Solution

        Raises
        ------
        SolverError
            If the residual is not below the solver's tolerance, or b is not finite.
        """
        B = b[:, None] if b.ndim == 1 else b
        if not np.isfinite(B).all():
            raise SolverError(
                "A right-hand side holds NaN or infinity: the gradient of a criterion "
                "or of the loss has overflowed."
            )
        basis = self.null_space
        if basis is not None:
            B = B - basis @ (basis.T @ B)
        X, residual, n_iter = self._solve(B, **options)
        if basis is not None:
            X = X - basis @ (basis.T @ X)
        worst = float(residual.max(initial=0.0))
        if not worst <= self.tolerance:
            inner = ""
            if self._asked is not None:
                inner = f" of an inner solve (its own tolerance is {self._asked:g})"
            raise SolverError(
                f"The {self.name} solver stopped at a relative residual of "
                f"{worst:.1e}, above the tolerance {self.tolerance:g}{inner}. "
                f"{self._advice()}"
            )
        self.max_residual = max(self.max_residual, worst)
        return Solution(X[:, 0] if b.ndim == 1 else X, residual, n_iter)

    def _advice(self):
        if self._may_be_singular():
            return f"The curvature may be singular: {COLLINEAR}"
        return f"Raise `damping` (now {self.damping:.1e}) or use solver='cholesky'."

    def _may_be_singular(self):
        """Whether only the rows can make the matrix of a convex model definite."""
        curvature = self.curvature
        if curvature is None or not curvature.psd:
            return False
        penalised = np.all(curvature.diagonal_part > 0)
        return bool(curvature.objective.model.convex and not penalised)

    def _residual(self, matrix, X, B):
        return relative(matrix @ X - B, B)


def relative(error, B):
    """Size of the columns of `error` relative to those of B; 0 where B is 0."""
    norm = np.linalg.norm(B, axis=0)
    size = np.linalg.norm(error, axis=0)
    return np.divide(size, norm, out=np.zeros_like(size), where=norm != 0)


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
