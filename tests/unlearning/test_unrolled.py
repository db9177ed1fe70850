"""Unrolled SGD: training and first-order removal, against numpy and scikit-learn."""

import copy
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpuma import kernels
from skpuma.curvature import curvature_of
from skpuma.models import adapt
from skpuma.objective import Objective
from skpuma.unlearning import UnrolledSGDClassifier, UnrolledSGDRegressor
from skpuma.unlearning._plain_sgd import LOG, SQUARED, PlainSGD
from skpuma.utils.errors import InterruptedWarning
from tests import naive
from tests.data import blobs, diabetes, digits, frame, snapshot


def tenth(X, y):
    return X[:120], y[:120]


def problem(name):
    """(unfitted system, X, y) of a kind of model."""
    kind, _, shape = name.partition(" ")
    hidden = {"": (), "tanh": (5,), "relu": (4, 3)}[shape]
    activation = "relu" if shape == "relu" else "tanh"
    if kind == "numbers":
        X, y = tenth(*diabetes())
        return UnrolledSGDRegressor(hidden, activation, random_state=0), X, y
    X, y = blobs(120, k=2 if kind == "two" else 3)
    return UnrolledSGDClassifier(hidden, activation, random_state=0), X, y


MODELS = ["two", "three", "numbers", "two tanh", "three relu", "numbers relu"]
NETWORKS = [name for name in MODELS if " " in name]
each = pytest.mark.parametrize("name", MODELS)


def vector(estimator):
    """Parameters in scikit-learn's arrays, intercepts last, as one vector."""
    if hasattr(estimator, "coefs_"):
        parts = [*estimator.coefs_, *estimator.intercepts_]
    else:
        parts = [estimator.coef_, estimator.intercept_]
    return np.concatenate([np.ravel(part) for part in parts])


def objective_of(system, X, y):
    model = adapt(system.estimator_)
    return Objective.at_fit(model, X, model.targets(y), np.ones(len(y)))


# -- gradients -------------------------------------------------------------------------


def losses(theta, X, y, widths, activation, loss, sd):
    """Loss and penalty of every row, in a few lines of numpy."""
    values, start, last = X, 0, len(widths) - 2
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
        middle = start + fan_in * fan_out
        values = values @ theta[start:middle].reshape(fan_in, fan_out)
        values = values + theta[middle : middle + fan_out]
        start = middle + fan_out
        if layer < last:
            values = np.tanh(values) if activation == 0 else np.maximum(values, 0)
    if loss == SQUARED:
        return (values[:, 0] - y) ** 2 / 2
    if values.shape[1] == 1:
        values = np.hstack([-values / 2, values / 2])
    logs = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    entropy = -logs[np.arange(len(y)), y.astype(int)]
    return entropy + sd * values.std(axis=1, ddof=1)


@pytest.mark.parametrize("activation", [0, 1])
@pytest.mark.parametrize("hidden", [(), (4,), (3, 5)], ids=str)
@pytest.mark.parametrize(("loss", "k"), [(SQUARED, 1), (LOG, 1), (LOG, 2), (LOG, 4)])
def test_gradient_is_that_of_finite_differences(loss, k, hidden, activation):
    rng = np.random.default_rng(0)
    widths = np.array([3, *hidden, k])
    X, weight = rng.standard_normal((9, 3)), rng.uniform(0, 2, 9)
    y = rng.integers(0, max(k, 2), 9).astype(float)
    theta = rng.standard_normal((widths[:-1] * widths[1:] + widths[1:]).sum())
    settings = widths, activation, loss, 0.7
    got = kernels.network_gradient(X, y, weight, theta, *settings, True)
    step = 1e-6 * np.eye(len(theta))
    ahead = [weight @ losses(theta + h, X, y, *settings) for h in step]
    back = [weight @ losses(theta - h, X, y, *settings) for h in step]
    expected = (np.array(ahead) - np.array(back)) / 2e-6
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


@each
def test_gradient_and_penalty_are_those_of_the_adapter(name):
    """What is minimised is J of the estimator that comes out, its penalty included."""
    system, X, y = problem(name)
    system.set_params(alpha=0.3, batch_size=50).fit(X, y)
    objective = objective_of(system, X, y)
    sgd, theta = system._sgd, system._read(system.estimator_)
    ours = sgd.gradient(X, system._coded(y), np.ones(len(y)), theta) / len(y)
    parts = []
    for (weights, intercepts), (by_weight, by_intercept) in zip(
        sgd.layers(theta), sgd.layers(ours), strict=True
    ):
        assert intercepts.shape == by_intercept.shape
        by_weight = by_weight + 0.3 * weights
        parts += [by_weight.T if name in ("two", "three") else by_weight, by_intercept]
    ours = np.concatenate([np.ravel(part) for part in parts])
    np.testing.assert_allclose(ours, objective.gradient(), rtol=1e-10, atol=1e-13)


# -- training --------------------------------------------------------------------------


@each
@pytest.mark.parametrize("sd", [0.0, 0.4])
def test_training_is_that_of_a_plain_loop(name, sd):
    system, X, y = problem(name)
    if "sd_penalty" in system.get_params():
        system.set_params(sd_penalty=sd)
    system.set_params(n_epochs=2, batch_size=50, alpha=0.01).fit(X, y)
    sgd, code = system._sgd, system._coded(y)
    rng, theta = np.random.RandomState(sgd.seed), system._initial
    network = sgd._network()
    for _ in range(2):
        order = rng.permutation(len(y))
        batches = order, [0, 50, 100, 120]
        theta = naive.network_sgd(
            X, code, np.ones(len(y)), *batches, theta, *network, 0.01, sgd.learning_rate
        )
    got = system._read(system.estimator_)
    np.testing.assert_allclose(got, theta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_is_what_scikit_learn_trains(name):
    """With one batch of all rows the order is nothing, and fit does the same."""
    system, X, y = problem(name)
    system.set_params(batch_size=len(y), n_epochs=15, alpha=0.02).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = clone(system.estimator_).fit(X, y)
    assert system.estimator_.n_iter_ == theirs.n_iter_ == 15
    np.testing.assert_allclose(
        vector(system.estimator_), vector(theirs), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(system.predict(X), theirs.predict(X), rtol=1e-9)


@pytest.mark.parametrize("name", ["two", "three", "numbers"])
def test_line_comes_to_the_optimum_of_its_estimator(name):
    system, X, y = problem(name)
    rate = 0.05 if name == "numbers" else 1.0
    settings = {"batch_size": len(y), "alpha": 0.1, "learning_rate": rate}
    system.set_params(**settings, n_epochs=3000).fit(X, y)
    tight = {"tol": 1e-12, "max_iter": 10_000}
    theirs = clone(system.estimator_).set_params(**tight).fit(X, y)
    np.testing.assert_allclose(
        vector(system.estimator_), vector(theirs), rtol=1e-4, atol=1e-6
    )


def test_estimators_are_plain():
    kinds = [LogisticRegression, LogisticRegression, Ridge]
    kinds += [MLPClassifier, MLPClassifier, MLPRegressor]
    for name, kind in zip(MODELS, kinds, strict=True):
        system, X, y = problem(name)
        table = frame(X)
        system.fit(table, y)
        assert type(system.estimator_) is kind
        assert system.estimator_.feature_names_in_.tolist() == list(table.columns)
        assert system.cost_ == 10 * len(y)
        assert system.storage_ == 8 * len(vector(system.estimator_))
        assert system.score(table, y) == system.estimator_.score(table, y)
        if name != "numbers" and kind is not MLPRegressor:
            np.testing.assert_array_equal(
                system.predict_proba(table), system.estimator_.predict_proba(table)
            )


@pytest.mark.parametrize("name", ["three relu", "numbers tanh"])
def test_network_can_be_trained_further_by_scikit_learn(name):
    system, X, y = problem(name)
    network = system.fit(X, y).estimator_
    before = vector(network)
    network.partial_fit(X, y)
    moved = np.abs(vector(network) - before).max()
    assert 0 < moved < 1


def test_labels_may_be_strings():
    X, y = blobs(120, k=3)
    names = np.array(["c", "a", "b"])
    system = UnrolledSGDClassifier(random_state=0).fit(X, names[y])
    system.forget(X, names[y], [3])
    assert system.classes_.tolist() == ["a", "b", "c"]
    assert system.score(X, names[y]) > 0.8


@each
def test_without_intercepts(name):
    system, X, y = problem(name)
    system.set_params(fit_intercept=False).fit(X, y).forget(X, y, [4])
    estimator = system.estimator_
    intercepts = getattr(estimator, "intercepts_", None) or [estimator.intercept_]
    assert not any(np.any(part) for part in intercepts)
    assert np.abs(vector(estimator)).max() > 0


# -- forgetting ------------------------------------------------------------------------


def retrained(system, X, y, gone):
    """Parameters after the same training, of which the rows had no part."""
    sgd, rng = system._sgd, np.random.RandomState(system._sgd.seed)
    theta, code = system._initial, system._coded(y)
    for _ in range(system.n_iter_):
        order = rng.permutation(len(y))
        for start in range(0, len(y), sgd.batch_size):
            batch = order[start : start + sgd.batch_size]
            kept = batch[~gone[batch]]
            network = sgd._network()
            step = naive.network_gradient(
                X[kept], code[kept], np.ones(len(kept)), theta, *network
            )
            step = step / len(batch)
            for part, weights in zip(sgd.layers(step), sgd.layers(theta), strict=True):
                part[0][...] += sgd.alpha * weights[0]
            theta = theta - sgd.learning_rate * step
    return theta


def moves(name, gradient_at, rate, gone, n_epochs=2):
    """How far forgetting, and training without the rows, move the parameters."""
    system, X, y = problem(name)
    system.set_params(learning_rate=rate, n_epochs=n_epochs, gradient_at=gradient_at)
    before = system._read(system.fit(X, y).estimator_)
    system.forget(X, y, gone)
    ours = system._read(system.estimator_) - before
    mask = np.zeros(len(y), dtype=bool)
    mask[gone] = True
    return system, X, y, ours, retrained(system, X, y, mask) - before


@each
@pytest.mark.parametrize("gradient_at", ["initial", "final"])
def test_forgetting_is_retraining_to_first_order(name, gradient_at):
    for gone in ([3], [5, 6, 50]):
        *_, ours, theirs = moves(name, gradient_at, 2e-4, gone)
        assert np.corrcoef(ours, theirs)[0, 1] > 0.999
        assert (ours @ theirs) / (ours @ ours) == pytest.approx(1.0, abs=0.02)


@each
def test_error_is_of_second_order_in_the_rate(name):
    errors = []
    for rate in (1e-3, 5e-4):
        *_, ours, theirs = moves(name, "initial", rate, [3])
        errors.append(np.linalg.norm(ours - theirs))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)


@each
def test_verification_error_is_the_distance_to_retraining(name):
    system, X, y, ours, theirs = moves(name, "initial", 0.02, [3, 40], n_epochs=3)
    expected = np.linalg.norm(ours - theirs)
    assert system.verification_error(X, y) == pytest.approx(expected, rel=1e-8)
    assert system.cost_ == 2


@each
def test_nothing_forgotten_is_retrained_to_the_bit(name):
    system, X, y = problem(name)
    assert system.fit(X, y).verification_error(X, y) == 0.0


@each
@pytest.mark.parametrize("gradient_at", ["initial", "final"])
def test_forgetting_in_turns(name, gradient_at):
    system, X, y = problem(name)
    system.set_params(gradient_at=gradient_at, learning_rate=0.01).fit(X, y)
    together, turns = copy.deepcopy(system), system
    together.forget(X, y, [2, 9])
    turns.forget(X, y, [2]).forget(X, y, [9])
    tolerance = 1e-12 if gradient_at == "initial" else 1e-2
    np.testing.assert_allclose(
        vector(turns.estimator_), vector(together.estimator_), rtol=0, atol=tolerance
    )


def test_last_batch_counts_more():
    X, y = blobs(50)
    rates = UnrolledSGDClassifier(batch_size=32, n_epochs=3, random_state=0)
    rates = rates.fit(X, y)._sgd.rates(50, 3)
    assert set(np.round(rates / 0.1 * 288).astype(int)) <= {27, 34, 41, 48}
    assert rates.sum() == pytest.approx(0.1 * 3 * 2)


@each
def test_rows_that_were_forgotten_may_hold_anything(name):
    system, X, y = problem(name)
    system.set_params(learning_rate=0.01).fit(X, y).forget(X, y, [3])
    expected = system.verification_error(X, y)
    X = np.array(X)
    X[3] = np.nan
    assert system.verification_error(X, y) == expected
    system.forget(X, y, [4])
    assert np.isfinite(vector(system.estimator_)).all()


@each
def test_the_fitted_estimator_is_not_changed_in_place(name):
    system, X, y = problem(name)
    kept = system.fit(X, y).estimator_
    before = vector(kept).copy()
    system.forget(X, y, [3])
    np.testing.assert_array_equal(vector(kept), before)
    assert np.abs(vector(system.estimator_) - before).max() > 0


# -- the unlearning error and its penalty ----------------------------------------------


@each
def test_unlearning_error_is_that_of_the_paper(name):
    system, X, y = problem(name)
    system.set_params(alpha=0.0, batch_size=32, n_epochs=3).fit(X, y)
    objective = objective_of(system, X, y)
    curvature = curvature_of(objective, "hessian")
    hessian = np.column_stack([curvature @ e for e in np.eye(curvature.shape[0])])
    sigma = np.sqrt(np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1])
    way = np.linalg.norm(system._read(system.estimator_) - system._initial)
    expected = system.learning_rate**2 * (3 * 4) / 2 * way * sigma
    assert system.unlearning_error_ == pytest.approx(expected, rel=2e-3)


def test_unlearning_error_of_one_parameter_and_of_a_flat_loss():
    X, y = blobs(40, d=1)
    system = UnrolledSGDClassifier(fit_intercept=False, random_state=0).fit(X, y)
    hessian = curvature_of(objective_of(system, X, y), "hessian") @ np.ones(1)
    way = abs(system.estimator_.coef_[0, 0])
    expected = 0.1**2 * 20 / 2 * way * np.sqrt(hessian[0])
    assert system.unlearning_error_ == pytest.approx(expected, rel=1e-2)
    flat = UnrolledSGDClassifier(n_epochs=1, random_state=0).fit(1e6 * X, y)
    assert flat.unlearning_error_ == 0.0


def pretrained_errors(sd, seed):
    """Both errors of a network that was trained with the penalty before."""
    X, y = digits(10, 600)
    net = UnrolledSGDClassifier((16, 16), sd_penalty=sd, random_state=seed)
    before = net.set_params(n_epochs=30).fit(X[:300], y[:300]).estimator_
    net = clone(net).set_params(
        pretrained=FrozenEstimator(before), n_epochs=1, learning_rate=0.01
    )
    X, y = X[300:], y[300:]
    net.fit(X, y)
    gone = np.random.default_rng(seed).choice(300, 30, replace=False)
    predicted = net.unlearning_error_
    return predicted, net.forget(X, y, gone).verification_error(X, y)


def test_penalty_on_the_spread_of_logits_makes_both_errors_smaller():
    plain, small = (
        np.array([pretrained_errors(sd, seed) for seed in range(12)])
        for sd in (0.0, 1.0)
    )
    ratio = small.mean(axis=0) / plain.mean(axis=0)
    assert (ratio < 0.8).all()
    for column in range(2):
        test = stats.wilcoxon(small[:, column], plain[:, column], alternative="less")
        assert test.pvalue < 0.01


def test_penalty_keeps_the_logits_together():
    X, y = digits(10, 300)
    spreads = [
        UnrolledSGDClassifier(sd_penalty=sd, random_state=0)
        .fit(X, y)
        .decision_function(X)
        .std(axis=1)
        .mean()
        for sd in (0.0, 0.2, 0.5)
    ]
    assert spreads[0] > 1.2 * spreads[1] > 1.2 * spreads[2]


# -- a pretrained start ----------------------------------------------------------------


@each
def test_training_starts_where_the_pretrained_model_is(name):
    system, X, y = problem(name)
    first = system.fit(X, y).estimator_
    again = clone(system).set_params(pretrained=FrozenEstimator(first))
    again = clone(again).set_params(learning_rate=1e-9).fit(X, y)
    np.testing.assert_allclose(
        vector(again.estimator_), vector(first), rtol=0, atol=1e-6
    )
    before = snapshot(first)
    again.forget(X, y, [3])
    assert snapshot(first) == before


def test_pretrained_models_of_other_shapes_are_refused():
    X, y = blobs(60, k=3)

    def fit(given, X=X, y=y, **settings):
        UnrolledSGDClassifier(pretrained=given, **settings).fit(X, y)

    line = UnrolledSGDClassifier().fit(X, y).estimator_
    net = UnrolledSGDClassifier((4,)).fit(X, y).estimator_
    with pytest.raises(TypeError, match="must be a FrozenEstimator"):
        fit(line)
    line, net = FrozenEstimator(line), FrozenEstimator(net)
    with pytest.raises(ValueError, match=r"weights of shapes \[\(4, 3\)\]; .* need"):
        fit(line, X=X[:, :2])
    with pytest.raises(ValueError, match="need"):
        fit(net)
    with pytest.raises(ValueError, match="need"):
        fit(line, hidden_layer_sizes=(4,))
    with pytest.raises(ValueError, match="activation='tanh', not 'relu'"):
        fit(net, hidden_layer_sizes=(4,), activation="relu")
    with pytest.raises(ValueError, match="knows the classes"):
        fit(line, y=y + 1)


# -- bad input, Ctrl-C, scikit-learn ---------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes"),
        ({"activation": "logistic"}, "activation='logistic'"),
        ({"alpha": -1.0}, "alpha"),
        ({"sd_penalty": -1.0}, "sd_penalty"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"gradient_at": "middle"}, "gradient_at='middle'"),
        ({"fit_intercept": 1}, "fit_intercept"),
    ],
    ids=lambda value: str(value),
)
def test_bad_parameters(settings, match):
    X, y = blobs(40)
    system = UnrolledSGDClassifier(**settings)
    with pytest.raises((ValueError, TypeError), match=match):
        system.fit(X, y)
    assert vars(system).keys() == system.get_params().keys()


def test_what_forget_needs_is_that_of_the_fit():
    X, y = blobs(60)
    system = UnrolledSGDClassifier(random_state=0).fit(X, y)
    twin = copy.deepcopy(system).forget(X, y, [3])
    system.set_params(learning_rate=5.0, batch_size=2, n_epochs=1).forget(X, y, [3])
    np.testing.assert_array_equal(vector(system.estimator_), vector(twin.estimator_))
    with pytest.raises(ValueError, match="gradient_at"):
        system.set_params(gradient_at="middle").forget(X, y, [4])
    assert system.forgotten_.sum() == 1


def test_divergence_is_said_and_changes_nothing():
    X, y = tenth(*diabetes())
    system = UnrolledSGDRegressor(learning_rate=5.0, n_epochs=200)
    with pytest.raises(ValueError, match="diverge at learning_rate=5: scale"):
        system.fit(X, y)
    assert not hasattr(system, "estimator_")
    fitted = UnrolledSGDRegressor(random_state=0).fit(X, y)
    before = snapshot(fitted.estimator_)
    with pytest.raises(ValueError, match="diverge"):
        fitted.set_params(learning_rate=5.0, n_epochs=200).fit(X, y)
    assert snapshot(fitted.estimator_) == before


def test_other_rows_are_refused():
    X, y = blobs(60)
    system = UnrolledSGDClassifier(random_state=0).fit(X, y)
    for rows in ((X[::-1], y[::-1]), (X[:50], y[:50])):
        with pytest.raises(ValueError, match="not the rows of the fit"):
            system.verification_error(*rows)


def test_one_target_a_row():
    X, y = tenth(*diabetes())
    with pytest.raises(ValueError, match="one target a row"):
        UnrolledSGDRegressor().fit(X, np.column_stack([y, y]))


def test_ctrl_c_keeps_whole_epochs(monkeypatch):
    X, y = blobs(60)
    train, calls = kernels.network_sgd, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(kernels, "network_sgd", interrupted)
    with pytest.warns(InterruptedWarning, match="first 3 of 8 epochs"):
        system = UnrolledSGDClassifier(n_epochs=8, random_state=0).fit(X, y)
    twin = UnrolledSGDClassifier(n_epochs=3, random_state=0).fit(X, y)
    assert system.n_iter_ == 3
    assert system.cost_ == 3 * 60
    np.testing.assert_array_equal(vector(system.estimator_), vector(twin.estimator_))
    assert system.unlearning_error_ == twin.unlearning_error_
    assert system.verification_error(X, y) == 0.0


def test_before_the_fit():
    system = UnrolledSGDClassifier()
    assert hasattr(system, "decision_function")
    assert not hasattr(UnrolledSGDClassifier((3,)), "decision_function")
    assert not hasattr(UnrolledSGDRegressor(), "predict_proba")
    for call in (system.predict, lambda X: system.verification_error(X, [0])):
        with pytest.raises(ValueError, match="not fitted"):
            call([[0.0]])


def test_steps_of_weight_zero_leave_the_parameters():
    sgd = PlainSGD((2, 1), "tanh", LOG, 0.0, 0.0, 0.1, True, 4, 0)
    X, y = blobs(9, d=2)
    start = np.arange(3.0)
    *_, end = sgd.epochs(np.array(X), y.astype(float), np.zeros(9), start, 2)
    np.testing.assert_array_equal(end, start)


# Beside those of `test_contract`.
@parametrize_with_checks(
    [UnrolledSGDClassifier((5,), "relu", sd_penalty=0.01, random_state=0)]
)
def test_common_checks(estimator, check):
    check(estimator)
