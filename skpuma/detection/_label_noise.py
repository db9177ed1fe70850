"""How probable it is that a row's label is right, from several out-of-sample views.

The given label is taken for a noisy copy of a true one: ``P(given j | true k) = T_kj``,
whatever else is known about the row (class-conditional noise). In every round

1. the views say how probable each class is for each row, by models that have not seen
   it, and are mixed with the shares under which the given labels are most probable;
2. Bayes' rule says how probable every true class is, given the label, and the rates of
   T are counted again, for the training and for the validation rows on their own;
3. every row gets the weight ``P(label is right) / T_jj``, with which the rows stand for
   rows with right labels (importance reweighting), and the views look again.

The rounds rank the rows. How many labels are wrong is told by `fitted_rates` from the
first look, and the probabilities are moved, keeping the ranking, until they count as
many wrong labels as that.

References
----------
T. Liu, D. Tao, "Classification with Noisy Labels by Importance Reweighting", IEEE
TPAMI 38(3), 2016, eq. 6.
J. Bootkrajang, A. Kaban, "Label-noise Robust Logistic Regression and Its Applications",
ECML PKDD 2012, for the same model of the noise.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import expit

from skpuma.detection._rates import fitted_rates, posterior, uniform_flips
from skpuma.utils._progress import Interruptible

# Probabilities below this are not told apart: one row never outweighs all others.
FLOOR = 1e-3
# Share of flips that is assumed before anything is known.
FIRST_RATE = 0.1
# Rows whose worth of average evidence every class's flip rate is shrunk with.
PRIOR_ROWS = 20.0
# Half of the mixture is uniform over the views: the fitted shares vary much.
UNIFORM_SHARE = 0.5
MIXTURE_STEPS = 100
# Probabilities that are told from certainty.
TINY, SURE = 1e-300, 1.0 - 1e-15
# In log-odds: probabilities below exp(-FAR) are zero.
FAR = 50.0
# A round that moves the mean probability by less was the last one.
SETTLED = 1e-3


@dataclass(frozen=True)
class LabelNoise:
    """What the views say of distinct labelled rows.

    Attributes
    ----------
    probability : ndarray (u, K)
        Of every true class, given the features and the given label.
    unseen : ndarray (u, K)
        The same without the given label: what the views expect.
    transition : list of ndarray (K, K)
        ``P(given j | true k)`` of the training rows, and of the validation rows.
    rate : list of float
        Share of wrong labels of the training rows, and of the validation rows.
    shares : dict of str to float
        Share of every view in the mixture.
    n_rounds : int
    """

    probability: np.ndarray
    unseen: np.ndarray
    transition: list
    rate: list
    shares: dict
    n_rounds: int

    def right(self, code):
        """Probability (u,) that the given label is right."""
        return self.probability[np.arange(len(code)), code]


def label_noise(views, table, rounds=3, verbose=0):
    """Infer which labels are wrong.

    Parameters
    ----------
    views : dict of str to BaseView
    table : LabelledRows
    rounds : int
        At most so many looks of the views; fewer if the result settles before.
    verbose : int
        Above 0: a bar over the rounds.

    Returns
    -------
    LabelNoise
    """
    looks = Interruptible(
        _looks(views, table, rounds), rounds, verbose=verbose, title="rounds"
    )
    first, n_rounds = None, 0
    for look in looks:
        n_rounds += 1
        probability, unseen, shares = look
        first = unseen if first is None else first
    sources = _sources(table)
    probability, transition, rate = _calibrated(probability, first, table, sources)
    return LabelNoise(probability, unseen, transition, rate, shares, n_rounds)


def _sources(table):
    return [table.source == s for s in np.unique(table.source)]


def _looks(views, table, rounds):
    """(probability, unseen, shares) of one round after the other."""
    K = table.n_classes
    sources = _sources(table)
    transition = [uniform_flips(np.full(K, FIRST_RATE)) for _ in sources]
    weight, before = table.weight, None
    for _ in range(rounds):
        unseen, shares = _mixed(views, table, weight)
        right = np.empty(len(table))
        probability = np.empty_like(unseen)
        for s, rows in enumerate(sources):
            label, w = table.code[rows], table.weight[rows]
            told = posterior(unseen[rows], label, transition[s])
            transition[s] = _counted(told, label, w)
            probability[rows] = posterior(unseen[rows], label, transition[s])
            right[rows] = probability[rows][np.arange(len(label)), label]
        yield probability, unseen, shares
        if before is not None and np.abs(right - before).mean() < SETTLED:
            return
        before = right
        weight = table.weight * np.maximum(
            _importance(right, table.code, sources, transition), FLOOR
        )


def _importance(right, code, sources, transition):
    """``P(true j | x) / P(given j | x)`` of the given label j (Liu & Tao, eq. 6).

    By Bayes' rule that is ``P(label is right) / T_jj``.
    """
    out = np.empty_like(right)
    for rows, T in zip(sources, transition, strict=True):
        out[rows] = right[rows] / np.diag(T)[code[rows]]
    return out


def _mixed(views, table, weight):
    """Class probabilities (u, K) of the mixture of views, and the views' shares."""
    tables, owners = [], []
    for name, view in views.items():
        for one in view.probabilities(weight):
            tables.append(one)
            owners.append(name)
    given = np.stack([t[np.arange(len(table)), table.code] for t in tables], axis=1)
    share = mixture_shares(np.maximum(given, FLOOR), table.weight)
    share = UNIFORM_SHARE / len(share) + (1.0 - UNIFORM_SHARE) * share
    mixed = sum(s * t for s, t in zip(share, tables, strict=True))
    mixed = np.maximum(mixed, FLOOR * FLOOR)
    shares = {name: 0.0 for name in views}
    for name, s in zip(owners, share, strict=True):
        shares[name] += float(s)
    return mixed / mixed.sum(axis=1, keepdims=True), shares


def mixture_shares(likelihood, weight):
    """Shares (V,) under which a mixture makes the observations most probable.

    Expectation-maximisation; the objective is concave.

    Parameters
    ----------
    likelihood : ndarray (n, V)
        Positive.
    weight : ndarray (n,)
    """
    share = np.full(likelihood.shape[1], 1.0 / likelihood.shape[1])
    if len(share) == 1:
        return share
    for _ in range(MIXTURE_STEPS):
        responsibility = likelihood * share
        responsibility /= responsibility.sum(axis=1, keepdims=True)
        share = weight @ responsibility / weight.sum()
    return share


def _counted(posterior, code, weight):
    """T from expected counts: a flip rate per true class, spread over the others.

    A rate for every pair would take confusions of the views for flips. Rates are
    shrunk towards that of all classes.
    """
    K = posterior.shape[1]
    total = weight @ posterior
    right = np.zeros(K)
    np.add.at(right, code, weight * posterior[np.arange(len(code)), code])
    wrong = np.maximum(total - right, 0.0)
    # The prior counts rows, whatever unit the weights have.
    prior = PRIOR_ROWS * weight.mean()
    rate = (wrong + prior * wrong.sum() / total.sum()) / (total + prior)
    return uniform_flips(rate)


def _calibrated(probability, first, table, sources):
    """(probability, transition, rate) that count as many wrong labels as there are.

    The ranking of the rows of a source by the probability that their label is right is
    kept: its log-odds are stretched and shifted.

    Parameters
    ----------
    probability : ndarray (u, K)
        After the rounds.
    first : ndarray (u, K)
        What the views expected in the first round, trained on the given labels alone.
    """
    out, transition, rate = probability.copy(), [], []
    source = np.empty(len(table), dtype=int)
    for s, rows in enumerate(sources):
        source[rows] = s
    rates = fitted_rates(first, table.code, source, table.weight)
    for s, rows in enumerate(sources):
        code, weight = table.code[rows], table.weight[rows]
        T = rates.transition(s)
        given = np.arange(len(code)), code
        wrong = 1.0 - posterior(rates.expected(first[rows]), code, T)[given]
        transition.append(T)
        rate.append(float(weight @ wrong / weight.sum()))
        part = out[rows]
        right = np.clip(part[given], TINY, SURE)
        odds = rates.power * (np.log1p(-right) - np.log(right))
        wrong = _shifted(odds, weight, float(weight @ wrong))
        others = np.maximum(part.sum(axis=1) - part[given], TINY)
        part *= (wrong / others)[:, None]
        part[given] = 1.0 - wrong
        out[rows] = part
    return out, transition, rate


def _shifted(odds, weight, total):
    """Probabilities with these log-odds plus a constant, which sum to `total`."""

    def excess(shift):
        return float(weight @ expit(odds + shift)) - total

    low, high = -odds.max() - FAR, -odds.min() + FAR
    if excess(low) >= 0.0 or excess(high) <= 0.0:
        # As good as none, or all.
        return expit(odds + (low if excess(low) >= 0.0 else high))
    return expit(odds + optimize.brentq(excess, low, high))
