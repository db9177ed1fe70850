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
        # Steps that are solved this roughly need no better products.
        single = objective.model.single and rows.is_dense(objective.X)
        self._X = rows.in_single(objective.X) if single else objective.X
        self._dtype = np.float32 if single else np.float64

    def left_out_raw(self, weight):
        """Raw outputs (n, k) of every row by the model without it, under weights."""
        parts = [self.objective.reweighted(weight * kept) for kept in self.keep.T]
        parts, raw = self._at(parts, self.theta)
        for _ in range(MAX_STEPS):
            parts, raw, decrement = self._stepped(parts, raw)
            if decrement <= SHORT:
                break
        return raw[np.arange(len(weight)), :, self.place]

    def _at(self, parts, theta):
        """The folds' objectives at parameters (p, F), and raw outputs (n, k, F)."""
        raw = self.objective.model.jvp(self.objective.X, theta)
        each = zip(parts, theta.T, np.moveaxis(raw, 2, 0), strict=True)
        return [part.at(*place) for part, *place in each], raw

    def _stepped(self, parts, raw):
        """(parts, raw, largest relative decrement) after a Newton step of all models.

        The output Hessian is taken at the mean of the models.
        """
        middle = self.objective.at(self.theta.mean(axis=1), raw.mean(axis=2))
        gradient = self._gradients(parts)
        if self._preconditioned is None:
            solver = factor(curvature_of(middle), solver="cg")
            self._preconditioned = solver.precondition
        step = self._solved(middle, parts, gradient)
        decrement = np.einsum("pf,pf->f", gradient, step)
        values = np.array([part.value() for part in parts])
        length = np.ones(len(parts))
        for _ in range(HALVINGS):
            theta = self.theta - length * step
            ahead, raw_ahead = self._at(parts, theta)
            reached = np.array([part.value() for part in ahead])
            risen = ~(reached <= values * (1.0 + ROUNDING))
            if not risen.any():
                break
            length[risen] *= 0.5
        else:
            theta = self.theta - np.where(risen, 0.0, length) * step
            ahead, raw_ahead = self._at(parts, theta)
        self.theta = theta
        decrement /= np.maximum(np.abs(values), 1e-12)
        return ahead, raw_ahead, float(decrement.max())

    def _gradients(self, parts):
        """Gradient (p, F) of every fold's objective."""
        pull = [
            part.residual * (part.weight / part.total_weight)[:, None] for part in parts
        ]
        model, X = self.objective.model, self.objective.X
        data = model.vjp_columns(X, np.stack(pull, axis=2))
        penalties = [part.penalty_scale * part.penalty_share for part in parts]
        return data + np.stack(penalties, axis=1)

    def _solved(self, middle, parts, gradient):
        """Conjugate gradients for one right-hand side per fold, in step."""
        model = middle.model
        ones = np.ones(rows.count(middle.X))
        hessian = model.loss.hessian_operator(middle.raw, middle.y, ones)
        unit = 1.0
        if self._dtype == np.float32:
            hessian, unit = hessian.in_single()
        weight = np.stack([part.weight for part in parts], axis=1)
        unit *= weight.max() / middle.total_weight
        weight = (weight / weight.max()).astype(self._dtype)
        ridge = np.stack([part.l2 for part in parts], axis=1)

        def bent(forward, block):
            return (hessian[block] @ forward) * weight[block, None, :]

        def product(V):
            rough = V.astype(self._dtype, copy=False)
            return unit * model.there_and_back(self._X, bent, rough) + ridge * V

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
