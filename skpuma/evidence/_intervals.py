"""Criteria and scores of several models on the same rows, with paired intervals.

Rows get random weights, independent exponential ones times their own (the Bayesian
bootstrap), under which a class or group of few rows never vanishes.

References
----------
D. B. Rubin, "The Bayesian Bootstrap", The Annals of Statistics 9(1), 1981.
"""

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import r2_score

from skpuma.criteria import measures_of
from skpuma.evidence import _outputs


def interval(value, draws, level):
    """[value, low, high] from resampled values."""
    tails = [0.5 * (1.0 - level), 0.5 * (1.0 + level)]
    return [float(value), *np.quantile(draws, tails).tolist()]


def compared(functions, weight, rng, n_bootstrap, level):
    """Values of functions of the weights for several models, and their changes.

    Parameters
    ----------
    functions : dict of name -> dict of model -> callable
        Each is a function of the weights (n,) of the rows.
    weight : ndarray (n,)

    Returns
    -------
    list of dict
        ``name``, and [value, low, high] for every model; with models "before" and
        "after" also for "change", the second minus the first under the same weights.
    """
    each = [(name, model) for name, models in functions.items() for model in models]
    table = np.empty((n_bootstrap + 1, len(each)))
    for b in range(n_bootstrap + 1):
        factor = rng.exponential(size=len(weight)) if b else 1.0
        table[b] = [functions[name][model](weight * factor) for name, model in each]
    columns = dict(zip(each, table.T, strict=True))
    lines = []
    for name, models in functions.items():
        own = {model: columns[name, model] for model in models}
        if {"before", "after"} <= set(own):
            own["change"] = own["after"] - own["before"]
        intervals = {key: interval(v[0], v[1:], level) for key, v in own.items()}
        lines.append({"name": name, **intervals})
    return lines


def criterion_functions(criterion, models, measured):
    """name -> model -> function of the weights, of criteria on rows that measure them.

    Parameters
    ----------
    criterion : as in `PumaPatcher`
    models : dict of name -> BaseModel
    measured : (X, y, weight, groups)
        Prepared and coded, all of positive weight.
    """
    X, y, _, groups = measured
    # Bound to their own positions as weights, measures say which rows are theirs.
    places = np.arange(1.0, len(y) + 1.0)
    found = {}
    for key, model in models.items():
        for measure in measures_of(criterion, model, X, y, places, groups):
            found.setdefault(measure.name, {})[key] = _of_weights(measure, model)
    return found


def _of_weights(measure, model):
    criterion = measure.criterion
    inputs = getattr(criterion, "inputs", None)
    z = model.raw(measure.X if inputs is None else inputs(model, measure.X, measure.y))
    mine = measure.weight.astype(int) - 1

    def value(weight):
        return float(
            criterion.value(
                z, measure.y, sample_weight=weight[mine], groups=measure.groups
            )
        )

    return value


def score_functions(estimators, X, y):
    """name -> model -> function of the weights: accuracy or R2, and the mean loss."""
    found = {}
    for key, estimator in estimators.items():
        losses = _outputs.row_losses(estimator, X, y)
        predicted = estimator.predict(X)
        if is_classifier(estimator):
            name, score = "accuracy", _mean((predicted == y).astype(float))
        else:
            name, score = "r2", _r2(y, predicted)
        found.setdefault(name, {})[key] = score
        name = f"mean {_outputs.loss_name(estimator)}"
        found.setdefault(name, {})[key] = _mean(losses)
    return found


def _mean(values):
    return lambda weight: float(np.average(values, weights=weight))


def _r2(y, predicted):
    return lambda weight: float(r2_score(y, predicted, sample_weight=weight))
