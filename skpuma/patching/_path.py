"""Walking the path: directions, steps, corrections, and where it ends."""

from dataclasses import dataclass, replace

import numpy as np

from skpuma import reweighting, scores
from skpuma._dask_rows import known
from skpuma.curvature import GaussNewton, curvature_of
from skpuma.patching._forgetting import forgotten
from skpuma.patching._records import Beginning, PatchResult, State
from skpuma.patching._segment import Segment
from skpuma.solvers import WOODBURY_LIMIT, Secants, factor
from skpuma.utils.errors import SolverError

MAX_STEPS = 500
# Multiplications of a matrix (a twentieth of a second) beyond which a path takes
# products with it, for its few right-hand sides, if those have a good preconditioner.
DEAR_MATRIX = 1e9
# What a good Newton step leaves of the gradient; an iterative solver is kept then.
CONTRACTION = 0.2
# Steps with a fresh factor, and the logarithm of what they shrink the gradient by.
FRESH_STEPS, SHRUNK = 5, 12.0
# Size of a step behind which there is nothing, relative to theta, with direct and
# iterative solvers.
LAST_STEP = {False: 1e-10, True: 1e-6}
# The same relative to the way from the start of the path, where a point is only tried,
# or where an iterative solver was not asked for, whose steps cost as much as those of a
# refit: what is left is less by FORCING.
ENOUGH = 5e-3
# Newton decrement of the start of a path, relative to J, with direct and iterative
# solvers.
START_DECREMENT = {False: 1e-13, True: 1e-5}
# Relative residual of the solve of such a step, where it is iterative.
FORCING = 0.05
# The same of the direction where a correction follows, or where the curvature is that
# of a sample of the rows, and of psi of the rows that may be re-weighted.
DIRECTION_RESIDUAL, SAMPLED_RESIDUAL, PSI_RESIDUAL = 5e-2, 1e-3, 1e-2
BISECTIONS = 14
# Share of a delta that may be left unused where it ends a path.
CLOSE = 1e-3
GOLDEN_STEPS = 8
PATIENCE = 3
# Rows of the curvature sample of networks with fewer parameters than that, with one
# output and with several. With 500 rows for one, patched calibration on two moons was
# twice as far from its goal on the worst of ten seeds.
LARGE_NETWORK, NETWORK_ROWS = 5000, {False: 1000, True: 500}
BEND_LIMIT = 0.1
KINK = 0.7
STALL = 1e-3
# One for all moves, as paths that share their steps know objects by identity.
NOTHING_SEEN = Secants()


@dataclass
class Move:
    """What a step sets out with.

    Attributes
    ----------
    state : State
    direction : ndarray (p,)
        ``d theta / d s``.
    lam : ndarray (n,)
        Compensating weights per unit of s.
    solver : BaseSolver
        A curvature for corrections: that of the direction, until one of a later point
        takes its place.
    secants : Secants
        What corrections in this curvature have shown of it.
    """

    state: State
    direction: np.ndarray
    lam: np.ndarray
    solver: object
    secants: Secants = NOTHING_SEEN


class Path:
    """One walk. Build it and call `walk`.

    Parameters
    ----------
    objective : Objective
        At the user's parameters and the weights before the patch.
    marks : Marks
    measures : list of Measure
        The protected criteria.
    settings : Settings
    target : Measure, optional
        The criterion whose minimum ends the path.
    corrects : bool
        Whether a convex model may be taken to the optimum of its weights. Not after a
        patch beyond s = 1, whose parameters are no optimum of any weights.
    """

    def __init__(
        self, objective, marks, measures, settings, target=None, corrects=True
    ):
        self.objective = objective
        self.marks = marks
        self.measures = measures
        self.settings = settings
        self.target = target
        self.model = objective.model
        self.at_optimum = self.model.convex and corrects
        self.corrects = self.at_optimum and settings.steps != 1
        self.converged = True
        # Where the way of corrections begins: the optimum, once that is known.
        self.origin = self.model.theta
        self._near, self._first = None, (None, None)
        self._begun = None
        self.start = self._begin()
        if not np.all(np.isfinite(self.start.values)):
            raise ValueError(
                "A criterion is not finite at the model that is to be patched: "
                f"{dict(zip(self.names, self.start.values, strict=True))}."
            )

    @property
    def names(self):
        """Names of the protected criteria."""
        return [measure.name for measure in self.measures]

    # -- points ------------------------------------------------------------------------

    def _factor(self, s, lam):
        """Signed weights relative to those before the patch (n,)."""
        marks = self.marks
        return np.where(marks.removed, 1.0 - s, 1.0 + lam + s * marks.extra)

    def _weighted(self, s, lam, theta):
        """The objective under w+(s)."""
        weight = self.objective.weight * np.maximum(self._factor(s, lam), 0.0)
        return self.objective.at(theta).reweighted(weight)

    def _at(self, state):
        """The objective at a point and under its weights."""
        return self._weighted(state.s, state.lam, state.theta)

    def _begin(self):
        """The point before the patch."""
        return self._observe(0.0, self.model.theta, self.marks.at_rest)

    def _observe(self, s, theta, lam, step=0.0, tried=False):
        """Measure everything that ends a path."""
        model = self.model.at(theta)
        with np.errstate(all="ignore"):
            values = np.array([measure.value(model) for measure in self.measures])
            target = None if self.target is None else self.target.value(model)
        forgetting = None
        # In blocks it takes a pass of its own, for those who ask.
        asked = self.settings.forget_at is not None or not self.objective.partitioned
        if asked and known(self.marks.removed.any()):
            forgetting = forgotten(self.objective, self.marks.removed, theta)
        return State(s, theta, lam, values, target, forgetting, step, tried)

    def _violated(self, state):
        """Index of the criterion that is furthest beyond its delta, or None."""
        excess = self._excess(state)
        if state.target is not None and not np.isfinite(state.target):
            return -1
        if not np.all(np.isfinite(state.theta)):
            return -1
        bad = ~(excess <= 0.0)
        if not bad.any():
            return None
        return int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))

    def _excess(self, state):
        """How far every criterion is beyond its delta (m,); negative is kept."""
        change = state.values - self.start.values
        if self.settings.side == "both":
            change = np.abs(change)
        return change - self.settings.delta

    def _forgotten(self, state):
        goal = self.settings.forget_at
        if goal is None or state.forgetting is None:
            return False
        if self.model.loss.classification:
            return state.forgetting <= goal
        return state.forgetting >= goal

    # -- directions --------------------------------------------------------------------

    def first_solver(self):
        """The curvature at the user's parameters and the weights before the patch.

        What comes first on the path, polishing or a direction, takes it.
        """
        if self._begun is None:
            solver = self._solver_at(self.objective)
        else:
            curvature = self._curvature(self.objective)
            solver = self._begun.solver.attached(curvature)
        self._first = self.model.theta, solver
        return solver

    def beginning(self):
        """What all patches of these rows and weights begin with.

        Returns
        -------
        Beginning or None
            To be stored, and taken up by this path or another one. None where the
            solver needs the rows.
        """
        solver = self.first_solver().detached()
        if solver is None:
            self._near = None
            return None
        if not (self.corrects and self.settings.polish):
            return Beginning(solver)
        theta = self._polished()
        near = self._first[1]
        near = None if near is None else near.detached()
        return Beginning(solver, theta, near, self.converged)

    def take_up(self, begun):
        """Begin with what `beginning` has given."""
        self._begun = begun

    def _curvature(self, objective):
        return curvature_of(self.curvature_part(objective), self.settings.curvature)

    def _solver_at(self, objective):
        """The curvature of directions, factored; the first is kept for its parts."""
        settings = self.settings
        curvature = self._curvature(objective)
        near = self._near if settings.damping in ("auto", 0.0) else None
        return self._kept(
            factor(curvature, settings.solver, settings.damping, near, DEAR_MATRIX)
        )

    def _kept(self, solver):
        if self._near is None and solver.iterative and solver.damping == 0.0:
            self._near = solver.handed_on()
        return solver

    def curvature_part(self, objective):
        """The rows that the curvature is taken over, scaled to the whole weight."""
        size = self.settings.curvature_rows
        if size is None:
            return objective
        part = objective.sample(size, self.settings.seed)
        if part is objective:
            return objective
        total = known(np.maximum(objective.weight, 0.0).sum())
        share = total / part.weight.sum()
        # W is the divisor; scaling the weights keeps the sum over rows, not the mean.
        return part.reweighted(part.weight * share)

    def _direction(self, state):
        """``(d theta / d s, lambda, solver)`` at a point of the path."""
        objective = self._at(state)
        (theta, solver), self._first = self._first, (None, None)
        if theta is not state.theta:
            solver = None  # one factor at a time is enough
            solver = self._solver_at(objective)
        lam = self._compensation(objective, solver)
        base, marks = self.objective.weight, self.marks
        rate = np.where(marks.removed, base, -(lam + marks.extra) * base)
        right = objective.weighted_gradient(rate, self.objective.penalty_rate)
        # Corrections make up for what a loose solve leaves out.
        if self.corrects:
            loose = solver.loosened(DIRECTION_RESIDUAL)
        elif self.curvature_part(objective) is not objective:
            loose = solver.loosened(SAMPLED_RESIDUAL)
        else:
            loose = solver
        return loose.solve(right).value, lam, solver

    def _compensation(self, objective, solver):
        settings, marks = self.settings, self.marks
        lam = marks.at_rest
        bound = np.isfinite(settings.delta)
        moving = marks.removed | (marks.extra > 0)
        if not (settings.reweight and bound.any() and marks.candidates.any()):
            return lam
        gradients = [
            self.measures[c].gradient(objective.model) for c in np.flatnonzero(bound)
        ]
        loose = solver.loosened(PSI_RESIDUAL)
        S = scores.solve_criteria(loose, np.stack(gradients, axis=1))
        used = np.flatnonzero(marks.candidates | moving)
        psi = scores.psi_matrix(objective.subset(used), S)
        weight = self.objective.weight
        sign = np.where(marks.removed, 1.0, -marks.extra)[used] * weight[used]
        chosen = marks.candidates[used]
        lam[used[chosen]] = reweighting.solve(
            psi[chosen],
            weight[used][chosen],
            sign @ psi,
            settings.delta[bound],
            side=settings.side,
            alpha=settings.alpha,
            l1_ratio=settings.l1_ratio,
            max_weight=settings.max_weight,
        )
        return lam

    def _step_length(self, state, direction):
        """Largest h with ``h^2/2 d.T G d <= trust``: the KL that the outputs move."""
        if not np.any(direction):
            return np.inf
        moved, spread, weight = self._at(state).total(_speed, direction)
        # Weighted in `_speed`, so that blocks add up to the mean over all rows.
        speed = moved / (spread / weight)
        return np.sqrt(2.0 * self.settings.trust / speed) if speed > 0 else np.inf

    def _advance(self, move, h, near=None, tried=True):
        """The point after a step of length h, corrected where the model allows it.

        Corrections start at `near`, if that is given.
        """
        s = move.state.s + h
        theta = move.state.theta + h * move.direction if near is None else near
        total = move.state.lam + h * move.lam
        corrected = self.corrects and s <= 1.0 + 1e-12
        if corrected and np.all(np.isfinite(theta)):
            try:
                theta = self._correct(s, total, theta, move, tried)
            except SolverError:
                # The last curvature was singular.
                move.solver = None
                move.solver = self._solver_at(self._at(move.state))
                theta = np.full_like(theta, np.nan)
        return self._observe(s, theta, total, h, corrected and tried)

    def _correct(self, s, lam, theta, move, tried):
        """The optimum of the weights at s, by Newton steps from a predicted point.

        A factor is kept as long as it contracts quickly. A point that is only `tried`
        is not corrected to the last digit.
        """
        objective = self._weighted(s, lam, theta)
        gradient = objective.gradient()
        fresh = False
        floor = 1e-15 * max(np.abs(objective.l2 * theta).max(initial=0.0), 1e-12)
        size = LAST_STEP[move.solver.iterative] * max(np.linalg.norm(theta), 1e-8)
        enough = 0.0 if self._exact(move.solver, tried) else ENOUGH
        for _ in range(60):
            step = move.secants.step(move.solver.loosened(FORCING), gradient)
            length = np.linalg.norm(step)
            way = np.linalg.norm(objective.model.theta - self.origin)
            trial = objective.at(objective.model.theta - step)
            trial_gradient = trial.gradient()
            ratio = np.linalg.norm(trial_gradient) / max(
                np.linalg.norm(gradient), 1e-300
            )
            if length <= size or np.abs(gradient).max() <= floor:
                return (trial if ratio < 1.0 else objective).model.theta
            # In a curvature from elsewhere a step may be short before its time.
            if length <= enough * way and ratio < CONTRACTION:
                return trial.model.theta
            move.secants = move.secants.added(-step, trial_gradient - gradient)
            if ratio < 1.0:
                objective, gradient, fresh = trial, trial_gradient, False
                if ratio < self._keeping(move.solver):
                    continue
            elif fresh:
                return self._globalised(objective)
            near, move.solver = move.solver.handed_on(), None
            move.solver, fresh = self._undamped(objective, near), True
            move.secants = NOTHING_SEEN
        return self._globalised(objective)

    def _exact(self, solver, tried):
        """Whether corrections go on to the last digit."""
        return not (tried or (solver.iterative and self.settings.solver == "auto"))

    def _keeping(self, solver):
        """The share of a gradient that Newton steps may leave before a new factor pays.

        A factor takes as long as so many gradients (which are at the limit of memory
        with few outputs), and then few steps.
        """
        if solver.iterative:
            return CONTRACTION
        k = self.model.n_outputs
        gradients = self.model.n_parameters * (k + 1) / (8.0 * max(k, 10))
        return float(np.exp(-SHRUNK / (gradients + FRESH_STEPS)))

    def _globalised(self, objective):
        """Newton with a line search, for a start far from the optimum."""
        polished, _, converged = scores.polish(objective, self._undamped, max_steps=100)
        self.converged = self.converged and converged
        return polished.model.theta

    def _undamped(self, objective, near=None):
        """The true curvature for Newton steps, whatever the direction is taken in."""
        near = self._near if near is None else near
        return self._kept(
            factor(
                curvature_of(objective),
                self.settings.solver,
                near=near,
                most_work=DEAR_MATRIX,
            )
        )

    def _polished(self):
        """The optimum of the weights before the patch.

        Its last factor is near enough for the first direction, which a correction
        follows.
        """
        (_, solver), self._first = self._first, (None, None)
        settings = self.settings
        if self._begun is not None:
            return self._polished_before(self._begun)
        newton = settings.curvature != "fisher" and settings.damping in ("auto", 0.0)
        if solver is None or not newton or solver.damping > 0.0:
            solver = None  # one factor at a time is enough
            solver = self._undamped(self.objective)
        iterative = solver.iterative
        keep = 0.0 if iterative else self._keeping(solver)
        # Handed over, not kept, for the same reason.
        held = [solver]
        del solver
        polished, near, self.converged = scores.polish(
            self.objective,
            self._undamped,
            held.pop(),
            tolerance=START_DECREMENT[iterative],
            keep=keep,
            mended=keep > 0.0,
        )
        if newton and near is not None and near.damping == 0.0:
            self._first = polished.model.theta, near
        return polished.model.theta

    def _polished_before(self, begun):
        self.converged = begun.converged
        if begun.near is not None:
            curvature = curvature_of(self.objective.at(begun.theta))
            self._first = begun.theta, begun.near.attached(curvature)
        return begun.theta

    # -- walking -----------------------------------------------------------------------

    def walk(self):
        """Walk the path.

        Returns
        -------
        PatchResult
        """
        if self.marks.empty or self.settings.eta == 0.0:
            return self._result([self.start], "eta")
        if self._forgotten(self.start):
            return self._result([self.start], "forget_at")
        if self.settings.steps == 1:
            return self._single_step()
        state = self.start
        if self.corrects and self.settings.polish:
            state = replace(state, theta=self._polished())
        self.origin = state.theta
        trail, reason = [self.start], None
        directions = []
        while reason is None:
            move = None  # one factor at a time is enough
            move = Move(state, *self._direction(state))
            h = self._next_length(state, move.direction)
            if not np.isfinite(h):
                reason = "stalled"
                break
            trial = self._trusted(move, h)
            reason = self._stop_reason(trial)
            if reason is not None:
                trial, reason = self._bisect(move, trial, reason)
            if trial is not None:
                trail.append(trial)
                if self.target is not None:
                    directions.append(move)  # with its solver, which is large
                state = trial
            if reason is None:
                reason = self._end_reason(trail)
                if reason == "stalled":
                    # What was walked since the rows stopped to notice is no use.
                    del trail[-PATIENCE:]
        if self.target is not None:
            return self._best_of(trail, directions, reason)
        trail[-1] = self._settled(move, trail[-1])
        return self._result(trail, reason)

    def _trusted(self, move, h):
        """Advance by h, or less where the outputs bend away from the prediction."""
        trial = self._advance(move, h, tried=not self._nothing_to_watch())
        if self.corrects or self.settings.steps != "auto":
            return trial
        state, direction = move.state, move.direction
        objective = self._at(state)
        bend, kinked = self._bend(objective, direction, trial), 0
        for _ in range(10):
            if bend <= BEND_LIMIT:
                break
            shorter = self._advance(move, 0.5 * trial.step)
            bent, bend = bend, self._bend(objective, direction, shorter)
            # Halving a smooth step quarters its error. Where it does not, the outputs
            # have kinks (relu), at which no step is short enough.
            kinked = kinked + 1 if bend > KINK * bent else 0
            if kinked == 2:
                break
            trial = shorter
        return trial

    def _bend(self, objective, direction, trial):
        """Squared error of the linear prediction of the outputs, relative to it.

        In the metric of the loss, at both ends, since it vanishes where the model is
        confident.
        """
        if not np.all(np.isfinite(trial.theta)):
            return 0.0
        error, size = objective.total(_bending, trial.theta, trial.step * direction)
        return error / max(size, 1e-300)

    def _next_length(self, state, direction):
        settings = self.settings
        left = settings.eta - state.s
        if self.corrects and state.s < 1.0:
            left = min(left, 1.0 - state.s)
        if settings.steps != "auto":
            return min(settings.eta / settings.steps, left)
        if self._nothing_to_watch() and settings.eta <= 1.0:
            return left
        if self.model.convex and state.s >= 1.0:
            # Confident outputs hardly move whatever the step: do not run away in one.
            left = min(left, state.s)
        return min(self._step_length(state, direction), left)

    def _nothing_to_watch(self):
        """Whether only the end of the path matters, which corrections reach at once."""
        return (
            self.corrects
            and self.target is None
            and self.settings.forget_at is None
            and not np.isfinite(self.settings.delta).any()
        )

    def _stop_reason(self, trial):
        violated = self._violated(trial)
        if violated is not None:
            return f"delta:{self.names[violated]}" if violated >= 0 else "nonfinite"
        return "forget_at" if self._forgotten(trial) else None

    def _end_reason(self, trail):
        settings, state = self.settings, trail[-1]
        if state.s >= settings.eta * (1.0 - 1e-12):
            return "eta"
        if len(trail) > MAX_STEPS:
            return "steps"
        if self._stalls(trail):
            return "stalled"
        if self.target is not None and len(trail) > PATIENCE + 1:
            values = [point.target for point in trail]
            best = int(np.argmin(values))
            if len(trail) - 1 - best >= PATIENCE:
                return "target"
        return None

    def _stalls(self, trail):
        """Whether s has doubled for some steps and the marked rows did not notice."""
        if self.settings.forget_at is None or len(trail) <= PATIENCE + 1:
            return False
        past, now = trail[-1 - PATIENCE], trail[-1]
        doubled = now.s >= 2.0**PATIENCE * max(past.s, 1.0) * (1.0 - 1e-9)
        return doubled and abs(now.forgetting - past.forgetting) <= STALL

    def _bisect(self, move, trial, reason):
        """The largest feasible point of a segment whose end is not, and why it ends."""
        segment = Segment(move.state, trial, trial.step, self._beyond)
        for _ in range(BISECTIONS):
            h = segment.middle
            if self._only_delta(reason):
                h = segment.crossing()
            middle = self._advance(move, h, self._between(segment, h))
            why = self._stop_reason(middle)
            segment.add(h, middle, why is None)
            if why is not None:
                reason = why
            elif self._only_delta(reason) and self._at_delta(middle):
                break
        if reason == "forget_at":
            return segment.high, reason
        return segment.low if segment.h_low > 0.0 else None, reason

    def _settled(self, move, state):
        """A point that was only tried, corrected to the last digit.

        Unless that ends the path where the point did not, or the other way round, or
        cannot be solved: the point was measured, and is kept.
        """
        if not (state.tried and self._exact(move.solver, tried=False)):
            return state
        try:
            settled = self._settle(move, state)
        except SolverError:
            return state
        same = self._stop_reason(settled) == self._stop_reason(state)
        return settled if same else state

    def _settle(self, move, state):
        theta = self._correct(state.s, state.lam, state.theta, move, tried=False)
        return self._observe(state.s, theta, state.lam, state.step)

    def _between(self, segment, h):
        """Where corrections between corrected points start; None for the direction.

        What interpolates them is nearer to the path than the direction at its start.
        """
        high = segment.high
        corrected = self.corrects and high.s <= 1.0 + 1e-12
        if not (corrected and np.all(np.isfinite(high.theta))):
            return None
        return segment.theta(h)

    def _only_delta(self, reason):
        """Whether the end of the path is where a measured criterion meets its delta."""
        return reason.startswith("delta:") and self.settings.forget_at is None

    def _beyond(self, state):
        """`_excess` with a margin, so that a point where it is zero is feasible."""
        delta = self.settings.delta
        margin = np.where(np.isfinite(delta), 0.5 * CLOSE * delta, 0.0)
        return self._excess(state) + margin

    def _at_delta(self, state):
        """Whether a feasible point uses almost all of a delta."""
        delta = self.settings.delta
        left = -self._excess(state)[np.isfinite(delta)]
        return bool((left <= CLOSE * delta[np.isfinite(delta)]).any())

    def _single_step(self):
        """theta + eta * direction, Blog (10); a smaller eta if delta binds."""
        state = self.start
        if self.at_optimum and self.settings.polish:
            state = replace(state, theta=self._optimum())
        move = Move(self.start, *self._direction(state))
        trial = self._advance(move, self.settings.eta)
        reason = self._stop_reason(trial)
        if reason is not None:
            trial, reason = self._bisect(move, trial, reason)
        trail = [self.start] if trial is None else [self.start, trial]
        if self.target is not None:
            return self._best_of(trail, [move], reason or "eta")
        return self._result(trail, reason or "eta")

    def _optimum(self):
        """The optimum of the weights before the patch, by Newton's method alone."""
        polished, _, self.converged = scores.polish(self.objective, self._undamped)
        return polished.model.theta

    def _best_of(self, trail, directions, reason):
        """Refine the lowest target inside the two segments that touch it."""
        best = int(np.argmin([point.target for point in trail]))
        candidates = [trail[best]]
        for index in (best - 1, best):
            if 0 <= index < len(directions) and index + 1 < len(trail):
                candidates += self._golden(directions[index], trail[index + 1].step)
        chosen = min(candidates, key=lambda point: point.target)
        if chosen is not trail[-1]:
            reason = "target"
        kept = [point for point in trail if point.s < chosen.s]
        if directions:
            chosen = self._settled(directions[-1], chosen)
        return self._result([*kept, chosen] if kept else [chosen], reason)

    def _golden(self, move, length):
        """Feasible points of a golden-section search for the lowest target."""
        ratio = 0.5 * (np.sqrt(5.0) - 1.0)
        low, high = 0.0, length
        points = {}

        def at(h):
            if h not in points:
                points[h] = self._advance(move, h)
            return points[h].target

        a, b = high - ratio * (high - low), low + ratio * (high - low)
        for _ in range(GOLDEN_STEPS):
            if at(a) <= at(b):
                high, b = b, a
                a = high - ratio * (high - low)
            else:
                low, a = a, b
                b = low + ratio * (high - low)
        return [point for point in points.values() if self._violated(point) is None]

    def _result(self, trail, reason):
        end = trail[-1]
        return PatchResult(
            theta=end.theta,
            s=end.s,
            lam=end.lam,
            factor=np.maximum(self._factor(end.s, end.lam), 0.0),
            before=self.start.values,
            after=end.values,
            history=trail,
            stopped_by=reason,
        )


def _speed(objective, direction):
    """Move of the outputs in the metric of the loss; its dispersion; their weight."""
    moved = objective.model.jvp(objective.X, direction)
    size = _squared(objective, moved)
    weight = objective.weight.sum()
    if not weight > 0:
        return size, 0.0, 0.0
    spread = objective.model.loss.dispersion(
        objective.raw, objective.y, objective.weight
    )
    return size, weight * spread, weight


def _bending(objective, theta, step):
    """Squared error of the linear prediction of the outputs, and their move."""
    end = objective.at(theta)
    moved = objective.model.jvp(objective.X, step)
    error = end.raw - objective.raw - moved
    ends = objective, end
    size = sum(_squared(one, moved) for one in ends)
    return sum(_squared(one, error) for one in ends), size


def _squared(objective, moved):
    """Sum over rows of ``m.T L m`` for a move m of the outputs (n, k)."""
    metric = GaussNewton(objective).output_operator
    return float(np.sum((metric @ moved[:, :, None])[:, :, 0] * moved))


def default_curvature_rows(model, n):
    """Rows for the curvature of a path: a sample for networks, all for other models.

    The right-hand side uses every row; only the metric is sampled, as large as a direct
    solver handles.
    """
    if model.relative_damping == 0.0:
        return None
    if model.n_parameters > LARGE_NETWORK:
        return min(n, max(WOODBURY_LIMIT // model.n_outputs, 50))
    return min(n, NETWORK_ROWS[model.n_outputs > 1])
