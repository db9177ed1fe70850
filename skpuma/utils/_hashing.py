"""Which rows these are, as a hash: no row can be read off it."""

import hashlib

import numpy as np
from scipy import sparse


def rows_digest(X, y=None, keep=None):
    """SHA-256 of a user's rows, in hexadecimal.

    It changes with any cell, label, type or order. The same numbers as an array and as
    a DataFrame have different digests.

    Parameters
    ----------
    X : DataFrame, array or sparse matrix (n, d)
    y : array-like (n,) or (n, k), optional
    keep : ndarray of bool (n,), optional
        Rows to look at; default all.
    """
    keep = slice(None) if keep is None or np.all(keep) else np.flatnonzero(keep)
    digest = hashlib.sha256()
    for part in (X,) if y is None else (X, y):
        for array in _arrays(part, keep):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _arrays(table, keep):
    """Arrays of plain numbers that say what a table holds."""
    import pandas as pd

    if sparse.issparse(table):
        table = table.tocsr()[keep]
        return table.indptr, table.indices, table.data
    if hasattr(table, "iloc"):
        return (pd.util.hash_pandas_object(table.iloc[keep], index=False).to_numpy(),)
    if hasattr(table, "to_pandas"):
        return _arrays(table.to_pandas(), keep)
    table = np.asarray(table)[keep]
    if table.dtype.kind in "biufc":
        return (table,)
    frame = pd.DataFrame(table.reshape(len(table), -1)).astype(str)
    return (pd.util.hash_pandas_object(frame, index=False).to_numpy(),)
