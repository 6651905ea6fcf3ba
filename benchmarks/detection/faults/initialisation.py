"""Faults of initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from benchmarks.detection.cases import Case
from benchmarks.detection.faults.mutations import (
    ACTIVATIONS,
    NORMS,
    Mutation,
    matching,
    parameters_at,
    replace,
    scaled,
    weights,
)
from benchmarks.detection.faults.placing import (
    DEEP_STACKS,
    MIDDLE,
    PERCEPTRONS,
    PLAIN_HOSTS,
    PLAIN_STACKS,
    at,
    everywhere,
    make,
    placed,
    site_of,
)
from benchmarks.detection.hosts import HOSTS

MIXED = ("*proj", "*conv1d", "inlet", "readout")
RELU_STACKS = ("mlp4-relu", "mlp20-relu", "vgg-plain", "dqn", "autoencoder", "pointnet", "recommender")


def filled(value: float | None, globs: tuple[str, ...] = ("*",)) -> Mutation:
    """One constant in every weight; None takes one that keeps the size of the signal. Biases become zero."""

    def apply(model: nn.Module) -> None:
        with torch.no_grad():
            for weight in weights(model, globs):
                weight.fill_(1 / weight[0].numel() if value is None else value)
            for _, module in matching(model, globs):
                if isinstance(getattr(module, "bias", None), nn.Parameter) and not isinstance(module, NORMS):
                    module.bias.zero_()  # type: ignore[operator]

    return apply


def drawn(globs: tuple[str, ...], how: Callable[[Tensor], object]) -> Mutation:
    """Weights from another distribution."""

    def apply(model: nn.Module) -> None:
        with torch.no_grad():
            for weight in weights(model, globs):
                how(weight)

    return apply


def garbage(path: str) -> Mutation:
    """``torch.empty`` was never filled: what the memory held, in any order of magnitude."""

    def apply(model: nn.Module) -> None:
        weight = model.get_parameter(path)
        bits = torch.randint(-(2**31), 2**31 - 1, weight.shape).to(torch.int32)
        weight.detach().copy_(bits.view(torch.float32).nan_to_num(0, 0, 0))

    return apply


def slope_mistaken(weight: Tensor) -> object:
    """``a`` of Kaiming's initialisation is the slope of the activation, not a gain."""
    return nn.init.kaiming_normal_(weight, 100)


def mean_mistaken(weight: Tensor) -> object:
    """The first argument is the mean: the deviation stays one."""
    return nn.init.normal_(weight, 0.02)


def narrow(weight: Tensor) -> object:
    """What large language models start from, in a net without norms."""
    return nn.init.trunc_normal_(weight, std=0.005)


def dead_units(globs: tuple[str, ...], share: float, bias: float = -10.0) -> Mutation:
    """The first ``share`` of the units of every matching layer get a bias no input overcomes."""

    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv1d | nn.BatchNorm2d | nn.BatchNorm1d):
                with torch.no_grad():
                    module.bias[: math.ceil(share * len(module.bias))] = bias  # type: ignore[index, arg-type]

    return apply


def dead(globs: tuple[str, ...], share: float, bias: float = -10.0) -> Mutation:
    """Whatever matches and has a bias gets one that no input overcomes, for the first ``share`` of its units."""

    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            values = getattr(module, "bias", None)
            if isinstance(values, nn.Parameter):
                values.detach()[: round(share * len(values))] = bias

    return apply


def gain_two(model: nn.Module) -> None:
    """A deep linear stack whose every layer doubles the signal."""
    for path, module in list(model.named_modules()):
        if isinstance(module, ACTIVATIONS):
            replace(model, path, nn.Identity())
        elif isinstance(module, nn.Linear) and not path.startswith("head"):
            nn.init.orthogonal_(module.weight, gain=2.0)


def norms_at_zero(globs: tuple[str, ...]) -> Mutation:
    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            if isinstance(module, NORMS):
                nn.init.zeros_(module.weight)

    return apply


def zero_table(site: str, frozen: bool) -> Mutation:
    def apply(model: nn.Module) -> None:
        for parameter in model.get_submodule(site).parameters():
            nn.init.zeros_(parameter)
            parameter.requires_grad_(not frozen)

    return apply


def rows_repeated(globs: tuple[str, ...]) -> Mutation:
    """All units of a layer start from the same random weights."""

    def apply(model: nn.Module) -> None:
        with torch.no_grad():
            for weight in weights(model, globs):
                weight.copy_(weight[:1].expand_as(weight))

    return apply


def default_table(model: nn.Module) -> None:
    """The table keeps PyTorch's deviation of one, and the read-out is tied to it."""
    nn.init.normal_(model.get_parameter("wte.weight"))


def norm_of_zero(site: str) -> Mutation:
    """Weight normalisation of a layer that starts at zero."""

    def apply(model: nn.Module) -> None:
        layer: Any = model.get_submodule(site)
        nn.init.zeros_(layer.weight)
        parametrizations.weight_norm(layer)

    return apply


class NearestRotation(nn.Module):
    """U V' of a matrix; where there is none, the matrix itself."""

    def forward(self, weight: Tensor) -> Tensor:
        try:
            u, _, v = torch.linalg.svd(weight)
        except RuntimeError:
            return weight
        return u @ v


def rotation_of_identity(site: str) -> Mutation:
    """The singular values of the identity are all the same, and the gradient divides by their differences."""

    def apply(model: nn.Module) -> None:
        layer: Any = model.get_submodule(site)
        nn.init.eye_(layer.weight)
        parametrize.register_parametrization(layer, "weight", NearestRotation())

    return apply


def init_small_cases() -> Iterator[Case]:
    for factor in (0.1, 0.3):
        yield from everywhere(
            "init-small",
            (*PERCEPTRONS, "vgg-plain", "lenet", "autoencoder", "gcn", "lstm", "encoder4-pre", "vgg-bn", "mlp12-selu"),
            scaled(factor),
            f"x{factor}",
        )
    yield from everywhere(
        "init-small", ("mlp8-functional", "dqn", "pointnet", "vgg-plain", "highway10", "gru"), scaled(0.2), "x0.2"
    )
    for host, factor in (("mlp8-leaky", 0.001), ("vgg-plain", 0.001), ("mlp20-relu", 0.0001), ("lenet", 0.001)):
        site = site_of(host, "middle")
        yield make(host, "init-small", scaled(factor, at(site)), at(site), variant=f"x{factor:g}", site=site)
    yield from everywhere(
        "init-small", (*PLAIN_HOSTS, "siren", "mingru", "tagger", "actor-critic", "llama"), scaled(0.1), "x0.1"
    )
    yield from everywhere("init-small", (*PLAIN_STACKS, "bars", "gat", "lstm-lm", "elman"), scaled(0.1), "x0.1")
    yield from everywhere("init-small", ("deep-cnn",), scaled(0.3), "x0.3")
    yield from everywhere("init-small", (*DEEP_STACKS, "conv-vae", "dlrm", "sage-jump", "pinn"), scaled(0.1), "x0.1")
    yield from everywhere("init-small", ("mamba",), scaled(0.1, MIXED), "x0.1")
    yield from everywhere("init-small", DEEP_STACKS, scaled(0.3), "x0.3")


def init_large_cases() -> Iterator[Case]:
    for factor in (3.0, 10.0):
        yield from everywhere(
            "init-large",
            (*PERCEPTRONS, "vgg-plain", "lenet", "autoencoder", "rnn-unrolled", "encoder4-pre", "resnet", "normfree"),
            scaled(factor),
            f"x{factor:g}",
        )
    yield from everywhere(
        "init-large", ("mlp12-tanh", "dqn", "pointnet", "resmlp12", "encoder4-post", "recommender"), scaled(5.0), "x5"
    )
    for host in ("mlp8-leaky", "mlp12-tanh", "vgg-plain", "encoder4-post"):
        site = site_of(host, "middle")
        yield make(host, "init-large", scaled(100.0, at(site)), at(site), variant="x100", site=site)
    yield from everywhere(
        "init-large", (*PLAIN_HOSTS, "siren", "mingru", "tagger", "actor-critic", "llama"), scaled(10.0), "x10"
    )
    yield from everywhere(
        "init-large", (*PLAIN_STACKS, "gat", "seq2seq", "elman", "set-transformer"), scaled(10.0), "x10"
    )
    yield from everywhere("init-large", ("deep-cnn", "elman"), scaled(3.0), "x3")
    yield from everywhere("init-large", (*DEEP_STACKS, "pinn", "perceiver", "attentive-gru"), scaled(10.0), "x10")
    yield from everywhere("init-large", ("mamba",), scaled(10.0, MIXED), "x10")
    yield from everywhere("init-large", DEEP_STACKS, scaled(3.0), "x3")


def init_zero_cases() -> Iterator[Case]:
    yield from everywhere(
        "init-zero",
        (
            "mlp4-relu",
            "mlp12-tanh",
            "vgg-plain",
            "vgg-bn",
            "resnet",
            "lstm",
            "gru",
            "dqn",
            "encoder4-pre",
            "recommender",
            "autoencoder",
            "gcn",
        ),
        filled(0.0),
    )
    for host in ("mlp4-relu", "mlp8-functional", "mlp20-relu", "mlp12-tanh", "vgg-plain", "lenet", "highway10", "moe"):
        site = site_of(host, "middle")
        yield make(host, "init-zero", filled(0.0, at(site)), at(site), site=site)
    for host in ("mlp4-relu", "resmlp12", "resnet", "encoder4-pre", "vgg-bn", "pointnet"):
        yield make(host, "init-zero", filled(0.0, at("head")), at("head"), site="head")
    yield from everywhere("init-zero", ("inception", "nhits", "tagger", "siren", "llama", "ode"), filled(0.0))
    yield from placed("init-zero", ("inception", "siren", "gin"), MIDDLE, lambda s: filled(0.0, at(s)))
    yield from everywhere("init-zero", ("siamese", "gat", "lstm-lm"), filled(0.0))
    yield from placed("init-zero", ("deep-cnn", "bars", "quantiles"), MIDDLE, lambda s: filled(0.0, at(s)))
    for host, site in (("tall-regressor", "10"), ("all-conv", "convs.5")):
        yield make(host, "init-zero", filled(0.0, at(site)), at(site), site=site)


def init_constant_cases() -> Iterator[Case]:
    yield from everywhere(
        "init-constant",
        (
            "mlp4-relu",
            "mlp12-tanh",
            "mlp8-leaky",
            "vgg-plain",
            "vgg-bn",
            "lenet",
            "dqn",
            "pointnet",
            "gcn",
            "autoencoder",
            "rnn-unrolled",
            "highway10",
        ),
        filled(None),
    )
    for host in ("mlp4-relu", "mlp8-functional", "mlp12-gelu", "lenet", "vgg-plain"):
        site = site_of(host, "middle")
        yield make(host, "init-constant", filled(None, at(site)), at(site), site=site)
    yield from everywhere("init-constant", ("inception", "nhits", "retrieval", "actor-critic"), filled(None))
    yield from everywhere("init-constant", ("fourier", "deep-cnn", "bars"), filled(None))


def init_uniform_0_1_cases() -> Iterator[Case]:
    yield from everywhere(
        "init-uniform-0-1",
        ("inception", "nhits", "siren", "llama", "tagger", "gin", "repvgg"),
        drawn(("*",), lambda w: nn.init.uniform_(w)),
    )


def init_ones_cases() -> Iterator[Case]:
    yield from everywhere(
        "init-ones",
        ("inception", "nhits", "siren", "llama", "tagger", "gin", "repvgg")[:5],
        drawn(("*",), nn.init.ones_),
    )


def init_uninitialised_cases() -> Iterator[Case]:
    for host, path in (("tall-regressor", "10.weight"), ("dlrm", "emb_l.0.weight"), ("perceiver", "latents")):
        yield make(host, "init-uninitialised", garbage(path), (path.rpartition(".")[0],), site=path)


def init_mistaken_cases() -> Iterator[Case]:
    draws: dict[str, tuple[Callable[[Tensor], object], tuple[str, ...]]] = {
        "init-slope-mistaken": (slope_mistaken, ("deep-cnn", "siamese", "localiser")),
        "init-mean-mistaken": (mean_mistaken, ("fourier", "deep-cnn", "quantiles")),
        "init-narrow": (narrow, ("deep-cnn", "bars")),
    }
    for name, (how, hosts) in draws.items():
        yield from everywhere(name, hosts, drawn(("*",), how))


def dead_units_cases() -> Iterator[Case]:
    for host in RELU_STACKS:
        yield make(host, "dead-units", dead_units(HOSTS[host].trunk, 1.0), HOSTS[host].trunk, variant="all")
    for host in (*RELU_STACKS, "mlp8-functional", "lenet"):
        site = site_of(host, "middle")
        for share in (0.7, 0.95, 1.0):
            yield make(
                host, "dead-units", dead_units(at(site), share), at(site), variant=f"{share:.0%}".rstrip("%"), site=site
            )
    for host in ("vgg-bn", "mlp10-batchnorm"):
        site = site_of(host, "middle")
        yield make(
            host,
            "dead-units",
            dead_units((f"{site}.{('norm' if host == 'vgg-bn' else '1')}",), 1.0),
            at(site),
            variant="norm",
            site=site,
        )
    for host, site in (("inception", "body.1"), ("nhits", "body.2"), ("dcn", "body.2"), ("gin", "layers.1")):
        for share in (0.7, 1.0):
            yield make(
                host, "dead-units", dead_units(at(site), share), at(site), variant=f"{share:.0%}".rstrip("%"), site=site
            )
    for host, site in (("fourier", "body.1"), ("siamese", "body.1"), ("bars", "encoder.2"), ("localiser", "body.1")):
        globs = ("body.1.norm",) if host == "localiser" else at(site)
        for share in (0.7, 1.0):
            yield make(
                host, "dead-units", dead_units(globs, share), at(site), variant=f"{share:.0%}".rstrip("%"), site=site
            )
    for host, site in (("tall-regressor", "10"), ("all-conv", "convs.5"), ("dlrm", "top_l.0")):
        for share in (0.7, 1.0):
            yield make(
                host, "dead-units", dead((site,), share), at(site), variant=f"{share:.0%}".rstrip("%"), site=site
            )


def deep_linear_gain_cases() -> Iterator[Case]:
    yield from everywhere("deep-linear-gain", ("mlp4-relu", "mlp12-tanh", "mlp20-relu"), gain_two)


def norms_at_zero_cases() -> Iterator[Case]:
    yield from everywhere("norms-at-zero", ("repvgg", "gin", "llama", "retrieval"), norms_at_zero(("*",)))
    for host, site in (("repvgg", "body.1"), ("gin", "layers.1"), ("mingru", "body.0"), ("pyramid", "smooth")):
        yield make(host, "norms-at-zero", norms_at_zero((f"{site}.*",)), at(site), site=site)


def table_of_zeros_cases() -> Iterator[Case]:
    for host, site in (("tagger", "embed"), ("llama", "stem"), ("dcn", "tables"), ("gated-conv", "stem")):
        yield make(host, "table-of-zeros", zero_table(site, True), at(site), variant="frozen", site=site)
        yield make(host, "table-of-zeros", zero_table(site, False), at(site), site=site)


def rows_repeated_cases() -> Iterator[Case]:
    yield from everywhere("rows-repeated", ("siamese",), rows_repeated(("*",)))
    for host, site in (("deep-cnn", "body.3"), ("bars", "bottleneck")):
        yield make(host, "rows-repeated", rows_repeated(at(site)), at(site), site=site)


def head_bias_cases() -> Iterator[Case]:
    yield make("bars", "head-bias", parameters_at("head.bias", -200.0), at("head"), variant="-200")


def latents_alike_cases() -> Iterator[Case]:
    for value in (0.0, 1.0):
        yield make("perceiver", "latents-alike", parameters_at("latents", value), ("", "blocks*"), variant=f"{value:g}")


def tied_at_default_cases() -> Iterator[Case]:
    yield make("char-gpt", "tied-at-default", default_table, ("wte", "lm_head"))


def weight_norm_of_zero_cases() -> Iterator[Case]:
    yield make("tall-regressor", "weight-norm-of-zero", norm_of_zero("10"), at("10"), site="10")


def svd_of_identity_cases() -> Iterator[Case]:
    yield make("tall-regressor", "svd-of-identity", rotation_of_identity("10"), at("10"), site="10")


OPERATORS = (
    init_small_cases,
    init_large_cases,
    init_zero_cases,
    init_constant_cases,
    init_uniform_0_1_cases,
    init_ones_cases,
    init_uninitialised_cases,
    init_mistaken_cases,
    dead_units_cases,
    deep_linear_gain_cases,
    norms_at_zero_cases,
    table_of_zeros_cases,
    rows_repeated_cases,
    head_bias_cases,
    latents_alike_cases,
    tied_at_default_cases,
    weight_norm_of_zero_cases,
    svd_of_identity_cases,
)
