"""Bad input: a clear error that says what to do, and nothing changed."""

import copy
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    Ridge,
    SGDClassifier,
)
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
    StationarityWarning,
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
    "ignore:X does not have valid feature names:UserWarning",
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


@cache
def fitted_once(cls):
    return cls().fit(*data.blobs(60, d=3, seed=9))


def fitted(cls):
    """An estimator that was fitted on other columns than those of `table`."""
    return copy.deepcopy(fitted_once(cls))


def refuses_fit(cls, X, y, error, match, estimator=None, parameters=None, **keywords):
    """`fit` refuses, on a new estimator and on one that was fitted before."""
    for one in (cls(), fitted(cls)):
        one.set_params(estimator=estimator, **(parameters or {}))
        refuses(one, lambda one: one.fit(X, y, **keywords), error, match)


def marks(cls):
    """What a patcher needs to patch in `fit`."""
    return {"marked": data.some(N, 0.1)} if cls is PumaPatcher else {}


def measured_on(cls, X_val, y_val):
    """Rows that measure, in a `fit` that uses them."""
    return {"X_val": X_val, "y_val": y_val, **marks(cls)}


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
        val = measured_on(cls, with_value(X, value), y)
        refuses_fit(cls, X, y, ValueError, match, **val)


@pytest.mark.parametrize("cls", PUBLIC)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_targets_that_are_not_finite(cls, value):
    X, _ = table()
    y = X["x0"].to_numpy().copy()
    y[3] = value
    refuses_fit(cls, X, y, ValueError, "NaN|infinity", Ridge())
    val = measured_on(cls, X, y)
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
    "negative": (weights_with(-1.0), "negative values: give .* weight 0"),
    "NaN": (weights_with(np.nan), "NaN"),
    "infinite": (weights_with(np.inf), "infinity"),
    "all zero": (np.zeros(N), "sums to zero"),
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
    refuses(
        PumaPatcher().fit(X, y),
        lambda one: one.patch(X, y, remove=[3], **val),
        ValueError,
        f"sample_weight_val.*({match})",
    )


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
    patcher = PumaPatcher().fit(X, y, weight).patch(X, y, remove=X.index[4:9])
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


def test_integers_under_an_index_of_other_integers():
    X, y = data.blobs(N)
    X = pd.DataFrame(X, index=np.arange(1000, 1000 + N))
    patcher = PumaPatcher().fit(X, y)
    for rows, error, match in (
        ([3], TypeError, "could mean either. Pass labels as a pandas Index"),
        ([1003], TypeError, "could mean either"),
        (pd.Index([3]), KeyError, "not in the index"),
    ):
        refuses(patcher, lambda one, r=rows: one.patch(X, y, remove=r), error, match)
    patcher.patch(X, y, remove=pd.Index([1003]))
    assert np.flatnonzero(patcher.row_weight_ == 0.0).tolist() == [3]


@pytest.mark.parametrize("empty", [None, [], (), np.zeros(N, bool)])
def test_an_empty_selection_is_no_patch(empty):
    X, y = table()
    patcher = PumaPatcher().fit(X, y)
    before = patcher.coef_.copy()
    patcher.patch(X, y, remove=empty)
    np.testing.assert_array_equal(patcher.coef_, before)
    marked = np.zeros(N, bool)
    again = PumaPatcher().fit(X, y, marked=marked)
    np.testing.assert_array_equal(again.coef_, before)


def test_a_class_of_several_may_vanish():
    X, y = data.blobs(N, k=3)
    with pytest.warns(PatchWarning) as record:
        PumaPatcher().fit(X, y, marked=y == 1)
    assert "Classes [1] vanish" in str(record[0].message)
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
        refuses(patcher, lambda one: one.patch(X, y, remove=[3]), error, "candidates")


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
            patcher,
            lambda one: one.patch(other, targets, remove=[3]),
            ValueError,
            match,
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
    refuses_fit(cls, X, y, ValueError, match, **keywords, **marks(cls))


@pytest.mark.parametrize("cls", [PumaValuator, PumaDebugger])
def test_a_prefit_model_needs_rows_that_measure(cls):
    X, y = table()
    model = FrozenEstimator(Ridge().fit(X, y))
    refuses_fit(cls, X, y, ValueError, "Pass X_val= and y_val=", model)


def test_too_few_rows_for_folds():
    X, y = table()
    y = np.zeros(N, int)
    y[4] = 1
    refuses_fit(PumaValuator, X, y, ValueError, "pass X_val= and y_val=")
    refuses_fit(PumaValuator, *table(), ValueError, "cv >= 2", parameters={"cv": 1})


# -- sensitive features ----------------------------------------------------------------


def groups():
    group = np.array(["a", "b"] * 60, dtype=object)
    missing, none = group.copy(), group.copy()
    missing[3], none[3] = np.nan, None
    two = np.column_stack([group, missing])
    return {
        "absent": (None, "compares groups.*: pass sensitive_features"),
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
    refuses_fit(
        cls,
        X,
        y,
        ValueError,
        match,
        parameters=fair,
        sensitive_features=group,
        **marks(cls),
    )
    match = match.replace("X has", ".* has")
    val = {"X_val": X, "y_val": y, "sensitive_features_val": group, **marks(cls)}
    refuses_fit(cls, X, y, ValueError, match, parameters=fair, **val)


# -- criteria --------------------------------------------------------------------------


class Half:
    """A criterion without a gradient."""

    def value(self, z, y, *, sample_weight=None, groups=None):
        return 0.0


CRITERIA = {
    "unknown": ("accuracy", ValueError, "Unknown criterion 'accuracy'.*brier_score"),
    "task": ("squared_error", ValueError, "regression; this model is for classif"),
    "empty": ([], ValueError, "at least one criterion"),
    "repeated": (["log_loss", "log_loss"], ValueError, "repeated names"),
    "no gradient": (Half(), TypeError, "has no grad_raw"),
    "groups": (
        LogLoss(by="group"),
        ValueError,
        "compares groups.*pass sensitive_features",
    ),
}


@pytest.mark.parametrize("cls", PUBLIC)
@pytest.mark.parametrize("kind", CRITERIA)
def test_criteria(cls, kind):
    X, y = table()
    criterion, error, match = CRITERIA[kind]
    refuses_fit(
        cls, X, y, error, match, parameters={"criterion": criterion}, **marks(cls)
    )
    if cls is PumaPatcher and kind not in ("empty", "repeated"):
        parameters = {"target": criterion}
        refuses_fit(cls, X, y, error, match, parameters=parameters, **marks(cls))


@pytest.mark.parametrize("cls", PUBLIC)
def test_criteria_of_a_regressor(cls):
    X, _ = table()
    y = X["x0"]
    for criterion, match in (
        ("brier_score", "classification; this model is for regression"),
        (LogLoss(), "classification; this model is for regression"),
    ):
        parameters = {"criterion": criterion}
        refuses_fit(cls, X, y, ValueError, match, Ridge(), parameters, **marks(cls))


def test_a_target_of_several_parts():
    X, y = table()
    parameters = {"target": LogLoss(by="class")}
    marked = data.some(N, 0.1)
    match = "target must be a single criterion"
    refuses_fit(
        PumaPatcher, X, y, ValueError, match, parameters=parameters, marked=marked
    )


# -- estimators ------------------------------------------------------------------------


ESTIMATORS = {
    "forest": (
        RandomForestClassifier(),
        "RandomForestClassifier is not supported.*LogisticRegression.*Ridge",
    ),
    "pipeline": (
        make_pipeline(StandardScaler(), RandomForestClassifier()),
        "RandomForestClassifier is not supported.*Pipeline, a search",
    ),
    "early stopping": (
        MLPClassifier((3,), early_stopping=True, max_iter=5),
        "early_stopping=True hides.*early_stopping=False",
    ),
    "positive": (LinearRegression(positive=True), "positive=True.*refit without it"),
    "hinge": (SGDClassifier(max_iter=5), "loss='hinge'.*log_loss"),
    "perceptron": (Perceptron(max_iter=5), "Perceptron is not supported.*SGDClassif"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning:sklearn")
@pytest.mark.parametrize("cls", PUBLIC)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_estimators_that_are_not_supported(cls, kind):
    X, y = table()
    estimator, match = ESTIMATORS[kind]
    refuses_fit(cls, X, y, NotDifferentiableError, match, estimator)
    if kind != "forest":
        estimator = FrozenEstimator(clone(estimator).fit(X, y))
    val = measured_on(cls, X, y)
    refuses_fit(cls, X, y, NotDifferentiableError, match, estimator, **val)
    patcher = PumaPatcher(estimator)
    if kind != "forest":
        refuses(
            patcher,
            lambda one: one.patch(X, y, remove=[3]),
            NotDifferentiableError,
            match,
        )


@pytest.mark.parametrize("cls", PUBLIC)
def test_an_unsupported_estimator_can_be_looked_at(cls):
    one = cls(RandomForestClassifier())
    assert "RandomForest" in repr(one)
    assert "RandomForest" in one._repr_html_()
    clone(one)


@pytest.mark.parametrize("cls", PUBLIC)
def test_a_frozen_estimator_that_is_not_fitted(cls):
    X, y = table()
    for inner in (
        LogisticRegression(),
        NETWORK,
        make_pipeline(StandardScaler(), LogisticRegression()),
    ):
        val = measured_on(cls, X, y)
        frozen = FrozenEstimator(inner)
        refuses_fit(cls, X, y, NotFittedError, "is not fitted yet", frozen, **val)
        refuses(
            PumaPatcher(frozen),
            lambda one: one.patch(X, y, remove=[3]),
            NotFittedError,
            "is not fitted yet",
        )


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("cls", PUBLIC)
def test_sparse_rows_are_for_linear_models(cls, container):
    X, y = data.blobs(N)
    rows = container(X)
    to_rows = FunctionTransformer(container, accept_sparse=True)
    for network in (NETWORK, make_pipeline(to_rows, NETWORK)):
        match = r"linear models only.*X\.toarray\(\)"
        refuses_fit(cls, rows, y, TypeError, match, network)
    regressor = MLPRegressor(hidden_layer_sizes=(2,), max_iter=5)
    refuses_fit(cls, rows, X[:, 0], TypeError, "linear models only", regressor)
    cls(LogisticRegression()).fit(rows, y)


@pytest.mark.parametrize("cls", [PumaValuator, PumaPatcher])
@pytest.mark.parametrize("solver", ["auto", "cholesky", "eigh"])
def test_a_singular_curvature_without_damping(cls, solver):
    X, _ = data.blobs(N)
    twice = np.column_stack([X, X[:, 0]])
    y = X @ [1.0, 2.0, 0.0, -1.0] + np.random.default_rng(0).standard_normal(N)
    refuses_fit(
        cls,
        twice,
        y,
        SolverError,
        "singular.*Set damping='auto' or a positive damping.*drop collinear columns",
        LinearRegression(),
        {"damping": 0.0, "solver": solver},
        **marks(cls),
    )
    for damping in ("auto", 1e-3):
        cls(LinearRegression(), damping=damping).fit(twice, y, **marks(cls))


# -- parameters ------------------------------------------------------------------------


NUMBER = "must be a number"
PATCHER_PARAMETERS = [
    ("delta", -0.1, ValueError, "delta must be >= 0"),
    ("delta", np.nan, ValueError, "delta must be finite"),
    ("delta", "small", TypeError, "delta must be a number"),
    ("delta", [0.1, -0.1], ValueError, "delta must be >= 0"),
    ("delta", [0.1, 0.1], ValueError, "delta has 2 values for 1 criteria"),
    ("delta", None, TypeError, "delta must be a number"),
    ("eta", -1.0, ValueError, "eta must be >= 0"),
    ("eta", np.nan, ValueError, "eta must be finite"),
    ("eta", "1", TypeError, "eta must be a number"),
    ("eta", np.inf, ValueError, "set forget_at= or target="),
    ("forget_at", 1.0, ValueError, "below 1 for a classifier"),
    ("forget_at", 2.0, ValueError, "below 1 for a classifier"),
    ("forget_at", 0.0, ValueError, "forget_at must be > 0"),
    ("forget_at", np.nan, ValueError, "forget_at must be finite"),
    ("steps", 0, ValueError, "neither 'auto' nor an int"),
    ("steps", 2.5, ValueError, "neither 'auto' nor an int"),
    ("trust", 0.0, ValueError, "trust must be > 0"),
    ("trust", np.nan, ValueError, "trust must be finite"),
    ("side", "better", ValueError, "neither 'worse' nor 'both'"),
    ("alpha", 1.5, ValueError, "alpha must be >= 0.* and <= 1"),
    ("alpha", np.nan, ValueError, "alpha must be finite"),
    ("l1_ratio", -0.1, ValueError, "l1_ratio must be >= 0"),
    ("max_weight", 0.0, ValueError, "max_weight must be > 0"),
    ("damping", -1.0, ValueError, "damping must be >= 0"),
    ("damping", np.nan, ValueError, "damping must be finite"),
    ("polish", "yes", ValueError, "polish='yes'"),
    ("curvature_rows", 0, ValueError, "curvature_rows must be >= 1"),
    ("curvature", "newton", ValueError, "Unknown curvature 'newton'.*fisher"),
    ("solver", "lu", ValueError, "Unknown solver 'lu'.*cholesky"),
]


@pytest.mark.parametrize(("name", "value", "error", "match"), PATCHER_PARAMETERS)
def test_parameters_of_the_patcher(name, value, error, match):
    X, y = table()
    parameters, marked = {name: value}, data.some(N, 0.1)
    refuses_fit(PumaPatcher, X, y, error, match, None, parameters, marked=marked)
    patcher = fit_and_patch(X, y).set_params(**parameters)
    refuses(patcher, lambda one: one.patch(X, y, remove=marked), error, match)


def test_infinite_delta_is_no_bound():
    X, y = table()
    patcher = PumaPatcher(delta=np.inf).fit(X, y, marked=data.some(N, 0.1))
    assert patcher.report_.kept.all()


def test_an_end_that_is_never_reached():
    X, y = table()
    parameters = {"eta": np.inf, "forget_at": 0.3}
    refuses(
        PumaPatcher(**parameters).fit(X, y),
        lambda one: one.patch(X, y, upweight=[3]),
        ValueError,
        "rows are up-weighted only: set target=, or a finite eta",
    )
    parameters["steps"] = 3
    match = "eta=inf needs steps='auto'"
    refuses_fit(PumaPatcher, X, y, ValueError, match, parameters=parameters)


@pytest.mark.parametrize("value", [0.5, 0.99])
def test_forget_at_of_a_regressor(value):
    X, _ = table()
    refuses_fit(
        PumaPatcher,
        X,
        X["x0"],
        ValueError,
        "at least 1 for a regressor",
        Ridge(),
        {"forget_at": value},
        marked=data.some(N, 0.1),
    )


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        (1.0, ValueError, "n_marked=1.0 marks 120 of 120 rows"),
        (N, ValueError, "n_marked=120 marks 120 of 120 rows"),
        (-1, ValueError, "n_marked must be >= 0"),
        (np.nan, ValueError, "n_marked must be finite"),
        ("ten", TypeError, "n_marked must be a number"),
    ],
)
def test_n_marked(value, error, match):
    X, y = table()
    parameters = {"marker": PumaValuator(cv=2), "n_marked": value}
    refuses_fit(PumaPatcher, X, y, error, match, parameters=parameters)


VALUATOR_PARAMETERS = [
    ("effect", "exact", ValueError, "effect='exact' is neither"),
    ("polish", "yes", ValueError, "polish='yes'"),
    ("damping", -1.0, ValueError, "damping must be >= 0"),
    ("damping", np.nan, ValueError, "damping must be finite"),
    ("damping", "big", TypeError, "damping must be a number"),
    ("curvature", "newton", ValueError, "Unknown curvature 'newton'.*fisher"),
    ("solver", "lu", ValueError, "Unknown solver 'lu'.*cholesky"),
    ("cv", 1, ValueError, "cv >= 2"),
]


@pytest.mark.parametrize(("name", "value", "error", "match"), VALUATOR_PARAMETERS)
def test_parameters_of_the_valuator(name, value, error, match):
    refuses_fit(PumaValuator, *table(), error, match, parameters={name: value})


def test_one_step_needs_an_explicit_curvature():
    parameters = {"effect": "one_step", "solver": "cg"}
    match = "effect='one_step' needs explicit curvature"
    refuses_fit(PumaValuator, *table(), SolverError, match, parameters=parameters)


@pytest.mark.parametrize(
    ("name", "value", "error", "match"),
    [
        ("max_removed", 1.0, ValueError, "max_removed=1.0 must be below 1"),
        ("max_removed", -0.1, ValueError, "max_removed must be >= 0"),
        ("max_removed", np.nan, ValueError, "max_removed must be finite"),
        ("delta", -0.1, ValueError, "delta must be >= 0"),
        ("effect", "exact", ValueError, "effect='exact' is neither"),
        ("max_removed", "most", ValueError, "neither 'auto' nor a share"),
        ("cv", 1, ValueError, "cv must be >= 2"),
        ("rounds", 0, ValueError, "rounds must be >= 1"),
        ("rounds", 2.0, TypeError, "rounds must be an int"),
        ("views", "model", TypeError, "views must be a list or tuple of names"),
        ("views", ["trees"], ValueError, "views has unknown names: \\['trees'\\]"),
        ("views", [], ValueError, "views is empty"),
        ("act_on", ["wrong"], ValueError, "act_on has unknown names"),
        ("act_on", "mislabelled", TypeError, "act_on must be a list or tuple"),
    ],
)
def test_parameters_of_the_debugger(name, value, error, match):
    refuses_fit(PumaDebugger, *table(), error, match, parameters={name: value})


# -- not fitted ------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [PumaPatcher, PumaDebugger])
@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_predictions_before_fit(cls, method):
    X, y = table()
    for estimator in (None, FrozenEstimator(LogisticRegression().fit(X, y))):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            getattr(cls(estimator), method)(X)
    for name in ("classes_", "coef_", "intercept_"):
        assert not hasattr(cls(), name)


@pytest.mark.parametrize(
    "call",
    [
        lambda X, y: PumaPatcher().patch(X, y, remove=[3]),
        lambda X, y: PumaPatcher().unpatch(),
        lambda X, y: PumaPatcher().finalize(),
        lambda X, y: PumaPatcher().transform(X),
        lambda X, y: PumaPatcher().score(X, y),
        lambda X, y: PumaPatcher().get_feature_names_out(),
        lambda X, y: PumaDebugger().score(X, y),
        lambda X, y: PumaValuator().transform(X),
        lambda X, y: PumaValuator().valuate(X, y),
        lambda X, y: PumaValuator().inspect(),
        lambda X, y: PumaValuator().leverage(X, y),
        lambda X, y: PumaValuator().self_influence(X, y),
        lambda X, y: PumaValuator().check_influence(X, y),
        lambda X, y: PumaValuator().get_feature_names_out(),
    ],
)
def test_methods_before_fit(call):
    with pytest.raises(NotFittedError, match="is not fitted yet. Call 'fit'"):
        call(*table())


# -- rows, weights and arguments that would pass unnoticed -----------------------------


def fit_refuses(estimator, X, y, error, match, **keywords):
    refuses(estimator, lambda one: one.fit(X, y, **keywords), error, match)


@pytest.mark.parametrize("selection", [{3, 4}, slice(3), {3: 1}])
def test_a_selection_of_another_kind(selection):
    X, y = data.blobs(N)
    patcher = PumaPatcher().fit(X, y)
    match = f"is a {type(selection).__name__}"
    refuses(patcher, lambda one: one.patch(X, y, remove=selection), TypeError, match)


def test_zeros_and_ones_are_no_mask():
    X, y = data.blobs(N)
    patcher = PumaPatcher().fit(X, y)
    ones = np.zeros(N, int)
    match = r"astype\(bool\)"
    refuses(patcher, lambda one: one.patch(X, y, remove=ones), ValueError, match)


def test_weight_is_not_given_back_to_removed_rows():
    X, y = data.blobs(N)
    weight = np.linspace(0.5, 2.0, N)
    patcher = PumaPatcher().fit(X, y, weight).patch(X, y, remove=[0, 1])

    def again(one):
        one.patch(X, y, remove=[2], sample_weight=weight)

    refuses(patcher, again, ValueError, "gives weight back to 2 rows")
    patcher.patch(X, y, remove=[2], sample_weight=patcher.row_weight_)
    assert np.flatnonzero(patcher.row_weight_ == 0).tolist() == [0, 1, 2]


def test_metadata_whose_index_is_in_another_order():
    X, y = table()
    reversed_ones = pd.Series(np.ones(N), index=X.index[::-1])
    mixed = pd.Series(np.asarray(y), index=X.index[::-1])
    for one in (PumaValuator(cv=3), PumaPatcher(), PumaDebugger(cv=3)):
        fit_refuses(one, X, y, ValueError, "index", sample_weight=reversed_ones)
        fit_refuses(one, X, mixed, ValueError, "another order")


def test_validation_rows_that_a_fit_would_not_use():
    X, y = data.blobs(N)
    match = "X_val, y_val would not be used"
    fit_refuses(PumaPatcher(), X, y, ValueError, match, X_val=X, y_val=y)


def test_a_marker_that_values_nothing():
    X, y = data.blobs(N)
    fit_refuses(PumaPatcher(marker=Ridge()), X, y, TypeError, "does not value rows")


def test_a_criterion_class_is_no_criterion():
    X, y = data.blobs(N)
    one = PumaPatcher(criterion=LogLoss)
    fit_refuses(one, X, y, TypeError, r"LogLoss\(\)", marked=np.arange(N) < 2)


@pytest.mark.parametrize(("name", "value"), [("reweight", "no"), ("steps", True)])
def test_what_merely_counts_as_another_type(name, value):
    X, y = data.blobs(N)
    one = PumaPatcher(**{name: value})
    fit_refuses(one, X, y, (TypeError, ValueError), name)


def test_a_frozen_model_scored_by_its_own_loss_on_its_own_rows():
    X, y = data.blobs(N)
    frozen = FrozenEstimator(LogisticRegression().fit(X, y))
    one = PumaValuator(frozen)
    fit_refuses(one, X, y, ValueError, "almost nothing", X_val=X, y_val=y)
    PumaValuator(frozen, "brier_score").fit(X, y, X_val=X, y_val=y)


def test_an_objective_without_a_finite_optimum():
    X = np.linspace(-1, 1, 40)[:, None]
    y = (X[:, 0] > 0).astype(int)
    model = LogisticRegression(C=np.inf).fit(X, y)
    valuator = PumaValuator(FrozenEstimator(model))
    with pytest.warns(StationarityWarning, match="did not reach an optimum"):
        valuator.fit(X, y, X_val=X[:7], y_val=1 - y[:7])
