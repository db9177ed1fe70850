"""What a fitted valuator shows as frames: suspects, conflicts, Pareto fronts."""

import numpy as np

from skpuma import tradeoffs
from skpuma._dask_rows import computed, is_dask, lowest, refuse
from skpuma._meta import require_fitted
from skpuma.reporting import (
    conflict_frame,
    front_frame,
    inspect_frame,
    valuation_facts,
)
from skpuma.utils._validation import check_whole


class Inspecting:
    """Frames of `PumaValuator` over its rows or groups."""

    def inspect(self, top=None, sort_by=None, by="row"):
        """Rows, or groups, as a DataFrame, the most harmful first.

        Parameters
        ----------
        top : int, optional
            Only so many. Needed where the rows are a dask collection.
        sort_by : str, optional
            Criterion to sort by; default the first.
        by : {"row", "group"}, default "row"
            "group": one line per label of the ``groups`` that `fit` was given.

        Returns
        -------
        DataFrame
            Rows: on the user's index (pass it to `PumaPatcher.patch`), with
            ``position`` in X, ``weight`` (the user's times the class weight), for every
            criterion ``psi_<name>`` (W times the change of C per unit of weight that
            the row loses, in units of C; W is the sum of the weights) and
            ``removal_effect_<name>`` (change of C if the row is removed, in units of
            C), and ``leverage`` if it was computed.
            Groups: on their labels (pass them to `PumaPatcher.patch` with ``groups``),
            with ``n_rows``, ``weight`` (their sum), and for every criterion
            ``psi_<name>`` (``group_psi_``) and ``removal_effect_<name>`` (change of C
            if the whole group is removed).
        """
        self._check_top(top)
        require_fitted(self, "psi_")
        names = self.criterion_names_
        column = 0
        if sort_by is not None:
            if sort_by not in names:
                raise ValueError(f"sort_by={sort_by!r} is not one of {names}.")
            column = names.index(sort_by)
        if by == "row" and is_dask(self.psi_):
            units, psi, effect, more = self._fetched(top, column)
        else:
            units, psi, effect = self._by(by)
            more = {}
            if by == "row" and hasattr(self, "leverage_"):
                more["leverage"] = self.leverage_
        return inspect_frame(units, names, psi, effect, column, more).iloc[:top]

    def _fetched(self, top, column):
        """What `inspect` shows of the `top` rows of a dask collection."""
        import pandas as pd

        if top is None:
            raise ValueError(
                "The rows are a dask collection: say how many to fetch, such as "
                "inspect(top=100). psi_ and removal_effect_ hold them all."
            )
        at = np.sort(lowest(self.removal_effect_, top, column))
        found = [self.psi_[at], self.removal_effect_[at], self._weight[at]]
        if hasattr(self, "leverage_"):
            found.append(self.leverage_[at])
        psi, effect, weight, *leverage = computed(*found)
        more = dict(zip(["leverage"], leverage, strict=False))
        units = pd.RangeIndex(len(self.psi_))[at], {"position": at, "weight": weight}
        return units, psi, effect, more

    def _facts(self):
        # Rows that live elsewhere are not fetched to be looked at.
        if not hasattr(self, "psi_") or is_dask(self.psi_):
            return ""
        settings = {
            **self.curvature_info_,
            "damping": self.damping_,
            "effect": self.effect,
            "stationarity, in one-row displacements": self.stationarity_,
        }
        return valuation_facts(
            self.criterion_names_,
            self.criterion_value_,
            self.removal_effect_,
            self.inspect(),
            settings,
        )

    def _by(self, by):
        """((index, leading columns), psi, effect) of the rows or of the groups."""
        import pandas as pd

        require_fitted(self, "psi_")
        if by == "row":
            refuse(self.psi_, "This looks at all rows at once, and psi_ is")
            n = len(self.psi_)
            index = pd.RangeIndex(n) if self._index is None else self._index
            leading = {"position": np.arange(n), "weight": self._weight}
            return (index, leading), self.psi_, self.removal_effect_
        if by != "group":
            raise ValueError(f"by={by!r} is neither 'row' nor 'group'.")
        if self._grouped is None:
            raise ValueError("by='group' needs groups: pass groups= to fit.")
        index = pd.Index(self.groups_, name="group")
        leading = {"n_rows": self._grouped.sizes, "weight": self._grouped.weight}
        return (index, leading), self.group_psi_, self.group_effect_

    def _check_top(self, top, name="top"):
        if top is not None:
            check_whole(top, name, low=0)

    def conflicts(self, top=None, by="row"):
        """Rows that help one criterion and hurt another.

        Patching for one criterion can break the next (Blog fig. 3: robustness is
        gained, fairness lost). These are the rows to leave alone, or to compensate for.

        Parameters
        ----------
        top : int, optional
            Only so many.
        by : {"row", "group"}, default "row"

        Returns
        -------
        DataFrame
            The strongest conflict first, on the index and with the leading columns of
            `inspect`. ``scaled_effect_<name>``: the removal effect on each criterion in
            units of its spread over the rows (1.4826 times the median absolute
            deviation); negative: the criterion improves without the row. ``conflict``:
            the smaller of the largest improvement and the largest worsening, 0 where
            all criteria agree. ``helps`` and ``hurts``: names of the criteria that the
            row helps (they get worse without it) and hurts (they improve).

        Raises
        ------
        ValueError
            If there are fewer than two criteria.
        """
        units, _, effect = self._several(by)
        self._check_top(top)
        weight = units[1]["weight"]
        scaled = effect / tradeoffs.spreads(effect[weight > 0])
        strength = tradeoffs.conflict(scaled)
        frame = conflict_frame(units, self.criterion_names_, scaled, strength)
        return frame.iloc[:top]

    def pareto_fronts(self, n_fronts=None, by="row"):
        """Rows whose removal no other row's removal is better than, in fronts.

        The removal effects on all criteria are costs. One removal dominates another if
        it is lower in one of them and higher in none; the first front holds what
        nothing dominates, the second what only the first dominates, and so on.

        Parameters
        ----------
        n_fronts : int, optional
            Only the first so many fronts.
        by : {"row", "group"}, default "row"

        Returns
        -------
        DataFrame
            The first front first, on the index and with the leading columns of
            `inspect`: ``front`` (1 is the first) and ``removal_effect_<name>`` in the
            units of each criterion. Rows without weight, and those that have no effect
            (nan), have nothing to remove and are left out.

        Raises
        ------
        ValueError
            If there are fewer than two criteria.
        """
        units, _, effect = self._several(by)
        self._check_top(n_fronts, "n_fronts")
        used = (units[1]["weight"] > 0) & np.isfinite(effect).all(axis=1)
        front = np.zeros(len(effect), dtype=int)
        front[used] = tradeoffs.fronts(effect[used])
        if n_fronts is not None:
            used &= front <= n_fronts
        return front_frame(units, self.criterion_names_, effect, front, used)

    def _several(self, by):
        """`_by`, for two criteria or more."""
        found = self._by(by)
        if len(self.criterion_names_) < 2:
            raise ValueError(
                "A conflict needs at least two criteria, this valuator has "
                f"{self.criterion_names_}: pass a list, such as criterion=['log_loss', "
                "'calibration_error']."
            )
        return found
