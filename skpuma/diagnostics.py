"""Leverage, Cook's distance and DFBETAS: what statisticians ask of a row.

Definitions are those of statsmodels and R for generalised linear models; a penalty
enters the curvature, and the number of parameters is then an effective one. With L_i
the expected second derivative of the loss in z, which is the observed one where the
link is canonical:

- leverage ``h_i = (w_i / W) L_i J_i H^-1 J_i.T``, whose sum is p, the number of
  (effective) parameters;
- Pearson residual ``e_i = -r_i / sqrt(L_i)``, studentised to
  ``e_i sqrt(w_i) / sqrt(scale (1 - h_i))``;
- Cook's distance: the squared studentised residual times ``h_i / (p (1 - h_i))``;
- DFBETAS: the change of a parameter when the row joins, in one step, in units of its
  standard error; for a squared loss the one without the row, as for linear regression.
"""

from dataclasses import dataclass, replace

import numpy as np

from skpuma import scores
from skpuma.curvature import curvature_of
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.losses._tweedie import TweedieLoss
from skpuma.solvers import factor
from skpuma.utils.errors import NotDifferentiableError

FAMILIES = (SquaredLoss, BinaryLogLoss, TweedieLoss)


@dataclass(frozen=True)
class Diagnostics:
    """Influence measures of the rows of a fit, in closed form.

    Attributes
    ----------
    leverage : ndarray (n,)
        h_i, in [0, 1]; 0 for a row without weight.
    residual : ndarray (n,)
        Pearson residuals, (internally) studentised; positive where y is above its mean.
    cooks_distance : ndarray (n,)
    dfbetas : ndarray (n, p)
        In the order of theta: coefficients, then the intercept. Positive where the row
        raises the parameter.
    scale : float
        Dispersion: 1 for Bernoulli and Poisson, else Pearson's estimate.
    n_effective : float
        Sum of the leverages: the number of parameters if there is no penalty.

    Notes
    -----
    Where h_i is 1 the fit follows the row wherever it goes, and the other measures are
    nan.
    """

    leverage: np.ndarray
    residual: np.ndarray
    cooks_distance: np.ndarray
    dfbetas: np.ndarray
    scale: float
    n_effective: float


def diagnostics(objective, solver="auto"):
    """Compute `Diagnostics` at an optimum.

    Parameters
    ----------
    objective : Objective
        Of a linear model with one output, at its optimum. Weights are analytic: a row
        of weight w is one row whose variance is 1 / w of that of the others.
    solver : str
        An explicit one, as in `skpuma.solvers.factor`.

    Returns
    -------
    Diagnostics

    Raises
    ------
    NotDifferentiableError
        If the model is not linear, has several outputs, or its loss is not that of a
        normal, Bernoulli, Poisson, gamma or Tweedie variable.
    """
    model, loss = objective.model, objective.model.loss
    if not (model.convex and model.n_outputs == 1 and isinstance(loss, FAMILIES)):
        raise NotDifferentiableError(
            "Cook's distance and DFBETAS are defined for linear regression, Ridge, "
            "binary LogisticRegression and Poisson, gamma and Tweedie regression with "
            f"one output; this is {type(model.estimator).__name__} with "
            f"{model.n_outputs} outputs and {loss!r}. Use leverage and psi instead."
        )
    expected = expected_objective(objective)
    factored = factor(curvature_of(expected), solver, "auto")
    curvature = loss.hessian(objective.raw, expected.y)[:, 0, 0]
    r, w = objective.residual[:, 0], objective.weight / objective.total_weight
    h, moved = np.empty(len(r)), np.empty((len(r), model.n_parameters))
    for block, _, solved, A in scores.leverage_blocks(expected, factored):
        h[block] = w[block] * curvature[block] * A[:, 0, 0]
        moved[block] = (w * r)[block, None] * solved[:, 0]
    n_effective = float(h.sum())
    left = 1.0 - h
    left[left < scores.UNREMOVABLE] = np.nan
    moved /= -left[:, None]
    if model.kind != "sum":
        share = factored.solve(objective.penalty_share).value
        moved -= (w * objective.penalty_rate)[:, None] * share
    pearson = -r * np.sqrt(objective.weight / np.maximum(curvature, 1e-300))
    degrees = np.count_nonzero(objective.weight > 0) - n_effective
    known = isinstance(loss, BinaryLogLoss) or getattr(loss, "power", None) == 1.0
    scale = 1.0 if known else float(pearson @ pearson) / degrees
    residual = pearson / np.sqrt(scale * left)
    unit = np.diag(factored.solve(np.eye(model.n_parameters)).value)
    unit = np.sqrt(unit / objective.total_weight)
    spread = np.full(len(r), scale)
    if isinstance(loss, SquaredLoss):
        spread = (scale * degrees - pearson**2 / left) / (degrees - 1.0)
    return Diagnostics(
        leverage=h,
        residual=residual,
        cooks_distance=residual**2 * h / (left * n_effective),
        dfbetas=moved / (np.sqrt(spread)[:, None] * unit),
        scale=scale,
        n_effective=n_effective,
    )


def expected_objective(objective):
    """The objective whose Hessian is the expected one: targets at their means."""
    loss = objective.model.loss
    if loss.classification:
        return objective
    return replace(objective, y=loss.predict(objective.raw))
