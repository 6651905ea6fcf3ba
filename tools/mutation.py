"""How many small faults in the judge and in the record do the tests notice?

    python tools/mutation.py                                     # 150 mutants of judge/ and of the record
    python tools/mutation.py --mutants 40 pytest_gradhealth/judge/drift.py
    python tools/mutation.py pytest_gradhealth/judge/drift.py:195 # those of one line

A mutant is a copy of the package with one fault: a comparison turned, a number moved, a condition negated, ``and``
for ``or``, an operator exchanged, or two branches swapped. (Guards, such as ``frozen`` of a class or ``strict`` of
``zip``, are left alone.) It is killed if a test fails or does not end. For each, those tests alone are run that reach
the faulty line, or all where the line runs only once in a process: the fastest first, up to ``--seconds`` of CPU. The
survivors are printed, to be read: each is a missing test, or changes nothing that anyone could see.

The work is by hand, since mutmut leaves out what stands outside of functions, as limits do, and cosmic-ray starts a
process, and torch in it, for each mutant. It needs ``coverage``, and a system that can fork.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import multiprocessing
import os
import pickle
import py_compile
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

__all__ = ["Mutant", "main", "mutants_of"]

ROOT = Path(__file__).parents[1]
COPIED = ("pytest_gradhealth", "tests", "tools", "benchmarks", "docs", "README.md", "CONTRIBUTING.md", "pyproject.toml")
SOURCES = ("pytest_gradhealth/judge", "pytest_gradhealth/record")
TESTS = (
    "tests/judge",
    "tests/test_generated.py",
    "tests/test_record.py",
    "tests/report/test_drift.py",
    "tests/report/test_drift_edges.py",
    "tests/watch/test_evidence.py",
    "tests/watch/test_passes.py",
)
LEFT_OUT = ("tests/judge/test_any_record.py", "tests/judge/test_invariance.py")
"""Slow, and about every line: they ask whether judging breaks down, and whether a verdict stays."""
PRELOADED = ["hypothesis", "jsonschema", "numpy", "pytest", "tabulate", "torch", "torch._dynamo", "_pytest.pytester"]
"""Imported once, and shared by the processes of all mutants."""
ENDLESS = 120
"""Seconds of CPU after which a mutant counts as running without end."""
TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip
"""What stands in the place of an operator."""
GUARDS = {"compare", "frozen", "init", "kw_only", "slots", "strict", "total"}
"""Arguments that only keep a wrong program from running: without them nothing changes that anyone could see."""


class Mutant(NamedTuple):
    """One fault: where it is, and the file's whole text with it."""

    path: Path
    line: int
    end: int
    fault: str
    text: str
    once: bool
    """Whether the line runs once in a process: outside of functions, or in one whose result is kept."""


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    source = path.read_text("utf-8")
    nodes = list(ast.walk(ast.parse(source)))
    repeated = {inner for node in nodes if _repeats(node) for line in node.body for inner in ast.walk(line)}
    guards = {node.value for node in nodes if isinstance(node, ast.keyword) and node.arg in GUARDS}
    for index, node in enumerate(nodes):
        if _can_be_faulty(node) and node not in guards:
            tree = ast.parse(source)
            twin = next(other for place, other in enumerate(ast.walk(tree)) if place == index)
            before = ast.unparse(twin)
            _break(twin)
            fault = f"{before}  ->  {ast.unparse(twin)}"
            yield Mutant(path, node.lineno, node.end_lineno, fault, ast.unparse(tree), node not in repeated)


def _repeats(node: ast.AST) -> bool:
    """Whether it is a function that runs each time it is called."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not any(
        ast.unparse(decorator).partition("(")[0].endswith(("cache", "overload")) for decorator in node.decorator_list
    )


def _can_be_faulty(node: ast.AST) -> bool:
    match node:
        case ast.Compare() | ast.BoolOp() | ast.IfExp() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BinOp():
            return type(node.op) in TURNED
        case ast.Constant():
            return isinstance(node.value, bool | int | float)
    return False


def _break(node: ast.AST) -> None:
    match node:
        case ast.Compare():
            node.ops[0] = TURNED[type(node.ops[0])]()  # type: ignore[assignment]
        case ast.BoolOp() | ast.BinOp():
            node.op = TURNED[type(node.op)]()  # type: ignore[assignment]
        case ast.UnaryOp():
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=int() as value):
            node.value = value + 1
        case ast.Constant(value=float() as value):
            node.value = value * 1.5 + 1e-3
        case ast.IfExp():
            node.body, node.orelse = node.orelse, node.body


class Watch:
    """Notes which test reaches which line of the package, and how long each takes."""

    def __init__(self, coverage: Any) -> None:
        self.coverage, self.seconds = coverage, dict[str, float]()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)
        self.seconds[nodeid] = -time.process_time()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] += time.process_time()


def _enter(folder: Path) -> None:
    """Be a process that knows the copy of the package in a folder alone, and says nothing."""
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path.insert(0, str(folder))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)


def _reach(folder: Path, tests: Sequence[str], result: Path) -> None:
    """In a process of its own: run all tests, and write down what each reaches."""
    import coverage
    import pytest

    _enter(folder)
    measured = coverage.Coverage(data_file=None, config_file=False, source_pkgs=["pytest_gradhealth"])
    watch = Watch(measured)
    measured.start()
    ignored = [f"--ignore={path}" for path in LEFT_OUT]
    status = pytest.main(["-q", "-p", "no:cacheprovider", *ignored, *tests], plugins=[watch])
    measured.stop()
    data = measured.get_data()
    lines = {str(Path(file).relative_to(folder)): data.contexts_by_lineno(file) for file in data.measured_files()}
    result.write_bytes(pickle.dumps((int(status), lines, watch.seconds)))


def _judge(folder: Path, tests: Sequence[str]) -> None:
    """In a process of its own: run tests until one fails."""
    import pytest

    _enter(folder)
    resource.setrlimit(resource.RLIMIT_CPU, (ENDLESS, ENDLESS))
    sys.dont_write_bytecode = True
    sys.exit(pytest.main(["-x", "-q", "--tb=no", "-p", "no:cacheprovider", *tests]))


class Bench:
    """Copies of the project to put mutants into, and what is known of its tests."""

    def __init__(self, home: Path, tests: Sequence[str], jobs: int, seconds: float) -> None:
        self.limit = seconds
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)
        first = home / "0"
        for part in COPIED:
            copy: Any = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, _made(first / part))
        compileall.compile_dir(
            first / "pytest_gradhealth", quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
        )
        result = home / "reached"
        self._run(_reach, first, tests, result)
        status, self.lines, self.seconds = pickle.loads(result.read_bytes())
        if status:
            raise SystemExit("tests fail without any mutant: they cannot tell anything")
        self.folders: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            if number:
                shutil.copytree(first, home / str(number))
            self.folders.put(home / str(number))

    def kills(self, mutant: Mutant) -> bool:
        """Whether a test fails, or does not end."""
        tests = self._tests(mutant)
        if not tests:
            return False
        folder = self.folders.get()
        target = folder / mutant.path.relative_to(ROOT)
        whole = target.read_bytes()
        target.write_text(mutant.text, "utf-8")
        try:
            return self._run(_judge, folder, tests) != 0
        finally:
            target.write_bytes(whole)
            self.folders.put(folder)

    def _tests(self, mutant: Mutant) -> list[str]:
        """The tests that reach it, or all where it runs once; the fastest first."""
        reached = self.lines.get(str(mutant.path.relative_to(ROOT)), {})
        near = {test for line in range(mutant.line, mutant.end + 1) for test in reached.get(line, ())}
        near &= self.seconds.keys()  # of none, where it is reached only while something is imported
        chosen = sorted(self.seconds if mutant.once else near or self.seconds, key=self.seconds.__getitem__)
        spent = accumulate(map(self.seconds.__getitem__, chosen))
        return [test for test, seconds in zip(chosen, spent, strict=True) if seconds < self.limit]

    def _run(self, target: Callable[..., None], *arguments: object) -> int | None:
        process = self.context.Process(target=target, args=arguments)  # type: ignore[attr-defined]
        process.start()
        process.join()
        code: int | None = process.exitcode
        return code


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _mutants(source: str) -> Iterator[Mutant]:
    """All of a package, a module (with or without ``.py``), or one line of it, as in ``file.py:12``."""
    name, _, line = source.partition(":")
    path = ROOT / name if (ROOT / name).exists() else (ROOT / name).with_suffix(".py")
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        yield from (mutant for mutant in mutants_of(file) if not line or mutant.line == int(line))


def main(arguments: list[str] | None = None) -> int:
    """Print the survivors and the share of mutants that were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", default=SOURCES)
    parser.add_argument("--mutants", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--part", type=int, nargs=2, default=(1, 1), metavar=("I", "N"), help="every Nth of them")
    parser.add_argument("--tests", nargs="+", default=TESTS)
    options = parser.parse_args(arguments)
    if find_spec("coverage") is None:
        parser.error("coverage is not installed: nox -s mutation, or python -m pip install coverage")
    found = [mutant for source in options.sources for mutant in _mutants(source)]
    part, parts = options.part
    drawn = random.Random(options.seed).sample(found, min(options.mutants, len(found)))[part - 1 :: parts]
    print(f"{len(drawn)} of {len(found)} mutants, seed {options.seed}, part {part} of {parts}", flush=True)
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(options.jobs) as pool:
        bench = Bench(Path(home), options.tests, options.jobs, options.seconds)
        print(f"{len(bench.seconds)} tests, {sum(bench.seconds.values()):.0f} s of CPU", flush=True)
        killed = 0
        for mutant, dead in zip(drawn, pool.map(bench.kills, drawn), strict=True):
            killed += dead
            if not dead:
                print(f"survived: {mutant.path.relative_to(ROOT)}:{mutant.line}: {mutant.fault[:160]}", flush=True)
    print(f"killed {killed} of {len(drawn)}: {killed / len(drawn):.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
