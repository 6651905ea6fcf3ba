"""Molecules, biology and physics."""

from . import molecules, physics

MODULES = (
    molecules,
    physics,
)
