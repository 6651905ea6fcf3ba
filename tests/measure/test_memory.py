"""A batch that does not fit into memory is measured in part, and the table says so; torch's own allocator refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth

X, Y = torch.randn(32, 8, generator=torch.Generator().manual_seed(1)), torch.arange(32) % 3


class Hungry(nn.Module):
    """Needs more memory than any machine has for more than a few samples."""

    def __init__(self, fitting: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fitting = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), fitting

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.fitting:
            torch.empty(2**48)
        return self.body(x)


def test_a_part_of_the_batch_is_measured_and_the_note_says_which() -> None:
    record = GradHealth().check(Hungry(8), (X, Y), F.cross_entropy, device="cpu")
    assert record.samples == 8
    assert "out of memory with 32 samples on cpu: measured with 8" in record.notes
    small = GradHealth().measure(Hungry(8), (X[:8], Y[:8]), F.cross_entropy, device="cpu")
    assert [layer.norm for layer in record] == [layer.norm for layer in small]


def test_two_samples_that_do_not_fit_are_an_error_of_torchs_own() -> None:
    with pytest.raises(RuntimeError, match="can't allocate memory") as error:
        GradHealth().check(Hungry(1), (X, Y), F.cross_entropy, device="cpu")
    assert any("raised by Hungry" in note for note in error.value.__notes__)
