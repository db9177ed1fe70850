"""What any fitted scikit-learn estimator says about rows with their labels."""

import numpy as np
from scipy import sparse
from scipy.special import logsumexp
from sklearn.base import is_classifier

from skpuma.losses import BinaryLogLoss, MultinomialLogLoss
from skpuma.metrics import logit_confidence
from skpuma.metrics._lira import SMALLEST
from skpuma.models import adapt, supports


def labels_of(y, name="y"):
    """Targets as (n,), or (n, k) of a regression with several outputs."""
    y = np.asarray(y)
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def refuse_multilabel(estimator, y):
    """Refuse a classifier with several labels per row.

    Raises
    ------
    ValueError
    """
    if is_classifier(estimator) and y.ndim != 1:
        raise ValueError(
            f"y has shape {y.shape}: evidence about classifiers is for one label per "
            "row. Ask about one label at a time, with a model of its own."
        )


def refuse_unknown_labels(estimators, y, name="y"):
    """Refuse labels that none of the classifiers knows: they would look badly learnt.

    Raises
    ------
    ValueError
    """
    known = [set(np.asarray(one.classes_).tolist()) for one in estimators]
    known = set().union(*known)
    unknown = [label for label in dict.fromkeys(y.tolist()) if label not in known]
    if unknown:
        raise ValueError(
            f"{name} has labels that the model does not know: {unknown[:5]}; it knows "
            f"{list(known)[:5]}. Pass labels of the type and values of the fit."
        )


def stacked(X, other):
    """The rows of a user's table and of another one of its kind, in one.

    Raises
    ------
    TypeError
        If they are of different kinds.
    """
    if sparse.issparse(X) or sparse.issparse(other):
        return sparse.vstack([X, other], format="csr")
    if hasattr(X, "iloc") and hasattr(other, "iloc"):
        import pandas as pd

        return pd.concat([X, other], ignore_index=True)
    if hasattr(X, "vstack") and hasattr(other, "vstack"):
        return X.vstack(other)
    if any(hasattr(one, "columns") for one in (X, other)):
        raise TypeError(
            f"X is a {type(X).__name__} and X_fresh a {type(other).__name__}: pass the "
            "same kind of table."
        )
    return np.concatenate([np.asarray(X), np.asarray(other)])


def loss_name(estimator):
    """What `row_losses` are."""
    if not is_classifier(estimator):
        return "squared error"
    return "log-loss" if hasattr(estimator, "predict_proba") else "negative margin"


def columns(y, classes):
    """Position of every label in `classes`; -1 where it is not among them."""
    place = {label: c for c, label in enumerate(np.asarray(classes).tolist())}
    return np.array([place.get(label, -1) for label in y.tolist()], dtype=int)


def _given(values, estimator, classes, missing):
    """Columns of values (n, k) in the order of `classes`; `missing` for others."""
    at = columns(np.asarray(classes), estimator.classes_)
    return np.where(at >= 0, values[:, at], missing)


def probabilities(estimator, X, classes):
    """Class probabilities (n, k) in the order of `classes`; 0 for unknown ones."""
    values = np.asarray(estimator.predict_proba(X), dtype=np.float64)
    return _given(values, estimator, classes, 0.0)


def decisions(estimator, X, classes):
    """Decision values (n, k) in the order of `classes`; the lowest for unknown ones."""
    values = np.asarray(estimator.decision_function(X), dtype=np.float64)
    if values.ndim == 1:
        values = np.stack([-values, values], axis=1)
    return _given(values, estimator, classes, values.min(axis=1, keepdims=True))


def row_losses(estimator, X, y):
    """Log-loss, negative margin or squared error of every row (n,); see `loss_name`."""
    if not is_classifier(estimator):
        error = np.asarray(estimator.predict(X), dtype=float).reshape(y.shape) - y
        return np.square(error).reshape(len(y), -1).sum(axis=1)
    confidence = confidences(estimator, X, y)
    if not hasattr(estimator, "predict_proba"):
        return -confidence
    # -log p_y, also where p_y is rounded to 1.
    return np.logaddexp(0.0, -confidence)


def confidences(estimator, X, y):
    """Confidence in the given label or target (n,), about Gaussian over models.

    Logit-scaled confidence of classifiers (how far the label is ahead of the best other
    one, for those without probabilities), and the negative absolute error of
    regressors. The latter orders rows as a Gaussian log-likelihood does, and its spread
    over models does not grow with its size.
    """
    if not is_classifier(estimator):
        return -np.sqrt(row_losses(estimator, X, y))
    logits = _logits(estimator, X)
    if logits is not None:
        return _log_odds(logits, columns(y, estimator.classes_))
    known = np.union1d(estimator.classes_, y)
    at = columns(y, known)
    if hasattr(estimator, "predict_proba"):
        return logit_confidence(probabilities(estimator, X, known), at)
    values = decisions(estimator, X, known)
    own = values[np.arange(len(y)), at].copy()
    values[np.arange(len(y)), at] = -np.inf
    return own - values.max(axis=1)


def _logits(estimator, X):
    """Logits (n, k) whose softmax the class probabilities are, or None.

    A probability near 1 is rounded, and so is 1 minus it: logits are not.
    """
    if not supports(estimator)[0]:
        return None
    model = adapt(estimator)
    if not isinstance(model.loss, (BinaryLogLoss, MultinomialLogLoss)):
        return None
    z = model.raw(model.inputs(X))
    return np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z


def _log_odds(logits, at):
    """Log-odds of the column `at` of every row; the floor of others where it is -1."""
    n = np.arange(len(at))
    own, others = logits[n, at], logits.copy()
    others[n, at] = -np.inf
    return np.where(at >= 0, own - logsumexp(others, axis=1), np.log(SMALLEST))
