"""How many small faults in the judge do its own tests notice?

    python tools/mutation.py                            # 60 mutants of judge/ and record/
    python tools/mutation.py --mutants 20 --tests tests/report/test_drift.py -- pytest_gradhealth/judge/drift.py

A mutant is a copy of the package with one fault: a comparison turned, a number moved, a condition negated, ``and``
for ``or``, an operator exchanged. It is killed if any test fails; by default those of ``tests/judge``,
``tests/report/test_drift.py`` and ``tests/test_record.py`` are run. The survivors are printed with the line, to be
read: each is a missing test, or changes nothing that anyone could see.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Mutant", "main", "mutants_of"]

ROOT = Path(__file__).parents[1]
SOURCES = ("pytest_gradhealth/judge", "pytest_gradhealth/record")
TESTS = ("tests/test_record.py", "tests/report/test_drift.py", "tests/judge")
TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Not: ast.UAdd,
}  # fmt: skip
"""What stands in the place of an operator."""


class Mutant(NamedTuple):
    """One fault: where it is, and the file's whole text with it."""

    path: Path
    line: int
    fault: str
    text: str


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    source = path.read_text("utf-8")
    for index, node in enumerate(ast.walk(ast.parse(source))):
        for fault in _faults(node):
            tree = ast.parse(source)
            twin = next(other for place, other in enumerate(ast.walk(tree)) if place == index)
            told = _apply(twin, fault)
            yield Mutant(path, getattr(node, "lineno", 0), told, ast.unparse(tree))


def _faults(node: ast.AST) -> list[str]:
    """What can be done to a node."""
    match node:
        case ast.Compare():
            return ["turn"]
        case ast.BoolOp():
            return ["turn"]
        case ast.BinOp() if type(node.op) in TURNED:
            return ["turn"]
        case ast.UnaryOp(op=ast.Not()):
            return ["drop not"]
        case ast.Constant(value=bool()):
            return ["negate"]
        case ast.Constant(value=int() | float()):
            return ["move"]
        case ast.IfExp():
            return ["swap"]
    return []


def _apply(node: ast.AST, fault: str) -> str:
    before = ast.unparse(node)
    match node:
        case ast.Compare():
            node.ops[0] = TURNED[type(node.ops[0])]()  # type: ignore[assignment]
        case ast.BoolOp() | ast.BinOp():
            node.op = TURNED[type(node.op)]()  # type: ignore[assignment]
        case ast.UnaryOp():
            node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=int() as value):
            node.value = value + 1
        case ast.Constant(value=float() as value):
            node.value = value * 1.5 + 1e-3
        case ast.IfExp():
            node.body, node.orelse = node.orelse, node.body
    return f"{before}  ->  {ast.unparse(node)}"


def _killed(mutant: Mutant, folder: Path, tests: Sequence[str]) -> bool:
    """Whether a test fails; a mutant that runs without end is noticed too."""
    target = folder / mutant.path.relative_to(ROOT)
    whole = target.read_text("utf-8")
    target.write_text(mutant.text, "utf-8")
    try:
        return _run(folder, "-x", *tests).returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        target.write_text(whole, "utf-8")


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


def _failing(folder: Path, tests: Sequence[str]) -> list[str]:
    """Tests that fail without any mutant: they cannot tell anything."""
    lines = _run(folder, *tests).stdout.splitlines()
    return [line.removeprefix("FAILED ").partition(" - ")[0] for line in lines if line.startswith("FAILED ")]


def main(arguments: list[str] | None = None) -> int:
    """Print the survivors and the share of mutants that were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", default=SOURCES)
    parser.add_argument("--mutants", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", nargs="+", default=TESTS)
    options = parser.parse_args(arguments)
    paths = [file for source in options.sources for file in sorted((ROOT / source).rglob("*.py")) or [ROOT / source]]
    found = [mutant for path in paths for mutant in mutants_of(path)]
    drawn = random.Random(options.seed).sample(found, min(options.mutants, len(found)))
    print(f"{len(drawn)} of {len(found)} mutants, seed {options.seed}", flush=True)
    killed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("pytest_gradhealth", "tests", "benchmarks", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        skipped = _failing(folder, options.tests)
        print(f"left out, as they fail without a mutant: {', '.join(skipped) or 'none'}", flush=True)
        for mutant in drawn:
            if _killed(mutant, folder, [*options.tests, *(f"--deselect={test}" for test in skipped)]):
                killed += 1
            else:
                print(f"survived: {mutant.path.relative_to(ROOT)}:{mutant.line}: {mutant.fault[:160]}", flush=True)
    print(f"killed {killed} of {len(drawn)}: {killed / len(drawn):.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
