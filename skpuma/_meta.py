"""What the public meta-estimators share: the dress that scikit-learn expects."""

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import TransformerTags, get_tags
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from skpuma import models, refit
from skpuma.utils._validation import (
    check_groups,
    check_same_index,
    check_same_order,
    check_weights,
)
from skpuma.utils.errors import NotDifferentiableError, StationarityWarning, warn

# In one-row displacements.
STATIONARITY_LIMIT = 0.1
FAR_LIMIT = 10.0

# None of these has a meaning inside the wrapped estimator.
OWN_METADATA = {
    "marked": True,
    "X_val": True,
    "y_val": True,
    "sample_weight_val": True,
    "sensitive_features": True,
    "sensitive_features_val": True,
    "groups": True,
}


def has(method):
    """Predicate for `available_if`: the wrapped estimator has this method."""

    def check(self):
        fitted = getattr(self, "estimator_", None)
        inner = self._base() if fitted is None else fitted
        getattr(inner, method)
        return True

    return check


class PumaMeta(MetaEstimatorMixin, BaseEstimator):
    """Tags, routing, feature names and fitting of the wrapped estimator."""

    def _base(self):
        return refit.base_of(self.estimator)

    def _fit_base(self, X, y, sample_weight, fit=refit.fit_estimator, **kwargs):
        """Fit the wrapped estimator with routed metadata; nothing of self changes."""
        base = self._base()
        self._check_given(X, y, sample_weight, kwargs.get("sensitive_features"))
        if refit.is_frozen(base):
            check_is_fitted(base.estimator)
            return base.estimator
        params = self._fit_params(sample_weight, **kwargs)
        return fit(base, X, y, sample_weight, params)

    def _check_given(self, X, y, sample_weight, sensitive_features):
        """Refuse what cannot be fitted, or does not belong to the rows of X."""
        models.check_supported(self._base())
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        check_weights(sample_weight, n_rows(y))
        check_same_order(y, X)
        check_same_index(sample_weight, X, "sample_weight")
        check_same_index(sensitive_features, X, "sensitive_features")

    def _fit_params(self, sample_weight, **kwargs):
        """What routing hands to the wrapped estimator's fit; None if it is off."""
        if not routing_enabled():
            return None
        routed = process_routing(self, "fit", sample_weight=sample_weight, **kwargs)
        return routed.estimator.fit

    def _take_names(self, X):
        """Set ``n_features_in_`` and ``feature_names_in_``."""
        # The columns of a dask DataFrame are those of its empty twin.
        validate_data(self, getattr(X, "_meta", X), skip_check_array=True)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._base())
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags = inner.target_tags
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        tags.target_tags.required = True
        tags.array_api_support = False
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
            tags.target_tags.multi_output = False
        try:
            sparse = models.find_adapter(models.innermost(self._base())).sparse
        except NotDifferentiableError:
            sparse = False  # fit says what is supported; a repr need not fail
        tags.input_tags.sparse = bool(tags.input_tags.sparse and sparse)
        tags.input_tags.allow_nan = False
        return tags

    @property
    def _repr_html_(self):
        """Scikit-learn's diagram, with what was found below it."""
        diagram = super()._repr_html_  # absent where the diagram is switched off
        return lambda: diagram() + self._facts()

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += self._facts()
        return bundle

    def _facts(self):
        """A block of HTML about the fit; empty before it."""
        return ""

    def get_metadata_routing(self):
        """Routing of metadata: see scikit-learn's user guide on metadata routing."""
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        mapping.add(caller="score", callee="score")
        return router.add(estimator=self._base(), method_mapping=mapping)


class DelegatesPrediction:
    """predict and its relatives, from ``estimator_``."""

    @property
    def classes_(self):
        """Class labels of the wrapped classifier."""
        return self.estimator_.classes_

    @property
    def coef_(self):
        """Coefficients of the wrapped linear model."""
        return models.innermost(self.estimator_).coef_

    @property
    def intercept_(self):
        """Intercept of the wrapped linear model."""
        return models.innermost(self.estimator_).intercept_

    def _fitted(self):
        check_is_fitted(self, "estimator_")
        return self.estimator_

    @available_if(has("predict"))
    def predict(self, X):
        """Predictions of ``estimator_``."""
        return self._fitted().predict(X)

    @available_if(has("predict_proba"))
    def predict_proba(self, X):
        """Class probabilities of ``estimator_``."""
        return self._fitted().predict_proba(X)

    @available_if(has("predict_log_proba"))
    def predict_log_proba(self, X):
        """Log-probabilities of ``estimator_``."""
        return self._fitted().predict_log_proba(X)

    @available_if(has("decision_function"))
    def decision_function(self, X):
        """Decision function of ``estimator_``."""
        return self._fitted().decision_function(X)

    @available_if(has("score"))
    def score(self, X, y, **score_params):
        """Score of ``estimator_``: accuracy or R2."""
        estimator = self._fitted()
        if routing_enabled():
            routed = process_routing(self, "score", **score_params)
            score_params = routed.estimator.score
        return estimator.score(X, y, **score_params)


def routing_enabled():
    """Whether metadata is routed by requests."""
    from sklearn import get_config

    return bool(get_config().get("enable_metadata_routing", False))


def n_rows(y):
    """Number of rows, from the targets."""
    shape = getattr(y, "shape", None) or np.asarray(y).shape
    return shape[0]


def criterion_rows(model, X_val, y_val, weight_val, groups_val, known=(None, None)):
    """Prepared rows that measure C, from the user's X_val and its companions.

    `known` is a table of the user and its prepared rows, which are not prepared again.

    Raises
    ------
    ValueError
        If one of X_val and y_val is missing, or X_val has other columns than X.
    """
    given = {"X_val": X_val, "y_val": y_val}
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise ValueError(
            "X_val, y_val and the weights and groups of their rows go together: "
            f"{' and '.join(missing)} missing."
        )
    check_same_order(y_val, X_val, "y_val")
    check_same_index(weight_val, X_val, "sample_weight_val")
    check_same_index(groups_val, X_val, "sensitive_features_val")
    y = model.targets(y_val)
    if len(y) == 0:
        raise ValueError("X_val has no rows: pass rows that measure the criterion.")
    X = known[1] if X_val is known[0] else model.inputs(X_val)
    if X.shape[0] != len(y):
        raise ValueError(f"X_val has {X.shape[0]} rows, y_val has {len(y)}.")
    weight = check_weights(weight_val, len(y), "sample_weight_val")
    return X, y, weight, check_groups(groups_val, len(y), "sensitive_features_val")


def warn_if_not_stationary(distance, convex_and_corrected, advice, moved_before=False):
    """Say whether these are other rows than those of the fit, or it stopped too early.

    Parameters
    ----------
    distance : scores.Stationarity
    convex_and_corrected : bool
        Whether the distance is made good by Newton steps, and needs no advice unless
        it is so large that what was made good is what the user will see.
    advice : str
    moved_before : bool
        Whether a patch has left the optimum before, so that nothing can be concluded.
    """
    if distance.value <= STATIONARITY_LIMIT:
        return
    if distance.other_rows and not moved_before:
        warn(
            f"max|grad J| = {distance.gradient:.1e} on these rows, but the "
            f"estimator's solver promised {distance.promised:.1e}: these do not look "
            "like the rows or sample_weight that the model was fitted with. Pass the "
            "rows and weights of the fit.",
            StationarityWarning,
        )
    elif convex_and_corrected and distance.value > FAR_LIMIT and not moved_before:
        warn(
            f"The fitted model is {distance.value:.0f} one-row displacements away from "
            "the optimum of its training objective: its solver stopped early, or these "
            "are other rows or weights than those of the fit. Newton steps make up for "
            "that, so that psi is that of the optimum, and the changes that a patch "
            "reports include the way there. Fit with a smaller tol or more iterations.",
            StationarityWarning,
        )
    elif not convex_and_corrected:
        warn(
            f"The model is {distance.value:.1f} one-row displacements away from the "
            f"optimum of its training objective: {advice}.",
            StationarityWarning,
        )


def warn_if_singular(solver, damping, convex):
    """Say that rows cannot be followed where nothing determines the parameters."""
    if convex and damping == "auto" and solver.damping > 0.0:
        warn(
            "The optimum is not unique: there are fewer rows than parameters, or "
            "columns that depend on each other, and no penalty. A damping of "
            f"{solver.damping:.1e} was added; removing a row that the model "
            "interpolates then changes nothing. Use a penalty or fewer columns.",
            StationarityWarning,
        )


def warn_no_optimum():
    """Say that Newton steps found no optimum to work at."""
    warn(
        "Newton steps did not reach an optimum of the training objective. It may have "
        "none that is finite: classes that the features separate, without a penalty. "
        "Use a penalty (a finite C), or do not trust psi and the patch.",
        StationarityWarning,
    )


def check_input_features(estimator, input_features):
    """Refuse names of input features that are not those of the fit.

    Raises
    ------
    ValueError
    """
    if input_features is None:
        return
    given = np.asarray(input_features, dtype=object)
    seen = getattr(estimator, "feature_names_in_", None)
    if seen is not None and not np.array_equal(seen, given):
        raise ValueError("input_features is not equal to feature_names_in_")
    if len(given) != estimator.n_features_in_:
        raise ValueError(
            "input_features should have length equal to number of features "
            f"({estimator.n_features_in_}), got {len(given)}"
        )


def transformer_tags():
    """Tags of a transformer whose output is always float64."""
    return TransformerTags(preserves_dtype=[])


def require_fitted(estimator, attribute):
    """Raise NotFittedError if the attribute is absent."""
    if not hasattr(estimator, attribute):
        raise NotFittedError(
            f"This {type(estimator).__name__} instance is not fitted yet. Call 'fit' "
            "with appropriate arguments before using this estimator."
        )
