"""Attack metrics against counting, scikit-learn and scipy; LiRA against loops."""

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score, roc_curve

from skpuma.metrics import (
    attack_gap,
    lira_scores,
    logit_confidence,
    membership_attack,
    prediction_gap,
)


def scores(seed, m=60, f=90, shift=0.7, levels=None):
    """Scores of members and fresh rows; with few levels, many are equal."""
    rng = np.random.default_rng(seed)
    members, fresh = rng.standard_normal(m) + shift, rng.standard_normal(f)
    if levels is not None:
        members, fresh = np.round(members * levels), np.round(fresh * levels)
    return members, fresh


def together(members, fresh):
    """(is a member, score) of all rows."""
    truth = np.repeat([1, 0], [len(members), len(fresh)])
    return truth, np.concatenate([members, fresh])


def attack(members, fresh, **settings):
    settings = {"n_bootstrap": 20, "random_state": 0, **settings}
    return membership_attack(members, fresh, **settings)


# -- membership_attack -----------------------------------------------------------------

cases = pytest.mark.parametrize("levels", [None, 2, 0], ids=str)


@cases
@pytest.mark.parametrize("seed", range(3))
def test_measures_are_those_of_the_roc_curve(seed, levels):
    members, fresh = scores(seed, levels=levels)
    truth, values = together(members, fresh)
    found = attack(members, fresh, fpr=0.1)
    assert found.auc.value == pytest.approx(roc_auc_score(truth, values))
    u = stats.mannwhitneyu(members, fresh).statistic
    assert found.auc.value == pytest.approx(u / (len(members) * len(fresh)))
    fpr, tpr, _ = roc_curve(truth, values, drop_intermediate=False)
    assert found.advantage.value == pytest.approx(max(tpr - fpr))
    assert found.tpr.value == pytest.approx(tpr[fpr <= 0.1].max())


def test_advantage_is_the_kolmogorov_smirnov_distance_to_one_side():
    members, fresh = scores(4)
    distance = stats.ks_2samp(members, fresh, alternative="less").statistic
    assert attack(members, fresh).advantage.value == pytest.approx(distance)


@cases
def test_advantage_at_a_threshold_is_counted(levels):
    members, fresh = scores(5, levels=levels)
    for threshold in (-np.inf, 0.0, 0.31, fresh[3], 9.0, np.inf):
        found = attack(members, fresh, threshold=threshold).threshold_advantage
        counted = np.mean(members >= threshold) - np.mean(fresh >= threshold)
        assert found.value == pytest.approx(counted, abs=1e-15)
    assert attack(members, fresh).threshold_advantage is None


def test_few_fresh_rows_allow_no_false_positive():
    members, fresh = scores(6, f=50)
    found = attack(members, fresh, fpr=0.01)
    assert found.tpr.value == np.mean(members > fresh.max())
    assert attack(members, np.append(fresh, [9.0] * 50), fpr=0.4).tpr.value == 0.0


def test_guessing_and_certainty():
    same = np.zeros(30)
    found = attack(same, same)
    assert found.auc == (0.5, 0.5, 0.5)
    assert found.advantage == found.tpr == (0.0, 0.0, 0.0)
    sure = attack(same + np.inf, same)
    assert sure.auc == sure.advantage == sure.tpr == (1.0, 1.0, 1.0)
    assert attack(same, same + 1.0).auc.value == 0.0


def test_resamples_are_what_a_naive_bootstrap_draws():
    members, fresh = scores(7)
    found = attack(members, fresh, n_bootstrap=25, random_state=3, level=0.8)
    rng = np.random.RandomState(3)
    drawn = []
    for _ in range(25):
        a = members[rng.randint(len(members), size=len(members))]
        b = fresh[rng.randint(len(fresh), size=len(fresh))]
        drawn.append(roc_auc_score(*together(a, b)))
    expected = np.quantile(drawn, [0.1, 0.9])
    np.testing.assert_allclose(found.auc[1:], expected, atol=1e-12)


def test_interval_of_the_auc_has_the_width_that_theory_gives():
    # DeLong: var = var(placements of members) / m + var(placements of fresh) / f.
    members, fresh = scores(8, m=200, f=300)
    above = (members[:, None] > fresh).astype(float)
    variance = above.mean(1).var(ddof=1) / 200 + above.mean(0).var(ddof=1) / 300
    low, high = attack(members, fresh, n_bootstrap=1500).auc[1:]
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(variance), rel=0.1)


def test_only_the_order_of_scores_and_rows_does_not_count():
    members, fresh = scores(9)
    found = attack(members, fresh)
    assert attack(np.exp(members), np.exp(fresh)) == found
    shuffled = attack(members[::-1], np.sort(fresh))
    assert shuffled.auc.value == pytest.approx(found.auc.value)


def test_frame():
    frame = attack(*scores(0), threshold=0.0, fpr=0.05).to_frame()
    assert frame.index.tolist() == [
        "auc",
        "advantage",
        "tpr at 5 % fpr",
        "advantage at the threshold",
    ]
    assert (frame["low"] <= frame["value"]).all()
    assert (frame["value"] <= frame["high"]).all()


# -- attack_gap ------------------------------------------------------------------------


def test_gap_is_the_difference_and_zero_to_oneself():
    first, second = scores(0), scores(1, shift=0.2)
    gap = attack_gap(attack(*first), attack(*second), n_bootstrap=50, random_state=0)
    aucs = [roc_auc_score(*together(*one)) for one in (first, second)]
    assert gap.auc.value == pytest.approx(aucs[0] - aucs[1])
    assert gap.auc.low < gap.auc.value < gap.auc.high
    same = attack_gap(attack(*first), attack(*first), n_bootstrap=50, random_state=0)
    assert same.auc == same.advantage == same.tpr == (0.0, 0.0, 0.0)
    assert same.threshold_advantage is None


def test_gap_pairs_the_rows():
    members, fresh = scores(2)
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(members))
    one, other = attack(members, fresh), attack(members + noise, fresh)
    gap = attack_gap(one, other, n_bootstrap=200, random_state=0)
    apart = [attack(*scores(2), n_bootstrap=200, random_state=s).auc for s in (0, 1)]
    alone = apart[0].high - apart[0].low
    assert gap.auc.high - gap.auc.low < 0.3 * alone


def test_gap_at_thresholds_of_their_own():
    members, fresh = scores(3)
    one = attack(members, fresh, threshold=0.2)
    other = attack(members - 1.0, fresh - 1.0, threshold=-0.8)
    gap = attack_gap(one, other, n_bootstrap=5, random_state=0)
    assert gap.threshold_advantage.value == pytest.approx(0.0)
    plain = attack_gap(one, attack(members, fresh), n_bootstrap=5, random_state=0)
    assert plain.threshold_advantage is None


def test_gap_of_other_rows_is_refused():
    one = attack(*scores(0))
    with pytest.raises(ValueError, match="60 and 59 members"):
        attack_gap(one, attack(*scores(0, m=59)))
    with pytest.raises(ValueError, match="measure both alike"):
        attack_gap(one, attack(*scores(0), fpr=0.2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": []}, "members is empty"),
        ({"fresh": [np.nan]}, "fresh has nan"),
        ({"fpr": 0.0}, "fpr=0.0"),
        ({"level": 1}, "level=1 is not between"),
        ({"n_bootstrap": 0}, "n_bootstrap must be >= 1"),
        ({"threshold": np.nan}, "threshold must be finite"),
    ],
    ids=str,
)
def test_bad_attacks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        membership_attack(**{"members": [1.0], "fresh": [0.0], **change})


# -- LiRA ------------------------------------------------------------------------------


def shadow_problem(n_models=12, n=8, seed=0, spread=(0.4, 1.3)):
    """Confidences with another level and spread inside and outside."""
    rng = np.random.default_rng(seed)
    inside = np.stack([rng.permutation(n_models) < n_models // 2 for _ in range(n)], 1)
    level = 3.0 * rng.standard_normal(n)
    noise = rng.standard_normal((n_models, n))
    shadows = level + np.where(inside, 1.0 + spread[0] * noise, spread[1] * noise)
    return level + rng.standard_normal(n), shadows, inside


def naive_lira(target, shadows, inside, fixed, offline):
    """Row by row, with scipy's normal distribution."""
    n = len(target)
    spreads = []
    for chosen in (inside, ~inside):
        own = [np.std(shadows[chosen[:, i], i], ddof=1) for i in range(n)]
        if fixed:
            square = sum(
                np.sum((one - one.mean()) ** 2)
                for one in (shadows[chosen[:, i], i] for i in range(n))
            )
            own = [np.sqrt(square / (chosen.sum() - n))] * n
        spreads.append(own)
    out = np.empty(n)
    for i in range(n):
        yes, no = shadows[inside[:, i], i], shadows[~inside[:, i], i]
        without = stats.norm(np.median(no), spreads[1][i])
        if offline:
            out[i] = np.log(without.cdf(target[i]))
        else:
            trained = stats.norm(np.median(yes), spreads[0][i])
            out[i] = np.log(trained.pdf(target[i]) / without.pdf(target[i]))
    return out


@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
@pytest.mark.parametrize("fixed", [False, True], ids=["own", "fixed"])
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_the_loop(seed, fixed, offline):
    problem = shadow_problem(seed=seed)
    found = lira_scores(*problem, fix_variance=fixed, offline=offline)
    np.testing.assert_allclose(found, naive_lira(*problem, fixed, offline), rtol=1e-10)


@pytest.mark.parametrize(("n_models", "fixed"), [(62, True), (64, False)])
def test_auto_fixes_the_variance_of_few_models(n_models, fixed):
    problem = shadow_problem(n_models)
    np.testing.assert_array_equal(
        lira_scores(*problem), lira_scores(*problem, fix_variance=fixed)
    )


def test_fixed_spread_outside_is_that_of_the_models_outside():
    # Inside all models agree; a spread taken from them would explode the scores.
    target, shadows, inside = shadow_problem(spread=(1e-6, 1.0))
    found = lira_scores(target, shadows, inside, fix_variance=True, offline=True)
    outside = np.array([np.median(shadows[~inside[:, i], i]) for i in range(8)])
    pooled = np.sqrt(
        np.mean([np.var(shadows[~inside[:, i], i], ddof=1) for i in range(8)])
    )
    assert 0.5 < pooled < 1.5
    np.testing.assert_allclose(found, stats.norm.logcdf((target - outside) / pooled))


def test_spread_between_rows_is_not_counted():
    target, shadows, inside = shadow_problem()
    level = np.linspace(-1e4, 1e4, 8)
    np.testing.assert_allclose(
        lira_scores(target + level, shadows + level, inside),
        lira_scores(target, shadows, inside),
        rtol=1e-6,
    )


def test_offline_needs_no_model_trained_on_the_rows():
    target, shadows, _ = shadow_problem()
    none = np.zeros(shadows.shape, dtype=bool)
    found = lira_scores(target, shadows, none, offline=True)
    assert (found <= 0.0).all()
    far = lira_scores(target + 30.0, shadows, none, offline=True)
    assert (far > found).all()
    with pytest.raises(ValueError, match="trained on them.*offline=True"):
        lira_scores(target, shadows, none)


def test_likelihood_ratio_finds_what_a_threshold_does_not():
    # Membership lifts a row by 1, rows differ by 5.
    rng = np.random.default_rng(0)
    n, models = 200, 32
    inside = np.stack([rng.permutation(models) < models // 2 for _ in range(n)], 1)
    level, noise = 5.0 * rng.standard_normal(n), rng.standard_normal((models, n))
    shadows = level + inside + 0.5 * noise
    member = np.arange(n) < n // 2
    target = level + member + 0.5 * rng.standard_normal(n)
    ratio = lira_scores(target, shadows, inside)
    assert roc_auc_score(member, target) < 0.65
    # Two Gaussians one apart, with a spread of 0.5: Phi(1 / (0.5 sqrt 2)) = 0.92.
    assert roc_auc_score(member, ratio) == pytest.approx(0.92, abs=0.04)


def test_models_that_all_agree_give_finite_scores():
    shadows = np.ones((4, 2))
    inside = np.array([[True, False]] * 2 + [[False, True]] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lira_scores([1.0, 1.0], shadows, inside)
    np.testing.assert_array_equal(found, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.zeros(7)}, "both are .models, 7"),
        ({"inside": np.zeros((12, 8))}, "inside is boolean"),
        ({"fix_variance": "yes"}, "fix_variance='yes'"),
        ({"inside": np.ones((12, 8), bool)}, "not trained on them"),
    ],
    ids=str,
)
def test_bad_shadows_are_refused(change, message):
    target, shadows, inside = shadow_problem()
    given = {"target": target, "shadows": shadows, "inside": inside, **change}
    with pytest.raises(ValueError, match=message):
        lira_scores(**given)


def test_a_variance_of_ones_own_needs_two_models():
    target, shadows, inside = shadow_problem(2)
    with pytest.raises(ValueError, match="and need 2"):
        lira_scores(target, shadows, inside, fix_variance=False)
    with pytest.raises(ValueError, match="No row has two"):
        lira_scores(target, shadows, inside)


def test_confidence_is_the_log_odds_of_the_label():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 30)
    y = rng.integers(4, size=30)
    own = p[np.arange(30), y]
    np.testing.assert_allclose(logit_confidence(p, y), np.log(own / (1.0 - own)))


def test_confidence_of_a_sure_model_is_not_rounded_away():
    z = 60.0
    p = np.array([[1.0 / (1.0 + np.exp(-z)), np.exp(-z) / (1.0 + np.exp(-z))]])
    assert p[0, 0] == 1.0
    assert logit_confidence(p, [0])[0] == pytest.approx(z)
    assert logit_confidence(p, [1])[0] == pytest.approx(-z)
    extreme = logit_confidence([[1.0, 0.0], [1.0, 0.0]], [0, 1])
    np.testing.assert_allclose(extreme, np.array([1.0, -1.0]) * 45 * np.log(10))


@pytest.mark.parametrize("y", [[2], [-1], [0.5], [0, 1]], ids=str)
def test_labels_outside_the_columns_are_refused(y):
    with pytest.raises(ValueError, match="column|one label per row"):
        logit_confidence([[0.5, 0.5]], y)


# -- prediction_gap --------------------------------------------------------------------


def test_gap_of_probabilities_is_counted_and_that_of_scipy():
    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.ones(3), 50) for _ in range(2))
    found = prediction_gap(p, q)
    assert found.kl == pytest.approx(
        np.mean([stats.entropy(a, b) for a, b in zip(p, q, strict=True)])
    )
    differ = [a.argmax() != b.argmax() for a, b in zip(p, q, strict=True)]
    assert found.disagreement == np.mean(differ)
    assert found.rms is None
    same = prediction_gap(p, p)
    assert (same.disagreement, same.kl) == (0.0, 0.0)


def test_divergence_is_the_loss_beyond_the_entropy():
    p = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    q = np.array([[0.7, 0.3], [0.6, 0.4], [0.9, 0.1]])
    assert prediction_gap(p, q).kl == pytest.approx(log_loss([0, 1, 0], q))


def test_divergence_is_finite_where_a_model_is_sure():
    p, q = np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])
    eps = np.finfo(float).eps
    expected = np.log(0.5) - 0.5 * np.log(eps)
    assert prediction_gap(p, q).kl == pytest.approx(expected)
    assert prediction_gap(q, p).kl == pytest.approx(np.log(2.0))


def test_gap_of_a_regression():
    p, q = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 4.0])
    assert prediction_gap(p, q).rms == pytest.approx(np.sqrt(5 / 3))
    both = prediction_gap(np.c_[p, p], np.c_[q, p], regression=True)
    assert both.rms == pytest.approx(np.sqrt(5 / 3))
    assert both.kl is None and both.disagreement is None


@pytest.mark.parametrize(
    ("p", "q", "regression", "message"),
    [
        ([1.0], [1.0, 2.0], "auto", "shape"),
        ([], [], "auto", "at least one"),
        ([[0.5, 0.6]], [[0.5, 0.5]], "auto", "p does not hold"),
        ([[0.5, 0.5]], [[1.5, -0.5]], "auto", "q does not hold"),
        ([0.5], [0.5], False, "p does not hold"),
        ([0.5], [0.5], "yes", "regression='yes'"),
    ],
)
def test_bad_predictions_are_refused(p, q, regression, message):
    with pytest.raises(ValueError, match=message):
        prediction_gap(p, q, regression=regression)
