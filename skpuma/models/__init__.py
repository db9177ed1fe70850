"""Adapters: how a fitted scikit-learn estimator turns parameters into raw outputs.

Everything that depends on an estimator's own conventions (``C``, ``alpha``, weights,
the intercept, the layout of its coefficients) is translated here, and only here, into
the objective of ``doc/conventions.rst``.
"""

from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from skpuma.models._base import BaseModel
from skpuma.models._refused import REFUSED
from skpuma.utils._registry import load
from skpuma.utils.errors import NotDifferentiableError

# "package.Class" of an estimator -> its adapter. Nothing is imported by being listed.
MODELS = {
    "glum.GeneralizedLinearRegressor": "skpuma.models._glum:GlumModel",
    "sklearn.ElasticNet": "skpuma.models._lasso:ElasticNetModel",
    "sklearn.ElasticNetCV": "skpuma.models._lasso:ElasticNetModel",
    "sklearn.GammaRegressor": "skpuma.models._glm:GLMModel",
    "sklearn.HuberRegressor": "skpuma.models._huber:HuberModel",
    "sklearn.Lasso": "skpuma.models._lasso:ElasticNetModel",
    "sklearn.LassoCV": "skpuma.models._lasso:ElasticNetModel",
    "sklearn.LinearRegression": "skpuma.models._linear:LinearRegressionModel",
    "sklearn.LinearSVC": "skpuma.models._margin:LinearSVCModel",
    "sklearn.LinearSVR": "skpuma.models._margin:LinearSVRModel",
    "sklearn.LogisticRegression": "skpuma.models._logistic:LogisticModel",
    "sklearn.LogisticRegressionCV": "skpuma.models._logistic:LogisticModel",
    "sklearn.MLPClassifier": "skpuma.models._mlp:MLPModel",
    "sklearn.MLPRegressor": "skpuma.models._mlp:MLPModel",
    "sklearn.OneVsRestClassifier": "skpuma.models._one_vs_rest:OneVsRestModel",
    "sklearn.PoissonRegressor": "skpuma.models._glm:GLMModel",
    "sklearn.Ridge": "skpuma.models._linear:RidgeModel",
    "sklearn.RidgeCV": "skpuma.models._linear:RidgeModel",
    "sklearn.RidgeClassifier": "skpuma.models._margin:RidgeClassifierModel",
    "sklearn.RidgeClassifierCV": "skpuma.models._margin:RidgeClassifierModel",
    "sklearn.SGDClassifier": "skpuma.models._margin:SGDClassifierModel",
    "sklearn.SGDRegressor": "skpuma.models._margin:SGDRegressorModel",
    "sklearn.TweedieRegressor": "skpuma.models._glm:GLMModel",
}

# Estimators around a model, which stay as they were fitted.
FRAMES = {
    "sklearn.GridSearchCV": "skpuma.models._frames:SearchFrame",
    "sklearn.HalvingGridSearchCV": "skpuma.models._frames:SearchFrame",
    "sklearn.HalvingRandomSearchCV": "skpuma.models._frames:SearchFrame",
    "sklearn.Pipeline": "skpuma.models._frames:PipelineFrame",
    "sklearn.RandomizedSearchCV": "skpuma.models._frames:SearchFrame",
    "sklearn.TransformedTargetRegressor": "skpuma.models._frames:TargetFrame",
}

__all__ = [
    "FRAMES",
    "MODELS",
    "BaseModel",
    "LinearModel",
    "adapt",
    "check_supported",
    "find_adapter",
    "frame_of",
    "innermost",
    "supports",
]


def __getattr__(name):
    # Loads scikit-learn's linear models, which not every user of this room needs.
    if name != "LinearModel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load("skpuma.models._linear:LinearModel")


def find_adapter(estimator):
    """Return the adapter class of an estimator, fitted or not.

    A class may name its adapter by the attribute ``skpuma_adapter``. A class of the
    user's own finds the adapter of the listed class that it extends; a scikit-learn
    class must be listed itself, since its parents may mean something else by the same
    attributes.

    Raises
    ------
    NotDifferentiableError
        If no adapter is listed for the estimator.
    """
    if isinstance(estimator, type):
        raise NotDifferentiableError(
            f"{estimator.__name__} is a class; pass an estimator: "
            f"{estimator.__name__}()."
        )
    own = getattr(type(estimator), "skpuma_adapter", None)
    if own is not None:
        return load(own) if isinstance(own, str) else own
    found = _look_up(MODELS, estimator)
    if found is not None:
        return load(found)
    name = type(estimator).__name__
    reason = _look_up(REFUSED, estimator)
    if reason is not None:
        raise NotDifferentiableError(f"{name} is not supported: {reason}")
    supported = ", ".join(sorted(key.partition(".")[2] for key in MODELS))
    raise NotDifferentiableError(
        f"{name} is not supported: skpuma needs a model whose raw outputs are "
        f"differentiable in its parameters. Supported are {supported}, and a Pipeline, "
        "a search or a TransformedTargetRegressor around one of them. Name an adapter "
        "of your own by the class attribute skpuma_adapter (skpuma.models.BaseModel)."
    )


def _look_up(table, estimator):
    """Entry of the first class among the estimator's own and its parents', or None."""
    for cls in type(estimator).__mro__:
        package = cls.__module__.partition(".")[0]
        key = f"{package}.{cls.__name__}"
        if key in table:
            return table[key]
        if package == "sklearn":
            break
    return None


def frame_of(estimator):
    """The class of the frame that an estimator is, or None."""
    found = _look_up(FRAMES, estimator)
    return None if found is None else load(found)


def innermost(estimator):
    """The model inside pipelines and searches; before their fit, its parameter."""
    while True:
        frame = frame_of(estimator)
        if frame is not None:
            estimator = frame.inside(estimator)
        elif isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        else:
            return estimator


def check_supported(estimator):
    """Refuse what cannot be adapted, before it is fitted.

    Raises
    ------
    NotDifferentiableError
    """
    outer = estimator
    while (frame := frame_of(outer)) is not None:
        reason = frame.refusal(outer)
        if reason is not None:
            raise NotDifferentiableError(reason)
        if frame.open(outer):
            return  # what it will end with is known after its fit
        outer = frame.inside(outer)
    inner = innermost(estimator)
    if inner is None or isinstance(inner, BaseModel):
        return
    reason = find_adapter(inner).refusal(inner)
    if reason is not None:
        raise NotDifferentiableError(reason)


def supports(estimator):
    """Whether skpuma can value and patch an estimator, and if not, why.

    Parameters
    ----------
    estimator : estimator
        Fitted or not. Some reasons show only in a fitted one.

    Returns
    -------
    supported : bool
    reason : str
        Empty if it is supported.

    Examples
    --------
    >>> from sklearn.linear_model import Perceptron, Ridge
    >>> from skpuma import supports
    >>> supports(Ridge())
    (True, '')
    >>> supports(Perceptron())[0]
    False
    """
    try:
        check_supported(estimator)
        try:
            check_is_fitted(innermost(estimator))
        except (NotFittedError, TypeError):
            return True, ""
        adapt(estimator)
    except NotDifferentiableError as error:
        return False, str(error)
    return True, ""


def adapt(estimator):
    """Return the model (an adapter) of a fitted estimator.

    Raises
    ------
    NotDifferentiableError
        If the estimator, or an option that it was fitted with, is not supported.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """
    if isinstance(estimator, BaseModel):
        return estimator
    if isinstance(estimator, FrozenEstimator):
        return adapt(estimator.estimator)
    frame = frame_of(estimator)
    if frame is None:
        return find_adapter(estimator)(estimator)
    check_is_fitted(estimator)
    model = adapt(frame.inside(estimator))
    model.frames = (frame(estimator), *model.frames)
    return model
