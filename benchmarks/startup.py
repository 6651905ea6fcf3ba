"""What the plugin costs a test suite that does not use it: CPU time of pytest with it over pytest without it.

``python benchmarks/startup.py`` runs pairs of sessions, one with ``-p no:gradhealth``, in turns, so that whatever else
the machine does weighs on both alike, and prints the median difference. Other plugins are left out.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

WITHOUT = ("-p", "no:gradhealth")
OTHERS = [f"-pno:{found.name}" for found in entry_points(group="pytest11") if found.name != "gradhealth"]
TESTS = "".join(f"def test_{number}():\n    pass\n\n" for number in range(10))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=40, help="Pairs of sessions")
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_plain.py").write_text(TESTS)
        cpu_ms(folder, ())  # fills the bytecode caches
        found = [pair(folder) for _ in range(pairs)]
    differences = [with_it - without for with_it, without in found]
    print(f"pytest alone:       {statistics.median(without for _, without in found):6.1f} ms CPU (median of {pairs})")
    print(f"with gradhealth:    {statistics.median(with_it for with_it, _ in found):6.1f} ms CPU")
    print(f"median difference:  {statistics.median(differences):6.1f} ms CPU")
    print(f"middle half:        {' to '.join(f'{q:.1f}' for q in statistics.quantiles(differences, n=4)[::2])} ms CPU")


def pair(folder: str) -> tuple[float, float]:
    """One session with the plugin and one without, in random order."""
    order = random.sample(("with", "without"), k=2)
    times = {name: cpu_ms(folder, WITHOUT if name == "without" else ()) for name in order}
    return times["with"], times["without"]


def cpu_ms(folder: str, arguments: tuple[str, ...]) -> float:
    """User and system time of one session."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *OTHERS, *arguments]
    # As on a user's machine: bytecode is compiled once.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    main()
