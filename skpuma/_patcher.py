"""PumaPatcher: take rows out of a fitted model without retraining it."""

import copy
import numbers
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.base import TransformerMixin, clone
from sklearn.utils.validation import check_memory

from skpuma import refit
from skpuma._dask_patches import objective_of, request_of
from skpuma._dask_rows import is_dask
from skpuma._meta import (
    OWN_METADATA,
    DelegatesPrediction,
    PumaMeta,
    check_input_features,
    n_rows,
    require_fitted,
    transformer_tags,
)
from skpuma._patch_request import (
    begun,
    carry_out,
    check_parameters,
    extra_weight,
    prepare,
    rows_to_remove,
)
from skpuma._verifying import Verifying
from skpuma.models import adapt
from skpuma.objective import Objective, fingerprint, same_rows
from skpuma.patching import Passes
from skpuma.reporting import patch_facts
from skpuma.utils._grouping import check_grouping
from skpuma.utils._validation import (
    check_mask,
    check_number,
    check_same_index,
    check_weights,
)

# Attributes that a patch sets, and that go when it is undone.
BY_PATCH = ("report_", "history_", "lambda_", "stationarity_", "cost_")


@dataclass(frozen=True)
class _Undo:
    """What `unpatch` puts back."""

    estimator: object
    row_weight: np.ndarray
    beyond: bool
    left: np.ndarray
    attributes: dict


@dataclass(frozen=True)
class _Given:
    """A fit, before its patch; `request` is None where nothing is marked."""

    estimator: object
    objective: Objective
    weight: np.ndarray
    passes: Passes
    request: object


class PumaPatcher(Verifying, TransformerMixin, DelegatesPrediction, PumaMeta):
    """Remove, or up-weight, training rows of a fitted model without retraining.

    Moves the parameters along the path on which the marked rows lose their weight,
    while other rows are re-weighted so that the criteria stay, and stops before any
    *measured* criterion moves by more than delta (Blog 5, 9, 10).

    Parameters
    ----------
    estimator : estimator, default None
        A supported classifier or regressor, or a Pipeline that ends in one; None means
        ``LogisticRegression()``. A ``FrozenEstimator`` is patched as it is and needs no
        `fit`.
    criterion : str, criterion or list of them, default "auto"
        What must not move: "auto" is the estimator's own loss.
    delta : "auto", float or list of float, default "auto"
        Largest move of each criterion, in its units; ``inf`` is no bound. "auto" is
        0.01 for criteria that are probabilities or gaps of them, and 1 % of the value
        before the patch for the others.
    eta : float, default 1.0
        How far to go: 1 takes the marked rows' weight to zero, more also erases the
        pattern that they taught. ``inf`` needs `forget_at` or `target`.
    forget_at : float, default None
        Stop when the marked rows are forgotten: for classifiers when their mean
        predicted probability of their label has fallen to this (between 0 and 1); for
        regressors when their mean squared error has risen to this many times that of
        the other rows (at least 1).
    target : str or criterion, default None
        Stop where this criterion is lowest. It is not bounded by delta.
    steps : "auto" or int, default "auto"
        "auto": steps within a trust region. An int: that many equal steps; 1 is the
        single linear step of Blog (10), without Newton corrections.
    trust : float, default 0.01
        Largest Kullback-Leibler move of the outputs in one step (nats; for squared
        losses relative to the dispersion).
    reweight : bool, default True
        Whether other rows compensate the removal (lambda of Blog 9).
    side : {"worse", "both"}, default "worse"
        Whether delta bounds, and lambda compensates, only what makes a criterion worse,
        or any change (Blog 5).
    alpha : float in [0, 1], default 0.8
        Strength of the penalty on lambda, relative to the one that empties it.
    l1_ratio : float in [0, 1], default 0.1
        1 is a lasso; smaller values spread the compensation over more rows.
    max_weight : float, default 1.0
        Box of every lambda: the extra weight of a row relative to its own.
    candidates : bool mask, positions or index labels, default None
        Rows that may be re-weighted; default all unmarked rows.
    marker : estimator, default None
        A valuator that marks the `n_marked` rows with the lowest ``removal_effect_`` in
        `fit`, when no `marked` is given; with ``groups``, those groups with the lowest
        ``group_effect_``.
    n_marked : float or int, default 0.1
        Share or number of rows, or of groups, that `marker` marks.
    curvature, solver, damping : as in `PumaValuator`
    curvature_rows : "auto", None or int, default "auto"
        Rows that the curvature of the path is taken over: None is all of them; "auto"
        is a sample for networks: of 1000 for one output, 500 for several, and 3000 by
        the number of outputs (50 at least) with more than 5000 parameters. Gradients
        use all rows always.
    polish : "auto" or bool, default "auto"
        Whether directions of convex models are computed at their exact optimum.
    memory : str or joblib.Memory, default None
        Caches the fit of the estimator, and the curvature factor and optimum that the
        path begins with (of direct solvers), for searches over delta and eta. What is
        stored holds no rows. `PumaPatcherCV` searches without.
    verbose : int, default 0
    random_state : int, RandomState or None, default None
        Samples the rows of the curvature.

    Attributes
    ----------
    estimator_ : estimator
        Patched; of the same class as `estimator`, and a copy of it.
    report_ : PatchReport
        Before and after, delta kept or not; a DataFrame and an HTML view.
    history_ : DataFrame
        The points of the path.
    lambda_ : ndarray (n,)
        Extra weight of every row from compensation, relative to its own.
    row_weight_ : ndarray (n,)
        Weight of every row now, in the units of `sample_weight`. Pass it as the
        `sample_weight` of the next patch, so that removed rows stay removed.
    stationarity_ : float
        As in `PumaValuator`, before the patch.
    cost_ : float
        Rows times epochs of the last `fit`, `patch` or `forget`. Of a fit they are the
        estimator's ``n_iter_`` (1 where it has none; a marker's are not counted). Of a
        patch they are counted: each time that a row is asked for its outputs, for a
        product with their derivative, or for its part of the curvature is half an
        epoch, since training on a row takes outputs and a gradient. A part of the
        curvature costs more time than either.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have lost all of their weight.
    storage_ : int
        Bytes kept to undo patches, as they are pickled: models, weights and reports. 0
        after `finalize`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    delta is a promise on the measured criterion on the rows that measure it; it does
    not promise anything about other rows or other criteria. For convex models with
    ``delta=inf``, ``reweight=False`` and ``eta=1`` the patch is the refit. Where "auto"
    solves iteratively (``curvature_info_`` of a valuator says so, and the report; more
    than 2,500 parameters, or many pairs of classes), within about a thousandth of its
    way; with ``solver="cg"``, to about 1e-6 of the norm of the parameters.

    References
    ----------
    G. Wu, M. Hashemi, C. Srinivasa, "PUMA: Performance Unchanged Model Augmentation for
    Training Data Removal", AAAI 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import scale
    >>> from skpuma import PumaPatcher
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = scale(X)
    >>> patcher = PumaPatcher(LogisticRegression(), delta=0.01).fit(X, y)
    >>> patcher = patcher.patch(X, y, remove=[3, 14, 15])
    >>> bool(patcher.report_.kept.all())
    True
    """

    __metadata_request__fit = OWN_METADATA

    def __init__(
        self,
        estimator=None,
        criterion="auto",
        *,
        delta="auto",
        eta=1.0,
        forget_at=None,
        target=None,
        steps="auto",
        trust=0.01,
        reweight=True,
        side="worse",
        alpha=0.8,
        l1_ratio=0.1,
        max_weight=1.0,
        candidates=None,
        marker=None,
        n_marked=0.1,
        curvature="auto",
        solver="auto",
        damping="auto",
        curvature_rows="auto",
        polish="auto",
        memory=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.criterion = criterion
        self.delta = delta
        self.eta = eta
        self.forget_at = forget_at
        self.target = target
        self.steps = steps
        self.trust = trust
        self.reweight = reweight
        self.side = side
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.max_weight = max_weight
        self.candidates = candidates
        self.marker = marker
        self.n_marked = n_marked
        self.curvature = curvature
        self.solver = solver
        self.damping = damping
        self.curvature_rows = curvature_rows
        self.polish = polish
        self.memory = memory
        self.verbose = verbose
        self.random_state = random_state

    # -- fitting -----------------------------------------------------------------------

    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        marked=None,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
        sensitive_features=None,
        sensitive_features_val=None,
        groups=None,
    ):
        """Fit the estimator; with `marked`, or with a `marker`, patch it too.

        Parameters
        ----------
        X : array-like, DataFrame or CSR (n, d)
        y : array-like (n,)
        sample_weight : array-like (n,), optional
        marked : array-like of bool (n,), optional
            Rows to remove. A mask only: cross-validation slices it per fold.
        X_val, y_val, sample_weight_val : optional
            Rows that measure the criteria; default the unmarked rows of X.
        sensitive_features, sensitive_features_val : array-like, optional
            Groups of the rows of X and X_val.
        groups : array-like (n,), optional
            A label per row of X: the customer, file or household that it came from.
            Every group of which a row is marked goes as a whole. Of scikit-learn's
            searches, ``GridSearchCV`` hands an argument of this name to its splitter
            only, unless metadata routing is enabled; ``cross_validate`` takes it in
            ``params``.

        Returns
        -------
        self
        """
        keywords = {
            "X_val": X_val,
            "y_val": y_val,
            "sample_weight_val": sample_weight_val,
            "sensitive_features": sensitive_features,
            "sensitive_features_val": sensitive_features_val,
            "groups": groups,
        }
        parameters = self._parameters()
        return self._fit(parameters, X, y, sample_weight, marked, keywords)

    def _fit(self, parameters, X, y, sample_weight, marked, keywords):
        given = self._given(parameters, X, y, sample_weight, marked, keywords)
        outcome = begin = None
        if given.request is not None:
            # Solvers of your own may not be known by their names.
            if self.memory is not None and isinstance(self.solver, str):
                cached = check_memory(self.memory).cache(begun, ignore=["path"])
                begin = partial(cached, given.estimator)
            outcome = carry_out(given.request, begin=begin)
        self._start(given.estimator, given.objective, X, given.weight)
        if outcome is not None:
            cost = self.cost_ + given.passes.epochs
            self._commit(outcome, given.objective, given.weight, cost)
        return self

    def _given(self, parameters, X, y, sample_weight, marked, keywords):
        """The fit of the estimator and what is to be patched; self is not changed."""
        mask = grouping = None
        if y is not None:
            grouping = check_grouping(keywords["groups"], n_rows(y), X)
        if marked is not None and y is not None:
            mask = check_mask(marked, n_rows(y), X)
            mask = mask if grouping is None else grouping.whole(mask)
        fit = refit.fit_estimator
        if self.memory is not None:
            fit = check_memory(self.memory).cache(fit)
        estimator = self._fit_base(
            X, y, sample_weight, fit=fit, marked=marked, **keywords
        )
        if mask is None and self.marker is None:
            _refuse_unused(keywords)
        n = n_rows(y)
        weight = check_weights(sample_weight, n)
        passes = Passes()
        model = passes.counted(adapt(estimator))
        objective = Objective.at_fit(model, model.inputs(X), model.targets(y), weight)
        if mask is None and self.marker is not None:
            mask = self._mark(X, y, sample_weight, keywords, grouping)
        own = copy.deepcopy(estimator) if refit.is_frozen(self._base()) else estimator
        if mask is None:
            return _Given(own, objective, weight, passes, None)
        validation = ("X_val", "y_val", "sample_weight_val", "sensitive_features_val")
        request = prepare(
            parameters,
            objective,
            X,
            mask,
            np.zeros(n),
            weight,
            keywords["sensitive_features"],
            tuple(keywords[name] for name in validation),
            grouping,
        )
        return _Given(own, objective, weight, passes, request)

    def _start(self, estimator, objective, X, weight):
        """The state before the first patch."""
        self._clear()
        self._take_names(X)
        self.estimator_ = estimator
        self.row_weight_ = weight
        self.cost_ = 0.0
        if not refit.is_frozen(self._base()):
            self.cost_ = refit.epochs_of(estimator) * np.count_nonzero(weight)
        self._fit_weight = weight
        self._record = objective.record
        # Of the rows of the fit, and of those that no patch has removed since.
        self._fingerprint = self._left = objective.fingerprint()
        self._undo = []
        self._finalized = False
        self._beyond = False

    def _mark(self, X, y, sample_weight, keywords, grouping):
        """Rows, or groups, with the lowest removal effect, by a clone of the marker."""
        unit, n = "rows", n_rows(y)
        if grouping is not None:
            unit, n = "groups", len(grouping.labels)
        count = check_number(self.n_marked, "n_marked", low=0.0)
        if not isinstance(self.n_marked, numbers.Integral):
            count *= n
        count = round(count)
        if not 0 <= count < n:
            raise ValueError(
                f"n_marked={self.n_marked!r} marks {count} of {n} {unit}; give a share "
                f"in [0, 1) or a number below the number of {unit}."
            )
        if not hasattr(self.marker, "valuate"):
            raise TypeError(
                f"marker={self.marker!r} does not value rows; use a PumaValuator."
            )
        given = {k: v for k, v in keywords.items() if k != "groups" or v is not None}
        marker = clone(self.marker).fit(X, y, sample_weight, **given)
        effect = marker.removal_effect_ if grouping is None else marker.group_effect_
        mask = np.zeros(n, dtype=bool)
        mask[np.argsort(effect[:, 0], kind="stable")[:count]] = True
        return mask if grouping is None else mask[grouping.code]

    def _clear(self, but=()):
        for name in BY_PATCH:
            if name not in but and hasattr(self, name):
                delattr(self, name)

    def _parameters(self):
        """Constructor parameters, checked."""
        parameters = self.get_params(deep=False)
        check_parameters(parameters)
        return parameters

    def _moved(self):
        """Whether earlier patches have left the optimum of J."""
        return bool(getattr(self, "_undo", None)) or getattr(self, "_finalized", False)

    # -- patching ----------------------------------------------------------------------

    def patch(
        self,
        X,
        y,
        remove=None,
        *,
        upweight=None,
        sample_weight=None,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
        sensitive_features=None,
        sensitive_features_val=None,
        groups=None,
    ):
        """Patch the fitted model; nothing is fitted again.

        Parameters
        ----------
        X, y : the rows of the fit
            No rows are kept in the object, so they are asked for again. They may be
            a dask array or DataFrame, and its targets, with ``reweight=False``: see
            ``doc/scaling.rst``.
        remove : bool mask, positions, or labels of X's index, optional
            Rows to remove. Labels are a pandas Index (such as
            ``valuator.inspect().index``) or strings; integers are positions, and are
            refused where X's index holds other integers than its positions. With
            `groups`, labels of groups (such as ``valuator.inspect(by="group").index``),
            or a mask of rows, which takes every group of which a row is marked.
        upweight : bool mask, positions, labels, or ndarray of float (n,), optional
            Rows that get extra weight, relative to their own: True is 1, that is,
            double weight. With `groups`, labels name groups, of which all rows get it;
            a mask or a float vector is of rows, and gives weight to just those.
        sample_weight : array-like (n,), optional
            Weights of the rows now. Default: those of the fit, as moved by earlier
            patches (``row_weight_``). Rows that a patch removed cannot be given weight
            again; `unpatch` brings them back.
        X_val, y_val, sample_weight_val : optional
            Rows that measure the criteria; default the unmarked rows of X.
        sensitive_features, sensitive_features_val : array-like, optional
        groups : array-like (n,), optional
            A label per row of X: groups are removed as a whole, and `remove` names
            them.

        Returns
        -------
        self

        Raises
        ------
        ValueError, IndexError, KeyError, TypeError
            For rows that do not fit together. The model is then unchanged.

        Warns
        -----
        DeltaReachedWarning
            If a criterion reached its delta before the patch was complete.
        """
        parameters = self._parameters()
        if is_dask(X):
            estimator, objective = objective_of(self, X, y, sample_weight)
            unused = {"groups": groups, "sensitive_features": sensitive_features}
            val = (X_val, y_val, sample_weight_val, sensitive_features_val)
            request = request_of(parameters, objective, remove, upweight, val, unused)
            return self._carry(request, estimator, X, objective.given, objective)
        passes = Passes()
        estimator, objective, weight = self._now(X, y, sample_weight, passes)
        n = len(weight)
        grouping = check_grouping(groups, n, X)
        mask = rows_to_remove(remove, grouping, n, X)
        extra = extra_weight(upweight, grouping, n, X)
        if (mask & (extra > 0)).any():
            raise ValueError("Some rows are both in remove and in upweight.")
        request = prepare(
            parameters,
            objective,
            X,
            mask,
            extra,
            weight,
            sensitive_features,
            (X_val, y_val, sample_weight_val, sensitive_features_val),
            grouping,
        )
        return self._carry(request, estimator, X, weight, passes)

    def _carry(self, request, estimator, X, weight, passes):
        """Walk the path of a request and take over what it changes."""
        objective = request.objective
        outcome = carry_out(request, self._moved(), getattr(self, "_beyond", False))
        if not hasattr(self, "estimator_"):
            self._start(estimator, objective, X, weight)
        self._commit(outcome, objective, weight, passes.epochs)
        return self

    def _now(self, X, y, sample_weight=None, passes=None):
        """The estimator as it is, its objective on the rows of the fit, their weights.

        Raises
        ------
        ValueError
            If these are other rows than those of the fit.
        """
        estimator, record = self._current(X)
        model = adapt(estimator)
        if passes is not None:
            model = passes.counted(model)
        targets = model.targets(y)
        n = len(targets)
        inputs = model.inputs(X)
        if inputs.shape[0] != n:
            raise ValueError(f"X has {inputs.shape[0]} rows, y has {n}.")
        check_same_index(sample_weight, X, "sample_weight")
        weight = self._weights_now(sample_weight, n, record)
        objective = Objective.at_fit(model, inputs, targets, weight, record)
        self._check_rows(objective)
        return estimator, objective, weight

    def _current(self, X):
        """The fitted estimator to patch and the record of its fit."""
        if hasattr(self, "estimator_"):
            return self.estimator_, self._record
        base = self._base()
        if not refit.is_frozen(base):
            require_fitted(self, "estimator_")
        return copy.deepcopy(base.estimator), None

    def _weights_now(self, sample_weight, n, record):
        if sample_weight is not None or record is None:
            return check_weights(sample_weight, n)
        if len(self.row_weight_) != n:
            raise ValueError(
                f"X has {n} rows, the fit had {len(self.row_weight_)}: pass the rows "
                "of the fit."
            )
        return self.row_weight_

    def _check_rows(self, objective):
        """Refuse rows that are not those of the fit, or weights that undo a removal."""
        if not hasattr(self, "_fingerprint"):
            return
        given = objective.X, objective.y
        # Rows that are removed may be others, once they have been deleted.
        if not (
            same_rows(self._fingerprint, fingerprint(*given))
            or same_rows(self._left, fingerprint(*given, self.row_weight_ > 0))
        ):
            raise ValueError(
                "X and y are not the rows of the fit, or not in its order; pass the "
                "same rows."
            )
        taken = np.count_nonzero((self.row_weight_ == 0) & (objective.weight > 0))
        if taken and self._moved():
            raise ValueError(
                f"sample_weight gives weight back to {taken} rows that an earlier "
                "patch removed, which would bring them back into the model. Leave it "
                "out, or pass patcher.row_weight_."
            )

    def _commit(self, outcome, objective, weight, cost):
        """The only place that changes the fitted state."""
        attributes = {k: getattr(self, k) for k in BY_PATCH if hasattr(self, k)}
        before = (self.estimator_, self.row_weight_, self._beyond, self._left)
        self._undo.append(_Undo(*before, attributes))
        if outcome.estimator is not None:
            self.estimator_ = outcome.estimator
        self.row_weight_ = weight * outcome.factor
        self._left = objective.fingerprint(self.row_weight_ > 0)
        self._beyond = self._beyond or outcome.report.s > 1.0
        self.report_ = outcome.report
        self.history_ = outcome.history
        self.lambda_ = outcome.lam
        self.stationarity_ = outcome.stationarity
        self.cost_ = cost
        if self.verbose:
            print(outcome.report)

    def unpatch(self):
        """Undo the last patch, bit for bit; call again to undo the one before.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no patch to undo, or `finalize` was called.
        """
        require_fitted(self, "estimator_")
        if not self._undo:
            raise ValueError("There is no patch to undo (or finalize() was called).")
        last = self._undo.pop()
        self._clear(but=last.attributes)
        self.estimator_ = last.estimator
        self.row_weight_ = last.row_weight
        self._beyond = last.beyond
        self._left = last.left
        for name, value in last.attributes.items():
            setattr(self, name, value)
        return self

    def _facts(self):
        if not hasattr(self, "estimator_"):
            return ""
        return patch_facts(getattr(self, "report_", None), len(self._undo))

    def finalize(self):
        """Forget the way back: models before the patch still remember the rows.

        Returns
        -------
        self
        """
        require_fitted(self, "estimator_")
        self._finalized = self._moved()
        self._undo = []
        return self

    # -- transformer -------------------------------------------------------------------

    def transform(self, X):
        """Raw outputs of the patched model (n, k).

        One column for regression and binary classification (the linear predictor or
        log-odds), one per class otherwise.
        """
        require_fitted(self, "estimator_")
        model = adapt(self.estimator_)
        return model.raw(model.inputs(X))

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of `transform`: ``raw_<class>``, or ``raw``."""
        require_fitted(self, "estimator_")
        check_input_features(self, input_features)
        classes = getattr(self.estimator_, "classes_", None)
        k = adapt(self.estimator_).n_outputs
        if k == 1:
            names = ["raw"]
        else:
            names = [f"raw_{c}" for c in (range(k) if classes is None else classes)]
        return np.asarray(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags = transformer_tags()
        return tags


def _refuse_unused(keywords):
    """Arguments of `fit` that only a patch looks at must not pass unnoticed."""
    given = [name for name, value in keywords.items() if value is not None]
    if given:
        raise ValueError(
            f"{', '.join(given)} would not be used: `fit` patches only with marked= or "
            "a marker. Pass them to `patch`."
        )
