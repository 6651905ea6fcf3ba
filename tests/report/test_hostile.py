"""Files of which any value was replaced by any other: what reads them answers or says why not, and never breaks."""

from __future__ import annotations

import copy
import json
import random

import pytest

from pytest_gradhealth.__main__ import main
from pytest_gradhealth.report import junit, sarif
from pytest_gradhealth.report.baseline import read_baseline, update_baseline
from pytest_gradhealth.report.markdown import render_markdown
from pytest_gradhealth.report.store import StoreError, read_report, write_report

VALUES = (None, True, -1, 0, 3.5, 10**400, 1e308, float("nan"), "", "nan", "x", [], [[]], ["a"], {}, {"a": {}}, [None])


def places(value, path=()):
    """The path of every value inside plain data."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutants(document, count):
    """Copies of the document with some values replaced, removed or doubled."""
    chance = random.Random(0)
    everywhere = [path for path in places(document) if path]
    for _ in range(count):
        made = copy.deepcopy(document)
        for path in chance.sample(everywhere, chance.choice([1, 1, 1, 3])):
            target = made
            try:
                for key in path[:-1]:
                    target = target[key]
                if chance.random() < 0.2:
                    del target[path[-1]]
                else:
                    target[path[-1]] = chance.choice(VALUES)
            except (TypeError, LookupError):
                continue  # an earlier replacement took this place away
        yield json.dumps(made)


@pytest.fixture
def document(report, tmp_path):
    write_report(tmp_path / "whole.json", report)
    return json.loads(tmp_path.joinpath("whole.json").read_text(encoding="utf-8"))


def test_compare_answers_or_names_the_fault(document, tmp_path, capsys):
    path, whole = tmp_path / "mutant.json", tmp_path / "whole.json"
    codes = set()
    for text in mutants(document, 400):
        path.write_text(text, encoding="utf-8")
        for pair in ((path, whole), (whole, path)):
            for format_ in ("json", "github"):
                codes.add(code := main(["compare", *map(str, pair), "--format", format_]))
                out, error = capsys.readouterr()
                assert bool(error) == (code == 2), text
                if format_ == "json" and code != 2:
                    json.loads(out, parse_constant=pytest.fail)
    assert codes == {0, 1, 2}


def read_mutants(document, read, path):
    """What can be read of documents with a fault; the others must be refused by the name of their file."""
    refused, named = 0, 0
    for text in mutants(document, 300):
        path.write_text(text, encoding="utf-8")
        try:
            found = read(path)
        except StoreError as error:
            named += str(path) in str(error)
            refused += 1
        else:
            yield found
    assert 50 < refused == named < 290


def test_what_is_read_can_be_shown(document, tmp_path):
    html = pytest.importorskip("pytest_gradhealth.report.html")
    pytest.importorskip("jinja2")
    for found in read_mutants(document, read_report, tmp_path / "mutant.json"):
        assert render_markdown(found)
        json.loads(sarif.render_sarif(found), parse_constant=pytest.fail)
        assert html.render_html(found)
        assert all(junit.properties(stored.check) for stored in found.checks)
        write_report(tmp_path / "again.json", found)


def test_a_baseline_is_read_or_refused(report, tmp_path):
    update_baseline(tmp_path / "base.json", report.checks)
    whole = json.loads(tmp_path.joinpath("base.json").read_text(encoding="utf-8"))
    path = tmp_path / "mutant.json"
    for found in read_mutants(whole, read_baseline, path):
        update_baseline(path, report.checks)
        assert len(read_baseline(path).records) >= len(found.records)


def test_a_file_cut_anywhere_is_refused(document, tmp_path):
    whole = tmp_path.joinpath("whole.json").read_bytes()
    for length in range(0, len(whole) - 3, 97):
        tmp_path.joinpath("cut.json").write_bytes(whole[:length])
        with pytest.raises(StoreError, match=r"cut\.json"):
            read_report(tmp_path / "cut.json")
