"""A Pipeline around a differentiable last step: its preprocessing stays as it is."""

import copy


class PipelineFrame:
    """The fitted steps in front of the last one, and the way to put a new one back."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def transform(self, X):
        """Rows as the last step sees them."""
        if len(self.pipeline.steps) == 1:
            return X
        return self.pipeline[:-1].transform(X)

    def rebuild(self, last):
        """A copy of the pipeline that ends in `last`."""
        memo = {id(self.pipeline.steps[-1][1]): last}
        return copy.deepcopy(self.pipeline, memo)
