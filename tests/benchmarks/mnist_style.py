"""Blog fig. 7 on all of MNIST: a style of "4" is erased from a network.

60,000 rows (from the data folder), an MLP (128,), six k-means styles of "4". Erased is
the style that a linear model tells best from the other fours, on the training rows: of
styles that flow into each other nothing can be forgotten alone. Every other style, in
parts, and every other digit is a criterion of its own, which lambda compensates.

The path is printed: test accuracy of the style, and what the other fours and the other
digits lose, as far as the style is forgotten.
"""

import json
import os
import time
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

from skpuma import PumaPatcher, patching
from skpuma.criteria import LogLoss, measures_of
from skpuma.datasets import load_mnist
from skpuma.models import adapt
from skpuma.objective import Objective
from tests.benchmarks import data

N_STYLES, SEEDS = 6, 10
# Clusters of the other fours, and of every other digit, that are criteria.
PARTS_OF_FOURS, PARTS_OF_DIGIT = 20, 3
GOALS = {"style": 0.10, "other 4s": -0.03, "other digits": -0.005}
# Compensation as strong as need be; steps short enough for a network that is sure.
SETTINGS = {"alpha": 0.001, "max_weight": 1000.0, "trust": 0.001, "forget_at": 0.05}


def _clearest(Z, labels):
    """The style that a linear model tells best from the others."""
    found = [
        cross_val_score(
            LogisticRegression(C=0.05, max_iter=100),
            Z,
            labels == style,
            cv=3,
            scoring="average_precision",
        ).mean()
        for style in range(N_STYLES)
    ]
    return int(np.argmax(found))


def _parts(X, y, marked):
    """A cluster number for every row, within its digit."""
    part = np.zeros(len(y), dtype=int)
    for digit in range(10):
        rows = (y == digit) & ~marked
        n = PARTS_OF_FOURS if digit == 4 else PARTS_OF_DIGIT
        clusters = KMeans(n, n_init=1, random_state=0).fit_predict(X[rows])
        part[rows] = 100 * digit + clusters
    return part


def _path(net, X, y, marked):
    """The path of the patch: (states of the path, the model to put them in)."""
    model = adapt(net)
    keep = ~marked
    objective = Objective.at_fit(model, X, model.targets(y), np.ones(len(y)))
    measures = measures_of(
        LogLoss(by="group"),
        model,
        X[keep],
        objective.y[keep],
        np.ones(keep.sum()),
        _parts(X, y, marked)[keep],
    )
    settings = patching.Settings(
        # Equal deltas that never bind, so that the whole path is seen.
        delta=np.full(len(measures), 1e3),
        eta=np.inf,
        l1_ratio=PumaPatcher().l1_ratio,
        curvature_rows=patching.default_curvature_rows(model, len(y)),
        **SETTINGS,
    )
    marks = patching.Marks(marked, np.zeros(len(y)), keep)
    return patching.Path(objective, marks, measures, settings).walk().history, model


def mnist_style(seeds=None, results=None):
    """Where the paths of several seeds end; ten minutes each.

    Parameters
    ----------
    seeds : int, default None
        None takes ``SKPUMA_SEEDS``, or else 10.
    results : path, default None
        Where records are kept, and not computed again; None takes ``SKPUMA_RESULTS``,
        or else ``mnist_style_results``.
    """
    source = data.folder()
    if source is None or not (source / "mnist").is_dir():
        return [("a style of 4", "no MNIST in the data folder", "-", None)]
    seeds = int(os.environ.get("SKPUMA_SEEDS", SEEDS)) if seeds is None else seeds
    path = Path(results or os.environ.get("SKPUMA_RESULTS", "mnist_style_results"))
    path.mkdir(parents=True, exist_ok=True)
    file = path / "mnist_style.jsonl"
    known = {}
    if file.is_file():
        lines = map(json.loads, file.read_text().splitlines())
        known = {record["seed"]: record for record in lines}
    for seed in range(seeds):
        if seed not in known:
            known[seed] = record_of(seed)
            with open(file, "a") as records:
                records.write(json.dumps(known[seed]) + "\n")
    return _figures([known[seed] for seed in range(seeds)])


def record_of(seed, n_rows=60_000, alpha=0.1, max_iter=20):
    """Accuracy of style, other fours and other digits along the path of one seed."""
    X, y, X_test, y_test = load_mnist(data.folder() / "mnist")
    rows = np.sort(np.random.default_rng(seed).choice(len(y), n_rows, replace=False))
    X, X_test, y = X[rows] / 255.0, X_test / 255.0, y[rows]
    net = MLPClassifier((128,), alpha=alpha, max_iter=max_iter, random_state=seed).fit(
        X, y
    )
    styles = KMeans(N_STYLES, n_init=4, random_state=seed).fit(X[y == 4])
    style = _clearest(X[y == 4], styles.labels_)
    marked = np.zeros(len(y), dtype=bool)
    marked[np.flatnonzero(y == 4)[styles.labels_ == style]] = True
    of_style = (y_test == 4) & (styles.predict(X_test) == style)
    parts = [of_style, (y_test == 4) & ~of_style, y_test != 4]
    start = time.process_time()
    history, model = _path(net, X, y, marked)
    seconds = time.process_time() - start
    points = []
    for state in history:
        digit = model.at(state.theta).raw(X_test).argmax(axis=1)
        point = [float(np.mean(digit[part] == y_test[part])) for part in parts]
        points.append([*point, float(np.mean(digit[of_style] == 6))])
    return {
        "seed": seed,
        "n_marked": int(marked.sum()),
        "seconds": seconds,
        "path": points,
    }


def _end(path):
    """First point of a path where the style is forgotten, else the lowest."""
    below = np.flatnonzero(path[:, 0] <= GOALS["style"])
    at = below[0] if len(below) else int(np.argmin(path[:, 0]))
    return [path[at, 0], *(path[at] - path[0])[1:3], path[at, 3]]


def _figures(records):
    out, paths = [], [np.array(record["path"]) for record in records]
    for record, path in zip(records, paths, strict=True):
        for point, moved in zip(path, path - path[0], strict=True):
            what = f"  seed {record['seed']}: style {point[0]:.3f}"
            others = f"4s {moved[1]:+.4f} digits {moved[2]:+.4f} to 6 {point[3]:.2f}"
            out.append((what, others, "-", None))
    ends = np.array([_end(path) for path in paths])
    before = np.mean([path[0, 0] for path in paths])
    out.append(("seeds; style before", f"{len(ends)}; {before:.3f}", "-", None))
    for c, (name, goal) in enumerate(GOALS.items()):
        worst = ends[:, c].max() if name == "style" else ends[:, c].min()
        holds = worst <= goal if name == "style" else worst >= goal
        value = f"{ends[:, c].mean():.4f}, {worst:.4f}"
        sign = "<=" if name == "style" else ">="
        out.append((f"{name}: mean, worst", value, f"{sign} {goal}", bool(holds)))
    out.append(("  of the style goes to 6", f"{ends[:, 3].mean():.3f}", "-", None))
    seconds = np.mean([record["seconds"] for record in records])
    out.append(("  seconds of a path", f"{seconds:.0f}", "-", None))
    return out
