"""SISA: an ensemble over shards of the rows, of which deletions retrain a part."""

from sklearn.base import ClassifierMixin, RegressorMixin, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import column_or_1d, get_tags

from skpuma.unlearning._aggregation import mean, probabilities, shares, votes
from skpuma.unlearning._sharding import BaseSISA, check_choice

AGGREGATIONS = ("probability", "label")


class SISAClassifier(ClassifierMixin, BaseSISA):
    """Sharded, isolated, sliced and aggregated training of any classifier.

    The rows are dealt into shards, and every shard trains a model that sees no other
    row; the ensemble predicts by vote or by mean probability. Forgetting rows trains
    their shards again, and leaves the others alone. With slices, a shard is trained
    step by step on growing parts of its rows, and is trained again from the checkpoint
    before the first part that has lost a row. What comes out is, bit for bit, what the
    same training would have made of the rows that are left.

    Parameters
    ----------
    estimator : estimator, default None
        The classifier of every shard; None means ``LogisticRegression()``.
    n_shards : int, default 5
        Shards. More make deletions cheaper, and models weaker: each has fewer rows.
    n_slices : int, default 1
        Slices of every shard; above 1 the estimator needs ``partial_fit``.
    epochs : int, default None
        Passes over a shard in all, each by one call of ``partial_fit`` for the rows in
        a new order. None means the estimator's own ``fit`` where `n_slices` is 1, else
        20. An estimator's ``max_iter`` and its stopping rules do not count in
        ``partial_fit``.
    aggregation : {"probability", "label"}, default "probability"
        Mean of the predicted probabilities, or shares of the votes, which any
        classifier has.
    weights : {"uniform", "size"}, default "uniform"
        Whether all shards count the same, or by the rows that they have left.
    n_jobs : int, default None
        Shards that are trained in parallel; the models do not depend on it.
    verbose : int, default 0
        Above 0: a progress bar.
    random_state : int, RandomState or None, default None
        Deals the rows, seeds every ``random_state`` of `estimator` that is None, for
        each shard anew, and orders the rows of an epoch.

    Attributes
    ----------
    estimators_ : list of fitted classifiers (n_shards,)
        A shard whose rows have one label predicts this label, unless it is trained by
        ``partial_fit``. None for a shard without rows, which does not count.
    classes_ : ndarray (k,)
        Labels of the rows that have not been forgotten, sorted.
    shards_, slices_ : ndarray of int (n,)
        Where every row of the fit is; -1 if it has been forgotten.
    shard_sizes_ : ndarray of int (n_shards,)
        Rows that every shard has left.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        Bytes of the checkpoints (the optimiser's state is in them), the unfitted
        estimators and the places of the rows.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` went through. Epochs
        of an estimator's own ``fit`` are its ``n_iter_``, or 1 where it has none.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    See Also
    --------
    SISARegressor : For numbers.

    Notes
    -----
    Every class is dealt evenly into the shards and slices, by chance. The places are
    drawn once: rows that go leave a gap, and nothing is dealt again. So "trained
    without the rows" means with the places and seeds of the fit. The order of an epoch
    depends on the seed, the shard, the slice and how many rows there are, as does the
    shuffling within the estimator. Rows of other shards, and rows that have gone, have
    no part in it.

    If a class loses its last row, shards that are trained by ``partial_fit`` all start
    again, as each was told the classes at its start.

    With `epochs` E and R slices, the step of a slice trains for ``2 E / (R + 1)``
    epochs, rounded, on the slices up to its own, so that a fit goes through as many
    rows as E plain epochs. Forgetting one row at random then goes through
    ``3 R S / (2 R + 1)`` times fewer than a fit, for S shards. Many rows at once are in
    every shard, and cost as much as a fit.

    References
    ----------
    L. Bourtoule et al., "Machine Unlearning", IEEE Symposium on Security and Privacy,
    2021.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skpuma.unlearning import SISAClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> system = SISAClassifier(random_state=0).fit(X, y)
    >>> everything = system.cost_
    >>> system.forget(X, y, [7]).cost_ < everything / 3
    True
    >>> bool(system.score(X, y) > 0.9)
    True
    """

    def __init__(
        self,
        estimator=None,
        *,
        n_shards=5,
        n_slices=1,
        epochs=None,
        aggregation="probability",
        weights="uniform",
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_shards = n_shards
        self.n_slices = n_slices
        self.epochs = epochs
        self.aggregation = aggregation
        self.weights = weights
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def predict(self, X):
        """The label of the largest share; of equal ones the first in ``classes_``.

        Parameters
        ----------
        X : array-like or DataFrame (n, d)

        Returns
        -------
        ndarray (n,)
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X):
        """Mean probability of every class, or share of the votes, as `aggregation`.

        Parameters
        ----------
        X : array-like or DataFrame (n, d)

        Returns
        -------
        ndarray (n, k)
            Columns as ``classes_``.
        """
        X = self._asked(X)
        outputs = votes if self.aggregation == "label" else probabilities
        return shares(outputs, self.estimators_, self._weight(), X, self.classes_)

    def _estimator(self):
        return LogisticRegression() if self.estimator is None else self.estimator

    def _kind(self):
        return "classifier", is_classifier, "SISARegressor for a regressor"

    def _validated(self, X, y, reset):
        X, y = super()._validated(X, y, reset)
        return X, column_or_1d(y)

    def _check_parameters(self):
        super()._check_parameters()
        check_choice(self.aggregation, "aggregation", AGGREGATIONS)
        estimator = self._estimator()
        if self.aggregation == "probability" and not hasattr(
            estimator, "predict_proba"
        ):
            raise ValueError(
                f"{type(estimator).__name__} has no predict_proba as it is set: use "
                'aggregation="label".'
            )


class SISARegressor(RegressorMixin, BaseSISA):
    """Sharded, isolated, sliced and aggregated training of any regressor.

    As `SISAClassifier`, whose notes hold here too: every shard of the rows trains a
    model of its own, the ensemble predicts their mean, and forgetting rows trains their
    shards again, from the checkpoint before the first slice that has lost a row.

    Parameters
    ----------
    estimator : estimator, default None
        The regressor of every shard; None means ``Ridge()``.
    n_shards : int, default 5
        Shards. More make deletions cheaper, and models weaker: each has fewer rows.
    n_slices : int, default 1
        Slices of every shard; above 1 the estimator needs ``partial_fit``.
    epochs : int, default None
        Passes over a shard in all, each by one call of ``partial_fit``; None means the
        estimator's own ``fit`` where `n_slices` is 1, else 20.
    weights : {"uniform", "size"}, default "uniform"
        Whether all shards count the same, or by the rows that they have left.
    n_jobs : int, default None
        Shards that are trained in parallel; the models do not depend on it.
    verbose : int, default 0
        Above 0: a progress bar.
    random_state : int, RandomState or None, default None
        Deals the rows, seeds every ``random_state`` of `estimator` that is None, for
        each shard anew, and orders the rows of an epoch.

    Attributes
    ----------
    estimators_ : list of fitted regressors (n_shards,)
        None for a shard without rows, which does not count.
    shards_, slices_ : ndarray of int (n,)
        Where every row of the fit is; -1 if it has been forgotten.
    shard_sizes_ : ndarray of int (n_shards,)
        Rows that every shard has left.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        Bytes of the checkpoints, the unfitted estimators and the places of the rows.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` went through.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    References
    ----------
    L. Bourtoule et al., "Machine Unlearning", IEEE Symposium on Security and Privacy,
    2021.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import SGDRegressor
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.unlearning import SISARegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X = scale(X)
    >>> system = SISARegressor(SGDRegressor(), n_slices=3, random_state=0).fit(X, y)
    >>> last = system.slices_.argmax()
    >>> system.forget(X, y, [last]).cost_ < 442 * 20 / 5
    True
    """

    def __init__(
        self,
        estimator=None,
        *,
        n_shards=5,
        n_slices=1,
        epochs=None,
        weights="uniform",
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_shards = n_shards
        self.n_slices = n_slices
        self.epochs = epochs
        self.weights = weights
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def predict(self, X):
        """Mean of the predictions of the shards' models.

        Parameters
        ----------
        X : array-like or DataFrame (n, d)

        Returns
        -------
        ndarray (n,) or (n, k)
        """
        X = self._asked(X)
        return mean(self.estimators_, self._weight(), X)

    def _estimator(self):
        return Ridge() if self.estimator is None else self.estimator

    def _kind(self):
        return "regressor", is_regressor, "SISAClassifier for a classifier"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags = get_tags(self._estimator()).target_tags
        tags.target_tags.required = True
        return tags
