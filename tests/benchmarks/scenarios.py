"""Figures 3, 4 and 8 of the PUMA post over seeds; the gallery shows one of each."""

import numpy as np
from sklearn.datasets import make_moons
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from skpuma import PumaDebugger, PumaPatcher, PumaValuator
from skpuma.criteria import AdversarialLoss, DemographicParity, LogLoss, measures_of
from skpuma.datasets import flip_labels
from skpuma.models import adapt

# Of the move of a feature in the conflict, and the deltas of its two criteria.
EPSILON, DELTA = 0.1, 0.01


def _applicants(n, other_office, rng):
    """The data of ``examples/plot_conflict.py``."""
    group = rng.integers(0, 2, n)
    merit = rng.standard_normal(n)
    wealth = 1.2 * (group - 0.5) + rng.standard_normal(n)
    other = rng.random(n) < other_office
    signal = 1.5 * merit + np.where(other, -1, 1) * wealth + rng.logistic(size=n)
    y = (signal > 0).astype(int)
    code = EPSILON * np.where(other, 2 * y - 1, rng.standard_normal(n))
    return np.stack([merit, wealth, code], axis=1), y, group


def _measured(estimator, criteria, X, y, group):
    """Values of the criteria on rows, recomputed from the estimator."""
    model = adapt(getattr(estimator, "estimator_", estimator))
    weight = np.ones(len(y))
    measures = measures_of(criteria, model, model.inputs(X), y, weight, group)
    return np.array([one.value(model) for one in measures])


def _shifted_accuracy(estimator, X, y):
    weights = getattr(estimator, "estimator_", estimator).coef_[0]
    moved = X - EPSILON * np.outer(2 * y - 1, np.sign(weights))
    return estimator.score(moved, y)


def conflict(seeds=10):
    """Blog fig. 3: robustness is patched and fairness fails; two deltas keep both."""
    criteria = [AdversarialLoss(epsilon=EPSILON), DemographicParity()]
    robust, gaps, grown = [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        X, y, _ = _applicants(1500, 0.4, rng)
        X_val, y_val, group_val = _applicants(1500, 0.0, rng)
        X_test, y_test, group_test = _applicants(5000, 0.0, rng)
        model = FrozenEstimator(LogisticRegression(C=10).fit(X, y))
        val = {"X_val": X_val, "y_val": y_val, "sensitive_features_val": group_val}
        worst = PumaValuator(model, criteria).fit(X, y, **val).inspect(top=300).index
        alone = PumaPatcher(model, criteria[0], delta=np.inf)
        both = PumaPatcher(model, criteria, delta=DELTA, alpha=0.05, max_weight=3.0)
        for patcher in (alone, both):
            patcher.patch(X, y, remove=worst, **val)
        three = (model.estimator, alone, both)
        robust.append([_shifted_accuracy(one, X_test, y_test) for one in three])
        test = [
            _measured(one, criteria[1], X_test, y_test, group_test) for one in three
        ]
        gaps.append(np.ravel(test))
        before, after = (
            _measured(one, criteria, X_val, y_val, group_val)
            for one in (model.estimator, both)
        )
        grown.append((after - before).max())
    robust, gaps, grown = np.array(robust), np.array(gaps), np.array(grown)
    fails = int((gaps[:, 1] > gaps[:, 0]).sum())
    kept = int((grown <= DELTA * (1 + 1e-9)).sum())
    listed = "; ".join(f"{value:.3f}" for value in robust.mean(axis=0))
    of_gap = "; ".join(f"{value:.3f}" for value in gaps.mean(axis=0))
    return [
        ("accuracy on shifted rows: before, alone, both", listed, "-", None),
        ("  test parity gap: before, alone, both", of_gap, "-", None),
        ("  seeds where robustness alone widens the gap", f"{fails}", "-", None),
        (
            "seeds where both criteria grew by at most delta",
            f"{kept} of {seeds}",
            "all",
            kept == seeds,
        ),
    ]


def directions(seeds=10):
    """Blog fig. 4: the most useful row removed, naively and with compensation."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        X, X_val = rng.standard_normal((40, 2)), rng.standard_normal((400, 2))
        X_val[:, 0] += 0.8
        y, y_val = (
            (rng.random(len(Z)) < 1 / (1 + np.exp(-Z @ [1.5, -1.0]))).astype(int)
            for Z in (X, X_val)
        )
        model = FrozenEstimator(
            LogisticRegression(fit_intercept=False, tol=1e-10).fit(X, y)
        )
        val = {"X_val": X_val, "y_val": y_val}
        # The row whose removal raises the criterion most.
        useful = np.argmax(PumaValuator(model, "log_loss").fit(X, y, **val).psi_)
        before = _measured(model.estimator, LogLoss(), X_val, y_val, None)
        changes = []
        for reweight in (False, True):
            patcher = PumaPatcher(
                model,
                "log_loss",
                delta=1.0,
                steps=1,
                reweight=reweight,
                alpha=0.01,
            ).patch(X, y, remove=[useful], **val)
            changes.append(_measured(patcher, LogLoss(), X_val, y_val, None) - before)
        found.append(np.ravel(changes))
    naive, puma = np.array(found).T
    smaller = int((np.abs(puma) < np.abs(naive)).sum())
    value = f"{naive.mean():+.4f}, {puma.mean():+.4f}"
    return [
        ("change of C, the row removed naively, by PUMA: means", value, "-", None),
        (
            "seeds where PUMA changes C less",
            f"{smaller} of {seeds}",
            "all",
            smaller == seeds,
        ),
    ]


def issue_kinds(seeds=10):
    """Blog fig. 8: the rows that PumaDebugger lists on two moons, 10 % flipped."""
    counts, kinds = [], []
    for seed in range(seeds):
        X, clean = make_moons(1000, noise=0.2, random_state=seed)
        y, flipped = flip_labels(clean, 0.1, random_state=seed)
        X_val, y_val = make_moons(1000, noise=0.2, random_state=seed + 100)
        net = MLPClassifier((32, 32), max_iter=1000, random_state=seed).fit(X, y)
        issues = (
            PumaDebugger(FrozenEstimator(net), "calibration_error", random_state=seed)
            .fit(X, y, X_val=X_val, y_val=y_val)
            .issues_
        )
        named = np.zeros(len(y), dtype=bool)
        named[issues["position"][issues["kind"] == "mislabelled"]] = True
        flipped = np.asarray(flipped, dtype=bool)
        hits = (named & flipped).sum()
        counts.append([hits, named.sum() - hits, flipped.sum() - hits])
        named_kinds = ("over-confident", "under-confident")
        kinds.append([(issues["kind"] == kind).sum() for kind in named_kinds])
    hit, false, missed = np.mean(counts, axis=0)
    value = f"{hit:.0f}, {false:.0f}, {missed:.0f}"
    over, under = np.mean(kinds, axis=0)
    by_heart = [_too_sure(seed) for seed in range(seeds)]
    n_sure, of_network, in_truth, too_sure = np.mean(by_heart, axis=0)
    return [
        ("mislabelled rows: true, false, missed (means)", value, "-", None),
        ("  precision", f"{hit / (hit + false):.3f}", "-", None),
        ("  recall", f"{hit / (hit + missed):.3f}", "-", None),
        ("  over-, under-confident rows", f"{over:.0f}, {under:.0f}", "-", None),
        ("learnt by heart: over-confident rows", f"{n_sure:.0f}", "-", None),
        (
            "  probability of their labels: network, truth",
            f"{of_network:.2f}, {in_truth:.2f}",
            "-",
            None,
        ),
        ("  share of which it is too sure", f"{too_sure:.2f}", "-", None),
    ]


def _too_sure(seed, noise=0.3):
    """Over-confident rows of a network that has learnt overlapping moons by heart.

    No label is wrong, and the true probabilities are known: the data of
    ``examples/plot_calibration.py``.
    """
    X, y = make_moons(400, noise=noise, random_state=seed)
    X_val, y_val = make_moons(1000, noise=noise, random_state=seed + 100)
    net = MLPClassifier(
        (32, 32), solver="lbfgs", alpha=0.01, max_iter=3000, random_state=seed
    ).fit(X, y)
    issues = (
        PumaDebugger(
            FrozenEstimator(net),
            "log_loss",
            views=("neighbors", "forest", "extra_trees"),
            random_state=seed,
        )
        .fit(X, y, X_val=X_val, y_val=y_val)
        .issues_
    )
    at = issues["position"][issues["kind"] == "over-confident"].to_numpy()
    arcs, arc = make_moons(2000, noise=None)
    near = np.exp(-((X[at, None] - arcs) ** 2).sum(axis=-1) / (2 * noise**2))
    truth = (near * (arc == y[at, None])).sum(axis=1) / near.sum(axis=1)
    told = net.predict_proba(X[at])[np.arange(len(at)), y[at]]
    return len(at), told.mean(), truth.mean(), (told > truth).mean()
