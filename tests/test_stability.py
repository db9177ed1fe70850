"""The damping curve against one factorisation per damping, and what it compares."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier

from skpuma import scores
from skpuma.curvature import curvature_of
from skpuma.solvers import factor
from skpuma.solvers._cg import CG
from skpuma.solvers._eigh import Eigh
from skpuma.stability import Ranking, damping_curve
from skpuma.utils.errors import SolverError
from tests.contracts import problems

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted(estimator, task, n=40, d=3):
    X = problems.rows(n, d)
    y = problems.TARGETS[task](X)
    return problems.objective_of(estimator.fit(X, y), X, y, problems.weights(n))


def network(**more):
    settings = dict(activation="tanh", solver="lbfgs", max_iter=9, random_state=0)
    return MLPClassifier((4,), **settings, **more)


PROBLEMS = {
    "ridge": lambda: fitted(Ridge(), "regression"),
    "binary": lambda: fitted(LogisticRegression(), "binary"),
    "multinomial": lambda: fitted(LogisticRegression(), "multiclass"),
    "network": lambda: fitted(network(), "multiclass"),
    "wide": lambda: fitted(Ridge(fit_intercept=False), "regression", 10, 30),
    "kind mean": lambda: fitted(
        network().set_params(solver="adam", alpha=0.1), "binary"
    ),
}


def gradients_of(objective, m=2, seed=0):
    """Criteria that do not see what the objective does not."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((m, len(objective.y), objective.model.n_outputs))
    u -= u.mean(axis=2, keepdims=True) if objective.model.n_outputs > 1 else 0.0
    columns = [objective.model.vjp(objective.X, one) for one in u]
    return np.stack(columns, axis=1) / len(objective.y)


@pytest.mark.parametrize("solver", ["auto", "cholesky", "eigh", "cg", "woodbury"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_damping_is_that_of_its_own_factor(problem, solver):
    objective = PROBLEMS[problem]()
    gradients = gradients_of(objective)
    matrix = curvature_of(objective)
    dampings = matrix.mean_eigenvalue() * np.array([1e-3, 0.1, 3.0])
    curve = damping_curve(
        objective, gradients, dampings, solver=solver, reference=dampings[1]
    )
    np.testing.assert_array_equal(curve.damping, dampings)
    for damping, psi in zip(dampings, curve.psi, strict=True):
        S = factor(matrix, "cholesky", damping).solve(gradients).value
        expected = scores.psi_matrix(objective, S)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(psi, expected, atol=1e-6 * scale, rtol=0.0)
    np.testing.assert_allclose(curve.psi[1], curve.reference_psi, atol=1e-6 * scale)
    assert curve.reference == dampings[1]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_default_grid_and_reference(problem):
    objective = PROBLEMS[problem]()
    gradients = gradients_of(objective)
    curve = damping_curve(objective, gradients)
    matrix = curvature_of(objective)
    grid = curve.damping / matrix.mean_eigenvalue()
    np.testing.assert_allclose(grid, np.geomspace(1e-6, 10.0, 15))
    assert curve.mean_eigenvalue == matrix.mean_eigenvalue()
    assert curve.reference == factor(matrix).damping
    n, m = len(objective.y), 2
    assert curve.psi.shape == (15, n, m)
    assert curve.reference_psi.shape == (n, m)
    assert curve.rank_correlation.shape == curve.overlap.shape == (15, m)
    assert curve.n_lowest == max(np.count_nonzero(objective.weight) // 10, 1)
    assert (np.abs(curve.rank_correlation) <= 1.0).all()
    assert ((curve.overlap >= 0.0) & (curve.overlap <= 1.0)).all()


def test_no_damping_is_the_factor_without_damping():
    objective = PROBLEMS["multinomial"]()
    gradients = gradients_of(objective)
    curve = damping_curve(objective, gradients, [0.0, 1e-9], reference=0.0)
    np.testing.assert_array_equal(curve.psi[0], curve.reference_psi)
    scale = np.abs(curve.psi[0]).max()
    np.testing.assert_allclose(curve.psi[1], curve.psi[0], atol=1e-6 * scale)
    np.testing.assert_allclose(curve.rank_correlation, 1.0)
    np.testing.assert_allclose(curve.overlap, 1.0)


def test_rankings_are_those_of_removal_effects_of_rows_with_a_weight():
    objective = PROBLEMS["network"]()
    curve = damping_curve(objective, gradients_of(objective), n_lowest=7)
    used = objective.weight > 0
    weight = objective.weight[used, None]
    reference = weight * curve.reference_psi[used]
    for index, psi in enumerate(curve.psi):
        effect = weight * psi[used]
        for c in range(effect.shape[1]):
            expected = spearmanr(effect[:, c], reference[:, c]).statistic
            assert curve.rank_correlation[index, c] == pytest.approx(expected)
            low = set(np.argsort(effect[:, c])[:7])
            both = low & set(np.argsort(reference[:, c])[:7])
            assert curve.overlap[index, c] == len(both) / 7


def test_a_ranking_moves_away_with_the_distance_of_the_damping():
    objective = PROBLEMS["network"]()
    curve = damping_curve(objective, gradients_of(objective))
    nearest = np.abs(np.log(curve.damping / curve.reference)).argmin()
    assert (curve.rank_correlation[nearest] > 0.95).all()
    far = np.delete(curve.rank_correlation, nearest, axis=0)
    assert (far <= curve.rank_correlation[nearest] + 1e-12).all()
    assert curve.rank_correlation[0].min() < curve.rank_correlation[nearest].min()


def test_large_dampings_have_the_ranking_of_plain_gradients():
    objective = PROBLEMS["binary"]()
    gradients = gradients_of(objective, 1)
    curve = damping_curve(objective, gradients, [1e9], reference=1e8)
    plain = objective.model.gradients(objective.X, objective.residual) @ gradients
    np.testing.assert_allclose(curve.psi[0] * 1e9, plain, rtol=1e-6)
    assert curve.overlap[0, 0] == 1.0


def test_ties_and_constant_rankings():
    effect = np.array([[1.0], [1.0], [1.0], [2.0]])
    ranking = Ranking(effect, 2)
    correlation, overlap = ranking.compare(effect)
    assert correlation[0] == pytest.approx(1.0)
    assert overlap[0] == 1.0
    correlation, _ = ranking.compare(np.zeros((4, 1)))
    assert np.isnan(correlation[0])
    correlation, overlap = ranking.compare(-effect)
    assert correlation[0] == pytest.approx(-1.0)
    assert overlap[0] == 0.5


def test_one_decomposition_serves_all_dampings(monkeypatch):
    calls = []
    original = Eigh.__init__

    def counted(self, curvature):
        calls.append(curvature.damping)
        original(self, curvature)

    monkeypatch.setattr(Eigh, "__init__", counted)
    objective = PROBLEMS["network"]()
    damping_curve(objective, gradients_of(objective), reference=0.1)
    assert len(calls) == 1


def test_conjugate_gradients_start_at_the_neighbour(monkeypatch):
    objective = fitted(LogisticRegression(C=1e-2), "binary", 200, 30)
    gradients = gradients_of(objective, 1)
    dampings = curvature_of(objective).mean_eigenvalue() * np.geomspace(0.1, 0.2, 6)
    taken = []
    original = CG.solve

    def counted(self, b, **options):
        solution = original(self, b, **options)
        taken.append(solution.n_iter)
        return solution

    monkeypatch.setattr(CG, "solve", counted)
    curve = damping_curve(objective, gradients, dampings, solver="cg")
    warm = sum(taken[1:])
    cold = [
        factor(curvature_of(objective), "cg", damping).solve(gradients).n_iter
        for damping in dampings
    ]
    assert warm < sum(cold)
    assert curve.psi.shape == (6, 200, 1)


def test_a_class_as_solver():
    objective = PROBLEMS["ridge"]()
    gradients = gradients_of(objective)
    solver = partial(CG, preconditioner="none", tolerance=1e-10)
    curve = damping_curve(objective, gradients, [0.1, 1.0], solver=solver)
    expected = damping_curve(objective, gradients, [0.1, 1.0])
    np.testing.assert_allclose(curve.psi, expected.psi, atol=1e-8)


def test_dampings_are_sorted_and_one_gradient_may_be_a_vector():
    objective = PROBLEMS["ridge"]()
    gradient = gradients_of(objective, 1)[:, 0]
    curve = damping_curve(objective, gradient, [1.0, 0.1, 1.0])
    np.testing.assert_array_equal(curve.damping, [0.1, 1.0])
    assert curve.psi.shape == (2, 40, 1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"dampings": [-1.0]}, "must be finite and >= 0"),
        ({"dampings": [np.nan]}, "must be finite and >= 0"),
        ({"dampings": []}, "at least one number"),
        ({"dampings": [[1.0]]}, "at least one number"),
        ({"n_lowest": 0}, "n_lowest must be between 1 and"),
        ({"n_lowest": 41}, "n_lowest must be between 1 and"),
    ],
)
def test_bad_arguments(arguments, message):
    objective = PROBLEMS["ridge"]()
    with pytest.raises(ValueError, match=message):
        damping_curve(objective, gradients_of(objective), **arguments)


def test_a_singular_curvature_is_refused_without_damping_only():
    X = problems.rows(30)
    X = np.hstack([X, X[:, :1]])
    y = problems.numbers(X)
    objective = problems.objective_of(LinearRegression().fit(X, y), X, y)
    gradients = gradients_of(objective)
    assert np.isfinite(damping_curve(objective, gradients).psi).all()
    with pytest.raises(SolverError):
        damping_curve(objective, gradients, [0.0, 1.0])
    with pytest.raises(SolverError, match="no scale"):
        empty = objective.reweighted(np.zeros(30))
        damping_curve(empty, gradients)
