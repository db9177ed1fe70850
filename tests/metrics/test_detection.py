"""Detection metrics against counting, all orders of ties, and scikit-learn."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from skpuma.metrics import (
    detection_area,
    detection_average_precision,
    detection_curve,
    detection_recall,
)

METRICS = [
    detection_area,
    detection_average_precision,
    detection_curve,
    detection_recall,
]


def case(seed, n=40, levels=None):
    """Values (with ties, if there are few levels) and wrong labels."""
    rng = np.random.default_rng(seed)
    noisy = rng.random(n) < 0.3
    noisy[:2] = [True, False]
    values = rng.standard_normal(n) - noisy
    return (values if levels is None else np.round(values * levels)), noisy


def counted(values, noisy):
    """The curve by walking through the rows in stable order."""
    found = [0]
    for row in np.argsort(values, kind="stable"):
        found.append(found[-1] + int(noisy[row]))
    return np.array(found) / noisy.sum()


@pytest.mark.parametrize("seed", range(3))
def test_curve_counts_what_is_found(seed):
    values, noisy = case(seed)
    inspected, found = detection_curve(values, noisy)
    np.testing.assert_allclose(inspected, np.arange(41) / 40)
    np.testing.assert_allclose(found, counted(values, noisy), atol=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_curve_with_ties_is_the_mean_over_all_orders(seed):
    values, noisy = case(seed, n=7, levels=1)
    assert len(np.unique(values)) < 7
    orders = [list(order) for order in permutations(range(7))]
    mean = np.mean([counted(values[o], noisy[o]) for o in orders], axis=0)
    np.testing.assert_allclose(detection_curve(values, noisy)[1], mean, atol=1e-12)


@pytest.mark.parametrize("levels", [None, 2, 0])
@pytest.mark.parametrize("metric", METRICS)
def test_order_of_the_rows_does_not_count(metric, levels):
    values, noisy = case(0, levels=levels)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(values))
        np.testing.assert_allclose(
            metric(values[order], noisy[order]), metric(values, noisy), atol=1e-12
        )


@pytest.mark.parametrize("metric", METRICS)
def test_only_the_order_of_the_values_counts(metric):
    values, noisy = case(1)
    np.testing.assert_array_equal(metric(np.exp(values), noisy), metric(values, noisy))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1.0])
def test_recall_counts_the_lowest_rows(share):
    values, noisy = case(2)
    lowest = np.argsort(values)[: round(share * len(values))]
    expected = noisy[lowest].sum() / noisy.sum()
    assert detection_recall(values, noisy, inspected=share) == pytest.approx(expected)


def test_area_of_the_best_the_worst_and_ties():
    noisy = np.arange(20) < 5
    assert detection_area(-1.0 * noisy, noisy) == pytest.approx(1.0)
    rate = 0.25
    worst = rate / (2.0 - rate)
    assert detection_area(1.0 * noisy, noisy) == pytest.approx(worst)
    same = np.zeros(20)
    assert detection_area(same, noisy) == pytest.approx(1.0 / (2.0 - rate))
    assert detection_recall(same, noisy, inspected=0.3) == pytest.approx(0.3)
    assert detection_average_precision(same, noisy) == pytest.approx(rate)


@pytest.mark.parametrize("levels", [None, 1])
def test_area_is_a_line_in_the_area_under_the_roc_curve(levels):
    # Found over all rows mixes the ROC curve with the wrong rows themselves:
    # area = (1 - r) AUC + r / 2.
    values, noisy = case(3, levels=levels)
    r = noisy.mean()
    area = (1.0 - r) * roc_auc_score(noisy, -values) + r / 2.0
    assert detection_area(values, noisy) == pytest.approx(area / (1.0 - r / 2.0))


@pytest.mark.parametrize("levels", [None, 1])
def test_average_precision_is_that_of_scikit_learn(levels):
    values, noisy = case(4, levels=levels)
    expected = average_precision_score(noisy, -values)
    assert detection_average_precision(values, noisy) == pytest.approx(expected)


def test_average_precision_is_the_mean_precision_at_the_wrong_rows():
    values, noisy = case(5)
    wrong = noisy[np.argsort(values)]
    precision = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    found = detection_average_precision(values, noisy)
    assert found == pytest.approx(precision[wrong].mean())


@pytest.mark.parametrize("metric", METRICS)
def test_infinite_values_have_a_rank(metric):
    values, noisy = case(6)
    low, high = values.argmin(), values.argmax()
    extreme = values.copy()
    extreme[[low, high]] = -np.inf, np.inf
    np.testing.assert_array_equal(metric(extreme, noisy), metric(values, noisy))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("values", "noisy", "match"),
    [
        ([1.0, np.nan], [1, 0], "values has 1 nan"),
        ([1.0, 2.0], [1, 0, 0], "inconsistent numbers of samples"),
        ([1.0, 2.0], [0, 0], "marks no row"),
        ([1.0, 2.0], [1, 1], "marks every row"),
        ([1.0, 2.0], [0, 2], "must be a boolean mask"),
        ([[1.0, 2.0], [3.0, 4.0]], [0, 1], "1d array"),
    ],
)
def test_bad_input(metric, values, noisy, match):
    with pytest.raises(ValueError, match=match):
        metric(values, noisy)


def test_recall_of_an_impossible_share():
    with pytest.raises(ValueError, match="inspected"):
        detection_recall([1.0, 2.0], [1, 0], inspected=1.5)
