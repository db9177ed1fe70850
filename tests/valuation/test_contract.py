"""The shared contract, over the whole table of valuation systems."""

import os
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from scipy import stats
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import DataConversionWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpuma import valuation
from skpuma.datasets import flip_labels
from tests.data import blobs, frame

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

PLAIN = os.environ.get("NUMBA_DISABLE_JIT", "0") == "1"
NAMES = sorted(valuation.VALUATIONS)
# Monte Carlo settings that are enough for a small problem.
QUICK = {
    "DVRL": {"n_iter": 30, "hidden_dim": 20},
    "DataOOB": {"n_estimators": 60},
    "DataShapley": {"max_permutations": 15 if PLAIN else 40},
}
# And for checks that do not look at the values: this truncation cuts a permutation
# after six fits.
CHEAP = {
    "DVRL": {"n_iter": 2, "hidden_dim": 5, "cv": 2},
    "DataOOB": {"n_estimators": 20},
    "DataShapley": {"max_permutations": 1, "cv": 2, "truncation": 10.0},
    "LeaveOneOut": {"cv": 2},
}
# Systems that do not draw anything where X_val is given: the order of the rows is
# nothing to them.
ORDERLESS = ["InfluenceFunctions", "KNNShapley", "LeaveOneOut", "RepresenterPoints"]
ATTRIBUTES = ("values_", "standard_errors_", "interrupted_", "n_features_in_", "_index")


def system(name, estimator=None, **parameters):
    """A quick one, with the same seed every time."""
    made = getattr(valuation, name)(random_state=0, **QUICK.get(name, {}))
    if estimator is not None and "estimator" in made.get_params(deep=False):
        made.set_params(estimator=estimator)
    if "scoring" in made.get_params(deep=False):
        made.set_params(scoring="neg_log_loss")
    return made.set_params(**parameters)


def for_regression(name):
    made = system(name, Ridge())
    if "scoring" in made.get_params(deep=False):
        made.set_params(scoring="neg_mean_squared_error")
    return made.set_params(**({"task": "regression"} if name == "KNNShapley" else {}))


def noisy(n=120):
    """(X, noisy labels, {X_val, y_val}, flipped)."""
    X, y = blobs(2 * n, d=3)
    y_noisy, flipped = flip_labels(y[:n], 0.1, random_state=0)
    return X[:n], y_noisy, {"X_val": X[n:], "y_val": y[n:]}, flipped


def regression(n=60):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2 * n, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.3 * rng.standard_normal(2 * n)
    bad = np.arange(n) % 10 == 0
    y[:n][bad] += 5.0
    return X[:n], y[:n], {"X_val": X[n:], "y_val": y[n:]}, bad


def auc(values, bad):
    """Chance that a bad row has a lower value than a good one."""
    found = stats.mannwhitneyu(values[~bad], values[bad]).statistic
    return found / (bad.sum() * (~bad).sum())


each = pytest.mark.parametrize("name", NAMES)


# -- scikit-learn's own checks ---------------------------------------------------------


def checked():
    """Every system at its defaults (but for Monte Carlo) and around another model."""
    for name in NAMES:
        default = getattr(valuation, name)(random_state=0)
        default.set_params(**CHEAP.get(name, {}))
        if PLAIN and name == "DataShapley":
            default.set_params(method="tmc")
        yield clone(default)
        if name == "DataShapley":
            # All subsets of a few rows are a thousand fits, without a compiled scan.
            default.set_params(method="tmc")
        if "estimator" in default.get_params(deep=False):
            pipeline = make_pipeline(StandardScaler(), LogisticRegression())
            yield clone(default).set_params(estimator=pipeline)
            yield clone(default).set_params(estimator=Ridge())
        else:
            yield clone(default).set_params(task="regression")


@parametrize_with_checks(list(checked()))
def test_common_checks(estimator, check):
    check(estimator)


# -- what values are -------------------------------------------------------------------


@each
def test_flipped_labels_have_the_lowest_values(name):
    X, y, val, flipped = noisy()
    fitted = system(name).fit(X, y, **val)
    assert fitted.values_.shape == y.shape
    assert np.isfinite(fitted.values_).all()
    assert auc(fitted.values_, flipped) >= 0.8
    assert fitted.interrupted_ is False


@each
def test_wrong_targets_have_the_lowest_values(name):
    X, y, val, bad = regression()
    fitted = for_regression(name).fit(X, y, **val)
    assert np.isfinite(fitted.values_).all()
    assert auc(fitted.values_, bad) >= 0.8


@each
def test_without_validation_rows(name):
    X, y, _, _ = noisy(60)
    fitted = system(name).fit(X, y)
    assert fitted.values_.shape == y.shape
    assert np.isfinite(fitted.values_).all()


@each
def test_labels_may_be_strings(name):
    X, y, val, _ = noisy(60)
    names = np.array(["no", "yes"])
    plain = system(name).fit(X, y, **val)
    val = {"X_val": val["X_val"], "y_val": names[val["y_val"]]}
    named = system(name).fit(X, names[y], **val)
    np.testing.assert_allclose(named.values_, plain.values_, rtol=1e-6, atol=1e-9)


@each
def test_same_seed_same_values(name):
    X, y, val, _ = noisy(60)
    first, second = (system(name).fit(X, y, **val).values_ for _ in range(2))
    np.testing.assert_array_equal(first, second)


@each
def test_n_jobs_does_not_change_values(name):
    if "n_jobs" not in system(name).get_params(deep=False):
        pytest.skip(f"{name} has nothing to run in parallel")
    X, y, val, _ = noisy(60)
    one = system(name).fit(X, y, **val)
    # Threads start at once; tests of the systems have processes.
    with parallel_config("threading"):
        two = system(name, n_jobs=2).fit(X, y, **val)
    np.testing.assert_allclose(two.values_, one.values_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ORDERLESS)
def test_order_of_rows_does_not_matter(name):
    X, y, val, _ = noisy(60)
    order = np.random.default_rng(1).permutation(len(y))
    straight = system(name).fit(X, y, **val).values_
    mixed = system(name).fit(X[order], y[order], **val).values_
    # Solvers of the estimators stop by their tolerance, wherever they came from.
    np.testing.assert_allclose(mixed, straight[order], rtol=1e-4, atol=1e-7)


@each
def test_a_column_of_targets_is_a_row(name):
    X, y, val, _ = noisy(60)
    plain = system(name, **CHEAP.get(name, {})).fit(X, y, **val).values_
    val = {"X_val": val["X_val"], "y_val": val["y_val"][:, None]}
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataConversionWarning)
        column = system(name, **CHEAP.get(name, {})).fit(X, y[:, None], **val).values_
    np.testing.assert_array_equal(column, plain)


@each
def test_the_seed_is_that_of_the_estimator_too(name):
    if name == "KNNShapley":
        pytest.skip("it fits no estimator")
    X, y, val, _ = noisy(30)
    # A network with an open seed starts anew in every fit.
    network = MLPClassifier((3,), solver="lbfgs", alpha=1.0, max_iter=20)
    settings = {**CHEAP.get(name, {}), "estimator": network}
    for given in (val, {}):
        first, second = (system(name, **settings).fit(X, y, **given) for _ in range(2))
        np.testing.assert_array_equal(first.values_, second.values_)
    assert network.random_state is None


# -- frames, copies, pipelines ---------------------------------------------------------


@each
def test_frame_is_on_the_users_index(name):
    X, y, val, _ = noisy(60)
    table = frame(X)
    X_val = pd.DataFrame(val["X_val"], columns=table.columns)
    fitted = system(name).fit(table, y, X_val=X_val, y_val=val["y_val"])
    shown = fitted.to_frame()
    assert shown.index.equals(table.index)
    np.testing.assert_array_equal(shown["value"], fitted.values_)
    lowest = shown.sort_values("rank").index[0]
    assert lowest == table.index[np.argmin(fitted.values_)]
    assert ("standard_error" in shown) == hasattr(fitted, "standard_errors_")
    np.testing.assert_array_equal(fitted.feature_names_in_, table.columns)


@each
def test_frame_before_fit(name):
    with pytest.raises(ValueError, match="not fitted"):
        system(name).to_frame()


@each
def test_clone_and_pickle(name):
    X, y, val, _ = noisy(60)
    made = system(name)
    fitted = made.fit(X, y, **val)
    again = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(again.to_frame(), fitted.to_frame())
    assert not hasattr(clone(fitted), "values_")


@each
def test_the_users_estimator_is_not_fitted(name):
    X, y, val, _ = noisy(60)
    base = LogisticRegression()
    system(name, base).fit(X, y, **val)
    assert not hasattr(base, "coef_")


@each
def test_mixed_frame_through_a_pipeline(name):
    X, y, val, _ = noisy(60)

    def mixed(rows):
        table = pd.DataFrame(rows, columns=["a", "b", "c"])
        return table.assign(colour=np.where(rows[:, 0] > 0, "red", "blue"))

    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["colour"]),
        (StandardScaler(), ["a", "b", "c"]),
    )
    pipeline = make_pipeline(columns, LogisticRegression())
    made = system(name, pipeline, **CHEAP.get(name, {}))
    if "transformer" in made.get_params(deep=False):
        made.set_params(transformer=columns)
    val = {"X_val": mixed(val["X_val"]), "y_val": val["y_val"]}
    fitted = made.fit(mixed(X), y, **val)
    assert np.isfinite(fitted.values_).all()


@each
def test_verbose_changes_nothing(name):
    pytest.importorskip("tqdm")
    X, y, val, _ = noisy(60)
    if "verbose" not in system(name).get_params(deep=False):
        pytest.skip(f"{name} has nothing to show")
    quiet = system(name).fit(X, y, **val).values_
    loud = system(name, verbose=1).fit(X, y, **val).values_
    np.testing.assert_array_equal(loud, quiet)


# -- bad input -------------------------------------------------------------------------

X, Y, VAL, _ = noisy(30)
BAD = {
    "no y": ((X, None), {}, "y to be passed"),
    "lengths": ((X, Y[:-1]), {}, "inconsistent numbers of samples"),
    "constant": ((X, np.zeros(30, dtype=int)), {}, "single class"),
    "y_val missing": ((X, Y), {"X_val": X}, "y_val is missing"),
    "X_val missing": ((X, Y), {"y_val": Y}, "X_val is missing"),
    "no rows": ((X, Y), {"X_val": X[:0], "y_val": Y[:0]}, "X_val has no rows"),
    "columns": ((X, Y), {"X_val": X[:, :2], "y_val": Y}, "2 features"),
    "lengths of val": ((X, Y), {"X_val": X, "y_val": Y[1:]}, "inconsistent numbers"),
    "other labels": ((X, Y), {"X_val": X, "y_val": Y + 2}, r"no training row has: \["),
    "missing labels": (
        (X, np.where(np.arange(30) == 3, None, Y.astype(str))),
        {},
        "Input y contains missing values",
    ),
    "infinity": ((np.where(X > 1, np.inf, X), Y), VAL, "infinity"),
}


def state(fitted):
    return {key: value for key, value in vars(fitted).items() if key.endswith("_")}


@each
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_changes_nothing(name, case):
    rows, val, match = BAD[case]
    if case == "other labels" and not getattr(valuation, name).needs_validation:
        pytest.skip(f"{name} does not use y_val")
    fresh = system(name)
    with pytest.raises((ValueError, TypeError), match=match):
        fresh.fit(*rows, **val)
    assert state(fresh) == {}
    assert not hasattr(fresh, "_index")


@each
def test_failed_fit_keeps_the_last_one(name):
    fitted = system(name).fit(X, Y, **VAL)
    before = vars(fitted).copy()
    with pytest.raises(ValueError, match="single class"):
        fitted.fit(X[:, :2], np.zeros(len(X), dtype=int))
    after = vars(fitted)
    assert after.keys() == before.keys()
    assert all(after[key] is before[key] for key in before)


def test_absent_system_is_an_attribute_error():
    with pytest.raises(AttributeError, match="NoSuchSystem"):
        _ = valuation.NoSuchSystem
