"""Losses, pointwise in the raw outputs z: value, gradient, Hessian, prediction.

Shapes are the same everywhere: raw outputs ``z`` (n, k); coded targets ``y``, integer
class positions (n,) for classifiers, floats (n, k) for regressors, zeros and ones
(n, k) where every output is a label. Only a loss that estimates a scale has more raw
outputs than targets.
"""

from skpuma.losses._base import BaseLoss
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._coded import CodedLoss
from skpuma.losses._huber import HuberLoss
from skpuma.losses._modified_huber import ModifiedHuberLoss
from skpuma.losses._multilabel import MultilabelLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.losses._one_vs_rest import OneVsRestLoss
from skpuma.losses._poisson import PoissonLoss
from skpuma.losses._scaled_huber import ScaledHuberLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.losses._squared_epsilon_insensitive import SquaredEpsilonInsensitiveLoss
from skpuma.losses._squared_hinge import SquaredHingeLoss
from skpuma.losses._tweedie import TweedieLoss

LOSSES = {
    "binary_log": "skpuma.losses._binary_log:BinaryLogLoss",
    "coded": "skpuma.losses._coded:CodedLoss",
    "huber": "skpuma.losses._huber:HuberLoss",
    "modified_huber": "skpuma.losses._modified_huber:ModifiedHuberLoss",
    "multilabel": "skpuma.losses._multilabel:MultilabelLoss",
    "multinomial_log": "skpuma.losses._multinomial_log:MultinomialLogLoss",
    "one_vs_rest": "skpuma.losses._one_vs_rest:OneVsRestLoss",
    "poisson": "skpuma.losses._poisson:PoissonLoss",
    "scaled_huber": "skpuma.losses._scaled_huber:ScaledHuberLoss",
    "squared": "skpuma.losses._squared:SquaredLoss",
    "squared_epsilon_insensitive": (
        "skpuma.losses._squared_epsilon_insensitive:SquaredEpsilonInsensitiveLoss"
    ),
    "squared_hinge": "skpuma.losses._squared_hinge:SquaredHingeLoss",
    "tweedie": "skpuma.losses._tweedie:TweedieLoss",
}

__all__ = [
    "LOSSES",
    "BaseLoss",
    "BinaryLogLoss",
    "CodedLoss",
    "HuberLoss",
    "ModifiedHuberLoss",
    "MultilabelLoss",
    "MultinomialLogLoss",
    "OneVsRestLoss",
    "PoissonLoss",
    "ScaledHuberLoss",
    "SquaredEpsilonInsensitiveLoss",
    "SquaredHingeLoss",
    "SquaredLoss",
    "TweedieLoss",
]
