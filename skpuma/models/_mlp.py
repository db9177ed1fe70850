"""Multi-layer perceptrons: forward, tangent, adjoint and second-order passes by BLAS.

``theta = [W_1.ravel(), b_1, W_2.ravel(), b_2, ...]`` with W_l (fan_in, fan_out).
"""

import copy

import numpy as np
from scipy import sparse
from scipy.special import expit
from sklearn.utils.validation import validate_data

from skpuma import kernels, rows
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multilabel import MultilabelLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.losses._poisson import PoissonLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.models._base import BaseModel

# Activations of a block of rows that stays in cache between the layers.
BLOCK_BYTES = 2 * 2**20
# Activations that may be kept for many products.
REMEMBERED_BYTES = 32 * 2**20


class Identity:
    """a = x."""

    @staticmethod
    def value(x):
        return x

    @staticmethod
    def slope(a):
        return np.ones_like(a)

    @staticmethod
    def bend(a):
        return np.zeros_like(a)


class Logistic:
    """a = 1 / (1 + exp(-x))."""

    value = staticmethod(expit)

    @staticmethod
    def slope(a):
        return a * (1 - a)

    @staticmethod
    def bend(a):
        return a * (1 - a) * (1 - 2 * a)


class Tanh:
    """a = tanh(x)."""

    value = staticmethod(np.tanh)

    @staticmethod
    def slope(a):
        return 1 - a * a

    @staticmethod
    def bend(a):
        return -2 * a * (1 - a * a)


class Relu(Identity):
    """a = max(x, 0)."""

    @staticmethod
    def value(x):
        return np.maximum(x, 0.0)

    @staticmethod
    def slope(a):
        return (a > 0).astype(a.dtype)


# First and second derivatives are functions of the value a, which the passes keep.
ACTIVATIONS = {
    "identity": Identity,
    "logistic": Logistic,
    "relu": Relu,
    "tanh": Tanh,
}
LOSSES = {
    "logistic": BinaryLogLoss,
    "softmax": MultinomialLogLoss,
    "identity": SquaredLoss,
    "exp": PoissonLoss,
}


class MLPModel(BaseModel):
    """MLPClassifier and MLPRegressor, any depth and activation.

    With ``solver="lbfgs"`` the penalty is ``alpha / (2 W) sum ||W_l||^2`` (kind
    "sum"); adam and sgd divide it by the size of each batch, so their fixed point has
    ``alpha_eff = alpha * mean(1 / batch size)`` per unit of mean loss (kind "mean").
    """

    # The exact Hessian of a network is indefinite away from a minimum. Damping:
    # precision of the 100 lowest psi of the ECE among 100 flipped labels (two moons) is
    # 0.76, 0.80, 0.83, 0.85, 0.86 for a relative damping of 1e-4, 1e-3, 1e-2, 1e-1, 1;
    # more of it also blurs what a patch can reach.
    curvature = "gauss_newton"
    relative_damping = 1e-1
    single = True
    _remembered = None

    @classmethod
    def refusal(cls, estimator):
        if estimator.early_stopping:
            return (
                "early_stopping=True hides which rows the network was trained on; "
                "refit it with early_stopping=False."
            )
        return None

    def __init__(self, estimator):
        super().__init__(estimator)
        self.shapes = [coef.shape for coef in estimator.coefs_]
        self.n_outputs = self.shapes[-1][1]
        self.kind = "sum" if estimator.solver == "lbfgs" else "mean"
        self.loss = LOSSES[estimator.out_activation_]()
        self.activation = ACTIVATIONS[estimator.activation]
        if not self.loss.classification:
            return
        binarizer = getattr(estimator, "_label_binarizer", None)
        if getattr(binarizer, "y_type_", "").startswith("multilabel"):
            self.loss = MultilabelLoss(self.loss)
            return
        self.classes = estimator.classes_

    def referee(self):
        # From where the network is: a cold start would end in another optimum.
        warm = copy.deepcopy(self.estimator).set_params(warm_start=True)
        if warm.solver != "lbfgs":
            return warm
        return warm.set_params(tol=1e-12, max_iter=5000, max_fun=100_000)

    def _read(self):
        for coef, intercept in zip(
            self.estimator.coefs_, self.estimator.intercepts_, strict=True
        ):
            yield coef
            yield intercept

    def _write(self, estimator, theta):
        layers = self.split(theta)
        dtype = estimator.coefs_[0].dtype
        estimator.coefs_ = [coef.astype(dtype) for coef, _ in layers]
        estimator.intercepts_ = [intercept.astype(dtype) for _, intercept in layers]

    def _check_rows(self, X):
        if sparse.issparse(X):
            raise TypeError(
                "Sparse X is supported for linear models only; hand an MLP dense rows: "
                "X.toarray()."
            )
        return validate_data(
            self.estimator, X, reset=False, dtype=(np.float64, np.float32)
        )

    def split(self, V):
        """[(coef (fan_in, fan_out, ...), intercept (fan_out, ...)), ...]."""
        layers, start = [], 0
        for fan_in, fan_out in self.shapes:
            middle = start + fan_in * fan_out
            stop = middle + fan_out
            coef = V[start:middle].reshape(fan_in, fan_out, *V.shape[1:])
            layers.append((coef, V[middle:stop]))
            start = stop
        return layers

    def ridge(self, total_weight, n_rows):
        alpha = self.estimator.alpha
        if self.kind == "sum":
            strength = alpha / total_weight
        else:
            size = self.estimator.batch_size
            size = min(200, n_rows) if size == "auto" else min(size, n_rows)
            full, last = divmod(n_rows, size)
            batches = [1.0 / size] * full + ([1.0 / last] if last else [])
            # The solver divides by the weights of each batch: n / W per row.
            strength = alpha * np.mean(batches) * n_rows / total_weight
        out = np.zeros(self.n_parameters)
        for coef, _ in self.split(out):
            coef[...] = strength
        return out

    # -- passes over a block of rows ---------------------------------------------------

    def _forward(self, X):
        """Inputs of every layer [a_0 = X, a_1, ...] and the raw outputs z."""
        layers = self.split(self.theta)
        inputs = [X]
        for coef, intercept in layers[:-1]:
            inputs.append(self.activation.value(inputs[-1] @ coef + intercept))
        coef, intercept = layers[-1]
        return inputs, inputs[-1] @ coef + intercept

    def _tangent(self, inputs, layers_v):
        """d a_l and d(pre-activation)_l for tangents, and d z, of one direction."""
        layers = self.split(self.theta)
        d_inputs, d_pre = [None], []
        for index, ((coef, _), (d_coef, d_intercept)) in enumerate(
            zip(layers, layers_v, strict=True)
        ):
            pre = inputs[index] @ d_coef + d_intercept
            if d_inputs[-1] is not None:
                pre = pre + d_inputs[-1] @ coef
            d_pre.append(pre)
            if index + 1 < len(layers):
                d_inputs.append(self.activation.slope(inputs[index + 1]) * pre)
        return d_inputs, d_pre

    def _backward(self, inputs, u):
        """delta_l (n, fan_out_l) of every layer, first layer first."""
        layers = self.split(self.theta)
        deltas = [u]
        for index in range(len(layers) - 1, 0, -1):
            delta = (deltas[-1] @ layers[index][0].T) * self.activation.slope(
                inputs[index]
            )
            deltas.append(delta)
        return deltas[::-1]

    def _collect(self, inputs, deltas):
        """sum_i J_i.T u_i from the layer inputs and deltas."""
        parts = []
        for a, delta in zip(inputs, deltas, strict=True):
            parts += [(a.T @ delta).ravel(), delta.sum(axis=0)]
        return np.concatenate(parts)

    def _blocks(self, X):
        width = sum(fan_in + fan_out for fan_in, fan_out in self.shapes)
        itemsize = self.theta.dtype.itemsize
        return rows.blocks(rows.count(X), itemsize * width, BLOCK_BYTES)

    def remembering(self, X):
        # The activations, if they take little memory: of many products with the
        # curvature at one theta, a third would go into the same forward pass.
        hidden = sum(fan_out for _, fan_out in self.shapes[:-1])
        if self.theta.dtype.itemsize * rows.count(X) * hidden > REMEMBERED_BYTES:
            return self
        other = copy.copy(self)
        other._remembered = {}
        return other

    def _inputs(self, X, block):
        """Inputs of every layer for a block of the rows."""
        # In single precision if theta is; rows in single precision under a theta in
        # double are converted by the products.
        inside = X[block]
        if self.theta.dtype == np.float32:
            inside = inside.astype(np.float32, copy=False)
        if self._remembered is None:
            return self._forward(inside)[0]
        if block.start not in self._remembered:
            self._remembered[block.start] = self._forward(inside)[0][1:]
        return [inside, *self._remembered[block.start]]

    # -- the contract ------------------------------------------------------------------

    def raw(self, X):
        out = np.empty((rows.count(X), self.n_outputs))
        for block in self._blocks(X):
            out[block] = self._forward(X[block])[1]
        return out

    def last_layer(self, X):
        out = np.empty((rows.count(X), self.shapes[-1][0]))
        for block in self._blocks(X):
            out[block] = self._forward(X[block])[0][-1]
        return out

    def jvp(self, X, V):
        tangents = V[:, None] if V.ndim == 1 else V
        out = np.empty((rows.count(X), self.n_outputs, tangents.shape[1]))
        for block in self._blocks(X):
            inputs, _ = self._forward(X[block])
            for m in range(tangents.shape[1]):
                layers_v = self.split(tangents[:, m])
                out[block, :, m] = self._tangent(inputs, layers_v)[1][-1]
        return out[:, :, 0] if V.ndim == 1 else out

    def vjp(self, X, u):
        total = np.zeros(self.n_parameters)
        for block in self._blocks(X):
            inputs, _ = self._forward(X[block])
            total += self._collect(inputs, self._backward(inputs, u[block]))
        return total

    def input_vjp(self, X, u):
        inputs, _ = self._forward(X)
        return self._backward(inputs, u)[0] @ self.split(self.theta)[0][0].T

    def second_order(self, X, u, V):
        out = np.zeros_like(V)
        for block in self._blocks(X):
            inputs, _ = self._forward(X[block])
            deltas = self._backward(inputs, u[block])
            for m in range(V.shape[1]):
                out[:, m] += self._second_order(inputs, deltas, V[:, m])
        return out

    def _second_order(self, inputs, deltas, v):
        """Derivative of `_collect` along v with the cotangent u held fixed."""
        layers, layers_v = self.split(self.theta), self.split(v)
        d_inputs, d_pre = self._tangent(inputs, layers_v)
        d_delta = np.zeros_like(deltas[-1])
        parts = []
        for index in range(len(layers) - 1, -1, -1):
            d_coef = inputs[index].T @ d_delta
            if d_inputs[index] is not None:
                d_coef = d_coef + d_inputs[index].T @ deltas[index]
            parts += [d_delta.sum(axis=0), d_coef.ravel()]
            if index:
                a, coef = inputs[index], layers[index][0]
                back = d_delta @ coef.T + deltas[index] @ layers_v[index][0].T
                bend = (
                    (deltas[index] @ coef.T)
                    * self.activation.bend(a)
                    * d_pre[index - 1]
                )
                d_delta = back * self.activation.slope(a) + bend
        return np.concatenate(parts[::-1])

    def gradients(self, X, u):
        inputs, _ = self._forward(X)
        deltas = self._backward(inputs, u)
        out = np.empty((rows.count(X), self.n_parameters))
        start = 0
        for a, delta in zip(inputs, deltas, strict=True):
            middle = start + a.shape[1] * delta.shape[1]
            kernels.outer(a, delta, out[:, start:middle])
            out[:, middle : middle + delta.shape[1]] = delta
            start = middle + delta.shape[1]
        return out

    def gram_product(self, X, hessian, V):
        out = np.zeros(V.shape)
        for block in self._blocks(X):
            inputs = self._inputs(X, block)
            for m in range(V.shape[1]):
                forward = self._tangent(inputs, self.split(V[:, m]))[1][-1]
                u = (hessian[block] @ forward[:, :, None])[:, :, 0]
                out[:, m] += self._collect(inputs, self._backward(inputs, u))
        return out

    def tangent_gram(self, X, root, scale):
        # A gradient is a sum over layers of (input x delta), so its inner products
        # factor into inner products of inputs and of deltas: no Jacobian is formed.
        n, _, r = root.shape
        inputs, _ = self._forward(X)
        by_column = [self._backward(inputs, root[:, :, c]) for c in range(r)]
        total = np.zeros((n, r, n, r))
        for index, (coef_scale, intercept_scale) in enumerate(self.split(scale)):
            delta = np.stack([deltas[index] for deltas in by_column], axis=1)
            flat = delta.reshape(n * r, -1)
            # Penalties are constant over the weights and over the biases of a layer.
            a = np.asarray(inputs[index], dtype=np.float64)
            inner = a @ a.T
            inner *= coef_scale[0, 0]
            inner += intercept_scale[0]
            product = (flat @ flat.T).reshape(n, r, n, r)
            product *= inner[:, None, :, None]
            total += product
        return total.reshape(n * r, n * r)
