"""How well marked rows are forgotten while the others are kept."""

import numpy as np
from sklearn.base import is_regressor
from sklearn.pipeline import Pipeline
from sklearn.utils import column_or_1d

from skpuma.utils._validation import check_mask, check_weights


def forgetting_score(y_true, y_pred, *, marked, sample_weight=None):
    """Accuracy on the rows that are kept minus accuracy on the marked ones.

    Parameters
    ----------
    y_true : array-like (n,)
        Labels; those of the marked rows as they were in training.
    y_pred : array-like (n,)
        Predicted labels.
    marked : array-like of bool (n,)
        Rows that are to be forgotten.
    sample_weight : array-like (n,), default None
        Not negative.

    Returns
    -------
    float
        From -1 to 1. 1: every kept row is right and every marked one is wrong; 0: both
        are known equally well.

    Raises
    ------
    TypeError
        If `marked` is not boolean.
    ValueError
        If lengths differ, or either of the two parts has no rows.

    See Also
    --------
    patch_scorer : For searches without metadata routing.

    Examples
    --------
    >>> import numpy as np
    >>> from skpuma.metrics import forgetting_score
    >>> marked = np.array([False, False, True, True])
    >>> forgetting_score([0, 1, 1, 1], [0, 1, 0, 1], marked=marked)
    0.5

    In a search, with metadata routing enabled, the mask reaches the patcher and the
    scorer alike:

    >>> from sklearn.metrics import make_scorer
    >>> import sklearn
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     scorer = make_scorer(forgetting_score).set_score_request(marked=True)
    """
    y_true, y_pred = column_or_1d(y_true), column_or_1d(y_pred)
    n = len(y_true)
    if len(y_pred) != n:
        raise ValueError(f"y_pred has {len(y_pred)} rows, y_true has {n}.")
    weight = check_weights(sample_weight, n)
    marked = check_mask(marked, n)
    right = y_true == y_pred
    for rows, name in ((marked, "marked"), (~marked, "unmarked")):
        if not weight[rows].sum() > 0:
            raise ValueError(
                f"There are no {name} rows, so they have no accuracy; in a search, "
                "stratify the folds by `marked`."
            )
    kept, forgotten = (
        np.average(right[rows], weights=weight[rows]) for rows in (~marked, marked)
    )
    return float(kept - forgotten)


def patch_scorer(estimator, X, y):
    """Score of a patched estimator minus what it still knows of the rows it forgot.

    A scorer, ``GridSearchCV(patcher, grid, scoring=patch_scorer)``, for searches
    without metadata routing, whose scorers never see the mask of marked rows: how well
    those are forgotten is read from the ``report_`` that the patcher wrote while it was
    fitted, measured on the marked training rows of the fold.

    ``patch_scorer = estimator.score(X, y) - remembered``, where `remembered` is

    - for classifiers, the mean probability that the patched model gives to the labels
      of the marked rows (``report_.forgetting_after``);
    - for regressors, ``min(1, 1 / report_.forgetting_after)``: the mean squared error
      of the other rows over that of the marked ones; 1 means that the marked rows are
      known as well as the others;
    - 0 in a fold without marked rows, for all candidates alike.

    Parameters
    ----------
    estimator : PumaPatcher or Pipeline that ends in one
        Fitted with ``marked=`` or with a `marker`.
    X : array-like (n, d)
        Rows that measure how much is kept.
    y : array-like (n,)
        Their targets. Marked rows among them count like any others.

    Returns
    -------
    float
        At most 1; higher is better. Accuracy or R2, less a share between 0 and 1.

    Raises
    ------
    AttributeError
        If the estimator was not patched.

    See Also
    --------
    forgetting_score : For searches with metadata routing.
    """
    patcher = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    report = getattr(patcher, "report_", None)
    if report is None:
        raise AttributeError(
            f"patch_scorer reads how well marked rows are forgotten from report_, but "
            f"this {type(patcher).__name__} was not patched: score a PumaPatcher, or a "
            "Pipeline that ends in one, and pass marked= to fit or set its marker."
        )
    after = report.forgetting_after
    if after is None:
        remembered = 0.0
    else:
        remembered = 1.0 / max(1.0, after) if is_regressor(patcher) else after
    return float(estimator.score(X, y) - remembered)
