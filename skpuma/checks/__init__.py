"""Contract checks for a user's own loss, model, criterion, curvature and solver.

Write an adapter, then call the check that fits it, on 20 to 80 rows: every identity
that the rest of skpuma relies on is measured, and the first one that does not hold
raises an AssertionError that says which it was, by how much it is off, and what it
means. The checks run skpuma's own parts through the same identities.
"""

from skpuma.checks._criterion import check_criterion
from skpuma.checks._curvature import check_curvature
from skpuma.checks._loss import check_loss
from skpuma.checks._model import check_model
from skpuma.checks._solver import check_solver

__all__ = [
    "check_criterion",
    "check_curvature",
    "check_loss",
    "check_model",
    "check_solver",
]
