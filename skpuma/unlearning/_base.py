"""What all unlearning systems share: one contract and its checks."""

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import check_array, check_random_state, column_or_1d, get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from skpuma.utils._hashing import rows_digest
from skpuma.utils._validation import check_jobs, check_same_order, rows_of


class BaseUnlearner(BaseEstimator):
    """Base of the unlearning systems: ``fit(X, y)``, then ``forget(X, y, rows)``.

    A system implements ``_fit_rows(X, y, rng)`` and ``_forget_rows(X, y, gone, kept)``.
    Both set attributes and change none in place, so that a call that fails can be taken
    back; both return what they cost.

    Attributes
    ----------
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        Bytes that are kept beside the model, for the sake of forgetting.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` went through.
    """

    def fit(self, X, y):
        """Train on the rows of X, and keep what is needed to forget some of them.

        Parameters
        ----------
        X : array-like or DataFrame (n, d)
        y : array-like (n,)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For input that does not fit together; the message says what to do.
        """
        with _AllOrNothing(self):
            check_jobs(getattr(self, "n_jobs", None))
            self._check_parameters()
            X, y = self._checked(X, y, reset=True)
            rng = check_random_state(self.random_state)
            self.cost_ = float(self._fit_rows(X, y, rng))
            self.forgotten_ = np.zeros(len(y), dtype=bool)
            self._digest = rows_digest(X, y)
            self.storage_ = int(self._stored_bytes())
        return self

    def forget(self, X, y, rows):
        """Make the model forget rows that it was trained on.

        Parameters
        ----------
        X, y : the rows of the fit
            No row is kept in the object, so they are asked for again. Rows that were
            forgotten before keep their place, but may hold anything: they are not
            looked at.
        rows : bool mask, positions, or labels of X's index
            Rows to forget, as in ``PumaPatcher.patch(remove=)``. Rows that were
            forgotten before are passed over.

        Returns
        -------
        self

        Raises
        ------
        ValueError, IndexError, KeyError, TypeError
            For rows that are not those of the fit, or if nothing would be left to
            learn from. The model is then unchanged.
        """
        check_is_fitted(self, "forgotten_")
        with _AllOrNothing(self):
            X, y, gone = self._requested(X, y, rows)
            self.cost_ = 0.0
            if gone.any():
                kept = ~self.forgotten_ & ~gone
                self.cost_ = float(self._forget_rows(X, y, gone, kept))
                self._settle(X, y, kept)
        return self

    # -- for the systems ---------------------------------------------------------------

    def _check_parameters(self):
        """Refuse parameters that make no sense, before anything is done."""

    def _fit_rows(self, X, y, rng):
        """Set ``estimator_`` and what `forget` needs; returns the cost."""
        raise NotImplementedError

    def _forget_rows(self, X, y, gone, kept):
        """Replace ``estimator_``; `gone` and `kept` are masks (n,); returns the cost.

        `kept` rows have been neither forgotten before nor now.
        """
        raise NotImplementedError

    def _stored_bytes(self):
        """Bytes kept beside the model."""
        return 0

    def _classifies(self):
        return is_classifier(self)

    # -- the contract ------------------------------------------------------------------

    def _requested(self, X, y, rows):
        """(X, y, gone) as `_forget_rows` takes them, checked to be those of the fit."""
        labelled = X
        X, y = self._checked(X, y, reset=False)
        before = ~self.forgotten_
        if len(y) != len(before) or rows_digest(X, y, before) != self._digest:
            raise ValueError(
                "These are not the rows of the fit, in their order and of their "
                "type: pass the X and y that fit was called with. Rows that were "
                "forgotten keep their place, whatever they hold."
            )
        gone = rows_of(rows, len(y), labelled, "rows") & before
        self._check_kept(y, before & ~gone)
        return X, y, gone

    def _settle(self, X, y, kept):
        """Take down which rows are left."""
        self.forgotten_ = ~kept
        self._digest = rows_digest(X, y, kept)
        self.storage_ = int(self._stored_bytes())

    def _checked(self, X, y, reset):
        """The user's rows, after the checks that no estimator makes for us."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        X, y = self._validated(X, y, reset)
        check_consistent_length(X, y)
        if len(y) == 0:
            raise ValueError("X has 0 rows: there is nothing to learn from.")
        if self._classifies():
            check_classification_targets(y)
            if reset and y.ndim == 1 and len(set(y.tolist())) < 2:
                raise ValueError(
                    f"y has a single class, {y.tolist()[0]!r}: the number of classes "
                    "has to be greater than one; got 1 class."
                )
        return X, y

    def _validated(self, X, y, reset):
        """Rows and targets of the user, whatever the wrapped estimator takes.

        Systems that train by themselves take plain numbers only, and check them.
        """
        validate_data(self, X, reset=reset, skip_check_array=True)
        check_same_order(y, X)
        X = X if hasattr(X, "shape") else np.asarray(X)
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            several = get_tags(self).target_tags.multi_output
            y = column_or_1d(y, warn=not several)
        if not reset and len(y) == len(self.forgotten_) and self.forgotten_.any():
            # What was forgotten may hold anything, and is not to be complained about.
            y = y.copy()
            y[self.forgotten_] = y[~self.forgotten_][0]
        if not self._classifies():
            y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return X, y

    def _check_kept(self, y, kept):
        """Refuse to forget all rows, or all but one class."""
        if not kept.any():
            raise ValueError(
                "No row would be left to learn from. Forget fewer rows, or delete the "
                "model."
            )
        if self._classifies() and y.ndim == 1:
            left = set(y[kept].tolist())
            if len(left) < 2:
                raise ValueError(
                    f"Only rows of class {left.pop()!r} would be left, and nothing to "
                    "tell it from. Forget fewer rows."
                )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class _AllOrNothing:
    """Takes the attributes of an estimator back if the block fails."""

    def __init__(self, estimator):
        self.estimator = estimator

    def __enter__(self):
        self.before = vars(self.estimator).copy()

    def __exit__(self, kind, error, trace):
        if kind is not None:
            vars(self.estimator).clear()
            vars(self.estimator).update(self.before)
