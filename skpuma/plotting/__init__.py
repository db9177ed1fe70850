"""Figures of results, as Display classes; the only door to matplotlib.

A Display takes arrays and result records, never a model, and draws on the axes that it
is given or on new ones. matplotlib loads when something is drawn.
"""

from skpuma.plotting._detection import DetectionCurveDisplay

__all__ = ["DetectionCurveDisplay"]
