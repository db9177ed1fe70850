"""What the machine can do: rates of matrix products, bandwidth of memory.

A `Unit` is one call of a kernel with its work. Units are timed in turn with what they
are compared to, so that a busy machine slows both alike.
"""

import os
import platform
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_info, threadpool_limits

# Rows of a block that stays in cache, the best of these is what the machine can do.
BLOCK_ROWS = (1000, 2500, 5000)
BANDWIDTH_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Unit:
    """One call of a kernel and the work that it does (flops, or bytes read)."""

    name: str
    work: float
    run: object

    def rate(self, seconds):
        """Giga-operations (or gigabytes) per second."""
        return self.work / seconds / 1e9


def n_threads():
    """Threads that BLAS uses now."""
    pools = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
    return max(pools, default=1)


def median_seconds(run, repeats=5):
    """Median time after one call that is not counted."""
    run()
    return statistics.median(seconds_of(run) for _ in range(repeats))


def seconds_of(run):
    """Time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _in_threads(function, n, threads):
    """Call ``function(slice)`` on equal parts of ``range(n)``, BLAS with one thread."""
    edges = np.linspace(0, n, threads + 1).astype(int).tolist()
    parts = [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
    with threadpool_limits(1, user_api="blas"):
        if threads == 1:
            return [function(part) for part in parts]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(function, parts))


def _fastest(name, work, candidates):
    """The candidate that takes least time, as a `Unit`.

    By the fastest of repeats in turn: a median of few would choose by what else runs.
    """
    best = [np.inf] * len(candidates)
    for _ in range(6):
        for index, run in enumerate(candidates):
            best[index] = min(best[index], seconds_of(run))
    return Unit(name, work, candidates[int(np.argmin(best))])


@cache
def syrk(n, d, dtype="float64"):
    """``A.T @ A`` for (n, d), in blocks of rows: n d^2 flops, one triangle."""
    n = int(min(n, 200_000, max(2000, 5e9 // d**2)))
    A = np.random.default_rng(0).standard_normal((n, d)).astype(dtype)

    def candidate(size, threads):
        def part(rows):
            total = np.zeros((d, d), dtype)
            for start in range(rows.start, rows.stop, size):
                block = A[start : min(start + size, rows.stop)]
                total += block.T @ block
            return total

        return lambda: _in_threads(part, n, threads)

    threads = sorted({1, n_threads()})
    runs = [candidate(size, t) for size in BLOCK_ROWS for t in threads]
    # Wide matrices: threads of BLAS itself share one triangle.
    runs.append(lambda: A.T @ A)
    return _fastest(f"syrk {n} x {d} {dtype}", float(n) * d * d, runs)


@cache
def tall_gemm(n, d, h, dtype="float64"):
    """``(n, d) @ (d, h)`` and ``(d, n) @ (n, h)``, in blocks: 4 n d h flops."""
    n = int(min(n, max(5000, 1e7 // d)))
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d)).astype(dtype)
    B = rng.standard_normal((d, h)).astype(dtype)

    def candidate(size, threads, turned):
        def part(rows):
            total = np.zeros((d, h), dtype)
            for start in range(rows.start, rows.stop, size):
                block = A[start : min(start + size, rows.stop)]
                # BLAS reads some shapes better as columns of the transpose.
                if turned:
                    total += ((B.T @ block.T) @ block).T
                else:
                    total += block.T @ (block @ B)
            return total

        return lambda: _in_threads(part, n, threads)

    threads = sorted({1, n_threads()})
    runs = [
        candidate(size, t, turned)
        for size in BLOCK_ROWS
        for t in threads
        for turned in (False, True)
    ]
    runs += [lambda: A.T @ (A @ B), lambda: ((B.T @ A.T) @ A).T]
    return _fastest(f"gemm {n} x {d} x {h} {dtype}", 4.0 * n * d * h, runs)


@cache
def gemm(size=1536, dtype="float64"):
    """A square product: 2 size^3 flops."""
    A = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
    name = "dgemm" if dtype == "float64" else "sgemm"
    return Unit(f"{name} {size}", 2.0 * size**3, lambda: A @ A)


@cache
def cholesky(p, dtype="float64"):
    """A Cholesky factor: p^3 / 3 flops."""
    A = np.random.default_rng(0).standard_normal((p, p)).astype(dtype)
    A = A @ A.T + p * np.eye(p, dtype=dtype)
    return Unit(
        f"cholesky {p} {dtype}", p**3 / 3.0, lambda: linalg.cho_factor(A, lower=True)
    )


@cache
def read():
    """Bytes read from memory by all threads: a dot product of a large array."""
    x = np.ones(BANDWIDTH_BYTES // 8)

    def candidate(threads):
        return lambda: _in_threads(lambda s: float(x[s] @ x[s]), len(x), threads)

    runs = [candidate(t) for t in sorted({1, n_threads()})]
    return _fastest("read", float(x.nbytes), runs)


@cache
def gemv(d=50):
    """Bytes read by ``A @ v`` for a tall A that does not fit in cache."""
    A = np.ones((BANDWIDTH_BYTES // (8 * d), d))
    v = np.ones(d)

    def candidate(threads):
        return lambda: _in_threads(lambda s: A[s] @ v, len(A), threads)

    runs = [candidate(t) for t in sorted({1, n_threads()})]
    return _fastest(f"dgemv d = {d}", float(A.nbytes), runs)


def describe(units=()):
    """Rows of a table: (what, figure), of this machine and of the units given."""
    blas = {
        f"{p['internal_api']} {p.get('architecture', '')}".strip()
        for p in threadpool_info()
        if p["user_api"] == "blas"
    }
    table = [
        ("processor", platform.machine()),
        ("cores", str(os.cpu_count())),
        ("load before", f"{os.getloadavg()[0]:.1f}"),
        ("BLAS", ", ".join(sorted(blas))),
        ("BLAS threads", str(n_threads())),
    ]
    table += [(name, version(name)) for name in ("numpy", "scipy", "scikit-learn")]
    standard = [gemm(), gemm(dtype="float32"), read(), gemv()]
    for unit in [*standard, *units]:
        kind = "GB/s" if unit.name.startswith(("read", "dgemv")) else "GFLOP/s"
        table.append((unit.name, f"{unit.rate(median_seconds(unit.run)):.1f} {kind}"))
    return table
