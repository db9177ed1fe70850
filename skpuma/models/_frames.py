"""What may stand around a differentiable model: it stays as it was fitted.

A frame prepares rows and targets for the estimator inside it, and puts another one in
its place.
"""

import copy

import numpy as np


class Frame:
    """An estimator around another one, named by an attribute or a parameter.

    Parameters
    ----------
    outer : estimator
        Fitted.
    """

    parameter = "estimator"
    fitted = "estimator_"

    def __init__(self, outer):
        self.outer = outer

    @classmethod
    def inside(cls, outer):
        """The estimator inside: the fitted one, or the parameter before the fit."""
        inner = getattr(outer, cls.fitted, None)
        return getattr(outer, cls.parameter) if inner is None else inner

    @classmethod
    def refusal(cls, outer):
        """Why this estimator cannot be supported whatever it holds, or None."""
        return None

    @classmethod
    def open(cls, outer):
        """Whether the fit may still choose another estimator than the one inside."""
        return False

    @classmethod
    def step(cls, outer):
        """Name under which the estimator inside takes metadata, or an empty one."""
        return ""

    def transform(self, X):
        """Rows as the estimator inside sees them."""
        return X

    def targets(self, y):
        """Targets as the estimator inside sees them."""
        return y

    def rebuild(self, inner):
        """A copy with another estimator inside."""
        return copy.deepcopy(self.outer, {id(self.inside(self.outer)): inner})


class PipelineFrame(Frame):
    """The fitted steps in front of the last one."""

    @classmethod
    def inside(cls, outer):
        return outer.steps[-1][1]

    @classmethod
    def step(cls, outer):
        return outer.steps[-1][0]

    def transform(self, X):
        if len(self.outer.steps) == 1:
            return X
        return self.outer[:-1].transform(X)


class SearchFrame(Frame):
    """A hyperparameter search: the model is its ``best_estimator_``."""

    fitted = "best_estimator_"

    @classmethod
    def refusal(cls, outer):
        if outer.refit is not False:
            return None
        return (
            f"{type(outer).__name__}(refit=False) keeps no best_estimator_: use "
            "refit=True."
        )

    @classmethod
    def open(cls, outer):
        return getattr(outer, cls.fitted, None) is None


class TargetFrame(Frame):
    """TransformedTargetRegressor: the model lives on the transformed target."""

    parameter = "regressor"
    fitted = "regressor_"

    @classmethod
    def inside(cls, outer):
        inner = super().inside(outer)
        if inner is not None:
            return inner
        from sklearn.linear_model import LinearRegression

        return LinearRegression()

    def targets(self, y):
        y = np.asarray(y, dtype=np.float64)
        return self.outer.transformer_.transform(y.reshape(len(y), -1))
