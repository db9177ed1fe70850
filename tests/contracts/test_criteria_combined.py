"""Criteria made of criteria or of a user's function: slices, sums, callables."""

import pickle
from functools import partial

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

from skpuma import PumaPatcher, PumaValuator
from skpuma.checks import check_criterion
from skpuma.criteria import (
    AdversarialLoss,
    BrierScore,
    CalibrationError,
    DemographicParity,
    EqualizedOdds,
    FunctionCriterion,
    LogLoss,
    Maximum,
    PinballLoss,
    RocAucLoss,
    Slice,
    SquaredError,
    TrainingLoss,
    WeightedSum,
    WorstGroupLoss,
    measures_of,
)
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.utils.errors import PatchWarning
from tests.contracts import problems

N = 60
GROUPS = np.random.default_rng(3).choice(["f", "m"], N)


def fitted(k=3):
    X = problems.rows(N)
    y = problems.classes(X, k)
    objective = problems.objective_of(LogisticRegression().fit(X, y), X, y)
    return objective.model, objective.X, objective.y


def regression():
    X = problems.rows(N)
    y = problems.numbers(X)
    objective = problems.objective_of(Ridge().fit(X, y), X, y)
    return objective.model, objective.X, objective.y


def outputs(k=3):
    rng = np.random.default_rng(0)
    return 1.5 * rng.standard_normal((N, k)), rng.integers(0, max(k, 2), N)


def measure_of(criterion, model, X, y, weight=None, groups=GROUPS):
    weight = np.ones(len(y)) if weight is None else weight
    (measure,) = measures_of(criterion, model, X, y, weight, groups)
    return measure


def check_gradient(measure, model):
    gradient = measure.gradient(model)
    for v in np.random.default_rng(0).standard_normal((3, model.n_parameters)):
        plus, minus = (
            measure.value(model.at(model.theta + step * v)) for step in (1e-6, -1e-6)
        )
        np.testing.assert_allclose(
            gradient @ v, (plus - minus) / 2e-6, atol=1e-6 * np.abs(gradient).max()
        )


# -- functions of the user's own -------------------------------------------------------


def hinge(y, raw):
    return np.maximum(0.0, 1.0 - (2 * y - 1) * raw[:, 0])


def spread(y, raw):
    """One number, which sees no weights."""
    return np.square(raw - raw.mean(axis=0)).mean()


def weighted_spread(y, raw, sample_weight=None):
    mean = np.average(raw, axis=0, weights=sample_weight)
    return np.average(np.square(raw - mean).sum(axis=1), weights=sample_weight)


def weighted_spread_gradient(y, raw, sample_weight=None):
    share = sample_weight / sample_weight.sum()
    return 2.0 * share[:, None] * (raw - np.average(raw, axis=0, weights=share))


def squares(y, raw):
    return np.square(np.tanh(raw)).sum(axis=1)


def squares_gradient(y, raw):
    return 2.0 * np.tanh(raw) * (1.0 - np.square(np.tanh(raw)))


def standardised(y, raw):
    """Costs of rows that look at the other rows."""
    return np.abs(raw[:, 0] / np.abs(raw).max())


# -- the contract ----------------------------------------------------------------------

PARTS = ["log_loss", BrierScore(), DemographicParity()]
COMBINED = {
    "slice of a group": Slice("log_loss", group="f"),
    "slice of a class": Slice(BrierScore(), label=1),
    "slice of both": Slice("calibration_error", group="m", label=0),
    "slice of a gap": Slice(DemographicParity(), label=0),
    "slice of a slice": Slice(Slice("auto", label=1), group="m"),
    "slice of a ranking": Slice("roc_auc", group="m"),
    "sum": WeightedSum(PARTS),
    "weighted sum": WeightedSum(PARTS, weights=[0.5, 0.0, 2]),
    "maximum": Maximum(["log_loss", "brier_score"]),
    "sum of maximum and slice": WeightedSum(
        [Maximum(["mmce", "margin"]), Slice("log_loss", group="f", label=1), hinge]
    ),
    "costs of rows": FunctionCriterion(hinge),
    "costs of rows with gradient": FunctionCriterion(squares, squares_gradient),
    "number": FunctionCriterion(weighted_spread),
    "number with gradient": FunctionCriterion(
        weighted_spread, weighted_spread_gradient
    ),
    "plain function": hinge,
    "slice of a function": Slice(squares, group="f"),
}


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("kind", COMBINED)
def test_contract(kind, k, weighted):
    z, y = outputs(k)
    weight = problems.weights(N) if weighted else None
    check_criterion(COMBINED[kind], z, y, sample_weight=weight, groups=GROUPS)


@pytest.mark.parametrize("kind", [kind for kind in COMBINED if kind[:5] != "plain"])
def test_is_an_estimator(kind):
    criterion = COMBINED[kind]
    twin = clone(criterion)
    assert twin == criterion and hash(twin) == hash(criterion)
    assert criterion != LogLoss() and criterion != Slice("log_loss", group="other")
    assert type(criterion).__name__ in repr(criterion)
    again = pickle.loads(pickle.dumps(criterion))
    z, y = outputs(1)
    values = [
        one.for_loss(BinaryLogLoss())
        .for_classes(np.arange(2))
        .value(z, y, sample_weight=None, groups=GROUPS)
        for one in (criterion, twin, again)
    ]
    assert values[0] == values[1] == values[2]


def test_equality_tells_settings_apart():
    parts = ["log_loss", "mmce"]
    weighted = WeightedSum(parts, weights=np.array([1.0, 2.0]))
    assert weighted == WeightedSum(parts, weights=np.array([1.0, 2.0]))
    assert weighted != WeightedSum(parts)
    assert WeightedSum(parts) != Maximum(parts)
    assert Slice("log_loss", group="f") != Slice("log_loss", label="f")
    assert Slice(BrierScore(), label=1).get_params()["criterion__by"] is None


# -- slices ----------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_a_slice_is_the_criterion_on_its_rows(k):
    model, X, y = fitted(k)
    weight = problems.weights(N)
    label = model.classes[1]
    loss = model.loss
    for criterion, inside, name in (
        (Slice("brier_score", group="f"), GROUPS == "f", "[group=f]"),
        (Slice("brier_score", label=label), y == 1, f"[class={label}]"),
        (
            Slice(BrierScore(), group="m", label=label),
            (GROUPS == "m") & (y == 1),
            f"[group=m, class={label}]",
        ),
    ):
        measure = measure_of(criterion, model, X, y, weight)
        expected = (
            BrierScore()
            .for_loss(loss)
            .value(model.raw(X[inside]), y[inside], sample_weight=weight[inside])
        )
        assert measure.value(model) == pytest.approx(expected, rel=1e-12)
        assert measure.name == "brier_score" + name
        assert measure.bounded
        check_gradient(measure, model)
    assert not measure_of(Slice("log_loss", group="f"), model, X, y).bounded


@pytest.mark.parametrize("age", [np.arange(N) % 3, np.arange(N) % 2 == 0])
def test_slices_of_a_sensitive_feature_that_is_no_string(age):
    model, X, y = fitted()
    measure = measure_of(Slice("log_loss", group=1), model, X, y, groups=age)
    inside = age == 1
    expected = model.loss.value(model.raw(X[inside]), y[inside]).mean()
    assert measure.value(model) == pytest.approx(expected, rel=1e-12)
    # Object columns arrive as strings; the group need not be written as one.
    text = measure_of(
        Slice("log_loss", group=1), model, X, y, groups=age.astype(int).astype(str)
    )
    assert text.value(model) == pytest.approx(expected, rel=1e-12)


def test_a_slice_by_class_and_by_group():
    model, X, y = fitted()
    weight = problems.weights(N)
    sliced = Slice("log_loss", group="f", by="class")
    for c, measure in enumerate(measures_of(sliced, model, X, y, weight, GROUPS)):
        inside = (GROUPS == "f") & (y == c)
        each = model.loss.value(model.raw(X[inside]), y[inside])
        expected = np.average(each, weights=weight[inside])
        assert measure.value(model) == pytest.approx(expected, rel=1e-12)
        assert measure.name == f"log_loss[group=f][class={model.classes[c]}]"
        check_gradient(measure, model)
    sliced = Slice(DemographicParity(), label="ape", by="group")
    three = np.random.default_rng(0).choice(["a", "b", "c"], N)
    for g, measure in zip(
        "abc", measures_of(sliced, model, X, y, weight, three), strict=True
    ):
        inside = y == 0
        expected = measure_of(
            DemographicParity(),
            model,
            X[inside],
            y[inside],
            weight[inside],
            np.where(three[inside] == g, "this", "rest"),
        )
        assert measure.value(model) == pytest.approx(expected.value(model), rel=1e-12)
        check_gradient(measure, model)


def test_what_a_slice_cannot_be():
    model, X, y = fitted()
    with pytest.raises(ValueError, match="needs group="):
        Slice("log_loss")
    with pytest.raises(ValueError, match="pass by='class' to Slice"):
        Slice(LogLoss(by="class"), group="f")
    for arguments in ({"group": "f", "by": "group"}, {"label": 1, "by": "class"}):
        with pytest.raises(ValueError, match="leave by= out"):
            Slice("log_loss", **arguments)
    for criterion in ("equalized_odds", WorstGroupLoss(), WeightedSum(PARTS)):
        with pytest.raises(ValueError, match="slice by label="):
            Slice(criterion, group="f")
    for criterion, match in (
        (Slice("log_loss", group="x"), r"\[group=x\] has no rows.*'f', 'm'"),
        (Slice("log_loss", label="dog"), "no class 'dog'; it knows.*ape"),
        (Slice("squared_error", group="f"), "this model is for classification"),
    ):
        with pytest.raises(ValueError, match=match):
            measure_of(criterion, model, X, y)
    with pytest.raises(ValueError, match="reads the sensitive feature.*pass"):
        measure_of(Slice("log_loss", group="f"), model, X, y, groups=None)
    weight = np.where(GROUPS == "f", 0.0, 1.0)
    with pytest.raises(ValueError, match="no rows with a weight"):
        measure_of(Slice("log_loss", group="f"), model, X, y, weight)
    ridge, X, y = regression()
    with pytest.raises(ValueError, match="needs a classifier"):
        measure_of(Slice("squared_error", label=1), ridge, X, y)
    unbound = Slice("log_loss", label=1).for_loss(BinaryLogLoss())
    with pytest.raises(ValueError, match="for_classes"):
        unbound.value(*outputs(1))
    alone = Slice("log_loss", group="f").for_loss(BinaryLogLoss())
    with pytest.raises(ValueError, match="pass a sensitive feature"):
        alone.value(*outputs(1))
    assert Slice("auto", group="f").tasks == TrainingLoss.tasks
    assert Slice("auto", label=1).tasks == ("classification",)
    with pytest.raises(ValueError, match="single group"):
        measures_of(
            WeightedSum([Slice("log_loss", group="f"), "mmce"], by="group"),
            *fitted(),
            np.ones(N),
            GROUPS,
        )


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_slices_in_cross_fitting(n_jobs):
    X = problems.rows(N)
    y = problems.classes(X, 3)
    criteria = [
        Slice("log_loss", group="f"),
        Slice("log_loss", group="m"),
        Slice("log_loss", label="bee"),
    ]
    valuator = PumaValuator(criterion=criteria, cv=3, random_state=0, n_jobs=n_jobs)
    valuator.fit(X, y, sensitive_features=GROUPS)
    names = ["group=f", "group=m", "class=bee"]
    assert valuator.criterion_names_ == [f"log_loss[{name}]" for name in names]
    by_parts = PumaValuator(
        criterion=[LogLoss(by="group"), LogLoss(by="class")], cv=3, random_state=0
    ).fit(X, y, sensitive_features=GROUPS)
    used = [0, 1, by_parts.criterion_names_.index("log_loss[class=bee]")]
    np.testing.assert_allclose(valuator.psi_, by_parts.psi_[:, used], rtol=1e-8)
    rare = np.where(np.arange(N) == 0, "x", GROUPS)
    sliced = PumaValuator(criterion=Slice("log_loss", group="x"), cv=3)
    with pytest.raises(ValueError, match="no rows with a weight.*fewer folds"):
        sliced.fit(X, y, sensitive_features=rare)


# -- sums and maxima -------------------------------------------------------------------


def test_sum_and_maximum_are_those_of_the_values():
    model, X, y = fitted()
    weight = problems.weights(N)
    parts = ["brier_score", "calibration_error", EqualizedOdds()]
    values = np.array(
        [m.value(model) for m in measures_of(parts, model, X, y, weight, GROUPS)]
    )
    for criterion, expected, name in (
        (
            WeightedSum(parts),
            values.sum(),
            "brier_score + calibration_error + equalized_odds",
        ),
        (
            WeightedSum(parts, weights=[1, 0.5, 2]),
            values @ [1, 0.5, 2],
            "brier_score + 0.5 calibration_error + 2 equalized_odds",
        ),
        (
            Maximum(parts),
            values.max(),
            "max(brier_score, calibration_error, equalized_odds)",
        ),
    ):
        measure = measure_of(criterion, model, X, y, weight)
        assert measure.value(model) == pytest.approx(expected, rel=1e-12)
        assert measure.name == name
        check_gradient(measure, model)


def test_the_maximum_changes_hands():
    z, y = outputs(1)
    both = Maximum(["log_loss", WeightedSum([hinge], [0.9])]).for_loss(BinaryLogLoss())
    larger = set()
    for scale in (0.1, 1.0, 10.0):
        values = [part.value(scale * z, y) for part in both._bound]
        larger.add(int(np.argmax(values)))
        assert both.value(scale * z, y) == max(values)
        expected = both._bound[int(np.argmax(values))].grad_raw(scale * z, y)
        np.testing.assert_array_equal(both.grad_raw(scale * z, y), expected)
    assert larger == {0, 1}


def test_combinations_are_bounded_if_their_parts_are():
    bounded, free = ["brier_score", "mmce"], ["brier_score", "log_loss"]
    assert WeightedSum(bounded).bounded and Maximum(bounded).bounded
    assert not WeightedSum(free).bounded and not Maximum(free).bounded
    assert not WeightedSum(bounded, weights=[1, 100]).bounded
    assert not Maximum([hinge, "mmce"]).bounded
    assert Maximum([FunctionCriterion(hinge, bounded=True), "mmce"]).bounded


def test_combinations_by_class_and_by_group():
    model, X, y = fitted()
    weight = problems.weights(N)
    for by in ("class", "group"):
        parts = [LogLoss(by=by), EqualizedOdds(by=by)]
        parts += [RocAucLoss(by=by)] if by == "class" else [CalibrationError(by=by)]
        alone = measures_of(parts, model, X, y, weight, GROUPS)
        plain = [clone(part).set_params(by=None) for part in parts]
        whole = measures_of(
            WeightedSum(plain, weights=[1, 2, 3], by=by), model, X, y, weight, GROUPS
        )
        assert len(alone) == 3 * len(whole)
        for position, measure in enumerate(whole):
            values = [m.value(model) for m in alone[position :: len(whole)]]
            assert measure.value(model) == pytest.approx(values @ np.array([1, 2, 3]))
            label = alone[position].name.partition("[")[2]
            assert measure.name.endswith(f"[{label}")
            check_gradient(measure, model)


def test_combinations_of_shifted_rows():
    model, X, y = fitted()
    weight = problems.weights(N)
    small, large = AdversarialLoss(0.1), AdversarialLoss(0.4)
    parts = ["log_loss", small, Slice(large, group="f"), Maximum([small, large])]
    values = [
        measure_of(part, model, X, y, weight).value(model)
        for part in ("log_loss", small, Slice(large, group="f"), large)
    ]
    factors = [1.0, 2.0, 3.0, 4.0]
    measure = measure_of(WeightedSum(parts, factors), model, X, y, weight)
    assert measure.value(model) == pytest.approx(np.dot(factors, values), rel=1e-12)
    check_gradient(measure, model)
    move = np.full((1, model.n_parameters), 0.1)
    moved = measure.value(model.at(model.theta + move[0]))
    assert measure.mover(model)(move)[0] == pytest.approx(moved, rel=1e-12)
    # A slice of shifted rows on its own.
    sliced = measure_of(Slice(small, group="m", label="bee"), model, X, y, weight)
    inside = (GROUPS == "m") & (y == 1)
    shifted = small.for_loss(model.loss).inputs(model, X, y)[inside]
    each = model.loss.value(model.raw(shifted), y[inside])
    expected = np.average(each, weights=weight[inside])
    assert sliced.value(model) == pytest.approx(expected, rel=1e-12)
    check_gradient(sliced, model)
    # Without such parts rows stay as they are, and CSR rows are welcome.
    csr = sparse.csr_matrix(X)
    plain = measure_of(WeightedSum(["log_loss", "mmce"]), model, csr, y, weight)
    assert not hasattr(plain.criterion, "inputs")
    assert np.isfinite(plain.value(model))
    shifted = measure_of(WeightedSum([small, "mmce"]), model, csr, y, weight)
    with pytest.raises(ValueError, match="dense X_val"):
        shifted.value(model)


class Doubled:
    """A criterion of the user's own on rows that were multiplied by two."""

    def inputs(self, model, X, y):
        return 2.0 * X

    def value(self, z, y, *, sample_weight=None, groups=None):
        return float(np.square(z).mean())

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        return 2.0 * z / z.size


def test_combinations_of_other_rows_that_are_sparse():
    model, X, y = fitted()
    measures = [
        measure_of(WeightedSum(["log_loss", Doubled()]), model, rows, y)
        for rows in (X, sparse.csr_matrix(X))
    ]
    expected = model.loss.value(model.raw(X), y).mean()
    expected += np.square(model.raw(2.0 * X)).mean()
    for measure in measures:
        assert measure.value(model) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(*(m.gradient(model) for m in measures), rtol=1e-10)


class Halves(Doubled):
    """A criterion of the user's own that measures on fewer rows than it is given."""

    def inputs(self, model, X, y):
        return X[: len(y) // 2]


def test_what_a_combination_cannot_be():
    model, X, y = fitted()
    for cls in (WeightedSum, Maximum):
        for criteria in ([], "log_loss", LogLoss()):
            with pytest.raises(ValueError, match="needs a list of criteria"):
                cls(criteria)
        with pytest.raises(ValueError, match=f"pass by='class' to {cls.__name__}"):
            cls(["mmce", LogLoss(by="class")])
        with pytest.raises(ValueError, match="Unknown criterion 'accuracy'"):
            cls(["accuracy"])
        with pytest.raises(TypeError, match="the class LogLoss"):
            cls([LogLoss])
        with pytest.raises(ValueError, match="squared_error is a criterion for regr"):
            measure_of(cls(["mmce", SquaredError()]), model, X, y)
        with pytest.raises(ValueError, match="compares groups.*pass sensitive"):
            measure_of(cls(PARTS), model, X, y, groups=None)
        with pytest.raises(ValueError, match="returned 30 rows.*must return 60"):
            measure_of(cls(["mmce", Halves()]), model, X, y).value(model)
    for weights, match in (
        ([1], "shape"),
        ([1, -1], "not negative"),
        ([0, 0], "not all 0"),
        ([1, np.nan], "finite"),
    ):
        with pytest.raises(ValueError, match=match):
            WeightedSum(["mmce", "margin"], weights=weights)
    assert WeightedSum(["auto", "brier_score"]).tasks == (
        "classification",
        "multilabel",
    )


# -- functions -------------------------------------------------------------------------


def test_functions_are_weighted_means_of_costs_or_numbers():
    model, X, y = fitted(2)
    weight = problems.weights(N)
    z = model.raw(X)
    measure = measure_of(hinge, model, X, y, weight)
    expected = np.average(hinge(y, z), weights=weight)
    assert measure.value(model) == pytest.approx(expected, rel=1e-12)
    assert measure.name == "hinge" and not measure.bounded
    check_gradient(measure, model)
    measure = measure_of(weighted_spread, model, X, y, weight)
    expected = weighted_spread(y, z, weight)
    assert measure.value(model) == pytest.approx(expected, rel=1e-12)
    check_gradient(measure, model)
    # Without an argument for weights a number can leave rows out, but not weigh them.
    some = (weight > 0.5).astype(float)
    measure = measure_of(spread, model, X, y, some)
    expected = spread(y[some > 0], z[some > 0])
    assert measure.value(model) == pytest.approx(expected, rel=1e-12)
    check_gradient(measure, model)
    measure = measure_of(spread, model, X, y, weight)
    for method in (measure.value, measure.gradient):
        with pytest.raises(ValueError, match="add an argument sample_weight"):
            method(model)


def test_given_gradients_are_those_of_differences():
    z, y = outputs()
    weight = problems.weights(N)
    for function, gradient in (
        (squares, squares_gradient),
        (weighted_spread, weighted_spread_gradient),
    ):
        given, measured = (
            FunctionCriterion(function, one)
            .for_loss(MultinomialLogLoss())
            .grad_raw(z, y, sample_weight=weight)
            for one in (gradient, None)
        )
        np.testing.assert_allclose(given, measured, atol=1e-8 * np.abs(given).max())
        assert not given[weight == 0].any()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (hinge, "hinge"),
        (partial(hinge), "hinge"),
        (lambda y, raw: raw[:, 0], "lambda"),
        (np.subtract, "subtract"),
        (max, "max"),
        (FunctionCriterion(hinge, name="mine"), "mine"),
    ],
)
def test_names_of_functions(function, name):
    # `max` is written in C and has no signature.
    model, X, y = fitted(2)
    assert measure_of(function, model, X, y).name == name


def test_functions_that_are_refused():
    model, X, y = fitted()
    for function, error, match in (
        (lambda y: y, TypeError, r"must take \(y, raw\)"),
        (lambda y, raw: raw, ValueError, "one cost per row"),
        (lambda y, raw: raw[:5, 0], ValueError, "one cost per row"),
        (standardised, ValueError, "changes with the other rows"),
        (lambda y, raw, sample_weight: raw[:, 0], ValueError, "leave the argument out"),
        (
            FunctionCriterion(squares, lambda y, raw: raw[:, 0]),
            ValueError,
            "must have the shape of raw",
        ),
        (
            FunctionCriterion(squares, tasks=("regression",)),
            ValueError,
            "squares is a criterion for regression; this model is for classif",
        ),
    ):
        with pytest.raises(error, match=match):
            measure_of(function, model, X, y).gradient(model)
    for arguments, error, match in (
        ({"function": 1}, TypeError, "not callable"),
        ({"function": squares, "gradient": 1}, TypeError, "not callable"),
        (
            {"function": weighted_spread, "gradient": squares_gradient},
            TypeError,
            "sample_weight",
        ),
        ({"function": squares, "tasks": "regression"}, ValueError, "tasks"),
        ({"function": squares, "tasks": ()}, ValueError, "tasks"),
    ):
        with pytest.raises(error, match=match):
            FunctionCriterion(**arguments)
    with pytest.raises(ValueError, match="repeated names"):
        measures_of([hinge, partial(hinge)], model, X, y, np.ones(N))
    many = np.zeros((6000, 1)), np.zeros(6000, dtype=int)
    with pytest.raises(ValueError, match="12000 evaluations.*one cost per row"):
        FunctionCriterion(spread).for_loss(BinaryLogLoss()).grad_raw(*many)


def per_row_over_n(y, raw):
    return hinge(y, raw) / len(y)


def test_what_functions_may_not_return():
    model, X, y = fitted(2)
    for function, error, match in (
        (lambda y, raw: None, TypeError, "lambda returned None.*return statement"),
        (lambda y, raw: ["a"] * len(y), TypeError, "lambda returned \\['a'"),
        (
            lambda y, raw: np.full(len(y), np.nan),
            ValueError,
            "lambda returned \\[nan\\]",
        ),
        (
            lambda y, raw: -np.log(0 * raw[:, 0]),
            ValueError,
            "lambda returned \\[inf\\]",
        ),
        (
            FunctionCriterion(squares, lambda y, raw: raw * np.inf, name="mine"),
            ValueError,
            "gradient of mine returned",
        ),
        (per_row_over_n, ValueError, "per_row_over_n.*takes the weighted mean"),
        (lambda y, raw: (raw[:, 0] > 0) != y, ValueError, "bool or int.*'margin'"),
        (lambda y, raw: int((raw[:, 0] > 0).sum()), ValueError, "bool or int"),
    ):
        with np.errstate(divide="ignore"), pytest.raises(error, match=match):
            measure_of(function, model, X, y).gradient(model)
    with pytest.warns(PatchWarning, match="psi is zero.*'margin'"):
        measure_of(lambda y, raw: np.mean((raw[:, 0] > 0) != y), model, X, y).gradient(
            model
        )
    given = FunctionCriterion(
        lambda y, raw: (raw[:, 0] > 0) != y, lambda y, raw: np.ones_like(raw)
    )
    assert measure_of(given, model, X, y).gradient(model).any()


def test_functions_may_write_into_what_they_are_given():
    def rude(y, raw):
        cost = hinge(y, raw)
        raw[:], y[:] = 7.0, 0
        return cost

    model, X, y = fitted(2)
    before = y.copy()
    rude, polite = (measure_of(one, model, X, y) for one in (rude, hinge))
    assert rude.value(model) == polite.value(model)
    np.testing.assert_array_equal(rude.gradient(model), polite.gradient(model))
    np.testing.assert_array_equal(y, before)


def test_functions_on_a_single_row():
    z, y = np.array([[0.3]]), np.array([1])
    bound = FunctionCriterion(hinge).for_loss(BinaryLogLoss())
    np.testing.assert_allclose(bound.grad_raw(z, y), [[-1.0]])
    # Of two arrays with one entry, `max` is the larger one.
    assert FunctionCriterion(max).for_loss(BinaryLogLoss()).value(z, y) == 1.0


def test_functions_of_a_regressor():
    model, X, y = regression()
    measure = measure_of(lambda y, raw: np.abs(y - raw[:, 0]), model, X, y)
    expected = np.abs(y - model.raw(X)).mean()
    assert measure.value(model) == pytest.approx(expected, rel=1e-12)
    check_gradient(measure, model)


def test_functions_see_a_single_output_as_a_vector():
    model, X, y = regression()
    measure = measure_of(lambda y, raw: np.mean((y - raw[:, 0]) ** 2), model, X, y)
    expected = np.square(y - model.raw(X)).mean()
    assert measure.value(model) == pytest.approx(expected, rel=1e-12)
    check_gradient(measure, model)
    objective = problems.objective_of(Ridge().fit(X, y2 := np.c_[y, -y]), X, y2)
    measure = measure_of(
        lambda y, raw: np.square(y - raw).sum(axis=1), objective.model, X, y2
    )
    assert measure.value(objective.model) == pytest.approx(2 * expected, rel=1e-9)


def test_names_of_combinations_tell_parts_apart():
    model, X, y = regression()
    name = measure_of(Maximum([PinballLoss(0.1), PinballLoss(0.9)]), model, X, y).name
    assert name == "max(PinballLoss(quantile=0.1), PinballLoss(quantile=0.9))"
    model, X, y = fitted(2)
    total = ["log_loss", "mmce"]
    assert measure_of(WeightedSum(total), model, X, y).name == "log_loss + mmce"
    for sliced in (
        Slice(WeightedSum(total), group="f"),
        WeightedSum(total, by="group"),
    ):
        names = [m.name for m in measures_of(sliced, model, X, y, np.ones(N), GROUPS)]
        assert names[0] == "(log_loss + mmce)[group=f]"
    double = WeightedSum([WeightedSum(total), "margin"], weights=[2, 1])
    assert measure_of(double, model, X, y).name == "2 (log_loss + mmce) + margin"


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_function_in_a_valuator(n_jobs):
    X = problems.rows(N)
    y = problems.classes(X, 2)

    def loss(y, raw):
        return np.logaddexp(0.0, raw[:, 0]) - y * raw[:, 0]

    criteria = [loss, hinge, weighted_spread, "log_loss"]
    valuator = PumaValuator(criterion=criteria, cv=3, random_state=0, n_jobs=n_jobs)
    clone(valuator)
    valuator.fit(X, y)
    assert valuator.criterion_names_ == ["loss", "hinge", "weighted_spread", "log_loss"]
    np.testing.assert_allclose(valuator.psi_[:, 0], valuator.psi_[:, 3], rtol=1e-5)
    again = pickle.loads(pickle.dumps(clone(valuator).set_params(criterion=hinge)))
    np.testing.assert_allclose(
        again.fit(X, y).psi_[:, 0], valuator.psi_[:, 1], rtol=1e-10
    )


def test_a_function_in_a_patcher():
    X = problems.rows(200)
    y = problems.classes(X, 2)
    marked = X[:, 0] > 1.0
    patcher = PumaPatcher(criterion=hinge, target=squares, delta=0.01)
    patcher.fit(X, y, marked=marked)
    assert patcher.report_.kept.all()
    table = patcher.report_.to_frame()
    assert any("hinge" in str(name) for name in table.index)


def test_training_loss_on_a_slice_of_a_regressor():
    model, X, y = regression()
    measure = measure_of(Slice(TrainingLoss(), group="f"), model, X, y)
    inside = GROUPS == "f"
    expected = model.loss.value(model.raw(X[inside]), y[inside]).mean()
    assert measure.value(model) == pytest.approx(expected, rel=1e-12)
