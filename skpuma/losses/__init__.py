"""Losses, pointwise in the raw outputs z: value, gradient, Hessian, prediction.

Shapes are the same everywhere: raw outputs ``z`` (n, k); coded targets ``y``, integer
class positions (n,) for classifiers and floats (n, k) for regressors.
"""

LOSSES = {
    "binary_log": "skpuma.losses._binary_log:BinaryLogLoss",
    "multinomial_log": "skpuma.losses._multinomial_log:MultinomialLogLoss",
    "poisson": "skpuma.losses._poisson:PoissonLoss",
    "squared": "skpuma.losses._squared:SquaredLoss",
    "tweedie": "skpuma.losses._tweedie:TweedieLoss",
}
