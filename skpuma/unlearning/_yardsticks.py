"""The usual yardsticks: training again, going on without the rows, and ascending."""

import copy
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skpuma import rows
from skpuma.models import adapt, check_supported, find_adapter, frame_of, innermost
from skpuma.objective import Objective
from skpuma.refit import LARGEST_SEED, epochs_of, refuse_frozen, seeded
from skpuma.scores import newton_factor, polish
from skpuma.unlearning._perturbed import Counted
from skpuma.unlearning._wrapping import WrapsEstimator
from skpuma.utils._progress import progress
from skpuma.utils._validation import check_number, check_whole
from skpuma.utils.errors import NotDifferentiableError, PatchWarning, warn


class Retrainer(WrapsEstimator):
    """Training from scratch on the rows that are left, with the seeds of the fit.

    What the other systems are measured against: it forgets exactly, keeps nothing for
    it, and costs a whole fit.

    Parameters
    ----------
    estimator : estimator, default None
        Any classifier or regressor; None means ``LogisticRegression()``. Of a Pipeline
        all steps are fitted again: a scaler forgets the rows too, where `PumaPatcher`
        keeps the preprocessing of the fit.
    random_state : int, RandomState or None, default None
        Draws every ``random_state`` of `estimator` that is None, once, for all fits.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on the rows that have not been forgotten.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        0: nothing is kept.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` went through; epochs
        are the ``n_iter_`` of the estimator, or 1 where it has none.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpuma.unlearning import Retrainer
    >>> X, y = load_iris(return_X_y=True)
    >>> system = Retrainer(LogisticRegression(max_iter=500)).fit(X, y)
    >>> system.forget(X, y, [0, 1, 2]).score(X, y)
    0.97...
    """

    def __init__(self, estimator=None, *, random_state=None):
        self.estimator = estimator
        self.random_state = random_state

    def _check_parameters(self):
        refuse_frozen(self._base(), "it is trained again for every removal")

    def _fit_rows(self, X, y, rng):
        self._seeded = seeded(self._base(), rng)
        return self._trained(self._seeded, X, y)

    def _forget_rows(self, X, y, gone, kept):
        return self._trained(self._seeded, rows.take_user(X, kept), y[kept])


class FineTuner(WrapsEstimator):
    """Training that goes on from the fitted model, on the rows that are left only.

    Nothing makes the model leave what it has learnt from the rows that go, but that
    they are no longer shown to it. Preprocessing steps stay as they were fitted.

    Parameters
    ----------
    estimator : estimator, default None
        None means ``LogisticRegression()``. A ``FrozenEstimator`` is not fitted, and
        goes on from where it is. How training goes on depends on the estimator, or the
        last step of a Pipeline:

        - by ``partial_fit``, an epoch a call, with the rows in a new order each time,
          where training is stochastic (``MLPClassifier``, ``SGDRegressor``, ...);
        - else by its own solver and ``warm_start`` (``LogisticRegression``, an MLP with
          ``solver="lbfgs"``, ``Lasso``, ``PoissonRegressor``, ...);
        - else, for convex models that skpuma supports, by Newton steps on the objective
          of the rows that are left; a single one is the whole way for ``Ridge``.
    n_epochs : int, default 5
        Epochs, or iterations of the solver at most.
    verbose : int, default 0
        Above 0: a progress bar over the epochs of ``partial_fit``.
    random_state : int, RandomState or None, default None
        Draws every ``random_state`` of `estimator` that is None, and the orders.

    Attributes
    ----------
    estimator_ : estimator
        Fitted.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        0: nothing is kept. The state of an optimiser is the estimator's own.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` went through; the
        epochs of a solver are its ``n_iter_``, those of Newton steps their number.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import SGDClassifier
    >>> from skpuma.unlearning import FineTuner
    >>> X, y = load_iris(return_X_y=True)
    >>> system = FineTuner(SGDClassifier(), n_epochs=3, random_state=0).fit(X, y)
    >>> system.forget(X, y, [0, 1, 2]).cost_
    441.0
    """

    def __init__(self, estimator=None, *, n_epochs=5, verbose=0, random_state=None):
        self.estimator = estimator
        self.n_epochs = n_epochs
        self.verbose = verbose
        self.random_state = random_state

    def _check_parameters(self):
        check_whole(self.n_epochs, "n_epochs", low=1)
        _way(innermost(self._base()))

    def _fit_rows(self, X, y, rng):
        cost = self._trained(seeded(self._base(), rng), X, y)
        self._seed = rng.randint(LARGEST_SEED)
        return cost

    def _forget_rows(self, X, y, gone, kept):
        X, y = rows.take_user(X, kept), y[kept]
        go_on = getattr(self, _way(innermost(self.estimator_)))
        self.estimator_, n_epochs = go_on(X, y)
        return len(y) * n_epochs

    def _by_epochs(self, X, y):
        inner, X, y, frames = _opened(self.estimator_, X, y)
        rng = np.random.default_rng((self._seed, len(y)))
        epochs = range(self.n_epochs)
        for _ in progress(epochs, verbose=self.verbose, title="epochs"):
            # An estimator with a fixed seed shuffles every call alike.
            order = rng.permutation(len(y))
            inner.partial_fit(rows.take_user(X, order), y[order])
        return _closed(inner, frames), self.n_epochs

    def _by_solver(self, X, y):
        one_label = self._classifies() and y.ndim == 1
        if one_label and len(np.unique(y)) < len(self.classes_):
            raise ValueError(
                f"A class loses its last row, and {type(self.estimator_).__name__} can "
                "only go on with all of them. Forget fewer rows, or use Retrainer."
            )
        inner, X, y, frames = _opened(self.estimator_, X, y)
        settings = {"warm_start": True, "max_iter": self.n_epochs}
        before = {name: inner.get_params(deep=False)[name] for name in settings}
        with warnings.catch_warnings():
            # It is stopped on purpose.
            warnings.simplefilter("ignore", ConvergenceWarning)
            inner.set_params(**settings).fit(X, y)
        inner.set_params(**before)
        if not epochs_of(inner):
            warn(
                "The solver took no step: without these rows it is within its tol "
                "already, and the model is what it was. Fit with a smaller tol.",
                PatchWarning,
            )
        return _closed(inner, frames), epochs_of(inner)

    def _by_newton(self, X, y):
        model = adapt(self.estimator_)
        X, y = model.inputs(X), model.targets(y)
        objective = Objective.at_fit(model, X, y, np.ones(len(y)))
        steps = Counted(newton_factor)
        objective, _, _ = polish(objective, steps, max_steps=self.n_epochs)
        return objective.model.with_theta(objective.model.theta), steps.calls


class GradientAscent(WrapsEstimator):
    """Gradient ascent on the loss of the rows that go.

    Every step is ``theta += learning_rate * (grad L_gone - retain * grad L_kept)``,
    with L_gone and L_kept the mean loss of the rows that go and of those that stay,
    without the penalty. There is no optimum to arrive at: how far to go is up to
    `n_steps` and `max_loss`, and too far destroys the model.

    Parameters
    ----------
    estimator : estimator, default None
        A classifier or regressor that `skpuma.models` supports, or a Pipeline that ends
        in one; None means ``LogisticRegression()``. A ``FrozenEstimator`` is not fitted
        again. Preprocessing steps stay as they were fitted.
    n_steps : int, default 10
        Steps at most, each over all rows that it needs.
    learning_rate : float, default 0.1
    retain : float, default 0.0
        Weight of the descent on the loss of the rows that stay.
    max_loss : float, default inf
        Stop after the first step at which L_gone is at least this: the loss of fresh
        rows is what a model without these rows would have.
    verbose : int, default 0
        Above 0: a progress bar over the steps.
    random_state : int, RandomState or None, default None
        Draws every ``random_state`` of `estimator` that is None.

    Attributes
    ----------
    estimator_ : estimator
        Fitted, of the same class.
    losses_ : ndarray (steps + 1,)
        L_gone before each step of the last `forget` and after the last, in the units of
        the model's own loss (nats, half the squared error, ...); empty before.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        0: nothing is kept.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` went through. A step
        is an epoch of the rows that go, and of those that stay where `retain` > 0; of
        `fit` it is the ``n_iter_`` of the estimator, or 1 where it has none.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    Known as NegGrad, and NegGrad+ with `retain`. A loss that grows without end makes
    steps that do so too: `forget` raises a ValueError, and changes nothing, where it
    is no longer finite.

    References
    ----------
    Compared with in L. Graves, V. Nagisetty, V. Ganesh, "Amnesiac Machine Learning",
    AAAI 2021, and in M. Kurmanji, P. Triantafillou, J. Hayes, E. Triantafillou,
    "Towards Unbounded Machine Unlearning", NeurIPS 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpuma.unlearning import GradientAscent
    >>> X, y = load_iris(return_X_y=True)
    >>> system = GradientAscent(LogisticRegression(max_iter=500)).fit(X, y)
    >>> system = system.forget(X, y, [70, 77, 83])
    >>> bool(system.losses_[-1] > system.losses_[0])
    True
    """

    def __init__(
        self,
        estimator=None,
        *,
        n_steps=10,
        learning_rate=0.1,
        retain=0.0,
        max_loss=np.inf,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.retain = retain
        self.max_loss = max_loss
        self.verbose = verbose
        self.random_state = random_state

    def _check_parameters(self):
        check_whole(self.n_steps, "n_steps", low=1)
        check_number(self.learning_rate, "learning_rate", low=0.0, strict_low=True)
        check_number(self.retain, "retain", low=0.0)
        check_number(self.max_loss, "max_loss", infinite=True)
        check_supported(self._base())

    def _fit_rows(self, X, y, rng):
        cost = self._trained(seeded(self._base(), rng), X, y)
        # What `forget` could not work with is refused now.
        model = adapt(self.estimator_)
        model.inputs(rows.take_user(X, slice(0, 1)))
        self.losses_ = np.empty(0)
        return cost

    def _forget_rows(self, X, y, gone, kept):
        model = adapt(self.estimator_)
        leaving = self._prepared(model, X, y, gone)
        staying = self._prepared(model, X, y, kept) if self.retain > 0.0 else None
        losses = [_mean_loss(model, *leaving)]
        for _ in progress(range(self.n_steps), verbose=self.verbose, title="steps"):
            # A step too far may overflow; its loss says so.
            with np.errstate(over="ignore", invalid="ignore"):
                step = _mean_gradient(model, *leaving)
                if staying is not None:
                    step = step - self.retain * _mean_gradient(model, *staying)
                model = model.at(model.theta + self.learning_rate * step)
                losses.append(_mean_loss(model, *leaving))
            if not np.isfinite(losses[-1]):
                raise ValueError(
                    f"The loss of the rows to forget is {losses[-1]} after step "
                    f"{len(losses) - 1}; it was {losses[-2]:.3g} before. Use fewer "
                    "steps, a smaller learning_rate, or max_loss."
                )
            if losses[-1] >= self.max_loss:
                break
        self.estimator_ = model.with_theta(model.theta)
        self.losses_ = np.array(losses)
        n_rows = len(leaving[1]) + (0 if staying is None else len(staying[1]))
        return (len(losses) - 1) * n_rows

    def _prepared(self, model, X, y, mask):
        return model.inputs(rows.take_user(X, mask)), model.targets(y[mask])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        try:
            sparse = find_adapter(innermost(self._base())).sparse
        except NotDifferentiableError:
            sparse = False  # fit says what is supported; a repr need not fail
        tags.input_tags.sparse = tags.input_tags.sparse and sparse
        return tags


def _mean_loss(model, X, y):
    return float(model.loss.value(model.raw(X), y).mean())


def _mean_gradient(model, X, y):
    """Gradient of the mean loss in theta (p,)."""
    return model.vjp(X, model.loss.gradient(model.raw(X), y)) / len(y)


def _way(estimator):
    """Name of the method by which the training of an estimator goes on.

    Raises
    ------
    ValueError
        If there is none.
    """
    parameters = estimator.get_params(deep=False)
    name = type(estimator).__name__
    if hasattr(estimator, "partial_fit") and "max_iter" in parameters:
        if parameters.get("early_stopping"):
            raise ValueError(
                f"{name}(early_stopping=True) cannot go on by partial_fit: use "
                "early_stopping=False."
            )
        return "_by_epochs"
    try:
        check_supported(estimator)
        convex, reason = find_adapter(estimator).convex, None
    except NotDifferentiableError as error:
        convex, reason = False, error
    liblinear = parameters.get("solver") == "liblinear"
    warm = {"warm_start", "max_iter"} <= parameters.keys() and not liblinear
    if warm and reason is None:
        return "_by_solver"
    if convex:
        return "_by_newton"
    raise ValueError(
        f"The training of {name} cannot go on from where it is: it has no epochs "
        "(partial_fit), and is no model that skpuma supports with a warm_start or a "
        "convex objective. Use Retrainer."
    ) from reason


def _opened(estimator, X, y):
    """A copy of the model inside pipelines, its rows and targets, and the frames."""
    frames = []
    while (frame := frame_of(estimator)) is not None:
        frames.append(frame(estimator))
        X, y = frames[-1].transform(X), frames[-1].targets(y)
        estimator = frame.inside(estimator)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return copy.deepcopy(estimator), X, y, frames


def _closed(estimator, frames):
    for frame in reversed(frames):
        estimator = frame.rebuild(estimator)
    return estimator
