"""What a measured pass costs, counted and not timed: operations, hooks, copies, and what is kept alive."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_gradhealth import GradHealth, Settings
from pytest_gradhealth.measure.losses import nodes
from pytest_gradhealth.measure.passes import statistics
from pytest_gradhealth.measure.passes.reductions import Reductions
from pytest_gradhealth.measure.passes.sampling import SAMPLED, Samples
from pytest_gradhealth.measure.runs.runner import Runner
from pytest_gradhealth.record import GradientRecord

Measured = Callable[..., GradientRecord]


class Counter(TorchDispatchMode):
    """Counts operations, and how many elements clones have."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.cloned = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        if func is torch.ops.aten.clone.default:
            self.cloned += args[0].numel()
        return func(*args, **(kwargs or {}))


def total(output: Tensor) -> Tensor:
    return output.square().sum()


def chain(layers: int, width: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(part for _ in range(layers) for part in (nn.Linear(width, width), nn.Tanh())))


def counted(action: Callable[[], object]) -> Counter:
    with Counter() as counter:
        action()
    return counter


def test_a_measured_pass_launches_few_operations_for_each_layer(measured: Measured) -> None:
    """A layer is a linear module and an activation here: two modules, two parameters, two outputs."""
    model, x = chain(200), torch.randn(8, 4)
    bare = counted(lambda: total(model(x)).backward()).count
    model.zero_grad()
    assert (counted(lambda: measured(model, x, loss=total)).count - bare) / 200 < 45


def test_small_gradients_of_one_shape_share_their_operations() -> None:
    together = Reductions()
    gradients = [torch.randn(4, 8) for _ in range(100)]

    def reduce() -> None:
        for gradient in gradients:
            together.add(gradient, 0)
        together.collect()

    assert counted(reduce).count < 400  # a copy of each, which is detached before
    big = [torch.full((4, 8), value) for value in (1e-30, 1e30, 0.0, float("nan"), float("inf"))]
    mixed = [together.add(gradient, 0) for gradient in (*gradients[:3], *big)]
    together.collect()
    expected = [float(gradient.double().norm()) for gradient in gradients[:3]]
    assert [one.norm for one in mixed[:6]] == pytest.approx([*expected, 1e-30 * 32**0.5, 1e30 * 32**0.5, 0.0], rel=1e-6)
    assert [(one.nan, one.inf) for one in mixed[-3:]] == [(0, 0), (32, 0), (0, 32)]
    assert [np.asarray(one.alive).tolist() for one in mixed[2:6]] == [[True] * 4, [True] * 4, [True] * 4, [False] * 4]


def test_a_gradient_that_an_addition_or_a_view_passes_on_is_read_once() -> None:
    reductions, gradient = Reductions(), torch.randn(200, 200)
    came = [reductions.passed_on(given) for given in (gradient, gradient, gradient.view(-1))]
    part, other = reductions.passed_on(gradient[:100]), reductions.passed_on(gradient.clone())
    again = reductions.passed_on(gradient)
    changed = reductions.passed_on(gradient.mul_(2))
    reductions.collect()
    assert came[0] is came[1] is came[2]
    assert len({id(one) for one in (came[0], part, other, again, changed)}) == 5
    assert float(changed.norm) == pytest.approx(2 * float(came[0].norm))


def test_a_gradient_that_a_later_hook_changes_in_place_counts_as_it_came(measured: Measured) -> None:
    class Clipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 1)
            self.factor = 1.0

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x)
            hidden.register_hook(lambda gradient: gradient.mul_(self.factor))
            return self.last(hidden)

    torch.manual_seed(0)
    model, x = Clipped(), torch.randn(8, 4)
    plain = measured(model, x, loss=total)
    model.factor = 1e-3
    clipped = measured(model, x, loss=total)
    assert clipped.signals[1].gradient == pytest.approx(plain.signals[1].gradient, rel=1e-6)
    assert clipped["first"].norm == pytest.approx(1e-3 * (plain["first"].norm or 0), rel=1e-5)


def test_one_check_walks_the_graph_once(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Besides what lies between the outputs and the loss, whose few nodes are looked at by themselves."""
    walked, children = [], nodes.children
    monkeypatch.setattr(nodes, "children", lambda node: walked.append(node) or children(node))
    measured(chain(50), torch.randn(8, 4), loss=total)
    assert len(walked) < 50


@pytest.mark.parametrize("shape", [(4, 128, 384), (8192, 16, 4), (40, 33, 50), (2, 3, 9000), (1, 20_000, 2)])
def test_a_sample_of_sequences_tells_of_its_samples_and_positions(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    sequences = torch.randn(shape) + torch.randn(shape[:2])[..., None]
    few, all_of_it = Samples(), Samples(None)
    sampled, exact = few.add(sequences), all_of_it.add(sequences)
    few.collect(), all_of_it.collect()
    assert few.left_out
    assert sampled.keys() == exact.keys()
    for name in {"rms", "samples", "tokens"} & exact.keys():
        assert sampled[name] == pytest.approx(exact[name], rel=0.2)


def test_a_batch_of_thousands_of_sequences_is_measured(measured: Measured) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    record = measured(model, torch.randn(8192, 16, 2), loss=total)
    assert all(signal.position_reach for signal in record.signals if signal.name)


def test_a_view_of_other_dimensions_shares_the_gradient_and_not_the_positions(measured: Measured) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Unflatten(0, (4, 16)), nn.Tanh())
    record = measured(model, torch.randn(64, 8), loss=lambda output: output.square().mean())
    flat, sequence = record.signals[1:3]
    assert flat.position_reach is None
    assert sequence.position_reach == pytest.approx(1.0, rel=0.5)
    assert flat.gradient == pytest.approx(sequence.gradient, rel=1e-6)


def test_every_gradient_is_freed_as_soon_as_its_norm_is_known(measured: Measured) -> None:
    model, held = chain(6), []
    parameters = list(model.parameters())

    def count(gradient: Tensor) -> None:
        held.append(sum(p.grad is not None for p in parameters))

    for parameter in parameters:
        parameter.register_hook(count)
    measured(model, torch.randn(8, 4), loss=total)
    assert held == [0] * 12


def test_what_several_backward_passes_bring_is_added_up(measured: Measured) -> None:
    model, x = chain(2), torch.randn(8, 4)

    def step(model: nn.Module, batch: Tensor) -> Tensor:
        total(model(batch)).backward()
        return total(model(batch))

    once, twice = measured(model, x, loss=total), measured(model, x, step=step)
    assert [layer.norm for layer in twice] == pytest.approx([2 * (layer.norm or 0) for layer in once])


def test_a_module_carries_one_hook_and_a_parameter_one(measured: Measured) -> None:
    seen = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = chain(2)

        def forward(self, x: Tensor) -> Tensor:
            seen.append([len(module._forward_hooks) for module in self.body.modules()])
            seen.append([len(p._post_accumulate_grad_hooks or ()) for p in self.parameters()])
            seen.append([len(p._backward_hooks or ()) for p in self.parameters()])
            return self.body(x)

    measured(Counting(), torch.randn(8, 4), loss=total)
    assert seen[:3] == [[1] * 5, [1] * 4, [0] * 4]


def test_nothing_of_a_pass_is_kept_alive() -> None:
    outputs = []

    class Noting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            outputs.append(weakref.ref(made := super().forward(x)))
            return made

    rehearsal = Runner(nn.Sequential(Noting(4, 4), nn.Tanh(), Noting(4, 1)), [torch.randn(8, 4)], loss=total)
    rehearsal.measure()
    gc.collect()
    assert len(outputs) == 2
    assert not any(reference() is not None for reference in outputs)


def test_a_large_output_is_read_from_a_sample_and_a_finding_from_all_of_it() -> None:
    model, x = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 1)), torch.randn(256, 64)
    few, all_of_it = Samples(), Samples(None)
    hidden = model[0](x).relu().detach()
    assert counted(lambda: few.add(hidden)).cloned <= SAMPLED < hidden.numel()
    told = few.add(hidden), all_of_it.add(hidden)
    few.collect(), all_of_it.collect()
    assert told[0] == pytest.approx(told[1], rel=0.2)
    assert told[1]["rms"] == pytest.approx(float(hidden.double().square().mean().sqrt()), rel=1e-6)
    kept = []
    health = GradHealth(Settings(device="cpu"), sink=kept.append)
    with torch.no_grad():
        model[0].bias.fill_(-1e3)
    with pytest.raises(Exception, match="dead"):
        health.check(model, x, total)
    assert kept[0].record.signals[1].size == 256 * 512


def test_the_sample_is_spread_over_all_samples_and_places() -> None:
    image = torch.zeros(4, 8, 64, 64)
    image[:, :, 32:] = 1
    numbers = (samples := Samples()).add(image)
    samples.collect()
    assert numbers["zeros"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("value", [0.1, 3e-20, 1e20])
@pytest.mark.parametrize("shape", [(7,), (4096,), (1023, 1025), (3, 17, 33, 31)])
def test_norms_are_those_of_float64(value: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    for tensor in (torch.full(shape, value), value * torch.randn(shape), value * torch.randn(shape).transpose(0, -1)):
        expected = float(torch.linalg.vector_norm(tensor.double()))
        assert statistics.norm(tensor) == pytest.approx(expected, rel=1e-6)
        assert statistics.units_norm(tensor[..., None], 0)[0] == pytest.approx(expected, rel=1e-6)


def test_norms_of_expanded_and_channels_last_tensors() -> None:
    image = torch.randn(4, 16, 32, 32).to(memory_format=torch.channels_last)
    for tensor in (image, torch.ones(1, 1).expand(300, 300), image[:, ::2, 1:]):
        assert statistics.norm(tensor) == pytest.approx(float(tensor.double().norm()), rel=1e-6)


def test_units_whose_squares_vanish_are_alive() -> None:
    gradient = torch.ones(4, 2048)
    gradient[1], gradient[2] = 1e-30, 0
    assert statistics.units_norm(gradient, 0)[1].tolist() == [True, True, False, True]


class Cell(nn.Module):
    def __init__(self, steps: int) -> None:
        super().__init__()
        self.cell, self.steps = nn.RNNCell(4, 4), steps

    def forward(self, x: Tensor) -> Tensor:
        state = x
        for _ in range(self.steps):
            state = self.cell(x, state)
        return state


def test_thousands_of_steps_and_layers_need_no_recursion(measured: Measured) -> None:
    assert len(measured(Cell(2000), torch.randn(2, 4), loss=total).signals) == 2
    assert len(measured(chain(2000, width=2), torch.randn(2, 2), loss=total)) == 2000


DEEP = """
import torch
from pytest_gradhealth.measure.passes.paths import PathTrace
y = torch.ones(1, requires_grad=True)
for _ in range(90_000):
    y = y.tanh()
PathTrace().follow([y])
del y
print("freed")
"""


def test_a_graph_of_any_depth_is_freed_without_overflowing_the_stack() -> None:
    done = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "freed")


def test_deeply_nested_modules_are_walked_without_recursion() -> None:
    from pytest_gradhealth.measure.passes.structure import modules_of, parameters_of

    model: nn.Module = nn.Linear(2, 2)
    for _ in range(3000):
        model = nn.Sequential(model)
    modules = modules_of(model)
    assert len(modules) == 3001
    assert len(parameters_of(modules)) == 2
