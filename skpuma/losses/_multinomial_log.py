"""Log-loss of a softmax over k raw outputs."""

import numpy as np

from skpuma.losses._base import BaseLoss
from skpuma.losses._output_hessian import SoftmaxHessian
from skpuma.utils._softmax import log_sum_exp, row_sum, softmax


class MultinomialLogLoss(BaseLoss):
    """``logsumexp(z) - z[y]`` with y in {0, ..., k - 1}."""

    task = "classification"

    def value(self, z, y):
        return log_sum_exp(z) - z[np.arange(len(z)), y]

    def gradient(self, z, y):
        residual = softmax(z)
        residual[np.arange(len(z)), y] -= 1.0
        return residual

    def hessian(self, z, y):
        p = softmax(z)
        hessian = -p[:, :, None] * p[:, None, :]
        k = np.arange(z.shape[1])
        hessian[:, k, k] += p
        return hessian

    def hessian_operator(self, z, y, scale):
        return SoftmaxHessian(softmax(z), scale)

    def hessian_root(self, z, y):
        # (diag(q) - p q^T)(diag(q) - p q^T)^T = diag(p) - p p^T, q = sqrt(p), |q| = 1
        p = softmax(z)
        q = np.sqrt(p)
        root = -p[:, :, None] * q[:, None, :]
        k = np.arange(z.shape[1])
        root[:, k, k] += q
        return root

    def predict(self, z):
        return softmax(z)

    def predict_vjp(self, z, u):
        p = softmax(z)
        return p * (u - row_sum(p * u)[:, None])
