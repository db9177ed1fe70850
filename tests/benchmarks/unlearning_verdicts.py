"""Verdicts, tables and the figure of the unlearning benchmark."""

import numpy as np

from tests.benchmarks.unlearning_data import SETS
from tests.benchmarks.unlearning_systems import DELTA, FLOOR, REFERENCE, SYSTEMS

OURS = "PumaPatcher"
CELL = ["set", "model", "removal"]
# Attacks within this are alike; accuracies are told in points.
EQUAL = 0.02
LARGE = 10_000
AIMS = {"logistic": 2.0, "MLP": 10.0}
NO_RIVALS = (OURS, REFERENCE, FLOOR, "PumaPatcher, no lambda", "none")
# Of every record; a distance exists only where parameters can be compared.
MEASURED = [
    "accuracy_before",
    "accuracy_after",
    "accuracy_reference",
    "C_change",
    "auc_before",
    "auc_after",
    "auc_reference",
    "auc_gap",
    "disagreement_retained",
    "disagreement_forgotten",
    "disagreement_test",
    "kl_retained",
    "kl_forgotten",
    "kl_test",
    "wall",
    "retraining_wall",
    "storage",
    "cost",
]
STYLES = {
    "PumaPatcher": ("#D55E00", "*"),
    "PumaPatcher, no lambda": ("#E69F00", "*"),
    REFERENCE: ("#000000", "o"),
    FLOOR: ("#999999", "o"),
    "SISA": ("#0072B2", "s"),
    "NewtonRemoval": ("#009E73", "D"),
    "Amnesiac": ("#CC79A7", "^"),
    "UnrolledSGD": ("#56B4E9", "v"),
    "FineTuner": ("#767676", "P"),
    "GradientAscent": ("#004D40", "h"),
    "none": ("#767676", "x"),
}
AREAS = {"1 %": 25, "5 %": 55, "cluster": 110}
TICKS = {
    "x": (-EQUAL, -EQUAL / 2, 0.0, EQUAL / 2, EQUAL),
    "y": (-50, -10, -3, -1, 0, 1, 3),
}


def figures(table):
    """Lines (what, value, goal, holds) of the whole benchmark."""
    table = table.assign(
        lost=100.0 * (table["accuracy_original"] - table["accuracy_after"]),
        speed=table["retraining_cpu"] / table["cpu"].where(table["cpu"] > 1e-4),
    )
    return [
        *_complete(table),
        *_criterion(table),
        *_attacks(table),
        *_losses(table),
        *_speeds(table),
        *_systems(table),
        *_ours(table),
    ]


def _cells(table):
    """((set, model, removal), rows) in the order of the benchmark."""
    return table.groupby(CELL, sort=False)


def _complete(table):
    """Whether every system that exists for a model has all cells and figures."""
    grid = table[[*CELL, "seed"]].drop_duplicates()
    wanted = sum(
        int(grid["model"].isin(SYSTEMS[name].models).sum())
        for name in table["system"].unique()
    )
    whole = bool(np.isfinite(table[MEASURED].to_numpy(dtype=float)).all())
    shared = table["system"].map(lambda name: SYSTEMS[name].shares)
    whole &= bool(table.loc[shared, "distance"].notna().all())
    value = f"{len(table)} of {wanted}, {table['seed'].nunique()} seeds"
    return [
        ("records, with all figures", value, "no holes", wanted == len(table) and whole)
    ]


def _criterion(table):
    change = table.loc[table["system"] == OURS, "C_change"]
    return [
        (
            f"{OURS}: C not worse by more than {DELTA:g} (side 'worse')",
            f"{(change <= DELTA).sum()} of {len(change)}",
            "all",
            bool((change <= DELTA).all()),
        ),
        (
            "  largest increase, largest decrease of C",
            f"{change.max():+.4f}, {change.min():+.4f}",
            "-",
            None,
        ),
    ]


def _attacks(table):
    """Attack minus that on the reference, by cell, and the same of another seed."""
    out = []
    for cell, part in _cells(table):
        ours = part[part["system"] == OURS]
        low, mean, high = interval(ours["auc_gap"], ours["auc_gap_error"])
        value = f"{mean:+.4f} ({low:+.4f}, {high:+.4f})"
        what = f"attack minus retrained: {', '.join(cell)}"
        out.append((what, value, f"within {EQUAL:g}", bool(max(-low, high) <= EQUAL)))
        floor = part.loc[part["system"] == FLOOR, "auc_gap"]
        if len(floor):
            value = f"{floor.mean():+.4f}, at most {floor.abs().max():.4f}"
            out.append(("  of another seed's retraining, mean", value, "-", None))
    return out


def interval(values, errors=None, n_boot=5000):
    """Mean of seeds with its 95 % bootstrap interval.

    Seeds are drawn again, and in each, with standard errors, its rows.
    """
    values = np.asarray(values, dtype=float)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(values), (n_boot, len(values)))
    means = values[drawn]
    if errors is not None:
        means = means + np.asarray(errors)[drawn] * rng.standard_normal(drawn.shape)
    low, high = np.quantile(means.mean(axis=1), [0.025, 0.975])
    return low, values.mean(), high


def _losses(table):
    """Accuracy lost, among the systems that have forgotten as well as a retraining.

    Points are lost against the original model, also by systems with their own.
    """
    counts, short = np.zeros(3, dtype=int), []
    for cell, part in _cells(table):
        means = part.groupby("system")[["lost", "auc_gap", "kl_forgotten"]].mean()
        ours = means.loc[OURS]
        if ours["auc_gap"] > EQUAL:
            short.append(", ".join(cell))
            continue
        rivals = means[(means["auc_gap"] <= EQUAL) & ~means.index.isin(NO_RIVALS)]
        near = rivals[rivals["kl_forgotten"] <= ours["kl_forgotten"]]
        counts += [
            ours["lost"] <= rivals["lost"].min() or rivals.empty,
            rivals.empty or _seeds_cannot_tell(part, rivals["lost"].idxmin()),
            ours["lost"] <= near["lost"].min() or near.empty,
        ]
    n = len(table[CELL].drop_duplicates())
    values = [f"{count} of {n} cells" for count in counts]
    holds = (counts >= 0.8 * n).tolist()
    what = f"{OURS}: least accuracy lost where attack gaps <= {EQUAL:g}"
    return [
        (what, values[0], ">= 0.8", holds[0]),
        (
            "  or no more than the least, as far as seeds tell",
            values[1],
            ">= 0.8",
            holds[1],
        ),
        (
            "  least of those at least as near on the forgotten rows",
            values[2],
            "-",
            None,
        ),
        (f"  gap too large: {'; '.join(short) or 'nowhere'}", "", "-", None),
    ]


def _seeds_cannot_tell(part, other):
    """Whether ours may lose no more accuracy than another system."""
    lost = part.pivot(index="seed", columns="system", values="lost")
    low, _, _ = interval(lost[OURS] - lost[other])
    return low <= 0.0


def _speeds(table):
    """Seconds of training without the rows over those of a patch."""
    ours = table[(table["system"] == OURS) & (table["n"] >= LARGE)]
    if ours.empty:
        return []
    speeds = ours.groupby(CELL, sort=False)["speed"].median()
    out = [
        (
            f"{OURS}: times faster than retraining, least, n >= {LARGE}",
            f"{speeds.min():.2f} ({', '.join(speeds.idxmin())})",
            "> 1",
            bool(speeds.min() > 1.0),
        )
    ]
    for model, aim in AIMS.items():
        part = speeds[speeds.index.get_level_values("model") == model]
        if len(part):
            value = f"{part.min():.2f} to {part.max():.2f}"
            what = f"  {model}: times faster"
            out.append((what, value, f">= {aim:g}", bool(part.min() >= aim)))
    return out


def _systems(table):
    """A line per system: means over all cells that it exists for."""
    head = "system: points lost, attack gap, C kept, KL of forgotten rows, speed, MB"
    out = [(head, "", "-", None)]
    for name in dict.fromkeys(table["system"]):
        part = table[table["system"] == name]
        means = part.groupby(CELL)[["lost", "auc_gap", "within", "kl_forgotten"]].mean()
        lost, gap, within, kl = means.mean()
        speed = np.exp(np.log(part.groupby(CELL)["speed"].median()).mean())
        speed = "-" if np.isnan(speed) else f"{speed:.1f}x"
        value = (
            f"{lost:+6.2f} {gap:+.4f} {within:.2f} {kl:7.4f} {speed:>6} "
            f"{part['storage'].max() / 1e6:.1f}"
        )
        note = SYSTEMS[name].note
        out.append((f"  {name}" + (f" [{note}]" if note else ""), value, "-", None))
    return out


def _ours(table):
    """A line per cell: what a patch did there, and what a retraining does."""
    head = "cell: points lost, change of C (both: retrained), KL forgotten, speed"
    out = [(head, "", "-", None)]
    for cell, part in _cells(table[table["system"] == OURS]):
        mean = part.select_dtypes("number").mean()
        again = 100.0 * (mean["accuracy_original"] - mean["accuracy_reference"])
        value = (
            f"{mean['lost']:+.2f} ({again:+.2f}) {mean['C_change']:+.4f} "
            f"({mean['C_reference'] - mean['C_original']:+.4f}) "
            f"{mean['kl_forgotten']:.4f} {part['speed'].median():.1f}x"
        )
        out.append((f"  {', '.join(cell)}", value, "-", None))
    return out


def draw(table, path):
    """Accuracy against the attack, a panel for every set and model, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sets = [name for name in SETS if (table["set"] == name).any()]
    models = list(dict.fromkeys(table["model"]))
    figure, axes = plt.subplots(
        len(models),
        len(sets),
        figsize=(4.2 * len(sets), 3.3 * len(models) + 1.0),
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    for row, model in zip(axes, models, strict=True):
        for ax, name in zip(row, sets, strict=True):
            part = table[(table["set"] == name) & (table["model"] == model)]
            _panel(ax, part)
            ax.set_title(f"{name}, {model}")
    for ax in axes[-1]:
        ax.set_xlabel("attack AUC minus the retrained model's")
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy change (points)")
    handles = _legend([name for name in STYLES if name in set(table["system"])])
    figure.legend(handles=handles, ncols=5, loc="lower center", frameon=False)
    figure.tight_layout(rect=(0, 0.85 / figure.get_figheight(), 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(ax, part):
    """Means over seeds; the band is where forgetting counts as equal."""
    ax.axvspan(-EQUAL, EQUAL, color="0.93", zorder=0)
    ax.axhline(0.0, color="0.7", linewidth=0.8, zorder=1)
    for (name, removal), seeds in part.groupby(["system", "removal"]):
        change = seeds["accuracy_after"] - seeds["accuracy_original"]
        ax.plot(
            seeds["auc_gap"].mean(),
            100.0 * change.mean(),
            **_marker(name, AREAS[removal]),
            zorder=5 if name == OURS else 3,
        )
    # A point, or a gap of 0.02, is little; what is more may be very much more.
    ax.set_xscale("symlog", linthresh=EQUAL, linscale=2.0)
    ax.set_yscale("symlog", linthresh=1.0, linscale=1.5)
    for axis, ticks in ((ax.xaxis, TICKS["x"]), (ax.yaxis, TICKS["y"])):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)


def _marker(name, area):
    """Keywords of the marker of a system."""
    color, marker = STYLES[name]
    # In a ring or a cross, others at the same place are seen.
    outlined = marker in "ox"
    return {
        "linestyle": "",
        "color": color,
        "marker": marker,
        "markersize": area**0.5 * (1.4 if marker == "*" else 1.0),
        "markerfacecolor": "none" if outlined else color,
        "markeredgecolor": color if outlined else "white",
        "markeredgewidth": 1.4 if outlined else 0.5,
    }


def _legend(names):
    """Handles of the systems and of the sizes of the markers."""
    from matplotlib.lines import Line2D

    systems = [Line2D([], [], label=name, **_marker(name, 80)) for name in names]
    grey = {"linestyle": "", "marker": "o", "color": "0.6"}
    sizes = [
        Line2D([], [], label=f"{removal} removed", markersize=area**0.5, **grey)
        for removal, area in AREAS.items()
    ]
    return systems + sizes
