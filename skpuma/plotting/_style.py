"""Colours that everybody can tell apart, and axes to draw on."""

from itertools import cycle, islice, pairwise, product

import numpy as np

# Okabe and Ito (2008) without the yellow, which fades on white, and the black, which
# is gone on dark ground.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
REFERENCE = "#767676"


def line_styles(n):
    """Keywords of n lines: colours first, and another dash for each round of them."""
    styles = ({"color": c, "linestyle": d} for d, c in product(DASHES, PALETTE))
    return list(islice(cycle(styles), n))


def check_names(names, kwargs, parameter):
    """Refuse keywords of lines that are not there.

    Raises
    ------
    ValueError
    """
    unknown = [name for name in kwargs if name not in names]
    if unknown:
        raise ValueError(f"{parameter} names {unknown}; the curves are {list(names)}.")


def named_styles(names, kwargs, parameter):
    """Keywords of the lines of these names, with those that the user gave.

    Raises
    ------
    ValueError
        If the user's keywords name a line that is not there.
    """
    kwargs = kwargs or {}
    check_names(names, kwargs, parameter)
    return {
        name: {"linewidth": 1.8, **style, **kwargs.get(name, {})}
        for name, style in zip(names, line_styles(len(names)), strict=True)
    }


def foreground():
    """Colour of text under the style in use, which stands out from its ground."""
    import matplotlib

    return matplotlib.rcParams["text.color"]


def lay_out(figure):
    """Bring everything where it will be drawn; a subfigure only with all the figure."""
    figure.canvas.figure.draw_without_rendering()


def check_not_empty(values, name):
    """Refuse what has no rows.

    Raises
    ------
    ValueError
    """
    if not len(values):
        raise ValueError(f"{name} is empty: there is nothing to draw.")


def label_below_offset(ax):
    """Move the label of the x-axis below a factor such as 1e-9, which is beside it."""
    import matplotlib

    lay_out(ax.figure)
    offset = ax.xaxis.get_offset_text()
    if offset.get_text():
        height = 72 * offset.get_window_extent().height / ax.figure.dpi
        ax.xaxis.labelpad = matplotlib.rcParams["axes.labelpad"] + height


def thin_ticks(ax):
    """Fewer ticks on axes as they were laid out, until no label lies on another."""
    from matplotlib.ticker import MaxNLocator

    for axis, along in ((ax.xaxis, 0), (ax.yaxis, 1)):
        for nbins in range(4, 0, -1):
            if not _ticks_overlap(axis, along):
                break
            axis.set_major_locator(
                MaxNLocator(nbins, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1)
            )


def _ticks_overlap(axis, along):
    low, high = sorted(axis.get_view_interval())
    labels = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    boxes = [one.get_window_extent() for at, one in labels if low <= at <= high]
    ends = sorted((one.min[along], one.max[along]) for one in boxes)
    gap = axis.axes.figure.dpi / 36 * (along == 0)
    return any(b[0] < a[1] + gap for a, b in pairwise(ends))


def tidy(ax, grid=True):
    """A faint grid, and no spines where there is no axis."""
    if grid:
        ax.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def axes_or_new(ax, caller):
    """The axes, or new ones.

    Raises
    ------
    ImportError
        If new ones are needed and matplotlib is not installed.
    """
    return _pyplot(caller).subplots(layout="constrained")[1] if ax is None else ax


def panels_or_new(ax, shape, caller, size, height_ratios=None, **shared):
    """Axes (rows, columns): those given, a grid in the place of one, or new ones.

    Parameters
    ----------
    ax : Axes, array of Axes or None
    shape : (rows, columns)
    caller : str
    size : (width, height)
        Of a new figure, in inches.
    height_ratios : list of float, optional
    shared : ``sharex`` and ``sharey`` of new axes

    Raises
    ------
    ImportError
        If new ones are needed and matplotlib is not installed.
    ValueError
        If it is another number of axes, or one that is not part of a grid.
    """
    if ax is None:
        figure = _pyplot(caller).figure(figsize=size, layout="constrained")
        place = figure.add_gridspec(*shape, height_ratios=height_ratios)
        return place.subplots(squeeze=False, **shared)
    if hasattr(ax, "get_subplotspec"):
        place = place_of(ax, caller).subgridspec(*shape, height_ratios=height_ratios)
        ax.set_axis_off()
        return place.subplots(squeeze=False, **shared)
    axes = np.asarray(ax, dtype=object)
    if axes.size != shape[0] * shape[1]:
        raise ValueError(
            f"{caller} draws {shape[0]} x {shape[1]} panels, and ax has {axes.size}."
        )
    return axes.reshape(shape)


def place_of(ax, caller):
    """The place of axes in the grid of their figure.

    Raises
    ------
    ValueError
        If they are not part of a grid.
    """
    spec = ax.get_subplotspec()
    if spec is None:
        raise ValueError(
            f"{caller} draws several panels in the place of ax, which needs axes made "
            "by plt.subplots; or pass an array of axes."
        )
    return spec


def _pyplot(caller):
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} draws with matplotlib: pip install matplotlib."
        ) from error
    return plt
