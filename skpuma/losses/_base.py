"""The contract of a pointwise loss."""

from abc import ABC, abstractmethod

import numpy as np


class BaseLoss(ABC):
    """A loss of one row as a function of its raw outputs.

    Attributes
    ----------
    classification : bool
        Whether `y` holds integer class positions (n,) rather than floats (n, k).
    constant_hessian : bool
        Whether the second derivative is the identity whatever z (squared loss).
    """

    classification = False
    constant_hessian = False

    @abstractmethod
    def value(self, z, y):
        """Loss of every row, shape (n,)."""

    @abstractmethod
    def gradient(self, z, y):
        """First derivative in z, shape (n, k)."""

    @abstractmethod
    def hessian(self, z, y):
        """Second derivative in z, shape (n, k, k), positive semi-definite."""

    @abstractmethod
    def predict(self, z):
        """Expected target: probabilities (n, n_classes), or predictions (n, k)."""

    @abstractmethod
    def predict_vjp(self, z, u):
        """Pull a gradient `u` in the predictions back to z, shape (n, k)."""

    def hessian_root(self, z, y):
        """``B`` (n, k, k) with ``B @ B.T == hessian``."""
        values, vectors = np.linalg.eigh(self.hessian(z, y))
        return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]

    def dispersion(self, z, y, weight):
        """Scale that makes a change of the loss free of units (1 for likelihoods)."""
        return 1.0

    def __repr__(self):
        return f"{type(self).__name__}()"

    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return hash(type(self))
