"""Self-contained HTML pieces: no scripts, no external resources, dark-mode safe."""

from html import escape

import numpy as np

# Colours of the page around it: a notebook's theme is not that of the system. Those of
# its own stand out from white and from black alike.
STYLE = """
.skpuma{font-family:system-ui,sans-serif;font-size:14px;line-height:1.45;
color:var(--jp-content-font-color1,var(--vscode-editor-foreground,inherit));
background:transparent;border:1px solid rgba(127,127,127,.45);border-radius:6px;
padding:10px 14px;margin:4px 0;max-width:820px;overflow-x:auto;box-sizing:border-box}
.skpuma .title{margin:0 0 6px;font-size:15px;font-weight:600}
.skpuma p{margin:4px 0}
.skpuma table{border-collapse:collapse;margin:8px 0;width:auto;font-size:inherit}
.skpuma th,.skpuma td{padding:4px 12px;text-align:right;vertical-align:top;
border:0 solid rgba(127,127,127,.35);border-bottom-width:1px;
white-space:nowrap;background:none;color:inherit}
.skpuma th:first-child,.skpuma td:first-child{text-align:left}
.skpuma .pairs td+td{white-space:normal;text-align:left;overflow-wrap:anywhere}
.skpuma code{background:none;color:inherit;font-size:13px}
.skpuma .scroll{overflow-x:auto}.skpuma small{opacity:.75}
.skpuma .yes{color:#2b7fd1}.skpuma .no{color:#bf6420;font-weight:600}
.skpuma details{margin:4px 0}
.skpuma summary{cursor:pointer;font-weight:600}
@media (max-width:600px){.skpuma th,.skpuma td{padding:4px 6px}
.skpuma td:first-child,.skpuma th,.skpuma small{white-space:normal}}
@media (max-width:440px){.skpuma{font-size:12px;padding:8px}
.skpuma th,.skpuma td{padding:3px 4px}.skpuma table{width:100%}
.skpuma td:first-child{overflow-wrap:anywhere}}
"""


def number(value):
    """A number as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool)):
        return "yes" if value else "no"
    if not isinstance(value, (float, np.floating)):
        return str(value)
    if value != value:
        return ""
    if abs(value) == float("inf"):
        return "no bound" if value > 0 else "-inf"
    return f"{value:.4g}" if abs(value) < 1e-3 and value else f"{value:.4f}"


def table(frame, marks=()):
    """An HTML table of a DataFrame; columns in `marks` are coloured yes / no."""
    head = "".join(f"<th>{escape(str(c))}</th>" for c in ("", *frame.columns))
    body = []
    for label, *row in frame.itertuples(name=None):
        cells = [f"<td>{escape(str(label))}</td>"]
        for column, value in zip(frame.columns, row, strict=True):
            text = escape(number(value))
            coloured = column in marks and text in ("yes", "no")
            css = f' class="{text}"' if coloured else ""
            cells.append(f"<td{css}>{text}</td>")
        body.append("<tr>" + "".join(cells) + "</tr>")
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def pairs(values):
    """A table of names and values, long ones broken into lines."""
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td>"
        f"<td><code>{escape(str(value))}</code></td></tr>"
        for name, value in values.items()
    )
    return f'<table class="pairs"><tbody>{rows}</tbody></table>'


def folded(title, inner, unfolded=False):
    """A part that can be opened and closed."""
    how = " open" if unfolded else ""
    inner = f'<div class="scroll">{inner}</div>'
    return f"<details{how}><summary>{escape(title)}</summary>{inner}</details>"


def block(title, *parts):
    """One styled block for a notebook."""
    inner = "".join(parts)
    return (
        f'<style>{STYLE}</style><div class="skpuma"><p class="title">{escape(title)}'
        f"</p>{inner}</div>"
    )


def page(title, body):
    """A whole page around a block."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title></head><body>{body}</body></html>"
    )
