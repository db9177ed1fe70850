"""Influence functions against psi, explicit inverses and refits."""

from functools import partial

import numpy as np
import pytest
from scipy import stats
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import InterruptedWarning, PumaValuator
from skpuma.solvers import CG, LiSSA
from skpuma.utils.errors import StationarityWarning
from skpuma.valuation import InfluenceFunctions
from tests.data import TIGHT, blobs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

NETWORK = MLPClassifier(
    (4,), activation="tanh", solver="lbfgs", alpha=1.0, max_iter=1000, random_state=0
)


def problem(estimator, n=120):
    X, y = blobs(2 * n, k=3)
    if isinstance(estimator, (Ridge, PoissonRegressor)):
        y = np.exp(0.3 * X[:, 0]) + y
    return (X[:n], y[:n]), (X[n:], y[n:])


@pytest.mark.parametrize("with_val", [True, False])
@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        LogisticRegression(class_weight="balanced"),
        make_pipeline(StandardScaler(), LogisticRegression()),
        Ridge(),
        PoissonRegressor(),
        NETWORK,
    ],
    ids=str,
)
def test_values_are_psi_of_the_mean_loss(estimator, with_val):
    train, test = problem(estimator)
    val = {"X_val": test[0], "y_val": test[1]} if with_val else {}
    valuator = PumaValuator(estimator, random_state=0).fit(*train, **val)
    system = InfluenceFunctions(estimator, random_state=0).fit(*train, **val)
    np.testing.assert_allclose(system.values_, valuator.psi_[:, 0], rtol=1e-10)
    np.testing.assert_allclose(
        system.removal_effect_, valuator.removal_effect_[:, 0], rtol=1e-10
    )
    if with_val:
        mean = system.up_loss(*train, *test).mean(axis=0)
        size = np.abs(system.values_).max()
        np.testing.assert_allclose(-mean, system.values_, atol=1e-8 * size)


@pytest.mark.parametrize(
    ("solver", "tolerance"),
    [
        ("cholesky", 1e-9),
        ("eigh", 1e-9),
        (partial(CG, tolerance=1e-10), 1e-8),
        (partial(LiSSA, tolerance=1e-6, batch_size=120), 1e-4),
    ],
    ids=["cholesky", "eigh", "cg", "lissa"],
)
def test_equals_the_explicit_inverse(solver, tolerance):
    (X, y), (X_test, y_test) = problem(None)
    X, X_test = X[y < 2], X_test[y_test < 2]
    y, y_test = y[y < 2], y_test[y_test < 2]
    model = LogisticRegression(C=0.5, fit_intercept=False, **TIGHT)
    system = InfluenceFunctions(model, solver=solver)
    system.fit(X, y, X_val=X_test, y_val=y_test)
    w = model.fit(X, y).coef_[0]
    p, p_test = (1 / (1 + np.exp(-A @ w)) for A in (X, X_test))
    n = len(y)
    H = (X.T * (p * (1 - p))) @ X / n + np.eye(X.shape[1]) / (0.5 * n)
    g, g_test = (p - y)[:, None] * X, (p_test - y_test)[:, None] * X_test
    params = -g @ np.linalg.inv(H)
    for found, expected in (
        (system.up_params(X, y), params),
        (system.up_loss(X, y, X_test, y_test), g_test @ params.T),
        (system.self_influence(X, y), -np.einsum("np,np->n", g, params)),
    ):
        size = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=tolerance * size)


@pytest.mark.parametrize("estimator", [LogisticRegression(**TIGHT), Ridge()], ids=str)
def test_predicts_refits(estimator):
    train, test = problem(estimator, n=300)
    val = {"X_val": test[0], "y_val": test[1]}
    system = InfluenceFunctions(estimator).fit(*train, **val)
    up_params = system.up_params(*train)
    up_loss = system.up_loss(*train, test[0][:1], test[1][:1])[0]
    rows = np.argsort(-np.abs(up_loss))[:30]
    before, _ = state(estimator.fit(*train), test)
    loss_before = state(estimator, test)[1]
    moved, risen = [], []
    for row in rows:
        keep = np.arange(len(train[1])) != row
        after, loss = state(estimator.fit(train[0][keep], train[1][keep]), test)
        moved.append(after - before)
        risen.append(loss - loss_before)
    W = system.total_weight_
    for predicted, actual in (
        (-up_loss[rows] / W, np.array(risen)),
        ((-up_params[rows] / W).ravel(), np.array(moved).ravel()),
    ):
        fit = stats.linregress(predicted, actual)
        assert fit.rvalue > 0.99
        assert 0.95 < fit.slope < 1.1


def state(model, test):
    """(theta in the order of the parameters, loss on the first test row)."""
    coef = np.atleast_2d(model.coef_)
    free = np.ravel(model.intercept_)
    if len(coef) > 1:
        free = free - free.mean()
    theta = np.concatenate([coef.ravel(), free])
    x, y = test[0][:1], test[1][0]
    if hasattr(model, "predict_log_proba"):
        return theta, -model.predict_log_proba(x)[0, y]
    return theta, 0.5 * (model.predict(x)[0] - y) ** 2


def test_self_influence_is_up_loss_on_itself():
    train, test = problem(None)
    system = InfluenceFunctions().fit(*train, X_val=test[0], y_val=test[1])
    own = np.diag(system.up_loss(*train, *train))
    np.testing.assert_allclose(system.self_influence(*train), -own, rtol=1e-9)


def test_blocks_and_outputs_of_the_caller(monkeypatch, tmp_path):
    train, test = problem(None)
    system = InfluenceFunctions().fit(*train, X_val=test[0], y_val=test[1])
    one = system.up_loss(*train, *test)
    monkeypatch.setattr("skpuma.rows.BLOCK_BYTES", 1)
    out = np.memmap(tmp_path / "out", float, "w+", shape=one.shape)
    assert system.up_loss(*train, *test, out=out) is out
    np.testing.assert_allclose(out, one, rtol=1e-9)
    with pytest.raises(ValueError, match="out has shape"):
        system.up_params(*train, out=out)


def test_keeps_no_rows_and_refuses_others():
    train, test = problem(None)
    system = InfluenceFunctions().fit(*train, X_val=test[0], y_val=test[1])
    with pytest.raises(ValueError, match="not those of the fit"):
        system.up_params(train[0][::-1], train[1][::-1])
    with pytest.raises(ValueError, match="not fitted"):
        InfluenceFunctions().up_loss(*train, *test)


def test_frozen_estimators():
    train, test = problem(None)
    frozen = FrozenEstimator(LogisticRegression(**TIGHT).fit(*train))
    val = {"X_val": test[0], "y_val": test[1]}
    system = InfluenceFunctions(frozen).fit(*train, **val)
    plain = InfluenceFunctions(LogisticRegression(**TIGHT)).fit(*train, **val)
    np.testing.assert_allclose(system.values_, plain.values_, rtol=1e-6)
    with pytest.raises(ValueError, match="pass X_val="):
        InfluenceFunctions(frozen).fit(*train)


def test_an_unfinished_network_is_told():
    train, test = problem(None)
    short = MLPClassifier((4,), max_iter=3, random_state=0)
    with pytest.warns(StationarityWarning, match="train longer"):
        InfluenceFunctions(short).fit(*train, X_val=test[0], y_val=test[1])


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"polish": "yes"}, "polish must be True or False"),
        ({"curvature": "flat"}, "curvature='flat' is not"),
        ({"damping": -1.0}, "damping must be >= 0"),
        ({"solver": "magic"}, "Unknown solver 'magic'"),
    ],
)
def test_bad_parameters(parameters, match):
    train, test = problem(None)
    with pytest.raises((TypeError, ValueError), match=match):
        InfluenceFunctions(**parameters).fit(*train, X_val=test[0], y_val=test[1])


def interrupting(at):
    """LogisticRegression.fit with Ctrl-C at a call."""
    fit, calls = LogisticRegression.fit, []

    def one(self, X, y, sample_weight=None):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return fit(self, X, y, sample_weight)

    return one


def test_ctrl_c_keeps_the_folds_that_are_done(monkeypatch):
    (X, y), _ = problem(None, n=60)
    folds = list(StratifiedKFold(3).split(X, y))
    two = InfluenceFunctions(cv=folds[:2]).fit(X, y)
    assert not two.interrupted_
    # The first fit is that of all rows.
    with monkeypatch.context() as patched:
        patched.setattr(LogisticRegression, "fit", interrupting(4))
        with pytest.warns(InterruptedWarning, match="first 2 of 3 folds"):
            system = InfluenceFunctions(cv=folds).fit(X, y)
    assert system.interrupted_
    np.testing.assert_allclose(system.values_, two.values_)
    monkeypatch.setattr(LogisticRegression, "fit", interrupting(2))
    with pytest.raises(KeyboardInterrupt):
        InfluenceFunctions(cv=folds).fit(X, y)


def test_a_bar_over_the_folds(monkeypatch, capsys):
    pytest.importorskip("tqdm")
    monkeypatch.setattr("skpuma.utils._progress.BAR_AFTER_SECONDS", 0)
    (X, y), _ = problem(None, n=60)
    InfluenceFunctions(verbose=1, cv=2).fit(X, y)
    assert "folds" in capsys.readouterr().err


def test_n_jobs_is_checked():
    (X, y), _ = problem(None, n=60)
    with pytest.raises(ValueError, match="n_jobs=0 has no meaning"):
        InfluenceFunctions(n_jobs=0).fit(X, y, X_val=X, y_val=y)
