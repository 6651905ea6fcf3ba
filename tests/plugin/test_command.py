"""``python -m pytest_gradhealth check``: a model without a test file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

MODELS = """
import torch
from torch import nn

def sigmoid_stack():
    layers = [layer for _ in range(11) for layer in (nn.Linear(32, 32), nn.Sigmoid())]
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.Sigmoid(), *layers, nn.Linear(32, 10))

def relu():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 10))

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(50, 16), nn.Linear(16, 4)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).mean(1))

def batches():
    return [(torch.randn(4, 192), torch.randint(10, (4,))) for _ in range(2)]

number = 3
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "models.py").write_text(MODELS, encoding="utf-8")

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "pytest_gradhealth", "check", *arguments]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)

    return command


def test_a_sick_model_fails_with_its_table(run: Run) -> None:
    done = run("models:sigmoid_stack", "--input", "8,3,8,8", "--classes", "10")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("GH101 vanishing gradient")
    assert "Linear" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("models:relu", "--input", "8,3,8,8", "--classes", "10"),
        ("models:relu", "--input", "8,192", "--target", "8,10"),
        ("models:relu", "--batches", "models:batches", "--loss", "cross_entropy"),
        ("models:Words", "--input", "8,6:50", "--classes", "4"),
    ],
    ids=["classes", "regression", "batches of one's own", "tokens"],
)
def test_a_healthy_model_passes(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "healthy" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("models:missing", "--input", "8,192", "--classes", "10"), "no attribute 'missing'"),
        (("nowhere:relu", "--input", "8,192", "--classes", "10"), "No module named 'nowhere'"),
        (("models", "--input", "8,192", "--classes", "10"), "package.module:name"),
        (("models:number", "--input", "8,192", "--classes", "10"), "int"),
        (("models:relu",), "--input"),
        (("models:relu", "--input", "8,x", "--classes", "10"), "'8,x'"),
        (("models:relu", "--input", "8,3,8", "--classes", "10"), "mat1 and mat2"),
        (("models:relu", "--input", "8,192", "--classes", "10", "--limit", "min_rech=1"), "min_rech"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(run: Run, arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_it_says_its_version() -> None:
    line = [sys.executable, "-m", "pytest_gradhealth", "--version"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout == f"pytest-gradhealth {version('pytest-gradhealth')}\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("gradhealth ex", {"explain"}), ("gradhealth compare a b --m", {"--max-drift"}), ("gradhealth z", set())],
)
def test_a_shell_completes_commands_and_options(typed: str, offered: set[str], tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    told = tmp_path / "told"
    asks = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(told)}
    environment = os.environ | asks | {"COMP_LINE": typed, "COMP_POINT": str(len(typed))}
    subprocess.run([sys.executable, "-m", "pytest_gradhealth"], env=environment, check=True)
    assert set(told.read_text(encoding="utf-8").split()) == offered
