"""The contract of a view."""

from abc import ABC, abstractmethod

import numpy as np


class BaseView(ABC):
    """Out-of-sample class probabilities of labelled rows under weights.

    Parameters
    ----------
    table : LabelledRows
    """

    def __init__(self, table):
        self.table = table

    @abstractmethod
    def probabilities(self, weight):
        """Probability tables, each (u, n_classes), of models that have not seen a row.

        Parameters
        ----------
        weight : ndarray (u,)
            Positive weights of the rows that the models are trained on.

        Returns
        -------
        list of ndarray (u, n_classes)
        """

    def shares(self, weight):
        """Share of every class (u, n_classes) among the other rows, under the weights.

        A row's own label is left out here too.
        """
        code = self.table.code
        total = np.bincount(code, weight, self.table.n_classes)
        others = np.tile(total, (len(code), 1))
        others[np.arange(len(code)), code] -= weight
        others = np.maximum(others, np.finfo(float).tiny)
        return others / others.sum(axis=1, keepdims=True)
