"""Paths of one patch under several deltas and etas, which share what they can."""

import numpy as np
from sklearn import get_config

from skpuma.patching._path import Path
from skpuma.reweighting import scales

MEBIBYTE = 2**20


class Walked:
    """What paths of the same patch have computed so far.

    Nothing is forgotten, so that objects are known by their identity, and nothing more
    is taken up once scikit-learn's ``working_memory`` is used up: what paths share are
    their first parts.
    """

    def __init__(self):
        self._found, self._solvers = {}, set()
        self._left = get_config()["working_memory"] * MEBIBYTE

    def get(self, key):
        """What was kept under a key, or None."""
        found = self._found.get(key)
        return None if found is None else found[0]

    def keep(self, key, value, inputs, size):
        """Keep a value of so many bytes, and the inputs that its key identifies.

        Unless a solver in it changes with use.
        """
        solvers = {id(one): one for one in _flat(value) if hasattr(one, "iterative")}
        new = [one for i, one in solvers.items() if i not in self._solvers]
        if any(one.iterative for one in new):
            return
        size += sum(_bytes(one) for one in new)
        if size > self._left:
            return
        self._left -= size
        self._solvers.update(map(id, new))
        self._found[key] = value, inputs


class SharedPath(Path):
    """A path that takes steps from others that took them before.

    Deltas and etas only decide how far to go, and deltas by their ratios what lambda
    compensates; every step is a function of the point and the curvature that it sets
    out with. So what is taken over is equal bit for bit, and a path that decides
    differently goes on alone. Solvers that iterate change with use: steps with them are
    never shared.

    Parameters
    ----------
    walked : Walked
        Shared by paths that differ in the delta and eta of their settings only.
    """

    def __init__(self, *args, walked, **kwargs):
        self._walked = walked
        super().__init__(*args, **kwargs)

    def _begin(self):
        return self._once("begin", (), super()._begin)

    def first_solver(self):
        return self._once("first_solver", (), super().first_solver)

    def _polished(self):
        return self._once("polished", (), super()._polished)

    def _optimum(self):
        return self._once("optimum", (), super()._optimum)

    def _direction(self, state):
        delta = self.settings.delta
        bound = np.isfinite(delta)
        ratios = bound.tobytes() + scales(delta[bound]).tobytes()
        given = (ratios, *_point(state))
        return self._once(
            "direction", given, lambda: super(SharedPath, self)._direction(state)
        )

    def _step_length(self, state, direction):
        given = (*_point(state), direction)
        return self._once(
            "step_length",
            given,
            lambda: super(SharedPath, self)._step_length(state, direction),
        )

    def _trusted(self, move, h):
        return self._once(
            "trusted",
            (h, self._nothing_to_watch()),
            lambda: super(SharedPath, self)._trusted(move, h),
            move,
        )

    def _advance(self, move, h, near=None, tried=True):
        given = (h, None if near is None else near.tobytes(), tried)
        return self._once(
            "advance",
            given,
            lambda: super(SharedPath, self)._advance(move, h, near, tried),
            move,
        )

    def _settle(self, move, state):
        return self._once(
            "settle",
            _point(state),
            lambda: super(SharedPath, self)._settle(move, state),
            move,
        )

    def _once(self, name, given, compute, move=None):
        """The result of `compute`, and what it leaves behind on path and move."""
        if move is not None:
            solved = move.solver, move.secants
            given = (*given, *_point(move.state), move.direction, move.lam, *solved)
        inputs = (*given, self._near, *self._first, self.converged)
        key = (name, *map(_identity, inputs))
        found = self._walked.get(key)
        if found is not None:
            result, self._near, self._first, self.converged, *solved = found
            if move is not None:
                move.solver, move.secants = solved
            return result
        result = compute()
        size = 8 * (2 * self.model.n_parameters + len(self.marks.extra))
        solved = None, None
        if move is not None:
            solved = move.solver, move.secants
            size += move.secants.nbytes
        value = (result, self._near, self._first, self.converged, *solved)
        self._walked.keep(key, value, inputs, size)
        return result


def _bytes(solver):
    """Bytes of a factor, and of what its curvature holds of the rows."""
    held = _flat(tuple(vars(solver).values()))
    size = sum(part.nbytes for part in held if isinstance(part, np.ndarray))
    objective = solver.curvature.objective
    # Outputs, residuals, and roots of their Hessian.
    return size + 32 * len(objective.weight) * objective.model.n_outputs


def _point(state):
    return state.s, state.theta, state.lam, state.step, state.tried


def _identity(one):
    """The value of what is a plain one, and of other objects which one it is."""
    plain = one is None or isinstance(one, (bool, float, bytes))
    return one if plain else id(one)


def _flat(parts):
    for part in parts:
        if isinstance(part, tuple):
            yield from _flat(part)
        else:
            yield part
