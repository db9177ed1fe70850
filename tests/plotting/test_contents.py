"""What is drawn is what was computed elsewhere, and bad input is told so."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LinearRegression, LogisticRegression

from skpuma import PumaDebugger, PumaPatcher, PumaValuator
from skpuma.metrics import expected_calibration_error, reliability_curve
from skpuma.plotting import (
    ConflictDisplay,
    DirectionDisplay,
    InfluenceDisplay,
    IssueBoardDisplay,
    PatchedImagesDisplay,
    PatchPathDisplay,
    ReliabilityDisplay,
    WeightsDisplay,
)
from tests.data import blobs, diabetes
from tests.plotting.fitted import (
    MOVES,
    compensated,
    noisy,
    patcher,
    pictures,
    table,
    valuator,
)

# -- path ------------------------------------------------------------------------------


def test_path_is_the_history():
    one = patcher()
    display = PatchPathDisplay.from_patcher(
        one, line_kwargs={"log_loss": {"linewidth": 4.0}}
    )
    history = one.history_
    assert list(display.lines_) == [
        "log_loss",
        "calibration_error",
        "brier_score (target)",
    ]
    for name, line in display.lines_.items():
        np.testing.assert_array_equal(line.get_xdata(), history["s"])
        change = history[name] - history[name][0]
        np.testing.assert_allclose(line.get_ydata(), change)
    forgetting = display.forgetting_line_.get_ydata()
    np.testing.assert_array_equal(forgetting, history["forgetting"])
    assert display.lines_["log_loss"].get_linewidth() == 4.0
    assert one.report_.ending in display.ax_.get_xlabel()
    # Only finite bounds have a band, up to the bound and down to the bottom.
    assert list(display.bands_) == ["log_loss"]
    box = display.bands_["log_loss"].get_bbox()
    assert box.y1 == 0.02 and box.y0 == display.ax_.get_ylim()[0]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"remove": [0, 1]}, "(1: the marked rows have no weight)"),
        ({"upweight": [2]}, "(1: all extra weight is given)"),
        (
            {"remove": [0], "upweight": [2]},
            "(1: no weight is left, all extra weight is given)",
        ),
    ],
)
def test_path_says_what_the_weights_are_at_one(rows, says):
    X, y = table()
    one = (
        PumaPatcher(delta=np.inf)
        .fit(X, y)
        .patch(X, y, **{name: np.array(at) for name, at in rows.items()})
    )
    label = PatchPathDisplay.from_patcher(one).ax_.get_xlabel()
    assert says in label.replace("\n", " ")


def test_path_of_a_kept_frame():
    history = pd.DataFrame({"s": [0.0, 0.5, 1.0], "loss": [2.0, 1.5, 2.5]})
    display = PatchPathDisplay.from_history(history, delta=0.5, side="both")
    np.testing.assert_array_equal(display.lines_["loss"].get_ydata(), [0, -0.5, 0.5])
    box = display.bands_["loss"].get_bbox()
    assert (box.y0, box.y1) == (-0.5, 0.5)
    assert display.forgetting_ax_ is None
    bottom, top = display.ax_.get_ylim()
    assert bottom < -0.5 and top > 0.5
    without = PatchPathDisplay.from_history(history)
    assert without.bands_ == {}


def test_path_says_what_is_wrong():
    history = pd.DataFrame({"s": [0.0, 1.0], "loss": [2.0, 1.5]})
    with pytest.raises(ValueError, match=r"delta names \['other'\]"):
        PatchPathDisplay.from_history(history, delta={"other": 1.0})
    with pytest.raises(ValueError, match="neither 'worse' nor 'both'"):
        PatchPathDisplay.from_history(history, side="better")
    with pytest.raises(ValueError, match="needs a column s"):
        PatchPathDisplay.from_history(history.drop(columns="s"))
    X, y = blobs()
    unpatched = PumaPatcher().fit(X, y)
    with pytest.raises(ValueError, match="call patch first"):
        PatchPathDisplay.from_patcher(unpatched)
    with pytest.raises(ValueError, match="call patch first"):
        WeightsDisplay.from_patcher(unpatched)


# -- weights ---------------------------------------------------------------------------


def test_weights_are_those_of_the_patch():
    one = compensated()
    display = WeightsDisplay.from_patcher(one, alpha=0.5)
    drawn = display.steps_.get_data().values
    used = one.lambda_[one.lambda_ > 1e-6]
    assert len(used) > 0
    np.testing.assert_array_equal(drawn, np.sort(used)[::-1])
    assert display.share_ == len(used) / len(one.lambda_)
    assert display.n_removed_ == 12
    assert display.total_weight_ == one.row_weight_.sum()
    title = display.ax_.get_title(loc="left")
    assert "12 removed" in title and f"{one.row_weight_.sum():.6g}" in title
    assert display.steps_.get_alpha() == 0.5


def test_weights_of_a_patch_without_any():
    display = WeightsDisplay(np.zeros(4), np.ones(4)).plot()
    assert display.share_ == 0.0
    assert display.ax_.texts[0].get_text() == "no row was re-weighted to compensate"


# -- influence -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["psi", "removal_effect"])
def test_influence_is_psi_against_leverage(kind):
    X, y = table()
    one = valuator()
    display = InfluenceDisplay.from_valuator(
        one, X, y, top=4, criterion="brier_score", kind=kind
    )
    x, value = display.points_.get_offsets().T
    np.testing.assert_allclose(x, one.leverage(X, y))
    known = one.psi_ if kind == "psi" else one.removal_effect_
    np.testing.assert_allclose(value, known[:, 1])
    first = one.inspect(4, sort_by="brier_score")
    assert [text.get_text() for text in display.labels_] == list(first.index)
    np.testing.assert_array_equal(display.top_, first["position"])
    np.testing.assert_allclose(
        display.top_points_.get_offsets()[:, 1], first[f"{kind}_brier_score"]
    )


def test_influence_marks_the_limit_of_leverage():
    display = InfluenceDisplay([0.1, 0.7], [1.0, -1.0], ["a", "b"]).plot(top=1)
    assert [text.get_text() for text in display.labels_] == ["b"]
    assert [0.5, 0.5] in [list(line.get_xdata()) for line in display.ax_.lines]
    below = InfluenceDisplay([0.1, 0.3], [1.0, -1.0], ["a", "b"]).plot(top=0)
    assert len(below.ax_.lines) == 1 and below.labels_ == []


def test_influence_says_what_is_wrong():
    X, y = table()
    with pytest.raises(ValueError, match="kind='phi' is not one of"):
        InfluenceDisplay.from_valuator(valuator(), X, y, kind="phi")
    with pytest.raises(ValueError, match="the fit had 120"):
        InfluenceDisplay.from_valuator(valuator(), X[:50], y[:50])


# -- conflict --------------------------------------------------------------------------


@pytest.mark.parametrize("criteria", [(0, 2), ("log_loss", "calibration_error")])
def test_conflict_quadrants_hold_their_rows(criteria):
    one = valuator()
    display = ConflictDisplay.from_valuator(one, criteria=criteria, top=2)
    effect = one.removal_effect_[:, [0, 2]]
    named = {
        "helps both": (effect > 0).all(axis=1),
        "hurts both": (effect < 0).all(axis=1),
        "helps log_loss,\nhurts calibration_error": (effect * [1, -1] > 0).all(axis=1),
        "helps calibration_error,\nhurts log_loss": (effect * [-1, 1] > 0).all(axis=1),
    }
    assert set(display.quadrants_) == set(named)
    for name, rows in display.quadrants_.items():
        np.testing.assert_array_equal(rows, np.flatnonzero(named[name]))
        np.testing.assert_allclose(display.points_[name].get_offsets(), effect[rows])
        shown = [text.get_text() for text in display.ax_.texts]
        assert f"{name} ({len(rows)})" in shown


def test_conflict_labels_the_strongest():
    X, y = table()
    one = PumaValuator(criterion=["log_loss", "calibration_error"], random_state=0)
    one.fit(X, y)
    display = ConflictDisplay.from_valuator(one, top=3)
    strongest = list(one.conflicts(3).index)
    assert [text.get_text() for text in display.labels_] == strongest


def test_conflict_leaves_out_rows_without_weight():
    effect = [[1.0, 1.0], [-1.0, 1.0], [np.nan, 1.0]]
    display = ConflictDisplay(effect, ("a", "b"), "xyz", weight=[1.0, 0.0, 1.0]).plot()
    assert {k: list(v) for k, v in display.quadrants_.items() if len(v)} == {
        "helps both": [0]
    }


def test_conflict_needs_two_criteria():
    for criteria in [(0, 0), (0, 7), ("log_loss", "other"), (0, 1, 2)]:
        with pytest.raises(ValueError, match="are not two criteria"):
            ConflictDisplay.from_valuator(valuator(), criteria=criteria)


# -- reliability -----------------------------------------------------------------------


def test_reliability_is_that_of_scikit_learn():
    X, y = table()
    models = {"weak": LogisticRegression(C=1e-3), "strong": LogisticRegression(C=10.0)}
    models = {name: one.fit(X, y) for name, one in models.items()}
    display = ReliabilityDisplay.from_estimators(models, X, y, n_bins=5)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    for name, one in models.items():
        p = one.predict_proba(X)[:, 1]
        outcome, confidence = calibration_curve(y, p, n_bins=5)
        np.testing.assert_allclose(display.lines_[name].get_xdata(), confidence)
        np.testing.assert_allclose(display.lines_[name].get_ydata(), outcome)
        counts = display.counts_[name].get_data().values
        np.testing.assert_array_equal(counts, np.histogram(p, np.linspace(0, 1, 6))[0])
        ece = expected_calibration_error(y, p, n_bins=5)
        assert f"{name} (ECE {ece:.3f})" in labels


def test_reliability_of_weights_and_several_classes():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=200)
    y, weight = rng.integers(3, size=200), rng.random(200)
    options = {"n_bins": 4, "sample_weight": weight}
    confidence, outcome, total = reliability_curve(y, p, **options)
    top, right = p.max(axis=1), p.argmax(axis=1) == y
    for b in range(4):
        inside = (top > b / 4) & (top <= (b + 1) / 4)
        np.testing.assert_allclose(total[b], weight[inside].sum())
        if inside.any():
            mean = np.average(np.c_[top, right][inside], 0, weight[inside])
            np.testing.assert_allclose([confidence[b], outcome[b]], mean)
    used = total > 0
    assert np.isnan(confidence[~used]).all() and not used.all()
    gap = np.average(np.abs(outcome - confidence)[used], weights=total[used])
    np.testing.assert_allclose(expected_calibration_error(y, p, **options), gap)
    display = ReliabilityDisplay.from_predictions(y, {"a": p}, **options)
    assert display.ax_.get_ylabel() == "Share of right predictions"
    np.testing.assert_allclose(display.lines_["a"].get_ydata(), outcome[used])


@pytest.mark.parametrize("labels", [None, ["no", "yes"]])
def test_reliability_names_the_positive_class(labels):
    y, p = ["no", "yes", "yes"], [0.4, 0.4, 0.9]
    display = ReliabilityDisplay.from_predictions(y, p, labels=labels)
    assert display.count_ax_.get_xlabel() == "P(class yes)"
    assert display.ax_.get_ylabel() == "Share of class yes"
    unknown = ReliabilityDisplay(display.curves, display.error).plot()
    assert unknown.count_ax_.get_xlabel() == "P(positive class)"


def test_reliability_of_a_model_without_a_name():
    y, p = [0, 1, 1, 1], np.array([0.4, 0.4, 0.9, 0.9])
    display = ReliabilityDisplay.from_predictions(y, p, n_bins=2)
    named = ReliabilityDisplay.from_predictions(y, {"mine": p}, n_bins=2)
    np.testing.assert_array_equal(
        display.lines_["model"].get_ydata(), named.lines_["mine"].get_ydata()
    )
    listed = ReliabilityDisplay.from_predictions(y, p.tolist(), name="it", n_bins=2)
    assert list(listed.lines_) == ["it"]


def test_reliability_says_what_is_wrong():
    X, y = blobs()
    with pytest.raises(TypeError, match="plain: no predict_proba"):
        ReliabilityDisplay.from_estimators(
            {"plain": LinearRegression().fit(X, y)}, X, y
        )
    with pytest.raises(ValueError, match="no model to draw"):
        ReliabilityDisplay.from_estimators({}, X, y)


# -- direction -------------------------------------------------------------------------


def test_direction_draws_the_moves_and_the_losses():
    display = DirectionDisplay.from_surfaces(**MOVES, grid=11)
    arrows = display.phi_arrows_
    np.testing.assert_allclose(np.c_[arrows.U, arrows.V], MOVES["phi"])
    for name in ("naive", "puma"):
        arrow = display.arrows_[name]
        np.testing.assert_allclose([arrow.X[0], arrow.Y[0]], MOVES["theta"])
        np.testing.assert_allclose([arrow.U[0], arrow.V[0]], MOVES[name])
    # Every point of a contour has its level.
    for name, loss in (("J", MOVES["J"]), ("C", MOVES["C"])):
        contours = DirectionDisplay.from_surfaces(**MOVES, grid=201).contours_[name]
        for level, path in zip(contours.levels, contours.get_paths(), strict=True):
            values = [loss(point) for point in path.vertices]
            np.testing.assert_allclose(values, level, atol=2e-3 * contours.levels[-1])


def test_direction_reads_moves_off_models():
    ends = {
        name: SimpleNamespace(coef_=np.array([end]), intercept_=np.zeros(1))
        for name, end in {
            "before": [1.0, 2.0],
            "naive": [1.5, 2.0],
            "puma": [1.0, 1.0],
        }.items()
    }
    surfaces = {key: MOVES[key] for key in ("phi", "J", "C")}
    display = DirectionDisplay.from_estimators(**ends, **surfaces)
    np.testing.assert_allclose(display.theta, [1.0, 2.0])
    np.testing.assert_allclose(display.naive, [0.5, 0.0])
    np.testing.assert_allclose(display.puma, [0.0, -1.0])


@pytest.mark.parametrize(
    ("marked", "legend"),
    [
        (None, ["marked row"]),
        ([False] * 3, ["another row"]),
        ([True, False, False], ["marked row", "another row"]),
    ],
)
def test_direction_names_the_rows_there_are(marked, legend):
    display = DirectionDisplay.from_surfaces(**MOVES, marked=marked)
    texts = display.axes_[0].get_legend().get_texts()
    assert [text.get_text() for text in texts] == legend


def test_direction_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"theta has shape \(3,\)"):
        DirectionDisplay.from_surfaces(**{**MOVES, "theta": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="Neither removal moves"):
        DirectionDisplay.from_surfaces(**{**MOVES, "naive": [0, 0], "puma": [0, 0]})
    for phi in ([], np.empty((0, 2))):
        with pytest.raises(ValueError, match="phi has no rows"):
            DirectionDisplay.from_surfaces(**{**MOVES, "phi": phi})
    with pytest.raises(ValueError, match="marked is of 2 rows, phi of 3"):
        DirectionDisplay.from_surfaces(**MOVES, marked=[True, False])


def test_a_long_label_does_not_squeeze_the_axes():
    from matplotlib.figure import Figure

    widths = []
    for label in ("a", "a name of a row that is very long indeed"):
        figure = Figure(figsize=(3.6, 3.0), layout="constrained")
        ax = figure.subplots()
        InfluenceDisplay([0.1, 0.7], [1.0, -1.0], [label, label]).plot(ax=ax, top=2)
        figure.draw_without_rendering()
        widths.append(ax.get_position().width)
    assert widths[1] == pytest.approx(widths[0], rel=0.01)


# -- issues ----------------------------------------------------------------------------


def test_issues_are_told_apart_by_the_truth():
    debugger, X, wrong = noisy()
    display = IssueBoardDisplay.from_debugger(
        debugger, X, columns=(2, 0), is_noisy=wrong
    )
    issues = debugger.issues_
    found = issues["position"][issues["kind"] == "mislabelled"].to_numpy()
    parts = {
        "found": found[wrong[found]],
        "accused": found[~wrong[found]],
        "missed": np.setdiff1d(np.flatnonzero(wrong), found),
    }
    drawn = display.points_["mislabelled"]
    assert len(drawn) == 3
    for name, rows in parts.items():
        points = drawn[f"{name} ({len(rows)})"].get_offsets()
        np.testing.assert_allclose(points, X[rows][:, [2, 0]])
    assert display.axes_[0].get_title() == f"mislabelled ({len(found)})"
    assert display.axes_[0].get_xlabel() == "2"


def test_wrong_labels_are_missed_where_none_is_called_wrong():
    issues = pd.DataFrame({"position": [], "kind": [], "given": []})
    wrong = np.array([True, False, True])
    points = np.arange(6.0).reshape(3, 2)
    display = IssueBoardDisplay(issues, points, is_noisy=wrong).plot()
    missed = display.points_["mislabelled"]["missed (2)"]
    np.testing.assert_allclose(missed.get_offsets(), points[wrong])
    assert display.points_["over-confident"] == {}


def test_issues_by_the_label_that_was_given():
    debugger, X, _ = noisy()
    X = pd.DataFrame(X, columns=["a", "b", "c"])
    display = IssueBoardDisplay.from_debugger(debugger, X, columns=["a", "c"])
    for kind, drawn in display.points_.items():
        issues = debugger.issues_[debugger.issues_["kind"] == kind]
        assert sum(len(one.get_offsets()) for one in drawn.values()) == len(issues)
        for name, one in drawn.items():
            rows = issues["position"][issues["given"].astype(str) == name.split()[1]]
            np.testing.assert_allclose(
                one.get_offsets(), X.iloc[rows][["a", "c"]].to_numpy()
            )


def test_issues_as_pictures_and_in_components():
    debugger, X, _ = noisy()
    images = np.arange(200 * 9.0).reshape(200, 9)
    display = IssueBoardDisplay.from_debugger(debugger, X, images=images)
    for kind, drawn in display.images_.items():
        issues = debugger.issues_[debugger.issues_["kind"] == kind]
        rows = issues["position"][:9]
        assert len(drawn) == len(rows)
        for image, row in zip(drawn, rows, strict=True):
            np.testing.assert_array_equal(image.get_array().ravel(), images[row])
    display = IssueBoardDisplay.from_debugger(debugger, X)
    assert display.axes_[0].get_xlabel() == "first principal component"
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    u, s, _ = np.linalg.svd(scaled, full_matrices=False)
    np.testing.assert_allclose(np.abs(display.points), np.abs(u * s)[:, :2])


def test_issues_of_a_regressor():
    X, y = diabetes()
    y = y.copy()
    y[:3] += 30.0
    debugger = PumaDebugger(LinearRegression(), random_state=0).fit(X, y)
    display = IssueBoardDisplay.from_debugger(debugger, X, columns=(0, 1))
    assert display.kinds_ == ["harmful"]
    drawn = display.points_["harmful"]["issue"].get_offsets()
    np.testing.assert_allclose(drawn, X[debugger.issues_["position"]][:, :2])


def test_issues_say_what_is_wrong():
    debugger, X, wrong = noisy()
    with pytest.raises(ValueError, match="X has 5 rows, the fit had 200"):
        IssueBoardDisplay.from_debugger(debugger, X[:5])
    with pytest.raises(ValueError, match=r"is_noisy has shape \(5,\)"):
        IssueBoardDisplay.from_debugger(debugger, X, is_noisy=wrong[:5])
    with pytest.raises(ValueError, match="must name two columns"):
        IssueBoardDisplay.from_debugger(debugger, X, columns=[0])
    with pytest.raises(ValueError, match="no numbers"):
        words = pd.DataFrame({"a": ["x"] * 200, "b": ["y"] * 200})
        IssueBoardDisplay.from_debugger(debugger, words)
    with pytest.raises(ValueError, match="has 3 pictures for 200 rows"):
        IssueBoardDisplay.from_debugger(debugger, X, images=np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match="no square"):
        IssueBoardDisplay.from_debugger(debugger, X, images=np.zeros((200, 5)))


# -- pictures --------------------------------------------------------------------------


def test_pictures_have_their_titles():
    before, after, images, X, y = pictures()
    display = PatchedImagesDisplay.from_estimators(before, after, images, X, y)
    assert display.axes_.shape == (4, 8)
    for line, model in enumerate((before, after)):
        p = model.predict_proba(X)
        name = ("before", "after")[line]
        for i in range(len(y)):
            panel = display.axes_[2 * (i // 8) + line, i % 8]
            expected = f"T {y[i]}  P {model.predict(X)[i]}\nProb {p[i].max():.2f}"
            assert panel.get_title() == expected
            drawn = display.images_[name][i]
            assert drawn.axes is panel
            np.testing.assert_array_equal(drawn.get_array(), images[i])


def test_pictures_of_a_series_of_labels():
    before, after, images, X, y = pictures()
    labels = pd.Series(y, index=np.arange(len(y)) + 100)
    display = PatchedImagesDisplay.from_estimators(before, after, images, X, labels)
    assert display.axes_[0, 0].get_title().startswith(f"T {y[0]}  P ")


def test_pictures_say_what_is_wrong():
    before, after, images, X, y = pictures()
    with pytest.raises(ValueError, match="no picture to draw"):
        PatchedImagesDisplay(images[:0], y[:0], {"a": []}, {"a": []}).plot()
    with pytest.raises(ValueError, match="10 pictures for 3 rows"):
        PatchedImagesDisplay.from_estimators(before, after, images, X[:3], y[:3])
    with pytest.raises(TypeError, match="after has no predict_proba"):
        PatchedImagesDisplay.from_estimators(
            before, LinearRegression().fit(X, y), images, X, y
        )
