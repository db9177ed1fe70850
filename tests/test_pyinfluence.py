"""Signs and scales are those of pyinfluence: its scores are our removal effects.

Theirs are for one test row each, half the squared error or the log-loss, per row that
is removed: ``removal_effect_`` is their mean over the test rows, and psi is n times it.
"""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from skpuma import PumaValuator
from tests.contracts import problems

pyinfluence = pytest.importorskip("pyinfluence")

TIGHT = {"solver": "newton-cholesky", "tol": 1e-13, "max_iter": 1000}
CASES = {
    "linear": (LinearRegression(), "regression"),
    "ridge": (Ridge(alpha=3.0), "regression"),
    "ridge without intercept": (Ridge(alpha=3.0, fit_intercept=False), "regression"),
    "logistic": (LogisticRegression(C=0.5, **TIGHT), "binary"),
    "logistic without intercept": (
        LogisticRegression(C=0.5, fit_intercept=False, **TIGHT),
        "binary",
    ),
}


def split(task):
    X = problems.rows(150, 4)
    y = problems.TARGETS[task](X)
    return X[:100], y[:100], X[100:], y[100:]


@pytest.mark.parametrize("name", CASES)
def test_the_loss_on_test_rows(name):
    estimator, task = CASES[name]
    X, y, X_val, y_val = split(task)
    theirs = pyinfluence.InfluenceFunctions(mode="loss", damping=0.0)
    scores = theirs.fit(estimator.fit(X, y), X, y).explain(X_val, y_val)
    ours = PumaValuator(estimator).fit(X, y, X_val=X_val, y_val=y_val)
    effect = ours.removal_effect_[:, 0]
    scale = np.abs(effect).max()
    np.testing.assert_allclose(effect, scores.mean(axis=0), atol=1e-6 * scale)
    np.testing.assert_allclose(
        ours.psi_[:, 0], len(y) * scores.mean(axis=0), atol=1e-6 * len(y) * scale
    )


@pytest.mark.parametrize("name", ["ridge", "logistic"])
def test_their_own_influence(name):
    estimator, task = CASES[name]
    X, y, X_val, y_val = split(task)
    theirs = pyinfluence.InfluenceFunctions(mode="loss", damping=0.0)
    theirs = pyinfluence.self_influence(theirs.fit(estimator.fit(X, y), X, y))
    ours = PumaValuator(estimator).fit(X, y, X_val=X_val, y_val=y_val)
    ours = ours.self_influence(X, y) / len(y)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_group_gap():
    from pyinfluence import FunctionalInfluence, functionals

    estimator, task = CASES["logistic"]
    X, y, X_val, y_val = split(task)
    group = np.arange(len(y_val)) % 2
    gap = functionals.group_gap(group)
    theirs = FunctionalInfluence(gap, damping=0.0).fit(estimator.fit(X, y), X, y)
    theirs = theirs.explain(X_val, y_val)
    ours = PumaValuator(estimator, "demographic_parity").fit(
        X, y, X_val=X_val, y_val=y_val, sensitive_features_val=group
    )
    ours = ours.removal_effect_[:, 0]
    # Their gap is signed by the order of the groups, ours is a cost.
    sign = np.sign(ours @ theirs)
    np.testing.assert_allclose(ours, sign * theirs, atol=1e-6 * np.abs(ours).max())
