"""lambda in the m-dimensional dual, by semismooth Newton: for very many rows.

With y = 2 (t - A lam)_+ the elastic net gives every row in closed form,
``lam_j = clip((a_j . y / w_j - l1) / l2, 0, upper)``, so m equations in m unknowns
are left: ``F(y) = y / 2 + A lam(y) - t = 0`` (with ``y >= 0`` complementary if
one-sided), the gradient of a strongly convex function.
"""

from dataclasses import replace

import numpy as np

from skpuma.utils.errors import SolverError

MAX_STEPS = 100
CONTINUATION, ROUNDING = 10.0, 1e-14
# Gradient up to which a smoother problem is solved.
SMOOTH_TOLERANCE = 1e-2
# l2 that stands for none, relative to one that leaves every row inside the box.
LASSO_SMOOTHING = 1e-3


def solve_dual(problem, tolerance=1e-10):
    """Exact solution of a `Compensation` with l2 > 0.

    Newton steps from the solution of a smoother problem (a larger l2): from a far start
    the set of rows strictly inside the box would change at every step.
    """
    if problem.l2 <= 0.0:
        raise SolverError("The dual solver needs l1_ratio < 1; use solver='cvxpy'.")
    y, lam = _newton(problem, _smoothed(problem, problem.l2), tolerance)
    if problem.kkt_residual(lam) > 1e-6:
        raise SolverError(
            "The weights lambda did not converge in the dual; use a larger alpha, a "
            "smaller l1_ratio or solver='cvxpy'."
        )
    return lam


def near_solution(problem):
    """y (m,) of a problem with a small quadratic penalty instead of none."""
    smallest = LASSO_SMOOTHING * _largest_gain(problem) / problem.upper
    y = _smoothed(problem, smallest)
    return _newton(replace(problem, l2=smallest), y, SMOOTH_TOLERANCE)[0]


def _smoothed(problem, smallest):
    """y (m,) to start from: of larger and larger l2 down to the smallest."""
    y = 2.0 * problem.residual(np.zeros(len(problem.weight)))
    smooth = max(_largest_gain(problem) / problem.upper, smallest)
    while smooth > smallest:
        y, _ = _newton(replace(problem, l2=smooth), y, SMOOTH_TOLERANCE)
        smooth /= CONTINUATION
    return y


def _largest_gain(problem):
    start = np.maximum(problem.t, 0.0) if problem.one_sided else problem.t
    gain = problem.gain(2.0 * start)
    return max(gain.max(), -gain.min())


def _newton(problem, y, tolerance):
    """(y, lam(y)) after damped semismooth Newton steps."""
    t = problem.t
    floor = 0.0 if problem.one_sided else -np.inf
    value, lam = _dual(problem, y)
    for _ in range(MAX_STEPS):
        gradient = 0.5 * y + problem.effect(lam) - t
        free = ~((y <= floor) & (gradient >= 0.0))
        if np.abs(gradient[free]).max(initial=0.0) <= tolerance:
            break
        inner = np.flatnonzero((lam > 0.0) & (lam < problem.upper))
        fractional = problem.psi[inner]
        fractional *= np.sqrt(problem.weight[inner] / problem.l2)[:, None]
        matrix = fractional.T @ fractional
        matrix *= np.outer(problem.scale, problem.scale)
        matrix += 0.5 * np.eye(len(t))
        step = np.zeros_like(y)
        step[free] = np.linalg.solve(matrix[np.ix_(free, free)], gradient[free])
        length, accepted = 1.0, False
        while not accepted and length > 1e-10:
            trial = np.maximum(y - length * step, floor)
            new = _dual(problem, trial)
            lowest = value + 1e-4 * gradient @ (trial - y)
            # Near the solution a step lowers the value by less than its rounding.
            accepted = new[0] <= lowest + ROUNDING * max(abs(value), 1.0)
            length *= 0.5
        if not accepted:
            break
        y, (value, lam) = trial, new
    return y, lam


def _dual(problem, y):
    """Dual value (minimised), and lam(y)."""
    score = problem.gain(y)
    score -= problem.l1
    lam = score / problem.l2
    np.clip(lam, 0.0, problem.upper, out=lam)
    value = 0.25 * y @ y - problem.t @ y
    value += np.einsum("i,i,i->", problem.weight, lam, score)
    value -= 0.5 * problem.l2 * np.einsum("i,i,i->", problem.weight, lam, lam)
    return value, lam
