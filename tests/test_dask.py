"""Rows that are dask collections give what the same rows in memory give."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import make_classification
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDRegressor,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

from skpuma import PumaPatcher, PumaValuator, metrics
from skpuma._dask_rows import table_of
from skpuma.criteria import SquaredError
from skpuma.valuation import DataShapley
from tests.contracts import problems

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
N, CHUNKS = 600, ((150, 200, 250), (2, 2))
X = problems.rows(N, 4)
WEIGHT = problems.weights(N)
MODELS = {
    "binary": (LogisticRegression(), "binary"),
    "multinomial": (LogisticRegression(class_weight="balanced"), "multiclass"),
    "one vs rest": (LinearSVC(class_weight="balanced"), "multiclass"),
    "counted classes": (RidgeClassifier(class_weight="balanced"), "multiclass"),
    "mean kind": (PoissonRegressor(), "counts"),
    "count kind": (SGDRegressor(random_state=0), "regression"),
    "two outputs": (Ridge(), "two outputs"),
    "not affine": (HuberRegressor(), "regression"),
    "active set": (Lasso(0.1), "regression"),
    "network": (
        MLPClassifier((3,), solver="lbfgs", max_iter=200, random_state=0),
        "multiclass",
    ),
}


def target_of(name):
    return problems.TARGETS[MODELS[name][1]](X)


def fitted(name):
    return FrozenEstimator(MODELS[name][0].fit(X, target_of(name)))


def lazy(values, chunks=180):
    return da.from_array(values, chunks=chunks)


def close(found, expected, rtol=1e-10):
    found, expected = np.asarray(found), np.asarray(expected)
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * scale)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", MODELS)
def test_psi_is_that_of_rows_in_memory(name, weighted):
    y, weight = target_of(name), WEIGHT if weighted else None
    val = {"X_val": X[:90] + 0.1, "y_val": y[:90]}
    valuator = PumaValuator(fitted(name))
    expected = valuator.fit(X, y, weight, **val)
    table = (expected.valuate(X, y), expected.transform(X))
    psi, effect = expected.psi_, expected.removal_effect_
    value = expected.criterion_value_
    held = lazy(X, CHUNKS)
    given = None if weight is None else lazy(weight)
    found = PumaValuator(fitted(name)).fit(held, lazy(y), given, **val)
    assert isinstance(found.psi_, da.Array)
    assert found.psi_.chunks[0] == held.chunks[0]
    close(found.psi_, psi)
    close(found.removal_effect_, effect)
    close(found.valuate(held, lazy(y)), table[0])
    close(found.transform(held), table[1])
    lazy_val = {"X_val": lazy(val["X_val"], (50, 4)), "y_val": lazy(val["y_val"])}
    again = PumaValuator(fitted(name)).fit(held, y, given, **lazy_val)
    close(again.psi_, psi)
    close(again.criterion_value_, value)
    assert 0.5 * again.stationarity_ <= expected.stationarity_
    frame = expected.inspect(top=5)
    pd.testing.assert_frame_equal(found.inspect(top=5), frame, rtol=1e-9)


def test_effects_in_one_step_and_several_criteria():
    y, criteria = target_of("multinomial"), ["log_loss", "calibration_error", "margin"]
    val = {"X_val": X[:90] + 0.1, "y_val": y[:90]}
    settings = {"criterion": criteria, "effect": "one_step"}
    expected = PumaValuator(fitted("multinomial"), **settings).fit(X, y, **val)
    held = lazy(X, CHUNKS)
    found = PumaValuator(fitted("multinomial"), **settings).fit(held, y, **val)
    close(found.removal_effect_, expected.removal_effect_, 1e-8)
    close(found.leverage_, expected.leverage_)
    lazy_val = {"X_val": lazy(val["X_val"]), "y_val": lazy(val["y_val"], 40)}
    linear = PumaValuator(fitted("multinomial"), criteria).fit(held, y, **lazy_val)
    close(linear.psi_, expected.psi_)
    with pytest.raises(ValueError, match="in memory"):
        PumaValuator(fitted("multinomial"), **settings).fit(held, y, **lazy_val)


@pytest.mark.parametrize("preconditioner", ["binary", "multinomial", "network"])
def test_conjugate_gradients(preconditioner):
    y = target_of(preconditioner)
    val = {"X_val": X[:90] + 0.1, "y_val": y[:90]}
    expected = PumaValuator(fitted(preconditioner)).fit(X, y, **val)
    found = PumaValuator(fitted(preconditioner), solver="cg")
    found.fit(lazy(X, CHUNKS), y, **val)
    assert found.curvature_info_["solver"] == "cg"
    close(found.psi_, expected.psi_, 1e-3)


@pytest.mark.parametrize("kind", ["gauss_newton", "hessian", "fisher"])
def test_curvatures_of_a_network(kind):
    y = target_of("network")
    val = {"X_val": X[:90] + 0.1, "y_val": y[:90]}
    settings = {"curvature": kind, "damping": 0.5}
    expected = PumaValuator(fitted("network"), **settings).fit(X, y, **val)
    found = PumaValuator(fitted("network"), **settings).fit(lazy(X), y, **val)
    close(found.psi_, expected.psi_)


def test_sparse_blocks():
    dense = np.where(np.random.default_rng(0).random(X.shape) < 0.4, X, 0.0)
    y = problems.classes(dense, 2)
    model = FrozenEstimator(LogisticRegression().fit(dense, y))
    val = {"X_val": X[:90], "y_val": y[:90]}
    blocks = lazy(dense, (150, 4)).map_blocks(sparse.csr_matrix)
    found = PumaValuator(model).fit(blocks, lazy(y), **val)
    close(found.psi_, PumaValuator(model).fit(dense, y, **val).psi_)
    patcher = PumaPatcher(model, reweight=False, delta=np.inf)
    patched = patcher.patch(blocks, y, remove=np.arange(7)).coef_
    other = PumaPatcher(model, reweight=False, delta=np.inf)
    close(patched, other.patch(dense, y, remove=np.arange(7)).coef_)


def test_frames_are_prepared_block_by_block_and_their_names_checked():
    frame = pd.DataFrame(X, columns=list("abcd"))
    y = target_of("binary")
    steps = StandardScaler(), PolynomialFeatures(2), LogisticRegression()
    model = FrozenEstimator(make_pipeline(*steps).fit(frame, y))
    val = {"X_val": frame[:90] + 0.1, "y_val": y[:90]}
    expected = PumaValuator(model).fit(frame, y, **val)
    table = dd.from_pandas(frame.assign(y=y), npartitions=4)
    found = PumaValuator(model).fit(table[list("abcd")], table["y"], **val)
    close(found.psi_, expected.psi_)
    assert list(found.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        PumaValuator(model).fit(table[list("bacd")], table["y"], **val)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ["binary", "multinomial", "mean kind", "count kind"])
def test_a_patch_is_that_of_rows_in_memory(name, weighted):
    y, weight = target_of(name), WEIGHT if weighted else None
    mask = (X[:, 0] > 0.3) & (np.arange(N) % 2 == 0)
    settings = {"reweight": False, "delta": np.inf}
    memory, blocks = (PumaPatcher(fitted(name), **settings) for _ in range(2))
    memory.patch(X, y, remove=mask, sample_weight=weight)
    held, given = lazy(X, CHUNKS), None if weight is None else lazy(weight)
    blocks.patch(held, lazy(y), remove=lazy(mask), sample_weight=given)
    assert isinstance(blocks.row_weight_, da.Array)
    close(blocks.coef_, memory.coef_)
    close(blocks.row_weight_, memory.row_weight_)
    close(blocks.report_.after, memory.report_.after)
    frames = blocks.report_.to_frame(), memory.report_.to_frame()
    assert frames[0].loc[frames[1].index[0], "before"] == pytest.approx(
        frames[1]["before"].iloc[0]
    )
    rest = np.flatnonzero(~mask)[:6]
    again = blocks.patch(held, y, remove=rest, upweight=np.arange(N) == rest[-1] + 1)
    memory.patch(X, y, remove=rest, upweight=np.arange(N) == rest[-1] + 1)
    close(again.coef_, memory.coef_)
    assert again.report_.n_removed == memory.report_.n_removed
    assert again.report_.n_upweighted == 1
    again.unpatch().unpatch()
    np.testing.assert_array_equal(again.coef_, fitted(name).estimator.coef_)
    assert not hasattr(again, "report_")


@pytest.mark.parametrize(
    "settings",
    [
        {"delta": 0.003},
        {"delta": np.inf, "eta": 2.0, "forget_at": 0.2},
        {"delta": np.inf, "eta": 2.0, "target": "calibration_error"},
        {"delta": np.inf, "steps": 1},
    ],
    ids=["delta", "forget", "target", "single step"],
)
def test_paths_end_where_they_end_in_memory(settings):
    y = target_of("binary")
    mask = (X[:, 0] > 0.3) & (y == "yes")
    memory, blocks = (
        PumaPatcher(fitted("binary"), reweight=False, **settings) for _ in range(2)
    )
    memory.patch(X, y, remove=mask)
    blocks.patch(lazy(X, CHUNKS), lazy(y), remove=mask)
    close(blocks.coef_, memory.coef_, 1e-8)
    assert blocks.report_.stopped_by == memory.report_.stopped_by


def test_a_patch_of_a_network():
    y = target_of("network")
    mask = np.arange(N) < 30
    settings = {"reweight": False, "delta": 0.1, "curvature_rows": None}
    memory = PumaPatcher(fitted("network"), **settings).patch(X, y, remove=mask)
    blocks = PumaPatcher(fitted("network"), **settings)
    blocks.patch(lazy(X), lazy(y), remove=lazy(mask))
    for found, expected in zip(
        blocks.estimator_.coefs_, memory.estimator_.coefs_, strict=True
    ):
        close(found, expected)


def test_metrics():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, N), rng.random(N)
    groups, predicted = rng.choice(["a", "b", "c"], N), (p > 0.4).astype(int)
    lazily = {"sample_weight": lazy(WEIGHT, 70)}
    found = metrics.expected_calibration_error(lazy(y), lazy(p, 90), **lazily)
    expected = metrics.expected_calibration_error(y, p, sample_weight=WEIGHT)
    assert found == pytest.approx(expected, rel=1e-12)
    for metric in (
        metrics.demographic_parity_difference,
        metrics.equalized_odds_difference,
    ):
        one = metric(y, predicted, sensitive_features=groups, sample_weight=WEIGHT)
        other = metric(
            lazy(y), lazy(predicted, 90), sensitive_features=lazy(groups), **lazily
        )
        assert other == pytest.approx(one, rel=1e-12)
    with pytest.raises(ValueError, match="probabilities"):
        metric(lazy(y), lazy(p), sensitive_features=lazy(groups))


def unknown():
    held = lazy(X)
    return held[held[:, 0] > -10.0]


VAL = {"X_val": X[:90], "y_val": target_of("binary")[:90]}
REFUSED = {
    "unknown": (lambda y: {"X": unknown(), "y": y, **VAL}, "unknown length"),
    "other rows": (lambda y: {"X": lazy(X), "y": lazy(y[:-1]), **VAL}, "600 rows"),
    "label": (lambda y: {"X": lazy(X), "y": lazy(y + "?"), **VAL}, "does not know"),
    "nan": (lambda y: {"X": lazy(X) * np.nan, "y": y, **VAL}, "NaN"),
    "negative": (
        lambda y: {"X": lazy(X), "y": y, "sample_weight": -WEIGHT, **VAL},
        "negative",
    ),
    "groups": (lambda y: {"X": lazy(X), "y": y, "groups": y, **VAL}, "groups cannot"),
    "own rows": (
        lambda y: dict.fromkeys(("X", "X_val"), lazy(X)) | {"y": y, "y_val": y},
        "X_val is X",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_and_changes_nothing(case):
    make, message = REFUSED[case]
    valuator = PumaValuator(fitted("binary"))
    with pytest.raises(ValueError, match=message):
        valuator.fit(**make(target_of("binary")))
    assert not hasattr(valuator, "psi_")


def test_what_needs_all_rows_in_one_place_says_so():
    y, held = target_of("binary"), lazy(X)
    with pytest.raises(ValueError, match="FrozenEstimator"):
        PumaValuator(LogisticRegression()).fit(held, y, **VAL)
    with pytest.raises(ValueError, match="reweight=False"):
        PumaPatcher(fitted("binary")).patch(held, y, remove=np.arange(3))
    with pytest.raises(ValueError, match="sums over blocks"):
        PumaValuator(fitted("binary"), "roc_auc").fit(
            held, y, X_val=lazy(X[:90]), y_val=y[:90]
        )
    valuator = PumaValuator(fitted("binary")).fit(held, y, **VAL)
    with pytest.raises(ValueError, match="top"):
        valuator.inspect()
    with pytest.raises(TypeError, match="dask collection"):
        valuator.check_influence(held, y, **VAL)
    patcher = PumaPatcher(fitted("binary"), reweight=False)
    patcher.patch(held, y, remove=np.arange(3))
    with pytest.raises(ValueError, match="not the rows of the fit"):
        patcher.patch(held[::-1], y, remove=np.arange(3))
    with pytest.raises(ValueError, match="gives weight back"):
        patcher.patch(held, y, remove=[9], sample_weight=np.ones(N))


def test_blocks_without_rows_are_passed_over():
    table = table_of(lazy(X, ((0, 300, 0, 300), 4)), np.arange(N))
    assert table.lengths == (300, 300)
    assert table.total(_count) == N


def _count(X, y):
    return len(y)


def test_dask_is_imported_for_its_collections_only():
    code = (
        "import sys, numpy as np; from sklearn.linear_model import Ridge;"
        "from sklearn.frozen import FrozenEstimator; from skpuma import *;"
        "X = np.random.default_rng(0).random((50, 3)); y = X[:, 0] + X[:, 1] ** 2;"
        "m = FrozenEstimator(Ridge().fit(X, y));"
        "PumaValuator(m).fit(X, y, X_val=X[:9], y_val=y[:9]);"
        "PumaPatcher(m).patch(X, y, remove=[1]);"
        "assert 'dask' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.benchmark
def test_a_lost_worker_is_made_up_for():
    from tests.benchmarks import dask_rows

    dask_rows.N_ROWS = 500_000
    figures = dask_rows.dask()
    assert figures[0][3] and figures[-1][3]


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with distributed.Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
    ) as client:
        yield client


def test_joblib_runs_on_dask(client):
    from joblib import parallel_config

    A, y = make_classification(60, 4, random_state=0)
    val = {"X_val": A[:20], "y_val": y[:20]}
    shapley = DataShapley(LogisticRegression(), max_permutations=4, random_state=0)
    folds = PumaValuator(LinearRegression(), random_state=0, cv=3)
    alone = shapley.fit(A, y, **val).values_, folds.fit(A, A[:, 0]).psi_
    with parallel_config("dask", n_jobs=2):
        found = shapley.fit(A, y, **val).values_, folds.fit(A, A[:, 0]).psi_
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_psi_on_a_cluster(client):
    y = target_of("binary")
    expected = PumaValuator(fitted("binary")).fit(X, y, **VAL)
    found = PumaValuator(fitted("binary")).fit(lazy(X, CHUNKS), lazy(y), **VAL)
    close(found.psi_, expected.psi_)
    assert found.inspect(top=3)["position"].tolist() == (
        expected.inspect(top=3)["position"].tolist()
    )


def table_with_labels(n=90):
    """(DataFrame, target) with labels of their own, and a model that is fitted."""
    rng = np.random.default_rng(0)
    index = [f"r{i:03d}" for i in range(n)]
    X = pd.DataFrame(rng.standard_normal((n, 3)), columns=list("abc"), index=index)
    y = (X["a"] + 0.5 * X["b"] > 0).astype(int)
    return X, y, FrozenEstimator(LogisticRegression().fit(X, y))


@pytest.mark.parametrize("what", ["y", "sample_weight", "remove"])
def test_a_series_in_another_order_is_refused(what):
    X, y, model = table_with_labels()
    rows = dd.from_pandas(X, npartitions=3)
    given = {
        "y": y,
        "sample_weight": pd.Series(1.0, index=X.index),
        "remove": pd.Series(np.arange(len(y)) < 9, index=X.index),
    }
    patcher = PumaPatcher(model, "log_loss", reweight=False)
    patcher.patch(rows, **given, X_val=X, y_val=y)
    given[what] = given[what].sample(frac=1.0, random_state=0)
    with pytest.raises(ValueError, match=f"row labels of {what} are not those of X"):
        patcher.patch(rows, **given, X_val=X, y_val=y)


def test_labels_of_rows_are_no_names_of_rows():
    X, y, model = table_with_labels()
    rows = dd.from_pandas(X, npartitions=2)
    with pytest.raises(TypeError, match="by position or by a boolean mask"):
        PumaPatcher(model, reweight=False).patch(
            rows, y, remove=["r001"], X_val=X, y_val=y
        )


def test_labels_that_are_objects():
    X, y, _ = table_with_labels()
    words = y.map({0: "no", 1: "yes"}).to_numpy(dtype=object)
    model = FrozenEstimator(LogisticRegression().fit(X.to_numpy(), words))
    held = PumaValuator(model, "log_loss")
    rows = da.from_array(X.to_numpy(), chunks=(40, 3))
    validation = {"X_val": X.to_numpy()[:30], "y_val": words[:30]}
    there = PumaValuator(model, "log_loss").fit(rows, words, **validation)
    held.fit(X.to_numpy(), words, **validation)
    np.testing.assert_allclose(there.psi_.compute(), held.psi_, rtol=1e-10)


class RootMeanSquare(SquaredError):
    """No mean of costs of rows, whatever it inherits."""

    def value(self, z, y, *, sample_weight=None, groups=None):
        return np.sqrt(super().value(z, y, sample_weight=sample_weight))


def test_a_criterion_that_does_not_add_up_is_refused():
    X, _, _ = table_with_labels()
    X, y = X.to_numpy(), X["a"].to_numpy() ** 2
    model = FrozenEstimator(Ridge().fit(X, y))
    rows = da.from_array(X, chunks=(40, 3))
    validation = {"X_val": rows, "y_val": da.from_array(y, chunks=40)}
    PumaValuator(model, SquaredError()).fit(rows, y, **validation)
    with pytest.raises(ValueError, match="not known by sums over blocks"):
        PumaValuator(model, RootMeanSquare()).fit(rows, y, **validation)
