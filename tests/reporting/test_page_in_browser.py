"""The page as its readers have it: in a browser, on a phone and on a wide screen."""

import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from mulo.reporting.html import Chart, Page, Series, page
from tests.reporting.example_page import LOOKS, STEPS, example
from tests.reporting.reading_pages import (
    COLOURED,
    READ_PIXELS,
    RECORD_CANVAS_TEXT,
    SOLID,
    VISIBLE_TEXT_SIZES,
    channels,
    contrast,
    place,
    position,
    readings,
    settle,
    swatches,
)

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
ARGUMENTS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
ARGUMENTS += " --disable-component-update --disable-sync"
SIZES = {"phone": (390, 844), "wide": (1440, 900)}
MINIMUM = 12  # px

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome was found: install one to test pages in it"),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra `dev`, is not installed")
    with playwright.sync_playwright() as tools:
        opened = tools.chromium.launch(executable_path=BROWSER, args=ARGUMENTS.split())
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Opens a page from a file; afterwards nothing may have been complained about, and nothing else asked for."""

    @contextmanager
    def visited(content, size="wide", **settings):
        file = tmp_path / "page.html"
        file.write_text(page(content), encoding="utf-8")
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        context.add_init_script(RECORD_CANVAS_TEXT + READ_PIXELS)
        tab, complaints, requests = context.new_page(), [], []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(file.as_uri())
        settle(tab)
        yield tab
        settle(tab)
        context.close()
        assert complaints == []
        assert {url for url in requests if not url.startswith("data:")} == {file.as_uri()}

    return visited


def small(y=(1, 10, 100), **settings):
    """One red curve over x = 1, 10, 100."""
    series = Series("red", [1, 10, 100], y, "#ff0000", np.multiply(y, 0.5), np.multiply(y, 1.5))
    return Page("Small", charts=[Chart("Chart", "x", "y", [series], **settings)])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_layout(visit, size, scheme):
    with visit(example(), size, color_scheme=scheme) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
        assert min(tab.evaluate(VISIBLE_TEXT_SIZES)) >= MINIMUM
        drawn = tab.evaluate("window.drawn")
        assert {"64", "256", "1024"} < {text for text, _ in drawn}  # ticks of the chart over width
        assert min(pixels for _, pixels in drawn) >= MINIMUM
        for figure in tab.locator("figure").all():
            inner = "(f) => f.clientWidth - 2 * parseFloat(getComputedStyle(f).paddingLeft)"
            assert figure.locator("canvas").bounding_box()["width"] == pytest.approx(figure.evaluate(inner), abs=1.5)


def test_charts_follow_the_window(visit):
    with visit(example(), "wide") as tab:
        tab.set_viewport_size({"width": 600, "height": 800})
        settle(tab)
        settle(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") == 600
        widths = [canvas.bounding_box()["width"] for canvas in tab.locator("figure canvas").all()]
        assert all(500 < width < 600 for width in widths)


def test_tables_scroll_by_themselves(visit):
    with visit(example(), "phone") as tab:
        scroll = tab.locator(".scroll").first
        assert scroll.evaluate("(e) => e.scrollWidth > e.clientWidth")
        scroll.evaluate("(e) => { e.scrollLeft = 10000; }")
        box = tab.locator("table").first.locator("th").last.bounding_box()
        assert box["x"] + box["width"] <= 390


def test_a_name_shows_and_hides_its_curves_in_all_charts(visit):
    name, color = "µLO_M (λ1 = 0.01)", [0xD5, 0x5E, 0x00]
    with visit(example()) as tab:
        pills = tab.get_by_role("button", name=name)
        before, others = tab.evaluate(SOLID, color), tab.evaluate(SOLID, [0x00, 0x72, 0xB2])
        assert min(before) > 100
        pills.first.click()
        settle(tab)
        assert tab.evaluate(SOLID, color) == [0, 0, 0]
        assert min(tab.evaluate(SOLID, [0x00, 0x72, 0xB2])) > 0.5 * min(others)
        assert [pill.get_attribute("aria-pressed") for pill in pills.all()] == ["false"] * 3
        pills.nth(2).focus()
        tab.keyboard.press("Enter")
        settle(tab)
        assert tab.evaluate(SOLID, color) == before
        assert [pill.get_attribute("aria-pressed") for pill in pills.all()] == ["true"] * 3


def test_a_hidden_name_stays_hidden_on_another_scale_and_takes_its_band_along(visit):
    with visit(small()) as tab:
        assert tab.evaluate(COLOURED) > 10 * tab.evaluate(SOLID, [255, 0, 0])[0] > 1000  # most of it is the band
        tab.get_by_role("button", name="red").click()
        settle(tab)
        assert tab.evaluate(COLOURED) == 0
        tab.get_by_role("button", name="log y").click()
        settle(tab)
        assert tab.evaluate(COLOURED) == 0


@pytest.mark.parametrize("axis", ["x", "y"])
def test_scales_change_at_a_touch(visit, axis):
    with visit(small()) as tab:
        button = tab.get_by_role("button", name=f"log {axis}")
        for pressed, expected in (("false", 9 / 99), ("true", 0.5), ("false", 9 / 99)):
            ends = position(tab, axis, 1), position(tab, axis, 100)
            share = (position(tab, axis, 10) - ends[0]) / (ends[1] - ends[0])
            assert share == pytest.approx(expected, abs=0.01)
            assert button.get_attribute("aria-pressed") == pressed
            button.click()
            settle(tab)


def test_charts_begin_as_their_settings_say(visit):
    with visit(small(log_x=True, log_y=True, y_max=20.0)) as tab:
        pressed = [button.get_attribute("aria-pressed") for button in tab.locator(".scale").all()]
        assert pressed == ["true", "true"]
        assert 20 <= tab.evaluate("document.querySelector('figure').plot.scales.y.max") < 30


def test_a_scale_that_nothing_fits_cannot_be_chosen(visit):
    with visit(small(y=(-1, -2, 0), log_y=True)) as tab:
        assert tab.get_by_role("button", name="log y").is_disabled()
        assert tab.get_by_role("button", name="log x").is_enabled()
        assert position(tab, "y", -2) > position(tab, "y", 0)


def test_charts_of_little_are_drawn_on_every_scale(visit):
    """The fixture sees complaints: nothing at all, one point, gaps only, a constant, zeros, and a huge range."""
    curves = {"one": ([3], [2.0]), "gaps": ([1, 2], [np.nan, np.inf]), "still": ([0, 1, 2], [5.0, 5.0, 5.0])}
    curves |= {"zeros": ([-1, 0, 1], [0, 0, 0]), "huge": ([0, 1, 2], [1e-30, 0.0, 1e30])}
    charts = [Chart(name, "x", "y", [Series(name, *xy, "#0072B2")]) for name, xy in curves.items()]
    with visit(Page("Little", charts=[Chart("none", "x", "y", []), *charts])) as tab:
        for _ in range(2):
            for button in tab.locator(".scale:not(:disabled)").all():
                button.click()
                settle(tab)
        assert tab.locator("figure canvas").count() == 6


@pytest.mark.parametrize(
    ("values", "expected"), [((0.401, 0.449), {"0.4", "0.42", "0.44"}), ((1e-9, 1e9), {"1e−6", "1"})]
)
def test_a_logarithmic_axis_has_ticks_for_any_range(visit, values, expected):
    chart = Chart("Chart", "x", "y", [Series("curve", [0, 1], values, "#0072B2")], log_y=True)
    with visit(Page("Range", charts=[chart])) as tab:
        assert expected <= {text for text, _ in tab.evaluate("window.drawn")}


@pytest.mark.parametrize("k", [0, 20, 150])
def test_pointing_reads_the_values_of_all_shown_series(visit, k):
    series = example().charts[0].series
    expected = {line.label: f"{line.y[k]:.5g}" if np.isfinite(line.y[k]) else "–" for line in series}
    with visit(example()) as tab:
        tab.mouse.move(*place(tab, 0, STEPS[k]))
        assert readings(tab) == (f"inner step {STEPS[k]:.0f}", expected)
        tab.get_by_role("button", name="µVeLO_M").first.click()
        tab.mouse.move(*place(tab, 0, STEPS[k]))
        assert set(readings(tab)[1]) == set(LOOKS) - {"µVeLO_M"}
        tab.mouse.move(2, 2)
        assert readings(tab) is None


def test_a_value_from_beside_says_where_it_is(visit):
    dense = Series("dense", list(range(0, 101)), [0.5] * 101, "#0072B2")
    sparse = Series("sparse", [0, 10, 20], [0.25, 0.75, 0.125], "#D55E00")
    with visit(Page("Two", charts=[Chart("Chart", "step", "y", [dense, sparse])])) as tab:
        tab.mouse.move(*place(tab, 0, 12))
        assert readings(tab) == ("step 12", {"dense": "0.5", "sparse": "0.75"})
        assert tab.locator(".tooltip .where").all_inner_texts() == ["at 10"]
        tab.mouse.move(*place(tab, 0, 50))
        assert readings(tab) == ("step 50", {"dense": "0.5", "sparse": "–"})


def test_touching_reads_values_within_the_screen(visit):
    with visit(example(), "phone", has_touch=True, is_mobile=True) as tab:
        tab.touchscreen.tap(*place(tab, 1, 1024))
        at, values = readings(tab, 1)
        assert at == "width 1024"
        assert values["µVeLO_M"] == f"{0.4 * 16**-0.12:.5g}"
        box = tab.locator("figure").nth(1).locator(".tooltip").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        tab.touchscreen.tap(5, 5)
        assert readings(tab, 1) is None


def test_a_finger_that_moves_sideways_reads_values(visit):
    with visit(example(), "phone", has_touch=True, is_mobile=True) as tab:
        wire = tab.context.new_cdp_session(tab)
        for kind, width in (("touchStart", 128), ("touchMove", 256), ("touchMove", 512), ("touchMove", 2048)):
            x, y = place(tab, 1, width)
            wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
            settle(tab)
        assert readings(tab, 1)[0] == "width 2048"
        wire.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_the_keyboard_reads_values(visit):
    with visit(example()) as tab:
        tab.locator(".plot").first.focus()
        tab.keyboard.press("End")
        assert readings(tab)[0] == "inner step 4975"
        tab.keyboard.press("ArrowLeft")
        assert readings(tab)[0] == f"inner step {STEPS[-3]:.0f}"  # a hundredth of 200 points
        tab.keyboard.press("Escape")
        assert readings(tab) is None


def test_colours_can_be_seen_on_dark_pages(visit):
    with visit(example(), color_scheme="light") as tab:
        assert swatches(tab) == {tuple(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color, _ in LOOKS.values()}
        tab.emulate_media(color_scheme="dark")
        settle(tab)
        card = tab.locator("figure").first.evaluate("(e) => getComputedStyle(e).backgroundColor")
        dark = [contrast(swatch, channels(card)) for swatch in swatches(tab)]
        assert len(dark) == len(LOOKS)
        assert min(dark) > 4.5


def test_labels_are_text_in_tooltips_too(visit):
    label = "</script><img src=x onerror=alert(1)>&amp;"
    series = Series(label, [0, 1, 2], [1, 2, 3], "#0072B2")
    with visit(Page(label, charts=[Chart(label, label, label, [series])])) as tab:
        tab.mouse.move(*place(tab, 0, 1))
        assert readings(tab) == (f"{label} 1", {label: "2"})
        assert tab.title() == label
        assert tab.locator("img").count() == 0


CONTRASTS = """async (button) => {
  const seen = [];
  button.click();
  for (let frame = 0; frame < 20; frame++) {
    const style = getComputedStyle(button);
    const card = getComputedStyle(button.closest('figure')).backgroundColor;
    seen.push([style.color, style.backgroundColor === 'rgba(0, 0, 0, 0)' ? card : style.backgroundColor]);
    await new Promise(requestAnimationFrame);
  }
  return seen;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("pressed", [True, False])
def test_a_button_can_be_read_at_every_moment_of_its_press(visit, scheme, pressed):
    """WCAG 2 asks for 4.5; colours that fade into each other's place are the same grey half way."""
    with visit(small(log_x=pressed), color_scheme=scheme) as tab:
        seen = tab.get_by_role("button", name="log x").evaluate(CONTRASTS)
        assert min(contrast(channels(text), channels(ground)) for text, ground in seen) >= 4.5
