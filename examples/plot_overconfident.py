"""
Which rows make my model over-confident?
========================================

A model says 95 % and is right less often. Rows are valued by what they do to its
calibration error, the batches that they came in are ranked, and the worst are taken out
of the fitted model. Reliability diagrams show before and after on new rows.
"""

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from skpuma import PumaPatcher, PumaValuator
from skpuma.metrics import expected_calibration_error
from skpuma.plotting import PatchPathDisplay, ReliabilityDisplay

# %%
# Twelve batches of 250 rows. The labels of four batches were never observed: somebody
# filled in what an older model thought more probable. Such labels are mostly right, and
# far too sure: half of what is called 60 % becomes a plain yes.

rng = np.random.default_rng(0)
truth = np.array([1.0, -0.8, 0.6, 0.0, 0.0])


def outcomes(n):
    X = rng.standard_normal((n, len(truth)))
    return X, (rng.random(n) < 1 / (1 + np.exp(-X @ truth))).astype(int)


(X, y), (X_val, y_val), (X_test, y_test) = (
    outcomes(3000),
    outcomes(1500),
    outcomes(4000),
)
batch = np.array([f"batch {one:02d}" for one in np.arange(len(y)) // 250])
filled_in = ["batch 02", "batch 05", "batch 06", "batch 11"]
filled = np.isin(batch, filled_in)
y[filled] = X[filled] @ truth > 0

# %%
# The model is too sure: its mean confidence is above its accuracy.

model = LogisticRegression(tol=1e-8).fit(X, y)


def judged(one):
    """On test rows: confidence, accuracy, calibration error, log-loss."""
    p = one.predict_proba(X_test)
    return (
        p.max(axis=1).mean(),
        one.score(X_test, y_test),
        expected_calibration_error(y_test, p),
        log_loss(y_test, p),
    )


print("confidence {:.3f}, accuracy {:.3f}".format(*judged(model)[:2]))

# %%
# Which rows raise the calibration error? One by one the filled in ones do not stand
# out among the worst.

validation = {"X_val": X_val, "y_val": y_val}
valuator = PumaValuator(
    FrozenEstimator(model), "calibration_error", effect="one_step"
).fit(X, y, groups=batch, **validation)
suspects = valuator.inspect(top=300)["position"].to_numpy()
print(f"{filled[suspects].mean():.0%} of the 300 worst rows were filled in", end=", ")
print(f"{filled.mean():.0%} of all rows")

# %%
# Which batches? Each is valued as a whole, one Newton step away: what does the
# calibration error become without it? Here the fault shows.

batches = valuator.inspect(by="group").drop(columns="weight")
print(batches.to_string(float_format="{:+.4f}".format))
worst = batches.index[:4]
print(f"the four worst are those that were filled in: {set(worst) == set(filled_in)}")

# %%
# Take the four out. The path ends where the calibration error is lowest, and the
# log-loss on the validation rows may not rise by more than ``delta``.

patcher = PumaPatcher(
    FrozenEstimator(model),
    "log_loss",
    delta=0.01,
    target="calibration_error",
    eta=np.inf,
    trust=1e-3,
)
patcher.patch(X, y, remove=worst, groups=batch, **validation)
print(patcher.report_)
PatchPathDisplay.from_patcher(patcher)

# %%
# Before and after, on rows that no step has seen.

ReliabilityDisplay.from_estimators({"before": model, "after": patcher}, X_test, y_test)

# %%
# Conclusion
# ----------
# The over-confidence came from batches whose labels were too sure, and it shows in
# their joint effect, not in that of single rows. Without them the model is as sure as
# it is right, to within a few per cent, and the log-loss falls as well; the accuracy
# stays, since the filled in labels were not wrong about what is more probable. What was
# measured on the validation rows chose the batches and the end of the path, so believe
# the test rows. Where nothing is known of where rows came from, this route is closed,
# and ``CalibratedClassifierCV`` of scikit-learn rescales the probabilities without
# asking for the reason.

print(f"{'':<8}{'confidence':>11}{'accuracy':>10}{'error':>8}{'log-loss':>10}")
for name, one in {"before": model, "after": patcher}.items():
    print("{:<8}{:>11.3f}{:>10.3f}{:>8.3f}{:>10.4f}".format(name, *judged(one)))
