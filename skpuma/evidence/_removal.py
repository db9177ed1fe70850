"""What is measured about a removal, put together into its record."""

from dataclasses import dataclass

import numpy as np

from skpuma.evidence import _record
from skpuma.evidence._attacks import attacks
from skpuma.evidence._gap import retrain_gap
from skpuma.evidence._intervals import (
    compared,
    criterion_functions,
    score_functions,
)
from skpuma.evidence._methods import Question
from skpuma.evidence._retraining import is_cheap, retrained
from skpuma.metrics import attack_gap
from skpuma.models import adapt, innermost
from skpuma.objective import Objective
from skpuma.refit import LARGEST_SEED
from skpuma.rows import take_user
from skpuma.utils._hashing import rows_digest

CONVEX = (
    "Solved to its optimum on the rows that are left, with the penalty, weights, class "
    "weights and preprocessing of the fit."
)
SCRATCH = (
    "Trained from scratch on the rows that are left, with the parameters, weights and "
    "preprocessing of the fit, and once more from another seed for the noise floor."
)
NOT_ASKED = "Not trained again: retrain=False."
DEAR = "Not trained again: that would take long, and retrain='auto' then does not."


@dataclass(frozen=True)
class Removal:
    """What a patched estimator and its user know about a removal.

    Attributes
    ----------
    before, after : estimator
        `before` is None if it is not known any more.
    objective : Objective
        Of the fit: its rows and weights, at the parameters of `after`.
    X, y
        The user's rows and targets.
    gone, asked : ndarray of bool (n,)
        Rows to train without, and those among them that are asked about.
    fit_weight, row_weight : ndarray (n,)
        The user's weights at the fit and now.
    criterion : as in `PumaPatcher`
    measured : (X, y, weight, groups)
        Prepared rows that measure the criteria, all of positive weight.
    test : (X, y) or None
    reports : list of PatchReport
    settings : dict
        What the record names.
    """

    before: object
    after: object
    objective: Objective
    X: object
    y: np.ndarray
    gone: np.ndarray
    asked: np.ndarray
    fit_weight: np.ndarray
    row_weight: np.ndarray
    criterion: object
    measured: tuple
    test: tuple | None
    reports: list
    settings: dict

    @property
    def kept(self):
        """Rows of the fit that are left (n,)."""
        return ~self.gone & (self.fit_weight > 0)

    def part(self, mask):
        """(X, y) of some rows."""
        return take_user(self.X, np.flatnonzero(mask)), self.y[mask]

    def known(self, **models):
        """name -> model, of those that there are, in the order of reports."""
        given = {"before": self.before, "after": self.after, **models}
        return {name: one for name, one in given.items() if one is not None}


def evidence_of(removal, retrain, attack, bootstrap, time):
    """Measure everything and write it down.

    Parameters
    ----------
    removal : Removal
    retrain : "auto" or bool
    attack : Settings or None
        Of the membership attack.
    bootstrap : (RandomState, number of resamples, level)
    time : str

    Returns
    -------
    RemovalEvidence
    """
    without, again, said = _retrained(removal, retrain, bootstrap[0])
    notes = list(_notes(removal, without, attack))
    return _record.RemovalEvidence(
        created=time,
        versions=_record.versions(),
        estimator=_record.described(removal.after),
        settings=removal.settings,
        data=_data(removal),
        groups=[
            {"group": label, "rows": count, "weight": weight}
            for report in removal.reports
            for label, count, weight in report.removed_groups
        ],
        patches=[_patch(report) for report in removal.reports],
        criteria=_criteria(removal, without, bootstrap),
        scores=_scores(removal, without, bootstrap),
        attack=[] if attack is None else _attack(removal, without, attack, bootstrap),
        distance=[] if without is None else _distance(removal, without, again),
        retrained=said,
        notes=notes,
    )


def _retrained(removal, retrain, rng):
    """(model trained without the rows, another one, what was done)."""
    objective = removal.objective
    if retrain == "auto" and not is_cheap(objective):
        return None, None, DEAR
    if retrain is False:
        return None, None, NOT_ASKED
    without = retrained(objective, removal.gone, rng)
    if objective.model.convex:
        return without, None, CONVEX
    again = retrained(objective, removal.gone, rng, other_seed=True)
    return without, again, SCRATCH


def _data(removal):
    """Hashes and numbers of the rows."""
    gone, kept = removal.gone, removal.kept
    partly = gone & (removal.row_weight > 0)
    return {
        "fit": rows_digest(removal.X, removal.y),
        "kept": rows_digest(removal.X, removal.y, kept),
        "removed": rows_digest(removal.X, removal.y, gone),
        "n_rows": int((gone | kept).sum()),
        "n_kept": int(kept.sum()),
        "n_removed": int(gone.sum()),
        "n_partly_removed": int(partly.sum()),
        "n_asked": int(removal.asked.sum()),
        "n_features": int(innermost(removal.after).n_features_in_),
        "weight_removed": float(removal.fit_weight[gone].sum()),
        "weight_of_them_left": float(removal.row_weight[gone].sum()),
    }


def _patch(report):
    """What a report says of one patch."""
    return {
        "n_removed": report.n_removed,
        "n_upweighted": report.n_upweighted,
        "n_reweighted": report.n_reweighted,
        "s": report.s,
        "stopped_by": report.stopped_by,
        "side": report.side,
        "measured_on": report.measured_on,
        "criteria": report.criteria,
        "before": report.before,
        "after": report.after,
        "delta": report.delta,
        "kept": report.kept,
        "forgetting": [report.forgetting_before, report.forgetting_after],
    }


def _criteria(removal, without, bootstrap):
    """Criteria before and after, with what the patches promised of them."""
    model = removal.objective.model
    models = {name: adapt(one) for name, one in removal.known().items()}
    if without is not None and _same_outputs(adapt(without), model):
        models["retrained"] = adapt(without)
    functions = criterion_functions(removal.criterion, models, removal.measured)
    lines = compared(functions, removal.measured[2], *bootstrap)
    for line in lines:
        promised = [
            (report.delta[c], report.kept[c])
            for report in removal.reports
            for c, name in enumerate(report.criteria)
            if name == line["name"]
        ]
        if promised:
            line["delta"] = sum(delta for delta, _ in promised)
            line["kept"] = all(kept for _, kept in promised)
    return lines


def _same_outputs(one, other):
    """Whether targets coded for one model mean the same to the other."""
    return one.n_outputs == other.n_outputs and np.array_equal(
        one.classes, other.classes
    )


def _scores(removal, without, bootstrap):
    if removal.test is None:
        return []
    functions = score_functions(removal.known(retrained=without), *removal.test)
    return compared(functions, np.ones(len(removal.test[1])), *bootstrap)


def _attack(removal, without, settings, bootstrap):
    """Measures of an attack on every model, and how they differ from retraining."""
    rng, n_bootstrap, level = bootstrap
    question = Question(
        removal.part(removal.kept), removal.part(removal.asked), removal.test
    )
    # The model now comes first: shadow models are clones of it.
    targets = {"after": removal.after, **removal.known(retrained=without)}
    measured = {"n_bootstrap": n_bootstrap, "level": level}
    found = attacks(targets, question, settings, rng, **measured)
    columns = {name: one.estimates() for name, one in found.items()}
    if without is not None:
        gap = attack_gap(
            found["after"],
            found["retrained"],
            n_bootstrap=n_bootstrap,
            random_state=rng.randint(LARGEST_SEED),
        )
        columns["gap"] = gap.estimates()
    return [
        {"name": name} | {column: each[name] for column, each in columns.items()}
        for name in columns["after"]
    ]


def _distance(removal, without, again):
    """`retrain_gap`, under the names of the record."""
    used = removal.fit_weight > 0
    X, y = (removal.X, removal.y) if used.all() else removal.part(used)
    frame = retrain_gap(
        removal.after,
        without,
        X,
        y,
        removal.gone[used],
        *(removal.test or (None, None)),
        original=removal.before,
        again=again,
        sample_weight=removal.fit_weight[used],
    ).rename(columns={"original": "before", "model": "after", "again": "noise_floor"})
    return [
        {"name": name} | {c: None if np.isnan(v) else v for c, v in line.items()}
        for name, line in frame.to_dict("index").items()
    ]


def _notes(removal, without, attack):
    """What the record cannot tell."""
    if removal.before is None:
        yield (
            "The model before the patches is unknown: finalize() has let it go. So are "
            "the patches before that, but for the last."
        )
    partly = int((removal.gone & (removal.row_weight > 0)).sum())
    if partly:
        yield f"{partly} of the rows asked about were removed in part only."
    if removal.test is None:
        yield "No test rows were given: there are no scores, and there is no attack."
    elif attack is None:
        yield "No attack was asked for."
    if without is not None:
        classes = adapt(without).classes
        if not np.array_equal(classes, removal.objective.model.classes):
            yield (
                "All rows of a class are gone: the retrained model does not know it, "
                "and its criteria are not comparable."
            )
