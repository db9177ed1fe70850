"""PumaPatcherCV: choose delta and eta by cross-validation, at one fit per fold."""

import copy
import inspect
import numbers
from functools import partial

import numpy as np
from scipy.stats import rankdata
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import check_scoring
from sklearn.model_selection import ParameterGrid, check_cv
from sklearn.utils import indexable
from sklearn.utils.metadata_routing import MethodMapping, process_routing
from sklearn.utils.parallel import Parallel, delayed

from skpuma._meta import n_rows, require_fitted, routing_enabled
from skpuma._patch_request import carry_out_each, check_parameters
from skpuma._patcher import PumaPatcher
from skpuma.rows import take_user
from skpuma.utils._grouping import check_grouping
from skpuma.utils._validation import check_bool, check_mask, rows_of
from skpuma.utils.errors import PatchWarning, warn

OF_SEARCH = ("deltas", "etas", "cv", "scoring", "n_jobs", "refit")
# Keywords of `fit` that have a value per row of X.
PER_ROW = ("sensitive_features", "groups")
OF_REFIT = ("estimator_", "row_weight_", "cost_")
OF_REFIT += ("_fit_weight", "_record", "_fingerprint", "_left", "_undo", "_finalized")


class PumaPatcherCV(PumaPatcher):
    """`PumaPatcher` whose delta and eta are chosen by cross-validation.

    Scores are those of ``GridSearchCV(PumaPatcher(...), {"delta": deltas, "eta":
    etas})``. In each fold the estimator is fitted, and its curvature factored, once:
    the paths to all deltas and etas begin alike, and every step is taken once.

    Parameters
    ----------
    estimator : estimator, default None
        As in `PumaPatcher`.
    criterion : str, criterion or list of them, default "auto"
        As in `PumaPatcher`.
    deltas : list of "auto", float or list of float, default ("auto",)
        Candidates for `delta`; a list within it has one per criterion.
    etas : list of float, default (0.0, 0.25, 0.5, 0.75, 1.0)
        Candidates for `eta`; 0 is no patch.
    cv : int, splitter, iterable of splits or None, default None
        As in ``GridSearchCV``: None is 5 folds, stratified for classifiers.
    scoring : str, callable or None, default None
        What is maximal at the candidate that is chosen; None is the score of the
        estimator. The callable, such as `skpuma.metrics.patch_scorer`, gets a fitted
        `PumaPatcher`, the rows of the fold and their targets.
    n_jobs : int, default None
        Folds at a time.
    refit : bool, default True
        Whether to fit and patch on all rows with the candidate that is chosen.
    forget_at, target, steps, trust, reweight, side : as in `PumaPatcher`
    alpha, l1_ratio, max_weight, marker, n_marked, curvature : as in `PumaPatcher`
    solver, damping, curvature_rows, polish, memory : as in `PumaPatcher`
    verbose, random_state : as in `PumaPatcher`
    candidates : bool mask, positions or index labels, default None
        As in `PumaPatcher`, of all rows: folds use those that they train on.

    Attributes
    ----------
    cv_results_ : dict
        As of ``GridSearchCV``, without times: ``params``, ``param_delta``,
        ``param_eta``, ``split<i>_test_score``, ``mean_test_score``, ``std_test_score``
        and ``rank_test_score``; further ``split<i>_s`` and ``mean_s``, how far the
        paths went (below eta, where a delta or another goal ended them).
    best_index_ : int
        Of the candidate with the highest mean score; of equal ones, the first.
    best_params_ : dict
    best_score_ : float
    delta_, eta_ : "auto", float or list of float; float
        The candidate that was chosen.
    n_splits_ : int
    estimator_, report_, history_, lambda_, row_weight_, ... : as in `PumaPatcher`
        With ``refit=True``.

    See Also
    --------
    PumaPatcher : With delta and eta that are known.
    skpuma.metrics.patch_scorer : Weighs what is forgotten against what is kept.

    Notes
    -----
    Steps are kept up to scikit-learn's ``working_memory`` per fold, and walked again
    beyond it. Iterative solvers (beyond some 2,500 parameters) change with use, so that
    only the fit is shared where they are used. In folds there is no warning of deltas
    that are reached; ``mean_s`` tells.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import scale
    >>> from skpuma import PumaPatcherCV
    >>> from skpuma.metrics import patch_scorer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = scale(X)
    >>> search = PumaPatcherCV(
    ...     LogisticRegression(), deltas=[0.01], etas=[0, 0.5, 1], scoring=patch_scorer
    ... )
    >>> search = search.fit(X, y, marked=X[:, 0] > 2)
    >>> search.best_params_
    {'delta': 0.01, 'eta': 1}
    """

    def __init__(
        self,
        estimator=None,
        criterion="auto",
        *,
        deltas=("auto",),
        etas=(0.0, 0.25, 0.5, 0.75, 1.0),
        cv=None,
        scoring=None,
        n_jobs=None,
        refit=True,
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
        self.deltas = deltas
        self.etas = etas
        self.cv = cv
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.refit = refit
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
        """Choose delta and eta; then fit and patch with them on all rows.

        Parameters
        ----------
        X : array-like, DataFrame or CSR (n, d)
        y : array-like (n,)
        sample_weight : array-like (n,), optional
            Also weighs the scores, if the scorer takes weights (with metadata routing:
            if it requests them).
        marked : array-like of bool (n,), optional
            Rows to remove; of a fold, those that it trains on. Without it, and without
            a `marker`, all candidates are the same, and only `patch` patches.
        X_val, y_val, sample_weight_val : optional
            Rows that measure the criteria, in all folds; default the unmarked rows
            that a fold trains on.
        sensitive_features, sensitive_features_val : array-like, optional
            Groups of the rows of X and X_val.
        groups : array-like (n,), optional
            As in `PumaPatcher`; also handed to the splitter.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For candidates, splits, scores or rows that make no sense. The estimator is
            then unchanged.
        """
        keywords = {
            "X_val": X_val,
            "y_val": y_val,
            "sample_weight_val": sample_weight_val,
            "sensitive_features": sensitive_features,
            "sensitive_features_val": sensitive_features_val,
            "groups": groups,
        }
        choices = self._choices()
        self._check_given(X, y, sample_weight, sensitive_features)
        X, y = indexable(X, y)
        check_grouping(groups, n_rows(y), X)
        if marked is not None:
            marked = check_mask(marked, n_rows(y), X)
        elif self.marker is None and len(choices) > 1:
            warn(
                "Nothing is marked, so all candidates are the same: pass marked= or "
                "set a marker.",
                PatchWarning,
            )
        folds = self._searched(choices, X, y, sample_weight, marked, keywords)
        found = _results(choices, *folds)
        best = int(np.argmin(found["rank_test_score"]))
        chosen = choices[best]
        if self.refit:
            parameters = {**self._fixed(), **chosen}
            self._fit(parameters, X, y, sample_weight, marked, keywords)
        else:
            self._take_names(X)
            self._clear()
            for name in OF_REFIT:
                vars(self).pop(name, None)
        self.cv_results_ = found
        self.best_index_ = best
        self.best_params_ = chosen
        self.best_score_ = float(found["mean_test_score"][best])
        self.delta_, self.eta_ = chosen["delta"], chosen["eta"]
        self.n_splits_ = len(folds[0])
        return self

    def _fitted(self):
        if hasattr(self, "cv_results_") and not hasattr(self, "estimator_"):
            raise NotFittedError(
                "PumaPatcherCV was fitted with refit=False, which keeps the results of "
                "the search only: fit with refit=True to predict."
            )
        return super()._fitted()

    def _fixed(self):
        """Parameters that are not searched."""
        given = self.get_params(deep=False)
        return {name: v for name, v in given.items() if name not in OF_SEARCH}

    def _parameters(self):
        require_fitted(self, "delta_")
        parameters = {**self._fixed(), "delta": self.delta_, "eta": self.eta_}
        check_parameters(parameters)
        return parameters

    def _choices(self):
        """The candidates, in the order of ``GridSearchCV``, checked."""
        check_bool(self.refit, "refit")
        grid = {}
        for name, values in (("delta", self.deltas), ("eta", self.etas)):
            if isinstance(values, (str, numbers.Number)) or not len(values):
                raise ValueError(
                    f"{name}s={values!r} must be a list of candidates for {name}."
                )
            grid[name] = list(values)
        choices = list(ParameterGrid(grid))
        for choice in choices:
            check_parameters({**self._fixed(), **choice})
        return choices

    def _patcher(self):
        """What is searched over: a patcher that does not speak."""
        return PumaPatcher(**{**self._fixed(), "verbose": 0})

    def _scorer(self):
        if isinstance(self.scoring, (list, tuple, set, dict)):
            raise ValueError(
                f"scoring={self.scoring!r} names several scores; a candidate is chosen "
                "by one."
            )
        return check_scoring(self._patcher(), scoring=self.scoring)

    def _routed(self, scorer, sample_weight, marked, keywords):
        """What splitter and scorer are given."""
        if routing_enabled():
            given = {"sample_weight": sample_weight, "marked": marked, **keywords}
            routed = process_routing(self, "fit", **given)
            return routed.splitter.split, routed.scorer.score
        score = {}
        if sample_weight is not None and _weighs(scorer):
            score["sample_weight"] = sample_weight
        return {"groups": keywords["groups"]}, score

    def _searched(self, choices, X, y, sample_weight, marked, keywords):
        """(scores, ends of the paths), both (folds, c)."""
        scorer = self._scorer()
        split, score = self._routed(scorer, sample_weight, marked, keywords)
        cv = check_cv(self.cv, y, classifier=is_classifier(self._base()))
        per_row = {"sample_weight": sample_weight, "marked": marked}
        per_row |= {name: keywords[name] for name in PER_ROW}
        if self.candidates is not None:
            n = n_rows(y)
            per_row["candidates"] = rows_of(self.candidates, n, X, "candidates")
        others = {k: v for k, v in keywords.items() if k not in PER_ROW}
        folds = Parallel(n_jobs=self.n_jobs)(
            delayed(_scores)(
                clone(self._patcher()),
                choices,
                (take_user(X, train), take_user(y, train)),
                {**_cut(per_row, train), **others},
                (take_user(X, test), take_user(y, test)),
                scorer,
                _cut(score, test),
                # Scorers of scikit-learn's look at predictions only.
                self.scoring is None or isinstance(self.scoring, str),
            )
            for train, test in cv.split(X, y, **split)
        )
        if not folds:
            raise ValueError(f"cv={self.cv!r} has no splits.")
        return np.moveaxis(np.array(folds), 2, 0)

    def get_metadata_routing(self):
        """Routing of metadata: see scikit-learn's user guide on metadata routing."""
        router = super().get_metadata_routing()
        mapping = MethodMapping().add(caller="fit", callee="split")
        router.add(splitter=self.cv, method_mapping=mapping)
        mapping = MethodMapping().add(caller="fit", callee="score")
        return router.add(scorer=self._scorer(), method_mapping=mapping)


def _weighs(scorer):
    """Whether a scorer takes weights, by the rule of ``GridSearchCV``."""
    if hasattr(scorer, "_accept_sample_weight"):
        return scorer._accept_sample_weight()
    return "sample_weight" in inspect.signature(scorer).parameters


def _cut(values, index):
    """The rows of `index` of every value in a dict that is not None."""
    return {
        name: None if value is None else take_user(value, index)
        for name, value in values.items()
    }


def _scores(patcher, choices, train, given, test, scorer, score_params, by_end):
    """(score, s) of every candidate (c, 2), of one fold.

    With `by_end`, candidates whose paths end at the same point are scored once.
    """
    found, known = [], {}
    if "candidates" in given:
        patcher.set_params(candidates=given.pop("candidates"))
    weight, marked = given.pop("sample_weight"), given.pop("marked")
    walks = _patched(patcher, choices, *train, weight, marked, given, by_end)
    for end, patched in walks:
        point = None if end is None else id(end.theta)
        if by_end and point in known:
            score = known[point][0]
        else:
            score = scorer(patched(), *test, **score_params)
        if not isinstance(score, numbers.Number):
            raise ValueError(f"scoring must return a number, got {score!r}.")
        known[point] = score, end  # which stays, so that no other gets its id
        found.append((score, 0.0 if end is None else end.s))
    return found


def _patched(patcher, choices, X, y, sample_weight, marked, keywords, predicts):
    """(end of the path, () -> patcher) for every candidate, from one fit.

    A patcher that only `predicts` has no report, but for the first, which warns.
    """
    fixed = patcher.get_params(deep=False)
    parameters = [{**fixed, **choice} for choice in choices]
    given = patcher._given(parameters[0], X, y, sample_weight, marked, keywords)
    patcher._start(given.estimator, given.objective, X, given.weight)

    def made(choice, end, outcome):
        one = copy.copy(patcher).set_params(**choice)
        one._undo = []
        if predicts and end is not None and choice is not choices[0]:
            one.estimator_ = given.objective.model.with_theta(end.theta)
        elif outcome is not None:
            cost = patcher.cost_ + given.passes.epochs
            one._commit(outcome(), given.objective, given.weight, cost)
        return one

    walks = [(None, None)] * len(choices)
    if given.request is not None:
        walks = carry_out_each(given.request, parameters)
    for choice, (end, outcome) in zip(choices, walks, strict=True):
        yield end, partial(made, choice, end, outcome)


def _results(choices, scores, s):
    """cv_results_ from the scores and ends of paths (folds, c)."""
    results = {}
    for name in ("delta", "eta"):
        values = [choice[name] for choice in choices]
        plain = all(isinstance(value, numbers.Real) for value in values)
        column = np.empty(len(values), dtype=float if plain else object)
        for i, value in enumerate(values):
            column[i] = value
        results[f"param_{name}"] = np.ma.MaskedArray(column, mask=False)
    results["params"] = choices
    for i, fold in enumerate(scores):
        results[f"split{i}_test_score"] = fold
    mean = scores.mean(axis=0)
    results["mean_test_score"] = mean
    results["std_test_score"] = scores.std(axis=0)
    # Candidates without a score come last.
    known = np.where(np.isnan(mean), -np.inf, mean)
    results["rank_test_score"] = rankdata(-known, method="min").astype(np.int32)
    for i, fold in enumerate(s):
        results[f"split{i}_s"] = fold
    results["mean_s"] = s.mean(axis=0)
    return results
