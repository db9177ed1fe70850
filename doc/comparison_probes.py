"""What the page of comparisons says of releases that are easily installed.

Needs the test extra: ``python doc/comparison_probes.py``.
"""

import warnings
from importlib.metadata import version

import numpy as np
import pyinfluence
import statsmodels.api as sm
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import skpuma

warnings.simplefilter("ignore")
for package in ("pyinfluence", "statsmodels", "scikit-learn", "skpuma"):
    print(package, version(package))

# Which fitted models are taken.

X, y = load_iris(return_X_y=True)
two = y < 2
models = {
    "Ridge": Ridge().fit(X, y),
    "LogisticRegression, two classes": LogisticRegression().fit(X[two], y[two]),
    "the same, class_weight": LogisticRegression(class_weight="balanced").fit(
        X[two], y[two]
    ),
    "LogisticRegression, three classes": LogisticRegression().fit(X, y),
    "Pipeline": make_pipeline(StandardScaler(), Ridge()).fit(X, y),
    "MLPClassifier": MLPClassifier((5,), max_iter=50).fit(X, y),
}
for name, model in models.items():
    theirs, ours = pyinfluence.supports(model)[0], skpuma.supports(model)[0]
    print(f"{name}: pyinfluence {theirs}, skpuma {ours}")

# Checks of scikit-learn that fail.

for cls in (pyinfluence.InfluenceFunctions, skpuma.PumaValuator, skpuma.PumaPatcher):
    results = check_estimator(cls(), on_fail=None)
    failed = sum(one["status"] == "failed" for one in results)
    print(f"{cls.__name__}: {failed} of {len(results)} checks fail")

# One-step parameters of an L1-penalised Logit against refits without 60 rows.

rng = np.random.default_rng(0)
A = sm.add_constant(rng.standard_normal((300, 4)))
p = 1 / (1 + np.exp(-A @ [0.0, 1.0, -1.0, 0.5, 0.0]))
b = (rng.random(300) < p).astype(float)
for alpha in (0, 1, 5, 20):

    def fit(A, b, alpha=alpha):
        model = sm.Logit(b, A)
        if alpha == 0:
            return model.fit(disp=0)
        return model.fit_regularized(alpha=alpha, disp=0)

    full = fit(A, b)
    predicted = np.asarray(full.get_influence().d_params)[:60]
    refitted = [
        full.params - fit(np.delete(A, i, 0), np.delete(b, i)).params for i in range(60)
    ]
    r = np.corrcoef(np.ravel(predicted), np.ravel(refitted))[0, 1]
    print(f"statsmodels Logit, alpha={alpha}: correlation with refits {r:.2f}")
