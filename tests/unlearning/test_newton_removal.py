"""NewtonRemoval: against refits, plain numpy, and its own promise."""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse, stats
from scipy.special import expit
from sklearn.datasets import load_wine
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpuma.unlearning import NewtonRemoval
from skpuma.utils.errors import PatchWarning
from tests.data import TIGHT, blobs, breast_cancer, diabetes, frame, mask_of, some

uncertified = pytest.mark.filterwarnings("ignore:sigma=0")


def wide(X):
    return np.column_stack([X, np.ones(len(X))])


def weights(system):
    """Weights (K, p) of every class, the intercept last."""
    parts = getattr(system.estimator_, "estimators_", [system.estimator_])
    return np.array(
        [[*np.ravel(one.coef_), *np.ravel(one.intercept_)] for one in parts]
    )


def codes(system, y):
    """Targets of 0 and 1 (K, n) of every class's problem."""
    classes = system.classes_
    return np.array([y == c for c in (classes if len(classes) > 2 else classes[1:])])


def gradients(system, X, y, C=1.0):
    """Gradients (K, p) of the summed objectives, without the random term."""
    A, W = wide(X), weights(system)
    return (expit(A @ W.T) - codes(system, y).T).T @ A + W / C


def refitted(X, y, C=1.0):
    """Weights (p,) of a binary problem whose intercept is penalised too."""
    model = LogisticRegression(C=C, fit_intercept=False, **TIGHT).fit(wide(X), y)
    return model.coef_[0]


def leverage(n=300):
    """A few rows that are a hundred times as long as the others."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 5))
    X[:5] *= 100.0
    return X, (X[:, 0] + rng.standard_normal(n) > 0).astype(int)


def short(n=400):
    """Rows of length 1, as the paper takes for granted."""
    X, y = blobs(n, d=6)
    return X / np.linalg.norm(wide(X), axis=1, keepdims=True) / 1.5, y


DATA = {
    "standardised": breast_cancer,
    "as they are": lambda: load_wine(return_X_y=True),
    "leverage": leverage,
    "length 1": short,
    "three classes": lambda: blobs(150, k=3),
    "few rows": lambda: blobs(12, d=20),
}
each_data = pytest.mark.parametrize("data", DATA)


@uncertified
@parametrize_with_checks(
    # Beside those of `test_contract`.
    [
        NewtonRemoval(sigma=0.0),
        NewtonRemoval(LogisticRegression(fit_intercept=False)),
    ]
)
def test_common_checks(estimator, check):
    check(estimator)


# -- training --------------------------------------------------------------------------


@uncertified
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_trained_to_the_optimum(C):
    X, y = breast_cancer()
    system = NewtonRemoval(LogisticRegression(C=C), sigma=0.0).fit(X, y)
    np.testing.assert_allclose(weights(system)[0], refitted(X, y, C), atol=1e-9)
    assert np.linalg.norm(gradients(system, X, y, C)) < 1e-10
    assert system.residual_ < 1e-10


@uncertified
def test_scaled_intercept_is_that_of_liblinear():
    X, y = breast_cancer()
    model = LogisticRegression(
        solver="liblinear", intercept_scaling=7.0, tol=1e-10, max_iter=1000
    )
    system = NewtonRemoval(model, sigma=0.0).fit(X, y)
    np.testing.assert_allclose(system.coef_, model.fit(X, y).coef_, atol=1e-6)


@uncertified
def test_without_an_intercept():
    X, y = breast_cancer()
    model = LogisticRegression(fit_intercept=False, **TIGHT)
    system = NewtonRemoval(model, sigma=0.0).fit(X, y)
    np.testing.assert_allclose(system.coef_, model.fit(X, y).coef_, atol=1e-9)
    assert system.intercept_ == 0.0


@uncertified
def test_three_classes_are_learnt_one_against_the_rest():
    X, y = blobs(90, k=3)
    system = NewtonRemoval(sigma=0.0).fit(X, y)
    assert type(system.estimator_) is OneVsRestClassifier
    for k, found in enumerate(weights(system)):
        np.testing.assert_allclose(found, refitted(X, y == k), atol=1e-9)
    assert system.predict_proba(X).shape == (90, 3)


@pytest.mark.parametrize("sigma", [0.5, 20.0])
def test_random_term_has_the_deviation_that_was_asked_for(sigma):
    X, y = np.random.default_rng(0).standard_normal((60, 400)), np.arange(60) % 2
    system = NewtonRemoval(sigma=sigma, random_state=0).fit(X, y)
    drawn = -gradients(system, X, y)[0]
    assert abs(drawn.std() / sigma - 1.0) < 0.1
    assert abs(drawn.mean()) < 4.0 * sigma / np.sqrt(len(drawn))


def test_random_term_does_not_depend_on_the_rows():
    X, y = blobs(80)
    first = NewtonRemoval(random_state=3).fit(X, y)
    second = NewtonRemoval(random_state=3).fit(X[:50], y[:50])
    other = NewtonRemoval(random_state=4).fit(X, y)
    drawn = gradients(first, X, y)
    np.testing.assert_allclose(gradients(second, X[:50], y[:50]), drawn, atol=1e-9)
    assert np.abs(gradients(other, X, y) - drawn).max() > 0.1


def test_classes_have_random_terms_of_their_own():
    X, y = blobs(90, k=3)
    drawn = gradients(NewtonRemoval(random_state=0).fit(X, y), X, y)
    assert np.linalg.matrix_rank(drawn) == 3


# -- removal against a refit -----------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("share", [0.002, 0.05, 0.5])
def test_ridge_is_the_refit(share, fit_intercept):
    X, y = diabetes()
    model = Ridge(2.0, fit_intercept=fit_intercept)
    gone = some(len(y), share)
    system = NewtonRemoval(model).fit(X, y).forget(X, y, gone)
    model.fit(X[~gone], y[~gone])
    np.testing.assert_allclose(system.coef_, model.coef_, atol=1e-10)
    np.testing.assert_allclose(system.intercept_, model.intercept_, atol=1e-10)
    assert system.certified_ and system.budget_ == np.inf


def test_ridge_row_by_row_and_of_several_targets():
    X, y = diabetes()
    y = np.column_stack([y, y**2])
    system = NewtonRemoval(Ridge()).fit(X, y)
    for row in range(20):
        system.forget(X, y, [row])
    np.testing.assert_allclose(
        system.coef_, Ridge().fit(X[20:], y[20:]).coef_, atol=1e-10
    )
    assert system.residual_ <= system.residual_bound_ < 1e-8


@uncertified
def test_error_is_quadratic_in_the_step():
    X, y = blobs(2000, d=5)
    start = NewtonRemoval(sigma=0.0).fit(X, y)
    order = np.random.default_rng(0).permutation(len(y))
    steps, errors = [], []
    for size in (4, 8, 16, 32, 64, 128):
        gone = mask_of(len(y), order[:size])
        system = copy.copy(start).forget(X, y, gone)
        exact = refitted(X[~gone], y[~gone])
        steps.append(np.linalg.norm(weights(system) - weights(start)))
        errors.append(np.linalg.norm(weights(system) - exact))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 1.7 < slope < 2.3
    # One step is most of the way.
    assert max(np.array(errors) / steps) < 0.1


def test_perturbed_removal_approaches_the_refit_with_the_same_random_term():
    X, y = blobs(500, d=5)
    gone = some(500, 0.01)
    system = NewtonRemoval(random_state=0, exhausted="raise").fit(X, y)
    away = weights(system).copy()
    again = NewtonRemoval(random_state=0).fit(X[~gone], y[~gone])
    system.forget(X, y, gone)
    left = np.linalg.norm(weights(system) - weights(again))
    assert left < 0.05 * np.linalg.norm(away - weights(again))


# -- the bound -------------------------------------------------------------------------


@each_data
@pytest.mark.parametrize("sigma", [0.0, 1.0])
@uncertified
def test_residual_is_within_its_bound(data, sigma):
    X, y = DATA[data]()
    fitted = NewtonRemoval(sigma=sigma, exhausted="warn", random_state=0).fit(X, y)
    drawn = -gradients(fitted, X, y)
    rng = np.random.default_rng(0)
    assert fitted.residual_ <= fitted.residual_bound_
    for size in (1, 1, 1, 2, len(y) // 4):
        gone = mask_of(len(y), rng.choice(len(y), size, replace=False))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("skpuma.unlearning._newton_removal.warn", lambda *_: None)
            system = copy.copy(fitted).forget(X, y, gone)
        left = gradients(system, X[~gone], y[~gone]) + drawn
        # b is known here up to the rounding of the fit only.
        assert system.residual_ == pytest.approx(np.linalg.norm(left), abs=1e-7)
        assert system.residual_ <= system.residual_bound_


@uncertified
def test_residual_stays_within_the_bound_over_many_removals():
    X, y = blobs(400, d=3, k=3)
    system = NewtonRemoval(sigma=0.0).fit(X, y)
    bounds = []
    for row in range(60):
        system.forget(X, y, [row])
        assert system.residual_ <= system.residual_bound_
        bounds.append(system.residual_bound_)
    assert (np.diff(bounds) > 0).all()
    assert system.residual_ == pytest.approx(
        np.linalg.norm(gradients(system, X[60:], y[60:])), rel=1e-6
    )


@each_data
@uncertified
def test_bound_is_the_formula(data):
    X, y = DATA[data]()
    before = NewtonRemoval(sigma=0.0).fit(X, y)
    gone = mask_of(len(y), [0, 3])
    after = copy.copy(before).forget(X, y, gone)
    A, step = wide(X[~gone]), weights(after) - weights(before)
    squares = [np.linalg.norm((A @ s) ** 2) for s in step]
    expected = 0.5 * 6**-1 * 3**-0.5 * np.linalg.norm(wide(X), 2)
    added = after.residual_bound_ - before.residual_bound_
    assert added == pytest.approx(
        expected * np.linalg.norm(squares), rel=1e-4, abs=1e-7
    )


@uncertified
def test_bound_is_below_that_of_the_paper():
    X, y = short()
    assert np.linalg.norm(wide(X), axis=1).max() > 1.0
    X = X / 2.0
    model = LogisticRegression(fit_intercept=False)
    before = NewtonRemoval(model, sigma=0.0).fit(X, y)
    after = copy.copy(before).forget(X, y, [0, 1, 2])
    step = weights(after)[0, :-1] - weights(before)[0, :-1]
    paper = 0.25 * np.linalg.norm(X[3:], 2) * np.linalg.norm(step)
    paper *= np.linalg.norm(X[3:] @ step)
    assert after.residual_bound_ - before.residual_bound_ < 0.2 * paper


@uncertified
def test_batch_takes_the_square_of_its_rows():
    X, y = blobs(2000, d=3)
    # Copies of one row, so that all steps are alike.
    X, y = np.vstack([X, np.repeat(X[:1], 16, axis=0)]), np.append(y, [y[0]] * 16)
    start = NewtonRemoval(sigma=0.0).fit(X, y)
    rows = np.arange(2000, 2016)
    batch = copy.copy(start).forget(X, y, rows).residual_bound_
    single = copy.copy(start)
    for row in rows:
        single.forget(X, y, [row])
    assert 13.0 < batch / single.residual_bound_ < 19.0


# -- the budget ------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon, delta, sigma", [(1.0, 1e-4, 1.0), (0.3, 0.01, 5.0)])
def test_budget(epsilon, delta, sigma):
    X, y = blobs(60)
    system = NewtonRemoval(epsilon=epsilon, delta=delta, sigma=sigma).fit(X, y)
    c = system.sigma * epsilon / system.budget_
    assert 1.5 * np.exp(-(c**2) / 2.0) == pytest.approx(delta)
    assert system.certified_


@pytest.mark.parametrize("delta", [1e-6, 1e-4, 0.01, 0.3])
@pytest.mark.parametrize("epsilon", [0.01, 1.0, 5.0, 10.0, 50.0])
def test_noise_hides_a_shift_of_the_budget(epsilon, delta):
    X, y = blobs(60)
    system = NewtonRemoval(epsilon=epsilon, delta=delta, sigma=2.0).fit(X, y)
    shift = system.budget_ / 2.0
    assert shift > 0.0
    # What the likelihood ratio of two Gaussians tells apart, by quadrature.
    z = np.linspace(-12.0, 12.0 + shift, 400_001)
    ahead = stats.norm.logpdf(z - shift)
    told = np.exp(ahead) - np.exp(epsilon + stats.norm.logpdf(z))
    assert np.maximum(told, 0.0).sum() * (z[1] - z[0]) <= delta * (1.0 + 1e-3)


def test_exhausted_budget_trains_anew_with_another_random_term():
    X, y = blobs(100)
    system = NewtonRemoval(sigma=0.05, random_state=0).fit(X, y)
    first = gradients(system, X, y)
    gone = some(100, 0.1)
    system.forget(X, y, gone)
    assert system.n_refits_ == 1
    second = gradients(system, X[~gone], y[~gone])
    # Two draws, and both are the random term up to the residual.
    assert np.abs(second - first).max() > 0.01
    assert np.linalg.norm(second) == pytest.approx(0.05 * np.sqrt(5), rel=1.0)
    assert system.residual_ < 1e-10 and system.certified_
    again = NewtonRemoval(sigma=0.05, random_state=0).fit(X, y).forget(X, y, gone)
    np.testing.assert_array_equal(weights(again), weights(system))


def test_budget_lasts_for_removals_that_fit_into_it():
    X, y = blobs(2000, d=3)
    system = NewtonRemoval(random_state=0).fit(X, y)
    for row in range(20):
        system.forget(X, y, [row])
    assert system.n_refits_ == 0
    assert 0.0 < system.residual_bound_ < system.budget_
    assert system.certified_


def test_exhausted_budget_is_an_error_that_changes_nothing():
    X, y = blobs(100)
    system = NewtonRemoval(sigma=0.05, exhausted="raise").fit(X, y)
    before = vars(system).copy()
    with pytest.raises(ValueError, match="not certified: the residual may be"):
        system.forget(X, y, range(10))
    assert all(vars(system)[name] is before[name] for name in before)


def test_exhausted_budget_voids_the_certificate():
    X, y = blobs(100)
    system = NewtonRemoval(sigma=0.05, exhausted="warn").fit(X, y)
    with pytest.warns(PatchWarning, match="not certified"):
        system.forget(X, y, range(10))
    assert not system.certified_
    assert system.n_refits_ == 0 and system.forgotten_.sum() == 10
    assert system.budget_ < system.residual_bound_


@pytest.mark.parametrize("exhausted", ["refit", "warn", "raise"])
def test_last_row_of_a_class(exhausted):
    X, y = blobs(90, k=3)
    y = np.where(np.arange(90) == 2, "rare", np.array(["a", "b"])[np.arange(90) % 2])
    system = NewtonRemoval(exhausted=exhausted, sigma=1e3).fit(X, y)
    if exhausted == "raise":
        with pytest.raises(ValueError, match="last row"):
            system.forget(X, y, [2])
        assert len(system.classes_) == 3
    elif exhausted == "warn":
        with pytest.warns(PatchWarning, match="last row"):
            system.forget(X, y, [2])
        assert len(system.classes_) == 3 and not system.certified_
    else:
        system.forget(X, y, [2])
        assert system.classes_.tolist() == ["a", "b"] and system.n_refits_ == 1
        assert isinstance(system.estimator_, LogisticRegression)
        assert system.certified_


def test_no_random_term_is_no_certificate():
    X, y = blobs(60)
    with pytest.warns(PatchWarning, match="sigma=0 perturbs nothing"):
        system = NewtonRemoval(sigma=0).fit(X, y)
    assert system.budget_ == 0.0 and not system.certified_
    system.forget(X, y, range(10))
    assert system.n_refits_ == 0 and not system.certified_


@pytest.mark.filterwarnings("error")
def test_ridge_needs_no_random_term():
    X, y = diabetes()
    assert NewtonRemoval(Ridge()).fit(X, y).certified_
    perturbed = NewtonRemoval(Ridge(), sigma=10.0, random_state=0).fit(X, y)
    assert np.abs(perturbed.coef_ - Ridge().fit(X, y).coef_).max() > 1e-3


# -- rows, models, costs ---------------------------------------------------------------


def test_frames_and_strings():
    X, y = blobs(60)
    names = np.array(["no", "yes"])[y]
    table = frame(X)
    plain = NewtonRemoval(random_state=0).fit(X, y).forget(X, y, [3, 7])
    named = NewtonRemoval(random_state=0).fit(table, names)
    named.forget(table, names, table.index[[3, 7]])
    np.testing.assert_allclose(weights(named), weights(plain), rtol=1e-12)
    np.testing.assert_array_equal(named.estimator_.feature_names_in_, table.columns)
    assert named.predict(table)[0] in ("no", "yes")


@pytest.mark.parametrize("kind", ["sparse", "float32"])
def test_other_rows_same_model(kind):
    X, y = blobs(60)
    X = X.astype(np.float32)
    other = X if kind == "float32" else sparse.csr_array(X.astype(float))
    plain = NewtonRemoval(random_state=0).fit(X.astype(float), y)
    system = NewtonRemoval(random_state=0).fit(other, y)
    for one, rows in ((plain, X.astype(float)), (system, other)):
        one.forget(rows, y, [3, 7])
        assert one.residual_ <= one.residual_bound_
    np.testing.assert_allclose(weights(system), weights(plain), atol=1e-9)
    assert system.coef_.dtype == np.float64


def test_forgotten_rows_may_hold_anything():
    X, y = blobs(60)
    system = NewtonRemoval(random_state=0).fit(X, y).forget(X, y, [3])
    straight = copy.copy(system).forget(X, y, [5])
    X = X.copy()
    X[3] = np.nan
    np.testing.assert_array_equal(
        weights(copy.copy(system).forget(X, y, [5])), weights(straight)
    )


def test_more_columns_than_the_spectral_norm_is_worth(monkeypatch):
    monkeypatch.setattr("skpuma.unlearning._perturbed.EXPLICIT_LIMIT", 3)
    X, y = blobs(60)
    system = NewtonRemoval(random_state=0).fit(X, y).forget(X, y, [0])
    monkeypatch.undo()
    exact = NewtonRemoval(random_state=0).fit(X, y).forget(X, y, [0])
    assert system.residual_ == pytest.approx(exact.residual_)
    assert exact.residual_bound_ < system.residual_bound_ < 5 * exact.residual_bound_


def test_model_is_plain():
    X, y = blobs(60)
    base = LogisticRegression(C=0.3)
    system = NewtonRemoval(base).fit(X, y).forget(X, y, [0])
    assert not hasattr(base, "coef_")
    assert type(system.estimator_) is LogisticRegression
    assert system.estimator_.get_params() == base.get_params()
    again = pickle.loads(pickle.dumps(system.estimator_))
    np.testing.assert_array_equal(again.predict_proba(X), system.predict_proba(X))


def test_cost_and_storage():
    X, y = blobs(60, k=3)
    system = NewtonRemoval().fit(X, y)
    assert system.storage_ == (3 * 5 + 4) * 8
    assert system.cost_ % 60 == 0 and system.cost_ > 60
    assert system.forget(X, y, [0, 5]).cost_ == 58
    assert system.forget(X, y, [0]).cost_ == 0
    ridge = NewtonRemoval(Ridge()).fit(X, y)
    assert ridge.forget(X, y, [0]).cost_ == 59


def test_verbose_changes_nothing():
    pytest.importorskip("tqdm")
    X, y = blobs(60, k=3)
    quiet, loud = (NewtonRemoval(verbose=v, random_state=0).fit(X, y) for v in (0, 1))
    np.testing.assert_array_equal(weights(quiet), weights(loud))


# -- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator, match",
    [
        (LinearRegression(), "LinearRegression is not supported"),
        (LogisticRegressionCV(), "LogisticRegressionCV is not supported"),
        (make_pipeline(StandardScaler(), Ridge()), "Pipeline is not supported"),
        (LogisticRegression(class_weight="balanced"), "class_weight is not supported"),
        (LogisticRegression(C=np.inf), "L2 penalty only"),
        (Ridge(0.0), "L2 penalty only"),
        (LogisticRegression(l1_ratio=0.5, solver="saga"), "L2 penalty only"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_estimators_that_are_refused(estimator, match):
    X, y = blobs(60)
    system = NewtonRemoval(estimator)
    with pytest.raises(ValueError, match=match):
        system.fit(X, y)
    assert not hasattr(system, "estimator_")


@pytest.mark.parametrize(
    "parameters, match",
    [
        ({"sigma": -1.0}, "sigma must be >= 0"),
        ({"epsilon": 0.0}, "epsilon must be > 0"),
        ({"delta": 0.0}, "delta must be > 0"),
        ({"delta": 1.5}, "delta must be > 0"),
        ({"exhausted": "never"}, "exhausted='never' is not one of"),
    ],
)
def test_bad_parameters(parameters, match):
    X, y = blobs(60)
    with pytest.raises(ValueError, match=match):
        NewtonRemoval(**parameters).fit(X, y)


def test_a_column_far_from_the_others_in_scale():
    X, y = leverage()
    X = scale(X) * np.array([1e4, 1.0, 1e-4, 1.0, 1.0])
    system = NewtonRemoval(random_state=0).fit(X, y).forget(X, y, [9])
    assert system.residual_ <= system.residual_bound_
