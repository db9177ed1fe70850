"""OneVsRestClassifier of a supported linear classifier."""

import copy

import numpy as np

from skpuma.losses._multilabel import MultilabelLoss
from skpuma.losses._one_vs_rest import OneVsRestLoss
from skpuma.models._lasso import SparseCoefficients
from skpuma.models._linear import LinearModel
from skpuma.utils.errors import NotDifferentiableError

INSIDE = (
    "OneVsRestClassifier needs a plain classifier inside: put the steps of a Pipeline, "
    "or a search, around it instead."
)


class OneVsRestModel(SparseCoefficients, LinearModel):
    """One binary problem per class: a linear model with as many outputs.

    The objective is the sum of those of the binary problems; a row's psi is the sum of
    its psi in each.
    """

    @classmethod
    def refusal(cls, estimator):
        from skpuma.models import find_adapter, frame_of

        if frame_of(estimator.estimator) is not None:
            return INSIDE
        try:
            adapter = find_adapter(estimator.estimator)
        except NotDifferentiableError as error:
            return f"OneVsRestClassifier of an estimator that is not supported: {error}"
        if not issubclass(adapter, LinearModel):
            return (
                f"OneVsRestClassifier({type(estimator.estimator).__name__}) is not "
                "supported, only that of a linear classifier is."
            )
        return adapter.refusal(estimator.estimator)

    def _layout(self):
        from skpuma.models import adapt

        constant = [not hasattr(one, "coef_") for one in self.estimator.estimators_]
        if any(constant):
            raise NotDifferentiableError(
                "OneVsRestClassifier has nothing to separate for "
                f"{sum(constant)} of its classes: a class or label has all the rows, "
                "or none."
            )
        self.parts = [adapt(part) for part in self.estimator.estimators_]
        if any(part.n_outputs != 1 or part.frames for part in self.parts):
            raise NotDifferentiableError(INSIDE)
        self.kind = self.parts[0].kind
        super()._layout()
        one = self.parts[0].loss
        if self.estimator.multilabel_:
            self.loss = MultilabelLoss(one)
            return
        self.classes = self.estimator.classes_
        self.loss = one if self.n_outputs == 1 else OneVsRestLoss(one)

    def _arrays(self, estimator):
        arrays = [
            part._arrays(one)
            for part, one in zip(self.parts, estimator.estimators_, strict=True)
        ]
        coef, intercept = zip(*arrays, strict=True)
        return np.concatenate(coef), np.concatenate(intercept)

    @property
    def _fits_intercept(self):
        return self.parts[0]._fits_intercept

    def _l1(self, total_weight):
        part = self.parts[0]
        sparse = isinstance(part, SparseCoefficients)
        return part._l1(total_weight) if sparse else (0.0, 0.0)

    def _free_coef(self, coef):
        if all(part.free_coef is None for part in self.parts):
            return None
        free = [
            np.ones((1, self.n_features), dtype=bool)
            if part.free_coef is None
            else part.free_coef
            for part in self.parts
        ]
        return np.concatenate(free)

    def _free_intercept(self, intercept):
        return np.concatenate([part.free_intercept for part in self.parts])

    def _put(self, estimator, coef, intercept):
        for a, (part, one) in enumerate(
            zip(self.parts, estimator.estimators_, strict=True)
        ):
            part._put(one, coef[a : a + 1], intercept[a : a + 1])

    def _check_rows(self, X):
        return self.parts[0]._check_rows(X)

    def _stacked(self, vectors):
        """Parameters from those of every part."""
        split = [
            part.split(vector) for part, vector in zip(self.parts, vectors, strict=True)
        ]
        coef, intercept = zip(*split, strict=True)
        return self.join(np.concatenate(coef), np.concatenate(intercept))

    def ridge(self, total_weight, n_rows):
        return self._stacked([part.ridge(total_weight, n_rows) for part in self.parts])

    def tilt(self, total_weight, n_rows):
        return self._stacked([part.tilt(total_weight, n_rows) for part in self.parts])

    def class_weights(self, y, sample_weight):
        """Weights (2, k) of the negative and the positive rows of every problem."""
        if self.estimator.estimator.class_weight is None:
            return None
        codes = y.T if y.ndim == 2 else y == np.arange(self.n_outputs)[:, None]
        if self.n_outputs == 1 and y.ndim == 1:
            codes = y[None, :]
        weights = [
            part.class_weights(code.astype(int), sample_weight)
            for part, code in zip(self.parts, codes, strict=True)
        ]
        return np.stack(weights, axis=1)

    def weigh(self, class_weights, y, sample_weight):
        if class_weights is None:
            return self, sample_weight
        if self.n_outputs == 1:
            return self, sample_weight * class_weights[y, 0]
        model = copy.copy(self)
        negative, positive = class_weights
        model.loss = type(self.loss)(self.loss.base, positive, negative)
        return model, sample_weight

    def referee(self):
        return None
