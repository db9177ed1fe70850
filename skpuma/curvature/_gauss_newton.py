"""Gauss-Newton: J.T (d2 l / dz2) J, positive semi-definite."""

from functools import cached_property

import numpy as np

from skpuma.curvature._base import Curvature
from skpuma.curvature._single import SingleProducts


class GaussNewton(Curvature):
    """The curvature of the loss in the raw outputs; those are taken as linear.

    Equals the Hessian for models that are linear in their parameters. It is also the
    Kullback-Leibler metric of the outputs of a likelihood model.
    """

    name = "gauss_newton"

    @cached_property
    def output_hessian(self):
        """w_i / W * d2 l / dz2, shape (n, k, k)."""
        objective = self.objective
        hessian = objective.model.loss.hessian(objective.raw, objective.y)
        return hessian * self._scale()[:, None, None]

    @cached_property
    def output_operator(self):
        """The same for products from the left, without an array where it can be."""
        objective = self.objective
        loss = objective.model.loss
        return loss.hessian_operator(objective.raw, objective.y, self._scale())

    @cached_property
    def root(self):
        objective = self.objective
        root = objective.model.loss.hessian_root(objective.raw, objective.y)
        return root * np.sqrt(self._scale())[:, None, None]

    def _gram(self):
        model = self.objective.model
        if model.convex:
            return model.hessian_gram(self.objective.X, self.output_operator)
        return super()._gram()

    @cached_property
    def _multiplier(self):
        """The model as products take it."""
        return self.objective.model.remembering(self.objective.X)

    @cached_property
    def single(self):
        return SingleProducts(self) if SingleProducts.fits(self) else None

    def _matmat(self, V):
        product = self._multiplier.gram_product(
            self.objective.X, self.output_operator, V
        )
        return product + self.diagonal_part[:, None] * V
