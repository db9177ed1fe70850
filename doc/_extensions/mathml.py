"""Formulas as MathML, which browsers draw themselves: no script and no network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


def _as_text(found):
    return r"\text{" + found[1].replace(r"\_", "_") + "}"


def _mathml(node, block):
    # The names of arguments in a formula.
    tex = re.sub(r"\\texttt\{(.*?)\}", _as_text, node.astext())
    try:
        return tex2mathml(tex, as_block=block)
    except MathError as error:
        LOGGER.warning("formula cannot be drawn: %s in %s", error, tex, location=node)
        return ""


def visit_inline(translator, node):
    translator.body.append(_mathml(node, block=False))
    raise nodes.SkipNode


def visit_block(translator, node):
    translator.body.append(f'<div class="math">{_mathml(node, block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
