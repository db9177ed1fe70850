"""Which rows a debugger lists: by their labels, or by psi alone."""

from dataclasses import dataclass, field, replace

import numpy as np

from skpuma import scores, trust, valuing
from skpuma._meta import criterion_rows
from skpuma.detection import VIEWS, LabelledRows, label_noise
from skpuma.objective import Objective
from skpuma.solvers import EXPLICIT_LIMIT
from skpuma.utils._registry import load
from skpuma.utils._validation import check_groups
from skpuma.utils.errors import PatchWarning, warn

MISLABELLED, OVER, UNDER, HARMFUL = (
    "mislabelled",
    "over-confident",
    "under-confident",
    "harmful",
)
CLASS_SHARE = 0.5
# Training rows from which "auto" takes the views that a linear model pays for itself.
LARGE = 10_000
# Share of the entropy of the labels below which a model explains nothing.
BLIND = 0.05
# A probability has to be this far from what the views expect to be an issue.
CONFIDENCE_GAP = 0.1
# Share of the rows that may be listed as over-confident, and as under-confident.
CONFIDENCE_SHARE = 0.1
# Median absolute deviations beyond which an effect by psi alone stands out.
STANDS_OUT = 8.0
N_BOOTSTRAP = 100
# Fewer where so many rows measure a criterion that its intervals are narrow anyway.
BOOTSTRAP_ROWS, FEWEST = 1_000_000, 40
TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Suspects:
    """What was found, before anything is patched.

    Attributes
    ----------
    names : list of str
        Criteria.
    psi : ndarray (n, m)
    score : ndarray (n,)
        The lowest are the most suspicious.
    position : ndarray of int (q,)
        Rows to list, in the order of the list.
    kind : ndarray of str (q,)
    predicted : ndarray (q,)
    low, high : ndarray (q, m)
        Interval of psi.
    measured : dict
        The rows that measure the criteria, as keywords of `PumaPatcher.patch`.
    measured_on : str
        What the report says of them, if not what a patcher says.
    attributes : dict
        Further fitted attributes of the debugger.
    """

    names: list
    psi: np.ndarray
    score: np.ndarray
    position: np.ndarray
    kind: np.ndarray
    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    measured: dict
    measured_on: str | None = None
    attributes: dict = field(default_factory=dict)

    def mask(self, kinds):
        """Rows (n,) that are listed under one of these kinds."""
        chosen = np.zeros(len(self.score), dtype=bool)
        chosen[self.position[np.isin(self.kind, kinds)]] = True
        return chosen

    def to_remove(self, kinds, weight, labels, share):
        """Rows (n,) of these kinds within a share of the weight.

        Wrong labels first, by their score; then the others, by psi.
        """
        chosen = self.mask(kinds)
        wrong = chosen & self.mask([MISLABELLED])
        psi = self.psi[:, 0] / max(np.nanmax(np.abs(self.psi[:, 0])), 1e-300)
        order = np.where(wrong, self.score - 1.0, psi + 2.0)
        order[~chosen] = np.nan
        return select_lowest(order, np.inf, weight, labels, share)


# -- by labels -------------------------------------------------------------------------


def by_labels(model, table, measured, settings, options, rng):
    """Rows whose label is probably wrong, and rows that mislead the confidence.

    Parameters
    ----------
    model : BaseModel
        A fitted classifier with one label a row.
    table : (X, y, weight, sensitive)
        The user's rows.
    measured : dict
        Keywords ``X_val``, ... of the user; all None without validation rows.
    settings : valuing.Settings
    options : dict
        ``views``, ``rounds``, ``cv``, ``n_jobs`` and ``verbose``.
    rng : RandomState
    """
    X, y, weight, sensitive = table
    training = (model.inputs(X), model.targets(y), weight)
    validation = None
    if any(part is not None for part in measured.values()):
        validation = criterion_rows(model, *measured.values())
    noise, rows = _judged(model, training, validation, options, rng)
    right = noise.right(rows.code)
    score = _placed(right, rows.place)
    whose = "training" if validation is None else "validation"
    if validation is None:
        # The rows measure the criterion as far as their labels can be believed.
        measured = {"X_val": X, "y_val": y, "sensitive_features_val": sensitive}
        groups = check_groups(sensitive, len(weight))
        of_criterion = (*training[:2], weight * np.nan_to_num(score), groups)
    else:
        believed = validation[2] * np.nan_to_num(_placed(right, rows.place_val))
        of_criterion = (*validation[:2], believed, validation[3])
    measured = {**measured, "sample_weight_val": of_criterion[2]}
    objective = Objective.at_fit(model, *training)
    if model.n_parameters > EXPLICIT_LIMIT:
        # A ranking does not notice what Newton steps add, which are dear here.
        settings = replace(settings, polish=False)
    valued = valuing.with_validation_rows(objective, of_criterion, settings)
    objective = objective.at(valued.model.theta)
    wrong = np.nan_to_num(score, nan=1.0) < 0.5
    expected = _placed(noise.unseen, rows.place)
    position, kind = _listed(score, wrong, expected, objective, valued.effect[:, 0])
    low, high = _intervals(
        valued, objective.subset(position), of_criterion, settings, rng
    )
    sure = _surely(kind, low[:, 0], high[:, 0])
    predicted = _likely(expected, training[1], wrong)
    return Suspects(
        names=valued.names,
        psi=valued.psi,
        score=score,
        position=position[sure],
        kind=kind[sure],
        predicted=model.classes[predicted[position[sure]]],
        low=low[sure],
        high=high[sure],
        measured=measured,
        measured_on=f"{len(of_criterion[1])} {whose} rows, as far as their labels are "
        "believed",
        attributes={
            "label_probability_": _placed(noise.probability, rows.place),
            "noise_rate_": noise.rate[0],
            "transition_": noise.transition[0],
            "view_shares_": noise.shares,
            "n_rounds_": noise.n_rounds,
        },
    )


def _judged(model, training, validation, options, rng):
    """(LabelNoise, LabelledRows) of the training rows and of any validation rows."""
    looked_at = None
    if validation is not None:
        # Weights of validation rows have a unit of their own.
        weight, own = training[2], validation[2]
        unit = weight[weight > 0].mean() / own[own > 0].mean()
        looked_at = (*validation[:2], own * unit)
    rows = LabelledRows.merge(training, looked_at, len(model.classes))
    if len(np.unique(rows.code)) < 2:
        raise ValueError(
            "All rows with a positive weight have one class: no label can be told "
            "from another. Pass rows of at least two classes."
        )
    views = _views(model, rows, options, rng)
    noise = label_noise(views, rows, options["rounds"], verbose=options["verbose"])
    _warn_if_blind(noise, rows)
    return noise, rows


def _warn_if_blind(noise, rows):
    """Say that a model which looks alone hardly tells the classes apart."""
    if set(noise.shares) != {"model"}:
        return
    share = np.bincount(rows.code, rows.weight, rows.n_classes) / rows.weight.sum()
    given = noise.unseen[np.arange(len(rows)), rows.code]
    known = np.average(np.log(given) - np.log(share[rows.code]), weights=rows.weight)
    present = share[share > 0]
    if known < BLIND * -np.sum(present * np.log(present)):
        warn(
            "The model hardly tells the classes apart, so that it cannot tell wrong "
            'labels either. Let others look too: views=("model", "neighbors", '
            '"forest", "extra_trees").',
            PatchWarning,
        )


def _views(model, rows, options, rng):
    names = options["views"]
    if isinstance(names, str):
        alone = model.convex and len(rows) >= LARGE
        names = ["model"] if alone else list(VIEWS)
    keywords = {
        "model": model,
        "cv": options["cv"],
        "n_jobs": options["n_jobs"],
        "random_state": rng.randint(2**31 - 1),
    }
    return {name: load(VIEWS[name])(rows, **keywords) for name in names}


def _placed(values, place):
    """Values of distinct rows for the user's rows; nan for those of weight 0."""
    out = np.full((len(place), *values.shape[1:]), np.nan)
    out[place >= 0] = values[place[place >= 0]]
    return out


def _likely(expected, code, wrong):
    """The class that the views expect (n,), and for wrong labels another one."""
    expected = np.nan_to_num(expected)
    expected[np.flatnonzero(wrong), code[wrong]] = -1.0
    return expected.argmax(axis=1)


def _listed(score, wrong, expected, objective, effect):
    """(position, kind) of wrong labels, and of rows that mislead the confidence.

    A row is over-confident where the model gives its label more than models that have
    not seen it do, and its removal is predicted to lower the first criterion;
    under-confident where it is the other way round.
    """
    each = np.arange(len(score))
    p = objective.model.loss.predict(objective.raw)[each, objective.y]
    if objective.record.class_weights is not None:
        # Such a model is meant to be surer of rare classes than the rows are.
        p = expected[each, objective.y]
    gap = np.where(wrong, 0.0, np.nan_to_num(p - expected[each, objective.y]))
    effect = np.nan_to_num(effect)
    most = int(CONFIDENCE_SHARE * np.isfinite(score).sum())
    listed = {
        MISLABELLED: _first(score, wrong, len(score)),
        OVER: _first(effect, (gap > CONFIDENCE_GAP) & (effect < 0), most),
        UNDER: _first(-effect, (gap < -CONFIDENCE_GAP) & (effect > 0), most),
    }
    kind = np.repeat(np.array(list(listed), dtype=object), [*map(len, listed.values())])
    return np.concatenate(list(listed.values())), kind


def _surely(kind, low, high):
    """Wrong labels, and other rows whose interval of psi excludes zero."""
    over = (kind == OVER) & (high < 0)
    return (kind == MISLABELLED) | over | ((kind == UNDER) & (low > 0))


def _first(values, allowed, most):
    """Positions of the lowest values among the allowed ones, lowest first."""
    allowed = np.flatnonzero(allowed)
    return allowed[np.argsort(values[allowed], kind="stable")][:most]


def _intervals(valued, part, of_criterion, settings, rng):
    """Bootstrap interval of psi of a few rows: (low, high), each (q, m)."""
    if not len(part.y):
        return np.empty((2, 0, len(valued.names)))
    count = int(np.clip(BOOTSTRAP_ROWS // len(of_criterion[1]), FEWEST, N_BOOTSTRAP))
    if valued.solver.iterative:
        count = FEWEST
    known = valued.solver, valued.folds[0].S
    S = trust.replicates_of(
        part, of_criterion, settings, valued.names, count, rng, known
    )
    psi = np.stack([scores.psi_matrix(part, one) for one in S], axis=1)
    return np.quantile(psi, TAILS, axis=2)


# -- by psi ----------------------------------------------------------------------------


def by_psi(valuator, table, measured, max_removed):
    """Rows whose removal is predicted to lower the first criterion by far the most.

    Half of all rows are predicted to be harmful; listed are those that stand out.

    Parameters
    ----------
    valuator : PumaValuator
        Not fitted.
    table : (X, y, weight, sensitive)
    measured : dict
        As in `by_labels`.
    max_removed : float
    """
    X, y, weight, sensitive = table
    keywords = {**measured, "sensitive_features": sensitive}
    valuator.fit(X, y, weight, **keywords)
    effect = np.nan_to_num(valuator.removal_effect_[:, 0])
    rate = np.divide(effect, weight, out=np.zeros(len(weight)), where=weight > 0)
    frame = valuator.intervals(
        X,
        y,
        weight,
        **keywords,
        n_bootstrap=N_BOOTSTRAP,
        random_state=valuator.random_state,
    )
    frame = frame.sort_values("position")
    low, high = (
        frame[[f"{end}_{name}" for name in valuator.criterion_names_]].to_numpy()
        for end in ("low", "high")
    )
    counted = rate[weight > 0]
    spread = np.median(np.abs(counted - np.median(counted)))
    far = rate < -STANDS_OUT * spread
    mask = select_harmful(np.where(far, rate, 0.0), weight, None, max_removed)
    position = np.flatnonzero(mask)
    position = position[np.argsort(effect[position], kind="stable")]
    return Suspects(
        names=valuator.criterion_names_,
        psi=valuator.psi_,
        score=np.where(weight > 0, rate, np.nan),
        position=position,
        kind=np.full(len(position), HARMFUL, dtype=object),
        predicted=one_cell_per_row(valuator.estimator_.predict(X))[position],
        low=low[position],
        high=high[position],
        measured=measured,
    )


def one_cell_per_row(y):
    """Targets (n,): as they are, or a tuple per row for several outputs."""
    y = np.asarray(y)
    if y.ndim == 1 or y.shape[1] == 1:
        return y.ravel()
    cells = np.empty(len(y), dtype=object)
    cells[:] = [tuple(row) for row in y.tolist()]
    return cells


# -- how many --------------------------------------------------------------------------


def select_harmful(rate, weight, classes, share):
    """Rows with the lowest negative effect per weight, within a share of the weight.

    See `select_lowest`.
    """
    scale = np.abs(rate).max(initial=0.0)
    if scale == 0.0:
        return np.zeros(len(rate), dtype=bool)
    return select_lowest(rate / scale, -1e-9, weight, classes, share)


def select_lowest(values, below, weight, classes, share):
    """Rows with the lowest values below a limit, within a share of the weight.

    Rows of equal value (copies of each other) are taken together or not at all, so
    that a row of weight 2 means the same as two rows.

    Parameters
    ----------
    values : ndarray (n,)
        nan is never taken.
    below : float
    weight : ndarray (n,)
    classes : ndarray (n,) or None
        Labels: at most half of the weight of a class is taken.
    share : float

    Returns
    -------
    ndarray of bool (n,)
    """
    known = ~np.isnan(values)
    values = np.where(known, values, np.nanmax(values[known], initial=0.0) + 1.0)
    order = np.argsort(values, kind="stable")
    chosen = np.zeros(len(values), dtype=bool)
    finite = values[order]
    group = np.cumsum(np.diff(finite, prepend=finite[0]) > 1e-9)

    def affordable(rows, budget):
        """Of rows in order: whose group still fits into the budget."""
        total = np.cumsum(weight[order[rows]])
        ends = np.append(np.flatnonzero(np.diff(group[rows])), len(rows) - 1)
        until_end = total[ends][np.searchsorted(ends, np.arange(len(rows)))]
        return until_end <= budget * (1.0 + 1e-12)

    keep = (finite < below) & affordable(np.arange(len(order)), share * weight.sum())
    if classes is not None:
        for c in np.unique(classes):
            rows = np.flatnonzero(classes[order] == c)
            budget = CLASS_SHARE * weight[classes == c].sum()
            keep[rows] &= affordable(rows, budget)
    chosen[order[keep]] = True
    return chosen & known & (weight > 0)
