"""Log-loss of a binary classifier with one raw output."""

import numpy as np
from scipy.special import expit

from skpuma.losses._base import BaseLoss


class BinaryLogLoss(BaseLoss):
    """``log(1 + exp(z)) - y z`` with y in {0, 1}."""

    task = "classification"

    def value(self, z, y):
        z = z[:, 0]
        return np.logaddexp(0.0, z) - y * z

    def gradient(self, z, y):
        residual = expit(z)
        residual[:, 0] -= y
        return residual

    def hessian(self, z, y):
        p = expit(z)
        return (p * (1.0 - p))[:, :, None]

    def hessian_root(self, z, y):
        return np.sqrt(self.hessian(z, y))

    def predict(self, z):
        p = expit(z)
        return np.hstack([1.0 - p, p])

    def predict_vjp(self, z, u):
        p = expit(z)
        return p * (1.0 - p) * (u[:, 1:] - u[:, :1])
