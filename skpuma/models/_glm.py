"""Generalised linear models with a log link: Poisson, gamma, Tweedie."""

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import GammaRegressor, PoissonRegressor

from skpuma.losses._squared import SquaredLoss
from skpuma.losses._tweedie import TweedieLoss
from skpuma.models._linear import LinearModel


class GLMModel(LinearModel):
    """PoissonRegressor, GammaRegressor and TweedieRegressor.

    ``(1 / W) sum_i w_i l_i + alpha / 2 ||W||^2``: the penalty belongs to the mean loss,
    so it grows with the weights (kind "mean").
    """

    kind = "mean"

    @classmethod
    def _power_and_link(cls, estimator):
        # These two have no attribute that tells their power.
        if isinstance(estimator, PoissonRegressor):
            return 1.0, "log"
        if isinstance(estimator, GammaRegressor):
            return 2.0, "log"
        if estimator.link == "auto":
            return estimator.power, "log" if estimator.power > 0 else "identity"
        return estimator.power, estimator.link

    @classmethod
    def refusal(cls, estimator):
        power, link = cls._power_and_link(estimator)
        if (power, link) == (0.0, "identity"):
            return None
        if link == "log" and power is not None and 1.0 <= power <= 2.0:
            return None
        return (
            f"{type(estimator).__name__} with power {power} and the {link} link has no "
            "convex objective; supported are power 0 (normal) with the identity link, "
            "and powers from 1 (Poisson) to 2 (gamma) with the log link."
        )

    def __init__(self, estimator):
        super().__init__(estimator)
        power, _ = self._power_and_link(estimator)
        self.loss = SquaredLoss() if power == 0.0 else TweedieLoss(power)

    def ridge(self, total_weight, n_rows):
        return self._l2(float(self.estimator.alpha))

    def referee(self):
        return clone(self.estimator).set_params(
            solver="newton-cholesky", tol=1e-12, max_iter=1000
        )

    def gradient_tolerance(self):
        if np.max(self.estimator.n_iter_) >= self.estimator.max_iter:
            return None
        return 10.0 * self.estimator.tol
