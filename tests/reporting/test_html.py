"""Views in a notebook: whole, escaped, readable on any ground, nothing from outside."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from skpuma import PumaDebugger, PumaPatcher, PumaValuator
from skpuma.datasets import flip_labels
from skpuma.reporting import _html
from tests.data import blobs

EVIL = "<script>alert('&')</script>"


class Parts(HTMLParser):
    """Text, and tags that are open, of HTML; fails where tags do not match."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text, self.names = [], [], [], set()
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def table(n=120):
    X, y = blobs(n)
    return pd.DataFrame(X, index=[f"{EVIL} {i}" for i in range(n)]), y


def facts(estimator):
    """What stands below scikit-learn's diagram."""
    diagram, html = estimator_html_repr(estimator), estimator._repr_html_()
    assert estimator._repr_mimebundle_()["text/html"].endswith(own(html))
    assert "sk-top-container" in diagram and "sk-top-container" in html
    return Parts(own(html))


def own(html):
    return html[html.index('<div class="skpuma">') :]


def test_valuator():
    X, y = table()
    one = PumaValuator(criterion=["log_loss", "brier_score"], random_state=0)
    assert 'class="skpuma"' not in one._repr_html_()
    parts = facts(one.fit(X, y))
    for value in one.criterion_value_:
        assert _html.number(float(value)) in parts.text
    hurt = (one.removal_effect_ < 0).sum(axis=0)
    assert {str(count) for count in hurt} <= set(parts.text)
    assert one.inspect(1).index[0] in parts.text
    assert parts.tags.count("details") == 2
    assert "script" not in parts.tags and not parts.names & {"src", "href", "onclick"}


def test_patcher():
    X, y = table()
    one = PumaPatcher(delta=0.05).fit(X, y)
    assert "No patch yet" in facts(one).text
    one.patch(X, y, remove=[0, 1])
    first = facts(one).text
    assert any(one.report_.headline in text for text in first)
    assert "unpatch() undoes it." in first
    one.patch(X, y, remove=[2])
    assert "unpatch() undoes it, and 1 before it." in facts(one).text
    one.finalize()
    assert "It cannot be undone." in facts(one).text
    assert clone(one)._repr_html_().count('class="skpuma"') == 0


def test_debugger():
    X, y = table(200)
    y, _ = flip_labels(y, 0.1, random_state=0)
    one = PumaDebugger(views=("model",), random_state=0).fit(X, y)
    parts = facts(one)
    kinds = one.issues_["kind"].value_counts(sort=False)
    said = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    rate = f"Estimated share of wrong labels: {100 * one.noise_rate_:.1f} %."
    assert f"Rows with issues: {said}. {rate}" in parts.text
    assert one.issues_.index[0] in parts.text
    assert f"and {len(one.issues_) - 10} more: see issues_" in parts.text
    assert any(one.report_.headline in text for text in parts.text)


def test_debugger_that_finds_nothing():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(200, 2))
    y = X.sum(axis=1) + rng.choice([-0.1, 0.1], size=200)
    one = PumaDebugger(LinearRegression(), random_state=0).fit(X, y)
    assert len(one.issues_) == 0
    parts = facts(one)
    assert "Rows with issues: none." in parts.text
    assert parts.tags.count("details") == 3


def test_diagram_is_as_scikit_learn_wants_it():
    X, y = blobs()
    one = PumaPatcher().fit(X, y)
    with config_context(display="text"):
        assert not hasattr(one, "_repr_html_")
        assert list(one._repr_mimebundle_()) == ["text/plain"]
    inside = make_pipeline(StandardScaler(), one)
    assert "PumaPatcher" in inside._repr_html_()


def test_influence_check():
    X, y = blobs()
    one = PumaValuator(random_state=0).fit(X, y)
    check = one.check_influence(X, y, n_rows=4)
    pairs = check.to_pairs()
    np.testing.assert_array_equal(pairs.index, check.rows)
    np.testing.assert_array_equal(pairs["predicted_log_loss"], check.predicted[:, 0])
    np.testing.assert_array_equal(pairs["refitted_log_loss"], check.refitted[:, 0])
    parts = Parts(check._repr_html_())
    for value in pairs.to_numpy().ravel():
        assert _html.number(value) in parts.text


def test_report_says_how_it_got_there():
    X, y = table()
    report = PumaPatcher(delta=0.05).fit(X, y).patch(X, y, remove=[0]).report_
    parts = Parts(report._repr_html_())
    for value in (report.s, report.stationarity, report.curvature_info["condition"]):
        assert _html.number(value) in parts.text
    assert report.curvature_info["solver"] in parts.text


def luminance(color):
    parts = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_colours_are_those_of_the_page_or_read_on_all():
    # Of its own it sets no ground and no colour of text but these.
    own = re.findall(r"(?<![-\w])color:(#\w+)", _html.STYLE)
    assert len(own) == 2
    for color in own:
        for ground in ("#ffffff", "#111111"):
            assert contrast(color, ground) > 4.0, (color, ground)
    assert set(re.findall(r"background:([\w#]+)", _html.STYLE)) == {
        "transparent",
        "none",
    }
    for outside in ("url(", "@import", "http"):
        assert outside not in _html.STYLE


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (np.nan, ""),
        (True, "yes"),
        (np.False_, "no"),
        (np.inf, "no bound"),
        (3, "3"),
        (0.0, "0.0000"),
        (-0.25, "-0.2500"),
        (1.5e-7, "1.5e-07"),
        ("<", "<"),
    ],
)
def test_numbers_as_a_person_reads_them(value, text):
    assert _html.number(value) == text
