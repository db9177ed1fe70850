"""How far a model is from one that was trained without the rows."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_consistent_length

from skpuma import rows
from skpuma.evidence import _outputs
from skpuma.metrics import PredictionGap, prediction_gap
from skpuma.models import LinearModel, adapt, supports
from skpuma.objective import Objective
from skpuma.utils._validation import check_same_order, check_weights, rows_of


def retrain_gap(
    model,
    retrained,
    X,
    y,
    forgotten,
    X_test=None,
    y_test=None,
    *,
    original=None,
    again=None,
    sample_weight=None,
):
    """How far a model that forgot rows is from one that was trained without them.

    Parameters
    ----------
    model, retrained : estimator
        Fitted: the model that was made to forget, and one trained without the rows.
    X, y : array-like or DataFrame (n, d) and (n,)
        Rows of the fit.
    forgotten : bool mask, positions, or labels of X's index
        Rows that were forgotten.
    X_test, y_test : optional
        Fresh rows: a third set to compare predictions on, and the yardstick of the loss
        of the forgotten ones.
    original : estimator, optional
        The model before: the length that distances are measured in.
    again : estimator, optional
        Another retraining, from another seed. How far two retrainings are apart is the
        noise floor below which no distance means anything; a network has one, a convex
        model has none.
    sample_weight : array-like (n,), optional
        Weights of the fit, for the gradient.

    Returns
    -------
    DataFrame
        A line per quantity; columns ``original`` (if given), ``model``, ``retrained``
        and ``again`` (if given):

        - *parameter distance*: of each to the retrained one, ``||theta - theta_r||``;
          *relative parameter distance*: the same over that of `original`: 1 is nothing
          done, 0 is the retrained model;
        - *disagreement* and *kl* (nats, divergence from the retrained model), or *rms*
          for a regression, on the retained, forgotten and test rows;
        - *gradient norm on the retained rows*: ``||grad J||`` of the training objective
          without the forgotten rows, under the weights of the fit; 0 is its optimum;
        - mean loss (log-loss, negative margin or squared error) of the forgotten and of
          the test rows, and *forgotten - test*.

        nan where a model has no such thing: parameters of the same shape, a supported
        objective, probabilities.

    Raises
    ------
    ValueError, TypeError, IndexError, KeyError
        For rows that do not fit together, or if nothing is forgotten or retained.

    References
    ----------
    A. Thudi, G. Deza, V. Chandrasekaran, N. Papernot, "Unrolling SGD: Understanding
    Factors Influencing Machine Unlearning", EuroS&P 2022 (verification error).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpuma.evidence import retrain_gap
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> retrained = LogisticRegression(max_iter=1000).fit(X[10:], y[10:])
    >>> gap = retrain_gap(model, retrained, X, y, range(10), original=model)
    >>> gap.loc["relative parameter distance", ["model", "retrained"]].tolist()
    [1.0, 0.0]
    """
    import pandas as pd

    models = {"model": model, "retrained": retrained}
    if original is not None:
        models = {"original": original, **models}
    if again is not None:
        models["again"] = again
    y = _checked_targets(X, y, "y")
    _outputs.refuse_multilabel(model, y)
    gone = rows_of(forgotten, len(y), X, "forgotten")
    if not gone.any() or gone.all():
        raise ValueError(
            f"{gone.sum()} of {len(y)} rows are forgotten: a gap is between forgotten "
            "and retained rows, and needs some of each."
        )
    if (X_test is None) != (y_test is None):
        raise ValueError("X_test and y_test go together: one is missing.")
    sets = {"retained": _part(X, y, ~gone), "forgotten": _part(X, y, gone)}
    if X_test is not None:
        sets["test"] = X_test, _checked_targets(X_test, y_test, "y_test")
    if is_classifier(model):
        _outputs.refuse_unknown_labels(models.values(), y)
        if X_test is not None:
            _outputs.refuse_unknown_labels(models.values(), sets["test"][1], "y_test")
    weight = check_weights(sample_weight, len(y))
    lines = {
        **_distances(models),
        **_predictions(models, sets),
        "gradient norm on the retained rows": _gradients(models, X, y, weight, gone),
        **_losses(models, sets),
    }
    return pd.DataFrame.from_dict(lines, orient="index", columns=list(models))


def _checked_targets(X, y, name):
    if y is None:
        raise ValueError(f"{name} is None: pass the targets of the rows.")
    check_same_order(y, X, name)
    y = _outputs.labels_of(y)
    check_consistent_length(X, y)
    return y


def _part(X, y, mask):
    return rows.take_user(X, np.flatnonzero(mask)), y[mask]


# -- parameters ------------------------------------------------------------------------


def _distances(models):
    """Absolute and relative distance of the parameters to the retrained ones."""
    found = [_distance(one, models["retrained"]) for one in models.values()]
    lines = {"parameter distance": found}
    unit = found[0] if "original" in models else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        lines["relative parameter distance"] = np.divide(found, unit)
    return lines


def _distance(one, other):
    """||theta - theta_r||, without directions that no prediction sees; nan if unlike.

    Coefficients that an L1 penalty has set to zero in one of the models are compared as
    zeros.
    """
    if not (supports(one)[0] and supports(other)[0]):
        return np.nan
    one, other = adapt(one), adapt(other)
    if not np.array_equal(one.classes, other.classes):
        return np.nan
    if not (isinstance(one, LinearModel) and isinstance(other, LinearModel)):
        if one.theta.shape != other.theta.shape:
            return np.nan
        return float(np.linalg.norm(one.theta - other.theta))
    found = [np.column_stack(model.split(model.theta)) for model in (one, other)]
    if found[0].shape != found[1].shape:
        return np.nan
    moved = found[0] - found[1]
    unseen = one.null_space(one.ridge(1.0, 1))
    if unseen is not None:
        # A softmax does not see what is common to all classes.
        moved[:, -1] -= moved[:, -1].mean()
        if unseen.shape[1] > 1:
            moved -= moved.mean(axis=0)
    return float(np.linalg.norm(moved))


# -- predictions and losses ------------------------------------------------------------


def _predictions(models, sets):
    """Disagreement and divergence, or rms, of every model to the retrained one."""
    classifies = is_classifier(models["retrained"])
    lines = {}
    for name, (X, _) in sets.items():
        gaps = [_gap(one, models["retrained"], X) for one in models.values()]
        for what in ("disagreement", "kl") if classifies else ("rms",):
            lines[f"{what}, {name} rows"] = [
                np.nan if (value := getattr(gap, what)) is None else value
                for gap in gaps
            ]
    return lines


def _gap(one, retrained, X):
    """`PredictionGap` of a model from the retrained one."""
    if not is_classifier(retrained):
        both = (np.asarray(m.predict(X), dtype=float) for m in (retrained, one))
        return prediction_gap(*both, regression=True)
    classes = np.union1d(one.classes_, retrained.classes_)
    if all(hasattr(m, "predict_proba") for m in (retrained, one)):
        both = (_outputs.probabilities(m, X, classes) for m in (retrained, one))
        return prediction_gap(*both)
    differs = retrained.predict(X) != one.predict(X)
    return PredictionGap(disagreement=float(np.mean(differs)))


def _losses(models, sets):
    name = _outputs.loss_name(models["retrained"])
    means = {
        part: np.array(
            [_outputs.row_losses(one, X, y).mean() for one in models.values()]
        )
        for part, (X, y) in sets.items()
        if part != "retained"
    }
    lines = {f"{name}, {part} rows": values for part, values in means.items()}
    if "test" in means:
        difference = means["forgotten"] - means["test"]
        lines[f"{name}, forgotten - test"] = difference
    return lines


# -- the objective ---------------------------------------------------------------------


def _gradients(models, X, y, weight, gone):
    """||grad J|| on the retained rows at every model; nan where it has no objective.

    The objective is that of the model: a retrained one may have been fitted with its
    class weights as sample weights.
    """
    shared = _retained(models["model"], X, y, weight, gone)
    found = []
    for one in models.values():
        model = adapt(one) if supports(one)[0] else None
        objective = shared
        if model is not None and not _alike(shared, model):
            objective = _retained(one, X, y, weight, gone)
        if model is None or objective is None:
            found.append(np.nan)
        else:
            gradient = objective.at(model.theta).gradient()
            found.append(float(np.linalg.norm(gradient)))
    return found


def _alike(objective, model):
    """Whether an objective is one of the parameters of a model too."""
    if objective is None or type(objective.model) is not type(model):
        return False
    same = objective.model.theta.shape == model.theta.shape
    return same and np.array_equal(objective.model.classes, model.classes)


def _retained(estimator, X, y, weight, gone):
    """The objective of an estimator without the rows that are gone, or None."""
    if not supports(estimator)[0]:
        return None
    model = adapt(estimator)
    if model.classes is not None and (_outputs.columns(y, model.classes) < 0).any():
        return None  # without the rows a class is gone, and these have no loss
    objective = Objective.at_fit(model, model.inputs(X), model.targets(y), weight)
    return objective.reweighted(np.where(gone, 0.0, objective.weight))
