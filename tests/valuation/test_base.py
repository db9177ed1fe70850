"""The common part of the valuation systems: checks, folds, frames, interruptions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import BaggingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import InterruptedWarning, PatchWarning
from skpuma.refit import seeded
from skpuma.utils._grouping import check_grouping
from skpuma.utils._progress import Interruptible, progress
from skpuma.valuation._base import (
    BaseValuation,
    Part,
    check_output,
    refuse_missing,
    splits_of,
)
from tests.data import blobs, frame


class Counting(BaseValuation):
    """Values are the numbers of the validation rows, plus the row's own feature."""

    def __init__(self, estimator=None, cv=5, random_state=None, stop=None):
        self.estimator = estimator
        self.cv = cv
        self.random_state = random_state
        self.stop = stop

    def fit(self, X, y, *, X_val=None, y_val=None, groups=None):
        self.calls = []
        return self._fit(X, y, X_val, y_val, groups)

    def _value(self, X, y, X_val, y_val, rng, grouping=None):
        if len(self.calls) == self.stop:
            raise KeyboardInterrupt
        self.calls.append((X, X_val, grouping))
        values = len(y_val) + np.asarray(X)[:, 0]
        return Part(values, np.full(len(y), 2.0))


class Trained(Counting):
    needs_validation = False

    def _value(self, X, y, X_val, y_val, rng):
        return Part(np.asarray(X)[:, 0])


def test_a_validation_set_means_one_fit():
    X, y = blobs(30)
    found = Counting().fit(X, y, X_val=X[:7], y_val=y[:7])
    np.testing.assert_array_equal(found.values_, 7 + X[:, 0])
    assert len(found.calls) == 1
    assert not found.interrupted_


def test_without_one_the_values_are_means_over_the_folds_that_trained():
    X, y = blobs(30)
    found = Counting(random_state=0).fit(X, y)
    np.testing.assert_allclose(found.values_, 6 + X[:, 0])
    # Each row is trained on four times; independent errors of 2 become 2 / sqrt(4).
    np.testing.assert_allclose(found.standard_errors_, 1.0)
    assert len(found.calls) == 5
    assert len(Trained().fit(X, y).values_) == 30
    splitter = KFold(3)
    assert len(Counting(cv=splitter).fit(X, y).calls) == 3


def test_the_frame_ranks_the_lowest_first():
    X, y = blobs(30)
    table = frame(X)
    found = Trained().fit(table, y).to_frame()
    assert found.index.equals(table.index)
    assert list(found) == ["value", "rank"]
    assert found["rank"].idxmin() == table["x0"].idxmin()
    assert sorted(found["rank"]) == list(range(30))


def test_groups_are_whole_in_every_fold():
    X, y = blobs(40)
    groups = np.arange(40) // 4
    for estimator in (None, LinearRegression()):
        found = Counting(estimator, random_state=0).fit(X, y, groups=groups)
        for inside, outside, grouping in found.calls:
            member = {tuple(row): g for row, g in zip(X, groups, strict=True)}
            trained = {member[tuple(row)] for row in inside}
            assert not trained & {member[tuple(row)] for row in outside}
            assert set(grouping.code) == trained
    one = check_grouping(np.zeros(40), 40)
    with pytest.raises(ValueError, match="a single group"):
        splits_of(5, y, True, np.random.RandomState(0), grouping=one)
    grouping = check_grouping(groups, 40)
    folds = splits_of(KFold(2), y, True, np.random.RandomState(0), grouping=grouping)
    assert len(folds) == 2


def test_rare_classes_reduce_the_folds_or_refuse():
    X, y = blobs(30)
    y = np.where(np.arange(30) < 3, 1, 0)
    with pytest.warns(PatchWarning, match="reduced to 3"):
        assert len(Counting().fit(X, y).calls) == 3
    y = np.where(np.arange(30) < 1, 1, 0)
    with pytest.raises(ValueError, match="a class has a single row"):
        Counting().fit(X, y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, "requires y to be passed"),
        ({"y": np.zeros(30)}, "single class"),
        ({"y": np.linspace(0, 1, 30)}, "Unknown label type"),
        ({"y": np.zeros(29)}, "inconsistent numbers"),
        ({"X": np.empty((0, 4)), "y": np.empty(0)}, "0 rows"),
        ({"X_val": np.ones((3, 4))}, "y_val is missing"),
        ({"y_val": np.ones(3)}, "X_val is missing"),
        ({"X_val": np.empty((0, 4)), "y_val": np.empty(0)}, "X_val has no rows"),
        ({"X_val": np.ones((3, 4)), "y_val": np.ones(2)}, "inconsistent numbers"),
        ({"X_val": np.ones((3, 2)), "y_val": np.ones(3)}, "2 features"),
        ({"groups": np.ones(3)}, "groups has shape"),
    ],
)
def test_input_that_does_not_fit_together(change, message):
    X, y = blobs(30)
    given = {"X": X, "y": y, **change}
    found = Trained()
    with pytest.raises(ValueError, match=message):
        found.fit(given.pop("X"), given.pop("y"), **given)
    assert not hasattr(found, "n_features_in_")


def test_a_series_in_another_order_is_refused():
    X, y = blobs(30)
    table = frame(X)
    y = pd.Series(y, table.index)
    with pytest.raises(ValueError, match="another order"):
        Trained().fit(table, y[::-1])
    with pytest.raises(ValueError, match="y_val is a Series .* another order"):
        Trained().fit(table, y, X_val=table, y_val=y[::-1])


def test_a_failed_fit_leaves_the_last_one():
    X, y = blobs(30)
    found = Trained().fit(X, y)
    before = dict(vars(found), calls=None)
    with pytest.raises(ValueError, match="y_val is missing"):
        found.fit(X[:, :2], y, X_val=X[:, :2])
    assert dict(vars(found), calls=None) == before


def test_ctrl_c_between_folds_keeps_the_folds_before():
    X, y = blobs(30)
    with pytest.warns(InterruptedWarning, match="first 1 of 5 folds"):
        found = Counting(random_state=0, stop=1).fit(X, y)
    assert found.interrupted_
    # The rows of the fold that was left out have no value, and no rank.
    assert np.isnan(found.values_).sum() == 6
    rank = found.to_frame()["rank"]
    np.testing.assert_array_equal(rank.isna(), np.isnan(found.values_))
    assert sorted(rank.dropna()) == list(range(24))
    with pytest.raises(KeyboardInterrupt):
        Counting(stop=0).fit(X, y)


def interrupted(results):
    yield from results
    raise KeyboardInterrupt


def test_interruptible_keeps_results_and_says_so():
    run = Interruptible(iter(range(3)), 3, title="steps")
    assert list(run) == [0, 1, 2]
    assert not run.interrupted
    run = Interruptible(interrupted(range(2)), title="steps")
    with pytest.warns(InterruptedWarning, match="first 2 steps"):
        assert list(run) == [0, 1]
    assert run.interrupted
    with pytest.raises(KeyboardInterrupt):
        list(Interruptible(interrupted([])))


def test_a_bar_needs_tqdm(monkeypatch):
    assert list(progress(range(3))) == [0, 1, 2]
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="needs tqdm"):
        progress(range(3), verbose=1)


def test_tags_follow_the_estimator():
    tags = Counting(LogisticRegression()).__sklearn_tags__()
    assert tags.target_tags.required
    assert tags.estimator_type is None


def test_open_seeds_are_drawn_once_and_others_kept():
    inner = MLPClassifier()
    estimator = make_pipeline(StandardScaler(), BaggingClassifier(inner))
    estimator.set_params(baggingclassifier__random_state=7)
    first, again = (seeded(estimator, np.random.RandomState(0)) for _ in range(2))
    name = "baggingclassifier__estimator__random_state"
    assert first.get_params()[name] == again.get_params()[name] is not None
    assert first.get_params()["baggingclassifier__random_state"] == 7
    assert inner.random_state is None
    frozen = FrozenEstimator(LogisticRegression())
    assert seeded(frozen, None) is frozen


def test_labels_of_validation_rows_are_those_of_y():
    X, y = blobs(30)

    class Scoring(Counting):
        scores_unknown_labels = True

    y_val = np.where(np.arange(30) < 5, 7, y)
    with pytest.raises(ValueError, match=r"no training row has: \[7\]; those of y"):
        Counting().fit(X, y, X_val=X, y_val=y_val)
    Scoring().fit(X, y, X_val=X, y_val=y_val)
    for system in (Counting(), Scoring()):
        with pytest.raises(ValueError, match="no training row has: .'0', '1'"):
            system.fit(X, y, X_val=X, y_val=y.astype(str))
    with pytest.raises(ValueError, match=r"y_val has shape \(30, 2\)"):
        Counting().fit(X, y, X_val=X, y_val=np.column_stack([y, y]))
    # What is not used is not looked at.
    Trained().fit(X, y, X_val=X, y_val=y + 7)


def test_a_single_class_is_named_without_numpy():
    X, _ = blobs(30)
    with pytest.raises(ValueError, match="a single class, 0:"):
        Trained().fit(X, np.zeros(30, dtype=int))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_labels(missing):
    y = np.array(["a", missing, "b"], dtype=object)
    with pytest.raises(ValueError, match="Input y contains missing values"):
        refuse_missing(y, "y")


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        ([[0.0]], TypeError, "got list"),
        (np.zeros((1, 1), dtype=int), TypeError, "got dtype int64"),
        (np.zeros((1, 2)), ValueError, "out has shape"),
    ],
    ids=str,
)
def test_outputs_of_the_caller(out, error, match):
    with pytest.raises(error, match=match):
        check_output(out, (1, 1))
