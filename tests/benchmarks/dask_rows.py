"""psi of rows that are a dask array: memory, time and loss of a worker."""

import threading
import time

import numpy as np
from scipy.special import expit
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from skpuma import PumaValuator

N_ROWS, N_FEATURES, BLOCK = 4_000_000, 50, 62_500
N_SAMPLE, N_VAL = 100_000, 1000
WORKERS, MEMORY = 2, "1GiB"
KILL_AFTER = 0.5  # of the time of an undisturbed run


def dask():
    """4,000,000 x 50 float64, 1.6 GB, made where they are needed; psi of the log-loss.

    One worker process has 1 GiB. The unit of time is one pass of numpy, one thread,
    over blocks of the same rows: each is made once, and the gradient, the Hessian and
    psi are taken of it in memory. Polish is off, but for a row of its own: the model is
    of a sample, some Newton steps away from the optimum of all rows.
    """
    from dask.distributed import Client, LocalCluster

    frozen, val = _fitted()
    with threadpool_limits(1):
        seconds, expected = _in_numpy(frozen.estimator, *val)
    settings = {"n_workers": WORKERS, "threads_per_worker": 1, "memory_limit": MEMORY}
    with (
        LocalCluster(processes=True, dashboard_address=None, **settings) as cluster,
        Client(cluster) as client,
    ):
        _valued(frozen, val, n_blocks=2 * WORKERS)  # imports and kernels
        before, peak = _restarts(cluster), _watched(client)
        start = time.perf_counter()
        psi = _computed(_valued(frozen, val, N_ROWS // BLOCK))
        wall = time.perf_counter() - start
        error = _error(psi, expected)
        largest = peak()
        restarted = _restarts(cluster) - before
        killer = threading.Timer(KILL_AFTER * wall, _kill, [client])
        killer.start()
        error_killed = _error(_valued(frozen, val, N_ROWS // BLOCK), expected)
        killer.join()
        killed = _restarts(cluster) - before - restarted
        client.wait_for_workers(WORKERS)
        start = time.perf_counter()
        _computed(_valued(frozen, val, N_ROWS // BLOCK, polish=True))
        polished = time.perf_counter() - start
    ratio, limit = wall / seconds, 2**30
    return [
        (
            "4,000,000 x 50, 2 workers of 1 GiB: psi against numpy",
            f"{error:.1e}",
            "<= 1e-10",
            bool(error <= 1e-10),
        ),
        (
            "  largest memory of a worker / its limit",
            f"{largest / limit:.2f}",
            "< 1, none killed",
            largest < limit and restarted == 0,
        ),
        (
            "  seconds / one pass of numpy in memory",
            f"{ratio:.2f} ({wall:.1f} s, {seconds:.1f} s)",
            "<= 2.5",
            ratio <= 2.5,
        ),
        ("  the same, polish on", f"{polished / seconds:.2f}", "-", None),
        (
            "  one worker killed in the middle: psi against numpy",
            f"{error_killed:.1e}, {killed} killed",
            "<= 1e-10",
            bool(error_killed <= 1e-10) and killed == 1,
        ),
    ]


def make(block, size=BLOCK):
    """Rows of a block, the same whenever they are asked for."""
    rng = np.random.default_rng((0, int(block)))
    return rng.standard_normal((size, N_FEATURES)), rng.random(size)


def labelled(block, size=BLOCK):
    """Rows and labels of a block."""
    X, chance = make(block, size)
    return X, (chance < expit(X @ _slopes())).astype(int)


def _slopes():
    return np.random.default_rng(1).standard_normal(N_FEATURES) / np.sqrt(N_FEATURES)


def _fitted():
    """A model of a sample, and rows that measure the criterion."""
    # The penalty of the whole, so that the sample is near its optimum.
    X, y = labelled(10**6, N_SAMPLE)
    model = LogisticRegression(C=N_ROWS / N_SAMPLE, tol=1e-8).fit(X, y)
    model.set_params(C=1.0)
    return FrozenEstimator(model), labelled(10**6 + 1, N_VAL)


def _lazy(n_blocks):
    """The rows and their labels as dask arrays."""
    import dask.array as da
    from dask import delayed

    made = [delayed(labelled, pure=False)(b) for b in range(n_blocks)]
    X = [da.from_delayed(m[0], (BLOCK, N_FEATURES), dtype=float) for m in made]
    y = [da.from_delayed(m[1], (BLOCK,), dtype=int) for m in made]
    return da.concatenate(X), da.concatenate(y)


def _valued(frozen, val, n_blocks, polish=False):
    X, y = _lazy(n_blocks)
    valuator = PumaValuator(frozen, "log_loss", polish=polish)
    return valuator.fit(X, y, X_val=val[0], y_val=val[1]).psi_[:, 0]


def _computed(psi):
    """psi once it is there, on the workers."""
    from dask.distributed import wait

    psi = psi.persist()
    wait(psi)
    return psi


def _error(psi, expected):
    """Largest difference from psi of numpy, relative to the largest psi."""
    import dask.array as da

    wrong = abs(psi - da.from_array(expected, chunks=psi.chunks)).max()
    return float(wrong.compute()) / np.abs(expected).max()


def _with_ones(X):
    return np.hstack([X, np.ones((len(X), 1))])


def _in_numpy(model, X_val, y_val):
    """(seconds of one pass, psi at the model's parameters), written out."""
    theta = np.append(model.coef_[0], model.intercept_)
    hessian = np.diag(np.append(np.full(N_FEATURES, 1.0 / N_ROWS), 0.0))
    for b in range(N_ROWS // BLOCK):
        A, _ = labelled(b)
        A = _with_ones(A)
        p = expit(A @ theta)
        hessian = hessian + (A.T * (p * (1.0 - p))) @ A / N_ROWS
    A = _with_ones(X_val)
    s = np.linalg.solve(hessian, A.T @ (expit(A @ theta) - y_val) / len(A))
    seconds, psi = 0.0, []
    for b in range(N_ROWS // BLOCK):
        start = time.perf_counter()
        X, y = labelled(b)
        z = X @ theta[:-1] + theta[-1]
        p = expit(z)
        X.T @ (p - y)
        scaled = X * np.sqrt(p * (1.0 - p))[:, None]
        scaled.T @ scaled
        psi.append((p - y) * (X @ s[:-1] + s[-1]))
        seconds += time.perf_counter() - start
    return seconds, np.concatenate(psi)


def _watched(client):
    """Watch the memory of the workers; what is handed back ends it and tells."""
    largest, done = [0], threading.Event()

    def watch():
        while not done.wait(0.1):
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            found = [worker["metrics"]["memory"] for worker in workers]
            largest[0] = max([largest[0], *found])

    thread = threading.Thread(target=watch)
    thread.start()

    def end():
        done.set()
        thread.join()
        return largest[0]

    return end


def _restarts(cluster):
    """Processes that the nannies have started, beyond the first ones."""
    pids = {worker.pid for worker in cluster.workers.values()}
    _SEEN.update(pids)
    return len(_SEEN) - WORKERS


_SEEN = set()


def _kill(client):
    """Kill one worker process as the machine would."""
    import os
    import signal

    worker = next(iter(client.run(os.getpid).values()))
    os.kill(worker, signal.SIGKILL)
