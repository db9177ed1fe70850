"""Training by recorded batches, and forgetting by taking their updates back."""

import os

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import validate_data

from skpuma import rows
from skpuma.refit import LARGEST_SEED, refuse_frozen, seeded
from skpuma.unlearning._base import _AllOrNothing
from skpuma.unlearning._batches import BatchTrainer, batches_of, is_network
from skpuma.unlearning._recorder import Records
from skpuma.unlearning._wrapping import WrapsEstimator
from skpuma.utils._progress import Interruptible
from skpuma.utils._validation import check_bool, check_whole, rows_of

METHODS = ("subtract", "relabel")


class RecordedTraining(WrapsEstimator):
    """What the classifier and the regressor share.

    They name the classes of estimators that they take in ``_kinds``, the default first,
    and implement ``_relabelled(y, gone, kept, rng)``.
    """

    def __init__(
        self,
        estimator=None,
        *,
        method="subtract",
        n_epochs=10,
        batch_size=32,
        shuffle=True,
        fine_tune_epochs=1,
        storage="memory",
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.method = method
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.fine_tune_epochs = fine_tune_epochs
        self.storage = storage
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X, y, *, forgettable=None):
        """Train batch by batch, and record the updates that may be asked for.

        Parameters
        ----------
        X : array-like, DataFrame or CSR (n, d)
        y : array-like (n,)
        forgettable : bool mask, positions, or labels of X's index, default None
            Rows that may ever be forgotten; None means all. Batches without any of
            them are not recorded.

        Returns
        -------
        self

        Raises
        ------
        ValueError, IndexError, KeyError, TypeError
            For input that does not fit together, or an estimator that cannot be
            trained in batches; the message says what to do.
        """
        with _AllOrNothing(self):
            self._asked = forgettable
            super().fit(X, y)
            del self._asked
        return self

    def _base(self):
        return self._kinds[0]() if self.estimator is None else self.estimator

    def _check_parameters(self):
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is not one of {METHODS}.")
        check_whole(self.n_epochs, "n_epochs", low=1)
        check_whole(self.batch_size, "batch_size", low=1)
        check_whole(self.fine_tune_epochs, "fine_tune_epochs", low=0)
        check_bool(self.shuffle, "shuffle")
        if self.storage != "memory" and not os.path.isdir(self.storage):
            raise ValueError(
                f"storage={self.storage!r} is neither 'memory' nor a directory that "
                "exists: make it first."
            )
        refuse_frozen(self._base(), "it is to be trained batch by batch")
        inner = _last_step(self._base())
        names = " or ".join(kind.__name__ for kind in self._kinds)
        if not isinstance(inner, self._kinds):
            raise ValueError(
                f"{type(self).__name__} takes {names}, or a Pipeline that ends in one, "
                f"and not {type(inner).__name__}: batches go through partial_fit."
            )
        reason = _refusal(inner)
        if reason is not None:
            raise ValueError(f"{type(inner).__name__} with {reason}")

    # -- fit ---------------------------------------------------------------------------

    def _checked(self, X, y, reset):
        X, y = super()._checked(X, y, reset)
        if self._classifies() and y.ndim > 1:
            raise ValueError(
                f"y has shape {y.shape}: {type(self).__name__} takes one label a row."
            )
        return X, y

    def _fit_rows(self, X, y, rng):
        asked = self._asked
        forgettable = np.ones(len(y), dtype=bool)
        if asked is not None:
            forgettable = rows_of(asked, len(y), X, "forgettable")
        estimator = seeded(self._base(), rng)
        front, inner = _front(estimator), _last_step(estimator)
        X = X if front is None else front.fit_transform(X, y)
        classes = np.unique(y) if self._classifies() else None
        trainer = BatchTrainer(inner, _numbers(inner, X, reset=True), y, classes)
        records = None
        if self.method == "subtract":
            records = Records(None if self.storage == "memory" else self.storage)
        self._seed = rng.randint(LARGEST_SEED)
        self._classes = classes
        self.forgettable_ = forgettable
        rng = np.random.RandomState(self._seed)
        trained, epochs = self._train(
            trainer, trainer.start(), records, np.arange(len(y)), self.n_epochs, rng
        )
        self._records = records
        self.estimator_ = _put_behind(front, estimator, trained)
        return len(y) * epochs

    def _train(self, trainer, theta, records, positions, n_epochs, rng):
        """(estimator, epochs) after epochs over the rows of the trainer.

        Parameters
        ----------
        theta : ndarray (p,)
            Parameters before.
        records : Records or None
            Where the updates go.
        positions : ndarray of int
            Positions in the fit's X of the trainer's rows.
        """
        progress = Interruptible(
            self._epochs(trainer, theta, records, positions, n_epochs, rng),
            n_epochs,
            verbose=self.verbose,
            title="epochs",
        )
        trained, done = trainer.copy(self.batch_size), 0
        for state in progress:
            (trained, n_records), done = state, done + 1
        if progress.interrupted and records is not None:
            records.cut(n_records)
        return trained, done

    def _epochs(self, trainer, theta, records, positions, n_epochs, rng):
        """(copy of the estimator, number of records) after every epoch."""
        order = np.arange(len(positions))
        for _ in range(n_epochs):
            order = rng.permutation(order) if self.shuffle else order
            for batch in batches_of(order, self.batch_size):
                before, theta = theta, trainer.step(batch)
                held = positions[batch]
                held = held[self.forgettable_[held]]
                if records is not None and len(held):
                    records.add(before, theta, held.astype(np.int32), len(batch))
            n_records = 0 if records is None else len(records)
            yield trainer.copy(self.batch_size), n_records

    # -- forget ------------------------------------------------------------------------

    def _forget_rows(self, X, y, gone, kept):
        records = self._records_for(gone)
        rng = np.random.RandomState([self._seed, np.count_nonzero(~kept)])
        trains = kept if records is not None else kept | gone
        positions = np.flatnonzero(trains)
        if records is None:
            y = self._relabelled(y, gone, kept, rng)
        inner = _last_step(self.estimator_)
        trainer = BatchTrainer(
            inner, self._prepared(X, trains), y[trains], self._classes
        )
        theta, n_undone = trainer.theta(), 0
        if records is not None:
            undone = records.holding(gone)
            n_undone = records.n_rows(undone)
            theta, records = records.take_back(theta, undone, trainer.dtype)
        trainer.rewind(theta, n_undone)
        trained, epochs = self._train(
            trainer, theta, records, positions, self.fine_tune_epochs, rng
        )
        self._records = records
        self.estimator_ = _put_behind(_front(self.estimator_), self.estimator_, trained)
        return len(positions) * epochs

    def _records_for(self, gone):
        """The records of the fit; None if the method needs none.

        Raises
        ------
        ValueError
            If rows were not to be asked for, or nothing was recorded.
        """
        self._check_parameters()
        if self.method == "relabel":
            return None
        if self._records is None:
            raise ValueError(
                "No updates are recorded: the last fit or forget was with "
                "method='relabel'. Fit again with method='subtract'."
            )
        outside = np.flatnonzero(gone & ~self.forgettable_)
        if len(outside):
            raise ValueError(
                f"The rows at positions {outside[:5].tolist()} were not among the "
                "forgettable ones of fit, so their updates were not recorded. Fit with "
                "forgettable= that holds them, or use method='relabel'."
            )
        return self._records

    def _prepared(self, X, mask):
        """Rows of a mask as the network or linear model sees them."""
        X, front = rows.take_user(X, mask), _front(self.estimator_)
        X = X if front is None else front.transform(X)
        return _numbers(_last_step(self.estimator_), X, reset=False)

    def _stored_bytes(self):
        return 0 if self._records is None else self._records.nbytes

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        return tags


def _last_step(estimator):
    """The estimator, or the last step of a pipeline."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def _front(estimator):
    """The steps of a pipeline before the last, or None."""
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        return estimator[:-1]
    return None


def _put_behind(front, estimator, last):
    """`last`, or a pipeline like `estimator` of the steps of `front` and `last`."""
    if not isinstance(estimator, Pipeline):
        return last
    pipeline = clone(estimator)
    steps = [] if front is None else front.steps
    return pipeline.set_params(steps=[*steps, (estimator.steps[-1][0], last)])


def _numbers(estimator, X, reset):
    """Rows as numbers, in the precision of the user's."""
    dtype = (np.float64, np.float32)
    return validate_data(estimator, X, accept_sparse="csr", dtype=dtype, reset=reset)


def _refusal(estimator):
    """Why updates of this network or linear model cannot be recorded, or None."""
    if estimator.early_stopping:
        return "early_stopping=True does not train by partial_fit: use False."
    if not is_network(estimator):
        if estimator.average:
            return (
                "average has two sets of coefficients, of which one is not updated by "
                "batches: use average=False."
            )
        return None
    if estimator.solver == "lbfgs":
        return "solver='lbfgs' has no batches: use 'adam' or 'sgd'."
    if estimator.warm_start:
        return "warm_start=True wants every class in every batch: use False."
    return None
