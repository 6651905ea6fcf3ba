"""Faults of arithmetic: NaN, infinity, half precision, cancellation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.detection.cases import Batch, Case, Step
from benchmarks.detection.faults.mutations import Change, before, floats
from benchmarks.detection.faults.placing import DEEP_STACKS, MIDDLE, at, changed, make, placed
from benchmarks.detection.hosts import HOSTS
from benchmarks.detection.hosts.host import Host


def sqrt_of_zero(x: Tensor) -> Tensor:
    """A distance of every point to itself: the value is zero, its gradient is infinite times zero."""
    return x + (x - x).square().sum(-1, keepdim=True).sqrt()


def norm_of_nothing(x: Tensor) -> Tensor:
    return x + (x * 0).pow(2).sum(-1, keepdim=True).pow(0.5)


def guarded_log(x: Tensor) -> Tensor:
    """The classic: torch.where picks the good branch forward, backward both are differentiated."""
    return torch.where(x > 0, x.log(), -x.abs())


def guarded_ratio(x: Tensor) -> Tensor:
    zero = x - x.detach()
    return x + torch.where(zero == 0, zero, x / zero)


def inverse_root(x: Tensor) -> Tensor:
    return x + torch.nan_to_num((x - x).pow(0.25))


def log_of_negative(x: Tensor) -> Tensor:
    return x + (x - x.detach().abs() - 1).log()


def exp_overflow(x: Tensor) -> Tensor:
    grown = (100 * (x.abs() + 1)).exp()
    return grown / grown.sum(-1, keepdim=True)


def to_half(model: nn.Module) -> None:
    model.half()


def autocast(host: Host, factor: float) -> Step:
    """float16 without a loss scale, with a loss that is averaged over too much."""

    def step(model: nn.Module, batch: Batch) -> Tensor:
        inputs, target = batch
        with torch.autocast("cpu", dtype=torch.float16):
            out = model(*inputs)
        return host.task.loss(floats(Tensor.float, out), target) * factor

    return step


def in_half_with_eps(x: Tensor) -> Tensor:
    """An epsilon that float16 does not know, under a deviation of zero."""
    half = x.half()
    centred = half - half.mean(-1, keepdim=True)
    constant = torch.zeros_like(centred[..., :1])
    return (centred + constant / (constant.square().mean(-1, keepdim=True).sqrt() + 1e-8)).float()


def half_overflow(x: Tensor) -> Tensor:
    """Squares that leave the range of float16."""
    half = 300 * x.half()
    return (half / (1 + half.square().square().mean(-1, keepdim=True).sqrt())).float()


def root_of_relu(x: Tensor) -> Tensor:
    return x.relu().sqrt()


def angle_to_itself(x: Tensor) -> Tensor:
    """acos at exactly one."""
    cosine = (x / x.norm(dim=-1, keepdim=True) * x / x.norm(dim=-1, keepdim=True)).sum(-1, keepdim=True)
    return x + cosine.clamp(-1, 1).acos()


def row_masked(x: Tensor) -> Tensor:
    """A softmax over nothing but minus infinity, whose NaN is replaced afterwards."""
    weight = x.masked_fill(torch.ones_like(x, dtype=torch.bool), -torch.inf).softmax(-1)
    return x + torch.nan_to_num(weight)


def offset(by: float) -> Change:
    """A constant that swamps the signal in float32."""
    return lambda x: (x + by) - by


def cumulated(x: Tensor) -> Tensor:
    """A running product where a sum was meant."""
    return x.cumprod(-1)


def as_integers(x: Tensor) -> Tensor:
    """Cast to integers and back, for a layer that asked for another type."""
    return x.long().float()


def as_bytes(x: Tensor) -> Tensor:
    return x.clamp(0, 255).byte().float() / 255


def nan_backward_cases() -> Iterator[Case]:
    hosts = ("mlp4-relu", "vgg-plain", "lenet", "pointnet", "encoder4-pre", "autoencoder")
    for i, slip in enumerate((sqrt_of_zero, norm_of_nothing, guarded_log, guarded_ratio, inverse_root)):
        yield from placed(
            "nan-backward", (*hosts, *hosts)[i : i + 4], ("middle",), changed(slip), slip.__name__.replace("_", "-")
        )
    yield from placed("nan-backward", ("inception", "gin"), MIDDLE, changed(guarded_log), "guarded-log")
    yield from placed("nan-backward", ("mingru", "pyramid"), MIDDLE, changed(sqrt_of_zero), "sqrt-of-zero")
    nan: tuple[tuple[str, Change], ...] = (
        ("fourier", sqrt_of_zero),
        ("siamese", norm_of_nothing),
        ("deep-cnn", guarded_log),
        ("gat", guarded_ratio),
        ("set-transformer", inverse_root),
        ("tall-regressor", sqrt_of_zero),
        ("sage-jump", norm_of_nothing),
        ("all-conv", guarded_log),
        ("conv-vae", guarded_ratio),
    )
    for host, change in nan:
        yield from placed("nan-backward", (host,), MIDDLE, changed(change), change.__name__.replace("_", "-"))


def nan_forward_cases() -> Iterator[Case]:
    for change in (log_of_negative, exp_overflow):
        yield from placed(
            "nan-forward",
            ("mlp4-relu", "resnet", "encoder4-pre", "dqn"),
            ("middle",),
            changed(change),
            change.__name__.replace("_", "-"),
        )
    yield from placed("nan-forward", ("quantiles",), MIDDLE, changed(exp_overflow), "exp-overflow")
    yield make("dlrm", "nan-forward", before("bot_l", torch.log1p), at("bot_l"), variant="log1p", site="bot_l")


def half_precision_cases() -> Iterator[Case]:

    def halved(host: Host) -> Callable[[int, int], Batch]:

        def batch(seed: int, size: int) -> Batch:
            inputs, target = host.task.batch(seed, size)
            return (tuple(x.half() for x in inputs), target)

        return batch

    def pure(host: Host, factor: float) -> Step:
        return lambda model, batch: host.task.loss(model(*batch[0]).float(), batch[1]) * factor

    for name in ("mlp4-relu", "mlp20-relu", "vgg-plain", "mlp12-tanh"):
        for factor in (1e-7, 0.0001, 1.0):
            yield make(
                name, "half-precision", None, ("*",), variant=f"autocast-{factor:g}", step=autocast(HOSTS[name], factor)
            )
    for name in ("mlp4-relu", "mlp12-tanh"):
        yield make(
            name,
            "half-precision",
            to_half,
            ("*",),
            variant="pure-1e-07",
            step=pure(HOSTS[name], 1e-7),
            batch=halved(HOSTS[name]),
        )
    for host in ("fourier", "deep-cnn"):
        yield make(host, "half-precision", None, ("*",), variant="autocast-1e-07", step=autocast(HOSTS[host], 1e-7))
    yield make("fourier", "half-precision", None, ("*",), variant="autocast-1", step=autocast(HOSTS["fourier"], 1.0))
    for host in DEEP_STACKS:
        yield make(host, "half-precision", None, ("*",), variant="autocast-1e-07", step=autocast(HOSTS[host], 1e-7))


def half_eps_cases() -> Iterator[Case]:
    yield from placed("half-eps", ("siamese",), MIDDLE, changed(in_half_with_eps))


def half_overflow_cases() -> Iterator[Case]:
    yield from placed("half-overflow", ("deep-cnn",), MIDDLE, changed(half_overflow))


def root_of_relu_cases() -> Iterator[Case]:
    yield from placed("root-of-relu", ("siren", "inception", "repvgg"), MIDDLE, changed(root_of_relu))


def angle_to_itself_cases() -> Iterator[Case]:
    yield from placed("angle-to-itself", ("retrieval", "llama"), MIDDLE, changed(angle_to_itself))


def row_masked_cases() -> Iterator[Case]:
    yield from placed("row-masked", ("gated-conv", "pyramid"), MIDDLE, changed(row_masked))


def swamped_by_constant_cases() -> Iterator[Case]:
    yield from placed("swamped-by-constant", ("siamese",), MIDDLE, changed(offset(1e9)))


def running_product_cases() -> Iterator[Case]:
    yield from placed("running-product", ("quantiles",), MIDDLE, changed(cumulated))


def cast_to_integers_cases() -> Iterator[Case]:
    yield make("fourier", "cast-to-integers", before("stem", as_integers), at("stem"))
    yield make("quantiles", "cast-to-integers", before("stem", as_bytes), at("stem"), variant="bytes")
    yield from placed("cast-to-integers", ("set-transformer",), MIDDLE, changed(as_integers))


OPERATORS = (
    nan_backward_cases,
    nan_forward_cases,
    half_precision_cases,
    half_eps_cases,
    half_overflow_cases,
    root_of_relu_cases,
    angle_to_itself_cases,
    row_masked_cases,
    swamped_by_constant_cases,
    running_product_cases,
    cast_to_integers_cases,
)
