"""Forecasts against the really built large model: verdicts that came true, and how often the band holds.

    python -m benchmarks.experiment.forecast [--only WORD]

The ladder is measured with seeds 0 to 2, the large model with seeds 10 to 12.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch.nn.functional as F

from benchmarks.experiment.families import Family, families
from pytest_gradhealth import GradHealth, GradientHealthError, Settings, forecast
from pytest_gradhealth.experiment.subject import value_of
from pytest_gradhealth.record import Check

RESULTS = Path(__file__).with_name("forecast.json")
SEEDS = (10, 11, 12)


def built(family: Family, seed: int) -> Check:
    """The check of the large model."""
    kept: list[Check] = []
    with suppress(GradientHealthError):
        GradHealth(Settings(device="cpu", seed=seed), sink=kept.append).check(
            lambda: family.make(depth=family.target), family.batches(), loss=F.cross_entropy
        )
    return kept[-1]


def examine(family: Family) -> dict[str, Any]:
    """What was forecast and what was measured."""
    begun = time.perf_counter()
    told = forecast(
        family.make,
        family.batches(),
        F.cross_entropy,
        depth=family.ladder,
        target={"depth": family.target},
        device="cpu",
    )
    seconds = time.perf_counter() - begun
    checks = [built(family, seed) for seed in SEEDS]
    sick = sum(not check.healthy for check in checks) > len(checks) / 2
    inside = {}
    for quantity in told.quantities:
        if not quantity.limit_name or quantity.name in inside:  # what has two limits counts once
            continue
        values = [value_of(check.record, quantity.limit_name) for check in checks]
        band = quantity.at_target
        inside[quantity.name] = {
            "ladder": [[size["depth"], value] for size, value in quantity.measured],
            "band": [band.low, band.middle, band.high],
            "built": [value for value in values if value is not None],
        }
    return {
        "target": family.target,
        "forecast": "healthy" if told.healthy else ", ".join(q.name for q in told.broken),
        "certain": told.certain,
        "measured": ", ".join(sorted({check.findings[0].fault for check in checks if check.findings})) or "healthy",
        "right": told.healthy is not sick,
        "inside": inside,
        "text": str(told).splitlines()[0],
        "seconds": round(seconds, 1),
    }


def summary(found: dict[str, Any]) -> str:
    """The table of the docs, as Markdown."""
    rows = ["| family | target | forecast breaks | certain | built | right |", "|---|---|---|---|---|---|"]
    for name, one in found.items():
        marks = ("yes" if one["certain"] else "no", "yes" if one["right"] else "**no**")
        rows.append(f"| {name} | {one['target']} | {one['forecast']} | {marks[0]} | {one['measured']} | {marks[1]} |")
    numbers = [number for one in found.values() for number in one["inside"].values()]
    cells = [number["band"][0] <= value <= number["band"][2] for number in numbers for value in number["built"]]
    right, sure = [one["right"] for one in found.values()], [one["right"] for one in found.values() if one["certain"]]
    rows += [
        "",
        f"Verdicts right: {sum(right)} of {len(right)}; of those called certain {sum(sure)} of {len(sure)}. "
        f"Numbers inside their 90 % band: {sum(cells)} of {len(cells)} ({sum(cells) / len(cells):.0%}).",
    ]
    return "\n".join(rows)


def main() -> None:
    """Forecast, build, compare."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="")
    given = options.parse_args()
    found = {}
    for family in families():
        if given.only in family.name:
            found[family.name] = examine(family)
            one = found[family.name]
            print(
                family.name, one["forecast"], one["certain"], one["measured"], one["right"], one["seconds"], flush=True
            )
    if not given.only:
        RESULTS.write_text(json.dumps(found) + "\n")
    print(summary(found))


if __name__ == "__main__":
    main()
