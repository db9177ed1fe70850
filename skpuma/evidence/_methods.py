"""Three ways to score rows for membership: loss, shadow models, likelihood ratio.

Each is a function of the first estimator, the rows in question and the settings, that
trains what it needs and returns a function: fitted estimator -> scores of the rows
asked about, scores of the fresh rows, and the score from which on a row is called a
member.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpuma import refit
from skpuma.evidence import _outputs
from skpuma.evidence._shadows import check_strata, halves, shadow_outputs
from skpuma.metrics import lira_scores

# Of probabilities, in what an attack model sees of them.
SMALLEST_SEEN = 1e-12
# Looks of shadow models at rows of a class, each way, for an attack model of its own.
PER_CLASS = 20


@dataclass(frozen=True)
class Question:
    """The rows that an attack is about.

    Attributes
    ----------
    known : (X, y)
        Rows that the attacker knows to have been trained on.
    asked, fresh : (X, y)
        Rows that are asked about, and rows that were certainly not trained on.
    """

    known: tuple
    asked: tuple
    fresh: tuple

    @property
    def both(self):
        """The rows asked about and the fresh ones, in one table."""
        return _joined(self.asked, self.fresh)


@dataclass(frozen=True)
class Settings:
    """Of `membership_inference`, by the names of its parameters."""

    method: str = "loss"
    shadow_estimator: object = None
    n_shadows: int = 16
    offline: bool = False
    fix_variance: object = "auto"
    attack_estimator: object = None
    by_class: object = "auto"
    n_jobs: int | None = None
    verbose: int = 0


def _joined(one, other):
    return _outputs.stacked(one[0], other[0]), np.concatenate([one[1], other[1]])


def _shadow(first, settings):
    given = settings.shadow_estimator
    return clone(first if given is None else given)


def _strata(estimator, y, settings):
    """Class positions that halves keep the shares of; zeros for a regression."""
    code = np.zeros(len(y), dtype=int)
    if is_classifier(estimator):
        code = np.unique(y, return_inverse=True)[1]
    check_strata(code, settings.n_shadows)
    return code


# -- loss threshold --------------------------------------------------------------------


def _by_loss(first, question, settings, rng):
    def score(estimator):
        asked, fresh, known = (
            -_outputs.row_losses(estimator, *part)
            for part in (question.asked, question.fresh, question.known)
        )
        return asked, fresh, float(known.mean())

    return score


# -- likelihood ratio ------------------------------------------------------------------


def _by_likelihood(first, question, settings, rng):
    shadow, query = _shadow(first, settings), question.both
    pool, n_query = question.known, len(query[1])
    if not settings.offline:
        pool = _joined(query, pool)
    inside = halves(settings.n_shadows, _strata(first, pool[1], settings), rng)
    found = shadow_outputs(
        shadow,
        pool,
        inside,
        query,
        _outputs.confidences,
        rng,
        settings.n_jobs,
        settings.verbose,
    )
    trained = inside[: len(found), :n_query]
    if settings.offline:
        trained = np.zeros((len(found), n_query), dtype=bool)
    n_asked = len(question.asked[1])

    def score(estimator):
        values = lira_scores(
            _outputs.confidences(estimator, *query),
            np.stack(found),
            trained,
            fix_variance=settings.fix_variance,
            offline=settings.offline,
        )
        # More likely than not; offline there is nothing to compare with.
        threshold = None if settings.offline else 0.0
        return values[:n_asked], values[n_asked:], threshold

    return score


# -- shadow models and an attack model -------------------------------------------------


def _by_shadows(first, question, settings, rng):
    known = question.known
    inside = halves(settings.n_shadows, _strata(first, known[1], settings), rng)
    look = _Look(np.unique(known[1]) if is_classifier(first) else None)
    found = shadow_outputs(
        _shadow(first, settings),
        known,
        inside,
        known,
        look,
        rng,
        settings.n_jobs,
        settings.verbose,
    )
    seen = np.concatenate(found)
    member = inside[: len(found)].ravel()
    label = np.tile(known[1], len(found)) if look.classes is not None else None
    model = settings.attack_estimator
    if model is None:
        model = make_pipeline(StandardScaler(), LogisticRegression())
    query = question.both
    n_asked = len(question.asked[1])
    own = _one_per_class(settings.by_class, look.classes, label, member, query[1])
    fitted = _attack_models(refit.seeded(model, rng), seen, member, label, own)

    def score(estimator):
        values = _called(fitted, look(estimator, *query), query[1])
        return values[:n_asked], values[n_asked:], 0.5

    return score


class _Look:
    """What an attack model sees of a row: confidence, and the outputs of all classes.

    Parameters
    ----------
    classes : ndarray or None
        None for regressors: the logarithm of the squared error and the prediction.
    """

    def __init__(self, classes):
        self.classes = classes

    def __call__(self, estimator, X, y):
        if self.classes is None:
            loss = np.log(_outputs.row_losses(estimator, X, y) + SMALLEST_SEEN)
            predicted = np.asarray(estimator.predict(X), dtype=float)
            return np.column_stack([loss, predicted.reshape(len(y), -1)])
        own = _outputs.confidences(estimator, X, y)
        if hasattr(estimator, "predict_proba"):
            p = _outputs.probabilities(estimator, X, self.classes)
            outputs = np.log(np.maximum(p, SMALLEST_SEEN))
        else:
            outputs = _outputs.decisions(estimator, X, self.classes)
        return np.column_stack([own, outputs, y[:, None] == self.classes])


def _one_per_class(by_class, classes, label, member, asked):
    """Whether every class gets an attack model of its own."""
    if classes is None or by_class is False:
        return False
    if by_class is True:
        unknown = np.setdiff1d(asked, classes)
        if len(unknown):
            raise ValueError(
                f"by_class=True, but no known row has the labels {unknown[:5].tolist()}"
                " of rows that are asked about or fresh: use by_class='auto'."
            )
        return True
    sizes = [
        min(np.sum(member[label == c]), np.sum(~member[label == c])) for c in classes
    ]
    return min(sizes) >= PER_CLASS and not len(np.setdiff1d(asked, classes))


def _attack_models(model, seen, member, label, own):
    """label (None for all) -> fitted attack model."""
    if not own:
        return {None: clone(model).fit(seen, member)}
    return {
        c: clone(model).fit(seen[label == c], member[label == c])
        for c in np.unique(label).tolist()
    }


def _called(fitted, seen, y):
    """Probability of membership (n,)."""
    if None in fitted:
        return fitted[None].predict_proba(seen)[:, 1]
    out = np.empty(len(y))
    for c, model in fitted.items():
        if (y == c).any():
            out[y == c] = model.predict_proba(seen[y == c])[:, 1]
    return out


METHODS = {"lira": _by_likelihood, "loss": _by_loss, "shadow": _by_shadows}
