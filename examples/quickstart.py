"""
Find the rows that hurt a model, and patch the model without retraining
=======================================================================

Ten percent of the training labels of a real data set are wrong. The script finds
suspects by their value for the model, patches the fitted pipeline without them, and
compares the result with a refit, on test rows that no other step has seen.
"""

from time import perf_counter

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import PumaPatcher, PumaValuator
from skpuma.datasets import flip_labels
from skpuma.metrics import expected_calibration_error


def seconds(function):
    """Shortest of five runs."""
    times = []
    for _ in range(5):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return min(times)


# %%
# Three parts: rows to train on, a few rows with labels that can be trusted, and rows to
# test on at the very end. Only training labels are flipped.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
X, X_val, y, y_val = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
y, flipped = flip_labels(y, 0.1, random_state=0)
print(f"{len(X)} training rows, {flipped.sum()} of them with a flipped label")

model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)

# %%
# Which training rows raise the log-loss on the trusted rows? ``inspect`` sorts by the
# predicted change of the log-loss if a row is removed, the most harmful row first.

valuator = PumaValuator(FrozenEstimator(model), "log_loss", effect="one_step")
valuator.fit(X, y, X_val=X_val, y_val=y_val)
suspects = valuator.inspect(top=round(0.1 * len(X)))
found = flipped[suspects["position"]]
print(
    f"{found.sum()} of the {len(suspects)} most harmful rows are flips "
    f"({len(suspects) * flipped.mean():.1f} expected by chance)"
)

# %%
# Take their weight away, without a refit, and let the log-loss on the trusted rows rise
# by no more than ``delta``. ``model`` itself is not changed. The trusted rows chose the
# suspects, too, so the report flatters the patch; the test rows below do not.

patcher = PumaPatcher(FrozenEstimator(model), "log_loss", delta=0.01)
patcher.patch(X, y, remove=suspects.index, X_val=X_val, y_val=y_val)
print()
print(patcher.report_)
patcher.report_.save("quickstart_report.html")

# %%
# The referee: fit again without the suspects.

keep = ~X.index.isin(suspects.index)
refit = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[keep], y[keep])

print(f"\n{len(X_test)} test rows   log-loss  accuracy  calibration error")
for name, one in (("before", model), ("patched", patcher), ("refitted", refit)):
    p = one.predict_proba(X_test)
    print(
        f"{name:13s} {log_loss(y_test, p):9.4f} "
        f"{accuracy_score(y_test, one.predict(X_test)):9.4f} "
        f"{expected_calibration_error(y_test, p):18.4f}"
    )

# %%
# A model this small is refitted in no time; what the patch adds is ``delta``, the
# report, and the way back.

again = PumaPatcher(FrozenEstimator(model), "log_loss", delta=0.01)
rows = {"remove": suspects.index, "X_val": X_val, "y_val": y_val}
patch_time = seconds(lambda: again.patch(X, y, **rows).unpatch())
refit_time = seconds(lambda: refit.fit(X[keep], y[keep]))
print(f"\npatch {1e3 * patch_time:.1f} ms, refit {1e3 * refit_time:.1f} ms")

patcher.unpatch()
same = np.array_equal(patcher.predict_proba(X_test), model.predict_proba(X_test))
print(f"unpatched, the model is the one from before, bit for bit: {same}")
print("the report is in quickstart_report.html")
