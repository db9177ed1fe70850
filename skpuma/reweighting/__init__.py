"""The weights lambda of the rows that compensate a removal (Blog 9).

Numbers in, numbers out: this room knows neither models nor data. It is the only door to
cvxpy.
"""

from skpuma.reweighting._problem import Compensation, scales, solve

SOLVERS = {
    "cvxpy": "skpuma.reweighting._cvxpy:solve_cvxpy",
    "dual": "skpuma.reweighting._dual:solve_dual",
}

__all__ = ["SOLVERS", "Compensation", "scales", "solve"]
