"""Run the measurements and say which figures hold.

``python -m tests.benchmarks [NAME ...]`` measures what the README claims;
``--quick`` or ``--full`` [PART ...] measures time and memory against other libraries
and against the machine (`tests.benchmarks.scaling`).
"""

import sys
import time
import warnings
from importlib import import_module

BENCHMARKS = {
    "polish": "tests.benchmarks.accuracy",
    "refit": "tests.benchmarks.accuracy",
    "effects": "tests.benchmarks.accuracy",
    "one_step": "tests.benchmarks.accuracy",
    "delta": "tests.benchmarks.accuracy",
    "stationary": "tests.benchmarks.models",
    "removals": "tests.benchmarks.models",
    "radial": "tests.benchmarks.experiments",
    "moons": "tests.benchmarks.experiments",
    "adult": "tests.benchmarks.experiments",
    "conflict": "tests.benchmarks.scenarios",
    "directions": "tests.benchmarks.scenarios",
    "issue_kinds": "tests.benchmarks.scenarios",
    "styles": "tests.benchmarks.styles",
    "mnist_style": "tests.benchmarks.mnist_style",
    "patcher_cv": "tests.benchmarks.searches",
    "psi_speed": "tests.benchmarks.speed",
    "import_cost": "tests.benchmarks.speed",
    "dask": "tests.benchmarks.dask_rows",
    "text_speed": "tests.benchmarks.text",
    "text_memory": "tests.benchmarks.text",
    "pyinfluence": "tests.benchmarks.peers",
    "statsmodels": "tests.benchmarks.peers",
    "pipelines": "tests.benchmarks.pipelines",
    "influence": "tests.benchmarks.influence",
    "shapley": "tests.benchmarks.shapley",
    "dvrl": "tests.benchmarks.dvrl",
    "sisa_speed": "tests.benchmarks.sisa",
    "newton_removal": "tests.benchmarks.newton_removal",
    "streaming": "tests.benchmarks.streaming",
    "unlearning": "tests.benchmarks.unlearning",
    "detection": "tests.benchmarks.detection",
    "detection_cost": "tests.benchmarks.detection_real",
    "mnist_errors": "tests.benchmarks.detection_real",
}


def main(names):
    """Run the named measurements, or all; the exit status counts what falls short."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"Unknown: {sorted(unknown)}; choose from {list(BENCHMARKS)}.")
    warnings.simplefilter("ignore")
    short = 0
    for name in names or BENCHMARKS:
        start = time.perf_counter()
        figures = getattr(import_module(BENCHMARKS[name]), name)()
        print(f"\n== {name} ({time.perf_counter() - start:.0f} s)")
        for what, value, goal, holds in figures:
            verdict = {True: "holds", False: "SHORT", None: "skipped"}[holds]
            short += holds is False
            print(f"   {what:<62} {value:<26} goal {goal:<18} {verdict}", flush=True)
    print(f"\n{short} figures fall short" if short else "\nall figures hold")
    return short


def scaling(arguments):
    """Run `tests.benchmarks.scaling` at the size that the first argument says."""
    from tests.benchmarks.scaling import run

    warnings.simplefilter("ignore")
    size, *parts = arguments
    return run(parts, quick=size == "--quick")


if __name__ == "__main__":
    asked = sys.argv[1:]
    sized = asked[:1] in (["--quick"], ["--full"])
    sys.exit(scaling(asked) if sized else main(asked))
