"""PumaPatcher: removal without a refit, through the public interface."""

import json
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import expit
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.metrics import brier_score_loss, log_loss, make_scorer, mean_squared_error
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, scale

from skpuma import (
    DeltaReachedWarning,
    PatchWarning,
    PumaPatcher,
    PumaValuator,
    StationarityWarning,
)
from skpuma.criteria import BrierScore, LogLoss
from skpuma.metrics import forgetting_score, patch_scorer
from skpuma.patching import _path
from tests import data

TIGHT = LogisticRegression(**data.TIGHT)
PLAIN = {"delta": np.inf, "reweight": False}

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skpuma.StationarityWarning",
    "ignore::skpuma.DeltaReachedWarning",
)


def uneven(n, seed=1):
    return np.random.default_rng(seed).uniform(0.5, 2.0, n)


def regression(n=120):
    X, _ = data.blobs(n)
    y = X @ [1.0, -2.0, 0.5, 0.0] + np.random.default_rng(5).standard_normal(n)
    return X, y


def parameters(model):
    """theta, with the free shift of a softmax taken out."""
    model = model[-1] if isinstance(model, Pipeline) else model
    model = getattr(model, "estimator_", model)
    coef, intercept = np.atleast_2d(model.coef_), np.ravel(model.intercept_)
    if len(coef) > 1:
        coef, intercept = coef - coef.mean(axis=0), intercept - intercept.mean()
    return np.column_stack([coef, intercept])


def assert_same_model(ours, other, tolerance=1e-6):
    ours, other = parameters(ours), parameters(other)
    assert np.abs(ours - other).max() <= tolerance * np.abs(other).max()


# -- steps=1 is Blog (10) --------------------------------------------------------------


def gradients_and_hessian(model, X, y, weight, l2):
    """g_j and H of a binary LogisticRegression or a Ridge, by the formulas."""
    one = np.column_stack([X, np.ones(len(X))])
    z = one @ np.append(np.ravel(model.coef_), model.intercept_)
    if is_classifier(model):
        p = expit(z)
        r, curve = p - y, p * (1 - p)
    else:
        r, curve = z - y, np.ones(len(X))
    total = weight.sum()
    H = one.T @ (one * (weight * curve)[:, None]) / total
    return r[:, None] * one, H + np.diag([l2 / total] * X.shape[1] + [0.0])


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("reweight", [False, True], ids=["", "lambda"])
@pytest.mark.parametrize("eta", [1.0, 0.4, 3.0])
@pytest.mark.parametrize(
    ("estimator", "problem", "l2"),
    [
        pytest.param(LogisticRegression(C=0.5, **data.TIGHT), data.blobs, 2, id="log"),
        pytest.param(Ridge(3.0), regression, 3, id="ridge"),
    ],
)
def test_a_single_step_is_blog_10(estimator, problem, l2, eta, reweight, weighted):
    X, y = problem()
    weight = uneven(120) if weighted else np.ones(120)
    model = clone(estimator).fit(X, y, weight)
    marked = data.some(120, 0.1)
    patcher = PumaPatcher(
        FrozenEstimator(model),
        steps=1,
        eta=eta,
        delta=100.0,
        reweight=reweight,
        side="both",
        alpha=0.01,
    ).patch(X, y, remove=marked, sample_weight=weight)
    g, H = gradients_and_hessian(model, X, y, weight, l2)
    phi = g @ np.linalg.inv(H)
    lam = patcher.lambda_ / eta
    assert (lam.max() > 0.0) == reweight
    assert ((lam >= 0.0) & (lam <= 1.0)).all()
    assert (lam[marked] == 0.0).all()
    before = np.append(np.ravel(model.coef_), model.intercept_)
    share = np.where(marked, weight, -lam * weight)
    expected = before + eta / weight.sum() * share @ phi
    np.testing.assert_allclose(parameters(patcher)[0], expected, rtol=0, atol=1e-10)
    assert patcher.report_.s == eta
    left = weight * np.where(marked, max(1.0 - eta, 0.0), 1.0 + patcher.lambda_)
    np.testing.assert_allclose(patcher.row_weight_, left, rtol=1e-12)


def test_a_single_step_without_polish_starts_at_a_loose_fit():
    X, y = data.breast_cancer()
    model = LogisticRegression(tol=1e-2).fit(X, y)
    marked = data.some(len(y), 0.05)
    patcher = PumaPatcher(FrozenEstimator(model), steps=1, polish=False, **PLAIN)
    patcher.patch(X, y, remove=marked)
    g, H = gradients_and_hessian(model, X, y, np.ones(len(y)), 1.0)
    expected = parameters(model)[0] + np.linalg.solve(H, marked @ g) / len(y)
    np.testing.assert_allclose(parameters(patcher)[0], expected, rtol=0, atol=1e-10)


# -- the patch is the refit ------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5], ids=["1 row", "5 %", "50 %"])
@pytest.mark.parametrize(
    ("estimator", "problem"),
    [
        pytest.param(TIGHT, data.breast_cancer, id="binary"),
        pytest.param(TIGHT, data.digits, id="multinomial"),
        pytest.param(Ridge(), data.diabetes, id="ridge"),
    ],
)
def test_patch_is_refit(estimator, problem, share, weighted):
    X, y = problem()
    weight = uneven(len(y)) if weighted else np.ones(len(y))
    marked = data.some(len(y), share)
    patcher = PumaPatcher(estimator, **PLAIN)
    patcher.fit(X, y, weight if weighted else None).patch(X, y, remove=marked)
    refit = clone(estimator).fit(X[~marked], y[~marked], weight[~marked])
    assert_same_model(patcher, refit)
    np.testing.assert_array_equal(patcher.row_weight_, np.where(marked, 0.0, weight))


@pytest.mark.parametrize("solver", ["lbfgs", "liblinear", "saga"])
def test_patch_of_a_loose_fit_is_a_tight_refit(solver):
    X, y = data.breast_cancer()
    marked = data.some(len(y), 0.05)
    model = LogisticRegression(solver=solver, random_state=0)
    patcher = PumaPatcher(model, **PLAIN).fit(X, y, marked=marked)
    if solver == "liblinear":
        # Its intercept is penalised, which no other solver can do.
        tight = model.set_params(tol=1e-13, max_iter=100_000)
    else:
        tight = clone(TIGHT)
    assert_same_model(patcher, tight.fit(X[~marked], y[~marked]))


@pytest.mark.parametrize(
    "how",
    [
        {"curvature": "fisher"},
        {"curvature_rows": 100},
        {"damping": 0.5},
        {"solver": "cg"},
        {"solver": "eigh"},
        {"steps": 3},
    ],
    ids=str,
)
def test_the_corrections_do_not_depend_on_how_directions_are_solved(how):
    X, y = data.breast_cancer()
    marked = data.some(len(y), 0.3)
    patcher = PumaPatcher(LogisticRegression(), **PLAIN, **how)
    patcher.fit(X, y, marked=marked)
    assert_same_model(patcher, clone(TIGHT).fit(X[~marked], y[~marked]))


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 1: 1.0}])
def test_class_weights_stay_those_of_the_fit(class_weight):
    X, y = data.blobs(121)
    model = LogisticRegression(class_weight=class_weight, **data.TIGHT)
    marked = data.some(121, 0.2) & (y == 0)
    patcher = PumaPatcher(model, **PLAIN).fit(X, y, marked=marked)
    weight = np.bincount(y)
    by_class = len(y) / (2 * weight) if class_weight == "balanced" else [3.0, 1.0]
    refit = clone(TIGHT).fit(X[~marked], y[~marked], np.array(by_class)[y[~marked]])
    assert_same_model(patcher, refit)


def test_patch_through_a_pipeline_has_frozen_preprocessing():
    X, y = data.breast_cancer()
    X = 3.0 * X + 1.0
    marked = data.some(len(y), 0.3)
    model = make_pipeline(StandardScaler(), clone(TIGHT))
    patcher = PumaPatcher(model, **PLAIN).fit(X, y, marked=marked)
    scaler = StandardScaler().fit(X)
    refit = clone(TIGHT).fit(scaler.transform(X[~marked]), y[~marked])
    assert_same_model(patcher.estimator_, refit)
    np.testing.assert_allclose(
        patcher.predict_proba(X), refit.predict_proba(scaler.transform(X)), atol=1e-6
    )


@pytest.mark.parametrize("kind", ["mask", "positions", "vector", "with removal"])
def test_upweight_is_refit_with_those_weights(kind):
    X, y = data.blobs()
    weight = uneven(120)
    rows = np.arange(0, 40, 3)
    extra = data.mask_of(120, rows).astype(float)
    removed = np.zeros(120, bool)
    upweight = {"mask": extra > 0, "positions": rows}.get(kind)
    if kind == "vector":
        upweight = extra = np.random.default_rng(0).uniform(0, 3, 120)
    if kind == "with removal":
        upweight, removed = rows, data.mask_of(120, [1, 2, 50])
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y, weight)
    patcher.patch(X, y, removed, upweight=upweight)
    after = np.where(removed, 0.0, weight * (1.0 + extra))
    assert_same_model(patcher, clone(TIGHT).fit(X, y, after))
    np.testing.assert_allclose(patcher.row_weight_, after)
    assert patcher.report_.n_upweighted == np.count_nonzero(extra)


def test_several_equal_steps_end_at_the_refit_too():
    X, y = data.blobs()
    marked = data.some(120, 0.2)
    patcher = PumaPatcher(TIGHT, steps=3, **PLAIN).fit(X, y, marked=marked)
    assert_same_model(patcher, clone(TIGHT).fit(X[~marked], y[~marked]))
    assert patcher.history_["s"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_compensation_is_the_optimum_of_its_weights():
    # Up to s = 1 every point of the path of a convex model is an optimum.
    X, y = data.blobs()
    marked = data.some(120, 0.2)
    patcher = PumaPatcher(TIGHT, side="both", delta=0.05, alpha=0.01)
    patcher.fit(X, y, marked=marked)
    assert patcher.lambda_.max() > 0.0
    assert_same_model(patcher, clone(TIGHT).fit(X, y, patcher.row_weight_))


# -- one patch after another -----------------------------------------------------------


def test_removed_rows_stay_removed():
    X, y = data.breast_cancer()
    first, second = data.some(len(y), 0.1, 0), data.some(len(y), 0.1, 1)
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y)
    patcher.patch(X, y, remove=first)
    explicit = pickle.loads(pickle.dumps(patcher))
    patcher.patch(X, y, remove=second)
    left = ~(first | second)
    assert_same_model(patcher, clone(TIGHT).fit(X[left], y[left]))
    np.testing.assert_array_equal(patcher.row_weight_, left.astype(float))
    explicit.patch(X, y, remove=second, sample_weight=explicit.row_weight_)
    np.testing.assert_array_equal(explicit.coef_, patcher.coef_)


@pytest.mark.parametrize("fitted", [True, False])
def test_unpatch_is_bit_for_bit(fitted):
    X, y = data.blobs()
    model = LogisticRegression().fit(X, y)
    patcher = PumaPatcher(FrozenEstimator(model), delta=0.1)
    if fitted:
        patcher = PumaPatcher(LogisticRegression(), delta=0.1).fit(X, y)
    states = []
    for seed in range(3):
        patcher.patch(X, y, remove=data.some(120, 0.1, seed))
        states.append(data.snapshot(patcher))
    for state in states[1::-1]:
        assert data.snapshot(patcher.unpatch()) == state
    assert data.snapshot(patcher.estimator_) != data.snapshot(model)
    patcher.unpatch()
    np.testing.assert_array_equal(patcher.coef_, model.coef_)
    np.testing.assert_array_equal(patcher.intercept_, model.intercept_)
    np.testing.assert_array_equal(patcher.row_weight_, np.ones(120))
    assert not hasattr(patcher, "report_")
    with pytest.raises(ValueError, match="no patch to undo"):
        patcher.unpatch()


def test_finalize_forgets_the_way_back():
    X, y = data.blobs()
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y)
    before = patcher.coef_.tobytes()
    patcher.patch(X, y, remove=[1, 2, 3])
    assert before in data.snapshot(patcher)
    assert patcher.finalize() is patcher
    assert before not in data.snapshot(patcher)
    with pytest.raises(ValueError, match="finalize"):
        patcher.unpatch()
    patcher.patch(X, y, remove=[4]).unpatch()


def test_a_moved_model_is_not_called_one_of_other_rows():
    X, y = data.breast_cancer()
    patcher = PumaPatcher(TIGHT, steps=1, eta=4.0, **PLAIN).fit(X, y)
    patcher.patch(X, y, remove=data.some(len(y), 0.2))
    for one in (patcher, pickle.loads(pickle.dumps(patcher)).finalize()):
        with warnings.catch_warnings():
            warnings.simplefilter("error", StationarityWarning)
            one.patch(X, y, remove=[0])


def test_rows_of_another_fit_are_told():
    X, y = data.breast_cancer()
    model = FrozenEstimator(LogisticRegression().fit(X, y, uneven(len(y)) ** 3))
    with pytest.warns(StationarityWarning, match="rows or sample_weight") as record:
        PumaPatcher(model).patch(X, y, remove=[0])
    assert record[0].filename == __file__


def test_nothing_marked_is_the_identity():
    X, y = data.blobs()
    network = MLPClassifier((3,), max_iter=20, random_state=0)
    for model in (LogisticRegression(), network):
        model.fit(X, y)
        for none in (None, [], np.zeros(120, bool)):
            patcher = PumaPatcher(FrozenEstimator(model), delta=0.0)
            patcher.patch(X, y, remove=none, upweight=none)
            assert data.snapshot(patcher.estimator_) == data.snapshot(model)
            assert patcher.report_.n_removed == 0
            assert "nothing was marked" in patcher.report_.headline
            patcher.unpatch()


@pytest.mark.parametrize("steps", ["auto", 1, 2])
def test_eta_zero_is_the_identity(steps):
    X, y = data.blobs()
    model = LogisticRegression(tol=1e-2).fit(X, y)
    patcher = PumaPatcher(FrozenEstimator(model), eta=0, steps=steps)
    patcher.patch(X, y, remove=data.some(120, 0.2))
    np.testing.assert_array_equal(patcher.coef_, model.coef_)
    np.testing.assert_array_equal(patcher.row_weight_, np.ones(120))


# -- what is patched, and what is not touched ------------------------------------------


NETWORKS = [
    MLPClassifier((3,), max_iter=50, random_state=0),
    MLPRegressor(hidden_layer_sizes=(3,), max_iter=50, random_state=0),
]


@pytest.mark.parametrize(
    "estimator", [TIGHT, Ridge(), LinearRegression(), *NETWORKS], ids=str
)
def test_the_users_objects_stay_as_they_are(estimator):
    X, y = data.blobs() if is_classifier(estimator) else regression()
    frame = data.frame(X)
    pipeline = make_pipeline(StandardScaler(), clone(estimator)).fit(frame, y)
    plain = clone(estimator).fit(X, y)
    for given, rows in (
        (plain, X),
        (pipeline, frame),
        (FrozenEstimator(plain), X),
        (FrozenEstimator(pipeline), frame),
    ):
        marked = pd.Series(data.some(120, 0.1))
        marked.index = getattr(rows, "index", marked.index)
        before = pickle.dumps((given, rows, marked))
        patcher = PumaPatcher(given, eta=2.0).fit(rows, y, marked=marked)
        patcher.patch(rows, y, remove=[5] if rows is X else [frame.index[5]])
        assert pickle.dumps((given, rows, marked)) == before
        inner = getattr(given, "estimator", given)
        assert type(patcher.estimator_) is type(inner)
        assert not np.array_equal(patcher.predict(rows), inner.predict(rows)) or (
            is_classifier(estimator)
        )


def test_a_frozen_estimator_needs_no_fit():
    X, y = data.blobs(k=3)
    X = pd.DataFrame(X, columns=list("abcd"))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    patcher = PumaPatcher(FrozenEstimator(model), **PLAIN)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        patcher.predict(X)
    patcher.patch(X, y, remove=[1, 2])
    assert patcher.n_features_in_ == 4
    assert patcher.feature_names_in_.tolist() == list("abcd")
    assert patcher.classes_.tolist() == [0, 1, 2]
    assert patcher.predict_proba(X).shape == (120, 3)
    assert patcher.predict_log_proba(X).shape == (120, 3)
    assert patcher.decision_function(X).shape == (120, 3)
    assert patcher.score(X, y) == patcher.estimator_.score(X, y)
    assert patcher.transform(X).shape == (120, 3)
    assert not np.array_equal(patcher.coef_, model[-1].coef_)
    again = clone(patcher)
    assert not hasattr(again, "estimator_")


@pytest.mark.parametrize("estimator", [LogisticRegression(), *NETWORKS], ids=str)
def test_float32_is_kept(estimator):
    X, y = data.blobs() if is_classifier(estimator) else regression()
    X = X.astype(np.float32)
    patcher = PumaPatcher(estimator, **PLAIN).fit(X, y)
    before = patcher.estimator_
    after = patcher.patch(X, y, remove=[1, 2]).estimator_
    for name in ("coef_", "intercept_", "coefs_", "intercepts_"):
        if not hasattr(before, name):
            continue
        for old, new in zip(getattr(before, name), getattr(after, name), strict=True):
            assert np.asarray(new).dtype == np.asarray(old).dtype
            assert np.shape(new) == np.shape(old)
    # Before scikit-learn 1.9, a LogisticRegression turns to float64 by itself.
    if hasattr(before, "coefs_"):
        assert before.coefs_[0].dtype == np.float32


def test_strings_in_a_column_transformer():
    X, y = data.blobs(200, d=3)
    table = data.frame(X)
    table["city"] = np.random.default_rng(0).choice(["rome", "oslo", "bern"], 200)
    columns = make_column_transformer(
        (StandardScaler(), ["x0", "x1", "x2"]), (OneHotEncoder(), ["city"])
    )
    model = make_pipeline(columns, clone(TIGHT))
    names = np.array(["no", "yes"])[y]
    patcher = PumaPatcher(model, **PLAIN).fit(table, names)
    gone = table.index[table["city"] == "oslo"][:20]
    patcher.patch(table, names, remove=gone)
    left = ~table.index.isin(gone)
    inner = columns.fit(table).transform
    refit = clone(TIGHT).fit(inner(table[left]), names[left])
    assert_same_model(patcher.estimator_, refit)
    assert patcher.feature_names_in_.tolist() == ["x0", "x1", "x2", "city"]
    assert set(patcher.predict(table)) <= {"no", "yes"}


@pytest.mark.parametrize("kind", ["mask", "list", "positions", "labels", "Series"])
def test_rows_are_named_in_several_ways(kind):
    X, y = data.blobs()
    table = data.frame(X)
    mask = data.some(120, 0.1)
    rows = {
        "mask": mask,
        "list": mask.tolist(),
        "positions": np.flatnonzero(mask),
        "labels": table.index[mask],
        "Series": pd.Series(mask, index=table.index),
    }[kind]
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(table, y)
    patcher.patch(table, y, remove=rows)
    np.testing.assert_array_equal(patcher.row_weight_ == 0.0, mask)


def test_integers_of_a_shuffled_index_are_labels():
    X, y = data.blobs()
    table = pd.DataFrame(X, index=np.random.default_rng(0).permutation(120) + 1000)
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(table, y)
    patcher.forget(table, y, table.index[[7, 3]])
    assert np.flatnonzero(patcher.row_weight_ == 0.0).tolist() == [3, 7]


def test_candidates_are_the_only_rows_that_compensate():
    X, y = data.blobs()
    candidates = np.arange(60, 120)
    patcher = PumaPatcher(
        TIGHT, delta=0.1, side="both", alpha=0.01, candidates=candidates, max_weight=0.5
    ).fit(X, y, marked=data.mask_of(120, range(10)))
    assert patcher.lambda_[:60].max() == 0.0
    assert 0.0 < patcher.lambda_.max() <= 0.5 + 1e-12


# -- what ends a path ------------------------------------------------------------------


def measured(patcher, X, y, name):
    """A criterion by scikit-learn alone."""
    if name == "squared_error":
        return mean_squared_error(y, patcher.predict(X))
    p = patcher.predict_proba(X)
    return log_loss(y, p) if name == "log_loss" else brier_score_loss(y, p[:, 1])


@pytest.mark.parametrize("side", ["worse", "both"])
@pytest.mark.parametrize("reweight", [False, True], ids=["", "lambda"])
@pytest.mark.parametrize(
    ("estimator", "names", "delta"),
    [
        pytest.param(LogisticRegression(), ["log_loss"], [0.004], id="logistic"),
        pytest.param(
            LogisticRegression(), ["log_loss", "brier_score"], [0.05, 0.001], id="two"
        ),
        pytest.param(NETWORKS[0], ["brier_score"], [0.002], id="network"),
        pytest.param(Ridge(), ["squared_error"], [0.02], id="ridge"),
    ],
)
def test_delta_holds_when_it_is_measured_again(estimator, names, delta, reweight, side):
    X, y = data.blobs(200, seed=3) if is_classifier(estimator) else regression(200)
    X, y, X_val, y_val = X[:120], y[:120], X[120:], y[120:]
    patcher = PumaPatcher(
        estimator, names, delta=delta, side=side, reweight=reweight, eta=5.0
    ).fit(X, y)
    before = [measured(patcher, X_val, y_val, name) for name in names]
    # Rows that are needed: the top rows of psi.
    valuator = PumaValuator(FrozenEstimator(patcher.estimator_), names[-1])
    top = valuator.fit(X, y, X_val=X_val, y_val=y_val).inspect().index[-40:]
    with pytest.warns(DeltaReachedWarning, match=f"{names[-1]} reached its delta"):
        patcher.patch(X, y, remove=top, X_val=X_val, y_val=y_val)
    report = patcher.report_
    after = [measured(patcher, X_val, y_val, name) for name in names]
    np.testing.assert_allclose(report.before, before, rtol=1e-10)
    np.testing.assert_allclose(report.after, after, rtol=1e-10)
    change = np.subtract(after, before)
    change = np.abs(change) if side == "both" else change
    assert (change <= np.array(delta) + 1e-12).all()
    # The bound that ended the patch was used up.
    assert change[-1] >= 0.9 * delta[-1]
    assert report.kept.all()
    assert report.bound == names[-1]
    assert 0.0 < report.s < 5.0


def test_the_kinds_of_delta():
    X, y = data.blobs()
    criteria = ["log_loss", "brier_score", LogLoss(by="class")]
    marked = data.mask_of(120, [1])

    def deltas(delta, criteria=criteria):
        patcher = PumaPatcher(TIGHT, criteria, delta=delta, reweight=False)
        return patcher.fit(X, y, marked=marked).report_

    auto = deltas("auto")
    assert auto.criteria[2:] == ("log_loss[class=0]", "log_loss[class=1]")
    expected = 0.01 * auto.before
    expected[1] = 0.01
    np.testing.assert_allclose(auto.delta, expected)
    assert deltas(0.5).delta.tolist() == [0.5] * 4
    assert deltas(np.inf).delta.tolist() == [np.inf] * 4
    mixed = deltas([0.1, "auto", np.inf]).delta.tolist()
    assert mixed == [0.1, 0.01, np.inf, np.inf]
    assert deltas((0.1, 0.2, 0.3, 0.4)).delta.tolist() == [0.1, 0.2, 0.3, 0.4]
    two = deltas([0.1, 0.2], [BrierScore(), BrierScore(by="class")])
    assert two.delta.tolist() == [0.1, 0.2, 0.2]
    with pytest.raises(ValueError, match="2 values for 3 criteria with 4 rows"):
        deltas([0.1, 0.2])


@pytest.mark.parametrize("side", ["worse", "both"])
def test_delta_zero(side):
    X, y = data.blobs()
    patcher = PumaPatcher(TIGHT, delta=0, side=side).fit(X, y)
    before = patcher.coef_
    patcher.patch(X, y, remove=data.some(120, 0.1))
    if side == "both":
        np.testing.assert_allclose(patcher.report_.change, 0.0, atol=1e-15)
    assert (patcher.report_.change <= 0.0).all()
    patcher.unpatch()
    np.testing.assert_array_equal(patcher.coef_, before)


def test_side_worse_lets_a_criterion_improve():
    X, y = data.blobs(200, seed=3)
    wrong = data.some(200, 0.1)
    y = np.where(wrong, 1 - y, y)
    rows = {"X_val": X[~wrong], "y_val": y[~wrong]}
    change = {}
    for side in ("worse", "both"):
        patcher = PumaPatcher(TIGHT, delta=0.01, side=side, reweight=False)
        patcher.fit(X, y, marked=wrong, **rows)
        change[side] = patcher.report_.change[0]
        assert (patcher.report_.bound is None) == (side == "worse")
    assert change["worse"] < -0.02
    assert -0.01 - 1e-12 <= change["both"] < 0.0


def test_lambda_takes_a_removal_further_under_the_same_delta():
    X, y = data.blobs(300, seed=3)
    X, y, rows = X[:200], y[:200], {"X_val": X[200:], "y_val": y[200:]}
    psi = PumaValuator(TIGHT).fit(X, y, **rows).psi_[:, 0]
    marked = data.mask_of(200, np.argsort(psi)[-30:])
    reached = {}
    for reweight in (False, True):
        patcher = PumaPatcher(TIGHT, delta=0.003, alpha=0.01, reweight=reweight)
        reached[reweight] = patcher.fit(X, y, marked=marked, **rows).report_.s
    assert reached[True] > 1.05 * reached[False]


def clusters():
    """Two classes of two clusters each; one cluster is what has to be forgotten."""
    rng = np.random.default_rng(0)
    centres = np.array([[2, 2], [-2, -2], [2, -2], [-2, 2]])
    which = np.arange(200) % 4
    X = centres[which] + 0.5 * rng.standard_normal((200, 2))
    return X, which // 2, which == 1


@pytest.mark.parametrize("kind", ["network", "logistic"])
def test_forget_at_of_a_classifier(kind):
    X, y, marked = clusters()
    if kind == "network":
        model = MLPClassifier((8,), "tanh", max_iter=300, random_state=0)
    else:
        X, y = data.blobs(200, seed=3)
        marked = data.some(200, 0.3) & (y == 1)
        model = clone(TIGHT)
    patcher = PumaPatcher(model, eta=np.inf, forget_at=0.3, **PLAIN)
    patcher.fit(X, y, marked=marked)
    p = patcher.predict_proba(X[marked])
    known = p[np.arange(len(p)), y[marked]].mean()
    report = patcher.report_
    assert report.stopped_by == "forget_at"
    assert report.forgetting_after == pytest.approx(known, rel=1e-9)
    assert 0.29 < known <= 0.3 < report.forgetting_before
    assert patcher.history_["forgetting"].iloc[-1] == report.forgetting_after
    if kind == "network":
        assert patcher.score(X[~marked], y[~marked]) > 0.95


def test_forget_at_of_a_regressor():
    X, y = regression()
    marked = data.some(120, 0.2)
    patcher = PumaPatcher(Ridge(), eta=np.inf, forget_at=2.0, **PLAIN)
    patcher.fit(X, y, marked=marked)
    error = [
        mean_squared_error(y[rows], patcher.predict(X[rows]))
        for rows in (marked, ~marked)
    ]
    assert error[0] / error[1] == pytest.approx(2.0, rel=1e-2)
    assert error[0] / error[1] >= 2.0
    assert patcher.report_.stopped_by == "forget_at"
    assert patcher.report_.forgetting_before < 2.0


def test_target_ends_at_its_minimum():
    X, y = data.blobs(300, seed=3)
    wrong = data.some(200, 0.1)
    noisy = y.copy()
    noisy[:200][wrong] = 1 - noisy[:200][wrong]
    patcher = PumaPatcher(
        TIGHT, "brier_score", delta=1.0, target="log_loss", eta=np.inf, reweight=False
    ).fit(X[:200], noisy[:200])
    rows = {"X_val": X[200:], "y_val": y[200:]}
    patcher.patch(X[:200], noisy[:200], remove=wrong, **rows)
    report, history = patcher.report_, patcher.history_
    assert report.stopped_by == "target"
    name, before, after = report.target
    assert name == "log_loss"
    lowest = measured(patcher, X[200:], y[200:], "log_loss")
    assert after == pytest.approx(lowest, rel=1e-9)
    assert after < before
    assert history["log_loss (target)"].min() == after
    # A longer and a shorter path are worse.
    for eta in (0.8 * report.s, 1.2 * report.s):
        other = PumaPatcher(TIGHT, eta=eta, **PLAIN).fit(X[:200], noisy[:200])
        other.patch(X[:200], noisy[:200], remove=wrong, **rows)
        assert measured(other, X[200:], y[200:], "log_loss") > after
    assert report.to_frame().loc["log_loss (target)", "after"] == after


def test_rows_without_influence_need_no_compensation():
    # p(label) is 1 but for 1e-30: next to others, their gradients are rounding.
    X, y = data.blobs(200, seed=3)
    X = np.concatenate([X, np.full((5, 4), 20.0) * (1, -1, 0, 0)])
    y = np.append(y, np.zeros(5, int))
    model = MLPClassifier(
        (4,), "identity", solver="lbfgs", alpha=1.0, max_iter=300, random_state=0
    )
    patcher = PumaPatcher(model, ["log_loss", "brier_score"], side="both", steps=2)
    patcher.fit(X, y, marked=np.arange(205) >= 200)
    assert patcher.report_.forgetting_before == 1.0
    assert patcher.report_.s == 1.0
    assert patcher.lambda_.max() == 0.0


def test_a_single_step_obeys_target_and_forget_at():
    X, y = data.blobs(300, seed=3)
    rows = {"X_val": X[200:], "y_val": y[200:]}
    useful = PumaValuator(TIGHT).fit(X[:200], y[:200], **rows).inspect()
    patcher = PumaPatcher(TIGHT, target="log_loss", steps=1, **PLAIN)
    patcher.fit(X[:200], y[:200])
    before = patcher.coef_
    patcher.patch(X[:200], y[:200], remove=useful.index[-20:], **rows)
    np.testing.assert_array_equal(patcher.coef_, before)
    assert patcher.report_.s == 0.0
    patcher.patch(X[:200], y[:200], remove=useful.index[:20], **rows)
    assert patcher.report_.target[2] < patcher.report_.target[1]
    forgetting = PumaPatcher(TIGHT, eta=50.0, forget_at=0.4, steps=1, **PLAIN)
    forgetting.fit(X, y, marked=data.some(300, 0.2) & (y == 1))
    assert forgetting.report_.forgetting_after == pytest.approx(0.4, abs=0.01)


def test_paths_to_other_etas_are_nested():
    X, y, marked = clusters()
    model = FrozenEstimator(MLPClassifier((8,), max_iter=200, random_state=0).fit(X, y))
    long = PumaPatcher(model, eta=3.0, **PLAIN).patch(X, y, remove=marked)
    middle = long.history_["s"].iloc[1]
    short = PumaPatcher(model, eta=middle, **PLAIN).patch(X, y, remove=marked)
    assert short.history_["s"].tolist() == [0.0, middle]
    assert short.report_.after[0] == pytest.approx(long.history_["log_loss"].iloc[1])


def test_a_vanishing_class_of_several_warns():
    X, y = data.blobs(k=3)
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y)
    with pytest.warns(PatchWarning) as record:
        patcher.patch(X, y, remove=y == 2)
    assert {one.filename for one in record} == {__file__}
    assert "Classes [2] vanish" in str(record[0].message)
    # The intercept of a class without rows has no finite optimum.
    assert "not finite" in str(record[-1].message)
    assert patcher.classes_.tolist() == [0, 1, 2]
    assert patcher.predict_proba(X)[y < 2, 2].max() < 0.1


# -- a failed patch changes nothing ----------------------------------------------------


FAILURES = {
    "all rows": {"remove": np.ones(120, bool)},
    "twice": {"remove": [3, 3]},
    "far": {"remove": [3, 500]},
    "both": {"remove": [3], "upweight": [3]},
    "no y_val": {"remove": [3], "X_val": np.zeros((2, 4))},
    "weights": {"remove": [3], "sample_weight": -np.ones(120)},
}


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_patch_changes_nothing(kind, patched):
    X, y = data.blobs()
    patcher = PumaPatcher(TIGHT).fit(X, y)
    if patched:
        patcher.patch(X, y, remove=[1, 2])
    before = data.snapshot(patcher)
    with pytest.raises((ValueError, IndexError)):
        patcher.patch(X, y, **FAILURES[kind])
    assert data.snapshot(patcher) == before


@pytest.mark.parametrize("parameter", ["eta", "delta", "solver", "criterion", "target"])
def test_a_parameter_that_fails_late_changes_nothing(parameter):
    X, y = data.blobs()
    patcher = PumaPatcher(TIGHT).fit(X, y, marked=data.mask_of(120, [1, 2]))
    bad = {"eta": -1.0, "delta": [1.0, 2.0]}.get(parameter, "nonsense")
    patcher.set_params(**{parameter: bad})
    before = data.snapshot(patcher)
    for call in (
        lambda: patcher.patch(X, y, remove=[5]),
        lambda: patcher.fit(X[:, :3], y, marked=data.mask_of(120, [1, 2])),
    ):
        with pytest.raises(ValueError):
            call()
        assert data.snapshot(patcher) == before


def test_a_warning_that_is_made_an_error_changes_nothing():
    X, y = data.blobs()
    patcher = PumaPatcher(TIGHT, delta=1e-6, side="both", reweight=False).fit(X, y)
    before = data.snapshot(patcher)
    marked = data.some(120, 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeltaReachedWarning)
        for call in (
            lambda: patcher.patch(X, y, remove=marked),
            lambda: patcher.fit(X, y, marked=marked),
        ):
            with pytest.raises(DeltaReachedWarning):
                call()
            assert data.snapshot(patcher) == before


# -- marker, memory --------------------------------------------------------------------


def test_marker_marks_the_lowest_rows():
    X, y = data.blobs()
    marker = PumaValuator(TIGHT, cv=3, random_state=0)
    lowest = np.sort(marker.fit(X, y).inspect(top=12)["position"])
    marker = clone(marker)
    for n_marked in (0.1, 12):
        patcher = PumaPatcher(TIGHT, marker=marker, n_marked=n_marked, **PLAIN)
        patcher.fit(X, y)
        removed = np.flatnonzero(patcher.row_weight_ == 0.0)
        assert removed.tolist() == lowest.tolist()
    assert not hasattr(marker, "psi_")
    # Marks that are given go before.
    patcher.fit(X, y, marked=data.mask_of(120, [0]))
    assert np.flatnonzero(patcher.row_weight_ == 0.0).tolist() == [0]
    for wrong in (1.0, 120, -1, np.nan):
        with pytest.raises(ValueError, match="n_marked"):
            patcher.set_params(n_marked=wrong).fit(X, y)


class Counting(LogisticRegression):
    """Counts its fits."""

    n_fits = 0

    def fit(self, X, y, sample_weight=None):
        Counting.n_fits += 1
        return super().fit(X, y, sample_weight)


def test_memory_keeps_the_fit(tmp_path):
    X, y = data.blobs()
    weight, marked = uneven(120), data.some(120, 0.1)
    Counting.n_fits = 0
    for delta in (0.1, 0.2, 0.3):
        patcher = PumaPatcher(Counting(), delta=delta, memory=str(tmp_path))
        patcher.fit(X, y, weight, marked=marked)
        plain = PumaPatcher(LogisticRegression(), delta=delta)
        plain.fit(X, y, weight, marked=marked)
        np.testing.assert_array_equal(patcher.coef_, plain.coef_)
    assert Counting.n_fits == 1
    PumaPatcher(Counting(C=2.0), memory=str(tmp_path)).fit(X, y, weight)
    assert Counting.n_fits == 2


@pytest.mark.parametrize(
    ("estimator", "solver"),
    [(TIGHT, "auto"), (Ridge(), "eigh"), (NETWORKS[0], "auto"), (TIGHT, "cg")],
    ids=str,
)
def test_memory_keeps_the_curvature(estimator, solver, tmp_path, monkeypatch):
    X, y = data.blobs() if is_classifier(estimator) else regression()
    marked, weight = data.some(len(y), 0.1), uneven(len(y))
    if estimator in NETWORKS:
        weight = None
    factors = []
    factor = _path.factor

    def counted(*args, **kwargs):
        factors.append(1)
        return factor(*args, **kwargs)

    monkeypatch.setattr(_path, "factor", counted)
    options = {"solver": solver, "random_state": 0, "eta": 0.5}
    counts = []
    for memory in (None, str(tmp_path), str(tmp_path)):
        for delta in (0.01, 0.1):
            patcher = PumaPatcher(estimator, delta=delta, memory=memory, **options)
            factors.clear()
            patcher.fit(X, y, weight, marked=marked)
            counts.append(len(factors))
            plain = PumaPatcher(estimator, delta=delta, **options)
            plain.fit(X, y, weight, marked=marked)
            np.testing.assert_array_equal(patcher.transform(X), plain.transform(X))
            assert patcher.stationarity_ == plain.stationarity_
            assert patcher.report_.s == plain.report_.s
    none, first, again = counts[0], counts[2], counts[4]
    assert again < none if solver != "cg" else again == none
    assert again <= first
    # Other weights, settings and fits are other curvatures.
    for other in ({"damping": 0.1}, {"polish": False}, {"curvature": "fisher"}):
        patcher = PumaPatcher(estimator, memory=str(tmp_path), **{**options, **other})
        patcher.fit(X, y, weight, marked=marked)
        plain = clone(patcher).set_params(memory=None).fit(X, y, weight, marked=marked)
        np.testing.assert_array_equal(patcher.transform(X), plain.transform(X))


def test_memory_in_a_search_fits_and_factors_each_fold_once(tmp_path):
    X, y = data.blobs()
    marked = data.some(120, 0.1)
    grid = {"delta": [0.01, 0.1], "eta": [0.5, 1.0]}
    Counting.n_fits = 0
    patcher = PumaPatcher(Counting(), memory=str(tmp_path))
    search = GridSearchCV(patcher, grid, cv=3, refit=False).fit(X, y, marked=marked)
    assert Counting.n_fits == 3
    patcher = PumaPatcher(LogisticRegression())
    plain = GridSearchCV(patcher, grid, cv=3, refit=False).fit(X, y, marked=marked)
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(search.cv_results_[name], plain.cv_results_[name])


# -- clone, pickle, outputs ------------------------------------------------------------


@pytest.mark.parametrize("estimator", [TIGHT, Ridge(), *NETWORKS], ids=str)
def test_pickle_keeps_everything_but_the_rows(estimator, tmp_path):
    X, y = data.blobs() if is_classifier(estimator) else regression()
    X_val, y_val = X[80:], y[80:]
    patcher = PumaPatcher(estimator, delta=[0.1], eta=2.0).fit(X[:80], y[:80])
    patcher.patch(X[:80], y[:80], remove=[1, 2], X_val=X_val, y_val=y_val)
    clone(patcher)
    joblib.dump(patcher, tmp_path / "patcher.joblib")
    stored = data.snapshot(patcher)
    for again in (pickle.loads(stored), joblib.load(tmp_path / "patcher.joblib")):
        np.testing.assert_array_equal(again.transform(X), patcher.transform(X))
        np.testing.assert_array_equal(again.row_weight_, patcher.row_weight_)
        assert str(again.report_) == str(patcher.report_)
        again.unpatch().patch(X[:80], y[:80], remove=[1, 2], X_val=X_val, y_val=y_val)
        np.testing.assert_array_equal(again.transform(X), patcher.transform(X))
    assert not any(row.tobytes() in stored for row in X)
    assert not any(column[:80].tobytes() in stored for column in X.T)
    for targets in (y, y.astype(np.int64), y.astype(np.float64)):
        assert targets[:80].tobytes() not in stored


def test_set_output_keeps_index_and_names():
    X, y = data.blobs(k=3)
    table = data.frame(X)
    patcher = PumaPatcher().set_output(transform="pandas")
    out = patcher.fit(table, np.array(["a", "b", "c"])[y]).transform(table)
    assert out.columns.tolist() == ["raw_a", "raw_b", "raw_c"]
    assert out.index.equals(table.index)
    np.testing.assert_allclose(out, patcher.decision_function(table))
    out = PumaPatcher(Ridge()).set_output(transform="pandas").fit_transform(table, y)
    assert out.columns.tolist() == ["raw"]


# -- reports ---------------------------------------------------------------------------


class Nasty(BrierScore):
    name = "<script>alert('&')</script>"


def reported():
    X, y = data.blobs()
    criteria = ["log_loss", Nasty()]
    patcher = PumaPatcher(TIGHT, criteria, delta=[np.inf, 0.001], target=LogLoss())
    return patcher.fit(X, y, marked=data.some(120, 0.2))


def test_report_as_a_frame():
    report = reported().report_
    frame = report.to_frame()
    assert frame.columns.tolist() == ["before", "after", "change", "delta", "kept"]
    assert frame.index[:3].tolist() == ["log_loss", Nasty.name, "accuracy"]
    np.testing.assert_allclose(frame["change"], frame["after"] - frame["before"])
    assert frame["kept"].iloc[:2].tolist() == [True, True]
    text = str(report)
    assert report.headline in text
    assert "no bound" in text
    assert "unmarked training rows" in text


def test_a_criterion_named_like_a_score():
    X, y = data.blobs()
    named = type("Named", (BrierScore,), {"name": "accuracy"})
    patcher = PumaPatcher(TIGHT, named()).fit(X, y, marked=data.some(120, 0.2))
    frame = patcher.report_.to_frame()
    assert frame.index[:2].tolist() == ["accuracy", "accuracy (score)"]
    assert frame.loc["accuracy", "after"] == patcher.report_.after[0]


def test_report_as_html():
    html = reported().report_._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;" in html
    assert 'class="yes"' in html


def test_report_is_saved(tmp_path):
    report = reported().report_
    for suffix in ("html", "csv", "json"):
        report.save(tmp_path / f"report.{suffix}")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert report._repr_html_() in page
    table = pd.read_csv(tmp_path / "report.csv", index_col=0)
    np.testing.assert_allclose(table["after"], report.to_frame()["after"])
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["log_loss"]["after"] == pytest.approx(report.after[0])
    with pytest.raises(ValueError, match=r"\.html, \.csv or \.json"):
        report.save(tmp_path / "report.pdf")


def test_accuracy_is_that_of_all_rows_that_measure():
    X, y = data.blobs(k=3)
    marked = data.some(120, 0.2)
    patcher = PumaPatcher(TIGHT, LogLoss(by="class")).fit(X, y)
    before = patcher.score(X[~marked], y[~marked])
    patcher.patch(X, y, remove=marked)
    after = patcher.score(X[~marked], y[~marked])
    assert patcher.report_.scores["accuracy"] == pytest.approx((before, after))


def test_history_is_the_path():
    X, y = data.blobs()
    patcher = PumaPatcher(TIGHT, ["log_loss", "brier_score"], delta=1.0, eta=2.0)
    patcher.fit(X, y, marked=data.some(120, 0.2))
    history, report = patcher.history_, patcher.report_
    assert history["s"].is_monotonic_increasing
    assert history["s"].iloc[[0, -1]].tolist() == [0.0, 2.0]
    np.testing.assert_array_equal(
        history[list(report.criteria)].iloc[[0, -1]], [report.before, report.after]
    )


def test_verbose_prints_the_report(capsys):
    X, y = data.blobs()
    PumaPatcher(TIGHT, verbose=1).fit(X, y, marked=data.mask_of(120, [1]))
    assert "1 row removed" in capsys.readouterr().out


# -- inside scikit-learn ---------------------------------------------------------------


def stratified(y, marked, n_splits=3):
    return list(StratifiedKFold(n_splits).split(y, 2 * y + marked))


def n_removed(estimator, X, y):
    """A scorer that tells how many rows were marked in a fold."""
    estimator = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    return estimator.report_.n_removed


@pytest.mark.parametrize("kind", [np.asarray, list, pd.Series])
def test_grid_search_slices_the_marks(kind):
    X, y = data.blobs()
    marked = data.some(120, 0.2)
    splits = list(StratifiedKFold(3).split(X, y))
    grid = {"delta": [0.1, np.inf], "eta": [0.5, 1.0], "estimator__C": [0.1, 1.0]}
    search = GridSearchCV(
        PumaPatcher(LogisticRegression()), grid, scoring=n_removed, cv=splits
    ).fit(X, y, marked=kind(marked))
    for fold, (train, _) in enumerate(splits):
        scores = search.cv_results_[f"split{fold}_test_score"]
        assert (scores == marked[train].sum()).all()
    assert search.best_estimator_.report_.n_removed == marked.sum()


def test_grid_search_with_a_marker():
    X, y = data.blobs()
    patcher = PumaPatcher(marker=PumaValuator(cv=2, random_state=0), n_marked=0.1)
    grid = {"eta": [0.5, 1.0], "marker__effect": ["linear", "one_step"]}
    search = GridSearchCV(patcher, grid, scoring=n_removed, cv=3).fit(X, y)
    for fold in range(3):
        assert (search.cv_results_[f"split{fold}_test_score"] == 8).all()


def test_grid_search_of_a_pipeline():
    X, y = data.blobs()
    marked = data.some(120, 0.2)
    pipeline = make_pipeline(StandardScaler(), PumaPatcher())
    splits = stratified(y, marked)
    search = GridSearchCV(
        pipeline, {"pumapatcher__eta": [0.5, 1.0]}, scoring=n_removed, cv=splits
    ).fit(X, y, pumapatcher__marked=marked)
    for fold, (train, _) in enumerate(splits):
        scores = search.cv_results_[f"split{fold}_test_score"]
        assert (scores == marked[train].sum()).all()
    # Without a callable, it is scored as the classifier that it is.
    GridSearchCV(pipeline, {"pumapatcher__eta": [1.0]}).fit(X, y)


def test_a_pipeline_before_the_patcher():
    X, y = data.blobs()
    marked = data.some(120, 0.2)
    pipeline = make_pipeline(StandardScaler(), PumaPatcher(TIGHT, **PLAIN))
    pipeline.fit(X, y, pumapatcher__marked=marked)
    scaled = StandardScaler().fit_transform(X)
    assert_same_model(pipeline, clone(TIGHT).fit(scaled[~marked], y[~marked]))
    with sklearn.config_context(enable_metadata_routing=True):
        routed = clone(pipeline).fit(X, y, marked=marked)
    np.testing.assert_array_equal(routed.predict_proba(X), pipeline.predict_proba(X))


def test_cross_validate_with_a_frozen_estimator():
    X, y = data.blobs()
    model = LogisticRegression().fit(X, y)
    before = data.snapshot(model)
    scores = cross_validate(
        PumaPatcher(FrozenEstimator(model)),
        X,
        y,
        params={"marked": data.some(120, 0.2)},
        scoring=n_removed,
    )
    assert scores["test_score"].sum() == 4 * 24
    assert data.snapshot(model) == before


def test_metadata_flows_without_a_request():
    X, y = data.blobs()
    marked = data.some(120, 0.2)
    group = np.random.default_rng(0).choice(["a", "b"], 120)
    splits = stratified(y, marked)
    grid = {"eta": [0.5, 1.0]}
    # Rows of another number than those of X are not sliced.
    val = {"X_val": X[:50], "y_val": y[:50], "sensitive_features_val": group[:50]}
    for routing in (False, True):
        with sklearn.config_context(enable_metadata_routing=routing):
            search = GridSearchCV(
                PumaPatcher(criterion="demographic_parity"),
                grid,
                scoring=n_removed,
                cv=splits,
            )
            plain = search.fit(X, y, marked=marked, sensitive_features=group)
            for fold, (train, _) in enumerate(splits):
                scores = plain.cv_results_[f"split{fold}_test_score"]
                assert (scores == marked[train].sum()).all()
            on = search.fit(X, y, marked=marked, **val).best_estimator_.report_
            assert on.measured_on == "50 validation rows"
            valuator = PumaValuator(criterion="demographic_parity", cv=2)
            valuator.fit(X, y, sensitive_features=group)


def test_weights_are_routed_to_the_model():
    X, y = data.blobs()
    weight, marked = uneven(120), data.some(120, 0.2)
    expected = PumaPatcher(LogisticRegression()).fit(X, y, weight, marked=marked)
    with sklearn.config_context(enable_metadata_routing=True):
        model = LogisticRegression().set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        patcher = PumaPatcher(model).fit(X, y, weight, marked=marked)
        assert patcher.score(X, y, sample_weight=weight) > 0.5
    np.testing.assert_array_equal(patcher.coef_, expected.coef_)


def test_routing_caches_weights_of_a_pipeline(tmp_path):
    X, y = data.blobs()
    weight = uneven(120)
    expected = PumaPatcher(make_pipeline(StandardScaler(), LogisticRegression()))
    expected.fit(X, y, weight)
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            LogisticRegression().set_fit_request(sample_weight=True),
        )
        patcher = PumaPatcher(model, memory=str(tmp_path)).fit(X, y, weight)
    np.testing.assert_array_equal(patcher.coef_, expected.coef_)


# -- choosing a patch ------------------------------------------------------------------


def best_eta(scoring):
    """The eta that a search picks, for marked rows that are right as they are."""
    X, y, marked = clusters()
    X = np.column_stack([X, X[:, 0] * X[:, 1]])
    patcher = PumaPatcher(LogisticRegression(), **PLAIN)
    grid = {"eta": [0.0, 1.0, 8.0]}
    search = GridSearchCV(patcher, grid, scoring=scoring, cv=stratified(y, marked))
    return search.fit(X, y, marked=marked).best_params_["eta"]


def test_accuracy_picks_no_patch_and_patch_scorer_does_not():
    assert best_eta("accuracy") == 0.0
    assert best_eta(patch_scorer) > 0.0
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(forgetting_score).set_score_request(marked=True)
        assert best_eta(scorer) > 0.0


def test_criterion_objects_are_cloned_and_searched():
    X, y = data.blobs(80)
    patcher = PumaPatcher(criterion=LogLoss(by="class"), target=BrierScore())
    assert clone(patcher).criterion == LogLoss(by="class")
    marked = np.arange(80) % 9 == 0
    grid = {"delta": [0.05, np.inf], "criterion__by": [None, "class"]}
    search = GridSearchCV(patcher, grid, cv=3).fit(X, y, marked=marked)
    assert search.best_estimator_.report_.kept.all()


def test_removing_the_same_rows_twice_is_no_patch():
    X, y = data.blobs(80)
    patcher = PumaPatcher(delta=np.inf).fit(X, y).patch(X, y, remove=[3, 4])
    before = patcher.coef_.copy()
    patcher.patch(X, y, remove=[3, 4])
    assert patcher.report_.n_removed == 0
    np.testing.assert_array_equal(patcher.coef_, before)


def test_a_patch_after_an_over_removal_does_not_bring_it_back():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X[:, 0] + 0.5 * rng.normal(size=300) > 0).astype(int)
    marked = X[:, 1] > 1
    patcher = PumaPatcher(delta=np.inf, reweight=False).fit(X, y)
    plain = PumaPatcher(delta=np.inf, reweight=False).fit(X, y)
    plain.patch(X, y, remove=marked)
    patcher.set_params(eta=3.0).patch(X, y, remove=marked)
    erased = patcher.coef_.copy()
    other = np.flatnonzero(~marked)[:1]
    patcher.set_params(eta=1.0).patch(X, y, remove=other)
    moved = np.linalg.norm(patcher.coef_ - erased)
    assert moved < 0.2 * np.linalg.norm(erased - plain.coef_)
    patcher.unpatch().unpatch().patch(X, y, remove=marked)
    np.testing.assert_allclose(patcher.coef_, plain.coef_, rtol=1e-9)


def three_clusters():
    """Two classes, one of two clusters."""
    rng = np.random.default_rng(0)
    centres = np.repeat([[0.0, 0.0], [3.0, 0.0], [3.0, 3.0]], (200, 200, 60), axis=0)
    X = centres + 0.5 * rng.standard_normal(centres.shape)
    return X, (np.arange(460) >= 200).astype(int), np.arange(460) >= 400


def test_a_linear_model_forgets_a_cluster_beyond_its_refit():
    X, y, marked = three_clusters()
    model = FrozenEstimator(LogisticRegression().fit(X, y))
    patcher = PumaPatcher(model, eta=np.inf, forget_at=0.3, delta=0.5)
    patcher.patch(X, y, remove=marked)
    refit = LogisticRegression().fit(X[~marked], y[~marked])
    assert refit.predict_proba(X[marked])[:, 1].mean() > 0.9
    assert patcher.predict_proba(X[marked])[:, 1].mean() == pytest.approx(0.3, abs=1e-3)
    assert patcher.score(X[~marked], y[~marked]) > 0.99


def test_what_cannot_be_forgotten_is_not_run_after():
    X, y, _ = three_clusters()
    half = np.arange(460) % 2 == 0
    model = FrozenEstimator(LogisticRegression().fit(X, y))
    patcher = PumaPatcher(model, eta=np.inf, forget_at=1e-9, delta=np.inf)
    with pytest.warns(PatchWarning, match="before its goal"):
        patcher.patch(X, y, remove=half)
    assert np.isfinite(patcher.coef_).all()
    assert patcher.report_.s < 1e3


def test_kinks_do_not_hold_a_path_up():
    X, y = load_iris(return_X_y=True)
    X = scale(X)
    net = MLPClassifier((6, 4), solver="lbfgs", alpha=0.01, max_iter=2000)
    frozen = FrozenEstimator(net.set_params(random_state=0).fit(X[::2], y[::2]))
    patcher = PumaPatcher(frozen, "log_loss", delta=np.inf, reweight=False)
    patcher.patch(X[::2], y[::2], upweight=np.arange(75) % 9 == 4)
    assert patcher.report_.s == 1.0
    assert len(patcher.history_) < 50


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(
    "model",
    [
        PoissonRegressor(alpha=0.1),
        GammaRegressor(alpha=0.1),
        TweedieRegressor(power=1.5, alpha=0.1, fit_intercept=False),
        TweedieRegressor(power=0, alpha=0.1),
    ],
    ids=str,
)
def test_patch_of_a_deviance_model_is_its_refit(model, weighted):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    y = rng.poisson(np.exp(0.5 * X[:, 0])) + 0.5
    weight = rng.uniform(0.5, 2.0, 200) if weighted else None
    marked = rng.random(200) < 0.2
    patcher = PumaPatcher(model, delta=np.inf, reweight=False)
    patcher.fit(X, y, weight).patch(X, y, remove=marked)
    tight = clone(model).set_params(solver="newton-cholesky", tol=1e-12, max_iter=1000)
    kept = None if weight is None else weight[~marked]
    tight.fit(X[~marked], y[~marked], kept)
    np.testing.assert_allclose(patcher.coef_, tight.coef_, rtol=1e-6)
    np.testing.assert_allclose(patcher.intercept_, tight.intercept_, atol=1e-7)
