"""PumaPatcherCV: the scores of GridSearchCV, at one fit per fold."""

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    StratifiedKFold,
    cross_validate,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import PumaPatcher, PumaPatcherCV, PumaValuator
from skpuma.metrics import forgetting_score, patch_scorer
from skpuma.utils.errors import PatchWarning
from tests import data

NETWORK = MLPClassifier((6,), random_state=0, max_iter=60)
SCORES = ("mean_test_score", "std_test_score", "rank_test_score")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def problem(regression=False, n=150):
    if regression:
        X, y = (part[:n] for part in data.diabetes())
    else:
        X, y = data.blobs(n, k=3)
    return X, y, data.some(n, 0.15)


def searches(estimator, deltas, etas, cv=3, scoring=None, **parameters):
    """GridSearchCV and its twin, not fitted."""
    grid = {"delta": deltas, "eta": etas}
    patcher = PumaPatcher(estimator, **parameters)
    options = {"cv": cv, "scoring": scoring}
    slow = GridSearchCV(patcher, grid, error_score="raise", **options)
    return slow, PumaPatcherCV(
        estimator, deltas=deltas, etas=etas, **options, **parameters
    )


def assert_equal_scores(slow, fast):
    keys = [key for key in slow.cv_results_ if key.endswith("_test_score")]
    assert len(keys) == 3 + slow.n_splits_ == 3 + fast.n_splits_
    for key in keys:
        np.testing.assert_allclose(
            fast.cv_results_[key], slow.cv_results_[key], rtol=0, atol=1e-8
        )
    assert fast.cv_results_["params"] == slow.cv_results_["params"]
    for name in ("param_delta", "param_eta"):
        assert fast.cv_results_[name].tolist() == slow.cv_results_[name].tolist()
    assert fast.best_index_ == slow.best_index_
    assert fast.best_params_ == slow.best_params_
    assert fast.best_score_ == pytest.approx(slow.best_score_, abs=1e-8)


LOSS = {"scoring": "neg_log_loss"}
CASES = {
    "default": (LogisticRegression(), [1e-4, 1e-2, "auto"], [0.0, 0.5, 1.0, 4.0], LOSS),
    "regression": (Ridge(), [1e-4, 1e-3, np.inf], [0.3, 1.0, 3.0], {}),
    "means": (PoissonRegressor(alpha=0.1), [1e-4, 1e-2], [0.5, 1.0, 2.0], {}),
    "both": (
        LogisticRegression(),
        [0.0, 1e-3, 0.1],
        [0.5, 2.0],
        {**LOSS, "side": "both"},
    ),
    "two criteria": (
        LogisticRegression(),
        [[0.001, 0.01], [0.01, 0.1], [0.1, 0.01], [np.inf, 0.001], "auto"],
        [1.0, 4.0],
        {**LOSS, "criterion": ["log_loss", "brier_score"]},
    ),
    "network": (NETWORK, [1e-3, 1e-2], [0.5, 2.0, 8.0], {**LOSS, "random_state": 0}),
    "one step": (LogisticRegression(), [1e-3, 0.1], [0.5, 3.0], {**LOSS, "steps": 1}),
    "four steps": (LogisticRegression(), [1e-3, 0.1], [1.0, 3.0], {**LOSS, "steps": 4}),
    "iterative": (
        LogisticRegression(),
        [1e-3, 0.1],
        [1.0, 3.0],
        {**LOSS, "solver": "cg"},
    ),
    "forgotten": (
        LogisticRegression(),
        [1e-2, 0.3],
        [2.0, np.inf],
        {"scoring": patch_scorer, "forget_at": 0.3},
    ),
    "target": (
        LogisticRegression(),
        [1e-3, np.inf],
        [1.0, 4.0],
        {**LOSS, "target": "brier_score"},
    ),
    "no polish": (
        LogisticRegression(tol=0.1),
        [1e-3],
        [0.5, 1.0],
        {**LOSS, "polish": False},
    ),
}


# Where a delta ends some of the paths.
BINDING = set(CASES) - {"no polish"}


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_a_grid_search(name):
    estimator, deltas, etas, options = CASES[name]
    X, y, marked = problem(regression=not hasattr(estimator, "predict_proba"))
    if isinstance(estimator, PoissonRegressor):
        y = np.exp(y)
    slow, fast = searches(estimator, deltas, etas, **options)
    slow.fit(X, y, marked=marked)
    fast.fit(X, y, marked=marked)
    assert_equal_scores(slow, fast)
    assert (fast.cv_results_["mean_s"] <= fast.cv_results_["param_eta"] + 1e-9).all()
    if name in BINDING:
        s = np.array([fast.cv_results_[f"split{i}_s"] for i in range(3)])
        assert (s < fast.cv_results_["param_eta"] - 1e-6).any()
    best = slow.best_estimator_
    np.testing.assert_allclose(fast.transform(X), best.transform(X), atol=1e-8)
    np.testing.assert_allclose(fast.row_weight_, best.row_weight_, atol=1e-8)
    np.testing.assert_allclose(fast.lambda_, best.lambda_, atol=1e-8)
    assert fast.report_.s == pytest.approx(best.report_.s, abs=1e-8)
    assert (fast.delta_, fast.eta_) == tuple(
        best.get_params()[p] for p in ("delta", "eta")
    )


@pytest.mark.parametrize("working_memory", [0, 1024])
def test_steps_that_do_not_fit_into_memory_are_walked_again(working_memory):
    X, y, marked = problem()
    slow, fast = searches(LogisticRegression(), [1e-3, 1e-2], [1.0, 4.0], **LOSS)
    with sklearn.config_context(working_memory=working_memory):
        assert_equal_scores(
            slow.fit(X, y, marked=marked), fast.fit(X, y, marked=marked)
        )


class Counting(LogisticRegression):
    """Counts its fits."""

    n_fits = 0

    def fit(self, X, y, sample_weight=None):
        Counting.n_fits += 1
        return super().fit(X, y, sample_weight)


def test_one_fit_per_fold_and_one_for_all_rows():
    X, y, marked = problem()
    search = PumaPatcherCV(Counting(), deltas=[0.01, 0.1], etas=[0.5, 1, 2], cv=4)
    Counting.n_fits = 0
    search.fit(X, y, marked=marked)
    assert Counting.n_fits == 5
    search.set_params(refit=False).fit(X, y, marked=marked)
    assert Counting.n_fits == 9


def test_paths_share_their_steps(monkeypatch):
    """Corrections of a grid are few more than those of its longest path alone."""
    from skpuma.patching import Path

    calls = []
    for name in ("_direction", "_polished", "_advance"):
        method = getattr(Path, name)

        def counted(self, *args, method=method, name=name, **kwargs):
            calls.append(name)
            return method(self, *args, **kwargs)

        monkeypatch.setattr(Path, name, counted)
    X, y, marked = problem()
    folds = KFold(2)
    options = {"cv": folds, "refit": False}
    one = PumaPatcherCV(LogisticRegression(), deltas=[1.0], etas=[8.0], **options)
    one.fit(X, y, marked=marked)
    alone = [calls.count(name) for name in ("_direction", "_polished")]
    assert min(alone) > 0
    calls.clear()
    etas = [0.5, 1.0, 2.0, 8.0]
    grid = PumaPatcherCV(LogisticRegression(), deltas=[1.0, 2.0], etas=etas, **options)
    grid.fit(X, y, marked=marked)
    assert calls.count("_polished") == alone[1] == folds.get_n_splits()
    assert calls.count("_direction") == alone[0]


# -- metadata --------------------------------------------------------------------------


def test_weights_reach_fit_and_scorer():
    X, y, marked = problem()
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    for scoring in ("neg_log_loss", None, patch_scorer):
        slow, fast = searches(LogisticRegression(), [1e-2], [0.5, 1.0], scoring=scoring)
        given = {"sample_weight": weight, "marked": marked}
        assert_equal_scores(slow.fit(X, y, **given), fast.fit(X, y, **given))


def test_routing_hands_the_mask_to_the_scorer():
    X, y, marked = problem()
    folds = list(StratifiedKFold(3).split(X, 2 * y + marked))
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(forgetting_score).set_score_request(marked=True)
        slow, fast = searches(
            LogisticRegression(), [0.1, 1.0], [0.5, 4.0], folds, scorer
        )
        assert_equal_scores(
            slow.fit(X, y, marked=marked), fast.fit(X, y, marked=marked)
        )


def test_groups_go_to_splitter_and_patch():
    X, y, marked = problem()
    groups = np.arange(len(y)) // 3
    sensitive = np.arange(len(y)) % 2
    given = {"marked": marked, "groups": groups, "sensitive_features": sensitive}
    with sklearn.config_context(enable_metadata_routing=True):
        slow, fast = searches(
            LogisticRegression(),
            [1e-3, 0.1],
            [0.5, 2.0],
            GroupKFold(3),
            "neg_log_loss",
            criterion="worst_group_loss",
        )
        assert_equal_scores(slow.fit(X, y, **given), fast.fit(X, y, **given))
    # Without routing, GridSearchCV keeps groups from the patch.
    again = clone(fast).fit(X, y, **given)
    np.testing.assert_array_equal(
        again.cv_results_["mean_test_score"], fast.cv_results_["mean_test_score"]
    )


def test_validation_rows_are_those_of_every_fold():
    X, y, marked = problem(n=150)
    X_val, y_val = data.blobs(150, k=3, seed=1)
    found = [
        PumaPatcherCV(LogisticRegression(), deltas=[1e-3], etas=[1.0, 4.0], cv=3)
        .set_params(scoring="neg_log_loss")
        .fit(X, y, marked=marked, X_val=X_val[:n], y_val=y_val[:n])
        for n in (150, 149)
    ]
    a, b = (one.cv_results_["mean_test_score"] for one in found)
    np.testing.assert_allclose(a, b, atol=1e-2)
    expected = [
        PumaPatcher(LogisticRegression(), delta=1e-3, eta=4.0).fit(
            X[t], y[t], marked=marked[t], X_val=X_val, y_val=y_val
        )
        for t, _ in StratifiedKFold(3).split(X, y)
    ]
    s = [found[0].cv_results_[f"split{i}_s"][1] for i in range(3)]
    np.testing.assert_allclose(s, [one.report_.s for one in expected], atol=1e-10)


def test_marker_marks_in_every_fold():
    X, y, _ = problem()
    marker = PumaValuator(LogisticRegression(), cv=3, random_state=0)
    slow, fast = searches(
        LogisticRegression(), [1e-3, 0.1], [0.5, 1.0], marker=marker, **LOSS
    )
    assert_equal_scores(slow.fit(X, y), fast.fit(X, y))


def test_candidates_are_cut_with_the_rows():
    X, y, marked = problem()
    allowed = np.arange(len(y)) % 2 == 0
    search = PumaPatcherCV(LogisticRegression(), deltas=[1e-3], etas=[1.0], cv=3)
    search.set_params(candidates=allowed, scoring="neg_log_loss", side="both")
    search.fit(X, y, marked=marked)
    for i, (t, e) in enumerate(StratifiedKFold(3).split(X, y)):
        one = PumaPatcher(
            LogisticRegression(), delta=1e-3, candidates=allowed[t], side="both"
        )
        one.fit(X[t], y[t], marked=marked[t])
        scorer = sklearn.metrics.get_scorer("neg_log_loss")
        score = search.cv_results_[f"split{i}_test_score"][0]
        assert score == pytest.approx(scorer(one, X[e], y[e]), abs=1e-10)
    assert search.lambda_.any()
    assert not search.lambda_[~allowed].any()


# -- an estimator ----------------------------------------------------------------------


def test_it_is_a_patcher_after_the_fit():
    X, y, marked = problem()
    search = PumaPatcherCV(LogisticRegression(), deltas=[0.1], etas=[0.5, 1.0])
    with pytest.raises(NotFittedError):
        search.patch(X, y, remove=[0])
    search.fit(X, y, marked=marked)
    patched = search.coef_.copy()
    search.patch(X, y, remove=[int(np.flatnonzero(~marked)[0])])
    assert np.abs(search.coef_ - patched).max() > 0
    search.unpatch()
    np.testing.assert_array_equal(search.coef_, patched)
    search.unpatch()
    np.testing.assert_array_equal(search.coef_, LogisticRegression().fit(X, y).coef_)
    assert isinstance(clone(search), PumaPatcherCV)
    assert (
        clone(search).get_params(deep=False).keys() == search.get_params(False).keys()
    )


def test_no_refit_leaves_the_search_only():
    X, y, marked = problem()
    search = PumaPatcherCV(LogisticRegression(), deltas=[0.1], etas=[0.5, 1.0])
    search.fit(X, y, marked=marked)
    search.set_params(refit=False).fit(X, y, marked=marked)
    assert search.eta_ in (0.5, 1.0)
    for name in ("estimator_", "report_", "lambda_", "row_weight_"):
        assert not hasattr(search, name)
    with pytest.raises(NotFittedError):
        search.predict(X)


def test_it_works_in_a_pipeline_on_frames_and_in_cross_validate():
    X, y, marked = problem()
    table, labels = data.frame(X), [f"class {k}" for k in y]
    mask = pd.Series(marked, index=table.index)
    search = PumaPatcherCV(deltas=[0.01, 0.1], etas=[0.5, 1.0], cv=3)
    pipeline = make_pipeline(StandardScaler(), search)
    pipeline.fit(table, labels, pumapatchercv__marked=marked)
    whole = clone(search).set_params(
        estimator=make_pipeline(StandardScaler(), LogisticRegression())
    )
    whole.fit(table, pd.Series(labels, index=table.index), marked=mask)
    assert whole.feature_names_in_.tolist() == table.columns.tolist()
    assert 0.5 < pipeline.score(table, labels) <= 1.0
    result = cross_validate(
        search, X, y, cv=2, params={"marked": marked}, error_score="raise"
    )
    assert result["test_score"].shape == (2,)


def test_folds_in_parallel_are_the_same():
    X, y, marked = problem()
    search = PumaPatcherCV(deltas=[0.01, 0.1], etas=[0.5, 1.0], cv=2, **LOSS)
    alone = search.fit(X, y, marked=marked).cv_results_["mean_test_score"]
    with joblib.parallel_config("threading"):
        search.set_params(n_jobs=2).fit(X, y, marked=marked)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone)


# -- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"deltas": []}, "deltas"),
        ({"deltas": "auto"}, "deltas"),
        ({"etas": 1.0}, "etas"),
        ({"etas": [-1.0]}, "eta"),
        ({"deltas": [0.1, -0.1]}, "delta"),
        ({"etas": [np.inf]}, "eta=inf"),
        ({"refit": "eta"}, "refit"),
        ({"scoring": ["accuracy", "neg_log_loss"]}, "several scores"),
        ({"scoring": lambda estimator, X, y: "high"}, "must return a number"),
        ({"cv": []}, "no splits"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters, message):
    X, y, marked = problem()
    search = PumaPatcherCV(deltas=[0.1], etas=[0.5], cv=2).fit(X, y, marked=marked)
    fitted = search.estimator_, search.cv_results_
    with pytest.raises((ValueError, TypeError), match=message):
        search.set_params(**parameters).fit(X, y, marked=marked)
    assert (search.estimator_, search.cv_results_) == fitted


def test_a_mask_of_other_rows_is_refused():
    X, y, marked = problem()
    search = PumaPatcherCV(deltas=[0.1], etas=[0.5], cv=2)
    with pytest.raises(ValueError, match="marked"):
        search.fit(X, y, marked=marked[:-1])
    with pytest.raises(TypeError):
        search.fit(X, y, marked=np.flatnonzero(marked))
    assert not hasattr(search, "cv_results_")


@pytest.mark.filterwarnings("default::UserWarning")
def test_nothing_marked_is_said():
    X, y, _ = problem()
    search = PumaPatcherCV(deltas=[0.1], etas=[0.5, 1.0], cv=2)
    with pytest.warns(PatchWarning, match="Nothing is marked"):
        search.fit(X, y)
    assert np.ptp(search.cv_results_["mean_test_score"]) == 0.0
    assert search.best_index_ == 0
    assert not hasattr(search, "report_")
    search.patch(X, y, remove=[0, 1])
    assert search.report_.s == 0.5


def test_scores_that_are_not_numbers_come_last():
    X, y, marked = problem()

    def scorer(estimator, X, y):
        return np.nan if estimator.eta == 0.5 else estimator.score(X, y)

    search = PumaPatcherCV(deltas=[0.1], etas=[0.5, 1.0], cv=2, scoring=scorer)
    search.fit(X, y, marked=marked)
    assert search.eta_ == 1.0
    assert search.cv_results_["rank_test_score"].tolist() == [2, 1]
