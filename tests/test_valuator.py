"""PumaValuator: psi through the public interface."""

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import LeverageWarning, PumaValuator, SolverError, StationarityWarning
from skpuma.criteria import BrierScore, CalibrationError, LogLoss
from tests import data

TIGHT = LogisticRegression(**data.TIGHT)
NETWORK = MLPClassifier(
    (4,),
    activation="tanh",
    solver="lbfgs",
    alpha=3.0,
    tol=1e-10,
    max_iter=1000,
    random_state=0,
)
NAMES = np.array(["ape", "bee", "cat"])

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skpuma.StationarityWarning",
    "ignore::skpuma.LeverageWarning",
)


def parts(X, y, n=80):
    """Training rows, and the keywords of the rows that measure."""
    return X[:n], y[:n], {"X_val": X[n:], "y_val": y[n:]}


def binary():
    return parts(*data.blobs())


def multiclass():
    X, y = data.blobs(k=3)
    return parts(X, NAMES[y])


def regression(n_outputs=1):
    X, _ = data.blobs()
    rng = np.random.default_rng(5)
    signal = X @ rng.standard_normal((4, n_outputs))
    y = signal + rng.standard_normal((120, n_outputs))
    return parts(X, y[:, 0] if n_outputs == 1 else y)


PROBLEMS = [
    pytest.param(LogisticRegression(), binary, id="binary"),
    pytest.param(LogisticRegression(), multiclass, id="multinomial"),
    pytest.param(NETWORK, multiclass, id="network"),
    pytest.param(Ridge(), regression, id="ridge"),
    pytest.param(
        MLPRegressor(
            hidden_layer_sizes=(3,), solver="lbfgs", max_iter=50, random_state=0
        ),
        regression,
        id="network, regression",
    ),
]


# -- psi_, valuate, transform ----------------------------------------------------------


@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
@pytest.mark.parametrize(("estimator", "problem"), PROBLEMS)
def test_transform_is_psi_for_every_label(estimator, problem, crossed):
    X, y, val = problem()
    criteria = ["log_loss", "brier_score"] if is_classifier(estimator) else "auto"
    valuator = PumaValuator(estimator, criteria, cv=3, random_state=0)
    valuator.fit(X, y, **({} if crossed else val))
    psi = valuator.valuate(X, y)
    if not crossed:
        np.testing.assert_allclose(psi, valuator.psi_, rtol=1e-12)
    table = valuator.transform(X).reshape(len(X), psi.shape[1], -1)
    if is_classifier(estimator):
        code = np.searchsorted(valuator.estimator_.classes_, y)
        given = table[np.arange(len(X)), :, code]
    else:
        given = table[:, :, 0] + table[:, :, 1] * y[:, None]
    np.testing.assert_allclose(given, psi, rtol=1e-9, atol=1e-12)
    new = valuator.transform(val["X_val"])
    assert new.shape == (40, table.shape[1] * table.shape[2])
    alone = valuator.transform(val["X_val"][:1])
    np.testing.assert_allclose(new[:1], alone, rtol=1e-9, atol=1e-12)


def test_several_outputs_have_a_slope_each():
    X, y, val = regression(n_outputs=2)
    valuator = PumaValuator(Ridge()).fit(X, y, **val)
    table = valuator.transform(X)
    given = table[:, 0] + (table[:, 1:] * y).sum(axis=1)
    np.testing.assert_allclose(given, valuator.psi_[:, 0], rtol=1e-10)
    names = [f"psi_training_loss_{part}" for part in ("const", "slope_0", "slope_1")]
    assert valuator.get_feature_names_out().tolist() == names
    swapped = np.column_stack([y[:, 0], y[::-1, 1]])
    with pytest.raises(ValueError, match="not those of the fit"):
        valuator.check_influence(X, swapped, **val)


@pytest.mark.parametrize(("estimator", "problem"), PROBLEMS)
def test_fit_transform_is_fit_and_transform(estimator, problem):
    X, y, _ = problem()
    valuator = PumaValuator(estimator, cv=2, random_state=0)
    both = clone(valuator).fit_transform(X, y)
    np.testing.assert_array_equal(both, valuator.fit(X, y).transform(X))


def test_names_of_the_columns():
    X, y, val = multiclass()
    criteria = ["log_loss", BrierScore(by="class")]
    valuator = PumaValuator(criterion=criteria).fit(X, y, **val)
    names = ["log_loss", *(f"brier_score[class={label}]" for label in NAMES)]
    assert valuator.criterion_names_ == names
    columns = [f"psi_{name}_{label}" for name in names for label in NAMES]
    assert valuator.get_feature_names_out().tolist() == columns
    assert valuator.transform(X).shape == (80, 12)
    X, y, val = regression()
    valuator = PumaValuator(Ridge(), "squared_error").fit(X, y, **val)
    columns = ["psi_squared_error_const", "psi_squared_error_slope"]
    assert valuator.get_feature_names_out().tolist() == columns


def test_the_users_data_and_estimator_stay_as_they_are():
    X, y, val = binary()
    X, val = data.frame(X), {**val, "X_val": data.frame(val["X_val"])}
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    before = pickle.dumps((X, y, val, model))
    PumaValuator(FrozenEstimator(model), effect="one_step").fit(X, y, **val)
    PumaValuator(model).fit(X, y)
    assert pickle.dumps((X, y, val, model)) == before


# -- against plain numpy ---------------------------------------------------------------


def naive_psi(model, X, y, weight, X_val, y_val, weight_val):
    """Blog (7) for a binary LogisticRegression, with n solves and no tricks."""
    one = np.column_stack([X, np.ones(len(X))])
    one_val = np.column_stack([X_val, np.ones(len(X_val))])
    theta = np.append(model.coef_[0], model.intercept_)
    p, p_val = expit(one @ theta), expit(one_val @ theta)
    total = weight.sum()
    H = one.T @ (one * (weight * p * (1 - p))[:, None]) / total
    H += np.diag([1.0 / (model.C * total)] * X.shape[1] + [0.0])
    gradient = one_val.T @ (weight_val * (p_val - y_val)) / weight_val.sum()
    return [gradient @ np.linalg.solve(H, g) for g in (p - y)[:, None] * one]


def naive_cross_fit(splits, X, y, weight):
    """psi of every row over the folds that trained on it, by one fit per fold."""
    total, share = np.zeros(len(y)), np.zeros(len(y))
    for train, test in splits:
        model = clone(TIGHT).fit(X[train], y[train], sample_weight=weight[train])
        psi = naive_psi(
            model, X[train], y[train], weight[train], X[test], y[test], weight[test]
        )
        total[train] += weight[test].sum() * np.array(psi)
        share[train] += weight[test].sum()
    return total / share


def uneven(n, seed=1):
    return np.random.default_rng(seed).uniform(0.5, 2.0, n)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
def test_psi_is_blog_7(weighted):
    X, y, val = binary()
    weight = uneven(80) if weighted else np.ones(80)
    weight_val = uneven(40, 2) if weighted else np.ones(40)
    valuator = PumaValuator(TIGHT)
    valuator.fit(X, y, weight, sample_weight_val=weight_val, **val)
    expected = naive_psi(valuator.estimator_, X, y, weight, *val.values(), weight_val)
    np.testing.assert_allclose(valuator.psi_[:, 0], expected, rtol=1e-7)
    effect = expected * weight / weight.sum()
    np.testing.assert_allclose(valuator.removal_effect_[:, 0], effect, rtol=1e-7)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("kind", ["int", "splitter", "list"])
def test_cross_fitting_averages_the_folds_that_trained_on_a_row(kind, weighted):
    X, y = data.blobs(90)
    weight = uneven(90) if weighted else np.ones(90)
    if kind == "int":
        splitter = cv = StratifiedKFold(3, shuffle=True, random_state=7)
        cv = 3
    else:
        splitter = cv = KFold(4, shuffle=True, random_state=7)
    splits = list(splitter.split(X, y))
    valuator = PumaValuator(TIGHT, cv=splits if kind == "list" else cv, random_state=7)
    valuator.fit(X, y, weight if weighted else None)
    expected = naive_cross_fit(splits, X, y, weight)
    np.testing.assert_allclose(valuator.psi_[:, 0], expected, rtol=1e-6)
    # W is that of the full fit, though no fold has all the rows.
    effect = expected * weight / weight.sum()
    np.testing.assert_allclose(valuator.removal_effect_[:, 0], effect, rtol=1e-6)


def test_a_row_that_no_fold_trained_on_has_no_psi():
    X, y = data.blobs(90)
    splits = [(np.arange(30, 90), np.arange(30)), (np.arange(40, 90), np.arange(40))]
    valuator = PumaValuator(TIGHT, cv=splits).fit(X, y)
    np.testing.assert_array_equal(np.isnan(valuator.psi_[:, 0]), np.arange(90) < 30)
    assert valuator.inspect()["position"].iloc[-30:].max() < 30
    assert np.isfinite(valuator.valuate(X, y)).all()
    assert valuator.check_influence(X, y, n_rows=5).rows.min() >= 30


# -- weights, order, containers --------------------------------------------------------


@pytest.mark.parametrize("effect", ["linear", "one_step"])
def test_a_row_of_weight_zero_has_a_psi_and_no_effect(effect):
    X, y, val = binary()
    weight = np.ones(80)
    weight[:10] = 0.0
    valuator = PumaValuator(TIGHT, effect=effect).fit(X, y, weight, **val)
    without = PumaValuator(TIGHT, effect=effect).fit(X[10:], y[10:], **val)
    assert (valuator.removal_effect_[:10] == 0.0).all()
    np.testing.assert_allclose(
        valuator.removal_effect_[10:], without.removal_effect_, rtol=1e-6
    )
    psi = np.concatenate([without.valuate(X[:10], y[:10]), without.psi_])
    np.testing.assert_allclose(valuator.psi_, psi, rtol=1e-6)
    assert (psi[:10] != 0.0).all()


@pytest.mark.parametrize(
    ("estimator", "problem"),
    [
        pytest.param(
            LogisticRegression(tol=1e-10, max_iter=10_000), binary, id="lbfgs"
        ),
        pytest.param(TIGHT, multiclass, id="multinomial"),
        pytest.param(Ridge(), regression, id="ridge"),
        pytest.param(NETWORK, binary, id="network"),
    ],
)
def test_a_row_twice_is_a_weight_of_two(estimator, problem):
    X, y, val = problem()
    weight = np.ones(80)
    weight[3] = 2.0
    weighted = PumaValuator(estimator).fit(X, y, weight, **val)
    twice = np.append(np.arange(80), 3)
    repeated = PumaValuator(estimator).fit(X[twice], y[twice], **val)
    tolerance = {"rtol": 1e-3 if estimator is NETWORK else 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(weighted.psi_[twice], repeated.psi_, **tolerance)
    effect = repeated.removal_effect_[:80].copy()
    effect[3] *= 2.0
    np.testing.assert_allclose(weighted.removal_effect_, effect, **tolerance)


@pytest.mark.parametrize("labels", [[1, 2], [-1, 1], ["no", "yes"], [False, True]])
@pytest.mark.parametrize("estimator", [TIGHT, NETWORK], ids=["logistic", "network"])
def test_label_encodings(estimator, labels):
    X, y, val = binary()
    expected = PumaValuator(estimator).fit(X, y, **val).psi_
    named = np.array(labels)
    val["y_val"] = named[val["y_val"]]
    valuator = PumaValuator(estimator).fit(X, named[y], **val)
    np.testing.assert_allclose(valuator.psi_, expected, rtol=1e-10)


def test_row_order():
    X, y, val = binary()
    order = np.random.default_rng(0).permutation(80)
    psi = PumaValuator(TIGHT).fit(X, y, **val).psi_
    shuffled = PumaValuator(TIGHT).fit(X[order], y[order], **val).psi_
    np.testing.assert_allclose(shuffled, psi[order], rtol=1e-7)


def test_row_order_with_cross_fitting():
    X, y, _ = binary()
    order = np.random.default_rng(0).permutation(80)
    splits = list(KFold(3).split(X))
    where = np.argsort(order)
    moved = [(where[train], where[test]) for train, test in splits]
    psi = PumaValuator(TIGHT, cv=splits).fit(X, y).psi_
    shuffled = PumaValuator(TIGHT, cv=moved).fit(X[order], y[order]).psi_
    np.testing.assert_allclose(shuffled, psi[order], rtol=1e-6)


def test_n_jobs_changes_nothing():
    X, y, _ = multiclass()
    valuator = PumaValuator(effect="one_step", cv=4, random_state=0)
    alone = clone(valuator).fit(X, y)
    with joblib.parallel_config(backend="threading"):
        together = valuator.set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(alone.psi_, together.psi_)
    np.testing.assert_array_equal(alone.removal_effect_, together.removal_effect_)


@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
@pytest.mark.parametrize(("estimator", "problem"), PROBLEMS)
def test_pandas_is_numpy(estimator, problem, crossed):
    X, y, val = problem()
    tables = {"X_val": data.frame(val["X_val"]), "y_val": pd.Series(val["y_val"])}
    if crossed:
        val = tables = {}
    valuator = PumaValuator(estimator, cv=2, random_state=0)
    psi = valuator.fit(X, y, **val).psi_
    frame = data.frame(X)
    valuator.fit(frame, pd.Series(y, index=frame.index), **tables)
    # pandas keeps columns together, so that sums round in another order.
    # A network's fit carries that further.
    close = 1e-3 if "MLP" in type(estimator).__name__ else 1e-8
    np.testing.assert_allclose(valuator.psi_, psi, rtol=close, atol=close * psi.std())
    assert valuator.feature_names_in_.tolist() == ["x0", "x1", "x2", "x3"]


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
@pytest.mark.parametrize(
    ("estimator", "problem"),
    [
        pytest.param(TIGHT, multiclass, id="logistic"),
        pytest.param(Ridge(solver="sparse_cg", tol=1e-12), regression, id="ridge"),
    ],
)
def test_csr_is_dense(estimator, problem, crossed, container):
    X, y, val = problem()
    val = {} if crossed else val
    valuator = PumaValuator(estimator, effect="one_step", cv=2, random_state=0)
    dense = clone(valuator).fit(X, y, **val)
    if not crossed:
        val = {**val, "X_val": container(val["X_val"])}
    valuator.fit(container(X), y, **val)
    close = {"rtol": 1e-6, "atol": 1e-10}
    np.testing.assert_allclose(valuator.psi_, dense.psi_, **close)
    np.testing.assert_allclose(valuator.removal_effect_, dense.removal_effect_, **close)
    np.testing.assert_allclose(
        valuator.transform(container(X)), dense.transform(X), **close
    )


@pytest.mark.parametrize(
    ("estimator", "problem", "damping"),
    [
        pytest.param(TIGHT, binary, "auto", id="binary"),
        pytest.param(TIGHT, multiclass, "auto", id="multinomial"),
        pytest.param(NETWORK, binary, 0.05, id="network"),
    ],
)
@pytest.mark.parametrize("solver", ["cg", "eigh"])
def test_solvers_agree(estimator, problem, damping, solver):
    X, y, val = problem()
    valuator = PumaValuator(estimator, solver="cholesky", damping=damping)
    psi = valuator.fit(X, y, **val).psi_
    valuator.set_params(solver=solver).fit(X, y, **val)
    close = 1e-4 if solver == "cg" else 1e-7
    assert np.linalg.norm(valuator.psi_ - psi) <= close * np.linalg.norm(psi)
    assert valuator.curvature_info_["solver"] == solver
    assert valuator.curvature_info_["max_residual"] < close
    if solver == "cg":
        with pytest.raises(SolverError, match="explicit"):
            valuator.leverage(X, y)


# -- criteria --------------------------------------------------------------------------


def test_several_criteria_are_columns():
    X, y, val = multiclass()
    criteria = ["brier_score", "log_loss", "calibration_error"]
    together = PumaValuator(TIGHT, criteria, effect="one_step").fit(X, y, **val)
    assert together.criterion_names_ == criteria
    for column, criterion in enumerate(criteria):
        alone = PumaValuator(TIGHT, criterion, effect="one_step").fit(X, y, **val)
        close = {"rtol": 1e-7, "atol": 1e-12}
        for name in ("psi_", "removal_effect_"):
            ours, other = getattr(together, name)[:, column], getattr(alone, name)
            np.testing.assert_allclose(ours, other[:, 0], **close)
        assert together.criterion_value_[column] == alone.criterion_value_[0]


@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
@pytest.mark.parametrize("by", ["class", "group"])
def test_parts_of_a_criterion_add_up(by, crossed):
    X, y, val = binary()
    rng = np.random.default_rng(0)
    group, group_val = rng.choice(["a", "b"], 80), rng.choice(["a", "b"], 40)
    if crossed:
        measured, val = (group, y)[by == "class"], {}
    else:
        val["sensitive_features_val"] = group_val
        measured = (group_val, val["y_val"])[by == "class"]
    # Of several folds, every one has shares of its own.
    splits = [(np.arange(40), np.arange(40, 80))]
    if crossed:
        measured = measured[40:]
    whole = PumaValuator(TIGHT, "log_loss", cv=splits)
    whole.fit(X, y, sensitive_features=group, **val)
    valuator = PumaValuator(TIGHT, LogLoss(by=by), cv=splits)
    valuator.fit(X, y, sensitive_features=group, **val)
    values, counts = np.unique(measured, return_counts=True)
    assert valuator.criterion_names_ == [f"log_loss[{by}={v}]" for v in values]
    total = valuator.psi_ @ counts / counts.sum()
    np.testing.assert_allclose(total, whole.psi_[:, 0], rtol=1e-8)


class OwnLogLoss:
    """A user's own criterion: no base class, names optional."""

    def value(self, z, y, *, sample_weight=None, groups=None):
        return np.average(np.logaddexp(0, z[:, 0]) - y * z[:, 0], weights=sample_weight)

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        residual = expit(z[:, 0]) - y
        return (residual * sample_weight / sample_weight.sum())[:, None]


@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
def test_a_criterion_of_the_users_own(crossed):
    X, y, val = binary()
    val = {} if crossed else val
    for effect in ("linear", "one_step"):
        own = PumaValuator(TIGHT, OwnLogLoss(), effect=effect, random_state=0)
        ours = PumaValuator(TIGHT, "log_loss", effect=effect, random_state=0)
        clone(own)
        own.fit(X, y, **val)
        ours.fit(X, y, **val)
        assert own.criterion_names_ == ["OwnLogLoss"]
        np.testing.assert_allclose(own.psi_, ours.psi_, rtol=1e-8)
        np.testing.assert_allclose(
            own.removal_effect_, ours.removal_effect_, rtol=1e-6, atol=1e-12
        )


@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
@pytest.mark.parametrize(("estimator", "problem"), PROBLEMS)
def test_effect_never_changes_psi(estimator, problem, crossed):
    X, y, val = problem()
    val = {} if crossed else val
    valuator = PumaValuator(estimator, cv=2, random_state=0)
    linear = clone(valuator).fit(X, y, **val)
    one_step = valuator.set_params(effect="one_step").fit(X, y, **val)
    np.testing.assert_array_equal(linear.psi_, one_step.psi_)
    assert not np.array_equal(linear.removal_effect_, one_step.removal_effect_)
    assert one_step.leverage_.shape == (80,)
    assert "leverage" in one_step.inspect()
    # A later fit does not keep what it did not compute.
    one_step.set_params(effect="linear").fit(X[:70], y[:70], **val)
    assert "leverage" not in one_step.inspect()


# -- inspect ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["string", "shuffled", "numpy"])
def test_inspect_is_on_the_users_index(kind):
    X, y, val = binary()
    if kind != "numpy":
        X, val = data.frame(X), {**val, "X_val": data.frame(val["X_val"])}
    if kind == "shuffled":
        X.index = np.random.default_rng(3).permutation(80)
    valuator = PumaValuator(TIGHT, ["log_loss", "brier_score"])
    frame = valuator.fit(X, y, uneven(80), **val).inspect()
    position = frame["position"].to_numpy()
    index = np.arange(80) if kind == "numpy" else X.index
    assert frame.index.tolist() == index[position].tolist()
    np.testing.assert_array_equal(frame["weight"], uneven(80)[position])
    for column, name in enumerate(["log_loss", "brier_score"]):
        for kind_, values in (
            ("psi", valuator.psi_),
            ("removal_effect", valuator.removal_effect_),
        ):
            np.testing.assert_array_equal(
                frame[f"{kind_}_{name}"], values[position, column]
            )
    assert frame["removal_effect_log_loss"].is_monotonic_increasing
    assert not frame["removal_effect_brier_score"].is_monotonic_increasing


def test_inspect_top_and_sort_by():
    X, y, val = binary()
    valuator = PumaValuator(TIGHT, ["log_loss", "brier_score"]).fit(X, y, **val)
    frame = valuator.inspect(top=7, sort_by="brier_score")
    order = np.argsort(valuator.removal_effect_[:, 1])
    assert frame["position"].tolist() == order[:7].tolist()
    assert len(valuator.inspect(top=0)) == 0
    with pytest.raises(ValueError, match="is not one of .*log_loss"):
        valuator.inspect(sort_by="accuracy")


# -- trust -----------------------------------------------------------------------------


def moderate():
    """Rows without leverage and labels without certainty: first order is enough."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((800, 4))
    y = (rng.uniform(size=800) < expit(X @ [0.6, -0.4, 0.2, 0.0])).astype(int)
    return parts(X, y, n=500)


@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
def test_check_influence(crossed, weighted):
    X, y, val = moderate()
    weight = uneven(500) if weighted else None
    val = {} if crossed else val
    valuator = PumaValuator(LogisticRegression(), cv=3, random_state=0)
    valuator.fit(X, y, weight, **val)
    check = valuator.check_influence(X, y, weight, n_rows=12, **val)
    assert check.pearson[0] > 0.99
    assert check.spearman[0] > 0.98
    assert check.slope[0] == pytest.approx(1.0, abs=0.1)
    order = np.argsort(valuator.removal_effect_[:, 0])
    assert {order[0], order[-1]} <= set(check.rows)
    assert len(check.rows) == 12
    frame = check.to_frame()
    assert frame.columns.tolist() == ["pearson", "spearman", "slope"]
    assert frame.index.tolist() == ["log_loss"]
    assert "12 rows removed" in str(check)
    assert "<table>" in check._repr_html_()


def test_check_influence_of_several_criteria_and_one_step():
    X, y, val = moderate()
    criteria = ["brier_score", LogLoss(by="class")]
    valuator = PumaValuator(criterion=criteria, effect="one_step").fit(X, y, **val)
    check = valuator.check_influence(X, y, n_rows=8, **val)
    assert check.criteria == tuple(valuator.criterion_names_)
    np.testing.assert_allclose(check.predicted, check.refitted, rtol=0.1, atol=1e-6)


def test_check_influence_with_groups_and_folds():
    X, y, _ = moderate()
    group = np.random.default_rng(1).choice(["a", "b"], 500)
    valuator = PumaValuator(
        LogisticRegression(), "demographic_parity", cv=2, random_state=0
    )
    valuator.fit(X, y, sensitive_features=group)
    check = valuator.check_influence(X, y, n_rows=8, sensitive_features=group)
    assert check.pearson[0] > 0.99


@pytest.mark.parametrize("wrong", ["order", "label", "weight", "fewer", "value"])
def test_check_influence_asks_for_the_rows_of_the_fit(wrong):
    X, y, val = binary()
    valuator = PumaValuator(TIGHT).fit(X, y, **val)
    weight, X, y = np.ones(80), X.copy(), y.copy()
    if wrong == "order":
        X, y = X[::-1], y[::-1]
    elif wrong == "label":
        y[5] = 1 - y[5]
    elif wrong == "weight":
        weight[5] = 2.0
    elif wrong == "fewer":
        X, y, weight = X[1:], y[1:], weight[1:]
    else:
        X[5, 0] += 1e-3
    with pytest.raises(ValueError, match="not those of the fit"):
        valuator.check_influence(X, y, weight, **val)


def test_check_influence_asks_for_the_rows_that_measured():
    X, y, val = binary()
    valuator = PumaValuator(TIGHT).fit(X, y, **val)
    other = {"X_val": val["X_val"][1:], "y_val": val["y_val"][1:]}
    weights = {**val, "sample_weight_val": uneven(40)}
    for wrong in (other, weights):
        with pytest.raises(ValueError, match="y_val .* not those of the fit"):
            valuator.check_influence(X, y, **wrong)
    with pytest.raises(ValueError, match="X_val and y_val missing"):
        valuator.check_influence(X, y)
    valuator = PumaValuator(TIGHT, cv=2).fit(X, y)
    with pytest.raises(ValueError, match="by cross-fitting: leave X_val"):
        valuator.check_influence(X, y, **val)


def test_leverage_and_self_influence():
    X, y, val = regression()
    valuator = PumaValuator(Ridge(), effect="one_step").fit(X, y, **val)
    one = np.column_stack([X, np.ones(80)])
    inverse = np.linalg.inv(one.T @ one + np.diag([1.0] * 4 + [0.0]))
    h = np.einsum("ij,jk,ik->i", one, inverse, one)
    np.testing.assert_allclose(valuator.leverage(X, y), h, rtol=1e-10)
    np.testing.assert_allclose(valuator.leverage_, h, rtol=1e-10)
    error = valuator.estimator_.predict(X) - y
    np.testing.assert_allclose(
        valuator.self_influence(X, y), 80 * h * error**2, rtol=1e-8
    )


def caught(category, function):
    """Warnings of a category, with the file of the line that they point to."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        function()
    found = [one for one in record if issubclass(one.category, category)]
    assert all(one.filename == __file__ for one in found)
    return [str(one.message) for one in found]


def test_a_network_that_is_not_at_its_optimum_warns():
    X, y, val = binary()
    network = MLPClassifier((4,), max_iter=5, random_state=0)
    valuator = PumaValuator(network)
    (message,) = caught(StationarityWarning, lambda: valuator.fit(X, y, **val))
    assert "train longer" in message
    assert valuator.stationarity_ > 0.1


def test_a_loose_tolerance_is_polished_away():
    X, y = data.digits(3, 300)
    loose = LogisticRegression(tol=1e-2)
    X, y, val = parts(X, y, 200)
    valuator = PumaValuator(loose)
    assert caught(StationarityWarning, lambda: valuator.fit(X, y, **val)) == []
    assert valuator.stationarity_ > 0.1
    tight = PumaValuator(TIGHT).fit(X, y, **val)
    np.testing.assert_allclose(
        valuator.psi_, tight.psi_, atol=1e-5 * np.abs(tight.psi_).max()
    )
    # The fitted model is not moved by the polish.
    np.testing.assert_array_equal(
        valuator.estimator_.coef_, clone(loose).fit(X, y).coef_
    )
    raw = PumaValuator(loose, polish=False)
    (message,) = caught(StationarityWarning, lambda: raw.fit(X, y, **val))
    assert "refit with a smaller tol" in message
    assert np.corrcoef(raw.psi_[:, 0], tight.psi_[:, 0])[0, 1] < 0.99


def test_polish_ends_at_the_optimum_whatever_the_curvature_of_psi():
    X, y, val = parts(*data.breast_cancer(), n=400)
    psi = {}
    for model in (LogisticRegression(), LogisticRegression(**data.TIGHT)):
        valuator = PumaValuator(model, curvature="fisher").fit(X, y, **val)
        psi[model.solver] = valuator.psi_
    np.testing.assert_allclose(psi["lbfgs"], psi["newton-cholesky"], rtol=1e-6)


@pytest.mark.parametrize("tol", [1e-4, 1e-2])
def test_other_weights_are_not_a_loose_tolerance(tol):
    X, y, val = parts(*data.breast_cancer(), n=400)
    weight = uneven(400)
    model = FrozenEstimator(LogisticRegression(tol=tol).fit(X, y, weight))
    fit = PumaValuator(model).fit
    loose = caught(StationarityWarning, lambda: fit(X, y, weight, **val))
    assert len(loose) == (tol == 1e-2)
    assert all("its solver stopped early" in one for one in loose)
    (wrong,) = caught(StationarityWarning, lambda: fit(X, y, **val))
    # So loose a fit is as far from its optimum as from that of other weights.
    assert ("rows or sample_weight that the model" in wrong) == (tol < 1e-2)


def test_other_rows_are_told():
    X, y, val = parts(*data.breast_cancer(), n=400)
    model = FrozenEstimator(LogisticRegression().fit(X, y))
    fit = PumaValuator(model).fit
    assert caught(StationarityWarning, lambda: fit(X, y, **val)) == []
    (wrong,) = caught(StationarityWarning, lambda: fit(X[100:], y[100:], **val))
    assert "rows or sample_weight" in wrong


def test_leverage_warns_under_the_linear_effect_only():
    X, y, val = parts(*data.breast_cancer(), n=400)
    # Hardly any penalty: single rows decide where the boundary lies.
    valuator = PumaValuator(LogisticRegression(C=1e4, **data.TIGHT))
    (message,) = caught(LeverageWarning, lambda: valuator.fit(X, y, **val))
    assert "effect='one_step'" in message
    valuator.set_params(effect="one_step")
    assert caught(LeverageWarning, lambda: valuator.fit(X, y, **val)) == []
    assert valuator.leverage_.max() > 0.5


# -- pickles and routing ---------------------------------------------------------------


@pytest.mark.parametrize("crossed", [False, True], ids=["X_val", "cv"])
@pytest.mark.parametrize(("estimator", "problem"), PROBLEMS)
def test_pickle_keeps_everything_but_the_rows(estimator, problem, crossed):
    X, y, val = problem()
    own = {} if crossed else val
    valuator = PumaValuator(estimator, effect="one_step", cv=2, random_state=0)
    valuator.fit(X, y, **own)
    stored = pickle.dumps(valuator)
    again = pickle.loads(stored)
    for name in ("psi_", "removal_effect_", "leverage_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(valuator, name))
    np.testing.assert_array_equal(again.transform(X), valuator.transform(X))
    np.testing.assert_array_equal(again.leverage(X, y), valuator.leverage(X, y))
    tables = [X, val["X_val"]]
    assert not any(row.tobytes() in stored for table in tables for row in table)
    assert not any(row.tobytes() in stored for table in tables for row in table.T)
    codes = np.unique(y, return_inverse=True)[1] if is_classifier(estimator) else y
    for targets in (y, codes, codes.astype(np.int64), codes.astype(np.float64)):
        assert targets[:30].tobytes() not in stored


def test_weights_of_a_pipeline_with_routing():
    X, y, _ = binary()
    weight = uneven(80)
    expected = PumaValuator(
        make_pipeline(StandardScaler(), TIGHT), cv=2, random_state=0
    ).fit(X, y, weight)
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            clone(TIGHT).set_fit_request(sample_weight=True),
        )
        valuator = PumaValuator(model, cv=2, random_state=0).fit(X, y, weight)
    np.testing.assert_array_equal(valuator.psi_, expected.psi_)


@pytest.mark.parametrize("curvature", ["gauss_newton", "hessian"])
def test_one_step_effects_use_the_asked_curvature_and_damping(curvature):
    X, y = data.blobs(60, k=3)
    net = MLPClassifier((4,), activation="tanh", solver="lbfgs", alpha=0.5)
    net.set_params(random_state=0, max_iter=2000, tol=1e-9).fit(X, y)
    effects = []
    for damping in (0.02, 1.0):
        valuator = PumaValuator(
            FrozenEstimator(net),
            "log_loss",
            effect="one_step",
            curvature=curvature,
            solver="eigh",
            damping=damping,
        ).fit(X, y, X_val=X[::-1] + 0.1, y_val=y[::-1])
        linear = valuator.psi_[:, 0] / 60
        # Strong damping leaves no leverage: one step is then the linear effect.
        effects.append((valuator.removal_effect_[:, 0], linear))
    assert not np.allclose(effects[0][0], effects[1][0], rtol=0.1)
    one_step, linear = effects[1]
    assert np.corrcoef(one_step, linear)[0, 1] > 0.97


def test_criteria_of_one_kind_are_told_apart():
    X, y = data.blobs(90)
    criteria = [CalibrationError(n_bins=5), CalibrationError(binning="soft")]
    valuator = PumaValuator(criterion=criteria, random_state=0).fit(X, y)
    assert valuator.criterion_names_[0] != valuator.criterion_names_[1]
    assert "soft" in valuator.criterion_names_[1]
    with pytest.raises(ValueError, match="repeated names"):
        PumaValuator(criterion=["brier_score", "brier_score"]).fit(X, y)


def test_stationarity_does_not_depend_on_the_solver():
    X, y = data.blobs(120)
    net = MLPClassifier((5,), activation="tanh", solver="lbfgs", max_iter=50)
    net.set_params(random_state=0).fit(X, y)
    found = []
    for solver in ("cholesky", "woodbury", "cg"):
        valuator = PumaValuator(
            FrozenEstimator(net), "brier_score", solver=solver, damping=0.01
        )
        found.append(valuator.fit(X, y, X_val=X, y_val=y).stationarity_)
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert found[2] == pytest.approx(found[0], rel=0.5)


@pytest.mark.parametrize("C", [1.0, np.inf])
def test_a_damped_valuator_of_many_classes_does_not_factor(monkeypatch, C):
    """Where "auto" solves psi by products, leverage is not paid for either."""
    monkeypatch.setattr("skpuma.valuing.MATRIX_WORK", 0.0)
    X, y = data.blobs(90, k=3)
    X_val, y_val = data.blobs(60, k=3, seed=1)
    val = {"X_val": X_val, "y_val": y_val}
    model = FrozenEstimator(LogisticRegression(C=C).fit(X, y))
    valuator = PumaValuator(model, "log_loss", damping=1e-3, polish=False)
    valuator.fit(X, y, **val)
    assert valuator.curvature_info_["solver"] == "cg"
    with pytest.raises(SolverError, match="solver='cholesky'"):
        valuator.leverage(X, y)
    explicit = clone(valuator).set_params(solver="cholesky").fit(X, y, **val)
    assert explicit.leverage(X, y).shape == (90,)
    np.testing.assert_allclose(valuator.psi_, explicit.psi_, rtol=1e-3, atol=1e-4)
