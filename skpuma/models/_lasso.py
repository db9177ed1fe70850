"""L1 penalties: the calculus of the active set; Lasso and ElasticNet."""

from abc import abstractmethod

import numpy as np
from sklearn.linear_model import ElasticNet

from skpuma import rows
from skpuma.losses._squared import SquaredLoss
from skpuma.models._linear import LinearModel
from skpuma.utils.errors import NotDifferentiableError

# An inactive coefficient enters where its gradient exceeds the L1 penalty by this.
ACTIVE_TOLERANCE = 1e-3


class SparseCoefficients:
    """Mixin of linear models with an L1 penalty: the calculus of the active set.

    The coefficients that the fit set to zero stay there, and the others keep their
    signs; on that set the objective is smooth. `caveat` says where a patch has left it.
    """

    @abstractmethod
    def _l1(self, total_weight):
        """Strength of the L1 penalty on coefficients and on intercepts, in J."""

    def _free_coef(self, coef):
        return None if self._l1(1.0) == (0.0, 0.0) else coef != 0

    def _free_intercept(self, intercept):
        free = super()._free_intercept(intercept)
        return free & (intercept != 0) if self._l1(1.0)[1] else free

    def tilt(self, total_weight, n_rows):
        on_coef, on_intercept = self._l1(total_weight)
        coef, intercept = self.split(self.theta)
        return self.join(on_coef * np.sign(coef), on_intercept * np.sign(intercept))

    def _layout(self):
        super()._layout()
        if self.free_coef is not None and not (
            self.free_coef.any() or self.free_intercept.any()
        ):
            raise NotDifferentiableError(
                f"The L1 penalty of {type(self.estimator).__name__} set every "
                "parameter to zero: there is nothing to value or to patch. Use a "
                "weaker penalty (a larger C, a smaller alpha)."
            )

    def caveat(self, objective):
        if self.free_coef is None:
            return None
        model, record = objective.model, objective.record
        penalised = record.tilt != 0
        leave = np.count_nonzero((model.theta * record.tilt)[penalised] < 0)
        gradient, on_outputs = objective.total(_data_gradient)
        on_coef, on_intercept = self._l1(record.total_weight)
        slack = objective.penalty_scale * (1 + ACTIVE_TOLERANCE)
        enter = np.count_nonzero(np.abs(gradient[~self.free_coef]) > on_coef * slack)
        if self._fits_intercept:
            bound = np.abs(on_outputs)[~self.free_intercept]
            enter += np.count_nonzero(bound > on_intercept * slack)
        if not (leave or enter):
            return None
        return (
            f"the L1 penalty's active set changes: {leave} coefficients would leave it "
            f"and {enter} would enter. The model is exact on the old active set only; "
            "refit it if this matters."
        )


def _data_gradient(objective):
    """Slopes of the data term in all coefficients (k, d) and intercepts (k,)."""
    u = objective.weight[:, None] * objective.residual / objective.total_weight
    return rows.column_sums(objective.X, u).T, u.sum(axis=0)


class ElasticNetModel(SparseCoefficients, LinearModel):
    """Lasso, ElasticNet and their cross-validated relatives.

    ``1 / (2 W) sum_i w_i (z_i - y_i)^2 + alpha (r |W|_1 + (1 - r) / 2 ||W||^2)``: the
    penalty belongs to the mean loss (kind "mean").
    """

    kind = "mean"
    loss = SquaredLoss()

    @classmethod
    def refusal(cls, estimator):
        if estimator.positive:
            return "positive=True makes the fit a constrained one; refit without it."
        return None

    @property
    def _alpha(self):
        return getattr(self.estimator, "alpha_", None) or self.estimator.alpha

    @property
    def _l1_ratio(self):
        chosen = getattr(self.estimator, "l1_ratio_", None)
        # LassoCV has neither attribute.
        return getattr(self.estimator, "l1_ratio", 1.0) if chosen is None else chosen

    def ridge(self, total_weight, n_rows):
        return self._l2(self._alpha * (1.0 - self._l1_ratio))

    def _l1(self, total_weight):
        return float(self._alpha * self._l1_ratio), 0.0

    def referee(self):
        return ElasticNet(
            self._alpha,
            l1_ratio=self._l1_ratio,
            fit_intercept=self.estimator.fit_intercept,
            tol=1e-14,
            max_iter=1_000_000,
        )
