"""Pages of the API, from the public names and the tables of the rooms.

A new name in ``__all__`` of a room, or a new line in a table, is documented by that.
"""

import inspect
import pkgutil
from functools import cache
from importlib import import_module

import skpuma

# Rooms that no user calls.
INTERNAL = {"kernels", "patching", "reweighting", "utils"}
ORDER = ["criteria", "metrics", "evidence", "valuation", "unlearning", "plotting"]
# What a line of a table can be passed to.
TABLES = {
    ("criteria", "CRITERIA"): "Names for ``criterion=``",
    ("curvature", "CURVATURES"): "Names for ``curvature=``",
    ("detection", "VIEWS"): "Names for ``views=`` of `PumaDebugger`",
    ("losses", "LOSSES"): "Table of losses",
    ("models", "FRAMES"): "Estimators that are looked into",
    ("models", "MODELS"): "Supported estimators",
    ("solvers", "SOLVERS"): "Names for ``solver=``",
}


@cache
def rooms():
    """Names of the public subpackages, those for most users first."""
    found = {
        one.name
        for one in pkgutil.iter_modules(skpuma.__path__)
        if one.ispkg and one.name not in INTERNAL
    }
    return [*(name for name in ORDER if name in found), *sorted(found - {*ORDER})]


def public(package):
    """(classes, functions, errors and warnings) that a package offers, by name."""
    classes, functions, errors = [], [], []
    for name in sorted(package.__all__, key=str.lower):
        thing = getattr(package, name)
        if inspect.isclass(thing):
            kind = errors if issubclass(thing, Exception) else classes
            kind.append(name)
        elif callable(thing):
            functions.append(name)
    return classes, functions, errors


@cache
def homes():
    """Public name -> package that it is documented in."""
    packages = [f"skpuma.{room}" for room in rooms()]
    return {
        name: package
        for package in [*reversed(packages), "skpuma"]
        for name in sum(public(import_module(package)), [])
    }


def own_members(fullname):
    """Public methods and properties of a class that skpuma itself documents."""
    module, _, name = fullname.rpartition(".")
    cls = getattr(import_module(module), name)
    for member in sorted(dir(cls)):
        if member.startswith("_"):
            continue
        found = inspect.getattr_static(cls, member)
        kind = "property" if isinstance(found, property) else "method"
        code = found.fget if kind == "property" else getattr(cls, member)
        if (
            (getattr(code, "__module__", None) or "").startswith("skpuma")
            and inspect.isroutine(code)
            and inspect.getdoc(getattr(cls, member) if kind == "method" else found)
        ):
            yield kind, member


def _summary(thing):
    """First sentence of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def _heading(text, line="="):
    return [text, line * len(text), ""]


def _autosummary(title, names):
    if not names:
        return []
    entries = [f"   {name}" for name in names]
    head = [".. autosummary::", "   :toctree: generated", "   :nosignatures:", ""]
    return [*_heading(title, "-"), *head, *entries, ""]


def _lines(room, table):
    """A table of a room as a list-table: name, and what stands behind it."""
    from skpuma.utils._registry import load

    entries = getattr(import_module(f"skpuma.{room}"), table)
    lines = [*_heading(TABLES[room, table], "-"), ".. list-table::"]
    lines += ["   :widths: 30 70", ""]
    for key in sorted(entries, key=str.lower):
        target = load(entries[key])
        shown = f"`{target.__name__}`: " if target.__name__ in homes() else ""
        lines += [f"   * - ``{key}``", f"     - {shown}{_summary(target)}"]
    return [*lines, ""]


def _page(name):
    package = import_module(name)
    classes, functions, errors = public(package)
    about = (inspect.getdoc(package) or "").partition("\n\n")
    lines = [
        *_heading(name),
        f".. module:: {name}",
        "",
        *([about[0], "", about[2], ""] if name != "skpuma" else []),
        *_autosummary("Classes", classes),
        *_autosummary("Functions", functions),
        *_autosummary("Warnings and errors", errors),
    ]
    room = name.partition(".")[2]
    for key in TABLES:
        if key[0] == room:
            lines += _lines(*key)
    return "\n".join(lines)


def pages():
    """Text of every page by its name."""
    names = ["skpuma", *(f"skpuma.{room}" for room in rooms())]
    index = [
        ".. _api:",
        "",
        *_heading("API"),
        "Estimators are in `skpuma` itself; what they are made of, and what they are",
        "compared with, in its subpackages. Names that are not listed here may change",
        "without notice.",
        "",
        ".. list-table::",
        "   :widths: 30 70",
        "",
    ]
    for name in names:
        about = _summary(import_module(name))
        index += [f"   * - :doc:`{name} <{name}>`", f"     - {about}"]
    index += ["", ".. toctree::", "   :hidden:", "", *(f"   {name}" for name in names)]
    return {"index": "\n".join(index) + "\n", **{name: _page(name) for name in names}}


def write(folder):
    """Write the pages, touching only those that changed."""
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
