"""Amnesiac learning: updates taken back exactly, against plain scikit-learn."""

import copy
import gc
import pickle
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpuma.unlearning import AmnesiacClassifier, AmnesiacRegressor
from skpuma.unlearning._recorder import ExactSum, Records, two_sum
from skpuma.utils.errors import InterruptedWarning
from tests.data import blobs, frame, frozen, mask_of, snapshot

CONSTANT = {"learning_rate": "constant", "eta0": 0.01}
LINE = SGDClassifier(loss="log_loss", **CONSTANT)
NET = MLPClassifier((5,), learning_rate_init=0.01)


def last(estimator):
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def parameters(estimator):
    """Parameters in their own precision, as one list of arrays."""
    estimator = last(estimator)
    if hasattr(estimator, "coefs_"):
        return [*estimator.coefs_, *estimator.intercepts_]
    return [estimator.coef_, estimator.intercept_]


def vector(estimator):
    return np.concatenate([np.ravel(part) for part in parameters(estimator)])


def glorot(widths, seed, dtype, activation="relu"):
    """The initial parameters of a network of scikit-learn, by its documentation."""
    rng = np.random.RandomState(seed)
    factor = 2.0 if activation == "logistic" else 6.0
    coefs, intercepts = [], []
    for fan_in, fan_out in pairwise(widths):
        bound = np.sqrt(factor / (fan_in + fan_out))
        coefs.append(rng.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype))
        intercepts.append(rng.uniform(-bound, bound, fan_out).astype(dtype))
    return [*coefs, *intercepts]


def replay(estimator, X, y, batch_size, n_epochs):
    """Batches in the order of the rows, by scikit-learn alone: fitted, thetas."""
    fitted, thetas = clone(estimator), []
    classes = {"classes": np.unique(y)} if y.dtype.kind in "iU" else {}
    for _ in range(n_epochs):
        for start in range(0, len(y), batch_size):
            at = slice(start, start + batch_size)
            if hasattr(fitted, "batch_size"):
                fitted.set_params(batch_size=len(y[at]))
            fitted.partial_fit(X[at], y[at], **classes)
            thetas.append(vector(fitted).copy())
    return fitted, thetas


def regression(n=60, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return frozen(X, X @ np.arange(1.0, d + 1) + 0.1 * rng.standard_normal(n))


# -- sums that are exact ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_sum_is_rounded_once_whatever_the_order(seed):
    rng = np.random.default_rng(seed)
    terms = rng.standard_normal((40, 30)) * 10.0 ** rng.integers(-200, 200, (40, 30))
    terms = np.vstack([terms, -terms[:20]])[rng.permutation(60)]
    total = ExactSum(np.zeros(30))
    for term in terms:
        total.add(term)
    exact = [float(sum(map(Fraction, column))) for column in terms.T]
    np.testing.assert_array_equal(total.rounded(), exact)


def test_two_sum_loses_nothing():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 500)) * 10.0 ** rng.integers(-30, 30, (2, 500))
    for x, y, total, error in zip(a, b, *two_sum(a, b), strict=True):
        assert Fraction(x) + Fraction(y) == Fraction(total) + Fraction(error)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_records_are_smaller_than_the_updates(dtype):
    rng = np.random.default_rng(0)
    theta, records = rng.standard_normal(2000).astype(dtype), Records()
    for i in range(20):
        after = (theta - 1e-3 * rng.standard_normal(2000)).astype(dtype)
        records.add(theta.astype(float), after.astype(float), np.array([i]), 1)
        theta = after
    plain = 20 * 2000 * 8
    assert records.nbytes < (0.9 if dtype == np.float64 else 0.5) * plain


# -- all updates taken back ------------------------------------------------------------

UNDO = {
    "adam": (NET, AmnesiacClassifier),
    "sgd with momentum": (
        MLPClassifier((6, 4), solver="sgd", activation="tanh", learning_rate_init=0.1),
        AmnesiacClassifier,
    ),
    "plain sgd": (
        MLPClassifier((4,), solver="sgd", momentum=0.0, learning_rate="invscaling"),
        AmnesiacClassifier,
    ),
    "logistic units": (MLPClassifier((3,), activation="logistic"), AmnesiacClassifier),
    "adam, numbers": (
        MLPRegressor(hidden_layer_sizes=(5,), learning_rate_init=0.1),
        AmnesiacRegressor,
    ),
    "sgd, numbers": (
        MLPRegressor(hidden_layer_sizes=(5, 3), solver="sgd"),
        AmnesiacRegressor,
    ),
    "hinge": (SGDClassifier(), AmnesiacClassifier),
    "log loss": (LINE, AmnesiacClassifier),
    "sparse": (
        SGDClassifier(penalty="elasticnet", alpha=0.01, **CONSTANT),
        AmnesiacClassifier,
    ),
    "squares": (SGDRegressor(), AmnesiacRegressor),
    "pipeline": (make_pipeline(StandardScaler(), NET), AmnesiacClassifier),
}


def undoing(name, seed, dtype=np.float64, n=None, batch_size=None):
    """(system, X, y, initial parameters), the rest of it drawn."""
    estimator, kind = UNDO[name]
    rng = np.random.default_rng([seed, len(name)])
    d, k = int(rng.integers(1, 6)), int(rng.integers(2, 4))
    if n is None:
        n, batch_size = int(rng.integers(12, 40)), int(rng.integers(3, 45))
        # With two rows left, a batch of one or two rows may hold no other.
        batch_size = n if n % batch_size in (1, 2) else batch_size
    X = (rng.standard_normal((n, d)) * 10.0 ** rng.integers(-2, 2, d)).astype(dtype)
    y = np.arange(n) % k if kind is AmnesiacClassifier else rng.standard_normal(n)
    estimator = clone(estimator)
    last(estimator).set_params(random_state=seed)
    epochs = int(rng.integers(1, 5))
    system = kind(estimator, n_epochs=epochs, batch_size=batch_size, random_state=seed)
    inner = last(system.fit(X, y).estimator_)
    if hasattr(inner, "coefs_"):
        outputs = 1 if k == 2 or kind is AmnesiacRegressor else k
        widths = [d, *inner.hidden_layer_sizes, outputs]
        return system, X, y, glorot(widths, seed, X.dtype, inner.activation)
    return system, X, y, [np.zeros_like(part) for part in parameters(inner)]


def same_bits(ours, theirs):
    assert [a.dtype for a in ours] == [b.dtype for b in theirs]
    return [a.tobytes() for a in ours] == [b.tobytes() for b in theirs]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", UNDO)
def test_undoing_all_batches_gives_the_start_bit_for_bit(name, seed, dtype):
    system, X, y, initial = undoing(name, seed, dtype)
    assert not same_bits(parameters(system.estimator_), initial)
    system.set_params(fine_tune_epochs=0).forget(X, y, np.arange(2, len(y)))
    assert same_bits(parameters(system.estimator_), initial)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", UNDO)
def test_undoing_them_in_turns_does_too(name, dtype):
    """With rounding, and the updates of the fine-tuning, in between."""
    system, X, y, initial = undoing(name, 0, dtype, n=60, batch_size=4)
    # 59 rows are batches of 4 and 3, of which two rows stay in the end.
    system.forget(X, y, [7]).set_params(fine_tune_epochs=0)
    system.forget(X, y, [8, 9, 10, 11]).forget(X, y, [12])
    assert not same_bits(parameters(system.estimator_), initial)
    system.forget(X, y, np.arange(2, 60))
    assert same_bits(parameters(system.estimator_), initial)


# -- training and subtraction, against scikit-learn ------------------------------------

TRAINED = {
    "adam": (NET, AmnesiacClassifier),
    "adam, big batches": (MLPClassifier((3,)), AmnesiacClassifier),
    "line": (LINE, AmnesiacClassifier),
    "optimal rate": (SGDClassifier(), AmnesiacClassifier),
    "numbers": (MLPRegressor(hidden_layer_sizes=(4,), solver="sgd"), AmnesiacRegressor),
    "squares": (SGDRegressor(), AmnesiacRegressor),
}


@pytest.mark.parametrize("name", TRAINED)
def test_training_is_that_of_partial_fit_and_updates_are_subtracted(name):
    estimator, kind = TRAINED[name]
    big = name.endswith("big batches")
    n, size, epochs = (460, 220, 2) if big else (50, 8, 3)
    X, y = blobs(n, k=3) if kind is AmnesiacClassifier else regression(n)
    estimator = clone(estimator).set_params(random_state=7)
    system = kind(
        estimator, shuffle=False, n_epochs=epochs, batch_size=size, fine_tune_epochs=0
    ).fit(X, y)
    fitted, thetas = replay(estimator, X, y, size, epochs)
    np.testing.assert_array_equal(vector(system.estimator_), thetas[-1])
    np.testing.assert_array_equal(system.predict(X), fitted.predict(X))
    per_epoch = -(-n // size)
    assert len(thetas) == epochs * per_epoch
    # Rows 1 and 2 share the first batch, the last row is in the last one.
    system.forget(X, y, [1, 2, n - 1])
    undone = np.zeros_like(thetas[0])
    for epoch in range(1, epochs):
        for batch in (0, per_epoch - 1):
            at = epoch * per_epoch + batch
            undone += thetas[at] - thetas[at - 1]
    undone += thetas[per_epoch - 1] - thetas[per_epoch - 2]
    start = vector(clone_at_start(estimator, X, y))
    undone += thetas[0] - start
    expected = thetas[-1] - undone
    scale = np.abs(thetas).max()
    np.testing.assert_allclose(
        vector(system.estimator_), expected, rtol=0, atol=1e-14 * scale
    )


def clone_at_start(estimator, X, y):
    """A fit of no length: the initial parameters."""
    if hasattr(estimator, "hidden_layer_sizes"):
        still = clone(estimator).set_params(learning_rate_init=1e-290)
    else:
        still = clone(estimator).set_params(learning_rate="constant", eta0=1e-290)
    classes = {"classes": np.unique(y)} if y.dtype.kind == "i" else {}
    return still.partial_fit(X[:3], y[:3], **classes)


def test_forgetting_in_turns_is_forgetting_together():
    X, y = blobs(60)
    settings = {"fine_tune_epochs": 0, "random_state": 0}
    together, turns = (AmnesiacClassifier(NET, **settings).fit(X, y) for _ in range(2))
    together.forget(X, y, [3, 8, 20])
    turns.forget(X, y, [3]).forget(X, y, [8, 20]).forget(X, y, [3])
    np.testing.assert_allclose(
        vector(turns.estimator_), vector(together.estimator_), rtol=1e-13, atol=1e-15
    )
    assert turns.storage_ == pytest.approx(together.storage_, rel=0.2)


def test_optimiser_forgets_too():
    X, y = blobs(64)
    system = AmnesiacClassifier(NET, batch_size=16, n_epochs=3, random_state=0)
    system.fit(X, y)
    assert system.estimator_.t_ == 3 * 64
    assert system.estimator_._optimizer.t == 12
    still = copy.deepcopy(system).set_params(fine_tune_epochs=0).forget(X, y, [0])
    optimizer = still.estimator_._optimizer
    assert optimizer.t == 0
    assert not any(np.any(part) for part in [*optimizer.ms, *optimizer.vs])
    assert still.estimator_.t_ == 3 * 48
    tuned = system.set_params(fine_tune_epochs=2).forget(X, y, [0])
    assert tuned.estimator_._optimizer.t == 2 * 4
    assert tuned.estimator_.t_ == 3 * 48 + 2 * 63
    sgd = MLPClassifier((3,), solver="sgd", random_state=0)
    system = AmnesiacClassifier(sgd, fine_tune_epochs=0).fit(X, y).forget(X, y, [0])
    assert not any(np.any(v) for v in system.estimator_._optimizer.velocities)


def test_counter_of_the_learning_rate_goes_back():
    X, y = blobs(60)
    system = AmnesiacClassifier(
        SGDClassifier(), batch_size=10, n_epochs=2, fine_tune_epochs=0
    ).fit(X, y)
    assert system.estimator_.t_ == 121
    assert system.forget(X, y, [5]).estimator_.t_ == 101


# -- what it is for --------------------------------------------------------------------


@pytest.mark.parametrize("method", ["subtract", "relabel"])
def test_labels_learnt_by_heart_are_forgotten(method):
    X, y = blobs(96, d=8)
    wrong = mask_of(96, [0, 40, 80])
    y = np.where(wrong, 1 - y, y)
    net = MLPClassifier((40,), learning_rate_init=0.02, random_state=0)
    system = AmnesiacClassifier(
        net, method=method, n_epochs=40, batch_size=8, random_state=0
    ).fit(X, y, forgettable=wrong)
    assert system.score(X[wrong], y[wrong]) == 1.0
    system.set_params(fine_tune_epochs=4).forget(X, y, wrong)
    assert system.score(X[wrong], y[wrong]) < 0.5
    assert system.score(X[~wrong], y[~wrong]) > 0.9


def test_relabelled_rows_get_any_other_label():
    X, y = blobs(300, k=3)
    names = np.array(["a", "b", "c"])
    system = AmnesiacClassifier(LINE, method="relabel", random_state=0)
    system.fit(X, names[y])
    gone = mask_of(300, range(200))
    rng = np.random.RandomState(0)
    drawn = system._relabelled(names[y], gone, ~gone, rng)
    assert (drawn[gone] != names[y][gone]).all()
    assert (drawn[~gone] == names[y][~gone]).all()
    counts = [(drawn[gone & (y == 0)] == name).mean() for name in "bc"]
    np.testing.assert_allclose(counts, 0.5, atol=0.15)


def test_relabelling_trains_on_all_rows_and_stores_nothing():
    X, y = regression()
    system = AmnesiacRegressor(
        SGDRegressor(random_state=0), method="relabel", fine_tune_epochs=5
    ).fit(X, y)
    assert system.storage_ == 0
    gone = np.abs(y) > 4
    before = np.abs(system.predict(X) - y)[gone].mean()
    system.forget(X, y, gone)
    assert system.cost_ == 5 * 60
    assert np.abs(system.predict(X) - y)[gone].mean() > before
    with pytest.raises(ValueError, match="No updates are recorded"):
        system.set_params(method="subtract").forget(X, y, np.flatnonzero(~gone)[:1])


def test_relabelling_ends_the_records():
    X, y = blobs(40)
    system = AmnesiacClassifier(LINE, random_state=0).fit(X, y)
    assert system.storage_ > 0
    assert system.set_params(method="relabel").forget(X, y, [1]).storage_ == 0


# -- which rows may be asked for -------------------------------------------------------


def test_only_forgettable_rows_are_recorded():
    X, y = blobs(100)
    everything = AmnesiacClassifier(LINE, random_state=0).fit(X, y)
    few = AmnesiacClassifier(LINE, random_state=0).fit(X, y, forgettable=[4])
    assert few.storage_ < everything.storage_ / 2
    assert few.forgettable_.nonzero()[0].tolist() == [4]
    np.testing.assert_array_equal(vector(few.estimator_), vector(everything.estimator_))
    for system in (few, everything):
        system.forget(X, y, [4])
    np.testing.assert_array_equal(vector(few.estimator_), vector(everything.estimator_))
    before = snapshot(few)
    with pytest.raises(ValueError, match=r"positions \[7\] were not among the forgett"):
        few.forget(X, y, [7])
    assert snapshot(few) == before
    few.set_params(method="relabel").forget(X, y, [7])
    assert few.forgotten_.nonzero()[0].tolist() == [4, 7]


def test_nothing_may_be_asked_for():
    X, y = blobs(40)
    system = AmnesiacClassifier(LINE).fit(X, y, forgettable=np.zeros(40, bool))
    assert system.storage_ == 0
    assert system.forget(X, y, []).cost_ == 0


def test_rows_by_label_and_names_of_columns(recwarn):
    X, y = blobs(60)
    table = frame(X)
    system = AmnesiacClassifier(NET, random_state=0)
    system.fit(table, y, forgettable=table.index[:9])
    system.forget(table, y, table.index[[2, 5]])
    assert system.forgotten_.nonzero()[0].tolist() == [2, 5]
    assert system.estimator_.feature_names_in_.tolist() == list(table.columns)
    assert system.predict(table).shape == (60,)
    assert not [w for w in recwarn if "feature names" in str(w.message)]
    plain = AmnesiacClassifier(NET, random_state=0).fit(X, y, forgettable=range(9))
    plain.forget(X, y, [2, 5])
    np.testing.assert_array_equal(vector(plain.estimator_), vector(system.estimator_))


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ([99], IndexError, "forgettable has positions outside"),
        (np.ones(3, bool), ValueError, "forgettable has shape"),
        (["a"], TypeError, "forgettable must be"),
    ],
)
def test_bad_forgettable_changes_nothing(given, error, match):
    X, y = blobs(40)
    system = AmnesiacClassifier(LINE, random_state=0)
    with pytest.raises(error, match=match):
        system.fit(X, y, forgettable=given)
    assert vars(system).keys() == system.get_params(deep=False).keys()


def test_rows_that_were_forgotten_may_hold_anything():
    X, y = blobs(60)
    system = AmnesiacClassifier(make_pipeline(StandardScaler(), NET), random_state=0)
    system.fit(X, y).forget(X, y, [3])
    twin = copy.deepcopy(system).forget(X, y, [8])
    X = np.array(X)
    X[3] = np.nan
    system.forget(X, y, [8])
    np.testing.assert_array_equal(vector(system.estimator_), vector(twin.estimator_))


# -- storage ---------------------------------------------------------------------------


def test_spilled_updates_are_those_in_memory(tmp_path):
    X, y = blobs(60)
    memory = AmnesiacClassifier(NET, random_state=0).fit(X, y)
    spilled = AmnesiacClassifier(NET, storage=tmp_path, random_state=0).fit(X, y)
    assert spilled.storage_ == memory.storage_
    (file,) = tmp_path.iterdir()
    index = 10 * (60 * 4 + 2 * 8)
    assert file.stat().st_size == spilled.storage_ - index
    copied, pickled = copy.deepcopy(spilled), pickle.loads(pickle.dumps(spilled))
    for system in (memory, spilled):
        system.forget(X, y, [5]).forget(X, y, [6, 7])
    assert len(list(tmp_path.iterdir())) == 1
    theta = vector(memory.estimator_)
    np.testing.assert_array_equal(vector(spilled.estimator_), theta)
    del spilled, system
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    for system in (copied, pickled):
        system.forget(X, y, [5]).forget(X, y, [6, 7])
        np.testing.assert_array_equal(vector(system.estimator_), theta)


def test_failed_calls_keep_the_file(tmp_path):
    X, y = blobs(60)
    system = AmnesiacClassifier(NET, storage=tmp_path, random_state=0).fit(X, y)
    before = set(tmp_path.iterdir())
    with pytest.raises(ValueError, match="would be left"):
        system.forget(X, y, np.ones(60, dtype=bool))
    with pytest.raises(ValueError, match="NaN"):
        system.fit(np.full_like(X, np.nan), y)
    gc.collect()
    assert set(tmp_path.iterdir()) == before
    assert system.forget(X, y, [3]).forgotten_.sum() == 1


def test_no_such_directory(tmp_path):
    X, y = blobs(40)
    with pytest.raises(ValueError, match="neither 'memory' nor a directory"):
        AmnesiacClassifier(LINE, storage=tmp_path / "none").fit(X, y)


# -- Ctrl-C ----------------------------------------------------------------------------


class Interrupted(SGDClassifier):
    """Ctrl-C during the call number `stop` of partial_fit."""

    calls = stop = 0

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        super().partial_fit(X, y, classes, sample_weight)
        type(self).calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        return self


class Swallowed(MLPClassifier):
    """A network that ends its epoch before the batch, as it does for Ctrl-C."""

    calls = stop = 0

    def partial_fit(self, X, y, sample_weight=None, classes=None):
        super().partial_fit(X, y, sample_weight, classes)
        type(self).calls += 1
        if self.calls == self.stop:
            self.n_iter_ = 0
        return self


@pytest.mark.parametrize(
    "estimator",
    [Interrupted(loss="log_loss", random_state=0), Swallowed((3,), random_state=0)],
    ids=["line", "network"],
)
def test_ctrl_c_keeps_whole_epochs(estimator, tmp_path):
    X, y = blobs(50)
    kind = type(estimator)
    kind.calls, kind.stop = 0, 13
    whole = {"batch_size": 10, "random_state": 0, "storage": tmp_path}
    with pytest.warns(InterruptedWarning, match="first 2 of 6 epochs"):
        system = AmnesiacClassifier(estimator, n_epochs=6, **whole).fit(X, y)
    assert system.cost_ == 2 * 50
    kind.stop = 0
    twin = AmnesiacClassifier(estimator, n_epochs=2, **whole).fit(X, y)
    np.testing.assert_array_equal(vector(system.estimator_), vector(twin.estimator_))
    assert system.storage_ == twin.storage_
    kind.calls, kind.stop = 0, 3
    with pytest.raises(KeyboardInterrupt):
        system.forget(X, y, [4])
    assert not system.forgotten_.any()
    np.testing.assert_array_equal(vector(system.estimator_), vector(twin.estimator_))
    kind.stop = 0
    for one in (system, twin):
        one.forget(X, y, [4]).forget(X, y, [5])
    np.testing.assert_array_equal(vector(system.estimator_), vector(twin.estimator_))


# -- scikit-learn ----------------------------------------------------------------------

SCALED = make_pipeline(StandardScaler(), LINE)


# Beside those of `test_contract`.
@parametrize_with_checks([AmnesiacClassifier(SCALED, random_state=0)])
def test_common_checks(estimator, check):
    check(estimator)


def test_estimator_is_plain_and_the_users_is_left_alone():
    X, y = blobs(60)
    user = MLPClassifier((4,), batch_size=7)
    before = snapshot(user)
    system = AmnesiacClassifier(user, batch_size=16, random_state=0).fit(X, y)
    assert snapshot(user) == before
    assert type(system.estimator_) is MLPClassifier
    changed = {"batch_size", "random_state"}
    for name, value in user.get_params().items():
        if name not in changed:
            assert system.estimator_.get_params()[name] == value
    assert system.estimator_.batch_size == 16
    assert system.cost_ == 10 * 60
    kept = system.estimator_
    theta = vector(kept).copy()
    system.forget(X, y, [1])
    np.testing.assert_array_equal(vector(kept), theta)
    assert system.cost_ == 59


@pytest.mark.parametrize("front", [[], [("scale", StandardScaler())]], ids=len)
def test_steps_in_front_stay_as_they_were(front):
    X, y = blobs(60)
    system = AmnesiacClassifier(Pipeline([*front, ("end", LINE)]), random_state=0)
    system.fit(X, y)
    first = system.estimator_
    system.forget(X, y, [0])
    assert isinstance(system.estimator_, Pipeline)
    assert system.estimator_.steps[:-1] == first.steps[:-1]
    assert system.score(X, y) > 0.8
    if front:
        np.testing.assert_allclose(system.estimator_["scale"].mean_, X.mean(axis=0))


def test_sparse_rows():
    X, y = blobs(60)
    dense, coded = (
        AmnesiacClassifier(NET, random_state=0).fit(rows, y).forget(rows, y, [4])
        for rows in (X, sparse.csr_array(X))
    )
    np.testing.assert_allclose(
        vector(coded.estimator_), vector(dense.estimator_), rtol=1e-9
    )
    # SGDClassifier learns intercepts more slowly from sparse rows.
    line = AmnesiacClassifier(LINE, random_state=0).fit(sparse.csr_array(X), y)
    assert line.forget(sparse.csr_array(X), y, [4]).score(X, y) > 0.8


def test_several_targets_of_a_network():
    X, y = regression()
    Y = np.column_stack([y, -y])
    system = AmnesiacRegressor(
        MLPRegressor(hidden_layer_sizes=(4,)), random_state=0
    ).fit(X, Y)
    assert system.forget(X, Y, [3]).predict(X).shape == (60, 2)


def test_a_class_may_go():
    X, y = blobs(90, k=3)
    system = AmnesiacClassifier(NET, n_epochs=20, random_state=0).fit(X, y)
    system.set_params(fine_tune_epochs=10).forget(X, y, y == 2)
    assert system.classes_.tolist() == [0, 1, 2]
    assert (system.predict(X[y == 2]) == 2).mean() < 0.2


BAD = {
    "no batches": (LogisticRegression(), "takes MLPClassifier or SGDClassifier"),
    "another kind": (Perceptron(), "takes MLPClassifier or SGDClassifier"),
    "regressor": (SGDRegressor(), "takes MLPClassifier or SGDClassifier"),
    "end of a pipeline": (
        make_pipeline(StandardScaler(), LogisticRegression()),
        "takes MLPClassifier or SGDClassifier",
    ),
    "frozen": (FrozenEstimator(LINE), "FrozenEstimator"),
    "lbfgs": (MLPClassifier(solver="lbfgs"), "solver='lbfgs' has no batches"),
    "warm start": (MLPClassifier(warm_start=True), "warm_start=True"),
    "early stopping": (SGDClassifier(early_stopping=True), "early_stopping=True"),
    "averages": (SGDClassifier(average=True), "two sets of coefficients"),
    "balanced": (SGDClassifier(class_weight="balanced"), "balanced"),
}


@pytest.mark.parametrize("case", BAD)
def test_estimators_that_are_refused(case):
    estimator, match = BAD[case]
    X, y = blobs(40)
    system = AmnesiacClassifier(estimator)
    with pytest.raises(ValueError, match=match):
        system.fit(X, y)
    assert vars(system).keys() == system.get_params(deep=False).keys()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"method": "undo"}, "method='undo'"),
        ({"n_epochs": 0}, "n_epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"fine_tune_epochs": -1}, "fine_tune_epochs"),
        ({"shuffle": 1}, "shuffle"),
    ],
)
def test_bad_parameters(settings, match):
    X, y = blobs(40)
    with pytest.raises((ValueError, TypeError), match=match):
        AmnesiacClassifier(LINE, **settings).fit(X, y)
    system = AmnesiacClassifier(LINE).fit(X, y).set_params(**settings)
    with pytest.raises((ValueError, TypeError), match=match):
        system.forget(X, y, [1])
    assert not system.forgotten_.any()


def test_several_labels_a_row_are_refused():
    X, y = blobs(40)
    with pytest.raises(ValueError, match="one label a row"):
        AmnesiacClassifier(NET).fit(X, np.column_stack([y, 1 - y]))


def test_progress_bar(capsys):
    pytest.importorskip("tqdm")
    X, y = blobs(40)
    quiet = AmnesiacClassifier(LINE, random_state=0).fit(X, y)
    loud = AmnesiacClassifier(LINE, verbose=1, random_state=0).fit(X, y)
    np.testing.assert_array_equal(vector(loud.estimator_), vector(quiet.estimator_))
