"""How well attack scores tell rows that a model was trained on from fresh rows.

A score is higher for a row that looks more like a training row. Where it comes from
(`skpuma.evidence.membership_inference`) is nothing to these functions: arrays in,
numbers out.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state, column_or_1d

from skpuma.utils._validation import check_number, check_whole


class Estimate(NamedTuple):
    """A number with its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Estimates:
    """What is told of one attack, or of the difference of two."""

    auc: Estimate
    advantage: Estimate
    tpr: Estimate
    threshold_advantage: Estimate | None
    fpr: float
    level: float

    def estimates(self):
        """Name -> `Estimate`, in the order of reports."""
        named = {
            "auc": self.auc,
            "advantage": self.advantage,
            f"tpr at {100 * self.fpr:g} % fpr": self.tpr,
        }
        if self.threshold_advantage is not None:
            named["advantage at the threshold"] = self.threshold_advantage
        return named

    def to_frame(self):
        """One line per measure: value, low, high."""
        import pandas as pd

        return pd.DataFrame.from_dict(
            self.estimates(), orient="index", columns=["value", "low", "high"]
        )


@dataclass(frozen=True)
class AttackGap(_Estimates):
    """Attack on one model minus attack on another one, on the same rows.

    Attributes
    ----------
    auc, advantage, tpr : Estimate
        Differences, with intervals from the same resampled rows for both.
    threshold_advantage : Estimate or None
    fpr, level : float
        As in `MembershipAttack`.
    """


@dataclass(frozen=True)
class MembershipAttack(_Estimates):
    """How well an attack tells members from fresh rows.

    Attributes
    ----------
    auc : Estimate
        Chance that a member scores higher than a fresh row; 0.5 is guessing.
    advantage : Estimate
        Largest difference of true and false positive rate over all thresholds.
    tpr : Estimate
        Largest true positive rate with a false positive rate of at most `fpr`.
    threshold_advantage : Estimate or None
        The difference at the threshold that was given beforehand.
    fpr, level : float
        False positive rate of `tpr`, and coverage of the intervals.
    threshold : float or None
    members, fresh : ndarray
        The scores.
    """

    threshold: float | None = None
    members: np.ndarray = field(default=None, repr=False, compare=False)
    fresh: np.ndarray = field(default=None, repr=False, compare=False)


def membership_attack(
    members,
    fresh,
    *,
    threshold=None,
    fpr=0.01,
    n_bootstrap=1000,
    level=0.95,
    random_state=None,
):
    """How well attack scores tell members from fresh rows, with intervals.

    Parameters
    ----------
    members : array-like (m,)
        Scores of the rows that are asked about. Higher means "was trained on".
    fresh : array-like (f,)
        Scores of rows that the model has certainly not been trained on.
    threshold : float, optional
        Score from which on a row is called a member, fixed beforehand, for an advantage
        that is not chosen by looking at the result.
    fpr : float in (0, 1), default 0.01
        False positive rate at which the true positive rate is reported. With fewer than
        ``1 / fpr`` fresh rows it allows no false positive at all.
    n_bootstrap : int, default 1000
        Resamples of members and of fresh rows, each within its own kind.
    level : float in (0, 1), default 0.95
        Coverage of the percentile intervals.
    random_state : int, RandomState or None, default None

    Returns
    -------
    MembershipAttack
        ``auc``, ``advantage`` and ``tpr``, each with ``value``, ``low`` and ``high``.

    Raises
    ------
    ValueError, TypeError
        For scores that are empty or nan, or parameters out of range.

    Notes
    -----
    Advantage and `tpr` are maxima over thresholds: where there is nothing to find they
    are above zero all the same, and so are their intervals. Compare them with those of
    a model that was never trained on the rows (`attack_gap`), not with zero.

    References
    ----------
    S. Yeom, I. Giacomelli, M. Fredrikson, S. Jha, "Privacy Risk in Machine Learning:
    Analyzing the Connection to Overfitting", CSF 2018, definition 4 (advantage).
    N. Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P
    2022, section III (true positive rate at a low false positive rate).

    Examples
    --------
    >>> from skpuma.metrics import membership_attack
    >>> attack = membership_attack([0.9, 0.8, 0.3], [0.7, 0.2, 0.1], random_state=0)
    >>> round(attack.auc.value, 3)
    0.889
    """
    settings = _settings(fpr, n_bootstrap, level)
    if threshold is not None:
        threshold = check_number(threshold, "threshold", infinite=True)
    ranked = _Ranked(
        _scores(members, "members"), _scores(fresh, "fresh"), settings[0], threshold
    )
    rng = check_random_state(random_state)
    draws = np.array([ranked.measure(*one) for one in _draws(ranked, n_bootstrap, rng)])
    return MembershipAttack(
        **_estimates(ranked.measure(), draws, settings),
        threshold=threshold,
        members=ranked.members,
        fresh=ranked.fresh,
    )


def attack_gap(attack, reference, *, n_bootstrap=1000, random_state=None):
    """How much more an attack finds in one model than in another one.

    A model has forgotten rows when an attack finds no more in it than in a model that
    was trained without them: success is a gap of zero, not an attack that fails, and a
    gap far below zero is a trace of the removal too.

    Parameters
    ----------
    attack, reference : MembershipAttack
        On the same rows in the same order; `reference` of the retrained model.
    n_bootstrap : int, default 1000
    random_state : int, RandomState or None, default None

    Returns
    -------
    AttackGap
        Differences ``attack - reference``; rows are resampled for both alike, so that
        what the rows have in common does not widen the intervals.

    Raises
    ------
    ValueError
        If the attacks were not on as many rows, or measured at other rates or levels.

    Examples
    --------
    >>> from skpuma.metrics import attack_gap, membership_attack
    >>> before = membership_attack([0.9, 0.8, 0.3], [0.7, 0.2, 0.1], random_state=0)
    >>> after = membership_attack([0.3, 0.8, 0.1], [0.7, 0.2, 0.1], random_state=0)
    >>> round(attack_gap(before, after, random_state=0).auc.value, 3)
    0.278
    """
    for name in ("members", "fresh"):
        sizes = [len(getattr(one, name)) for one in (attack, reference)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"The attacks scored {sizes[0]} and {sizes[1]} {name}: a gap needs the "
                "same rows in the same order."
            )
    if (attack.fpr, attack.level) != (reference.fpr, reference.level):
        raise ValueError("The attacks have other fpr or level: measure both alike.")
    settings = _settings(attack.fpr, n_bootstrap, attack.level)
    thresholds = [attack.threshold, reference.threshold]
    if None in thresholds:
        thresholds = [None, None]
    first, second = (
        _Ranked(one.members, one.fresh, attack.fpr, threshold)
        for one, threshold in zip((attack, reference), thresholds, strict=True)
    )
    rng = check_random_state(random_state)
    draws = np.array(
        [
            first.measure(*one) - second.measure(*one)
            for one in _draws(first, n_bootstrap, rng)
        ]
    )
    return AttackGap(**_estimates(first.measure() - second.measure(), draws, settings))


class _Ranked:
    """Scores by rank, so that resampled rows cost no sort."""

    def __init__(self, members, fresh, fpr, threshold):
        self.members, self.fresh = members, fresh
        levels, code = np.unique(np.concatenate([members, fresh]), return_inverse=True)
        self.n_levels = len(levels)
        # From the highest score down.
        code = self.n_levels - 1 - code
        self.codes = code[: len(members)], code[len(members) :]
        self.false_positives = np.floor(fpr * len(fresh) * (1.0 + 1e-12))
        self.called = None
        if threshold is not None:
            # Number of levels at or above the threshold.
            self.called = self.n_levels - np.searchsorted(levels, threshold, "left")

    def measure(self, *counts):
        """AUC, advantage, TPR at the FPR (and advantage at the threshold).

        Parameters
        ----------
        *counts : two ndarrays of int (m,) and (f,)
            How often every member and every fresh row counts; once if left out.
        """
        counts = counts or (None, None)
        true, false = (
            np.append(0, np.cumsum(np.bincount(code, count, self.n_levels)))
            for code, count in zip(self.codes, counts, strict=True)
        )
        low = int(np.searchsorted(false, self.false_positives, "right")) - 1
        tpr, fpr = true / true[-1], false / false[-1]
        area = np.diff(fpr) @ (tpr[1:] + tpr[:-1]) / 2.0
        out = [area, (tpr - fpr).max(), tpr[low]]
        if self.called is not None:
            out.append(tpr[self.called] - fpr[self.called])
        return np.array(out)


def _draws(ranked, n_bootstrap, rng):
    """How often every member and every fresh row counts in each resample."""
    sizes = len(ranked.members), len(ranked.fresh)
    for _ in range(n_bootstrap):
        yield tuple(np.bincount(rng.randint(n, size=n), minlength=n) for n in sizes)


def _estimates(values, draws, settings):
    """Fields of the records, from values (q,) and their resamples (B, q)."""
    fpr, level = settings
    low, high = np.quantile(draws, [0.5 * (1.0 - level), 0.5 * (1.0 + level)], axis=0)
    found = [
        Estimate(float(v), float(a), float(b))
        for v, a, b in zip(values, low, high, strict=True)
    ]
    names = ("auc", "advantage", "tpr", "threshold_advantage")
    found += [None] * (len(names) - len(found))
    return dict(zip(names, found, strict=True)) | {"fpr": fpr, "level": level}


def _settings(fpr, n_bootstrap, level):
    check_whole(n_bootstrap, "n_bootstrap", low=1)
    for value, name in ((fpr, "fpr"), (level, "level")):
        if not 0.0 < check_number(value, name) < 1.0:
            raise ValueError(
                f"{name}={value!r} is not between 0 and 1, both exclusive."
            )
    return float(fpr), float(level)


def _scores(values, name):
    values = column_or_1d(np.asarray(values, dtype=np.float64))
    if not len(values):
        raise ValueError(f"{name} is empty: an attack needs scores of both kinds.")
    if np.isnan(values).any():
        raise ValueError(f"{name} has nan scores: leave those rows out.")
    return values
