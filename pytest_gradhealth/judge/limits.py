"""What is allowed."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from pytest_gradhealth.errors import ConfigurationError, unknown
from pytest_gradhealth.judge.index import LIMITS, RULES
from pytest_gradhealth.judge.limit_types import LimitKeywords, LimitNumbers, LimitValues

__all__ = ["Limits", "merged"]

OFF = frozenset({"off", "none"})
"""What switches a limit off where only text can be given."""
COLLECTIONS = ("select", "ignore", "layers")
CODE = re.compile(r"(?i)gh\d*")


class Limits(LimitNumbers):
    """The limits a record is judged by: one attribute for each, by its name.

    Args:
        select: codes, beginnings of codes or slugs of rules: only those are looked for. Empty: all are.
        ignore: what is measured but not judged. A code, the beginning of a code or a slug takes out a rule
            (``"GH203"``); with a pattern behind a colon, for the layers that match (``"dead-units:head.*"``). A
            pattern alone takes layers out of every rule (``"head.*"``).
        layers: other limits for the layers that match a pattern: ``{"head.*": {"min_norm": 1e-6}}``.
        **values: the limits, as in ``min_reach=1e-3``. ``None``, and ``"off"`` where only text can be given, switch
            one off. Their names and defaults are declared by the rules; ``Limits.names()`` lists them.

    Raises:
        ConfigurationError: a name is unknown, or a value is of the wrong type, out of range, or contradicts another.
    """

    __slots__ = ("_values", "ignore", "layers", "select")
    _values: Mapping[str, float | None]
    select: tuple[str, ...]
    ignore: tuple[str, ...]
    layers: Mapping[str, Mapping[str, float | None]]

    def __init__(
        self,
        *,
        select: str | Collection[str] = (),
        ignore: str | Collection[str] = (),
        layers: Mapping[str, LimitValues] | None = None,
        **values: Unpack[LimitValues],
    ) -> None:
        defaults = {limit.name: limit.default for limit in LIMITS.values()}
        given = {name: _checked(name, value) for name, value in values.items()}
        for name, value in (
            ("_values", defaults | given),
            ("select", _select(select)),
            ("ignore", _ignore(ignore)),
            ("layers", _overrides(layers)),
        ):
            object.__setattr__(self, name, value)
        if self.min_norm is not None and self.max_norm is not None and self.min_norm > self.max_norm:
            raise ConfigurationError(
                f"min_norm={self.min_norm:g} is above max_norm={self.max_norm:g}: no layer can meet both"
            )

    if not TYPE_CHECKING:  # a type checker would take every wrong name for one that is found here

        def __getattr__(self, name):
            if name.startswith("_") or name not in self._values:
                raise AttributeError(f"there is no limit {unknown(name, self.names())}")
            return self._values[name]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"limits do not change: use limits.replace({name}=...)")

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self._all(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash((tuple(self._values.items()), self.select, self.ignore, tuple(self.layers)))

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the limits that are one number."""
        return tuple(LIMITS)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """All that can be given: the limits, and ``select``, ``ignore`` and ``layers``."""
        return (*LIMITS, *COLLECTIONS)

    def replace(self, **changes: Unpack[LimitKeywords]) -> Limits:
        """These limits with some changed.

        Raises:
            ConfigurationError: as for the class.
        """
        return Limits(**{**self._all(), **changes})

    def extended(self, **changes: Unpack[LimitKeywords]) -> Limits:
        """These limits with what somebody nearer says: see :func:`merged`.

        Raises:
            ConfigurationError: as for the class.
        """
        return Limits(**merged(self._all(), changes))

    def is_default(self, name: str) -> bool:
        """Whether the user has left a limit as it is."""
        return self._values[name] == LIMITS[name].default

    def judges(self, layer: str) -> bool:
        """Whether a layer is judged at all."""
        return not any(not entry.rule and fnmatchcase(layer, entry.pattern) for entry in map(_parsed, self.ignore))

    def asks(self, code: str) -> bool:
        """Whether the rule of that code is looked for."""
        if self.select and not any(code.startswith(_code(entry)) for entry in self.select):
            return False
        ignored = (entry.rule for entry in map(_parsed, self.ignore) if entry.rule and not entry.pattern)
        return not any(map(code.startswith, ignored))

    def under(self, code: str) -> Limits:
        """The limits under which one rule judges: layers that are ignored for it are ignored."""
        entries = (entry for entry in map(_parsed, self.ignore) if entry.rule and entry.pattern)
        patterns = [entry.pattern for entry in entries if code.startswith(entry.rule)]
        return self.replace(ignore=(*self.ignore, *patterns)) if patterns else self

    def of(self, layer: str) -> Limits:
        """The limits of one layer: later patterns win over earlier ones."""
        changes = [found for pattern, found in self.layers.items() if fnmatchcase(layer, pattern)]
        merged: dict[str, Any] = {name: value for found in changes for name, value in found.items()}
        return self.replace(layers={}, **merged) if changes else self

    def to_dict(self) -> dict[str, Any]:
        """The limits that are on, JSON-safe."""
        return {name: value for name, value in self._all().items() if value not in (None, (), {})}

    def _all(self) -> dict[str, Any]:
        return {**self._values, **{name: getattr(self, name) for name in COLLECTIONS}}


def merged(far: Mapping[str, Any], near: Mapping[str, Any]) -> dict[str, Any]:
    """What two places say of the limits: the nearer wins, but what they ignore and their layers' limits add up.

    Raises:
        ConfigurationError: what is ignored, or the limits of layers, are impossible.
    """
    both = {**far, **near}
    if "ignore" in far and "ignore" in near:
        both["ignore"] = tuple(dict.fromkeys((*_ignore(far["ignore"]), *_ignore(near["ignore"]))))
    if "layers" in far and "layers" in near:
        old, new = _overrides(far["layers"]), _overrides(near["layers"])
        kept = {pattern: changes for pattern, changes in old.items() if pattern not in new}
        both["layers"] = kept | {pattern: {**old.get(pattern, {}), **changes} for pattern, changes in new.items()}
    return both


def _remade(given: dict[str, Any]) -> Limits:
    return Limits(**given)


class _Entry(NamedTuple):
    """An entry of ``ignore``: a rule by the beginning of its code (empty: all) and layers by a pattern (empty: all)."""

    rule: str
    pattern: str


@cache
def _parsed(text: str) -> _Entry:
    rule, colon, pattern = text.partition(":")
    if colon:
        return _Entry(_code(rule), pattern)
    meant = "-" in text and get_close_matches(text.lower(), RULES, n=1, cutoff=0.85)  # a rule that is spelt wrong
    is_rule = meant or text.lower() in RULES or CODE.fullmatch(text)
    return _Entry(_code(text), "") if is_rule else _Entry("", text)


def _code(text: str) -> str:
    """The code of a rule, or the beginning of several, from what a user writes.

    Raises:
        ConfigurationError: no rule has that code or slug.
    """
    if (code := RULES.get(text.lower())) is not None:
        return code
    if CODE.fullmatch(text) and any(code.startswith(text.upper()) for code in RULES.values()):
        return text.upper()
    known = sorted(RULES.values()) if CODE.fullmatch(text) else list(RULES)
    raise ConfigurationError(f"there is no rule {unknown(text.upper() if CODE.fullmatch(text) else text, known)}")


def _select(given: object) -> tuple[str, ...]:
    entries = _texts("select", given, "rules by code or slug, as in select=['GH2', 'vanishing-gradient']")
    for entry in entries:
        try:
            _code(entry)
        except ConfigurationError as error:
            raise ConfigurationError(f"select={entry!r}: {error}") from None
    return entries


def _ignore(given: object) -> tuple[str, ...]:
    example = "layer-name patterns, as in ignore=['head.*'], or rules, as in ignore=['GH203', 'dead-units:head.*']"
    entries = _texts("ignore", given, example)
    for entry in entries:
        try:
            _parsed(entry)
        except ConfigurationError as error:
            raise ConfigurationError(f"ignore={entry!r}: {error}") from None
    return entries


def _texts(name: str, given: object, allowed: str) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,)
    if isinstance(given, list | tuple | set | frozenset) and all(isinstance(entry, str) for entry in given):
        return tuple(given)
    raise ConfigurationError(f"{name}={given!r} must be {allowed}")


def _checked(name: str, value: object, where: str = "") -> float | None:
    """The value of a limit, which may be switched off by name.

    Raises:
        ConfigurationError: there is no such limit, or the value is impossible.
    """
    if name not in LIMITS:
        raise ConfigurationError(f"{where}there is no limit {unknown(name, LIMITS)}")
    if value is None or (isinstance(value, str) and value.lower() in OFF):
        return None
    _, _, low, high, *_ = LIMITS[name]
    allowed = f"a number of at least {low:g}" if high is None else f"a number from {low:g} to {high:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{where}{name}={value!r} must be {allowed}, or None to switch it off")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ConfigurationError(f"{where}{name} is a number of {value.bit_length()} bits: it must be {allowed}")
    if not low <= value <= (math.inf if high is None else high):
        raise ConfigurationError(f"{where}{name}={value!r} is out of range: it must be {allowed}")
    return value


def _overrides(layers: object) -> Mapping[str, Mapping[str, float | None]]:
    example = "as in layers={'head.*': {'min_norm': 1e-6}}"
    if layers is None:
        return {}
    if not isinstance(layers, Mapping):
        raise ConfigurationError(f"layers={layers!r} must map layer-name patterns to limits, {example}")
    for pattern, changes in layers.items():
        if not isinstance(pattern, str) or not isinstance(changes, Mapping):
            raise ConfigurationError(f"layers[{pattern!r}]={changes!r} must be a mapping of limits, {example}")
    return {
        pattern: {name: _checked(name, value, f"layers[{pattern!r}]: ") for name, value in changes.items()}
        for pattern, changes in layers.items()
    }
