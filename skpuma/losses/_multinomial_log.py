"""Log-loss of a softmax over k raw outputs."""

import numpy as np
from scipy.special import logsumexp, softmax

from skpuma.losses._base import BaseLoss
from skpuma.losses._output_hessian import SoftmaxHessian


class MultinomialLogLoss(BaseLoss):
    """``logsumexp(z) - z[y]`` with y in {0, ..., k - 1}."""

    task = "classification"

    def value(self, z, y):
        return logsumexp(z, axis=1) - z[np.arange(len(z)), y]

    def gradient(self, z, y):
        residual = softmax(z, axis=1)
        residual[np.arange(len(z)), y] -= 1.0
        return residual

    def hessian(self, z, y):
        p = softmax(z, axis=1)
        hessian = -p[:, :, None] * p[:, None, :]
        k = np.arange(z.shape[1])
        hessian[:, k, k] += p
        return hessian

    def hessian_operator(self, z, y, scale):
        return SoftmaxHessian(softmax(z, axis=1), scale)

    def hessian_root(self, z, y):
        # (diag(q) - p q^T)(diag(q) - p q^T)^T = diag(p) - p p^T, q = sqrt(p), |q| = 1
        p = softmax(z, axis=1)
        q = np.sqrt(p)
        root = -p[:, :, None] * q[:, None, :]
        k = np.arange(z.shape[1])
        root[:, k, k] += q
        return root

    def predict(self, z):
        return softmax(z, axis=1)

    def predict_vjp(self, z, u):
        p = softmax(z, axis=1)
        return p * (u - (p * u).sum(axis=1, keepdims=True))
