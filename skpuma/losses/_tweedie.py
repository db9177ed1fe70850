"""Half the Tweedie deviance with a log link."""

import numpy as np
from scipy.special import xlogy

from skpuma.losses._base import BaseLoss, diagonal, mean_scale


class TweedieLoss(BaseLoss):
    """Poisson (power 1), compound Poisson (between 1 and 2) and gamma (power 2).

    Convex in z for these powers, with mean ``mu = exp(z)``.

    Parameters
    ----------
    power : float in [1, 2], default 1.5
        Variance of y is proportional to ``mu ** power``.
    """

    parameters = ("power",)

    def __init__(self, power=1.5):
        if not 1.0 <= power <= 2.0:
            raise ValueError(
                f"power={power} is outside [1, 2], where the loss is convex."
            )
        self.power = float(power)

    def value(self, z, y):
        # With the terms of y alone, so that 0 is a perfect fit.
        p = self.power
        if p == 1.0:
            return (np.exp(z) - y * z + xlogy(y, y) - y).sum(axis=1)
        if p == 2.0:
            with np.errstate(divide="ignore"):
                return (z + y * np.exp(-z) - np.log(y) - 1.0).sum(axis=1)
        both = np.exp((2 - p) * z) / (2 - p) - y * np.exp((1 - p) * z) / (1 - p)
        alone = np.maximum(y, 0.0) ** (2 - p) / ((1 - p) * (2 - p))
        return (both + alone).sum(axis=1)

    def gradient(self, z, y):
        p = self.power
        return np.exp((2 - p) * z) - y * np.exp((1 - p) * z)

    def _curvature(self, z, y):
        p = self.power
        return (2 - p) * np.exp((2 - p) * z) + (p - 1) * y * np.exp((1 - p) * z)

    def hessian(self, z, y):
        return diagonal(self._curvature(z, y))

    def hessian_root(self, z, y):
        return diagonal(np.sqrt(self._curvature(z, y)))

    def predict(self, z):
        return np.exp(z)

    def predict_vjp(self, z, u):
        return np.exp(z) * u

    def dispersion(self, z, y, weight):
        if self.power == 1.0:
            return 1.0
        mu = np.exp(z)
        pearson = np.square(y - mu) / mu**self.power
        return mean_scale(pearson.sum(axis=1), weight)
