"""PumaValuator: psi, the value of every training row for any criterion."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import TransformerMixin

from skpuma import refit, scores, valuing
from skpuma._dask_fits import map_rows, value_rows
from skpuma._dask_rows import ends, is_dask
from skpuma._inspecting import Inspecting
from skpuma._meta import (
    OWN_METADATA,
    PumaMeta,
    check_input_features,
    criterion_rows,
    n_rows,
    require_fitted,
    transformer_tags,
    warn_if_not_stationary,
    warn_if_singular,
    warn_no_optimum,
)
from skpuma._trusting import Trusting
from skpuma.criteria import LogLoss, TrainingLoss
from skpuma.models import adapt
from skpuma.objective import Objective, fingerprint, same_rows
from skpuma.utils._grouping import check_grouping
from skpuma.utils._validation import (
    check_groups,
    check_number,
    check_weights,
    index_of,
)
from skpuma.utils.errors import LeverageWarning, PatchWarning, warn

LEVERAGE_LIMIT = 0.5
# Rows at either end of a ranking that are fetched from where they live.
FEW = 5


@dataclass(frozen=True)
class _Grouped:
    """What stays of the groups of a fit: no row can be read off."""

    sizes: np.ndarray
    weight: np.ndarray
    fingerprint: np.ndarray


class PumaValuator(Inspecting, Trusting, TransformerMixin, PumaMeta):
    """Value of training rows for a criterion, by influence functions (Blog 7).

    ``psi_j = grad C . H^-1 g_j`` is W times the predicted change of the criterion C per
    unit of weight that row j loses, W being the sum of the weights. C is a cost, so the
    rows with the **lowest psi are the most harmful**, and ``psi_j > 0`` helps.

    Parameters
    ----------
    estimator : estimator, default None
        A scikit-learn classifier or regressor that `skpuma.models` supports, or a
        Pipeline that ends in one; None means ``LogisticRegression()``. It is cloned
        and fitted, unless it is a ``FrozenEstimator``.
    criterion : str, criterion or list of them, default "auto"
        What is valued: "auto" is the estimator's own loss. See `skpuma.criteria`.
    effect : {"linear", "one_step"}, default "linear"
        How ``removal_effect_`` is computed. "linear" is ``psi w / W``; "one_step"
        corrects the parameters for the row's leverage and evaluates the criterion
        again. It never changes ``psi_``.
    curvature : {"auto", "hessian", "gauss_newton", "fisher"}, default "auto"
        "auto" is the exact Hessian of linear models and Gauss-Newton for networks.
    solver : {"auto", "cholesky", "eigh", "cg", "woodbury", "lissa"}, default "auto"
        "auto" chooses by size and says so in ``curvature_info_``: "cholesky" up to a
        few thousand parameters, "woodbury" for fewer rows than parameters, "eigh" for
        an indefinite Hessian, "cg" beyond.
    damping : "auto" or float, default "auto"
        Added to the curvature's diagonal in solves.
    polish : "auto" or bool, default "auto"
        Whether convex models are valued at their exact optimum (at most 30 Newton
        steps away) instead of where a loose tolerance stopped. The fitted model itself
        is not changed.
    cv : int, splitter or list of splits, default 5
        Cross-fitting when no ``X_val`` is given: every fold measures C of a model that
        was fitted on the others. With ``groups`` an int keeps every group in one fold
        (``StratifiedGroupKFold`` for classifiers, ``GroupKFold`` for regressors), and a
        splitter is given the groups and must keep them together.
    n_jobs : int, default None
        Folds that run in parallel.
    verbose : int, default 0
    random_state : int, RandomState or None, default None
        Shuffles the rows (of classifiers also the groups) into folds when `cv` is an
        int.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on all rows.
    psi_ : ndarray (n, m)
        psi of the training rows, in the units of each criterion; nan for a row that no
        fold trained on.
    removal_effect_ : ndarray (n, m)
        Predicted change of each criterion if the row is removed, in its units.
    criterion_names_ : list of str
        The m criteria.
    criterion_value_ : ndarray (m,)
        C on the rows that measure it, at the parameters that are valued (the optimum,
        if polished).
    damping_ : float
        Damping used.
    curvature_info_ : dict
        Curvature, solver, smallest eigenvalue, condition, largest residual.
    stationarity_ : float
        ``||H^-1 grad J||`` of the fitted model before polishing, in units of the 90th
        percentile of one row's displacement.
    leverage_ : ndarray (n,)
        Only with ``effect="one_step"``.
    groups_ : ndarray (G,)
        Labels of the groups. This and the next two only if `fit` was given ``groups``.
    group_psi_ : ndarray (G, m)
        Sum of ``w psi`` over the rows of each group: to first order, W times the change
        of C if the whole group goes. With unit weights it is the sum of psi.
    group_effect_ : ndarray (G, m)
        Predicted change of each criterion if the whole group is removed, in its units.
        "linear": ``group_psi_ / W``. "one_step": C evaluated again after one Newton
        step on the objective without the group, which sees what its rows have in
        common; nan if it cannot be removed in one step.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    `psi_` is first order. On data with high-leverage rows use ``effect="one_step"`` and
    ask `check_influence` how well the predictions hold.

    References
    ----------
    G. Wu, M. Hashemi, C. Srinivasa, "PUMA: Performance Unchanged Model Augmentation for
    Training Data Removal", AAAI 2022. P. W. Koh, P. Liang, "Understanding Black-box
    Predictions via Influence Functions", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skpuma import PumaValuator
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> valuator = PumaValuator(criterion="log_loss", random_state=0).fit(X, y)
    >>> valuator.psi_.shape
    (150, 1)
    >>> suspects = valuator.inspect(top=10)
    """

    __metadata_request__fit = {k: v for k, v in OWN_METADATA.items() if k != "marked"}

    def __init__(
        self,
        estimator=None,
        criterion="auto",
        *,
        effect="linear",
        curvature="auto",
        solver="auto",
        damping="auto",
        polish="auto",
        cv=5,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.criterion = criterion
        self.effect = effect
        self.curvature = curvature
        self.solver = solver
        self.damping = damping
        self.polish = polish
        self.cv = cv
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
        sensitive_features=None,
        sensitive_features_val=None,
        groups=None,
    ):
        """Fit the estimator and value its training rows.

        Parameters
        ----------
        X : array-like, DataFrame or CSR (n, d); dask array or dask DataFrame
            With a frozen estimator and ``X_val`` the rows may be a dask collection:
            ``psi_`` and ``removal_effect_`` are dask arrays then, computed and kept
            where the rows live (``doc/scaling.rst``).
        y : array-like (n,)
        sample_weight : array-like (n,), optional
            A row of weight 0 has a psi but no effect.
        X_val, y_val : optional
            Rows that measure the criterion. Without them C is cross-fitted.
        sample_weight_val : array-like, optional
        sensitive_features, sensitive_features_val : array-like, optional
            Groups of the rows of X and of X_val, for criteria that compare groups.
        groups : array-like (n,), optional
            A label per row of X: the customer, file or household that it came from.
            Rows of one label are valued together too, as what is left if all of them
            go, and are never split by cross-fitting.

        Returns
        -------
        self

        Raises
        ------
        NotDifferentiableError
            If the estimator is not supported.
        ValueError
            For input that does not fit together; the message says what to do.
        """
        self._check_parameters()
        base = self._base()
        if refit.is_frozen(base) and X_val is None:
            raise ValueError(
                "A frozen (prefit) estimator was trained on X, and at its optimum the "
                "criterion on the same rows says almost nothing about them. Pass "
                "X_val= and y_val=, or an estimator that may be fitted on folds."
            )
        keywords = {
            "X_val": X_val,
            "y_val": y_val,
            "sample_weight_val": sample_weight_val,
            "sensitive_features": sensitive_features,
            "sensitive_features_val": sensitive_features_val,
            "groups": groups,
        }
        val = (X_val, y_val, sample_weight_val, sensitive_features_val)
        if is_dask(X):
            grouped = {"sensitive_features": sensitive_features, "groups": groups}
            found = value_rows(
                base, self._settings(), X, y, sample_weight, val, grouped
            )
            self._store(*found[:2], X, found[2], None)
            return self
        grouping = None if y is None else check_grouping(groups, n_rows(y), X)
        estimator = self._fit_base(X, y, sample_weight, **keywords)
        n = n_rows(y)
        weight = check_weights(sample_weight, n)
        sensitive = check_groups(sensitive_features, n)
        model = adapt(estimator)
        objective = Objective.at_fit(model, model.inputs(X), model.targets(y), weight)
        if any(part is not None for part in val):
            measured = criterion_rows(model, *val)
            self._refuse_own_loss(objective, measured)
            result = valuing.with_validation_rows(
                objective, measured, self._settings(), grouping
            )
        else:
            result = valuing.cross_fitted(
                objective,
                (X, y, weight, sensitive),
                self._fit_fold,
                valuing.splits_of(self.cv, objective, y, self.random_state, grouping),
                self._settings(),
                grouping,
                self.n_jobs,
                self.verbose,
            )
        self._store(estimator, objective, X, result, grouping)
        return self

    def _check_parameters(self):
        if self.effect not in ("linear", "one_step"):
            raise ValueError(
                f"effect={self.effect!r} is neither 'linear' nor 'one_step'."
            )
        if self.polish not in ("auto", True, False):
            raise ValueError(f"polish={self.polish!r} is not 'auto', True or False.")
        if not (isinstance(self.damping, str) and self.damping == "auto"):
            check_number(self.damping, "damping", low=0.0)

    def _refuse_own_loss(self, objective, measured):
        """A prefit model's loss on its own rows is flat: psi would be noise."""
        losses = ("auto", "log_loss", TrainingLoss(), LogLoss())
        if not refit.is_frozen(self._base()) or self.criterion not in losses:
            return
        if len(measured[1]) != len(objective.y):
            return
        own = fingerprint(objective.X, objective.y)
        if same_rows(own, fingerprint(*measured[:2])):
            raise ValueError(
                "X_val is X, and the criterion is the loss that the frozen estimator "
                "was trained with: at its optimum that says almost nothing about the "
                "rows. Pass held-out rows as X_val, or another criterion."
            )

    def _settings(self):
        return valuing.Settings(
            criterion=self.criterion,
            effect=self.effect,
            curvature=self.curvature,
            solver=self.solver,
            damping=self.damping,
            polish=bool(self.polish),
        )

    def _fit_fold(self, X, y, weight):
        """Fit the estimator on a fold, with routed metadata as in `fit`."""
        given = weight if np.any(weight != 1.0) else None
        params = self._fit_params(given)
        return refit.fit_estimator(self._base(), X, y, given, params)

    def _store(self, estimator, objective, X, result, grouping):
        self._warn(objective, result, grouping)
        self._take_names(X)
        self.estimator_ = estimator
        self.psi_ = result.psi
        self.removal_effect_ = result.effect
        self.criterion_names_ = result.names
        self.criterion_value_ = result.values
        self.damping_ = result.solver.damping
        self.stationarity_ = result.distance.value
        info = {"curvature": result.solver.curvature.name, **result.solver.info}
        if hasattr(result.solver, "extreme_eigenvalues"):
            smallest, _ = result.solver.extreme_eigenvalues()
            info["smallest_eigenvalue"] = smallest
        info["max_residual"] = result.solver.max_residual
        self.curvature_info_ = info
        for name in ("leverage_", "groups_", "group_psi_", "group_effect_"):
            if hasattr(self, name):
                delattr(self, name)
        if result.leverage is not None:
            self.leverage_ = result.leverage
        self._grouped = None
        if grouping is not None:
            self.groups_ = grouping.labels
            self.group_psi_ = result.group_psi
            self.group_effect_ = result.group_effect
            self._grouped = _Grouped(
                grouping.sizes,
                grouping.total(objective.weight),
                grouping.fingerprint(),
            )
        self._folds = result.folds
        self._splits_used = result.splits
        self._record = objective.record
        self._model = result.model
        self._factor = self._undamped(objective, result)
        self._weight = objective.weight
        self._fingerprint = objective.fingerprint()
        self._grid = valuing.target_grid(objective)
        self._index = index_of(X, len(objective.weight)) if _has_index(X) else None
        self._n_features_out = len(self.get_feature_names_out())

    def _undamped(self, objective, result):
        """The factor that leverage is taken with, without the training rows."""
        at_solver = objective.at(result.model.theta)
        return self._settings().for_leverage(at_solver, result.solver).detached()

    def _warn(self, objective, result, grouping):
        convex = objective.model.convex
        advice = (
            "refit with a smaller tol, or use polish='auto'"
            if convex
            else "train longer, with solver='lbfgs', a smooth activation and "
            "alpha > 0, and read psi as a ranking"
        )
        warn_if_not_stationary(result.distance, convex and self.polish, advice)
        warn_if_singular(result.solver, self.damping, convex)
        if not result.converged:
            warn_no_optimum()
        if objective.partitioned:
            top, moves = ends(result.effect, FEW)
        else:
            top, moves = None, np.nan_to_num(result.psi).any(axis=0)
        flat = [
            name for name, any_ in zip(result.names, moves, strict=True) if not any_
        ]
        if flat:
            warn(
                f"psi of {', '.join(flat)} is zero on every row: the criterion does "
                "not change with the parameters. Is it a step function, such as an "
                "error rate? 'margin' is a smooth one.",
                PatchWarning,
            )
        sparse = getattr(result.model, "free_coef", None) is not None
        # In blocks every row would take a pass over all.
        if sparse and not objective.partitioned:
            self._warn_active_set(objective, result)
        if self.effect == "linear" and not result.solver.iterative:
            self._warn_leverage(objective, result, top)
            if grouping is not None and result.solver.explicit:
                self._warn_group_leverage(objective, result, grouping)

    def _warn_active_set(self, objective, result):
        """Of the rows at both ends of the ranking, a few passes each."""
        top = _ends(result.effect[:, 0], 10)
        top = top[objective.weight[top] > 0]
        at_solver = objective.at(result.model.theta)
        count = valuing.leaves_active_set(at_solver, result.solver, top)
        if count:
            warn(
                f"Removing {count} of the {len(top)} highest-ranked rows would change "
                "the L1 penalty's active set; their effects hold on the present one. "
                "check_influence tells how much it matters.",
                PatchWarning,
            )

    def _warn_leverage(self, objective, result, top=None):
        """Under "linear", look at the rows that a user would act on."""
        # A woodbury solve costs a pass over the rows, an explicit one does not.
        count = 100 if result.solver.explicit else 10
        if top is None:
            top = _ends(result.effect[:, 0], count)
        at_solver = objective.at(result.model.theta).subset(top)
        at_solver = at_solver.subset(np.flatnonzero(at_solver.weight > 0))
        h = scores.leverage(at_solver, result.solver)
        if len(h) and h.max() > LEVERAGE_LIMIT:
            warn(
                f"{int((h > LEVERAGE_LIMIT).sum())} of the highest-ranked rows have a "
                f"leverage above {LEVERAGE_LIMIT} (largest {h.max():.2f}): their "
                "linear effect is not reliable. Use effect='one_step'.",
                LeverageWarning,
            )

    def _warn_group_leverage(self, objective, result, grouping):
        """Under "linear", look at the groups that a user would act on."""
        order = np.argsort(result.group_effect[:, 0], kind="stable")
        at_solver = objective.at(result.model.theta)
        h = [
            scores.group_leverage(at_solver, result.solver, grouping.members[g])
            for g in np.unique(np.concatenate([order[:10], order[-10:]]))
        ]
        if max(h) > LEVERAGE_LIMIT:
            warn(
                f"{int((np.array(h) > LEVERAGE_LIMIT).sum())} of the highest-ranked "
                f"groups have a joint leverage above {LEVERAGE_LIMIT} (largest "
                f"{max(h):.2f}): the sum of their rows' effects is not reliable. Use "
                "effect='one_step'.",
                LeverageWarning,
            )

    # -- values of any rows ------------------------------------------------------------

    def valuate(self, X, y):
        """psi of rows with their labels.

        Parameters
        ----------
        X : array-like (n, d)
        y : array-like (n,)

        Returns
        -------
        ndarray (n, m), or dask array where X is a dask collection
            With ``X_val`` in `fit`, those of the training rows are ``psi_``; after
            cross-fitting ``psi_`` leaves out, for each row, the fold that measured it.
        """
        require_fitted(self, "_folds")
        if is_dask(X):
            m = len(self.criterion_names_)
            return map_rows(X, y, valuing.valuated, m, self._folds)
        return valuing.valuated(X, y, self._folds)

    def transform(self, X):
        """psi of rows for every label that they could have.

        Parameters
        ----------
        X : array-like (n, d)

        Returns
        -------
        ndarray (n, m * n_classes), or (n, m * 2) for regression
            Classification: psi for each class as the label. Regression: psi is affine
            in the target, ``const + slope * y`` (one slope per output or label). Where
            it is not (HuberRegressor, LinearSVR, some losses of SGDRegressor), psi for
            five targets: the 5, 25, 50, 75 and 95 % quantiles of those of the fit.
        """
        require_fitted(self, "_folds")
        classes = getattr(self.estimator_, "classes_", None)
        given = self._folds, classes, self._grid
        if is_dask(X):
            return map_rows(X, None, valuing.label_free, self._n_features_out, *given)
        return valuing.label_free(X, None, *given)

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of `transform`: ``psi_<criterion>_<class>``."""
        require_fitted(self, "criterion_names_")
        check_input_features(self, input_features)
        model = self._folds[0].model
        k = model.n_outputs
        slopes = ["slope"] if k == 1 else [f"slope_{a}" for a in range(k)]
        labels = ["const", *slopes]
        if self._grid is not None:
            labels = [f"q{round(100 * q):02d}" for q in valuing.QUANTILES]
        if model.classes is not None:
            labels = self.estimator_.classes_
        names = [f"psi_{c}_{label}" for c in self.criterion_names_ for label in labels]
        return np.asarray(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type = None
        tags.transformer_tags = transformer_tags()
        return tags


def _ends(values, count):
    """Positions of the lowest and of the highest values, without sorting all."""
    n = len(values)
    if n <= 2 * count:
        return np.arange(n)
    order = np.argpartition(values, [count, n - count])
    return np.sort(np.concatenate([order[:count], order[-count:]]))


def _has_index(X):
    return hasattr(getattr(X, "index", None), "get_indexer")
