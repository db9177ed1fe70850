"""Amnesiac machine learning: the updates of batches that held a row are taken back."""

import numpy as np
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor

from skpuma.unlearning._recorded import RecordedTraining


class AmnesiacClassifier(RecordedTraining):
    """Amnesiac learning of a classifier: updates are recorded, and taken back.

    Training goes batch by batch, and records by how much every batch moved the
    parameters. Forgetting rows subtracts the updates of all batches that held one of
    them, and trains a little on the rows that are left.

    Parameters
    ----------
    estimator : estimator, default None
        MLPClassifier or SGDClassifier, or a Pipeline that ends in one; None means
        ``MLPClassifier()``. Its batches and epochs are those given here.
    method : {"subtract", "relabel"}, default "subtract"
        "relabel" records nothing: it gives the rows that go a random wrong label each,
        and trains a little on all rows. (The paper calls it unlearning.)
    n_epochs : int, default 10
    batch_size : int, default 32
        Rows of a batch, each one call of ``partial_fit``. Small batches take less of
        the other rows along when they are undone, and are more to store.
    shuffle : bool, default True
        Whether rows are in a new order in every epoch.
    fine_tune_epochs : int, default 1
        Epochs of `forget` after the updates are taken back, over the rows that are
        left; with "relabel", over these and the relabelled ones.
    storage : "memory" or path, default "memory"
        A directory where updates are spilled into a file, which is read through a
        memory map and deleted with this object. A copy or a pickle has all updates in
        itself.
    verbose : int, default 0
        Above 0: a progress bar over the epochs.
    random_state : int, RandomState or None, default None
        Orders the rows, draws wrong labels, and seeds every ``random_state`` of
        `estimator` that is None.

    Attributes
    ----------
    estimator_ : estimator
        Fitted, of the class of `estimator`. A network's ``batch_size`` is that of this
        system, so that it says how it was trained.
    forgettable_ : ndarray of bool (n,)
        Rows of the fit that may be forgotten.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        Bytes of the compressed updates, and of the rows of their batches.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` trained on.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    See Also
    --------
    AmnesiacRegressor : For numbers.

    Notes
    -----
    Updates are kept without rounding, and their sum is rounded once: the parameters
    after `forget`, before the fine-tuning, are the floats that are nearest to
    ``theta - sum of the updates``. What the rounding cuts off is kept for the next
    call. So taking all updates back, at once or one after the other, gives the initial
    parameters, bit for bit.

    What comes out is not the model that training without the rows gives: later updates
    were computed at parameters that knew the rows, and momentum carried what they said
    on. As for the optimiser, `forget` sets its moments (Adam, momentum) to zero before
    the fine-tuning, and takes the rows of the undone batches off ``t_``, on which
    decreasing learning rates depend. Fine-tuning is recorded like training is, so that
    further rows can be forgotten. Preprocessing steps of a Pipeline stay as they were
    fitted on all rows.

    ``learning_rate="optimal"``, the default of SGDClassifier, takes its first steps
    hundreds of times larger than its last: to undo one of them can leave nothing of the
    model that a little fine-tuning could mend (on iris, two rows forgotten took the
    accuracy from 0.75 to 0.16, and fine-tuning to 0.83). Constant rates have no such
    batches. ``learning_rate="adaptive"`` of a network counts calls of ``partial_fit``,
    which are batches here.

    References
    ----------
    L. Graves, V. Nagisetty, V. Ganesh, "Amnesiac Machine Learning", AAAI 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import SGDClassifier
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.unlearning import AmnesiacClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = scale(X)
    >>> model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01)
    >>> system = AmnesiacClassifier(model, random_state=0)
    >>> system = system.fit(X, y, forgettable=range(50))
    >>> system.forget(X, y, [3, 4]).cost_
    567.0
    >>> bool(system.score(X, y) > 0.95)
    True
    """

    _kinds = (MLPClassifier, SGDClassifier)

    def _relabelled(self, y, gone, kept, rng):
        """Labels with a random wrong one, each equally likely, for the rows that go."""
        code = np.searchsorted(self._classes, y[gone])
        other = rng.randint(1, len(self._classes), size=len(code))
        y = y.copy()
        y[gone] = self._classes[(code + other) % len(self._classes)]
        return y


class AmnesiacRegressor(RecordedTraining):
    """Amnesiac learning of a regressor: updates are recorded, and taken back.

    As `AmnesiacClassifier`, whose notes hold here too.

    Parameters
    ----------
    estimator : estimator, default None
        MLPRegressor or SGDRegressor, or a Pipeline that ends in one; None means
        ``MLPRegressor()``. Its batches and epochs are those given here.
    method : {"subtract", "relabel"}, default "subtract"
        "relabel" records nothing: it gives the rows that go the target of another row
        that stays, drawn at random, and trains a little on all rows. The paper has
        classifiers only; such a target is as wrong as it can be without being unlike
        the others.
    n_epochs : int, default 10
    batch_size : int, default 32
        Rows of a batch, each one call of ``partial_fit``.
    shuffle : bool, default True
        Whether rows are in a new order in every epoch.
    fine_tune_epochs : int, default 1
        Epochs of `forget` after the updates are taken back.
    storage : "memory" or path, default "memory"
        A directory where updates are spilled into a file of this object.
    verbose : int, default 0
        Above 0: a progress bar over the epochs.
    random_state : int, RandomState or None, default None
        Orders the rows, draws targets, and seeds every ``random_state`` of `estimator`
        that is None.

    Attributes
    ----------
    estimator_ : estimator
        Fitted, of the class of `estimator`.
    forgettable_ : ndarray of bool (n,)
        Rows of the fit that may be forgotten.
    forgotten_ : ndarray of bool (n,)
        Rows of the fit that have been forgotten.
    storage_ : int
        Bytes of the compressed updates, and of the rows of their batches.
    cost_ : float
        Rows times epochs that the last call of `fit` or `forget` trained on.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    References
    ----------
    L. Graves, V. Nagisetty, V. Ganesh, "Amnesiac Machine Learning", AAAI 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import SGDRegressor
    >>> from sklearn.preprocessing import scale
    >>> from skpuma.unlearning import AmnesiacRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X, y = scale(X), scale(y)
    >>> system = AmnesiacRegressor(SGDRegressor(), random_state=0).fit(X, y)
    >>> system.forget(X, y, [7]).cost_
    441.0
    >>> bool(system.score(X, y) > 0.4)
    True
    """

    _kinds = (MLPRegressor, SGDRegressor)

    def _relabelled(self, y, gone, kept, rng):
        """Targets with those of random other rows for the rows that go."""
        y = y.copy()
        y[gone] = y[rng.choice(np.flatnonzero(kept), np.count_nonzero(gone))]
        return y
