"""A self-test as text: which of the seeded faults were found, layers by faults, and what would find the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_gradhealth.errors import counted
from pytest_gradhealth.record import Mutant

__all__ = ["remarks", "render", "verdict"]

MARKS = {"found": "✓", "survived": "✗", "equivalent": "=", "not run": "?"}
ASCII = {"found": "+", "survived": "x", "equivalent": "=", "not run": "?"}
LEGEND = "found, {survived} survived, = equivalent: no fault after all, ? not run: selftest_seconds were over"
WIDEST = 24
"""Characters of a layer's name."""


def verdict(name: str, mutants: Sequence[Mutant]) -> str:
    """The kill rate in one line: equivalents and mutants that were not run do not count."""
    count = Counter(mutant.outcome for mutant in mutants)
    judged = count["found"] + count["survived"]
    rate = f" ({count['found'] / judged:.0%})" if judged else ""
    others = [f"{count[kind]} {kind}" for kind in ("equivalent", "not run") if count[kind]]
    return ", ".join([f"self-test of {name}: {count['found']} of {counted(judged, 'fault')} found{rate}", *others])


def render(name: str, mutants: Sequence[Mutant], *, width: int = 80, ascii_only: bool = False) -> str:
    """The verdict, a table of layers by faults, and what would have found each survivor.

    Args:
        name: what was tested.
        mutants: what was seeded, and what came of it.
        width: columns to fit in.
        ascii_only: use no character beyond ASCII.
    """
    import textwrap

    marks = ASCII if ascii_only else MARKS
    lines = [verdict(name, mutants), "", *_table(mutants, marks), "", *_whole(mutants, marks, width)]
    lines += textwrap.wrap(f"{marks['found']} {LEGEND.format(survived=marks['survived'])}", width)
    lines += _told(mutants, width)
    return "\n".join(line.rstrip() for line in lines)


def _table(mutants: Sequence[Mutant], marks: dict[str, str]) -> Iterator[str]:
    seeded = [mutant for mutant in mutants if mutant.layer]
    if not seeded:
        return
    faults = list(dict.fromkeys(mutant.fault for mutant in seeded))
    cells = {(mutant.layer, mutant.fault): marks[mutant.outcome] for mutant in seeded}
    layers = list(dict.fromkeys(mutant.layer for mutant in seeded))
    width = max(len(_shortened(layer)) for layer in (*layers, "layer"))
    yield "  ".join([f"{'layer':<{width}}", *faults])
    for layer in layers:
        marked = (f"{cells.get((layer, fault), ''):^{len(fault)}}" for fault in faults)
        yield "  ".join([f"{_shortened(layer):<{width}}", *marked])


def _shortened(layer: str) -> str:
    return layer if len(layer) <= WIDEST else f"{layer[: WIDEST // 2 - 1]}...{layer[-(WIDEST // 2 - 2) :]}"


def _whole(mutants: Sequence[Mutant], marks: dict[str, str], width: int) -> list[str]:
    """Faults of the model as a whole."""
    import textwrap

    text = ", ".join(f"{marks[mutant.outcome]} {mutant.fault}" for mutant in mutants if not mutant.layer)
    return textwrap.wrap(f"whole model: {text}", width, subsequent_indent="  ") if text else []


def _told(mutants: Sequence[Mutant], width: int) -> Iterator[str]:
    import textwrap

    for text in remarks(mutants):
        yield from textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)


def remarks(mutants: Sequence[Mutant]) -> Iterator[str]:
    """Every survivor with the limit that would have found it, and why an equivalent is one; the same words once."""
    for outcome in ("survived", "equivalent"):
        groups: dict[tuple[str, str], list[str]] = {}
        for mutant in mutants:
            if mutant.outcome == outcome:
                said = mutant.hint if outcome == "survived" else mutant.found_as
                explained = mutant.sentence and outcome == "survived"
                named = f"{mutant.fault} ({mutant.sentence})" if explained else mutant.fault
                groups.setdefault((named, said), []).append(mutant.layer or "the whole model")
        for (fault, said), layers in groups.items():
            yield f"{outcome}: {fault} at {', '.join(layers)}: {said}"
