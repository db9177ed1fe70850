"""Labels of points that do not lie on each other."""

import numpy as np

from skpuma.plotting._style import REFERENCE, lay_out

DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
DISTANCES = (6, 14, 24, 36, 50, 66)
SIDES = {1: ("left", "bottom"), 0: ("center", "center"), -1: ("right", "top")}


def label_points(ax, x, y, texts, **kwargs):
    """Write texts beside points, each where it covers no other text and is inside.

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
    labels = []
    for point, text in zip(zip(x, y, strict=True), texts, strict=True):
        best, fewest = None, np.inf
        for place in _places():
            trial = _write(ax, point, text, place, kwargs)
            covered = _covered(ax, _box(trial), taken, points)
            trial.remove()
            if covered < fewest:
                best, fewest = place, covered
            if not covered:
                break
        labels.append(_write(ax, point, text, best, kwargs))
        taken.append(_box(labels[-1]))
    return labels


def _box(text):
    """Extent of a text, without the line of an annotation."""
    from matplotlib.text import Text

    text.get_window_extent()  # puts the text where it belongs
    return Text.get_window_extent(text)


def _covered(ax, box, taken, points):
    """How many texts and points a box lies on, and how many corners are outside."""
    inside = ax.get_window_extent()
    out = [not inside.contains(*corner) for corner in box.corners()]
    texts = [box.overlaps(other) for other in taken]
    return sum(out) + sum(texts) + box.padded(3).count_contains(points)


def _places():
    """Offsets in points, the nearest first."""
    for distance in DISTANCES:
        for across, up in DIRECTIONS:
            yield across, up, distance


def _write(ax, point, text, place, kwargs):
    across, up, distance = place
    style = {
        "fontsize": "small",
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
