"""Hard yardsticks: what a user would measure, from labels and predictions alone.

The criteria of `skpuma.criteria` are soft forms of some of these, because a patch needs
derivatives. A yardstick needs none, and is what a patch should be judged by.
"""

from skpuma.metrics._calibration import (
    expected_calibration_error,
    reliability_curve,
)
from skpuma.metrics._detection import (
    detection_area,
    detection_average_precision,
    detection_curve,
    detection_recall,
)
from skpuma.metrics._fairness import (
    demographic_parity_difference,
    equalized_odds_difference,
)
from skpuma.metrics._forgetting import forgetting_score, patch_scorer
from skpuma.metrics._lira import lira_scores, logit_confidence
from skpuma.metrics._membership import (
    AttackGap,
    MembershipAttack,
    attack_gap,
    membership_attack,
)
from skpuma.metrics._prediction_gap import PredictionGap, prediction_gap

__all__ = [
    "AttackGap",
    "MembershipAttack",
    "PredictionGap",
    "attack_gap",
    "demographic_parity_difference",
    "detection_area",
    "detection_average_precision",
    "detection_curve",
    "detection_recall",
    "equalized_odds_difference",
    "expected_calibration_error",
    "forgetting_score",
    "lira_scores",
    "logit_confidence",
    "membership_attack",
    "patch_scorer",
    "prediction_gap",
    "reliability_curve",
]
