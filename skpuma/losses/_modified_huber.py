"""Squared hinge loss, linear for rows that are far on the wrong side."""

from skpuma.losses._squared_hinge import SquaredHingeLoss


class ModifiedHuberLoss(SquaredHingeLoss):
    """``max(0, 1 - m)^2`` for ``m >= -1``, ``-4 m`` below, with ``m = (2 y - 1) z``."""

    _limit = 2.0
