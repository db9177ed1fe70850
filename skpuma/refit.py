"""The one place that fits estimators: first fits, folds, and refits without rows.

"Refit" always means: same class and penalty, same frozen preprocessing, same class
weights. A refit is the referee of influence, so it is solved tightly where the
estimator allows it.
"""

import numpy as np
from scipy import optimize
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skpuma import rows
from skpuma.curvature import curvature_of
from skpuma.models import adapt, frame_of, innermost

LARGEST_SEED = 2**31 - 1


def base_of(estimator):
    """The estimator, or LogisticRegression() for None."""
    return LogisticRegression() if estimator is None else estimator


def is_frozen(estimator):
    """Whether `estimator` is handed over fitted and must not be fitted again."""
    return isinstance(estimator, FrozenEstimator)


def weight_parameter(estimator):
    """Name under which ``fit`` takes sample weights when routing is off."""
    names = []
    while (frame := frame_of(estimator)) is not None:
        names.append(frame.step(estimator))
        estimator = frame.inside(estimator)
    return "__".join([name for name in names if name] + ["sample_weight"])


def fit_estimator(estimator, X, y, sample_weight=None, fit_params=None):
    """Fit a clone; a frozen estimator is handed back as it is.

    Parameters
    ----------
    fit_params : dict, optional
        Routed parameters that replace `sample_weight` (metadata routing enabled).
    """
    if is_frozen(estimator):
        return estimator.estimator
    if fit_params is None:
        fit_params = {}
        if sample_weight is not None:
            fit_params[weight_parameter(estimator)] = sample_weight
    return clone(estimator).fit(X, y, **fit_params)


def epochs_of(estimator):
    """Passes over the rows of the last fit: ``n_iter_``, or 1 where there is none."""
    n_iter = getattr(innermost(estimator), "n_iter_", None)
    return 1.0 if n_iter is None else float(np.max(n_iter))


def refuse_frozen(estimator, why):
    """Refuse a fitted estimator where the system has to fit clones of it.

    Raises
    ------
    ValueError
    """
    if is_frozen(estimator):
        raise ValueError(
            f"A FrozenEstimator is not fitted again, and {why}: pass the estimator "
            "itself."
        )


def seeded(estimator, rng):
    """A clone whose open seeds are drawn, so that all fits of clones of it share them.

    Parameters
    ----------
    estimator : estimator
        Every ``random_state`` of it, and of what is in it, that is None is drawn. A
        frozen estimator is handed back as it is.
    rng : RandomState
    """
    if is_frozen(estimator):
        return estimator
    estimator = clone(estimator)
    open_seeds = {
        name: rng.randint(LARGEST_SEED)
        for name, value in sorted(estimator.get_params().items(), key=lambda p: p[0])
        if value is None and name.split("__")[-1] == "random_state"
    }
    return estimator.set_params(**open_seeds)


def refit(objective, keep=None):
    """Fit the model's last step again under the objective's weights.

    Parameters
    ----------
    objective : Objective
    keep : ndarray of bool (n,), optional
        Rows to train on; default all with a positive weight.

    Returns
    -------
    BaseModel
        The refitted model, with the same preprocessing frames.
    """
    model = objective.model
    used = objective.weight > 0
    if keep is not None:
        used &= keep
    y = objective.y if model.classes is None else model.classes[objective.y]
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    estimator = model.referee()
    if estimator is None:
        return _minimised(objective.reweighted(np.where(used, objective.weight, 0.0)))
    weight = objective.weight[used]
    # Estimators that average over rows see weights relative to 1.
    fitted = estimator.fit(rows.take(objective.X, used), y[used], sample_weight=weight)
    again = adapt(fitted)
    again.frames = model.frames
    return again


def _minimised(objective):
    """The model at the optimum of a convex objective, by scipy.

    For estimators whose own solver cannot be made tight.
    """
    start = np.zeros(objective.model.n_parameters)
    if not np.isfinite(objective.at(start).value()):
        start = objective.model.theta
    # A trial step may overflow; it is then rejected.
    with np.errstate(all="ignore"):
        found = optimize.minimize(
            lambda theta: objective.at(theta).value(),
            start,
            jac=lambda theta: objective.at(theta).gradient(),
            hessp=lambda theta, v: curvature_of(objective.at(theta)) @ v,
            method="trust-krylov",
            options={"gtol": 1e-11, "maxiter": 1000},
        )
    return objective.model.at(found.x)


def removal_effects(objective, measures, index):
    """Change of every measure when a row goes, by one refit per row.

    Parameters
    ----------
    objective : Objective
    measures : list of Measure
    index : array of int
        Positions of the rows to remove, one at a time.

    Returns
    -------
    ndarray (len(index), m)
    """
    base = refit(objective)
    before = np.array([measure.value(base) for measure in measures])
    out = np.empty((len(index), len(measures)))
    for position, row in enumerate(index):
        keep = np.ones(len(objective.weight), dtype=bool)
        keep[row] = False
        model = refit(objective, keep)
        out[position] = [measure.value(model) for measure in measures]
    return out - before
