"""What can go wrong, put into the hosts: every case is one host with one fault, whether it matters or not.

Whether a fault keeps its host from learning is not decided here but by training (``label.py``, ``labels.json``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..cases import Batch, Case
from ..hosts import HOSTS, Host, blocks, case, tasks
from . import first_ops as ops
from .first_ops import Mutation

Step = Callable[[nn.Module, Batch], Tensor]

PERCEPTRONS = ("mlp4-relu", "mlp8-functional", "mlp8-leaky", "mlp12-gelu", "mlp12-tanh", "mlp20-relu")
RELU_STACKS = ("mlp4-relu", "mlp20-relu", "vgg-plain", "dqn", "autoencoder", "pointnet", "recommender")
IMAGE_NETS = ("vgg-bn", "resnet", "preact-resnet", "se-resnet", "mobilenet", "densenet", "convnext", "normfree")
RECURRENT = ("lstm", "gru", "rnn", "rnn-unrolled")
ENCODERS = ("encoder4-pre", "encoder4-post", "encoder3-torch")
RESIDUAL = (
    "resmlp12", "resnet", "preact-resnet", "se-resnet", "mobilenet", "convnext", "normfree", "mixer", "vit", "tcn",
    "moe", "encoder4-pre", "encoder4-post", "encoder6-post", "encoder12-pre", "encoder24-pre", "gpt", "ft-transformer",
)  # fmt: skip
NORMED = (
    "mlp10-batchnorm", "resmlp12", "vgg-bn", "resnet", "preact-resnet", "se-resnet", "mobilenet", "convnext",
    "densenet", "mixer", "vit", "unet", "encoder4-pre", "encoder4-post", "encoder6-post", "encoder12-pre", "moe",
)  # fmt: skip
CLASSIFIERS = ("mlp4-relu", "mlp12-tanh", "vgg-bn", "resnet", "lenet", "encoder4-pre", "lstm", "pointnet")


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


def changed(change: ops.Change) -> Callable[[str], Mutation]:
    return lambda site: ops.after(site, change)


# --- saturation, structure ---------------------------------------------------------------------------------------


def activations() -> Iterator[Case]:
    plain = (*PERCEPTRONS, "mlp6-default", "lenet", "vgg-plain", "autoencoder", "pointnet", "dqn", "deepsets")
    yield from everywhere("activation-sigmoid", plain, ops.activation("sigmoid"))
    saturated = ("mlp4-relu", "mlp12-gelu", "mlp12-tanh", "vgg-plain", "rnn-unrolled", "lenet", "dqn", "resmlp12")
    yield from everywhere("activation-saturated", saturated, ops.activation("tanh", 8.0), "tanh")
    hard = ("mlp4-relu", "mlp8-leaky", "mlp20-relu", "vgg-plain", "pointnet", "autoencoder")
    yield from everywhere("activation-saturated", hard, ops.activation("hardtanh", 10.0), "hardtanh")
    yield from everywhere("activation-saturated", hard[:4], ops.activation("hardsigmoid", 5.0), "hardsigmoid")
    for host in ("mlp8-leaky", "mlp20-relu", "vgg-plain"):
        site = site_of(host, "middle")
        shut = ops.activation("hardsigmoid", 20.0, at(site))
        yield make(host, "activation-saturated", shut, at(site), variant="hardsigmoid", site=site)


def structure() -> Iterator[Case]:
    yield from everywhere("no-residual", RESIDUAL, ops.no_residual)
    yield from everywhere("no-norm", NORMED, ops.no_norm)
    both = ("resmlp12", "resnet", "encoder4-pre", "encoder12-pre", "encoder6-post", "mixer", "vit", "convnext")
    yield from everywhere("no-residual-no-norm", both, ops.all_of(ops.no_residual, ops.no_norm))
    yield from everywhere("norm-eps", ("mlp10-batchnorm", "vgg-bn", "resnet", "mobilenet"), ops.norm_eps(1e4), "1e4")
    yield from everywhere("norm-eps", ("encoder4-post", "encoder6-post", "resmlp12"), ops.norm_eps(1e6), "1e6")
    yield from everywhere("norm-eps", ("mlp10-batchnorm", "vgg-bn"), ops.norm_eps(1.0), "1")
    frozen = ("mlp10-batchnorm", "vgg-bn", "resnet", "mobilenet")
    yield from everywhere("norm-in-eval-mode", frozen, ops.frozen_statistics)
    yield from everywhere("deep-linear-gain", ("mlp4-relu", "mlp12-tanh", "mlp20-relu"), ops.gain_two)
    yield from placed("block-skipped", ("mlp8-leaky", "resnet", "resmlp12", "encoder4-pre", "vgg-bn", "moe", "gpt"),
                      ("middle",), ops.skipped)  # fmt: skip


# --- initialisation ----------------------------------------------------------------------------------------------


def scales() -> Iterator[Case]:
    small = (*PERCEPTRONS, "vgg-plain", "lenet", "autoencoder", "gcn", "lstm", "encoder4-pre", "vgg-bn", "mlp12-selu")
    large = (*PERCEPTRONS, "vgg-plain", "lenet", "autoencoder", "rnn-unrolled", "encoder4-pre", "resnet", "normfree")
    for factor in (0.1, 0.3):
        yield from everywhere("init-small", small, ops.scaled(factor), f"x{factor}")
    for factor in (3.0, 10.0):
        yield from everywhere("init-large", large, ops.scaled(factor), f"x{factor:g}")
    yield from everywhere("init-small", ("mlp8-functional", "dqn", "pointnet", "vgg-plain", "highway10", "gru"),
                          ops.scaled(0.2), "x0.2")  # fmt: skip
    yield from everywhere("init-large", ("mlp12-tanh", "dqn", "pointnet", "resmlp12", "encoder4-post", "recommender"),
                          ops.scaled(5.0), "x5")  # fmt: skip
    for host, factor in (("mlp8-leaky", 0.001), ("vgg-plain", 0.001), ("mlp20-relu", 1e-4), ("lenet", 0.001)):
        site = site_of(host, "middle")
        yield make(host, "init-small", ops.scaled(factor, at(site)), at(site), variant=f"x{factor:g}", site=site)
    for host in ("mlp8-leaky", "mlp12-tanh", "vgg-plain", "encoder4-post"):
        site = site_of(host, "middle")
        yield make(host, "init-large", ops.scaled(100.0, at(site)), at(site), variant="x100", site=site)


def constants() -> Iterator[Case]:
    zeroed = ("mlp4-relu", "mlp12-tanh", "vgg-plain", "vgg-bn", "resnet", "lstm", "gru", "dqn", "encoder4-pre",
              "recommender", "autoencoder", "gcn")  # fmt: skip
    yield from everywhere("init-zero", zeroed, ops.filled(0.0))
    for host in ("mlp4-relu", "mlp8-functional", "mlp20-relu", "mlp12-tanh", "vgg-plain", "lenet", "highway10", "moe"):
        site = site_of(host, "middle")
        yield make(host, "init-zero", ops.filled(0.0, at(site)), at(site), site=site)
    for host in ("mlp4-relu", "resmlp12", "resnet", "encoder4-pre", "vgg-bn", "pointnet"):
        yield make(host, "init-zero", ops.filled(0.0, at("head")), at("head"), site="head")
    constant = ("mlp4-relu", "mlp12-tanh", "mlp8-leaky", "vgg-plain", "vgg-bn", "lenet", "dqn", "pointnet", "gcn",
                "autoencoder", "rnn-unrolled", "highway10")  # fmt: skip
    yield from everywhere("init-constant", constant, ops.filled(None))
    for host in ("mlp4-relu", "mlp8-functional", "mlp12-gelu", "lenet", "vgg-plain"):
        site = site_of(host, "middle")
        yield make(host, "init-constant", ops.filled(None, at(site)), at(site), site=site)


def dead() -> Iterator[Case]:
    for host in RELU_STACKS:
        yield make(host, "dead-units", ops.dead_units(HOSTS[host].trunk, 1.0), HOSTS[host].trunk, variant="all")
    for host in (*RELU_STACKS, "mlp8-functional", "lenet"):
        site = site_of(host, "middle")
        for share in (0.7, 0.95, 1.0):
            killed = ops.dead_units(at(site), share)
            yield make(host, "dead-units", killed, at(site), variant=f"{share:.0%}".rstrip("%"), site=site)
    for host in ("vgg-bn", "mlp10-batchnorm"):
        site = site_of(host, "middle")
        norm = "norm" if host == "vgg-bn" else "1"
        killed = ops.dead_units((f"{site}.{norm}",), 1.0)
        yield make(host, "dead-units", killed, at(site), variant="norm", site=site)


# --- cuts --------------------------------------------------------------------------------------------------------


def cuts() -> Iterator[Case]:
    thorough = ("mlp8-leaky", "mlp20-relu", "vgg-bn", "resnet", "encoder4-pre", "lenet", "gcn", "autoencoder")
    yield from placed("detach", thorough, ("early", "middle", "late"), changed(ops.detach))
    others = ("mlp8-functional", "convnext", "densenet", "unet", "vae", "moe", "pointnet", "vit", "gpt", "tcn")
    yield from placed("detach", others, ("middle",), changed(ops.detach))
    between = ("mlp12-tanh", "resmlp12", "mobilenet", "mixer", "ft-transformer", "encoder24-pre")
    yield from placed("detach", between, ("middle",), lambda s: ops.between(s, ops.detach), "between")
    yield from placed("detach", RECURRENT, ("early",), changed(ops.detach))
    yield from placed("detach", ("lstm", "rnn"), ("late",), lambda s: ops.before(s, ops.detach), "input")
    yield from placed("no-grad", ("mlp4-relu", "vgg-plain", "preact-resnet", "encoder4-post", "deepsets", "translator",
                                  "recommender", "gru"), ("early",), ops.without_grad)  # fmt: skip
    yield from placed("no-grad", ("mlp12-gelu", "se-resnet", "mixer", "highway10"), ("late",), ops.without_grad)
    for how in (ops.through_data, ops.through_numpy, ops.through_item):
        hosts = ("mlp8-leaky", "normfree", "encoder3-torch", "pointnet")
        name = how.__name__.removeprefix("through_")
        yield from placed("round-trip", hosts, ("early",), changed(how), name)


def partial_cuts() -> Iterator[Case]:
    for host, site in (("two-towers", "image"), ("two-towers", "text"), ("multitask", "tower"), ("vae", "logvar"),
                       ("recommender", "user"), ("translator", "encoder"), ("unet", "down2")):  # fmt: skip
        yield make(host, "detach-partial", ops.after(site, ops.detach), at(site), site=site)
    yield make("multitask", "detach-partial", ops.before("tower", ops.detach), at("tower"), variant="input")
    for host in ("resmlp12", "resnet", "encoder4-pre", "convnext"):
        for kind, how in (("inside", ops.branch_cut), ("stem", ops.straight_path_only), ("skip", ops.branch_only)):
            yield from placed("detach-partial", (host,), ("middle",), how, kind)
    for host, site in (("encoder4-pre", "body.1.attn"), ("encoder4-post", "body.2.mlp"), ("moe", "body.1.router"),
                       ("gpt", "body.0.attn.value"), ("gcn", "layers.1.near"), ("se-resnet", "body.1.squeeze"),
                       ("highway10", "body.4.gate"), ("moe", "body.1.experts.2")):  # fmt: skip
        yield make(host, "detach-partial", ops.after(site, ops.detach), at(site), site=site)


def hard_steps() -> Iterator[Case]:
    kinds: dict[str, ops.Change] = {"round": torch.round, "sign": torch.sign, "threshold": ops.step}
    hosts = {
        "round": ("mlp4-relu", "vgg-plain", "encoder4-pre", "autoencoder"),
        "sign": ("mlp8-leaky", "resnet", "gcn"),
        "threshold": ("mlp4-relu", "pointnet", "vgg-bn"),
    }
    for kind, change in kinds.items():
        yield from placed("hard-step", hosts[kind], ("middle",), changed(change), kind)
    cut = ("mlp12-tanh", "moe", "deepsets", "ft-transformer")
    yield from placed("hard-step", cut, ("middle",), changed(ops.one_hot), "argmax")


def killers() -> Iterator[Case]:
    """The signal or its gradient is erased on the way."""
    hosts = ("mlp8-leaky", "vgg-plain", "encoder4-pre", "pointnet")
    yield from placed("clamp", hosts, ("middle",), changed(ops.clamp(-1e-3, 1e-3)), "tiny")
    yield from placed("clamp", ("mlp4-relu", "lenet", "dqn"), ("middle",), changed(ops.clamp(5, 10)),
                      "above")  # fmt: skip
    yield from placed("clamp", ("vgg-bn", "resnet", "autoencoder"), ("middle",),
                      changed(ops.clamp(-1, 0)), "below")  # fmt: skip
    yield from placed("dropout-one", hosts, ("middle",), changed(ops.dropout(1.0)))
    yield make("mlp5-dropout", "dropout-one", ops.set_dropout(1.0), ("body*",), variant="modules")
    yield make("mlp5-dropout", "dropout-one", ops.set_dropout(0.95), ("body*",), variant="p95")
    for erase in (ops.batch_mean, ops.feature_mean, ops.centred_away, ops.softmax_of_one):
        some = ("mlp4-relu", "mlp20-relu", "deepsets", "encoder4-pre", "lenet")
        name = erase.__name__.replace("_", "-")
        yield from placed("wrong-dim", some, ("late",), changed(erase), name)
    yield from placed("gradient-clipped", ("mlp8-leaky", "resnet", "encoder4-pre", "autoencoder", "gcn", "tcn"),
                      ("middle",), changed(ops.clipped_backward(0.0)), "zero")  # fmt: skip
    yield from placed("gradient-clipped", ("mlp20-relu", "vgg-bn", "pointnet", "convnext"),
                      ("late",), changed(ops.clipped_backward(1e-12)), "1e-12")  # fmt: skip
    for host, site in (("mlp4-relu", "body.0.linear"), ("mlp20-relu", "body.8.linear"), ("lenet", "fc1"),
                       ("encoder4-pre", "body.1.mlp.fc1"), ("vgg-plain", "body.2.conv")):  # fmt: skip
        for share in (1.0, 0.9):
            variant = f"{share * 100:g}"
            yield make(host, "zero-mask", ops.zero_mask(site, share), at(site), variant=variant, site=site)


def not_finite() -> Iterator[Case]:
    in_backward = (ops.sqrt_of_zero, ops.norm_of_nothing, ops.guarded_log, ops.guarded_ratio, ops.inverse_root)
    hosts = ("mlp4-relu", "vgg-plain", "lenet", "pointnet", "encoder4-pre", "autoencoder")
    for i, change in enumerate(in_backward):
        some = (*hosts, *hosts)[i : i + 4]
        name = change.__name__.replace("_", "-")
        yield from placed("nan-backward", some, ("middle",), changed(change), name)
    for change in (ops.log_of_negative, ops.exp_overflow):
        name = change.__name__.replace("_", "-")
        some = ("mlp4-relu", "resnet", "encoder4-pre", "dqn")
        yield from placed("nan-forward", some, ("middle",), changed(change), name)


# --- gates, attention, recurrence --------------------------------------------------------------------------------


def gates() -> Iterator[Case]:
    yield from placed("double-zero-gate", ("resmlp12", "resnet", "encoder4-pre", "convnext", "mixer", "tcn"),
                      ("middle",), ops.double_gate)  # fmt: skip
    for site in ("body.0.attn.query", "body.1.mlp.fc1"):
        yield make("lora", "lora-both-zero", ops.zero_branch(site, ("lora_*",)), at(site), site=site)
    lora = ops.zero_branch("body", ("*lora_*",))
    yield make("lora", "lora-both-zero", lora, ("body*",), variant="all")
    several: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("convnext", "body.1", ("gamma", "fc2.*")),
        ("resmlp12", "body.5", ("fc1.*", "fc2.*")),
        ("encoder4-pre", "body.2", ("attn.value.*", "attn.out.*")),
        ("resnet", "body.1", ("conv1.*", "conv2.*")),
        ("tcn", "body.2", ("conv1.*", "conv2.*")),
    )
    for host, site, names in several:
        yield make(host, "double-zero-branch", ops.zero_branch(site, names), at(site), site=site)
    one: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("convnext", "body.1", ("gamma",)),
        ("resmlp12", "body.5", ("fc2.*",)),
        ("resnet", "body.1", ("bn2.*",)),
        ("encoder4-pre", "body.2", ("attn.out.*",)),
    )
    for host, site, names in one:
        yield make(host, "single-zero-branch", ops.zero_branch(site, names), at(site), site=site)
    for bias in (-30.0, -10.0):
        shut = ops.all_of(*[ops.filled_parameter(f"body.{i}.gate.bias", bias) for i in range(10)])
        yield make("highway10", "gate-saturated", shut, ("body*",), variant=f"{bias:g}")
    width = 24
    for name, bias in (("forget-10", -5.0), ("forget-30", -15.0)):
        parts = [ops.filled_parameter(f"rnn.bias_{k}_l0", bias, width, 2 * width) for k in ("ih", "hh")]
        yield make("lstm", "gate-saturated", ops.all_of(*parts), at("rnn"), variant=name)
    shut_input = [ops.filled_parameter(f"rnn.bias_{k}_l0", -60.0, 0, width) for k in ("ih", "hh")]
    yield make("lstm", "gate-saturated", ops.all_of(*shut_input), at("rnn"), variant="input-120")
    copying = [ops.filled_parameter(f"rnn.bias_{k}_l0", 60.0, width, 2 * width) for k in ("ih", "hh")]
    yield make("gru", "gate-saturated", ops.all_of(*copying), at("rnn"), variant="update+120")
    for site in ("body.1.router", "body.0.router"):
        hard = ops.filled_parameter(f"{site}.bias", 200.0, 0, 1)
        yield make("moe", "gate-saturated", hard, at(site), variant="router", site=site)


def attention() -> Iterator[Case]:
    nets = ("encoder4-pre", "encoder4-post", "encoder12-pre", "gpt", "vit", "translator", "ft-transformer")
    for host in nets:
        globs = ("*attn", "*cross")
        loud = ops.all_of(ops.attribute(globs, "scale", 1.0), ops.scaled(6.0, ("*.query", "*.key")))
        yield make(host, "attention-unscaled", loud, ("*attn*", "*cross*"), variant="x6")
    for host in ("encoder4-pre", "vit", "gpt", "ft-transformer", "encoder4-post"):
        cold = ops.after_scores(1e4)
        yield make(host, "softmax-temperature", cold, ("*attn*",), variant="attention")
    for mask in ("all", "self"):
        for host in ("encoder4-pre", "encoder4-post", "gpt", "vit", "ft-transformer"):
            yield make(host, "attention-mask", ops.attribute(("*attn",), "mask", mask), ("*attn*",), variant=mask)
    site = "body.2.attn"
    for mask in ("all", "self"):
        masked = ops.attribute((site,), "mask", mask)
        yield make("encoder4-pre", "attention-mask", masked, at(site), variant=mask, site=site)


def recurrence() -> Iterator[Case]:
    long_batch, unrolled_batch = tasks.first_token(length=200).batch, tasks.first_token(length=100).batch
    for host in ("rnn", "gru"):
        yield make(host, "long-sequence", None, ("rnn*", "embed*", "recur*", "inward*"), batch=long_batch)
    for variant, factor in (("", 1.0), ("contracting", 0.2)):
        yield make("rnn-unrolled", "long-sequence", ops.scaled(factor, ("recur",)), ("recur*", "inward*", "embed*"),
                   variant=variant, batch=unrolled_batch)  # fmt: skip
    linear = ops.attribute(("",), "function", "clone")
    for factor, batch in ((3.0, tasks.first_token(length=60).batch), (8.0, unrolled_batch)):
        grown = ops.all_of(linear, ops.scaled(factor, ("recur",)))
        yield make("rnn-unrolled", "exploding-recurrence", grown, ("recur*", "inward*", "embed*"),
                   variant=f"x{factor:g}", batch=batch)  # fmt: skip
    for factor in (3.0, 10.0):
        grown = ops.scaled(factor, ("recur",))
        yield make("rnn-unrolled", "exploding-recurrence", grown, ("recur*", "inward*", "embed*"),
                   variant=f"tanh-x{factor:g}")  # fmt: skip
    vanishing = ops.scaled(0.05, ("recur",))
    yield make("rnn-unrolled", "vanishing-recurrence", vanishing, ("recur*", "inward*", "embed*"))


# --- parameters --------------------------------------------------------------------------------------------------


def parameters() -> Iterator[Case]:
    hosts = ("mlp8-leaky", "resnet", "encoder4-pre", "vgg-plain")
    for host in hosts:
        site = site_of(host, "middle")
        yield make(host, "unregistered", ops.unregistered((site,)), at(site), site=site)
        body = tuple(f"body.{i}" for i in range(blocks(HOSTS[host])))
        yield make(host, "unregistered", ops.unregistered(body), ("body*",), variant="all")
    for host, site in (("mlp4-relu", "body.0.linear"), ("lenet", "conv1"), ("encoder4-pre", "body.1.mlp.fc1")):
        yield make(host, "not-a-parameter", ops.plain_tensor(site), at(site), site=site)
    for host in ("mlp4-relu", "vgg-bn", "encoder4-pre", "lstm", "autoencoder", "gcn"):
        yield make(host, "unused-parameters", ops.unused, ("spare",))
    for host in ("mlp4-relu", "mlp20-relu", "lenet", "resnet", "encoder4-pre", "gru", "two-towers", "autoencoder"):
        yield make(host, "frozen-trunk", ops.frozen(HOSTS[host].trunk), HOSTS[host].trunk)


# --- the loss and the data ---------------------------------------------------------------------------------------


def output_change(host: str, operator: str, change: ops.Change, variant: str = "") -> Case:
    return make(host, operator, ops.after("", change), at("head"), variant=variant)


def read_outs() -> Iterator[Case]:
    for host in CLASSIFIERS:
        yield output_change(host, "double-softmax", lambda x: x.softmax(-1))
    for host in CLASSIFIERS[:6]:
        yield output_change(host, "sigmoid-before-softmax", torch.sigmoid)
    for host in ("discriminator", "unet"):
        yield output_change(host, "double-sigmoid", torch.sigmoid)
        yield output_change(host, "double-sigmoid", lambda x: x.sigmoid().sigmoid(), "twice")
    for host in CLASSIFIERS[::2]:
        yield output_change(host, "relu-on-logits", torch.relu)
    for host in ("mlp4-relu", "vgg-plain", "encoder4-pre", "lenet"):
        yield output_change(host, "relu-on-logits", lambda x: torch.relu(x - 20), "shifted")
    for host in ("mlp4-relu", "resnet", "encoder4-pre", "lstm", "lenet"):
        yield output_change(host, "softmax-temperature", lambda x: x / 1e-4, "logits")
        yield output_change(host, "softmax-temperature", lambda x: (x / 1e-4).softmax(-1), "probabilities")
    for host in ("mlp4-relu", "vgg-bn", "ft-transformer"):
        yield output_change(host, "cold-logits", lambda x: x * 1e-6)


def losses() -> Iterator[Case]:
    def scaled(host: Host, factor: float) -> Step:
        return lambda model, batch: host.step(model, batch) * factor

    for name in ("mlp4-relu", "resnet", "encoder4-pre", "dqn", "lstm"):
        host = HOSTS[name]
        for factor in (1e-12, 1e-6, -1.0):
            operator = "loss-sign" if factor < 0 else "loss-scale"
            variant = "" if factor < 0 else f"{factor:g}"
            yield make(name, operator, None, ("*",), variant=variant, step=scaled(host, factor))
    for name in ("mlp4-relu", "dqn"):
        yield make(name, "loss-scale", None, ("*",), variant="1e+12", step=scaled(HOSTS[name], 1e12))
    for name in ("mlp4-relu", "vgg-bn", "encoder4-pre"):
        yield make(name, "loss-misses-model", None, ("*",), step=bias_only(HOSTS[name]))
    yield make("multitask", "loss-misses-model", None, at("tower", "head"), variant="one-head", step=one_head)
    yield make("dqn", "loss-broadcast", None, at("head"), step=broadcast)
    yield make("recommender", "loss-broadcast", None, at("head"), step=broadcast)
    collapsed = tasks.variational(weight=100.0)
    yield make("vae", "loss-scale", None, at("mean", "logvar"), variant="divergence", step=lambda model, batch: (
        collapsed.loss(model(*batch[0]), batch[1])))  # fmt: skip


def last_bias(model: nn.Module) -> Tensor:
    return next(p for name, p in reversed(list(model.named_parameters())) if name.endswith("bias"))


def bias_only(host: Host) -> Step:
    """The prediction is overwritten by the last bias before the loss: the model runs for nothing."""

    def step(model: nn.Module, batch: Batch) -> Tensor:
        inputs, target = batch
        out = model(*inputs)
        return host.task.loss(out.detach() * 0 + last_bias(model), target)

    return step


def one_head(model: nn.Module, batch: Batch) -> Tensor:
    inputs, target = batch
    return F.cross_entropy(model(*inputs)[0], target[0])


def broadcast(model: nn.Module, batch: Batch) -> Tensor:
    """(n, 1) against (n,): every prediction is compared with every target."""
    inputs, target = batch
    wanted = target[0].gather(1, target[1]) if isinstance(target, tuple) else target
    out = model(*inputs)
    guess = out.gather(1, target[1]) if isinstance(target, tuple) else out
    error: Tensor = guess - wanted.squeeze(1)
    return error.square().mean()


def data() -> Iterator[Case]:
    def bytes_of(host: Host) -> Callable[[int, int], Batch]:
        def batch(seed: int, size: int) -> Batch:
            inputs, target = host.task.batch(seed, size)
            return tuple((x * 50 + 128).clamp(0, 255) if x.is_floating_point() else x for x in inputs), target

        return batch

    hosts = ("mlp4-relu", "mlp12-tanh", "mlp20-relu", "mlp10-batchnorm", "vgg-plain", "vgg-bn", "lenet", "resnet",
             "resmlp12", "dqn", "discriminator", "convnext", "highway10", "vit")  # fmt: skip
    for name in hosts:
        culprit = at("conv1") if name == "lenet" else at("stem")
        yield make(name, "unscaled-input", None, culprit, batch=bytes_of(HOSTS[name]))
    for name in ("mlp4-relu", "vgg-plain", "dqn"):
        yield make(name, "tiny-input", None, at("stem"), batch=shrunken(HOSTS[name], 1e-6))


def shrunken(host: Host, factor: float) -> Callable[[int, int], Batch]:
    def batch(seed: int, size: int) -> Batch:
        inputs, target = host.task.batch(seed, size)
        return tuple(x * factor for x in inputs), target

    return batch


def half_precision() -> Iterator[Case]:
    """float16 without a loss scale, with a loss that is small because it is averaged over too much."""

    def autocast(host: Host, factor: float) -> Step:
        def step(model: nn.Module, batch: Batch) -> Tensor:
            inputs, target = batch
            with torch.autocast("cpu", dtype=torch.float16):
                out = model(*inputs)
            return host.task.loss(out.float(), target) * factor

        return step

    def halved(host: Host) -> Callable[[int, int], Batch]:
        def batch(seed: int, size: int) -> Batch:
            inputs, target = host.task.batch(seed, size)
            return tuple(x.half() for x in inputs), target

        return batch

    def pure(host: Host, factor: float) -> Step:
        return lambda model, batch: host.task.loss(model(*batch[0]).float(), batch[1]) * factor

    for name in ("mlp4-relu", "mlp20-relu", "vgg-plain", "mlp12-tanh"):
        for factor in (1e-7, 1e-4, 1.0):
            yield make(name, "half-precision", None, ("*",), variant=f"autocast-{factor:g}",
                       step=autocast(HOSTS[name], factor))  # fmt: skip
    for name in ("mlp4-relu", "mlp12-tanh"):
        yield make(name, "half-precision", ops.to_half, ("*",), variant="pure-1e-07",
                   step=pure(HOSTS[name], 1e-7), batch=halved(HOSTS[name]))  # fmt: skip


def first_cases() -> list[Case]:
    groups = (activations, structure, scales, constants, dead, cuts, partial_cuts, hard_steps, killers, not_finite,
              gates, attention, recurrence, parameters, read_outs, losses, data, half_precision)  # fmt: skip
    cases = [one for group in groups for one in group()]
    assert len({one.name for one in cases}) == len(cases), "two cases of the same name"
    return cases


def host_cases() -> list[Case]:
    """The hosts with nothing wrong."""
    return [case(host) for host in HOSTS.values()]
