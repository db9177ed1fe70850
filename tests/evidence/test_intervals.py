"""Intervals of criteria and scores: their centre, their width, and their pairing."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score

from skpuma.criteria import BrierScore, LogLoss
from skpuma.evidence._intervals import compared, criterion_functions, score_functions
from skpuma.models import adapt
from tests import data

RNG = np.random.RandomState
HOW = (400, 0.95)


def models(n=400):
    X, y = data.blobs(2 * n)
    both = [LogisticRegression(C=c).fit(X[:n], y[:n]) for c in (1.0, 0.01)]
    return dict(zip(("before", "after"), both, strict=True)), X[n:], y[n:]


def by_name(lines):
    return {line["name"]: line for line in lines}


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
def test_criteria_are_those_of_scikit_learn(weighted):
    fitted, X, y = models()
    weight = RNG(0).uniform(0.5, 2.0, len(y)) if weighted else np.ones(len(y))
    adapted = {name: adapt(one) for name, one in fitted.items()}
    functions = criterion_functions("log_loss", adapted, (X, y, weight, None))
    line = by_name(compared(functions, weight, RNG(0), *HOW))["log_loss"]
    values = {}
    for name, model in fitted.items():
        p = model.predict_proba(X)
        values[name] = log_loss(y, p, sample_weight=weight)
        assert line[name][0] == pytest.approx(values[name])
        # The standard error of a weighted mean.
        losses = -np.log(p[np.arange(len(y)), y])
        share = weight / weight.sum()
        error = np.sqrt(share**2 @ (losses - values[name]) ** 2)
        width = line[name][2] - line[name][1]
        assert width == pytest.approx(2 * 1.96 * error, rel=0.12)
    assert line["change"][0] == pytest.approx(values["after"] - values["before"])


def test_changes_are_paired():
    fitted, X, y = models()
    adapted = {name: adapt(one) for name, one in fitted.items()}
    adapted["after"] = adapt(LogisticRegression(C=0.9).fit(*data.blobs(400)))
    functions = criterion_functions("log_loss", adapted, (X, y, np.ones(len(y)), None))
    line = compared(functions, np.ones(len(y)), RNG(0), *HOW)[0]
    alone = line["before"][2] - line["before"][1]
    assert line["change"][2] - line["change"][1] < 0.2 * alone


def test_parts_of_a_criterion_have_their_own_rows():
    fitted, X, y = models()
    adapted = {name: adapt(one) for name, one in fitted.items()}
    groups = np.array(["a", "b", "c"])[np.arange(len(y)) % 3]
    criteria = [LogLoss(by="class"), BrierScore(by="group")]
    weight = RNG(0).uniform(0.5, 2.0, len(y))
    functions = criterion_functions(criteria, adapted, (X, y, weight, groups))
    found = by_name(compared(functions, weight, RNG(0), 50, 0.9))
    assert list(found) == [
        "log_loss[class=0]",
        "log_loss[class=1]",
        "brier_score[group=a]",
        "brier_score[group=b]",
        "brier_score[group=c]",
    ]
    p = fitted["after"].predict_proba(X)
    one = y == 1
    expected = np.average(-np.log(p[one, 1]), weights=weight[one])
    assert found["log_loss[class=1]"]["after"][0] == pytest.approx(expected)
    in_b = groups == "b"
    square = np.square(p[in_b, 1] - y[in_b])
    expected = np.average(square, weights=weight[in_b])
    found = found["brier_score[group=b]"]["after"][0]
    assert found == pytest.approx(expected)


def test_scores_are_those_of_scikit_learn():
    fitted, X, y = models()
    lines = compared(score_functions(fitted, X, y), np.ones(len(y)), RNG(0), *HOW)
    found = by_name(lines)
    for name, model in fitted.items():
        accuracy = accuracy_score(y, model.predict(X))
        assert found["accuracy"][name][0] == pytest.approx(accuracy)
        loss = log_loss(y, model.predict_proba(X))
        assert found["mean log-loss"][name][0] == pytest.approx(loss)
        error = np.sqrt(accuracy * (1 - accuracy) / len(y))
        width = np.diff(found["accuracy"][name][1:])[0]
        assert width == pytest.approx(2 * 1.96 * error, rel=0.12)


def test_scores_of_a_regression():
    X, y = data.diabetes()
    model = Ridge().fit(X[:200], y[:200])
    functions = score_functions({"after": model}, X[200:], y[200:])
    found = by_name(compared(functions, np.ones(242), RNG(0), 100, 0.9))
    predicted = model.predict(X[200:])
    assert found["r2"]["after"][0] == pytest.approx(r2_score(y[200:], predicted))
    error = mean_squared_error(y[200:], predicted)
    assert found["mean squared error"]["after"][0] == pytest.approx(error)
    assert "change" not in found["r2"]
    weight = RNG(1).exponential(size=242)
    expected = r2_score(y[200:], predicted, sample_weight=weight)
    assert functions["r2"]["after"](weight) == pytest.approx(expected)
