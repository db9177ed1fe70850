"""How far two models are apart on the same rows."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PredictionGap:
    """How far two models' predictions are apart.

    Attributes
    ----------
    disagreement : float or None
        Share of the rows with another most probable class.
    kl : float or None
        Mean Kullback-Leibler divergence of the second from the first, in nats.
    rms : float or None
        Root of the mean squared difference of a regression's predictions.
    """

    disagreement: float | None = None
    kl: float | None = None
    rms: float | None = None


def prediction_gap(p, q, *, regression="auto"):
    """How far the predictions `q` of a model are from those of a reference `p`.

    Parameters
    ----------
    p, q : array-like (n, k) or (n,)
        Class probabilities, one column per class, or a regression's predictions.
    regression : "auto" or bool, default "auto"
        What the numbers are. "auto": one column is a regression, several are classes.

    Returns
    -------
    PredictionGap
        ``disagreement`` and ``kl`` (``mean_i sum_c p_ic log(p_ic / q_ic)``) of classes,
        ``rms`` (summed over outputs, mean over rows) of a regression; the others are
        None. A probability below the rounding error of 1 (2.2e-16) counts as that.

    Raises
    ------
    ValueError
        If shapes differ, there are no rows, or class probabilities are negative or do
        not sum to one.

    Examples
    --------
    >>> from skpuma.metrics import prediction_gap
    >>> prediction_gap([[0.6, 0.4], [0.5, 0.5]], [[0.4, 0.6], [0.5, 0.5]]).disagreement
    0.5
    >>> prediction_gap([1.0, 2.0], [1.0, 4.0]).rms
    1.4142135623730951
    """
    p, q = (np.asarray(one, dtype=np.float64) for one in (p, q))
    if p.shape != q.shape or p.ndim not in (1, 2) or not p.size:
        raise ValueError(
            f"p has shape {p.shape} and q {q.shape}: pass the predictions of both "
            "models for the same rows, at least one."
        )
    if not (isinstance(regression, (bool, np.bool_)) or regression == "auto"):
        raise ValueError(f"regression={regression!r} is not 'auto', True or False.")
    if isinstance(regression, str):
        regression = p.ndim == 1
    if regression:
        square = np.square(p - q).reshape(len(p), -1).sum(axis=1)
        return PredictionGap(rms=float(np.sqrt(square.mean())))
    for one, name in ((p, "p"), (q, "q")):
        if one.ndim < 2 or (one < 0).any() or not np.allclose(one.sum(1), 1, atol=1e-6):
            raise ValueError(
                f"{name} does not hold class probabilities, which are not negative and "
                "sum to one. For several outputs of a regression pass regression=True."
            )
    disagreement = (p.argmax(axis=1) != q.argmax(axis=1)).mean()
    least = np.finfo(np.float64).eps
    ratio = np.log(np.maximum(p, least)) - np.log(np.maximum(q, least))
    # Never negative but for rounding.
    kl = max(float((p * ratio).sum(axis=1).mean()), 0.0)
    return PredictionGap(disagreement=float(disagreement), kl=kl)
