"""The page about a model of one's own: its code runs, and its model is a good one."""

import numpy as np
import pytest

from skpuma import PumaPatcher, PumaValuator, supports
from skpuma.checks import check_model
from tests.contracts import problems
from tests.pages import DOC, run


@pytest.fixture(scope="module")
def page():
    """What the code of the page defines."""
    return run(DOC / "adapters.rst")


def bump_data(seed):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (200, 1))
    return X, 2 * np.exp(-((X[:, 0] - 0.5) ** 2)) + 0.3 * rng.standard_normal(200)


def test_the_page_runs(page, capsys):
    assert page["patcher"].report_.n_removed == 5
    assert len(page["suspects"]) == 5


def test_the_adapter_holds_the_contract_with_weights(page):
    X, y = bump_data(3)
    weight = problems.weights(len(X))
    estimator = page["Bump"]().fit(X, y, sample_weight=weight)
    assert supports(estimator) == (True, "")
    check_model(estimator, X, y, sample_weight=weight, stationary=1e-6)


def test_effects_and_patches_are_those_of_refits(page):
    Bump = page["Bump"]
    X, y = bump_data(3)
    X_val, y_val = bump_data(4)
    valuator = PumaValuator(Bump(), effect="one_step")
    valuator.fit(X, y, X_val=X_val, y_val=y_val)
    check = valuator.check_influence(X, y, X_val=X_val, y_val=y_val)
    assert check.pearson[0] > 0.99
    assert 0.95 < check.slope[0] < 1.05
    removed = np.arange(len(X)) < 10
    patcher = PumaPatcher(Bump(), delta=np.inf, reweight=False)
    patcher.fit(X, y).patch(X, y, remove=removed)
    refitted = Bump().fit(X[~removed], y[~removed]).predict(X)
    moved = np.abs(Bump().fit(X, y).predict(X) - refitted).max()
    assert np.abs(patcher.predict(X) - refitted).max() < 0.1 * moved
    assert isinstance(patcher.estimator_, Bump)
