"""The automatic choice of solver and damping, which says what it chose."""

from skpuma import rows
from skpuma.utils._registry import load
from skpuma.utils.errors import SolverError

EXPLICIT_LIMIT = 2500
WOODBURY_LIMIT = 3000
# Relative to the mean eigenvalue. Networks: precision of the 100 lowest psi of the ECE
# among 100 flipped labels (two moons) is 0.76, 0.80, 0.83, 0.85, 0.86 for a relative
# damping of 1e-4, 1e-3, 1e-2, 1e-1, 1; more damping also blurs what a patch can reach.
NETWORK_DAMPING = 1e-1
ILL_CONDITIONED_DAMPING = 1e-8


def choose(curvature):
    """Name of the solver for a curvature, by its size and sign."""
    p = curvature.shape[0]
    objective = curvature.objective
    rank = rows.count(objective.X) * objective.model.n_outputs
    if not curvature.psd:
        return "eigh" if p <= EXPLICIT_LIMIT else "cg"
    if p <= min(EXPLICIT_LIMIT, max(rank, 200)):
        return "cholesky"
    positive = bool((curvature.diagonal_part > 0).all())
    if curvature.factored and positive and rank <= min(WOODBURY_LIMIT, p):
        return "woodbury"
    return "cholesky" if p <= EXPLICIT_LIMIT else "cg"


def factor(curvature, solver="auto", damping="auto"):
    """Factor a curvature.

    Parameters
    ----------
    curvature : Curvature
        Undamped.
    solver : str or class
        "auto" or a name of the table: cholesky up to a few thousand parameters,
        woodbury where there are fewer rows than parameters, eigh for an indefinite
        matrix, cg beyond; lissa only by its name. A class, or a functools.partial of
        one with arguments, is called with the curvature.
    damping : "auto" or float
        "auto" is 0 for a well-conditioned convex model, and otherwise relative to the
        mean eigenvalue. The value used is ``solver.curvature.damping``.

    Returns
    -------
    BaseSolver

    Raises
    ------
    SolverError
        If the matrix is singular, or not definite, without damping.
    """
    if damping == "auto":
        if not curvature.objective.model.convex:
            damping = NETWORK_DAMPING * max(curvature.mean_eigenvalue(), 1e-12)
        else:
            try:
                return _factor(curvature, solver)
            except SolverError:
                mean = max(curvature.mean_eigenvalue(), 1e-300)
                damping = ILL_CONDITIONED_DAMPING * mean
    return _factor(curvature.with_damping(damping), solver)


def _factor(curvature, solver):
    from skpuma.solvers import SOLVERS

    if not isinstance(solver, str):
        return solver(curvature)
    name = choose(curvature) if solver == "auto" else solver
    if name not in SOLVERS:
        raise ValueError(
            f"Unknown solver {solver!r}; choose 'auto' or one of {sorted(SOLVERS)}."
        )
    factored = load(SOLVERS[name])(curvature)
    factored.info = {"solver": name, **factored.info}
    return factored
