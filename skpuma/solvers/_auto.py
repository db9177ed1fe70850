"""The automatic choice of solver and damping, which says what it chose."""

import numpy as np

from skpuma import rows
from skpuma.solvers._kronecker import Kronecker
from skpuma.utils._registry import load
from skpuma.utils.errors import SolverError

EXPLICIT_LIMIT = 2500
WOODBURY_LIMIT = 3000
# Multiplications (a second) that a matrix may take before callers that can do without a
# factor do so, where products have a good preconditioner.
MATRIX_WORK = 2e10
# Relative to the mean eigenvalue.
ILL_CONDITIONED_DAMPING = 1e-8


def choose(curvature, most_work=np.inf):
    """Name of the solver for a curvature, by its size and sign."""
    p = curvature.shape[0]
    if np.isfinite(most_work) and _work_of_matrix(curvature) > most_work:
        return "cg"
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


def _work_of_matrix(curvature):
    """Multiplications of a matrix for which products make up, or 0 where they do not.

    That is a Gram matrix for every pair of coupled classes, and one of the gradients of
    a network by all of its outputs.
    """
    model, n = curvature.objective.model, rows.count(curvature.objective.X)
    if not curvature.factored:
        return 0
    if not model.convex:
        p, rank = model.n_parameters, n * model.n_outputs
        return rank * p**2 // 2 if model.relative_damping > 0 and rank > p else 0
    if not Kronecker.fits(curvature):
        return 0
    return n * model.n_features**2 * model.n_outputs * (model.n_outputs + 1) // 2


def factor(curvature, solver="auto", damping="auto", near=None, most_work=np.inf):
    """Factor a curvature.

    Parameters
    ----------
    curvature : Curvature
        Undamped.
    solver : str or callable
        "auto" or a name of the table: cholesky up to a few thousand parameters,
        woodbury where there are fewer rows than parameters, eigh for an indefinite
        matrix, cg beyond; lissa only by its name. A class of `skpuma.solvers` (`CG`,
        `LiSSA`, `Cholesky`, `Eigh`, `Woodbury`) or of your own is called with the
        curvature; ``functools.partial(CG, tolerance=1e-10)`` gives it arguments.
    damping : "auto" or float
        "auto" is relative to the mean eigenvalue for networks, and 0 for other models
        unless their curvature is singular. The value used is ``solver.damping``.
    near : BaseSolver, optional
        Factor of a curvature nearby, by the same `solver` and `damping`. An iterative
        one hands on its preconditioner.
    most_work : float
        Multiplications that the matrix of a network, or of a model with several
        coupled classes, may take before "auto" is cg: for a caller with few right-hand
        sides, and no need of a factor.

    Returns
    -------
    BaseSolver

    Raises
    ------
    SolverError
        If the matrix is singular, or not definite, without damping.
    TypeError
        If the solver is neither a string nor callable.
    ValueError
        If the table has no solver of that name.
    """
    if near is not None and near.iterative:
        renewed = near.renewed(curvature.with_damping(near.damping))
        if renewed is not None:
            return renewed
    if damping == "auto":
        relative = curvature.objective.model.relative_damping
        if relative > 0.0:
            damping = relative * max(curvature.mean_eigenvalue(), 1e-12)
        else:
            try:
                return _factor(curvature, solver, most_work)
            except SolverError:
                mean = max(curvature.mean_eigenvalue(), 1e-300)
                damping = ILL_CONDITIONED_DAMPING * mean
    return _factor(curvature.with_damping(damping), solver, most_work)


def _factor(curvature, solver, most_work):
    from skpuma.solvers import SOLVERS

    if callable(solver):
        return solver(curvature)
    if not isinstance(solver, str):
        raise TypeError(
            f"solver must be 'auto', one of {sorted(SOLVERS)}, or a class such as "
            f"skpuma.solvers.CG or a functools.partial of one; got {solver!r}."
        )
    name = choose(curvature, most_work) if solver == "auto" else solver
    if name not in SOLVERS:
        raise ValueError(
            f"Unknown solver {solver!r}; choose 'auto' or one of {sorted(SOLVERS)}."
        )
    return load(SOLVERS[name])(curvature)
