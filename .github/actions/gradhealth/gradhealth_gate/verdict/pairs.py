"""Which check of the base is a check's own."""

from __future__ import annotations

from collections import defaultdict

from pytest_gradhealth.report.store import Report, StoredCheck

__all__ = ["Pairs"]


class Pairs:
    """The checks of a base, by test and name."""

    def __init__(self, base: Report | None) -> None:
        self._known: dict[tuple[str, str], list[StoredCheck]] = defaultdict(list)
        for stored in base.checks if base else ():
            self._known[stored.test, stored.check.name].append(stored)

    def partner(self, stored: StoredCheck) -> StoredCheck | None:
        """The same check in the base; on another device where there is but one."""
        same = self._known.get((stored.test, stored.check.name), [])
        exact = [before for before in same if _place(before) == _place(stored)]
        return exact[0] if exact else same[0] if len(same) == 1 else None


def _place(stored: StoredCheck) -> tuple[str, str]:
    return stored.check.record.device, stored.check.record.precision
