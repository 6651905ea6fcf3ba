"""Measuring leaves a model, its batches and every random number generator as they were, bit for bit."""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from pytest_gradhealth import GradHealth, Settings
from pytest_gradhealth.measure.runs.runner import Runner
from pytest_gradhealth.measure.runs.state import preserved


def digest(tensor: Tensor | None) -> str:
    """The bits of a tensor, NaN and signed zeros included."""
    if tensor is None:
        return "none"
    if tensor.layout != torch.strided:
        return digest(tensor.coalesce().indices()) + digest(tensor.coalesce().values())
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor.detach()
    return hashlib.sha256(raw.numpy().tobytes() + repr((tensor.shape, tensor.dtype)).encode()).hexdigest()


def address(tensor: Tensor) -> int:
    """Where a tensor's values are; torch itself puts those of a sparse one elsewhere when they change."""
    return tensor.data_ptr() if tensor.layout == torch.strided else 0


def hooks(module: nn.Module) -> dict[str, list[int]]:
    return {name: list(value) for name, value in vars(module).items() if name.endswith("hooks") or "hooks_" in name}


def plain(module: nn.Module) -> dict[str, str]:
    return {name: repr(value) for name, value in vars(module).items() if not name.startswith("_")}


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    return [
        f"{part} {name}: {found[part].get(name)} was {expected[part].get(name)}"
        for part in expected
        for name in found[part].keys() | expected[part].keys()
        if found[part].get(name) != expected[part].get(name)
    ]


def state(model: nn.Module) -> dict[str, Any]:
    """All there is to know about a model, as values that are equal only where it is the same."""
    return {
        "parameters": {
            name: (
                id(p), address(p), type(p), digest(p), id(p.grad), digest(p.grad), p.requires_grad, p.device, p._backward_hooks
            )
            for name, p in model.named_parameters()
        },
        "buffers": {name: (id(b), address(b), digest(b)) for name, b in model.named_buffers()},
        "modules": {
            name: (id(m), type(m), m.training, hooks(m), list(vars(m)), plain(m)) for name, m in model.named_modules()
        },
    }  # fmt: skip


def generators() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()
    return random.getstate(), name, keys.tolist(), rest, torch.get_rng_state().tolist()


class Hostile(nn.Module):
    """Changes whatever a forward pass can change, and can raise at any of three points."""

    def __init__(self, fails: str = "") -> None:
        super().__init__()
        self.fails = fails
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.spectral = parametrizations.spectral_norm(nn.Linear(4, 4))
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, 2)
        self.norm.eval()  # a mixed mode must come back mixed
        self.first.weight.grad = torch.ones(4, 4)
        self.steps = 0
        self.history: list[float] = []
        self.seen: dict[str, int] = {"calls": 0}
        self.recent: deque[int] = deque([1, 2], maxlen=3)
        self.ordered: OrderedDict[str, int] = OrderedDict(a=1)
        self.cache = torch.zeros(4)  # neither parameter nor buffer
        self.caches = [torch.zeros(2)]
        self.register_buffer("counter", torch.zeros((), dtype=torch.long))
        self.register_buffer("graph", torch.eye(2).to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.history.append(random.random())
        self.seen["calls"] += 1
        self.recent.append(9)
        self.ordered["b"] = 2
        self.cache += float(np.random.rand())
        self.caches[0] += 1
        self.counter += 1
        self.graph.mul_(2)
        self.made_on_the_way = object()
        with torch.no_grad():
            self.frozen.weight.data = self.frozen.weight.data  # the version does not tell
            self.frozen.weight.data.add_(1)
        if self.fails == "forward":
            raise RuntimeError("in forward")
        x = self.drop(self.spectral(self.norm(self.first(x))))
        if self.fails == "backward":
            x.register_hook(self._refuse)
        self.frozen.requires_grad_(True)
        output: Tensor = self.head(self.frozen(x))
        return output

    def _refuse(self, gradient: Tensor) -> None:
        raise RuntimeError("in backward")


@pytest.fixture(params=["check", "second look", "fixture"])
def look(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The ways to look at a model."""

    def run(model: nn.Module, batches: list[Any], **options: Any) -> Any:
        if request.param == "fixture":
            return GradHealth(Settings(device="cpu")).measure(model, batches, **options)
        rehearsal = Runner(model, batches, **options)
        if request.param == "check":
            return rehearsal.measure()
        return rehearsal.look_again((1, 3), lambda record: False)

    return run


Look = Callable[..., Any]


def loss(output: Tensor) -> Tensor:
    return output.square().sum()


def bad_loss(output: Tensor) -> Tensor:
    raise RuntimeError("in the loss")


@pytest.mark.parametrize("fails", ["", "forward", "backward", "the loss"])
def test_the_model_is_as_before(look: Look, fails: str) -> None:
    model = Hostile(fails)
    before = state(model)
    options = {"loss": bad_loss if fails == "the loss" else loss}
    if fails:
        with pytest.raises(RuntimeError, match=f"in {fails}"):
            look(model, [torch.randn(6, 4)], **options)
    else:
        look(model, [torch.randn(6, 4), torch.randn(3, 4)], **options)
    assert differences(state(model), before) == []


@pytest.mark.parametrize("fails", ["", "forward", "backward"])
def test_every_random_number_generator_is_as_before(look: Look, fails: str) -> None:
    model, batch = Hostile(fails), torch.randn(6, 4)
    before = generators()
    try:
        look(model, [batch], loss=loss)
    except RuntimeError:
        assert fails
    assert generators() == before


def test_a_factory_and_shuffled_data_draw_nothing_from_the_users_generators() -> None:
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 4)), batch_size=2, shuffle=True)
    before = generators()
    GradHealth(Settings(device="cpu")).measure(lambda: nn.Linear(4, 2), data, loss=loss)
    assert generators() == before


def test_the_batch_is_as_before(look: Look) -> None:
    """A model may work in place on its input, and collect the gradient of it."""
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2))
    batch = torch.randn(4, 3)
    bits = digest(batch)
    look(model, [batch], loss=loss)
    assert digest(batch) == bits
    wanted = torch.randn(4, 3, requires_grad=True)
    look(nn.Linear(3, 2), [wanted], loss=loss)
    assert (wanted.grad, wanted._backward_hooks) == (None, None)


def test_a_graph_in_front_of_the_batch_is_not_used_up(look: Look) -> None:
    weight = torch.ones(3, requires_grad=True)
    batch = torch.randn(4, 3) * weight
    look(nn.Linear(3, 2), [batch], loss=loss)
    batch.sum().backward()
    assert weight.grad is not None


def test_a_training_loop_goes_on_as_if_nothing_had_been_measured(look: Look) -> None:
    def trained(measure: bool) -> list[str]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
        optimiser = torch.optim.Adam(model.parameters())
        x = torch.randn(6, 4)
        for _ in range(3):
            optimiser.zero_grad()
            loss(model(x)).backward()
            if measure:
                look(model, [x], loss=loss)
            optimiser.step()
        return [digest(tensor) for tensor in model.state_dict().values()]

    assert trained(measure=True) == trained(measure=False)


def test_sparse_gradients_survive_the_second_look() -> None:
    """Adam refuses sparse gradients."""
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Linear(4, 2))
    before = state(model)
    record = Runner(model, [torch.tensor([1, 2])], loss=loss).look_again((1, 2), lambda record: False)
    assert record.steps == 2
    assert record["0"].norm
    assert differences(state(model), before) == []


def test_a_tensor_that_passes_through_modules_keeps_no_hook() -> None:
    """A parameter, or a constant of the user's, is the input of one module and the output of another."""

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.scale = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            weight: Tensor = self.scale(self.weight)
            return x * weight

    constant = torch.ones(3, requires_grad=True)
    model = Positions()
    Runner(model, [torch.randn(2, 3)], step=lambda m, x: loss(m(constant) + m(x))).measure()
    assert not constant._backward_hooks
    assert not model.weight._backward_hooks


def test_a_model_with_nan_parameters_keeps_their_bits() -> None:
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.fill_(float("nan"))
        model.bias.fill_(-0.0)
    before = state(model)
    Runner(model, [torch.randn(2, 2)], loss=loss).look_again((2,), lambda record: True)
    assert differences(state(model), before) == []


def test_the_second_look_sees_later_steps_and_stops_when_it_has_seen_enough() -> None:
    model = nn.Linear(2, 1)
    rehearsal = Runner(model, [torch.ones(1, 2)], loss=loss)
    assert rehearsal.look_again((1, 2, 4), lambda record: record.steps == 2).steps == 2
    # One Adam step moves a weight by its learning rate, whatever the size of the gradient.
    first, later = rehearsal.measure(), rehearsal.look_again((1,), lambda record: True)
    assert later[""].weight_norm != first[""].weight_norm
    assert later[""].weight_norm == pytest.approx(first[""].weight_norm, abs=3**0.5 * 1e-3)


def test_a_model_that_is_moved_or_initialised_is_a_copy() -> None:
    model = nn.Sequential(nn.LazyLinear(3), nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    modules = [id(module) for module in model.modules()]
    kinds = [type(module) for module in model.modules()]
    Runner(model, [torch.randn(2, 5)], loss=loss).measure()
    assert [id(module) for module in model.modules()] == modules
    assert [type(module) for module in model.modules()] == kinds


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_the_second_look_works_in_every_precision(dtype: torch.dtype) -> None:
    """In half precision neither the square of a small gradient nor Adam's epsilon is above zero."""
    model = nn.Linear(3, 2, dtype=dtype)
    before = state(model)
    batch = torch.tensor([[1.0, 1e-4, 0.0]]).to(dtype)
    rehearsal = Runner(model, [batch], loss=lambda out: out.abs().sum())
    first, later = rehearsal.measure(), rehearsal.look_again((1, 2), lambda record: False)
    assert later[""].weight_norm == pytest.approx(first[""].weight_norm, abs=2 * 8**0.5 * 1.1e-3)
    assert later[""].weight_norm != first[""].weight_norm
    assert (later[""].nan, later[""].inf) == (0, 0)
    assert differences(state(model), before) == []


@pytest.mark.skipif(not hasattr(torch, "_lazy_clone"), reason="this torch copies")
def test_nothing_is_copied_of_what_a_model_does_not_write(monkeypatch: pytest.MonkeyPatch) -> None:
    model, copied = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)), []
    clone = Tensor.clone
    monkeypatch.setattr(
        Tensor, "clone", lambda tensor, **options: copied.append(tensor.shape) or clone(tensor, **options)
    )
    with preserved(model):
        shared = [name for name, tensor in model.state_dict().items() if torch._C._is_cow_tensor(tensor)]
        assert shared == list(model.state_dict())
        model(torch.randn(4, 8)).sum().backward()
        written = [name for name, tensor in model.state_dict().items() if not torch._C._is_cow_tensor(tensor)]
    assert written == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert not copied
    model[0].weight.data.resize_(4)  # torch refuses this to a tensor that still shares its memory


def test_memory_that_others_look_at_stays_theirs() -> None:
    model = nn.Linear(2, 1)
    array, flat = model.weight.detach().numpy(), torch.zeros(2)
    model.bias.data = flat[:1]
    with preserved(model):
        model.weight.data.add_(1)
        model.bias.data.add_(1)
        assert array[0, 0] == model.weight[0, 0]
        assert flat[0] == 1
    array[:] = 7
    flat[:] = 7
    assert model.weight.tolist() == [[7, 7]]
    assert model.bias.tolist() == [7]
