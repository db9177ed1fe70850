"""Against scikit-learn's bagging, and a count by hand."""

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skpuma import InterruptedWarning
from skpuma.datasets import flip_labels
from skpuma.valuation import DataOOB
from tests.data import blobs


def bagged(estimator, X, y, n_estimators, seed):
    """(values, errors, counts) from scikit-learn's own samples and learners."""
    bagging = BaggingClassifier(estimator, n_estimators, random_state=seed).fit(X, y)
    count, right = np.zeros(len(y)), np.zeros(len(y))
    for inside, learner in zip(
        bagging.estimators_samples_, bagging.estimators_, strict=True
    ):
        out = np.setdiff1d(np.arange(len(y)), inside)
        right[out] += learner.predict(X[out]) == y[out]
        count[out] += 1
    return right / count, count


def test_agrees_with_bagging():
    X, y = blobs(60)
    tree = DecisionTreeClassifier()
    system = DataOOB(n_estimators=150, random_state=0).fit(X, y)
    expected, count = bagged(tree, X, y, 150, seed=1)
    p = np.clip(expected, 0.05, 0.95)
    error = np.sqrt(p * (1 - p) * (1 / count + 1 / system.n_out_of_bag_))
    # Other samples of the same distribution: differences are those of two means.
    assert np.abs(system.values_ - expected).max() < 5 * error.max()
    z = (system.values_ - expected) / error
    assert abs(z.mean()) < 0.6
    assert np.corrcoef(system.values_, expected)[0, 1] > 0.95
    assert system.n_out_of_bag_.mean() == pytest.approx(150 * np.exp(-1), rel=0.04)


def test_standard_error_is_that_of_a_mean_of_learners():
    X, y = blobs(40)
    many = [DataOOB(n_estimators=30, random_state=seed).fit(X, y) for seed in range(12)]
    spread = np.std([system.values_ for system in many], axis=0)
    claimed = np.sqrt(np.mean([s.standard_errors_**2 for s in many], axis=0))
    some = claimed > 0.03
    assert np.median(spread[some] / claimed[some]) == pytest.approx(1.0, abs=0.3)


def test_regression_is_minus_the_squared_error():
    X, _ = blobs(40)
    y = X[:, 0] * 2.0
    y[5] += 10.0
    # Ridge with hardly a penalty finds the line whatever the sample, but for row 5.
    system = DataOOB(Ridge(1e-8), n_estimators=40, random_state=0).fit(X, y)
    assert system.values_[5] == pytest.approx(-100.0, rel=0.3)
    assert np.argmin(system.values_) == 5
    assert (system.values_ <= 0.0).all()
    pair = DataOOB(Ridge(1e-8), n_estimators=40, random_state=0)
    pair.fit(X, np.column_stack([y, y]))
    np.testing.assert_allclose(pair.values_, 2 * system.values_, rtol=1e-9)


def test_other_base_and_smaller_samples():
    X, y = blobs(60)
    y, flipped = flip_labels(y, 0.1, random_state=0)
    system = DataOOB(LogisticRegression(), n_estimators=50, random_state=0)
    system.set_params(max_samples=0.3).fit(X, y)
    assert system.values_[flipped].mean() < system.values_[~flipped].mean() - 0.4
    # A row is left out of 0.3 n draws with probability exp(-0.3).
    share = system.n_out_of_bag_.mean() / 50
    assert share == pytest.approx(np.exp(-0.3), abs=0.03)


def test_a_sample_of_one_class_predicts_it():
    X, _ = blobs(12)
    y = np.r_[1, np.zeros(11, dtype=int)]
    system = DataOOB(LogisticRegression(), n_estimators=60, random_state=0).fit(X, y)
    assert np.isfinite(system.values_).all()
    # Out of bag nothing in the sample has its label.
    assert system.values_[0] == 0.0


def test_rows_in_every_sample_have_no_value():
    X, y = blobs(20)
    system = DataOOB(n_estimators=1, random_state=0).fit(X, y)
    inside = system.n_out_of_bag_ == 0
    assert inside.any()
    np.testing.assert_array_equal(np.isnan(system.values_), inside)
    assert np.isnan(system.standard_errors_).all()


def test_seeds_only_what_is_open():
    X, y = blobs(40)
    trees = [DecisionTreeClassifier(random_state=s, max_features=1) for s in (0, None)]
    fixed, free = (
        DataOOB(tree, n_estimators=20, random_state=0).fit(X, y).values_
        for tree in trees
    )
    again = DataOOB(trees[1], n_estimators=20, random_state=0).fit(X, y).values_
    np.testing.assert_array_equal(again, free)
    assert not np.array_equal(fixed, free)


class Interrupted(DecisionTreeClassifier):
    """Ctrl-C at the eleventh fit."""

    fits = 0

    def fit(self, X, y, sample_weight=None, check_input=True):
        Interrupted.fits += 1
        if Interrupted.fits == 11:
            raise KeyboardInterrupt
        return super().fit(X, y, sample_weight, check_input)


def test_interrupt_keeps_the_learners_that_are_done():
    X, y = blobs(40)
    Interrupted.fits = 0
    with pytest.warns(InterruptedWarning, match="first 10 of 50 learners"):
        cut = DataOOB(Interrupted(), n_estimators=50, random_state=0).fit(X, y)
    assert cut.interrupted_
    Interrupted.fits = 100
    whole = DataOOB(Interrupted(), n_estimators=50, random_state=0).fit(X, y)
    assert (cut.n_out_of_bag_ <= 10).all()
    assert whole.n_out_of_bag_.sum() > 4 * cut.n_out_of_bag_.sum()


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_estimators": 0}, "n_estimators must be >= 1"),
        ({"max_samples": 0.0}, "max_samples must be > 0"),
        ({"max_samples": 1.5}, "max_samples must be > 0.0 and <= 1.0"),
        ({"estimator": FrozenEstimator(DecisionTreeRegressor())}, "FrozenEstimator"),
    ],
)
def test_bad_parameters(parameters, match):
    X, y = blobs(40)
    with pytest.raises((TypeError, ValueError), match=match):
        DataOOB(**parameters).fit(X, y)
