"""Checks of user input that several rooms share."""

import numbers

import numpy as np


def check_weights(sample_weight, n, name="sample_weight"):
    """Weights as floats (n,); ones for None.

    Raises
    ------
    ValueError
        If they have another length, are negative or not finite, or sum to zero.
    """
    if sample_weight is None:
        return np.ones(n)
    weight = np.asarray(sample_weight)
    if weight.ndim == 0:
        weight = np.full(n, weight)
    if weight.ndim != 1:
        raise ValueError(f"{name} must be 1D array or scalar, got {weight.ndim}D array")
    if weight.shape != (n,):
        raise ValueError(
            f"{name}.shape == {weight.shape}, expected ({n},): one weight per row."
        )
    weight = weight.astype(np.float64)
    if not np.isfinite(weight).all():
        raise ValueError(f"{name} contains NaN or infinity.")
    if (weight < 0).any():
        raise ValueError(
            f"{name} has negative values: give rows that should not count weight 0."
        )
    if not weight.sum() > 0:
        raise ValueError(f"{name} sums to zero: at least one row must count.")
    return weight


def check_groups(groups, n, name="sensitive_features"):
    """A sensitive feature as an array (n,), or None.

    Several columns are combined into one, value by value.

    Raises
    ------
    ValueError
        If it has another length or missing values.
    """
    if groups is None:
        return None
    import pandas as pd

    values = np.asarray(groups)
    if values.ndim not in (1, 2) or len(values) != n:
        rows = "X_val" if name.endswith("_val") else "X"
        raise ValueError(f"{name} has shape {values.shape}, {rows} has {n} rows.")
    if pd.isna(values).any():
        raise ValueError(
            f"{name} has missing values: fill them, for instance with 'unknown'."
        )
    if values.ndim == 2:
        return np.array(["|".join(row) for row in values.astype(str)])
    return values.astype(str) if values.dtype == object else values


def is_mask(values):
    """Whether an array holds nothing but booleans."""
    if values.dtype == object and values.ndim == 1 and values.size:
        return all(isinstance(v, (bool, np.bool_)) for v in values)
    return values.dtype == bool


def check_mask(mask, n, X=None, name="marked"):
    """A boolean mask (n,), positional.

    Raises
    ------
    TypeError
        If it is not boolean: an index array would mean other rows in every fold of a
        cross-validation.
    ValueError
        If it has another length, or is a Series whose index is not that of X.
    """
    if mask is None:
        return np.zeros(n, dtype=bool)
    check_same_index(mask, X, name)
    values = np.asarray(mask)
    if is_mask(values):
        values = values.astype(bool)
    if values.dtype != bool:
        raise TypeError(
            f"{name} must be a boolean mask with one entry per row of X, got dtype "
            f"{values.dtype}: cross-validation would slice an index array into other "
            f"rows. Build it with: mask = np.zeros(len(X), bool); mask[index] = True."
        )
    if values.shape != (n,):
        raise ValueError(f"{name} has shape {values.shape}, X has {n} rows.")
    return values


def rows_of(selection, n, X=None, name="remove"):
    """A boolean mask (n,) from a mask, positions, or labels of X's index.

    A selection of booleans is a mask. A pandas Index, or anything that is not integer,
    holds labels of X's index. Integers are positions; where X's index holds other
    integers than its positions they could mean either, and are refused.

    Raises
    ------
    ValueError, IndexError, KeyError
        If the mask has another length, positions repeat or are out of range, or labels
        are not in the index.
    """
    if selection is None:
        return np.zeros(n, dtype=bool)
    if isinstance(selection, (set, frozenset, dict, slice)):
        raise TypeError(
            f"{name} is a {type(selection).__name__}; pass a boolean mask, a list of "
            "positions, or labels as a pandas Index."
        )
    values = np.asarray(selection)
    if is_mask(values):
        return check_mask(selection, n, X, name)
    values = np.atleast_1d(values)
    if values.ndim > 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {values.shape}.")
    if values.size == 0:
        return np.zeros(n, dtype=bool)
    index = labels_of(X)
    if index is not None:
        if hasattr(selection, "get_indexer") or values.dtype.kind not in "iu":
            return _by_label(values, index, name)
        if index.dtype.kind in "iuf":
            raise TypeError(
                f"{name} holds integers, and the index of X does too, but they are not "
                f"its positions: it could mean either. Pass labels as a pandas Index "
                "(for instance valuator.inspect().index), or positions as a boolean "
                "mask."
            )
    if values.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be a boolean mask, integer positions, or labels of the "
            f"DataFrame's index; got dtype {values.dtype}."
        )
    out_of_range = (values < 0) | (values >= n)
    if out_of_range.any():
        raise IndexError(
            f"{name} has positions outside 0 ... {n - 1}: "
            f"{values[out_of_range][:5].tolist()}."
        )
    return _once(values, n, name)


def labels_of(X):
    """The index of a DataFrame whose labels are not its positions, else None."""
    index = getattr(X, "index", None)
    if index is None or not hasattr(index, "get_indexer"):
        return None
    plain = index.dtype.kind == "i" and np.array_equal(index, np.arange(len(index)))
    return None if plain else index


def index_of(X, n):
    """The index that results about the rows of X are labelled with."""
    import pandas as pd

    index = getattr(X, "index", None)
    return index if isinstance(index, pd.Index) else pd.RangeIndex(n)


def _by_label(values, index, name):
    if not index.is_unique:
        raise ValueError(
            f"{name} names rows by label, but the index of X has repeated labels: pass "
            "a boolean mask instead."
        )
    positions = index.get_indexer(values)
    if (positions < 0).any():
        absent = values[positions < 0][:5].tolist()
        raise KeyError(f"{name} has labels that are not in the index of X: {absent}.")
    return _once(positions, len(index), name)


def _once(positions, n, name):
    if len(np.unique(positions)) < len(positions):
        hint = ""
        if len(positions) == n and np.isin(positions, (0, 1)).all():
            hint = " For a mask of zeros and ones pass its .astype(bool)."
        raise ValueError(
            f"{name} names some rows more than once; name each row once.{hint}"
        )
    mask = np.zeros(n, dtype=bool)
    mask[positions] = True
    return mask


def check_same_index(series, X, name):
    """Refuse a Series whose index is not that of X.

    Raises
    ------
    ValueError
    """
    index, of_X = getattr(series, "index", None), getattr(X, "index", None)
    if hasattr(index, "equals") and hasattr(of_X, "equals") and not index.equals(of_X):
        raise ValueError(
            f"{name} is a Series whose index is not that of X: its rows would be "
            f"matched by position. Pass {name}.reindex(X.index) or {name}.to_numpy()."
        )


def check_same_order(y, X, name="y"):
    """Refuse a Series with the labels of X's index in another order.

    A Series of other labels is matched by position, as in scikit-learn.

    Raises
    ------
    ValueError
    """
    index, of_X = getattr(y, "index", None), getattr(X, "index", None)
    if not (hasattr(index, "equals") and hasattr(of_X, "equals")):
        return
    if len(index) == len(of_X) and not index.equals(of_X):
        if index.sort_values().equals(of_X.sort_values()):
            raise ValueError(
                f"{name} is a Series with the index of X in another order: its rows "
                f"would be matched by position. Pass {name}.reindex(X.index)."
            )


def check_bool(value, name):
    """True or False, and nothing that merely counts as one.

    Raises
    ------
    TypeError
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}.")


def check_number(value, name, low=None, high=None, strict_low=False, infinite=False):
    """A finite real number within bounds.

    Raises
    ------
    TypeError, ValueError
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if np.isnan(value) or (np.isinf(value) and not infinite):
        raise ValueError(f"{name} must be finite, got {value!r}.")
    below = low is not None and (value <= low if strict_low else value < low)
    if below or (high is not None and value > high):
        sign = ">" if strict_low else ">="
        bounds = f"{sign} {low}" + ("" if high is None else f" and <= {high}")
        raise ValueError(f"{name} must be {bounds}, got {value!r}.")
    return float(value)


def check_whole(value, name, low=None):
    """An int, not a bool, of at least `low`.

    Raises
    ------
    TypeError, ValueError
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}.")
    check_number(value, name, low=low)
    return int(value)


def check_jobs(n_jobs):
    """None, or a number of jobs as joblib counts them.

    Raises
    ------
    TypeError, ValueError
    """
    if n_jobs is not None and check_whole(n_jobs, "n_jobs") == 0:
        raise ValueError(
            "n_jobs=0 has no meaning: use None or 1 for one job, -1 for all CPUs."
        )
