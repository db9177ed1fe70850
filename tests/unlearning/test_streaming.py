"""StreamingRemoval: against refits, closed forms, plain numpy, and its own bound."""

import copy

import numpy as np
import pytest
from scipy import linalg, sparse
from scipy.special import expit
from sklearn.datasets import load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skpuma.models import adapt
from skpuma.unlearning import StreamingRemoval
from skpuma.unlearning._downdating import _excess, concordance
from tests.data import (
    TIGHT,
    blobs,
    breast_cancer,
    diabetes,
    digits,
    frame,
    frozen,
    snapshot,
)

GLM = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}


def theta(model):
    """All coefficients and intercepts of an estimator or a system."""
    return np.append(np.ravel(model.coef_), np.ravel(model.intercept_))


def far(model, other):
    """Distance relative to the norm of the parameters, as ``tol`` has it."""
    return np.linalg.norm(theta(model) - theta(other)) / np.linalg.norm(theta(other))


def refitted(model, X, y, rows):
    kept = np.setdiff1d(np.arange(len(y)), rows)
    return copy.deepcopy(model).fit(X[kept], y[kept])


def counts():
    X, y = diabetes()
    return frozen(X, np.random.default_rng(0).poisson(np.exp(0.3 * y)).astype(float))


def positive():
    X, y = diabetes()
    return frozen(X, np.exp(0.4 * y) + 0.1)


def several_targets():
    X, y = diabetes()
    return frozen(X, np.column_stack([y, np.square(y), np.sin(y)]))


def wide():
    X, y = np.random.default_rng(0).standard_normal((40, 60)), np.arange(40) % 2
    return frozen(X, y)


def duplicates():
    X, y = blobs(60)
    return frozen(np.repeat(X, 3, axis=0), np.repeat(y, 3))


def leverage():
    """A few rows that are a hundred times as long as the others."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5))
    X[:5] *= 100.0
    return frozen(X, (X[:, 0] + rng.standard_normal(300) > 0).astype(int))


def wine():
    return frozen(*load_wine(return_X_y=True))


L2 = LogisticRegression(**TIGHT)
CASES = {
    "least squares": (LinearRegression(), diabetes),
    "ridge": (Ridge(3.0), diabetes),
    "ridge without intercept": (Ridge(3.0, fit_intercept=False), diabetes),
    "ridge, several targets": (Ridge([1.0, 2.0, 5.0]), several_targets),
    "ridge, wide": (Ridge(1.0), lambda: frozen(wide()[0], wide()[0][:, 0] ** 2)),
    "logistic": (L2, breast_cancer),
    "logistic, weak": (LogisticRegression(C=100.0, **TIGHT), lambda: blobs(400)),
    "logistic, no penalty": (LogisticRegression(C=1e12, **TIGHT), lambda: blobs(400)),
    "logistic, wide": (L2, wide),
    "logistic, duplicates": (L2, duplicates),
    "logistic, leverage": (L2, leverage),
    "softmax": (L2, lambda: digits(3, 300)),
    "softmax without intercept": (
        LogisticRegression(fit_intercept=False, **TIGHT),
        lambda: blobs(200, k=4),
    ),
    "one against the rest": (OneVsRestClassifier(L2), lambda: blobs(200, k=3)),
    "ridge classifier": (RidgeClassifier(), lambda: blobs(200, k=3)),
    "poisson": (PoissonRegressor(alpha=0.1, **GLM), counts),
    "gamma": (GammaRegressor(alpha=0.1, **GLM), positive),
    "tweedie": (TweedieRegressor(power=1.5, alpha=0.01, **GLM), positive),
    "normal": (TweedieRegressor(power=0, alpha=0.1, **GLM), diabetes),
}
each_case = pytest.mark.parametrize("case", CASES)
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def case_of(case):
    model, make = CASES[case]
    X, y = make()
    rows = np.random.default_rng(1).permutation(len(y))[: len(y) // 8]
    return model, X, y, rows


def parameters(model):
    """As `theta`, also of a OneVsRestClassifier."""
    parts = getattr(model, "estimators_", [getattr(model, "estimator_", model)])
    parts = getattr(parts[0], "estimators_", parts)
    return np.concatenate([theta(part) for part in parts])


# -- against refits --------------------------------------------------------------------


@each_case
def test_forgotten_rows_leave_the_refit(case):
    model, X, y, rows = case_of(case)
    system = StreamingRemoval(model).fit(X, y)
    before = parameters(system)
    refit = parameters(refitted(model, X, y, rows))
    after = parameters(system.forget(X, y, rows))
    size = np.linalg.norm(refit)
    assert np.linalg.norm(after - refit) <= 1e-6 * size
    change, asked = after - before, refit - before
    assert abs(change @ asked / (asked @ asked) - 1.0) < 1e-4
    assert system.distance_bound_ <= 1e-6
    assert len(system.bounds_) == len(rows)
    assert system.bounds_[-1] == system.distance_bound_


@each_case
def test_every_model_of_the_stream_is_near_its_refit(case):
    model, X, y, rows = case_of(case)
    rows = rows[:12]
    system = StreamingRemoval(model, tol_between=1e-3).fit(X, y)
    models = list(system.stream(X, y, rows))
    assert len(models) == len(system.bounds_) == len(rows)
    assert (system.bounds_ <= 1e-3).all() and system.bounds_[-1] <= 1e-6
    for m, (found, bound) in enumerate(zip(models, system.bounds_, strict=True), 1):
        refit = parameters(refitted(model, X, y, rows[:m]))
        distance = np.linalg.norm(parameters(found) - refit) / np.linalg.norm(refit)
        # A refit by scikit-learn is itself some 1e-10 off.
        assert distance <= bound * (1.0 + 2e-3) + 1e-9
    np.testing.assert_allclose(parameters(models[-1]), parameters(system), rtol=1e-9)


def test_least_squares_is_leave_one_out_in_closed_form():
    X, y = diabetes()
    wide_X = np.column_stack([X, np.ones(len(X))])
    inverse = np.linalg.inv(wide_X.T @ wide_X)
    full = inverse @ wide_X.T @ y
    error = y - wide_X @ full
    h = np.einsum("ij,jk,ik->i", wide_X, inverse, wide_X)
    fitted = StreamingRemoval(LinearRegression()).fit(X, y)
    for j in (0, 7, 400):
        system = copy.copy(fitted).forget(X, y, [j])
        expected = full - inverse @ wide_X[j] * error[j] / (1.0 - h[j])
        np.testing.assert_allclose(theta(system), expected, atol=1e-12)
        assert system.n_corrections_ == 1 and system.cost_ == 1.0


def test_half_of_the_rows():
    X, y = breast_cancer()
    system = StreamingRemoval(L2).fit(X, y).forget(X, y, range(1, 569, 2))
    assert far(system, L2.fit(X[::2], y[::2])) <= 1e-6


@pytest.mark.parametrize("weight", ["balanced", {0: 5.0, 1: 0.2}])
def test_class_weights_stay_those_of_the_fit(weight):
    X, y = breast_cancer()
    model = LogisticRegression(class_weight=weight, **TIGHT)
    system = StreamingRemoval(model).fit(X, y).forget(X, y, range(40))
    by_class = weight
    if weight == "balanced":
        by_class = dict(enumerate(len(y) / (2 * np.bincount(y))))
    again = LogisticRegression(class_weight=by_class, **TIGHT).fit(X[40:], y[40:])
    assert far(system, again) <= 1e-6


@pytest.mark.parametrize("labels", [[1, 2], [-1, 1], ["b", "a"], [True, False]])
def test_labels_of_any_kind(labels):
    X, y = blobs(200)
    names = np.array(labels)[y]
    system = StreamingRemoval(L2).fit(X, names).forget(X, names, range(20))
    assert far(system, L2.fit(X[20:], names[20:])) <= 1e-6
    assert set(system.predict(X)) == set(names.tolist())


@pytest.mark.parametrize("model", [L2, Ridge(), PoissonRegressor(**GLM)], ids=str)
def test_sparse_rows_are_dense_rows(model):
    X, y = counts()
    y = (y > 1).astype(int) if model is L2 else y
    X = np.where(X > 0.2, X, 0.0)
    dense = StreamingRemoval(model).fit(X, y).forget(X, y, range(50))
    for make in (sparse.csr_array, sparse.csc_matrix):
        system = StreamingRemoval(model).fit(make(X), y).forget(make(X), y, range(50))
        np.testing.assert_allclose(theta(system), theta(dense), rtol=1e-9, atol=1e-12)
    assert far(dense, refitted(model, X, y, range(50))) <= 1e-6


def test_single_precision():
    X, y = blobs(200)
    X = X.astype(np.float32)
    system = StreamingRemoval().fit(X, y).forget(X, y, range(20))
    assert far(system, L2.fit(X[20:].astype(float), y[20:])) <= 1e-6


def test_pipelines_keep_their_preprocessing():
    X, y = breast_cancer()
    X = X * 7.0 + 3.0
    system = StreamingRemoval(make_pipeline(StandardScaler(), L2)).fit(X, y)
    scaler = system.estimator_[0]
    system.forget(X, y, range(60))
    assert far(system, L2.fit(scaler.transform(X[60:]), y[60:])) <= 1e-6


def test_a_frozen_estimator_is_not_fitted_again():
    X, y = breast_cancer()
    model = LogisticRegression(**TIGHT).fit(X, y)
    before = snapshot(model)
    system = StreamingRemoval(FrozenEstimator(model)).fit(X, y).forget(X, y, [3])
    assert far(system, refitted(L2, X, y, [3])) <= 1e-6
    assert snapshot(model) == before


def test_a_loose_fit_is_corrected():
    X, y = breast_cancer()
    loose = LogisticRegression(max_iter=3)
    with pytest.warns(UserWarning, match="converge"):
        system = StreamingRemoval(loose).fit(X, y)
    assert far(system, L2.fit(X, y)) <= 1e-6
    assert system.n_corrections_ > 1


# -- the bound -------------------------------------------------------------------------


def problem(rng):
    """Random rows of random shape and scale, with a logistic model."""
    n, d, k = rng.integers(30, 200), rng.integers(1, 12), rng.integers(2, 5)
    X = rng.standard_normal((n, d)) * np.exp(rng.normal(0.0, 2.0, d))
    X[: n // 10] *= 10.0 ** rng.uniform(0.0, 2.0)
    y = np.argmax(X[:, :1] * rng.standard_normal(k) + rng.gumbel(size=(n, k)), axis=1)
    return X, np.unique(y, return_inverse=True)[1], 10.0 ** rng.uniform(-2.0, 3.0)


@pytest.mark.parametrize("seed", range(40))
def test_no_model_is_farther_from_its_refit_than_its_bound(seed):
    rng = np.random.default_rng(seed)
    X, y, C = problem(rng)
    model = LogisticRegression(C=C, **TIGHT)
    # No correction, so that the bound is large.
    system = StreamingRemoval(model, tol=1e3, tol_between=1e3).fit(X, y)
    counts_left = np.bincount(y)
    rows = [j for j in rng.permutation(len(y)) if counts_left[y[j]] > 5][:10]
    models = list(system.stream(X, y, rows))
    for m in (1, 4, 10):
        if m > len(rows):
            continue
        refit = refitted(model, X, y, rows[:m])
        size = np.linalg.norm(theta(models[m - 1]))
        distance = np.linalg.norm(theta(models[m - 1]) - theta(refit)) / size
        assert distance <= system.bounds_[m - 1] * (1.0 + 1e-6) + 1e-9


def test_bound_is_quadratic_in_what_has_gone_and_of_use():
    X, y = blobs(20_000, d=5)
    system = StreamingRemoval(L2, tol_between=1.0, tol=1.0).fit(X, y)
    before = theta(system)
    bounds, moved = {}, {}
    models = list(system.stream(X, y, np.flatnonzero(y)[:200]))
    for m in (50, 100, 200):
        gone = np.flatnonzero(y)[:m]
        bounds[m] = system.bounds_[m - 1]
        error = far(models[m - 1], refitted(L2, X, y, gone))
        assert 0.0 < error <= bounds[m] < 40.0 * error
        moved[m] = np.linalg.norm(theta(models[m - 1]) - before)
    for m in (100, 200):
        grown = bounds[m] / bounds[50] / (moved[m] / moved[50]) ** 2
        assert 0.7 < grown < 1.4


@pytest.mark.parametrize("seed", range(4))
def test_gradient_that_is_left_is_within_the_step_of_the_notes(seed):
    rng = np.random.default_rng(seed)
    X, y = blobs(150, seed=seed)
    A = np.column_stack([X, np.ones(len(X))])
    penalty = np.diag([1.0] * 4 + [0.0])
    w = theta(L2.fit(X, y))
    kept = np.sort(rng.permutation(150)[15:])
    A, y = A[kept], y[kept]
    p = expit(A @ w)
    H = (A.T * (p * (1 - p))) @ A + penalty
    s = -np.linalg.solve(H, A.T @ (p - y) + penalty @ w)
    left = A.T @ (expit(A @ (w + s)) - y) + penalty @ (w + s)
    size = np.sqrt(left @ np.linalg.solve(H, left))
    tau = np.abs(A @ s).max()
    assert size <= _excess(tau) * np.sqrt(s @ H @ s)
    system = StreamingRemoval(L2, tol=1e3, tol_between=1e3)
    system.fit(*blobs(150, seed=seed))
    system.forget(*blobs(150, seed=seed), np.setdiff1d(np.arange(150), kept))
    np.testing.assert_allclose(theta(system), w + s, rtol=1e-8)


LOSSES = ["logistic", "softmax", "one against the rest", "poisson", "gamma", "tweedie"]


@pytest.mark.parametrize("case", LOSSES)
def test_curvature_changes_by_no_more_than_its_factor(case):
    model, X, y, _ = case_of(case)
    adapted = adapt(copy.deepcopy(model).fit(X, y))
    loss, rng = adapted.loss, np.random.default_rng(0)
    z = rng.normal(0.0, 3.0, (200, adapted.n_outputs))
    v = rng.standard_normal(z.shape)
    change = np.ptp(v, axis=1) if case == "softmax" else np.abs(v).max(axis=1)
    codes = adapted.targets(y)[rng.integers(0, len(y), 200)]
    before, after = loss.hessian(z, codes), loss.hessian(z + v, codes)
    factor = np.exp(concordance(loss) * change)[:, None, None]
    scale = 1e-10 * (np.abs(after) + np.abs(before)).max()
    assert np.linalg.eigvalsh(factor * before - after).min() > -scale
    assert np.linalg.eigvalsh(factor * after - before).min() > -scale


# -- requests --------------------------------------------------------------------------


ORDERED = ["logistic", "softmax without intercept", "poisson", "ridge"]


@pytest.mark.parametrize("case", ORDERED)
def test_order_of_requests_does_not_matter(case):
    model, X, y, rows = case_of(case)
    fitted = StreamingRemoval(model).fit(X, y)
    at_once = copy.copy(fitted).forget(X, y, rows)
    for order in (rows, rows[::-1]):
        system = copy.copy(fitted)
        for _ in system.stream(X, y, order):
            pass
        assert far(system, at_once) <= 1e-6
    one_by_one = copy.copy(fitted)
    for j in rows[:10]:
        one_by_one.forget(X, y, [j])
    one_by_one.forget(X, y, rows)
    assert far(one_by_one, at_once) <= 1e-6
    np.testing.assert_array_equal(one_by_one.forgotten_, at_once.forgotten_)


def test_few_corrections_for_many_requests():
    X, y = blobs(20_000, d=5)
    system = StreamingRemoval(tol_between=1e-3).fit(X, y)
    before = system.n_corrections_
    gone = np.random.default_rng(0).permutation(20_000)[:2000]
    system.forget(X, y, gone)
    passes = system.n_corrections_ - before
    assert passes <= 4
    assert 2000 < system.cost_ <= 2000 + 20_000 * passes
    assert far(system, refitted(L2, X, y, gone)) <= 1e-6


def test_a_request_costs_no_pass_where_the_bound_allows_it():
    X, y = blobs(20_000, d=5)
    system = StreamingRemoval().fit(X, y)
    before = system.n_corrections_
    system.forget(X, y, [17])
    assert system.cost_ == 1.0 and system.n_corrections_ == before
    assert far(system, refitted(L2, X, y, [17])) <= system.distance_bound_


def test_stream_takes_the_order_of_positions_and_labels():
    X, y = blobs(100)
    table = frame(X)
    fitted = StreamingRemoval(tol=1e-9).fit(table, y)
    first = refitted(L2, X, y, [70])
    labels = table.index[[70, 3]]
    for rows in (labels, labels.tolist()):
        models = list(copy.copy(fitted).stream(table, y, rows))
        assert far(models[0], first) <= 1e-4
    plain = StreamingRemoval().fit(X, y)
    mask = np.isin(np.arange(100), [70, 3])
    for rows, refit in (([70, 3], first), (mask, refitted(L2, X, y, [3]))):
        models = list(copy.copy(plain).stream(X, y, rows))
        assert far(models[0], refit) <= 1e-4


@pytest.mark.parametrize("taken", [1, 5, 64, 70])
def test_a_stream_that_is_left_early(taken):
    X, y = blobs(400)
    system = StreamingRemoval().fit(X, y)
    stream = system.stream(X, y, range(100))
    for _ in range(taken):
        model = next(stream)
        assert not system.forgotten_.any()
    stream.close()
    assert np.flatnonzero(system.forgotten_).tolist() == list(range(taken))
    assert len(system.bounds_) == taken and system.distance_bound_ <= 1e-6
    refit = L2.fit(X[taken:], y[taken:])
    assert far(system, refit) <= 1e-6 and far(model, refit) <= 1e-4
    system.forget(X, y, range(100))
    assert far(system, L2.fit(X[100:], y[100:])) <= 1e-6


def test_a_stream_that_is_not_begun_or_asks_for_nothing():
    X, y = blobs(100)
    system = StreamingRemoval().fit(X, y).forget(X, y, [3])
    before = snapshot(system)
    system.stream(X, y, [4]).close()
    assert list(system.stream(X, y, [])) == list(system.stream(X, y, [3])) == []
    assert snapshot(system) == before


def test_two_streams_at_once_are_refused():
    X, y = blobs(100)
    system = StreamingRemoval().fit(X, y)
    first, second = system.stream(X, y, [1, 2]), system.stream(X, y, [5])
    next(first)
    assert len(list(second)) == 1
    with pytest.raises(RuntimeError, match="close one iteration"):
        next(first)
        next(first)
    assert np.flatnonzero(system.forgotten_).tolist() == [5]


def test_models_of_a_stream_are_plain_and_their_own():
    X, y = blobs(100)
    first, second = StreamingRemoval(L2).fit(X, y).stream(X, y, [1, 2])
    assert type(first) is LogisticRegression
    assert not np.array_equal(first.coef_, second.coef_)


def test_storage_does_not_grow():
    X, y = blobs(400, d=6)
    system = StreamingRemoval().fit(X, y)
    before = system.storage_
    assert 3 * 8 * 7**2 <= before <= 5 * 8 * 7**2 + 8 * 10 * 7
    assert system.forget(X, y, range(150)).storage_ == before


# -- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator, match",
    [
        (LogisticRegression(l1_ratio=1.0, C=0.3, solver="saga"), "active set"),
        (Lasso(0.01), "active set"),
        (HuberRegressor(), "no bound on its curvature"),
        (LinearSVC(), "no bound on its curvature"),
        (MLPClassifier((3,), max_iter=5), "no bound on its curvature"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_models_that_are_refused(estimator, match):
    X, y = blobs(60)
    system = StreamingRemoval(estimator)
    with pytest.raises(TypeError, match=match):
        system.fit(X, y)
    assert not hasattr(system, "estimator_")


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"tol": 0.0}, "tol must be > 0"),
        ({"tol": np.nan}, "tol must be finite"),
        ({"tol": 1e-2, "tol_between": 1e-3}, "tol_between must be >= 0.01"),
    ],
)
def test_bad_parameters(settings, match):
    with pytest.raises(ValueError, match=match):
        StreamingRemoval(**settings).fit(*blobs(60))


def test_the_last_row_of_a_class():
    X, y = blobs(60, k=3)
    system = StreamingRemoval().fit(X, y).forget(X, y, np.flatnonzero(y == 2)[1:])
    before = snapshot(system)
    with pytest.raises(ValueError, match="No row of class 2 would be left"):
        system.stream(X, y, [1, 2])
    with pytest.raises(ValueError, match="No row of class 2 would be left"):
        system.forget(X, y, [2])
    assert snapshot(system) == before


def test_a_row_without_which_nothing_is_determined():
    X = np.eye(4)[np.arange(12) % 3]
    X[0, 3] = 1.0
    y = np.arange(12.0)
    model = LinearRegression(fit_intercept=False)
    system = StreamingRemoval(model).fit(X, y)
    before = snapshot(system)
    with pytest.raises(ValueError, match="do not determine one model"):
        system.forget(X, y, [5, 0])
    assert snapshot(system) == before
    stream = system.stream(X, y, [5, 0, 7])
    assert far(next(stream), refitted(model, X, y, [5])) <= 1e-9
    with pytest.raises(ValueError, match="do not determine one model"):
        next(stream)
    assert np.flatnonzero(system.forgotten_).tolist() == [5]


def test_classes_that_come_apart_without_a_penalty():
    X = np.linspace(-1.0, 1.0, 30)[:, None]
    y = (X[:, 0] > 0).astype(int)
    y[[3, 20]] = 1, 0
    system = StreamingRemoval(LogisticRegression(C=np.inf)).fit(X, y)
    before = snapshot(system)
    with pytest.raises(ValueError, match="do not determine one model"):
        system.forget(X, y, [3, 20])
    assert snapshot(system) == before


def test_fewer_rows_than_parameters():
    X, y = np.random.default_rng(0).standard_normal((5, 8)), np.arange(5.0)
    with pytest.raises(ValueError, match="do not determine one model"):
        StreamingRemoval(LinearRegression()).fit(X, y)


def test_down_to_the_last_rows():
    X, y = diabetes()
    X, y = X[:30, :3], np.exp(y[:30])
    model = PoissonRegressor(alpha=0.5, **GLM)
    system = StreamingRemoval(model).fit(X, y).forget(X, y, range(28))
    assert far(system, model.fit(X[28:], y[28:])) <= 1e-6
    assert np.isfinite(linalg.norm(theta(system)))
