"""A comment for a pull request, from reports that a run of its code left.

They are untrusted, so only what the report's schema allows is read, and all of it is compared, judged and rendered
anew: no text that came with them is passed on as it is. A workflow that may write comments can run this, and no other
part of the action.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gradhealth_gate.github.commands import say
from gradhealth_gate.report.summary import Findings, render
from gradhealth_gate.verdict.fault import Verdict
from gradhealth_gate.verdict.judge import judge, relevant
from pytest_gradhealth.compare import compare_reports
from pytest_gradhealth.report.store import Report, StoreError, read_report

__all__ = ["MARKER", "comment", "main"]

MARKER = "<!-- pytest-gradhealth -->"
"""How the comment is found again."""
LARGEST_REPORT = 20 << 20
"""Bytes; reading one takes half a minute."""
LARGEST_COMMENT = 60_000
"""Bytes; GitHub refuses a comment above 65536 characters."""
UNUSABLE = 2


def main() -> int:
    """Write the comment; the exit code is 2 where the reports cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds head.json and, where there was a base, base.json")
    parser.add_argument("output", type=Path)
    parser.add_argument("--conclusion", default="", help="of the run that left the reports")
    parser.add_argument("--max-drift", type=float, default=3.0)
    options = parser.parse_args()
    try:
        text = comment(options.folder, options.conclusion, options.max_drift)
    except (StoreError, ValueError, OSError) as error:
        say(f"error: {error}")
        return UNUSABLE
    options.output.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return 0


def comment(folder: Path, conclusion: str = "", max_drift: float = 3.0) -> str:
    """The comment's Markdown.

    Raises:
        StoreError: a file is none that the plugin or the gate writes.
        OSError: there is no report.
    """
    head_path, base_path = folder / "head.json", folder / "base.json"
    head = _read(head_path)
    base = _read(base_path) if base_path.exists() else None
    if not head.checks:
        return _page(Findings(verdict=Verdict(outcome="error"), problem="no model was checked"))
    comparison = relevant(compare_reports(base_path, head_path, max_drift), head, base) if base else None
    verdict = judge(head, "any", comparison, base)
    missed = conclusion == "failure" and verdict.outcome == "pass"
    notes = ["The run failed for a reason that is not in its reports; see its log."] if missed else []
    findings = Findings(
        verdict=Verdict(outcome="error") if missed else verdict,
        notes=[*notes, *verdict.notes],
        head=head,
        base=base,
        comparison=comparison,
    )
    return _page(findings)


def _page(findings: Findings) -> str:
    return f"{MARKER}\n{render(findings, LARGEST_COMMENT - len(MARKER) - 1)}"


def _read(path: Path) -> Report:
    if path.is_symlink() or path.stat().st_size > LARGEST_REPORT:
        raise StoreError(f"{path.name}: is a link, or larger than {LARGEST_REPORT >> 20} MiB")
    return read_report(path)
