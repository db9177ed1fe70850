"""The tables that users have: mixed types, sparse, mapped, in single precision."""

import os
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skpuma import PumaPatcher, PumaValuator
from tests.contracts import problems

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CLOSE = {"rtol": 1e-7, "atol": 1e-9}
NUMBERS, NAMES = ["age", "income"], ["city", "job"]
KINDS = ["object", "category", "polars", "polars categorical"]


def people(n=90, kind="object", seed=0):
    """(X, y): a table with two columns of numbers and two of names."""
    rng = np.random.default_rng(seed)
    table = {
        "age": rng.normal(40.0, 10.0, n),
        "income": rng.lognormal(0.0, 1.0, n),
        "city": np.array(["rome", "oslo", "bonn"])[rng.integers(0, 3, n)],
        "job": np.array(["cook", "judge"])[rng.integers(0, 2, n)],
    }
    score = 0.05 * (table["age"] - 40.0) + (table["city"] == "rome") - 0.5
    y = np.where(rng.logistic(size=n) < score, "yes", "no")
    if kind.startswith("polars"):
        X = pl.DataFrame(table)
        if kind != "polars":
            X = X.with_columns(pl.col(NAMES).cast(pl.Categorical))
        return X, pl.Series("y", y)
    X = pd.DataFrame(table, index=[f"p{i}" for i in range(n)])
    if kind == "category":
        X = X.astype(dict.fromkeys(NAMES, "category"))
    return X, pd.Series(y, index=X.index)


def pipeline(last=None):
    columns = make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(drop="first"), NAMES)
    )
    return make_pipeline(columns, last or LogisticRegression())


def head_and_tail(X, y, n=60):
    return X[:n], y[:n], {"X_val": X[n:], "y_val": y[n:]}


# -- frames of mixed types -------------------------------------------------------------


@pytest.mark.parametrize("folds", [False, True], ids=["X_val", "folds"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_valuator_of_mixed_columns(kind, folds):
    found = []
    for one in ("object", kind):
        X, y, val = head_and_tail(*people(kind=one))
        val = {} if folds else val
        valuator = PumaValuator(pipeline(), random_state=0).fit(X, y, **val)
        assert valuator.inspect(top=5).shape[0] == 5
        assert valuator.valuate(X, y).shape == (60, 1)
        found.append(np.hstack([valuator.psi_, valuator.transform(X)]))
    np.testing.assert_allclose(found[1], found[0], **CLOSE)
    assert np.ptp(found[0]) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_patcher_of_mixed_columns(kind):
    found = []
    for one in ("object", kind):
        X, y, val = head_and_tail(*people(kind=one))
        patcher = PumaPatcher(pipeline(), delta=np.inf, reweight=False).fit(X, y)
        before = patcher.predict_proba(val["X_val"])
        patcher.patch(X, y, remove=[1, 5, 7], **val)
        after = patcher.predict_proba(val["X_val"])
        assert np.abs(after - before).max() > 1e-3
        found.append(after)
        np.testing.assert_array_equal(
            patcher.unpatch().predict_proba(X), before_of(X, y)
        )
    np.testing.assert_allclose(found[1], found[0], **CLOSE)


def before_of(X, y):
    return pipeline().fit(X, y).predict_proba(X)


@pytest.mark.parametrize("kind", ["object", "polars"])
def test_weights_and_groups_of_a_frame(kind):
    X, y, val = head_and_tail(*people(kind=kind))
    weight = np.linspace(0.0, 2.0, 60)
    if kind == "polars":
        held, groups = pl.Series(weight), val["X_val"]["job"]
    else:
        held, groups = pd.Series(weight, index=X.index), val["X_val"]["job"]
    found = []
    for one in (weight, weight.tolist(), held):
        valuator = PumaValuator(pipeline(), "demographic_parity")
        valuator.fit(X, y, one, sensitive_features_val=groups, **val)
        found.append(valuator.removal_effect_)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    assert found[0][0] == 0 and np.isfinite(valuator.psi_).all()


@pytest.mark.parametrize("kind", ["object", "polars"])
def test_a_patch_for_groups_of_a_frame(kind):
    X, y, val = head_and_tail(*people(kind=kind))
    patcher = PumaPatcher(pipeline(), ["log_loss", "demographic_parity"], delta=0.05)
    patcher.fit(X, y).patch(
        X, y, remove=[1, 5], sensitive_features_val=val["X_val"]["job"], **val
    )
    other = PumaPatcher(pipeline(), ["log_loss", "demographic_parity"], delta=0.05)
    groups = np.asarray(val["X_val"]["job"])
    other.fit(X, y).patch(X, y, remove=[1, 5], sensitive_features_val=groups, **val)
    np.testing.assert_array_equal(patcher.predict_proba(X), other.predict_proba(X))


def test_labels_of_the_index_of_a_frame():
    X, y, val = head_and_tail(*people())
    by_label = PumaPatcher(pipeline(), delta=np.inf).fit(X, y)
    by_label.patch(X, y, remove=X.index[[3, 9]], **val)
    by_mask = PumaPatcher(pipeline(), delta=np.inf).fit(X, y)
    by_mask.patch(X, y, remove=np.isin(np.arange(60), [3, 9]), **val)
    np.testing.assert_array_equal(by_label.coef_, by_mask.coef_)


@pytest.mark.parametrize("selection", ["mask", "series", "polars", "positions"])
def test_a_selection_of_rows_of_polars(selection):
    X, y, val = head_and_tail(*people(kind="polars"))
    mask = np.isin(np.arange(60), [3, 9])
    remove = {
        "mask": mask,
        "series": pd.Series(mask),
        "polars": pl.Series(mask),
        "positions": [3, 9],
    }[selection]
    patcher = PumaPatcher(pipeline(), delta=np.inf).fit(X, y).patch(X, y, remove, **val)
    expected = PumaPatcher(pipeline(), delta=np.inf).fit(X, y).patch(X, y, mask, **val)
    np.testing.assert_array_equal(patcher.coef_, expected.coef_)


# -- labels and class weights ----------------------------------------------------------


@pytest.mark.parametrize("labels", ["strings", "bools", "ints", "categorical"])
def test_class_weights(labels):
    X = problems.rows(120)
    code = (problems.classes(X, 2) == "yes").astype(int)
    names = {
        "strings": np.array(["no", "yes"]),
        "bools": np.array([False, True]),
        "ints": np.array([3, 7]),
        "categorical": np.array(["no", "yes"]),
    }[labels]
    y = names[code]
    weights = dict(zip(names.tolist(), [0.5, 2.0], strict=True))
    held = pd.Categorical(y) if labels == "categorical" else y
    by_class = PumaValuator(LogisticRegression(class_weight=weights))
    by_class.fit(X[:80], held[:80], X_val=X[80:], y_val=held[80:])
    by_row = PumaValuator(LogisticRegression())
    own = np.array([0.5, 2.0])[code]
    by_row.fit(X[:80], y[:80], own[:80], X_val=X[80:], y_val=y[80:])
    np.testing.assert_allclose(by_class.psi_, by_row.psi_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        by_class.removal_effect_, by_row.removal_effect_, rtol=1e-6, atol=1e-12
    )


def test_balanced_classes_patch_like_a_refit():
    X = problems.rows(150)
    y = problems.classes(X, 3)
    tight = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}
    model = LogisticRegression(class_weight="balanced", **tight).fit(X, y)
    patcher = PumaPatcher(FrozenEstimator(model), delta=np.inf, reweight=False)
    patcher.patch(X, y, remove=np.arange(10))
    # The class weights are those of the fit.
    counts = np.unique(y, return_counts=True)
    weights = {c: 150 / (3 * n) for c, n in zip(*counts, strict=True)}
    refit = LogisticRegression(class_weight=weights, **tight).fit(X[10:], y[10:])
    np.testing.assert_allclose(
        patcher.predict_proba(X), refit.predict_proba(X), rtol=1e-6, atol=1e-9
    )


# -- memory ----------------------------------------------------------------------------


def peak(call):
    """Most bytes that Python and numpy hold at once beyond those before."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def large(kind, folder):
    """(X, y), so wide that vectors of one number per row do not count."""
    n, d = (10_000, 3_000) if "csr" in kind else (60_000, 100)
    rng = np.random.default_rng(0)
    if "csr" in kind:
        X = sparse.random_array((n, d), density=0.1, rng=rng, format="csr")
        signal = 10.0 * X[:, [0]].toarray()[:, 0] + X.sum(axis=1) - X.sum(axis=1).mean()
    else:
        X = rng.standard_normal((n, d))
        signal = X[:, 0]
    y = (signal + rng.logistic(size=n) > 0).astype(int)
    if "float32" in kind:
        X = X.astype(np.float32)
    if kind == "memmap":
        np.save(folder / "X.npy", X)
        X = np.load(folder / "X.npy", mmap_mode="r")
    return X, y


@pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0",
    reason="Plain Python takes minutes for so many rows.",
)
@pytest.mark.parametrize("what", ["fit", "patch", "patch with X_val"])
@pytest.mark.parametrize("kind", ["memmap", "float32", "csr", "csr float32"])
def test_rows_are_not_copied(kind, what, tmp_path):
    X, y = large(kind, tmp_path)
    frozen = FrozenEstimator(LogisticRegression(C=0.01, max_iter=5).fit(X, y))
    val = {"X_val": X[:200], "y_val": y[:200]}
    remove = np.arange(len(y)) % 100 == 0
    call = {
        "fit": lambda: PumaValuator(frozen, "log_loss").fit(X, y, **val),
        "patch": lambda: PumaPatcher(frozen).patch(X, y, remove),
        "patch with X_val": lambda: PumaPatcher(frozen).patch(X, y, remove, **val),
    }[what]
    parts = [X.data, X.indices, X.indptr] if sparse.issparse(X) else [X]
    data = sum(part.nbytes for part in parts)
    # A copy would take all of it, or twice that in double precision.
    assert peak(call) < 0.7 * data


@pytest.mark.parametrize("sparse_rows", [False, True], ids=["dense", "csr"])
def test_single_precision_is_close_to_double(sparse_rows):
    X = problems.rows(300, 10)
    X[np.abs(X) < 0.5] = 0.0
    y = problems.classes(X, 3)
    hold = sparse.csr_matrix if sparse_rows else np.asarray
    found = []
    for dtype in (np.float64, np.float32):
        held = hold(X.astype(dtype))
        valuator = PumaValuator(LogisticRegression(), effect="one_step")
        valuator.fit(held[:200], y[:200], X_val=held[200:], y_val=y[200:])
        patcher = PumaPatcher(LogisticRegression(), delta=np.inf).fit(held, y)
        patcher.patch(held, y, remove=np.arange(20))
        assert patcher.estimator_.coef_.dtype == dtype
        found.append((valuator.psi_, valuator.removal_effect_, patcher.transform(X)))
    for double, single in zip(*found, strict=True):
        scale = np.abs(double).max()
        np.testing.assert_allclose(single, double, rtol=0, atol=1e-4 * scale)


def test_a_memory_map_gives_what_its_array_gives(tmp_path):
    X = problems.rows(200, 5)
    y = problems.numbers(X)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    found = []
    for held in (X, mapped):
        valuator = PumaValuator(Ridge(), random_state=0).fit(held, y)
        patcher = PumaPatcher(Ridge()).fit(held, y).patch(held, y, remove=[4, 8])
        found.append((valuator.psi_, patcher.predict(X)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


def test_a_network_refuses_sparse_rows_and_says_so():
    X = sparse.csr_array(problems.rows(40))
    y = problems.classes(problems.rows(40), 2)
    with pytest.raises(TypeError, match="[Ss]parse"):
        PumaValuator(MLPClassifier(max_iter=5)).fit(X, y, X_val=X, y_val=y)
