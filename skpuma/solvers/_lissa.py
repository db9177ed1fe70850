"""LiSSA: the Neumann series of the inverse, on random mini-batches of rows."""

import numpy as np

from skpuma.solvers._base import BaseSolver, relative
from skpuma.utils.errors import SolverError

# Small batches take more steps for the same rows, and need a larger scale: products to
# a residual of 0.1 on a network (20,000 rows) with 128 rows 12, with 1024 rows 60.
BATCH_ROWS = 128
POWER_STEPS = 20
# Power iterations find the largest eigenvalue from below, batches scatter about it.
FULL_MARGIN = 1.1
BATCH_MARGIN = 1.5
SCALE_BATCHES = 4
MAX_DOUBLINGS = 6


class LiSSA(BaseSolver):
    """Stochastic Neumann series (Agarwal, Bullins and Hazan; Koh and Liang).

    With ``h_1 = b / scale`` and a fresh batch of rows, H_t, at each step,

    ``h_{t+1} = b / scale + h_t - H_t h_t / scale``,

    whose mean after T steps is the truncated series
    ``sum_{t < T} (I - H / scale)^t b / scale``. In the direction of an eigenvalue l it
    applies ``(1 - (1 - l / scale)^T) / l`` in place of ``1 / l``. That is at most
    ``T / scale``, and always between ``1 / (l + scale / T)`` and twice that (1.3 times
    for many steps): stopping early acts like at most an additional damping of
    ``scale / T``, a bound that `info` states as ``"effective_damping"``; in directions
    that have converged it acts like none. The damping of the curvature is added to H
    itself, not scaled with it.

    The recursion starts again on the residual that it has left, which is measured with
    all rows once per pass; this does not change the mean of the series, and it lets the
    noise of the batches shrink together with the residual.

    Parameters
    ----------
    curvature : Curvature
        Positive semi-definite, for example Gauss-Newton.
    tolerance : float
        Relative residual, measured with all rows, that a solve must reach, or it is
        refused. The relative error of psi is about as large. With a given `depth`,
        ``inf`` accepts any truncation.
    depth : "auto" or int
        T, the number of steps. "auto" takes passes over the rows until the tolerance
        is reached. An int takes exactly so many from the start, without a restart in
        between, and accepts what that leaves; set `tolerance` to fit.
    scale : "auto" or float
        Must exceed the largest eigenvalue of every batch for a monotone series, and
        half of it for one that converges. "auto" estimates that by power iterations on
        all rows and some batches, adds a margin, and is doubled when a pass diverges.
    batch_size : "auto" or int
        Rows of a step, drawn without replacement and independently of other steps.
        "auto" is 128. Where there are not more rows, a step takes all rows and is
        deterministic. With ``depth="auto"`` a pass that raises the residual is not
        kept, and the batches of the next ones are twice as large.
    repeats : int
        Independent recursions that are averaged, on mini-batches.
    max_depth : int
        Bound on the steps of ``depth="auto"``.
    random_state : int or None
        Seed of the batches; every solve starts from it anew, so that the same
        right-hand sides have the same solution.

    Attributes
    ----------
    info : dict
        ``"scale"``; after a solve also ``"depth"`` (steps of the column that took
        most), ``"batch_size"`` (the last one) and ``"effective_damping"``, in the unit
        of H: the series acts like at most this much further damping.

    Raises
    ------
    SolverError
        If the curvature is not positive semi-definite, or a series diverges under a
        given `scale`.

    References
    ----------
    N. Agarwal, B. Bullins, E. Hazan, "Second-order stochastic optimization for machine
    learning in linear time", JMLR 18, 2017. P. W. Koh, P. Liang, "Understanding
    black-box predictions via influence functions", ICML 2017.
    """

    name = "lissa"
    explicit = False
    iterative = True

    def __init__(
        self,
        curvature,
        tolerance=1e-2,
        depth="auto",
        scale="auto",
        batch_size="auto",
        repeats=1,
        max_depth=10_000,
        random_state=0,
    ):
        super().__init__(curvature)
        if not curvature.psd:
            raise SolverError(
                "LiSSA needs a positive semi-definite curvature: use "
                "curvature='gauss_newton', or solver='eigh'."
            )
        _check_whole("depth", depth, "auto")
        _check_whole("batch_size", batch_size, "auto")
        _check_whole("repeats", repeats)
        _check_whole("max_depth", max_depth)
        self._given_scale = not (isinstance(scale, str) and scale == "auto")
        if self._given_scale and not 0 < scale < np.inf:
            raise ValueError(f"scale must be 'auto' or positive, got {scale!r}.")
        if depth == "auto" and not 0 < tolerance < 1:
            raise ValueError(
                f"depth='auto' stops at the tolerance, which must be in (0, 1); got "
                f"{tolerance!r}. Give a depth to accept any residual."
            )
        self.tolerance = tolerance
        self.depth = depth
        self.repeats = repeats
        self.max_depth = max_depth
        self.random_state = random_state
        objective = curvature.objective
        self._used = np.flatnonzero(objective.weight > 0)
        batch = BATCH_ROWS if batch_size == "auto" else batch_size
        self._batch_size = min(batch, max(len(self._used), 1))
        self._scale = float(scale) if self._given_scale else self._find_scale()
        self.info = {"scale": self._scale}

    # -- batches -----------------------------------------------------------------------

    def _batch(self, size, rng):
        """An unbiased H from `size` random rows, as a function of V (p, m)."""
        curvature = self.curvature
        if size >= len(self._used):
            return lambda V: curvature @ V
        objective = curvature.objective
        chosen = np.sort(rng.choice(self._used, size, replace=False))
        part = objective.subset(chosen)
        part = part.reweighted(part.weight * (len(self._used) / size))
        batch = type(curvature)(part)
        # The penalty of the kinds "mean" and "count" follows the rows; keep all of it.
        shift = (curvature.diagonal_part - batch.diagonal_part)[:, None]
        return lambda V: batch @ V + shift * V

    def _find_scale(self):
        rng = np.random.default_rng(self.random_state)
        start = rng.standard_normal((self.curvature.shape[0], 2))
        size, full = self._batch_size, len(self._used)
        largest = FULL_MARGIN * _largest_eigenvalue(self._batch(full, rng), start)
        if size < full:
            for _ in range(SCALE_BATCHES):
                batch = _largest_eigenvalue(self._batch(size, rng), start)
                largest = max(largest, BATCH_MARGIN * batch)
        return largest if largest > 0 else 1.0

    # -- the series --------------------------------------------------------------------

    def _solve(self, B):
        rng = np.random.default_rng(self.random_state)
        n, size, scale = max(len(self._used), 1), self._batch_size, self._scale
        fixed = self.depth != "auto"
        limit = self.depth if fixed else self.max_depth
        steps = limit if fixed else min(max(n // size, 1), limit)
        goal = 0.0 if fixed else 0.5 * self.tolerance * np.linalg.norm(B, axis=0)
        X, R, rejected = np.zeros_like(B), B, 0
        depth, row_products, doublings = 0, 0, 0
        while depth + rejected < limit:
            steps = min(steps, limit - depth - rejected)
            norm = np.linalg.norm(R, axis=0)
            active = np.flatnonzero(norm > goal)
            if not len(active):
                break
            runs = self.repeats if size < n else 1
            row_products += n + (steps - 1) * size * runs
            series = self._series(R[:, active], steps, scale, size, runs, rng)
            diverged = series is None
            if not diverged:
                trial = X.copy()
                trial[:, active] += series
                left = B - self.curvature @ trial
                after = np.linalg.norm(left, axis=0)
                # All rows at once cannot raise a residual, unless they overshoot.
                diverged = size >= n and bool(np.any(after > norm * (1.0 + 1e-9)))
            if diverged:
                if self._given_scale or doublings == MAX_DOUBLINGS:
                    raise _diverged(scale)
                scale, doublings = 2.0 * scale, doublings + 1
            elif fixed or size >= n or after.sum() <= norm.sum():
                X, R, depth = trial, left, depth + steps
            else:
                rejected, size = rejected + steps, min(2 * size, n)
        self.info = {
            **self.info,
            "scale": scale,
            "depth": depth,
            "batch_size": size,
            "effective_damping": scale / depth if depth else 0.0,
        }
        return X, relative(R, B), -(-row_products // n)

    def _series(self, R, steps, scale, size, runs, rng):
        """Mean of `runs` recursions from R (p, m), or None where one diverges."""
        total = np.zeros_like(R)
        # Without overshooting, a step adds at most |R| / scale.
        most = 2.0 * np.linalg.norm(R, axis=0) / scale
        for _ in range(runs):
            h = R / scale
            for t in range(2, steps + 1):
                h = h + (R - self._batch(size, rng)(h)) / scale
                if not np.all(np.linalg.norm(h, axis=0) <= t * most):
                    return None
            total += h
        return total / runs

    def _advice(self):
        if self._may_be_singular():
            return super()._advice()
        scale, depth = self.info["scale"], self.info["depth"]
        return (
            f"Raise `damping` (now {self.damping:.1e}), `depth` or `max_depth` (scale "
            f"{scale:.1e}, steps taken {depth}), or use solver='cg'."
        )


def _diverged(scale):
    return SolverError(
        f"The Neumann series diverges with scale={scale:.2e}: scale must exceed the "
        "largest eigenvalue of the curvature and of its batches. Use scale='auto', a "
        "larger scale, a larger batch_size, or solver='cg'."
    )


def _largest_eigenvalue(product, V):
    """Largest eigenvalue, from below, by power iterations from V (p, m)."""
    value = 0.0
    for _ in range(POWER_STEPS):
        V = product(V / np.maximum(np.linalg.norm(V, axis=0), 1e-300))
        value = float(np.linalg.norm(V, axis=0).max())
    return value


def _check_whole(name, value, word=None):
    if word is not None and isinstance(value, str) and value == word:
        return
    if not isinstance(value, (int, np.integer)) or value < 1:
        choice = f"{word!r} or a" if word else "a"
        raise ValueError(f"{name} must be {choice} positive integer, got {value!r}.")
