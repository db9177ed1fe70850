"""Lookup in a room's table: a plain dict, name -> "module:Class"."""

import sys
from importlib import import_module


def load(target):
    """Import the object that a ``"module:name"`` string of a table names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def resolve(table, key, what):
    """Return an instance for a name of `table`; pass any other object through.

    Raises
    ------
    ValueError
        If `key` is a string that `table` does not hold.
    """
    if not isinstance(key, str):
        return key
    if key not in table:
        raise ValueError(f"Unknown {what} {key!r}; choose one of {sorted(table)}.")
    return load(table[key])()


def lazy(package, table):
    """``__getattr__`` of a package, from a table of names and their modules."""

    def __getattr__(name):
        if name not in table:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(table[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
