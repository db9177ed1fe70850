"""Which system finds wrong labels? Blog fig. 5 over sets, noises and models.

Labels are flipped, rows are inspected from the lowest value up, and what counts is the
share of the flips that is found. Scores are kept in a folder, one file of JSON lines
per system, and only what is missing is computed; delete a file to compute it again.
The folder is the argument `results`, or ``SKPUMA_RESULTS``, or ``detection_results``.
"""

import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import threadpool_limits

from skpuma.metrics import (
    detection_area,
    detection_average_precision,
    detection_curve,
    detection_recall,
)
from tests.benchmarks.detection_data import SETS, Cell, cells, problem
from tests.benchmarks.detection_systems import ORACLE, SYSTEMS

FIGURES = ("ap", "recall10", "recall20", "area", "seconds")
KEYS = ["system", "set", "model", "noise", "val", "seed"]
GRID = np.linspace(0.0, 1.0, 51)
OURS, YARDSTICK = "PumaDebugger", "SelfConfidence"
# The systems of the figure, and how they are drawn.
SHOWN = {
    ORACLE: {"color": "black", "linestyle": ":", "linewidth": 1.2},
    "PumaDebugger": {"color": "#D55E00", "linewidth": 2.6, "zorder": 5},
    "psi": {"color": "#0072B2", "linestyle": "-"},
    "SelfConfidence": {"color": "#009E73", "linestyle": "-"},
    "loss": {"color": "#009E73", "linestyle": ":"},
    "DataShapley, TMC": {"color": "#CC79A7", "linestyle": "-"},
    "DataShapley, gradient": {"color": "#CC79A7", "linestyle": "--"},
    "DVRL": {"color": "#E69F00", "linestyle": "-"},
    "KNNShapley": {"color": "#56B4E9", "linestyle": "-"},
    "DataOOB": {"color": "#56B4E9", "linestyle": "--"},
    "RepresenterPoints": {"color": "#767676", "linestyle": "-"},
    "InfluenceFunctions, self": {"color": "#767676", "linestyle": "--"},
    "LeaveOneOut": {"color": "#0072B2", "linestyle": ":"},
}


def folder(results=None):
    """Where scores are kept."""
    path = Path(results or os.environ.get("SKPUMA_RESULTS", "detection_results"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def run(
    systems=None,
    *,
    sets=None,
    models=("logistic", "MLP"),
    noises=("10 %", "20 %", "uneven"),
    vals=("clean", "noisy"),
    seeds=None,
    results=None,
    fresh=(),
    n_jobs=2,
    verbose=0,
):
    """The figures of every system in every cell, computed where they are missing.

    Parameters
    ----------
    systems : list of str or dict, default None
        Names in SYSTEMS, or names and systems of one's own; None takes all.
    sets, models, noises, vals : lists of str
        The grid, see `detection_data`; without `sets`, ``SKPUMA_SETS`` names some of
        them, separated by commas. `vals` may also hold "none" (no validation
        rows).
    seeds : int, default None
        Cap on the seeds of each set; None takes ``SKPUMA_SEEDS``, or else the numbers
        of `detection_data.SETS`.
    results : path, default None
    fresh : list of str
        Systems whose kept figures are not to be used.
    n_jobs, verbose : int

    Returns
    -------
    DataFrame
        One row per system and cell: set, model, noise, val, seed, average precision,
        recall at 10 and 20 % inspected, normalised area, seconds on one core, curve.
    """
    if seeds is None and "SKPUMA_SEEDS" in os.environ:
        seeds = int(os.environ["SKPUMA_SEEDS"])
    if sets is None and "SKPUMA_SETS" in os.environ:
        sets = os.environ["SKPUMA_SETS"].split(",")
    grid = cells(sets, models, noises, vals, seeds)
    systems = _chosen(systems)
    path = folder(results)
    known = _read(path, [name for name in systems if name not in fresh])
    wanted = dict.fromkeys(
        (name, _computed(system, cell))
        for name, system in systems.items()
        for cell in grid
        if _in_budget(system, cell)
    )
    # Seed by seed, so that what is there after a while covers all sets.
    missing = [key for key in wanted if key not in known]
    missing.sort(key=lambda key: (key[1].seed, SETS[key[1].set].n))
    jobs = Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)
    done = jobs(delayed(measure)(name, cell, systems[name]) for name, cell in missing)
    start = time.perf_counter()
    for count, record in enumerate(done, 1):
        _append(path, record)
        key = record["system"], Cell(*(record[key] for key in KEYS[1:]))
        known[key] = record
        if verbose and count % 50 == 0:
            spent = time.perf_counter() - start
            print(f"{count} of {len(missing)}, {spent:.0f} s", flush=True)
    return _table(systems, grid, known)


def measure(name, cell, system=None):
    """The figures of one system in one cell, as a record."""
    system = SYSTEMS[name] if system is None else system
    one = problem(cell)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        # On one core: what the clock on the wall says of a machine that is not shared.
        start = time.process_time()
        values = system.score(one)
        seconds = time.process_time() - start
    record = {key: getattr(cell, key) for key in KEYS[1:]}
    return {"system": name, **record, **figures(values, one.flipped, seconds)}


def figures(values, flipped, seconds=np.nan):
    """What one ranking is judged by."""
    inspected, found = detection_curve(values, flipped)
    return {
        "ap": detection_average_precision(values, flipped),
        "recall10": detection_recall(values, flipped, inspected=0.1),
        "recall20": detection_recall(values, flipped, inspected=0.2),
        "area": detection_area(values, flipped),
        "seconds": seconds,
        "curve": np.interp(GRID, inspected, found).round(4).tolist(),
    }


def _chosen(systems):
    """Names and systems."""
    if isinstance(systems, dict):
        return systems
    return {name: SYSTEMS[name] for name in systems or SYSTEMS}


def _computed(system, cell):
    """The cell whose score stands for this one."""
    changes = {}
    if not system.uses_model:
        changes["model"] = "logistic"
    if not system.uses_val:
        changes["val"] = "clean"
    return cell.at(**changes)


def _in_budget(system, cell):
    return system.seeds is None or cell.seed < system.seeds[SETS[cell.set].cost]


def _table(systems, grid, known):
    out = []
    for name, system in systems.items():
        for cell in grid:
            record = known.get((name, _computed(system, cell)))
            if record is not None and _in_budget(system, cell):
                asked = {key: getattr(cell, key) for key in KEYS[1:]}
                out.append({**record, **asked})
    return pd.DataFrame(out)


def _read(path, names):
    known = {}
    for name in names:
        file = path / f"{name}.jsonl"
        if not file.exists():
            continue
        for line in file.read_text().splitlines():
            record = json.loads(line)
            known[name, Cell(*(record[key] for key in KEYS[1:]))] = record
    return known


def _append(path, record):
    with open(path / f"{record['system']}.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")


def summary(table, by="system", figure=None):
    """Means: per system over all cells, or one figure per system and, say, set.

    Every cell counts the same, however many seeds it has.
    """
    keys = [key for key in KEYS[1:5] if key != by]
    if figure is None:
        means = table.groupby(["system", *KEYS[1:5]])[list(FIGURES)].mean()
        return means.groupby("system").mean().sort_values("ap", ascending=False)
    means = table.groupby(["system", by, *keys])[figure].mean()
    return means.groupby(["system", by]).mean().unstack(by)


def detection(results=None, **grid):
    """The whole benchmark: the table, the verdicts and the figure."""
    table = run(results=results, **grid)
    table.drop(columns="curve").to_csv(folder(results) / "detection.csv", index=False)
    draw(table, folder(results) / "detection.png")
    return [
        *_holes(table),
        *_verdict_mean(table),
        *_verdict_sets(table),
        *_verdict_validation(table),
        *_systems(table),
        *_per("set", table),
        *_per("model", table),
        *_per("noise", table),
        *_per("val", table),
    ]


def rivals(table):
    """Names of the systems that see no true label, but for ours."""
    names = table["system"].unique()
    return [n for n in names if n != OURS and not SYSTEMS[n].is_oracle]


def _holes(table):
    """Whether every system has a figure in every cell, with one seed at least."""
    there = table.drop_duplicates(["system", *KEYS[1:5]])["system"].value_counts()
    short = there.index[there < there.max()].tolist()
    value = f"{len(there)} x {there.max()}" + (f", but {short}" if short else "")
    return [("systems x cells", value, "no holes", not short)]


def _verdict_mean(table):
    """First of all, and half the way to the oracle."""
    ap = summary(table)["ap"]
    best = ap[rivals(table)].idxmax()
    gap = ap[ORACLE] - ap[YARDSTICK]
    way = (ap[OURS] - ap[YARDSTICK]) / gap
    first = bool(ap[OURS] > ap[best])
    value = f"{ap[OURS]:.3f}; {ap[best]:.3f}"
    names = f"{YARDSTICK} ({ap[YARDSTICK]:.3f}) to oracle ({ap[ORACLE]:.3f})"
    return [
        (f"mean average precision; best other: {best}", value, "first", first),
        (f"way from {names}", f"{way:.2f}", ">= 0.5", bool(way >= 0.5)),
    ]


def _verdict_sets(table):
    """Set by set: ours minus the best other, paired by seeds."""
    out = []
    for name in table["set"].unique():
        part = table[table["set"] == name]
        ap = summary(part)["ap"]
        best = ap[rivals(part)].idxmax()
        low, mean, high = paired(part, OURS, best)
        value = f"{mean:+.4f} ({low:+.4f}, {high:+.4f})"
        what = f"{name}: average precision minus that of {best}"
        out.append((what, value, "> -0.01", bool(high >= -0.01)))
    return out


def paired(table, one, other, n_boot=5000):
    """Mean difference of average precision with a 95 % interval over seeds.

    The seeds that both have are drawn again, each with all of its models, noises and
    validation rows.
    """
    ap = table.pivot_table(index="seed", columns="system", values="ap")
    ap = ap[[one, other]].dropna()
    difference = (ap[one] - ap[other]).to_numpy()
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(difference), (n_boot, len(difference)))
    low, high = np.quantile(difference[drawn].mean(axis=1), [0.025, 0.975])
    return low, difference.mean(), high


def _verdict_validation(table):
    """What validation labels cost that are as noisy as the training labels."""
    ap = summary(table, "val", "ap").loc[OURS]
    lost = ap["clean"] - ap["noisy"]
    what = "validation labels clean -> noisy: average precision lost"
    return [(what, f"{lost:+.4f}", "<= 0.02", bool(lost <= 0.02))]


def _systems(table):
    out = [("system: AP, recall at 10, 20 %, area, seconds (seeds)", "", "-", None)]
    for name, row in summary(table).iterrows():
        seeds = table.loc[table["system"] == name, "seed"].nunique()
        value = " ".join(f"{row[key]:.3f}" for key in FIGURES[:4])
        note = SYSTEMS[name].note
        what = f"  {name}" + (f" [{note}]" if note else "")
        out.append((what, f"{value} {row.seconds:7.2f} ({seeds})", "-", None))
    return out


def _per(key, table):
    means = summary(table, key, "ap")
    names = [n for n in table[key].unique() if n in means]
    out = [(f"AP per {key}", ", ".join(names), "-", None)]
    for name in summary(table).index:
        value = " ".join(f"{means.loc[name, one]:.3f}" for one in names)
        out.append((f"  {name}", value, "-", None))
    return out


def draw(table, path, noise="10 %", val="clean"):
    """Detection curves, a panel for every set and model, saved as a picture.

    `noise` is "10 %" or "20 %": with another the best curve is not known.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from skpuma.plotting import DetectionCurveDisplay

    part = table[(table["noise"] == noise) & (table["val"] == val)]
    sets, models = part["set"].unique(), part["model"].unique()
    names = [n for n in SHOWN if n in set(part["system"])]
    columns = 2 * len(models)
    rows = -(-len(sets) // 2)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.2 * columns, 2.9 * rows + 1.2), squeeze=False
    )
    panels = iter(axes.ravel())
    for one in sets:
        for model in models:
            ax = next(panels)
            curves = _mean_curves(part, one, model, names)
            DetectionCurveDisplay(GRID, curves, _rate(noise)).plot(
                ax=ax, legend=False, curve_kwargs={n: SHOWN[n] for n in curves}
            )
            ax.set(xlim=(0.0, 0.3), title=f"{one}, {model}")
            # Four labels are as many as fit below a panel.
            ax.set_xticks([0.0, 0.1, 0.2, 0.3])
            ax.xaxis.set_major_formatter("{x:.0%}")
            ax.label_outer()
    for ax in panels:
        ax.set_axis_off()
        above = axes.ravel()[list(axes.ravel()).index(ax) - columns]
        above.tick_params(labelbottom=True)
        above.set_xlabel("Rows inspected")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=5, loc="lower center", frameon=False)
    figure.suptitle(f"{noise} flipped labels, {val} validation labels, mean over seeds")
    figure.tight_layout(rect=(0, 0.9 / figure.get_figheight(), 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _mean_curves(part, one, model, names):
    cell = part[(part["set"] == one) & (part["model"] == model)]
    return {
        name: np.mean(cell.loc[cell["system"] == name, "curve"].tolist(), axis=0)
        for name in names
        if (cell["system"] == name).any()
    }


def _rate(noise):
    return float(noise.rstrip(" %")) / 100.0
