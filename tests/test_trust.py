"""Intervals of psi, and rows whose removal is a trade between criteria."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import PumaValuator, tradeoffs, trust
from skpuma.criteria import BrierScore, CalibrationError, FunctionCriterion, LogLoss
from tests import data
from tests.contracts import problems

TIGHT = LogisticRegression(**data.TIGHT)
NETWORK = MLPClassifier((3,), activation="tanh", solver="lbfgs", random_state=0)
N = 80

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skpuma.StationarityWarning",
    "ignore::skpuma.LeverageWarning",
)


def binary(k=2):
    X, y = data.blobs(k=k)
    return X[:N], y[:N], {"X_val": X[N:], "y_val": y[N:]}


def counts():
    X, _, val = binary()
    rng = np.random.default_rng(3)
    val["y_val"] = rng.poisson(np.exp(0.3 * val["X_val"][:, 0])).astype(float)
    return X, rng.poisson(np.exp(0.3 * X[:, 0])).astype(float), val


def uneven(n, seed=1):
    return np.random.default_rng(seed).uniform(0.5, 2.0, n)


# -- intervals -------------------------------------------------------------------------


def replicated(valuator, X, y, weight, val, n_bootstrap, seed):
    """psi under every set of exponential weights, by one fit for each."""
    rng = np.random.RandomState(seed)
    base = np.asarray(val.get("sample_weight_val", np.ones(len(val["y_val"]))))
    out = []
    for _ in range(n_bootstrap):
        drawn = np.zeros(len(base))
        drawn[base > 0] = base[base > 0] * rng.exponential(size=(base > 0).sum())
        other = {**val, "sample_weight_val": drawn}
        out.append(valuator.fit(X, y, weight, **other).psi_)
    return np.array(out)


PROBLEMS = [
    pytest.param(TIGHT, binary, "auto", id="binary"),
    pytest.param(TIGHT, lambda: binary(3), "auto", id="multinomial"),
    pytest.param(PoissonRegressor(tol=1e-10), counts, "auto", id="poisson"),
    pytest.param(NETWORK, lambda: binary(3), "auto", id="network"),
    pytest.param(
        make_pipeline(StandardScaler(), TIGHT), binary, CalibrationError(), id="ece"
    ),
    pytest.param(
        TIGHT, lambda: binary(3), ["brier_score", LogLoss(by="class")], id="by class"
    ),
]


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize(("estimator", "problem", "criterion"), PROBLEMS)
def test_intervals_are_quantiles_of_psi_under_random_weights(
    estimator, problem, criterion, weighted
):
    X, y, val = problem()
    weight = uneven(N) if weighted else np.ones(N)
    if weighted:
        weight[3] = 0.0
        val["sample_weight_val"] = uneven(40)
        val["sample_weight_val"][:4] = 0.0
    model = PumaValuator(estimator, criterion).fit(X, y, weight, **val).estimator_
    valuator = PumaValuator(FrozenEstimator(model), criterion)
    valuator.fit(X, y, weight, **val)
    psi, names = valuator.psi_, valuator.criterion_names_
    frame = valuator.intervals(
        X, y, weight, **val, n_bootstrap=9, level=0.8, random_state=5
    )
    by_hand = replicated(valuator, X, y, weight, val, 9, 5)
    frame = frame.sort_values("position")
    tails = [0.1, 0.9]
    for c, name in enumerate(names):
        np.testing.assert_array_equal(frame[f"psi_{name}"], psi[:, c])
        low, high = np.quantile(by_hand[:, :, c], tails, axis=0)
        close = {"rtol": 1e-4, "atol": 1e-6 * np.abs(psi[:, c]).max()}
        np.testing.assert_allclose(frame[f"low_{name}"], low, **close)
        np.testing.assert_allclose(frame[f"high_{name}"], high, **close)
        act = ((low > 0) | (high < 0)) & (weight > 0)
        np.testing.assert_array_equal(frame[f"act_{name}"], act)
        rank = rankdata(by_hand[:, :, c] * weight, axis=1)
        low, high = np.quantile(rank, tails, axis=0)
        assert np.abs(frame[f"rank_low_{name}"] - low).max() <= 1.0
        assert np.abs(frame[f"rank_high_{name}"] - high).max() <= 1.0
        np.testing.assert_array_equal(
            frame[f"rank_{name}"], rankdata(psi[:, c] * weight)
        )


def test_intervals_of_a_cross_fitted_valuator_average_the_folds():
    X, y = data.blobs(90)
    weight = uneven(90)
    splits = list(KFold(3).split(X))
    valuator = PumaValuator(TIGHT, cv=splits).fit(X, y, weight)
    frame = valuator.intervals(X, y, weight, n_bootstrap=7, random_state=1)
    frame = frame.sort_values("position")
    rng, total, share = np.random.RandomState(1), np.zeros((90, 7)), np.zeros(90)
    for train, test in splits:
        model = LogisticRegression(**data.TIGHT).fit(X[train], y[train], weight[train])
        one = PumaValuator(FrozenEstimator(model))
        for b in range(7):
            drawn = weight[test] * rng.exponential(size=len(test))
            val = {"X_val": X[test], "y_val": y[test], "sample_weight_val": drawn}
            psi = one.fit(X[train], y[train], weight[train], **val).psi_[:, 0]
            total[train, b] += weight[test].sum() * psi
        share[train] += weight[test].sum()
    low, high = np.quantile(total / share[:, None], [0.025, 0.975], axis=1)
    np.testing.assert_allclose(frame["low_log_loss"], low, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(frame["high_log_loss"], high, rtol=1e-4, atol=1e-7)


def test_a_row_that_no_fold_trained_on_has_no_interval():
    X, y = data.blobs(90)
    splits = [(np.arange(30, 90), np.arange(30)), (np.arange(40, 90), np.arange(40))]
    valuator = PumaValuator(TIGHT, cv=splits).fit(X, y)
    frame = valuator.intervals(X, y, n_bootstrap=5, random_state=0)
    missing = frame["position"] < 30
    assert frame.loc[missing].iloc[:, 2:-1].isna().all(axis=None)
    assert frame.iloc[:-30].notna().all(axis=None)
    assert not frame.loc[missing, "act_log_loss"].any()
    assert frame["rank_log_loss"].max() == 60


def test_blocks_and_batches_change_nothing(monkeypatch):
    X, y, val = binary()
    valuator = PumaValuator(TIGHT).fit(X, y, **val)
    whole = valuator.intervals(X, y, **val, random_state=0)
    monkeypatch.setattr(trust, "TABLE_BYTES", 20_000)
    parts = valuator.intervals(X, y, **val, random_state=0)
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-6)


def test_memory_of_intervals_does_not_grow_with_the_rows(monkeypatch):
    rng = np.random.default_rng(0)
    n = 30_000
    X = rng.standard_normal((n, 3))
    y = (rng.uniform(size=n) < expit(X[:, 0])).astype(int)
    val = {"X_val": X[:99], "y_val": y[:99]}
    valuator = PumaValuator(LogisticRegression()).fit(X, y, **val)
    monkeypatch.setattr(trust, "TABLE_BYTES", 4_000_000)
    tracemalloc.start()
    valuator.intervals(X, y, **val, n_bootstrap=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A table of all rows and replicates would be 48 MB.
    assert peak < 25_000_000


def drawn(n, seed):
    """Rows of two groups, whose labels follow a line."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    group = rng.integers(0, 2, n)
    X[:, 0] += group
    p = expit(1.5 * X @ [-1.0, 0.0, 0.5, 1.5])
    return X, (rng.uniform(size=n) < p).astype(int), group


@pytest.mark.parametrize(
    "criterion", ["log_loss", "calibration_error", "demographic_parity"]
)
def test_intervals_cover_the_psi_of_all_rows_that_could_measure(criterion):
    X, y, _ = drawn(300, 0)
    y[:60] = 1 - y[:60]  # so that the model is under-confident, and its ECE not zero
    model = FrozenEstimator(LogisticRegression(**data.TIGHT).fit(X, y))

    def rows(n, seed):
        X_val, y_val, group = drawn(n, seed)
        return {"X_val": X_val, "y_val": y_val, "sensitive_features_val": group}

    valuator = PumaValuator(model, criterion)
    truth = valuator.fit(X, y, **rows(100_000, 1)).psi_[:, 0]
    width = {}
    for n_val in (200, 800):
        covered, wide, wrong = [], [], []
        for seed in range(20):
            val = rows(n_val, 100 + seed)
            frame = valuator.fit(X, y, **val).intervals(X, y, **val, random_state=seed)
            frame = frame.sort_values("position")
            low, high = frame[f"low_{criterion}"], frame[f"high_{criterion}"]
            covered.append(((low <= truth) & (truth <= high)).mean())
            wide.append(np.median(high - low))
            act = frame[f"act_{criterion}"]
            other = np.sign(frame[f"psi_{criterion}"]) != np.sign(truth)
            wrong.append(other[act].mean())
        width[n_val] = np.mean(wide)
        assert 0.85 <= np.mean(covered) <= 1.0
        assert np.nanmean(wrong) < 0.1
    # Four times as many rows: half the width.
    assert 1.6 < width[200] / width[800] < 2.4


def test_intervals_narrow_as_the_level_falls():
    X, y, val = binary()
    val["X_val"] = pd.DataFrame(val["X_val"], columns=data.frame(X).columns)
    valuator = PumaValuator(TIGHT, ["log_loss", "brier_score"])
    valuator.fit(data.frame(X), y, **val)
    wide = valuator.intervals(data.frame(X), y, **val, random_state=0)
    narrow = valuator.intervals(data.frame(X), y, **val, level=0.5, random_state=0)
    assert (wide["low_log_loss"] <= narrow["low_log_loss"]).all()
    assert (wide["high_log_loss"] >= narrow["high_log_loss"]).all()
    assert narrow["act_log_loss"].sum() > wide["act_log_loss"].sum()
    assert wide.index.equals(valuator.inspect().index)
    assert wide["rank_log_loss"].tolist() == list(range(1, N + 1))
    assert (wide["rank_low_log_loss"] >= 1).all()
    assert (wide["rank_high_log_loss"] <= N).all()
    again = valuator.intervals(data.frame(X), y, **val, random_state=0)
    pd.testing.assert_frame_equal(wide, again)


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        ({"n_bootstrap": 1}, ValueError, "n_bootstrap must be >= 2"),
        ({"n_bootstrap": 2.5}, TypeError, "n_bootstrap must be an int"),
        ({"level": 0.0}, ValueError, "not between 0 and 1"),
        ({"level": 1.0}, ValueError, "not between 0 and 1"),
        ({"level": "high"}, TypeError, "level must be a number"),
        ({"X": 0.0}, ValueError, "not those of the fit"),
        ({"sample_weight": np.full(N, 2.0)}, ValueError, "not those of the fit"),
        ({"X_val": 0.0}, ValueError, "X_val, y_val .* not those of the fit"),
        ({"X_val": None}, ValueError, "X_val missing"),
    ],
    ids=str,
)
def test_bad_arguments_of_intervals(wrong, error, match):
    X, y, val = binary()
    valuator = PumaValuator(TIGHT).fit(X, y, **val)
    before = data.snapshot(valuator)
    given = {"X": X, "y": y, **val, **wrong}
    for name in ("X", "X_val"):
        if isinstance(given[name], float):
            given[name] = {"X": X, **val}[name] + 1.0
    with pytest.raises(error, match=match):
        valuator.intervals(**given)
    assert data.snapshot(valuator) == before
    crossed = PumaValuator(TIGHT, cv=2).fit(X, y)
    with pytest.raises(ValueError, match="by cross-fitting: leave X_val"):
        crossed.intervals(X, y, **val)


# -- conflicts -------------------------------------------------------------------------


def several(**more):
    X, y, val = binary()
    criteria = ["log_loss", "brier_score", CalibrationError(n_bins=5)]
    frame = data.frame(X)
    val["X_val"] = pd.DataFrame(val["X_val"], columns=frame.columns)
    return PumaValuator(TIGHT, criteria, **more).fit(frame, y, uneven(N), **val)


@pytest.mark.parametrize("effect", ["linear", "one_step"])
def test_conflicts_help_one_criterion_and_hurt_another(effect):
    valuator = several(effect=effect)
    names, effects = valuator.criterion_names_, valuator.removal_effect_
    frame = valuator.conflicts()
    columns = [f"scaled_effect_{name}" for name in names]
    assert list(frame.columns) == [
        "position",
        "weight",
        *columns,
        "conflict",
        "helps",
        "hurts",
    ]
    assert frame["conflict"].is_monotonic_decreasing
    index = valuator.inspect().set_index("position", append=True).index
    assert set(zip(frame.index, frame["position"], strict=True)) == set(index)
    centre = np.median(effects, axis=0)
    spread = 1.4826 * np.median(np.abs(effects - centre), axis=0)
    scaled = (effects / spread)[frame["position"]]
    np.testing.assert_allclose(frame[columns], scaled, rtol=1e-12)
    for (_, row), values in zip(frame.iterrows(), scaled, strict=True):
        helps = [name for name, v in zip(names, values, strict=True) if v > 0]
        hurts = [name for name, v in zip(names, values, strict=True) if v < 0]
        assert row["helps"] == ", ".join(helps)
        assert row["hurts"] == ", ".join(hurts)
        strength = min(-values.min(), values.max())
        assert row["conflict"] == pytest.approx(max(strength, 0.0))
        assert (row["conflict"] > 0) == bool(helps and hurts)
    assert len(valuator.conflicts(top=3)) == 3
    top = valuator.conflicts(top=1)
    assert top["helps"].item() and top["hurts"].item()


def test_no_name_of_a_criterion_overwrites_a_column():
    X, y, val = binary()
    criteria = [
        FunctionCriterion(lambda y, raw: np.logaddexp(0, raw[:, 0]), name="weight"),
        FunctionCriterion(lambda y, raw: np.tanh(raw[:, 0]), name="helps"),
    ]
    frame = PumaValuator(TIGHT, criteria).fit(X, y, **val).conflicts()
    assert (frame["weight"] == 1.0).all()
    assert frame["scaled_effect_weight"].std() > 0
    assert set(frame["helps"]) <= {"", "weight", "helps", "weight, helps"}


def test_the_spread_is_robust():
    effects = np.random.default_rng(0).standard_normal((1000, 2)) * [1.0, 5.0]
    np.testing.assert_allclose(tradeoffs.spreads(effects), [1.0, 5.0], rtol=0.1)
    effects[:50] = 1e6
    np.testing.assert_allclose(tradeoffs.spreads(effects), [1.0, 5.0], rtol=0.2)
    effects[0] = np.nan
    assert np.isfinite(tradeoffs.spreads(effects)).all()
    effects[:600, 0], effects[:, 1] = 0.0, 0.0
    spread = tradeoffs.spreads(effects)
    assert spread[0] == pytest.approx(effects[1:, 0].std(), rel=1e-3)
    assert spread[1] == 1.0
    assert tradeoffs.spreads(np.full((3, 2), np.nan)).tolist() == [1.0, 1.0]


def test_conflicts_of_a_scenario():
    # The blog's figure 3: what improves accuracy here is what makes the gap larger.
    X, y, group = drawn(400, 0)
    y[(group == 1) & (np.arange(400) < 100)] = 1
    val = dict(
        zip(("X_val", "y_val", "sensitive_features_val"), drawn(400, 1), strict=True)
    )
    valuator = PumaValuator(TIGHT, ["log_loss", "demographic_parity"])
    valuator.fit(X, y, **val)
    worst = valuator.conflicts(top=20)
    assert (worst["conflict"] > 0).all()
    assert set(worst["helps"]) | set(worst["hurts"]) == set(valuator.criterion_names_)


@pytest.mark.parametrize("method", ["conflicts", "pareto_fronts"])
def test_a_trade_needs_two_criteria(method):
    X, y, val = binary()
    valuator = PumaValuator(TIGHT).fit(X, y, **val)
    with pytest.raises(ValueError, match="at least two criteria.*log_loss"):
        getattr(valuator, method)()
    with pytest.raises(TypeError, match="must be an int"):
        getattr(several(), method)(1.5)
    with pytest.raises(ValueError, match=">= 0"):
        getattr(several(), method)(-1)
    with pytest.raises(ValueError, match="by='x' is neither"):
        getattr(several(), method)(by="x")


def test_trades_of_groups():
    X, y, val = binary()
    group = np.arange(N) // 4
    valuator = PumaValuator(TIGHT, ["log_loss", "brier_score"])
    valuator.fit(X, y, groups=group, **val)
    for frame in (valuator.conflicts(by="group"), valuator.pareto_fronts(by="group")):
        assert sorted(frame.index) == list(range(20))
        assert list(frame.columns[:2]) == ["n_rows", "weight"]


# -- Pareto fronts ---------------------------------------------------------------------


def naive_fronts(costs):
    """Peel off what nothing dominates, again and again."""
    front, left = np.zeros(len(costs), dtype=int), list(range(len(costs)))
    while left:
        best = [
            i
            for i in left
            if not any(
                (costs[j] <= costs[i]).all() and (costs[j] < costs[i]).any()
                for j in left
            )
        ]
        front[best] = front.max() + 1
        left = [i for i in left if i not in best]
    return front


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("kind", ["independent", "ties", "trade", "chain", "equal"])
def test_fronts_are_the_naive_ones(monkeypatch, kind, m):
    monkeypatch.setattr(tradeoffs, "BLOCK", 16)
    rng = np.random.default_rng(m)
    costs = {
        "independent": rng.standard_normal((120, m)),
        "ties": rng.integers(0, 4, (120, m)).astype(float),
        "trade": rng.standard_normal((120, 1)) * (-1.0) ** np.arange(m),
        "chain": np.repeat(rng.standard_normal((120, 1)), m, axis=1),
        "equal": np.zeros((5, m)),
    }[kind]
    np.testing.assert_array_equal(tradeoffs.fronts(costs), naive_fronts(costs))
    assert tradeoffs.fronts(costs[:0]).shape == (0,)


def test_pareto_fronts_of_a_valuator():
    valuator = several()
    frame = valuator.pareto_fronts()
    effects = valuator.removal_effect_[frame["position"]]
    np.testing.assert_array_equal(frame["front"], naive_fronts(effects))
    np.testing.assert_array_equal(frame.iloc[:, 3:], effects)
    assert frame["front"].is_monotonic_increasing
    assert len(frame) == N
    index = valuator.inspect().set_index("position", append=True).index
    assert set(zip(frame.index, frame["position"], strict=True)) == set(index)
    first = valuator.pareto_fronts(1)
    pd.testing.assert_frame_equal(first, frame[frame["front"] == 1])
    # The most harmful row of a criterion is dominated by none.
    assert effects[:, 0].argmin() < len(first)


def test_rows_without_weight_or_effect_are_on_no_front():
    X, y = data.blobs(90)
    weight = np.ones(90)
    weight[80:] = 0.0
    splits = [(np.arange(30, 90), np.arange(30)), (np.arange(40, 90), np.arange(40))]
    valuator = PumaValuator(TIGHT, ["log_loss", BrierScore()], cv=splits)
    valuator.fit(X, y, weight)
    frame = valuator.pareto_fronts()
    assert sorted(frame["position"]) == list(range(30, 80))
    assert len(valuator.conflicts()) == 90
    assert valuator.conflicts()["conflict"].iloc[-30:].isna().all()


@pytest.mark.parametrize("m", [2, 4])
def test_many_rows(m):
    costs = np.random.default_rng(0).standard_normal((20_000, m))
    front = tradeoffs.fronts(costs)
    first = costs[front == 1]
    for row in costs[front == 2][:50]:
        assert ((first <= row).all(axis=1)).any()
    for row in first[:50]:
        assert ((costs <= row).all(axis=1)).sum() == 1


def test_unfitted():
    for name in ("conflicts", "pareto_fronts"):
        with pytest.raises(Exception, match="not fitted yet"):
            getattr(PumaValuator(Ridge()), name)()
    with pytest.raises(Exception, match="not fitted yet"):
        PumaValuator(Ridge()).intervals(*binary()[:2])


@pytest.mark.parametrize("folds", [False, True], ids=["X_val", "folds"])
def test_damping_curve(folds):
    X, y = problems.rows(120), problems.classes(problems.rows(120), 2)
    val = {} if folds else {"X_val": X[:50] + 0.1, "y_val": y[:50]}
    criteria = ["log_loss", "brier_score"]
    valuator = PumaValuator(criterion=criteria, cv=3, random_state=0).fit(X, y, **val)
    curve = valuator.damping_curve(X, y, **val)
    assert len(curve) == 15
    assert curve.index.is_monotonic_increasing
    # The fit had no damping: small ones change nothing, large ones do.
    assert curve["rank_correlation_log_loss"].iloc[0] > 0.9999
    assert curve["rank_correlation_log_loss"].iloc[-1] < 0.9999
    assert curve["overlap_brier_score"].iloc[0] == 1.0
    assert curve["relative"].iloc[[0, -1]].tolist() == pytest.approx([1e-6, 10.0])
    one = valuator.damping_curve(X, y, **val, dampings=[0.5], n_lowest=7)
    damped = PumaValuator(criterion=criteria, cv=3, random_state=0, damping=0.5)
    psi = damped.fit(X, y, **val).psi_
    if not folds:
        expected = stats.spearmanr(psi[:, 0], valuator.psi_[:, 0])[0]
        assert one["rank_correlation_log_loss"].item() == pytest.approx(expected)
        lowest = [set(np.argsort(p[:, 1])[:7]) for p in (psi, valuator.psi_)]
        share = len(lowest[0] & lowest[1]) / 7
        assert one["overlap_brier_score"].item() == pytest.approx(share)
    with pytest.raises(ValueError, match="not those of the fit"):
        valuator.damping_curve(X[::-1], y, **val)
