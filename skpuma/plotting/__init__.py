"""Figures of results, as Display classes; the only door to matplotlib.

A Display takes arrays, result records or fitted estimators, and draws on the axes that
it is given or on new ones. matplotlib loads when something is drawn.
"""

from skpuma.utils._registry import lazy

DISPLAYS = {
    "DetectionCurveDisplay": "skpuma.plotting._detection",
    "InfluenceDisplay": "skpuma.plotting._influence",
    "PatchPathDisplay": "skpuma.plotting._path",
    "ReliabilityDisplay": "skpuma.plotting._reliability",
}

__all__ = ["DISPLAYS", *DISPLAYS]

__getattr__ = lazy(__name__, DISPLAYS)
