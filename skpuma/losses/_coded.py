"""A regression loss on classes that are coded as numbers."""

from skpuma.losses._margin import SignedLoss, signs
from skpuma.losses._squared import SquaredLoss


class CodedLoss(SignedLoss):
    """A regression loss of the codes -1 and +1 of the classes 0 and 1.

    That is how ``RidgeClassifier`` is fitted, and ``SGDClassifier`` with a squared,
    Huber or squared epsilon-insensitive loss. The predicted probability is that of the
    squared loss for all of them. A loss that tolerates epsilon is lowest at
    ``(1 - epsilon) (2 p - 1)`` and a Huber loss closer to -1 or +1: theirs are scores
    that rise with the probability, not estimates of it.

    Parameters
    ----------
    base : BaseLoss, optional
        A regression loss. Default ``SquaredLoss()``.
    """

    parameters = ("base",)

    def __init__(self, base=None):
        self.base = SquaredLoss() if base is None else base

    @property
    def affine(self):
        """As the regression loss."""
        return self.base.affine

    @property
    def constant_hessian(self):
        """As the regression loss."""
        return self.base.constant_hessian

    def value(self, z, y):
        return self.base.value(z, signs(y))

    def gradient(self, z, y):
        return self.base.gradient(z, signs(y))

    def hessian(self, z, y):
        return self.base.hessian(z, signs(y))

    def hessian_root(self, z, y):
        return self.base.hessian_root(z, signs(y))

    def dispersion(self, z, y, weight):
        return self.base.dispersion(z, signs(y), weight)
