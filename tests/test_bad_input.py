"""Bad input: a clear error that says what to do, and nothing changed."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skpuma import (
    NotDifferentiableError,
    PatchWarning,
    PumaDebugger,
    PumaPatcher,
    PumaValuator,
    SolverError,
)
from skpuma.criteria import LogLoss
from tests import data

PUBLIC = [PumaValuator, PumaPatcher, PumaDebugger]
NETWORK = MLPClassifier((3,), solver="lbfgs", max_iter=20, random_state=0)
N = 120

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skpuma.StationarityWarning",
    "ignore::skpuma.LeverageWarning",
    "ignore::skpuma.DeltaReachedWarning",
)


def table():
    X, y = data.blobs(N)
    return data.frame(X), y


def with_value(X, value):
    X = X.copy()
    X.iloc[7, 2] = value
    return X


def refuses(estimator, call, error, match):
    """The error, and an estimator that is as it was."""
    before = data.snapshot(estimator)
    with pytest.raises(error, match=match):
        call(estimator)
    assert data.snapshot(estimator) == before


def fitted(cls=PumaPatcher, estimator=None, **parameters):
    """An estimator that was fitted on other columns than those of `table`."""
    X, y = data.blobs(60, d=3, k=2, seed=9)
    estimator = LogisticRegression() if estimator is None else estimator
    return cls(estimator, **parameters).fit(X, y)


def refuses_fit(cls, X, y, error, match, estimator=None, parameters=None, **keywords):
    """`fit` refuses, on a new estimator and on one that was fitted before."""
    parameters = parameters or {}

    def call(one):
        one.set_params(**parameters)
        if estimator is not None:
            one.set_params(estimator=estimator)
        before = data.snapshot(one)
        with pytest.raises(error, match=match):
            one.fit(X, y, **keywords)
        assert data.snapshot(one) == before

    call(cls())
    if not parameters.get("marker"):
        call(fitted(cls))


# -- X, y and weights ------------------------------------------------------------------


@pytest.mark.parametrize("cls", PUBLIC)
@pytest.mark.parametrize(
    ("value", "match"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
)
@pytest.mark.parametrize("where", ["X", "X_val"])
def test_values_that_are_not_finite(cls, value, match, where):
    X, y = table()
    if where == "X":
        refuses_fit(cls, with_value(X, value), y, ValueError, match)
    else:
        val = {"X_val": with_value(X, value), "y_val": y}
        if cls is PumaPatcher:
            val["marked"] = data.some(N, 0.1)
        refuses_fit(cls, X, y, ValueError, match, **val)


@pytest.mark.parametrize("cls", PUBLIC)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_targets_that_are_not_finite(cls, value):
    X, _ = table()
    y = X["x0"].to_numpy().copy()
    y[3] = value
    refuses_fit(cls, X, y, ValueError, "NaN|infinity", Ridge())
    val = {"X_val": X, "y_val": y}
    if cls is PumaPatcher:
        val["marked"] = data.some(N, 0.1)
    refuses_fit(cls, X, X["x0"], ValueError, "y contains NaN", Ridge(), **val)


@pytest.mark.parametrize("cls", PUBLIC)
def test_y_is_missing(cls):
    X, y = table()
    refuses_fit(cls, X, None, ValueError, "requires y to be passed")
    refuses_fit(cls, X, y[:-1], ValueError, "inconsistent numbers of samples")


def test_y_is_missing_with_marks():
    X, _ = table()
    marked = np.zeros(N, bool)
    refuses_fit(PumaPatcher, X, None, ValueError, "requires y", marked=marked)


def weights_with(value):
    weight = np.ones(N)
    weight[3] = value
    return weight


WEIGHTS = {
    "negative": (weights_with(-1.0), "[Nn]egative"),
    "NaN": (weights_with(np.nan), "NaN"),
    "infinite": (weights_with(np.inf), "infinity"),
    "all zero": (np.zeros(N), "zero|one class|ill-defined"),
    "short": (np.ones(N - 1), "shape"),
    "two columns": (np.ones((N, 2)), "1D"),
}


@pytest.mark.parametrize("cls", PUBLIC)
@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("model", [LogisticRegression(), Ridge()], ids=str)
def test_weights(cls, kind, model):
    X, y = table()
    weight, match = WEIGHTS[kind]
    refuses_fit(cls, X, y, ValueError, match, model, sample_weight=weight)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_of_rows_that_measure(kind):
    X, y = table()
    weight, match = WEIGHTS[kind]
    val = {"X_val": X, "y_val": y, "sample_weight_val": weight}
    refuses_fit(PumaValuator, X, y, ValueError, f"sample_weight_val.*({match})", **val)
    patcher = PumaPatcher().fit(X, y)
    refuses(
        patcher,
        lambda one: one.patch(X, y, remove=[3], **val),
        ValueError,
        "sample_weight_val",
    ) if False else None
    with pytest.raises(ValueError, match="sample_weight_val"):
        patcher.patch(X, y, remove=[X.index[3]], **val)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_of_a_patch(kind):
    X, y = table()
    weight, match = WEIGHTS[kind]
    refuses(
        PumaPatcher().fit(X, y),
        lambda one: one.patch(X, y, remove=X.index[:3], sample_weight=weight),
        ValueError,
        match,
    )


def test_single_zeros_are_fine():
    X, y = table()
    weight = weights_with(0.0)
    for cls in PUBLIC:
        cls().fit(X, y, weight)
    patcher = PumaPatcher().fit(X, y, weight).patch(X, y, remove=X.index[:5])
    assert patcher.report_.n_removed == 5


# -- which rows are marked -------------------------------------------------------------


MARKED = {
    "integer index": (np.array([3, 5, 8]), TypeError, "boolean mask.*mask\\[index\\]"),
    "list of integers": ([0, 1] * 60, TypeError, "boolean mask"),
    "floats": (np.zeros(N), TypeError, "boolean mask"),
    "strings": (np.array(["a"] * N), TypeError, "boolean mask"),
    "wrong length": (np.zeros(N - 1, bool), ValueError, "shape \\(119,\\).*120 rows"),
    "two columns": (np.zeros((N, 1), bool), ValueError, "shape"),
    "all rows": (np.ones(N, bool), ValueError, "All rows are marked"),
    "other index": (pd.Series(np.zeros(N, bool)), ValueError, "index is not that of X"),
    "missing": (pd.array([True, None] * 60, dtype="boolean"), TypeError, "boolean"),
}


@pytest.mark.parametrize("kind", MARKED)
def test_marked_of_fit(kind):
    X, y = table()
    marked, error, match = MARKED[kind]
    refuses_fit(PumaPatcher, X, y, error, match, marked=marked)


def test_a_shuffled_series_is_another_index():
    X, y = table()
    marked = pd.Series(data.some(N, 0.1), index=X.index)[::-1]
    match = r"marked\.reindex\(X\.index\)"
    refuses_fit(PumaPatcher, X, y, ValueError, match, marked=marked)
    patcher = PumaPatcher().fit(X, y, marked=marked.reindex(X.index))
    assert patcher.report_.n_removed == 12


REMOVE = {
    "all rows": (np.ones(N, bool), ValueError, "All rows are marked.*Mark fewer"),
    "a class": (np.arange(N) % 2 == 1, ValueError, "Class 1 would vanish"),
    "wrong length": (np.zeros(N + 1, bool), ValueError, "shape \\(121,\\).*120 rows"),
    "twice": (["row3", "row5", "row3"], ValueError, "more than once"),
    "absent labels": (["row3", "nobody"], KeyError, "not in the index.*nobody"),
    "positions twice": ([3, 5, 3], ValueError, "more than once"),
    "out of range": ([3, N], IndexError, "outside 0 ... 119: \\[120\\]"),
    "negative": ([-1], IndexError, "outside 0 ... 119"),
    "two columns": ([[1, 2], [3, 4]], ValueError, "one-dimensional"),
    "other index": (pd.Series(np.zeros(N, bool)), ValueError, "index is not that of X"),
}


@pytest.mark.parametrize("kind", REMOVE)
def test_remove(kind):
    X, y = table()
    rows, error, match = REMOVE[kind]
    for patcher in (PumaPatcher().fit(X, y), fit_and_patch(X, y)):
        refuses(patcher, lambda one: one.patch(X, y, remove=rows), error, match)
        refuses(patcher, lambda one: one.forget(X, y, rows), error, match)


def fit_and_patch(X, y):
    return PumaPatcher().fit(X, y).patch(X, y, remove=X.index[[1, 2]])


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        ([0.5, 1.5], TypeError, "boolean mask, integer positions, or labels"),
        ([120], IndexError, "outside"),
        (["row3"], TypeError, "boolean mask, integer positions, or labels"),
    ],
)
def test_remove_from_an_array(rows, error, match):
    X, y = data.blobs(N)
    patcher = PumaPatcher().fit(X, y)
    refuses(patcher, lambda one: one.patch(X, y, remove=rows), error, match)


def test_labels_that_are_not_unique():
    X, y = table()
    X.index = ["same"] * N
    patcher = PumaPatcher().fit(X, y)
    match = "repeated labels.*boolean mask"
    refuses(patcher, lambda one: one.patch(X, y, remove=["same"]), ValueError, match)


def test_integers_that_are_not_in_an_integer_index():
    X, y = data.blobs(N)
    X = pd.DataFrame(X, index=np.arange(1000, 1000 + N))
    patcher = PumaPatcher().fit(X, y)
    refuses(patcher, lambda one: one.patch(X, y, remove=[3]), KeyError, "not in the")


@pytest.mark.parametrize("empty", [None, [], (), np.zeros(N, bool)])
def test_an_empty_selection_is_no_patch(empty):
    X, y = table()
    patcher = PumaPatcher().fit(X, y)
    before = patcher.coef_.copy()
    patcher.patch(X, y, remove=empty)
    np.testing.assert_array_equal(patcher.coef_, before)
    marked = np.zeros(N, bool)
    fitted_ = PumaPatcher().fit(X, y, marked=marked)
    np.testing.assert_array_equal(fitted_.coef_, before)


def test_a_class_of_several_may_vanish():
    X, y = data.blobs(N, k=3)
    with pytest.warns(PatchWarning, match=r"Classes \[1\] vanish"):
        PumaPatcher().fit(X, y, marked=y == 1)
    refuses_fit(
        PumaPatcher, X[y < 2], y[y < 2], ValueError, "vanish", marked=y[y < 2] == 0
    )


def test_a_class_without_weight_vanishes():
    X, y = table()
    patcher = PumaPatcher().fit(X, y)
    left = np.where(y == 1, 0.0, 1.0)
    left[1] = 1.0
    refuses(
        patcher,
        lambda one: one.patch(X, y, remove=[1], sample_weight=left),
        ValueError,
        "Class 1 would vanish",
    )


UPWEIGHT = {
    "negative": (np.full(N, -0.5), ValueError, "upweight must be finite and not neg"),
    "NaN": (np.full(N, np.nan), ValueError, "upweight must be finite"),
    "short": (np.full(3, 0.5), ValueError, "upweight has shape"),
    "other index": (pd.Series(np.ones(N)), ValueError, "upweight.*index is not that"),
    "out of range": ([N], IndexError, "upweight has positions outside"),
    "removed too": ([3], ValueError, "both in remove and in upweight"),
}


@pytest.mark.parametrize("kind", UPWEIGHT)
def test_upweight(kind):
    X, y = table()
    rows, error, match = UPWEIGHT[kind]
    refuses(
        PumaPatcher().fit(X, y),
        lambda one: one.patch(X, y, remove=[3], upweight=rows),
        error,
        match,
    )


def test_candidates():
    X, y = table()
    for wrong, error in (([N], IndexError), (np.zeros(3, bool), ValueError)):
        patcher = PumaPatcher(candidates=wrong).fit(X, y)
        refuses(
            patcher, lambda one: one.patch(X, y, remove=[3]), error, "candidates"
        )


# -- the rows of a patch ---------------------------------------------------------------


def other_rows():
    X, y = table()
    return {
        "names": (X.rename(columns={"x0": "z"}), y, "feature names should match"),
        "order": (X[["x1", "x0", "x2", "x3"]], y, "same order"),
        "columns": (X.iloc[:, :3], y, "now missing"),
        "NaN": (with_value(X, np.nan), y, "NaN"),
        "fewer": (X[:50], y[:50], "X has 50 rows, the fit had 120"),
        "length": (X, y[:50], "X has 120 rows, y has 50"),
        "labels": (X, np.where(y == 1, 7, y), r"does not know: \[7\]; it knows \[0, 1"),
    }


@pytest.mark.parametrize("kind", other_rows())
def test_other_rows_than_those_of_the_fit(kind):
    X, y = table()
    other, targets, match = other_rows()[kind]
    for patcher in (PumaPatcher().fit(X, y), fit_and_patch(X, y)):
        refuses(
            patcher, lambda one: one.patch(other, targets, remove=[3]), ValueError, match
        )


# -- rows that measure -----------------------------------------------------------------


def validation():
    X, y = table()
    return {
        "no y_val": ({"X_val": X}, "y_val missing"),
        "no X_val": ({"y_val": y}, "X_val missing"),
        "weights only": ({"sample_weight_val": np.ones(N)}, "X_val and y_val missing"),
        "groups only": ({"sensitive_features_val": y}, "X_val and y_val missing"),
        "names": (
            {"X_val": X.rename(columns={"x0": "z"}), "y_val": y},
            "feature names should match",
        ),
        "columns": ({"X_val": X.iloc[:, :2], "y_val": y}, "now missing"),
        "array columns": ({"X_val": X.to_numpy()[:, :2], "y_val": y}, "2 features"),
        "length": ({"X_val": X, "y_val": y[:5]}, "X_val has 120 rows, y_val has 5"),
        "no rows": ({"X_val": X[:0], "y_val": y[:0]}, "no rows"),
        "unseen": ({"X_val": X, "y_val": y + 1}, r"does not know: \[2\]"),
        "other type": ({"X_val": X, "y_val": y.astype(str)}, "does not know"),
    }


@pytest.mark.parametrize("kind", validation())
@pytest.mark.parametrize("cls", PUBLIC)
def test_rows_that_measure(cls, kind):
    X, y = table()
    keywords, match = validation()[kind]
    if cls is PumaPatcher:
        patcher = PumaPatcher().fit(X, y)
        refuses(
            patcher,
            lambda one: one.patch(X, y, remove=[3], **keywords),
            ValueError,
            match,
        )
        keywords = {**keywords, "marked": data.some(N, 0.1)}
    refuses_fit(cls, X, y, ValueError, match, **keywords)


@pytest.mark.parametrize("cls", [PumaValuator, PumaDebugger])
def test_a_prefit_model_needs_rows_that_measure(cls):
    X, y = table()
    model = FrozenEstimator(LogisticRegression().fit(X, y))
    refuses_fit(cls, X, y, ValueError, "Pass X_val= and y_val=", model)


@pytest.mark.parametrize("cls", [PumaValuator, PumaDebugger])
def test_too_few_rows_for_folds(cls):
    X, y = table()
    y = np.zeros(N, int)
    y[4] = 1
    refuses_fit(cls, X, y, ValueError, "pass X_val= and y_val=")
    refuses_fit(cls, *table(), ValueError, "cv >= 2", parameters={"cv": 1})


# -- sensitive features ----------------------------------------------------------------


def groups():
    group = np.array(["a", "b"] * 60, dtype=object)
    missing, none = group.copy(), group.copy()
    missing[3], none[3] = np.nan, None
    two = np.column_stack([group, missing])
    return {
        "absent": (None, "pass sensitive_features="),
        "one value": (np.array(["a"] * N), "single value"),
        "short": (group[:-1], "shape \\(119,\\), X has 120 rows"),
        "NaN": (missing, "missing values: fill them"),
        "None": (none, "missing values: fill them"),
        "NA": (pd.array([1, None] * 60, dtype="Int64"), "missing values: fill them"),
        "NaN in a column": (two, "missing values: fill them"),
        "float NaN": (np.where(group == "a", np.nan, 1.0), "missing values"),
        "categories": (pd.Categorical(missing), "missing values"),
    }


@pytest.mark.parametrize("kind", groups())
@pytest.mark.parametrize("cls", PUBLIC)
def test_sensitive_features(cls, kind):
    X, y = table()
    group, match = groups()[kind]
    fair = {"criterion": "demographic_parity"}
    marks = {"marked": np.arange(N) < 5} if cls is PumaPatcher else {}
    refuses_fit(
        cls,
        X,
        y,
        ValueError,
        match,
        parameters=fair,
        sensitive_features=group,
        **marks,
    )
    match = match.replace("features=", "features_val=") if group is None else match
    val = {"X_val": X, "y_val": y, "sensitive_features_val": group, **marks}
    refuses_fit(cls, X, y, ValueError, match.replace("X has", ".* has"), parameters=fair, **val)
