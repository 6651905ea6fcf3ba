"""A batch that does not fit into memory is measured in part, and the table says so; torch's own allocator refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth

X, Y = torch.randn(32, 8, generator=torch.Generator().manual_seed(1)), torch.arange(32) % 3


class Hungry(nn.Module):
    """Needs more memory than any machine has for more than a few samples."""

    def __init__(self, fitting: int, fails: Callable[[], object] = lambda: torch.empty(2**48)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fitting = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), fitting
        self.fails = fails

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.fitting:
            self.fails()
        return self.body(x)


def test_a_part_of_the_batch_is_measured_and_the_note_says_which() -> None:
    record = GradHealth().check(Hungry(8), (X, Y), F.cross_entropy, device="cpu")
    assert record.samples == 8
    assert "out of memory with 32 samples on cpu: measured with 8" in record.notes
    small = GradHealth().measure(Hungry(8), (X[:8], Y[:8]), F.cross_entropy, device="cpu")
    assert [layer.norm for layer in record] == [layer.norm for layer in small]


def as_an_accelerator() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def test_an_accelerators_own_error_is_one_too() -> None:
    record = GradHealth().measure(Hungry(4, as_an_accelerator), (X, Y), F.cross_entropy, device="cpu")
    assert record.samples == 4
    assert "out of memory with 32 samples on cpu: measured with 4" in record.notes


def test_two_samples_that_do_not_fit_are_an_error_of_torchs_own() -> None:
    with pytest.raises(RuntimeError, match="can't allocate memory") as error:
        GradHealth().check(Hungry(1), (X, Y), F.cross_entropy, device="cpu")
    assert any("raised by Hungry" in note for note in error.value.__notes__)
