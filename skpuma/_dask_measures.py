"""Criteria that are measured on rows of a dask collection."""

import numpy as np

from skpuma._dask_objective import DaskObjective
from skpuma._dask_rows import is_dask
from skpuma.criteria import measures_of

# Rows on which criteria are bound to a model and its task.
PROBE = 16


class DaskMeasure:
    """A `Measure` whose rows live in blocks.

    Parameters
    ----------
    measure : Measure
        The same criterion, bound to a few of the rows.
    objective : DaskObjective
        The rows and their weights in the criterion; its penalty plays no part.
    """

    def __init__(self, measure, objective):
        self.name, self.criterion = measure.name, measure.criterion
        self.bounded, self.y = measure.bounded, measure.y
        self._objective = objective
        self._known = (None, None)

    def _sums(self, model):
        theta, sums = self._known
        if theta is not model.theta:
            sums = self._objective.at(model.theta).total(_sums, self.criterion)
            self._known = model.theta, sums
        return sums

    def value(self, model):
        """C at the model's parameters."""
        return float(self.criterion.of_sums(self._sums(model)))

    def gradient(self, model):
        """grad C in theta (p,)."""
        at_model = self._objective.at(model.theta)
        return at_model.total(_pulled, self.criterion, self._sums(model))


def dask_measures(criteria, objective):
    """Bind criteria to the rows of a `DaskObjective`.

    Raises
    ------
    ValueError
        If a criterion is no function of sums over rows.
    """
    part = objective.subset(np.arange(min(PROBE, objective.X.lengths[0])))
    ones = np.ones(len(part.y))
    found = measures_of(criteria, objective.model, part.X, part.y, ones)
    for measure in found:
        if "[" in measure.name or not _adds_up(measure, part):
            raise ValueError(
                f"{measure.name} is not known by sums over blocks of rows, so that it "
                "cannot be measured on a dask collection: pass X_val= and y_val= as "
                "arrays (a few thousand rows measure it well), or use a mean loss or "
                "calibration_error."
            )
    return [DaskMeasure(measure, objective) for measure in found]


def _adds_up(measure, part):
    """Whether a criterion is known by sums, measured on a few rows in two parts."""
    criterion, z, n = measure.criterion, part.raw, len(part.y)
    if not hasattr(criterion, "of_sums"):
        return False
    if hasattr(criterion, "inputs") or n < 2:
        return True
    weight = np.arange(1.0, n + 1.0)
    halves = [
        criterion.sums(z[one], part.y[one], sample_weight=weight[one])
        for one in (slice(0, n // 2), slice(n // 2, n))
    ]
    whole = criterion.value(z, part.y, sample_weight=weight)
    return bool(np.isclose(criterion.of_sums(sum(halves)), whole, rtol=1e-9))


def measured_rows(criteria, model, X_val, y_val, weight_val):
    """(measures, weight of the rows) of validation rows in a dask collection."""
    if X_val is None or y_val is None:
        raise ValueError("X_val and y_val go together: one of them is missing.")
    objective = DaskObjective.of_fit(model, X_val, y_val, weight_val, name="X_val")
    plain = objective.reweighted(objective.given)
    return dask_measures(criteria, plain), objective


def any_dask(*values):
    """Whether one of them is a dask collection."""
    return any(is_dask(value) for value in values)


def _rows(block, criterion):
    inputs = getattr(criterion, "inputs", None)
    X = block.X if inputs is None else inputs(block.model, block.X, block.y)
    return X, block.model.raw(X)


def _sums(block, criterion):
    _, z = _rows(block, criterion)
    return criterion.sums(z, block.y, sample_weight=block.weight)


def _pulled(block, criterion, sums):
    X, z = _rows(block, criterion)
    u = criterion.slopes(sums, z, block.y, sample_weight=block.weight)
    return block.model.vjp(X, u)
