"""
Forty people labelled the data: whose labels should go?
=======================================================

Three of them were careless. Rows are valued in groups, one for each annotator; the
joint effect of a group is checked against refits, the ranking against other validation
rows and other dampings, and the worst annotators are taken out of the fitted model.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import PumaPatcher, PumaValuator

rng = np.random.default_rng(0)
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=400, random_state=0)
X, X_val, y, y_val = train_test_split(X, y, test_size=400, random_state=0)

annotator = np.array([f"annotator {a:02d}" for a in rng.integers(0, 40, len(y))])
careless = ["annotator 07", "annotator 19", "annotator 31"]
wrong = np.isin(annotator, careless) & (rng.random(len(y)) < 0.6)
y[wrong] = rng.integers(0, 10, wrong.sum())

model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
# %%
# Which groups hurt, by the change of the criteria if all their rows go at once.

validation = {"X_val": X_val, "y_val": y_val}
valuator = PumaValuator(model, ["log_loss", "calibration_error"], effect="one_step")
valuator.fit(X, y, groups=annotator, **validation)

suspects = valuator.inspect(by="group", top=5)
print("The annotators whose labels hurt the most:")
print(suspects.drop(columns="weight").to_string(float_format="{:+.4f}".format))
found = set(suspects.index[:3]) == set(careless)
print(f"\nThe three careless ones come first: {found}")

# %%
# How much of this to believe.

check = valuator.check_influence(X, y, groups=annotator, n_rows=40, **validation)
print(
    "Against refits without each annotator (log-loss): "
    f"correlation {check.pearson[0]:.3f}, slope {check.slope[0]:.2f}"
)

intervals = valuator.intervals(X, y, random_state=0, **validation)
sure = intervals["act_log_loss"]
print(
    f"Rows whose sign of psi other validation rows would confirm: {sure.mean():.0%}; "
    f"of the wrong labels: {sure.sort_index()[wrong].mean():.0%}"
)
curve = valuator.damping_curve(X, y, **validation)
steady = curve.loc[curve["overlap_log_loss"] >= 0.9, "relative"].max()
print(
    "Nine in ten of the worst rows stay the same up to a damping of "
    f"{steady:.2g} mean eigenvalues"
)
disputed = (valuator.conflicts()["conflict"] > 1).sum()
print(f"Rows that clearly help one criterion and hurt the other: {disputed}")

# %%
# Take them out, with the log-loss on the validation rows bound to rise by 0.01 at most.

patcher = PumaPatcher(model, "log_loss", delta=0.01, reweight=False).fit(X, y)
before = patcher.score(X_test, y_test)
patcher.patch(X, y, remove=suspects.index[:3], groups=annotator, **validation)
print("\n" + str(patcher.report_))
after = patcher.score(X_test, y_test)
print(f"\nTest accuracy {before:.4f} -> {after:.4f}, without a refit")
