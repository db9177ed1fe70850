"""What the estimators do with rows that are a dask collection."""

from dataclasses import replace

from sklearn.utils.validation import check_is_fitted

from skpuma import models, refit, valuing
from skpuma._dask_measures import any_dask, measured_rows
from skpuma._dask_objective import DaskObjective
from skpuma._dask_rows import persisted, table_of
from skpuma._meta import criterion_rows
from skpuma.criteria import measures_of
from skpuma.models import adapt


def frozen_estimator(base):
    """The fitted estimator inside a FrozenEstimator.

    Raises
    ------
    ValueError
        If it would have to be fitted.
    """
    models.check_supported(base)
    if not refit.is_frozen(base):
        raise ValueError(
            "Nothing is fitted on a dask collection: fit the estimator yourself (on a "
            "sample, or with a library that fits where the rows live) and pass "
            "FrozenEstimator(estimator)."
        )
    check_is_fitted(base.estimator)
    return base.estimator


def refuse_arguments(**given):
    """Refuse arguments that need all rows in memory.

    Raises
    ------
    ValueError
    """
    used = [name for name, value in given.items() if value is not None]
    if used:
        raise ValueError(
            f"{', '.join(used)} cannot be used where X is a dask collection: pass rows "
            "in memory, or leave it out."
        )


def value_rows(base, settings, X, y, sample_weight, validation, grouped):
    """(estimator, objective, Valuation) of the rows of a dask collection.

    Parameters
    ----------
    base : FrozenEstimator
    settings : valuing.Settings
    validation : (X_val, y_val, sample_weight_val, sensitive_features_val)
        In memory or, but for the sensitive features, dask collections.
    grouped : dict
        Arguments of `fit` that have no meaning here.
    """
    refuse_arguments(**grouped)
    estimator = frozen_estimator(base)
    model = adapt(estimator)
    objective = DaskObjective.of_fit(model, X, y, sample_weight)
    if any_dask(*validation):
        _refuse_same_rows(settings.criterion, X, validation[0])
        if settings.effect == "one_step":
            raise ValueError(
                "effect='one_step' evaluates the criterion again for every row: pass "
                "X_val= and y_val= in memory, or use effect='linear'."
            )
        refuse_arguments(sensitive_features_val=validation[3])
        measures, rows_of_C = measured_rows(settings.criterion, model, *validation[:3])
        share = rows_of_C.total_weight
    else:
        measured = criterion_rows(model, *validation)
        measures = measures_of(settings.criterion, model, *measured)
        share = float(measured[2].sum())
    result = valuing.valued(objective, measures, settings, share)
    return estimator, objective, _kept(objective, result)


def _refuse_same_rows(criterion, X, X_val):
    if X_val is X and criterion in ("auto", "log_loss"):
        raise ValueError(
            "X_val is X, and the criterion is the loss that the frozen estimator was "
            "trained with: at its optimum that says almost nothing about the rows. "
            "Pass held-out rows as X_val, or another criterion."
        )


def _kept(objective, result):
    """The valuation with psi and effects computed, and kept where they are."""
    if result.leverage is None:
        (psi,) = persisted(result.psi)
        if objective.even:
            return replace(result, psi=psi, effect=psi / objective.total_weight)
        share = objective.weight / objective.total_weight
        return replace(result, psi=psi, effect=psi * share[:, None])
    psi, effect, leverage = persisted(result.psi, result.effect, result.leverage)
    return replace(result, psi=psi, effect=effect, leverage=leverage)


def map_rows(X, y, function, width, *shared):
    """``function(X, y, *shared)`` (n, width) of every block, as a lazy dask array."""
    return table_of(X, y).map(function, width, *shared)
