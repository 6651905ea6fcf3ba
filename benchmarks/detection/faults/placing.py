"""How a fault becomes a case: which hosts, which place, and which loss or batches instead of the host's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from benchmarks.detection.cases import Batch, Case, Loss, Step
from benchmarks.detection.faults.mutations import Change, Mutation, after
from benchmarks.detection.hosts import HOSTS
from benchmarks.detection.hosts.host import Host, case

PERCEPTRONS = ("mlp4-relu", "mlp8-functional", "mlp8-leaky", "mlp12-gelu", "mlp12-tanh", "mlp20-relu")
MIDDLE = ("middle",)
DEEP_STACKS = ("all-conv", "tall-regressor")
"""Nets without norms and residuals."""
PLAIN_HOSTS = ("inception", "nhits", "dcn", "retrieval", "gin")
PLAIN_STACKS = ("fourier", "deep-cnn", "siamese")
"""Nets without norms and residuals."""


def at(*sites: str) -> tuple[str, ...]:
    """Globs for these modules and everything in them."""
    return tuple(glob for site in sites for glob in (site, f"{site}.*"))


def make(
    host: str,
    operator: str,
    mutation: Mutation | None,
    culprit: tuple[str, ...],
    *,
    variant: str = "",
    site: str = "",
    **changes: Any,
) -> Case:
    """``changes`` replaces further fields of the case: ``batch``, ``step`` or ``build``."""
    healthy = dataclasses.replace(case(HOSTS[host]), **changes)

    def build() -> nn.Module:
        model = healthy.build()
        if mutation is not None:
            mutation(model)
        return model

    name = f"{host}/{operator}" + (f"-{variant}" if variant else "") + (f"@{site}" if site else "")
    return dataclasses.replace(healthy, name=name, build=build, operator=operator, culprit=culprit)


def site_of(host: str, place: str) -> str:
    sites = HOSTS[host].places()
    return {"early": sites[0], "middle": sites[len(sites) // 2], "late": sites[-1]}[place]


def placed(
    operator: str, hosts: Iterable[str], places: Iterable[str], how: Callable[[str], Mutation], variant: str = ""
) -> Iterator[Case]:
    """The same line of code at several places of several hosts."""
    for host in hosts:
        for site in dict.fromkeys(site_of(host, place) for place in places):
            yield make(host, operator, how(site), at(site), variant=variant, site=site)


def everywhere(operator: str, hosts: Iterable[str], mutation: Mutation, variant: str = "") -> Iterator[Case]:
    """A diffuse fault: the whole trunk is the culprit."""
    for host in hosts:
        yield make(host, operator, mutation, HOSTS[host].trunk, variant=variant)


def changed(change: Change) -> Callable[[str], Mutation]:
    return lambda site: after(site, change)


def output_change(host: str, operator: str, change: Change, variant: str = "") -> Case:
    return make(host, operator, after("", change), LAST.get(host, at("head")), variant=variant)


LAST = {
    "char-gpt": ("lm_head", "wte"), "bracket-encoder": ("classifier",), "perceiver": at("to_answer"),
    "all-conv": ("fc",), "groupnorm-resnet": ("fc",), "mamba": ("readout",), "tall-regressor": ("24",),
    "dlrm": ("top_l.4", "top_l"), "sage-jump": at("lin"),
}  # fmt: skip


def on_loss(host: str, change: Callable[[Tensor], Tensor]) -> Step:
    return lambda model, batch: change(HOSTS[host].step(model, batch))


def another_loss(loss: Loss) -> Step:
    return lambda model, batch: loss(model(*batch[0]), batch[1])


def enlarged(host: Host, factor: float, by: float = 0.0) -> Callable[[int, int], Batch]:
    """Inputs far from zero."""

    def batch(seed: int, size: int) -> Batch:
        inputs, target = host.task.batch(seed, size)
        return tuple(x * factor + by * factor for x in inputs), target

    return batch


def raw_targets(host: Host, factor: float) -> Callable[[int, int], Batch]:
    """Targets in their own unit."""

    def batch(seed: int, size: int) -> Batch:
        inputs, target = host.task.batch(seed, size)
        return inputs, target * factor

    return batch
