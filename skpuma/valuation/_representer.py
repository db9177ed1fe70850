"""RepresenterPoints: the last layer of a model as a sum over its training rows."""

import numpy as np
from scipy import sparse

from skpuma import rows, scores
from skpuma._meta import require_fitted
from skpuma.losses import BaseLoss
from skpuma.models import LinearModel, adapt
from skpuma.objective import FitRecord, Objective
from skpuma.refit import fit_estimator, seeded
from skpuma.utils._validation import check_number
from skpuma.utils.errors import StationarityWarning, warn
from skpuma.valuation._base import BaseValuation, Part, check_output

TARGETS = ("labels", "model")
MAX_STEPS = 200
# Relative error of the decomposition above which it is none.
LOOSE = 1e-3


class RepresenterPoints(BaseValuation):
    """Representer points of Yeh et al.: a prediction as a sum over training rows.

    The features f_i that the last layer sees (the last hidden layer of a multi-layer
    perceptron; the prepared columns of a linear model) are kept, a constant is
    appended, and the last layer W (h + 1, k) is fitted again, to the optimum of
    ``(1/N) sum_i w_i loss(f_i W, y_i) + l2 ||W||^2`` with N the sum of the weights,
    which penalises the constant too. There
    ``W = sum_i f_i alpha_i.T`` with ``alpha_i = -w_i loss'(f_i W, y_i) / (2 l2 N)``.

    Parameters
    ----------
    estimator : estimator, default None
        Linear model or multi-layer perceptron that `skpuma.models` supports, or a
        Pipeline that ends in one; None means ``LogisticRegression()``. A
        ``FrozenEstimator`` is not fitted again.
    l2 : float, default 0.003
        Strength of the penalty ``l2 ||W||^2``, without the factor 1/2, per unit of mean
        loss; the default of the authors. A ``LogisticRegression(C)`` has ``1/(2 N C)``.
    targets : {"labels", "model"}, default "labels"
        What the last layer is fitted to. "model" is the estimator's own predictions (of
        a classifier: probabilities), so that W explains the model as it is; alpha then
        does not know the labels and cannot find wrong ones. The authors' code does
        that.
    n_jobs : int, default None
        Not used; one solve gives all rows.
    verbose : int, default 0
        Not used.
    random_state : int, RandomState or None, default None
        Draws the seeds of the estimator that are open.

    Attributes
    ----------
    values_ : ndarray (n,)
        Minus ``|alpha_i|`` of the row's given label; minus the Euclidean norm of
        alpha_i where the labels are not one output each (regressors, several labels a
        row). The rows on which the predictions lean most, because they are fitted worst
        (a wrong label is held against all others), are the lowest.
    alpha_ : ndarray (n, k)
        One column per raw output: classes, or 1 for two classes. Above 0 a row excites
        the output for rows like it, below 0 it inhibits it.
    coef_ : ndarray (h + 1, k)
        W; the last line is that of the constant.
    decomposition_error_ : float
        ``||W - sum_i f_i alpha_i.T|| / ||W||``, Frobenius norms. Near 0, or the
        decomposition says nothing.
    agreement_ : float
        Pearson correlation of the refitted layer's predictions with the estimator's
        own, on the training rows: whether W stands for the model.
    estimator_ : estimator
        Fitted on all rows.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    ``X_val`` and ``y_val`` of `fit` are not used: alpha is about the fit. The features
    f_i of the training rows are kept, since they are what predictions are made of.

    References
    ----------
    C.-K. Yeh, J. Kim, I. E.-H. Yen, P. Ravikumar, "Representer Point Selection for
    Explaining Deep Neural Networks", NeurIPS 2018, theorem 3.1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.valuation import RepresenterPoints
    >>> X, y = load_iris(return_X_y=True)
    >>> y[:2] = 2
    >>> system = RepresenterPoints().fit(scale(X), y)
    >>> sorted(system.values_.argsort()[:2].tolist())
    [0, 1]
    >>> system.decomposition_error_ < 1e-8
    True
    """

    needs_validation = False

    def __init__(
        self,
        estimator=None,
        *,
        l2=0.003,
        targets="labels",
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.l2 = l2
        self.targets = targets
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def decompose(self, X, output=None, *, out=None):
        """Share of every training row in the raw outputs of rows.

        Their sum over the training rows is the raw output (logit, prediction) of the
        refitted last layer, to `decomposition_error_`.

        Parameters
        ----------
        X : array-like (n_test, d)
        output : label or int, optional
            Only the raw output of this class, or of this column for a regressor. Two
            classes share one output: for the first class the signs are turned round.
        out : ndarray, optional
            Where to write, such as a memory map; the rows are taken in blocks.

        Returns
        -------
        ndarray (n_test, n, k), or (n_test, n) for one `output`
            ``alpha_ic f_i . f_test``: above 0, row i speaks for the class, or raises
            the prediction.

        Raises
        ------
        TypeError
            If `out` is no array of floats.
        ValueError
            If there is no such output, or `out` has another shape.
        """
        require_fitted(self, "alpha_")
        features = _with_constant(self._model.last_layer(self._model.inputs(X)))
        alpha = self.alpha_ if output is None else self._alpha_of(output)
        n_test, n = features.shape[0], len(alpha)
        shape = (n_test, n, *alpha.shape[1:])
        out = check_output(out, shape)
        for block in rows.blocks(n_test, 16 * n):
            inner = rows.to_dense(features[block] @ self._features.T)
            out[block] = inner.reshape(*inner.shape, *[1] * (alpha.ndim - 1)) * alpha
        return out

    # -- fit ---------------------------------------------------------------------------

    def _value(self, X, y, X_val, y_val, rng):
        l2 = check_number(self.l2, "l2", low=0.0, strict_low=True)
        if self.targets not in TARGETS:
            raise ValueError(f"targets={self.targets!r} is not one of {TARGETS}.")
        estimator = fit_estimator(seeded(self._estimator(), rng), X, y)
        model = adapt(estimator)
        inputs, coded = model.inputs(X), model.targets(y)
        objective = Objective.at_fit(model, inputs, coded, np.ones(len(y)))
        features = _with_constant(model.last_layer(inputs))
        last = _last_layer(objective, features, l2, self.targets)
        share = last.weight[:, None] / last.total_weight
        alpha = -share * last.residual / (2.0 * l2)
        W = last.model.theta.reshape(last.model.n_outputs, -1).T
        own, again = (
            objective.model.loss.predict(z) for z in (objective.raw, last.raw)
        )
        state = {
            "alpha": alpha,
            "coef": W,
            "error": _error(W, features, alpha),
            "agreement": _agreement(own, again),
            "features": features,
            "model": model,
            "estimator": estimator,
        }
        return Part(-_size(alpha, coded, model), state=state)

    def _keep(self, parts, trains):
        state = parts[0].state
        if state["error"] > LOOSE:
            warn(
                "The last layer was not fitted to its optimum: sum_i f_i alpha_i.T is "
                f"{state['error']:.1e} away from W (relative), so alpha does not "
                "explain it. Raise l2, or scale the features.",
                StationarityWarning,
            )
        self.alpha_ = state["alpha"]
        self.coef_ = state["coef"]
        self.decomposition_error_ = state["error"]
        self.agreement_ = state["agreement"]
        self.estimator_ = state["estimator"]
        self._features = state["features"]
        self._model = state["model"]

    def _alpha_of(self, output):
        """Column (n,) of alpha of one class or regression output."""
        classes = self._model.classes
        k = self.alpha_.shape[1]
        known = list(range(k)) if classes is None else classes.tolist()
        if output not in known:
            asked = np.asarray(output).tolist()
            raise ValueError(f"output={asked!r} is not one of {known}.")
        position = known.index(output)
        if classes is not None and k == 1:
            return self.alpha_[:, 0] * (1.0 if position else -1.0)
        return self.alpha_[:, position]


def _with_constant(features):
    """Features (n, h) with a column of ones behind them."""
    ones = np.ones((features.shape[0], 1))
    if sparse.issparse(features):
        return sparse.hstack([features, ones], format="csr")
    return np.hstack([features, ones])


def _last_layer(objective, features, l2, targets):
    """The objective of the last layer at its optimum."""
    model, y = objective.model, objective.y
    loss = model.loss
    if targets == "model":
        y = loss.predict(objective.raw)
        loss = ExpectedLoss(loss) if model.classes is not None else loss
    layer = LastLayer(features.shape[1], model.n_outputs, loss)
    record = FitRecord(
        total_weight=objective.total_weight,
        n_rows=len(objective.weight),
        n_used=len(objective.weight),
        l2=np.full(layer.n_parameters, 2.0 * l2),
        tilt=np.zeros(layer.n_parameters),
        class_weights=None,
    )
    start = Objective(layer, features, y, objective.weight, record)
    return scores.polish(start, max_steps=MAX_STEPS)[0]


class LastLayer(LinearModel):
    """A linear layer without an estimator: ``z = f W`` at ``theta = W.T.ravel()``."""

    kind = "sum"
    frames = ()
    free_coef = None
    fit_intercept = False

    def __init__(self, n_features, n_outputs, loss):
        self.n_features, self.n_outputs = n_features, n_outputs
        self.free_intercept = np.zeros(n_outputs, dtype=bool)
        self.loss = loss
        self.theta = np.zeros(n_features * n_outputs)

    def split(self, V):
        shape = self.n_outputs, *V.shape[1:]
        return V.reshape(self.n_outputs, self.n_features, *V.shape[1:]), np.zeros(shape)

    def ridge(self, total_weight, n_rows):
        raise NotImplementedError("The strength of the penalty is in the record.")


class ExpectedLoss(BaseLoss):
    """Expectation of a classification loss over class probabilities y (n, n_classes).

    For log-losses: the cross-entropy.

    Parameters
    ----------
    base : BaseLoss
        Of class positions.
    """

    task = "classification"
    parameters = ("base",)

    def __init__(self, base):
        self.base = base

    def _expected(self, method, z, y):
        total = 0.0
        for position in range(y.shape[1]):
            one = method(z, np.full(len(z), position))
            total = total + y[:, position].reshape(-1, *[1] * (one.ndim - 1)) * one
        return total

    def value(self, z, y):
        return self._expected(self.base.value, z, y)

    def gradient(self, z, y):
        return self._expected(self.base.gradient, z, y)

    def hessian(self, z, y):
        return self._expected(self.base.hessian, z, y)

    def predict(self, z):
        return self.base.predict(z)

    def predict_vjp(self, z, u):
        return self.base.predict_vjp(z, u)


def _error(W, features, alpha):
    """``||W - F.T alpha|| / ||W||``; 0 if both are 0."""
    size = np.linalg.norm(W)
    distance = np.linalg.norm(W - rows.column_sums(features, alpha))
    return float(distance / size) if size > 0 else float(distance)


def _agreement(own, again):
    """Pearson correlation of two tables of predictions; nan if one is constant."""
    a, b = np.ravel(own - own.mean()), np.ravel(again - again.mean())
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / size) if size > 0 else float("nan")


def _size(alpha, y, model):
    """|alpha| of the given label, or the norm of alpha where it has no output."""
    if model.classes is not None and alpha.shape[1] > 1:
        return np.abs(alpha[np.arange(len(y)), y])
    return np.linalg.norm(alpha, axis=1)
