"""Solvers: factor a curvature once, solve for many right-hand sides."""

from skpuma.solvers._auto import (
    EXPLICIT_LIMIT,
    MATRIX_WORK,
    WOODBURY_LIMIT,
    factor,
)
from skpuma.solvers._base import BaseSolver, Solution
from skpuma.solvers._secants import Secants
from skpuma.utils._registry import load

SOLVERS = {
    "cg": "skpuma.solvers._cg:CG",
    "cholesky": "skpuma.solvers._cholesky:Cholesky",
    "eigh": "skpuma.solvers._eigh:Eigh",
    "lissa": "skpuma.solvers._lissa:LiSSA",
    "woodbury": "skpuma.solvers._woodbury:Woodbury",
}

__all__ = [
    "CG",
    "EXPLICIT_LIMIT",
    "MATRIX_WORK",
    "SOLVERS",
    "WOODBURY_LIMIT",
    "BaseSolver",
    "Cholesky",
    "Eigh",
    "LiSSA",
    "Secants",
    "Solution",
    "Woodbury",
    "factor",
]


def __getattr__(name):
    """The classes of the table, imported when they are first asked for."""
    for target in SOLVERS.values():
        if target.partition(":")[2] == name:
            return load(target)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
