"""Every line of `skpuma.models.MODELS`: derivatives, objective, refusals."""

import itertools
import re

import numpy as np
import pytest
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)

# Private, and only a referee here: scikit-learn's own objective.
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.utils import gen_batches

from skpuma import rows as rows_module
from skpuma.checks import check_model
from skpuma.curvature import curvature_of
from skpuma.losses._poisson import PoissonLoss
from skpuma.models import MODELS, BaseModel, adapt, find_adapter, supports
from skpuma.models._linear import RidgeModel
from skpuma.objective import Objective
from skpuma.utils.errors import NotDifferentiableError
from tests.contracts import problems
from tests.tight import fitted

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TIGHT = {"tol": 1e-14, "max_iter": 20_000, "random_state": 0}
# These stop by the decrease of the objective, which resolves less of the gradient.
STATIONARY = {"lbfgs": 1e-6, "liblinear": 1e-6, "LinearSVC": 1e-6}
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga", "liblinear")
# Not above 1: the step size of sag and saga ignores weights, and large ones diverge.
CLASS_WEIGHTS = {
    "binary": ({"no": 0.2, "yes": 1.0}, "balanced"),
    "multiclass": ({"ape": 0.2, "bee": 0.5, "cat": 1.0}, "balanced"),
}


def logistic_cases():
    for task, solver in itertools.product(("binary", "multiclass"), SOLVERS):
        if (task, solver) == ("multiclass", "liblinear"):
            continue
        for intercept, C in itertools.product((True, False), (0.3, np.inf)):
            if (solver, C) != ("liblinear", np.inf):
                yield task, dict(solver=solver, C=C, fit_intercept=intercept)
        for class_weight in CLASS_WEIGHTS[task]:
            yield task, dict(solver=solver, class_weight=class_weight)
    yield "binary", dict(solver="liblinear", intercept_scaling=3.0)


def linear_cases(**more):
    for task, intercept in itertools.product(
        ("regression", "two outputs"), (True, False)
    ):
        yield task, dict(fit_intercept=intercept, **more)


def ridge_cases():
    yield from linear_cases()
    yield from linear_cases(alpha=10.0)
    yield "two outputs", dict(alpha=np.array([0.5, 20.0]))
    for solver in ("svd", "cholesky", "lsqr", "sag", "saga", "sparse_cg"):
        yield "regression", dict(solver=solver)


def ridge_classifier_cases(**more):
    for task, intercept in itertools.product(
        ("binary", "multiclass", "multilabel"), (True, False)
    ):
        yield task, dict(fit_intercept=intercept, **more)
    for task in ("binary", "multiclass"):
        for class_weight in CLASS_WEIGHTS[task]:
            yield task, dict(class_weight=class_weight, **more)


def elastic_cases(**more):
    for task, intercept in itertools.product(
        ("regression", "two outputs"), (True, False)
    ):
        yield task, dict(fit_intercept=intercept, alpha=0.1, **more)
    yield "regression", dict(alpha=0.4, **more)


def logistic_cv_cases():
    fixed = dict(Cs=[0.3], cv=2, solver="newton-cholesky", use_legacy_attributes=False)
    fixed = {k: v for k, v in fixed.items() if k in LogisticRegressionCV().get_params()}
    for task, intercept in itertools.product(("binary", "multiclass"), (True, False)):
        yield task, dict(fit_intercept=intercept, **fixed)
        yield task, dict(class_weight=CLASS_WEIGHTS[task][0], **fixed)


def svc_cases():
    for task, intercept in itertools.product(("binary", "multiclass"), (True, False)):
        yield task, dict(fit_intercept=intercept, C=0.3, dual=False)
        yield task, dict(fit_intercept=intercept, intercept_scaling=3.0, dual=False)
    for task in ("binary", "multiclass"):
        for class_weight in CLASS_WEIGHTS[task]:
            yield task, dict(class_weight=class_weight, dual=False)


def svr_cases():
    for intercept, epsilon in itertools.product((True, False), (0.0, 0.3)):
        more = dict(fit_intercept=intercept, epsilon=epsilon, dual=False)
        yield "regression", dict(loss="squared_epsilon_insensitive", **more)


def huber_cases():
    for intercept, alpha in itertools.product((True, False), (0.0, 0.3)):
        yield "regression", dict(fit_intercept=intercept, alpha=alpha, epsilon=1.2)


def one_vs_rest_cases():
    inner = dict(tol=1e-14, max_iter=1000)
    newton = dict(solver="newton-cholesky", **inner)
    for task, intercept in itertools.product(
        ("binary", "multiclass", "multilabel"), (True, False)
    ):
        logistic = LogisticRegression(fit_intercept=intercept, **newton)
        yield task, dict(estimator=logistic)
    balanced = LogisticRegression(class_weight="balanced", **newton)
    for task in ("binary", "multiclass"):
        yield task, dict(estimator=balanced)
    one = LogisticRegression(class_weight={0: 0.5, 1: 2.0}, **newton)
    yield "multiclass", dict(estimator=one)
    yield "multiclass", dict(estimator=LinearSVC(dual=False, **inner))
    yield "multilabel", dict(estimator=RidgeClassifier(2.0))


def glum_cases():
    for task, family in (
        ("regression", "normal"),
        ("counts", "poisson"),
        ("positive", "gamma"),
        ("counts", "tweedie(1.6)"),
    ):
        for intercept in (True, False):
            more = dict(alpha=0.3, gradient_tol=1e-13, fit_intercept=intercept)
            yield task, dict(family=family, **more)


def glm_cases(task, **more):
    for intercept, alpha in itertools.product((True, False), (0.0, 0.3)):
        newton = {"solver": "newton-cholesky"}
        yield task, dict(fit_intercept=intercept, alpha=alpha, **newton, **more)
    yield task, dict(solver="lbfgs", **more)


def mlp_cases(*tasks):
    for task, activation, hidden, alpha in itertools.product(
        tasks, ACTIVATIONS, ((4,), (4, 3)), (0.0, 0.5)
    ):
        more = {"loss": "poisson"} if task == "counts" else {}
        yield (
            task,
            dict(activation=activation, hidden_layer_sizes=hidden, alpha=alpha, **more),
        )


def lasso(l1_ratio):
    """Parameters of an L1 part; scikit-learn 1.8 replaced `penalty` by `l1_ratio`."""
    if LogisticRegression().penalty == "deprecated":
        return {"l1_ratio": l1_ratio}
    if l1_ratio == 1:
        return {"penalty": "l1"}
    return {"penalty": "elasticnet", "l1_ratio": l1_ratio}


def lasso_logistic_cases():
    for task, intercept, ratio in itertools.product(
        ("binary", "multiclass"), (True, False), (0.5, 1)
    ):
        more = dict(fit_intercept=intercept, C=0.3, **lasso(ratio))
        yield task, dict(solver="saga", **more)
    for intercept in (True, False):
        more = dict(fit_intercept=intercept, C=0.3, intercept_scaling=2.0, **lasso(1))
        yield "binary", dict(solver="liblinear", **more)


def sgd_cases(*tasks):
    robust = ("huber", "squared_epsilon_insensitive")
    for task in tasks:
        losses = ("squared_error", *robust)
        if task != "regression":
            losses += ("log_loss", "modified_huber", "squared_hinge")
        for loss in losses:
            yield task, dict(loss=loss, epsilon=0.8)
        yield task, dict(loss=losses[-1], fit_intercept=False)
        if task != "regression":
            for class_weight in CLASS_WEIGHTS[task]:
                yield task, dict(loss="log_loss", class_weight=class_weight)


# Estimators of every table line: (task of problems.TARGETS, constructor arguments).
CASES = {
    "sklearn.ElasticNet": (
        ElasticNet,
        [*elastic_cases(l1_ratio=0.4), *elastic_cases(l1_ratio=0.0)],
    ),
    "sklearn.ElasticNetCV": (
        ElasticNetCV,
        [("regression", dict(alphas=[0.1], l1_ratio=[0.4], cv=2))],
    ),
    "sklearn.HuberRegressor": (HuberRegressor, huber_cases()),
    "sklearn.Lasso": (Lasso, elastic_cases()),
    "sklearn.LassoCV": (LassoCV, [("regression", dict(alphas=[0.1], cv=2))]),
    "sklearn.LinearRegression": (LinearRegression, linear_cases()),
    "sklearn.LinearSVC": (LinearSVC, svc_cases()),
    "sklearn.LinearSVR": (LinearSVR, svr_cases()),
    "sklearn.LogisticRegression": (
        LogisticRegression,
        [*logistic_cases(), *lasso_logistic_cases()],
    ),
    "sklearn.LogisticRegressionCV": (LogisticRegressionCV, logistic_cv_cases()),
    "sklearn.MLPClassifier": (
        MLPClassifier,
        mlp_cases("binary", "multiclass", "multilabel"),
    ),
    "sklearn.MLPRegressor": (
        MLPRegressor,
        mlp_cases("regression", "two outputs", "counts"),
    ),
    "sklearn.OneVsRestClassifier": (OneVsRestClassifier, one_vs_rest_cases()),
    "sklearn.Ridge": (Ridge, ridge_cases()),
    "sklearn.RidgeCV": (
        RidgeCV,
        [
            *linear_cases(alphas=[3.0]),
            *linear_cases(alphas=[3.0], cv=2),
            ("two outputs", dict(alphas=[0.5, 20.0], alpha_per_target=True)),
        ],
    ),
    "sklearn.RidgeClassifier": (RidgeClassifier, ridge_classifier_cases()),
    "sklearn.RidgeClassifierCV": (
        RidgeClassifierCV,
        ridge_classifier_cases(alphas=[3.0]),
    ),
    "sklearn.SGDClassifier": (SGDClassifier, sgd_cases("binary", "multiclass")),
    "sklearn.SGDRegressor": (SGDRegressor, sgd_cases("regression")),
    "sklearn.PoissonRegressor": (PoissonRegressor, glm_cases("counts")),
    "sklearn.GammaRegressor": (GammaRegressor, glm_cases("positive")),
    "sklearn.TweedieRegressor": (
        TweedieRegressor,
        [
            *glm_cases("regression", power=0),
            *glm_cases("counts", power=1),
            *glm_cases("counts", power=1.6),
            *glm_cases("positive", power=2),
        ],
    ),
}
try:
    from glum import GeneralizedLinearRegressor

    CASES["glum.GeneralizedLinearRegressor"] = GeneralizedLinearRegressor, glum_cases()
except ImportError:
    GeneralizedLinearRegressor = None
CASES = {key: (cls, list(cases)) for key, (cls, cases) in CASES.items()}
SGD = (SGDClassifier, SGDRegressor)
CONVEX = [
    pytest.param(cls, task, settings, id=f"{cls.__name__} {task} {settings}")
    for cls, cases in CASES.values()
    for task, settings in cases
    if not issubclass(cls, (MLPClassifier, MLPRegressor, *SGD))
]
STOCHASTIC = [
    pytest.param(cls, task, settings, id=f"{cls.__name__} {task} {settings}")
    for cls, cases in CASES.values()
    for task, settings in cases
    if issubclass(cls, SGD)
]
NETWORKS = [
    pytest.param(cls, task, settings, id=f"{cls.__name__} {task} {settings}")
    for cls, cases in CASES.values()
    for task, settings in cases
    if issubclass(cls, (MLPClassifier, MLPRegressor))
]


@pytest.mark.parametrize("key", sorted(MODELS))
def test_every_line_of_the_table_is_tested(key):
    if key.startswith("glum."):
        pytest.importorskip("glum")
    assert key in CASES, (
        f"Add {key} to CASES in {__name__}: its class and, for each case, a task of "
        f"{list(problems.TARGETS)} and cheap constructor arguments."
    )
    cls, cases = CASES[key]
    assert key.endswith(f".{cls.__name__}") and cases
    assert find_adapter(cls(**cases[0][1])) is not None
    assert supports(cls(**cases[0][1])) == (True, "")


# -- the contract ----------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(("cls", "task", "settings"), CONVEX)
def test_convex_model(cls, task, settings, weighted):
    X = problems.rows()
    y = problems.TARGETS[task](X)
    weight = problems.weights(len(X)) if weighted else None
    known = cls(**settings).get_params(deep=False)
    tight = {key: v for key, v in TIGHT.items() if key in known}
    estimator = fitted(cls(**{**tight, **settings}), X, y, weight)
    inner = type(settings.get("estimator")).__name__
    stationary = STATIONARY.get(settings.get("solver", inner), 1e-8)
    check_model(estimator, X, y, sample_weight=weight, stationary=stationary)
    assert adapt(estimator).convex


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(("cls", "task", "settings"), STOCHASTIC)
def test_stochastic_model(cls, task, settings, weighted):
    X = problems.rows()
    y = problems.TARGETS[task](X)
    weight = problems.weights(len(X)) if weighted else None
    fixed = {"alpha": 0.05, "max_iter": 5, "tol": None, "random_state": 0}
    estimator = fitted(cls(**{**fixed, **settings}), X, y, weight)
    check_model(estimator, X, y, sample_weight=weight, stationary=1e-8)
    assert adapt(estimator).kind == "count"


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(("cls", "task", "settings"), NETWORKS)
def test_network(cls, task, settings, weighted):
    X = problems.rows(30)
    y = problems.TARGETS[task](X)
    weight = problems.weights(len(X)) if weighted else None
    fixed = {"solver": "lbfgs", "max_iter": 15, "random_state": 0}
    estimator = cls(**fixed, **settings).fit(X, y, sample_weight=weight)
    check_model(estimator, X, y, sample_weight=weight)
    assert not adapt(estimator).convex


@pytest.mark.parametrize("kind", ["array", "csr_matrix", "csr_array", "float32"])
@pytest.mark.parametrize(
    ("estimator", "task"),
    [
        (Ridge(), "two outputs"),
        (LinearRegression(), "regression"),
        (LogisticRegression(), "binary"),
        (LogisticRegression(), "multiclass"),
    ],
    ids=str,
)
def test_linear_model_on_other_containers(estimator, task, kind):
    X = problems.rows(30, 4)
    X[np.abs(X) < 0.6] = 0.0
    y = problems.TARGETS[task](X)
    X = {
        "array": np.asfortranarray,
        "csr_matrix": sparse.csr_matrix,
        "csr_array": sparse.csr_array,
        "float32": lambda X: X.astype(np.float32),
    }[kind](X)
    estimator.fit(X, y)
    check_model(estimator, X, y)


def test_network_in_single_precision():
    X = problems.rows(30).astype(np.float32)
    y = problems.classes(X, 3)
    estimator = MLPClassifier((4,), max_iter=5, random_state=0).fit(X, y)
    check_model(estimator, X, y)
    patched = adapt(estimator).with_theta(adapt(estimator).theta + 0.1)
    assert patched.coefs_[0].dtype == np.float32


@pytest.mark.parametrize(("n", "d"), [(8, 20), (30, 1)])
@pytest.mark.parametrize(
    ("estimator", "task"),
    [
        (Ridge(fit_intercept=False), "regression"),
        (LogisticRegression(fit_intercept=False), "binary"),
        (MLPClassifier((1,), "tanh", max_iter=5, random_state=0), "binary"),
    ],
    ids=str,
)
def test_fewer_rows_than_parameters_and_one_parameter(estimator, task, n, d):
    X = problems.rows(n, d)
    y = problems.TARGETS[task](X)
    check_model(estimator.fit(X, y), X, y)


def test_pipeline_and_frozen_estimator():
    X = 5.0 + 3.0 * problems.rows(30)
    y = problems.classes(X, 2)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    check_model(pipeline, X, y)
    check_model(FrozenEstimator(pipeline), X, y)
    patched = adapt(pipeline).with_theta(adapt(pipeline).theta + 1.0)
    assert type(patched) is type(pipeline)
    assert patched[-1] is not pipeline[-1]


# -- stationarity of networks ----------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(
    ("cls", "task"),
    [
        (MLPClassifier, "binary"),
        (MLPClassifier, "multiclass"),
        (MLPRegressor, "regression"),
    ],
)
def test_tight_lbfgs_network_is_stationary(cls, task, weighted):
    X = problems.rows()
    y = problems.TARGETS[task](X)
    weight = problems.weights(len(X)) if weighted else None
    estimator = cls(
        hidden_layer_sizes=(3,),
        activation="tanh",
        solver="lbfgs",
        alpha=1.0,
        tol=1e-12,
        max_iter=2000,
        warm_start=True,
        random_state=0,
    )
    for _ in range(30):  # each restart goes on where a small decrease stopped lbfgs
        estimator.fit(X, y, sample_weight=weight)
    check_model(estimator, X, y, sample_weight=weight, stationary=2e-5)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.parametrize(
    ("cls", "task"),
    [
        (MLPClassifier, "binary"),
        (MLPClassifier, "multiclass"),
        (MLPRegressor, "two outputs"),
        (MLPRegressor, "counts"),
    ],
)
def test_gradient_is_the_step_of_a_full_batch(cls, task, solver, weighted):
    X = problems.rows(30)
    y = problems.TARGETS[task](X)
    weight = problems.weights(len(X)) if weighted else None
    estimator = cls(
        hidden_layer_sizes=(4, 3),
        activation="logistic",
        solver="sgd",
        learning_rate_init=0.1,
        momentum=0.0,
        batch_size=len(X),
        alpha=0.7,
        max_iter=3,
        random_state=0,
        **({"loss": "poisson"} if task == "counts" else {}),
    ).fit(X, y, sample_weight=weight)
    before = adapt(estimator).theta
    objective = problems.objective_of(estimator.set_params(solver=solver), X, y, weight)
    ours = objective.gradient()
    estimator.set_params(solver="sgd").partial_fit(X, y, sample_weight=weight)
    theirs = (before - adapt(estimator).theta) / 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-12 * np.abs(theirs).max())


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
@pytest.mark.parametrize("batch_size", [7, 30, 100, "auto"])
def test_penalty_of_minibatches_is_the_mean_over_batches(batch_size):
    X = problems.rows(30)
    estimator = MLPRegressor(
        hidden_layer_sizes=2, batch_size=batch_size, alpha=0.9, max_iter=2
    )
    model = adapt(estimator.fit(X, problems.numbers(X)))
    size = {"auto": 30, 100: 30}.get(batch_size, batch_size)
    strength = [0.9 / (b.stop - b.start) for b in gen_batches(30, size)]
    coef, intercept = model.split(model.ridge(30.0, 30))[0]
    np.testing.assert_allclose(coef, np.mean(strength))
    assert (intercept == 0.0).all()
    assert model.kind == "mean"


def test_value_of_a_network_is_the_loss_that_sklearn_reports():
    X = problems.rows(30)
    y = problems.classes(X, 3)
    estimator = MLPClassifier(
        (4,), solver="lbfgs", alpha=0.5, max_iter=20, random_state=0
    ).fit(X, y)
    objective = problems.objective_of(estimator, X, y)
    assert objective.value() == pytest.approx(estimator.loss_, rel=1e-10)


# -- null space ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("C", "intercept", "size"),
    [(1.0, True, 1), (1.0, False, 0), (np.inf, True, 4), (np.inf, False, 3)],
)
def test_multinomial_null_space(C, intercept, size):
    X = problems.rows()
    y = problems.classes(X, 3)
    estimator = LogisticRegression(C=C, fit_intercept=intercept).fit(X, y)
    objective = problems.objective_of(estimator, X, y)
    basis = objective.model.null_space(objective.l2)
    hessian = curvature_of(objective, "hessian").dense()
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert np.count_nonzero(eigenvalues < 1e-12 * eigenvalues[-1]) == size
    assert (0 if basis is None else basis.shape[1]) == size
    if size:
        moved = objective.at(objective.model.theta + basis @ np.ones(size))
        assert moved.value() == pytest.approx(objective.value(), rel=1e-12)


def test_models_that_see_everything_have_no_null_space():
    X = problems.rows()
    for estimator, task in ((Ridge(), "regression"), (LogisticRegression(), "binary")):
        y = problems.TARGETS[task](X)
        objective = problems.objective_of(estimator.fit(X, y), X, y)
        assert objective.model.null_space(objective.l2) is None


# -- weights ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "task"),
    [
        (Ridge(), "regression"),
        (LogisticRegression(class_weight="balanced"), "multiclass"),
        (
            MLPRegressor(hidden_layer_sizes=3, solver="lbfgs", max_iter=9),
            "regression",
        ),
    ],
    ids=str,
)
def test_a_row_twice_is_a_weight_of_two(estimator, task):
    X = problems.rows(30)
    y = problems.TARGETS[task](X)
    estimator.fit(X, y)
    double = np.append(np.arange(30), [4, 7])
    twice = problems.objective_of(estimator, X[double], y[double])
    weighted = problems.objective_of(estimator, X, y, 1.0 + np.isin(range(30), [4, 7]))
    np.testing.assert_allclose(twice.gradient(), weighted.gradient(), atol=1e-14)
    assert twice.value() == pytest.approx(weighted.value(), rel=1e-13)
    np.testing.assert_allclose(
        curvature_of(twice).dense(), curvature_of(weighted).dense(), atol=1e-14
    )


@pytest.mark.parametrize("kind", ["sum", "mean", "count"])
def test_the_penalty_follows_the_weights_as_the_kind_says(kind):
    X = problems.rows(30)
    y = problems.numbers(X)
    model = type("OtherRidge", (RidgeModel,), {"kind": kind})(Ridge().fit(X, y))
    check_model(model, X, y)
    whole = Objective.at_fit(model, X, model.targets(y), np.ones(30))
    weight = np.ones(30)
    weight[:12] = [0.0] * 6 + [0.5] * 6
    part = whole.reweighted(weight)
    # 24 rows are left, with a weight of 21.
    share = {"sum": 1.0, "mean": 21 / 30, "count": 24 / 30}[kind]
    np.testing.assert_allclose(part.l2, share * whole.l2)
    penalty = share * whole.l2 * model.theta
    data = model.vjp(X, weight[:, None] * part.residual) / 30
    np.testing.assert_allclose(part.gradient(), data + penalty, atol=1e-15)
    # What the rows of half weight hold: their whole share, if rows are counted.
    moving = np.where(weight == 0.5, 0.5, 0.0)
    taken = {"sum": 0.0, "mean": 3 / 30, "count": 6 / 30}[kind]
    data = model.vjp(X, moving[:, None] * part.residual) / 30
    np.testing.assert_allclose(
        part.weighted_gradient(moving),
        data + taken * whole.l2 * model.theta,
        atol=1e-15,
    )


@pytest.mark.parametrize("labels", [[0, 1], [1, 2], [-1, 1], ["b", "a"], [True, False]])
@pytest.mark.parametrize("cls", [LogisticRegression, MLPClassifier])
def test_label_encodings_give_the_same_objective(cls, labels):
    X = problems.rows(30)
    code = problems.classes(X, 2, labels=[0, 1])
    estimator = cls(random_state=0, max_iter=30)
    order = np.argsort(labels)
    reference = problems.objective_of(estimator.fit(X, order[code]), X, order[code])
    theta = reference.model.theta
    y = np.asarray(labels)[code]
    other = problems.objective_of(estimator.fit(X, y), X, y)
    np.testing.assert_array_equal(other.model.classes, np.sort(labels))
    assert other.at(theta).value() == pytest.approx(reference.value(), rel=1e-12)


def test_unknown_labels_and_targets_that_are_no_numbers():
    X = problems.rows()
    y = problems.classes(X, 2)
    model = adapt(LogisticRegression().fit(X, y))
    with pytest.raises(ValueError, match="does not know.*'maybe'"):
        model.targets(np.where(np.arange(len(y)) == 3, "maybe", y))
    assert model.targets(y[:, None]).shape == (len(y),)
    model = adapt(Ridge().fit(X, problems.numbers(X)))
    with pytest.raises(ValueError, match="NaN"):
        model.targets(np.full(len(X), np.nan))
    with pytest.raises(ValueError, match="2 columns"):
        model.targets(np.zeros((len(X), 2)))


def test_blocks_of_rows_make_no_difference(monkeypatch):
    X = problems.rows(40)
    y = problems.classes(X, 3)
    for estimator in (LogisticRegression(), MLPClassifier((4,), max_iter=3)):
        whole = problems.objective_of(estimator.fit(X, y), X, y)
        matrix, gradient = curvature_of(whole).dense(), whole.gradient()

        def seven(n, row_bytes, budget=0):
            return (slice(i, min(i + 7, n)) for i in range(0, n, 7))

        with monkeypatch.context() as patch:
            patch.setattr(rows_module, "blocks", seven)
            parts = problems.objective_of(estimator, X, y)
            np.testing.assert_allclose(parts.gradient(), gradient, atol=1e-15)
            np.testing.assert_allclose(curvature_of(parts).dense(), matrix, atol=1e-14)
            check_model(estimator, X, y)


# -- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "task", "match"),
    [
        (Lasso(positive=True), "regression", "positive=True"),
        (LinearSVC(loss="hinge"), "binary", "squared_hinge"),
        (LinearSVC(penalty="l1", dual=False), "binary", "penalty='l2'"),
        (LinearSVC(multi_class="crammer_singer"), "multiclass", "multi_class='ovr'"),
        (LinearSVR(), "regression", "squared_epsilon_insensitive"),
        (SGDClassifier(), "binary", "squared_hinge"),
        (SGDClassifier("log_loss", penalty="l1"), "binary", "L1"),
        (SGDRegressor(early_stopping=True), "regression", "early_stopping"),
        (SGDRegressor("epsilon_insensitive"), "regression", "kinks"),
        (OneVsRestClassifier(MLPClassifier((2,))), "multiclass", "linear classifier"),
        (OneVsRestClassifier(Perceptron()), "multiclass", "perceptron loss"),
        (
            OneVsRestClassifier(make_pipeline(LogisticRegression())),
            "multiclass",
            "steps of a Pipeline",
        ),
        (Perceptron(), "binary", "SGDClassifier"),
        (QuantileRegressor(), "regression", "HuberRegressor"),
        (CalibratedClassifierCV(LogisticRegression()), "binary", "calibrate"),
        (SVC(), "binary", "LinearSVC"),
        (SVR(), "regression", "LinearSVR"),
        (TweedieRegressor(power=3), "positive", "no convex"),
        (Ridge(positive=True), "regression", "positive=True"),
        (LinearRegression(positive=True), "regression", "positive=True"),
        (MLPClassifier((3,), early_stopping=True), "binary", "early_stopping"),
        (RandomForestClassifier(3), "binary", "RandomForestClassifier"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_models_without_smooth_objective_are_refused(estimator, task, match):
    X = problems.rows(60)
    y = problems.TARGETS[task](X)
    if getattr(estimator, "early_stopping", False):
        # Its validation score cannot take labels that are strings before 1.8.
        y = np.unique(y, return_inverse=True)[1]
    supported, reason = supports(estimator)
    assert not supported and re.search(match, reason)
    estimator.fit(X, y)
    with pytest.raises(NotDifferentiableError, match=match):
        adapt(estimator)
    assert supports(estimator) == (False, reason)


def test_a_class_of_the_user_finds_the_adapter_that_it_extends():
    class MyRidge(Ridge):
        pass

    assert find_adapter(MyRidge()) is find_adapter(Ridge())


# -- an adapter of the user's own ------------------------------------------------------


class ExponentialModel(BaseModel):
    """Poisson regression, by nothing but what `BaseModel` calls abstract."""

    convex = True
    n_outputs = 1
    loss = PoissonLoss()

    def _read(self):
        return [self.estimator.coef_]

    def _write(self, estimator, theta):
        estimator.coef_ = theta.copy()

    def _check_rows(self, X):
        return np.asarray(X, dtype=float)

    def ridge(self, total_weight, n_rows):
        return np.full(self.n_parameters, 1.0 / total_weight)

    def raw(self, X):
        return self.jvp(X, self.theta)

    def jvp(self, X, V):
        return X @ V[:, None] if V.ndim == 1 else (X @ V)[:, None, :]

    def vjp(self, X, u):
        return X.T @ u[:, 0]

    def input_vjp(self, X, u):
        return u * self.theta

    def gradients(self, X, u):
        return X * u


class Exponential(Ridge):
    """Its fit minimises sum_i w_i l_i + 1/2 ||coef||^2 by Newton's method."""

    def fit(self, X, y, sample_weight=None):
        super().fit(X, np.log1p(y), sample_weight)
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        self.coef_ = np.zeros(X.shape[1])
        for _ in range(50):
            mean = np.exp(X @ self.coef_)
            gradient = X.T @ (weight * (mean - y)) + self.coef_
            hessian = (X.T * (weight * mean)) @ X + np.eye(X.shape[1])
            self.coef_ = self.coef_ - np.linalg.solve(hessian, gradient)
        return self

    def predict(self, X):
        return np.exp(X @ self.coef_)


def test_an_adapter_needs_the_abstract_methods_only():
    X = problems.rows()
    y = problems.counts(X)
    weight = problems.weights(len(X))
    model = ExponentialModel(Exponential().fit(X, y, weight))
    check_model(model, X, y, sample_weight=weight, stationary=1e-10)
    objective = Objective.at_fit(model, X, model.targets(y), weight)
    hessian = curvature_of(objective, "auto")
    mean = np.exp(X @ model.theta)
    expected = (X.T * (weight * mean)) @ X + np.eye(3)
    np.testing.assert_allclose(hessian.dense(), expected / weight.sum(), rtol=1e-12)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_one_pass_there_and_back_is_a_pass_each_way(container):
    X = problems.rows(700, 4)
    y = problems.TARGETS["multiclass"](X)
    model = adapt(LogisticRegression().fit(X, y))
    V = np.random.default_rng(0).standard_normal((model.n_parameters, 2))

    def bent(forward, block):
        return np.sin(forward) * problems.weights(len(X))[block, None, None]

    found = model.there_and_back(container(X), bent, V)
    expected = BaseModel.there_and_back(model, X, bent, V)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
