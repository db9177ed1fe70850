"""Steps in a factor from elsewhere, mended by the gradients that were seen since."""

# Pairs of steps and changes of the gradient that are remembered.
MEMORY = 8


class Secants:
    """Quasi-Newton steps (L-BFGS) whose first inverse is a solver; never changed.

    A factor of another point leaves the same share of the gradient in every step, most
    of it in a few directions: the steps taken show how the curvature differs in those.

    References
    ----------
    J. Nocedal, S. J. Wright, Numerical Optimization (2nd ed.), Springer 2006,
    algorithm 7.4.
    """

    def __init__(self, pairs=()):
        self._pairs = pairs

    @property
    def nbytes(self):
        """Of what is remembered."""
        return sum(moved.nbytes + bent.nbytes for moved, bent, _ in self._pairs)

    def step(self, solver, gradient):
        """The step (p,) to subtract for a gradient (p,)."""
        left, shares = gradient, []
        for moved, bent, curvature in reversed(self._pairs):
            share = (moved @ left) / curvature
            left = left - share * bent
            shares.append(share)
        step = solver.solve(left).value
        for (moved, bent, curvature), share in zip(
            self._pairs, reversed(shares), strict=True
        ):
            step = step + (share - (bent @ step) / curvature) * moved
        return step

    def added(self, moved, bent):
        """With one more: moving by `moved` (p,) changed the gradient by `bent` (p,).

        Itself, where that is no positive curvature.
        """
        curvature = float(moved @ bent)
        if not curvature > 0.0:
            return self
        return Secants((*self._pairs[1 - MEMORY :], (moved, bent, curvature)))
