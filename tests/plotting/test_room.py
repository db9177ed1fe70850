"""Names of any length and axes of any size: nothing is cut, covered or on another."""

from functools import lru_cache
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from skpuma import PumaDebugger, plotting
from skpuma.datasets import flip_labels
from skpuma.plotting._room import shortened, told_apart
from tests.data import blobs, diabetes
from tests.plotting.fitted import MOVES, pictures
from tests.plotting.test_displays import axes_of, texts_of

NAMES = [f"a_name_that_is_the_{n}_and_goes_on_for_some_sixty_letters" for n in "ABC"]


def detection(ax):
    rng, wrong = np.random.default_rng(0), np.arange(100) < 10
    values = {name: rng.random(100) - 0.3 * wrong for name in NAMES}
    return plotting.DetectionCurveDisplay.from_values(values, wrong, ax=ax)


def direction(ax):
    names = NAMES[:2]
    return plotting.DirectionDisplay.from_surfaces(**MOVES, names=names, ax=ax)


@lru_cache
def debugger():
    X, y = blobs(n=200, d=3)
    y, wrong = flip_labels(y, 0.1, random_state=0)
    X = pd.DataFrame(X, columns=NAMES)
    fitted = PumaDebugger(views=("model",), random_state=0).fit(X, np.array(NAMES)[y])
    return fitted, X, wrong


def issues(ax):
    fitted, X, _ = debugger()
    return plotting.IssueBoardDisplay.from_debugger(fitted, X, columns=NAMES[:2], ax=ax)


def issue_pictures(ax):
    fitted, X, _ = debugger()
    images = np.arange(200 * 9.0).reshape(200, 9)
    return plotting.IssueBoardDisplay.from_debugger(fitted, X, images=images, ax=ax)


def patched(ax):
    _, _, images, X, y = pictures()
    y = pd.Series(np.array(NAMES)[y], index=np.arange(len(y)) + 7)
    models = [LogisticRegression(C=C).fit(X, y) for C in (1.0, 1e-3)]
    return plotting.PatchedImagesDisplay.from_estimators(*models, images, X, y, ax=ax)


def reliability(ax):
    X, y = blobs()
    steps = zip(NAMES, (1e-4, 1e-2, 1.0), strict=True)
    models = {name: LogisticRegression(C=C).fit(X, y) for name, C in steps}
    return plotting.ReliabilityDisplay.from_estimators(models, X, y, ax=ax)


def history(n):
    s = np.linspace(0, 1, 6)
    drift = np.random.default_rng(0).normal(0, 0.005, n)
    names = [f"{NAMES[0]}_{at}" for at in range(n)]
    changes = {name: 1 + one * s for name, one in zip(names, drift, strict=True)}
    return pd.DataFrame({"s": s, **changes, "forgetting": 1 - s})


def path(ax):
    ending = f"ended by the delta of {NAMES[0]}"
    return plotting.PatchPathDisplay.from_history(
        history(14), delta=0.01, ending=ending, ax=ax
    )


def path_of_one(ax):
    return plotting.PatchPathDisplay.from_history(history(1), delta=0.01, ax=ax)


ROWS = [f"customer-{n:05d}-of-the-northern-branch" for n in range(60)]


def influence(ax, top=8):
    rng = np.random.default_rng(0)
    leverage, value = 0.7 * rng.random(60), 1e-9 * rng.normal(size=60)
    return plotting.InfluenceDisplay(leverage, value, ROWS).plot(ax=ax, top=top)


def influence_far_apart(ax):
    leverage, value = [1e-12, 1e-9, 0.9], [1e12, -1e13, 1]
    return plotting.InfluenceDisplay(leverage, value, NAMES).plot(ax=ax)


def conflict(ax, top=8):
    effect = 1e-9 * np.random.default_rng(0).normal(size=(60, 2))
    names = "log_loss", "calibration_error"
    return plotting.ConflictDisplay(effect, names, ROWS).plot(ax=ax, top=top)


LABELLED = (influence, influence_far_apart, conflict)
HOSTILE = (detection, direction, issues, issue_pictures, patched, reliability, path)
draws = pytest.mark.parametrize("draw", (*HOSTILE, *LABELLED, path_of_one))


def check(display, monkeypatch, where):
    figure = display.figure_
    found = texts_of(figure, monkeypatch)
    for text, box in found.items():
        assert where.contains(*box.min) and where.contains(*box.max), text
    for (one, first), (other, second) in combinations(found.items(), 2):
        assert not first.padded(-1.5).overlaps(second), (one, other)
    for ax in axes_of(display):
        if (legend := ax.get_legend()) is not None:
            box = legend.get_window_extent()
            assert where.contains(*box.min) and where.contains(*box.max)
            for line in ax.lines:
                drawn = line.get_path().transformed(line.get_transform())
                assert not drawn.intersects_bbox(box, filled=False), line


@draws
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_small_axes_of_the_user(draw, layout, pyplot, monkeypatch):
    figure, ax = pyplot.subplots(figsize=(3, 4), layout=layout)
    check(draw(ax), monkeypatch, figure.bbox.padded(1.0))


@draws
def test_new_figure(draw, pyplot, monkeypatch):
    display = draw(None)
    check(display, monkeypatch, display.figure_.bbox.padded(1.0))


@draws
def test_axes_beside_others_stay_in_their_place(draw, pyplot):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 4))
    limit = right.get_position().x0
    display = draw(left)
    figure.canvas.draw()
    for ax in axes_of(display):
        box = ax.get_tightbbox().transformed(figure.transFigure.inverted())
        assert box.x1 <= limit
        if ax.get_legend() is not None:
            legend = ax.get_legend().get_window_extent()
            assert legend.x1 <= figure.bbox.width * limit


@draws
def test_subfigures(draw, pyplot):
    whole = pyplot.figure(figsize=(10, 4))
    figure = whole.subfigures(1, 2)[1]
    display = draw(figure.subplots())
    assert all(ax.figure is figure for ax in axes_of(display))
    whole.canvas.draw()
    for ax in axes_of(display):
        box = ax.get_tightbbox()
        assert figure.bbox.padded(1.0).x0 <= box.x0 and box.x1 <= figure.bbox.x1 + 1
        assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1


def direction_of_small_moves(ax):
    """Ticks with several digits."""
    moves = {key: 0.06 * np.array(MOVES[key]) for key in ("phi", "naive", "puma")}
    shown = {**MOVES, **moves, "theta": [0.512, -0.251]}
    return plotting.DirectionDisplay.from_surfaces(**shown, ax=ax)


@pytest.mark.parametrize("draw", [influence, conflict, direction_of_small_moves])
def test_one_of_nine(draw, pyplot, monkeypatch):
    figure, axes = pyplot.subplots(3, 3, figsize=(12, 9))
    display = draw(axes[0, 0])
    check(display, monkeypatch, figure.bbox)
    labels, inside = getattr(display, "labels_", ()), axes_of(display)[0].bbox
    assert len(labels) >= 5 or draw is direction_of_small_moves
    for label, box in texts_of(figure, monkeypatch).items():
        if label in labels:
            assert inside.contains(*box.min) and inside.contains(*box.max)


@pytest.mark.parametrize("draw", [influence, conflict])
def test_labels_without_room_are_left_out(draw, pyplot):
    display = draw(pyplot.subplots(figsize=(2.6, 2.2))[1], top=30)
    assert 0 < len(display.labels_) < len(draw(None, top=30).labels_)
    # Limits that change later move them over no other axes.
    assert all(label.get_clip_on() for label in display.labels_)


def test_axes_without_a_grid_and_an_array_of_axes(pyplot, monkeypatch):
    figure = pyplot.figure(figsize=(3, 4))
    loose = figure.add_axes((0.2, 0.3, 0.7, 0.6))
    place = loose.get_position()
    check(detection(loose), monkeypatch, figure.bbox)
    inside = loose.get_position()
    assert inside.y0 > place.y0 and inside.x1 <= place.x1 + 1e-9
    figure, axes = pyplot.subplots(1, 3, figsize=(14, 4))
    check(direction(axes), monkeypatch, figure.bbox)


def test_shortened_names_are_told_apart():
    assert shortened("short", 9) == "short" == shortened("short", None)
    assert shortened("a_rather_long_name", 10) == "a_rath…ame"
    assert told_apart(["one", "two"], 9) == ["one", "two"]
    middle = told_apart([f"the_same_start_{n}_the_same_end" for n in "AB"], 10)
    assert middle == ["…A_the…end", "…B_the…end"]
    numbers = told_apart([f"{n}_start_{n * 9}_end" for n in "aa"] + ["b" * 30], 12)
    assert numbers[0] == numbers[1] != numbers[2]
    far = told_apart([f"x{'-' * 20}{n}{'-' * 20}" for n in "ABA"], 8)
    assert far[0] == far[2] != far[1] and all(len(one) <= 8 for one in far)
    mixed = told_apart([f"{c}{'-' * 20}{n}{'-' * 20}" for c in "xy" for n in "AB"], 9)
    assert len(set(mixed)) == 4


def test_names_that_are_no_strings():
    y, p = [0, 1, 1, 1], [0.4, 0.4, 0.9, 0.9]
    for bins in (2, 4):
        display = plotting.ReliabilityDisplay.from_predictions(
            y, {0.1: p, 10: p[::-1]}, n_bins=bins
        )
        texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert [text.partition(" (ECE")[0] for text in texts] == ["0.1", "10"]


# -- path of many criteria -------------------------------------------------------------


def test_path_colours_what_binds_or_moves_most():
    s = np.linspace(0, 1, 3)
    ends = {"far": 5.0, "bound": 0.5, "small": 0.1, "down": -4.0, "asked": 0.0}
    frame = pd.DataFrame({"s": s, **{name: end * s for name, end in ends.items()}})
    frame["rest (target)"] = 0.0
    display = plotting.PatchPathDisplay.from_history(
        frame, delta={"bound": 0.5, "small": 1.0}, top=4, line_kwargs={"asked": {}}
    )
    assert display.coloured_ == ["far", "bound", "asked", "rest (target)"]
    assert list(display.lines_) == list(frame.columns[1:])
    assert list(display.bands_) == ["bound"]
    grey = {display.lines_[name].get_color() for name in ("small", "down")}
    assert len(grey) == 1
    assert not grey & {display.lines_[name].get_color() for name in display.coloured_}
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts[-1] == "2 others" and "bound (delta 0.5)" in texts
    one = plotting.PatchPathDisplay.from_history(frame, top=5)
    assert one.ax_.get_legend().get_texts()[-1].get_text() == "1 other"
    none = plotting.PatchPathDisplay.from_history(frame[["s", "far"]], top=0)
    assert none.coloured_ == []
    with pytest.raises(ValueError, match="top=-1 is negative"):
        display.plot(top=-1)
    with pytest.raises(ValueError, match=r"names \['no'\]; the curves are \['far'"):
        display.plot(top=1, line_kwargs={"no": {}})


def test_path_of_criteria_that_may_not_rise():
    s = np.linspace(0, 1, 3)
    frame = pd.DataFrame({"s": s, "falls": -s, "rises": 0.01 * s, "still": 0.0 * s})
    display = plotting.PatchPathDisplay.from_history(frame, delta=0.0, top=2)
    assert display.coloured_ == ["falls", "rises"]


# -- a debugger by psi alone -----------------------------------------------------------


@pytest.mark.parametrize("pictures", [False, True])
def test_board_of_a_regressor_without_issues(pictures):
    X, _ = diabetes()
    y = X @ np.arange(1.0, 1.0 + X.shape[1])
    y += 0.1 * np.sin(np.arange(len(X)))
    fitted = PumaDebugger(LinearRegression(), random_state=0).fit(X, y)
    fitted.issues_ = fitted.issues_.iloc[:0]
    images = np.zeros((len(X), 2, 2)) if pictures else None
    display = plotting.IssueBoardDisplay.from_debugger(
        fitted, X, columns=(0, 1), images=images
    )
    assert display.kinds_ == ["harmful"]
    texts = [ax.get_title() for ax in display.figure_.axes]
    texts += [text.get_text() for ax in display.figure_.axes for text in ax.texts]
    assert "harmful (0)\nno row stands out" in texts
