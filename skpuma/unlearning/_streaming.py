"""StreamingRemoval: many requests against a linear model, by low-rank changes."""

from dataclasses import fields

import numpy as np

from skpuma.models import LinearModel, adapt, check_supported
from skpuma.objective import Objective
from skpuma.refit import seeded
from skpuma.unlearning._base import _AllOrNothing
from skpuma.unlearning._downdating import concordance
from skpuma.unlearning._requests import Requests, corrected, in_order
from skpuma.unlearning._wrapping import WrapsEstimator
from skpuma.utils._validation import check_number
from skpuma.utils.errors import NotDifferentiableError, PatchWarning, warn


class StreamingRemoval(WrapsEstimator):
    """Removal of rows from a linear model, one by one, without a pass over the rest.

    The Hessian is factored once. A request takes its row off the factor and off the
    gradient, and the model takes the Newton step: ``O(p^2)`` for p parameters, whatever
    the number of rows. A bound says how far the model can be from the refit; where it
    exceeds a tolerance, the model is corrected, by a pass over the rows that are left.

    Parameters
    ----------
    estimator : estimator, default None
        A linear model with a smooth loss and an L2 penalty, or with more independent
        rows than parameters: LinearRegression, Ridge, RidgeClassifier,
        LogisticRegression (binary or multinomial), PoissonRegressor, GammaRegressor,
        TweedieRegressor, a OneVsRestClassifier of them, or a Pipeline that ends in one,
        whose other steps stay as they were fitted. None means ``LogisticRegression()``.
    tol : float, default 1e-6
        Largest distance from the refit, relative to the norm of all coefficients and
        intercepts, that `fit` and every call of `forget` may leave.
    tol_between : float, default 1e-4
        The same after every single request of a call but its last.
    random_state : int, RandomState or None, default None
        Draws every ``random_state`` of `estimator` that is None.

    Attributes
    ----------
    estimator_ : estimator
        Plain and fitted, at the optimum of the rows that are left.
    distance_bound_ : float
        Bound on its distance from the refit, relative to the norm of its parameters.
    bounds_ : ndarray (m,)
        The same after every request of the last call of `forget` or `stream`; empty
        before. The last is `distance_bound_`.
    n_corrections_ : int
        How often the Hessian was factored, by a pass over all rows that are left, since
        `fit` and with it.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        Bytes of the factor, and of what belongs to it: some ``3 p^2`` numbers.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` went through: a
        request is a row, a correction all that are left.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    See Also
    --------
    NewtonRemoval : One Newton step a call, with a certificate.
    skpuma.PumaPatcher : For many more models.

    Notes
    -----
    With J the objective of the rows that are left (``doc/conventions.rst``), H and g
    its Hessian and gradient at ``theta_0``, where the Hessian was last factored, the
    model is ``theta_0 + s`` with ``s = -H^-1 g``. Both lose a term with every row, so
    that the model does not depend on the order of the requests but for where it was
    corrected. k outputs make k Sherman-Morrison updates of ``H^-1``. A penalty that
    follows the weights (the GLMs) loses its share as well. For squared losses, this is
    the refit.

    **The bound.** The curvature l'' of every loss here changes by a factor of at most
    ``exp(M |t|)`` where the output moves by t (M is 1 for logistic, Poisson and gamma
    losses, 0 for squared ones). With ``tau = M max_i |x_i s|``, bounded by the longest
    row in the norm of ``H^-1`` at the last correction, the gradient that is left has::

        |grad J(theta_0 + s)|_{H^-1} <= ((exp(tau) - 1) / tau - 1) |s|_H

    and the refit is no further than ``-log(1 - c b exp(tau)) / c`` in the norm of H,
    where b is that bound, and c is M times the longest row under the smallest
    eigenvalue that is left. An allowance for rounding is added. The bound replaces that
    of Guo et al., which takes rows of norm 1 and one Lipschitz constant for all: here a
    row counts by its leverage. It does not accumulate, and grows with the square of s.

    It is loose where few rows carry a model, and for many classes: on 1,797 images in
    10 classes three of four requests take a correction, which is a pass over the rows.

    **The refit** is one with the class weights of the fit, as everywhere in skpuma:
    with ``class_weight="balanced"`` those that the labels had then.

    **Requests in one call.** Those of `forget` are taken in the order of the rows,
    those of `stream` in the order of `rows`; both end within `tol` of the same refit.

    **What is kept.** The factor, its centre and the gradient are those of rows that
    have been removed since, which `estimator_` knows no more than `tol` allows: hand
    that out, and not this object.

    References
    ----------
    C. Guo, T. Goldstein, A. Hannun, L. van der Maaten, "Certified Data Removal from
    Machine Learning Models", ICML 2020, section 3 and corollary 1.
    F. Bach, "Self-concordant analysis for logistic regression", Electronic Journal of
    Statistics 4, 2010, propositions 1 and 2 (losses whose curvature changes by a
    factor).
    J. Sherman, W. J. Morrison, "Adjustment of an Inverse Matrix Corresponding to a
    Change in One Element of a Given Matrix", Ann. Math. Statist. 21(1), 1950.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.unlearning import StreamingRemoval
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = scale(X)
    >>> system = StreamingRemoval().fit(X, y)
    >>> system = system.forget(X, y, range(100))
    >>> len(system.bounds_), bool(system.distance_bound_ <= 1e-6)
    (100, True)
    >>> for model in system.stream(X, y, [205, 203]):
    ...     print(type(model).__name__)
    LogisticRegression
    LogisticRegression
    """

    def __init__(
        self, estimator=None, *, tol=1e-6, tol_between=1e-4, random_state=None
    ):
        self.estimator = estimator
        self.tol = tol
        self.tol_between = tol_between
        self.random_state = random_state

    def stream(self, X, y, rows):
        """Forget rows, one by one; the model after each.

        Parameters
        ----------
        X, y : the rows of the fit
            As in `forget`.
        rows : bool mask, positions, or labels of X's index
            As in `forget`; positions and labels in the order of the requests.

        Returns
        -------
        generator of estimators
            One for every row that had not been forgotten before: plain and fitted,
            within `tol_between` of the refit without the rows so far, the last within
            `tol`. The system itself changes when the iteration ends or is closed: it
            has then forgotten the rows whose models were asked for.

        Raises
        ------
        ValueError, IndexError, KeyError, TypeError
            As `forget` does, at once. While it runs: if the rows that are left do not
            determine a model; the models so far hold.
        """
        given = rows, X
        X, y, gone = self._requested(X, y, rows)
        return self._streamed(X, y, in_order(*given, gone))

    # -- the contract ------------------------------------------------------------------

    def _check_parameters(self):
        check_number(self.tol, "tol", low=0.0, strict_low=True)
        check_number(self.tol_between, "tol_between", low=self.tol)
        check_supported(self._base())

    def _fit_rows(self, X, y, rng):
        cost = self._trained(seeded(self._base(), rng), X, y)
        model = adapt(self.estimator_)
        refuse(model)
        objective = Objective.at_fit(
            model, model.inputs(X), model.targets(y), np.ones(len(y))
        )
        self._record = objective.record
        self.bounds_ = np.zeros(0)
        removal, passes = corrected(objective, self.tol)
        self.n_corrections_ = passes
        self._take(model, removal)
        return cost + passes * len(y)

    def _forget_rows(self, X, y, gone, kept):
        requests = Requests(self, X, y, np.flatnonzero(gone))
        for _ in requests:
            pass
        return self._finish(requests)

    def _check_kept(self, y, kept):
        super()._check_kept(y, kept)
        if self._classifies() and y.ndim == 1:
            lost = set(y[~self.forgotten_].tolist()) - set(y[kept].tolist())
            if lost:
                raise ValueError(
                    f"No row of class {lost.pop()!r} would be left, and the model "
                    "would keep its name. Forget fewer rows, or train anew without it."
                )

    def _stored_bytes(self):
        parts = (self._removal, self._removal.centre, self._record)
        arrays = (getattr(part, f.name) for part in parts for f in fields(part))
        return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))

    # -- the work ----------------------------------------------------------------------

    def _streamed(self, X, y, order):
        requests, before, n = Requests(self, X, y, order), self._removal, 0
        try:
            for thetas in requests:
                for theta in thetas:
                    n += 1
                    yield requests.model.with_theta(theta)
        finally:
            if self._removal is not before:
                raise RuntimeError(
                    "The system has changed while its models were streamed: end or "
                    "close one iteration before the next call."
                )
            with _AllOrNothing(self):
                if n < len(order):
                    # Requests go through in parts; the last one ends within `tol`.
                    requests = Requests(self, X, y, order[:n])
                    for _ in requests:
                        pass
                if n:
                    self.cost_ = self._finish(requests)
                    self._settle(X, y, requests.kept)

    def _finish(self, requests):
        """Take the state over that requests have led to; their cost."""
        self.n_corrections_ = self.n_corrections_ + requests.n_corrections
        self.bounds_ = np.concatenate(requests.bounds)
        self._take(requests.model, requests.removal)
        return requests.cost

    def _take(self, model, removal):
        self._removal = removal
        self.distance_bound_ = removal.distance
        self.estimator_ = model.with_theta(removal.theta)
        if removal.distance > self.tol:
            warn(
                f"The model is within {removal.distance:.1e} of the refit, which is "
                f"more than tol={self.tol:g}: rounding allows no less. Use a larger "
                "tol, a stronger penalty, or columns that depend less on each other.",
                PatchWarning,
            )


def refuse(model):
    """Refuse a model for which no bound is known.

    Raises
    ------
    NotDifferentiableError
    """
    name = type(model.estimator).__name__
    if not isinstance(model, LinearModel) or concordance(model.loss) is None:
        raise NotDifferentiableError(
            f"{name} is not supported: no bound on its curvature is known. Use a "
            "linear model with a squared, logistic, Poisson, gamma or Tweedie loss, or "
            "PumaPatcher."
        )
    if model.free_coef is not None:
        raise NotDifferentiableError(
            f"{name} has an L1 penalty, whose active set may change with every row. "
            "Use an L2 penalty, or PumaPatcher."
        )
