"""skpuma: find the training rows that hurt a model, and fix it without retraining.

Value rows
    PumaValuator
Patch a model
    PumaPatcher, PumaPatcherCV
Detect, patch and verify in one estimator
    PumaDebugger
Ask whether an estimator can be valued and patched
    supports
"""

from skpuma.utils._registry import lazy

__version__ = "0.1.0"

_PUBLIC = {
    "DeltaReachedWarning": "skpuma.utils.errors",
    "InterruptedWarning": "skpuma.utils.errors",
    "LeverageWarning": "skpuma.utils.errors",
    "NotDifferentiableError": "skpuma.utils.errors",
    "PatchWarning": "skpuma.utils.errors",
    "PumaDebugger": "skpuma._debugger",
    "PumaPatcher": "skpuma._patcher",
    "PumaPatcherCV": "skpuma._patcher_cv",
    "PumaValuator": "skpuma._valuator",
    "SolverError": "skpuma.utils.errors",
    "StationarityWarning": "skpuma.utils.errors",
    "supports": "skpuma.models",
}

__all__ = ["__version__", *_PUBLIC]

__getattr__ = lazy(__name__, _PUBLIC)


def __dir__():
    return sorted(__all__)
