"""Every supported model: gradient at a tight fit, effects and patches as refits."""

import warnings

import numpy as np
from sklearn.linear_model import SGDClassifier, SGDRegressor

from tests import test_refits
from tests.contracts import problems, test_models
from tests.tight import fitted


def stationary():
    """max |grad J| at a tight fit, relative to the rows' gradients, by model."""
    worst = {}
    for case in (*test_models.CONVEX, *test_models.STOCHASTIC):
        cls, task, settings = case.values
        known = cls(**settings).get_params(deep=False)
        tight = {k: v for k, v in test_models.TIGHT.items() if k in known}
        if issubclass(cls, (SGDClassifier, SGDRegressor)):
            tight = {"alpha": 0.05, "max_iter": 5, "tol": None, "random_state": 0}
        loose = settings.get("solver") in ("lbfgs", "liblinear")
        loose |= type(settings.get("estimator")).__name__ == "LinearSVC"
        for weighted in (False, True):
            X = problems.rows()
            y = problems.TARGETS[task](X)
            weight = problems.weights(len(X)) if weighted else None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                estimator = fitted(cls(**{**tight, **settings}), X, y, weight)
            objective = problems.objective_of(estimator, X, y, weight)
            per_row = objective.row_gradients(np.arange(len(X)))
            size = np.linalg.norm(per_row, axis=1).sum()
            name = cls.__name__ + (" (its own solver is loose)" if loose else "")
            ratio = np.abs(objective.gradient()).max() / size
            worst[name] = max(worst.get(name, 0.0), ratio)
    return [
        (
            f"grad J at a tight fit, {name}",
            f"{value:.1e}",
            "-" if "loose" in name else "<= 1e-8",
            None if "loose" in name else value <= 1e-8,
        )
        for name, value in sorted(worst.items())
    ]


def removals():
    """One row at a time against refits; 10 % of the rows at once against refits."""
    out = []
    for estimator, task in test_refits.SMOOTH + test_refits.SPARSE:
        name = f"{type(estimator).__name__} {getattr(estimator, 'loss', '')} {task}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            linear = test_refits.effects(estimator, task, "linear")
            exact = test_refits.effects(estimator, task, "one_step")
        value = (
            f"one_step r {exact.rvalue:.4f} slope {exact.slope:.3f}; "
            f"linear {linear.rvalue:.4f}, {linear.slope:.3f}"
        )
        holds = exact.rvalue >= 0.99 and abs(exact.slope - 1.0) <= 0.05
        out.append((f"effects, {name}", value, "0.99, 0.95-1.05", bool(holds)))
    for estimator, task in test_refits.SMOOTH:
        name = f"{type(estimator).__name__} {getattr(estimator, 'loss', '')} {task}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            worst = max(
                test_refits.patch_error(estimator, task, weighted)[0]
                for weighted in (False, True)
            )
        out.append((f"patch = refit, {name}", f"{worst:.1e}", "<= 1e-6", worst <= 1e-6))
    return out
