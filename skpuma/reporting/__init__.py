"""Reports: what was found and what a patch changed, as frames and HTML."""

from skpuma.reporting._influence import InfluenceCheck
from skpuma.reporting._report import PatchReport, history_of, report_of

__all__ = ["InfluenceCheck", "PatchReport", "history_of", "report_of"]
