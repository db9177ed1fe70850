"""A smooth error rate."""

import numpy as np
from scipy.special import expit

from skpuma.criteria._base import BaseCriterion, RowMean, weights_of
from skpuma.utils._validation import check_number


class MarginLoss(RowMean, BaseCriterion):
    """Error rate with a smooth step: mean of ``sigmoid(-margin / temperature)``.

    The margin of a row is how far the raw output of its label is ahead: ``z_y - max of
    the others``, and ``(2 y - 1) z`` for one raw output. Between 0 and 1, without unit.
    As the temperature tends to 0 this is 1 - accuracy; at 1, for binary logistic
    models, it is the mean probability of the wrong class. Where several other classes
    tie for the largest, the first one carries the slope.

    Parameters
    ----------
    temperature : float > 0, default 1.0
        In units of the raw outputs. Small: closer to the error rate, but only rows
        near the boundary have a slope.
    by : {None, "class", "group"}

    Examples
    --------
    >>> from skpuma import PumaValuator
    >>> from skpuma.criteria import MarginLoss
    >>> PumaValuator(criterion=MarginLoss(temperature=0.3))
    PumaValuator(criterion=MarginLoss(temperature=0.3))
    """

    name = "margin"

    def __init__(self, temperature=1.0, by=None):
        super().__init__(by)
        check_number(temperature, "temperature", low=0.0, strict_low=True)
        self.temperature = temperature

    def _margin(self, z, y):
        """Margin (n,) and its derivative in z (n, k)."""
        slope = np.zeros_like(z)
        if z.shape[1] == 1:
            slope[:, 0] = 2.0 * y - 1.0
            return slope[:, 0] * z[:, 0], slope
        each = np.arange(len(z))
        others = z.copy()
        others[each, y] = -np.inf
        rival = others.argmax(axis=1)
        slope[each, y] = 1.0
        slope[each, rival] = -1.0
        return z[each, y] - z[each, rival], slope

    def value(self, z, y, *, sample_weight=None, groups=None):
        margin, _ = self._margin(z, y)
        cost = expit(-margin / self.temperature)
        return np.average(cost, weights=weights_of(z, sample_weight))

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        margin, slope = self._margin(z, y)
        wrong = expit(-margin / self.temperature)
        right = expit(margin / self.temperature)
        steep = -wrong * right / self.temperature * weight / weight.sum()
        return slope * steep[:, None]
