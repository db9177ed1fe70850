"""A patched model is a plain scikit-learn model: it lives on without skpuma."""

import json
import subprocess
import sys

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skpuma import PumaPatcher
from tests import data

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skpuma.StationarityWarning",
)

# A process in which there is no skpuma.
LOAD = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "skpuma":
            raise ModuleNotFoundError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import joblib, numpy as np, skops.io

said = {}
for name, paths in json.loads(sys.argv[1]).items():
    if paths["model"].endswith(".skops"):
        unknown = skops.io.get_untrusted_types(file=paths["model"])
        assert not [one for one in unknown if "skpuma" in one], unknown
        model = skops.io.load(paths["model"], trusted=unknown)
    else:
        model = joblib.load(paths["model"])
    X = joblib.load(paths["rows"])
    np.save(paths["out"], getattr(model, "predict_proba", model.predict)(X))
    said[name] = type(model).__name__
print(json.dumps([said, "skpuma" in sys.modules]))
"""


def mixed():
    """A DataFrame with a column of strings."""
    X, y = data.blobs()
    X = data.frame(X)
    X["town"] = np.array(["a", "b", "c"])[np.arange(120) % 3]
    return X, y


def plain():
    return data.blobs(k=3)


COLUMNS = make_column_transformer(
    (OneHotEncoder(), ["town"]), remainder=StandardScaler()
)
MODELS = {
    "logistic": (LogisticRegression(), plain),
    "ridge": (Ridge(), plain),
    "sgd": (SGDClassifier(loss="log_loss", random_state=0), plain),
    "network": (MLPClassifier((4,), max_iter=30, random_state=0), plain),
    "pipeline": (
        make_pipeline(
            COLUMNS, MLPRegressor(hidden_layer_sizes=(4,), max_iter=30, random_state=0)
        ),
        mixed,
    ),
    "search": (GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2), plain),
}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What a process without skpuma says of saved models, and the models."""
    folder = tmp_path_factory.mktemp("models")
    asked, models = {}, {}
    for name, (estimator, problem) in MODELS.items():
        X, y = problem()
        patcher = PumaPatcher(estimator, delta=np.inf).fit(X, y)
        before = patcher.estimator_
        model = patcher.forget(X, y, data.some(120, 0.1)).estimator_
        models[name] = before, model, X
        for suffix, dump in (("joblib", joblib.dump), ("skops", skops.io.dump)):
            one = f"{name}.{suffix}"
            asked[one] = {
                "model": str(folder / one),
                "rows": str(folder / f"{one}.rows"),
                "out": str(folder / f"{one}.npy"),
            }
            dump(model, asked[one]["model"])
            joblib.dump(X, asked[one]["rows"])
    run = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(asked)],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    said, has_skpuma = json.loads(run.stdout)
    assert has_skpuma is False
    found = {one: (said[one], np.load(paths["out"])) for one, paths in asked.items()}
    return found, models


@pytest.mark.parametrize("suffix", ["joblib", "skops"])
@pytest.mark.parametrize("name", MODELS)
def test_a_patched_model_predicts_the_same_without_skpuma(elsewhere, name, suffix):
    found, models = elsewhere
    before, model, X = models[name]
    kind, predicted = found[f"{name}.{suffix}"]
    assert kind == type(model).__name__ == type(MODELS[name][0]).__name__
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    np.testing.assert_array_equal(predicted, getattr(model, method)(X))
    assert not np.array_equal(predicted, getattr(before, method)(X))


def test_there_is_no_skpuma_where_it_is_blocked(tmp_path):
    code = LOAD.partition("import joblib")[0] + "import skpuma"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode != 0
    assert "skpuma is blocked" in run.stderr
