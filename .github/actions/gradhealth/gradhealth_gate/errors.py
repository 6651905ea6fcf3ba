"""Why a gate could not judge."""

from __future__ import annotations

__all__ = ["BaseUnavailableError", "GateError", "NoBaseError"]


class GateError(Exception):
    """Nothing could be judged; the message says why and what to do. The step fails, whatever `fail-on` says."""


class NoBaseError(Exception):
    """The base holds nothing to compare with, as before the first such test: a warning unless a base is required."""


class BaseUnavailableError(NoBaseError):
    """There is a base, and it cannot be had, measured or trusted. In a pull request that is an error."""
