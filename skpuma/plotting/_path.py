"""The path of a patch: what was measured at its points."""

import numpy as np

from skpuma.plotting._room import Arrangement, place_legend
from skpuma.plotting._style import (
    REFERENCE,
    axes_or_new,
    check_names,
    check_not_empty,
    named_styles,
    tidy,
)

TARGET = " (target)"
NOT_MEASURED = ("s", "forgetting", "n_reweighted")


class PatchPathDisplay:
    """Measured criteria along the path of a patch, and the bounds that they keep.

    Use `from_patcher`, or `from_history` for a path that was kept as a frame.

    Parameters
    ----------
    s : array-like (k,)
        Points of the path; at 1 the weights are those that were asked for.
    change : dict of str to array-like (k,)
        Change of every criterion from the start of the path, in its units.
    delta : dict of str to float
        Bounds of criteria; those without one, or with ``inf``, have no band.
    side : {"worse", "both"}, default "worse"
        Whether delta bounds an increase or any change.
    forgetting : array-like (k,), default None
        How well the model still knows the marked rows.
    forgetting_name : str, default "forgetting"
        What the second axis is called.
    ending : str, default None
        What ended the path, in words.
    at_one : str, default None
        What holds at s = 1, in words; None is "the marked rows have no weight".

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib line
        Criteria, by name.
    coloured_ : list of str
        Those in colour; the others are grey.
    bands_ : dict of str to matplotlib patch
        Where a criterion in colour keeps its delta, by name.
    forgetting_ax_, forgetting_line_ : matplotlib Axes and line
        The second axis; None without forgetting.

    See Also
    --------
    skpuma.PumaPatcher : ``history_`` are the points, ``report_`` the summary.

    References
    ----------
    Blog (5): every criterion stays within its delta of the start.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma import PumaPatcher
    >>> from skpuma.plotting import PatchPathDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> patcher = PumaPatcher(delta=0.05).fit(X, y).patch(X, y, remove=[70, 83])
    >>> display = PatchPathDisplay.from_patcher(patcher)
    >>> display.ax_.get_ylabel()
    'Change of log_loss'
    """

    def __init__(
        self,
        s,
        change,
        delta,
        *,
        side="worse",
        forgetting=None,
        forgetting_name="forgetting",
        ending=None,
        at_one=None,
    ):
        self.s = s
        self.change = change
        self.delta = delta
        self.side = side
        self.forgetting = forgetting
        self.forgetting_name = forgetting_name
        self.ending = ending
        self.at_one = at_one

    @classmethod
    def from_patcher(
        cls, patcher, *, top=6, ax=None, line_kwargs=None, forgetting_kwargs=None
    ):
        """Draw the last patch of a `PumaPatcher`.

        Parameters
        ----------
        patcher : PumaPatcher
            After `patch`, or after a `fit` that patched.
        top : int, default 6
            So many criteria are drawn in colour, the others in grey: targets and those
            of `line_kwargs`, then those that come nearest to their delta or, without
            one, change most.
        ax : matplotlib Axes, default None
            None draws on new ones.
        line_kwargs : dict of str to dict, default None
            Further keywords of ``ax.plot`` for the criteria that are named.
        forgetting_kwargs : dict, default None
            Further keywords of ``ax.plot`` for the line of forgetting.

        Returns
        -------
        PatchPathDisplay

        Raises
        ------
        ValueError
            If nothing was patched.
        ImportError
            If matplotlib is not installed.
        """
        if not hasattr(patcher, "history_"):
            raise ValueError("The patcher has no path to draw: call patch first.")
        report = patcher.report_
        return cls.from_history(
            patcher.history_,
            delta=dict(zip(report.criteria, report.delta, strict=True)),
            side=report.side,
            forgetting_name=report.forgetting_name,
            ending=report.ending,
            at_one=_at_one(report),
            top=top,
            ax=ax,
            line_kwargs=line_kwargs,
            forgetting_kwargs=forgetting_kwargs,
        )

    @classmethod
    def from_history(
        cls,
        history,
        *,
        delta=None,
        side="worse",
        forgetting_name="forgetting",
        ending=None,
        at_one=None,
        top=6,
        ax=None,
        line_kwargs=None,
        forgetting_kwargs=None,
    ):
        """Draw a path from the frame of its points.

        Parameters
        ----------
        history : DataFrame
            As ``PumaPatcher.history_``: a column ``s``, one for every criterion,
            ``<name> (target)`` for a target, and ``forgetting``.
        delta : float or dict of str to float, default None
            One bound for all criteria (not for targets), or bounds by name.
        side : {"worse", "both"}, default "worse"
        forgetting_name, ending, at_one : str, optional
            As in the constructor.
        top, ax, line_kwargs, forgetting_kwargs : as in `from_patcher`

        Returns
        -------
        PatchPathDisplay

        Raises
        ------
        ValueError
            If `history` has no rows, no column ``s`` or no criterion, `delta` is
            negative or names a criterion that is not there, or `side` is unknown.
        TypeError
            If `history` is no DataFrame.
        ImportError
            If matplotlib is not installed.
        """
        if not hasattr(history, "columns"):
            raise TypeError(
                f"history is a {type(history).__name__}, and must be a DataFrame, as "
                "PumaPatcher.history_ is: pass pandas.DataFrame(history)."
            )
        check_not_empty(history, "history")
        names = [name for name in history.columns if name not in NOT_MEASURED]
        if "s" not in history.columns or not names:
            raise ValueError(
                "history needs a column s and one for each criterion, as "
                f"PumaPatcher.history_ has; it has {list(history.columns)}."
            )
        if side not in ("worse", "both"):
            raise ValueError(f"side={side!r} is neither 'worse' nor 'both'.")
        delta = _bounds(delta, names)
        values = {name: history[name].to_numpy(dtype=float) for name in names}
        forgetting = None
        if "forgetting" in history.columns:
            forgetting = history["forgetting"].to_numpy(dtype=float)
        display = cls(
            history["s"].to_numpy(dtype=float),
            {name: value - value[0] for name, value in values.items()},
            delta,
            side=side,
            forgetting=forgetting,
            forgetting_name=forgetting_name,
            ending=ending,
            at_one=at_one,
        )
        return display.plot(
            ax=ax, top=top, line_kwargs=line_kwargs, forgetting_kwargs=forgetting_kwargs
        )

    def plot(self, ax=None, *, top=6, line_kwargs=None, forgetting_kwargs=None):
        """Draw the path.

        Parameters
        ----------
        ax : matplotlib Axes, default None
        top : int, default 6
        line_kwargs : dict of str to dict, default None
        forgetting_kwargs : dict, default None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `line_kwargs` names a criterion that is not there, or `top` is negative.
        ImportError
            If matplotlib is not installed.
        """
        styles = self._styles(top, line_kwargs)
        self.ax_ = axes_or_new(ax, "PatchPathDisplay")
        self.figure_ = self.ax_.figure
        arrange = Arrangement(self.ax_, self.ax_)
        self.lines_ = {
            name: self.ax_.plot(
                self.s, change, label=self._label(name), **styles[name]
            )[0]
            for name, change in self.change.items()
        }
        self._plot_bands()
        self._label_axes()
        self.forgetting_ax_ = self.forgetting_line_ = None
        if self.forgetting is not None:
            self._plot_forgetting(forgetting_kwargs or {})
        arrange(self.forgetting_ax_)
        self._plot_legend()
        arrange(self.forgetting_ax_)
        return self

    def _styles(self, top, line_kwargs):
        """Keywords of every line; colours are for those that matter most."""
        if top < 0:
            raise ValueError(f"top={top} is negative: how many criteria have a colour?")
        line_kwargs = line_kwargs or {}
        check_names(self.change, line_kwargs, "line_kwargs")
        first = [n for n in self.change if n in line_kwargs or n.endswith(TARGET)]
        largest = max(np.abs(one).max() for one in self.change.values()) or 1.0

        def moved(name):
            change, bound = np.asarray(self.change[name]), self._bound(name)
            size = np.abs(change).max() if self.side == "both" else change.max()
            return max(np.abs(change).max() / largest, _share(size, bound))

        others = sorted(set(self.change) - set(first), key=moved, reverse=True)
        chosen = {*first, *others[: max(top - len(first), 0)]}
        self.coloured_ = [name for name in self.change if name in chosen]
        styles = {
            name: {"linewidth": 0.9, "color": REFERENCE, "alpha": 0.7, "zorder": 2}
            for name in self.change
        }
        for name, style in named_styles(
            self.coloured_, line_kwargs, "line_kwargs"
        ).items():
            styles[name] = {"marker": "o", "markersize": 4, "zorder": 3, **style}
        return styles

    def _bound(self, name):
        return self.delta.get(name, np.inf)

    def _label(self, name):
        return name + self._limit(name)

    def _limit(self, name):
        bound = self._bound(name)
        sign = "±" if self.side == "both" else ""
        return f" (delta {sign}{bound:.3g})" if np.isfinite(bound) else ""

    def _plot_bands(self):
        """Bands down to the bottom of the axes where only an increase is bounded."""
        finite = [b for b in map(self._bound, self.coloured_) if np.isfinite(b)]
        shown = (
            [*finite, 0.0] if self.side == "worse" else [*finite, *np.negative(finite)]
        )
        self.ax_.update_datalim([(0.0, value) for value in shown], updatex=False)
        self.ax_.autoscale_view()
        bottom, top = self.ax_.get_ylim()
        self.ax_.axhline(0.0, color=REFERENCE, linewidth=0.8, zorder=1)
        self.bands_ = {}
        # Many bands on top of each other are no darker than one.
        alpha = 0.3 / (1 + len(finite))
        for name in self.coloured_:
            line, bound = self.lines_[name], self._bound(name)
            if not np.isfinite(bound):
                continue
            low = -bound if self.side == "both" else bottom
            style = {"color": line.get_color(), "zorder": 0}
            self.bands_[name] = self.ax_.axhspan(
                low, bound, alpha=alpha, linewidth=0, **style
            )
            for edge in {bound, low} - {bottom}:
                self.ax_.axhline(edge, linestyle="--", linewidth=1.0, **style)
        self.ax_.set_ylim(bottom, top)

    def _label_axes(self):
        one = next(iter(self.change)) if len(self.change) == 1 else "the criteria"
        ending = "" if self.ending is None else f"\n{self.ending}"
        at_one = self.at_one or "the marked rows have no weight"
        self.ax_.set(xlabel=f"s (1: {at_one}){ending}", ylabel=f"Change of {one}")
        tidy(self.ax_)

    def _plot_forgetting(self, kwargs):
        self.forgetting_ax_ = self.ax_.twinx()
        style = {"color": REFERENCE, "linestyle": ":", "marker": "s", "markersize": 4}
        (self.forgetting_line_,) = self.forgetting_ax_.plot(
            self.s,
            self.forgetting,
            label="forgetting (right)",
            **{**style, "linewidth": 1.8, **kwargs},
        )
        self.forgetting_ax_.set_ylabel(self.forgetting_name)
        self.forgetting_ax_.spines["top"].set_visible(False)

    def _plot_legend(self):
        entries = [
            (self.lines_[name], name, self._limit(name)) for name in self.coloured_
        ]
        grey = [name for name in self.lines_ if name not in self.coloured_]
        if grey:
            others = f"{len(grey)} other{'s' * (len(grey) > 1)}"
            entries.append((self.lines_[grey[0]], "", others))
        if self.forgetting_line_ is not None:
            entries.append((self.forgetting_line_, "", "forgetting (right)"))
        place_legend(self.ax_, entries, side="above", fontsize="medium")


def _bounds(delta, names):
    """Bounds by name, from those or from one for all criteria.

    Raises
    ------
    ValueError
    """
    if not isinstance(delta, dict):
        bounded = [name for name in names if not name.endswith(TARGET)]
        delta = {} if delta is None else dict.fromkeys(bounded, float(delta))
    unknown = [name for name in delta if name not in names]
    if unknown:
        raise ValueError(f"delta names {unknown}; the criteria are {names}.")
    if negative := {name: bound for name, bound in delta.items() if not bound >= 0}:
        raise ValueError(
            f"delta bounds {negative}, and must not be negative: it is how far a "
            "criterion may move."
        )
    return delta


def _at_one(report):
    """What the weights are at s = 1."""
    if not report.n_upweighted:
        return "the marked rows have no weight"
    if not report.n_removed:
        return "all extra weight is given"
    return "no weight is left, all extra weight is given"


def _share(size, bound):
    """Of its bound that a criterion has used up, at most 1."""
    if not np.isfinite(bound) or size <= 0.0:
        return 0.0
    return min(size / bound, 1.0) if bound > 0.0 else 1.0
