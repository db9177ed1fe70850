"""How well values find the rows whose labels are wrong."""

import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_consistent_length

from skpuma.utils._validation import check_number


def detection_curve(values, is_noisy):
    """Share of the wrong labels found, as rows are inspected from the lowest value up.

    Rows with equal values are taken in random order, and the curve is the mean over
    these orders: a line across the group. So ties neither help nor harm, whatever the
    order of the rows is.

    Parameters
    ----------
    values : array-like (n,)
        The lowest values are inspected first, as those of `skpuma.valuation` and the
        ``psi_`` of `PumaValuator`.
    is_noisy : array-like of bool (n,)
        Which labels are wrong.

    Returns
    -------
    inspected : ndarray (n + 1,)
        Share of the rows inspected: 0, 1/n, ..., 1.
    found : ndarray (n + 1,)
        Expected share of the wrong labels among them, from 0 to 1.

    Raises
    ------
    ValueError
        If lengths differ, a value is nan, `is_noisy` is not boolean, or it does not
        hold both wrong and right labels.

    See Also
    --------
    detection_recall : The curve at one share of inspected rows.
    detection_area : The area under the curve in one number.
    skpuma.plotting.DetectionCurveDisplay : The curve as a figure.

    References
    ----------
    A. Ghorbani, J. Zou, "Data Shapley", ICML 2019, fig. 3 (rows inspected against
    labels fixed); Blog fig. 5.

    Examples
    --------
    >>> from skpuma.metrics import detection_curve
    >>> inspected, found = detection_curve([-2.0, 0.5, -1.0, 0.1], [1, 0, 0, 1])
    >>> found.tolist()
    [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    values, noisy = _checked(values, is_noisy)
    n = len(values)
    inspected = np.arange(n + 1) / n
    return inspected, _found(values, noisy) / noisy.sum()


def detection_recall(values, is_noisy, *, inspected=0.1):
    """Share of the wrong labels among the rows with the lowest values.

    Parameters
    ----------
    values : array-like (n,)
        The lowest values are inspected first.
    is_noisy : array-like of bool (n,)
        Which labels are wrong.
    inspected : float in [0, 1], default 0.1
        Share of the rows that are inspected; their number is rounded.

    Returns
    -------
    float
        Between 0 and 1. Random values find `inspected` on average; no more than
        `inspected` over the share of wrong labels can be found. Ties are resolved as in
        `detection_curve`.

    Raises
    ------
    ValueError
        As `detection_curve`, or if `inspected` is not in [0, 1].

    Examples
    --------
    >>> from skpuma.metrics import detection_recall
    >>> detection_recall([-2.0, 0.5, -1.0, 0.1], [1, 0, 0, 1], inspected=0.5)
    0.5
    """
    share = check_number(inspected, "inspected", low=0.0, high=1.0)
    _, found = detection_curve(values, is_noisy)
    return float(found[round(share * (len(found) - 1))])


def detection_area(values, is_noisy):
    """Area under the detection curve, in units of that of the best curve there is.

    Parameters
    ----------
    values : array-like (n,)
        The lowest values are inspected first.
    is_noisy : array-like of bool (n,)
        Which labels are wrong.

    Returns
    -------
    float
        1 if all wrong labels come first. With a share r of wrong labels the best curve
        has the area ``1 - r / 2``, so random values get ``1 / (2 - r)`` on average
        (0.526 at 10 %) and the worst ``r / (2 - r)``. Ties are resolved as in
        `detection_curve`.

    Raises
    ------
    ValueError
        As `detection_curve`.

    Examples
    --------
    >>> from skpuma.metrics import detection_area
    >>> detection_area([-2.0, -1.0, 0.5, 0.1], [1, 1, 0, 0])
    1.0
    """
    _, found = detection_curve(values, is_noisy)
    rate = np.mean(column_or_1d(is_noisy))
    return float((found[1:] + found[:-1]).mean() / (2.0 - rate))


def detection_average_precision(values, is_noisy):
    """Mean precision over the wrong labels, in the order of the values.

    Parameters
    ----------
    values : array-like (n,)
        The lowest values are inspected first.
    is_noisy : array-like of bool (n,)
        Which labels are wrong.

    Returns
    -------
    float
        ``sum_g (R_g - R_{g-1}) P_g`` over the groups g of equal values, lowest first; R
        and P are recall and precision after the whole group. 1 if all wrong labels come
        first, about their share for random values. The order of rows with equal values
        does not count.

    Raises
    ------
    ValueError
        As `detection_curve`.

    See Also
    --------
    sklearn.metrics.average_precision_score : The same of the negated values.

    Examples
    --------
    >>> from skpuma.metrics import detection_average_precision
    >>> detection_average_precision([-2.0, 0.5, -1.0, 0.1], [1, 0, 1, 0])
    1.0
    """
    values, noisy = _checked(values, is_noisy)
    # Ranks keep the order and the ties; infinite values have no place in a score.
    ranks = np.unique(values, return_inverse=True)[1].ravel()
    return float(average_precision_score(noisy, -ranks))


def _found(values, noisy):
    """Expected number (n + 1,) of wrong labels among the first 0, 1, ..., n rows."""
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    wrong = np.bincount(group.ravel(), weights=noisy, minlength=len(size))
    ends = np.concatenate([[0], np.cumsum(size)])
    totals = np.concatenate([[0.0], np.cumsum(wrong)])
    return np.interp(np.arange(len(values) + 1), ends, totals)


def _checked(values, is_noisy):
    """Values as floats and the mask as booleans."""
    values = column_or_1d(values).astype(np.float64)
    noisy = column_or_1d(is_noisy)
    check_consistent_length(values, noisy)
    missing = np.isnan(values).sum()
    if missing:
        raise ValueError(
            f"values has {missing} nan: rows without a value cannot be ranked. Leave "
            "them out of values and is_noisy."
        )
    if not np.isin(noisy, (0, 1)).all():
        raise ValueError(
            "is_noisy must be a boolean mask: True where the label is wrong, one entry "
            "per row."
        )
    noisy = noisy.astype(bool)
    if noisy.all() or not noisy.any():
        which = "every" if noisy.all() else "no"
        raise ValueError(
            f"is_noisy marks {which} row: detection needs wrong and right labels."
        )
    return values, noisy
