"""Peak memory of one run in a process of its own.

``python -m tests.benchmarks.memory FOLDER NAME`` loads what `peak_of` has stored, runs
once on few rows, so that libraries and compiled code are loaded, and then prints the
bytes by which the run on all rows raised the memory of the process.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import joblib

WARM_ROWS = 1000
# Of what is free, and at most so much, may a process take.
FREE_SHARE, MOST_BYTES = 0.5, 12 * 2**30


def limit():
    """Let this process and its children fail, instead of taking the machine's memory.

    Some systems grow to tens of gigabytes; they then raise, and are named as failed.

    Returns
    -------
    int
        Bytes that one process may hold.
    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    (free,) = (line for line in lines if line.startswith("MemAvailable"))
    most = int(min(FREE_SHARE * 1024 * int(free.split()[1]), MOST_BYTES))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    return most


def peak_of(system, workload, timeout):
    """Bytes above imports and data at the peak of ``system.run()``; None if it failed.

    Parameters
    ----------
    system : object
        ``prepare(workload)`` and ``run()``; it is pickled.
    timeout : float
        Seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump((system, workload), Path(folder) / "job.joblib")
        command = [sys.executable, "-W", "ignore", "-m", __name__, folder]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return None
    lines = done.stdout.split()
    return int(lines[-1]) if done.returncode == 0 and lines else None


def measured(run):
    """Bytes by which the peak of ``run()`` is above what is held before it."""
    start = _reset_peak()
    run()
    return max(_peak() - start, 0)


def _reset_peak():
    """What is held now, in bytes; the peak counts from here on."""
    # Linux: the high-water mark starts again at what is held.
    Path("/proc/self/clear_refs").write_text("5")
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak():
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def main(folder):
    system, workload = joblib.load(Path(folder) / "job.joblib")
    if hasattr(workload, "head"):
        system.prepare(workload.head(WARM_ROWS))
        system.run()
    system.prepare(workload)
    print(measured(system.run))


if __name__ == "__main__":
    main(*sys.argv[1:])
