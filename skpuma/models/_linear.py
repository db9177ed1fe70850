"""Models whose raw outputs are linear in the parameters: z = X W.T + b.

``theta = [W[free], b[free]]`` with W (k, d) in scikit-learn's layout: all of W and b,
or those entries that the fit left free (an intercept that was asked for, coefficients
that an L1 penalty did not set to zero).
"""

import numpy as np
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import validate_data

from skpuma import kernels, rows
from skpuma.losses._output_hessian import OutputHessian
from skpuma.losses._squared import SquaredLoss
from skpuma.models._base import BaseModel


class LinearModel(BaseModel):
    """Shared calculus; the subclasses say which objective was minimised.

    Attributes
    ----------
    n_features : int
        d.
    free_coef : ndarray of bool (k, d), or None
        The coefficients that are parameters; None for all.
    free_intercept : ndarray of bool (k,)
    """

    convex = True
    sparse = True
    single = True

    def _layout(self):
        coef, intercept = self._arrays(self.estimator)
        self.n_outputs, self.n_features = coef.shape
        self.free_coef = self._free_coef(coef)
        self.free_intercept = self._free_intercept(intercept)
        self.fit_intercept = bool(self.free_intercept.any())

    def _arrays(self, estimator):
        """Coefficients (k, d) and intercepts (k,) of an estimator."""
        coef = np.atleast_2d(estimator.coef_)
        return coef, np.broadcast_to(np.ravel(estimator.intercept_), len(coef))

    def _free_coef(self, coef):
        return None

    def _free_intercept(self, intercept):
        return np.full(len(intercept), self._fits_intercept)

    @property
    def _fits_intercept(self):
        return bool(getattr(self.estimator, "fit_intercept", True))

    def _read(self):
        coef, intercept = self._arrays(self.estimator)
        coef = coef if self.free_coef is None else coef[self.free_coef]
        return coef, intercept[self.free_intercept]

    def _write(self, estimator, theta):
        self._put(estimator, *self.split(theta))

    def _put(self, estimator, coef, intercept):
        """Put coefficients (k, d) and intercepts (k,) into an estimator."""
        old = np.asarray(estimator.coef_)
        estimator.coef_ = coef.reshape(old.shape).astype(old.dtype)
        if self._fits_intercept:
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

    @property
    def _n_coef(self):
        if self.free_coef is None:
            return self.n_outputs * self.n_features
        return int(np.count_nonzero(self.free_coef))

    def split(self, V):
        """Coefficients (k, d, ...) and intercepts (k, ...) of parameters (p, ...)."""
        k, d, middle = self.n_outputs, self.n_features, self._n_coef
        if self.free_coef is None:
            coef = V[:middle].reshape(k, d, *V.shape[1:])
        else:
            coef = np.zeros((k, d, *V.shape[1:]), V.dtype)
            coef[self.free_coef] = V[:middle]
        if self.free_intercept.all():
            return coef, V[middle:]
        intercept = np.zeros((k, *V.shape[1:]), V.dtype)
        intercept[self.free_intercept] = V[middle:]
        return coef, intercept

    def join(self, coef, intercept):
        """Inverse of `split`."""
        if self.free_coef is None:
            flat = coef.reshape(self._n_coef, *coef.shape[2:])
        else:
            flat = coef[self.free_coef]
        if not self.fit_intercept:
            return flat
        return np.concatenate([flat, intercept[self.free_intercept]])

    def raw(self, X):
        return self.jvp(X, self.theta)

    def last_layer(self, X):
        return X

    def jvp(self, X, V):
        coef, intercept = self.split(V)
        if V.ndim == 1:
            return rows.product(X, coef.T) + intercept
        k, d, m = coef.shape
        forward = rows.product(X, coef.transpose(1, 0, 2).reshape(d, k * m))
        return forward.reshape(-1, k, m) + intercept

    def vjp(self, X, u):
        return self.join(rows.column_sums(X, u).T, u.sum(axis=0))

    def vjp_columns(self, X, U):
        n, k, m = U.shape
        sums = rows.column_sums(X, U.reshape(n, k * m)).reshape(-1, k, m)
        return self.join(sums.transpose(1, 0, 2), U.sum(axis=0))

    def input_vjp(self, X, u):
        return u @ self.split(self.theta)[0]

    def _used_columns(self, X):
        """X without the columns that no parameter touches, and which parameters stay.

        Returns
        -------
        X : rows (n, c)
        keep : ndarray of bool (k * c + k,), or slice
            Parameters among all coefficients of these columns and all intercepts.
        """
        if self.free_coef is None:
            if self.free_intercept.all():
                return X, slice(None)
            keep = np.ones(self._n_coef, dtype=bool)
            return X, np.concatenate([keep, self.free_intercept])
        used = self.free_coef.any(axis=0)
        keep = np.concatenate([self.free_coef[:, used].ravel(), self.free_intercept])
        return X if used.all() else X[:, used], keep

    def gradients(self, X, u):
        X, keep = self._used_columns(rows.to_dense(X))
        middle = u.shape[1] * X.shape[1]
        out = np.empty((len(X), middle + u.shape[1]))
        kernels.outer(u, X, out[:, :middle])
        out[:, middle:] = u
        return out[:, keep]

    def gram(self, X, root):
        return self.hessian_gram(X, root @ root.transpose(0, 2, 1))

    def hessian_gram(self, X, hessian):
        """``sum_i J_i.T L_i J_i`` (p, p), of one weighted Gram matrix per output pair.

        Where the rows of every L_i sum to zero (a softmax), those of an output with
        itself are minus the sum of the others. L is an array (n, k, k), or what a
        loss's `hessian_operator` hands out.
        """
        if isinstance(hessian, np.ndarray):
            hessian = OutputHessian(hessian)
        X, keep = self._used_columns(X)
        k, d = self.n_outputs, X.shape[1]
        closed = k > 2 and hessian.closed()
        a, b = np.triu_indices(k, 1 if closed else 0)
        weight = hessian.pairs(a, b)
        used = weight.any(axis=0)
        weight = weight if used.all() else weight[:, used]
        grams, sums = rows.weighted_moments_each(X, weight, self.fit_intercept)
        totals = weight.sum(axis=0)
        # Rows and columns of an output: its coefficients; then those of intercepts.
        total = np.zeros((k * d + k, k * d + k))
        for q, (i, j) in enumerate(zip(a[used], b[used], strict=True)):
            places = [(i, j, 1.0)]
            if i != j:
                places += [(j, i, 1.0)]
            if closed:
                places += [(i, i, -1.0), (j, j, -1.0)]
            for row, column, sign in places:
                at, to = slice(row * d, row * d + d), slice(column * d, column * d + d)
                total[at, to] += sign * grams[q]
                if self.fit_intercept:
                    total[at, k * d + column] += sign * sums[q]
                    total[k * d + column, at] += sign * sums[q]
                    total[k * d + row, k * d + column] += sign * totals[q]
        return total if isinstance(keep, slice) else total[np.ix_(keep, keep)]

    def there_and_back(self, X, function, V):
        # In one pass over the rows.
        coef, intercept = self.split(V)
        k, d, m = coef.shape

        def flat(forward, block):
            moved = function(forward.reshape(-1, k, m) + intercept, block)
            return moved.reshape(len(moved), k * m)

        M = coef.transpose(1, 0, 2).reshape(d, k * m)
        sums, totals = rows.there_and_back(X, M, flat)
        return self.join(sums.reshape(d, k, m).transpose(1, 0, 2), totals.reshape(k, m))

    def diagonal(self, X, hessian):
        """Diagonal of `hessian_gram` (p,), for a Jacobi preconditioner."""
        weight = np.einsum("nkk->nk", hessian)
        squares = rows.squared_column_sums(X, weight)
        return self.join(squares.T, weight.sum(axis=0))

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


def class_weights_of(setting, classes, y, sample_weight=None):
    """Class weights (n_classes,) of a `class_weight` setting, or None.

    Parameters
    ----------
    setting : None, dict or "balanced"
    classes : ndarray
    y : ndarray of int (n,)
        Positions in `classes`.
    sample_weight : ndarray (n,), optional
        For estimators that balance weights instead of counts.
    """
    if setting is None:
        return None
    if setting != "balanced":
        return compute_class_weight(setting, classes=classes, y=classes)
    counts = np.bincount(y, sample_weight, minlength=len(classes))
    return counts.sum() / (len(classes) * counts)


class LinearRegressionModel(LinearModel):
    """LinearRegression: ``sum_i w_i (z_i - y_i)^2``, here divided by 2 W."""

    loss = SquaredLoss()

    @classmethod
    def refusal(cls, estimator):
        if getattr(estimator, "positive", False):
            return "positive=True makes the fit a constrained one; refit without it."
        return None

    def ridge(self, total_weight, n_rows):
        return self._l2(0.0)

    def gradient_tolerance(self):
        return 1e-6


class RidgeModel(LinearRegressionModel):
    """Ridge and RidgeCV: ``sum_i w_i (z_i - y_i)^2 + alpha ||W||^2``, over 2 W."""

    @property
    def _alpha(self):
        alpha = getattr(self.estimator, "alpha_", None)
        return self.estimator.alpha if alpha is None else alpha

    def ridge(self, total_weight, n_rows):
        return self._l2(np.asarray(self._alpha, dtype=float).ravel() / total_weight)

    def referee(self):
        return Ridge(self._alpha, fit_intercept=self.estimator.fit_intercept, tol=1e-12)

    def gradient_tolerance(self):
        solver = getattr(self.estimator, "solver_", "svd")
        iterative = solver in ("sag", "saga", "sparse_cg", "lsqr")
        return 1e-2 if iterative else 1e-6
