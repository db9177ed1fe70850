"""Which labels are wrong: out-of-sample views of the rows, and what they say together.

A view says how probable every class is for every row, by a model that has not seen the
row, under weights of the rows. `label_noise` mixes the views, infers for each row how
probable it is that its label is right, weights the rows with that, and lets the views
look again.
"""

from skpuma.detection._label_noise import LabelNoise, label_noise
from skpuma.detection._rows import LabelledRows

VIEWS = {
    "extra_trees": "skpuma.detection._trees:ExtraTreesView",
    "forest": "skpuma.detection._trees:ForestView",
    "model": "skpuma.detection._model:ModelView",
    "neighbors": "skpuma.detection._neighbors:NeighborsView",
}

__all__ = ["VIEWS", "LabelNoise", "LabelledRows", "label_noise"]
