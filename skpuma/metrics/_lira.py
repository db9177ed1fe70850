"""Scores of the likelihood-ratio attack, from confidences of shadow models."""

import numpy as np
from scipy import stats
from sklearn.utils import column_or_1d

from skpuma.utils._validation import check_bool

# Of probabilities, so that their logarithm is finite; as in the paper's own code.
SMALLEST = 1e-45
# Of a standard deviation, for shadow models that all say the same.
SMALLEST_SPREAD = 1e-30
# Shadow models from which on every row may have a variance of its own.
OWN_VARIANCE = 64


def logit_confidence(probabilities, y):
    """Logit-scaled confidence ``log p_y - log sum_{c != y} p_c`` of every row (n,).

    Its distribution over models is close to a Gaussian, which that of p_y is not. The
    other classes are summed up, since ``1 - p_y`` is rounded to zero where a model is
    sure.

    Parameters
    ----------
    probabilities : array-like (n, k)
    y : array-like of int (n,)
        Column of the label of every row.

    References
    ----------
    Carlini et al. 2022, section IV-C.

    Examples
    --------
    >>> from skpuma.metrics import logit_confidence
    >>> logit_confidence([[0.5, 0.25, 0.25]], [0]).tolist()
    [0.0]
    """
    p = np.array(probabilities, dtype=np.float64)
    y = column_or_1d(y)
    if p.ndim != 2 or len(p) != len(y):
        raise ValueError(
            f"probabilities has shape {p.shape} and y {y.shape}: one row of class "
            "probabilities and one label per row."
        )
    if len(y) and not (np.issubdtype(y.dtype, np.integer) and 0 <= y.min()):
        raise ValueError("y must hold the column of every row's label, from 0 on.")
    if len(y) and y.max() >= p.shape[1]:
        raise ValueError(f"y names column {y.max()} of {p.shape[1]} columns.")
    own = p[np.arange(len(y)), y].copy()
    p[np.arange(len(y)), y] = 0.0
    return np.log(own + SMALLEST) - np.log(p.sum(axis=1) + SMALLEST)


def lira_scores(target, shadows, inside, *, fix_variance="auto", offline=False):
    """Scores of the likelihood-ratio attack, from confidences of shadow models.

    The confidence of a row among models trained on it, and among models not trained on
    it, is taken for Gaussian; the score is how much better the first explains the model
    under attack.

    Parameters
    ----------
    target : array-like (n,)
        Confidence of every row under the model that is attacked, such as
        `logit_confidence`.
    shadows : array-like (m, n)
        The same under m shadow models.
    inside : array-like of bool (m, n)
        Whether the shadow model was trained on the row.
    fix_variance : "auto" or bool, default "auto"
        True: one variance for all rows among the models trained on them, and one among
        the others, pooled from the deviations from each row's own mean; False: one per
        row, which needs many models. "auto" fixes it below 64 models.
    offline : bool, default False
        True: only models not trained on the row are looked at, and the score is the
        logarithm of the share of them that are less confident; the others need not
        exist.

    Returns
    -------
    ndarray (n,)
        Higher means "was trained on". Online: a log-likelihood ratio, 0 where both
        explain the model alike. Offline: at most 0.

    Raises
    ------
    ValueError
        If shapes differ, or a row lacks models of a kind (or has too few of them for a
        variance of its own).

    Notes
    -----
    Means are medians, as in the paper's code. Its variant with a fixed variance takes
    both standard deviations from the models trained on the row, and over all scores, so
    that the spread between rows is counted too; here each is of its own models, and
    within rows.

    References
    ----------
    N. Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P
    2022, algorithm 1 (online), section VI-C (fixed variance) and equation 4 (offline).

    Examples
    --------
    >>> import numpy as np
    >>> from skpuma.metrics import lira_scores
    >>> shadows = np.array([[2.0, 0.1], [2.2, 1.9], [0.0, 0.0], [0.2, 2.1]])
    >>> inside = np.array([[True, False], [True, True], [False, False], [False, True]])
    >>> (lira_scores([2.1, 0.0], shadows, inside) > 0).tolist()
    [True, False]
    """
    target = column_or_1d(np.asarray(target, dtype=np.float64))
    shadows = np.asarray(shadows, dtype=np.float64)
    inside = np.asarray(inside)
    check_bool(offline, "offline")
    shape = (len(shadows), len(target)) if shadows.ndim == 2 else None
    if shadows.shape != shape or inside.shape != shape or inside.dtype != bool:
        raise ValueError(
            f"shadows has shape {shadows.shape} and inside {inside.shape} of "
            f"{inside.dtype}: both are (models, {len(target)}), inside is boolean."
        )
    if not (isinstance(fix_variance, (bool, np.bool_)) or fix_variance == "auto"):
        raise ValueError(f"fix_variance={fix_variance!r} is not 'auto', True or False.")
    fixed = (
        len(shadows) < OWN_VARIANCE
        if isinstance(fix_variance, str)
        else bool(fix_variance)
    )
    mean, spread = _gaussians(shadows, ~inside, fixed, "not trained on")
    out = (target - mean) / spread
    if offline:
        return stats.norm.logcdf(out)
    mean, spread_in = _gaussians(shadows, inside, fixed, "trained on")
    return (
        stats.norm.logpdf((target - mean) / spread_in)
        - stats.norm.logpdf(out)
        + (np.log(spread) - np.log(spread_in))
    )


def _gaussians(shadows, chosen, fixed, what):
    """Median and standard deviation (n,) of the chosen models of every row."""
    count = chosen.sum(axis=0)
    least = 1 if fixed else 2
    if (count < least).any():
        few = np.flatnonzero(count < least)
        advice = "Use offline=True, or more" if what == "trained on" else "Use more"
        raise ValueError(
            f"{len(few)} rows (such as {few[0]}) have {count[few[0]]} shadow models "
            f"that were {what} them, and need {least}. {advice} shadow models."
        )
    if (count - 1).sum() < 1:
        raise ValueError(
            f"No row has two shadow models that were {what} it: a variance needs them. "
            "Use more shadow models."
        )
    scores = np.where(chosen, shadows, np.nan)
    centred = scores - np.nanmean(scores, axis=0)
    square = np.nansum(centred**2, axis=0)
    if fixed:
        spread = np.full(len(count), np.sqrt(square.sum() / (count - 1).sum()))
    else:
        spread = np.sqrt(square / (count - 1))
    return np.nanmedian(scores, axis=0), np.maximum(spread, SMALLEST_SPREAD)
