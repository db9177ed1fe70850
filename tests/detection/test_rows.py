"""LabelledRows: copies merged, whatever the order and the container of the rows."""

import numpy as np
import pytest
from scipy import sparse

from skpuma.detection import LabelledRows
from skpuma.detection import _rows as room

CONTAINERS = {
    "array": np.asarray,
    "fortran": np.asfortranarray,
    "float32": lambda X: X.astype(np.float32),
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
}


@pytest.fixture(autouse=True)
def copies_are_copies(request, monkeypatch):
    """A handful of rows is not meant to be a table of categories."""
    if "categories" not in request.node.name:
        monkeypatch.setattr(room, "FEW_DISTINCT", 0.0)


@pytest.mark.parametrize("container", CONTAINERS)
def test_rows_of_a_few_categories_stay_apart(container):
    rng = np.random.default_rng(0)
    X, code = rng.integers(0, 2, (40, 2)).astype(float), rng.integers(0, 2, 40)
    weight = rng.integers(0, 3, 40).astype(float)
    val = CONTAINERS[container](X[:5]), code[:5], np.ones(5)
    table = LabelledRows.merge((CONTAINERS[container](X), code, weight), val, 2)
    used = np.flatnonzero(weight)
    assert len(table) == len(used) + 5
    assert len(set(table.place[used])) == len(used)
    np.testing.assert_array_equal(table.weight[table.place[used]], weight[used])
    np.testing.assert_array_equal(dense(table.X)[table.place[used]], X[used])
    np.testing.assert_array_equal(table.source[table.place_val], 1)


def dense(X):
    return X.toarray() if sparse.issparse(X) else np.asarray(X)


def content(X, code):
    """What makes two rows the same, one hashable cell a row."""
    return [(int(c), *(x + 0.0).tolist()) for x, c in zip(dense(X), code, strict=True)]


def copied(n=60, n_val=20, seed=0):
    """Training and validation rows with many copies, some of them of weight 0."""
    rng = np.random.default_rng(seed)
    parts = []
    for size in (n, n_val):
        weight = rng.integers(0, 4, size) / 4.0
        parts.append((rng.integers(-1, 2, (size, 2)) * 1.0, rng.integers(0, 3, size)))
        parts[-1] += (weight,)
    return parts


def naive(training, validation):
    """{content: (weight, source)} by a walk over the rows."""
    found = {}
    for source, (X, code, weight) in enumerate((training, validation)):
        for key, w in zip(content(X, code), weight, strict=True):
            if w > 0 and found.get(key, (0.0, source))[1] == source:
                found[key] = (found.get(key, (0.0,))[0] + w, source)
    return found


@pytest.mark.parametrize("container", CONTAINERS)
def test_copies_count_as_one_row_with_the_sum_of_their_weights(container):
    parts = copied()
    training, validation = ((CONTAINERS[container](X), *rest) for X, *rest in parts)
    table = LabelledRows.merge(training, validation, 3)
    expected = naive(*parts)
    keys = content(table.X, table.code)
    assert len(table) == len(keys) == len(set(keys)) == len(expected)
    assert set(table.source) == {0, 1}
    np.testing.assert_allclose(table.weight, [expected[k][0] for k in keys], rtol=1e-14)
    np.testing.assert_array_equal(table.source, [expected[k][1] for k in keys])
    for (X, code, weight), place in zip(
        parts, (table.place, table.place_val), strict=True
    ):
        cells = content(X, code)
        assert [keys[p] for p in place[place >= 0]] == [
            cells[i] for i in np.flatnonzero(place >= 0)
        ]
        np.testing.assert_array_equal(place >= 0, weight > 0)


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_order_of_the_rows_does_not_matter(container):
    (X, code, weight), (X_val, code_val, weight_val) = copied()
    make = CONTAINERS[container]
    there = np.random.default_rng(1).permutation(len(code))
    back = np.random.default_rng(2).permutation(len(code_val))
    one = LabelledRows.merge(
        (make(X), code, weight), (make(X_val), code_val, weight_val), 3
    )
    other = LabelledRows.merge(
        (make(X[there]), code[there], weight[there]),
        (make(X_val[back]), code_val[back], weight_val[back]),
        3,
    )
    np.testing.assert_array_equal(dense(one.X), dense(other.X))
    np.testing.assert_array_equal(one.code, other.code)
    np.testing.assert_array_equal(one.source, other.source)
    np.testing.assert_allclose(one.weight, other.weight, rtol=1e-14)
    np.testing.assert_array_equal(one.place[there], other.place)
    np.testing.assert_array_equal(one.place_val[back], other.place_val)


def test_a_weight_of_two_means_two_rows():
    X, code = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]), np.array([0, 1, 0])
    twice = LabelledRows.merge((X, code, np.ones(3)), None, 2)
    heavy = LabelledRows.merge((X[:2], code[:2], np.array([2.0, 1.0])), None, 2)
    np.testing.assert_array_equal(twice.X, heavy.X)
    np.testing.assert_array_equal(twice.weight, heavy.weight)
    np.testing.assert_array_equal(twice.place, heavy.place[[0, 1, 0]])
    assert len(twice.place_val) == 0


def test_equal_features_under_two_labels_are_two_rows():
    table = LabelledRows.merge(
        (np.ones((3, 2)), np.array([1, 0, 1]), np.ones(3)), None, 2
    )
    assert len(table) == 2
    np.testing.assert_array_equal(table.weight[table.place], [2.0, 1.0, 2.0])


@pytest.mark.parametrize("container", ["array", "csr_matrix", "csr_array"])
def test_both_zeros_are_one(container):
    X = CONTAINERS[container](np.array([[0.0, 1.0], [0.0, 1.0]]))
    if sparse.issparse(X):
        # Stored zeros, of which one is negative.
        data, indices = np.array([0.0, 1.0, -0.0, 1.0, 1.0]), [0, 1, 0, 1, 1]
        X = type(X)((data, indices, [0, 2, 4, 5]), shape=(3, 2))
    else:
        X = np.vstack([X, [-0.0, 1.0]])
    table = LabelledRows.merge((X, np.zeros(3, dtype=int), np.ones(3)), None, 2)
    assert len(table) == 1
    assert table.weight.tolist() == [3.0]


def test_sparse_rows_are_compared_by_what_they_hold():
    # Unsorted, sorted, and with an entry in two pieces.
    data = np.array([2.0, 1.0, 1.0, 2.0, 1.0, 0.5, 1.5])
    indices, indptr = np.array([1, 0, 0, 1, 0, 1, 1]), np.array([0, 2, 4, 7])
    X = sparse.csr_matrix((data, indices, indptr), shape=(3, 2))
    before = [a.copy() for a in (X.data, X.indices, X.indptr)]
    table = LabelledRows.merge((X, np.zeros(3, dtype=int), np.ones(3)), None, 2)
    assert len(table) == 1
    assert table.X.toarray().tolist() == [[1.0, 2.0]]
    for array, old in zip((X.data, X.indices, X.indptr), before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("container", ["array", "csr_matrix"])
def test_hundreds_of_classes_are_told_apart(container):
    # 0, 256 and 65,536 end on the same byte.
    code = np.array([0, 256, 512, 65_536, 256])
    X = CONTAINERS[container](np.ones((5, 2)))
    table = LabelledRows.merge((X, code, np.ones(5)), None, 65_537)
    assert sorted(table.code) == [0, 256, 512, 65_536]
    np.testing.assert_array_equal(table.code[table.place], code)
    np.testing.assert_array_equal(table.weight[table.place], [1.0, 2.0, 1.0, 1.0, 2.0])


def test_validation_copies_of_training_rows_add_nothing():
    X, code = np.array([[1.0], [2.0]]), np.array([0, 1])
    validation = (np.array([[2.0], [1.0], [3.0], [3.0]]), np.array([1, 1, 0, 0]))
    weight_val = np.array([5.0, 1.0, 1.0, 0.5])
    table = LabelledRows.merge(
        (X, code, np.array([2.0, 3.0])), (*validation, weight_val), 2
    )
    # The copy of [2.0] under its label is that row; [1.0] is there under another.
    assert table.place_val[0] == table.place[1]
    assert table.place_val[1] != table.place[0]
    assert table.weight[table.place].tolist() == [2.0, 3.0]
    assert table.weight[table.place_val].tolist() == [3.0, 1.0, 1.5, 1.5]
    assert table.source[table.place_val].tolist() == [0, 1, 1, 1]


def test_a_training_row_of_weight_zero_leaves_its_validation_copy():
    X, code = np.array([[1.0], [2.0]]), np.array([0, 1])
    table = LabelledRows.merge(
        (X, code, np.array([0.0, 1.0])), (X[:1], code[:1], np.ones(1)), 2
    )
    assert table.place.tolist()[0] == -1
    assert table.source[table.place_val].tolist() == [1]
    assert table.weight[table.place_val].tolist() == [1.0]


def test_many_rows_are_merged_by_a_hash(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(3000, 6)).astype(float)
    code = rng.integers(0, 2, 3000)
    X[0] = -0.0
    sort_first, sort_where = room._distinct(X, code)
    monkeypatch.setattr(room, "HASHED_ROWS", 10)
    first, where = room._distinct(X, code)
    assert len(first) == len(sort_first)
    # The same rows are together, whatever the order.
    assert len(set(zip(where, sort_where, strict=True))) == len(first)
    order = rng.permutation(3000)
    again, _ = room._distinct(X[order], code[order])
    np.testing.assert_array_equal(X[order][again] + 0.0, X[first] + 0.0)
    monkeypatch.setattr(room.np.random, "default_rng", NoRandomness)
    assert room._by_hash(np.column_stack([code, X]).astype(float)) is None


class NoRandomness:
    """Factors that make rows collide."""

    def __init__(self, seed):
        pass

    def integers(self, high, size, dtype):
        return np.full(size, 2**62, dtype=dtype)
