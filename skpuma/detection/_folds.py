"""Models of folds, followed by Newton steps from the fit of all rows: no refit."""

import numpy as np

from skpuma import rows
from skpuma.curvature import curvature_of
from skpuma.solvers import factor

# Newton steps of a look, at most, and the relative residual that they are solved to.
MAX_STEPS, FORCING = 2, 0.3
# Products with the curvature of one step, at most.
MAX_PRODUCTS = 50
# Newton decrements, relative to J, that no ranking notices.
SHORT = 1e-2
HALVINGS, ROUNDING = 5, 1e-12


class FoldModels:
    """One model per fold of the rows, each without the rows of its fold.

    For convex models with too many parameters for a factor. All folds share the passes
    over the rows, the output Hessian and the preconditioner, so that a look at all of
    them costs little more than one of them would.

    Parameters
    ----------
    objective : Objective
        Of all rows, at the fit.
    fold : ndarray of int (n,)
        The fold in which every row is left out.
    """

    def __init__(self, objective, fold):
        self.objective = objective
        left_out = np.unique(fold)
        self.keep = np.stack([fold != f for f in left_out], axis=1)
        self.place = np.searchsorted(left_out, fold)
        self.theta = np.tile(objective.model.theta[:, None], len(left_out))
        self._preconditioned = None

    def left_out_raw(self, weight):
        """Raw outputs (n, k) of every row by the model without it, under weights."""
        parts = [self.objective.reweighted(weight * kept) for kept in self.keep.T]
        for _ in range(MAX_STEPS):
            parts = [
                part.at(theta) for part, theta in zip(parts, self.theta.T, strict=True)
            ]
            if self._step(parts) <= SHORT:
                break
        each = np.arange(len(weight))
        return self.objective.model.jvp(self.objective.X, self.theta)[
            each, :, self.place
        ]

    def _step(self, parts):
        """Move all models by a Newton step; the largest relative decrement before it.

        The output Hessian is taken at the mean of the models.
        """
        middle = self.objective.at(self.theta.mean(axis=1))
        gradient = np.stack([part.gradient() for part in parts], axis=1)
        if self._preconditioned is None:
            solver = factor(curvature_of(middle), solver="cg")
            self._preconditioned = solver.precondition
        step = self._solved(middle, parts, gradient)
        values = np.array([part.value() for part in parts])
        decrement = np.einsum("pf,pf->f", gradient, step)
        for f, part in enumerate(parts):
            length = 1.0
            for _ in range(HALVINGS):
                theta = self.theta[:, f] - length * step[:, f]
                if part.at(theta).value() <= values[f] * (1.0 + ROUNDING):
                    self.theta[:, f] = theta
                    break
                length *= 0.5
        return float((decrement / np.maximum(np.abs(values), 1e-12)).max())

    def _solved(self, middle, parts, gradient):
        """Conjugate gradients for one right-hand side per fold, in step."""
        model, X = middle.model, middle.X
        ones = np.ones(rows.count(X))
        hessian = model.loss.hessian_operator(middle.raw, middle.y, ones)
        weight = np.stack([part.weight for part in parts], axis=1)
        weight = weight / middle.total_weight
        ridge = np.stack([part.l2 for part in parts], axis=1)

        def bent(forward, block):
            return (hessian[block] @ forward) * weight[block, None, :]

        def product(V):
            return model.there_and_back(X, bent, V) + ridge * V

        step, residual = np.zeros_like(gradient), gradient.copy()
        goal = FORCING * np.linalg.norm(gradient, axis=0)
        ahead = self._preconditioned(residual)
        direction, size = ahead, np.einsum("pf,pf->f", residual, ahead)
        for _ in range(MAX_PRODUCTS):
            moving = np.linalg.norm(residual, axis=0) > goal
            if not moving.any():
                break
            curve = product(direction)
            curved = np.einsum("pf,pf->f", direction, curve)
            # What H does not see is rounding: the shift common to all classes.
            moving &= curved > ROUNDING * size
            length = np.divide(size, curved, out=np.zeros_like(size), where=moving)
            step += length * direction
            residual -= length * curve
            ahead = self._preconditioned(residual)
            before, size = size, np.einsum("pf,pf->f", residual, ahead)
            direction = ahead + size / np.maximum(before, 1e-300) * direction
        return step
