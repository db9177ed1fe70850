"""What the nearest other rows are labelled."""

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skpuma import rows
from skpuma.detection._base import BaseView

NUMBERS = (10, 40)


class NeighborsView(BaseView):
    """Weighted votes of the 10 and of the 40 nearest other rows.

    Columns are scaled to unit variance. The classes' shares among the other rows count
    as one more neighbour, so that a class that is there at all is not impossible.
    """

    def __init__(self, table, *, n_jobs=None, **_):
        super().__init__(table)
        X = table.X
        scaled = StandardScaler(with_mean=False).fit_transform(X)
        count = min(max(NUMBERS), len(table) - 1)
        nearest = NearestNeighbors(n_neighbors=count, n_jobs=n_jobs).fit(scaled)
        self.index = nearest.kneighbors(return_distance=False)

    def probabilities(self, weight):
        votes = np.eye(self.table.n_classes)[self.table.code] * weight[:, None]
        # One more neighbour, whatever unit the weights have.
        prior = weight.mean() * self.shares(weight)
        out = []
        for number in sorted({min(k, self.index.shape[1]) for k in NUMBERS}):
            total = prior.copy()
            for block in rows.blocks(len(weight), 8 * number * votes.shape[1]):
                total[block] += votes[self.index[block, :number]].sum(axis=1)
            out.append(total / total.sum(axis=1, keepdims=True))
        return out
