"""The inputs of ``fuzz.py``, drawn by what they reach: atheris keeps and varies choices that lead to new branches.

    python tools/fuzz_guided.py -runs=100000          # or nox -s fuzz_guided -- -runs=100000

Options are those of libFuzzer (https://llvm.org/docs/LibFuzzer.html). The first input that ends in anything but the
documented answers ends the run with its traceback, and is kept in a file beside it.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pytest_gradhealth"]):
    from fuzz import KINDS, Fuzzer

__all__ = ["main"]


class Choices(random.Random):
    """Draws what the bytes of an input say, and by chance, the same each time, once they are used up."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = atheris.FuzzedDataProvider(data)

    def random(self) -> float:
        """A number from 0 to below 1."""
        return self.getrandbits(16) / (1 << 16)

    def getrandbits(self, count: int) -> int:
        """A whole number of so many bits."""
        taken = self._data.ConsumeBytes(-(-count // 8))
        if not taken:
            return super().getrandbits(count)
        return int.from_bytes(taken, "big") & ((1 << count) - 1)


def main() -> None:
    """Run until libFuzzer's limit, or the first fault."""
    with tempfile.TemporaryDirectory() as folder:

        def answer(data: bytes) -> None:
            fuzzer.draw = Choices(data)
            KINDS[fuzzer.draw.choice(list(KINDS))](fuzzer)

        fuzzer = Fuzzer(Path(folder), random.Random(0))
        atheris.Setup(sys.argv, answer)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
