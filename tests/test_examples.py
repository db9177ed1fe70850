"""The gallery: its pages have the form that readers expect, and they run."""

import ast
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGES = sorted(EXAMPLES.glob("plot_*.py"))
# With what their last cell prints.
QUICK = {
    "plot_customer_deletion": r"distance to the retrained model.*: 0\.\d+ and \S+e-1",
    "plot_pipeline": r"patched: a Pipeline\nsuspects: [2-9]\d of \d+ wrong records",
}


def cells(path):
    """Texts of a page: its docstring, and the comments that begin its cells."""
    source = path.read_text(encoding="utf-8")
    found = [ast.get_docstring(ast.parse(source))]
    for cell in re.split(r"^# %%\n", source, flags=re.MULTILINE)[1:]:
        lines = re.match(r"(?:#.*\n)+", cell)
        assert lines, f"{path.name} has a cell without a text"
        found.append(re.sub(r"^# ?", "", lines.group(), flags=re.MULTILINE))
    return found


def run(name):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    path = EXAMPLES / f"{name}.py"
    before = set(pyplot.get_fignums())
    try:
        code = compile(path.read_text(encoding="utf-8"), path, "exec")
        exec(code, {"__name__": "__main__"})  # noqa: S102
        return len(set(pyplot.get_fignums()) - before)
    finally:
        pyplot.close("all")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page_has_a_title_cells_and_a_conclusion(path):
    compile(path.read_text(encoding="utf-8"), path, "exec")
    docstring, *texts = cells(path)
    title, line, blank, *about = docstring.splitlines()
    assert set(line) == {"="} and len(line) == len(title) and not blank
    assert len(" ".join(about)) > 80
    assert len(texts) >= 3
    assert re.match(r"Conclusion\n-{10}\n+\w", texts[-1])


@pytest.mark.parametrize("name", sorted(QUICK))
def test_quick_page_runs(name, capsys):
    assert run(name) >= 1
    assert re.search(QUICK[name], capsys.readouterr().out)


def test_page_on_dask_explains_itself_without_dask(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run("plot_dask") == 0
    assert capsys.readouterr().out == (
        "Dask is not installed, so that the following cells do nothing.\n"
    )
