"""Groups of rows: valued together, crossed together, removed together."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import expit
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    cross_validate,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import LeverageWarning, PumaDebugger, PumaPatcher, PumaValuator
from skpuma.utils._grouping import check_grouping, rows_of_groups
from tests import data

TIGHT = LogisticRegression(**data.TIGHT)
PLAIN = {"delta": np.inf, "reweight": False}
N = 80

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skpuma.StationarityWarning",
    "ignore::skpuma.LeverageWarning",
    "ignore::skpuma.DeltaReachedWarning",
)


def binary():
    X, y = data.blobs()
    return X[:N], y[:N], {"X_val": X[N:], "y_val": y[N:]}


def regression():
    X, _ = data.blobs()
    y = X @ [1.0, -2.0, 0.5, 0.0] + np.random.default_rng(5).standard_normal(120)
    return X[:N], y[:N], {"X_val": X[N:], "y_val": y[N:]}


def customers(n=N, size=16, seed=3):
    """Uneven groups in mixed order."""
    names = np.array([f"customer {i}" for i in range(size)])
    return names[
        np.sqrt(np.random.default_rng(seed).integers(0, size**2, n)).astype(int)
    ]


def uneven(n, seed=1):
    return np.random.default_rng(seed).uniform(0.5, 2.0, n)


def parameters(model):
    return np.append(np.ravel(model.coef_), model.intercept_)


# -- group psi and effects -------------------------------------------------------------


@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
def test_group_psi_is_the_weighted_sum_of_psi(weighted, crossed):
    X, y, val = binary()
    group = customers()
    weight = uneven(N) if weighted else np.ones(N)
    weight[[5, 9]] = 0.0
    valuator = PumaValuator(TIGHT, ["log_loss", "brier_score"], cv=3, random_state=0)
    valuator.fit(X, y, weight, groups=group, **({} if crossed else val))
    labels = np.unique(group)
    assert valuator.groups_.tolist() == labels.tolist()
    for g, label in enumerate(labels):
        inside = (group == label) & (weight > 0)
        psi = weight[inside] @ valuator.psi_[inside]
        np.testing.assert_allclose(valuator.group_psi_[g], psi, rtol=1e-10)
        linear = valuator.removal_effect_[inside].sum(axis=0)
        np.testing.assert_allclose(valuator.group_effect_[g], linear, rtol=1e-10)
    total = weight.sum()
    np.testing.assert_allclose(valuator.group_effect_ * total, valuator.group_psi_)


@pytest.mark.parametrize("effect", ["linear", "one_step"])
@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
def test_groups_of_one_row_are_rows(crossed, effect):
    X, y, val = binary()
    splits = list(KFold(4, shuffle=True, random_state=0).split(X))
    valuator = PumaValuator(TIGHT, effect=effect, cv=splits)
    valuator.fit(X, y, groups=np.arange(N), **({} if crossed else val))
    close = {"rtol": 1e-9, "atol": 1e-15}
    np.testing.assert_allclose(valuator.group_psi_, valuator.psi_, **close)
    np.testing.assert_allclose(
        valuator.group_effect_, valuator.removal_effect_, **close
    )


@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
@pytest.mark.parametrize("estimator", [Ridge(), LinearRegression()], ids=str)
def test_one_step_of_a_squared_loss_is_the_refit(estimator, crossed):
    X, y, val = regression()
    val = {} if crossed else val
    group, weight = customers(), uneven(N)
    weight[::9] = 0.0
    valuator = PumaValuator(estimator, effect="one_step", cv=3)
    valuator.fit(X, y, weight, groups=group, **val)
    # More groups than there are: all of them.
    check = valuator.check_influence(X, y, weight, groups=group, n_rows=99, **val)
    assert check.unit == "groups"
    assert len(check.rows) == len(valuator.groups_)
    np.testing.assert_allclose(check.predicted, check.refitted, rtol=0, atol=1e-8)


def alike(seed=0, n=400, n_groups=40, d=10):
    """Rows of a group are much alike, and some groups have habits of their own."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, n_groups, n)
    X = rng.standard_normal((n_groups, d))[group] + 0.5 * rng.standard_normal((n, d))
    beta, habit = rng.standard_normal(d) / 3.0, rng.standard_normal(n_groups)
    y = (rng.uniform(size=n) < expit(X @ beta + habit[group])).astype(int)
    X_val = rng.standard_normal((500, d)) * np.sqrt(1.25)
    y_val = (rng.uniform(size=500) < expit(X_val @ beta)).astype(int)
    return X, y, group, {"X_val": X_val, "y_val": y_val}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_joint_effect_sees_what_rows_have_in_common(seed):
    X, y, group, val = alike(seed)
    valuator = PumaValuator(clone(TIGHT).set_params(C=0.1), effect="one_step")
    valuator.fit(X, y, groups=group, **val)
    check = valuator.check_influence(X, y, groups=group, n_rows=99, **val)
    assert check.pearson[0] > 0.998
    assert 0.95 < check.slope[0] < 1.05
    # The rows' own one-step effects do not know of each other.
    single = valuator.removal_effect_[:, 0]
    refit = check.refitted[:, 0]
    added = np.array([single[group == g].sum() for g in valuator.groups_[check.rows]])
    assert np.corrcoef(added, refit)[0, 1] < 0.97
    error = np.abs(check.predicted[:, 0] - refit).max()
    assert error < 0.2 * np.abs(added - refit).max()


def test_rows_that_repeat_count_together():
    X, y, group, val = alike()
    first = np.unique(group, return_index=True)[1]
    more = np.repeat(first, 4)
    X, y = np.concatenate([X, X[more]]), np.append(y, y[more])
    group = np.append(group, group[more])
    valuator = PumaValuator(clone(TIGHT).set_params(C=0.1), effect="one_step")
    valuator.fit(X, y, groups=group, **val)
    check = valuator.check_influence(X, y, groups=group, n_rows=99, **val)
    assert check.pearson[0] > 0.998
    assert 0.95 < check.slope[0] < 1.05
    # A row that is there five times is a row of weight five.
    weight = np.ones(400)
    weight[first] = 5.0
    weighted = clone(valuator).fit(X[:400], y[:400], weight, groups=group[:400], **val)
    np.testing.assert_allclose(
        weighted.group_effect_, valuator.group_effect_, rtol=1e-6
    )


def test_a_leveraged_group_warns_under_the_linear_effect_only():
    X, y, group, val = alike()
    X = np.column_stack([X, 1.0 * (group == 0)])
    val["X_val"] = np.column_stack([val["X_val"], np.zeros(500)])
    keep = (group < 9) | (group > 30)  # all of them are among the highest-ranked
    X, y, group = X[keep], y[keep], group[keep]
    valuator = PumaValuator(clone(TIGHT).set_params(C=100.0))
    with pytest.warns(LeverageWarning, match="groups have a joint leverage"):
        valuator.fit(X, y, groups=group, **val)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeverageWarning)
        valuator.set_params(effect="one_step").fit(X, y, groups=group, **val)


def test_a_group_that_cannot_be_removed_has_no_effect():
    X, y, val = regression()
    X = np.column_stack([X, np.zeros(N)])
    X[[3, 4], -1] = 1.0  # the only rows that see the last column
    group = np.arange(N) // 2 * 2
    group[[3, 4]] = 99
    val["X_val"] = np.column_stack([val["X_val"], np.zeros(40)])
    valuator = PumaValuator(LinearRegression(), effect="one_step")
    valuator.fit(X, y, groups=group, **val)
    missing = np.isnan(valuator.group_effect_[:, 0])
    assert valuator.groups_[missing].tolist() == [99]
    assert valuator.inspect(by="group").index[-1] == 99
    assert np.isfinite(valuator.group_psi_).all()


@pytest.mark.parametrize("k", [2, 3])
def test_groups_of_several_classes_and_networks(k):
    X, y = data.blobs(k=k)
    group, val = customers(), {"X_val": X[N:], "y_val": y[N:]}
    valuator = PumaValuator(TIGHT, effect="one_step").fit(
        X[:N], y[:N], groups=group, **val
    )
    check = valuator.check_influence(X[:N], y[:N], groups=group, n_rows=99, **val)
    assert check.pearson[0] > 0.97
    assert 0.85 < check.slope[0] < 1.2
    network = MLPClassifier((3,), solver="lbfgs", alpha=1.0, random_state=0)
    valuator = PumaValuator(network, effect="one_step", solver="cholesky")
    valuator.fit(X[:N], y[:N], groups=group, **val)
    assert np.isfinite(valuator.group_effect_).all()


def test_a_group_without_weight_has_no_effect():
    X, y, val = binary()
    group, weight = customers(), np.ones(N)
    weight[group == group[0]] = 0.0
    for effect in ("linear", "one_step"):
        valuator = PumaValuator(TIGHT, effect=effect)
        valuator.fit(X, y, weight, groups=group, **val)
        where = valuator.groups_ == group[0]
        assert (valuator.group_psi_[where] == 0.0).all()
        assert (valuator.group_effect_[where] == 0.0).all()
        check = valuator.check_influence(X, y, weight, groups=group, **val)
        assert np.flatnonzero(where)[0] not in check.rows


def test_groups_need_an_explicit_curvature_for_one_step():
    X, y, val = binary()
    valuator = PumaValuator(TIGHT, effect="one_step", solver="cg")
    with pytest.raises(np.linalg.LinAlgError, match="one_step"):
        valuator.fit(X, y, groups=customers(), **val)
    valuator.set_params(effect="linear").fit(X, y, groups=customers(), **val)


def test_check_influence_leaves_out_groups_that_are_a_class():
    X, y, val = binary()
    group = customers()
    group[y == 1] = "all of them"
    valuator = PumaValuator(TIGHT).fit(X, y, groups=group, **val)
    check = valuator.check_influence(X, y, groups=group, n_rows=99, **val)
    assert "all of them" not in valuator.groups_[check.rows]
    assert len(check.rows) == len(valuator.groups_) - 1
    assert "groups removed" in str(check)
    assert "groups removed" in check._repr_html_()


def test_check_influence_asks_for_the_groups_of_the_fit():
    X, y, val = binary()
    group = customers()
    valuator = PumaValuator(TIGHT).fit(X, y, groups=group, **val)
    swapped = group.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert (swapped != group).any()
    renamed = np.where(group == group[0], "someone", group)
    for wrong in (swapped, renamed, np.arange(N)):
        with pytest.raises(ValueError, match="groups are not those of the fit"):
            valuator.check_influence(X, y, groups=wrong, **val)
    without = PumaValuator(TIGHT).fit(X, y, **val)
    with pytest.raises(ValueError, match="pass groups= to fit"):
        without.check_influence(X, y, groups=group, **val)


# -- cross-fitting ---------------------------------------------------------------------


@pytest.mark.parametrize("problem", [binary, regression])
@pytest.mark.parametrize("weighted", [False, True])
def test_folds_do_not_split_groups(problem, weighted):
    X, y, _ = problem()
    group = customers()
    weight = uneven(N) if weighted else None
    estimator = TIGHT if problem is binary else Ridge()
    valuator = PumaValuator(estimator, cv=4, random_state=0)
    valuator.fit(X, y, weight, groups=group)
    splits = valuator._splits_used
    assert len(splits) == 4
    for train, test in splits:
        assert not np.intersect1d(group[train], group[test]).size
        assert len(train) + len(test) == N
        if problem is binary:
            assert 0.25 < y[test].mean() < 0.75
    # Every row is measured once, and the psi of all is known.
    assert np.isfinite(valuator.psi_).all()
    assert np.sort(np.concatenate([test for _, test in splits])).tolist() == list(
        range(N)
    )


@pytest.mark.parametrize("cv", [GroupKFold(3), LeaveOneGroupOut()], ids=str)
def test_a_splitter_is_given_the_groups(cv):
    X, y, _ = binary()
    group = np.arange(N) // 2 % 5
    valuator = PumaValuator(TIGHT, cv=cv).fit(X, y, groups=group)
    for train, test in valuator._splits_used:
        assert not np.intersect1d(group[train], group[test]).size
    expected = PumaValuator(TIGHT, cv=list(cv.split(X, y, group))).fit(X, y)
    np.testing.assert_allclose(valuator.psi_, expected.psi_, rtol=1e-12)


def test_splits_that_take_groups_apart_are_refused():
    X, y, _ = binary()
    for cv in (KFold(3), list(KFold(3).split(X))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # KFold says that it ignores groups
            with pytest.raises(ValueError, match="takes .* groups apart, such as"):
                PumaValuator(TIGHT, cv=cv).fit(X, y, groups=customers())


def test_too_few_groups():
    X, y, _ = binary()
    with pytest.raises(ValueError, match="cv=5 folds .* n_groups=3"):
        PumaValuator(TIGHT).fit(X, y, groups=np.arange(N) // 2 % 3)
    weight = np.ones(N)
    weight[:40] = 0.0
    with pytest.raises(ValueError, match="n_groups=2 with a positive weight"):
        PumaValuator(TIGHT, cv=3).fit(X, y, weight, groups=np.arange(N) // 20)
    group = np.arange(N)
    group[y == 1] = 999
    with pytest.raises(ValueError, match="Class 1 is in so few groups"):
        PumaValuator(TIGHT, cv=3, random_state=0).fit(X, y, groups=group)
    PumaValuator(TIGHT, cv=3).fit(X, y, groups=np.arange(N) // 2 % 3)


def test_a_refit_without_groups_forgets_them():
    X, y, val = binary()
    valuator = PumaValuator(TIGHT).fit(X, y, groups=customers(), **val)
    again = pickle.loads(pickle.dumps(valuator))
    np.testing.assert_array_equal(again.group_effect_, valuator.group_effect_)
    valuator.fit(X, y, **val)
    assert not hasattr(valuator, "groups_")
    assert not hasattr(valuator, "group_psi_")
    with pytest.raises(ValueError, match="pass groups= to fit"):
        valuator.inspect(by="group")


# -- frames ----------------------------------------------------------------------------


def test_inspect_by_group():
    X, y, val = binary()
    group, weight = customers(), uneven(N)
    valuator = PumaValuator(TIGHT, ["log_loss", "brier_score"], effect="one_step")
    valuator.fit(X, y, weight, groups=group, **val)
    frame = valuator.inspect(by="group")
    assert frame.index.name == "group"
    assert list(frame.columns) == [
        "n_rows",
        "weight",
        "psi_log_loss",
        "removal_effect_log_loss",
        "psi_brier_score",
        "removal_effect_brier_score",
    ]
    assert frame["removal_effect_log_loss"].is_monotonic_increasing
    sizes = pd.Series(group).value_counts()
    assert (frame["n_rows"] == sizes.reindex(frame.index)).all()
    total = pd.Series(weight).groupby(group).sum()
    np.testing.assert_allclose(frame["weight"], total.reindex(frame.index))
    top = valuator.inspect(3, sort_by="brier_score", by="group")
    assert len(top) == 3
    assert top["removal_effect_brier_score"].is_monotonic_increasing
    with pytest.raises(ValueError, match="by='column' is neither"):
        valuator.inspect(by="column")


# -- labels ----------------------------------------------------------------------------


def as_(kind, group):
    code = np.unique(group, return_inverse=True)[1]
    return {
        "strings": group,
        "objects": group.astype(object),
        "list": group.tolist(),
        "ints": code,
        "floats": code.astype(float),
        "column": group[:, None],
        "Series": pd.Series(group),
        "categories": pd.Categorical(group, categories=[*np.unique(group), "unused"]),
        "string dtype": pd.array(group, dtype="string"),
        "dates": np.datetime64("2024-01-01") + code,
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "strings",
        "objects",
        "list",
        "ints",
        "floats",
        "column",
        "Series",
        "categories",
        "string dtype",
        "dates",
    ],
)
def test_kinds_of_labels(kind):
    X, y, val = binary()
    group = customers()
    expected = PumaValuator(TIGHT).fit(X, y, groups=group, **val)
    valuator = PumaValuator(TIGHT).fit(X, y, groups=as_(kind, group), **val)
    np.testing.assert_array_equal(valuator.group_psi_, expected.group_psi_)
    worst = valuator.inspect(2, by="group").index
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y)
    patcher.patch(X, y, remove=worst, groups=as_(kind, group))
    gone = np.isin(group, expected.inspect(2, by="group").index)
    np.testing.assert_array_equal(patcher.row_weight_ == 0.0, gone)
    patcher.unpatch().patch(X, y, remove=list(worst), groups=as_(kind, group))
    np.testing.assert_array_equal(patcher.row_weight_ == 0.0, gone)


def test_labels_without_an_order():
    values = np.empty(4, dtype=object)
    values[:] = ["a", (1, 2), "a", 3]
    grouping = check_grouping(values, 4)
    assert grouping.code.tolist() == [0, 1, 0, 2]
    assert [one.tolist() for one in grouping.members] == [[0, 2], [1], [3]]


def wrong_groups():
    group = customers()
    missing = group.astype(object)
    missing[3] = None
    return {
        "short": (group[:-1], "shape \\(79,\\), X has 80 rows"),
        "columns": (np.column_stack([group, group]), "has 2 columns.*ngroup"),
        "missing": (missing, "missing values: give such rows labels"),
        "nan": (np.where(group == group[0], np.nan, 1.0), "missing values"),
        "scalar": ("a", "shape \\(\\)"),
        "index": (pd.Series(group, index=np.arange(N)[::-1]), "index is not that of X"),
    }


@pytest.mark.parametrize("kind", wrong_groups())
def test_bad_groups_change_nothing(kind):
    X, y, _ = binary()
    X = data.frame(X) if kind == "index" else X
    group, match = wrong_groups()[kind]
    for one in (PumaValuator(TIGHT), PumaPatcher(TIGHT)):
        one.fit(X, y)
        before = data.snapshot(one)
        more = {"marked": data.some(N, 0.1)} if isinstance(one, PumaPatcher) else {}
        with pytest.raises(ValueError, match=match):
            one.fit(X, y, groups=group, **more)
        if more:
            with pytest.raises(ValueError, match=match):
                one.patch(X, y, [0], groups=group)
        assert data.snapshot(one) == before


def test_rows_of_groups_are_asked_by_label_or_mask():
    grouping = check_grouping(["b", "a", "b", "c"], 4)
    ask = rows_of_groups
    assert ask(None, grouping).tolist() == [False] * 4
    assert ask([], grouping).tolist() == [False] * 4
    assert ask("b", grouping).tolist() == [True, False, True, False]
    assert ask(["b", "b", "a"], grouping).tolist() == [True, True, True, False]
    mask = np.array([True, False, False, True])
    assert ask(mask, grouping).tolist() == [True, False, True, True]
    with pytest.raises(TypeError, match="list of group labels"):
        ask({"a"}, grouping)
    with pytest.raises(ValueError, match="one-dimensional"):
        ask([["a"]], grouping)
    for unknown in (["z"], [0], pd.Index([0])):
        with pytest.raises(KeyError, match="labels that are not in groups.*mask"):
            ask(unknown, grouping)
    with pytest.raises(ValueError, match="shape \\(3,\\)"):
        ask([True, False, True], grouping)


def test_labels_that_are_booleans():
    X, y, val = binary()
    for group in (X[:, 3] > 0, (X[:, 3] > 0).astype(object)):
        valuator = PumaValuator(TIGHT).fit(X, y, groups=group, **val)
        worst = valuator.inspect(top=1, by="group").index
        gone = group == worst[0]
        for selection in (worst, list(worst), worst[0], gone.astype(bool)):
            patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y)
            patcher.patch(X, y, remove=selection, groups=group)
            np.testing.assert_array_equal(patcher.row_weight_ == 0.0, gone)


# -- patching --------------------------------------------------------------------------


def test_patch_of_groups_is_the_refit_without_them():
    X, y, _ = binary()
    group = customers()
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y)
    patcher.patch(X, y, remove=["customer 12", "customer 7"], groups=group)
    left = ~np.isin(group, ["customer 12", "customer 7"])
    refit = clone(TIGHT).fit(X[left], y[left])
    np.testing.assert_allclose(parameters(patcher), parameters(refit), rtol=1e-6)
    # A mask of rows takes their groups as a whole; a second patch adds to the first.
    mask = data.mask_of(N, np.flatnonzero(group == "customer 10")[:1])
    patcher.patch(X, y, remove=mask, groups=group)
    left &= group != "customer 10"
    np.testing.assert_array_equal(patcher.row_weight_, left.astype(float))
    # Groups that are gone already are not reported again.
    patcher.patch(X, y, remove=["customer 10", "customer 15"], groups=group)
    assert [one[0] for one in patcher.report_.removed_groups] == ["customer 15"]
    patcher.unpatch().unpatch().unpatch()
    patcher.forget(X, y, "customer 7", groups=group)
    np.testing.assert_array_equal(patcher.row_weight_ == 0.0, group == "customer 7")


def test_upweight_names_groups_too():
    X, y, _ = binary()
    group = customers()
    code = np.unique(group, return_inverse=True)[1]
    inside = group == "customer 7"
    label = code[inside][0]
    some = data.mask_of(N, np.flatnonzero(inside)[:1])
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y)
    for upweight, groups, extra in (
        (["customer 7"], group, inside),
        ("customer 7", group, inside),
        ([label], code, inside),
        ([float(label)], code.astype(float), inside),
        (pd.Index([label]), code, inside),
        (some, group, some),
        (0.5 * some, group, 0.5 * some),
        (0.5 * some, code.astype(float), 0.5 * some),
    ):
        patcher.patch(X, y, upweight=upweight, groups=groups)
        np.testing.assert_allclose(patcher.row_weight_, 1.0 + extra)
        patcher.unpatch()
    for wrong in ([0], ["nobody"]):
        with pytest.raises(KeyError, match="upweight has labels that are not in group"):
            patcher.patch(X, y, upweight=wrong, groups=group)
    with pytest.raises(ValueError, match="upweight has shape"):
        patcher.patch(X, y, upweight=[1.0], groups=group)
    with pytest.raises(ValueError, match="both in remove and in upweight"):
        patcher.patch(X, y, "customer 7", upweight="customer 7", groups=group)


def test_a_group_that_is_a_class_has_no_effect():
    X, y, val = binary()
    group = customers()
    group[y == 1] = "all of them"
    valuator = PumaValuator(TIGHT, effect="one_step").fit(X, y, groups=group, **val)
    missing = np.isnan(valuator.group_effect_[:, 0])
    assert valuator.groups_[missing].tolist() == ["all of them"]
    weight = np.ones(N)
    first, other = np.flatnonzero(y == 1)[[0, -1]]
    weight[(y == 1) & (np.arange(N) != first)] = 0.0
    group = customers()
    group[other], group[first] = "customer 0", "last"
    valuator.fit(X, y, weight, groups=group, **val)
    missing = np.isnan(valuator.group_effect_[:, 0])
    assert valuator.groups_[missing].tolist() == ["last"]


def test_patch_of_a_frozen_estimator_by_group():
    X, y, _ = binary()
    model = FrozenEstimator(clone(TIGHT).fit(X, y))
    patcher = PumaPatcher(model, **PLAIN)
    patcher.patch(X, y, remove=["customer 7"], groups=customers())
    assert patcher.report_.n_removed == (customers() == "customer 7").sum()


def test_unknown_labels_leave_the_model_as_it_is():
    X, y, _ = binary()
    patcher = PumaPatcher(TIGHT).fit(X, y)
    before = data.snapshot(patcher)
    for wrong in (["customer 7", "nobody"], [7], np.array([0, 1])):
        with pytest.raises(KeyError, match="not in groups"):
            patcher.patch(X, y, remove=wrong, groups=customers())
    assert data.snapshot(patcher) == before


def test_fit_marks_whole_groups():
    X, y, _ = binary()
    group = customers()
    mask = data.mask_of(N, [0, 1])
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y, marked=mask, groups=group)
    gone = np.isin(group, group[:2])
    np.testing.assert_array_equal(patcher.row_weight_ == 0.0, gone)
    labels = [one[0] for one in patcher.report_.removed_groups]
    assert sorted(labels) == sorted(set(group[:2]))
    with pytest.raises(ValueError, match="groups would not be used"):
        PumaPatcher(TIGHT).fit(X, y, groups=group)


@pytest.mark.parametrize("effect", ["linear", "one_step"])
def test_a_marker_marks_groups(effect):
    X, y, _ = binary()
    group = customers()
    marker = PumaValuator(TIGHT, cv=3, effect=effect, random_state=0)
    worst = clone(marker).fit(X, y, groups=group).inspect(2, by="group").index
    n_groups = len(np.unique(group))
    for n_marked in (2, 2.0 / n_groups):
        patcher = PumaPatcher(TIGHT, marker=marker, n_marked=n_marked, **PLAIN)
        patcher.fit(X, y, groups=group)
        np.testing.assert_array_equal(patcher.row_weight_ == 0, np.isin(group, worst))
    with pytest.raises(ValueError, match=f"of {n_groups} groups"):
        patcher.set_params(n_marked=n_groups).fit(X, y, groups=group)


def test_the_report_lists_the_groups():
    X, y, _ = binary()
    group, weight = customers().astype(object), uneven(N)
    group[group == "customer 7"] = "<b>seven</b>"
    gone = np.isin(group, ["<b>seven</b>", "customer 12"])
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y, weight)
    patcher.patch(X, y, remove=["<b>seven</b>", "customer 12"], groups=group)
    report = patcher.report_
    frame = report.groups_frame()
    assert frame.index.tolist() == ["<b>seven</b>", "customer 12"]
    assert frame["rows"].sum() == gone.sum() == report.n_removed
    assert frame["weight"].sum() == pytest.approx(weight[gone].sum())
    assert f"2 groups of {gone.sum()} rows removed (100 %" in report.headline
    assert "customer 12" in str(report)
    html = report._repr_html_()
    assert "customer 12" in html
    assert "<b>seven" not in html
    assert "&lt;b&gt;seven" in html
    many = PumaPatcher(Ridge(), **PLAIN).fit(*regression()[:2])
    many.patch(*regression()[:2], remove=np.arange(50) // 2, groups=np.arange(N) // 2)
    assert "and 5 more" in str(many.report_)
    assert "and 5 more" in many.report_._repr_html_()
    # Without groups nothing is said of any.
    many.unpatch().patch(*regression()[:2], remove=[0])
    assert "group" not in str(many.report_)
    assert len(many.report_.groups_frame()) == 0


# -- scikit-learn ----------------------------------------------------------------------


class _Groups:
    """A scorer that counts whole groups; it sees the fitted patcher."""

    def __call__(self, patcher, X, y):
        return len(patcher.report_.removed_groups)


@pytest.mark.parametrize("routing", [False, True])
def test_cross_validation_slices_groups(routing):
    X, y, _ = binary()
    group = np.arange(N) // 4
    mask = data.mask_of(N, np.arange(0, N, 4)[::2])  # a row of every second group
    patcher = PumaPatcher(TIGHT, **PLAIN)
    splits = list(KFold(4, shuffle=True, random_state=0).split(X))
    with sklearn.config_context(enable_metadata_routing=routing):
        found = cross_validate(
            patcher,
            X,
            y,
            cv=splits,
            scoring=_Groups(),
            params={"marked": mask, "groups": group},
            return_estimator=True,
            error_score="raise",
        )
    for (train, _), one in zip(splits, found["estimator"], strict=True):
        gone = np.isin(group[train], group[train][mask[train]])
        np.testing.assert_array_equal(one.row_weight_ == 0.0, gone)


def test_grid_search_with_routed_groups():
    X, y, _ = binary()
    group = np.arange(N) // 4
    marker = PumaValuator(TIGHT, cv=2, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            PumaPatcher(TIGHT, marker=marker, **PLAIN),
            {"n_marked": [1, 3]},
            scoring=_Groups(),
            cv=GroupKFold(4),
            error_score="raise",
        ).fit(X, y, groups=group)
    for fold in range(4):
        scores = search.cv_results_[f"split{fold}_test_score"]
        assert scores.tolist() == [1, 3]
    assert len(search.best_estimator_.report_.removed_groups) == 3


def test_without_routing_a_grid_search_keeps_groups_for_its_splitter():
    X, y, _ = binary()
    search = GridSearchCV(
        PumaPatcher(TIGHT, **PLAIN),
        {"eta": [1.0]},
        cv=GroupKFold(4),
        scoring=make_scorer(lambda *_: 0.0),
        error_score="raise",
    )
    search.fit(X, y, marked=data.some(N, 0.1), groups=np.arange(N) // 4)
    assert search.best_estimator_.report_.removed_groups == ()


def test_routing_hands_no_groups_to_the_wrapped_estimator():
    X, y, val = binary()
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(
            StandardScaler(), clone(TIGHT).set_fit_request(sample_weight=True)
        )
        PumaValuator(model, cv=3).fit(X, y, groups=customers())
        patcher = PumaPatcher(model, **PLAIN)
        patcher.fit(X, y, marked=data.some(N, 0.05), groups=customers())
        request = PumaDebugger().get_metadata_routing()._self_request.fit.requests
    assert "groups" not in request
