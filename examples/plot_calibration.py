"""
Which rows spoil the calibration, and a patch that restores it
==============================================================

Figures 8 and 9 of the PUMA post. One label in ten of the two moons is wrong. A network
learns from them to be unsure everywhere, so its confidence does not match its accuracy.
The rows that raise the calibration error are found, sorted into kinds, and taken out;
the rows that lower it get more weight. Nothing is trained again.
"""

import warnings

import numpy as np
from sklearn.datasets import make_moons
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from skpuma import (
    PumaDebugger,
    PumaPatcher,
    PumaValuator,
    StationarityWarning,
)
from skpuma.datasets import flip_labels
from skpuma.metrics import expected_calibration_error
from skpuma.plotting import IssueBoardDisplay, PatchPathDisplay, ReliabilityDisplay

# Networks stop short of an optimum; a patch then follows the change of its objective.
warnings.simplefilter("ignore", StationarityWarning)

X, clean = make_moons(1000, noise=0.2, random_state=0)
y, flipped = flip_labels(clean, 0.1, random_state=0)
X_val, y_val = make_moons(1000, noise=0.2, random_state=100)
X_test, y_test = make_moons(5000, noise=0.2, random_state=200)
validation = {"X_val": X_val, "y_val": y_val}

net = MLPClassifier((32, 32), max_iter=1000, random_state=0).fit(X, y)

# %%
# What is wrong with which row? `PumaDebugger` lists rows with a wrong label, rows that
# the model is too sure of, and rows that it is not sure enough of. Neighbours and trees
# judge the labels here; a network that is trained again for every fold takes longer.

debugger = PumaDebugger(
    FrozenEstimator(net),
    "calibration_error",
    views=("neighbors", "forest", "extra_trees"),
    random_state=0,
)
debugger.fit(X, y, **validation)
print(debugger.issues_["kind"].value_counts().to_string())
called = np.zeros(len(y), dtype=bool)
called[debugger.issues_.query("kind == 'mislabelled'")["position"]] = True
print(
    f"called mislabelled: {(called & flipped).sum()} wrong labels (TP), "
    f"{(called & ~flipped).sum()} right ones (FP); missed: "
    f"{(~called & flipped).sum()} (FN)"
)
board = IssueBoardDisplay.from_debugger(debugger, X, is_noisy=flipped)

# %%
# The patch of the post: of the rows ranked by what they do to the calibration error,
# the hundred worst go and the hundred best get double weight. The path stops where the
# calibration error on the validation rows is lowest, and their log loss may not rise by
# more than 0.05.

valuator = PumaValuator(FrozenEstimator(net), "calibration_error")
order = np.argsort(valuator.fit(X, y, **validation).psi_[:, 0])
print(f"wrong labels among the hundred worst: {flipped[order[:100]].sum()}")
patcher = PumaPatcher(
    FrozenEstimator(net),
    "log_loss",
    delta=0.05,
    target="calibration_error",
    reweight=False,
)
patcher.patch(X, y, remove=order[:100], upweight=order[-100:], **validation)
print(patcher.report_)
path = PatchPathDisplay.from_patcher(patcher)

# %%
# On 5000 rows that no step has seen.

models = {"before": net, "patched": patcher, "PumaDebugger": debugger}
print(f"{'':<14}{'ECE':>8}{'log loss':>10}{'accuracy':>10}")
for name, model in models.items():
    p = model.predict_proba(X_test)[:, 1]
    print(
        f"{name:<14}{expected_calibration_error(y_test, p):>8.3f}"
        f"{log_loss(y_test, p):>10.3f}{model.score(X_test, y_test):>10.4f}"
    )
reliability = ReliabilityDisplay.from_estimators(
    {"before": net, "after": patcher}, X_test, y_test
)

# %%
# The third kind of the post needs another fault. Here the moons overlap and no label is
# wrong: how probable each is follows from how they are made. A network that learns such
# rows by heart is too sure of those that lie on the other side.

NOISE = 0.3
arcs, arc = make_moons(2000, noise=None)


def true_probability(X, y):
    """Of label y at X, where every point of both arcs is as probable."""
    squares = ((X[:, None] - arcs) ** 2).sum(axis=-1)
    near = np.exp(-squares / (2 * NOISE**2))
    return (near * (arc == y[:, None])).sum(axis=1) / near.sum(axis=1)


X_mixed, y_mixed = make_moons(400, noise=NOISE, random_state=0)
X_more, y_more = make_moons(1000, noise=NOISE, random_state=100)
memory = MLPClassifier(
    (32, 32), solver="lbfgs", alpha=0.01, max_iter=3000, random_state=0
).fit(X_mixed, y_mixed)
looked = PumaDebugger(
    FrozenEstimator(memory),
    "log_loss",
    views=("neighbors", "forest", "extra_trees"),
    random_state=0,
).fit(X_mixed, y_mixed, X_val=X_more, y_val=y_more)
truth = true_probability(X_mixed, y_mixed)
of_label = memory.predict_proba(X_mixed)[np.arange(len(y_mixed)), y_mixed]
print("mean probability of the label that is given")
for kind, rows in looked.issues_.groupby("kind", sort=False):
    at = rows["position"].to_numpy()
    means = f"{of_label[at].mean():.2f} by the network, {truth[at].mean():.2f} in truth"
    print(f"{kind:<16}{len(at):>3} rows, {means}")
board = IssueBoardDisplay.from_debugger(looked, X_mixed)

# %%
# Conclusion
# ----------
#
# On 5000 new rows the calibration error falls from 0.108 to 0.012 and the log loss from
# 0.178 to 0.093; 0.003 of accuracy is lost (over ten seeds of ``python -m
# tests.benchmarks moons``: 0.104 to 0.014, and 0.001). 91 of the hundred rows that psi
# ranks worst carry a wrong label, although psi was asked about calibration only.
#
# Of the three kinds of the post, the first moons show two. Labels that are wrong are
# called so before anything else, and with these out of the way no row is left that the
# network is too sure of: a network that was taught by noise is not sure enough. Sixteen
# right labels were called wrong, most of them in the gap between the moons. The
# validation labels are all right here; with noisy ones, see `PumaDebugger`.
#
# Rows that a network is too sure of are found where it has learnt them by heart: it
# gives their labels a probability of 0.77 on average, where 0.45 is true. (Three labels
# are called wrong there, although they were drawn as the others were: they lie where
# the other class is far more probable.)
