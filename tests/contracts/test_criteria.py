"""Every line of `skpuma.criteria.CRITERIA`: derivatives, weights, groups, values."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor

from skpuma.checks import check_criterion
from skpuma.criteria import (
    CRITERIA,
    BrierScore,
    CalibrationError,
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    LogLoss,
    SquaredError,
    measures_of,
)
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multilabel import MultilabelLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.losses._poisson import PoissonLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.utils._registry import load
from tests import naive
from tests.contracts import problems

# Constructor arguments beyond the default ones that deserve the contract, too.
VARIANTS = {
    "calibration_error": [
        {"binning": "fixed"},
        {"binning": "soft"},
        {"binning": "soft", "n_bins": 5, "temperature": 0.1},
        {"n_bins": 1},
    ],
    "adversarial_loss": [{"epsilon": 0.0}],
    "equalized_odds": [{"agg": "mean"}],
    "margin": [{"temperature": 0.2}],
    "mmce": [{"width": 0.02}, {"width": 5.0}],
    "pinball": [{"quantile": 0.9}],
    "roc_auc": [{"temperature": 1.0}],
    "worst_group_loss": [{"temperature": 0.3}],
}
LABELS = "two labels"
GROUPS = {0: None, 2: np.array(["f", "m"]), 3: np.array(["a", "b", "c"])}


def make(name, **arguments):
    try:
        return load(CRITERIA[name])(**arguments)
    except TypeError as error:
        pytest.fail(
            f"A criterion of the table needs no arguments, {name} does: {error}"
        )


def cases():
    for name in sorted(CRITERIA):
        for arguments in ({}, *VARIANTS.get(name, [])):
            criterion = make(name, **arguments)
            outputs = {
                "classification": (1, 3),
                "regression": (-1, -2),
                "multilabel": (LABELS,),
            }
            for task in criterion.tasks:
                for k in outputs[task]:
                    for n_groups in (2, 3) if criterion.needs_groups else (0, 2):
                        yield name, arguments, k, n_groups


def raw_and_targets(k, n=40, seed=0):
    """Raw outputs and targets; a negative k is a regression with -k outputs."""
    rng = np.random.default_rng(seed)
    if k == LABELS:
        return 1.5 * rng.standard_normal((n, 2)), rng.integers(0, 2, (n, 2)) * 1.0
    z = 1.5 * rng.standard_normal((n, abs(k)))
    if k < 0:
        return z, rng.standard_normal(z.shape)
    return z, rng.integers(0, max(k, 2), n)


def groups_of(n_groups, n=40, seed=5):
    if not n_groups:
        return None
    return GROUPS[n_groups][np.random.default_rng(seed).integers(0, n_groups, n)]


def probabilities(z):
    p = expit(z)
    return np.hstack([1 - p, p]) if z.shape[1] == 1 else softmax(z, axis=1)


def bound(criterion, k):
    """The criterion with the loss that its raw outputs come from."""
    return criterion.for_loss(loss_of(k))


def loss_of(k):
    if k == LABELS:
        return MultilabelLoss()
    if k < 0:
        return SquaredLoss()
    return BinaryLogLoss() if k == 1 else MultinomialLogLoss()


# -- the contract ----------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(("name", "arguments", "k", "n_groups"), list(cases()), ids=str)
def test_contract(name, arguments, k, n_groups, weighted):
    z, y = raw_and_targets(k)
    weight = problems.weights(len(z)) if weighted else None
    criterion = make(name, **arguments)
    check_criterion(
        criterion,
        z,
        y,
        sample_weight=weight,
        groups=groups_of(n_groups),
        loss=loss_of(k) if k == LABELS else None,
    )
    assert criterion == make(name, **arguments)
    assert hash(criterion) == hash(make(name, **arguments))
    assert clone(criterion) == criterion
    assert all(criterion.get_params()[key] == arguments[key] for key in arguments)


@pytest.mark.parametrize("name", ["auto", "pinball", "squared_error"])
def test_contract_under_a_log_link(name):
    rng = np.random.default_rng(0)
    z, y = 0.5 * rng.standard_normal((30, 2)), rng.poisson(1.0, (30, 2)).astype(float)
    check_criterion(name, z, y, loss=PoissonLoss())
    criterion = make(name).for_loss(PoissonLoss())
    assert criterion.value(z, y) != make(name).for_loss(
        bound(make(name), -1).loss
    ).value(z, y)


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_a_cost_is_a_mean_over_weights(name):
    criterion = make(name)
    k = 3 if "classification" in criterion.tasks else -2
    z, y = raw_and_targets(k)
    weight, groups = problems.weights(len(z)), groups_of(3)
    criterion = bound(criterion, k)
    one = criterion.value(z, y, sample_weight=weight, groups=groups)
    many = criterion.value(z, y, sample_weight=7.0 * weight, groups=groups)
    assert one == pytest.approx(many, rel=1e-12)
    assert one >= 0.0


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_a_criterion_of_another_task_is_refused(name):
    criterion = make(name)
    tasks = (("classification", 1), ("regression", -1), ("multilabel", LABELS))
    for task, k in tasks:
        if task not in criterion.tasks:
            with pytest.raises(ValueError, match=f"this model is for {task}"):
                bound(criterion, k)
        else:
            assert bound(criterion, k).loss is not None
    assert criterion.loss is None


# -- values ----------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", ["auto", "log_loss"])
def test_log_loss_is_that_of_sklearn(name, k, weighted):
    z, y = raw_and_targets(k)
    weight = problems.weights(len(z)) if weighted else None
    expected = metrics.log_loss(y, probabilities(z), sample_weight=weight)
    criterion = bound(make(name), k)
    assert criterion.value(z, y, sample_weight=weight) == pytest.approx(expected)
    assert criterion.name == "log_loss"


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
def test_brier_score_is_that_of_sklearn(weighted):
    weight = problems.weights(40) if weighted else None
    z, y = raw_and_targets(1)
    expected = metrics.brier_score_loss(y, expit(z[:, 0]), sample_weight=weight)
    ours = bound(BrierScore(), 1).value(z, y, sample_weight=weight)
    assert ours == pytest.approx(expected, rel=1e-12)
    z, y = raw_and_targets(3)
    error = np.square(probabilities(z) - np.eye(3)[y]).sum(axis=1)
    ours = bound(BrierScore(), 3).value(z, y, sample_weight=weight)
    assert ours == pytest.approx(np.average(error, weights=weight), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("k", [1, 2])
def test_squared_error_is_that_of_sklearn(k, weighted):
    z, y = raw_and_targets(-k)
    weight = problems.weights(len(z)) if weighted else None
    expected = k * metrics.mean_squared_error(y, z, sample_weight=weight)
    ours = bound(SquaredError(), -k).value(z, y, sample_weight=weight)
    assert ours == pytest.approx(expected, rel=1e-12)
    training = bound(make("auto"), -k).value(z, y, sample_weight=weight)
    assert training == pytest.approx(expected / 2.0, rel=1e-12)


def confidence_and_outcome(z, y):
    p = probabilities(z)
    if z.shape[1] == 1:
        return p[:, 1], y.astype(float)
    return p.max(axis=1), (p.argmax(axis=1) == y).astype(float)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("n_bins", [1, 4, 15])
def test_fixed_bins_are_the_hard_calibration_error(n_bins, k, weighted):
    z, y = raw_and_targets(k)
    weight = problems.weights(len(z)) if weighted else np.ones(len(z))
    sums = naive.bin_sums(*confidence_and_outcome(z, y), weight, n_bins)
    expected = np.abs(sums[:, 1] - sums[:, 2]).sum() / weight.sum()
    criterion = bound(CalibrationError(n_bins=n_bins, binning="fixed"), k)
    ours = criterion.value(z, y, sample_weight=weight)
    assert ours == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_soft_bins_are_the_formula_and_tend_to_the_fixed_ones(k):
    z, y = raw_and_targets(k)
    confidence, outcome = confidence_and_outcome(z, y)
    total = 0.0
    for b in range(15):
        closeness = -np.square((confidence[:, None] - (np.arange(15) + 0.5) / 15) * 15)
        total += abs(softmax(closeness / 0.5, axis=1)[:, b] @ (outcome - confidence))

    def value(**arguments):
        return bound(CalibrationError(n_bins=15, **arguments), k).value(z, y)

    ours = value(binning="soft", temperature=0.5)
    assert ours == pytest.approx(total / 40, rel=1e-12)
    nearly_hard = value(binning="soft", temperature=1e-4)
    assert nearly_hard == pytest.approx(value(binning="fixed"), rel=1e-6)


def mean_of(p, column, selected, weight):
    """Weighted mean probability of a class over some rows, None without rows."""
    if not weight[selected].sum() > 0:
        return None
    return (weight * p[:, column])[selected].sum() / weight[selected].sum()


def gap_of(p, column, condition, masks, weight):
    rates = [mean_of(p, column, condition & mask, weight) for mask in masks]
    rates = [rate for rate in rates if rate is not None]
    return max(rates) - min(rates)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("k", [1, 3])
def test_gaps_between_groups_are_differences_of_means(k, n_groups, weighted):
    z, y = raw_and_targets(k, n=60)
    groups = groups_of(n_groups, n=60)
    weight = problems.weights(60) if weighted else np.ones(60)
    p, everyone = probabilities(z), np.ones(60, dtype=bool)
    masks = [groups == g for g in GROUPS[n_groups]]
    columns = [1] if k == 1 else [0, 1, 2]
    parity = [gap_of(p, c, everyone, masks, weight) for c in columns]
    true = [gap_of(p, c, y == c, masks, weight) for c in columns]
    false = [gap_of(p, c, y != c, masks, weight) for c in columns]
    for criterion, expected in (
        (DemographicParity(), np.mean(parity)),
        (EqualOpportunity(), np.mean(true)),
        (EqualizedOdds(), max(true + false)),
        (EqualizedOdds(agg="mean"), np.mean(true + false)),
    ):
        ours = bound(criterion, k).value(z, y, sample_weight=weight, groups=groups)
        assert ours == pytest.approx(expected, rel=1e-12), criterion


def test_gaps_without_two_groups_are_refused():
    z, y = raw_and_targets(1)
    groups = np.where(y == 1, "a", "b")
    criterion = bound(EqualOpportunity(), 1)
    with pytest.raises(ValueError, match="fewer than two groups"):
        criterion.value(z, y, groups=groups)


@pytest.mark.parametrize(
    "arguments",
    [{"binning": "hard"}, {"n_bins": 0}, {"temperature": 0.0}, {"by": "row"}],
    ids=str,
)
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError):
        CalibrationError(**arguments)
    with pytest.raises(TypeError, match="n_bins must be an int"):
        CalibrationError("x")
    with pytest.raises(ValueError, match="worst_case"):
        EqualizedOdds(agg="max")


# -- measures: a criterion on rows -----------------------------------------------------


def fitted(k=3, n=60):
    X = problems.rows(n)
    y = problems.classes(X, max(k, 2))
    objective = problems.objective_of(LogisticRegression().fit(X, y), X, y)
    return objective.model, objective.X, objective.y


def check_gradient(measure, model):
    gradient = measure.gradient(model)
    for v in np.random.default_rng(0).standard_normal((3, model.n_parameters)):
        plus, minus = (
            measure.value(model.at(model.theta + step * v)) for step in (1e-6, -1e-6)
        )
        np.testing.assert_allclose(
            gradient @ v, (plus - minus) / 2e-6, atol=1e-6 * np.abs(gradient).max()
        )


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize(
    "name", sorted(name for name in CRITERIA if "classification" in make(name).tasks)
)
def test_one_measure_per_class(name, k):
    model, X, y = fitted(k)
    weight, groups = problems.weights(len(y)), groups_of(2, len(y))
    measures = measures_of(make(name, by="class"), model, X, y, weight, groups)
    whole = make(name).for_loss(model.loss)
    z = model.raw(whole.inputs(model, X, y) if hasattr(whole, "inputs") else X)
    labels = [f"[class={label}]" for label in model.classes]
    if name == "equal_opportunity" and k == 2:
        # Among the rows of the negative class nobody is a true positive.
        with pytest.raises(ValueError, match="fewer than two groups"):
            measures[0].value(model)
        measures, labels = measures[1:], labels[1:]
    codes = [list(model.classes).index(label[7:-1]) for label in labels]
    for measure, label, code in zip(measures, labels, codes, strict=True):
        part = y == code
        if name == "roc_auc":
            # Within a class there is nothing to rank: each one against the rest.
            score = z if k == 2 else z[:, [code]]
            one = y if k == 2 else part.astype(int)
            expected = bound(make(name), 1).value(score, one, sample_weight=weight)
        else:
            expected = whole.value(
                z[part], y[part], sample_weight=weight[part], groups=groups[part]
            )
        assert measure.name == whole.name + label
        assert measure.value(model) == pytest.approx(expected, rel=1e-12)
        check_gradient(measure, model)


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_one_measure_per_group(name, n_groups):
    if "classification" in make(name).tasks:
        model, X, y = fitted()
    else:
        X = problems.rows(60)
        objective = problems.objective_of(
            Ridge().fit(X, problems.numbers(X)), X, problems.numbers(X)
        )
        model, X, y = objective.model, objective.X, objective.y
    weight, groups = problems.weights(len(y)), groups_of(n_groups, len(y))
    measures = measures_of(make(name, by="group"), model, X, y, weight, groups)
    whole = make(name).for_loss(model.loss)
    z = model.raw(whole.inputs(model, X, y) if hasattr(whole, "inputs") else X)
    for measure, g in zip(measures, GROUPS[n_groups], strict=True):
        part = groups == g
        if whole.needs_groups:
            # One group against all the others.
            against = np.where(part, "this", "rest")
            expected = whole.value(z, y, sample_weight=weight, groups=against)
        else:
            expected = whole.value(z[part], y[part], sample_weight=weight[part])
        assert measure.name == f"{whole.name}[group={g}]"
        assert measure.value(model) == pytest.approx(expected, rel=1e-12)
        check_gradient(measure, model)


def test_classes_and_groups_without_weight_are_left_out():
    model, X, y = fitted()
    groups = groups_of(3, len(y))
    weight = np.where((y == 1) | (groups == "b"), 0.0, 1.0)
    for by, names in (("class", "ape cat"), ("group", "a c")):
        measures = measures_of(LogLoss(by=by), model, X, y, weight, groups)
        expected = [f"log_loss[{by}={name}]" for name in names.split()]
        assert [measure.name for measure in measures] == expected


def test_several_criteria_keep_their_order_and_units():
    model, X, y = fitted()
    criteria = ["log_loss", "calibration_error", BrierScore(by="class")]
    measures = measures_of(criteria, model, X, y, np.ones(len(y)))
    assert [m.name.partition("[")[0] for m in measures] == [
        "log_loss",
        "calibration_error",
        *3 * ["brier_score"],
    ]
    assert [m.bounded for m in measures] == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("criteria", "error", "match"),
    [
        ("no_such", ValueError, "Unknown criterion 'no_such'"),
        ([], ValueError, "empty list"),
        (["log_loss", "auto"], ValueError, "repeated names"),
        (object(), TypeError, "value and grad_raw"),
        ("demographic_parity", ValueError, "sensitive_features"),
        (LogLoss(by="group"), ValueError, "sensitive_features"),
        ("squared_error", ValueError, "this model is for classification"),
    ],
    ids=["name", "empty", "repeated", "object", "groups", "by group", "task"],
)
def test_measures_that_are_refused(criteria, error, match):
    model, X, y = fitted()
    with pytest.raises(error, match=match):
        measures_of(criteria, model, X, y, np.ones(len(y)))


def test_a_single_group_and_classes_of_a_regressor_are_refused():
    model, X, y = fitted()
    one = np.full(len(y), "a")
    with pytest.raises(ValueError, match="single value"):
        measures_of("equalized_odds", model, X, y, np.ones(len(y)), one)
    two = np.where(np.arange(len(y)) < 9, "b", one)
    weight = np.where(two == "b", 0.0, 1.0)
    with pytest.raises(ValueError, match="single value"):
        measures_of("equalized_odds", model, X, y, weight, two)
    X = problems.rows()
    ridge = problems.objective_of(
        Ridge().fit(X, problems.numbers(X)), X, problems.numbers(X)
    )
    with pytest.raises(ValueError, match="needs a classifier"):
        measures_of(make("auto", by="class"), ridge.model, X, ridge.y, np.ones(len(X)))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("network", [False, True])
def test_mover_measures_at_moved_parameters(network):
    X = problems.rows()
    y = problems.numbers(X)
    estimator = (
        MLPRegressor(hidden_layer_sizes=2, solver="lbfgs") if network else Ridge()
    )
    objective = problems.objective_of(estimator.fit(X, y), X, y)
    model = objective.model
    (measure,) = measures_of("auto", model, X, objective.y, objective.weight)
    moves = np.random.default_rng(0).standard_normal((4, model.n_parameters))
    expected = [measure.value(model.at(model.theta + move)) for move in moves]
    np.testing.assert_allclose(measure.mover(model)(moves), expected, rtol=1e-12)


class ConfidentRows:
    """A criterion of the user's own: the mean of tanh(z)^2, and no base class."""

    def value(self, z, y, *, sample_weight=None, groups=None):
        return float(np.average(np.tanh(z[:, 0]) ** 2, weights=sample_weight))

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = np.ones(len(z)) if sample_weight is None else sample_weight
        slope = np.zeros_like(z)
        slope[:, 0] = 2.0 * np.tanh(z[:, 0]) * (1.0 - np.tanh(z[:, 0]) ** 2)
        return slope * (weight / weight.sum())[:, None]


def test_a_criterion_of_the_users_own():
    check_criterion(ConfidentRows(), *raw_and_targets(3))
    model, X, y = fitted()
    (measure,) = measures_of(ConfidentRows(), model, X, y, np.ones(len(y)))
    assert measure.name == "ConfidentRows"
    assert not measure.bounded
    check_gradient(measure, model)
