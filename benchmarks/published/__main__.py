"""What checks and watched tests say of the programs, and what training says: ``python -m benchmarks.published``."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.published.data import Data
from benchmarks.published.programs import PROGRAMS, Program, Version
from pytest_gradhealth import GradHealth, GradientHealthError, Settings
from pytest_gradhealth.record import Check

RESULTS = Path(__file__).parent / "results.json"
BATCH, WATCHED, TRAINED = 32, 50, 600
HEADER = ("check", "watched", "kind right", "alarms, check", "alarms, watched")
CLASSES = 20
"""More values than these are no classes."""
LEARNS, LOST = 0.5, 0.5
"""Gain of a repair that learns, and the share of it below which the wrong program is confirmed as faulty."""


@dataclass(frozen=True)
class Outcome:
    """``label`` is by training; findings are ``kind@layer``, of a check and of a watched test, wrong and repaired."""

    name: str
    label: str
    gains: tuple[float, float]
    check: tuple[str, ...]
    watched: tuple[str, ...]
    check_repaired: tuple[str, ...]
    watched_repaired: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="programs whose name contains this")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    outcomes = [_outcome(program) for program in PROGRAMS if options.only in program.name]
    options.output.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n", encoding="utf-8")
    print(table(outcomes))


def table(outcomes: Sequence[Outcome]) -> str:
    """Each program with what was found, and the row of the docs."""
    told = [f"{o.name:22} {o.label:11} {_joined(o.check):50} {_joined(o.watched)}" for o in outcomes]
    alarmed = [one for one in outcomes if one.check_repaired or one.watched_repaired]
    told += [f"alarm on {o.name}: {_joined(o.check_repaired)}, {_joined(o.watched_repaired)}" for o in alarmed]
    confirmed = [one for one in outcomes if one.label == "confirmed"]
    learn = [one for one in outcomes if one.gains[1] >= LEARNS]
    counts = (
        _share([one.check for one in confirmed]),
        _share([one.watched for one in confirmed]),
        _share([_right(one) for one in confirmed if one.check or one.watched]),
        _share([one.check_repaired for one in learn]),
        _share([one.watched_repaired for one in learn]),
    )
    header = f"| {' | '.join(HEADER)} |\n|{' --- |' * len(HEADER)}"
    return "\n".join([*told, "", header, f"| {' | '.join(counts)} |"])


def _right(outcome: Outcome) -> list[str]:
    """Findings of a kind that was expected."""
    expected = next(program.kinds for program in PROGRAMS if program.name == outcome.name)
    return [one for one in (*outcome.check, *outcome.watched) if one.split("@")[0] in expected]


def _joined(findings: Sequence[str]) -> str:
    return " ".join(findings) or "-"


def _share(found: Sequence[Sequence[str]]) -> str:
    return f"{sum(map(bool, found))} of {len(found)}"


def _outcome(program: Program) -> Outcome:
    gains = _gain(program.wrong, program.repaired), _gain(program.repaired, program.repaired)
    return Outcome(
        program.name,
        label(*gains),
        gains,
        _named(checked(program.wrong)),
        _named(watched(program.wrong)),
        _named(checked(program.repaired)),
        _named(watched(program.repaired)),
    )


def label(wrong: float, repaired: float) -> str:
    if repaired < LEARNS:
        return "unconfirmed"
    return "confirmed" if wrong < LOST * repaired else "degraded" if wrong < 0.8 * repaired else "harmless"


def checked(version: Version) -> list[Check]:
    torch.manual_seed(0)
    batches = _batches(version.data())
    kept: list[Check] = []
    examined = GradHealth(Settings(device="cpu"), sink=kept.append)
    with suppress(GradientHealthError):
        examined.check(version.network, [next(batches), next(batches)], loss=version.loss)
    return kept


def watched(version: Version) -> list[Check]:
    kept: list[Check] = []
    with suppress(GradientHealthError), GradHealth(Settings(device="cpu"), sink=kept.append).watch():
        _trained(version, WATCHED)
    return kept


def _named(checks: list[Check]) -> tuple[str, ...]:
    return tuple(f"{finding.kind}@{finding.layer}" for check in checks for finding in check.findings)


def _batches(data: Data) -> Iterator[Data]:
    g = torch.Generator().manual_seed(1)
    while True:
        for chosen in torch.randperm(len(data[0]), generator=g).split(BATCH):  # type: ignore[no-untyped-call]
            yield data[0][chosen], data[1][chosen]


def _trained(version: Version, steps: int) -> nn.Sequential:
    torch.manual_seed(0)
    network, batches = version.network(), _batches(version.data())
    optimiser = version.optimise(network)
    for _, (x, target) in zip(range(steps), batches, strict=False):
        optimiser.zero_grad()
        version.loss(network(x), target).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network


def _gain(version: Version, repaired: Version) -> float:
    """0 for the best constant answer, 1 for a perfect one, to the data that the version trains on."""
    network = _trained(version, TRAINED).eval()
    x, target = version.data()
    with torch.no_grad():
        out = network(x)
    return round(_score(out, target, repaired.data()[1]), 3)


def _score(out: Tensor, target: Tensor, asked: Tensor) -> float:
    """Accuracy over chance, or the share of the variance explained."""
    if not out.isfinite().all():
        return -1.0
    if len(set(asked.flatten().tolist())) > CLASSES:
        target = target.reshape(out.shape)
        return max(-1.0, float(1 - (out - target).square().mean() / (target - target.mean(0)).square().mean()))
    truth = asked if asked.ndim == 1 else asked.argmax(1) if asked.shape[1] > 1 else asked[:, 0].long()
    guess = out.argmax(1) if out.shape[1] > 1 else (out[:, 0] > 0.5).long()
    chance = float(truth.bincount().max()) / len(truth)
    return (float((guess == truth).float().mean()) - chance) / (1 - chance)


if __name__ == "__main__":
    main()
