"""Data for examples, tests and benchmarks: generators, label noise, MNIST."""

from skpuma.datasets._mnist import load_mnist
from skpuma.datasets._noise import flip_labels
from skpuma.datasets._radial import make_radial

__all__ = ["flip_labels", "load_mnist", "make_radial"]
