"""How many labels are wrong: flip rates by maximum likelihood.

``P(given j | x) = sum_k S_k(x) T_kj`` with ``S = softmax(a log Q + b)``: what the
views expect, Q, made surer by the power a and shifted between the classes by b, and T
one flip rate per true class and source of rows, spread over the other classes by their
shares of the given labels: spread evenly, twenty rows of a rare class would say that
nothing is flipped. A mixture of views that were trained on wrong labels is less sure
than the truth, which a makes up for, and leans to the class that took labels from
others, which b makes up for.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import expit, logit

from skpuma.utils._softmax import row_sum, softmax

# Rows whose worth of evidence every rate is drawn with towards this rate.
PRIOR_ROWS, PRIOR_RATE = 1.0, 0.02
# More wrong than right labels of a class could not be told from another class.
MAX_RATE = 0.5
# Rows from which those of two classes are counted in bins of their log-odds, so wide.
BINNED_ROWS, BIN_WIDTH = 5000, 1.0 / 32.0
# Rows that tell the rates of more classes well enough.
RATE_ROWS = 10_000
# Where the search starts: all classes alike, or one with many wrong labels.
FIRST_RATE, HIGH, LOW = 0.1, 0.4, 0.03
# Classes up to which each of them has a start of its own.
FEW_CLASSES = 3
FIRST_POWER, POWERS, SHIFT = 1.5, (0.5, 6.0), 5.0


@dataclass(frozen=True)
class Rates:
    """The fit.

    Attributes
    ----------
    power : float
    shift : ndarray (K,)
        The first is 0.
    rate : ndarray (S, K)
        Share of the rows of a true class with another label, by source.
    spread : ndarray (K, K)
        Where wrong labels of a true class (row) go; rows sum to 1.
    fit : float
        Penalised log-likelihood per unit of weight.
    """

    power: float
    shift: np.ndarray
    rate: np.ndarray
    spread: np.ndarray
    fit: float

    def expected(self, unseen):
        """Probability of every true class (n, K) without the given label."""
        return softmax(self.power * np.log(unseen) + self.shift)

    def transition(self, source):
        """T (K, K) of one source."""
        rate = self.rate[source]
        return rate[:, None] * self.spread + np.diag(1.0 - rate)


def spread_by(share):
    """Where flips go (K, K), to the other classes by their share (K,) of the labels."""
    spread = np.tile(share, (len(share), 1))
    np.fill_diagonal(spread, 0.0)
    return spread / spread.sum(axis=1, keepdims=True)


def uniform_flips(rate):
    """``P(given j | true k)`` (K, K) of flips to any other class alike."""
    K = len(rate)
    T = np.repeat(rate[:, None] / max(K - 1, 1), K, axis=1)
    T[np.arange(K), np.arange(K)] = 1.0 - rate
    return T


def posterior(expected, code, T):
    """``P(true k | x, given j)`` (n, K) by Bayes' rule."""
    joint = expected * T[:, code].T
    return joint / row_sum(joint)[:, None]


def fitted_rates(unseen, code, source, weight):
    """The most probable `Rates`, from several starts.

    Parameters
    ----------
    unseen : ndarray (n, K)
        Positive probabilities of models that were trained on the given labels.
    code : ndarray of int (n,)
    source : ndarray of int (n,)
        Positions of the sources, 0 to S - 1.
    weight : ndarray (n,)
    """
    K, n_sources = unseen.shape[1], source.max() + 1
    log_unseen, row = np.log(unseen), weight.mean()
    # One row more of every class: any label may be a wrong one.
    spread = spread_by(np.bincount(code, weight, K) + row)
    table = log_unseen, code, source, weight
    if K == 2 and len(code) >= BINNED_ROWS:
        table = _binned(*table)
    elif len(code) >= 2 * RATE_ROWS:
        # The rows are in the order of their content: every so-manyth is a fair sample.
        table = tuple(one[:: len(code) // RATE_ROWS] for one in table)
    starts = [np.full(K, FIRST_RATE)]
    if K <= FEW_CLASSES:
        starts += [np.where(np.arange(K) == c, HIGH, LOW) for c in range(K)]
    bounds = [tuple(np.log(POWERS))] + [(-SHIFT, SHIFT)] * (K - 1)
    bounds += [(-9.0, 9.0)] * (K * n_sources)
    found = []
    for rate in starts:
        rate = np.tile(logit(rate / MAX_RATE), n_sources)
        found.append(
            optimize.minimize(
                negative_likelihood,
                np.r_[np.log(FIRST_POWER), np.zeros(K - 1), rate],
                args=(*table, row, spread),
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
            )
        )
    best = min(found, key=lambda one: one.fun)
    power, shift, rate = _unpacked(best.x, K)
    return Rates(float(power), shift, rate, spread, float(-best.fun))


def _binned(log_unseen, code, source, weight):
    """The same rows of two classes, those of about the same log-odds as one."""
    odds = log_unseen[:, 1] - log_unseen[:, 0]
    place = np.floor((odds - odds.min()) / BIN_WIDTH).astype(int)
    cell = (place * 2 + code) * (source.max() + 1) + source
    total = np.bincount(cell, weight)
    middle = np.bincount(cell, weight * odds)
    used = np.flatnonzero(total)
    total, middle = total[used], middle[used] / total[used]
    source, cell = used % (source.max() + 1), used // (source.max() + 1)
    out = -np.logaddexp(0.0, np.stack([middle, -middle], axis=1))
    return out, cell % 2, source, total


def _unpacked(t, K):
    return np.exp(t[0]), np.r_[0.0, t[1:K]], MAX_RATE * expit(t[K:].reshape(-1, K))


def negative_likelihood(t, log_unseen, code, source, weight, row, spread):
    """Minus the penalised log-likelihood per unit of weight, and its gradient.

    Parameters
    ----------
    t : ndarray (K + S K,)
        Logarithm of the power, shifts of the classes but the first, logits of the rates
        relative to `MAX_RATE`.
    row : float
        Weight of a row.
    spread : ndarray (K, K)
        As in `Rates`.
    """
    n, K = log_unseen.shape
    power, shift, rate = _unpacked(t, K)
    given = np.arange(n), code
    S = softmax(power * log_unseen + shift)
    T = rate[source] * spread[:, code].T
    T[given] = 1.0 - rate[source, code]
    joint = S * T
    P = row_sum(joint)
    r = joint / P[:, None]
    pull = (r - S) * weight[:, None]
    right, total = np.zeros_like(rate), np.zeros_like(rate)
    for s in range(len(rate)):
        rows = source == s
        right[s] = np.bincount(code[rows], (weight * r[given])[rows], K)
        total[s] = weight[rows] @ r[rows]
    wrong = total - right
    # One row's worth of evidence keeps the power and the shifts finite.
    prior = PRIOR_ROWS * row
    value = weight @ np.log(P) - 0.5 * row * (t[0] ** 2 + shift @ shift)
    value += prior * np.sum(
        PRIOR_RATE * np.log(rate) + (1.0 - PRIOR_RATE) * np.log1p(-rate)
    )
    by_power = power * np.sum(pull * log_unseen) - row * t[0]
    by_shift = pull.sum(axis=0) - row * shift
    by_rate = (wrong + prior * PRIOR_RATE) / rate
    by_rate -= (right + prior * (1.0 - PRIOR_RATE)) / (1.0 - rate)
    by_rate *= rate * (1.0 - rate / MAX_RATE)
    gradient = np.r_[by_power, by_shift[1:], by_rate.ravel()]
    return -value / weight.sum(), -gradient / weight.sum()
