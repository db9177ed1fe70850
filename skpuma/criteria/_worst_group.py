"""The loss of the group that a model serves worst."""

import numpy as np
from scipy.special import logsumexp, softmax

from skpuma.criteria._base import TASKS, BaseCriterion, weights_of
from skpuma.utils._validation import check_number


class WorstGroupLoss(BaseCriterion):
    """Largest mean loss of a group: the estimator's own loss, without class weights.

    ``max_g L_g`` with ``L_g = sum_{i in g} w_i loss_i / sum_{i in g} w_i``, in the
    units and range of the loss. Its slope is that of the group that is worst now, the
    first of equal ones; groups without weight do not count. It needs a sensitive
    feature.

    Parameters
    ----------
    temperature : float > 0, default None
        None: the maximum. Otherwise ``T log(mean_g exp(L_g / T))`` over groups, a
        smooth number between the mean of the L_g and their maximum, which it tends to
        as the temperature T, in the units of the loss, tends to 0.
    by : {None, "class", "group"}
        "class": the worst group among the rows of every class. "group": the worse of
        one group and of all the others together. The loss of every group on its own is
        ``TrainingLoss(by="group")``.

    References
    ----------
    S. Sagawa, P. W. Koh, T. B. Hashimoto, P. Liang, "Distributionally robust neural
    networks for group shifts", ICLR 2020.

    Examples
    --------
    >>> from skpuma import PumaValuator
    >>> from skpuma.criteria import WorstGroupLoss
    >>> PumaValuator(criterion=WorstGroupLoss(temperature=0.1))
    PumaValuator(criterion=WorstGroupLoss(temperature=0.1))
    """

    name = "worst_group_loss"
    bounded = False
    needs_groups = True
    tasks = tuple(TASKS)

    def __init__(self, temperature=None, by=None):
        super().__init__(by)
        if temperature is not None:
            check_number(temperature, "temperature", low=0.0, strict_low=True)
        self.temperature = temperature
        self._against = None

    def against(self, group):
        """The same, of one group and all the others (``by="group"``)."""
        part = self.for_loss(self.loss)
        part._against = group
        return part

    def _of_groups(self, z, y, weight, groups):
        """Mean loss and weight of every group, and the group of every row (n,)."""
        if groups is None:
            raise ValueError(f"{self.name} needs groups: pass a sensitive feature.")
        if self._against is not None:
            groups = groups == self._against
        _, code = np.unique(groups, return_inverse=True)
        total = np.bincount(code, weight)
        sums = np.bincount(code, weight * self.loss.value(z, y))
        mean = np.full(len(total), -np.inf)
        np.divide(sums, total, out=mean, where=total > 0)
        return mean, total, code

    def value(self, z, y, *, sample_weight=None, groups=None):
        mean, total, _ = self._of_groups(z, y, weights_of(z, sample_weight), groups)
        if self.temperature is None:
            return mean.max()
        soft = logsumexp(mean / self.temperature) - np.log((total > 0).sum())
        return self.temperature * soft

    def grad_raw(self, z, y, *, sample_weight=None, groups=None):
        weight = weights_of(z, sample_weight)
        mean, total, code = self._of_groups(z, y, weight, groups)
        if self.temperature is None:
            factor = (np.arange(len(mean)) == mean.argmax()).astype(float)
        else:
            factor = softmax(mean / self.temperature)
        np.divide(factor, total, out=factor, where=total > 0)
        return self.loss.gradient(z, y) * (weight * factor[code])[:, None]
