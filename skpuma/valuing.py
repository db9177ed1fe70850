"""Valuing the rows of a fit: one model with validation rows, or cross-fitted folds."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from skpuma import refit, rows, scores
from skpuma.criteria import measures_of
from skpuma.curvature import curvature_of
from skpuma.models import adapt
from skpuma.objective import Objective
from skpuma.solvers import factor
from skpuma.utils.errors import PatchWarning, SolverError, warn


@dataclass(frozen=True)
class Settings:
    """How rows are valued; the attributes are the parameters of `PumaValuator`."""

    criterion: object = "auto"
    effect: str = "linear"
    curvature: str = "auto"
    solver: str = "auto"
    damping: float | str = "auto"
    polish: bool = True

    def factored(self, objective):
        """The curvature that psi is solved with."""
        return factor(
            curvature_of(objective, self.curvature), self.solver, self.damping
        )

    def for_leverage(self, objective, solver):
        """The factor of leverage and one-step effects: the asked curvature.

        Without damping for models that are linear in their parameters, unless it is
        singular; networks keep theirs, which they cannot be factored without.
        """
        if solver.damping == 0 or not objective.model.convex:
            return solver
        return factor(curvature_of(objective, self.curvature), self.solver, "auto")

    def undamped(self, objective):
        """The true curvature of Newton steps and leverage, damped only if singular."""
        if self.effect == "one_step" and self.solver == "cg":
            raise SolverError(
                "effect='one_step' needs explicit curvature: use solver='cholesky' or "
                "effect='linear'."
            )
        return factor(curvature_of(objective), self.solver, "auto")


@dataclass(frozen=True)
class Fold:
    """What stays of one fitted model: enough to value any row, and no training row.

    Attributes
    ----------
    model : BaseModel
        At the polished parameters.
    S : ndarray (p, m)
        ``H^-1 grad C``.
    constant : ndarray (m,)
        The share of the penalty's gradient in every psi (0 for the kind "sum").
    share : float
        Weight of the fold in averages: that of the rows that measured C.
    """

    model: object
    S: np.ndarray
    constant: np.ndarray
    share: float

    def pick(self, columns):
        """The same fold for some of its criteria."""
        return replace(self, S=self.S[:, columns], constant=self.constant[columns])

    def valuate(self, X, y):
        """psi of a user's rows with their labels (n, m)."""
        model = self.model
        prepared, coded = model.inputs(X), model.targets(y)
        residual = model.loss.gradient(model.raw(prepared), coded)
        columns = [scores.psi(model, prepared, residual, s) for s in self.S.T]
        return np.stack(columns, axis=1) + self.constant

    def label_free(self, X, classes):
        """psi for every label (n, m, n_labels); (const, slopes) for regressors."""
        model = self.model
        prepared = model.inputs(X)
        z = model.raw(prepared)
        forward = model.jvp(prepared, self.S)
        out = []
        if model.classes is not None:
            for label in classes:
                code = np.flatnonzero(model.classes == label)
                if not len(code):
                    raise ValueError(
                        f"A fold was fitted without class {label!r}, so psi of that "
                        "label is not known: pass X_val= and y_val= to fit."
                    )
                r = model.loss.gradient(z, np.full(len(z), code[0]))
                out.append(np.einsum("nk,nkm->nm", r, forward) + self.constant)
            return np.stack(out, axis=2)
        at_zero = model.loss.gradient(z, np.zeros_like(z))
        slope = model.loss.gradient(z, np.ones_like(z)) - at_zero
        out.append(np.einsum("nk,nkm->nm", at_zero, forward) + self.constant)
        out += [slope[:, a, None] * forward[:, a] for a in range(model.n_outputs)]
        return np.stack(out, axis=2)


@dataclass(frozen=True)
class Valuation:
    """psi of the training rows, and what is needed to value others.

    Attributes
    ----------
    names : list of str
        Criteria.
    psi, effect : ndarray (n, m)
    leverage : ndarray (n,) or None
    values : ndarray (m,)
        C on the rows that measure it.
    folds : list of Fold
    splits : list of (train, test) or None
    distance : scores.Stationarity
        Of the full fit.
    solver : BaseSolver
        Of the full fit.
    model : BaseModel
        The full fit, at the parameters of `solver`.
    converged : bool
        Whether polishing reached an optimum (True where nothing was polished).
    """

    names: list
    psi: np.ndarray
    effect: np.ndarray
    leverage: np.ndarray | None
    values: np.ndarray
    folds: list
    splits: list | None
    distance: scores.Stationarity
    solver: object
    model: object
    converged: bool


def with_validation_rows(objective, validation, settings):
    """Value the rows of one fit; `validation` is (X, y, weight, groups), prepared."""
    measures = measures_of(settings.criterion, objective.model, *validation)
    objective, solver, distance, converged = _at_optimum(objective, settings)
    model = objective.model
    gradients = np.stack([m.gradient(model) for m in measures], axis=1)
    S = scores.solve_criteria(solver, gradients)
    psi = scores.psi_matrix(objective, S)
    effect = psi * (objective.weight / objective.total_weight)[:, None]
    leverage = None
    if settings.effect == "one_step":
        exact = settings.for_leverage(objective, solver)
        effect, leverage = scores.one_step_effects(objective, exact, measures)
    constant = np.zeros(S.shape[1])
    if model.kind != "sum":
        constant = (objective.record.l2 * model.theta) @ S
    share = float(validation[2].sum())
    return Valuation(
        names=[m.name for m in measures],
        psi=psi,
        effect=effect,
        leverage=leverage,
        values=np.array([m.value(model) for m in measures]),
        folds=[Fold(model, S, constant, share)],
        splits=None,
        distance=distance,
        solver=solver,
        model=model,
        converged=converged,
    )


def _at_optimum(objective, settings):
    """(objective, solver, distance before, converged), polished where that is asked."""
    solver = settings.factored(objective)
    distance = scores.stationarity(objective, solver)
    if not (settings.polish and objective.model.convex):
        return objective, solver, distance, True
    newton = settings.curvature != "fisher"
    objective, kept, converged = scores.polish(
        objective, settings.undamped, solver if newton else None
    )
    if not newton or kept is None or settings.damping not in ("auto", kept.damping):
        kept = settings.factored(objective)
    return objective, kept, distance, converged


def cross_fitted(objective, table, fit, splits, settings, n_jobs=None, verbose=0):
    """Value the rows by fits that leave out, in turn, the rows that measure C.

    Parameters
    ----------
    objective : Objective
        Of the full fit: its W is the one that effects refer to.
    table : (X, y, weight, groups)
        The user's rows.
    fit : callable
        (X, y, weight) -> fitted estimator.
    splits : list of (train, test) positions
    settings : Settings

    Returns
    -------
    Valuation
        psi of a row averages the folds that trained on it.
    """
    _, _, weight, groups = table
    # Bind once on all rows, so that bad criteria fail before any fold is fitted.
    measures_of(
        settings.criterion, objective.model, objective.X, objective.y, weight, groups
    )
    done = Parallel(n_jobs=n_jobs, verbose=verbose)(
        delayed(_one_fold)(table, fit, train, test, settings) for train, test in splits
    )
    kept = [(split, one) for split, one in zip(splits, done, strict=True) if one]
    if not kept:
        raise ValueError(
            "No fold has rows with a positive weight that measure the criterion."
        )
    first = kept[0][1][0].names
    names = [c for c in first if all(c in one.names for _, (one, _) in kept)]
    n, m = len(weight), len(names)
    psi, effect = np.zeros((n, m)), np.zeros((n, m))
    leverage, total, values = np.zeros(n), np.zeros(n), np.zeros(m)
    folds = []
    for (train, _), (one, fold_total) in kept:
        columns = [one.names.index(name) for name in names]
        fold = one.folds[0].pick(columns)
        # The fold's W is smaller than that of the full fit.
        scale = fold.share * fold_total / objective.total_weight
        psi[train] += fold.share * one.psi[:, columns]
        effect[train] += scale * one.effect[:, columns]
        if one.leverage is not None:
            leverage[train] += scale * one.leverage
        total[train] += fold.share
        values += fold.share * one.values[columns]
        folds.append(fold)
    total[total == 0] = np.nan
    polished, solver, distance, converged = _at_optimum(objective, settings)
    return Valuation(
        names=names,
        psi=psi / total[:, None],
        effect=effect / total[:, None],
        leverage=leverage / total if settings.effect == "one_step" else None,
        values=values / sum(fold.share for fold in folds),
        folds=folds,
        splits=[split for split, _ in kept],
        distance=distance,
        solver=solver,
        model=polished.model,
        converged=converged and all(one.converged for _, (one, _) in kept),
    )


def _one_fold(table, fit, train, test, settings):
    """(Valuation, W) of one fold; None if no row that counts is left to measure C."""
    X, y, weight, _ = table
    if not weight[test].sum() > 0:
        return None
    inside = rows.take_user(X, train), rows.take_user(y, train)
    model = adapt(fit(*inside, weight[train]))
    objective = Objective.at_fit(
        model, model.inputs(inside[0]), model.targets(inside[1]), weight[train]
    )
    measured = left_out(model, table, test)
    return with_validation_rows(objective, measured, settings), objective.total_weight


def refitted_effects(objective, table, folds, splits, criterion, names, chosen):
    """Effects of removing rows, by refits of every fold that trained on them.

    Parameters
    ----------
    objective : Objective
        Of the full fit.
    table : (X, y, weight, groups)
    folds, splits : as in `Valuation`
    criterion, names
        The criteria, and those of their parts that every fold has.
    chosen : ndarray of int
        Positions of the rows to remove, one at a time.

    Returns
    -------
    ndarray (len(chosen), m)
    """
    X, y, weight, _ = table
    out = np.zeros((len(chosen), len(names)))
    total = np.zeros(len(chosen))
    for fold, (train, test) in zip(folds, splits, strict=True):
        model = fold.model
        inputs = model.inputs(rows.take_user(X, train))
        targets = model.targets(rows.take_user(y, train))
        part = Objective.at_fit(model, inputs, targets, weight[train])
        measures = measures_of(criterion, model, *left_out(model, table, test))
        by_name = {measure.name: measure for measure in measures}
        where = {row: position for position, row in enumerate(train)}
        inside = [i for i, row in enumerate(chosen) if row in where]
        effects = refit.removal_effects(
            part,
            [by_name[name] for name in names],
            np.array([where[chosen[i]] for i in inside], dtype=int),
        )
        out[inside] += fold.share * part.total_weight / objective.total_weight * effects
        total[inside] += fold.share
    return out / total[:, None]


def left_out(model, table, test):
    """Prepared (X, y, weight, groups) of the rows that measure C of a fold."""
    X, y, weight, groups = table
    return (
        model.inputs(rows.take_user(X, test)),
        model.targets(rows.take_user(y, test)),
        weight[test],
        None if groups is None else groups[test],
    )


def splits_of(cv, objective, y, random_state):
    """(train, test) positions of the folds.

    Raises
    ------
    ValueError
        If a class has a single row, or there are fewer than two folds.
    """
    from sklearn.model_selection import KFold, StratifiedKFold, check_cv

    n = len(objective.weight)
    if not isinstance(cv, (int, np.integer)):
        return list(check_cv(cv).split(np.zeros(n), y))
    n_splits, kind = min(int(cv), n), KFold
    if objective.model.classes is not None:
        kind = StratifiedKFold
        counts = np.bincount(objective.y[objective.weight > 0])
        counts = counts[counts > 0]
        rare = int(counts.min())
        if rare < 2 or len(counts) < 2:
            raise ValueError(
                "Cross-fitting needs at least two rows of every class, one class has "
                f"n_samples={rare}: pass X_val= and y_val= or more rows."
            )
        if rare < n_splits:
            warn(
                f"cv={cv} folds were reduced to {rare}: the rarest class has {rare} "
                "rows. Pass X_val= and y_val= for a single fit.",
                PatchWarning,
            )
        n_splits = min(n_splits, rare)
    if n_splits < 2:
        raise ValueError(
            f"Cross-fitting needs cv >= 2 and at least two rows; cv={cv}, "
            f"n_samples={n}. Pass X_val= and y_val= for a single fit."
        )
    splitter = kind(n_splits, shuffle=True, random_state=random_state)
    return list(splitter.split(np.zeros(n), objective.y))
