"""The patch: a path along which the marked rows lose their weight.

``d theta / ds = H(theta, w+(s))^-1 (1/W) [sum_k w_k g_k - sum_j lambda_j w_j g_j]``
with the marked rows at weight ``w_k (1 - s)`` and re-weighted rows at ``w_j (1 + int
lambda_j)``. psi, lambda and H are computed again at each step. The path ends at
s = eta, where the marked rows are forgotten, where the target is lowest, or at the
first point where a *measured* criterion reaches its delta. Convex models are
corrected by Newton steps, so that for s <= 1 every point of the path is an optimum of
its weights.
"""

from skpuma.patching._forgetting import forgotten
from skpuma.patching._passes import Passes
from skpuma.patching._path import Path, default_curvature_rows
from skpuma.patching._records import Marks, PatchResult, Settings, State
from skpuma.patching._shared_path import SharedPath, Walked

__all__ = [
    "Marks",
    "Passes",
    "PatchResult",
    "Path",
    "Settings",
    "SharedPath",
    "State",
    "Walked",
    "default_curvature_rows",
    "forgotten",
]
