"""What the end of a run says of names that may hold anything."""

from __future__ import annotations

from typing import Any

from pytest_gradhealth.session.summary import accepted, closing, unmeasured

EVIL = "Net\x1b[31m\u202e\nx"


def test_no_name_breaks_a_line_or_moves_the_cursor() -> None:
    finding = {"kind": EVIL, "layers": [EVIL]}
    check: dict[str, Any] = {"name": EVIL, "record": {}, "accepted": [finding], "findings": [finding]}
    seen = {EVIL: {"models": 0, "backwards": 1, "problems": [EVIL]}}
    lines = [*unmeasured(seen), *accepted({EVIL: [check]}), closing([check])]
    assert len(lines) == 6
    assert all(map(str.isprintable, lines))
