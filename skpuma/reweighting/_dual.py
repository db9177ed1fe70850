"""lambda in the m-dimensional dual, by semismooth Newton: for very many rows.

With y = 2 (t - A lam)_+ the elastic net gives every row in closed form,
``lam_j = clip((a_j . y / cost_j - l1) / l2, 0, upper)``, so m equations in m unknowns
are left: ``F(y) = y / 2 + A lam(y) - t = 0`` (with ``y >= 0`` complementary if
one-sided), the gradient of a strongly convex function.
"""

from dataclasses import replace

import numpy as np

from skpuma.utils.errors import SolverError

MAX_STEPS = 100
CONTINUATION = 10.0


def solve_dual(problem, tolerance=1e-10):
    """Exact solution of a `Compensation` with l2 > 0.

    Newton steps from the solution of a smoother problem (a larger l2): from a far start
    the set of rows strictly inside the box would change at every step.
    """
    if problem.l2 <= 0.0:
        raise SolverError("The dual solver needs l1_ratio < 1; use solver='cvxpy'.")
    y = 2.0 * problem.residual(np.zeros(problem.A.shape[1]))
    score = np.abs(problem.A.T @ y) / problem.cost
    smooth = max(score.max() / problem.upper, problem.l2)
    while smooth > problem.l2:
        y, _ = _newton(replace(problem, l2=smooth), y, 1e-6)
        smooth /= CONTINUATION
    y, lam = _newton(problem, y, tolerance)
    if problem.kkt_residual(lam) > 1e-6:
        raise SolverError(
            "The weights lambda did not converge in the dual; use a larger alpha, a "
            "smaller l1_ratio or solver='cvxpy'."
        )
    return lam


def _newton(problem, y, tolerance):
    """(y, lam(y)) after damped semismooth Newton steps."""
    A, t = problem.A, problem.t
    floor = 0.0 if problem.one_sided else -np.inf
    value, lam = _dual(problem, y)
    for _ in range(MAX_STEPS):
        gradient = 0.5 * y + A @ lam - t
        free = ~((y <= floor) & (gradient >= 0.0))
        if np.abs(gradient[free]).max(initial=0.0) <= tolerance:
            break
        inner = np.flatnonzero((lam > 0.0) & (lam < problem.upper))
        fractional = A[:, inner]
        scaled = fractional / (problem.l2 * problem.cost[inner])
        matrix = 0.5 * np.eye(len(t)) + scaled @ fractional.T
        step = np.zeros_like(y)
        step[free] = np.linalg.solve(matrix[np.ix_(free, free)], gradient[free])
        length, accepted = 1.0, False
        while not accepted and length > 1e-10:
            trial = np.maximum(y - length * step, floor)
            new = _dual(problem, trial)
            accepted = new[0] <= value + 1e-4 * gradient @ (trial - y)
            length *= 0.5
        if not accepted:
            break
        y, (value, lam) = trial, new
    return y, lam


def _dual(problem, y):
    """Dual value (minimised), and lam(y)."""
    score = y @ problem.A
    score -= problem.l1 * problem.cost
    lam = score / problem.cost
    lam /= problem.l2
    np.clip(lam, 0.0, problem.upper, out=lam)
    value = 0.25 * y @ y - problem.t @ y
    value += lam @ score - 0.5 * problem.l2 * np.einsum(
        "i,i,i->", problem.cost, lam, lam
    )
    return value, lam
