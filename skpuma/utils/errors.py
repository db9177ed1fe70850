"""The exceptions and warnings of skpuma, so that user code can catch them by name."""

import numpy as np


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


class PatchWarning(UserWarning):
    """The patch is well defined, but not what a user would expect unless told."""
