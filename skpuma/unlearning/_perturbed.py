"""Linear models at the optimum of an L2-penalised objective with a random term."""

import numpy as np
from scipy import linalg, optimize
from scipy.special import log_ndtr, ndtr
from sklearn.multiclass import OneVsRestClassifier

from skpuma import rows
from skpuma.curvature import curvature_of
from skpuma.scores import polish
from skpuma.solvers import EXPLICIT_LIMIT, factor

MAX_STEPS = 100
# Newton steps after the objective itself resolves none: the gradient still does.
LAST_STEPS = 2


def parts_of(estimator):
    """The linear models of an estimator: one for every class, or itself."""
    if isinstance(estimator, OneVsRestClassifier):
        return estimator.estimators_
    return [estimator]


def numbers_of(model, X):
    """A user's rows as the model sees them, in double precision."""
    return model.inputs(X).astype(np.float64, copy=False)


def penalty_of(model, every):
    """Diagonal of P (p,); with `every`, the intercept has a penalty if it had none.

    Raises
    ------
    ValueError
        If there is an L1 penalty, or none.
    """
    penalty = np.array(model.ridge(1.0, 1))
    if model.free_coef is not None or not model.split(penalty)[0].all():
        raise ValueError(
            "Removal is certified for an L2 penalty only: use a finite C without "
            "l1_ratio, or alpha > 0."
        )
    return np.where(penalty > 0.0, penalty, penalty.max()) if every else penalty


def norms_of(model, X):
    """Spectral and Frobenius norm of the rows, with a constant for the intercept.

    The first is exact up to a few thousand columns, and the second one beyond.
    """
    n, k, p = rows.count(X), model.n_outputs, model.n_parameters
    unit = np.broadcast_to(np.eye(k), (n, k, k))
    frobenius = float(np.sqrt(model.diagonal(X, unit).sum()))
    if p > EXPLICIT_LIMIT:
        return frobenius, frobenius
    return float(np.sqrt(linalg.eigvalsh(model.hessian_gram(X, unit))[-1])), frobenius


def largest_shift(epsilon, delta):
    """How far a Gaussian of unit variance may be shifted, and stay indistinguishable.

    The smaller of ``epsilon / sqrt(2 log(1.5 / delta))`` (Guo et al., theorem 3, which
    holds for epsilon up to about 1) and the exact shift r with
    ``Phi(r/2 - epsilon/r) - exp(epsilon) Phi(-r/2 - epsilon/r) = delta`` (B. Balle,
    Y.-X. Wang, "Improving the Gaussian Mechanism for Differential Privacy", ICML 2018,
    theorem 5).
    """
    small = epsilon / np.sqrt(2.0 * np.log(1.5 / delta))

    def excess(r):
        ahead = np.exp(epsilon + log_ndtr(-0.5 * r - epsilon / r))
        return ndtr(0.5 * r - epsilon / r) - ahead - delta

    if excess(small) <= 0.0:
        return float(small)
    # Next to no shift, next to nothing can be told.
    return float(optimize.brentq(excess, 1e-6 * small, small))


def factored(objective, near=None):
    """The objective's Hessian, factored without damping."""
    return factor(curvature_of(objective), "auto", 0.0, near=near)


def optimum_of(objective):
    """The objective at its optimum, and the number of Newton steps there."""
    counted = Counted(factored)
    objective, solver, _ = polish(objective, counted, max_steps=MAX_STEPS)
    for _ in range(LAST_STEPS):
        solver = solver or counted(objective)
        theta, gradient = objective.model.theta, objective.gradient()
        trial = objective.at(theta - solver.solve(gradient).value)
        if not np.linalg.norm(trial.gradient()) < np.linalg.norm(gradient):
            break
        objective, solver = trial, None
    return objective, counted.calls


class Counted:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function = function
        self.calls = 0

    def __call__(self, *args):
        self.calls += 1
        return self.function(*args)
