"""Half the squared error, linear beyond a threshold."""

import numpy as np

from skpuma.losses._residual import ResidualLoss


class HuberLoss(ResidualLoss):
    """``r^2 / 2`` up to ``|r| = epsilon``, then ``epsilon (|r| - epsilon / 2)``.

    With ``r = z - y``, summed over outputs.

    Parameters
    ----------
    epsilon : float > 0, default 1.35
        Threshold, in the unit of y.
    """

    affine = False
    parameters = ("epsilon",)

    def __init__(self, epsilon=1.35):
        if not epsilon > 0.0:
            raise ValueError(f"epsilon={epsilon} must be greater than 0.")
        self.epsilon = float(epsilon)

    def value(self, z, y):
        r, clipped = z - y, self.gradient(z, y)
        return (clipped * (r - 0.5 * clipped)).sum(axis=1)

    def gradient(self, z, y):
        return np.clip(z - y, -self.epsilon, self.epsilon)

    def _curvature(self, z, y):
        return (np.abs(z - y) <= self.epsilon).astype(float)
