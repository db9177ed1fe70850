"""What trees that were grown without a row say about it."""

import warnings

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from skpuma.detection._base import BaseView

N_TREES = 100


class ForestView(BaseView):
    """Out-of-bag probabilities of a random forest; leaves of at least five rows.

    Smaller leaves would repeat single wrong labels.
    """

    kind, leaf = RandomForestClassifier, 5

    def __init__(self, table, *, random_state=0, n_jobs=None, **_):
        super().__init__(table)
        self.options = {
            "n_estimators": N_TREES,
            "min_samples_leaf": self.leaf,
            "bootstrap": True,
            "oob_score": True,
            "random_state": random_state,
            "n_jobs": n_jobs,
        }

    def probabilities(self, weight):
        trees = self.kind(**self.options)
        with warnings.catch_warnings():
            # A row that every tree was grown with gets the shares of the others.
            warnings.filterwarnings("ignore", "Some inputs do not have OOB scores")
            warnings.filterwarnings("ignore", "invalid value", RuntimeWarning)
            trees.fit(self.table.X, self.table.code, sample_weight=weight)
        out = np.zeros((len(weight), self.table.n_classes))
        out[:, trees.classes_] = trees.oob_decision_function_
        unseen = ~(np.isfinite(out).all(axis=1) & (out.sum(axis=1) > 0))
        out[unseen] = self.shares(weight)[unseen]
        return [out]


class ExtraTreesView(ForestView):
    """The same of extremely randomised trees, which are smoother; leaves of three."""

    kind, leaf = ExtraTreesClassifier, 3
