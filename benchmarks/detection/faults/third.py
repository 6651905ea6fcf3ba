"""The faults of the third round: the known operators on further hosts, and operators that are new themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..cases import Batch, Case
from ..hosts import HOSTS, Host, third_tasks
from . import first_ops as ops
from . import second_ops as second
from . import third_ops as third
from .first import Step, at, changed, everywhere, make, output_change, placed
from .first_ops import Change, Mutation
from .second import Loss, another_loss, enlarged, on_loss

ALL = ("early", "middle", "late")
MIDDLE = ("middle",)
STACKS = ("fourier", "deep-cnn", "siamese")
"""Nets without norms and residuals."""


# --- known operators ---------------------------------------------------------------------------------------------


def known_structure() -> Iterator[Case]:
    plain = (*STACKS, "quantiles", "localiser", "gat")
    yield from everywhere("activation-sigmoid", plain, ops.activation("sigmoid"))
    yield from everywhere("activation-saturated", STACKS, ops.activation("tanh", 8.0), "tanh")
    residual = ("quantiles", "set-transformer")
    yield from everywhere("no-residual", residual, ops.no_residual)
    yield from everywhere("no-norm", (*residual, "localiser"), ops.no_norm)
    yield from placed("block-skipped", ("fourier", "deep-cnn", "set-transformer"), MIDDLE, ops.skipped)


def known_initialisation() -> Iterator[Case]:
    small = (*STACKS, "bars", "gat", "lstm-lm", "elman")
    yield from everywhere("init-small", small, ops.scaled(0.1), "x0.1")
    large = (*STACKS, "gat", "seq2seq", "elman", "set-transformer")
    yield from everywhere("init-large", large, ops.scaled(10.0), "x10")
    yield from everywhere("init-small", ("deep-cnn",), ops.scaled(0.3), "x0.3")
    yield from everywhere("init-large", ("deep-cnn", "elman"), ops.scaled(3.0), "x3")
    yield from everywhere("init-zero", ("siamese", "gat", "lstm-lm"), ops.filled(0.0))
    yield from placed("init-zero", ("deep-cnn", "bars", "quantiles"), MIDDLE, lambda s: ops.filled(0.0, at(s)))
    yield from everywhere("init-constant", ("fourier", "deep-cnn", "bars"), ops.filled(None))
    for host, site in (("fourier", "body.1"), ("siamese", "body.1"), ("bars", "encoder.2"), ("localiser", "body.1")):
        globs = ("body.1.norm",) if host == "localiser" else at(site)
        for share in (0.7, 1.0):
            killed = ops.dead_units(globs, share)
            yield make(host, "dead-units", killed, at(site), variant=f"{share:.0%}".rstrip("%"), site=site)


def known_cuts() -> Iterator[Case]:
    yield from placed("detach", ("deep-cnn", "siamese"), ALL, changed(ops.detach))
    yield from placed("detach", ("fourier", "bars", "gat", "localiser", "set-transformer", "seq2seq"), MIDDLE,
                      changed(ops.detach))  # fmt: skip
    yield from placed("no-grad", ("localiser", "set-transformer", "lstm-lm", "siamese"), ("early",), ops.without_grad)
    for host, site in (("localiser", "kind"), ("quantiles", "body.1.gate"), ("gat", "layers.0.linear"),
                       ("set-transformer", "body.0.gather"), ("set-transformer", "body.1.attn.key"),
                       ("seq2seq", "reader"), ("lstm-lm", "embed"), ("seq2seq", "target")):  # fmt: skip
        yield make(host, "detach-partial", ops.after(site, ops.detach), at(site), site=site)
    yield make("localiser", "detach-partial", ops.before("box", ops.detach), at("box"), variant="input")
    yield make("elman", "detach-each-step", ops.attribute(("",), "cut", True), at("cell"))
    yield from placed("round-trip", ("fourier",), MIDDLE, changed(ops.through_numpy), "numpy")
    yield from placed("round-trip", ("quantiles", "gat"), MIDDLE, changed(ops.through_item), "item")
    yield from placed("round-trip", ("bars", "elman"), ("early",), changed(ops.through_data), "data")


def known_erasures() -> Iterator[Case]:
    yield from placed("hard-step", ("fourier", "set-transformer"), MIDDLE, changed(torch.round), "round")
    yield from placed("hard-step", ("bars",), MIDDLE, changed(torch.sign), "sign")
    yield make("seq2seq", "hard-step", ops.after("reader", ops.one_hot), at("reader"), variant="argmax", site="reader")
    yield from placed("clamp", ("siamese", "quantiles"), MIDDLE, changed(ops.clamp(-1e-3, 1e-3)), "tiny")
    yield from placed("dropout-one", ("fourier", "gat"), MIDDLE, changed(ops.dropout(1.0)))
    yield from placed("dropout-high", ("set-transformer",), MIDDLE, changed(ops.dropout(0.95)), "0.95")
    yield make("lstm-lm", "dropout-one", ops.set_dropout(0.95), ("drop", "rnn*", "embed*"), variant="p95")
    for erase in (ops.batch_mean, ops.feature_mean):
        name = erase.__name__.replace("_", "-")
        yield from placed("wrong-dim", ("fourier", "siamese", "gat"), ("late",), changed(erase), name)
    yield from placed("gradient-clipped", ("bars", "quantiles"), MIDDLE, changed(ops.clipped_backward(0.0)), "zero")
    nan: tuple[tuple[str, Change], ...] = (
        ("fourier", ops.sqrt_of_zero), ("siamese", ops.norm_of_nothing), ("deep-cnn", ops.guarded_log),
        ("gat", ops.guarded_ratio), ("set-transformer", ops.inverse_root),
    )  # fmt: skip
    for host, change in nan:
        yield from placed("nan-backward", (host,), MIDDLE, changed(change), change.__name__.replace("_", "-"))
    yield from placed("nan-forward", ("quantiles",), MIDDLE, changed(ops.exp_overflow), "exp-overflow")
    yield from placed("double-zero-gate", ("quantiles", "set-transformer"), MIDDLE, ops.double_gate)
    for host, site, names in (("quantiles", "body.1", ("fc2.*", "gate.*")),
                              ("set-transformer", "body.1.attn", ("value.*", "out.*"))):  # fmt: skip
        yield make(host, "double-zero-branch", ops.zero_branch(site, names), at(site), site=site)
    site = "body.1.linear"
    yield make("fourier", "zero-mask", ops.zero_mask(site, 1.0), at(site), variant="100", site=site)


def known_attention() -> Iterator[Case]:
    loud = ops.all_of(ops.attribute(("*attn",), "scale", 1.0), ops.scaled(6.0, ("*.query", "*.key")))
    yield make("set-transformer", "attention-unscaled", loud, ("*attn*",), variant="x6")
    yield make("set-transformer", "softmax-temperature", ops.after_scores(1e4), ("*attn*",), variant="attention")
    yield make("set-transformer", "attention-mask", ops.attribute(("*attn",), "mask", "all"), ("*attn*",),
               variant="all")  # fmt: skip
    yield make("gat", "attention-mask", second.without_edges, ("layers*",), variant="all")
    for longest in (40, 100):
        yield make("elman", "long-sequence", None, at("cell"), variant=str(longest),
                   batch=third_tasks.added(longest).batch)  # fmt: skip
    shut = [ops.filled_parameter(f"rnn.bias_{kind}_l0", -15.0, 24, 48) for kind in ("ih", "hh")]
    yield make("lstm-lm", "gate-saturated", ops.all_of(*shut), at("rnn"), variant="forget-30")


def known_parameters() -> Iterator[Case]:
    body = tuple(f"body.{i}" for i in range(3))
    yield make("siamese", "unregistered", ops.unregistered(body), ("body*",), variant="all")
    yield make("deep-cnn", "unregistered", ops.unregistered(("body.3",)), at("body.3"), site="body.3")
    for host, site in (("fourier", "body.1.linear"), ("gat", "layers.0.linear")):
        yield make(host, "not-a-parameter", ops.plain_tensor(site), at(site), site=site)
    for host in ("siamese", "lstm-lm"):
        yield make(host, "unused-parameters", ops.unused, ("spare",))
    for host in ("fourier", "seq2seq", "localiser"):
        yield make(host, "frozen-trunk", ops.frozen(HOSTS[host].trunk), HOSTS[host].trunk)


def known_ends() -> Iterator[Case]:
    for host in ("fourier", "quantiles"):
        yield make(host, "loss-scale", None, ("*",), variant="1e-12", step=on_loss(host, lambda loss: loss * 1e-12))
    for host in ("siamese", "elman"):
        yield make(host, "loss-sign", None, ("*",), step=on_loss(host, lambda loss: -loss))
    for host in ("deep-cnn", "gat", "lstm-lm"):
        yield output_change(host, "double-softmax", lambda x: x.softmax(-1))
    yield output_change("bars", "double-sigmoid", torch.sigmoid)
    for host in ("set-transformer", "elman"):
        yield make(host, "loss-broadcast", None, at("head"), step=another_loss(broadcast))
    for host in ("quantiles", "deep-cnn", "siamese", "set-transformer"):
        yield make(host, "unscaled-input", None, at("stem"), batch=enlarged(HOSTS[host], 50.0, 128 / 50))
    for host in ("fourier", "deep-cnn"):
        yield make(host, "half-precision", None, ("*",), variant="autocast-1e-07", step=autocast(HOSTS[host], 1e-7))
    yield make("fourier", "half-precision", None, ("*",), variant="autocast-1", step=autocast(HOSTS["fourier"], 1.0))


def broadcast(out: Tensor, target: Tensor) -> Tensor:
    """(n, 1) against (n,): every prediction is compared with every target."""
    error: Tensor = out - target.squeeze(1)
    return error.square().mean()


def autocast(host: Host, factor: float) -> Step:
    """float16 without a loss scale, with a loss that is averaged over too much."""

    def step(model: nn.Module, batch: Batch) -> Tensor:
        inputs, target = batch
        with torch.autocast("cpu", dtype=torch.float16):
            out = model(*inputs)
        return host.task.loss(ops.floats(Tensor.float, out), target) * factor

    return step


# --- new: the graph and its hooks --------------------------------------------------------------------------------


def new_functions() -> Iterator[Case]:
    hosts = {
        "none": ("fourier", "gat"), "zeros": ("deep-cnn",), "local": ("siamese",), "output": ("fourier",),
        "negated": ("localiser",),
    }  # fmt: skip
    for name, some in hosts.items():
        yield from placed("own-backward", some, MIDDLE, changed(third.own_function(name)), name)
    yield from placed("sampled", ("bars",), MIDDLE, changed(third.sampled))
    yield from placed("sampled", ("bars",), MIDDLE, changed(third.resampled), "rsample")
    yield from placed("sampled", ("siamese",), MIDDLE, changed(third.coins), "bernoulli")
    yield from placed("rows-rebuilt", ("quantiles",), MIDDLE, changed(third.detached_rows), "detached")
    yield from placed("rows-rebuilt", ("deep-cnn",), MIDDLE, changed(third.one_row_written), "first-only")
    yield from placed("overwritten-in-place", ("fourier", "gat"), MIDDLE, changed(third.half_overwritten))


def new_hooks() -> Iterator[Case]:
    for host, site in (("deep-cnn", "body.3"), ("set-transformer", "body.1")):
        yield make(host, "forward-hook", third.hooked(site, ops.detach), at(site), variant="detached", site=site)
    given, loud = third.hook_gives_input("body.1"), third.hooked_before("body.1", third.noisy(30.0))
    yield make("quantiles", "forward-hook", given, at("body.1"), variant="input", site="body.1")
    yield make("siamese", "forward-hook", loud, at("body.1"), variant="noise", site="body.1")
    for host, site in (("siamese", "stem"), ("localiser", "stem"), ("deep-cnn", "body.3")):
        yield make(host, "checkpoint-reentrant", third.checkpointed(site), at(site), site=site)


def new_parameters() -> Iterator[Case]:
    made: tuple[tuple[str, str, str, str, Callable[[str], Mutation]], ...] = (
        ("weight-data", "", "fourier", "body.1.linear", third.without_recording),
        ("parameter-anew", "", "gat", "layers.0.linear", third.parameter_anew),
        ("copy-called", "each-time", "siamese", "body.1.0", third.copied),
        ("copy-called", "at-the-start", "fourier", "body.1.linear", third.stale_copy),
    )
    for operator, variant, host, site, how in made:
        yield make(host, operator, how(site), at(site), variant=variant, site=site)
    weights: tuple[tuple[str, str, str, Change], ...] = (
        ("detached", "deep-cnn", "body.3.conv", ops.detach),
        ("norm-twice", "fourier", "body.1.linear", third.over_its_norm),
        ("shares", "deep-cnn", "body.3.conv", third.rows_as_shares),
        ("zero", "siamese", "body.1.0", ops.times(0.0)),
    )
    for variant, host, site, change in weights:
        yield make(host, "parametrization", third.parametrized((site,), change), at(site), variant=variant, site=site)


# --- new: initialisation and activations -------------------------------------------------------------------------


def new_initialisation() -> Iterator[Case]:
    draws: dict[str, tuple[Callable[[Tensor], object], tuple[str, ...]]] = {
        "init-slope-mistaken": (third.slope_mistaken, ("deep-cnn", "siamese", "localiser")),
        "init-mean-mistaken": (third.mean_mistaken, ("fourier", "deep-cnn", "quantiles")),
        "init-narrow": (third.narrow, ("deep-cnn", "bars")),
    }
    for name, (how, hosts) in draws.items():
        yield from everywhere(name, hosts, second.drawn(("*",), how))
    yield from everywhere("rows-repeated", ("siamese",), third.rows_repeated(("*",)))
    for host, site in (("deep-cnn", "body.3"), ("bars", "bottleneck")):
        yield make(host, "rows-repeated", third.rows_repeated(at(site)), at(site), site=site)
    arguments: tuple[tuple[str, str, Callable[[], nn.Module]], ...] = (
        ("threshold-20", "fourier", lambda: nn.Threshold(20, 0)),
        ("shrink-5", "siamese", lambda: nn.Hardshrink(5.0)),
        ("leaky-1", "siamese", lambda: nn.LeakyReLU(1.0)),
        ("empty-range", "deep-cnn", lambda: nn.Hardtanh(0.0, 1e-6)),
    )
    for name, host, new in arguments:
        yield from everywhere("activation-argument", (host,), third.activations_replaced(new), name)
    forgotten = third.activations_replaced(nn.Identity)
    yield from everywhere("activation-forgotten", ("fourier", "deep-cnn"), forgotten)
    yield make("bars", "head-bias", third.bias_of("head.bias", -200.0), at("head"), variant="-200")


# --- new: what is lost on the way --------------------------------------------------------------------------------


def new_losses_of_signal() -> Iterator[Case]:
    yield make("fourier", "cast-to-integers", ops.before("stem", third.as_integers), at("stem"))
    yield make("quantiles", "cast-to-integers", ops.before("stem", third.as_bytes), at("stem"), variant="bytes")
    yield from placed("cast-to-integers", ("set-transformer",), MIDDLE, changed(third.as_integers))
    yield from placed("half-eps", ("siamese",), MIDDLE, changed(third.in_half_with_eps))
    yield from placed("half-overflow", ("deep-cnn",), MIDDLE, changed(third.half_overflow))
    yield from placed("pooled-away", ("localiser", "deep-cnn"), MIDDLE, changed(third.pooled_away))
    yield from placed("winner-only", ("gat",), MIDDLE, changed(third.winner_only))
    yield from placed("running-product", ("quantiles",), MIDDLE, changed(third.cumulated))
    yield from placed("swamped-by-constant", ("siamese",), MIDDLE, changed(third.offset(1e9)))
    yield output_change("elman", "single-output-normalised", third.normalised(-1), "norm")
    yield output_change("set-transformer", "single-output-normalised", lambda x: x.softmax(-1), "softmax")
    yield make("fourier", "frequency", ops.attribute(("stem",), "gain", 100.0), at("stem"), variant="x100")


def new_states() -> Iterator[Case]:
    for host, culprit in (("elman", at("cell")), ("seq2seq", at("cell"))):
        yield make(host, "state-forgotten", ops.attribute(("",), "forgets", True), culprit)
    for reads in ("first", "padding", "unsorted"):
        yield make("elman", "state-misread", ops.attribute(("",), "reads", reads), ("cell*", "head*"), variant=reads)
    yield make("seq2seq", "context-dropped", ops.attribute(("",), "context", 0.0), ("encoder*", "reader*", "source*"))
    across = ops.attribute(("rnn",), "batch_first", False)
    yield make("lstm-lm", "batch-first-forgotten", across, at("rnn"))
    yield make("seq2seq", "softmax-axis", ops.attribute(("reader",), "axis", 2), at("reader"), variant="of-one")
    yield make("gat", "softmax-axis", ops.attribute(("layers.*",), "axis", 0), ("layers*",), variant="batch")
    yield make("gat", "softmax-axis", ops.attribute(("layers.*",), "axis", -2), ("layers*",), variant="senders")
    both: tuple[tuple[str, Callable[..., Tensor]], ...] = (
        ("multiplied", third.mask_multiplied), ("diagonal", third.mask_after),
    )  # fmt: skip
    for name, how in both:
        wrong = ops.all_of(*(third.own_methods(f"layers.{i}", "weigh", how) for i in range(2)))
        yield make("gat", "mask-misapplied", wrong, ("layers*",), variant=name)
    yield make("set-transformer", "scores-times-width", third.unscaled_by_width(10.0), ("*attn*",))
    yield make("seq2seq", "table-max-norm", third.max_norm("source", 1e-4), at("source"), site="source")
    yield make("lstm-lm", "table-padding", third.padding_at("embed", 0), at("embed"), site="embed")


# --- new: losses -------------------------------------------------------------------------------------------------


def with_penalty(host: str, weight: float) -> Step:
    """A penalty on the weights that is all the loss there is."""

    def step(model: nn.Module, batch: Batch) -> Tensor:
        penalty = torch.stack([parameter.abs().sum() for parameter in model.parameters()]).sum()
        return HOSTS[host].step(model, batch) + weight * penalty

    return step


def item_partial(which: int) -> Loss:
    """One of two losses is added as a number."""

    def loss(out: Any, target: Any) -> Tensor:
        parts = [F.cross_entropy(out[0], target[0]), F.smooth_l1_loss(out[1], target[1])]
        return parts[1 - which] + parts[which].item()

    return loss


def in_millionths(seed: int, size: int) -> Batch:
    """The place in a unit that makes its error all that counts."""
    inputs, (kind, box) = HOSTS["localiser"].task.batch(seed, size)
    return inputs, (kind, 1e6 * box)


def squares(out: Any, target: Any) -> Tensor:
    return F.cross_entropy(out[0], target[0]) + F.mse_loss(out[1], target[1])


def new_losses() -> Iterator[Case]:
    misfits: tuple[tuple[str, str, Loss], ...] = (
        ("loss-on-class-index", "deep-cnn", third.on_class_index),
        ("loss-arguments-swapped", "gat", third.swapped),
        ("label-smoothing-one", "lstm-lm", third.smoothed),
        ("class-weights-zero", "deep-cnn", third.weightless),
        ("divergence-of-probabilities", "seq2seq", third.divergence_of_probabilities),
        ("logits-viewed-wrongly", "lstm-lm", third.viewed_targets),
        ("likelihood-over-batch", "gat", third.over_batch),
        ("likes-only", "siamese", third.likes_only),
        ("distance-to-itself", "siamese", third.one_to_itself),
        ("targets-unscaled", "bars", third.bytes_as_targets),
    )
    silent: tuple[tuple[str, str, Loss], ...] = (
        ("targets-ignored", "gat", third.all_ignored),
        ("focal-exponent", "deep-cnn", third.focal),
        ("hard-dice", "bars", third.hard_dice),
        ("threshold-out-of-reach", "fourier", third.flat),
        ("margin-sign", "siamese", third.far_margin),
    )
    for culprit, some in ((at("head"), misfits), (("*",), silent)):
        for name, host, loss in some:
            yield make(host, name, None, culprit, step=another_loss(loss))
    for which, name in enumerate(("kind", "box")):
        yield make(
            "localiser", "loss-item-partial", None, at(name), variant=name, step=another_loss(item_partial(which))
        )
    yield make("localiser", "loss-drowned", None, at("box"), step=another_loss(squares), batch=in_millionths)
    yield make("quantiles", "penalty-dominates", None, ("*",), step=with_penalty("quantiles", 10.0))
    for limit, host in ((1e-3, "fourier"), (0.5, "gat")):
        shut = on_loss(host, lambda loss, limit=limit: loss.clamp(max=limit))  # type: ignore[misc]
        yield make(host, "loss-clamped", None, ("*",), variant=f"{limit:g}", step=shut)
    yield make("fourier", "loss-rewrapped", None, ("*",), variant="list", step=on_loss("fourier", listed))


def listed(loss: Tensor) -> Tensor:
    """The losses of an epoch are collected as numbers and made a tensor again."""
    return torch.tensor([loss.item()], requires_grad=True).mean()


def third_cases() -> list[Case]:
    """Every fault of the third round."""
    groups = (
        known_structure, known_initialisation, known_cuts, known_erasures, known_attention, known_parameters,
        known_ends, new_functions, new_hooks, new_parameters, new_initialisation, new_losses_of_signal, new_states,
        new_losses,
    )  # fmt: skip
    cases = [dataclasses.replace(one, round=3) for group in groups for one in group()]
    assert len({one.name for one in cases}) == len(cases), "two cases of the same name"
    return cases
