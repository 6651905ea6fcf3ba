"""Batches that say nothing, and what is found with them all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from networks import CLASSES, SICK, WIDTH, Recurrent, chain, conv_bn, encoder, examined, kinds, relu_mlp
from torch import Tensor, nn

LABELS = torch.arange(8) % CLASSES


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(10, WIDTH), encoder(2)

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.body(self.embed(tokens))
        return output


DUMMIES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "ones": (relu_mlp, torch.ones(8, WIDTH)),
    "zeros": (lambda: chain(3, nn.ReLU), torch.zeros(8, WIDTH)),
    "the same row": (relu_mlp, torch.linspace(-1, 1, WIDTH).repeat(8, 1)),
    "white images": (conv_bn, torch.ones(8, 3, 12, 12)),
    "ones in a sequence": (encoder, torch.ones(8, 10, WIDTH)),
    "the same position": (encoder, torch.randn(8, 1, WIDTH).expand(8, 10, WIDTH).contiguous()),
    "token 0": (Tokens, torch.zeros(8, 10, dtype=torch.long)),
    "ones in time": (Recurrent, torch.ones(8, 10, WIDTH)),
}


@pytest.mark.parametrize("name", DUMMIES)
def test_a_dummy_batch_is_not_the_models_fault(name: str) -> None:
    build, inputs = DUMMIES[name]
    check = examined(build, [(inputs, LABELS)])
    assert not [finding.message for finding in check.findings]
    assert name == "the same position" or any("are equal" in note for note in check.record.notes)


@pytest.mark.parametrize("name", ["sigmoid stack", "detach", "nan in backward", "constant init"])
def test_what_does_not_depend_on_the_batch_is_found_with_a_dummy_too(name: str) -> None:
    build, _, kind = SICK[name]
    assert kind in kinds(examined(build, [(torch.ones(8, WIDTH), LABELS)]))
