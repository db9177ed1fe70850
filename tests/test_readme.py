"""What the README says is so."""

import re
from pathlib import Path

import pytest

from skpuma.criteria import CRITERIA
from skpuma.models import MODELS
from skpuma.unlearning import UNLEARNERS
from skpuma.valuation import VALUATIONS

README = (Path(__file__).parents[1] / "README.rst").read_text(encoding="utf-8")


def blocks():
    """Indented blocks of text, without their indentation."""
    for block in re.findall(r"(?:^(?: {4}.*)?\n)+", README, flags=re.MULTILINE):
        text = "\n".join(line[4:] for line in block.splitlines()).strip()
        if text:
            yield text


def test_commands_have_one_line_each():
    commands = [block for block in blocks() if block.startswith("python3 -m venv")]
    assert [len(command.splitlines()) for command in commands] == [1, 1, 1]
    assert commands[0].endswith("examples/quickstart.py")
    assert commands[1].endswith("-m tests")
    assert commands[2].endswith("-m sphinx -W -b html doc doc/_build/html")


@pytest.mark.parametrize("name", sorted(VALUATIONS))
def test_every_valuation_system_is_listed(name):
    assert f"``{name}``" in README


@pytest.mark.parametrize("name", sorted(UNLEARNERS))
def test_every_unlearning_system_is_listed(name):
    assert f"``{name.replace('Regressor', 'Classifier')}``" in README


@pytest.mark.parametrize("name", [key.partition(".")[2] for key in MODELS])
def test_every_model_is_listed(name):
    assert re.search(rf"\b{name}\b", README)


@pytest.mark.parametrize("name", sorted(set(CRITERIA) - {"auto"}))
def test_every_criterion_is_listed(name):
    assert f"``{name}``" in README
