"""The empirical Fisher: outer products of the rows' gradients."""

from functools import cached_property

import numpy as np

from skpuma.curvature._base import Curvature


class Fisher(Curvature):
    """``(1/W) sum_i w_i g_i g_i.T`` over the data term's gradients.

    Not the Gauss-Newton matrix: it needs the labels, and it vanishes where the model
    fits every row.
    """

    name = "fisher"

    @cached_property
    def root(self):
        scaled = self.objective.residual * np.sqrt(self._scale())[:, None]
        return scaled[:, :, None]

    def _matmat(self, V):
        outer = self.root @ self.root.transpose(0, 2, 1)
        product = self.objective.model.gram_product(self.objective.X, outer, V)
        return product + self.diagonal_part[:, None] * V
