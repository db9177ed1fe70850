"""The contract of a model: what the rest of the library asks of a fitted estimator.

Shapes: prepared rows ``X`` (n, d); parameters ``theta`` (p,); raw outputs ``z`` (n, k);
tangents ``V`` (p,) or (p, m); cotangents ``u`` (n, k). J_i is the (k, p) derivative of
row i's raw outputs in theta.
"""

import copy
from abc import ABC, abstractmethod

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skpuma import rows


class BaseModel(ABC):
    """A fitted estimator as a function of its parameters.

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
        Whether the objective is convex, so that it may be polished and corrected by
        Newton steps.
    classes : ndarray or None
        Class labels in the order of the coded targets.
    sparse : bool
        Whether CSR rows are supported.
    """

    kind = "sum"
    convex = False
    sparse = False
    classes = None

    def __init__(self, estimator):
        check_is_fitted(estimator)
        self.estimator = estimator
        self.frames = ()
        self.theta = np.concatenate([np.ravel(a) for a in self._read()]).astype(float)

    # -- what an adapter must say ------------------------------------------------------

    @abstractmethod
    def _read(self):
        """Fitted arrays in the order of theta."""

    @abstractmethod
    def _write(self, estimator, theta):
        """Put `theta` into a copy of the estimator, keeping shapes and dtypes."""

    @abstractmethod
    def _check_rows(self, X):
        """Validate rows with the estimator's own feature names and count."""

    @abstractmethod
    def ridge(self, total_weight, n_rows):
        """Diagonal of the penalty's Hessian in J (p,), for weights summing to W."""

    @abstractmethod
    def raw(self, X):
        """Raw outputs (n, k)."""

    @abstractmethod
    def jvp(self, X, V):
        """``J_i V`` of every row: (n, k), or (n, k, m) for V (p, m)."""

    @abstractmethod
    def vjp(self, X, u):
        """``sum_i J_i.T u_i``, shape (p,)."""

    @abstractmethod
    def input_vjp(self, X, u):
        """Derivative of ``sum_i u_i . z_i`` in the prepared rows, shape (n, d)."""

    @abstractmethod
    def gradients(self, X, u):
        """``J_i.T u_i`` of every row, shape (n, p): for a few asked rows only."""

    # -- what follows from it ----------------------------------------------------------

    @property
    def n_parameters(self):
        """p."""
        return self.theta.shape[0]

    def inputs(self, X):
        """Rows as the differentiable part of the model sees them."""
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
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if self.classes is None:
            y = y.astype(np.float64, copy=False)
            if not np.isfinite(y).all():
                raise ValueError("y contains NaN or infinity: drop or impute them.")
            y = y.reshape(len(y), -1)
            if y.shape[1] != self.n_outputs:
                raise ValueError(
                    f"y has {y.shape[1]} columns, the model was fitted with "
                    f"{self.n_outputs}."
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

    def null_space(self, l2):
        """Orthonormal directions (p, q) that J does not see, or None."""
        return None

    def gradient_tolerance(self):
        """Bound that the solver promised on max|grad J|, or None if it gave none."""
        return None

    def referee_parameters(self):
        """Constructor parameters of a refit: tight, and with the weights passed in."""
        return {}

    def class_weights(self, y, sample_weight):
        """Weight of every class at the fit (n_classes,), or None."""
        return None

    def second_order(self, X, u, V):
        """``sum_i sum_a u_ia (d2 z_ia / d theta2) V``; zero if z is linear in theta."""
        return np.zeros_like(V)

    def jacobian(self, X):
        """J of every row (n, k, p): for a block of rows."""
        n, k = rows.count(X), self.n_outputs
        out = np.empty((n, k, self.n_parameters))
        for a in range(k):
            unit = np.zeros((n, k))
            unit[:, a] = 1.0
            out[:, a] = self.gradients(X, unit)
        return out

    def psi(self, X, residual, V):
        """``residual_i . J_i V`` of every row (n,)."""
        return np.einsum("nk,nk->n", residual, self.jvp(X, V))

    def gram(self, X, root):
        """``sum_i J_i.T B_i B_i.T J_i`` (p, p) for ``root`` B (n, k, r)."""
        p, r = self.n_parameters, root.shape[2]
        total = np.zeros((p, p))
        for block in rows.blocks(rows.count(X), 8 * p * (self.n_outputs + r)):
            jacobian = self.jacobian(rows.take(X, block))
            factor = root[block].transpose(0, 2, 1) @ jacobian
            factor = factor.reshape(-1, p)
            total += factor.T @ factor
        return total

    def hessian_gram(self, X, hessian):
        """``sum_i J_i.T L_i J_i`` (p, p) for L (n, k, k)."""
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
        """``sum_i J_i.T L_i J_i V`` for L (n, k, k) and V (p, m), matrix-free."""
        forward = self.jvp(X, V)
        moved = np.einsum("nkl,nlm->nkm", hessian, forward)
        return np.stack([self.vjp(X, moved[:, :, m]) for m in range(V.shape[1])], 1)

    def tangent_gram(self, X, root, scale):
        """``A diag(scale) A.T`` where A stacks the rows ``B_i.T J_i``: (n r, n r)."""
        p = self.n_parameters
        factor = np.einsum("nkr,nkp->nrp", root, self.jacobian(X)).reshape(-1, p)
        return (factor * scale) @ factor.T
