"""Calibration errors, in a form that can be differentiated."""

import numpy as np

from skpuma.criteria._base import BaseCriterion, weights_of
from skpuma.utils._validation import check_number, check_whole


class _Calibration(BaseCriterion):
    """What the confidence in a row is, and whether it was justified."""

    def _confidence(self, z, y):
        """Confidence (n,), outcome (n,), and the column of the confidence (n,)."""
        p = self.loss.predict(z)
        if p.shape[1] == 2:
            return p[:, 1], (y == 1).astype(float), np.ones(len(z), dtype=int)
        top = p.argmax(axis=1)
        return p[np.arange(len(z)), top], (top == y).astype(float), top

    def _pull(self, z, column, d_confidence):
        """Derivative in z (n, k) from that in the confidence (n,)."""
        u = np.zeros_like(self.loss.predict(z))
        u[np.arange(len(z)), column] = d_confidence
        return self.loss.predict_vjp(z, u)


class CalibrationError(_Calibration):
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
        check_whole(n_bins, "n_bins", low=1)
        check_number(temperature, "temperature", low=0.0, strict_low=True)
        self.n_bins = n_bins
        self.binning = binning
        self.temperature = temperature

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

    def sums(self, z, y, *, sample_weight):
        """Weighted gaps of every bin, and weights, of some rows (n_bins + 1,)."""
        confidence, outcome, _ = self._confidence(z, y)
        q, _ = self._membership(confidence)
        gaps = q.T @ (sample_weight * (outcome - confidence))
        return np.append(gaps, sample_weight.sum())

    def of_sums(self, sums):
        """The cost, from `sums` over all rows."""
        return np.abs(sums[:-1]).sum() / sums[-1]

    def slopes(self, sums, z, y, *, sample_weight):
        """Derivative of the cost in z (n, k), of some rows, from `sums` over all."""
        confidence, outcome, column = self._confidence(z, y)
        q, d_q = self._membership(confidence)
        sign = np.sign(sums[:-1])
        d_confidence = (outcome - confidence) * (d_q @ sign) - q @ sign
        return self._pull(z, column, sample_weight / sums[-1] * d_confidence)

    def value(self, z, y, *, sample_weight=None, groups=None):
        return self.of_sums(self.sums(z, y, sample_weight=weights_of(z, sample_weight)))

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        sums = self.sums(z, y, sample_weight=weight)
        return self.slopes(sums, z, y, sample_weight=weight)


class MMCE(_Calibration):
    r"""Maximum mean calibration error: a calibration error without bins.

    ``sqrt( sum_ij w_i w_j e_i e_j exp(-|r_i - r_j| / width) ) / W`` with the confidence
    r_i and ``e_i = outcome_i - r_i``: the norm of the mean error in the space of a
    Laplacian kernel. Confidence and outcome are those of `CalibrationError`; the
    outcome is held fixed under differentiation, so that with more than two classes psi
    does not see predicted classes change. A difference of probabilities, without unit,
    between 0 (calibrated) and 1. All pairs count, in n log n operations.

    Parameters
    ----------
    width : float in [0.002, inf), default 0.4
        Distance of two confidences at which the kernel has fallen to 1/e. The
        default is the authors'.
    by : {None, "class", "group"}

    References
    ----------
    A. Kumar, S. Sarawagi, U. Jain, "Trainable calibration measures for neural networks
    from kernel mean embeddings", ICML 2018.

    Examples
    --------
    >>> from skpuma import PumaValuator
    >>> from skpuma.criteria import MMCE
    >>> PumaValuator(criterion=MMCE(width=0.2))
    PumaValuator(criterion=MMCE(width=0.2))
    """

    name = "mmce"

    def __init__(self, width=0.4, by=None):
        super().__init__(by)
        # exp(1 / width) must be a number.
        check_number(width, "width", low=0.002)
        self.width = width

    def _sums(self, confidence, a):
        """``sum_j a_j k_ij``, and ``sum_j a_j k_ij sign(r_i - r_j)``, of every row.

        On the sorted confidences the kernel factors into exp(-r_i / width) times
        exp(r_j / width), so that running sums replace the pairs; ties have sign 0.
        """
        order = np.argsort(confidence, kind="stable")
        r = confidence[order]
        up = np.exp(r / self.width)
        below = np.append(0.0, np.cumsum(a[order] * up))
        above = np.append(np.cumsum((a[order] / up)[::-1])[::-1], 0.0)
        first, last = (np.searchsorted(r, r, side) for side in ("left", "right"))
        both, signed = np.empty_like(r), np.empty_like(r)
        both[order] = below[last] / up + above[last] * up
        signed[order] = below[first] / up - above[last] * up
        return both, signed

    def value(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        confidence, outcome, _ = self._confidence(z, y)
        a = weight / weight.sum() * (outcome - confidence)
        both, _ = self._sums(confidence, a)
        return np.sqrt(max(a @ both, 0.0))

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        share = weight / weight.sum()
        confidence, outcome, column = self._confidence(z, y)
        a = share * (outcome - confidence)
        both, signed = self._sums(confidence, a)
        size = np.sqrt(max(a @ both, 0.0))
        if size == 0.0:
            # The lowest value there is: 0 is a subgradient.
            return np.zeros_like(z)
        slope = -(share * both + a * signed / self.width) / size
        return self._pull(z, column, slope)
