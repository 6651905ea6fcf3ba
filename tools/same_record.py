"""Does one seed give one record, bit for bit, on two workers and in any order?

    python tools/same_record.py                                          # the examples, 10 times
    python tools/same_record.py --runs 50 examples/test_01_deep_sigmoid.py

Each run is a new process with two workers of pytest-xdist, another hash seed, and the tests in another order. All that
the report says of a check, without what was tried on copies for a limited time, must be what it said in the first run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
TIMED = ("tried", "untried", "mutants", "metadata")
"""What depends on how much time there was."""


def _tests(paths: Sequence[str]) -> list[str]:
    done = subprocess.run([*PYTEST, "--collect-only", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


def _checks(tests: Sequence[str], seed: int) -> dict[str, str]:
    """The checks of one run, each as text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command = [*PYTEST, "-n2", "--gradhealth-try-seconds=0", f"--gradhealth-json={file}", *tests]
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"run {seed} failed:\n{done.stdout}{done.stderr}")
        checks = json.loads(file.read_text("utf-8"))["checks"]
    plain = [{name: value for name, value in check.items() if name not in TIMED} for check in checks]
    return {f"{check['test']} {check['name']}": json.dumps(check, sort_keys=True) for check in plain}


def main(arguments: list[str] | None = None) -> int:
    """Print every check that a run told otherwise; the exit status says whether there was one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", default=["examples"])
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args(arguments)
    tests = _tests(options.paths)
    first, differing = _checks(tests, 0), 0
    for seed in range(1, options.runs):
        found = _checks(random.Random(seed).sample(tests, len(tests)), seed)
        others = [name for name in first.keys() | found.keys() if first.get(name) != found.get(name)]
        differing += len(others)
        print(f"run {seed + 1} of {options.runs}: {len(found)} checks, {len(others)} differ {others or ''}", flush=True)
    print(f"{options.runs} runs of {len(tests)} tests: {differing} records differ from those of the first run")
    return min(differing, 1)


if __name__ == "__main__":
    sys.exit(main())
