"""An obvious numpy twin of every kernel in `skpuma.kernels`, under the same name."""

import numpy as np


def gram_csr(data, indices, indptr, weight, out):
    for i in range(len(weight)):
        entries = range(indptr[i], indptr[i + 1])
        for q in entries:
            for s in range(q, entries.stop):
                out[indices[q], indices[s]] += weight[i] * data[q] * data[s]
    return out


def squares_csr(data, indices, indptr, weight, out):
    for i in range(len(weight)):
        for q in range(indptr[i], indptr[i + 1]):
            out[indices[q]] += float(data[q]) ** 2 * weight[i]
    return out


def outer_rows(A, B, out):
    for i in range(len(A)):
        out[i] = np.outer(A[i], B[i]).ravel()
    return out


def downdates(A, G, lost, penalty, largest, inverse):
    H = np.linalg.inv(inverse)
    out = np.full((len(G), len(H) + 2), np.nan)
    left = 1.0
    for j, (rows, g) in enumerate(zip(A, G, strict=True)):
        for a in rows:
            rest = 1.0 - a @ np.linalg.solve(H, a)
            if rest <= 1.0 - largest:
                return out
            left *= rest
            H = H - np.outer(a, a)
        whole = H - lost[j] * penalty if lost[j] else H
        step = np.linalg.solve(whole, g)
        out[j] = [*step, step @ g, left]
        inverse[:] = np.linalg.inv(H)
    return out


def bin_sums(confidence, outcome, weight, n_bins):
    edges = np.arange(1, n_bins) / n_bins
    bins = np.searchsorted(edges, confidence, side="left")
    member = bins[:, None] == np.arange(n_bins)
    columns = [weight, weight * confidence, weight * outcome]
    return np.stack([(member * c[:, None]).sum(axis=0) for c in columns], axis=1)


def least_squares_scan(
    X, Y, code, stops, penalty, intercept, X_val, y_val, metric, full, tolerance, quiet
):
    def fitted(m):
        mean_x, mean_y = (X[:m].mean(0), Y[:m].mean(0)) if intercept else (0.0, 0.0)
        root = np.sqrt(penalty) * np.eye(X.shape[1])
        A = np.vstack([X[:m] - mean_x, root])
        b = np.vstack([Y[:m] - mean_y, np.zeros((X.shape[1], Y.shape[1]))])
        W = np.linalg.lstsq(A, b, rcond=1e-9)[0]
        return _score((X_val - mean_x) @ W + mean_y, y_val, set(code[:m]), metric)

    return _until_quiet(fitted, stops, full, tolerance, quiet, 0)


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
    quiet,
    streak,
    precision,
    max_iter,
):
    classes = set(range(n_classes))

    def fitted(m):
        theta = _logistic(X[:m], code[:m], n_classes, penalty)
        return _score(X_val @ theta, y_val, classes, metric)

    scores = _until_quiet(fitted, stops, full, tolerance, quiet, streak)
    return np.stack([scores, np.where(np.isnan(scores), np.nan, 1.0)], axis=1)


def sgd_scan(X, y, stops, theta, rate, loss, X_val, y_val, metric):
    scores, start = [], 0
    for stop in stops:
        gradients = []
        for x, label in zip(X[start:stop], y[start:stop], strict=True):
            z = x @ theta
            if loss == 0:
                residual = z - label
            else:
                residual = _softmax(z[None])[0] - _one_hot(np.array([label]), len(z))[0]
            gradients.append(np.outer(x, residual))
        theta = theta - rate * np.mean(gradients, axis=0)
        start = stop
        scores.append(_score(X_val @ theta, y_val, set(range(100)), metric))
    return np.array(scores, dtype=float)


def network_gradient(X, y, weight, theta, widths, activation, loss, sd, intercept):
    layers, start = [], 0
    for fan_in, fan_out in zip(widths, widths[1:], strict=False):
        size = fan_in * fan_out
        W = theta[start : start + size].reshape(fan_in, fan_out)
        layers.append((W, theta[start + size : start + size + fan_out]))
        start += size + fan_out
    total = np.zeros(len(theta))
    for x, target, w in zip(X, y, weight, strict=True):
        values = [x]
        for i, (W, b) in enumerate(layers):
            z = values[-1] @ W + b
            hidden = np.tanh(z) if activation == 0 else np.maximum(z, 0)
            values.append(hidden if i + 1 < len(layers) else z)
        if loss == 0:
            delta = z - target
        else:
            delta = _softmax(z[None])[0] - _one_hot(np.array([target]), len(z))[0]
            logits = z if len(z) > 1 else np.array([-z[0] / 2, z[0] / 2])
            spread = logits.std(ddof=1)
            if spread > 0:
                by_logit = (logits - logits.mean()) / (len(logits) - 1) / spread
                by_z = by_logit if len(z) > 1 else by_logit @ [[-0.5], [0.5]]
                delta = delta + sd * by_z
        parts = []
        for value, (W, _) in zip(values[-2::-1], layers[::-1], strict=True):
            parts = [np.outer(value, delta).ravel(), delta * intercept, *parts]
            slope = 1 - value**2 if activation == 0 else value > 0
            delta = (W @ delta) * slope
        total += w * np.concatenate(parts)
    return total


def network_sgd(
    X,
    y,
    weight,
    order,
    starts,
    theta,
    widths,
    activation,
    loss,
    sd,
    intercept,
    alpha,
    rate,
):
    decayed = [
        np.repeat([alpha, 0.0], [fan_in * fan_out, fan_out])
        for fan_in, fan_out in zip(widths, widths[1:], strict=False)
    ]
    network = widths, activation, loss, sd, intercept
    for start, stop in zip(starts, starts[1:], strict=False):
        at = order[start:stop]
        step = network_gradient(X[at], y[at], weight[at], theta, *network) / len(at)
        theta = theta - rate * (step + np.concatenate(decayed) * theta)
    return theta


def _until_quiet(score, stops, full, tolerance, quiet, streak):
    scores = np.full(len(stops), np.nan)
    for s, stop in enumerate(stops):
        scores[s] = score(stop)
        streak = streak + 1 if abs(scores[s] - full) <= tolerance else 0
        if streak > quiet:
            break
    return scores


def _softmax(z):
    """Probabilities; of class 1 only, for one output."""
    both = z if z.shape[1] > 1 else np.hstack([np.zeros_like(z), z])
    e = np.exp(both - both.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p if z.shape[1] > 1 else p[:, 1:]


def _one_hot(code, k):
    return code[:, None] == (np.arange(k) if k > 1 else [1])


def _logistic(X, code, n_classes, penalty):
    """Newton's method from zero, with halved steps."""
    k = 1 if n_classes == 2 else n_classes
    p = X.shape[1]
    theta = np.zeros((p, k))
    rate = np.repeat(penalty, k)

    def value(t):
        q = _softmax(X @ t)
        q = np.hstack([1 - q, q]) if k == 1 else q
        logs = np.log(q[np.arange(len(X)), code])
        return -logs.sum() + 0.5 * rate @ t.ravel() ** 2

    for _ in range(100):
        q = _softmax(X @ theta)
        gradient = (X.T @ (q - _one_hot(code, k))).ravel() + rate * theta.ravel()
        H = np.diag(rate)
        for x, prob in zip(X, q, strict=True):
            inner = np.diag(prob) - np.outer(prob, prob)
            H = H + np.kron(np.outer(x, x), inner)
        step = (np.linalg.pinv(H, rcond=1e-12) @ gradient).reshape(p, k)
        length = 1.0
        while value(theta - length * step) > value(theta) + 1e-12 and length > 1e-6:
            length /= 2
        theta = theta - length * step
        if np.abs(step).max() < 1e-13:
            break
    return theta


def _score(Z, y, classes, metric):
    """Accuracy, log-loss, R2 and mean squared error, the losses negative."""
    if metric == 0:
        if Z.shape[1] == 1:
            Z = np.hstack([-Z, Z])
        absent = [c not in classes for c in range(Z.shape[1])]
        return np.mean(np.where(absent, -np.inf, Z).argmax(axis=1) == y)
    if metric == 1:
        q = _softmax(Z)
        q = np.hstack([1 - q, q]) if Z.shape[1] == 1 else q
        return np.log(np.maximum(q[np.arange(len(y)), y.astype(int)], 2.0**-52)).mean()
    error = np.sum((Z[:, 0] - y) ** 2)
    return -error / len(y) if metric == 3 else 1 - error / np.sum((y - y.mean()) ** 2)
