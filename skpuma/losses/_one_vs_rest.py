"""A binary loss of every class against the rest."""

import numpy as np

from skpuma.losses._per_output import PerOutputLoss


class OneVsRestLoss(PerOutputLoss):
    """Sum over classes a of a binary loss with the target ``1[y == a]``.

    The probabilities are those of the binary problems divided by their sum, or uniform
    where all are zero, as in scikit-learn. With `positive` and `negative`, the loss
    carries the class weights of the binary problems; `unweighted` drops them.
    """

    task = "classification"

    def _codes(self, z, y):
        return (y[:, None] == np.arange(z.shape[1])).astype(float)

    def predict(self, z):
        scores = self._scores(z)
        total = scores.sum(axis=1, keepdims=True)
        uniform = np.full_like(scores, 1.0 / z.shape[1])
        return np.divide(scores, total, out=uniform, where=total > 0.0)

    def predict_vjp(self, z, u):
        total = self._scores(z).sum(axis=1, keepdims=True)
        inner = u - (self.predict(z) * u).sum(axis=1, keepdims=True)
        # Where all scores are zero, so are their derivatives.
        return self._scores_vjp(z, inner) / np.where(total > 0.0, total, 1.0)

    def decide(self, z):
        return z.argmax(axis=1)
