"""How the cost of a check grows with the number of layers."""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.speed.models import residual_mlp
from pytest_gradhealth import GradHealth, Settings

__all__ = ["measured"]

LAYERS = (10, 100, 1000, 3000, 10_000)


def measured() -> list[dict[str, Any]]:
    """Seconds of a bare step and of a check, for residual MLPs of more and more layers."""
    return [_grown(layers) for layers in LAYERS]


def _grown(layers: int) -> dict[str, Any]:
    case = residual_mlp(layers)
    torch.manual_seed(0)
    model, batch = case.model(), case.batch()
    health = GradHealth(Settings(device="cpu"))
    bare = [_seconds(lambda: case.loss(model(batch[0]), batch[1]).backward()) for _ in range(4)]  # type: ignore[no-untyped-call]
    checked = [_seconds(lambda: health.check(model, batch, case.loss)) for _ in range(3 if layers < 2000 else 1)]
    return {"layers": layers, "bare": min(bare), "check": min(checked)}


def _seconds(action: Any) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began
