"""Woodbury: curvatures A.T A + diag with fewer rows than parameters, direct."""

import numpy as np
from scipy import linalg

from skpuma.solvers._base import BaseSolver
from skpuma.utils.errors import SolverError


class Woodbury(BaseSolver):
    """Exact solve in the space of the rows.

    ``(D + A.T A)^-1 = D^-1 - D^-1 A.T (I + A D^-1 A.T)^-1 A D^-1``

    A has one row per training row and output. ``A D^-1 A.T`` comes from inner products
    of layer inputs and deltas, so neither A nor a (p, p) matrix is formed; every solve
    costs one tangent and one adjoint pass. Needs a positive diagonal (ridge plus
    damping) on every parameter.
    """

    name = "woodbury"
    explicit = False

    def __init__(self, curvature):
        super().__init__(curvature)
        if not curvature.factored:
            raise SolverError(
                "The woodbury solver needs a positive semi-definite curvature: use "
                "curvature='gauss_newton'."
            )
        diagonal = curvature.diagonal_part
        if not np.all(diagonal > 0):
            raise SolverError(
                "The woodbury solver needs damping > 0, since some parameters have no "
                "penalty."
            )
        self._objective = curvature.objective
        self._root = curvature.root
        self._inverse = 1.0 / diagonal
        gram = self._objective.model.tangent_gram(
            self._objective.X, self._root, self._inverse
        )
        gram[np.diag_indices_from(gram)] += 1.0
        # In place: the transpose is the same matrix, in the order of LAPACK.
        self._factor = linalg.cho_factor(gram.T, lower=True, overwrite_a=True)

    def _rows(self, V):
        """A V."""
        forward = self._objective.model.jvp(self._objective.X, V)
        moved = np.einsum("nkr,nkm->nrm", self._root, forward)
        return moved.reshape(-1, V.shape[1])

    def _adjoint(self, U):
        """A.T U."""
        n, _, r = self._root.shape
        model, X = self._objective.model, self._objective.X
        u = np.einsum("nkr,nrm->nkm", self._root, U.reshape(n, r, -1))
        columns = [model.vjp(X, u[:, :, m]) for m in range(U.shape[1])]
        return np.stack(columns, axis=1)

    def _raw_solve(self, B):
        scaled = self._inverse[:, None] * B
        inner = linalg.cho_solve(
            self._factor, self._rows(scaled), overwrite_b=True, check_finite=False
        )
        return scaled - self._inverse[:, None] * self._adjoint(inner)

    def _solve(self, B):
        X = self._raw_solve(B)
        return X, self._residual(self.curvature, X, B), 0
