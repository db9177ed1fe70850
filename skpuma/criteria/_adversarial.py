"""The loss on inputs that are shifted against the model."""

import numpy as np
from scipy import sparse

from skpuma.criteria._losses import TrainingLoss
from skpuma.utils._validation import check_number


class AdversarialLoss(TrainingLoss):
    """Mean loss of rows that were moved to where the model does worse (FGSM).

    The estimator's own loss, without class weights, at ``x + epsilon * sign(d loss /
    d x)``, in the units of the loss. The adversary answers the model at which the
    criterion is measured; under differentiation its shift is held fixed, which is
    exact wherever no sign changes. A linear model with a coefficient near zero has a
    kink there, which psi does not see. For models that are linear in x and convex
    losses it is never below the plain loss.

    Parameters
    ----------
    epsilon : float >= 0, default 0.1
        Size of the shift of every column, in the units of the prepared columns: those
        that the last step of a Pipeline sees, so standard deviations behind a
        ``StandardScaler``. One-hot columns are shifted as well.
    by : {None, "class", "group"}

    Notes
    -----
    Every column of every row moves, so CSR rows are refused rather than made dense.

    References
    ----------
    I. J. Goodfellow, J. Shlens, C. Szegedy, "Explaining and harnessing adversarial
    examples", ICLR 2015.

    Examples
    --------
    >>> from skpuma import PumaValuator
    >>> from skpuma.criteria import AdversarialLoss
    >>> PumaValuator(criterion=AdversarialLoss(epsilon=0.05))
    PumaValuator(criterion=AdversarialLoss(epsilon=0.05))
    """

    name = "adversarial_loss"

    def __init__(self, epsilon=0.1, by=None):
        super().__init__(by)
        check_number(epsilon, "epsilon", low=0.0)
        self.epsilon = epsilon

    def for_loss(self, loss):
        bound = super().for_loss(loss)
        bound.name = type(self).name
        return bound

    def inputs(self, model, X, y):
        """The shifted rows (n, d).

        Raises
        ------
        ValueError
            If the rows are CSR.
        """
        if sparse.issparse(X):
            raise ValueError(
                f"{self.name} shifts every column, which would make CSR rows dense. "
                "Measure it on dense rows: pass a dense X_val= with y_val=, as few "
                "rows as will do."
            )
        u = self.loss.gradient(model.raw(X), y)
        return X + self.epsilon * np.sign(model.input_vjp(X, u))
