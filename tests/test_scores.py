"""psi, leverage, one-step effects and stationarity, against formulas and refits."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from skpuma import scores
from skpuma.criteria import LogLoss, SquaredError, measures_of
from skpuma.curvature import curvature_of
from skpuma.models import adapt
from skpuma.models._linear import RidgeModel
from skpuma.objective import Objective
from skpuma.refit import removal_effects
from skpuma.solvers import factor
from skpuma.utils.errors import SolverError
from tests.contracts import problems

TIGHT = dict(solver="newton-cholesky", tol=1e-12)
NETWORK = dict(hidden_layer_sizes=3, activation="tanh", max_iter=60, random_state=0)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def solver_of(objective, name="auto", damping="auto"):
    return factor(curvature_of(objective), name, damping)


def gradients(objective):
    """g_j of every row (n, p), by the tangent pass and one unit vector at a time."""
    model, p = objective.model, objective.model.n_parameters
    jacobian = model.jvp(objective.X, np.eye(p))
    g = np.einsum("nk,nkp->np", objective.residual, jacobian)
    # Where the penalty is multiplied by the weights, every row has its share of it.
    return g + (objective.record.l2 * model.theta if model.kind == "mean" else 0.0)


def inverse(objective, damping=0.0):
    """H^-1 (pseudo-inverse over a null space) from finite differences of grad J."""
    theta, p = objective.model.theta, objective.model.n_parameters
    h = 1e-5
    columns = [
        (objective.at(theta + e).gradient() - objective.at(theta - e).gradient())
        for e in h * np.eye(p)
    ]
    hessian = np.stack(columns) / (2.0 * h)
    hessian = 0.5 * (hessian + hessian.T) + damping * np.eye(p)
    return np.linalg.pinv(hessian, rcond=1e-7, hermitian=True)


def fitted(estimator, task, n=40, d=3, weighted=True, seed=0):
    X = problems.rows(n, d, seed)
    y = problems.TARGETS[task](X)
    weight = problems.weights(n) if weighted else None
    estimator.fit(X, y, sample_weight=weight)
    return problems.objective_of(estimator, X, y, weight)


LINEAR = [
    pytest.param(Ridge(), "regression", id="ridge"),
    pytest.param(
        Ridge(alpha=np.array([1.0, 9.0])), "two outputs", id="ridge, two outputs"
    ),
    pytest.param(LinearRegression(), "regression", id="least squares"),
    pytest.param(LogisticRegression(**TIGHT), "binary", id="binary"),
    pytest.param(LogisticRegression(**TIGHT), "multiclass", id="multiclass"),
    pytest.param(
        LogisticRegression(C=np.inf, **TIGHT), "multiclass", id="without penalty"
    ),
]
ALL = [
    *LINEAR,
    pytest.param(MLPClassifier(**NETWORK), "multiclass", id="network, adam"),
    pytest.param(
        MLPRegressor(solver="lbfgs", **NETWORK), "two outputs", id="network, lbfgs"
    ),
]


# -- psi -------------------------------------------------------------------------------


@pytest.mark.parametrize(("estimator", "task"), ALL)
def test_psi_is_the_naive_formula(estimator, task):
    objective = fitted(estimator, task)
    matrix = curvature_of(objective, "auto", 0.0 if objective.model.convex else 0.1)
    C = np.random.default_rng(0).standard_normal((objective.model.n_parameters, 3))
    basis = matrix.null_space
    if basis is not None:
        C -= basis @ (basis.T @ C)
    solver = factor(matrix, "auto", matrix.damping)
    ours = scores.psi_matrix(objective, solver.solve(C).value)
    dense = np.linalg.pinv(matrix.dense(), rcond=1e-12, hermitian=True)
    expected = gradients(objective) @ dense @ C
    np.testing.assert_allclose(ours, expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize(("estimator", "task"), LINEAR)
def test_psi_is_the_derivative_of_the_optimum_in_a_weight(estimator, task):
    # H by finite differences of grad J, so that nothing of it is shared.
    objective = fitted(estimator, task)
    (measure,) = measures_of(
        "auto", objective.model, objective.X, objective.y, np.ones(len(objective.y))
    )
    C = measure.gradient(objective.model)
    s = solver_of(objective).solve(C).value
    expected = gradients(objective) @ (inverse(objective) @ C)
    np.testing.assert_allclose(
        scores.psi(objective.model, objective.X, objective.residual, s),
        expected,
        atol=1e-5 * np.abs(expected).max(),
    )


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize(("estimator", "task"), LINEAR)
def test_psi_of_sparse_rows(estimator, task, container):
    objective = fitted(estimator, task)
    S = np.random.default_rng(0).standard_normal((objective.model.n_parameters, 2))
    expected = scores.psi_matrix(objective, S)
    X = container(objective.X)
    y = problems.TARGETS[task](objective.X)
    rows = problems.objective_of(estimator, X, y, problems.weights(40))
    np.testing.assert_allclose(scores.psi_matrix(rows, S), expected, rtol=1e-10)


@pytest.mark.parametrize("solver", ["cholesky", "eigh", "cg", "woodbury"])
def test_psi_does_not_depend_on_the_solver(solver):
    objective = fitted(MLPClassifier(**NETWORK), "binary", n=15)
    C = np.random.default_rng(0).standard_normal((objective.model.n_parameters, 1))
    reference = solver_of(objective, "cholesky", 0.05).solve(C).value
    ours = solver_of(objective, solver, 0.05).solve(C).value
    np.testing.assert_allclose(
        scores.psi_matrix(objective, ours),
        scores.psi_matrix(objective, reference),
        rtol=1e-5,
        atol=1e-8,
    )


# -- against refits --------------------------------------------------------------------


def gaussian(task, n, seed):
    """A Gaussian design with 20 columns and a known signal."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 20))
    eta = X @ np.random.default_rng(77).standard_normal(20) / 3.0
    if task == "regression":
        return X, eta + rng.standard_normal(n)
    return X, np.where(rng.uniform(size=n) < expit(eta), "yes", "no")


def agreement(ours, refit):
    """Correlation, and the slope of the refits on ours."""
    return np.corrcoef(ours, refit)[0, 1], np.polyfit(ours, refit, 1)[0]


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(
    ("estimator", "task"),
    [
        pytest.param(LogisticRegression(**TIGHT), "binary", id="logistic"),
        pytest.param(Ridge(), "regression", id="ridge"),
    ],
)
def test_removal_effects_are_those_of_refits(estimator, task, weighted):
    X, y = gaussian(task, 1000, seed=0)
    rng = np.random.default_rng(3)
    weight = rng.uniform(0.5, 1.5, 1000) if weighted else None
    estimator.fit(X, y, sample_weight=weight)
    objective = problems.objective_of(estimator, X, y, weight)
    X_val, y_val = gaussian(task, 1000, seed=9)
    y_val = objective.model.targets(y_val)
    measures = measures_of("auto", objective.model, X_val, y_val, np.ones(1000))
    solver = solver_of(objective)
    S = solver.solve(measures[0].gradient(objective.model)[:, None]).value
    psi = scores.psi_matrix(objective, S)[:, 0]
    linear = psi * objective.weight / objective.total_weight
    index = rng.choice(1000, 50, replace=False)
    refits = removal_effects(objective, measures, index)[:, 0]
    correlation, slope = agreement(linear[index], refits)
    # Leverage, which the linear effect ignores, grows with the largest weights.
    slack = 2.0 if weighted else 1.0
    assert correlation >= 1.0 - 0.01 * slack
    assert abs(slope - 1.0) <= 0.05 * slack
    one_step, _ = scores.one_step_effects(objective, solver, measures)
    correlation, slope = agreement(one_step[index, 0], refits)
    assert correlation >= 0.9999
    assert abs(slope - 1.0) <= 0.01


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("task", ["regression", "two outputs"])
@pytest.mark.parametrize("cls", [Ridge, LinearRegression])
def test_one_step_of_a_squared_loss_is_the_refit(cls, task, intercept):
    X = problems.rows(30)
    X[1] *= 30.0  # a row of high leverage, where the linear effect is wrong
    y = problems.TARGETS[task](X)
    weight = problems.weights(30)
    estimator = cls(fit_intercept=intercept).fit(X, y, sample_weight=weight)
    objective = problems.objective_of(estimator, X, y, weight)
    measures = measures_of(
        ["auto", "squared_error"], objective.model, X, objective.y, np.ones(30)
    )
    ours, leverage = scores.one_step_effects(objective, solver_of(objective), measures)
    before = np.array([measure.value(objective.model) for measure in measures])
    for row in range(30):
        dropped = weight.copy()
        dropped[row] = 0.0
        again = adapt(cls(fit_intercept=intercept).fit(X, y, sample_weight=dropped))
        after = np.array([measure.value(again) for measure in measures])
        np.testing.assert_allclose(ours[row], after - before, atol=1e-8)
    assert (ours[weight == 0.0] == 0.0).all()
    assert leverage[1] == leverage.max() > 0.8


def test_one_step_of_logistic_regression_beats_the_linear_effect():
    X = problems.rows(60)
    X[1] *= 6.0
    y = problems.classes(X, 3)
    estimator = LogisticRegression(**TIGHT).fit(X, y)
    objective = problems.objective_of(estimator, X, y)
    measures = measures_of("log_loss", objective.model, X, objective.y, np.ones(60))
    solver = solver_of(objective)
    S = solver.solve(measures[0].gradient(objective.model)[:, None]).value
    linear = scores.psi_matrix(objective, S)[:, 0] / 60
    one_step = scores.one_step_effects(objective, solver, measures)[0][:, 0]
    refits = removal_effects(objective, measures, np.arange(60))[:, 0]
    error = np.linalg.norm(one_step - refits)
    assert error < 0.2 * np.linalg.norm(linear - refits)
    assert error < 0.3 * np.linalg.norm(refits)


@pytest.mark.parametrize("kind", ["mean", "count"])
def test_one_step_where_the_penalty_follows_the_weights(kind):
    X = problems.rows(60)
    y = problems.numbers(X)
    model = type("OtherRidge", (RidgeModel,), {"kind": kind})(Ridge(30.0).fit(X, y))
    objective = Objective.at_fit(model, X, model.targets(y), np.ones(60))
    measures = measures_of("auto", model, X, objective.y, np.ones(60))
    solver = solver_of(objective)
    effects, _ = scores.one_step_effects(objective, solver, measures)
    S = solver.solve(measures[0].gradient(model)[:, None]).value
    linear = scores.psi_matrix(objective, S) / 60
    refits = np.empty(60)
    for row in range(60):
        keep = np.arange(60) != row
        # The penalty loses the row's share of it.
        again = adapt(Ridge(30.0 * 59 / 60).fit(X[keep], y[keep]))
        refits[row] = measures[0].value(again) - measures[0].value(model)
    for ours, tolerance in ((effects[:, 0], 0.01), (linear[:, 0], 0.15)):
        correlation, slope = agreement(ours, refits)
        assert correlation > 1.0 - tolerance
        assert abs(slope - 1.0) < tolerance


def test_a_row_that_cannot_be_removed_is_not_divided_by_zero():
    X = np.zeros((12, 2))
    X[:, 0] = np.arange(12)
    X[3, 1] = 1.0  # the only row that sees the second column
    y = problems.numbers(X)
    objective = problems.objective_of(LinearRegression().fit(X, y), X, y)
    measures = measures_of("auto", objective.model, X, objective.y, np.ones(12))
    effects, leverage = scores.one_step_effects(
        objective, solver_of(objective), measures
    )
    assert leverage[3] == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_array_equal(np.isnan(effects[:, 0]), np.arange(12) == 3)


@pytest.mark.parametrize("name", ["cg", "woodbury"])
def test_one_step_needs_an_explicit_curvature(name):
    objective = fitted(Ridge(fit_intercept=False), "regression")
    measures = measures_of(
        "auto", objective.model, objective.X, objective.y, objective.weight
    )
    with pytest.raises(SolverError, match="one_step"):
        scores.one_step_effects(objective, solver_of(objective, name, 0.0), measures)


# -- groups ----------------------------------------------------------------------------


def chunks(n, *ends):
    """Groups of rows in mixed order."""
    return np.split(np.random.default_rng(0).permutation(n), ends)


@pytest.mark.parametrize(("estimator", "task"), ALL)
def test_one_newton_step_without_a_group_is_the_naive_formula(estimator, task):
    objective = fitted(estimator, task)
    model = objective.model
    matrix = curvature_of(objective, "auto", 0.0 if model.convex else 0.1)
    solver = factor(matrix, "cholesky", matrix.damping)
    measures = measures_of("auto", model, objective.X, objective.y, np.ones(40))
    members = chunks(40, 2, 5, 20, 21)  # fewer and more rows than parameters
    ours, _ = scores.group_effects(objective, solver, measures, members)
    jacobian = model.jvp(objective.X, np.eye(model.n_parameters))
    hessian = model.loss.hessian(objective.raw, objective.y)
    share = objective.weight / objective.total_weight
    for found, group in zip(ours, members, strict=True):
        lost = share[group] @ objective.penalty_rate[group]
        part = np.einsum(
            "nkp,nkl,nlq->pq",
            *(a[group] for a in (jacobian * share[:, None, None], hessian, jacobian)),
        )
        left = matrix.dense() - part - lost * np.diag(objective.record.l2)
        gradient = share[group] @ gradients(objective)[group]
        step = np.linalg.pinv(left, rcond=1e-9, hermitian=True) @ gradient
        moved = measures[0].value(model.at(model.theta + step))
        expected = moved - measures[0].value(model)
        assert found[0] == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("estimator", "task"), LINEAR)
def test_groups_of_one_row_are_the_one_step_effects(estimator, task):
    objective = fitted(estimator, task)
    measures = measures_of(
        "auto", objective.model, objective.X, objective.y, np.ones(40)
    )
    solver = solver_of(objective)
    expected, leverage = scores.one_step_effects(objective, solver, measures)
    ours, h = scores.group_effects(
        objective, solver, measures, list(np.arange(40)[:, None])
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(h, leverage, atol=1e-12)
    one = scores.group_leverage(objective, solver, np.array([7]))
    assert one == pytest.approx(leverage[7])


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("task", ["regression", "two outputs"])
@pytest.mark.parametrize("cls", [Ridge, LinearRegression])
def test_groups_of_a_squared_loss_are_the_refit(cls, task, intercept):
    X = problems.rows(60)
    X[1] *= 30.0
    y = problems.TARGETS[task](X)
    weight = problems.weights(60)
    estimator = cls(fit_intercept=intercept).fit(X, y, sample_weight=weight)
    objective = problems.objective_of(estimator, X, y, weight)
    measures = measures_of(
        ["auto", "squared_error"], objective.model, X, objective.y, np.ones(60)
    )
    members = [*chunks(60, 1, 4, 30), np.array([], dtype=int)]
    ours, _ = scores.group_effects(objective, solver_of(objective), measures, members)
    refits = removal_effects(objective, measures, members[:-1])
    np.testing.assert_allclose(ours[:-1], refits, rtol=0, atol=1e-8)
    assert (ours[-1] == 0.0).all()


@pytest.mark.parametrize("kind", ["mean", "count"])
def test_groups_where_the_penalty_follows_the_weights(kind):
    X = problems.rows(60)
    y = problems.numbers(X)
    model = type("OtherRidge", (RidgeModel,), {"kind": kind})(Ridge(30.0).fit(X, y))
    objective = Objective.at_fit(model, X, model.targets(y), np.ones(60))
    measures = measures_of("auto", model, X, objective.y, np.ones(60))
    members = chunks(60, 1, 4, 7, 30)  # both below and above a tenth of the penalty
    ours, _ = scores.group_effects(objective, solver_of(objective), measures, members)
    for found, group in zip(ours, members, strict=True):
        keep = np.setdiff1d(np.arange(60), group)
        # The penalty loses the group's share of it: exact for a squared loss.
        again = adapt(Ridge(30.0 * len(keep) / 60).fit(X[keep], y[keep]))
        expected = measures[0].value(again) - measures[0].value(model)
        assert found[0] == pytest.approx(expected, rel=1e-8)


def test_psi_of_many_columns():
    for estimator, task in (
        (Ridge(), "regression"),
        (LogisticRegression(), "multiclass"),
        (MLPClassifier(**NETWORK), "multiclass"),
    ):
        objective = fitted(estimator, task)
        S = np.random.default_rng(0).standard_normal((objective.model.n_parameters, 7))
        np.testing.assert_allclose(
            scores.psi_matrix(objective, S),
            scores.psi_matrix(objective, S),
            rtol=1e-9,
            atol=1e-12,
        )


# -- leverage and self-influence -------------------------------------------------------


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_leverage_is_the_diagonal_of_the_hat_matrix(alpha, intercept):
    X = problems.rows(30)
    y = problems.numbers(X)
    weight = problems.weights(30)
    cls, more = (Ridge, {"alpha": alpha}) if alpha else (LinearRegression, {})
    estimator = cls(fit_intercept=intercept, **more).fit(X, y, sample_weight=weight)
    objective = problems.objective_of(estimator, X, y, weight)
    design = np.hstack([X, np.ones((30, 1))]) if intercept else X
    penalty = alpha * np.diag([1.0, 1.0, 1.0] + [0.0] * intercept)
    inner = np.linalg.inv((design.T * weight) @ design + penalty)
    hat = weight * np.einsum("np,pq,nq->n", design, inner, design)
    ours = scores.leverage(objective, solver_of(objective))
    np.testing.assert_allclose(ours, hat, atol=1e-12)
    if not alpha:
        assert ours.sum() == pytest.approx(design.shape[1])


@pytest.mark.parametrize(("estimator", "task"), LINEAR)
def test_leverage_of_several_outputs_is_a_largest_eigenvalue(estimator, task):
    objective = fitted(estimator, task)
    model = objective.model
    dense = np.linalg.pinv(curvature_of(objective).dense(), rcond=1e-12, hermitian=True)
    hessian = model.loss.hessian(objective.raw, objective.y)
    ours = scores.leverage(objective, solver_of(objective))
    jacobian = model.jvp(objective.X, np.eye(model.n_parameters))
    for row in range(len(ours)):
        J = jacobian[row]
        scale = objective.weight[row] / objective.total_weight
        eigenvalues = np.linalg.eigvals(scale * hessian[row] @ J @ dense @ J.T)
        assert ours[row] == pytest.approx(eigenvalues.real.max(), abs=1e-9)
    assert 0.0 <= ours.min() and ours.max() <= 1.0 + 1e-9


@pytest.mark.parametrize(("estimator", "task"), ALL)
def test_self_influence_is_the_naive_formula(estimator, task):
    objective = fitted(estimator, task)
    damping = 0.0 if objective.model.convex else 0.1
    solver = solver_of(objective, "auto", damping)
    matrix = curvature_of(objective, "auto", damping).dense()
    dense = np.linalg.pinv(matrix, rcond=1e-12, hermitian=True)
    g = objective.model.gradients(objective.X, objective.residual)
    expected = np.einsum("np,pq,nq->n", g, dense, g)
    ours = scores.self_influence(objective, solver)
    np.testing.assert_allclose(ours, expected, atol=1e-10 * expected.max())
    assert (ours >= 0.0).all()


# -- stationarity and polish -----------------------------------------------------------


@pytest.mark.parametrize(("estimator", "task"), LINEAR)
def test_stationarity_of_a_tight_fit_is_zero_and_elsewhere_not(estimator, task):
    objective = fitted(estimator, task)
    solver = solver_of(objective)
    tight = scores.stationarity(objective, solver)
    assert tight.value < 1e-6
    assert not tight.other_rows
    p = objective.model.n_parameters
    moved = objective.at(objective.model.theta + np.linspace(-0.5, 0.5, p))
    away = scores.stationarity(moved, solver_of(moved))
    assert away.value > 1.0
    assert away.other_rows
    assert away.gradient == np.abs(moved.gradient()).max()


def test_stationarity_counts_in_displacements_of_one_row():
    objective = fitted(Ridge(), "regression", weighted=False)
    solver = solver_of(objective)
    step = np.array([0.3, -0.2, 0.1, 0.05])
    moved = objective.at(objective.model.theta + step)
    one_row = gradients(moved) @ inverse(objective) / 40
    unit = np.percentile(np.linalg.norm(one_row, axis=1), 90)
    # A quadratic: the Newton step back is the step itself.
    value = scores.stationarity(moved, solver).value
    assert value == pytest.approx(np.linalg.norm(step) / unit, rel=1e-5)


@pytest.mark.parametrize("name", ["cholesky", "cg"])
def test_stationarity_samples_rows(name):
    objective = fitted(Ridge(), "regression", n=200, weighted=False)
    moved = objective.at(objective.model.theta + 0.3)
    solver = solver_of(moved, name)
    whole = scores.stationarity(moved, solver_of(moved), n_rows=200)
    sampled = scores.stationarity(moved, solver, n_rows=50)
    assert 0.5 < sampled.value / whole.value < 2.0
    assert sampled.value != whole.value
    assert sampled == scores.stationarity(moved, solver, n_rows=50)


@pytest.mark.parametrize("rows", ["fewer", "other weights"])
def test_other_rows_than_those_of_the_fit_are_seen(rows):
    X = problems.rows(60)
    y = problems.classes(X, 2)
    estimator = LogisticRegression(tol=1e-8).fit(X, y)
    weight = np.ones(60)
    weight[:20] = 0.0 if rows == "fewer" else 5.0
    objective = problems.objective_of(estimator, X, y, weight)
    assert scores.stationarity(objective, solver_of(objective)).other_rows


@pytest.mark.parametrize("keep", [0.0, 0.2])
@pytest.mark.parametrize(("estimator", "task"), LINEAR)
def test_polish_reaches_the_optimum_of_a_loose_fit(estimator, task, keep):
    objective = fitted(estimator, task)
    optimum = objective.value()
    rng = np.random.default_rng(0)
    theta = objective.model.theta + 0.3 * rng.standard_normal(
        objective.model.n_parameters
    )
    loose = objective.at(theta)
    polished, _, converged = scores.polish(loose, keep=keep)
    size = np.abs(loose.gradient()).max()
    assert converged
    # A kept factor contracts by a fifth a step, and stops at the decrement.
    assert np.abs(polished.gradient()).max() <= (1e-5 if keep else 1e-10) * size
    assert polished.value() == pytest.approx(optimum, abs=1e-12)
    np.testing.assert_array_equal(loose.model.theta, theta)


def test_polish_never_climbs():
    # From far out, full Newton steps of a log-loss overshoot.
    objective = fitted(LogisticRegression(**TIGHT), "binary")
    far = objective.at(objective.model.theta + 15.0)
    for keep in (0.0, 0.9):
        polished, _, _ = scores.polish(far, keep=keep)
        assert polished.value() < far.value()


# -- criteria at moved parameters ------------------------------------------------------


class RootMeanSquare(SquaredError):
    """No quadratic function, whatever it inherits."""

    def value(self, z, y, *, sample_weight=None, groups=None):
        return np.sqrt(super().value(z, y, sample_weight=sample_weight))


class SquaredLogLoss(LogLoss):
    """No mean of costs of rows, and not without groups."""

    def value(self, z, y, *, sample_weight=None, groups=None):
        loss = super().value(z, y, sample_weight=sample_weight)
        return loss**2 + np.mean(z[:, 0] * groups)


MOVED = {
    "squared": (Ridge(), "regression", "auto"),
    "several outputs": (Ridge(), "two outputs", "squared_error"),
    "root": (Ridge(), "regression", RootMeanSquare()),
    "binary": (LogisticRegression(), "binary", "log_loss"),
    "classes": (LogisticRegression(), "multiclass", "auto"),
    "of another kind": (LogisticRegression(), "binary", SquaredLogLoss()),
    "brier": (LogisticRegression(), "multiclass", "brier_score"),
}


@pytest.mark.parametrize("name", MOVED)
def test_a_criterion_at_many_parameters_is_that_at_each(name):
    estimator, task, criterion = MOVED[name]
    objective = fitted(clone(estimator), task)
    model = objective.model
    n = len(objective.weight)
    groups = np.arange(n) % 2
    rows_of_C = (objective.X, objective.y, problems.weights(n), groups)
    (measure,) = measures_of(criterion, model, *rows_of_C)
    moves = np.random.default_rng(1).standard_normal((7, model.n_parameters))
    each = [measure.value(model.at(model.theta + move)) for move in moves]
    np.testing.assert_allclose(measure.mover(model)(moves), each, rtol=1e-10)
