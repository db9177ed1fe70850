"""Data Shapley: every row's fair share of the score (Ghorbani and Zou, ICML 2019)."""

from collections import deque
from math import factorial

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skpuma.refit import LARGEST_SEED, seeded
from skpuma.utils._progress import Interruptible, progress
from skpuma.utils._validation import check_number, check_whole
from skpuma.utils.errors import PatchWarning, warn
from skpuma.valuation._base import BaseValuation, Part
from skpuma.valuation._scans import engine_of
from skpuma.valuation._utility import Utility

METHODS = ("auto", "exact", "gradient", "tmc")
ENGINES = ("auto", "refit", "scan")
# Sources up to which all subsets are enumerated.
EXACT_SOURCES = 12
# Permutations that the paper's error looks back at, and between two looks.
WINDOW = 100
BATCH = 20
# Share of failed subsets from which the values are mostly those of labels alone.
MANY = 0.5


class DataShapley(BaseValuation):
    r"""Shapley values of the training rows: fair shares of the validation score.

    The value of row i is the mean, over all orders of the rows, of what the score V
    gains when the row is added to those before it:

    .. math:: \phi_i = \frac{1}{n} \sum_{S : i \notin S} \binom{n-1}{|S|}^{-1}
              [V(S \cup i) - V(S)].

    V(S) is the score on the validation rows of a clone fitted on S. A subset that
    cannot be fitted or scored (a single class, too few rows, a log-loss without one of
    the classes) is worth the score of a constant predictor of its labels, and V(empty
    set) if the scorer cannot score that; V(empty set) is the score of a constant
    predictor of all training labels. The values of all rows sum to V(all rows) -
    V(empty set), to rounding if nothing is truncated.

    Parameters
    ----------
    estimator : estimator, default None
        Any classifier or regressor; None is LogisticRegression.
    method : {"auto", "tmc", "exact", "gradient"}, default "auto"
        "tmc" is truncated Monte Carlo over random permutations (Algorithm 1 of the
        paper). "exact" enumerates all subsets of up to 12 rows or groups; Ctrl-C ends
        an enumeration without values, and keeps those of the folds before it. "auto" is
        "exact" where that is possible and "tmc" else. "gradient" is G-Shapley
        (Algorithm 2): V after each step of one epoch of plain gradient descent, one row
        or group a step, for the models that `PumaValuator`
        supports. It values the path of an optimiser, not subsets; its V(empty set) is
        the score where the epoch starts.
    scoring : str or callable, default None
        High is good; None is the estimator's ``score``.
    engine : {"auto", "scan", "refit"}, default "auto"
        How a permutation is walked for "tmc" and "exact". "refit" fits one clone per
        prefix. "scan" follows one fit in a compiled loop, at its exact optimum, by
        rank-one updates for LinearRegression, Ridge and RidgeClassifier, and by
        warm-started Newton steps for LogisticRegression with an L2 penalty; for the
        scores None, "accuracy", "neg_log_loss", "r2" and
        "neg_mean_squared_error" that fit the model. "auto" scans where it can, unless a
        logistic regression has more than 200 parameters, or least squares more than
        1,000 features. scikit-learn's default tolerances stop short of the optimum, so
        that single subsets may score slightly differently. X is made dense. Not used by
        "gradient".
    max_permutations : int, default 300
        Of each fit. Not used by "exact".
    truncation : float, default 0.01
        A permutation is cut, and its remaining rows gain nothing in it, once the score
        was within ``truncation * |V(all rows)|`` of V(all rows) for more than 5
        consecutive rows. 0 never cuts. Used by "tmc" only.
    convergence : float, default 0.05
        Stop once the paper's error is below: the largest, over the last 100
        permutations t, of the mean over rows of ``|phi^t - phi| / |phi|``. It is
        computed every 20 permutations, after more than 100. 0 walks `max_permutations`.
    learning_rate : float or "auto", default "auto"
        Of "gradient" only. "auto" is the one of 10^-1, 10^-1.5, ... 10^-4.5 with the
        largest mean less standard deviation of the final score over 10 epochs.
    empty_score : float, default None
        V(empty set), instead of the score of a constant predictor. Not used by
        "gradient".
    cv : int or splitter, default 5
        Folds where `fit` gets no validation rows.
    n_jobs : int, default None
        Permutations walked in parallel: in processes, or in threads by the kernels. The
        values do not depend on it.
    verbose : int, default 0
        Above 0: a progress bar.
    random_state : int, RandomState or None, default None
        Draws the permutations, the folds, and the seeds of the estimator that are open,
        which all its fits share.

    Attributes
    ----------
    values_ : ndarray (n,)
        In units of the score; the lowest are the most harmful.
    standard_errors_ : ndarray (n,)
        Of the mean over permutations; 0 for "exact".
    group_values_ : ndarray (G,)
        Values of whole groups, which their rows share equally. With `groups` only.
    groups_ : ndarray (G,)
        Their labels.
    full_score_, empty_score_ : float
        V(all rows) and V(empty set); means over the folds, if there are any. For
        "gradient" V(all rows) is the mean final score of the epochs.
    n_permutations_ : int
        Walked, in all folds together.
    convergence_ : float
        The paper's error at the end (the largest of the folds); inf before it can be
        computed, 0 for "exact".
    learning_rate_ : float or ndarray (n_folds,)
        For "gradient" only.
    interrupted_ : bool
        Whether Ctrl-C ended the fit early. The values are then those of the
        permutations before it.

    Raises
    ------
    ValueError
        For a parameter out of its range, a score that fails or is not finite on all
        rows, or is not finite on a subset that has all classes; for "gradient" if the
        steps diverge.
    NotDifferentiableError
        For "gradient" with an estimator that has no gradients here.

    References
    ----------
    A. Ghorbani and J. Zou, "Data Shapley: Equitable Valuation of Data for Machine
    Learning", ICML 2019, arXiv 1904.02868. The reference implementation leaves the
    first row of every permutation of G-Shapley without a gain; here it has one.

    Examples
    --------
    >>> import numpy as np
    >>> from skpuma.valuation import DataShapley
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((160, 2))
    >>> X[:2] = [[2, 2], [-2, -2]]
    >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
    >>> y[:2] = 1 - y[:2]
    >>> shapley = DataShapley(max_permutations=200, random_state=0)
    >>> shapley.fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:])
    DataShapley(max_permutations=200, random_state=0)
    >>> sorted(shapley.to_frame().nsmallest(2, "value").index.tolist())
    [0, 1]
    """

    scores_unknown_labels = True

    def __init__(
        self,
        estimator=None,
        *,
        method="auto",
        scoring=None,
        engine="auto",
        max_permutations=300,
        truncation=0.01,
        convergence=0.05,
        learning_rate="auto",
        empty_score=None,
        cv=5,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.method = method
        self.scoring = scoring
        self.engine = engine
        self.max_permutations = max_permutations
        self.truncation = truncation
        self.convergence = convergence
        self.learning_rate = learning_rate
        self.empty_score = empty_score
        self.cv = cv
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X, y, *, X_val=None, y_val=None, groups=None):
        """Value the rows of X, or whole groups of them.

        Parameters
        ----------
        X : array-like or DataFrame (n, d)
        y : array-like (n,)
        X_val, y_val : optional
            Rows that the score is measured on. Without them the values are means over
            `cv` folds.
        groups : array-like (n,), optional
            A label per row. Rows of one label come as one source, whose value its rows
            share equally; all of them are in the same fold.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            See the class.
        """
        self._check_parameters()
        return self._fit(X, y, X_val, y_val, groups)

    # -- one fit -----------------------------------------------------------------------

    def _value(self, X, y, X_val, y_val, rng, grouping=None):
        walking = check_random_state(rng.randint(LARGEST_SEED))
        utility = Utility(
            seeded(self._estimator(), rng),
            self.scoring,
            X,
            y,
            X_val,
            y_val,
            empty=self.empty_score,
        )
        # Of some folds a group has no row.
        present, members = None, [np.array([i]) for i in range(len(y))]
        if grouping is not None:
            present = np.flatnonzero(grouping.sizes)
            members = [grouping.members[g] for g in present]
        found = self._value_sources(utility, members, walking)
        sizes = np.array([len(one) for one in members])
        code = np.repeat(np.arange(len(members)), sizes)
        order = np.concatenate(members)
        values, errors = np.empty(len(y)), np.empty(len(y))
        values[order] = (found.values / sizes)[code]
        errors[order] = (found.standard_errors / sizes)[code]
        found.state["grouping"] = grouping
        return Part(values, errors, found.state, found.interrupted)

    def _value_sources(self, utility, members, rng):
        """The `Part` of the sources: rows, or groups of rows."""
        method = self.method
        if method == "auto":
            method = "exact" if len(members) <= EXACT_SOURCES else "tmc"
        if method == "gradient":
            from skpuma.valuation._sgd_walks import SGDEngine

            rate = None if self.learning_rate == "auto" else float(self.learning_rate)
            engine = SGDEngine(utility, members, rng, rate)
            return self._sampled(engine, rng, {"learning_rate": engine.rate})
        if method == "exact":
            if len(members) > EXACT_SOURCES:
                raise ValueError(
                    f"method='exact' enumerates all subsets of at most {EXACT_SOURCES} "
                    f"sources, and there are {len(members)}: use method='tmc', or "
                    "groups."
                )
            return self._enumerated(engine_of(self.engine, utility, members, 0.0))
        engine = engine_of(self.engine, utility, members, self.truncation)
        return self._sampled(engine, rng, {})

    def _sampled(self, engine, rng, state):
        """Means over random permutations, until they converge."""
        running = _Running(len(engine.members), engine.empty)
        walks = Interruptible(
            self._walks(engine, self._orders(rng, len(engine.members))),
            self.max_permutations,
            verbose=self.verbose,
            title="permutations",
        )
        for order, walk in walks:
            running.add(order, walk)
            if running.count % BATCH == 0 and running.error() < self.convergence:
                break
        running.tell()
        full = running.last if np.isnan(engine.full) else engine.full
        state = {
            **state,
            "full": full,
            "empty": engine.empty,
            "n_permutations": running.count,
            "convergence": running.error(),
        }
        return Part(running.mean, running.standard_errors(), state, walks.interrupted)

    def _orders(self, rng, n_sources):
        for _ in range(self.max_permutations):
            yield rng.permutation(n_sources)

    def _enumerated(self, engine):
        """The sum over all subsets, which chains of them visit once each."""
        n = len(engine.members)
        chains = list(_chains(n))
        worth = np.empty(2**n)
        worth[0] = engine.empty
        walks = self._walks(engine, chains)
        # Half an enumeration has no values: Ctrl-C is what it always is.
        bar = progress(walks, len(chains), verbose=self.verbose, title="chains")
        for (base, added), walk in bar:
            for size in range(max(len(base), 1), len(base) + len(added) + 1):
                subset = (base + added)[:size]
                worth[sum(1 << source for source in subset)] = walk.scores[size - 1]
        state = {
            "full": float(worth[-1]),
            "empty": engine.empty,
            "n_permutations": 0,
            "convergence": 0.0,
        }
        return Part(shapley_values(worth), np.zeros(n), state)

    def _walks(self, engine, tasks):
        """(task, Walk) of every permutation, or of every chain (base, added)."""
        prefer = "threads" if engine.threads else None
        pool = Parallel(n_jobs=self.n_jobs, prefer=prefer, return_as="generator")
        batch = []
        with pool:
            for task in tasks:
                batch.append(task)
                if len(batch) == BATCH:
                    yield from _batch(pool, engine, batch)
                    batch = []
            yield from _batch(pool, engine, batch)

    # -- the estimator -----------------------------------------------------------------

    def _keep(self, parts, trains):
        states = [part.state for part in parts]
        self.full_score_ = float(np.mean([state["full"] for state in states]))
        self.empty_score_ = float(np.mean([state["empty"] for state in states]))
        self.n_permutations_ = sum(state["n_permutations"] for state in states)
        self.convergence_ = max(state["convergence"] for state in states)
        for name in ("learning_rate_", "groups_", "group_values_"):
            vars(self).pop(name, None)
        if "learning_rate" in states[0]:
            rates = [state["learning_rate"] for state in states]
            self.learning_rate_ = rates[0] if len(rates) == 1 else np.array(rates)
        if states[0]["grouping"] is not None:
            self._keep_groups(states, trains)

    def _keep_groups(self, states, trains):
        code = np.full(len(self.values_), -1)
        for state, train in zip(states, trains, strict=True):
            code[train] = state["grouping"].code
        self.groups_ = states[0]["grouping"].labels
        known = code >= 0
        # Rows share the value of their group.
        self.group_values_ = np.bincount(
            code[known], self.values_[known], minlength=len(self.groups_)
        )

    def _check_parameters(self):
        for name, allowed in (("method", METHODS), ("engine", ENGINES)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(repr, allowed))}; got "
                    f"{getattr(self, name)!r}."
                )
        check_whole(self.max_permutations, "max_permutations", low=1)
        check_number(self.truncation, "truncation", low=0)
        check_number(self.convergence, "convergence", low=0)
        if self.learning_rate != "auto":
            check_number(self.learning_rate, "learning_rate", low=0, strict_low=True)
        if self.empty_score is not None:
            check_number(self.empty_score, "empty_score")


class _Running:
    """Means of the marginal gains, their spread, and the last means."""

    def __init__(self, n_sources, empty):
        self.empty, self.count, self.last = empty, 0, 0.0
        self.mean, self.squares = np.zeros(n_sources), np.zeros(n_sources)
        self.history = deque(maxlen=WINDOW + 1)
        self.visited = self.fell_back = self.unconverged = 0

    def add(self, order, walk):
        scores = np.append(self.empty, walk.scores)
        # After a cut nothing is gained.
        gains = np.empty(len(order))
        gains[order] = np.where(np.isnan(walk.scores), 0.0, np.diff(scores))
        self.count += 1
        away = gains - self.mean
        self.mean = self.mean + away / self.count
        self.squares += away * (gains - self.mean)
        self.history.append(self.mean)
        self.last += (walk.scores[-1] - self.last) / self.count
        self.visited += int(np.sum(~np.isnan(walk.scores)))
        self.fell_back += walk.fell_back
        self.unconverged += walk.unconverged

    def standard_errors(self):
        """Of the means; NaN for a single permutation, which does not tell."""
        if self.count < 2:
            return np.full(len(self.mean), np.nan)
        return np.sqrt(self.squares / (self.count - 1) / self.count)

    def error(self):
        """The paper's measure of convergence, inf before it exists."""
        if self.count <= WINDOW:
            return np.inf
        before = np.array(self.history)[:-1]
        change = np.abs(before - self.mean) / (np.abs(self.mean) + 1e-12)
        return float(change.mean(axis=1).max())

    def tell(self):
        """Warn about subsets that are not what was asked for."""
        if self.fell_back > MANY * self.visited:
            warn(
                f"{self.fell_back} of {self.visited} subsets could not be fitted or "
                "scored (too few rows, or a class is missing) and count as constant "
                "predictions: the values say little about the estimator.",
                PatchWarning,
            )
        if self.unconverged:
            warn(
                f"The fits of {self.unconverged} of {self.visited} subsets did not "
                "converge: scale the features, or use engine='refit'.",
                PatchWarning,
            )


def shapley_values(worth):
    """Shapley values (n,) from the worth of all subsets.

    Parameters
    ----------
    worth : ndarray (2^n,)
        Bit i of a position tells whether source i is in the subset.

    Examples
    --------
    >>> import numpy as np
    >>> from skpuma.valuation._shapley import shapley_values
    >>> shapley_values(np.array([0.0, 1.0, 2.0, 5.0]))
    array([2., 3.])
    """
    n = len(worth).bit_length() - 1
    subsets = np.arange(len(worth))
    size = np.bitwise_count(subsets) if hasattr(np, "bitwise_count") else _bits(subsets)
    ways = [factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)]
    values = np.empty(n)
    for i in range(n):
        without = subsets[subsets >> i & 1 == 0]
        gains = worth[without | 1 << i] - worth[without]
        values[i] = np.array(ways)[size[without]] @ gains
    return values


def _bits(numbers):
    """Number of set bits, for numpy 1."""
    return np.array([bin(number).count("1") for number in numbers])


def _chains(n):
    """All subsets of n sources as chains (base, added), as few as can be.

    A chain visits `base` and then adds the sources of `added` one at a time. (The
    symmetric chains of de Bruijn, Tengbergen and Kruyswijk, 1951.)
    """
    if n == 0:
        yield [], []
        return
    for base, added in _chains(n - 1):
        yield base, [*added, n - 1]
        if added:
            yield [*base, n - 1], added[:-1]


def _batch(pool, engine, tasks):
    calls = [delayed(_walk)(engine, task) for task in tasks]
    yield from zip(tasks, pool(calls), strict=True)


def _walk(engine, task):
    if isinstance(task, tuple):
        base, added = task
        order = np.array(base + added, dtype=np.intp)
        return engine.walk(order, max(len(base), 1))
    return engine.walk(task)
