"""`skpuma.utils._softmax` against scipy."""

import numpy as np
import pytest
from scipy import special

from skpuma.utils._softmax import log_sum_exp, row_max, softmax


@pytest.mark.parametrize("k", [1, 2, 10, 40])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows(k, order):
    z = 30.0 * np.random.default_rng(0).standard_normal((200, k))
    z = np.asarray(z, order=order)
    np.testing.assert_array_equal(row_max(z), z.max(axis=1))
    np.testing.assert_allclose(softmax(z), special.softmax(z, axis=1), rtol=1e-13)
    np.testing.assert_allclose(log_sum_exp(z), special.logsumexp(z, 1), rtol=1e-13)


def test_far_and_infinite_outputs():
    z = np.array([[1e4, 0.0], [-1e4, -1e4 + 1.0], [np.inf, 0.0], [-np.inf, -np.inf]])
    np.testing.assert_array_equal(softmax(z[:2]), special.softmax(z[:2], axis=1))
    np.testing.assert_allclose(log_sum_exp(z), special.logsumexp(z, axis=1), rtol=1e-15)
    assert softmax(np.array([[-np.inf, 0.0]])).tolist() == [[0.0, 1.0]]


def test_the_argument_is_not_changed():
    z = np.array([[1.0, 2.0, 3.0]])
    softmax(z), log_sum_exp(z), row_max(z)
    assert z.tolist() == [[1.0, 2.0, 3.0]]
