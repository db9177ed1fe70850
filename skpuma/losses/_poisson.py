"""Half the Poisson deviance with a log link, without the terms of y alone."""

import numpy as np

from skpuma.losses._base import BaseLoss


class PoissonLoss(BaseLoss):
    """``exp(z) - y z``, summed over outputs."""

    def value(self, z, y):
        return (np.exp(z) - y * z).sum(axis=1)

    def gradient(self, z, y):
        return np.exp(z) - y

    def hessian(self, z, y):
        return np.exp(z)[:, :, None] * np.eye(z.shape[1])

    def hessian_root(self, z, y):
        return np.exp(0.5 * z)[:, :, None] * np.eye(z.shape[1])

    def predict(self, z):
        return np.exp(z)

    def predict_vjp(self, z, u):
        return np.exp(z) * u
