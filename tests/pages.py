"""The pages of the documentation, and the Python code on them."""

import re
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]
DOC = ROOT / "doc"
# Folders that a build fills.
BUILT = {"_build", "api", "auto_examples"}
BLOCK = re.compile(
    r"^(?P<indent> *)\.\. code-block:: python\n"
    r"(?P<code>(?:(?P=indent) +\S.*\n|\s*\n)+)",
    re.MULTILINE,
)


def pages():
    """README and the sources of the documentation."""
    written = [
        path
        for path in DOC.rglob("*.rst")
        if path.relative_to(DOC).parts[0] not in BUILT | {"_templates"}
    ]
    return [ROOT / "README.rst", *sorted(written)]


def text_of(path):
    """A page, ending with a line break."""
    return path.read_text(encoding="utf-8") + "\n"


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def blocks(path):
    """Python code of a page, each block with the line that it starts in."""
    text = text_of(path)
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start("code")), dedent(found["code"])


def run(path, **names):
    """Run the blocks of a page in order, in one namespace, and return it."""
    names = {"__name__": path.stem, **names}
    for line, code in blocks(path):
        # Errors are told with the lines of the page.
        exec(compile("\n" * line + code, str(path), "exec"), names)
    return names
