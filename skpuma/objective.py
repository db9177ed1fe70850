"""The objective J of a fitted model, in the units of ``doc/conventions.rst``.

``J(theta) = (1/W) sum_i w_i l(z_i, y_i)
          + scale * sum_p (l2_p theta_p^2 / 2 + tilt_p theta_p)``

W is the sum of the weights at the fit and stays so through any number of patches. The
scale of the penalty is 1, except for the kinds "mean" and "count", where it follows the
weights. The tilt is the L1 penalty on an active set, whose signs stay as they are.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skpuma import rows

# Share of the rows up to which a copy of them is faster than a pass over all.
FEW = 0.1


@dataclass(frozen=True)
class FitRecord:
    """What stays fixed from the fit on.

    Attributes
    ----------
    total_weight : float
        W.
    n_rows, n_used : int
        Number of rows, and of those with a positive weight.
    l2, tilt : ndarray (p,)
        Quadratic and linear part of the penalty.
    class_weights : ndarray or None
        As `BaseModel.class_weights` returns them.
    """

    total_weight: float
    n_rows: int
    n_used: int
    l2: np.ndarray
    tilt: np.ndarray
    class_weights: np.ndarray | None


@dataclass(frozen=True)
class Objective:
    """Model, rows and weights together.

    Attributes
    ----------
    model : BaseModel
    X : prepared rows (n, d)
    y : coded targets
    weight : ndarray (n,)
        Effective weights: the user's times the class weight. May be signed in
        right-hand sides, never in a curvature.
    record : FitRecord
    scale : float or None
        Of the penalty, where these are some of the rows only.
    """

    model: object
    X: object
    y: np.ndarray
    weight: np.ndarray
    record: FitRecord
    scale: float | None = None

    # Whether the rows are blocks that live elsewhere: `total` and `map` reach them.
    partitioned = False

    @classmethod
    def at_fit(cls, model, X, y, sample_weight, record=None):
        """Objective of the fit, from the user's weights (n,).

        Parameters
        ----------
        record : FitRecord, optional
            The record of the fit when `sample_weight` was moved by a patch since.

        Raises
        ------
        ValueError
            If X, y and sample_weight have different numbers of rows.
        """
        if not rows.count(X) == len(y) == len(sample_weight):
            raise ValueError(
                f"X has {rows.count(X)} rows, y has {len(y)} and sample_weight "
                f"{len(sample_weight)}."
            )
        if record is None:
            class_weights = model.class_weights(y, sample_weight)
            _, weight = model.weigh(class_weights, y, sample_weight)
            total = weight.sum()
            n = rows.count(X)
            record = FitRecord(
                total_weight=total,
                n_rows=n,
                n_used=int(np.count_nonzero(weight > 0)),
                l2=model.ridge(total, n),
                tilt=model.tilt(total, n),
                class_weights=class_weights,
            )
        model, weight = model.weigh(record.class_weights, y, sample_weight)
        return cls(model, X, y, weight, record)

    def at(self, theta, raw=None):
        """The same objective at other parameters, whose raw outputs may be known."""
        moved = replace(self, model=self.model.at(theta))
        if raw is not None:
            vars(moved)["raw"] = raw
        return moved

    def reweighted(self, weight):
        """The same objective under other effective weights."""
        return replace(self, weight=weight)

    def subset(self, index):
        """The rows of `index` only; W and the penalty are not changed."""
        return replace(
            self,
            scale=self.penalty_scale,
            X=rows.take(self.X, index),
            y=self.y[index],
            weight=self.weight[index],
        )

    def total(self, function, *args):
        """``function(rows, *args)`` summed over blocks of rows.

        Parameters
        ----------
        function : callable
            Takes an `Objective` of some of the rows and returns a sum over them, or a
            tuple of sums.
        """
        return function(self, *args)

    def map(self, function, width, *args):
        """``function(rows, *args)`` of every row.

        Parameters
        ----------
        function : callable
            Takes an `Objective` of some of the rows and returns a line for each.
        width : int or None
            Columns of the lines (n, width); None for (n,).
        """
        return function(self, *args)

    def class_counts(self, weight):
        """Rows of every class that have some `weight` (n,), shape (n_classes,)."""
        return np.bincount(self.y[weight > 0], minlength=len(self.model.classes))

    def sample(self, size, seed):
        """Rows of positive weight, at random; itself, where there are no more."""
        used = np.flatnonzero(self.weight > 0)
        if size >= len(used):
            return self
        rng = np.random.default_rng(seed)
        return self.subset(np.sort(rng.choice(used, size, replace=False)))

    def sample_gradients(self, n_rows=500):
        """``w_i g_i / W`` of at most `n_rows` rows with weight, at random (b, p)."""
        used = np.flatnonzero(self.weight > 0)
        limit = sample_size(self.model, n_rows)
        if len(used) > limit:
            used = np.sort(np.random.default_rng(0).choice(used, limit, replace=False))
        return self.row_gradients(used)

    def fingerprint(self, keep=None):
        """`fingerprint` of the rows, or of those in a mask."""
        return fingerprint(self.X, self.y, keep)

    @property
    def total_weight(self):
        """W."""
        return self.record.total_weight

    @cached_property
    def penalty_scale(self):
        """1, or the share of the fit's weight, or of its rows, that is left."""
        kind, record = self.model.kind, self.record
        if self.scale is not None:
            return self.scale
        if kind == "sum":
            return 1.0
        if kind == "mean":
            return float(np.maximum(self.weight, 0.0).sum() / self.total_weight)
        removed = record.n_used - np.count_nonzero(self.weight > 0)
        return 1.0 - removed / record.n_rows

    @cached_property
    def l2(self):
        """Diagonal ridge (p,) under these weights."""
        return self.record.l2 * self.penalty_scale

    @cached_property
    def raw(self):
        """Raw outputs (n, k)."""
        return self.model.raw(self.X)

    @cached_property
    def residual(self):
        """r = dl/dz (n, k)."""
        return self.model.loss.gradient(self.raw, self.y)

    def value(self):
        """J."""
        data = self.weight @ self.model.loss.value(self.raw, self.y)
        theta = self.model.theta
        penalty = (0.5 * self.record.l2 * theta + self.record.tilt) @ theta
        return data / self.total_weight + self.penalty_scale * penalty

    @cached_property
    def penalty_share(self):
        """Gradient of the penalty at the scale of the fit (p,)."""
        return self.record.l2 * self.model.theta + self.record.tilt

    @cached_property
    def penalty_rate(self):
        """Share of the penalty's gradient in g_i, per row (n,).

        0 for the kind "sum", whose penalty does not depend on the weights; 1 for
        "mean", where a row takes its part of the penalty along; W / (w_i n) for
        "count", where every row counts once whatever its weight.
        """
        kind = self.model.kind
        if kind == "sum":
            return np.zeros(len(self.weight))
        if kind == "mean":
            return np.ones(len(self.weight))
        rate = np.zeros(len(self.weight))
        used = self.weight > 0
        rate[used] = self.total_weight / (self.weight[used] * self.record.n_rows)
        return rate

    def weighted_gradient(self, weight, rate=None):
        """``(1/W) sum_i weight_i g_i`` (p,), with g_i the share of row i in grad J.

        Parameters
        ----------
        weight : ndarray (n,)
            May be signed.
        rate : ndarray (n,), optional
            `penalty_rate` under other weights than the objective's own.
        """
        rate = self.penalty_rate if rate is None else rate
        moved = np.flatnonzero(weight)
        # A removal moves the weights of few rows: the others are not read.
        X = self.X
        if len(moved) <= FEW * len(weight):
            X = rows.take(X, moved)
            pull = weight[moved, None] * self.residual[moved]
        else:
            pull = weight[:, None] * self.residual
        total = self.model.vjp(X, pull)
        total = total + (weight @ rate) * self.penalty_share
        return total / self.total_weight

    def gradient(self):
        """grad J (p,)."""
        data = self.model.vjp(self.X, self.weight[:, None] * self.residual)
        return data / self.total_weight + self.penalty_scale * self.penalty_share

    def row_gradients(self, index):
        """``w_i g_i / W`` of a few rows (len(index), p)."""
        gradients = self.model.gradients(rows.take(self.X, index), self.residual[index])
        share = self.penalty_rate[index][:, None] * self.penalty_share
        weight = self.weight[index] / self.total_weight
        return (gradients + share) * weight[:, None]


def sample_size(model, n_rows=500):
    """Rows whose gradients say how far a row moves: a few megabytes of them."""
    return min(n_rows, max(60_000 // model.n_parameters, 32))


def fingerprint(X, y, keep=None):
    """A few sums that change with any row, label or order; no row can be read off.

    Parameters
    ----------
    X : prepared rows (n, d)
    y : coded targets
    keep : ndarray of bool (n,), optional
        Rows to look at, at their places; default all.

    Returns
    -------
    ndarray (4,)
        Number of rows, a sum over X, its scale, a sum over y.
    """
    return condensed(*waves(X, y, keep))


def waves(X, y, keep=None, start=0):
    """What a fingerprint is made of, as sums over rows: (n, over X (d,), over y).

    Parameters
    ----------
    start : int
        Position of the first of these rows.
    """
    n = X.shape[0]
    wave = np.cos(np.arange(start + 1, start + n + 1))
    wave = wave if keep is None else wave * keep
    y = y if y.ndim == 1 else y @ np.cos(np.arange(y.shape[1]))
    return n, rows.column_sums(X, wave), wave @ y


def condensed(n, columns, labels):
    """The fingerprint of the sums of `waves`."""
    projected = columns @ np.sin(np.arange(1, len(columns) + 1))
    return np.array([n, projected, np.abs(columns).sum(), labels])


def same_rows(a, b):
    """Whether two fingerprints are of the same rows, up to float32 rounding."""
    if a[0] != b[0]:
        return False
    scale = 1e-6 * max(a[2], 1e-300)
    return abs(a[1] - b[1]) <= scale and np.isclose(a[3], b[3], rtol=1e-6, atol=1e-6)
