import numpy as np
import pandas as pd
import pytest

from skpuma.metrics import demographic_parity_difference, equalized_odds_difference


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b", "c"], size=240)
    y = rng.integers(2, size=240)
    predicted = np.where(rng.random(240) < 0.7, y, rng.integers(2, size=240))
    return y, predicted, group, rng.random(240)


def rates(chosen, selected, group, weight):
    return [
        np.average(chosen[part], weights=weight[part])
        for part in (selected & (group == g) for g in np.unique(group))
    ]


def test_demographic_parity_is_a_gap_of_selection_rates(rows):
    y, predicted, group, weight = rows
    expected = np.ptp(rates(predicted == 1, np.ones(240, bool), group, weight))
    ours = demographic_parity_difference(
        y, predicted, sensitive_features=group, sample_weight=weight
    )
    assert ours == pytest.approx(expected, rel=1e-12)
    opposite = demographic_parity_difference(
        y, predicted, sensitive_features=group, sample_weight=weight, pos_label=0
    )
    assert opposite == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("agg", "combine"), [("worst_case", max), ("mean", np.mean)])
def test_equalized_odds_combines_both_gaps(rows, agg, combine):
    y, predicted, group, weight = rows
    gaps = [
        np.ptp(rates(predicted == 1, y == label, group, weight)) for label in (0, 1)
    ]
    ours = equalized_odds_difference(
        y, predicted, sensitive_features=group, sample_weight=weight, agg=agg
    )
    assert ours == pytest.approx(combine(gaps), rel=1e-12)


def test_values_of_fairlearn():
    # fairlearn 0.15 with the same arguments: 0.6 - 0.3, and the larger of
    # 0.75 - 0.25 and 0.5 - 1 / 3.
    y = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0] * 2)
    predicted = np.array(
        [1, 1, 1, 0, 1, 1, 1, 0, 0, 0] + [1, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    )
    group = np.repeat([0, 1], 10)
    parity = demographic_parity_difference(y, predicted, sensitive_features=group)
    assert parity == pytest.approx(0.3)
    odds = equalized_odds_difference(y, predicted, sensitive_features=group)
    assert odds == pytest.approx(0.5)


@pytest.mark.parametrize(
    "metric", [demographic_parity_difference, equalized_odds_difference]
)
class TestBoth:
    def test_labels_of_any_kind(self, rows, metric):
        y, predicted, group, _ = rows
        expected = metric(y, predicted, sensitive_features=group)
        for classes in ((1, 2), (-1, 1), ("no", "yes")):
            names = np.array(classes)
            ours = metric(
                names[y],
                names[predicted],
                sensitive_features=group,
                pos_label=classes[1],
            )
            assert ours == expected

    def test_a_weight_is_a_number_of_rows(self, rows, metric):
        y, predicted, group, _ = rows
        weight = 1 + np.arange(240) % 2
        repeat = np.repeat(np.arange(240), weight)
        ours = metric(y, predicted, sensitive_features=group, sample_weight=weight)
        repeated = metric(
            y[repeat], predicted[repeat], sensitive_features=group[repeat]
        )
        assert ours == pytest.approx(repeated, rel=1e-12)

    def test_groups_of_any_kind(self, rows, metric):
        y, predicted, group, _ = rows
        expected = metric(y, predicted, sensitive_features=group)
        as_series = pd.Series(group, index=np.arange(240) + 7)
        assert metric(y, predicted, sensitive_features=as_series) == expected
        frame = pd.DataFrame({"one": group, "two": "same"})
        assert metric(y, predicted, sensitive_features=frame) == expected

    def test_equal_groups_have_no_gap(self, rows, metric):
        y, predicted, _, _ = rows
        twice = np.repeat([0, 1], 240)
        gap = metric(np.tile(y, 2), np.tile(predicted, 2), sensitive_features=twice)
        assert gap == 0.0

    def test_a_group_without_weight_does_not_count(self, rows, metric):
        y, predicted, group, _ = rows
        weight = (group != "c").astype(float)
        ours = metric(y, predicted, sensitive_features=group, sample_weight=weight)
        keep = group != "c"
        assert ours == pytest.approx(
            metric(y[keep], predicted[keep], sensitive_features=group[keep]), rel=1e-12
        )

    def test_refusals(self, rows, metric):
        y, predicted, group, _ = rows
        with pytest.raises(ValueError, match="fewer than two groups"):
            metric(y, predicted, sensitive_features=np.zeros(240))
        with pytest.raises(ValueError, match="pos_label=1"):
            metric(y + 3, predicted + 3, sensitive_features=group)
        with pytest.raises(ValueError, match="239 rows"):
            metric(y, predicted[1:], sensitive_features=group)
        with pytest.raises(ValueError, match="sensitive_features"):
            metric(y, predicted, sensitive_features=group[1:])
        with pytest.raises(TypeError, match="sensitive_features"):
            metric(y, predicted)


def test_no_positive_prediction_is_a_rate_of_zero():
    nobody = np.zeros(4, dtype=int)
    gap = demographic_parity_difference(nobody, nobody, sensitive_features=[0, 0, 1, 1])
    assert gap == 0.0


def test_a_rate_that_no_group_has():
    y, group = np.array([1, 1, 1, 0]), np.array([0, 0, 1, 1])
    with pytest.raises(ValueError, match="fewer than two groups"):
        equalized_odds_difference(y, y, sensitive_features=group)


def test_unknown_agg():
    with pytest.raises(ValueError, match="agg='max'"):
        equalized_odds_difference([0, 1], [0, 1], sensitive_features=[0, 1], agg="max")


def test_probabilities_are_no_predictions():
    with pytest.raises(ValueError, match="probabilities or scores"):
        demographic_parity_difference(
            [0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], sensitive_features=[0, 0, 1, 1]
        )
