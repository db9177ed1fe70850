"""Models whose raw outputs are linear in the parameters: z = X W.T + b.

``theta = [W.ravel(), b]`` with W (k, d) in scikit-learn's layout; b is left out when
the model has no intercept.
"""

import numpy as np
from scipy import sparse
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import validate_data

from skpuma import kernels, rows
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.models._base import BaseModel
from skpuma.utils.errors import NotDifferentiableError


class LinearModel(BaseModel):
    """Shared calculus; the subclasses say which objective was minimised."""

    convex = True
    sparse = True

    def __init__(self, estimator):
        super().__init__(estimator)
        self.n_outputs = np.atleast_2d(estimator.coef_).shape[0]
        self.n_features = np.atleast_2d(estimator.coef_).shape[1]
        self.fit_intercept = bool(estimator.fit_intercept)

    def _read(self):
        arrays = [self.estimator.coef_]
        return [*arrays, self.estimator.intercept_] if self._has_intercept else arrays

    @property
    def _has_intercept(self):
        return bool(self.estimator.fit_intercept)

    def _write(self, estimator, theta):
        coef, intercept = self.split(theta)
        old = np.asarray(estimator.coef_)
        estimator.coef_ = coef.reshape(old.shape).astype(old.dtype)
        if self.fit_intercept:
            old = np.asarray(estimator.intercept_)
            new = intercept.reshape(old.shape).astype(old.dtype)
            is_array = isinstance(estimator.intercept_, np.ndarray)
            estimator.intercept_ = new if is_array else new[()]

    def _check_rows(self, X):
        return validate_data(
            self.estimator,
            X,
            reset=False,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
        )

    def split(self, V):
        """Coefficients (k, d, ...) and intercepts (k, ...) of parameters (p, ...)."""
        k, d = self.n_outputs, self.n_features
        coef = V[: k * d].reshape(k, d, *V.shape[1:])
        if self.fit_intercept:
            return coef, V[k * d :]
        return coef, np.zeros((k, *V.shape[1:]))

    def join(self, coef, intercept):
        """Inverse of `split`."""
        flat = coef.reshape(self.n_outputs * self.n_features, *coef.shape[2:])
        return np.concatenate([flat, intercept]) if self.fit_intercept else flat

    def raw(self, X):
        return self.jvp(X, self.theta)

    def jvp(self, X, V):
        coef, intercept = self.split(V)
        if V.ndim == 1:
            return np.asarray(X @ coef.T) + intercept
        k, d, m = coef.shape
        forward = np.asarray(X @ coef.transpose(1, 0, 2).reshape(d, k * m))
        return forward.reshape(-1, k, m) + intercept

    def vjp(self, X, u):
        return self.join(rows.column_sums(X, u).T, u.sum(axis=0))

    def input_vjp(self, X, u):
        return u @ self.split(self.theta)[0]

    def psi(self, X, residual, V):
        """``residual_i . J_i V`` of every row (n,), fused in one pass over X."""
        coef, intercept = self.split(V)
        coef = np.ascontiguousarray(coef)
        if sparse.issparse(X):
            return kernels.psi_csr(
                X.data, X.indices, X.indptr, residual, coef, intercept
            )
        if not isinstance(X, np.ndarray) or not X.flags.c_contiguous:
            return np.einsum("nk,nk->n", residual, self.jvp(X, V))
        return kernels.psi_dense(X, residual, coef, intercept)

    def gradients(self, X, u):
        X = rows.to_dense(X)
        k, d = self.n_outputs, self.n_features
        out = np.empty((len(X), self.n_parameters))
        kernels.outer_rows(u, X, out)
        if self.fit_intercept:
            out[:, k * d :] = u
        return out

    def gram(self, X, root):
        return self.hessian_gram(X, root @ root.transpose(0, 2, 1))

    def hessian_gram(self, X, hessian):
        """``sum_i J_i.T L_i J_i`` (p, p), one weighted syrk or gemm per output pair."""
        k, d = self.n_outputs, self.n_features
        total = np.zeros((self.n_parameters, self.n_parameters))
        for a in range(k):
            for b in range(a, k):
                weight = np.ascontiguousarray(hessian[:, a, b])
                if not weight.any():
                    continue
                block = rows.weighted_gram(X, weight)
                total[a * d : (a + 1) * d, b * d : (b + 1) * d] = block
                total[b * d : (b + 1) * d, a * d : (a + 1) * d] = block.T
                if self.fit_intercept:
                    column = rows.column_sums(X, weight)
                    for i, j in ((a, b), (b, a)):
                        total[i * d : (i + 1) * d, k * d + j] = column
                        total[k * d + j, i * d : (i + 1) * d] = column
                        total[k * d + i, k * d + j] = weight.sum()
        return total

    def diagonal(self, X, hessian):
        """Diagonal of `hessian_gram` (p,), for a Jacobi preconditioner."""
        weight = np.einsum("nkk->nk", hessian)
        squares = X.multiply(X) if sparse.issparse(X) else np.square(X, dtype=float)
        return self.join(np.asarray(squares.T @ weight).T, weight.sum(axis=0))

    def tangent_gram(self, X, root, scale):
        coef_scale, intercept_scale = self.split(scale)
        n, _, r = root.shape
        total = np.zeros((n, r, n, r))
        for a in range(self.n_outputs):
            # For a csr_matrix, * would be the product of matrices.
            by = coef_scale[a]
            scaled = X.multiply(by) if sparse.issparse(X) else X * by
            inner = rows.to_dense(scaled @ X.T)
            inner = inner + intercept_scale[a]
            left = root[:, a, :]
            total += np.einsum("ir,js,ij->irjs", left, left, inner, optimize=True)
        return total.reshape(n * r, n * r)

    def _l2(self, strength, intercept=0.0):
        """Ridge (p,) from one strength per output and one for the intercepts."""
        strength = np.broadcast_to(strength, self.n_outputs)
        coef = np.repeat(strength[:, None], self.n_features, axis=1)
        return self.join(coef, np.full(self.n_outputs, float(intercept)))


class LinearRegressionModel(LinearModel):
    """LinearRegression: ``sum_i w_i (z_i - y_i)^2``, here divided by 2 W."""

    def __init__(self, estimator):
        if estimator.positive:
            raise NotDifferentiableError(
                "positive=True makes the fit a constrained one; refit without it."
            )
        super().__init__(estimator)
        self.loss = SquaredLoss()

    def ridge(self, total_weight, n_rows):
        return self._l2(0.0)

    def gradient_tolerance(self):
        return 1e-6


class RidgeModel(LinearRegressionModel):
    """Ridge: ``sum_i w_i (z_i - y_i)^2 + alpha ||W||^2``, here divided by 2 W."""

    def ridge(self, total_weight, n_rows):
        alpha = np.asarray(self.estimator.alpha, dtype=float)
        return self._l2(alpha.ravel() / total_weight)

    def referee_parameters(self):
        return {"solver": "auto", "tol": 1e-12}

    def gradient_tolerance(self):
        iterative = self.estimator.solver_ in ("sag", "saga", "sparse_cg", "lsqr")
        return 1e-2 if iterative else 1e-6


class LogisticModel(LinearModel):
    """LogisticRegression with an L2 penalty or none, binary or multinomial.

    ``C sum_i w_i l_i + 1/2 ||W||^2``, here divided by C W. liblinear penalises
    the intercept too: ``1/2 (b / intercept_scaling)^2``.
    """

    def __init__(self, estimator):
        super().__init__(estimator)
        self.classes = estimator.classes_
        self._strength = _inverse_C(estimator)
        if len(self.classes) > 2 and estimator.solver == "liblinear":
            raise NotDifferentiableError(
                "liblinear fits one model per class, which is not one multinomial "
                "objective; use solver='lbfgs'."
            )
        if getattr(estimator, "multi_class", None) == "ovr" and len(self.classes) > 2:
            raise NotDifferentiableError(
                "multi_class='ovr' fits one model per class; use the multinomial one."
            )
        self.loss = MultinomialLogLoss() if self.n_outputs > 1 else BinaryLogLoss()

    def ridge(self, total_weight, n_rows):
        strength = self._strength / total_weight
        intercept = 0.0
        if self.estimator.solver == "liblinear":
            intercept = strength / self.estimator.intercept_scaling**2
        return self._l2(strength, intercept)

    def null_space(self, l2):
        if self.n_outputs == 1:
            return None
        # A softmax does not see a shift that is common to all classes.
        k, d = self.n_outputs, self.n_features
        shift = np.full(k, k**-0.5)
        columns = []
        if self._strength == 0.0:
            for j in range(d):
                coef = np.zeros((k, d))
                coef[:, j] = shift
                columns.append(self.join(coef, np.zeros(k)))
        if self.fit_intercept:
            columns.append(self.join(np.zeros((k, d)), shift))
        return np.stack(columns, axis=1) if columns else None

    def referee_parameters(self):
        # lbfgs at its tightest is still 1e-5 off on multinomial problems.
        if self.estimator.solver == "liblinear":
            tight = {"tol": 1e-12, "max_iter": 100_000}
        else:
            tight = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}
        return {"class_weight": None, **tight}

    def gradient_tolerance(self):
        estimator = self.estimator
        if np.max(estimator.n_iter_) >= estimator.max_iter:
            return None
        loose = estimator.solver in ("sag", "saga", "liblinear")
        return estimator.tol * (1000.0 if loose else 10.0)

    def class_weights(self, y, sample_weight):
        setting = self.estimator.class_weight
        if setting is None:
            return None
        if setting != "balanced":
            return compute_class_weight(setting, classes=self.classes, y=self.classes)
        counts = np.bincount(y, sample_weight, minlength=len(self.classes))
        return sample_weight.sum() / (len(self.classes) * counts)


def _inverse_C(estimator):
    """Ridge strength 1 / C of a LogisticRegression; refuse an L1 part."""
    penalty = getattr(estimator, "penalty", "deprecated")
    l1_ratio = getattr(estimator, "l1_ratio", None) or 0.0
    if penalty == "l1" or (penalty in ("elasticnet", "deprecated") and l1_ratio > 0):
        raise NotDifferentiableError(
            "LogisticRegression with an L1 part is not differentiable at its "
            "solution; refit it with l1_ratio=0."
        )
    return 0.0 if penalty is None else 1.0 / estimator.C
