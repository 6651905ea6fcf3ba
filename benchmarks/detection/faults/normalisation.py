"""Faults of normalisation, and of the dimension something is normalised or averaged over."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.detection.cases import Case
from benchmarks.detection.faults.mutations import (
    NORMS,
    Change,
    Mutation,
    after,
    all_of,
    before,
    no_residual,
    patch,
    replace,
)
from benchmarks.detection.faults.placing import MIDDLE, at, changed, everywhere, make, output_change, placed

NORMED = (
    "mlp10-batchnorm", "resmlp12", "vgg-bn", "resnet", "preact-resnet", "se-resnet", "mobilenet", "convnext",
    "densenet", "mixer", "vit", "unet", "encoder4-pre", "encoder4-post", "encoder6-post", "encoder12-pre", "moe",
)  # fmt: skip


def no_norm(model: nn.Module) -> None:
    for path, module in list(model.named_modules()):
        if isinstance(module, NORMS):
            replace(model, path, nn.Identity())


def norm_eps(eps: float) -> Mutation:
    def apply(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, NORMS):
                module.eps = eps

    return apply


def frozen_statistics(model: nn.Module) -> None:
    """BatchNorm left in eval mode: it divides by the statistics it was born with."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            patch(
                module,
                lambda self, original, x: F.batch_norm(
                    x, self.running_mean, self.running_var, self.weight, self.bias, False
                ),
            )


def group_per_channel(x: Tensor) -> Tensor:
    """A group norm with as many groups as channels, of one number each."""
    return F.group_norm(x.flatten(0, -2) if x.dim() > 2 else x, x.shape[-1]).view_as(x)


def norm_of_one(x: Tensor) -> Tensor:
    """LayerNorm behind the single output."""
    return F.layer_norm(x, (1,))


def std_of_one(x: Tensor) -> Tensor:
    """The unbiased deviation of a single value."""
    one = x[..., None]
    return ((one - one.mean(-1, keepdim=True)) / (one.std(-1, keepdim=True) + 1e-6))[..., 0]


def over_std(x: Tensor) -> Tensor:
    """Standardised over the batch without an epsilon."""
    return (x - x.mean(0)) / x.std(0)


def normed_features(x: Tensor) -> Tensor:
    """LayerNorm over the two numbers of a place: one of -1 and 1 is left of each."""
    return F.layer_norm(x, x.shape[-1:])


def normalised(dim: int) -> Change:
    return lambda x: F.normalize(x, dim=dim)


def batch_mean(x: Tensor) -> Tensor:
    """A mean over dimension 0 where dimension 1 was meant: every example becomes the same."""
    return x.mean(0, keepdim=True).expand_as(x)


def feature_mean(x: Tensor) -> Tensor:
    return x.mean(-1, keepdim=True).expand_as(x)


def centred_away(x: Tensor) -> Tensor:
    """Normalised over a dimension of size one."""
    return (x[..., None] - x[..., None].mean(-1, keepdim=True))[..., 0]


def softmax_of_one(x: Tensor) -> Tensor:
    return x[..., None].softmax(-1)[..., 0]


def no_norm_cases() -> Iterator[Case]:
    yield from everywhere("no-norm", NORMED, no_norm)
    yield from everywhere("no-norm", ("repvgg", "gin", "retrieval"), no_norm)
    yield from everywhere("no-norm", (*("quantiles", "set-transformer"), "localiser"), no_norm)
    yield from everywhere("no-norm", ("char-gpt", "groupnorm-resnet", "mamba"), no_norm)


def no_residual_no_norm_cases() -> Iterator[Case]:
    yield from everywhere(
        "no-residual-no-norm",
        ("resmlp12", "resnet", "encoder4-pre", "encoder12-pre", "encoder6-post", "mixer", "vit", "convnext"),
        all_of(no_residual, no_norm),
    )
    yield from everywhere("no-residual-no-norm", ("char-gpt",), all_of(no_residual, no_norm))


def norm_eps_cases() -> Iterator[Case]:
    yield from everywhere("norm-eps", ("mlp10-batchnorm", "vgg-bn", "resnet", "mobilenet"), norm_eps(1e4), "1e4")
    yield from everywhere("norm-eps", ("encoder4-post", "encoder6-post", "resmlp12"), norm_eps(1e6), "1e6")
    yield from everywhere("norm-eps", ("mlp10-batchnorm", "vgg-bn"), norm_eps(1.0), "1")


def norm_in_eval_mode_cases() -> Iterator[Case]:
    yield from everywhere("norm-in-eval-mode", ("mlp10-batchnorm", "vgg-bn", "resnet", "mobilenet"), frozen_statistics)


def group_per_channel_cases() -> Iterator[Case]:
    yield make("repvgg", "group-per-channel", after("head.1", group_per_channel), at("head"), site="head.1")
    for host, site in (("retrieval", "document.3"), ("nhits", "body.1")):
        yield make(host, "group-per-channel", after(site, group_per_channel), at(site), site=site)


def norm_of_one_cases() -> Iterator[Case]:
    for host in ("siren", "mingru", "dcn"):
        yield output_change(host, "norm-of-one", norm_of_one)


def std_of_one_cases() -> Iterator[Case]:
    yield from placed("std-of-one", ("siren", "llama"), MIDDLE, changed(std_of_one))


def over_std_cases() -> Iterator[Case]:
    yield from placed("over-std", ("inception", "gin", "siren", "retrieval"), MIDDLE, changed(over_std))


def features_normed_away_cases() -> Iterator[Case]:
    for host, site in (("mamba", "inlet"), ("perceiver", "to_tokens")):
        yield make(host, "features-normed-away", before(site, normed_features), at(site), site=site)


def single_output_normalised_cases() -> Iterator[Case]:
    yield output_change("elman", "single-output-normalised", normalised(-1), "norm")
    yield output_change("set-transformer", "single-output-normalised", lambda x: x.softmax(-1), "softmax")


def wrong_dim_cases() -> Iterator[Case]:
    for erase in (batch_mean, feature_mean, centred_away, softmax_of_one):
        yield from placed(
            "wrong-dim",
            ("mlp4-relu", "mlp20-relu", "deepsets", "encoder4-pre", "lenet"),
            ("late",),
            changed(erase),
            erase.__name__.replace("_", "-"),
        )
    for erase in (batch_mean, feature_mean):
        yield from placed(
            "wrong-dim",
            ("siren", "gin", "retrieval", "llama"),
            ("late",),
            changed(erase),
            erase.__name__.replace("_", "-"),
        )
    for erase in (batch_mean, feature_mean):
        yield from placed(
            "wrong-dim", ("fourier", "siamese", "gat"), ("late",), changed(erase), erase.__name__.replace("_", "-")
        )
    for erase in (batch_mean, feature_mean):
        yield from placed("wrong-dim", ("sage-jump",), ("late",), changed(erase), erase.__name__.replace("_", "-"))


OPERATORS = (
    no_norm_cases,
    no_residual_no_norm_cases,
    norm_eps_cases,
    norm_in_eval_mode_cases,
    group_per_channel_cases,
    norm_of_one_cases,
    std_of_one_cases,
    over_std_cases,
    features_normed_away_cases,
    single_output_normalised_cases,
    wrong_dim_cases,
)
