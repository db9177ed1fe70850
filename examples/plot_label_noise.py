"""
Wrong labels: found, explained and repaired
===========================================

One label in ten of a data set of handwritten digits is wrong, and nobody knows which.
`PumaDebugger` finds suspects, says why, patches the fitted model without them and
reports what that did. Here the truth is known, so that all of it can be checked.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import PumaDebugger
from skpuma.datasets import flip_labels
from skpuma.plotting import DetectionCurveDisplay, IssueBoardDisplay

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

model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8))
debugger = PumaDebugger(model, random_state=0).fit(X, y)
print(f"share of wrong labels: {debugger.noise_rate_:.3f} estimated", end=", ")
print(f"{flipped.mean():.3f} true")
print(debugger.issues_["kind"].value_counts().to_string())

# %%
# Every issue says what the label is, what it looks like, and what was done about it.

columns = ["kind", "score", "given", "predicted", "action"]
print(debugger.issues_[columns].head(8).to_string(float_format="{:.2g}".format))

# %%
# The first nine of each kind, in pictures.

images = X.reshape(-1, 8, 8)
board = IssueBoardDisplay.from_debugger(debugger, X, images=images)

# %%
# How many of the wrong labels are found, and how many right ones are accused?

mislabelled = debugger.issues_.query("kind == 'mislabelled'")
at = mislabelled["position"].to_numpy()
precision, recall = flipped[at].mean(), flipped[at].sum() / flipped.sum()
repaired = (mislabelled["predicted"].to_numpy() == y_true[at]).mean()
print(f"{len(at)} accused, {precision:.1%} of them rightly")
print(f"{recall:.1%} of the wrong labels are found")
print(f"{repaired:.1%} of the accused look like what they are")

# %%
# The same for every threshold, beside the simplest look: how probable the model that
# was trained on the labels finds them.

fitted = debugger.patcher_.unpatch().estimator_
probability = fitted.predict_proba(X)[np.arange(len(y)), y]
values = {"PumaDebugger": debugger.score_, "loss of the model": probability}
curves = DetectionCurveDisplay.from_values(values, flipped)
curves.ax_.set_xlim(0, 0.4)

# %%
# What became of the model: as it was fitted, as it was patched, and trained again on
# labels that are all right, which is the most that could be hoped for.

clean = model.fit(X, y_true)
accuracy = {
    "fitted on wrong labels": fitted.score(X_test, y_test),
    "patched": debugger.score(X_test, y_test),
    "fitted on right labels": clean.score(X_test, y_test),
}
for name, share in accuracy.items():
    print(f"{name:<24}{share:.4f} of {len(y_test)} test rows right")
