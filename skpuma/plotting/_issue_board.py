"""The rows that a debugger found, one panel for each kind of issue."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skpuma.plotting._images import CHARACTER, as_images, draw_image
from skpuma.plotting._room import (
    FEWEST,
    Arrangement,
    fit,
    place_inches,
    place_legend,
    shape_for,
    told_apart,
)
from skpuma.plotting._style import (
    MARKERS,
    PALETTE,
    REFERENCE,
    foreground,
    panels_or_new,
    place_of,
    tidy,
)

KINDS = ("mislabelled", "over-confident", "under-confident")
# What a debugger by psi alone finds.
BY_PSI = ("harmful",)
# Names and looks of the rows under "mislabelled", where the truth is known.
VERDICTS = {
    "found": {"color": PALETTE[2], "marker": "o"},
    "accused": {"color": PALETTE[1], "marker": "X"},
    "missed": {"color": PALETTE[3], "marker": "^"},
}
# Rows and columns of pictures, and the least inches of one with its title, and of the
# title of a panel.
PICTURES, SMALLEST, HEAD = (3, 3), (0.75, 0.85), 0.4


class IssueBoardDisplay:
    """What a `PumaDebugger` found: mislabelled, over- and under-confident rows.

    Use `from_debugger`.

    Parameters
    ----------
    issues : DataFrame
        As ``PumaDebugger.issues_``.
    points : array-like (n, 2), default None
        Where rows are drawn.
    images : array-like (n, h, w) or (n, h, w, 3), default None
        Instead of points.
    is_noisy : array-like of bool (n,), default None
        Which labels are wrong, where that is known.
    names : (str, str), default ("", "")
        Of the two dimensions.
    kinds : sequence of str, default None
        Of the panels. None is those that a classifier can have, or the one of the
        issues if that is "harmful".

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes (kinds,)
        Side by side; on top of each other in the place of axes that are high.
    figure_ : matplotlib Figure
    kinds_ : list of str
        Of the panels.
    points_ : dict of str to dict of str to matplotlib collection
        By kind, and then by given label, or by "found", "accused" and "missed" under
        "mislabelled" with `is_noisy`. Empty with images.
    images_ : dict of str to list of matplotlib images
        By kind. Empty with points.

    References
    ----------
    Blog fig. 8.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from skpuma import PumaDebugger
    >>> from skpuma.datasets import flip_labels
    >>> from skpuma.plotting import IssueBoardDisplay
    >>> X, y = make_moons(200, noise=0.2, random_state=0)
    >>> y, flipped = flip_labels(y, 0.1, random_state=0)
    >>> debugger = PumaDebugger(random_state=0).fit(X, y)
    >>> display = IssueBoardDisplay.from_debugger(debugger, X, is_noisy=flipped)
    >>> display.kinds_
    ['mislabelled', 'over-confident', 'under-confident']
    """

    def __init__(
        self,
        issues,
        points=None,
        *,
        images=None,
        is_noisy=None,
        names=("", ""),
        kinds=None,
    ):
        self.issues = issues
        self.points = points
        self.images = images
        self.is_noisy = is_noisy
        self.names = names
        self.kinds = kinds

    @classmethod
    def from_debugger(
        cls,
        debugger,
        X,
        *,
        columns=None,
        images=None,
        is_noisy=None,
        ax=None,
        scatter_kwargs=None,
        image_kwargs=None,
    ):
        """Draw the issues of a fitted `PumaDebugger`.

        Parameters
        ----------
        debugger : PumaDebugger
            Fitted.
        X : array-like or DataFrame (n, d)
            The rows of the fit. More than two columns are standardised and drawn on
            their first two principal components.
        columns : pair of str or int, default None
            Two columns of X to draw instead.
        images : array-like (n, h, w), (n, h, w, 3) or (n, h * h), default None
            Pictures of the rows: the first issues of each kind, up to nine, are shown
            instead of points.
        is_noisy : array-like of bool (n,), default None
            Which labels are wrong. The rows under "mislabelled" are then told apart:
            found, accused (the label is right) and missed (wrong, and not found).
        ax : matplotlib Axes, one for each kind, or None
            One is divided; None draws on new ones.
        scatter_kwargs, image_kwargs : dict, default None
            Further keywords of ``ax.scatter`` for the issues, and of ``ax.imshow``.

        Returns
        -------
        IssueBoardDisplay

        Raises
        ------
        ValueError
            If X, `images` or `is_noisy` are of another number of rows, or X cannot be
            drawn in two dimensions.
        NotFittedError
            If the debugger is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(debugger, "score_")
        n = len(debugger.score_)
        X = X if hasattr(X, "shape") else np.asarray(X)
        if X.shape[0] != n:
            raise ValueError(
                f"X has {X.shape[0]} rows, the fit had {n}: pass the rows of the fit."
            )
        if is_noisy is not None:
            is_noisy = np.asarray(is_noisy, dtype=bool)
            if is_noisy.shape != (n,):
                raise ValueError(
                    f"is_noisy has shape {is_noisy.shape}, X has {n} rows."
                )
        points, names = None, ("", "")
        if images is None:
            points, names = _in_two_dimensions(X, columns)
        else:
            images = as_images(images, n)
        display = cls(
            debugger.issues_,
            points,
            images=images,
            is_noisy=is_noisy,
            names=names,
            kinds=KINDS if hasattr(debugger, "label_probability_") else BY_PSI,
        )
        return display.plot(
            ax=ax, scatter_kwargs=scatter_kwargs, image_kwargs=image_kwargs
        )

    def plot(self, ax=None, *, scatter_kwargs=None, image_kwargs=None):
        """Draw the panels.

        Parameters
        ----------
        ax : matplotlib Axes, one for each kind, or None
        scatter_kwargs, image_kwargs : dict, default None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `ax` cannot be used.
        ImportError
            If matplotlib is not installed.
        """
        self.kinds_ = self._kinds()
        shape = shape_for(ax, len(self.kinds_))
        shared = dict.fromkeys(("sharex", "sharey"), self.images is None)
        size = (3.8 * len(self.kinds_) + 0.4, 4.2)
        axes = panels_or_new(ax, shape, "IssueBoardDisplay", size, **shared)
        arrange = Arrangement(axes, ax)
        self.axes_ = axes.ravel()
        self.figure_ = self.axes_[0].figure
        self.points_, self.images_ = {}, {}
        for panel, kind in zip(self.axes_, self.kinds_, strict=True):
            rows = self.issues[self.issues["kind"] == kind]
            title = f"{kind} ({len(rows)})"
            if kind in BY_PSI and not len(rows):
                title += "\nno row stands out"
            if self.images is None:
                panel.set_title(title)
                style = scatter_kwargs or {}
                self.points_[kind] = self._scatter(panel, kind, rows, style)
            else:
                self.images_[kind] = self._show(panel, title, rows, image_kwargs or {})
        if self.images is None:
            self._label_axes(axes)
            arrange()
            self._plot_legends()
            arrange()
        return self

    def _kinds(self):
        if self.kinds is not None:
            return list(self.kinds)
        found = self.issues["kind"].unique()
        return list(BY_PSI) if set(found) & set(BY_PSI) else list(KINDS)

    def _label_axes(self, axes):
        for panel in axes[-1]:
            panel.set_xlabel(self.names[0])
        for panel in axes[:, 0]:
            panel.set_ylabel(self.names[1])
        for panel in self.axes_:
            tidy(panel)

    def _plot_legends(self):
        for panel, drawn in zip(self.axes_, self.points_.values(), strict=True):
            if drawn:
                entries = [(handle, name, "") for name, handle in drawn.items()]
                style = {"handletextpad": 0.2, "columnspacing": 1.0}
                place_legend(panel, entries, side="below", ncols=3, **style)

    # -- points ------------------------------------------------------------------------

    def _scatter(self, panel, kind, rows, kwargs):
        points = np.asarray(self.points)
        panel.scatter(*points.T, s=8, color=REFERENCE, alpha=0.45, linewidths=0)
        out = {}
        for name, (positions, style) in self._parts(kind, rows).items():
            style = {"s": 32, "edgecolors": foreground(), "linewidths": 0.5, **style}
            out[name] = panel.scatter(
                *points[positions].T, label=name, **{**style, **kwargs}
            )
        return out

    def _parts(self, kind, rows):
        """Name to (positions, style) of the rows of a panel."""
        at = rows["position"].to_numpy(dtype=int)
        if self.is_noisy is not None and kind == KINDS[0]:
            noisy = np.asarray(self.is_noisy)
            missed = np.setdiff1d(np.flatnonzero(noisy), at)
            parts = (at[noisy[at]], at[~noisy[at]], missed)
            named = zip(VERDICTS.items(), parts, strict=True)
            return {
                f"{name} ({len(part)})": (part, style) for (name, style), part in named
            }
        given = rows["given"].to_numpy()
        labels = sorted(set(self.issues["given"].tolist()), key=str)
        # The targets of a regressor are no classes.
        if len(labels) > len(PALETTE) or not set(rows["kind"]) <= set(KINDS):
            return {"issue": (at, {"color": PALETTE[1]})} if len(at) else {}
        styles = [
            {"color": color, "marker": marker}
            for color, marker in zip(PALETTE, MARKERS, strict=True)
        ]
        parts = {
            f"given {label}": (at[given == label], style)
            for label, style in zip(labels, styles, strict=False)
        }
        return {name: part for name, part in parts.items() if len(part[0])}

    # -- pictures ----------------------------------------------------------------------

    def _show(self, panel, title, rows, kwargs):
        panel.set_axis_off()
        width, height = place_inches(panel)
        ratios = [HEAD, max(height - HEAD, HEAD)]
        place = place_of(panel, "IssueBoardDisplay").subgridspec(
            2, 1, height_ratios=ratios, hspace=0.0
        )
        head = self.figure_.add_subplot(place[0])
        head.set_axis_off()
        fit(head.text(0.5, 0.5, title, ha="center", va="center", size="large"), width)
        room = np.divide((ratios[1], width), SMALLEST)
        shape = np.clip(room, 1, PICTURES).astype(int)
        cells = place[1].subgridspec(*shape).subplots(squeeze=False)
        short = self._short_labels(width / shape[1])
        for cell in cells.ravel():
            cell.set_axis_off()
        out = []
        for cell, row in zip(cells.ravel(), rows.itertuples(), strict=False):
            given, predicted = short[str(row.given)], short[str(row.predicted)]
            text = f"given {given}, looks {predicted}"
            if len(text) > width / shape[1] / (0.8 * CHARACTER):
                text = f"given {given},\nlooks {predicted}"
            image = self.images[row.position]
            out.append(draw_image(cell, image, text, foreground(), **kwargs))
        Arrangement(cells, place[1])()
        return out

    def _short_labels(self, inches):
        """Labels as they are written above a picture of this width."""
        labels = self.issues[["given", "predicted"]].astype(str).to_numpy()
        names = np.unique(labels).tolist()
        most = max(int(inches / CHARACTER) - len("given ,"), FEWEST)
        return dict(zip(names, told_apart(names, most), strict=True))


def _in_two_dimensions(X, columns):
    """Points (n, 2) and the names of their coordinates.

    Raises
    ------
    ValueError
        If X has no two columns of numbers, or not those that are named.
    """
    if columns is not None:
        if len(columns) != 2:
            raise ValueError(f"columns={columns!r} must name two columns.")
        named = hasattr(X, "columns")
        known = list(X.columns) if named else range(-X.shape[1], X.shape[1])
        if unknown := [one for one in columns if one not in known]:
            raise ValueError(
                f"columns={columns!r}: X has no {unknown}; it has "
                f"{known if named else f'columns 0 to {X.shape[1] - 1}'}."
            )
        X = X[list(columns)] if named else np.asarray(X)[:, columns]
        names = [str(column) for column in columns]
    else:
        names = [str(name) for name in getattr(X, "columns", ("x0", "x1"))]
    try:
        values = np.asarray(X, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "X has columns that are no numbers, or is sparse: name two columns by "
            "columns=, or pass two coordinates for each row as X."
        ) from error
    if values.shape[1] < 2:
        raise ValueError("X has one column, and points need two dimensions.")
    if values.shape[1] > 2:
        values = PCA(2, random_state=0).fit_transform(
            StandardScaler().fit_transform(values)
        )
        names = ["first principal component", "second principal component"]
    return values, tuple(names)
