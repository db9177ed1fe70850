"""A smooth area above the ROC curve."""

import numpy as np
from scipy.special import expit

from skpuma.criteria._base import BaseCriterion, weights_of
from skpuma.utils._validation import check_number

# 256 x 2048 pairs are 4 MB.
BLOCK = (256, 2048)
# Beyond it a sigmoid is 0 or 1 in double precision.
SATURATED = 40.0


class RocAucLoss(BaseCriterion):
    """1 - AUC with a smooth step: how often a negative row is ranked above a positive.

    Weighted mean of ``sigmoid(-(z_pos - z_neg) / temperature)`` over all pairs of a
    positive and a negative row. Between 0 and 1, without unit. As the temperature tends
    to 0 this is 1 - ``sklearn.metrics.roc_auc_score``. Multiclass: the mean over
    classes, each against the rest by its own raw output; classes for which the rows
    that measure it hold no pair are left out. All pairs are summed, in blocks: time
    grows with their number, memory does not.

    Parameters
    ----------
    temperature : float > 0, default 0.1
        In units of the raw outputs.
    by : {None, "class", "group"}
        "class": every class against the rest. "group": pairs within every group.

    References
    ----------
    L. Yan, R. Dodier, M. Mozer, R. Wolniewicz, "Optimizing classifier performance via
    an approximation to the Wilcoxon-Mann-Whitney statistic", ICML 2003.

    Examples
    --------
    >>> from skpuma import PumaValuator
    >>> from skpuma.criteria import RocAucLoss
    >>> PumaValuator(criterion=RocAucLoss(temperature=0.3))
    PumaValuator(criterion=RocAucLoss(temperature=0.3))
    """

    name = "roc_auc"

    def __init__(self, temperature=0.1, by=None):
        super().__init__(by)
        check_number(temperature, "temperature", low=0.0, strict_low=True)
        self.temperature = temperature
        self._class = None

    def of_class(self, position):
        """The same, of one class against the rest (``by="class"``)."""
        part = self.for_loss(self.loss)
        part._class = position
        return part

    def check_rows(self, y, *, sample_weight=None, groups=None):
        weight = weights_of(y, sample_weight)
        if len(np.unique(y[weight > 0])) < 2:
            raise ValueError(
                f"{self.name} ranks rows of one class above those of another, but the "
                "rows that measure it have a single class: use other rows."
            )

    def _problems(self, z, y):
        """(raw output (n,), positive (n,), column, sign) of every binary problem."""
        if z.shape[1] == 1:
            return [(z[:, 0], y == 1, 0)]
        columns = range(z.shape[1]) if self._class is None else [self._class]
        return [(z[:, c], y == c, c) for c in columns]

    def _areas(self, z, y, weight, slopes):
        """(area above the curve, its slope (n,) or None, column) where pairs exist."""
        self.check_rows(y, sample_weight=weight)
        out = []
        for score, positive, column in self._problems(z, y):
            up, down = ((weight > 0) & side for side in (positive, ~positive))
            if up.any() and down.any():
                area, slope = self._area(score, weight, up, down, slopes)
                out.append((area, slope, column))
        return out

    def _area(self, score, weight, up, down, slopes):
        up, down = (
            index[np.argsort(score[index])]
            for index in (np.flatnonzero(up), np.flatnonzero(down))
        )
        high, low = score[up] / self.temperature, score[down] / self.temperature
        w_high, w_low = (weight[index] / weight[index].sum() for index in (up, down))
        beyond = np.append(np.cumsum(w_low[::-1])[::-1], 0.0)
        area, d_high, d_low = 0.0, np.zeros(len(up)), np.zeros(len(down))
        for start in range(0, len(up), BLOCK[0]):
            rows = slice(start, start + BLOCK[0])
            first = np.searchsorted(low, high[rows][0] - SATURATED)
            last = np.searchsorted(low, high[rows][-1] + SATURATED)
            # Negatives far above the block are certainly ranked above it.
            area += w_high[rows].sum() * beyond[last]
            for left in range(first, last, BLOCK[1]):
                columns = slice(left, min(left + BLOCK[1], last))
                wrong = expit(low[columns] - high[rows, None])
                area += w_high[rows] @ wrong @ w_low[columns]
                if slopes:
                    wrong *= 1.0 - wrong
                    d_high[rows] -= wrong @ w_low[columns]
                    d_low[columns] += w_high[rows] @ wrong
        if not slopes:
            return area, None
        slope = np.zeros(len(score))
        slope[up] = w_high * d_high / self.temperature
        slope[down] = w_low * d_low / self.temperature
        return area, slope

    def value(self, z, y, *, sample_weight=None, groups=None):
        areas = self._areas(z, y, weights_of(z, sample_weight), slopes=False)
        return np.mean([area for area, _, _ in areas])

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        areas = self._areas(z, y, weights_of(z, sample_weight), slopes=True)
        out = np.zeros_like(z)
        for _, slope, column in areas:
            out[:, column] = slope / len(areas)
        return out
