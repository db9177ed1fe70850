"""The contract of a model: what the rest of the library asks of a fitted estimator.

Shapes: prepared rows ``X`` (n, d); parameters ``theta`` (p,); raw outputs ``z`` (n, k);
tangents ``V`` (p,) or (p, m); cotangents ``u`` (n, k). J_i is the (k, p) derivative of
row i's raw outputs in theta.
"""

import copy
from abc import ABC, abstractmethod

import numpy as np
from scipy import sparse
from scipy.linalg import blas
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from skpuma import rows
from skpuma._dask_rows import refuse
from skpuma.utils.errors import NotDifferentiableError

# Relative step of central differences: the cube root of the rounding error.
DIFFERENCE = 6e-6


class BaseModel(ABC):
    """A fitted estimator as a function of its parameters.

    An adapter says how to read and write theta, what the raw outputs and their Jacobian
    are, and what penalty the fit had; ``doc/adapters.rst`` writes one in ten lines.

    Parameters
    ----------
    estimator : estimator
        Fitted; it is read and never changed.

    Attributes
    ----------
    theta : ndarray (p,)
        Parameters, in float64.
    n_outputs : int
        k, the number of raw outputs of a row.
    loss : BaseLoss
        The pointwise loss that the estimator minimises.
    kind : {"sum", "mean", "count"}
        How the penalty enters the objective as a function of the weights (see
        ``doc/conventions.rst``): fixed, times sum(w) / W, or times n(s) / n.
    convex : bool
        Whether the raw outputs are linear in theta and the objective convex, so that it
        may be polished and corrected by Newton steps.
    classes : ndarray or None
        Class labels in the order of the coded targets.
    sparse : bool
        Whether CSR rows are supported.
    single : bool
        Whether `gram_product` computes in single precision if theta, dense rows and
        tangents are in it.
    curvature : str
        What ``curvature="auto"`` means.
    relative_damping : float
        What ``damping="auto"`` adds to the diagonal, relative to the mean eigenvalue; 0
        is none unless the curvature is singular.
    """

    kind = "sum"
    convex = False
    curvature = "hessian"
    relative_damping = 0.0
    sparse = False
    single = False
    classes = None

    def __init__(self, estimator):
        reason = self.refusal(estimator)
        if reason is not None:
            raise NotDifferentiableError(reason)
        check_is_fitted(estimator)
        self.estimator = estimator
        self.frames = ()
        self._layout()
        arrays = [np.ravel(a) for a in self._read()]
        if not sum(array.size for array in arrays):
            raise NotDifferentiableError(
                f"{type(self).__name__}._read() returned no parameters of "
                f"{type(estimator).__name__}."
            )
        self.theta = np.concatenate(arrays).astype(float)

    @classmethod
    def refusal(cls, estimator):
        """Why this estimator, fitted or not, cannot be supported; None if it can.

        Looks at the options of the constructor only.
        """
        return None

    def _layout(self):  # noqa: B027
        """Learn the shapes that `_read` needs; nothing by default."""

    # -- what an adapter must say ------------------------------------------------------

    @abstractmethod
    def _read(self):
        """Fitted arrays in the order of theta."""

    @abstractmethod
    def _write(self, estimator, theta):
        """Put `theta` into a copy of the estimator, keeping shapes and dtypes."""

    @abstractmethod
    def ridge(self, total_weight, n_rows):
        """Diagonal of the penalty's Hessian in J (p,), for weights summing to W."""

    @abstractmethod
    def raw(self, X):
        """Raw outputs (n, k) at `theta`."""

    def last_layer(self, X):
        """Rows as the last, linear layer sees them (n, h): z is affine in them.

        Raises
        ------
        NotDifferentiableError
            If there is no such layer.
        """
        raise NotDifferentiableError(
            f"{type(self.estimator).__name__} has no last layer that is linear: use a "
            "linear model or a multi-layer perceptron."
        )

    def jacobian(self, X):
        """J of every row (n, k, p): for a block of rows.

        An adapter defines this, or `jvp`, `vjp` and `gradients`; each follows from the
        other.
        """
        n, k = rows.count(X), self.n_outputs
        out = np.empty((n, k, self.n_parameters))
        for a in range(k):
            unit = np.zeros((n, k))
            unit[:, a] = 1.0
            out[:, a] = self.gradients(X, unit)
        return out

    # -- what follows from it, and may be done faster ----------------------------------

    def _check_rows(self, X):
        """Validate rows with the estimator's own feature names and count."""
        return validate_data(
            self.estimator, X, reset=False, dtype=(np.float64, np.float32)
        )

    def _jacobian_blocks(self, X):
        for block in rows.blocks(rows.count(X), 8 * self.n_parameters * self.n_outputs):
            yield block, self.jacobian(rows.take(X, block))

    def jvp(self, X, V):
        """``J_i V`` of every row: (n, k), or (n, k, m) for V (p, m)."""
        parts = [jacobian @ V for _, jacobian in self._jacobian_blocks(X)]
        return np.concatenate(parts)

    def vjp(self, X, u):
        """``sum_i J_i.T u_i``, shape (p,)."""
        total = np.zeros(self.n_parameters)
        for block, jacobian in self._jacobian_blocks(X):
            total += np.einsum("nkp,nk->p", jacobian, u[block])
        return total

    def vjp_columns(self, X, U):
        """`vjp` of several cotangents U (n, k, m), shape (p, m)."""
        columns = [self.vjp(X, U[:, :, a]) for a in range(U.shape[2])]
        return np.stack(columns, axis=1)

    def gradients(self, X, u):
        """``J_i.T u_i`` of every row, shape (n, p): for a few asked rows only."""
        return np.einsum("nkp,nk->np", self.jacobian(X), u)

    def input_vjp(self, X, u):
        """Derivative of ``sum_i u_i . z_i`` in the prepared rows, shape (n, d).

        By central differences unless an adapter defines it: 2 d passes.
        """
        X = np.array(rows.to_dense(X), dtype=np.float64)
        out = np.empty_like(X)
        for j in range(X.shape[1]):
            step = DIFFERENCE * np.maximum(np.abs(X[:, j]), 1.0)
            ahead, back = X.copy(), X.copy()
            ahead[:, j] += step
            back[:, j] -= step
            moved = self.raw(ahead) - self.raw(back)
            out[:, j] = (u * moved).sum(axis=1) / (ahead[:, j] - back[:, j])
        return out

    @property
    def n_targets(self):
        """Number of columns of a regressor's y."""
        return self.n_outputs

    @property
    def n_parameters(self):
        """p."""
        return self.theta.shape[0]

    def inputs(self, X):
        """Rows as the differentiable part of the model sees them."""
        refuse(X, "This takes rows in memory, not")
        for frame in self.frames:
            X = frame.transform(X)
        return self._check_rows(X)

    def targets(self, y):
        """Coded targets: class positions (n,), or floats (n, k).

        Raises
        ------
        ValueError
            If a label was not seen when the model was fitted.
        """
        if y is None:
            raise ValueError("y is None: pass the targets of the rows.")
        for frame in self.frames:
            y = frame.targets(y)
        y = y.toarray() if sparse.issparse(y) else np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if self.classes is None:
            y = y.astype(np.float64, copy=False)
            if not np.isfinite(y).all():
                raise ValueError("y contains NaN or infinity: drop or impute them.")
            y = y.reshape(len(y), -1)
            if y.shape[1] != self.n_targets:
                raise ValueError(
                    f"y has {y.shape[1]} columns, the model was fitted with "
                    f"{self.n_targets}."
                )
            return y
        if y.ndim != 1:
            raise ValueError(
                f"y has shape {y.shape}; a classifier needs one label a row."
            )
        try:
            code = np.minimum(np.searchsorted(self.classes, y), len(self.classes) - 1)
            unseen = np.asarray(self.classes[code] != y)
        except TypeError:
            raise ValueError(
                f"y has labels of another type ({y.dtype}) than the model knows "
                f"({self.classes.dtype}: {self.classes[:5].tolist()})."
            ) from None
        if np.any(unseen):
            raise ValueError(
                f"y has labels that the model does not know: "
                f"{np.unique(y[unseen])[:5].tolist()}; it knows "
                f"{self.classes.tolist()}."
            )
        return code

    def at(self, theta):
        """The same model at other parameters."""
        model = copy.copy(self)
        model.theta = theta
        return model

    def with_theta(self, theta):
        """A fitted estimator of the same class with these parameters."""
        estimator = copy.deepcopy(self.estimator)
        self._write(estimator, theta)
        for frame in reversed(self.frames):
            estimator = frame.rebuild(estimator)
        return estimator

    def tilt(self, total_weight, n_rows):
        """Linear part of the penalty's gradient in J (p,): L1 on an active set."""
        return np.broadcast_to(0.0, self.n_parameters)

    def null_space(self, l2):
        """Orthonormal directions (p, q) that J does not see, or None."""
        return None

    def gradient_tolerance(self):
        """Bound that the solver promised on max|grad J|, or None if it gave none."""
        return None

    def referee(self):
        """An estimator, not fitted, that minimises the same objective tightly.

        It is fitted with effective weights, so it has no class weights of its own.
        None if there is no such estimator: the objective is then minimised as it is.
        """
        return clone(self.estimator)

    def class_weights(self, y, sample_weight):
        """Weight of every class at the fit (n_classes,), or None."""
        return None

    def weigh(self, class_weights, y, sample_weight):
        """Model and effective weights (n,) under the class weights of the fit."""
        if class_weights is None:
            return self, sample_weight
        return self, sample_weight * class_weights[y]

    def caveat(self, objective):
        """Why a patched model is not what a refit would find, or None.

        Parameters
        ----------
        objective : Objective
            At the patched parameters and weights.
        """
        return None

    def second_order(self, X, u, V):
        """``sum_i sum_a u_ia (d2 z_ia / d theta2) V``, for V (p, m).

        Zero if z is linear in theta (`convex`), else by central differences of `vjp`.
        """
        out = np.zeros_like(V)
        if self.convex:
            return out
        for m, v in enumerate(V.T):
            size = np.linalg.norm(v)
            if size > 0:
                step = DIFFERENCE * max(np.linalg.norm(self.theta), 1.0) / size
                ahead = self.at(self.theta + step * v).vjp(X, u)
                back = self.at(self.theta - step * v).vjp(X, u)
                out[:, m] = (ahead - back) / (2.0 * step)
        return out

    def psi(self, X, residual, V):
        """``residual_i . J_i V`` of every row (n,)."""
        return np.einsum("nk,nk->n", residual, self.jvp(X, V))

    def gram(self, X, root):
        """``sum_i J_i.T B_i B_i.T J_i`` (p, p) for ``root`` B (n, k, r)."""
        p, r = self.n_parameters, root.shape[2]
        # One triangle, in place: a product of its own would take as much memory again.
        total = np.zeros((p, p), order="F")
        for block in rows.blocks(rows.count(X), 8 * p * (self.n_outputs + r)):
            jacobian = self.jacobian(rows.take(X, block))
            factor = root[block].transpose(0, 2, 1) @ jacobian
            factor = factor.reshape(-1, p)
            total = blas.dsyrk(1.0, factor.T, 1.0, total, overwrite_c=True)
        for block in rows.blocks(p, 8 * p):
            # Above the diagonal is what the product gave.
            total[block.stop :, block] = total[block, block.stop :].T
            inner = np.triu(total[block, block], 1)
            total[block, block] = np.triu(total[block, block]) + inner.T
        return total

    def hessian_gram(self, X, hessian):
        """``sum_i J_i.T L_i J_i`` (p, p), for L as in `gram_product`."""
        p = self.n_parameters
        total = np.zeros((p, p))
        for block in rows.blocks(rows.count(X), 16 * p * self.n_outputs):
            jacobian = self.jacobian(rows.take(X, block))
            moved = hessian[block] @ jacobian
            total += jacobian.reshape(-1, p).T @ moved.reshape(-1, p)
        return total

    def diagonal(self, X, hessian):
        """Diagonal of `hessian_gram` (p,), for a Jacobi preconditioner."""
        total = np.zeros(self.n_parameters)
        for block in rows.blocks(rows.count(X), 16 * total.size * self.n_outputs):
            jacobian = self.jacobian(rows.take(X, block))
            total += np.einsum("nkp,nkp->p", jacobian, hessian[block] @ jacobian)
        return total

    def gram_product(self, X, hessian, V):
        """``sum_i J_i.T L_i J_i V`` for V (p, m), matrix-free.

        L is an array (n, k, k), or what a loss's `hessian_operator` hands out.
        """
        return self.there_and_back(
            X, lambda forward, block: hessian[block] @ forward, V
        )

    def remembering(self, X):
        """The model, or a copy that keeps what many products with these rows share."""
        return self

    def there_and_back(self, X, function, V):
        """``sum_i J_i.T function(J_i V)`` (p, m) for V (p, m).

        `function` takes ``J_i V`` of some rows (b, k, m), and the slice of these rows.
        """
        moved = function(self.jvp(X, V), slice(0, rows.count(X)))
        return self.vjp_columns(X, moved)

    def tangent_gram(self, X, root, scale):
        """``A diag(scale) A.T`` where A stacks the rows ``B_i.T J_i``: (n r, n r)."""
        p = self.n_parameters
        factor = np.einsum("nkr,nkp->nrp", root, self.jacobian(X)).reshape(-1, p)
        return (factor * scale) @ factor.T
