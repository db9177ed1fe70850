"""Load built pages in headless Chromium: no console errors, and every picture shows.

    python doc/check_browser.py [folder of the built pages]

Opens the start page, a page of the gallery, one of the API and a saved evidence report,
each in a frame of a page that waits for it and counts its pictures.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGES = (
    "index.html",
    "auto_examples/index.html",
    "auto_examples/plot_radial.html",
    "api/generated/skpuma.PumaPatcher.html",
)
WATCH = """<!doctype html><meta charset="utf-8"><body><iframe width="1280" height="9000"
src="{address}"></iframe><pre></pre><script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  const images = [...page.images].filter(one => !one.closest("noscript"));
  const broken = images.filter(one => !(one.complete && one.naturalWidth > 0));
  const drawn = page.querySelectorAll("svg").length;
  document.querySelector("pre").textContent =
    `RESULT ${{images.length}} ${{broken.length}} ${{drawn}} ${{page.title.length}}`;
}};
</script>"""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--allow-file-access-from-files",
    "--enable-logging=stderr",
    "--virtual-time-budget=8000",
    "--dump-dom",
)


def look(browser, page, folder):
    """(pictures, broken ones, drawings, length of the title, console errors)."""
    watch = folder / "watch.html"
    watch.write_text(WATCH.format(address=page.as_uri()), encoding="utf-8")
    done = subprocess.run(
        [browser, *FLAGS, watch.as_uri()], capture_output=True, text=True, check=True
    )
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if not found:
        raise RuntimeError(f"{page} did not load.")
    errors = re.findall(r"CONSOLE.*(?:Error|Failed|error).*", done.stderr)
    return *map(int, found.groups()), errors


def report(folder):
    """A saved evidence report."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression

    from skpuma import PumaPatcher

    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    patcher = PumaPatcher(LogisticRegression(tol=1e-8), "log_loss").fit(
        X[:400], y[:400]
    )
    patcher.forget(X[:400], y[:400], rows=range(10))
    path = folder / "report.html"
    evidence = patcher.verify(X[:400], y[:400], X_test=X[400:], y_test=y[400:])
    evidence.save(path)
    return path


def main(built):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium on the path")
        return 2
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pages = [(Path(built) / page).resolve() for page in PAGES] + [report(folder)]
        for page in pages:
            images, broken, drawn, title, errors = look(browser, page, folder)
            bad = (
                broken
                or errors
                or not title
                or not (images or drawn or page.parent == folder)
            )
            wrong += bool(bad)
            print(f"{page.name}: {images} pictures, {broken} broken, {drawn} drawings")
            print(*errors, sep="\n", end="\n" if errors else "")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "doc/_build/html"))
