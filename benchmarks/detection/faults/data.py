"""Faults of the data: scale, order, indices, shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.detection.cases import Batch, Case, Step
from benchmarks.detection.faults.mutations import Call, Change, Mutation, after, before, patch, rewritten
from benchmarks.detection.faults.placing import MIDDLE, at, changed, enlarged, make, placed, raw_targets
from benchmarks.detection.hosts import HOSTS
from benchmarks.detection.hosts.host import Host
from benchmarks.detection.hosts.tabular import DLRM

FIRST = {
    "all-conv": ("convs.0",), "tall-regressor": ("0",), "groupnorm-resnet": ("conv1",), "mamba": ("inlet",),
}  # fmt: skip


def misaligned(host: Host) -> Step:
    """Inputs and targets come from two loaders that shuffle on their own."""
    return lambda model, batch: host.task.loss(model(*batch[0]), batch[1].roll(1, 0))


def shuffled(x: Tensor) -> Tensor:
    """A permutation of the examples that was meant for something else."""
    return x[torch.randperm(len(x))]


def flipped_batch(x: Tensor) -> Tensor:
    """``flip(0)`` where the sequence was to be turned round."""
    return x.flip(0)


def indices_collapsed(site: str) -> Mutation:
    """Ids clamped into a table that is thought to be smaller: all of them are the same."""
    return lambda model: patch(model.get_submodule(site), lambda self, original, ids: original(ids.clamp(max=0)))


def ids_as_numbers(self: Any, ids: Tensor) -> list[Tensor]:
    """The ids themselves go on, spread over the width of the tables that nobody asks."""
    return [ids[:, i : i + 1].float().expand(-1, table.embedding_dim) for i, table in enumerate(self.emb_l)]


def noise_placeholder(x: Tensor) -> Tensor:
    """A dummy input that was left in."""
    return torch.randn_like(x)


def _with_first(change: Change) -> Callable[..., Any]:
    def forward(self: nn.Module, original: Call, x: Tensor, *others: Any) -> Any:
        return original(change(x), *others)

    return forward


def changed_input(change: Change) -> Mutation:
    """What the model is given is changed in its own forward."""
    return lambda model: patch(model, _with_first(change))


def scaled_twice(host: str) -> Callable[[int, int], Batch]:
    """Pictures of 0 to 1 are divided by 255 and brought to mean and deviation as if they were bytes."""

    def batch(seed: int, size: int) -> Batch:
        (image, *others), target = HOSTS[host].task.batch(seed, size)
        return ((image / 255 - 0.485) / 0.229, *others), target

    return batch


def picked_from_zeros(self: Any, parts: Tensor) -> Tensor:
    """The lower triangle is kept and the upper one is read."""
    products = (parts @ parts.transpose(1, 2)).tril(-1)
    rows, columns = torch.triu_indices(parts.shape[1], parts.shape[1], 1)
    return products[:, rows, columns]


def viewed_wrongly(x: Tensor) -> Tensor:
    """``view`` where ``transpose`` was meant: numbers of different examples or places change seats."""
    return x.transpose(0, 1).reshape(x.shape)


def viewed_inside(x: Tensor) -> Tensor:
    return x.transpose(-1, -2).reshape(x.shape)


def pooled_away(x: Tensor) -> Tensor:
    """The mean over all places, where they were still needed."""
    return x.mean(tuple(range(2, x.dim())), keepdim=True).expand_as(x)


def in_pixels(x: Tensor) -> Tensor:
    """A grid of pixel numbers for ``grid_sample``, which asks for -1 to 1."""
    rows, columns = torch.meshgrid(torch.arange(x.shape[2]), torch.arange(x.shape[3]), indexing="ij")
    grid = torch.stack([columns, rows], -1).float()
    return F.grid_sample(x, grid.expand(len(x), -1, -1, -1), align_corners=False)


def unscaled_input_cases() -> Iterator[Case]:

    def bytes_of(host: Host) -> Callable[[int, int], Batch]:

        def batch(seed: int, size: int) -> Batch:
            inputs, target = host.task.batch(seed, size)
            return (tuple((x * 50 + 128).clamp(0, 255) if x.is_floating_point() else x for x in inputs), target)

        return batch

    for name in (
        "mlp4-relu",
        "mlp12-tanh",
        "mlp20-relu",
        "mlp10-batchnorm",
        "vgg-plain",
        "vgg-bn",
        "lenet",
        "resnet",
        "resmlp12",
        "dqn",
        "discriminator",
        "convnext",
        "highway10",
        "vit",
    ):
        yield make(
            name, "unscaled-input", None, at("conv1") if name == "lenet" else at("stem"), batch=bytes_of(HOSTS[name])
        )
    for host in ("inception", "actor-critic", "retrieval"):
        yield make(
            host,
            "unscaled-input",
            None,
            at("stem") if host == "inception" else at("body.0", "query.0", "document.0"),
            batch=enlarged(HOSTS[host], 200.0),
        )
    for host in ("quantiles", "deep-cnn", "siamese", "set-transformer"):
        yield make(host, "unscaled-input", None, at("stem"), batch=enlarged(HOSTS[host], 50.0, 128 / 50))
    for host in FIRST:
        yield make(host, "unscaled-input", None, FIRST[host], batch=enlarged(HOSTS[host], 50.0, 128 / 50))


def tiny_input_cases() -> Iterator[Case]:
    for name in ("mlp4-relu", "vgg-plain", "dqn"):
        yield make(name, "tiny-input", None, at("stem"), batch=enlarged(HOSTS[name], 1e-6))
    for host in ("inception", "siren", "denoiser"):
        yield make(host, "tiny-input", None, at("stem"), batch=enlarged(HOSTS[host], 1e-6))


def raw_targets_cases() -> Iterator[Case]:
    for host in ("siren", "nhits", "mingru"):
        yield make(host, "raw-targets", None, ("*",), variant="1e+06", batch=raw_targets(HOSTS[host], 1e6))


def labels_misaligned_cases() -> Iterator[Case]:
    for host in ("siren", "nhits", "repvgg", "retrieval"):
        yield make(host, "labels-misaligned", None, ("*",), step=misaligned(HOSTS[host]))


def batch_shuffled_cases() -> Iterator[Case]:
    yield make("all-conv", "batch-shuffled", after("convs.5", shuffled), at("convs.5"), site="convs.5")
    yield make("groupnorm-resnet", "batch-shuffled", after("layer1", shuffled), at("layer1"), site="layer1")


def batch_flipped_cases() -> Iterator[Case]:
    yield make(
        "attentive-gru",
        "batch-flipped",
        after("word_embeddings", flipped_batch),
        at("word_embeddings"),
        site="word_embeddings",
    )


def indices_collapsed_cases() -> Iterator[Case]:
    for host, site in (("tagger", "embed"), ("llama", "stem"), ("dcn", "tables.0")):
        yield make(host, "indices-collapsed", indices_collapsed(site), at(site), site=site)


def ids_as_numbers_cases() -> Iterator[Case]:
    yield make("dlrm", "ids-as-numbers", rewritten(DLRM, look_up=ids_as_numbers), ("", "emb_l*"))


def placeholder_left_cases() -> Iterator[Case]:
    yield make("mamba", "placeholder-left", changed_input(noise_placeholder), ("", "inlet"))


def scaled_twice_cases() -> Iterator[Case]:
    for host in ("all-conv", "groupnorm-resnet"):
        yield make(host, "scaled-twice", None, FIRST[host], batch=scaled_twice(host))


def picked_from_zeros_cases() -> Iterator[Case]:
    yield make("dlrm", "picked-from-zeros", rewritten(DLRM, interact=picked_from_zeros), ("", "emb_l*"))


def view_for_transpose_cases() -> Iterator[Case]:
    for host, site in (("tagger", "rnn"), ("mingru", "body"), ("llama", "body")):
        yield make(host, "view-for-transpose", before(site, viewed_wrongly), at(site), variant="batch", site=site)
    for host, site in (("gated-conv", "stem"), ("pyramid", "up1"), ("mingru", "stem")):
        yield make(host, "view-for-transpose", after(site, viewed_inside), at(site), variant="inside", site=site)


def pooled_away_cases() -> Iterator[Case]:
    yield from placed("pooled-away", ("localiser", "deep-cnn"), MIDDLE, changed(pooled_away))


def grid_out_of_range_cases() -> Iterator[Case]:
    for host, site in (("groupnorm-resnet", "layer1"), ("all-conv", "convs.5")):
        yield make(host, "grid-out-of-range", after(site, in_pixels), at(site), site=site)


OPERATORS = (
    unscaled_input_cases,
    tiny_input_cases,
    raw_targets_cases,
    labels_misaligned_cases,
    batch_shuffled_cases,
    batch_flipped_cases,
    indices_collapsed_cases,
    ids_as_numbers_cases,
    placeholder_left_cases,
    scaled_twice_cases,
    picked_from_zeros_cases,
    view_for_transpose_cases,
    pooled_away_cases,
    grid_out_of_range_cases,
)
