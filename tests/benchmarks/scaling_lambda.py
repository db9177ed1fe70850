"""lambda for very many candidates: optimality, time in passes over Psi, memory."""

import statistics

import numpy as np

from skpuma import reweighting
from tests.benchmarks import machine, memory

M = 10
KKT, PASSES, MEMORY = 1e-6, 40.0, 3.0
# The default, and a penalty that leaves many rows with weight.
ALPHAS = (0.8, 0.1)
LIMIT_SECONDS = 300.0


class Problem:
    """psi of the candidates, what the marked rows take away, and a strength."""

    library, single = "skpuma", False

    def __init__(self, n, l1_ratio, alpha):
        self.n, self.l1_ratio, self.alpha = n, l1_ratio, alpha

    def prepare(self, _):
        rng = np.random.default_rng(6)
        # Criteria share much of their psi; the hundredth that helps them most goes.
        psi = rng.standard_normal((round(self.n / 0.99), M))
        psi += rng.standard_normal((len(psi), 1))
        psi *= rng.uniform(0.1, 10.0, M)
        order = np.argsort(-psi.sum(axis=1))
        marked = len(psi) - self.n
        self.t = psi[order[:marked]].sum(axis=0)
        self.psi = psi[np.sort(order[marked:])]
        self.weight = np.ones(self.n)
        self.delta = rng.uniform(0.005, 0.02, M)

    def run(self):
        return reweighting.solve(
            self.psi,
            self.weight,
            self.t,
            self.delta,
            alpha=self.alpha,
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
        penalty = self.alpha * largest * (self.l1_ratio + (1.0 - self.l1_ratio) * lam)
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
    for alpha in ALPHAS[:1] if quick else ALPHAS:
        for l1_ratio in (default, 1.0):
            out += _solved(Problem(n, l1_ratio, alpha), 3 if quick else 5)
    return out


def _solved(problem, repeats):
    what = f"n = {problem.n:,}, l1_ratio {problem.l1_ratio:g}, alpha {problem.alpha:g}"
    problem.prepare(None)
    lam = problem.run()
    first = machine.seconds_of(problem.run)
    solves, passes = [first], [machine.seconds_of(problem.one_pass)]
    for _ in range(repeats - 1 if first < 60.0 else 0):
        solves.append(machine.seconds_of(problem.run))
        passes.append(machine.seconds_of(problem.one_pass))
    seconds, one = statistics.median(solves), statistics.median(passes)
    residual, size = problem.kkt(lam), problem.psi.nbytes
    fresh = Problem(problem.n, problem.l1_ratio, problem.alpha)
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
