"""The faults of the fourth round: the known operators on further hosts, and operators that are new themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..cases import Batch, Case
from ..hosts import HOSTS, fourth, fourth_tasks
from . import first_ops as ops
from . import fourth_ops as here
from .first import at, changed, everywhere, make, placed
from .first_ops import Change, Mutation
from .second import another_loss, enlarged, on_loss
from .third import autocast, broadcast

ALL = ("early", "middle", "late")
MIDDLE = ("middle",)
STACKS = ("all-conv", "tall-regressor")
"""Nets without norms and residuals."""
MIXED = ("*proj", "*conv1d", "inlet", "readout")
FIRST = {
    "all-conv": ("convs.0",), "tall-regressor": ("0",), "groupnorm-resnet": ("conv1",), "mamba": ("inlet",),
}  # fmt: skip
LAST = {
    "char-gpt": ("lm_head", "wte"), "bracket-encoder": ("classifier",), "perceiver": at("to_answer"),
    "all-conv": ("fc",), "groupnorm-resnet": ("fc",), "mamba": ("readout",), "tall-regressor": ("24",),
    "dlrm": ("top_l.4", "top_l"), "sage-jump": at("lin"),
}  # fmt: skip


# --- known operators ---------------------------------------------------------------------------------------------


def known_structure() -> Iterator[Case]:
    hosts = (*STACKS, "conv-vae", "dlrm", "groupnorm-resnet")
    yield from everywhere("activation-sigmoid", hosts, here.activations_to(nn.Sigmoid))
    yield from everywhere("activation-tanh", ("tall-regressor",), here.activations_to(nn.Tanh))
    saturated = ops.all_of(here.activations_to(nn.Tanh), ops.scaled(8.0))
    yield from everywhere("activation-saturated", (*STACKS, "pinn"), saturated, "tanh")
    yield from everywhere("no-residual", ("char-gpt", "bracket-encoder", "groupnorm-resnet", "mamba"), here.no_residual)
    yield from everywhere("no-norm", ("char-gpt", "groupnorm-resnet", "mamba"), here.no_norm)
    both = ops.all_of(here.no_residual, here.no_norm)
    yield from everywhere("no-residual-no-norm", ("char-gpt",), both)
    yield make("char-gpt", "block-skipped", here.left_out("h", 3), at("h.3"), site="h.3")
    yield from placed("block-skipped", ("mamba",), ("late",), ops.skipped)


def known_initialisation() -> Iterator[Case]:
    small = (*STACKS, "conv-vae", "dlrm", "sage-jump", "pinn")
    yield from everywhere("init-small", small, ops.scaled(0.1), "x0.1")
    yield from everywhere("init-small", ("mamba",), ops.scaled(0.1, MIXED), "x0.1")
    yield from everywhere("init-small", STACKS, ops.scaled(0.3), "x0.3")
    large = (*STACKS, "pinn", "perceiver", "attentive-gru")
    yield from everywhere("init-large", large, ops.scaled(10.0), "x10")
    yield from everywhere("init-large", ("mamba",), ops.scaled(10.0, MIXED), "x10")
    yield from everywhere("init-large", STACKS, ops.scaled(3.0), "x3")
    for host, site in (("tall-regressor", "10"), ("all-conv", "convs.5")):
        yield make(host, "init-zero", ops.filled(0.0, at(site)), at(site), site=site)
    dead = (("tall-regressor", "10"), ("all-conv", "convs.5"), ("dlrm", "top_l.0"))
    for host, site in dead:
        for share in (0.7, 1.0):
            variant = f"{share:.0%}".rstrip("%")
            yield make(host, "dead-units", here.dead((site,), share), at(site), variant=variant, site=site)


def known_cuts() -> Iterator[Case]:
    yield from placed("detach", STACKS, ALL, changed(ops.detach))
    others = ("char-gpt", "bracket-encoder", "perceiver", "groupnorm-resnet", "conv-vae", "sage-jump")
    yield from placed("detach", others, MIDDLE, changed(ops.detach))
    yield from placed("detach", ("attentive-gru",), ("early",), changed(ops.detach))
    yield from placed("no-grad", ("dlrm", "conv-vae"), ("early",), ops.without_grad)
    inside = (
        ("perceiver", "blocks.0.cross"), ("bracket-encoder", "encoder.layers.1.self_attn"), ("conv-vae", "fc_logvar"),
        ("attentive-gru", "attention"), ("sage-jump", "convs.1.lin_l"), ("mamba", "layers.0.mixer.dt_proj"),
        ("char-gpt", "wte"),
    )  # fmt: skip
    for host, site in inside:
        yield make(host, "detach-partial", ops.after(site, ops.detach), at(site), site=site)
    yield make("dlrm", "round-trip", ops.after("bot_l", ops.through_item), at("bot_l"), variant="item", site="bot_l")
    own = here.rewritten(fourth.ConvVAE, reparameterise=here.drawn_without_graph)
    yield make("conv-vae", "sampled", own, ("", "fc_mu", "fc_logvar"))


def known_erasures() -> Iterator[Case]:
    yield from placed("hard-step", ("tall-regressor", "perceiver"), MIDDLE, changed(torch.round), "round")
    sharp = here.rewritten(fourth.AttentiveGRU, pool=here.read_sharply)
    yield make("attentive-gru", "hard-step", sharp, at("attention"), variant="argmax")
    chosen = here.rewritten(fourth.CausalSelfAttention, weigh=here.weighed_sharply)
    yield make("char-gpt", "hard-step", chosen, ("*attn*",), variant="argmax")
    yield from placed("clamp", ("conv-vae",), MIDDLE, changed(ops.clamp(-1e-3, 1e-3)), "tiny")
    for erase in (ops.batch_mean, ops.feature_mean):
        name = erase.__name__.replace("_", "-")
        yield from placed("wrong-dim", ("sage-jump",), ("late",), changed(erase), name)
    yield from placed("gradient-clipped", ("mamba",), MIDDLE, changed(ops.clipped_backward(0.0)), "zero")
    nan: tuple[tuple[str, Change], ...] = (
        ("tall-regressor", ops.sqrt_of_zero), ("sage-jump", ops.norm_of_nothing), ("all-conv", ops.guarded_log),
        ("conv-vae", ops.guarded_ratio),
    )  # fmt: skip
    for host, change in nan:
        yield from placed("nan-backward", (host,), MIDDLE, changed(change), change.__name__.replace("_", "-"))
    yield make("dlrm", "nan-forward", ops.before("bot_l", torch.log1p), at("bot_l"), variant="log1p", site="bot_l")
    for host, site in (("mamba", "layers.1"), ("char-gpt", "h.3")):
        yield make(host, "double-zero-gate", ops.double_gate(site), at(site), site=site)
    for host, site, names in (("char-gpt", "h.2.mlp", ("c_fc.*", "c_proj.*")),
                              ("mamba", "layers.0.mixer", ("in_proj.*", "out_proj.*"))):  # fmt: skip
        yield make(host, "double-zero-branch", ops.zero_branch(site, names), at(site), site=site)
    for host, sites in (("char-gpt", ("h.2.attn.c_attn",)), ("dlrm", ("top_l.0", "top_l.2"))):
        yield make(host, "lora-both-zero", here.adapted(sites), at(*sites), site=sites[0])


def known_attention() -> Iterator[Case]:
    for host, globs, more in (("char-gpt", ("h.*.c_attn",), ops.attribute(("*attn",), "temperature", 1.0)),
                              ("bracket-encoder", ("*self_attn",), ops.all_of())):  # fmt: skip
        loud = ops.all_of(more, ops.scaled(10.0, globs))
        yield make(host, "attention-unscaled", loud, ("*attn*",), variant="x10")
    cold = ops.attribute(("*attn",), "temperature", 1e-4)
    yield make("char-gpt", "softmax-temperature", cold, ("*attn*",), variant="attention")
    hidden = here.rewritten(fourth.CausalSelfAttention, weigh=here.mask_of_all)
    yield make("char-gpt", "attention-mask", hidden, ("*attn*",), variant="all")
    padded = here.rewritten(fourth.BracketEncoder, attend=here.attend_nothing)
    yield make("bracket-encoder", "attention-mask", padded, ("", "*attn*"), variant="all")
    across = ops.attribute(("*self_attn",), "batch_first", False)
    yield make("bracket-encoder", "batch-first-forgotten", across, ("*self_attn*",))
    yield make("attentive-gru", "batch-first-forgotten", ops.attribute(("gru",), "batch_first", False), at("gru"))
    yield make("attentive-gru", "gate-saturated", here.update_gate_shut, at("gru"), variant="update+60")
    shut = ops.all_of(*(here.parameters_at(f"layers.{i}.mixer.dt_proj.bias", -30.0) for i in range(2)))
    yield make("mamba", "gate-saturated", shut, ("layers*",), variant="dt-30")
    for kind in ("tanh", "relu"):
        yield make("attentive-gru", "long-sequence", plain_recurrence(kind), at("gru"), variant=f"{kind}-120",
                   batch=fourth_tasks.opinions(120).batch)  # fmt: skip


def plain_recurrence(kind: str) -> Mutation:
    """A vanilla net in one direction takes the place of the GRU, and its last state is read."""

    def apply(model: nn.Module) -> None:
        model.gru = nn.RNN(16, 32, nonlinearity=kind, batch_first=True)
        model.attention = nn.Identity()
        here.rewritten(fourth.AttentiveGRU, pool=here.read_last_step)(model)

    return apply


def known_parameters() -> Iterator[Case]:
    for host, name in (("all-conv", "convs"), ("char-gpt", "h"), ("dlrm", "emb_l")):
        yield make(host, "unregistered", here.plain_list(name), ("", f"{name}*"), variant="list", site=name)
    site = "convs.1.lin_l"
    yield make("sage-jump", "not-a-parameter", ops.plain_tensor(site), at(site), site=site)
    for host, site in (("tall-regressor", "10"), ("pinn", "net.2")):
        yield make(host, "not-a-parameter", here.leaf_tensor(site), at(site), variant="leaf", site=site)
    for host in ("mamba", "conv-vae"):
        yield make(host, "unused-parameters", ops.unused, ("spare",))
    yield make("dlrm", "frozen-trunk", ops.frozen(HOSTS["dlrm"].trunk), HOSTS["dlrm"].trunk)


def at_output(host: str, operator: str, change: Change) -> Case:
    return make(host, operator, ops.after("", change), LAST[host])


def known_ends() -> Iterator[Case]:
    faint = on_loss("tall-regressor", lambda loss: loss * 1e-12)
    yield make("tall-regressor", "loss-scale", None, ("*",), variant="1e-12", step=faint)
    yield make("dlrm", "loss-sign", None, ("*",), step=on_loss("dlrm", lambda loss: -loss))
    rewarded = another_loss(here.divergence_rewarded)
    yield make("conv-vae", "loss-sign", None, ("fc_mu", "fc_logvar", "*"), variant="divergence", step=rewarded)
    alone = another_loss(here.divergence_alone)
    yield make("conv-vae", "loss-scale", None, ("fc_mu", "fc_logvar"), variant="divergence", step=alone)
    for host in ("groupnorm-resnet", "bracket-encoder"):
        yield at_output(host, "double-softmax", lambda x: x.softmax(-1))
    yield at_output("dlrm", "double-sigmoid", torch.sigmoid)
    for host in ("tall-regressor", "sage-jump"):
        yield make(host, "loss-broadcast", None, LAST[host], step=another_loss(broadcast))
    for host in FIRST:
        yield make(host, "unscaled-input", None, FIRST[host], batch=enlarged(HOSTS[host], 50.0, 128 / 50))
    for host in STACKS:
        yield make(host, "half-precision", None, ("*",), variant="autocast-1e-07", step=autocast(HOSTS[host], 1e-7))


# --- new: loops, copies and wrong indices ------------------------------------------------------------------------


def new_calls() -> Iterator[Case]:
    forgets = here.rewritten(fourth.CharGPT, run=here.run_forgetting)
    yield make("char-gpt", "loop-forgets", forgets, ("", "h*"))
    yield make("mamba", "loop-forgets", here.rewritten_at("layers", forward=here.sequence_forgetting), at("layers"))
    layers = here.rewritten_at("encoder", forward=here.encoder_forgetting)
    yield make("bracket-encoder", "loop-forgets", layers, at("encoder"))
    yield make("char-gpt", "returns-early", here.rewritten(fourth.CharGPT, run=here.run_returning), ("", "h*"))
    for host, parent, wrong, right in (("tall-regressor", "", "10", "8"), ("pinn", "net", "4", "2")):
        site = f"{parent}.{wrong}".lstrip(".")
        yield make(host, "copy-paste", here.called_twice(parent, wrong, right), (parent, *at(site)), site=site)
    yield make("sage-jump", "copy-paste", here.same_convolution, ("", *at("convs.2")), site="convs.2")


def new_examples() -> Iterator[Case]:
    """Examples of a batch are taken for each other."""
    yield make("attentive-gru", "batch-flipped", ops.after("word_embeddings", here.flipped_batch),
               at("word_embeddings"), site="word_embeddings")  # fmt: skip
    yield make("all-conv", "batch-shuffled", ops.after("convs.5", here.shuffled), at("convs.5"), site="convs.5")
    yield make("groupnorm-resnet", "batch-shuffled", ops.after("layer1", here.shuffled), at("layer1"), site="layer1")
    for name, how in (("example", here.read_last_example), ("step", here.read_last_step)):
        wrong = here.rewritten(fourth.AttentiveGRU, pool=how)
        yield make("attentive-gru", "last-read", wrong, ("", *at("attention")), variant=name)
    yield make("dlrm", "ids-as-numbers", here.rewritten(fourth.DLRM, look_up=here.ids_as_numbers), ("", "emb_l*"))
    yield make(
        "dlrm", "picked-from-zeros", here.rewritten(fourth.DLRM, interact=here.picked_from_zeros), ("", "emb_l*")
    )
    yield make("mamba", "placeholder-left", here.changed_input(here.noise_placeholder), ("", "inlet"))
    for host, site in (("mamba", "inlet"), ("perceiver", "to_tokens")):
        normed = ops.before(site, here.normed_features)
        yield make(host, "features-normed-away", normed, at(site), site=site)


# --- new: attention and positions --------------------------------------------------------------------------------


def new_attention() -> Iterator[Case]:
    wrong: tuple[tuple[str, str, Callable[..., Tensor]], ...] = (
        ("mask-misapplied", "1e-9", here.mask_of_little),
        ("mask-misapplied", "added", here.mask_added),
        ("mask-hides-itself", "", here.mask_of_itself),
        ("floor-division", "", here.floor_divided),
        ("attention-softmax-twice", "", here.weighed_twice),
    )
    for operator, variant, how in wrong:
        other = here.rewritten(fourth.CausalSelfAttention, weigh=how)
        yield make("char-gpt", operator, other, ("*attn*",), variant=variant)
    merged = here.rewritten(fourth.CausalSelfAttention, merge=here.merged_wrongly)
    yield make("char-gpt", "heads-not-moved", merged, ("*attn*",))
    soft = here.rewritten(fourth.AttentiveGRU, pool=here.read_softly_twice)
    yield make("attentive-gru", "attention-softmax-twice", soft, at("attention"))
    for name, place in (("along-batch", here.placed_along_batch), ("all-alike", here.placed_all_alike),
                        ("forgotten", here.not_placed)):  # fmt: skip
        lost = here.rewritten(fourth.BracketEncoder, place=place)
        yield make("bracket-encoder", "positions", lost, ("", "embedding"), variant=name)


# --- new: initialisation and parametrisation ---------------------------------------------------------------------


def new_parameters() -> Iterator[Case]:
    for host, path in (("tall-regressor", "10.weight"), ("dlrm", "emb_l.0.weight"), ("perceiver", "latents")):
        site = path.rpartition(".")[0]
        yield make(host, "init-uninitialised", here.garbage(path), (site,), site=path)
    for value in (0.0, 1.0):
        alike = here.parameters_at("latents", value)
        yield make("perceiver", "latents-alike", alike, ("", "blocks*"), variant=f"{value:g}")
    yield make("char-gpt", "tied-at-default", here.default_table, ("wte", "lm_head"))
    yield make("tall-regressor", "weight-norm-of-zero", here.norm_of_zero("10"), at("10"), site="10")
    yield make("tall-regressor", "svd-of-identity", here.rotation_of_identity("10"), at("10"), site="10")


# --- new: states, graphs, codes, derivatives ---------------------------------------------------------------------


def new_kinds() -> Iterator[Case]:
    yield make("mamba", "decay-sign", here.rewritten(fourth.SelectiveSSM, decay=here.growing), ("layers*",))
    for name, how in (("over-smoothed", here.smoothed_over), ("degree-zero", here.over_no_neighbours)):
        yield make("sage-jump", name, here.rewritten(fourth.SAGEConv, aggregate=how), ("convs*",))
    swept = here.rewritten(fourth.SAGEConv, aggregate=here.lone_nodes_hidden)
    yield make("sage-jump", "degree-zero", swept, ("convs*",), variant="hidden")
    for straight, name in ((False, "cut"), (True, "straight-through")):
        yield make("conv-vae", "codes", here.with_codes(straight), ("", "enc*", "fc_mu", "fc_logvar"), variant=name)
    for host, site in (("groupnorm-resnet", "layer1"), ("all-conv", "convs.5")):
        yield make(host, "grid-out-of-range", ops.after(site, here.in_pixels), at(site), site=site)
    blind = here.rewritten(fourth.PINN, forward=here.slope_without_graph)
    yield make("pinn", "derivative-without-graph", blind, ("", "net*"))
    yield make("pinn", "second-derivative-zero", here.activations_to(nn.ReLU), ("", "net*"))


# --- new: losses and inputs --------------------------------------------------------------------------------------


def scaled_twice(host: str) -> Callable[[int, int], Batch]:
    """Pictures of 0 to 1 are divided by 255 and brought to mean and deviation as if they were bytes."""

    def batch(seed: int, size: int) -> Batch:
        (image, *others), target = HOSTS[host].task.batch(seed, size)
        return ((image / 255 - 0.485) / 0.229, *others), target

    return batch


def new_losses() -> Iterator[Case]:
    for host in ("all-conv", "groupnorm-resnet"):
        yield make(host, "scaled-twice", None, FIRST[host], batch=scaled_twice(host))
    for host, name, loss in (
        ("tall-regressor", "mean-before-square", here.mean_before_square),
        ("mamba", "mean-before-square", here.mean_before_square),
        ("sage-jump", "error-not-squared", here.not_squared),
        ("tall-regressor", "loss-with-itself", here.with_itself),
        ("all-conv", "columns-picked", here.columns_picked),
        ("dlrm", "hinge-of-zero", here.hinge_of_zero),
        ("dlrm", "negatives-forgotten", here.no_negatives),
    ):
        culprit = ("*",) if name == "loss-with-itself" else LAST[host]
        yield make(host, name, None, culprit, step=another_loss(loss))
    yield make("pinn", "condition-forgotten", None, ("net.6", "net"), step=another_loss(here.without_walls))
    yield make("pinn", "mean-before-square", None, ("net.6", "net"), step=another_loss(here.cancelling_residual))
    relu = ops.all_of(ops.after("", F.relu), here.parameters_at("24.bias", -20.0))
    yield make("tall-regressor", "relu-on-regression", relu, LAST["tall-regressor"], variant="shifted")


def fourth_cases() -> list[Case]:
    """Every fault of the fourth round."""
    groups = (
        known_structure, known_initialisation, known_cuts, known_erasures, known_attention, known_parameters,
        known_ends, new_calls, new_examples, new_attention, new_parameters, new_kinds, new_losses,
    )  # fmt: skip
    cases = [dataclasses.replace(one, round=4) for group in groups for one in group()]
    assert len({one.name for one in cases}) == len(cases), "two cases of the same name"
    return cases
