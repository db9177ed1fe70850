"""The contract of every Display: where it draws, and that all of it can be read."""

import sys
from itertools import combinations

import numpy as np
import pytest

from skpuma import plotting
from tests.plotting.fitted import DRAW

# Only their figure tells that they were drawn before.
displays = pytest.mark.parametrize("name", sorted(plotting.DISPLAYS))


def axes_of(display):
    return np.ravel(display.axes_ if hasattr(display, "axes_") else display.ax_)


def texts_of(figure, monkeypatch):
    """The texts that are really drawn, with their extents."""
    from matplotlib.text import Text

    found, draw = {}, Text.draw

    def recorded(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            found[self] = Text.get_window_extent(self)
        return draw(self, renderer, *args, **kwargs)

    figure.canvas.draw()  # constrained axes come to rest
    monkeypatch.setattr(Text, "draw", recorded)
    figure.canvas.draw()
    monkeypatch.undo()
    return found


def test_every_display_is_tried():
    assert set(DRAW) == set(plotting.DISPLAYS)


@displays
def test_draws_on_a_new_figure_and_again(name, pyplot):
    display = DRAW[name]()
    assert type(display) is getattr(plotting, name)
    assert all(ax.figure is display.figure_ for ax in axes_of(display))
    first = display.figure_
    assert display.plot() is display
    assert display.figure_ is not first
    assert all(ax.figure is display.figure_ for ax in axes_of(display))


@displays
def test_draws_in_the_place_of_the_users_axes(name, pyplot):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 6))
    display = DRAW[name](left)
    assert display.figure_ is figure
    assert len(pyplot.get_fignums()) == 1
    assert not right.has_data()
    middle = [ax.get_position().x1 for ax in axes_of(display)]
    assert max(middle) <= left.get_position().x1 + 1e-9


@displays
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_texts_are_whole_apart_and_stand_out(name, style, pyplot, monkeypatch):
    from matplotlib.colors import to_rgb

    with pyplot.style.context(style):
        figure = DRAW[name]().figure_
        found = texts_of(figure, monkeypatch)
    page, ground = figure.bbox.padded(1.0), np.array(to_rgb(figure.get_facecolor()))
    assert len(found) > 3
    for text, box in found.items():
        assert page.contains(*box.min) and page.contains(*box.max), text
        assert np.abs(to_rgb(text.get_color()) - ground).max() > 0.4, text
    for (one, first), (other, second) in combinations(found.items(), 2):
        assert not first.padded(-1.5).overlaps(second), (one, other)


@displays
def test_without_matplotlib(name, monkeypatch):
    DRAW[name]()  # what it is made of needs no matplotlib
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=f"{name} draws with matplotlib: pip install"):
        DRAW[name]()


def test_panels_need_a_place(pyplot):
    figure = pyplot.figure()
    loose = figure.add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="axes made by plt.subplots"):
        DRAW["ReliabilityDisplay"](loose)
    assert loose.axison
    with pytest.raises(ValueError, match="draws 2 x 1 panels, and ax has 3"):
        DRAW["ReliabilityDisplay"](pyplot.subplots(3)[1])
    axes = pyplot.subplots(2)[1]
    assert DRAW["ReliabilityDisplay"](axes).ax_ is axes[0]
