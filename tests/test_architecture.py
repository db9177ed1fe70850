"""The house rules that import-linter cannot see."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import skpuma
from skpuma.utils._registry import load

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "skpuma"
FILES = sorted(PACKAGE.rglob("*.py"))

# Rooms whose extensions are one file and one line in a table.
TABLES = [
    ("criteria", "CRITERIA"),
    ("curvature", "CURVATURES"),
    ("detection", "VIEWS"),
    ("evidence", "EVIDENCE"),
    ("kernels", "KERNELS"),
    ("losses", "LOSSES"),
    ("models", "FRAMES"),
    ("models", "MODELS"),
    ("plotting", "DISPLAYS"),
    ("reweighting", "SOLVERS"),
    ("solvers", "SOLVERS"),
    ("unlearning", "UNLEARNERS"),
    ("valuation", "VALUATIONS"),
]
# Files of those rooms that are no extension: what all of a room's extensions share.
SHARED = {
    "criteria/_base.py",
    "criteria/_combine.py",
    "criteria/_function.py",
    "curvature/_base.py",
    "curvature/_block_sums.py",
    "curvature/_single.py",
    "detection/_base.py",
    "detection/_folds.py",
    "detection/_label_noise.py",
    "detection/_rates.py",
    "detection/_rows.py",
    "evidence/_intervals.py",
    "evidence/_json.py",
    "evidence/_methods.py",
    "evidence/_outputs.py",
    "evidence/_page.py",
    "evidence/_removal.py",
    "evidence/_retraining.py",
    "evidence/_shadows.py",
    "kernels/_jit.py",
    "losses/_base.py",
    "models/_base.py",
    "losses/_margin.py",
    "losses/_output_hessian.py",
    "losses/_per_output.py",
    "losses/_residual.py",
    "models/_refused.py",
    "plotting/_images.py",
    "plotting/_labels.py",
    "plotting/_room.py",
    "plotting/_style.py",
    "reweighting/_problem.py",
    "solvers/_auto.py",
    "solvers/_base.py",
    "solvers/_kronecker.py",
    "solvers/_preconditioner.py",
    "solvers/_secants.py",
    "solvers/_softmax_blocks.py",
    "unlearning/_aggregation.py",
    "unlearning/_base.py",
    "unlearning/_batches.py",
    "unlearning/_downdating.py",
    "unlearning/_perturbed.py",
    "unlearning/_plain_sgd.py",
    "unlearning/_recorded.py",
    "unlearning/_recorder.py",
    "unlearning/_requests.py",
    "unlearning/_sharding.py",
    "unlearning/_unrolling.py",
    "unlearning/_wrapping.py",
    "valuation/_base.py",
    "valuation/_network_fits.py",
    "valuation/_scans.py",
    "valuation/_selection_rewards.py",
    "valuation/_sgd_walks.py",
    "valuation/_utility.py",
    "valuation/_value_network.py",
}
# Imported where they are used, so that skpuma costs what scikit-learn costs.
HEAVY = ["cvxpy", "numba", "matplotlib", "pandas", "dask", "distributed"]


def table(room, name):
    return getattr(import_module(f"skpuma.{room}"), name)


def target_of(room, name, key):
    """The "module:object" that a line of a table stands for."""
    target = table(room, name)[key]
    return target if ":" in target else f"{target}:{key}"


LINES = [
    pytest.param(target_of(room, name, key), id=f"{room}-{key}")
    for room, name in TABLES
    for key in table(room, name)
]


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def imports(path):
    """(module, level) of every import statement, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, 0
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield f"{node.module or ''}.{alias.name}", node.level


@pytest.mark.parametrize("target", LINES)
def test_table_line_resolves(target):
    assert callable(load(target))


@pytest.mark.parametrize("room", sorted({room for room, _ in TABLES}))
def test_tables_name_every_file_of_their_room(room):
    named = {
        target_of(room, name, key).partition(":")[0]
        for other, name in TABLES
        if other == room
        for key in table(room, name)
    }
    files = {
        f"skpuma.{room}.{path.stem}"
        for path in (PACKAGE / room).glob("*.py")
        if path.name != "__init__.py" and name_of(path) not in SHARED
    }
    assert named == files


def test_every_table_is_known_here():
    found = set()
    for path in PACKAGE.glob("*/__init__.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                found.add((path.parent.name, node.targets[0].id))
    assert found == set(TABLES)


def test_shared_files_exist():
    assert {name for name in SHARED if not (PACKAGE / name).is_file()} == set()


@pytest.mark.parametrize("name", sorted(skpuma.__all__))
def test_public_name_resolves(name):
    assert getattr(skpuma, name) is not None


def test_absent_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'PumaPuma'"):
        skpuma.PumaPuma  # noqa: B018


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_of_a_file(path):
    for module, level in imports(path):
        assert level == 0, f"relative import of {module}"
        package, *inner = module.split(".")
        if package == "numba":
            assert name_of(path) == "kernels/_jit.py"
        if package == "sklearn":
            # A name that starts with an underscore is scikit-learn's own business.
            assert not any(part.startswith("_") for part in inner), module


@pytest.mark.parametrize(
    "statement",
    [
        "import skpuma",
        "from skpuma import PumaPatcher, PumaValuator",
        "import skpuma.criteria, skpuma.datasets, skpuma.metrics, skpuma.models",
    ],
)
def test_import_loads_nothing_heavy(statement):
    # Whether sklearn itself loads pandas is not for skpuma to decide.
    code = (
        "import sys, sklearn.linear_model, sklearn.neural_network, sklearn.pipeline\n"
        "before = set(sys.modules)\n"
        f"{statement}\n"
        f"print(*sorted({set(HEAVY)} & (set(sys.modules) - before)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == []
