"""Against scikit-learn's cross_val_predict."""

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import ShuffleSplit, StratifiedKFold, cross_val_predict
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skpuma import InterruptedWarning
from skpuma.valuation import SelfConfidence
from tests.data import blobs

FOLDS = StratifiedKFold(4)


def test_probability_and_margin():
    X, y = blobs(90, k=3)
    p = cross_val_predict(LogisticRegression(), X, y, cv=FOLDS, method="predict_proba")
    own = p[np.arange(90), y]
    other = np.where(np.arange(3) == y[:, None], -np.inf, p).max(axis=1)
    system = SelfConfidence(cv=FOLDS).fit(X, y)
    np.testing.assert_allclose(system.values_, own)
    np.testing.assert_allclose(system.predictions_, p)
    margin = SelfConfidence(method="margin", cv=FOLDS).fit(X, y)
    np.testing.assert_allclose(margin.values_, own - other)


@pytest.mark.parametrize("columns", [1, 2])
def test_residuals(columns):
    X, _ = blobs(40)
    y = (X @ np.random.default_rng(0).standard_normal((4, columns))).squeeze()
    y = y + 0.1 * np.random.default_rng(1).standard_normal(y.shape)
    splits = list(ShuffleSplit(1, random_state=0).split(X))
    folds = [
        (np.delete(np.arange(40), part), part) for part in np.split(np.arange(40), 4)
    ]
    predicted = cross_val_predict(Ridge(), X, y, cv=folds)
    error = np.abs(predicted - y).reshape(40, -1)
    system = SelfConfidence(Ridge(), cv=folds).fit(X, y)
    np.testing.assert_allclose(system.values_, -error.sum(axis=1))
    system = SelfConfidence(Ridge(), "squared", cv=folds).fit(X, y)
    np.testing.assert_allclose(system.values_, -(error**2).sum(axis=1))
    some = SelfConfidence(Ridge(), cv=splits).fit(X, y)
    assert np.isnan(some.values_).sum() == len(splits[0][0])


def test_repeated_folds_are_averaged():
    X, y = blobs(40)
    once = [SelfConfidence(cv=[f]).fit(X, y).predictions_ for f in FOLDS.split(X, y)]
    splits = list(FOLDS.split(X, y))
    twice = [*splits, *[(train[10:], test) for train, test in splits]]
    halves = SelfConfidence(cv=twice[4:]).fit(X, y).predictions_
    both = SelfConfidence(cv=twice).fit(X, y).predictions_
    np.testing.assert_allclose(both, (np.nansum(once, axis=0) + halves) / 2)


def test_a_class_that_a_fold_lacks_has_probability_zero():
    X, y = blobs(30, k=3)
    train, test = np.flatnonzero(y < 2), np.flatnonzero(y == 2)
    system = SelfConfidence(cv=[(train, test)]).fit(X, y)
    assert (system.values_[test] == 0.0).all()


class Interrupted(DecisionTreeClassifier):
    """Ctrl-C at the third fit."""

    fits = 0

    def fit(self, X, y, sample_weight=None, check_input=True):
        Interrupted.fits += 1
        if Interrupted.fits == 3:
            raise KeyboardInterrupt
        return super().fit(X, y, sample_weight, check_input)


def test_interrupt_keeps_the_folds_that_are_done():
    X, y = blobs(40)
    Interrupted.fits = 0
    with pytest.warns(InterruptedWarning, match="first 2 of 4 folds"):
        system = SelfConfidence(Interrupted(), cv=FOLDS).fit(X, y)
    assert system.interrupted_
    assert np.isfinite(system.values_).sum() == 20


@pytest.mark.parametrize(
    ("estimator", "parameters", "match"),
    [
        (None, {"method": "absolute"}, "those of classifiers"),
        (Ridge(), {"method": "margin"}, "those of regressors"),
        (LinearSVC(), {}, "has no predict_proba"),
        (FrozenEstimator(LogisticRegression()), {}, "pass the estimator itself"),
        (None, {"cv": 1}, "cv must be >= 2"),
    ],
    ids=str,
)
def test_bad_parameters(estimator, parameters, match):
    X, y = blobs(40)
    with pytest.raises((TypeError, ValueError), match=match):
        SelfConfidence(estimator, **parameters).fit(X, y)


def test_a_class_of_one_row_is_told_what_to_do():
    X, y = blobs(20)
    y = np.where(np.arange(20) == 0, 2, y)
    with pytest.raises(ValueError, match="pass more rows, or a splitter"):
        SelfConfidence().fit(X, y)
