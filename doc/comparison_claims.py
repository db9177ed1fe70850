"""Cells of the table of comparisons that a run can decide, for three other packages.

Needs the bench extra: ``python doc/comparison_claims.py``. Prints, for every cell, what
was tried and what stands in the table.
"""

import inspect
import warnings
from importlib.metadata import version

import numpy as np
import pydvl.valuation as pydvl
import pyinfluence
import statsmodels.api as sm
import torch
from pydvl.influence.torch import DirectInfluence
from pyinfluence.fairness import disparity
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

warnings.simplefilter("ignore")
X, three = load_iris(return_X_y=True)
X, two = scale(X), (three == 2).astype(int)
# Every third row measures.
last = np.arange(len(X)) % 3 == 0
binary = LogisticRegression().fit(X, two)
pipeline = make_pipeline(StandardScaler(), LogisticRegression())


def runs(call):
    """yes, or no with the error."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever a package refuses with
        return f"no ({type(error).__name__}: {str(error).splitlines()[0][:70]})"
    return "yes"


def supports(model, y):
    return "yes" if pyinfluence.supports(model.fit(X, y))[0] else "no"


def takes_weights(*calls):
    names = {name for call in calls for name in inspect.signature(call).parameters}
    return "yes" if "sample_weight" in names else "no"


# -- pyinfluence -----------------------------------------------------------------------


def influence(data, model=binary):
    return pyinfluence.InfluenceFunctions().fit(model, data, two).explain(data, two)


def gap():
    groups = np.arange(len(X)) % 2
    found = pyinfluence.FunctionalInfluence(disparity("dp", groups))
    return found.fit(binary, X, two).explain(X, two)


def with_pipeline():
    """The values of a Pipeline, and by what they were found."""
    _, found = pyinfluence.influence(
        pipeline.fit(X, two), X, two, X[:5], two[:5], n_estimators=5, verbose=0,
        return_attributor=True,
    )  # fmt: skip
    return f"by refits ({type(found).__name__})"


def has(package, *names):
    return "yes" if all(hasattr(package, name) for name in names) else "no"


def values_of(package):
    """Which kinds of values have a class."""
    kinds = [k for k in ("Shapley", "Banzhaf") if any(k in n for n in dir(package))]
    return {0: "no", 1: f"partly ({', '.join(kinds)})", 2: "yes"}[len(kinds)]


PYINFLUENCE = {
    "influence functions": lambda: runs(lambda: influence(X)),
    "Shapley values, semivalues": lambda: values_of(pyinfluence),
    "a fitted scikit-learn model": lambda: supports(LogisticRegression(), two),
    "... more than two classes": lambda: supports(LogisticRegression(), three),
    "... MLPClassifier": lambda: supports(MLPClassifier((5,), max_iter=20), two),
    "... inside a Pipeline": with_pipeline,
    "... sample_weight": lambda: takes_weights(
        pyinfluence.InfluenceFunctions.fit, pyinfluence.influence
    ),
    "sparse rows": lambda: runs(lambda: influence(sparse.csr_matrix(X))),
    "a gap between groups": lambda: runs(gap),
    "check against refits": lambda: has(pyinfluence, "LOOInfluence"),
    "uncertainty": lambda: has(pyinfluence, "stability_replicates"),
}

# -- pyDVL -----------------------------------------------------------------------------


def leave_one_out(model, scoring="accuracy", data=X):
    """Values of rows by pyDVL."""
    train, test = (pydvl.Dataset(data[part], two[part]) for part in (~last, last))
    scorer = pydvl.SupervisedScorer(scoring, test, default=0.0, range=(0, 1))
    valuation = pydvl.LOOValuation(pydvl.ModelUtility(model, scorer), progress=False)
    return valuation.fit(train).result


def of_torch():
    """Influence of the rows on themselves, for a network of one layer."""
    rows = torch.tensor(X, dtype=torch.float32), torch.tensor(two[:, None]).float()
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*rows), 50)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    model = DirectInfluence(torch.nn.Linear(4, 1), loss, regularization=0.1)
    return model.fit(batches).influences(*rows, *rows)


def parity(model, X, y):
    p = model.predict_proba(X)[:, 1]
    return abs(p[::2].mean() - p[1::2].mean())


def by_refits(*arguments):
    said = runs(lambda: leave_one_out(*arguments))
    return "by refits" if said == "yes" else said


PYDVL = {
    "influence functions": lambda: runs(of_torch),
    "Shapley values, semivalues": lambda: values_of(pydvl),
    "a fitted scikit-learn model": lambda: runs(
        lambda: DirectInfluence(binary, lambda *_: 0.0, regularization=0.1)
    ),
    "... inside a Pipeline": lambda: by_refits(pipeline),
    "... sample_weight": lambda: takes_weights(pydvl.Dataset, pydvl.ModelUtility),
    "sparse rows": lambda: runs(
        lambda: leave_one_out(binary, "accuracy", sparse.csr_matrix(X))
    ),
    "a gap between groups": lambda: by_refits(binary, parity),
    "uncertainty": lambda: has(pydvl.ValuationResult, "variances", "stderr"),
    "rows that go together": lambda: has(pydvl, "GroupedDataset"),
}

# -- statsmodels -----------------------------------------------------------------------

A = sm.add_constant(X[:, :2])


def glm(rows=A, **weights):
    family = sm.families.Binomial()
    return sm.GLM(two, rows, family=family, **weights)


STATSMODELS = {
    "influence functions": lambda: runs(lambda: glm().fit().get_influence().d_params),
    "... sample_weight: GLM": lambda: runs(
        lambda: glm(freq_weights=np.arange(len(A)) % 2 + 1).fit().get_influence()
    ),
    "... of a penalised GLM": lambda: runs(
        lambda: glm().fit_regularized(alpha=0.1).get_influence()
    ),
    "sparse rows": lambda: runs(lambda: glm(sparse.csr_matrix(A)).fit()),
}

if __name__ == "__main__":
    tables = {"pyinfluence": PYINFLUENCE, "pyDVL": PYDVL, "statsmodels": STATSMODELS}
    for package, table in tables.items():
        print(package, version(package))
        for row, probe in table.items():
            print(f"  {row:<30}{probe()}")
