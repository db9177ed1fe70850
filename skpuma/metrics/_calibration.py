"""Expected calibration error with hard bins."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_array, check_scalar, column_or_1d

from skpuma import kernels
from skpuma._dask_rows import columns_of, is_dask
from skpuma.utils._validation import check_weights


def expected_calibration_error(
    y_true, y_prob, *, n_bins=15, sample_weight=None, labels=None
):
    r"""Mean gap between confidence and outcome over equal-width bins of confidence.

    .. math::

        \mathrm{ECE} = \frac{1}{W} \sum_b \Bigl| \sum_{i \in b}
        w_i (\mathrm{outcome}_i - \mathrm{confidence}_i) \Bigr|,
        \qquad W = \sum_i w_i

    Binary: confidence is P(positive class), outcome is whether the label is the
    positive class. Multiclass: confidence is the largest probability, outcome is
    whether its class is the label (top-label calibration). Bin b of B is
    ``(b / B, (b + 1) / B]``; 0 falls into the first.

    Parameters
    ----------
    y_true : array-like or dask array (n,)
        Labels.
    y_prob : array-like or dask array (n,) or (n, n_classes)
        Probability of the positive class, or of every class in the order of `labels`.
        Two columns are binary: the second one counts.
    n_bins : int, default 15
    sample_weight : array-like (n,), default None
        Not negative.
    labels : array-like (n_classes,), default None
        Classes in the order of the columns of `y_prob`; the positive one comes second.
        None: the sorted values of `y_true`, or {0, 1} or {-1, 1} where a binary
        `y_true` holds only one of these two.

    Returns
    -------
    float
        Between 0 (calibrated) and 1; a difference of probabilities, so without unit.

    Raises
    ------
    ValueError
        If shapes differ, `y_prob` does not hold probabilities, or the classes of
        `y_true` do not fit its columns.

    See Also
    --------
    skpuma.criteria.CalibrationError : The same as a criterion, with a gradient.

    References
    ----------
    M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities
    using Bayesian binning", AAAI 2015. C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On
    calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> from skpuma.metrics import expected_calibration_error
    >>> round(expected_calibration_error([0, 1, 1, 1], [0.5, 0.5, 0.9, 0.9]), 3)
    0.05
    """
    sums, total = _bin_sums(y_true, y_prob, n_bins, sample_weight, labels)
    return float(np.abs(sums[:, 2] - sums[:, 1]).sum() / total)


def reliability_curve(y_true, y_prob, *, n_bins=15, sample_weight=None, labels=None):
    """Confidence and outcome in equal-width bins of the confidence.

    The bins of `expected_calibration_error`, which is the mean of ``|outcome -
    confidence|`` over them, weighted by ``weight``.

    Parameters
    ----------
    y_true, y_prob, sample_weight, labels : as in `expected_calibration_error`
    n_bins : int, default 15

    Returns
    -------
    confidence : ndarray (n_bins,)
        Mean confidence; nan in a bin without rows.
    outcome : ndarray (n_bins,)
        Share of the rows with the positive label (binary) or with the predicted one;
        nan in a bin without rows.
    weight : ndarray (n_bins,)
        Total weight: the number of rows, where they have no weights.

    Raises
    ------
    ValueError
        As `expected_calibration_error`.

    See Also
    --------
    skpuma.plotting.ReliabilityDisplay : The curve as a figure.

    Examples
    --------
    >>> from skpuma.metrics import reliability_curve
    >>> confidence, outcome, weight = reliability_curve(
    ...     [0, 1, 1, 1], [0.4, 0.4, 0.9, 0.9], n_bins=2
    ... )
    >>> outcome.tolist(), weight.tolist()
    ([0.5, 1.0], [2.0, 2.0])
    """
    sums, _ = _bin_sums(y_true, y_prob, n_bins, sample_weight, labels)
    with np.errstate(invalid="ignore"):
        confidence, outcome = sums[:, 1:].T / sums[:, 0]
    return confidence, outcome, sums[:, 0]


def _bin_sums(y_true, y_prob, n_bins, sample_weight, labels):
    """Sums over the bins (n_bins, 3), as `kernels.bin_sums`, and over the weights."""
    check_scalar(n_bins, "n_bins", Integral, min_val=1)
    if is_dask(y_true) or is_dask(y_prob):
        return _in_blocks(y_true, y_prob, sample_weight, n_bins, labels)
    y_true = column_or_1d(y_true)
    weight = check_weights(sample_weight, len(y_true))
    return _sums(y_true, y_prob, weight, n_bins, labels)


def _in_blocks(y_true, y_prob, sample_weight, n_bins, labels):
    """`_sums` of dask arrays, added up over blocks."""
    named = {"y_true": y_true, "y_prob": y_prob}
    if sample_weight is not None:
        named["sample_weight"] = sample_weight
    table = columns_of(**named)
    if labels is None:
        labels = np.unique(np.concatenate(table.of_columns(0).total(_labels)))
        # What `_code` makes of one label of two.
        pairs = [pair for pair in ((0, 1), (-1, 1)) if set(labels) <= set(pair)]
        labels = np.array(pairs[0]) if pairs else labels
    sums, total = table.total(_block_sums, n_bins, labels)
    if not total > 0:
        raise ValueError("sample_weight sums to zero: at least one row must count.")
    return sums, total


def _labels(y_true):
    return [np.unique(y_true)]


def _block_sums(y_true, y_prob, *rest):
    *given, n_bins, labels = rest
    weight = given[0] if given else np.ones(len(y_true))
    if np.any(weight < 0):
        raise ValueError("sample_weight has negative values.")
    weight = np.asarray(weight, dtype=np.float64)
    return _sums(column_or_1d(y_true), y_prob, weight, n_bins, labels)


def _sums(y_true, y_prob, weight, n_bins, labels):
    """Sums over every bin and the sum of the weights."""
    prob = _check_probabilities(y_prob, len(y_true))
    n_classes = prob.shape[1]
    code = _code(y_true, labels, n_classes)
    if n_classes == 2:
        confidence, outcome = prob[:, 1], code == 1
    else:
        top = prob.argmax(axis=1)
        confidence, outcome = prob[np.arange(len(top)), top], code == top
    sums = kernels.bin_sums(
        np.ascontiguousarray(confidence), outcome.astype(np.float64), weight, n_bins
    )
    return sums, weight.sum()


def _check_probabilities(y_prob, n):
    """Probabilities (n, n_classes); both columns of a binary problem."""
    prob = check_array(y_prob, dtype=np.float64, ensure_2d=False, input_name="y_prob")
    if prob.shape[0] != n:
        raise ValueError(f"y_prob has {prob.shape[0]} rows, y_true has {n}.")
    if prob.min() < 0.0 or prob.max() > 1.0:
        raise ValueError(
            "y_prob must hold probabilities between 0 and 1, as predict_proba gives."
        )
    if prob.ndim == 1:
        return np.stack([1.0 - prob, prob], axis=1)
    if prob.shape[1] < 2:
        raise ValueError("y_prob has one column: pass it as a vector, y_prob[:, 0].")
    if not np.allclose(prob.sum(axis=1), 1.0, atol=1e-4):
        raise ValueError("The rows of y_prob must sum to 1: one column per class.")
    return prob


def _code(y_true, labels, n_classes):
    """Positions (n,) of the labels among the classes."""
    seen = np.unique(y_true)
    if labels is not None:
        classes = column_or_1d(labels)
    elif n_classes == 2 and len(seen) == 1:
        pairs = [pair for pair in ((0, 1), (-1, 1)) if seen[0] in pair]
        classes = np.array(pairs[0]) if pairs else seen
    else:
        classes = seen
    if len(classes) != n_classes or len(np.unique(classes)) != n_classes:
        raise ValueError(
            f"y_prob is for {n_classes} classes, and these are {len(classes)}: "
            f"{classes.tolist()}. Pass labels= in the order of the columns."
        )
    unknown = np.setdiff1d(seen, classes)
    if len(unknown):
        raise ValueError(
            f"y_true has labels that are not in labels: {unknown.tolist()}."
        )
    position = {label: c for c, label in enumerate(classes.tolist())}
    return np.array([position[label] for label in y_true.tolist()])
