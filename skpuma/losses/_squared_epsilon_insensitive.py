"""Squared error beyond a margin of tolerance."""

import numpy as np

from skpuma.losses._base import mean_scale
from skpuma.losses._residual import ResidualLoss


class SquaredEpsilonInsensitiveLoss(ResidualLoss):
    """``max(0, |z - y| - epsilon)^2``, summed over outputs; no half, as in sklearn.

    Parameters
    ----------
    epsilon : float >= 0, default 0.1
        Residuals up to here cost nothing, in the unit of y.
    """

    affine = False
    parameters = ("epsilon",)

    def __init__(self, epsilon=0.1):
        if not epsilon >= 0.0:
            raise ValueError(f"epsilon={epsilon} must not be negative.")
        self.epsilon = float(epsilon)

    def _excess(self, z, y):
        r = z - y
        return r - np.clip(r, -self.epsilon, self.epsilon)

    def value(self, z, y):
        return np.square(self._excess(z, y)).sum(axis=1)

    def gradient(self, z, y):
        return 2.0 * self._excess(z, y)

    def _curvature(self, z, y):
        return 2.0 * (np.abs(z - y) >= self.epsilon)

    def dispersion(self, z, y, weight):
        # Of the residuals, not of the loss: that may be zero on all rows.
        return mean_scale(2.0 * np.square(z - y).sum(axis=1), weight)
