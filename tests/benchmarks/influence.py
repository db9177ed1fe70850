"""Influence functions against refits (Koh and Liang, 2017, figure 2).

For one test row, the training rows with the largest predicted effect on its loss are
removed one at a time (not random ones, whose effects drown in noise), the model is
trained again from the fitted weights without the row, and the change of the loss of the
test row is compared with ``-up_loss / W``.

Logistic: the 500 largest; weight decay 0.01 as in the paper (``C = 1 / (0.01 n)``),
refits by lbfgs to a tolerance of 1e-8, as in the paper.

Network: the 100 largest, as in the paper; 1,000 digits, one hidden layer of 10 tanh
units, alpha 5 (an L2 of 0.005 per unit of mean loss), full batch lbfgs to the optimum
that it reaches, refits by full batch lbfgs from there. Twice: Gauss-Newton under the
automatic damping, and the exact Hessian, damped by 1e-5.
"""

import numpy as np
from scipy import stats
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from skpuma.datasets import load_mnist
from skpuma.models import adapt
from skpuma.objective import Objective
from skpuma.refit import refit
from skpuma.valuation import InfluenceFunctions
from tests.benchmarks import data

WEIGHT_DECAY = 0.01
N_TEST = 3
NETWORK = {
    "hidden_layer_sizes": (10,),
    "activation": "tanh",
    "solver": "lbfgs",
    "alpha": 5.0,
    "max_iter": 5000,
    "max_fun": 100_000,
    "tol": 1e-12,
    "random_state": 0,
}


def _mnist():
    """(name, X, y, X_test, y_test): ones and sevens, or digits where there is none.

    All 13,007 rows: with 2,000 of them single rows have so much leverage that the
    linear effects are a fifth too small.
    """
    folder = data.folder()
    if folder is None or not (folder / "mnist").is_dir():
        return "digits", *_digits()
    X, y, X_test, y_test = load_mnist(folder / "mnist")
    one, two = (np.isin(labels, (1, 7)) for labels in (y, y_test))
    return (
        "MNIST 1, 7",
        X[one] / 255.0,
        y[one],
        X_test[two] / 255.0,
        y_test[two],
    )


def _digits(n=1000):
    X, y = data.digits()
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:n], order[n:]
    return X[train], y[train], X[test], y[test]


def _hardest(model, X, y, count):
    """Test rows that the model is wrong about, or least sure of."""
    p = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return np.argsort(p)[:count]


def _losses(model, X, y):
    z = model.raw(model.inputs(X))
    return model.loss.value(z, model.targets(y))


def _removed_one_by_one(fitted, problem, count, without, **parameters):
    """[(predicted, actual)] of every test row, and the change with nothing removed."""
    X, y, X_test, y_test = problem
    test = _hardest(fitted, X_test, y_test, N_TEST)
    X_test, y_test = X_test[test], y_test[test]
    system = InfluenceFunctions(FrozenEstimator(fitted), **parameters)
    system.fit(X, y, X_val=X_test, y_val=y_test)
    predicted = -system.up_loss(X, y, X_test, y_test) / system.total_weight_
    chosen = np.argsort(-np.abs(predicted), axis=1)[:, :count]
    base = _losses(adapt(fitted), X_test, y_test)
    actual = {
        row: _losses(without(row), X_test, y_test) - base for row in np.unique(chosen)
    }
    still = np.abs(_losses(without(None), X_test, y_test) - base).max()
    pairs = [
        (predicted[t, rows], np.array([actual[row][t] for row in rows]))
        for t, rows in enumerate(chosen)
    ]
    return pairs, still


def _figures(what, pairs, still, goal, holds):
    fits = [stats.linregress(*pair) for pair in pairs]
    r = np.array([fit.rvalue for fit in fits])
    slope = np.array([fit.slope for fit in fits])
    size = np.median([np.abs(actual).max() for _, actual in pairs])
    value = f"r {r.min():.4f}, slope {slope.min():.3f}-{slope.max():.3f}"
    return [
        (f"{what}: worst of {len(pairs)} test rows", value, goal, holds(r, slope)),
        (
            "  loss with nothing removed, of the largest",
            f"{still / size:.1e}",
            "-",
            None,
        ),
    ]


def _logistic(name, problem, count=500):
    X, y, _, _ = problem
    settings = {"C": 1.0 / (WEIGHT_DECAY * len(y)), "tol": 1e-8, "max_iter": 10_000}
    fitted = LogisticRegression(**settings).fit(X, y)

    def without(row):
        keep = np.arange(len(y)) != row
        again = LogisticRegression(**settings, warm_start=True)
        # lbfgs of a warm start begins at what the estimator holds.
        again.__dict__.update(coef_=fitted.coef_.copy())
        again.__dict__.update(intercept_=fitted.intercept_.copy())
        return adapt(again.fit(X[keep], y[keep]))

    pairs, still = _removed_one_by_one(fitted, problem, count, without)
    return _figures(
        f"logistic, {name}, {count} largest",
        pairs,
        still,
        "> 0.99, 0.95-1.05",
        lambda r, slope: bool(
            r.min() > 0.99 and 0.95 <= slope.min() <= slope.max() <= 1.05
        ),
    )


def _network(count=100):
    problem = _digits()
    X, y, _, _ = problem
    fitted = MLPClassifier(**NETWORK).fit(X, y)
    model = adapt(fitted)
    objective = Objective.at_fit(
        model, model.inputs(X), model.targets(y), np.ones(len(y))
    )

    def without(row):
        return refit(objective, np.arange(len(y)) != row)

    out = []
    for curvature, damping in (("gauss_newton", "auto"), ("hessian", 1e-5)):
        pairs, still = _removed_one_by_one(
            fitted, problem, count, without, curvature=curvature, damping=damping
        )
        out += _figures(
            f"MLP (10 tanh), digits, {count} largest, {curvature}, damping {damping}",
            pairs,
            still,
            "r >= 0.85",
            lambda r, slope: bool(r.min() >= 0.85),
        )
    return out


def influence():
    """Koh and Liang, figure 2: predicted against actual changes of a test loss."""
    name, *problem = _mnist()
    return [*_logistic(name, problem), *_network()]
