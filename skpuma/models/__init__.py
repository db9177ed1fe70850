"""Adapters: how a fitted scikit-learn estimator turns parameters into raw outputs.

Everything that depends on an estimator's own conventions (``C``, ``alpha``, weights,
the intercept, the layout of its coefficients) is translated here, and only here, into
the objective of ``doc/conventions.rst``.
"""

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from skpuma.models._base import BaseModel
from skpuma.models._pipeline import PipelineFrame
from skpuma.utils._registry import load
from skpuma.utils.errors import NotDifferentiableError

MODELS = {
    "sklearn.GammaRegressor": "skpuma.models._glm:GLMModel",
    "sklearn.LinearRegression": "skpuma.models._linear:LinearRegressionModel",
    "sklearn.LogisticRegression": "skpuma.models._linear:LogisticModel",
    "sklearn.MLPClassifier": "skpuma.models._mlp:MLPModel",
    "sklearn.MLPRegressor": "skpuma.models._mlp:MLPModel",
    "sklearn.PoissonRegressor": "skpuma.models._glm:GLMModel",
    "sklearn.Ridge": "skpuma.models._linear:RidgeModel",
    "sklearn.TweedieRegressor": "skpuma.models._glm:GLMModel",
}

__all__ = ["MODELS", "BaseModel", "adapt", "find_adapter"]


def find_adapter(estimator):
    """Return the adapter class of an estimator, fitted or not.

    A class of the user's own finds the adapter of the scikit-learn class that it
    extends; a scikit-learn class must be listed itself, since its parents may mean
    something else by the same attributes.

    Raises
    ------
    NotDifferentiableError
        If no adapter is listed for the estimator.
    """
    for cls in type(estimator).__mro__:
        package = cls.__module__.partition(".")[0]
        key = f"{package}.{cls.__name__}"
        if key in MODELS:
            return load(MODELS[key])
        if package == "sklearn":
            break
    supported = ", ".join(sorted(key.partition(".")[2] for key in MODELS))
    raise NotDifferentiableError(
        f"{type(estimator).__name__} is not supported: skpuma needs a model whose raw "
        f"outputs are differentiable in its parameters. Supported are {supported}, "
        "and a Pipeline that ends in one of them."
    )


def adapt(estimator):
    """Return the model (an adapter) of a fitted estimator.

    Raises
    ------
    NotDifferentiableError
        If the estimator, or an option that it was fitted with, is not supported.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """
    if isinstance(estimator, FrozenEstimator):
        return adapt(estimator.estimator)
    if isinstance(estimator, Pipeline):
        model = adapt(estimator.steps[-1][1])
        model.frames = (PipelineFrame(estimator), *model.frames)
        return model
    if isinstance(estimator, BaseModel):
        return estimator
    return find_adapter(estimator)(estimator)
