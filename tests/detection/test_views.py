"""Views: class probabilities by models that have not seen a row, against refits."""

import os
from dataclasses import replace

import numpy as np
import pytest
from joblib import parallel_config
from scipy import sparse
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.neural_network import MLPClassifier

from skpuma import scores
from skpuma.curvature import curvature_of
from skpuma.detection import VIEWS, LabelledRows
from skpuma.detection._model import ModelView, folds_of
from skpuma.models import adapt
from skpuma.solvers import factor
from skpuma.utils._registry import load
from tests.contracts import problems
from tests.data import TIGHT, blobs
from tests.detection.tables import table_of

# Whether the kernels are loops of Python.
PLAIN = os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"
NETWORK = MLPClassifier(3, solver="lbfgs", max_iter=10, random_state=0)
MODELS = {"convex": LogisticRegression(**TIGHT), "network": NETWORK}
# Views, and the model that the view of that name looks with.
CASES = [
    ("extra_trees", "convex"),
    ("forest", "convex"),
    ("model", "convex"),
    ("model", "network"),
    ("neighbors", "convex"),
]
each_view = pytest.mark.parametrize(("name", "model"), CASES)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr("skpuma.detection._trees.N_TREES", 30)


def problem(n=80, d=3, k=3, seed=0):
    """A table of overlapping classes, and uneven positive weights of its rows."""
    X, code = blobs(n, d, k, seed)
    weight = np.random.default_rng(seed + 1).uniform(0.2, 2.0, n)
    return table_of(X, code, n_classes=k), weight


def view_of(name, model, table, *, cv=None, **more):
    estimator = MODELS[model].fit(table.X, table.code)
    cv = KFold(3) if cv is None else cv
    return load(VIEWS[name])(
        table, model=adapt(estimator), cv=cv, random_state=0, **more
    )


def relabelled(table, row):
    code = table.code.copy()
    code[row] = (code[row] + 1) % table.n_classes
    return replace(table, code=code)


def test_every_view_is_tested_here():
    assert {name for name, _ in CASES} == set(VIEWS)


# -- all views -------------------------------------------------------------------------


@each_view
@pytest.mark.parametrize("k", [2, 3])
def test_rows_are_distributions(name, model, k):
    table, weight = problem(k=k)
    answers = view_of(name, model, table).probabilities(weight)
    assert isinstance(answers, list)
    assert len(answers) == (2 if name == "neighbors" else 1)
    for P in answers:
        assert P.shape == (80, k)
        assert P.min() >= 0.0
        np.testing.assert_allclose(P.sum(axis=1), 1.0, rtol=1e-12)
    # The classes overlap, and are not beyond telling.
    right = np.mean([P[np.arange(80), table.code].mean() for P in answers])
    assert 1.0 / k + 0.05 < right < 0.95


@each_view
def test_a_row_does_not_vouch_for_its_own_label(name, model):
    table, weight = problem()
    view = view_of(name, model, table)
    before = view.probabilities(weight)
    for row in (0, 79):
        changed = replace_table(view, relabelled(table, row))
        for old, new in zip(before, changed.probabilities(weight), strict=True):
            others = np.abs(np.delete(new - old, row, axis=0))
            assert others.max() > 1e-4
            if (name, model) == ("model", "convex"):
                # One Newton step: what is left is of second order (measured: 0.08).
                assert np.abs(new[row] - old[row]).max() < 0.2 * others.max()
            else:
                np.testing.assert_allclose(new[row], old[row], rtol=1e-12)


def replace_table(view, table):
    """The same view, of the same fitted model, over another table."""
    if isinstance(view, ModelView):
        return ModelView(table, model=view.model, cv=KFold(3), random_state=0)
    return type(view)(table, random_state=0)


@each_view
def test_other_rows_count_by_their_weights(name, model):
    # Class 2 of little weight is hardly expected anywhere.
    table, weight = problem()
    view = view_of(name, model, table)
    light = np.where(table.code == 2, 1e-3 * weight, weight)
    before = np.mean([P[:, 2].mean() for P in view.probabilities(weight)])
    after = np.mean([P[:, 2].mean() for P in view.probabilities(light)])
    assert before > 0.2
    # A network of ten steps has not come that far.
    assert after < (0.8 * before if model == "network" else 0.2 * before)


@pytest.mark.parametrize("name", ["extra_trees", "forest", "neighbors"])
def test_the_unit_of_the_weights_does_not_matter(name):
    table, weight = problem()
    view = view_of(name, "convex", table)
    for one, other in zip(
        view.probabilities(weight), view.probabilities(1024.0 * weight), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@each_view
def test_asking_twice_gives_the_same(name, model):
    table, weight = problem()
    view = view_of(name, model, table)
    first = view.probabilities(weight)
    view.probabilities(np.ones(len(weight)))
    for one, other in zip(first, view.probabilities(weight), strict=True):
        # A convex model starts from where it was left.
        np.testing.assert_allclose(one, other, atol=1e-6 if model == "convex" else 0.0)


@pytest.mark.parametrize("name", sorted(VIEWS))
@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csr_array])
def test_sparse_rows(name, container):
    table, weight = problem(40 if PLAIN else 80)
    X = np.where(np.random.default_rng(3).random(table.X.shape) < 0.3, 0.0, table.X)
    dense = view_of(name, "convex", replace(table, X=X))
    other = replace_table(dense, replace(table, X=container(X)))
    for one, two in zip(
        dense.probabilities(weight), other.probabilities(weight), strict=True
    ):
        np.testing.assert_allclose(one, two, atol=1e-8)


@each_view
def test_results_do_not_depend_on_n_jobs(name, model):
    table, weight = problem()
    alone = view_of(name, model, table, n_jobs=1).probabilities(weight)
    with parallel_config("threading"):
        both = view_of(name, model, table, n_jobs=2).probabilities(weight)
    for one, other in zip(alone, both, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


# -- neighbours ------------------------------------------------------------------------


@pytest.mark.parametrize("n", [8, 30, 60])
def test_neighbours_are_counted_one_by_one(n):
    table, weight = problem(n)
    table = replace(table, X=table.X * [1.0, 100.0, 0.01])
    scaled = table.X / table.X.std(axis=0)
    answers = view_of("neighbors", "convex", table).probabilities(weight)
    numbers = [k for k in (10, 40) if k < n] + ([n - 1] if n <= 40 else [])
    assert len(answers) == len(numbers)
    for number, P in zip(numbers, answers, strict=True):
        for i in range(n):
            others = [j for j in range(n) if j != i]
            nearest = sorted(
                others, key=lambda j: np.linalg.norm(scaled[i] - scaled[j])
            )
            votes = np.zeros(3)
            for j in nearest[:number]:
                votes[table.code[j]] += weight[j]
            for j in others:
                share = weight[j] / weight[others].sum()
                votes[table.code[j]] += weight.mean() * share
            expected = votes / votes.sum()
            np.testing.assert_allclose(P[i], expected, rtol=1e-10, atol=1e-300)


# -- trees -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "leaf"),
    [("forest", RandomForestClassifier, 5), ("extra_trees", ExtraTreesClassifier, 3)],
)
def test_trees_that_were_grown_without_the_row(name, kind, leaf):
    table, weight = problem()
    grown = kind(30, min_samples_leaf=leaf, bootstrap=True, random_state=0)
    grown.fit(table.X, table.code, sample_weight=weight)
    total, count = np.zeros((80, 3)), np.zeros(80)
    for tree, used in zip(grown, grown.estimators_samples_, strict=True):
        unseen = np.setdiff1d(np.arange(80), used)
        total[unseen] += tree.predict_proba(table.X[unseen])
        count[unseen] += 1
    (P,) = view_of(name, "convex", table).probabilities(weight)
    np.testing.assert_allclose(P, total / count[:, None], rtol=1e-10)


def test_rows_of_every_tree_get_the_shares_of_the_others(monkeypatch):
    monkeypatch.setattr("skpuma.detection._trees.N_TREES", 1)
    table, weight = problem()
    (tree,) = (
        RandomForestClassifier(1, min_samples_leaf=5, bootstrap=True, random_state=0)
        .fit(table.X, table.code, weight)
        .estimators_samples_
    )
    (P,) = view_of("forest", "convex", table).probabilities(weight)
    assert len(np.unique(tree)) > 20
    for i in np.unique(tree):
        others = np.arange(80) != i
        expected = np.bincount(table.code[others], weight[others], 3)
        np.testing.assert_allclose(P[i], expected / expected.sum(), rtol=1e-12)


# -- a convex model --------------------------------------------------------------------


def factored(objective):
    return factor(curvature_of(objective))


def without_row(estimator, X, y, weight, i):
    """Raw outputs of row i by a refit without it, centred over the classes."""
    others = np.arange(len(y)) != i
    estimator.fit(X[others], y[others], sample_weight=weight[others])
    return centred(estimator.decision_function(X[i : i + 1]))[0]


def centred(z):
    z = z.reshape(len(z), -1)
    return z if z.shape[1] == 1 else z - z.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_closed_form_is_a_refit_without_the_row(task, weighted):
    n = 120
    X = problems.rows(n, 4)
    y = problems.TARGETS[task](X)
    weight = np.random.default_rng(1).uniform(0.2, 2.0, n) if weighted else np.ones(n)
    estimator = LogisticRegression(**TIGHT).fit(X, y, sample_weight=weight)
    objective = problems.objective_of(estimator, X, y, weight)
    left_out = centred(scores.left_out_raw(objective, factored(objective)))
    start = centred(objective.raw)
    refit = np.stack([without_row(estimator, X, y, weight, i) for i in range(n)])
    ours, true = (left_out - start).ravel(), (refit - start).ravel()
    # Measured: correlation above 0.9998, slope 0.98 to 0.99. What is left is of second
    # order: the slope goes to 1 as rows are added.
    assert np.corrcoef(ours, true)[0, 1] > 0.999
    assert 0.95 < np.polyfit(true, ours, 1)[0] < 1.05


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_closed_form_is_one_newton_step_on_the_other_rows(task):
    n = 30
    X, weight = problems.rows(n, 3), problems.weights(n) + 0.1
    y = problems.TARGETS[task](X)
    estimator = LogisticRegression(**TIGHT).fit(X, y, sample_weight=weight)
    objective = problems.objective_of(estimator, X, y, weight)
    left_out = scores.left_out_raw(objective, factored(objective))
    for i in range(n):
        rest = objective.reweighted(np.where(np.arange(n) == i, 0.0, weight))
        # All rows of a softmax may shift: the shortest step does not.
        step = np.linalg.pinv(hessian(rest), rcond=1e-6, hermitian=True)
        moved = rest.at(rest.model.theta - step @ rest.gradient())
        np.testing.assert_allclose(
            centred(left_out[i : i + 1]), centred(moved.raw[i : i + 1]), atol=1e-5
        )


def hessian(objective):
    """By central differences of the gradient."""
    theta, h = objective.model.theta, 1e-5
    columns = [
        objective.at(theta + e).gradient() - objective.at(theta - e).gradient()
        for e in h * np.eye(len(theta))
    ]
    H = np.stack(columns) / (2.0 * h)
    return 0.5 * (H + H.T)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("k", [2, 3])
def test_model_view_is_a_refit_under_the_weights_without_the_row(k, balanced):
    table, weight = problem(120, 4, k)
    # Classes of 20 and of 60 or 40 rows.
    few = np.flatnonzero((table.code > 0) | (np.arange(120) < 20 * k))
    table, weight, n = table_of(table.X[few], table.code[few]), weight[few], len(few)
    options = dict(C=0.1, class_weight="balanced" if balanced else None, **TIGHT)
    fitted = LogisticRegression(**options).fit(table.X, table.code)
    # The view finds its way from the fit without weights.
    view = ModelView(table, model=adapt(fitted))
    assert view.closed_form
    (P,) = view.probabilities(weight)
    by_class = n / (k * np.bincount(table.code)) if balanced else np.ones(k)
    weight = weight * by_class[table.code]
    refit = LogisticRegression(C=0.1, **TIGHT)
    start = refit.fit(table.X, table.code, weight).predict_proba(table.X)
    without = np.empty_like(P)
    for i in range(n):
        rest = np.arange(n) != i
        refit.fit(table.X[rest], table.code[rest], weight[rest])
        without[i] = refit.predict_proba(table.X[i : i + 1])
    # What the class weights add to the odds of a row is taken away again.
    P = P * by_class
    ours, true = (centred(np.log(Q) - np.log(start)).ravel() for Q in (P, without))
    # Measured: correlation above 0.9995, slope 0.971 to 0.986.
    assert np.corrcoef(ours, true)[0, 1] > 0.999
    assert 0.95 < np.polyfit(true, ours, 1)[0] < 1.05


@pytest.mark.parametrize("way", ["closed form", "folds"])
def test_class_weights_do_not_change_the_sizes_of_the_classes(way, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 3))
    y = (X[:, 0] + 2.0 * rng.standard_normal(600) > 2.5).astype(int)
    model = LogisticRegression(class_weight="balanced", C=0.1).fit(X, y)
    table = table_of(X, y)
    if way == "folds":
        monkeypatch.setattr("skpuma.detection._model.EXPLICIT_LIMIT", 0)
    view = ModelView(table, model=adapt(model))
    assert view.closed_form == (way == "closed form")
    (P,) = view.probabilities(np.ones(600))
    assert abs(P[:, 1].mean() - y.mean()) < 0.02
    assert model.predict_proba(X)[:, 1].mean() > 2.0 * y.mean()


def test_the_fitted_model_is_not_changed():
    table, weight = problem()
    view = view_of("model", "convex", table)
    before = view.model.theta.copy()
    view.probabilities(weight)
    np.testing.assert_array_equal(view.model.theta, before)
    assert np.abs(view.objective.model.theta - before).max() > 1e-3


# -- other models ----------------------------------------------------------------------


def out_of_fold(estimator, table, weight, splits):
    P = np.zeros((len(table), table.n_classes))
    for train, test in splits:
        fitted = estimator.fit(
            table.X[train], table.code[train], sample_weight=weight[train]
        )
        P[np.ix_(test, fitted.classes_)] = fitted.predict_proba(table.X[test])
    return P


@pytest.mark.parametrize("k", [2, 3])
def test_networks_are_fitted_on_folds(k):
    table, weight = problem(k=k)
    splits = list(KFold(3).split(table.X))
    view = view_of("model", "network", table, cv=splits)
    (P,) = view.probabilities(weight)
    expected = out_of_fold(NETWORK, table, weight, splits)
    np.testing.assert_allclose(P, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("tight", [True, False])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("C", [0.1, 10.0])
def test_large_models_of_folds_are_refits_under_the_weights(C, k, tight, monkeypatch):
    monkeypatch.setattr("skpuma.detection._model.EXPLICIT_LIMIT", 3)
    if tight:
        for name, value in [("MAX_STEPS", 30), ("FORCING", 1e-6), ("SHORT", 1e-15)]:
            monkeypatch.setattr(f"skpuma.detection._folds.{name}", value)
    table, weight = problem(200, k=k)
    splits = list(KFold(3).split(table.X))
    model = LogisticRegression(C=C, **TIGHT)
    fitted = adapt(model.fit(table.X, table.code))
    view = ModelView(table, model=fitted, cv=splits)
    assert not view.closed_form
    expected = out_of_fold(model, table, weight, splits)
    (P,) = view.probabilities(weight)
    if tight:
        np.testing.assert_allclose(P, expected, atol=1e-6)
        return
    # Two loose Newton steps from the fit on all rows, without the weights.
    start = fitted.loss.predict(fitted.raw(table.X))
    ours, true = ((np.log(Q) - np.log(start)).ravel() for Q in (P, expected))
    # Measured: correlation above 0.997, slope 0.83 to 1.00.
    assert np.corrcoef(ours, true)[0, 1] > 0.99
    assert 0.8 < np.polyfit(true, ours, 1)[0] < 1.1
    # The next look starts from there.
    (again,) = view.probabilities(weight)
    assert np.abs(again - expected).max() < np.abs(P - expected).max()


@pytest.mark.parametrize("k", [2, 3])
def test_many_rows_are_followed_with_the_same_factor(k, monkeypatch):
    table, weight = problem(300, k=k)
    looks = {}
    for limit in (1, 10**6):
        monkeypatch.setattr("skpuma.detection._model.MANY_ROWS", limit)
        view = view_of("model", "convex", table)
        view.probabilities(np.ones(300))
        (looks[limit],) = view.probabilities(weight)
    # The factor is of a look before, under other weights; measured 0.0017.
    np.testing.assert_allclose(looks[1], looks[10**6], atol=3e-3)


def test_classes_that_the_other_rows_do_not_have():
    table, weight = problem()
    # The only row of class 2 is left out in the first fold; in the last one only
    # class 1 is left.
    code = np.where(np.arange(80) < 40, 0, 1)
    code[3] = 2
    table = replace(table, code=code)
    view = view_of("model", "network", table, cv=[halves(80), halves(80)[::-1]])
    (P,) = view.probabilities(weight)
    assert (P[:40] == [0.0, 1.0, 0.0]).all()
    assert (P[40:, 1] == 0.0).all()
    assert (P[40:, 2] > 0.0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1.0, rtol=1e-12)


def halves(n):
    return np.arange(n // 2, n), np.arange(n // 2)


# -- folds -----------------------------------------------------------------------------


@pytest.mark.parametrize("cv", [2, 5, np.int64(5)])
def test_a_number_means_stratified_folds_of_the_distinct_rows(cv):
    table, _ = problem()
    fold = folds_of(cv, table, 0)
    assert set(fold) == set(range(cv))
    for c in range(3):
        of_class = np.bincount(fold[table.code == c], minlength=cv)
        assert np.ptp(of_class) <= 1
    assert (folds_of(cv, table, 0) == fold).all()
    assert (folds_of(cv, table, 1) != fold).any()


def test_no_more_folds_than_the_largest_class_has_rows():
    table = table_of(np.arange(5.0)[:, None], [0, 0, 0, 1, 2])
    assert set(folds_of(10, table, 0)) == {0, 1, 2}


def with_copies():
    """Training rows a, b, a (again), c, d of weight 0, e; validation rows v, w, b."""
    X = np.array([0.0, 1.0, 0.0, 2.0, 3.0, 4.0])[:, None]
    training = (X, np.array([0, 1, 0, 0, 1, 1]), np.array([1.0, 1, 1, 1, 0, 1]))
    X_val = np.array([7.0, 8.0, 1.0])[:, None]
    return LabelledRows.merge(training, (X_val, np.array([0, 1, 1]), np.ones(3)), 2)


def test_a_splitter_is_of_the_training_rows_and_copies_go_together():
    table = with_copies()
    fold = folds_of(KFold(3), table, 0)
    # {a, b}, {a, c}, {d, e}: the copy of a goes with the first one.
    expected = np.array([0, 0, 0, 1, 2])
    np.testing.assert_array_equal(fold[table.place[[0, 1, 2, 3, 5]]], expected)
    # Validation rows are dealt out; the one that is b stays with b.
    of_validation = fold[table.place_val]
    assert sorted(of_validation[:2]) == [0, 1]
    assert of_validation[2] == 0


def test_a_row_that_is_left_out_twice_goes_to_the_first_of_its_folds():
    table, _ = problem(6)
    splits = [([3, 4, 5], [0, 1, 2]), ([0, 1], [2, 3, 4, 5])]
    assert folds_of(splits, table, 0).tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    "cv",
    [
        ShuffleSplit(2, test_size=0.2, random_state=0),
        [halves(80)],
        [(np.arange(1), np.arange(80))],
    ],
    ids=["rows never left out", "half of the rows", "one fold"],
)
def test_splits_that_do_not_leave_out_every_row(cv):
    table, _ = problem()
    with pytest.raises(ValueError, match="leave out every row once, in at least two"):
        folds_of(cv, table, 0)


@pytest.mark.parametrize(("cv", "code"), [(1, [0, 0, 1]), (5, [0, 1, 2])])
def test_too_few_rows_for_folds(cv, code):
    table = table_of(np.arange(3.0)[:, None], code)
    with pytest.raises(ValueError, match=f"needs cv >= 2 .* cv={cv}, n_samples=3"):
        folds_of(cv, table, 0)
