"""The contract of a curvature: a symmetric scipy LinearOperator."""

from functools import cached_property

import numpy as np
from scipy.sparse.linalg import LinearOperator


class Curvature(LinearOperator):
    """``(1/W) sum_i w_i J_i.T M_i J_i + diag(l2) + damping * I``.

    Parameters
    ----------
    objective : Objective
        With non-negative weights.
    damping : float
        Added to the diagonal here and nowhere else.

    Attributes
    ----------
    psd : bool
        Whether the operator is positive semi-definite by construction.
    factored : bool
        Whether it is ``A.T A + diag`` with `root` giving the rows of A.
    """

    name = ""
    psd = True
    factored = True

    def __init__(self, objective, damping=0.0):
        p = objective.model.n_parameters
        super().__init__(np.dtype(np.float64), (p, p))
        self.objective = objective
        self.damping = float(damping)

    @property
    def diagonal_part(self):
        """The ridge and the damping (p,)."""
        return self.objective.l2 + self.damping

    @cached_property
    def null_space(self):
        """Directions that the undamped objective does not see (p, q), or None."""
        if self.damping > 0.0:
            return None
        return self.objective.model.null_space(self.objective.l2)

    @cached_property
    def root(self):
        """B (n, k, r) with ``A_i = B_i.T J_i``."""
        raise NotImplementedError(f"{self.name} has no factored form.")

    def _gram(self):
        """``sum_i A_i.T A_i`` (p, p)."""
        return self.objective.model.gram(self.objective.X, self.root)

    def data_term(self):
        """The matrix without ridge and damping (p, p)."""
        return self._gram()

    def dense(self):
        """The matrix (p, p)."""
        matrix = self._gram()
        matrix[np.diag_indices_from(matrix)] += self.diagonal_part
        return matrix

    @property
    def single(self):
        """Its products in single precision, as `SingleProducts`, or None."""
        return None

    def total(self, function, *args):
        """``function(curvature, *args)`` summed over blocks of rows."""
        return function(self, *args)

    def with_damping(self, damping):
        """The same curvature under another damping."""
        return type(self)(self.objective, damping)

    def mean_eigenvalue(self, n_probes=16):
        """trace / p of the undamped matrix, estimated by fixed random probes."""
        rng = np.random.default_rng(0)
        p = self.shape[0]
        probes = rng.choice([-1.0, 1.0], size=(p, n_probes))
        undamped = self @ probes - self.damping * probes
        return float(np.einsum("pm,pm->", probes, undamped) / (n_probes * p))

    def _matvec(self, v):
        return self._matmat(np.reshape(v, (-1, 1)))[:, 0]

    def _adjoint(self):
        return self

    def _scale(self):
        return self.objective.weight / self.objective.total_weight
