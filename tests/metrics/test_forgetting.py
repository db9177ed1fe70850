import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import PumaPatcher
from skpuma.datasets import make_radial
from skpuma.metrics import forgetting_score, patch_scorer

OPEN = {"delta": np.inf, "reweight": False}


@pytest.fixture(scope="module")
def blobs():
    """Two classes with one part of a class marked."""
    X, y, cluster = make_radial(n_clusters=4, n_per_cluster=40, random_state=0)
    y = (cluster == 0) | (cluster == 1)
    return X, y.astype(int), cluster == 0


class TestForgettingScore:
    def test_is_a_difference_of_accuracies(self):
        rng = np.random.default_rng(0)
        y, predicted = rng.integers(3, size=(2, 60))
        weight, marked = rng.random(60), rng.random(60) < 0.3
        ours = forgetting_score(y, predicted, marked=marked, sample_weight=weight)
        parts = [
            accuracy_score(y[part], predicted[part], sample_weight=weight[part])
            for part in (~marked, marked)
        ]
        assert ours == pytest.approx(parts[0] - parts[1], rel=1e-12)

    def test_extremes(self):
        y, marked = np.array([0, 0, 1, 1]), np.array([True, False, True, False])
        assert forgetting_score(y, y, marked=marked) == 0.0
        assert forgetting_score(y, np.where(marked, 1 - y, y), marked=marked) == 1.0
        assert forgetting_score(y, np.where(marked, y, 1 - y), marked=marked) == -1.0

    def test_refusals(self):
        y = np.array([0, 1, 1])
        with pytest.raises(ValueError, match="no marked rows"):
            forgetting_score(y, y, marked=np.zeros(3, bool))
        with pytest.raises(ValueError, match="no unmarked rows"):
            forgetting_score(y, y, marked=np.ones(3, bool))
        with pytest.raises(TypeError, match="boolean mask"):
            forgetting_score(y, y, marked=[0, 2])
        with pytest.raises(ValueError, match="2 rows"):
            forgetting_score(y, y[1:], marked=np.array([True, False, False]))

    def test_in_a_search_with_metadata_routing(self, blobs):
        X, y, marked = blobs
        stratified = StratifiedKFold(3, shuffle=True, random_state=0)
        folds = list(stratified.split(X, marked))
        with sklearn.config_context(enable_metadata_routing=True):
            scorer = make_scorer(forgetting_score).set_score_request(marked=True)
            search = GridSearchCV(
                PumaPatcher(LogisticRegression(), **OPEN),
                {"eta": [0.0, 1.0]},
                scoring=scorer,
                cv=folds,
                error_score="raise",
            ).fit(X, y, marked=marked)
        expected = []
        for eta in (0.0, 1.0):
            scores = []
            for train, test in folds:
                patcher = PumaPatcher(LogisticRegression(), eta=eta, **OPEN)
                patcher.fit(X[train], y[train], marked=marked[train])
                predicted = patcher.predict(X[test])
                scores.append(forgetting_score(y[test], predicted, marked=marked[test]))
            expected.append(np.mean(scores))
        np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected)


class TestPatchScorer:
    def test_formula_for_a_classifier(self, blobs):
        X, y, marked = blobs
        patcher = PumaPatcher(LogisticRegression(), **OPEN).fit(X, y, marked=marked)
        p = patcher.predict_proba(X)[np.arange(len(y)), y]
        expected = patcher.score(X, y) - p[marked].mean()
        assert patch_scorer(patcher, X, y) == pytest.approx(expected, rel=1e-9)

    def test_formula_for_a_regressor(self):
        X, y = load_diabetes(return_X_y=True)
        marked = np.zeros(len(y), dtype=bool)
        marked[np.argsort(y)[-20:]] = True
        patcher = PumaPatcher(Ridge(alpha=0.1), **OPEN).fit(X, y, marked=marked)
        error = (patcher.predict(X) - y) ** 2
        share = min(1.0, error[~marked].mean() / error[marked].mean())
        assert share < 1.0
        expected = patcher.score(X, y) - share
        assert patch_scorer(patcher, X, y) == pytest.approx(expected, rel=1e-9)

    def test_pipeline_that_ends_in_a_patcher(self, blobs):
        X, y, marked = blobs
        pipeline = make_pipeline(
            StandardScaler(), PumaPatcher(LogisticRegression(), **OPEN)
        )
        pipeline.fit(X, y, pumapatcher__marked=marked)
        after = pipeline[-1].report_.forgetting_after
        assert patch_scorer(pipeline, X, y) == pipeline.score(X, y) - after

    @pytest.mark.filterwarnings("ignore::skpuma.utils.errors.StationarityWarning")
    def test_forgetting_more_scores_higher(self, blobs):
        X, y, marked = blobs
        # Removing the marked quarter costs the others nothing.
        network = MLPClassifier(
            (16,), activation="tanh", solver="lbfgs", alpha=1.0, random_state=0
        )
        patcher = PumaPatcher(network, forget_at=0.3, eta=np.inf, delta=0.05)
        patcher.fit(X, y, marked=marked)
        kept = patcher.report_
        assert kept.forgetting_after < kept.forgetting_before
        patched = patch_scorer(patcher, X[~marked], y[~marked])
        before = patcher.unpatch().score(X[~marked], y[~marked])
        assert patched > before - kept.forgetting_before

    def test_in_a_search_without_metadata_routing(self, blobs):
        X, y, marked = blobs
        search = GridSearchCV(
            PumaPatcher(LogisticRegression(), **OPEN),
            {"eta": [0.0, 0.5, 1.0]},
            scoring=patch_scorer,
            cv=StratifiedKFold(3, shuffle=True, random_state=0),
            error_score="raise",
        ).fit(X, y, marked=marked)
        scores = search.cv_results_["mean_test_score"]
        assert np.all(np.diff(scores) > 0)
        assert search.best_params_ == {"eta": 1.0}

    def test_refusals(self, blobs):
        X, y, marked = blobs
        plain = LogisticRegression().fit(X, y)
        with pytest.raises(AttributeError, match="LogisticRegression was not patched"):
            patch_scorer(plain, X, y)
        patcher = PumaPatcher(LogisticRegression()).fit(X, y)
        with pytest.raises(AttributeError, match="PumaPatcher was not patched"):
            patch_scorer(patcher, X, y)
        with pytest.raises(AttributeError, match="pass marked="):
            patch_scorer(make_pipeline(StandardScaler(), plain), X, y)

    def test_a_fold_without_marked_rows_has_nothing_to_forget(self, blobs):
        X, y, _ = blobs
        patcher = PumaPatcher(LogisticRegression())
        patcher.fit(X, y, marked=np.zeros(len(y), dtype=bool))
        assert patch_scorer(patcher, X, y) == patcher.score(X, y)
