"""A check in a few lines: the verdict, cause and remedy of what was found, and how to change or accept it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge.registry import find_rule
from pytest_gradhealth.record import Check, Finding
from pytest_gradhealth.report.attempts import attempts
from pytest_gradhealth.report.text import one_line

__all__ = ["reasons", "verdict", "ways_out"]

MOST = 4
"""Findings whose cause and remedy are shown."""
FEW = 3
"""Layers of one finding that can be accepted by their names."""


def verdict(check: Check) -> str:
    """One sentence that stands alone: the culprit layer, the number and the limit."""
    if check.healthy:
        state = "measured" if not check.judged else "no new finding" if check.accepted else "healthy"
        return one_line(f"{check.name}: {state} ({_circumstances(check)})")
    first, *others = check.findings
    more = f" (+{len(others)} more finding{'s' if len(others) > 1 else ''})" if others else ""
    return one_line(f"{first.headline} in {check.name}: {first.message}{more}")


def _circumstances(check: Check) -> str:
    record = check.record
    batches = f"{record.batches} batch{'es' if record.batches != 1 else ''}"
    loss = "" if record.loss is None else f", loss {record.loss:.3g}"
    return f"{counted(len(record), 'layer')}, {batches}, {record.device} {record.precision}{loss}"


def reasons(check: Check, width: int, verbosity: int = 0) -> Iterator[str]:
    """Cause and remedy of what was found, and the notes on the measurement."""
    shown = check.findings if verbosity > 0 else check.findings[:MOST]
    for finding in shown:
        if len(check.findings) > 1:
            yield from _wrapped(f"{finding.headline}: {finding.message}", "  ", 4, width)
        for label, text in (("cause", finding.cause), ("remedy", finding.remedy)):
            yield from _wrapped(text, f"  {label + ':':<8}", 10, width)
    hidden = len(check.findings) - len(shown)
    if hidden:
        yield f"  and {hidden} more finding{'s' if hidden > 1 else ''}; -v shows all"
    for finding in check.accepted:
        yield from _wrapped(f"{finding.headline}: {finding.message}", "  accepted: ", 12, width)
    for told in attempts(check):
        yield from _wrapped(told, "  tried:  ", 10, width)
    if check.untried:
        yield from _wrapped(check.untried, "  tried:  ", 10, width)
    for note in check.record.notes:
        yield from _wrapped(note, "  note:   ", 10, width)


def ways_out(check: Check) -> Iterator[str]:
    """How to accept or change the first thing found, for these layers, this test, the whole suite, in lines to be
    copied; and where to read about it.
    """
    if not check.findings:
        return
    finding = check.findings[0]
    ways = [] if finding.fault == "drift" else _ways(finding, check.limits)
    for number, (what, line) in enumerate(ways):
        yield f"{'accept' if number == 0 else '':<6} for {what + ':':<11} {one_line(line)}"
    if finding.url:
        yield f"docs: {one_line(finding.url)}"


def _ways(finding: Finding, limits: Mapping[str, Any]) -> list[tuple[str, str]]:
    few = 0 < len(finding.layers) <= FEW  # of a long stretch none can be left out so that the rest is well
    here = ", ".join(_entry(finding, layer) for layer in finding.layers) if few else ""
    everywhere = json.dumps(finding.code) if finding.code else ""
    ways = []
    if here:
        what = "this layer" if len(finding.layers) == 1 else "the layers"
        ways.append((what, f"@pytest.mark.gradhealth(ignore=[{here}])"))
    if finding.limit_name in limits:
        ways.append(("this test", f"@pytest.mark.gradhealth({finding.limit_name}={_beyond(finding)})"))
    elif everywhere:
        ways.append(("this test", f"@pytest.mark.gradhealth(ignore=[{everywhere}])"))
    else:
        ways.append(("this test", "@pytest.mark.xfail(strict=True)"))
    if here or everywhere:
        ways.append(("the suite", f"gradhealth_ignore = [{here or everywhere}]    (ini file)"))
    return ways


def _entry(finding: Finding, layer: str) -> str:
    """A layer as an entry of ``ignore``, for the rule that was broken: a pattern that matches its name and no other."""
    pattern = re.sub(r"([*?[])", r"[\1]", layer)
    return json.dumps(f"{finding.code}:{pattern}" if finding.code else pattern, ensure_ascii=False)


def _beyond(finding: Finding) -> str:
    """A round limit that the value just meets; None switches the limit off."""
    value, limit = finding.value, finding.limit
    if not value or limit is None or not (abs(value) < float("inf")):
        return "None"
    digits, exponent = f"{value:.0e}".split("e")
    if finding.limit_name.startswith("min"):
        return f"1e{int(exponent)}" if value < limit else "None"
    rule = find_rule(finding.code)
    highest = next((one.high for one in rule.limits if one.name == finding.limit_name), None) if rule else None
    if highest is not None and float(f"{int(digits) + 1}e{exponent}") > highest:
        return f"{highest:g}"
    return f"{int(digits) + 1}e{int(exponent)}" if limit < value else "None"


def _wrapped(text: str, start: str, indent: int, width: int) -> list[str]:
    import textwrap

    sentence, _, command = text.partition("\n")
    margin = " " * indent
    lines = textwrap.wrap(
        one_line(sentence),
        width,
        initial_indent=start,
        subsequent_indent=margin,
        break_on_hyphens=False,  # an option's name is one word
    )
    return [*lines, margin + one_line(command)] if command else lines
