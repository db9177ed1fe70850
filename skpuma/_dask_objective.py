"""The objective of a fitted model on rows that are a dask collection.

Every block of rows is an ordinary `Objective`; values, gradients and Gram matrices are
sums over blocks, psi and other maps over rows are dask arrays.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from skpuma._dask_rows import computed, known, table_of
from skpuma.curvature import curvature_of
from skpuma.objective import FitRecord, Objective, condensed, sample_size, waves

# Parameters up to which the curvature is summed in the pass of the gradient: reading
# rows, or making them, costs more than that.
FUSED = 1024


@dataclass(frozen=True)
class DaskObjective(Objective):
    """An `Objective` whose rows live in blocks.

    Attributes
    ----------
    X : Table
        The user's rows and targets, prepared where they are.
    y : None
        Targets are known to the blocks only.
    weight : dask array (n,)
    given : dask array (n,)
        The user's weights, without class weights.
    even : bool
        Whether every row of the fit weighs 1.
    whole : bool
        Whether these are the rows and weights of the fit, of which the fingerprint and
        a few gradients are taken along.
    """

    given: object = None
    even: bool = False
    whole: bool = False

    partitioned = True

    @classmethod
    def of_fit(cls, model, X, y, sample_weight=None, record=None, name="X"):
        """Objective of the fit; `sample_weight` is a dask array, array-like or None.

        Raises
        ------
        ValueError
            If X, y and sample_weight do not fit together.
        """
        table = table_of(X, y, name)
        given = table.ones() if sample_weight is None else sample_weight
        given = table.aligned(given, name.replace("X", "sample_weight"))
        given = given.astype(np.float64)
        if record is None:
            weights = _class_weights(model, table, given)
        else:
            weights = record.class_weights
        model, weight = _weighed(model, weights, table, given)
        if record is None:
            record = _record(model, table, weight, weights, sample_weight)
        even = sample_weight is None and weights is None
        return cls(model, table, None, weight, record, None, given, even, whole=True)

    # -- sums and maps over blocks -----------------------------------------------------

    def total(self, function, *args):
        return self._table().total(_on_block, function, *self._shared, args)

    def map(self, function, width, *args):
        return self._table().map(_on_block, width, function, *self._shared, args)

    @property
    def epochs(self):
        """Passes over the rows so far, in rows: each takes outputs and gradients."""
        return float(self.X.passes.rows)

    def _table(self):
        return self.X.having(self.X.blocks_of(self.weight, "sample_weight"))

    @property
    def _shared(self):
        return self.model, self.record

    def at(self, theta):
        return replace(self, model=self.model.at(theta), whole=False)

    def reweighted(self, weight):
        return replace(self, weight=weight, whole=False)

    def subset(self, index):
        """A few rows, by sorted positions, as an ordinary `Objective`."""
        table = self._table().at(np.asarray(index))
        parts = table.total(_picked, *self._shared)
        X = parts[0][0] if len(parts[0]) == 1 else _stacked(parts[0])
        y, weight = (np.concatenate(part) for part in parts[1:])
        return Objective(self.model, X, y, weight, self.record, self.penalty_scale)

    def sample(self, size, seed):
        rng = np.random.default_rng(seed)
        n = self.X.shape[0]
        # Weights are not looked at before: a few of these rows may have none.
        part = self.subset(np.sort(rng.choice(n, min(size, n), replace=False)))
        return part.subset(np.flatnonzero(part.weight > 0))

    # -- what an Objective knows -------------------------------------------------------

    @cached_property
    def penalty_scale(self):
        kind, record = self.model.kind, self.record
        if self.scale is not None:
            return self.scale
        if kind == "sum":
            return 1.0
        if kind == "mean":
            positive = np.maximum(self.weight, 0.0).sum()
            return float(known(positive) / self.total_weight)
        used = int(known((self.weight > 0).sum()))
        return 1.0 - (record.n_used - used) / record.n_rows

    @cached_property
    def raw(self):
        raise TypeError("Raw outputs of dask rows are known to their blocks only.")

    @cached_property
    def residual(self):
        raise TypeError("Residuals of dask rows are known to their blocks only.")

    @cached_property
    def _sums(self):
        """Data terms of value and gradient, and what is had in the same pass."""
        fused = self.model.convex and self.model.n_parameters <= FUSED
        kind = self.model.curvature if fused else None
        table = self._table()
        if not self.whole:
            return table.total(_statistics, kind, *self._shared)
        n = self.X.shape[0]
        size = min(sample_size(self.model), n)
        asked = np.sort(np.random.default_rng(0).choice(n, size, replace=False))
        edges = np.searchsorted(asked, self.X.starts[1:])
        inside = tuple(
            some - start
            for some, start in zip(
                np.split(asked, edges), self.X.starts.tolist(), strict=True
            )
        )
        table = table.having(tuple(self.X.starts.tolist()), inside)
        return table.total(_first_statistics, kind, *self._shared)

    def value(self):
        theta = self.model.theta
        penalty = (0.5 * self.record.l2 * theta + self.record.tilt) @ theta
        return self._sums[0] / self.total_weight + self.penalty_scale * penalty

    def gradient(self):
        share = self.penalty_scale * self.penalty_share
        return self._sums[1] / self.total_weight + share

    def gram(self, kind):
        """The data term of a curvature (p, p)."""
        fused = self.model.convex and self.model.n_parameters <= FUSED
        if fused and kind == self.model.curvature:
            return self._sums[2].copy()
        return self.total(_gram, kind)

    def sample_gradients(self, n_rows=500):
        return np.concatenate(self._sums[3])[:n_rows]

    def fingerprint(self, keep=None):
        if keep is None:
            return condensed(*self._sums[4])
        table = self.reweighted(keep.astype(np.float64))._table()
        starts = tuple(self.X.starts.tolist())
        return condensed(*table.having(starts).total(_kept_waves, self.model))

    def score(self, model):
        """Accuracy or R2 of a model on these rows, averaged over outputs."""
        sums = self.at(model.theta).total(_score_sums)
        if model.loss.classification:
            return float(sums[0] / sums[1])
        error, weight, first, second = sums
        spread = second - first**2 / weight
        return float(np.mean(1.0 - error / spread))

    def class_counts(self, weight):
        table = self.X.having(self.X.blocks_of(weight, "weight"))
        # The targets alone: no row is read for them.
        table = table.of_columns(1, 2)
        return table.total(_used_counts, self.model)

    @cached_property
    def penalty_rate(self):
        import dask.array as da

        if self.model.kind != "count":
            constant = 0.0 if self.model.kind == "sum" else 1.0
            return da.full(self.weight.shape, constant, chunks=self.weight.chunks)
        used = self.weight > 0
        safe = da.where(used, self.weight, 1.0) * self.record.n_rows
        return da.where(used, self.total_weight / safe, 0.0)

    def weighted_gradient(self, weight, rate=None):
        rate = self.penalty_rate if rate is None else rate
        lost = 0.0
        if self.model.kind != "sum":
            lost = float(known((weight * rate).sum()))
        total = self.reweighted(weight).total(_pulled) + lost * self.penalty_share
        return total / self.total_weight


# -- functions of one block ------------------------------------------------------------


def _block(X, y, weight, model, record):
    return Objective(
        model, model.inputs(X), model.targets(y), weight, record, scale=1.0
    )


def _on_block(X, y, weight, function, model, record, args):
    return function(_block(X, y, weight, model, record), *args)


def _pulled(block):
    return block.model.vjp(block.X, block.weight[:, None] * block.residual)


def _gram(block, kind):
    return curvature_of(block, kind).data_term()


def _sums_of(block, kind):
    value = block.weight @ block.model.loss.value(block.raw, block.y)
    gram = 0.0 if kind is None else _gram(block, kind)
    return value, _pulled(block), gram


def _statistics(X, y, weight, kind, model, record):
    return _sums_of(_block(X, y, weight, model, record), kind)


def _first_statistics(X, y, weight, start, inside, kind, model, record):
    block = _block(X, y, weight, model, record)
    inside = inside[block.weight[inside] > 0]
    gradients = [block.row_gradients(inside)] if len(inside) else []
    return *_sums_of(block, kind), gradients, waves(block.X, block.y, start=start)


def _score_sums(block):
    model, y, weight = block.model, block.y, block.weight
    if model.classes is not None or model.loss.classification:
        return weight @ (model.loss.decide(block.raw) == y), weight.sum()
    error = weight @ np.square(y - model.loss.predict(block.raw))
    return error, weight.sum(), weight @ y, weight @ np.square(y)


def _kept_waves(X, y, keep, start, model):
    return waves(model.inputs(X), model.targets(y), keep, start)


def _used_counts(y, weight, model):
    used = model.targets(y)[weight > 0]
    return np.bincount(used, minlength=len(model.classes))


def _picked(X, y, weight, inside, model, record):
    part = _block(X, y, weight, model, record).subset(inside)
    return [part.X], [part.y], [part.weight]


def _stacked(parts):
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts, format="csr")
    return np.concatenate(parts)


# -- the record of the fit -------------------------------------------------------------


def _class_weights(model, table, given):
    """Class weights of the fit (n_classes,), or None."""
    if getattr(model.estimator, "class_weight", None) != "balanced":
        if model.classes is None:
            return None
        each = np.arange(len(model.classes))
        return model.class_weights(each, np.ones(len(each)))
    weight = table.blocks_of(given, "sample_weight")
    counts, weighted = table.having(weight).total(_class_counts, model)
    # Some estimators balance counts, some balance weights: ask with a class that has
    # two rows of half a weight.
    each = np.append(np.arange(len(counts)), 0)
    probe = model.class_weights(each, np.append(np.ones(len(counts)), 0.0))
    total = weighted if np.allclose(probe, 1.0) else counts
    with np.errstate(divide="ignore"):
        return total.sum() / (len(total) * total)


def _class_counts(X, y, weight, model):
    code, k = model.targets(y), len(model.classes)
    return np.bincount(code, minlength=k), np.bincount(code, weight, minlength=k)


def _weighed(model, class_weights, table, given):
    """Model and effective weights (a dask array) under class weights."""
    if class_weights is None:
        return model, given
    # The model depends on the class weights alone.
    weighed, same = model.weigh(class_weights, np.zeros(1, dtype=int), np.full(1, 0.5))
    if weighed is not model and same[0] == 0.5:
        return weighed, given
    blocks = table.blocks_of(given, "sample_weight")
    return weighed, table.having(blocks).map(_weight, None, model, class_weights)


def _weight(X, y, weight, model, class_weights):
    return model.weigh(class_weights, model.targets(y), weight)[1]


def _record(model, table, weight, class_weights, sample_weight):
    n = table.shape[0]
    total, used = float(n), n
    if sample_weight is not None or class_weights is not None:
        found = computed(
            weight.sum(), (weight > 0).sum(), weight.min(), (~_finite(weight)).sum()
        )
        total, used = float(found[0]), int(found[1])
        if found[3]:
            raise ValueError("sample_weight contains NaN or infinity.")
        if found[2] < 0:
            raise ValueError(
                "sample_weight has negative values: give rows that should not count "
                "weight 0."
            )
        if not total > 0:
            raise ValueError("sample_weight sums to zero: at least one row must count.")
    return FitRecord(
        total_weight=total,
        n_rows=n,
        n_used=used,
        l2=model.ridge(total, n),
        tilt=model.tilt(total, n),
        class_weights=class_weights,
    )


def _finite(weight):
    import dask.array as da

    return da.isfinite(weight)
