"""Retrainer, FineTuner and GradientAscent: against refits and finite differences."""

import copy
import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpuma.models._linear import LinearRegressionModel
from skpuma.unlearning import FineTuner, GradientAscent, Retrainer
from skpuma.utils.errors import NotDifferentiableError
from tests.data import TIGHT, blobs, breast_cancer, diabetes, frame, snapshot, some

SYSTEMS = {
    "FineTuner": FineTuner,
    "GradientAscent": GradientAscent,
    "Retrainer": Retrainer,
}
each = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
NETWORK = MLPClassifier((4,), solver="lbfgs", alpha=1.0, max_iter=200)
BASES = {
    "default": None,
    "ridge": Ridge(),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "network": NETWORK,
}
networks = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:Training interrupted"
)


def network(**settings):
    """A small stochastic one, with an open seed."""
    return MLPClassifier(**{"hidden_layer_sizes": (6,), "max_iter": 20, **settings})


class Bent(LinearRegressionModel):
    """An adapter of somebody's own, of an objective that need not be convex."""

    convex = False


class Cold(LinearRegression):
    """A model without a warm start."""

    skpuma_adapter = Bent


def scaled(step):
    return make_pipeline(StandardScaler(), step)


@networks
@parametrize_with_checks(
    # Beside those of `test_contract`.
    [
        FineTuner(BASES["pipeline"], random_state=0),
        FineTuner(NETWORK, random_state=0),
        GradientAscent(BASES["pipeline"], random_state=0),
        Retrainer(NETWORK, random_state=0),
    ]
)
def test_common_checks(estimator, check):
    check(estimator)


# -- what all three share --------------------------------------------------------------


@each
@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@networks
def test_predicts_as_its_estimator(system, base):
    X, y = blobs(60)
    fitted = system(base, random_state=0).fit(X, y).forget(X, y, [1, 2])
    for method in ("predict", "predict_proba", "decision_function"):
        assert hasattr(fitted, method) == hasattr(fitted.estimator_, method)
        if hasattr(fitted, method):
            found = getattr(fitted.estimator_, method)(X)
            np.testing.assert_array_equal(getattr(fitted, method)(X), found)
    assert fitted.score(X, y) == fitted.estimator_.score(X, y)
    assert fitted.storage_ == 0
    assert fitted.forgotten_.sum() == 2


@each
def test_weights_are_routed_to_the_score(system):
    X, y = blobs(60)
    weight = np.arange(60.0)
    with config_context(enable_metadata_routing=True):
        base = LogisticRegression().set_score_request(sample_weight=True)
        fitted = system(base).fit(X, y)
        found = fitted.score(X, y, sample_weight=weight)
    assert found == fitted.estimator_.score(X, y, sample_weight=weight)
    assert found != fitted.score(X, y)


@each
@networks
def test_open_seeds_are_drawn_once(system):
    X, y = blobs(60)
    base = network()
    fits = [system(base, random_state=seed).fit(X, y) for seed in (0, 0, 1)]
    first, second, other = (fit.estimator_.coefs_[0] for fit in fits)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0.01
    assert base.random_state is None and not hasattr(base, "coefs_")
    first, second = (fit.forget(X, y, [3]).estimator_.coefs_[0] for fit in fits[:2])
    np.testing.assert_array_equal(first, second)


@each
def test_frames(system):
    X, y = blobs(60)
    table, names = frame(X), np.array(["no", "yes"])[y]
    base = scaled(LogisticRegression())
    plain = system(base).fit(X, names).forget(X, names, [3, 7])
    labelled = system(base).fit(table, names)
    labelled.forget(table, names, table.index[[3, 7]])
    np.testing.assert_allclose(labelled.coef_, plain.coef_, rtol=1e-6)
    np.testing.assert_array_equal(labelled.feature_names_in_, table.columns)
    assert labelled.predict(table)[0] in ("no", "yes")


@each
def test_forgotten_rows_may_hold_anything(system):
    X, y = blobs(60)
    fitted = system().fit(X, y).forget(X, y, [3])
    straight = copy.copy(fitted).forget(X, y, [5]).coef_
    X = X.copy()
    X[3] = np.nan
    np.testing.assert_array_equal(copy.copy(fitted).forget(X, y, [5]).coef_, straight)


@each
def test_earlier_model_is_not_changed(system):
    X, y = blobs(60)
    fitted = system(scaled(SGDClassifier("log_loss"))).fit(X, y)
    model = fitted.estimator_
    before = snapshot(model)
    fitted.forget(X, y, range(10))
    assert snapshot(model) == before
    assert np.abs(fitted.coef_ - model[-1].coef_).max() > 0.0


# -- Retrainer -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base",
    [
        network(),
        scaled(network()),
        RandomForestClassifier(5),
        KNeighborsClassifier(),
        HistGradientBoostingClassifier(max_iter=5),
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}),
        SGDClassifier(),
    ],
    ids=lambda base: type(base).__name__,
)
@networks
def test_retrainer_is_a_fit_on_the_rows_that_are_left(base):
    X, y = blobs(80)
    gone = some(80, 0.1)
    forgot = Retrainer(base, random_state=0).fit(X, y).forget(X, y, gone)
    straight = Retrainer(base, random_state=0).fit(X[~gone], y[~gone])
    output = "predict_proba" if hasattr(forgot, "predict_proba") else "predict"
    found = getattr(forgot, output)(X)
    np.testing.assert_array_equal(found, getattr(straight, output)(X))


def test_retrainer_fits_the_scaler_again():
    X, y = breast_cancer()
    gone = np.abs(X[:, 0]) > 2.0
    system = Retrainer(scaled(LogisticRegression())).fit(X, y).forget(X, y, gone)
    alone = scaled(LogisticRegression()).fit(X[~gone], y[~gone])
    np.testing.assert_array_equal(system.estimator_[0].mean_, alone[0].mean_)
    np.testing.assert_array_equal(system.coef_, alone[-1].coef_)


def test_retrainer_drops_a_class():
    X, y = blobs(60, k=3)
    assert Retrainer().fit(X, y).forget(X, y, y == 1).classes_.tolist() == [0, 2]


@networks
def test_retrainer_cost():
    X, y = blobs(60)
    assert Retrainer(Ridge()).fit(X, y).cost_ == 60
    assert Retrainer(scaled(network())).fit(X, y).cost_ == 60 * 20
    system = Retrainer(LogisticRegression()).fit(X, y).forget(X, y, range(10))
    assert system.cost_ == 50 * system.estimator_.n_iter_[0]
    assert system.forget(X, y, range(10)).cost_ == 0


def test_retrainer_refuses_a_frozen_model():
    X, y = blobs(60)
    frozen = FrozenEstimator(LogisticRegression().fit(X, y))
    with pytest.raises(ValueError, match="FrozenEstimator is not fitted again"):
        Retrainer(frozen).fit(X, y)


# -- FineTuner -------------------------------------------------------------------------

SETTINGS = {"tol": 1e-9, "max_iter": 10_000}
CONVEX = {
    "solver": LogisticRegression(tol=1e-9),
    "multinomial": LogisticRegression(C=0.1, tol=1e-9),
    "liblinear": LogisticRegression(solver="liblinear", **SETTINGS),
    "svm": LinearSVC(dual=False, **SETTINGS),
    "pipeline": scaled(LogisticRegression(tol=1e-9)),
}


@pytest.mark.parametrize("name", CONVEX)
def test_fine_tuned_long_enough_is_the_refit(name):
    X, y = blobs(150, k=3) if name == "multinomial" else blobs(150)
    model = CONVEX[name]
    gone = some(150, 0.3)
    system = FineTuner(model, n_epochs=2000).fit(X, y)
    start = system.coef_
    if name == "pipeline":
        # The scaler stays as it was fitted.
        scaler, last = system.estimator_
        expected = clone(last).fit(scaler.transform(X[~gone]), y[~gone]).coef_
    else:
        expected = clone(model).fit(X[~gone], y[~gone]).coef_
    system.forget(X, y, gone)
    np.testing.assert_allclose(system.coef_, expected, atol=2e-5)
    assert np.abs(start - expected).max() > 1e-2


@pytest.mark.parametrize("model", [Ridge(3.0), LinearRegression()], ids=str)
def test_fine_tuned_in_closed_form_is_the_refit(model):
    X, y = diabetes()
    gone = some(len(y), 0.3)
    system = FineTuner(model, n_epochs=1).fit(X, y).forget(X, y, gone)
    model.fit(X[~gone], y[~gone])
    np.testing.assert_allclose(system.coef_, model.coef_, atol=1e-9)
    np.testing.assert_allclose(system.intercept_, model.intercept_, atol=1e-9)


@pytest.mark.parametrize("model", [Lasso(0.05), PoissonRegressor(tol=1e-8)], ids=str)
def test_fine_tuned_regressors(model):
    X, y = diabetes()
    y = y - y.min()
    gone = some(len(y), 0.3)
    system = FineTuner(model, n_epochs=1000).fit(X, y)
    before = system.estimator_.get_params()
    system.forget(X, y, gone)
    expected = clone(model).fit(X[~gone], y[~gone]).coef_
    np.testing.assert_allclose(system.coef_, expected, atol=1e-3)
    assert system.estimator_.get_params() == before


@pytest.mark.filterwarnings("error")
def test_few_iterations_are_part_of_the_way():
    X, y = breast_cancer()
    gone = some(len(y), 0.5)
    start = FineTuner(LogisticRegression(**TIGHT)).fit(X, y)
    end = LogisticRegression(**TIGHT).fit(X[~gone], y[~gone]).coef_
    away = [np.linalg.norm(start.coef_ - end)]
    for n_epochs in (1, 2, 4):
        system = copy.copy(start).set_params(n_epochs=n_epochs).forget(X, y, gone)
        assert system.cost_ == n_epochs * np.count_nonzero(~gone)
        assert system.estimator_.max_iter == 1000
        assert system.estimator_.warm_start is False
        away.append(np.linalg.norm(system.coef_ - end))
    assert (np.diff(away) < 0).all()


@networks
@pytest.mark.parametrize("base", [network(), scaled(network(solver="sgd"))])
def test_epochs_of_a_network(base):
    X, y = blobs(120)
    gone = some(120, 0.2)
    system = FineTuner(base, n_epochs=7, random_state=0).fit(X, y)
    before = system.estimator_
    system.forget(X, y, gone)
    assert system.cost_ == 7 * 96
    last = [getattr(m, "steps", [(0, m)])[-1][1] for m in (before, system.estimator_)]
    assert last[1].t_ == last[0].t_ + 7 * 96
    losses = [
        log_loss(y[~gone], model.predict_proba(X[~gone]))
        for model in (before, system.estimator_)
    ]
    assert losses[1] < losses[0]


def test_epochs_of_sgd_end_at_the_optimum_without_the_rows():
    X, y = diabetes()
    gone = y > 1.0
    sgd = SGDRegressor(learning_rate="constant", eta0=1e-3, alpha=0.1)
    system = FineTuner(sgd, n_epochs=150, random_state=0).fit(X, y)
    # alpha is per row, and half a squared error is minimised.
    ridge = Ridge(0.1 * np.count_nonzero(~gone)).fit(X[~gone], y[~gone])
    start = np.linalg.norm(system.coef_ - ridge.coef_)
    system.forget(X, y, gone)
    assert np.linalg.norm(system.coef_ - ridge.coef_) < 0.2 * start
    assert system.intercept_ == pytest.approx(ridge.intercept_, abs=0.03)


def test_epochs_behind_a_transformed_target():
    X, y = diabetes()
    y = 1000.0 + 50.0 * y
    base = TransformedTargetRegressor(
        scaled(SGDRegressor()), transformer=StandardScaler()
    )
    system = FineTuner(base, n_epochs=2, random_state=0).fit(X, y)
    before = system.estimator_
    system.forget(X, y, range(100))
    assert system.estimator_.regressor_[-1].t_ == before.regressor_[-1].t_ + 2 * 342
    assert system.score(X, y) > 0.4
    assert before.regressor_[-1].coef_ is not system.estimator_.regressor_[-1].coef_


def test_epochs_go_on_when_a_class_is_gone():
    X, y = blobs(60, k=3)
    system = FineTuner(SGDClassifier(), random_state=0).fit(X, y)
    system.forget(X, y, y == 2)
    assert system.classes_.tolist() == [0, 1, 2]
    assert np.isin(system.predict(X[y < 2]), [0, 1]).mean() > 0.9


def test_fine_tuner_goes_on_from_a_frozen_model():
    X, y = blobs(60)
    model = scaled(LogisticRegression()).fit(X, y)
    before = snapshot(model)
    system = FineTuner(FrozenEstimator(model)).fit(X, y)
    assert system.cost_ == 0.0
    system.forget(X, y, range(10))
    assert snapshot(model) == before
    assert np.abs(system.coef_ - model[-1].coef_).max() > 0.0


@pytest.mark.parametrize(
    "base, match",
    [
        (RandomForestClassifier(), "RandomForestClassifier cannot go on"),
        (HistGradientBoostingClassifier(), "cannot go on"),
        (GaussianNB(), "GaussianNB cannot go on"),
        (scaled(KNeighborsClassifier()), "KNeighborsClassifier cannot go on"),
        (OneVsRestClassifier(GaussianNB()), "OneVsRestClassifier cannot go on"),
        (Cold(), "Cold cannot go on"),
        (network(early_stopping=True), "early_stopping=True"),
        (SGDClassifier(early_stopping=True), "early_stopping=True"),
    ],
)
def test_fine_tuner_refuses_what_cannot_go_on(base, match):
    X, y = blobs(60)
    system = FineTuner(base)
    with pytest.raises(ValueError, match=match):
        system.fit(X, y)
    assert not hasattr(system, "estimator_")


@pytest.mark.parametrize("base", [LogisticRegression(), NETWORK])
def test_fine_tuner_needs_all_classes_of_a_warm_start(base):
    X, y = blobs(60, k=3)
    system = FineTuner(base, random_state=0).fit(X, y)
    before = vars(system).copy()
    with pytest.raises(ValueError, match="A class loses its last row"):
        system.forget(X, y, y == 2)
    assert all(vars(system)[name] is before[name] for name in before)


def test_unsupported_estimators_have_tags():
    # A repr and a search ask for them before fit refuses.
    assert GradientAscent(RandomForestClassifier()).__sklearn_tags__()
    assert not GradientAscent(network()).__sklearn_tags__().input_tags.sparse


@pytest.mark.parametrize("n_epochs", [0, 1.5, True])
def test_fine_tuner_checks_its_epochs(n_epochs):
    X, y = blobs(60)
    with pytest.raises((ValueError, TypeError), match="n_epochs"):
        FineTuner(n_epochs=n_epochs).fit(X, y)


# -- GradientAscent --------------------------------------------------------------------


def half_squared_error(model, X, y):
    return 0.5 * np.mean((model.predict(X) - y) ** 2)


def mean_log_loss(model, X, y):
    return log_loss(y, model.predict_proba(X), labels=model.classes_)


def arrays(model):
    """The fitted arrays of a linear model or a network, to be changed in place."""
    if hasattr(model, "coefs_"):
        return [*model.coefs_, *model.intercepts_]
    model.coef_ = np.ascontiguousarray(model.coef_)
    model.intercept_ = np.atleast_1d(model.intercept_).astype(float)
    return [model.coef_, model.intercept_]


def differences(model, X, y, loss):
    """Gradient of a loss of the estimator's own predictions, by central differences."""
    model = copy.deepcopy(model)
    found = []
    for array in arrays(model):
        flat = array.reshape(-1)
        for j, value in enumerate(flat.copy()):
            ends = []
            for step in (1e-5, -1e-5):
                flat[j] = value + step
                ends.append(loss(model, X, y))
            flat[j] = value
            found.append((ends[0] - ends[1]) / 2e-5)
    return np.array(found)


def moved(before, after):
    pairs = zip(
        arrays(copy.deepcopy(before)), arrays(copy.deepcopy(after)), strict=True
    )
    return np.concatenate([np.ravel(b - a) for a, b in pairs])


CASES = {
    "binary": (LogisticRegression(), lambda: blobs(80), mean_log_loss),
    "multinomial": (LogisticRegression(), lambda: blobs(80, k=3), mean_log_loss),
    "ridge": (Ridge(), diabetes, half_squared_error),
    "network": (network(activation="tanh"), lambda: blobs(80, k=3), mean_log_loss),
    "relu": (network(), lambda: blobs(80), mean_log_loss),
    "regressor": (
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=20),
        diabetes,
        half_squared_error,
    ),
}


@networks
@pytest.mark.parametrize("retain", [0.0, 0.7])
@pytest.mark.parametrize("case", CASES)
def test_first_step_is_the_gradient(case, retain):
    base, data, loss = CASES[case]
    X, y = data()
    gone = some(len(y), 0.1)
    settings = {"n_steps": 1, "learning_rate": 0.01, "retain": retain}
    system = GradientAscent(base, random_state=0, **settings).fit(X, y)
    before = system.estimator_
    system.forget(X, y, gone)
    expected = differences(before, X[gone], y[gone], loss)
    expected -= retain * differences(before, X[~gone], y[~gone], loss)
    step = moved(before, system.estimator_) / 0.01
    np.testing.assert_allclose(
        step, expected, atol=1e-7 + 1e-6 * np.abs(expected).max()
    )
    assert system.cost_ == (len(y) if retain else gone.sum())
    assert system.losses_[0] == pytest.approx(loss(before, X[gone], y[gone]))
    after = loss(system.estimator_, X[gone], y[gone])
    assert system.losses_[-1] == pytest.approx(after)


def test_ascent_behind_a_scaler():
    X, y = breast_cancer()
    X = 3.0 * X + 5.0
    gone = some(len(y), 0.05)
    system = GradientAscent(scaled(LogisticRegression()), n_steps=30).fit(X, y)
    before = system.estimator_
    system.forget(X, y, gone)
    assert mean_log_loss(system.estimator_, X[gone], y[gone]) == pytest.approx(
        system.losses_[-1]
    )
    assert (np.diff(system.losses_) > 0).all() and len(system.losses_) == 31
    np.testing.assert_array_equal(before[0].mean_, system.estimator_[0].mean_)


def test_retaining_protects_the_rows_that_stay():
    X, y = breast_cancer()
    gone = some(len(y), 0.05)
    fitted = GradientAscent(n_steps=50, learning_rate=0.5).fit(X, y)
    losses = []
    for retain in (0.0, 1.0):
        system = copy.copy(fitted).set_params(retain=retain).forget(X, y, gone)
        losses.append(mean_log_loss(system.estimator_, X[~gone], y[~gone]))
    assert losses[1] < losses[0]


def test_ascent_stops_at_max_loss():
    X, y = blobs(80)
    fitted = GradientAscent(n_steps=1000).fit(X, y)
    assert fitted.losses_.size == 0
    start = copy.copy(fitted).set_params(n_steps=1).forget(X, y, range(8)).losses_[0]
    system = copy.copy(fitted).set_params(max_loss=2 * start).forget(X, y, range(8))
    assert system.losses_[-2] < 2 * start <= system.losses_[-1]
    assert system.cost_ == 8 * (len(system.losses_) - 1) < 8000


@pytest.mark.filterwarnings("error")
def test_loss_that_overflows_is_an_error_that_changes_nothing():
    X, y = diabetes()
    system = GradientAscent(Ridge(), n_steps=2000, learning_rate=10.0).fit(X, y)
    before = vars(system).copy()
    with pytest.raises(
        ValueError, match="loss of the rows to forget is (inf|nan) after"
    ):
        system.forget(X, y, range(20))
    assert all(vars(system)[name] is before[name] for name in before)


def test_ascent_from_a_frozen_model():
    X, y = blobs(60)
    model = LogisticRegression().fit(X, y)
    before = snapshot(model)
    system = GradientAscent(FrozenEstimator(model)).fit(X, y)
    system.forget(X, y, range(10))
    assert snapshot(model) == before
    assert system.coef_.tolist() != model.coef_.tolist()


def test_ascent_refuses_what_has_no_gradient():
    X, y = blobs(60)
    with pytest.raises(NotDifferentiableError, match="RandomForestClassifier"):
        GradientAscent(RandomForestClassifier()).fit(X, y)


@pytest.mark.parametrize(
    "name, value",
    [
        ("n_steps", 0),
        ("learning_rate", 0.0),
        ("learning_rate", np.inf),
        ("retain", -1.0),
        ("max_loss", np.nan),
        ("max_loss", "1"),
    ],
)
def test_ascent_checks_its_parameters(name, value):
    X, y = blobs(60)
    with pytest.raises((ValueError, TypeError), match=name):
        GradientAscent(**{name: value}).fit(X, y)


@networks
@pytest.mark.parametrize("system", [FineTuner, GradientAscent])
def test_verbose_changes_nothing(system):
    pytest.importorskip("tqdm")
    X, y = blobs(60)
    models = [
        system(network(), verbose=v, random_state=0).fit(X, y).forget(X, y, [3, 4])
        for v in (0, 1)
    ]
    first, second = (pickle.dumps(model.estimator_.coefs_) for model in models)
    assert first == second
