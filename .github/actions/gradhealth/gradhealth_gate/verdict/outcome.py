"""Outcomes of tests, as reports name them."""

from __future__ import annotations

__all__ = ["EXPECTED", "FAILING"]

FAILING = ("failed", "error")
"""Of a test that did not expect what was found."""
EXPECTED = ("xfailed", "skipped")
"""Of a test that says that it expects it."""
