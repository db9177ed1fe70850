"""What the checks share: expectations with messages, and finite differences."""

import numpy as np

from skpuma import rows

# Central differences at this step are good to about its square.
STEP = np.finfo(float).eps ** (1 / 3)
TINY = np.finfo(float).tiny
DIFFERENCE = 1e-6
EXACT = 1e-12
SUMMED = 1e-10
SINGLE = 1e-4


def relative_error(X, expected):
    """Largest relative error of a column."""
    norm = np.linalg.norm(expected, axis=0)
    error = np.linalg.norm(X - expected, axis=0)
    return float((error / np.maximum(norm, TINY)).max())


# -- comparisons -----------------------------------------------------------------------


def difference(function, at, direction):
    """Derivative of `function` at `at` along `direction`, by central differences."""
    size = max(1.0, np.abs(at).max(initial=0.0))
    step = STEP * size / max(np.abs(direction).max(initial=0.0), TINY)
    plus = np.asarray(function(at + step * direction), dtype=float)
    minus = np.asarray(function(at - step * direction), dtype=float)
    return (plus - minus) / (2.0 * step)


def expect(holds, identity, found, meaning):
    if not holds:
        raise AssertionError(f"Not true: {identity}; {found}. {meaning}")


def expect_shape(name, array, shape, meaning):
    found = np.shape(array)
    expect(
        found == tuple(shape), f"{name} has shape {shape}", f"it has {found}", meaning
    )


def expect_equal(identity, ours, expected, tolerance, meaning, floor=0.0):
    """Equal up to `tolerance` times the largest expected entry, or times `floor`."""
    ours, expected = np.asarray(ours, dtype=float), np.asarray(expected, dtype=float)
    expect_shape(f"the left side of '{identity}'", ours, expected.shape, meaning)
    scale = max(float(np.abs(expected).max(initial=0.0)), float(floor))
    error = float(np.abs(ours - expected).max(initial=0.0))
    if error <= tolerance * scale:
        return
    relative = error / scale if scale > 0 else np.inf
    raise AssertionError(
        f"Not true: {identity}; off by {relative:.1e} (relative; absolute "
        f"{error:.1e}), allowed are {tolerance:.0e}. {meaning}"
    )


class Unchanged:
    """Remembers arrays, to see whether somebody wrote into them."""

    def __init__(self, owner, **arrays):
        self.owner = type(owner).__name__
        self.arrays = {
            name: (array, np.array(rows.to_dense(array)))
            for name, array in arrays.items()
        }

    def check(self):
        for name, (array, kept) in self.arrays.items():
            expect(
                np.array_equal(rows.to_dense(array), kept),
                f"{self.owner} leaves {name} as it was",
                "it was written into",
                "Work on a copy: the same array is used again.",
            )
