"""Rows whose removal helps one criterion and hurts another (Blog fig. 3)."""

import bisect

import numpy as np

BLOCK = 512


def spreads(effects):
    """Robust spread of every column (m,): 1.4826 times the median absolute deviation.

    Where more than half of a column is equal, its standard deviation; 1 where all is.
    """
    finite = effects[np.isfinite(effects).all(axis=1)]
    if not len(finite):
        return np.ones(effects.shape[1])
    spread = 1.4826 * np.median(np.abs(finite - np.median(finite, axis=0)), axis=0)
    spread = np.where(spread > 0, spread, finite.std(axis=0))
    return np.where(spread > 0, spread, 1.0)


def conflict(scaled):
    """How much removal helps one criterion and hurts another (n,).

    The smaller of the largest improvement and the largest worsening over the columns of
    removal effects `scaled` (n, m); 0 where all criteria agree.
    """
    return np.maximum(np.minimum((-scaled).max(axis=1), scaled.max(axis=1)), 0.0)


def fronts(costs):
    """Pareto front of every row of costs (n, m): 1 is dominated by no other row.

    A row dominates another if it is lower in some cost and higher in none. Front f + 1
    is what is not dominated once the fronts 1 ... f are taken away; equal rows share a
    front. Two costs take one sorted pass, more of them a binary search over the fronts
    so far, for a block of sorted rows at a time.

    References
    ----------
    X. Zhang, Y. Tian, R. Cheng, Y. Jin, "An Efficient Approach to Nondominated Sorting
    for Evolutionary Multiobjective Optimization", IEEE Trans. Evolutionary Computation
    19(2), 2015.
    """
    if not len(costs):
        return np.zeros(0, dtype=int)
    # Ranks compare as the costs do, and faster.
    coded = [np.unique(column, return_inverse=True)[1] for column in costs.T]
    distinct, where = np.unique(
        np.stack(coded, axis=1).astype(np.int32), axis=0, return_inverse=True
    )
    sort = _fronts_of_two if costs.shape[1] == 2 else _fronts_of_many
    return sort(distinct)[where.ravel()]


def _fronts_of_two(rows):
    """Fronts of distinct rows in lexicographic order: the lowest second cost decides.

    An earlier row is not higher in the first cost. A front therefore dominates a row if
    its lowest second cost so far is not above the row's, and those rise with the front.
    """
    lowest, out = [], np.empty(len(rows), dtype=int)
    for position, second in enumerate(rows[:, 1].tolist()):
        front = bisect.bisect_right(lowest, second)
        lowest[front : front + 1] = [second]
        out[position] = front + 1
    return out


def _fronts_of_many(rows):
    """Fronts of distinct rows in lexicographic order, of any number of costs."""
    rest = rows[:, 1:]  # the order has compared the first cost already
    out = np.empty(len(rows), dtype=int)
    known = []
    for start in range(0, len(rows), BLOCK):
        block = rest[start : start + BLOCK]
        front = _search(block, known)
        # Within the block, a row is behind every row that dominates it.
        before = np.tril(_dominates(block, block).T, -1)
        for position in np.flatnonzero(before.any(axis=1)):
            behind = front[before[position]].max() + 1
            front[position] = max(front[position], behind)
        out[start : start + BLOCK] = front + 1
        for f in np.unique(front):
            if f == len(known):
                known.append(block[:0])
            known[f] = np.concatenate([known[f], block[front == f]])
    return out


def _search(block, known):
    """First front, counted from 0, that does not dominate each row of a block."""
    low = np.zeros(len(block), dtype=int)
    high = np.full(len(block), len(known))
    while (open_ := low < high).any():
        middle = (low + high) // 2
        for f in np.unique(middle[open_]):
            asked = np.flatnonzero(open_ & (middle == f))
            behind = _dominates(known[f], block[asked]).any(axis=0)
            low[asked[behind]] = f + 1
            high[asked[~behind]] = f
    return low


def _dominates(earlier, later):
    """Whether row i of `earlier` is nowhere above row j of `later` (a, b)."""
    out = earlier[:, None, 0] <= later[None, :, 0]
    for column in range(1, earlier.shape[1]):
        out &= earlier[:, None, column] <= later[None, :, column]
    return out
