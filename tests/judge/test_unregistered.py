"""Parameters that a model computes with and does not list: no optimiser is given them."""

from __future__ import annotations

import pytest
import torch
from networks import BATCHES, CLASSES, WIDTH, Wrapper, examined, kinds
from torch import Tensor, nn

from pytest_gradhealth import GradHealth, Settings
from pytest_gradhealth.record import Finding


def layer() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


class Net(nn.Module):
    """A stem and a head, and between them what a test asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = layer(), nn.Linear(WIDTH, CLASSES)

    def middle(self, x: Tensor) -> Tensor:
        return x

    def forward(this, x: Tensor) -> Tensor:
        output: Tensor = this.head(this.middle(this.stem(x).relu()).relu())
        return output


class InAList(Net):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = [layer(), layer()]

    def middle(self, x: Tensor) -> Tensor:
        return self.blocks[1](self.blocks[0](x).relu()) + x  # type: ignore[no-any-return]


class InADict(Net):
    def __init__(self) -> None:
        super().__init__()
        self.experts = {"first": (layer(),)}

    def middle(self, x: Tensor) -> Tensor:
        return self.experts["first"][0](x)  # type: ignore[no-any-return]


class ATensor(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.ones(WIDTH, requires_grad=True)

    def middle(self, x: Tensor) -> Tensor:
        return x * self.scale


class Moved(Net):
    """A parameter that is moved to a device as it is made: what is kept is a copy, as on any other device."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.ones(WIDTH)).to("cpu", copy=True)

    def middle(self, x: Tensor) -> Tensor:
        return x * self.gate


class MadeAnew(Net):
    def middle(self, x: Tensor) -> Tensor:
        return layer()(x)  # type: ignore[no-any-return]


class KeptAnew(Net):
    def middle(self, x: Tensor) -> Tensor:
        self.block = layer()
        return self.block(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "held", "count"),
    [
        (InAList, "'blocks'", 2 * (WIDTH + 1) * WIDTH),
        (InADict, "'experts'", (WIDTH + 1) * WIDTH),
        (ATensor, "'scale'", WIDTH),
        (Moved, "'gate'", WIDTH),
        (MadeAnew, "test_unregistered.py:", (WIDTH + 1) * WIDTH),
        (KeptAnew, "test_unregistered.py:", (WIDTH + 1) * WIDTH),
    ],
)
def test_what_no_optimiser_hears_of(kind: type[Net], held: str, count: int) -> None:
    finding = unregistered(kind())
    assert finding.value == count
    assert str(count) in finding.message
    assert held in finding.message + finding.cause
    assert finding.remedy


def unregistered(model: nn.Module) -> Finding:
    (finding,) = (f for f in examined(model, BATCHES).findings if "does not list" in f.message)
    assert finding.fault == "unregistered"
    return finding


def test_the_module_that_holds_them_is_named() -> None:
    assert unregistered(Wrapper(InAList())).layer == "inner"
    assert "'inner.blocks'" in unregistered(Wrapper(InAList())).message
    assert unregistered(nn.Sequential(layer(), MadeAnew())).layer == "1"


def test_one_batch_is_enough_to_tell_what_is_made_each_time() -> None:
    assert kinds(examined(MadeAnew(), BATCHES[:1])) == ["unregistered"]
    assert not kinds(examined(MadeOnce(), BATCHES[:1]))


def test_several_places_are_one_finding() -> None:
    finding = unregistered(nn.Sequential(InAList(), nn.Linear(CLASSES, WIDTH), InAList()))
    assert finding.layers == ("0", "2")
    assert "1 other place" in finding.message


def test_what_is_ignored_is_not_judged() -> None:
    assert not kinds(examined(Wrapper(InAList()), BATCHES, ignore=["inner"]))


class Teacher(Net):
    """A teacher that is hidden from the optimiser on purpose, and asked without a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = [layer()]

    def middle(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            taught = self.teacher[0](x)
        return x + taught  # type: ignore[no-any-return]


class Perceptual(Net):
    """A frozen trunk that is hidden from the checkpoint, and sends gradients through."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = [layer().requires_grad_(False)]

    def middle(self, x: Tensor) -> Tensor:
        return self.trunk[0](x)  # type: ignore[no-any-return]


class ListedTwice(Net):
    def __init__(self) -> None:
        super().__init__()
        self.order = [self.stem, self.head]


class Kept(Net):
    """A copy of a listed parameter, and a result of the last forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.half = self.stem.weight * 0.5
        self.features: Tensor | None = None

    def middle(self, x: Tensor) -> Tensor:
        self.features = x
        return x


class MadeOnce(Net):
    """A layer of a width that only the first batch tells."""

    def __init__(self) -> None:
        super().__init__()
        self.block: nn.Module | None = None

    def middle(self, x: Tensor) -> Tensor:
        if self.block is None:
            self.block = nn.Linear(x.shape[-1], WIDTH)
        return self.block(x)  # type: ignore[no-any-return]


class Vocabulary(Net):
    def __init__(self) -> None:
        super().__init__()
        self.words = {f"word{i}": i for i in range(100_000)}


class Endless(Net):
    """A list that holds itself, and a table of a million numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.around: list[object] = []
        self.around.append(self.around)
        self.table = [[0] * 1000] * 1000


@pytest.mark.parametrize("kind", [Teacher, Perceptual, ListedTwice, Kept, MadeOnce, Vocabulary, Endless])
def test_what_is_held_for_another_purpose(kind: type[Net]) -> None:
    assert not kinds(examined(kind(), BATCHES))


def test_a_model_that_the_loss_brings_along_is_none_of_ours() -> None:
    critic = nn.Linear(CLASSES, 1)
    step = lambda model, batch: critic(model(batch[0])).square().mean()  # noqa: E731
    assert not kinds(examined(Net, BATCHES, step=step))


class Counting(InAList):
    """What is hidden has statistics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = (nn.Sequential(nn.BatchNorm1d(WIDTH)),)

    def middle(self, x: Tensor) -> Tensor:
        return super().middle(self.hidden[0](x))


def test_nothing_is_left_on_what_is_held() -> None:
    model = Counting()
    weight, statistics = model.blocks[0].weight, model.hidden[0][0].running_mean.clone()
    weight.grad = torch.ones_like(weight)
    GradHealth(Settings(device="cpu")).measure(model, BATCHES, loss=nn.functional.cross_entropy)
    assert torch.equal(weight.grad, torch.ones_like(weight))
    assert torch.equal(model.hidden[0][0].running_mean, statistics)
    assert not weight._backward_hooks
    assert not torch.nn.modules.module._global_parameter_registration_hooks
