"""What the fixture's methods give back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.record import Check, GradientRecord
from pytest_gradhealth.report.table import render

__all__ = ["Measurement", "WatchResult", "as_measurement"]


class Measurement(GradientRecord):
    """A record that prints as its table."""

    __slots__ = ()

    def __str__(self) -> str:
        return render(Check(name=self.model, record=self, judged=False))


def as_measurement(record: GradientRecord) -> Measurement:
    """The record, as one that prints as its table."""
    return Measurement(**{f.name: getattr(record, f.name) for f in fields(record)})


class WatchResult:
    """What a watched block has shown, once it has ended; also where its verdict was raised as an error."""

    def __init__(self) -> None:
        self._checks: tuple[Check, ...] | None = None

    def end(self, checks: Sequence[Check]) -> None:
        """The block has ended, and these are its checks."""
        self._checks = tuple(checks)

    @property
    def checks(self) -> tuple[Check, ...]:
        """Record, findings and limits of every model that was trained, in order of first use.

        Raises:
            MeasurementError: the block has not ended.
        """
        if self._checks is None:
            raise MeasurementError("the watched block has not ended: read its checks and records after it")
        return self._checks

    @property
    def records(self) -> tuple[Measurement, ...]:
        """The record of every model that was trained, in order of first use: its first measured pass, with the last
        as ``later``.

        Raises:
            MeasurementError: the block has not ended.
        """
        return tuple(as_measurement(check.record) for check in self.checks)

    def __str__(self) -> str:
        return "\n\n".join(map(render, self.checks))
