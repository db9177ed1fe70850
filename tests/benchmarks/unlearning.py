"""All unlearning systems on the same models, rows and removals.

Every system is trained, forgets, and is then measured: test accuracy, the change of a
criterion C (log loss on rows that are neither trained on nor tested), whether an attack
can tell the forgotten rows from fresh ones, the distance from the model that training
without the rows gives, time and storage. Records are kept in a folder, one file of JSON
lines per system, and only what is missing is computed; delete a file to compute it
again. The folder is the argument `results`, or ``SKPUMA_RESULTS``, or
``unlearning_results``. Verdicts and the figure: `unlearning_verdicts`.
"""

import copy
import json
import os
import time
import warnings
from functools import lru_cache
from pathlib import Path

import pandas as pd
from sklearn.metrics import accuracy_score, log_loss
from threadpoolctl import threadpool_limits

from skpuma.evidence import membership_inference, retrain_gap
from skpuma.metrics import attack_gap
from tests.benchmarks import data
from tests.benchmarks import unlearning_data as rows
from tests.benchmarks import unlearning_verdicts as verdicts
from tests.benchmarks.unlearning_data import Cell, cells, problem
from tests.benchmarks.unlearning_systems import (
    DELTA,
    REFERENCE,
    SYSTEMS,
    original,
    trained,
)

KEYS = ["set", "model", "removal", "seed"]
# Lines of `retrain_gap`, and their names in the table.
GAPS = {
    "relative parameter distance": "distance",
    "disagreement, retained rows": "disagreement_retained",
    "disagreement, forgotten rows": "disagreement_forgotten",
    "disagreement, test rows": "disagreement_test",
    "kl, retained rows": "kl_retained",
    "kl, forgotten rows": "kl_forgotten",
    "kl, test rows": "kl_test",
}


def folder(results=None):
    """Where records are kept."""
    path = Path(results or os.environ.get("SKPUMA_RESULTS", "unlearning_results"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def run(
    systems=None,
    *,
    sets=None,
    models=rows.MODELS,
    removals=rows.REMOVALS,
    seeds=rows.SEEDS,
    results=None,
    verbose=1,
):
    """The record of every system in every cell, computed where it is missing.

    Parameters
    ----------
    systems : list of str, default None
        Names in SYSTEMS; None takes all.
    sets, models, removals : lists of str
    seeds : int
        The grid, see `unlearning_data`.
    results : path, default None
    verbose : int, default 1
        Above 0: a line per set, model and seed.

    Returns
    -------
    DataFrame
        One row per system and cell, see `measure`.
    """
    path = folder(results)
    names = list(systems or SYSTEMS)
    known = _read(path, names)
    grid = cells(sets, models, removals, seeds)
    out, last = [], None
    start = time.process_time()
    # A system is trained once for all removals from a model, so these come last.
    order = sorted(
        ((name, cell) for cell in grid for name in names),
        key=lambda one: (_place(grid, one[1], len(removals)), names.index(one[0])),
    )
    for name, cell in order:
        if cell.model not in SYSTEMS[name].models:
            continue
        if (name, cell) not in known:
            known[name, cell] = measure(name, cell)
            _append(path, known[name, cell])
            if verbose and last != (cell.set, cell.model, cell.seed):
                last = cell.set, cell.model, cell.seed
                print(f"{time.process_time() - start:.0f} s: {last}", flush=True)
        out.append(known[name, cell])
    return pd.DataFrame(out)


def _place(grid, cell, n_removals):
    """Which block of cells of one set, model and seed a cell is in."""
    return grid.index(cell) // n_removals


def measure(name, cell):
    """What a system does in a cell, as a record.

    Accuracies, C and the area under the curve of the attack are of the system before
    and after, of the original model (that of `none`) and of the one that was trained
    without the rows (`reference`); ``C_change`` is after minus before, and ``auc_gap``
    after minus the reference, with the standard error over the rows. Seconds are on one
    core, by the clock of the process (``cpu``) and the one on the wall (``wall``).
    """
    one = problem(cell)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        _warm(name, Cell("MNIST" if cell.set == "MNIST" else "spambase", cell.model))
        retrained, retraining = reference(cell)
        before = trained(name, cell)
        if name == REFERENCE:
            after, forgetting = retrained, retraining
        else:
            after, forgetting = _forgets(name, cell)
        models = {
            "before": before,
            "after": after,
            "original": original(cell),
            "reference": retrained,
        }
        return {
            "system": name,
            **{key: getattr(cell, key) for key in KEYS},
            "n": len(one.y),
            "n_gone": int(one.gone.sum()),
            "n_fresh": int(one.fresh.sum()),
            **_scores(models, one),
            **_attack(models, one),
            **_gap(models, one, SYSTEMS[name].shares),
            **{key: forgetting[key] for key in ("cpu", "wall")},
            **{f"retraining_{key}": retraining[key] for key in ("cpu", "wall")},
            "storage": int(getattr(after, "storage_", 0)),
            "cost": float(getattr(after, "cost_", 0.0)),
            "retraining_cost": float(retrained.cost_),
            "stopped_by": _stopped_by(after),
        }


@lru_cache(maxsize=3)
def reference(cell):
    """Training without the rows, and its seconds."""
    return _forgets(REFERENCE, cell)


@lru_cache
def _warm(name, cell):
    """Nothing is compiled or imported while the clock runs."""
    _forgets(name, cell)


def _forgets(name, cell):
    """(a copy of the trained system that has forgotten, seconds)."""
    system, one = copy.deepcopy(trained(name, cell)), problem(cell)
    start = time.process_time(), time.perf_counter()
    if SYSTEMS[name].make is not None:
        SYSTEMS[name].forget(system, one)
    now = time.process_time(), time.perf_counter()
    return system, {"cpu": now[0] - start[0], "wall": now[1] - start[1]}


def _scores(models, one):
    """Test accuracy and C of every model."""
    out = {}
    for name, model in models.items():
        out[f"accuracy_{name}"] = accuracy_score(one.y_test, model.predict(one.X_test))
        p = model.predict_proba(one.X_val)
        out[f"C_{name}"] = log_loss(one.y_val, p, labels=model.classes_)
    out["C_change"] = out["C_after"] - out["C_before"]
    # "worse": a criterion that falls is no loss.
    out["within"] = bool(out["C_change"] <= DELTA)
    return out


def _attack(models, one):
    """The loss attack on the forgotten rows, against fresh ones."""
    attacks = membership_inference(
        {name: _plain(model) for name, model in models.items()},
        one.X,
        one.y,
        one.gone,
        one.X_test[one.fresh],
        one.y_test[one.fresh],
        n_bootstrap=1,
    )
    gap = attack_gap(
        attacks["after"], attacks["reference"], n_bootstrap=200, random_state=0
    ).auc
    return {
        **{f"auc_{name}": attack.auc.value for name, attack in attacks.items()},
        "auc_gap": gap.value,
        "auc_gap_error": (gap.high - gap.low) / (2.0 * 1.96),
    }


def _gap(models, one, shares):
    """Distances from the reference; that of parameters where they can be compared."""
    table = retrain_gap(
        _plain(models["after"]),
        _plain(models["reference"]),
        one.X,
        one.y,
        one.gone,
        X_test=one.X_test,
        y_test=one.y_test,
        original=models["original"] if shares else None,
    )
    return {key: float(table.loc[line, "model"]) for line, key in GAPS.items()}


def _plain(system):
    """The estimator of a system, where it is a single one."""
    return getattr(system, "estimator_", system)


def _stopped_by(system):
    """What ended a patch."""
    report = getattr(system, "report_", None)
    return None if report is None else f"{report.stopped_by} at s={report.s:.3g}"


def _read(path, names):
    known = {}
    for name in names:
        file = path / f"{name}.jsonl"
        if not file.exists():
            continue
        for line in file.read_text().splitlines():
            record = json.loads(line)
            known[name, Cell(*(record[key] for key in KEYS))] = record
    return known


def _append(path, record):
    with open(path / f"{record['system']}.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")


def unlearning(results=None, **grid):
    """The whole benchmark: the table, the verdicts and the figure."""
    if data.folder() is None:
        return [("unlearning systems", "no data folder", "-", None)]
    table = run(results=results, **grid)
    table.to_csv(folder(results) / "unlearning.csv", index=False)
    verdicts.draw(table, folder(results) / "unlearning.png")
    return verdicts.figures(table)
