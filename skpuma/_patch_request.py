"""What a call of `PumaPatcher.patch` asks for, checked, and how it is carried out.

Everything that can be refused is refused here, before the estimator changes.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state

from skpuma import patching, scores
from skpuma._dask_rows import known
from skpuma._meta import (
    criterion_rows,
    warn_if_not_stationary,
    warn_if_singular,
    warn_no_optimum,
)
from skpuma.criteria import measures_of
from skpuma.objective import Objective
from skpuma.reporting import PatchReport, history_of, report_of
from skpuma.utils._grouping import names_groups, rows_of_groups
from skpuma.utils._validation import (
    check_bool,
    check_groups,
    check_number,
    check_same_index,
    rows_of,
)
from skpuma.utils.errors import DeltaReachedWarning, PatchWarning, warn

BOUNDED_DELTA = 0.01
RELATIVE_DELTA = 0.01
EARLY_ENDS = {
    "stalled": "the marked rows have no influence left to take away",
    "steps": "it took too many steps, so trust may be too small",
    "nonfinite": "beyond it the outputs or a criterion are not finite",
}


@dataclass(frozen=True)
class Request:
    """A patch that may be walked.

    Attributes
    ----------
    objective : Objective
        At the model before the patch.
    marks : patching.Marks
    measures : list of Measure
    target : Measure or None
    settings : patching.Settings
    rows_of_C : (X, y, weight, groups)
        Prepared rows that measure the criteria; a `DaskObjective` of rows in blocks.
    measured_on : str
    removed_groups : tuple of (label, rows, weight)
        Where whole groups are marked.
    """

    objective: Objective
    marks: patching.Marks
    measures: list
    target: object
    settings: patching.Settings
    rows_of_C: tuple
    measured_on: str
    removed_groups: tuple = ()


@dataclass(frozen=True)
class Outcome:
    """Everything that a patch changes on the estimator.

    Attributes
    ----------
    estimator : estimator or None
        Patched; None if nothing was marked.
    factor : ndarray (n,)
        Weights after the patch, relative to those before.
    lam : ndarray (n,)
    report : PatchReport
    history : DataFrame
    stationarity : float
    """

    estimator: object
    factor: np.ndarray
    lam: np.ndarray
    report: PatchReport
    history: object
    stationarity: float


def check_parameters(p):
    """Refuse constructor parameters that make no sense, given as a dict.

    Raises
    ------
    ValueError, TypeError
    """
    if p["side"] not in ("worse", "both"):
        raise ValueError(f"side={p['side']!r} is neither 'worse' nor 'both'.")
    check_bool(p["reweight"], "reweight")
    check_number(p["eta"], "eta", low=0.0, infinite=True)
    check_number(p["trust"], "trust", low=0.0, strict_low=True)
    check_number(p["alpha"], "alpha", low=0.0, high=1.0)
    check_number(p["l1_ratio"], "l1_ratio", low=0.0, high=1.0)
    check_number(p["max_weight"], "max_weight", low=0.0, strict_low=True)
    if p["damping"] != "auto":
        check_number(p["damping"], "damping", low=0.0)
    if p["polish"] not in ("auto", True, False):
        raise ValueError(f"polish={p['polish']!r} is not 'auto', True or False.")
    steps = p["steps"]
    whole = isinstance(steps, (int, np.integer)) and not isinstance(steps, bool)
    if steps != "auto" and (not whole or steps < 1):
        raise ValueError(f"steps={steps!r} is neither 'auto' nor an int >= 1.")
    if np.isinf(p["eta"]) and p["forget_at"] is None and p["target"] is None:
        raise ValueError(
            "eta=inf has no end of its own: set forget_at= or target=, or a finite eta."
        )
    if np.isinf(p["eta"]) and steps != "auto":
        raise ValueError("eta=inf needs steps='auto'.")
    for delta in p["delta"] if isinstance(p["delta"], (list, tuple)) else [p["delta"]]:
        if not (isinstance(delta, str) and delta == "auto"):
            check_number(delta, "delta", low=0.0, infinite=True)
    if p["forget_at"] is not None:
        check_number(p["forget_at"], "forget_at", low=0.0, strict_low=True)


def prepare(p, objective, X, mask, extra, weight, sensitive, validation, grouping=None):
    """Check and bind everything that a patch needs.

    Parameters
    ----------
    p : dict
        Constructor parameters of the patcher.
    objective : Objective
    X : the user's rows, for labels of their index
    mask : ndarray of bool (n,)
        Rows to remove.
    extra : ndarray (n,)
        Extra relative weights.
    weight : ndarray (n,)
        The user's weights, without class weights.
    sensitive : array-like (n,) or None
        Sensitive feature of the rows of X.
    validation : (X_val, y_val, sample_weight_val, sensitive_features_val)
    grouping : Grouping, optional
        Groups of which `mask` takes all rows or none.

    Returns
    -------
    Request
    """
    model, n = objective.model, len(objective.weight)
    # A row without weight has nothing left to take away.
    mask = mask & (objective.weight > 0)
    check_same_index(sensitive, X, "sensitive_features")
    sensitive = check_groups(sensitive, n)
    check_marked(p, objective, mask, extra)
    if all(part is None for part in validation):
        keep = ~mask & (objective.weight > 0)
        # Without weight instead of left out, so that the rows are not copied.
        own = np.where(keep, weight, 0.0)
        rows_of_C = (objective.X, objective.y, own, sensitive)
        measured_on = f"the {int(keep.sum())} unmarked training rows"
    else:
        rows_of_C = criterion_rows(model, *validation, known=(X, objective.X))
        measured_on = f"{len(rows_of_C[1])} validation rows"
    measures = measures_of(p["criterion"], model, *rows_of_C)
    target = None
    if p["target"] is not None:
        found = measures_of(p["target"], model, *rows_of_C)
        if len(found) > 1:
            raise ValueError("target must be a single criterion without `by`.")
        target = found[0]
    candidates = ~mask & (objective.weight > 0)
    if p["candidates"] is not None:
        candidates &= rows_of(p["candidates"], n, X, "candidates")
    return Request(
        objective=objective,
        marks=patching.Marks(mask, extra, candidates),
        measures=measures,
        target=target,
        settings=settings_of(p, model, deltas_of(p, model, measures, rows_of_C), n),
        rows_of_C=rows_of_C,
        measured_on=measured_on,
        removed_groups=_removed_groups(grouping, mask, weight),
    )


def rows_to_remove(selection, grouping, n, X, name="remove"):
    """A mask (n,) of the rows to remove: of whole groups, where there are groups.

    Raises
    ------
    ValueError, IndexError, KeyError, TypeError
    """
    if grouping is None:
        return rows_of(selection, n, X, name)
    return rows_of_groups(selection, grouping, X, name)


def _removed_groups(grouping, mask, weight):
    """(label, rows, weight) of the groups that lose rows."""
    if grouping is None:
        return ()
    sizes, total = grouping.total(mask.astype(float)), grouping.total(mask * weight)
    return tuple(
        (grouping.labels[g], int(sizes[g]), float(total[g]))
        for g in np.flatnonzero(sizes)
    )


def carry_out(request, moved_before=False, beyond=False, begin=None):
    """Walk the path of a request.

    Parameters
    ----------
    request : Request
    moved_before : bool
        Whether earlier patches have left the optimum of J, so that the model cannot
        be at it now.
    beyond : bool
        Whether one of them went beyond s = 1: then no correction may bring back what
        it erased.
    begin : callable, optional
        `begun` of the fitted estimator, or what a cache makes of it.

    Returns
    -------
    Outcome

    Warns
    -----
    DeltaReachedWarning, StationarityWarning, PatchWarning
    """
    path = patching.Path(*_of_path(request), corrects=not beyond)
    distance, info = 0.0, {}
    if not request.marks.empty:
        if begin is not None:
            path.take_up(begin(*_key_of_beginning(request, path), path=path))
        distance, info = _stationarity(request, path.first_solver(), moved_before)
    outcome = _outcome(request, path, path.walk(), distance, info)
    _announce(outcome.report, request.settings.eta)
    return outcome


def begun(estimator, X, y, weight, settings, path):
    """What a path begins with, a function of all arguments but the path.

    Delta, eta and marks are not among them, so that a cache of it serves searches.
    """
    return path.beginning()


def _key_of_beginning(request, path):
    objective, settings = request.objective, request.settings
    names = ("curvature", "solver", "damping", "curvature_rows", "seed", "polish")
    same = {name: getattr(settings, name) for name in names}
    same["corrects"] = path.corrects
    return objective.X, objective.y, objective.weight, same


def carry_out_each(request, choices):
    """Walk the paths of a request under several deltas and etas.

    Equal to one `carry_out` for each, but what their paths share is computed once.

    Parameters
    ----------
    request : Request
        Of an estimator that was not patched before.
    choices : list of dict
        Constructor parameters of the patchers.

    Yields
    ------
    result : patching.PatchResult
        Where a path ended; equal ends are the same ``theta``.
    outcome : callable
        () -> `Outcome`. Nothing is said about deltas that are reached.
    """
    walked, first = patching.Walked(), True
    distance, info = 0.0, {}
    for p in choices:
        model = request.objective.model
        delta = deltas_of(p, model, request.measures, request.rows_of_C)
        settings = replace(request.settings, delta=delta, eta=float(p["eta"]))
        one = replace(request, settings=settings)
        path = patching.SharedPath(*_of_path(one), walked=walked)
        if not request.marks.empty and first:
            distance, info = _stationarity(one, path.first_solver())
        elif not request.marks.empty:
            path.first_solver()
        result = path.walk()
        yield result, partial(_outcome, one, path, result, distance, info, first)
        first = False


def _of_path(request):
    return (
        request.objective,
        request.marks,
        request.measures,
        request.settings,
        request.target,
    )


def _outcome(request, path, result, distance, info, warns=True):
    """The outcome of a path that was walked."""
    objective, marks = request.objective, request.marks
    model = objective.model
    if warns and not path.converged:
        warn_no_optimum()
    patched = objective.at(result.theta)
    caveat = model.caveat(patched.reweighted(objective.weight * result.factor))
    if warns and caveat is not None:
        warn(f"On the rows that are left {caveat}", PatchWarning)
    name, score = ("accuracy", _accuracy) if model.classes is not None else ("r2", _r2)
    both = model, model.at(result.theta)
    if isinstance(request.rows_of_C, tuple):
        plain = {name: tuple(score(one, *request.rows_of_C) for one in both)}
    else:
        plain = {name: tuple(request.rows_of_C.score(one) for one in both)}
    report = report_of(
        result,
        request.measures,
        request.target,
        request.settings,
        marks,
        request.measured_on,
        distance,
        plain,
        info,
        request.removed_groups,
    )
    return Outcome(
        estimator=None if marks.empty else model.with_theta(result.theta),
        factor=result.factor,
        lam=marks.of_all(result.lam),
        report=report,
        history=history_of(result, request.measures, request.target),
        stationarity=distance,
    )


def extra_weight(upweight, grouping, n, X):
    """Extra relative weight (n,) from a mask, a selection, or a float vector.

    Where there are groups, what is neither a mask nor a float vector names them.

    Raises
    ------
    ValueError, IndexError, KeyError, TypeError
    """
    if upweight is None:
        return np.zeros(n)
    if grouping is not None and names_groups(upweight, grouping):
        return rows_of_groups(upweight, grouping, X, "upweight").astype(float)
    values = np.asarray(upweight)
    if values.dtype.kind == "f" and values.size:
        check_same_index(upweight, X, "upweight")
        if values.shape != (n,):
            raise ValueError(f"upweight has shape {values.shape}, X has {n} rows.")
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("upweight must be finite and not negative.")
        return values.astype(float)
    return rows_of(upweight, n, X, "upweight").astype(float)


def settings_of(p, model, deltas, n):
    sampled = p["curvature_rows"]
    if sampled == "auto":
        sampled = patching.default_curvature_rows(model, n)
    elif sampled is not None:
        sampled = int(check_number(sampled, "curvature_rows", low=1))
    seed = 0
    if p["random_state"] is not None:
        seed = int(check_random_state(p["random_state"]).randint(2**31 - 1))
    same = ("forget_at", "steps", "trust", "reweight", "side", "alpha", "l1_ratio")
    same += ("max_weight", "curvature", "solver", "damping")
    return patching.Settings(
        delta=deltas,
        eta=float(p["eta"]),
        polish=bool(p["polish"]),
        curvature_rows=sampled,
        seed=seed,
        **{name: p[name] for name in same},
    )


def deltas_of(p, model, measures, rows_of_C):
    """One bound per measure; a list counts criteria, whose parts share theirs."""
    criteria = p["criterion"]
    if not isinstance(criteria, (list, tuple)):
        criteria = [criteria]
    if isinstance(p["delta"], (list, tuple)):
        given = list(p["delta"])
        if len(given) == len(criteria) < len(measures):
            parts = [len(measures_of(one, model, *rows_of_C)) for one in criteria]
            given = np.repeat(np.array(given, dtype=object), parts)
        elif len(given) != len(measures):
            raise ValueError(
                f"delta has {len(given)} values for {len(criteria)} criteria with "
                f"{len(measures)} rows: {[m.name for m in measures]}."
            )
    else:
        given = [p["delta"]] * len(measures)
    deltas = []
    for delta, measure in zip(given, measures, strict=True):
        if isinstance(delta, str):
            value = abs(measure.value(model))
            delta = BOUNDED_DELTA if measure.bounded else RELATIVE_DELTA * value
        deltas.append(float(delta))
    return np.array(deltas)


def _stationarity(request, solver, moved_before=False):
    """Distance from the optimum, and what curvature and solver were chosen."""
    objective, settings = request.objective, request.settings
    distance = scores.stationarity(objective, solver)
    model = objective.model
    advice = (
        "the patch moves it by the change of the weights only. Train longer, with "
        "solver='lbfgs' or a smaller tol, for a patch that is closer to a refit"
    )
    # Convex models are corrected: their distance needs no advice, only other rows do.
    warn_if_not_stationary(distance, model.convex, advice, moved_before)
    warn_if_singular(solver, settings.damping, model.convex)
    info = {
        "curvature": solver.curvature.name,
        **solver.info,
        "damping": solver.damping,
    }
    return distance.value, info


def _announce(report, eta):
    """Warnings about a patch, while they may still be turned into errors."""
    if report.bound is not None:
        warn(
            f"{report.bound} reached its delta at s = {report.s:.4g} of eta = "
            f"{eta:g}: the largest feasible patch was kept. Allow a larger delta, "
            "mark fewer rows, or re-weight more freely (max_weight, alpha).",
            DeltaReachedWarning,
        )
    elif report.stopped_by in EARLY_ENDS:
        warn(
            f"The path ended at s = {report.s:.4g} before its goal: "
            f"{EARLY_ENDS[report.stopped_by]}.",
            PatchWarning,
        )


def check_marked(p, objective, mask, extra):
    """Refuse marks that leave nothing to learn from, or a path without an end.

    Raises
    ------
    ValueError
    """
    model = objective.model
    _check_left(model, objective, mask)
    if p["forget_at"] is None:
        return
    _check_forget_at(model, p["forget_at"])
    idle = not known(mask.any()) and known(extra.any())
    if np.isinf(p["eta"]) and p["target"] is None and idle:
        raise ValueError(
            "eta=inf with forget_at ends where removed rows are forgotten, but "
            "rows are up-weighted only: set target=, or a finite eta."
        )


def _check_left(model, objective, mask):
    left = ~mask & (objective.weight > 0)
    if not known(left.any()):
        raise ValueError(
            "All rows are marked: there is nothing left to learn from. Mark fewer."
        )
    if model.classes is None or not known(mask.any()):
        return
    present = objective.class_counts(objective.weight) > 0
    kept = objective.class_counts(objective.weight * left) > 0
    vanished = np.flatnonzero(present & ~kept)
    if not len(vanished):
        return
    names = model.classes[vanished].tolist()
    if len(model.classes) == 2:
        raise ValueError(
            f"Class {names[0]!r} would vanish with the marked rows: a binary model has "
            "nothing left to separate. Keep some of its rows."
        )
    warn(
        f"Classes {names} vanish with the marked rows; the model keeps their outputs.",
        PatchWarning,
    )


def _check_forget_at(model, forget_at):
    if model.loss.classification and not forget_at < 1.0:
        raise ValueError(
            f"forget_at={forget_at} must be below 1 for a classifier: it is the mean "
            "predicted probability of the marked rows' labels."
        )
    if not model.loss.classification and forget_at < 1.0:
        raise ValueError(
            f"forget_at={forget_at} must be at least 1 for a regressor: it is the mean "
            "squared error of the marked rows relative to the others."
        )


def _accuracy(model, X, y, weight, groups):
    predicted = model.loss.decide(model.raw(X))
    return float(np.average(predicted == y, weights=weight))


def _r2(model, X, y, weight, groups):
    return float(r2_score(y, model.loss.predict(model.raw(X)), sample_weight=weight))
