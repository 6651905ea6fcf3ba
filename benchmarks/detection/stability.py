"""The verdict over several seeds of model and batches.

    python -m benchmarks.detection.stability [--part fresh|held|tuning] [--jobs N] [--resume]

Which cases are in the sample is decided by their names alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import product
from typing import Any

from benchmarks.detection.cases import PARTS, Case
from benchmarks.detection.label import LABELS
from benchmarks.detection.run import chosen, judge_case, parser
from benchmarks.detection.spread import all_cases, prepare, read, spread

SEEDS = 10
SAMPLE = 60
"""Healthy models, and as many faulty ones, of each part."""


def over_seeds(case: Case) -> dict[str, Any]:
    """The kinds of finding for each seed."""
    seen = [judge_case(case, seed) for seed in range(SEEDS)]
    kinds = [verdict["kinds"] or (["error"] if verdict["error"] else []) for verdict in seen]
    return {"part": case.part, "operator": case.operator, "kinds": kinds}


def sample(names: Iterable[str]) -> list[str]:
    """As many healthy as faulty cases of each part, by the hash of their names."""
    labels, wanted = read(LABELS)["cases"], set(names)
    cases = [case for name, case in all_cases().items() if name in wanted]
    cases = [case for case in cases if not case.faulty or labels.get(case.name, {}).get("label") == "faulty"]
    cases.sort(key=lambda case: hashlib.sha256(case.name.encode()).hexdigest())
    groups = [[c.name for c in cases if (c.part, c.faulty) == group] for group in product(PARTS, (False, True))]
    return [name for group in groups for name in group[:SAMPLE]]


def main() -> None:
    """Parse the command line and run."""
    options = parser("stability.json", __doc__).parse_args()
    prepare()
    spread(over_seeds, sample(chosen(options)), options.output, jobs=options.jobs, resume=options.resume)


if __name__ == "__main__":
    main()
