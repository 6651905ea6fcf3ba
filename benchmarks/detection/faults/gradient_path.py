"""Faults of the gradient's path: cuts, detours through numbers, steps without a slope, hooks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.detection.cases import Case
from benchmarks.detection.faults.mutations import (
    Call,
    Change,
    Mutation,
    activations_to,
    after,
    attribute,
    before,
    detach,
    past_of,
    patch,
    rewritten,
)
from benchmarks.detection.faults.placing import DEEP_STACKS, MIDDLE, at, changed, make, placed
from benchmarks.detection.hosts.generative import ConvVAE
from benchmarks.detection.hosts.language import AttentiveGRU, CausalSelfAttention
from benchmarks.detection.hosts.science import PINN

RECURRENT = ("lstm", "gru", "rnn", "rnn-unrolled")
ALL = ("early", "middle", "late")


def between(site: str, change: Change) -> Mutation:
    """Changes the signal behind ``site`` in the forward of its parent, an ``nn.Sequential``: no module shows it."""
    parent, _, index = site.rpartition(".")

    def forward(self: nn.Module, original: Call, x: Tensor) -> Tensor:
        for name, child in self.named_children():
            x = change(child(x)) if name == index else child(x)
        return x

    return lambda model: patch(model.get_submodule(parent), forward)


def straight_path_only(site: str) -> Mutation:
    """A residual block whose branch reads a detached input: the gradient passes by the identity alone."""
    return lambda model: patch(
        model.get_submodule(site), lambda self, original, x: original(x.detach()) + (x - x.detach())
    )


def branch_only(site: str) -> Mutation:
    """A residual block whose identity path is detached."""
    return lambda model: patch(model.get_submodule(site), lambda self, original, x: original(x) - x + x.detach())


def branch_cut(site: str) -> Mutation:
    """A residual block whose branch is detached: everything inside it stays as it was born."""

    def forward(self: nn.Module, original: Call, x: Tensor) -> Tensor:
        with torch.no_grad():
            out = original(x)
        return x + (out - x).detach()

    return lambda model: patch(model.get_submodule(site), forward)


def without_grad(site: str) -> Mutation:
    def forward(self: nn.Module, original: Call, *args: Any) -> Any:
        with torch.no_grad():
            return original(*args)

    return lambda model: patch(model.get_submodule(site), forward)


def through_data(x: Tensor) -> Tensor:
    return x.data


def through_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(x.detach().numpy().copy())


def through_item(x: Tensor) -> Tensor:
    return torch.tensor(x.tolist())


def new_leaf(x: Tensor) -> Tensor:
    """ "Make it require a gradient again": a copy that does, and the graph ends there."""
    return x.detach().clone().requires_grad_()


def new_parameter(x: Tensor) -> Tensor:
    return nn.Parameter(x)


def data_zeroed(x: Tensor) -> Tensor:
    """Written to behind autograd's back: the backward pass knows nothing of it."""
    y = x.clone()
    y.data.zero_()
    return y


def data_clamped(x: Tensor) -> Tensor:
    y = x.clone()
    y.data.clamp_(min=0)
    return y


def data_frozen(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y.data.copy_(x.data)
    return y


def step(x: Tensor) -> Tensor:
    return (x > 0).float()


def one_hot(x: Tensor) -> Tensor:
    """The greatest entry along the last dimension becomes one, the others zero."""
    return F.one_hot(x.argmax(-1), x.shape[-1]).float()


def read_sharply(self: Any, states: Tensor) -> Tensor:
    """The weights are a one-hot choice."""
    choice = self.attention(states).squeeze(-1).argmax(1)
    return states[torch.arange(len(states)), choice]


def weighed_sharply(self: Any, q: Tensor, k: Tensor) -> Tensor:
    score = (q @ k.transpose(-2, -1)).masked_fill(~past_of(self, q), -torch.inf)
    return F.one_hot(score.argmax(-1), score.shape[-1]).float()


def straight_through_wrong(x: Tensor) -> Tensor:
    """The estimator with the detach on the wrong term."""
    hard = x.round()
    return hard + (x - hard).detach()


def straight_through(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def ranks(x: Tensor) -> Tensor:
    """The places that sorting gives instead of the values."""
    return x.argsort(-1).argsort(-1).float() / x.shape[-1]


def top_indices(x: Tensor) -> Tensor:
    return x.topk(x.shape[-1], dim=-1).indices.float()


def in_order(x: Tensor) -> Tensor:
    return x.sort(-1).values


def sampled(x: Tensor) -> Tensor:
    """``sample`` where ``rsample`` was meant."""
    return torch.distributions.Normal(x, 0.1, validate_args=False).sample()  # type: ignore[no-untyped-call]


def resampled(x: Tensor) -> Tensor:
    return torch.distributions.Normal(x, 0.1, validate_args=False).rsample()


def coins(x: Tensor) -> Tensor:
    """Stochastic binary units without an estimator for their gradient."""
    return torch.bernoulli(x.sigmoid().nan_to_num())


def drawn_without_graph(self: Any, mu: Tensor, logvar: Tensor) -> Tensor:
    return torch.normal(mu, (0.5 * logvar).exp()).detach()


class NoBackward(torch.autograd.Function):
    """Backward was left at ``return None``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        return None


class ZeroBackward(NoBackward):
    """Backward fills a new tensor and forgets to write the gradient into it."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # type: ignore[override]
        return torch.zeros_like(grads[0])


class LocalBackward(torch.autograd.Function):
    """A leaky ReLU whose backward returns its own slope and drops the gradient that came."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.leaky_relu(x, 0.1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, 1.0, 0.1)


class OutputBackward(LocalBackward):
    """The chain rule with the result in the place of the derivative, which is zero wherever the result is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = x.relu()
        ctx.save_for_backward(1e-4 * out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * ctx.saved_tensors[0]


class NegatedBackward(NoBackward):
    """The sign of the derivative is wrong."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # type: ignore[override]
        return -grads[0]


FUNCTIONS: dict[str, type[torch.autograd.Function]] = {
    "none": NoBackward,
    "zeros": ZeroBackward,
    "local": LocalBackward,
    "output": OutputBackward,
    "negated": NegatedBackward,
}


def own_function(name: str) -> Change:
    def change(x: Tensor) -> Tensor:
        out: Tensor = FUNCTIONS[name].apply(x)  # type: ignore[no-untyped-call]
        return out

    return change


def reversed_gradient(x: Tensor) -> Tensor:
    """A gradient reversal layer that was left in."""
    return 2 * x.detach() - x


def clipped_backward(limit: float) -> Change:
    """A hook that was meant to tame the gradient and extinguishes it."""

    def change(x: Tensor) -> Tensor:
        if x.requires_grad:
            x.register_hook(lambda grad: grad.clamp(-limit, limit))  # type: ignore[no-untyped-call]
        return x

    return change


def parameters_hooked(site: str, factor: float) -> Mutation:
    """Hooks that were to scale the gradients of some layers."""

    def apply(model: nn.Module) -> None:
        for parameter in model.get_submodule(site).parameters():
            parameter.register_hook(lambda grad: grad * factor)  # type: ignore[no-untyped-call]

    return apply


def backward_hooked(site: str, factor: float) -> Mutation:
    def hook(module: nn.Module, given: Any, came: Any) -> Any:
        return tuple(None if grad is None else grad * factor for grad in given)

    def apply(model: nn.Module) -> None:
        model.get_submodule(site).register_full_backward_hook(hook)

    return apply


def noisy(size: float) -> Change:
    """Noise for regularisation, far larger than what it is added to."""
    return lambda x: x + size * torch.randn_like(x)


def hooked(site: str, change: Change) -> Mutation:
    """A forward hook for looking at a layer returns something, and so replaces what the layer said."""

    def apply(model: nn.Module) -> None:
        model.get_submodule(site).register_forward_hook(lambda module, given, came: change(came))

    return apply


def hooked_before(site: str, change: Change) -> Mutation:
    def apply(model: nn.Module) -> None:
        model.get_submodule(site).register_forward_pre_hook(lambda module, given: (change(given[0]), *given[1:]))

    return apply


def hook_gives_input(site: str) -> Mutation:
    """The hook returns the wrong one of its arguments."""

    def apply(model: nn.Module) -> None:
        model.get_submodule(site).register_forward_hook(lambda module, given, came: given[0])

    return apply


def checkpointed(site: str) -> Mutation:
    """Re-entrant checkpointing, which needs an input that asks for a gradient."""

    def forward(self: nn.Module, original: Call, *args: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it does say that there will be no gradient
            return checkpoint(original, *args, use_reentrant=True)

    return lambda model: patch(model.get_submodule(site), forward)


def one_row_written(x: Tensor) -> Tensor:
    """A loop that always writes into the first row of the result."""
    out = torch.zeros_like(x)
    out[0] = x[-1]
    return out


def detached_rows(x: Tensor) -> Tensor:
    """A result put together row by row from copies."""
    out = torch.empty_like(x)
    for i, row in enumerate(x):
        out[i] = row.detach()
    return out


def half_overwritten(x: Tensor) -> Tensor:
    """The first half of the features is overwritten in place."""
    out = x.clone()
    out[..., : x.shape[-1] // 2] = 0
    return out


def quantised(straight: bool) -> Callable[..., Tensor]:
    """The nearest entry of a table of codes; ``straight`` lets the gradient pass by."""

    def reparameterise(self: Any, mu: Tensor, logvar: Tensor) -> Tensor:
        codes: Tensor = self.codebook[torch.cdist(mu, self.codebook).argmin(1)]
        return mu + (codes - mu).detach() + (codes - codes.detach()) if straight else codes

    return reparameterise


def with_codes(straight: bool) -> Mutation:
    def apply(model: nn.Module) -> None:
        model.codebook = nn.Parameter(torch.randn(64, 4))
        rewritten(ConvVAE, reparameterise=quantised(straight))(model)

    return apply


def winner_only(x: Tensor) -> Tensor:
    """Only the greatest of the features is let through."""
    return x * (x == x.amax(-1, keepdim=True))


def largest_only(x: Tensor) -> Tensor:
    """A pooling over features where one over places was meant."""
    return x.amax(-1, keepdim=True).expand_as(x)


def first_feature(x: Tensor) -> Tensor:
    """A wrong index: one feature stands for all."""
    return x[..., :1].expand_as(x)


def slope_without_graph(self: Any, place: Tensor, walls: Tensor) -> Any:
    """The second derivative is taken without ``create_graph``: it is a number."""
    with torch.enable_grad():
        x = place.detach().clone().requires_grad_()
        u = self.net(x)
        first = self.slope(u, x)
        (bend,) = torch.autograd.grad(first.sum(), x, retain_graph=True)
    return (u, place), self.net(walls), bend


def detach_cases() -> Iterator[Case]:
    yield from placed(
        "detach",
        ("mlp8-leaky", "mlp20-relu", "vgg-bn", "resnet", "encoder4-pre", "lenet", "gcn", "autoencoder"),
        ("early", "middle", "late"),
        changed(detach),
    )
    yield from placed(
        "detach",
        ("mlp8-functional", "convnext", "densenet", "unet", "vae", "moe", "pointnet", "vit", "gpt", "tcn"),
        ("middle",),
        changed(detach),
    )
    yield from placed(
        "detach",
        ("mlp12-tanh", "resmlp12", "mobilenet", "mixer", "ft-transformer", "encoder24-pre"),
        ("middle",),
        lambda s: between(s, detach),
        "between",
    )
    yield from placed("detach", RECURRENT, ("early",), changed(detach))
    yield from placed("detach", ("lstm", "rnn"), ("late",), lambda s: before(s, detach), "input")
    yield from placed("detach", ("repvgg", "llama", "inception", "siren"), ("early", "middle", "late"), changed(detach))
    yield from placed("detach", ("pyramid", "gated-conv", "mingru", "gin", "ode", "tagger"), MIDDLE, changed(detach))
    yield from placed("detach", ("deep-cnn", "siamese"), ALL, changed(detach))
    yield from placed(
        "detach", ("fourier", "bars", "gat", "localiser", "set-transformer", "seq2seq"), MIDDLE, changed(detach)
    )
    yield from placed("detach", DEEP_STACKS, ALL, changed(detach))
    yield from placed(
        "detach",
        ("char-gpt", "bracket-encoder", "perceiver", "groupnorm-resnet", "conv-vae", "sage-jump"),
        MIDDLE,
        changed(detach),
    )
    yield from placed("detach", ("attentive-gru",), ("early",), changed(detach))


def detach_partial_cases() -> Iterator[Case]:
    for host, site in (
        ("two-towers", "image"),
        ("two-towers", "text"),
        ("multitask", "tower"),
        ("vae", "logvar"),
        ("recommender", "user"),
        ("translator", "encoder"),
        ("unet", "down2"),
    ):
        yield make(host, "detach-partial", after(site, detach), at(site), site=site)
    yield make("multitask", "detach-partial", before("tower", detach), at("tower"), variant="input")
    for host in ("resmlp12", "resnet", "encoder4-pre", "convnext"):
        for kind, how in (("inside", branch_cut), ("stem", straight_path_only), ("skip", branch_only)):
            yield from placed("detach-partial", (host,), ("middle",), how, kind)
    for host, site in (
        ("encoder4-pre", "body.1.attn"),
        ("encoder4-post", "body.2.mlp"),
        ("moe", "body.1.router"),
        ("gpt", "body.0.attn.value"),
        ("gcn", "layers.1.near"),
        ("se-resnet", "body.1.squeeze"),
        ("highway10", "body.4.gate"),
        ("moe", "body.1.experts.2"),
    ):
        yield make(host, "detach-partial", after(site, detach), at(site), site=site)
    for host, site in (
        ("retrieval", "document"),
        ("actor-critic", "policy"),
        ("pyramid", "up3"),
        ("dcn", "cross.1"),
        ("nhits", "back.0"),
        ("denoiser", "time"),
        ("llama", "body.1.attn.key"),
        ("mingru", "body.0.gate"),
        ("flow", "body.3.net"),
    ):
        yield make(host, "detach-partial", after(site, detach), at(site), site=site)
    for host, site in (
        ("localiser", "kind"),
        ("quantiles", "body.1.gate"),
        ("gat", "layers.0.linear"),
        ("set-transformer", "body.0.gather"),
        ("set-transformer", "body.1.attn.key"),
        ("seq2seq", "reader"),
        ("lstm-lm", "embed"),
        ("seq2seq", "target"),
    ):
        yield make(host, "detach-partial", after(site, detach), at(site), site=site)
    yield make("localiser", "detach-partial", before("box", detach), at("box"), variant="input")
    for host, site in (
        ("perceiver", "blocks.0.cross"),
        ("bracket-encoder", "encoder.layers.1.self_attn"),
        ("conv-vae", "fc_logvar"),
        ("attentive-gru", "attention"),
        ("sage-jump", "convs.1.lin_l"),
        ("mamba", "layers.0.mixer.dt_proj"),
        ("char-gpt", "wte"),
    ):
        yield make(host, "detach-partial", after(site, detach), at(site), site=site)


def no_grad_cases() -> Iterator[Case]:
    yield from placed(
        "no-grad",
        ("mlp4-relu", "vgg-plain", "preact-resnet", "encoder4-post", "deepsets", "translator", "recommender", "gru"),
        ("early",),
        without_grad,
    )
    yield from placed("no-grad", ("mlp12-gelu", "se-resnet", "mixer", "highway10"), ("late",), without_grad)
    yield from placed("no-grad", ("pyramid", "tagger", "gin", "mingru", "siren"), ("early",), without_grad)
    yield from placed("no-grad", ("localiser", "set-transformer", "lstm-lm", "siamese"), ("early",), without_grad)
    yield from placed("no-grad", ("dlrm", "conv-vae"), ("early",), without_grad)


def round_trip_cases() -> Iterator[Case]:
    for how in (through_data, through_numpy, through_item):
        yield from placed(
            "round-trip",
            ("mlp8-leaky", "normfree", "encoder3-torch", "pointnet"),
            ("early",),
            changed(how),
            how.__name__.removeprefix("through_"),
        )
    for host, site in (("dcn", "tables.1"), ("denoiser", "time.0"), ("flow", "body.2.net.0")):
        for name, how in (("data", through_data), ("item", through_item)):
            yield make(host, "round-trip", after(site, how), at(site), variant=name, site=site)
    yield from placed("round-trip", ("fourier",), MIDDLE, changed(through_numpy), "numpy")
    yield from placed("round-trip", ("quantiles", "gat"), MIDDLE, changed(through_item), "item")
    yield from placed("round-trip", ("bars", "elman"), ("early",), changed(through_data), "data")
    yield make("dlrm", "round-trip", after("bot_l", through_item), at("bot_l"), variant="item", site="bot_l")


def new_leaf_cases() -> Iterator[Case]:
    yield from placed("new-leaf", ("repvgg", "gated-conv", "gin"), MIDDLE, changed(new_leaf))
    yield from placed("new-leaf", ("siren", "tagger"), ("early",), changed(new_parameter), "parameter")


def data_write_cases() -> Iterator[Case]:
    yield from placed("data-write", ("siren", "repvgg", "llama"), MIDDLE, changed(data_zeroed), "zeroed")
    yield from placed("data-write", ("gin", "inception"), MIDDLE, changed(data_frozen), "copied")
    yield from placed("data-write", ("pyramid", "gated-conv"), MIDDLE, changed(data_clamped), "clamped")


def hard_step_cases() -> Iterator[Case]:
    kinds: dict[str, Change] = {"round": torch.round, "sign": torch.sign, "threshold": step}
    hosts = {
        "round": ("mlp4-relu", "vgg-plain", "encoder4-pre", "autoencoder"),
        "sign": ("mlp8-leaky", "resnet", "gcn"),
        "threshold": ("mlp4-relu", "pointnet", "vgg-bn"),
    }
    for kind, change in kinds.items():
        yield from placed("hard-step", hosts[kind], ("middle",), changed(change), kind)
    yield from placed(
        "hard-step", ("mlp12-tanh", "moe", "deepsets", "ft-transformer"), ("middle",), changed(one_hot), "argmax"
    )
    yield from placed("hard-step", ("inception", "llama"), MIDDLE, changed(torch.round), "round")
    yield from placed("hard-step", ("siren", "gin"), MIDDLE, changed(torch.sign), "sign")
    yield from placed("hard-step", ("fourier", "set-transformer"), MIDDLE, changed(torch.round), "round")
    yield from placed("hard-step", ("bars",), MIDDLE, changed(torch.sign), "sign")
    yield make("seq2seq", "hard-step", after("reader", one_hot), at("reader"), variant="argmax", site="reader")
    yield from placed("hard-step", ("tall-regressor", "perceiver"), MIDDLE, changed(torch.round), "round")
    yield make(
        "attentive-gru", "hard-step", rewritten(AttentiveGRU, pool=read_sharply), at("attention"), variant="argmax"
    )
    yield make(
        "char-gpt", "hard-step", rewritten(CausalSelfAttention, weigh=weighed_sharply), ("*attn*",), variant="argmax"
    )


def straight_through_cases() -> Iterator[Case]:
    for name, how in (("wrong", straight_through_wrong), ("right", straight_through)):
        yield from placed("straight-through", ("inception", "retrieval", "mingru"), MIDDLE, changed(how), name)


def sorting_cases() -> Iterator[Case]:
    sorted_: dict[str, Change] = {"ranks": ranks, "top-indices": top_indices, "values": in_order}
    for name, change in sorted_.items():
        yield from placed("sorting", ("siren", "llama", "nhits"), MIDDLE, changed(change), name)


def sampled_cases() -> Iterator[Case]:
    yield from placed("sampled", ("bars",), MIDDLE, changed(sampled))
    yield from placed("sampled", ("bars",), MIDDLE, changed(resampled), "rsample")
    yield from placed("sampled", ("siamese",), MIDDLE, changed(coins), "bernoulli")
    yield make(
        "conv-vae", "sampled", rewritten(ConvVAE, reparameterise=drawn_without_graph), ("", "fc_mu", "fc_logvar")
    )


def own_backward_cases() -> Iterator[Case]:
    for name, some in {
        "none": ("fourier", "gat"),
        "zeros": ("deep-cnn",),
        "local": ("siamese",),
        "output": ("fourier",),
        "negated": ("localiser",),
    }.items():
        yield from placed("own-backward", some, MIDDLE, changed(own_function(name)), name)


def gradient_reversed_cases() -> Iterator[Case]:
    yield from placed("gradient-reversed", ("repvgg", "siren", "gated-conv"), MIDDLE, changed(reversed_gradient))


def gradient_clipped_cases() -> Iterator[Case]:
    yield from placed(
        "gradient-clipped",
        ("mlp8-leaky", "resnet", "encoder4-pre", "autoencoder", "gcn", "tcn"),
        ("middle",),
        changed(clipped_backward(0.0)),
        "zero",
    )
    yield from placed(
        "gradient-clipped",
        ("mlp20-relu", "vgg-bn", "pointnet", "convnext"),
        ("late",),
        changed(clipped_backward(1e-12)),
        "1e-12",
    )
    yield from placed("gradient-clipped", ("repvgg", "llama", "siren"), MIDDLE, changed(clipped_backward(0.0)), "zero")
    yield from placed("gradient-clipped", ("bars", "quantiles"), MIDDLE, changed(clipped_backward(0.0)), "zero")
    yield from placed("gradient-clipped", ("mamba",), MIDDLE, changed(clipped_backward(0.0)), "zero")


def hook_zero_cases() -> Iterator[Case]:
    for host, site in (("repvgg", "body.1"), ("llama", "body.1.mlp"), ("denoiser", "body"), ("tagger", "rnn")):
        yield make(host, "hook-zero", parameters_hooked(site, 0.0), at(site), variant="parameters", site=site)
    for host, site in (("siren", "body.1"), ("gated-conv", "body.2"), ("retrieval", "query.3")):
        yield make(host, "hook-zero", backward_hooked(site, 0.0), at(site), variant="module", site=site)


def forward_hook_cases() -> Iterator[Case]:
    for host, site in (("deep-cnn", "body.3"), ("set-transformer", "body.1")):
        yield make(host, "forward-hook", hooked(site, detach), at(site), variant="detached", site=site)
    yield make("quantiles", "forward-hook", hook_gives_input("body.1"), at("body.1"), variant="input", site="body.1")
    yield make(
        "siamese", "forward-hook", hooked_before("body.1", noisy(30.0)), at("body.1"), variant="noise", site="body.1"
    )


def checkpoint_reentrant_cases() -> Iterator[Case]:
    for host, site in (("siamese", "stem"), ("localiser", "stem"), ("deep-cnn", "body.3")):
        yield make(host, "checkpoint-reentrant", checkpointed(site), at(site), site=site)


def rows_rebuilt_cases() -> Iterator[Case]:
    yield from placed("rows-rebuilt", ("quantiles",), MIDDLE, changed(detached_rows), "detached")
    yield from placed("rows-rebuilt", ("deep-cnn",), MIDDLE, changed(one_row_written), "first-only")


def overwritten_in_place_cases() -> Iterator[Case]:
    yield from placed("overwritten-in-place", ("fourier", "gat"), MIDDLE, changed(half_overwritten))


def detach_each_step_cases() -> Iterator[Case]:
    yield make("mingru", "detach-each-step", attribute(("body.*",), "cut", True), ("body*",))
    yield make("elman", "detach-each-step", attribute(("",), "cut", True), at("cell"))


def codes_cases() -> Iterator[Case]:
    for straight, name in ((False, "cut"), (True, "straight-through")):
        yield make("conv-vae", "codes", with_codes(straight), ("", "enc*", "fc_mu", "fc_logvar"), variant=name)


def winner_only_cases() -> Iterator[Case]:
    yield from placed("winner-only", ("gat",), MIDDLE, changed(winner_only))


def one_for_all_cases() -> Iterator[Case]:
    for name, change in (("largest", largest_only), ("first", first_feature)):
        yield from placed("one-for-all", ("siren", "gin", "retrieval"), ("late",), changed(change), name)


def derivative_without_graph_cases() -> Iterator[Case]:
    yield make("pinn", "derivative-without-graph", rewritten(PINN, forward=slope_without_graph), ("", "net*"))


def second_derivative_zero_cases() -> Iterator[Case]:
    yield make("pinn", "second-derivative-zero", activations_to(nn.ReLU), ("", "net*"))


OPERATORS = (
    detach_cases,
    detach_partial_cases,
    no_grad_cases,
    round_trip_cases,
    new_leaf_cases,
    data_write_cases,
    hard_step_cases,
    straight_through_cases,
    sorting_cases,
    sampled_cases,
    own_backward_cases,
    gradient_reversed_cases,
    gradient_clipped_cases,
    hook_zero_cases,
    forward_hook_cases,
    checkpoint_reentrant_cases,
    rows_rebuilt_cases,
    overwritten_in_place_cases,
    detach_each_step_cases,
    codes_cases,
    winner_only_cases,
    one_for_all_cases,
    derivative_without_graph_cases,
    second_derivative_zero_cases,
)
