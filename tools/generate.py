"""Write every text that is made from the package's own declarations: ``python tools/generate.py``.

Run it after a change to a rule or to record/. With ``--check`` nothing is written, and the exit code is 1 where a
file is out of date; a test does the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import limit_types
import report_schema
import rule_index
import rule_pages

ROOT = Path(__file__).parents[1]


def generated() -> dict[Path, Callable[[], str]]:
    """Every generated file, and what makes its content."""
    made: dict[Path, Callable[[], str]] = {
        module.TARGET: module.text for module in (rule_index, limit_types, report_schema)
    }
    return made | rule_pages.pages()


def stale() -> list[Path]:
    """Files whose content is not what the declarations say."""
    return [
        path for path, text in generated().items() if not path.exists() or path.read_text(encoding="utf-8") != text()
    ]


def main() -> int:
    """Write or check; the exit code."""
    found = [*stale(), *rule_pages.orphans()]
    for path in found:
        print(
            f"{path.relative_to(ROOT)} is out of date" if "--check" in sys.argv else f"writing {path.relative_to(ROOT)}"
        )
    if "--check" in sys.argv:
        return int(bool(found))
    for path in found:
        if path in generated():
            path.parent.mkdir(exist_ok=True)
            path.write_text(generated()[path](), encoding="utf-8", newline="\n")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
