"""The report of a patch: before and after, delta kept or not."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from skpuma.reporting import _html


@dataclass(frozen=True)
class PatchReport:
    """What a patch changed.

    Attributes
    ----------
    criteria : tuple of str
        Protected criteria, in order.
    before, after, delta : ndarray (m,)
        Measured values and bounds, in the units of each criterion.
    side : {"worse", "both"}
        Whether delta bounds an increase or any change.
    measured_on : str
        Which rows measured the criteria.
    n_removed, n_upweighted, n_reweighted : int
        Rows that lost, were given, or compensated with weight.
    s : float
        How much of the removal was carried out; 1 puts the weights at zero, more
        removes the pattern too.
    stopped_by : str
    forgetting_before, forgetting_after : float or None
        Mean predicted probability of the marked rows' labels (classifiers), or their
        mean squared error relative to the other rows (regressors).
    target : tuple or None
        (name, before, after) of the criterion that the path was to lower.
    stationarity : float
        Distance of the model from its optimum before the patch, in units of the
        90th percentile of one row's displacement.
    scores : dict
        name -> (before, after) of plain scores on the rows that measure the criteria.
    """

    criteria: tuple
    before: np.ndarray
    after: np.ndarray
    delta: np.ndarray
    side: str
    measured_on: str
    n_removed: int
    n_upweighted: int
    n_reweighted: int
    s: float
    stopped_by: str
    forgetting_before: float | None = None
    forgetting_after: float | None = None
    target: tuple | None = None
    stationarity: float = 0.0
    scores: dict = field(default_factory=dict)

    @property
    def change(self):
        """after - before (m,)."""
        return self.after - self.before

    @property
    def kept(self):
        """Whether each measured criterion stayed within its delta (m,)."""
        change = np.abs(self.change) if self.side == "both" else self.change
        return change <= self.delta

    @property
    def bound(self):
        """Name of the criterion whose delta ended the patch, or None."""
        kind, _, name = self.stopped_by.partition(":")
        return name if kind == "delta" else None

    def to_frame(self):
        """One row per criterion and score: before, after, change, delta, kept."""
        import pandas as pd

        rows = {}
        for c, name in enumerate(self.criteria):
            rows[name] = (
                self.before[c],
                self.after[c],
                self.change[c],
                self.delta[c],
                bool(self.kept[c]),
            )
        extra = dict(self.scores)
        if self.target is not None:
            extra[f"{self.target[0]} (target)"] = self.target[1:]
        if self.forgetting_before is not None:
            extra[self._forgetting_name] = (
                self.forgetting_before,
                self.forgetting_after,
            )
        for name, (before, after) in extra.items():
            rows[name] = (before, after, after - before, np.nan, None)
        columns = ["before", "after", "change", "delta", "kept"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    @property
    def _forgetting_name(self):
        return "marked rows: p(label) or relative error"

    @property
    def headline(self):
        """One sentence."""
        parts = []
        if self.n_removed:
            parts.append(f"{self.n_removed} rows removed (s = {self.s:.3g})")
        if self.n_upweighted:
            parts.append(f"{self.n_upweighted} rows up-weighted")
        if self.n_reweighted:
            parts.append(f"{self.n_reweighted} rows re-weighted to compensate")
        text = ", ".join(parts) or "nothing was marked: the model is unchanged"
        if self.bound is not None:
            return f"{text}; delta of {self.bound} ended the patch."
        return f"{text}; ended by {self.stopped_by}." if parts else f"{text}."

    def __str__(self):
        frame = self.to_frame()
        frame["kept"] = [
            "" if k is None or k != k else _html.number(bool(k)) for k in frame["kept"]
        ]
        for column in frame.columns[:4]:
            frame[column] = [_html.number(v) for v in frame[column]]
        return f"{self.headline}\nmeasured on {self.measured_on}\n{frame.to_string()}"

    def _repr_html_(self):
        return _html.block(
            "skpuma patch",
            f"<p>{escape(self.headline)} Measured on {escape(self.measured_on)}.</p>",
            _html.table(self.to_frame(), marks=("kept",)),
        )

    def to_html(self):
        """A self-contained page."""
        return _html.page("skpuma patch", self._repr_html_())

    def save(self, path):
        """Write the report: ``.html`` as a page, ``.csv`` or ``.json`` as the table.

        Raises
        ------
        ValueError
            For any other suffix.
        """
        path = Path(path)
        if path.suffix == ".html":
            text = self.to_html()
        elif path.suffix == ".csv":
            text = self.to_frame().to_csv()
        elif path.suffix == ".json":
            text = self.to_frame().to_json(orient="index", indent=2)
        else:
            raise ValueError(f"Cannot save to {path.name}: use .html, .csv or .json.")
        path.write_text(text, encoding="utf-8")
