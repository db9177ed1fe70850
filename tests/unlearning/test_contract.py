"""The shared contract, over the whole table of unlearning systems."""

import inspect
import pickle
import struct
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpuma import unlearning
from skpuma.unlearning._base import BaseUnlearner
from tests.data import blobs, frame, frozen, mask_of, snapshot

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::sklearn.exceptions.ConvergenceWarning"
)

NAMES = sorted(unlearning.UNLEARNERS)
N = 60
SGD, SGR = SGDClassifier(loss="log_loss"), SGDRegressor()
NETWORK = MLPClassifier((5,), max_iter=30, learning_rate_init=0.1)
REGRESSES = MLPRegressor(hidden_layer_sizes=(5,), learning_rate_init=0.1)
SCALED = make_pipeline(StandardScaler(), LogisticRegression())
# Settings that are quick, and cover what the defaults leave out.
QUICK = {
    "AmnesiacClassifier": {"estimator": SGD, "n_epochs": 3},
    "AmnesiacRegressor": {"estimator": SGR, "n_epochs": 3},
}
SLICED = {"n_shards": 2, "n_slices": 2, "epochs": 3}
# What else a system is checked around: other kinds of estimators, their own settings.
AROUND = {
    "AmnesiacClassifier": [{"estimator": NETWORK, "n_epochs": 8}],
    "AmnesiacRegressor": [{"estimator": REGRESSES, "n_epochs": 8}],
    "FineTuner": [{"estimator": SGR}],
    "GradientAscent": [{"estimator": NETWORK}, {"estimator": Ridge()}],
    "NewtonRemoval": [{"estimator": Ridge()}],
    "Retrainer": [{"estimator": SCALED}, {"estimator": DecisionTreeRegressor()}],
    "SISAClassifier": [
        {"estimator": SCALED, "n_shards": 2, "weights": "size"},
        {**SLICED, "estimator": SGD, "aggregation": "label"},
    ],
    "SISARegressor": [{**SLICED, "estimator": SGR}],
    "StreamingRemoval": [{"estimator": Ridge()}, {"estimator": SCALED}],
    "UnrolledSGDClassifier": [{"hidden_layer_sizes": (4,)}],
    "UnrolledSGDRegressor": [{"hidden_layer_sizes": (4,), "learning_rate": 0.1}],
}
# SGD moves the intercept less on sparse rows than on dense ones.
ON_SPARSE = {
    "AmnesiacClassifier": {"estimator": NETWORK},
    "AmnesiacRegressor": {"estimator": REGRESSES},
}
CLASSIFIERS = [name for name in NAMES if not name.endswith("Regressor")]
each = pytest.mark.parametrize("name", NAMES)
each_classifier = pytest.mark.parametrize("name", CLASSIFIERS)


def system(name, **parameters):
    """A quick one, with the same seed every time."""
    made = getattr(unlearning, name)(random_state=0)
    return made.set_params(**QUICK.get(name, {})).set_params(**parameters)


def data(name, n=N):
    """(X, y) of two classes, or of numbers, read-only."""
    X, y = blobs(n, d=3)
    if is_classifier(system(name)):
        return X, y
    rng = np.random.default_rng(0)
    return frozen(X, X @ [1.0, -2.0, 0.5] + 0.3 * rng.standard_normal(n))


def fitted(name, **parameters):
    return system(name, **parameters).fit(*data(name))


def outputs(made, X):
    """What a system predicts, as finely as it does."""
    for method in ("predict_proba", "decision_function", "predict"):
        if hasattr(made, method):
            return getattr(made, method)(X)
    raise AssertionError("it predicts nothing")


def assert_same(made, other, X):
    np.testing.assert_array_equal(outputs(made, X), outputs(other, X))


SOME = mask_of(N, [0, 1, 7, 30, 41])


# -- scikit-learn's own checks ---------------------------------------------------------


def checked():
    """Every system, quick, and around other estimators."""
    for name in NAMES:
        yield system(name)
        for settings in AROUND.get(name, []):
            yield clone(system(name, **settings))


@parametrize_with_checks(list(checked()))
def test_common_checks(estimator, check):
    check(estimator)


# -- what forgetting is ----------------------------------------------------------------


@each
def test_it_learns_and_forgets(name):
    X, y = data(name)
    made = system(name)
    assert made.fit(X, y) is made
    assert made.score(X, y) > 0.4
    assert made.forgotten_.dtype == bool
    assert made.forgotten_.tolist() == [False] * N
    before = outputs(made, X)
    assert made.forget(X, y, SOME) is made
    np.testing.assert_array_equal(made.forgotten_, SOME)
    after = outputs(made, X)
    assert after.shape == before.shape
    assert np.isfinite(after).all()
    assert not np.array_equal(after, before)


@each
def test_forgetting_goes_on(name):
    X, y = data(name)
    made = fitted(name).forget(X, y, [3, 4]).forget(X, y, [20]).forget(X, y, [5, 50])
    assert np.flatnonzero(made.forgotten_).tolist() == [3, 4, 5, 20, 50]
    assert np.isfinite(outputs(made, X)).all()


@each
def test_rows_by_mask_position_and_label(name):
    X, y = data(name)
    table = frame(X)
    start = system(name).fit(table, y)
    ways = {
        "mask": SOME,
        "list of bool": SOME.tolist(),
        "series": pd.Series(SOME, index=table.index),
        "positions": np.flatnonzero(SOME),
        "list": np.flatnonzero(SOME)[::-1].tolist(),
        "labels": table.index[SOME],
        "names": table.index[SOME].tolist(),
    }
    made = {way: deepcopy(start).forget(table, y, rows) for way, rows in ways.items()}
    for other in made.values():
        np.testing.assert_array_equal(other.forgotten_, SOME)
        assert_same(made["mask"], other, table)


@each
@pytest.mark.parametrize("nothing", [None, [], np.zeros(N, dtype=bool)], ids=str)
def test_to_forget_nothing_is_the_identity(name, nothing):
    X, y = data(name)
    for made in (fitted(name), fitted(name).forget(X, y, SOME)):
        before, state = snapshot(made), vars(made).copy()
        made.forget(X, y, nothing)
        assert made.cost_ == 0.0
        made.cost_ = state["cost_"]
        assert snapshot(made) == before
        assert all(vars(made)[key] is state[key] for key in state)


@each
def test_to_forget_twice_is_to_forget_once(name):
    X, y = data(name)
    made = fitted(name).forget(X, y, SOME)
    once = deepcopy(made)
    made.forget(X, y, SOME)
    assert made.cost_ == 0.0
    assert_same(made, once, X)
    assert made.storage_ == once.storage_
    # A row that has been forgotten is passed over beside one that has not.
    both, new = SOME.copy(), mask_of(N, [11])
    both[11] = True
    assert_same(made.forget(X, y, both), once.forget(X, y, new), X)


@each
@pytest.mark.parametrize("junk", [np.nan, 1e30, 0.0])
def test_rows_that_are_gone_may_hold_anything(name, junk):
    X, y = data(name)
    made = fitted(name).forget(X, y, SOME)
    same = deepcopy(made).forget(X, y, [20])
    X, y = X.copy(), y.copy()
    # Labels are integers, of which any is new.
    X[SOME], y[SOME] = junk, junk if y.dtype.kind == "f" else 77
    assert_same(made.forget(X, y, [20]), same, X[~SOME])


@each
def test_a_new_fit_starts_anew(name):
    X, y = data(name)
    made = fitted(name).forget(X, y, SOME).fit(X[:40], y[:40])
    assert made.forgotten_.tolist() == [False] * 40
    assert_same(made, system(name).fit(X[:40], y[:40]), X)
    made.forget(X[:40], y[:40], [39])


# -- storage and cost ------------------------------------------------------------------


@each
def test_storage_and_cost(name):
    X, y = data(name)
    made = fitted(name)
    assert isinstance(made.storage_, int)
    assert isinstance(made.cost_, float)
    assert N <= made.cost_ < np.inf
    # What is kept for the sake of forgetting is in the object.
    assert 0 <= made.storage_ <= len(pickle.dumps(made))
    made.forget(X, y, SOME)
    assert isinstance(made.storage_, int)
    assert isinstance(made.cost_, float)
    assert 0.0 < made.cost_ < np.inf
    assert 0 <= made.storage_ <= len(pickle.dumps(made))


@each
def test_no_row_is_kept(name):
    X, y = data(name)
    mark = 0.12345678901234567
    X = X.copy()
    X[30] = mark
    made = system(name).fit(X, y)
    found = [pickle.dumps(made)]
    found.append(pickle.dumps(made.forget(X, y, SOME)))
    assert struct.pack("<d", mark) in pickle.dumps(X)
    for state in found:
        assert struct.pack("<d", mark) not in state
        assert struct.pack(">d", mark) not in state


# -- refusals --------------------------------------------------------------------------


def replaced(array, index, value):
    changed = np.array(array)
    changed[index] = value
    return changed


def other_rows(X, y):
    """(X, y) that are nearly those of the fit; all but row 0 and 1 are looked at."""
    swapped = np.arange(N)
    swapped[[8, 9]] = 9, 8
    return {
        "cell": (replaced(X, (4, 0), X[4, 0] + 1e-9), y),
        "label": (X, replaced(y, 4, 1 - y[4])),
        "order": (X[swapped], y[swapped]),
        "fewer": (X[:-1], y[:-1]),
        "kept only": (X[2:], y[2:]),
        "single precision": (X.astype(np.float32), y),
    }


@each
@pytest.mark.parametrize("case", sorted(other_rows(*blobs(N, d=3))))
def test_other_rows_are_refused(name, case):
    X, y = data(name)
    made = fitted(name).forget(X, y, [0, 1])
    before = snapshot(made)
    with pytest.raises(ValueError, match=r"not the rows of the fit.*pass the X and y"):
        made.forget(*other_rows(X, y)[case], [20])
    assert snapshot(made) == before


REFUSED = {
    "outside": ([N], IndexError, "outside"),
    "negative": ([-1], IndexError, "outside"),
    "short mask": (SOME[:-1], ValueError, "shape"),
    "twice": ([3, 3], ValueError, "more than once"),
    "labels of an array": (["row1"], TypeError, "positions"),
    "set": ({3}, TypeError, "set"),
    "floats": ([1.5], TypeError, "positions"),
    "all": (np.ones(N, dtype=bool), ValueError, "No row would be left"),
}


@each
@pytest.mark.parametrize("case", REFUSED)
def test_rows_that_are_refused(name, case):
    X, y = data(name)
    rows, error, match = REFUSED[case]
    for made in (fitted(name), fitted(name).forget(X, y, [7])):
        before = snapshot(made)
        with pytest.raises(error, match=match):
            made.forget(X, y, rows)
        assert snapshot(made) == before


@each
def test_labels_that_are_absent(name):
    X, y = data(name)
    made = system(name).fit(frame(X), y)
    with pytest.raises(KeyError, match="not in the index"):
        made.forget(frame(X), y, ["row1", "none"])


@each
def test_all_but_one_class_is_refused(name):
    X, y = data(name)
    made = fitted(name)
    if not is_classifier(made):
        assert made.forget(X, y, y > 0).forgotten_.sum() == (y > 0).sum()
        return
    before = snapshot(made)
    with pytest.raises(ValueError, match=r"Only rows of class 0 would be left"):
        made.forget(X, y, y == 1)
    assert snapshot(made) == before


class Halt(BaseException):
    """Like Ctrl-C, it is nobody's to catch."""


@each
@pytest.mark.parametrize("error", [ValueError, Halt])
def test_a_call_that_fails_late_changes_nothing(name, error, monkeypatch):
    X, y = data(name)
    made = fitted(name).forget(X, y, [9])
    before, state = snapshot(made), vars(made).copy()

    def fails(self):
        raise error("too late")

    monkeypatch.setattr(type(made), "_stored_bytes", fails)
    for call in (lambda: made.forget(X, y, SOME), lambda: made.fit(X, y)):
        with pytest.raises(error, match="too late"):
            call()
        assert vars(made).keys() == state.keys()
        assert all(vars(made)[key] is state[key] for key in state)
        assert snapshot(made) == before


BAD = {
    "no y": (lambda X, y: (X, None), "y to be passed"),
    "lengths": (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
    "no rows": (lambda X, y: (X[:0], y[:0]), "0 "),
    "infinity": (lambda X, y: (replaced(X, (0, 0), np.inf), y), "infinity"),
    "index": (
        lambda X, y: (frame(X), pd.Series(y, frame(X).index).iloc[::-1]),
        "in another order",
    ),
}


@each
@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_and_change_nothing(name, case):
    X, y = data(name)
    spoil, match = BAD[case]
    fresh, made = system(name), fitted(name)
    state = vars(made).copy()
    for one in (fresh, made):
        with pytest.raises((ValueError, TypeError), match=match):
            one.fit(*spoil(X, y))
    assert not [key for key in vars(fresh) if key.endswith("_")]
    assert vars(made).keys() == state.keys()
    assert all(vars(made)[key] is state[key] for key in state)


@each
def test_a_single_target(name):
    X, y = data(name)
    made = system(name)
    if is_classifier(made):
        with pytest.raises(ValueError, match="single class, 1"):
            made.fit(X, np.ones(N, dtype=int))
    else:
        made.fit(X, np.ones(N)).forget(X, np.ones(N), [3])
        assert np.isfinite(made.predict(X)).all()


@each
def test_before_fit(name):
    X, y = data(name)
    for call in (lambda m: m.forget(X, y, [0]), lambda m: m.predict(X)):
        with pytest.raises(NotFittedError):
            call(system(name))


# -- the user's objects ----------------------------------------------------------------


@each
def test_the_users_objects_stay_as_they_are(name):
    X, y = data(name)
    made = system(name)
    if "estimator" in made.get_params(deep=False) and made.estimator is None:
        made.set_params(estimator=clone(AROUND[name][0]["estimator"]))
    table, labels = frame(X), pd.Series(y, index=frame(X).index)
    objects = [made.get_params()[key] for key in sorted(made.get_params())]
    before = snapshot([objects, table, labels, SOME])
    made.fit(table, labels).forget(table, labels, SOME)
    assert snapshot([objects, table, labels, SOME]) == before
    after = [made.get_params()[key] for key in sorted(made.get_params())]
    assert all(a is b for a, b in zip(objects, after, strict=True))


@each
def test_clone_is_not_fitted(name):
    made = fitted(name)
    copy = clone(made)
    assert snapshot(copy) == snapshot(system(name))
    assert copy.get_params().keys() == made.get_params().keys()


@each
def test_pickles_go_on(name):
    X, y = data(name)
    made = fitted(name).forget(X, y, [9])
    again = pickle.loads(pickle.dumps(made))
    assert_same(made, again, X)
    made.forget(X, y, SOME)
    again.forget(X, y, SOME)
    assert_same(made, again, X)
    assert again.storage_ == made.storage_
    assert again.cost_ == made.cost_


@each
def test_same_seed_same_model(name):
    X, y = data(name)
    first, second = fitted(name), fitted(name)
    assert_same(first, second, X)
    assert_same(first.forget(X, y, SOME), second.forget(X, y, SOME), X)
    assert first.cost_ == second.cost_
    states = (np.random.RandomState(5) for _ in range(2))
    third, fourth = (fitted(name, random_state=state) for state in states)
    assert_same(third.forget(X, y, SOME), fourth.forget(X, y, SOME), X)


@each
def test_the_seed_of_numpy_is_left_alone(name):
    X, y = data(name)
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.get_state()[1].copy()  # noqa: NPY002
    fitted(name).forget(X, y, SOME)
    np.testing.assert_array_equal(np.random.get_state()[1], expected)  # noqa: NPY002


@each
def test_what_is_shown_and_run_in_parallel_changes_nothing(name):
    pytest.importorskip("tqdm")
    X, y = data(name)
    options = {"verbose": 1, "n_jobs": 2}
    known = {k: v for k, v in options.items() if k in system(name).get_params()}
    # Threads start at once; tests of the systems have processes.
    with parallel_config("threading"):
        loud = fitted(name, **known).forget(X, y, SOME)
    assert_same(loud, fitted(name).forget(X, y, SOME), X)


# -- kinds of input --------------------------------------------------------------------


@each
def test_frames(name):
    X, y = data(name)
    table = frame(X)
    made = system(name).fit(table, y).forget(table, y, table.index[SOME])
    assert made.feature_names_in_.tolist() == table.columns.tolist()
    assert made.n_features_in_ == 3
    plain = fitted(name).forget(X, y, SOME)
    np.testing.assert_allclose(
        outputs(made, table), outputs(plain, X), rtol=1e-10, atol=1e-12
    )
    renamed = table.rename(columns={"x0": "other"})
    for call in (
        lambda: made.forget(renamed, y, [9]),
        lambda: made.predict(renamed),
    ):
        with pytest.raises(ValueError, match="feature names"):
            call()


@each
def test_sparse_rows(name):
    X, y = data(name)
    X = np.where(X > 0.3, X, 0.0)
    table = sparse.csr_matrix(X)
    made = system(name, **ON_SPARSE.get(name, {}))
    if not get_tags(made).input_tags.sparse:
        with pytest.raises((TypeError, ValueError), match="(?i)sparse"):
            made.fit(table, y)
        return
    dense = clone(made).fit(X, y).forget(X, y, SOME)
    made.fit(table, y).forget(table, y, SOME)
    np.testing.assert_array_equal(made.forgotten_, SOME)
    np.testing.assert_allclose(
        outputs(made, table), outputs(dense, X), rtol=1e-3, atol=1e-3
    )


@each
def test_lists(name):
    X, y = data(name)
    made = system(name).fit(X.tolist(), y.tolist())
    made.forget(X.tolist(), y.tolist(), [3, 4])
    assert_same(made, fitted(name).forget(X, y, [3, 4]), X)


@each_classifier
def test_several_classes_with_names(name):
    X, y = blobs(90, d=3, k=3)
    names = np.array(["no", "maybe", "yes"])[y]
    made = system(name).fit(X, names)
    assert made.classes_.tolist() == ["maybe", "no", "yes"]
    made.forget(X, names, [3, 4, 80])
    assert made.score(X, names) > 0.4
    assert set(made.predict(X)) <= set(names)


@each_classifier
def test_one_class_of_three_is_forgotten_or_refused(name):
    X, y = blobs(90, d=3, k=3)
    made = system(name).fit(X, y)
    before = snapshot(made)
    try:
        made.forget(X, y, y == 2)
    except ValueError as error:
        assert "class" in str(error)
        assert snapshot(made) == before
    else:
        np.testing.assert_array_equal(made.forgotten_, y == 2)
        assert np.isfinite(outputs(made, X)).all()


# -- the table -------------------------------------------------------------------------


@each
def test_the_table_names_classes(name):
    cls = getattr(unlearning, name)
    assert cls.__name__ == name
    assert cls.__module__ == unlearning.UNLEARNERS[name]
    assert issubclass(cls, BaseUnlearner)
    assert list(inspect.signature(cls.forget).parameters) == ["self", "X", "y", "rows"]


def test_absent_system_is_an_attribute_error():
    with pytest.raises(AttributeError, match="NoSuchSystem"):
        _ = unlearning.NoSuchSystem
