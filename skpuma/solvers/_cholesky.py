"""Cholesky: positive definite matrices, direct."""

import copy
from contextlib import nullcontext
from functools import cached_property

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from skpuma import rows
from skpuma.solvers._base import (
    BaseSolver,
    explicit_matrix,
    relative,
    singular_error,
)

# Of the equilibrated matrix, in the 1-norm: what rounding in a solve depends on.
CONDITION_LIMIT = 1e13
# Residual up to which a solve is refined: rounding alone leaves less than that.
REFINED = 1e-2
# Parameters up to which threads of BLAS cost more than they give.
SMALL = 500
# Parameters above which Lanczos steps are cheaper than all eigenvalues.
ALL_EIGENVALUES = 200


class Cholesky(BaseSolver):
    """Direct solver for positive definite curvatures; the matrix is formed.

    One array holds it: the factor takes one triangle, and the other stays as it was.

    Attributes
    ----------
    info : dict
        ``"condition"``: largest by smallest eigenvalue, to within a percent, found when
        it is first asked for. Ill-scaled columns raise it without harm; what is refused
        as singular is decided on the matrix with a diagonal of ones.
    """

    name = "cholesky"
    _refines = True

    def __init__(self, curvature):
        super().__init__(curvature)
        scaled = explicit_matrix(curvature)
        if not scaled.flags.f_contiguous:
            # The transpose is the same matrix, in the order of LAPACK.
            scaled = scaled.T
        # Columns of very different scale are not ill-posed: equilibrate first.
        diagonal = np.diagonal(scaled).copy()
        if not np.all(diagonal > 0):
            raise singular_error(diagonal.min(), diagonal.max())
        self._scale = 1.0 / np.sqrt(diagonal)
        scaled *= self._scale[:, None]
        scaled *= self._scale
        norm = linalg.norm(scaled, 1)
        try:
            self._factor = linalg.cho_factor(scaled, lower=True, overwrite_a=True)
        except linalg.LinAlgError:
            self._factor = scaled, True
            eigenvalues = linalg.eigvalsh(self.matrix)
            raise singular_error(eigenvalues[0], eigenvalues[-1]) from None
        potri = linalg.lapack.dpocon(self._factor[0], norm, uplo="L")
        estimate = float(1.0 / potri[0]) if potri[0] > 0 else np.inf
        # The estimated condition may pass where solves fail: try one.
        probe = np.random.default_rng(0).standard_normal((len(diagonal), 1))
        _, residual, _ = self._solve(probe)
        if estimate > CONDITION_LIMIT or not residual[0] <= self.tolerance:
            raise singular_error(1.0 / estimate, 1.0)

    @property
    def matrix(self):
        """The matrix (p, p), built anew."""
        upper = np.triu(self._factor[0], 1)
        upper += upper.T
        upper[np.diag_indices_from(upper)] = 1.0
        upper /= self._scale
        upper /= self._scale[:, None]
        return upper

    def _product(self, V):
        """The matrix times V (p, m)."""
        factor, W = self._factor[0], V / self._scale[:, None]
        if W.shape[1] == 1:
            product = linalg.blas.dsymv(1.0, factor, W[:, 0], lower=0)[:, None]
        else:
            product = linalg.blas.dsymm(1.0, factor, W, lower=0)
        product += (1.0 - np.diagonal(factor))[:, None] * W
        return product / self._scale[:, None]

    def _raw_solve(self, B):
        scaled = linalg.cho_solve(
            self._factor, B * self._scale[:, None], overwrite_b=True, check_finite=False
        )
        return scaled * self._scale[:, None]

    def loosened(self, tolerance):
        """The same factor, without refinement where more than rounding may be left."""
        if tolerance <= REFINED or not self._refines:
            return self
        solver = copy.copy(self)
        solver._refines = False
        return solver

    def _solve(self, B):
        with rows.one_blas_thread() if len(B) <= SMALL else nullcontext():
            X = self._raw_solve(B)
            if self._refines:
                # One step of iterative refinement: the equilibrated residual reaches
                # rounding.
                X = X + self._raw_solve(B - self._product(X))
            return X, relative(self._product(X) - B, B), 0

    def extreme_eigenvalues(self):
        """Smallest and largest eigenvalue, to within a percent."""
        return self._extremes

    @property
    def condition(self):
        """Largest by smallest eigenvalue."""
        smallest, largest = self._extremes
        return largest / smallest

    def _found(self):
        return {"condition": self.condition}

    @cached_property
    def _extremes(self):
        p = len(self._scale)
        # That of the inverse: rounding hides a small eigenvalue beside a large one.
        smallest = 1.0 / _largest_eigenvalue(self._raw_solve, p)
        return smallest, _largest_eigenvalue(self._product, p)


def _largest_eigenvalue(product, p):
    """Largest eigenvalue of a symmetric (p, p) matrix that is known by its products."""
    if p <= ALL_EIGENVALUES:
        return float(linalg.eigvalsh(product(np.eye(p)))[-1])
    operator = LinearOperator((p, p), lambda v: product(v.reshape(-1, 1)), dtype=float)
    start = np.random.default_rng(0).standard_normal(p)
    found = eigsh(operator, 1, which="LA", v0=start, tol=1e-3)
    return float(found[0][0])
