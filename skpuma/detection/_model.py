"""What the debugged model itself says about rows that it has not seen."""

import warnings

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, check_cv
from sklearn.utils.parallel import Parallel, delayed

from skpuma import rows, scores
from skpuma.detection._base import BaseView
from skpuma.detection._folds import FoldModels
from skpuma.detection._rows import VALIDATION
from skpuma.models import adapt
from skpuma.objective import Objective
from skpuma.solvers import EXPLICIT_LIMIT

# Newton steps need not resolve more than the ranking of the rows does.
DECREMENT = 1e-6
MAX_STEPS = 10
# With many rows a factor is used again, while a step leaves less than this share of the
# gradient.
MANY_ROWS, KEEP = 10_000, 0.2


class ModelView(BaseView):
    """Leave-one-out probabilities of a convex model, out-of-fold ones of a network.

    A convex model is moved to the optimum under the weights by Newton steps from where
    it is, and every row is left out in closed form (one further Newton step each, from
    the factor that is there anyway): no refit. With too many parameters for a factor,
    the models of folds are followed by Newton steps. Other models are fitted again on
    folds.

    Parameters
    ----------
    table : LabelledRows
    model : BaseModel
        The fitted model.
    cv : int
    random_state : int
    n_jobs : int or None
    """

    def __init__(self, table, *, model, cv=5, random_state=0, n_jobs=None, **_):
        super().__init__(table)
        self.model = model
        self.closed_form = model.convex and model.n_parameters <= EXPLICIT_LIMIT
        self.n_jobs = n_jobs
        if model.convex:
            self.objective = Objective.at_fit(model, table.X, table.code, table.weight)
            self.by_class = self.objective.weight / table.weight
            self.solver = None
        if not self.closed_form:
            self.fold = folds_of(cv, table, random_state)
        if model.convex and not self.closed_form:
            self.folds = FoldModels(self.objective, self.fold)

    def probabilities(self, weight):
        if not self.model.convex:
            return [self._out_of_fold(weight)]
        if not self.closed_form:
            z = self.folds.left_out_raw(self.by_class * weight)
            return [believed(self.model, z, self.objective.record.class_weights)]
        start = self.objective.reweighted(self.by_class * weight)
        # Every round starts where the one before ended, with fewer steps to go.
        many = len(weight) >= MANY_ROWS
        moved, solver, _ = scores.polish(
            start,
            solver=self.solver if many else None,
            max_steps=MAX_STEPS,
            tolerance=DECREMENT,
            keep=KEEP if many else 0.0,
        )
        self.objective = moved
        self.solver = solver or scores.newton_factor(moved)
        z = scores.left_out_raw(moved, self.solver)
        return [believed(moved.model, z, moved.record.class_weights)]

    def _out_of_fold(self, weight):
        table = self.table
        out = np.zeros((len(table), table.n_classes))
        tests = [np.flatnonzero(self.fold == f) for f in np.unique(self.fold)]
        parts = Parallel(n_jobs=self.n_jobs)(
            delayed(_one_fold)(self.model, table, weight, test) for test in tests
        )
        for test, part in zip(tests, parts, strict=True):
            out[test] = part
        return out


def believed(model, z, class_weights):
    """Class probabilities (n, n_classes) of raw outputs, without class weights.

    A model that was fitted with ``class_weight`` predicts for classes of other sizes
    than those of the rows.

    Parameters
    ----------
    model : BaseModel
    z : ndarray (n, k)
    class_weights : ndarray (n_classes,) or None
    """
    p = model.loss.predict(z)
    if class_weights is None:
        return p
    # Losses without a likelihood may leave a row without any probability.
    p = np.maximum(p, np.finfo(float).tiny) / class_weights
    return p / p.sum(axis=1, keepdims=True)


def folds_of(cv, table, random_state):
    """The fold (u,) in which every distinct row is left out.

    An int means stratified folds of the distinct rows. A splitter, or a list of splits,
    is of the user's training rows: copies go where the first of them is left out, and
    validation rows are dealt out in turn.

    Raises
    ------
    ValueError
        If there are fewer than two folds, or a splitter never leaves out some rows.
    """
    if isinstance(cv, (int, np.integer)):
        n_splits = min(int(cv), int(np.bincount(table.code).max()))
        if n_splits < 2:
            raise ValueError(
                f"Leaving rows out needs cv >= 2 and two rows of a class; cv={cv}, "
                f"n_samples={len(table)}."
            )
        fold = np.empty(len(table), dtype=int)
        folds = StratifiedKFold(n_splits, shuffle=True, random_state=random_state)
        with warnings.catch_warnings():
            # A rare class is left out of a fold as a whole, and is unlikely there.
            warnings.filterwarnings("ignore", "The least populated class")
            for f, (_, test) in enumerate(folds.split(table.code, table.code)):
                fold[test] = f
        return fold
    place = table.place
    labels = np.full(len(place), -1)
    labels[place >= 0] = table.code[place[place >= 0]]
    splits = list(check_cv(cv).split(np.zeros(len(place)), labels))
    fold = np.full(len(table), -1)
    for f in reversed(range(len(splits))):
        left_out = place[np.asarray(splits[f][1])]
        fold[left_out[left_out >= 0]] = f
    validation = np.flatnonzero(table.source == VALIDATION)
    fold[validation] = np.arange(len(validation)) % max(len(splits), 1)
    if len(splits) < 2 or (fold < 0).any():
        raise ValueError(
            "cv must leave out every row once, in at least two folds: use an int or "
            "a splitter such as KFold."
        )
    return fold


def _one_fold(model, table, weight, test):
    """Probabilities of the rows of a fold by a model of the others."""
    train = np.setdiff1d(np.arange(len(table)), test)
    out = np.zeros((len(test), table.n_classes))
    present = np.unique(table.code[train])
    if len(present) == 1:
        out[:, present] = 1.0
        return out
    estimator = clone(model.estimator).fit(
        rows.take(table.X, train),
        model.classes[table.code[train]],
        sample_weight=weight[train],
    )
    again = adapt(estimator)
    z = again.raw(again.inputs(rows.take(table.X, test)))
    given = np.searchsorted(present, table.code[train])
    class_weights = again.class_weights(given, weight[train])
    out[:, present] = believed(again, z, class_weights)
    return out
