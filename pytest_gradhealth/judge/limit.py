"""A number that bounds something: all that start-up needs to know of the rules."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Limit"]


class Limit(NamedTuple):
    """A number that a user can change: on the marker, on the command line and in the ini file."""

    name: str
    default: float | None
    """None: off."""
    low: float
    high: float | None
    """None: there is no upper bound."""
    metavar: str
    help: str
    """What it bounds, as one line of ``pytest --help``."""

    def at(self, value: float, here: float | None = None) -> str:
        """The setting as a user writes it; with ``here``, what it comes to in this place."""
        more = "" if here is None or here == value else f", {short(here)} here"
        return f"{self.name}={short(value)}{more}"


def short(value: float | None) -> str:
    """``0.9``, ``100``, ``1e-04``: as few digits as tell the number; None is ``off``."""
    if value is None:
        return "off"
    plain = f"{value:g}"
    power = f"{value:.0e}"
    return plain if len(plain) <= len(power) or float(power) != value else power
