"""Classifiers and regressors that are trained by a loss of the margin or the residual.

With more than two classes they fit one binary problem per class (one against the rest).
"""

import copy

from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier

from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._coded import CodedLoss
from skpuma.losses._huber import HuberLoss
from skpuma.losses._modified_huber import ModifiedHuberLoss
from skpuma.losses._multilabel import MultilabelLoss
from skpuma.losses._one_vs_rest import OneVsRestLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.losses._squared_epsilon_insensitive import SquaredEpsilonInsensitiveLoss
from skpuma.losses._squared_hinge import SquaredHingeLoss
from skpuma.models._linear import LinearModel, RidgeModel, class_weights_of


class OneVsRest:
    """Mixin of linear classifiers that fit one binary problem per class."""

    def _for_classes(self, loss):
        """The loss over all outputs, from that of one binary problem."""
        return OneVsRestLoss(loss) if self.n_outputs > 1 else loss

    def weigh(self, class_weights, y, sample_weight):
        if class_weights is None or self.n_outputs == 1:
            return super().weigh(class_weights, y, sample_weight)
        # The weight of a class counts in its own problem only; in the others its rows
        # are the rest.
        model = copy.copy(self)
        model.loss = OneVsRestLoss(self.loss.base, positive=class_weights)
        return model, sample_weight


class RidgeClassifierModel(RidgeModel):
    """RidgeClassifier and RidgeClassifierCV: Ridge on classes coded as -1 and 1."""

    def __init__(self, estimator):
        super().__init__(estimator)
        self.loss = CodedLoss(SquaredLoss())
        binarizer = getattr(estimator, "_label_binarizer", None)
        if getattr(binarizer, "y_type_", "").startswith("multilabel"):
            self.loss = MultilabelLoss(self.loss)
            return
        self.classes = estimator.classes_
        if self.n_outputs > 1:
            self.loss = OneVsRestLoss(self.loss)

    def referee(self):
        tight = {"alpha": self._alpha, "tol": 1e-12}
        return RidgeClassifier(**tight, fit_intercept=self.estimator.fit_intercept)

    def class_weights(self, y, sample_weight):
        if self.classes is None:
            return None
        return class_weights_of(self.estimator.class_weight, self.classes, y)


class LinearSVRModel(LinearModel):
    """LinearSVR with its squared loss.

    ``C sum_i w_i l_i + 1/2 ||W||^2 + 1/2 (b / intercept_scaling)^2``, divided by C W.
    """

    @classmethod
    def refusal(cls, estimator):
        if estimator.loss == "squared_epsilon_insensitive":
            return None
        return (
            f"LinearSVR(loss={estimator.loss!r}) has a kink at every support vector; "
            "use loss='squared_epsilon_insensitive'."
        )

    def __init__(self, estimator):
        super().__init__(estimator)
        self.loss = SquaredEpsilonInsensitiveLoss(estimator.epsilon)

    def ridge(self, total_weight, n_rows):
        strength = 1.0 / (self.estimator.C * total_weight)
        return self._l2(strength, strength / self.estimator.intercept_scaling**2)

    def referee(self):
        # The dual solver does not reach a tight optimum.
        tight = {"dual": False, "tol": 1e-13, "max_iter": 1_000_000}
        return clone(self.estimator).set_params(**tight)


class LinearSVCModel(OneVsRest, LinearSVRModel):
    """LinearSVC with the squared hinge loss: the same objective, on margins."""

    @classmethod
    def refusal(cls, estimator):
        if estimator.loss != "squared_hinge":
            return (
                f"LinearSVC(loss={estimator.loss!r}) has a kink at every support "
                "vector; use loss='squared_hinge'."
            )
        if estimator.penalty != "l2" or estimator.multi_class != "ovr":
            return (
                "LinearSVC is supported with penalty='l2' and multi_class='ovr', not "
                f"with {estimator.penalty!r} and {estimator.multi_class!r}. For a "
                "sparse model use LogisticRegression with an L1 penalty."
            )
        return None

    def __init__(self, estimator):
        LinearModel.__init__(self, estimator)
        self.classes = estimator.classes_
        self.loss = self._for_classes(SquaredHingeLoss())

    def class_weights(self, y, sample_weight):
        setting = self.estimator.class_weight
        return class_weights_of(setting, self.classes, y, sample_weight)

    def referee(self):
        if self.n_outputs > 1:
            return None
        return super().referee().set_params(class_weight=None)


class SGDRegressorModel(LinearModel):
    """SGDRegressor with a differentiable loss and an L2 penalty.

    ``(1 / n) sum_i w_i l_i + alpha / 2 ||W||^2`` with n the number of rows (kind
    "count"), here times n / W. The solver does not reach its optimum; polishing does.
    """

    kind = "count"

    @classmethod
    def refusal(cls, estimator):
        name = type(estimator).__name__
        if estimator.loss not in cls._losses(estimator):
            return (
                f"{name}(loss={estimator.loss!r}) has a loss with kinks; use one of "
                f"{sorted(cls._losses(estimator))}."
            )
        ratio = {"l1": 1.0, "elasticnet": estimator.l1_ratio}.get(estimator.penalty, 0)
        if ratio > 0:
            return (
                f"{name} with an L1 penalty does not reach its active set; use "
                "penalty='l2', or a LogisticRegression, Lasso or ElasticNet."
            )
        if estimator.early_stopping:
            return (
                "early_stopping=True hides which rows the model was trained on; refit "
                "it with early_stopping=False."
            )
        if str(estimator.learning_rate).startswith("pa"):
            return "passive-aggressive updates minimise no objective over the rows."
        return None

    @staticmethod
    def _losses(estimator):
        return {
            "squared_error": SquaredLoss(),
            "huber": HuberLoss(estimator.epsilon),
            "squared_epsilon_insensitive": SquaredEpsilonInsensitiveLoss(
                estimator.epsilon
            ),
        }

    def __init__(self, estimator):
        super().__init__(estimator)
        self.loss = self._losses(estimator)[estimator.loss]

    def ridge(self, total_weight, n_rows):
        alpha = 0.0 if self.estimator.penalty is None else self.estimator.alpha
        return self._l2(alpha * n_rows / total_weight)

    def referee(self):
        return None


class SGDClassifierModel(OneVsRest, SGDRegressorModel):
    """SGDClassifier: the same objective, on margins."""

    @staticmethod
    def _losses(estimator):
        coded = SGDRegressorModel._losses(estimator)
        return {name: CodedLoss(loss) for name, loss in coded.items()} | {
            "log_loss": BinaryLogLoss(),
            "modified_huber": ModifiedHuberLoss(),
            "squared_hinge": SquaredHingeLoss(),
        }

    def __init__(self, estimator):
        super().__init__(estimator)
        self.classes = estimator.classes_
        self.loss = self._for_classes(self.loss)

    def class_weights(self, y, sample_weight):
        return class_weights_of(self.estimator.class_weight, self.classes, y)
