from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_gradhealth.measure.runs.batches import as_batches
from pytest_gradhealth.measure.runs.runner import Runner
from pytest_gradhealth.record import GradientRecord


@pytest.fixture
def measured() -> Callable[..., GradientRecord]:
    """The record of a model over batches."""

    def measure(model: Any, batches: Any, **options: Any) -> GradientRecord:
        several = iter(batches) if isinstance(batches, list) else batches  # a list of equal tensors is one batch
        return Runner(model, as_batches(several, 4), **options).measure()

    return measure


@pytest.fixture
def norms() -> Callable[[nn.Module, Tensor], dict[str, float]]:
    """Every parameter's gradient norm by ``torch.autograd.grad``, which knows nothing of hooks or ``.grad``."""

    def reference(model: nn.Module, loss: Tensor) -> dict[str, float]:
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        dense = [None if g is None else g.to_dense() if g.is_sparse else g for g in found]
        wide = [None if g is None else g.to(torch.complex128 if g.is_complex() else torch.float64) for g in dense]
        return {
            name: float(g.abs().square().sum().sqrt()) for name, g in zip(named, wide, strict=True) if g is not None
        }

    return reference
