"""Trainers that people use: each is watched without a word of it in their code, a healthy model and a sick one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_gradhealth import Check, GradHealth, GradientHealthError

X = torch.randn(32, 20, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 5


def healthy() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))


def sick() -> nn.Sequential:
    torch.manual_seed(0)
    sizes = [20, *[32] * 11]
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(32, 5))


def lightning(model: nn.Sequential, folder: Path, *, parts: bool = False) -> None:
    pl = pytest.importorskip("lightning.pytorch")

    class Module(pl.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = model[:-1], model[-1]

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x))  # type: ignore[no-any-return]

        def training_step(self, batch: Any, index: int) -> Tensor:
            x, y = batch
            return F.cross_entropy(self.head(self.body(x)) if parts else self(x), y)

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("loss", F.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    loader = DataLoader(TensorDataset(X, Y), batch_size=8)
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=0.5,
        accumulate_grad_batches=2,
        default_root_dir=folder,
    )
    trainer.fit(Module(), loader, loader)


def lightning_parts(model: nn.Sequential, folder: Path) -> None:
    """The step calls the module's parts, not the module."""
    lightning(model, folder, parts=True)


def hugging_face(model: nn.Sequential, folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    rows = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=6,
        per_device_train_batch_size=8,
        report_to="none",
        save_strategy="no",
        eval_strategy="steps",
        eval_steps=3,
        use_cpu=True,
        disable_tqdm=True,
        max_grad_norm=0.1,
        logging_strategy="no",
    )
    transformers.Trainer(Net(), arguments, train_dataset=rows, eval_dataset=rows).train()


def accelerate(model: nn.Sequential, folder: Path) -> None:
    accelerator = pytest.importorskip("accelerate").Accelerator(cpu=True, gradient_accumulation_steps=2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    model, optimiser, loader = accelerator.prepare(model, optimiser, DataLoader(TensorDataset(X, Y), batch_size=8))
    for x, y in loader:
        with accelerator.accumulate(model):
            accelerator.backward(F.cross_entropy(model(x), y))
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()


def skorch(model: nn.Sequential, folder: Path) -> None:
    classifier = pytest.importorskip("skorch").NeuralNetClassifier(
        model, criterion=nn.CrossEntropyLoss, max_epochs=2, batch_size=8, lr=0.05, verbose=0
    )
    classifier.fit(X.numpy(), Y.numpy())


def keras(model: nn.Sequential, folder: Path) -> None:
    if os.environ.get("KERAS_BACKEND") != "torch":
        pytest.skip("Keras fixes its backend when it is imported: run with KERAS_BACKEND=torch")
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    kinds = {nn.ReLU: "relu", nn.Sigmoid: "sigmoid"}
    initialiser = keras.initializers.RandomUniform(-0.18, 0.18)  # torch's own, at a width of 32
    layers = [
        keras.layers.Dense(layer.out_features, kinds.get(type(behind)), kernel_initializer=initialiser)
        for layer, behind in zip(model[::2], [*model[1::2], None], strict=True)
        if isinstance(layer, nn.Linear)
    ]
    if type(model[1]) is nn.ReLU:
        layers = [keras.layers.Dense(layer.units, layer.activation) for layer in layers]
    network = keras.Sequential([keras.layers.Input((20,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("sgd", loss, run_eagerly=True)
    network.fit(X.numpy(), Y.numpy(), batch_size=8, epochs=2, verbose=0)


Train = Callable[[nn.Sequential, Path], None]
TRAINERS: tuple[Train, ...] = (lightning, lightning_parts, hugging_face, accelerate, skorch, keras)


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("train", TRAINERS, ids=lambda train: train.__name__)
def test_a_healthy_model_is_measured_and_passes(train: Train, tmp_path: Path) -> None:
    checks: list[Check] = []
    with GradHealth(sink=checks.append).watch():
        train(healthy(), tmp_path)
    (check,) = checks
    assert sum(layer.arrived for layer in check.record) == 3
    assert check.record.later is not None
    assert check.record.loss in (pytest.approx(1.6, abs=0.2), pytest.approx(0.8, abs=0.1))  # half, accumulated twice


@pytest.mark.parametrize("train", TRAINERS, ids=lambda train: train.__name__)
def test_a_sick_model_is_named(train: Train, tmp_path: Path) -> None:
    with pytest.raises(GradientHealthError, match="vanishing") as raised, GradHealth().watch():
        train(sick(), tmp_path)
    assert raised.value.check is not None
    assert len(raised.value.check.record) == 12
