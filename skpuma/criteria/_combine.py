"""Criteria made of criteria: on a slice of the rows, as a sum, as a maximum."""

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from sklearn.utils.metaestimators import available_if

from skpuma import rows
from skpuma.criteria._base import (
    TASKS,
    BaseCriterion,
    criterion_of,
    enclosed,
    title,
)


def _member(one, owner):
    """A criterion that is part of another one.

    Raises
    ------
    ValueError
        If it asks for parts of its own.
    """
    criterion = criterion_of(one)
    by = getattr(criterion, "by", None)
    if by is not None:
        raise ValueError(
            f"{title(criterion)} inside of {owner} has by={by!r}: leave it out there "
            f"and pass by={by!r} to {owner}."
        )
    return criterion


def _copies(criterion):
    """How many rows its `inputs` returns for every row."""
    return getattr(criterion, "copies", 1)


def _check_rows(criterion, y, weight, groups):
    if hasattr(criterion, "check_rows"):
        criterion.check_rows(y, sample_weight=weight, groups=groups)


def _stacked(blocks):
    if any(sparse.issparse(block) for block in blocks):
        return sparse.vstack(blocks, format="csr")
    return np.concatenate(blocks)


@dataclass(frozen=True)
class _Restricted:
    """A bound criterion on the rows of one class, of one group, or of both.

    Attributes
    ----------
    part : criterion
    name : str
        For messages.
    code : int or None
        Class position.
    group : object or None
    """

    part: object
    name: str
    code: int | None = None
    group: object = None

    @property
    def needs_groups(self):
        return self.group is not None or getattr(self.part, "needs_groups", False)

    @property
    def bounded(self):
        return getattr(self.part, "bounded", False)

    @property
    def copies(self):
        return _copies(self.part)

    def _cut(self, y, weight, groups):
        """Mask (n,) of the rows, and what belongs to them.

        Raises
        ------
        ValueError
            If there are none.
        """
        inside = np.ones(len(y), dtype=bool)
        if self.code is not None:
            inside &= y == self.code
        if self.group is not None:
            if groups is None:
                raise ValueError(f"{self.name} needs groups: pass a sensitive feature.")
            text = np.asarray(groups).dtype.kind == "U"
            inside &= groups == (str(self.group) if text else self.group)
        weight = np.ones(len(y)) if weight is None else weight
        if not (weight[inside] > 0).any():
            found = ""
            if self.group is not None:
                seen = np.unique(groups[weight > 0])[:10].tolist()
                found = f" The sensitive feature is {seen} there."
            raise ValueError(
                f"{self.name} has no rows with a weight among those that measure it."
                f"{found} Pass X_val= with rows of the slice, or fewer folds, or a "
                "splitter that stratifies by it."
            )
        groups = None if groups is None else groups[inside]
        return inside, y[inside], weight[inside], groups

    def check_rows(self, y, *, sample_weight=None, groups=None):
        _, *part = self._cut(y, sample_weight, groups)
        _check_rows(self.part, *part)

    def value(self, z, y, *, sample_weight=None, groups=None):
        copies = len(z) // len(y)
        inside, y, weight, groups = self._cut(y, sample_weight, groups)
        z = z[np.tile(inside, copies)]
        return self.part.value(z, y, sample_weight=weight, groups=groups)

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        copies = len(z) // len(y)
        inside, y, weight, groups = self._cut(y, sample_weight, groups)
        inside = np.tile(inside, copies)
        out = np.zeros_like(z)
        out[inside] = self.part.grad_raw(
            z[inside], y, sample_weight=weight, groups=groups
        )
        return out

    @available_if(lambda self: hasattr(self.part, "inputs"))
    def inputs(self, model, X, y):
        return self.part.inputs(model, X, y)

    def for_classes(self, classes):
        return replace(self, part=_for_classes(self.part, classes))

    def against(self, group):
        return replace(self, part=_against(self.part, group))

    def of_class(self, position):
        return replace(self, part=_of_class(self.part, position))


def _names(parts, encloses):
    """Names of parts; those of one name are told apart by their parameters."""
    names = [enclosed(part) if encloses else title(part) for part in parts]
    out = []
    for part, name in zip(parts, names, strict=True):
        text = " ".join(repr(part).split())
        # Not the repr of an own object: it holds an address, which processes lack.
        plain = isinstance(part, BaseCriterion) and " at 0x" not in text
        out.append(text if names.count(name) > 1 and plain else name)
    return out


def _for_loss(part, loss):
    return part.for_loss(loss) if hasattr(part, "for_loss") else part


def _for_classes(part, classes):
    return part.for_classes(classes) if hasattr(part, "for_classes") else part


def _against(part, group):
    """What ``by="group"`` means to a part."""
    if getattr(part, "needs_groups", False):
        return part.against(group)
    return _Restricted(part, f"{enclosed(part)}[group={group}]", group=group)


def _of_class(part, position):
    """What ``by="class"`` means to a part."""
    if hasattr(part, "of_class"):
        return part.of_class(position)
    return _Restricted(part, f"{enclosed(part)}[class #{position}]", code=position)


class _Combination(BaseCriterion):
    """Bound parts, and the rows that they are measured on.

    Rows that some part replaces by its `inputs` are stacked: one block that all other
    parts share, and a block (or several) for every part that has `inputs`.
    """

    # Whether sums among the parts are written in parentheses.
    encloses = True

    def __init__(self, by=None):
        super().__init__(by)
        self._bound = None

    @abstractmethod
    def _given(self):
        """The criteria as they were passed."""

    @abstractmethod
    def _title(self, names):
        """Name from those of the bound parts."""

    @property
    def _parts(self):
        if self._bound is not None:
            return self._bound
        return [_member(one, type(self).__name__) for one in self._given()]

    @property
    def bounded(self):
        return all(getattr(part, "bounded", False) for part in self._parts)

    @property
    def needs_groups(self):
        return any(getattr(part, "needs_groups", False) for part in self._parts)

    @property
    def compares_groups(self):
        return any(
            getattr(part, "compares_groups", getattr(part, "needs_groups", False))
            for part in self._parts
        )

    @property
    def tasks(self):
        of_parts = [getattr(part, "tasks", TASKS) for part in self._parts]
        return tuple(task for task in TASKS if all(task in one for one in of_parts))

    def _with(self, parts):
        other = type(self)(**self.get_params(deep=False))
        other.loss, other.name, other._bound = self.loss, self.name, parts
        return other

    def for_loss(self, loss):
        # The parts come first: their messages say which of them does not fit.
        other = self._with([_for_loss(part, loss) for part in self._parts])
        other.loss = loss
        other.name = other._title(_names(other._bound, other.encloses))
        return other

    def for_classes(self, classes):
        return self._with([_for_classes(part, classes) for part in self._parts])

    def check_rows(self, y, *, sample_weight=None, groups=None):
        for part in self._parts:
            _check_rows(part, y, sample_weight, groups)

    def against(self, group):
        return self._with([_against(part, group) for part in self._parts])

    def of_class(self, position):
        return self._with([_of_class(part, position) for part in self._parts])

    def _has_inputs(self):
        return any(hasattr(part, "inputs") for part in self._parts)

    def _layout(self):
        """Block (start, stop) of every part in units of n rows, and their number."""
        moves = [hasattr(part, "inputs") for part in self._parts]
        end = 0 if all(moves) else 1
        layout = []
        for part, moved in zip(self._parts, moves, strict=True):
            layout.append((end, end + _copies(part)) if moved else (0, 1))
            end += _copies(part) if moved else 0
        return layout, end

    @property
    def copies(self):
        return self._layout()[1]

    @available_if(_has_inputs)
    def inputs(self, model, X, y):
        """The rows of all parts, stacked (copies * n, d)."""
        moving = [part for part in self._parts if hasattr(part, "inputs")]
        blocks = [X] if len(moving) < len(self._parts) else []
        for part in moving:
            block = part.inputs(model, X, y)
            expected = _copies(part) * rows.count(X)
            if rows.count(block) != expected:
                raise ValueError(
                    f"inputs of {title(part)} returned {rows.count(block)} rows; as "
                    f"part of another criterion it must return {expected}."
                )
            blocks.append(block)
        return _stacked(blocks)

    def _blocks(self, z, y):
        """Slice of the rows of z that every part is measured on."""
        if len(z) == len(y):
            return [slice(None)] * len(self._parts)
        n = len(y)
        return [slice(start * n, stop * n) for start, stop in self._layout()[0]]

    def _values(self, z, y, keywords):
        return np.array(
            [
                float(part.value(z[block], y, **keywords))
                for part, block in zip(self._parts, self._blocks(z, y), strict=True)
            ]
        )

    @abstractmethod
    def _factors(self, values):
        """Derivative of the criterion in the values of its parts (m,)."""

    def value(self, z, y, *, sample_weight=None, groups=None):
        values = self._values(z, y, {"sample_weight": sample_weight, "groups": groups})
        return float(self._factors(values) @ values)

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        keywords = {"sample_weight": sample_weight, "groups": groups}
        factors = self._factors(self._values(z, y, keywords))
        out = np.zeros_like(z)
        blocks = self._blocks(z, y)
        for factor, part, block in zip(factors, self._parts, blocks, strict=True):
            if factor != 0.0:
                out[block] += factor * part.grad_raw(z[block], y, **keywords)
        return out


class Slice(_Combination):
    """A criterion on some of the rows that measure it only.

    The unit and range are those of the criterion. In cross-fitting, every fold must
    hold rows of the slice.

    Parameters
    ----------
    criterion : str, criterion, or function of (y, raw)
        Without `by`.
    group : object, default None
        Rows whose sensitive feature equals it; several features are joined by "|", as
        in "f|old".
    label : object, default None
        Rows of this class, a label of the user's. With `group`: rows of both.
    by : {None, "class", "group"}
        The criterion on the rows of the slice, by class or by group.

    Examples
    --------
    >>> from skpuma import PumaPatcher
    >>> from skpuma.criteria import Slice
    >>> PumaPatcher(criterion=Slice("log_loss", group="f", label="spam"))
    PumaPatcher(criterion=Slice(criterion='log_loss', group='f', label='spam'))
    """

    name = "slice"

    def __init__(self, criterion, group=None, label=None, by=None):
        super().__init__(by)
        self.criterion = criterion
        self.group = group
        self.label = label
        if group is None and label is None:
            raise ValueError(
                "Slice needs group= (a value of the sensitive feature) or label= (a "
                "class): without them pass the criterion itself."
            )
        for value, parts in ((group, "group"), (label, "class")):
            if value is not None and by == parts:
                raise ValueError(f"The slice has a single {parts}: leave by= out.")
        inner = _member(criterion, "Slice")
        if group is not None and getattr(inner, "compares_groups", False):
            raise ValueError(
                f"{title(inner)} compares groups, of which the slice has one: slice by "
                "label=, or pass the criterion with by='group'."
            )

    def _given(self):
        return [self.criterion]

    @property
    def needs_groups(self):
        return self.group is not None or super().needs_groups

    @property
    def tasks(self):
        if self.label is None:
            return super().tasks
        return tuple(task for task in super().tasks if task == "classification")

    def _title(self, names):
        cuts = [] if self.group is None else [f"group={self.group}"]
        cuts += [] if self.label is None else [f"class={self.label}"]
        return f"{names[0]}[{', '.join(cuts)}]"

    def for_loss(self, loss):
        bound = super().for_loss(loss)
        if self.label is not None and loss.task != "classification":
            raise ValueError(
                f"{bound.name} has a label, which needs a classifier with one label a "
                f"row; this model is for {loss.task}. Slice by group= instead."
            )
        bound._bound = [_Restricted(bound._bound[0], bound.name, None, self.group)]
        return bound

    def for_classes(self, classes):
        """A copy that knows the class position of its label.

        Raises
        ------
        ValueError
            If there is no such class.
        """
        bound = super().for_classes(classes)
        if self.label is not None:
            found = np.flatnonzero(np.asarray(classes) == self.label)
            if not len(found):
                raise ValueError(
                    f"{self.name}: the model has no class {self.label!r}; it knows "
                    f"{np.asarray(classes).tolist()}."
                )
            bound._bound = [replace(bound._bound[0], code=int(found[0]))]
        return bound

    def _values(self, z, y, keywords):
        if self.label is not None and self._parts[0].code is None:
            raise ValueError(
                f"{self.name} does not know the position of its label: bind it by "
                "for_loss(loss).for_classes(classes)."
            )
        return super()._values(z, y, keywords)

    def against(self, group):
        if self.group is not None:
            raise ValueError(f"{self.name} is a single group: leave by='group' out.")
        return self._with([self._parts[0].against(group)])

    def _factors(self, values):
        return np.ones(1)


class WeightedSum(_Combination):
    """A weighted sum of criteria, as one criterion with one delta.

    ``sum_c weights_c C_c``, in the common unit of the criteria, which the weights have
    to make common. It is `bounded` if all criteria are and no weight exceeds 1. To
    bound each criterion on its own, pass a plain list as ``criterion=`` instead.

    Parameters
    ----------
    criteria : list of str, criteria, or functions of (y, raw)
        Without `by`.
    weights : array-like (n_criteria,), default None
        Not negative, since criteria are costs. None: all 1.
    by : {None, "class", "group"}
        Criteria that compare groups or classes compare one with all others; the others
        are taken on its rows.

    Examples
    --------
    >>> from skpuma import PumaValuator
    >>> from skpuma.criteria import WeightedSum
    >>> PumaValuator(criterion=WeightedSum(["log_loss", "mmce"], weights=[1, 2]))
    PumaValuator(criterion=WeightedSum(criteria=['log_loss', 'mmce'],
                                       weights=[1, 2]))
    """

    name = "weighted_sum"

    def __init__(self, criteria, weights=None, by=None):
        super().__init__(by)
        self.criteria = criteria
        self.weights = weights
        _check_members(criteria, self)
        if weights is None:
            return
        values = np.asarray(weights, dtype=float)
        if values.shape != (len(criteria),):
            raise ValueError(
                f"weights has shape {values.shape} for {len(criteria)} criteria."
            )
        if not np.isfinite(values).all() or (values < 0).any() or not values.any():
            raise ValueError(
                "weights must be finite, not negative and not all 0: criteria are "
                "costs, lower is better."
            )

    def _given(self):
        return self.criteria

    def _weights(self):
        if self.weights is None:
            return np.ones(len(self.criteria))
        return np.asarray(self.weights, dtype=float)

    @property
    def bounded(self):
        # delta="auto" is 0.01 for probabilities, and a multiple of one is none.
        return super().bounded and self._weights().max() <= 1.0

    @property
    def is_sum(self):
        """Whether its name is that of a sum."""
        return len(self.criteria) > 1 or self._weights()[0] != 1.0

    def _title(self, names):
        factors = ["" if w == 1.0 else f"{w:g} " for w in self._weights()]
        return " + ".join(w + name for w, name in zip(factors, names, strict=True))

    def _factors(self, values):
        return self._weights()


class Maximum(_Combination):
    """The largest of several criteria, as one criterion with one delta.

    In the common unit of the criteria; its slope is that of the one that is largest
    now, the first of equal ones. To bring criteria to one unit, pass `WeightedSum` of
    one. It is `bounded` if all criteria are.

    Parameters
    ----------
    criteria : list of str, criteria, or functions of (y, raw)
        Without `by`.
    by : {None, "class", "group"}
        Criteria that compare groups or classes compare one with all others; the others
        are taken on its rows.

    Examples
    --------
    >>> from skpuma import PumaValuator
    >>> from skpuma.criteria import Maximum
    >>> PumaValuator(criterion=Maximum(["equal_opportunity", "calibration_error"]))
    PumaValuator(criterion=Maximum(criteria=['equal_opportunity',
                                             'calibration_error']))
    """

    name = "maximum"
    encloses = False

    def __init__(self, criteria, by=None):
        super().__init__(by)
        self.criteria = criteria
        _check_members(criteria, self)

    def _given(self):
        return self.criteria

    def _title(self, names):
        return f"max({', '.join(names)})"

    def _factors(self, values):
        return (np.arange(len(values)) == values.argmax()).astype(float)


def _check_members(criteria, owner):
    """Refuse bad criteria when they are written down, not when they are fitted."""
    if not isinstance(criteria, (list, tuple)) or not len(criteria):
        raise ValueError(
            f"{type(owner).__name__} needs a list of criteria, got {criteria!r}."
        )
    for one in criteria:
        _member(one, type(owner).__name__)
