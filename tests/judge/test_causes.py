"""What a finding says of its cause, on faults that look alike from afar."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from networks import BATCHES, CLASSES, WIDTH, Apply, chain, examined, images
from torch import Tensor, nn


def zeroed() -> nn.Module:
    model = chain(4, nn.ReLU)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model  # type: ignore[no-any-return]


def hooked() -> nn.Module:
    model = chain(3, nn.Tanh)
    model[2].weight.register_hook(lambda gradient: gradient * (torch.arange(WIDTH) < 1).unsqueeze(1))
    return model  # type: ignore[no-any-return]


def batch_norms(eps: float) -> nn.Module:
    layers = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH, eps=eps), nn.ReLU()) for _ in range(6)]
    return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))


class Drawn(nn.Module):
    """A latent that is drawn, and loses its gradient there."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        latent = torch.distributions.Normal(self.encoder(x), 1.0).sample()
        output: Tensor = self.head(latent)
        return output


class Placed(nn.Module):
    """A learnt shift of the model's own, which is detached; its scale is not."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(x * self.scale + self.shift.detach())
        return output


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (zeroed, "all zero"),
        (lambda: chain(4, nn.ReLU, {1: [Apply(lambda x: x.mean(0, keepdim=True).expand_as(x))]}), "over the batch"),
        (lambda: batch_norms(1e5), "eps"),
        (hooked, "hook"),
        (Drawn, r"sample\(\) at test_causes.py"),
        (Placed, r"detach\(\) at test_causes.py"),
    ],
    ids=["weights of zero", "batch mean", "eps", "hook on a weight", "sample", "detached parameter"],
)
def test_the_cause_is_the_one(build: Callable[[], nn.Module], word: str) -> None:
    finding = examined(build, BATCHES).findings[0]
    assert re.search(word, f"{finding.cause} {finding.remedy}")


def test_a_normalisation_over_a_single_value() -> None:
    build = lambda: nn.Sequential(  # noqa: E731
        nn.Conv2d(3, 8, 12), nn.GroupNorm(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8, CLASSES)
    )
    assert "a single value" in examined(build, [images(seed=1)]).findings[0].cause


def test_indices_of_padding_alone() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.drop = nn.Embedding(9, WIDTH, padding_idx=0), nn.Dropout(0.2)
            self.body, self.head = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, CLASSES)

        def forward(self, ids: Tensor) -> Tensor:
            output: Tensor = self.head(self.body(self.drop(self.words(ids * 0))).relu().mean(1))
            return output

    draw = torch.Generator().manual_seed(0)
    batch = torch.randint(1, 9, (8, 6), generator=draw), torch.randint(CLASSES, (8,), generator=draw)
    causes = [finding.cause + finding.remedy for finding in examined(Padded, [batch]).findings]
    assert causes
    assert not any("probability p" in cause for cause in causes)


def test_a_loss_made_of_numbers() -> None:
    step = lambda model, batch: torch.tensor(  # noqa: E731
        F.cross_entropy(model(batch[0]), batch[1]).item(), requires_grad=True
    )
    finding = examined(lambda: chain(2, nn.ReLU), BATCHES, step=step).findings[0]
    assert "item()" in finding.cause
    assert "keep working with the tensor" in finding.remedy


def test_growth_is_told_on_its_way_forward() -> None:
    build = lambda: chain(6, nn.ReLU, {i: [Apply(lambda x: 20 * x)] for i in range(6)})  # noqa: E731
    finding = examined(build, BATCHES).findings[0]
    assert finding.fault == "exploding"
    assert "on its way back" not in finding.cause


def test_nan_behind_the_last_module() -> None:
    step = lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]) * torch.tensor(float("nan"))  # noqa: E731
    finding = examined(lambda: chain(2, nn.ReLU), BATCHES, step=step).findings[0]
    assert "behind '4', the last module" in finding.message


def test_no_line_of_this_package_is_named_as_the_cause() -> None:
    """A model that is torch's own from end to end has no line of the user's."""
    build = lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Softmax(-1), nn.Linear(WIDTH, 1), nn.Softmax(-1))  # noqa: E731
    batch = torch.randn(8, WIDTH), torch.rand(8, 1)
    check = examined(build, [batch], loss=F.mse_loss)
    assert check.record.operations
    assert not any("pytest_gradhealth" in o.where or "checks.py" in o.where for o in check.record.operations)
