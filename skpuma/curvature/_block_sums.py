"""The curvature of rows that live in blocks: a sum of theirs."""

import numpy as np

from skpuma.curvature import curvature_of
from skpuma.curvature._base import Curvature


class BlockSums(Curvature):
    """Any curvature as a sum over blocks, each of which is one of the table.

    Parameters
    ----------
    kind : str
        Name in the table.
    """

    # There is a factor in every block, and none of all rows.
    factored = False

    def __init__(self, objective, damping=0.0, kind="hessian"):
        super().__init__(objective, damping)
        self.name = kind
        self.psd = objective.model.convex or kind != "hessian"

    def with_damping(self, damping):
        return type(self)(self.objective, damping, self.name)

    def total(self, function, *args):
        return self.objective.total(_of_block, self.name, function, args)

    def _gram(self):
        return self.objective.gram(self.name)

    def _matmat(self, V):
        return self.total(_product, np.asarray(V)) + self.diagonal_part[:, None] * V


def _of_block(block, kind, function, args):
    return function(curvature_of(block, kind), *args)


def _product(curvature, V):
    return curvature @ V - curvature.diagonal_part[:, None] * V
