"""The exact Hessian; indefinite on neural networks."""

import numpy as np

from skpuma import rows
from skpuma.curvature._gauss_newton import GaussNewton


class Hessian(GaussNewton):
    """Gauss-Newton plus ``sum_i r_i . d2 z_i / d theta2``.

    The second term vanishes where the raw outputs are linear in theta. On a network it
    makes the matrix indefinite away from a minimum.
    """

    name = "hessian"

    def __init__(self, objective, damping=0.0):
        super().__init__(objective, damping)
        self.psd = self.factored = objective.model.convex

    def _gram(self):
        if self.psd:
            return super()._gram()
        p = self.shape[0]
        matrix = GaussNewton(self.objective)._gram()
        for block in rows.blocks(p, 8 * p, 2**25):
            unit = np.zeros((p, block.stop - block.start))
            unit[block, :] = np.eye(block.stop - block.start)
            matrix[:, block] += self._bend(unit)
        return 0.5 * (matrix + matrix.T)

    def _bend(self, V):
        objective = self.objective
        u = self._scale()[:, None] * objective.residual
        return objective.model.second_order(objective.X, u, V)

    def _matmat(self, V):
        product = super()._matmat(V)
        return product if self.psd else product + self._bend(V)
