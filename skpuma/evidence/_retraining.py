"""Models that are trained again without rows: same penalty, frozen preprocessing."""

import numpy as np
from sklearn.base import clone

from skpuma import refit, rows
from skpuma.models import adapt

# Multiplications that retrain="auto" spends on a Newton step of a convex model, and
# parameters times rows that it spends on an epoch of another one: about a minute each.
CONVEX_WORK = 1e10
EPOCH_WORK = 1e8


def is_cheap(objective):
    """Whether ``retrain="auto"`` retrains.

    Rows times squared parameters up to 1e10 for convex models (a Newton step), rows
    times parameters up to 1e8 for others (an epoch).
    """
    n, p = len(objective.weight), objective.model.n_parameters
    if objective.model.convex:
        return n * p * p <= CONVEX_WORK
    return n * p <= EPOCH_WORK


def retrained(objective, gone, rng, other_seed=False):
    """A fitted estimator that was trained without rows.

    A convex model is solved tightly; any other one is fitted from scratch, as a warm
    start would still remember the rows.

    Parameters
    ----------
    objective : Objective
        Of the fit, at any parameters.
    gone : ndarray of bool (n,)
    rng : RandomState
        For seeds that the estimator leaves open.
    other_seed : bool
        Whether to replace the estimator's own seeds too.
    """
    model = objective.model
    if model.convex:
        again = refit.refit(objective, ~gone)
    else:
        again = adapt(_from_scratch(objective, ~gone, rng, other_seed))
        again.frames = model.frames
    return again.with_theta(again.theta)


def _from_scratch(objective, kept, rng, other_seed):
    model = objective.model
    estimator = clone(model.estimator)
    if other_seed:
        seeds = [
            p for p in estimator.get_params() if p.split("__")[-1] == "random_state"
        ]
        estimator.set_params(**dict.fromkeys(seeds))
    used = kept & (objective.weight > 0)
    y = objective.y if model.classes is None else model.classes[objective.y]
    y = y[used, 0] if y.ndim == 2 and y.shape[1] == 1 else y[used]
    weight = objective.weight[used]
    weight = None if np.ptp(weight) == 0 and weight[0] == 1.0 else weight
    fitted = refit.seeded(estimator, rng)
    return refit.fit_estimator(fitted, rows.take(objective.X, used), y, weight)
