"""Vectors, tables, recommendation, and layers tried on them."""

from . import layers, perceptrons, recommendation, tables, uncertainty

MODULES = (
    layers,
    perceptrons,
    recommendation,
    tables,
    uncertainty,
)
