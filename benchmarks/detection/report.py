"""Write the tables of ``docs/detection.md`` from the checked-in results: ``python -m benchmarks.detection.report``.

Nothing is measured here. ``--check`` writes nothing and fails where the page is not what the results say.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from benchmarks.detection.cases import LATEST, PARTS, ROUNDS, Case
from benchmarks.detection.label import LABELS
from benchmarks.detection.peers import RULES
from benchmarks.detection.spread import RESULTS, Json, all_cases, read

PAGE = Path(__file__).parents[2] / "docs" / "detection.md"
BEGIN, END = "<!-- detection: begin -->", "<!-- detection: end -->"


@dataclass(frozen=True)
class Part:
    """The results on one part of the cases."""

    name: str
    verdicts: Json
    peers: Json
    labels: Json

    @cached_property
    def healthy(self) -> list[str]:
        return [name for name, verdict in self.verdicts.items() if not verdict["operator"]]

    def labelled(self, label: str) -> list[str]:
        """Mutants that training labelled so."""
        mutants = (name for name, verdict in self.verdicts.items() if verdict["operator"])
        return [name for name in mutants if self.labels.get(name, {}).get("label") == label]

    def alarmed(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self.verdicts[name]["kinds"] or self.verdicts[name]["error"]]

    def quiet(self, names: Iterable[str]) -> list[str]:
        return sorted(set(names) - set(self.alarmed(names)))

    @cached_property
    def operators(self) -> list[str]:
        return sorted({self.verdicts[name]["operator"] for name in self.labelled("faulty")})


def grouped(by: Callable[[Case], str], order: Iterable[str]) -> list[Part]:
    """The results in groups of cases; groups without a result are left out."""
    verdicts, peers = read(RESULTS / "verdicts.json"), read(RESULTS / "peers.json")
    labels: Json = read(LABELS)["cases"]
    known = {name: by(case) for name, case in all_cases().items()}
    found = {group: {n: v for n, v in verdicts.items() if known.get(n) == group} for group in order}
    return [
        Part(name=group, verdicts=mine, peers={name: peers[name] for name in mine if name in peers}, labels=labels)
        for group, mine in found.items()
        if mine
    ]


def parts() -> list[Part]:
    return grouped(lambda case: case.part, PARTS)


def rounds() -> list[Part]:
    """By when the cases were written; those from bug reports stand by themselves."""
    return grouped(lambda case: "wild" if case.source else ROUNDS[case.round], [*ROUNDS.values(), "wild"])


def first_run(part: str, file: str) -> Part:
    """A part as its cases met the rules for the first time, before its misses were read."""
    return Part(name=f"{part}, first run", verdicts=read(RESULTS / file), peers={}, labels=read(LABELS)["cases"])


# --- localisation ------------------------------------------------------------------------------------------------


def is_at(verdict: Json, culprits: Sequence[str]) -> bool:
    """Whether the layer named first is a culprit, or its direct neighbour in execution order."""
    if not verdict["layers"] or not verdict["layers"][0]:
        return False
    named, order = verdict["layers"][0][0], verdict["order"]
    if _matches(named, culprits):
        return True
    if named not in order:
        return False
    position = order.index(named)
    return any(_matches(name, culprits) for name in order[max(position - 1, 0) : position + 2])


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def located(part: Part, names: Iterable[str]) -> tuple[int, int]:
    """How many of the detected are located, and how many are detected."""
    found = part.alarmed(names)
    return sum(is_at(part.verdicts[name], all_cases()[name].culprit) for name in found), len(found)


# --- words -------------------------------------------------------------------------------------------------------


def share(count: int, of: int) -> str:
    """A share with its counts; a dash where there is nothing to take a share of."""
    return f"{100 * count / of:.1f} % ({count}/{of})" if of else "-"


def percent(count: int, of: int) -> str:
    return f"{100 * count / of:.0f} %" if of else "-"


def interval(count: int, of: int) -> str:
    """Wilson's 95 % interval of a share."""
    if not of:
        return "-"
    z, p = 1.96, count / of
    centre, spread = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    low, high = ((centre + sign * spread) / (1 + z * z / of) for sign in (-1, 1))
    return f"{100 * max(low, 0):.1f} to {100 * min(high, 1):.1f} %"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def names(found: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in found) or "none"


# --- tables ------------------------------------------------------------------------------------------------------


def totals(given: Sequence[Part]) -> str:
    rows = [
        ("healthy models", *(str(len(part.healthy)) for part in given)),
        ("**false alarms**", *(share(len(part.alarmed(part.healthy)), len(part.healthy)) for part in given)),
        ("... 95 % interval", *(interval(len(part.alarmed(part.healthy)), len(part.healthy)) for part in given)),
        ("faults that keep a model from learning", *(str(len(part.labelled("faulty"))) for part in given)),
        ("**recall**", *(share(*_alarms(part, "faulty")) for part in given)),
        ("... 95 % interval", *(interval(*_alarms(part, "faulty")) for part in given)),
        ("... of operators of earlier rounds", *(share(*_recall(part, new=False)) for part in given)),
        ("... of operators that are new", *(share(*_recall(part, new=True)) for part in given)),
        (
            "**culprit or its neighbour named first**",
            *(share(*located(part, part.labelled("faulty"))) for part in given),
        ),
        ("... where the fault is at one place", *(share(*located(part, _at_one_place(part))) for part in given)),
        ("mutants that learn less: alarmed", *(share(*_alarms(part, "degraded")) for part in given)),
        ("mutants that learn as well: alarmed", *(share(*_alarms(part, "harmless")) for part in given)),
        ("mutants without a label", *(str(len(_unlabelled(part))) for part in given)),
        ("healthy models with a second look", *(share(_second(part), len(part.healthy)) for part in given)),
        ("seconds a healthy model (mean)", *(_seconds(part, part.healthy) for part in given)),
        ("seconds a faulty model (mean)", *(_seconds(part, part.labelled("faulty")) for part in given)),
    ]
    return table(["", *(part.name for part in given)], rows)


def by_round(given: Sequence[Part]) -> str:
    rows = [
        (
            part.name,
            share(len(part.alarmed(part.healthy)), len(part.healthy)),
            share(*_alarms(part, "faulty")),
            share(*located(part, part.labelled("faulty"))),
        )
        for part in given
    ]
    return table(("round", "false alarms", "recall", "culprit or its neighbour named first"), rows)


def _alarms(part: Part, label: str) -> tuple[int, int]:
    found = part.labelled(label)
    return len(part.alarmed(found)), len(found)


def _recall(part: Part, *, new: bool) -> tuple[int, int]:
    """Of faults whose operator only the latest round has, or of the others."""
    known = {case.operator for case in all_cases().values() if case.round < LATEST}
    chosen = [name for name in part.labelled("faulty") if (part.verdicts[name]["operator"] not in known) == new]
    return len(part.alarmed(chosen)), len(chosen)


def _at_one_place(part: Part) -> list[str]:
    """Faults of one module, where naming it means something: a fault of the whole trunk is hard to miss."""
    return [name for name in part.labelled("faulty") if "@" in name]


def _unlabelled(part: Part) -> list[str]:
    return [name for name, verdict in part.verdicts.items() if verdict["operator"] and name not in part.labels]


def _second(part: Part) -> int:
    return sum(part.verdicts[name]["second_look"] for name in part.healthy)


def _seconds(part: Part, found: Sequence[str]) -> str:
    return f"{statistics.fmean(part.verdicts[name]['seconds'] for name in found):.2f}" if found else "-"


def by_operator(given: Sequence[Part]) -> str:
    operators = sorted({operator for part in given for operator in part.operators})

    def cells(part: Part, operator: str) -> Iterator[str]:
        faults = [name for name in part.labelled("faulty") if part.verdicts[name]["operator"] == operator]
        found = part.alarmed(faults)
        yield f"{len(found)}/{len(faults)}" if faults else "-"
        yield f"{located(part, faults)[0]}/{len(found)}" if found else "-"

    header = ["operator", *(f"{part.name}: {what}" for part in given for what in ("found", "located"))]
    rows = [[operator, *(cell for part in given for cell in cells(part, operator))] for operator in operators]
    return table(header, rows)


def by_rule(given: Sequence[Part]) -> str:
    """Ours and the others', on the same cases."""

    def cells(part: Part, rule: str) -> Iterator[str]:
        for found in (part.healthy, part.labelled("faulty"), part.labelled("harmless")):
            known = [name for name in found if name in part.peers]
            yield percent(sum(rule in part.peers[name]["alarms"] for name in known), len(known))

    def own(part: Part) -> Iterator[str]:
        for found in (part.healthy, part.labelled("faulty"), part.labelled("harmless")):
            yield f"**{percent(len(part.alarmed(found)), len(found))}**"

    header = [
        "rule",
        "version",
        *(f"{p.name}: {what}" for p in given for what in ("false alarms", "recall", "harmless")),
    ]
    rows = [
        [rule, version or "-", *(cell for part in given for cell in cells(part, rule))]
        for rule, (version, _) in RULES.items()
    ]
    ours = ["**this plugin**", "-", *(cell for part in given for cell in own(part))]
    return table(header, [ours, *rows])


def lists(part: Part) -> str:
    """What went wrong, by name."""
    if not part.verdicts:
        return "Not measured yet."
    faults = part.labelled("faulty")
    astray = [name for name in part.alarmed(faults) if not is_at(part.verdicts[name], all_cases()[name].culprit)]
    return "\n".join(
        (
            f"- false alarms on healthy models: {names(part.alarmed(part.healthy))}",
            f"- faults missed: {names(part.quiet(faults))}",
            f"- faults found, but elsewhere first: {names(sorted(astray))}",
            f"- harmless mutants alarmed: {names(sorted(part.alarmed(part.labelled('harmless'))))}",
        )
    )


def stability() -> str:
    found = read(RESULTS / "stability.json")
    if not found:
        return "Not measured yet."
    lines = []
    for part in PARTS:
        mine = [seen for seen in found.values() if seen["part"] == part]
        for what, chosen in (
            ("healthy", [s for s in mine if not s["operator"]]),
            ("faulty", [s for s in mine if s["operator"]]),
        ):
            if chosen:
                same = sum(len({bool(kinds) for kinds in seen["kinds"]}) == 1 for seen in chosen)
                lines.append(
                    (
                        part,
                        what,
                        str(len(chosen)),
                        str(len(chosen[0]["kinds"])),
                        share(same, len(chosen)),
                        share(*_verdicts(chosen)),
                    )
                )
    header = ("part", "models", "number", "seeds", "same verdict for every seed", "verdicts like the model's majority")
    changing = sorted(name for name, seen in found.items() if len({bool(kinds) for kinds in seen["kinds"]}) > 1)
    return f"{table(header, lines)}\n\nModels with a verdict that depends on the seed: {names(changing)}."


def _verdicts(chosen: Sequence[Json]) -> tuple[int, int]:
    sick = [(sum(bool(kinds) for kinds in seen["kinds"]), len(seen["kinds"])) for seen in chosen]
    return sum(max(number, of - number) for number, of in sick), sum(of for _, of in sick)


def watched() -> str:
    """False alarms and recall in tests that train by themselves, by their length."""
    found, labels = read(RESULTS / "watched.json"), read(LABELS)["cases"]
    known = all_cases()
    lines = []
    groups = {"wild, first run": read(RESULTS / "first_run_wild_watched.json")}
    groups |= {p: {name: one for name, one in found.items() if name in known and known[name].part == p} for p in PARTS}
    for part, seen in groups.items():
        healthy = [one["kinds"] for one in seen.values() if not one["operator"]]
        faulty = [one["kinds"] for name, one in seen.items() if labels.get(name, {}).get("label") == "faulty"]
        for steps in sorted({steps for kinds in healthy for steps in kinds}, key=int):
            counts = [(sum(bool(kinds[steps]) for kinds in group), len(group)) for group in (healthy, faulty)]
            lines.append((part, steps, *(share(*count) for count in counts)))
    alarmed = sorted(n for n, one in found.items() if not one["operator"] and any(one["kinds"].values()))
    header = ("part", "steps", "false alarms", "recall")
    return f"{table(header, lines)}\n\nFalse alarms: {names(alarmed)}."


def made_with() -> str:
    about = read(RESULTS / "about.json")
    versions = ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items())
    return f"Measured with {versions} on one core of a machine with {about.get('cores', '?')}."


COMMANDS = """```
python -m benchmarks.detection.label         # labels by training (hours)
python -m benchmarks.detection.run           # our verdicts
python -m benchmarks.detection.peers         # the other tools' rules
python -m benchmarks.detection.stability     # our verdicts over seeds
python -m benchmarks.detection.watched       # our verdicts on tests that train
python -m benchmarks.detection.report        # these tables
```"""


def content() -> str:
    given = parts()
    sections = [
        made_with(),
        COMMANDS,
        "### In all",
        totals(
            [first_run("wild", "first_run_wild.json"), *given[:1], first_run("fresh", "first_run.json"), *given[1:]]
        ),
        "### By round of writing",
        by_round(rounds()),
        "### Beside the other tools",
        by_rule(given),
        "### By operator",
        by_operator(given),
        "### The same verdict for every seed",
        stability(),
        "### In tests that train by themselves",
        watched(),
    ]
    for part in given:
        sections += [f"### What went wrong: {part.name} part", lists(part)]
    return "\n\n".join(sections)


def replaced(page: str) -> str:
    """The page with fresh tables between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{content()}\n\n{END}{after}"


def main() -> int:
    """Rewrite the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    page = PAGE.read_text()
    fresh = replaced(page)
    if not check:
        PAGE.write_text(fresh)
    return int(check and fresh != page)


if __name__ == "__main__":
    raise SystemExit(main())
