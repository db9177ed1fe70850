"""Rows that are pictures."""

import numpy as np

# Points of a title, and inches of a character of it.
TITLE, CHARACTER = 8, 0.075


def as_images(images, n, name="images"):
    """Pictures (n, h, w) or (n, h, w, 3), from those or from rows of square ones.

    Raises
    ------
    ValueError
        If there is another number of them, or rows are not square.
    """
    images = np.asarray(images)
    if len(images) != n:
        raise ValueError(f"{name} has {len(images)} pictures for {n} rows.")
    if images.ndim == 2:
        side = round(images.shape[1] ** 0.5)
        if side * side != images.shape[1]:
            raise ValueError(
                f"{name} has rows of {images.shape[1]} values, which are no square: "
                "pass an array (n, height, width)."
            )
        images = images.reshape(n, side, side)
    if images.ndim not in (3, 4):
        raise ValueError(
            f"{name} has shape {images.shape}; pass (n, height, width), or with a "
            "last axis of colours."
        )
    return images


def draw_image(ax, image, title, color, **kwargs):
    """A picture under its title, without axes."""
    drawn = ax.imshow(image, **{"cmap": "gray", **kwargs})
    ax.set_title(title, fontsize=TITLE, color=color, pad=3)
    ax.set_axis_off()
    return drawn
