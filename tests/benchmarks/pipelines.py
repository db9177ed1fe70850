"""Whole pipelines on data sets that people use, ``SKPUMA_DATA``: valued, and patched.

The one row in a hundred that harms the validation rows most is taken away as far as
that helps there (``target``), and the criterion is measured on test rows that no part
of the work has seen. A model with balanced classes is measured with balanced weights.
"""

import time

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    GammaRegressor,
    HuberRegressor,
    LogisticRegression,
    Ridge,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from skpuma import PumaPatcher, PumaValuator
from skpuma.criteria import measures_of
from skpuma.models import adapt
from tests.benchmarks import data

SHARE = 0.01


def mixed(last, rare=20):
    """Numbers scaled, words one-hot, and the last step."""
    words = OneHotEncoder(handle_unknown="ignore", min_frequency=rare)
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include=np.number)),
        (words, make_column_selector(dtype_exclude=np.number)),
    )
    return make_pipeline(columns, last)


def bank():
    """Bank marketing without the leaking duration: classes of 11 and 89 %."""
    table = pd.read_csv(data.folder() / "bank-additional-full.csv.gz", sep=";")
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    return mixed(model), table.drop(columns=["y", "duration"]), table.y, None


def spambase():
    """Spambase: heavy tails, so rows of high leverage."""
    table = pd.read_csv(data.folder() / "spambase.csv.gz")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return model, table.drop(columns="class"), table["class"], None


def _houses():
    table = pd.read_csv(data.folder() / "cal_housing.csv.gz")
    y = table.pop("medianHouseValue") / 1e5
    per_household = ["totalRooms", "totalBedrooms", "population"]
    X = table.assign(**{c: np.log(table[c] / table.households) for c in per_household})
    return X.assign(households=np.log(table.households)), y


def houses_huber():
    """California housing, values capped at the top, by a robust regression."""
    X, y = _houses()
    return make_pipeline(StandardScaler(), HuberRegressor(max_iter=1000)), X, y, None


def houses_gamma():
    """California housing as a gamma regression."""
    model = GammaRegressor(alpha=1e-3, max_iter=1000)
    return make_pipeline(StandardScaler(), model), *_houses(), None


def wine():
    """White wine: every fifth row is there more than once."""
    table = pd.read_csv(data.folder() / "winequality-white.csv.gz", sep=";")
    y = table.pop("quality").astype(float)
    return make_pipeline(StandardScaler(), Ridge()), table, y, None


def adult_groups():
    """Adult, valued and removed by occupation within age classes."""
    X, y, _, _ = data.adult()
    groups = X.occupation.fillna("?") + " " + (X.age // 10 * 10).astype(str)
    return mixed(LogisticRegression(max_iter=500)), X, y, groups


PIPELINES = {
    "bank": bank,
    "spambase": spambase,
    "houses, Huber": houses_huber,
    "houses, gamma": houses_gamma,
    "wine": wine,
    "Adult, groups": adult_groups,
}


def split(X, y, groups, seed=0):
    """Half of the rows to train on, a quarter each to validate and to test."""
    strata = y if y.nunique() == 2 else None
    train, rest = train_test_split(
        np.arange(len(y)), test_size=0.5, random_state=seed, stratify=strata
    )
    strata = None if strata is None else y.iloc[rest]
    val, test = train_test_split(
        rest, test_size=0.5, random_state=seed, stratify=strata
    )
    own = None if groups is None else groups.iloc[train].to_numpy()
    return [(X.iloc[part], y.iloc[part]) for part in (train, val, test)], own


def run(name, n_rows=30, share=SHARE):
    """One pipeline: what was predicted, what was measured, and the seconds.

    Returns
    -------
    dict
    """
    model, X, y, groups = PIPELINES[name]()
    (train, val, test), groups = split(X, y, groups)
    rows_of_C = {
        "X_val": val[0],
        "y_val": val[1],
        "sample_weight_val": _weights(model, val[1]),
    }
    found = {"name": name, "n": len(train[1])}
    start = time.perf_counter()
    model.fit(*train)
    found["fit"] = time.perf_counter() - start
    frozen = FrozenEstimator(model)
    start = time.perf_counter()
    more = {} if groups is None else {"groups": groups}
    valuator = PumaValuator(frozen, effect="one_step")
    valuator.fit(*train, **rows_of_C, **more)
    found["value"] = time.perf_counter() - start
    start = time.perf_counter()
    check = valuator.check_influence(*train, n_rows=n_rows, **rows_of_C, **more)
    found["check"] = time.perf_counter() - start
    found["pearson"], found["slope"] = check.pearson[0], check.slope[0]
    effect = valuator.removal_effect_[:, 0]
    if groups is None:
        mask = np.zeros(len(effect), dtype=bool)
        mask[np.argsort(effect, kind="stable")[: round(share * len(effect))]] = True
        predicted = float(effect[mask].sum())
    else:
        worst = np.argmin(valuator.group_effect_[:, 0])
        mask = groups == valuator.groups_[worst]
        predicted = float(valuator.group_effect_[worst, 0])
    start = time.perf_counter()
    patcher = PumaPatcher(frozen, delta=np.inf, target="auto", reweight=False)
    patcher.patch(*train, remove=mask, **rows_of_C)
    found["patch"] = time.perf_counter() - start
    found["removed"], found["s"] = int(mask.sum()), patcher.report_.s
    found["predicted"] = predicted
    for part, (A, b) in (("val", val), ("test", test)):
        before, after = (_criterion(one, A, b) for one in (model, patcher.estimator_))
        found[part] = before, after
    found["n_features"] = adapt(model).inputs(train[0].iloc[:1]).shape[1]
    return found


def _weights(model, y):
    """Weights of rows that measure C: those of the classes in the fit, if any."""
    balanced = getattr(model[-1], "class_weight", None) == "balanced"
    return compute_sample_weight("balanced" if balanced else None, y)


def _criterion(estimator, X, y):
    """The estimator's own loss on rows."""
    model = adapt(estimator)
    rows = model.inputs(X), model.targets(y), _weights(estimator, y), None
    return measures_of("auto", model, *rows)[0].value(model)


def pipelines():
    """Every pipeline of the table."""
    if data.folder() is None:
        return [("pipelines", "no data folder", "-", None)]
    out = []
    for name in PIPELINES:
        found = run(name)
        value = f"r {found['pearson']:.4f}, slope {found['slope']:.3f}"
        holds = found["pearson"] >= 0.95
        rows = f"{found['n']} x {found['n_features']}"
        out.append((f"{name} ({rows}): 30 removals", value, "r 0.95", bool(holds)))
        for part in ("val", "test"):
            before, after = found[part]
            value = f"{before:.5f}, {after:.5f} ({after - before:+.5f})"
            what = f"  {part} criterion before, after"
            out.append((what, value, "-", None))
        what = f"  predicted on val for all {found['removed']} rows; s reached"
        value = f"{found['predicted']:+.5f}; {found['s']:.2f}"
        out.append((what, value, "-", None))
        seconds = ", ".join(
            f"{found[step]:.2f}" for step in ("fit", "value", "check", "patch")
        )
        out.append(("  seconds: fit, value, check, patch", seconds, "-", None))
    return out
