"""Every line of `skpuma.losses.LOSSES`, against finite differences and scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn import metrics
from sklearn.linear_model import SGDClassifier, _sgd_fast
from sklearn.linear_model._huber import _huber_loss_and_gradient

from skpuma.checks import check_loss
from skpuma.losses import LOSSES
from skpuma.losses._base import BaseLoss
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._coded import CodedLoss
from skpuma.losses._huber import HuberLoss
from skpuma.losses._modified_huber import ModifiedHuberLoss
from skpuma.losses._multilabel import MultilabelLoss
from skpuma.losses._one_vs_rest import OneVsRestLoss
from skpuma.losses._scaled_huber import ScaledHuberLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.losses._squared_epsilon_insensitive import SquaredEpsilonInsensitiveLoss
from skpuma.losses._squared_hinge import SquaredHingeLoss
from skpuma.utils._registry import load

# Numbers of raw outputs that a loss takes, where these are not 1 and 3.
OUTPUTS = {
    "binary_log": (1,),
    "coded": (1,),
    "modified_huber": (1,),
    "multinomial_log": (2, 3),
    "one_vs_rest": (2, 3),
    "scaled_huber": (2,),
    "squared_hinge": (1,),
}
CASES = [(name, k) for name in sorted(LOSSES) for k in OUTPUTS.get(name, (1, 3))]
CLASSIFIERS = [
    (name, k) for name, k in CASES if load(LOSSES[name]).task == "classification"
]
BINARY = [
    BinaryLogLoss(),
    SquaredHingeLoss(),
    ModifiedHuberLoss(),
    CodedLoss(),
    CodedLoss(HuberLoss(0.4)),
    CodedLoss(SquaredEpsilonInsensitiveLoss(0.3)),
]
# Losses with other arguments than those of the table, and their numbers of outputs.
VARIANTS = [
    *((base, 1) for base in BINARY[4:]),
    *((OneVsRestLoss(base), 3) for base in BINARY),
    *((MultilabelLoss(base), 3) for base in BINARY),
    *((OneVsRestLoss(base, [1, 2, 3], [2, 1, 0.5]), 3) for base in BINARY[:3]),
    (OneVsRestLoss(positive=[1.0, 2.0, 0.0]), 3),
    (MultilabelLoss(negative=[1.0, 2.0, 3.0]), 3),
    (HuberLoss(0.3), 2),
    (ScaledHuberLoss(1.0), 2),
    (ScaledHuberLoss(3.0), 2),
    (SquaredEpsilonInsensitiveLoss(0.0), 2),
    (SquaredEpsilonInsensitiveLoss(1.0), 2),
]


def make(name):
    try:
        return load(LOSSES[name])()
    except TypeError as error:
        pytest.fail(f"A loss of the table needs no arguments, {name} does: {error}")


def raw_and_targets(loss, k, n=25, seed=0):
    """Raw outputs and targets; continuous, so that none is at a kink."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, k))
    if isinstance(loss, ScaledHuberLoss):
        z[:, 1] = 0.3 + np.abs(z[:, 1])
        return z, z[:, :1] + 2.0 * rng.standard_normal((n, 1))
    if loss.classification:
        return z, rng.integers(0, max(k, 2), n)
    if loss.task == "multilabel":
        return z, rng.integers(0, 2, (n, k)).astype(float)
    return z, rng.poisson(1.5, (n, k)).astype(float)


@pytest.mark.parametrize(("name", "k"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_contract(name, k, seed):
    loss = make(name)
    check_loss(loss, *raw_and_targets(loss, k, seed=seed))


@pytest.mark.parametrize(("loss", "k"), VARIANTS, ids=repr)
def test_contract_with_other_arguments(loss, k):
    check_loss(loss, *raw_and_targets(loss, k))


@pytest.mark.parametrize(("name", "k"), CASES)
def test_one_row(name, k):
    loss = make(name)
    check_loss(loss, *raw_and_targets(loss, k, n=1))


@pytest.mark.parametrize(("name", "k"), CASES)
def test_large_outputs_stay_finite(name, k):
    loss = make(name)
    z, y = raw_and_targets(loss, k)
    z = 300.0 * np.sign(z)
    results = loss.value(z, y), loss.gradient(z, y), loss.hessian_root(z, y)
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize(("name", "k"), CLASSIFIERS)
def test_probabilities_of_large_outputs(name, k):
    loss = make(name)
    for scale in 30.0, 3000.0:
        z = scale * np.vstack([np.ones((1, k)), -np.ones((1, k)), np.eye(k)])
        predicted = loss.predict(z)
        np.testing.assert_allclose(predicted.sum(axis=1), 1.0, rtol=1e-12)
        assert np.isfinite(loss.predict_vjp(z, predicted)).all()


@pytest.mark.parametrize(("name", "k"), CASES)
def test_equal_losses_compare_equal(name, k):
    assert make(name) == make(name)
    assert len({make(name), make(name)}) == 1
    assert all(make(name) != make(other) for other in LOSSES if other != name)


@pytest.mark.parametrize(("loss", "k"), VARIANTS, ids=repr)
def test_arguments_take_part_in_comparison_and_repr(loss, k):
    again = eval(repr(loss))
    assert again == loss
    assert hash(again) == hash(loss)
    default = type(loss)()
    assert (loss == default) == (repr(loss) == repr(default))


@pytest.mark.parametrize(("name", "k"), sorted({*CASES} - {*CLASSIFIERS}))
def test_affine_says_whether_the_gradient_is_affine_in_y(name, k):
    loss = make(name)
    z, y = raw_and_targets(loss, k)
    ends = loss.gradient(z, y - 2.0) + loss.gradient(z, y + 2.0)
    middle = 2.0 * loss.gradient(z, y)
    assert np.allclose(ends, middle, rtol=1e-10) == loss.affine


@pytest.mark.parametrize("base", BINARY, ids=repr)
def test_multilabel_is_affine_where_its_binary_loss_is(base):
    loss = MultilabelLoss(base)
    assert loss.affine == (base in {BinaryLogLoss(), CodedLoss()})
    assert not MultilabelLoss(base, positive=[1.0, 2.0]).affine


@pytest.mark.parametrize(("name", "k"), [("binary_log", 1), ("multinomial_log", 3)])
def test_log_losses_are_those_of_sklearn(name, k):
    loss = make(name)
    z, y = raw_and_targets(loss, k)
    expected = metrics.log_loss(y, loss.predict(z), labels=np.arange(max(k, 2)))
    assert np.mean(loss.value(z, y)) == pytest.approx(expected, rel=1e-12)


def test_squared_loss_is_half_the_squared_error():
    loss = make("squared")
    z, y = raw_and_targets(loss, 3)
    expected = 0.5 * 3 * metrics.mean_squared_error(y, z)
    assert np.mean(loss.value(z, y)) == pytest.approx(expected, rel=1e-12)


def test_poisson_loss_is_half_the_deviance_up_to_terms_of_y():
    loss = make("poisson")
    z, y = raw_and_targets(loss, 1)

    def deviance(at):
        return metrics.mean_poisson_deviance(y[:, 0], np.exp(at[:, 0]))

    ours = np.mean(loss.value(z, y) - loss.value(0 * z, y))
    assert ours == pytest.approx(0.5 * (deviance(z) - deviance(0 * z)), rel=1e-10)


@pytest.mark.parametrize(("name", "k"), CASES)
def test_a_loss_without_a_root_gets_one_from_its_hessian(name, k):
    base = type(make(name))
    loss = type("NoRoot", (base,), {"hessian_root": BaseLoss.hessian_root})()
    check_loss(loss, *raw_and_targets(loss, k))


def test_dispersion_is_the_mean_square_for_the_squared_loss_only():
    z, y = np.array([[1.0], [2.0], [5.0]]), np.array([[0.0], [2.0], [2.0]])
    weight = np.array([1.0, 1.0, 2.0])
    assert make("squared").dispersion(z, y, weight) == pytest.approx(19.0 / 4.0)
    assert make("squared").dispersion(y, y, weight) > 0.0
    assert make("poisson").dispersion(z, y, weight) == 1.0


@pytest.mark.parametrize("k", [1, 3])
def test_dispersion_makes_equal_losses_equal(k):
    """Losses that agree up to a factor agree in units of their dispersion."""
    squared = SquaredLoss()
    z, y = raw_and_targets(squared, k)
    weight = np.random.default_rng(0).uniform(size=len(z))

    def relative(loss):
        return loss.value(z, y) / loss.dispersion(z, y, weight)

    for loss in HuberLoss(1e3), SquaredEpsilonInsensitiveLoss(0.0):
        np.testing.assert_allclose(relative(loss), relative(squared), rtol=1e-12)


# -- losses of a margin ----------------------------------------------------------------


def naive_margin_loss(name, m):
    if name == "modified_huber" and m < -1.0:
        return -4.0 * m
    return max(0.0, 1.0 - m) ** 2


@pytest.mark.parametrize("name", ["squared_hinge", "modified_huber"])
def test_margin_losses_are_those_of_sgd(name):
    loss = make(name)
    # Binary fractions, kinks among them.
    z = np.linspace(-3.0, 3.0, 25)[:, None]
    theirs = {
        "squared_hinge": _sgd_fast.SquaredHinge(),
        "modified_huber": _sgd_fast.ModifiedHuber(),
    }[name]
    for code, sign in (0, -1.0), (1, 1.0):
        y = np.full(len(z), code)
        value, gradient = loss.value(z, y), loss.gradient(z, y)[:, 0]
        assert value.tolist() == [naive_margin_loss(name, sign * p) for p in z[:, 0]]
        # The order of the arguments of the private methods depends on the release.
        pairs = [(p, sign) for p in z[:, 0]]
        if theirs.py_loss(0.5, 1.0) != naive_margin_loss(name, 0.5):
            pairs = [(sign, p) for p in z[:, 0]]
        assert value.tolist() == [theirs.py_loss(*pair) for pair in pairs]
        assert gradient.tolist() == [theirs.py_dloss(*pair) for pair in pairs]


@pytest.mark.parametrize("name", ["squared_hinge", "modified_huber", "coded"])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_prediction_is_the_probability_of_the_lowest_risk(name, p):
    loss = make(name)

    def risk(z):
        return np.dot([1.0 - p, p], loss.value(np.full((2, 1), z), np.arange(2)))

    lowest = minimize_scalar(risk, bounds=(-3, 3), method="bounded").x
    np.testing.assert_allclose(
        loss.predict(np.array([[lowest]])), [[1.0 - p, p]], atol=1e-4
    )


def test_decisions_do_not_see_clipped_ties():
    z = np.array([[-7.0], [-0.1], [0.0], [0.1], [7.0]])
    for loss in BINARY:
        assert loss.decide(z).tolist() == [0, 0, 0, 1, 1]
        assert MultilabelLoss(loss).decide(z).tolist() == [[0], [0], [0], [1], [1]]
    z = np.array([[3.0, 5.0, 4.0], [-5.0, -4.0, -3.0], [7.0, -7.0, 2.0]])
    for loss in BINARY:
        assert OneVsRestLoss(loss).decide(z).tolist() == [1, 2, 0]


def test_coded_squared_loss_is_half_the_squared_error_of_the_codes():
    z, y = raw_and_targets(CodedLoss(), 1)
    code = np.where(y == 1, 1.0, -1.0)
    np.testing.assert_allclose(
        CodedLoss().value(z, y), 0.5 * (z[:, 0] - code) ** 2, rtol=1e-14
    )
    assert CodedLoss().constant_hessian
    assert not CodedLoss(HuberLoss()).constant_hessian


# -- losses of a residual --------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.1, 1.35])
def test_residual_losses_in_words(epsilon):
    z, y = raw_and_targets(SquaredLoss(), 3)
    r = np.abs(z - y)
    huber = np.where(r <= epsilon, 0.5 * r**2, epsilon * (r - 0.5 * epsilon))
    tolerant = np.where(r <= epsilon, 0.0, (r - epsilon) ** 2)
    for loss, expected in (
        (HuberLoss(epsilon), huber),
        (SquaredEpsilonInsensitiveLoss(epsilon), tolerant),
    ):
        np.testing.assert_allclose(
            loss.value(z, y), expected.sum(axis=1), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("epsilon", [1.0, 1.35, 2.5])
@pytest.mark.parametrize("sigma", [0.2, 1.0, 4.0])
def test_scaled_huber_is_the_objective_of_huber_regressor(epsilon, sigma):
    loss = ScaledHuberLoss(epsilon)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)), 3.0 * rng.standard_normal((40, 1))
    weight, w = rng.uniform(size=40), rng.standard_normal(3)
    z = np.column_stack([X @ w + 0.5, np.full(40, sigma)])
    value, gradient = _huber_loss_and_gradient(
        np.r_[w, 0.5, sigma], X, y[:, 0], epsilon, 0.0, weight
    )
    assert weight @ loss.value(z, y) == pytest.approx(value, rel=1e-12)
    residual = weight[:, None] * loss.gradient(z, y)
    ours = np.r_[X.T @ residual[:, 0], residual.sum(axis=0)]
    np.testing.assert_allclose(ours, gradient, rtol=1e-10, atol=1e-12)


def test_scaled_huber_is_infinite_without_a_scale():
    loss = ScaledHuberLoss()
    y = np.array([[1.0], [0.0], [0.0]])
    z = np.array([[3.0, 0.0], [3.0, -1.0], [-2.0, -0.5]])
    assert np.isposinf(loss.value(z, y)).all()
    above = np.column_stack([z[:, 0], np.full(3, 1e-9)])
    np.testing.assert_allclose(loss.gradient(z, y), loss.gradient(above, y))
    np.testing.assert_allclose(loss.hessian(z, y), 0.0)
    exact = loss.gradient(np.array([[1.0, 0.0]]), np.array([[1.0]]))
    assert np.isfinite(exact).all()


@pytest.mark.parametrize(
    ("loss", "epsilon"),
    [
        (HuberLoss, 0.0),
        (HuberLoss, np.nan),
        (SquaredEpsilonInsensitiveLoss, -0.1),
        (ScaledHuberLoss, 0.9),
    ],
)
def test_epsilon_out_of_range(loss, epsilon):
    with pytest.raises(ValueError, match="epsilon="):
        loss(epsilon)


# -- a binary loss for every output ----------------------------------------------------


@pytest.mark.parametrize("base", BINARY, ids=repr)
def test_per_output_losses_add_up_binary_ones(base):
    positive, negative = [1.0, 2.0, 3.0], [0.5, 0.0, 1.5]
    loss = OneVsRestLoss(base, positive, negative)
    labels = MultilabelLoss(base, positive, negative)
    z, y = raw_and_targets(loss, 3)
    value, gradient = np.zeros(len(z)), np.zeros_like(z)
    for a in range(3):
        code = (y == a).astype(int)
        weight = np.where(code == 1, positive[a], negative[a])
        value += weight * base.value(z[:, a : a + 1], code)
        gradient[:, a] = weight * base.gradient(z[:, a : a + 1], code)[:, 0]
    for ours, targets in (loss, y), (labels, np.eye(3)[y]):
        np.testing.assert_allclose(ours.value(z, targets), value, rtol=1e-12)
        np.testing.assert_allclose(ours.gradient(z, targets), gradient, rtol=1e-12)
        assert ours.unweighted() == type(ours)(base)
        assert ours.dispersion(z, targets, np.ones(len(z))) == pytest.approx(
            ours.unweighted().dispersion(z, targets, np.ones(len(z)))
        )


@pytest.mark.parametrize("k", [2, 3])
def test_modified_huber_predicts_what_sgd_does(k):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 3)), rng.integers(0, k, 60)
    sgd = SGDClassifier(loss="modified_huber", random_state=0).fit(X, y)
    z = sgd.decision_function(X).reshape(len(X), -1)
    loss = ModifiedHuberLoss() if k == 2 else OneVsRestLoss(ModifiedHuberLoss())
    if k == 3:
        assert (z <= -1.0).all(axis=1).any()  # uniform there
    np.testing.assert_allclose(loss.predict(z), sgd.predict_proba(X), atol=1e-14)
    assert (sgd.classes_[loss.decide(z)] == sgd.predict(X)).all()


# -- the check itself ------------------------------------------------------------------

FAULTS = {
    "affine=True says": (HuberLoss, dict(affine=True)),
    "loss.decide picks": (
        SquaredHingeLoss,
        dict(decide=lambda self, z: (z[:, 0] < 0.0).astype(int)),
    ),
    "no weights left": (
        OneVsRestLoss,
        dict(unweighted=lambda self: OneVsRestLoss(positive=[1.0, 2.0, 3.0])),
    ),
    "loss.unweighted().predict": (
        OneVsRestLoss,
        dict(unweighted=lambda self: OneVsRestLoss(CodedLoss())),
    ),
}


@pytest.mark.parametrize("identity", FAULTS)
def test_check_loss_names_what_is_wrong(identity):
    base, methods = FAULTS[identity]
    loss = type(f"Wrong{base.__name__}", (base,), methods)()
    k = 3 if base is OneVsRestLoss else 1
    with pytest.raises(AssertionError) as raised:
        check_loss(loss, *raw_and_targets(loss, k))
    assert identity in str(raised.value)
