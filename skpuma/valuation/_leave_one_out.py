"""LeaveOneOut: how much the score falls without a row."""

from functools import partial

import numpy as np
from sklearn import config_context
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    TweedieRegressor,
)
from sklearn.utils.parallel import Parallel, delayed

from skpuma import rows, scores
from skpuma._meta import FAR_LIMIT
from skpuma.criteria import SquaredError, measures_of
from skpuma.models import adapt, supports
from skpuma.objective import Objective
from skpuma.refit import fit_estimator, seeded
from skpuma.utils._progress import Interruptible
from skpuma.utils.errors import (
    NotDifferentiableError,
    SolverError,
    StationarityWarning,
    warn,
)
from skpuma.valuation._base import BaseValuation, Part
from skpuma.valuation._utility import Utility

METHODS = ("auto", "closed_form", "warm", "refit")
# Estimators that are at the one optimum of their rows, and nothing else, when fitted.
WARM = (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    TweedieRegressor,
)
CLOSED_FORM = (LinearRegression, Ridge)
SQUARED = (None, "r2", "neg_mean_squared_error")
# Rows of one task, between two of which Ctrl-C keeps what is done.
TASK_ROWS = 16
# Relative length of the last step towards the optimum without a row.
TOLERANCE = 1e-12
MAX_STEPS = 50


class LeaveOneOut(BaseValuation):
    """Score of a fit on all rows minus that of a fit without the row, exactly.

    Parameters
    ----------
    estimator : estimator, default None
        Any classifier or regressor; None means ``LogisticRegression()``.
    scoring : str, callable or None, default None
        A scikit-learn scorer, high is good; None is ``estimator.score`` (accuracy or
        R2). Accuracy changes for a few rows only: "neg_log_loss" tells more.
    method : {"auto", "closed_form", "warm", "refit"}, default "auto"
        "refit": one fit of a clone for every row; right for any estimator, within its
        tolerance, which at scikit-learn's defaults is often coarser than the effect of
        a row. "warm": the optimum without the row to machine precision, by Newton steps
        from that of all rows (Ridge, LogisticRegression and other models that are
        convex; no L1 penalty); preprocessing, class weights and hyperparameters that a
        search chose stay those of all rows. "closed_form": Ridge and LinearRegression
        under "r2" or "neg_mean_squared_error", from their leverage. "auto": the last of
        these that is the same as refits: pipelines, searches and balanced class weights
        are fitted again.
    cv : int, splitter or list of splits, default 5
        Folds that measure the score where there is no ``X_val``.
    n_jobs : int, default None
        Rows in parallel; the values do not depend on it.
    verbose : int, default 0
        Above 0: a progress bar.
    random_state : int, RandomState or None, default None
        Shuffles the rows into folds when `cv` is an int, and draws the seeds of the
        estimator that are open, which all its fits share.

    Attributes
    ----------
    values_ : ndarray (n,)
        In units of the score: the lowest are the rows without which it rises most.
    method_ : {"closed_form", "warm", "refit"}
        How most of the values were computed. Rows that a closed form or Newton steps
        cannot do without (leverage 1, the last row of a class) are left to refits.
    score_ : float
        Score of the fit on all rows; the mean over folds without ``X_val``. Where
        `method_` is "warm", that of the optimum of all rows, which the fit stops short
        of by the estimator's tolerance.
    interrupted_ : bool
        Whether Ctrl-C ended the run early; rows that were not done are nan.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    Where a fit without the row fails, for want of a class or of rows, it is worth what
    a constant predictor of its labels is, as in `DataShapley`.

    References
    ----------
    R. D. Cook, "Detection of Influential Observation in Linear Regression",
    Technometrics 19, 1977 (the closed form).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.valuation import LeaveOneOut
    >>> X, y = load_iris(return_X_y=True)
    >>> y[:2] = 2
    >>> system = LeaveOneOut(scoring="neg_log_loss", random_state=0)
    >>> system = system.fit(scale(X), y)
    >>> sorted(system.values_.argsort()[:2].tolist())
    [0, 1]
    >>> system.method_
    'warm'
    """

    scores_unknown_labels = True

    def __init__(
        self,
        estimator=None,
        scoring=None,
        method="auto",
        *,
        cv=5,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.scoring = scoring
        self.method = method
        self.cv = cv
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def _value(self, X, y, X_val, y_val, rng):
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is not one of {METHODS}.")
        estimator = seeded(self._estimator(), rng)
        utility = Utility(estimator, self.scoring, X, y, X_val, y_val)
        # An estimator or a scorer that does not work fails here, before any row.
        state = {"method": "refit", "score": utility.full}
        values, interrupted = np.full(len(y), np.nan), False
        optimum = self._optimum(utility)
        if optimum is not None and self._has_closed_form(utility, optimum[0]):
            state["method"] = "closed_form"
            values = _closed_form(utility, *optimum)
        elif optimum is not None:
            state["method"] = "warm"
            model = optimum[0].model
            state["score"] = _score_at(utility, model)
            removable = scores.keeps_classes(optimum[0], np.arange(len(y))[:, None])
            task = partial(_warm, utility, *optimum)
            interrupted = self._fill(values, np.flatnonzero(removable), task)
            values = state["score"] - values
        if not interrupted:
            without = np.full(len(y), np.nan)
            left = np.flatnonzero(np.isnan(values))
            interrupted = self._fill(without, left, partial(_refits, utility))
            values[left] = utility.full - without[left]
        return Part(values, state=state, interrupted=interrupted)

    def _keep(self, parts, trains):
        self.method_ = parts[0].state["method"]
        self.score_ = float(np.mean([part.state["score"] for part in parts]))

    def _fill(self, values, index, task):
        """Set ``values[index]`` by tasks of a few rows; whether Ctrl-C ended them."""
        tasks = [index[i : i + TASK_ROWS] for i in range(0, len(index), TASK_ROWS)]
        done = Interruptible(
            Parallel(n_jobs=self.n_jobs, return_as="generator")(
                delayed(task)(part) for part in tasks
            ),
            total=len(tasks),
            verbose=self.verbose,
            title=f"blocks of {TASK_ROWS} rows",
        )
        for part, found in zip(tasks, done, strict=False):
            values[part] = found
        return done.interrupted

    def _optimum(self, utility):
        """(objective, solver) at the optimum of all rows, or None for refits.

        Raises
        ------
        ValueError
            If the method was asked for and does not fit the estimator.
        """
        if self.method == "refit":
            return None
        if self.method == "auto" and not _same_as_refits(utility.estimator):
            return None
        try:
            return _optimum(utility)
        except NotDifferentiableError as error:
            if self.method == "auto":
                return None
            raise ValueError(
                f"method={self.method!r} does not fit the estimator: {error} Use "
                "method='refit'."
            ) from error

    def _has_closed_form(self, utility, objective):
        """Whether the score without every row is known from the leverages.

        Raises
        ------
        ValueError
            If the closed form was asked for and there is none.
        """
        if self.method == "warm":
            return False
        model = objective.model
        # Targets that a frame transforms are scored before they were.
        plain = isinstance(model.estimator, CLOSED_FORM) and model.n_outputs == 1
        plain = plain and np.array_equal(_column(model, utility.y_val), utility.y_val)
        scored = self.scoring is None or self.scoring in SQUARED
        varies = np.ptp(utility.y_val) > 0 if plain else False
        if plain and scored and varies:
            return True
        if self.method == "closed_form":
            raise ValueError(
                "method='closed_form' is for Ridge and LinearRegression of one target "
                f"that varies, under scoring 'r2' or '{SQUARED[2]}': use "
                "method='warm' or 'refit'."
            )
        return False


def _same_as_refits(estimator):
    """Whether the optimum with frozen class weights is what a refit finds."""
    weighted = getattr(estimator, "class_weight", None) == "balanced"
    return type(estimator) in WARM and not weighted


def _optimum(utility):
    """(objective, solver) at the optimum of all rows.

    Raises
    ------
    NotDifferentiableError
        If the estimator is not supported, or has no single finite optimum.
    """
    estimator = utility.estimator
    supported, reason = supports(estimator)
    if not supported:
        raise NotDifferentiableError(reason)
    model = adapt(fit_estimator(estimator, utility.X, utility.y))
    if not model.convex or getattr(model, "free_coef", None) is not None:
        raise NotDifferentiableError(
            f"{type(model.estimator).__name__} is not at the optimum of a smooth, "
            "convex objective."
        )
    fit = model.inputs(utility.X), model.targets(utility.y)
    objective = Objective.at_fit(model, *fit, np.ones(len(utility.y)))
    try:
        solver = scores.newton_factor(objective)
        distance = scores.stationarity(objective, solver).value
        objective, _, converged = scores.polish(objective, solver=solver)
        solver = scores.newton_factor(objective)
    except SolverError as error:
        raise NotDifferentiableError(str(error)) from error
    if not converged or solver.damping > 0.0:
        raise NotDifferentiableError(
            "Its training objective has no single, finite optimum: collinear columns "
            "or separable classes without a penalty."
        )
    _warn_if_far(distance)
    return objective, solver


def _warn_if_far(distance):
    """Say that the user's fit is another model than the one that is valued."""
    if distance > FAR_LIMIT:
        warn(
            f"The fitted model is {distance:.0f} one-row displacements away from "
            "the optimum of its training objective: its solver stopped early. The "
            "values and score_ are those of the optimum. Fit with a smaller tol or "
            "more iterations, or use method='refit' for the fits as they are.",
            StationarityWarning,
        )


def _column(model, y):
    return model.targets(y)[:, 0]


# -- scores without a row --------------------------------------------------------------


def _closed_form(utility, objective, solver):
    """Values for a squared loss (n,); nan where the leverage is 1."""
    model = objective.model
    y_val = _column(model, utility.y_val)
    measured = model.inputs(utility.X_val), y_val[:, None], np.ones(len(y_val))
    measures = measures_of(SquaredError(), model, *measured)
    values = scores.one_step_effects(objective, solver, measures)[0][:, 0]
    # R2 is 1 minus the mean squared error in units of the variance.
    return values if utility.scoring == SQUARED[2] else values / np.var(y_val)


def _warm(utility, objective, solver, index):
    """Scores at the optima without each row of `index`; nan where there is none."""
    out = np.full(len(index), np.nan)
    for position, row in enumerate(index):
        with rows.one_blas_thread():
            theta = optimum_without(objective, solver, row)
        if theta is not None:
            score = _score_at(utility, objective.model.at(theta))
            out[position] = score if np.isfinite(score) else np.nan
    return out


def optimum_without(objective, solver, row):
    """Parameters at the optimum without a row, from the optimum of all rows.

    Parameters
    ----------
    objective : Objective
        Convex, at its optimum.
    solver : BaseSolver
        Its curvature. Every step takes the gradient without the row and this curvature,
        which is wrong by the row's share in it: the error of a step shrinks by about
        the row's leverage. Where that is slow, the curvature is taken anew.
    row : int

    Returns
    -------
    ndarray (p,), or None
        None if Newton steps find no optimum.
    """
    weight = objective.weight.copy()
    weight[row] = 0.0
    without = objective.reweighted(weight)
    theta, last = objective.model.theta, np.inf
    for _ in range(MAX_STEPS):
        step = solver.solve(without.at(theta).gradient()).value
        size = np.linalg.norm(step)
        if size > 0.5 * last:
            break
        theta, last = theta - step, size
        if size <= TOLERANCE * np.linalg.norm(theta):
            return theta
    try:
        found, _, converged = scores.polish(without)
    except SolverError:
        return None
    return found.model.theta if converged else None


def _score_at(utility, model):
    fitted = model.with_theta(model.theta)
    # The rows were checked when all of them were fitted.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return float(utility.scorer(fitted, utility.X_val, utility.y_val))


def _refits(utility, index):
    """Scores of fits without each row of `index`."""
    everything = np.arange(len(utility.y))
    return np.array([utility(np.delete(everything, row)) for row in index])
