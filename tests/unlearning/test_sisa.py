"""SISA, against ensembles that the tests train shard by shard."""

from copy import deepcopy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skpuma.unlearning import SISAClassifier, SISARegressor
from skpuma.unlearning._sharding import expected_speedup, slice_epochs
from tests.data import blobs, frame, frozen

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 150
FOREST = DecisionTreeClassifier(max_features=2)
CLASSIFIERS = {
    "logistic": (LogisticRegression(), {}),
    "pipeline": (make_pipeline(StandardScaler(), LogisticRegression()), {}),
    "tree": (FOREST, {}),
    "one shard": (FOREST, {"n_shards": 1}),
    "size": (FOREST, {"weights": "size"}),
    "votes": (LinearSVC(), {"aggregation": "label"}),
    "network": (MLPClassifier((4,), max_iter=15), {}),
    "sgd, slices": (
        SGDClassifier(loss="log_loss"),
        {"n_slices": 4, "epochs": 6},
    ),
    "averaged sgd": (
        SGDClassifier(loss="log_loss", average=True),
        {"n_slices": 3, "epochs": 5},
    ),
    "epochs only": (SGDClassifier(loss="log_loss"), {"epochs": 3}),
    "network, slices": (MLPClassifier((4,)), {"n_slices": 3, "epochs": 4}),
    "momentum": (
        MLPClassifier((4,), solver="sgd", batch_size=7, random_state=3),
        {"n_slices": 2, "epochs": 3, "n_shards": 3},
    ),
    "bayes": (GaussianNB(), {"n_slices": 3, "epochs": 2}),
}
REGRESSORS = {
    "ridge": (Ridge(), {}),
    "tree": (DecisionTreeRegressor(max_features=2), {"weights": "size"}),
    "sgd, slices": (SGDRegressor(), {"n_slices": 4, "epochs": 4}),
    "network, slices": (
        MLPRegressor(hidden_layer_sizes=(4,)),
        {"n_slices": 3, "epochs": 5},
    ),
}
CASES = [
    pytest.param(kind, *case, id=f"{kind.__name__}, {name}")
    for kind, cases in ((SISAClassifier, CLASSIFIERS), (SISARegressor, REGRESSORS))
    for name, case in cases.items()
]


def rows(kind, n=N):
    X, y = blobs(n, d=4, k=3)
    if kind is SISAClassifier:
        return X, y
    rng = np.random.default_rng(0)
    return frozen(X, X @ [1.0, -2.0, 0.5, 0.0] + rng.standard_normal(n))


def one_shard(system, k, X, y):
    """A model of the shard's rows, trained here from the first row to the last."""
    recipe = system._recipes[k]
    inside = system.shards_ == k
    model = clone(recipe.estimator)
    if system.n_slices == 1 and system.epochs is None:
        if len(set(y[inside])) == 1 and isinstance(system, SISAClassifier):
            return DummyClassifier().fit(X[inside], y[inside])
        return model.fit(X[inside], y[inside])
    labels = (
        {"classes": sorted(set(y[~system.forgotten_].tolist()))}
        if isinstance(system, SISAClassifier)
        else {}
    )
    epochs, n_slices = system.epochs or 20, system.n_slices
    for step in range(n_slices):
        index = np.flatnonzero(inside & (system.slices_ <= step))
        rng = np.random.default_rng((recipe.seed, step))
        first = int(2 * epochs * step / (n_slices + 1))
        last = int(2 * epochs * (step + 1) / (n_slices + 1))
        for _ in range(last - first):
            order = rng.permutation(index)
            if len(order):
                model.partial_fit(X[order], y[order], **labels)
    return model


def by_hand(system, X, y, X_new):
    """Predictions of an ensemble that has never seen the rows that are forgotten."""
    X, y = X.copy(), y.copy()
    X[system.forgotten_], y[system.forgotten_] = 7e7, y[~system.forgotten_][0]
    total, weights = 0.0, 0.0
    for k in range(system.n_shards):
        size = (system.shards_ == k).sum()
        if not size:
            continue
        model = one_shard(system, k, X, y)
        weight = float(size) if system.weights == "size" else 1.0
        weights += weight
        if isinstance(system, SISARegressor):
            total = total + weight * model.predict(X_new)
            continue
        if system.aggregation == "label":
            table, known = np.eye(len(system.classes_)), system.classes_.tolist()
            shares = table[[known.index(label) for label in model.predict(X_new)]]
        else:
            given = dict(zip(model.classes_, model.predict_proba(X_new).T, strict=True))
            absent = np.zeros(len(X_new))
            shares = np.array([given.get(c, absent) for c in system.classes_]).T
        total = total + weight * shares
    return total / weights


def outputs(system, X):
    regresses = isinstance(system, SISARegressor)
    return system.predict(X) if regresses else system.predict_proba(X)


# -- exactness -------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "estimator", "settings"), CASES)
def test_forgetting_is_training_without_the_rows(kind, estimator, settings):
    X, y = rows(kind)
    system = kind(estimator, random_state=0, **settings).fit(X, y)
    np.testing.assert_array_equal(outputs(system, X), by_hand(system, X, y, X))
    before = outputs(system, X)
    rng = np.random.default_rng(1)
    # One after the other: each starts from checkpoints that the last one has made.
    for gone in np.array_split(rng.permutation(N)[:36], [1, 2, 6]):
        system.forget(X, y, gone)
        np.testing.assert_array_equal(outputs(system, X), by_hand(system, X, y, X))
    assert np.abs(outputs(system, X) - before).max() > 1e-6


@pytest.mark.parametrize(("kind", "estimator", "settings"), CASES)
def test_only_shards_that_lost_rows_are_trained(kind, estimator, settings):
    X, y = rows(kind)
    system = kind(estimator, random_state=0, **settings).fit(X, y)
    before = list(system.estimators_)
    system.forget(X, y, [5])
    touched = [a is not b for a, b in zip(before, system.estimators_, strict=True)]
    assert sum(touched) == 1
    assert system.shards_[5] == system.slices_[5] == -1


def test_one_shard_and_slice_is_plain_training():
    X, y = rows(SISAClassifier)
    plain = LogisticRegression().fit(X, y)
    system = SISAClassifier(n_shards=1).fit(X, y)
    np.testing.assert_array_equal(system.predict_proba(X), plain.predict_proba(X))
    assert system.cost_ == N * plain.n_iter_.max()


def test_a_deletion_does_not_move_other_rows():
    X, y = rows(SISAClassifier)
    system = SISAClassifier(n_shards=4, random_state=0).fit(X, y)
    shards = system.shards_.copy()
    system.forget(X, y, [3, 70])
    kept = ~system.forgotten_
    np.testing.assert_array_equal(system.shards_[kept], shards[kept])


def test_parameters_of_the_fit_hold():
    X, y = rows(SISAClassifier)
    base = SGDClassifier(loss="log_loss", alpha=1e-3)
    system = SISAClassifier(base, n_slices=2, random_state=0).fit(X, y)
    other = deepcopy(system).forget(X, y, [5])
    base.set_params(alpha=10.0)
    system.forget(X, y, [5])
    np.testing.assert_array_equal(system.predict_proba(X), other.predict_proba(X))


def test_the_last_row_of_a_class():
    X, y = rows(SISAClassifier)
    for estimator, n_slices in ((None, 1), (SGDClassifier(loss="log_loss"), 3)):
        system = SISAClassifier(estimator, n_slices=n_slices, random_state=0)
        system.fit(X, y).forget(X, y, y == 1)
        assert system.classes_.tolist() == [0, 2]
        np.testing.assert_array_equal(outputs(system, X), by_hand(system, X, y, X))
        assert set(system.predict(X)) == {0, 2}


# -- shards ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [30, 151, 400])
def test_classes_are_dealt_evenly(n):
    rng = np.random.default_rng(n)
    y = rng.choice([0, 1, 2], p=[0.6, 0.3, 0.1], size=n)
    X = rng.standard_normal((n, 2))
    base = SGDClassifier(loss="log_loss")
    system = SISAClassifier(base, n_shards=3, n_slices=2, epochs=2, random_state=0)
    system.fit(X, y)
    cells = 2 * system.shards_ + system.slices_
    for codes, size in ((system.shards_, 3), (cells, 6)):
        counts = [np.bincount(codes[y == c], minlength=size) for c in range(3)]
        assert np.ptp(counts, axis=1).max() <= 1
        assert np.ptp(np.sum(counts, axis=0)) <= 1


def test_rows_are_dealt_by_chance():
    X, y = rows(SISARegressor)
    first, second = (
        SISARegressor(random_state=seed).fit(X, y).shards_ for seed in (0, 1)
    )
    assert (first == second).mean() < 0.4
    # Neighbours in the table are together as often as chance has it.
    assert (first[1:] == first[:-1]).mean() == pytest.approx(0.2, abs=0.1)


def test_shards_without_a_class():
    X, y = rows(SISAClassifier, n=60)
    y = np.where(np.arange(60) < 2, "rare", np.array(["a", "b"])[y % 2])
    system = SISAClassifier(random_state=0).fit(X, y)
    assert (
        sorted(len(model.classes_) for model in system.estimators_) == [2] * 3 + [3] * 2
    )
    np.testing.assert_array_equal(outputs(system, X), by_hand(system, X, y, X))
    np.testing.assert_allclose(system.predict_proba(X).sum(axis=1), 1.0)
    assert system.predict_proba(X)[:, 2].max() <= 2 / 5


@pytest.mark.parametrize("aggregation", ["probability", "label"])
@pytest.mark.parametrize("n_slices", [1, 3])
def test_a_shard_with_one_label_left(n_slices, aggregation):
    X, y = rows(SISAClassifier)
    base = LogisticRegression() if n_slices == 1 else SGDClassifier(loss="log_loss")
    system = SISAClassifier(
        base, n_slices=n_slices, aggregation=aggregation, random_state=0
    ).fit(X, y)
    system.forget(X, y, (system.shards_ == 2) & (y > 0))
    np.testing.assert_array_equal(outputs(system, X), by_hand(system, X, y, X))
    if n_slices == 1:
        assert set(system.estimators_[2].predict(X)) == {0}


@pytest.mark.parametrize(
    ("kind", "estimator"),
    [
        (SISAClassifier, None),
        (SISAClassifier, SGDClassifier(loss="log_loss")),
        (SISARegressor, None),
        (SISARegressor, SGDRegressor()),
    ],
)
def test_a_shard_without_rows(kind, estimator):
    X, y = rows(kind)
    n_slices = 1 if estimator is None else 3
    system = kind(estimator, n_slices=n_slices, random_state=0).fit(X, y)
    if n_slices > 1:
        system.forget(X, y, (system.shards_ == 2) & (system.slices_ == 0))
        np.testing.assert_array_equal(outputs(system, X), by_hand(system, X, y, X))
        # Its first checkpoint is of nothing now.
        system.forget(X, y, [np.flatnonzero(system.shards_ == 2)[0]])
        np.testing.assert_array_equal(outputs(system, X), by_hand(system, X, y, X))
    system.forget(X, y, system.shards_ == 2)
    assert system.estimators_[2] is None
    assert system.shard_sizes_[2] == 0
    np.testing.assert_array_equal(outputs(system, X), by_hand(system, X, y, X))


def test_probabilities_are_means_of_the_models():
    X, y = rows(SISAClassifier)
    system = SISAClassifier(random_state=0).fit(X, y)
    mean = np.mean([model.predict_proba(X) for model in system.estimators_], axis=0)
    np.testing.assert_allclose(system.predict_proba(X), mean, rtol=1e-12)
    system.set_params(aggregation="label")
    votes = np.array([model.predict(X) for model in system.estimators_])
    shares = [(votes == label).mean(axis=0) for label in system.classes_]
    np.testing.assert_allclose(system.predict_proba(X), np.transpose(shares))


def test_weights_are_the_rows_that_are_left():
    X, y = rows(SISARegressor)
    system = SISARegressor(weights="size", random_state=0).fit(X, y)
    some = np.flatnonzero(system.shards_ == 1)[:-2]
    system.forget(X, y, some)
    assert system.shard_sizes_.tolist() == [30, 2, 30, 30, 30]
    parts = [model.predict(X) for model in system.estimators_]
    expected = np.average(parts, axis=0, weights=[30, 2, 30, 30, 30])
    np.testing.assert_allclose(system.predict(X), expected, rtol=1e-12)


def test_several_targets():
    X, y = rows(SISARegressor)
    Y = np.column_stack([y, -2 * y])
    system = SISARegressor(random_state=0).fit(X, Y).forget(X, Y, [4])
    assert system.predict(X).shape == (N, 2)
    one = SISARegressor(random_state=0).fit(X, y).forget(X, y, [4])
    np.testing.assert_allclose(system.predict(X)[:, 0], one.predict(X), rtol=1e-10)


# -- slices, cost and storage ----------------------------------------------------------


@pytest.mark.parametrize("n_slices", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("epochs", [4, 5, 10, 20, 33])
def test_slices_train_as_much_as_plain_epochs(n_slices, epochs):
    steps = slice_epochs(n_slices, epochs)
    work = sum(e * (step + 1) / n_slices for step, e in enumerate(steps))
    assert len(steps) == n_slices
    assert min(steps) >= 1
    assert max(steps) - min(steps) <= 1
    assert abs(work - epochs) < 1
    if (2 * epochs) % (n_slices + 1) == 0:
        assert work == pytest.approx(epochs)


@pytest.mark.parametrize(("n_shards", "n_slices"), [(5, 4), (3, 1), (1, 4), (2, 9)])
def test_rows_that_one_deletion_saves(n_shards, n_slices):
    X, y = rows(SISARegressor, n=n_shards * n_slices * 20)
    system = SISARegressor(
        SGDRegressor(), n_shards=n_shards, n_slices=n_slices, epochs=10, random_state=0
    ).fit(X, y)
    assert system.cost_ == 10 * len(y)
    cells = system.shards_ + n_shards * system.slices_
    costs = [
        deepcopy(system).forget(X, y, [row]).cost_
        for row in np.unique(cells, return_index=True)[1]
    ]
    found = system.cost_ / np.mean(costs)
    # The row that is gone is not trained on.
    assert found == pytest.approx(expected_speedup(n_shards, n_slices), rel=0.06)
    assert found > expected_speedup(n_shards, n_slices)


def test_cost_of_fits():
    X, y = rows(SISAClassifier)
    system = SISAClassifier(FOREST, random_state=0).fit(X, y)
    assert system.cost_ == N
    gone = np.flatnonzero(system.shards_ == 1)[:4]
    assert system.forget(X, y, gone).cost_ == 26
    scaled = make_pipeline(StandardScaler(), LogisticRegression())
    system = SISAClassifier(scaled, n_shards=3, random_state=0).fit(X, y)
    assert system.cost_ == sum(50 * m[-1].n_iter_.max() for m in system.estimators_)


def test_storage_is_that_of_the_checkpoints():
    X, y = rows(SISAClassifier)
    network = MLPClassifier((300,), solver="sgd", momentum=0.0)
    stored = [
        SISAClassifier(network, n_shards=2, n_slices=k, epochs=4, random_state=0)
        .fit(X, y)
        .storage_
        for k in (1, 2, 3)
    ]
    # A network keeps its weights, the best ones and the velocity, and a generator.
    checkpoint = 2 * 3 * 8 * (4 * 300 + 300 * 3 + 300 + 3)
    for more in np.diff(stored):
        assert checkpoint <= more <= checkpoint + 2 * 8000
    assert 8 * N <= stored[0] <= 8 * N + 4000


# -- inputs ----------------------------------------------------------------------------


def test_processes():
    X, y = rows(SISAClassifier)
    base = MLPClassifier((3,))
    one, two = (
        SISAClassifier(base, n_slices=2, epochs=3, n_jobs=jobs, random_state=0)
        for jobs in (None, 2)
    )
    one.fit(X, y).forget(X, y, [1, 2, 3])
    two.fit(X, y).forget(X, y, [1, 2, 3])
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_seeds_of_the_shards_differ():
    X, y = rows(SISAClassifier)
    system = SISAClassifier(MLPClassifier((3,)), epochs=1, random_state=0).fit(X, y)
    seeds = {model.random_state for model in system.estimators_}
    assert len(seeds) == 5
    assert None not in seeds


def test_slices_of_a_frame():
    X, y = rows(SISAClassifier)
    table = frame(X)
    base = SGDClassifier(loss="log_loss")
    made = SISAClassifier(base, n_slices=2, random_state=0)
    named = clone(made).fit(table, y).forget(table, y, table.index[[2, 9]])
    plain = clone(made).fit(X, y).forget(X, y, [2, 9])
    np.testing.assert_array_equal(named.predict_proba(table), plain.predict_proba(X))


SGD = SGDClassifier(loss="log_loss")
BAD = {
    "no partial_fit": (
        SISAClassifier(n_slices=2),
        r"no partial_fit as it is set, which n_slices=2 and epochs=None need\.",
    ),
    "epochs of a fit": (SISAClassifier(epochs=5), "no partial_fit"),
    "pipeline": (
        SISAClassifier(make_pipeline(StandardScaler(), SGD), n_slices=2),
        "where it would be a Pipeline",
    ),
    "few epochs": (SISAClassifier(SGD, n_slices=5, epochs=2), "at least epochs=3"),
    "shards": (SISAClassifier(n_shards=0), "n_shards must be >= 1"),
    "many shards": (SISAClassifier(n_shards=N + 1), "as many rows"),
    "slices": (SISAClassifier(SGD, n_slices=1.5), "n_slices must be an int"),
    "epochs": (SISAClassifier(SGD, epochs=0), "epochs must be >= 1"),
    "votes": (SISAClassifier(SGDClassifier()), 'use aggregation="label"'),
    "aggregation": (SISAClassifier(aggregation="mean"), "aggregation must be one of"),
    "weights": (SISARegressor(weights="rows"), "weights must be one of"),
    "regressor": (SISAClassifier(Ridge()), "use SISARegressor"),
    "classifier": (SISARegressor(LogisticRegression()), "use SISAClassifier"),
    "frozen": (SISAClassifier(FrozenEstimator(SGD)), "FrozenEstimator"),
    "jobs": (SISAClassifier(n_jobs=0), "n_jobs=0"),
}


@pytest.mark.parametrize("case", BAD)
def test_parameters_that_make_no_sense(case):
    system, message = BAD[case]
    X, y = rows(SISAClassifier)
    with pytest.raises((ValueError, TypeError), match=message):
        system.fit(X, y)
    assert not hasattr(system, "classes_")
    assert not hasattr(system, "n_features_in_")


def test_several_labels_per_row():
    X, y = rows(SISAClassifier)
    with pytest.raises(ValueError, match="1d array"):
        SISAClassifier(FOREST).fit(X, np.eye(3, dtype=int)[y])


def test_one_row_to_predict():
    X, y = rows(SISAClassifier)
    system = SISAClassifier().fit(X, y)
    assert system.predict(X[:1].tolist()).shape == (1,)
    with pytest.raises(ValueError, match="Reshape your data"):
        system.predict(X[0])
