"""Why the workflow runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Event"]

PRIVILEGED = ("pull_request_target", "workflow_run")
REVIEWED = ("pull_request", "merge_group")


@dataclass(frozen=True, slots=True)
class Event:
    """What GitHub says of the change."""

    name: str
    payload: Mapping[str, Any]
    sha: str = ""
    """The commit that the event is about. The runner sets it, and no earlier step can change it."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Event:
        """The event of this run."""
        try:
            payload = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_bytes())
        except (KeyError, OSError, ValueError, RecursionError):
            payload = {}
        sha = environment.get("GITHUB_SHA", "")
        return cls(environment.get("GITHUB_EVENT_NAME", ""), payload if isinstance(payload, dict) else {}, sha)

    @property
    def privileged(self) -> bool:
        """Whether it gives the code under test the repository's rights."""
        return self.name in PRIVILEGED

    @property
    def reviewed(self) -> bool:
        """Whether the gate stands between a stranger's change and the target branch."""
        return self.name in REVIEWED

    def value(self, *path: str) -> str:
        """A text in the payload; empty where there is none."""
        found: Any = self.payload
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, str) else ""
