"""What the losses of a regression residual ``z - y`` share."""

import numpy as np

from skpuma.losses._base import BaseLoss, diagonal, mean_scale


class ResidualLoss(BaseLoss):
    """A loss of the residuals, summed over outputs; the prediction is z itself."""

    def _curvature(self, z, y):
        """Second derivative in every output, shape (n, k)."""
        raise NotImplementedError

    def hessian(self, z, y):
        return diagonal(self._curvature(z, y))

    def hessian_root(self, z, y):
        return diagonal(np.sqrt(self._curvature(z, y)))

    def predict(self, z):
        return z

    def predict_vjp(self, z, u):
        return u

    def dispersion(self, z, y, weight):
        # The loss is half a square, at least near its minimum.
        return mean_scale(2.0 * self.value(z, y), weight)
