"""G-Shapley's engine: one epoch of gradient steps along a permutation."""

import numpy as np
from scipy import sparse

from skpuma import kernels, rows
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.models import LinearModel, adapt, check_supported
from skpuma.refit import fit_estimator
from skpuma.valuation._scans import METRICS, Engine, Walk, metric_of

# Ghorbani and Zou: one epoch at each rate, in ten random orders.
RATES = 10.0 ** -np.arange(1.0, 5.0, 0.5)
REPEATS = 10
# Scores from which a squared error has left all bounds, though its numbers have not.
DIVERGED = 1e100
ADVICE = "scale the features (and targets), for instance with StandardScaler"
# Losses that the kernel knows.
KERNEL_LOSSES = {SquaredLoss: 0, BinaryLogLoss: 1, MultinomialLogLoss: 1}


class SGDEngine(Engine):
    """V after each step of plain stochastic gradient descent, one source per step.

    The model is that of the adapter: its raw outputs and its loss, without the penalty.
    Preprocessing steps of a pipeline are fitted once, on all rows. Linear models start
    at zero, networks at one random start that all permutations share.

    Parameters
    ----------
    utility : Utility
    members : list of ndarray
    rng : RandomState
    rate : float or None
        None chooses the one of `RATES` with the largest mean less standard deviation
        of the final score.
    """

    def __init__(self, utility, members, rng, rate):
        check_supported(utility.estimator)
        # The errors of the fit and the scorer on all rows are scikit-learn's own.
        _ = utility.full
        # Every permutation ends in a score of its own.
        self.full, self.tolerance = np.nan, -1.0
        self.utility, self.members = utility, members
        fitted = fit_estimator(utility.estimator, utility.X, utility.y)
        self.model = adapt(fitted)
        self.X = self.model.inputs(utility.X)
        self.y = self.model.targets(utility.y)
        self.X_val = self.model.inputs(utility.X_val)
        self.theta = self._start(rng)
        self.threads = self._prepare_kernel()
        self.empty = self._score(self.theta)
        self.rate = self._best_rate(rng) if rate is None else rate

    def walk(self, order, start=1):
        with np.errstate(all="ignore"):
            scores = self._scores(order, self.rate)
        if not (np.abs(scores) < DIVERGED).all():
            raise ValueError(
                f"Gradient steps diverge at learning_rate={self.rate:.3g}: {ADVICE}, "
                "or pass a smaller learning_rate=."
            )
        return Walk(scores)

    # -- parts -------------------------------------------------------------------------

    def _start(self, rng):
        model = self.model
        if model.convex:
            return np.zeros(model.n_parameters)
        # As scikit-learn starts its networks (Glorot and Bengio).
        factor = 2.0 if model.estimator.activation == "logistic" else 6.0
        parts = []
        for fan_in, fan_out in model.shapes:
            bound = np.sqrt(factor / (fan_in + fan_out))
            parts.append(rng.uniform(-bound, bound, fan_in * fan_out))
            parts.append(rng.uniform(-bound, bound, fan_out))
        return np.concatenate(parts)

    def _prepare_kernel(self):
        """Whether the kernel can walk, and its inputs if so."""
        model = self.model
        self.metric = METRICS.get(metric_of(self.utility))
        loss = KERNEL_LOSSES.get(type(model.loss))
        one = loss == 1 or model.n_outputs == 1
        plain = not sparse.issparse(self.X) and self.utility.y.ndim == 1
        if self.metric is None or loss is None or not (one and plain):
            return False
        if not isinstance(model, LinearModel) or model.frames:
            return False
        self.loss = loss
        self.design = _with_constant(self.X, model.fit_intercept)
        self.design_val = _with_constant(self.X_val, model.fit_intercept)
        self.label = np.asarray(self.y, dtype=float).reshape(len(self.y))
        self.label_val = _coded(model, self.utility.y_val)
        return True

    def _scores(self, order, rate):
        index, stops = self._rows(order)
        if not self.threads:
            return self._adapter_scores(order, rate)
        theta = np.zeros((self.design.shape[1], self.model.n_outputs))
        return kernels.sgd_scan(
            self.design[index],
            self.label[index],
            stops,
            theta,
            rate,
            self.loss,
            self.design_val,
            self.label_val,
            self.metric,
        )

    def _adapter_scores(self, order, rate):
        theta = self.theta.copy()
        scores = np.full(len(order), np.nan)
        for s, source in enumerate(order):
            at = self.members[source]
            model, X = self.model.at(theta), rows.take(self.X, at)
            residual = model.loss.gradient(model.raw(X), self.y[at])
            theta = theta - rate * model.vjp(X, residual / len(at))
            if not self._is_finite(theta):
                break
            scores[s] = self._score(theta)
        return scores

    def _score(self, theta):
        """The utility's score at theta, without an estimator where that is known."""
        utility, model = self.utility, self.model.at(theta)
        name = metric_of(utility)
        if name == "accuracy" and model.classes is not None:
            predicted = model.classes[model.loss.decide(model.raw(self.X_val))]
            return float(np.mean(predicted == utility.y_val))
        fitted = self.model.with_theta(theta)
        return float(utility.scorer(fitted, utility.X_val, utility.y_val))

    def _is_finite(self, theta):
        """Whether the model at theta predicts anything that can be scored."""
        model = self.model.at(theta)
        predicted = model.loss.predict(model.raw(self.X_val))
        return np.isfinite(theta).all() and np.isfinite(predicted).all()

    def _best_rate(self, rng):
        sources = len(self.members)
        orders = [rng.permutation(sources) for _ in range(REPEATS)]
        best, chosen = -np.inf, None
        with np.errstate(all="ignore"):
            for rate in RATES:
                last = np.array([self._scores(order, rate)[-1] for order in orders])
                merit = last.mean() - last.std()
                if abs(merit) < DIVERGED and merit > best:
                    best, chosen = merit, float(rate)
        if chosen is None:
            raise ValueError(
                "Gradient steps diverge at every learning rate from "
                f"{RATES[-1]:.1g} to {RATES[0]:.1g}: {ADVICE}, or pass learning_rate=."
            )
        return chosen


def _with_constant(X, constant):
    X = np.asarray(X, dtype=np.float64)
    columns = [np.ones(len(X)), X] if constant else [X]
    return np.ascontiguousarray(np.column_stack(columns))


def _coded(model, y):
    """Targets as the kernel compares them; -1 for a label the model does not know."""
    if model.classes is None:
        return np.asarray(y, dtype=np.float64)
    match = np.asarray(y)[:, None] == model.classes
    return np.where(match.any(axis=1), match.argmax(axis=1), -1.0)
