"""What the losses with a binary problem for every raw output share."""

from abc import abstractmethod

import numpy as np

from skpuma.losses._base import BaseLoss, diagonal
from skpuma.losses._binary_log import BinaryLogLoss


class PerOutputLoss(BaseLoss):
    """Sum over the raw outputs of a binary loss, each with zeros and ones of its own.

    Parameters
    ----------
    base : BaseLoss, optional
        Loss of a binary classifier with one raw output. Default ``BinaryLogLoss()``.
    positive, negative : array-like (k,), optional
        Weights of the rows with a one and of those with a zero, for each output.
        Default 1.
    """

    parameters = ("base", "positive", "negative")

    def __init__(self, base=None, positive=None, negative=None):
        self.base = BinaryLogLoss() if base is None else base
        # Tuples, so that the loss can be compared and hashed.
        self.positive, self.negative = (
            None if weight is None else tuple(np.asarray(weight, dtype=float).tolist())
            for weight in (positive, negative)
        )

    @abstractmethod
    def _codes(self, z, y):
        """Zeros and ones, the targets of the binary problems, shape (n, k)."""

    @property
    def _weighted(self):
        return self.positive is not None or self.negative is not None

    @property
    def affine(self):
        """As the binary loss; weights that depend on y are no affine function."""
        return self.base.affine and not self._weighted

    @property
    def constant_hessian(self):
        """As the binary loss, if there are no weights."""
        return self.base.constant_hessian and not self._weighted

    def unweighted(self):
        return type(self)(self.base.unweighted())

    def _each(self, method, z, y):
        """Result of a method of the binary loss for every row and output, (n, k)."""
        codes = self._codes(z, y)
        each = method(z.reshape(-1, 1), codes.reshape(-1)).reshape(z.shape)
        if not self._weighted:
            return each
        positive = 1.0 if self.positive is None else np.array(self.positive)
        negative = 1.0 if self.negative is None else np.array(self.negative)
        return each * np.where(codes > 0.0, positive, negative)

    def value(self, z, y):
        return self._each(self.base.value, z, y).sum(axis=1)

    def gradient(self, z, y):
        return self._each(self.base.gradient, z, y)

    def hessian(self, z, y):
        return diagonal(self._each(self.base.hessian, z, y))

    def hessian_root(self, z, y):
        return diagonal(np.sqrt(self._each(self.base.hessian, z, y)))

    def dispersion(self, z, y, weight):
        codes = self._codes(z, y).reshape(-1)
        return self.base.dispersion(
            z.reshape(-1, 1), codes, np.repeat(weight, z.shape[1])
        )

    def _scores(self, z):
        """Probability of a one in every binary problem, shape (n, k)."""
        return self.base.predict(z.reshape(-1, 1))[:, 1].reshape(z.shape)

    def _scores_vjp(self, z, u):
        u = np.column_stack([np.zeros(u.size), u.reshape(-1)])
        return self.base.predict_vjp(z.reshape(-1, 1), u).reshape(z.shape)
