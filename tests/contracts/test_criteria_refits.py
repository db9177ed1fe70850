"""Every kind of criterion at work: psi against refits, and delta kept by a patch."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from skpuma import PumaPatcher, PumaValuator
from skpuma.criteria import (
    MMCE,
    AdversarialLoss,
    LogLoss,
    MarginLoss,
    Maximum,
    PinballLoss,
    RocAucLoss,
    Slice,
    WeightedSum,
    WorstGroupLoss,
    measures_of,
)
from skpuma.models import adapt
from tests.contracts import problems

# At 200 rows second order makes slopes of 1.19, at 1000 none is above 1.05.
N, N_VAL, N_REMOVED = 500, 1500, 60


def focal(y, raw):
    """A loss of the user's own: the log-loss of rows that are hard."""
    margin = (2 * y - 1) * raw[:, 0]
    return np.logaddexp(0.0, -margin) / (1.0 + np.exp(margin))


BINARY = {
    "worst group": WorstGroupLoss(),
    "soft worst group": WorstGroupLoss(temperature=0.1),
    "adversary": AdversarialLoss(epsilon=0.2),
    "mmce": MMCE(),
    "margin": MarginLoss(temperature=0.5),
    "auc": RocAucLoss(),
    "slice": Slice("log_loss", group="f", label="yes"),
    "sum": WeightedSum(["log_loss", "demographic_parity"], weights=[1, 3]),
    "sum with an adversary": WeightedSum(["brier_score", AdversarialLoss()]),
    "maximum": Maximum(["equal_opportunity", "mmce"]),
    "function": focal,
}
# Without mmce: it holds fixed who is right, which for several classes moves, too.
MULTICLASS = {
    name: BINARY[name] for name in ("worst group", "adversary", "margin", "auc")
}
REGRESSION = {
    "pinball": PinballLoss(quantile=0.8),
    "worst group": WorstGroupLoss(),
    "adversary": AdversarialLoss(epsilon=0.2),
}
CASES = [
    *((LogisticRegression(C=0.3), 2, name) for name in BINARY),
    *((LogisticRegression(C=0.3), 3, name) for name in MULTICLASS),
    *((Ridge(alpha=3.0), 1, name) for name in REGRESSION),
]


def criterion_of(k, name):
    return {2: BINARY, 3: MULTICLASS, 1: REGRESSION}[k][name]


def data(k):
    """Training rows, validation rows, and their groups."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((N + N_VAL, 4))
    # No coefficient near zero, at which the adversary would turn round.
    score = X @ np.array(
        [[1.0, -1.0, 0.5], [-0.7, 0.8, 0.6], [0.6, 0.7, -1], [-1, 1, 1]]
    )
    if k == 1:
        y = np.sin(score[:, 0]) + 0.5 * rng.standard_normal(len(X))
    else:
        noise = 1.5 * rng.gumbel(size=(len(X), k))
        y = problems.LABELS[k][(score[:, :k] + noise).argmax(axis=1)]
    groups = np.where(X[:, 1] + rng.standard_normal(len(X)) > 0.3, "f", "m")
    return (X[:N], y[:N], groups[:N]), (X[N:], y[N:], groups[N:])


@pytest.mark.parametrize(("estimator", "k", "name"), CASES, ids=str)
def test_psi_predicts_refits(estimator, k, name):
    (X, y, _), (X_val, y_val, groups) = data(k)
    criterion = criterion_of(k, name)
    weight = np.random.default_rng(4).uniform(0.5, 1.5, N_VAL)
    valuator = PumaValuator(estimator, criterion).fit(
        X,
        y,
        X_val=X_val,
        y_val=y_val,
        sample_weight_val=weight,
        sensitive_features_val=groups,
    )
    tight = {"tol": 1e-12}
    if k > 1:
        tight.update(solver="newton-cholesky", max_iter=1000)

    def measured(rows):
        fitted = type(estimator)(**{**estimator.get_params(), **tight})
        model = adapt(fitted.fit(X[rows], y[rows]))
        bound = model.inputs(X_val), model.targets(y_val), weight, groups
        (measure,) = measures_of(criterion, model, *bound)
        return measure.value(model)

    everyone = np.arange(N)
    base = measured(everyone)
    assert valuator.criterion_value_[0] == pytest.approx(base, rel=1e-6)
    order = np.argsort(valuator.removal_effect_[:, 0])
    chosen = order[np.linspace(0, N - 1, N_REMOVED).astype(int)]
    refitted = np.array([measured(np.delete(everyone, row)) - base for row in chosen])
    predicted = valuator.removal_effect_[chosen, 0]
    assert np.corrcoef(predicted, refitted)[0, 1] >= 0.99
    slope = np.polyfit(predicted, refitted, 1)[0]
    assert 0.9 < slope < 1.1


@pytest.mark.filterwarnings("ignore::skpuma.utils.errors.DeltaReachedWarning")
@pytest.mark.parametrize(("estimator", "k", "name"), CASES, ids=str)
def test_a_patch_keeps_delta(estimator, k, name):
    (X, y, groups), (X_val, y_val, groups_val) = data(k)
    criterion = criterion_of(k, name)
    model = adapt(estimator.fit(X, y))
    bound = model.inputs(X_val), model.targets(y_val), np.ones(N_VAL), groups_val
    (measure,) = measures_of(criterion, model, *bound)
    # All the rows on a side of the criterion's slope: without a bound C moves by far
    # more than delta.
    effect = (
        PumaValuator(estimator, criterion)
        .fit(X, y, X_val=X_val, y_val=y_val, sensitive_features_val=groups_val)
        .removal_effect_[:, 0]
    )
    marked = effect > np.quantile(effect, 0.8)
    delta = 0.1 * effect[marked].sum()
    values = []
    for bounded in (True, False):
        patcher = PumaPatcher(
            estimator, criterion, delta=delta if bounded else np.inf, reweight=False
        )
        patcher.fit(
            X,
            y,
            marked=marked,
            X_val=X_val,
            y_val=y_val,
            sensitive_features=groups,
            sensitive_features_val=groups_val,
        )
        values.append(measure.value(adapt(patcher.estimator_)))
    change = np.array(values) - measure.value(model)
    assert 0.0 < change[0] <= delta * (1.0 + 1e-9)
    assert change[0] > 0.8 * delta
    assert change[1] > 3.0 * delta


def test_log_loss_is_still_what_a_function_says_it_is():
    (X, y, _), (X_val, y_val, _) = data(2)

    def log_loss(y, raw):
        return np.logaddexp(0.0, raw[:, 0]) - y * raw[:, 0]

    ours, theirs = (
        PumaValuator(LogisticRegression(), one).fit(X, y, X_val=X_val, y_val=y_val)
        for one in (LogLoss(), log_loss)
    )
    np.testing.assert_allclose(ours.psi_, theirs.psi_, rtol=1e-5)
