"""A binary loss of every label."""

from skpuma.losses._per_output import PerOutputLoss


class MultilabelLoss(PerOutputLoss):
    """Sum over labels of a binary loss, with y (n, k) of zeros and ones.

    The prediction (n, k) is the probability of every label.
    """

    task = "multilabel"

    def _codes(self, z, y):
        return y

    def predict(self, z):
        return self._scores(z)

    def predict_vjp(self, z, u):
        return self._scores_vjp(z, u)

    def decide(self, z):
        return self.base.decide(z.reshape(-1, 1)).reshape(z.shape)
