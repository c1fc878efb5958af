import base64
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from mulo.errors import MuloError
from mulo.reporting.html import Chart, Page, Series, Table, page
from tests.reporting.example_page import example

HOSTILE = """</script><script>alert(1)</script><img src=x onerror="alert('&amp;')"> ${x} $title <!-- ]]> λ"""
LOADING = {"src", "srcset", "href", "action", "background", "poster", "formaction", "xlink:href", "manifest"}


class Reader(HTMLParser):
    """What a browser would see, by Python's own parser: elements with attributes, and the text at the start of each."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.inside = [], [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.texts.append("")
        self.inside = True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data

    def of(self, tag, **attributes):
        """Texts of the elements of a kind with these attributes."""
        pairs = zip(self.elements, self.texts, strict=True)
        return [text for (name, values), text in pairs if name == tag and attributes.items() <= values.items()]


def data(text):
    """What the page's scripts are given."""
    (data,) = Reader(text).of("script", id="charts")
    return json.loads(data)


def series(**changes):
    return replace(Series("mine", [1, 2, 3], [0.5, 0.25, 0.125], "#0072B2"), **changes)


def chart_of(*members, **settings):
    return Page("A page", charts=[Chart("A chart", "step", "loss", members, **settings)])


def test_a_page_refers_to_nothing_outside():
    reader = Reader(page(example()))
    references = [
        (tag, key, value) for tag, attributes in reader.elements for key, value in attributes.items() if key in LOADING
    ]
    assert references == [("link", "href", "data:,")]
    assert not [tag for tag, _ in reader.elements if tag in ("iframe", "object", "embed", "base", "img")]
    for style in reader.of("style"):
        assert "url(" not in style
        assert "@import" not in style


def test_the_policy_allows_exactly_the_scripts_and_styles_that_are_there():
    reader = Reader(page(example()))
    (policy,) = [attributes["content"] for tag, attributes in reader.elements if attributes.get("http-equiv")]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for kind in ("script", "style"):
        inline = [text for text in reader.of(kind) if not text.startswith("[{")]
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline]
        assert rules[f"{kind}-src"].split() == [f"'sha256-{each}'" for each in digests]


def everywhere(text):
    """A page that says `text` wherever something can be said."""
    chart = Chart(text, text, text, [series(label=text)], note=text)
    return Page(text, [text], [chart], [Table([text], [[text]], text)], text)


def test_text_stays_text_wherever_it_is():
    plain, hostile = Reader(page(everywhere("word"))), Reader(page(everywhere(HOSTILE)))
    tags = [[tag for tag, _ in reader.elements] for reader in (plain, hostile)]
    assert tags[0] == tags[1]
    for tag in ("title", "h1", "th", "td", "footer"):
        assert hostile.of(tag) == [HOSTILE]
    assert hostile.of("h2") == [HOSTILE, HOSTILE]
    assert hostile.of("p", **{"class": "note"})[-1] == HOSTILE
    assert [attributes["aria-label"] for _, attributes in hostile.elements if attributes.get("role") == "region"] == [
        HOSTILE
    ]
    (chart,) = data(page(everywhere(HOSTILE)))
    assert chart["xLabel"] == chart["series"][0]["label"] == HOSTILE


def test_the_licence_of_the_library_is_in_the_page():
    assert "Copyright (c) 2022 Leon Sorokin" in page(Page("A page"))


def test_the_same_page_has_the_same_bytes_in_another_process():
    script = "import sys; from mulo.reporting.html import page; from tests.reporting.example_page import example\n"
    script += "sys.stdout.buffer.write(page(example()).encode())"
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONHASHSEED": "77"}, capture_output=True, check=True
    )
    assert done.stdout.decode() == page(example())


def test_what_is_not_finite_is_null():
    y = [0.5, float("nan"), float("inf")]
    (chart,) = data(page(chart_of(series(y=y, low=[0.25, 0.0, -np.inf], high=[0.75, np.nan, 1.0]))))
    assert chart["series"][0]["y"] == [0.5, None, None]
    assert chart["series"][0]["low"] == [0.25, 0, None]
    assert chart["series"][0]["high"] == [0.75, None, 1]


def test_numbers_are_short_and_steps_are_exact():
    y = np.array([1 / 3, 123456.7, 2.000001e-9])
    text = page(chart_of(series(x=[100_000, 100_001, 123_456_789], y=y)))
    assert '"y":[0.33333,123460,2e-09]' in text
    assert '"x":[[100000,100001,123456789]]' in text


def test_equal_x_are_written_once():
    (chart,) = data(page(chart_of(series(), series(label="other"), series(label="third", x=[1, 2, 4]))))
    assert chart["x"] == [[1, 2, 3], [1, 2, 4]]
    assert [each["x"] for each in chart["series"]] == [0, 0, 1]


def test_settings_of_charts_and_series_reach_the_scripts():
    (chart,) = data(page(chart_of(series(dashed=True), log_x=True, y_max=3.5)))
    assert (chart["logX"], chart["logY"], chart["yMax"]) == (True, False, 3.5)
    assert (chart["series"][0]["dashed"], chart["series"][0]["color"]) == (True, "#0072B2")
    assert "low" not in chart["series"][0]


def test_tables_write_numbers_and_set_columns_of_them_flush_right():
    rows = [
        ["µAdam", 2409, 1 / 3, "0.5 ± 0.1"],
        ["AdamW", np.int64(1_000_000), float("nan"), "diverged"],
        ["–", -3, -0.25, "0.4"],
    ]
    table = Table(["name", "weights", "share", "loss"], rows, best=frozenset({(2, 3)}))
    reader = Reader(page(Page("A page", tables=[table])))
    assert reader.of("td", **{"class": "text"}) == ["µAdam", "AdamW", "–"]
    numbers = ["2409", "0.33333", "0.5 ± 0.1", "1000000", "–", "diverged", "−3", "−0.25"]
    assert reader.of("td", **{"class": "number"}) == numbers
    assert reader.of("td", **{"class": "number best"}) == ["0.4"]
    assert reader.of("th") == ["name", "weights", "share", "loss"]


def test_a_page_without_charts_has_no_word_about_them():
    assert Reader(page(Page("A page"))).of("p", **{"class": "note hint"}) == []
    assert len(Reader(page(chart_of(series()))).of("p", **{"class": "note hint"})) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: series(y=[1.0]), r"'mine' have shapes x \[3\], y \[1\]; expected vectors of one length"),
        (lambda: series(x=[[1, 2, 3]], y=[[1, 2, 3]]), "expected vectors"),
        (lambda: series(x=[1, 1, 2]), "increase"),
        (lambda: series(x=[1, 2, float("inf")]), "finite"),
        (lambda: series(low=[0, 0, 0]), "has one end"),
        (lambda: series(color="red;}"), "'red;}', is invalid; expected #rrggbb"),
        (lambda: chart_of(series(), series()), "Two series of 'A chart' are called 'mine'"),
        (lambda: Table(["a", "b"], [["1", "2"], ["1"]], "T"), "Row 1 of table 'T' has 1 cells, its header 2"),
        (lambda: Table(["a"], [["1"]], "T", frozenset({(1, 0)})), r"has no cell \(1, 0\)"),
    ],
)
def test_what_cannot_be_shown_is_refused(wrong, says):
    with pytest.raises(MuloError, match=says):
        wrong()
