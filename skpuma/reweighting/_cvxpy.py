"""lambda by cvxpy (Clarabel), on a working set of rows that is checked on all rows."""

from dataclasses import replace

import numpy as np

from skpuma.reweighting._dual import near_solution
from skpuma.utils.errors import SolverError

WORKING_SET = 2000
TOLERANCE = 1e-6
TOLERANCES = (1e-12, 1e-10, 1e-8)


def solve_cvxpy(problem):
    """Exact solution of a `Compensation`.

    Few rows are solved for together; the others rest at an end of the box, and those
    that violate the optimality conditions of the whole problem there join them, until
    none does. Of a lasso, a solution with a small quadratic penalty says which rows are
    near neither end.
    """
    n = len(problem.weight)
    lam, margin = np.zeros(n), problem.gradient(np.zeros(n))
    if margin.min() >= -TOLERANCE * max(margin.max(), 1e-300):
        return lam
    if problem.l2 == 0.0 and n > WORKING_SET:
        margin = problem.gain(-near_solution(problem))
        margin += problem.l1
        lam[margin < 0.0] = problem.upper
        margin = np.abs(margin, out=margin)
    working = np.zeros(n, dtype=bool)
    working[_lowest(margin, WORKING_SET)] = True
    while True:
        resting = np.where(working, 0.0, lam)
        part = problem.rows(working)
        part = replace(part, t=problem.t - problem.effect(resting))
        lam[working] = _solve_whole(part)
        gradient = problem.gradient(lam)
        edge = TOLERANCE * max(gradient.max(), -gradient.min(), 1e-300)
        gradient[working] = 0.0
        # Where resting rows want to move.
        wrong = np.where(resting > 0.0, gradient, -gradient)
        n_wrong = np.count_nonzero(wrong > edge)
        if not n_wrong:
            return lam
        size = max(WORKING_SET, int(working.sum()))
        working[_lowest(-wrong, min(size, n_wrong))] = True


def _lowest(values, size):
    """Positions of the lowest values."""
    if size >= len(values):
        return np.arange(len(values))
    return np.argpartition(values, size)[:size]


def _solve_whole(problem):
    import cvxpy as cp

    n, m = problem.psi.shape
    A = (problem.psi * problem.scale).T * problem.weight
    lam = cp.Variable(n, bounds=[0.0, problem.upper])
    residual = cp.Variable(m)
    total = A @ lam
    gap = residual - problem.t + total
    constraints = [gap >= 0, residual >= 0] if problem.one_sided else [gap == 0]
    cost = cp.sum_squares(residual) + problem.l1 * (problem.weight @ lam)
    if problem.l2 > 0:
        root = np.sqrt(0.5 * problem.l2 * problem.weight)
        cost = cost + cp.sum_squares(cp.multiply(root, lam))
    program = cp.Problem(cp.Minimize(cost), constraints)
    status = "failed"
    # Clarabel may stall short of a tolerance that it reaches on most problems.
    for tolerance in TOLERANCES:
        try:
            program.solve(
                solver=cp.CLARABEL,
                tol_gap_abs=tolerance,
                tol_gap_rel=tolerance,
                tol_feas=tolerance,
            )
        except cp.error.SolverError:
            continue
        status = program.status
        if status == "optimal" and lam.value is not None:
            break
    else:
        raise SolverError(
            f"The weights lambda could not be solved for (cvxpy: {status}). Use a "
            "larger alpha or a smaller l1_ratio, or reweight=False."
        )
    return np.clip(lam.value, 0.0, problem.upper)
