"""Reliability diagrams: confidence against outcome, with the rows in every bin."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skpuma._dask_rows import is_dask
from skpuma.metrics import expected_calibration_error, reliability_curve
from skpuma.plotting._room import Arrangement, legend_inside
from skpuma.plotting._style import REFERENCE, named_styles, panels_or_new, tidy


class ReliabilityDisplay:
    """Outcome against confidence in bins, of several models, with counts underneath.

    Use `from_estimators` or `from_predictions`.

    Parameters
    ----------
    curves : dict of str to (confidence, outcome, weight), each (n_bins,)
        As `skpuma.metrics.reliability_curve` gives them.
    error : dict of str to float
        Expected calibration error, for the legend.
    binary : bool, default True
        Whether confidence is P(positive class), or the largest probability.
    positive : str, default None
        What the positive class is called; None is "positive class".

    Attributes
    ----------
    ax_, count_ax_ : matplotlib Axes
        The curves, and the counts underneath.
    axes_ : ndarray of matplotlib Axes (2,)
    figure_ : matplotlib Figure
    lines_, counts_ : dict of str to matplotlib lines and step patches

    See Also
    --------
    skpuma.metrics.expected_calibration_error, skpuma.metrics.reliability_curve

    References
    ----------
    Blog fig. 9. C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern
    neural networks", ICML 2017.

    Examples
    --------
    >>> from skpuma.plotting import ReliabilityDisplay
    >>> display = ReliabilityDisplay.from_predictions(
    ...     [0, 1, 1, 1], {"a model": [0.4, 0.4, 0.9, 0.9]}, n_bins=2
    ... )
    >>> display.lines_["a model"].get_ydata().tolist()
    [0.5, 1.0]
    """

    def __init__(self, curves, error, *, binary=True, positive=None):
        self.curves = curves
        self.error = error
        self.binary = binary
        self.positive = positive

    @classmethod
    def from_estimators(
        cls,
        estimators,
        X,
        y,
        *,
        n_bins=15,
        sample_weight=None,
        ax=None,
        line_kwargs=None,
    ):
        """Draw fitted classifiers, such as a model before and after a patch.

        Parameters
        ----------
        estimators : dict of str to classifier, or a classifier
            Fitted, with ``predict_proba``.
        X : array-like (n, d)
            Rows that the models were not trained on.
        y : array-like (n,)
        n_bins : int, default 15
        sample_weight : array-like (n,), default None
        ax : matplotlib Axes, pair of them, or None
            One is divided; a pair is for the curves and the counts; None draws on new
            ones.
        line_kwargs : dict of str to dict, default None
            Further keywords of ``ax.plot`` for the curves that are named.

        Returns
        -------
        ReliabilityDisplay

        Raises
        ------
        ValueError
            If `estimators` is empty, or as `skpuma.metrics.reliability_curve`.
        TypeError
            If an estimator has no ``predict_proba``.
        NotFittedError
            If an estimator is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        if not isinstance(estimators, dict):
            estimators = {type(estimators).__name__: estimators}
        silent = [n for n, e in estimators.items() if not hasattr(e, "predict_proba")]
        if silent:
            raise TypeError(
                f"{', '.join(silent)}: no predict_proba, so there is no confidence to "
                "draw. Calibrate it, or pass probabilities to from_predictions."
            )
        for one in estimators.values():
            check_is_fitted(one, "classes_")
        classes = {name: one.classes_ for name, one in estimators.items()}
        return cls.from_predictions(
            y,
            {name: one.predict_proba(X) for name, one in estimators.items()},
            n_bins=n_bins,
            sample_weight=sample_weight,
            labels=next(iter(classes.values()), None),
            ax=ax,
            line_kwargs=line_kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true,
        y_prob,
        *,
        name=None,
        n_bins=15,
        sample_weight=None,
        labels=None,
        ax=None,
        line_kwargs=None,
    ):
        """Draw predicted probabilities.

        Parameters
        ----------
        y_true : array-like (n,)
        y_prob : dict of str to array-like (n,) or (n, n_classes), or one array-like
            Of every model by its name, or of the only one.
        name : str, default None
            What the legend calls probabilities that come without one; None is "model".
        n_bins, sample_weight, labels : as in `skpuma.metrics.reliability_curve`
        ax, line_kwargs : as in `from_estimators`

        Returns
        -------
        ReliabilityDisplay

        Raises
        ------
        ValueError, ImportError
            As `from_estimators`, and if there is a name beside those of a dict.
        """
        if not isinstance(y_prob, dict):
            y_prob = {"model" if name is None else name: y_prob}
        elif name is not None:
            raise ValueError(
                f"name={name!r} is for one array; the keys of the dict name its "
                f"models: {list(y_prob)}."
            )
        if not y_prob:
            raise ValueError("There is no model to draw: pass a dict of name to one.")
        options = {
            "n_bins": n_bins,
            "sample_weight": sample_weight,
            "labels": labels,
        }
        curves = {
            key: reliability_curve(y_true, one, **options)
            for key, one in y_prob.items()
        }
        error = {
            key: expected_calibration_error(y_true, one, **options)
            for key, one in y_prob.items()
        }
        first = np.asarray(next(iter(y_prob.values())))
        binary = first.ndim == 1 or first.shape[1] == 2
        positive = _positive(y_true, labels) if binary else None
        display = cls(curves, error, binary=binary, positive=positive)
        return display.plot(ax=ax, line_kwargs=line_kwargs)

    def plot(self, ax=None, *, line_kwargs=None):
        """Draw the curves and the counts.

        Parameters
        ----------
        ax : matplotlib Axes, pair of them, or None
        line_kwargs : dict of str to dict, default None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `line_kwargs` names a curve that is not there, or `ax` cannot be used.
        ImportError
            If matplotlib is not installed.
        """
        styles = named_styles(self.curves, line_kwargs, "line_kwargs")
        axes = panels_or_new(
            ax, (2, 1), "ReliabilityDisplay", (5.2, 6.2), [3, 1], sharex=True
        )
        arrange = Arrangement(axes, ax)
        self.axes_ = axes.ravel()
        self.ax_, self.count_ax_ = self.axes_
        self.figure_ = self.ax_.figure
        self.ax_.plot([0, 1], [0, 1], ":", color=REFERENCE, linewidth=1.0)
        self.lines_, self.counts_ = {}, {}
        for name, (confidence, outcome, weight) in self.curves.items():
            style, used = styles[name], np.asarray(weight) > 0
            (self.lines_[name],) = self.ax_.plot(
                np.asarray(confidence)[used],
                np.asarray(outcome)[used],
                label=name,
                **{"marker": "o", "markersize": 5, **style},
            )
            shared = {k: style[k] for k in ("color", "linestyle") if k in style}
            self.counts_[name] = self.count_ax_.stairs(
                weight, np.linspace(0, 1, len(weight) + 1), linewidth=1.5, **shared
            )
        self._label_axes()
        arrange()
        self._plot_legend()
        arrange()
        return self

    def _label_axes(self):
        what, share = "Probability of the prediction", "Share of right predictions"
        if self.binary:
            one = "positive class" if self.positive is None else self.positive
            what, share = f"P({one})", f"Share of {one}"
        self.ax_.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel=share)
        self.count_ax_.set(xlabel=what, ylabel="Rows")
        self.ax_.tick_params(labelbottom=False)
        self.figure_.align_ylabels(self.axes_)
        for ax in self.axes_:
            tidy(ax)

    def _plot_legend(self):
        entries = [
            (line, name, f" (ECE {self.error[name]:.3f})")
            for name, line in self.lines_.items()
        ]
        legend_inside(self.ax_, entries, "upper left", "above")


def _positive(y_true, labels):
    """Name of the second class, or None where it is not known."""
    if labels is None and not is_dask(y_true):
        labels = np.unique(y_true)
    known = labels is not None and len(labels) == 2
    return f"class {labels[1]}" if known else None
