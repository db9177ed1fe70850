"""Steps in a factor from elsewhere, mended by the gradients that were seen since."""

# Pairs of steps and changes of the gradient that are remembered.
MEMORY = 8


class Secants:
    """Quasi-Newton steps (L-BFGS) whose first inverse is a solver.

    A factor of another point leaves the same share of the gradient in every step, most
    of it in a few directions: the steps taken show how the curvature differs in those.

    References
    ----------
    J. Nocedal, S. J. Wright, Numerical Optimization (2nd ed.), Springer 2006,
    algorithm 7.4.
    """

    def __init__(self):
        self._pairs = []

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

    def add(self, moved, bent):
        """Remember that moving by `moved` (p,) changed the gradient by `bent` (p,)."""
        curvature = float(moved @ bent)
        if curvature > 0.0:
            self._pairs = [*self._pairs[1 - MEMORY :], (moved, bent, curvature)]
