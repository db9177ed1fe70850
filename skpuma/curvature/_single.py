"""Products with a curvature in single precision, at half the price."""

import numpy as np

from skpuma import rows

# Multiplications of a product with one column from which its conversions are paid back.
WORK = 2**21
# Error of a product, relative to the sizes of what is added up in it.
ROUNDING = 2e-7
# Rows whose sizes stand for those of all.
SIZED_ROWS = 2000


class SingleProducts:
    """A Gauss-Newton matrix for products that may be wrong in the seventh digit.

    Whoever multiplies with it measures what came out with the curvature itself.

    Parameters
    ----------
    curvature : GaussNewton
        One that `fits`.

    Attributes
    ----------
    X : ndarray (n, d)
        The rows in single precision, or themselves where a copy would not be small.
    """

    @staticmethod
    def fits(curvature):
        """Whether there are such products, and they are worth it."""
        objective = curvature.objective
        model, X = objective.model, objective.X
        if not (model.single and curvature.psd and rows.is_dense(X)):
            return False
        return rows.count(X) * model.n_parameters >= WORK

    def __init__(self, curvature):
        objective = curvature.objective
        self._diagonal = curvature.diagonal_part[:, None]
        self._operator, self._unit = curvature.output_operator.in_single()
        model = objective.model
        whole = model.convex and getattr(model, "free_coef", 0) is None
        # Asked in double precision: in single, rows that sum to zero do not quite.
        closed = model.n_outputs > 2 and curvature.output_operator.closed()
        self._closed = whole and closed
        self.X = rows.in_single(objective.X)
        model = model.at(model.theta.astype(np.float32))
        self._model = model.remembering(self.X)
        self._sizes = self._sizes_of_columns() if whole else 0.0
        # Largest factor by which a vector was made longer.
        self._largest = 0.0

    def __matmul__(self, V):
        """H V in double precision (p, m), of V (p, m)."""
        size = np.linalg.norm(V, axis=0)
        size = np.where(size > 0, size, 1.0)
        unit = (V / size).astype(np.float32)
        product = self._model.gram_product(self.X, self._operator, unit) * self._unit
        if self._closed:
            # Rounding along the shift of all classes, of which H holds the ridge alone,
            # would be taken for a step as long as that is small.
            coef, intercept = self._model.split(product)
            product = self._model.join(
                coef - coef.mean(0), intercept - intercept.mean(0)
            )
        length = np.linalg.norm(product, axis=0).max(initial=0.0)
        self._largest = max(self._largest, float(length))
        return product * size + self._diagonal * V

    def error(self, V):
        """How wrong the product with every column of V may be, about (m,)."""
        size = np.sqrt(np.sum(np.square(self._sizes)))
        inside = size * np.linalg.norm(V * np.reshape(self._sizes, (-1, 1)), axis=0)
        return ROUNDING * np.maximum(inside, self._largest * np.linalg.norm(V, axis=0))

    def _sizes_of_columns(self):
        """Square root of the diagonal of the data term (p,), by some of the rows."""
        step = max(rows.count(self.X) // SIZED_ROWS, 1)
        each = np.arange(self._model.n_outputs)
        weight = self._operator[::step].pairs(each, each).astype(np.float64)
        squares = rows.squared_column_sums(self.X[::step], weight)
        diagonal = self._model.join(squares.T, weight.sum(axis=0))
        return np.sqrt(step * self._unit * diagonal)
