"""Gradient norms of models that hooks are known to get wrong, against ``torch.autograd.grad``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, rnn
from torch.utils.checkpoint import checkpoint

from pytest_gradhealth.record import GradientRecord

Measured = Callable[..., GradientRecord]
Norms = Callable[[nn.Module, Tensor], dict[str, float]]


def total(output: Tensor) -> Tensor:
    return output.abs().square().sum()


@pytest.fixture
def agree(measured: Measured, norms: Norms) -> Callable[..., GradientRecord]:
    """Measure, and hold every layer's norm to the root of its parameters' squares by autograd."""

    def check(model: nn.Module, batch: Any, step: Callable[..., Tensor] | None = None) -> GradientRecord:
        step = step or (lambda model, batch: total(model(batch)))
        model.train()
        expected = norms(model, step(model, batch))
        record = measured(model, batch, step=step)
        for layer in record:
            prefix = f"{layer.name}." if layer.name else ""
            own = [norm for name, norm in expected.items() if name.rpartition(".")[0] == prefix.rstrip(".")]
            assert layer.norm == (pytest.approx(math.hypot(*own), rel=1e-5) if own else None), layer.name
        covered = {name.rpartition(".")[0] for name in expected}
        assert covered == {layer.name for layer in record if layer.arrived}
        return record

    return check


Agree = Callable[..., GradientRecord]


class Tied(nn.Module):
    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=bias)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.body(self.embed(x)))
        return output


def test_tied_weights_count_once_and_show_both_names(agree: Agree) -> None:
    record = agree(Tied(), torch.tensor([[1, 2, 3]]))
    assert record.names == ("embed", "body")
    assert record["embed"].tied == ("head",)
    assert record["head"] is record["embed"]
    assert "head" in record


def test_a_layer_that_shares_one_of_its_parameters_keeps_its_own_row(agree: Agree) -> None:
    record = agree(Tied(bias=True), torch.tensor([[1, 2, 3]]))
    assert record["head"].parameters == 7
    assert record["head"].name == "head"
    assert record["embed"].tied == ("head",)


def test_a_module_called_several_times(agree: Agree) -> None:
    layer = nn.Linear(3, 3)
    record = agree(nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), layer), torch.randn(2, 3))
    assert record.signals[1].calls == 3
    # One module under three names: one row, and all names are shown.
    assert record["0"].tied == ("2", "4")


def test_modules_sharing_one_submodule(agree: Agree) -> None:
    class Branch(nn.Module):
        def __init__(self, shared: nn.Module) -> None:
            super().__init__()
            self.own, self.shared = nn.Linear(3, 3), shared

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.shared(self.own(x))
            return output

    shared = nn.Linear(3, 3)
    record = agree(nn.Sequential(Branch(shared), Branch(shared)), torch.randn(2, 3))
    assert record.names == ("0.own", "0.shared", "1.own")
    assert record["1.shared"] is record["0.shared"]


def test_frozen_parameters(agree: Agree) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    model[1].bias.requires_grad_(False)
    record = agree(model, torch.randn(2, 3))
    assert (record["0"].frozen, record["0"].norm, record["0"].weight_norm) == (True, None, 0.0)
    assert (record["1"].parameters, record["1"].trainable, record["1"].missing) == (12, 9, ())


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_sparse_gradients(agree: Agree, kind: type[nn.Module]) -> None:
    model = nn.Sequential(kind(50, 4, sparse=True), nn.Linear(4, 2))
    record = agree(model, torch.tensor([[1, 1, 3], [3, 1, 2]]))  # rows that repeat must be added up, not counted twice
    assert record["0"].missing == ()


def test_complex_parameters(agree: Agree) -> None:
    record = agree(nn.Linear(3, 2, dtype=torch.complex64), torch.randn(4, 3, dtype=torch.complex64))
    assert record.precision == "complex64"


def test_complex_values_in_a_saturating_activation(agree: Agree) -> None:
    agree(nn.Sequential(nn.Linear(3, 2, dtype=torch.complex64), nn.Tanh()), torch.randn(4, 3, dtype=torch.complex64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(agree: Agree, dtype: torch.dtype) -> None:
    record = agree(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).to(dtype), torch.randn(4, 3, dtype=dtype))
    assert record.precision == str(dtype).removeprefix("torch.")


def test_half_gradients_whose_squares_leave_the_range_of_half(agree: Agree) -> None:
    record = agree(nn.Linear(4, 1).half(), torch.full((1, 4), 1e-4).half(), lambda m, x: m(x).sum())
    assert record[""].norm == pytest.approx(1.0, rel=1e-3)
    assert record[""].zero_gradients == ()


@dataclass
class Output:
    hidden: Tensor
    answer: Tensor


class Answers(nn.Module):
    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.second, self.form = nn.Linear(3, 3), nn.Linear(3, 2), form

    def forward(self, x: Tensor) -> Any:
        hidden = self.first(x)
        return self.form(hidden, self.second(hidden))


@pytest.mark.parametrize(
    ("form", "read"),
    [
        (lambda h, y: (h, y), lambda out: out[1]),
        (lambda h, y: [None, [h, {"y": y}]], lambda out: out[1][1]["y"]),
        (lambda h, y: {"h": h, "y": y}, lambda out: out["y"]),
        (Output, lambda out: out.answer),
        (lambda h, y: y.view(-1), lambda out: out),
        (lambda h, y: (None, "words", y), lambda out: out[2]),
    ],
    ids=["tuple", "nested", "dict", "dataclass", "view", "none"],
)
def test_outputs_of_any_nesting(
    agree: Agree, form: Callable[[Tensor, Tensor], Any], read: Callable[[Any], Tensor]
) -> None:
    record = agree(Answers(form), torch.randn(4, 3), lambda m, x: total(read(m(x))))
    assert all(signal.gradient for signal in record.signals)


def test_a_module_that_returns_nothing(agree: Agree) -> None:
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> None:
            self.kept = self.layer(x)

    record = agree(Silent(), torch.randn(4, 3), lambda m, x: (m(x), total(m.kept))[1])
    assert (record.signals[0].gradient, record.signals[0].attached) == (None, False)


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU(inplace=True), nn.LeakyReLU(inplace=True), nn.ELU(inplace=True), nn.SiLU(inplace=True)],
    ids=lambda module: type(module).__name__,
)
def test_inplace_activation_modules(agree: Agree, activation: nn.Module) -> None:
    twin = type(activation)()
    torch.manual_seed(1)
    layers = nn.Linear(3, 4), nn.Linear(4, 2)
    x = torch.randn(5, 3)
    record = agree(nn.Sequential(layers[0], activation, layers[1]), x)
    # The signal at the layer is that before the activation, just as with one that works on a copy.
    plain = agree(nn.Sequential(layers[0], twin, layers[1]), x)
    assert [s.gradient for s in record.signals] == pytest.approx([s.gradient for s in plain.signals])
    assert [s.rms for s in record.signals] == pytest.approx([s.rms for s in plain.signals])


def test_inplace_functions(agree: Agree) -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x)
            hidden += 1
            output: Tensor = self.second(F.relu_(hidden.mul_(2)))
            return output

    agree(Functional(), torch.randn(5, 3))


def test_an_activation_on_a_view_of_a_layers_output(agree: Agree) -> None:
    class Chunked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x)
            hidden[:, :2].relu_()
            output: Tensor = self.second(hidden)
            return output

    agree(Chunked(), torch.randn(5, 3))


def test_parameters_held_by_a_parent(agree: Agree) -> None:
    class Parent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.randn(3))
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.layer(x * self.scale)
            return output

    record = agree(nn.Sequential(Parent(), nn.Linear(2, 2)), torch.randn(4, 3))
    assert record.names == ("0", "0.layer", "1")


def test_multihead_attention(agree: Agree) -> None:
    """Its output projection is never called: the parent reads the weights."""
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    record = agree(attention, torch.randn(2, 5, 8), lambda m, x: total(m(x, x, x)[0]))
    assert record.names == ("", "out_proj")
    assert (record["out_proj"].order, record["out_proj"].signal) == (None, None)


def test_a_transformer_layer_keeps_the_order_of_its_parts(agree: Agree) -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    record = agree(model, torch.randn(2, 5, 8))
    assert record.names == ("self_attn", "self_attn.out_proj", "norm1", "linear1", "linear2", "norm2")


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one", "two"])
def test_recurrent_layers(agree: Agree, kind: type[nn.Module], options: dict[str, Any]) -> None:
    record = agree(kind(3, 4, batch_first=True, **options), torch.randn(2, 6, 3), lambda m, x: total(m(x)[0]))
    assert record[""].signal


def test_packed_sequences(agree: Agree) -> None:
    packed = rnn.pack_padded_sequence(torch.randn(3, 6, 3), torch.tensor([6, 4, 2]), batch_first=True)
    record = agree(nn.LSTM(3, 4, batch_first=True), packed, lambda m, x: total(m(x)[0].data))
    assert record[""].signal
    assert record[""].gain is None


def test_a_lazy_model_is_measured_and_stays_lazy(measured: Measured) -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(2))
    record = measured(model, torch.randn(5, 3), loss=total)
    assert [(layer.parameters, bool(layer.norm)) for layer in record] == [(16, True), (8, True), (10, True)]
    assert all(nn.parameter.is_lazy(parameter) for parameter in model.parameters())
    assert all(isinstance(model[i], nn.modules.lazy.LazyModuleMixin) for i in (0, 1, 3))


def test_a_lazy_model_is_initialised_as_the_seed_says(measured: Measured, norms: Norms) -> None:
    x = torch.randn(5, 3)
    torch.manual_seed(7)
    eager = nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(2))
    eager(x)
    record = measured(nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(2)), x, loss=total, seed=7)
    expected = norms(eager, total(eager(x)))
    assert record["0"].norm == pytest.approx(math.hypot(expected["0.weight"], expected["0.bias"]))


def test_parameters_without_elements(measured: Measured) -> None:
    class Hollow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nothing = nn.Parameter(torch.empty(0))
            self.empty = nn.Module()
            self.empty.weight = nn.Parameter(torch.empty(0, 3))
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.layer(x) + self.nothing.sum()
            return output

    (layer,) = measured(Hollow(), torch.randn(4, 3), loss=total)
    assert (layer.name, layer.parameters, layer.missing) == ("layer", 8, ())


@pytest.mark.parametrize("container", [nn.ParameterList, nn.ParameterDict])
def test_parameter_containers(agree: Agree, container: type[nn.Module]) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            weights = [torch.randn(3, 3), torch.randn(3, 3)]
            self.weights = nn.ParameterList(weights) if container is nn.ParameterList else nn.ParameterDict()
            if isinstance(self.weights, nn.ParameterDict):
                self.weights.update({"a": nn.Parameter(weights[0]), "b": nn.Parameter(weights[1])})
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            for weight in self.weights.values() if container is nn.ParameterDict else self.weights:
                x = torch.tanh(x @ weight)
            output: Tensor = self.head(x)
            return output

    record = agree(Model(), torch.randn(4, 3))
    assert record["weights"].parameters == 18
    assert record["weights"].order is None


@pytest.mark.parametrize(
    "parametrise", [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal]
)
def test_parametrisations(agree: Agree, parametrise: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 4), parametrise(nn.Linear(4, 4)), nn.Linear(4, 2)).double()
    with torch.no_grad():
        for _ in range(60):  # until the power iteration of the spectral norm stands still
            model(torch.ones(1, 4).double())
    record = agree(model, torch.randn(5, 4).double())
    assert record["1.parametrizations.weight"].norm
    # It makes a weight and is no step of the signal: the gain passes over it.
    assert record["1.parametrizations.weight"].gain is None
    assert record["1"].gain == pytest.approx((record["0"].signal or 0) / (record["1"].signal or 1))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
def test_old_style_weight_normalisation(agree: Agree) -> None:
    record = agree(nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2)), torch.randn(5, 4))
    assert record["0"].parameters == 16 + 4 + 4


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3))
        self.shared = nn.Linear(4, 4)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = self._run(lambda x, block=block: self.shared(block(x)), x)
        return x

    def _run(self, block: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return block(x) if self.reentrant is None else checkpoint(block, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_gives_the_same_record_as_none(measured: Measured, reentrant: bool) -> None:
    """Even where one weight is in several checkpointed parts, whose gradients come one by one."""
    plain, checkpointed = Checkpointed(None), Checkpointed(reentrant)
    checkpointed.load_state_dict(plain.state_dict())
    x = torch.randn(5, 4)
    expected, found = measured(plain, x, loss=total), measured(checkpointed, x, loss=total)
    assert found.names == expected.names
    for layer, reference in zip(found, expected, strict=True):
        assert layer.norm == pytest.approx(reference.norm, rel=1e-5), layer.name
        assert layer.signal == pytest.approx(reference.signal, rel=1e-5), layer.name
        if not reentrant:  # which hides the graph of its segments: there the order of calls stands for the way
            assert layer.gain == (reference.gain if reference.gain is None else pytest.approx(reference.gain, rel=1e-5))
        assert (layer.dead, layer.units, layer.missing) == (reference.dead, reference.units, reference.missing)


def test_batch_norm_is_measured_in_training_mode(agree: Agree) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[1].running_var.fill_(1e6)  # evaluation mode would divide by this
    agree(model, torch.randn(6, 3))


def test_a_transposed_weight_and_groups(agree: Agree) -> None:
    agree(nn.Sequential(nn.Conv1d(4, 8, 3, groups=2), nn.ConvTranspose1d(8, 4, 3, groups=4)), torch.randn(2, 4, 9))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_scripted_child_is_measured_by_its_parameters(agree: Agree) -> None:
    record = agree(nn.Sequential(nn.Linear(3, 3), torch.jit.script(nn.Linear(3, 3))), torch.randn(2, 3))
    assert record["1"].order is None


def test_a_thousand_modules_cost_no_more_operations_each_than_a_hundred(measured: Measured) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += 1
            return func(*args, **(kwargs or {}))

    def operations(depth: int) -> int:
        model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(depth)))
        with Counter() as counter:
            measured(model, torch.ones(1, 2), loss=total)
        return counter.count

    assert operations(1000) / 1000 <= operations(100) / 100
