"""What a subset of the training rows is worth: the score of a model fitted on it."""

import numbers
from functools import cached_property

import numpy as np
from sklearn import config_context
from sklearn.base import is_classifier, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import check_scoring

from skpuma import rows
from skpuma.refit import is_frozen
from skpuma.valuation import _network_fits


class Utility:
    """V(S): the score on the validation rows of a clone fitted on the rows S.

    Not every subset can be fitted and scored: many classifiers need two classes, k
    neighbours need k rows, log-loss needs every class. Where all rows can be, but a
    subset makes the fit or the scorer fail, the subset is worth what its labels alone
    tell: the score of a constant predictor fitted on it (its class shares, or its
    mean). If the scorer cannot score that either, it is worth V(empty set). A score
    that is not finite is treated the same way, if the subset lacks a class.

    Parameters
    ----------
    estimator : estimator
        Unfitted, or fitted in any way: only clones are fitted.
    scoring : str, callable or None
        High is good; None is ``estimator.score``.
    X, y : training rows (n, d), (n,)
    X_val, y_val : validation rows
    empty : float, optional
        V(empty set). By default the score of a constant predictor fitted on all
        training labels (`DummyClassifier`, which predicts the largest class and the
        class shares as probabilities, or `DummyRegressor`, the mean). With
        ``scoring=None`` that is accuracy or R2: hand over `empty` if the estimator's
        own ``score`` is another measure.

    Raises
    ------
    ValueError
        For a frozen estimator; if the default of `empty` does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpuma.valuation._utility import Utility
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    >>> utility = Utility(LogisticRegression(), None, X, y, X, y)
    >>> utility.empty, utility([0, 1]), utility([0, 3]), utility.full
    (0.5, 0.5, 1.0, 1.0)
    """

    def __init__(self, estimator, scoring, X, y, X_val, y_val, *, empty=None):
        if is_frozen(estimator):
            raise ValueError(
                "A FrozenEstimator cannot be fitted on subsets of the rows: pass the "
                "estimator itself."
            )
        self.estimator = estimator
        self.scoring = scoring
        self.X, self.y = X, y
        self.X_val, self.y_val = X_val, y_val
        self.scorer = check_scoring(estimator, scoring=scoring)
        self.code = None
        if is_classifier(estimator) and y.ndim == 1:
            self.code = np.unique(y, return_inverse=True)[1]
            self.n_classes = int(self.code.max()) + 1
        if empty is not None:
            self.empty = float(empty)

    @cached_property
    def empty(self):
        """V(empty set), the score of a constant predictor.

        Raises
        ------
        ValueError
            If it cannot be told, or is not finite.
        """
        try:
            value = self._constant(np.arange(len(self.y)))
        except Exception as error:
            raise ValueError(
                f"{self._named()} failed on a constant predictor, which is what no "
                f"rows at all are worth: {error} Pass empty_score=, the score of "
                "guessing."
            ) from error
        return self._finite(value, "of a constant predictor")

    @cached_property
    def full(self):
        """V(all rows).

        Raises
        ------
        ValueError
            If the score fails (TypeError if it fails with one, or is no number) or is
            not finite;
            whatever the fit itself raises.
        """
        return self.full_of(_network_fits.fit(self.estimator, self.X, self.y))

    def full_of(self, fitted):
        """V(all rows) from the fit on all rows, for callers that have it; kept.

        Raises
        ------
        ValueError
            As `full`.
        """
        try:
            value = self.scorer(fitted, self.X_val, self.y_val)
        except Exception as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"{self._named()} failed on the estimator fitted on all "
                f"{len(self.y)} training rows: {error}"
            ) from error
        self.full = self._finite(
            value, f"of the fit on all {len(self.y)} training rows"
        )
        return self.full

    def __call__(self, index):
        """V of the rows at `index`, positions or a mask; the order does not matter."""
        return self.evaluate(index)[0]

    def evaluate(self, index):
        """V of a subset, and whether it could be fitted and scored.

        Returns
        -------
        value : float
        fell_back : bool
            Whether `value` is what the labels alone tell.

        Raises
        ------
        ValueError
            If the score is not finite though no class is missing.
        """
        index = self._positions(index)
        if not len(index):
            return self.empty, False
        if len(index) == len(self.y):
            return self.full, False
        classes = None if self.code is None else len(np.unique(self.code[index]))
        if classes == 1:
            return self._by_labels(index), False
        try:
            value = self._score_of(index)
        except Exception:
            # A bug of the estimator or the scorer shows in `full`, which has to
            # succeed; what fails here is the size or the classes of the subset.
            _ = self.full
            return self._by_labels(index), True
        if np.isfinite(value):
            return value, False
        if classes is not None and classes < self.n_classes:
            return self._by_labels(index), True
        return self._finite(value, f"of a subset of {len(index)} training rows"), False

    # -- parts -------------------------------------------------------------------------

    def _positions(self, index):
        index = np.asarray(index)
        if index.dtype == bool:
            return np.flatnonzero(index)
        return np.sort(index.astype(np.intp, copy=False))

    def _score_of(self, index):
        # The rows were checked when all of them were fitted.
        with config_context(assume_finite=True, skip_parameter_validation=True):
            X, y = rows.take_user(self.X, index), self.y[index]
            fitted = _network_fits.fit(self.estimator, X, y)
            return self._number(self.scorer(fitted, self.X_val, self.y_val))

    def _by_labels(self, index):
        """The score of a constant predictor of the subset's labels, or V(empty)."""
        try:
            value = self._constant(index)
        except Exception:  # the scorer needs what a constant does not have
            return self.empty
        return value if np.isfinite(value) else self.empty

    def _constant(self, index):
        if is_classifier(self.estimator):
            dummy = DummyClassifier(strategy="prior")
        elif is_regressor(self.estimator):
            dummy = DummyRegressor()
        else:
            raise ValueError(
                f"{type(self.estimator).__name__} is neither a classifier nor a "
                "regressor."
            )
        dummy.fit(np.zeros((len(index), 1)), self.y[index])
        return self._number(self.scorer(dummy, self.X_val, self.y_val))

    def _number(self, value):
        if not isinstance(value, numbers.Real) and not _is_scalar(value):
            raise TypeError(
                f"{self._named()} has to return one number for a fitted estimator; it "
                f"returned {np.asarray(value).tolist()!r}."
            )
        return float(value)

    def _finite(self, value, of_what):
        value = self._number(value)
        if not np.isfinite(value):
            raise ValueError(
                f"The utility is not finite: {self._named()} is {value} {of_what}. "
                "Use a score that is defined there (R2 needs two validation rows), or "
                "scale the features."
            )
        return value

    def _named(self):
        if self.scoring is None:
            return f"{type(self.estimator).__name__}.score"
        return f"scoring={self.scoring!r}"


def _is_scalar(value):
    """Whether an array (or a numpy scalar) is one real number."""
    return getattr(value, "shape", None) == () and value.dtype.kind in "iufb"
