"""Every line of `skpuma.curvature.CURVATURES`, on every kind of model."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from skpuma.checks import check_curvature
from skpuma.curvature import CURVATURES, curvature_of
from tests.contracts import problems

NETWORK = dict(
    hidden_layer_sizes=3, activation="tanh", solver="lbfgs", max_iter=9, random_state=0
)
MODELS = {
    "ridge": (Ridge(), "two outputs"),
    "least squares": (LinearRegression(), "regression"),
    "binary": (LogisticRegression(), "binary"),
    "multinomial": (LogisticRegression(), "multiclass"),
    "multinomial without penalty": (LogisticRegression(C=np.inf), "multiclass"),
    "network": (MLPClassifier(**NETWORK), "multiclass"),
    "poisson network": (MLPRegressor(loss="poisson", **NETWORK), "counts"),
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def objective_of(name, weighted=True, n=30):
    estimator, task = MODELS[name]
    X = problems.rows(n)
    y = problems.TARGETS[task](X)
    weight = problems.weights(n) if weighted else None
    return problems.objective_of(estimator.fit(X, y), X, y, weight)


@pytest.mark.parametrize("damping", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", sorted(CURVATURES))
def test_contract(kind, model, weighted, damping):
    curvature = curvature_of(objective_of(model, weighted), kind, damping)
    assert curvature.name == kind
    check_curvature(curvature)


@pytest.mark.parametrize("model", ["ridge", "binary", "multinomial"])
@pytest.mark.parametrize("kind", sorted(CURVATURES))
def test_contract_on_sparse_rows(kind, model):
    estimator, task = MODELS[model]
    X = problems.rows(30)
    X[np.abs(X) < 0.5] = 0.0
    y = problems.TARGETS[task](X)
    dense = problems.objective_of(estimator.fit(X, y), X, y, problems.weights(30))
    expected = curvature_of(dense, kind).dense()
    for container in (sparse.csr_matrix, sparse.csr_array):
        objective = problems.objective_of(estimator, container(X), y, dense.weight)
        curvature = curvature_of(objective, kind)
        check_curvature(curvature)
        np.testing.assert_allclose(curvature.dense(), expected, atol=1e-13)


@pytest.mark.parametrize("model", MODELS)
def test_fisher_is_the_sum_of_outer_products(model):
    objective = objective_of(model)
    g = objective.model.gradients(objective.X, objective.residual)
    expected = (g.T * objective.weight) @ g / objective.total_weight
    ours = curvature_of(objective, "fisher").dense()
    np.testing.assert_allclose(
        ours, expected + np.diag(objective.l2), atol=1e-12 * np.abs(expected).max()
    )


@pytest.mark.parametrize("model", MODELS)
def test_gauss_newton_is_the_hessian_of_models_that_are_linear(model):
    objective = objective_of(model)
    exact = curvature_of(objective, "hessian")
    linearised = curvature_of(objective, "gauss_newton").dense()
    same = np.allclose(exact.dense(), linearised, rtol=1e-10, atol=1e-12)
    assert same == objective.model.convex == exact.psd


def test_exact_hessian_of_a_network_is_indefinite_and_says_so():
    objective = objective_of("network")
    exact = curvature_of(objective, "hessian")
    assert np.linalg.eigvalsh(exact.dense())[0] < -1e-6
    assert not exact.psd and not exact.factored
    assert curvature_of(objective, "gauss_newton").psd


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", sorted(CURVATURES))
def test_mean_eigenvalue_is_the_undamped_trace(kind, model):
    objective = objective_of(model)
    curvature = curvature_of(objective, kind, damping=5.0)
    matrix = curvature.with_damping(0.0).dense()
    # Each probe scatters by sqrt(2) times the off-diagonal part; there are 16.
    off_diagonal = matrix - np.diag(np.diagonal(matrix))
    scatter = np.sqrt(2.0 / 16.0) * np.linalg.norm(off_diagonal) / len(matrix)
    error = abs(curvature.mean_eigenvalue() - np.trace(matrix) / len(matrix))
    assert error <= 4.0 * scatter + 1e-12


def test_auto_is_exact_for_linear_models_and_gauss_newton_for_networks():
    assert curvature_of(objective_of("binary")).name == "hessian"
    assert curvature_of(objective_of("network")).name == "gauss_newton"


def test_unknown_curvature():
    with pytest.raises(ValueError, match="Unknown curvature 'kfac'"):
        curvature_of(objective_of("ridge"), "kfac")


def test_damping_hides_no_null_space_and_without_it_one_is_seen():
    objective = objective_of("multinomial without penalty")
    assert curvature_of(objective).null_space.shape == (12, 4)
    assert curvature_of(objective, damping=1e-3).null_space is None
