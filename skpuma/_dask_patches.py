"""A patch of a model whose training rows are a dask collection."""

import numpy as np

from skpuma import patching
from skpuma._dask_fits import frozen_estimator, refuse_arguments
from skpuma._dask_measures import any_dask, dask_measures, measured_rows
from skpuma._dask_objective import DaskObjective
from skpuma._dask_rows import Table, computed, is_dask, known, persisted
from skpuma._meta import criterion_rows
from skpuma._patch_request import Request, check_marked, deltas_of, settings_of
from skpuma.criteria import measures_of
from skpuma.models import adapt
from skpuma.objective import same_rows
from skpuma.utils._validation import check_mask


def objective_of(patcher, X, y, sample_weight):
    """(estimator, `DaskObjective` of the rows now) of a patcher.

    Raises
    ------
    ValueError
        If nothing is fitted, or these are other rows than those of the fit.
    """
    fitted = hasattr(patcher, "estimator_")
    if fitted:
        estimator, record = patcher.estimator_, patcher._record
    else:
        estimator, record = frozen_estimator(patcher._base()), None
    if sample_weight is None and fitted:
        sample_weight = patcher.row_weight_
    objective = DaskObjective.of_fit(adapt(estimator), X, y, sample_weight, record)
    if fitted:
        _check_rows(patcher, objective)
    return estimator, objective


def _check_rows(patcher, objective):
    before = patcher.row_weight_
    if not (
        same_rows(patcher._fingerprint, objective.fingerprint())
        or same_rows(patcher._left, objective.fingerprint(before > 0))
    ):
        raise ValueError(
            "X and y are not the rows of the fit, or not in its order; pass the same "
            "rows."
        )
    taken = int(known(((before == 0) & (objective.given > 0)).sum()))
    if taken and patcher._moved():
        raise ValueError(
            f"sample_weight gives weight back to {taken} rows that an earlier patch "
            "removed. Leave it out, or pass patcher.row_weight_."
        )


def request_of(p, objective, remove, upweight, validation, unused):
    """Check and bind what a patch needs: a `Request`.

    Parameters
    ----------
    p : dict
        Constructor parameters of the patcher.
    objective : DaskObjective
    remove : mask (n,), a dask array or in memory; positions; or None
    upweight : mask, or floats (n,), of the same kinds; or None
    validation : (X_val, y_val, sample_weight_val, sensitive_features_val)
    unused : dict
        Arguments of `patch` that have no meaning here.

    Raises
    ------
    ValueError, TypeError, IndexError
    """
    refuse_arguments(**unused, candidates=p["candidates"])
    if p["reweight"]:
        raise ValueError(
            "reweight=True weighs all other rows against each other, which needs them "
            "in one place: set reweight=False where X is a dask collection."
        )
    model, table = objective.model, objective.X
    removed = _mask(remove, table, "remove") & (objective.weight > 0)
    extra = np.zeros(())
    (removed,) = persisted(removed)
    if upweight is not None:
        (extra,) = persisted(_extra(upweight, table))
        if known((removed & (extra > 0)).any()):
            raise ValueError("Some rows are both in remove and in upweight.")
    check_marked(p, objective, removed, extra)
    measures, target, rows_of_C, measured_on = _measured(
        p, objective, removed, validation
    )
    return Request(
        objective=objective,
        marks=patching.Marks(removed, extra, np.zeros(0, dtype=bool)),
        measures=measures,
        target=target,
        settings=settings_of(
            p, model, deltas_of(p, model, measures, None), table.shape[0]
        ),
        rows_of_C=rows_of_C,
        measured_on=measured_on,
    )


def _measured(p, objective, removed, validation):
    """(measures, target, rows that measure them, what those are called)."""
    model = objective.model
    if all(part is None for part in validation) or any_dask(*validation[:3]):
        refuse_arguments(sensitive_features_val=validation[3])
        if validation[0] is None:
            own = objective.reweighted(np.where(removed, 0.0, objective.given))
            measured_on = "the unmarked training rows"
        else:
            own = measured_rows(p["criterion"], model, *validation[:3])[1]
            own = own.reweighted(own.given)
            measured_on = f"{own.X.shape[0]} validation rows"
        measures = dask_measures(p["criterion"], own)
        found = None if p["target"] is None else dask_measures(p["target"], own)
        rows_of_C = own
    else:
        rows_of_C = criterion_rows(model, *validation)
        measured_on = f"{len(rows_of_C[1])} validation rows"
        measures = measures_of(p["criterion"], model, *rows_of_C)
        found = None
        if p["target"] is not None:
            found = measures_of(p["target"], model, *rows_of_C)
    if found is not None and len(found) > 1:
        raise ValueError("target must be a single criterion without `by`.")
    return measures, found and found[0], rows_of_C, measured_on


def _mask(selection, table, name):
    """A boolean dask array (n,) of a mask or of positions."""
    n = table.shape[0]
    if selection is None:
        return table.ones() == 0
    if not is_dask(selection):
        values = np.asarray(selection)
        if values.dtype.kind in "iu" and values.ndim == 1:
            return _positions(values, table, name)
        if values.dtype.kind in "OUS":
            raise TypeError(
                f"{name} has dtype {values.dtype}: rows of a dask collection are named "
                "by position or by a boolean mask, not by the labels of an index."
            )
        mask = check_mask(values, n, name=name)
        # With its row labels, if it has some.
        selection = selection if hasattr(selection, "iloc") else mask
    mask = table.aligned(selection, name)
    if mask.dtype != bool or mask.ndim != 1:
        raise TypeError(
            f"{name} must be a boolean mask (a dask array or in memory) or positions, "
            f"got dtype {mask.dtype}."
        )
    return mask


def _positions(positions, table, name):
    n = table.shape[0]
    if ((positions < 0) | (positions >= n)).any():
        raise IndexError(f"{name} has positions outside 0 ... {n - 1}.")
    if len(np.unique(positions)) < len(positions):
        raise ValueError(f"{name} names some rows more than once.")
    starts, lengths = table.starts, np.asarray(table.lengths)
    inside = tuple(
        positions[(positions >= start) & (positions < start + length)] - start
        for start, length in zip(starts, lengths, strict=True)
    )
    marked = Table((table.lengths, inside), table.lengths, table.n_columns)
    return marked.map(_at_positions, None) > 0


def _at_positions(length, inside):
    out = np.zeros(length)
    out[inside] = 1.0
    return out


def _extra(upweight, table):
    """Extra relative weights, a dask array (n,)."""
    if not is_dask(upweight) and np.asarray(upweight).dtype.kind != "f":
        return _mask(upweight, table, "upweight").astype(np.float64)
    extra = table.aligned(upweight, "upweight").astype(np.float64)
    low, total = computed(extra.min(), extra.sum())
    if not (np.isfinite(total) and low >= 0):
        raise ValueError("upweight must be finite and not negative.")
    return extra
