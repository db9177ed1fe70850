"""Gaps between groups in the mean predicted probability (soft rates)."""

from abc import abstractmethod

import numpy as np

from skpuma.criteria._base import BaseCriterion, weights_of


class _GroupGap(BaseCriterion):
    """Gap of the mean predicted probability between groups, on some of the rows.

    For binary problems the positive class counts; for multiclass ones the gap is the
    mean over classes. More than two groups: largest minus smallest rate.
    """

    needs_groups = True

    def __init__(self, by=None):
        super().__init__(by)
        self._against = None

    def against(self, group):
        """The same gap, of one group against all the others (``by="group"``)."""
        part = self.for_loss(self.loss)
        part._against = group
        return part

    @abstractmethod
    def _conditions(self, z, y):
        """(class, rows) pairs whose gaps are compared."""

    def _combine(self, gaps):
        """Weights (n_conditions,) of the gaps in the criterion."""
        return np.full(len(gaps), 1.0 / len(gaps))

    def _columns(self, z):
        n_classes = self.loss.predict(z[:1]).shape[1]
        return [1] if n_classes == 2 else list(range(n_classes))

    def _group_masks(self, groups):
        if self._against is not None:
            return [groups == self._against, groups != self._against]
        return [groups == g for g in np.unique(groups)]

    def _gaps(self, z, y, weight, groups):
        """Gap, and (class, row weights of its derivative), of every condition."""
        p = self.loss.predict(z)
        masks = self._group_masks(groups)
        gaps, parts = [], []
        for column, selected in self._conditions(z, y):
            shares = [np.where(selected & mask, weight, 0.0) for mask in masks]
            shares = [share / share.sum() for share in shares if share.sum() > 0]
            if len(shares) < 2:
                continue
            rates = [share @ p[:, column] for share in shares]
            high, low = int(np.argmax(rates)), int(np.argmin(rates))
            gaps.append(rates[high] - rates[low])
            parts.append((column, shares[high] - shares[low]))
        if not gaps:
            raise ValueError(
                f"{self.name}: fewer than two groups have rows to compare; use other "
                "rows or another sensitive feature, and no by='class' where a class "
                "has no rows of the kind that is compared."
            )
        return np.array(gaps), parts

    def value(self, z, y, *, sample_weight=None, groups=None):
        gaps, _ = self._gaps(z, y, weights_of(z, sample_weight), groups)
        return float(self._combine(gaps) @ gaps)

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        gaps, parts = self._gaps(z, y, weights_of(z, sample_weight), groups)
        u = np.zeros_like(self.loss.predict(z))
        for factor, (column, share) in zip(self._combine(gaps), parts, strict=True):
            u[:, column] += factor * share
        return self.loss.predict_vjp(z, u)


class DemographicParity(_GroupGap):
    """Gap of the mean predicted probability between groups (selection rate, soft)."""

    name = "demographic_parity"

    def _conditions(self, z, y):
        everyone = np.ones(len(z), dtype=bool)
        return [(column, everyone) for column in self._columns(z)]


class EqualOpportunity(_GroupGap):
    """The same gap among the rows whose label is the class (true positive rate)."""

    name = "equal_opportunity"

    def _conditions(self, z, y):
        return [(column, y == column) for column in self._columns(z)]


class EqualizedOdds(_GroupGap):
    """True and false positive rate gaps between groups.

    Parameters
    ----------
    agg : {"worst_case", "mean"}, default "worst_case"
        Largest of the gaps, as fairlearn's ``equalized_odds_difference``, or their
        mean.
    by : {None, "class", "group"}

    References
    ----------
    Hardt, Price, Srebro, "Equality of opportunity in supervised learning", NeurIPS
    2016.
    """

    name = "equalized_odds"

    def __init__(self, agg="worst_case", by=None):
        super().__init__(by)
        if agg not in ("worst_case", "mean"):
            raise ValueError(f"agg={agg!r} is neither 'worst_case' nor 'mean'.")
        self.agg = agg

    def _conditions(self, z, y):
        pairs = [(column, y == column) for column in self._columns(z)]
        return pairs + [(column, y != column) for column in self._columns(z)]

    def _combine(self, gaps):
        if self.agg == "mean":
            return super()._combine(gaps)
        return (np.arange(len(gaps)) == gaps.argmax()).astype(float)
