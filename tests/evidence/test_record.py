"""The record: files that come back equal, hold no rows, and never run anything."""

import json
import re
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from skpuma.evidence import RemovalEvidence, _json
from skpuma.evidence._record import SCHEMA, as_text, utc

EVIL = "</script><script>alert('x')</script><img src=x onerror=alert(1)>&amp;\u2028"


def record(**change):
    """A record as large as they get, with all that is awkward."""
    given = {
        "created": utc(datetime(2024, 5, 17, 8, 30, tzinfo=UTC)),
        "versions": {"python": "3.11.0", "numpy": "2.0"},
        "estimator": {"class": "a.B", "parameters": {"C": "1.0", "name": EVIL}},
        "settings": {"level": 0.95, "measured_on": EVIL, "eta": "inf"},
        "data": {"fit": "ab" * 32, "n_rows": 100, "n_removed": np.int64(7)},
        "groups": [{"group": EVIL, "rows": 3, "weight": np.float64(3.0)}],
        "patches": [
            {
                "n_removed": 7,
                "n_upweighted": 0,
                "n_reweighted": 2,
                "s": 1.0,
                "stopped_by": f"delta:{EVIL}",
                "kept": np.array([True, False]),
            }
        ],
        "criteria": [
            {
                "name": EVIL,
                "before": [0.1, 0.05, 0.2],
                "after": (0.1, -np.inf, np.nan),
                "delta": np.inf,
                "kept": np.True_,
            }
        ],
        "scores": [{"name": "accuracy", "before": [1.0, 1.0, 1.0], "after": None}],
        "attack": [{"name": "auc", "after": [0.5, 0.4, 0.6], "gap": [0.0, 0.0, 0.0]}],
        "distance": [{"name": "kl", "after": 1e-9, "retrained": 0.0}],
        "retrained": EVIL,
        "notes": [EVIL],
    }
    return RemovalEvidence(**{**given, **change})


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.data, self.inside = [], [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.inside = tag

    def handle_data(self, text):
        if self.inside == "script":
            self.data.append(text)

    def handle_endtag(self, tag):
        self.inside = None


# -- files -----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".json", ".html"])
def test_what_was_saved_comes_back_equal(tmp_path, suffix):
    one = record()
    path = tmp_path / f"evidence{suffix}"
    one.save(path)
    again = RemovalEvidence.load(str(path))
    assert again == one
    assert hash(again) == hash(one)
    assert again.to_frame().equals(one.to_frame())
    assert again.to_html() == one.to_html()
    assert record(retrained="otherwise") != one
    assert one != "evidence"


def test_json_is_strict_and_names_its_schema(tmp_path):
    record().save(tmp_path / "evidence.json")

    def refuse(constant):
        raise AssertionError(constant)

    text = (tmp_path / "evidence.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=refuse)
    assert found["schema"] == SCHEMA
    assert found["criteria"][0]["after"] == [0.1, {"float": "-inf"}, {"float": "nan"}]
    assert found["criteria"][0]["delta"] == {"float": "inf"}
    assert found["patches"][0]["kept"] == [True, False]
    assert found["data"]["n_removed"] == 7


@pytest.mark.parametrize("value", [0.1, 1e-300, -0.0, 1 / 3, np.inf, -np.inf, np.nan])
def test_numbers_come_back_bit_for_bit(value):
    again = _json.loads(_json.dumps([value]))[0]
    assert np.float64(again).tobytes() == np.float64(value).tobytes()


def test_a_page_runs_nothing_and_loads_nothing():
    page = Page(record().to_html())
    assert page.tags.count("script") == 1
    assert ("type", "application/json") in page.attributes
    assert "img" not in page.tags
    names = {name for name, _ in page.attributes}
    assert not names & {"src", "href", "onerror", "onclick", "action"}
    assert "url(" not in record().to_html() and "@import" not in record().to_html()
    assert RemovalEvidence(**_json.loads("".join(page.data))) == record()


def test_a_block_of_a_notebook_has_no_script():
    page = Page(record()._repr_html_())
    assert "script" not in page.tags
    assert page.tags.count("details") == 10


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "not json", "is not removal evidence: Expecting value"),
        ("a.json", "[1, 2]", "it has no schema"),
        ("a.json", '{"schema": "1"}', "it has no schema"),
        ("a.json", '{"schema": 99}', "has schema 99, this skpuma reads 1"),
        ("a.json", '{"schema": 1}', "is damaged: attack, created"),
        ("a.json", '{"schema": NaN}', "NaN is not JSON"),
        ("a.html", "<html><body>hello</body></html>", "the page holds no record"),
        ("a.html", "", "is not removal evidence"),
    ],
)
def test_other_files_are_refused(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        RemovalEvidence.load(path)


def test_damaged_fields_are_named(tmp_path):
    found = json.loads(record().to_json())
    for change, message in (
        ({"notes": "one"}, "notes missing, unknown, or of the wrong type"),
        ({"color": "red"}, "color missing, unknown"),
    ):
        path = tmp_path / "evidence.json"
        path.write_text(json.dumps({**found, **change}), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            RemovalEvidence.load(path)


def test_binary_files_are_refused(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04\x95\xff\xfe")
    with pytest.raises(ValueError, match="model.pkl is not removal evidence"):
        RemovalEvidence.load(path)
    with pytest.raises(FileNotFoundError):
        RemovalEvidence.load(tmp_path / "none.json")


def test_other_suffixes_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"use .html or .json"):
        record().save(tmp_path / "evidence.pkl")
    assert list(tmp_path.iterdir()) == []


# -- what it says ----------------------------------------------------------------------


def test_frame_has_a_line_per_measurement():
    frame = record().to_frame()
    assert frame.index.names == ["section", "name"]
    assert frame.index.tolist() == [
        ("criteria", EVIL),
        ("scores", "accuracy"),
        ("attack", "auc"),
        ("distance", "kl"),
    ]
    line = frame.loc[("criteria", EVIL)]
    assert (line["before"], line["before_low"], line["before_high"]) == (0.1, 0.05, 0.2)
    assert line["delta"] == np.inf and line["kept"] is True
    assert np.isnan(line["retrained"])
    assert frame.loc[("distance", "kl"), "after"] == 1e-9
    assert frame["before"].dtype == float


def test_text_says_what_was_kept():
    one = record()
    assert not one.kept
    assert "A criterion left its delta." in one.headline
    assert "7 of 100 rows removed by one patch" in one.headline
    assert "auc 0.50 (0.40 to 0.60) after" in str(one)
    patch = {**one.patches[0], "kept": [True]}
    both = replace(one, patches=[patch, patch])
    assert both.kept
    assert "by 2 patches" in both.headline
    assert "Every criterion stayed within its delta." in both.headline


def test_numbers_have_as_many_digits_as_their_intervals_are_worth():
    line = {"name": "c", "before": [0.123456, 0.1, 0.2], "after": [1234.5, 1000, 2000]}
    text = str(record(criteria=[line]))
    assert "0.12 (0.10 to 0.20)" in text
    line = {"name": "c", "after": [-0.0001, -0.1, 0.1]}
    assert "0.00 (-0.10 to 0.10)" in str(record(criteria=[line]))
    assert re.search(r"123[45] \(1000 to 2000\)", text)


def test_fields_cannot_be_set():
    one = record()
    with pytest.raises(FrozenInstanceError):
        one.created = "never"
    values = [1.0, 2.0, 3.0]
    line = {"name": "c", "after": values}
    made = record(criteria=[line])
    values[0] = line["after"][1] = 7.0
    assert made.criteria[0]["after"] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (datetime(2024, 5, 17, 8, 30), "2024-05-17T08:30:00+00:00"),
        (
            datetime(2024, 5, 17, 8, 30, tzinfo=timezone(timedelta(hours=2))),
            "2024-05-17T06:30:00+00:00",
        ),
    ],
)
def test_times_are_utc(time, expected):
    assert utc(time) == expected


def test_now_is_the_default_time():
    before = datetime.now(UTC).replace(microsecond=0)
    assert before <= datetime.fromisoformat(utc()) <= datetime.now(UTC)
    with pytest.raises(TypeError, match="datetime"):
        utc("yesterday")


def test_parameters_as_text():
    def scorer(x):
        return x

    assert "0x" not in as_text(scorer)
    assert as_text(np.arange(3)) == "ndarray of shape (3,)"
    assert as_text(LogisticRegression(C=3)) == "LogisticRegression(C=3)"
    long = as_text(list(range(200)))
    assert len(long) == 200 and long.endswith("...")
