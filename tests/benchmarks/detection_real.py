"""Real label errors of the MNIST test set, and what detection costs on many rows."""

import time
import warnings
from functools import lru_cache

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skpuma import PumaDebugger
from skpuma.datasets import load_mnist
from skpuma.metrics import detection_average_precision
from tests.benchmarks import data
from tests.benchmarks.detection_data import MNIST_COMPONENTS, Problem
from tests.benchmarks.detection_systems import SYSTEMS
from tests.benchmarks.pipelines import bank, mixed

# What 10,000 rows without validation rows can afford, by model.
AFFORDABLE = {
    "logistic": (
        "PumaDebugger",
        "psi",
        "SelfConfidence",
        "loss",
        "KNNShapley",
        "DataOOB",
        "RepresenterPoints",
        "InfluenceFunctions, self",
        "random",
    ),
    "MLP": ("PumaDebugger", "SelfConfidence", "loss"),
}
MNIST_MODELS = {
    "logistic": LogisticRegression(max_iter=1000),
    "MLP": MLPClassifier(
        (64,),
        activation="tanh",
        solver="lbfgs",
        alpha=3.0,
        max_iter=200,
        random_state=0,
    ),
}
COST_LIMIT = 3.0


@lru_cache
def reviewed():
    """(X, y, wrong): the 10,000 test images, and the 15 labels that reviewers refused.

    The first principal components of the pixels, as in the benchmark.
    """
    _, _, X, y = load_mnist(data.folder() / "mnist")
    review = pd.read_csv(data.folder() / "mnist" / "test_label_review.csv")
    wrong = np.zeros(len(y), dtype=bool)
    wrong[review.loc[review["verdict"] != "given_ok", "index"]] = True
    X = PCA(MNIST_COMPONENTS, random_state=0).fit_transform(X / 255.0)
    return X, y.astype(int), wrong


def published_probabilities():
    """Self-confidence by the out-of-sample probabilities of a convolutional network."""
    path = data.folder() / "mnist" / "test_cv_pred_probs.npz"
    with np.load(path) as file:
        return file["pred_probs"]


def mnist_errors(systems=None, models=("logistic", "MLP")):
    """Ranks of the 15 wrong labels of the MNIST test set, no validation rows."""
    if data.folder() is None:
        return [("MNIST test errors", "no data folder", "-", None)]
    X, y, wrong = reviewed()
    out = [("15 wrong labels: AP; in lowest 100, 200; median rank", "", "-", None)]
    p = published_probabilities()[np.arange(len(y)), y]
    out.append(_ranks("published network, cross-validated", p, wrong))
    for model in models:
        one = Problem(X, y, y, wrong, None, None, MNIST_MODELS[model], 0)
        for name in AFFORDABLE[model]:
            if systems is None or name in systems:
                values, seconds = _timed(name, one)
                what = f"{name}, {model} ({seconds:.0f} s)"
                out.append(_ranks(what, values, wrong))
    return out


def _timed(name, one):
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        start = time.process_time()
        values = SYSTEMS[name].score(one)
        return values, time.process_time() - start


def _ranks(what, values, wrong):
    # A row of a tie has the mean rank of the tie.
    ranks = pd.Series(values).rank().to_numpy()[wrong]
    ap = detection_average_precision(values, wrong)
    counts = [int((ranks <= limit).sum()) for limit in (100, 200)]
    value = f"{ap:.3f}; {counts[0]}, {counts[1]}; {np.median(ranks):.0f}"
    return f"  {what}", value, "-", None


def _adult():
    X, y, _, _ = data.adult()
    return mixed(LogisticRegression(max_iter=1000)), X, y


def _bank():
    model, X, y, _ = bank()
    return model, X, y


def _synthetic():
    X, y = data.gaussian(20_000, 50, 0)
    return make_pipeline(StandardScaler(), LogisticRegression()), X, y


def _mnist():
    _, _, X, y = load_mnist(data.folder() / "mnist")
    # Scaled pixels: a standard deviation of a pixel at the edge is a handful of images.
    return make_pipeline(LogisticRegression(max_iter=1000)), X / 255.0, y.astype(int)


LARGE = {
    "synthetic, 20,000 x 50": _synthetic,
    "Adult, 32,561 rows": _adult,
    "bank, 41,188 rows": _bank,
    "MNIST, 10,000 x 784": _mnist,
}


def detection_cost(repeats=3, problems=None):
    """Seconds of PumaDebugger's fit over the model's own, in turn, on one core."""
    out = []
    for name in LARGE if problems is None else problems:
        if data.folder() is None and name != "synthetic, 20,000 x 50":
            continue
        model, X, y = LARGE[name]()
        seconds = np.array([_fit_seconds(model, X, y) for _ in range(repeats)])
        alone, debugged = np.median(seconds, axis=0)
        ratio = debugged / alone
        what = f"PumaDebugger / one fit, {name}"
        goal = f"<= {COST_LIMIT:.0f}"
        out.append((what, f"{ratio:.2f}", goal, bool(ratio <= COST_LIMIT)))
        out.append(("  seconds", f"{debugged:.2f}, {alone:.2f}", "-", None))
    return out


def _fit_seconds(model, X, y):
    found = []
    for estimator in (clone(model), PumaDebugger(clone(model), random_state=0)):
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")
            start = time.process_time()
            estimator.fit(X, y)
            found.append(time.process_time() - start)
    return found
