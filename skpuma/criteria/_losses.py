"""Average losses of the predictions."""

import numpy as np

from skpuma.criteria._base import TASKS, BaseCriterion, RowMean, weights_of
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.utils._validation import check_number

# What scikit-learn's log_loss clips probabilities at.
TINY = np.finfo(float).eps


class TrainingLoss(RowMean, BaseCriterion):
    """The estimator's own loss, weighted mean over rows (``criterion="auto"``)."""

    name = "training_loss"
    bounded = False
    tasks = tuple(TASKS)

    def for_loss(self, loss):
        bound = super().for_loss(loss)
        # A user reads the name of the loss in the report, not of this placeholder.
        if isinstance(loss, (BinaryLogLoss, MultinomialLogLoss)):
            bound.name = "log_loss"
        return bound

    def _losses(self, z, y):
        """Loss of every row (n,)."""
        return self.loss.value(z, y)

    def _slopes(self, z, y):
        """Its derivative in z (n, k)."""
        return self.loss.gradient(z, y)

    @property
    def constant_curvature(self):
        """c where C'' in z is c times a row's share of the weight, or None."""
        own = type(self) is TrainingLoss and self.loss.constant_hessian
        return 1.0 if own else None

    def value(self, z, y, *, sample_weight=None, groups=None):
        return np.average(self._losses(z, y), weights=weights_of(z, sample_weight))

    def value_at_each(self, Z, y, *, sample_weight=None, groups=None):
        """C (B,) at several sets of raw outputs (B, n, k) of the same rows."""
        if type(self).value is not TrainingLoss.value:
            keywords = {"sample_weight": sample_weight, "groups": groups}
            return np.array([self.value(z, y, **keywords) for z in Z])
        weight = weights_of(Z[0], sample_weight)
        targets = np.tile(y, (len(Z), *[1] * (y.ndim - 1)))
        losses = self._losses(Z.reshape(-1, Z.shape[2]), targets)
        return losses.reshape(len(Z), -1) @ (weight / weight.sum())

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        return self._slopes(z, y) * (weight / weight.sum())[:, None]


class LogLoss(TrainingLoss):
    """Log-loss (negative log-likelihood, nats) of the true labels, from 0 up.

    Several labels a row: the sum over labels. Where a model is trained with another
    loss, the log-loss of its probabilities; those below 2e-16 count as that, as in
    ``sklearn.metrics.log_loss``, and have no slope.
    """

    name = "log_loss"
    tasks = ("classification", "multilabel")

    def _is_own(self, z):
        """Whether the model's loss is the log-loss, which then need not be clipped.

        Measured on two rows, so that it holds for any loss.
        """
        k = z.shape[1]
        probe = np.linspace(-1.0, 0.7, k) + np.array([[0.1], [0.4]])
        y = np.array([0, 1 if k == 1 else k - 1])
        if self.loss.task == "multilabel":
            y = (np.arange(2 * k).reshape(2, k) % 2).astype(float)
        with np.errstate(divide="ignore"):
            likelihood = -np.log(self._chances(probe, y)).sum(axis=1)
        return np.allclose(self.loss.value(probe, y), likelihood)

    def _chances(self, z, y):
        """Probabilities of what was true: (n, 1), or (n, k) for k labels."""
        p = self.loss.predict(z)
        if self.loss.task == "multilabel":
            return np.where(y == 1, p, 1.0 - p)
        return p[np.arange(len(z)), y][:, None]

    def _losses(self, z, y):
        if self._is_own(z):
            return super()._losses(z, y)
        return -np.log(np.maximum(self._chances(z, y), TINY)).sum(axis=1)

    def _slopes(self, z, y):
        if self._is_own(z):
            return super()._slopes(z, y)
        chances = self._chances(z, y)
        slope = np.where(chances > TINY, -1.0 / np.maximum(chances, TINY), 0.0)
        if self.loss.task == "multilabel":
            return self.loss.predict_vjp(z, np.where(y == 1, slope, -slope))
        u = np.zeros_like(self.loss.predict(z))
        u[np.arange(len(z)), y] = slope[:, 0]
        return self.loss.predict_vjp(z, u)


class _PredictionLoss(RowMean, BaseCriterion):
    """A mean over rows of the squared error of the prediction."""

    def _share(self, error):
        """Share of the sum over the columns of the prediction that counts."""
        return 1.0

    def value(self, z, y, *, sample_weight=None, groups=None):
        error = self._error(z, y)
        square = (error**2).sum(axis=1)
        mean = np.average(square, weights=weights_of(z, sample_weight))
        return self._share(error) * mean

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        error = self._error(z, y)
        scale = 2.0 * self._share(error) * (weight / weight.sum())[:, None]
        return self.loss.predict_vjp(z, scale * error)


class SquaredError(_PredictionLoss):
    """Mean squared error of the predictions, summed over outputs."""

    name = "squared_error"
    bounded = False
    tasks = ("regression",)

    @property
    def constant_curvature(self):
        """c where C'' in z is c times a row's share of the weight, or None."""
        own = type(self) is SquaredError and self.loss.constant_hessian
        return 2.0 if own else None

    def _error(self, z, y):
        return self.loss.predict(z) - y


class BrierScore(_PredictionLoss):
    """Mean squared error of the predicted probabilities (Brier, 1950).

    Binary problems use the positive class only, as scikit-learn's ``brier_score_loss``
    does (range 0 to 1); multiclass ones sum over all classes (0 to 2). Several labels
    a row: the sum of the binary scores of the labels (0 to the number of labels), just
    as their log-loss is a sum.
    """

    name = "brier_score"
    tasks = ("classification", "multilabel")

    def _error(self, z, y):
        p = self.loss.predict(z)
        if self.loss.task == "multilabel":
            return p - y
        error = np.array(p)
        error[np.arange(len(z)), y] -= 1.0
        return error

    def _share(self, error):
        # The two classes of a binary problem carry the same error twice.
        single = self.loss.task == "classification" and error.shape[1] == 2
        return 0.5 if single else 1.0


class PinballLoss(RowMean, BaseCriterion):
    """Quantile loss of the predictions, in the units of y.

    Weighted mean over rows of ``q (y - p)`` where the prediction p is too low and
    ``(1 - q) (p - y)`` where it is too high, summed over outputs as `SquaredError` is.
    It is lowest where p is the q-quantile of y given x; at q = 0.5 it is half the mean
    absolute error. Where p equals y the slope is taken to be 0, a subgradient.

    Parameters
    ----------
    quantile : float in (0, 1), default 0.5
    by : {None, "group"}

    References
    ----------
    R. Koenker, G. Bassett, "Regression Quantiles", Econometrica 46, 1978.

    Examples
    --------
    >>> from skpuma import PumaValuator
    >>> from skpuma.criteria import PinballLoss
    >>> PumaValuator(criterion=PinballLoss(quantile=0.9))
    PumaValuator(criterion=PinballLoss(quantile=0.9))
    """

    name = "pinball"
    bounded = False
    tasks = ("regression",)

    def __init__(self, quantile=0.5, by=None):
        super().__init__(by)
        if not 0.0 < check_number(quantile, "quantile") < 1.0:
            raise ValueError(f"quantile={quantile!r} is not between 0 and 1.")
        self.quantile = quantile

    def value(self, z, y, *, sample_weight=None, groups=None):
        low = y - self.loss.predict(z)
        cost = np.maximum(self.quantile * low, (self.quantile - 1.0) * low)
        return np.average(cost.sum(axis=1), weights=weights_of(z, sample_weight))

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        low = y - self.loss.predict(z)
        slope = np.where(low > 0, -self.quantile, (1.0 - self.quantile) * (low < 0))
        return self.loss.predict_vjp(z, slope * (weight / weight.sum())[:, None])
