"""Colours that everybody can tell apart, and axes to draw on."""

from itertools import cycle, islice, product

# Okabe and Ito (2008) without the yellow, which fades on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":")
REFERENCE = "#767676"


def line_styles(n):
    """Keywords of n lines: colours first, and another dash for each round of them."""
    styles = ({"color": c, "linestyle": d} for d, c in product(DASHES, PALETTE))
    return list(islice(cycle(styles), n))


def axes_or_new(ax, caller):
    """The axes, or new ones.

    Raises
    ------
    ImportError
        If new ones are needed and matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} draws with matplotlib: pip install matplotlib."
        ) from error
    return plt.subplots()[1]
