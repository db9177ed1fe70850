"""The report of a patch: before and after, delta kept or not."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from skpuma._dask_rows import known
from skpuma.reporting import _html

# A smaller extra weight is the solver's rounding.
REWEIGHTED = 1e-6
# Removed groups that a report lists by name.
LISTED = 20


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
    task : {"classification", "regression"}
    curvature_info : dict
        Curvature, solver and damping at the start of the path.
    removed_groups : tuple of (label, rows, weight)
        The groups that were removed as a whole, with the number of their rows and the
        weight that they had, in the units of ``sample_weight``.
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
    task: str = "classification"
    curvature_info: dict = field(default_factory=dict)
    removed_groups: tuple = ()

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
            extra[self.forgetting_name] = (
                self.forgetting_before,
                self.forgetting_after,
            )
        for name, (before, after) in extra.items():
            name = f"{name} (score)" if name in rows else name
            rows[name] = (before, after, after - before, np.nan, None)
        columns = ["before", "after", "change", "delta", "kept"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    def groups_frame(self):
        """One line per removed group, on their labels: rows, weight before."""
        import pandas as pd

        columns = ["group", "rows", "weight"]
        return pd.DataFrame(self.removed_groups, columns=columns).set_index("group")

    @property
    def forgetting_name(self):
        """What ``forgetting_before`` and ``forgetting_after`` are, in words."""
        if self.task == "classification":
            return "p(label) of the marked rows"
        return "relative squared error of the marked rows"

    @property
    def headline(self):
        """One sentence: what was done, and what ended it."""
        parts = []
        if self.n_removed:
            # Rounded down: "100 %" is said of a complete removal only.
            share = np.floor(1000 * min(self.s, 1.0)) / 10
            beyond = f", and s = {self.s:.3g} times their pull" if self.s > 1 else ""
            rows = _counted(self.n_removed, "row")
            if self.removed_groups:
                rows = f"{_counted(len(self.removed_groups), 'group')} of {rows}"
            parts.append(f"{rows} removed ({share:g} % of their weight taken{beyond})")
        if self.n_upweighted:
            parts.append(f"{_counted(self.n_upweighted, 'row')} up-weighted")
        if self.n_reweighted:
            rows = _counted(self.n_reweighted, "row")
            parts.append(f"{rows} re-weighted to compensate")
        if not parts:
            return "nothing was marked: the model is unchanged."
        return f"{', '.join(parts)}; {self.ending}."

    @property
    def ending(self):
        """What ended the patch, in words."""
        if self.bound is not None:
            return f"ended by the delta of {self.bound}"
        return {
            "eta": "as far as eta asks",
            "forget_at": "ended where the marked rows are forgotten",
            "target": "ended where the target is lowest",
            "stalled": "ended early: the marked rows have no influence left",
            "steps": "ended early: too many steps",
            "nonfinite": "ended early: the outputs stopped being finite",
        }[self.stopped_by]

    def __str__(self):
        frame = self.to_frame()
        frame["kept"] = [
            "" if k is None or k != k else _html.number(bool(k)) for k in frame["kept"]
        ]
        for column in frame.columns[:4]:
            frame[column] = [_html.number(v) for v in frame[column]]
        text = f"{self.headline}\nmeasured on {self.measured_on}\n{frame.to_string()}"
        if self.removed_groups:
            listed = self.groups_frame().iloc[:LISTED]
            weight = [_html.number(v) for v in listed["weight"]]
            listed = listed.assign(weight=weight)
            text += f"\nremoved groups\n{listed.to_string()}{self._unlisted}"
        return text

    @property
    def _unlisted(self):
        left = len(self.removed_groups) - LISTED
        return f"\nand {left} more: see groups_frame()" if left > 0 else ""

    def _repr_html_(self):
        return _html.block("skpuma patch", *self.parts())

    def parts(self):
        """The parts of the view in a notebook, as HTML, the most telling first."""
        said = f"{self.headline} Measured on {self.measured_on}."
        yield f"<p>{escape(said)}</p>"
        table = _html.table(self.to_frame(), marks=("kept",))
        yield _html.folded("Before and after", table, True)
        if self.removed_groups:
            table = _html.table(self.groups_frame().iloc[:LISTED])
            more = f"<p>{self._unlisted.strip()}</p>" if self._unlisted else ""
            yield _html.folded("Removed groups", f"{table}{more}")
        facts = {
            "s (1: no weight left)": self.s,
            "ended by": self.stopped_by,
            "rows removed": self.n_removed,
            "rows up-weighted": self.n_upweighted,
            "rows re-weighted": self.n_reweighted,
            "delta bounds": "what gets worse" if self.side == "worse" else "any change",
            "stationarity before, in one-row displacements": self.stationarity,
            **self.curvature_info,
        }
        shown = {name: _html.number(value) for name, value in facts.items()}
        yield _html.folded("Path and curvature", _html.pairs(shown))

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


def report_of(
    result,
    measures,
    target,
    settings,
    marks,
    measured_on,
    distance,
    scores,
    curvature_info,
    removed_groups=(),
):
    """The report of a walked path.

    Parameters
    ----------
    result : PatchResult
    measures : list of Measure
    target : Measure or None
    settings : patching.Settings
    marks : patching.Marks
    measured_on : str
    distance : float
        Stationarity before the patch.
    scores : dict
        name -> (before, after).
    curvature_info : dict
    removed_groups : tuple of (label, rows, weight)
    """
    first, last = result.history[0], result.history[-1]
    classification = measures[0].y.ndim == 1
    return PatchReport(
        criteria=tuple(measure.name for measure in measures),
        before=result.before,
        after=result.after,
        delta=settings.delta,
        side=settings.side,
        measured_on=measured_on,
        n_removed=int(known(marks.removed.sum())),
        n_upweighted=int(known((marks.extra > 0).sum())),
        n_reweighted=int((result.lam > REWEIGHTED).sum()),
        s=float(result.s),
        stopped_by=result.stopped_by,
        forgetting_before=first.forgetting,
        forgetting_after=last.forgetting,
        target=None if target is None else (target.name, first.target, last.target),
        stationarity=float(distance),
        scores=scores,
        task="classification" if classification else "regression",
        curvature_info=curvature_info,
        removed_groups=removed_groups,
    )


def history_of(result, measures, target):
    """The points of a walked path as a DataFrame: s, criteria, target, forgetting."""
    import pandas as pd

    rows = []
    for state in result.history:
        row = {"s": state.s}
        values = zip(measures, state.values, strict=True)
        row.update({measure.name: value for measure, value in values})
        if target is not None:
            row[f"{target.name} (target)"] = state.target
        if state.forgetting is not None:
            row["forgetting"] = state.forgetting
        row["n_reweighted"] = int((state.lam > REWEIGHTED).sum())
        rows.append(row)
    return pd.DataFrame(rows)


def _counted(n, what):
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
