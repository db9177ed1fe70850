"""Groups of rows that are valued and removed together: a customer, a file, a house."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skpuma.utils._validation import check_mask, check_same_index, is_mask


@dataclass(frozen=True)
class Grouping:
    """Which group every row belongs to.

    Attributes
    ----------
    labels : ndarray (G,)
        The user's labels, each once, in sorted order where they have one.
    code : ndarray of int (n,)
        Position of every row's label in `labels`.
    """

    labels: np.ndarray
    code: np.ndarray

    @cached_property
    def members(self):
        """Positions of the rows of every group: a list of G arrays."""
        order = np.argsort(self.code, kind="stable")
        ends = np.cumsum(self.sizes)
        return np.split(order, ends[:-1])

    @cached_property
    def sizes(self):
        """Number of rows of every group (G,)."""
        return np.bincount(self.code, minlength=len(self.labels))

    def total(self, values):
        """Sums over the rows of every group: (G,) or (G, m) of (n,) or (n, m)."""
        if values.ndim == 1:
            return np.bincount(self.code, values, minlength=len(self.labels))
        return np.stack([self.total(column) for column in values.T], axis=1)

    def take(self, index):
        """The same groups on some of the rows."""
        return Grouping(self.labels, self.code[index])

    def whole(self, mask):
        """Mask (n,) of all the rows of every group of which a row is in `mask`."""
        touched = np.zeros(len(self.labels), dtype=bool)
        touched[self.code[mask]] = True
        return touched[self.code]

    def fingerprint(self):
        """Sizes of the groups and a sum that changes with any row's group (G + 1,)."""
        wave = np.cos(np.arange(1, len(self.code) + 1))
        return np.append(self.sizes, wave @ self.code)


def check_grouping(groups, n, X=None):
    """A label per row as a `Grouping`; None for None.

    Raises
    ------
    ValueError
        If there is not one label per row, labels are missing, or it is a Series whose
        index is not that of X.
    """
    if groups is None:
        return None
    import pandas as pd

    check_same_index(groups, X, "groups")
    values = np.asarray(groups)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and len(values) == n:
        raise ValueError(
            f"groups has {values.shape[1]} columns; it is one label per row. Combine "
            "them, for instance with table.groupby(columns).ngroup()."
        )
    if values.shape != (n,):
        raise ValueError(f"groups has shape {values.shape}, X has {n} rows.")
    if pd.isna(values).any():
        raise ValueError(
            "groups has missing values: give such rows labels of their own, since rows "
            "of one label are removed together."
        )
    if values.dtype != object:
        return Grouping(*np.unique(values, return_inverse=True))
    try:
        code, labels = pd.factorize(values, sort=True)
    except TypeError:  # labels of several types have no order
        code, labels = pd.factorize(values)
    return Grouping(np.asarray(labels), code)


def names_groups(selection, grouping):
    """Whether a selection holds labels of groups, rather than one value per row.

    A pandas Index does. Booleans and floats are one value per row, unless the labels
    are of that type and there are not as many values as rows.
    """
    values = np.asarray(selection)
    if hasattr(selection, "get_indexer"):
        return True
    kind = "b" if is_mask(values) else values.dtype.kind
    if kind not in "bf" or not values.size:
        return True
    labels = np.asarray(grouping.labels.tolist())
    return labels.dtype.kind == kind and values.shape != grouping.code.shape


def rows_of_groups(selection, grouping, X=None, name="remove"):
    """A boolean mask (n,) of whole groups, from their labels or a mask of rows.

    A pandas Index holds labels, also of booleans.

    Raises
    ------
    KeyError
        If a label is not in groups.
    TypeError, ValueError
        If the selection is neither a mask of rows nor a list of labels.
    """
    import pandas as pd

    n = len(grouping.code)
    if selection is None:
        return np.zeros(n, dtype=bool)
    if isinstance(selection, (set, frozenset, dict, slice)):
        raise TypeError(
            f"{name} is a {type(selection).__name__}; pass a list of group labels, or "
            "a boolean mask of rows."
        )
    values = np.asarray(selection)
    if is_mask(values) and not names_groups(selection, grouping):
        return grouping.whole(check_mask(selection, n, X, name))
    values = np.atleast_1d(values)
    if values.ndim > 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {values.shape}.")
    if not values.size:
        return np.zeros(n, dtype=bool)
    found = pd.Index(grouping.labels).get_indexer(pd.Index(values))
    if (found < 0).any():
        raise KeyError(
            f"{name} has labels that are not in groups: "
            f"{values[found < 0][:5].tolist()}; groups has labels such as "
            f"{grouping.labels[:3].tolist()}. With groups= the entries of {name} are "
            "labels of groups; to name rows pass a boolean mask, or leave groups out."
        )
    return np.isin(grouping.code, found)
