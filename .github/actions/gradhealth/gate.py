"""Where the action starts: with any Python 3, which hands over to the project's own where it is too old.

Reports are read, compared and rendered by the package that lies beside this action in its repository, at the very
commit that the action is pinned to, and not by what the project under test has installed.
"""

from __future__ import annotations

import os
import shlex
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
OLDEST = (3, 11)
HANDED_OVER = "GRADHEALTH_HANDED_OVER"


def main() -> int:
    """Start the gate, or say why it cannot be started."""
    if sys.version_info[:2] < OLDEST or not complete():
        return hand_over()
    if not os.path.isfile(os.path.join(ROOT, "pytest_gradhealth", "compare.py")):
        return refuse("the action was copied without the package beside it; use it from its repository")
    sys.path[:0] = [HERE, ROOT]
    from gradhealth_gate.main import main as run

    return run(sys.argv[1:])


def complete() -> bool:
    """Whether this Python has its standard library; that of a small container may not."""
    try:
        import ctypes
        import json
        import tempfile
    except ImportError:
        return False
    return all((ctypes, json, tempfile))


def hand_over() -> int:
    """Start again with the project's Python, which is new enough or else could not run the plugin either."""
    if HANDED_OVER in os.environ:
        return refuse("Python 3.11 or newer is needed, and neither python3 nor the input `python` is")
    os.environ[HANDED_OVER] = "1"
    try:
        os.chdir(os.environ.get("GRADHEALTH_WORKING_DIRECTORY") or ".")
        command = shlex.split(os.environ.get("GRADHEALTH_PYTHON") or "python")
        os.execvp(command[0], [*command, "-I", "-S", "-B", os.path.abspath(__file__)])
    except (OSError, ValueError) as error:
        return refuse(f"Python 3.11 or newer is needed: {error}")


def refuse(reason: str) -> int:
    """Fail with an annotation."""
    text = reason.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::error title=gradhealth::{text}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
