"""scikit-learn's own networks and SGD models, trained batch by batch under control."""

import copy

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.neural_network import MLPClassifier, MLPRegressor

# A step of this length changes no weight: it is less than the rounding of any.
NO_STEP = 1e-300


def batches_of(positions, batch_size):
    """Positions, in their order, as batches; the last may be smaller."""
    return np.split(positions, np.arange(batch_size, len(positions), batch_size))


def is_network(estimator):
    """Whether this is one of scikit-learn's multi-layer perceptrons."""
    return isinstance(estimator, (MLPClassifier, MLPRegressor))


def read(estimator):
    """All parameters of a fitted network or linear model, as float64 (p,)."""
    parts = [np.ravel(array) for array in _arrays(estimator)]
    return np.concatenate(parts).astype(np.float64)


def write(estimator, theta):
    """Put parameters (p,) into a fitted estimator, in place."""
    new, start = [], 0
    for array in _arrays(estimator):
        part = theta[start : start + array.size].reshape(array.shape)
        new.append(part.astype(array.dtype))
        start += array.size
    if is_network(estimator):
        half = len(new) // 2
        estimator.coefs_, estimator.intercepts_ = new[:half], new[half:]
    else:
        estimator.coef_, estimator.intercept_ = new


def _arrays(estimator):
    if is_network(estimator):
        return [*estimator.coefs_, *estimator.intercepts_]
    return [estimator.coef_, estimator.intercept_]


def untrained(network, X, y, classes=None):
    """A clone of a network as it is before its first batch.

    Parameters
    ----------
    network : MLPClassifier or MLPRegressor
        With a seed.
    X, y : at least one row, as `partial_fit` takes them
    classes : ndarray, optional
        Of a classifier.
    """
    parameters = {} if classes is None else {"classes": classes}
    start = clone(network).set_params(learning_rate_init=NO_STEP, batch_size=1)
    # The step may round to zero, as it should.
    with np.errstate(under="ignore"):
        start.partial_fit(X[:1], y[:1], **parameters)
    # What the optimiser has seen goes with it; the next batch makes a new one.
    del start._optimizer, start.loss_
    start.t_ = start.n_iter_ = 0
    start.loss_curve_, start.best_loss_ = [], np.inf
    return start.set_params(**network.get_params(deep=False))


class BatchTrainer:
    """Trains a copy of an estimator by single batches.

    Parameters
    ----------
    estimator : MLP or SGD estimator
        Unfitted with a seed, or trained already.
    X : ndarray or CSR (n, d)
    y : ndarray (n,) or (n, k)
    classes : ndarray or None
    """

    def __init__(self, estimator, X, y, classes):
        self.estimator = copy.deepcopy(estimator)
        # A batch has no names, and scikit-learn would miss them in each.
        self._names = vars(self.estimator).pop("feature_names_in_", None)
        self._X, self._y = X, y
        self._first = {} if classes is None else {"classes": classes}

    def start(self):
        """Parameters before the first batch, float64 (p,)."""
        if is_network(self.estimator):
            first = untrained(self.estimator, self._X, self._y, **self._first)
            return read(first)
        n_outputs = 1
        if is_classifier(self.estimator) and len(self._first["classes"]) > 2:
            n_outputs = len(self._first["classes"])
        return np.zeros((self._X.shape[1] + 1) * n_outputs)

    @property
    def dtype(self):
        """Precision of the parameters."""
        return _arrays(self.estimator)[0].dtype

    def theta(self):
        """Parameters as they are, float64 (p,)."""
        return read(self.estimator)

    def step(self, batch):
        """One call of ``partial_fit`` for the rows at these positions.

        Returns
        -------
        ndarray (p,)
            The parameters after it, float64.
        """
        estimator, first = self.estimator, {}
        if is_network(estimator):
            estimator.batch_size = len(batch)
        if not hasattr(estimator, "n_iter_"):
            first = self._first
        estimator.partial_fit(self._X[batch], self._y[batch], **first)
        if is_network(estimator) and estimator.n_iter_ == 0:
            # A network that is interrupted says so, and goes on.
            raise KeyboardInterrupt
        return self.theta()

    def rewind(self, theta, n_rows):
        """Put parameters in, and let the optimiser forget `n_rows` rows.

        Its moments are set to zero, since they hold gradients of all rows; the counter
        that learning rates depend on goes back.
        """
        write(self.estimator, theta)
        self.estimator.t_ -= n_rows
        optimizer = getattr(self.estimator, "_optimizer", None)
        for name in ("velocities", "ms", "vs"):
            moments = getattr(optimizer, name, ())
            if len(moments):
                setattr(optimizer, name, [np.zeros_like(part) for part in moments])
        if hasattr(optimizer, "t"):
            optimizer.t = 0

    def copy(self, batch_size):
        """The estimator as it is now, to hand over.

        Parameters
        ----------
        batch_size : int
            What a network is told that its batches were.
        """
        estimator = copy.deepcopy(self.estimator)
        if is_network(estimator):
            estimator.batch_size = batch_size
        if self._names is not None:
            estimator.feature_names_in_ = self._names
        return estimator
