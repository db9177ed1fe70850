"""lambda in the m-dimensional dual, by semismooth Newton: for very many rows.

With y = 2 (t - A lam)_+ the elastic net gives every row in closed form,
``lam_j = clip((a_j . y - l1) / l2, 0, upper)``, so m equations in m unknowns are left:
``F(y) = y / 2 + A lam(y) - t = 0`` (with ``y >= 0`` complementary if one-sided), the
gradient of a strongly convex function.
"""

import numpy as np

from skpuma.utils.errors import SolverError

MAX_STEPS = 200


def solve_dual(problem, tolerance=1e-10):
    """Exact solution of a `Compensation` with l2 > 0."""
    if problem.l2 <= 0.0:
        raise SolverError("The dual solver needs l1_ratio < 1; use solver='cvxpy'.")
    A, t = problem.A, problem.t
    y = 2.0 * problem.residual(np.zeros(A.shape[1]))
    floor = 0.0 if problem.one_sided else -np.inf
    value, lam, inner = _dual(problem, y)
    for _ in range(MAX_STEPS):
        gradient = 0.5 * y + A @ lam - t
        held = (y <= floor) & (gradient >= 0.0)
        free = ~held
        if np.abs(gradient[free]).max(initial=0.0) <= tolerance:
            return lam
        fractional = A[:, inner]
        matrix = 0.5 * np.eye(len(t)) + fractional @ fractional.T / problem.l2
        step = np.zeros_like(y)
        step[free] = np.linalg.solve(matrix[np.ix_(free, free)], gradient[free])
        length = 1.0
        while True:
            trial = np.maximum(y - length * step, floor)
            new, new_lam, new_inner = _dual(problem, trial)
            if new <= value + 1e-4 * gradient @ (trial - y):
                break
            length *= 0.5
            if length < 1e-12:
                if problem.kkt_residual(lam) <= 1e-7:
                    return lam
                raise SolverError(
                    "The weights lambda did not converge in the dual; use a larger "
                    "alpha, a smaller l1_ratio or solver='cvxpy'."
                )
        y, value, lam, inner = trial, new, new_lam, new_inner
    raise SolverError("The weights lambda did not converge; use a larger alpha.")


def _dual(problem, y):
    """Dual value (minimised), lam(y), and the rows strictly inside the box."""
    score = problem.A.T @ y - problem.l1
    lam = np.clip(score / problem.l2, 0.0, problem.upper)
    inner = (lam > 0.0) & (lam < problem.upper)
    value = 0.25 * y @ y - problem.t @ y
    value += lam @ score - 0.5 * problem.l2 * (lam @ lam)
    return value, lam, inner
