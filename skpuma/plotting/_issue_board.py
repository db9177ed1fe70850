"""The rows that a debugger found, one panel for each kind of issue."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skpuma.plotting._images import as_images, draw_image
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
# Names and looks of the rows under "mislabelled", where the truth is known.
VERDICTS = {
    "found": {"color": PALETTE[2], "marker": "o"},
    "accused": {"color": PALETTE[1], "marker": "X"},
    "missed": {"color": PALETTE[3], "marker": "^"},
}
PICTURES = (3, 3)


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

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes (kinds,)
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
        self, issues, points=None, *, images=None, is_noisy=None, names=("", "")
    ):
        self.issues = issues
        self.points = points
        self.images = images
        self.is_noisy = is_noisy
        self.names = names

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
            Pictures of the rows: the first nine issues of each kind are shown instead
            of points.
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
        ImportError
            If matplotlib is not installed.
        """
        n = len(debugger.score_)
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
            debugger.issues_, points, images=images, is_noisy=is_noisy, names=names
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
        found = self.issues["kind"].unique()
        others = [kind for kind in found if kind not in KINDS]
        # A debugger by psi alone knows no other kind than "harmful".
        self.kinds_ = others if others else list(KINDS)
        shape = (1, len(self.kinds_))
        axes = panels_or_new(
            ax, shape, "IssueBoardDisplay", (3.8 * shape[1] + 0.4, 4.2)
        )
        self.axes_ = axes.ravel()
        self.figure_ = self.axes_[0].figure
        self.points_, self.images_ = {}, {}
        for panel, kind in zip(self.axes_, self.kinds_, strict=True):
            rows = self.issues[self.issues["kind"] == kind]
            title = f"{kind} ({len(rows)})"
            if self.images is not None:
                self.images_[kind] = self._show(panel, title, rows, image_kwargs or {})
            else:
                panel.set_title(title)
                style = scatter_kwargs or {}
                self.points_[kind] = self._scatter(panel, kind, rows, style)
        return self

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
        panel.set(xlabel=self.names[0])
        if panel is self.axes_[0]:
            panel.set_ylabel(self.names[1])
        tidy(panel)
        if out:
            panel.legend(
                loc="upper center",
                bbox_to_anchor=(0.5, -0.16),
                ncols=3,
                frameon=False,
                fontsize="small",
                handletextpad=0.2,
                columnspacing=1.0,
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
        ratios = [0.2] + [1.0] * PICTURES[0]
        inner = place_of(panel, "IssueBoardDisplay").subgridspec(
            PICTURES[0] + 1, PICTURES[1], height_ratios=ratios
        )
        head = self.figure_.add_subplot(inner[0, :])
        head.set_axis_off()
        head.text(0.5, 0.5, title, ha="center", va="center", fontsize="large")
        places = [inner[1 + i, j] for i, j in np.ndindex(PICTURES)]
        cells = [self.figure_.add_subplot(place) for place in places]
        out = []
        for cell, row in zip(cells, rows.itertuples(), strict=False):
            title = f"given {row.given}, looks {row.predicted}"
            image = self.images[row.position]
            out.append(draw_image(cell, image, title, foreground(), **kwargs))
        for cell in cells[len(out) :]:
            cell.set_axis_off()
        return out


def _in_two_dimensions(X, columns):
    """Points (n, 2) and the names of their coordinates.

    Raises
    ------
    ValueError
        If X has no two columns of numbers.
    """
    if columns is not None:
        if len(columns) != 2:
            raise ValueError(f"columns={columns!r} must name two columns.")
        X = X[list(columns)] if hasattr(X, "columns") else np.asarray(X)[:, columns]
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
