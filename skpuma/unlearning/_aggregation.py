"""How the models of the shards are put together: votes, probabilities and means."""

import numpy as np

WEIGHTS = ("uniform", "size")


def shard_weights(weights, sizes):
    """Weights of the shards' models (S,): their rows, or 1; 0 for a shard without.

    Parameters
    ----------
    weights : {"uniform", "size"}
    sizes : ndarray of int (S,)
        Rows that every shard has left.
    """
    return sizes.astype(float) if weights == "size" else (sizes > 0).astype(float)


def shares(outputs, models, weight, X, classes):
    """Weighted mean of what the models give to every class.

    A model has columns for the classes of its own rows only: they are matched by label,
    and it gives 0 to the classes that it does not know.

    Parameters
    ----------
    outputs : callable
        ``outputs(model, X)`` is an array (n, number of ``model.classes_``).
    models : list of fitted classifiers, or None
    weight : ndarray (S,)
        Models with weight 0 are not asked.
    classes : ndarray (k,)
        Sorted labels.

    Returns
    -------
    ndarray (n, k)
    """
    total = np.zeros((X.shape[0], len(classes)))
    for model, share in zip(models, weight, strict=True):
        if share:
            columns = np.searchsorted(classes, model.classes_)
            total[:, columns] += share * outputs(model, X)
    return total / weight.sum()


def votes(model, X):
    """One-hot predictions, columns as ``model.classes_``."""
    return (model.predict(X)[:, None] == model.classes_).astype(float)


def probabilities(model, X):
    """Predicted probabilities, columns as ``model.classes_``."""
    return model.predict_proba(X)


def mean(models, weight, X):
    """Weighted mean of the models' predictions, (n,) or (n, k)."""
    parts = (
        share * model.predict(X)
        for model, share in zip(models, weight, strict=True)
        if share
    )
    return sum(parts) / weight.sum()
