"""Generalised linear models with a log link: Poisson, gamma, Tweedie."""

import numpy as np

from skpuma.losses._squared import SquaredLoss
from skpuma.losses._tweedie import TweedieLoss
from skpuma.models._linear import LinearModel
from skpuma.utils.errors import NotDifferentiableError


class GLMModel(LinearModel):
    """PoissonRegressor, GammaRegressor and TweedieRegressor.

    ``(1 / W) sum_i w_i l_i + alpha / 2 ||W||^2``: the penalty belongs to the mean loss,
    so it grows with the weights (kind "mean").
    """

    kind = "mean"

    def __init__(self, estimator):
        super().__init__(estimator)
        power = {"PoissonRegressor": 1.0, "GammaRegressor": 2.0}.get(
            type(estimator).__name__, getattr(estimator, "power", None)
        )
        link = getattr(estimator, "link", "log")
        if link == "auto":
            link = "log" if power > 0 else "identity"
        if power == 0.0 and link == "identity":
            self.loss = SquaredLoss()
        elif link == "log" and 1.0 <= power <= 2.0:
            self.loss = TweedieLoss(power)
        else:
            raise NotDifferentiableError(
                f"TweedieRegressor(power={power:g}, link={link!r}) has no convex "
                "objective; supported are power=0 with the identity link, and powers "
                "from 1 to 2 with the log link."
            )

    def ridge(self, total_weight, n_rows):
        return self._l2(float(self.estimator.alpha))

    def referee_parameters(self):
        return {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}

    def gradient_tolerance(self):
        if np.max(self.estimator.n_iter_) >= self.estimator.max_iter:
            return None
        return 10.0 * self.estimator.tol
