"""Where a step of a path meets its delta, on functions whose root is known."""

from dataclasses import dataclass

import numpy as np
import pytest

from skpuma.patching._segment import Segment


@dataclass
class Point:
    """What `Segment` looks at of a state."""

    theta: np.ndarray
    values: np.ndarray


def walked(functions, length=2.0, turns=12, theta=lambda h: np.array([h, h**2, h**3])):
    """(segment, lengths that were tried) until a criterion is within 1e-6 of 0."""

    def at(h):
        return Point(theta(h), np.array([f(h) for f in functions]))

    segment = Segment(at(0.0), at(length), length, lambda point: point.values)
    tried = []
    for _ in range(turns):
        h = segment.crossing()
        assert segment.h_low < h < segment.h_high
        tried.append(h)
        found = at(h)
        segment.add(h, found, bool((found.values <= 0.0).all()))
        if abs(found.values.max()) <= 1e-6:
            break
    return segment, tried


@pytest.mark.parametrize(
    "function, root, most",
    [
        (lambda h: h - 0.7, 0.7, 1),
        (lambda h: h**2 - 0.5, np.sqrt(0.5), 2),
        (lambda h: h**3 + h - 1.5, None, 3),
        (lambda h: np.expm1(4.0 * h) - 3.0, np.log(4.0) / 4.0, 11),
        (lambda h: np.tanh(20.0 * (h - 1.3)), 1.3, 8),
        (lambda h: h**9 - 1e-3, 1e-3 ** (1 / 9), 12),
    ],
    ids=["line", "parabola", "cubic", "exponential", "step", "flat"],
)
def test_few_points_find_the_crossing(function, root, most):
    segment, tried = walked([function])
    assert len(tried) <= most
    if root is not None:
        assert tried[-1] == pytest.approx(root, abs=1e-4)
    assert (segment.low.values <= 0.0).all() and (segment.high.values > 0.0).any()


def test_the_first_criterion_that_meets_its_delta_counts():
    criteria = [lambda h: h**2 - 3.0, lambda h: h - 0.4, lambda h: -np.inf]
    segment, tried = walked(criteria)
    assert tried[-1] == pytest.approx(0.4, abs=1e-6)
    assert segment.low is not segment.high


def test_a_jump_is_halved():
    segment, tried = walked([lambda h: -1.0 if h < 1.234 else 1.0], turns=40)
    assert segment.h_low < 1.234 <= segment.h_high
    assert segment.h_high - segment.h_low <= 1e-3


def test_values_that_are_not_finite_are_not_interpolated():
    segment, tried = walked([lambda h: h - 0.3 if h < 1.0 else np.nan], turns=6)
    assert tried[0] == pytest.approx(1.0)
    assert tried[-1] == pytest.approx(0.3, abs=1e-6)
    assert np.isfinite(segment.theta(0.2)).all()


def test_parameters_between_points_are_interpolated():
    segment, tried = walked([lambda h: h**3 + h - 1.5], turns=3)
    for h in (0.1, 0.7, 1.9):
        np.testing.assert_allclose(segment.theta(h), [h, h**2, h**3], atol=1e-12)
