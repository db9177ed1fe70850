"""Against refits: one-row displacements, patches, removal effects, delta."""

import numpy as np
from scipy import stats
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from skpuma import PumaPatcher, PumaValuator
from skpuma.criteria import CalibrationError, DemographicParity, LogLoss
from tests.benchmarks import data

TIGHT = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}


def _theta(model):
    coef = np.atleast_2d(model.coef_)
    flat = np.hstack([coef, np.reshape(model.intercept_, (-1, 1))])
    # A softmax does not see what all classes share.
    return flat - flat.mean(axis=0) if len(flat) > 1 else flat


def _without(model, X, y, keep, weight=None):
    if isinstance(model, LogisticRegression):
        model = LogisticRegression(C=model.C, **TIGHT)
    weight = None if weight is None else weight[keep]
    return type(model)(**model.get_params()).fit(X[keep], y[keep], weight)


def polish():
    """One removed row's displacement, from a fit at default tolerance."""
    out = []
    cases = (("breast_cancer", data.breast_cancer()), ("digits", data.digits()))
    for name, (X, y) in cases:
        user = LogisticRegression().fit(X, y)
        optimum = _theta(LogisticRegression(**TIGHT).fit(X, y))
        rows = np.random.default_rng(0).choice(len(y), 20, replace=False)
        errors = {True: [], False: [], "refit": []}
        for row in rows:
            keep = np.arange(len(y)) != row
            target = _theta(_without(user, X, y, keep)) - optimum
            size = np.linalg.norm(target)
            for on in (True, False):
                # The linear step alone: what phi predicts, without corrections.
                patcher = PumaPatcher(
                    FrozenEstimator(user),
                    delta=np.inf,
                    steps=1,
                    reweight=False,
                    polish=on,
                ).patch(X, y, remove=[row])
                moved = _theta(patcher.estimator_) - _theta(user)
                errors[on].append(np.linalg.norm(moved - target) / size)
            loose = _theta(LogisticRegression().fit(X[keep], y[keep])) - _theta(user)
            errors["refit"].append(np.linalg.norm(loose - target) / size)
        median = {key: float(np.median(value)) for key, value in errors.items()}
        holds = median[True] <= 0.05
        what = f"delta theta of one row, {name}: relative error"
        out.append((what, f"{median[True]:.4f}", "<= 0.05", holds))
        out.append(("  without polish", f"{median[False]:.4f}", "-", None))
        out.append(("  a refit at default tol", f"{median['refit']:.3f}", "-", None))
    return out


def refit():
    """Patch = refit for convex models."""
    out = []
    cases = [
        (
            "LogisticRegression, breast_cancer",
            LogisticRegression(),
            data.breast_cancer(),
        ),
        ("multinomial, digits", LogisticRegression(max_iter=500), data.digits()),
        ("Ridge, diabetes", Ridge(), data.diabetes()),
    ]
    for name, model, (X, y) in cases:
        n, worst = len(y), 0.0
        rng = np.random.default_rng(0)
        for weighted in (False, True):
            weight = rng.uniform(0.5, 2.0, n) if weighted else None
            for count in (1, round(0.05 * n), n // 2):
                mask = np.zeros(n, dtype=bool)
                mask[rng.choice(n, count, replace=False)] = True
                patcher = PumaPatcher(model, delta=np.inf, reweight=False)
                patcher.fit(X, y, weight).patch(X, y, remove=mask)
                target = _theta(_without(model, X, y, ~mask, weight))
                error = np.abs(_theta(patcher.estimator_) - target).max()
                worst = max(worst, error / np.abs(target).max())
        out.append((f"patch = refit, {name}", f"{worst:.1e}", "<= 1e-6", worst <= 1e-6))
    return out


def effects(seeds=10):
    """removal_effect_ against refits on a Gaussian design, 50 rows."""
    out = []
    for name, model, regression in (
        ("logistic", LogisticRegression(), False),
        ("ridge", Ridge(), True),
    ):
        for effect in ("linear", "one_step"):
            found = []
            for seed in range(seeds):
                X, y = data.gaussian(2000, 20, seed, regression)
                train, val = slice(0, 1000), slice(1000, 2000)
                rows = {"X_val": X[val], "y_val": y[val]}
                valuator = PumaValuator(model, effect=effect)
                valuator.fit(X[train], y[train], **rows)
                check = valuator.check_influence(X[train], y[train], n_rows=50, **rows)
                found.append([check.pearson[0], check.slope[0]])
            r, slope = np.median(found, axis=0)
            holds = bool(r >= 0.99 and 0.95 <= slope <= 1.05)
            what = f"removal effects, Gaussian {name}, {effect}: median"
            value = f"r {r:.4f}, slope {slope:.3f}"
            out.append((what, value, "0.99, 0.95-1.05", holds))
            r, slopes = np.min(found, axis=0)[0], np.array(found)[:, 1]
            value = f"r {r:.4f}, slope {slopes.min():.3f}-{slopes.max():.3f}"
            out.append((f"  worst of {seeds} seeds", value, "-", None))
    return out


def one_step():
    """One-step effects against refits of every row of breast_cancer."""
    X, y = data.breast_cancer()
    order = np.random.default_rng(0).permutation(len(y))
    val, train = order[:190], order[190:]
    rows = {"X_val": X[val], "y_val": y[val]}
    out = []
    for effect in ("linear", "one_step"):
        valuator = PumaValuator(LogisticRegression(), "log_loss", effect=effect)
        valuator.fit(X[train], y[train], **rows)
        check = valuator.check_influence(X[train], y[train], n_rows=len(train), **rows)
        p, s, k = check.pearson[0], check.spearman[0], check.slope[0]
        value = f"r {p:.3f}, rho {s:.4f}, slope {k:.3f}"
        holds = s >= 0.99 and p >= 0.95 and 0.9 <= k <= 1.1
        goal = "0.95, 0.99, 0.9-1.1" if effect == "one_step" else "-"
        name = f"breast_cancer, every row, {effect}"
        out.append((name, value, goal, bool(holds) if goal != "-" else None))
    return out


def _random_problem(seed):
    rng = np.random.default_rng(seed)
    n, d, k = (
        int(rng.integers(40, 120)),
        int(rng.integers(2, 8)),
        int(rng.integers(2, 5)),
    )
    regression = bool(rng.random() < 0.3)
    X = rng.standard_normal((n, d))
    if regression:
        y = X @ rng.standard_normal(d) + rng.standard_normal(n)
        model = [
            Ridge(),
            LinearRegression(),
            MLPRegressor(
                hidden_layer_sizes=(6,), solver="lbfgs", max_iter=100, random_state=0
            ),
        ][rng.integers(3)]
        criterion = ["squared_error", "auto"][rng.integers(2)]
    else:
        y = np.argmax(X @ rng.standard_normal((d, k)) + rng.gumbel(size=(n, k)), axis=1)
        model = [
            LogisticRegression(C=10.0 ** rng.uniform(-2, 2)),
            MLPClassifier((6,), activation="tanh", max_iter=100, random_state=0),
        ][rng.integers(2)]
        criterion = [
            "log_loss",
            LogLoss(by="class"),
            CalibrationError(n_bins=5),
            ["log_loss", DemographicParity()],
        ][rng.integers(4)]
    marked = rng.random(n) < rng.uniform(0.01, 0.4)
    if not regression:
        # Keep two rows of every class.
        for c in np.unique(y):
            marked[np.flatnonzero(y == c)[:2]] = False
    patcher = PumaPatcher(
        model,
        criterion,
        delta=float(10.0 ** rng.uniform(-4, 0)),
        eta=float(rng.uniform(0.2, 4.0)),
        side=["worse", "both"][rng.integers(2)],
        reweight=bool(rng.random() < 0.7),
        steps="auto" if rng.random() < 0.8 else int(rng.integers(1, 4)),
    )
    return patcher, X, y, marked, rng.integers(0, 2, n)


def delta(n_problems=300):
    """delta is kept on the measured criterion; nothing marked and unpatch are exact."""
    kept = same = undone = used = 0
    for seed in range(n_problems):
        patcher, X, y, marked, groups = _random_problem(seed)
        keywords = {"sensitive_features": groups}
        patcher.fit(X, y)
        before = patcher.transform(X)
        patcher.patch(X, y, remove=np.zeros(len(y), bool), **keywords)
        same += np.array_equal(patcher.transform(X), before)
        patcher.unpatch()
        patcher.patch(X, y, remove=marked, **keywords)
        kept += _measured_within(patcher, X, y, marked, groups)
        used += not np.array_equal(patcher.transform(X), before)
        patcher.unpatch()
        undone += np.array_equal(patcher.transform(X), before)
    return [
        (
            "change within delta, measured again",
            f"{kept} of {n_problems}",
            "all",
            kept == n_problems,
        ),
        (
            "nothing marked: bit-identical",
            f"{same} of {n_problems}",
            "all",
            same == n_problems,
        ),
        (
            "unpatch: bit-identical",
            f"{undone} of {n_problems}",
            "all",
            undone == n_problems,
        ),
        ("  patches that moved the model", f"{used} of {n_problems}", "-", None),
    ]


def _measured_within(patcher, X, y, marked, groups):
    """Measure the criteria again on the unpatched and patched model."""
    from skpuma.criteria import measures_of
    from skpuma.models import adapt

    models = [adapt(u.estimator) for u in patcher._undo[-1:]] + [
        adapt(patcher.estimator_)
    ]
    keep = ~marked
    values = []
    for model in models:
        measures = measures_of(
            patcher.criterion,
            model,
            model.inputs(X[keep]),
            model.targets(y[keep]),
            np.ones(keep.sum()),
            groups[keep],
        )
        values.append(np.array([m.value(model) for m in measures]))
    change = values[1] - values[0]
    if patcher.side == "both":
        change = np.abs(change)
    return bool((change <= patcher.report_.delta + 1e-12).all())


def correlation(a, b):
    """Pearson correlation, for the other modules."""
    return float(stats.pearsonr(a, b).statistic)
