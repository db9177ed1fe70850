"""Solvers: factor a curvature once, solve for many right-hand sides."""

from skpuma.solvers._auto import EXPLICIT_LIMIT, WOODBURY_LIMIT, factor
from skpuma.solvers._base import BaseSolver, Solution

SOLVERS = {
    "cg": "skpuma.solvers._cg:CG",
    "cholesky": "skpuma.solvers._cholesky:Cholesky",
    "eigh": "skpuma.solvers._eigh:Eigh",
    "lissa": "skpuma.solvers._lissa:LiSSA",
    "woodbury": "skpuma.solvers._woodbury:Woodbury",
}

__all__ = [
    "EXPLICIT_LIMIT",
    "SOLVERS",
    "WOODBURY_LIMIT",
    "BaseSolver",
    "Solution",
    "factor",
]
