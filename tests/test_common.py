"""scikit-learn's own checks on the public estimators, and those that it leaves out."""

import inspect

import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpuma import PumaDebugger, PumaPatcher, PumaPatcherCV, PumaValuator

# Enough penalty for a single optimum, which a row of weight 2 and two rows both reach.
NETWORK = MLPClassifier(
    hidden_layer_sizes=(4,),
    activation="tanh",
    solver="lbfgs",
    alpha=10.0,
    tol=1e-10,
    max_iter=2000,
    random_state=0,
)
BASES = {
    "default": None,
    "ridge": Ridge(),
    "network": NETWORK,
    "least squares": LinearRegression(),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
}
PUBLIC = [
    cls(base, random_state=0)
    for cls in (PumaValuator, PumaPatcher)
    for base in BASES.values()
]
# Trees take half a second in each of some sixty checks: once is enough.
PUBLIC += [
    PumaDebugger(base, random_state=0)
    if base is None
    else PumaDebugger(base, views=("model", "neighbors"), random_state=0)
    for base in BASES.values()
]
# Every fit is that of four patchers.
PUBLIC += [
    PumaPatcherCV(BASES[name], cv=3, random_state=0)
    for name in ("default", "ridge", "pipeline")
]
TRANSFORMERS = [
    pytest.param(cls(base, random_state=0), id=f"{cls.__name__}, {name}")
    for cls in (PumaValuator, PumaPatcher)
    for name, base in BASES.items()
]

# `xfail_strict` came with scikit-learn 1.8; before it, a stale excuse goes unnoticed.
HAS_STRICT = "xfail_strict" in inspect.signature(parametrize_with_checks).parameters
STRICT = {"xfail_strict": True} if HAS_STRICT else {}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def expected_failures(estimator):
    """Checks that cannot pass, and the rule of scikit-learn that makes it so."""
    if not isinstance(estimator.estimator, Pipeline):
        return {}
    reason = (
        "Pipeline hands sample_weight to the step that is named, so that the scaler "
        "standardises by rows, not by weights"
    )
    return {"check_sample_weight_equivalence_on_dense_data": reason}


@parametrize_with_checks(PUBLIC, expected_failed_checks=expected_failures, **STRICT)
def test_common_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", TRANSFORMERS)
@pytest.mark.parametrize(
    "check",
    [
        "check_get_feature_names_out_error",
        "check_global_output_transform_pandas",
        "check_global_set_output_transform_polars",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_set_output_transform_polars",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
    ],
)
def test_output_of_transformers(check, estimator):
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


@pytest.mark.parametrize("estimator", PUBLIC, ids=str)
def test_columns_are_those_of_the_fit(estimator):
    name = type(estimator).__name__
    estimator_checks.check_dataframe_column_names_consistency(name, estimator)
