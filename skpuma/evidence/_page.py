"""A record as text, as a block of a notebook, and as a page that holds its JSON."""

import math
import re
from html import escape

from skpuma.reporting import _html

TITLE = "skpuma removal evidence"
# In a page, as data: browsers do not run it.
OPENING = '<script type="application/json" id="skpuma-evidence">'
CLOSING = "</script>"
# Title, columns that are shown of it, and whether it is unfolded.
SHOWN = {
    "criteria": ("Criteria", ("before", "after", "change", "delta", "kept"), True),
    "scores": ("Scores on the test rows", ("before", "after", "retrained"), True),
    "attack": ("Membership attack", ("before", "after", "retrained", "gap"), True),
    "distance": (
        "Distance to the retrained model",
        ("before", "after", "retrained", "noise_floor"),
        True,
    ),
}
HEADS = {"gap": "after - retrained", "noise_floor": "another retraining"}
# Lines of a long table that a page shows.
LISTED = 20


def numbers(value):
    """A number as a person reads it, and its interval ("" if it has none)."""
    if not isinstance(value, list):
        return _html.number(value), ""
    width = value[2] - value[1]
    if not (all(map(math.isfinite, value)) and width > 0):
        mean, low, high = map(_html.number, value)
    else:
        # Two digits of the interval are what its ends are worth.
        places = max(1 - math.floor(math.log10(width)), 0)
        # Adding zero takes the sign of -0.00 away.
        mean, low, high = (f"{round(one, places) + 0.0:.{places}f}" for one in value)
    return mean, f"{low} to {high}"


def cell(value):
    """Both in one line."""
    mean, between = numbers(value)
    return f"{mean} ({between})" if between else mean


def sentences(record):
    """What was done, what was kept, and what an attack finds."""
    data, n = record.data, len(record.patches)
    patches = "one patch" if n == 1 else f"{n} patches"
    yield (
        f"{data['n_removed']} of {data['n_rows']} rows removed by {patches}, without "
        "retraining."
    )
    if record.kept:
        yield "Every criterion stayed within its delta."
    else:
        yield "A criterion left its delta."
    for line in record.attack[:1]:
        said = f"{line['name']} {cell(line['after'])} after"
        if line.get("retrained") is not None:
            said += f", {cell(line['retrained'])} for the retrained model"
        yield f"Membership attack: {said}."


def _columns(record, section):
    """Columns of a section that hold anything, and what heads them."""
    lines = getattr(record, section)
    used = [
        c for c in SHOWN[section][1] if any(line.get(c) is not None for line in lines)
    ]
    return used, [HEADS.get(c, c) for c in used]


def _frame(heads, rows):
    import pandas as pd

    return pd.DataFrame.from_dict(rows, orient="index", columns=heads)


def text(record):
    """The sections below each other."""
    parts = []
    for section, (title, _, _) in SHOWN.items():
        lines = getattr(record, section)
        if lines:
            used, heads = _columns(record, section)
            rows = {line["name"]: [cell(line.get(c)) for c in used] for line in lines}
            parts.append(f"\n{title}\n{_frame(heads, rows).to_string()}")
    parts += [f"\nNote: {note}" for note in record.notes]
    return "\n".join(parts)


def _measurements(record, section):
    """A table of a section, with intervals below their numbers."""
    used, heads = _columns(record, section)
    body = []
    for line in getattr(record, section):
        cells = [f"<td>{escape(line['name'])}</td>"]
        for column in used:
            mean, between = map(escape, numbers(line.get(column)))
            between = f"<br><small>{between}</small>" if between else ""
            css = f' class="{mean}"' if column == "kept" else ""
            cells.append(f"<td{css}>{mean}{between}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{escape(one)}</th>" for one in ("", *heads))
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def block(record):
    """The record as one block of HTML, for a notebook."""
    level = f"{100 * record.settings['level']:g} %"
    said = " ".join(sentences(record))
    parts = [
        f"<p>{escape(said)}</p>",
        f"<p>{escape(record.created)}. Criteria are measured on "
        f"{escape(record.settings['measured_on'])}; below the numbers are {level} "
        "bootstrap intervals.</p>",
    ]
    parts += [f"<p>Note: {escape(note)}</p>" for note in record.notes]
    for section, (title, _, unfolded) in SHOWN.items():
        if getattr(record, section):
            parts.append(_html.folded(title, _measurements(record, section), unfolded))
    parts.append(_html.folded("Patches", _html.table(_patches(record))))
    if record.groups:
        groups = {str(one["group"]): one for one in record.groups[:LISTED]}
        rows = {k: [one["rows"], cell(one["weight"])] for k, one in groups.items()}
        table = _html.table(_frame(["rows", "weight"], rows))
        more = len(record.groups) - LISTED
        table += f"<p>and {more} more</p>" if more > 0 else ""
        parts.append(_html.folded("Removed groups", table))
    parts.append(_html.folded("Data", _html.pairs(record.data)))
    model = {"class": record.estimator["class"], **record.estimator["parameters"]}
    parts.append(_html.folded("Model", _html.pairs(model)))
    parts.append(_html.folded("Retraining", f"<p>{escape(record.retrained)}</p>"))
    about = {**record.settings, **record.versions, "schema": record.schema}
    parts.append(_html.folded("Settings and versions", _html.pairs(about)))
    return _html.block(TITLE, *parts)


def page(record):
    """A page around the block, with the record as JSON in it."""
    # No text of the record can end the element or open another one.
    data = record.to_json()
    for mark in "<>&":
        data = data.replace(mark, f"\\u{ord(mark):04x}")
    return _html.page(TITLE, f"{block(record)}{OPENING}{data}{CLOSING}")


def embedded(html):
    """The JSON that a page holds.

    Raises
    ------
    ValueError
        If it holds none.
    """
    found = re.search(f"{re.escape(OPENING)}(.*?){CLOSING}", html, re.DOTALL)
    if found is None:
        raise ValueError("the page holds no record")
    return found[1]


def _patches(record):
    heads = ["removed", "up-weighted", "re-weighted", "s", "ended by", "delta kept"]
    names = ["n_removed", "n_upweighted", "n_reweighted", "s", "stopped_by"]
    rows = {
        number: [*(cell(one[name]) for name in names), cell(all(one["kept"]))]
        for number, one in enumerate(record.patches, 1)
    }
    return _frame(heads, rows)
