"""The rows that views look at: copies merged, so that none vouches for another."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skpuma import rows

TRAINING, VALIDATION = 0, 1
# Share of distinct rows below which equal rows are no copies of each other.
FEW_DISTINCT = 0.25
# Rows from which hashing them is faster than sorting them.
HASHED_ROWS = 10_000


@dataclass(frozen=True)
class LabelledRows:
    """Distinct labelled rows, in an order that depends on nothing but themselves.

    Rows of equal features and label count as one with the sum of their weights: a row
    of weight 2 means the same as two rows, and a copy in another fold, or among the
    neighbours, does not vouch for the label that it was copied with. Where fewer than a
    quarter of the rows are distinct (a few categories), equal rows are observations of
    their own, and stay apart.

    Attributes
    ----------
    X : prepared rows (u, d)
    code : ndarray of int (u,)
        Positions of the given labels among the classes.
    weight : ndarray (u,)
    source : ndarray of int (u,)
        0 for training rows, 1 for validation rows, whose labels may be cleaner.
    n_classes : int
    place : ndarray of int (n,)
        Where each training row is among the distinct ones; -1 for rows of weight 0.
    place_val : ndarray of int (n_val,)
        The same of the validation rows. A copy of a training row is that row.
    """

    X: object
    code: np.ndarray
    weight: np.ndarray
    source: np.ndarray
    n_classes: int
    place: np.ndarray
    place_val: np.ndarray

    def __len__(self):
        return len(self.code)

    @classmethod
    def merge(cls, training, validation, n_classes):
        """From (X, code, weight) of the training rows, and of validation rows or None.

        Prepared rows; rows of weight 0 are left out.
        """
        parts = [training] if validation is None else [training, validation]
        used = [np.flatnonzero(weight > 0) for _, _, weight in parts]
        stack = sparse.vstack if sparse.issparse(training[0]) else np.concatenate
        X = stack([rows.take(p[0], u) for p, u in zip(parts, used, strict=True)])
        X = X.tocsr() if sparse.issparse(X) else X
        code = np.concatenate([p[1][u] for p, u in zip(parts, used, strict=True)])
        weight = np.concatenate([p[2][u] for p, u in zip(parts, used, strict=True)])
        first, where = _distinct(X, code)
        n_training = len(used[0])
        if len(first) < FEW_DISTINCT * len(where):
            # Repeated patterns of categories: every row is an observation of its own.
            first = np.argsort(where, kind="stable")
            where = np.empty(len(first), dtype=int)
            where[first] = np.arange(len(first))
        total = np.bincount(where[:n_training], weight[:n_training], len(first))
        source = np.where(total > 0, TRAINING, VALIDATION)
        # A validation row that is a copy of a training row adds nothing to it.
        extra = np.bincount(where[n_training:], weight[n_training:], len(first))
        total = np.where(source == TRAINING, total, extra)
        places = [np.full(len(p[1]), -1) for p in parts]
        places[0][used[0]] = where[:n_training]
        if validation is not None:
            places[1][used[1]] = where[n_training:]
        return cls(
            rows.take(X, first),
            code[first],
            total,
            source,
            n_classes,
            places[0],
            places[1] if validation is not None else np.empty(0, dtype=int),
        )


def _distinct(X, code):
    """(positions of distinct rows, which of them every row is), sorted by content."""
    if sparse.issparse(X):
        X = X.copy()
        X.sum_duplicates()
        # A zero that is stored is the same as one that is not.
        X.eliminate_zeros()
        labels = code.astype(np.int64)
        ends = zip(X.indptr[:-1], X.indptr[1:], strict=True)
        keys = np.array(
            [
                X.indices[a:b].tobytes() + X.data[a:b].tobytes() + c.tobytes()
                for (a, b), c in zip(ends, labels, strict=True)
            ],
            dtype=object,
        )
    else:
        # Adding zero makes one of the two zeros of floating point.
        table = np.column_stack([code.astype(np.float64), X]) + 0.0
        table = np.ascontiguousarray(table)
        if len(table) >= HASHED_ROWS:
            found = _by_hash(table)
            if found is not None:
                return found
        keys = table.view([("", np.void, table.itemsize * table.shape[1])])[:, 0]
        keys = keys.view(f"V{table.itemsize * table.shape[1]}")
    _, first, where = np.unique(keys, return_index=True, return_inverse=True)
    return first, where.reshape(-1)


def _by_hash(table):
    """`_distinct` of many dense rows, sorted by a hash; None if two rows share one."""
    rng = np.random.default_rng(0)
    factors = rng.integers(2**63, size=table.shape[1], dtype=np.uint64) * 2 + 1
    keys = np.empty(len(table), dtype=np.uint64)
    for block in rows.blocks(len(table), 8 * table.shape[1]):
        bits = table[block].view(np.uint64)
        # Round numbers differ in their high bits only, a product in its high bits too.
        bits = (bits ^ (bits >> np.uint64(32))) * factors
        keys[block] = (bits ^ (bits >> np.uint64(29))).sum(axis=1)
    _, first, where = np.unique(keys, return_index=True, return_inverse=True)
    where = where.reshape(-1)
    copies = np.flatnonzero(first[where] != np.arange(len(table)))
    same = np.array_equal(table[first[where[copies]]], table[copies])
    return (first, where) if same else None
