"""Shards and slices of the rows: who trains on what, and again after a deletion."""

import pickle
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.utils import get_tags
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, validate_data

from skpuma import rows
from skpuma.refit import LARGEST_SEED, epochs_of, refuse_frozen, seeded
from skpuma.unlearning._aggregation import WEIGHTS, shard_weights
from skpuma.unlearning._base import BaseUnlearner
from skpuma.utils._progress import progress
from skpuma.utils._validation import check_whole

# Epochs of the reference implementation.
DEFAULT_EPOCHS = 20
FORGOTTEN = -1


def expected_speedup(n_shards, n_slices=1):
    """How many times less a random single deletion trains than a fit from scratch.

    The rows times epochs of a fit, over the expected ones of forgetting one row that is
    equally likely to be any: ``3 R S / (2 R + 1)`` for S shards of R slices, so S from
    the shards and at most 1.5 from the slices.

    Parameters
    ----------
    n_shards, n_slices : int

    Returns
    -------
    float

    References
    ----------
    Bourtoule et al. (2021): with e epochs of D rows in a shard, a restart costs
    ``e D (2/3 + 1/(3R))`` on average.

    Examples
    --------
    >>> from skpuma.unlearning._sharding import expected_speedup
    >>> round(expected_speedup(n_shards=5, n_slices=4), 2)
    6.67
    """
    return 3.0 * n_slices * n_shards / (2.0 * n_slices + 1.0)


def slice_epochs(n_slices, epochs):
    """Epochs of every step, which trains on the slices up to its own.

    All steps get the same number e of epochs, up to rounding, and together go through
    as many rows as `epochs` epochs over all slices: ``e = 2 epochs / (n_slices + 1)``.
    """
    ends = [2 * epochs * step // (n_slices + 1) for step in range(n_slices + 1)]
    return tuple(np.diff(ends).tolist())


@dataclass(frozen=True)
class Shard:
    """The model of a shard, and the way back to before each of its slices.

    Attributes
    ----------
    model : fitted estimator, or None if the shard has no rows
    checkpoints : tuple of estimators or None, one for every slice but the first
        What the slices before it made; None if they had no rows.
    cost : float
        Rows times epochs that the last training took.
    """

    model: object = None
    checkpoints: tuple = ()
    cost: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How a shard is trained, which `forget` repeats.

    Attributes
    ----------
    estimator : estimator
        Unfitted, with every seed set.
    seed : int
        Draws the order of the rows in every epoch.
    epochs : tuple of int, or None
        Of every slice; None means that the estimator's own ``fit`` trains.
    """

    estimator: object
    seed: int
    epochs: tuple | None


class BaseSISA(BaseUnlearner):
    """What classifiers and regressors share: shards, and who trains on what."""

    def _check_parameters(self):
        estimator = self._estimator()
        kind, fits, other = self._kind()
        if not fits(estimator):
            raise ValueError(
                f"{type(self).__name__} takes a {kind}, and "
                f"{type(estimator).__name__} is none: use {other}."
            )
        refuse_frozen(estimator, "every shard trains a model of its own")
        check_whole(self.n_shards, "n_shards", low=1)
        n_slices = check_whole(self.n_slices, "n_slices", low=1)
        if self.epochs is not None:
            check_whole(self.epochs, "epochs", low=1)
        check_choice(self.weights, "weights", WEIGHTS)
        if not self._sliced():
            return
        if not hasattr(estimator, "partial_fit"):
            raise ValueError(
                f"{type(estimator).__name__} has no partial_fit as it is set, which "
                f"n_slices={self.n_slices} and epochs={self.epochs} need. Leave both "
                "at their defaults, or take an estimator that has it (for instance "
                "MLPClassifier, SGDClassifier or SGDRegressor), on rows that are "
                "preprocessed already where it would be a Pipeline."
            )
        if 2 * self._n_epochs() < n_slices + 1:
            raise ValueError(
                f"epochs={self._n_epochs()} leaves slices without an epoch of their "
                f"own: n_slices={n_slices} needs at least "
                f"epochs={(n_slices + 2) // 2}."
            )

    def _fit_rows(self, X, y, rng):
        if len(y) < self.n_shards:
            raise ValueError(
                f"n_shards={self.n_shards} shards need as many rows, and X has "
                f"n_samples={len(y)}: take fewer shards, or more rows."
            )
        self._set_classes(y)
        code = np.searchsorted(self.classes_, y) if self._classifies() else None
        self.shards_, self.slices_ = _dealt(
            code, len(y), self.n_shards, self.n_slices, rng
        )
        epochs = slice_epochs(self.n_slices, self._n_epochs())
        self._recipes = [
            Recipe(
                seeded(self._estimator(), rng),
                int(rng.randint(LARGEST_SEED)),
                epochs if self._sliced() else None,
            )
            for _ in range(self.n_shards)
        ]
        self._shards = [Shard()] * self.n_shards
        return self._train(X, y, dict.fromkeys(range(self.n_shards), 0))

    def _forget_rows(self, X, y, gone, kept):
        starts = {
            shard: int(self.slices_[gone & (self.shards_ == shard)].min())
            for shard in np.unique(self.shards_[gone]).tolist()
        }
        self.shards_ = np.where(kept, self.shards_, FORGOTTEN)
        self.slices_ = np.where(kept, self.slices_, FORGOTTEN)
        if self._set_classes(y[kept]) and self._recipes[0].epochs is not None:
            # Every model was told of the class that is gone before its first row.
            starts = dict.fromkeys(range(len(self._recipes)), 0)
        return self._train(X, y, starts)

    def _train(self, X, y, starts):
        """Train shards from the slices that `starts` names; the cost."""
        classes = self.classes_ if self._classifies() else None
        calls = (
            delayed(_trained)(
                self._recipes[shard],
                self._shards[shard].checkpoints[:start],
                classes,
                *self._rows_of(X, y, shard),
            )
            for shard, start in starts.items()
        )
        trained = progress(
            Parallel(n_jobs=self.n_jobs, return_as="generator")(calls),
            len(starts),
            verbose=self.verbose,
            title="shards",
        )
        new = dict(zip(starts, trained, strict=True))
        self._shards = [new.get(k, old) for k, old in enumerate(self._shards)]
        self.estimators_ = [shard.model for shard in self._shards]
        self.shard_sizes_ = np.bincount(
            self.shards_[self.shards_ != FORGOTTEN], minlength=len(self._shards)
        )
        return sum(shard.cost for shard in new.values())

    def _rows_of(self, X, y, shard):
        index = np.flatnonzero(self.shards_ == shard)
        return rows.take_user(X, index), y[index], self.slices_[index]

    def _set_classes(self, y):
        """Set ``classes_`` to the labels of y; whether some are gone."""
        if not self._classifies():
            return False
        before = getattr(self, "classes_", ())
        self.classes_ = np.unique(y)
        return len(self.classes_) < len(before)

    def _stored_bytes(self):
        checkpoints = [shard.checkpoints for shard in self._shards]
        assigned = self.shards_.nbytes + self.slices_.nbytes
        return assigned + _bytes_of([self._recipes, checkpoints])

    def _sliced(self):
        return self.n_slices > 1 or self.epochs is not None

    def _n_epochs(self):
        return DEFAULT_EPOCHS if self.epochs is None else self.epochs

    def _asked(self, X):
        """Rows to predict, after the checks that the shards' models do not make."""
        check_is_fitted(self, "estimators_")
        X = X if hasattr(X, "shape") else np.asarray(X)
        if len(X.shape) != 2:
            raise ValueError(
                f"X must be a table, got shape {X.shape}. Reshape your data: "
                "X.reshape(1, -1) for one row, X.reshape(-1, 1) for one feature."
            )
        validate_data(self, X, reset=False, skip_check_array=True)
        return X

    def _weight(self):
        return shard_weights(self.weights, self.shard_sizes_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._estimator())
        tags.input_tags = inner.input_tags
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.non_deterministic = inner.non_deterministic
        return tags


# -- training of a shard ---------------------------------------------------------------


def _trained(recipe, checkpoints, classes, X, y, slices):
    """The shard of these rows; `checkpoints` are those that have seen no other row."""
    if not len(y):
        return Shard()
    if recipe.epochs is None:
        return _fitted(recipe, X, y, classes)
    return _sliced(recipe, checkpoints, classes, X, y, slices)


def _fitted(recipe, X, y, classes):
    if classes is not None and (y == y[0]).all():
        # Many classifiers refuse to learn from a single class.
        constant = DummyClassifier(strategy="prior").fit(X, y)
        return Shard(constant, cost=float(len(y)))
    model = clone(recipe.estimator).fit(X, y)
    return Shard(model, cost=len(y) * epochs_of(model))


def _sliced(recipe, checkpoints, classes, X, y, slices):
    known = {} if classes is None else {"classes": classes}
    start, cost = len(checkpoints), 0
    model = deepcopy(checkpoints[-1]) if start else None
    for step in range(start, len(recipe.epochs)):
        if step > start:
            checkpoints = (*checkpoints, deepcopy(model))
        index = np.flatnonzero(slices <= step)
        if not len(index):
            continue
        model = clone(recipe.estimator) if model is None else model
        rng = np.random.default_rng((recipe.seed, step))
        for _ in range(recipe.epochs[step]):
            # An estimator with a fixed seed shuffles every call alike.
            order = rng.permutation(index)
            model.partial_fit(rows.take_user(X, order), y[order], **known)
            cost += len(index)
    return Shard(model, checkpoints, float(cost))


def _dealt(code, n, n_shards, n_slices, rng):
    """Shard and slice of every row: chance, and every class evenly."""
    strata = np.zeros(n) if code is None else code
    order = np.lexsort((rng.uniform(size=n), strata))
    cell = np.empty(n, dtype=np.int32)
    cell[order] = np.arange(n) % (n_shards * n_slices)
    return cell % n_shards, cell // n_shards


def _bytes_of(objects):
    """Bytes of a pickle, arrays uncopied."""
    buffers = []
    head = pickle.dumps(objects, protocol=5, buffer_callback=buffers.append)
    return len(head) + sum(buffer.raw().nbytes for buffer in buffers)


def check_choice(value, name, choices):
    """Refuse a value that is not one of these words.

    Raises
    ------
    ValueError
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}."
        )
