"""Curvature of an objective: which matrix stands for the second derivative."""

from skpuma.curvature._base import Curvature
from skpuma.curvature._gauss_newton import GaussNewton

CURVATURES = {
    "fisher": "skpuma.curvature._fisher:Fisher",
    "gauss_newton": "skpuma.curvature._gauss_newton:GaussNewton",
    "hessian": "skpuma.curvature._hessian:Hessian",
}

__all__ = ["CURVATURES", "Curvature", "GaussNewton", "curvature_of"]


def curvature_of(objective, kind="auto", damping=0.0):
    """Return the curvature operator of an objective.

    Parameters
    ----------
    objective : Objective
        Its weights must not be negative.
    kind : {"auto", "hessian", "gauss_newton", "fisher"}
        "auto" is Gauss-Newton for networks and the exact Hessian for other models.
    damping : float
        Added to the diagonal.
    """
    from skpuma.utils._registry import load

    if kind == "auto":
        kind = objective.model.curvature
    if kind not in CURVATURES:
        raise ValueError(
            f"Unknown curvature {kind!r}; choose 'auto' or one of {sorted(CURVATURES)}."
        )
    if objective.partitioned:
        return load("skpuma.curvature._block_sums:BlockSums")(objective, damping, kind)
    return load(CURVATURES[kind])(objective, damping)
