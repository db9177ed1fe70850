"""lambda for very many candidates: optimality, time in passes over Psi, memory."""

import statistics

import numpy as np

from skpuma import reweighting
from tests.benchmarks import machine, memory

M = 10
KKT, PASSES, MEMORY = 1e-6, 40.0, 3.0
ALPHA = 0.8
LIMIT_SECONDS = 300.0


class Problem:
    """psi of the candidates, what the marked rows take away, and a strength."""

    library, single = "skpuma", False

    def __init__(self, n, l1_ratio):
        self.n, self.l1_ratio = n, l1_ratio

    def prepare(self, _):
        rng = np.random.default_rng(6)
        # Criteria share much of their psi, and a few rows matter far more than most.
        shared = rng.standard_t(4, size=(self.n, 1))
        self.psi = shared + 0.5 * rng.standard_t(4, size=(self.n, M))
        self.psi *= rng.uniform(0.1, 10.0, M)
        self.weight = np.ones(self.n)
        self.delta = rng.uniform(0.005, 0.02, M)
        # One row in a hundred is marked, and helped.
        self.t = 0.01 * self.n * np.abs(self.psi).mean(axis=0) * rng.uniform(0.5, 1, M)

    def run(self):
        return reweighting.solve(
            self.psi,
            self.weight,
            self.t,
            self.delta,
            alpha=ALPHA,
            l1_ratio=self.l1_ratio,
        )

    def kkt(self, lam):
        """Violation of optimality on all rows, from the problem as it is written.

        ``min ||D (t - Psi.T lam)_+||^2 + alpha alpha_max Omega(lam), 0 <= lam <= 1``,
        by a projected gradient step in units of the largest possible gradient.
        """
        D = self.delta.min() / self.delta
        scaled = self.psi * D
        start = np.maximum(D * self.t, 0.0)
        largest = 2.0 * np.max(scaled @ start)
        residual = np.maximum(D * self.t - scaled.T @ lam, 0.0)
        penalty = ALPHA * largest * (self.l1_ratio + (1.0 - self.l1_ratio) * lam)
        gradient = (penalty - 2.0 * (scaled @ residual)) / largest
        return float(np.abs(lam - np.clip(lam - gradient, 0.0, 1.0)).max())

    def one_pass(self):
        """``Psi @ v`` and ``Psi.T @ u``."""
        self.psi @ np.ones(M)
        return self.psi.T @ self.weight


def lambda_figures(quick):
    """The default l1_ratio and a lasso."""
    n = 100_000 if quick else 1_000_000
    default = reweighting.solve.__kwdefaults__["l1_ratio"]
    out = []
    for l1_ratio in (default, 1.0):
        out += _solved(Problem(n, l1_ratio), 3 if quick else 5)
    return out


def _solved(problem, repeats):
    what = f"lambda, n = {problem.n:,}, m = {M}, l1_ratio {problem.l1_ratio:g}"
    problem.prepare(None)
    lam = problem.run()
    first = machine.seconds_of(problem.run)
    solves, passes = [first], [machine.seconds_of(problem.one_pass)]
    for _ in range(repeats - 1 if first < 60.0 else 0):
        solves.append(machine.seconds_of(problem.run))
        passes.append(machine.seconds_of(problem.one_pass))
    seconds, one = statistics.median(solves), statistics.median(passes)
    residual, size = problem.kkt(lam), problem.psi.nbytes
    fresh = Problem(problem.n, problem.l1_ratio)
    peak = memory.peak_of(fresh, None, LIMIT_SECONDS)
    held = np.nan if peak is None else (peak + size) / size
    inside = int(np.count_nonzero(lam))
    return [
        (f"{what}: KKT", f"{residual:.1e}", f"<= {KKT:g}", residual <= KKT),
        (
            "  passes over Psi in time",
            f"{seconds / one:.0f}",
            f"<= {PASSES:g}",
            bool(seconds / one <= PASSES),
        ),
        (
            "  peak memory with Psi, in units of Psi",
            f"{held:.2f}",
            f"<= {MEMORY:g}",
            bool(held <= MEMORY) if held > 0 else None,
        ),
        ("  seconds, rows with weight", f"{seconds:.3f}, {inside:,}", "-", None),
    ]
