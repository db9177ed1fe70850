"""DVRL on Adult: flipped rows that are found, and seconds, beside OpenDataVal's."""

import time
from importlib import import_module

import numpy as np
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skpuma.datasets import flip_labels
from skpuma.valuation import DVRL
from tests.benchmarks import data

N_TRAIN, N_VAL, RATE = 1000, 400, 0.2
# OpenDataVal's defaults, of which 1,000 epochs is the number that it ships.
PEER_EPOCHS, PEER_BATCH = 1000, 32


def dvrl(seeds=10):
    """Recall at 20 % inspected with 20 % flips, and seconds at equal settings."""
    if data.adult() is None:
        return [("DVRL on Adult", "no data folder", "-", None)]
    splits = [_split(seed) for seed in range(seeds)]
    clean = [_recall(DVRL(random_state=s), s, split) for s, split in enumerate(splits)]
    mean = float(np.mean(clean))
    out = [
        (
            "DVRL, Adult: recall at 20 % inspected (worst seed)",
            f"{mean:.3f} ({min(clean):.3f})",
            ">= 0.70",
            mean >= 0.70,
        ),
        *_yardsticks(splits),
        *_noisy(splits),
    ]
    peer = _opendataval()
    if peer is None:
        return [*out, ("OpenDataVal is not installed", "-", "-", None)]
    return [*out, *_quality(peer, splits, clean), *_speed(peer, splits[0])]


def _split(seed):
    """Encoded rows of Adult: (X, y with flips, flipped, X_val, y_val)."""
    X, y, X_test, y_test = data.adult()
    rng = np.random.default_rng(seed)
    train = rng.choice(len(X), N_TRAIN, replace=False)
    val = rng.choice(len(X_test), N_VAL, replace=False)
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encode = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include=np.number)),
        (words, make_column_selector(dtype_exclude=np.number)),
    )
    rows = encode.fit_transform(X.iloc[train])
    noisy, flipped = flip_labels(y.to_numpy()[train], RATE, random_state=seed)
    val_rows = encode.transform(X_test.iloc[val])
    return rows, noisy, flipped, val_rows, y_test.to_numpy()[val]


def _found(values, flipped):
    """Share of the flipped rows among as many of the lowest values."""
    lowest = np.argsort(values, kind="stable")[: flipped.sum()]
    return float(flipped[lowest].mean())


def _recall(system, seed, split, y_val=None):
    X, y, flipped, X_val, clean_val = split
    y_val = clean_val if y_val is None else y_val
    return _found(system.fit(X, y, X_val=X_val, y_val=y_val).values_, flipped)


def _yardsticks(splits):
    """What the marginal alone finds, which the network is given."""
    found = []
    for X, y, flipped, X_val, y_val in splits:
        model = LogisticRegression(max_iter=500).fit(X_val, y_val)
        found.append(_found(model.predict_proba(X)[np.arange(len(y)), y], flipped))
    return [("  the marginal alone", f"{np.mean(found):.3f}", "-", None)]


def _noisy(splits):
    found = []
    for seed, split in enumerate(splits):
        y_val, _ = flip_labels(split[4], RATE, random_state=seed + 1000)
        found.append(_recall(DVRL(random_state=seed), seed, split, y_val))
    value = f"{np.mean(found):.3f} ({min(found):.3f})"
    return [("  20 % of the validation labels flipped too", value, "-", None)]


# -- OpenDataVal -----------------------------------------------------------------------


def _opendataval():
    try:
        return {
            "torch": import_module("torch"),
            "dvrl": import_module("opendataval.dataval.dvrl.dvrl").DVRL,
            "api": import_module("opendataval.model.api"),
            "mlp": import_module("opendataval.model.mlp").ClassifierMLP,
            "accuracy": import_module("opendataval.metrics").accuracy,
        }
    except ImportError:
        return None


def _theirs(peer, split, seed, epochs, batch, network=None):
    """Values and `_clocks` of OpenDataVal; `network` holds its training settings."""
    X, y, _, X_val, y_val = split
    tensor = peer["torch"].tensor
    rows = [tensor(A, dtype=peer["torch"].float32) for A in (X, X_val)]
    hot = [tensor(np.eye(2)[b], dtype=peer["torch"].float32) for b in (y, y_val)]
    if network is None:
        wrapper = peer["api"].ClassifierSkLearnWrapper
        model = wrapper(LogisticRegression, 2, max_iter=500)
    else:
        model = peer["mlp"](X.shape[1], 2, layers=3, hidden_dim=100)
    system = peer["dvrl"](rl_epochs=epochs, rl_batch_size=batch, random_state=seed)
    system.input_data(rows[0], hot[0], rows[1], hot[1])
    system.input_model_metric(model, peer["accuracy"])
    start = _clocks()
    system.train_data_values(**(network or {}))
    values = system.evaluate_data_values()
    return values, _clocks() - start


def _quality(peer, splits, ours):
    found, seconds = [], []
    for seed, split in enumerate(splits):
        values, one = _theirs(peer, split, seed, PEER_EPOCHS, PEER_BATCH)
        found.append(_found(values, split[2]))
        seconds.append(one[0])
    difference = float(np.mean(ours) - np.mean(found))
    value = f"{np.mean(found):.3f} ({min(found):.3f})"
    return [
        ("  OpenDataVal, its defaults, logistic regression", value, "-", None),
        ("  ours minus theirs", f"{difference:+.3f}", ">= 0", difference >= 0.0),
        ("  their seconds", f"{np.median(seconds):.1f}", "-", None),
    ]


def _speed(peer, split):
    """Both in turn: equal epochs, batch, predictor, reward, and one selection each."""
    # Single precision, which is what theirs computes in.
    X, y, flipped, X_val, y_val = split
    X, X_val = X.astype(np.float32), X_val.astype(np.float32)
    split = X, y, flipped, X_val, y_val
    network = {"epochs": 100, "batch_size": 256, "lr": 0.01}
    twin = MLPClassifier(
        (100, 100),
        alpha=0.0,
        batch_size=256,
        learning_rate_init=0.01,
        max_iter=100,
        n_iter_no_change=100,
        tol=0.0,
    )
    cases = [
        ("logistic, batch 32, 200 epochs", None, LogisticRegression(), 200, 32, 5),
        ("logistic, batch 1,000, 200 epochs", None, LogisticRegression(), 200, 1000, 5),
        ("2 x 100 network, batch 1,000, 5 epochs", network, twin, 5, 1000, 3),
    ]
    out = []
    for name, settings, estimator, epochs, batch, repeats in cases:
        spent = []
        for seed in range(repeats):
            _, theirs = _theirs(peer, split, seed, epochs, batch, settings)
            system = DVRL(
                estimator,
                scoring="accuracy",
                n_iter=epochs,
                n_selections=1,
                batch_size=batch,
                random_state=seed,
            )
            start = _clocks()
            system.fit(X, y, X_val=X_val, y_val=y_val)
            spent.append((theirs, _clocks() - start))
        (wall, cpu), (our_wall, our_cpu) = np.median(spent, axis=0)
        ratio, cpu_ratio = float(wall / our_wall), cpu / our_cpu
        value = f"{ratio:.1f} ({wall:.2f} / {our_wall:.2f} s), CPU {cpu_ratio:.1f}"
        out.append((f"seconds, theirs / ours: {name}", value, ">= 5", ratio >= 5))
    return out


def _clocks():
    """Seconds on the wall, and of all processors in this process."""
    return np.array([time.perf_counter(), time.process_time()])
