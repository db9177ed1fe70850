import numpy as np
import pytest
from scipy.special import expit, softmax

from skpuma.criteria import CalibrationError
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.metrics import expected_calibration_error


def by_the_book(confidence, outcome, weight, n_bins):
    """One bin at a time, each with its own mean gap."""
    total = 0.0
    for b in range(n_bins):
        inside = (confidence > b / n_bins) & (confidence <= (b + 1) / n_bins)
        if b == 0:
            inside |= confidence == 0.0
        if weight[inside].sum() > 0:
            gap = np.average((outcome - confidence)[inside], weights=weight[inside])
            total += weight[inside].sum() / weight.sum() * abs(gap)
    return total


@pytest.fixture
def binary():
    rng = np.random.default_rng(0)
    z = 2.0 * rng.standard_normal((400, 1))
    y = (rng.random(400) < expit(0.5 * z[:, 0])).astype(int)
    return z, y, rng.random(400)


@pytest.fixture
def multiclass():
    rng = np.random.default_rng(1)
    z = 2.0 * rng.standard_normal((300, 4))
    return z, rng.integers(4, size=300), rng.random(300)


@pytest.mark.parametrize("n_bins", [1, 4, 15])
def test_binary_against_the_book_and_the_criterion(binary, n_bins):
    z, y, weight = binary
    p = expit(z[:, 0])
    ours = expected_calibration_error(y, p, n_bins=n_bins, sample_weight=weight)
    assert ours == pytest.approx(by_the_book(p, y, weight, n_bins), rel=1e-12)
    criterion = CalibrationError(n_bins, binning="fixed").for_loss(BinaryLogLoss())
    assert ours == pytest.approx(criterion.value(z, y, sample_weight=weight), rel=1e-12)


@pytest.mark.parametrize("n_bins", [1, 10])
def test_top_label_against_the_book_and_the_criterion(multiclass, n_bins):
    z, y, weight = multiclass
    p = softmax(z, axis=1)
    ours = expected_calibration_error(y, p, n_bins=n_bins, sample_weight=weight)
    outcome = (p.argmax(axis=1) == y).astype(float)
    book = by_the_book(p.max(axis=1), outcome, weight, n_bins)
    assert ours == pytest.approx(book, rel=1e-12)
    loss = MultinomialLogLoss()
    criterion = CalibrationError(n_bins, binning="fixed").for_loss(loss)
    assert ours == pytest.approx(criterion.value(z, y, sample_weight=weight), rel=1e-12)


def test_two_columns_are_binary(binary):
    z, y, _ = binary
    p = expit(z[:, 0])
    two = expected_calibration_error(y, np.stack([1 - p, p], axis=1))
    assert two == expected_calibration_error(y, p)


@pytest.mark.parametrize("classes", [(1, 2), (-1, 1), ("no", "yes"), (False, True)])
def test_labels_of_any_kind(binary, classes):
    z, y, _ = binary
    p = expit(z[:, 0])
    named = np.array(classes)[y]
    assert expected_calibration_error(named, p) == expected_calibration_error(y, p)


def test_labels_say_which_column_is_which(multiclass, binary):
    z, y, _ = multiclass
    p, order = softmax(z, axis=1), [2, 0, 3, 1]
    shuffled = expected_calibration_error(y, p[:, order], labels=order)
    assert shuffled == expected_calibration_error(y, p)
    z, y, _ = binary
    p = expit(z[:, 0])
    turned = expected_calibration_error(y, 1 - p, labels=[1, 0], n_bins=1)
    assert turned == pytest.approx(expected_calibration_error(y, p, n_bins=1))


def test_a_weight_is_a_number_of_rows(binary):
    z, y, _ = binary
    p = expit(z[:, 0])
    weight = np.arange(len(y)) % 3
    rows = np.repeat(np.arange(len(y)), weight)
    weighted = expected_calibration_error(y, p, sample_weight=weight)
    repeated = expected_calibration_error(y[rows], p[rows])
    assert weighted == pytest.approx(repeated, rel=1e-12)
    scaled = expected_calibration_error(y, p, sample_weight=7.5 * weight)
    assert scaled == pytest.approx(weighted, rel=1e-12)


def test_order_of_rows_does_not_matter(binary):
    z, y, weight = binary
    p, order = expit(z[:, 0]), np.random.default_rng(2).permutation(len(y))
    one = expected_calibration_error(y, p, sample_weight=weight)
    other = expected_calibration_error(y[order], p[order], sample_weight=weight[order])
    assert one == pytest.approx(other, rel=1e-12)


def test_certain_and_right_is_calibrated():
    assert expected_calibration_error([0, 1, 1], [0.0, 1.0, 1.0]) == 0.0
    assert expected_calibration_error([0, 1], [1.0, 0.0]) == 1.0


def test_one_class_only():
    assert expected_calibration_error([0, 0], [0.25, 0.25]) == pytest.approx(0.25)
    assert expected_calibration_error([-1, -1], [0.25, 0.25]) == pytest.approx(0.25)
    assert expected_calibration_error([1, 1], [0.25, 0.25]) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="Pass labels="):
        expected_calibration_error(["no", "no"], [0.25, 0.25])
    alone = expected_calibration_error(["no"], [0.25], labels=["no", "yes"])
    assert alone == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("y", "p", "keywords", "message"),
    [
        ([0, 1], [0.5, 1.5], {}, "between 0 and 1"),
        ([0, 1], [-3.0, 0.5], {}, "between 0 and 1"),
        ([0, 1], [np.nan, 0.5], {}, "NaN"),
        ([0, 1], [0.5, 0.5, 0.5], {}, "3 rows"),
        ([0, 1], [[0.5], [0.5]], {}, "one column"),
        ([0, 1], [[0.5, 0.9], [0.5, 0.5]], {}, "sum to 1"),
        ([0, 1, 2], [0.5, 0.5, 0.5], {}, "2 classes"),
        ([0, 1], [[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]], {}, "3 classes"),
        ([0, 1], [0.5, 0.5], {"labels": [1, 1]}, "2 classes"),
        ([0, 7], [0.5, 0.5], {"labels": [0, 1]}, "not in labels"),
        ([0, 1], [0.5, 0.5], {"n_bins": 0}, "n_bins"),
        ([0, 1], [0.5, 0.5], {"sample_weight": [1.0, -1.0]}, "negative"),
    ],
)
def test_refusals(y, p, keywords, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(y, p, **keywords)
