"""Room for names of any length, and for legends, on axes of any size."""

import textwrap
from itertools import product
from os.path import commonprefix

import numpy as np

from skpuma.plotting._style import lay_out

ELLIPSIS = "…"
# Sizes of a text that does not fit, relative to its own, and its fewest characters.
SMALLER, FEWEST = (1.0, 0.85, 0.7), 5
# Lengths of the names in a legend, tried one after the other, and the largest part of
# the height of the axes that it may take while there are shorter ones.
LENGTHS, HIGHEST = ((None, 40, 32, 26, 21), (17, 14, 11, 9, 7, FEWEST)), 0.5
# Inches between things, the least that is left of a panel, and two lines of a legend.
PAD, LEAST, TWO_LINES = 0.06, 0.15, 0.4


def shortened(text, most):
    """The text, or its first and last characters, of `most` in all."""
    if most is None or len(text) <= most:
        return text
    end = (most - 1) // 3
    return text[: most - 1 - end] + ELLIPSIS + text[len(text) - end :]


def told_apart(names, most):
    """The names shortened, so that none looks like another.

    Where their beginning is the same it goes, and else a number is added.
    """
    names = [str(name) for name in names]
    short = [shortened(name, most) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    start = len(commonprefix([name for name in set(names) if name]))
    if start > 1:
        names = [name and ELLIPSIS + name[start:] for name in names]
        short = [shortened(name, most) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    number = {name: f" [{at}]" for at, name in enumerate(dict.fromkeys(names), 1)}
    return [shortened(n, max(most - 4, FEWEST)) + number[n] for n in names]


def fit(text, inches, lines=2):
    """Break, make smaller and at last shorten a text until it is not longer.

    Parameters
    ----------
    text : matplotlib Text
    inches : float
        Of its lines.
    lines : int, default 2
        What each of its paragraphs may be broken into.
    """
    paragraphs, size = text.get_text().split("\n"), text.get_fontsize()
    if not any(paragraphs):
        return
    longest = max(map(len, paragraphs))
    word = max(len(word) for one in paragraphs for word in one.split(" "))
    for scale in SMALLER:
        text.set_fontsize(scale * size)
        least = FEWEST if scale == SMALLER[-1] else max(word, FEWEST)
        for most in range(longest, min(least, longest) - 1, -1):
            text.set_text("\n".join(_broken(one, most, lines) for one in paragraphs))
            if _length(text) <= inches:
                return


def _broken(paragraph, most, lines):
    if lines == 1:
        return shortened(paragraph, most)
    words = " ".join(shortened(word, most) for word in paragraph.split(" "))
    broken = textwrap.wrap(
        words, most, max_lines=lines, placeholder=ELLIPSIS, break_on_hyphens=False
    )
    return "\n".join(broken)


def _length(text):
    """Of the longest line, in inches."""
    box = text.get_window_extent()
    across = text.get_rotation() % 180 < 45
    return (box.width if across else box.height) / text.get_figure().dpi


def place_legend(ax, entries, *, side, ncols=2, **kwargs):
    """A legend above or below the axes, as wide as they are with their label.

    Names become shorter where it would be wider, or higher than half of the axes.

    Parameters
    ----------
    ax : matplotlib Axes
        With all else that is drawn.
    entries : sequence of (handle, name, what follows the name)
    side : {"above", "below"}
    ncols : int, default 2
        At most.
    kwargs : further keywords of ``ax.legend``

    Returns
    -------
    matplotlib Legend
    """
    from matplotlib.transforms import ScaledTranslation

    lay_out(ax.figure)
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    room = box.x1 - min(box.x0, ax.get_tightbbox(for_layout_only=True).x0)
    style = {
        "loc": "lower left" if side == "above" else "upper center",
        "frameon": False,
        "borderaxespad": 0.3,
        "handletextpad": 0.5,
        "columnspacing": 1.2,
        **kwargs,
    }
    high = max(HIGHEST * box.height, TWO_LINES * dpi)
    best, excess = None, np.inf
    for labels, form in _forms(entries, ncols, style.pop("fontsize", "small")):
        given = {"handles": [one[0] for one in entries], "labels": labels, **form}
        drawn = ax.legend(**given, **style).get_window_extent()
        over = max(drawn.width / room, drawn.height / high)
        if over < excess:
            best, excess = given, over
        if excess <= 1.0:
            break
    legend = ax.legend(**best, **style)
    down, ticks = 0.0, ax.xaxis.get_tightbbox()
    if side == "below" and ticks is not None:
        down = max(box.y0 - ticks.y0, 0.0) / dpi
    # What is wider than the axes goes on to the left, where the label is.
    left = max(legend.get_window_extent().width - box.width, 0.0) / dpi
    left *= 1.0 if side == "above" else 0.5
    move = ScaledTranslation(-left, -down, ax.figure.dpi_scale_trans)
    corner = (0.0, 1.0) if side == "above" else (0.5, 0.0)
    legend.set_bbox_to_anchor(corner, ax.transAxes + move)
    return legend


def _forms(entries, ncols, size):
    """Labels, and keywords of a legend: the more of the names is shown, the earlier."""
    _, names, rest = zip(*entries, strict=True)
    longest = max(len(str(name)) for name in names)
    for lengths in LENGTHS:
        for fontsize, most in product((size, "x-small"), lengths):
            if most is not None and most >= longest:
                continue
            short = told_apart(names, most)
            labels = [name + more for name, more in zip(short, rest, strict=True)]
            for columns in range(min(ncols, len(entries)), 0, -1):
                yield labels, {"fontsize": fontsize, "ncols": columns}


def legend_inside(ax, entries, loc, side):
    """A legend inside the axes, or `place_legend` where it would cover lines.

    Parameters
    ----------
    ax : matplotlib Axes
        With all else that is drawn.
    entries : sequence of (handle, name, what follows the name)
    loc : str
        The corner; "best" finds one again when limits change.
    side : {"above", "below"}
    """
    lay_out(ax.figure)
    handles = [one[0] for one in entries]
    labels = [f"{name}{more}" for _, name, more in entries]
    legend = ax.legend(handles, labels, loc=loc, framealpha=0.9, edgecolor="none")
    if _covers(ax, legend):
        legend.remove()
        place_legend(ax, entries, side=side)


def _covers(ax, legend):
    """Whether a legend lies on a line of the axes, or leaves them."""
    box, inside = legend.get_window_extent(), ax.get_window_extent()
    if not (inside.contains(*box.min) and inside.contains(*box.max)):
        return True
    paths = [line.get_path().transformed(line.get_transform()) for line in ax.lines]
    return any(path.intersects_bbox(box, filled=False) for path in paths)


# -- panels ----------------------------------------------------------------------------


class Arrangement:
    """Panels in their place, with room for their labels and for what surrounds them.

    To be made before anything is changed about the axes. Calling it keeps labels within
    their panels, and makes room where no layout engine does: before legends are
    placed, and again after that.

    Parameters
    ----------
    panels : Axes, or array of Axes (rows, columns)
    place : Axes or SubplotSpec in whose place they are, or array of Axes, or None
        What the user gave.
    """

    def __init__(self, panels, place):
        panels = np.atleast_2d(np.asarray(panels, dtype=object))
        self.figure = panels[0, 0].figure
        self.laid_out = self.figure.get_layout_engine() is not None
        self.groups = [(panels, *_place(place, self.figure))]
        if place is None or isinstance(place, (list, tuple, np.ndarray)):
            self.groups = [
                (np.array([[one]], dtype=object), *_place(one, self.figure))
                for one in panels.flat
            ]
        self.given = {}

    def __call__(self, twin=None):
        """Lay out; `twin` is a second y-axis of the only panel."""
        if self.laid_out:
            # Long labels would leave an engine no axes; it does not keep their size.
            self._fit(twin, drawn=False)
            self._draw_and_fit(twin)
        else:
            self._settle(twin)
        self._draw_and_fit(twin)
        if not self.laid_out:
            self._settle(twin)

    def _draw_and_fit(self, twin):
        lay_out(self.figure)
        self._fit(twin, drawn=True)

    def _settle(self, twin):
        for panels, spec, rect in self.groups:
            _settle_in(panels, spec, rect, twin)

    def _fit(self, twin, drawn):
        size = _inches(self.figure)
        for panels, _, rect in self.groups:
            for i, j in np.ndindex(panels.shape):
                one = panels[i, j]
                width, height = place_inches(one)
                if drawn:
                    own, height = inches_of(one)
                    centers = [_center(other) for other in panels[i]]
                    ends = size[0] * rect.x0, size[0] * rect.x1
                    width = max(own, _reach(centers, j, *ends))
                for member in (one, twin):
                    # Titles of pictures are of the right length.
                    if member is not None and not member.images:
                        self._fit_labels(member, width, height)

    def _fit_labels(self, ax, width, height):
        for text, inches in (
            (ax.title, width),
            (ax.xaxis.label, width),
            (ax.yaxis.label, height),
        ):
            given = self.given.setdefault(text, (text.get_text(), text.get_fontsize()))
            text.set(text=given[0], fontsize=given[1])
            fit(text, inches)


def _place(place, figure):
    """The place in the grid of the figure, if there is one, and its box."""
    if place is None or isinstance(place, (list, tuple, np.ndarray)):
        return None, None
    if not hasattr(place, "get_subplotspec"):
        return place, place.get_position(figure)
    spec = place.get_subplotspec()
    if spec is None:
        return None, place.get_position(original=True)
    return spec, spec.get_position(figure)


def _center(ax):
    box = ax.get_window_extent()
    return ((box.x0 + box.x1) / 2 - ax.figure.bbox.x0) / ax.figure.dpi


def _reach(centers, at, low, high):
    """What a centered text may take up of the place, beside those of its neighbours."""
    own = centers[at]
    gaps = [abs(own - other) / 2 for k, other in enumerate(centers) if k != at]
    return 2 * min(own - low, high - own, *gaps) - PAD


def _settle_in(panels, spec, rect, twin):
    """Panels with gaps that hold what surrounds them, in the place of one."""
    figure = panels[0, 0].figure
    size = _inches(figure)
    left, bottom = _allowed(spec, rect, size)
    weights = [
        [one.get_position(original=True).width for one in panels[0]],
        [one.get_position(original=True).height for one in panels[:, 0]],
    ]
    # Ticks change with the size of the panels.
    for _ in range(2):
        lay_out(figure)
        over = np.array([[_surroundings(one, twin) for one in row] for row in panels])
        widths = _shared(
            size[0] * rect.width, over[..., 0].max(0), over[..., 1].max(0), left, 0.0,
            weights[0],
        )  # fmt: skip
        heights = _shared(
            size[1] * rect.height, over[..., 2].max(1), over[..., 3].max(1), 0.0,
            bottom, weights[1],
        )  # fmt: skip
        _put(panels, spec, rect, widths, heights, twin)


def _put(panels, spec, rect, widths, heights, twin):
    if spec is None:
        x = rect.x0 + rect.width * np.cumsum(widths) / np.sum(widths)
        y = rect.y1 - rect.height * np.cumsum(heights) / np.sum(heights)
        panels[0, 0].set_position((x[0], y[1], x[1] - x[0], y[0] - y[1]))
        return
    grid = spec.subgridspec(
        len(heights), len(widths), wspace=0.0, hspace=0.0,
        width_ratios=widths, height_ratios=heights,
    )  # fmt: skip
    for (i, j), one in np.ndenumerate(panels):
        for member in (one, twin):
            if member is not None:
                member.set_subplotspec(grid[2 * i + 1, 2 * j + 1])


def _allowed(spec, rect, size):
    """Inches to the left and below that ticks and labels take in any figure."""
    if spec is None or spec.get_topmost_subplotspec() is not spec:
        return 0.0, 0.0
    left = size[0] * rect.x0 - PAD if spec.is_first_col() else 0.0
    bottom = size[1] * rect.y0 - PAD if spec.is_last_row() else 0.0
    return max(left, 0.0), max(bottom, 0.0)


def _surroundings(panel, twin):
    """Inches of what is drawn to the left, right, above and below of a panel."""
    box, dpi = panel.get_window_extent(), panel.figure.dpi
    # As layout engines measure it, without the width of titles and the like.
    boxes = [
        one.get_tightbbox(for_layout_only=True)
        for one in (panel, twin)
        if one is not None
    ]
    return (
        max(box.x0 - min(one.x0 for one in boxes), 0.0) / dpi,
        max(max(one.x1 for one in boxes) - box.x1, 0.0) / dpi,
        max(max(one.y1 for one in boxes) - box.y1, 0.0) / dpi,
        max(box.y0 - min(one.y0 for one in boxes), 0.0) / dpi,
    )


def _shared(total, before, after, first, last, weights):
    """Inches of gap, panel, gap, ... along one direction."""
    gaps = np.r_[before, 0.0] + np.r_[0.0, after] + PAD
    gaps[0] = max(before[0] - first, 0.0)
    gaps[-1] = max(after[-1] - last, 0.0)
    weights = np.asarray(weights) / np.sum(weights)
    sizes = np.maximum((total - gaps.sum()) * weights, LEAST)
    out = np.full(2 * len(sizes) + 1, 1e-9)
    out[0::2] = np.maximum(gaps, 1e-9)
    out[1::2] = sizes
    return out


def shape_for(ax, n):
    """(rows, columns) of n panels: side by side, or in high axes one above another."""
    if not hasattr(ax, "get_subplotspec"):
        return 1, n
    width, height = place_inches(ax)
    return (1, n) if min(width / n, height) >= min(width, height / n) else (n, 1)


def place_inches(ax):
    """Width and height of the place of axes, before anything is laid out."""
    _, place = _place(ax, ax.figure)
    return _inches(ax.figure) * (place.width, place.height)


def inches_of(ax):
    """Width and height of axes as they were drawn last."""
    box = ax.get_window_extent()
    return np.array([box.width, box.height]) / ax.figure.dpi


def _inches(figure):
    """Width and height of a figure or a subfigure."""
    return np.array([figure.bbox.width, figure.bbox.height]) / figure.dpi
