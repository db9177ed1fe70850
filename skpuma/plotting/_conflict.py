"""Two criteria's removal effects: which rows help one and hurt the other."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skpuma import tradeoffs
from skpuma.plotting._labels import label_points
from skpuma.plotting._room import Arrangement, fit, inches_of
from skpuma.plotting._style import (
    PALETTE,
    REFERENCE,
    axes_or_new,
    check_not_empty,
    foreground,
    label_below_offset,
    tidy,
)

# Quadrants by the signs of the two effects, and how their rows are drawn.
STYLES = {
    (1, 1): {"color": PALETTE[4], "marker": "o"},
    (-1, -1): {"color": PALETTE[1], "marker": "s"},
    (-1, 1): {"color": PALETTE[3], "marker": "^"},
    (1, -1): {"color": PALETTE[2], "marker": "D"},
}
# Share of the axes that is left above and below the rows, for the names.
HEADROOM = 0.16


class ConflictDisplay:
    """The effects of removing a row on two criteria, in four quadrants.

    Criteria are costs: a row with a positive effect helps, since the criterion gets
    worse without it. Rows that hurt both are the ones to remove; those that hurt one
    and help the other have to be compensated for.

    Use `from_valuator`.

    Parameters
    ----------
    effect : array-like (n, 2)
        Predicted change of both criteria if the row, or group, is removed, in their
        units.
    names : (str, str)
    index : array-like (n,)
        What rows are called.
    weight : array-like (n,), default None
        Rows of weight 0 are left out.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    points_ : dict of str to matplotlib collection
        The rows of every quadrant that has any, by its name.
    quadrants_ : dict of str to ndarray of int
        Positions of the rows, by the name of their quadrant.
    labels_ : list of matplotlib annotations
        The strongest conflicts that there is room for.

    See Also
    --------
    skpuma.PumaValuator.conflicts : The same rows as a frame.

    References
    ----------
    Blog fig. 3: robustness is gained, fairness lost.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma import PumaValuator
    >>> from skpuma.plotting import ConflictDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> criteria = ["log_loss", "calibration_error"]
    >>> valuator = PumaValuator(criterion=criteria, random_state=0).fit(X, y)
    >>> display = ConflictDisplay.from_valuator(valuator)
    >>> sum(len(rows) for rows in display.quadrants_.values())
    150
    """

    def __init__(self, effect, names, index, *, weight=None):
        self.effect = effect
        self.names = names
        self.index = index
        self.weight = weight

    @classmethod
    def from_valuator(
        cls,
        valuator,
        *,
        criteria=(0, 1),
        by="row",
        top=3,
        ax=None,
        scatter_kwargs=None,
    ):
        """Draw two criteria of a fitted `PumaValuator`.

        Parameters
        ----------
        valuator : PumaValuator
            Fitted for at least two criteria.
        criteria : pair of int or str, default (0, 1)
            Positions, or names, among ``criterion_names_``.
        by : {"row", "group"}, default "row"
        top : int, default 3
            So many of the strongest conflicts are labelled; see `conflicts`.
        ax : matplotlib Axes, default None
            None draws on new ones.
        scatter_kwargs : dict, default None
            Further keywords of ``ax.scatter`` for all quadrants.

        Returns
        -------
        ConflictDisplay

        Raises
        ------
        ValueError
            If `criteria` are not two of those of the valuator.
        NotFittedError
            If the valuator is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(valuator, "criterion_names_")
        known = list(valuator.criterion_names_)
        chosen = [
            known[one] if isinstance(one, int) and one < len(known) else one
            for one in criteria
        ]
        two = len(chosen) == len(set(chosen)) == 2
        if not two or not set(chosen) <= set(known):
            raise ValueError(
                f"criteria={criteria!r} are not two criteria of the valuator, which "
                f"has {known}."
            )
        frame = valuator.inspect(by=by)
        if by == "row":
            frame = frame.sort_values("position")
        effect = frame[[f"removal_effect_{name}" for name in chosen]].to_numpy()
        display = cls(
            effect, tuple(chosen), frame.index, weight=frame["weight"].to_numpy()
        )
        return display.plot(ax=ax, top=top, scatter_kwargs=scatter_kwargs)

    def plot(self, ax=None, *, top=3, scatter_kwargs=None):
        """Draw the quadrants.

        Parameters
        ----------
        ax : matplotlib Axes, default None
        top : int, default 3
        scatter_kwargs : dict, default None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no rows.
        ImportError
            If matplotlib is not installed.
        """
        check_not_empty(self.effect, "effect")
        effect = np.asarray(self.effect, dtype=float)
        used = np.isfinite(effect).all(axis=1)
        if self.weight is not None:
            used &= np.asarray(self.weight) > 0
        self.ax_ = axes_or_new(ax, "ConflictDisplay")
        self.figure_ = self.ax_.figure
        arrange = Arrangement(self.ax_, self.ax_)
        for line in (self.ax_.axhline, self.ax_.axvline):
            line(0.0, color=REFERENCE, linewidth=0.8, zorder=1)
        self.points_, self.quadrants_ = {}, {}
        for signs, style in STYLES.items():
            rows = np.flatnonzero(used & (np.where(effect >= 0, 1, -1) == signs).all(1))
            name = self._name(signs)
            self.quadrants_[name] = rows
            if len(rows):
                style = {"s": 18, "alpha": 0.8, "linewidths": 0, **style}
                self.points_[name] = self.ax_.scatter(
                    *effect[rows].T, **{**style, **(scatter_kwargs or {})}
                )
        self._label_axes(effect[used], arrange)
        self.labels_ = self._label_conflicts(effect, used, top)
        return self

    def _name(self, signs):
        if signs[0] == signs[1]:
            return "helps both" if signs[0] > 0 else "hurts both"
        helped, hurt = self.names if signs[0] > 0 else self.names[::-1]
        return f"helps {helped},\nhurts {hurt}"

    def _label_axes(self, effect, arrange):
        self.ax_.set(
            xlabel=f"Removal effect on {self.names[0]}",
            ylabel=f"Removal effect on {self.names[1]}",
        )
        reach = 1.1 * np.abs(effect).max(axis=0, initial=1e-300)
        self.ax_.set_xlim(-reach[0], reach[0])
        up = reach[1] / (1.0 - 2.0 * HEADROOM)
        self.ax_.set_ylim(-up, up)
        tidy(self.ax_)
        label_below_offset(self.ax_)
        arrange()
        for signs, (name, rows) in zip(STYLES, self.quadrants_.items(), strict=True):
            text = self.ax_.text(
                0.5 + 0.48 * signs[0],
                0.5 + 0.485 * signs[1],
                f"{name} ({len(rows)})",
                transform=self.ax_.transAxes,
                ha="right" if signs[0] > 0 else "left",
                va="top" if signs[1] > 0 else "bottom",
                fontsize="small",
                color=foreground(),
            )
            fit(text, 0.46 * inches_of(self.ax_)[0], lines=3)

    def _label_conflicts(self, effect, used, top):
        strength = np.full(len(effect), -1.0)
        scaled = effect[used] / tradeoffs.spreads(effect[used])
        strength[used] = tradeoffs.conflict(scaled)
        strongest = np.argsort(-strength, kind="stable")[:top]
        strongest = strongest[strength[strongest] > 0]
        texts = [str(self.index[at]) for at in strongest]
        return label_points(self.ax_, *effect[strongest].T, texts)
