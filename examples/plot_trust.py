"""
Should I trust this psi?
========================

A ranking of rows is quickly made. Four questions tell how far it can be believed: is
the prediction right, which rows can it not follow, does it hang on the damping, and
would other validation rows have said the same? Each is one call, and needs no more than
the rows of the fit.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import PumaValuator
from skpuma.plotting import InfluenceDisplay

# %%
# Values for the log-loss on 143 validation rows. The model is barely regularised, so
# that some rows have much to say about it.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X, X_val, y, y_val = train_test_split(X, y, stratify=y, random_state=0)
validation = {"X_val": X_val, "y_val": y_val}
model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8))

linear = PumaValuator(model, "log_loss").fit(X, y, **validation)
print(linear.inspect(top=5).to_string(float_format="{:.4f}".format))

# %%
# Is the prediction right? Thirty rows, from both ends of the ranking and between, are
# taken out for real. A slope of 1 is the right scale; above 1 the effects are larger
# than was predicted. ``effect="one_step"`` corrects for the leverage of the row.

one_step = PumaValuator(model, "log_loss", effect="one_step").fit(X, y, **validation)
checks = {
    name: one.check_influence(X, y, n_rows=30, **validation)
    for name, one in {"linear": linear, "one_step": one_step}.items()
}
for name, check in checks.items():
    print(f"{name:<10}correlation {check.pearson[0]:.3f}, slope {check.slope[0]:.2f}")

figure, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for panel, (name, check) in zip(panels, checks.items(), strict=True):
    panel.scatter(check.predicted[:, 0], check.refitted[:, 0], s=18)
    panel.axline((0, 0), slope=1, color="#767676", linestyle="--", linewidth=1)
    panel.grid(alpha=0.25)
    panel.set(title=f"effect = {name}", xlabel="Predicted change of the log-loss")
panels[0].set_ylabel("Change after a refit")

# %%
# Which rows can a first-order formula not follow? Those far to the right pull the model
# towards themselves; beyond a leverage of one half a linear effect is not reliable.
# A row that the model gets badly wrong may have a small leverage and a large pull, so
# a low leverage alone proves nothing.

leverage = linear.leverage(X, y)
print(f"largest leverage {leverage.max():.2f}", end=", ")
print(f"{(leverage > 0.5).sum()} of {len(X)} rows above 0.5")
InfluenceDisplay.from_valuator(linear, X, y, top=5)

# %%
# Does the ranking hang on the damping, which is a choice? The curve compares with the
# damping of the fit; dampings are in units of the mean eigenvalue of the curvature.

curve = linear.damping_curve(X, y, **validation)
figure, ax = plt.subplots(layout="constrained")
ax.plot(curve["relative"], curve["rank_correlation_log_loss"], "o-", label="rank")
ax.plot(curve["relative"], curve["overlap_log_loss"], "s--", label="worst tenth")
ax.set(xscale="log", xlabel="Damping / mean eigenvalue", ylabel="Agreement")
ax.set_ylim(0, 1.02)
ax.legend()

# %%
# Would other validation rows have said the same? Rows whose interval straddles zero are
# not to be acted on.

intervals = linear.intervals(X, y, random_state=0, **validation)
columns = ["psi_log_loss", "low_log_loss", "high_log_loss", "act_log_loss"]
print(intervals[columns].head(8).to_string(float_format="{:.3f}".format))
act = intervals["act_log_loss"]
print(f"{act.mean():.0%} of the rows may be acted on")

# %%
# Conclusion
# ----------
# The ranking holds against the damping over several orders of magnitude, and is still
# not to be trusted at its lowest end: the row that the linear effect calls the most
# harmful is one that the model is better with, as a refit shows, and the interval of
# the same row straddles zero. The small leverage of that row did not give it away;
# ``effect="one_step"``, which evaluates the criterion again at the moved parameters,
# did. It follows the refits, on too small a scale for the largest. So: ask for one step
# where the model allows it, look at the slope as well as at the correlation, and act on
# rows whose interval is on one side of zero.

row = linear.inspect(top=1)["position"].iloc[0]
check = checks["linear"]
print(f"most harmful row by the linear effect, with a leverage of {leverage[row]:.2f}:")
print(f"  linear effect {linear.removal_effect_[row, 0]:+.4f}")
print(f"  one step      {one_step.removal_effect_[row, 0]:+.4f}")
print(f"  refit         {check.refitted[check.rows == row, 0].item():+.4f}")
