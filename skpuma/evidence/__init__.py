"""Evidence that a model has forgotten rows: attacks, distances, and a record of them.

None of it is a proof. It says how far a model is from one that was trained without the
rows, and what an attacker with the rows in hand would find; the retrained model is the
yardstick of both.
"""

from importlib import import_module

EVIDENCE = {
    "RemovalEvidence": "skpuma.evidence._record",
    "membership_inference": "skpuma.evidence._attacks",
    "retrain_gap": "skpuma.evidence._gap",
}

__all__ = ["EVIDENCE", *EVIDENCE]


def __getattr__(name):
    if name not in EVIDENCE:
        raise AttributeError(f"module 'skpuma.evidence' has no attribute {name!r}")
    value = getattr(import_module(EVIDENCE[name]), name)
    globals()[name] = value
    return value
