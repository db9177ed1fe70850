"""Squared hinge loss of a binary classifier."""

import numpy as np

from skpuma.losses._margin import SignedLoss, signs


class SquaredHingeLoss(SignedLoss):
    """``max(0, 1 - m)^2`` of the margin ``m = (2 y - 1) z`` with y in {0, 1}.

    The Hessian is the generalised one: 2 on ``m < 1``, 0 elsewhere.
    """

    affine = False

    # Shortfall of the margin beyond which the loss is linear.
    _limit = np.inf

    def value(self, z, y):
        shortfall = 1.0 - signs(y) * z
        clipped = np.clip(shortfall, 0.0, self._limit)
        return (clipped * (2.0 * shortfall - clipped))[:, 0]

    def gradient(self, z, y):
        sign = signs(y)
        return -2.0 * sign * np.clip(1.0 - sign * z, 0.0, self._limit)

    def hessian(self, z, y):
        shortfall = 1.0 - signs(y) * z
        return 2.0 * ((shortfall > 0.0) & (shortfall <= self._limit))[:, :, None]

    def hessian_root(self, z, y):
        return np.sqrt(self.hessian(z, y))
