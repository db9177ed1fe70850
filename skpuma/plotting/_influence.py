"""Influence against leverage: which rows count, and whether to believe it."""

import numpy as np
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skpuma.plotting._labels import label_points
from skpuma.plotting._room import Arrangement
from skpuma.plotting._style import (
    PALETTE,
    REFERENCE,
    axes_or_new,
    check_not_empty,
    foreground,
    label_below_offset,
    tidy,
)

# Above it the linear effect of a row is not reliable.
LIMIT = 0.5
SHOWN = {"psi": "psi", "removal_effect": "Removal effect"}


class InfluenceDisplay:
    """psi, or the removal effect, of the rows against their leverage.

    The rows to act on are at the bottom: removing them lowers the criterion. Those far
    to the right pull the model towards themselves; beyond a leverage of 0.5 a linear
    effect is not reliable.

    Use `from_valuator`.

    Parameters
    ----------
    leverage, value : array-like (n,)
    index : array-like (n,)
        What rows are called.
    criterion : str, default None
    kind : {"psi", "removal_effect"}, default "psi"

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    points_ : matplotlib collection
        All rows.
    top_points_ : matplotlib collection
        The rows that are labelled.
    labels_ : list of matplotlib annotations
        Of the rows in `top_` that there is room for.
    top_ : ndarray of int
        Positions of the labelled rows, the most harmful first.

    See Also
    --------
    skpuma.PumaValuator.inspect : The same rows as a frame.

    References
    ----------
    R. D. Cook, S. Weisberg, "Residuals and Influence in Regression", 1982.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma import PumaValuator
    >>> from skpuma.plotting import InfluenceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> valuator = PumaValuator(criterion="log_loss", random_state=0).fit(X, y)
    >>> display = InfluenceDisplay.from_valuator(valuator, X, y, top=3)
    >>> [label.get_text() for label in display.labels_]
    ['72', '68', '129']
    """

    def __init__(self, leverage, value, index, *, criterion=None, kind="psi"):
        self.leverage = leverage
        self.value = value
        self.index = index
        self.criterion = criterion
        self.kind = kind

    @classmethod
    def from_valuator(
        cls,
        valuator,
        X,
        y,
        sample_weight=None,
        *,
        top=5,
        criterion=None,
        kind="psi",
        ax=None,
        scatter_kwargs=None,
        top_kwargs=None,
    ):
        """Draw the rows of the fit of a `PumaValuator`.

        Parameters
        ----------
        valuator : PumaValuator
            Fitted, with explicit curvature.
        X, y, sample_weight : the rows of the fit
            No rows are kept in the valuator, and leverage needs them.
        top : int, default 5
            So many of the most harmful rows, as ``valuator.inspect`` has them, are
            labelled with X's index.
        criterion : str, default None
            Which criterion; None is the first.
        kind : {"psi", "removal_effect"}, default "psi"
            "removal_effect" is the predicted change of the criterion if the row goes.
        ax : matplotlib Axes, default None
            None draws on new ones.
        scatter_kwargs, top_kwargs : dict, default None
            Further keywords of ``ax.scatter`` for all rows, and for those labelled.

        Returns
        -------
        InfluenceDisplay

        Raises
        ------
        ValueError
            If `criterion`, `kind` or `top` are unknown, or y has another length.
        NotFittedError
            If the valuator is not fitted.
        SolverError
            If the curvature of the valuator was not explicit.
        ImportError
            If matplotlib is not installed.
        """
        if kind not in SHOWN:
            raise ValueError(f"kind={kind!r} is not one of {list(SHOWN)}.")
        check_is_fitted(valuator, "criterion_names_")
        known = list(valuator.criterion_names_)
        criterion = known[0] if criterion is None else criterion
        if criterion not in known:
            raise ValueError(f"criterion={criterion!r} is not one of {known}.")
        frame = valuator.inspect(sort_by=criterion).sort_values("position")
        leverage = valuator.leverage(X, y, sample_weight)
        if len(leverage) != len(frame):
            raise ValueError(
                f"X has {len(leverage)} rows, the fit had {len(frame)}: pass the rows "
                "of the fit."
            )
        value = frame[f"{kind}_{criterion}"].to_numpy()
        display = cls(leverage, value, frame.index, criterion=criterion, kind=kind)
        order = valuator.inspect(top, sort_by=criterion)["position"].to_numpy()
        return display.plot(
            ax=ax, top=order, scatter_kwargs=scatter_kwargs, top_kwargs=top_kwargs
        )

    def plot(self, ax=None, *, top=5, scatter_kwargs=None, top_kwargs=None):
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes, default None
        top : int or array-like of int, default 5
            Number of the lowest rows to label, or positions of rows.
        scatter_kwargs, top_kwargs : dict, default None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no rows, or `leverage`, `value` and `index` differ in length.
        ImportError
            If matplotlib is not installed.
        """
        check_not_empty(self.leverage, "leverage")
        check_consistent_length(self.leverage, self.value, self.index)
        value, leverage = np.asarray(self.value), np.asarray(self.leverage)
        if np.ndim(top) == 0:
            top = np.argsort(value, kind="stable")[:top]
        self.top_ = np.asarray(top, dtype=int)
        self.ax_ = axes_or_new(ax, "InfluenceDisplay")
        self.figure_ = self.ax_.figure
        arrange = Arrangement(self.ax_, self.ax_)
        self.ax_.axhline(0.0, color=REFERENCE, linewidth=0.8, zorder=1)
        style = {"s": 16, "alpha": 0.8, "color": PALETTE[4], "linewidths": 0}
        self.points_ = self.ax_.scatter(
            leverage, value, **{**style, **(scatter_kwargs or {})}
        )
        style = {"s": 34, "color": PALETTE[1], "edgecolors": foreground(), "zorder": 3}
        self.top_points_ = self.ax_.scatter(
            leverage[self.top_],
            value[self.top_],
            **{**style, "linewidths": 0.6, **(top_kwargs or {})},
        )
        self._label_axes(leverage)
        label_below_offset(self.ax_)
        arrange()
        texts = [str(self.index[at]) for at in self.top_]
        self.labels_ = label_points(
            self.ax_, leverage[self.top_], value[self.top_], texts
        )
        return self

    def _label_axes(self, leverage):
        of = "" if self.criterion is None else f" on {self.criterion}"
        self.ax_.set(xlabel="Leverage", ylabel=f"{SHOWN[self.kind]}{of}")
        self.ax_.margins(0.08)
        if leverage.max() > LIMIT:
            self.ax_.axvline(LIMIT, color=REFERENCE, linestyle="--", linewidth=1.0)
        tidy(self.ax_)
