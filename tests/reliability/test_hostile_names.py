"""Names of tests, files, layers and classes that want to be commands, markup or colours: text in every output."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")

TEST = "\x1b[31m\u202e\n::error::x\r|`<img src=x onerror=alert(1)>`"
EVIL = f"{TEST}\udc80"
"""pytest itself cannot write a lone surrogate in a test's name; a layer may have one."""
FILE = "test_\u202e<b>|`.py"
"""With an escape in it, pytest's own JUnit file is no XML."""
TESTS = f"""
import torch
from torch import nn

EVIL, TEST = {EVIL!r}, {TEST!r}

def net(depth):
    torch.manual_seed(0)
    model = type(TEST, (nn.Sequential,), {{}})()
    for number in range(depth):
        model.add_module(f"{{EVIL}}{{number}}", nn.Linear(4, 4))
        model.add_module(f"sigmoid{{number}}", nn.Sigmoid())
    return model

def checked(gradhealth):
    gradhealth.check(net(12), torch.randn(8, 4), lambda output: output.square().mean(), name=EVIL)

def trained():
    net(12)(torch.randn(8, 4)).square().mean().backward()

globals()["test_checked" + TEST] = checked
globals()["test_trained" + TEST] = trained
"""
OUTPUTS = ("json", "markdown", "html", "sarif")


def test_names_stay_text_in_every_output(pytester: pytest.Pytester) -> None:
    pytest.importorskip("jinja2")
    Path(pytester.path, FILE).write_text(TESTS, encoding="utf-8")
    files = [f"--gradhealth-{name}={name}" for name in OUTPUTS]
    reports = ("--gradhealth", "--gradhealth-report", "--gradhealth-try-seconds=0", "--gradhealth-junit")
    result = pytester.runpytest_inprocess(*reports, *files, "--junitxml=junit")
    assert result.parseoutcomes() == {"failed": 2}
    texts = {name: Path(pytester.path, name).read_text(encoding="utf-8") for name in (*OUTPUTS, "junit")}

    assert shows_nothing_hidden(of_the_terminal(result)), of_the_terminal(result)
    assert shows_nothing_hidden(texts["markdown"])
    assert not re.search(r"^[^`]*<img", texts["markdown"], re.MULTILINE), "markup outside of a code span"
    assert "<img" not in texts["html"]
    checks = json.loads(texts["json"])["checks"]
    assert {layer["name"] for check in checks for layer in check["record"]["layers"]} == {
        f"{EVIL}{n}" for n in range(12)
    }
    (run,) = json.loads(texts["sarif"])["runs"]
    assert len(run["results"]) == 2
    assert all(result["message"]["text"].isprintable() for result in run["results"])
    properties = [dict(found.items()) for found in ElementTree.fromstring(texts["junit"]).iter("property")]
    assert len({found["name"] for found in properties}) == len(properties) >= 20
    assert all(text.isprintable() for found in properties for text in found.values())


def of_the_terminal(result: pytest.RunResult) -> str:
    """Without the names that pytest itself writes as they are."""
    text = "\n".join(result.outlines)
    for name in (FILE, TEST):
        text = text.replace("\n".join(name.splitlines()), "")
    return text


def shows_nothing_hidden(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n")) and "\n::error" not in text
