"""PumaPatcher.verify: what the evidence says against refits and by hand."""

import hashlib
import warnings
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skpuma import DeltaReachedWarning, PumaPatcher, StationarityWarning
from skpuma.criteria import LogLoss
from skpuma.evidence import RemovalEvidence
from tests import data

TIGHT = LogisticRegression(**data.TIGHT)
PLAIN = {"delta": np.inf, "reweight": False}
QUICK = {"n_bootstrap": 20, "random_state": 0}
GRADIENT = "gradient norm on the retained rows"

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skpuma.StationarityWarning",
    "ignore::skpuma.PatchWarning",
)


def problem(n=120, k=2, test=80):
    X, y = data.blobs(n + test, k=k)
    return X[:n], y[:n], {"X_test": X[n:], "y_test": y[n:]}


def regression(n=120, test=80):
    X, _ = data.blobs(n + test)
    noise = np.random.default_rng(5).standard_normal(n + test)
    y = X @ [1.0, -2.0, 0.5, 0.0] + noise
    return X[:n], y[:n], {"X_test": X[n:], "y_test": y[n:]}


# -- the model before, now, and retrained ----------------------------------------------


def line(evidence, section, name):
    return evidence.to_frame().loc[(section, name)]


ESTIMATORS = [
    pytest.param(TIGHT, problem, id="binary"),
    pytest.param(TIGHT, lambda: problem(k=3), id="multinomial"),
    pytest.param(
        LogisticRegression(class_weight="balanced", **data.TIGHT),
        problem,
        id="balanced",
    ),
    pytest.param(make_pipeline(StandardScaler(), TIGHT), problem, id="pipeline"),
    pytest.param(LinearSVC(dual=False, tol=1e-10), problem, id="svc"),
    pytest.param(Ridge(), regression, id="ridge"),
    pytest.param(LinearRegression(), regression, id="least squares"),
    pytest.param(
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        regression,
        id="target",
    ),
    pytest.param(
        PoissonRegressor(alpha=0.1, solver="newton-cholesky", tol=1e-12),
        problem,
        id="mean kind",
    ),
]


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(("estimator", "rows"), ESTIMATORS)
def test_a_patch_that_is_the_refit_is_at_no_distance(estimator, rows, weighted):
    X, y, test = rows()
    weight = None
    if weighted:
        weight = np.random.default_rng(1).uniform(0.5, 2.0, 120)
    fit_weight = weight if estimator.__class__.__name__ != "Pipeline" else None
    patcher = PumaPatcher(estimator, **PLAIN).fit(X, y, fit_weight)
    patcher.forget(X, y, range(15))
    state = data.snapshot(patcher)
    evidence = patcher.verify(X, y, **test, **QUICK)
    assert data.snapshot(patcher) == state
    assert line(evidence, "distance", "relative parameter distance")["after"] < 1e-4
    assert line(evidence, "distance", "relative parameter distance")["before"] == 1.0
    assert line(evidence, "distance", GRADIENT)["retrained"] < 1e-7
    frame = evidence.to_frame()
    np.testing.assert_allclose(frame.loc["attack"]["gap"], 0.0, atol=0.02)
    for section in ("criteria", "scores"):
        part = frame.loc[section]
        np.testing.assert_allclose(part["after"], part["retrained"], rtol=1e-3)
    assert "penalty" in evidence.retrained
    assert evidence.kept


def test_criteria_are_those_of_the_report():
    X, y, test = problem()
    criteria = ["log_loss", "calibration_error"]
    patcher = PumaPatcher(TIGHT, criteria, delta=[0.05, 0.1]).fit(X, y)
    patcher.forget(X, y, range(15))
    report = patcher.report_
    frame = patcher.verify(X, y, **test, **QUICK).to_frame().loc["criteria"]
    assert frame.index.tolist() == criteria
    np.testing.assert_allclose(frame["before"], report.before)
    np.testing.assert_allclose(frame["after"], report.after)
    np.testing.assert_allclose(frame["change"], report.change, atol=1e-12)
    np.testing.assert_array_equal(frame["delta"], report.delta)
    np.testing.assert_array_equal(frame["kept"], report.kept)
    assert (frame["before_low"] < frame["before"]).all()
    left = X[15:]
    before = clone(TIGHT).fit(X, y)
    assert frame.loc["log_loss", "before"] == pytest.approx(
        log_loss(y[15:], before.predict_proba(left))
    )


def test_validation_rows_measure_the_criteria():
    X, y, test = problem()
    val = {"X_val": test["X_test"], "y_val": test["y_test"]}
    patcher = PumaPatcher(TIGHT, LogLoss(by="group"), **PLAIN).fit(X, y)
    groups = np.arange(80) // 2 % 2
    patcher.patch(X, y, remove=range(9), **val, sensitive_features_val=groups)
    evidence = patcher.verify(X, y, **val, sensitive_features_val=groups, **QUICK)
    frame = evidence.to_frame().loc["criteria"]
    np.testing.assert_allclose(frame["after"], patcher.report_.after)
    assert evidence.settings["measured_on"] == "80 validation rows"
    inside = patcher.verify(X, y, sensitive_features=np.arange(120) // 2 % 2, **QUICK)
    assert inside.settings["measured_on"] == "111 training rows that are left"
    p = patcher.predict_proba(X[9:])
    odd = np.arange(9, 120) // 2 % 2 == 1
    expected = log_loss(y[9:][odd], p[odd])
    found = line(inside, "criteria", "log_loss[group=1]")["after"]
    assert found == pytest.approx(expected)


def test_deltas_of_several_patches_add_up():
    X, y, _ = problem()
    patcher = PumaPatcher(TIGHT, delta=0.03).fit(X, y)
    before = clone(patcher.estimator).fit(X, y)
    patcher.forget(X, y, range(5)).set_params(delta=0.02).forget(X, y, range(5, 9))
    evidence = patcher.verify(X, y, **QUICK)
    assert len(evidence.patches) == 2
    assert [one["n_removed"] for one in evidence.patches] == [5, 4]
    found = line(evidence, "criteria", "log_loss")
    assert found["delta"] == pytest.approx(0.05)
    loss = log_loss(y[9:], before.predict_proba(X[9:]))
    assert found["before"] == pytest.approx(loss)
    assert "by 2 patches" in evidence.headline


def test_a_delta_that_bound_is_told():
    X, y, test = problem()
    patcher = PumaPatcher(TIGHT, delta=1e-4, side="both", reweight=False).fit(X, y)
    with pytest.warns(DeltaReachedWarning):
        patcher.forget(X, y, range(15))
    with pytest.raises(ValueError, match="No row has lost all of its weight"):
        patcher.verify(X, y, **test)
    evidence = patcher.verify(X, y, rows=range(15), **test, **QUICK)
    assert evidence.patches[0]["stopped_by"] == "delta:log_loss"
    assert evidence.kept
    assert evidence.data["n_partly_removed"] == 15
    assert 0.0 < evidence.data["weight_of_them_left"] < 15.0
    assert any("in part only" in note for note in evidence.notes)
    assert line(evidence, "distance", "relative parameter distance")["after"] > 0.1


def test_after_finalize_the_model_before_is_unknown():
    X, y, test = problem()
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y).forget(X, y, range(9)).finalize()
    for depth in (1, 2):
        evidence = patcher.verify(X, y, **test, **QUICK)
        frame = evidence.to_frame()
        assert frame["before"].isna().all()
        assert any("finalize()" in note for note in evidence.notes)
        # What the fit was like is still known.
        assert line(evidence, "distance", GRADIENT)["after"] < 1e-7
        assert len(evidence.patches) == depth
        patcher.forget(X, y, [20])
    assert evidence.data["n_removed"] == 10


def test_a_network_has_a_noise_floor():
    X, y, test = problem()
    net = MLPClassifier((4,), max_iter=60, random_state=0)
    patcher = PumaPatcher(net, delta=np.inf).fit(X, y).forget(X, y, range(20))
    evidence = patcher.verify(X, y, **test, **QUICK)
    assert "from scratch" in evidence.retrained
    retrained = clone(net).fit(X[20:], y[20:])
    kl = line(evidence, "distance", "kl, test rows")
    p, q = (
        retrained.predict_proba(test["X_test"]),
        patcher.predict_proba(test["X_test"]),
    )
    assert kl["after"] == pytest.approx((p * np.log(p / q)).sum(axis=1).mean())
    assert kl["noise_floor"] > 0.0
    assert line(evidence, "distance", "parameter distance")["noise_floor"] > 0.0
    score = line(evidence, "scores", "accuracy")["retrained"]
    assert score == pytest.approx(retrained.score(*test.values()))


def test_a_network_regression_with_open_seed_is_repeatable():
    X, y, test = regression()
    net = MLPRegressor(hidden_layer_sizes=(4,), max_iter=30)
    patcher = PumaPatcher(net, delta=np.inf).fit(X, y).forget(X, y, range(9))
    time = datetime(2024, 1, 2, tzinfo=UTC)
    one, two = (patcher.verify(X, y, **test, **QUICK, time=time) for _ in range(2))
    assert one == two
    assert one.created == "2024-01-02T00:00:00+00:00"
    other = patcher.verify(X, y, **test, n_bootstrap=20, random_state=1, time=time)
    assert other != one


@pytest.mark.parametrize("retrain", [True, "auto", False])
def test_retraining_may_be_left_out(retrain, monkeypatch):
    monkeypatch.setattr("skpuma.evidence._retraining.CONVEX_WORK", 120 * 5**2 - 1)
    X, y, test = problem()
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y).forget(X, y, range(9))
    evidence = patcher.verify(X, y, **test, retrain=retrain, **QUICK)
    known = evidence.to_frame()["retrained"].notna().any()
    assert known == (retrain is True)
    assert bool(evidence.distance) == known
    assert ("Not trained again" in evidence.retrained) != known


# -- attacks, rows, forms --------------------------------------------------------------


@pytest.mark.parametrize("attack", ["auto", "loss", "shadow", "lira", None])
def test_attacks_on_all_models(attack):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((300, 100))
    y = (X[:, 0] + 1.5 * rng.standard_normal(300) > 0).astype(int)
    X, y, X_test, y_test = X[:150], y[:150], X[150:], y[150:]
    model = LogisticRegression(C=100.0, max_iter=2000)
    patcher = PumaPatcher(model, **PLAIN).fit(X, y).forget(X, y, range(60))
    evidence = patcher.verify(
        X, y, X_test=X_test, y_test=y_test, attack=attack, n_shadows=6, **QUICK
    )
    if attack is None:
        assert evidence.attack == []
        assert any("No attack" in note for note in evidence.notes)
        return
    auc = line(evidence, "attack", "auc")
    assert auc["before"] > 0.58
    assert auc["after"] == pytest.approx(auc["retrained"], abs=0.01)
    assert auc["after_low"] < 0.52 and auc["after_high"] > 0.48
    assert auc["gap_low"] <= auc["gap"] <= auc["gap_high"]
    assert auc["gap"] == pytest.approx(auc["after"] - auc["retrained"])
    expected = "loss" if attack == "auto" else attack
    assert evidence.settings["attack"] == expected


def test_a_search_is_not_run_again_for_shadow_models():
    X, y, test = problem()
    fits = []

    class Spy(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            fits.append(self.C)
            return super().fit(X, y, sample_weight)

    search = GridSearchCV(Spy(), {"C": [0.1, 1.0]}, cv=2)
    patcher = PumaPatcher(search, **PLAIN).fit(X, y).forget(X, y, range(9))
    chosen = patcher.estimator_.best_params_["C"]
    fits.clear()
    patcher.verify(X, y, **test, attack="lira", n_shadows=4, retrain=False, **QUICK)
    assert fits == [chosen] * 4


def test_without_test_rows_there_is_no_attack():
    X, y, _ = problem()
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y).forget(X, y, range(9))
    evidence = patcher.verify(X, y, **QUICK)
    assert evidence.attack == evidence.scores == []
    assert any("No test rows" in note for note in evidence.notes)
    assert evidence.criteria and evidence.distance


def test_rows_are_named_by_their_digests_and_are_not_in_the_file(tmp_path):
    X, y, test = problem()
    rng = np.random.default_rng(0)
    X = pd.DataFrame(X, columns=["age", "income", "weight", "size"])
    X["income"] = rng.integers(10**8, 10**9, 120)
    X["town"] = 0.0
    X.index = [f"person {number}" for number in rng.integers(10**8, 10**9, 120)]
    model = make_pipeline(StandardScaler(), TIGHT)
    gone = np.arange(120) < 15
    patcher = PumaPatcher(model, **PLAIN).fit(X, y).forget(X, y, X.index[:15])
    evidence = patcher.verify(X, y, **QUICK)
    found = evidence.data
    assert (found["n_rows"], found["n_kept"], found["n_removed"]) == (120, 105, 15)
    digests = {}
    for name, part in (("fit", gone | True), ("kept", ~gone), ("removed", gone)):
        cells = pd.util.hash_pandas_object(X[part], index=False).to_numpy()
        digest = hashlib.sha256()
        for array in (cells, y[part]):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        digests[name] = digest.hexdigest()
    assert {name: found[name] for name in digests} == digests
    for path in (tmp_path / "evidence.html", tmp_path / "evidence.json"):
        evidence.save(path)
        assert RemovalEvidence.load(path) == evidence
        text = path.read_text(encoding="utf-8")
        assert not any(str(value) in text for value in X["income"])
        assert not any(label in text for label in X.index)
    assert found["n_features"] == 5


def test_groups_and_the_model_are_named():
    X, y, test = problem()
    names = np.array([f"customer {i % 11}" for i in range(120)])
    patcher = PumaPatcher(make_pipeline(StandardScaler(), TIGHT), **PLAIN).fit(X, y)
    patcher.forget(X, y, ["customer 2", "customer 5"], groups=names)
    evidence = patcher.verify(X, y, rows=["customer 2"], groups=names, **test, **QUICK)
    assert [one["group"] for one in evidence.groups] == ["customer 2", "customer 5"]
    assert evidence.groups[0]["rows"] == (names == "customer 2").sum()
    assert evidence.data["n_asked"] == (names == "customer 2").sum()
    # The model to compare with was trained without either.
    assert evidence.data["n_removed"] == np.isin(names, names[[2, 5]]).sum()
    assert line(evidence, "distance", "relative parameter distance")["after"] < 1e-5
    assert evidence.estimator["class"] == "sklearn.pipeline.Pipeline"
    parameters = evidence.estimator["parameters"]
    assert parameters["logisticregression__tol"] == "1e-12"
    assert evidence.settings["eta"] == "1.0"
    assert set(evidence.versions) == {
        "python",
        "numpy",
        "scipy",
        "scikit-learn",
        "skpuma",
    }


def test_a_class_that_is_gone_as_a_whole_is_noted():
    X, y, test = problem(k=3)
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y).patch(X, y, remove=y == 2)
    assert 0.0 < patcher.row_weight_[2] < 1e-2
    evidence = patcher.verify(X, y, rows=y == 2, **test, **QUICK)
    assert any("All rows of a class are gone" in note for note in evidence.notes)
    assert np.isnan(line(evidence, "criteria", "log_loss")["retrained"])
    assert line(evidence, "scores", "accuracy")["retrained"] < 0.7


def test_labels_of_another_type_are_refused():
    X, y, test = problem()
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y).forget(X, y, range(6))
    test["y_test"] = np.asarray(test["y_test"]).astype(str)
    with pytest.raises(ValueError, match="y_test has labels that the model does not"):
        patcher.verify(X, y, **test, **QUICK)


def test_a_marker_of_the_fit_is_verified_too():
    X, y, test = problem()
    marked = data.some(120, 0.1)
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y, marked=marked)
    evidence = patcher.verify(X, y, **test, **QUICK)
    assert evidence.data["n_removed"] == marked.sum()
    frozen = PumaPatcher(FrozenEstimator(clone(TIGHT).fit(X, y)), **PLAIN)
    again = frozen.patch(X, y, remove=marked).verify(X, y, **test, **QUICK)
    pd.testing.assert_frame_equal(again.to_frame(), evidence.to_frame(), atol=1e-9)


def test_sparse_rows():
    X, y, test = problem()
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(sparse.csr_array(X), y)
    patcher.forget(sparse.csr_array(X), y, range(9))
    test["X_test"] = sparse.csr_array(test["X_test"])
    evidence = patcher.verify(
        sparse.csr_array(X), y, **test, attack="lira", n_shadows=4, **QUICK
    )
    dense = PumaPatcher(TIGHT, **PLAIN).fit(X, y).forget(X, y, range(9))
    plain = dense.verify(
        X,
        y,
        X_test=problem()[2]["X_test"],
        y_test=test["y_test"],
        attack="lira",
        n_shadows=4,
        **QUICK,
    )
    found, expected = (one.to_frame().loc["attack", "auc"] for one in (evidence, plain))
    assert found["after"] == pytest.approx(expected["after"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"retrain": "no"}, ValueError, "retrain='no' is not 'auto'"),
        ({"attack": "luck"}, ValueError, "attack='luck' is not 'auto', None or one of"),
        ({"attack": "lira", "n_shadows": 2}, ValueError, "n_shadows must be >= 4"),
        ({"X_test": None}, ValueError, "X_test is missing"),
        (
            {"X_test": None, "y_test": None, "attack": "loss"},
            ValueError,
            "pass X_test=",
        ),
        ({"X_test": np.zeros((0, 4)), "y_test": []}, ValueError, "X_test has no rows"),
        ({"y_test": [0, 1]}, ValueError, "inconsistent numbers"),
        ({"level": 1.0}, ValueError, "level=1.0"),
        ({"n_bootstrap": 0}, ValueError, "n_bootstrap must be >= 1"),
        ({"time": "now"}, TypeError, "datetime"),
        ({"rows": [50]}, ValueError, "1 of the rows asked about still have all"),
        ({"rows": []}, ValueError, "rows names none"),
        ({"groups": np.zeros(120)}, ValueError, "pass rows= too"),
        ({"X_val": np.zeros((3, 4))}, ValueError, "y_val missing"),
        ({"y": np.zeros(120)}, ValueError, "rows of the fit"),
    ],
    ids=str,
)
def test_bad_requests_are_refused(change, error, message):
    X, y, test = problem()
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y).forget(X, y, range(9))
    state = data.snapshot(patcher)
    with pytest.raises(error, match=message):
        patcher.verify(**{"X": X, "y": y, **test, **QUICK, **change})
    assert data.snapshot(patcher) == state


def test_there_must_be_something_to_verify():
    X, y, _ = problem()
    with pytest.raises(NotFittedError):
        PumaPatcher(TIGHT).verify(X, y)
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y)
    with pytest.raises(ValueError, match="Nothing was patched"):
        patcher.verify(X, y)
    patcher.forget(X, y, [0, 1])
    deleted = X.copy()
    deleted[0] = 0.0
    with pytest.raises(ValueError, match="pass them once more as they were"):
        patcher.verify(deleted, y)
    with pytest.raises(ValueError, match="do not measure the criteria"):
        patcher.verify(
            X, y, X_val=X, y_val=y, sensitive_features=y, sensitive_features_val=y
        )


def test_no_warning_of_a_model_that_was_moved():
    X, y, test = problem()
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y).forget(X, y, range(9))
    with warnings.catch_warnings():
        warnings.simplefilter("error", StationarityWarning)
        patcher.verify(X, y, **test, **QUICK)
