"""Half the Poisson deviance with a log link, without the terms of y alone."""

from skpuma.losses._tweedie import TweedieLoss


class PoissonLoss(TweedieLoss):
    """``exp(z) - y z``, summed over outputs: the Tweedie loss of power 1."""

    parameters = ()

    def __init__(self):
        super().__init__(1.0)
