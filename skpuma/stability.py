"""How much the values of rows depend on the damping of the curvature."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from skpuma import scores
from skpuma.curvature import curvature_of
from skpuma.solvers import factor
from skpuma.solvers._auto import choose
from skpuma.solvers._cg import CG
from skpuma.solvers._eigh import Eigh
from skpuma.utils.errors import SolverError

SMALLEST, LARGEST, GRID = 1e-6, 10.0, 15


@dataclass(frozen=True)
class DampingCurve:
    """psi of every row under several dampings, and what that does to the ranking.

    Attributes
    ----------
    damping : ndarray (q,)
        In the unit of H, ascending.
    psi : ndarray (q, n, m)
        psi of every row under every damping, in the units of each criterion.
    rank_correlation : ndarray (q, m)
        Spearman's correlation of the removal effects of the rows with those of the
        reference; nan where all effects are equal.
    overlap : ndarray (q, m)
        Share of the k rows of lowest removal effect that are also among those of the
        reference, in [0, 1]. A random ranking has ``k / n`` on average.
    reference : float
        Damping of the reference.
    reference_psi : ndarray (n, m)
    n_lowest : int
        k.
    mean_eigenvalue : float
        Of the undamped curvature: the unit in which dampings compare between models.
    """

    damping: np.ndarray
    psi: np.ndarray
    rank_correlation: np.ndarray
    overlap: np.ndarray
    reference: float
    reference_psi: np.ndarray
    n_lowest: int
    mean_eigenvalue: float


def damping_curve(
    objective,
    gradients,
    dampings=None,
    *,
    reference="auto",
    n_lowest=None,
    curvature="auto",
    solver="auto",
):
    """psi under several dampings, compared with psi under a reference damping.

    A curvature that is formed is decomposed once for all dampings. Conjugate gradients
    start at the solution of the next larger damping. Other solvers are factored again
    for every damping.

    Parameters
    ----------
    objective : Objective
        At an optimum, or as near as the model has one.
    gradients : ndarray (p, m)
        Gradient of every criterion in the parameters.
    dampings : array-like (q,), optional
        Not negative, in the unit of H. By default 15, from 1e-6 to 10 times the mean
        eigenvalue.
    reference : "auto" or float
        Damping of the reference; "auto" is that of `skpuma.solvers.factor`.
    n_lowest : int, optional
        k, the rows of lowest removal effect that are compared. Default: a tenth of the
        rows that have a weight.
    curvature : {"auto", "hessian", "gauss_newton", "fisher"}
    solver : str or class
        As in `skpuma.solvers.factor`; where that is "cholesky" or "eigh", the curve
        takes one decomposition.

    Returns
    -------
    DampingCurve

    Notes
    -----
    psi is a function of the damping alone here: the parameters, and with them the
    gradients of the rows and of the criteria, stay those of the objective. Memory is
    that of ``psi``, q times n times m numbers.

    Raises
    ------
    SolverError
        If the curvature cannot be inverted under one of the dampings.
    ValueError
        If a damping is negative or not finite, or n_lowest is out of range.
    """
    matrix = curvature_of(objective, curvature)
    mean = matrix.mean_eigenvalue()
    dampings = _checked(dampings, mean)
    used = np.flatnonzero(objective.weight > 0)
    if n_lowest is None:
        n_lowest = max(len(used) // 10, 1)
    if not 1 <= n_lowest <= len(used):
        raise ValueError(
            f"n_lowest must be between 1 and the {len(used)} rows that have a weight, "
            f"got {n_lowest!r}."
        )
    gradients = np.reshape(np.asarray(gradients, dtype=float), (matrix.shape[0], -1))
    at_reference = factor(matrix, solver, reference)
    S = scores.solve_criteria(at_reference, gradients)
    reference_psi = scores.psi_matrix(objective, S)
    solutions = _solutions(matrix, gradients, dampings, solver)
    q, m = len(dampings), gradients.shape[1]
    flat = solutions.transpose(1, 0, 2).reshape(-1, q * m)
    psi = scores.psi_matrix(objective, flat).reshape(-1, q, m).transpose(1, 0, 2)
    weight = objective.weight[used, None]
    ranked = Ranking(weight * reference_psi[used], n_lowest)
    compared = [ranked.compare(weight * one[used]) for one in psi]
    return DampingCurve(
        damping=dampings,
        psi=psi,
        rank_correlation=np.array([correlation for correlation, _ in compared]),
        overlap=np.array([overlap for _, overlap in compared]),
        reference=at_reference.damping,
        reference_psi=reference_psi,
        n_lowest=int(n_lowest),
        mean_eigenvalue=mean,
    )


class Ranking:
    """Rankings of rows (n, m), by column, that others are compared with."""

    def __init__(self, effect, n_lowest):
        self.ranks = _centred_ranks(effect)
        self.n_lowest = n_lowest
        self.lowest = _lowest(effect, n_lowest)

    def compare(self, effect):
        """(Spearman's correlation (m,), overlap of the lowest rows (m,))."""
        ranks = _centred_ranks(effect)
        size = np.linalg.norm(ranks, axis=0) * np.linalg.norm(self.ranks, axis=0)
        inner = np.einsum("nm,nm->m", ranks, self.ranks)
        correlation = np.full(len(size), np.nan)
        np.divide(inner, size, out=correlation, where=size > 0)
        both = self.lowest & _lowest(effect, self.n_lowest)
        return np.clip(correlation, -1.0, 1.0), both.sum(axis=0) / self.n_lowest


def _centred_ranks(effect):
    ranks = rankdata(effect, axis=0)
    return ranks - ranks.mean(axis=0)


def _lowest(effect, k):
    """Mask (n, m) of the k lowest rows of every column; ties in the order of rows."""
    mask = np.zeros(effect.shape, dtype=bool)
    order = np.argsort(effect, axis=0, kind="stable")[:k]
    np.put_along_axis(mask, order, True, axis=0)
    return mask


def _checked(dampings, mean):
    if dampings is None:
        if not mean > 0:
            raise SolverError(
                "The curvature is 0, so that there is no scale for a grid of dampings; "
                "pass dampings=."
            )
        return mean * np.geomspace(SMALLEST, LARGEST, GRID)
    dampings = np.atleast_1d(np.asarray(dampings, dtype=float))
    if dampings.ndim != 1 or not len(dampings):
        raise ValueError("dampings must be a sequence of at least one number.")
    if not (np.isfinite(dampings).all() and (dampings >= 0).all()):
        raise ValueError(f"dampings must be finite and >= 0, got {dampings.tolist()}.")
    return np.unique(dampings)


def _solutions(matrix, gradients, dampings, solver):
    """``(H + damping I)^-1 grad C`` for every damping: (q, p, m)."""
    out = np.empty((len(dampings), *gradients.shape))
    decomposed = start = None
    if _explicit(matrix.with_damping(dampings[-1]), solver) and dampings[-1] > 0:
        decomposed = Eigh(matrix.with_damping(dampings[-1]))
    # From the largest damping, whose system is the easiest, to the smallest.
    for index in range(len(dampings) - 1, -1, -1):
        damping = dampings[index]
        if decomposed is not None and damping > 0:
            shifted = decomposed.shifted(damping - decomposed.damping)
            out[index] = shifted.solve(gradients).value
            continue
        factored = factor(matrix, solver, damping)
        if factored.null_space is not None:
            out[index] = scores.solve_criteria(factored, gradients)
            continue
        options = {"start": start} if isinstance(factored, CG) else {}
        start = out[index] = factored.solve(gradients, **options).value
    return out


def _explicit(damped, solver):
    """Whether the matrix is formed anyway."""
    name = choose(damped) if isinstance(solver, str) and solver == "auto" else solver
    return isinstance(name, str) and name in ("cholesky", "eigh")
