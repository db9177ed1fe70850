"""Fits of scikit-learn's networks, of which some systems make thousands.

On some hundred rows ``MLPClassifier.fit`` spends three times as long around its matrix
products as in them. The loop here makes the same draws and takes the same steps with
little around them, so that its weights are those of scikit-learn up to rounding.
"""

import numbers
import warnings

import numpy as np
from scipy import sparse
from scipy.special import expit, softmax, xlogy
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from skpuma.models._mlp import ACTIVATIONS
from skpuma.refit import fit_estimator
from skpuma.valuation._value_network import places_of, split


def fit(estimator, X, y):
    """A fitted clone, to predict with: what `fit_estimator` hands back, or sooner.

    Networks that `_is_plain` are trained by `_Loop`, alone or at the end of a Pipeline.
    Such a clone does not go on by ``partial_fit`` where it stopped.
    """
    if type(estimator) is Pipeline and _is_plain(estimator.steps[-1][1]):
        return _fit_pipeline(estimator, X, y)
    if not _is_plain(estimator) or sparse.issparse(X):
        return fit_estimator(estimator, X, y)
    classifies = is_classifier(estimator)
    if classifies and (np.ndim(y) > 1 or len(np.unique(y)) == 1):
        return fit_estimator(estimator, X, y)
    # An epoch by scikit-learn checks all input, and leaves what predictions need.
    classes = {"classes": np.unique(y)} if classifies else {}
    fitted = clone(estimator).partial_fit(X, y, **classes)
    table = check_array(X, dtype=(np.float64, np.float32))
    targets = np.asarray(y).reshape(len(table), -1)
    if classifies:
        targets = targets == fitted.classes_
        targets = targets[:, 1:] if targets.shape[1] == 2 else targets
    elif np.result_type(table, targets) != table.dtype:
        # Such targets carry a higher precision into some of the steps.
        return fit_estimator(estimator, X, y)
    _Loop(estimator, fitted.out_activation_, table, targets).run(fitted)
    return fitted


def _fit_pipeline(estimator, X, y):
    if len(estimator.steps) == 1 or estimator.memory is not None or estimator.verbose:
        return fit_estimator(estimator, X, y)
    before = clone(estimator[:-1])
    prepared = before.fit_transform(X, y)
    name, last = estimator.steps[-1]
    fitted = clone(estimator)
    fitted.steps = [*before.steps, (name, fit(last, prepared, y))]
    return fitted


def _is_plain(estimator):
    """Whether an estimator is a network that the loop can train."""
    return (
        type(estimator) in (MLPClassifier, MLPRegressor)
        and estimator.solver in ("adam", "sgd")
        and (estimator.solver == "adam" or estimator.learning_rate == "constant")
        and estimator.loss in ("log_loss", "squared_error")
        and not estimator.early_stopping
        and not estimator.verbose
        and isinstance(estimator.random_state, numbers.Integral)
    )


class _Loop:
    """Training of one network, whose parameters are views of one array.

    Targets are (n, k), bool for classes; `output` is the activation of the outputs.
    """

    def __init__(self, estimator, output, X, targets):
        self.estimator, self.output = estimator, output
        self.X, self.targets = X, targets
        self.rng = np.random.RandomState(estimator.random_state)
        self.activation = ACTIVATIONS[estimator.activation]
        hidden = np.ravel(estimator.hidden_layer_sizes).astype(int).tolist()
        sizes = [X.shape[1], *hidden, targets.shape[1]]
        shapes = list(zip(sizes, sizes[1:], strict=False))
        self.n_weights = sum(a * b for a, b in shapes)
        self.parameters = np.empty(self.n_weights + sum(sizes[1:]), X.dtype)
        self.gradient = np.empty_like(self.parameters)
        places = places_of([*shapes, *((b,) for _, b in shapes)])
        self.coefs, self.intercepts = split(self.parameters, places)
        self.by_coef, self.by_intercept = split(self.gradient, places)
        factor = 2.0 if estimator.activation == "logistic" else 6.0
        for coef, intercept in zip(self.coefs, self.intercepts, strict=True):
            bound = np.sqrt(factor / sum(coef.shape))
            coef[...] = self.rng.uniform(-bound, bound, coef.shape)
            intercept[...] = self.rng.uniform(-bound, bound, intercept.shape)
        self.n_steps = 0
        self.first, self.second = np.zeros((2, len(self.parameters)), X.dtype)

    def run(self, fitted):
        """Train; leaves the weights, and how the training went, in `fitted`."""
        settings, n = self.estimator, len(self.X)
        order, losses, best, stale = np.arange(n), [], np.inf, 0
        for _ in range(settings.max_iter):
            if settings.shuffle:
                order = order[self.rng.permutation(n)]
            losses.append(self._epoch(order))
            stale = stale + 1 if losses[-1] > best - settings.tol else 0
            best = min(best, losses[-1])
            if stale > settings.n_iter_no_change:
                break
        else:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({settings.max_iter}) "
                "reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if not np.isfinite(self.parameters).all():
            raise ValueError("The network's weights overflow: scale the features.")
        fitted.coefs_, fitted.intercepts_ = self.coefs, self.intercepts
        fitted.loss_curve_, fitted.loss_, fitted.best_loss_ = losses, losses[-1], best
        fitted.n_iter_, fitted.t_ = len(losses), len(losses) * n

    def _epoch(self, order):
        """One pass over the rows; their mean loss before every step."""
        n, size = len(order), self.estimator.batch_size
        size, total = min(200 if size == "auto" else size, n), 0.0
        for start in range(0, n, size):
            batch = order[start : start + size]
            total += len(batch) * self._learn(self.X[batch], self.targets[batch])
        return total / n

    def _learn(self, X, targets):
        """One step on a batch; its loss before."""
        n, alpha = len(X), self.estimator.alpha
        outputs = self._forward(X)
        loss = self._loss(targets, outputs[-1])
        back = outputs[-1] - targets
        for layer in reversed(range(len(self.coefs))):
            np.matmul(outputs[layer].T, back, out=self.by_coef[layer])
            back.sum(axis=0, out=self.by_intercept[layer])
            if layer:
                back = back @ self.coefs[layer].T
                back *= self.activation.slope(outputs[layer])
        if alpha:
            weights = self.parameters[: self.n_weights]
            loss += 0.5 * alpha * (weights @ weights) / n
            self.gradient[: self.n_weights] += alpha * weights
        self.gradient /= n
        self.n_steps += 1
        self._adam() if self.estimator.solver == "adam" else self._sgd()
        return loss

    def _forward(self, X):
        """What every layer sees, and the outputs."""
        outputs = [X]
        for coef, intercept in zip(self.coefs, self.intercepts, strict=True):
            if len(outputs) > 1:
                outputs[-1] = self.activation.value(outputs[-1])
            raw = outputs[-1] @ coef
            raw += intercept
            outputs.append(raw)
        if self.output == "softmax":
            outputs[-1] = softmax(outputs[-1], axis=1)
        elif self.output == "logistic":
            outputs[-1] = expit(outputs[-1])
        return outputs

    def _loss(self, targets, found):
        if self.output == "identity":
            return 0.5 * np.square(targets - found).mean(axis=0).mean()
        tiny = np.finfo(found.dtype).eps
        p = np.clip(found, tiny, 1 - tiny)
        loss = xlogy(targets, p)
        if self.output == "logistic":
            loss = loss + xlogy(1 - targets, 1 - p)
        return -loss.mean(axis=0).sum()

    def _adam(self):
        settings, t = self.estimator, self.n_steps
        self.first *= settings.beta_1
        self.first += (1 - settings.beta_1) * self.gradient
        self.second *= settings.beta_2
        self.second += (1 - settings.beta_2) * np.square(self.gradient)
        rate = settings.learning_rate_init * np.sqrt(1 - settings.beta_2**t)
        rate /= 1 - settings.beta_1**t
        self.parameters -= rate * self.first / (np.sqrt(self.second) + settings.epsilon)

    def _sgd(self):
        momentum = self.estimator.momentum
        move = self.estimator.learning_rate_init * self.gradient
        self.first = momentum * self.first - move
        nesterov = self.estimator.nesterovs_momentum
        self.parameters += momentum * self.first - move if nesterov else self.first
