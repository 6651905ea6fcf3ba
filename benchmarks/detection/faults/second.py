"""The faults of the second round: the known operators on hosts that are new, and operators that are new themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..cases import Batch, Case
from ..hosts import HOSTS, Host, blocks
from . import first_ops as ops
from . import second_ops as second
from .first import Step, at, changed, everywhere, make, output_change, placed, shrunken
from .first_ops import Change

PLAIN = ("inception", "nhits", "dcn", "retrieval", "gin")
CHAINS = ("repvgg", "gated-conv", "llama", "mingru")
"""Residual blocks in a row."""
MIDDLE = ("middle",)

Loss = Callable[[Any, Any], Tensor]


# --- known operators ---------------------------------------------------------------------------------------------


def known_structure() -> Iterator[Case]:
    yield from everywhere("activation-sigmoid", (*PLAIN, "repvgg", "denoiser"), ops.activation("sigmoid"))
    saturated = ("inception", "nhits", "actor-critic", "retrieval", "gin")
    yield from everywhere("activation-saturated", saturated, ops.activation("tanh", 8.0), "tanh")
    yield from everywhere("activation-saturated", ("dcn", "nhits"), ops.activation("hardtanh", 10.0), "hardtanh")
    yield from everywhere("no-residual", CHAINS, ops.no_residual)
    yield from everywhere("no-norm", ("repvgg", "gin", "retrieval"), ops.no_norm)
    yield from placed("block-skipped", ("repvgg", "llama", "siren", "inception"), MIDDLE, ops.skipped)
    yield make("dcn", "activation-saturated", ops.activation("hardsigmoid", 20.0, ("body.*",)), at("body"),
               variant="hardsigmoid", site="body")  # fmt: skip


def known_initialisation() -> Iterator[Case]:
    hosts = (*PLAIN, "siren", "mingru", "tagger", "actor-critic", "llama")
    yield from everywhere("init-small", hosts, ops.scaled(0.1), "x0.1")
    yield from everywhere("init-large", hosts, ops.scaled(10.0), "x10")
    yield from everywhere("init-zero", ("inception", "nhits", "tagger", "siren", "llama", "ode"), ops.filled(0.0))
    yield from everywhere("init-constant", ("inception", "nhits", "retrieval", "actor-critic"), ops.filled(None))
    yield from placed("init-zero", ("inception", "siren", "gin"), MIDDLE, lambda s: ops.filled(0.0, at(s)))
    for host, site in (("inception", "body.1"), ("nhits", "body.2"), ("dcn", "body.2"), ("gin", "layers.1")):
        for share in (0.7, 1.0):
            killed = ops.dead_units(at(site), share)
            yield make(host, "dead-units", killed, at(site), variant=f"{share:.0%}".rstrip("%"), site=site)


def known_cuts() -> Iterator[Case]:
    thorough = ("repvgg", "llama", "inception", "siren")
    yield from placed("detach", thorough, ("early", "middle", "late"), changed(ops.detach))
    others = ("pyramid", "gated-conv", "mingru", "gin", "ode", "tagger")
    yield from placed("detach", others, MIDDLE, changed(ops.detach))
    yield from placed("no-grad", ("pyramid", "tagger", "gin", "mingru", "siren"), ("early",), ops.without_grad)
    for host, site in (("retrieval", "document"), ("actor-critic", "policy"), ("pyramid", "up3"), ("dcn", "cross.1"),
                       ("nhits", "back.0"), ("denoiser", "time"), ("llama", "body.1.attn.key"),
                       ("mingru", "body.0.gate"), ("flow", "body.3.net")):  # fmt: skip
        yield make(host, "detach-partial", ops.after(site, ops.detach), at(site), site=site)
    for host, site in (("dcn", "tables.1"), ("denoiser", "time.0"), ("flow", "body.2.net.0")):
        for name, how in (("data", ops.through_data), ("item", ops.through_item)):
            yield make(host, "round-trip", ops.after(site, how), at(site), variant=name, site=site)


def known_erasures() -> Iterator[Case]:
    yield from placed("hard-step", ("inception", "llama"), MIDDLE, changed(torch.round), "round")
    yield from placed("hard-step", ("siren", "gin"), MIDDLE, changed(torch.sign), "sign")
    yield from placed("clamp", ("gated-conv", "siren", "gin"), MIDDLE, changed(ops.clamp(-1e-3, 1e-3)), "tiny")
    yield from placed("clamp", ("inception", "mingru"), MIDDLE, changed(ops.clamp(5, 10)), "above")
    yield from placed("dropout-one", ("siren", "inception", "mingru"), MIDDLE, changed(ops.dropout(1.0)))
    for erase in (ops.batch_mean, ops.feature_mean):
        name = erase.__name__.replace("_", "-")
        yield from placed("wrong-dim", ("siren", "gin", "retrieval", "llama"), ("late",), changed(erase), name)
    yield from placed("gradient-clipped", ("repvgg", "llama", "siren"), MIDDLE, changed(ops.clipped_backward(0.0)),
                      "zero")  # fmt: skip
    yield from placed("nan-backward", ("inception", "gin"), MIDDLE, changed(ops.guarded_log), "guarded-log")
    yield from placed("nan-backward", ("mingru", "pyramid"), MIDDLE, changed(ops.sqrt_of_zero), "sqrt-of-zero")
    yield make("denoiser", "double-zero-branch", ops.zero_branch("body.1", ("fc2.*",)), at("body.1"), site="body.1")
    yield make("flow", "double-zero-branch", ops.zero_branch("body.2", ("net.2.*",)), at("body.2"), site="body.2")
    for host in ("repvgg", "gated-conv"):
        yield from placed("double-zero-gate", (host,), MIDDLE, ops.double_gate)


def known_rest() -> Iterator[Case]:
    for host in ("retrieval", "tagger", "flow"):
        yield make(host, "unused-parameters", ops.unused, ("spare",))
    for host in ("repvgg", "llama"):
        body = tuple(f"body.{i}" for i in range(blocks(HOSTS[host])))
        yield make(host, "unregistered", ops.unregistered(body), ("body*",), variant="all")
    yield make("inception", "unregistered", ops.unregistered(("body.1",)), at("body.1"), site="body.1")
    for host in ("inception", "siren", "tagger", "actor-critic"):
        yield make(host, "frozen-trunk", ops.frozen(HOSTS[host].trunk), HOSTS[host].trunk)
    for host in ("inception", "siren", "denoiser"):
        yield make(host, "loss-scale", None, ("*",), variant="1e-12", step=on_loss(host, lambda loss: loss * 1e-12))
        yield make(host, "tiny-input", None, at("stem"), batch=shrunken(HOSTS[host], 1e-6))
    yield make("nhits", "loss-sign", None, ("*",), step=on_loss("nhits", lambda loss: -loss))
    for host in ("inception", "actor-critic", "retrieval"):
        culprit = at("stem") if host == "inception" else at("body.0", "query.0", "document.0")
        yield make(host, "unscaled-input", None, culprit, batch=enlarged(HOSTS[host], 200.0))
    yield make(
        "retrieval", "softmax-temperature", second.number("log_scale", 9.0), ("log_scale", "query*", "document*")
    )
    for host in ("repvgg", "llama", "gin"):
        yield output_change(host, "double-softmax", lambda x: x.softmax(-1))
    yield output_change("llama", "relu-on-logits", lambda x: torch.relu(x - 20), "shifted")


# --- new: the graph ----------------------------------------------------------------------------------------------


def new_cuts() -> Iterator[Case]:
    yield from placed("new-leaf", ("repvgg", "gated-conv", "gin"), MIDDLE, changed(second.new_leaf))
    yield from placed("new-leaf", ("siren", "tagger"), ("early",), changed(second.new_parameter), "parameter")
    yield from placed("data-write", ("siren", "repvgg", "llama"), MIDDLE, changed(second.data_zeroed), "zeroed")
    yield from placed("data-write", ("gin", "inception"), MIDDLE, changed(second.data_frozen), "copied")
    yield from placed("data-write", ("pyramid", "gated-conv"), MIDDLE, changed(second.data_clamped), "clamped")
    sorted_: dict[str, Change] = {
        "ranks": second.ranks, "top-indices": second.top_indices, "values": second.in_order,
    }  # fmt: skip
    for name, change in sorted_.items():
        yield from placed("sorting", ("siren", "llama", "nhits"), MIDDLE, changed(change), name)
    for name, how in (("wrong", second.straight_through_wrong), ("right", second.straight_through)):
        yield from placed("straight-through", ("inception", "retrieval", "mingru"), MIDDLE, changed(how), name)
    yield from placed("gradient-reversed", ("repvgg", "siren", "gated-conv"), MIDDLE, changed(second.reversed_gradient))
    yield make("mingru", "detach-each-step", ops.attribute(("body.*",), "cut", True), ("body*",))
    for host, site in (("repvgg", "body.1"), ("llama", "body.1.mlp"), ("denoiser", "body"), ("tagger", "rnn")):
        yield make(host, "hook-zero", second.parameters_hooked(site, 0.0), at(site), variant="parameters", site=site)
    for host, site in (("siren", "body.1"), ("gated-conv", "body.2"), ("retrieval", "query.3")):
        yield make(host, "hook-zero", second.backward_hooked(site, 0.0), at(site), variant="module", site=site)


def new_modules() -> Iterator[Case]:
    yield from placed("result-dropped", ("repvgg", "llama", "siren", "denoiser"), MIDDLE, second.result_dropped)
    for host in (*CHAINS, "siren"):
        yield make(host, "aliased", second.aliased("body"), ("body*",))
    for host, site in (("siren", "body.1.linear"), ("dcn", "body.0"), ("retrieval", "document.3"),
                       ("nhits", "body.2.2"), ("llama", "body.0.mlp.up")):  # fmt: skip
        yield make(host, "rebuilt-each-forward", second.rebuilt(site), at(site), site=site)
    for host, site in (("inception", "body.1"), ("retrieval", "query"), ("gin", "layers.0")):
        reset = second.at_every_forward(site, nn.init.xavier_uniform_)
        yield make(host, "reset-each-forward", reset, at(site), site=site)
    for host, limit in (("inception", 1e-3), ("dcn", 1e-2), ("siren", 1e-4)):
        tight = second.at_every_forward("body", lambda w, limit=limit: w.clamp_(-limit, limit))  # type: ignore[misc]
        yield make(host, "weights-clipped", tight, ("body*",), variant=f"{limit:g}")
    for factor in (1.5, 30.0):
        for host in CHAINS:
            grown = ops.all_of(*(second.residual_gain(f"body.{i}", factor) for i in range(blocks(HOSTS[host]))))
            yield make(host, "residual-gain", grown, ("body*",), variant=f"x{factor:g}")
    yield from placed("branch-times-zero", (*CHAINS, "denoiser"), MIDDLE, second.branch_times_zero)


# --- new: initialisation, norms, ranges --------------------------------------------------------------------------


def new_initialisation() -> Iterator[Case]:
    hosts = ("inception", "nhits", "siren", "llama", "tagger", "gin", "repvgg")
    yield from everywhere("init-uniform-0-1", hosts, second.drawn(("*",), lambda w: nn.init.uniform_(w)))
    yield from everywhere("init-ones", hosts[:5], second.drawn(("*",), nn.init.ones_))
    yield from everywhere("norms-at-zero", ("repvgg", "gin", "llama", "retrieval"), second.norms_at_zero(("*",)))
    for host, site in (("repvgg", "body.1"), ("gin", "layers.1"), ("mingru", "body.0"), ("pyramid", "smooth")):
        zero = second.norms_at_zero((f"{site}.*",))
        yield make(host, "norms-at-zero", zero, at(site), site=site)
    for host, site in (("tagger", "embed"), ("llama", "stem"), ("dcn", "tables"), ("gated-conv", "stem")):
        yield make(host, "table-of-zeros", second.zero_table(site, True), at(site), variant="frozen", site=site)
        yield make(host, "table-of-zeros", second.zero_table(site, False), at(site), site=site)
    shut = ops.all_of(*(second.number(f"body.{i}.gate.bias", -40.0) for i in range(2)))
    yield make("mingru", "gate-saturated", shut, ("body*",), variant="-40")
    loud = second.method(("body.*",), "squashed", lambda raw: (raw + 1).mul(5).exp())
    yield make("flow", "scale-unbounded", loud, ("body*",))
    for speed in (60.0, 1000.0):
        fast = ops.attribute(("stem", "body.*"), "speed", speed)
        yield make("siren", "frequency", fast, ("stem*", "body*"), variant=f"{speed:g}")


def new_norms() -> Iterator[Case]:
    yield make("repvgg", "group-per-channel", ops.after("head.1", second.group_per_channel), at("head"), site="head.1")
    for host, site in (("retrieval", "document.3"), ("nhits", "body.1")):
        yield make(host, "group-per-channel", ops.after(site, second.group_per_channel), at(site), site=site)
    for host in ("siren", "mingru", "dcn"):
        yield output_change(host, "norm-of-one", second.norm_of_one)
    yield from placed("std-of-one", ("siren", "llama"), MIDDLE, changed(second.std_of_one))
    yield from placed("over-std", ("inception", "gin", "siren", "retrieval"), MIDDLE, changed(second.over_std))
    yield from placed("root-of-relu", ("siren", "inception", "repvgg"), MIDDLE, changed(second.root_of_relu))
    yield from placed("angle-to-itself", ("retrieval", "llama"), MIDDLE, changed(second.angle_to_itself))
    yield from placed("row-masked", ("gated-conv", "pyramid"), MIDDLE, changed(second.row_masked))
    for host, size in (("llama", 300.0), ("tagger", 1000.0), ("llama", 3.0)):
        site = "embed" if host == "tagger" else "stem"
        far = ops.after(site, second.with_positions(size))
        yield make(host, "positions-swamp", far, at(site), variant=f"x{size:g}", site=site)
    for share in (0.9, 0.99):
        yield from placed("dropout-high", ("inception", "llama", "siren"), MIDDLE, changed(ops.dropout(share)),
                          f"{share:g}")  # fmt: skip


# --- new: shapes, indices, masks ---------------------------------------------------------------------------------


def new_shapes() -> Iterator[Case]:
    for host, site in (("tagger", "rnn"), ("mingru", "body"), ("llama", "body")):
        mixed = ops.before(site, second.viewed_wrongly)
        yield make(host, "view-for-transpose", mixed, at(site), variant="batch", site=site)
    for host, site in (("gated-conv", "stem"), ("pyramid", "up1"), ("mingru", "stem")):
        mixed = ops.after(site, second.viewed_inside)
        yield make(host, "view-for-transpose", mixed, at(site), variant="inside", site=site)
    for host, site in (("tagger", "embed"), ("llama", "stem"), ("dcn", "tables.0")):
        yield make(host, "indices-collapsed", second.indices_collapsed(site), at(site), site=site)
    for mask in ("inverted", "future", "all"):
        yield make("llama", "mask-inverted", ops.attribute(("*attn",), "mask", mask), ("*attn*",), variant=mask)
    yield make("gin", "edges", second.without_edges, ("layers*",), variant="none")
    yield make("gin", "edges", second.hidden_edges, ("layers*",), variant="complement")
    for name, change in (("largest", second.largest_only), ("first", second.first_feature)):
        yield from placed("one-for-all", ("siren", "gin", "retrieval"), ("late",), changed(change), name)
    for host in ("repvgg", "inception", "gin", "retrieval"):
        culprit = at("head") if host != "retrieval" else ("query*", "document*")
        over = ops.after("", lambda x: x.softmax(0))
        yield make(host, "softmax-over-batch", over, culprit)


# --- new: the end of the model, the loss, the target -------------------------------------------------------------


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


def new_ends() -> Iterator[Case]:
    for host in ("siren", "nhits", "mingru"):
        yield make(host, "relu-on-regression", ops.after("", torch.relu), at("head", "heads"))
        low = ops.after("", lambda x: (x - 5).relu())
        yield make(host, "relu-on-regression", low, at("head", "heads"), variant="shifted")
        for factor in (10.0, 1e5):
            tanh, batch = ops.after("", torch.tanh), raw_targets(HOSTS[host], factor)
            yield make(host, "tanh-on-raw-targets", tanh, at("head", "heads"), variant=f"{factor:g}", batch=batch)
        yield make(host, "raw-targets", None, ("*",), variant="1e+06", batch=raw_targets(HOSTS[host], 1e6))
    for host in ("repvgg", "llama", "gin"):
        yield output_change(host, "log-softmax-twice", lambda x: x.log_softmax(-1))
        yield output_change(host, "log-of-softmax", second.log_of_softmax)


def probabilities(factor: float) -> Loss:
    return lambda out, target: F.binary_cross_entropy((factor * out).sigmoid(), target)


def rewrapped(loss: Tensor) -> Tensor:
    """What people do when told that the loss does not require a gradient."""
    return torch.tensor(loss.item(), requires_grad=True)


def accuracy(out: Tensor, target: Tensor) -> Tensor:
    return 1 - (out.argmax(-1) == target).float().mean().requires_grad_()


def new_losses() -> Iterator[Case]:
    for host in ("dcn", "pyramid"):
        for factor in (1.0, 1e4):
            step = another_loss(probabilities(factor))
            yield make(host, "saturated-probabilities", None, at("head"), variant=f"x{factor:g}", step=step)
    for host in ("siren", "repvgg", "tagger"):
        yield make(host, "loss-rewrapped", None, ("*",), variant="item", step=on_loss(host, rewrapped))
    for host in ("repvgg", "gin"):
        yield make(host, "loss-rewrapped", None, ("*",), variant="accuracy", step=another_loss(accuracy))
        likely: Loss = lambda out, target: F.nll_loss(out, target)  # noqa: E731
        yield make(host, "nll-on-logits", None, at("head"), step=another_loss(likely))
    for host in ("siren", "nhits", "repvgg", "retrieval"):
        yield make(host, "labels-misaligned", None, ("*",), step=misaligned(HOSTS[host]))
    yield make("actor-critic", "loss-misses-model", None, at("policy"), variant="value-only", step=value_only)
    yield make("denoiser", "loss-misses-model", None, ("*",), variant="empty-mask", step=masked(HOSTS["denoiser"]))
    yield make("flow", "volume-forgotten", None, ("body*",), step=another_loss(lambda out, _: out[0].square().mean()))


def misaligned(host: Host) -> Step:
    """Inputs and targets come from two loaders that shuffle on their own."""
    return lambda model, batch: host.task.loss(model(*batch[0]), batch[1].roll(1, 0))


def value_only(model: nn.Module, batch: Batch) -> Tensor:
    (right, taken), (_, value) = batch[1], model(*batch[0])
    return F.mse_loss(value[:, 0], (right == taken).float())


def masked(host: Host) -> Step:
    """The loss is masked, and the mask is empty."""
    return lambda model, batch: (host.task.loss(model(*batch[0]), batch[1]) * torch.zeros(len(batch[1]))).mean()


def second_cases() -> list[Case]:
    """Every fault of the second round."""
    groups = (
        known_structure, known_initialisation, known_cuts, known_erasures, known_rest, new_cuts, new_modules,
        new_initialisation, new_norms, new_shapes, new_ends, new_losses,
    )  # fmt: skip
    cases = [dataclasses.replace(one, round=2) for group in groups for one in group()]
    assert len({one.name for one in cases}) == len(cases), "two cases of the same name"
    return cases
