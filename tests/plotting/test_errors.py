"""What cannot be drawn is told in the words of the caller."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import PumaDebugger, PumaValuator
from skpuma.plotting import (
    ConflictDisplay,
    DetectionCurveDisplay,
    DirectionDisplay,
    InfluenceDisplay,
    IssueBoardDisplay,
    PatchedImagesDisplay,
    PatchPathDisplay,
    ReliabilityDisplay,
    WeightsDisplay,
)
from tests.plotting.fitted import MOVES, noisy, pictures, table, valuator

HISTORY = pd.DataFrame({"s": [0.0, 1.0], "loss": [2.0, 1.5]})


def board(columns, frame=False):
    debugger, X, _ = noisy()
    X = pd.DataFrame(X, columns=list("abc")) if frame else X
    return IssueBoardDisplay.from_debugger(debugger, X, columns=columns)


def images(names):
    return PatchedImagesDisplay.from_estimators(*pictures(), names=names)


def pipelines():
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(*table())
    moved = {key: MOVES[key] for key in ("phi", "J", "C")}
    return DirectionDisplay.from_estimators(model, model, model, **moved)


def conflict(criteria):
    return ConflictDisplay.from_valuator(valuator(), criteria=criteria)


CASES = {
    "columns of a frame": (
        lambda: board(("a", "zz"), frame=True),
        r"X has no \['zz'\]; it has \['a', 'b', 'c'\]",
    ),
    "columns of an array": (
        lambda: board((0, 3)),
        r"X has no \[3\]; it has columns 0 to 2",
    ),
    "names of an array": (lambda: board(("a", "b")), r"X has no \['a', 'b'\]"),
    "criteria twice": (lambda: conflict((0, 1, 1)), "are not two criteria"),
    "criterion": (
        lambda: InfluenceDisplay.from_valuator(valuator(), *table(), criterion="xx"),
        r"criterion='xx' is not one of \['log_loss'",
    ),
    "no influence": (InfluenceDisplay([], [], []).plot, "leverage is empty"),
    "lengths": (InfluenceDisplay([0.1], [1.0, 2.0], "ab").plot, "inconsistent numbers"),
    "no effect": (ConflictDisplay([], "ab", []).plot, "effect is empty"),
    "no weights": (WeightsDisplay([], []).plot, "extra is empty"),
    "no path": (
        lambda: PatchPathDisplay.from_history(HISTORY[:0]),
        "history is empty",
    ),
    "dict": (
        lambda: PatchPathDisplay.from_history(HISTORY.to_dict("list")),
        "history is a dict, and must be a DataFrame",
    ),
    "delta": (
        lambda: PatchPathDisplay.from_history(HISTORY, delta=-1),
        r"delta bounds \{'loss': -1.0\}, and must not be negative",
    ),
    "nan": (
        lambda: DirectionDisplay.from_surfaces(**{**MOVES, "puma": [0.3, np.nan]}),
        "puma holds nan",
    ),
    "pipeline": (pipelines, r"before is a Pipeline without coef_.*before\[-1\]"),
    "frame of values": (
        lambda: DetectionCurveDisplay.from_values(HISTORY, [True, False]),
        r"values has shape \(2, 2\), .* dict\(frame.items\(\)\)",
    ),
    "names twice": (lambda: images(("m", "m")), "must be two different names"),
    "names": (lambda: images(("a", "b", "c")), "must be two different names"),
}


@pytest.mark.parametrize("case", CASES)
def test_says_what_was_wrong(case, pyplot):
    draw, says = CASES[case]
    with pytest.raises((TypeError, ValueError), match=says):
        draw()
    assert not pyplot.get_fignums()


@pytest.mark.parametrize(
    "draw",
    [
        lambda X, y: IssueBoardDisplay.from_debugger(PumaDebugger(), X),
        lambda X, y: ReliabilityDisplay.from_estimators(LogisticRegression(), X, y),
        lambda X, y: ConflictDisplay.from_valuator(PumaValuator()),
        lambda X, y: InfluenceDisplay.from_valuator(PumaValuator(), X, y),
    ],
)
def test_says_that_it_is_not_fitted(draw):
    with pytest.raises(NotFittedError, match="Call 'fit'"):
        draw(*table())


def test_lists_and_dicts_of_frames_are_drawn():
    debugger, X, _ = noisy()
    listed = IssueBoardDisplay.from_debugger(debugger, X.tolist())
    np.testing.assert_array_equal(
        listed.points, IssueBoardDisplay.from_debugger(debugger, X).points
    )
    display = DetectionCurveDisplay.from_values(dict(HISTORY.items()), [True, False])
    assert list(display.lines_) == ["s", "loss"]


def test_a_name_is_for_probabilities_without_one():
    y, p = [0, 1, 1, 0], [0.2, 0.7, 0.9, 0.4]
    drawn = ReliabilityDisplay.from_predictions(y, p, name="mine")
    assert list(drawn.lines_) == ["mine"]
    with pytest.raises(ValueError, match=r"name='mine' is for one array.*\['other'\]"):
        ReliabilityDisplay.from_predictions(y, {"other": p}, name="mine")
