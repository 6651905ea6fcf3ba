"""Judge every case and write what was said.

python -m benchmarks.detection.run [--part PART] [--kind healthy|faulty] [--only GLOB] [--jobs N] [--resume]
"""

from __future__ import annotations

import argparse
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks.detection.cases import PARTS, Case
from benchmarks.detection.spread import RESULTS, all_cases, prepare, spread, surroundings, write
from pytest_gradhealth import GradHealth, GradientHealthError, MeasurementError, Settings
from pytest_gradhealth.record import Check

BATCH_SEEDS = (11, 12)


def judge_case(case: Case, seed: int = 0) -> dict[str, Any]:
    """The verdict on one case, as it stands in the results file."""
    kept: list[Check] = []
    batches = [case.batch(batch_seed + 100 * seed, case.batch_size) for batch_seed in BATCH_SEEDS]
    started, error = time.perf_counter(), ""
    try:
        GradHealth(Settings(device="cpu", seed=seed), sink=kept.append).check(case.build, iter(batches), step=case.step)
    except GradientHealthError:
        pass
    except (MeasurementError, RuntimeError, ValueError, TypeError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    findings = kept[-1].findings if kept else ()
    return {
        "host": case.host,
        "operator": case.operator,
        "part": case.part,
        "kinds": [finding.fault for finding in findings],
        "layers": [list(finding.layers[:8]) for finding in findings],
        "message": findings[0].message if findings else error,
        "error": error,
        "second_look": bool(kept and kept[-1].record.later),
        "order": [layer.name for layer in kept[-1].record] if kept and findings else [],
        "seconds": round(time.perf_counter() - started, 3),
    }


def parser(output: str, description: str | None = None) -> argparse.ArgumentParser:
    """The options that choose cases, for every script that goes through them."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--part", choices=(*PARTS, "all"), default="all")
    options.add_argument("--kind", choices=("healthy", "faulty", "all"), default="all")
    options.add_argument("--only", default="*", help="glob over case names")
    options.add_argument("--jobs", type=int, default=1, help="processes")
    options.add_argument("--resume", action="store_true", help="leave out what is in the file already")
    options.add_argument("--output", type=Path, default=RESULTS / output)
    return options


def chosen(options: argparse.Namespace) -> list[str]:
    """Names of the cases that the options ask for."""
    return [
        case.name
        for case in all_cases().values()
        if options.part in ("all", case.part)
        and options.kind in ("all", "faulty" if case.faulty else "healthy")
        and fnmatchcase(case.name, options.only)
    ]


def main() -> None:
    """Parse the command line and run."""
    options = parser("verdicts.json", __doc__).parse_args()
    prepare()
    spread(judge_case, chosen(options), options.output, jobs=options.jobs, resume=options.resume)
    write(options.output.with_name("about.json"), surroundings())


if __name__ == "__main__":
    main()
