"""The contract of a criterion, and its binding to a model's rows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from inspect import signature

import numpy as np
from sklearn.base import BaseEstimator

from skpuma.utils._registry import resolve

BY = (None, "class", "group")


class BaseCriterion(BaseEstimator, ABC):
    """A cost as a function of raw outputs z (n, k) and coded targets y.

    A user's own criterion needs no base class: any object with `value` and `grad_raw`
    of these signatures will do; `name` and `bounded` are used when it has them.

    Parameters
    ----------
    by : {None, "class", "group"}
        One row of psi (and one delta) for every class of y, or for every value of the
        sensitive feature, rather than one for all rows.

    Attributes
    ----------
    name : str
    bounded : bool
        Whether the cost is a probability or a gap between probabilities; it sets the
        meaning of ``delta="auto"``.
    needs_groups : bool
    tasks : tuple of str
        "classification", "regression" or both.
    """

    name = ""
    bounded = True
    needs_groups = False
    tasks = ("classification",)

    def __init__(self, by=None):
        if by not in BY:
            raise ValueError(f"by={by!r} is not one of {BY}.")
        self.by = by
        self.loss = None

    def for_loss(self, loss):
        """A copy bound to the model's loss, which knows how z becomes a prediction.

        Raises
        ------
        ValueError
            If the criterion does not fit the task of the model.
        """
        task = "classification" if loss.classification else "regression"
        if task not in self.tasks:
            raise ValueError(
                f"{self.name} is a criterion for {' and '.join(self.tasks)}; this "
                f"model is for {task}."
            )
        bound = type(self)(**self.get_params())
        bound.loss = loss
        return bound

    @abstractmethod
    def value(self, z, y, *, sample_weight=None, groups=None):
        """The cost, a float."""

    @abstractmethod
    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        """Its derivative in z, shape (n, k)."""

    def __eq__(self, other):
        return type(self) is type(other) and self.get_params() == other.get_params()

    def __hash__(self):
        return hash((type(self), tuple(self.get_params().items())))

    def __sklearn_is_fitted__(self):
        return True


def weights_of(z, sample_weight):
    """Weights (n,), ones by default."""
    return np.ones(len(z)) if sample_weight is None else sample_weight


@dataclass(frozen=True)
class Measure:
    """One criterion on one set of rows: a function of the model alone.

    Attributes
    ----------
    name : str
        "log_loss", or "log_loss[class=4]" for one part of a criterion with `by`.
    criterion : object
    X, y, weight, groups
        The rows that measure C, prepared and coded.
    bounded : bool
    """

    name: str
    criterion: object
    X: object = field(repr=False)
    y: np.ndarray = field(repr=False)
    weight: np.ndarray = field(repr=False)
    groups: np.ndarray | None = field(repr=False, default=None)
    bounded: bool = False

    def _rows(self, model):
        inputs = getattr(self.criterion, "inputs", None)
        return self.X if inputs is None else inputs(model, self.X, self.y)

    def _keywords(self):
        return {"sample_weight": self.weight, "groups": self.groups}

    def value(self, model):
        """C at the model's parameters."""
        z = model.raw(self._rows(model))
        return float(self.criterion.value(z, self.y, **self._keywords()))

    def gradient(self, model):
        """grad C in theta (p,)."""
        X = self._rows(model)
        z = model.raw(X)
        u = self.criterion.grad_raw(z, self.y, **self._keywords())
        u = np.asarray(u, dtype=np.float64)
        if u.shape != z.shape:
            raise ValueError(
                f"grad_raw of {self.name} returned shape {u.shape}; it must have the "
                f"shape of z, {z.shape}."
            )
        return model.vjp(X, u)

    def mover(self, model):
        """Function: parameter moves (b, p) -> C at every moved parameter (b,)."""
        if hasattr(self.criterion, "inputs") or not model.convex:
            return lambda moves: np.array(
                [self.value(model.at(model.theta + move)) for move in moves]
            )
        z, keywords = model.raw(self.X), self._keywords()

        def values(moves):
            # z is linear in theta here: one product serves all the moves of a block.
            shift = model.jvp(self.X, moves.T)
            return np.array(
                [
                    self.criterion.value(z + shift[:, :, b], self.y, **keywords)
                    for b in range(len(moves))
                ]
            )

        return values


def measures_of(criteria, model, X, y, weight, groups=None):
    """Bind one or several criteria to rows.

    Parameters
    ----------
    criteria : str, criterion, or list of them
        "auto" is the estimator's own loss.
    model : BaseModel
    X : prepared rows
    y : coded targets
    weight : ndarray (n,)
    groups : ndarray (n,) or None
        Sensitive feature.

    Returns
    -------
    list of Measure
        More than one per criterion where it asks for `by`.

    Raises
    ------
    ValueError
        If a name is unknown, a criterion does not fit the task, or the sensitive
        feature is missing or has one value only.
    """
    from skpuma.criteria import CRITERIA

    if not isinstance(criteria, (list, tuple)):
        criteria = [criteria]
    if not criteria:
        raise ValueError("criterion is an empty list: name at least one criterion.")
    out = []
    for one in criteria:
        criterion = resolve(CRITERIA, one, "criterion")
        _check_contract(criterion)
        name = getattr(criterion, "name", "") or type(criterion).__name__
        by = getattr(criterion, "by", None)
        if by == "group" or getattr(criterion, "needs_groups", False):
            _check_groups(name, groups, weight)
        if hasattr(criterion, "for_loss"):
            criterion = criterion.for_loss(model.loss)
            name = criterion.name
        bounded = bool(getattr(criterion, "bounded", False))
        for label, part, mask in _parts(criterion, by, model, y, groups, weight):
            measure = Measure(
                f"{name}[{label}]" if label else name,
                part,
                X if mask is None else X[mask],
                y if mask is None else y[mask],
                weight if mask is None else weight[mask],
                groups if mask is None or groups is None else groups[mask],
                bounded,
            )
            out.append(measure)
    return _told_apart(out)


def _told_apart(measures):
    """Criteria of one kind are named by their settings too.

    Raises
    ------
    ValueError
        If that does not tell them apart either.
    """
    kinds = {}
    for measure in measures:
        kinds.setdefault(measure.name, []).append(type(measure.criterion))
    measures = [
        replace(measure, name=f"{measure.name} {measure.criterion!r}")
        if len(kinds[measure.name]) > 1 and len(set(kinds[measure.name])) == 1
        else measure
        for measure in measures
    ]
    names = [measure.name for measure in measures]
    if len(set(names)) < len(names):
        raise ValueError(
            f"The criteria have repeated names: {names}. Pass each criterion once; own "
            "criteria are told apart by their attribute `name`."
        )
    return measures


def _parts(criterion, by, model, y, groups, weight):
    """(label, criterion, row mask or None) of every part of a criterion."""
    if by is None:
        return [("", criterion, None)]
    if by == "class":
        if model.classes is None:
            raise ValueError("by='class' needs a classifier; use by='group'.")
        used = [c for c in range(len(model.classes)) if weight[y == c].sum() > 0]
        return [(f"class={model.classes[c]}", criterion, y == c) for c in used]
    values = np.unique(groups[weight > 0])
    if getattr(criterion, "needs_groups", False):
        return [(f"group={g}", criterion.against(g), None) for g in values]
    return [(f"group={g}", criterion, groups == g) for g in values]


def _check_contract(criterion):
    if isinstance(criterion, type):
        raise TypeError(
            f"criterion is the class {criterion.__name__}; pass an instance of it: "
            f"{criterion.__name__}()."
        )
    for method in ("value", "grad_raw"):
        if not callable(getattr(criterion, method, None)):
            raise TypeError(
                f"A criterion needs the methods value and grad_raw of (z, y, *, "
                f"sample_weight, groups); {criterion!r} has no {method}."
            )
        try:
            signature(getattr(criterion, method)).bind(
                None, None, sample_weight=None, groups=None
            )
        except TypeError as error:
            raise TypeError(
                f"{method} of {criterion!r} must take (z, y, *, sample_weight=None, "
                f"groups=None): {error}."
            ) from None


def _check_groups(name, groups, weight):
    if groups is None:
        raise ValueError(
            f"{name} compares groups of the rows that measure it: pass "
            "sensitive_features_val= together with X_val=, or sensitive_features= "
            "where no X_val is given."
        )
    if len(np.unique(groups[weight > 0])) < 2:
        raise ValueError(
            f"{name} compares groups, but the sensitive feature has a single value on "
            "the rows that measure it."
        )
