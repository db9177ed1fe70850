"""Solutions of a linear system from which rows are taken one by one."""

import numpy as np

from skpuma.kernels._jit import kernel

MAX_ROUNDS = 60
PRECISION = 1e-15


@kernel
def downdates(A, G, lost, penalty, largest, inverse):
    """Solutions of ``H_j s_j = G_j`` while rows leave H, by Sherman-Morrison.

    ``H_j = inverse^-1 - sum_{i <= j} A_i.T A_i - lost_j * penalty``. What leaves of the
    penalty is small, and taken into account by iteration; `inverse` (p, p), symmetric,
    is overwritten by that of H_m without it.

    Parameters
    ----------
    A : ndarray (m, k, p)
    G : ndarray (m, p)
    lost : ndarray (m,)
    penalty : ndarray (p, p), or (0, 0) where nothing of it is lost
    largest : float
        Leverage ``a.T H^-1 a`` of a row of A at which to stop.
    inverse : ndarray (p, p)

    Returns
    -------
    ndarray (m, p + 2)
        s_j, ``s_j . G_j``, and the product of ``1 - leverage`` so far; nan from the
        first j on at which it stopped.
    """
    m, k, p = A.shape
    out = np.full((m, p + 2), np.nan)
    left = 1.0
    for j in range(m):
        for a in range(k):
            v = np.dot(inverse, A[j, a])
            rest = 1.0 - np.dot(A[j, a], v)
            if not rest > 1.0 - largest:
                return out
            left *= rest
            for q in range(p):
                scaled = v[q] / rest
                for r in range(p):
                    inverse[q, r] += scaled * v[r]
        step = np.dot(inverse, G[j])
        if lost[j] > 0.0:
            start = step
            for _ in range(MAX_ROUNDS):
                before = step
                more = np.dot(inverse, np.dot(penalty, before))
                step = start + lost[j] * more
                change = np.abs(step - before).sum()
                if not change > PRECISION * np.abs(step).sum():
                    break
        out[j, :p] = step
        out[j, p] = np.dot(step, G[j])
        out[j, p + 1] = left
    return out
