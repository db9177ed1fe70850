"""Unlearning systems that a patch is compared with, under one contract.

Every system is ``fit(X, y)``, then ``forget(X, y, rows)`` with the rows of the fit, and
predicts as its estimator does. ``storage_`` says how many bytes it keeps for the sake
of forgetting, ``cost_`` how many rows times epochs its last call went through.
`PumaPatcher` has the same ``forget``, so that one loop compares all.
"""

from skpuma.utils._registry import lazy

UNLEARNERS = {
    "AmnesiacClassifier": "skpuma.unlearning._amnesiac",
    "AmnesiacRegressor": "skpuma.unlearning._amnesiac",
    "FineTuner": "skpuma.unlearning._yardsticks",
    "GradientAscent": "skpuma.unlearning._yardsticks",
    "NewtonRemoval": "skpuma.unlearning._newton_removal",
    "Retrainer": "skpuma.unlearning._yardsticks",
    "SISAClassifier": "skpuma.unlearning._sisa",
    "SISARegressor": "skpuma.unlearning._sisa",
    "StreamingRemoval": "skpuma.unlearning._streaming",
    "UnrolledSGDClassifier": "skpuma.unlearning._unrolled",
    "UnrolledSGDRegressor": "skpuma.unlearning._unrolled",
}

__all__ = ["UNLEARNERS", *UNLEARNERS]

__getattr__ = lazy(__name__, UNLEARNERS)
