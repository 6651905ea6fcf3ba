"""Each rule on records made by hand and on real models, sick and healthy by design."""

from __future__ import annotations

import copy
import importlib
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import (
    CLASSES,
    HEALTHY,
    SICK,
    WIDTH,
    Apply,
    Attention,
    Recurrent,
    Residual,
    chain,
    conv_bn,
    encoder,
    examined,
    images,
    initialised,
    kinds,
    relu_mlp,
    rows,
    sequences,
    sigmoid_stack,
)
from torch import Tensor, nn

from pytest_gradhealth import Limits
from pytest_gradhealth.judge.remarks import designed
from pytest_gradhealth.judge.rules import judge
from pytest_gradhealth.record import Check, Finding, GradientRecord, LayerGradient, Signal

BATCHES = [rows(seed=1), rows(seed=2)]

# --- by hand -----------------------------------------------------------------------------------------------------


def layer(number: int, **fields: Any) -> LayerGradient:
    usual: dict[str, Any] = {
        "kind": "Linear",
        "order": 2 * number,
        "parameters": 600,
        "trainable": 600,
        "shape": (24, 24),
        "norm": 0.1,
        "weight_norm": 5.0,
        "sensitivity": 0.5,
        "reach": 1.0,
        "signal": 0.1,
        "gain": 1.0,
        "units": 24,
    }
    return LayerGradient(name=f"fc{number}", **{**usual, **fields})


def signal(number: int, **fields: Any) -> Signal:
    usual: dict[str, Any] = {"gradient": 0.1, "returned": 0.1, "rms": 1.0, "peak": 3.0, "samples": 0.8, "size": 192}
    return Signal(name=f"fc{number}", kind="Linear", order=2 * number, **{**usual, "low": -3.0, "high": 3.0, **fields})


def record(layers: list[LayerGradient] | None = None, **fields: Any) -> GradientRecord:
    own = [layer(number) for number in range(8)] if layers is None else layers
    signals = tuple(signal(number) for number in range(len(own)))
    return GradientRecord(
        **{"model": "Net", "loss": 1.6, "samples": 8, "batches": 2, "layers": tuple(own), "signals": signals, **fields}
    )


def changed(number: int, **fields: Any) -> list[LayerGradient]:
    return [layer(n, **(fields if n == number else {})) for n in range(8)]


def found(given: GradientRecord, **limits: Any) -> list[Finding]:
    return list(judge(given, Limits(**limits)))


def test_a_healthy_record_has_no_finding() -> None:
    assert found(record()) == []


def test_vanishing_is_judged_by_the_reach_of_the_first_quarter() -> None:
    fading = [layer(n, reach=10.0 ** (n - 7), gain=0.1) for n in range(8)]
    (finding,) = found(record(fading))
    assert finding.kind == "vanishing"
    assert finding.value == pytest.approx(1e-6)
    assert finding.limit_name == "min_reach"
    assert finding.gate
    assert found(record(fading), min_reach=1e-7) == []
    assert found(record(fading), min_reach=None) == []


def test_one_weak_layer_between_strong_ones_is_no_fault() -> None:
    assert found(record(changed(3, norm=1e-9, sensitivity=1e-9))) == []


def test_a_single_lossy_layer_is_named_alone() -> None:
    lost = [layer(n, reach=1e-6 if n < 4 else 1.0, gain=1e-6 if n == 4 else 1.0) for n in range(8)]
    (finding,) = found(record(lost))
    assert finding.layers == ("fc4",)


def test_nan_in_one_layer_hides_every_other_finding() -> None:
    sick = [replace(x, reach=1e-9) for x in changed(2, nan=3, norm=math.nan)]
    (finding,) = found(record(sick))
    assert finding.kind == "non-finite"
    assert finding.layer == "fc2"


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_a_finding(loss: float) -> None:
    assert [finding.kind for finding in found(record(loss=loss))] == ["non-finite"]


def test_masked_logits_are_no_fault_while_the_loss_is_finite() -> None:
    signals = tuple(signal(n, bad=12 if n == 7 else 0) for n in range(8))
    assert found(record(signals=signals)) == []


def test_the_users_own_limits_hold_exactly() -> None:
    assert found(record(), min_norm=0.1, max_norm=0.1) == []
    weak, strong = found(record(changed(1, norm=0.01)), min_norm=0.05), found(record(), max_norm=0.05)
    assert [(f.kind, f.layer, f.limit_name) for f in weak] == [("vanishing", "fc1", "min_norm")]
    assert {f.limit_name for f in strong} == {"max_norm"}
    assert len(strong) == 8


def test_max_ratio_compares_strongest_and_weakest() -> None:
    (finding,) = found(record(changed(1, norm=0.001)), max_ratio=50)
    assert finding.kind == "ratio"
    assert finding.layers[0] == "fc1"
    assert finding.value == pytest.approx(100)
    assert found(record(changed(1, norm=0.001)), max_ratio=101) == []
    assert found(record(changed(1, norm=0.001))) == []


def test_an_ignored_layer_is_not_judged() -> None:
    sick = record(changed(1, norm=None, missing=("weight",)))
    assert [f.kind for f in found(sick)] == ["missing"]
    assert found(sick, ignore=["fc1"]) == []


def test_a_finding_that_a_gate_explains_stands_only_if_the_second_look_confirms_it() -> None:
    closed = record([layer(n, norm=0.0, sensitivity=0.0, reach=0.0) if n < 3 else layer(n) for n in range(8)])
    assert "dead" in {f.kind for f in found(closed)}
    assert found(replace(closed, later=record(steps=1))) == []
    assert "dead" in {f.kind for f in found(replace(closed, later=replace(closed, steps=8)))}


def test_what_explodes_may_be_infinite_in_the_second_look() -> None:
    steep = record(changed(2, sensitivity=1e5))
    assert [f.kind for f in found(steep)] == ["exploding"]
    assert [f.kind for f in found(replace(steep, later=record(loss=math.inf, steps=1)))] == ["exploding"]
    assert found(replace(steep, later=record(steps=1))) == []


def test_of_several_dead_layers_those_are_named_that_stay_dead() -> None:
    first = record([layer(n, norm=0.0, sensitivity=0.0) if n in (3, 5) else layer(n) for n in range(8)])
    later = record(changed(3, norm=0.0, sensitivity=0.0), steps=8)
    (finding,) = found(replace(first, later=later))
    assert finding.layers == ("fc3",)


def test_a_block_that_owns_parameters_may_be_silent_itself() -> None:
    names = ("blocks.0", "blocks.0.fc", "blocks.1", "blocks.1.fc", "head")
    layers = [replace(layer(i, norm=0.0 if name == "blocks.1" else 0.1), name=name) for i, name in enumerate(names)]
    assert [finding.layer for finding in found(record(layers))] == ["blocks.1"]


def test_alike_units_are_the_cause_and_not_the_vanishing_they_bring() -> None:
    given = record([layer(n, alike=True, reach=1e-7 if n < 4 else 1.0) for n in range(8)])
    assert [f.kind for f in found(given)] == ["symmetric"]


def test_a_frozen_record_says_nothing() -> None:
    frozen = [layer(n, trainable=0, norm=None) for n in range(7)]
    given = record([*frozen, layer(7)])
    assert found(given) == []
    assert set(designed(given, Limits()).values()) == {"frozen"}


def test_a_record_without_layers_says_nothing() -> None:
    assert found(record([])) == []


def test_an_infinite_norm_of_one_layer_does_not_break_the_others() -> None:
    given = record(changed(7, norm=math.inf, inf=4, sensitivity=math.inf))
    assert [f.kind for f in found(given)] == ["non-finite"]


# --- real models: sick -------------------------------------------------------------------------------------------


def only(check: Check, kind: str) -> Finding:
    """The only finding, which is of this kind."""
    assert kinds(check) == [kind], [finding.message for finding in check.findings]
    return check.findings[0]


def test_vanishing_a_sigmoid_stack() -> None:
    finding = only(examined(sigmoid_stack, BATCHES), "vanishing")
    assert "12 Sigmoid layers" in finding.cause
    assert "slope is at most 0.25" in finding.cause


def test_vanishing_at_one_place_is_named_there() -> None:
    build = lambda: chain(10, nn.Tanh, {4: [Apply(lambda x: x * 1e-7)]})  # noqa: E731
    finding = only(examined(build, BATCHES), "vanishing")
    assert finding.layers in (("8",), ("11",))  # the layers on either side of it


@pytest.mark.parametrize("steps", [120, 200])
def test_forgetting_a_long_vanilla_rnn(steps: int) -> None:
    batches = [sequences(seed=1, length=steps), sequences(seed=2, length=steps)]
    finding = examined(lambda: Recurrent(nn.RNN), batches).findings[0]
    assert finding.kind == "vanishing"
    assert finding.layer == "rnn"
    assert f"{steps} steps" in finding.message
    assert not kinds(examined(lambda: Recurrent(nn.LSTM, forget=5.0), batches))
    strict = examined(lambda: Recurrent(nn.LSTM), batches, min_carry=1e-5)
    assert kinds(strict) == ["vanishing"]  # gates that start half open are judged on request only
    assert not kinds(examined(lambda: Recurrent(nn.LSTM), batches))


@pytest.mark.parametrize(("bias", "alarm"), [(0.0, False), (-1.0, False), (-12.0, True)])
def test_forgetting_through_shut_gates(bias: float, alarm: bool) -> None:
    batches = [sequences(seed=1, length=12), sequences(seed=2, length=12)]
    check = examined(lambda: Recurrent(nn.LSTM, forget=bias), batches)
    assert kinds(check) == (["vanishing"] if alarm else [])
    if alarm:
        assert check.findings[0].layer == "rnn"
        assert "shut" in check.findings[0].cause
        assert not kinds(examined(lambda: Recurrent(nn.LSTM, forget=bias), batches, min_carry=None))


class Stepwise(nn.Module):
    """A cell called once for each step, with the state handed on or not."""

    def __init__(self, kind: type[nn.Module], handed: bool = True, read: int = -1) -> None:
        super().__init__()
        self.cell, self.head = kind(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.handed, self.read = handed, read

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for t in range(x.shape[1]):
            given = x[:, t] if isinstance(self.cell, nn.RNNCellBase) else x[:, t : t + 1]
            result = self.cell(given, state if self.handed else None)
            state = result[-1] if isinstance(result, tuple) and not isinstance(self.cell, nn.LSTMCell) else result
            outputs.append(result[0] if isinstance(result, tuple) else result)
        output: Tensor = self.head(outputs[self.read].reshape(len(x), WIDTH))
        return output


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_state_that_is_forgotten(kind: type[nn.Module]) -> None:
    batch = [sequences(seed=1, length=5)]
    assert not kinds(examined(lambda: Stepwise(kind), batch))
    for sick in (Stepwise(kind, handed=False), Stepwise(kind, read=0)):
        finding = only(examined(sick, batch), "dead")
        assert finding.layer == "cell"
        assert "weight_hh" in finding.message
    assert not kinds(examined(lambda: Stepwise(kind, handed=False), [sequences(seed=1, length=1)]))


def test_a_module_called_step_by_step_without_its_state() -> None:
    build = lambda **how: nn.Sequential(Stepwise(partial(nn.LSTM, batch_first=True), **how))  # type: ignore[arg-type]  # noqa: E731
    assert only(examined(build(handed=False), [sequences(length=5)]), "dead").layer == "0.cell"


def test_a_short_rnn_may_forget() -> None:
    assert not kinds(examined(lambda: Recurrent(nn.RNN), [sequences(length=30)]))


def test_collapse_of_tokens_in_an_encoder_without_skip_connections() -> None:
    finding = examined(lambda: encoder(12, skip=False), [sequences(seed=1), sequences(seed=2)]).findings[0]
    assert finding.kind in ("collapse", "vanishing")
    assert not kinds(examined(lambda: encoder(12), [sequences(seed=1), sequences(seed=2)]))


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_collapse_that_the_noise_of_dropout_hides(dropout: float) -> None:
    batches = [sequences(seed=1), sequences(seed=2)]
    finding = examined(lambda: encoder(12, skip=False, dropout=dropout), batches).findings[0]
    assert finding.kind in ("collapse", "vanishing")
    assert not kinds(examined(lambda: encoder(12, dropout=dropout), batches))


class Otherwise(nn.Module):
    """What evaluates otherwise than it trains."""

    def __init__(self, otherwise: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.drop, self.norm, self.otherwise = nn.Dropout(0.1), nn.BatchNorm1d(WIDTH), otherwise

    def forward(self, x: Tensor) -> Any:
        x = self.drop(self.norm(self.body(x)).relu())
        return self.head(x) if self.training else self.otherwise(x)


def refuses(x: Tensor) -> Any:
    warnings.warn("not like this", stacklevel=1)
    raise ValueError("no evaluation without a checkpoint")


@pytest.mark.parametrize("otherwise", [refuses, lambda x: {"classes": x.argmax(-1)}, lambda x: x[:, :CLASSES] * 0])
def test_a_model_that_evaluates_otherwise_is_judged_as_it_trains(otherwise: Callable[[Tensor], Any]) -> None:
    model = Otherwise(otherwise)
    before = copy.deepcopy(model.state_dict())
    with warnings.catch_warnings(action="error"):
        assert not kinds(examined(model, BATCHES))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("where", "named"), [(0, ("0", "2")), (2, ("4", "6")), (3, ("6", "8"))])
def test_collapse_of_samples_where_the_batch_is_averaged_away(where: int, named: tuple[str, str]) -> None:
    build = lambda: chain(4, nn.ReLU, {where: [Apply(lambda x: x.mean(0, keepdim=True).expand_as(x))]})  # noqa: E731
    finding = only(examined(build, BATCHES), "collapse")
    assert "samples" in finding.message
    assert finding.layer in named  # the layers on either side of it


def test_exploding_saturated_tanh() -> None:
    finding = only(examined(*SICK["exploding tanh"][:1], BATCHES), "exploding")
    assert "Tanh layers are saturated" in finding.cause


@pytest.mark.parametrize("factor", [4.0, 10.0, 100.0])
def test_exploding_large_weights(factor: float) -> None:
    build = lambda: initialised(chain(8, nn.ReLU), lambda w: nn.init.normal_(w, std=factor * WIDTH**-0.5))  # noqa: E731
    assert examined(build, BATCHES).findings[0].kind == "exploding"


def loud(std: float) -> Callable[[], nn.Module]:
    """A head whose first logits are this far apart, for inputs of deviation 1."""
    return lambda: initialised(nn.Sequential(nn.Linear(WIDTH, CLASSES)), lambda w: nn.init.normal_(w, std=std / 5))


@pytest.mark.parametrize(("std", "alarm"), [(1.0, False), (20.0, False), (1000.0, True)])
@pytest.mark.parametrize("factor", [1e-6, 1.0])
def test_exploding_at_birth(std: float, alarm: bool, factor: float) -> None:
    check = examined(loud(std), BATCHES, loss=lambda output, target: factor * F.cross_entropy(output, target))
    assert kinds(check) == (["exploding"] if alarm else [])
    if alarm:
        assert "times that of a guess" in check.findings[0].message
        assert not kinds(examined(loud(std), BATCHES, max_surprise=None))


def test_padding_and_pixels_do_not_surprise() -> None:
    draw = torch.Generator().manual_seed(0)
    target = torch.randint(CLASSES, (8, 12, 12), generator=draw).masked_fill(torch.rand(8, 12, 12) < 0.5, -100)
    images = torch.randn(8, 3, 12, 12, generator=draw)
    loss = lambda output, target: F.cross_entropy(output, target, label_smoothing=0.1)  # noqa: E731
    check = examined(lambda: nn.Conv2d(3, CLASSES, 1), [(images, target)], loss=loss)
    assert not kinds(check)
    assert check.record.objective
    assert check.record.objective.surprise == pytest.approx(1.0, abs=0.2)


def wide_tanh(scale: float, activation: Callable[[], nn.Module] = nn.Tanh) -> Callable[[], nn.Module]:
    """Four bounded layers, each of which is given values of this deviation."""
    norm = lambda: nn.Sequential(nn.LayerNorm(WIDTH), Apply(lambda x: x * scale), activation())  # noqa: E731
    return lambda: chain(4, norm)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Hardtanh])
def test_saturated_activations_behind_a_normalisation(activation: Callable[[], nn.Module]) -> None:
    finding = only(examined(wide_tanh(20.0, activation), BATCHES), "saturated")
    assert f"4 {activation.__name__} modules" in finding.message
    assert set(finding.layers) <= {f"{2 * i + 1}.0" for i in range(4)}
    assert not kinds(examined(wide_tanh(20.0, activation), BATCHES, max_flat=None))
    assert not kinds(examined(wide_tanh(1.0, activation), BATCHES))


def test_saturated_gates_are_no_fault() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value, self.gate, self.shut = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Sigmoid()
            nn.init.constant_(self.gate.bias, 12.0)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = x + self.value(x) * self.shut(self.gate(x))
            return output

    assert not kinds(examined(blocks(Gated, 4), BATCHES))


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.BatchNorm1d, nn.RMSNorm])
@pytest.mark.parametrize(("eps", "alarm"), [(1e-5, False), (1e-2, False), (1e6, True)])
def test_faint_behind_normalisations_that_do_not_normalise(norm: Any, eps: float, alarm: bool) -> None:
    branch = lambda: Residual(norm(WIDTH, eps=eps), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))  # noqa: E731
    check = examined(blocks(branch, 4), [rows(16, seed=1), rows(16, seed=2)])
    assert kinds(check) == (["faint"] if alarm else [])
    if alarm:
        assert check.findings[0].layer == "1.branch.0"
        assert "eps" in check.findings[0].cause


@pytest.mark.parametrize(("factor", "alarm"), [(1e-6, False), (1e-12, True)])
def test_faint_gradients_that_the_optimiser_drowns(factor: float, alarm: bool) -> None:
    check = examined(relu_mlp, BATCHES, loss=lambda output, target: factor * F.cross_entropy(output, target))
    assert kinds(check) == (["faint"] if alarm else [])
    if alarm:
        assert check.findings[0].limit_name == "min_gradient"


def test_faint_a_saturated_read_out() -> None:
    build = lambda: nn.Sequential(relu_mlp(), Apply(lambda x: torch.softmax(x * 1e4, -1)))  # noqa: E731
    assert kinds(examined(build, BATCHES))


def test_faint_rounding_noise_that_comes_and_goes_redeems_nothing() -> None:
    """A single output over its own size is 1 or -1, whatever the weights."""
    draw = torch.Generator().manual_seed(0)
    batches = [(torch.randn(8, WIDTH, generator=draw), torch.randn(8, 1, generator=draw)) for _ in range(2)]
    build = lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))  # noqa: E731
    step = lambda model, batch: F.mse_loss(F.normalize(model(batch[0]), dim=-1), batch[1])  # noqa: E731
    for seed in range(5):
        assert kinds(examined(build, batches, seed=seed, step=step)) == ["faint"]


def test_faint_cold_logits_stay_cold() -> None:
    build = lambda: nn.Sequential(relu_mlp(), Apply(lambda x: x * 1e-9))  # noqa: E731
    check = examined(build, BATCHES)
    assert set(kinds(check)) & {"faint", "collapse", "vanishing", "dim"}, kinds(check)


@pytest.mark.parametrize("where", [0, 2, 5])
def test_dead_layers_behind_a_rectifier_that_is_always_off(where: int) -> None:
    def build() -> nn.Module:
        model = relu_mlp()
        nn.init.constant_(model.get_submodule(f"{2 * where}").bias, -100.0)  # type: ignore[arg-type]
        return model

    finding = examined(build, BATCHES).findings[0]
    assert finding.kind == "dead"
    assert finding.layer == f"{2 * where}"  # those behind it are silent too: they are given nothing but zeros


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dead_layers_behind_gates_that_are_all_but_shut(dtype: torch.dtype) -> None:
    def build(bias: float) -> nn.Module:
        torch.manual_seed(0)
        return blocks(lambda: Highway(bias), 4)().to(dtype)

    batches = [rows(seed=seed, dtype=dtype) for seed in (1, 2)]
    assert not kinds(examined(build(-3.0), batches))
    shut = kinds(examined(build(-32.0), batches))
    assert shut == (["dead"] if dtype == torch.float32 else [])  # float64 tells such numbers from rounding noise


class Highway(nn.Module):
    def __init__(self, bias: float) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x).sigmoid()
        output: Tensor = gate * self.value(x).relu() + (1 - gate) * x
        return output


def test_dead_units_of_one_layer() -> None:
    def build() -> nn.Module:
        model = chain(3, nn.ReLU)
        with torch.no_grad():
            model[2].bias[:22] = -100.0
        return model  # type: ignore[no-any-return]

    finding = only(examined(build, BATCHES), "dead")
    assert finding.layers == ("2",)
    assert (finding.value or 0) >= 22 / 24
    assert "ReLU" in finding.cause or "relu" in finding.cause


def with_biases(value: float, count: int, *behind: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A stack in which so many units of one module have this bias."""

    def build() -> nn.Module:
        made = [module() for module in behind]
        model = nn.Sequential(nn.Linear(WIDTH, WIDTH), *made, nn.ReLU(), nn.Linear(WIDTH, CLASSES))
        with torch.no_grad():
            model[len(behind)].bias[:count] = value  # type: ignore[index, operator]
        return model

    return build


@pytest.mark.parametrize("behind", [[], [lambda: nn.BatchNorm1d(WIDTH)]], ids=["linear", "batch norm"])
def test_dead_units_that_a_bias_holds_shut(behind: list[Callable[[], nn.Module]]) -> None:
    finding = only(examined(with_biases(-10.0, 17, *behind), BATCHES), "dead")
    assert finding.layers == ("0",)
    assert "biases" in finding.cause
    assert not kinds(examined(with_biases(-10.0, 10, *behind), BATCHES))
    assert not kinds(examined(with_biases(-10.0, 17, *behind), BATCHES, max_dead=0.95))


class Columns(nn.Module):
    """A weight and a bias of two dimensions each for every column of a table, most of which nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(WIDTH, 4)), nn.Parameter(torch.randn(WIDTH, 4))
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head((x.unsqueeze(-1) * self.weight + self.bias)[:, :5].mean(1))
        return output


def test_a_bias_of_two_dimensions_holds_nothing_shut() -> None:
    assert not kinds(examined(Columns, BATCHES))


def test_units_that_a_batch_leaves_out_are_not_held_shut() -> None:
    assert not kinds(examined(with_biases(-2.0, 17), [rows(size=4, seed=1)]))


@pytest.mark.parametrize(("p", "alarm"), [(0.5, False), (0.9, False), (0.95, True), (0.99, True)])
def test_a_dropout_that_leaves_next_to_nothing(p: float, alarm: bool) -> None:
    check = examined(lambda: chain(3, nn.ReLU, {1: [nn.Dropout(p)]}), BATCHES)
    assert [f.layer for f in check.findings if "drops" in f.message] == (["4"] if alarm else [])
    assert not kinds(examined(lambda: chain(3, nn.ReLU, {1: [nn.Dropout(0.95)]}), BATCHES, ignore=["4"]))


class Hooked(nn.Module):
    """A hook on the gradient of a residual stream, right in front of the next block's normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.block = Residual(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = 1.0 * self.stem(x)
        if x.requires_grad:
            x.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
        output: Tensor = self.head(self.block(x))
        return output


def test_dead_layers_behind_a_hook_that_a_normalisation_does_not_excuse() -> None:
    assert only(examined(Hooked, BATCHES), "dead").layers == ("stem",)


class Clamped(nn.Module):
    """Indices that are all cut down to the same row."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.words, self.body = nn.Embedding(50, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        output: Tensor = self.head(self.body(self.words(ids.clamp(max=self.most))).relu().mean(1))
        return output


def test_collapse_of_indices() -> None:
    draw = torch.Generator().manual_seed(0)
    batch = torch.randint(50, (8, 6), generator=draw), torch.randint(CLASSES, (8,), generator=draw)
    assert only(examined(lambda: Clamped(0), [batch]), "collapse").layer == "words"
    assert not kinds(examined(lambda: Clamped(49), [batch]))
    alike = torch.ones(8, 6, dtype=torch.int64), batch[1]
    assert not kinds(examined(lambda: Clamped(0), [alike]))


@pytest.mark.parametrize("operation", [torch.round, torch.sign, lambda x: x.clamp(5.0, 6.0) * 0 + x * 0])
def test_dead_layers_in_front_of_a_step(operation: Callable[[Tensor], Tensor]) -> None:
    finding = examined(lambda: chain(4, nn.Tanh, {1: [Apply(operation)]}), BATCHES).findings[0]
    assert finding.kind == "dead"
    assert finding.layer in ("2", "4", "5")


@pytest.mark.parametrize(
    "layers",
    [
        [Apply(lambda x: x * 0), nn.LayerNorm(WIDTH)],
        [Apply(lambda x: F.dropout(x, 1.0)), nn.BatchNorm1d(WIDTH)],
        [Apply(lambda x: x * 1e6), nn.Softmax(-1)],
    ],
    ids=["erased before LayerNorm", "dropped before BatchNorm", "saturated Softmax"],
)
def test_dead_layers_in_front_of_a_normalisation_that_is_given_nothing(layers: list[nn.Module]) -> None:
    finding = examined(lambda: chain(4, nn.Tanh, {1: layers}), BATCHES).findings[0]
    assert finding.kind == "dead"
    assert finding.layer == "2"


def test_what_a_plain_mean_of_a_normalised_output_sends_back_is_not_judged() -> None:
    build = lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 8), nn.LayerNorm(8))  # noqa: E731
    check = examined(build, BATCHES, step=lambda model, batch: model(batch[0]).mean())
    assert not check.findings
    assert any("does not depend on what '3'" in note for note in check.record.notes)


# --- real models: missing ----------------------------------------------------------------------------------------


class Branches(nn.Module):
    """A network with something left out of it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.stem, self.body, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.block = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.scale = nn.Parameter(torch.ones(WIDTH)) if how == "parameter" else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        if self.how == "no_grad":
            with torch.no_grad():
                x = self.body(x).relu()
        elif self.how == "argmax":
            x = F.one_hot(self.body(x).argmax(-1), WIDTH).float()
        elif self.how == "data":
            x = self.body(x).relu().data
        elif self.how == "numpy":
            x = torch.from_numpy(self.body(x).relu().detach().numpy())
        else:
            x = self.body(x).relu()
        if self.how == "unused output":
            self.block(x)
        elif self.how not in ("skipped", "unused layer"):
            x = x + self.block(x)
        output: Tensor = self.head(x)
        return output


def test_missing_names_the_line_that_detaches() -> None:
    finding = only(examined(*SICK["detach"][:1], BATCHES), "missing")
    assert finding.layer == "4"
    assert finding.layers == ("4", "0", "2")
    assert "detach() at networks.py:" in finding.cause


LIBRARY = """
import torch
from torch import nn

class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.pooler = nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 24)

    def forward(self, x):
        x = self.second(self.first(x).relu()).relu()
        return x, self.pooler(x)

class Choosing(nn.Module):
    # chooses among what is there so far: in the beginning a single thing
    def __init__(self):
        super().__init__()
        self.scores = nn.ModuleList(nn.Linear(24, 1) for _ in range(3))
        self.layers = nn.ModuleList(nn.Linear(24, 24) for _ in range(3))

    def forward(self, x):
        seen = [x]
        for score, layer in zip(self.scores, self.layers):
            weights = torch.stack([score(one) for one in seen]).softmax(0)
            seen.append(layer((weights * torch.stack(seen)).sum(0)).relu())
        return seen[-1]
"""


class Ungraphed(nn.Module):
    """A user's model around a bought trunk."""

    def __init__(self, trunk: nn.Module, way: str) -> None:
        super().__init__()
        self.trunk, self.way, self.head = trunk, way, nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.way != "no_grad"):
            hidden = self.trunk(x)[0]
        self.watched = hidden.detach().mean()  # a cut that costs nothing
        output: Tensor = self.head(hidden.detach() if self.way == "detach" else hidden)
        return output


@contextmanager
def installed(folder: Path) -> Iterator[Any]:
    """Classes that come with a package."""
    file = folder / "site-packages" / "backbones.py"
    file.parent.mkdir()
    file.write_text(LIBRARY)
    sys.path.insert(0, str(file.parent))
    try:
        yield importlib.import_module("backbones")
    finally:
        sys.path.remove(str(file.parent))
        del sys.modules["backbones"]


@pytest.mark.parametrize("way", ["detach", "no_grad"])
def test_missing_where_the_user_cuts_off_an_installed_trunk(way: str, tmp_path: Path) -> None:
    with installed(tmp_path) as library:
        check = examined(lambda: Ungraphed(library.Backbone(), way), BATCHES)
    finding = check.findings[0]
    assert finding.kind == "missing"
    assert {"trunk.first", "trunk.second"} <= set(finding.layers)
    assert way in finding.cause
    assert "test_rules.py:" in finding.cause


def test_an_installed_choice_among_one_is_no_fault(tmp_path: Path) -> None:
    with installed(tmp_path) as library:
        check = examined(lambda: nn.Sequential(library.Choosing(), nn.Linear(WIDTH, CLASSES)), BATCHES)
    assert not kinds(check)
    assert check.designed["0.scores.0"] == "not used by this model"


@pytest.mark.parametrize("cut", [True, False])
def test_missing_below_an_installed_backbone_that_has_a_part_nobody_asked_for(cut: bool, tmp_path: Path) -> None:
    with installed(tmp_path) as library:
        build = lambda: nn.Sequential(  # noqa: E731
            library.Backbone(), Apply(lambda both: both[0].detach() if cut else both[0]), nn.Linear(WIDTH, CLASSES)
        )
        check = examined(build, BATCHES)
    assert check.designed["0.pooler"] == "not used by this model"
    assert [finding.layers for finding in check.findings] == ([("0.second", "0.first")] if cut else [])


@pytest.mark.parametrize(
    ("how", "layer", "word"),
    [
        ("no_grad", "body", "no_grad"),
        ("argmax", "body", "argmax"),
        ("data", "body", "graph"),
        ("numpy", "body", "detach()"),
        ("skipped", "block.0", "never called"),
        ("unused output", "block.0", "nothing on the way to the loss uses its output"),
    ],
)
def test_missing_tells_what_cuts_a_layer_off(how: str, layer: str, word: str) -> None:
    finding = only(examined(lambda: Branches(how), BATCHES), "missing")
    assert finding.layer == layer
    assert word in finding.cause
    if how in ("no_grad", "argmax", "data", "numpy"):
        assert "test_rules.py:" in finding.cause
        assert set(finding.layers) == {"stem", "body"}
    else:
        assert set(finding.layers) == {"block.0", "block.2"}


class Nested(nn.Module):
    """Two blocks of an attention and what comes behind it; ``forgotten`` blocks leave their attention out."""

    def __init__(self, forgotten: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"attend": nn.Sequential(Attention(), nn.LayerNorm(WIDTH)), "think": nn.Linear(WIDTH, WIDTH)})
            for _ in range(3)
        )
        self.head, self.forgotten = nn.Linear(WIDTH, CLASSES), forgotten

    def forward(self, x: Tensor) -> Tensor:
        for number, block in enumerate(self.blocks):
            x = x if number in self.forgotten else x + block["attend"](x)  # type: ignore[index]
            x = x + block["think"](x).relu()  # type: ignore[index]
        output: Tensor = self.head(x.mean(1))
        return output


def test_missing_names_the_module_that_was_left_out_as_a_whole() -> None:
    findings = examined(lambda: Nested((0, 2)), [sequences()]).findings
    assert [finding.kind for finding in findings] == ["missing"] * 2
    for finding, number in zip(findings, (0, 2), strict=True):
        assert f"'blocks.{number}.attend' never receives a gradient (5 layers in all)" in finding.message
        assert f"'blocks.{number}.attend' is never called" in finding.cause
        assert all(name.startswith(f"blocks.{number}.attend.") for name in finding.layers)


def test_missing_a_single_parameter() -> None:
    finding = only(examined(lambda: Branches("parameter"), BATCHES), "missing")
    assert finding.layer == ""
    assert "scale" in finding.message


class Nothing(torch.autograd.Function):
    """A custom backward that sends nothing back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        return None


def force(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss of an energy's negative slope, as that of molecular force fields."""
    place = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(place).sum(), place, create_graph=True)
    return F.mse_loss(-slope, torch.zeros_like(slope))


def test_a_last_bias_of_which_the_loss_takes_the_slope() -> None:
    check = examined(lambda: chain(2, nn.Tanh), BATCHES, step=force)
    assert not kinds(check)
    assert "derivative" in check.designed["4"]


def test_missing_a_bias_behind_a_tied_weight() -> None:
    def build() -> nn.Module:
        model = chain(2, nn.Tanh)
        model[2].weight = model[0].weight
        return model  # type: ignore[no-any-return]

    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x = model[0](batch[0]).detach()  # type: ignore[operator, index]
        return F.cross_entropy(model[4](model[2](x)), batch[1])  # type: ignore[operator, index]

    assert only(examined(build, BATCHES, step=step), "missing").layers == ("0",)


def test_missing_where_a_custom_backward_sends_nothing_back() -> None:
    check = examined(lambda: chain(4, nn.ReLU, {1: [Apply(Nothing.apply)]}), BATCHES)
    assert set(kinds(check)) == {"missing"}
    assert {name for finding in check.findings for name in finding.layers} == {"0", "2"}


def test_missing_where_a_new_tensor_is_made_of_values() -> None:
    copied = lambda x: torch.tensor(x.tolist(), requires_grad=True)  # noqa: E731
    finding = only(examined(lambda: chain(4, nn.ReLU, {1: [Apply(copied)]}), BATCHES), "missing")
    assert finding.layer == "2"
    assert "tolist" in finding.cause


def test_missing_a_loss_without_a_graph() -> None:
    step = lambda model, batch: F.cross_entropy(model(batch[0]).detach(), batch[1])  # noqa: E731
    assert "missing" in kinds(examined(relu_mlp, BATCHES, step=step))


# --- real models: not finite -------------------------------------------------------------------------------------


def test_non_finite_only_in_backward_names_the_first_layer() -> None:
    finding = only(examined(*SICK["nan in backward"][:1], BATCHES), "non-finite")
    assert finding.layer == "6"  # the module with the square root, behind layer 4 and its activation
    assert "the loss is finite" in finding.message


@pytest.mark.parametrize("bad", [torch.log, lambda x: x / 0, lambda x: torch.exp(x * 1e4)])
def test_non_finite_forward_names_the_first_layer(bad: Callable[[Tensor], Tensor]) -> None:
    build = lambda: chain(5, nn.Tanh, {1: [Apply(bad)]})  # noqa: E731
    finding = only(examined(build, BATCHES), "non-finite")
    assert finding.layer == "4"


def test_non_finite_input_is_not_blamed_on_the_model() -> None:
    x, y = rows()
    x[0, 0] = math.nan
    finding = only(examined(relu_mlp, [(x, y)]), "non-finite")
    assert "the batch itself" in finding.cause


# --- real models: symmetric --------------------------------------------------------------------------------------


def test_symmetric_constant_initialisation() -> None:
    assert "symmetric" in kinds(examined(*SICK["constant init"][:1], BATCHES))


# --- healthy by design -------------------------------------------------------------------------------------------


class ZeroInit(nn.Module):
    """Residual blocks whose branch starts at zero, in one of the usual ways; ``both`` closes it twice."""

    def __init__(self, way: str, both: bool = False) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        value = {"zero weight": 1.0, "layer scale": 1e-6, "rezero": 0.0}[way]
        self.gate = nn.Parameter(torch.full((1 if way == "rezero" else WIDTH,), value))
        if way == "zero weight" or both:
            nn.init.zeros_(self.second.weight)
            nn.init.zeros_(self.second.bias)
        if both:
            nn.init.zeros_(self.gate)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.gate * self.second(self.first(self.norm(x)).relu())
        return output


class Adapted(nn.Module):
    """A frozen Linear with a low-rank correction: B starts at zero."""

    def __init__(self, both: bool = False) -> None:
        super().__init__()
        self.base = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.lora_a, self.lora_b = nn.Linear(WIDTH, 4, bias=False), nn.Linear(4, WIDTH, bias=False)
        for weight in [self.lora_b.weight, *([self.lora_a.weight] if both else [])]:
            nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.base(x) + self.lora_b(self.lora_a(x))
        return output


def blocks(make: Callable[[], nn.Module], number: int = 6) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), *(make() for _ in range(number)), nn.Linear(WIDTH, CLASSES))


def zero_head() -> nn.Module:
    model = relu_mlp()
    assert isinstance(model, nn.Sequential)
    nn.init.zeros_(model[-1].weight)  # type: ignore[arg-type]
    return model


class Experts(nn.Module):
    """Each sample goes to the one expert that the router likes best."""

    def __init__(self, number: int = 16) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, number)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for _ in range(number)
        )

    def forward(self, x: Tensor) -> Tensor:
        weights, choices = self.router(x).softmax(-1).max(-1)
        output = x.clone()
        for number, expert in enumerate(self.experts):
            mine = (choices == number).nonzero().flatten()
            if len(mine):
                output = output.index_add(0, mine, expert(x[mine]) * weights[mine, None])
        return output


class Teacher(nn.Module):
    """A student that follows a copy of itself, which runs under ``no_grad``; the loss comes from the model."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = relu_mlp(2), relu_mlp(2)
        self.predictor = nn.Linear(CLASSES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.teacher(x)
        return F.mse_loss(self.predictor(self.student(x)), target)


class SimSiam(nn.Module):
    """Two views; the gradient is stopped on one side of the similarity."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.predictor = relu_mlp(3), nn.Sequential(nn.Linear(CLASSES, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.encoder(x + 0.1 * torch.randn_like(x)), self.encoder(x + 0.1 * torch.randn_like(x))
        similar = F.cosine_similarity(self.predictor(one), two.detach(), dim=-1).mean()
        return -(similar + F.cosine_similarity(self.predictor(two), one.detach(), dim=-1).mean()) / 2


class Quantised(nn.Module):
    """A vector-quantised autoencoder with the straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(WIDTH, 8), nn.Linear(8, WIDTH)
        self.codebook = nn.Embedding(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        code = self.encoder(x)
        nearest = self.codebook(torch.cdist(code, self.codebook.weight).argmin(-1))
        commitment = F.mse_loss(nearest, code.detach()) + 0.25 * F.mse_loss(code, nearest.detach())
        return F.mse_loss(self.decoder(code + (nearest - code).detach()), x) + commitment


class Language(nn.Module):
    """Tied input and output embeddings, of which a batch sees a few rows only."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(500, WIDTH)
        self.body = Residual(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, 500, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        logits = self.head(self.body(self.embed(tokens[:, :-1])))
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def frozen_backbone() -> nn.Module:
    model = nn.Sequential(relu_mlp(), nn.ReLU(), nn.Linear(CLASSES, CLASSES))
    model[0].requires_grad_(False)
    return model


def biased_before_norm() -> nn.Module:
    def block() -> list[nn.Module]:
        return [nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()]

    return nn.Sequential(*block(), *block(), *block(), nn.Linear(WIDTH, CLASSES))


def own_loss(model: nn.Module, batch: Any) -> Tensor:
    loss: Tensor = model(batch[0] if isinstance(batch, tuple) else batch)
    return loss


TOKENS = [torch.randint(500, (4, 12), generator=torch.Generator().manual_seed(n)) for n in (1, 2)]


class Target(nn.Module):
    """A Q network and the copy of it that gives the targets, detached and not under ``no_grad``."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.target = relu_mlp(3), relu_mlp(3)
        self.target.load_state_dict(self.online.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        goal = 1 + 0.9 * self.target(-x).amax(1).detach()
        return F.smooth_l1_loss(self.online(x).amax(1), goal)


class Averaged(nn.Module):
    """A network with its moving average, which is there for later."""

    def __init__(self) -> None:
        super().__init__()
        self.net = relu_mlp(3)
        self.average = copy.deepcopy(self.net)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.net(x)
        return output


class Routed(Experts):
    """Experts by another name, called with nothing where nothing is routed to them."""

    def __init__(self, call_all: bool) -> None:
        super().__init__()
        self.paths, self.call_all = self.experts, call_all
        del self.experts

    def forward(self, x: Tensor) -> Tensor:
        weights, choices = self.router(x).softmax(-1).max(-1)
        output = x.clone()
        for number, path in enumerate(self.paths):
            mine = (choices == number).nonzero().flatten()
            if len(mine) or self.call_all:
                output = output.index_add(0, mine, path(x[mine]) * weights[mine, None])
        return output


class Skipping(nn.Module):
    """Blocks that are left out at random while training."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(nn.Linear(WIDTH, WIDTH), nn.ReLU()) for _ in range(12))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x if self.training and torch.rand(()) < 0.4 else block(x)
        output: Tensor = self.head(x)
        return output


def batch_normalised(depth: int) -> Callable[[], nn.Module]:
    """Through each layer the gradient grows by a fifth, however it is initialised."""
    layer = lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())  # noqa: E731
    return lambda: nn.Sequential(*(layer() for _ in range(depth)), nn.Linear(WIDTH, CLASSES))


def test_exploding_a_hundred_layers_of_batch_normalisation() -> None:
    batches = [rows(16, seed=seed) for seed in (1, 2)]
    assert kinds(examined(batch_normalised(100), batches)) == ["exploding"]
    assert kinds(examined(batch_normalised(40), batches, max_elasticity=999)) == ["exploding"]


class Summed(nn.Module):
    """Deep sets: what is known of each element is summed up."""

    def __init__(self) -> None:
        super().__init__()
        self.element = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.whole = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.whole(self.element(x).sum(1)))
        return output


class Shift(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((CLASSES,), -0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class Gaussian(nn.Module):
    """A policy whose deviation does not depend on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.deviation = relu_mlp(), Shift()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(x)
        return mean, self.deviation(torch.zeros_like(mean))


def likelihood(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    mean, deviation = model(batch[0])
    target = F.one_hot(batch[1], CLASSES).float()
    return -torch.distributions.Normal(mean, deviation.exp()).log_prob(target).mean()


class Pooled(nn.Module):
    """Attention of every pixel over a few that are pooled: as Twins do, down to a single one."""

    def __init__(self, heat: float) -> None:
        super().__init__()
        self.heat = heat
        self.query, self.key, self.value, self.out = (nn.Conv2d(8, 8, 1) for _ in range(4))
        self.drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, (1, 2))
        queries, keys, values = self.query(x).flatten(2), self.key(pooled).flatten(2), self.value(pooled).flatten(2)
        weights = self.drop((queries.transpose(1, 2) @ keys * self.heat).softmax(-1))
        output: Tensor = x + self.out((values @ weights.transpose(1, 2)).view_as(x))
        return output


def pooled_attention() -> nn.Module:
    trunk = [nn.Conv2d(3, 8, 3, padding=1), *(Pooled(heat) for heat in (1.0, 1e-9, 1e-9))]
    return nn.Sequential(*trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))


def test_a_map_of_attention_weights_holds_no_tokens() -> None:
    check = examined(pooled_attention, [images(seed=1), images(seed=2)], ignore=["*.query", "*.key"])
    assert check.record.signals[-4].tokens is None
    assert not kinds(check)


class Forecaster(nn.Module):
    """N-BEATS: each block takes its backcast from what the next one is given."""

    def __init__(self, detach: bool = False) -> None:
        super().__init__()
        self.detach = detach
        self.blocks = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("trunk", "backcast", "forecast")})
            for _ in range(3)
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for number, block in enumerate(self.blocks):
            hidden = block["trunk"](x).relu()  # type: ignore[index]
            x = x - block["backcast"](hidden)  # type: ignore[index]
            forecast = block["forecast"](hidden)  # type: ignore[index]
            total = total + (forecast.detach() if self.detach and number == 2 else forecast)
        output: Tensor = self.head(total)
        return output


class WaveNet(nn.Module):
    """Residual and skip layers in parallel lists; ``forgotten``: the last block is never called."""

    def __init__(self, forgotten: bool = False) -> None:
        super().__init__()
        self.forgotten = forgotten
        self.residuals, self.skips = (nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3)) for _ in range(2))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for number, (residual, skip) in enumerate(zip(self.residuals, self.skips, strict=True)):
            if not (self.forgotten and number == 2):
                total = total + skip(x.tanh())
                x = x + residual(x.tanh())
        output: Tensor = self.head(total)
        return output


class ReadOut(nn.Module):
    """Blocks that refine the first position and the others by layers of their own; only the first is read."""

    def __init__(self, last: str = "") -> None:
        super().__init__()
        self.last = last
        names = ("first", "others", "value", "branch", "out")
        self.blocks = nn.ModuleList(nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in names}) for _ in range(3))
        self.head = nn.Linear(WIDTH, CLASSES)
        if last == "dead":
            nn.init.constant_(self.blocks[2]["branch"].bias, -100.0)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        for number, block in enumerate(self.blocks):
            query = torch.cat([block["first"](x[:, :1]), block["others"](x[:, 1:])], 1)  # type: ignore[index]
            seen = (query @ x.transpose(1, 2) / WIDTH**0.5).softmax(-1)
            branch = block["out"](block["branch"](x).relu())  # type: ignore[index]
            x = x + seen @ block["value"](x) + branch * (0.0 if self.last == "zero" and number == 2 else 1.0)  # type: ignore[index]
        output: Tensor = self.head(x[:, 0])
        return output


class Lonely(nn.Module):
    """Attention whose softmax runs over a dimension of one."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.value = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.query(x).softmax(-1) * self.value(x)
        return output


@pytest.mark.parametrize(
    ("last", "layer", "word"),
    [("dead", "blocks.2.branch", "relu()"), ("zero", "blocks.2.out", "mul() at test_rules.py")],
)
def test_dead_layers_of_the_last_block_where_something_there_is_shut(last: str, layer: str, word: str) -> None:
    check = examined(lambda: ReadOut(last), [sequences(seed=1), sequences(seed=2)])
    finding = only(check, "dead")
    assert finding.layer == layer
    assert word in finding.cause


def test_dead_layers_in_front_of_a_softmax_over_one() -> None:
    finding = only(examined(blocks(Lonely, 3), BATCHES), "dead")
    assert finding.layer.endswith("query")
    assert "single element" in finding.cause


class Paired(nn.Module):
    """Two layers a block; in the last block one of them is cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("near", "far")}) for _ in range(3)
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for number, block in enumerate(self.blocks):
            near = block["near"](x)  # type: ignore[index]
            x = ((near.detach() if number == 2 else near) + block["far"](x)).relu()  # type: ignore[index]
        output: Tensor = self.head(x)
        return output


def test_what_is_cut_off_in_the_last_block_is_no_by_product() -> None:
    assert only(examined(Paired, BATCHES), "missing").layer == "blocks.2.near"


def test_the_last_block_is_missed_where_more_than_a_by_product_is_lost() -> None:
    cut = examined(lambda: Forecaster(detach=True), BATCHES)
    assert cut.findings[0].layer == "blocks.2.forecast"
    assert "detach" in cut.findings[0].cause
    forgotten = examined(lambda: WaveNet(forgotten=True), BATCHES)
    assert {finding.kind for finding in forgotten.findings} == {"missing"}
    assert {finding.layer for finding in forgotten.findings} == {"residuals.1", "skips.2"}


BY_DESIGN: dict[str, Callable[[], Check]] = {
    "zero-initialised branches": lambda: examined(blocks(lambda: ZeroInit("zero weight")), BATCHES),
    "LayerScale at 1e-6": lambda: examined(blocks(lambda: ZeroInit("layer scale")), BATCHES),
    "ReZero": lambda: examined(blocks(lambda: ZeroInit("rezero")), BATCHES),
    "zero head": lambda: examined(zero_head, BATCHES),
    "LoRA": lambda: examined(blocks(Adapted), BATCHES),
    "experts": lambda: examined(blocks(Experts, 2), BATCHES),
    "frozen backbone": lambda: examined(frozen_backbone, BATCHES),
    "teacher": lambda: examined(Teacher, BATCHES, step=own_loss),
    "SimSiam": lambda: examined(SimSiam, BATCHES, step=own_loss),
    "VQ-VAE": lambda: examined(Quantised, BATCHES, step=own_loss),
    "tied weights, unseen rows": lambda: examined(Language, TOKENS, step=own_loss),
    "bias before BatchNorm": lambda: examined(biased_before_norm, BATCHES),
    "convolutions and BatchNorm": lambda: examined(
        *HEALTHY["conv and batch norm"][:1], [HEALTHY["conv and batch norm"][1]()]
    ),
    "target network": lambda: examined(Target, BATCHES, step=own_loss),
    "moving average": lambda: examined(Averaged, BATCHES),
    "routed, not called": lambda: examined(blocks(lambda: Routed(False), 1), BATCHES),
    "routed, called with nothing": lambda: examined(blocks(lambda: Routed(True), 1), BATCHES),
    "blocks skipped at random": lambda: examined(Skipping, BATCHES),
    "40 layers of batch normalisation": lambda: examined(
        batch_normalised(40), [rows(16, seed=seed) for seed in (1, 2)]
    ),
    "a sum over many": lambda: examined(Summed, [sequences(seed=seed, length=2000) for seed in (1, 2)]),
    "a learnt deviation": lambda: examined(Gaussian, BATCHES, step=likelihood),
    "a read-out of one position": lambda: examined(ReadOut, [sequences(seed=1), sequences(seed=2)]),
    "N-BEATS": lambda: examined(Forecaster, BATCHES),
    "WaveNet": lambda: examined(WaveNet, BATCHES),
    "one sample": lambda: examined(relu_mlp, [rows(1)]),
    "one layer": lambda: examined(lambda: nn.Linear(WIDTH, CLASSES), BATCHES),
}


@pytest.mark.parametrize("name", BY_DESIGN)
def test_healthy_by_design(name: str) -> None:
    assert not [finding.message for finding in BY_DESIGN[name]().findings]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zero-initialised branches", "waits for a gate that starts at zero"),
        ("ReZero", "starts at zero"),
        ("zero head", "starts at zero"),
        ("experts", "expert not routed to"),
        ("frozen backbone", "frozen"),
        ("teacher", "copy of a trained twin"),
        ("target network", "copy of a trained twin"),
        ("moving average", "copy of a trained twin"),
        ("routed, not called", "expert not routed to"),
        ("a read-out of one position", "not asked for in the last block"),
        ("N-BEATS", "by-product of the last block"),
        ("WaveNet", "by-product of the last block"),
    ],
)
def test_the_table_says_why(name: str, reason: str) -> None:
    assert reason in set(BY_DESIGN[name]().designed.values())


@pytest.mark.parametrize("way", ["zero weight", "rezero"])
def test_a_gate_that_is_closed_twice_stays_closed(way: str) -> None:
    check = examined(blocks(lambda: ZeroInit(way, both=True), 3), BATCHES)
    assert kinds(check) == ["dead"]
    assert "." in check.findings[0].layer or check.findings[0].layer in {"1", "2", "3"}


def test_lora_with_both_factors_at_zero_stays_where_it_is() -> None:
    check = examined(blocks(lambda: Adapted(both=True)), BATCHES)
    assert kinds(check) == ["dead"]
    assert "lora" in check.findings[0].layer


# --- batches that say nothing --------------------------------------------------------------------------------------

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
    assert name == "the same position" or any("all alike" in note for note in check.record.notes)


@pytest.mark.parametrize("name", ["sigmoid stack", "detach", "nan in backward", "constant init"])
def test_what_does_not_depend_on_the_batch_is_found_with_a_dummy_too(name: str) -> None:
    build, _, kind = SICK[name]
    assert kind in kinds(examined(build, [(torch.ones(8, WIDTH), LABELS)]))


# --- what a check costs ------------------------------------------------------------------------------------------


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    seen: list[int] = []
    backward = torch.Tensor.backward

    def count(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(1)
        return backward(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "backward", count)
    yield seen


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_model_costs_one_backward_pass_a_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, batch = HEALTHY[name]
    with counted(monkeypatch) as passes:
        check = examined(build, [batch(seed=seed) for seed in range(3)])
    assert len(passes) == 3
    assert check.record.later is None


def test_a_model_of_closed_gates_pays_for_one_step_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with counted(monkeypatch) as passes:
        check = examined(blocks(lambda: ZeroInit("zero weight")), BATCHES)
    assert not check.findings
    assert check.record.later is None or check.record.later.steps <= 2
    assert len(passes) <= 2 + (1 + 2) + (1 + 2)


def test_layers_named_in_a_check_are_layers_of_the_model() -> None:
    for build, batch, _ in SICK.values():
        check = examined(build, [batch(seed=1)])
        modules = dict(build().named_modules())
        assert all(name in modules for finding in check.findings for name in finding.layers)


def test_conv_networks_and_encoders_have_no_finding_over_seeds() -> None:
    for seed in range(5):
        assert not kinds(examined(conv_bn, [HEALTHY["conv and batch norm"][1](seed=seed)], seed=seed))
        assert not kinds(examined(encoder, [sequences(seed=seed)], seed=seed))


@pytest.mark.parametrize("name", Limits.scalars())
def test_every_limit_is_documented_with_its_default(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text()
    default = getattr(Limits(), name)
    (written,) = re.findall(rf"`{name}`(?:, `\w+`)*:? ([\w.-]+)", page.partition("## The rules")[2])[:1]
    assert written == "off" if default is None else float(written) == default
