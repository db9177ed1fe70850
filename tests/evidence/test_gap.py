"""The distance to a retrained model, quantity by quantity."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from scipy.special import expit
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skpuma.evidence import retrain_gap
from tests import data

TIGHT = LogisticRegression(**data.TIGHT)
GRADIENT = "gradient norm on the retained rows"


def trained(estimator, k=2, gone=20):
    """(before, retrained, X, y, mask of the rows that are gone, X_test, y_test)."""
    X, y = data.blobs(180, k=k)
    X, y, X_test, y_test = X[:120], y[:120], X[120:], y[120:]
    forgotten = data.some(120, gone / 120)
    before = clone(estimator).fit(X, y)
    retrained = clone(estimator).fit(X[~forgotten], y[~forgotten])
    return before, retrained, X, y, forgotten, X_test, y_test


def flat(model):
    return np.append(np.ravel(model.coef_), model.intercept_)


def half_way(before, retrained, share=0.5):
    """A model between the two."""
    model = clone(before).fit(*data.blobs(120, k=len(before.classes_)))
    for name in ("coef_", "intercept_"):
        ends = getattr(before, name), getattr(retrained, name)
        setattr(model, name, (1 - share) * ends[0] + share * ends[1])
    return model


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 2.0])
def test_distance_of_the_parameters(share):
    before, retrained, X, y, forgotten, _, _ = trained(TIGHT)
    model = half_way(before, retrained, share)
    gap = retrain_gap(model, retrained, X, y, forgotten, original=before)
    assert gap.columns.tolist() == ["original", "model", "retrained"]
    distance = np.linalg.norm(flat(model) - flat(retrained))
    assert gap.loc["parameter distance", "model"] == pytest.approx(distance)
    relative = gap.loc["relative parameter distance"]
    assert relative["model"] == pytest.approx(abs(1.0 - share))
    assert relative["original"] == 1.0 and relative["retrained"] == 0.0


def test_without_the_original_there_is_no_relative_distance():
    before, retrained, X, y, forgotten, _, _ = trained(TIGHT)
    gap = retrain_gap(before, retrained, X, y, forgotten)
    assert gap.loc["relative parameter distance"].isna().all()
    assert gap.loc["parameter distance", "model"] > 0.0


@pytest.mark.parametrize("C", [1.0, np.inf])
def test_what_a_softmax_does_not_see_is_no_distance(C):
    estimator = LogisticRegression(**{**data.TIGHT, "C": C})
    before, retrained, X, y, forgotten, _, _ = trained(estimator, k=3)
    moved = clone(estimator).fit(X, y)
    moved.coef_, moved.intercept_ = retrained.coef_.copy(), retrained.intercept_ + 5.0
    if np.isinf(C):
        moved.coef_ += np.array([1.0, -2.0, 0.5, 3.0])
    np.testing.assert_allclose(moved.predict_proba(X), retrained.predict_proba(X))
    gap = retrain_gap(moved, retrained, X, y, forgotten, original=before)
    assert gap.loc["parameter distance", "model"] == pytest.approx(0.0, abs=1e-9)
    assert gap.loc["parameter distance", "original"] > 0.01


def test_coefficients_at_zero_count_as_zeros():
    estimator = LogisticRegression(
        l1_ratio=1.0, solver="saga", C=0.1, tol=1e-8, max_iter=20_000, random_state=0
    )
    before, retrained, X, y, forgotten, _, _ = trained(estimator, gone=80)
    assert ((before.coef_ == 0) != (retrained.coef_ == 0)).any()
    gap = retrain_gap(before, retrained, X, y, forgotten)
    expected = np.linalg.norm(flat(before) - flat(retrained))
    assert gap.loc["parameter distance", "model"] == pytest.approx(expected)


def test_parameters_of_a_network_and_its_noise_floor():
    net = MLPClassifier((5,), max_iter=300, random_state=0)
    before, retrained, X, y, forgotten, X_test, y_test = trained(net)
    again = clone(net).set_params(random_state=1).fit(X[~forgotten], y[~forgotten])
    gap = retrain_gap(before, retrained, X, y, forgotten, X_test, y_test, again=again)
    for name, model in (("model", before), ("again", again)):
        parts = zip(
            model.coefs_ + model.intercepts_,
            retrained.coefs_ + retrained.intercepts_,
            strict=True,
        )
        expected = np.sqrt(sum(np.square(a - b).sum() for a, b in parts))
        assert gap.loc["parameter distance", name] == pytest.approx(expected)
    # Another seed is another network, of which the predictions say more.
    distance = gap.loc["parameter distance"]
    assert distance["again"] > 3.0 * distance["model"]
    assert gap.loc["kl, test rows", "again"] < 0.5


# -- predictions and losses ------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_predictions_and_losses_on_three_sets_of_rows(k):
    before, retrained, X, y, forgotten, X_test, y_test = trained(TIGHT, k=k, gone=60)
    gap = retrain_gap(before, retrained, X, y, forgotten, X_test, y_test)
    sets = {
        "retained": (X[~forgotten], y[~forgotten]),
        "forgotten": (X[forgotten], y[forgotten]),
        "test": (X_test, y_test),
    }
    for name, (rows, _) in sets.items():
        differ = before.predict(rows) != retrained.predict(rows)
        assert gap.loc[f"disagreement, {name} rows", "model"] == differ.mean()
        kl = stats.entropy(
            retrained.predict_proba(rows), before.predict_proba(rows), axis=1
        )
        assert gap.loc[f"kl, {name} rows", "model"] == pytest.approx(kl.mean())
        assert gap.loc[f"kl, {name} rows", "retrained"] == 0.0
    for column, model in (("model", before), ("retrained", retrained)):
        losses = {
            name: log_loss(labels, model.predict_proba(rows))
            for name, (rows, labels) in sets.items()
        }
        found = gap[column]
        assert found["log-loss, forgotten rows"] == pytest.approx(losses["forgotten"])
        assert found["log-loss, test rows"] == pytest.approx(losses["test"])
        assert found["log-loss, forgotten - test"] == pytest.approx(
            losses["forgotten"] - losses["test"]
        )
    assert not any("retained" in name and "loss" in name for name in gap.index)


def test_a_regression_by_the_root_of_its_squared_differences():
    X, y = data.diabetes()
    forgotten = data.some(len(y), 0.1)
    before, retrained = Ridge().fit(X, y), Ridge().fit(X[~forgotten], y[~forgotten])
    gap = retrain_gap(before, retrained, X, y, forgotten, X[:50], y[:50])
    for name, rows in (("retained", X[~forgotten]), ("forgotten", X[forgotten])):
        rms = mean_squared_error(retrained.predict(rows), before.predict(rows)) ** 0.5
        assert gap.loc[f"rms, {name} rows", "model"] == pytest.approx(rms)
    loss = mean_squared_error(y[forgotten], retrained.predict(X[forgotten]))
    found = gap.loc["squared error, forgotten rows", "retrained"]
    assert found == pytest.approx(loss)


def test_classifiers_without_probabilities():
    before, retrained, X, y, forgotten, X_test, y_test = trained(LinearSVC())
    gap = retrain_gap(before, retrained, X, y, forgotten, X_test, y_test)
    assert gap.loc["kl, test rows"].isna().all()
    differ = before.predict(X_test) != retrained.predict(X_test)
    assert gap.loc["disagreement, test rows", "model"] == differ.mean()
    margin = np.where(y_test == 1, 2.0, -2.0) * before.decision_function(X_test)
    found = gap.loc["negative margin, test rows", "model"]
    assert found == pytest.approx(-margin.mean())


def test_models_that_are_not_differentiable_have_predictions_only():
    forest = RandomForestClassifier(5, random_state=0)
    before, retrained, X, y, forgotten, X_test, y_test = trained(forest)
    gap = retrain_gap(before, retrained, X, y, forgotten, X_test, y_test)
    assert gap.loc[["parameter distance", GRADIENT]].isna().all(axis=None)
    assert gap.loc["kl, test rows", "model"] > 0.0
    mixed = retrain_gap(clone(TIGHT).fit(X, y), retrained, X, y, forgotten)
    assert np.isnan(mixed.loc["parameter distance", "model"])
    assert mixed.loc[GRADIENT, "model"] > 0.0


def test_a_class_that_is_gone_as_a_whole():
    X, y = data.blobs(120, k=3)
    forgotten = y == 2
    before = clone(TIGHT).fit(X, y)
    retrained = clone(TIGHT).fit(X[~forgotten], y[~forgotten])
    gap = retrain_gap(before, retrained, X, y, forgotten, original=before)
    assert np.isnan(gap.loc["parameter distance", "model"])
    assert np.isnan(gap.loc[GRADIENT, "retrained"])
    assert gap.loc["disagreement, forgotten rows", "model"] > 0.5
    assert np.isfinite(gap.loc["kl, forgotten rows", "model"])
    # A class that the model does not know has the floor of a probability.
    found = gap.loc["log-loss, forgotten rows", "retrained"]
    assert found == pytest.approx(45 * np.log(10))


# -- the gradient ----------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
def test_gradient_is_that_of_the_objective_without_the_rows(weighted):
    before, _, X, y, forgotten, _, _ = trained(TIGHT)
    weight = (
        np.random.default_rng(0).uniform(0.5, 2.0, 120) if weighted else np.ones(120)
    )
    keep = ~forgotten
    retrained = clone(TIGHT).fit(X[keep], y[keep], weight[keep])
    gap = retrain_gap(before, retrained, X, y, forgotten, sample_weight=weight)
    # J of LogisticRegression(C=1) over W: mean log-loss and ||w||^2 / (2 W).
    p = expit(before.decision_function(X[keep]))
    one = np.column_stack([X[keep], np.ones(keep.sum())])
    by_hand = one.T @ (weight[keep] * (p - y[keep]))
    by_hand[:-1] += before.coef_[0]
    size = np.linalg.norm(by_hand) / weight.sum()
    assert gap.loc[GRADIENT, "model"] == pytest.approx(size)
    assert gap.loc[GRADIENT, "retrained"] < 1e-8


@pytest.mark.parametrize(
    "estimator",
    [
        PoissonRegressor(alpha=0.1, solver="newton-cholesky", tol=1e-12),
        Ridge(2.0),
        LogisticRegression(class_weight={0: 3.0, 1: 1.0}, **data.TIGHT),
    ],
    ids=["mean kind", "ridge", "class weights"],
)
def test_gradient_vanishes_at_the_retrained_model(estimator):
    before, retrained, X, y, forgotten, _, _ = trained(estimator)
    gap = retrain_gap(before, retrained, X, y, forgotten)
    assert gap.loc[GRADIENT, "retrained"] < 1e-8
    assert gap.loc[GRADIENT, "model"] > 1e-4


# -- forms of input, and refusals ------------------------------------------------------


@pytest.mark.parametrize("kind", ["frame", "sparse", "names"])
def test_rows_may_be_of_any_kind(kind):
    before, retrained, X, y, forgotten, X_test, y_test = trained(TIGHT)
    plain = retrain_gap(
        before, retrained, X, y, forgotten, X_test, y_test, original=before
    )
    rows = forgotten
    if kind == "frame":
        X, X_test = data.frame(X), data.frame(X_test)
        rows = X.index[forgotten]
    elif kind == "sparse":
        X, X_test = sparse.csr_array(X), sparse.csr_array(X_test)
    else:
        names = np.array(["no", "yes"])
        y, y_test = names[y], names[y_test]
    keep = np.flatnonzero(~forgotten)
    X_left = X.iloc[keep] if kind == "frame" else X[keep]
    before = clone(TIGHT).fit(X, y)
    retrained = clone(TIGHT).fit(X_left, y[keep])
    given = (before, retrained, X, y, rows, X_test, y_test)
    state = pickle.dumps(given)
    found = retrain_gap(*given, original=before)
    assert pickle.dumps(given) == state
    pd.testing.assert_frame_equal(found, plain, rtol=1e-5, atol=1e-7)


def test_pipelines_are_compared_behind_their_preprocessing():
    X, y = data.breast_cancer()
    forgotten = data.some(len(y), 0.1)
    scaler = StandardScaler().fit(X)
    inner = [clone(TIGHT).fit(X, y), clone(TIGHT).fit(X[~forgotten], y[~forgotten])]
    outer = []
    for one in inner:
        pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
        pipeline.steps[-1] = ("logisticregression", one)
        outer.append(pipeline)
    np.testing.assert_allclose(scaler.transform(X), X, atol=1e-9)
    pd.testing.assert_frame_equal(
        retrain_gap(*outer, X, y, forgotten),
        retrain_gap(*inner, X, y, forgotten),
        rtol=1e-6,
        atol=1e-9,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forgotten": []}, "0 of 120 rows are forgotten"),
        ({"forgotten": range(120)}, "120 of 120"),
        ({"X_test": None}, "go together"),
        ({"y": None}, "y is None"),
        ({"y": np.zeros(5)}, "inconsistent numbers"),
        ({"sample_weight": np.ones(3)}, "expected .120,."),
    ],
    ids=str,
)
def test_bad_rows_are_refused(change, message):
    before, retrained, X, y, forgotten, X_test, y_test = trained(TIGHT)
    given = {
        "model": before,
        "retrained": retrained,
        "X": X,
        "y": y,
        "forgotten": forgotten,
        "X_test": X_test,
        "y_test": y_test,
    }
    with pytest.raises(ValueError, match=message):
        retrain_gap(**{**given, **change})
