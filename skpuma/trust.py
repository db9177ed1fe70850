"""How far psi can be trusted: real removals, and intervals from a bootstrap.

``removals`` takes rows or groups out and refits. ``bootstrap`` asks how psi would have
come out had the criterion been measured on other rows: grad C is taken under random
weights of the rows that measure it (the Bayesian bootstrap: independent exponential
weights), one multi-column solve turns it into s, and one pass over the training rows
into psi of every replicate. Nothing is fitted again.

References
----------
D. B. Rubin, "The Bayesian Bootstrap", The Annals of Statistics 9(1), 1981.
"""

from dataclasses import dataclass

import numpy as np

from skpuma import refit, rows, scores, valuing
from skpuma.criteria import measures_of

# Bytes of one table of rows and replicates; two of them are held at a time.
# Relative residual of iterative solves: what every replicate shares, and how each
# differs from it, of which only the spread counts.
SHARED_RESIDUAL, SPREAD_RESIDUAL = 1e-3, 0.1
TABLE_BYTES = 20 * 2**20


def removals(objective, table, valued, criterion, names, members):
    """Effects of removing rows or groups, by refits of every fold that trained on them.

    Parameters
    ----------
    objective : Objective
        Of the full fit.
    table : (X, y, weight, groups)
    valued : (folds, splits), as in `valuing.Valuation`
    criterion, names
        The criteria, and those of their parts that every fold has.
    members : list of ndarray
        Positions of the rows to remove together; every fold trained on all or none.

    Returns
    -------
    ndarray (len(members), m)
    """
    out = np.zeros((len(members), len(names)))
    total = np.zeros(len(members))
    for fold, (train, test) in zip(*valued, strict=True):
        part = valuing.fold_objective(fold, table, train)
        measures = _fold_measures(fold, table, test, criterion, names)
        where = np.full(len(table[2]), -1)
        where[train] = np.arange(len(part.weight))
        inside = [i for i, one in enumerate(members) if (where[one] >= 0).all()]
        effects = refit.removal_effects(
            part, measures, [where[members[i]] for i in inside]
        )
        out[inside] += fold.share * part.total_weight / objective.total_weight * effects
        total[inside] += fold.share
    return out / total[:, None]


def spread(effect, usable, count):
    """Positions of some usable rows, evenly over their ranking, both ends included."""
    used = np.flatnonzero(usable)
    order = used[np.argsort(effect[used], kind="stable")]
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round()
    return np.unique(order[places.astype(int)])


def leaves_classes(objective, index):
    """Whether every class of the fit keeps a row when those of `index` go."""
    return bool(scores.keeps_classes(objective, [np.atleast_1d(index)])[0])


def _fold_measures(fold, table, test, criterion, names):
    """The criteria on the rows that a fold left out, in the order of `names`."""
    measured = valuing.left_out(fold.model, table, test)
    measures = measures_of(criterion, fold.model, *measured)
    by_name = {measure.name: measure for measure in measures}
    return [by_name[name] for name in names]


# -- bootstrap -------------------------------------------------------------------------


@dataclass(frozen=True)
class Replicates:
    """One fitted model under every reweighting of the rows that measure C.

    Attributes
    ----------
    train : ndarray of int
        Rows that the model was trained on.
    share : float
        Weight of the model in averages over folds.
    S : ndarray (m, p, B)
        ``H^-1 grad C`` of every criterion and replicate.
    objective : callable
        () -> Objective of the training rows, built again so that the rows of one fold
        are held at a time.
    """

    train: np.ndarray
    share: float
    S: np.ndarray
    objective: object


def replicates_of(objective, measured, settings, names, n_bootstrap, rng, known=None):
    """S (m, p, B) of one model under reweighted rows (X, y, weight, groups).

    `known` is the solver and S (p, m) of the model under the weights as they are, where
    there are such.
    """
    model = objective.model
    used = measured[2] > 0
    X, y, weight, groups = measured
    X, y, weight = X[used], y[used], weight[used]
    groups = None if groups is None else groups[used]
    # Bound to their own positions as weights, measures say which rows are theirs.
    places = np.arange(1.0, len(weight) + 1.0)
    measures = measures_of(settings.criterion, model, X, y, places, groups)
    bound = {measure.name: measure for measure in measures}
    gradients = np.empty((len(names), model.n_parameters, n_bootstrap + 1))
    parts = [_reweighted(bound[name], model) for name in names]
    batch = max(TABLE_BYTES // (8 * len(weight) * model.n_outputs), 1)
    for c, gradient in enumerate(parts):
        gradients[c, :, :1] = gradient(weight[None])
    for b in range(0, n_bootstrap, batch):
        size = min(batch, n_bootstrap - b)
        factors = weight * rng.exponential(size=(size, len(weight)))
        for c, gradient in enumerate(parts):
            gradients[c, :, b + 1 : b + size + 1] = gradient(factors)
    solver, shared = (settings.factored(objective), None) if known is None else known
    if not solver.iterative:
        return np.stack([scores.solve_criteria(solver, g[:, 1:]) for g in gradients])
    if shared is None:
        loose = solver.loosened(SHARED_RESIDUAL)
        shared = np.hstack([scores.solve_criteria(loose, g[:, :1]) for g in gradients])
    loose = solver.loosened(SPREAD_RESIDUAL)
    spread = [scores.solve_criteria(loose, g[:, 1:] - g[:, :1]) for g in gradients]
    return shared.T[:, :, None] + np.stack(spread)


def _reweighted(measure, model):
    """Function: sets of weights (B, n) of all rows that measure -> grad C (p, B)."""
    inputs = getattr(measure.criterion, "inputs", None)
    X = measure.X if inputs is None else inputs(model, measure.X, measure.y)
    z = model.raw(X)
    mine = measure.weight.astype(int) - 1

    def gradient(weights):
        U = np.empty((*z.shape, len(weights)))
        for b, weight in enumerate(weights):
            U[:, :, b] = measure.criterion.grad_raw(
                z, measure.y, sample_weight=weight[mine], groups=measure.groups
            )
        return model.vjp_columns(X, U)

    return gradient


def of_one_fit(objective, measured, settings, names, n_bootstrap, rng):
    """`Replicates` of a fit whose criterion is measured on validation rows."""
    S = replicates_of(objective, measured, settings, names, n_bootstrap, rng)
    train = np.arange(len(objective.weight))
    return [Replicates(train, 1.0, S, lambda: objective)]


def of_folds(table, valued, settings, names, n_bootstrap, rng):
    """`Replicates` of a cross-fitted valuation: each fold's left-out rows vary."""
    out = []
    for fold, (train, test) in zip(*valued, strict=True):

        def objective(fold=fold, train=train):
            return valuing.fold_objective(fold, table, train)

        measured = valuing.left_out(fold.model, table, test)
        S = replicates_of(objective(), measured, settings, names, n_bootstrap, rng)
        out.append(Replicates(np.asarray(train), fold.share, S, objective))
    return out


def measured_folds(table, valued, criterion, names):
    """(objective, measures, share) of every fold of a cross-fitted valuation."""
    for fold, (train, test) in zip(*valued, strict=True):
        measures = _fold_measures(fold, table, test, criterion, names)
        yield valuing.fold_objective(fold, table, train), measures, fold.share


@dataclass(frozen=True)
class Intervals:
    """Bootstrap quantiles of psi, and of the rank of its linear effect; all (n, m).

    Rank 1 is the most harmful row. nan for rows that no fold trained on.
    """

    low: np.ndarray
    high: np.ndarray
    rank_low: np.ndarray
    rank_high: np.ndarray


def intervals(replicates, weight, level):
    """Quantiles over the replicates, at most `TABLE_BYTES` at a time.

    The rows are taken in blocks for which a float32 table of all replicates fits, and
    for each block the replicates in batches for which a float64 table of all rows fits
    (a rank needs them all). Up to some 25,000 rows with 200 replicates that is a
    single pass; beyond, one pass per block: the quantiles are exact at any size.

    Parameters
    ----------
    replicates : list of Replicates
    weight : ndarray (n,)
        Effective weights of the training rows.
    level : float
        Coverage of the intervals.

    Returns
    -------
    Intervals
    """
    n = len(weight)
    m, _, n_bootstrap = replicates[0].S.shape
    tails = [0.5 * (1.0 - level), 0.5 * (1.0 + level)]
    block = max(TABLE_BYTES // (4 * n_bootstrap), 1)
    batch = max(TABLE_BYTES // (8 * n), 1)
    low, high, first, last = np.empty((4, n, m))
    for c in range(m):
        for start in range(0, n, block):
            inside = slice(start, min(start + block, n))
            psi = np.empty((inside.stop - start, n_bootstrap), dtype=np.float32)
            rank = np.empty_like(psi)
            for b in range(0, n_bootstrap, batch):
                columns = slice(b, min(b + batch, n_bootstrap))
                table = _psi(replicates, n, c, columns)
                psi[:, columns] = table[inside]
                for column, values in enumerate(table.T, b):
                    rank[:, column] = ranks(values * weight)[inside]
            low[inside, c], high[inside, c] = _quantiles(psi, tails)
            first[inside, c], last[inside, c] = _quantiles(rank, tails)
    return Intervals(low, high, np.floor(first), np.ceil(last))


def _psi(replicates, n, c, columns):
    """psi of all rows for one criterion and some replicates (n, b)."""
    if len(replicates) == 1 and len(replicates[0].train) == n:
        (one,) = replicates
        return scores.psi_matrix(one.objective(), one.S[c][:, columns])
    out, total = np.zeros((n, columns.stop - columns.start)), np.zeros(n)
    for one in replicates:
        values = scores.psi_matrix(one.objective(), one.S[c][:, columns])
        out[one.train] += one.share * values
        total[one.train] += one.share
    total[total == 0] = np.nan
    out /= total[:, None]
    return out


def _quantiles(table, tails):
    """Quantiles over the columns, a block of rows at a time (the copies are large)."""
    out = np.empty((2, len(table)))
    for block in rows.blocks(len(table), 16 * table.shape[1]):
        out[:, block] = np.quantile(table[block], tails, axis=1)
    return out


def ranks(effect):
    """1 for the lowest, every rank once; nan stays (n,)."""
    out = np.empty(len(effect))
    out[np.argsort(effect)] = np.arange(1.0, len(effect) + 1.0)
    out[np.isnan(effect)] = np.nan
    return out
