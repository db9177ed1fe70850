"""Fits at the optimum, by other means where an estimator's own solver stays off it."""

import numpy as np
from scipy import optimize
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import HuberRegressor, SGDClassifier, SGDRegressor

# Private, and only a referee here: scikit-learn's own objective.
from sklearn.linear_model._huber import _huber_loss_and_gradient
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils.class_weight import compute_class_weight


def fitted(estimator, X, y, weight=None):
    """Fit, with weights also where only metadata routing lets them through."""
    if isinstance(estimator, HuberRegressor):
        return tight_huber(estimator, X, y, weight)
    if isinstance(estimator, (LinearSVC, LinearSVR)):
        return tight_svm(estimator, X, y, weight)
    if isinstance(estimator, (SGDClassifier, SGDRegressor)):
        return tight_sgd(estimator, X, y, weight)
    if weight is None:
        return estimator.fit(X, y)
    if not isinstance(estimator, OneVsRestClassifier):
        return estimator.fit(X, y, sample_weight=weight)
    with config_context(enable_metadata_routing=True):
        inner = clone(estimator.estimator).set_fit_request(sample_weight=True)
        return estimator.set_params(estimator=inner).fit(X, y, sample_weight=weight)


def tight_huber(estimator, X, y, weight):
    """Where scikit-learn's own gradient vanishes; its solver stops at 1e-6 of it."""
    estimator.fit(X, y, sample_weight=weight)
    weight = np.ones(len(y)) if weight is None else weight
    free = [estimator.intercept_] if estimator.fit_intercept else []
    start = np.concatenate([estimator.coef_, free, [estimator.scale_]])
    args = (X, y, estimator.epsilon, estimator.alpha, weight)
    found = optimize.root(
        lambda w: _huber_loss_and_gradient(w, *args)[1], start, tol=1e-14
    )
    assert np.abs(found.x - start).max() < 1e-3
    estimator.coef_, estimator.scale_ = found.x[: X.shape[1]], found.x[-1]
    if estimator.fit_intercept:
        estimator.intercept_ = found.x[-2]
    return estimator


# d loss / d prediction, for targets of -1 and 1 where they are classes.
SLOPES = {
    "squared_error": lambda y, p, e: p - y,
    "huber": lambda y, p, e: np.clip(p - y, -e, e),
    "squared_epsilon_insensitive": lambda y, p, e: (
        2 * np.sign(p - y) * np.maximum(np.abs(p - y) - e, 0)
    ),
    "log_loss": lambda y, p, e: -y / (1 + np.exp(y * p)),
    "squared_hinge": lambda y, p, e: -2 * y * np.maximum(1 - y * p, 0),
    "modified_huber": lambda y, p, e: np.where(
        y * p < -1, -4 * y, -2 * y * np.maximum(1 - y * p, 0)
    ),
}


def optimum(slope, X, y, weight, ridge):
    """Newton's method on ``sum_i weight_i slope(y_i, x_i w) x_i + ridge w``."""

    def gradient(w):
        return X.T @ (weight * slope(y, X @ w)) + ridge * w

    # From least squares: Huber losses have no curvature far off.
    w = np.linalg.lstsq(X, y, rcond=None)[0]
    for _ in range(200):
        g = gradient(w)
        if np.abs(g).max() < 1e-13:
            break
        z, h = X @ w, 1e-6
        bend = weight * (slope(y, z + h) - slope(y, z - h)) / (2 * h)
        step = np.linalg.solve((X.T * bend) @ X + np.diag(ridge + 1e-9), g)
        length = 1.0
        while length > 1e-9 and np.linalg.norm(
            gradient(w - length * step)
        ) > np.linalg.norm(g):
            length /= 2
        w = w - length * step
    return w


def refined(estimator, X, y, weight, slope, ridge, by_class=1.0):
    """Replace the coefficients by those at the optimum, of every class's problem.

    `ridge` is that of the coefficients and of the intercept; liblinear's solver stops
    at 1e-7 of the gradient, and that of SGD stays far off.
    """
    estimator.fit(X, y, sample_weight=weight)
    weight = np.ones(len(y)) if weight is None else weight
    intercept = float(estimator.fit_intercept)
    wide = np.column_stack([X, np.full(len(X), intercept)])
    ridge = np.append(np.full(X.shape[1], ridge[0]), ridge[1] * intercept)
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        w = optimum(slope, wide, y, weight, ridge)[None]
    elif len(classes) == 2:
        weight = weight * by_class[np.searchsorted(classes, y)]
        code = np.where(y == classes[1], 1.0, -1.0)
        w = optimum(slope, wide, code, weight, ridge)[None]
    else:
        w = []
        for label, own in zip(classes, by_class, strict=True):
            code = np.where(y == label, 1.0, -1.0)
            share = weight * np.where(code > 0, own, 1.0)
            w.append(optimum(slope, wide, code, share, ridge))
        w = np.stack(w)
    estimator.coef_ = w[:, :-1].reshape(estimator.coef_.shape)
    if intercept:
        estimator.intercept_ = w[:, -1].copy()
    return estimator


def by_class(estimator, y, weight=None):
    setting = getattr(estimator, "class_weight", None)
    more = {} if weight is None else {"sample_weight": weight}
    return compute_class_weight(setting, classes=np.unique(y), y=y, **more)


def tight_svm(estimator, X, y, weight):
    loss, epsilon = estimator.loss, getattr(estimator, "epsilon", 0.0)
    ridge = 1.0 / estimator.C, 1.0 / estimator.C / estimator.intercept_scaling**2
    own = None if isinstance(estimator, LinearSVR) else by_class(estimator, y, weight)
    start = estimator.fit(X, y, sample_weight=weight).coef_

    def slope(y, p):
        return SLOPES[loss](y, p, epsilon)

    estimator = refined(estimator, X, y, weight, slope, ridge, own)
    np.testing.assert_allclose(estimator.coef_, start, atol=1e-5)
    return estimator


def tight_sgd(estimator, X, y, weight):
    alpha = 0.0 if estimator.penalty is None else estimator.alpha
    own = None if isinstance(estimator, SGDRegressor) else by_class(estimator, y)

    def slope(y, p):
        return SLOPES[estimator.loss](y, p, estimator.epsilon)

    return refined(estimator, X, y, weight, slope, (alpha * len(X), 0.0), own)
