"""Models inside pipelines, searches and target transformers."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    SGDClassifier,
)
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, StandardScaler

from skpuma import (
    NotDifferentiableError,
    PumaPatcher,
    PumaValuator,
    StationarityWarning,
    supports,
)
from skpuma.checks import check_model
from skpuma.models import adapt, innermost
from tests.contracts import problems

TIGHT = {"solver": "newton-cholesky", "tol": 1e-12}
LOGISTIC = LogisticRegression(**TIGHT)


def searches():
    grid = {"C": [0.1, 1.0]}
    yield GridSearchCV(LOGISTIC, grid, cv=3)
    yield RandomizedSearchCV(LOGISTIC, grid, n_iter=2, cv=3, random_state=0)
    yield HalvingGridSearchCV(LOGISTIC, grid, cv=3, random_state=0)
    inside = make_pipeline(StandardScaler(), LOGISTIC)
    yield GridSearchCV(inside, {"logisticregression__C": [0.1, 1.0]}, cv=3)
    yield make_pipeline(StandardScaler(), GridSearchCV(LOGISTIC, grid, cv=3))


SEARCHES = [pytest.param(search, id=type(search).__name__) for search in searches()]


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_is_its_best_estimator(search):
    X = 3.0 * problems.rows(120) + 1.0
    y = problems.classes(X, 2)
    assert supports(search) == (True, "")
    search.fit(X, y)
    assert supports(search) == (True, "")
    check_model(search, X, y, stationary=1e-8)
    C = innermost(search).C
    by_hand = LogisticRegression(C=C, **TIGHT)
    rows = X
    if not isinstance(innermost(search), type(search)) and "scaler" in repr(search):
        rows = StandardScaler().fit_transform(X)
    removed = np.arange(120) < 6
    patcher = PumaPatcher(FrozenEstimator(search), delta=np.inf, reweight=False)
    patcher.patch(X, y, remove=removed)
    assert type(patcher.estimator_) is type(search)
    refitted = by_hand.fit(rows[~removed], y[~removed])
    np.testing.assert_allclose(
        patcher.predict_proba(X), refitted.predict_proba(rows), atol=1e-9
    )
    # The search that was handed over still predicts what it did.
    before = by_hand.fit(rows, y).predict_proba(rows)
    np.testing.assert_allclose(search.predict_proba(X), before, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_search_is_fitted_with_its_weights(weighted):
    X = problems.rows(90)
    y = problems.classes(X, 2)
    weight = problems.weights(90) if weighted else None
    inside = make_pipeline(StandardScaler(), LOGISTIC)
    for search in (
        GridSearchCV(inside, {"logisticregression__C": [1.0]}, cv=3),
        make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), LOGISTIC)),
    ):
        valuator = PumaValuator(search, cv=3, random_state=0).fit(X, y, weight)
        plain = PumaValuator(inside, cv=3, random_state=0).fit(X, y, weight)
        np.testing.assert_allclose(valuator.psi_, plain.psi_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "estimator",
    [
        TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp),
        TransformedTargetRegressor(Ridge(), transformer=PowerTransformer()),
        TransformedTargetRegressor(
            make_pipeline(StandardScaler(), Ridge()), func=np.log, inverse_func=np.exp
        ),
        make_pipeline(
            StandardScaler(),
            TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        ),
        TransformedTargetRegressor(func=np.log, inverse_func=np.exp),
    ],
    ids=str,
)
def test_a_transformed_target(estimator):
    X = problems.rows(100)
    y = np.exp(problems.numbers(X))
    assert supports(estimator) == (True, "")
    estimator.fit(X, y)
    model = adapt(estimator)
    inner = innermost(estimator)
    assert isinstance(inner, (Ridge, LinearRegression))
    # Raw outputs and targets live where the regressor inside was trained.
    inside = model.inputs(X), model.targets(y)
    np.testing.assert_allclose(model.raw(inside[0])[:, 0], inner.predict(inside[0]))
    removed = np.arange(100) < 5
    patcher = PumaPatcher(FrozenEstimator(estimator), delta=np.inf, reweight=False)
    patcher.patch(X, y, remove=removed)
    refitted = type(inner)(**inner.get_params())
    refitted.fit(inside[0][~removed], inside[1][~removed, 0])
    theirs = model.at(adapt(refitted).theta).with_theta(adapt(refitted).theta)
    np.testing.assert_allclose(patcher.predict(X), theirs.predict(X), rtol=1e-9)
    assert type(patcher.estimator_) is type(estimator)
    check_model(inner, *inside)


def test_categorical_columns_in_a_pipeline():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"age": rng.normal(40, 9, 150), "job": rng.choice(["a", "b", "c"], 150)}
    )
    y = np.where(X["age"] + 9 * rng.standard_normal(150) > 42, "yes", "no")
    prepare = make_column_transformer(
        (StandardScaler(), ["age"]), (OneHotEncoder(), ["job"])
    )
    model = make_pipeline(prepare, LOGISTIC)
    valuator = PumaValuator(model, cv=3, random_state=0).fit(X, y)
    assert valuator.psi_.shape == (150, 1)
    patcher = PumaPatcher(model, delta=np.inf, reweight=False).fit(X, y)
    patcher.patch(X, y, remove=valuator.inspect(top=5).index)
    keep = ~np.isin(np.arange(150), valuator.inspect(top=5).index)
    inside = model.fit(X, y)[:-1].transform(X)
    refitted = LogisticRegression(**TIGHT).fit(inside[keep], y[keep])
    np.testing.assert_allclose(
        patcher.predict_proba(X), refitted.predict_proba(inside), atol=1e-9
    )


def test_a_search_that_keeps_no_model_is_refused():
    search = GridSearchCV(LOGISTIC, {"C": [1.0]}, refit=False)
    supported, reason = supports(search)
    assert not supported and "refit=True" in reason
    with pytest.raises(NotDifferentiableError, match="refit=True"):
        PumaValuator(search).fit(problems.rows(), problems.classes(problems.rows(), 2))


def test_a_search_is_judged_by_what_it_finds():
    X = problems.rows(60)
    y = problems.classes(X, 2)
    # The default loss of the estimator inside is not supported, that of the grid is.
    search = GridSearchCV(SGDClassifier(random_state=0), {"loss": ["log_loss"]}, cv=2)
    assert supports(search) == (True, "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StationarityWarning)
        valuator = PumaValuator(search, cv=2, random_state=0).fit(X, y)
    assert valuator.psi_.shape == (60, 1)


def test_supports_of_none_a_class_and_an_adapter_by_name():
    assert supports(None) == (True, "")
    assert supports(Ridge)[1] == "Ridge is a class; pass an estimator: Ridge()."
    named = type(
        "Own", (Ridge,), {"skpuma_adapter": "skpuma.models._linear:RidgeModel"}
    )
    assert supports(named()) == (True, "")


def test_labels_as_a_sparse_indicator():
    X, y = problems.rows(60), problems.TARGETS["multilabel"](problems.rows(60))
    model = OneVsRestClassifier(LOGISTIC)
    dense = PumaPatcher(model, delta=np.inf).fit(X, y).patch(X, y, remove=[0])
    labels = sparse.csr_matrix(y)
    patcher = PumaPatcher(model, delta=np.inf).fit(X, labels)
    patcher.patch(X, labels, remove=[0])
    np.testing.assert_allclose(patcher.predict_proba(X), dense.predict_proba(X))
