"""Whatever a file, a marker or an option holds, the answer is a verdict or the documented error.

    python tools/fuzz.py                       # 10,000 inputs of each kind
    python tools/fuzz.py --inputs 100000 --seed 7 --kind report

Inputs are valid ones with something changed: a value replaced by a hostile one, a key dropped or doubled, bytes
flipped, cut out or repeated. What comes out is counted; the first inputs that end in anything but the documented
answers are printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from pytest_gradhealth import __main__ as command
from pytest_gradhealth.errors import ConfigurationError
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.record import Check, Finding, GradientRecord, LayerGradient, Signal
from pytest_gradhealth.report.baseline import Baseline, Key, read_baseline, write_baseline
from pytest_gradhealth.report.store import Report, StoredCheck, StoreError, write_report
from pytest_gradhealth.settings import Settings

__all__ = ["KINDS", "Fuzzer", "main"]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63, -(2**63), 10**400, 1e308, -1e308, 1e-320, 0.5, -0.0, float("nan"), float("inf"),
    "", "x" * 300, "\x1b[31m", "a\nb", "\u202e", "\ud800", "<script>", "../..",
    "off", "1e9", "NaN", [], [[]], {}, {"": None},
    [None] * 50, {"a": {"b": {"c": [1, 2, {"d": 1}]}}},
)  # fmt: skip
"""What stands in the place of a value."""
TEXTS = (
    "",
    "off",
    "0",
    "-1",
    "1e999",
    "nan",
    "inf",
    "1_000",
    "٣",
    "0x10",
    "9" * 400,
    "1e-400",
    " 1 ",
    "none",
    "\x00",
    "1,2",
    "x",
)
DEPTHS = (10, 200, 5000, 100_000)

command._parser = cache(command._parser)  # made once: making it takes longer than to read what it is given


class Fuzzer:
    """Makes hostile inputs by what is drawn, in a folder of its own."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.draw, self._folder = draw, folder
        record = _record()
        self._report, self._baseline = folder / "report.json", folder / "baseline.json"
        broken = Finding(
            kind="vanishing-gradient", layers=("a",), message="low", value=1e-9, limit=1e-4, cause="x", remedy="y"
        )
        check = Check(name="Net", record=record, findings=(broken,))
        checks = [StoredCheck(test=f"t.py::t{i}", file="t.py", line=1, outcome="failed", check=check) for i in (0, 1)]
        write_report(self._report, Report(checks=tuple(checks)))
        write_baseline(self._baseline, Baseline({Key("t.py::t", "Net", "cpu", "float32"): record}))
        self._documents = {path: json.loads(path.read_text("utf-8")) for path in (self._report, self._baseline)}

    def report(self) -> str:
        """``show`` and ``compare`` of a changed report: exit code 0, 1 or 2, and nothing raised."""
        path = self._written(self._report)
        codes = [_quietly(arguments) for arguments in (["show", path], ["compare", str(self._report), path])]
        if not set(codes) <= {0, 1, 2}:
            raise AssertionError(f"exit codes {codes}")
        return f"exit codes {codes[0]}, {codes[1]}"

    def baseline(self) -> str:
        """A changed baseline is read, or refused by name."""
        path = self._written(self._baseline)
        try:
            read_baseline(path)
        except StoreError as error:
            if path not in str(error):
                raise AssertionError(f"the error does not name the file: {error}") from None
            return "refused"
        return "read"

    def marker(self) -> str:
        """Limits and settings of a marker hold anything."""
        fields = self.draw.sample(
            sorted({*Limits.names(), "select", "ignore", "layers", "device", "seed", "max_batches"}), 2
        )
        given = {name: self._value() for name in fields}
        own = {name: given.pop(name) for name in ("device", "seed", "max_batches") if name in given}
        try:
            Settings(limits=Limits(**given), **own)
        except ConfigurationError as error:
            str(error)
            return "refused"
        return "taken"

    def option(self) -> str:
        """What the command line is given as a number or a file."""
        text = self._text()
        code = _quietly(
            self.draw.choice([["compare", "--max-drift", text, str(self._report), str(self._report)], ["show", text]])
        )
        if code not in (0, 1, 2):
            raise AssertionError(f"exit code {code} for {text!r}")
        return f"exit code {code}"

    def _text(self) -> str:
        text = self.draw.choice(TEXTS)
        return text if self.draw.random() < 0.5 else text + self.draw.choice(TEXTS)

    def _value(self) -> Any:
        value = self.draw.choice(VALUES)
        return {self._text(): value} if self.draw.random() < 0.2 else copy.deepcopy(value)

    def _written(self, path: Path) -> str:
        document = copy.deepcopy(self._documents[path])
        for _ in range(self.draw.randint(0, 3)):
            self._change(document)
        content = json.dumps(document, indent=self.draw.choice([None, 1])).encode("utf-8", "surrogatepass")
        if self.draw.random() < 0.3:
            content = self._torn(content)
        target = self._folder / "changed.json"
        target.write_bytes(content)
        return str(target)

    def _change(self, document: Any) -> None:
        """One value somewhere in it; what has lost all its keys stays empty."""
        if not document:
            return
        holder, key = self._place(document)
        match self.draw.randrange(4):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[self._text()] = holder.pop(key)
            case 2:
                holder[key] = [holder[key]] * self.draw.choice([2, 30])
            case _:
                holder[key] = self._value()

    def _place(self, document: Any) -> tuple[Any, Any]:
        holder, key = document, self.draw.choice(list(document))
        while isinstance(inner := holder[key], dict | list) and inner and self.draw.random() < 0.85:
            holder, key = inner, self.draw.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        return holder, key

    def _torn(self, content: bytes) -> bytes:
        start = self.draw.randrange(len(content))
        match self.draw.randrange(5):
            case 0:
                return content[:start]
            case 1:
                return content[:start] + self.draw.randbytes(self.draw.randint(1, 8)) + content[start + 1 :]
            case 2:
                return content[:start] + content[start : start + 200] * self.draw.choice([2, 50]) + content[start:]
            case 3:
                depth = self.draw.choice(DEPTHS)
                return content[:start] + b"[" * depth + b"]" * depth + content[start:]
            case _:
                return self.draw.choice(
                    [b"", b"\xff\xfe", b"null", b"[]", b"{" * 100_000, b'{"schema": ' + b"9" * 5000 + b"}"]
                )


KINDS: dict[str, Callable[[Fuzzer], str]] = {
    "report": Fuzzer.report, "baseline": Fuzzer.baseline, "marker": Fuzzer.marker, "option": Fuzzer.option,
}  # fmt: skip


def _record() -> GradientRecord:
    layers = tuple(
        LayerGradient(name=name, kind="Linear", order=order, parameters=6, trainable=6, shape=(3, 2), norm=0.1,
                      weight_norm=1.0, sensitivity=0.1, reach=1.0, signal=0.1, gain=1.0)
        for order, name in enumerate("ab")
    )  # fmt: skip
    signals = tuple(Signal(name=name, kind="Linear", order=order) for order, name in enumerate("ab"))
    return GradientRecord(
        model="Net", torch="2.13.0", seed=0, batches=2, samples=4, loss=1.0, layers=layers, signals=signals
    )


def _quietly(arguments: list[str]) -> int:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return command.main(arguments)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else 2


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each kind of input; 1: something was answered in no documented way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append", help="by default all")
    options = parser.parse_args(arguments)
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kind or KINDS:
            faults += _run(kind, Fuzzer(Path(folder), random.Random(options.seed)), options.inputs)
    for fault in faults[:10]:
        print(fault)
    return 1 if faults else 0


def _run(kind: str, fuzzer: Fuzzer, inputs: int) -> list[str]:
    """Faults, after a line on what came out and how long the slowest took."""
    seen, faults, slowest = Counter[str](), list[str](), 0.0
    for number in range(inputs):
        start = time.process_time()
        try:
            seen[KINDS[kind](fuzzer)] += 1
        except Exception as error:
            faults.append(f"{kind} {number}: {type(error).__name__}: {str(error)[:200]}")
        slowest = max(slowest, time.process_time() - start)
    told = ", ".join(f"{name}: {count}" for name, count in seen.most_common(6))
    print(f"{kind}: {inputs} inputs, {len(faults)} faults, slowest {slowest * 1e3:.0f} ms; {told}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
