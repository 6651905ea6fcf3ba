"""How many small faults in the judge and in the record do the tests notice?

    python tools/mutation.py                                     # 150 mutants of judge/ and of the record
    python tools/mutation.py --mutants 40 pytest_gradhealth/judge/drift.py
    python tools/mutation.py pytest_gradhealth/judge/drift.py:195 # those of one line

A mutant is a copy of the package with one fault: a comparison turned, a number moved, a condition negated, ``and``
for ``or``, an operator exchanged, or two branches swapped. (Guards, such as ``frozen`` of a class or ``strict`` of
``zip``, are left alone.) It is killed if a test fails or does not end. For each, those tests alone are run that reach
the faulty line, or all where the line runs only once in a process: the fastest first, up to ``--seconds`` of CPU. A
fault in a function is first shown to a fork of the process that has run all tests: there the function's code is
exchanged, which takes no time. What survives that is run from its file, in a process that has seen nothing. The
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
import py_compile
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from queue import SimpleQueue
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pytest

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
    function: str
    """Qualified name of the function that it is in; empty: outside of all."""


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
            yield Mutant(
                path, node.lineno, node.end_lineno, fault, ast.unparse(tree), node not in repeated, _home(tree, twin)
            )


def _repeats(node: ast.AST) -> bool:
    """Whether it is a function that runs each time it is called."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not any(
        ast.unparse(decorator).partition("(")[0].endswith(("cache", "overload")) for decorator in node.decorator_list
    )


def _home(tree: Any, node: ast.AST, path: str = "") -> str:
    """The function at module or class level whose body a node is in; empty: in none."""
    for part in tree.body:
        if isinstance(part, ast.FunctionDef | ast.ClassDef) and any(node in ast.walk(line) for line in part.body):
            name = f"{path}.{part.name}".lstrip(".")
            return name if isinstance(part, ast.FunctionDef) else _home(part, node, name)
    return ""


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
    """Notes which test reaches which line of the package, and how long each takes; then judges mutants of functions."""

    def __init__(self, coverage: Any, folder: Path, answers: Any) -> None:
        self.coverage, self.folder, self.answers, self.seconds = coverage, folder, answers, dict[str, float]()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)
        self.seconds[nodeid] = -time.process_time()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] += time.process_time()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        reached = {
            str(Path(file).relative_to(self.folder)): data.contexts_by_lineno(file) for file in data.measured_files()
        }
        self.answers.send((int(exitstatus), reached, self.seconds))
        tests = {item.nodeid: item for item in session.items if "pytester" not in getattr(item, "fixturenames", ())}
        steady = {name for name, test in tests.items() if _forked(lambda test=test: _fails(test)) == 0}
        for module, function, text, chosen in iter(self.answers.recv, None):
            code = next(c for c in _codes(compile(text, module, "exec")) if c.co_qualname == function)

            def judged(module: str = module, code: CodeType = code, chosen: Sequence[str] = chosen) -> bool:
                _function(module, code.co_qualname).__code__ = code
                return any(_fails(tests[name]) for name in chosen if name in steady)

            self.answers.send(_forked(judged) != 0)
        os._exit(0)


def _forked(action: Callable[[], bool]) -> int:
    """Run in a fork of this process: 0 where the answer is no, or the attempt itself fails."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (ENDLESS, ENDLESS))
    try:
        os._exit(action())
    finally:
        os._exit(0)


def _fails(test: pytest.Item) -> bool:
    from _pytest.runner import runtestprotocol

    return any(report.failed for report in runtestprotocol(test, log=False))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """All code inside, what is defined last first."""
    for inner in reversed(code.co_consts):
        if isinstance(inner, CodeType):
            yield inner
            yield from _codes(inner)


def _function(module: str, name: str) -> FunctionType:
    """A function by its qualified name, also one that is a property or a method of a class."""
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = vars(found)[part]
    ways = ("__wrapped__", "func", "fget", "__func__")
    while way := next((way for way in ways if hasattr(found, way)), None):
        found = getattr(found, way)
    return found  # type: ignore[no-any-return]


def _enter(folder: Path) -> None:
    """Be a process that knows the copy of the package in a folder alone, and says nothing."""
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path.insert(0, str(folder))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)


def _reach(folder: Path, tests: Sequence[str], answers: Any) -> None:
    """In a process of its own: run all tests, say what each reaches, and judge mutants until ``None`` comes."""
    import coverage

    _enter(folder)
    measured = coverage.Coverage(data_file=None, config_file=False, source_pkgs=["pytest_gradhealth"])
    measured.start()
    ignored = [f"--ignore={path}" for path in LEFT_OUT]
    pytest.main(["-q", "-p", "no:cacheprovider", *ignored, *tests], plugins=[Watch(measured, folder, answers)])


def _judge(folder: Path, tests: Sequence[str]) -> None:
    """In a process of its own: run tests until one fails."""
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
        self.answers, theirs = self.context.Pipe()
        self.asking = threading.Lock()
        self.warm: Any = self.context.Process(target=_reach, args=(first, tests, theirs), daemon=True)  # type: ignore[attr-defined]
        self.warm.start()
        theirs.close()
        status, self.lines, self.seconds = self.answers.recv()
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
        if mutant.function and not mutant.once and self._kills_at_once(mutant, tests):
            return True
        folder = self.folders.get()
        target = folder / mutant.path.relative_to(ROOT)
        whole = target.read_bytes()
        target.write_text(mutant.text, "utf-8")
        try:
            return self._run(_judge, folder, tests) != 0
        finally:
            target.write_bytes(whole)
            self.folders.put(folder)

    def _kills_at_once(self, mutant: Mutant, tests: Sequence[str]) -> bool:
        """In a fork of the process that has run all tests."""
        module = ".".join(mutant.path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        with self.asking:
            self.answers.send((module, mutant.function, mutant.text, tests))
            return bool(self.answers.recv())

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
