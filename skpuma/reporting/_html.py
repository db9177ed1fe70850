"""Self-contained HTML pieces: no scripts, no external resources, dark-mode safe."""

from html import escape

STYLE = """
.skpuma{font-family:system-ui,sans-serif;font-size:14px;line-height:1.45;
color:#1b1f24;background:#fff;border:1px solid #d0d7de;border-radius:6px;
padding:10px 14px;max-width:820px;overflow-x:auto}
.skpuma h3{margin:0 0 6px;font-size:15px}.skpuma p{margin:4px 0}
.skpuma table{border-collapse:collapse;margin:8px 0;width:auto}
.skpuma th,.skpuma td{padding:4px 12px;text-align:right;border-bottom:1px solid #d8dee4;
white-space:nowrap;background:none;color:inherit}
.skpuma th:first-child,.skpuma td:first-child{text-align:left}
.skpuma .pairs td+td{white-space:normal;text-align:left;overflow-wrap:anywhere}
.skpuma .scroll{overflow-x:auto}.skpuma small{opacity:.75}
@media (max-width:600px){.skpuma th,.skpuma td{padding:4px 6px}
.skpuma td:first-child,.skpuma small{white-space:normal}}
.skpuma .yes{color:#0b6bcb}.skpuma .no{color:#b35900;font-weight:600}
.skpuma summary{cursor:pointer;font-weight:600}
@media (prefers-color-scheme:dark){.skpuma{color:#e6edf3;background:#161b22;
border-color:#3d444d}.skpuma th,.skpuma td{border-color:#3d444d}
.skpuma .yes{color:#6cb6ff}.skpuma .no{color:#f0a45d}}
"""


def number(value):
    """A number as a person reads it."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, str)):
        return str(value)
    if abs(value) == float("inf"):
        return "no bound" if value > 0 else "-inf"
    return f"{value:.4g}" if abs(value) < 1e-3 and value else f"{value:.4f}"


def table(frame, marks=()):
    """An HTML table of a DataFrame; columns in `marks` are coloured yes / no."""
    head = "".join(f"<th>{escape(str(c))}</th>" for c in ("", *frame.columns))
    body = []
    for label, row in frame.iterrows():
        cells = [f"<td>{escape(str(label))}</td>"]
        for column, value in row.items():
            text = escape(number(value))
            coloured = column in marks and text in ("yes", "no")
            css = f' class="{text}"' if coloured else ""
            cells.append(f"<td{css}>{text}</td>")
        body.append("<tr>" + "".join(cells) + "</tr>")
    head, body = f"<thead><tr>{head}</tr></thead>", f"<tbody>{''.join(body)}</tbody>"
    return f"<table>{head}{body}</table>"


def block(title, *parts):
    """One styled block for a notebook."""
    inner = "".join(parts)
    return (
        f'<style>{STYLE}</style><div class="skpuma"><h3>{escape(title)}</h3>'
        f"{inner}</div>"
    )


def page(title, body):
    """A whole page around a block."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title></head><body>{body}</body></html>"
    )
