"""The contract of a pointwise loss."""

from abc import ABC, abstractmethod

import numpy as np

from skpuma.losses._output_hessian import OutputHessian


def diagonal(curvature):
    """Matrices (n, k, k) with the rows of `curvature` (n, k) on their diagonals."""
    return curvature[:, :, None] * np.eye(curvature.shape[1])


def mean_scale(square, weight):
    """Weighted mean of `square` (n,) over the rows, never zero."""
    return max(float(np.average(square, weights=weight)), np.finfo(float).tiny)


class BaseLoss(ABC):
    """A loss of one row as a function of its raw outputs.

    Attributes
    ----------
    task : {"classification", "regression", "multilabel"}
        Coded targets are integer class positions (n,) for a classifier, floats (n, k)
        for a regressor, and zeros and ones (n, k) where every output is a label of its
        own.
    affine : bool
        Whether the gradient is an affine function of a float `y`.
    constant_hessian : bool
        Whether the second derivative is the identity whatever z (squared loss).
    parameters : tuple of str
        Names of the arguments, which are attributes too. Losses of one class with equal
        parameters are equal.
    """

    task = "regression"
    affine = True
    constant_hessian = False
    parameters = ()

    @property
    def classification(self):
        """Whether `y` holds integer class positions (n,)."""
        return self.task == "classification"

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
        """Expected target: probabilities (n, n_classes), or the shape of a float y."""

    @abstractmethod
    def predict_vjp(self, z, u):
        """Pull a gradient `u` in the predictions back to z, shape (n, k)."""

    def decide(self, z):
        """Position of the predicted class (n,); multilabel: zeros and ones (n, k)."""
        return self.predict(z).argmax(axis=1)

    def unweighted(self):
        """The same loss without the class weights that some losses carry."""
        return self

    def hessian_root(self, z, y):
        """``B`` (n, k, k) with ``B @ B.T == hessian``."""
        values, vectors = np.linalg.eigh(self.hessian(z, y))
        return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]

    def hessian_operator(self, z, y, scale):
        """``scale_i * hessian_i`` of every row, as an `OutputHessian` or alike."""
        return OutputHessian(self.hessian(z, y) * scale[:, None, None])

    def dispersion(self, z, y, weight):
        """Scale that makes a change of the loss free of units (1 for likelihoods)."""
        return 1.0

    def _arguments(self):
        return tuple(getattr(self, name) for name in self.parameters)

    def __repr__(self):
        pairs = zip(self.parameters, self._arguments(), strict=True)
        given = [f"{name}={value!r}" for name, value in pairs if value is not None]
        return f"{type(self).__name__}({', '.join(given)})"

    def __eq__(self, other):
        return type(self) is type(other) and self._arguments() == other._arguments()

    def __hash__(self):
        return hash((type(self), self._arguments()))
