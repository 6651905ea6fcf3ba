"""The faulty half of the detection benchmark: small networks that learn, each with one thing wrong."""

from __future__ import annotations

from ..cases import Case
from .first import first_cases, host_cases
from .fourth import fourth_cases
from .second import second_cases
from .third import third_cases

__all__ = ["faulty_cases", "host_cases"]


def faulty_cases() -> list[Case]:
    """Every fault, in a fixed order."""
    return [*first_cases(), *second_cases(), *third_cases(), *fourth_cases()]
