"""The boxed elastic net for lambda: scaling, choice of solver, optimality check."""

from dataclasses import dataclass, replace

import numpy as np

from skpuma.utils._registry import load
from skpuma.utils.errors import SolverError

# cvxpy takes about a second for this many entries; the dual Newton a few hundredths.
CVXPY_LIMIT = 30_000
KKT_LIMIT = 1e-4
NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class Compensation:
    """``min loss(t - A lam) + sum_j w_j (l1 lam_j + l2/2 lam_j^2)`` in a box.

    With ``A_cj = scale_c psi_jc w_j``, which is never formed: of a million rows there
    is room for psi alone.

    Attributes
    ----------
    psi : ndarray (n, m)
    weight : ndarray (n,)
        The rows' weights w: a row of weight 2 moves, and costs, what two rows do.
    scale : ndarray (m,)
        Brings every criterion to units of its delta.
    t : ndarray (m,)
        What the marked rows take away, scaled alike.
    l1, l2, upper : float
        ``0 <= lam <= upper``.
    one_sided : bool
        ``loss`` is ``||r_+||^2`` (compensate only what gets worse) rather than
        ``||r||^2``.
    """

    psi: np.ndarray
    weight: np.ndarray
    scale: np.ndarray
    t: np.ndarray
    l1: float
    l2: float
    upper: float
    one_sided: bool

    def effect(self, lam):
        """A lam (m,)."""
        return self.scale * (self.psi.T @ (self.weight * lam))

    def gain(self, y):
        """``A.T y`` per unit of weight (n,)."""
        return self.psi @ (self.scale * y)

    def rows(self, index):
        """The same problem for some of the rows."""
        return replace(self, psi=self.psi[index], weight=self.weight[index])

    def residual(self, lam):
        """t - A lam, its negative part dropped if one-sided."""
        r = self.t - self.effect(lam)
        return np.maximum(r, 0.0) if self.one_sided else r

    def objective(self, lam):
        """The minimised value."""
        r = self.residual(lam)
        penalty = self.l1 * lam + 0.5 * self.l2 * lam * lam
        return float(r @ r + self.weight @ penalty)

    def gradient(self, lam):
        """Its gradient in lam (n,)."""
        out = self.gain(-2.0 * self.residual(lam))
        out += self.l1
        if self.l2:
            out += self.l2 * lam
        out *= self.weight
        return out

    def kkt_residual(self, lam):
        """Largest violation of optimality, relative to the largest possible gradient.

        The fixed-point residual of a projected gradient step of unit curvature.
        """
        first = np.maximum(self.t, 0.0) if self.one_sided else self.t
        gain = self.gain(2.0 * first)
        gain *= self.weight
        scale = max(gain.max(initial=0.0), -gain.min(initial=0.0))
        if scale == 0.0:
            return 0.0
        step = self.gradient(lam)
        step /= -scale
        step += lam
        np.clip(step, 0.0, self.upper, out=step)
        step -= lam
        return float(max(step.max(initial=0.0), -step.min(initial=0.0)))


def solve(
    psi,
    weight,
    t,
    delta,
    *,
    side="worse",
    alpha=0.8,
    l1_ratio=0.1,
    max_weight=1.0,
    solver="auto",
):
    """Weights of the candidate rows that compensate a removal (Blog 9).

    Parameters
    ----------
    psi : ndarray (n, m)
        psi of the candidates for every criterion.
    weight : ndarray (n,)
        Their weights, positive: a row without weight cannot compensate.
    t : ndarray (m,)
        ``sum_k w_k psi_k`` over the marked rows: what their removal adds to C, times W.
    delta : ndarray (m,)
        Bounds of the criteria; an infinite one drops the criterion, a zero one counts
        as the smallest positive.
    side : {"worse", "both"}
    alpha : float in [0, 1]
        Strength of the penalty relative to ``alpha_max``, above which a lasso is empty.
    l1_ratio : float in [0, 1]
        1 is the lasso of the blog; 0 spreads the weight over all helpful rows.
    max_weight : float
        Box of every lambda.
    solver : {"auto", "cvxpy", "dual"}

    Returns
    -------
    ndarray (n,)
        lambda, 0 <= lambda <= max_weight.
    """
    problem = build(psi, weight, t, delta, side, alpha, l1_ratio, max_weight)
    if problem is None:
        return np.zeros(len(weight))
    from skpuma.reweighting import SOLVERS

    if solver not in ("auto", *SOLVERS):
        raise ValueError(
            f"Unknown solver {solver!r}; choose 'auto' or one of {sorted(SOLVERS)}."
        )
    names = [solver]
    if solver == "auto":
        # One equation in one unknown is no task for a conic solver.
        small = 1 < len(problem.t) and problem.psi.size <= CVXPY_LIMIT
        names = ["cvxpy", "dual"] if small else ["dual", "cvxpy"]
        if problem.l2 == 0.0:
            names = ["cvxpy"]
    failure = None
    for name in names:
        try:
            lam = load(SOLVERS[name])(problem)
        except SolverError as error:
            failure = error
            continue
        lam = np.clip(lam, 0.0, max_weight)
        residual = problem.kkt_residual(lam)
        if residual <= KKT_LIMIT:
            return lam
        failure = SolverError(
            f"The weights lambda are not optimal ({name}: KKT residual "
            f"{residual:.1e}). Use a larger alpha or a smaller l1_ratio, or put the "
            "criteria on comparable scales by their deltas."
        )
    raise failure


def scales(delta):
    """What every criterion is multiplied by (m,): ratios of the finite deltas only."""
    positive = delta[delta > 0]
    smallest = positive.min() if positive.size else 1.0
    return smallest / np.where(delta > 0, delta, smallest)


def build(psi, weight, t, delta, side, alpha, l1_ratio, max_weight):
    """Scale the problem; None if nothing is to be compensated."""
    bound = np.isfinite(delta)
    if not bound.any() or not len(weight):
        return None
    D = scales(delta[bound])
    psi = psi if bound.all() else psi[:, bound]
    t = D * t[bound]
    one_sided = side == "worse"
    start = np.maximum(t, 0.0) if one_sided else t
    alpha_max = 2.0 * np.max(psi @ (D * start), initial=0.0)
    size = np.linalg.norm(start)
    # Next to what one row moves, the removal of confidently fitted rows moves nothing.
    moves = max(D[c] * _largest(weight, psi[:, c]) for c in range(len(D)))
    if alpha_max <= 0.0 or size <= NEGLIGIBLE * moves:
        return None
    # Unit gradients, so that the tolerances of the solvers mean the same everywhere.
    strength = alpha * alpha_max / size**2
    return Compensation(
        psi,
        weight,
        D / size,
        t / size,
        strength * l1_ratio,
        strength * (1.0 - l1_ratio),
        max_weight,
        one_sided,
    )


def _largest(weight, values):
    """Largest ``|w_j v_j|``."""
    moved = weight * values
    return max(moved.max(), -moved.min())
