"""Half the squared error."""

import numpy as np

from skpuma.losses._base import BaseLoss


class SquaredLoss(BaseLoss):
    """``1/2 * ||z - y||^2``, summed over outputs."""

    constant_hessian = True

    def value(self, z, y):
        return 0.5 * np.square(z - y).sum(axis=1)

    def gradient(self, z, y):
        return z - y

    def hessian(self, z, y):
        n, k = z.shape
        return np.broadcast_to(np.eye(k), (n, k, k))

    def hessian_root(self, z, y):
        return self.hessian(z, y)

    def predict(self, z):
        return z

    def predict_vjp(self, z, u):
        return u

    def dispersion(self, z, y, weight):
        mean_square = np.average(2.0 * self.value(z, y), weights=weight)
        return max(mean_square, np.finfo(float).tiny)
