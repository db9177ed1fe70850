"""Unrolling SGD: the steps that a row took part in are undone to first order."""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from skpuma.unlearning._plain_sgd import LOG, SQUARED
from skpuma.unlearning._unrolling import UnrolledTraining
from skpuma.utils._validation import check_number


class UnrolledSGDClassifier(UnrolledTraining):
    """A classifier trained by plain SGD, which forgets rows to first order.

    Training takes plain gradient steps on the mean loss of batches and keeps the
    initial parameters. Written out, the parameters at the end are the initial ones less
    the gradients of all steps; to first order in the learning rate these are gradients
    at the initial parameters. Forgetting rows adds back theirs::

        w + sum over epochs and rows that go of learning_rate / b * grad loss_i(w_0)

    with b the size of the batch that the row was in.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default ()
        Hidden layers of a multi-layer perceptron; without any, logistic regression.
    activation : {"tanh", "relu"}, default "tanh"
        Of the hidden layers.
    alpha : float, default 1e-4
        The penalty ``alpha / 2 ||W||^2`` beside the mean loss, as in SGDClassifier. The
        intercepts are spared.
    sd_penalty : float, default 0.0
        Weight of the mean over rows of the standard deviation of a row's logits, with
        one degree of freedom less; see the notes. Two classes have the logits
        (-z/2, z/2). The authors' code divides by the number of classes too.
    learning_rate : float, default 0.1
    n_epochs : int, default 10
    batch_size : int, default 32
    gradient_at : {"initial", "final"}, default "initial"
        Where `forget` takes the gradients of the rows that go: at the initial
        parameters, as the paper derives, or at those that the model has, as one of the
        authors' programs does.
    pretrained : FrozenEstimator, default None
        Around a fitted model of the same class and shape as ``estimator_``: training
        starts from its parameters, and `forget` forgets nothing that it had learnt.
        None starts from zero, and networks from scikit-learn's draw.
    fit_intercept : bool, default True
        False does not train the intercepts of any layer.
    verbose : int, default 0
        Above 0: a progress bar over the epochs.
    random_state : int, RandomState or None, default None
        Orders the rows, and draws the initial weights of a network.

    Attributes
    ----------
    estimator_ : LogisticRegression or MLPClassifier
        With the trained parameters written in. Its penalty says the same as `alpha`,
        but for `sd_penalty`.
    classes_ : ndarray (k,)
    n_iter_ : int
        Epochs that were trained.
    unlearning_error_ : float
        What predicts the error of forgetting, from the training alone:
        ``learning_rate^2 t / 2 ||w_t - w_0|| sigma`` after t steps, with sigma the root
        of the largest eigenvalue of the Hessian of the mean loss (without `alpha`, on
        up to 1,000 rows), as the authors compute it.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        Bytes of the initial parameters.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` went through: to
        forget takes one gradient of every row that goes.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    See Also
    --------
    UnrolledSGDRegressor : For numbers.

    Notes
    -----
    The expansion holds for plain SGD while ``learning_rate * t`` is small; there is no
    momentum and no schedule for that reason.

    The authors propose `sd_penalty` to keep weights near their start, and so both
    errors small, in networks that were `pretrained` with it. Measured on digits with
    two hidden layers, a penalty of 1 halved both. Without `pretrained` it made the
    verification error larger, not smaller, in 107 of 108 settings (four data sets,
    linear models and networks): training then starts from equal or nearly equal logits,
    where the derivative of their standard deviation jumps. Where they are equal it is
    taken as 0.

    References
    ----------
    A. Thudi, G. Deza, V. Chandrasekaran, N. Papernot, "Unrolling SGD: Understanding
    Factors Influencing Machine Unlearning", IEEE EuroS&P 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.unlearning import UnrolledSGDClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> system = UnrolledSGDClassifier(learning_rate=0.01, random_state=0).fit(X, y)
    >>> system.verification_error(X, y)
    0.0
    >>> system.forget(X, y, [3, 7]).verification_error(X, y) < 1e-2
    True
    """

    _loss = LOG

    def __init__(
        self,
        hidden_layer_sizes=(),
        activation="tanh",
        *,
        alpha=1e-4,
        sd_penalty=0.0,
        learning_rate=0.1,
        n_epochs=10,
        batch_size=32,
        gradient_at="initial",
        pretrained=None,
        fit_intercept=True,
        verbose=0,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.alpha = alpha
        self.sd_penalty = sd_penalty
        self.learning_rate = learning_rate
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.gradient_at = gradient_at
        self.pretrained = pretrained
        self.fit_intercept = fit_intercept
        self.verbose = verbose
        self.random_state = random_state

    def _check_parameters(self):
        super()._check_parameters()
        check_number(self.sd_penalty, "sd_penalty", low=0.0)

    def _made(self, hidden, **parameters):
        return MLPClassifier(hidden_layer_sizes=hidden, **parameters)

    def _linear(self, n):
        strength = np.inf if self.alpha == 0.0 else 1.0 / (n * self.alpha)
        return LogisticRegression(C=strength, fit_intercept=self.fit_intercept)


class UnrolledSGDRegressor(UnrolledTraining):
    """A regressor trained by plain SGD, which forgets rows to first order.

    As `UnrolledSGDClassifier`, whose notes hold here too, with half the squared error
    as the loss. There is no penalty on the standard deviation of logits, since there
    are none.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default ()
        Hidden layers of a multi-layer perceptron; without any, ridge regression.
    activation : {"tanh", "relu"}, default "tanh"
        Of the hidden layers.
    alpha : float, default 1e-4
        The penalty ``alpha / 2 ||W||^2`` beside the mean loss, as in SGDRegressor.
    learning_rate : float, default 0.01
        Beyond 2 over the largest eigenvalue of a batch's Hessian, steps diverge.
    n_epochs : int, default 10
    batch_size : int, default 32
    gradient_at : {"initial", "final"}, default "initial"
        Where `forget` takes the gradients of the rows that go.
    pretrained : FrozenEstimator, default None
        Around a fitted model of the same class and shape as ``estimator_``, from whose
        parameters training starts.
    fit_intercept : bool, default True
        False does not train the intercepts of any layer.
    verbose : int, default 0
        Above 0: a progress bar over the epochs.
    random_state : int, RandomState or None, default None
        Orders the rows, and draws the initial weights of a network.

    Attributes
    ----------
    estimator_ : Ridge or MLPRegressor
        With the trained parameters written in. Its penalty says the same as `alpha`.
    n_iter_ : int
        Epochs that were trained.
    unlearning_error_ : float
        ``learning_rate^2 t / 2 ||w_t - w_0|| sigma``.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        Bytes of the initial parameters.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` went through.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    References
    ----------
    A. Thudi, G. Deza, V. Chandrasekaran, N. Papernot, "Unrolling SGD: Understanding
    Factors Influencing Machine Unlearning", IEEE EuroS&P 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.unlearning import UnrolledSGDRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X, y = scale(X), scale(y)
    >>> system = UnrolledSGDRegressor(random_state=0).fit(X, y)
    >>> system.forget(X, y, [3, 7]).verification_error(X, y) < 1e-2
    True
    """

    _loss = SQUARED

    def __init__(
        self,
        hidden_layer_sizes=(),
        activation="tanh",
        *,
        alpha=1e-4,
        learning_rate=0.01,
        n_epochs=10,
        batch_size=32,
        gradient_at="initial",
        pretrained=None,
        fit_intercept=True,
        verbose=0,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.alpha = alpha
        self.learning_rate = learning_rate
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.gradient_at = gradient_at
        self.pretrained = pretrained
        self.fit_intercept = fit_intercept
        self.verbose = verbose
        self.random_state = random_state

    def _made(self, hidden, **parameters):
        return MLPRegressor(hidden_layer_sizes=hidden, **parameters)

    def _linear(self, n):
        return Ridge(n * self.alpha, fit_intercept=self.fit_intercept)
