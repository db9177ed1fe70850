import gzip

import numpy as np
import pandas as pd
import pytest

from skpuma.datasets import flip_labels, load_mnist, make_radial


class TestMakeRadial:
    def test_shapes_and_classes(self):
        X, y, cluster = make_radial(n_clusters=6, n_per_cluster=20, random_state=0)
        assert X.shape == (120, 2)
        assert np.array_equal(np.bincount(cluster), np.full(6, 20))
        assert np.array_equal(y, cluster % 2)

    def test_clusters_sit_on_the_circle_anticlockwise(self):
        X, _, cluster = make_radial(n_per_cluster=2000, noise=0.1, random_state=0)
        for c in range(8):
            part, angle = X[cluster == c], 2 * np.pi * c / 8
            centre = [np.cos(angle), np.sin(angle)]
            np.testing.assert_allclose(part.mean(axis=0), centre, atol=0.01)
            np.testing.assert_allclose(part.std(axis=0), 0.1, rtol=0.06)

    def test_without_noise(self):
        X, _, _ = make_radial(n_per_cluster=3, noise=0.0, random_state=0)
        np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1.0)

    def test_rows_are_shuffled_and_repeatable(self):
        one, two = (make_radial(random_state=3) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
        assert not np.array_equal(one[2], np.sort(one[2]))

    def test_overlap_that_the_docstring_states(self):
        X, _, cluster = make_radial(n_per_cluster=5000, random_state=0)
        angle = np.arctan2(X[:, 1], X[:, 0])
        nearest = np.round(angle / (2 * np.pi) * 8) % 8
        assert 0.001 < np.mean(nearest != cluster) < 0.003

    @pytest.mark.parametrize(
        ("keywords", "error"),
        [
            ({"n_clusters": 7}, ValueError),
            ({"n_clusters": 0}, ValueError),
            ({"n_clusters": 8.0}, TypeError),
            ({"n_per_cluster": 0}, ValueError),
            ({"noise": -1.0}, ValueError),
        ],
    )
    def test_refusals(self, keywords, error):
        with pytest.raises(error, match=next(iter(keywords))):
            make_radial(**keywords)


class TestFlipLabels:
    @pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
    @pytest.mark.parametrize("classes", [(0, 1), (1, 2, 3), ("a", "b", "c"), (-1, 1)])
    def test_flips_the_asked_share_and_says_which(self, rate, classes):
        y = np.array(classes)[np.arange(200) % len(classes)]
        original = y.copy()
        noisy, flipped = flip_labels(y, rate, random_state=0)
        assert flipped.dtype == bool
        assert flipped.sum() == round(200 * rate)
        assert np.array_equal(noisy != y, flipped)
        assert set(noisy) <= set(classes)
        assert noisy.dtype == y.dtype
        assert np.array_equal(y, original)

    def test_new_labels_are_uniform_among_the_others(self):
        y = np.arange(30_000) % 3
        noisy, _ = flip_labels(y, 1.0, random_state=0)
        shift = np.bincount((noisy - y) % 3)
        assert shift[0] == 0
        np.testing.assert_allclose(shift[1:] / 30_000, 0.5, atol=0.01)

    def test_rates_per_class(self):
        y = np.repeat([0, 1, 2], 100)
        _, flipped = flip_labels(y, 0.1, random_state=0, per_class={1: 0.4, 2: 0.0})
        assert np.bincount(y[flipped], minlength=3).tolist() == [10, 40, 0]

    def test_repeatable_and_takes_a_series(self):
        y = pd.Series([0, 1] * 20, index=np.arange(40) + 5)
        one, two = (flip_labels(y, 0.2, random_state=1)[0] for _ in range(2))
        assert np.array_equal(one, two)
        assert isinstance(one, np.ndarray)

    @pytest.mark.parametrize(
        ("y", "keywords", "message"),
        [
            ([0, 1], {"rate": 1.5}, "rate"),
            ([0, 1], {"rate": 10, "per_class": {0: 0.1}}, "rate"),
            ([0, 0], {"rate": 0.5}, "single class"),
            ([0, 1], {"rate": 0.5, "per_class": {7: 0.1}}, "not in y"),
            ([0, 1], {"rate": 0.5, "per_class": {1: -0.1}}, "per_class"),
            ([[0, 1], [1, 0]], {"rate": 0.5}, "1d array"),
        ],
    )
    def test_refusals(self, y, keywords, message):
        with pytest.raises(ValueError, match=message):
            flip_labels(y, **keywords)


def write_idx(path, values, code=8):
    header = bytes([0, 0, code, values.ndim])
    header += np.array(values.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture
def folder(tmp_path):
    """Five training and three test images in the format of MNIST."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, n in (("train", 5), ("t10k", 3)):
        arrays[name] = (
            rng.integers(256, size=(n, 28, 28), dtype=np.uint8),
            rng.integers(10, size=n, dtype=np.uint8),
        )
        write_idx(tmp_path / f"{name}-images-idx3-ubyte.gz", arrays[name][0])
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte.gz", arrays[name][1])
    return tmp_path, arrays


class TestLoadMnist:
    def test_reads_what_was_written(self, folder, monkeypatch):
        path, arrays = folder
        expected = [
            arrays["train"][0].reshape(5, 784),
            arrays["train"][1],
            arrays["t10k"][0].reshape(3, 784),
            arrays["t10k"][1],
        ]
        monkeypatch.setenv("SKPUMA_MNIST", str(path))
        for got in (load_mnist(path), load_mnist(str(path)), load_mnist()):
            assert all(array.dtype == np.uint8 for array in got)
            assert all(map(np.array_equal, got, expected))
            assert got[0].flags.writeable

    def test_says_where_it_looked(self, folder, monkeypatch):
        path, _ = folder
        monkeypatch.delenv("SKPUMA_MNIST", raising=False)
        with pytest.raises(FileNotFoundError, match="SKPUMA_MNIST"):
            load_mnist()
        (path / "t10k-labels-idx1-ubyte.gz").unlink()
        with pytest.raises(FileNotFoundError, match="lacks t10k-labels"):
            load_mnist(path)

    def test_refuses_other_files(self, folder):
        path, arrays = folder
        images = path / "train-images-idx3-ubyte.gz"
        write_idx(images, arrays["train"][0], code=9)
        with pytest.raises(ValueError, match="not an idx file"):
            load_mnist(path)
        images.write_bytes(gzip.compress(b"\0\0\x08"))
        with pytest.raises(ValueError, match="not an idx file"):
            load_mnist(path)
        write_idx(images, arrays["train"][0])
        cut = gzip.decompress(images.read_bytes())[:-1]
        images.write_bytes(gzip.compress(cut))
        with pytest.raises(ValueError, match="announces"):
            load_mnist(path)
        write_idx(images, arrays["train"][0][:4])
        with pytest.raises(ValueError, match="4 images for 5 labels"):
            load_mnist(path)
