"""The public checks accept what is right and name the identity that is wrong."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor

from skpuma import checks
from skpuma.criteria._losses import BrierScore
from skpuma.curvature import curvature_of
from skpuma.curvature._gauss_newton import GaussNewton
from skpuma.losses._poisson import PoissonLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.models import adapt
from skpuma.models._linear import RidgeModel
from skpuma.models._logistic import LogisticModel
from skpuma.models._mlp import MLPModel
from skpuma.solvers import Solution
from skpuma.solvers._cholesky import Cholesky
from skpuma.solvers._eigh import Eigh
from tests.contracts import problems


def wrong(base, **methods):
    """A subclass with one thing changed."""
    return type(f"Wrong{base.__name__}", (base,), methods)


def failure(check, *args, **kwargs):
    """The message of the AssertionError that a check must raise."""
    with pytest.raises(AssertionError) as raised:
        check(*args, **kwargs)
    return str(raised.value)


# -- losses ----------------------------------------------------------------------------

LOSS_FAULTS = {
    "loss.gradient[:, 0] ==": dict(gradient=lambda self, z, y: y - z),
    "loss.hessian[:, :, 0] ==": dict(
        hessian=lambda self, z, y: 2.0 * SquaredLoss.hessian(self, z, y),
        hessian_root=lambda self, z, y: 2**0.5 * SquaredLoss.hessian(self, z, y),
    ),
    "loss.hessian_root @": dict(
        hessian_root=lambda self, z, y: 2.0 * SquaredLoss.hessian(self, z, y)
    ),
    "loss.value has shape": dict(value=lambda self, z, y: 0.5 * (z - y) ** 2),
    "must not depend on the other rows": dict(
        value=lambda self, z, y: SquaredLoss().value(z, y) / len(z)
    ),
    "loss.predict_vjp(z, u)[:, 0] ==": dict(predict_vjp=lambda self, z, u: 2.0 * u),
    "loss.dispersion is positive": dict(dispersion=lambda self, z, y, weight: 0.0),
    "the probabilities of loss.predict sum to 1": dict(classification=True),
}


@pytest.mark.parametrize("identity", LOSS_FAULTS)
def test_check_loss_names_what_is_wrong(identity):
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((2, 20, 3))
    checks.check_loss(SquaredLoss(), z, y)
    assert identity in failure(
        checks.check_loss, wrong(SquaredLoss, **LOSS_FAULTS[identity])(), z, y
    )


def test_check_loss_sees_a_false_claim_of_a_constant_hessian():
    z, y = np.random.default_rng(0).standard_normal((2, 20, 1))
    loss = wrong(PoissonLoss, constant_hessian=True)()
    assert "constant_hessian=False" in failure(checks.check_loss, loss, z, np.abs(y))


def test_check_loss_sees_that_its_input_is_written_into():
    def gradient(self, z, y):
        z -= y
        return z

    z, y = np.random.default_rng(0).standard_normal((2, 20, 1))
    with pytest.raises(AssertionError):
        checks.check_loss(wrong(SquaredLoss, gradient=gradient)(), z, y)


# -- models ----------------------------------------------------------------------------


def fitted_ridge():
    X = problems.rows(30)
    return Ridge().fit(X, problems.numbers(X)), X, problems.numbers(X)


def write_in_place(self, estimator, theta):
    self.estimator.coef_[:] = theta[:3]
    RidgeModel._write(self, estimator, theta)


MODEL_FAULTS = {
    "loss.predict(model.raw(X)) ==": dict(
        raw=lambda self, X: RidgeModel.raw(self, X) + 1.0
    ),
    "reads back as other": dict(
        _write=lambda self, estimator, theta: setattr(estimator, "coef_", theta[:3])
    ),
    "leaves the user's estimator as it was": dict(_write=write_in_place),
    "model.jvp(X, v) == d model.raw": dict(
        raw=lambda self, X: X @ self.theta[:3, None] + self.theta[3],
        jvp=lambda self, X, V: 2.0 * RidgeModel.jvp(self, X, V),
    ),
    "<u, J v> == <J.T u, v>": dict(
        vjp=lambda self, X, u: 1.001 * RidgeModel.vjp(self, X, u)
    ),
    "model.gradients(X, u) summed over rows": dict(
        gradients=lambda self, X, u: 3.0 * RidgeModel.gradients(self, X, u)
    ),
    "is credited to another row": dict(
        gradients=lambda self, X, u: RidgeModel.gradients(self, X, u)[::-1]
    ),
    "model.input_vjp(X, u) . D ==": dict(
        input_vjp=lambda self, X, u: -RidgeModel.input_vjp(self, X, u)
    ),
    "model.psi(X, u, v) ==": dict(psi=lambda self, X, r, V: np.ones(len(X))),
    "model.gram_product(X, L, V) ==": dict(
        gram_product=lambda self, X, hessian, V: 0.0 * V
    ),
    "model.tangent_gram(X, B, s) ==": dict(
        tangent_gram=lambda self, X, root, scale: np.eye(len(X))
    ),
    "model.hessian_gram(X, L) ==": dict(
        gram=lambda self, X, root: RidgeModel.hessian_gram(self, X, root),
        hessian_gram=lambda self, X, hessian: np.eye(4),
    ),
    "model.diagonal(X, L) ==": dict(diagonal=lambda self, X, hessian: np.ones(4)),
    "model.kind is one of": dict(kind="total"),
    "model.ridge is finite and not negative": dict(
        ridge=lambda self, total_weight, n_rows: -np.ones(4)
    ),
    "model.ridge has shape": dict(ridge=lambda self, total_weight, n_rows: 1.0),
    "model.classes is set for classifiers": dict(classes=np.array([0, 1])),
    "grad J is orthogonal to model.null_space": dict(
        null_space=lambda self, l2: np.eye(4)[:, :1]
    ),
}


@pytest.mark.parametrize("identity", MODEL_FAULTS)
def test_check_model_names_what_is_wrong(identity):
    estimator, X, y = fitted_ridge()
    checks.check_model(estimator, X, y, stationary=1e-10)
    model = wrong(RidgeModel, **MODEL_FAULTS[identity])(estimator)
    targets = RidgeModel.targets
    if model.classes is not None:
        model.targets = lambda y: targets(RidgeModel(estimator), y)
    assert identity in failure(checks.check_model, model, X, y)


def test_check_model_sees_a_wrong_penalty_by_stationarity_only():
    estimator, X, y = fitted_ridge()
    model = wrong(RidgeModel, ridge=lambda self, W, n: self._l2(1.0))(estimator)
    checks.check_model(model, X, y)
    message = failure(checks.check_model, model, X, y, stationary=1e-6)
    assert "the gradient of the objective vanishes" in message
    assert "ridge()" in message


def test_check_model_sees_forgotten_class_weights():
    X = problems.rows(40)
    y = problems.classes(X, 2)
    estimator = LogisticRegression(
        class_weight={"no": 3.0, "yes": 1.0}, solver="newton-cholesky", tol=1e-10
    ).fit(X, y)
    checks.check_model(estimator, X, y, stationary=1e-8)
    model = wrong(LogisticModel, class_weights=lambda self, y, w: None)(estimator)
    message = failure(checks.check_model, model, X, y, stationary=1e-8)
    assert "class_weights()" in message


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_check_model_sees_a_missing_second_order_term():
    X = problems.rows(30)
    y = problems.numbers(X)
    estimator = MLPRegressor(hidden_layer_sizes=3, activation="tanh", max_iter=5)
    estimator.fit(X, y)
    checks.check_model(estimator, X, y)
    model = wrong(MLPModel, second_order=lambda self, X, u, V: 0.0 * V)(estimator)
    assert "`second_order` is missing" in failure(checks.check_model, model, X, y)


def test_check_model_of_an_estimator_without_adapter():
    with pytest.raises(TypeError, match="not supported"):
        checks.check_model(object(), np.ones((3, 1)), np.ones(3))


# -- criteria --------------------------------------------------------------------------


class NoWeights(BrierScore):
    def value(self, z, y, *, sample_weight=None, groups=None):
        return super().value(z, y)

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        return super().grad_raw(z, y)


class Ordered(BrierScore):
    """The rows of the first half only."""

    def _half(self, z, sample_weight):
        half = np.arange(len(z)) < len(z) // 2
        return half * (np.ones(len(z)) if sample_weight is None else sample_weight)

    def value(self, z, y, *, sample_weight=None, groups=None):
        return super().value(z, y, sample_weight=self._half(z, sample_weight))

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        return super().grad_raw(z, y, sample_weight=self._half(z, sample_weight))


CRITERION_FAULTS = {
    "criterion.grad_raw == d criterion.value": wrong(
        BrierScore,
        grad_raw=lambda self, z, y, **kw: (
            2**0.5 * BrierScore.grad_raw(self, z, y, **kw)
        ),
    ),
    "weight 0": NoWeights,
    "order of the rows": Ordered,
    "finite number": wrong(BrierScore, value=lambda self, z, y, **kw: np.nan),
    "grad_raw has shape": wrong(
        BrierScore, grad_raw=lambda self, z, y, **kw: np.zeros(len(z))
    ),
    "has a method grad_raw": type("ValueOnly", (), {"value": lambda self: 0.0}),
}


@pytest.mark.parametrize("identity", CRITERION_FAULTS)
def test_check_criterion_names_what_is_wrong(identity):
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((30, 3)), rng.integers(0, 3, 30)
    checks.check_criterion(BrierScore(), z, y)
    criterion = CRITERION_FAULTS[identity]()
    assert identity in failure(checks.check_criterion, criterion, z, y)


def test_check_criterion_rejects_what_is_no_sample():
    z, y = np.zeros((3, 1)), np.array([0, 1, 1])
    with pytest.raises(ValueError, match="negative"):
        checks.check_criterion("brier_score", z, y, sample_weight=[1, 1, -1])
    with pytest.raises(ValueError, match="groups has"):
        checks.check_criterion("demographic_parity", z, y, groups=["a", "b"])


# -- curvatures and solvers ------------------------------------------------------------


def ridge_objective():
    estimator, X, y = fitted_ridge()
    return problems.objective_of(estimator, X, y)


CURVATURE_FAULTS = {
    "the curvature is symmetric": dict(
        _matmat=lambda self, V: np.triu(np.ones((4, 4))) @ V
    ),
    "curvature.dense() ==": dict(dense=lambda self: np.eye(4)),
    "with_damping(a) @ v": dict(
        diagonal_part=property(lambda self: self.objective.l2 + 2.0 * self.damping)
    ),
    "as psd=True says": dict(
        _matmat=lambda self, V: -V + self.damping * V,
        dense=lambda self: (self.damping - 1.0) * np.eye(4),
    ),
    "A.T A + diag(diagonal_part)": dict(root=np.ones((30, 1, 1))),
    "curvature @ null_space == 0": dict(null_space=np.eye(4)[:, :1]),
    "null_space are orthonormal": dict(null_space=2.0 * np.eye(4)[:, :1]),
}


@pytest.mark.parametrize("identity", CURVATURE_FAULTS)
def test_check_curvature_names_what_is_wrong(identity):
    objective = ridge_objective()
    checks.check_curvature(GaussNewton(objective))
    curvature = wrong(GaussNewton, **CURVATURE_FAULTS[identity])(objective)
    assert identity in failure(checks.check_curvature, curvature)


def twice(self, B):
    X, residual, n_iter = Cholesky._solve(self, B)
    return 2.0 * X, residual, n_iter


def half(self, B):
    X = 0.5 * self._raw_solve(B)
    return X, self._residual(self.matrix, X, B), 0


def in_place(self, B):
    X, residual, n_iter = Cholesky._solve(self, B)
    B[:] = X
    return B, residual, n_iter


def one_only(self, b):
    solution = Cholesky.solve(self, b)
    value = solution.value if b.ndim == 2 else solution.value[:, None]
    return Solution(value, solution.residual)


SOLVER_FAULTS = {
    "solution.residual ==": dict(_solve=twice),
    "solver.solve leaves the right-hand sides": dict(_solve=in_place),
    "value of one b (p,)": dict(solve=one_only),
    "solver.damping ==": dict(damping=property(lambda self: 1.0, lambda self, v: None)),
    "holds no curvature": dict(detached=lambda self: self),
}


@pytest.mark.parametrize("identity", SOLVER_FAULTS)
def test_check_solver_names_what_is_wrong(identity):
    curvature = curvature_of(ridge_objective())
    checks.check_solver(Cholesky, curvature)
    solver = wrong(Cholesky, **SOLVER_FAULTS[identity])
    assert identity in failure(checks.check_solver, solver, curvature)


def test_check_solver_compares_with_the_explicit_inverse():
    # An honest residual does not excuse a solution that ignores the null space.
    X = problems.rows(40)
    estimator = LogisticRegression().fit(X, problems.classes(X, 3))
    curvature = curvature_of(
        problems.objective_of(estimator, X, problems.classes(X, 3))
    )
    checks.check_solver(Cholesky, curvature)
    shift = curvature.null_space

    def solve(self, b):
        solution = Cholesky.solve(self, b)
        value = solution.value.T + shift[:, 0] * (np.abs(b).max(axis=0) > 0)[..., None]
        return Solution(value.T, solution.residual)

    message = failure(checks.check_solver, wrong(Cholesky, solve=solve), curvature)
    assert "orthogonal to the null space" in message


def test_check_solver_passes_on_the_refusal_of_the_solver():
    solver = wrong(Eigh, _solve=half)
    with pytest.raises(np.linalg.LinAlgError, match="relative residual"):
        checks.check_solver(solver, curvature_of(ridge_objective()))


def test_checks_accept_an_adapter_and_an_estimator_alike():
    estimator, X, y = fitted_ridge()
    assert checks.check_model(adapt(estimator), X, y) is None
    assert checks.check_model(estimator, X, y) is None
