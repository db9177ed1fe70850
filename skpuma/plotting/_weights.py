"""Weights that a patch gave to rows."""

import numpy as np

from skpuma.plotting._room import Arrangement, fit, inches_of
from skpuma.plotting._style import PALETTE, axes_or_new, check_not_empty, tidy

# A smaller extra weight is the solver's rounding.
REWEIGHTED = 1e-6


class WeightsDisplay:
    """Extra weights of a patch (lambda), the largest first, and where they add up to.

    Use `from_patcher`.

    Parameters
    ----------
    extra : array-like (n,)
        Extra weight of every row, relative to its own.
    row_weight : array-like (n,)
        Weight of every row after the patch.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    steps_ : matplotlib step patch
    extra_ : ndarray
        What is drawn: the extra weights of the up-weighted rows, in descending order.
    share_ : float
        Share of the rows that are up-weighted.
    total_weight_ : float
        Of all rows, after the patch.
    n_removed_ : int
        Rows without any weight.

    References
    ----------
    Blog (9).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma import PumaPatcher
    >>> from skpuma.plotting import WeightsDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> patcher = PumaPatcher(delta=0.05).fit(X, y).patch(X, y, remove=[0, 1])
    >>> WeightsDisplay.from_patcher(patcher).n_removed_
    2
    """

    def __init__(self, extra, row_weight):
        self.extra = extra
        self.row_weight = row_weight

    @classmethod
    def from_patcher(cls, patcher, *, ax=None, **kwargs):
        """Draw the last patch of a `PumaPatcher`.

        Parameters
        ----------
        patcher : PumaPatcher
            After `patch`, or after a `fit` that patched.
        ax : matplotlib Axes, default None
            None draws on new ones.
        **kwargs : further keywords of ``ax.stairs``

        Returns
        -------
        WeightsDisplay

        Raises
        ------
        ValueError
            If nothing was patched.
        ImportError
            If matplotlib is not installed.
        """
        if not hasattr(patcher, "lambda_"):
            raise ValueError("The patcher has no weights to draw: call patch first.")
        return cls(patcher.lambda_, patcher.row_weight_).plot(ax=ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the weights.

        Parameters
        ----------
        ax : matplotlib Axes, default None
        **kwargs : further keywords of ``ax.stairs``

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
        check_not_empty(self.extra, "extra")
        weight = np.asarray(self.row_weight, dtype=float)
        extra = np.sort(np.asarray(self.extra, dtype=float))[::-1]
        self.extra_ = extra[extra > REWEIGHTED]
        self.share_ = len(self.extra_) / len(extra)
        self.total_weight_ = float(weight.sum())
        self.n_removed_ = int(np.count_nonzero(weight == 0))
        self.ax_ = axes_or_new(ax, "WeightsDisplay")
        self.figure_ = self.ax_.figure
        arrange = Arrangement(self.ax_, self.ax_)
        style = {"fill": True, "color": PALETTE[0], "alpha": 0.85}
        self.steps_ = self.ax_.stairs(
            self.extra_, np.arange(len(self.extra_) + 1), **{**style, **kwargs}
        )
        self._label_axes(arrange)
        return self

    def _label_axes(self, arrange):
        self.ax_.set(
            xlabel="Up-weighted rows, the largest extra weight first",
            ylabel="Extra weight, relative to the row's own",
            xlim=(0, max(len(self.extra_), 1)),
            ylim=(0.0, 1.08 * max(self.extra_, default=1.0)),
        )
        arrange()
        title = self.ax_.set_title(
            f"{100 * self.share_:.3g} % of the rows re-weighted to compensate, "
            f"{self.n_removed_} removed\ntotal weight now {self.total_weight_:.6g}",
            fontsize="medium",
            loc="left",
        )
        fit(title, inches_of(self.ax_)[0], lines=3)
        if not len(self.extra_):
            text = self.ax_.text(
                0.5,
                0.5,
                "no row was re-weighted to compensate",
                transform=self.ax_.transAxes,
                ha="center",
            )
            fit(text, inches_of(self.ax_)[0])
        tidy(self.ax_)
        arrange()
