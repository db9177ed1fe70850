"""Blog fig. 7: a writing style of the digit 4 is removed; does lambda help?

10,000 rows of MNIST (from the data folder), an MLP (64,), one of six k-means styles of
"4". Along the path without and with lambda the accuracy of the other fours and of the
other digits is interpolated where the style's test accuracy has fallen to 0.5 and 0.33.
"""

import time

import numpy as np
from scipy import stats
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.neural_network import MLPClassifier

from skpuma import PumaPatcher, patching
from skpuma.criteria import LogLoss, measures_of
from skpuma.datasets import load_mnist
from skpuma.models import adapt
from skpuma.objective import Objective
from tests.benchmarks import data

LEVELS = (0.5, 0.33)
N_ROWS = 10_000
N_STYLES = 6
N_CLUSTERS = 30


def _problem(seed, mnist):
    """Model, training rows, mask of the style, and its mask on the test rows."""
    X_all, y_all, X_test, y_test = mnist
    rows = np.random.default_rng(seed).choice(len(y_all), N_ROWS, replace=False)
    X, y = X_all[rows] / 255.0, y_all[rows]
    net = MLPClassifier((64,), max_iter=100, random_state=seed).fit(X, y)
    styles = KMeans(N_STYLES, n_init=4, random_state=seed).fit(X[y == 4])
    style = seed % N_STYLES
    marked = np.zeros(len(y), dtype=bool)
    marked[np.flatnonzero(y == 4)[styles.labels_ == style]] = True
    marked_test = np.zeros(len(y_test), dtype=bool)
    fours = np.flatnonzero(y_test == 4)
    marked_test[fours[styles.predict(X_test[fours]) == style]] = True
    return net, X, y, marked, marked_test


def _curve(net, X, y, marked, criterion, groups, reweight, parts, X_test, y_test):
    """Test accuracy of the parts along a path (points, parts), and its seconds."""
    model = adapt(net)
    objective = Objective.at_fit(model, X, model.targets(y), np.ones(len(y)))
    keep = ~marked
    measures = measures_of(
        criterion, model, X[keep], objective.y[keep], np.ones(keep.sum()), groups[keep]
    )
    defaults = PumaPatcher().get_params()
    settings = patching.Settings(
        # Equal deltas that never bind: only lambda makes the difference.
        delta=np.full(len(measures), 1e3),
        eta=np.inf,
        forget_at=0.15,
        reweight=reweight,
        alpha=defaults["alpha"],
        l1_ratio=defaults["l1_ratio"],
        max_weight=defaults["max_weight"],
        curvature_rows=patching.default_curvature_rows(model, len(y)),
    )
    marks = patching.Marks(marked, np.zeros(len(y)), keep)
    start = time.perf_counter()
    result = patching.Path(objective, marks, measures, settings).walk()
    seconds = time.perf_counter() - start
    points = []
    for state in result.history:
        hit = model.at(state.theta).raw(X_test).argmax(axis=1) == y_test
        points.append([hit[part].mean() for part in parts])
    return np.array(points), seconds


def _at(curve, level):
    """Accuracies where the first part's has fallen to `level`."""
    style = curve[:, 0]
    below = np.flatnonzero(style <= level)
    if not len(below):
        return np.full(curve.shape[1] - 1, np.nan)
    i = below[0]
    share = (style[i - 1] - level) / (style[i - 1] - style[i])
    return curve[i - 1, 1:] + share * (curve[i, 1:] - curve[i - 1, 1:])


def _interval(differences):
    """Mean and half width of the paired 95 % interval."""
    n = len(differences)
    half = stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    return differences.mean(), half


def styles(seeds=10):
    """lambda minus no lambda on the other fours and the other digits."""
    path = data.folder()
    if path is None or not (path / "mnist").is_dir():
        return [("styles of 4", "no MNIST in the data folder", "-", None)]
    mnist = load_mnist(path / "mnist")
    mnist = (*mnist[:2], mnist[2] / 255.0, mnist[3])
    X_test, y_test = mnist[2:]
    criteria = {
        "log_loss by class": LogLoss(by="class"),
        f"log_loss by {N_CLUSTERS} clusters": LogLoss(by="group"),
    }
    found = {name: [] for name in criteria}
    seconds = {name: [] for name in (*criteria, "without")}
    start = []
    for seed in range(seeds):
        net, X, y, marked, marked_test = _problem(seed, mnist)
        parts = [marked_test, (y_test == 4) & ~marked_test, y_test != 4]
        clusters = MiniBatchKMeans(N_CLUSTERS, random_state=0, n_init=1).fit_predict(X)
        curves = {}
        for name, criterion in criteria.items():
            for reweight in (False, True):
                if not reweight and curves:
                    continue
                key = name if reweight else "without"
                curves[key], spent = _curve(
                    net,
                    X,
                    y,
                    marked,
                    criterion,
                    clusters,
                    reweight,
                    parts,
                    X_test,
                    y_test,
                )
                seconds[key].append(spent)
        start.append(curves["without"][0])
        for name in criteria:
            found[name].append(
                [_at(curves[name], v) - _at(curves["without"], v) for v in LEVELS]
            )
    before = np.mean(start, axis=0)
    out = [
        (
            "  before: style, other 4s, other digits",
            " ".join(f"{v:.4f}" for v in before),
            "-",
            None,
        )
    ]
    for name, values in found.items():
        values = np.array(values)
        for level, column in zip(LEVELS, values.transpose(1, 2, 0), strict=True):
            for part, differences, goal in (
                ("other 4s", column[0], 0.0),
                ("other digits", column[1], -0.002),
            ):
                mean, half = _interval(differences)
                text = f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"
                holds = bool(mean - half >= goal) if np.isfinite(mean) else False
                out.append(
                    (f"{name}, at {level}: {part}", text, f"lower >= {goal:g}", holds)
                )
    for name, values in seconds.items():
        out.append(
            (f"  seconds of the path, {name}", f"{np.median(values):.1f}", "-", None)
        )
    return out
