"""Graphs, sets and point clouds."""

from . import convolutions, sets

MODULES = (
    convolutions,
    sets,
)
