"""Write the README's sample output by running the README's sample test: ``python docs/make_readme.py``.

With ``--check`` nothing is written; the exit code is 1 where the README is out of date.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
SAMPLE = re.compile(r"<!-- sample:(\S+) -->\n```python\n(.*?)```", re.DOTALL)
SLOWLY = "--gradhealth-try-seconds=100"
"""A machine under load must try as many cures as one that is idle."""
QUIET = {"COLUMNS": "84", "NO_COLOR": "1", "PYTHONUTF8": "1", "PYTEST_ADDOPTS": "", "OMP_NUM_THREADS": "1"}
OUTPUT = re.compile(r"(<!-- output -->\n```text\n).*?(```\n)", re.DOTALL)


def updated(readme: str) -> str:
    """The README with the output that its sample has today."""
    found = SAMPLE.search(readme)
    if found is None or OUTPUT.search(readme) is None:
        raise SystemExit("README.md has lost the markers of its sample or of the output")
    output = _failure(*found.groups())
    return OUTPUT.sub(lambda match: match[1] + output + match[2], readme)


def _failure(name: str, code: str) -> str:
    """What pytest says of a failing test, from the error's first line to the end of the table."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_text(code, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--gradhealth-device=cpu", SLOWLY]
        command += ["--gradhealth-try-seconds=600", name]  # all of it, on a slow machine too
        environment = os.environ | {
            "COLUMNS": "84",
            "NO_COLOR": "1",
            "PYTHONUTF8": "1",
            "PYTEST_ADDOPTS": "",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    lines = [line[1:] for line in done.stdout.splitlines() if line.startswith("E  ")]
    if not lines:
        raise SystemExit(f"the sample did not fail:\n{done.stdout}{done.stderr}")
    return textwrap.dedent("".join(f"{line}\n" for line in lines))


def main() -> int:
    """Update or check; the exit code."""
    before = README.read_text(encoding="utf-8")
    after = updated(before)
    if "--check" not in sys.argv:
        README.write_text(after, encoding="utf-8", newline="\n")
        return 0
    return int(after != before)


if __name__ == "__main__":
    sys.exit(main())
