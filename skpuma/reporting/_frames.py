"""What a valuator found, as DataFrames on the user's index, the most telling first."""

import numpy as np


def inspect_frame(units, names, psi, effect, column=0, more=None):
    """psi and removal effects, the most harmful row (or group) first.

    Parameters
    ----------
    units : (index, dict of leading columns)
    names : list of str
        Criteria.
    psi, effect : ndarray (n, m)
    column : int
        Criterion to sort by.
    more : dict, optional
        Further columns.
    """
    data = {}
    for c, name in enumerate(names):
        data[f"psi_{name}"] = psi[:, c]
        data[f"removal_effect_{name}"] = effect[:, c]
    order = np.argsort(effect[:, column], kind="stable")
    return _frame(units, {**data, **(more or {})}, order)


def interval_frame(units, names, psi, rank, intervals, weight):
    """psi with the quantiles of its bootstrap, the most harmful row first.

    `act` is whether an interval leaves zero out and the row has any weight.
    """
    data = {}
    for c, name in enumerate(names):
        low, high = intervals.low[:, c], intervals.high[:, c]
        data[f"psi_{name}"] = psi[:, c]
        data[f"low_{name}"] = low
        data[f"high_{name}"] = high
        data[f"rank_{name}"] = _whole(rank[:, c])
        data[f"rank_low_{name}"] = _whole(intervals.rank_low[:, c])
        data[f"rank_high_{name}"] = _whole(intervals.rank_high[:, c])
        data[f"act_{name}"] = ((low > 0) | (high < 0)) & (weight > 0)
    return _frame(units, data, np.argsort(rank[:, 0], kind="stable"))


def conflict_frame(units, names, scaled, strength):
    """Scaled removal effects and what they help and hurt, the strongest first."""
    data = {f"scaled_effect_{name}": scaled[:, c] for c, name in enumerate(names)}
    data["conflict"] = strength
    data["helps"] = _named(scaled > 0, names)
    data["hurts"] = _named(scaled < 0, names)
    return _frame(units, data, np.argsort(-strength, kind="stable"))


def front_frame(units, names, effect, front, used):
    """Pareto fronts of the rows in `used`, the first front first."""
    data = {"front": front}
    for c, name in enumerate(names):
        data[f"removal_effect_{name}"] = effect[:, c]
    order = np.flatnonzero(used)
    order = order[np.lexsort((effect[order, 0], front[order]))]
    return _frame(units, data, order)


def damping_frame(names, curves, shares):
    """Rank correlation and overlap by damping, averaged over folds."""
    import pandas as pd

    data = {"relative": curves[0].damping / curves[0].mean_eigenvalue}
    for what in ("rank_correlation", "overlap"):
        each = np.average([getattr(one, what) for one in curves], 0, shares)
        for c, name in enumerate(names):
            data[f"{what}_{name}"] = each[:, c]
    return pd.DataFrame(data, index=pd.Index(curves[0].damping, name="damping"))


def diagnostics_frame(index, names, found):
    """Regression diagnostics, in the order of the rows."""
    import pandas as pd

    data = {
        "leverage": found.leverage,
        "residual": found.residual,
        "cooks_distance": found.cooks_distance,
    }
    for name, column in zip(names, found.dfbetas.T, strict=True):
        data[f"dfbetas_{name}"] = column
    return pd.DataFrame(data, index=index)


def _frame(units, data, order):
    import pandas as pd

    index, leading = units
    return pd.DataFrame({**leading, **data}, index=index).iloc[order]


def _whole(values):
    """Integers, as long as none is missing."""
    return values if np.isnan(values).any() else values.astype(int)


def _named(chosen, names):
    """The names of the criteria of every row, in one string."""
    return [
        ", ".join(name for name, one in zip(names, row, strict=True) if one)
        for row in chosen.tolist()
    ]
