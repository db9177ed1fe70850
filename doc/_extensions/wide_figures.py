"""Figures of the gallery in boxes of their own, which scroll on narrow screens."""

import struct
from pathlib import Path

from docutils import nodes
from sphinx_gallery.directives import imgsgnode

# Width and height of a PNG file are behind its signature and the head of a chunk.
SIZE = slice(16, 24)


def ratio(path):
    """Width of a PNG relative to its height."""
    width, height = struct.unpack(">II", path.read_bytes()[SIZE])
    return width / height


def wrap(app, doctree):
    for node in list(doctree.findall(imgsgnode)):
        shape = ratio(Path(app.srcdir) / node["uri"].lstrip("/"))
        head = f'<div class="figure-box" style="--ratio: {shape:.3f}" tabindex="0">'
        place = node.parent.index(node)
        node.parent[place : place + 1] = [
            nodes.raw("", head, format="html"),
            node,
            nodes.raw("", "</div>", format="html"),
        ]


def setup(app):
    app.connect("doctree-read", wrap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
