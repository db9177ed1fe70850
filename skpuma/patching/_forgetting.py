"""How well a model still knows the marked rows."""

import numpy as np


def forgotten(objective, removed, theta):
    """How well the model still knows the marked rows.

    Classifiers: the mean predicted probability of their labels. Regressors: their mean
    squared error relative to that of the other rows.
    """
    if objective.partitioned:
        return _forgotten_in_blocks(objective.at(theta), removed)
    marked = objective.at(theta).subset(removed)
    weight = marked.weight
    if not weight.sum() > 0:
        weight = np.ones_like(weight)
    loss = objective.model.loss
    if loss.classification:
        p = loss.predict(marked.raw)
        return float(np.average(p[np.arange(len(p)), marked.y], weights=weight))
    moved = objective.at(theta)
    square = np.square(loss.predict(moved.raw) - moved.y).sum(axis=1)
    error = [
        np.average(square[removed], weights=weight),
        np.average(square[~removed], weights=objective.weight[~removed]),
    ]
    return float(error[0] / max(error[1], np.finfo(float).tiny))


def _forgotten_in_blocks(moved, removed):
    """`forgotten` by sums over blocks; the marked rows have weight there."""
    weight = moved.weight
    marked = moved.reweighted(np.where(removed, weight, 0.0)).total(_remembered)
    if moved.model.loss.classification:
        return float(marked[0] / marked[1])
    others = moved.reweighted(np.where(removed, 0.0, weight)).total(_remembered)
    error = marked[0] / marked[1], others[0] / others[1]
    return float(error[0] / max(error[1], np.finfo(float).tiny))


def _remembered(objective):
    """Weighted sum of what is forgotten, and the weight."""
    predicted = objective.model.loss.predict(objective.raw)
    if objective.model.loss.classification:
        known = predicted[np.arange(len(predicted)), objective.y]
    else:
        known = np.square(predicted - objective.y).sum(axis=1)
    return objective.weight @ known, objective.weight.sum()
