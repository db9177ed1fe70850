"""Optima of a linear model without some of its rows, from one factored Hessian.

Everything here is in *whitened* parameters ``C.T theta``, where ``C C.T`` is the
Hessian of J at a *centre*: the Hessian there is the identity, its diagonal the scale of
everything, and one row changes it by its leverage.
"""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import linalg

from skpuma import kernels, rows
from skpuma.curvature import curvature_of
from skpuma.losses import BinaryLogLoss, MultinomialLogLoss, TweedieLoss
from skpuma.losses._per_output import PerOutputLoss
from skpuma.solvers._cholesky import Cholesky

# Leverage, and share of the penalty, that one request may take off a factor.
LARGEST_LEVERAGE = 1.0 - 1e-4
LARGEST_SHARE = 0.5
# A new inverse is taken after as many requests as parameters, but not before this many,
# or when this share of the curvature or of the penalty has gone.
FEWEST = 64
WORN = 0.5
LOST = 0.05
# Rounding errors, in units of the machine precision and of the terms of a sum.
ROUNDING = 8.0 * np.finfo(float).eps


def concordance(loss):
    """M with ``|D3 l[v, u, u]| <= M |v| D2 l[u, u]`` for all z, u, v; None if unknown.

    |v| is the largest change of an output, and for a softmax of a difference of two:
    the third moment ``E (v - Ev)(u - Eu)^2`` is at most ``(max v - min v) Var(u)``.
    """
    if isinstance(loss, PerOutputLoss):
        return concordance(loss.base)
    if loss.constant_hessian:
        return 0.0
    if isinstance(loss, (BinaryLogLoss, MultinomialLogLoss)):
        return 1.0
    if isinstance(loss, TweedieLoss):
        return max(2.0 - loss.power, loss.power - 1.0)
    return None


@dataclass(frozen=True)
class Centre:
    """Where an objective was factored.

    Attributes
    ----------
    theta : ndarray (p,)
    factor : ndarray (p, p)
        C, lower triangular.
    reach : float
        The longest whitened row times M: what a whitened step of length 1 changes the
        logarithm of a row's curvature by, at most.
    stretch : float
        Largest length of a step whose whitened length is 1.
    rounding : float
        How far off the whitened gradient can be.
    condition : float
        Of the matrix with a diagonal of ones.
    penalty : ndarray (p, p), or (0, 0) for the kind "sum"
        Whitened ridge, at the scale of the fit.
    """

    theta: np.ndarray
    factor: np.ndarray
    reach: float
    stretch: float
    rounding: float
    condition: float
    penalty: np.ndarray

    @classmethod
    def at(cls, objective):
        """The centre, and the whitened gradient there.

        Raises
        ------
        SolverError
            If the Hessian is singular.
        """
        matrix = Cholesky(curvature_of(objective)).matrix
        size = np.sqrt(np.diagonal(matrix))
        scaled = linalg.cholesky(matrix / size / size[:, None], lower=True)
        norm = linalg.norm(matrix / size / size[:, None], 1)
        inverse_condition, _ = linalg.lapack.dpocon(scaled, norm, uplo="L")
        factor = scaled * size[:, None]
        p = len(size)
        whitener = linalg.solve_triangular(factor, np.eye(p), lower=True)
        model = objective.model
        M = concordance(model.loss)
        length = longest_row(model, objective.X, whitener)
        terms = length * float(objective.weight @ _terms(objective))
        terms = terms / objective.total_weight
        share = np.linalg.norm(whitener @ objective.penalty_share)
        penalty = np.zeros((0, 0))
        if model.kind != "sum":
            penalty = (whitener * objective.record.l2) @ whitener.T
        centre = cls(
            theta=model.theta,
            factor=factor,
            reach=M * length,
            stretch=float(np.linalg.norm(whitener, 2)),
            rounding=float(ROUNDING * (terms + share)),
            condition=float(1.0 / inverse_condition),
            penalty=penalty,
        )
        return centre, whitener @ objective.gradient()

    def whitened(self, objective):
        """What rows take off the Hessian, the gradient and the penalty's scale.

        Parameters
        ----------
        objective : Objective
            Of these rows, at the centre.

        Returns
        -------
        A : ndarray (m, k, p)
            ``A_j.T A_j`` goes off the Hessian.
        g : ndarray (m, p)
        lost : ndarray (m,)
        """
        model, weight = objective.model, objective.weight / objective.total_weight
        root = model.loss.hessian_root(objective.raw, objective.y)
        root = np.sqrt(weight)[:, None, None] * root.transpose(0, 2, 1)
        A = root @ model.jacobian(objective.X)
        m, k, p = A.shape
        g = objective.row_gradients(np.arange(m))
        both = np.concatenate([A.reshape(m * k, p), g])
        both = linalg.solve_triangular(self.factor, both.T, lower=True)
        both = np.ascontiguousarray(both.T)
        A = both[: m * k].reshape(m, k, p)
        return A, both[m * k :], weight * objective.penalty_rate

    def moved(self, steps):
        """Parameters (..., p) after whitened steps."""
        back = linalg.solve_triangular(
            self.factor, np.atleast_2d(steps).T, lower=True, trans="T"
        )
        return self.theta + back.T.reshape(np.shape(steps))

    def distances(self, steps, squares, floors):
        """Bounds on the distance of the optimum, relative to the parameters (m,).

        Parameters
        ----------
        steps : ndarray (m, p)
            Whitened Newton steps from the centre.
        squares : ndarray (m,)
            ``s.T H s``, H being the Hessian at the centre over the rows that are left.
        floors : ndarray (m,)
            Lower bounds on the smallest eigenvalue of H.
        """
        p = len(self.theta)
        length = np.linalg.norm(steps, axis=1)
        with np.errstate(all="ignore"):
            bend = self.reach * length
            missed = _excess(bend) * np.sqrt(np.maximum(squares, 0.0))
            rounding = self.rounding + ROUNDING * p * self.condition * length
            missed = missed + rounding / np.sqrt(floors)
            grown = np.exp(bend) * missed
            spread = self.reach / np.sqrt(floors)
            # The limit for a squared loss is `grown` itself.
            small = spread * grown < 1e-8
            far = -np.log1p(-spread * grown) / spread
            distance = np.where(small, grown * (1.0 + 1e-7), far)
            distance = distance * self.stretch / np.sqrt(floors)
            relative = distance / np.linalg.norm(self.moved(steps), axis=1)
        return np.where(np.isnan(relative), np.inf, relative)


def _terms(objective):
    """What the residual of every row is the difference of, in size (n,)."""
    loss = objective.model.loss
    bend = np.einsum("nkk->nk", loss.hessian(objective.raw, objective.y))
    parts = np.abs(objective.residual) + bend * (2.0 + np.abs(objective.raw))
    # A probability that is close to 1 is off by the rounding of 1.
    return (parts + float(loss.task != "regression")).sum(axis=1)


def _excess(t):
    """``(exp(t) - 1) / t - 1``."""
    small = t < 1e-5
    safe = np.where(small, 1.0, t)
    return np.where(small, 0.5 * t + t * t / 5.0, np.expm1(safe) / safe - 1.0)


def longest_row(model, X, whitener):
    """The largest length of a whitened row, as `concordance` measures a change.

    Of any output; for a softmax also of the difference of any two.
    """
    coef, intercept = model.split(whitener.T)
    stacked = np.concatenate([coef, intercept[:, None, :]], axis=1)
    forms = list(stacked)
    if isinstance(model.loss, MultinomialLogLoss):
        forms += [stacked[a] - stacked[b] for a, b in combinations(range(len(coef)), 2)]
    d, longest = coef.shape[1], 0.0
    for form in forms:
        if form.shape[1] > d + 1:
            form = linalg.qr(form.T, mode="economic", pivoting=False)[1].T
        for block in rows.blocks(rows.count(X), 8 * form.shape[1], 2**20):
            whitened = rows.product(rows.take(X, block), form[:d]) + form[d]
            longest = max(longest, np.einsum("ij,ij->i", whitened, whitened).max())
    return float(np.sqrt(longest))


@dataclass(frozen=True)
class Removal:
    """A model without the rows that were taken off it since its centre.

    Attributes
    ----------
    centre : Centre
    matrix : ndarray (p, p)
        Hessian at the centre over the rows that are left, without what is `lost`.
    gradient : ndarray (p,)
        Gradient there.
    inverse : ndarray (p, p)
        Of `matrix`.
    floor : float
        Lower bound on the smallest eigenvalue of `matrix`.
    worn : float
        Share of the curvature that has gone since the inverse was taken.
    lost : float
        Share of the penalty that has gone since.
    since : int
        Requests since.
    scale : float
        Of the penalty, with what is `lost`.
    step : ndarray (p,)
        Whitened step to the model.
    distance : float
        Bound on its distance from the optimum, relative to the parameters.
    """

    centre: Centre
    matrix: np.ndarray
    gradient: np.ndarray
    inverse: np.ndarray
    floor: float
    worn: float
    lost: float
    since: int
    scale: float
    step: np.ndarray
    distance: float

    @classmethod
    def at(cls, objective):
        """Factor an objective at its parameters, and take one Newton step."""
        centre, gradient = Centre.at(objective)
        unit = np.eye(len(gradient))
        square = np.array([gradient @ gradient])
        distance = centre.distances(-gradient[None], square, np.ones(1))[0]
        return cls(
            centre=centre,
            matrix=unit,
            gradient=gradient,
            inverse=unit.copy(),
            floor=1.0,
            worn=0.0,
            lost=0.0,
            since=0,
            scale=objective.penalty_scale,
            step=-gradient,
            distance=float(distance),
        )

    @property
    def theta(self):
        """Parameters (p,)."""
        return self.centre.moved(self.step)

    @property
    def near(self):
        """Whether a Newton step from here converges for certain."""
        return self.centre.reach * np.linalg.norm(self.step) < 0.5

    def refreshed(self):
        """The same with a new inverse, if the old one is worn."""
        few = self.since < max(FEWEST, len(self.gradient))
        if few and self.worn < WORN and self.lost < LOST * self.scale:
            return self
        matrix = self.matrix
        if self.lost:
            matrix = matrix - self.lost * self.centre.penalty
        inverse = linalg.cho_solve(
            (linalg.cholesky(matrix), False), np.eye(len(matrix))
        )
        floor = linalg.eigvalsh(matrix, subset_by_index=[0, 0])[0]
        kept = {"matrix": matrix, "inverse": inverse, "floor": float(floor)}
        return replace(self, **kept, worn=0.0, lost=0.0, since=0)

    @property
    def room(self):
        """Requests until the inverse is worn."""
        return max(max(FEWEST, len(self.gradient)) - self.since, 1)

    def without(self, objective, limit):
        """Take rows off, one after the other, until a bound exceeds the limit.

        Parameters
        ----------
        objective : Objective
            Of these rows, at the centre.
        limit : float
            On `distance`; the row that exceeds it is taken off.

        Returns
        -------
        removal : Removal
        steps : ndarray (done, p)
            Whitened steps to the model after every row.
        distances : ndarray (done,)
            Fewer than there are rows also where one cannot be taken off like this, as
            little or nothing would be left of the curvature in some direction.
        """
        A, g, lost = self.centre.whitened(objective)
        total = self.lost + np.cumsum(lost)
        gradient = self.gradient - np.cumsum(g, axis=0)
        small = total <= LARGEST_SHARE * (self.scale + self.lost)
        m = len(g) if small.all() else int(np.argmin(small))
        while True:
            found = self._solutions(A[:m], gradient[:m], total[:m])
            steps, floors, distances, inverse = found
            # Of the requests up to the first that exceeds the limit.
            over = np.flatnonzero(distances > limit)
            done = int(over[0]) + 1 if len(over) else len(steps)
            if done == m:
                break
            m = done
        if not m:
            return self, steps, distances
        flat = A[:m].reshape(m * A.shape[1], -1)
        removal = replace(
            self,
            matrix=self.matrix - flat.T @ flat,
            gradient=gradient[m - 1],
            inverse=inverse,
            floor=float(floors[-1]),
            worn=1.0 - (1.0 - self.worn) * float(floors[-1]) / self.floor,
            lost=float(total[m - 1]),
            since=self.since + m,
            scale=self.scale - float(lost[:m].sum()),
            step=steps[-1],
            distance=float(distances[-1]),
        )
        return removal, steps, distances

    def _solutions(self, A, gradient, lost):
        """Newton steps, floors, distances until the first that fails; the inverse.

        The inverse is that after all rows of A, if none fails.
        """
        p, inverse = len(self.gradient), self.inverse.copy()
        penalty = self.centre.penalty
        found = kernels.downdates(A, gradient, lost, penalty, LARGEST_LEVERAGE, inverse)
        found = found[~np.isnan(found[:, p])]
        steps, floors = -found[:, :p], self.floor * found[:, p + 1]
        share = lost[: len(found)] / (self.scale + self.lost)
        distances = self.centre.distances(steps, found[:, p], floors * (1.0 - share))
        return steps, floors, distances, inverse
