"""DVRL: data valuation by reinforcement learning."""

import math
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.utils import check_array
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from skpuma import rows
from skpuma.refit import refuse_frozen, seeded
from skpuma.utils._progress import Interruptible
from skpuma.utils._validation import check_number, check_whole
from skpuma.valuation import _network_fits
from skpuma.valuation._base import BaseValuation, Part, refuse_missing, targets_of
from skpuma.valuation._selection_rewards import (
    LinearRefits,
    Refits,
    brier,
    linear_objective,
)
from skpuma.valuation._utility import Utility
from skpuma.valuation._value_network import ValueNetwork

BASELINES = ("moving_average", "fixed")
# Share of the steps before the networks are averaged.
BURN_IN = 0.25
# Weight of the exploration penalty, per row: 1e3 over the paper's 1,000 rows.
EXPLORATION = 1.0
# Multiplications of a layer from which several threads make it faster.
THREADED_WORK = 2e7


class DVRL(BaseValuation):
    """Selection probabilities learnt from the score of what is selected (Yoon et al.).

    A small network h gives every row a probability from its features, its label and
    how far the label is from what a model of the validation rows predicts. Rows are
    selected with these probabilities, the estimator is fitted on them, and its score on
    the validation rows is the reward; REINFORCE moves h towards selections of higher
    reward. The value of a row is its probability under the trained network, which
    values new rows as well.

    Parameters
    ----------
    estimator : estimator, default None
        Any classifier or regressor; None means ``LogisticRegression()``. Clones are
        fitted on the selected rows, which for a selection is what sample weights of 0
        and 1 mean, so that it need not take weights.
    scoring : str, callable or None, default "auto"
        The reward; high is good. "auto" is minus the Brier score on the validation rows
        for classifiers with ``predict_proba``, since it tells small changes that
        accuracy on a few hundred rows does not, and ``estimator.score`` for others.
        None is ``estimator.score``; the paper has "roc_auc" on Adult.
    n_iter : int, default 100
        Steps of REINFORCE. More of them learn the validation rows by heart before they
        learn more about the training rows.
    n_selections : int, default 8
        Selections per step; the paper has 1. For logistic and ridge regression 8 cost
        little more than one.
    batch_size : int, default 2000
        Rows that a step selects from, drawn without replacement; all rows if there are
        no more.
    learning_rate : float, default 0.01
        Of Adam.
    hidden_dim, comb_dim, n_layers : int, default 100, 10, 5
        The network of the paper: `n_layers` - 2 layers of `hidden_dim` units, two of
        `comb_dim`; the second of these also sees the marginal.
    baseline : {"moving_average", "fixed"}, default "moving_average"
        What rewards are compared with: their average over the last steps (the paper's
        Algorithm 1), or the score of the fit on all rows (the authors' code).
    window : int, default 20
        T of the moving average ``(1 - 1/T) average + reward / T``, and number of steps
        whose advantages are scaled to a mean square of 1.
    threshold : float, default 0.9
        The mean probability of a batch is pushed back into
        ``[1 - threshold, threshold]``.
    logit_penalty : float, default 0.05
        Strength of ``penalty / 2 * logit ** 2`` per row, which keeps probabilities from
        reaching 0 or 1 by chance before the rewards have told the rows apart. The paper
        has 0.
    cv : int, splitter or list of splits, default 5
        Folds that stand in for `X_val`, each with a network of its own.
    n_jobs : int, default None
        Selections of a step that are fitted in parallel, where the estimator is neither
        logistic nor ridge regression; the values do not depend on it.
    verbose : int, default 0
        Above 0: a progress bar.
    random_state : int, RandomState or None, default None
        Draws the network, the batches, the selections, the folds, and the seeds of an
        estimator that has none.

    Attributes
    ----------
    values_ : ndarray (n,)
        Selection probabilities in [0, 1]; the lowest are the most harmful rows. With
        folds, the mean over the networks whose training rows include the row.
    rewards_ : list of ndarray (n_steps,)
        Mean reward of every step, in units of the score; one array per network.
    baseline_scores_ : ndarray (n_networks,)
        Score of the estimator fitted on all training rows of each network.
    n_iter_ : int
        Steps of the network that was trained least.
    interrupted_ : bool
        Whether Ctrl-C ended the run early; the values are those of the networks trained
        so far.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    What differs from the paper: several selections per step; advantages are scaled to
    unit mean square, so that the learning rate means the same for every score; the
    penalty on the logits; rectifiers of slope 0.01 below zero, without which layers die
    and many rows get the same value; inputs are scaled, the marginal to zero mean and
    unit variance, the features of a row to a mean square of 1; all probabilities start
    near one half; the trained network is the average of the networks after the first
    quarter of the steps; a regressor's marginal is ``|y - prediction|``, not divided by
    y. The predictor is fitted to its optimum instead of a number of epochs. With
    ``n_selections=1``, ``logit_penalty=0`` and ``baseline="fixed"`` the loop is that of
    the authors' code up to these scales and averages.

    A Pipeline's preprocessing, as fitted on all training rows, prepares the network's
    inputs. A selection that lacks a class is worth what its labels alone tell (see
    `DataShapley`). Validation rows are consumed: do not test on them.

    References
    ----------
    J. Yoon, S. O. Arik, T. Pfister, "Data Valuation using Reinforcement Learning",
    ICML 2020, Algorithm 1 and equations 2 to 5.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skpuma.datasets import flip_labels
    >>> from skpuma.valuation import DVRL
    >>> X, y = make_classification(300, class_sep=2.0, random_state=0)
    >>> y_noisy, flipped = flip_labels(y[:200], 0.1, random_state=0)
    >>> system = DVRL(n_iter=50, random_state=0)
    >>> system = system.fit(X[:200], y_noisy, X_val=X[200:], y_val=y[200:])
    >>> int(flipped[system.values_.argsort()[:20]].sum()) > 10
    True
    >>> system.valuate(X[:3], y_noisy[:3]).shape
    (3,)
    """

    scores_unknown_labels = True

    def __init__(
        self,
        estimator=None,
        *,
        scoring="auto",
        n_iter=100,
        n_selections=8,
        batch_size=2000,
        learning_rate=0.01,
        hidden_dim=100,
        comb_dim=10,
        n_layers=5,
        baseline="moving_average",
        window=20,
        threshold=0.9,
        logit_penalty=0.05,
        cv=5,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.scoring = scoring
        self.n_iter = n_iter
        self.n_selections = n_selections
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.hidden_dim = hidden_dim
        self.comb_dim = comb_dim
        self.n_layers = n_layers
        self.baseline = baseline
        self.window = window
        self.threshold = threshold
        self.logit_penalty = logit_penalty
        self.cv = cv
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def valuate(self, X, y):
        """Values of rows under the trained network.

        Parameters
        ----------
        X : array-like or DataFrame (n, d)
        y : array-like (n,)

        Returns
        -------
        ndarray (n,)
            Selection probabilities in [0, 1]; the mean over the networks if there are
            several.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If there are no rows, X and y differ in length, or a label was not among
            the training rows.
        """
        check_is_fitted(self, "values_")
        validate_data(self, X, reset=False, skip_check_array=True)
        y = np.asarray(y)
        check_consistent_length(X, y)
        if len(y) == 0:
            raise ValueError("X has 0 rows: there is nothing to value.")
        refuse_missing(y, "y")
        y = targets_of(y, self._classifies())
        return np.mean([one.probabilities(X, y) for one in self._trained], axis=0)

    # -- the contract ------------------------------------------------------------------

    def _value(self, X, y, X_val, y_val, rng):
        self._check_parameters()
        classifies = self._classifies()
        y, y_val = targets_of(y, classifies), targets_of(y_val, classifies)
        estimator = seeded(self._estimator(), rng)
        fitted = _network_fits.fit(estimator, X, y)
        model_of_val = _fit_validation_model(estimator, X_val, y_val, classifies)
        described = Description.of(fitted, model_of_val, X, y, classifies)
        score, utility = self._utility(estimator, fitted, X, y, X_val, y_val)
        rewards_of = self._rewards_of(fitted, utility, score)
        training = Training(
            network=self._network(described, rng),
            baseline=utility.full,
            window=self.window if self.baseline == "moving_average" else None,
            scale=deque(maxlen=self.window),
        )
        steps = self._steps(training, described.rows_of(X, y), rewards_of, y, rng)
        run = Interruptible(
            steps, self.n_iter, verbose=self.verbose, title="steps of DVRL"
        )
        with self._blas_threads(len(y)):
            rewards = np.array(list(run))
        trained = Trained(described, training.average)
        state = {"trained": trained, "rewards": rewards, "baseline": utility.full}
        values = trained.probabilities(X, y)
        return Part(values, state=state, interrupted=run.interrupted)

    def _keep(self, parts, trains):
        self._trained = [part.state["trained"] for part in parts]
        self.rewards_ = [part.state["rewards"] for part in parts]
        self.baseline_scores_ = np.array([part.state["baseline"] for part in parts])
        self.n_iter_ = min(len(rewards) for rewards in self.rewards_)

    # -- parts -------------------------------------------------------------------------

    def _check_parameters(self):
        refuse_frozen(self._estimator(), "DVRL fits it on selected rows")
        for name, low in (
            ("n_iter", 1),
            ("n_selections", 1),
            ("batch_size", 2),
            ("hidden_dim", 1),
            ("comb_dim", 1),
            ("n_layers", 3),
            ("window", 1),
        ):
            check_whole(getattr(self, name), name, low=low)
        check_number(self.learning_rate, "learning_rate", low=0.0, strict_low=True)
        check_number(self.logit_penalty, "logit_penalty", low=0.0)
        check_number(self.threshold, "threshold", low=0.5, high=1.0)
        if self.baseline not in BASELINES:
            raise ValueError(
                f"baseline={self.baseline!r} is not one of {', '.join(BASELINES)}."
            )

    def _utility(self, estimator, fitted, X, y, X_val, y_val):
        """The fast name of the score (or None), and V of subsets, V(all rows) known."""
        classifies, scoring = self._classifies(), self.scoring
        score = None
        if isinstance(scoring, str) and scoring == "auto":
            scoring = None
            if classifies and hasattr(fitted, "predict_proba"):
                scoring, score = brier, "brier"
        if scoring is None or scoring == ("accuracy" if classifies else "r2"):
            score = "accuracy" if classifies else "r2"
        utility = Utility(estimator, scoring, X, y, X_val, y_val)
        utility.full_of(fitted)
        return score, utility

    def _rewards_of(self, fitted, utility, score):
        """A function of (batch, selected) to rewards."""
        objective = linear_objective(fitted, utility.X, utility.y)
        if objective is None:
            return Refits(utility, self.n_jobs)
        return LinearRefits(utility, objective, utility.X_val, utility.y_val, score)

    def _network(self, described, rng):
        return ValueNetwork(
            described.n_inputs,
            described.n_marginal,
            rng,
            hidden_dim=self.hidden_dim,
            comb_dim=self.comb_dim,
            n_layers=self.n_layers,
            learning_rate=self.learning_rate,
        )

    def _blas_threads(self, n):
        """A context in which small networks are trained on one thread."""
        work = min(n, self.batch_size) * self.hidden_dim**2
        return rows.one_blas_thread() if work < THREADED_WORK else nullcontext()

    def _steps(self, training, seen, rewards_of, y, rng):
        """Train; yields the mean reward of every step."""
        inputs, marginal = seen
        code = np.zeros(len(y), dtype=int)
        if self._classifies():
            code = np.unique(y, return_inverse=True)[1]
        burn_in = int(BURN_IN * self.n_iter)
        for step in range(self.n_iter):
            batch = _batch(code, self.batch_size, rng)
            at = rows.take(inputs, batch), marginal[batch]
            outputs = training.network.forward(*at)
            logits = outputs[-1][:, 0].astype(np.float64)
            p = expit(logits)
            selected = rng.uniform(size=(len(batch), self.n_selections)) < p[:, None]
            rewards = rewards_of(batch, selected)
            advantage = training.advantage(rewards)
            by_logit = (p[:, None] - selected) @ advantage / self.n_selections
            by_logit += self.logit_penalty * logits + self._exploration(p)
            gradient = training.network.gradient(outputs, by_logit)
            training.network.step(gradient)
            training.follow(max(step - burn_in, 0))
            yield float(rewards.mean())

    def _exploration(self, p):
        """Gradient in the logits of the penalty on the mean probability, times n."""
        mean = p.mean()
        outside = float(mean > self.threshold) - float(mean < 1.0 - self.threshold)
        return EXPLORATION * outside * p * (1.0 - p)


@dataclass
class Training:
    """What changes from step to step.

    Attributes
    ----------
    network : ValueNetwork
    baseline : float
        What rewards are compared with.
    window : int or None
        T of the moving average; None keeps the baseline fixed.
    scale : deque
        Mean squares of the last advantages.
    average : ValueNetwork
        Mean of the networks since the burn-in.
    """

    network: ValueNetwork
    baseline: float
    window: int | None
    scale: deque
    average: ValueNetwork = field(init=False)

    def __post_init__(self):
        self.average = self.network.copy()

    def advantage(self, rewards):
        """Rewards minus the baseline, in units of the last ones' spread (S,)."""
        found = rewards - self.baseline
        if self.window is not None:
            self.baseline += (rewards.mean() - self.baseline) / self.window
        self.scale.append(float(found @ found) / len(found))
        scale = math.sqrt(sum(self.scale) / len(self.scale))
        return found / scale if scale > 0 else found

    def follow(self, n_before):
        """Take the network into the mean of `n_before` ones."""
        self.average.approach(self.network, 1.0 / (n_before + 1))


@dataclass(frozen=True)
class Description:
    """How a row is described to the network: scaled (x, y), and the scaled marginal.

    Attributes
    ----------
    fitted, model_of_val : estimator
        Fitted on the training rows, whose preprocessing is used, and on the validation
        rows.
    classes : ndarray or None
    x, y, marginal : Scale
    """

    fitted: object
    model_of_val: object
    classes: np.ndarray | None
    x: object
    y: object
    marginal: object

    @classmethod
    def of(cls, fitted, model_of_val, X, y, classifies):
        """Learn the scales of the training rows."""
        classes = np.unique(y) if classifies else None
        raw = cls(fitted, model_of_val, classes, None, None, None)
        table = raw._table(X)
        targets = raw._targets(y)
        return cls(
            fitted,
            model_of_val,
            classes,
            x=Scale.of(table, joint=True),
            y=Scale.of(targets),
            marginal=Scale.of(raw._distance(X, y, targets)),
        )

    @property
    def n_inputs(self):
        """Columns of (x, y)."""
        return len(self.x.unit) + len(self.y.unit)

    @property
    def n_marginal(self):
        """Columns of m."""
        return len(self.marginal.unit)

    def rows_of(self, X, y):
        """(inputs, marginal) of a user's rows, in single precision."""
        targets = self._targets(y)
        x, m = self.x(self._table(X)), self.marginal(self._distance(X, y, targets))
        y = self.y(targets)
        if sparse.issparse(x):
            return sparse.hstack([x, y], format="csr", dtype=np.float32), m
        return np.hstack([x, y]), m

    def _table(self, X):
        """Rows as the last step of a Pipeline sees them, as numbers."""
        steps = getattr(self.fitted, "steps", ())
        if len(steps) > 1:
            X = self.fitted[:-1].transform(X)
        try:
            return check_array(X, accept_sparse="csr", dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                "The value network of DVRL needs finite numbers for features: put the "
                "estimator into a Pipeline that encodes and imputes them. "
                f"({error})"
            ) from error

    def _targets(self, y):
        """Labels as indicators (n, n_classes), or a regressor's targets (n, k)."""
        if self.classes is None:
            return np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        hot = np.asarray(y)[:, None] == self.classes
        unknown = ~hot.any(axis=1)
        if unknown.any():
            labels = np.unique(np.asarray(y)[unknown])[:5].tolist()
            raise ValueError(
                f"y has labels that were not among the training rows: {labels}; known "
                f"are {self.classes.tolist()}."
            )
        return hot.astype(np.float64)

    def _distance(self, X, y, targets):
        """The marginal: how far targets are from the validation model's opinion."""
        if self.classes is None:
            predicted = np.reshape(self.model_of_val.predict(X), targets.shape)
        else:
            predicted = _opinion(self.model_of_val, X, self.classes)
        return np.abs(targets - predicted)


@dataclass(frozen=True)
class Scale:
    """Columns minus `centre`, over `unit`; sparse columns are not centred."""

    centre: np.ndarray
    unit: np.ndarray

    @classmethod
    def of(cls, table, joint=False):
        """Mean and standard deviation of the columns.

        Parameters
        ----------
        joint : bool
            The unit of a column is at least a quarter of its range, so that a rare
            indicator is no huge number; and the rows have a mean square of 1, so that
            many features together weigh what the marginal does.
        """
        d = table.shape[1]
        if sparse.issparse(table):
            mean = np.asarray(table.mean(axis=0)).ravel()
            square = np.asarray(table.multiply(table).mean(axis=0)).ravel()
            unit = np.sqrt(np.maximum(square - mean**2, 0.0))
            low, high = (np.ravel(f(axis=0).toarray()) for f in (table.min, table.max))
            centre = np.zeros(d)
        else:
            centre, unit = table.mean(axis=0), table.std(axis=0)
            square = unit**2
            low, high = table.min(axis=0), table.max(axis=0)
        if joint:
            unit = np.maximum(unit, 0.25 * (high - low))
        unit = np.where(unit > 0, unit, 1.0)
        if joint:
            total = (square / unit**2).sum()
            unit = unit * np.sqrt(total if total > 0 else 1.0)
        return cls(centre, unit)

    def __call__(self, table):
        """Scaled columns, in single precision."""
        if sparse.issparse(table):
            scaled = table.multiply(1.0 / self.unit)
            return sparse.csr_array(scaled, dtype=np.float32)
        return ((table - self.centre) / self.unit).astype(np.float32)


@dataclass(frozen=True)
class Trained:
    """A network with what it takes to value any row."""

    description: Description
    network: ValueNetwork

    def probabilities(self, X, y):
        """Selection probabilities (n,)."""
        return expit(self.network.logits(*self.description.rows_of(X, y)))


class _Constant:
    """The validation model where all validation rows have one label."""

    def __init__(self, label):
        self.classes_ = np.array([label])

    def predict_proba(self, X):
        return np.ones((rows.count(X), 1))


def _fit_validation_model(estimator, X_val, y_val, classifies):
    if classifies and len(np.unique(y_val)) == 1:
        return _Constant(y_val[0])
    return _network_fits.fit(estimator, X_val, y_val)


def _opinion(model, X, classes):
    """Probabilities (n, n_classes) of the training labels, 0 for labels not known.

    Without ``predict_proba`` they are a softmax of the decision function, and without
    that an indicator of the predicted label.
    """
    if hasattr(model, "predict_proba"):
        p = model.predict_proba(X)
    elif hasattr(model, "decision_function"):
        z = model.decision_function(X)
        p = softmax(z, axis=1) if z.ndim == 2 else np.stack([expit(-z), expit(z)], 1)
    else:
        p = (model.predict(X)[:, None] == model.classes_).astype(float)
    out = np.zeros((len(p), len(classes)))
    place = {label: column for column, label in enumerate(classes.tolist())}
    for source, label in enumerate(model.classes_.tolist()):
        if label in place:
            out[:, place[label]] = p[:, source]
    return out


def _batch(code, size, rng):
    """Positions of a step's rows: all, or `size` at random with one of every class."""
    n, n_classes = len(code), code.max() + 1
    if n <= size:
        return np.arange(n)
    order = rng.permutation(n)
    if np.bincount(code[order[:size]], minlength=n_classes).all():
        return order[:size]
    first = np.unique(code[order], return_index=True)[1]
    rest = np.delete(order, first)
    return np.concatenate([order[first], rest[: max(size - len(first), 0)]])
