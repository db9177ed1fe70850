"""The documentation: its code runs, its links lead somewhere, its tables are whole."""

import importlib.util
import re
import sys

import pytest

import skpuma
from skpuma.criteria import CRITERIA
from skpuma.utils import errors
from skpuma.valuation import VALUATIONS
from tests.pages import DOC, ROOT, blocks, name_of, pages, run, text_of

PAGES = pages()
WITH_CODE = [path for path in PAGES if any(blocks(path))]
# What the code of a page prints, among other things.
SAYS = {
    "README.rst": "5 rows removed.*17[0-9] rows removed.*50 of 1347 rows removed",
    "doc/index.rst": "5 rows removed",
    "doc/user_guide/calibration.rst": "before: calibration error 0.1.*after: .* 0.0",
    "doc/user_guide/checking.rst": "20 rows removed and refitted",
    "doc/user_guide/deletion.rst": "10 of 426 rows removed",
    "doc/user_guide/fairness.rst": "gap before.*gap after.*ended by the delta",
    "doc/user_guide/groups.rst": "annotator 07 .*10 groups removed and refitted",
    "doc/user_guide/labels.rst": "9[0-9]% of those found are wrong",
    "doc/user_guide/large_data.rst": "^cg .*50 rows removed",
    "doc/user_guide/patching.rst": "20 rows removed",
    "doc/user_guide/pipelines.rst": "customer 129.*'delta'",
    "doc/user_guide/values.rst": r"\(426, 2\)",
    "doc/scaling.rst": "rows removed .*100 %",
    "doc/unlearning.rst": "^2 ",
}


def load(name, folder=DOC):
    """A module of the documentation, which is no package."""
    path = folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


api_pages = load("api_pages", DOC / "_extensions")
check_pages = load("check_pages")


@pytest.mark.parametrize("path", WITH_CODE, ids=name_of)
def test_code_of_a_page_runs(path, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(path)
    says = SAYS.get(name_of(path), "")
    assert re.search(says, capsys.readouterr().out, flags=re.DOTALL)


def test_every_page_of_the_user_guide_has_code_a_formula_and_limits():
    guide = [p for p in PAGES if p.parent.name == "user_guide" and p.stem != "index"]
    assert len(guide) >= 10
    for path in guide:
        text = text_of(path)
        assert path in WITH_CODE, path
        assert ".. math::" in text, path
        assert "\nLimits\n======\n" in text, path


# -- links -----------------------------------------------------------------------------

LABEL = re.compile(r"^ *\.\. _([^:`]+):\s*$", flags=re.MULTILINE)
ROLE = re.compile(r":(ref|doc):`(?:[^`<]*<([^`>]+)>|([^`<]+))`")
SOURCES = [*PAGES[1:], *sorted((ROOT / "examples").glob("*.rst"))]


def docnames():
    return {path.relative_to(DOC).with_suffix("").as_posix() for path in PAGES[1:]} | {
        f"api/{name}" for name in api_pages.pages()
    }


def labels():
    found = [LABEL.findall(text_of(path)) for path in SOURCES]
    return [label for page in found for label in page] + ["api"]


def absolute(target, path):
    """The docname that a target of :doc: on a page names."""
    if target.startswith("/"):
        return target[1:]
    folder = path.parent
    return (folder / target).resolve().relative_to(DOC.resolve()).as_posix()


@pytest.mark.parametrize("path", PAGES[1:], ids=name_of)
def test_links_of_a_page_lead_somewhere(path):
    for role, titled, plain in ROLE.findall(text_of(path)):
        target = titled or plain
        if role == "ref":
            assert target in labels(), target
        elif not (page := absolute(target, path)).startswith("auto_examples/"):
            assert page in docnames(), target
        else:
            source = (ROOT / "examples" / page.partition("/")[2]).with_suffix(".py")
            assert source.is_file() or page.endswith("/index"), target


def test_labels_are_unique():
    assert len(labels()) == len(set(labels()))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_files_that_are_named_exist(path):
    text = text_of(path)
    for name in re.findall(r"``((?:doc|examples)/[\w/]+\.(?:rst|py))``", text):
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"\.\. literalinclude:: (\S+)", text):
        assert (path.parent / name).is_file(), name
    for name in re.findall(r":pyobject: (\w+)", text):
        assert any(f"class {name}(" in text_of(p) for p in included(path)), name


def included(path):
    names = re.findall(r"\.\. literalinclude:: (\S+)", text_of(path))
    return [path.parent / name for name in names]


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for path in PAGES[1:]:
        for tree in re.findall(
            r"\.\. toctree::\n((?: +.*\n|\n)+)", text_of(path), flags=re.MULTILINE
        ):
            for line in tree.splitlines():
                entry = re.sub(r"^.*<(.*)>$", r"\1", line.strip())
                if entry and not entry.startswith(":"):
                    listed.add(absolute(entry, path))
    written = {p.relative_to(DOC).with_suffix("").as_posix() for p in PAGES[1:]}
    assert written - listed == {"index"}


def test_check_of_built_pages_finds_what_is_broken(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "logo.svg").write_text("<svg/>", encoding="utf-8")
    (tmp_path / "other.html").write_text('<p id="here"></p>', encoding="utf-8")
    page = tmp_path / "index.html"
    page.write_text(
        '<a href="other.html#here"></a><a href="#top" id="top"></a>'
        '<a href="https://example.org"></a><img src="_static/logo.svg">',
        encoding="utf-8",
    )
    assert list(check_pages.faults(tmp_path)) == []
    page.write_text(
        '<a href="other.html#there"></a><a href="gone.html"></a>'
        '<script src="https://example.org/a.js"></script>',
        encoding="utf-8",
    )
    found = " ".join(check_pages.faults(tmp_path))
    assert "other.html#there has no such anchor" in found
    assert "gone.html does not exist" in found
    assert "a.js is loaded from elsewhere" in found


# -- what has to be said ---------------------------------------------------------------


def test_every_warning_and_error_has_its_advice():
    names = [name for name in vars(errors) if name.endswith(("Warning", "Error"))]
    assert len(names) >= 7
    for name in names:
        assert f"`{name}`" in text_of(DOC / "trust.rst"), name


@pytest.mark.parametrize(
    "label", ["trust-stationarity", "trust-leverage", "trust-groups", "delta-reached"]
)
def test_sections_that_others_link_to(label):
    assert label in LABEL.findall(text_of(DOC / "trust.rst"))


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_every_criterion_has_its_unit(name):
    assert f"``{name}``" in text_of(DOC / "conventions.rst")


def test_api_pages_follow_the_tables(monkeypatch):
    made = api_pages.pages()
    for room in api_pages.rooms():
        package = sys.modules[f"skpuma.{room}"]
        for name in sum(api_pages.public(package), []):
            assert f"   {name}\n" in made[f"skpuma.{room}"], name
    assert "   PumaValuator\n" in made["skpuma"]
    for name in VALUATIONS:
        assert f"   {name}\n" in made["skpuma.valuation"]
    assert "``log_loss``" in made["skpuma.criteria"]
    monkeypatch.setitem(CRITERIA, "one_more", CRITERIA["log_loss"])
    assert "``one_more``" in api_pages.pages()["skpuma.criteria"]


def test_every_table_of_names_is_shown():
    for room, table in api_pages.TABLES:
        assert getattr(sys.modules[f"skpuma.{room}"], table)


def test_members_are_those_of_skpuma():
    members = dict(map(reversed, api_pages.own_members("skpuma.PumaPatcher")))
    assert members["patch"] == "method"
    assert members["forgotten_"] == "property"
    assert "set_params" not in members
    assert "set_fit_request" not in members


def test_api_pages_are_written_once(tmp_path):
    api_pages.write(tmp_path / "api")
    page = tmp_path / "api" / "skpuma.rst"
    before = page.stat().st_mtime_ns
    api_pages.write(tmp_path / "api")
    assert page.stat().st_mtime_ns == before
    assert skpuma.__name__ in page.read_text(encoding="utf-8")
