"""The same outputs from other libraries, timed in turn; skipped where they are not."""

from importlib import import_module

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from skpuma import PumaValuator
from skpuma.diagnostics import diagnostics
from skpuma.models import adapt
from skpuma.objective import Objective
from tests.benchmarks import data
from tests.benchmarks.speed import _median

TIGHT = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}


def _peer(name):
    try:
        return import_module(name)
    except ImportError:
        return None


def pyinfluence():
    """Influence of 100,000 x 100 training rows on the mean loss of 1,000 test rows."""
    peer = _peer("pyinfluence")
    if peer is None:
        return [("pyinfluence is not installed", "-", "-", None)]
    return [
        *_influence(peer, "logistic", LogisticRegression(**TIGHT), regression=False),
        *_influence(peer, "ridge", Ridge(), regression=True),
    ]


def _influence(peer, name, estimator, regression):
    X, y = data.gaussian(101_000, 100, 0, regression)
    X, y, X_val, y_val = X[:100_000].copy(), y[:100_000], X[100_000:], y[100_000:]
    fitted = estimator.fit(X, y)
    mean = peer.functionals.mean("losses")
    found = {}

    def theirs():
        attributor = peer.FunctionalInfluence(mean, damping=0.0).fit(fitted, X, y)
        found["theirs"] = attributor.explain(X_val, y_val)

    def ours(polish):
        valuator = PumaValuator(FrozenEstimator(fitted), polish=polish)
        valuator.fit(X, y, X_val=X_val, y_val=y_val)
        found["ours"] = valuator.removal_effect_[:, 0]

    them, us, polished = _median([theirs, lambda: ours(False), lambda: ours(True)])
    error = np.abs(found["ours"] - found["theirs"]).max()
    error /= np.abs(found["ours"]).max()
    what = f"{name}: seconds of pyinfluence / ours, polish off"
    milliseconds = _milliseconds(them, us, polished)
    return [
        (what, f"{them / us:.1f}", ">= 2", them / us >= 2),
        ("  polish on", f"{them / polished:.1f}", "-", None),
        ("  milliseconds: theirs, off, on", milliseconds, "-", None),
        ("  relative difference", f"{error:.1e}", "<= 1e-6", error <= 1e-6),
    ]


def statsmodels():
    """DFBETAS of least squares, which statsmodels gets by n fits: 2,000 x 20."""
    peer = _peer("statsmodels.api")
    if peer is None:
        return [("statsmodels is not installed", "-", "-", None)]
    X, y = data.gaussian(2_000, 20, 0, regression=True)
    found = {}

    def theirs():
        fitted = peer.OLS(y, peer.add_constant(X)).fit()
        found["theirs"] = np.roll(fitted.get_influence().dfbetas, -1, axis=1)

    def ours():
        model = adapt(LinearRegression().fit(X, y))
        rows = model.inputs(X), model.targets(y), np.ones(len(y))
        found["ours"] = diagnostics(Objective.at_fit(model, *rows)).dfbetas

    them, us = _median([theirs, ours], repeats=3)
    error = np.abs(found["ours"] - found["theirs"]).max()
    return [
        (
            "DFBETAS: seconds of statsmodels / ours",
            f"{them / us:.0f}",
            ">= 2",
            them / us >= 2,
        ),
        ("  milliseconds: theirs, ours", _milliseconds(them, us), "-", None),
        ("  largest difference", f"{error:.1e}", "<= 1e-8", error <= 1e-8),
    ]


def _milliseconds(*seconds):
    return ", ".join(f"{1e3 * one:.0f}" for one in seconds)
