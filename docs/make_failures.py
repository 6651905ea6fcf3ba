"""Write ``failures.md``, ten red tests as pytest prints them at 80 columns: ``python docs/make_failures.py``.

With ``--check`` nothing is written; the exit code is 1 where the page is out of date.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).with_name("failures.md")
MOST = 40
"""Lines that a failure may take."""
TESTS = """
import pytest
import torch
import torch.nn.functional as F
from torch import nn

X, Y = torch.randn(64, 16, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 4


def deep(activation, depth=10, width=32, scale=1.0):
    layers = [nn.Linear(16, width), activation()]
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    model = nn.Sequential(*layers, nn.Linear(width, 4))
    for module in model[2:]:
        if isinstance(module, nn.Linear):
            module.weight.data *= scale
    return model


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.encoder(x).relu().detach())


class Logarithm(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.body(x).relu().log())


class PlainList(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks, self.head = [nn.Linear(16, 16) for _ in range(3)], nn.Linear(16, 4)

    def forward(self, x):
        for block in self.blocks:
            x = block(x).relu()
        return self.head(x)


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.RNN(16, 32, batch_first=True), nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def test_vanishing(gradhealth):
    gradhealth.check(lambda: deep(nn.Sigmoid), (X, Y), loss=F.cross_entropy)


def test_exploding(gradhealth):
    gradhealth.check(lambda: deep(nn.ReLU, scale=8.0), (X, Y), loss=F.cross_entropy)


def test_dead(gradhealth):
    def made():
        model = deep(nn.ReLU, depth=3)
        model[2].bias.data -= 30
        return model

    gradhealth.check(made, (X, Y), loss=F.cross_entropy)


def test_missing(gradhealth):
    gradhealth.check(Detached, (X, Y), loss=F.cross_entropy)


def test_not_finite(gradhealth):
    gradhealth.check(Logarithm, (X, Y), loss=F.cross_entropy)


def test_recurrent(gradhealth):
    torch.manual_seed(0)
    gradhealth.check(Last, (torch.randn(16, 200, 16), Y[:16]), loss=F.cross_entropy)


def test_objective(gradhealth):
    model = lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    gradhealth.check(model, (X, torch.randn(64)), loss=F.mse_loss)


def test_symmetric(gradhealth):
    def made():
        model = deep(nn.Tanh, depth=2)
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.1)
        return model

    gradhealth.check(made, (X, Y), loss=F.cross_entropy)


def test_unregistered(gradhealth):
    gradhealth.check(PlainList, (X, Y), loss=F.cross_entropy)


@pytest.mark.gradhealth
def test_that_trains_by_itself():
    torch.manual_seed(0)
    model = deep(nn.Sigmoid)
    optimiser = torch.optim.Adam(model.parameters())
    for _ in range(5):
        optimiser.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimiser.step()
"""
HEAD = """# Ten red tests

What a failing test prints at 80 columns, from real runs of pytest {pytest} with torch {torch}. `python
docs/make_failures.py` runs the tests at the end of this page and writes it.
"""


def page() -> str:
    """The whole page.

    Raises:
        SystemExit: a test passed, or its failure takes too many lines or lacks cause or remedy.
    """
    parts = [HEAD.format(pytest=version("pytest"), torch=version("torch").partition("+")[0])]
    failures = dict(_failures(_output()))
    expected = re.findall(r"^def (test_\w+)", TESTS, re.MULTILINE)
    if list(failures) != expected:
        raise SystemExit(f"these tests did not fail: {', '.join(set(expected) - set(failures))}")
    for name, lines in failures.items():
        text = "\n".join(lines)
        if len(lines) > MOST or "cause:" not in text or "remedy:" not in text or "accept for" not in text:
            raise SystemExit(f"{name} is too long ({len(lines)} lines) or says too little:\n{text}")
        parts.append(f"## {name.removeprefix('test_').replace('_', ' ').capitalize()}\n\n```text\n{text}\n```\n")
    parts.append(f"## The tests\n\n```py\n{TESTS.strip()}\n```\n")
    return "\n".join(parts)


def _output() -> str:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_network.py").write_text(TESTS, encoding="utf-8")
        options = ["-p", "no:cacheprovider", "--gradhealth-device=cpu", "--gradhealth-try-seconds=0"]
        command = [sys.executable, "-m", "pytest", *options, "--tb=short", "test_network.py"]
        quiet = {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONUTF8": "1", "PYTEST_ADDOPTS": "", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=folder, env=os.environ | quiet, capture_output=True, encoding="utf-8", check=False
        )
    return done.stdout


def _failures(output: str) -> Iterator[tuple[str, list[str]]]:
    """Each test with what was said of it, without pytest's own lines around."""
    found = re.split(r"^_+ (test_\w+) _+\n", output.split("= FAILURES =")[-1], flags=re.MULTILINE)[1:]
    for name, text in zip(found[::2], found[1::2], strict=True):
        body = re.split(r"^(?:=+ |gradhealth: )", text, flags=re.MULTILINE)[0]
        lines = [line.removeprefix("E   ").rstrip() for line in body.rstrip().splitlines()]
        start = next(i for i, line in enumerate(lines) if " in " in line and not line.startswith(("test_", "    ")))
        yield name, lines[start:]


def main() -> int:
    """Update or check; the exit code."""
    text = page()
    if "--check" in sys.argv:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
