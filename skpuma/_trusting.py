"""How far a fitted valuator can be trusted: leverage, real removals, intervals."""

import numpy as np
from sklearn.utils import check_random_state

from skpuma import refit, scores, trust
from skpuma._meta import criterion_rows, n_rows, require_fitted
from skpuma.criteria import measures_of
from skpuma.diagnostics import diagnostics
from skpuma.objective import Objective, fingerprint, same_rows
from skpuma.reporting import (
    InfluenceCheck,
    damping_frame,
    diagnostics_frame,
    interval_frame,
)
from skpuma.stability import damping_curve
from skpuma.utils._grouping import check_grouping
from skpuma.utils._validation import (
    check_groups,
    check_number,
    check_same_index,
    check_weights,
    check_whole,
)
from skpuma.utils.errors import SolverError


class Trusting:
    """Checks of `PumaValuator`, for which the rows of the fit are asked for again."""

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

    def diagnostics(self, X, y, sample_weight=None):
        """Leverage, Cook's distance and DFBETAS of the rows of the fit.

        The closed forms of regression diagnostics, at the optimum of the full fit; they
        agree with statsmodels where there is no penalty. They look at the parameters,
        not at a criterion.

        Parameters
        ----------
        X, y, sample_weight : as in `fit`

        Returns
        -------
        DataFrame
            On the user's index: ``leverage`` (0 to 1), ``residual`` (Pearson's,
            studentised), ``cooks_distance`` and one column ``dfbetas_<feature>`` for
            every coefficient, and for the intercept: by how many standard errors the
            row raises it.

        Raises
        ------
        NotDifferentiableError
            If the model is not a linear regression, Ridge, binary LogisticRegression,
            or a Poisson, gamma or Tweedie regression with one output.
        ValueError
            If the rows or weights are not those of `fit`.

        References
        ----------
        D. A. Belsley, E. Kuh, R. E. Welsch, "Regression Diagnostics", 1980. R. D. Cook,
        "Detection of Influential Observation in Linear Regression", Technometrics 19,
        1977.
        """
        objective = self._rows_of_fit(X, y, sample_weight)
        found = diagnostics(objective, self.solver)
        return diagnostics_frame(self._by("row")[0][0], _names(objective), found)

    def _rows(self, X, y, sample_weight):
        require_fitted(self, "_record")
        model = self._model
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
        groups=None,
    ):
        """Remove rows, or whole groups, for real and compare with their effects.

        Refits are tight, under the frozen preprocessing and class weights of the fit.
        The rows are spread evenly over the ranking, both ends included.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val : as in `fit`
            No rows are kept in the object, so they are asked for again.
        n_rows : int, default 30
            At least 3; the number of groups with `groups`.
        groups : array-like (n,), optional
            Those of `fit`: whole groups are removed and compared with
            ``group_effect_``. Groups whose removal leaves no row of a class are left
            out.

        Returns
        -------
        InfluenceCheck
            With ``pearson``, ``spearman`` and ``slope`` (of refitted on predicted
            effects) per criterion.

        Raises
        ------
        ValueError
            If the rows, their weights or groups, or the rows that measure the criterion
            are not those of `fit`.
        """
        objective = self._rows_of_fit(X, y, sample_weight)
        unit = "rows" if groups is None else "groups"
        (_, leading), _, effect = self._by(unit[:-1])
        usable = (leading["weight"] > 0) & np.isfinite(effect[:, 0])
        if groups is None:
            chosen = trust.spread(effect[:, 0], usable, n_rows)
            removed = list(chosen[:, None])
        else:
            members = self._groups_of_fit(groups, X).members
            usable &= [trust.leaves_classes(objective, one) for one in members]
            chosen = trust.spread(effect[:, 0], usable, n_rows)
            removed = [members[one] for one in chosen]
        val = (X_val, y_val, sample_weight_val, sensitive_features_val)
        if self._splits_used is None:
            _, measures = self._measured_of_fit(val)
            refitted = refit.removal_effects(objective, measures, removed)
        else:
            refitted = trust.removals(
                objective,
                self._table_of_fit(X, y, sample_weight, sensitive_features, val),
                (self._folds, self._splits_used),
                self.criterion,
                self.criterion_names_,
                removed,
            )
        note = ""
        if not objective.model.convex:
            note = (
                "Refits start at the fitted parameters; a model that is not convex may "
                "still end elsewhere."
            )
        return InfluenceCheck(
            tuple(self.criterion_names_), chosen, effect[chosen], refitted, note, unit
        )

    def intervals(
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
        n_bootstrap=200,
        level=0.95,
        random_state=None,
    ):
        """How far psi depends on which rows happened to measure the criterion.

        The rows that measure C get random weights (the Bayesian bootstrap: independent
        exponential ones, times their own), psi is computed under each set of them, and
        its quantiles are an interval. The model and its training rows are taken as they
        are: nothing is fitted again. After cross-fitting, the rows of every fold are
        reweighted, and the folds averaged as for ``psi_``.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val : as in `fit`
            No rows are kept in the object, so they are asked for again.
        sensitive_features, sensitive_features_val : as in `fit`
        n_bootstrap : int, default 200
            Number of sets of weights, at least 2.
        level : float, default 0.95
            Coverage of the intervals, between 0 and 1.
        random_state : int, RandomState or None, default None
            Draws the weights.

        Returns
        -------
        DataFrame
            On the user's index, the most harmful row (by the linear effect ``w psi`` of
            the first criterion) first, with ``position``, ``weight`` and for every
            criterion: ``psi_<name>``, ``low_<name>`` and ``high_<name>`` in the units
            of psi; ``rank_<name>`` of ``w psi`` among the rows (1 is the most harmful),
            with ``rank_low_<name>`` and ``rank_high_<name>``; and ``act_<name>``, which
            is False where the interval straddles zero (or the row has no weight): do
            not act on such a row, other rows would have said the opposite.

        Raises
        ------
        ValueError
            If the rows, their weights, or the rows that measure the criterion are not
            those of `fit`.

        Notes
        -----
        Holds at most some 100 MB of replicates, whatever the number of rows; beyond
        some 25,000 rows it passes over them several times. An interval says nothing
        about the first-order error of psi, for which see `check_influence`, nor about a
        bias that all sets of so many rows share: the calibration error of a model that
        is well calibrated is such a case, since it is made of absolute values near 0.

        References
        ----------
        D. B. Rubin, "The Bayesian Bootstrap", The Annals of Statistics 9(1), 1981.
        """
        check_whole(n_bootstrap, "n_bootstrap", low=2)
        if not 0.0 < check_number(level, "level") < 1.0:
            raise ValueError(
                f"level={level!r} is not between 0 and 1, both exclusive: use 0.95."
            )
        objective = self._rows_of_fit(X, y, sample_weight)
        val = (X_val, y_val, sample_weight_val, sensitive_features_val)
        how = (self._settings(), self.criterion_names_, n_bootstrap)
        rng = check_random_state(random_state)
        if self._splits_used is None:
            measured, _ = self._measured_of_fit(val)
            replicates = trust.of_one_fit(objective, measured, *how, rng)
        else:
            table = self._table_of_fit(X, y, sample_weight, sensitive_features, val)
            folds = (self._folds, self._splits_used)
            replicates = trust.of_folds(table, folds, *how, rng)
        found = trust.intervals(replicates, objective.weight, level)
        linear = self.psi_ * objective.weight[:, None]
        rank = np.stack([trust.ranks(column) for column in linear.T], axis=1)
        units = self._by("row")[0]
        names = self.criterion_names_
        return interval_frame(units, names, self.psi_, rank, found, objective.weight)

    def damping_curve(
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
        dampings=None,
        n_lowest=None,
    ):
        """How far the ranking of the rows depends on the damping.

        Damping is a choice, of `damping="auto"` as well. A ranking that stays over
        several orders of magnitude of it comes from the data.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val : as in `fit`
            No rows are kept in the object, so they are asked for again.
        sensitive_features, sensitive_features_val : as in `fit`
        dampings : array-like, optional
            Not negative, in the unit of H. Default: 15 of them, from 1e-6 to 10 times
            the mean eigenvalue of H.
        n_lowest : int, optional
            Number of most harmful rows whose overlap is told. Default: a tenth.

        Returns
        -------
        DataFrame
            On the dampings, ascending: ``relative`` (to the mean eigenvalue of H), and
            for every criterion ``rank_correlation_<name>`` (Spearman's, of the linear
            effects with those under the damping of the fit) and ``overlap_<name>`` (the
            share of the `n_lowest` most harmful rows that stay among them). After
            cross-fitting, means over the folds.

        Raises
        ------
        ValueError
            If the rows, their weights, or the rows that measure the criterion are not
            those of `fit`, or a damping is negative.
        SolverError
            If the curvature cannot be inverted under one of the dampings.
        """
        objective = self._rows_of_fit(X, y, sample_weight)
        val = (X_val, y_val, sample_weight_val, sensitive_features_val)
        if self._splits_used is None:
            _, measures = self._measured_of_fit(val)
            parts = [(objective, measures, 1.0)]
        else:
            table = self._table_of_fit(X, y, sample_weight, sensitive_features, val)
            folds = (self._folds, self._splits_used)
            names = self.criterion_names_
            parts = trust.measured_folds(table, folds, self.criterion, names)
        curves, shares = [], []
        for part, measures, share in parts:
            gradients = np.stack([m.gradient(part.model) for m in measures], axis=1)
            curve = damping_curve(
                part,
                gradients,
                dampings,
                reference=self.damping,
                n_lowest=n_lowest,
                curvature=self.curvature,
                solver=self.solver,
            )
            # The same dampings for all folds, whose mean eigenvalues differ a little.
            dampings = curve.damping
            curves.append(curve)
            shares.append(share)
        return damping_frame(self.criterion_names_, curves, shares)

    # -- the rows of the fit, once more ------------------------------------------------

    def _rows_of_fit(self, X, y, sample_weight):
        """The objective of the fit; refuses other rows or weights."""
        objective = self._rows(X, y, sample_weight)
        same = same_rows(self._fingerprint, fingerprint(objective.X, objective.y))
        if not (same and np.allclose(objective.weight, self._weight)):
            raise ValueError(
                "X, y or sample_weight are not those of the fit; pass the same rows."
            )
        return objective

    def _groups_of_fit(self, groups, X):
        grouping = check_grouping(groups, len(self._weight), X)
        given = grouping.fingerprint()
        seen = self._grouped.fingerprint
        same = given.shape == seen.shape and np.allclose(given, seen)
        if not (same and np.array_equal(grouping.labels, self.groups_)):
            raise ValueError("groups are not those of the fit; pass the same labels.")
        return grouping

    def _measured_of_fit(self, val):
        """(rows, measures) of the validation rows; refuses others than in the fit."""
        model = self._folds[0].model
        measured = criterion_rows(model, *val)
        measures = measures_of(self.criterion, model, *measured)
        values = [measure.value(model) for measure in measures]
        if not np.allclose(values, self.criterion_value_, rtol=1e-8):
            raise ValueError(
                "X_val, y_val or what belongs to their rows are not those of the "
                "fit; pass the same rows."
            )
        return measured, measures

    def _table_of_fit(self, X, y, sample_weight, sensitive_features, val):
        """(X, y, weight, sensitive features) of a cross-fitted fit."""
        if any(part is not None for part in val):
            raise ValueError(
                "The fit measured the criterion by cross-fitting: leave X_val, y_val "
                "and what belongs to their rows out."
            )
        n = len(self._weight)
        check_same_index(sensitive_features, X, "sensitive_features")
        weight = check_weights(sample_weight, n)
        return X, y, weight, check_groups(sensitive_features, n)


def _names(objective):
    """Names of theta: the features as the model sees them, and the intercept."""
    model = objective.model
    names = getattr(model.estimator, "feature_names_in_", None)
    if names is None:
        names = [f"x{j}" for j in range(objective.X.shape[1])]
    if getattr(model, "free_coef", None) is not None:
        names = np.asarray(names, dtype=object)[model.free_coef[0]]
    return [*names, "intercept"][: model.n_parameters]
