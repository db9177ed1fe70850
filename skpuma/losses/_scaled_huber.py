"""Huber's loss with a scale that is estimated along with the prediction."""

import numpy as np

from skpuma.losses._base import BaseLoss, mean_scale


class ScaledHuberLoss(BaseLoss):
    """``sigma + sigma H(r / sigma)`` with ``r = z[:, 0] - y`` and ``sigma = z[:, 1]``.

    ``H(t) = t^2`` up to ``|t| = epsilon``, then ``2 epsilon |t| - epsilon^2``. Convex
    in prediction and scale together (Huber's concomitant scale), as in scikit-learn's
    ``HuberRegressor``. Raw outputs are (n, 2), targets and predictions (n, 1).

    Where ``sigma <= 0`` the value is ``inf``, so that a line search rejects the step;
    gradient and Hessian are there the limits from above, which are finite (the rows are
    beyond the threshold).

    Parameters
    ----------
    epsilon : float >= 1, default 1.35
        Threshold, in units of sigma.

    References
    ----------
    P. J. Huber, E. M. Ronchetti, "Robust Statistics", 2nd ed., Wiley 2009, chapter 7.
    """

    affine = False
    parameters = ("epsilon",)

    def __init__(self, epsilon=1.35):
        if not epsilon >= 1.0:
            raise ValueError(f"epsilon={epsilon} must be at least 1.")
        self.epsilon = float(epsilon)

    def _parts(self, z, y):
        """Residual, scale, clipped residual in units of the scale, inside or not."""
        r, sigma = z[:, 0] - y[:, 0], z[:, 1]
        inside = np.abs(r) < self.epsilon * sigma
        t = np.where(
            inside, r / np.where(inside, sigma, 1.0), self.epsilon * np.sign(r)
        )
        return r, sigma, t, inside

    def value(self, z, y):
        r, sigma, t, _ = self._parts(z, y)
        return np.where(sigma > 0.0, sigma * (1.0 - t * t) + 2.0 * r * t, np.inf)

    def gradient(self, z, y):
        t = self._parts(z, y)[2]
        return np.column_stack([2.0 * t, 1.0 - t * t])

    def _root(self, z, y):
        # The loss is homogeneous in (r, sigma), so that its Hessian has rank one.
        _, sigma, t, inside = self._parts(z, y)
        size = np.sqrt(2.0 * inside / np.where(inside, sigma, 1.0))
        return np.column_stack([size, -size * t])

    def hessian(self, z, y):
        root = self._root(z, y)
        return root[:, :, None] * root[:, None, :]

    def hessian_root(self, z, y):
        root = np.zeros((len(z), 2, 2))
        root[:, :, 0] = self._root(z, y)
        return root

    def predict(self, z):
        return z[:, :1]

    def predict_vjp(self, z, u):
        return np.hstack([u, np.zeros_like(u)])

    def dispersion(self, z, y, weight):
        # Curvature 2 / sigma against 1 / sigma^2 of a normal distribution.
        return mean_scale(2.0 * z[:, 1], weight)
