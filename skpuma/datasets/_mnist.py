"""MNIST from the four files that it is published as."""

import gzip
import os
from pathlib import Path

import numpy as np

VARIABLE = "SKPUMA_MNIST"
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
UNSIGNED_BYTE = 8


def load_mnist(path=None):
    """Handwritten digits, read from a folder; nothing is downloaded.

    Parameters
    ----------
    path : str or path-like, default None
        Folder with ``train-images-idx3-ubyte.gz``, ``train-labels-idx1-ubyte.gz``,
        ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz``. None reads the
        folder from the environment variable ``SKPUMA_MNIST``.

    Returns
    -------
    X_train : ndarray of uint8 (60000, 784)
        Pixels, 0 (background) to 255; a row is an image of 28 x 28, line by line.
        Divide by 255 before training.
    y_train : ndarray of uint8 (60000,)
        Digits 0 to 9.
    X_test : ndarray of uint8 (10000, 784)
    y_test : ndarray of uint8 (10000,)

    Raises
    ------
    FileNotFoundError
        If no folder is named, or one of the files is not in it.
    ValueError
        If a file is not in the idx format of unsigned bytes, or images and labels do
        not have the same number.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to
    document recognition", Proceedings of the IEEE 86, 1998.
    """
    folder = os.environ.get(VARIABLE) if path is None else path
    if not folder:
        raise FileNotFoundError(
            f"Where is MNIST? Pass path=, or set the environment variable {VARIABLE}, "
            f"to the folder with the files {', '.join(FILES)}."
        )
    folder = Path(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}.")
    X_train, y_train, X_test, y_test = (_read_idx(folder / name) for name in FILES)
    for X, y in ((X_train, y_train), (X_test, y_test)):
        if len(X) != len(y):
            raise ValueError(f"{folder} has {len(X)} images for {len(y)} labels.")
    return X_train, y_train, X_test, y_test


def _read_idx(path):
    """An idx file of unsigned bytes, its axes after the first flattened.

    Layout: two zero bytes, the code of the type, the number of axes, the length of each
    axis as a big-endian 32-bit integer, the data.
    """
    with gzip.open(path) as file:
        data = file.read()
    if len(data) < 8 or data[:2] != b"\0\0" or data[2] != UNSIGNED_BYTE:
        raise ValueError(f"{path.name} is not an idx file of unsigned bytes.")
    start = 4 + 4 * data[3]
    shape = np.frombuffer(data[4:start], ">u4").astype(int)
    if len(data) - start != shape.prod():
        raise ValueError(
            f"{path.name} announces {shape.tolist()} bytes and holds "
            f"{len(data) - start}."
        )
    values = np.frombuffer(data, np.uint8, offset=start).copy()
    return values if len(shape) == 1 else values.reshape(shape[0], -1)
