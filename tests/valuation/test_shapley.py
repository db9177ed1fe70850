"""Data Shapley against enumeration, refits, closed forms and plain gradient steps."""

import os
from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpuma import InterruptedWarning, NotDifferentiableError, PatchWarning
from skpuma.valuation import DataShapley
from skpuma.valuation._scans import engine_of
from skpuma.valuation._shapley import _chains, shapley_values
from skpuma.valuation._utility import Utility
from tests.data import TIGHT, blobs, diabetes, frame

PLAIN = os.environ.get("NUMBA_DISABLE_JIT", "0") == "1"
N = 14 if PLAIN else 40


def problem(n=N, k=2, n_val=30, seed=0, d=4):
    X, y = blobs(n + n_val, d=d, k=k, seed=seed)
    return X[:n], y[:n], X[n:], y[n:]


def regression(n=N, n_val=60):
    X, y = diabetes()
    return X[:n], y[:n], X[n : n + n_val], y[n : n + n_val]


def valued(estimator=None, data=None, **settings):
    X, y, X_val, y_val = problem() if data is None else data
    settings = {"random_state": 0, **settings}
    return DataShapley(estimator, **settings).fit(X, y, X_val=X_val, y_val=y_val)


def brute(utility, n):
    """The definition, subset by subset."""
    worth = {
        subset: utility(np.array(subset, dtype=int))
        for size in range(n + 1)
        for subset in combinations(range(n), size)
    }
    values = np.zeros(n)
    for subset, value in worth.items():
        for i in set(range(n)) - set(subset):
            gain = worth[tuple(sorted((*subset, i)))] - value
            values[i] += gain / comb(n - 1, len(subset)) / n
    return values


def efficient(shapley):
    total = shapley.full_score_ - shapley.empty_score_
    return abs(shapley.values_.sum() - total) <= 1e-12


# -- exact and truncated Monte Carlo ---------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5])
def test_chains_visit_every_subset_once(n):
    seen = [
        frozenset((base + added)[:size])
        for base, added in _chains(n)
        for size in range(len(base), len(base) + len(added) + 1)
    ]
    assert len(seen) == len(set(seen)) == 2**n
    assert len(list(_chains(n))) == comb(n, n // 2)


def test_the_glove_game():
    """One left glove and two right ones: 2/3, 1/6, 1/6."""
    worth = np.array([0, 0, 0, 1, 0, 1, 0, 1.0])
    np.testing.assert_allclose(shapley_values(worth), [2 / 3, 1 / 6, 1 / 6])


@pytest.mark.parametrize("scoring", [None, "neg_log_loss"])
@pytest.mark.parametrize("engine", ["scan", "refit"])
@pytest.mark.parametrize("k", [2, 3])
def test_exact_is_the_definition(k, engine, scoring):
    data = problem(6, k)
    estimator = LogisticRegression(**TIGHT)
    ours = valued(estimator, data, engine=engine, scoring=scoring)
    expected = brute(Utility(estimator, scoring, *data), 6)
    np.testing.assert_allclose(ours.values_, expected, atol=1e-5)
    assert efficient(ours)
    assert (ours.standard_errors_ == 0).all()


def test_sampling_tends_to_the_enumeration():
    data = problem(8)
    count = 200 if PLAIN else 2000
    exact = valued(data=data).values_
    settings = {"truncation": 0, "convergence": 0, "max_permutations": count}
    ours = valued(data=data, method="tmc", **settings)
    assert ours.n_permutations_ == count
    error = np.abs(ours.values_ - exact)
    assert error.max() <= (0.05 if PLAIN else 1e-2)
    # The standard errors tell the size of the errors.
    assert 0.3 < np.sqrt(np.mean((error / ours.standard_errors_) ** 2)) < 2.0
    slope = np.polyfit(exact, ours.values_, 1)[0]
    assert abs(slope - 1) < (0.3 if PLAIN else 0.1)
    assert np.corrcoef(exact, ours.values_)[0, 1] > (0.9 if PLAIN else 0.95)


@pytest.mark.parametrize(
    "estimator", [None, DecisionTreeClassifier(random_state=0)], ids=["scan", "refit"]
)
def test_values_sum_to_the_gain_without_truncation(estimator):
    ours = valued(estimator, truncation=0, max_permutations=10)
    assert efficient(ours)


def test_truncation_saves_steps_and_keeps_the_ranking():
    settings = {"max_permutations": 20 if PLAIN else 300, "convergence": 0}
    whole = valued(truncation=0, **settings)
    cut = valued(truncation=0.05, **settings)
    assert not np.allclose(whole.values_, cut.values_)
    assert np.corrcoef(whole.values_, cut.values_)[0, 1] > 0.8


def test_truncation_cuts_after_more_than_five_quiet_steps():
    X, y, X_val, y_val = problem(20)
    utility = Utility(LogisticRegression(**TIGHT), None, X, y, X_val, y_val)
    members = [np.array([i]) for i in range(20)]
    order = np.random.default_rng(0).permutation(20)
    whole = engine_of("refit", utility, members, 0.0).walk(order).scores
    quiet = np.abs(whole - whole[-1]) <= 0.2 * whole[-1]
    runs = np.convolve(quiet, np.ones(6), mode="full")[:20] == 6
    cut = np.argmax(runs) + 1
    assert runs.any() and cut < 20
    for kind in ("refit", "scan"):
        scores = engine_of(kind, utility, members, 0.2).walk(order).scores
        np.testing.assert_allclose(scores[:cut], whole[:cut])
        assert np.isnan(scores[cut:]).all()


def test_it_stops_once_the_papers_error_is_small():
    settings = {"max_permutations": 4000, "truncation": 0}
    data = problem(13, n_val=10)
    loose = valued(data=data, convergence=1.0, **settings)
    assert 100 < loose.n_permutations_ < 4000
    assert loose.n_permutations_ % 20 == 0
    assert loose.convergence_ < 1.0


# -- the scans against refits ----------------------------------------------------------

SCANS = {
    "logistic": (LogisticRegression(**TIGHT), 2, ("accuracy", "neg_log_loss")),
    "no_intercept": (
        LogisticRegression(C=0.1, fit_intercept=False, **TIGHT),
        2,
        ("accuracy", "neg_log_loss"),
    ),
    "multinomial": (
        LogisticRegression(C=3.0, **{**TIGHT, "solver": "newton-cg"}),
        3,
        ("accuracy", "neg_log_loss"),
    ),
    "ridge_classifier": (RidgeClassifier(), 2, ("accuracy",)),
    "ridge_classifier_3": (RidgeClassifier(0.3), 3, ("accuracy",)),
    "ridge": (Ridge(2.0), 0, ("r2", "neg_mean_squared_error")),
    "ridge_through_zero": (Ridge(fit_intercept=False), 0, ("r2",)),
    "least_squares": (LinearRegression(), 0, ("r2", "neg_mean_squared_error")),
}


@pytest.mark.parametrize("name", list(SCANS))
def test_a_scan_is_a_refit_of_every_prefix(name):
    estimator, k, scorings = SCANS[name]
    data = problem(N, k) if k else regression(N)
    members = np.array_split(np.random.default_rng(1).permutation(N), N - 4)
    order = np.random.default_rng(0).permutation(N - 4)
    for scoring in scorings:
        utility = Utility(estimator, scoring, *data)
        scan = engine_of("scan", utility, members, 0.0).walk(order)
        refit = engine_of("refit", utility, members, 0.0).walk(order)
        tolerance = 1e-5 if "log" in scoring else 1e-9
        np.testing.assert_allclose(scan.scores, refit.scores, tolerance, tolerance)
        assert scan.fell_back == refit.fell_back
        assert scan.unconverged == 0


def test_sparse_rows_are_scanned_like_dense_ones():
    X, y, X_val, y_val = problem(N)
    dense = valued(max_permutations=5)
    data = sparse.csr_array(X), y, sparse.csr_array(X_val), y_val
    np.testing.assert_array_equal(
        valued(data=data, max_permutations=5).values_, dense.values_
    )


def test_labels_may_be_strings_and_unseen_in_training():
    X, y, X_val, y_val = problem(N)
    names = np.array(["no", "yes", "other"])
    y_val = np.where(np.arange(len(y_val)) < 5, 2, y_val)
    data = X, names[y], X_val, names[y_val]
    scan = valued(LogisticRegression(**TIGHT), data, max_permutations=3)
    refit = valued(
        LogisticRegression(**TIGHT), data, max_permutations=3, engine="refit"
    )
    np.testing.assert_allclose(scan.values_, refit.values_, atol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "scoring", "reason"),
    [
        (DecisionTreeClassifier(), None, "DecisionTreeClassifier is none of"),
        (LogisticRegression(class_weight="balanced"), None, "class_weight"),
        (LogisticRegression(solver="liblinear"), None, "penalises the intercept"),
        (LogisticRegression(C=np.inf), None, "not L2"),
        (LogisticRegression(), "roc_auc", "roc_auc"),
        (LogisticRegression(), lambda e, X, y: 0.5, "is none of None"),
    ],
)
def test_a_scan_that_does_not_exist_says_why(estimator, scoring, reason):
    with pytest.raises(ValueError, match=f"engine='scan' is not possible: .*{reason}"):
        valued(estimator, engine="scan", scoring=scoring)


# -- groups ----------------------------------------------------------------------------


def test_a_group_is_one_source_and_its_rows_share_its_value():
    X, y, X_val, y_val = problem(12)
    groups = np.array(list("aabbbccccdde"))
    ours = DataShapley(LogisticRegression(**TIGHT)).fit(
        X, y, X_val=X_val, y_val=y_val, groups=groups
    )
    utility = Utility(LogisticRegression(**TIGHT), None, X, y, X_val, y_val)
    labels = np.unique(groups)

    def of_groups(index):
        return utility(np.isin(groups, labels[index]))

    expected = brute(of_groups, len(labels))
    np.testing.assert_allclose(ours.group_values_, expected, atol=1e-12)
    np.testing.assert_array_equal(ours.groups_, labels)
    for label, value in zip(labels, expected, strict=True):
        share = value / np.sum(groups == label)
        np.testing.assert_allclose(ours.values_[groups == label], share, atol=1e-12)
    assert efficient(ours)
    ours.fit(X, y, X_val=X_val, y_val=y_val)
    assert not hasattr(ours, "groups_")


def test_groups_stay_whole_in_folds():
    X, y, *_ = problem(36)
    groups = np.arange(36) // 3
    shapley = DataShapley(max_permutations=5, cv=3, random_state=0)
    shapley.fit(X, y, groups=groups)
    rows = shapley.values_.reshape(12, 3)
    np.testing.assert_allclose(rows, rows[:, :1].repeat(3, axis=1))
    np.testing.assert_allclose(shapley.group_values_, rows.sum(axis=1))


# -- G-Shapley -------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_gradient_follows_plain_sgd_with_its_first_row(k):
    X, y, X_val, y_val = problem(N, k)
    ours = valued(
        data=(X, y, X_val, y_val),
        method="gradient",
        max_permutations=1,
        learning_rate=0.1,
    )
    # scikit-learn's own SGD, one row at a time, in an order that gives these values.
    utility = Utility(LogisticRegression(), None, X, y, X_val, y_val)
    from skpuma.valuation._sgd_walks import SGDEngine

    members = [np.array([i]) for i in range(N)]
    engine = SGDEngine(utility, members, np.random.RandomState(0), 0.1)
    order = np.random.default_rng(0).permutation(N)
    scores = engine.walk(order).scores
    if k == 2:
        sgd = SGDClassifier(
            loss="log_loss", alpha=1e-300, learning_rate="constant", eta0=0.1
        )
        for s, row in enumerate(order):
            sgd.partial_fit(X[[row]], y[[row]], classes=[0, 1])
            assert scores[s] == sgd.score(X_val, y_val)
    # The path of the adapters is the same, without the kernel.
    engine.threads = False
    np.testing.assert_allclose(engine.walk(order).scores, scores)
    assert efficient(ours)
    assert engine.empty == np.mean(y_val == 0)


def test_gradient_of_networks_pipelines_and_other_scores():
    network = MLPClassifier((5,), max_iter=5, random_state=0)
    for estimator, scoring in [
        (network, None),
        (make_pipeline(StandardScaler(), LogisticRegression()), "neg_log_loss"),
        (LogisticRegression(), "roc_auc"),
    ]:
        with np.errstate(all="ignore"):
            ours = valued(
                estimator,
                problem(15),
                method="gradient",
                scoring=scoring,
                learning_rate=0.1,
                max_permutations=2,
            )
        assert efficient(ours)
        assert np.ptp(ours.values_) > 0


def test_gradient_of_ridge_searches_its_rate():
    ours = valued(Ridge(), regression(), method="gradient", max_permutations=20)
    assert 1e-5 < ours.learning_rate_ < 0.2
    assert ours.full_score_ > ours.empty_score_
    assert efficient(ours)


def test_gradient_that_diverges_says_what_to_do():
    X, y, X_val, y_val = regression(12)
    with pytest.raises(ValueError, match="scale the features"):
        valued(Ridge(), (1e9 * X, y, X_val, y_val), method="gradient")
    with pytest.raises(NotDifferentiableError, match="DecisionTree"):
        valued(DecisionTreeClassifier(), method="gradient")
    # One rate is not searched; with the kernel and, for other scores, without.
    for scoring in (None, "neg_mean_absolute_error"):
        with pytest.raises(ValueError, match="diverge at learning_rate=10: scale the"):
            valued(
                Ridge(),
                (1e9 * X, y, X_val, y_val),
                method="gradient",
                scoring=scoring,
                learning_rate=10.0,
                max_permutations=2,
            )


# -- what a utility does with odd subsets ----------------------------------------------


def test_subsets_that_cannot_be_fitted_count_as_constants():
    X, y, X_val, y_val = problem(12, 3)
    utility = Utility(KNeighborsClassifier(5), None, X, y, X_val, y_val)
    value, fell_back = utility.evaluate([0, 1, 2, 3])
    assert fell_back
    assert value == np.mean(y_val == 0)  # three classes, 0 twice
    one_class = np.flatnonzero(y == 1)
    assert utility.evaluate(one_class) == (np.mean(y_val == 1), False)
    with pytest.warns(PatchWarning, match="count as constant predictions"):
        valued(
            KNeighborsClassifier(11),
            (X, y, X_val, y_val),
            method="tmc",
            max_permutations=2,
        )


def test_a_log_loss_without_a_class_is_that_of_no_rows():
    data = problem(12, 3)
    utility = Utility(LogisticRegression(), "neg_log_loss", *data)
    assert utility([0, 1]) == utility.empty
    prior = np.bincount(data[1]) / 12
    np.testing.assert_allclose(utility.empty, np.log(prior[data[3]]).mean())


def test_a_utility_knows_sets_not_sequences():
    utility = Utility(LogisticRegression(), None, *problem(12))
    mask = np.zeros(12, dtype=bool)
    mask[[7, 2, 5]] = True
    assert utility([7, 2, 5]) == utility([5, 7, 2]) == utility(mask)
    assert utility(np.zeros(12, bool)) == utility.empty
    assert Utility(LogisticRegression(), None, *problem(12), empty=0.25).empty == 0.25


def broken(estimator, X, y):
    raise RuntimeError("no such metric")


def infinite(estimator, X, y):
    return np.inf


def wordy(estimator, X, y):
    return "good"


def several(estimator, X, y):
    return np.array([0.5, 0.6])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "best"}, "method must be one of"),
        ({"engine": "fast"}, "engine must be one of"),
        ({"max_permutations": 0}, "max_permutations must be >= 1"),
        ({"truncation": -1}, "truncation must be >= 0"),
        ({"convergence": -1}, "convergence must be >= 0"),
        ({"learning_rate": 0}, "learning_rate must be > 0"),
        ({"empty_score": np.nan}, "empty_score must be finite"),
        ({"method": "exact"}, "at most 12"),
        ({"scoring": broken}, "failed on the estimator fitted on all .* no such"),
        ({"scoring": infinite}, "The utility is not finite"),
        ({"scoring": wordy}, "wordy.* has to return one number .* returned 'good'"),
        ({"scoring": several}, "several.* has to return one number"),
        ({"n_jobs": 0}, "n_jobs=0 has no meaning"),
        ({"n_jobs": 1.5}, "n_jobs must be an int"),
    ],
)
def test_bad_parameters_and_scores(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        valued(**settings)


def test_a_score_that_is_not_finite_names_the_subset():
    def scorer(estimator, X, y):
        few = getattr(estimator, "coef_", np.zeros((1, 1))).shape[0] == 1
        return np.nan if few and scorer.armed else 0.5

    X, y, X_val, y_val = problem(12)
    utility = Utility(LogisticRegression(), scorer, X, y, X_val, y_val)
    scorer.armed = False
    assert utility.full == 0.5
    scorer.armed = True
    with pytest.raises(ValueError, match="of a subset of 4 training rows"):
        utility([0, 1, 2, 3])


def test_a_failed_fit_changes_nothing():
    shapley = valued(max_permutations=3)
    before = dict(vars(shapley))
    X, y, X_val, y_val = problem()
    with pytest.raises(ValueError, match="single class"):
        shapley.fit(X[:, :2], np.zeros(len(y)), X_val=X_val[:, :2], y_val=y_val)
    assert vars(shapley) == before


# -- long runs -------------------------------------------------------------------------


class Interrupting:
    """A scorer at whose n-th call the user presses Ctrl-C."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, estimator, X, y):
        self.calls -= 1
        if not self.calls:
            raise KeyboardInterrupt
        return estimator.score(X, y)


def test_ctrl_c_keeps_what_has_been_computed():
    # One score of a constant and of all rows, then at most 13 for each permutation.
    with pytest.warns(InterruptedWarning, match=r"first \d+ of 50 permutations"):
        ours = valued(
            data=problem(13),
            scoring=Interrupting(60),
            truncation=0,
            max_permutations=50,
        )
    assert ours.interrupted_
    assert 0 < ours.n_permutations_ < 50
    same = valued(
        data=problem(13),
        engine="refit",
        truncation=0,
        max_permutations=ours.n_permutations_,
    )
    np.testing.assert_allclose(ours.values_, same.values_)
    assert not same.interrupted_
    with pytest.raises(KeyboardInterrupt):
        valued(data=problem(13), scoring=Interrupting(3))
    with pytest.raises(KeyboardInterrupt):
        valued(data=problem(5), scoring=Interrupting(20))


@pytest.mark.parametrize("engine", ["scan", "refit"])
def test_jobs_do_not_change_the_values(engine):
    data = problem(13)
    settings = {"max_permutations": 21, "engine": engine, "convergence": 0}
    one = valued(data=data, **settings)
    two = valued(data=data, n_jobs=2, **settings)
    np.testing.assert_array_equal(one.values_, two.values_)
    np.testing.assert_array_equal(one.standard_errors_, two.standard_errors_)


def test_a_bar_is_shown(capsys):
    pytest.importorskip("tqdm")
    valued(max_permutations=3, verbose=1)
    valued(data=problem(5), verbose=1)


def test_the_frame_has_the_index_of_the_rows():
    X, y, X_val, y_val = problem(13)
    table = frame(X)
    ours = DataShapley(max_permutations=5, random_state=0)
    ours.fit(table, y, X_val=frame(X_val), y_val=y_val)
    found = ours.to_frame()
    assert found.index.equals(table.index)
    assert list(found) == ["value", "standard_error", "rank"]
    plain = valued(data=problem(13), max_permutations=5)
    np.testing.assert_array_equal(ours.values_, plain.values_)


# The contract's tests check other estimators. This truncation cuts after six fits.
@parametrize_with_checks(
    [
        DataShapley(
            DecisionTreeClassifier(max_depth=2),
            method="tmc",
            max_permutations=1,
            cv=2,
            truncation=10.0,
        ),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)
