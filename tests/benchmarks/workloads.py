"""The workloads W1 to W5: rows, a fitted model, and the answer by plain numpy.

The estimators have no penalty of their own; ``damping * I`` is in the curvature of
every system, so that all of them solve the same equations. Answers are in float64 and
share no code with the package: ``psi_j = grad C . (H + damping I)^-1 g_j`` for the mean
loss C of the validation rows, H the mean over the training rows.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, softmax
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier

from skpuma.datasets import load_mnist
from tests.benchmarks import data

# Relative residual at which iterative solves of every system may stop.
RESIDUAL = 1e-4
REFERENCE_RESIDUAL = 1e-10
N_VAL = 1000


@dataclass(frozen=True)
class Workload:
    """Rows and a fitted model.

    Attributes
    ----------
    name, title : str
    kind : {"binary", "multinomial", "regression"}
        The loss: log-loss of one or several outputs, half the squared error.
    model : fitted scikit-learn estimator
    damping : float
    """

    name: str
    title: str
    kind: str
    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    model: object
    damping: float

    @property
    def network(self):
        """Whether the model is a network (of one hidden layer)."""
        return hasattr(self.model, "coefs_")

    @property
    def layers(self):
        """[(W, b)] of the model, W (fan_in, fan_out), in float64."""
        if self.network:
            pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
            return [(np.float64(W), np.float64(b)) for W, b in pairs]
        W = np.atleast_2d(self.model.coef_).T
        return [(W, np.atleast_1d(self.model.intercept_))]

    @property
    def n_parameters(self):
        return sum(W.size + b.size for W, b in self.layers)

    @property
    def n_outputs(self):
        return self.layers[-1][0].shape[1]

    @property
    def data_bytes(self):
        parts = (self.X, self.y, self.X_val, self.y_val)
        return sum(part.nbytes for part in parts)

    def single(self):
        """The same rows in float32."""
        f = np.float32
        return replace(self, X=self.X.astype(f), X_val=self.X_val.astype(f))

    def head(self, n):
        """The first rows."""
        return replace(self, X=self.X[:n], y=self.y[:n])


def _design(rng, n, d):
    # Neighbouring columns are correlated, as measured ones are.
    X = rng.standard_normal((n, d))
    X[:, 1:] += 0.5 * X[:, :-1]
    return X


def _split(n, name, title, kind, X, y, model, damping):
    return Workload(
        name, title, kind, X[:n].copy(), y[:n].copy(), X[n:], y[n:], model, damping
    )


def w1(n=100_000, d=50, max_iter=100):
    """Binary logistic regression."""
    rng = np.random.default_rng(1)
    X = _design(rng, n + N_VAL, d)
    signal = X @ rng.standard_normal(d) / np.sqrt(d)
    y = (rng.random(len(X)) < expit(signal)).astype(int)
    model = LogisticRegression(C=np.inf, max_iter=max_iter).fit(X[:n], y[:n])
    title = f"binary logistic, {n:,} x {d}"
    return _split(n, "W1", title, "binary", X, y, model, 0.0)


def w2(n=50_000, d=100, n_classes=10, max_iter=50):
    """Multinomial logistic regression."""
    rng = np.random.default_rng(2)
    X = _design(rng, n + N_VAL, d)
    signal = X @ rng.standard_normal((d, n_classes)) / np.sqrt(d)
    y = np.argmax(signal + rng.gumbel(size=signal.shape), axis=1)
    model = LogisticRegression(C=np.inf, max_iter=max_iter).fit(X[:n], y[:n])
    title = f"multinomial, {n:,} x {d}, {n_classes} classes"
    return _split(n, "W2", title, "multinomial", X, y, model, 1e-3)


def w3(n=20_000, d=50, hidden=64, damping=1e-2, max_iter=20):
    """A small network with one output.

    The damping is above the most negative eigenvalue of the exact Hessian, which most
    other libraries solve with.
    """
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n + N_VAL, d))
    inner = np.tanh(2.0 * X @ rng.standard_normal((d, 8)) / np.sqrt(d))
    y = (rng.random(len(X)) < expit(2.0 * inner @ rng.standard_normal(8))).astype(int)
    model = MLPClassifier((hidden,), alpha=0.0, max_iter=max_iter, random_state=0)
    model.fit(X[:n], y[:n])
    title = f"MLP {d}-{hidden}-1, {n:,} rows"
    return _split(n, "W3", title, "binary", X, y, model, damping)


def w4(n=10_000, hidden=128):
    """A network with many parameters, on MNIST (on random images without it)."""
    folder = data.folder()
    source = "random images"
    rng = np.random.default_rng(4)
    if folder is not None and (folder / "mnist").is_dir():
        X, y, _, _ = load_mnist(folder / "mnist")
        X, y, source = X[: n + N_VAL] / 255.0, y[: n + N_VAL], "MNIST"
    else:
        y = rng.integers(0, 10, n + N_VAL)
        X = rng.random((10, 784))[y] + 0.5 * rng.standard_normal((len(y), 784))
    return _digits(n, hidden, X, y, source, 0.1)


def small_w4():
    """The same kind of work on the digits that scikit-learn ships."""
    X, y = load_digits(return_X_y=True)
    return _digits(1500, 32, X / 16.0, y, "digits", 0.5)


def _digits(n, hidden, X, y, source, damping):
    model = MLPClassifier((hidden,), alpha=0.0, max_iter=10, random_state=0)
    model.fit(X[:n], y[:n])
    title = f"MLP {X.shape[1]}-{hidden}-10, {n:,} rows, {source}"
    return _split(n, "W4", title, "multinomial", X, y, model, damping)


def w5(n=1_000_000, d=50):
    """Least squares."""
    rng = np.random.default_rng(5)
    X = _design(rng, n + N_VAL, d)
    y = X @ rng.standard_normal(d) / np.sqrt(d) + rng.standard_normal(len(X))
    model = LinearRegression().fit(X[:n], y[:n])
    title = f"least squares, {n:,} x {d}"
    return _split(n, "W5", title, "regression", X, y, model, 0.0)


FULL = {"W1": w1, "W2": w2, "W3": w3, "W4": w4, "W5": w5}
QUICK = {
    "W1": lambda: w1(20_000, 50),
    "W2": lambda: w2(5_000, 30, 5),
    "W3": lambda: w3(2_000, 20, 16, 0.1),
    "W4": small_w4,
    "W5": lambda: w5(100_000, 50),
}


# -- the answer ------------------------------------------------------------------------


def answer(workload, curvature="hessian"):
    """psi (n,) by plain numpy; `curvature` only matters for a network."""
    pieces = _Pieces(workload)
    gradient = criterion_gradient(workload)
    if workload.network:
        s = _conjugate_gradients(
            lambda v: pieces.product(v, curvature) + workload.damping * v, gradient
        )
    else:
        H = pieces.hessian()
        s = np.linalg.solve(H + workload.damping * np.eye(len(H)), gradient)
    return np.einsum("nk,nk->n", pieces.residual, pieces.jvp(s))


def criterion_gradient(workload):
    """Gradient of the mean validation loss (p,)."""
    val = _Pieces(replace(workload, X=workload.X_val, y=workload.y_val))
    return val.vjp(val.residual) / len(workload.y_val)


class _Pieces:
    """Outputs and derivatives of a workload's model on its training rows.

    ``theta = [W.ravel(), b]`` of every layer; the hidden activation is a ramp.
    """

    def __init__(self, workload):
        self.X, self.n = np.asarray(workload.X, dtype=np.float64), len(workload.y)
        self.layers = [(np.float64(W), np.float64(b)) for W, b in workload.layers]
        self.inputs = self.X
        if len(self.layers) == 2:
            W, b = self.layers[0]
            self.inputs = np.maximum(self.X @ W + b, 0.0)
            self.slope = self.inputs > 0.0
        W, b = self.layers[-1]
        z = self.inputs @ W + b
        y, kind = workload.y, workload.kind
        if kind == "regression":
            self.residual, self.probability = z - y[:, None], None
        elif kind == "binary":
            self.probability = expit(z)
            self.residual = self.probability - y[:, None]
        else:
            self.probability = softmax(z, axis=1)
            self.residual = self.probability - np.eye(z.shape[1])[y]

    def _split(self, v):
        out, start = [], 0
        for W, b in self.layers:
            middle = start + W.size
            out.append((v[start:middle].reshape(W.shape), v[middle : middle + b.size]))
            start = middle + b.size
        return out

    def jvp(self, v):
        """J_i v of every row (n, k)."""
        *hidden, (V, c) = self._split(v)
        out = self.inputs @ V + c
        if hidden:
            (V1, c1), (W, _) = hidden[0], self.layers[1]
            out += (self.slope * (self.X @ V1 + c1)) @ W
        return out

    def vjp(self, u):
        """Sum of J_i.T u_i (p,)."""
        last = [(self.inputs.T @ u).ravel(), u.sum(axis=0)]
        if len(self.layers) == 1:
            return np.concatenate(last)
        back = (u @ self.layers[1][0].T) * self.slope
        return np.concatenate([(self.X.T @ back).ravel(), back.sum(axis=0), *last])

    def product(self, v, curvature):
        """The undamped curvature times v, of a network."""
        forward, p = self.jvp(v), self.probability
        if curvature == "fisher":
            size = np.sum(self.residual * forward, axis=1, keepdims=True)
            return self.vjp(self.residual * size) / self.n
        if p.shape[1] == 1:
            u = p * (1.0 - p) * forward
        else:
            u = p * (forward - np.sum(p * forward, axis=1, keepdims=True))
        total = self.vjp(u)
        if curvature == "hessian":
            total += self._bend(v)
        return total / self.n

    def _bend(self, v):
        """Sum of r_i d2 z_i / d theta2 v: both layers at once, ramps have no bend."""
        (V1, c1), (V2, _) = self._split(v)
        tangent = self.slope * (self.X @ V1 + c1)
        back = (self.residual @ V2.T) * self.slope
        first = [(self.X.T @ back).ravel(), back.sum(axis=0)]
        last = [(tangent.T @ self.residual).ravel(), np.zeros(self.residual.shape[1])]
        return np.concatenate(first + last)

    def hessian(self):
        """The Hessian of a linear model, in the order of `_split` (p, p)."""
        A = np.hstack([self.X, np.ones((self.n, 1))])
        p = self.probability
        if p is None:
            return A.T @ A / self.n
        if p.shape[1] == 1:
            return A.T @ (A * (p * (1.0 - p))) / self.n
        k, d = p.shape[1], A.shape[1]
        H = np.empty((d, k, d, k))
        for a in range(k):
            for b in range(a, k):
                weight = p[:, a] * ((a == b) - p[:, b])
                H[:, a, :, b] = H[:, b, :, a] = A.T @ (A * weight[:, None]) / self.n
        return H.reshape(d * k, d * k)


def _conjugate_gradients(product, b):
    x, r = np.zeros_like(b), b.copy()
    direction, square = r.copy(), r @ r
    goal = (REFERENCE_RESIDUAL**2) * square
    for _ in range(20 * len(b)):
        if square <= goal:
            return x
        moved = product(direction)
        step = square / (direction @ moved)
        x += step * direction
        r -= step * moved
        before, square = square, r @ r
        direction = r + square / before * direction
    raise ArithmeticError("The reference did not converge.")
