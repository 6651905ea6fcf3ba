"""The limits as a type checker sees them: generated from ``rules/`` by ``python tools/generate.py``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, TypedDict

__all__ = ["LimitKeywords", "LimitNumbers", "LimitValues"]

Value = float | Literal["off", "none"] | None
"""A limit as it is given; the words and None switch it off."""


class LimitValues(TypedDict, total=False):
    """The limits that are one number, by their names."""

    min_reach: Value
    min_time_reach: Value
    min_position_reach: Value
    min_elasticity: Value
    min_gradient_rms: Value
    max_underflow: Value
    max_dead: Value
    max_saturation: Value
    max_elasticity: Value
    max_growth: Value
    max_initial_loss: Value
    max_output_scale: Value
    min_variation: Value
    min_token_variation: Value
    min_amplitude: Value
    min_norm: Value
    max_norm: Value
    max_ratio: Value
    max_disagreement: Value


class LimitKeywords(LimitValues, total=False):
    """All that ``check`` and ``watch`` take of limits."""

    select: str | Collection[str]
    ignore: str | Collection[str]
    layers: Mapping[str, LimitValues] | None


class LimitNumbers:
    """The limits as attributes of :class:`Limits`; None: switched off."""

    __slots__ = ()

    min_reach: float | None
    min_time_reach: float | None
    min_position_reach: float | None
    min_elasticity: float | None
    min_gradient_rms: float | None
    max_underflow: float | None
    max_dead: float | None
    max_saturation: float | None
    max_elasticity: float | None
    max_growth: float | None
    max_initial_loss: float | None
    max_output_scale: float | None
    min_variation: float | None
    min_token_variation: float | None
    min_amplitude: float | None
    min_norm: float | None
    max_norm: float | None
    max_ratio: float | None
    max_disagreement: float | None
