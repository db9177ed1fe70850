"""Membership inference: whether a model was trained on the rows asked about."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from skpuma import refit
from skpuma.evidence import _outputs
from skpuma.evidence._methods import METHODS, Question, Settings
from skpuma.metrics import membership_attack
from skpuma.rows import take_user
from skpuma.utils._validation import (
    check_bool,
    check_jobs,
    check_same_order,
    check_whole,
    rows_of,
)


def membership_inference(
    estimator,
    X,
    y,
    rows,
    X_fresh,
    y_fresh,
    *,
    method="loss",
    shadow_estimator=None,
    n_shadows=16,
    offline=False,
    fix_variance="auto",
    attack_estimator=None,
    by_class="auto",
    fpr=0.01,
    n_bootstrap=1000,
    level=0.95,
    n_jobs=None,
    verbose=0,
    random_state=None,
):
    """Attack a model: tell rows that it may have been trained on from fresh ones.

    Parameters
    ----------
    estimator : estimator, or dict of name -> estimator
        Fitted; any classifier or regressor (of a `PumaPatcher`, its ``estimator_``).
        Several are attacked alike, with the same shadow models and resamples, so that
        `skpuma.metrics.attack_gap` can pair them.
    X, y : array-like or DataFrame (n, d) and (n,)
        Rows of the fit. Those that are not asked about are what the attacker knows.
    rows : bool mask, positions, or labels of X's index
        Rows that are asked about, such as those that were removed.
    X_fresh, y_fresh : array-like or DataFrame (f, d) and (f,)
        Rows that no model was trained on, from where the rows asked about come from: an
        attack also finds any other difference between the two.
    method : {"loss", "shadow", "lira"}, default "loss"
        "loss": a row of low loss is called a member (Yeom et al.), at best at the mean
        loss of the known rows, whose advantage is told too. "shadow": an attack model
        learns from shadow models on halves of the known rows (Shokri et al.); it calls
        a member what it gives a probability of at least 0.5. "lira": a likelihood ratio
        for every row by itself (Carlini et al.), from shadow models on halves of all
        rows, those asked about and the fresh ones included; it calls a member what is
        more likely from a model trained on it.
    shadow_estimator : estimator, default None
        Not fitted; None means a clone of `estimator` (the first of a dict).
    n_shadows : int, default 16
        Of "shadow" (at least 2) and "lira" (at least 4). The other half of the rows is
        the next model's, so even numbers use every row alike.
    offline : bool, default False
        Of "lira": train no shadow model on the rows asked about or the fresh ones.
    fix_variance : "auto" or bool, default "auto"
        Of "lira": see `skpuma.metrics.lira_scores`.
    attack_estimator : classifier, default None
        Of "shadow": learns membership from the confidence in the label and the
        logarithms of all probabilities; None is a standardised LogisticRegression.
    by_class : "auto" or bool, default "auto"
        Of "shadow": one attack model per class, rather than one for all with the label
        as a feature. "auto" where all classes have rows enough.
    fpr, n_bootstrap, level : as in `skpuma.metrics.membership_attack`
    n_jobs : int, default None
    verbose : int, default 0
    random_state : int, RandomState or None, default None

    Returns
    -------
    MembershipAttack, or dict of name -> MembershipAttack

    Raises
    ------
    ValueError, TypeError, IndexError, KeyError
        For rows or parameters that do not fit together.

    Notes
    -----
    Classifiers without ``predict_proba`` are attacked by their decision values; where
    the logits behind probabilities are known, these are used, since a probability near
    1 is rounded. The scores of a regression are negative absolute errors. Shadow
    models are trained without sample weights. The labels of each half have the shares
    that they have in all rows; members and others are balanced, and the attack model
    sees them all, not only those that are classified rightly.

    References
    ----------
    S. Yeom, I. Giacomelli, M. Fredrikson, S. Jha, "Privacy Risk in Machine Learning:
    Analyzing the Connection to Overfitting", CSF 2018, adversary 2.
    R. Shokri, M. Stronati, C. Song, V. Shmatikov, "Membership Inference Attacks Against
    Machine Learning Models", IEEE S&P 2017.
    N. Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P
    2022, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skpuma.evidence import membership_inference
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((200, 3)), rng.integers(2, size=200)
    >>> model = KNeighborsClassifier(3).fit(X[:100], y[:100])
    >>> attack = membership_inference(
    ...     model, X[:100], y[:100], range(50), X[100:], y[100:], random_state=0
    ... )
    >>> bool(attack.auc.low > 0.5)
    True
    """
    settings = Settings(
        method,
        shadow_estimator,
        n_shadows,
        offline,
        fix_variance,
        attack_estimator,
        by_class,
        n_jobs,
        verbose,
    )
    several = isinstance(estimator, dict)
    targets = estimator if several else {"": estimator}
    if not targets:
        raise ValueError("estimator is an empty dict: name at least one estimator.")
    question = _question(targets, X, y, rows, X_fresh, y_fresh)
    found = attacks(
        targets,
        question,
        settings,
        check_random_state(random_state),
        fpr=fpr,
        n_bootstrap=n_bootstrap,
        level=level,
    )
    return found if several else found[""]


def attacks(targets, question, settings, rng, **measured):
    """name -> MembershipAttack, of estimators that are attacked alike."""
    first = next(iter(targets.values()))
    score = _prepare(first, question, settings, rng)
    seed = rng.randint(refit.LARGEST_SEED)
    found = {}
    for name, target in targets.items():
        members, fresh, threshold = score(target)
        found[name] = membership_attack(
            members, fresh, threshold=threshold, random_state=seed, **measured
        )
    return found


def _question(targets, X, y, selected, X_fresh, y_fresh):
    """The rows of an attack, checked."""
    for name, value in (("y", y), ("y_fresh", y_fresh)):
        if value is None:
            raise ValueError(f"{name} is None: an attack looks at the label of a row.")
    check_same_order(y, X)
    check_same_order(y_fresh, X_fresh, "y_fresh")
    y, y_fresh = _outputs.labels_of(y), _outputs.labels_of(y_fresh)
    check_consistent_length(X, y)
    check_consistent_length(X_fresh, y_fresh)
    for target in targets.values():
        _outputs.refuse_multilabel(target, y)
    if all(is_classifier(target) for target in targets.values()):
        _outputs.refuse_unknown_labels(targets.values(), y)
        _outputs.refuse_unknown_labels(targets.values(), y_fresh, "y_fresh")
    asked = rows_of(selected, len(y), X, "rows")
    if not asked.any():
        raise ValueError("rows names no row: say which rows are asked about.")
    if not len(y_fresh):
        raise ValueError(
            "X_fresh has no rows: an attack is measured by whether it tells the rows "
            "asked about from rows that the model has not seen."
        )
    known = asked if asked.all() else ~asked
    return Question(
        (take_user(X, np.flatnonzero(known)), y[known]),
        (take_user(X, np.flatnonzero(asked)), y[asked]),
        (X_fresh, y_fresh),
    )


def check_settings(settings, first):
    """Refuse settings that make no sense.

    Raises
    ------
    ValueError, TypeError
    """
    if settings.method not in METHODS:
        raise ValueError(f"method={settings.method!r} is not one of {sorted(METHODS)}.")
    check_jobs(settings.n_jobs)
    check_bool(settings.offline, "offline")
    if settings.offline and settings.method != "lira":
        raise ValueError("offline=True is a variant of method='lira'.")
    by_class = settings.by_class
    if not (isinstance(by_class, (bool, np.bool_)) or by_class == "auto"):
        raise ValueError(f"by_class={by_class!r} is not 'auto', True or False.")
    if settings.method == "loss":
        return
    least = 4 if settings.method == "lira" else 2
    check_whole(settings.n_shadows, "n_shadows", low=least)
    refit.refuse_frozen(
        settings.shadow_estimator if settings.shadow_estimator is not None else first,
        "shadow models are fits of their own (shadow_estimator=)",
    )


def _prepare(first, question, settings, rng):
    """Function: fitted estimator -> (scores asked about, of fresh rows, threshold)."""
    check_settings(settings, first)
    return METHODS[settings.method](first, question, settings, rng)
