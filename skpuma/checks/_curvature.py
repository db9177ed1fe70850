"""Contract of a curvature."""

import numpy as np

from skpuma.checks._expect import (
    SUMMED,
    expect,
    expect_equal,
    expect_shape,
)


def check_curvature(curvature):
    """Check a curvature operator: symmetric, and one matrix in all its forms.

    Parameters
    ----------
    curvature : Curvature
        Of an objective with non-negative weights; small enough to be formed.

    Raises
    ------
    AssertionError
        If it is not symmetric, `dense` is not the matrix of its products, `root` does
        not give it back, the damping is not a multiple of the identity, it claims to
        be positive semi-definite and is not, or it sees its null space.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skpuma.checks import check_curvature
    >>> from skpuma.curvature import curvature_of
    >>> from skpuma.models import adapt
    >>> from skpuma.objective import Objective
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    >>> model = adapt(Ridge().fit(X, y))
    >>> objective = Objective.at_fit(model, X, model.targets(y), np.ones(20))
    >>> check_curvature(curvature_of(objective, "gauss_newton"))
    """
    p = curvature.shape[0]
    expect_shape("the curvature", np.empty(curvature.shape), (p, p), "it is square")
    products = np.asarray(curvature @ np.eye(p))
    expect_equal(
        "the curvature is symmetric",
        products,
        products.T,
        SUMMED,
        "Every solver takes it to be; a second derivative is.",
    )
    expect_equal(
        "curvature.dense() == curvature @ identity",
        curvature.dense(),
        products,
        SUMMED,
        "Direct solvers and cg would invert two different matrices.",
    )
    v = np.random.default_rng(0).standard_normal((p, 2))
    expect_equal(
        "curvature @ v == a column of curvature @ V",
        curvature @ v[:, 0],
        (curvature @ v)[:, 0],
        SUMMED,
        "One and several right-hand sides would be solved differently.",
    )
    size = np.abs(products).max()
    more = 0.5 * size + 1.0
    expect_equal(
        "with_damping(a) @ v - with_damping(0) @ v == a v",
        curvature.with_damping(more) @ v - curvature.with_damping(0.0) @ v,
        more * v,
        SUMMED,
        "Damping is added to the diagonal, once.",
    )
    eigenvalues = np.linalg.eigvalsh(0.5 * (products + products.T))
    expect(
        not curvature.psd or eigenvalues[0] >= -SUMMED * size,
        "the curvature is positive semi-definite, as psd=True says",
        f"its smallest eigenvalue is {eigenvalues[0]:.2e}, its largest "
        f"{eigenvalues[-1]:.2e}",
        "Cholesky and cg would fail or solve for a saddle; set psd=False.",
    )
    if curvature.factored:
        objective = curvature.objective
        jacobian = objective.model.jacobian(objective.X)
        A = np.einsum("nkr,nkp->nrp", curvature.root, jacobian).reshape(-1, p)
        expect_equal(
            "A.T A + diag(diagonal_part) == the curvature, A = root.T J",
            A.T @ A + np.diag(curvature.diagonal_part),
            products,
            SUMMED,
            "The woodbury solver uses this form; set factored=False if there is none.",
        )
    basis = curvature.null_space
    if basis is not None:
        expect_equal(
            "the columns of null_space are orthonormal",
            basis.T @ basis,
            np.eye(basis.shape[1]),
            SUMMED,
            "Solvers project with basis @ basis.T.",
        )
        expect_equal(
            "curvature @ null_space == 0",
            products @ basis,
            np.zeros_like(basis),
            SUMMED,
            "Solutions would lose a direction that the objective does see.",
            floor=size,
        )
