"""Faults of activations and gates: saturated, clamped, too fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from benchmarks.detection.cases import Case
from benchmarks.detection.faults.mutations import (
    ACTIVATIONS,
    Change,
    Mutation,
    activations_to,
    all_of,
    attribute,
    matching,
    parameters_at,
    replace,
    scaled,
)
from benchmarks.detection.faults.placing import (
    DEEP_STACKS,
    MIDDLE,
    PERCEPTRONS,
    PLAIN_HOSTS,
    PLAIN_STACKS,
    at,
    changed,
    everywhere,
    make,
    placed,
    site_of,
)


def activation(name: str, gain: float = 1.0, globs: tuple[str, ...] = ("*",)) -> Mutation:
    """Every activation becomes ``name``; the weights are scaled by ``gain``, so that it saturates."""
    modules = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "hardtanh": nn.Hardtanh, "hardsigmoid": nn.Hardsigmoid}

    def apply(model: nn.Module) -> None:
        for path, module in list(matching(model, globs)):
            if isinstance(module, ACTIVATIONS):
                replace(model, path, modules[name]())
            elif hasattr(module, "function"):
                module.function = name  # type: ignore[assignment]
        scaled(gain, globs)(model)

    return apply


def activations_replaced(new: Callable[[], nn.Module], globs: tuple[str, ...] = ("*",)) -> Mutation:
    """Every activation becomes ``new()``."""

    def apply(model: nn.Module) -> None:
        for path, module in list(matching(model, globs)):
            if isinstance(module, ACTIVATIONS):
                replace(model, path, new())

    return apply


def filled_parameter(path: str, value: float, start: int = 0, stop: int | None = None) -> Mutation:
    def apply(model: nn.Module) -> None:
        model.get_parameter(path).detach()[start:stop].fill_(value)

    return apply


def update_gate_shut(model: nn.Module) -> None:
    """A GRU that copies its state."""
    for name, parameter in model.get_submodule("gru").named_parameters():
        if name.startswith("bias"):
            size = len(parameter) // 3
            parameter.detach()[size : 2 * size] = 30.0


def clamp(low: float, high: float) -> Change:
    return lambda x: x.clamp(low, high)


def method(globs: tuple[str, ...], name: str, function: Callable[..., Tensor]) -> Mutation:
    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            setattr(module, name, function)

    return apply


def activation_sigmoid_cases() -> Iterator[Case]:
    yield from everywhere(
        "activation-sigmoid",
        (*PERCEPTRONS, "mlp6-default", "lenet", "vgg-plain", "autoencoder", "pointnet", "dqn", "deepsets"),
        activation("sigmoid"),
    )
    yield from everywhere("activation-sigmoid", (*PLAIN_HOSTS, "repvgg", "denoiser"), activation("sigmoid"))
    yield from everywhere("activation-sigmoid", (*PLAIN_STACKS, "quantiles", "localiser", "gat"), activation("sigmoid"))
    yield from everywhere(
        "activation-sigmoid", (*DEEP_STACKS, "conv-vae", "dlrm", "groupnorm-resnet"), activations_to(nn.Sigmoid)
    )


def activation_saturated_cases() -> Iterator[Case]:
    yield from everywhere(
        "activation-saturated",
        ("mlp4-relu", "mlp12-gelu", "mlp12-tanh", "vgg-plain", "rnn-unrolled", "lenet", "dqn", "resmlp12"),
        activation("tanh", 8.0),
        "tanh",
    )
    hard = ("mlp4-relu", "mlp8-leaky", "mlp20-relu", "vgg-plain", "pointnet", "autoencoder")
    yield from everywhere("activation-saturated", hard, activation("hardtanh", 10.0), "hardtanh")
    yield from everywhere("activation-saturated", hard[:4], activation("hardsigmoid", 5.0), "hardsigmoid")
    for host in ("mlp8-leaky", "mlp20-relu", "vgg-plain"):
        site = site_of(host, "middle")
        yield make(
            host,
            "activation-saturated",
            activation("hardsigmoid", 20.0, at(site)),
            at(site),
            variant="hardsigmoid",
            site=site,
        )
    yield from everywhere(
        "activation-saturated",
        ("inception", "nhits", "actor-critic", "retrieval", "gin"),
        activation("tanh", 8.0),
        "tanh",
    )
    yield from everywhere("activation-saturated", ("dcn", "nhits"), activation("hardtanh", 10.0), "hardtanh")
    yield make(
        "dcn",
        "activation-saturated",
        activation("hardsigmoid", 20.0, ("body.*",)),
        at("body"),
        variant="hardsigmoid",
        site="body",
    )
    yield from everywhere("activation-saturated", PLAIN_STACKS, activation("tanh", 8.0), "tanh")
    yield from everywhere(
        "activation-saturated", (*DEEP_STACKS, "pinn"), all_of(activations_to(nn.Tanh), scaled(8.0)), "tanh"
    )


def activation_argument_cases() -> Iterator[Case]:
    arguments: tuple[tuple[str, str, Callable[[], nn.Module]], ...] = (
        ("threshold-20", "fourier", lambda: nn.Threshold(20, 0)),
        ("shrink-5", "siamese", lambda: nn.Hardshrink(5.0)),
        ("leaky-1", "siamese", lambda: nn.LeakyReLU(1.0)),
        ("empty-range", "deep-cnn", lambda: nn.Hardtanh(0.0, 1e-6)),
    )
    for name, host, new in arguments:
        yield from everywhere("activation-argument", (host,), activations_replaced(new), name)


def activation_forgotten_cases() -> Iterator[Case]:
    yield from everywhere("activation-forgotten", ("fourier", "deep-cnn"), activations_replaced(nn.Identity))


def activation_tanh_cases() -> Iterator[Case]:
    yield from everywhere("activation-tanh", ("tall-regressor",), activations_to(nn.Tanh))


def gate_saturated_cases() -> Iterator[Case]:
    for bias in (-30.0, -10.0):
        yield make(
            "highway10",
            "gate-saturated",
            all_of(*[filled_parameter(f"body.{i}.gate.bias", bias) for i in range(10)]),
            ("body*",),
            variant=f"{bias:g}",
        )
    width = 24
    for name, bias in (("forget-10", -5.0), ("forget-30", -15.0)):
        yield make(
            "lstm",
            "gate-saturated",
            all_of(*[filled_parameter(f"rnn.bias_{k}_l0", bias, width, 2 * width) for k in ("ih", "hh")]),
            at("rnn"),
            variant=name,
        )
    yield make(
        "lstm",
        "gate-saturated",
        all_of(*[filled_parameter(f"rnn.bias_{k}_l0", -60.0, 0, width) for k in ("ih", "hh")]),
        at("rnn"),
        variant="input-120",
    )
    yield make(
        "gru",
        "gate-saturated",
        all_of(*[filled_parameter(f"rnn.bias_{k}_l0", 60.0, width, 2 * width) for k in ("ih", "hh")]),
        at("rnn"),
        variant="update+120",
    )
    for site in ("body.1.router", "body.0.router"):
        yield make(
            "moe",
            "gate-saturated",
            filled_parameter(f"{site}.bias", 200.0, 0, 1),
            at(site),
            variant="router",
            site=site,
        )
    yield make(
        "mingru",
        "gate-saturated",
        all_of(*(parameters_at(f"body.{i}.gate.bias", -40.0) for i in range(2))),
        ("body*",),
        variant="-40",
    )
    yield make(
        "lstm-lm",
        "gate-saturated",
        all_of(*[filled_parameter(f"rnn.bias_{kind}_l0", -15.0, 24, 48) for kind in ("ih", "hh")]),
        at("rnn"),
        variant="forget-30",
    )
    yield make("attentive-gru", "gate-saturated", update_gate_shut, at("gru"), variant="update+60")
    yield make(
        "mamba",
        "gate-saturated",
        all_of(*(parameters_at(f"layers.{i}.mixer.dt_proj.bias", -30.0) for i in range(2))),
        ("layers*",),
        variant="dt-30",
    )


def clamp_cases() -> Iterator[Case]:
    yield from placed(
        "clamp",
        ("mlp8-leaky", "vgg-plain", "encoder4-pre", "pointnet"),
        ("middle",),
        changed(clamp(-0.001, 0.001)),
        "tiny",
    )
    yield from placed("clamp", ("mlp4-relu", "lenet", "dqn"), ("middle",), changed(clamp(5, 10)), "above")
    yield from placed("clamp", ("vgg-bn", "resnet", "autoencoder"), ("middle",), changed(clamp(-1, 0)), "below")
    yield from placed("clamp", ("gated-conv", "siren", "gin"), MIDDLE, changed(clamp(-0.001, 0.001)), "tiny")
    yield from placed("clamp", ("inception", "mingru"), MIDDLE, changed(clamp(5, 10)), "above")
    yield from placed("clamp", ("siamese", "quantiles"), MIDDLE, changed(clamp(-0.001, 0.001)), "tiny")
    yield from placed("clamp", ("conv-vae",), MIDDLE, changed(clamp(-0.001, 0.001)), "tiny")


def frequency_cases() -> Iterator[Case]:
    for speed in (60.0, 1000.0):
        yield make(
            "siren",
            "frequency",
            attribute(("stem", "body.*"), "speed", speed),
            ("stem*", "body*"),
            variant=f"{speed:g}",
        )
    yield make("fourier", "frequency", attribute(("stem",), "gain", 100.0), at("stem"), variant="x100")


def scale_unbounded_cases() -> Iterator[Case]:
    yield make(
        "flow", "scale-unbounded", method(("body.*",), "squashed", lambda raw: (raw + 1).mul(5).exp()), ("body*",)
    )


OPERATORS = (
    activation_sigmoid_cases,
    activation_saturated_cases,
    activation_argument_cases,
    activation_forgotten_cases,
    activation_tanh_cases,
    gate_saturated_cases,
    clamp_cases,
    frequency_cases,
    scale_unbounded_cases,
)
