"""Contract of a solver."""

import numpy as np

from skpuma.checks._expect import (
    SUMMED,
    TINY,
    expect,
    expect_equal,
    expect_shape,
    relative_error,
)


def check_solver(solver_class, curvature):
    """Check a solver against the explicit inverse of a curvature.

    Parameters
    ----------
    solver_class : callable
        Curvature -> solver, usually a subclass of `BaseSolver`.
    curvature : Curvature
        Not singular outside its null space, and of a kind that the solver accepts;
        small enough to be formed.

    Raises
    ------
    AssertionError
        If a solution is further from the explicit one than its residual allows, its
        residual is not the measured one, one and several right-hand sides differ by
        more than their residuals allow, or the solution is not orthogonal to the null
        space.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skpuma.checks import check_solver
    >>> from skpuma.curvature import curvature_of
    >>> from skpuma.models import adapt
    >>> from skpuma.objective import Objective
    >>> from skpuma.solvers._cholesky import Cholesky
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    >>> model = adapt(Ridge().fit(X, y))
    >>> objective = Objective.at_fit(model, X, model.targets(y), np.ones(20))
    >>> check_solver(Cholesky, curvature_of(objective, "hessian"))
    """
    solver = solver_class(curvature)
    _check_solver_attributes(solver, curvature)
    p = curvature.shape[0]
    matrix = np.asarray(curvature @ np.eye(p))
    basis = curvature.null_space
    # More right-hand sides than parameters, one of them zero.
    B = np.random.default_rng(0).standard_normal((p, p + 3))
    B[:, -1] = 0.0
    kept = B.copy()
    solution = solver.solve(B)
    expect_equal(
        "solver.solve leaves the right-hand sides as they were",
        B,
        kept,
        0.0,
        "The same gradients are used again after the solve.",
    )
    X, residual = np.asarray(solution.value), np.asarray(solution.residual)
    expect_shape("solution.value", X, B.shape, "one solution for each column")
    expect_shape("solution.residual", residual, (p + 3,), "one for each column")
    if basis is not None:
        B = B - basis @ (basis.T @ B)
        expect_equal(
            "the solution is orthogonal to the null space",
            basis.T @ X,
            np.zeros((basis.shape[1], p + 3)),
            SUMMED,
            "A shift that the objective does not see would be applied to the model.",
            floor=np.abs(X).max(),
        )
        size = np.trace(matrix) / p
        matrix = matrix + (size if size > 0 else 1.0) * (basis @ basis.T)
    expect_equal(
        "the solution of 0 is 0",
        X[:, -1],
        np.zeros(p),
        0.0,
        "A criterion without a gradient must have no psi.",
    )
    norm = np.maximum(np.linalg.norm(B, axis=0), TINY)
    measured = np.linalg.norm(matrix @ X - B, axis=0) / norm
    largest = np.linalg.norm(matrix, 2)
    rounding = 10.0 * p * np.finfo(float).eps
    noise = rounding * largest * np.linalg.norm(X, axis=0) / norm
    worst = int(np.argmax(measured - 2.0 * residual - noise))
    expect(
        measured[worst] <= 2.0 * residual[worst] + noise[worst],
        "solution.residual == ||H x - b|| / ||b||",
        f"it says {residual[worst]:.1e} where {measured[worst]:.1e} is measured",
        "Residuals are reported to the user: measure them, do not assume them.",
    )
    expected = np.linalg.solve(matrix, B)
    condition = np.linalg.cond(matrix)
    allowed = condition * (residual.max() + rounding)
    error = relative_error(X, expected)
    expect(
        error <= allowed,
        "solver.solve(B).value == inverse(H) @ B",
        f"off by {error:.1e} (relative); the residuals and the condition of H "
        f"({condition:.1e}) allow {allowed:.1e}",
        "The solver does not invert this matrix.",
    )
    alone = solver.solve(B[:, 0])
    one = np.asarray(alone.value)
    expect_shape("solution.value of one b (p,)", one, (p,), "the shape of b")
    error = relative_error(one[:, None], X[:, :1])
    # Columns of a block may share their work and be closer than one alone.
    allowed += condition * (float(np.max(alone.residual)) + rounding)
    expect(
        error <= allowed,
        "solve(b) == that column of solve(B)",
        f"off by {error:.1e} (relative), allowed are {allowed:.1e}",
        "One and several criteria would be solved differently.",
    )


# -- parts of check_loss ---------------------------------------------------------------


def _check_solver_attributes(solver, curvature):
    for name in ("solve", "detached"):
        expect(
            callable(getattr(solver, name, None)),
            f"the solver has a method {name}",
            "it has none",
            "Extend skpuma.solvers.BaseSolver, which has it.",
        )
    for name in ("damping", "explicit", "info", "max_residual"):
        expect(
            hasattr(solver, name),
            f"the solver has an attribute {name}",
            "it has none",
            "Extend skpuma.solvers.BaseSolver and call its __init__.",
        )
    expect(
        solver.damping == curvature.damping,
        "solver.damping == curvature.damping",
        f"it is {solver.damping!r}, the curvature has {curvature.damping!r}",
        "The damping that was used is reported to the user.",
    )
    detached = solver.detached()
    expect(
        detached is None or getattr(detached, "curvature", None) is None,
        "solver.detached() holds no curvature, and with it no training rows",
        "it still does",
        "It is stored on a fitted estimator.",
    )
