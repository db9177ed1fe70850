"""PumaPatcher under the contract of unlearning systems."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier

from skpuma import DeltaReachedWarning, PumaPatcher
from skpuma.losses import SquaredLoss
from skpuma.models import BaseModel
from tests import data

TIGHT = LogisticRegression(**data.TIGHT)
PLAIN = {"delta": np.inf, "reweight": False}

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skpuma.StationarityWarning",
    "ignore::skpuma.PatchWarning",
)


def problem(n=120):
    return data.blobs(n)


def regression(n=120):
    X, _ = data.blobs(n)
    y = X @ [1.0, -2.0, 0.5, 0.0] + np.random.default_rng(5).standard_normal(n)
    return X, y


def assert_same(ours, other, tolerance=1e-6):
    ours, other = (np.append(np.ravel(m.coef_), m.intercept_) for m in (ours, other))
    np.testing.assert_allclose(ours, other, atol=tolerance * np.abs(other).max())


# -- forget ----------------------------------------------------------------------------


def test_forget_is_a_patch():
    X, y = problem()
    rows = [3, 17, 40]
    patched = PumaPatcher(TIGHT, delta=0.1).fit(X, y).patch(X, y, remove=rows)
    forgot = PumaPatcher(TIGHT, delta=0.1).fit(X, y)
    assert forgot.forget(X, y, rows) is forgot
    np.testing.assert_array_equal(forgot.coef_, patched.coef_)
    np.testing.assert_array_equal(forgot.row_weight_, patched.row_weight_)
    assert forgot.cost_ == patched.cost_ > 0.0


@pytest.mark.parametrize("frozen", [False, True])
def test_one_call_after_another_is_the_refit(frozen):
    X, y = problem()
    model = FrozenEstimator(clone(TIGHT).fit(X, y)) if frozen else TIGHT
    patcher = PumaPatcher(model, **PLAIN)
    if not frozen:
        with pytest.raises(NotFittedError):
            patcher.forget(X, y, [0])
        patcher.fit(X, y)
    patcher.forget(X, y, range(5)).forget(X, y, range(3, 12))
    assert_same(patcher, clone(TIGHT).fit(X[12:], y[12:]))
    np.testing.assert_array_equal(patcher.row_weight_, np.arange(120) >= 12)
    np.testing.assert_array_equal(patcher.forgotten_, np.arange(120) < 12)


def test_rows_that_are_gone_are_passed_over():
    X, y = problem()
    patcher = PumaPatcher(TIGHT, delta=0.1).fit(X, y).forget(X, y, range(5))
    coef, storage, depth = patcher.coef_, patcher.storage_, len(patcher._undo)
    patcher.forget(X, y, [1, 4])
    assert patcher.cost_ == 0.0
    np.testing.assert_array_equal(patcher.coef_, coef)
    assert (patcher.storage_, len(patcher._undo)) == (storage, depth)
    patcher.unpatch()
    np.testing.assert_array_equal(patcher.row_weight_, 1.0)
    assert patcher.storage_ == 0


def test_unpatch_takes_the_cost_back():
    X, y = problem()
    patcher = PumaPatcher(TIGHT, delta=0.1).fit(X, y)
    costs = [patcher.cost_]
    for row in range(3):
        costs.append(patcher.forget(X, y, [row]).cost_)
    for cost in costs[2::-1]:
        assert patcher.unpatch().cost_ == cost


KINDS = ["array", "frame", "sparse", "strings"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_gone_may_hold_anything(kind):
    X, y = problem()
    rows = [0, 1, 50]
    gone = data.mask_of(120, rows)
    names = np.array(["no", "yes"])
    y = names[y] if kind == "strings" else y
    index = None
    if kind == "frame":
        X = data.frame(X)
        index, rows = X.index, X.index[rows]
    elif kind == "sparse":
        X = sparse.csr_array(X)
    left = [PumaPatcher(TIGHT, **PLAIN).fit(X, y).forget(X, y, rows) for _ in range(2)]
    deleted, y_deleted = X.copy(), y.copy()
    if kind == "frame":
        deleted[gone] = np.nan
    elif kind == "sparse":
        deleted = sparse.csr_array(np.where(gone[:, None], 1e30, X.toarray()))
    else:
        deleted[gone] = np.nan
    y_deleted[gone] = "?" if kind == "strings" else 77
    more = index[[7, 0]] if kind == "frame" else [7, 0]
    left[0].forget(X, y, more)
    left[1].forget(deleted, y_deleted, more)
    np.testing.assert_array_equal(left[0].coef_, left[1].coef_)
    assert (left[1].row_weight_ == 0).sum() == 4


@pytest.mark.parametrize("change", ["row", "label", "order", "number"])
def test_rows_that_are_left_must_be_those_of_the_fit(change):
    X, y = problem()
    patcher = PumaPatcher(TIGHT, delta=0.1).fit(X, y).forget(X, y, [0, 1])
    other, labels = X.copy(), y.copy()
    if change == "row":
        other[5, 0] += 1.0
    elif change == "label":
        labels[5] = 1 - labels[5]
    elif change == "order":
        other[[5, 6]], labels[[5, 6]] = other[[6, 5]], labels[[6, 5]]
    else:
        other, labels = other[:-1], labels[:-1]
    state = data.snapshot(patcher)
    # Also where there is nothing to do.
    for rows in ([7], [0]):
        with pytest.raises(ValueError, match="rows of the fit|the fit had 120"):
            patcher.forget(other, labels, rows)
    assert data.snapshot(patcher) == state


def test_everything_and_a_class_are_not_forgotten():
    X, y = problem()
    patcher = PumaPatcher(TIGHT, delta=0.1).fit(X, y)
    state = data.snapshot(patcher)
    with pytest.raises(ValueError, match="nothing left to learn from"):
        patcher.forget(X, y, np.ones(120, bool))
    with pytest.raises(ValueError, match="nothing left to separate"):
        patcher.forget(X, y, y == 1)
    with pytest.raises(IndexError, match="rows has positions outside"):
        patcher.forget(X, y, [120])
    assert data.snapshot(patcher) == state


def test_the_last_rows_of_one_of_several_classes_are_refused():
    X, y = data.blobs(120, k=3)
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y)
    state = data.snapshot(patcher)
    with pytest.raises(ValueError, match=r"Classes \[2\] would lose their last rows"):
        patcher.forget(X, y, y == 2)
    assert data.snapshot(patcher) == state
    keep = np.flatnonzero(y == 2)[0]
    mask = y == 2
    mask[keep] = False
    assert patcher.forget(X, y, mask).forgotten_.sum() == mask.sum()
    with pytest.raises(ValueError, match="would lose their last rows"):
        patcher.forget(X, y, [keep])


def test_groups_are_forgotten_as_a_whole():
    X, y = problem()
    names = np.array([f"customer {i % 11}" for i in range(120)])
    patcher = PumaPatcher(TIGHT, **PLAIN).fit(X, y).forget(X, y, [0])
    patcher.forget(X, y, ["customer 0", "customer 3"], groups=names)
    gone = np.isin(names, ["customer 0", "customer 3"])
    np.testing.assert_array_equal(patcher.row_weight_, ~gone)
    assert [one[0] for one in patcher.report_.removed_groups] == names[[0, 3]].tolist()
    patcher.forget(X, y, ["customer 3"], groups=names)
    assert patcher.cost_ == 0.0


def test_what_delta_left_is_forgotten_later():
    X, y = problem()
    patcher = PumaPatcher(TIGHT, delta=1e-4, side="both", reweight=False).fit(X, y)
    with pytest.warns(DeltaReachedWarning):
        patcher.forget(X, y, range(15))
    assert 0.0 < patcher.row_weight_[0] < 1.0
    patcher.set_params(delta=np.inf).forget(X, y, range(15))
    assert_same(patcher, clone(TIGHT).fit(X[15:], y[15:]))


# -- what it costs, and what it keeps --------------------------------------------------


class Counting(BaseModel):
    """Knows outputs and their Jacobian, and nothing quicker."""

    convex = True
    loss = SquaredLoss()
    n_outputs = 1
    seen = 0

    def _read(self):
        return self.estimator.coef_, self.estimator.intercept_

    def _write(self, estimator, theta):
        estimator.coef_, estimator.intercept_ = theta[:-1].copy(), theta[-1]

    def ridge(self, total_weight, n_rows):
        return np.append(np.full(self.n_parameters - 1, 1.0 / total_weight), 0.0)

    def raw(self, X):
        Counting.seen += len(X)
        return (X @ self.theta[:-1] + self.theta[-1])[:, None]

    def jacobian(self, X):
        Counting.seen += len(X)
        return np.column_stack([X, np.ones(len(X))])[:, None, :]


class Counted(Ridge):
    """A Ridge whose adapter counts the rows that it is asked about."""

    skpuma_adapter = Counting


@pytest.mark.parametrize("how", [PLAIN, {"delta": 0.05, "trust": 1e-3}], ids=str)
def test_cost_is_half_of_the_rows_that_were_asked_about(how):
    X, y = regression()
    patcher = PumaPatcher(Counted(), solver="cholesky", **how).fit(X, y)
    assert patcher.cost_ == 120
    Counting.seen = 0
    patcher.forget(X, y, range(6))
    assert patcher.cost_ == Counting.seen / 2 > 120
    assert_same(
        PumaPatcher(Counted(), **PLAIN).fit(X, y).forget(X, y, range(6)),
        Ridge().fit(X[6:], y[6:]),
    )


def test_cost_of_a_fit_is_its_iterations():
    X, y = problem()
    weight = np.where(np.arange(120) < 20, 0.0, 1.0)  # never in the fit
    net = MLPClassifier((3,), max_iter=17, random_state=0)
    patcher = PumaPatcher(net).fit(X, y, weight)
    assert patcher.cost_ == 100 * patcher.estimator_.n_iter_ == 1700
    with_patch = PumaPatcher(net).fit(X, y, weight, marked=data.mask_of(120, [30]))
    patcher.forget(X, y, [30])
    assert with_patch.cost_ == 1700 + patcher.cost_
    assert patcher.forgotten_.nonzero()[0].tolist() == [30]
    frozen = PumaPatcher(FrozenEstimator(patcher.estimator_)).fit(X, y)
    assert frozen.cost_ == 0.0


def test_curvature_of_few_rows_costs_less():
    X, y = problem()
    net = MLPClassifier((3,), max_iter=17, random_state=0)
    costs = [
        PumaPatcher(net, curvature_rows=size, **PLAIN).fit(X, y).forget(X, y, [3]).cost_
        for size in (10, None)
    ]
    assert costs[0] < costs[1]


def test_storage_is_what_undoing_takes():
    X, y = problem()
    net = MLPClassifier((50,), max_iter=5, random_state=0)
    patcher = PumaPatcher(net, steps=1, delta=0.1)
    assert not hasattr(patcher, "storage_") and not hasattr(patcher, "forgotten_")
    patcher.fit(X, y)
    assert patcher.storage_ == 0
    sizes = []
    for row in range(3):
        before = len(data.snapshot(patcher))
        patcher.forget(X, y, [row])
        sizes.append(patcher.storage_)
        # At least the parameters, at most what the patcher has grown by.
        model = sum(one.nbytes for one in patcher.estimator_.coefs_)
        grown = len(data.snapshot(patcher)) - before
        assert model < np.diff([0, *sizes])[-1] < 1.2 * grown + 2000
    assert patcher.finalize().storage_ == 0
