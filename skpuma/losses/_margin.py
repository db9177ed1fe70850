"""Losses of a binary classifier that are no likelihoods."""

import numpy as np

from skpuma.losses._base import BaseLoss


def signs(y):
    """Targets in {0, 1} as a column of -1 and +1."""
    return 2.0 * np.reshape(y, (-1, 1)) - 1.0


class SignedLoss(BaseLoss):
    """A loss of one raw output whose sign is the class.

    The squared, the squared hinge and the modified Huber loss are lowest in the
    population at ``z = 2 p - 1``, with p the probability of the second class (Zhang,
    2004). So the prediction is ``p = clip((z + 1) / 2, 0, 1)``, as in the
    ``predict_proba`` of scikit-learn's ``SGDClassifier(loss="modified_huber")``. Its
    derivative in z is 1/2 for ``|z| < 1`` and 0 beyond.

    References
    ----------
    T. Zhang, "Statistical behavior and consistency of classification methods based on
    convex risk minimization", Annals of Statistics 32, 2004.
    """

    task = "classification"

    def predict(self, z):
        p = np.clip(0.5 * (z + 1.0), 0.0, 1.0)
        return np.hstack([1.0 - p, p])

    def predict_vjp(self, z, u):
        return 0.5 * (np.abs(z) < 1.0) * (u[:, 1:] - u[:, :1])

    def decide(self, z):
        return (z[:, 0] > 0.0).astype(int)
