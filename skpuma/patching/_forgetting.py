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
    rest = objective.at(theta).subset(~removed)
    error = [
        np.average(
            np.square(loss.predict(part.raw) - part.y).sum(axis=1), weights=part_weight
        )
        for part, part_weight in ((marked, weight), (rest, rest.weight))
    ]
    return float(error[0] / max(error[1], np.finfo(float).tiny))
