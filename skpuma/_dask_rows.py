"""Rows of dask collections: blocks that are summed and mapped where they live.

What a function makes of a block is a pure function of that block and of numbers of the
size of the parameters, so that the scheduler may compute it again where a worker was
lost. Sums travel up a tree; nothing of the size of the rows comes to this process.
dask is imported where a collection is handed over, and by nobody else.
"""

from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add

import numpy as np

from skpuma import rows

# Partial results that are added up at once.
FAN_IN = 8


def is_dask(X):
    """Whether X is a dask collection; asking does not import dask."""
    return type(X).__module__.partition(".")[0] in ("dask", "dask_expr")


def refuse(X, what):
    """Refuse a collection where rows have to be in memory.

    Raises
    ------
    TypeError
    """
    if is_dask(X):
        raise TypeError(
            f"{what} a dask collection: pass rows that fit in memory, for instance "
            "some of them, X[:100_000].compute(), or its blocks one at a time."
        )


class Passes:
    """Counts the rows of every pass over a table."""

    def __init__(self):
        self.rows = 0


@dataclass(frozen=True)
class Table:
    """Aligned columns of blocks.

    Attributes
    ----------
    columns : tuple of tuples
        Of every column (rows, targets, weights, ...) its blocks: delayed, or small and
        at hand.
    lengths : tuple of int
        Rows of every block, none of which is empty.
    n_columns : int
        d.
    passes : Passes
    labels : tuple or None
        Of the rows of a DataFrame, by block: what `_labels_of` makes of their index.
    """

    columns: tuple
    lengths: tuple
    n_columns: int
    passes: Passes = field(default_factory=Passes, compare=False)
    labels: tuple | None = None

    @property
    def shape(self):
        """(n, d)."""
        return sum(self.lengths), self.n_columns

    @property
    def starts(self):
        """Position of the first row of every block."""
        return np.cumsum((0, *self.lengths[:-1]))

    def having(self, *columns):
        """The same rows with more columns."""
        return replace(self, columns=(*self.columns, *columns))

    def of_columns(self, *positions):
        """The same rows with some of the columns."""
        columns = tuple(self.columns[position] for position in positions)
        return replace(self, columns=columns)

    def at(self, positions):
        """The blocks that hold some positions, with those inside each as a column."""
        starts = self.starts
        block = np.searchsorted(starts, positions, side="right") - 1
        touched = np.unique(block)
        inside = tuple(positions[block == b] - starts[b] for b in touched)
        columns = tuple(tuple(column[b] for b in touched) for column in self.columns)
        lengths = tuple(self.lengths[b] for b in touched)
        return Table((*columns, inside), lengths, self.n_columns, self.passes)

    def _tasks(self, function, shared):
        from dask import delayed

        self.passes.rows += sum(self.lengths)
        shared = delayed(shared, pure=False, traverse=False)
        call = delayed(_called, pure=False, traverse=False)
        return [
            call(function, shared, *block) for block in zip(*self.columns, strict=True)
        ]

    def total(self, function, *shared):
        """The sum over blocks of ``function(*block, *shared)``.

        Parameters
        ----------
        function : callable
            Pure. Returns numbers, arrays, lists (which are concatenated), or a tuple of
            such.
        """
        import dask

        parts = self._tasks(function, shared)
        join = dask.delayed(_joined, pure=False)
        while len(parts) > 1:
            groups = range(0, len(parts), FAN_IN)
            parts = [join(parts[start : start + FAN_IN]) for start in groups]
        return _run(dask.compute, parts[0])[0]

    def map(self, function, width, *shared):
        """``function(*block, *shared)`` of every block, as one lazy dask array.

        Parameters
        ----------
        width : int or None
            Columns of the result (n, width); None for (n,).
        """
        import dask.array as da

        tasks = self._tasks(function, shared)
        shape = () if width is None else (width,)
        blocks = [
            da.from_delayed(task, (length, *shape), dtype=np.float64)
            for task, length in zip(tasks, self.lengths, strict=True)
        ]
        return da.concatenate(blocks)

    def ones(self):
        """A dask array of ones (n,), chunked like the rows."""
        import dask.array as da

        return da.ones(self.shape[0], chunks=(self.lengths,))

    def blocks_of(self, values, name):
        """Blocks of a companion of the rows, chunked like them.

        Parameters
        ----------
        values : dask array or Series, or what numpy makes an array of
            (n,) or (n, k).

        Raises
        ------
        ValueError
            If its length is unknown or another one.
        """
        return delayed_blocks(self.aligned(values, name))

    def aligned(self, values, name):
        """The same as a dask array."""
        import dask.array as da

        if self.labels is not None:
            self._check_labels(values, name)
        if hasattr(values, "to_dask_array"):
            values = values.to_dask_array(lengths=True)
        elif not is_dask(values):
            values = np.asarray(values)
            # Labels that are objects have no size that chunks could be chosen by.
            values = da.from_array(values, chunks=values.shape)
        _check_known(values, name)
        n = self.shape[0]
        if values.ndim not in (1, 2) or values.shape[0] != n:
            raise ValueError(f"{name} has shape {values.shape}, X has {n} rows.")
        return values.rechunk((self.lengths, *((-1,) if values.ndim == 2 else ())))

    def _check_labels(self, values, name):
        """Refuse a Series whose row labels are not those of the rows, in their order.

        Raises
        ------
        ValueError
        """
        if hasattr(values, "to_dask_array"):
            found = _labels_by_block(values.to_delayed(optimize_graph=False))
        elif hasattr(values, "iloc"):
            ends = zip(self.starts, self.lengths, strict=True)
            found = [_labels_of(values.iloc[a : a + length]) for a, length in ends]
        else:
            return
        if [length for length, _ in found] != list(self.lengths):
            if sum(length for length, _ in found) != self.shape[0]:
                return  # another number of rows, which has a message of its own
            raise ValueError(
                f"{name} has other partitions than X: take both from one dask "
                f"DataFrame, or pass {name}.to_dask_array(lengths=True)."
            )
        if [label for _, label in found] != list(self.labels):
            raise ValueError(
                f"The row labels of {name} are not those of X, or in another order. "
                f"Rows are matched by position: reindex {name} like X, or pass an "
                "array."
            )


def _labels_of(block):
    """(number of rows, a number that changes with their labels and their order)."""
    from pandas.util import hash_pandas_object

    keys = hash_pandas_object(block.index).to_numpy()
    places = np.arange(1, 2 * len(keys), 2, dtype=np.uint64)
    return len(keys), int((keys * places).sum(dtype=np.uint64))


def _labels_by_block(blocks):
    """`_labels_of` every block that has rows."""
    from dask import delayed

    call = delayed(_labels_of, pure=False)
    return [pair for pair in computed(*[call(block) for block in blocks]) if pair[0]]


def _called(function, shared, *block):
    return function(*block, *shared)


def _joined(parts):
    if isinstance(parts[0], tuple):
        return tuple(_joined(some) for some in zip(*parts, strict=True))
    return reduce(add, parts)


def _run(compute, *collections):
    # Blocks run in threads: each may have one of BLAS, and none may change that. The
    # same blocks are asked for by many graphs; optimised, each graph would mean
    # something else by their keys, which a scheduler that remembers keys cannot serve.
    with rows.one_blas_thread():
        return compute(*collections, optimize_graph=False)


def persisted(*arrays):
    """Dask arrays whose blocks are computed now and stay where they are."""
    import dask

    return _run(dask.persist, *arrays)


def computed(*values):
    """Small results of dask collections, in this process."""
    import dask

    return _run(dask.compute, *values)


def delayed_blocks(values):
    """The row blocks of a dask array."""
    return tuple(values.to_delayed(optimize_graph=False).ravel())


def known(value):
    """A small result, fetched if it is of a dask collection."""
    return computed(value)[0] if is_dask(value) else value


def lowest(values, count, column=0):
    """Positions of the `count` lowest in a column of a dask array, the lowest first.

    nan comes last.
    """
    return _chosen(values, count, column)[0]


def ends(values, count):
    """Positions of the `count` lowest and highest in the first column of a dask array.

    Returns
    -------
    positions : ndarray of int
        Sorted.
    moves : ndarray of bool (m,)
        Whether a column has anything but zeros.
    """
    low, high, moves = _chosen(values, count, 0)
    return np.unique(np.concatenate([low, high])), moves > 0


def _chosen(values, count, column):
    """(positions of the lowest, of the highest, how much there is in a column)."""
    table = Table((delayed_blocks(values),), values.chunks[0], 0)
    table = table.having(tuple(table.starts.tolist()))
    low, high, size = table.total(_candidates, count, column)
    chosen = [np.concatenate(found) for found in (low, high)]
    positions = []
    for found, sign in zip(chosen, (1.0, -1.0), strict=True):
        key = np.nan_to_num(sign * found[:, 0], nan=np.inf)
        order = np.argsort(key, kind="stable")[:count]
        positions.append(found[order, 1].astype(int))
    return *positions, size


def _candidates(values, start, count, column):
    """The lowest and the highest of a block, and the positions of both."""
    one, out = values[:, column], []
    for sign in (1.0, -1.0):
        key = np.nan_to_num(sign * one, nan=np.inf)
        at = np.arange(len(one))
        if count < len(one):
            at = np.sort(np.argpartition(key, count)[:count])
        out.append([np.column_stack([one[at], start + at])])
    return *out, np.abs(np.nan_to_num(values)).sum(axis=0)


def table_of(X, y, name="X"):
    """Rows and their targets as a `Table`.

    Parameters
    ----------
    X : dask array (n, d), whose blocks are numpy or CSR, or dask DataFrame
        The blocks of a DataFrame stay DataFrames, so that names and types of columns
        are checked as those of pandas.
    y : dask array or Series, or array-like (n,) or (n, k); None for rows alone

    Raises
    ------
    ValueError
        If numbers of rows are unknown or differ.
    """
    from dask import delayed

    labels = None
    if hasattr(X, "to_dask_array"):
        blocks = tuple(X.to_delayed(optimize_graph=False))
        call = delayed(_labels_of, pure=False)
        lengths, labels = zip(*computed(*[call(b) for b in blocks]), strict=True)
    else:
        if X.ndim != 2:
            raise ValueError(f"{name} has shape {X.shape}: it must be (n, d).")
        _check_known(X, name)
        X = X.rechunk({1: -1})
        blocks, lengths = delayed_blocks(X), X.chunks[0]
    used = [b for b, length in enumerate(lengths) if length]
    if not used:
        raise ValueError(f"{name} has no rows.")
    kept = tuple(blocks[b] for b in used)
    table = Table((kept,), tuple(int(lengths[b]) for b in used), X.shape[1])
    if labels is not None:
        table = replace(table, labels=tuple(labels[b] for b in used))
    if y is None:
        return table.having((None,) * len(used))
    return table.having(table.blocks_of(y, name.replace("X", "y")))


def columns_of(**named):
    """Companions of no rows, such as labels and predictions, as a `Table`.

    The first one says how the others are chunked.
    """
    name, first = next(iter(named.items()))
    if hasattr(first, "to_dask_array"):
        first = first.to_dask_array(lengths=True)
    elif not is_dask(first):
        first = next(one for one in named.values() if is_dask(one))
    _check_known(first, name)
    lengths = tuple(length for length in first.chunks[0] if length)
    table = Table((), lengths, 0)
    return table.having(
        *(table.blocks_of(values, name) for name, values in named.items())
    )


def _check_known(values, name):
    if any(np.isnan(length) for length in values.shape):
        raise ValueError(
            f"{name} is a dask array with blocks of unknown length: call "
            f"{name}.compute_chunk_sizes() first, or convert a dask DataFrame by "
            "to_dask_array(lengths=True)."
        )
