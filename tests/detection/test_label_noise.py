"""label_noise: the posterior of labels, against closed forms and known noise."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import optimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from skpuma.detection import VIEWS, LabelledRows, LabelNoise, label_noise
from skpuma.detection import _label_noise as room
from skpuma.detection._rates import fitted_rates, negative_likelihood
from skpuma.models import adapt
from skpuma.utils._registry import load
from tests.data import blobs
from tests.detection.tables import Told, table_of

# P(given j | true k).
TRUE_T = {
    2: np.array([[0.9, 0.1], [0.25, 0.75]]),
    3: np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.15, 0.15, 0.7]]),
}


def distributions(n, k, seed=0, sharpness=4.0):
    """P(true k | x) (n, k) of rows that are told apart more or less well."""
    logits = sharpness * np.random.default_rng(seed).standard_normal((n, k))
    P = np.exp(logits - logits.max(axis=1, keepdims=True))
    return P / P.sum(axis=1, keepdims=True)


def drawn(P, rng):
    """A class for every row of P."""
    return (np.cumsum(P, axis=1) > rng.random((len(P), 1))).argmax(axis=1)


def noisy(k=3, n=6000, T=None, seed=0, sharpness=4.0):
    """What is known, and what is not: P, given label and whether it was flipped."""
    rng = np.random.default_rng(seed + 100)
    P = distributions(n, k, seed, sharpness)
    true = drawn(P, rng)
    given = drawn((TRUE_T[k] if T is None else T)[true], rng)
    return SimpleNamespace(
        P=P, true=true, given=given, flipped=given != true, X=np.zeros((n, 1))
    )


def told(case, *answers, weight=None, source=None, **more):
    """label_noise with one view, which says P unless it is told otherwise."""
    k = case.P.shape[1]
    table = table_of(case.X, case.given, weight, source=source, n_classes=k)
    view = Told(table, *(answers or [case.P]))
    return label_noise({"told": view}, table, **more), view


# -- mixtures --------------------------------------------------------------------------


def log_likelihood(share, likelihood, weight):
    return weight @ np.log(likelihood @ share) / weight.sum()


@pytest.mark.parametrize("V", [2, 3, 5])
def test_shares_make_the_observations_most_probable(V):
    rng = np.random.default_rng(V)
    likelihood, weight = rng.uniform(0.05, 1.0, (400, V)), rng.uniform(0.1, 3.0, 400)
    # The views are right about different rows, and the last one about none.
    for v in range(V - 1):
        likelihood[v * 70 : v * 70 + 70, v] = 0.9
    likelihood[:, -1] *= 0.3
    found = room.mixture_shares(likelihood, weight)
    best = optimize.minimize(
        lambda s: -log_likelihood(s, likelihood, weight),
        np.full(V, 1.0 / V),
        method="SLSQP",
        bounds=[(0.0, 1.0)] * V,
        constraints={"type": "eq", "fun": lambda s: s.sum() - 1.0},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert best.success
    assert found.min() >= 0.0
    assert found.sum() == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(found, best.x, atol=0.01)
    assert log_likelihood(found, likelihood, weight) > -best.fun - 1e-5


def test_one_view_has_all_of_the_mixture():
    assert room.mixture_shares(np.full((3, 1), 0.2), np.ones(3)).tolist() == [1.0]


def test_half_of_the_mixture_is_uniform_and_half_follows_the_labels():
    case = noisy(3, T=np.eye(3))
    table = table_of(case.X, case.given, n_classes=3)
    blind = np.full_like(case.P, 1.0 / 3.0)
    views = {"sees": Told(table, case.P), "blind": Told(table, blind, blind)}
    found = label_noise(views, table)
    assert list(found.shares) == ["sees", "blind"]
    # A sixth of the mixture each, and half of it to the one that sees.
    assert found.shares["sees"] == pytest.approx(1 / 2 + 1 / 6, abs=0.01)
    assert found.shares["blind"] == pytest.approx(2 / 6, abs=0.01)
    assert sum(found.shares.values()) == pytest.approx(1.0)
    share = found.shares["sees"]
    expected = share * case.P + (1.0 - share) / 3.0
    np.testing.assert_allclose(found.unseen, expected, rtol=1e-9)


# -- Bayes' rule -----------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_posterior_is_bayes_rule(k):
    P, T = distributions(30, k), TRUE_T[k]
    given = np.random.default_rng(1).integers(0, k, 30)
    posterior = room.posterior(P, given, T)
    for i, j in enumerate(given):
        evidence = sum(P[i, c] * T[c, j] for c in range(k))
        for c in range(k):
            expected = P[i, c] * T[c, j] / evidence
            assert posterior[i, c] == pytest.approx(expected, rel=1e-12)


def test_importance_is_the_ratio_of_right_and_given_labels():
    # The noise of the two sources differs.
    P, sources = distributions(40, 3), [np.arange(40) < 25, np.arange(40) >= 25]
    given = np.random.default_rng(1).integers(0, 3, 40)
    transition = [TRUE_T[3], TRUE_T[3][::-1, ::-1]]
    right, expected = np.empty(40), np.empty(40)
    for rows, T in zip(sources, transition, strict=True):
        for i in np.flatnonzero(rows):
            j = given[i]
            right[i] = P[i, j] * T[j, j] / (P[i] @ T[:, j])
            expected[i] = P[i, j] / (P[i] @ T[:, j])
    ours = room._importance(right, given, sources, transition)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_flips_are_counted_per_true_class():
    posterior = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.0, 0.6, 0.4]])
    code, weight = np.array([0, 1, 2]), np.array([1.0, 2.0, 3.0])
    # Class 0: 0.9 + 2 * 0.2 of weight, 0.9 of it right; class 1: 0.1 + 2 * 0.5 +
    # 3 * 0.6, 1.0 of it right; class 2: 2 * 0.3 + 3 * 0.4, 1.2 of it right.
    total, wrong = np.array([1.3, 2.9, 1.8]), np.array([0.4, 1.9, 0.6])
    # Twenty average rows (of weight 2) have the rate of all rows, 2.9 of 6.
    rate = (wrong + 40.0 * 2.9 / 6.0) / (total + 40.0)
    T = room._counted(posterior, code, weight)
    np.testing.assert_allclose(np.diag(T), 1.0 - rate, rtol=1e-12)
    for k in range(3):
        np.testing.assert_allclose(np.delete(T[k], k), rate[k] / 2.0, rtol=1e-12)


def test_counts_do_not_depend_on_the_unit_of_the_weights():
    posterior, weight = distributions(50, 3), np.linspace(0.1, 2.0, 50)
    code = np.arange(50) % 3
    one = room._counted(posterior, code, weight)
    np.testing.assert_allclose(
        room._counted(posterior, code, 1000.0 * weight), one, rtol=1e-12
    )


def test_right_is_the_probability_of_the_given_label():
    P = distributions(5, 3)
    noise = LabelNoise(P, P, [], [], {}, 1)
    given = np.array([0, 2, 1, 1, 0])
    assert noise.right(given).tolist() == [P[i, j] for i, j in enumerate(given)]


# -- views that know P(y | x) ----------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [2, 3])
def test_noise_is_found_by_views_that_know_the_classes(k, seed):
    case = noisy(k, seed=seed)
    found, _ = told(case)
    np.testing.assert_allclose(found.unseen, case.P, atol=1e-5)
    np.testing.assert_allclose(found.probability.sum(axis=1), 1.0, rtol=1e-9)
    assert found.probability.min() >= 0.0
    np.testing.assert_allclose(found.transition[0].sum(axis=1), 1.0, rtol=1e-12)
    # Measured: within 0.025 of T, and within 0.016 of the share of flips.
    np.testing.assert_allclose(found.transition[0], TRUE_T[k], atol=0.04)
    assert found.rate == [pytest.approx(case.flipped.mean(), abs=0.02)]
    wrong = 1.0 - found.right(case.given)
    assert wrong.mean() == pytest.approx(found.rate[0], rel=1e-6)
    # No ranking of these rows is better than that of the true rates.
    best = (
        1.0
        - room.posterior(case.P, case.given, TRUE_T[k])[
            np.arange(len(wrong)), case.given
        ]
    )
    assert (
        roc_auc_score(case.flipped, wrong) > roc_auc_score(case.flipped, best) - 0.0005
    )


def reliability(wrong, flipped, bins=10):
    """(mean probability, share of flips, rows) of bins of equal width."""
    place = np.minimum((wrong * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    return [
        np.bincount(place, v, bins)[used] / count[used] for v in (wrong, flipped)
    ] + [count[used]]


@pytest.mark.parametrize("k", [2, 3])
def test_probabilities_are_calibrated(k):
    case = noisy(k, n=20_000, sharpness=3.0)
    found, _ = told(case)
    wrong = 1.0 - found.right(case.given)
    said, seen, count = reliability(wrong, case.flipped)
    assert len(said) >= 8
    slope, level = np.polyfit(said, seen, 1, w=np.sqrt(count))
    # Measured: slope 0.97 to 1.00, level below 0.01.
    assert slope == pytest.approx(1.0, abs=0.05)
    assert level == pytest.approx(0.0, abs=0.02)
    assert np.corrcoef(said, seen)[0, 1] > 0.99


@pytest.mark.parametrize("k", [2, 3])
def test_without_flips_hardly_any_are_found(k):
    case = noisy(k, T=np.eye(k))
    found, _ = told(case)
    # Measured: a rate of 1.4e-4, and no row.
    assert found.rate[0] < 0.002
    assert not (found.right(case.given) < 0.5).any()


def test_training_and_validation_rows_have_their_own_noise():
    dirty, clean = noisy(3, seed=1), noisy(3, T=np.eye(3), seed=2)
    n = len(dirty.given)
    both = SimpleNamespace(
        P=np.vstack([dirty.P, clean.P]),
        given=np.concatenate([dirty.given, clean.given]),
        X=np.zeros((2 * n, 1)),
    )
    found, _ = told(both, source=np.repeat([0, 1], n))
    assert found.rate[0] == pytest.approx(dirty.flipped.mean(), abs=0.02)
    assert found.rate[1] < 0.005
    np.testing.assert_allclose(found.transition[0], TRUE_T[3], atol=0.04)
    np.testing.assert_allclose(found.transition[1], np.eye(3), atol=0.01)


def test_a_mixture_that_is_too_unsure_is_sharpened():
    # Views whose log-odds are half of what they should be, and lean to a class.
    case = noisy(3, sharpness=6.0)
    unsure = np.sqrt(case.P) * [1.0, 1.5, 1.0]
    unsure /= unsure.sum(axis=1, keepdims=True)
    source = np.zeros(len(case.given), dtype=int)
    rates = fitted_rates(unsure, case.given, source, np.ones(len(source)))
    assert rates.power == pytest.approx(2.0, abs=0.3)
    np.testing.assert_allclose(rates.shift, [0.0, -2.0 * np.log(1.5), 0.0], atol=0.4)
    np.testing.assert_allclose(rates.transition(0), TRUE_T[3], atol=0.04)
    found, _ = told(case, unsure)
    assert found.rate[0] == pytest.approx(case.flipped.mean(), abs=0.02)


def many(k, n=6000):
    """Arguments of `fitted_rates`: rows of two sources, with uneven weights."""
    case, rng = noisy(k, n=n), np.random.default_rng(0)
    source = (np.arange(n) % 3 == 0).astype(int)
    return case.P, case.given, source, rng.uniform(0.5, 2.0, n)


def test_bins_of_two_classes_lose_next_to_nothing(monkeypatch):
    binned = fitted_rates(*many(2))
    monkeypatch.setattr("skpuma.detection._rates.BINNED_ROWS", 10**6)
    every = fitted_rates(*many(2))
    np.testing.assert_allclose(binned.rate, every.rate, atol=1e-3)
    assert binned.power == pytest.approx(every.power, abs=5e-3)
    np.testing.assert_allclose(binned.shift, every.shift, atol=1e-2)


def test_rates_of_more_classes_are_those_of_a_sample(monkeypatch):
    expected = fitted_rates(*(one[::3] for one in many(3)))
    # One row is what it was, so that the penalty is too.
    monkeypatch.setattr("skpuma.detection._rates.RATE_ROWS", 2000)
    found = fitted_rates(*many(3))
    np.testing.assert_allclose(found.rate, expected.rate, atol=2e-3)
    assert found.power == pytest.approx(expected.power, abs=1e-2)


@pytest.mark.parametrize("rare", [1, 20, 300])
def test_a_rare_class_that_is_clean_does_not_hide_the_noise_of_others(rare):
    rng = np.random.default_rng(0)
    true = np.r_[rng.integers(0, 2, 6000), np.full(rare, 2)]
    P = np.exp(2.0 * rng.standard_normal((len(true), 3)))
    P[np.arange(len(true)), true] *= 30.0
    P /= P.sum(axis=1, keepdims=True)
    flipped = (rng.random(len(true)) < 0.1) & (true < 2)
    given = np.where(flipped, 1 - true, true)
    ones = np.ones(len(true))
    rates = fitted_rates(P, given, np.zeros(len(true), dtype=int), ones)
    np.testing.assert_allclose(rates.rate[0, :2], 0.1, atol=0.025)
    np.testing.assert_allclose(rates.transition(0).sum(axis=1), 1.0)


def test_likelihood_is_that_of_the_given_labels(monkeypatch):
    case = noisy(3, n=50)
    rng = np.random.default_rng(0)
    weight, source = rng.uniform(0.5, 2.0, 50), (np.arange(50) >= 30).astype(int)
    t = rng.normal(0.0, 0.5, 3 + 6)
    spread = np.array([[0.0, 0.7, 0.3], [0.4, 0.0, 0.6], [0.5, 0.5, 0.0]])
    args = np.log(case.P), case.given, source, weight, weight.mean(), spread
    _, gradient = negative_likelihood(t, *args)
    h = 1e-6
    numeric = [
        (
            negative_likelihood(t + h * e, *args)[0]
            - negative_likelihood(t - h * e, *args)[0]
        )
        / (2.0 * h)
        for e in np.eye(len(t))
    ]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-8)
    # Without the prior, and with neither power nor shift, by hand.
    monkeypatch.setattr("skpuma.detection._rates.PRIOR_ROWS", 0.0)
    t[:3] = 0.0
    rate = 0.5 / (1.0 + np.exp(-t[3:].reshape(2, 3)))
    expected = 0.0
    for i in range(50):
        T = np.full((3, 3), 0.0)
        for k in range(3):
            T[k] = rate[source[i], k] * spread[k]
            T[k, k] = 1.0 - rate[source[i], k]
        expected += weight[i] * np.log(case.P[i] @ T[:, case.given[i]])
    value, _ = negative_likelihood(t, *args)
    assert -value * weight.sum() == pytest.approx(expected, rel=1e-12)


# -- calibration -----------------------------------------------------------------------


def test_calibration_keeps_the_ranking_and_counts_the_flips():
    case, rng = noisy(3, n=500), np.random.default_rng(0)
    weight, source = rng.uniform(0.2, 2.0, 500), (np.arange(500) >= 300).astype(int)
    table = table_of(case.X, case.given, weight, source=source, n_classes=3)
    sources = [source == 0, source == 1]
    before = room.posterior(case.P, case.given, TRUE_T[3])
    after, transition, rate = room._calibrated(before, case.P, table, sources)
    np.testing.assert_allclose(after.sum(axis=1), 1.0, rtol=1e-9)
    given = np.arange(500), case.given
    for s, rows in enumerate(sources):
        order = np.argsort(before[given][rows])
        assert (np.diff(after[given][rows][order]) >= 0.0).all()
        wrong = weight[rows] @ (1.0 - after[given][rows]) / weight[rows].sum()
        assert wrong == pytest.approx(rate[s], rel=1e-6)
        # The other classes share what is left as they did.
        for i in np.flatnonzero(rows)[:20]:
            old, new = (np.delete(p[i], case.given[i]) for p in (before, after))
            np.testing.assert_allclose(new / new.sum(), old / old.sum(), rtol=1e-6)
    assert len(transition) == 2


@pytest.mark.parametrize("total", [0.0, 1e-30, 0.3, 5.0, 39.9, 40.0])
def test_shifted_probabilities_have_the_sum(total):
    odds = np.random.default_rng(0).normal(0.0, 20.0, 40)
    shifted = room._shifted(odds, np.ones(40), total)
    assert shifted.sum() == pytest.approx(total, abs=1e-6)
    assert (np.diff(shifted[np.argsort(odds)]) >= 0.0).all()


# -- rounds ----------------------------------------------------------------------------


def test_rounds_stop_when_the_result_settles():
    case = noisy(2, n=2000)
    found, view = told(case, rounds=50)
    assert found.n_rounds == len(view.weights) < 10
    again, _ = told(case, rounds=found.n_rounds)
    np.testing.assert_array_equal(found.probability, again.probability)


@pytest.mark.parametrize("rounds", [1, 2])
def test_no_more_rounds_than_asked_for(rounds):
    found, view = told(noisy(2, n=500), rounds=rounds)
    assert found.n_rounds == len(view.weights) == rounds


def test_views_look_again_under_importance_weights():
    case = noisy(2, n=500)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, 500)
    _, view = told(case, weight=weight, rounds=2)
    first, second = view.weights
    np.testing.assert_array_equal(first, weight)
    # The first round by hand: from a tenth of flips, one count.
    T = np.array([[0.9, 0.1], [0.1, 0.9]])
    P = np.maximum(case.P, room.FLOOR**2)
    P /= P.sum(axis=1, keepdims=True)
    T = room._counted(room.posterior(P, case.given, T), case.given, weight)
    joint = P * T[:, case.given].T
    ratio = P[np.arange(500), case.given] / joint.sum(axis=1)
    np.testing.assert_allclose(second, weight * np.maximum(ratio, 1e-3), rtol=1e-9)
    assert second[case.flipped].mean() < 0.6 * second[~case.flipped].mean()


def test_a_row_of_weight_two_is_two_rows():
    case = noisy(3, n=300)
    twice = SimpleNamespace(
        **{k: np.concatenate([v, v]) for k, v in vars(case).items()}
    )
    heavy = told(case, weight=np.full(300, 2.0))[0]
    # Only the prior counts rows: among twice as many it has half of the say.
    double = told(twice)[0]
    np.testing.assert_allclose(double.rate, heavy.rate, atol=0.01)
    unit = told(case)[0]
    np.testing.assert_allclose(heavy.probability, unit.probability, rtol=1e-6)


def test_verbose_shows_a_bar(monkeypatch, capsys):
    pytest.importorskip("tqdm")
    monkeypatch.setattr("skpuma.utils._progress.BAR_AFTER_SECONDS", 0.0)
    case = noisy(2, n=200)
    quiet = told(case)[0]
    assert capsys.readouterr().err == ""
    loud = told(case, verbose=1)[0]
    assert "rounds" in capsys.readouterr().err
    np.testing.assert_array_equal(quiet.probability, loud.probability)


# -- all together ----------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.15])
def test_flips_among_real_views(rate):
    X, true = blobs(400, 4, 2)
    X = X + 1.5 * np.eye(2, 4)[true]
    rng = np.random.default_rng(1)
    flipped = rng.random(400) < rate
    code = np.where(flipped, 1 - true, true)
    table = LabelledRows.merge((X, code, np.ones(400)), None, 2)
    model = adapt(LogisticRegression().fit(X, code))
    views = {
        name: load(target)(table, model=model, cv=3, random_state=0)
        for name, target in VIEWS.items()
    }
    found = label_noise(views, table)
    right = found.right(table.code)[table.place]
    assert list(found.shares) == list(VIEWS)
    assert found.rate[0] == pytest.approx(flipped.mean(), abs=0.04)
    if rate:
        assert roc_auc_score(flipped, -right) > 0.97
