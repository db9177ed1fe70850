"""lambda by cvxpy (Clarabel), on a working set of rows that is checked on all rows."""

from dataclasses import replace

import numpy as np

from skpuma.utils.errors import SolverError

WORKING_SET = 2000
TOLERANCE = 1e-6
TOLERANCES = (1e-12, 1e-10, 1e-8)


def solve_cvxpy(problem):
    """Exact solution of a `Compensation`.

    Rows with the largest reduced costs are solved for first; rows that violate the
    optimality conditions of the whole problem are added until none does.
    """
    n = problem.A.shape[1]
    lam = np.zeros(n)
    working = np.zeros(n, dtype=bool)
    while True:
        gradient = problem.gradient(lam)
        scale = max(np.abs(gradient).max(), 1e-300)
        wanted = ~working & (gradient < -TOLERANCE * scale)
        if not wanted.any():
            return lam
        size = max(WORKING_SET, int(working.sum()))
        order = np.argsort(np.where(wanted, gradient, np.inf), kind="stable")
        working[order[: min(size, int(wanted.sum()))]] = True
        part = replace(problem, A=problem.A[:, working], cost=problem.cost[working])
        lam = np.zeros(n)
        lam[working] = _solve_whole(part)


def _solve_whole(problem):
    import cvxpy as cp

    m, n = problem.A.shape
    lam = cp.Variable(n, bounds=[0.0, problem.upper])
    residual = cp.Variable(m)
    total = problem.A @ lam
    gap = residual - problem.t + total
    constraints = [gap >= 0, residual >= 0] if problem.one_sided else [gap == 0]
    cost = cp.sum_squares(residual) + problem.l1 * (problem.cost @ lam)
    if problem.l2 > 0:
        root = np.sqrt(0.5 * problem.l2 * problem.cost)
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
