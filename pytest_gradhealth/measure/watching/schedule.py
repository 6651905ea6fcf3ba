"""Which passes, steps and calls of a test are looked at."""

from __future__ import annotations

__all__ = ["FORWARDS", "is_due", "is_observed", "is_power_of_two"]

FORWARDS = 16
"""Forward calls of one pass in which modules are observed, and calls of one module in one of them; of more, as many
again from 32, 64, ... on."""


def is_due(number: int) -> bool:
    """1, 2, 5, 33, 257, ...: a pass that is measured takes about twice its time, and those are 4 % of a hundred."""
    earlier = number - 1
    return earlier in (0, 1) or (is_power_of_two(earlier) and earlier.bit_length() % 3 == 0)


def is_power_of_two(number: int) -> bool:
    """1, 2, 4, 8, ...; also 0."""
    return number & (number - 1) == 0


def is_observed(forward: int) -> bool:
    """Whether the modules of one forward call of a pass are observed, or one call of a module."""
    window = 1 << (forward.bit_length() - 1)
    return forward <= FORWARDS or (window > FORWARDS and forward - window < FORWARDS)
