"""Every line of `skpuma.solvers.SOLVERS` against explicit inverses, and refusals."""

import re

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier

from skpuma.checks import check_solver
from skpuma.curvature import curvature_of
from skpuma.solvers import SOLVERS, factor
from skpuma.solvers._auto import NETWORK_DAMPING, choose
from skpuma.solvers._cg import CG
from skpuma.utils._registry import load
from skpuma.utils.errors import SolverError
from tests.contracts import problems

# Solvers that refuse a matrix without ridge or damping on every parameter.
NEEDS_POSITIVE_DIAGONAL = {"woodbury"}
# Solvers that take a matrix with negative eigenvalues.
INDEFINITE = {"eigh"}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def curvature(estimator, task, n=30, d=3, kind="auto", damping=0.0, scale=None):
    X = problems.rows(n, d)
    y = problems.TARGETS[task](X)
    if scale is not None:
        X = X * scale
    objective = problems.objective_of(estimator.fit(X, y), X, y, problems.weights(n))
    return curvature_of(objective, kind, damping)


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
    check_solver(load(SOLVERS[name]), matrix)


@pytest.mark.parametrize("problem", ["ridge", "network", "fewer rows than parameters"])
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_solution_is_that_of_numpy(name, problem):
    matrix = PROBLEMS[problem]().with_damping(0.2)
    p = matrix.shape[0]
    B = np.random.default_rng(3).standard_normal((p, 2 * p + 1))
    solver = load(SOLVERS[name])(matrix)
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
    ours = load(SOLVERS[name])(matrix).solve(B).value
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
    damped = load(SOLVERS[name])(matrix.with_damping(0.1)).solve(b)
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
        solver.extreme_eigenvalues(), eigenvalues[[0, -1]], rtol=0.05
    )
    # Cholesky estimates the condition of the equilibrated matrix, in the 1-norm.
    assert 1.0 <= solver.condition <= 20.0 * eigenvalues[-1] / eigenvalues[0]


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
    assert factor(net).damping == pytest.approx(NETWORK_DAMPING * net.mean_eigenvalue())


def test_factor_says_what_it_chose():
    matrix = PROBLEMS["ridge"]()
    assert factor(matrix).info["solver"] == "cholesky"
    assert factor(matrix, "cg", 0.5).info["solver"] == "cg"
    assert isinstance(factor(matrix, CG, 0.5), CG)
    with pytest.raises(ValueError, match="Unknown solver 'lissa'"):
        factor(matrix, "lissa")
    with pytest.raises(SolverError):
        factor(duplicated_columns(), "cholesky", damping=0.0)
