"""DVRL: the network against finite differences, its fits against refits, its values."""

import os
import pickle
from collections import deque

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from scipy import sparse
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import brier_score_loss
from sklearn.model_selection import ShuffleSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpuma.datasets import flip_labels
from skpuma.models._logistic import _l1_settings
from skpuma.utils.errors import InterruptedWarning
from skpuma.valuation import DVRL, _selection_rewards
from skpuma.valuation._dvrl import Scale, Training
from skpuma.valuation._selection_rewards import (
    LinearRefits,
    brier,
    linear_objective,
)
from skpuma.valuation._utility import Utility
from skpuma.valuation._value_network import ValueNetwork
from tests.data import TIGHT, blobs, frame

SLOW = os.environ.get("NUMBA_DISABLE_JIT") == "1"
SMALL = {"n_iter": 3, "n_selections": 2, "hidden_dim": 8, "random_state": 0}


def problem(n=200, n_val=200, rate=0.1, seed=0, **keywords):
    """(X, y with flips, flipped, X_val, y_val), the validation labels clean."""
    settings = {"n_features": 10, "class_sep": 1.5, "flip_y": 0.0, **keywords}
    X, y = make_classification(n + n_val, random_state=seed, **settings)
    noisy, flipped = flip_labels(y[:n], rate, random_state=seed)
    return X[:n], noisy, flipped, X[n:], y[n:]


def small_rows(k=2, d=4):
    X, y = blobs(90, d, k)
    return X[:60], y[:60], X[60:], y[60:]


# -- the network -----------------------------------------------------------------------


def network(seed=0, **keywords):
    rng = np.random.RandomState(seed)
    sizes = {"hidden_dim": 7, "comb_dim": 5, **keywords}
    net = ValueNetwork(4, 2, rng, **sizes)
    net._put(net.parameters.astype(float))
    for bias in net.biases:
        bias[...] = rng.normal(size=bias.shape)
    return net


@pytest.mark.parametrize("n_layers", [3, 5])
@pytest.mark.parametrize("as_rows", [np.asarray, sparse.csr_array])
def test_gradient_of_the_network_is_that_of_finite_differences(n_layers, as_rows):
    rng = np.random.default_rng(0)
    X, m, u = rng.normal(size=(9, 4)), rng.normal(size=(9, 2)), rng.normal(size=9)
    u = u.astype(np.float32).astype(float)
    net, X = network(n_layers=n_layers), as_rows(X)
    found = net.gradient(net.forward(X, m), u)
    expected = np.empty_like(found)
    for at, keep in enumerate(net.parameters.copy()):
        out = []
        for step in (1e-6, -1e-6):
            net.parameters[at] = keep + step
            out.append(u @ net.logits(X, m))
        net.parameters[at] = keep
        expected[at] = (out[0] - out[1]) / 2e-6
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_architecture_is_the_papers():
    net = ValueNetwork(20, 2, np.random.RandomState(0))
    shapes = [w.shape for w in net.weights]
    assert shapes == [(20, 100), (100, 100), (100, 100), (100, 10), (12, 10), (10, 1)]
    assert net.parameters.dtype == np.float32
    assert len(net.parameters) == sum(a.size for a in [*net.weights, *net.biases])
    assert all(np.shares_memory(net.parameters, a) for a in net.weights + net.biases)


def test_adam_takes_the_steps_of_its_formula():
    net = network(learning_rate=0.1)
    p, m, v = net.parameters.copy(), 0.0, 0.0
    rng = np.random.default_rng(0)
    for t in range(1, 4):
        gradient = rng.normal(size=p.shape)
        net.step(gradient)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        p -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(net.parameters, p, rtol=1e-5, atol=1e-6)


def test_average_of_networks_is_their_mean():
    nets = [network(seed) for seed in range(4)]
    average = nets[0].copy()
    for count, net in enumerate(nets):
        average.approach(net, 1.0 / (count + 1))
    expected = np.mean([net.parameters for net in nets], axis=0)
    np.testing.assert_allclose(average.parameters, expected, atol=1e-6)


def test_a_pickled_network_is_one_array():
    net = pickle.loads(pickle.dumps(network()))
    assert all(np.shares_memory(net.parameters, a) for a in net.weights + net.biases)
    np.testing.assert_array_equal(net.parameters, network().parameters)


def test_a_curvature_of_nothing_does_not_stop_a_solve():
    hessian, gradient = np.diag([2.0, 0.0]), np.array([4.0, 0.0])
    found = _selection_rewards._solve(hessian, gradient)
    np.testing.assert_allclose(found, [2.0, 0.0])


def test_a_network_whose_units_no_row_reaches_learns():
    rng = np.random.default_rng(0)
    X, m = (rng.normal(size=(50, d)).astype(np.float32) for d in (4, 2))
    net = ValueNetwork(4, 2, np.random.RandomState(0), hidden_dim=20)
    for bias in net.biases[:-1]:
        bias[...] = -10.0
    assert all((out <= 0).all() for out in net.forward(X, m)[1:4])
    wanted = m[:, 0] > 0
    for _ in range(300):
        outputs = net.forward(X, m)
        net.step(net.gradient(outputs, expit(outputs[-1][:, 0]) - wanted))
    assert ((net.logits(X, m) > 0) == wanted).mean() > 0.9


# -- rewards ---------------------------------------------------------------------------


def linear_case(estimator, k=2, d=4, regression=False, batch=None, as_rows=np.asarray):
    X, y, X_val, y_val = small_rows(k, d)
    if regression:
        y, y_val = X[:, 0] + 0.5 * X[:, 1] ** 2, X_val[:, 0] + 0.5 * X_val[:, 1] ** 2
    X, X_val = as_rows(X), as_rows(X_val)
    scoring = None if regression else brier
    utility = Utility(estimator, scoring, X, y, X_val, y_val)
    objective = linear_objective(estimator.fit(X, y), X, y)
    score = "r2" if regression else "brier"
    linear = LinearRefits(utility, objective, X_val, y_val, score)
    rng = np.random.default_rng(0)
    rows = np.arange(60) if batch is None else rng.permutation(60)[:batch]
    return linear, utility, rows, rng.uniform(size=(len(rows), 12)) < 0.5


LINEAR = {
    "logistic": (LogisticRegression(**TIGHT), {}),
    "little penalty": (LogisticRegression(C=30.0, **TIGHT), {}),
    "multinomial": (LogisticRegression(**TIGHT), {"k": 3}),
    "batch": (LogisticRegression(**TIGHT), {"batch": 15}),
    "ridge": (Ridge(), {"regression": True}),
    "no intercept": (LogisticRegression(fit_intercept=False, **TIGHT), {}),
    "liblinear": (LogisticRegression(solver="liblinear", tol=1e-10), {}),
    "sparse": (LogisticRegression(**TIGHT), {"as_rows": sparse.csr_array}),
    "single precision": (LogisticRegression(), {"as_rows": np.float32}),
    "wide": (LogisticRegression(**TIGHT), {"d": 40, "batch": 25}),
    "wide multinomial": (LogisticRegression(**TIGHT), {"d": 40, "k": 3, "batch": 25}),
    "wide ridge": (Ridge(10.0), {"d": 40, "regression": True, "batch": 25}),
    "wide, no intercept": (
        Ridge(fit_intercept=False),
        {"d": 40, "regression": True, "batch": 25},
    ),
    "wide, sparse": (
        LogisticRegression(**TIGHT),
        {"d": 40, "batch": 25, "as_rows": sparse.csr_array},
    ),
}


@pytest.mark.parametrize("small_work", [0, np.inf])
@pytest.mark.parametrize("case", LINEAR)
def test_fits_of_all_selections_are_the_fits_of_each(case, small_work, monkeypatch):
    monkeypatch.setattr(_selection_rewards, "SMALL_WORK", small_work)
    estimator, keywords = LINEAR[case]
    linear, utility, rows, selected = linear_case(estimator, **keywords)
    found = linear(rows, selected)
    expected = np.array([utility(rows[chosen]) for chosen in selected.T])
    slope = np.polyfit(expected, found, 1)[0]
    assert np.ptp(expected) > 1e-3
    assert abs(slope - 1.0) < 0.02
    np.testing.assert_allclose(found, expected, atol=0.01 * np.ptp(expected))


def test_a_pipeline_keeps_its_preprocessing_and_is_scored_by_any_scorer():
    X, y, X_val, y_val = small_rows()
    estimator = make_pipeline(StandardScaler(), LogisticRegression(**TIGHT)).fit(X, y)
    objective = linear_objective(estimator, X, y)
    utility = Utility(estimator, "roc_auc", X, y, X_val, y_val)
    linear = LinearRefits(utility, objective, X_val, y_val, None)
    selected = np.random.default_rng(0).uniform(size=(60, 6)) < 0.5
    scaler, last = estimator[0], estimator[1]
    inner = Utility(
        last, "roc_auc", scaler.transform(X), y, scaler.transform(X_val), y_val
    )
    expected = [inner(chosen) for chosen in selected.T]
    np.testing.assert_allclose(linear(np.arange(60), selected), expected, atol=0.01)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(class_weight="balanced"),
        LogisticRegression(C=np.inf),
        LogisticRegression(solver="saga", max_iter=500, **_l1_settings(1.0)),
        GaussianNB(),
        LinearSVC(),
    ],
    ids=str,
)
def test_other_estimators_are_refitted_one_by_one(estimator):
    X, y, *_ = small_rows()
    assert linear_objective(estimator.fit(X, y), X, y) is None


def test_a_selection_without_a_class_is_worth_what_its_labels_tell():
    linear, utility, rows, selected = linear_case(LogisticRegression(**TIGHT))
    y = utility.y
    selected[:, 0] = y == 0
    selected[:, 1] = False
    found = linear(rows, selected)
    share = np.mean(utility.y_val == 0)
    assert found[0] == pytest.approx(-2.0 * (1.0 - share))
    assert found[1] == pytest.approx(utility.empty)


def test_brier_is_that_of_scikit_learn():
    X, y, X_val, y_val = small_rows()
    fitted = LogisticRegression().fit(X, y)
    # scikit-learn counts one of the two classes only.
    expected = -2.0 * brier_score_loss(y_val, fitted.predict_proba(X_val)[:, 1])
    assert brier(fitted, X_val, y_val) == pytest.approx(expected)
    other = np.where(y_val == 1, 7, 0)
    p = fitted.predict_proba(X_val)
    truth = np.stack([other == 0, np.zeros(30), other == 7], axis=1)
    wide = np.column_stack([p, np.zeros(30)])
    expected = -np.square(wide - truth).sum(axis=1).mean()
    assert brier(fitted, X_val, other) == pytest.approx(expected)


# -- the loop --------------------------------------------------------------------------


def test_baseline_is_the_moving_average_of_the_paper():
    training = Training(network(), 0.5, 4, deque(maxlen=4))
    delta, squares = 0.5, []
    for rewards in np.random.default_rng(0).normal(size=(9, 3)):
        squares = [*squares, np.mean((rewards - delta) ** 2)][-4:]
        expected = (rewards - delta) / np.sqrt(np.mean(squares))
        np.testing.assert_allclose(training.advantage(rewards), expected)
        delta = 3 / 4 * delta + rewards.mean() / 4
        assert training.baseline == pytest.approx(delta)


def test_fixed_baseline_stays():
    training = Training(network(), 0.5, None, deque(maxlen=4))
    assert training.advantage(np.array([1.5, -0.5])).tolist() == [1.0, -1.0]
    assert training.baseline == 0.5
    assert training.advantage(np.array([0.5])).tolist() == [0.0]


def test_equal_rewards_from_the_start_are_no_advantage():
    training = Training(network(), 0.5, 4, deque(maxlen=4))
    assert training.advantage(np.full(3, 0.5)).tolist() == [0.0, 0.0, 0.0]


def test_exploration_pushes_back_only_outside_the_threshold():
    system = DVRL(threshold=0.9)
    high, middle, low = (np.full(5, p) for p in (0.95, 0.5, 0.05))
    assert (system._exploration(high) > 0).all()
    assert (system._exploration(middle) == 0).all()
    assert (system._exploration(low) < 0).all()


def test_gradient_of_the_loop_is_that_of_the_expected_reward():
    # REINFORCE on logits: E[(s - p) R(s)] is the derivative of E[R] in the logit.
    rng = np.random.default_rng(0)
    p, worth = np.array([0.3, 0.6, 0.8]), np.array([1.0, -2.0, 0.5])
    selected = rng.uniform(size=(3, 200_000)) < p[:, None]
    rewards = worth @ selected
    estimate = (selected - p[:, None]) @ rewards / selected.shape[1]
    np.testing.assert_allclose(estimate, worth * p * (1 - p), atol=0.01)


@pytest.mark.parametrize("k", [2, 3])
def test_flipped_rows_have_the_lowest_values(k):
    size = {"n_classes": k, "n_clusters_per_class": 1, "class_sep": 2.0}
    X, y, flipped, X_val, y_val = problem(**size)
    system = DVRL(n_iter=30 if SLOW else 60, random_state=0)
    system.fit(X, y, X_val=X_val, y_val=y_val)
    lowest = np.argsort(system.values_)[: flipped.sum()]
    assert flipped[lowest].mean() >= 0.6
    assert system.values_[flipped].mean() < system.values_[~flipped].mean() - 0.05
    assert ((system.values_ >= 0) & (system.values_ <= 1)).all()


def test_rows_do_not_tie_where_units_die():
    # With a slope of 0 below zero, a third of these did.
    X, y = load_digits(return_X_y=True)
    system = DVRL(n_iter=40, n_selections=2, learning_rate=0.1, random_state=0)
    system.fit(X[:300] / 16, y[:300], X_val=X[300:400] / 16, y_val=y[300:400])
    assert len(np.unique(system.values_)) > 290


def test_rows_of_wrong_targets_have_the_lowest_values():
    X, y = make_regression(300, 6, noise=5.0, random_state=0)
    y, wrong = y.copy(), np.arange(200) < 20
    y[:20] += 300.0
    system = DVRL(Ridge(), n_iter=60, random_state=0)
    system.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert wrong[np.argsort(system.values_)[:20]].mean() >= 0.9


def test_rewards_rise_above_the_fit_on_all_rows():
    X, y, _, X_val, y_val = problem(rate=0.3)
    system = DVRL(n_iter=60, random_state=0).fit(X, y, X_val=X_val, y_val=y_val)
    (rewards,) = system.rewards_
    assert rewards[-15:].mean() > rewards[:5].mean()
    assert rewards[-15:].mean() > system.baseline_scores_[0]


# -- the contract ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        None,
        GaussianNB(),
        KNeighborsClassifier(3),
        LinearSVC(),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=str,
)
@pytest.mark.parametrize("scoring", ["auto", None, "roc_auc"])
def test_any_classifier_and_scorer(estimator, scoring):
    X, y, X_val, y_val = small_rows()
    system = DVRL(estimator, scoring=scoring, **SMALL)
    system.fit(X, y, X_val=X_val, y_val=y_val)
    np.testing.assert_allclose(system.valuate(X, y), system.values_)
    assert len(np.unique(system.values_)) > 30
    assert len(system.rewards_[0]) == system.n_iter_ == 3


def test_a_regressor_without_weights_and_several_targets():
    X, y = make_regression(80, 5, n_targets=2, random_state=0)
    system = DVRL(DecisionTreeRegressor(max_depth=3), **SMALL)
    system.fit(X[:50], y[:50], X_val=X[50:], y_val=y[50:])
    np.testing.assert_allclose(system.valuate(X[:50], y[:50]), system.values_)
    again = DVRL(DecisionTreeRegressor(max_depth=3), **SMALL)
    again.fit(X[:50], y[:50], X_val=X[50:], y_val=y[50:])
    np.testing.assert_array_equal(again.values_, system.values_)


def test_targets_of_zero_are_no_division_by_zero():
    X, y, X_val, y_val = small_rows()
    system = DVRL(Ridge(), **SMALL).fit(X, 0.0 * y, X_val=X_val, y_val=0.0 * y_val)
    assert np.isfinite(system.values_).all()


def test_values_do_not_depend_on_n_jobs():
    X, y, X_val, y_val = small_rows()
    with parallel_config(backend="threading"):
        values = [
            DVRL(GaussianNB(), n_jobs=n_jobs, **SMALL)
            .fit(X, y, X_val=X_val, y_val=y_val)
            .values_
            for n_jobs in (None, 2)
        ]
    np.testing.assert_array_equal(*values)


def test_folds_train_a_network_each_and_new_rows_see_all():
    X, y, *_ = small_rows()
    system = DVRL(cv=3, **SMALL).fit(X, y)
    assert len(system.rewards_) == len(system.baseline_scores_) == 3
    each = [one.probabilities(X, y) for one in system._trained]
    np.testing.assert_allclose(system.valuate(X, y), np.mean(each, axis=0))
    assert np.isfinite(system.values_).all()


def test_values_with_a_splitter_are_those_of_its_networks():
    X, y, *_ = small_rows()
    folds = list(ShuffleSplit(2, test_size=0.4, random_state=0).split(X))
    system = DVRL(cv=folds, **SMALL).fit(X, y)
    total, count = np.zeros(60), np.zeros(60)
    for one, (train, _) in zip(system._trained, folds, strict=True):
        total[train] += one.probabilities(X[train], y[train])
        count[train] += 1
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(system.values_, total / count)


def test_sparse_rows():
    X, y, X_val, y_val = small_rows()
    X, X_val = (sparse.csr_array(np.where(A > 0, A, 0.0)) for A in (X, X_val))
    system = DVRL(**SMALL).fit(X, y, X_val=X_val, y_val=y_val)
    np.testing.assert_allclose(system.valuate(X, y), system.values_)


def test_a_frame_of_words_through_a_pipeline():
    X, y, X_val, y_val = small_rows()
    tables = []
    for A in (X, X_val):
        table = frame(A)
        table["word"] = np.where(A[:, 1] > 0, "up", "down")
        tables.append(table)
    encode = make_column_transformer(
        (OneHotEncoder(), ["word"]), remainder=StandardScaler()
    )
    pipeline = make_pipeline(encode, LogisticRegression())
    system = DVRL(pipeline, **SMALL).fit(tables[0], y, X_val=tables[1], y_val=y_val)
    np.testing.assert_allclose(system.valuate(tables[0], y), system.values_)
    assert system.to_frame().index.equals(tables[0].index)


def test_labels_may_be_words():
    X, y, X_val, y_val = small_rows(3)
    words = np.array(["a", "b", "c"])
    coded = DVRL(**SMALL).fit(X, y, X_val=X_val, y_val=y_val)
    named = DVRL(**SMALL).fit(X, words[y], X_val=X_val, y_val=words[y_val])
    np.testing.assert_array_equal(coded.values_, named.values_)


def test_scales():
    table = np.array([[0.0, 1.0, 5.0], [0.0, 1.0, 5.0], [4.0, 3.0, 5.0]])
    scaled = Scale.of(table)(table)
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), [1.0, 1.0, 0.0], atol=1e-6)
    rare = np.random.default_rng(0).normal(size=(1000, 5))
    rare[:, 0] = np.arange(1000) == 7
    for table_of in (np.asarray, sparse.csr_array):
        joint = Scale.of(table_of(rare), joint=True)(table_of(rare))
        joint = joint.toarray() if sparse.issparse(joint) else joint
        np.testing.assert_allclose(np.square(joint).sum(axis=1).mean(), 1.0, rtol=1e-5)
        assert np.abs(joint[:, 0]).max() <= 4.0
    thin = Scale.of(sparse.csr_array(table))
    np.testing.assert_allclose(thin.unit, Scale.of(table).unit)
    np.testing.assert_allclose(
        thin(sparse.csr_array(table)).toarray(), table / thin.unit, rtol=1e-6
    )


def test_a_batch_holds_every_class():
    X, y, X_val, y_val = small_rows(3)
    system = DVRL(batch_size=4, **SMALL).fit(X, y, X_val=X_val, y_val=y_val)
    assert np.isfinite(system.values_).all()


def test_validation_rows_of_one_class():
    X, y, X_val, y_val = small_rows()
    one = y_val == 1
    system = DVRL(**SMALL).fit(X, y, X_val=X_val[one], y_val=y_val[one])
    assert np.isfinite(system.values_).all()


class Interrupted(ClassifierMixin, BaseEstimator):
    """Presses Ctrl-C after some fits."""

    calls = 0

    def fit(self, X, y):
        type(self).calls += 1
        if type(self).calls > 8:
            raise KeyboardInterrupt
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[(np.asarray(X)[:, 0] > 0).astype(int)]


def test_ctrl_c_keeps_the_network_trained_so_far():
    X, y, X_val, y_val = small_rows()
    Interrupted.calls = 0
    system = DVRL(Interrupted(), **{**SMALL, "n_iter": 50})
    with pytest.warns(InterruptedWarning, match="first 3 of 50 steps of DVRL"):
        system.fit(X, y, X_val=X_val, y_val=y_val)
    assert system.interrupted_
    assert system.n_iter_ == 3
    np.testing.assert_allclose(system.valuate(X, y), system.values_)


def test_verbose_shows_a_bar(monkeypatch, capsys):
    pytest.importorskip("tqdm")
    monkeypatch.setattr("skpuma.utils._progress.BAR_AFTER_SECONDS", 0.0)
    X, y, X_val, y_val = small_rows()
    DVRL(verbose=1, **SMALL).fit(X, y, X_val=X_val, y_val=y_val)
    assert "steps of DVRL" in capsys.readouterr().err


# -- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "error", "match"),
    [
        ({"n_iter": 0}, ValueError, "n_iter must be >= 1"),
        ({"n_selections": 1.5}, TypeError, "n_selections must be an int"),
        ({"n_layers": 2}, ValueError, "n_layers must be >= 3"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be > 0"),
        ({"logit_penalty": -1.0}, ValueError, "logit_penalty must be >= 0"),
        ({"threshold": 0.4}, ValueError, "threshold must be >= 0.5"),
        ({"baseline": "mean"}, ValueError, "is not one of moving_average, fixed"),
        ({"scoring": "no such score"}, ValueError, "no such score"),
    ],
)
def test_bad_parameters(keywords, error, match):
    X, y, X_val, y_val = small_rows()
    with pytest.raises(error, match=match):
        DVRL(**{**SMALL, **keywords}).fit(X, y, X_val=X_val, y_val=y_val)


def test_a_frozen_estimator_is_refused():
    X, y, X_val, y_val = small_rows()
    fitted = FrozenEstimator(LogisticRegression().fit(X, y))
    with pytest.raises(ValueError, match="FrozenEstimator is not fitted again"):
        DVRL(fitted, **SMALL).fit(X, y, X_val=X_val, y_val=y_val)


def test_words_without_a_pipeline_are_refused():
    class Any(Interrupted):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.full(len(X), self.classes_[0])

    X, y, X_val, y_val = small_rows()
    words, words_val = (
        pd.DataFrame({"a": np.where(A[:, 0] > 0, "x", "y")}) for A in (X, X_val)
    )
    with pytest.raises(ValueError, match="Pipeline that encodes"):
        DVRL(Any(), **SMALL).fit(words, y, X_val=words_val, y_val=y_val)


def test_new_rows_of_an_unknown_label_are_refused():
    X, y, X_val, y_val = small_rows()
    system = DVRL(**SMALL)
    with pytest.raises(NotFittedError):
        system.valuate(X, y)
    system.fit(X, y, X_val=X_val, y_val=y_val)
    with pytest.raises(ValueError, match=r"not among the training rows: \[5\]"):
        system.valuate(X[:2], [0, 5])
    with pytest.raises(ValueError, match="features"):
        system.valuate(X[:2, :2], [0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        system.valuate(X[:3], [0, 1])
    with pytest.raises(ValueError, match="0 rows"):
        system.valuate(X[:0], [])


def test_a_failed_fit_changes_nothing():
    X, y, X_val, y_val = small_rows()
    system = DVRL(**SMALL).fit(X, y, X_val=X_val, y_val=y_val)
    values = system.values_.copy()
    with pytest.raises(ValueError, match="NaN"):
        system.fit(np.full_like(X, np.nan), y, X_val=X_val, y_val=y_val)
    np.testing.assert_array_equal(system.valuate(X, y), values)


CHECKED = [
    DVRL(base, cv=2, **{**SMALL, "n_selections": 1, "n_iter": 2})
    for base in (GaussianNB(),)
]


@parametrize_with_checks(CHECKED)
def test_common_checks(estimator, check):
    check(estimator)
