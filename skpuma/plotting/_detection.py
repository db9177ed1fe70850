"""Detection curves: inspected rows against wrong labels found."""

import numpy as np
from sklearn.utils import column_or_1d

from skpuma.metrics import detection_curve
from skpuma.plotting._room import Arrangement, legend_inside
from skpuma.plotting._style import REFERENCE, axes_or_new, named_styles, tidy


class DetectionCurveDisplay:
    """Share of the wrong labels found against the share of the rows inspected.

    Use `from_values`; the constructor is for curves that are known already, such as
    means over seeds.

    Parameters
    ----------
    inspected : array-like (m,)
        Shares of the rows inspected, from 0 to 1.
    found : dict of str to array-like (m,)
        Name of a system to the shares of the wrong labels that it has found.
    rate : float
        Share of wrong labels, for the best curve there is.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib line
        The curves, by name.
    optimal_, random_ : matplotlib lines
        The reference lines; None where they were not asked for.

    See Also
    --------
    skpuma.metrics.detection_curve : The numbers.

    References
    ----------
    Blog fig. 5. M. Okabe, K. Ito, "Color universal design", 2008 (colours).

    Examples
    --------
    >>> from skpuma.plotting import DetectionCurveDisplay
    >>> values = {"a system": [-2.0, 0.5, -1.0, 0.1]}
    >>> display = DetectionCurveDisplay.from_values(values, [1, 0, 0, 1])
    >>> display.ax_.get_xlabel()
    'Rows inspected'
    """

    def __init__(self, inspected, found, rate):
        self.inspected = inspected
        self.found = found
        self.rate = rate

    @classmethod
    def from_values(
        cls,
        values,
        is_noisy,
        *,
        ax=None,
        name="values",
        plot_references=True,
        curve_kwargs=None,
    ):
        """Draw the curves of values.

        Parameters
        ----------
        values : dict of str to array-like (n,), or array-like (n,)
            Values of the rows by the name of the system; the lowest are inspected
            first. Equal values count as in `skpuma.metrics.detection_curve`.
        is_noisy : array-like of bool (n,)
            Which labels are wrong.
        ax : matplotlib Axes, default None
            None draws on new ones.
        name : str, default "values"
            What the legend calls values that come without a name. Not used for a dict.
        plot_references : bool, default True
            Whether to draw the best curve there is and that of random values.
        curve_kwargs : dict of str to dict, default None
            Further keywords of ``ax.plot`` for the curves that are named.

        Returns
        -------
        DetectionCurveDisplay

        Raises
        ------
        ValueError
            If `values` is empty, or as `skpuma.metrics.detection_curve`.
        ImportError
            If matplotlib is not installed.
        """
        if not isinstance(values, dict):
            values = {name: values}
        for key, one in values.items():
            if np.shape(one)[1:] not in ((), (1,)):
                raise ValueError(
                    f"{key} has shape {np.shape(one)}, and there is one value for each "
                    "row: pass several systems as a dict, those of a DataFrame as "
                    "dict(frame.items())."
                )
        curves = {key: detection_curve(one, is_noisy) for key, one in values.items()}
        if not curves:
            raise ValueError("values is empty: pass a dict of name to values.")
        inspected = next(iter(curves.values()))[0]
        found = {key: curve[1] for key, curve in curves.items()}
        display = cls(inspected, found, float(np.mean(column_or_1d(is_noisy))))
        return display.plot(
            ax=ax, plot_references=plot_references, curve_kwargs=curve_kwargs
        )

    def plot(self, ax=None, *, plot_references=True, curve_kwargs=None, legend=True):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default None
        plot_references : bool, default True
        curve_kwargs : dict of str to dict, default None
            Further keywords of ``ax.plot`` for the curves that are named.
        legend : bool, default True
            Whether to name the curves, best first by the area under them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `curve_kwargs` names a curve that is not there.
        ImportError
            If matplotlib is not installed.
        """
        styles = named_styles(self.found, curve_kwargs, "curve_kwargs")
        self.ax_ = axes_or_new(ax, "DetectionCurveDisplay")
        self.figure_ = self.ax_.figure
        arrange = Arrangement(self.ax_, self.ax_)
        self.optimal_ = self.random_ = None
        if plot_references:
            self._plot_references()
        self.lines_ = {
            name: self.ax_.plot(self.inspected, found, label=name, **styles[name])[0]
            for name, found in self.found.items()
        }
        self._label_axes()
        arrange()
        if legend:
            self._plot_legend()
            arrange()
        return self

    def _plot_references(self):
        style = {"color": REFERENCE, "linewidth": 1.0, "zorder": 1}
        (self.optimal_,) = self.ax_.plot(
            [0, self.rate, 1], [0, 1, 1], linestyle="--", label="best possible", **style
        )
        (self.random_,) = self.ax_.plot(
            [0, 1], [0, 1], linestyle=":", label="random", **style
        )

    def _plot_legend(self):
        areas = {
            name: float(np.sum(np.diff(self.inspected) * (f[1:] + f[:-1]) / 2.0))
            for name, f in ((name, np.asarray(one)) for name, one in self.found.items())
        }
        names = sorted(areas, key=areas.get, reverse=True)
        entries = [(self.lines_[name], name, "") for name in names]
        if self.optimal_ is not None:
            entries.insert(0, (self.optimal_, "", "best possible"))
            entries.append((self.random_, "", "random"))
        legend_inside(self.ax_, entries, "best", "below")

    def _label_axes(self):
        from matplotlib.ticker import PercentFormatter

        self.ax_.set(
            xlabel="Rows inspected",
            ylabel="Wrong labels found",
            xlim=(0.0, 1.0),
            ylim=(0.0, 1.01),
        )
        for axis in (self.ax_.xaxis, self.ax_.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
        tidy(self.ax_)
