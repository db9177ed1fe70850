"""Scans of a permutation: rows are added in order and the fit follows each of them.

A stop is a number of rows; the model fitted on the rows before it is scored there. The
scan ends early once more than `patience` stops in a row were within `tolerance` (in
units of the score) of `full`; a negative tolerance never ends it, and `streak` is the
number of such stops just before. Scores that were not reached are NaN.
"""

import numpy as np

from skpuma.kernels._jit import kernel

ACCURACY, NEG_LOG_LOSS, R2, NEG_MEAN_SQUARED_ERROR = range(4)
SQUARED, LOG = range(2)
LOG_EPS = np.log(np.finfo(np.float64).eps)
# Share of a row outside the span of those before it that counts as a new direction.
NEW_DIRECTION = 1e-9
# A chord step that shrinks the Newton decrement by less asks for a new Hessian.
SLOW = 0.04
ARMIJO = 1e-4


@kernel
def least_squares_scan(
    X,
    Y,
    code,
    stops,
    penalty,
    intercept,
    X_val,
    y_val,
    metric,
    full,
    tolerance,
    patience,
):
    """Scores of (ridge) least squares, one rank-one update for every added row.

    Parameters
    ----------
    X : ndarray (n, d)
    Y : ndarray (n, k)
        Targets; -1 and 1 for the classes of a classifier.
    code : ndarray of int (n,)
        Class of every row; a class that was not seen is not predicted.
    stops : ndarray of int (s,)
    penalty : float
        0 gives the least-squares solution of smallest norm.
    intercept : bool
    X_val, y_val : ndarray (n_val, d), (n_val,)
    metric : int
    full, tolerance, patience : float, float, int
        See the module.

    Returns
    -------
    ndarray (s,)
    """
    d, k = X.shape[1], Y.shape[1]
    W = np.zeros((d, k))
    inverse, free = np.zeros((d, d)), np.eye(d)
    if penalty > 0.0:
        inverse, free = np.eye(d) / penalty, np.zeros((d, d))
    mean_x, mean_y = np.zeros(d), np.zeros(k)
    seen = np.zeros(max(k, 2), dtype=np.bool_)
    Z = np.zeros((X_val.shape[0], k))
    scores = np.full(stops.shape[0], np.nan)
    done = streak = 0
    for s in range(stops.shape[0]):
        for i in range(done, stops[s]):
            seen[code[i]] = True
            x, target = X[i] - mean_x, Y[i] - mean_y
            if intercept:
                # The row's share of the centred sums of squares.
                mean_x += x / (i + 1)
                mean_y += target / (i + 1)
                x *= np.sqrt(i / (i + 1))
                target *= np.sqrt(i / (i + 1))
            gain = _gain(x, inverse, free)
            for a in range(k):
                error = target[a]
                for j in range(d):
                    error -= W[j, a] * x[j]
                for j in range(d):
                    W[j, a] += gain[j] * error
        done = stops[s]
        _raw(X_val, W, mean_y - np.dot(mean_x, W), Z)
        scores[s] = _score(Z, y_val, seen, metric)
        streak = streak + 1 if abs(scores[s] - full) <= tolerance else 0
        if streak > patience:
            break
    return scores


@kernel
def _gain(x, inverse, free):
    """Step per unit of error of an added row; `inverse` and `free` follow it.

    `inverse` is the pseudo-inverse of ``X.T X + penalty``, and `free` projects on the
    directions that no row has been in (Albert and Sittler, 1966).
    """
    d = x.shape[0]
    moved = np.dot(inverse, x)
    out = np.dot(free, np.dot(free, x))
    size = np.dot(out, out)
    if size > NEW_DIRECTION**2 * np.dot(x, x):
        out /= size
        scale = 1.0 + np.dot(x, moved)
        for p in range(d):
            for q in range(d):
                free[p, q] -= size * out[p] * out[q]
                inverse[p, q] += (
                    scale * out[p] * out[q] - moved[p] * out[q] - out[p] * moved[q]
                )
        return out
    scale = 1.0 + np.dot(x, moved)
    for p in range(d):
        for q in range(d):
            inverse[p, q] -= moved[p] * moved[q] / scale
    return moved / scale


@kernel
def logistic_scan(
    X,
    code,
    n_classes,
    stops,
    penalty,
    X_val,
    y_val,
    metric,
    full,
    tolerance,
    patience,
    streak,
    precision,
    max_iter,
):
    """Scores of penalised logistic regression, warm-started Newton steps at every stop.

    The objective is ``sum of log-losses + 1/2 sum_j penalty_j ||theta_j||^2``, with one
    output for two classes and a softmax above. The inverse Hessian is updated by the
    added rows and inverted anew where it no longer halves the error.

    Parameters
    ----------
    X : ndarray (n, p)
        With a column of ones for an intercept, whose penalty is 0.
    code : ndarray of int (n,)
        Classes 0 ... n_classes - 1, all of them among the rows before the first stop.
    n_classes : int
    stops : ndarray of int (s,)
    penalty : ndarray (p,)
    X_val, y_val : ndarray (n_val, p), (n_val,)
    metric : int
    full, tolerance, patience, streak : float, float, int, int
        See the module.
    precision : float
        Newton step, relative to the largest parameter, at which a fit has converged.
    max_iter : int

    Returns
    -------
    ndarray (s, 2)
        Score, and 1 where the fit converged or else 0.
    """
    k = 1 if n_classes == 2 else n_classes
    p = X.shape[1]
    theta = np.zeros((p, k))
    prob = np.zeros((X.shape[0], k))
    inverse = np.zeros((p * k, p * k))
    everything = np.ones(max(k, 2), dtype=np.bool_)
    out = np.full((stops.shape[0], 2), np.nan)
    Z, offset = np.zeros((X_val.shape[0], k)), np.zeros(k)
    done, value, gradient = 0, 0.0, np.zeros((p, k))
    for s in range(stops.shape[0]):
        m = stops[s]
        if s == 0 or m - done > p * k:
            value, gradient = _log_objective(X[:m], code, theta, penalty, prob)
            _inverse_hessian(X[:m], prob, penalty, inverse)
        else:
            value += _add_rows(X, code, done, m, theta, prob, gradient, inverse)
        done = m
        theta, value, gradient, converged = _newton(
            X[:m],
            code,
            theta,
            penalty,
            prob,
            value,
            gradient,
            inverse,
            precision,
            max_iter,
        )
        _raw(X_val, theta, offset, Z)
        out[s, 0] = _score(Z, y_val, everything, metric)
        out[s, 1] = 1.0 if converged else 0.0
        streak = streak + 1 if abs(out[s, 0] - full) <= tolerance else 0
        if streak > patience:
            break
    return out


@kernel
def _newton(
    X,
    code,
    theta,
    penalty,
    prob,
    value,
    gradient,
    inverse,
    precision,
    max_iter,
):
    """(theta, value, gradient, converged); `prob` and `inverse` follow them."""
    p, k = theta.shape
    step = np.dot(inverse, gradient.ravel())
    decrement = np.dot(step, gradient.ravel())
    for _ in range(max_iter):
        if np.max(np.abs(step)) <= precision * max(1.0, np.max(np.abs(theta))):
            return theta, value, gradient, True
        length = 1.0
        for _ in range(40):
            trial = theta - length * step.reshape(p, k)
            trial_value, trial_gradient = _log_objective(X, code, trial, penalty, prob)
            rounding = 1e-12 * (1.0 + abs(value))
            if trial_value <= value - ARMIJO * length * decrement + rounding:
                break
            length *= 0.5
        theta, value, gradient = trial, trial_value, trial_gradient
        before = decrement
        step = np.dot(inverse, gradient.ravel())
        decrement = np.dot(step, gradient.ravel())
        if length < 1.0 or decrement > SLOW * before:
            _inverse_hessian(X, prob, penalty, inverse)
            step = np.dot(inverse, gradient.ravel())
            decrement = np.dot(step, gradient.ravel())
    return theta, value, gradient, False


@kernel
def _log_objective(X, code, theta, penalty, prob):
    """Value and gradient (p, k); the probabilities of the rows go to `prob`."""
    m = X.shape[0]
    k = theta.shape[1]
    Z = np.dot(X, theta)
    value = 0.0
    for i in range(m):
        value += _probabilities(Z[i], code[i], prob[i])
        # From here on Z holds the residuals.
        for a in range(k):
            Z[i, a] = prob[i, a]
        _subtract_label(Z[i], code[i])
    gradient = np.dot(X.T, Z)
    for j in range(theta.shape[0]):
        for a in range(k):
            value += 0.5 * penalty[j] * theta[j, a] ** 2
            gradient[j, a] += penalty[j] * theta[j, a]
    return value, gradient


@kernel
def _probabilities(z, label, prob):
    """Log-loss of one row; its class probabilities (of class 1 for one output)."""
    k = z.shape[0]
    if k == 1:
        e = np.exp(-abs(z[0]))
        prob[0] = 1.0 / (1.0 + e) if z[0] >= 0.0 else e / (1.0 + e)
        positive = z[0] if z[0] > 0.0 else 0.0
        return positive + np.log1p(e) - label * z[0]
    top = np.max(z)
    total = 0.0
    for a in range(k):
        prob[a] = np.exp(z[a] - top)
        total += prob[a]
    for a in range(k):
        prob[a] /= total
    return np.log(total) + top - z[label]


@kernel
def _subtract_label(residual, label):
    """Turn probabilities into the derivative of the log-loss."""
    if residual.shape[0] == 1:
        residual[0] -= label
    else:
        residual[label] -= 1.0


@kernel
def _add_rows(X, code, start, stop, theta, prob, gradient, inverse):
    """Add rows at unchanged theta to `gradient` and `inverse`; return their loss."""
    p, k = theta.shape
    value = 0.0
    root = np.empty(p * k)
    residual = np.empty(k)
    for i in range(start, stop):
        value += _probabilities(np.dot(X[i], theta), code[i], prob[i])
        residual[:] = prob[i]
        _subtract_label(residual, code[i])
        for j in range(p):
            for a in range(k):
                gradient[j, a] += X[i, j] * residual[a]
        # The Hessian of a row is a sum of k squares: diag(q) - q q.T = R R.T with the
        # columns sqrt(q_b) (e_b - q).
        for b in range(k):
            q = prob[i, b]
            scale = np.sqrt(q * (1.0 - q)) if k == 1 else np.sqrt(q)
            for j in range(p):
                for a in range(k):
                    unit = 1.0 if a == b else 0.0
                    own = 1.0 if k == 1 else unit - prob[i, a]
                    root[j * k + a] = X[i, j] * scale * own
            moved = np.dot(inverse, root)
            divisor = 1.0 + np.dot(root, moved)
            for u in range(p * k):
                for v in range(p * k):
                    inverse[u, v] -= moved[u] * moved[v] / divisor
    return value


@kernel
def _inverse_hessian(X, prob, penalty, out):
    """Write the inverse Hessian at the rows' probabilities into `out` (p k, p k)."""
    m, p = X.shape
    k = prob.shape[1]
    H = np.zeros((p * k, p * k))
    scaled = np.empty((m, p))
    for a in range(k):
        for b in range(a, k):
            for i in range(m):
                w = prob[i, a] * ((1.0 if a == b else 0.0) - prob[i, b])
                for j in range(p):
                    scaled[i, j] = w * X[i, j]
            block = np.dot(scaled.T, X)
            for j in range(p):
                for q in range(p):
                    H[j * k + a, q * k + b] = block[j, q]
                    H[q * k + b, j * k + a] = block[j, q]
    for j in range(p):
        for a in range(k):
            H[j * k + a, j * k + a] += penalty[j]
            # A softmax does not see a shift common to all classes: any curvature along
            # it leaves the steps alone, since the gradient has no part there.
            if penalty[j] == 0.0 and k > 1:
                for b in range(k):
                    H[j * k + a, j * k + b] += 1.0
    out[:] = np.linalg.inv(H)


@kernel
def sgd_scan(X, y, stops, theta, rate, loss, X_val, y_val, metric):
    """Scores along one epoch of plain gradient steps, one for the rows of every stop.

    Parameters
    ----------
    X : ndarray (n, p)
    y : ndarray (n,)
        Targets, or class positions.
    stops : ndarray of int (s,)
        A step takes the mean gradient of the rows between two stops.
    theta : ndarray (p, k)
        Where the epoch starts.
    rate : float
        Learning rate.
    loss : int
    X_val, y_val : ndarray (n_val, p), (n_val,)
    metric : int

    Returns
    -------
    ndarray (s,)
    """
    p, k = theta.shape
    theta = theta.copy()
    residual, total = np.empty(k), np.empty((p, k))
    Z, offset = np.zeros((X_val.shape[0], k)), np.zeros(k)
    everything = np.ones(max(k, 2), dtype=np.bool_)
    scores = np.empty(stops.shape[0])
    start = 0
    for s in range(stops.shape[0]):
        total[:] = 0.0
        for i in range(start, stops[s]):
            z = np.dot(X[i], theta)
            if loss == SQUARED:
                residual[0] = z[0] - y[i]
            else:
                label = int(y[i])
                _probabilities(z, label, residual)
                _subtract_label(residual, label)
            for j in range(p):
                for a in range(k):
                    total[j, a] += X[i, j] * residual[a]
        theta -= rate / (stops[s] - start) * total
        start = stops[s]
        _raw(X_val, theta, offset, Z)
        scores[s] = _score(Z, y_val, everything, metric)
    return scores


@kernel
def _raw(X, W, offset, Z):
    """Write ``X @ W + offset`` into Z."""
    if W.shape[0]:
        Z[:] = np.dot(X, W)
    else:
        Z[:] = 0.0
    for i in range(Z.shape[0]):
        for a in range(Z.shape[1]):
            Z[i, a] += offset[a]


@kernel
def _score(Z, y, allowed, metric):
    """Score of raw outputs (n, k); only `allowed` classes are predicted."""
    n = Z.shape[0]
    if metric == ACCURACY:
        right = 0
        for i in range(n):
            right += _decide(Z[i], allowed) == y[i]
        return right / n
    if metric == NEG_LOG_LOSS:
        scratch = np.empty(Z.shape[1])
        total = 0.0
        for i in range(n):
            # scikit-learn clips probabilities at the rounding error.
            total -= max(-_probabilities(Z[i], int(y[i]), scratch), LOG_EPS)
        return -total / n
    error = spread = 0.0
    mean = np.mean(y)
    for i in range(n):
        error += (Z[i, 0] - y[i]) ** 2
        spread += (y[i] - mean) ** 2
    if metric == NEG_MEAN_SQUARED_ERROR:
        return -error / n
    if spread == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return 1.0 - error / spread


@kernel
def _decide(z, allowed):
    """Predicted class of one row."""
    if z.shape[0] == 1:
        if not allowed[0] or not allowed[1]:
            return 1 if allowed[1] else 0
        return 1 if z[0] > 0.0 else 0
    best = -1
    for a in range(z.shape[0]):
        if allowed[a] and (best < 0 or z[a] > z[best]):
            best = a
    return best
