"""What the systems around one estimator share: prediction, tags, cost of fits."""

from sklearn.base import MetaEstimatorMixin
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from skpuma._meta import DelegatesPrediction
from skpuma.refit import base_of, epochs_of, fit_estimator, is_frozen
from skpuma.unlearning._base import BaseUnlearner


class WrapsEstimator(DelegatesPrediction, MetaEstimatorMixin, BaseUnlearner):
    """An unlearner that is, to scikit-learn, what its ``estimator`` is.

    Attributes
    ----------
    estimator_ : estimator
        Fitted; it predicts.
    """

    def _base(self):
        return base_of(self.estimator)

    def _trained(self, estimator, X, y):
        """Set ``estimator_`` to a fitted clone; the rows times epochs that it took."""
        self.estimator_ = fit_estimator(estimator, X, y)
        return 0.0 if is_frozen(estimator) else len(y) * epochs_of(self.estimator_)

    def get_metadata_routing(self):
        """Routing of metadata: see scikit-learn's user guide on metadata routing."""
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="score", callee="score")
        return router.add(estimator=self._base(), method_mapping=mapping)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._base())
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.input_tags = inner.input_tags
        tags.target_tags = inner.target_tags
        tags.target_tags.required = True
        tags.non_deterministic = inner.non_deterministic
        tags.array_api_support = False
        return tags
