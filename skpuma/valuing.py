"""Valuing the rows of a fit: one model with validation rows, or cross-fitted folds."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from skpuma import rows, scores
from skpuma.criteria import measures_of
from skpuma.curvature import curvature_of
from skpuma.models import adapt
from skpuma.objective import Objective
from skpuma.solvers import MATRIX_WORK, factor
from skpuma.utils.errors import PatchWarning, SolverError, warn

# Relative residual at which an iterative solve of psi may stop.
PSI_RESIDUAL = 1e-4
# Targets at which `transform` tells a psi that is no affine function of them.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

# Rows whose targets stand for those of all blocks there.
GRID_ROWS = 2000


@dataclass(frozen=True)
class Settings:
    """How rows are valued; most attributes are parameters of `PumaValuator`."""

    criterion: object = "auto"
    effect: str = "linear"
    curvature: str = "auto"
    solver: str = "auto"
    damping: float | str = "auto"
    polish: bool = True
    # Whether to tell how far the model was from its optimum.
    distance: bool = True

    def _most_work(self, model):
        # The leverage of a network is worth the matrix.
        linear = self.effect == "linear" and model.convex
        return MATRIX_WORK if linear else np.inf

    def factored(self, objective):
        """The curvature that psi is solved with."""
        return factor(
            curvature_of(objective, self.curvature),
            self.solver,
            self.damping,
            most_work=self._most_work(objective.model),
        )

    def for_psi(self, solver):
        """The solver of psi: an iterative one of ours stops where psi is known.

        The relative error of psi is that of the solve, and 1e-4 is far below that of
        its first order; on sparse text it halves the products with H. A solver of the
        user's own keeps the tolerance that it was given.
        """
        return solver.loosened(PSI_RESIDUAL) if isinstance(self.solver, str) else solver

    def for_leverage(self, objective, solver):
        """The factor of leverage and one-step effects: the asked curvature.

        Without damping for models that are linear in their parameters, unless it is
        singular; networks keep theirs, which they cannot be factored without. Where
        psi was solved by products there is none: a matrix costs more than psi did.
        """
        if solver.damping == 0 or solver.iterative or not objective.model.convex:
            return solver
        return factor(curvature_of(objective, self.curvature), self.solver, "auto")

    def undamped(self, objective, near=None):
        """The true curvature of Newton steps and leverage, damped only if singular."""
        if self.effect == "one_step" and self.solver in ("cg", "lissa"):
            raise SolverError(
                "effect='one_step' needs explicit curvature: use solver='cholesky' or "
                "effect='linear'."
            )
        return factor(
            curvature_of(objective),
            self.solver,
            near=near,
            most_work=self._most_work(objective.model),
        )


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

    def label_free(self, X, classes, grid):
        """psi for every label (n, m, n_labels); (const, slopes) for regressors.

        Where psi is no affine function of the target, it is told at the targets of
        `grid` instead.
        """
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
        if grid is not None:
            for target in grid:
                r = model.loss.gradient(z, np.full((len(z), 1), target))
                out.append(np.einsum("nk,nkm->nm", r, forward) + self.constant)
            return np.stack(out, axis=2)
        at_zero = model.loss.gradient(z, np.zeros_like(z))
        slope = model.loss.gradient(z, np.ones_like(z)) - at_zero
        out.append(np.einsum("nk,nkm->nm", at_zero, forward) + self.constant)
        out += [slope[:, a, None] * forward[:, a] for a in range(model.n_outputs)]
        return np.stack(out, axis=2)


def valuated(X, y, folds):
    """psi of a user's rows with their labels (n, m), averaged over folds."""
    return _mean([fold.valuate(X, y) for fold in folds], folds)


def label_free(X, y, folds, classes, grid):
    """`Fold.label_free`, averaged over folds (n, columns); y plays no part."""
    table = _mean([fold.label_free(X, classes, grid) for fold in folds], folds)
    return table.reshape(len(table), -1)


def _mean(by_fold, folds):
    """Mean over folds, weighted by the rows that measured C."""
    return np.average(by_fold, axis=0, weights=[fold.share for fold in folds])


def leaves_active_set(objective, solver, rows_asked):
    """How many of the rows, removed one at a time, would change the active set.

    Parameters
    ----------
    objective : Objective
        At the optimum of a model with an L1 penalty.
    rows_asked : ndarray of int
        Positions.
    """
    count = 0
    steps = solver.solve(objective.row_gradients(rows_asked).T).value
    for row, step in zip(rows_asked, steps.T, strict=True):
        weight = objective.weight.copy()
        weight[row] = 0.0
        moved = objective.at(objective.model.theta + step).reweighted(weight)
        count += objective.model.caveat(moved) is not None
    return count


def target_grid(objective):
    """Weighted quantiles of the targets, where psi is not affine in them; else None."""
    loss = objective.model.loss
    if loss.classification or loss.affine:
        return None
    if objective.partitioned:
        objective = objective.sample(GRID_ROWS, 0)
    order = np.argsort(objective.y[:, 0], kind="stable")
    share = np.cumsum(objective.weight[order]) / objective.weight.sum()
    # Rounding may leave the last share below 1.
    at = np.minimum(np.searchsorted(share, np.array(QUANTILES) - 1e-12), len(order) - 1)
    return objective.y[order[at], 0]


@dataclass(frozen=True)
class Valuation:
    """psi of the training rows, and what is needed to value others.

    Attributes
    ----------
    names : list of str
        Criteria.
    psi, effect : ndarray (n, m)
    group_psi, group_effect : ndarray (G, m) or None
        Of whole groups, if there are any.
    leverage : ndarray (n,) or None
    values : ndarray (m,)
        C on the rows that measure it.
    folds : list of Fold
    splits : list of (train, test) or None
    distance : scores.Stationarity or None
        Of the full fit, where it was asked for.
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
    group_psi: np.ndarray | None = None
    group_effect: np.ndarray | None = None

    def pick(self, names):
        """The same valuation for some of its criteria."""
        columns = [self.names.index(name) for name in names]
        groups = {}
        if self.group_effect is not None:
            groups["group_psi"] = self.group_psi[:, columns]
            groups["group_effect"] = self.group_effect[:, columns]
        return replace(
            self,
            names=list(names),
            psi=self.psi[:, columns],
            effect=self.effect[:, columns],
            values=self.values[columns],
            folds=[fold.pick(columns) for fold in self.folds],
            **groups,
        )


def with_validation_rows(objective, validation, settings, grouping=None):
    """Value the rows of one fit; `validation` is (X, y, weight, groups), prepared."""
    measures = measures_of(settings.criterion, objective.model, *validation)
    return valued(objective, measures, settings, float(validation[2].sum()), grouping)


def valued(objective, measures, settings, share, grouping=None):
    """Value the rows of one fit by bound criteria; `share` is their rows' weight."""
    objective, solver, distance, converged = _at_optimum(objective, settings)
    model = objective.model
    gradients = np.stack([m.gradient(model) for m in measures], axis=1)
    for_psi = settings.for_psi(solver)
    S = scores.solve_criteria(for_psi, gradients)
    solver.max_residual = max(solver.max_residual, for_psi.max_residual)
    psi = scores.psi_matrix(objective, S)
    effect = psi * (objective.weight / objective.total_weight)[:, None]
    leverage = group_psi = group_effect = None
    if grouping is not None:
        group_psi = grouping.total(objective.weight[:, None] * psi)
        group_effect = group_psi / objective.total_weight
    if settings.effect == "one_step":
        exact = settings.for_leverage(objective, solver)
        effect, leverage = scores.one_step_effects(objective, exact, measures)
        if grouping is not None:
            group_effect, _ = scores.group_effects(
                objective, exact, measures, grouping.members
            )
    constant = np.zeros(S.shape[1])
    if model.kind != "sum":
        constant = objective.penalty_share @ S
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
        group_psi=group_psi,
        group_effect=group_effect,
    )


def _at_optimum(objective, settings):
    """(objective, solver, distance before, converged), polished where that is asked."""
    solver = settings.factored(objective)
    distance = scores.stationarity(objective, solver) if settings.distance else None
    if not (settings.polish and objective.model.convex):
        return objective, solver, distance, True
    newton = settings.curvature != "fisher"
    # Handed over, not kept: two factors at a time are enough.
    held = [solver if newton else None]
    del solver
    objective, kept, converged = scores.polish(objective, settings.undamped, held.pop())
    if not newton or kept is None or settings.damping not in ("auto", kept.damping):
        kept = settings.factored(objective)
    return objective, kept, distance, converged


def cross_fitted(
    objective,
    table,
    fit,
    splits,
    settings,
    grouping=None,
    n_jobs=None,
    verbose=0,
    run=None,
):
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
    grouping : Grouping, optional
        Each of its groups is, in every fold, among the training rows or not.
    run : callable, optional
        Hands back the list of results of the folds' delayed calls, instead of joblib
        with `n_jobs` and `verbose`; of the first of them, if it was interrupted.

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
    run = run or Parallel(n_jobs=n_jobs, verbose=verbose)
    done = run(
        delayed(_one_fold)(table, fit, train, test, settings, grouping)
        for train, test in splits
    )
    kept = [(split, one) for split, one in zip(splits, done, strict=False) if one]
    if not kept:
        raise ValueError(
            "No fold has rows with a positive weight that measure the criterion."
        )
    first = kept[0][1][0].names
    names = [c for c in first if all(c in one.names for _, (one, _) in kept)]
    polished, solver, distance, converged = _at_optimum(objective, settings)
    done = [one.pick(names) for _, (one, _) in kept]
    folds = [one.folds[0] for one in done]
    return Valuation(
        names=names,
        values=np.average(
            [one.values for one in done], axis=0, weights=[f.share for f in folds]
        ),
        folds=folds,
        splits=[split for split, _ in kept],
        distance=distance,
        solver=solver,
        model=polished.model,
        converged=converged and all(one.converged for one in done),
        **_over_folds(objective, kept, done, settings.effect, grouping),
    )


def _over_folds(objective, kept, done, effect, grouping):
    """psi, effects and leverage of rows and groups, averaged over the folds."""
    n, W = len(objective.weight), objective.total_weight
    trains = [train for (train, _), _ in kept]
    shares = [one.folds[0].share for one in done]
    # The fold's W is smaller than that of the full fit.
    scales = [total / W for _, (_, total) in kept]
    psi = _averaged(n, trains, shares, [one.psi for one in done])
    scaled = [c * one.effect for c, one in zip(scales, done, strict=True)]
    out = {"psi": psi, "effect": _averaged(n, trains, shares, scaled), "leverage": None}
    if effect == "one_step":
        scaled = [c * one.leverage for c, one in zip(scales, done, strict=True)]
        out["leverage"] = _averaged(n, trains, shares, scaled)
    if grouping is None:
        return out
    counted = np.where(objective.weight[:, None] > 0, psi, 0.0)
    out["group_psi"] = grouping.total(objective.weight[:, None] * counted)
    out["group_effect"] = out["group_psi"] / W
    if effect == "one_step":
        present = [np.flatnonzero(grouping.take(train).sizes) for train in trains]
        scaled = [
            c * one.group_effect[index]
            for c, one, index in zip(scales, done, present, strict=True)
        ]
        size = len(grouping.labels)
        out["group_effect"] = _averaged(size, present, shares, scaled)
    return out


def _averaged(size, where, shares, values):
    """Averages over folds of what each knows about some of `size` rows or groups.

    nan for those that no fold knows.
    """
    out, total = np.zeros((size, *values[0].shape[1:])), np.zeros(size)
    for index, share, one in zip(where, shares, values, strict=True):
        out[index] += share * one
        total[index] += share
    total[total == 0] = np.nan
    return (out.T / total).T


def _one_fold(table, fit, train, test, settings, grouping=None):
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
    inside = None if grouping is None else grouping.take(train)
    one = with_validation_rows(objective, measured, settings, inside)
    return one, objective.total_weight


def fold_objective(fold, table, train):
    """The objective of a fold's fit, from the user's rows once more."""
    X, y, weight, _ = table
    model = fold.model
    inputs = model.inputs(rows.take_user(X, train))
    targets = model.targets(rows.take_user(y, train))
    return Objective.at_fit(model, inputs, targets, weight[train])


def left_out(model, table, test):
    """Prepared (X, y, weight, groups) of the rows that measure C of a fold."""
    X, y, weight, groups = table
    return (
        model.inputs(rows.take_user(X, test)),
        model.targets(rows.take_user(y, test)),
        weight[test],
        None if groups is None else groups[test],
    )


def splits_of(cv, objective, y, random_state, grouping=None):
    """(train, test) positions of the folds.

    With a `grouping`, an int means folds that keep every group on one side, with about
    the same share of every class; a splitter is given the groups.

    Raises
    ------
    ValueError
        If a class has a single row, there are fewer than two folds or fewer groups
        than folds, or a splitter takes a group apart.
    """
    from sklearn.model_selection import KFold, StratifiedKFold, check_cv

    n = len(objective.weight)
    if not isinstance(cv, (int, np.integer)):
        code = None if grouping is None else grouping.code
        splits = list(check_cv(cv).split(np.zeros(n), y, code))
        return _kept_together(splits, grouping)
    if grouping is not None and cv >= 2:
        return _grouped_splits(int(cv), objective, random_state, grouping)
    n_splits, kind = min(int(cv), n), KFold
    if objective.model.classes is not None and objective.y.ndim == 1:
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


def _grouped_splits(n_splits, objective, random_state, grouping):
    """Folds of whole groups, for an int."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    used = objective.weight > 0
    available = np.count_nonzero(grouping.take(used).sizes)
    if available < n_splits:
        raise ValueError(
            f"cv={n_splits} folds of whole groups need as many groups, but groups has "
            f"n_groups={available} with a positive weight: pass a smaller cv, or "
            "X_val= and y_val= for a single fit."
        )
    if objective.model.classes is None or objective.y.ndim > 1:
        return list(GroupKFold(n_splits).split(used, groups=grouping.code))
    splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=random_state)
    splits = list(splitter.split(used, objective.y, grouping.code))
    present = np.unique(objective.y[used])
    for train, _ in splits:
        seen = objective.y[train][used[train]]
        absent = np.setdiff1d(present, seen)
        if len(absent):
            (name, *_) = objective.model.classes[absent].tolist()
            raise ValueError(
                f"Class {name!r} is in so few groups that with cv={n_splits} a fold "
                "has no row of it to train on: pass X_val= and y_val=, or a splitter "
                "whose folds have rows of each class."
            )
    return splits


def _kept_together(splits, grouping):
    """The splits, if each keeps all rows of a group on one side."""
    if grouping is None:
        return splits
    for train, _ in splits:
        inside = np.bincount(grouping.code[train], minlength=len(grouping.labels))
        apart = (inside > 0) & (inside < grouping.sizes)
        if apart.any():
            (name, *_) = grouping.labels[apart].tolist()
            raise ValueError(
                f"cv takes {int(apart.sum())} groups apart, such as {name!r}: rows of "
                "a group would measure the criterion that values it. Pass a splitter "
                "that keeps groups together, such as GroupKFold, or an int."
            )
    return splits
