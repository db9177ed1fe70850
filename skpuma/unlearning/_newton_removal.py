"""NewtonRemoval: certified removal from linear models, by one Newton step."""

import copy
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge
from sklearn.multiclass import OneVsRestClassifier

from skpuma import rows
from skpuma.models import adapt
from skpuma.objective import FitRecord, Objective
from skpuma.refit import LARGEST_SEED, epochs_of, fit_estimator
from skpuma.unlearning._perturbed import (
    factored,
    largest_shift,
    norms_of,
    numbers_of,
    optimum_of,
    parts_of,
    penalty_of,
)
from skpuma.unlearning._wrapping import WrapsEstimator
from skpuma.utils._progress import progress
from skpuma.utils._validation import check_number
from skpuma.utils.errors import PatchWarning, warn

# Largest third derivative of log(1 + exp(z)), at z = log(2 + sqrt(3)).
LIPSCHITZ = 1.0 / (6.0 * np.sqrt(3.0))
WHEN_EXHAUSTED = ("refit", "warn", "raise")
# Rounding errors of a gradient, in units of the machine precision and of its terms.
ROUNDING = 8.0 * np.finfo(float).eps


class NewtonRemoval(WrapsEstimator):
    """Certified removal of rows from a logistic or a ridge regression.

    Training adds a random linear term to the objective. Forgetting takes one Newton
    step towards the optimum without the rows, and adds what the step can have missed to
    a bound on the gradient that is left. While the bound is within a budget, the random
    term hides the difference: for every set T of models, the probability that the
    system ends in T and the probability that training without the rows does are within
    a factor ``exp(epsilon)`` and a summand `delta` of each other. After that the model
    is trained anew on the rows that are left, with a new random term.

    Parameters
    ----------
    estimator : LogisticRegression or Ridge, default None
        None means ``LogisticRegression()``. It says how strong the L2 penalty is, by
        ``C`` or ``alpha``, and whether there is an intercept; the penalty does not
        change when rows go. More than two classes are learnt one against the rest.
    sigma : float or "auto", default "auto"
        Standard deviation of the random term's coefficients, in the units of the
        gradient of the summed loss. "auto" is 1 for LogisticRegression, and 0 for
        Ridge, whose removal is exact and needs none. With 0, removal from a
        LogisticRegression is not certified, and is never stopped by the budget.
    epsilon : float, default 1.0
    delta : float, default 1e-4
        The certificate: smaller values are stronger and leave a smaller budget.
    exhausted : {"refit", "warn", "raise"}, default "refit"
        What a call of `forget` does that would exceed the budget, or takes the last row
        of one of several classes: train anew, warn that the certificate is void, or
        raise a ValueError and change nothing.
    verbose : int, default 0
        Above 0: a progress bar over the classes.
    random_state : int, RandomState or None, default None
        Draws the random term. Whoever knows the seed can take the term off again: leave
        it None where the certificate matters.

    Attributes
    ----------
    estimator_ : LogisticRegression, Ridge or OneVsRestClassifier
        A plain, fitted estimator with the weights of the perturbed objective; its
        ``n_iter_`` is that of the last training before any Newton step.
    residual_ : float
        Norm of the gradient of the perturbed objective over the rows that are left,
        measured; over all classes together.
    residual_bound_ : float
        The bound on it that the certificate rests on: what training left, and what
        every call of `forget` has added since.
    budget_ : float
        Largest shift that noise of size sigma hides, which `residual_bound_` must not
        exceed: ``sigma * epsilon / c`` with ``c = sqrt(2 log(1.5 / delta))``, and for
        epsilon beyond about 5, where that is too much, the exact one of a Gaussian
        (Balle & Wang, ICML 2018). Infinite for Ridge.
    certified_ : bool
        Whether the certificate holds for ``estimator_`` as it is.
    n_refits_ : int
        How often `forget` has trained anew.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        Bytes of the random term, which measuring `residual_` needs.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` went through. A Newton
        step is one pass over the rows, for all classes at once; the iterations of the
        estimator's own solver, from which training starts, count too.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    See Also
    --------
    skpuma.PumaPatcher : For many more models, and without a certificate.

    Notes
    -----
    The objective over the rows D is ``L(w; D) = sum_i l(x_i.w, y_i) + w.P.w / 2 + b.w``
    with P = 1/C or alpha, and b drawn from N(0, sigma^2 I). A constant is appended to
    the rows for the intercept. Of a LogisticRegression its coefficient is penalised as
    the others are (``solver="liblinear"`` does so too, and scales it by
    ``intercept_scaling``), since the certificate needs an objective that is strongly
    convex and perturbed in every direction. The intercept of a Ridge is free.

    **The step.** With Delta the gradient of the loss over the rows that go, and H the
    Hessian of L over those that stay, ``w' = w + s``, ``s = H^-1 Delta``. The gradient
    u that L had at w is not worked on; at w' it is::

        u' = u + integral_0^1 (H(w + t s) - H(w)) s dt

    The integrand is ``X.T D X s``, where row i of the diagonal D is the change of
    ``l''`` along ``t x_i.s``, so at most ``gamma t |x_i.s|`` with gamma the largest
    third derivative of the loss. So one call adds at most::

        |u' - u| <= gamma/2 * |X|_2 * |(X s)^2|_2        (square by entry)

    This holds for any rows and for any number of them in a call. It is below the
    paper's ``gamma |X|_2 |s|_2 |X s|_2`` (corollary 1), which takes rows of norm 1 or
    less for granted; gamma is ``1 / (6 sqrt(3))`` for the logistic loss, where the
    paper has 1/4, and 0 for squared losses. ``|X|_2`` is that of the rows of the last
    training, which no removal raises (above a few thousand columns, their Frobenius
    norm). The error of the linear solve, and an allowance for rounding, are added. For
    several classes, all gradients form one vector, and the bounds add up as squares.

    With C = 1 and columns of one scale the bound is some 30 to 1,000 times the
    residual. Where a few rows are far longer than the rest, or the penalty is weak, it
    is of no use, and every call trains anew.

    **Batches.** s grows with the number of rows m of a call, and the bound with its
    square: one call with m rows takes about m times as much of the budget as m calls
    with one row each, and as many times less time.

    **What the certificate does not cover.** It speaks of the weights that are released
    last. It does not cover what was chosen or computed with the rows before: a scaler,
    selected columns, C or alpha; earlier releases of the model, or removals that were
    asked for because of what an earlier release showed; this object itself, which holds
    b: hand out ``estimator_`` and keep the object. Also not covered are the names of
    the classes and columns, ``n_iter_``, and which calls trained anew. Normal numbers
    in floating point are normal up to rounding only.

    References
    ----------
    C. Guo, T. Goldstein, A. Hannun, L. van der Maaten, "Certified Data Removal from
    Machine Learning Models", ICML 2020, section 3 (the Newton step, the certificate by
    a random term, several removals) and corollary 1 (the data-dependent bound).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.unlearning import NewtonRemoval
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = scale(X)
    >>> system = NewtonRemoval(random_state=0).fit(X, y)
    >>> system = system.forget(X, y, [3, 5, 8])
    >>> system.residual_ <= system.residual_bound_ <= system.budget_
    True
    >>> system.cost_
    566.0
    """

    def __init__(
        self,
        estimator=None,
        *,
        sigma="auto",
        epsilon=1.0,
        delta=1e-4,
        exhausted="refit",
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.sigma = sigma
        self.epsilon = epsilon
        self.delta = delta
        self.exhausted = exhausted
        self.verbose = verbose
        self.random_state = random_state

    def _check_parameters(self):
        estimator = self._base()
        if not isinstance(estimator, (LogisticRegression, Ridge)) or isinstance(
            estimator, LogisticRegressionCV
        ):
            raise ValueError(
                f"{type(estimator).__name__} is not supported: removal is certified "
                "for LogisticRegression and Ridge. Preprocess the rows beforehand, and "
                "set C or alpha."
            )
        if getattr(estimator, "class_weight", None) is not None:
            raise ValueError(
                "class_weight is not supported: removal would change the weights of "
                "the rows that stay. Use class_weight=None."
            )
        if not (isinstance(self.sigma, str) and self.sigma == "auto"):
            check_number(self.sigma, "sigma", low=0.0)
        check_number(self.epsilon, "epsilon", low=0.0, strict_low=True)
        check_number(self.delta, "delta", low=0.0, high=1.0, strict_low=True)
        if self.exhausted not in WHEN_EXHAUSTED:
            raise ValueError(
                f"exhausted={self.exhausted!r} is not one of {WHEN_EXHAUSTED}."
            )

    # -- training ----------------------------------------------------------------------

    def _fit_rows(self, X, y, rng):
        # More bits than a single seed has: those of one could be tried one by one.
        self._entropy = rng.randint(LARGEST_SEED, size=4)
        self.n_refits_ = 0
        self.budget_ = np.inf
        if self._classifies():
            self.budget_ = self._sigma() * largest_shift(self.epsilon, self.delta)
            if self._sigma() == 0.0:
                warn(
                    "sigma=0 perturbs nothing, so that the removal of rows is not "
                    "certified. Use sigma > 0 if it should be.",
                    PatchWarning,
                )
        return self._train(X, y)

    def _sigma(self):
        if isinstance(self.sigma, str):
            return 1.0 if self._classifies() else 0.0
        return float(self.sigma)

    def _train(self, X, y):
        """Set the optimum of the objective with a new random term; the cost."""
        estimator = self._base()
        if self._classifies() and len(np.unique(y)) > 2:
            estimator = OneVsRestClassifier(estimator)
        with warnings.catch_warnings():
            # Newton steps go on from where it stops.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.estimator_ = fit_estimator(estimator, X, y)
        parts = parts_of(self.estimator_)
        for part in parts:
            part.coef_ = part.coef_.astype(np.float64)
            part.intercept_ = np.asarray(part.intercept_, dtype=np.float64)[()]
        models = [adapt(part) for part in parts]
        self._penalty = penalty_of(models[0], self._classifies())
        rng = np.random.RandomState([*self._entropy, self.n_refits_])
        size = len(models), models[0].n_parameters
        self._perturbation = rng.normal(0.0, self._sigma(), size)
        self._norms = norms_of(models[0], numbers_of(models[0], X))
        found, n_steps = [], []
        for objective in self._shown(self._objectives(X, y)):
            objective, steps = optimum_of(objective)
            found.append(objective)
            n_steps.append(steps)
        self._keep(found, self._measured(found) + self._rounding(found))
        epochs = max(epochs_of(part) for part in parts)
        return len(y) * (epochs + max(n_steps))

    def _objectives(self, X, y):
        """The perturbed objective of every class (or the only one) over these rows."""
        parts = parts_of(self.estimator_)
        inputs = None
        for a, (part, b) in enumerate(zip(parts, self._perturbation, strict=True)):
            model = adapt(part)
            inputs = numbers_of(model, X) if inputs is None else inputs
            if isinstance(self.estimator_, OneVsRestClassifier):
                code = (y == self.estimator_.classes_[a]).astype(int)
            else:
                code = model.targets(y)
            n = len(code)
            # W = 1: the objective is a sum over rows, as in the paper.
            record = FitRecord(1.0, n, n, self._penalty, b, None)
            yield Objective(model, inputs, code, np.ones(n), record)

    def _shown(self, objectives):
        total = len(self._perturbation)
        return progress(objectives, total, verbose=self.verbose, title="classes")

    # -- removal -----------------------------------------------------------------------

    def _forget_rows(self, X, y, gone, kept):
        stay = rows.take_user(X, kept), y[kept]
        lost = self._classifies() and len(np.unique(stay[1])) < len(self.classes_)
        if lost and self.exhausted == "refit":
            return self._train_again(*stay)
        leave = rows.take_user(X, gone), y[gone]
        found, missed = [], []
        pairs = zip(self._objectives(*stay), self._objectives(*leave), strict=True)
        for objective, leaving in self._shown(pairs):
            objective, error = self._without(objective, leaving)
            found.append(objective)
            missed.append(error)
        added = float(np.linalg.norm(missed)) + self._rounding(found)
        bound = self.residual_bound_ + added
        cost = float(np.count_nonzero(kept))
        if lost or 0.0 < self.budget_ < bound:
            if self.exhausted == "refit":
                return cost + self._train_again(*stay)
            self._say(lost, bound)
        self._keep(found, bound, void=lost)
        return cost

    def _without(self, objective, leaving):
        """The objective after a Newton step, and a bound on what the step missed."""
        model = objective.model
        delta = model.vjp(leaving.X, leaving.residual)
        solution = factored(objective).solve(delta)
        step = solution.value
        missed = float(solution.residual[0] * np.linalg.norm(delta))
        if self._classifies():
            squares = np.square(model.jvp(objective.X, step))
            missed += 0.5 * LIPSCHITZ * self._norms[0] * np.linalg.norm(squares)
        return objective.at(model.theta + step), missed

    def _train_again(self, X, y):
        self.n_refits_ = self.n_refits_ + 1
        return self._train(X, y)

    def _say(self, lost, bound):
        """Raise or warn, as `exhausted` says."""
        what = f"the residual may be {bound:.2g}, and the budget is {self.budget_:.2g}"
        if lost:
            what = "a class loses its last row, and its name would stay"
        message = f"Removal of these rows is not certified: {what}."
        if self.exhausted == "raise":
            raise ValueError(
                f"{message} Nothing was changed. Forget fewer rows in a call, or use "
                'exhausted="refit".'
            )
        warn(f"{message} Train anew by fit on the rows that are left.", PatchWarning)

    # -- both --------------------------------------------------------------------------

    def _keep(self, found, bound, void=False):
        """Set the model at these parameters, and what is known about its residual."""
        fitted = [one.model.with_theta(one.model.theta) for one in found]
        if isinstance(self.estimator_, OneVsRestClassifier):
            self.estimator_ = copy.copy(self.estimator_)
            self.estimator_.estimators_ = fitted
        else:
            self.estimator_ = fitted[0]
        self.residual_ = self._measured(found)
        self.residual_bound_ = float(bound)
        self.certified_ = not void and 0.0 < self.budget_ and bound <= self.budget_

    def _measured(self, found):
        return float(np.linalg.norm([one.gradient() for one in found]))

    def _rounding(self, found):
        """How far off a gradient can be by rounding, and so a residual."""
        size = 0.0
        for one, b in zip(found, self._perturbation, strict=True):
            terms = np.linalg.norm(one.residual) + np.linalg.norm(one.raw)
            size += self._norms[1] * terms + np.linalg.norm(b)
            size += np.linalg.norm(one.penalty_share)
        return float(ROUNDING * size)

    def _stored_bytes(self):
        return self._perturbation.nbytes + self._entropy.nbytes
