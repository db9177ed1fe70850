"""Average losses of the predictions."""

import numpy as np

from skpuma.criteria._base import BaseCriterion, weights_of


class TrainingLoss(BaseCriterion):
    """The estimator's own loss, weighted mean over rows (``criterion="auto"``)."""

    name = "training_loss"
    bounded = False
    tasks = ("classification", "regression")

    def for_loss(self, loss):
        bound = super().for_loss(loss)
        # A user reads the name of the loss in the report, not of this placeholder.
        bound.name = "log_loss" if loss.classification else type(self).name
        return bound

    def value(self, z, y, *, sample_weight=None, groups=None):
        return np.average(self.loss.value(z, y), weights=weights_of(z, sample_weight))

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        return self.loss.gradient(z, y) * (weight / weight.sum())[:, None]


class LogLoss(TrainingLoss):
    """Log-loss (negative log-likelihood, nats) of the true labels."""

    name = "log_loss"
    tasks = ("classification",)


class _PredictionLoss(BaseCriterion):
    """A mean over rows of the squared error of the prediction."""

    def _share(self, z):
        """Share of the sum over the columns of the prediction that counts."""
        return 1.0

    def value(self, z, y, *, sample_weight=None, groups=None):
        square = (self._error(z, y) ** 2).sum(axis=1)
        mean = np.average(square, weights=weights_of(z, sample_weight))
        return self._share(z) * mean

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        scale = 2.0 * self._share(z) * (weight / weight.sum())[:, None]
        return self.loss.predict_vjp(z, scale * self._error(z, y))


class SquaredError(_PredictionLoss):
    """Mean squared error of the predictions, summed over outputs."""

    name = "squared_error"
    bounded = False
    tasks = ("regression",)

    def _error(self, z, y):
        return self.loss.predict(z) - y


class BrierScore(_PredictionLoss):
    """Mean squared error of the predicted probabilities (Brier, 1950).

    Binary problems use the positive class only, as scikit-learn's ``brier_score_loss``
    does (range 0 to 1); multiclass ones sum over all classes (0 to 2).
    """

    name = "brier_score"

    def _error(self, z, y):
        error = self.loss.predict(z)
        error[np.arange(len(z)), y] -= 1.0
        return error

    def _share(self, z):
        # The two classes of a binary problem carry the same error twice.
        return 0.5 if z.shape[1] == 1 else 1.0
