"""glum's GeneralizedLinearRegressor, by its name: glum itself is never imported."""

from sklearn.base import clone

from skpuma.models._glm import GLMModel

FAMILIES = {"normal": 0.0, "gaussian": 0.0, "poisson": 1.0, "gamma": 2.0}
# Options of a fit that is constrained, or penalised in another way than here.
PLAIN = {
    "A_ineq": None,
    "P1": "identity",
    "P2": "identity",
    "alpha_search": False,
    "formula": None,
    "lower_bounds": None,
    "monotonic_constraints": None,
    "scale_predictors": False,
    "upper_bounds": None,
}


class GlumModel(GLMModel):
    """``(1 / W) sum_i w_i l_i + alpha / 2 ||W||^2``, as scikit-learn's GLMs."""

    @classmethod
    def _power_and_link(cls, estimator):
        family, link = estimator.family, estimator.link
        if isinstance(family, str) and family.startswith("tweedie"):
            power = float(family.partition("(")[2].rstrip(") ") or 1.5)
        elif isinstance(family, str):
            power = FAMILIES.get(family)
        else:
            power = getattr(family, "power", None)
        if link == "auto":
            link = "identity" if power == 0.0 else "log"
        return power, link if isinstance(link, str) else type(link).__name__

    @classmethod
    def refusal(cls, estimator):
        for name, plain in PLAIN.items():
            value = getattr(estimator, name, plain)
            if not (value is plain or (isinstance(value, str) and value == plain)):
                return f"{name} of a {type(estimator).__name__} must be {plain!r}."
        if estimator.alpha and estimator.l1_ratio:
            return "an L1 part of glum's penalty is not supported: use l1_ratio=0."
        return super().refusal(estimator)

    def ridge(self, total_weight, n_rows):
        return self._l2(float(self.estimator.alpha or 0.0))

    def referee(self):
        return clone(self.estimator).set_params(gradient_tol=1e-13, max_iter=1000)

    def gradient_tolerance(self):
        return None
