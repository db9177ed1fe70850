"""skpuma: find the training rows that hurt a model, and fix it without retraining.

Value rows
    PumaValuator
Patch a model
    PumaPatcher
Detect, patch and verify in one estimator
    PumaDebugger
Ask whether an estimator can be valued and patched
    supports
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "DeltaReachedWarning": "skpuma.utils.errors",
    "InterruptedWarning": "skpuma.utils.errors",
    "LeverageWarning": "skpuma.utils.errors",
    "NotDifferentiableError": "skpuma.utils.errors",
    "PatchWarning": "skpuma.utils.errors",
    "PumaDebugger": "skpuma._debugger",
    "PumaPatcher": "skpuma._patcher",
    "PumaValuator": "skpuma._valuator",
    "SolverError": "skpuma.utils.errors",
    "StationarityWarning": "skpuma.utils.errors",
    "supports": "skpuma.models",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    # The estimators load with scikit-learn when they are first asked for.
    if name not in _PUBLIC:
        raise AttributeError(f"module 'skpuma' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
