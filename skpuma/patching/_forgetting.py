"""How well a model still knows the marked rows."""

import numpy as np


def forgotten(objective, removed, theta):
    """How well the model still knows the marked rows.

    Classifiers: the mean predicted probability of their labels. Regressors: their mean
    squared error relative to that of the other rows.
    """
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
