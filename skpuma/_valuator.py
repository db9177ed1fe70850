"""PumaValuator: psi, the value of every training row for any criterion."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.parallel import Parallel, delayed

from skpuma import refit, rows, scores
from skpuma._meta import (
    OWN_METADATA,
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
from skpuma.reporting import InfluenceCheck
from skpuma.solvers import factor
from skpuma.utils._validation import check_groups, check_weights, index_of
from skpuma.utils.errors import LeverageWarning, SolverError, StationarityWarning

STATIONARITY_LIMIT = 0.1
LEVERAGE_LIMIT = 0.5


@dataclass(frozen=True)
class Fold:
    """One fitted model and the criterion on the rows that it did not see.

    Attributes
    ----------
    model : BaseModel
        At the polished parameters.
    S : ndarray (p, m)
        ``H^-1 grad C``.
    share : float
        Weight of the fold in averages.
    """

    model: object
    S: np.ndarray
    share: float
    constant: np.ndarray


class PumaValuator(TransformerMixin, PumaMeta):
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
    solver : {"auto", "cholesky", "eigh", "cg", "woodbury"}, default "auto"
    damping : "auto" or float, default "auto"
        Added to the curvature's diagonal in solves.
    polish : "auto" or bool, default "auto"
        Whether convex models are valued at their exact optimum (at most five Newton
        steps away) instead of where a loose tolerance stopped. The fitted model itself
        is not changed.
    cv : int, splitter or list of splits, default 5
        Cross-fitting when no ``X_val`` is given: every fold measures C of a model that
        was fitted on the others.
    n_jobs : int, default None
        Folds that run in parallel.
    verbose : int, default 0
    random_state : int, RandomState or None, default None
        Shuffles the rows into folds when `cv` is an int.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on all rows.
    psi_ : ndarray (n, m)
        psi of the training rows, in the units of each criterion.
    removal_effect_ : ndarray (n, m)
        Predicted change of each criterion if the row is removed, in its units.
    criterion_names_ : list of str
        The m criteria.
    criterion_value_ : ndarray (m,)
        C of the fitted model on the rows that measure it.
    damping_ : float
        Damping used.
    curvature_info_ : dict
        Curvature, solver, smallest eigenvalue, condition, largest residual.
    stationarity_ : float
        ``||H^-1 grad J||`` of the fitted model before polishing, in units of the 90th
        percentile of one row's displacement.
    leverage_ : ndarray (n,)
        Only with ``effect="one_step"``.
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
    >>> from skpuma import PumaValuator
    >>> X, y = load_iris(return_X_y=True)
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
    ):
        """Fit the estimator and value its training rows.

        Parameters
        ----------
        X : array-like, DataFrame or CSR (n, d)
        y : array-like (n,)
        sample_weight : array-like (n,), optional
            A row of weight 0 has a psi but no effect.
        X_val, y_val : optional
            Rows that measure the criterion. Without them C is cross-fitted.
        sample_weight_val : array-like, optional
        sensitive_features, sensitive_features_val : array-like, optional
            Groups of the rows of X and of X_val, for criteria that compare groups.

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
        }
        estimator = self._fit_base(X, y, sample_weight, **keywords)
        n = n_rows(y)
        weight = check_weights(sample_weight, n)
        groups = check_groups(sensitive_features, n)
        model = adapt(estimator)
        objective = self._objective(model, X, y, weight)
        if X_val is not None:
            val = (X_val, y_val, sample_weight_val, sensitive_features_val)
            result = self._with_validation_rows(objective, val)
        else:
            result = self._cross_fitted(objective, X, y, weight, groups)
        self._store(estimator, objective, X, result)
        return self

    def _check_parameters(self):
        if self.effect not in ("linear", "one_step"):
            raise ValueError(
                f"effect={self.effect!r} is neither 'linear' nor 'one_step'."
            )
        if self.polish not in ("auto", True, False):
            raise ValueError(f"polish={self.polish!r} is not 'auto', True or False.")
        if self.damping != "auto" and not (
            np.isscalar(self.damping) and self.damping >= 0
        ):
            raise ValueError(
                f"damping={self.damping!r} is neither 'auto' nor a number >= 0."
            )

    def _objective(self, model, X, y, weight):
        return Objective.at_fit(model, model.inputs(X), model.targets(y), weight)

    # -- scoring one fitted model ------------------------------------------------------

    def _score(self, objective, measures):
        """Fold-level results of one model on its own training rows."""
        solver = self._solver(objective)
        distance = scores.stationarity(objective, solver)
        if self.polish and objective.model.convex:
            objective = scores.polish(objective, self._undamped)
            solver = self._solver(objective)
        model = objective.model
        gradients = np.stack([m.gradient(model) for m in measures], axis=1)
        S = solver.solve(gradients).value
        psi = scores.psi_matrix(objective, S)
        effect = psi * (objective.weight / objective.total_weight)[:, None]
        leverage = None
        if self.effect == "one_step":
            exact = solver if solver.damping == 0 else self._undamped(objective)
            effect, leverage = scores.one_step_effects(objective, exact, measures)
        constant = np.zeros(S.shape[1])
        if model.kind != "sum":
            constant = (objective.record.l2 * model.theta) @ S
        fold = Fold(model, S, sum(m.weight.sum() for m in measures), constant)
        values = np.array([m.value(model) for m in measures])
        return _Scored(
            fold, psi, effect, leverage, values, distance, solver, objective
        )

    def _solver(self, objective):
        curvature = curvature_of(objective, self.curvature)
        return factor(curvature, self.solver, self.damping)

    def _undamped(self, objective):
        solver = "auto" if self.solver == "cg" else self.solver
        if self.solver == "cg" and self.effect != "one_step":
            solver = "cg"
        if self.effect == "one_step" and self.solver == "cg":
            raise SolverError(
                "effect='one_step' needs explicit curvature: use solver='cholesky' or "
                "effect='linear'."
            )
        return factor(curvature_of(objective, self.curvature), solver, "auto")

    def _with_validation_rows(self, objective, val):
        model = objective.model
        measures = measures_of(self.criterion, model, *criterion_rows(model, *val))
        scored = self._score(objective, measures)
        return _Result(
            names=[m.name for m in measures],
            psi=scored.psi,
            effect=scored.effect,
            leverage=scored.leverage,
            values=scored.values,
            folds=[scored.fold],
            splits=None,
            distance=scored.distance,
            solver=scored.solver,
        )

    def _cross_fitted(self, objective, X, y, weight, groups):
        splits = self._splits(objective, y)
        # Bind once on all rows, so that bad criteria fail before any fold is fitted.
        measures_of(
            self.criterion,
            objective.model,
            objective.X,
            objective.y,
            weight,
            groups,
        )
        run = Parallel(n_jobs=self.n_jobs, verbose=self.verbose)
        done = run(
            delayed(self._fit_fold)(X, y, weight, groups, train, test)
            for train, test in splits
        )
        done = [(split, one) for split, one in zip(splits, done, strict=True) if one]
        names = _common_names([one[0] for _, one in done])
        n, m = len(weight), len(names)
        psi, effect = np.zeros((n, m)), np.zeros((n, m))
        total, values = np.zeros(n), np.zeros(m)
        leverage = np.zeros(n) if self.effect == "one_step" else None
        for (train, _), (own_names, scored) in done:
            pick = [own_names.index(name) for name in names]
            share = scored.fold.share
            psi[train] += share * scored.psi[:, pick]
            # The fold's W is smaller than that of the full fit.
            scale = scored.objective.total_weight / objective.total_weight
            effect[train] += share * scale * scored.effect[:, pick]
            if leverage is not None:
                leverage[train] += share * scale * scored.leverage
            total[train] += share
            values += share * scored.values[pick]
        seen = np.maximum(total, np.finfo(float).tiny)
        folds = []
        for _, (own_names, scored) in done:
            pick = [own_names.index(name) for name in names]
            fold = scored.fold
            folds.append(
                replace(fold, S=fold.S[:, pick], constant=fold.constant[pick])
            )
        solver = self._solver(objective)
        return _Result(
            names=names,
            psi=psi / seen[:, None],
            effect=effect / seen[:, None],
            leverage=None if leverage is None else leverage / seen,
            values=values / sum(fold.share for fold in folds),
            folds=folds,
            splits=[split for split, _ in done],
            distance=scores.stationarity(objective, solver),
            solver=solver,
        )

    def _fit_fold(self, X, y, weight, groups, train, test):
        """Names and scores of one fold; None if nothing measures C on it."""
        if not weight[test].sum() > 0:
            return None
        estimator = refit.fit_estimator(
            self._base(),
            rows.take_user(X, train),
            rows.take_user(y, train),
            weight[train] if np.any(weight != 1.0) else None,
        )
        model = adapt(estimator)
        objective = self._objective(
            model, rows.take_user(X, train), rows.take_user(y, train), weight[train]
        )
        measures = measures_of(
            self.criterion,
            model,
            model.inputs(rows.take_user(X, test)),
            model.targets(rows.take_user(y, test)),
            weight[test],
            None if groups is None else groups[test],
        )
        return [m.name for m in measures], self._score(objective, measures)

    def _splits(self, objective, y):
        from sklearn.model_selection import KFold, StratifiedKFold, check_cv

        if not isinstance(self.cv, (int, np.integer)):
            return list(check_cv(self.cv).split(np.zeros(n_rows(y)), y))
        n_splits = min(int(self.cv), n_rows(y))
        kind = KFold
        if objective.model.classes is not None:
            kind = StratifiedKFold
            counts = np.bincount(objective.y[objective.weight > 0])
            counts = counts[counts > 0]
            rare = int(counts.min())
            if rare < 2 or len(counts) < 2:
                raise ValueError(
                    "Cross-fitting needs at least two rows of every class, one class "
                    f"has n_samples={rare}: pass X_val= and y_val= or more rows."
                )
            n_splits = min(n_splits, rare)
        if n_splits < 2:
            raise ValueError(
                f"Cross-fitting needs cv >= 2 and at least two rows; cv={self.cv}, "
                f"n_samples={n_rows(y)}. Pass X_val= and y_val= for a single fit."
            )
        splitter = kind(n_splits, shuffle=True, random_state=self.random_state)
        coded = objective.y
        return list(splitter.split(np.zeros(len(coded)), coded))

    def _store(self, estimator, objective, X, result):
        self._warn(objective, result)
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
        if result.leverage is not None:
            self.leverage_ = result.leverage
        self._folds = result.folds
        self._splits_used = result.splits
        self._record = objective.record
        self._factor = result.solver.detached()
        self._weight = objective.weight
        self._fingerprint = _fingerprint(objective)
        self._index = index_of(X, len(objective.weight)) if _has_index(X) else None
        self._n_features_out = len(self.get_feature_names_out())

    def _warn(self, objective, result):
        model, distance = objective.model, result.distance
        polished = model.convex and self.polish
        if distance.other_rows and distance.value > STATIONARITY_LIMIT:
            warnings.warn(
                f"max|grad J| = {distance.gradient:.1e} on these rows, but the "
                f"estimator's solver promised {distance.promised:.1e}: these do not "
                "look like the rows or sample_weight that the model was fitted with. "
                "psi describes another model; pass the rows and weights of the fit.",
                StationarityWarning,
                stacklevel=3,
            )
        elif not polished and distance.value > STATIONARITY_LIMIT:
            advice = (
                "refit with a smaller tol, or use polish='auto'"
                if model.convex
                else "train longer, with solver='lbfgs', a smooth activation and "
                "alpha > 0, and read psi as a ranking"
            )
            warnings.warn(
                f"The model is {distance.value:.1f} one-row displacements away from "
                f"the optimum of its training objective: {advice}.",
                StationarityWarning,
                stacklevel=3,
            )
        self._warn_leverage(objective, result)

    def _warn_leverage(self, objective, result):
        """Under "linear", look at the rows that a user would act on."""
        if self.effect != "linear" or not result.solver.explicit:
            return
        order = np.argsort(result.effect[:, 0], kind="stable")
        top = np.unique(np.concatenate([order[:100], order[-100:]]))
        top = top[objective.weight[top] > 0]
        h = scores.leverage(objective.subset(top), result.solver)
        if len(h) and h.max() > LEVERAGE_LIMIT:
            warnings.warn(
                f"{int((h > LEVERAGE_LIMIT).sum())} of the highest-ranked rows have a "
                f"leverage above {LEVERAGE_LIMIT} (largest {h.max():.2f}): their "
                "linear effect is not reliable. Use effect='one_step'.",
                LeverageWarning,
                stacklevel=4,
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
        ndarray (n, m)
            With ``X_val`` in `fit`, those of the training rows are ``psi_``; after
            cross-fitting ``psi_`` leaves out, for each row, the fold that measured it.
        """
        require_fitted(self, "_folds")
        share = sum(fold.share for fold in self._folds)
        total = 0.0
        for fold in self._folds:
            prepared, coded = fold.model.inputs(X), fold.model.targets(y)
            residual = fold.model.loss.gradient(fold.model.raw(prepared), coded)
            columns = [scores.psi(fold.model, prepared, residual, s) for s in fold.S.T]
            total = total + fold.share * (np.stack(columns, 1) + fold.constant)
        return total / share

    def transform(self, X):
        """psi of rows for every label that they could have.

        Parameters
        ----------
        X : array-like (n, d)

        Returns
        -------
        ndarray (n, m * n_classes), or (n, m * 2) for regression
            Classification: psi for each class as the label. Regression: psi is affine
            in the target, ``const + slope * y``.
        """
        require_fitted(self, "_folds")
        share = sum(fold.share for fold in self._folds)
        total = 0.0
        for fold in self._folds:
            total = total + fold.share * self._label_free(fold, X)
        return total / share

    def _label_free(self, fold, X):
        model = fold.model
        prepared = model.inputs(X)
        z = model.raw(prepared)
        forward = model.jvp(prepared, fold.S)
        constant = fold.constant
        out = []
        if model.classes is not None:
            known = list(model.classes)
            for label in self.estimator_.classes_:
                if label not in known:
                    raise ValueError(f"A fold lacks class {label!r}; pass X_val.")
                code = np.full(len(z), known.index(label))
                r = model.loss.gradient(z, code)
                out.append(np.einsum("nk,nkm->nm", r, forward) + constant)
        else:
            at_zero = model.loss.gradient(z, np.zeros_like(z))
            slope = model.loss.gradient(z, np.ones_like(z)) - at_zero
            out.append(np.einsum("nk,nkm->nm", at_zero, forward) + constant)
            out.append(np.einsum("nk,nkm->nm", slope, forward))
        return np.stack(out, axis=2).reshape(len(z), -1)

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of `transform`: ``psi_<criterion>_<class>``."""
        require_fitted(self, "criterion_names_")
        check_input_features(self, input_features)
        labels = ["const", "slope"]
        if hasattr(self.estimator_, "classes_"):
            labels = list(self.estimator_.classes_)
        names = [f"psi_{c}_{label}" for c in self.criterion_names_ for label in labels]
        return np.asarray(names, dtype=object)

    def inspect(self, top=None, sort_by=None):
        """Rows as a DataFrame on the user's index, the most harmful first.

        Parameters
        ----------
        top : int, optional
            Only so many rows.
        sort_by : str, optional
            Criterion to sort by; default the first.

        Returns
        -------
        DataFrame
            ``position`` in X, ``weight``, and for every criterion ``psi_<name>`` and
            ``removal_effect_<name>`` (change of C if the row is removed, in the units
            of C), and ``leverage`` if it was computed.
        """
        import pandas as pd

        require_fitted(self, "psi_")
        names = self.criterion_names_
        column = 0
        if sort_by is not None:
            if sort_by not in names:
                raise ValueError(f"sort_by={sort_by!r} is not one of {names}.")
            column = names.index(sort_by)
        index = pd.RangeIndex(len(self.psi_)) if self._index is None else self._index
        data = {"position": np.arange(len(self.psi_)), "weight": self._weight}
        for c, name in enumerate(names):
            data[f"psi_{name}"] = self.psi_[:, c]
            data[f"removal_effect_{name}"] = self.removal_effect_[:, c]
        if hasattr(self, "leverage_"):
            data["leverage"] = self.leverage_
        frame = pd.DataFrame(data, index=index)
        order = np.argsort(self.removal_effect_[:, column], kind="stable")
        return frame.iloc[order if top is None else order[:top]]

    # -- trust -------------------------------------------------------------------------

    def leverage(self, X, y, sample_weight=None):
        """Leverage of rows under the full fit (n,); above 0.5 linear psi is unreliable.

        Raises
        ------
        SolverError
            If the curvature was not explicit.
        """
        return scores.leverage(self._rows(X, y, sample_weight), self._explicit())

    def self_influence(self, X, y):
        """``g.T H^-1 g`` of rows (n,): psi with the row's own loss as the criterion."""
        return scores.self_influence(self._rows(X, y, None), self._explicit())

    def _rows(self, X, y, sample_weight):
        require_fitted(self, "_record")
        model = adapt(self.estimator_)
        weight = check_weights(sample_weight, n_rows(y))
        inputs, targets = model.inputs(X), model.targets(y)
        return Objective.at_fit(model, inputs, targets, weight, self._record)

    def _explicit(self):
        if self._factor is None:
            raise SolverError(
                "Leverage and self-influence need explicit curvature: fit with "
                "solver='cholesky'."
            )
        return self._factor

    def check_influence(
        self,
        X,
        y,
        sample_weight=None,
        *,
        n_rows=30,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
        sensitive_features=None,
        sensitive_features_val=None,
    ):
        """Remove rows for real and compare with ``removal_effect_``.

        Refits are tight, under the frozen preprocessing and class weights of the fit.
        The rows are spread evenly over the ranking, both ends included.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val : as in `fit`
            No rows are kept in the object, so they are asked for again.
        n_rows : int, default 30

        Returns
        -------
        InfluenceCheck
            With ``pearson``, ``spearman`` and ``slope`` per criterion.

        Raises
        ------
        ValueError
            If X, y and sample_weight are not those of `fit`.
        """
        objective = self._rows(X, y, sample_weight)
        if not _same_fingerprint(self._fingerprint, _fingerprint(objective)):
            raise ValueError(
                "X, y or sample_weight are not those of the fit; pass the same rows."
            )
        used = np.flatnonzero(objective.weight > 0)
        order = used[np.argsort(self.removal_effect_[used, 0], kind="stable")]
        spread = np.linspace(0, len(order) - 1, min(n_rows, len(order))).round()
        chosen = np.unique(order[spread.astype(int)])
        weight = check_weights(sample_weight, len(objective.weight))
        if self._splits_used is None:
            val = (X_val, y_val, sample_weight_val, sensitive_features_val)
            measures = measures_of(
                self.criterion, objective.model, *criterion_rows(objective.model, *val)
            )
            refitted = refit.removal_effects(objective, measures, chosen)
        else:
            groups = check_groups(sensitive_features, len(weight))
            refitted = self._refit_folds(objective, X, y, weight, groups, chosen)
        note = "" if objective.model.convex else "Refits of a network hold their noise."
        return InfluenceCheck(
            tuple(self.criterion_names_),
            chosen,
            self.removal_effect_[chosen],
            refitted,
            note,
        )

    def _refit_folds(self, objective, X, y, weight, groups, chosen):
        out = np.zeros((len(chosen), len(self.criterion_names_)))
        total = np.zeros(len(chosen))
        for fold, (train, test) in zip(self._folds, self._splits_used, strict=True):
            model = fold.model
            take = rows.take_user
            part = self._objective(model, take(X, train), take(y, train), weight[train])
            measures = measures_of(
                self.criterion,
                model,
                model.inputs(take(X, test)),
                model.targets(take(y, test)),
                weight[test],
                None if groups is None else groups[test],
            )
            by_name = {m.name: m for m in measures}
            measures = [by_name[name] for name in self.criterion_names_]
            where = {row: i for i, row in enumerate(train)}
            inside = [i for i, row in enumerate(chosen) if row in where]
            index = np.array([where[chosen[i]] for i in inside], dtype=int)
            effects = refit.removal_effects(part, measures, index)
            scale = fold.share * part.total_weight / objective.total_weight
            out[inside] += scale * effects
            total[inside] += fold.share
        return out / total[:, None]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type = None
        tags.transformer_tags = transformer_tags()
        return tags


@dataclass(frozen=True)
class _Scored:
    fold: Fold
    psi: np.ndarray
    effect: np.ndarray
    leverage: np.ndarray | None
    values: np.ndarray
    distance: scores.Stationarity
    solver: object
    objective: Objective


@dataclass(frozen=True)
class _Result:
    names: list
    psi: np.ndarray
    effect: np.ndarray
    leverage: np.ndarray | None
    values: np.ndarray
    folds: list
    splits: list | None
    distance: scores.Stationarity
    solver: object


def _common_names(names):
    """Names that every fold has, in the order of the first."""
    return [name for name in names[0] if all(name in other for other in names)]


def _has_index(X):
    return hasattr(getattr(X, "index", None), "get_indexer")


def _fingerprint(objective):
    """A few sums that change with any row, label or weight; no row can be read off."""
    n = len(objective.weight)
    wave = np.cos(np.arange(1, n + 1))
    y = objective.y if objective.y.ndim == 1 else objective.y[:, 0]
    z = objective.raw[:, 0]
    return np.array([n, wave @ z, wave @ y, wave @ objective.weight, np.abs(z).sum()])


def _same_fingerprint(a, b):
    return a[0] == b[0] and np.allclose(a, b, rtol=1e-8, atol=1e-8 * max(a[4], 1.0))
