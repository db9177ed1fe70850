"""InfluenceFunctions: what upweighting a row does to the parameters and to a loss."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.utils.parallel import Parallel

from skpuma import rows, scores, valuing
from skpuma._meta import (
    criterion_rows,
    require_fitted,
    warn_if_not_stationary,
    warn_if_singular,
    warn_no_optimum,
)
from skpuma.curvature import CURVATURES
from skpuma.models import adapt
from skpuma.objective import Objective, fingerprint, same_rows
from skpuma.refit import fit_estimator, is_frozen, seeded
from skpuma.utils._progress import Interruptible
from skpuma.utils._validation import check_bool, check_number
from skpuma.valuation._base import BaseValuation, Part, check_output


class InfluenceFunctions(BaseValuation):
    """Influence functions of Koh and Liang: every training row on every test loss.

    With g_i the gradient of row i's share in the training objective, and H the
    Hessian of the objective, upweighting row i by epsilon moves the parameters by
    ``epsilon * up_params[i]``, ``up_params[i] = -H^-1 g_i``, and the loss of a test row
    by ``epsilon * up_loss[test, i]``, ``up_loss[test, i] = -grad L(test) . H^-1 g_i``.
    Removing row i is ``epsilon = -w_i / W``: minus its share of the weight.

    Parameters
    ----------
    estimator : estimator, default None
        A classifier or regressor that `skpuma.models` supports, or a Pipeline that ends
        in one; None means ``LogisticRegression()``. A ``FrozenEstimator`` is not fitted
        again, and needs ``X_val``.
    curvature : {"auto", "hessian", "gauss_newton", "fisher"}, default "auto"
        As in `PumaValuator`: Gauss-Newton for networks, the exact Hessian otherwise.
    solver : str or callable, default "auto"
        "cholesky", "eigh" and "woodbury" are explicit; "cg" (conjugate gradients) and
        "lissa" take products with H only. "auto" goes by size. A class of
        `skpuma.solvers`, or a ``functools.partial`` of one, sets depth and scale.
    damping : "auto" or float, default "auto"
        Added to the diagonal of H in solves.
    polish : bool, default True
        Whether convex models are valued at their exact optimum, by Newton steps from
        where the estimator's tolerance stopped.
    cv : int, splitter or list of splits, default 5
        Folds that measure the loss where there is no ``X_val``.
    n_jobs : int, default None
        Folds in parallel; the values do not depend on it.
    verbose : int, default 0
        Above 0: a progress bar over the folds.
    random_state : int, RandomState or None, default None
        Shuffles the rows into folds when `cv` is an int, and draws the seeds of the
        estimator that are open, which all its fits share.

    Attributes
    ----------
    values_ : ndarray (n,)
        psi of `PumaValuator` for the criterion C = mean loss of the model over the rows
        of ``X_val`` (its own loss: log-loss in nats, half the squared error, ...):
        minus the mean of `up_loss` over these rows, so low is harmful. In the units of
        the loss: ``values_ * w_i / W`` is the predicted change of C if the row goes.
    removal_effect_ : ndarray (n,)
        That change: the "predicted difference in loss" of the paper.
    estimator_ : estimator
        Fitted on all rows.
    total_weight_ : float
        W: the number of rows, or the sum of their class weights.
    damping_ : float
        Damping used.
    stationarity_ : float
        ``||H^-1 grad J||`` of the fit before polishing, in units of the 90th percentile
        of one row's displacement.
    interrupted_ : bool
        Whether Ctrl-C ended the run early; the values are then those of the folds that
        were done, nan for rows that none of them trained on.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    No rows are kept in the object, so the methods ask for the training rows again. The
    share of the penalty in g_i follows the estimator: none where the penalty is fixed
    when a row goes (LogisticRegression, Ridge), its own where the penalty is per row
    (PoissonRegressor, networks trained by adam). The paper writes one penalty per row.

    References
    ----------
    P. W. Koh, P. Liang, "Understanding Black-box Predictions via Influence Functions",
    ICML 2017, equations 1 and 2. N. Agarwal, B. Bullins, E. Hazan, "Second-order
    Stochastic Optimization for Machine Learning in Linear Time", JMLR 18, 2017 (LiSSA).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.valuation import InfluenceFunctions
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> test, train = slice(0, None, 3), slice(1, None, 3)
    >>> system = InfluenceFunctions()
    >>> system = system.fit(X[train], y[train], X_val=X[test], y_val=y[test])
    >>> up_loss = system.up_loss(X[train], y[train], X[test], y[test])
    >>> up_loss.shape
    (50, 50)
    >>> bool(abs(up_loss.mean(axis=0) + system.values_).max() < 1e-8)
    True
    """

    def __init__(
        self,
        estimator=None,
        *,
        curvature="auto",
        solver="auto",
        damping="auto",
        polish=True,
        cv=5,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.curvature = curvature
        self.solver = solver
        self.damping = damping
        self.polish = polish
        self.cv = cv
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def up_params(self, X, y, *, out=None):
        """Change of the parameters per unit of upweighting (n, p): ``-H^-1 g_i``.

        Removing row i moves them by ``-w_i / W`` times its line. p is in the order of
        the model's parameters: coefficients, then intercepts, layer by layer.

        Parameters
        ----------
        X, y : the training rows of `fit`
        out : ndarray (n, p), optional
            Where to write, such as a memory map; the rows are computed in blocks.

        Raises
        ------
        TypeError
            If `out` is no array of floats.
        ValueError
            If the rows are not those of `fit`, or `out` has another shape.
        """
        objective, solver = self._rows_of_fit(X, y)
        n, p = len(objective.weight), objective.model.n_parameters
        out = check_output(out, (n, p))
        for block in rows.blocks(n, 32 * p):
            out[block] = -solver.solve(_row_gradients(objective, block).T).value.T
        return out

    def up_loss(self, X, y, X_test, y_test, *, out=None):
        """Change of every test loss per unit of upweighting (n_test, n).

        Removing row i changes the loss of a test row by ``-w_i / W`` times its entry;
        an entry above 0 is a row that harms the prediction. One solve per test row.

        Parameters
        ----------
        X, y : the training rows of `fit`
        X_test : array-like (n_test, d)
        y_test : array-like (n_test,)
        out : ndarray (n_test, n), optional
            Where to write, such as a memory map; the test rows are taken in blocks.

        Raises
        ------
        TypeError
            If `out` is no array of floats.
        ValueError
            If the rows are not those of `fit`, or `out` has another shape.
        """
        objective, solver = self._rows_of_fit(X, y)
        model = objective.model
        X_test, y_test, _, _ = criterion_rows(model, X_test, y_test, None, None)
        shape = len(y_test), len(objective.weight)
        out = check_output(out, shape)
        loss = model.loss.unweighted()
        for block in rows.blocks(shape[0], 16 * shape[1] + 32 * model.n_parameters):
            inputs = rows.take(X_test, block)
            slopes = loss.gradient(model.raw(inputs), y_test[block])
            S = scores.solve_criteria(solver, model.gradients(inputs, slopes).T)
            out[block] = -scores.psi_matrix(objective, S).T
        return out

    def self_influence(self, X, y):
        """``g_i . H^-1 g_i`` of the training rows (n,): minus up_loss on themselves.

        High where a row has to be fitted against the others; mislabelled rows are at
        the upper end (Koh and Liang, section 5.4).

        Parameters
        ----------
        X, y : the training rows of `fit`
        """
        objective, solver = self._rows_of_fit(X, y)
        out = np.empty(len(objective.weight))
        for block in rows.blocks(len(out), 32 * objective.model.n_parameters):
            gradients = _row_gradients(objective, block)
            solved = solver.solve(gradients.T).value
            out[block] = np.einsum("np,pn->n", gradients, solved)
        return out

    # -- fit ---------------------------------------------------------------------------

    def _value(self, X, y, X_val, y_val, rng):
        objective, estimator = self._fitted(seeded(self._estimator(), rng), X, y)
        measured = criterion_rows(objective.model, X_val, y_val, None, None)
        result = valuing.with_validation_rows(objective, measured, self._settings())
        return self._part(objective, estimator, result)

    def _over_folds(self, X, y, rng, grouping=None):
        """Cross-fitted psi, and the fit on all rows that the methods speak of."""
        if is_frozen(self._estimator()):
            raise ValueError(
                "A frozen (prefit) estimator cannot be fitted on folds: pass X_val= "
                "and y_val=, rows that measure the loss."
            )
        # The folds are those of `PumaValuator`, which draws no seeds before them.
        folds_rng = deepcopy(rng)
        unfitted = seeded(self._estimator(), rng)
        objective, estimator = self._fitted(unfitted, X, y)
        splits = valuing.splits_of(self.cv, objective, y, folds_rng)
        runs = []

        def run(calls):
            pool = Parallel(n_jobs=self.n_jobs, return_as="generator")
            folds = Interruptible(
                pool(calls), len(splits), verbose=self.verbose, title="folds"
            )
            runs.append(folds)
            return list(folds)

        result = valuing.cross_fitted(
            objective,
            (X, y, np.ones(len(y)), None),
            partial(_fit_fold, unfitted),
            splits,
            self._settings(),
            run=run,
        )
        part = self._part(objective, estimator, result)
        part = replace(part, interrupted=runs[0].interrupted)
        return [part], [np.arange(len(y))]

    def _fitted(self, estimator, X, y):
        self._check_parameters()
        estimator = fit_estimator(estimator, X, y)
        model = adapt(estimator)
        weight = np.ones(len(y))
        inputs, targets = model.inputs(X), model.targets(y)
        return Objective.at_fit(model, inputs, targets, weight), estimator

    def _check_parameters(self):
        check_bool(self.polish, "polish")
        if self.curvature != "auto" and self.curvature not in CURVATURES:
            raise ValueError(
                f"curvature={self.curvature!r} is not 'auto' or one of "
                f"{sorted(CURVATURES)}."
            )
        if not (isinstance(self.damping, str) and self.damping == "auto"):
            check_number(self.damping, "damping", low=0.0)

    def _settings(self):
        return valuing.Settings(
            curvature=self.curvature,
            solver=self.solver,
            damping=self.damping,
            polish=self.polish,
        )

    def _part(self, objective, estimator, result):
        convex = objective.model.convex
        advice = (
            "refit with a smaller tol, or use polish=True"
            if convex
            else "train longer, with solver='lbfgs', a smooth activation and "
            "alpha > 0, and read the values as a ranking"
        )
        warn_if_not_stationary(result.distance, convex and self.polish, advice)
        warn_if_singular(result.solver, self.damping, convex)
        if not result.converged:
            warn_no_optimum()
        state = {
            "estimator": estimator,
            "effect": result.effect[:, 0],
            "stationarity": result.distance.value,
            "damping": result.solver.damping,
            "model": result.model,
            "record": objective.record,
            "fingerprint": fingerprint(objective.X, objective.y),
        }
        return Part(result.psi[:, 0], state=state)

    def _keep(self, parts, trains):
        state = parts[0].state
        self.estimator_ = state["estimator"]
        self.removal_effect_ = state["effect"]
        self.stationarity_ = state["stationarity"]
        self.damping_ = state["damping"]
        self.total_weight_ = state["record"].total_weight
        self._model = state["model"]
        self._record = state["record"]
        self._fingerprint = state["fingerprint"]

    def _rows_of_fit(self, X, y):
        """(objective, solver) of the fit on all rows; refuses other rows."""
        require_fitted(self, "_record")
        model = self._model
        inputs, targets = model.inputs(X), model.targets(y)
        if not same_rows(self._fingerprint, fingerprint(inputs, targets)):
            raise ValueError("X and y are not those of the fit; pass the same rows.")
        objective = Objective.at_fit(
            model, inputs, targets, np.ones(len(targets)), self._record
        )
        settings = self._settings()
        return objective, settings.factored(objective)


def _fit_fold(estimator, X, y, weight):
    return fit_estimator(estimator, X, y)


def _row_gradients(objective, block):
    """g_i of a block of rows (b, p), per unit of weight."""
    index = np.arange(block.start, block.stop)
    scale = objective.weight[index] / objective.total_weight
    return objective.row_gradients(index) / scale[:, None]
