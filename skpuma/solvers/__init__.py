"""Solvers: factor a curvature once, solve for many right-hand sides."""

from skpuma.solvers._auto import factor
from skpuma.solvers._base import BaseSolver, Solution

SOLVERS = {
    "cg": "skpuma.solvers._cg:CG",
    "cholesky": "skpuma.solvers._cholesky:Cholesky",
    "eigh": "skpuma.solvers._eigh:Eigh",
    "woodbury": "skpuma.solvers._woodbury:Woodbury",
}

__all__ = ["SOLVERS", "BaseSolver", "Solution", "factor"]
