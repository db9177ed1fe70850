"""Figures of results, as Display classes; the only door to matplotlib.

A Display takes arrays, result records or fitted estimators, and draws on the axes that
it is given or on new ones. matplotlib loads when something is drawn.
"""

from skpuma.utils._registry import lazy

DISPLAYS = {
    "ConflictDisplay": "skpuma.plotting._conflict",
    "DetectionCurveDisplay": "skpuma.plotting._detection",
    "DirectionDisplay": "skpuma.plotting._direction",
    "InfluenceDisplay": "skpuma.plotting._influence",
    "IssueBoardDisplay": "skpuma.plotting._issue_board",
    "PatchPathDisplay": "skpuma.plotting._path",
    "PatchedImagesDisplay": "skpuma.plotting._patched_images",
    "ReliabilityDisplay": "skpuma.plotting._reliability",
    "WeightsDisplay": "skpuma.plotting._weights",
}

__all__ = ["DISPLAYS", *DISPLAYS]

__getattr__ = lazy(__name__, DISPLAYS)
