"""The figures of a workload against their goals."""

import numpy as np

from tests.benchmarks.frameworks import PEERS, TorchPeer

# (row of ours, what it is compared with, times faster): a prefix of names, or "torch".
SPEED = {
    "W1": [("skpuma", "torch", 30.0), ("skpuma", "pyinfluence", 3.0)],
    "W2": [("skpuma", "torch", 10.0), ("skpuma, CG", "torch", 10.0)],
    "W3": [
        ("skpuma, CG", "pyDVL CG", 10.0),
        ("skpuma, cholesky", "pyDVL Direct", 100.0),
    ],
    "W4": [
        ("skpuma, CG", "pyDVL CG", 8.0),
        ("skpuma, CG, float32", "pyDVL CG, float32", 8.0),
    ],
    "W5": [("skpuma", "torch", 20.0)],
}
FLOOR = {
    "W1": [("skpuma", 1.5), ("skpuma, below validation", 1.5)],
    "W2": [
        ("skpuma", 2.0),
        ("skpuma, below validation", 2.0),
        ("skpuma, below validation, CG", 2.0),
    ],
    "W3": [
        ("skpuma, CG", 3.0),
        ("skpuma, cholesky", 3.0),
        ("skpuma, below validation, CG", 3.0),
    ],
    "W4": [("skpuma, CG", 3.0), ("skpuma, below validation, CG", 3.0)],
    "W5": [("skpuma", 1.5), ("skpuma, below validation", 1.5)],
}
COSTS = ("skpuma, polish", "skpuma, leverage alone", "skpuma, one_step")
# Ratios to the floor below this are errors of measurement, beyond its noise.
TRUSTED = 0.95
# Of the exact leave-one-out effect of every row, against psi.
LEAVE_ONE_OUT = 3.0
MEMORY_SHARE, MEMORY_FREE = 1.3, 64 * 2**20
TORCH = {peer.name for peer in PEERS if issubclass(peer, TorchPeer)}


def goals_of(workload, table):
    """[(what, value, goal, holds)] of a workload's table."""
    rows = {row["who"]: row for row in table}
    figures = []
    for who, peer, times in SPEED[workload.name]:
        figures.append(_speed(rows, who, peer, times))
    for who, times in FLOOR[workload.name]:
        value = rows.get(who, {}).get("times_floor", np.nan)
        figures.append(_floor(who, value, times))
    for who in COSTS:
        if who in rows:
            value = rows[who]["wall"] / rows["skpuma"]["wall"]
            exact = who.endswith("one_step") and workload.name == "W5"
            bound = LEAVE_ONE_OUT if exact else None
            figures.append(_figure(f"{who} / psi", value, "<=", bound))
    figures += [_memory(workload, row) for row in table if _is_measured(row)]
    return [figure for figure in figures if figure is not None]


def _speed(rows, who, peer, times):
    """Seconds of the fastest correct peer / ours, in the same precision."""
    mine = rows.get(who)
    if mine is None or not mine["wall"] > 0:
        return _figure(f"{who}: times faster than {peer}", np.nan, ">=", times)

    def compared(name):
        return name in TORCH if peer == "torch" else name.startswith(peer)

    walls = {
        name: row["wall"]
        for name, row in rows.items()
        if compared(name) and row["wall"] > 0 and row["single"] == mine["single"]
    }
    if not walls:
        return _figure(f"{who}: times faster than {peer}", np.nan, ">=", times)
    fastest = min(walls, key=walls.get)
    what = f"{who}: times faster than {fastest}"
    return _figure(what, walls[fastest] / mine["wall"], ">=", times)


def _floor(who, value, times):
    """Time over the floor; nothing is faster than a floor that was measured well."""
    if value < TRUSTED:
        what = f"{who} / floor: below 1, so the floor is not to be trusted"
        return (what, f"{value:.2f}", f"<= {times:g}", None)
    return _figure(f"{who} / floor", value, "<=", times)


def _is_measured(row):
    return row["library"] == "skpuma" and row["peak_mib"] >= 0


def _memory(workload, row):
    """Peak with the data against ``1.3 data + Hessian + 64 MiB``."""
    data = workload.data_bytes
    if row["single"]:
        data = workload.single().data_bytes
    explicit = row["products"] == row["single_products"] == 0
    hessian = 8 * workload.n_parameters**2 if explicit else 0
    limit = (MEMORY_SHARE * data + hessian + MEMORY_FREE) / 2**20
    peak = row["peak_mib"] + data / 2**20
    what = f"{row['who']}: peak with the data, MiB"
    return (what, f"{peak:.0f}", f"<= {limit:.0f}", bool(peak <= limit))


def _figure(what, value, sign, bound):
    if not np.isfinite(value):
        return (what, "not measured", "-", None)
    if bound is None:
        return (what, f"{value:.2f}", "-", None)
    holds = value >= bound if sign == ">=" else value <= bound
    return (what, f"{value:.2f}", f"{sign} {bound:g}", bool(holds))
