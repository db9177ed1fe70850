"""Logistic regression, with an L2 penalty, an L1 penalty, both or none."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.models._lasso import SparseCoefficients
from skpuma.models._linear import LinearModel, class_weights_of
from skpuma.utils.errors import NotDifferentiableError


class LogisticModel(SparseCoefficients, LinearModel):
    """LogisticRegression and LogisticRegressionCV, binary or multinomial.

    ``C sum_i w_i l_i + (1 - r) / 2 ||W||^2 + r |W|_1``, here divided by C W. liblinear
    penalises the intercept too, divided by `intercept_scaling`.
    """

    def __init__(self, estimator):
        super().__init__(estimator)
        self.classes = estimator.classes_
        one_each = getattr(estimator, "multi_class", None) == "ovr"
        if len(self.classes) > 2 and (estimator.solver == "liblinear" or one_each):
            raise NotDifferentiableError(
                f"{type(estimator).__name__} fitted one model per class, which is not "
                "one multinomial objective: use solver='lbfgs', or a "
                "OneVsRestClassifier of it."
            )
        self.loss = MultinomialLogLoss() if self.n_outputs > 1 else BinaryLogLoss()

    @classmethod
    def refusal(cls, estimator):
        if getattr(estimator, "refit", True):
            return None
        return "refit=False averages the coefficients of folds; use refit=True."

    def _layout(self):
        self._C, self._l1_ratio = _penalty(self.estimator)
        super()._layout()

    @property
    def _liblinear(self):
        return self.estimator.solver == "liblinear"

    def ridge(self, total_weight, n_rows):
        strength = (1.0 - self._l1_ratio) / (self._C * total_weight)
        intercept = 0.0
        if self._liblinear:
            intercept = strength / self.estimator.intercept_scaling**2
        return self._l2(strength, intercept)

    def _l1(self, total_weight):
        strength = self._l1_ratio / (self._C * total_weight)
        intercept = 0.0
        if self._liblinear:
            intercept = strength / self.estimator.intercept_scaling
        return strength, intercept

    def null_space(self, l2):
        if self.n_outputs == 1:
            return None
        # A softmax does not see a shift that is common to all classes.
        k, d = self.n_outputs, self.n_features
        shift = np.full(k, k**-0.5)
        columns = []
        if np.isinf(self._C) or self._l1_ratio == 1.0:
            shared = np.ones(d, dtype=bool)
            if self.free_coef is not None:
                shared = self.free_coef.all(axis=0)
            for j in np.flatnonzero(shared):
                coef = np.zeros((k, d))
                coef[:, j] = shift
                columns.append(self.join(coef, np.zeros(k)))
        if self.fit_intercept:
            columns.append(self.join(np.zeros((k, d)), shift))
        return np.stack(columns, axis=1) if columns else None

    def referee(self):
        estimator = self.estimator
        # lbfgs at its tightest is still 1e-5 off on multinomial problems.
        solver, max_iter = "newton-cholesky", 1000
        if self._l1_ratio > 0 or self._liblinear:
            solver, max_iter = estimator.solver, 100_000
        settings = {
            "C": self._C,
            "fit_intercept": estimator.fit_intercept,
            "intercept_scaling": estimator.intercept_scaling,
            "solver": solver,
            "tol": 1e-12,
            "max_iter": max_iter,
            "random_state": 0,
        }
        return LogisticRegression(**settings, **_l1_settings(self._l1_ratio))

    def gradient_tolerance(self):
        estimator = self.estimator
        if np.max(estimator.n_iter_) >= estimator.max_iter:
            return None
        loose = estimator.solver in ("sag", "saga", "liblinear")
        return estimator.tol * (1000.0 if loose else 10.0)

    def class_weights(self, y, sample_weight):
        setting = self.estimator.class_weight
        return class_weights_of(setting, self.classes, y, sample_weight)


def _penalty(estimator):
    """(C, l1_ratio) of a fitted LogisticRegression or LogisticRegressionCV."""
    penalty = getattr(estimator, "penalty", "deprecated")
    C, ratio = getattr(estimator, "C_", None), getattr(estimator, "l1_ratio_", None)
    if C is None:
        C, ratio = estimator.C, getattr(estimator, "l1_ratio", None)
    C = np.unique(C)
    ratio = np.unique([0.0 if r is None else r for r in np.ravel(ratio)])
    if len(C) > 1 or len(ratio) > 1:
        raise NotDifferentiableError(
            "LogisticRegressionCV chose another C for every class, which is not one "
            "multinomial objective."
        )
    if penalty is None:
        return np.inf, 0.0
    if penalty == "l1":
        return float(C[0]), 1.0
    return float(C[0]), 0.0 if penalty == "l2" else float(ratio[0])


def _l1_settings(ratio):
    """Constructor arguments for an L1 share, before and after ``penalty`` went."""
    if LogisticRegression().get_params().get("penalty", "deprecated") == "deprecated":
        return {"l1_ratio": ratio}
    penalty = {0.0: "l2", 1.0: "l1"}.get(ratio, "elasticnet")
    return {"penalty": penalty, "l1_ratio": ratio if penalty == "elasticnet" else None}
