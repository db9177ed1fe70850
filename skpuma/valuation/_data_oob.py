"""DataOOB: whether learners that were not given a row predict it right."""

import numpy as np
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skpuma import rows
from skpuma.refit import LARGEST_SEED, refuse_frozen, seeded
from skpuma.utils._progress import Interruptible
from skpuma.utils._validation import check_number, check_whole
from skpuma.valuation._base import BaseValuation, Part, targets_of


class DataOOB(BaseValuation):
    """Out-of-bag correctness of every row in a bagging ensemble.

    `n_estimators` clones are each fitted on a bootstrap sample of the rows. The value
    of a row is the mean, over the learners whose sample does not hold it, of 1 if they
    predict its label and 0 if not; for regressors of minus the squared error.

    Parameters
    ----------
    estimator : estimator, default None
        Classifier or regressor to bag; None means ``DecisionTreeClassifier()``, as in
        the paper. Give an unpruned tree or another learner that varies with its sample.
    n_estimators : int, default 200
        Learners. A row is out of bag for 37 % of them; with B learners the standard
        error of a correctness is at most ``0.82 / sqrt(B)``. The paper takes 800.
    max_samples : float in (0, 1], default 1.0
        Size of a bootstrap sample, as a share of the rows.
    n_jobs : int, default None
        Learners that are fitted in parallel; the values do not depend on it.
    verbose : int, default 0
        Above 0: a progress bar.
    random_state : int, RandomState or None, default None
        Draws the samples, and seeds every ``random_state`` of `estimator` that is None.

    Attributes
    ----------
    values_ : ndarray (n,)
        Share of correct out-of-bag predictions (0 to 1), or minus the mean squared
        error (in units of y squared, summed over outputs). The lowest are the most
        harmful rows; nan for a row that was in every sample.
    standard_errors_ : ndarray (n,)
        Of the mean over learners, which are independent given the rows; nan for a row
        that was out of bag fewer than twice.
    n_out_of_bag_ : ndarray of int (n,)
        Learners that valued each row.
    interrupted_ : bool
        Whether Ctrl-C ended the run early; the values are then those of the learners
        that were done.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    ``X_val`` and ``y_val`` of `fit` are not used: the rows out of bag measure the
    value. scikit-learn's ``BaggingClassifier`` draws the same samples, but turns a
    DataFrame into an array before the steps of a pipeline see it, and keeps every
    learner. A sample with a single class is a learner that predicts this class.

    References
    ----------
    Y. Kwon, J. Zou, "Data-OOB: Out-of-bag Estimate as a Simple and Efficient Data
    Value", ICML 2023, equation 3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skpuma.valuation import DataOOB
    >>> X, y = load_iris(return_X_y=True)
    >>> y[:2] = 2
    >>> system = DataOOB(n_estimators=50, random_state=0).fit(X, y)
    >>> sorted(system.values_.argsort()[:2].tolist())
    [0, 1]
    """

    needs_validation = False

    def __init__(
        self,
        estimator=None,
        *,
        n_estimators=200,
        max_samples=1.0,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def _estimator(self):
        return DecisionTreeClassifier() if self.estimator is None else self.estimator

    def _value(self, X, y, X_val, y_val, rng):
        estimator = self._estimator()
        refuse_frozen(estimator, "cannot be fitted on bootstrap samples")
        n_estimators = check_whole(self.n_estimators, "n_estimators", low=1)
        share = check_number(
            self.max_samples, "max_samples", low=0.0, high=1.0, strict_low=True
        )
        y, n = targets_of(y, self._classifies()), len(y)
        size = max(round(share * n), 1)
        learners = Interruptible(
            Parallel(n_jobs=self.n_jobs, return_as="generator")(
                delayed(_learner)(estimator, X, y, size, seed, self._classifies())
                for seed in rng.randint(LARGEST_SEED, size=n_estimators)
            ),
            total=n_estimators,
            verbose=self.verbose,
            title="learners",
        )
        count, total, square = np.zeros(n), np.zeros(n), np.zeros(n)
        for out, score in learners:
            count[out] += 1
            total[out] += score
            square[out] += score**2
        values, errors = _mean_and_error(count, total, square)
        state = {"count": count.astype(int)}
        return Part(values, errors, state, learners.interrupted)

    def _keep(self, parts, trains):
        self.n_out_of_bag_ = parts[0].state["count"]


def _learner(estimator, X, y, size, seed, classifies):
    """(positions out of bag, their scores) of one bootstrap sample."""
    rng = check_random_state(seed)
    n = len(y)
    inside = rng.randint(n, size=size)
    out = np.setdiff1d(np.arange(n), inside)
    if not len(out):
        return out, np.zeros(0)
    if classifies and len(labels := np.unique(y[inside])) == 1:
        return out, (y[out] == labels[0]).astype(float)
    fitted = seeded(estimator, rng).fit(rows.take_user(X, inside), y[inside])
    predicted = fitted.predict(rows.take_user(X, out))
    if classifies:
        return out, (predicted == y[out]).astype(float)
    error = np.asarray(predicted, dtype=float).reshape(y[out].shape) - y[out]
    return out, -np.square(error).reshape(len(out), -1).sum(axis=1)


def _mean_and_error(count, total, square):
    """Mean of every row and its standard error, nan where they are not known."""
    known = np.where(count > 0, count, np.nan)
    mean = total / known
    spread = np.maximum(square / known - mean**2, 0.0)
    return mean, np.sqrt(spread / np.where(count > 1, count - 1, np.nan))
