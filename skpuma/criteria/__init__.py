"""Criteria: what the user cares about, as functions of the raw outputs.

A criterion is a cost: lower is better. It sees raw outputs, coded targets, weights and
groups, and never the parameters. The public names below are classes; the names of the
table can be passed as strings, and so can any function of ``(y, raw)``. `Slice`,
`WeightedSum` and `Maximum` make criteria of criteria.
"""

from skpuma.criteria._adversarial import AdversarialLoss
from skpuma.criteria._base import BaseCriterion, Measure, bind, measures_of, named
from skpuma.criteria._calibration import MMCE, CalibrationError
from skpuma.criteria._combine import Maximum, Slice, WeightedSum
from skpuma.criteria._fairness import DemographicParity, EqualizedOdds, EqualOpportunity
from skpuma.criteria._function import FunctionCriterion
from skpuma.criteria._losses import (
    BrierScore,
    LogLoss,
    PinballLoss,
    SquaredError,
    TrainingLoss,
)
from skpuma.criteria._margin import MarginLoss
from skpuma.criteria._roc_auc import RocAucLoss
from skpuma.criteria._worst_group import WorstGroupLoss

CRITERIA = {
    "adversarial_loss": "skpuma.criteria._adversarial:AdversarialLoss",
    "auto": "skpuma.criteria._losses:TrainingLoss",
    "brier_score": "skpuma.criteria._losses:BrierScore",
    "calibration_error": "skpuma.criteria._calibration:CalibrationError",
    "demographic_parity": "skpuma.criteria._fairness:DemographicParity",
    "equal_opportunity": "skpuma.criteria._fairness:EqualOpportunity",
    "equalized_odds": "skpuma.criteria._fairness:EqualizedOdds",
    "log_loss": "skpuma.criteria._losses:LogLoss",
    "margin": "skpuma.criteria._margin:MarginLoss",
    "mmce": "skpuma.criteria._calibration:MMCE",
    "pinball": "skpuma.criteria._losses:PinballLoss",
    "roc_auc": "skpuma.criteria._roc_auc:RocAucLoss",
    "squared_error": "skpuma.criteria._losses:SquaredError",
    "worst_group_loss": "skpuma.criteria._worst_group:WorstGroupLoss",
}

__all__ = [
    "CRITERIA",
    "MMCE",
    "AdversarialLoss",
    "BaseCriterion",
    "BrierScore",
    "CalibrationError",
    "DemographicParity",
    "EqualOpportunity",
    "EqualizedOdds",
    "FunctionCriterion",
    "LogLoss",
    "MarginLoss",
    "Maximum",
    "Measure",
    "PinballLoss",
    "RocAucLoss",
    "Slice",
    "SquaredError",
    "TrainingLoss",
    "WeightedSum",
    "WorstGroupLoss",
    "bind",
    "measures_of",
    "named",
]
