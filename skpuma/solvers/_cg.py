"""Conjugate gradients: matrix-free, preconditioned, all right-hand sides in a block."""

import copy

import numpy as np
from scipy import linalg

from skpuma.solvers._base import COLLINEAR, BaseSolver, relative
from skpuma.solvers._preconditioner import Preconditioning
from skpuma.utils.errors import SolverError

# Relative size below which a direction of a block is a combination of the others.
DEPENDENT = 1e-10
# Relative eigenvalue above which a Gram matrix shows that there is none.
CLEAR = 1e-10
# So few steps cannot lose a residual of this size to rounding: it need not be measured.
SURE_STEPS, SURE_TOLERANCE = 20, 1e-5
# The recurrence forgets the true residual by rounding; it is set right this often.
MAX_RESTARTS = 5
# Factor by which products in single precision lower a residual before it is measured,
# and by which it may then be larger than they said.
DROP, LOST = 1e-4, 5.0
PRECISIONS = ("auto", "double")


class CG(BaseSolver):
    """Preconditioned block conjugate gradients.

    All right-hand sides share one Krylov space: a step minimises the error of every
    column over the directions of all of them, so that m columns take fewer steps than
    one. Directions that have become dependent are dropped and columns that have
    converged leave the block, so zero columns, repeated columns and more columns than
    parameters are no special cases. For a single column it is the method of Hestenes
    and Stiefel. Memory is a few times that of the right-hand sides.

    Parameters
    ----------
    curvature : Curvature
        Positive definite outside its null space.
    tolerance : float
        Relative residual that a solve must reach, or it is refused.
    max_iter : int, optional
        Block products with H. Default: 10 times the number of parameters, at least 100
        and at most 1000.
    preconditioner : str
        "softmax" inverts the blocks of every class of a linear model with a softmax
        over three classes or more; it needs dense rows, and many. "kronecker" is exact
        where all rows of a linear model with several outputs have the same output
        Hessian; it needs dense rows. "diagonal" divides by the diagonal of H, after the
        intercepts of a linear model are eliminated exactly. "nystrom" also divides out
        the largest eigenvalues that are left, from a random sketch. "woodbury" inverts
        the curvature of a sample of the rows (1500 by outputs, or half the parameters).
        "none" is none. "auto" is "woodbury" for a network, and where the sample is all
        rows, if every parameter has a penalty or damping; otherwise "softmax" or
        "kronecker" where they fit; else "diagonal" for a linear model and "none" for a
        network, and "nystrom" on top as soon as the solves have taken half the products
        that its sketch may.
    rank : int, optional
        Columns of the sketch of "nystrom", which are all kept. By default as many as
        show outstanding eigenvalues, at most 128.

    precision : {"auto", "double"}
        "auto" takes the products between two measurements of the residual in single
        precision, where the model has them and rows are dense and many; the residual
        is measured, and set right, in double precision. "double" takes all in it.

    `solve` takes a further argument ``start``, a solution of the shape of b that is
    already near; columns for which it is worse than 0 ignore it.

    Attributes
    ----------
    info : dict
        ``"preconditioner"`` is the one in use, with its rank.

    References
    ----------
    D. P. O'Leary, "The block conjugate gradient algorithm and related methods", Linear
    Algebra and its Applications 29, 1980. H. Ji, Y. Li, "A breakdown-free block
    conjugate gradient method", BIT 57, 2017. Z. Frangella, J. A. Tropp, M. Udell,
    "Randomized Nystrom preconditioning", SIAM J. Matrix Anal. Appl. 44, 2023.
    """

    name = "cg"
    explicit = False
    iterative = True

    def __init__(
        self,
        curvature,
        tolerance=1e-8,
        max_iter=None,
        preconditioner="auto",
        rank=None,
        precision="auto",
    ):
        if precision not in PRECISIONS:
            raise ValueError(
                f"Unknown precision {precision!r}; choose one of {list(PRECISIONS)}."
            )
        super().__init__(curvature)
        self.precision = precision
        self.tolerance = tolerance
        p = curvature.shape[0]
        self.max_iter = max_iter or int(np.clip(10 * p, 100, 1000))
        self._preconditioning = Preconditioning(curvature, preconditioner, rank)
        self.info["preconditioner"] = self._preconditioning.kind

    def handed_on(self):
        """The same solver without its curvature, for `renewed` only."""
        solver = copy.copy(self)
        solver.curvature = None
        solver._preconditioning = self._preconditioning.of(None)
        return solver

    def renewed(self, curvature):
        """The same for a curvature nearby, with the preconditioner of this one."""
        solver = copy.copy(self)
        solver.curvature = curvature
        solver._preconditioning = self._preconditioning.of(curvature)
        solver.damping, solver.null_space = curvature.damping, curvature.null_space
        solver.tolerance, solver._asked = self._asked or self.tolerance, None
        solver.max_residual, solver.info = 0.0, self.info
        return solver

    def _solve(self, B, start=None):
        norm = np.linalg.norm(B, axis=0)
        if start is None:
            basis = _independent(B, norm)
            if basis.shape[1] < B.shape[1]:
                return self._solve_dependent(B, basis)
        X, product, n_iter = self._iterate(B, self.tolerance * norm, start)
        return X, relative(product - B, B), n_iter

    def _solve_dependent(self, B, basis):
        """Solve for an orthonormal basis of the columns of B, and combine."""
        weight = basis.T @ B
        # A column of B adds up r of these residuals.
        r = basis.shape[1]
        goal = np.full(r, self.tolerance / np.sqrt(max(r, 1)))
        X, product, n_iter = self._iterate(basis, goal)
        return X @ weight, relative(product @ weight - B, B), n_iter

    def _iterate(self, B, goal, start=None):
        """(X, H X, n_iter), with residuals measured and restarted on above `goal`."""
        X, product = np.zeros_like(B), 0.0
        if start is not None:
            start = np.reshape(np.asarray(start, dtype=float), B.shape)
            moved = self.curvature @ start
            closer = np.linalg.norm(B - moved, axis=0) < np.linalg.norm(B, axis=0)
            X[:, closer], product = start[:, closer], np.where(closer, moved, 0.0)
        if self.precision == "auto" and self.curvature.single is not None:
            X, product, n_iter, done = self._iterate_roughly(B, goal, X, product)
            if done:
                return X, product, n_iter
        else:
            n_iter = 0
        # What single precision has cost is not to be missed.
        before, limit = np.inf, n_iter + self.max_iter
        sure = self.tolerance >= SURE_TOLERANCE
        for _ in range(MAX_RESTARTS):
            taken = n_iter
            R = B - product
            # Aim a little lower where the residual that counts is measured afterwards.
            aim = goal if sure else 0.5 * goal
            n_iter, _ = self._descend(self.curvature, X, R, aim, n_iter, limit)
            if n_iter == taken:
                break
            if sure and n_iter <= SURE_STEPS:
                return X, B - R, n_iter
            product = self.curvature @ X
            left = np.linalg.norm(B - product, axis=0)
            worst = float(np.max(left / np.where(goal > 0, goal, 1.0)))
            if not 1.0 < worst < 0.5 * before or n_iter >= limit:
                break
            before = worst
        return X, product + np.zeros_like(B), n_iter

    def _iterate_roughly(self, B, goal, X, product):
        """(X, H X, n_iter, done) by products in single precision, as far as they help.

        The residual is measured in double precision whenever it is `DROP` times as
        large, and the last of it that was as small as it was said to be is returned.
        """
        single, n_iter, last = self.curvature.single, 0, None
        sure = self.tolerance >= SURE_TOLERANCE
        while n_iter < self.max_iter:
            R, moved = B - product, X.copy()
            aim = goal if sure else 0.5 * goal
            aim = np.maximum(aim, DROP * np.linalg.norm(R, axis=0))
            taken = n_iter
            try:
                n_iter, last = self._descend(
                    single, moved, R, aim, n_iter, self.max_iter, last
                )
            except SolverError:
                break  # by rounding, maybe
            if n_iter == taken:
                break
            said = np.maximum(aim, 10.0 * single.error(moved))
            if sure and n_iter <= SURE_STEPS and (said <= goal).all():
                return moved, B - R, n_iter, True
            measured = self.curvature @ moved
            left = np.linalg.norm(B - measured, axis=0)
            if (left > LOST * aim).any():
                break
            X, product = moved, measured
            if (left <= goal).all():
                return X, product, n_iter, True
        return X, product, n_iter, False

    def _descend(self, matrix, X, R, goal, n_iter, limit, last=None):
        """Lower the residual of X to `goal`; both are changed in place.

        `last` is None, or the directions that an earlier descent returned last: the
        next ones are conjugate to them, as if the residual had not been set right.
        """
        active = np.flatnonzero(np.linalg.norm(R, axis=0) > goal)
        whole, R = R, R[:, active]
        P, HP, inverse_curve = (None, None, None) if last is None else last
        while len(active) and n_iter < limit:
            if self._preconditioning.widened():
                self.info["preconditioner"] = self._preconditioning.kind
                P = None
            Z = self.precondition(R)
            scale = np.linalg.norm(Z, axis=0)
            if P is not None:
                Z -= P @ inverse_curve(HP.T @ Z)
            P = _independent(Z, scale)
            if not P.shape[1]:
                P = None
                break
            HP = matrix @ P
            n_iter += 1
            self._preconditioning.spent += P.shape[1]
            inverse_curve = self._inverse(P.T @ HP)
            step = inverse_curve(P.T @ R)
            R -= HP @ step
            if len(active) == X.shape[1]:
                X += P @ step
            else:
                X[:, active] += P @ step
            still = np.linalg.norm(R, axis=0) > goal[active]
            if not still.all():
                whole[:, active] = R
                active, R = active[still], R[:, still]
        whole[:, active] = R
        return n_iter, None if P is None else (P, HP, inverse_curve)

    def _inverse(self, curve):
        """The inverse of ``P.T H P`` as a function; refuses what is not positive."""
        values, vectors = np.linalg.eigh(0.5 * (curve + curve.T))
        if not np.all(values > 0):
            if self._may_be_singular():
                raise SolverError(f"The curvature is singular: {COLLINEAR}")
            raise SolverError(
                "CG met a direction of non-positive curvature: use "
                "curvature='gauss_newton', a larger damping, or solver='eigh'."
            )
        return lambda V: vectors @ ((vectors.T @ V) / values[:, None])

    def precondition(self, R):
        """An approximation of ``H^-1 R`` for R (p, m), outside the null space."""
        basis = self.null_space
        Z = self._preconditioning.apply(R)
        if basis is not None:
            return Z - basis @ (basis.T @ Z)
        return Z.copy() if Z is R else Z


def _independent(Z, scale):
    """Well-conditioned basis (p, r) of the columns of Z, without those that depend.

    Parameters
    ----------
    scale : ndarray (m,)
        Size of the columns before what they share with earlier ones was taken out; a
        column that is small against it holds rounding only.
    """
    scale = np.where(scale > 0, scale, 1.0)
    gram = (Z.T @ Z) / scale / scale[:, None]
    values, vectors = np.linalg.eigh(gram)
    if values[0] > CLEAR * values[-1]:
        return Z @ (vectors / scale[:, None] / np.sqrt(values))
    # Ten times as expensive for tall columns, but a direction that the Gram matrix
    # cannot tell from rounding must not be lost: hundreds of steps would follow.
    Q, triangle = np.linalg.qr(Z / scale)
    # The quicker driver of LAPACK does not converge on some graded triangles.
    left, singular, _ = linalg.svd(triangle, full_matrices=False, lapack_driver="gesvd")
    return Q @ left[:, singular > DEPENDENT * max(singular[0], DEPENDENT)]
