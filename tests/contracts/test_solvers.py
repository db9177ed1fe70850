"""Every line of `skpuma.solvers.SOLVERS` against explicit inverses, and refusals."""

import re
from functools import partial

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier

from skpuma import rows, solvers
from skpuma.checks import check_solver
from skpuma.curvature import _single, curvature_of
from skpuma.solvers import CG, SOLVERS, LiSSA, _softmax_blocks, factor
from skpuma.solvers._auto import choose
from skpuma.solvers._kronecker import Kronecker
from skpuma.solvers._preconditioner import PRECONDITIONERS, Identity, Nystrom
from skpuma.utils._registry import load
from skpuma.utils.errors import SolverError
from tests.contracts import problems

# Solvers that refuse a matrix without ridge or damping on every parameter.
NEEDS_POSITIVE_DIAGONAL = {"woodbury"}
# Solvers that take a matrix with negative eigenvalues.
INDEFINITE = {"eigh"}
# Problems with a softmax over the rows, and rows enough for every class.
SOFTMAX = {
    "multinomial null space",
    "multinomial without penalty",
    "without intercept, many classes",
}
# Solvers without a preconditioner: a condition of 1e12 is refused after the solve.
NEEDS_CONDITION = {"lissa"}
# Solvers whose own tolerance is for rankings, and what brings them to rounding.
TIGHT = {"lissa": partial(LiSSA, tolerance=1e-9, max_depth=100_000)}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def curvature(estimator, task, n=30, d=3, kind="auto", damping=0.0, scale=None):
    X = problems.rows(n, d)
    y = problems.TARGETS[task](X)
    if scale is not None:
        X = X * scale
    objective = problems.objective_of(estimator.fit(X, y), X, y, problems.weights(n))
    return curvature_of(objective, kind, damping)


def tight(name):
    return TIGHT.get(name) or load(SOLVERS[name])


def network(**more):
    settings = dict(hidden_layer_sizes=4, activation="tanh", solver="lbfgs")
    return MLPClassifier(max_iter=9, random_state=0, **settings, **more)


PROBLEMS = {
    "ridge": lambda: curvature(Ridge(), "regression"),
    "ridge, two outputs": lambda: curvature(Ridge(), "two outputs", damping=0.1),
    "least squares": lambda: curvature(LinearRegression(), "regression"),
    "binary": lambda: curvature(LogisticRegression(), "binary", damping=1e-3),
    "one parameter": lambda: curvature(
        Ridge(fit_intercept=False), "regression", n=20, d=1
    ),
    "fewer rows than parameters": lambda: curvature(
        Ridge(fit_intercept=False), "regression", n=10, d=30
    ),
    "fewer rows, many classes": lambda: curvature(
        LogisticRegression(fit_intercept=False), "multiclass", n=20, d=30
    ),
    "multinomial null space": lambda: curvature(LogisticRegression(), "multiclass"),
    "multinomial without penalty": lambda: curvature(
        LogisticRegression(C=np.inf), "multiclass", n=60
    ),
    "columns of different size": lambda: curvature(
        LogisticRegression(C=np.inf, solver="newton-cholesky"),
        "binary",
        scale=np.array([1e-3, 1.0, 1e3]),
    ),
    "active set": lambda: curvature(
        LogisticRegression(l1_ratio=0.9, C=0.3, solver="saga", max_iter=5000),
        "multiclass",
        n=60,
        d=6,
        damping=1e-3,
    ),
    "without intercept, many classes": lambda: curvature(
        LogisticRegression(fit_intercept=False), "multiclass", n=60, d=6
    ),
    "network": lambda: curvature(network(), "multiclass", damping=0.1),
    "fisher": lambda: curvature(network(), "binary", n=20, kind="fisher", damping=0.05),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_contract(name, problem):
    matrix = PROBLEMS[problem]()
    if name in NEEDS_POSITIVE_DIAGONAL and not (matrix.diagonal_part > 0).all():
        with pytest.raises(SolverError, match="damping > 0"):
            load(SOLVERS[name])(matrix)
        return
    if name in NEEDS_CONDITION and problem == "columns of different size":
        with pytest.raises(SolverError, match="stopped at a relative residual"):
            check_solver(load(SOLVERS[name]), matrix)
        return
    check_solver(load(SOLVERS[name]), matrix)


@pytest.mark.parametrize("problem", ["ridge", "network", "fewer rows than parameters"])
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_solution_is_that_of_numpy(name, problem):
    matrix = PROBLEMS[problem]().with_damping(0.2)
    p = matrix.shape[0]
    B = np.random.default_rng(3).standard_normal((p, 2 * p + 1))
    solver = tight(name)(matrix)
    solution = solver.solve(B)
    expected = np.linalg.solve(matrix.dense(), B)
    np.testing.assert_allclose(solution.value, expected, rtol=1e-6, atol=1e-8)
    assert solver.max_residual == solution.residual.max() <= 1e-8
    assert solver.damping == 0.2


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_null_space_is_left_out_of_the_solution(name):
    matrix = PROBLEMS["multinomial null space"]()
    if name in NEEDS_POSITIVE_DIAGONAL:
        with pytest.raises(SolverError):
            load(SOLVERS[name])(matrix)
        return
    B = np.random.default_rng(0).standard_normal((matrix.shape[0], 20))
    ours = tight(name)(matrix).solve(B).value
    np.testing.assert_allclose(ours, np.linalg.pinv(matrix.dense()) @ B, atol=1e-6)


def duplicated_columns():
    X = problems.rows(30)
    X = np.hstack([X, X[:, :1]])
    y = problems.numbers(X)
    return curvature_of(problems.objective_of(LinearRegression().fit(X, y), X, y))


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_a_singular_matrix_is_refused_without_damping(name):
    matrix = duplicated_columns()
    b = np.random.default_rng(0).standard_normal(matrix.shape[0])
    with pytest.raises(SolverError, match="damping"):
        load(SOLVERS[name])(matrix).solve(b)
    damped = tight(name)(matrix.with_damping(0.1)).solve(b)
    assert damped.residual.max() <= 1e-8


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_an_indefinite_matrix(name):
    matrix = curvature(network(), "multiclass", kind="hessian", damping=1e-4)
    eigenvalues = np.linalg.eigvalsh(matrix.dense())
    assert eigenvalues[0] < 0
    if name in INDEFINITE:
        check_solver(load(SOLVERS[name]), matrix)
        return
    b = np.random.default_rng(0).standard_normal((matrix.shape[0], 3))
    with pytest.raises(SolverError, match="gauss_newton"):
        load(SOLVERS[name])(matrix).solve(b)


def test_eigh_counts_negative_eigenvalues():
    matrix = curvature(network(), "multiclass", kind="hessian", damping=1e-4)
    solver = factor(matrix, "eigh", damping=1e-4)
    eigenvalues = np.linalg.eigvalsh(matrix.dense())
    assert solver.info["n_negative"] == np.count_nonzero(eigenvalues < 0) > 0
    np.testing.assert_allclose(
        solver.extreme_eigenvalues(), eigenvalues[[0, -1]], rtol=1e-8
    )


def test_eigh_names_the_eigenvalue_that_is_zero():
    # A softmax does not see a shift of the last biases, which carry no penalty.
    matrix = curvature(network(), "multiclass", kind="hessian")
    with pytest.raises(SolverError) as raised:
        load(SOLVERS["eigh"])(matrix)
    smallest = re.search(r"smallest eigenvalue (\S+),", str(raised.value)).group(1)
    assert abs(float(smallest)) < 1e-13


@pytest.mark.parametrize("name", ["cholesky", "eigh"])
def test_condition_and_extreme_eigenvalues(name):
    matrix = PROBLEMS["ridge"]()
    solver = load(SOLVERS[name])(matrix)
    eigenvalues = np.linalg.eigvalsh(matrix.dense())
    np.testing.assert_allclose(
        solver.extreme_eigenvalues(), eigenvalues[[0, -1]], rtol=1e-6
    )
    condition = eigenvalues[-1] / eigenvalues[0]
    assert solver.info["condition"] == pytest.approx(condition, rel=1e-6)


@pytest.mark.parametrize("problem", ["columns of different size", "ill", "decaying"])
def test_cholesky_and_eigh_agree_on_the_condition(problem):
    make = {"ill": lambda: ill_conditioned(300, 1e6), "decaying": decaying}
    matrix = make.get(problem, PROBLEMS.get(problem))()
    ours = load(SOLVERS["cholesky"])(matrix)
    # Lanczos steps are taken only if somebody asks.
    assert "_extremes" not in vars(ours)
    expected = load(SOLVERS["eigh"])(matrix).info["condition"]
    assert ours.info["condition"] == pytest.approx(expected, rel=0.01)


def test_cg_that_does_not_converge_is_an_error():
    matrix = PROBLEMS["network"]().with_damping(1e-5)
    b = np.random.default_rng(0).standard_normal(matrix.shape[0])
    with pytest.raises(SolverError, match="stopped at a relative residual of"):
        CG(matrix, max_iter=2).solve(b)
    loose = CG(matrix, tolerance=0.5, max_iter=200).solve(b)
    assert 0 < loose.n_iter < 200
    assert loose.residual[0] <= 0.5


def test_cg_spends_products_on_columns_that_need_them():
    matrix = PROBLEMS["ridge"]()
    b = np.zeros((matrix.shape[0], 2))
    assert CG(matrix).solve(b).n_iter == 0
    b[:, 1] = 1.0
    solution = CG(matrix).solve(b)
    assert solution.n_iter <= matrix.shape[0] + 1
    assert (solution.value[:, 0] == 0.0).all()


def test_cg_preconditioner_by_a_sample_of_rows():
    X = problems.rows(20, 60)
    y = problems.numbers(X)
    estimator = Ridge(alpha=1e-3, fit_intercept=False).fit(X, y)
    matrix = curvature_of(problems.objective_of(estimator, X, y))
    solver = CG(matrix)
    assert solver.info["preconditioner"] == "woodbury (20 rows)"
    # The sample is all the rows, so the preconditioner is the inverse.
    assert solver.solve(np.ones(60)).n_iter <= 3
    check_solver(CG, matrix)


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_detached_solver_holds_no_rows(name):
    matrix = PROBLEMS["ridge"]().with_damping(0.1)
    solver = load(SOLVERS[name])(matrix)
    detached = solver.detached()
    if not solver.explicit:
        assert detached is None
        return
    assert detached.curvature is None
    b = np.ones(matrix.shape[0])
    np.testing.assert_array_equal(detached.solve(b).value, solver.solve(b).value)


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_right_hand_sides_that_are_not_finite_are_refused(name):
    matrix = PROBLEMS["ridge"]().with_damping(0.1)
    B = np.ones((matrix.shape[0], 2))
    B[0, 1] = np.nan
    with pytest.raises(SolverError, match="NaN or infinity"):
        load(SOLVERS[name])(matrix).solve(B)


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_loosened_is_the_same_solver_with_fewer_products(name):
    matrix = curvature(Ridge(), "regression", n=60, d=20).with_damping(0.02)
    b = np.random.default_rng(0).standard_normal(matrix.shape[0])
    solver = tight(name)(matrix)
    loose = solver.loosened(0.1)
    assert solver.loosened(1e-15) is solver
    if not solver.iterative:
        np.testing.assert_allclose(loose.solve(b).value, solver.solve(b).value, 1e-10)
        return
    exact = solver.solve(b)
    rough = loose.solve(b)
    assert solver.tolerance < loose.tolerance == 0.1
    assert rough.n_iter < exact.n_iter
    assert exact.residual[0] <= solver.tolerance < rough.residual[0] <= 0.1


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_a_solve_does_not_depend_on_the_one_before(name):
    matrix = PROBLEMS["network"]()
    rng = np.random.default_rng(5)
    b, other = rng.standard_normal((2, matrix.shape[0], 3))
    solver = load(SOLVERS[name])(matrix)
    first = solver.solve(b).value
    solver.solve(other)
    np.testing.assert_array_equal(solver.solve(b).value, first)
    np.testing.assert_array_equal(load(SOLVERS[name])(matrix).solve(b).value, first)


def test_direct_solvers_take_no_options():
    matrix = PROBLEMS["ridge"]()
    b = np.ones(matrix.shape[0])
    with pytest.raises(TypeError, match="start"):
        load(SOLVERS["cholesky"])(matrix).solve(b, start=b)


# -- eigh ------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", ["ridge", "network", "binary"])
def test_a_shift_of_eigh_is_another_damping(problem):
    matrix = PROBLEMS[problem]().with_damping(0.3)
    b = np.random.default_rng(0).standard_normal((matrix.shape[0], 2))
    solver = load(SOLVERS["eigh"])(matrix)
    kept = solver.solve(b).value
    shifted = solver.shifted(-0.2)
    expected = load(SOLVERS["eigh"])(matrix.with_damping(0.1))
    np.testing.assert_allclose(shifted.solve(b).value, expected.solve(b).value)
    assert shifted.damping == shifted.curvature.damping == pytest.approx(0.1)
    assert shifted.info["condition"] == pytest.approx(expected.info["condition"])
    np.testing.assert_array_equal(solver.solve(b).value, kept)


def test_a_shift_that_is_singular_or_brings_a_null_space_back():
    solver = load(SOLVERS["eigh"])(PROBLEMS["ridge"]())
    with pytest.raises(SolverError, match="singular"):
        solver.shifted(-solver.eigenvalues[0])
    left_out = load(SOLVERS["eigh"])(PROBLEMS["multinomial null space"]())
    with pytest.raises(SolverError, match="null space"):
        left_out.shifted(0.1)


# -- conjugate gradients ---------------------------------------------------------------


def ill_conditioned(p=300, condition=1e4):
    """A ridge whose curvature has a geometric spectrum, and its matrix."""
    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.standard_normal((2 * p, p)))[0]
    right = np.linalg.qr(rng.standard_normal((p, p)))[0]
    values = np.geomspace(1.0, condition, p)
    X = np.sqrt(2 * p * values)[:, None] * right
    X = left @ X
    estimator = Ridge(alpha=1e-8, fit_intercept=False, solver="cholesky")
    y = rng.standard_normal(2 * p)
    return curvature_of(problems.objective_of(estimator.fit(X, y), X, y))


@pytest.mark.parametrize("m, share", [(10, 0.6), (32, 0.25)])
def test_a_block_takes_fewer_iterations_than_its_columns(m, share):
    matrix = ill_conditioned()
    B = np.random.default_rng(1).standard_normal((matrix.shape[0], m))
    settings = dict(preconditioner="none", max_iter=5000)
    solution = CG(matrix, **settings).solve(B)
    alone = CG(matrix, **settings).solve(B[:, 0]).n_iter
    assert solution.n_iter <= share * alone
    expected = np.linalg.solve(matrix.dense(), B)
    np.testing.assert_allclose(solution.value, expected, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize(
    "preconditioner", sorted({*PRECONDITIONERS} - {"kronecker", "softmax"})
)
def test_dependent_right_hand_sides(preconditioner):
    matrix = ill_conditioned(100, 1e3).with_damping(1.0)
    p = matrix.shape[0]
    rng = np.random.default_rng(2)
    base = rng.standard_normal((p, 3))
    combined = base @ rng.standard_normal((3, 40)) * np.geomspace(1e-12, 1e12, 40)
    B = np.hstack([base, base[:, :1], np.zeros((p, 2)), 1e-200 * base, combined])
    solver = CG(matrix, preconditioner=preconditioner)
    solution = solver.solve(B)
    expected = np.linalg.solve(matrix.dense(), B)
    error = np.linalg.norm(solution.value - expected, axis=0)
    assert (error <= 1e-5 * np.linalg.norm(expected, axis=0)).all()
    assert (solution.value[:, 4:6] == 0.0).all()
    if preconditioner in ("none", "diagonal"):
        # As many products as three columns take, whatever the number of columns.
        three = CG(matrix, preconditioner=preconditioner).solve(base).n_iter
        assert solution.n_iter <= three + 15


def test_more_right_hand_sides_than_parameters_take_one_step():
    matrix = ill_conditioned(50, 1e3)
    B = np.random.default_rng(0).standard_normal((50, 120))
    solution = CG(matrix, preconditioner="none").solve(B)
    assert solution.n_iter <= 2
    expected = np.linalg.solve(matrix.dense(), B)
    np.testing.assert_allclose(solution.value, expected, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_preconditioners(preconditioner, problem):
    matrix = PROBLEMS[problem]()
    solver = partial(CG, preconditioner=preconditioner)
    if preconditioner == "woodbury" and not matrix.diagonal_part.any():
        with pytest.raises(SolverError, match="damping > 0"):
            solver(matrix)
        return
    if preconditioner == "kronecker" and not Kronecker.fits(matrix):
        with pytest.raises(SolverError, match="several outputs"):
            solver(matrix)
        return
    if preconditioner == "softmax" and problem not in SOFTMAX:
        with pytest.raises(SolverError, match="softmax"):
            solver(matrix)
        return
    check_solver(solver, matrix)
    kind = solver(matrix).info["preconditioner"]
    assert preconditioner == "auto" or preconditioner in kind


@pytest.mark.parametrize("intercept", [True, False])
def test_kronecker_is_exact_where_all_rows_are_alike(intercept):
    # The output Hessian of a squared loss is the identity.
    X = problems.rows(60, 5) + 0.5
    model = Ridge(0.3, fit_intercept=intercept).fit(X, problems.numbers(X, 3))
    objective = problems.objective_of(model, X, problems.numbers(X, 3))
    matrix = curvature_of(objective, damping=0.2)
    solver = CG(matrix, preconditioner="kronecker")
    B = np.random.default_rng(0).standard_normal((matrix.shape[0], 2))
    if intercept:
        # It has the ridge of the coefficients there, which is next to none.
        assert solver.solve(B).n_iter <= 4
    else:
        expected = np.linalg.solve(matrix.dense(), B)
        np.testing.assert_allclose(solver.precondition(B), expected, rtol=1e-9)
        assert solver.solve(B).n_iter == 1


def test_blocks_of_classes_serve_correlated_columns():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 40)) @ rng.standard_normal((40, 40))
    y = problems.classes(X, 3)
    matrix = curvature_of(problems.objective_of(LogisticRegression().fit(X, y), X, y))
    b = matrix.objective.row_gradients(np.arange(1)).T
    taken = {
        kind: CG(matrix, preconditioner=kind).solve(b).n_iter
        for kind in ("auto", "kronecker", "diagonal")
    }
    assert CG(matrix).info["preconditioner"] == "softmax"
    assert taken["kronecker"] <= 0.5 * taken["diagonal"]
    assert taken["auto"] <= 0.5 * taken["kronecker"]


def test_blocks_of_classes_take_few_products_where_rows_are_sure():
    # Columns with large and small variances, and most rows far from any boundary.
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 60)) * np.geomspace(1.0, 1e-2, 60)
    y = (3.0 * X[:, :5] + 0.3 * rng.gumbel(size=(3000, 5))).argmax(axis=1)
    model = LogisticRegression(C=10.0, max_iter=500).fit(X, y)
    matrix = curvature_of(problems.objective_of(model, X, y))
    b = matrix.objective.row_gradients(np.arange(20)).sum(axis=0)
    taken = {
        kind: CG(matrix, tolerance=1e-6, preconditioner=kind).solve(b)
        for kind in ("softmax", "kronecker", "none")
    }
    assert taken["softmax"].n_iter <= 0.5 * taken["kronecker"].n_iter
    assert taken["kronecker"].n_iter <= taken["none"].n_iter
    basis = matrix.null_space
    expected = np.linalg.pinv(matrix.dense(), rcond=1e-12, hermitian=True)
    expected = expected @ (b - basis @ (basis.T @ b))
    error = np.linalg.norm(taken["softmax"].value - expected)
    assert error <= 1e-4 * np.linalg.norm(expected)


def test_blocks_of_classes_of_a_sample_and_of_few_rows(monkeypatch):
    X = problems.rows(4000, 6)
    y = problems.classes(X, 3)
    matrix = curvature_of(problems.objective_of(LogisticRegression().fit(X, y), X, y))
    b = matrix.objective.row_gradients(np.arange(1))[0]
    every = CG(matrix, preconditioner="softmax").solve(b)
    monkeypatch.setattr(_softmax_blocks, "ENOUGH", 40)
    sampled = CG(matrix, preconditioner="softmax").solve(b)
    assert sampled.n_iter <= every.n_iter + 6
    np.testing.assert_allclose(sampled.value, every.value, atol=1e-6)
    monkeypatch.setattr(_softmax_blocks, "MOST", 0)
    with pytest.raises(SolverError, match="rows, and many"):
        CG(matrix, preconditioner="softmax")
    assert CG(matrix).info["preconditioner"] == "kronecker"


def unpenalised(X, intercept=True):
    y = problems.classes(X, 3)
    model = LogisticRegression(C=np.inf, fit_intercept=intercept, max_iter=200)
    return curvature_of(problems.objective_of(model.fit(X, y), X, y))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("one", ["kronecker", "softmax"])
def test_the_shift_of_classes_is_left_out_without_a_ridge(one, intercept):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 20)) @ rng.standard_normal((20, 20))
    matrix = unpenalised(X, intercept)
    b = matrix.objective.row_gradients(np.arange(2)).T
    taken = {
        kind: CG(matrix, preconditioner=kind).solve(b) for kind in (one, "diagonal")
    }
    assert taken[one].n_iter <= 0.6 * taken["diagonal"].n_iter
    expected = np.linalg.pinv(matrix.dense(), rcond=1e-10, hermitian=True) @ b
    np.testing.assert_allclose(
        taken[one].value, expected, atol=1e-6 * np.abs(expected).max()
    )
    # A solver that is only chosen for the work of the matrix is this one.
    assert factor(matrix, most_work=0.0).info["preconditioner"] == "softmax"


@pytest.mark.parametrize("kind", ["kronecker", "softmax"])
def test_columns_that_depend_without_a_ridge_are_refused(kind):
    X = problems.rows(200, 4)
    matrix = unpenalised(np.hstack([X, X[:, :1]]))
    with pytest.raises(SolverError, match="singular"):
        CG(matrix, preconditioner=kind)
    # As with an explicit matrix, "auto" damps it.
    assert factor(matrix, most_work=0.0).damping > 0.0
    assert factor(matrix).damping > 0.0


def test_a_renewed_solver_is_of_the_other_curvature():
    X = problems.rows(80, 4)
    y = problems.classes(X, 3)
    objective = problems.objective_of(LogisticRegression().fit(X, y), X, y)
    solver = factor(curvature_of(objective), "cg")
    solver.loosened(0.5).solve(np.ones(objective.model.n_parameters))
    weight = np.random.default_rng(0).uniform(0.1, 3.0, 80)
    other = curvature_of(objective.reweighted(weight))
    for near in (solver, solver.loosened(0.5)):
        renewed = factor(other, "cg", near=near)
        assert renewed.tolerance == solver.tolerance
        assert renewed._preconditioning._current is solver._preconditioning._current
        assert renewed.curvature.objective is other.objective
        b = objective.row_gradients(np.arange(2)).T
        expected = np.linalg.pinv(other.dense()) @ b
        value = renewed.solve(b).value
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, atol=1e-6 * scale)
    # A direct solver has nothing to hand on.
    direct = factor(curvature_of(objective), "eigh")
    again = factor(other, "eigh", near=direct)
    np.testing.assert_allclose(again.solve(b).value, expected, atol=1e-6 * scale)


def test_intercepts_are_eliminated_by_the_diagonal():
    # One column with a mean: with the mean taken out nothing couples.
    X = problems.rows(400, 1) + 10.0
    y = problems.numbers(X - 10.0)
    matrix = curvature_of(problems.objective_of(Ridge(1e-3).fit(X, y), X, y))
    solver = CG(matrix, preconditioner="diagonal")
    assert solver.info["preconditioner"] == "diagonal, intercepts eliminated"
    b = np.array([1.0, -2.0])
    assert solver.solve(b).n_iter == 1
    assert CG(matrix, preconditioner="none", max_iter=5000).solve(b).n_iter > 1


@pytest.mark.parametrize("k", [1, 3])
def test_the_diagonal_serves_rare_columns_with_a_mean(k):
    rng = np.random.default_rng(0)
    frequency = 1.0 / np.arange(1, 301)
    X = sparse.csr_matrix((rng.random((600, 300)) < frequency).astype(float))
    X = sparse.csr_matrix(X / np.maximum(np.sqrt(X.sum(axis=1)), 1.0))
    dense = X.toarray()
    y = problems.classes(dense, 3 if k == 3 else 2)
    estimator = LogisticRegression().fit(X, y)
    matrix = curvature_of(problems.objective_of(estimator, X, y))
    b = matrix.objective.row_gradients(np.arange(4)).T
    taken = {}
    for kind in ("auto", "none"):
        solution = CG(matrix, preconditioner=kind).solve(b)
        taken[kind] = solution.n_iter
        expected = np.linalg.pinv(matrix.dense()) @ b
        scale = np.abs(expected).max()
        np.testing.assert_allclose(solution.value, expected, atol=1e-6 * scale)
    assert taken["auto"] <= 0.75 * taken["none"]


def decaying(p=300):
    """A ridge whose eigenvalues fall like those of correlated columns."""
    rng = np.random.default_rng(0)
    values = np.arange(1, p + 1) ** -1.5
    right = np.linalg.qr(rng.standard_normal((p, p)))[0]
    left = np.linalg.qr(rng.standard_normal((2 * p, p)))[0]
    X = left @ (np.sqrt(2 * p * values)[:, None] * right)
    y = rng.standard_normal(2 * p)
    estimator = Ridge(alpha=0.3, fit_intercept=False, solver="cholesky").fit(X, y)
    return curvature_of(problems.objective_of(estimator, X, y))


def test_nystrom_divides_the_largest_eigenvalues_out():
    matrix = decaying()
    b = np.random.default_rng(1).standard_normal(matrix.shape[0])
    expected = np.linalg.solve(matrix.dense(), b)
    taken = {}
    for kind, rank in [("diagonal", None), ("nystrom", 20), ("nystrom", None)]:
        solver = CG(matrix, preconditioner=kind, rank=rank)
        solution = solver.solve(b)
        taken[rank or kind] = solution.n_iter
        np.testing.assert_allclose(solution.value, expected, rtol=0.0, atol=1e-4)
    assert "nystrom (rank " in solver.info["preconditioner"]
    assert taken["nystrom"] < taken[20] < taken["diagonal"]
    assert taken["nystrom"] <= 0.4 * taken["diagonal"]


def test_nystrom_comes_when_it_has_been_paid_for():
    matrix = decaying()
    rng = np.random.default_rng(1)
    solver = CG(matrix)
    before = solver.info["preconditioner"]
    assert before == "diagonal"
    solver.solve(rng.standard_normal((matrix.shape[0], 80)))
    assert solver.info["preconditioner"].startswith("nystrom (rank ")
    b = rng.standard_normal(matrix.shape[0])
    with_it = solver.solve(b).n_iter
    assert with_it < CG(matrix, preconditioner="diagonal").solve(b).n_iter


def test_a_flat_spectrum_has_nothing_for_nystrom():
    matrix = curvature(Ridge(fit_intercept=False), "regression", n=4000, d=30)
    calls = []
    product = matrix._matmat
    matrix._matmat = lambda V: calls.append(V.shape[1]) or product(V)
    sketch = Nystrom(matrix, base=Identity())
    assert sketch.rank == 0
    assert sum(calls) == sketch.n_products == 16


def test_a_rank_that_was_asked_for_is_kept():
    matrix = curvature(Ridge(fit_intercept=False), "regression", n=4000, d=30)
    solver = CG(matrix, preconditioner="nystrom", rank=3)
    assert solver.info["preconditioner"].startswith("nystrom (rank 3)")
    check_solver(partial(CG, preconditioner="nystrom", rank=3), matrix)


def test_nystrom_of_an_indefinite_matrix_is_refused():
    matrix = curvature(network(), "multiclass", kind="hessian", damping=1e-4)
    with pytest.raises(SolverError, match="gauss_newton"):
        CG(matrix, preconditioner="nystrom")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"preconditioner": "ilu"}, "Unknown preconditioner 'ilu'"),
        ({"preconditioner": "none", "rank": 3}, "'none' has none"),
        ({"preconditioner": "nystrom", "rank": 0}, "rank must be between"),
        ({"precision": "half"}, "Unknown precision 'half'"),
    ],
)
def test_bad_arguments_of_cg(arguments, message):
    with pytest.raises(ValueError, match=message):
        CG(PROBLEMS["ridge"](), **arguments)


def test_cg_starts_at_a_solution_that_is_near():
    matrix = ill_conditioned(100, 1e4)
    B = np.random.default_rng(0).standard_normal((100, 3))
    solver = CG(matrix, preconditioner="none")
    cold = solver.solve(B)
    assert solver.solve(B, start=cold.value).n_iter == 0
    near = solver.solve(B, start=cold.value * (1.0 + 1e-5))
    assert 0 < near.n_iter < cold.n_iter
    # A start that is worse than none is none.
    far = solver.solve(B, start=1e9 * cold.value)
    np.testing.assert_array_equal(far.value, cold.value)
    one = solver.solve(B[:, 0], start=cold.value[:, 0])
    assert one.value.shape == (100,) and one.n_iter == 0


# -- in single precision ---------------------------------------------------------------


def large(name, dtype=np.float64):
    """A curvature that is large enough for products in single precision."""
    n, d, estimator, task = {
        "binary": (30_000, 80, LogisticRegression(), "binary"),
        "multinomial": (12_000, 60, LogisticRegression(), "multiclass"),
        "sure": (12_000, 60, LogisticRegression(C=1e4, max_iter=300), "multiclass"),
        "network": (4_000, 40, network(), "multiclass"),
    }[name]
    X = problems.rows(n, d).astype(dtype)
    y = problems.TARGETS[task](3.0 * X if name == "sure" else X)
    if name == "sure":
        y = problems.LABELS[3][X[:, :3].argmax(axis=1)]
    objective = problems.objective_of(estimator.fit(X, y), X, y, problems.weights(n))
    return curvature_of(objective, damping=0.1 if name == "network" else 0.0)


@pytest.fixture
def single(monkeypatch):
    """Counts the products in single precision, which small matrices have too."""
    monkeypatch.setattr(_single, "WORK", 0)
    taken, product = [], _single.SingleProducts.__matmul__

    def counting(self, V):
        taken.append(V.shape[1])
        return product(self, V)

    monkeypatch.setattr(_single.SingleProducts, "__matmul__", counting)
    return taken


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8, 1e-11])
@pytest.mark.parametrize("problem", ["binary", "multinomial", "sure", "network"])
def test_single_precision_loses_nothing(problem, tolerance, single):
    matrix = large(problem)
    B = matrix.objective.row_gradients(np.arange(1, 3)).T
    B = B * np.array([1e-20, 1e20])
    solutions = []
    for precision in ("auto", "double"):
        taken = len(single)
        solver = CG(matrix, tolerance=tolerance, precision=precision)
        solutions.append(solver.solve(B))
        assert (len(single) > taken) == (precision == "auto")
        basis = matrix.null_space
        left = matrix @ solutions[-1].value - B
        if basis is not None:
            left += basis @ (basis.T @ B)
        measured = np.linalg.norm(left, axis=0)
        assert (measured <= 1.1 * tolerance * np.linalg.norm(B, axis=0)).all()
    assert solutions[0].n_iter <= 2.0 * solutions[1].n_iter + 5


def random_problem(rng):
    """A curvature with columns of any size, near copies and any penalty, and b."""
    n, d, k = rng.integers((50, 2, 2), (800, 30, 6))
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-3, 3, d)
    if rng.random() < 0.3:
        X[:, 1] = X[:, 0] * (1.0 + 1e-6 * rng.standard_normal(n))
    score = X / X.std(axis=0) @ rng.standard_normal((d, k)) * rng.choice([0.1, 1, 10])
    y = (score + rng.gumbel(size=(n, k))).argmax(axis=1)
    model = LogisticRegression(C=10.0 ** rng.uniform(-3, 5), max_iter=30).fit(X, y)
    objective = problems.objective_of(model, X, y, rng.uniform(0.1, 2.0, n))
    b = rng.standard_normal(objective.model.n_parameters)
    return curvature_of(objective), [b, objective.gradient()][rng.integers(2)]


@pytest.mark.parametrize("seed", range(20))
def test_single_precision_is_believed_as_far_as_it_holds(seed, single):
    rng = np.random.default_rng(seed)
    matrix, b = random_problem(rng)
    tolerance = 10.0 ** -rng.choice([1, 2, 4, 8])
    try:
        CG(matrix, tolerance=tolerance, precision="double").solve(b)
    except SolverError:
        pytest.skip("too ill-conditioned for any precision")
    found = CG(matrix, tolerance=tolerance).solve(b).value
    left = matrix @ found - b
    if matrix.null_space is not None:
        left += matrix.null_space @ (matrix.null_space.T @ b)
    assert np.linalg.norm(left) <= 1.5 * tolerance * np.linalg.norm(b)


def test_rows_in_single_precision_are_multiplied_as_they_are(single):
    matrix = large("multinomial", np.float32)
    assert matrix.single.X is matrix.objective.X
    b = matrix.objective.row_gradients(np.array([1]))[0]
    loose, tight = (CG(matrix, tolerance=t).solve(b).value for t in (1e-2, 1e-10))
    assert loose.dtype == tight.dtype == np.float64
    assert np.linalg.norm(matrix @ tight - b) <= 1e-9 * np.linalg.norm(b)


def test_rows_too_many_for_a_copy_are_converted_in_blocks(single, monkeypatch):
    matrix = large("multinomial")
    V = np.random.default_rng(0).standard_normal((matrix.shape[0], 3))
    copied = matrix.single @ V
    monkeypatch.setattr(rows, "SINGLE_BYTES", 0)
    again = curvature_of(matrix.objective)
    assert again.single.X is again.objective.X
    np.testing.assert_array_equal(again.single @ V, copied)


def test_a_matrix_that_single_precision_cannot_tell_from_a_singular_one(single):
    # Correlations beyond the seventh digit: products in it stop helping, and others
    # take over.
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 12))
    X[:, 6:] = X[:, :6] + 1e-5 * X[:, 6:]
    y = problems.numbers(X)
    model = Ridge(1e-9, fit_intercept=False).fit(X, y)
    matrix = curvature_of(problems.objective_of(model, X, y))
    b = matrix.objective.row_gradients(np.arange(1))[0]
    solution = CG(matrix, tolerance=1e-9, preconditioner="none").solve(b)
    assert single
    left = np.linalg.norm(matrix @ solution.value - b)
    assert left <= 1e-9 * np.linalg.norm(b)


def test_small_and_sparse_rows_are_not_multiplied_in_single_precision():
    assert PROBLEMS["multinomial null space"]().single is None
    X = sparse.csr_array(problems.rows(30_000, 80))
    y = problems.classes(X.toarray(), 2)
    objective = problems.objective_of(LogisticRegression().fit(X, y), X, y)
    assert curvature_of(objective).single is None


# -- networks --------------------------------------------------------------------------


def test_networks_with_a_sample_of_rows():
    X = problems.rows(800, 40)
    y = problems.classes(X, 2)
    net = MLPClassifier((12,), solver="lbfgs", max_iter=30, random_state=0)
    objective = problems.objective_of(net.fit(X, y), X, y)
    matrix = curvature_of(objective)
    matrix = matrix.with_damping(1e-2 * matrix.mean_eigenvalue())
    b = objective.row_gradients(np.arange(1))[0]
    solver = CG(matrix)
    assert solver.info["preconditioner"] == "woodbury (252 rows)"
    solution = solver.solve(b)
    assert solution.n_iter <= 0.6 * CG(matrix, preconditioner="none").solve(b).n_iter
    np.testing.assert_allclose(
        solution.value, np.linalg.solve(matrix.dense(), b), atol=1e-6
    )


# -- lissa -----------------------------------------------------------------------------


def many_rows(n=1000, kind="auto", damping=0.05):
    """Curvature of a network with more rows than a batch."""
    return curvature(network(), "multiclass", n, 3, kind, damping)


@pytest.mark.parametrize("depth", [1, 7, 60])
def test_lissa_truncates_the_neumann_series(depth):
    matrix = PROBLEMS["network"]().with_damping(1e-3)
    values, vectors = np.linalg.eigh(matrix.dense())
    scale = 1.1 * values[-1]
    solver = LiSSA(matrix, tolerance=np.inf, depth=depth, scale=scale)
    found = vectors.T @ solver.solve(vectors).value
    filtered = (1.0 - (1.0 - values / scale) ** depth) / values
    np.testing.assert_allclose(found, np.diag(filtered), atol=1e-9 * filtered.max())
    # What the documentation says of the effective damping.
    damping = solver.info["effective_damping"]
    assert damping == scale / depth
    assert (filtered <= 1.0 / damping * (1.0 + 1e-12)).all()
    assert (filtered >= 1.0 / (values + damping) * (1.0 - 1e-12)).all()
    assert (filtered <= 2.0 / (values + damping) * (1.0 + 1e-12)).all()
    if depth >= 60:
        assert (filtered <= 1.32 / (values + damping)).all()


def test_lissa_on_batches_has_the_series_as_its_mean():
    matrix = many_rows(damping=0.02)
    values, vectors = np.linalg.eigh(matrix.dense())
    b = matrix.objective.row_gradients(np.arange(1, 2))[0]
    scale = 3.0 * values[-1]
    depth, repeats, rounds = 25, 20, 15
    filtered = (1.0 - (1.0 - values / scale) ** depth) / values
    expected = vectors @ (filtered * (vectors.T @ b))
    found = np.array(
        [
            LiSSA(
                matrix,
                tolerance=np.inf,
                depth=depth,
                scale=scale,
                batch_size=50,
                repeats=repeats,
                random_state=seed,
            )
            .solve(b)
            .value
            for seed in range(rounds)
        ]
    )
    error = found.mean(axis=0) - expected
    noise = found.std(axis=0, ddof=1) / np.sqrt(rounds)
    assert np.sqrt(np.mean((error / noise) ** 2)) < 2.0
    assert np.linalg.norm(error) < 0.02 * np.linalg.norm(expected)


def test_lissa_averages_repeats():
    matrix = many_rows()
    b = matrix.objective.row_gradients(np.arange(1, 2))[0]
    exact = np.linalg.solve(matrix.dense(), b)
    settings = dict(tolerance=np.inf, depth=200, batch_size=20)
    error = {}
    for repeats in (1, 16):
        errors = []
        for seed in range(4):
            solver = LiSSA(matrix, repeats=repeats, random_state=seed, **settings)
            errors.append(np.linalg.norm(solver.solve(b).value - exact))
        error[repeats] = np.mean(errors)
    assert error[16] < 0.5 * error[1]


@pytest.mark.parametrize("kind", ["gauss_newton", "fisher"])
@pytest.mark.parametrize("tolerance", [0.1, 1e-2, 1e-6])
def test_lissa_reaches_the_tolerance_on_batches(tolerance, kind):
    matrix = many_rows(kind=kind)
    B = matrix.objective.row_gradients(np.arange(1, 6)).T
    B[:, 3] = 0.0
    solver = LiSSA(matrix, tolerance=tolerance, batch_size=64)
    solution = solver.solve(B)
    assert solution.residual.max() <= tolerance
    assert (solution.value[:, 3] == 0.0).all()
    norm = np.maximum(np.linalg.norm(B, axis=0), 1e-300)
    measured = np.linalg.norm(matrix.dense() @ solution.value - B, axis=0) / norm
    np.testing.assert_allclose(measured, solution.residual, rtol=1e-6)
    assert solver.info["effective_damping"] == pytest.approx(
        solver.info["scale"] / solver.info["depth"]
    )
    assert solver.info["batch_size"] >= 64


@pytest.mark.parametrize("model", ["adam", "lbfgs"])
def test_lissa_batches_keep_the_penalty_of_all_rows(model):
    X = problems.rows(600)
    y = problems.classes(X, 2)
    net = MLPClassifier((3,), solver=model, alpha=3.0, max_iter=20, random_state=0)
    objective = problems.objective_of(net.fit(X, y), X, y, problems.weights(600))
    matrix = curvature_of(objective, damping=0.01)
    solver = LiSSA(matrix, batch_size=100)
    rng = np.random.default_rng(0)
    V = rng.standard_normal((matrix.shape[0], 2))
    mean = np.mean([solver._batch(100, rng)(V) for _ in range(400)], axis=0)
    expected = matrix @ V
    assert np.linalg.norm(mean - expected) < 0.02 * np.linalg.norm(expected)


def test_lissa_is_determined_by_its_seed():
    matrix = many_rows()
    b = np.ones(matrix.shape[0])
    solved = {
        seed: LiSSA(matrix, batch_size=64, random_state=seed).solve(b).value
        for seed in (0, 1)
    }
    again = LiSSA(matrix, batch_size=64, random_state=0).solve(b).value
    np.testing.assert_array_equal(solved[0], again)
    assert not np.array_equal(solved[0], solved[1])
    exact = np.linalg.solve(matrix.dense(), b)
    for value in solved.values():
        assert np.linalg.norm(matrix @ (value - exact)) <= 1e-2 * np.linalg.norm(b)


def test_lissa_finds_a_scale_above_all_eigenvalues():
    matrix = many_rows()
    largest = np.linalg.eigvalsh(matrix.dense())[-1]
    full = LiSSA(matrix, batch_size=1000)
    assert largest < full.info["scale"] < 1.5 * largest
    batches = LiSSA(matrix, batch_size=10)
    assert batches.info["scale"] > full.info["scale"]
    given = LiSSA(matrix, scale=2.0 * largest)
    assert given.info["scale"] == 2.0 * largest


@pytest.mark.parametrize("batch_size", [32, 1000])
@pytest.mark.parametrize("depth", ["auto", 500])
def test_lissa_says_that_it_diverges(depth, batch_size):
    matrix = many_rows()
    largest = np.linalg.eigvalsh(matrix.dense())[-1]
    b = np.ones(matrix.shape[0])
    solver = LiSSA(matrix, depth=depth, scale=0.2 * largest, batch_size=batch_size)
    with pytest.raises(SolverError, match="diverges with scale=.* a larger scale"):
        solver.solve(b)


def test_lissa_doubles_a_scale_that_it_found_too_small(monkeypatch):
    matrix = many_rows()
    largest = np.linalg.eigvalsh(matrix.dense())[-1]
    monkeypatch.setattr(LiSSA, "_find_scale", lambda self: 0.2 * largest)
    solver = LiSSA(matrix)
    solution = solver.solve(np.ones(matrix.shape[0]))
    assert solution.residual[0] <= 1e-2
    assert solver.info["scale"] in [0.2 * largest * 2**k for k in range(1, 7)]


def test_lissa_that_does_not_get_there_says_what_to_do():
    matrix = PROBLEMS["network"]().with_damping(1e-5)
    b = np.random.default_rng(0).standard_normal(matrix.shape[0])
    with pytest.raises(SolverError, match="stopped at .* `max_depth`.*solver='cg'"):
        LiSSA(matrix, max_depth=50).solve(b)
    with pytest.raises(SolverError, match="stopped at .* `depth`"):
        LiSSA(matrix, depth=5).solve(b)


def test_lissa_of_rows_without_weight():
    objective = many_rows().objective
    half = objective.reweighted(np.where(np.arange(1000) < 500, objective.weight, 0.0))
    matrix = curvature_of(half, damping=0.05)
    b = np.ones(matrix.shape[0])
    solution = LiSSA(matrix, batch_size=50).solve(b)
    error = matrix.dense() @ solution.value - b
    assert np.linalg.norm(error) <= 1e-2 * np.linalg.norm(b)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"depth": 0}, "depth must be 'auto' or a positive integer"),
        ({"depth": "deep"}, "depth must be"),
        ({"batch_size": 2.5}, "batch_size must be"),
        ({"repeats": 0}, "repeats must be a positive integer"),
        ({"max_depth": -1}, "max_depth must be"),
        ({"scale": 0.0}, "scale must be 'auto' or positive"),
        ({"scale": np.inf}, "scale must be"),
        ({"tolerance": 1.0}, "must be in"),
    ],
)
def test_bad_arguments_of_lissa(arguments, message):
    with pytest.raises(ValueError, match=message):
        LiSSA(PROBLEMS["ridge"](), **arguments)


# -- the automatic choice --------------------------------------------------------------


def test_automatic_choice_by_size_and_sign(monkeypatch):
    assert choose(PROBLEMS["ridge"]()) == "cholesky"
    indefinite = curvature(network(), "binary", kind="hessian")
    assert choose(indefinite) == "eigh"
    wide = curvature(Ridge(fit_intercept=False), "regression", n=10, d=300)
    assert choose(wide) == "woodbury"
    unpenalised = curvature(Ridge(), "regression", n=10, d=300)
    assert choose(unpenalised) == "cholesky"
    monkeypatch.setattr("skpuma.solvers._auto.EXPLICIT_LIMIT", 3)
    assert choose(indefinite) == "cg"
    assert choose(unpenalised) == "cg"


def test_automatic_damping():
    assert factor(PROBLEMS["ridge"]()).damping == 0.0
    singular = factor(duplicated_columns())
    matrix = duplicated_columns().dense()
    mean = np.trace(matrix) / len(matrix)
    assert 0.0 < singular.damping <= 1e-6 * mean
    net = PROBLEMS["network"]().with_damping(0.0)
    assert factor(net).damping == pytest.approx(0.1 * net.mean_eigenvalue())


def test_factor_says_what_it_chose():
    matrix = PROBLEMS["ridge"]()
    assert factor(matrix).info["solver"] == "cholesky"
    assert factor(matrix, "cg", 0.5).info["solver"] == "cg"
    assert isinstance(factor(matrix, CG, 0.5), CG)
    with pytest.raises(ValueError, match="Unknown solver 'lu'"):
        factor(matrix, "lu")
    with pytest.raises(SolverError):
        factor(duplicated_columns(), "cholesky", damping=0.0)


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_classes_of_solvers_are_public(name):
    matrix = PROBLEMS["ridge"]().with_damping(0.1)
    cls = load(SOLVERS[name])
    assert getattr(solvers, cls.__name__) is cls
    assert cls.__name__ in solvers.__all__
    for given in (name, cls, partial(cls)):
        found = factor(matrix, given, 0.1)
        found.solve(np.ones(matrix.shape[0]))
        assert list(found.info)[0] == "solver"
        assert found.info["solver"] == name
    with pytest.raises(AttributeError, match="no attribute 'LU'"):
        _ = solvers.LU


@pytest.mark.parametrize("solver", [3, None, ["cg"]])
def test_a_solver_that_is_neither_name_nor_class(solver):
    with pytest.raises(TypeError, match="solver must be 'auto', one of"):
        factor(PROBLEMS["ridge"](), solver)


@pytest.mark.parametrize("name", ["cg", "lissa"])
def test_collinear_columns_are_named(name):
    matrix = duplicated_columns()
    b = np.random.default_rng(0).standard_normal(matrix.shape[0])
    with pytest.raises(SolverError, match="singular: collinear columns") as raised:
        load(SOLVERS[name])(matrix).solve(b)
    assert "gauss_newton" not in str(raised.value)
    assert "solver='cholesky'" in str(raised.value)


def test_a_refusal_states_the_tolerance_that_was_asked_for():
    matrix = PROBLEMS["network"]().with_damping(1e-5)
    b = np.random.default_rng(0).standard_normal(matrix.shape[0])
    for solver in (CG(matrix, 2e-7, max_iter=2), LiSSA(matrix, 2e-7, max_depth=2)):
        with pytest.raises(SolverError, match="above the tolerance 2e-07[.]"):
            solver.solve(b)
        inner = "above the tolerance 0.001 of an inner solve .*is 2e-07"
        with pytest.raises(SolverError, match=inner):
            solver.loosened(1e-3).solve(b)


def test_secants_learn_what_a_factor_from_elsewhere_lacks():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 12))
    elsewhere = A.T @ A
    bends = rng.standard_normal((12, 3))
    matrix = elsewhere + 20.0 * bends @ bends.T
    goal = rng.standard_normal(12)

    class Elsewhere:
        def solve(self, b):
            return solvers.Solution(np.linalg.solve(elsewhere, b), None, 0)

    def left_after(n_steps, secants):
        x = np.zeros(12)
        gradient = matrix @ (x - goal)
        for _ in range(n_steps):
            step = secants.step(Elsewhere(), gradient)
            # The best length along it, as a line search finds it.
            length = (step @ gradient) / (step @ matrix @ step)
            x = x - length * step
            before, gradient = gradient, matrix @ (x - goal)
            secants = secants.added(-length * step, gradient - before)
        return np.linalg.norm(gradient) / np.linalg.norm(matrix @ goal)

    class Forgetful(solvers.Secants):
        def added(self, moved, bent):
            """Steps in the factor alone."""
            return self

    # Of a quadratic: conjugate gradients, which end after the three bends and one.
    assert left_after(4, solvers.Secants()) < 1e-10
    assert left_after(4, Forgetful()) > 1e-2


def test_secants_do_not_remember_what_is_no_positive_curvature():
    secants = solvers.Secants().added(np.ones(3), -np.ones(3))

    class Same:
        def solve(self, b):
            return solvers.Solution(b, None, 0)

    gradient = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(secants.step(Same(), gradient), gradient)
