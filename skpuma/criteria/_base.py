"""The contract of a criterion, and its binding to a model's rows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from inspect import signature

import numpy as np
from sklearn.base import BaseEstimator

from skpuma.utils._registry import resolve

BY = (None, "class", "group")
TASKS = {
    "classification": "classification",
    "regression": "regression",
    "multilabel": "multilabel classification",
}


class BaseCriterion(BaseEstimator, ABC):
    """A cost as a function of raw outputs z (n, k) and coded targets y.

    A user's own criterion needs no base class: any object with `value` and `grad_raw`
    of these signatures will do; `name` and `bounded` are used when it has them. If it
    has a method ``inputs(model, X, y)``, the criterion is measured on the rows that it
    returns, which are held fixed under differentiation. ``against(group)`` and
    ``of_class(position)`` say what `by` means to a criterion that compares rows.

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
        Whether it reads the sensitive feature.
    tasks : tuple of str
        Of "classification", "regression" and "multilabel".
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

    @property
    def compares_groups(self):
        """Whether a sensitive feature with a single value makes it meaningless."""
        return self.needs_groups

    def for_loss(self, loss):
        """A copy bound to the model's loss, which knows how z becomes a prediction.

        Raises
        ------
        ValueError
            If the criterion does not fit the task of the model.
        """
        if loss.task not in self.tasks:
            tasks = " and ".join(TASKS[task] for task in self.tasks)
            raise ValueError(
                f"{title(self)} is a criterion for {tasks}; this model is for "
                f"{TASKS[loss.task]}."
            )
        bound = type(self)(**self.get_params(deep=False))
        bound.loss = loss
        return bound

    def for_classes(self, classes):
        """A copy that knows the labels behind the class positions (None: it has none).

        Called after `for_loss`.
        """
        return self

    def check_rows(self, y, *, sample_weight=None, groups=None):
        """Refuse rows on which the criterion is not defined, before they are used."""

    @abstractmethod
    def value(self, z, y, *, sample_weight=None, groups=None):
        """The cost, a float."""

    @abstractmethod
    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        """Its derivative in z, shape (n, k)."""

    def _identity(self):
        return tuple(
            (name, _hashable(value))
            for name, value in self.get_params(deep=False).items()
        )

    def __eq__(self, other):
        return type(self) is type(other) and self._identity() == other._identity()

    def __hash__(self):
        return hash((type(self), self._identity()))

    def __sklearn_is_fitted__(self):
        return True


class RowMean:
    """A criterion that is a weighted mean of costs of single rows.

    It is known by sums over rows, which blocks of rows can be asked for one at a time:
    ``of_sums(sum of sums) == value`` and ``slopes`` of a block are those lines of
    `grad_raw`.
    """

    def sums(self, z, y, *, sample_weight):
        """Weighted costs and weights of some rows (2,)."""
        total = sample_weight.sum()
        if not total > 0:
            return np.zeros(2)
        return total * np.array([self.value(z, y, sample_weight=sample_weight), 1.0])

    def of_sums(self, sums):
        """The cost, from `sums` over all rows."""
        return sums[0] / sums[1]

    def slopes(self, sums, z, y, *, sample_weight):
        """Derivative of the cost in z (n, k), of some rows, from `sums` over all."""
        total = sample_weight.sum()
        if not total > 0:
            return np.zeros_like(z)
        slopes = self.grad_raw(z, y, sample_weight=sample_weight)
        return slopes * (total / sums[1])


def _hashable(value):
    """A parameter with its lists and arrays turned into tuples."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(one) for one in value)
    return value


# Raw outputs of moved models that are in memory at a time.
MOVED_NUMBERS = 2**17


def weights_of(z, sample_weight):
    """Weights (n,), ones by default."""
    return np.ones(len(z)) if sample_weight is None else sample_weight


def named(one):
    """The criterion that a name of the table or a plain function of (y, raw) means.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    from skpuma.criteria import CRITERIA
    from skpuma.criteria._function import FunctionCriterion

    criterion = resolve(CRITERIA, one, "criterion")
    methods = any(hasattr(criterion, method) for method in ("value", "grad_raw"))
    if callable(criterion) and not methods and not isinstance(criterion, type):
        return FunctionCriterion(criterion)
    return criterion


def criterion_of(one):
    """The same, with its contract checked.

    Raises
    ------
    TypeError
        If it is no criterion.
    """
    criterion = named(one)
    _check_contract(criterion)
    return criterion


def bind(criterion, loss, classes):
    """A criterion, with or without `for_loss` and `for_classes`, bound to a model."""
    if hasattr(criterion, "for_loss"):
        criterion = criterion.for_loss(loss)
    if hasattr(criterion, "for_classes"):
        criterion = criterion.for_classes(classes)
    return criterion


def title(criterion):
    """How reports call a criterion."""
    name = getattr(criterion, "name", "") or getattr(criterion, "default_name", "")
    return name or type(criterion).__name__


def enclosed(criterion):
    """The same, so that a slice or a factor can be written next to it."""
    name = title(criterion)
    return f"({name})" if getattr(criterion, "is_sum", False) else name


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
        if getattr(self.criterion, "constant_curvature", None) is not None:
            return self._quadratic_mover(model)
        z, keywords = model.raw(self.X), self._keywords()
        at_once = getattr(self.criterion, "value_at_each", None)
        size = max(MOVED_NUMBERS // z.size, 1)

        def values(moves):
            # z is linear in theta here: one product serves all the moves of a block.
            out = np.empty(len(moves))
            for start in range(0, len(moves), size):
                part = slice(start, start + size)
                moved = z + model.jvp(self.X, moves[part].T).transpose(2, 0, 1)
                if at_once is not None:
                    out[part] = at_once(moved, self.y, **keywords)
                    continue
                out[part] = [
                    self.criterion.value(one, self.y, **keywords) for one in moved
                ]
            return out

        return values

    def _quadratic_mover(self, model):
        """`mover` where C is a quadratic function of the parameters."""
        scale = self.criterion.constant_curvature * self.weight / self.weight.sum()
        identity = np.broadcast_to(
            np.eye(model.n_outputs), (len(scale), model.n_outputs, model.n_outputs)
        )
        hessian = model.hessian_gram(self.X, scale[:, None, None] * identity)
        value, gradient = self.value(model), self.gradient(model)

        def values(moves):
            bend = np.einsum("bp,bp->b", moves @ hessian, moves)
            return value + moves @ gradient + 0.5 * bend

        return values


def measures_of(criteria, model, X, y, weight, groups=None):
    """Bind one or several criteria to rows.

    Parameters
    ----------
    criteria : str, criterion, function of (y, raw), or list of them
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
        If a name is unknown, a criterion does not fit the task or the rows, or the
        sensitive feature is missing or has one value only.
    """
    if not isinstance(criteria, (list, tuple)):
        criteria = [criteria]
    if not criteria:
        raise ValueError("criterion is an empty list: name at least one criterion.")
    out = []
    for one in criteria:
        criterion = criterion_of(one)
        by = getattr(criterion, "by", None)
        _check_groups(criterion, by, groups, weight)
        criterion = bind(criterion, model.loss.unweighted(), model.classes)
        name = title(criterion)
        bounded = bool(getattr(criterion, "bounded", False))
        for label, part, mask in _parts(criterion, by, model, y, groups, weight):
            measure = Measure(
                f"{enclosed(criterion)}[{label}]" if label else name,
                part,
                X if mask is None else X[mask],
                y if mask is None else y[mask],
                weight if mask is None else weight[mask],
                groups if mask is None or groups is None else groups[mask],
                bounded,
            )
            if hasattr(part, "check_rows"):
                part.check_rows(
                    measure.y, sample_weight=measure.weight, groups=measure.groups
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
        if hasattr(criterion, "of_class"):
            return [
                (f"class={model.classes[c]}", criterion.of_class(c), None) for c in used
            ]
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
                f"A criterion is a name, a function of (y, raw), or an object with the "
                f"methods value and grad_raw of (z, y, *, sample_weight, groups); "
                f"{criterion!r} has no {method}."
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


def _check_groups(criterion, by, groups, weight):
    name = title(criterion)
    needs = by == "group" or getattr(criterion, "needs_groups", False)
    compares = by == "group" or getattr(criterion, "compares_groups", needs)
    if needs and groups is None:
        reads = "compares groups" if compares else "reads the sensitive feature"
        raise ValueError(
            f"{name} {reads} of the rows that measure it: pass "
            "sensitive_features_val= together with X_val=, or sensitive_features= "
            "where no X_val is given."
        )
    if compares and len(np.unique(groups[weight > 0])) < 2:
        raise ValueError(
            f"{name} compares groups, but the sensitive feature has a single value on "
            "the rows that measure it."
        )
