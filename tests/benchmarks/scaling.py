"""What a user pays: time and memory against other libraries and the machine's limit.

``python -m tests.benchmarks --quick|--full [PART ...]``. Parts are the workloads W1 to
W5 and those of `PARTS`. The table, the figures against their goals and the curves of
growth are stored in the folder that ``SKPUMA_RESULTS`` names (``benchmark_results``).

Everything in one table was timed in turn: a round times each system once, and the
kernels that the floor is made of too, so that a busy machine slows all of them alike.
Scores are compared with the answer by plain numpy before anything is timed; a system
that is off by more than `CORRECT` is named, but is no peer.
"""

import json
import os
import statistics
import time
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from scipy.sparse.linalg import LinearOperator

from skpuma.curvature import Curvature
from skpuma.curvature._single import SingleProducts
from tests.benchmarks import frameworks, machine, memory, own, workloads
from tests.benchmarks.scaling_goals import goals_of

CORRECT = 1e-3
# (seconds of the first run up to which, rounds); beyond, the first run counts.
ROUNDS = {False: ((20.0, 5), (60.0, 3)), True: ((2.0, 5), (6.0, 3), (20.0, 1))}
# Runs that take longer are not done once more for their memory.
MEMORY_SECONDS = 60.0
PARTS = {
    "patch": "tests.benchmarks.scaling_patch",
    "lambda": "tests.benchmarks.scaling_lambda",
    "compile": "tests.benchmarks.scaling_growth",
    "growth": "tests.benchmarks.scaling_growth",
}


def folder():
    """Where results are stored."""
    path = Path(os.environ.get("SKPUMA_RESULTS", "benchmark_results"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def run(names=(), quick=True):
    """Measure; the number of figures that fall short."""
    os.environ["TQDM_DISABLE"] = "1"
    known = [*workloads.FULL, *PARTS]
    unknown = set(names) - set(known)
    if unknown:
        raise SystemExit(f"Unknown: {sorted(unknown)}; choose from {known}.")
    names = list(names) or known
    most = memory.limit()
    show("machine", machine.describe())
    show("memory", [("a process may hold", f"{most / 2**30:.1f} GiB")])
    absent = frameworks.missing()
    show("not installed, skipped", [(name, "") for name in absent])
    short = 0
    for name in names:
        start = time.perf_counter()
        if name in workloads.FULL:
            figures = _workload(name, quick)
        else:
            figures = getattr(import_module(PARTS[name]), f"{name}_figures")(quick)
        stored(name, "figures", [dict(zip(_COLUMNS, f, strict=True)) for f in figures])
        short += sum(holds is False for *_, holds in figures)
        verdicts(name, figures, time.perf_counter() - start)
    print(f"\n{short} figures fall short" if short else "\nall figures hold")
    return short


_COLUMNS = ("what", "value", "goal", "holds")


def show(title, pairs):
    """Print (what, figure) lines."""
    print(f"\n== {title}")
    for what, figure in pairs:
        print(f"   {what:<44} {figure}")


def verdicts(name, figures, seconds):
    """Print figures with their goals."""
    print(f"\n== {name}: goals ({seconds:.0f} s)")
    words = {True: "holds", False: "SHORT", None: "-"}
    for what, value, goal, holds in figures:
        print(f"   {what:<62} {value:<22} goal {goal:<12} {words[holds]}", flush=True)


def stored(name, what, records):
    """Write records as JSON and CSV."""
    frame = pd.DataFrame(records)
    path = folder() / f"{name}_{what}"
    frame.to_csv(path.with_suffix(".csv"), index=False)
    path.with_suffix(".json").write_text(
        json.dumps(records, indent=1, default=lambda x: x.item())
    )
    return frame


# -- one workload ----------------------------------------------------------------------


class _Trial:
    """A system on a workload: its error, its times, and what the floor needs."""

    def __init__(self, system, workload, answers):
        self.system, self.failure = system, ""
        self.times, self.cpu_times = [], []
        self.error, self.products, self.peak = np.nan, (0, 0), np.nan
        self.parts, self.size = [], 0.0
        try:
            system.prepare(workload)
            with counted_products() as count:
                psi, self.first, cpu = _clocked(system.run)
            psi = np.asarray(psi, dtype=np.float64)
        except Exception as error:
            # A library that fails is named with its reason, and the others go on.
            self.failure = f"{type(error).__name__}: {error}".splitlines()[0][:100]
            return
        self.times, self.cpu_times = [self.first], [cpu]
        # A sample of the rows is multiplied with as well.
        self.products = tuple(round(one / len(workload.y)) for one in count)
        if getattr(system, "comparable", True):
            curvature = system.curvature if workload.network else "hessian"
            if curvature not in answers:
                answers[curvature] = workloads.answer(workload, curvature)
            wanted = answers[curvature]
            self.error = np.linalg.norm(psi - wanted) / np.linalg.norm(wanted)
        if self.ours:
            self.parts, self.size = own.floor_of(workload, system, self.products)

    @property
    def ours(self):
        return self.system.library == "skpuma"

    @property
    def correct(self):
        """Whether it is a peer, or a row of ours that need not be compared."""
        return not self.failure and not self.error > CORRECT

    @property
    def wall(self):
        return statistics.median(self.times) if self.correct else np.nan

    @property
    def cpu(self):
        """Seconds of all threads: what a busy machine distorts less."""
        return statistics.median(self.cpu_times) if self.correct else np.nan

    def rounds(self, quick):
        """How often it is timed after the first run, which loads what it needs."""
        if not self.correct:
            return 0
        for limit, rounds in ROUNDS[quick]:
            if self.first <= limit:
                self.times, self.cpu_times = [], []
                return rounds
        return 0


@contextmanager
def counted_products():
    """Columns that a curvature was multiplied with, times its rows.

    In double and in single precision.
    """
    count = [0, 0]

    def counting(method, place, kind):
        def wrapped(self, V):
            # Not of an operator that something else was made with.
            if isinstance(self, kind):
                X = self.X if kind is SingleProducts else self.objective.X
                count[place] += X.shape[0] * (1 if np.ndim(V) == 1 else V.shape[1])
            return method(self, V)

        return wrapped

    double, single = LinearOperator, SingleProducts
    with (
        patch.object(double, "matmat", counting(double.matmat, 0, Curvature)),
        patch.object(double, "matvec", counting(double.matvec, 0, Curvature)),
        patch.object(single, "__matmul__", counting(single.__matmul__, 1, single)),
    ):
        yield count


def _workload(name, quick):
    workload = (workloads.QUICK if quick else workloads.FULL)[name]()
    answers = {}
    systems = own.own_of(workload) + frameworks.peers_of(workload, quick)
    trials = [_Trial(system, workload, answers) for system in systems]
    units = {u.name: u for t in trials for u, _ in t.parts} | {"read": machine.read()}
    seconds = _timed(trials, units, quick)
    _measure_memory(trials, workload, quick)
    table = _table(workload, trials, seconds)
    stored(name, "table", table)
    show(f"{name}: {workload.title}, damping {workload.damping:g}", [])
    with pd.option_context("display.width", 200, "display.max_columns", 20):
        print(_readable(table).to_string(index=False))
    rates = [(k, f"{u.rate(seconds[k]):.1f} G/s") for k, u in units.items()]
    show("rates in the same rounds", rates)
    return goals_of(workload, table)


def _timed(trials, units, quick):
    """Time everything in turn; median seconds of the units."""
    rounds = {id(trial): trial.rounds(quick) for trial in trials}
    times = {name: [] for name in units}
    for turn in range(max(rounds.values(), default=0)):
        for trial in trials:
            if turn < rounds[id(trial)]:
                _, wall, cpu = _clocked(trial.system.run)
                trial.times.append(wall)
                trial.cpu_times.append(cpu)
        for name, unit in units.items():
            times[name].append(machine.seconds_of(unit.run))
    return {name: statistics.median(t) for name, t in times.items()}


def _clocked(run):
    """(what it returned, seconds, seconds of all threads)."""
    cpu, start = time.process_time(), time.perf_counter()
    result = run()
    return result, time.perf_counter() - start, time.process_time() - cpu


def _measure_memory(trials, workload, quick):
    """Peaks of our rows and of the fastest peer; a quick run takes the default only."""
    chosen = [t for t in trials if t.correct and t.ours]
    peers = [t for t in trials if t.correct and not t.ours]
    chosen = chosen[:1] if quick else chosen + sorted(peers, key=lambda t: t.wall)[:1]
    for trial in chosen:
        if trial.wall > MEMORY_SECONDS:
            continue
        system = type(trial.system).__new__(type(trial.system))
        kept = ("name", "single", "comparable", "settings")
        held = trial.system.__dict__
        system.__dict__.update({k: held[k] for k in kept if k in held})
        peak = memory.peak_of(system, workload, 10.0 * MEMORY_SECONDS)
        trial.peak = np.nan if peak is None else peak


def _table(workload, trials, seconds):
    walls = {
        single: [
            t.wall
            for t in trials
            if not t.ours and t.correct and bool(t.system.single) == single
        ]
        for single in (False, True)
    }
    out = []
    for t in trials:
        # A float32 run is compared with the fastest of both precisions.
        peers = walls[False] + (walls[True] if t.system.single else [])
        fastest = min(peers, default=np.nan)
        floor = np.nan
        if t.parts and t.correct:
            floor = own.floor_seconds(t.parts, t.size, seconds)
        out.append(
            {
                "who": t.system.name,
                "library": t.system.library,
                "single": bool(t.system.single),
                "curvature": t.system.curvature if workload.network else "hessian",
                "wall": t.wall,
                "cpu": t.cpu,
                "rounds": len(t.times),
                "error": t.error,
                "peak_mib": t.peak / 2**20,
                "times_faster": fastest / t.wall if t.ours else np.nan,
                "floor": floor,
                "times_floor": t.wall / floor,
                "products": t.products[0],
                "single_products": t.products[1],
                "failure": t.failure if t.failure or t.correct else "wrong answer",
            }
        )
    return out


def _readable(table):
    """The table as it is printed."""
    form = {
        "wall": "{:.4f}",
        "cpu": "{:.4f}",
        "error": "{:.0e}",
        "peak_mib": "{:.0f}",
        "times_faster": "{:.1f}",
        "floor": "{:.4f}",
        "times_floor": "{:.1f}",
    }
    frame = pd.DataFrame(table).drop(columns=["library", "single"])
    for name, pattern in form.items():
        known = frame[name].notna()
        text = frame[name].map(pattern.format)
        frame[name] = text.where(known, "-")
    return frame
