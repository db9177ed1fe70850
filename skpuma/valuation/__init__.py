"""Valuation systems that skpuma is compared with, under one contract.

Every system is ``fit(X, y, X_val=, y_val=)``, ``values_`` (n,) where the lowest values
are the most harmful rows, and ``to_frame()``. `PumaValuator` speaks of the same rows in
units of a criterion; these are here to be compared with it, and where a model has no
gradient.
"""

from skpuma.utils._registry import lazy

VALUATIONS = {
    "DataOOB": "skpuma.valuation._data_oob",
    "DataShapley": "skpuma.valuation._shapley",
    "DVRL": "skpuma.valuation._dvrl",
    "InfluenceFunctions": "skpuma.valuation._influence",
    "KNNShapley": "skpuma.valuation._knn_shapley",
    "LeaveOneOut": "skpuma.valuation._leave_one_out",
    "RepresenterPoints": "skpuma.valuation._representer",
    "SelfConfidence": "skpuma.valuation._self_confidence",
}

__all__ = ["VALUATIONS", *VALUATIONS]

__getattr__ = lazy(__name__, VALUATIONS)
