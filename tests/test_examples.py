"""The gallery: its pages have the form that readers expect, and they run."""

import ast
import re
from pathlib import Path

import numpy as np
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


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"SKPUMA_MNIST": "openml", "SKPUMA_DATA": "."}, "asked mnist_784"),
        ({"SKPUMA_MNIST": "there", "SKPUMA_DATA": "."}, "read there"),
        ({"SKPUMA_DATA": "."}, "read mnist"),
        ({}, "1078 rows of digits"),
    ],
)
def test_where_mnist_is_taken_from(place, says, capsys, monkeypatch, tmp_path):
    y = np.arange(70_000) % 10
    X = np.full((len(y), 4), 255.0)

    def from_openml(name, *, as_frame, return_X_y):
        print("asked", name)
        assert not as_frame and return_X_y
        return X, y.astype(str).astype(object)

    def from_folder(path):
        print("read", path)
        return X[:60_000], y[:60_000], X[60_000:], y[60_000:]

    monkeypatch.setattr("sklearn.datasets.fetch_openml", from_openml)
    monkeypatch.setattr("skpuma.datasets.load_mnist", from_folder, raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("SKPUMA_MNIST", "SKPUMA_DATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    if "SKPUMA_DATA" in place:
        (tmp_path / "mnist").mkdir()
    source = (EXAMPLES / "plot_mnist_style.py").read_text(encoding="utf-8")
    found = {}
    exec(source.partition("# %%")[0], found)  # noqa: S102
    assert says in capsys.readouterr().out
    if place:
        assert found["X"].shape == (5000, 4) and found["X_test"].shape == (10_000, 4)
        assert found["X"].max() == 1.0
        assert (found["y"] == 4).sum() == 500
