"""A user's own function of targets and raw outputs as a criterion."""

from inspect import signature

import numpy as np

from skpuma.criteria._base import TASKS, BaseCriterion, title, weights_of
from skpuma.utils.errors import PatchWarning, warn

# Central differences at this step are good to about its square.
STEP = np.finfo(float).eps ** (1 / 3)
# Raw outputs beyond which a scalar is not differentiated one by one.
LIMIT = 5000


class FunctionCriterion(BaseCriterion):
    """A cost that is a plain function ``function(y, raw)``.

    Passing the function itself as ``criterion=`` is the same with all defaults.

    Parameters
    ----------
    function : callable
        Of copies of the coded targets y and the raw outputs (n, k). y: class positions
        (n,), the values (n,) of a regressor with one output, or floats (n, k); so for
        one output ``(y - raw[:, 0]) ** 2``. It returns either the cost of every row
        (n,), of which the weighted mean is taken, or one number for all rows. In the
        second case it sees weights only if it has an argument ``sample_weight``;
        otherwise rows of weight 0 are left out, and other uneven weights are refused.
        Lower is better.
    gradient : callable, default None
        ``gradient(y, raw)`` (n, k): the derivative of every row's cost in its raw
        outputs, or that of the one number; with an argument ``sample_weight`` if the
        function has it. None: central differences, which take 2 k evaluations for costs
        of rows, and 2 n k for one number (refused beyond n k = 5000). They are zero for
        a step function, such as the error rate: costs that are bool or int are refused
        without a gradient; ``criterion="margin"`` is a smooth error rate.
    name : str, default None
        How reports call it; None: the name of the function.
    bounded : bool, default False
        Whether it is a probability or a gap between probabilities, so that
        ``delta="auto"`` is 0.01 rather than 1 % of the value.
    tasks : tuple of str
        Those of "classification", "regression" and "multilabel" that it is for.
    by : {None, "class", "group"}

    Notes
    -----
    A function that is defined in a module can be pickled; a lambda cannot.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpuma import PumaValuator
    >>> from skpuma.criteria import FunctionCriterion
    >>> def hinge(y, raw):
    ...     return np.maximum(0.0, 1.0 - (2 * y - 1) * raw[:, 0])
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = X[50:], y[50:]
    >>> PumaValuator(LogisticRegression(), hinge).fit(X, y).criterion_names_
    ['hinge']
    >>> FunctionCriterion(hinge, name="svm")
    FunctionCriterion(svm)
    """

    def __init__(
        self,
        function,
        gradient=None,
        name=None,
        bounded=False,
        tasks=tuple(TASKS),
        by=None,
    ):
        super().__init__(by)
        self.function = function
        self.gradient = gradient
        self.name = name
        self.bounded = bounded
        self.tasks = tasks
        _check_function(function, "function")
        if gradient is not None:
            _check_function(gradient, "gradient")
            if _takes_weights(function) != _takes_weights(gradient):
                raise TypeError(
                    "Either both function and gradient have an argument sample_weight, "
                    "or none of them."
                )
        known = isinstance(tasks, (list, tuple)) and set(tasks) <= set(TASKS)
        if not known or not tasks:
            raise ValueError(
                f"tasks={tasks!r} is not a tuple of some of {tuple(TASKS)}."
            )

    def for_loss(self, loss):
        bound = super().for_loss(loss)
        bound.name = title(self)
        return bound

    @property
    def default_name(self):
        """The name of the function."""
        # Not repr: that of a function holds an address, which other processes lack.
        inner = getattr(self.function, "func", self.function)
        name = getattr(inner, "__name__", type(inner).__name__)
        return name.strip("<>")

    def __repr__(self, N_CHAR_MAX=700):
        return f"{type(self).__name__}({title(self)})"

    def _costs(self, z, y, weight):
        """Costs (n,), or one number ().

        Raises
        ------
        ValueError
            If it is neither, or one number for rows with weights that it cannot see.
        """
        takes = _takes_weights(self.function)
        returned = self._called(self.function, z, y, weight)
        cost = _numbers(returned, title(self))
        if cost.shape == (len(z),) and takes:
            raise ValueError(
                f"{title(self)} has an argument sample_weight, so it must return one "
                "number; costs of rows are weighted by skpuma: leave the argument out."
            )
        if cost.shape not in ((), (len(z),)):
            raise ValueError(
                f"{title(self)} returned shape {cost.shape} for {len(z)} rows: it "
                f"must return one cost per row, ({len(z)},), or one number. It was "
                f"handed y of shape {self._targets(y).shape} and raw of shape "
                f"{z.shape}."
            )
        if cost.ndim == 0 and not takes and np.ptp(weight) > 1e-12 * weight.max():
            raise ValueError(
                f"{title(self)} returns one number and cannot see the weights of the "
                "rows: return one cost per row, or add an argument sample_weight."
            )
        return cost

    def _targets(self, y):
        """y as the function sees it: (n,) for a regressor with one output."""
        single = self.loss is not None and self.loss.task == "regression"
        return y[:, 0] if single and y.ndim == 2 and y.shape[1] == 1 else y

    def _called(self, function, z, y, weight):
        """What a function of the user's returns; it may write into what it is given."""
        keywords = {"sample_weight": weight.copy()} if _takes_weights(function) else {}
        return function(self._targets(y).copy(), z.copy(), **keywords)

    def _check_slopes(self, z, y, weight, cost):
        """Refuse costs that have no differences to learn from."""
        name = title(self)
        if not np.isfinite(cost).all():
            _refuse_nonfinite(name, "", cost)
        if self.gradient is not None:
            return
        if np.asarray(self._called(self.function, z, y, weight)).dtype.kind in "biu":
            raise ValueError(
                f"{name} returned costs that are bool or int: a step function, such as "
                "the error rate, has no slope, so that psi would be zero. Use "
                "criterion='margin' (a smooth error rate), a smooth function, or "
                f"FunctionCriterion({name}, gradient=...)."
            )

    def value(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        keep = weight > 0
        cost = self._costs(z[keep], y[keep], weight[keep])
        return float(cost) if cost.ndim == 0 else np.average(cost, weights=weight[keep])

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        keep = weight > 0
        out = np.zeros_like(z)
        z, y, weight = z[keep], y[keep], weight[keep]
        cost = self._costs(z, y, weight)
        self._check_slopes(z, y, weight, cost)
        if self.gradient is not None:
            slopes = self._given_slopes(z, y, weight)
        elif cost.ndim == 1:
            slopes = self._slopes_of_rows(z, y, weight, cost)
        else:
            slopes = self._slopes_of_number(z, y, weight)
        if not np.isfinite(slopes).all():
            what = "differences" if self.gradient is None else "gradient"
            _refuse_nonfinite(title(self), f"{what} of ", slopes)
        if self.gradient is None and not slopes.any():
            warn(
                f"{title(self)} does not change with small changes of any raw output, "
                "so that its psi is zero. If it is a step function, such as the error "
                "rate, use criterion='margin' (a smooth error rate), a smooth function "
                f"or FunctionCriterion({title(self)}, gradient=...).",
                PatchWarning,
            )
        out[keep] = slopes * (weight / weight.sum())[:, None] if cost.ndim else slopes
        return out

    def _given_slopes(self, z, y, weight):
        returned = self._called(self.gradient, z, y, weight)
        slopes = _numbers(returned, f"gradient of {title(self)}")
        if slopes.shape != z.shape:
            raise ValueError(
                f"gradient of {title(self)} returned shape {slopes.shape}; it must "
                f"have the shape of raw, {z.shape}."
            )
        return slopes

    def _slopes_of_rows(self, z, y, weight, cost):
        """Differences of all rows at once, one output after the other."""
        half = len(z) // 2
        if half:
            alone = self._costs(z[:half], y[:half], weight[:half])
            if not np.allclose(alone, cost[:half], rtol=1e-8, equal_nan=True):
                raise ValueError(
                    f"{title(self)} returns one cost per row, but the cost of a row "
                    "changes with the other rows. If it is divided by len(y): leave "
                    "that out, skpuma takes the weighted mean. Otherwise return one "
                    "number, or wrap it as FunctionCriterion(function, gradient=...)."
                )
        slopes = np.empty_like(z)
        for a in range(z.shape[1]):
            plus, minus = z.copy(), z.copy()
            step = STEP * np.maximum(1.0, np.abs(z[:, a]))
            plus[:, a] += step
            minus[:, a] -= step
            rise = self._costs(plus, y, weight) - self._costs(minus, y, weight)
            slopes[:, a] = rise / (plus[:, a] - minus[:, a])
        return slopes

    def _slopes_of_number(self, z, y, weight):
        if z.size > LIMIT:
            raise ValueError(
                f"{title(self)} returns one number, whose differences in the raw "
                f"outputs of {len(z)} rows take {2 * z.size} evaluations (at most "
                f"{2 * LIMIT} are made). Return one cost per row, measure it on fewer "
                "rows, or give FunctionCriterion(function, gradient=...)."
            )
        slopes = np.empty_like(z)
        for position in np.ndindex(*z.shape):
            plus, minus = z.copy(), z.copy()
            step = STEP * max(1.0, abs(z[position]))
            plus[position] += step
            minus[position] -= step
            rise = self._costs(plus, y, weight) - self._costs(minus, y, weight)
            slopes[position] = rise / (plus[position] - minus[position])
        return slopes


def _numbers(returned, name):
    """What a function returned, as floats.

    Raises
    ------
    TypeError
        If it is None, or anything else that is no number.
    """
    try:
        if returned is not None:
            return np.asarray(returned, dtype=np.float64)
    except (TypeError, ValueError):
        pass
    raise TypeError(
        f"{name} returned {repr(returned)[:60]}: it must return numbers"
        + (" (is a return statement missing?)." if returned is None else ".")
    )


def _refuse_nonfinite(name, what, values):
    bad = np.flatnonzero(~np.isfinite(values))
    found = np.unique(np.ravel(values)[bad]).tolist()
    raise ValueError(
        f"{what}{name} returned {found} ({len(bad)} of {np.size(values)} numbers): "
        "they must be finite for all raw outputs of the model. A logarithm of 0 or a "
        "division by 0 may be behind it."
    )


def _takes_weights(function):
    try:
        return "sample_weight" in signature(function).parameters
    except ValueError:
        # Functions written in C may have no signature.
        return False


def _check_function(function, what):
    if not callable(function):
        raise TypeError(f"{what}={function!r} is not callable.")
    try:
        parameters = signature(function)
    except ValueError:
        return
    keywords = {"sample_weight": None} if _takes_weights(function) else {}
    try:
        parameters.bind(None, None, **keywords)
    except TypeError as error:
        raise TypeError(
            f"{what} {function!r} must take (y, raw): coded targets and raw outputs; "
            f"{error}."
        ) from None
