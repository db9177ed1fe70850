"""Plain gradient steps of a feed-forward network; without hidden layers, of a line.

Parameters are ``theta = [W_1.ravel(), b_1, W_2.ravel(), b_2, ...]`` with W_l of shape
(widths[l], widths[l + 1]). A batch is a few BLAS calls: measured at 32 rows, explicit
loops are as fast for ten columns, and 1.1 to 6 times slower from 30 columns or a hidden
layer on.
"""

import numpy as np

from skpuma.kernels._jit import kernel

SQUARED, LOG = range(2)
TANH, RELU = range(2)
# One raw output z of two classes stands for the logits (-z / 2, z / 2).
HALF_ROOT = np.sqrt(0.5)


@kernel
def network_gradient(X, y, weight, theta, widths, activation, loss, sd, intercept):
    """Gradient (p,) of ``sum_i weight_i (loss_i + sd * std of the logits_i)``.

    Parameters
    ----------
    X : ndarray (n, d)
    y : ndarray (n,)
        Targets, or class positions.
    weight : ndarray (n,)
    theta : ndarray (p,)
    widths : ndarray of int (number of layers + 1,)
        d, the hidden layers, and the number of raw outputs.
    activation, loss : int
        Of the hidden layers, and of the raw outputs: half the squared error, or the
        log-loss of a softmax (of a sigmoid for a single output).
    sd : float
        The standard deviation is over the logits of a row, with one degree of freedom
        less; its derivative where they are all equal is taken as 0.
    intercept : bool
        False keeps the derivative in the intercepts at 0.
    """
    n, layers = X.shape[0], widths.shape[0] - 1
    values = np.empty(n * np.sum(widths))
    values[: n * widths[0]] = np.ascontiguousarray(X).ravel()
    start = at = 0
    for layer in range(layers):
        fan_in, fan_out = widths[layer], widths[layer + 1]
        middle, then = start + fan_in * fan_out, at + n * fan_in
        below = values[at:then].reshape(n, fan_in)
        out = np.dot(below, theta[start:middle].reshape(fan_in, fan_out))
        out += theta[middle : middle + fan_out]
        if layer < layers - 1:
            out = np.tanh(out) if activation == TANH else np.maximum(out, 0.0)
        values[then : then + n * fan_out] = out.ravel()
        start, at = middle + fan_out, then
    k = widths[layers]
    delta = _residual(values[at:].reshape(n, k), y, loss, sd)
    for c in range(k):
        delta[:, c] *= weight
    gradient = np.zeros(theta.shape[0])
    for layer in range(layers - 1, -1, -1):
        fan_in, fan_out = widths[layer], widths[layer + 1]
        middle = start - fan_out
        first, at = middle - fan_in * fan_out, at - n * fan_in
        below = values[at : at + n * fan_in].reshape(n, fan_in)
        np.dot(below.T, delta, gradient[first:middle].reshape(fan_in, fan_out))
        if intercept:
            gradient[middle:start] = delta.sum(axis=0)
        if layer > 0:
            back = np.dot(delta, theta[first:middle].reshape(fan_in, fan_out).T)
            slope = 1.0 - below * below if activation == TANH else 1.0 * (below > 0.0)
            delta = back * slope
        start = first
    return gradient


@kernel
def _residual(z, y, loss, sd):
    """Derivative (n, k) of ``loss + sd * std`` in the raw outputs of every row."""
    n, k = z.shape
    out = np.empty((n, k))
    if loss == SQUARED:
        out[:, 0] = z[:, 0] - y
        return out
    if k == 1:
        half = np.tanh(0.5 * z[:, 0])
        out[:, 0] = 0.5 * (1.0 + half) - y + sd * HALF_ROOT * np.sign(z[:, 0])
        return out
    top, mean = z[:, 0].copy(), z[:, 0] / k
    for c in range(1, k):
        top = np.maximum(top, z[:, c])
        mean += z[:, c] / k
    total, square = np.zeros(n), np.zeros(n)
    for c in range(k):
        out[:, c] = np.exp(z[:, c] - top)
        total += out[:, c]
        square += (z[:, c] - mean) ** 2
    spread = np.sqrt(square * (k - 1))
    spread += 1.0 * (spread == 0.0)
    for c in range(k):
        out[:, c] = out[:, c] / total + sd * (z[:, c] - mean) / spread - (y == c)
    return out


@kernel
def network_sgd(
    X,
    y,
    weight,
    order,
    starts,
    theta,
    widths,
    activation,
    loss,
    sd,
    intercept,
    alpha,
    rate,
):
    """Parameters (p,) after one step of gradient descent for every batch.

    Parameters
    ----------
    X, y, weight, theta, widths, activation, loss, sd, intercept
        As `network_gradient` takes them.
    order : ndarray of int
        Rows, one batch after the other.
    starts : ndarray of int (number of batches + 1,)
        Where they begin in `order`, and its length. A step divides by the number of
        rows of its batch, whatever their weights.
    alpha : float
        The penalty ``alpha / 2 ||W||^2``, which the intercepts are spared.
    rate : float
        Learning rate.
    """
    theta = theta.copy()
    for s in range(starts.shape[0] - 1):
        batch = order[starts[s] : starts[s + 1]]
        step = network_gradient(
            X[batch],
            y[batch],
            weight[batch],
            theta,
            widths,
            activation,
            loss,
            sd,
            intercept,
        )
        step /= batch.shape[0]
        at = 0
        for layer in range(widths.shape[0] - 1):
            size = widths[layer] * widths[layer + 1]
            step[at : at + size] += alpha * theta[at : at + size]
            at += size + widths[layer + 1]
        theta -= rate * step
    return theta
