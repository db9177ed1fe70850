"""Checks the built pages: ``python doc/check_pages.py``, after a build.

Every link within the pages leads to a file, and to an anchor in it; nothing that a page
needs (script, style, picture) comes from elsewhere.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HTML = Path(__file__).parent / "_build" / "html"
# Attributes by which a page loads what it needs.
LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src")}


class Page(HTMLParser):
    """Anchors of a page, and the (tag, attribute, target) of its links."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors.update(given[name] for name in ("id", "name") if given.get(name))
        for name in ("href", "src"):
            if given.get(name) and given.get("rel") != "canonical":
                self.links.append((tag, name, given[name]))


def faults(folder):
    """Sentences about links that are broken."""
    folder = folder.resolve()
    pages = {
        path: Page(path)
        for path in folder.rglob("*.html")
        if path.relative_to(folder).parts[0] != "_static"  # templates of the theme
    }
    for path, page in pages.items():
        for tag, name, link in page.links:
            where = f"{path.relative_to(folder)}: {link}"
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if (tag, name) in LOADS and parts.scheme != "data":
                    yield f"{where} is loaded from elsewhere"
                continue
            target = path
            if parts.path:
                target = (path.parent / unquote(parts.path)).resolve()
            if not target.exists():
                yield f"{where} does not exist"
            elif parts.fragment and target in pages:
                if unquote(parts.fragment) not in pages[target].anchors:
                    yield f"{where} has no such anchor"


if __name__ == "__main__":
    found = sorted(set(faults(HTML)))
    print(*found, sep="\n")
    print(f"{len(found)} broken links in {HTML}")
    sys.exit(bool(found))
