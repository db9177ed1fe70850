"""Predicted against refitted effects of single rows, or of whole groups."""

from dataclasses import dataclass, field
from html import escape

import numpy as np
from scipy import stats

from skpuma.reporting import _html


@dataclass(frozen=True)
class InfluenceCheck:
    """How well ``removal_effect_`` predicts real refits.

    Attributes
    ----------
    criteria : tuple of str
    rows : ndarray (n_rows,)
        Positions of the rows that were removed, one at a time; of groups, their
        positions in ``groups_``.
    predicted, refitted : ndarray (n_rows, m)
        Change of C, in its units.
    note : str
    unit : {"rows", "groups"}
    """

    criteria: tuple
    rows: np.ndarray
    predicted: np.ndarray = field(repr=False)
    refitted: np.ndarray = field(repr=False)
    note: str = ""
    unit: str = "rows"

    def _each(self, function):
        pairs = zip(self.predicted.T, self.refitted.T, strict=True)
        return np.array([function(p, r) for p, r in pairs])

    @property
    def pearson(self):
        """Linear correlation (m,)."""
        return self._each(lambda p, r: stats.pearsonr(p, r).statistic)

    @property
    def spearman(self):
        """Rank correlation (m,)."""
        return self._each(lambda p, r: stats.spearmanr(p, r).statistic)

    @property
    def slope(self):
        """Least-squares slope of refitted on predicted (m,): 1 is the right scale."""
        return self._each(lambda p, r: np.cov(p, r)[0, 1] / np.var(p, ddof=1))

    def to_frame(self):
        """One row per criterion: pearson, spearman, slope."""
        import pandas as pd

        return pd.DataFrame(
            {"pearson": self.pearson, "spearman": self.spearman, "slope": self.slope},
            index=list(self.criteria),
        )

    def __str__(self):
        return f"{self._headline}\n{self.to_frame().to_string()}"

    @property
    def _headline(self):
        head = f"{len(self.rows)} {self.unit} removed and refitted. {self.note}"
        return head.strip()

    def to_pairs(self):
        """One row per removal: predicted and refitted change of every criterion.

        On the positions of the rows (or groups), in the units of each criterion.
        """
        import pandas as pd

        data = {}
        for c, name in enumerate(self.criteria):
            data[f"predicted_{name}"] = self.predicted[:, c]
            data[f"refitted_{name}"] = self.refitted[:, c]
        return pd.DataFrame(data, index=pd.Index(self.rows, name="position"))

    def _repr_html_(self):
        return _html.block(
            "skpuma influence check",
            f"<p>{escape(self._headline)}</p>",
            _html.table(self.to_frame()),
            _html.folded("Every removal", _html.table(self.to_pairs())),
        )
