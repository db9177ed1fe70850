"""Figures without a screen, closed at the end."""

import pytest


@pytest.fixture(autouse=True)
def pyplot():
    """pyplot, if there is one."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")
