"""Shadow models: fits of the same estimator on known halves of known rows."""

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skpuma import refit, rows
from skpuma.utils._progress import Interruptible


def halves(n_shadows, strata, rng):
    """Which rows each shadow model is trained on (n_shadows, n).

    Two models in turn share the rows between them, so that every row is in half of an
    even number of models; within each half the strata keep their shares.

    Parameters
    ----------
    n_shadows : int
    strata : ndarray of int (n,)
    rng : RandomState
    """
    n = len(strata)
    inside = np.empty((n_shadows, n), dtype=bool)
    for first in range(0, n_shadows, 2):
        order = np.lexsort((rng.random_sample(n), strata))
        half = np.empty(n, dtype=bool)
        half[order] = (np.arange(n) + rng.randint(2)) % 2 == 0
        inside[first] = half
        inside[first + 1 : first + 2] = ~half
    return inside


def check_strata(strata, n_shadows):
    """Refuse rows of which one half would have a single class.

    Raises
    ------
    ValueError
    """
    shared = np.bincount(strata) >= 2
    if len(strata) < 4 or (strata.any() and shared.sum() < 2):
        raise ValueError(
            f"{n_shadows} shadow models are trained on halves of {len(strata)} rows, "
            "and these are too few: each half needs rows of two classes. Use "
            "method='loss'."
        )


def shadow_outputs(shadow, table, inside, query, output, rng, n_jobs, verbose):
    """Outputs of the shadow models on the rows of a query.

    Parameters
    ----------
    shadow : estimator, not fitted
    table : (X, y)
        The rows that halves are taken of.
    inside : ndarray of bool (m, n)
    query : (X, y)
    output : callable
        (fitted estimator, X, y) -> array; a function of a module.
    rng : RandomState

    Returns
    -------
    list of array
        Shorter than m if the run was interrupted.
    """
    seeds = rng.randint(refit.LARGEST_SEED, size=len(inside))
    fits = Interruptible(
        Parallel(n_jobs=n_jobs, return_as="generator")(
            delayed(_one)(shadow, table, np.flatnonzero(used), query, output, seed)
            for used, seed in zip(inside, seeds, strict=True)
        ),
        total=len(inside),
        verbose=verbose,
        title="shadow models",
    )
    return list(fits)


def _one(shadow, table, used, query, output, seed):
    X, y = table
    estimator = refit.seeded(shadow, check_random_state(seed))
    return output(estimator.fit(rows.take_user(X, used), y[used]), *query)
