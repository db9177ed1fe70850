"""Plain stochastic gradient descent, which can be done again without some rows."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from skpuma import kernels
from skpuma.unlearning._batches import batches_of

# As the kernels count them.
ACTIVATIONS = ("tanh", "relu")
SQUARED, LOG = range(2)
# Rows that the largest eigenvalue of the Hessian is estimated on, and its precision.
SHARPNESS_ROWS = 1000
SHARPNESS_PRECISION = 1e-3
# Relative step of central differences. Smaller ones have fewer kinks of rectifiers
# within, and at this one rounding is far below the precision.
DIFFERENCE = 1e-9


@dataclass(frozen=True)
class PlainSGD:
    """Gradient steps with a constant rate, over batches that a seed draws.

    A step divides the sum over a batch by the number of rows that the batch was drawn
    with, so that a row of weight 0 leaves the others alone.

    Attributes
    ----------
    widths : tuple of int
        Columns, hidden layers, and raw outputs.
    activation : {"tanh", "relu"}
    loss : {SQUARED, LOG}
    sd_penalty, alpha, learning_rate : float
    fit_intercept : bool
    batch_size, seed : int
    """

    widths: tuple
    activation: str
    loss: int
    sd_penalty: float
    alpha: float
    learning_rate: float
    fit_intercept: bool
    batch_size: int
    seed: int

    def gradient(self, X, y, weight, theta):
        """``sum_i weight_i grad loss_i`` (p,), without the penalty `alpha`."""
        return kernels.network_gradient(X, y, weight, theta, *self._network())

    def epochs(self, X, y, weight, theta, n_epochs):
        """Parameters (p,) after every epoch, from `theta` on.

        Raises
        ------
        ValueError
            If they leave all bounds.
        """
        for order in self._orders(len(y), n_epochs):
            starts = np.append(np.arange(0, len(y), self.batch_size), len(y))
            with np.errstate(all="ignore"):
                theta = kernels.network_sgd(
                    X,
                    y,
                    weight,
                    order,
                    starts,
                    theta,
                    *self._network(),
                    self.alpha,
                    self.learning_rate,
                )
            if not np.isfinite(theta).all():
                raise ValueError(
                    f"Gradient steps diverge at learning_rate={self.learning_rate:g}: "
                    "scale the features (and targets), for instance with "
                    "StandardScaler, or pass a smaller learning_rate."
                )
            yield theta

    def rates(self, n, n_epochs):
        """Learning rate over batch size, summed over the steps of every row (n,)."""
        total = np.zeros(n)
        for order in self._orders(n, n_epochs):
            for batch in batches_of(order, self.batch_size):
                total[batch] += self.learning_rate / len(batch)
        return total

    def sharpness(self, X, y, theta):
        """Largest eigenvalue of the Hessian of the mean loss, on up to 1,000 rows."""
        rng = np.random.RandomState(self.seed)
        some = rng.permutation(len(y))[:SHARPNESS_ROWS]
        X, y, weight = X[some], y[some], np.full(len(some), 1.0 / len(some))
        step = DIFFERENCE * max(np.linalg.norm(theta), 1.0)

        def product(v):
            move = v.ravel() * (step / np.linalg.norm(v))
            ahead = self.gradient(X, y, weight, theta + move)
            back = self.gradient(X, y, weight, theta - move)
            return (ahead - back) * (np.linalg.norm(v) / (2.0 * step))

        p, start = len(theta), rng.standard_normal(len(theta))
        along = product(start)
        if p == 1 or not along.any():
            # A number, or a loss that is flat to all digits, is nothing to iterate on.
            return float(along[0] / start[0])
        largest = eigsh(
            LinearOperator((p, p), product, dtype=np.float64),
            k=1,
            which="LA",
            v0=start,
            tol=SHARPNESS_PRECISION,
            return_eigenvectors=False,
        )
        return float(largest[0])

    def layers(self, theta):
        """[(weights (fan_in, fan_out), intercepts (fan_out,)), ...], views."""
        out, start = [], 0
        for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False):
            middle = start + fan_in * fan_out
            weights = theta[start:middle].reshape(fan_in, fan_out)
            start = middle + fan_out
            out.append((weights, theta[middle:start]))
        return out

    def _network(self):
        """The network and its loss, as the kernels take them."""
        activation = ACTIVATIONS.index(self.activation)
        widths = np.array(self.widths)
        return widths, activation, self.loss, self.sd_penalty, self.fit_intercept

    def _orders(self, n, n_epochs):
        rng = np.random.RandomState(self.seed)
        return (rng.permutation(n) for _ in range(n_epochs))
