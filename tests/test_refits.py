"""Every convex model against real refits: the effects of rows, and whole patches.

The refits are fits of the estimator on the rows that are left, taken to the optimum by
``tests.tight`` where its own solver stays off it.
"""

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.metrics import mean_tweedie_deviance
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC, LinearSVR

from skpuma import PumaPatcher, PumaValuator, refit
from skpuma.models import adapt
from skpuma.objective import Objective
from skpuma.utils.errors import (
    NotDifferentiableError,
    PatchWarning,
    StationarityWarning,
)
from tests.contracts import problems
from tests.tight import fitted

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

NEWTON = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}
EXACT = {"tol": 1e-14, "max_iter": 100_000}
SVR = {"loss": "squared_epsilon_insensitive", "epsilon": 0.1, "dual": False}
SGD = {"alpha": 0.01, "max_iter": 5, "tol": None, "random_state": 0}


def l1(ratio):
    """An L1 share; scikit-learn 1.8 replaced `penalty` by `l1_ratio`."""
    if LogisticRegression().penalty == "deprecated":
        return {"l1_ratio": ratio}
    if ratio == 1:
        return {"penalty": "l1"}
    return {"penalty": "elasticnet", "l1_ratio": ratio}


SMOOTH = [
    (LinearRegression(), "regression"),
    (LinearRegression(fit_intercept=False), "two outputs"),
    (Ridge(5.0), "regression"),
    (Ridge(5.0), "two outputs"),
    (RidgeCV(alphas=[5.0]), "regression"),
    (RidgeClassifier(5.0), "binary"),
    (RidgeClassifier(5.0), "multiclass"),
    (RidgeClassifier(5.0), "multilabel"),
    (RidgeClassifierCV(alphas=[5.0]), "binary"),
    (LogisticRegression(**NEWTON), "binary"),
    (LogisticRegression(**NEWTON), "multiclass"),
    (LogisticRegression(C=np.inf, **NEWTON), "multiclass"),
    (LogisticRegression(solver="liblinear", **EXACT), "binary"),
    (LogisticRegressionCV(Cs=[0.5], cv=2, **NEWTON), "binary"),
    (PoissonRegressor(alpha=0.1, **NEWTON), "counts"),
    (GammaRegressor(alpha=0.1, **NEWTON), "positive"),
    (TweedieRegressor(power=1.5, alpha=0.1, **NEWTON), "counts"),
    (LinearSVC(C=0.1, dual=False, **EXACT), "binary"),
    (LinearSVC(C=0.1, dual=False, **EXACT), "multiclass"),
    (LinearSVR(**SVR, **EXACT), "regression"),
    (HuberRegressor(), "regression"),
    (SGDClassifier("log_loss", **SGD), "binary"),
    (SGDClassifier("log_loss", **SGD), "multiclass"),
    (SGDClassifier("modified_huber", **SGD), "binary"),
    (SGDClassifier("squared_hinge", **SGD), "multiclass"),
    (SGDRegressor(**SGD), "regression"),
    (SGDRegressor("huber", epsilon=0.5, **SGD), "regression"),
    (SGDRegressor("squared_epsilon_insensitive", **SGD), "regression"),
    (OneVsRestClassifier(LogisticRegression(**NEWTON)), "multiclass"),
    (OneVsRestClassifier(RidgeClassifier()), "multilabel"),
]
SPARSE = [
    (Lasso(0.05, **EXACT), "regression"),
    (Lasso(0.05, **EXACT), "two outputs"),
    (ElasticNet(0.1, l1_ratio=0.5, **EXACT), "regression"),
    (LogisticRegression(C=0.1, solver="saga", **l1(1), **EXACT), "binary"),
    (LogisticRegression(C=0.1, solver="saga", **l1(0.5), **EXACT), "multiclass"),
]
try:
    from glum import GeneralizedLinearRegressor

    glum = GeneralizedLinearRegressor(family="poisson", alpha=0.1, gradient_tol=1e-13)
    SMOOTH.append((glum, "counts"))
except ImportError:
    pass


def named(cases):
    return [pytest.param(*case, id=f"{case[0]!r} {case[1]}") for case in cases]


def design(task, n=1000, d=5):
    X = problems.rows(2 * n, d)
    y = problems.TARGETS[task](X)
    return (X[:n], y[:n]), (X[n:], y[n:])


def cost(estimator, X, y):
    """Mean loss on validation rows, of the model's own kind."""
    model = adapt(estimator)
    z = model.raw(model.inputs(X))
    return model.loss.value(z, model.targets(y)).mean()


def parameters(estimator):
    """theta, without what a softmax does not see."""
    model = adapt(estimator)
    if getattr(model, "null_space", None) is None:
        return model.theta
    basis = model.null_space(model.ridge(1.0, 1))
    return model.theta if basis is None else model.theta - basis @ basis.T @ model.theta


def effects(estimator, task, effect):
    """Regression of refitted on predicted effects, for 30 rows over the ranking."""
    (X, y), (X_val, y_val) = design(task)
    whole = fitted(clone(estimator), X, y)
    valuator = PumaValuator(FrozenEstimator(whole), effect=effect)
    valuator.fit(X, y, X_val=X_val, y_val=y_val)
    predicted = valuator.removal_effect_[:, 0]
    chosen = np.argsort(predicted)[np.linspace(0, len(X) - 1, 30).astype(int)]
    before = cost(whole, X_val, y_val)
    refitted = []
    for row in chosen:
        keep = np.arange(len(X)) != row
        again = fitted(clone(estimator), X[keep], y[keep])
        refitted.append(cost(again, X_val, y_val) - before)
    return stats.linregress(predicted[chosen], refitted)


def patch_error(estimator, task, weighted):
    """Distance of a patch from the refit, and of the fit from it, relative to theta."""
    (X, y), _ = design(task, 300)
    weight = problems.weights(len(X)) if weighted else None
    whole = fitted(clone(estimator), X, y, weight)
    # Rows of weight 0 have nothing to take away, but an SGD model counts them.
    used = np.arange(len(X)) if weight is None else np.flatnonzero(weight)
    removed = np.zeros(len(X), dtype=bool)
    removed[np.random.default_rng(0).choice(used, 30, replace=False)] = True
    patcher = PumaPatcher(FrozenEstimator(whole), delta=np.inf, reweight=False)
    patcher.patch(X, y, remove=removed, sample_weight=weight)
    left = None if weight is None else weight[~removed]
    refitted = fitted(clone(estimator), X[~removed], y[~removed], left)
    target, size = parameters(refitted), np.linalg.norm(parameters(refitted))
    distance = np.linalg.norm(parameters(patcher.estimator_) - target) / size
    return distance, np.linalg.norm(parameters(whole) - target) / size


@pytest.mark.parametrize("effect", ["linear", "one_step"])
@pytest.mark.parametrize(("estimator", "task"), named(SMOOTH + SPARSE))
def test_effects_are_those_of_refits(estimator, task, effect):
    result = effects(estimator, task, effect)
    assert result.rvalue >= 0.99, result
    # The linear effect knows neither leverage nor the bend of C.
    slack = 0.05 if effect == "one_step" else 0.15
    assert abs(result.slope - 1.0) <= slack, result


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(("estimator", "task"), named(SMOOTH))
def test_a_patch_is_a_refit(estimator, task, weighted):
    distance, moved = patch_error(estimator, task, weighted)
    assert distance <= 1e-6
    assert moved >= 1e-4


@pytest.mark.parametrize(("estimator", "task"), named(SMOOTH + SPARSE))
def test_the_referee_of_check_influence_is_a_tight_fit(estimator, task):
    (X, y), _ = design(task, 200)
    whole = fitted(clone(estimator), X, y)
    model = adapt(whole)
    objective = Objective.at_fit(model, X, model.targets(y), np.ones(len(X)))
    again = refit.refit(objective)
    ours, theirs = again.raw(X), model.raw(X)
    np.testing.assert_allclose(ours, theirs, atol=2e-6 * np.abs(theirs).max())


@pytest.mark.parametrize(("estimator", "task"), named(SPARSE))
def test_a_patch_on_a_stable_active_set_is_a_refit(estimator, task):
    (X, y), _ = design(task, 300)
    whole = fitted(clone(estimator), X, y)
    removed = np.zeros(len(X), dtype=bool)
    removed[np.random.default_rng(3).choice(len(X), 3, replace=False)] = True
    refitted = fitted(clone(estimator), X[~removed], y[~removed])
    np.testing.assert_array_equal(whole.coef_ != 0, refitted.coef_ != 0)
    patcher = PumaPatcher(FrozenEstimator(whole), delta=np.inf, reweight=False)
    patcher.patch(X, y, remove=removed)
    ours, theirs = parameters(patcher.estimator_), parameters(refitted)
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


def test_a_patch_that_would_change_the_active_set_says_so():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 4))
    y = X[:, 0] + 0.1 * rng.standard_normal(80)
    # The second feature counts in the first ten rows only.
    y[:10] += 4.0 * X[:10, 1]
    estimator = Lasso(0.1, **EXACT).fit(X, y)
    assert estimator.coef_[1] != 0
    patcher = PumaPatcher(FrozenEstimator(estimator), delta=np.inf, reweight=False)
    with pytest.warns(PatchWarning, match="active set changes"):
        patcher.patch(X, y, remove=np.arange(80) < 10)
    refitted = clone(estimator).fit(X[10:], y[10:])
    assert refitted.coef_[1] == 0


@pytest.mark.parametrize(("estimator", "task"), named(SMOOTH))
def test_label_free_values_are_those_of_every_label(estimator, task):
    (X, y), (X_val, y_val) = design(task, 60)
    whole = clone(estimator).fit(X, y)
    valuator = PumaValuator(FrozenEstimator(whole)).fit(X, y, X_val=X_val, y_val=y_val)
    model = adapt(whole)
    names = valuator.get_feature_names_out()
    table = valuator.transform(X_val)
    assert table.shape == (60, len(names))
    if not (model.loss.affine or model.loss.classification):
        median = np.full(60, np.quantile(y, 0.5, method="inverted_cdf"))
        free = table[:, list(names).index(f"psi_{valuator.criterion_names_[0]}_q50")]
        np.testing.assert_allclose(free, valuator.valuate(X_val, median)[:, 0])
        return
    if model.classes is not None:
        code = model.targets(y_val)
        free = table[np.arange(60), code]
    else:
        free = table[:, 0] + (table[:, 1:] * model.targets(y_val)).sum(axis=1)
    np.testing.assert_allclose(free, valuator.valuate(X_val, y_val)[:, 0], atol=1e-9)


def test_an_intercept_that_enters_the_active_set_is_told():
    rng = np.random.default_rng(40)
    X = rng.standard_normal((120, 4))
    y = (X @ rng.standard_normal(4) + rng.logistic(size=120) > 0).astype(int)
    removed = rng.choice(120, 15, replace=False)
    keep = np.setdiff1d(np.arange(120), removed)
    model = LogisticRegression(solver="liblinear", C=0.3, **l1(1), **EXACT)
    assert clone(model).fit(X, y).intercept_ == 0
    assert clone(model).fit(X[keep], y[keep]).intercept_ != 0
    patcher = PumaPatcher(model, delta=np.inf, reweight=False).fit(X, y)
    with pytest.warns(PatchWarning, match="1 would enter"):
        patcher.patch(X, y, remove=removed)


def test_a_penalty_that_leaves_no_parameter_is_refused():
    (X, y), _ = design("regression", 60)
    patcher = PumaPatcher(Lasso(1e3, fit_intercept=False))
    with pytest.raises(NotDifferentiableError, match="every parameter to zero.*weaker"):
        patcher.fit(X, y)


def test_an_optimum_that_is_not_unique_is_told():
    X, y = problems.rows(12, 20), problems.numbers(problems.rows(12, 20))
    patcher = PumaPatcher(LinearRegression(), delta=np.inf, reweight=False).fit(X, y)
    with pytest.warns(StationarityWarning, match="not unique.*penalty"):
        patcher.patch(X, y, remove=[0])


def test_a_fit_that_stopped_far_from_its_optimum_is_told():
    (X, y), _ = design("binary", 200)
    loose = SGDClassifier("log_loss", alpha=1e-4, random_state=0).fit(X, y)
    patcher = PumaPatcher(FrozenEstimator(loose), delta=np.inf)
    with pytest.warns(StationarityWarning, match="solver stopped early.*smaller tol"):
        patcher.patch(X, y, remove=[0])


def test_the_loss_of_a_deviance_model_is_half_its_deviance():
    for estimator, task in (
        (PoissonRegressor(), "counts"),
        (TweedieRegressor(power=1.5), "counts"),
        (GammaRegressor(), "positive"),
    ):
        (X, y), _ = design(task, 200)
        power = getattr(estimator, "power", {"counts": 1, "positive": 2}[task])
        fit = estimator.fit(X, y)
        expected = 0.5 * mean_tweedie_deviance(y, fit.predict(X), power=power)
        assert cost(fit, X, y) == pytest.approx(expected, rel=1e-10)


def test_refits_of_a_network_start_where_it_is():
    (X, y), (X_val, y_val) = design("binary", 200)
    fixed = {"tol": 1e-12, "max_iter": 5000, "max_fun": 100_000, "random_state": 0}
    network = MLPClassifier((4,), "tanh", solver="lbfgs", alpha=2.0, **fixed).fit(X, y)
    keywords = {"curvature": "hessian", "damping": 0.0, "effect": "one_step"}
    valuator = PumaValuator(FrozenEstimator(network), **keywords)
    valuator.fit(X, y, X_val=X_val, y_val=y_val)
    check = valuator.check_influence(X, y, X_val=X_val, y_val=y_val, n_rows=10)
    assert check.pearson[0] > 0.98
    assert 0.8 < check.slope[0] < 1.25


def test_rows_that_would_change_the_active_set_are_told():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 4))
    y = X[:, 0] + 0.1 * rng.standard_normal(80)
    X[0], y[0] = [0.0, 4.0, 0.0, 0.0], 8.0  # alone it holds the second coefficient
    model = Lasso(0.1, **EXACT).fit(X, y)
    assert model.coef_[1] != 0 and clone(model).fit(X[1:], y[1:]).coef_[1] == 0
    valuator = PumaValuator(FrozenEstimator(model), effect="one_step")
    with pytest.warns(PatchWarning, match="active set"):
        valuator.fit(X, y, X_val=X[40:] + 0.1, y_val=y[40:])


def test_an_active_set_of_one_against_the_rest_is_watched():
    (X, y), _ = design("multiclass", 60)
    part = LogisticRegression(solver="liblinear", C=0.3, **l1(1), **EXACT)
    model = OneVsRestClassifier(part).fit(X, y)
    removed = np.arange(60) < 30
    refitted = clone(model).fit(X[~removed], y[~removed])
    before, after = (
        np.concatenate([one.coef_ != 0 for one in m.estimators_])
        for m in (model, refitted)
    )
    assert (before != after).any()
    patcher = PumaPatcher(FrozenEstimator(model), delta=np.inf, reweight=False)
    with pytest.warns(PatchWarning, match="active set changes"):
        patcher.patch(X, y, remove=removed)
