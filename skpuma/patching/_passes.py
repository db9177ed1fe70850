"""How many rows a model is asked about: the cost of a patch, whatever the machine."""

import copy
from functools import wraps

# Methods of a model whose first argument are rows.
OF_ROWS = (
    "diagonal",
    "gradients",
    "gram",
    "gram_product",
    "hessian_gram",
    "input_vjp",
    "jacobian",
    "jvp",
    "last_layer",
    "psi",
    "raw",
    "second_order",
    "tangent_gram",
    "vjp",
    "vjp_columns",
)


class Passes:
    """Counts rows times passes of the models that it was given to.

    Attributes
    ----------
    rows : int
        Rows of every call: of the outputs, of a product with the Jacobian, of a part of
        the curvature. What a call calls itself is part of it.
    """

    def __init__(self):
        self.rows = 0
        self._inside = False

    @property
    def epochs(self):
        """Rows times epochs: an epoch of training takes outputs and a gradient."""
        return 0.5 * self.rows

    def counted(self, model):
        """A copy of a model, and of whatever is made of it, whose calls are counted."""
        kind = type(model)
        methods = {
            name: self._counting(getattr(kind, name))
            for name in OF_ROWS
            if hasattr(kind, name)
        }
        twin = copy.copy(model)
        # Of the instance alone, a method would stay at the parameters of this copy.
        twin.__class__ = type(kind.__name__, (kind,), methods)
        return twin

    def _counting(self, method):
        @wraps(method)
        def counting(model, X, *args, **kwargs):
            if self._inside:
                return method(model, X, *args, **kwargs)
            self.rows += X.shape[0]
            self._inside = True
            try:
                return method(model, X, *args, **kwargs)
            finally:
                self._inside = False

        return counting
