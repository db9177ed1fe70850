"""Training by plain SGD, and forgetting by the first terms of its unrolled sum."""

import copy
from itertools import pairwise

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skpuma import rows
from skpuma.refit import LARGEST_SEED, is_frozen
from skpuma.unlearning._batches import batches_of, is_network, untrained
from skpuma.unlearning._plain_sgd import ACTIVATIONS, PlainSGD
from skpuma.unlearning._wrapping import WrapsEstimator
from skpuma.utils._hashing import rows_digest
from skpuma.utils._progress import Interruptible
from skpuma.utils._validation import check_bool, check_number, check_whole

GRADIENTS_AT = ("initial", "final")


class UnrolledTraining(WrapsEstimator):
    """What the classifier and the regressor share.

    They implement ``_made(hidden, **parameters)`` and ``_linear(n)``, the unfitted
    estimators that they end in, and have the ``_loss`` of a `PlainSGD`.
    """

    def verification_error(self, X, y):
        """Distance of the parameters from those of training without the rows.

        That training starts from the same parameters and goes through the same batches
        less the forgotten rows; a step still divides by the number of rows that its
        batch was drawn with.

        Parameters
        ----------
        X, y : the rows of the fit
            As in `forget`: those that were forgotten are not looked at.

        Returns
        -------
        float
            Euclidean norm over all weights and intercepts; 0 if nothing was forgotten.

        Raises
        ------
        ValueError
            If these are not the rows of the fit.
        """
        check_is_fitted(self, "forgotten_")
        X, y = self._checked(X, y, reset=False)
        kept = ~self.forgotten_
        if len(y) != len(kept) or rows_digest(X, y, kept) != self._digest:
            raise ValueError(
                "These are not the rows of the fit: pass the X and y that fit was "
                "called with, in their order and of their type."
            )
        code = np.zeros(len(y))
        code[kept] = self._coded(y[kept])
        weight = kept.astype(np.float64)
        epochs = self._sgd.epochs(X, code, weight, self._initial, self.n_iter_)
        *_, retrained = epochs
        return float(np.linalg.norm(self._read(self.estimator_) - retrained))

    # -- the contract ------------------------------------------------------------------

    def _base(self):
        return self._made(self._hidden()) if len(self._hidden()) else self._linear(1)

    def _hidden(self):
        return tuple(np.atleast_1d(self.hidden_layer_sizes).tolist())

    def _check_parameters(self):
        for size in self._hidden():
            check_whole(size, "hidden_layer_sizes", low=1)
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation={self.activation!r} is not one of {ACTIVATIONS}."
            )
        check_number(self.alpha, "alpha", low=0.0)
        check_number(self.learning_rate, "learning_rate", low=0.0, strict_low=True)
        check_whole(self.n_epochs, "n_epochs", low=1)
        check_whole(self.batch_size, "batch_size", low=1)
        check_bool(self.fit_intercept, "fit_intercept")
        if self.pretrained is not None and not is_frozen(self.pretrained):
            raise TypeError(
                "pretrained must be a FrozenEstimator around a fitted model, since a "
                "clone of this system would have a clone without its parameters; got "
                f"{type(self.pretrained).__name__}."
            )
        self._check_gradient_at()

    def _check_gradient_at(self):
        if self.gradient_at not in GRADIENTS_AT:
            raise ValueError(
                f"gradient_at={self.gradient_at!r} is not one of {GRADIENTS_AT}."
            )

    def _validated(self, X, y, reset):
        X, y = super()._validated(X, y, reset)
        if y.ndim > 1:
            raise ValueError(
                f"y has shape {y.shape}: {type(self).__name__} takes one target a row."
            )
        seen = np.ones(X.shape[0], dtype=bool)
        if not reset and len(self.forgotten_) == len(seen):
            seen = ~self.forgotten_
        numbers = check_array(
            rows.take_user(X, seen),
            dtype=np.float64,
            order="C",
            estimator=self,
            input_name="X",
        )
        if seen.all():
            # A read-only array would be another kernel to compile.
            return np.require(numbers, requirements="W"), y
        # Rows that were forgotten may hold anything.
        blank = np.zeros((len(seen), numbers.shape[1]))
        blank[seen] = numbers
        return blank, y

    def _fit_rows(self, X, y, rng):
        classes = np.unique(y) if self._classifies() else None
        self._classes = classes
        outputs = 1 if classes is None or len(classes) == 2 else len(classes)
        self._sgd = PlainSGD(
            widths=(X.shape[1], *self._hidden(), outputs),
            activation=self.activation,
            loss=self._loss,
            sd_penalty=float(getattr(self, "sd_penalty", 0.0)),
            alpha=float(self.alpha),
            learning_rate=float(self.learning_rate),
            fit_intercept=bool(self.fit_intercept),
            batch_size=int(self.batch_size),
            seed=rng.randint(LARGEST_SEED),
        )
        self.estimator_ = self._untrained(X, y)
        theta = self._initial = self._read(self._start())
        code, weight = self._coded(y), np.ones(len(y))
        epochs = Interruptible(
            self._sgd.epochs(X, code, weight, theta, self.n_epochs),
            self.n_epochs,
            verbose=self.verbose,
            title="epochs",
        )
        self.n_iter_ = 0
        for after in epochs:
            theta, self.n_iter_ = after, self.n_iter_ + 1
        self._write(theta)
        self._note_epochs(len(y))
        steps = self.n_iter_ * -(-len(y) // self.batch_size)
        sigma = np.sqrt(max(self._sgd.sharpness(X, code, theta), 0.0))
        way = np.linalg.norm(theta - self._initial)
        self.unlearning_error_ = float(
            self.learning_rate**2 * steps * 0.5 * way * sigma
        )
        return len(y) * self.n_iter_

    def _forget_rows(self, X, y, gone, kept):
        self._check_gradient_at()
        theta = self._read(self.estimator_)
        at = self._initial if self.gradient_at == "initial" else theta
        rate = self._sgd.rates(len(y), self.n_iter_)[gone]
        gradient = self._sgd.gradient(X[gone], self._coded(y[gone]), rate, at)
        self.estimator_ = copy.deepcopy(self.estimator_)
        self._write(theta + gradient)
        return np.count_nonzero(gone)

    def _stored_bytes(self):
        return self._initial.nbytes

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.target_tags.multi_output = False
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        return tags

    # -- parameters and estimators -----------------------------------------------------

    def _coded(self, y):
        """Class positions or targets, as floats."""
        if self._classes is None:
            return y.copy()
        return np.searchsorted(self._classes, y).astype(np.float64)

    def _start(self):
        """The estimator whose parameters training starts from.

        Raises
        ------
        ValueError
            If `pretrained` is a model of another shape, or of other classes.
        """
        if self.pretrained is None:
            return self.estimator_
        given, sgd = self.pretrained.estimator, self._sgd
        check_is_fitted(given)
        coefs = given.coefs_ if is_network(given) else [np.atleast_2d(given.coef_).T]
        shapes, needed = [coef.shape for coef in coefs], list(pairwise(sgd.widths))
        if shapes != needed:
            raise ValueError(
                f"pretrained has weights of shapes {shapes}; these columns and "
                f"targets, with hidden_layer_sizes={sgd.widths[1:-1]}, need {needed}."
            )
        if is_network(given) and given.activation != sgd.activation:
            raise ValueError(
                f"pretrained has activation={given.activation!r}, not "
                f"{sgd.activation!r}."
            )
        if self._classes is not None and list(given.classes_) != list(self._classes):
            raise ValueError(
                f"pretrained knows the classes {list(given.classes_)}; those of y are "
                f"{list(self._classes)}."
            )
        return given

    def _untrained(self, X, y):
        """The estimator before the first step, fitted as far as it predicts."""
        sgd = self._sgd
        if len(sgd.widths) == 2:
            estimator = self._linear(len(y))
            if self._classes is not None:
                estimator.classes_ = self._classes
            k = sgd.widths[-1]
            estimator.coef_, estimator.intercept_ = np.zeros((k, X.shape[1])), 0.0
        else:
            sizes = [len(b) for b in batches_of(np.arange(len(y)), sgd.batch_size)]
            network = self._made(
                sgd.widths[1:-1],
                activation=sgd.activation,
                solver="sgd",
                # scikit-learn divides its penalty by the size of each batch.
                alpha=float(sgd.alpha / np.mean(1.0 / np.array(sizes))),
                batch_size=sgd.batch_size,
                learning_rate_init=sgd.learning_rate,
                max_iter=self.n_epochs,
                momentum=0.0,
                nesterovs_momentum=False,
                random_state=sgd.seed,
            )
            estimator = untrained(network, X, y, self._classes)
            if not sgd.fit_intercept:
                estimator.intercepts_ = [0.0 * part for part in estimator.intercepts_]
        estimator.n_features_in_ = X.shape[1]
        if hasattr(self, "feature_names_in_"):
            estimator.feature_names_in_ = self.feature_names_in_
        return estimator

    def _read(self, estimator):
        """Parameters of a fitted estimator (p,), as the kernels have them."""
        if is_network(estimator):
            pairs = zip(estimator.coefs_, estimator.intercepts_, strict=True)
        else:
            k = self._sgd.widths[-1]
            coef = np.reshape(estimator.coef_, (k, -1)).T
            pairs = [(coef, np.broadcast_to(estimator.intercept_, k))]
        return np.concatenate([np.ravel(part) for pair in pairs for part in pair])

    def _write(self, theta):
        """Put parameters (p,) into ``estimator_``."""
        estimator, layers = self.estimator_, self._sgd.layers(theta.copy())
        if is_network(estimator):
            estimator.coefs_ = [weights for weights, _ in layers]
            estimator.intercepts_ = [intercepts for _, intercepts in layers]
            return
        ((weights, intercepts),) = layers
        if self._classes is None:
            estimator.coef_ = weights[:, 0].copy()
            estimator.intercept_ = float(intercepts[0])
        else:
            estimator.coef_ = np.ascontiguousarray(weights.T)
            estimator.intercept_ = intercepts

    def _note_epochs(self, n):
        """Tell ``estimator_`` how it was trained, in its own words."""
        if is_network(self.estimator_):
            self.estimator_.n_iter_ = self.n_iter_
            self.estimator_.t_ = n * self.n_iter_
        else:
            self.estimator_.n_iter_ = np.array([self.n_iter_])
