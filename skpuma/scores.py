"""phi, psi, leverage and one-step effects of rows, from a factored curvature.

With r the residual and J_j the derivative of row j's raw outputs (``doc/conventions``):

- ``s = H^-1 grad C``: one solve per criterion;
- ``psi_j = r_j . (J_j s)``: one tangent pass over the rows (Blog 7);
- ``sum_j w_j phi_j = H^-1 J.T (w * r)``: one adjoint pass and one solve.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from skpuma import rows
from skpuma.curvature import curvature_of
from skpuma.solvers import Secants, factor
from skpuma.utils.errors import PatchWarning, SolverError

MAX_POLISH = 30
# Random vectors of a sketch, and the residual of solves with it, which is little beside
# what so few of them leave open.
PROBES, PROBE_RESIDUAL = 2, 0.3
# Rows on which they are looked at: a percentile needs no more, and their copy is small.
FEWEST_PROBED, MOST_PROBED, PROBED_SIZE = 200, 2_000, 2**19
# Parameters up to which their solves share products, and all are in memory.
PROBED_AT_ONCE = 20_000
# Residual of solves whose result is an estimate.
LOOSE = 0.1
UNREMOVABLE = 1e-8
# Relative decrement at which a line search fails by rounding, not by the model.
STALLED = 1e-9
# Relative length of a step up to which the curvature of its start is kept.
SAME_FACTOR = 1e-9
# Share of the penalty up to which a group's part of it in H is added by iteration.
SMALL_SHARE = 0.1
MAX_ROUNDS = 30


@dataclass(frozen=True)
class Stationarity:
    """How far a model is from the optimum of the rows it was handed with.

    Attributes
    ----------
    value : float
        ``||H^-1 grad J||`` in units of the 90th percentile of one row's displacement.
    gradient : float
        max |grad J|.
    promised : float or None
        The bound on max |grad J| that the estimator's solver promised.
    """

    value: float
    gradient: float
    promised: float | None

    @property
    def other_rows(self):
        """Whether these cannot be the rows and weights of the fit."""
        return self.promised is not None and self.gradient > self.promised


def stationarity(objective, solver, n_rows=500):
    """Measure `Stationarity` at the objective's theta.

    Parameters
    ----------
    n_rows : int
        Rows sampled for the displacement of one row; fewer where their gradients would
        take more than a few megabytes. Where a solve is iterative, many rows are
        sketched instead, unless they live in blocks.
    """
    gradient = objective.gradient()
    if solver.iterative and not objective.partitioned:
        return _sketched_stationarity(objective, solver, gradient)
    solver = solver.loosened(LOOSE)
    one_row = solver.solve(objective.sample_gradients(n_rows).T).value
    unit = np.percentile(np.linalg.norm(one_row, axis=0), 90)
    step = np.linalg.norm(solver.solve(gradient).value)
    value = float(step / unit) if unit > 0 else (0.0 if step == 0 else np.inf)
    size = float(np.abs(gradient).max())
    return Stationarity(value, size, objective.model.gradient_tolerance())


def _sketched_stationarity(objective, solver, gradient):
    """`Stationarity` by loose solves of a few random vectors, whatever n and p.

    ``E (v . H^-1 g_j)^2 = ||H^-1 g_j||^2`` for v of independent normals, so that one
    solve and one pass over the rows say something about the displacement of every row.
    """
    rough = solver.loosened(PROBE_RESIDUAL)
    rng = np.random.default_rng(0)
    n_rows = PROBED_SIZE // max(objective.X.shape[1], 1)
    part = objective.sample(int(np.clip(n_rows, FEWEST_PROBED, MOST_PROBED)), 0)
    probes = (rng.standard_normal(len(gradient)) for _ in range(PROBES))
    # Sparse rows are not to be outgrown by what is computed from them.
    if rows.is_dense(objective.X) and len(gradient) <= PROBED_AT_ONCE:
        S = rough.solve(np.column_stack([*probes, gradient])).value
        step = np.linalg.norm(S[:, -1])
        square = np.square(psi_matrix(part, S[:, :-1])).sum(axis=1)
    else:
        step, square = np.linalg.norm(rough.solve(gradient).value), 0.0
        for probe in probes:
            S = rough.solve(probe).value[:, None]
            square = square + np.square(psi_matrix(part, S))[:, 0]
    moved = np.sqrt(square / PROBES) * part.weight / part.total_weight
    unit = np.percentile(moved[part.weight > 0], 90)
    value = float(step / unit) if unit > 0 else (0.0 if step == 0 else np.inf)
    size = float(np.abs(gradient).max())
    return Stationarity(value, size, objective.model.gradient_tolerance())


def newton_factor(objective, near=None):
    """The true curvature of Newton steps, damped only if singular."""
    return factor(curvature_of(objective), near=near)


def polish(
    objective,
    make_solver=newton_factor,
    solver=None,
    max_steps=MAX_POLISH,
    tolerance=1e-13,
    keep=0.0,
    mended=False,
):
    """Damped Newton steps to the optimum of a convex objective.

    Parameters
    ----------
    objective : Objective
    make_solver : callable
        (Objective, solver of the step before or None) -> factored, undamped curvature.
    solver : BaseSolver, optional
        Factor at the start, if there is one already; a damped one is not used.
    max_steps : int
    tolerance : float
        Stop when the Newton decrement is below it, relative to |J|.
    keep : float
        A factor is used again where its last step left less than this share of the
        gradient; `solver` is then one of a point nearby. 0 is Newton's method.
    mended : bool
        Whether secants make up for a factor from elsewhere, which is then kept longer.
        Not where the caller needs the factor itself.

    Returns
    -------
    objective : Objective
        At the last parameters that lowered J; the model handed in is not changed.
    solver : BaseSolver or None
        Factor of the last step, where that step was too short to change it, or where
        one of a point nearby will do (`keep`).
    converged : bool
        Whether the decrement fell below the tolerance. An objective without a finite
        optimum (separable classes, no penalty) does not converge.
    """
    value = objective.value()
    if solver is not None and solver.damping > 0:
        solver = None
    start = last = before = moved = seen = None
    secants, fresh = Secants(), keep == 0.0
    for _ in range(max_steps):
        theta, gradient = objective.model.theta, objective.gradient()
        size = np.linalg.norm(gradient)
        if mended and moved is not None:
            secants = secants.added(moved, gradient - seen)
        if solver is None or (before is not None and size > keep * before):
            solver, fresh, secants = make_solver(objective, last), True, Secants()
        before = size
        # A step need not be solved better than Newton converges.
        start = start or size
        forcing = min(LOOSE, np.sqrt(size / max(start, 1e-300)))
        step = secants.step(solver.loosened(forcing), gradient)
        decrement = float(gradient @ step)
        if not decrement > tolerance * max(abs(value), 1e-12):
            # The last step is below what J can resolve, and still worth taking.
            short = np.linalg.norm(step) <= SAME_FACTOR * np.linalg.norm(theta)
            serves = keep > 0.0 or (short and fresh)
            return objective.at(theta - step), solver if serves else None, True
        length, accepted = 1.0, None
        while length > 1e-6:
            trial = objective.at(theta - length * step)
            trial_value = trial.value()
            if trial_value <= value - 1e-4 * length * decrement:
                accepted = trial
                break
            length *= 0.5
        if accepted is None:
            return objective, None, decrement <= STALLED * max(abs(value), 1e-12)
        objective, value, last, fresh = accepted, trial_value, solver.handed_on(), False
        moved, seen = -length * step, gradient
        if keep == 0.0:
            solver = None
    return objective, None, False


def solve_criteria(solver, gradients):
    """``H^-1 grad C`` for every column of `gradients` (p, m).

    Warns
    -----
    PatchWarning
        If a criterion sees a direction that the objective does not (the shift that is
        common to all classes of a softmax): its gradient there is left out.
    """
    basis = solver.null_space
    if basis is not None:
        outside = np.linalg.norm(basis.T @ gradients, axis=0)
        if np.any(outside > 1e-8 * np.linalg.norm(gradients, axis=0)):
            warnings.warn(
                "A criterion changes when all raw outputs shift together, which the "
                "model's own loss does not see; that part of it was left out.",
                PatchWarning,
                stacklevel=2,
            )
    return solver.solve(gradients).value


def psi(model, X, residual, s):
    """psi of rows for one criterion (n,): ``r_j . J_j s`` with ``s = H^-1 grad C``."""
    return model.psi(X, residual, s)


def psi_matrix(objective, S):
    """psi of the objective's rows for every column of S (p, m): shape (n, m).

    For the kinds "mean" and "count" the share of the penalty's gradient is included.
    """
    return objective.map(_psi_matrix, S.shape[1], S)


def _psi_matrix(objective, S):
    model, X, residual = objective.model, objective.X, objective.residual
    n, m = rows.count(X), S.shape[1]
    if m == 1:
        out = psi(model, X, residual, S[:, 0])[:, None]
    else:
        out = np.empty((n, m))
        for block in rows.blocks(n, 16 * m * model.n_outputs):
            forward = model.jvp(rows.take(X, block), S)
            np.einsum("nk,nkm->nm", residual[block], forward, out=out[block])
    rate = objective.penalty_rate
    if rate.any():
        out += np.outer(rate, objective.penalty_share @ S)
    return out


def leverage_blocks(objective, solver):
    """``A_j = J_j H^-1 J_j.T`` (b, k, k) and ``J_j`` (b, k, p), block by block.

    Yields
    ------
    (slice, jacobian, A)
    """
    model = objective.model
    n, k, p = rows.count(objective.X), model.n_outputs, model.n_parameters
    # Products with the inverse are several times faster than solves; it is solved for
    # itself, with refinement, and costs what a few of its columns do on many rows.
    inverse = solver.solve(np.eye(p)).value if n * k > p else None
    for block in rows.blocks(n, 24 * k * p):
        jacobian = model.jacobian(rows.take(objective.X, block))
        flat = jacobian.reshape(-1, p)
        solved = flat @ inverse if n * k > p else solver.solve(flat.T).value.T
        solved = solved.reshape(jacobian.shape)
        yield block, jacobian, solved, np.einsum("nkp,nlp->nkl", jacobian, solved)


def _largest(matrices):
    """Largest eigenvalue (n,) of symmetric matrices (n, k, k)."""
    if matrices.shape[1] == 1:
        return matrices[:, 0, 0]
    return np.linalg.eigvalsh(matrices)[:, -1]


def _solved(matrices, b):
    """``M^-1 b`` (n, k) for matrices (n, k, k) and b (n, k)."""
    if matrices.shape[1] == 1:
        return b / matrices[:, 0]
    return np.linalg.solve(matrices, b[:, :, None])[:, :, 0]


def leverage(objective, solver):
    """Leverage of every row (n,): the largest eigenvalue of ``(w/W) L^1/2 A L^1/2``.

    For one output it is h_j of ordinary least squares and its generalisations; 1 means
    that the fit cannot be followed without the row.
    """
    return objective.map(_leverage, None, solver)


def _leverage(objective, solver):
    model = objective.model
    root = model.loss.hessian_root(objective.raw, objective.y)
    scale = objective.weight / objective.total_weight
    out = np.empty(rows.count(objective.X))
    for block, _, _, A in leverage_blocks(objective, solver):
        B = root[block]
        inner = B.transpose(0, 2, 1) @ A @ B
        out[block] = _largest(inner) * scale[block]
    return out


def self_influence(objective, solver):
    """``g_j.T H^-1 g_j`` of every row (n,): psi with the row's own loss as C."""
    out = np.empty(rows.count(objective.X))
    for block, _, _, A in leverage_blocks(objective, solver):
        r = objective.residual[block]
        out[block] = np.einsum("nk,nkl,nl->n", r, A, r)
    return out


def left_out_raw(objective, solver):
    """Raw outputs of every row (n, k) at one-step parameters of a fit without it.

    ``z_j + (w_j/W) A_j (I - (w_j/W) L_j A_j)^-1 r_j``, the approximate leave-one-out
    of K. Rad & A. Maleki, "A scalable estimate of the out-of-sample prediction error
    via approximate leave-one-out cross-validation", JRSS B 82(4), 2020. A row that
    cannot be removed in one step keeps its output.

    Parameters
    ----------
    objective : Objective
        Of a model that is linear in its parameters, at the optimum.
    solver : BaseSolver
        Explicit.
    """
    _require_explicit(solver)
    model = objective.model
    hessian = model.loss.hessian(objective.raw, objective.y)
    scale = objective.weight / objective.total_weight
    out = objective.raw.copy()
    k, p = model.n_outputs, model.n_parameters
    # Products with the inverse are several times faster than solves, and good enough
    # for a prediction.
    inverse = solver.solve(np.eye(p)).value
    for block in rows.blocks(rows.count(objective.X), 16 * k * p):
        jacobian = model.jacobian(rows.take(objective.X, block))
        spread = (jacobian.reshape(-1, p) @ inverse).reshape(jacobian.shape)
        if k == 1:
            # The same without matrices of one entry.
            A = scale[block] * np.einsum("np,np->n", spread[:, 0], jacobian[:, 0])
            left = 1.0 - hessian[block, 0, 0] * A
            A *= objective.residual[block, 0]
            safe = left > UNREMOVABLE
            out[block, 0] += np.where(safe, A / np.where(safe, left, 1.0), 0.0)
            continue
        A = np.einsum("nkp,nlp->nkl", spread, jacobian)
        w = scale[block][:, None, None]
        bracket = np.eye(k) - w * (hessian[block] @ A)
        removable = np.linalg.det(bracket) > UNREMOVABLE
        bracket[~removable] = np.eye(k)
        moved = _solved(bracket, objective.residual[block])
        step = (w * (A @ moved[:, :, None]))[:, :, 0]
        out[block] += np.where(removable[:, None], step, 0.0)
    return out


def one_step_effects(objective, solver, measures):
    """Change of every criterion when one row goes, at one-step parameters.

    ``theta_j = theta + (w_j/W) H^-1 J_j.T (I - (w_j/W) L_j A_j)^-1 r_j``, exact for a
    squared loss; the criterion is then evaluated again at theta_j.

    Parameters
    ----------
    objective : Objective
    solver : BaseSolver
        Explicit and undamped.
    measures : list of Measure

    Returns
    -------
    effects : ndarray (n, m)
        In the units of C; nan where a row cannot be removed in one step.
    leverage : ndarray (n,)
    """
    _require_explicit(solver)
    found = objective.map(_one_step, len(measures) + 1, solver.detached(), measures)
    return found[:, :-1], found[:, -1]


def _one_step(objective, solver, measures):
    """Effects and, as the last column, leverage (n, m + 1)."""
    model = objective.model
    hessian = model.loss.hessian(objective.raw, objective.y)
    root = model.loss.hessian_root(objective.raw, objective.y)
    scale = objective.weight / objective.total_weight
    k = model.n_outputs
    out = np.empty((rows.count(objective.X), len(measures) + 1))
    effects, h = out[:, :-1], out[:, -1]
    share = 0.0
    if model.kind != "sum":
        share = solver.solve(objective.penalty_share).value
    rate = scale * objective.penalty_rate
    bases = [measure.value(model) for measure in measures]
    movers = [measure.mover(model) for measure in measures]
    for block, _, solved, A in leverage_blocks(objective, solver):
        w = scale[block][:, None, None]
        B = root[block]
        h[block] = _largest(w * (B.transpose(0, 2, 1) @ A @ B))
        removable = h[block] < 1.0 - UNREMOVABLE
        bracket = np.eye(k) - w * (hessian[block] @ A)
        bracket[~removable] = np.eye(k)
        moved = _solved(bracket, objective.residual[block])
        delta = np.einsum("nkp,nk->np", solved, moved) * scale[block][:, None]
        delta = delta + rate[block][:, None] * share
        for c, (base, mover) in enumerate(zip(bases, movers, strict=True)):
            effects[block, c] = mover(delta) - base
        effects[block][scale[block] == 0.0] = 0.0
        effects[block][~removable] = np.nan
    return out


def _require_explicit(solver):
    if not solver.explicit:
        raise SolverError(
            "effect='one_step' needs explicit curvature (solver='cholesky' or 'eigh'); "
            f"the solver here is {solver.name!r}. Use effect='linear'."
        )


# -- groups of rows --------------------------------------------------------------------


def group_effects(objective, solver, measures, members):
    """Change of every criterion when a group of rows goes, at one-step parameters.

    With g_G the sum of the rows' shares in grad J (the penalty's included where it
    follows the weights) and H_G their share in the curvature,
    ``theta_G = theta + (H - H_G)^-1 g_G``: one Newton step on the objective without the
    group, exact for a squared loss. The criterion is then evaluated again at theta_G.
    For a group of one row it is `one_step_effects` (to O(1/n) where the penalty follows
    the weights, whose share in H a single row is not charged with there).

    Parameters
    ----------
    objective : Objective
    solver : BaseSolver
        Explicit and undamped.
    measures : list of Measure
    members : list of ndarray
        Positions of the rows of every group.

    Returns
    -------
    effects : ndarray (G, m)
        In the units of C; nan where a group cannot be removed in one step, or where a
        class would lose its last row of positive weight.
    leverage : ndarray (G,)
        Largest eigenvalue of ``H^-1 H_G``: at 1 the fit cannot do without the group.
    """
    _require_explicit(solver)
    model = objective.model
    effects, h = np.empty((len(members), len(measures))), np.empty(len(members))
    bases = [measure.value(model) for measure in measures]
    movers = [measure.mover(model) for measure in measures]
    n_rows = max(len(measure.y) for measure in measures)
    per_move = 8 * (model.n_parameters + 2 * model.n_outputs * n_rows)
    for block in rows.blocks(len(members), per_move):
        found = [_without_group(objective, solver, one) for one in members[block]]
        h[block] = [leverage for _, leverage in found]
        gone = np.array([step is None for step, _ in found])
        gone |= ~keeps_classes(objective, members[block])
        still = np.zeros(model.n_parameters)
        moves = np.stack([still if step is None else step for step, _ in found])
        for c, (base, mover) in enumerate(zip(bases, movers, strict=True)):
            effects[block, c] = mover(moves) - base
        effects[block][~moves.any(axis=1)] = 0.0
        effects[block][gone] = np.nan
    return effects, h


def keeps_classes(objective, members):
    """Whether every class of the fit keeps a row without each group: bool (G,)."""
    if objective.model.classes is None or objective.y.ndim > 1:
        return np.ones(len(members), dtype=bool)
    y, used, k = objective.y, objective.weight > 0, len(objective.model.classes)
    total = np.bincount(y[used], minlength=k)
    lost = [np.bincount(y[one][used[one]], minlength=k) for one in members]
    return np.array([((total == 0) | (part < total)).all() for part in lost])


def group_leverage(objective, solver, index):
    """Largest eigenvalue of ``H^-1 H_G`` for the rows of a group, by position."""
    factor, _ = _factor_of_rows(objective.subset(index))
    return float(_removal(solver, factor)[1][-1]) if len(factor) else 0.0


def _without_group(objective, solver, index):
    """(step to theta_G, leverage) of a group; None for a step that does not exist."""
    part = objective.subset(index[objective.weight[index] > 0])
    if not len(part.y):
        return np.zeros(objective.model.n_parameters), 0.0
    gradient = part.weighted_gradient(part.weight)
    factor, decay = _factor_of_rows(part)
    moved, values, vectors = _removal(solver, factor)
    h = float(values[-1])
    if not h < 1.0 - UNREMOVABLE:
        return None, h

    def solve(b):
        """(H - F.T F)^-1 b (Woodbury)."""
        ahead = solver.solve(b).value
        inner = (vectors.T @ (factor @ ahead)) / (1.0 - values)
        return ahead + moved @ (vectors @ inner)

    step = solve(gradient)
    # What is left of the penalty's share in H_G is small: a few rounds include it.
    for _ in range(MAX_ROUNDS if decay.any() else 0):
        last, step = step, solve(gradient + decay * step)
        if np.linalg.norm(step - last) <= 1e-13 * np.linalg.norm(step):
            break
    return step, h


def _factor_of_rows(part):
    """F (q, p) and diagonal d (p,) with ``H_G = F.T F + diag(d)``, q at most p."""
    model = part.model
    scale = part.weight / part.total_weight
    lost = scale @ part.penalty_rate
    decay = lost * part.record.l2
    root = model.loss.hessian_root(part.raw, part.y)
    p = model.n_parameters
    if len(scale) * root.shape[2] < p and lost <= SMALL_SHARE:
        root = root * np.sqrt(scale)[:, None, None]
        factor = root.transpose(0, 2, 1) @ model.jacobian(part.X)
        return factor.reshape(-1, p), decay
    hessian = model.loss.hessian(part.raw, part.y) * scale[:, None, None]
    gram = model.hessian_gram(part.X, hessian)
    gram[np.diag_indices(p)] += decay
    values, vectors = np.linalg.eigh(gram)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T, np.zeros(p)


def _removal(solver, factor):
    """``H^-1 F.T`` and the eigenvalues and -vectors of ``F H^-1 F.T``."""
    moved = solver.solve(factor.T).value
    inner = factor @ moved
    values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))
    return moved, values, vectors
