"""Faults of parameters: not registered, frozen, replaced, clipped."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.detection.cases import Case
from benchmarks.detection.faults.mutations import Call, Change, Mutation, detach, matching, patch, replace, weights
from benchmarks.detection.faults.placing import at, make, site_of
from benchmarks.detection.hosts import HOSTS
from benchmarks.detection.hosts.host import blocks


class Unregistered(nn.Module):
    """Keeps its layers in a plain list: they compute, and no optimiser ever hears of them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def unregistered(sites: tuple[str, ...]) -> Mutation:
    def apply(model: nn.Module) -> None:
        for site in sites:
            replace(model, site, Unregistered(model.get_submodule(site)))

    return apply


def plain_list(name: str) -> Mutation:
    """The layers are kept in a Python list instead of an ``nn.ModuleList``."""

    def apply(model: nn.Module) -> None:
        layers = list(getattr(model, name))
        delattr(model, name)
        setattr(model, name, layers)

    return apply


def plain_tensor(site: str) -> Mutation:
    """The weight is a tensor, not a Parameter."""

    def apply(model: nn.Module) -> None:
        module = model.get_submodule(site)
        weight = module._parameters.pop("weight")
        module.weight = weight.detach().clone()  # type: ignore[union-attr]

    return apply


def leaf_tensor(site: str) -> Mutation:
    """The weight asks for a gradient and gets one, but is no ``nn.Parameter``."""

    def apply(model: nn.Module) -> None:
        module: Any = model.get_submodule(site)
        weight = module._parameters.pop("weight")
        module.weight = weight.detach().clone().requires_grad_()

    return apply


def unused(model: nn.Module) -> None:
    model.spare = nn.Linear(8, 8)


def frozen(globs: tuple[str, ...]) -> Mutation:
    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            module.requires_grad_(False)

    return apply


class Rebuilt(nn.Module):
    """A layer that is made anew in every forward."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    def forward(self, x: Tensor) -> Tensor:
        return nn.Linear(self.inputs, self.outputs)(x)


def rebuilt(site: str) -> Mutation:
    def apply(model: nn.Module) -> None:
        layer: Any = model.get_submodule(site)
        replace(model, site, Rebuilt(layer.in_features, layer.out_features))

    return apply


def at_every_forward(site: str, change: Callable[[Tensor], object]) -> Mutation:
    """``change`` is done in place to every weight of ``site`` whenever it is called."""

    def forward(self: nn.Module, original: Call, *args: Any) -> Any:
        with torch.no_grad():
            for weight in weights(self):
                change(weight)
        return original(*args)

    return lambda model: patch(model.get_submodule(site), forward)


def without_recording(site: str) -> Mutation:
    """The layer is called as a function with ``weight.data``: it passes the gradient on and keeps none."""

    def forward(self: Any, original: Call, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.data
        if isinstance(self, nn.Conv2d):
            return F.conv2d(x, self.weight.data, bias, self.stride, self.padding)
        if isinstance(self, nn.Conv1d):
            return F.conv1d(x, self.weight.data, bias, self.stride, self.padding)
        return F.linear(x, self.weight.data, bias)

    return lambda model: patch(model.get_submodule(site), forward)


def parameter_anew(site: str) -> Mutation:
    """The weight is wrapped as a new Parameter in every forward: the optimiser holds the old one."""

    def forward(self: Any, original: Call, *args: Any) -> Any:
        self.weight = nn.Parameter(self.weight.detach().clone())
        return original(*args)

    return lambda model: patch(model.get_submodule(site), forward)


def copied(site: str) -> Mutation:
    """A deep copy of the layer is called, made anew each time."""

    def forward(self: nn.Module, original: Call, *args: Any) -> Any:
        twin = copy.deepcopy(self)
        return type(self).__mro__[1].forward(twin, *args)  # type: ignore[attr-defined]

    return lambda model: patch(model.get_submodule(site), forward)


def stale_copy(site: str) -> Mutation:
    """The forward pass uses a copy of the layer that was made when the model was built (a target net, say)."""

    def apply(model: nn.Module) -> None:
        layer = model.get_submodule(site)
        twin = [copy.deepcopy(layer)]
        patch(layer, lambda self, original, *args: twin[0](*args))

    return apply


def times(factor: float) -> Change:
    return lambda x: x * factor


class Reshaped(nn.Module):
    """A parametrization that computes the weight with ``change``."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change

    def forward(self, weight: Tensor) -> Tensor:
        return self.change(weight)


def parametrized(sites: tuple[str, ...], change: Change) -> Mutation:
    def apply(model: nn.Module) -> None:
        for site in sites:
            parametrize.register_parametrization(model.get_submodule(site), "weight", Reshaped(change))

    return apply


def over_its_norm(weight: Tensor) -> Tensor:
    """Every weight over the norm of all, twice."""
    return weight / weight.norm().square() / weight.numel()


def rows_as_shares(weight: Tensor) -> Tensor:
    """Weights that are to be positive and to sum to one, all alike."""
    return (0.01 * weight).softmax(-1)


def max_norm(site: str, limit: float) -> Mutation:
    """The rows of a table are renormalised whenever they are looked up."""

    def apply(model: nn.Module) -> None:
        model.get_submodule(site).max_norm = limit  # type: ignore[assignment]

    return apply


def padding_at(site: str, index: int) -> Mutation:
    """A real token is taken for the padding."""

    def apply(model: nn.Module) -> None:
        table: Any = model.get_submodule(site)
        table.padding_idx = index
        with torch.no_grad():
            table.weight[index] = 0

    return apply


def unregistered_cases() -> Iterator[Case]:
    one = ("mlp8-leaky", "resnet", "encoder4-pre", "vgg-plain")
    for host in one:
        site = site_of(host, "middle")
        yield make(host, "unregistered", unregistered((site,)), at(site), site=site)
    for host in (*one, "repvgg", "llama"):
        whole = tuple(f"body.{i}" for i in range(blocks(HOSTS[host])))
        yield make(host, "unregistered", unregistered(whole), ("body*",), variant="all")
    yield make("inception", "unregistered", unregistered(("body.1",)), at("body.1"), site="body.1")
    yield make("siamese", "unregistered", unregistered(tuple(f"body.{i}" for i in range(3))), ("body*",), variant="all")
    yield make("deep-cnn", "unregistered", unregistered(("body.3",)), at("body.3"), site="body.3")
    for host, name in (("all-conv", "convs"), ("char-gpt", "h"), ("dlrm", "emb_l")):
        yield make(host, "unregistered", plain_list(name), ("", f"{name}*"), variant="list", site=name)


def not_a_parameter_cases() -> Iterator[Case]:
    for host, site in (("mlp4-relu", "body.0.linear"), ("lenet", "conv1"), ("encoder4-pre", "body.1.mlp.fc1")):
        yield make(host, "not-a-parameter", plain_tensor(site), at(site), site=site)
    for host, site in (("fourier", "body.1.linear"), ("gat", "layers.0.linear")):
        yield make(host, "not-a-parameter", plain_tensor(site), at(site), site=site)
    site = "convs.1.lin_l"
    yield make("sage-jump", "not-a-parameter", plain_tensor(site), at(site), site=site)
    for host, site in (("tall-regressor", "10"), ("pinn", "net.2")):
        yield make(host, "not-a-parameter", leaf_tensor(site), at(site), variant="leaf", site=site)


def unused_parameters_cases() -> Iterator[Case]:
    for host in ("mlp4-relu", "vgg-bn", "encoder4-pre", "lstm", "autoencoder", "gcn"):
        yield make(host, "unused-parameters", unused, ("spare",))
    for host in ("retrieval", "tagger", "flow"):
        yield make(host, "unused-parameters", unused, ("spare",))
    for host in ("siamese", "lstm-lm"):
        yield make(host, "unused-parameters", unused, ("spare",))
    for host in ("mamba", "conv-vae"):
        yield make(host, "unused-parameters", unused, ("spare",))


def frozen_trunk_cases() -> Iterator[Case]:
    for host in ("mlp4-relu", "mlp20-relu", "lenet", "resnet", "encoder4-pre", "gru", "two-towers", "autoencoder"):
        yield make(host, "frozen-trunk", frozen(HOSTS[host].trunk), HOSTS[host].trunk)
    for host in ("inception", "siren", "tagger", "actor-critic"):
        yield make(host, "frozen-trunk", frozen(HOSTS[host].trunk), HOSTS[host].trunk)
    for host in ("fourier", "seq2seq", "localiser"):
        yield make(host, "frozen-trunk", frozen(HOSTS[host].trunk), HOSTS[host].trunk)
    yield make("dlrm", "frozen-trunk", frozen(HOSTS["dlrm"].trunk), HOSTS["dlrm"].trunk)


def rebuilt_each_forward_cases() -> Iterator[Case]:
    for host, site in (
        ("siren", "body.1.linear"),
        ("dcn", "body.0"),
        ("retrieval", "document.3"),
        ("nhits", "body.2.2"),
        ("llama", "body.0.mlp.up"),
    ):
        yield make(host, "rebuilt-each-forward", rebuilt(site), at(site), site=site)


def reset_each_forward_cases() -> Iterator[Case]:
    for host, site in (("inception", "body.1"), ("retrieval", "query"), ("gin", "layers.0")):
        yield make(host, "reset-each-forward", at_every_forward(site, nn.init.xavier_uniform_), at(site), site=site)


def weights_clipped_cases() -> Iterator[Case]:
    for host, limit in (("inception", 0.001), ("dcn", 0.01), ("siren", 0.0001)):
        yield make(
            host,
            "weights-clipped",
            at_every_forward("body", lambda w, limit=limit: w.clamp_(-limit, limit)),  # type: ignore[misc]
            ("body*",),
            variant=f"{limit:g}",
        )


def parameter_replaced_cases() -> Iterator[Case]:
    made: tuple[tuple[str, str, str, str, Callable[[str], Mutation]], ...] = (
        ("weight-data", "", "fourier", "body.1.linear", without_recording),
        ("parameter-anew", "", "gat", "layers.0.linear", parameter_anew),
        ("copy-called", "each-time", "siamese", "body.1.0", copied),
        ("copy-called", "at-the-start", "fourier", "body.1.linear", stale_copy),
    )
    for operator, variant, host, site, how in made:
        yield make(host, operator, how(site), at(site), variant=variant, site=site)


def parametrization_cases() -> Iterator[Case]:
    weights: tuple[tuple[str, str, str, Change], ...] = (
        ("detached", "deep-cnn", "body.3.conv", detach),
        ("norm-twice", "fourier", "body.1.linear", over_its_norm),
        ("shares", "deep-cnn", "body.3.conv", rows_as_shares),
        ("zero", "siamese", "body.1.0", times(0.0)),
    )
    for variant, host, site, change in weights:
        yield make(host, "parametrization", parametrized((site,), change), at(site), variant=variant, site=site)


def table_max_norm_cases() -> Iterator[Case]:
    yield make("seq2seq", "table-max-norm", max_norm("source", 0.0001), at("source"), site="source")


def table_padding_cases() -> Iterator[Case]:
    yield make("lstm-lm", "table-padding", padding_at("embed", 0), at("embed"), site="embed")


OPERATORS = (
    unregistered_cases,
    not_a_parameter_cases,
    unused_parameters_cases,
    frozen_trunk_cases,
    rebuilt_each_forward_cases,
    reset_each_forward_cases,
    weights_clipped_cases,
    parameter_replaced_cases,
    parametrization_cases,
    table_max_norm_cases,
    table_padding_cases,
)
