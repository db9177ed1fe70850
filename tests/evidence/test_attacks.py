"""Membership inference: against formulas, and on models that do and do not remember."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skpuma.evidence import membership_inference
from skpuma.evidence._shadows import halves
from tests import data

METHODS = ["loss", "shadow", "lira"]
QUICK = {"n_shadows": 8, "n_bootstrap": 100, "random_state": 0}
each = pytest.mark.parametrize("method", METHODS)


def problem(n=150, d=100, k=2, seed=2):
    """Rows of the fit, and as many fresh ones: a model of them cannot but overfit."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2 * n, d))
    y = (X[:, :k] + 1.5 * rng.standard_normal((2 * n, k))).argmax(axis=1)
    return X[:n], y[:n], X[n:], y[n:]


def regression(n=120, d=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2 * n, d))
    y = X[:, 0] + rng.standard_normal(2 * n)
    return X[:n], y[:n], X[n:], y[n:]


OVERFIT = LogisticRegression(C=100.0, max_iter=2000)
ASKED = np.arange(60)


# -- loss threshold --------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_loss_attack_by_the_formula(k):
    X, y, X_fresh, y_fresh = problem(k=k)
    model = clone(OVERFIT).fit(X, y)
    found = membership_inference(model, X, y, ASKED, X_fresh, y_fresh, **QUICK)
    z = model.decision_function(np.vstack([X, X_fresh]))
    z = np.column_stack([0 * z, z]) if k == 2 else z
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    own, fresh = np.split(-log_p[np.arange(300), np.append(y, y_fresh)], 2)
    np.testing.assert_allclose(found.members, -own[:60], atol=1e-14)
    np.testing.assert_allclose(found.fresh, -fresh, atol=1e-14)
    # Yeom's adversary: a member has at most the mean loss of the training rows.
    mean = own[60:].mean()
    advantage = np.mean(own[:60] <= mean) - np.mean(fresh <= mean)
    assert found.threshold == pytest.approx(-mean)
    assert found.threshold_advantage.value == pytest.approx(advantage)
    truth = np.repeat([1, 0], [60, len(fresh)])
    auc = roc_auc_score(truth, -np.append(own[:60], fresh))
    assert found.auc.value == pytest.approx(auc, abs=1e-3)


def test_loss_of_a_regression_is_its_squared_error():
    X, y, X_fresh, y_fresh = regression()
    for columns in (1, 2):
        targets = [np.column_stack([one] * columns) for one in (y, y_fresh)]
        model = Ridge().fit(X, targets[0])
        found = membership_inference(
            model, X, targets[0], ASKED, X_fresh, targets[1], **QUICK
        )
        error = np.square(Ridge().fit(X, y).predict(X[:60]) - y[:60])
        np.testing.assert_allclose(found.members, -columns * error)


def test_decision_values_stand_in_for_probabilities():
    X, y, X_fresh, y_fresh = problem()
    model = LinearSVC().fit(X, y)
    found = membership_inference(model, X, y, ASKED, X_fresh, y_fresh, **QUICK)
    margin = np.where(y == 1, 2.0, -2.0) * model.decision_function(X)
    np.testing.assert_allclose(found.members, margin[:60])
    X, y, X_fresh, y_fresh = problem(k=3)
    model = LinearSVC().fit(X, y)
    found = membership_inference(model, X, y, ASKED, X_fresh, y_fresh, **QUICK)
    values = model.decision_function(X[:60])
    pairs = zip(values, y[:60], strict=True)
    expected = [row[c] - np.delete(row, c).max() for row, c in pairs]
    np.testing.assert_allclose(found.members, expected)


def test_loss_of_a_sure_model_is_not_rounded_away():
    X = np.array([[-60.0], [-50.0], [50.0], [60.0]])
    y = np.array([0, 0, 1, 1])
    model = LogisticRegression().fit(X, y)
    model.coef_[:], model.intercept_[:] = 1.0, 0.0
    assert model.predict_proba(X)[3, 1] == model.predict_proba(X)[2, 1] == 1.0
    found = membership_inference(model, X, y, [0, 1, 3], X[2:3], y[2:3], **QUICK)
    expected = -np.exp([-60.0, -50.0, -60.0])
    np.testing.assert_allclose(found.members, expected, rtol=1e-10)


def test_a_label_that_the_model_does_not_know_is_a_great_loss():
    X, y, X_fresh, y_fresh = problem(k=3)
    model = clone(OVERFIT).fit(X[y < 2], y[y < 2])
    both = {"all": clone(OVERFIT).fit(X, y), "two": model}
    found = membership_inference(both, X, y, y == 2, X_fresh, y_fresh, **QUICK)
    np.testing.assert_allclose(found["two"].members, np.log(1e-45))


@pytest.mark.parametrize("other", [lambda y: y.astype(str), lambda y: y + 70])
def test_labels_that_no_model_knows_are_refused(other):
    X, y, X_fresh, y_fresh = problem(k=3)
    model = clone(OVERFIT).fit(X, y)
    with pytest.raises(ValueError, match="y_fresh has labels that the model does not"):
        membership_inference(model, X, y, ASKED, X_fresh, other(y_fresh), **QUICK)
    with pytest.raises(ValueError, match="y has labels that the model does not know"):
        membership_inference(model, X, other(y), ASKED, X_fresh, y_fresh, **QUICK)


# -- who remembers, and who does not ---------------------------------------------------


@each
@pytest.mark.parametrize(
    "estimator", [OVERFIT, DecisionTreeClassifier(random_state=0), LinearSVC(C=10.0)]
)
def test_members_are_told_from_fresh_rows(estimator, method):
    X, y, X_fresh, y_fresh = problem()
    trained = clone(estimator).fit(X, y)
    without = clone(estimator).fit(X[60:], y[60:])
    found = membership_inference(
        {"before": trained, "retrained": without},
        X,
        y,
        ASKED,
        X_fresh,
        y_fresh,
        method=method,
        **QUICK,
    )
    # Measured: 0.64 to 0.79; by a likelihood ratio 0.77 to 0.79.
    assert found["before"].auc.low > 0.55
    assert found["before"].auc.value > (0.7 if method == "lira" else 0.6)
    # Not zero: the rows are like the fresh ones to a model that never saw either.
    assert found["retrained"].auc.low < 0.5 < found["retrained"].auc.high


@each
def test_members_of_a_regression_are_told_from_fresh_rows(method):
    X, y, X_fresh, y_fresh = regression()
    found = membership_inference(
        {
            "before": LinearRegression().fit(X, y),
            "retrained": LinearRegression().fit(X[30:], y[30:]),
        },
        X,
        y,
        range(30),
        X_fresh,
        y_fresh,
        method=method,
        **QUICK,
    )
    assert found["before"].auc.low > 0.6
    assert found["retrained"].auc.low < 0.5 < found["retrained"].auc.high


def test_offline_attack_never_trains_on_the_rows_in_question():
    X, y, X_fresh, y_fresh = problem()
    seen = []

    class Spy(GaussianNB):
        def fit(self, X, y):
            seen.append(X)
            return super().fit(X, y)

    model = Spy().fit(X, y)
    question = (model, X, y, ASKED, X_fresh, y_fresh)
    for offline in (True, False):
        seen.clear()
        found = membership_inference(*question, method="lira", offline=offline, **QUICK)
        trained_on = np.concatenate(seen)[:, 0]
        asked = np.isin(X[ASKED, 0], trained_on)
        fresh = np.isin(X_fresh[:, 0], trained_on)
        assert asked.all() == fresh.all() == (not offline)
        assert asked.any() == fresh.any() == (not offline)
        assert (found.threshold_advantage is None) == offline
        # Half of the shadow models know a row.
        known = X[-1, 0] == trained_on
        assert known.sum() == QUICK["n_shadows"] / 2


def test_ratio_is_that_of_the_shadow_models_one_by_one():
    X, y, X_fresh, y_fresh = problem(40, 5)
    fitted = []

    class Spy(LogisticRegression):
        def fit(self, X, y):
            super().fit(X, y)
            fitted.append((self, X))
            return self

    model = LogisticRegression().fit(X, y)
    found = membership_inference(
        model,
        X,
        y,
        [3, 5],
        X_fresh,
        y_fresh,
        method="lira",
        shadow_estimator=Spy(),
        fix_variance=False,
        **QUICK,
    )
    for position, row in enumerate((3, 5)):
        log_odds = {True: [], False: []}
        for shadow, rows in fitted:
            z = shadow.decision_function(X[[row]])[0] * (1 if y[row] else -1)
            log_odds[X[row, 0] in rows[:, 0]].append(z)
        z = model.decision_function(X[[row]])[0] * (1 if y[row] else -1)
        logpdf = {
            inside: stats.norm.logpdf(z, np.median(one), np.std(one, ddof=1))
            for inside, one in log_odds.items()
        }
        expected = logpdf[True] - logpdf[False]
        assert found.members[position] == pytest.approx(expected)


# -- shadow models ---------------------------------------------------------------------


@pytest.mark.parametrize("n_shadows", [2, 4, 5])
def test_halves_share_the_rows_and_keep_the_classes(n_shadows):
    strata = np.repeat([0, 1, 2], [40, 7, 2])
    inside = halves(n_shadows, strata, np.random.RandomState(0))
    np.testing.assert_array_equal(inside[0], ~inside[1])
    assert abs(int(inside[0].sum()) - int(inside[1].sum())) <= 1
    for c, size in enumerate((40, 7, 2)):
        counts = inside[:, strata == c].sum(axis=1)
        assert set(counts) <= {size // 2, (size + 1) // 2}
    if n_shadows > 2:
        assert (inside[0] != inside[2]).any()
        assert (inside[0] != inside[3]).any()


@pytest.mark.parametrize("by_class", ["auto", True, False])
@pytest.mark.parametrize("k", [2, 3])
def test_attack_models_per_class_or_for_all(k, by_class):
    X, y, X_fresh, y_fresh = problem(k=k)
    model = clone(OVERFIT).fit(X, y)
    found = membership_inference(
        model,
        X,
        y,
        ASKED,
        X_fresh,
        y_fresh,
        method="shadow",
        by_class=by_class,
        **QUICK,
    )
    assert found.auc.low > 0.52
    assert found.threshold == 0.5


def test_auto_is_per_class_where_rows_are_enough():
    X, y, X_fresh, y_fresh = problem()
    model = clone(OVERFIT).fit(X, y)

    def scores(y, y_fresh, model=model, **how):
        return membership_inference(
            model, X, y, ASKED, X_fresh, y_fresh, method="shadow", **how, **QUICK
        ).members

    per_class, pooled = (scores(y, y_fresh, by_class=one) for one in (True, False))
    np.testing.assert_array_equal(scores(y, y_fresh), per_class)
    assert (per_class != pooled).any()
    # A class that only the rows asked about have: no shadow model knows it.
    gone = y.copy()
    gone[ASKED] = 7
    knows = clone(OVERFIT).fit(X, gone)
    auto, pooled = (
        scores(gone, y_fresh, knows, by_class=one) for one in ("auto", False)
    )
    np.testing.assert_array_equal(auto, pooled)
    with pytest.raises(ValueError, match=r"no known row has the labels \[7\]"):
        scores(gone, y_fresh, knows, by_class=True)


def test_attack_model_of_the_users_own():
    X, y, X_fresh, y_fresh = problem()
    model = clone(OVERFIT).fit(X, y)
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    found = membership_inference(
        model,
        X,
        y,
        ASKED,
        X_fresh,
        y_fresh,
        method="shadow",
        attack_estimator=tree,
        by_class=False,
        **QUICK,
    )
    assert len(np.unique(np.append(found.members, found.fresh))) <= 4
    assert not hasattr(tree, "tree_")


# -- one question, several forms -------------------------------------------------------


@each
def test_several_models_are_attacked_as_one_is(method):
    X, y, X_fresh, y_fresh = problem()
    models = [clone(OVERFIT).fit(X, y), clone(OVERFIT).fit(X[60:], y[60:])]
    how = {"method": method, **QUICK}
    rows = (X, y, ASKED, X_fresh, y_fresh)
    both = membership_inference({"a": models[0], "b": models[1]}, *rows, **how)
    assert list(both) == ["a", "b"]
    for name, model in zip("ab", models, strict=True):
        alone = membership_inference(model, *rows, **how)
        assert alone == both[name]
        np.testing.assert_array_equal(alone.members, both[name].members)


@each
@pytest.mark.parametrize("kind", ["frame", "sparse", "names", "list"])
def test_rows_may_be_of_any_kind(kind, method):
    X, y, X_fresh, y_fresh = problem(80, 6)
    how = {"method": method, **QUICK}
    plain = membership_inference(
        clone(OVERFIT).fit(X, y), X, y, ASKED, X_fresh, y_fresh, **how
    )
    rows = ASKED
    if kind == "frame":
        X, X_fresh = data.frame(X), data.frame(X_fresh)
        rows = X.index[ASKED]
        y = pd.Series(y, index=X.index)
    elif kind == "sparse":
        X, X_fresh = sparse.csr_matrix(X), sparse.csr_matrix(X_fresh)
    elif kind == "list":
        X, X_fresh, y, y_fresh = (one.tolist() for one in (X, X_fresh, y, y_fresh))
    else:
        names = np.array(["no", "yes"])
        y, y_fresh = names[y], names[y_fresh]
    model = clone(OVERFIT).fit(X, y)
    before = pickle.dumps((model, X, y, X_fresh, y_fresh))
    found = membership_inference(model, X, y, rows, X_fresh, y_fresh, **how)
    assert pickle.dumps((model, X, y, X_fresh, y_fresh)) == before
    np.testing.assert_allclose(found.members, plain.members, rtol=1e-5, atol=1e-5)


@each
def test_jobs_do_not_count(method):
    X, y, X_fresh, y_fresh = problem(60, 6)
    model = make_pipeline(StandardScaler(), KNeighborsClassifier()).fit(X, y)
    one, two = (
        membership_inference(
            model, X, y, ASKED[:20], X_fresh, y_fresh, method=method, n_jobs=n, **QUICK
        )
        for n in (None, 2)
    )
    np.testing.assert_array_equal(one.members, two.members)
    assert one == two


def test_all_rows_may_be_asked_about():
    X, y = load_iris(return_X_y=True)
    model = KNeighborsClassifier(1).fit(X[::2], y[::2])
    every = np.ones(75, dtype=bool)
    found = membership_inference(
        model, X[::2], y[::2], every, X[1::2], y[1::2], **QUICK
    )
    assert found.auc.value >= 0.5
    assert len(found.members) == 75


# -- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "luck"}, ValueError, "method='luck' is not one of"),
        ({"rows": []}, ValueError, "rows names no row"),
        ({"rows": [999]}, IndexError, "outside"),
        ({"X_fresh": np.zeros((0, 6)), "y_fresh": []}, ValueError, "has no rows"),
        ({"y_fresh": None}, ValueError, "y_fresh is None"),
        ({"y_fresh": [0, 1]}, ValueError, "inconsistent numbers of samples"),
        ({"n_shadows": 3, "method": "lira"}, ValueError, "n_shadows must be >= 4"),
        ({"n_shadows": 1, "method": "shadow"}, ValueError, "n_shadows must be >= 2"),
        ({"offline": True}, ValueError, "variant of method='lira'"),
        ({"by_class": "some"}, ValueError, "by_class='some'"),
        ({"n_jobs": 0, "method": "lira"}, ValueError, "n_jobs=0"),
        ({"estimator": {}}, ValueError, "empty dict"),
        (
            {"shadow_estimator": FrozenEstimator(OVERFIT), "method": "lira"},
            ValueError,
            "FrozenEstimator",
        ),
    ],
    ids=str,
)
def test_bad_questions_are_refused(change, error, message):
    X, y, X_fresh, y_fresh = problem(60, 6)
    given = {
        "estimator": clone(OVERFIT).fit(X, y),
        "X": X,
        "y": y,
        "rows": ASKED[:20],
        "X_fresh": X_fresh,
        "y_fresh": y_fresh,
        **QUICK,
        **change,
    }
    with pytest.raises(error, match=message):
        membership_inference(**given)


def test_tables_of_two_kinds_are_refused():
    X, y, X_fresh, y_fresh = problem(60, 6)
    model = clone(OVERFIT).fit(X, y)
    with pytest.raises(TypeError, match="same kind of table"):
        membership_inference(
            model, X, y, ASKED, data.frame(X_fresh), y_fresh, method="lira", **QUICK
        )


def test_several_labels_per_row_are_refused():
    X, y, X_fresh, y_fresh = problem(60, 6)
    model = KNeighborsClassifier().fit(X, np.column_stack([y, 1 - y]))
    with pytest.raises(ValueError, match="one label per row"):
        membership_inference(
            model, X, np.column_stack([y, 1 - y]), ASKED, X_fresh, y_fresh
        )


def test_halves_without_two_classes_are_refused():
    X, y, X_fresh, y_fresh = problem(60, 6)
    y = (np.arange(60) < 21).astype(int)
    model = clone(OVERFIT).fit(X, y)
    with pytest.raises(ValueError, match="each half needs rows of two classes"):
        membership_inference(
            model, X, y, ASKED[:20], X_fresh, y_fresh, method="shadow", **QUICK
        )
