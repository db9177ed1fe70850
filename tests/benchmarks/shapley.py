"""Data Shapley: against enumeration, and its time against pyDVL's."""

import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from skpuma.valuation import DataShapley

SEEDS = 5
PERMUTATIONS = 5


def _rows(n, seed=0):
    X, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    X, y = scale(X)[order], y[order]
    return X[:n], y[:n], X[300:], y[300:]


def shapley():
    """Accuracy at n = 10, efficiency, and seconds of pyDVL on breast_cancer."""
    return [*_accuracy(), *_speed()]


def _valued(data, **settings):
    X, y, X_val, y_val = data
    settings = {"truncation": 0, "convergence": 0, **settings}
    return DataShapley(**settings).fit(X, y, X_val=X_val, y_val=y_val)


def _accuracy():
    errors, gaps, ratios = [], [], []
    for seed in range(SEEDS):
        data = _rows(10, seed)
        exact = _valued(data).values_
        ours = _valued(data, method="tmc", max_permutations=2000, random_state=seed)
        away = ours.values_ - exact
        errors.append(np.abs(away).max())
        ratios.append(np.sqrt(np.mean((away / ours.standard_errors_) ** 2)))
        gained = ours.full_score_ - ours.empty_score_
        gaps.append(abs(ours.values_.sum() - gained))
    error, gap, ratio = max(errors), max(gaps), np.median(ratios)
    return [
        (
            f"largest error at n = 10, 2,000 permutations, {SEEDS} seeds",
            f"{error:.4f}",
            "<= 0.01",
            error <= 1e-2,
        ),
        ("  in units of the standard error (rms)", f"{ratio:.2f}", "-", None),
        ("  sum of values - (V(D) - V(0))", f"{gap:.1e}", "<= 1e-12", gap <= 1e-12),
    ]


def _speed():
    """CPU seconds in one process, everything in turn, the best of three."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pydvl import valuation as peer
    except ImportError:
        return [("pyDVL is not installed", "-", "-", None)]
    data, model = _rows(100), LogisticRegression()
    settings = {"max_permutations": PERMUTATIONS, "method": "tmc", "random_state": 0}

    def theirs():
        train = peer.Dataset(*data[:2], multi_output=False)
        test = peer.Dataset(*data[2:], multi_output=False)
        scorer = peer.SupervisedScorer("accuracy", test, default=0.0, range=(0, 1))
        utility = peer.ModelUtility(model, scorer, show_warnings=False)
        sampler = peer.PermutationSampler(peer.NoTruncation(), seed=0)
        stop = peer.MinUpdates(PERMUTATIONS)
        peer.ShapleyValuation(utility, sampler, stop, progress=False).fit(train)

    def refits():
        _valued(data, estimator=model, engine="refit", **settings)

    def scans():
        _valued(data, estimator=model, engine="scan", **settings)

    scans()  # compiles
    seconds = np.full((3, 3), np.inf)
    for repeat in range(3):
        for column, run in enumerate((theirs, refits, scans)):
            start = time.process_time()
            run()
            seconds[repeat, column] = time.process_time() - start
    them, refit, scan = seconds.min(axis=0)
    what = f"logistic, n = 100, {PERMUTATIONS} permutations: seconds of pyDVL / ours"
    parts = ", ".join(f"{1e3 * one:.0f}" for one in (them, refit, scan))
    return [
        (what, f"{them / scan:.0f}", ">= 5", them / scan >= 5),
        ("  refits of every prefix", f"{them / refit:.2f}", "-", None),
        ("  milliseconds: pyDVL, refits, scan", parts, "-", None),
    ]
