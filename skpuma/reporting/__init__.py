"""Reports: what was found and what a patch changed, as frames and HTML."""

from skpuma.reporting._influence import InfluenceCheck
from skpuma.reporting._report import PatchReport

__all__ = ["InfluenceCheck", "PatchReport"]
