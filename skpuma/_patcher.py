"""PumaPatcher: take rows out of a fitted model without retraining it."""

import copy
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import TransformerMixin, clone
from sklearn.utils.validation import validate_data

from skpuma import patching, refit, scores
from skpuma._meta import (
    OWN_METADATA,
    DelegatesPrediction,
    PumaMeta,
    check_input_features,
    criterion_rows,
    n_rows,
    require_fitted,
    transformer_tags,
)
from skpuma.criteria import measures_of
from skpuma.curvature import curvature_of
from skpuma.models import adapt
from skpuma.objective import Objective
from skpuma.reporting import PatchReport
from skpuma.solvers import factor
from skpuma.utils._validation import (
    check_groups,
    check_mask,
    check_number,
    check_weights,
    rows_of,
)
from skpuma.utils.errors import (
    DeltaReachedWarning,
    PatchWarning,
    SolverError,
    StationarityWarning,
)

BOUNDED_DELTA = 0.01


@dataclass(frozen=True)
class _Undo:
    """What `unpatch` puts back."""

    estimator: object
    row_weight: np.ndarray
    attributes: dict


class PumaPatcher(TransformerMixin, DelegatesPrediction, PumaMeta):
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
    alpha : float in [0, 1], default 0.01
        Strength of the penalty on lambda, relative to the one that empties it.
    l1_ratio : float in [0, 1], default 0.1
        1 is a lasso; smaller values spread the compensation over more rows.
    max_weight : float, default 1.0
        Box of every lambda: the extra weight of a row relative to its own.
    candidates : bool mask, positions or index labels, default None
        Rows that may be re-weighted; default all unmarked rows.
    marker : estimator, default None
        A valuator that marks the `n_marked` rows with the lowest ``removal_effect_`` in
        `fit`, when no `marked` is given.
    n_marked : float or int, default 0.1
        Share or number of rows that `marker` marks.
    curvature, solver, damping : as in `PumaValuator`
    curvature_rows : "auto", None or int, default "auto"
        Rows that the curvature of the path is taken over: None is all of them; "auto"
        is a sample of 1000 for networks. Gradients use all rows always.
    polish : "auto" or bool, default "auto"
        Whether directions of convex models are computed at their exact optimum.
    memory : str or joblib.Memory, default None
        Caches the fit of the estimator, for searches over delta and eta.
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
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    delta is a promise on the measured criterion on the rows that measure it; it does
    not promise anything about other rows or other criteria. For convex models with
    ``delta=inf``, ``reweight=False`` and ``eta=1`` the patch is the refit.

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
        alpha=0.01,
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

        Returns
        -------
        self
        """
        self._check_parameters()
        n = n_rows(y) if y is not None else 0
        mask = None if marked is None else check_mask(marked, n, X)
        keywords = {
            "X_val": X_val,
            "y_val": y_val,
            "sample_weight_val": sample_weight_val,
            "sensitive_features": sensitive_features,
            "sensitive_features_val": sensitive_features_val,
        }
        estimator = self._fit_cached(X, y, sample_weight, {**keywords, "marked": marked})
        weight = check_weights(sample_weight, n)
        model = adapt(estimator)
        objective = Objective.at_fit(model, model.inputs(X), model.targets(y), weight)
        if mask is None and self.marker is not None:
            mask = self._mark(X, y, sample_weight, keywords)
        own = copy.deepcopy(estimator) if refit.is_frozen(self._base()) else estimator
        result = None
        if mask is not None:
            result = self._patched(
                own, objective, X, mask, np.zeros(n), weight, **keywords
            )
        self._clear()
        self.estimator_ = own
        self._record = objective.record
        self.row_weight_ = weight
        self._undo = []
        if result is not None:
            self._commit(result)
        return self

    def _fit_cached(self, X, y, sample_weight, keywords):
        if self.memory is None or refit.is_frozen(self._base()):
            return self._fit_base(X, y, sample_weight, **keywords)
        from sklearn.utils.validation import check_memory

        validate_data(self, X, skip_check_array=True)
        cached = check_memory(self.memory).cache(refit.fit_estimator)
        return cached(self._base(), X, y, sample_weight)

    def _mark(self, X, y, sample_weight, keywords):
        """Rows with the lowest removal effect, by a clone of the marker."""
        marker = clone(self.marker).fit(X, y, sample_weight, **keywords)
        effect = marker.removal_effect_[:, 0]
        n = len(effect)
        count = self.n_marked
        count = round(count * n) if isinstance(count, float) else int(count)
        if not 0 <= count < n:
            raise ValueError(
                f"n_marked={self.n_marked!r} marks {count} of {n} rows; give a share "
                "in [0, 1) or a number below the number of rows."
            )
        mask = np.zeros(n, dtype=bool)
        mask[np.argsort(effect, kind="stable")[:count]] = True
        return mask

    def _clear(self):
        for name in ("report_", "history_", "lambda_", "stationarity_"):
            if hasattr(self, name):
                delattr(self, name)

    def _check_parameters(self):
        if self.side not in ("worse", "both"):
            raise ValueError(f"side={self.side!r} is neither 'worse' nor 'both'.")
        check_number(self.eta, "eta", low=0.0, infinite=True)
        check_number(self.trust, "trust", low=0.0, strict_low=True)
        check_number(self.alpha, "alpha", low=0.0, high=1.0)
        check_number(self.l1_ratio, "l1_ratio", low=0.0, high=1.0)
        check_number(self.max_weight, "max_weight", low=0.0, strict_low=True)
        if self.damping != "auto":
            check_number(self.damping, "damping", low=0.0)
        if self.polish not in ("auto", True, False):
            raise ValueError(f"polish={self.polish!r} is not 'auto', True or False.")
        if self.steps != "auto" and (
            not isinstance(self.steps, (int, np.integer)) or self.steps < 1
        ):
            raise ValueError(f"steps={self.steps!r} is neither 'auto' nor an int >= 1.")
        if np.isinf(self.eta) and self.forget_at is None and self.target is None:
            raise ValueError(
                "eta=inf has no end of its own: set forget_at= or target=, or a finite "
                "eta."
            )
        if np.isinf(self.eta) and self.steps != "auto":
            raise ValueError("eta=inf needs steps='auto'.")
        deltas = self.delta if isinstance(self.delta, (list, tuple)) else [self.delta]
        for delta in deltas:
            if not isinstance(delta, str) or delta != "auto":
                check_number(delta, "delta", low=0.0, infinite=True)
        if self.forget_at is not None:
            check_number(self.forget_at, "forget_at", low=0.0, strict_low=True)

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
    ):
        """Patch the fitted model; nothing is fitted again.

        Parameters
        ----------
        X, y : the rows of the fit
            No rows are kept in the object, so they are asked for again.
        remove : bool mask, positions, or labels of X's index, optional
            Rows to remove.
        upweight : bool mask, positions, labels, or ndarray of float (n,), optional
            Rows that get extra weight, relative to their own: True is 1, that is,
            double weight.
        sample_weight : array-like (n,), optional
            Weights of the rows now. Default: those of the fit, as moved by earlier
            patches (``row_weight_``).
        X_val, y_val, sample_weight_val : optional
            Rows that measure the criteria; default the unmarked rows of X.
        sensitive_features, sensitive_features_val : array-like, optional

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
        self._check_parameters()
        estimator, record = self._current(X)
        model = adapt(estimator)
        targets = model.targets(y)
        n = len(targets)
        inputs = model.inputs(X)
        if inputs.shape[0] != n:
            raise ValueError(f"X has {inputs.shape[0]} rows, y has {n}.")
        weight = self._weights_now(sample_weight, n, record)
        mask = rows_of(remove, n, X)
        extra = _extra_weight(upweight, n, X)
        if (mask & (extra > 0)).any():
            raise ValueError("Some rows are both in remove and in upweight.")
        objective = Objective.at_fit(model, inputs, targets, weight, record)
        result = self._patched(
            estimator,
            objective,
            X,
            mask,
            extra,
            weight,
            X_val=X_val,
            y_val=y_val,
            sample_weight_val=sample_weight_val,
            sensitive_features=sensitive_features,
            sensitive_features_val=sensitive_features_val,
        )
        if not hasattr(self, "estimator_"):
            validate_data(self, X, skip_check_array=True)
            self.estimator_ = estimator
            self.row_weight_ = weight
            self._undo = []
        self._record = objective.record
        self._commit(result)
        return self

    def forget(self, X, y, rows):
        """Remove rows: `patch` under the name of the unlearning contract."""
        return self.patch(X, y, remove=rows)

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

    def _patched(
        self,
        estimator,
        objective,
        X,
        mask,
        extra,
        weight,
        *,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
        sensitive_features=None,
        sensitive_features_val=None,
    ):
        """Everything that `_commit` needs; raises before anything is changed."""
        model = objective.model
        n = len(objective.weight)
        groups = check_groups(sensitive_features, n)
        _check_marked(model, objective, mask)
        if self.forget_at is not None:
            _check_forget_at(model, self.forget_at)
        if X_val is None and y_val is None:
            keep = ~mask & (objective.weight > 0)
            part = objective.subset(keep)
            rows_of_C = (
                part.X,
                part.y,
                weight[keep],
                None if groups is None else groups[keep],
            )
            measured_on = f"the {int(keep.sum())} unmarked training rows"
        else:
            rows_of_C = criterion_rows(
                model, X_val, y_val, sample_weight_val, sensitive_features_val
            )
            measured_on = f"{len(rows_of_C[1])} validation rows"
        measures = measures_of(self.criterion, model, *rows_of_C)
        target = None
        if self.target is not None:
            found = measures_of(self.target, model, *rows_of_C)
            if len(found) > 1:
                raise ValueError("target must be a single criterion without `by`.")
            target = found[0]
        settings = self._settings(model, measures, n)
        candidates = self._candidates(mask, objective, X)
        marks = patching.Marks(mask, extra, candidates)
        path = patching.Path(objective, marks, measures, settings, target)
        if marks.empty:
            distance = 0.0
            result = path.walk()
        else:
            distance = self._stationarity(objective)
            result = path.walk()
        return _Outcome(
            estimator=estimator,
            patched=None if marks.empty else model.with_theta(result.theta),
            result=result,
            row_weight=weight * result.factor,
            report=self._report(
                measures, target, result, settings, marks, measured_on, distance, model
            ),
            history=_history(measures, target, result),
            distance=distance,
        )

    def _settings(self, model, measures, n):
        sampled = self.curvature_rows
        if sampled == "auto":
            sampled = patching.default_curvature_rows(model, n)
        elif sampled is not None:
            sampled = int(check_number(sampled, "curvature_rows", low=1))
        seed = self.random_state
        if seed is None or not isinstance(seed, (int, np.integer)):
            from sklearn.utils import check_random_state

            seed = 0 if seed is None else check_random_state(seed).randint(2**31 - 1)
        return patching.Settings(
            delta=self._deltas(model, measures),
            eta=float(self.eta),
            forget_at=self.forget_at,
            steps=self.steps,
            trust=self.trust,
            reweight=self.reweight,
            side=self.side,
            alpha=self.alpha,
            l1_ratio=self.l1_ratio,
            max_weight=self.max_weight,
            curvature=self.curvature,
            solver=self.solver,
            damping=self.damping,
            polish=bool(self.polish),
            curvature_rows=sampled,
            seed=int(seed),
        )

    def _deltas(self, model, measures):
        """One bound per measure; a list counts criteria, whose parts share theirs."""
        n_criteria = (
            len(self.criterion) if isinstance(self.criterion, (list, tuple)) else 1
        )
        if isinstance(self.delta, (list, tuple)):
            if len(self.delta) == len(measures):
                given = list(self.delta)
            elif len(self.delta) == n_criteria:
                position, by_name = -1, {}
                for measure in measures:
                    name = measure.name.partition("[")[0]
                    if name not in by_name:
                        position += 1
                        by_name[name] = self.delta[position]
                given = [by_name[m.name.partition("[")[0]] for m in measures]
            else:
                raise ValueError(
                    f"delta has {len(self.delta)} values for {n_criteria} criteria "
                    f"with {len(measures)} rows: {[m.name for m in measures]}."
                )
        else:
            given = [self.delta] * len(measures)
        deltas = []
        for delta, measure in zip(given, measures, strict=True):
            if isinstance(delta, str):
                value = measure.value(model)
                delta = BOUNDED_DELTA if measure.bounded else 0.01 * abs(value)
            deltas.append(float(delta))
        return np.array(deltas)

    def _candidates(self, mask, objective, X):
        allowed = np.ones(len(mask), dtype=bool)
        if self.candidates is not None:
            allowed = rows_of(self.candidates, len(mask), X, "candidates")
        return allowed & ~mask & (objective.weight > 0)

    def _stationarity(self, objective):
        solver = factor(
            curvature_of(self._sampled(objective), self.curvature),
            self.solver,
            self.damping,
        )
        distance = scores.stationarity(objective, solver)
        limit = 0.1
        if distance.other_rows and distance.value > limit and not self._moved():
            warnings.warn(
                f"max|grad J| = {distance.gradient:.1e} on these rows, but the "
                f"estimator's solver promised {distance.promised:.1e}: these do not "
                "look like the rows or sample_weight that the model was fitted with. "
                "Pass the rows and weights of the fit.",
                StationarityWarning,
                stacklevel=5,
            )
        elif not objective.model.convex and distance.value > limit:
            warnings.warn(
                f"The network is {distance.value:.1f} one-row displacements away from "
                "the optimum of its training objective; the patch moves it by the "
                "change of the weights only. Train longer, with solver='lbfgs' or a "
                "smaller tol, for a patch that is closer to a refit.",
                StationarityWarning,
                stacklevel=5,
            )
        return distance.value

    def _moved(self):
        """Whether compensated or partial patches have left J's optimum before."""
        return bool(getattr(self, "_undo", None))

    def _sampled(self, objective):
        limit = patching.default_curvature_rows(
            objective.model, patching.count_rows(objective)
        )
        if limit is None:
            return objective
        keep = np.flatnonzero(objective.weight > 0)
        if limit >= len(keep):
            return objective
        part = objective.subset(
            np.sort(np.random.default_rng(0).choice(keep, limit, replace=False))
        )
        return part.reweighted(
            part.weight * objective.weight.sum() / part.weight.sum()
        )

    def _report(
        self, measures, target, result, settings, marks, measured_on, distance, model
    ):
        first, last = result.history[0], result.history[-1]
        after = model.at(result.theta)
        plain = {}
        if model.loss.classification:
            plain["accuracy"] = tuple(
                _accuracy(m, measures[0]) for m in (model, after)
            )
        return PatchReport(
            criteria=tuple(m.name for m in measures),
            before=result.before,
            after=result.after,
            delta=settings.delta,
            side=settings.side,
            measured_on=measured_on,
            n_removed=int(marks.removed.sum()),
            n_upweighted=int((marks.extra > 0).sum()),
            n_reweighted=int((result.lam > 1e-6).sum()),
            s=float(result.s),
            stopped_by=result.stopped_by,
            forgetting_before=first.forgetting,
            forgetting_after=last.forgetting,
            target=None if target is None else (target.name, first.target, last.target),
            stationarity=float(distance),
            scores=plain,
        )

    def _commit(self, outcome):
        """The only place that changes the fitted state."""
        kept = ("report_", "history_", "lambda_", "stationarity_")
        attributes = {k: getattr(self, k) for k in kept if hasattr(self, k)}
        self._undo.append(_Undo(self.estimator_, self.row_weight_, attributes))
        if outcome.patched is not None:
            self.estimator_ = outcome.patched
        self.row_weight_ = outcome.row_weight
        self.report_ = outcome.report
        self.history_ = outcome.history
        self.lambda_ = outcome.result.lam
        self.stationarity_ = outcome.distance
        if outcome.report.bound is not None:
            warnings.warn(
                f"{outcome.report.bound} reached its delta at s = "
                f"{outcome.report.s:.3g} of eta = {self.eta:g}: the largest feasible "
                "patch was kept. Allow a larger delta, mark fewer rows, or re-weight "
                "more freely (max_weight, alpha).",
                DeltaReachedWarning,
                stacklevel=3,
            )
        elif outcome.report.stopped_by in ("stalled", "steps"):
            warnings.warn(
                f"The path ended ({outcome.report.stopped_by}) at s = "
                f"{outcome.report.s:.3g} before its goal: the marked rows have no "
                "influence left to take away, or trust is too small.",
                PatchWarning,
                stacklevel=3,
            )
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
        self._clear()
        self.estimator_ = last.estimator
        self.row_weight_ = last.row_weight
        for name, value in last.attributes.items():
            setattr(self, name, value)
        return self

    def finalize(self):
        """Forget the way back: models before the patch still remember the rows.

        Returns
        -------
        self
        """
        require_fitted(self, "estimator_")
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


@dataclass(frozen=True)
class _Outcome:
    estimator: object
    patched: object
    result: patching.PatchResult
    row_weight: np.ndarray
    report: PatchReport
    history: object
    distance: float


def _extra_weight(upweight, n, X):
    """Extra relative weight (n,) from a mask, a selection, or a float vector."""
    if upweight is None:
        return np.zeros(n)
    values = np.asarray(upweight)
    if values.dtype.kind == "f":
        if values.shape != (n,):
            raise ValueError(f"upweight has shape {values.shape}, X has {n} rows.")
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("upweight must be finite and not negative.")
        return values.astype(float)
    return rows_of(upweight, n, X, "upweight").astype(float)


def _check_marked(model, objective, mask):
    """Refuse a removal that leaves nothing to learn from."""
    left = ~mask & (objective.weight > 0)
    if not left.any():
        raise ValueError(
            "All rows are marked: there is nothing left to learn from. Mark fewer."
        )
    if model.classes is None or not mask.any():
        return
    present = np.unique(objective.y[objective.weight > 0])
    vanished = np.setdiff1d(present, objective.y[left])
    if not len(vanished):
        return
    names = model.classes[vanished].tolist()
    if len(model.classes) == 2:
        raise ValueError(
            f"Class {names[0]!r} would vanish with the marked rows: a binary model has "
            "nothing left to separate. Keep some of its rows."
        )
    warnings.warn(
        f"Classes {names} vanish with the marked rows; the model keeps their outputs.",
        PatchWarning,
        stacklevel=5,
    )


def _check_forget_at(model, forget_at):
    if model.loss.classification and not forget_at < 1.0:
        raise ValueError(
            f"forget_at={forget_at} must be below 1 for a classifier: it is the mean "
            "predicted probability of the marked rows' labels."
        )
    if not model.loss.classification and forget_at < 1.0:
        raise ValueError(
            f"forget_at={forget_at} must be at least 1 for a regressor: it is the mean "
            "squared error of the marked rows relative to the others."
        )


def _accuracy(model, measure):
    z = model.raw(measure.X)
    predicted = model.loss.predict(z).argmax(axis=1)
    return float(np.average(predicted == measure.y, weights=measure.weight))


def _history(measures, target, result):
    """The points of the path as a DataFrame."""
    import pandas as pd

    rows = []
    for state in result.history:
        row = {"s": state.s}
        values = zip(measures, state.values, strict=True)
        row.update({measure.name: value for measure, value in values})
        if target is not None:
            row[f"{target.name} (target)"] = state.target
        if state.forgetting is not None:
            row["forgetting"] = state.forgetting
        row["n_reweighted"] = int((state.lam > 1e-6).sum())
        rows.append(row)
    return pd.DataFrame(rows)
