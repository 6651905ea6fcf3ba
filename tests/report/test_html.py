"""The HTML report in a real browser, opened from disk: what a reader sees, clicks and types."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pytest_gradhealth.record import Curve, Finding, Mutant, Projection
from pytest_gradhealth.report.baseline import Baseline, Key
from pytest_gradhealth.report.files import write_text
from pytest_gradhealth.report.html import render_html, require_html
from pytest_gradhealth.report.store import Report

pytest.importorskip("jinja2", reason="the html extra is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; without one these tests are skipped."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium with chromedriver on the path")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's sandbox refuses to run as root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    from selenium.webdriver.chrome.service import Service

    made = selenium.Chrome(options=options, service=Service(driver))
    yield made
    made.quit()


class View:
    """A rendered report in the browser, and short words for what the tests do with it."""

    def __init__(self, browser: Any, path: str) -> None:
        self.browser, self.path = browser, path

    def open(self, width: int = 1440, height: int = 1000, scheme: str = "light", place: str = "") -> View:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.browser.get("about:blank")
        self.browser.get(f"file://{self.path}{place}")
        self.wait(lambda: self.js("location.protocol === 'file:' && document.readyState === 'complete'"))
        return self

    def js(self, code: str) -> Any:
        return self.browser.execute_script(f"return {code}")

    def all(self, selector: str) -> list[Any]:
        return self.js(f"[...document.querySelectorAll({selector!r})].filter((item) => item.checkVisibility())")

    def texts(self, selector: str) -> list[str]:
        return self.js(
            f"[...document.querySelectorAll({selector!r})].filter((item) => item.checkVisibility())"
            ".map((item) => item.innerText.trim())"
        )

    def one(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def wait(self, true: Callable[[], Any]) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, 10, poll_frequency=0.02).until(lambda _: true())

    def hover(self, layer: int, count: int) -> None:
        """Point at a layer in the chart."""
        from selenium.webdriver import ActionChains

        area = self.one(".u-over")
        left = area.size["width"] * ((layer + 0.4 + 0.02 * (count - 1)) / ((count - 1) * 1.04 + 0.8) - 0.5)
        ActionChains(self.browser).move_to_element_with_offset(area, round(left), 0).perform()

    def pixels(self, selector: str) -> Any:
        from PIL import Image

        return Image.open(io.BytesIO(self.one(selector).screenshot_as_png)).convert("RGB")

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture
def view(browser, tmp_path):
    def show(report: Report, baseline: Baseline | None = None, **options: Any) -> View:
        path = tmp_path / "report.html"
        write_text(path, render_html(report, baseline))
        browser.get_log("browser")
        return View(browser, str(path)).open(**options)

    return show


@pytest.fixture
def sick_report(make_stored, make_record, make_layer, vanishing):
    """A sick and three healthy checks, one of them on two devices."""
    layers = [
        make_layer(f"net.{i}", i, norm=10.0 ** (i - 9), signal=10.0 ** (i - 10), reach=min(10.0 ** (i - 8), 1.0))
        for i in range(10)
    ]
    finding = replace(vanishing, layers=("net.7", "net.6"))
    sick = make_stored("test_sick", check="Sigmoid", record=make_record(*layers, model="Sigmoid"), findings=(finding,))
    sick = replace(sick, check=replace(sick.check, limits={"min_reach": 1e-4}))
    both = make_stored("test_both"), make_stored("test_both", check="Net #2", record=make_record(device="cuda"))
    other = make_stored("test_other", file="tests/other.py", test="tests/other.py::test_other")
    told = replace(other, test="tests/other.py::test_told", check=replace(other.check, judged=False))
    return Report(checks=(*both, other, told, sick), environment={"python": "3.11", "torch": "2.13.0"})


def test_the_file_needs_nothing_else(sick_report):
    text = render_html(sick_report)
    assert not re.search(
        r"""(?:src|href)\s*=\s*["']?(?!#|data:)\w""", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    )
    assert "@import" not in text
    assert "connect-src" not in text, "default-src 'none' forbids every connection"
    assert "default-src 'none'" in text


def test_it_opens_from_disk_on_the_first_sick_check(view, sick_report):
    page = view(sick_report)
    assert page.complaints() == []
    assert page.js("document.title") == "1 unhealthy \u00b7 Gradient health"
    assert page.one(".head h2").text == "test_sick"
    assert page.texts(".list h2") == ["Needs attention", "tests/test_model.py", "tests/other.py"]
    assert page.texts(".row b") == ["test_sick", "test_both", "test_both", "test_other", "test_told"]
    finding = page.one(".finding").text
    for text in ("vanishing", "reach 3.1e-09 of fc0", "sigmoid passes at most", "use ReLU", "net.7"):
        assert text in finding
    assert page.one(".tally").text.split("\n") == ["5 checks", "1 unhealthy", "3 healthy", "1 only measured"]
    page.one(".foot summary").click()
    assert "2.13.0" in page.one(".foot").text


def test_the_page_ends_where_its_content_ends(view, make_stored, vanishing):
    checks = tuple(make_stored(f"test_{i}", findings=(vanishing,)) for i in range(60))
    page = view(Report(checks=checks))
    foot = page.js("document.querySelector('.foot').getBoundingClientRect().bottom")
    assert page.js("document.documentElement.scrollHeight") == pytest.approx(foot, abs=1)


def test_a_long_name_breaks_between_its_words(view, make_stored):
    page = view(Report(checks=(make_stored("test_" + "of_many_words_" * 5),)))
    lines = "range = document.createRange(), texts = [...document.querySelector('.row b').childNodes]"
    tops = page.js(
        f"(() => {{ const {lines}; return texts.filter((node) => node.data)"
        ".map((node) => (range.selectNodeContents(node), range.getClientRects().length)) })()"
    )
    assert len(tops) > 10
    assert set(tops) == {1}, "no word lies on two lines"
    assert page.texts(".row b") == ["test_" + "of_many_words_" * 5]


def test_a_click_opens_another_check_and_back_returns(view, sick_report):
    page = view(sick_report)
    page.all(".row")[3].click()
    page.wait(lambda: page.one(".head h2").text == "test_other")
    assert page.one(".row[aria-current]").text.startswith("\u2713\ntest_other")
    assert "Healthy." in page.one(".fine").text
    page.browser.back()
    page.wait(lambda: page.one(".head h2").text == "test_sick")
    assert page.open(place="#check-3").one(".head h2").text == "test_told"


def test_filter_and_search_narrow_the_list(view, sick_report):
    page = view(sick_report)
    page.one(".chip[data-filter=sick]").click()
    assert page.texts(".row b") == ["test_sick"]
    assert page.texts(".list h2") == ["Needs attention"]
    page.one(".chip[data-filter=all]").click()
    search = page.one("#search")
    for words, found in (
        ("other.py told", ["test_told"]),
        ("CUDA", ["test_both"]),
        ("net.9", ["test_sick"]),
        ("vanishing", ["test_sick"]),
        ("nothing like it", []),
    ):
        search.clear()
        search.send_keys(words)
        assert page.texts(".row b") == found
        assert page.one("#none").is_displayed() == (not found)
        assert page.js("document.getElementById('found').textContent") == f"{len(found)} of 5 checks"


def test_a_hover_names_the_layer_and_its_numbers(view, sick_report):
    page = view(sick_report)
    page.hover(7, 10)
    page.wait(lambda: page.all(".tip"))
    tip = page.one(".tip").text
    assert tip.startswith("net.7\nLinear \u00b7 8x8\nGH101 vanishing gradient\n")
    assert "Gradient norm 0.01" in tip
    assert "Reach 0.1" in tip
    assert "Signal 0.001" in tip
    page.hover(0, 10)
    page.wait(lambda: page.one(".tip").text.startswith("net.0\n"))
    assert "1e-9" in page.one(".tip").text


def test_the_chart_is_read_with_the_keyboard(view, sick_report):
    from selenium.webdriver.common.keys import Keys

    page = view(sick_report)
    plot = page.one(".plot")
    said = "document.querySelector('main p[role=status]').textContent"
    plot.send_keys(Keys.ARROW_RIGHT)
    page.wait(lambda: page.js(said).startswith("net.0: Gradient norm"))
    plot.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    page.wait(lambda: page.js(said).startswith("net.2:"))
    plot.send_keys(Keys.END)
    page.wait(lambda: page.one(".tip b").text == "net.9")
    plot.send_keys(Keys.ARROW_LEFT)
    page.wait(lambda: page.one(".tip b").text == "net.8")


def test_the_list_is_walked_with_the_keyboard(view, sick_report):
    from selenium.webdriver.common.keys import Keys

    page = view(sick_report)
    page.one("body").send_keys("/")
    assert page.js("document.activeElement.id") == "search"
    page.one("#search").send_keys("other", Keys.ARROW_DOWN)
    page.browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda: page.one(".head h2").text == "test_told")
    assert page.js("document.activeElement.id") == "main"
    page.one("#search").send_keys(Keys.ESCAPE)
    assert len(page.all(".row")) == 5


NORM, REACH, SIGNAL, SICK = "#2f5fd0", "#b45f06", "#0f7b72", "#b3261e"


def mask(image: Any, colour: str) -> Any:
    """White where the image has (nearly) the colour, else black."""
    from PIL import Image, ImageChops

    red, green, blue = ImageChops.difference(image, Image.new("RGB", image.size, colour)).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue).point(lambda value: 255 * (value < 24))


def count(image: Any, colour: str) -> int:
    return int(mask(image, colour).histogram()[255])


def test_the_chart_draws_curves_culprit_and_limit(view, sick_report):
    page = view(sick_report)
    image = page.pixels(".plot canvas")
    for colour in (NORM, REACH, SIGNAL):
        assert count(image, colour) > 200
    width = image.width
    left, _, right, _ = mask(image, SICK).getbbox()
    # net.7 of ten layers: the only culprit, so the band is the eighth of ten steps.
    assert 0.70 * width < left < right < 0.90 * width
    limit = mask(image, REACH)
    fullest = max(count(limit.crop((0, y, width, y + 1)).convert("RGB"), "#ffffff") for y in range(image.height))
    assert fullest > 0.3 * width, "the limit is a line from side to side"


def test_curves_can_be_switched_off(view, sick_report):
    page = view(sick_report)
    before = count(page.pixels(".plot canvas"), SIGNAL)
    button = next(item for item in page.all(".toggle") if item.text == "Signal")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    page.wait(lambda: count(page.pixels(".plot canvas"), SIGNAL) == 0)
    assert before > 200
    page.hover(3, 10)
    page.wait(lambda: page.all(".tip"))
    assert "Signal" not in page.one(".tip").text


def test_devices_baseline_and_second_look_are_overlaid(view, sick_report, make_record, scale):
    both = [stored for stored in sick_report.checks if stored.test.endswith("test_both")]
    later = replace(scale(make_record(), {"*": 4.0}), steps=1)
    first = replace(both[0], check=replace(both[0].check, record=replace(make_record(), later=later)))
    accepted = Baseline({Key.of(first.test, "Net", make_record()): scale(make_record(), {"*": 2.0})})
    page = view(Report(checks=(first, both[1])), accepted)
    labels = page.texts(".toggle")
    assert labels == ["Gradient norm", "Reach", "Signal", "cpu, float32", "cuda, float32", "baseline", "after 1 step"]
    page.hover(0, 8)
    page.wait(lambda: page.all(".tip"))
    assert "Gradient norm 0.1 0.1 0.2 0.4" in page.one(".tip").text


def test_the_table_sorts_by_any_column_and_marks_the_culprit(view, sick_report):
    page = view(sick_report)
    assert page.texts(".sheet tr.sick .name") == ["net.7"]
    assert "gradient" in page.js("getComputedStyle(document.querySelector('.sheet tr.sick td.bar')).backgroundImage")
    head = {item.text.strip(): item for item in page.all(".sheet th button")}
    head["Gradient norm"].click()
    assert page.texts(".sheet td.name") == [f"net.{i}" for i in range(10)]
    head["Gradient norm"].click()
    assert page.texts(".sheet td.name") == [f"net.{i}" for i in reversed(range(10))]
    assert page.texts(".sheet th[aria-sort=descending]") == ["Gradient norm"]
    head["Layer"].click()
    assert page.texts(".sheet td.name")[0] == "net.0"


def test_odd_numbers_are_sorted_and_shown(view, make_stored, make_record, make_layer):
    values = [float("nan"), 0.0, None, float("inf"), 1e-30, 12345.0]
    layers = [make_layer(f"l{i}", i, norm=value) for i, value in enumerate(values)]
    page = view(Report(checks=(make_stored(record=make_record(*layers)),)))
    assert page.complaints() == []
    assert page.texts(".sheet td:nth-child(3)") == ["NaN", "0", "\u2013", "\u221e", "1e-30", "1.23e4"]
    next(item for item in page.all(".sheet th button") if item.text.strip() == "Gradient norm").click()
    assert page.texts(".sheet td:nth-child(3)")[:4] == ["\u2013", "0", "1e-30", "1.23e4"]


def test_a_layer_named_by_a_finding_is_shown_in_the_table(view, sick_report):
    page = view(sick_report)
    page.all(".finding button.layer")[1].click()
    assert page.texts("tr.aim .name") == ["net.6"]


def test_names_cannot_inject_anything(view, hostile, make_stored, make_record, make_layer):
    layers = tuple(make_layer(name, i, kind=name) for i, name in enumerate(hostile))
    checks = []
    for name in hostile:
        finding = Finding(kind=name, layers=(name,), message=name, cause=name, remedy=name)
        stored = make_stored(
            name, file=name, check=name, record=make_record(*layers, model=name, notes=(name,)), findings=(finding,)
        )
        extra = {
            "by_design": {name: name},
            "limits": {name: 1.0},
            "metadata": {name: name},
            "columns": {name: {name: name}},
        }
        checks.append(replace(stored, outcome=name, check=replace(stored.check, **extra)))
    page = view(Report(checks=tuple(checks), environment={name: name for name in hostile}))
    for number in range(len(hostile)):
        page.open(place=f"#check-{number}")
        page.hover(number, len(hostile))
        page.wait(lambda: page.all(".tip"))
        assert page.complaints() == []
        assert page.js("window.hacked") is None
        assert page.js("document.querySelectorAll('img, b b, d, [onerror], [onload]').length") == 0
    name = hostile[0]
    assert page.open(place="#check-0").one(".finding dd").text == name
    assert page.texts(".sheet td.name")[0] == name


def test_the_policy_forbids_scripts_from_elsewhere(view, sick_report):
    page = view(sick_report)
    page.browser.execute_script(
        "const made = document.createElement('script'); made.textContent = 'window.hacked = 1';"
        "document.body.append(made)"
    )
    assert page.js("window.hacked") is None
    assert any("Content Security Policy" in entry for entry in page.complaints())


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_is_legible(view, sick_report, width, scheme):
    page = view(sick_report, width=width, height=900, scheme=scheme, place="#check-4")
    assert page.js("document.documentElement.scrollWidth") == width
    ratios = page.js(CONTRAST)
    assert len(ratios) > 30
    bad = [entry for entry in ratios if entry["ratio"] < 4.5]
    assert bad == []
    background = page.pixels("body").getpixel((2, 600))
    assert (sum(background) < 384) == (scheme == "dark")


# The WCAG contrast of every text that is visible against the nearest background that is not transparent.
CONTRAST = """(() => {
  const shade = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = (node) => { for (; node; node = node.parentElement) {
    const c = shade(getComputedStyle(node).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility() || node.closest('.quiet, script, style')) continue;
    const [a, b] = [light(shade(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    found.push({ text: walk.currentNode.data.slice(0, 30), ratio: (a + .05) / (b + .05) });
  }
  return found;
})()"""


def test_on_a_phone_the_list_and_the_check_are_two_screens(view, sick_report):
    page = view(sick_report, width=390, height=844)
    assert page.all(".row")
    assert not page.all(".main")
    page.all(".row")[0].click()
    page.wait(lambda: page.all(".main"))
    assert not page.all(".row")
    assert page.one(".plot canvas").size["width"] <= 390
    page.one(".back").click()
    page.wait(lambda: page.all(".row"))


def test_the_theme_can_be_chosen(view, sick_report):
    page = view(sick_report, scheme="light")
    button = page.one("#theme")
    shades = []
    for name in ("light", "dark", "auto"):
        button.click()
        assert button.text == f"Theme: {name}"
        shades.append(sum(page.pixels(".plot canvas").getpixel((3, 3))) < 384)
    assert shades == [False, True, False]


def test_paper_holds_the_list_and_every_sick_check(view, sick_report):
    page = view(sick_report, scheme="dark", place="#check-2")
    counts = page.js(
        """(() => { dispatchEvent(new Event('beforeprint')); const p = document.getElementById('print');
        const found = [p.querySelectorAll('article').length, p.querySelectorAll('canvas').length,
          [...p.querySelectorAll('h2')].map((h) => h.textContent).join(),
          p.querySelectorAll('details:not([open])').length];
        dispatchEvent(new Event('afterprint')); return [...found, p.children.length]; })()"""
    )
    assert counts == [2, 2, "test_sick,test_other", 0, 0]
    printed = base64.b64decode(page.browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 3


@pytest.mark.parametrize("width", [1440, 390])
def test_a_forecast_is_a_chart_of_the_number_that_breaks_first(view, make_stored, width):
    curve = Curve(
        name="reach",
        law="x0.5 per depth",
        measured_at=(2, 4, 8),
        measured=(0.5, 0.2, 0.0),
        sizes=(2, 8, 32),
        low=(0.3, 1e-2, 1e-8),
        middle=(0.5, 0.1, 1e-6),
        high=(0.7, 0.3, 1e-3),
    )
    broken = replace(curve, name="variation", limit_name="min_variation", limit=1e-3, breaks=True)
    told = Projection(
        sentence="Net would vanish", text="", healthy=False, axis="depth", target={"depth": 32}, curves=(curve, broken)
    )
    stored = make_stored()
    page = view(
        Report(checks=(replace(stored, check=replace(stored.check, judged=False, forecast=told)),)), width=width
    )
    page.browser.get(f"file://{page.path}#check-0")
    assert page.complaints() == []
    assert page.one(".finding").text == "Net would vanish"
    assert page.texts(".toggle.pick") == ["reach", "\u2715 variation"]
    words = ".chart .hint"
    assert page.texts(words)[0].startswith(
        "variation follows x0.5 per depth: 1e-6 at depth=32, between 1e-8 and 0.001; min_variation 0.001 is broken"
    )
    page.one(".toggle.pick").click()
    assert page.texts(words)[0].startswith("reach follows")
    assert len(page.all(".u-wrap")) == 2, "the forecast, and the profile of the largest model measured"
    assert page.js("document.documentElement.scrollWidth") == width


def test_a_selftest_is_a_table_of_layers_by_faults(view, make_stored):
    mutants = (
        Mutant(fault="detach", sentence="", layer="fc1", outcome="found"),
        Mutant(fault="zero", sentence="", layer="fc1", outcome="survived", hint="min_reach=0.1 finds it"),
        Mutant(fault="detach", sentence="", layer="fc2", outcome="not run"),
        Mutant(fault="sign", sentence="", layer="", outcome="equivalent", found_as="it trains as well"),
    )
    stored = make_stored()
    page = view(Report(checks=(replace(stored, check=replace(stored.check, mutants=mutants)),)))
    assert page.complaints() == []
    assert page.texts(".seeded thead th") == ["Layer", "detach", "zero"]
    assert page.texts(".seeded tbody tr") == ["fc1\t\u2713\t\u2715", "fc2\t?"]
    assert page.texts(".whole") == ["Whole model:\n= sign"]
    assert page.texts(".seed li")[0] == "survived: zero at fc1: min_reach=0.1 finds it"


def test_a_large_report_makes_only_the_chart_that_is_looked_at(view, make_stored, make_record, make_layer, vanishing):
    record = make_record(*(make_layer(f"blocks.{i}.conv", i) for i in range(200)))
    checks = [make_stored(f"test_{i}", record=record, findings=(vanishing,) * (i == 250)) for i in range(300)]
    page = view(Report(checks=tuple(checks)))
    page.wait(lambda: page.js("document.querySelector('canvas')"))
    assert page.js("document.querySelectorAll('canvas').length") == 1
    assert page.js("document.querySelectorAll('tbody tr').length") == 200
    page.one("#search").send_keys("test_29")
    assert page.texts(".row b") == ["test_29", *(f"test_{i}" for i in range(290, 300))]
    page.all(".row")[3].click()
    page.wait(lambda: page.one(".head h2").text == "test_292")
    assert page.js("document.querySelectorAll('canvas').length") == 1


def test_without_scripts_the_verdicts_are_still_there(sick_report):
    text = re.sub(r"<script.*?</script>", "", render_html(sick_report), flags=re.DOTALL)
    assert "GH101 vanishing gradient: reach 3.1e-09 of fc0 is below the limit 1e-04" in text
    assert text.count('class="row ') == 5


def test_an_empty_report_says_so(view):
    page = view(Report())
    assert page.complaints() == []
    assert page.one("#none").text == "No check ran."


def test_a_model_without_layers_and_one_with_a_single_layer(view, make_stored, make_record, make_layer):
    single = make_stored("test_one", record=make_record(make_layer("", 0)))
    none = make_stored("test_none", record=replace(make_record(), layers=()))
    page = view(Report(checks=(single, none)))
    assert page.texts(".sheet td.name") == ["(model)"]
    page.all(".row")[1].click()
    page.wait(lambda: page.one(".head h2").text == "test_none")
    assert page.complaints() == []


def test_extension_columns_and_notes_are_in_the_table(view, make_stored, make_record, make_layer):
    layers = (
        make_layer("a", 0, trainable=0),
        make_layer("b", 1, missing=("bias",), tied=("c",)),
        make_layer("d", None),
        make_layer("e", 4, zero_weights=("bias",)),
        make_layer("f", 5, norm=0.0, zero_weights=("weight",)),
    )
    stored = make_stored(record=make_record(*layers))
    check = replace(stored.check, columns={"Rate": {"b": "0.1"}}, by_design={"a": "starts at zero"})
    page = view(Report(checks=(replace(stored, check=check),)))
    assert page.texts(".sheet th")[6:8] == ["Notes", "Rate"]
    rows = page.texts(".sheet tbody tr")
    assert "healthy by design: starts at zero; frozen" in rows[0]
    assert "0.1" in rows[1]
    assert "no gradient: bias; tied with: c" in rows[1]
    assert "never called" in rows[2]
    assert "starts at zero" not in rows[3]
    assert "starts at zero: weight" in rows[4]


def test_the_data_is_json_that_no_name_can_close(hostile, make_stored):
    text = render_html(Report(checks=tuple(map(make_stored, hostile))))
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    assert "<" not in found[1]
    data = json.loads(found[1], parse_constant=pytest.fail)
    assert data["checks"][0]["short"] == hostile[0]


def test_a_missing_jinja_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'pytest-gradhealth\[html\]'"):
        require_html()
