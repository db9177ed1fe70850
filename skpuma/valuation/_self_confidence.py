"""SelfConfidence: how much a model that has not seen a row believes its label."""

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from skpuma import rows
from skpuma.refit import fit_estimator, refuse_frozen, seeded
from skpuma.utils._progress import Interruptible
from skpuma.valuation._base import BaseValuation, Part, splits_of, targets_of

CLASSIFIER_METHODS = ("probability", "margin")
REGRESSOR_METHODS = ("absolute", "squared")
ADVICE = "pass more rows, or a splitter as cv="


class SelfConfidence(BaseValuation):
    """Out-of-sample probability of the given label, or minus the residual.

    Every row is scored by a model that was fitted on the other folds, so that a model
    that has memorised a wrong label cannot defend it. The cheapest system, and a strong
    yardstick.

    Parameters
    ----------
    estimator : estimator, default None
        A classifier with ``predict_proba``, or a regressor; None means
        ``LogisticRegression()``.
    method : {"auto", "probability", "margin", "absolute", "squared"}, default "auto"
        Classifiers: "probability" of the given label (0 to 1), or its "margin", that
        probability minus the largest one of the other classes (-1 to 1). Regressors:
        minus the "absolute" residual (in units of y) or minus the "squared" one, summed
        over outputs. "auto" is the first of each.
    cv : int, splitter or list of splits, default 5
        Folds; an int is shuffled, and stratified for classifiers. Where a splitter
        leaves a row out more than once, its predictions are averaged.
    n_jobs : int, default None
        Folds that run in parallel; the values do not depend on it.
    verbose : int, default 0
        Above 0: a progress bar.
    random_state : int, RandomState or None, default None
        Shuffles the rows into folds when `cv` is an int, and draws the seeds of the
        estimator that are open, which all its fits share.

    Attributes
    ----------
    values_ : ndarray (n,)
        The scores; the lowest are the most suspicious rows. nan for a row that no fold
        left out.
    predictions_ : ndarray (n, n_classes), (n,) or (n, k)
        Out-of-sample probabilities, columns in the order of the sorted labels, or
        predictions of a regressor. A class that a fold did not train on has
        probability 0 there.
    interrupted_ : bool
        Whether Ctrl-C ended the run early; rows of the folds left are nan.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    ``X_val`` and ``y_val`` of `fit` are not used: the folds are of X itself.

    References
    ----------
    C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident Learning: Estimating Uncertainty
    in Dataset Labels", JAIR 70, 2021: self-confidence and normalised margin.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.valuation import SelfConfidence
    >>> X, y = load_iris(return_X_y=True)
    >>> y[:2] = 2
    >>> system = SelfConfidence(random_state=0).fit(scale(X), y)
    >>> sorted(system.values_.argsort()[:2].tolist())
    [0, 1]
    """

    needs_validation = False

    def __init__(
        self,
        estimator=None,
        method="auto",
        *,
        cv=5,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def _value(self, X, y, X_val, y_val, rng):
        estimator, method = self._estimator(), self._method()
        refuse_frozen(estimator, "would score the rows that it was fitted on")
        y = targets_of(y, self._classifies())
        classes = np.unique(y) if self._classifies() else None
        splits = splits_of(self.cv, y, self._classifies(), rng, advice=ADVICE)
        estimator = seeded(estimator, rng)
        folds = Interruptible(
            Parallel(n_jobs=self.n_jobs, return_as="generator")(
                delayed(_left_out)(estimator, X, y, train, test, classes)
                for train, test in splits
            ),
            total=len(splits),
            verbose=self.verbose,
            title="folds",
        )
        predictions = _averaged(folds, [test for _, test in splits], len(y))
        values = METHODS[method](predictions, y)
        state = {"predictions": predictions}
        return Part(values, state=state, interrupted=folds.interrupted)

    def _keep(self, parts, trains):
        self.predictions_ = parts[0].state["predictions"]

    def _method(self):
        known = CLASSIFIER_METHODS if self._classifies() else REGRESSOR_METHODS
        if self.method == "auto":
            return known[0]
        if self.method not in known:
            kind = "classifiers" if self._classifies() else "regressors"
            raise ValueError(
                f"method={self.method!r} is not 'auto' or one of {known}, "
                f"those of {kind}."
            )
        return self.method


def _left_out(estimator, X, y, train, test, classes):
    """Predictions of the rows `test` by a fit on the rows `train`."""
    fitted = fit_estimator(estimator, rows.take_user(X, train), y[train])
    inputs = rows.take_user(X, test)
    if classes is None:
        return np.asarray(fitted.predict(inputs), dtype=float)
    if not hasattr(fitted, "predict_proba"):
        raise TypeError(
            f"{type(estimator).__name__} has no predict_proba, which the probability "
            "of a label needs: wrap it in a CalibratedClassifierCV."
        )
    out = np.zeros((len(test), len(classes)))
    out[:, np.searchsorted(classes, fitted.classes_)] = fitted.predict_proba(inputs)
    return out


def _averaged(folds, tests, n):
    """Mean prediction of every row over the folds that left it out; nan for none."""
    total, count = None, np.zeros(n)
    for test, part in zip(tests, folds, strict=False):
        if total is None:
            total = np.zeros((n, *part.shape[1:]))
        total[test] += part
        count[test] += 1
    count[count == 0] = np.nan
    return (total.T / count).T


def _probability(predictions, y):
    code = np.unique(y, return_inverse=True)[1]
    return predictions[np.arange(len(y)), code]


def _margin(predictions, y):
    code = np.unique(y, return_inverse=True)[1]
    others = predictions.copy()
    others[np.arange(len(y)), code] = -np.inf
    return _probability(predictions, y) - others.max(axis=1)


def _absolute(predictions, y):
    return -np.abs(predictions - y).reshape(len(y), -1).sum(axis=1)


def _squared(predictions, y):
    return -np.square(predictions - y).reshape(len(y), -1).sum(axis=1)


METHODS = {
    "absolute": _absolute,
    "margin": _margin,
    "probability": _probability,
    "squared": _squared,
}
