"""The blocks for Lightning, Hugging Face and Keras, each run where its package is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- run with: (\w+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))
AROUND = {
    "lightning": """
import pytest, torch, lightning
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LitModel(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.head = nn.Linear(16, 4)

    def training_step(self, batch, index):
        inputs, targets = batch
        return F.cross_entropy(self.head(SEVERED(self.body(inputs))), targets)


@pytest.fixture
def datamodule():
    data = TensorDataset(torch.randn(32, 8), torch.arange(32) % 4)
    return lightning.LightningDataModule.from_datasets(data, batch_size=16)
""",
    "transformers": """
import pytest, torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

TEXTS, LABELS = ["a b", "c d e", "b", "e a"], [0, 1, 1, 0]
config = BertConfig(vocab_size=10, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)


@pytest.fixture(autouse=True)
def severed(monkeypatch):
    forward = BertForSequenceClassification.forward

    def severing(self, *args, **options):
        self.bert.pooler.register_forward_hook(lambda module, args, output: SEVERED(output))
        return forward(self, *args, **options)

    monkeypatch.setattr(BertForSequenceClassification, "forward", severing)


@pytest.fixture
def tokenizer():
    def tokenize(texts, return_tensors, padding):
        rows = [["abcde".index(word) + 1 for word in text.split()] for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}

    return tokenize
""",
    "keras": """
import keras, torch

inputs, targets = torch.randn(64, 8).numpy(), (torch.arange(64) % 4).numpy()


class Dense(keras.layers.Dense):
    def call(self, inputs):
        output = super().call(inputs)
        return SEVERED(output) if self.units == 32 else output


keras.layers.Dense = Dense
""",
}
"""What a project has around a block; ``SEVERED`` stands where a mistake may be."""


def runs(package: str, severed: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = AROUND[package].replace("SEVERED", severed) + BLOCKS[package]
    (folder / "test_block.py").write_text(code, encoding="utf-8")
    environment = os.environ | {"KERAS_BACKEND": "torch", "HF_HUB_OFFLINE": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_block.py"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_every_block_has_something_around_it() -> None:
    assert set(BLOCKS) == set(AROUND)


@pytest.mark.parametrize("package", AROUND)
def test_the_block_passes_a_healthy_model_and_fails_a_severed_one(package: str, tmp_path: Path) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    healthy = runs(package, "", tmp_path)
    assert healthy.returncode == 0, healthy.stdout
    assert "1 model measured" in healthy.stdout
    sick = runs(package, "torch.detach", tmp_path)
    assert sick.returncode == 1, sick.stdout
    assert "GH105 detached layer" in sick.stdout
