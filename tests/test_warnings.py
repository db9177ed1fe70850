"""Warnings end with where the documentation says what to do."""

from pathlib import Path

import pytest

from skpuma.utils import errors

PAGE = Path(__file__).parents[1] / errors.TRUST


@pytest.mark.parametrize("category", errors.ANCHORS, ids=lambda one: one.__name__)
def test_warning_names_its_anchor(category):
    with pytest.warns(category, match=r"^Mind this\. See") as record:
        errors.warn("Mind this.", category)
    message = str(record[0].message)
    anchor = errors.ANCHORS[category]
    assert message.endswith(f"({errors.TRUST}#{anchor}).")
    assert record[0].filename == __file__


def test_other_warnings_are_as_they_are():
    with pytest.warns(RuntimeWarning, match=r"^Mind this\.$"):
        errors.warn("Mind this.", RuntimeWarning)


def test_every_category_has_an_anchor():
    own = {one for one in vars(errors).values() if isinstance(one, type)}
    assert {one for one in own if issubclass(one, Warning)} == set(errors.ANCHORS)


@pytest.mark.skipif(not PAGE.is_file(), reason="no documentation beside the package")
@pytest.mark.parametrize("anchor", errors.ANCHORS.values())
def test_page_has_the_anchor(anchor):
    assert f".. _{anchor}:" in PAGE.read_text(encoding="utf-8")
