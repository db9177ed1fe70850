"""
Wrong labels: found, explained and repaired
===========================================

One label in ten of a data set of handwritten digits is wrong, and nobody knows which.
`PumaDebugger` finds suspects, says why, patches the fitted model without them and
reports what that did. Here the truth is known, so that all of it can be checked.
"""

import copy

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import PumaDebugger
from skpuma.datasets import flip_labels
from skpuma.plotting import (
    DetectionCurveDisplay,
    IssueBoardDisplay,
    PatchedImagesDisplay,
)

# %%
# The labels of the training rows are made wrong, those of the test rows are left alone.
# No step but the last looks at the test rows.

X, y = load_digits(return_X_y=True)
X, X_test, y_true, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
y, flipped = flip_labels(y_true, 0.1, random_state=0)
print(f"{len(y)} training rows, {flipped.sum()} of them with a wrong label")

# %%
# One estimator looks, judges and repairs. There are no trusted rows: the training rows
# measure the criterion, each as far as its own label can be believed.

model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
debugger = PumaDebugger(model, random_state=0).fit(X, y)
print(f"share of wrong labels: {debugger.noise_rate_:.3f} estimated", end=", ")
print(f"{flipped.mean():.3f} true")
print(debugger.issues_["kind"].value_counts().to_string())

# %%
# Every issue says what the label is, what it looks like, and what was done about it.

columns = ["kind", "score", "given", "predicted", "action"]
print(debugger.issues_[columns].head(8).to_string(float_format="{:.2g}".format))

# %%
# Where they lie among the rows, on the first two principal components.

board = IssueBoardDisplay.from_debugger(debugger, X, is_noisy=flipped)

# %%
# How many of the wrong labels are found, and how many right ones are accused?

mislabelled = debugger.issues_.query("kind == 'mislabelled'")
at = mislabelled["position"].to_numpy()
precision, recall = flipped[at].mean(), flipped[at].sum() / flipped.sum()
recognised = (mislabelled["predicted"].to_numpy() == y_true[at]).mean()
print(f"{len(at)} accused, {precision:.1%} of them rightly")
print(f"{recall:.1%} of the wrong labels are found")
print(f"for {recognised:.1%} of the accused the prediction is the true label")

# %%
# The same for every threshold, beside the simplest look: how probable the model that
# was trained on the labels finds them.

fitted = copy.deepcopy(debugger.patcher_).unpatch().estimator_
probability = fitted.predict_proba(X)[np.arange(len(y)), y]
values = {"PumaDebugger": debugger.score_, "loss of the model": probability}
curves = DetectionCurveDisplay.from_values(values, flipped)
curves.ax_.set_xlim(0, 0.5)

# %%
# The most suspicious rows, with the label that they were given (T) and what the model
# said of them before the patch and says now (P, with its probability; in orange where
# it is not the given label).

PatchedImagesDisplay.from_estimators(
    fitted, debugger, X[at[:8]].reshape(-1, 8, 8), X[at[:8]], y[at[:8]]
)

# %%
# Conclusion
# ----------
# Nearly all wrong labels are found, at the price of a few right ones, and the estimated
# share is close to the true one. The patched model wins back most of what the wrong
# labels cost: the yardstick is a model that was trained without exactly the wrong
# rows, which needs to know them. Labels that were swapped at random are the easy case,
# and the simple look at the loss is not far behind on the first rows; people who
# mistake one class for another leave patterns that look like right labels.

without = clone(model).fit(X[~flipped], y[~flipped])
for name, one in {
    "fitted on all labels": fitted,
    "patched": debugger,
    "fitted on the right ones": without,
}.items():
    print(f"{name:<25}{one.score(X_test, y_test):.4f} of {len(y_test)} test rows right")
