"""What a selection of rows is worth to DVRL: the score of a predictor fitted on it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor
from scipy.linalg.lapack import dgeqrf, dorgqr, dposv, dpotrs
from sklearn.metrics import r2_score
from sklearn.utils.parallel import Parallel, delayed

from skpuma import rows
from skpuma.models import LinearModel, adapt
from skpuma.models._frames import PipelineFrame
from skpuma.models._linear import RidgeModel
from skpuma.models._logistic import LogisticModel
from skpuma.objective import Objective
from skpuma.utils.errors import NotDifferentiableError

# Newton steps, conjugate gradients per step, halvings of a step that raises J.
MAX_NEWTON, MAX_INNER, MAX_HALVINGS = 10, 8, 20
# Newton decrement, relative to J, from which the step is the last one: rewards are then
# within a fiftieth of what they differ by from selection to selection. An exact step
# squares the error, one by conjugate gradients does not.
DECREMENT_EXACT, DECREMENT_INNER = 1e-2, 1e-3
# Residual, relative to the gradient, at which the inner iteration stops.
INNER = 0.05
# Parameters above which a fit by scikit-learn is cheaper than a dense preconditioner.
MAX_PARAMETERS = 1000
BLOCK_BYTES = 64 * 2**20
# Relative to the mean curvature.
SHIFT = 1e-6
# Multiplications of a Newton step of all selections below which Hessians are formed,
# which takes fewer calls; above, conjugate gradients take less time.
SMALL_WORK = 3e6


def brier(estimator, X, y):
    """Minus the mean squared distance of probabilities from labels, in [-2, 0].

    A class that was absent from the fit has probability 0.
    """
    p = estimator.predict_proba(X)
    labels, given = np.unique(y, return_inverse=True)
    hot = np.zeros((len(y), len(labels)))
    hot[np.arange(len(y)), given] = 1.0
    place = {label: column for column, label in enumerate(estimator.classes_.tolist())}
    columns = [place.get(label) for label in labels.tolist()]
    known = np.zeros_like(hot)
    for column, source in enumerate(columns):
        if source is not None:
            known[:, column] = p[:, source]
    rest = p.copy()
    rest[:, [source for source in columns if source is not None]] = 0.0
    square = np.square(known - hot).sum(axis=1) + np.square(rest).sum(axis=1)
    return -float(square.mean())


class Refits:
    """One fit per selection, of any estimator, on the rows that are selected.

    Parameters
    ----------
    utility : Utility
        V of a subset.
    n_jobs : int or None
        Selections that are fitted in parallel.
    """

    def __init__(self, utility, n_jobs):
        self.utility = utility
        self.n_jobs = n_jobs

    def __call__(self, batch, selected):
        """Rewards (S,) of selections (b, S), bool, of the rows `batch` (b,)."""
        calls = (delayed(self.utility)(batch[chosen]) for chosen in selected.T)
        return np.array(Parallel(n_jobs=self.n_jobs)(calls))


class LinearRefits:
    """All selections at once, for logistic and ridge regression.

    ``J_s(theta) = (1/W) sum_i s_i l_i(theta) + penalty`` is minimised for all s by
    Newton steps from the fit on all rows. Small systems are solved as they are, in as
    many unknowns as there are rows or features; others by conjugate gradients that are
    preconditioned by that fit's curvature, so that the rows are only multiplied by
    matrices. Preprocessing steps stay as they were fitted on all rows.

    Parameters
    ----------
    utility : Utility
        For selections that lack a class.
    objective : Objective
        At the fit on all training rows.
    X_val, y_val : the user's validation rows
    score : {"brier", "accuracy", "r2"} or None
        None: the utility's scorer.
    """

    def __init__(self, utility, objective, X_val, y_val, score):
        self.utility = utility
        self.objective = objective
        self.model = objective.model
        self.X_val, self.y_val = X_val, y_val
        self.score = score

    def __call__(self, batch, selected):
        """Rewards (S,) of selections (b, S), bool, of the rows `batch` (b,)."""
        whole = self._has_every_class(batch, selected)
        rewards = np.empty(selected.shape[1])
        for column in np.flatnonzero(~whole):
            rewards[column] = self.utility(batch[selected[:, column]])
        columns = np.flatnonzero(whole)
        per_column = 8 * len(batch) * self.model.n_outputs * (self.model.n_outputs + 4)
        size = max(BLOCK_BYTES // per_column, 1)
        for start in range(0, len(columns), size):
            part = columns[start : start + size]
            thetas = self.fit(batch, selected[:, part])
            rewards[part] = self._scores(thetas)
        return rewards

    def fit(self, batch, selected):
        """Parameters (p, S) that minimise J_s for every column of `selected`."""
        if self._is_small(*selected.shape):
            problem = _SmallProblem(self.objective, batch, selected, self._shift)
        else:
            problem = _Problem(self.objective, batch, selected, self._curvature)
        state = problem.at(problem.start())
        for _ in range(MAX_NEWTON):
            step, decrement = problem.newton_step(state)
            if (decrement <= problem.tolerance * np.abs(state.value)).all():
                return problem.parameters(state.theta - step)
            state = _line_search(problem, state, step, decrement)
        return problem.parameters(state.theta)

    def _is_small(self, n, S):
        """Whether the Hessians of S selections of n rows are formed."""
        k, q = self.model.n_outputs, min(n, self.model.n_features) + 1
        work = k * (k + 1) / 2 * q * q * n + (k * q) ** 3 / 3
        return S * work <= SMALL_WORK

    @cached_property
    def _curvature(self):
        """Hessian of the data term of J (p, p) at the fit on all rows."""
        model, at = self.model, self.objective
        hessian = model.loss.hessian(at.raw, at.y)
        scaled = hessian * (at.weight / at.total_weight)[:, None, None]
        return model.hessian_gram(at.X, scaled)

    @cached_property
    def _shift(self):
        """What keeps the curvature of the shift that a softmax does not see above 0."""
        return SHIFT * np.diag(self._curvature).mean()

    def _has_every_class(self, batch, selected):
        if self.model.classes is None:
            return selected.any(axis=0)
        hot = self.objective.y[batch][:, None] == np.arange(len(self.model.classes))
        return (hot.T.astype(float) @ selected > 0).all(axis=0)

    @cached_property
    def _val(self):
        """Prepared validation rows."""
        return _double(self.model.inputs(self.X_val))

    @cached_property
    def _val_code(self):
        """Position of every validation label, -1 for a label without training rows."""
        place = {label: c for c, label in enumerate(self.model.classes.tolist())}
        return np.array([place.get(label, -1) for label in self.y_val.tolist()])

    def _scores(self, thetas):
        if self.score is None:
            return np.array([self._scored(theta) for theta in thetas.T])
        raw = self.model.jvp(self._val, thetas)
        return np.array([self._score_raw(z) for z in np.moveaxis(raw, 2, 0)])

    def _score_raw(self, z):
        if self.score == "r2":
            return r2_score(self.y_val, z if self.y_val.ndim == 2 else z[:, 0])
        p, code = self.model.loss.predict(z), self._val_code
        if self.score == "accuracy":
            return float((p.argmax(axis=1) == code).mean())
        known = code >= 0
        given = np.where(known, p[np.arange(len(p)), code], 0.0)
        return -float((np.square(p).sum(axis=1) - 2.0 * given + 1.0).mean())

    def _scored(self, theta):
        """The scorer's opinion of the estimator with these parameters."""
        return float(
            self.utility.scorer(self.model.with_theta(theta), self.X_val, self.y_val)
        )


@dataclass
class _State:
    """Parameters, J of every selection (S,), and the raw outputs (S b, k)."""

    theta: np.ndarray
    raw: np.ndarray
    value: np.ndarray


class _Problem:
    """J_s of S selections of one batch: sums over rows for all of them at once."""

    tolerance = DECREMENT_INNER

    def __init__(self, objective, batch, selected, curvature):
        self.model = objective.model
        self.X = _double(rows.take(objective.X, batch))
        self.n, self.S = selected.shape
        self.y = np.concatenate([objective.y[batch]] * self.S)
        self.share = selected / objective.total_weight
        self.l2 = objective.l2
        ridge = self.l2 + SHIFT * np.diag(curvature).mean()
        share = selected.mean() * self.n / len(objective.y)
        self.preconditioner = cho_factor(share * curvature + np.diag(ridge))

    def start(self):
        """Parameters (p, S) of the fit on all rows."""
        return np.repeat(self.model.theta[:, None], self.S, axis=1)

    def parameters(self, theta):
        """Parameters (p, S) of the model."""
        return theta

    def moved(self, theta, length, step):
        """Parameters after a step of `length` (S,)."""
        return theta - length * step

    def at(self, theta):
        k = self.model.n_outputs
        raw = self.model.jvp(self.X, theta).transpose(2, 0, 1).reshape(-1, k)
        loss = self.model.loss.value(raw, self.y).reshape(self.S, self.n)
        data = np.einsum("sn,ns->s", loss, self.share)
        return _State(theta, raw, data + 0.5 * self.l2 @ np.square(theta))

    def back(self, u):
        """``sum_i share_i J_i.T u_i`` (p, S) of u (S, n, k)."""
        u = u.transpose(1, 2, 0) * self.share[:, None, :]
        n, k, S = u.shape
        flat = rows.column_sums(self.X, u.reshape(n, k * S)).T.reshape(k, S, -1)
        return self.model.join(flat.transpose(0, 2, 1), u.sum(axis=0))

    def newton_step(self, state):
        """Newton step (p, S) of every selection, and its decrement (S,)."""
        model, shape = self.model, (self.S, self.n, self.model.n_outputs)
        residual = model.loss.gradient(state.raw, self.y).reshape(shape)
        gradient = self.back(residual) + self.l2[:, None] * state.theta
        hessian = model.loss.hessian(state.raw, self.y).reshape(*shape, shape[-1])

        def product(V):
            forward = model.jvp(self.X, V).transpose(2, 0, 1)
            moved = np.matmul(hessian, forward[..., None])[..., 0]
            return self.back(moved) + self.l2[:, None] * V

        step = _conjugate_gradients(product, gradient, self.preconditioner)
        return step, np.einsum("ps,ps->s", gradient, step)


class _SmallProblem:
    """The same for few rows or features, with parameters (S, k, q) and full Hessians.

    The penalty is the same for all coefficients of an output, so that the minimiser
    lies in the span of the batch's rows: with fewer rows than features the unknowns are
    coordinates in an orthonormal basis of it. The last is the intercept.
    """

    tolerance = DECREMENT_EXACT

    def __init__(self, objective, batch, selected, shift):
        self.model = model = objective.model
        X = _double(rows.to_dense(rows.take(objective.X, batch)))
        self.basis = None
        if len(X) < X.shape[1]:
            self.basis, X = _span(X)
        if model.fit_intercept:
            X = np.hstack([X, np.ones((len(X), 1))])
        self.Z = X
        self.n, self.S = selected.shape
        self.y = np.concatenate([objective.y[batch]] * self.S)
        self.share = np.ascontiguousarray(selected.T) / objective.total_weight
        coef, intercept = model.split(objective.l2)
        self.l2 = np.repeat(coef[:, :1], X.shape[1], axis=1)
        if model.fit_intercept:
            self.l2[:, -1] = intercept
        self.shift = shift

    def start(self):
        coef, intercept = self.model.split(self.model.theta)
        if self.basis is not None:
            coef = coef @ self.basis
        if self.model.fit_intercept:
            coef = np.hstack([coef, intercept[:, None]])
        return np.repeat(coef[None], self.S, axis=0)

    def parameters(self, theta):
        """Parameters (p, S) of the model."""
        coef, intercept = theta, None
        if self.model.fit_intercept:
            coef, intercept = theta[:, :, :-1], theta[:, :, -1].T
        if self.basis is not None:
            coef = coef @ self.basis.T
        return self.model.join(coef.transpose(1, 2, 0), intercept)

    def moved(self, theta, length, step):
        return theta - length[:, None, None] * step

    def at(self, theta):
        raw = (self.Z @ theta.transpose(0, 2, 1)).reshape(-1, self.model.n_outputs)
        loss = self.model.loss.value(raw, self.y).reshape(self.S, self.n)
        penalty = np.einsum("kq,skq->s", 0.5 * self.l2, np.square(theta))
        return _State(theta, raw, np.einsum("sn,sn->s", loss, self.share) + penalty)

    def newton_step(self, state):
        """Newton step (S, k, q) of every selection, and its decrement (S,)."""
        loss, (S, k, q) = self.model.loss, state.theta.shape
        residual = loss.gradient(state.raw, self.y).reshape(S, self.n, k)
        weighted = (residual * self.share[:, :, None]).transpose(0, 2, 1)
        gradient = weighted @ self.Z + self.l2 * state.theta
        pairs = zip(self._hessian(state), gradient.reshape(S, -1), strict=True)
        step = np.stack([_solve(*pair) for pair in pairs]).reshape(S, k, q)
        return step, np.einsum("skq,skq->s", gradient, step)

    def _hessian(self, state):
        """Hessians (S, k q, k q)."""
        S, k, q = state.theta.shape
        weight = self.model.loss.hessian(state.raw, self.y).reshape(S, self.n, k, k)
        weight = (weight * self.share[:, :, None, None]).transpose(2, 3, 0, 1)
        out = np.empty((S, k, q, k, q))
        for a in range(k):
            for b in range(a, k):
                block = (self.Z.T * weight[a, b][:, None, :]) @ self.Z
                out[:, a, :, b, :] = block
                if a != b:
                    out[:, b, :, a, :] = block
        out = out.reshape(S, k * q, k * q)
        diagonal = np.arange(k * q)
        out[:, diagonal, diagonal] += self.l2.ravel() + self.shift
        return out


def _solve(hessian, gradient):
    """``H^-1 g`` of one selection."""
    _, step, failed = dposv(hessian, gradient)
    # Rounding leaves a curvature of nearly nothing below it.
    return np.linalg.lstsq(hessian, gradient, rcond=None)[0] if failed else step


def _span(X):
    """An orthonormal basis (d, n) of the rows of X (n, d), n < d; their coordinates."""
    n = len(X)
    factored, tau, _, _ = dgeqrf(X.T)
    return dorgqr(factored, tau)[0], np.tril(factored[:n].T)


def _double(X):
    """Rows in double precision, once for all products, if they are few."""
    small = isinstance(X, np.ndarray) and 8 * X.size <= BLOCK_BYTES
    return X.astype(np.float64, copy=False) if small else X


def _line_search(problem, state, step, decrement):
    """The state after steps that lower J, halved one by one where needed."""
    length = np.ones(problem.S)
    for _ in range(MAX_HALVINGS):
        trial = problem.at(problem.moved(state.theta, length, step))
        rises = trial.value > state.value - 1e-4 * length * decrement
        if rises.any():
            # Below what J can resolve, a step is neither better nor worse.
            rises &= decrement > 1e-12 * np.abs(state.value)
        if not rises.any():
            return trial
        length[rises] *= 0.5
    length[rises] = 0.0
    return problem.at(problem.moved(state.theta, length, step))


def _conjugate_gradients(product, b, factored):
    """``A^-1 b`` of every column (p, S), each with its own A, to a loose residual."""

    def precondition(r):
        return dpotrs(factored[0], r, lower=factored[1])[0]

    x, r = np.zeros_like(b), b.copy()
    z = precondition(r)
    q, rho = z, np.einsum("ps,ps->s", r, z)
    goal = INNER**2 * rho
    for _ in range(MAX_INNER):
        moved = product(q)
        curved = np.einsum("ps,ps->s", q, moved)
        alpha = np.divide(rho, curved, out=np.zeros_like(rho), where=curved > 0)
        x += alpha * q
        r -= alpha * moved
        z = precondition(r)
        last, rho = rho, np.einsum("ps,ps->s", r, z)
        if (rho <= goal).all():
            break
        beta = np.divide(rho, last, out=np.zeros_like(rho), where=last > 0)
        q = z + beta * q
    return x


def linear_objective(estimator, X, y):
    """The objective of a fitted estimator that `LinearRefits` can follow, or None."""
    try:
        model = adapt(estimator)
    except NotDifferentiableError:
        return None
    known = isinstance(model, LinearModel) and type(model) in (
        LogisticModel,
        RidgeModel,
    )
    if not known or model.n_parameters > MAX_PARAMETERS:
        return None
    if not all(isinstance(frame, PipelineFrame) for frame in model.frames):
        return None
    weight = np.ones(len(y))
    objective = Objective.at_fit(model, model.inputs(X), model.targets(y), weight)
    record = objective.record
    # Balanced class weights follow the selection, and an L1 penalty has corners.
    plain = record.class_weights is None and not np.any(record.tilt)
    coef = model.split(objective.l2)[0]
    return objective if plain and (coef > 0).all() else None
