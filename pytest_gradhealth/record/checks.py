"""A record, what was found in it, and what experiments added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_gradhealth.record.findings import Finding
from pytest_gradhealth.record.forecasts import Projection
from pytest_gradhealth.record.gradients import GradientRecord
from pytest_gradhealth.record.plain import Plain

__all__ = ["Attempt", "Check", "Mutant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(Plain):
    """A change made on a copy of a model that failed, and what the same check said of it."""

    change: str
    """What was changed, as in ``He initialisation``."""
    cures: bool
    """Whether the copy is healthy by the limits of the check."""
    outcome: str
    """The number that broke its limit, before and after, and the verdict."""
    cause: str = ""
    """What is at fault if the change cures, as in ``the initialisation``."""
    remedy: str = ""
    """How to make the change for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant(Plain):
    """A fault seeded into a copy of a healthy model, and whether the same check found it."""

    fault: str
    """What was done, in one or two words."""
    sentence: str
    """The same in a sentence."""
    layer: str
    """Where; the empty string is the model as a whole."""
    outcome: str
    """``found``, ``survived``, ``equivalent`` (no fault after all) or ``not run`` (the time was over)."""
    found_as: str = ""
    """Kind of the first finding; of an equivalent, why it is one."""
    hint: str = ""
    """The limit that would have found a survivor, and what that limit costs in false alarms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Plain):
    """A record and what was said of it."""

    name: str
    """What was checked, unique within its test: the model's class name, numbered where there are several."""
    record: GradientRecord
    findings: tuple[Finding, ...] = ()
    accepted: tuple[Finding, ...] = ()
    """Findings that the baseline accepts; the check is healthy with them."""
    by_design: Mapping[str, str] = field(default_factory=dict)
    """Layers that are healthy by design, with the reason (``starts at zero``, ``expert not routed to``)."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """The limits it was judged by."""
    tried: tuple[Attempt, ...] = ()
    """Changes that were tried on copies after it failed, what cures first."""
    untried: str = ""
    """Why nothing, or not all, was tried; empty: nothing to say."""
    mutants: tuple[Mutant, ...] = ()
    """What the self-test seeded into copies, where it was asked for."""
    forecast: Projection | None = None
    """What a forecast said, where this is the largest model that it has measured; None: this is no forecast."""
    judged: bool = True
    """False: it was only measured."""
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Columns that extensions add to the table: title, layer name, text."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What extensions add; JSON-safe."""

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings
