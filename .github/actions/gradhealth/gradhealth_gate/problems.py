"""Why a gate could not judge."""

from __future__ import annotations

__all__ = ["NoBaseError", "ProblemError"]


class ProblemError(Exception):
    """Nothing could be judged; the message says why and what to do. The step fails, whatever `fail-on` says."""


class NoBaseError(Exception):
    """There is nothing to compare with; a warning, unless a base is required."""
