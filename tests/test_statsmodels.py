"""Leverage, Cook's distance and DFBETAS are those of statsmodels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import (
    GammaRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)

from skpuma import PumaValuator, scores
from skpuma.curvature import curvature_of
from skpuma.diagnostics import diagnostics
from skpuma.solvers import factor
from skpuma.utils.errors import NotDifferentiableError
from tests.contracts import problems

sm = pytest.importorskip("statsmodels.api")

TIGHT = {"solver": "newton-cholesky", "tol": 1e-13, "max_iter": 1000}
LOG = sm.families.links.Log()
# (estimator, task, family of statsmodels)
CASES = {
    "logistic": (
        LogisticRegression(C=np.inf, **TIGHT),
        "binary",
        sm.families.Binomial(),
    ),
    "poisson": (PoissonRegressor(alpha=0.0, **TIGHT), "counts", sm.families.Poisson()),
    "gamma": (
        GammaRegressor(alpha=0.0, **TIGHT),
        "positive",
        sm.families.Gamma(LOG),
    ),
    "tweedie": (
        TweedieRegressor(power=1.6, alpha=0.0, **TIGHT),
        "counts",
        sm.families.Tweedie(LOG, 1.6),
    ),
}
CLOSE = {"rtol": 1e-8, "atol": 1e-8}


def problem(task, n=80, d=3):
    X = problems.rows(n, d)
    y = problems.TARGETS[task](X)
    return X, y, (y == "yes").astype(float) if task == "binary" else y


def compare(ours, theirs):
    np.testing.assert_allclose(ours.leverage, theirs.hat_matrix_diag, **CLOSE)
    np.testing.assert_allclose(ours.residual, theirs.resid_studentized, **CLOSE)
    np.testing.assert_allclose(ours.cooks_distance, theirs.cooks_distance[0], **CLOSE)
    # Their constant comes first, our intercept last.
    theirs = np.roll(np.asarray(theirs.dfbetas), -1, axis=1)
    np.testing.assert_allclose(ours.dfbetas, theirs, **CLOSE)


def test_linear_regression():
    X, y, _ = problem("regression")
    objective = problems.objective_of(LinearRegression().fit(X, y), X, y)
    fitted = sm.OLS(y, sm.add_constant(X)).fit()
    ours = diagnostics(objective)
    compare(ours, fitted.get_influence())
    assert ours.scale == pytest.approx(fitted.scale, rel=1e-12)
    assert ours.n_effective == pytest.approx(4.0, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("name", CASES)
def test_generalised_linear_models(name, weighted):
    estimator, task, family = CASES[name]
    X, y, response = problem(task)
    weight = problems.weights(len(y)) + 0.1 if weighted else np.ones(len(y))
    estimator.fit(X, y, sample_weight=weight)
    objective = problems.objective_of(estimator, X, y, weight)
    glm = sm.GLM(response, sm.add_constant(X), family, var_weights=weight)
    fitted = glm.fit(tol=1e-14, maxiter=500)
    # With the expected information, which is that of R as well.
    compare(diagnostics(objective), fitted.get_influence(observed=False))


@pytest.mark.parametrize("name", CASES)
def test_leverage_of_frequencies(name):
    # Cook's distance is left out: theirs does not weigh the residuals then.
    estimator, task, family = CASES[name]
    X, y, response = problem(task)
    weight = 1.0 + np.arange(len(y)) % 3
    estimator.fit(X, y, sample_weight=weight)
    objective = problems.objective_of(estimator, X, y, weight)
    glm = sm.GLM(response, sm.add_constant(X), family, freq_weights=weight)
    fitted = glm.fit(tol=1e-14, maxiter=500)
    expected, observed = (
        fitted.get_influence(observed=one).hat_matrix_diag for one in (False, True)
    )
    np.testing.assert_allclose(diagnostics(objective).leverage, expected, **CLOSE)
    solver = factor(curvature_of(objective), "cholesky")
    np.testing.assert_allclose(scores.leverage(objective, solver), observed, **CLOSE)


@pytest.mark.parametrize("name", ["logistic", "poisson"])
def test_leverage_of_a_valuator(name):
    estimator, task, family = CASES[name]
    X, y, response = problem(task)
    valuator = PumaValuator(estimator, effect="one_step").fit(X, y, X_val=X, y_val=y)
    fitted = sm.GLM(response, sm.add_constant(X), family).fit(tol=1e-14, maxiter=500)
    theirs = fitted.get_influence().hat_matrix_diag
    np.testing.assert_allclose(valuator.leverage_, theirs, **CLOSE)


def test_changes_are_those_of_refits():
    X, y, _ = problem("regression")
    full = LinearRegression().fit(X, y)
    ours = diagnostics(problems.objective_of(full, X, y))
    keep = np.arange(len(y)) != 7
    part = LinearRegression().fit(X[keep], y[keep])
    error = part.predict(X[keep]) - y[keep]
    spread = np.sqrt(error @ error / (len(error) - 4))
    unit = np.sqrt(np.diag(np.linalg.inv(sm.add_constant(X).T @ sm.add_constant(X))))
    change = np.append(full.coef_ - part.coef_, full.intercept_ - part.intercept_)
    expected = change / spread / np.roll(unit, -1)
    np.testing.assert_allclose(ours.dfbetas[7], expected, rtol=1e-9)


def test_a_penalty_leaves_fewer_effective_parameters():
    X, y, _ = problem("regression")
    ours = diagnostics(problems.objective_of(Ridge(alpha=50.0).fit(X, y), X, y))
    assert 1.0 < ours.n_effective < 3.5
    centred = X - X.mean(axis=0)
    inner = np.linalg.inv(centred.T @ centred + 50.0 * np.eye(3))
    hat = np.einsum("np,pq,nq->n", centred, inner, centred) + 1.0 / len(y)
    np.testing.assert_allclose(ours.leverage, hat, rtol=1e-10)


def test_a_row_that_alone_holds_a_parameter():
    X, y, _ = problem("regression")
    X[:, 2] = 0.0
    X[5, 2] = 1.0
    ours = diagnostics(problems.objective_of(LinearRegression().fit(X, y), X, y))
    assert ours.leverage[5] == pytest.approx(1.0)
    assert np.isnan(ours.cooks_distance[5]) and np.isnan(ours.dfbetas[5]).all()
    assert np.isfinite(np.delete(ours.cooks_distance, 5)).all()


def test_refuses_what_has_no_such_measures():
    X = problems.rows(60)
    for task in ("multiclass", "two outputs"):
        y = problems.TARGETS[task](X)
        kind = LogisticRegression if task == "multiclass" else Ridge
        with pytest.raises(NotDifferentiableError, match="one output"):
            diagnostics(problems.objective_of(kind().fit(X, y), X, y))


def test_diagnostics_of_a_valuator():
    X, y, _ = problem("regression")
    table = pd.DataFrame(X, columns=["a", "b", "c"], index=np.arange(80)[::-1])
    valuator = PumaValuator(LinearRegression(), cv=3, random_state=0).fit(table, y)
    frame = valuator.diagnostics(table, y)
    theirs = sm.OLS(y, sm.add_constant(X)).fit().get_influence()
    assert frame.index.equals(table.index)
    np.testing.assert_allclose(frame["leverage"], theirs.hat_matrix_diag, **CLOSE)
    np.testing.assert_allclose(
        frame["cooks_distance"], theirs.cooks_distance[0], **CLOSE
    )
    columns = ["dfbetas_intercept", "dfbetas_a", "dfbetas_b", "dfbetas_c"]
    np.testing.assert_allclose(frame[columns], theirs.dfbetas, **CLOSE)
    with pytest.raises(ValueError, match="not those of the fit"):
        valuator.diagnostics(table[::-1], y)


def test_diagnostics_on_an_active_set():
    X, y, _ = problem("regression")
    estimator = Lasso(0.1).fit(X, y)
    valuator = PumaValuator(Lasso(0.1), cv=3, random_state=0).fit(X, y)
    frame = valuator.diagnostics(X, y)
    active = [f"dfbetas_x{j}" for j in np.flatnonzero(estimator.coef_)]
    assert list(frame.columns[3:]) == [*active, "dfbetas_intercept"]
