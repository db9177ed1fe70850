"""Blog fig. 7 on all of MNIST: a style of "4" is erased from a network.

60,000 rows (from the data folder), an MLP (128,), six k-means styles of "4". Erased is
the style that a linear model tells best from the other fours, on the training rows: of
styles that flow into each other nothing can be forgotten alone. Every other style, in
parts, and every other digit is a criterion of its own, which lambda compensates.

The path is printed: test accuracy of the style, and what the other fours and the other
digits lose, as far as the style is forgotten.
"""

import time

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

N_STYLES = 6
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


def mnist_style(n_rows=60_000, alpha=0.1, max_iter=20, seed=0):
    """Style, other fours and other digits along the path; takes ten minutes."""
    folder = data.folder()
    if folder is None or not (folder / "mnist").is_dir():
        return [("a style of 4", "no MNIST in the data folder", "-", None)]
    X, y, X_test, y_test = load_mnist(folder / "mnist")
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
    points, to_six = [], []
    for state in history:
        digit = model.at(state.theta).raw(X_test).argmax(axis=1)
        points.append([np.mean(digit[part] == y_test[part]) for part in parts])
        to_six.append(np.mean(digit[of_style] == 6))
    return _figures(np.array(points), np.array(to_six), seconds, marked.sum())


def _figures(points, to_six, seconds, n_marked):
    changes = points[:, 1:] - points[0, 1:]
    out = [
        (
            "  rows of the style; accuracy: style, other 4s, other digits",
            f"{n_marked}; " + " ".join(f"{v:.4f}" for v in points[0]),
            "-",
            None,
        ),
    ]
    for (style, *_), (fours, digits), six in zip(points, changes, to_six, strict=True):
        out.append(
            (
                f"  path: style {style:.3f}",
                f"4s {fours:+.4f} digits {digits:+.4f} to 6 {six:.2f}",
                "-",
                None,
            )
        )
    below = np.flatnonzero(points[:, 0] <= GOALS["style"])
    at = below[0] if len(below) else int(np.argmin(points[:, 0]))
    values = {
        "style": points[at, 0],
        "other 4s": changes[at, 0],
        "other digits": changes[at, 1],
    }
    for name, value in values.items():
        goal = GOALS[name]
        if name == "style":
            out.append((name, f"{value:.3f}", f"<= {goal}", bool(value <= goal)))
        else:
            holds = bool(value >= goal)
            out.append((f"{name}, change", f"{value:+.4f}", f">= {goal}", holds))
    out.append(("  share of the style that goes to 6", f"{to_six[at]:.2f}", "-", None))
    out.append(("  seconds of the path", f"{seconds:.0f}", "-", None))
    return out
