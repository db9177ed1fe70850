"""Label noise with a record of what was flipped."""

import numpy as np
from sklearn.utils import check_random_state, column_or_1d

from skpuma.utils._validation import check_number


def flip_labels(y, rate, *, random_state=None, per_class=None):
    """Give a share of the rows another label than their own.

    Parameters
    ----------
    y : array-like (n,)
        Labels of at least two classes.
    rate : float in [0, 1]
        Share of the rows that are flipped; their number is rounded, not drawn.
    random_state : int, RandomState or None, default None
        Draws the rows, and with more than two classes the new labels (uniformly among
        the other classes).
    per_class : dict, default None
        Label to rate: these shares hold within each class, and `rate` within the
        classes that are not named. With None the rows are drawn from all classes at
        once.

    Returns
    -------
    y_noisy : ndarray (n,)
        A copy; `y` is not changed.
    flipped : ndarray of bool (n,)
        Which rows have a new label.

    Raises
    ------
    ValueError
        If a rate is not in [0, 1], there are fewer than two classes, or `per_class`
        names a label that is not in `y`.

    Examples
    --------
    >>> import numpy as np
    >>> from skpuma.datasets import flip_labels
    >>> y_noisy, flipped = flip_labels(np.arange(100) % 2, 0.1, random_state=0)
    >>> int(flipped.sum())
    10
    """
    y = column_or_1d(y)
    rate = check_number(rate, "rate", low=0.0, high=1.0)
    classes, code = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y has the single class {classes.tolist()}: nothing to flip.")
    rng = check_random_state(random_state)
    flipped = np.zeros(len(y), dtype=bool)
    for rows, share in _shares(classes, code, rate, per_class):
        chosen = rng.choice(rows, size=round(share * len(rows)), replace=False)
        flipped[chosen] = True
    code[flipped] += rng.randint(1, len(classes), size=int(flipped.sum()))
    return classes[code % len(classes)], flipped


def _shares(classes, code, rate, per_class):
    """(positions, share to flip) of every part that is drawn on its own."""
    if per_class is None:
        return [(np.arange(len(code)), rate)]
    unknown = [label for label in per_class if label not in classes.tolist()]
    if unknown:
        raise ValueError(
            f"per_class has labels that are not in y: {unknown}; y has "
            f"{classes.tolist()}."
        )
    rates = [
        check_number(per_class.get(label, rate), "per_class", low=0.0, high=1.0)
        for label in classes.tolist()
    ]
    return [(np.flatnonzero(code == c), share) for c, share in enumerate(rates)]
