"""Single removals from a linear model in their order, corrected where a bound asks."""

from dataclasses import replace

import numpy as np
from scipy import sparse

from skpuma import rows
from skpuma.models import adapt
from skpuma.objective import Objective
from skpuma.scores import newton_factor, polish
from skpuma.unlearning._downdating import FEWEST, Removal
from skpuma.unlearning._perturbed import Counted
from skpuma.utils._validation import is_mask, labels_of
from skpuma.utils.errors import SolverError

MAX_CORRECTIONS = 10
# A correction aims at this share of its tolerance, and leaves the rest to requests.
AIM = 0.1


class Requests:
    """Single removals from a fitted system in their order, which stays as it is.

    Iterating yields the parameters (c, p) after each of a few requests, until all are
    done.

    Attributes
    ----------
    model : LinearModel
    removal : Removal
        State after the requests that are done.
    done : int
    kept : ndarray of bool (n,)
    bounds : list of ndarray
        On the distance from the refit, after each request.
    cost : float
    n_corrections : int
    """

    def __init__(self, system, X, y, order):
        self.model = adapt(system.estimator_)
        self.removal = system._removal
        self.kept = ~system.forgotten_
        self.bounds, self.cost = [], 0.0
        self.done = self.n_corrections = 0
        self._X = X.tocsr() if sparse.issparse(X) else X
        self._y, self._order = y, order
        self._record, self._ahead = system._record, FEWEST
        self._tol, self._tol_between = system.tol, system.tol_between

    def __iter__(self):
        while self.done < len(self._order):
            removal = self.removal.refreshed()
            size = min(self._ahead, removal.room)
            part = self._order[self.done : self.done + size]
            model = self.model.at(removal.centre.theta)
            leaving = self._objective(model, part, removal.scale)
            removal, steps, distances = removal.without(leaving, self._tol_between)
            thetas = removal.centre.moved(steps)
            # Where few go through, what is worked out for the others is wasted.
            self._ahead = 2 * len(steps) + 1
            if not len(steps):
                # Little would be left of the old curvature in some direction.
                share = leaving.weight[0] / leaving.total_weight
                lost = float(share * leaving.penalty_rate[0])
                removal = replace(removal, scale=removal.scale - lost, distance=np.inf)
                thetas, distances = removal.theta[None], np.array([np.inf])
            part = part[: len(thetas)]
            self.kept[part] = False
            self.done += len(part)
            self.cost += len(part)
            last = self.done == len(self._order)
            limit = self._tol if last else self._tol_between
            if removal.distance > limit:
                removal = self._correct(removal, limit)
                thetas[-1], distances[-1] = removal.theta, removal.distance
            self.removal = removal
            self.bounds.append(distances)
            yield thetas

    def _objective(self, model, index, scale):
        """That of some rows, under the weights of the fit."""
        X, y = rows.take_user(self._X, index), self._y[index]
        X, y = model.inputs(X), model.targets(y)
        objective = Objective.at_fit(model, X, y, np.ones(len(y)), self._record)
        return replace(objective, scale=scale)

    def _correct(self, removal, limit):
        model = self.model.at(removal.theta)
        objective = self._objective(model, self.kept, removal.scale)
        removal, passes = corrected(objective, limit)
        self.n_corrections += passes
        self.cost += passes * np.count_nonzero(self.kept)
        return removal


def corrected(objective, tolerance):
    """Newton steps until the bound is well below a tolerance.

    Returns
    -------
    removal : Removal
    passes : int
        Hessians that it took.

    Raises
    ------
    ValueError
        If there is no single optimum.
    """
    factored, searched, before = Counted(Removal.at), Counted(newton_factor), np.inf
    try:
        removal = factored(objective)
        while factored.calls < MAX_CORRECTIONS and removal.distance > AIM * tolerance:
            if before < np.inf and not removal.distance < before:
                break  # by rounding
            if removal.near:
                objective = objective.at(removal.theta)
                before = removal.distance
            elif searched.calls:
                break
            else:
                objective, _, converged = polish(objective, searched)
                if not converged:
                    raise SolverError("Newton steps did not reach a finite optimum.")
            removal = factored(objective)
    except SolverError as error:
        raise ValueError(
            "The rows that are left do not determine one model: classes that the "
            "features separate, fewer rows than parameters, or columns that depend on "
            f"each other, without a penalty. Use a penalised model. ({error})"
        ) from error
    return removal, factored.calls + searched.calls


def in_order(selection, X, gone):
    """Positions of the rows that are to go, in the order that they were named in."""
    values = np.atleast_1d(np.asarray(selection))
    if is_mask(values) or not gone.any():
        return np.flatnonzero(gone)
    index = labels_of(X)
    if index is not None:
        # Integers that are not labels have been refused beside such an index.
        named = hasattr(selection, "get_indexer") or values.dtype.kind not in "iu"
        values = index.get_indexer(values) if named else values
    return values[gone[values]]
