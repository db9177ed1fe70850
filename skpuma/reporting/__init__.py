"""Reports: what was found and what a patch changed, as frames and HTML."""

from skpuma.reporting._facts import issues_facts, patch_facts, valuation_facts
from skpuma.reporting._frames import (
    conflict_frame,
    damping_frame,
    diagnostics_frame,
    front_frame,
    inspect_frame,
    interval_frame,
)
from skpuma.reporting._influence import InfluenceCheck
from skpuma.reporting._report import PatchReport, history_of, report_of

__all__ = [
    "InfluenceCheck",
    "PatchReport",
    "conflict_frame",
    "damping_frame",
    "diagnostics_frame",
    "front_frame",
    "history_of",
    "inspect_frame",
    "interval_frame",
    "issues_facts",
    "patch_facts",
    "report_of",
    "valuation_facts",
]
