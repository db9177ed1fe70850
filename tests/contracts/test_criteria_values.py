"""Criteria against independent truths: naive loops, scikit-learn's metrics, limits."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit
from sklearn import metrics
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier

from skpuma.checks import check_criterion
from skpuma.criteria import (
    MMCE,
    AdversarialLoss,
    BrierScore,
    CalibrationError,
    DemographicParity,
    EqualizedOdds,
    LogLoss,
    MarginLoss,
    PinballLoss,
    RocAucLoss,
    SquaredError,
    TrainingLoss,
    WorstGroupLoss,
    measures_of,
)
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multilabel import MultilabelLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.losses._one_vs_rest import OneVsRestLoss
from skpuma.losses._scaled_huber import ScaledHuberLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.losses._squared_hinge import SquaredHingeLoss
from tests.contracts import problems

WEIGHTS = pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])


def outputs(k, n=60, seed=0):
    """Raw outputs, class positions, and the log-loss they belong to."""
    rng = np.random.default_rng(seed)
    z = 1.5 * rng.standard_normal((n, k))
    loss = BinaryLogLoss() if k == 1 else MultinomialLogLoss()
    return z, rng.integers(0, max(k, 2), n), loss


def weights(weighted, n):
    return problems.weights(n) if weighted else np.ones(n)


# -- worst group -----------------------------------------------------------------------


def group_means(loss, z, y, groups, weight):
    out = []
    for g in np.unique(groups):
        rows = [i for i in range(len(z)) if groups[i] == g and weight[i] > 0]
        if rows:
            each = [loss.value(z[[i]], y[[i]])[0] for i in rows]
            out.append(np.average(each, weights=weight[rows]))
    return np.array(out)


@WEIGHTS
@pytest.mark.parametrize("k", [1, 3])
def test_worst_group_is_the_largest_mean_and_soft_tends_to_it(k, weighted):
    z, y, loss = outputs(k)
    groups = np.random.default_rng(1).choice(["a", "b", "c", "empty"], len(z))
    weight = np.where(groups == "empty", 0.0, weights(weighted, len(z)))
    means = group_means(loss, z, y, groups, weight)

    def value(temperature=None):
        criterion = WorstGroupLoss(temperature).for_loss(loss)
        return criterion.value(z, y, sample_weight=weight, groups=groups)

    assert value() == pytest.approx(means.max(), rel=1e-12)
    softened = 0.3 * np.log(np.mean(np.exp(means / 0.3)))
    assert value(0.3) == pytest.approx(softened, rel=1e-12)
    assert means.mean() < value(0.3) < value(0.03) < value()
    assert value(1e-5) == pytest.approx(value(), rel=1e-3)
    one = WorstGroupLoss().for_loss(loss).against("b")
    against = group_means(loss, z, y, groups == "b", weight)
    ours = one.value(z, y, sample_weight=weight, groups=groups)
    assert ours == pytest.approx(against.max(), rel=1e-12)
    with pytest.raises(ValueError, match="sensitive feature"):
        WorstGroupLoss().for_loss(loss).value(z, y)


def test_worst_group_uses_the_loss_without_class_weights():
    X = problems.rows(60)
    y = problems.classes(X, 2)
    estimator = LogisticRegression(class_weight={"no": 1.0, "yes": 7.0}).fit(X, y)
    objective = problems.objective_of(estimator, X, y)
    groups = np.arange(60) % 2
    measures = measures_of(
        [WorstGroupLoss(), AdversarialLoss(0.0)],
        objective.model,
        objective.X,
        objective.y,
        np.ones(60),
        groups,
    )
    p = estimator.predict_proba(X)
    each = -np.log(p[np.arange(60), objective.y])
    expected = max(each[groups == 0].mean(), each[groups == 1].mean()), each.mean()
    for measure, value in zip(measures, expected, strict=True):
        assert measure.value(objective.model) == pytest.approx(value, rel=1e-10)


# -- adversary -------------------------------------------------------------------------


def adversary(estimator, task="classification"):
    X = problems.rows(50, d=4)
    if task == "regression":
        y = problems.numbers(X)
    else:
        y = problems.classes(X, 3 if task == "multiclass" else 2)
    objective = problems.objective_of(estimator.fit(X, y), X, y)
    return objective.model, objective.X, objective.y


LINEAR = [
    (LogisticRegression(), "classification"),
    (LogisticRegression(), "multiclass"),
    (Ridge(), "regression"),
]
NETWORK = MLPClassifier((5,), activation="tanh", solver="lbfgs", alpha=0.1)


@pytest.mark.parametrize(("estimator", "task"), LINEAR, ids=str)
def test_adversary_of_a_linear_model_is_the_sign_of_its_slope(estimator, task):
    model, X, y = adversary(clone(estimator), task)
    weight = problems.weights(len(y))
    (plain,) = measures_of("auto", model, X, y, weight)
    values = []
    for epsilon in (0.0, 0.1, 0.5):
        criterion = AdversarialLoss(epsilon)
        (measure,) = measures_of(criterion, model, X, y, weight)
        values.append(measure.value(model))
        shifted = measure.criterion.inputs(model, X, y)
        # The change of each row's loss along each column, measured.
        for d in range(X.shape[1]):
            step = 1e-6 * np.eye(X.shape[1])[d]
            rise = model.loss.value(model.raw(X + step), y)
            rise = rise - model.loss.value(model.raw(X - step), y)
            sure = np.abs(rise) > 1e-8
            moved = (shifted - X)[sure, d]
            np.testing.assert_allclose(moved, epsilon * np.sign(rise[sure]), atol=1e-12)
        each = model.loss.value(model.raw(shifted), y)
        assert values[-1] == pytest.approx(np.average(each, weights=weight), rel=1e-12)
    assert values[0] == plain.value(model)
    assert values[0] < values[1] < values[2]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("estimator", "task"), [*LINEAR, (NETWORK, "classification")])
def test_slope_of_the_adversary_with_its_shift_held_fixed(estimator, task):
    model, X, y = adversary(clone(estimator), task)
    weight = problems.weights(len(y))
    (measure,) = measures_of(AdversarialLoss(0.3), model, X, y, weight)
    shifted = measure.criterion.inputs(model, X, y)
    gradient = measure.gradient(model)

    def fixed(theta):
        each = model.loss.value(model.at(theta).raw(shifted), y)
        return np.average(each, weights=weight)

    for v in np.random.default_rng(0).standard_normal((5, model.n_parameters)):
        plus, minus = (fixed(model.theta + h * v) for h in (1e-5, -1e-5))
        slope = (plus - minus) / 2e-5
        assert gradient @ v == pytest.approx(slope, rel=1e-6, abs=1e-9)
    # Values follow the adversary, at any parameters.
    moves = 0.1 * np.random.default_rng(1).standard_normal((3, model.n_parameters))
    for move, value in zip(moves, measure.mover(model)(moves), strict=True):
        other = model.at(model.theta + move)
        rows = measure.criterion.inputs(other, X, y)
        each = other.loss.value(other.raw(rows), y)
        assert value == pytest.approx(np.average(each, weights=weight), rel=1e-12)


def test_adversary_refuses_sparse_rows():
    model, X, y = adversary(LogisticRegression())
    sparse_rows = sparse.csr_matrix(X)
    (measure,) = measures_of("adversarial_loss", model, sparse_rows, y, np.ones(len(y)))
    for method in (measure.value, measure.gradient):
        with pytest.raises(ValueError, match="dense X_val"):
            method(model)


# -- kernel calibration ----------------------------------------------------------------


@WEIGHTS
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("width", [0.002, 0.05, 0.4, 10.0])
def test_mmce_is_the_double_sum(width, k, weighted):
    z, y, loss = outputs(k)
    z[10:20] = z[0]  # ties
    weight = weights(weighted, len(z))
    p = loss.predict(z)
    confidence = p[:, 1] if k == 1 else p.max(axis=1)
    outcome = y if k == 1 else (p.argmax(axis=1) == y)
    total = 0.0
    for i in range(len(z)):
        for j in range(len(z)):
            errors = (outcome[i] - confidence[i]) * (outcome[j] - confidence[j])
            kernel = np.exp(-abs(confidence[i] - confidence[j]) / width)
            total += weight[i] * weight[j] * errors * kernel
    criterion = MMCE(width).for_loss(loss)
    ours = criterion.value(z, y, sample_weight=weight)
    assert ours == pytest.approx(np.sqrt(total) / weight.sum(), rel=1e-9)
    slopes = criterion.grad_raw(z, y, sample_weight=weight)
    assert np.isfinite(slopes).all()


def test_mmce_of_a_perfect_prediction_is_zero_and_flat():
    z, y, loss = outputs(1)
    certain = np.where(y == 1, 800.0, -800.0)[:, None]
    criterion = MMCE().for_loss(loss)
    assert criterion.value(certain, y) == 0.0
    assert not criterion.grad_raw(certain, y).any()


# -- error rate and ranking ------------------------------------------------------------


@WEIGHTS
@pytest.mark.parametrize("k", [1, 3])
def test_margin_loss_tends_to_the_error_rate(k, weighted):
    z, y, loss = outputs(k)
    weight = weights(weighted, len(z))
    criterion = MarginLoss(temperature=1e-6).for_loss(loss)
    accuracy = metrics.accuracy_score(y, loss.decide(z), sample_weight=weight)
    ours = criterion.value(z, y, sample_weight=weight)
    assert ours == pytest.approx(1.0 - accuracy, abs=1e-12)
    total = 0.0
    for i in range(len(z)):
        if k == 1:
            margin = z[i, 0] if y[i] == 1 else -z[i, 0]
        else:
            margin = z[i, y[i]] - max(z[i, c] for c in range(k) if c != y[i])
        total += weight[i] / (1.0 + np.exp(margin / 0.7))
    soft = MarginLoss(0.7).for_loss(loss).value(z, y, sample_weight=weight)
    assert soft == pytest.approx(total / weight.sum(), rel=1e-12)


def test_margin_loss_of_a_logistic_model_is_the_chance_of_a_wrong_draw():
    z, y, loss = outputs(1)
    wrong = 1.0 - loss.predict(z)[np.arange(len(z)), y]
    assert MarginLoss().for_loss(loss).value(z, y) == pytest.approx(wrong.mean())


@WEIGHTS
@pytest.mark.parametrize("k", [1, 3])
def test_roc_auc_tends_to_that_of_sklearn(k, weighted):
    z, y, loss = outputs(k, n=300)
    weight = weights(weighted, len(z))
    areas = [
        metrics.roc_auc_score(y == c, z[:, 0 if k == 1 else c], sample_weight=weight)
        for c in ([1] if k == 1 else range(k))
    ]
    ours = RocAucLoss(1e-6).for_loss(loss).value(z, y, sample_weight=weight)
    assert ours == pytest.approx(1.0 - np.mean(areas), abs=1e-9)


@WEIGHTS
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_roc_auc_is_the_double_sum(temperature, k, weighted):
    z, y, loss = outputs(k)
    weight = weights(weighted, len(z))
    areas = []
    for c in [1] if k == 1 else range(k):
        score, total, area = z[:, 0 if k == 1 else c], 0.0, 0.0
        for i in np.flatnonzero(y == c):
            for j in np.flatnonzero(y != c):
                pair = weight[i] * weight[j]
                area += pair * expit((score[j] - score[i]) / temperature)
                total += pair
        areas.append(area / total)
    criterion = RocAucLoss(temperature).for_loss(loss)
    ours = criterion.value(z, y, sample_weight=weight)
    assert ours == pytest.approx(np.mean(areas), rel=1e-12)


@pytest.mark.parametrize("temperature", [1e-3, 0.1, 3.0])
def test_roc_auc_of_many_rows_in_blocks(temperature):
    # Several blocks in both directions, and a window between saturated pairs.
    z, y, loss = outputs(1, n=6000)
    criterion = RocAucLoss(temperature).for_loss(loss)
    tracemalloc.start()
    value, slope = criterion.value(z, y), criterion.grad_raw(z, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24e6  # all pairs would take 72 MB at once
    high, low = z[y == 1], z[y == 0].T
    wrong = expit((low - high) / temperature)
    assert value == pytest.approx(wrong.mean(), rel=1e-12)
    steep = wrong * (1.0 - wrong) / temperature / wrong.size
    np.testing.assert_allclose(slope[y == 1, 0], -steep.sum(axis=1), atol=1e-16)
    np.testing.assert_allclose(slope[y == 0, 0], steep.sum(axis=0), atol=1e-16)


def test_roc_auc_leaves_out_classes_without_pairs_and_needs_one():
    z, y, loss = outputs(3)
    seen = y != 2
    part = RocAucLoss().for_loss(loss)
    two = [part.of_class(c).value(z[seen], y[seen]) for c in (0, 1)]
    assert part.value(z[seen], y[seen]) == pytest.approx(np.mean(two))
    with pytest.raises(ValueError, match="single class"):
        part.value(z[y == 1], y[y == 1])


# -- regression ------------------------------------------------------------------------


@WEIGHTS
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_pinball_is_that_of_sklearn_summed_over_outputs(quantile, k, weighted):
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((2, 40, k))
    weight = weights(weighted, 40)
    expected = k * metrics.mean_pinball_loss(y, z, alpha=quantile, sample_weight=weight)
    criterion = PinballLoss(quantile).for_loss(SquaredLoss())
    ours = criterion.value(z, y, sample_weight=weight)
    assert ours == pytest.approx(expected, rel=1e-12)
    assert not criterion.grad_raw(y, y).any()


# -- losses whose raw outputs are not the predictions ----------------------------------


@pytest.mark.parametrize("name", ["squared_error", "pinball", "auto"])
def test_criteria_of_a_loss_with_more_raw_outputs_than_predictions(name):
    rng = np.random.default_rng(0)
    z = np.column_stack([rng.standard_normal(30), rng.uniform(0.5, 2.0, 30)])
    y = rng.standard_normal((30, 1))
    check_criterion(name, z, y, loss=ScaledHuberLoss())
    squared = SquaredError().for_loss(ScaledHuberLoss()).value(z, y)
    assert squared == pytest.approx(metrics.mean_squared_error(y, z[:, :1]))
    pinball = PinballLoss().for_loss(ScaledHuberLoss()).value(z, y)
    assert pinball == pytest.approx(metrics.mean_absolute_error(y, z[:, :1]) / 2.0)


CLASSIFICATION = [
    "auto",
    "brier_score",
    "calibration_error",
    "demographic_parity",
    "log_loss",
    "margin",
    "mmce",
    "roc_auc",
    "worst_group_loss",
]


@pytest.mark.parametrize("name", CLASSIFICATION)
@pytest.mark.parametrize(
    "loss",
    [SquaredHingeLoss(), OneVsRestLoss(SquaredHingeLoss()), OneVsRestLoss()],
    ids=str,
)
def test_criteria_of_losses_that_are_no_likelihoods(loss, name):
    z, y, _ = outputs(1 if isinstance(loss, SquaredHingeLoss) else 3)
    groups = np.arange(len(z)) % 2
    # Off the kinks of the clipped probabilities at |z| = 1, where logs are steep, too.
    z = np.where(np.abs(np.abs(z) - 1.0) < 0.1, 0.5 * z, z)
    check_criterion(name, z, y, groups=groups, loss=loss)


@pytest.mark.parametrize(
    "loss", [SquaredHingeLoss(), OneVsRestLoss(SquaredHingeLoss()), OneVsRestLoss()]
)
def test_log_loss_of_other_losses_is_that_of_their_probabilities(loss):
    z, y, _ = outputs(1 if isinstance(loss, SquaredHingeLoss) else 3)
    z = np.clip(z, -0.9, 0.9)
    criterion = LogLoss().for_loss(loss)
    expected = metrics.log_loss(y, loss.predict(z))
    assert criterion.value(z, y) == pytest.approx(expected, rel=1e-10)
    assert criterion.value(z, y) != pytest.approx(loss.value(z, y).mean(), rel=1e-2)
    assert TrainingLoss().for_loss(loss).name == "training_loss"
    # A probability of zero counts as 2e-16, and has no slope.
    z, y = np.array([[2.0], [0.3]]), np.array([0, 0])
    criterion = LogLoss().for_loss(SquaredHingeLoss())
    expected = metrics.log_loss(y, SquaredHingeLoss().predict(z), labels=[0, 1])
    assert criterion.value(z, y) == pytest.approx(expected, rel=1e-10)
    assert criterion.grad_raw(z, y)[0] == 0.0


def test_two_classes_are_a_binary_problem_however_many_raw_outputs_there_are():
    z, y, _ = outputs(1)
    both = np.hstack([np.zeros_like(z), z])
    groups = np.arange(len(z)) % 2
    for criterion in (
        BrierScore(),
        CalibrationError(),
        MMCE(),
        DemographicParity(),
        EqualizedOdds(),
        LogLoss(),
        MarginLoss(),
    ):
        one, two = (
            criterion.for_loss(loss).value(at, y, groups=groups)
            for loss, at in ((BinaryLogLoss(), z), (MultinomialLogLoss(), both))
        )
        assert one == pytest.approx(two, rel=1e-10), criterion


# -- several labels a row --------------------------------------------------------------


@WEIGHTS
def test_scores_of_several_labels_are_sums_over_labels(weighted):
    rng = np.random.default_rng(0)
    z, y = 3.0 * rng.standard_normal((40, 3)), rng.integers(0, 2, (40, 3)).astype(float)
    weight = weights(weighted, 40)
    brier = sum(
        metrics.brier_score_loss(y[:, c], expit(z[:, c]), sample_weight=weight)
        for c in range(3)
    )
    log_loss = sum(
        metrics.log_loss(y[:, c], expit(z[:, c]), sample_weight=weight)
        for c in range(3)
    )
    for criterion, expected in (
        (BrierScore(), brier),
        (LogLoss(), log_loss),
        (TrainingLoss(), log_loss),
    ):
        criterion = criterion.for_loss(MultilabelLoss())
        ours = criterion.value(z, y, sample_weight=weight)
        assert ours == pytest.approx(expected, rel=1e-10), criterion
    # A confidently wrong label keeps its slope: nothing is clipped.
    z[0], y[0] = 60.0, 0.0
    bound = LogLoss().for_loss(MultilabelLoss())
    np.testing.assert_allclose(bound.grad_raw(z, y)[0], 1.0 / 40)


def test_log_loss_of_several_labels_under_another_loss():
    rng = np.random.default_rng(0)
    z = rng.uniform(-0.95, 0.95, (40, 2))
    y = rng.integers(0, 2, (40, 2)).astype(float)
    loss = MultilabelLoss(SquaredHingeLoss())
    check_criterion("log_loss", z, y, loss=loss)
    expected = sum(metrics.log_loss(y[:, c], (z[:, c] + 1) / 2) for c in range(2))
    assert LogLoss().for_loss(loss).value(z, y) == pytest.approx(expected, rel=1e-10)


# -- arguments -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (WorstGroupLoss, {"temperature": 0.0}),
        (AdversarialLoss, {"epsilon": -0.1}),
        (AdversarialLoss, {"epsilon": np.inf}),
        (MMCE, {"width": 0.0}),
        (MarginLoss, {"temperature": 0.0}),
        (PinballLoss, {"quantile": 1.0}),
        (RocAucLoss, {"temperature": -1.0}),
    ],
)
def test_wrong_arguments_are_refused(cls, arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=name):
        cls(**arguments)
    with pytest.raises(TypeError, match=f"{name} must be a number, got 'x'"):
        cls("x")
