"""Faults of wiring: what is skipped, dropped, called twice or multiplied by zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.detection.cases import Case
from benchmarks.detection.faults.mutations import Call, Change, Mutation, all_of, no_residual, patch, replace, rewritten
from benchmarks.detection.faults.placing import MIDDLE, at, changed, everywhere, make, placed
from benchmarks.detection.hosts import HOSTS
from benchmarks.detection.hosts.host import blocks
from benchmarks.detection.hosts.language import CharGPT

RESIDUAL = (
    "resmlp12", "resnet", "preact-resnet", "se-resnet", "mobilenet", "convnext", "normfree", "mixer", "vit", "tcn",
    "moe", "encoder4-pre", "encoder4-post", "encoder6-post", "encoder12-pre", "encoder24-pre", "gpt", "ft-transformer",
)  # fmt: skip
CHAINS = ("repvgg", "gated-conv", "llama", "mingru")
"""Residual blocks in a row."""


def skipped(site: str) -> Mutation:
    """The block is there, its parent (an ``nn.Sequential``) never calls it."""
    parent, _, index = site.rpartition(".")

    def forward(self: nn.Module, original: Call, x: Tensor) -> Tensor:
        for name, child in self.named_children():
            x = x if name == index else child(x)
        return x

    return lambda model: patch(model.get_submodule(parent), forward)


def rewritten_at(site: str, **methods: Callable[..., Any]) -> Mutation:
    def apply(model: nn.Module) -> None:
        module = model.get_submodule(site)
        module.__class__ = type(type(module).__name__, (type(module),), methods)

    return apply


def left_out(chain: str, index: int) -> Mutation:
    """The loop over an ``nn.ModuleList`` misses one of its blocks."""

    def those(self: nn.ModuleList) -> Iterator[nn.Module]:
        return (one for i, one in enumerate(self._modules.values()) if i != index and one is not None)

    return rewritten_at(chain, __iter__=those)


def result_dropped(site: str) -> Mutation:
    """The block is called, its result is never assigned."""

    def forward(self: nn.Module, original: Call, x: Tensor, *others: Any) -> Tensor:
        original(x, *others)
        return x

    return lambda model: patch(model.get_submodule(site), forward)


def aliased(chain: str) -> Mutation:
    """``[block] * n``: the same block everywhere."""

    def apply(model: nn.Module) -> None:
        body: Any = model.get_submodule(chain)
        for i in range(1, len(body)):
            body[i] = body[0]

    return apply


def branch_times_zero(site: str) -> Mutation:
    """The branch is multiplied by a buffer that holds zero."""

    def forward(self: nn.Module, original: Call, x: Tensor, *others: Any) -> Tensor:
        return x + self.strength * (original(x, *others) - x)

    def apply(model: nn.Module) -> None:
        block = model.get_submodule(site)
        block.register_buffer("strength", torch.zeros(1))
        patch(block, forward)

    return apply


def residual_gain(site: str, factor: float) -> Mutation:
    """The input is scaled before it is added."""

    def forward(self: nn.Module, original: Call, x: Tensor, *others: Any) -> Tensor:
        return original(x, *others) + (factor - 1) * x

    return lambda model: patch(model.get_submodule(site), forward)


def run_forgetting(self: Any, x: Tensor) -> Tensor:
    """``out = block(x)`` in a loop: only the last block counts."""
    out = x
    for block in self.h:
        out = block(x)
    return out


def sequence_forgetting(self: Any, x: Tensor) -> Tensor:
    out = x
    for layer in self:
        out = layer(x)
    return out


def encoder_forgetting(self: Any, src: Tensor) -> Tensor:
    out = src
    for layer in self.layers:
        out = layer(src)
    return out


def run_returning(self: Any, x: Tensor) -> Any:
    """The return stands inside of the loop."""
    for block in self.h:
        return block(x)
    return x


def called_twice(parent: str, wrong: str, right: str) -> Mutation:
    """Copy and paste: ``right`` is called where ``wrong`` should be, which nobody calls."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        for name, child in self.named_children():
            x = self.get_submodule(right)(x) if name == wrong else child(x)
        return x

    return rewritten_at(parent, forward=forward)


def same_convolution(model: nn.Module) -> None:
    """The same slip with an ``nn.ModuleList``."""

    def those(self: nn.ModuleList) -> Iterator[nn.Module]:
        return iter([self[0], self[1], self[1]])

    rewritten_at("convs", __iter__=those)(model)


def double_gate(site: str) -> Mutation:
    """The branch of a residual block behind two gates, both zero: neither ever gets a gradient."""

    def apply(model: nn.Module) -> None:
        block = model.get_submodule(site)
        block.gate_a, block.gate_b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        patch(block, lambda self, original, x: x + self.gate_a * self.gate_b * (original(x) - x))

    return apply


def zero_branch(site: str, parameters: tuple[str, ...]) -> Mutation:
    """Several factors of one product start at zero."""

    def apply(model: nn.Module) -> None:
        for name, parameter in model.get_submodule(site).named_parameters():
            if any(fnmatchcase(name, glob) for glob in parameters):
                nn.init.zeros_(parameter)

    return apply


class Adapter(nn.Module):
    """LoRA around a layer that rests, with both factors at zero."""

    def __init__(self, base: nn.Module, rank: int = 2) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        outputs, inputs = base.weight.shape  # type: ignore[misc]
        self.lora_A, self.lora_B = nn.Parameter(torch.zeros(rank, inputs)), nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T


def adapted(sites: tuple[str, ...]) -> Mutation:
    def apply(model: nn.Module) -> None:
        for site in sites:
            replace(model, site, Adapter(model.get_submodule(site)))

    return apply


def zero_mask(site: str, share: float) -> Mutation:
    """The weight is multiplied by a mask of zeros (pruning gone wrong)."""

    def apply(model: nn.Module) -> None:
        module = model.get_submodule(site)
        weight: Tensor = module.weight  # type: ignore[assignment]
        mask = (torch.rand(weight.shape) >= share).float()
        module.register_buffer("mask", mask)
        del module._parameters["weight"]
        module.weight_orig = nn.Parameter(weight.detach().clone())

        module.weight = None  # type: ignore[assignment]

        def forward(self: nn.Module, original: Call, x: Tensor) -> Tensor:
            self.weight = self.weight_orig * self.mask  # type: ignore[operator]
            out = original(x)
            self.weight = None  # type: ignore[assignment]  # a graph left behind could not be deep-copied
            return out

        patch(module, forward)

    return apply


def dropout(p: float) -> Change:
    return lambda x: F.dropout(x, p, training=True)


def set_dropout(p: float) -> Mutation:
    def apply(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = p

    return apply


def no_residual_cases() -> Iterator[Case]:
    yield from everywhere("no-residual", RESIDUAL, no_residual)
    yield from everywhere("no-residual", CHAINS, no_residual)
    yield from everywhere("no-residual", ("quantiles", "set-transformer"), no_residual)
    yield from everywhere("no-residual", ("char-gpt", "bracket-encoder", "groupnorm-resnet", "mamba"), no_residual)


def block_skipped_cases() -> Iterator[Case]:
    yield from placed(
        "block-skipped",
        ("mlp8-leaky", "resnet", "resmlp12", "encoder4-pre", "vgg-bn", "moe", "gpt"),
        ("middle",),
        skipped,
    )
    yield from placed("block-skipped", ("repvgg", "llama", "siren", "inception"), MIDDLE, skipped)
    yield from placed("block-skipped", ("fourier", "deep-cnn", "set-transformer"), MIDDLE, skipped)
    yield make("char-gpt", "block-skipped", left_out("h", 3), at("h.3"), site="h.3")
    yield from placed("block-skipped", ("mamba",), ("late",), skipped)


def result_dropped_cases() -> Iterator[Case]:
    yield from placed("result-dropped", ("repvgg", "llama", "siren", "denoiser"), MIDDLE, result_dropped)


def aliased_cases() -> Iterator[Case]:
    for host in (*CHAINS, "siren"):
        yield make(host, "aliased", aliased("body"), ("body*",))


def branch_times_zero_cases() -> Iterator[Case]:
    yield from placed("branch-times-zero", (*CHAINS, "denoiser"), MIDDLE, branch_times_zero)


def residual_gain_cases() -> Iterator[Case]:
    for factor in (1.5, 30.0):
        for host in CHAINS:
            yield make(
                host,
                "residual-gain",
                all_of(*(residual_gain(f"body.{i}", factor) for i in range(blocks(HOSTS[host])))),
                ("body*",),
                variant=f"x{factor:g}",
            )


def loop_forgets_cases() -> Iterator[Case]:
    yield make("char-gpt", "loop-forgets", rewritten(CharGPT, run=run_forgetting), ("", "h*"))
    yield make("mamba", "loop-forgets", rewritten_at("layers", forward=sequence_forgetting), at("layers"))
    yield make("bracket-encoder", "loop-forgets", rewritten_at("encoder", forward=encoder_forgetting), at("encoder"))


def returns_early_cases() -> Iterator[Case]:
    yield make("char-gpt", "returns-early", rewritten(CharGPT, run=run_returning), ("", "h*"))


def copy_paste_cases() -> Iterator[Case]:
    for host, parent, wrong, right in (("tall-regressor", "", "10", "8"), ("pinn", "net", "4", "2")):
        site = f"{parent}.{wrong}".lstrip(".")
        yield make(host, "copy-paste", called_twice(parent, wrong, right), (parent, *at(site)), site=site)
    yield make("sage-jump", "copy-paste", same_convolution, ("", *at("convs.2")), site="convs.2")


def double_zero_gate_cases() -> Iterator[Case]:
    yield from placed(
        "double-zero-gate", ("resmlp12", "resnet", "encoder4-pre", "convnext", "mixer", "tcn"), ("middle",), double_gate
    )
    for host in ("repvgg", "gated-conv"):
        yield from placed("double-zero-gate", (host,), MIDDLE, double_gate)
    yield from placed("double-zero-gate", ("quantiles", "set-transformer"), MIDDLE, double_gate)
    for host, site in (("mamba", "layers.1"), ("char-gpt", "h.3")):
        yield make(host, "double-zero-gate", double_gate(site), at(site), site=site)


def double_zero_branch_cases() -> Iterator[Case]:
    several: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("convnext", "body.1", ("gamma", "fc2.*")),
        ("resmlp12", "body.5", ("fc1.*", "fc2.*")),
        ("encoder4-pre", "body.2", ("attn.value.*", "attn.out.*")),
        ("resnet", "body.1", ("conv1.*", "conv2.*")),
        ("tcn", "body.2", ("conv1.*", "conv2.*")),
    )
    for host, site, names in several:
        yield make(host, "double-zero-branch", zero_branch(site, names), at(site), site=site)
    yield make("denoiser", "double-zero-branch", zero_branch("body.1", ("fc2.*",)), at("body.1"), site="body.1")
    yield make("flow", "double-zero-branch", zero_branch("body.2", ("net.2.*",)), at("body.2"), site="body.2")
    for host, site, names in (
        ("quantiles", "body.1", ("fc2.*", "gate.*")),
        ("set-transformer", "body.1.attn", ("value.*", "out.*")),
    ):
        yield make(host, "double-zero-branch", zero_branch(site, names), at(site), site=site)
    for host, site, names in (
        ("char-gpt", "h.2.mlp", ("c_fc.*", "c_proj.*")),
        ("mamba", "layers.0.mixer", ("in_proj.*", "out_proj.*")),
    ):
        yield make(host, "double-zero-branch", zero_branch(site, names), at(site), site=site)


def single_zero_branch_cases() -> Iterator[Case]:
    one: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("convnext", "body.1", ("gamma",)),
        ("resmlp12", "body.5", ("fc2.*",)),
        ("resnet", "body.1", ("bn2.*",)),
        ("encoder4-pre", "body.2", ("attn.out.*",)),
    )
    for host, site, names in one:
        yield make(host, "single-zero-branch", zero_branch(site, names), at(site), site=site)


def lora_both_zero_cases() -> Iterator[Case]:
    for site in ("body.0.attn.query", "body.1.mlp.fc1"):
        yield make("lora", "lora-both-zero", zero_branch(site, ("lora_*",)), at(site), site=site)
    yield make("lora", "lora-both-zero", zero_branch("body", ("*lora_*",)), ("body*",), variant="all")
    for host, sites in (("char-gpt", ("h.2.attn.c_attn",)), ("dlrm", ("top_l.0", "top_l.2"))):
        yield make(host, "lora-both-zero", adapted(sites), at(*sites), site=sites[0])


def zero_mask_cases() -> Iterator[Case]:
    for host, site in (
        ("mlp4-relu", "body.0.linear"),
        ("mlp20-relu", "body.8.linear"),
        ("lenet", "fc1"),
        ("encoder4-pre", "body.1.mlp.fc1"),
        ("vgg-plain", "body.2.conv"),
    ):
        for share in (1.0, 0.9):
            yield make(host, "zero-mask", zero_mask(site, share), at(site), variant=f"{share * 100:g}", site=site)
    site = "body.1.linear"
    yield make("fourier", "zero-mask", zero_mask(site, 1.0), at(site), variant="100", site=site)


def dropout_one_cases() -> Iterator[Case]:
    yield from placed(
        "dropout-one", ("mlp8-leaky", "vgg-plain", "encoder4-pre", "pointnet"), ("middle",), changed(dropout(1.0))
    )
    yield make("mlp5-dropout", "dropout-one", set_dropout(1.0), ("body*",), variant="modules")
    yield make("mlp5-dropout", "dropout-one", set_dropout(0.95), ("body*",), variant="p95")
    yield from placed("dropout-one", ("siren", "inception", "mingru"), MIDDLE, changed(dropout(1.0)))
    yield from placed("dropout-one", ("fourier", "gat"), MIDDLE, changed(dropout(1.0)))
    yield make("lstm-lm", "dropout-one", set_dropout(0.95), ("drop", "rnn*", "embed*"), variant="p95")


def dropout_high_cases() -> Iterator[Case]:
    for share in (0.9, 0.99):
        yield from placed(
            "dropout-high", ("inception", "llama", "siren"), MIDDLE, changed(dropout(share)), f"{share:g}"
        )
    yield from placed("dropout-high", ("set-transformer",), MIDDLE, changed(dropout(0.95)), "0.95")


OPERATORS = (
    no_residual_cases,
    block_skipped_cases,
    result_dropped_cases,
    aliased_cases,
    branch_times_zero_cases,
    residual_gain_cases,
    loop_forgets_cases,
    returns_early_cases,
    copy_paste_cases,
    double_zero_gate_cases,
    double_zero_branch_cases,
    single_zero_branch_cases,
    lora_both_zero_cases,
    zero_mask_cases,
    dropout_one_cases,
    dropout_high_cases,
)
