"""Strict JSON: plain values only, and numbers that JSON does not have by name."""

import json
import math

import numpy as np

# {"float": "nan"} is such a number; no record has this key by itself.
KEY = "float"


def plain(value):
    """Tuples as lists, numbers and arrays of numpy as those of Python; else as text."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def dumps(value, indent=None):
    """A plain value as a JSON text that every parser reads."""
    return json.dumps(_named(value), indent=indent, allow_nan=False)


def loads(text):
    """The inverse of `dumps`.

    Raises
    ------
    ValueError
        If it is no JSON, or has numbers that JSON does not have.
    """
    return json.loads(text, object_hook=_number, parse_constant=_refused)


def _named(value):
    if isinstance(value, dict):
        return {key: _named(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_named(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {KEY: str(value)}
    return value


def _number(found):
    return float(found[KEY]) if set(found) == {KEY} else found


def _refused(name):
    raise ValueError(f"{name} is not JSON")
