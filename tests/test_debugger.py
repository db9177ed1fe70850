"""PumaDebugger: find, patch and report in one estimator."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import KFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import PumaDebugger, PumaPatcher, PumaValuator
from skpuma._debugger import select_harmful
from skpuma.datasets import flip_labels
from tests import data

pytestmark = pytest.mark.filterwarnings(
    "ignore::skpuma.LeverageWarning", "ignore::skpuma.DeltaReachedWarning"
)


def noisy(seed=0):
    """breast_cancer with flipped training labels: rows to train, measure and test."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X.index = [f"patient{i}" for i in X.index]
    y = y.map({0: "malignant", 1: "benign"}).to_numpy()
    split = {"test_size": 0.3, "random_state": seed}
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, **split)
    X, X_val, y, y_val = train_test_split(X, y, stratify=y, **split)
    y, flipped = flip_labels(y, 0.1, random_state=seed)
    return X, y, flipped, {"X_val": X_val, "y_val": y_val}, X_test, y_test


MODEL = make_pipeline(StandardScaler(), LogisticRegression())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("effect", ["linear", "one_step"])
def test_flipped_labels_are_found_and_patched(effect, seed):
    X, y, flipped, val, X_test, y_test = noisy(seed)
    before = clone(MODEL).fit(X, y)
    debugger = PumaDebugger(MODEL, effect=effect, random_state=0).fit(X, y, **val)
    found = flipped[debugger.issues_["position"]]
    # Measured: 0.54 to 0.82, where chance is 0.1.
    assert found.sum() / flipped.sum() >= 0.5
    assert found.mean() >= 0.5
    loss = {
        name: log_loss(y_test, model.predict_proba(X_test))
        for name, model in (("before", before), ("after", debugger))
    }
    # Measured: 0.48 to 0.77.
    assert loss["after"] <= 0.85 * loss["before"]
    accuracy = accuracy_score(y_test, debugger.predict(X_test))
    assert accuracy >= accuracy_score(y_test, before.predict(X_test)) - 0.01
    # The report says the same of the rows that measured it.
    assert debugger.report_.after[0] < debugger.report_.before[0]
    assert debugger.report_.kept.all()


def test_cross_fitting_finds_them_too():
    # The log-loss of folds with wrong labels asks for less confidence before anything
    # else; a bounded criterion is not carried away by them.
    X, y, flipped, _, _, _ = noisy()
    debugger = PumaDebugger(MODEL, "brier_score", random_state=0).fit(X, y)
    found = flipped[debugger.issues_["position"]]
    assert found.sum() / flipped.sum() >= 0.5


def test_issues_are_on_the_users_index():
    X, y, _, val, _, _ = noisy()
    debugger = PumaDebugger(MODEL, ["log_loss", "brier_score"]).fit(X, y, **val)
    issues = debugger.issues_
    columns = ["position", "kind", "given", "predicted", "score"]
    columns += ["psi_log_loss", "psi_brier_score", "action"]
    assert issues.columns.tolist() == columns
    position = issues["position"].to_numpy()
    assert issues.index.tolist() == X.index[position].tolist()
    np.testing.assert_array_equal(issues["given"], y[position])
    before = clone(MODEL).fit(X, y)
    np.testing.assert_array_equal(issues["predicted"], before.predict(X)[position])
    wrong = issues["given"] != issues["predicted"]
    np.testing.assert_array_equal(issues["kind"] == "mislabelled", wrong)
    assert set(issues["kind"]) <= {"mislabelled", "harmful"}
    assert (issues["score"] < 0).all()
    assert issues["score"].is_monotonic_increasing
    valuator = debugger.valuator_
    np.testing.assert_array_equal(
        issues[["psi_log_loss", "psi_brier_score"]], valuator.psi_[position]
    )
    removed = debugger.row_weight_[position] < 1.0
    np.testing.assert_array_equal(issues["action"] == "removed", removed)


def test_predictions_are_those_of_the_patched_model():
    X, y, _, val, X_test, y_test = noisy()
    debugger = PumaDebugger(MODEL).fit(X, y, **val)
    model = debugger.estimator_
    assert type(model) is type(MODEL)
    for method in ("predict", "predict_proba", "decision_function"):
        ours, other = getattr(debugger, method), getattr(model, method)
        np.testing.assert_array_equal(ours(X_test), other(X_test))
    assert debugger.score(X_test, y_test) == model.score(X_test, y_test)
    assert debugger.classes_.tolist() == ["benign", "malignant"]
    assert debugger.feature_names_in_.tolist() == X.columns.tolist()
    np.testing.assert_array_equal(debugger.coef_, model[-1].coef_)
    assert not hasattr(PumaDebugger(Ridge()), "predict_proba")
    again = pickle.loads(pickle.dumps(debugger))
    np.testing.assert_array_equal(again.predict(X_test), debugger.predict(X_test))


def test_it_is_a_valuator_and_a_patcher():
    X, y = data.blobs(200, seed=3)
    X, y, val = X[:120], y[:120], {"X_val": X[120:], "y_val": y[120:]}
    debugger = PumaDebugger(max_removed=0.05, delta=0.1).fit(X, y, **val)
    valuator = PumaValuator().fit(X, y, **val)
    rows = debugger.issues_["position"]
    assert set(rows) == set(valuator.inspect(top=len(rows))["position"])
    assert 0 < len(rows) <= 6
    patcher = PumaPatcher(FrozenEstimator(valuator.estimator_), delta=0.1)
    patcher.patch(X, y, remove=rows.to_numpy(), **val)
    np.testing.assert_array_equal(debugger.coef_, patcher.coef_)
    assert str(debugger.report_) == str(patcher.report_)


def test_a_frozen_model_is_not_changed():
    X, y, _, val, _, _ = noisy()
    model = clone(MODEL).fit(X, y)
    before = data.snapshot(model)
    debugger = PumaDebugger(FrozenEstimator(model)).fit(X, y, **val)
    assert data.snapshot(model) == before
    assert not np.array_equal(debugger.predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match="Pass X_val"):
        PumaDebugger(FrozenEstimator(model)).fit(X, y)


def test_a_regressor_with_several_outputs():
    X, _ = data.blobs()
    rng = np.random.default_rng(0)
    y = X[:, :2] + rng.standard_normal((120, 2))
    y[:5] += 20.0
    debugger = PumaDebugger(Ridge(), random_state=0).fit(X, y)
    assert set(range(5)) <= set(debugger.issues_["position"])
    assert debugger.issues_["given"].iloc[0] == tuple(
        y[debugger.issues_["position"].iloc[0]]
    )
    assert set(debugger.issues_["kind"]) == {"harmful"}


def test_nothing_to_remove_changes_nothing():
    X, y = data.blobs()
    debugger = PumaDebugger(max_removed=0.0, random_state=0).fit(X, y)
    assert len(debugger.issues_) == 0
    np.testing.assert_array_equal(debugger.coef_, LogisticRegression().fit(X, y).coef_)


# -- which rows are taken --------------------------------------------------------------


def test_only_harmful_rows_within_the_share():
    rate = np.array([-5.0, 3.0, -4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 4.0, 0.0])
    weight = np.ones(10)
    for share, expected in ((0.3, [0, 2, 3]), (0.9, [0, 2, 3, 4, 5]), (0.05, [])):
        chosen = select_harmful(rate, weight, None, share)
        assert np.flatnonzero(chosen).tolist() == expected
    assert not select_harmful(np.zeros(10), weight, None, 0.5).any()


def test_half_of_a_class_stays():
    rate = -np.arange(10.0, 0.0, -1.0)
    classes = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    chosen = select_harmful(rate, np.ones(10), classes, 1.0)
    assert np.flatnonzero(chosen).tolist() == [0, 1, 4, 5, 6]


def test_a_class_stays_under_a_model_that_it_hurts():
    # Validation rows of one class only: all rows of the other one look harmful.
    X, y = data.blobs(200)
    val = {"X_val": X[y == 0], "y_val": y[y == 0]}
    debugger = PumaDebugger(max_removed=0.9, delta=np.inf).fit(X, y, **val)
    removed = debugger.row_weight_ == 0.0
    assert 0.4 < removed[y == 1].mean() <= 0.5


def test_copies_are_taken_together_or_not_at_all():
    rate = np.array([-3.0, -3.0, -2.0, -2.0, -1.0])
    for share, expected in ((0.2, []), (0.4, [0, 1]), (0.7, [0, 1]), (0.8, range(4))):
        chosen = select_harmful(rate, np.ones(5), None, share)
        assert np.flatnonzero(chosen).tolist() == list(expected)


def test_a_weight_of_two_is_two_rows():
    rate, weight = np.array([-3.0, -2.0, -1.0, 1.0]), np.array([2.0, 1.0, 2.0, 1.0])
    twice = np.repeat(np.arange(4), weight.astype(int))
    for share in np.linspace(0, 0.99, 12):
        ours = select_harmful(rate, weight, None, share)
        rows = select_harmful(rate[twice], np.ones(6), None, share)
        np.testing.assert_array_equal(ours[twice], rows)


def test_rows_of_weight_zero_are_left_alone():
    chosen = select_harmful(np.array([-9.0, -1.0, 1.0]), np.array([0.0, 1, 1]), None, 1)
    assert chosen.tolist() == [False, True, False]


def test_both_copies_of_a_row_are_issues():
    X, y = data.blobs(80)
    twice = np.repeat(np.arange(80), 2)
    folds = KFold(4).split(X)
    cv = [np.flatnonzero(np.isin(twice, test)) for _, test in folds]
    cv = [(np.setdiff1d(np.arange(160), test), test) for test in cv]
    debugger = PumaDebugger(cv=cv, max_removed=0.07).fit(X[twice], y[twice])
    position = np.sort(debugger.issues_["position"].to_numpy())
    assert len(position) > 0
    np.testing.assert_array_equal(position[::2] + 1, position[1::2])
