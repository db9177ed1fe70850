"""The curves of growth as a figure."""

import numpy as np

from skpuma.plotting._style import REFERENCE, line_styles

MARKERS = "osD^v"
LABELS = {"n": "Rows n", "p": "Parameters p"}


def draw(curves, exponent, path):
    """Seconds against n and against p, on logarithmic axes, with fitted lines.

    Parameters
    ----------
    curves : dict
        ``{axis: {name: [(size, seconds)]}}``.
    exponent : callable
        Of the points of a curve.
    path : Path
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(curves), figsize=(5.0 * len(curves), 4.0), layout="constrained"
    )
    for ax, (axis, of) in zip(np.atleast_1d(axes), curves.items(), strict=True):
        styles = line_styles(len(of))
        for (name, points), style, mark in zip(
            of.items(), styles, MARKERS, strict=False
        ):
            size, seconds = np.array(points).T
            slope = exponent(points)
            at = np.log(seconds).mean() - slope * np.log(size).mean()
            label = f"{name}: {axis}$^{{{slope:.2f}}}$"
            ax.plot(size, seconds, mark, color=style["color"], label=label)
            ax.plot(size, np.exp(at) * size**slope, color=style["color"], lw=1.0)
        every = np.array([point for points in of.values() for point in points])
        ends = every[:, 0].min(), every[:, 0].max()
        once = every[:, 1].min() * np.array(ends) / ends[0]
        label = f"proportional to {axis}"
        ax.plot(ends, once, ":", color=REFERENCE, lw=1.0, label=label)
        ax.set(xscale="log", yscale="log", xlabel=LABELS[axis], ylabel="Seconds")
        ax.legend(fontsize=8, frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
