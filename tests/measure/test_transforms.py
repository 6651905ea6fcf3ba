"""Models that transform parts of themselves with ``torch.func``, and nested tensors, are measured as others are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradHealth
from pytest_gradhealth.errors import GradientHealthError

BATCH = torch.randn(32, 8, generator=torch.Generator().manual_seed(1)), torch.arange(32) % 3


class Stack(nn.Module):
    """A stack that sees one sample at a time, or all at once."""

    def __init__(
        self, depth: int, activation: type[nn.Module], spread: Callable[..., Callable[[Tensor], Tensor]]
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        parts = (part for _ in range(depth) for part in (nn.Linear(8, 8), activation()))
        self.stack, self.head, self._spread = nn.Sequential(*parts), nn.Linear(8, 3), spread

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self._spread(self.stack)(x))


def at_once(stack: nn.Module) -> nn.Module:
    return stack


def test_vmap_in_forward_changes_no_number() -> None:
    one_by_one, together = (
        GradHealth().measure(Stack(2, nn.ReLU, spread), BATCH, F.cross_entropy) for spread in (torch.vmap, at_once)
    )
    assert one_by_one.names == together.names
    for one, other in zip(one_by_one, together, strict=True):
        assert one.norm == pytest.approx(other.norm, rel=1e-5)
        assert one.signal == pytest.approx(other.signal, rel=1e-5)
        assert one.dead == other.dead
    inside, outside = ({s.name: s for s in record.signals}["stack.1"] for record in (one_by_one, together))
    assert inside.sample_variation == pytest.approx(outside.sample_variation, rel=1e-4)
    assert inside.rms == pytest.approx(outside.rms, rel=1e-5)


def trained(health: GradHealth, model: nn.Module) -> None:
    with health.watch(model):
        F.cross_entropy(model(BATCH[0]), BATCH[1]).backward()


def checked(health: GradHealth, model: nn.Module) -> None:
    health.check(model, BATCH, F.cross_entropy)


@pytest.mark.parametrize("run", [trained, checked])
def test_a_fault_inside_vmap_is_named_as_without_it(run: Callable[[GradHealth, nn.Module], None]) -> None:
    found = []
    for spread in (torch.vmap, at_once):
        with pytest.raises(GradientHealthError) as error:
            run(GradHealth(), Stack(20, nn.Sigmoid, spread))
        found.append([(finding.fault, finding.layers) for finding in error.value.check.findings])
    assert found[0] == found[1]
    assert found[0][0][0].startswith("vanishing")


class Forces(nn.Module):
    """The derivative of a potential by its input, as in models of molecules."""

    def __init__(self, potential: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.potential, self.head = potential, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.vmap(torch.func.grad(lambda sample: self.potential(sample).sum()))(x))


def test_a_derivative_in_forward_is_measured_through() -> None:
    torch.manual_seed(0)
    model = Forces(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1, bias=False)))
    record = GradHealth().check(model, BATCH, F.cross_entropy)
    F.cross_entropy(model(BATCH[0]), BATCH[1]).backward()
    for layer in record:
        expected = sum(p.grad.square().sum() for p in model.get_submodule(layer.name).parameters()).sqrt()
        assert layer.norm == pytest.approx(float(expected), rel=1e-5)


def test_a_derivative_that_no_gradient_comes_through_is_named() -> None:
    torch.manual_seed(0)
    model = Forces(nn.Sequential(nn.Linear(8, 16), nn.Hardtanh(0, 1e-9), nn.Linear(16, 1, bias=False)))
    with pytest.raises(GradientHealthError) as error:
        GradHealth().check(model, BATCH, F.cross_entropy)
    assert error.value.check.findings[0].layers[0].startswith("potential")


class Ragged(nn.Module):
    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.activation, self.head = nn.Linear(8, 16), activation(), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.nested.to_padded_tensor(self.activation(self.inner(x)), 0.0).mean(1))


def nested() -> Tensor:
    lengths = (3, 5, 2, 7) * 8
    return torch.nested.nested_tensor([torch.randn(length, 8) for length in lengths])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_strided_nested_input_is_measured() -> None:
    x = nested()
    model = Ragged()
    record = GradHealth().check(model, (x, BATCH[1]), F.cross_entropy)
    assert record.samples == 32
    with (watched := GradHealth()).watch(model):
        F.cross_entropy(model(x), BATCH[1]).backward()
    assert watched.count == 1
    expected = sum(p.grad.square().sum() for p in model.inner.parameters()).sqrt()
    assert record["inner"].norm == pytest.approx(float(expected), rel=1e-5)
    signal = next(signal for signal in record.signals if signal.name == "inner")
    assert signal.rms == pytest.approx(float(model.inner(x).detach().values().square().mean().sqrt()), rel=1e-5)


def test_a_check_sees_into_the_parts_of_a_model_that_are_compiled() -> None:
    """As of large models each block is, in place."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
    model = nn.Sequential(block, nn.Linear(16, 3))
    plain = GradHealth().measure(model, BATCH, F.cross_entropy)
    block.compile(backend="eager")
    compiled = GradHealth().measure(model, BATCH, F.cross_entropy)
    assert [(x.name, x.order, x.norm) for x in compiled] == [(x.name, x.order, x.norm) for x in plain]
    assert [signal.name for signal in compiled.signals] == [signal.name for signal in plain.signals]
