"""Expected calibration error, in a form that can be differentiated."""

import numpy as np

from skpuma.criteria._base import BaseCriterion, weights_of


class CalibrationError(BaseCriterion):
    """Expected calibration error with soft or fixed confidence bins.

    ``(1/W) sum_b | sum_i w_i q_ib (outcome_i - confidence_i) |`` where q_ib is the
    membership of row i in bin b. Binary classifiers: confidence = P(y = 1), outcome =
    y. Multiclass: confidence = largest probability, outcome = whether its class is the
    label (held fixed under differentiation).

    Parameters
    ----------
    n_bins : int, default 15
        Equal-width bins on [0, 1].
    binning : {"fixed", "soft"}, default "fixed"
        "fixed": the hard bins of the usual ECE, whose memberships are held fixed under
        differentiation; the value is exactly the hard ECE, and psi finds more label
        errors. "soft": memberships are a softmax of the squared distance to the bin
        centres, so that C is smooth.
    temperature : float, default 0.5
        Softness of the memberships: distances enter as (distance / bin width)^2 /
        temperature. Tends to the fixed bins as it tends to 0.
    by : {None, "class", "group"}

    References
    ----------
    Karandikar et al., "Soft calibration objectives for neural networks", NeurIPS 2021.
    """

    name = "calibration_error"

    def __init__(self, n_bins=15, binning="fixed", temperature=0.5, by=None):
        super().__init__(by)
        if binning not in ("soft", "fixed"):
            raise ValueError(f"binning={binning!r} is neither 'soft' nor 'fixed'.")
        if n_bins < 1 or not temperature > 0:
            raise ValueError("n_bins must be at least 1 and temperature positive.")
        self.n_bins = n_bins
        self.binning = binning
        self.temperature = temperature

    def _confidence(self, z, y):
        p = self.loss.predict(z)
        if z.shape[1] == 1:
            return p[:, 1], y.astype(float), np.ones(len(z), dtype=int)
        top = p.argmax(axis=1)
        return p[np.arange(len(z)), top], (top == y).astype(float), top

    def _membership(self, confidence):
        """Memberships (n, n_bins) and their derivative in the confidence."""
        if self.binning == "fixed":
            index = np.clip(np.ceil(confidence * self.n_bins) - 1, 0, self.n_bins - 1)
            q = np.zeros((len(confidence), self.n_bins))
            q[np.arange(len(q)), index.astype(int)] = 1.0
            return q, np.zeros_like(q)
        centres = (np.arange(self.n_bins) + 0.5) / self.n_bins
        scale = self.n_bins**2 / self.temperature
        distance = confidence[:, None] - centres
        logits = -scale * distance**2
        q = np.exp(logits - logits.max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        slope = -2.0 * scale * distance
        return q, q * (slope - (q * slope).sum(axis=1, keepdims=True))

    def value(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        confidence, outcome, _ = self._confidence(z, y)
        q, _ = self._membership(confidence)
        return np.abs(q.T @ (weight * (outcome - confidence))).sum() / weight.sum()

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        confidence, outcome, column = self._confidence(z, y)
        gap = outcome - confidence
        q, d_q = self._membership(confidence)
        sign = np.sign(q.T @ (weight * gap))
        d_confidence = weight / weight.sum() * (gap * (d_q @ sign) - q @ sign)
        u = np.zeros((len(z), max(z.shape[1], 2)))
        u[np.arange(len(z)), column] = d_confidence
        return self.loss.predict_vjp(z, u)
