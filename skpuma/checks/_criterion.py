"""Contract of a criterion."""

import numbers

import numpy as np

from skpuma.checks._expect import (
    DIFFERENCE,
    SUMMED,
    Unchanged,
    difference,
    expect,
    expect_equal,
    expect_shape,
)
from skpuma.criteria import bind, named
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.utils._validation import check_groups, check_weights


def check_criterion(criterion, z, y, sample_weight=None, groups=None, *, loss=None):
    """Check a criterion: its gradient, and what weights mean to it.

    Parameters
    ----------
    criterion : criterion, function or str
        Any object with `value` and `grad_raw`, a function of (y, raw), or a name of the
        table. A label that it names is a class position here.
    z : array-like (n, k)
        Raw outputs; without ties, at which the largest of several has no gradient.
    y : array-like
        Coded targets: class positions (n,), or floats (n, k).
    sample_weight : array-like (n,), optional
    groups : array-like (n,), optional
        Sensitive feature of every row.
    loss : BaseLoss, optional
        How z becomes a prediction, for criteria with `for_loss`. By default the
        log-loss for class positions and the squared loss for floats; pass the loss of
        the model for several labels a row.

    Raises
    ------
    AssertionError
        If the value is not a finite number, `grad_raw` is not its derivative, the order
        of the rows matters, a row of weight 0 counts, or a row of weight 2 is not the
        row twice.

    Examples
    --------
    >>> import numpy as np
    >>> from skpuma.checks import check_criterion
    >>> rng = np.random.default_rng(0)
    >>> check_criterion("brier_score", rng.normal(size=(20, 3)), np.arange(20) % 3)
    """
    criterion = named(criterion)
    z, y = np.array(z, dtype=float), np.array(y)
    n = len(z)
    weight = check_weights(sample_weight, n)
    groups = check_groups(groups, n, "groups")
    for method in ("value", "grad_raw"):
        expect(
            callable(getattr(criterion, method, None)),
            f"the criterion has a method {method}",
            "it has none",
            "A criterion needs value and grad_raw of (z, y, *, sample_weight, groups).",
        )
    loss = _default_loss(z, y) if loss is None else loss
    classes = np.arange(max(z.shape[1], 2)) if loss.classification else None
    criterion = bind(criterion, loss, classes)
    unchanged = Unchanged(criterion, z=z, y=y, sample_weight=weight)

    def value(at, index=slice(None), weight=weight):
        part = None if groups is None else groups[index]
        return criterion.value(at, y[index], sample_weight=weight[index], groups=part)

    base = value(z)
    expect(
        isinstance(base, numbers.Real) and np.isfinite(base),
        "criterion.value is a finite number",
        f"it is {base!r}",
        "Delta is a bound on it.",
    )
    gradient = np.asarray(criterion.grad_raw(z, y, sample_weight=weight, groups=groups))
    expect_shape("criterion.grad_raw", gradient, z.shape, "one derivative for each z")
    expected = np.empty_like(z)
    for position in np.ndindex(*z.shape):
        unit = np.zeros_like(z)
        unit[position] = 1.0
        expected[position] = difference(value, z, unit)
    expect_equal(
        "criterion.grad_raw == d criterion.value / dz",
        gradient,
        expected,
        DIFFERENCE,
        "psi would rank rows for another criterion than the one that delta guards.",
        floor=1e-4 * abs(base) / n,
    )
    _check_row_weights(value, z, y, weight, groups, base)
    unchanged.check()


def _default_loss(z, y):
    if y.dtype.kind not in "iub":
        return SquaredLoss()
    return BinaryLogLoss() if z.shape[1] == 1 else MultinomialLogLoss()


def _check_row_weights(value, z, y, weight, groups, base):
    """Order, weight 0 and weight 2, at a row whose absence no group notices."""
    n = len(z)
    order = np.random.default_rng(0).permutation(n)
    floor = max(abs(base), 1e-3)
    expect_equal(
        "criterion.value does not depend on the order of the rows",
        np.atleast_1d(value(z[order], order)),
        np.atleast_1d(base),
        SUMMED,
        "Folds and blocks change the order.",
        floor=floor,
    )
    row = _replaceable(y, weight, groups)
    without = np.delete(np.arange(n), row)
    zeroed = weight.copy()
    zeroed[row] = 0.0
    expect_equal(
        "criterion.value with a row of weight 0 == its value without the row",
        np.atleast_1d(value(z, weight=zeroed)),
        np.atleast_1d(value(z[without], without)),
        SUMMED,
        "Use sample_weight in every sum and mean.",
        floor=floor,
    )
    twice = np.append(np.arange(n), row)
    doubled = weight.copy()
    doubled[row] *= 2.0
    expect_equal(
        "criterion.value with a row of weight 2 w == its value with the row twice",
        np.atleast_1d(value(z, weight=doubled)),
        np.atleast_1d(value(z[twice], twice)),
        SUMMED,
        "Use sample_weight in every sum and mean.",
        floor=floor,
    )


def _replaceable(y, weight, groups):
    """A row of positive weight from the largest cell of label and group."""
    label = y if y.ndim == 1 else np.zeros(len(y))
    keys = [label if label.dtype.kind in "iub" else np.zeros(len(y))]
    if groups is not None:
        keys.append(np.unique(groups, return_inverse=True)[1])
    cells = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)[1].ravel()
    counts = np.bincount(cells, weight > 0)
    return int(np.flatnonzero((cells == counts.argmax()) & (weight > 0))[0])


# -- parts of check_solver -------------------------------------------------------------
