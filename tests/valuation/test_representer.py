"""The decomposition, and the refitted layer against scikit-learn's own optimum."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    HuberRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skpuma.utils.errors import NotDifferentiableError
from skpuma.valuation import RepresenterPoints
from tests.data import TIGHT, blobs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SMALL = {"max_iter": 200, "random_state": 0}


def problem(k=3, n=60):
    X, y = blobs(n, k=k)
    return X, y, np.column_stack([X, np.ones(n)])


@pytest.mark.parametrize("targets", ["labels", "model"])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        LogisticRegression(class_weight="balanced"),
        make_pipeline(StandardScaler(), LogisticRegression()),
        LinearSVC(),
        RidgeClassifier(),
        SGDClassifier("modified_huber", random_state=0),
        MLPClassifier((8,), **SMALL),
        MLPClassifier((6, 4), activation="tanh", **SMALL),
        Ridge(),
        PoissonRegressor(),
        MLPRegressor(hidden_layer_sizes=(8,), **SMALL),
    ],
    ids=str,
)
def test_predictions_are_sums_over_the_rows(estimator, k, targets):
    X, y, _ = problem(k)
    system = RepresenterPoints(estimator, targets=targets).fit(X, y)
    assert system.decomposition_error_ < 1e-8
    shares = system.decompose(X[:7])
    assert shares.shape == (7, 60, system.alpha_.shape[1])
    model = system._model
    features = model.last_layer(model.inputs(X[:7]))
    raw = np.column_stack([features, np.ones(7)]) @ system.coef_
    np.testing.assert_allclose(shares.sum(axis=1), raw, rtol=1e-6, atol=1e-7)


def test_the_layer_is_at_the_optimum_of_sklearn():
    X, y, wide = problem()
    system = RepresenterPoints(l2=0.01).fit(X, y)
    # C sum(loss) + |W|^2 / 2 is N times the objective of the paper for C = 1/(2 N l2).
    C = 1.0 / (2 * len(y) * 0.01)
    own = LogisticRegression(C=C, fit_intercept=False, **TIGHT).fit(wide, y)
    np.testing.assert_allclose(system.coef_, own.coef_.T, rtol=1e-6, atol=1e-9)
    p = softmax(wide @ own.coef_.T, axis=1)
    alpha = -(p - np.eye(3)[y]) / (2 * 0.01 * len(y))
    np.testing.assert_allclose(system.alpha_, alpha, rtol=1e-6, atol=1e-9)
    own = np.abs(alpha)[np.arange(len(y)), y]
    np.testing.assert_allclose(system.values_, -own, rtol=1e-6)


def test_ridge_in_closed_form():
    X, _, wide = problem()
    y = X @ [1.0, 2.0, 0.0, -1.0] + np.random.default_rng(0).standard_normal(60)
    system = RepresenterPoints(Ridge(), l2=0.05).fit(X, y)
    gram = wide.T @ wide + 2 * 0.05 * 60 * np.eye(5)
    W = np.linalg.solve(gram, wide.T @ y)
    np.testing.assert_allclose(system.coef_[:, 0], W, rtol=1e-9)
    alpha = (y - wide @ W) / (2 * 0.05 * 60)
    np.testing.assert_allclose(system.alpha_[:, 0], alpha, rtol=1e-8)
    np.testing.assert_allclose(system.values_, -np.abs(alpha), rtol=1e-8)


def test_targets_of_the_model_are_its_probabilities():
    X, y, wide = problem()
    base = LogisticRegression(**TIGHT)
    system = RepresenterPoints(base, targets="model", l2=0.01).fit(X, y)
    q = base.fit(X, y).predict_proba(X)
    p = softmax(wide @ system.coef_, axis=1)
    np.testing.assert_allclose(system.alpha_, -(p - q) / (2 * 0.01 * 60), atol=1e-8)
    # Under a weak penalty the layer becomes the model.
    close = RepresenterPoints(base, targets="model", l2=1e-8).fit(X, y)
    assert close.agreement_ > 0.9999


def test_decomposition_of_one_class():
    for k in (2, 3):
        X, y, _ = problem(k)
        names = np.array(["a", "b", "c"])[y]
        system = RepresenterPoints().fit(X, names)
        every = system.decompose(X[:4])
        last = system.decompose(X[:4], "abc"[k - 1])
        np.testing.assert_allclose(last, every[:, :, -1])
        first = system.decompose(X[:4], "a")
        sign = -1.0 if k == 2 else 1.0
        np.testing.assert_allclose(first, sign * every[:, :, 0])
        with pytest.raises(ValueError, match="output='d' is not one of"):
            system.decompose(X[:4], "d")


def test_a_row_of_the_same_class_speaks_for_it():
    X, y, _ = problem()
    system = RepresenterPoints().fit(X, y)
    shares = system.decompose(X, 1)
    own, others = shares[:, y == 1], shares[:, y != 1]
    same = np.einsum("td,nd->tn", X, X) > 0
    assert (own[same[:, y == 1]] >= 0).all()
    assert (others[same[:, y != 1]] <= 0).all()


def test_sparse_rows_blocks_and_outputs_of_the_caller(monkeypatch, tmp_path):
    X, y, _ = problem()
    X = np.where(X > 0, X, 0.0)
    dense = RepresenterPoints().fit(X, y)
    thin = RepresenterPoints().fit(sparse.csr_array(X), y)
    np.testing.assert_allclose(thin.alpha_, dense.alpha_, atol=1e-9)
    expected = dense.decompose(X)
    monkeypatch.setattr("skpuma.rows.BLOCK_BYTES", 1)
    out = np.memmap(tmp_path / "out", float, "w+", shape=expected.shape)
    thin.decompose(sparse.csr_array(X), out=out)
    np.testing.assert_allclose(out, expected, atol=1e-9)
    with pytest.raises(ValueError, match="out has shape"):
        thin.decompose(sparse.csr_array(X), 1, out=out)


def test_frozen_estimators_are_not_fitted():
    X, y, _ = problem()
    net = MLPClassifier((8,), **SMALL).fit(X, y)
    system = RepresenterPoints(FrozenEstimator(net)).fit(X[:40], y[:40])
    assert system.estimator_ is net
    assert system.alpha_.shape == (40, 3)


def test_validation_rows_are_not_used():
    X, y, _ = problem()
    plain = RepresenterPoints().fit(X, y)
    given = RepresenterPoints().fit(X, y, X_val=X[:5], y_val=y[:5])
    np.testing.assert_array_equal(given.values_, plain.values_)


@pytest.mark.parametrize(
    ("estimator", "parameters", "match"),
    [
        (None, {"l2": 0.0}, "l2 must be > 0"),
        (None, {"targets": "both"}, "targets='both' is not one of"),
        (DecisionTreeClassifier(), {}, "is not supported"),
        (HuberRegressor(), {}, "no last layer that is linear"),
    ],
    ids=str,
)
def test_bad_parameters(estimator, parameters, match):
    X, y, _ = problem()
    with pytest.raises((NotDifferentiableError, ValueError), match=match):
        RepresenterPoints(estimator, **parameters).fit(X, y)


def test_decompose_before_fit():
    with pytest.raises(ValueError, match="not fitted"):
        RepresenterPoints().decompose(np.zeros((1, 2)))
