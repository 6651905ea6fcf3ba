"""Keeps the gate's own settings out of reach of the tests that it starts.

A process can read the environment that its parent was started with, whatever the parent changed since. So the gate
starts itself anew: the second process is started with no more than tests may see, and gets the rest through a file
without a name.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence

from gradhealth_gate.github.files import FILES

__all__ = ["isolated_environment", "protect_process", "visible_environment"]

HIDDEN = ("ACTIONS_", "GRADHEALTH_")
"""Starts of names: tokens and addresses of the runner's services, and the action's inputs."""
TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36


def isolated_environment(arguments: Sequence[str]) -> dict[str, str]:
    """All that the gate was given but the tokens. The first call does not return: it starts the gate anew.

    Args:
        arguments: the program's; the number of the open file that holds the settings, once it was started anew.
    """
    if not arguments:
        _start_again(dict(os.environ))
    with open(int(arguments[0]), encoding="ascii") as file:
        file.seek(0)
        return {**os.environ, **json.load(file)}


def visible_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the tests may see: not the runner's files, not tokens of its services, not the gate's inputs."""
    hidden = {*FILES, *TOKENS}
    return {name: value for name, value in environment.items() if name not in hidden and not name.startswith(HIDDEN)}


def protect_process() -> bool:
    """Close this process's memory and files to others, and adopt every process that its children leave behind.

    Returns:
        Whether processes that detach from the tests can be followed; they can on Linux.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    return bool(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def _start_again(environment: Mapping[str, str]) -> None:
    own = ("GRADHEALTH_", *FILES)
    settings = {name: value for name, value in environment.items() if name.startswith(own)}
    file = tempfile.TemporaryFile("w", encoding="ascii")  # noqa: SIM115 - it is open for the process that follows
    json.dump(settings, file)
    file.flush()
    os.set_inheritable(file.fileno(), True)
    command = [sys.executable, "-I", "-S", "-B", os.path.abspath(sys.argv[0]), str(file.fileno())]
    os.execve(sys.executable, command, visible_environment(environment))
