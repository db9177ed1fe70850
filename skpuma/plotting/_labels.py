"""Labels of points that do not lie on each other."""

import numpy as np

from skpuma.plotting._room import FEWEST, told_apart
from skpuma.plotting._style import REFERENCE, lay_out

DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
DISTANCES = (6, 14, 24, 36, 50, 66)
# Characters of the labels, tried one after the other.
LENGTHS = (None, 24, 18, 13, 9, 7, FEWEST)
SIDES = {1: ("left", "bottom"), 0: ("center", "center"), -1: ("right", "top")}


def label_points(ax, x, y, texts, **kwargs):
    """Write texts beside points, each inside and where it covers no other text.

    They are shortened until all have room. Those that have none at any length are left
    out, the first ones last.

    Parameters
    ----------
    ax : matplotlib Axes
        With its final limits.
    x, y : array-like (k,)
    texts : sequence of str (k,)
    kwargs : further keywords of ``ax.annotate``

    Returns
    -------
    list of matplotlib annotations
    """
    lay_out(ax.figure)
    taken = [_box(text) for text in ax.texts]
    points = ax.transData.transform(np.column_stack([x, y]))
    best = []
    for most in LENGTHS:
        short = told_apart(texts, most)
        sizes = [_size(ax, text, kwargs) for text in short]
        placed = _arranged(ax, points, sizes, taken)
        if len(placed) > len(best):
            best = [(at, short[at], place) for at, place in placed]
        if len(best) == len(short):
            break
    known = list(zip(x, y, strict=True))
    return [_write(ax, known[at], text, place, kwargs) for at, text, place in best]


def _arranged(ax, points, sizes, taken):
    """(position, place) of the texts of these sizes that have room."""
    inside, taken, out = ax.get_window_extent(), list(taken), []
    for at, size in enumerate(sizes):
        best, fewest = None, np.inf
        for place in _places():
            box = _box_at(points[at], size, place, ax.figure.dpi)
            if not (inside.contains(*box.min) and inside.contains(*box.max)):
                continue
            if any(box.overlaps(other) for other in taken):
                continue
            covered = box.padded(3).count_contains(points)
            if covered < fewest:
                best, fewest = (place, box), covered
            if not covered:
                break
        if best is not None:
            out.append((at, best[0]))
            taken.append(best[1])
    return out


def _box(text):
    """Extent of a text, without the line of an annotation."""
    from matplotlib.text import Text

    text.get_window_extent()  # puts the text where it belongs
    return Text.get_window_extent(text)


def _size(ax, text, kwargs):
    """Width and height of a label in pixels."""
    trial = _write(ax, (0.0, 0.0), text, (1, 1, 0), kwargs)
    size = _box(trial).size
    trial.remove()
    return size


def _box_at(point, size, place, dpi):
    """Extent of a label of this size."""
    from matplotlib.transforms import Bbox

    direction, distance = np.array(place[:2]), place[2] * dpi / 72
    low = point + direction * distance + 0.5 * (direction - 1) * size
    return Bbox([low, low + size])


def _places():
    """Offsets in points, the nearest first."""
    for distance in DISTANCES:
        for across, up in DIRECTIONS:
            yield across, up, distance


def _write(ax, point, text, place, kwargs):
    across, up, distance = place
    style = {
        "fontsize": "small",
        # Limits or a layout that change later must not move it over other axes.
        "clip_on": True,
        "ha": SIDES[across][0],
        "va": SIDES[up][1],
        "arrowprops": {
            "arrowstyle": "-",
            "linewidth": 0.6,
            "alpha": 0.6,
            "shrinkA": 0,
            "shrinkB": 2,
            "color": REFERENCE,
        },
    }
    label = ax.annotate(
        text,
        point,
        xytext=(across * distance, up * distance),
        textcoords="offset points",
        **{**style, **kwargs},
    )
    # A long label must not squeeze the axes.
    label.set_in_layout(False)
    return label
