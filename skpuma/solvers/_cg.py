"""Conjugate gradients: matrix-free, preconditioned, all right-hand sides at once."""

import numpy as np

from skpuma import rows
from skpuma.solvers._base import BaseSolver
from skpuma.utils.errors import SolverError

PRECONDITIONER_ROWS = 1500


class CG(BaseSolver):
    """Preconditioned conjugate gradients (Hestenes and Stiefel, 1952).

    Every column runs its own recurrence; one block product with H serves all columns
    of an iteration. The preconditioner is the Gauss-Newton matrix of a row sample by
    the Woodbury identity where every parameter has a penalty or damping, else the
    diagonal of a linear model.

    Parameters
    ----------
    curvature : Curvature
    tolerance : float
        Relative residual that a solve must reach, or it is refused.
    max_iter : int, optional
        Default: 10 times the number of parameters, at least 100 and at most 1000.
    """

    name = "cg"
    explicit = False

    def __init__(self, curvature, tolerance=1e-8, max_iter=None):
        super().__init__(curvature)
        self.tolerance = tolerance
        p = curvature.shape[0]
        self.max_iter = max_iter or int(np.clip(10 * p, 100, 1000))
        self._precondition = self._preconditioner()
        self.info = {"preconditioner": self._kind}

    def _preconditioner(self):
        curvature = self.curvature
        objective, model = curvature.objective, curvature.objective.model
        n, k, p = rows.count(objective.X), model.n_outputs, model.n_parameters
        if np.all(curvature.diagonal_part > 0) and curvature.factored:
            size = min(n, PRECONDITIONER_ROWS // k)
            if 0 < size and 2 * size * k < p:
                from skpuma.solvers._woodbury import Woodbury

                sample = np.random.default_rng(0).permutation(n)[:size]
                part = objective.subset(np.sort(sample))
                share = objective.weight.sum() / max(part.weight.sum(), 1e-300)
                part = part.reweighted(part.weight * share)
                self._kind = f"woodbury ({size} rows)"
                sampled = type(curvature)(part, curvature.damping)
                return Woodbury(sampled)._raw_solve
        if model.convex and hasattr(curvature, "output_hessian"):
            diagonal = model.diagonal(objective.X, curvature.output_hessian)
            diagonal = diagonal + curvature.diagonal_part
            self._kind = "diagonal"
            floor = 1e-12 * diagonal.max()
            return lambda R: R / np.maximum(diagonal, floor)[:, None]
        self._kind = "none"
        return lambda R: R

    def _solve(self, B):
        basis = self.curvature.null_space
        norm = np.linalg.norm(B, axis=0)
        goal = 0.1 * self.tolerance * np.where(norm > 0, norm, 1.0)
        X = np.zeros_like(B)
        R = B.copy()
        active = np.linalg.norm(R, axis=0) > goal
        P, rz, n_iter = np.zeros_like(B), np.ones(B.shape[1]), 0
        while active.any() and n_iter < self.max_iter:
            Z = self._precondition(R[:, active])
            if basis is not None:
                Z = Z - basis @ (basis.T @ Z)
            new = np.einsum("pm,pm->m", R[:, active], Z)
            beta = new / rz[active] if n_iter else 0.0
            P[:, active] = Z + beta * P[:, active]
            rz[active] = new
            HP = self.curvature @ P[:, active]
            curve = np.einsum("pm,pm->m", P[:, active], HP)
            if not np.all(curve > 0):
                raise SolverError(
                    "CG met a direction of non-positive curvature: use "
                    "curvature='gauss_newton', a larger damping, or solver='eigh'."
                )
            step = new / curve
            X[:, active] += step * P[:, active]
            R[:, active] -= step * HP
            n_iter += 1
            still = np.linalg.norm(R[:, active], axis=0) > goal[active]
            active[active] = still
        return X, self._residual(self.curvature, X, B), n_iter
