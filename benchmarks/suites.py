"""What ``--gradhealth`` does to another project's own tests: ``python -m benchmarks.suites CHECKOUT [TESTS...]``.

Runs the tests of a checkout twice, without and with ``--gradhealth``, and prints a row of the table in
``docs/watching.md``: tests, processor time and peak memory of both runs and their ratios, and each test whose outcome
has changed, with the verdict. The project's requirements and this package must be importable by ``--python``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1 << (10 if sys.platform == "linux" else 20)
"""Units of ``ru_maxrss``: kilobytes on Linux, bytes on macOS."""


@dataclass(frozen=True)
class Run:
    """One run of a suite: outcomes by test, processor seconds, and the peak of the resident set in megabytes."""

    outcomes: dict[str, str]
    reasons: dict[str, str]
    seconds: float
    memory: float


def run(checkout: Path, options: argparse.Namespace, extra: list[str]) -> Run:
    """Run the tests in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [options.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", *extra]
        path = os.pathsep.join(str(checkout / part) for part in options.path)
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH", "")])),
        }
        process = subprocess.Popen([*command, *options.tests], cwd=checkout, env=environment, stdout=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        if not report.exists():
            raise SystemExit(
                f"{' '.join([*command, *options.tests])} in {checkout} wrote no report; what it printed says why"
            )
        outcomes, reasons = outcomes_of(report)
    return Run(outcomes, reasons, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / MEGABYTE)


def outcomes_of(report: Path) -> tuple[dict[str, str], dict[str, str]]:
    """How each test ended, and for each that did not pass the first line that says why."""
    outcomes, reasons = {}, {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        ended = [part for part in case if part.tag in ("failure", "error", "skipped")]
        outcomes[name] = ended[0].tag if ended else "passed"
        if ended:
            reasons[name] = (ended[0].get("message") or "").strip().partition("\n")[0]
    return outcomes, reasons


def commit_of(checkout: Path) -> str:
    """The commit that is checked out, in short."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short=9", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Run both, and print the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("tests", nargs="*", help="paths and options for pytest, after --")
    parser.add_argument("--path", action="append", help="a folder of the checkout to import from; by default the root")
    parser.add_argument("--python", default=sys.executable, help="interpreter with the project's requirements")
    options = parser.parse_args()
    options.path = options.path or ["."]
    off, on = (run(options.checkout, options, extra) for extra in ([], ["--gradhealth"]))
    changed = sorted(name for name in off.outcomes | on.outcomes if off.outcomes.get(name) != on.outcomes.get(name))
    print(
        f"| {options.checkout.name} | {commit_of(options.checkout)} | {len(off.outcomes)} | {len(changed)} "
        f"| {off.seconds:.1f} s | {on.seconds / off.seconds:.2f} | {off.memory:.0f} MB | {on.memory / off.memory:.2f} |"
    )
    for name in changed:
        print(f"{name}: {off.outcomes.get(name)} -> {on.outcomes.get(name)}: {on.reasons.get(name, '')}")


if __name__ == "__main__":
    main()
