"""HuberRegressor: robust regression with its scale among the parameters."""

import numpy as np

from skpuma.losses._scaled_huber import ScaledHuberLoss
from skpuma.models._base import BaseModel
from skpuma.models._linear import LinearModel


class HuberModel(LinearModel):
    """HuberRegressor: ``sum_i w_i (sigma + H((z_i - y_i) / sigma) sigma) + a ||W||^2``.

    The scale sigma is estimated with the coefficients, and the objective is convex in
    both. Here it is a second raw output without features: ``theta = [W, b, sigma]``.
    """

    def __init__(self, estimator):
        super().__init__(estimator)
        self.loss = ScaledHuberLoss(estimator.epsilon)

    def _arrays(self, estimator):
        coef = np.stack([estimator.coef_, np.zeros_like(estimator.coef_)])
        return coef, np.array([estimator.intercept_, estimator.scale_], dtype=float)

    def _free_coef(self, coef):
        free = np.zeros(coef.shape, dtype=bool)
        free[0] = True
        return free

    def _free_intercept(self, intercept):
        return np.array([self.estimator.fit_intercept, True])

    def _put(self, estimator, coef, intercept):
        super()._put(estimator, coef[:1], intercept[:1])
        estimator.scale_ = type(estimator.scale_)(intercept[1])

    @property
    def n_targets(self):
        """The scale is no target."""
        return 1

    def last_layer(self, X):
        # The scale is a raw output that sees no features.
        return BaseModel.last_layer(self, X)

    def ridge(self, total_weight, n_rows):
        return self._l2(2.0 * self.estimator.alpha / total_weight)

    def referee(self):
        # Its solver stops at 1e-6 of the gradient, however small `tol` is.
        return None
