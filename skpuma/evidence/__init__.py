"""Evidence that a model has forgotten rows: attacks, distances, and a record of them.

None of it is a proof. It says how far a model is from one that was trained without the
rows, and what an attacker with the rows in hand would find; the retrained model is the
yardstick of both.
"""

from skpuma.utils._registry import lazy

EVIDENCE = {
    "RemovalEvidence": "skpuma.evidence._record",
    "membership_inference": "skpuma.evidence._attacks",
    "retrain_gap": "skpuma.evidence._gap",
}

__all__ = ["EVIDENCE", *EVIDENCE]

__getattr__ = lazy(__name__, EVIDENCE)
