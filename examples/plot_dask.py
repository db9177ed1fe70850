"""
More rows than memory: out of core with Dask
============================================

The rows may be a Dask array, of which a chunk at a time is in memory. A model that is
fitted already is valued and patched on it; what comes back for every row is a Dask
array too. Without Dask (``pip install dask``) this page only says that it is missing.
"""

import importlib.util

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from skpuma import PumaPatcher, PumaValuator
from skpuma.plotting import DetectionCurveDisplay

HAS_DASK = importlib.util.find_spec("dask") is not None
if HAS_DASK:
    import dask
    import dask.array as da
else:
    print("Dask is not installed, so that the following cells do nothing.")

# %%
# Rows that are made a chunk at a time, from a seed of the chunk: 200,000 of them in 20
# chunks, of which two in a hundred have a label that was flipped. A file on disk
# (``da.from_zarr``, ``dask.dataframe.read_parquet``) works in the same way.

N, D, CHUNK = 200_000, 20, 10_000
truth = np.linspace(-1, 1, D)


def rows(seed, n=CHUNK):
    """Features of one chunk, its right labels, and which labels are flipped."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D))
    y = (rng.random(n) < 1 / (1 + np.exp(-X @ truth))).astype(int)
    return X, y, rng.random(n) < 0.02


def part(seed, which):
    """Features (0), given labels (1) or flips (2) of one chunk."""
    X, y, flipped = rows(seed)
    return (X, np.where(flipped, 1 - y, y), flipped)[which]


def table(which, kind):
    """A Dask array of which no chunk is made yet."""
    shape = (CHUNK, D) if which == 0 else (CHUNK,)
    chunks = [dask.delayed(part)(seed, which) for seed in range(N // CHUNK)]
    return da.concatenate([da.from_delayed(one, shape, kind) for one in chunks])


if HAS_DASK:
    X, y, flipped = table(0, float), table(1, int), table(2, bool)
    print(X)
    print(f"{X.nbytes / 1e6:.0f} MB in {X.npartitions} chunks")

# %%
# Dask does not train the model: it comes from where there was room for it. This table
# is small enough to do it here. A few thousand rows in memory measure the criterion,
# others are kept for the end.

X_val, y_val, _ = rows(seed=10_000, n=5000)
X_test, y_test, _ = rows(seed=10_001, n=50_000)
if HAS_DASK:
    model = LogisticRegression(tol=1e-8).fit(X.compute(), y.compute())

# %%
# Values of all rows, in a handful of passes over the chunks. ``psi_`` is a Dask array;
# ``inspect`` fetches the rows that are asked for.

if HAS_DASK:
    valuator = PumaValuator(FrozenEstimator(model), "log_loss")
    valuator.fit(X, y, X_val=X_val, y_val=y_val)
    print(valuator.psi_)
    suspects = valuator.inspect(top=4000)
    print(suspects.head(3).to_string())

# %%
# Numbers of one column fit in memory even where the rows do not: how many of the
# flipped labels are found, from the lowest psi up?

if HAS_DASK:
    wrong = flipped.compute()
    share = wrong[suspects["position"]].mean()
    print(f"{share:.0%} of the 4000 worst rows are flipped, {wrong.mean():.0%} of all")
    DetectionCurveDisplay.from_values({"psi": valuator.psi_[:, 0].compute()}, wrong)

# %%
# The patch. The mask of the rows is a Dask array as well; compensation by other rows
# would weigh all rows against each other, and is left out.

if HAS_DASK:
    mask = valuator.removal_effect_[:, 0] <= suspects["removal_effect_log_loss"].max()
    patcher = PumaPatcher(FrozenEstimator(model), "log_loss", reweight=False)
    patcher.patch(X, y, remove=mask, X_val=X_val, y_val=y_val)
    print(patcher.report_)

# %%
# The referee: the same rows in memory, and a model trained without the suspects.

if HAS_DASK:
    inside = PumaValuator(FrozenEstimator(model), "log_loss")
    inside.fit(X.compute(), y.compute(), X_val=X_val, y_val=y_val)
    scale = np.abs(inside.psi_).max()
    difference = np.abs(valuator.psi_.compute() - inside.psi_).max() / scale
    keep = ~mask.compute()
    refit = LogisticRegression(tol=1e-10).fit(X.compute()[keep], y.compute()[keep])
    distance = np.abs(patcher.estimator_.coef_ - refit.coef_).max()

# %%
# Conclusion
# ----------
# Values and patch out of core are those of the rows in memory up to rounding, and the
# patched coefficients are those of a model trained without the suspects, to the
# tolerance of its solver. Memory holds a few chunks at a time, and matrices of the size
# of the parameters. Nothing here says anything about speed, since the table is small,
# and what needs all rows at once (compensation, refits, groups) is out of reach. The
# lowest psi are many times richer in wrong labels than the table, and still mostly
# right; taking out what hurts the validation rows pays little where one label in fifty
# is wrong.

if HAS_DASK:
    print(f"psi, largest difference from memory: {difference:.1e} of the largest psi")
    print(f"coefficients, largest difference from a refit: {distance:.1e}")
    for name, one in {"before": model, "after": patcher}.items():
        print(f"log-loss on test rows {name}: ", end="")
        print(f"{log_loss(y_test, one.predict_proba(X_test)):.5f}")
