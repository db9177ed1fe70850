"""Gaps between groups in the rates of hard predictions, as fairlearn defines them."""

import numpy as np
from sklearn.utils import column_or_1d

from skpuma._dask_rows import columns_of, is_dask
from skpuma.utils._validation import check_groups, check_weights

IMPLIED_LABELS = ({0, 1}, {-1, 1})


def demographic_parity_difference(
    y_true, y_pred, *, sensitive_features, sample_weight=None, pos_label=1
):
    """Largest minus smallest selection rate P(prediction is positive) of the groups.

    Parameters
    ----------
    y_true : array-like or dask array (n,)
        Labels. They do not enter the rates; they are here so that every metric is
        called alike.
    y_pred : array-like or dask array (n,)
        Predicted labels. With more than two classes, all but `pos_label` are negative.
    sensitive_features : array-like (n,) or (n, n_features)
        Group of each row; several columns are combined into one.
    sample_weight : array-like (n,), default None
        Not negative. Groups without weight are left out.
    pos_label : int, float, bool or str, default 1
        The positive class.

    Returns
    -------
    float
        Between 0 (equal rates) and 1.

    Raises
    ------
    ValueError
        If lengths differ, `y_pred` holds probabilities, `pos_label` is not among the
        labels, or fewer than two groups have rows.

    See Also
    --------
    skpuma.criteria.DemographicParity : The same of predicted probabilities.

    References
    ----------
    A. Agarwal, A. Beygelzimer, M. Dudík, J. Langford, H. Wallach, "A reductions
    approach to fair classification", ICML 2018.

    Examples
    --------
    >>> from skpuma.metrics import demographic_parity_difference
    >>> demographic_parity_difference(
    ...     [0, 1, 0, 1], [1, 1, 0, 1], sensitive_features=["a", "a", "b", "b"]
    ... )
    0.5
    """
    _, chosen, groups, weight = _check(
        y_true, y_pred, sensitive_features, sample_weight, pos_label
    )
    return _gap(chosen, np.ones(len(chosen), dtype=bool), groups, weight)


def equalized_odds_difference(
    y_true,
    y_pred,
    *,
    sensitive_features,
    sample_weight=None,
    agg="worst_case",
    pos_label=1,
):
    """Gap of the groups in the true and in the false positive rate.

    Parameters
    ----------
    y_true : array-like or dask array (n,)
        Labels. With more than two classes, all but `pos_label` are negative.
    y_pred : array-like or dask array (n,)
        Predicted labels.
    sensitive_features : array-like (n,) or (n, n_features)
        Group of each row; several columns are combined into one.
    sample_weight : array-like (n,), default None
        Not negative.
    agg : {"worst_case", "mean"}, default "worst_case"
        Larger one of the two gaps, or their mean.
    pos_label : int, float, bool or str, default 1
        The positive class.

    Returns
    -------
    float
        Between 0 (equal rates) and 1.

    Raises
    ------
    ValueError
        If lengths differ, `agg` is unknown, `pos_label` is not among the labels, or one
        of the rates is defined for fewer than two groups.

    See Also
    --------
    skpuma.criteria.EqualizedOdds : The same of predicted probabilities.

    Notes
    -----
    A group without positive (negative) labels has no true (false) positive rate and is
    left out of that gap, where fairlearn counts its rate as 0.

    References
    ----------
    M. Hardt, E. Price, N. Srebro, "Equality of opportunity in supervised learning",
    NeurIPS 2016.

    Examples
    --------
    >>> from skpuma.metrics import equalized_odds_difference
    >>> equalized_odds_difference(
    ...     [0, 1, 0, 1], [1, 1, 0, 1], sensitive_features=["a", "a", "b", "b"]
    ... )
    1.0
    """
    if agg not in ("worst_case", "mean"):
        raise ValueError(f"agg={agg!r} is neither 'worst_case' nor 'mean'.")
    positive, chosen, groups, weight = _check(
        y_true, y_pred, sensitive_features, sample_weight, pos_label
    )
    gaps = [_gap(chosen, rows, groups, weight) for rows in (positive, ~positive)]
    return max(gaps) if agg == "worst_case" else float(np.mean(gaps))


def _check(y_true, y_pred, sensitive_features, sample_weight, pos_label):
    """Masks of positive labels and predictions, groups and weights, each (n,)."""
    if any(is_dask(one) for one in (y_true, y_pred, sensitive_features)):
        y_true, y_pred, sensitive_features, sample_weight = _distinct(
            y_true, y_pred, sensitive_features, sample_weight
        )
    y_true, y_pred = column_or_1d(y_true), column_or_1d(y_pred)
    n = len(y_true)
    if len(y_pred) != n:
        raise ValueError(f"y_pred has {len(y_pred)} rows, y_true has {n}.")
    _refuse_scores(y_pred)
    labels = set(y_true.tolist()) | set(y_pred.tolist())
    implied = any(labels <= pair and pos_label in pair for pair in IMPLIED_LABELS)
    if pos_label not in labels and not implied:
        raise ValueError(
            f"pos_label={pos_label!r} is not among the labels {sorted(labels)[:10]}: "
            "say which class is the positive one."
        )
    groups = check_groups(sensitive_features, n, "sensitive_features")
    weight = check_weights(sample_weight, n)
    return y_true == pos_label, y_pred == pos_label, groups, weight


def _distinct(y_true, y_pred, sensitive_features, sample_weight):
    """Labels, predictions and groups that occur in a dask collection, and weights."""
    named = {
        "y_true": y_true,
        "y_pred": y_pred,
        "sensitive_features": sensitive_features,
    }
    if sample_weight is not None:
        named["sample_weight"] = sample_weight
    found = columns_of(**named).total(_distinct_in_block)
    return [np.concatenate(column) for column in found]


def _distinct_in_block(y_true, y_pred, sensitive_features, sample_weight=None):
    import pandas as pd

    y_true, y_pred = column_or_1d(y_true), column_or_1d(y_pred)
    _refuse_scores(y_pred)
    groups = check_groups(sensitive_features, len(y_true), "sensitive_features")
    weight = np.ones(len(y_true)) if sample_weight is None else sample_weight
    if np.any(weight < 0):
        raise ValueError("sample_weight has negative values.")
    frame = pd.DataFrame({"y": y_true, "p": y_pred, "g": groups, "w": weight})
    sums = frame.groupby(["y", "p", "g"], as_index=False)["w"].sum()
    return tuple([sums[name].to_numpy()] for name in "ypgw")


def _refuse_scores(y_pred):
    if y_pred.dtype.kind == "f" and not np.all(y_pred == np.round(y_pred)):
        raise ValueError(
            "y_pred holds probabilities or scores: pass predicted labels. The gap of "
            "probabilities is a criterion of skpuma.criteria."
        )


def _gap(chosen, selected, groups, weight):
    """Largest minus smallest share of `chosen` among the selected rows of a group."""
    weight = np.where(selected, weight, 0.0)
    _, code = np.unique(groups, return_inverse=True)
    total = np.bincount(code, weight)
    present = total > 0
    if present.sum() < 2:
        raise ValueError(
            "A rate is defined for fewer than two groups: there is nothing to compare. "
            "Use other rows or another sensitive feature."
        )
    rate = np.bincount(code, weight * chosen)[present] / total[present]
    return float(rate.max() - rate.min())
