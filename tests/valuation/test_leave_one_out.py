"""Leave-one-out values against fits written out by hand."""

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.metrics import get_scorer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skpuma import InterruptedWarning, StationarityWarning
from skpuma.valuation import LeaveOneOut
from tests.data import TIGHT, blobs

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def by_hand(estimator, scoring, train, test):
    """Score of all rows minus that without each row."""
    scorer = get_scorer(scoring) if scoring else type(estimator).score
    X, y = train
    full = scorer(clone(estimator).fit(X, y), *test)
    out = np.empty(len(y))
    for row in range(len(y)):
        keep = np.arange(len(y)) != row
        out[row] = full - scorer(clone(estimator).fit(X[keep], y[keep]), *test)
    return out


def problem(regression=False, n=40, k=2):
    X, y = blobs(2 * n, d=3, k=k)
    if regression:
        y = X @ [1.0, -2.0, 0.5] + y
    return (X[:n], y[:n]), (X[n:], y[n:])


def fitted(estimator, train, test, **parameters):
    return LeaveOneOut(estimator, **parameters).fit(
        *train, X_val=test[0], y_val=test[1]
    )


@pytest.mark.parametrize("scoring", [None, "r2", "neg_mean_squared_error"])
@pytest.mark.parametrize(
    "estimator",
    [
        Ridge(3.0),
        Ridge(3.0, fit_intercept=False),
        LinearRegression(),
    ],
    ids=str,
)
def test_closed_form(estimator, scoring):
    train, test = problem(regression=True)
    system = fitted(estimator, train, test, scoring=scoring)
    assert system.method_ == "closed_form"
    expected = by_hand(estimator, scoring, train, test)
    np.testing.assert_allclose(system.values_, expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "scoring"),
    [
        (LogisticRegression(**TIGHT), "neg_log_loss"),
        (LogisticRegression(**TIGHT), "accuracy"),
        (LogisticRegression(C=0.01, **TIGHT), "neg_brier_score"),
        (Ridge(3.0), "neg_mean_absolute_error"),
        (PoissonRegressor(**TIGHT), None),
    ],
    ids=str,
)
@pytest.mark.parametrize("k", [2, 3])
def test_warm_refits(estimator, scoring, k):
    if scoring == "neg_brier_score" and k == 3:
        pytest.skip("older versions score two classes only")
    train, test = problem(isinstance(estimator, Ridge), k=k)
    system = fitted(estimator, train, test, scoring=scoring)
    assert system.method_ == "warm"
    expected = by_hand(estimator, scoring, train, test)
    size = np.abs(expected).max()
    np.testing.assert_allclose(system.values_, expected, atol=1e-7 * size)


def test_a_loose_fit_is_not_what_decides():
    train, test = problem(n=60)
    tight = by_hand(LogisticRegression(**TIGHT), "neg_log_loss", train, test)
    found = fitted(LogisticRegression(), train, test, scoring="neg_log_loss").values_
    loose = by_hand(LogisticRegression(tol=1e-2), "neg_log_loss", train, test)
    line = stats.linregress(tight, found)
    assert line.rvalue > 0.999999
    assert line.slope == pytest.approx(1.0, abs=1e-5)
    assert np.abs(found - tight).max() < 0.01 * np.abs(loose - tight).max()


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(random_state=0),
        KNeighborsClassifier(3),
        make_pipeline(StandardScaler(), LogisticRegression()),
        LogisticRegression(class_weight="balanced"),
    ],
    ids=str,
)
def test_plain_refits(estimator):
    train, test = problem()
    system = fitted(estimator, train, test)
    assert system.method_ == "refit"
    expected = by_hand(estimator, None, train, test)
    np.testing.assert_allclose(system.values_, expected, atol=1e-12)


def test_a_fit_far_from_its_optimum_is_told():
    train, test = problem(n=240)
    short = LogisticRegression(max_iter=1)
    with pytest.warns(StationarityWarning, match="use method='refit'"):
        found = fitted(short, train, test, scoring="neg_log_loss")
    tight = fitted(LogisticRegression(**TIGHT), train, test, scoring="neg_log_loss")
    np.testing.assert_allclose(found.values_, tight.values_, rtol=1e-6, atol=1e-10)
    assert found.score_ == pytest.approx(tight.score_)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StationarityWarning)
        fitted(LogisticRegression(), *problem(), scoring="neg_log_loss")


def test_cross_fitting_is_the_mean_over_folds():
    X, y = blobs(30, d=3)
    splits = [(np.arange(20), np.arange(20, 30)), (np.arange(10, 30), np.arange(10))]
    system = LeaveOneOut(Ridge(), "r2", cv=splits).fit(X, y.astype(float))
    total, count = np.zeros(30), np.zeros(30)
    for train, test in splits:
        rows = (X[train], y[train].astype(float)), (X[test], y[test].astype(float))
        total[train] += by_hand(Ridge(), "r2", *rows)
        count[train] += 1
    np.testing.assert_allclose(system.values_, total / count, rtol=1e-7, atol=1e-12)


def test_last_row_of_a_class_is_left_to_refits():
    (X, y), test = problem(k=2)
    y = np.zeros_like(y)
    y[7] = 1
    system = fitted(LogisticRegression(**TIGHT), (X, y), test, scoring="accuracy")
    assert system.method_ == "warm"
    assert np.isfinite(system.values_).all()
    # Without it the label is constant.
    full = LogisticRegression(**TIGHT).fit(X, y).score(*test)
    assert system.values_[7] == pytest.approx(full - np.mean(test[1] == 0))


def test_a_row_that_decides_alone_is_left_to_refits():
    (X, y), test = problem(regression=True)
    X = np.column_stack([X, np.arange(len(X)) == 3]).astype(float)
    test = np.column_stack([test[0], np.zeros(len(test[0]))]), test[1]
    model = LinearRegression()
    system = fitted(model, (X, y), test)
    assert system.method_ == "closed_form"
    expected = by_hand(model, None, (X, y), test)
    np.testing.assert_allclose(system.values_, expected, rtol=1e-6, atol=1e-10)


def test_collinear_columns_are_refitted():
    (X, y), test = problem(regression=True)
    twice = [np.hstack([rows, rows]) for rows in (X, test[0])]
    system = fitted(LinearRegression(), (twice[0], y), (twice[1], test[1]))
    assert system.method_ == "refit"


class Interrupted(DecisionTreeClassifier):
    """Ctrl-C at the 30th fit."""

    fits = 0

    def fit(self, X, y, sample_weight=None, check_input=True):
        Interrupted.fits += 1
        if Interrupted.fits == 30:
            raise KeyboardInterrupt
        return super().fit(X, y, sample_weight, check_input)


def test_interrupt_keeps_what_is_done():
    train, test = problem()
    Interrupted.fits = 0
    with pytest.warns(InterruptedWarning, match="first 1 of 3 blocks"):
        system = fitted(Interrupted(random_state=0), train, test)
    assert system.interrupted_
    assert np.isfinite(system.values_[:16]).all()
    assert np.isnan(system.values_[16:]).all()
    assert system.to_frame()["value"].notna().sum() == 16


@pytest.mark.parametrize(
    ("estimator", "parameters", "match"),
    [
        (None, {"method": "exact"}, "method='exact' is not one of"),
        (DecisionTreeClassifier(), {"method": "warm"}, "does not fit the estimator"),
        (None, {"method": "closed_form"}, "is for Ridge and LinearRegression"),
        (Lasso(0.01), {"method": "warm"}, "smooth, convex objective"),
        (FrozenEstimator(LogisticRegression()), {}, "FrozenEstimator cannot be fitted"),
        (None, {"scoring": lambda *_: np.nan}, "not finite"),
    ],
    ids=["method", "warm tree", "closed form", "warm lasso", "frozen", "nan score"],
)
def test_bad_parameters(estimator, parameters, match):
    train, test = problem(isinstance(estimator, Lasso))
    with pytest.raises(ValueError, match=match):
        fitted(estimator, train, test, **parameters)
