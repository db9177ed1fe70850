"""Every line of `skpuma.losses.LOSSES`, against finite differences and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from skpuma.checks import check_loss
from skpuma.losses import LOSSES
from skpuma.losses._base import BaseLoss
from skpuma.utils._registry import load

# Numbers of raw outputs that a loss takes, where these are not all.
OUTPUTS = {"binary_log": (1,), "multinomial_log": (2, 3)}
CASES = [(name, k) for name in sorted(LOSSES) for k in OUTPUTS.get(name, (1, 3))]


def make(name):
    try:
        return load(LOSSES[name])()
    except TypeError as error:
        pytest.fail(f"A loss of the table needs no arguments, {name} does: {error}")


def raw_and_targets(loss, k, n=25, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, k))
    if loss.classification:
        return z, rng.integers(0, max(k, 2), n)
    return z, rng.poisson(1.5, (n, k)).astype(float)


@pytest.mark.parametrize(("name", "k"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_contract(name, k, seed):
    loss = make(name)
    check_loss(loss, *raw_and_targets(loss, k, seed=seed))


@pytest.mark.parametrize(("name", "k"), CASES)
def test_one_row(name, k):
    loss = make(name)
    check_loss(loss, *raw_and_targets(loss, k, n=1))


@pytest.mark.parametrize(("name", "k"), CASES)
def test_large_outputs_stay_finite(name, k):
    loss = make(name)
    z, y = raw_and_targets(loss, k)
    z = 300.0 * np.sign(z)
    results = loss.value(z, y), loss.gradient(z, y), loss.hessian_root(z, y)
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize(("name", "k"), CASES)
def test_equal_losses_compare_equal(name, k):
    assert make(name) == make(name)
    assert len({make(name), make(name)}) == 1
    assert all(make(name) != make(other) for other in LOSSES if other != name)


@pytest.mark.parametrize(("name", "k"), [("binary_log", 1), ("multinomial_log", 3)])
def test_log_losses_are_those_of_sklearn(name, k):
    loss = make(name)
    z, y = raw_and_targets(loss, k)
    expected = metrics.log_loss(y, loss.predict(z), labels=np.arange(max(k, 2)))
    assert np.mean(loss.value(z, y)) == pytest.approx(expected, rel=1e-12)


def test_squared_loss_is_half_the_squared_error():
    loss = make("squared")
    z, y = raw_and_targets(loss, 3)
    expected = 0.5 * 3 * metrics.mean_squared_error(y, z)
    assert np.mean(loss.value(z, y)) == pytest.approx(expected, rel=1e-12)


def test_poisson_loss_is_half_the_deviance_up_to_terms_of_y():
    loss = make("poisson")
    z, y = raw_and_targets(loss, 1)

    def deviance(at):
        return metrics.mean_poisson_deviance(y[:, 0], np.exp(at[:, 0]))

    ours = np.mean(loss.value(z, y) - loss.value(0 * z, y))
    assert ours == pytest.approx(0.5 * (deviance(z) - deviance(0 * z)), rel=1e-10)


@pytest.mark.parametrize(("name", "k"), CASES)
def test_a_loss_without_a_root_gets_one_from_its_hessian(name, k):
    base = type(make(name))
    loss = type("NoRoot", (base,), {"hessian_root": BaseLoss.hessian_root})()
    check_loss(loss, *raw_and_targets(loss, k))


def test_dispersion_is_the_mean_square_for_the_squared_loss_only():
    z, y = np.array([[1.0], [2.0], [5.0]]), np.array([[0.0], [2.0], [2.0]])
    weight = np.array([1.0, 1.0, 2.0])
    assert make("squared").dispersion(z, y, weight) == pytest.approx(19.0 / 4.0)
    assert make("squared").dispersion(y, y, weight) > 0.0
    assert make("poisson").dispersion(z, y, weight) == 1.0
