"""The exceptions and warnings of skpuma, so that user code can catch them by name."""

import sys
import warnings

import numpy as np

# Where the documentation says what to do about a warning.
TRUST = "doc/trust.rst"


class NotDifferentiableError(TypeError):
    """The estimator has no adapter, or an option of it makes its loss not smooth."""


class SolverError(np.linalg.LinAlgError):
    """A linear system was refused or not solved to the tolerance that was asked."""


class DeltaReachedWarning(UserWarning):
    """A criterion reached its delta before the patch was complete."""


class StationarityWarning(UserWarning):
    """The model is not at the optimum of the rows and weights that were handed over."""


class LeverageWarning(UserWarning):
    """A ranked row has so much leverage that its linear effect is not reliable."""


class InterruptedWarning(UserWarning):
    """A long run was stopped by the user; the results are those computed so far."""


class PatchWarning(UserWarning):
    """The patch is well defined, but not what a user would expect unless told."""


# Anchors of that page.
ANCHORS = {
    DeltaReachedWarning: "trust-delta-reached",
    InterruptedWarning: "trust-surprises",
    LeverageWarning: "trust-leverage",
    PatchWarning: "trust-surprises",
    StationarityWarning: "trust-stationarity",
}


def warn(message, category):
    """Warn at the line of the caller's code, however deep inside skpuma we are.

    The message ends with where the documentation says more, if it does.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("skpuma."):
        level, frame = level + 1, frame.f_back
    if category in ANCHORS:
        page = f"{TRUST}#{ANCHORS[category]}"
        message = f"{message} See 'When not to trust this' ({page})."
    warnings.warn(message, category, stacklevel=level)
