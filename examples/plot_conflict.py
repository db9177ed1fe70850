"""
Robustness patched, fairness lost, and both kept
================================================

Figure 3 of the PUMA post. A model validator finds that a model is not robust, the model
is patched, and now another test fails: the gap between two groups has grown. Two
criteria that pull at the same rows have to be looked at together.

The data are made for it. Applicants have merit and wealth, and one group is poorer. In
four rows of ten, from another office, wealth counted against the applicant, and a clerk
left the decision in a faint column, ``code``, from which a model reads it. So the model
breaks when ``code`` moves a little. But these rows are also those that kept the gap
between the groups small.
"""

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

from skpuma import PumaPatcher, PumaValuator
from skpuma.criteria import AdversarialLoss
from skpuma.plotting import ConflictDisplay, PatchPathDisplay, WeightsDisplay


def draw(n, other_office, seed):
    """Features, decisions, group and origin of n applicants."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, n)
    merit = rng.standard_normal(n)
    wealth = 1.2 * (group - 0.5) + rng.standard_normal(n)
    other = rng.random(n) < other_office
    signal = 1.5 * merit + np.where(other, -1, 1) * wealth + rng.logistic(size=n)
    y = (signal > 0).astype(int)
    code = 0.1 * np.where(other, 2 * y - 1, rng.standard_normal(n))
    X = pd.DataFrame({"merit": merit, "wealth": wealth, "code": code})
    return X, y, group, other


X, y, group, other = draw(1500, 0.4, seed=0)
X_val, y_val, group_val, _ = draw(1500, 0.0, seed=1)
X_test, y_test, group_test, _ = draw(5000, 0.0, seed=2)
model = LogisticRegression(C=10).fit(X, y)


def measure(name, estimator):
    """Print what two tests say on new rows: one shifts them, one compares groups."""
    weights = getattr(estimator, "estimator_", estimator).coef_[0]
    shifted = X_test - 0.1 * np.outer(2 * y_test - 1, np.sign(weights))
    p = estimator.predict_proba(X_test)[:, 1]
    print(
        f"{name:<22} accuracy {estimator.score(X_test, y_test):.3f}, on shifted rows "
        f"{accuracy_score(y_test, estimator.predict(shifted)):.3f}; gap "
        f"{p[group_test == 1].mean() - p[group_test == 0].mean():.3f}"
    )


measure("before", model)

# %%
# What every row does to robustness and to the gap. Without the rows on the left the
# model is more robust; without those below, fairer. The rows to be careful with are in
# the upper left: they hurt one criterion and help the other.

robustness = AdversarialLoss(epsilon=0.1)
validation = {"X_val": X_val, "y_val": y_val, "sensitive_features_val": group_val}
valuator = PumaValuator(FrozenEstimator(model), [robustness, "demographic_parity"])
valuator.fit(X, y, **validation)
quadrants = ConflictDisplay.from_valuator(valuator)

suspects = valuator.inspect(top=300)
print(
    f"from the other office: {other.mean():.0%} of all rows, "
    f"{other[suspects['position']].mean():.0%} of the 300 worst"
)

# %%
# Patched for robustness alone, with nothing else in sight.

alone = PumaPatcher(FrozenEstimator(model), robustness, delta=np.inf)
alone.patch(X, y, remove=suspects.index, **validation)
measure("robustness alone", alone)

# %%
# The same rows again, with a delta for each criterion: neither the loss on shifted rows
# nor the gap may grow by more than 0.01, and other rows compensate for the gap.

both = PumaPatcher(
    FrozenEstimator(model),
    [robustness, "demographic_parity"],
    delta=[0.01, 0.01],
    alpha=0.05,
    max_weight=3.0,
)
both.patch(X, y, remove=suspects.index, **validation)
print(both.report_)
path = PatchPathDisplay.from_patcher(both)

# %%
# The weights that pay for it.

weights = WeightsDisplay.from_patcher(both)

# %%
# The fairness test again, on new rows.

for name, estimator in {
    "before": model,
    "robustness alone": alone,
    "both, by two deltas": both,
}.items():
    measure(name, estimator)

# %%
# Conclusion
# ----------
#
# On new rows the patch for robustness lifts the accuracy on shifted rows from 0.40 to
# 0.70, and takes the gap from 0.098 to 0.132: the second test fails because the first
# one was mended. With a delta for both, the same 300 rows go, shifted rows are at 0.66,
# and the gap is 0.093. Fairness costs some of the robustness and 0.02 of accuracy, and
# what it costs is known before the model is used.
#
# The deltas are promises about the validation rows, where the gap grew by 0.0065; that
# it fell on the test rows is luck. Data that were made to show a conflict show one. On
# data of your own `PumaValuator.conflicts` lists the rows that two criteria disagree
# about, and there may be none to speak of.
