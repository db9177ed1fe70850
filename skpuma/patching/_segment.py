"""Where between two points of a path the last feasible one is."""

import numpy as np

# Points that a polynomial goes through, at most.
POINTS = 4
# Guesses in a row that left more than this share before a segment is halved.
STALE, LEFT = 2, 0.7
# A guess is not nearer to the ends of a segment than that, as shares of it.
EDGE = 0.02


class Segment:
    """The part of a step between a feasible point and one that is not.

    All points of the step that were measured tell where a criterion meets its delta,
    and what theta is there.

    Parameters
    ----------
    start, end : State
    length : float
        Of the step from `start` to `end`.
    excess : callable
        State -> how far every criterion is beyond its delta (m,), with the margin that
        the last point may leave.
    """

    def __init__(self, start, end, length, excess):
        self._excess = excess
        self._at = {0.0: start, length: end}
        self.h_low, self.h_high = 0.0, length
        self._nearest = min(self._miss(start), self._miss(end))
        self._stale = 0

    @property
    def low(self):
        """The last feasible point."""
        return self._at[self.h_low]

    @property
    def high(self):
        """The first point that is not."""
        return self._at[self.h_high]

    @property
    def middle(self):
        """Half way between them."""
        return 0.5 * (self.h_low + self.h_high)

    def add(self, h, state, feasible):
        """Shorten the segment by a point inside it."""
        self._at[h] = state
        if feasible:
            self.h_low = h
        else:
            self.h_high = h
        miss = self._miss(state)
        self._stale = self._stale + 1 if not miss <= LEFT * self._nearest else 0
        self._nearest = min(self._nearest, miss)

    def crossing(self):
        """Where a criterion is expected to meet its delta, as a length of the step."""
        if self._stale >= STALE:
            self._stale = 0
            return self.middle
        below, above = self._excess(self.low), self._excess(self.high)
        crossed = np.flatnonzero((below < 0.0) & (above > 0.0) & np.isfinite(above))
        if not len(crossed):
            return self.middle
        places = self._places()
        values = np.array([self._excess(self._at[h]) for h in places])
        width = self.h_high - self.h_low
        t = (np.array(places) - self.h_low) / width
        share = min(_root(t, values[:, c]) for c in crossed)
        return self.h_low + float(np.clip(share, EDGE, 1.0 - EDGE)) * width

    def theta(self, h):
        """Parameters (p,) expected at a length of the step."""
        places = self._places()
        total = 0.0
        for i, a in enumerate(places):
            others = [b for j, b in enumerate(places) if j != i]
            weight = np.prod([(h - b) / (a - b) for b in others])
            total = total + weight * self._at[a].theta
        return total

    def _places(self):
        """Lengths of the points to interpolate through: both ends and the nearest."""

        def usable(h):
            state = self._at[h]
            known = np.isfinite(state.theta).all() and np.isfinite(state.values).all()
            return known and h not in (self.h_low, self.h_high)

        def distance(h):
            return min(abs(h - self.h_low), abs(h - self.h_high))

        near = sorted(filter(usable, self._at), key=distance)
        return [self.h_low, self.h_high, *near[: POINTS - 2]]

    def _miss(self, state):
        """How far a point is from where a path ends by delta."""
        excess = self._excess(state)
        bound = excess[np.isfinite(excess)]
        return abs(bound.max()) if len(bound) else np.inf


def _root(t, values):
    """The first root between 0 and 1 of the polynomial through points (t, values).

    Of the line through the first two, which has one, where rounding hides it.
    """
    coefficients = np.linalg.solve(np.vander(t), values)
    roots = np.roots(coefficients)
    real = roots.real[np.abs(roots.imag) <= 1e-9]
    inside = real[(real > 0.0) & (real < 1.0)]
    if len(inside):
        return inside.min()
    return values[0] / (values[0] - values[1])
