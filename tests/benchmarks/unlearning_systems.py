"""Every system of the unlearning benchmark: how it is trained, and how it forgets.

Retrainer, PumaPatcher, FineTuner, GradientAscent and "none" share one model, which is
trained once per set, model and seed. The others train models of their own on the same
rows, as near to the cell's model as their training allows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from skpuma import PumaPatcher, unlearning
from tests.benchmarks.unlearning_data import HIDDEN, MODELS, SETS, Cell, problem

DELTA = 0.01
BATCH = 32
REFERENCE = "Retrainer"
# How far two trainings of the same rows are apart: nothing nearer means anything.
FLOOR = "Retrainer, other seed"


@dataclass(frozen=True)
class System:
    """A way to forget rows.

    Attributes
    ----------
    make : callable
        (Cell, trained original) to a system that is not fitted; None for a system
        without a model of its own, which leaves the original as it is.
    forget : callable
        (fitted system, Problem): makes it forget the rows that are to go.
    models : tuple of str
        Models that it exists for.
    shares : bool
        Whether it changes the parameters of the original, which training without the
        rows would have led to others from the same start.
    note : str
        What a reader of the table has to know.
    """

    make: Callable | None
    forget: Callable = lambda system, one: system.forget(one.X, one.y, one.gone)
    models: tuple = MODELS
    shares: bool = False
    note: str = ""


def _retrainer(cell, original):
    return unlearning.Retrainer(problem(cell).model)


def _other_seed(cell, original):
    model = clone(problem(cell).model).set_params(random_state=cell.seed + 1000)
    return unlearning.Retrainer(model)


def _puma(reweight):
    def make(cell, original):
        return PumaPatcher(
            FrozenEstimator(original),
            delta=DELTA,
            reweight=reweight,
            random_state=cell.seed,
        )

    return make


def _patch(system, one):
    """C is what delta bounds, so the rows that measure it are passed."""
    rows = {"X_val": one.X_val, "y_val": one.y_val}
    system.patch(one.X, one.y, remove=one.gone, **rows)


def _sisa(cell, original):
    return unlearning.SISAClassifier(problem(cell).model, random_state=cell.seed)


def _amnesiac(cell, original):
    n = SETS[cell.set].n
    if cell.model == "logistic":
        # Per row as LogisticRegression(C=1); no schedule, whose first steps are huge.
        model = SGDClassifier("log_loss", alpha=1.0 / n, learning_rate="constant")
        model.set_params(eta0=0.01)
    else:
        # scikit-learn divides the penalty by the rows of a batch.
        alpha = SETS[cell.set].alpha * BATCH / n
        model = MLPClassifier((HIDDEN,), activation="tanh", alpha=alpha)
    return unlearning.AmnesiacClassifier(
        model, batch_size=BATCH, random_state=cell.seed
    )


def _unrolled(cell, original):
    """As long as it can train before forgetting ruins it, and the milder variant.

    With gradients at the initial parameters, 10 epochs of Adult and 5 % of the rows
    leave an accuracy of 0.24.
    """
    linear, size = cell.model == "logistic", SETS[cell.set]
    return unlearning.UnrolledSGDClassifier(
        () if linear else (HIDDEN,),
        alpha=(1.0 if linear else size.alpha) / size.n,
        learning_rate=0.05,
        n_epochs=3,
        batch_size=BATCH,
        gradient_at="final",
        random_state=cell.seed,
    )


def _newton(cell, original):
    return unlearning.NewtonRemoval(problem(cell).model, random_state=cell.seed)


def _fine_tuner(cell, original):
    return unlearning.FineTuner(FrozenEstimator(original), random_state=cell.seed)


def _ascent(cell, original):
    return unlearning.GradientAscent(
        FrozenEstimator(original), n_steps=100, learning_rate=0.02
    )


def _ascend(system, one):
    """Up to the loss of fresh rows: those that measure C, none that are tested on."""
    fresh = one.X_val[one.fresh_val], one.y_val[one.fresh_val]
    p = system.predict_proba(fresh[0])
    system.set_params(max_loss=log_loss(fresh[1], p, labels=system.classes_))
    system.forget(one.X, one.y, one.gone)


SYSTEMS = {
    REFERENCE: System(_retrainer, shares=True, note="reference"),
    FLOOR: System(_other_seed, models=("MLP",), note="noise floor"),
    "PumaPatcher": System(_puma(True), _patch, shares=True),
    "PumaPatcher, no lambda": System(_puma(False), _patch, shares=True),
    "SISA": System(_sisa, note="5 shards, own ensemble"),
    "Amnesiac": System(_amnesiac, note="own SGD, Adam"),
    "UnrolledSGD": System(_unrolled, note="own SGD, 3 epochs"),
    "NewtonRemoval": System(
        _newton, models=("logistic",), note="own perturbed model, sigma 1"
    ),
    "FineTuner": System(_fine_tuner, shares=True, note="5 iterations"),
    "GradientAscent": System(_ascent, _ascend, shares=True, note="to fresh loss"),
    "none": System(None, shares=True, note="nothing forgotten"),
}


def original(cell):
    """The cell's model, trained on all rows."""
    return fitted(REFERENCE, Cell(cell.set, cell.model, seed=cell.seed)).estimator_


def trained(name, cell):
    """A system that has been trained on all rows; copy it before it forgets."""
    if SYSTEMS[name].make is None:
        return original(cell)
    return fitted(name, Cell(cell.set, cell.model, seed=cell.seed))


@lru_cache(maxsize=3)
def fitted(name, cell):
    """The same for every removal: three cells of a seed share it."""
    one = problem(cell)
    start = None if name == REFERENCE else original(cell)
    return SYSTEMS[name].make(cell, start).fit(one.X, one.y)
