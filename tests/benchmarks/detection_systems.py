"""Every system of the detection benchmark: a problem in, one score per row out.

The lowest scores are the most suspicious. What a system does not look at (the model,
the validation rows) is said, so that a score is computed once and used in every cell
that it stands for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone

from skpuma import PumaDebugger, PumaValuator, valuation

TINY = 1e-300
ORACLE = "clean-model oracle"


@dataclass(frozen=True)
class System:
    """A way to score rows.

    Attributes
    ----------
    score : callable
        Problem to (n,); the lowest are the most suspicious.
    uses_model, uses_val : bool
        Whether the score depends on the model and on the validation rows.
    is_oracle : bool
        Sees the true labels; no rival.
    seeds : tuple of three int, or None
        At most so many seeds of a set with cost 0, 1, 2 (`detection_data.Size`), for
        what a table cannot wait for.
    note : str
        What a reader of the table has to know.
    """

    score: Callable
    uses_model: bool = True
    uses_val: bool = False
    is_oracle: bool = False
    seeds: tuple[int, int, int] | None = None
    note: str = ""


def _probability_of_label(model, X, y):
    """log p of the given labels."""
    column = np.searchsorted(model.classes_, y)
    p = model.predict_proba(X)[np.arange(len(y)), column]
    return np.log(np.maximum(p, TINY))


def random(problem):
    """Any order."""
    return np.random.default_rng(problem.seed).random(len(problem.y))


def loss(problem):
    """The loss on the rows that were trained on."""
    model = clone(problem.model).fit(problem.X, problem.y)
    return _probability_of_label(model, problem.X, problem.y)


def oracle(problem):
    """The model of the true labels."""
    model = clone(problem.model).fit(problem.X, problem.y_true)
    return _probability_of_label(model, problem.X, problem.y)


def psi(problem):
    """PumaValuator on the validation rows."""
    valuator = PumaValuator(problem.model, "log_loss", random_state=problem.seed)
    valuator.fit(problem.X, problem.y, **problem.validation)
    return valuator.removal_effect_[:, 0]


def debugger(problem):
    """PumaDebugger; the one place that knows its API."""
    model = PumaDebugger(problem.model, random_state=problem.seed)
    return model.fit(problem.X, problem.y, **problem.validation).score_


def data_oob(problem):
    """Out-of-bag accuracy of a bag of trees."""
    system = valuation.DataOOB(n_estimators=100, random_state=problem.seed)
    return system.fit(problem.X, problem.y).values_


def self_influence(problem):
    """Koh and Liang: what a row does to its own loss; no validation rows."""
    rows = problem.X, problem.y
    system = valuation.InfluenceFunctions(problem.model, random_state=problem.seed)
    # The rows of a mean loss are asked for, and have no part in the self-influence.
    system.fit(*rows, X_val=problem.X, y_val=problem.y)
    return -system.self_influence(*rows)


def _valuation(name, *, proxy=False, components=None, **parameters):
    """A system of `skpuma.valuation`.

    With `proxy` it values rows for a logistic regression instead of the cell's model,
    and where there are ten classes on the first principal components only.
    """

    def score(problem):
        if proxy:
            problem = problem.with_proxy(components)
        system = getattr(valuation, name)(random_state=problem.seed)
        if "estimator" in system.get_params(deep=False):
            system.set_params(estimator=clone(problem.model))
        system.set_params(**parameters)
        fit = problem.validation if system.needs_validation else {}
        return system.fit(problem.X, problem.y, **fit).values_

    return score


def _shapley(method):
    """Data Shapley with the permutations that the rows can afford."""

    def score(problem):
        few = 100 if len(problem.y) <= 1000 else 20
        return _valuation(
            "DataShapley",
            proxy=True,
            components=10,
            method=method,
            max_permutations=few,
        )(problem)

    return score


# The notes of the table. MNIST gets 20 permutations, its rows 10 or 15 components.
FEW = "100 permutations"
LINEAR = "logistic"
SYSTEMS = {
    "PumaDebugger": System(debugger, uses_val=True),
    "psi": System(psi, uses_val=True),
    "SelfConfidence": System(_valuation("SelfConfidence")),
    "DataShapley, TMC": System(
        _shapley("tmc"),
        uses_model=False,
        uses_val=True,
        seeds=(5, 2, 1),
        note=f"{LINEAR}, {FEW}",
    ),
    "DataShapley, gradient": System(
        _shapley("gradient"),
        uses_model=False,
        uses_val=True,
        seeds=(5, 2, 1),
        note=f"{LINEAR}, {FEW}",
    ),
    "DVRL": System(
        _valuation("DVRL", proxy=True, components=10),
        uses_model=False,
        uses_val=True,
        seeds=(5, 2, 1),
        note=LINEAR,
    ),
    "RepresenterPoints": System(_valuation("RepresenterPoints")),
    "InfluenceFunctions, self": System(self_influence),
    "InfluenceFunctions, test loss": System(
        _valuation("InfluenceFunctions"), uses_val=True
    ),
    "LeaveOneOut": System(
        _valuation("LeaveOneOut", proxy=True, components=15, scoring="neg_log_loss"),
        uses_model=False,
        uses_val=True,
        seeds=(5, 2, 1),
        note=LINEAR,
    ),
    # The features are scaled already.
    "KNNShapley": System(
        _valuation("KNNShapley", transformer=None), uses_model=False, uses_val=True
    ),
    "DataOOB": System(data_oob, uses_model=False, seeds=(20, 10, 2), note="100 trees"),
    "loss": System(loss),
    "random": System(random, uses_model=False),
    ORACLE: System(oracle, is_oracle=True),
}
