"""Criteria: what the user cares about, as functions of the raw outputs.

A criterion is a cost: lower is better. It sees raw outputs, coded targets, weights and
groups, and never the parameters. The public names below are classes; their table names
can be passed as strings.
"""

from skpuma.criteria._base import BaseCriterion, Measure, measures_of
from skpuma.criteria._calibration import CalibrationError
from skpuma.criteria._fairness import DemographicParity, EqualizedOdds, EqualOpportunity
from skpuma.criteria._losses import BrierScore, LogLoss, SquaredError, TrainingLoss

CRITERIA = {
    "auto": "skpuma.criteria._losses:TrainingLoss",
    "brier_score": "skpuma.criteria._losses:BrierScore",
    "calibration_error": "skpuma.criteria._calibration:CalibrationError",
    "demographic_parity": "skpuma.criteria._fairness:DemographicParity",
    "equal_opportunity": "skpuma.criteria._fairness:EqualOpportunity",
    "equalized_odds": "skpuma.criteria._fairness:EqualizedOdds",
    "log_loss": "skpuma.criteria._losses:LogLoss",
    "squared_error": "skpuma.criteria._losses:SquaredError",
}

__all__ = [
    "CRITERIA",
    "BaseCriterion",
    "BrierScore",
    "CalibrationError",
    "DemographicParity",
    "EqualOpportunity",
    "EqualizedOdds",
    "LogLoss",
    "Measure",
    "SquaredError",
    "TrainingLoss",
    "measures_of",
]
