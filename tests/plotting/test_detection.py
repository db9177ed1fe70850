"""The display draws the curves that the metric gives, and says what is wrong."""

import sys

import numpy as np
import pytest

from skpuma.metrics import detection_curve
from skpuma.plotting import DetectionCurveDisplay
from skpuma.plotting._room import _covers
from skpuma.plotting._style import line_styles


def case(n=50, seed=0):
    rng = np.random.default_rng(seed)
    noisy = np.arange(n) < n // 10
    values = {
        "random": rng.random(n),
        "good": rng.random(n) - 0.5 * noisy,
        "ties": -noisy.astype(float),
    }
    return values, noisy


def test_curves_are_those_of_the_metric():
    values, noisy = case()
    display = DetectionCurveDisplay.from_values(values, noisy)
    assert list(display.lines_) == list(values)
    for name, line in display.lines_.items():
        inspected, found = detection_curve(values[name], noisy)
        np.testing.assert_array_equal(line.get_xdata(), inspected)
        np.testing.assert_array_equal(line.get_ydata(), found)


def test_reference_lines_are_the_best_and_random():
    values, noisy = case()
    display = DetectionCurveDisplay.from_values(values, noisy)
    best = display.optimal_
    inspected, found = detection_curve(-1.0 * noisy, noisy)
    np.testing.assert_allclose(
        np.interp(inspected, best.get_xdata(), best.get_ydata()), found, atol=1e-12
    )
    line = display.random_
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
    without = DetectionCurveDisplay.from_values(values, noisy, plot_references=False)
    assert without.optimal_ is None and without.random_ is None
    assert len(without.ax_.lines) == len(values)


def test_legend_is_best_first():
    values, noisy = case()
    display = DetectionCurveDisplay.from_values(values, noisy)
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["best possible", "ties", "good", "random", "random"]


def test_legend_covers_no_line_when_limits_change():
    values, noisy = case()
    display = DetectionCurveDisplay.from_values(values, noisy)
    display.ax_.set_xlim(0, 0.3)
    display.figure_.canvas.draw()
    assert not _covers(display.ax_, display.ax_.get_legend())


def test_axes_of_the_user_and_a_single_array(pyplot):
    values, noisy = case()
    figure, ax = pyplot.subplots()
    display = DetectionCurveDisplay.from_values(
        values["good"],
        noisy,
        ax=ax,
        name="mine",
        curve_kwargs={"mine": {"color": "red", "linewidth": 3.0}},
    )
    assert display.ax_ is ax and display.figure_ is figure
    line = display.lines_["mine"]
    assert line.get_color() == "red" and line.get_linewidth() == 3.0


def test_plot_again_on_other_axes(pyplot):
    values, noisy = case()
    display = DetectionCurveDisplay.from_values(values, noisy)
    first = display.ax_
    ax = pyplot.subplots()[1]
    assert display.plot(ax=ax, legend=False) is display
    assert display.ax_ is ax and first is not ax
    assert ax.get_legend() is None


def test_known_curves():
    grid = np.linspace(0, 1, 5)
    display = DetectionCurveDisplay(grid, {"mean": np.sqrt(grid)}, rate=0.2).plot()
    np.testing.assert_array_equal(display.lines_["mean"].get_ydata(), np.sqrt(grid))
    assert display.optimal_.get_xdata()[1] == 0.2


def test_no_two_lines_look_the_same():
    styles = {tuple(style.values()) for style in line_styles(20)}
    assert len(styles) == 20


def test_saved_figure_is_a_picture(tmp_path):
    values, noisy = case()
    figure = DetectionCurveDisplay.from_values(values, noisy).figure_
    figure.savefig(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input():
    values, noisy = case()
    with pytest.raises(ValueError, match="values is empty"):
        DetectionCurveDisplay.from_values({}, noisy)
    with pytest.raises(ValueError, match=r"curve_kwargs names \['other'\]"):
        DetectionCurveDisplay.from_values(values, noisy, curve_kwargs={"other": {}})
    with pytest.raises(ValueError, match="marks no row"):
        DetectionCurveDisplay.from_values(values, np.zeros(50, dtype=bool))


def test_without_matplotlib(monkeypatch):
    values, noisy = case()
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        DetectionCurveDisplay.from_values(values, noisy)
