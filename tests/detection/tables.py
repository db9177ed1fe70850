"""Tables of labelled rows in a given order, and views that say what they are told."""

import numpy as np

from skpuma.detection import LabelledRows
from skpuma.detection._base import BaseView


def table_of(X, code, weight=None, *, source=None, n_classes=None):
    """The rows as they are: nothing is merged, nothing is sorted."""
    n = len(code)
    return LabelledRows(
        X,
        np.asarray(code),
        np.ones(n) if weight is None else weight,
        np.zeros(n, dtype=int) if source is None else source,
        int(max(code)) + 1 if n_classes is None else n_classes,
        np.arange(n),
        np.empty(0, dtype=int),
    )


class Told(BaseView):
    """The same tables in every round; it remembers the weights that it was handed."""

    def __init__(self, table, *answers):
        super().__init__(table)
        self.answers = list(answers)
        self.weights = []

    def probabilities(self, weight):
        self.weights.append(weight)
        return self.answers
