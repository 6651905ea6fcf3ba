"""The Markdown report as GitHub would show it, parsed by a Markdown parser."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pytest_gradhealth.record import Finding
from pytest_gradhealth.report.escape import code, markdown, plain
from pytest_gradhealth.report.markdown import LARGEST, render_markdown
from pytest_gradhealth.report.store import Report

markdown_it = pytest.importorskip("markdown_it")


class Page(HTMLParser):
    """Tags and text of rendered Markdown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.cells: list[str] = []
        self.open = ""
        self.feed(markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").render(text))

    def handle_starttag(self, tag, attributes):
        assert not attributes or tag in {"code", "td", "th"}, (tag, attributes)
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")
            self.open = tag

    def handle_endtag(self, tag):
        self.open = "" if tag == "td" else self.open

    def handle_data(self, data):
        self.words.append(data)
        if self.open:
            self.cells[-1] += data


def test_a_sick_check_shows_culprit_cause_remedy_chart_and_layers(report):
    text = render_markdown(report)
    assert text.startswith("## Gradient health: 1 of 2 checks unhealthy\n")
    assert "> **GH101 vanishing gradient** reach 3.1e-09 of fc0 is below the limit 1e-04" in text
    assert "> **Layer:** `fc1` and 1 more" in text
    assert "> **Cause:** sigmoid passes at most a quarter of the gradient" in text
    assert "> **Remedy:** use ReLU, or normalise between the layers" in text
    assert "python 3.11, commit abc" in text
    page = Page(text)
    assert page.tags.count("details") == 2
    assert page.tags.count("table") == 1
    assert page.cells[1::7] == ["fc0", ":x: fc1"]


def test_the_chart_has_one_point_per_layer_within_its_axis(make_record, make_layer, make_stored, vanishing):
    layers = [make_layer(f"l{i}", i, norm=10.0**-i, reach=1.0, signal=None) for i in range(6)]
    text = render_markdown(Report(checks=(make_stored(record=make_record(*layers), findings=(vanishing,)),)))
    chart = re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)
    assert chart
    assert 'y-axis "power of ten" -5 --> 1' in chart[1]
    assert 'x-axis "layer, from input to loss" 1 --> 6' in chart[1]
    lines = re.findall(r"line \[(.*)\]", chart[1])
    assert lines == ["0.00, -1.00, -2.00, -3.00, -4.00, -5.00", ", ".join(["0.00"] * 6)]


def test_the_chart_falls_as_far_as_float32_does(make_record, make_layer, make_stored, vanishing):
    layers = [make_layer(f"l{i}", i, norm=norm, reach=0.0, signal=None) for i, norm in enumerate((1.0, 1e-30, 1e-300))]
    text = render_markdown(Report(checks=(make_stored(record=make_record(*layers), findings=(vanishing,)),)))
    assert "line [0.00, -30.00, -45.00]" in text


def test_a_deep_model_keeps_a_readable_chart(make_record, make_layer, make_stored, vanishing):
    layers = [make_layer(f"l{i}", i, norm=1.0 if i < 999 else 0.0) for i in range(1000)]
    text = render_markdown(Report(checks=(make_stored(record=make_record(*layers), findings=(vanishing,)),)))
    line = re.search(r"line \[(.*)\]", text)
    assert line
    points = line[1].split(", ")
    assert len(points) == 60
    assert points[-1] != points[0]
    assert "zero, missing and non-finite at the bottom" in text


def test_names_cannot_break_out(hostile, make_stored, make_record, make_layer):
    layers = tuple(make_layer(name, i, kind=name) for i, name in enumerate(hostile))
    checks = []
    for name in hostile:
        finding = Finding(kind=name, layers=(name,), message=name, cause=name, remedy=name)
        checks.append(
            make_stored(name, file=name, check=name, record=make_record(*layers, model=name), findings=(finding,))
        )
        checks.append(make_stored(name, check=name))
    text = render_markdown(Report(checks=tuple(checks), environment={name: name for name in hostile}))
    page = Page(text)
    allowed = {"h2", "h3", "p", "blockquote", "strong", "code", "pre", "sub", "details", "summary", "br", "ul", "li"}
    assert set(page.tags) <= allowed | {"table", "thead", "tbody", "tr", "th", "td"}
    assert page.tags.count("td") == len(hostile) * len(hostile) * 7
    assert page.tags.count("table") == len(hostile)
    assert not re.search(r"(?<!`)@team", re.sub(r"`[^`\n]*`", "", text))
    assert "https://" not in re.sub(r"`[^`\n]*`", "", text)
    assert not re.search("[\u202e\x1b\r]", text)
    assert not re.search(r"^\s*::|##\[", text, re.MULTILINE), "a command, should the page be printed to a job's log"


def test_the_worst_comes_first_and_is_kept_when_there_is_no_room(make_stored, make_record, make_layer, vanishing):
    record = make_record(*(make_layer(f"blocks.{i}.conv", i) for i in range(100)))
    values = [10.0 ** -(5 + i % 50) for i in range(400)]
    checks = [
        make_stored(f"test_{i}", record=record, findings=(replace(vanishing, value=value),))
        for i, value in enumerate(values)
    ]
    checks.append(
        make_stored("test_nan", record=record, findings=(Finding(kind="non-finite", layers=(), message="x"),))
    )
    text = render_markdown(Report(checks=tuple(checks)))
    assert len(text.encode()) < LARGEST
    titles = re.findall(r"^### `.*::(.*)`$", text, re.MULTILINE)
    assert titles[0] == "test_nan"
    assert titles[1] == "test_49"
    small = render_markdown(Report(checks=tuple(checks)), largest=20_000)
    assert len(small.encode()) < 20_000
    assert re.findall(r"^### `.*::(.*)`$", small, re.MULTILINE)[:2] == ["test_nan", "test_49"]
    shown = len(re.findall("^### ", small, re.MULTILINE))
    assert f"... and {401 - shown} more unhealthy" in small


@pytest.mark.parametrize(("judged", "words"), [(True, "1 check, all healthy"), (False, "1 check, measured only")])
def test_the_verdict_without_findings(make_stored, judged, words):
    stored = make_stored()
    text = render_markdown(Report(checks=(replace(stored, check=replace(stored.check, judged=judged)),)))
    assert text.startswith(f"## Gradient health: {words}\n")
    assert "<details>" in text
    assert render_markdown(Report()).startswith("## Gradient health: no checks")


def test_escapes_show_the_text_as_it_is():
    for text in ("a_b*c*", "<b>", "x | y", "[l](u)", "~~s~~", "# h", "$x$", "&amp;", "\\"):
        shown = "".join(Page(markdown(text)).words).strip().replace("\N{WORD JOINER}", "")
        assert shown == text
    assert "".join(Page(code("a`b")).words).strip() == "a'b"
    assert plain("x" * 1000).count("x") < 300
