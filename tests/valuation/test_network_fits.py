"""Fits of networks: the weights, losses and predictions of scikit-learn's own fits."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skpuma.valuation import DVRL, DataShapley, _network_fits
from skpuma.valuation._network_fits import fit
from tests.data import blobs

SMALL = {"hidden_layer_sizes": (7, 5), "max_iter": 30, "random_state": 3}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def network(regression=False, **keywords):
    kind = MLPRegressor if regression else MLPClassifier
    return kind(**{**SMALL, **keywords})


def table(k=2, regression=False):
    X, y = blobs(90, 4, k)
    return (X, X[:, 0] - np.square(X[:, 1])) if regression else (X, y)


@pytest.fixture
def loops(monkeypatch):
    """Trainings that did not leave it to scikit-learn."""
    seen, run = [], _network_fits._Loop.run

    def counted(loop, fitted):
        seen.append(fitted)
        run(loop, fitted)

    monkeypatch.setattr(_network_fits._Loop, "run", counted)
    return seen


def assert_the_same(found, expected, X, atol=1e-10):
    weights = [*found.coefs_, *found.intercepts_]
    expected_weights = [*expected.coefs_, *expected.intercepts_]
    for ours, theirs in zip(weights, expected_weights, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)
    np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, atol=atol)
    for name in ("n_iter_", "t_", "out_activation_", "n_features_in_"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.best_loss_ == pytest.approx(expected.best_loss_)
    if is_classifier(found):
        np.testing.assert_array_equal(found.predict(X), expected.predict(X))
        np.testing.assert_array_equal(found.classes_, expected.classes_)
        found, expected = found.predict_proba(X), expected.predict_proba(X)
    else:
        found, expected = found.predict(X), expected.predict(X)
    np.testing.assert_allclose(found, expected, atol=atol)


SETTINGS = {
    "defaults": {"hidden_layer_sizes": (100,)},
    "one layer": {"hidden_layer_sizes": 6},
    "no layer": {"hidden_layer_sizes": ()},
    "logistic": {"activation": "logistic"},
    "tanh": {"activation": "tanh", "alpha": 0.5},
    "identity": {"activation": "identity", "alpha": 0.0},
    "adam": {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "batch_size": 32},
    "rate": {"learning_rate_init": 0.03, "learning_rate": "adaptive"},
    "sgd": {"solver": "sgd", "batch_size": 25, "learning_rate_init": 0.01},
    "plain momentum": {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5},
    "in order": {"shuffle": False, "batch_size": 40},
    "stops": {"tol": 0.1, "n_iter_no_change": 2, "learning_rate_init": 0.05},
}


@pytest.mark.parametrize("case", ["two classes", "three classes", "regression"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_weights_are_those_of_scikit_learn(case, setting, loops):
    estimator = network(case == "regression", **SETTINGS[setting])
    X, y = table(3 if case == "three classes" else 2, case == "regression")
    found = fit(estimator, X, y)
    assert len(loops) == 1
    assert_the_same(found, clone(estimator).fit(X, y), X)
    assert (found.n_iter_ < 30) == (setting == "stops")
    assert not hasattr(estimator, "coefs_")


def test_rows_in_single_precision_stay_so(loops):
    X, y = table()
    X = X.astype(np.float32)
    estimator = network(batch_size=32)
    assert_the_same(fit(estimator, X, y), clone(estimator).fit(X, y), X, atol=1e-5)
    regressor, y = network(True), X[:, 0]
    assert_the_same(fit(regressor, X, y), clone(regressor).fit(X, y), X, atol=1e-5)
    assert len(loops) == 2


def test_labels_in_words_and_several_targets(loops):
    X, y = table(3)
    y = np.array(["a", "b", "c"])[y]
    assert_the_same(fit(network(), X, y), network().fit(X, y), X)
    y = X[:, :2] ** 2
    assert_the_same(fit(network(True), X, y), network(True).fit(X, y), X)
    assert len(loops) == 2


def test_a_table_keeps_its_names_and_a_pipeline_its_steps(loops):
    X, y = table()
    X = pd.DataFrame(X, columns=list("abcd")).assign(e=np.where(y > 0, "x", "y"))
    scale = make_column_transformer((StandardScaler(), list("ab")))
    encode = make_column_transformer(
        (StandardScaler(), list("abcd")), (OneHotEncoder(sparse_output=False), ["e"])
    )
    for head in (scale, encode.set_output(transform="pandas")):
        estimator = make_pipeline(head, network())
        found, expected = fit(estimator, X, y), clone(estimator).fit(X, y)
        assert_the_same(found[-1], expected[-1], expected[:-1].transform(X))
        np.testing.assert_array_equal(found.predict(X), expected.predict(X))
        np.testing.assert_array_equal(found.feature_names_in_, X.columns)
    assert found[-1].feature_names_in_[0] == "standardscaler__a"
    assert len(loops) == 2


def left_to_scikit_learn():
    X, y = table()
    single = X.astype(np.float32)
    one_step = make_pipeline(network())
    yield "lbfgs", network(solver="lbfgs"), X, y
    yield "early stopping", network(early_stopping=True), X, y
    yield "falling rate", network(solver="sgd", learning_rate="invscaling"), X, y
    yield "sparse", network(), sparse.csr_array(X), y
    yield "multilabel", network(), X, np.stack([y, 1 - y], axis=1)
    yield "one class", network(), X, np.zeros(len(y))
    yield "state", network(random_state=np.random.RandomState(0)), X, y
    yield "mixed precision", network(True), single, X[:, 0]
    yield "counts", network(True, loss="poisson"), X, y
    yield "one step", one_step, X, y
    yield "another", LogisticRegression(), X, y


@pytest.mark.parametrize("case", list(left_to_scikit_learn()), ids=lambda case: case[0])
def test_others_are_fitted_by_scikit_learn(case, loops):
    _, estimator, X, y = case
    found, expected = fit(estimator, X, y), clone(estimator).fit(X, y)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    assert not loops


def test_a_training_that_has_not_converged_warns():
    X, y = table()
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(30\) reached"):
        fit(network(), X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(network(**SETTINGS["stops"]), X, y)


def test_bad_input_is_refused_as_by_scikit_learn():
    X, y = table()
    for bad in (
        (network(), np.where(X > 1, np.nan, X), y),
        (network(), X, y[1:]),
        (network(alpha=-1.0), X, y),
    ):
        with pytest.raises(ValueError) as theirs:
            clone(bad[0]).fit(*bad[1:])
        with pytest.raises(ValueError) as ours:
            fit(*bad)
        assert str(ours.value)[:40] == str(theirs.value)[:40]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_overflow_are_refused():
    X, y = table(regression=True)
    diverges = network(
        True, solver="sgd", learning_rate_init=0.1, activation="identity"
    )
    with pytest.raises(ValueError, match="non-finite"):
        clone(diverges).fit(1e4 * X, y)
    with pytest.raises(ValueError, match="overflow"):
        fit(diverges, 1e4 * X, y)


@pytest.mark.parametrize("head", [(), (StandardScaler(),)], ids=["alone", "pipeline"])
@pytest.mark.parametrize(
    "system",
    [
        DVRL(n_iter=3, n_selections=2, hidden_dim=8, random_state=0),
        DataShapley(max_permutations=2, truncation=0.0, random_state=0),
    ],
    ids=lambda system: type(system).__name__,
)
def test_values_are_those_of_fits_by_scikit_learn(system, head, loops, monkeypatch):
    X, y = table()
    keywords = {"X_val": X[30:], "y_val": y[30:]}
    last = network(max_iter=5)
    system = clone(system).set_params(
        estimator=make_pipeline(*head, last) if head else last
    )
    found = clone(system).fit(X[:30], y[:30], **keywords).values_
    n_loops = len(loops)
    monkeypatch.setattr(_network_fits, "_is_plain", lambda estimator: False)
    expected = clone(system).fit(X[:30], y[:30], **keywords).values_
    assert len(loops) == n_loops > 5
    np.testing.assert_allclose(found, expected, atol=1e-10)
