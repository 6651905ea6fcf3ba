"""Further ways a model is broken, for the second round: what people ask about in forums, as changes to a built host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .first_ops import Call, Change, Mutation, matching, patch, replace, weights

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d)


# --- what a wrong line does to a tensor --------------------------------------------------------------------------


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


def ranks(x: Tensor) -> Tensor:
    """The places that sorting gives instead of the values."""
    return x.argsort(-1).argsort(-1).float() / x.shape[-1]


def top_indices(x: Tensor) -> Tensor:
    return x.topk(x.shape[-1], dim=-1).indices.float()


def in_order(x: Tensor) -> Tensor:
    return x.sort(-1).values


def largest_only(x: Tensor) -> Tensor:
    """A pooling over features where one over places was meant."""
    return x.amax(-1, keepdim=True).expand_as(x)


def straight_through_wrong(x: Tensor) -> Tensor:
    """The estimator with the detach on the wrong term."""
    hard = x.round()
    return hard + (x - hard).detach()


def straight_through(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def reversed_gradient(x: Tensor) -> Tensor:
    """A gradient reversal layer that was left in."""
    return 2 * x.detach() - x


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


def root_of_relu(x: Tensor) -> Tensor:
    return x.relu().sqrt()


def angle_to_itself(x: Tensor) -> Tensor:
    """acos at exactly one."""
    cosine = (x / x.norm(dim=-1, keepdim=True) * x / x.norm(dim=-1, keepdim=True)).sum(-1, keepdim=True)
    return x + cosine.clamp(-1, 1).acos()


def log_of_softmax(x: Tensor) -> Tensor:
    return (200 * x).softmax(-1).log()


def row_masked(x: Tensor) -> Tensor:
    """A softmax over nothing but minus infinity, whose NaN is replaced afterwards."""
    weight = x.masked_fill(torch.ones_like(x, dtype=torch.bool), -torch.inf).softmax(-1)
    return x + torch.nan_to_num(weight)


def viewed_wrongly(x: Tensor) -> Tensor:
    """``view`` where ``transpose`` was meant: numbers of different examples or places change seats."""
    return x.transpose(0, 1).reshape(x.shape)


def viewed_inside(x: Tensor) -> Tensor:
    return x.transpose(-1, -2).reshape(x.shape)


def with_positions(size: float) -> Change:
    """Sines of the place that are far larger than what they are added to."""

    def change(x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[1])[:, None] / 100 ** (torch.arange(x.shape[2]) / x.shape[2])
        return x + size * angle.sin()

    return change


def first_feature(x: Tensor) -> Tensor:
    """A wrong index: one feature stands for all."""
    return x[..., :1].expand_as(x)


# --- what is done to modules -------------------------------------------------------------------------------------


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


class Rebuilt(nn.Module):
    """A layer that is made anew in every forward."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    def forward(self, x: Tensor) -> Tensor:
        return nn.Linear(self.inputs, self.outputs)(x)


def rebuilt(site: str) -> Mutation:
    def apply(model: nn.Module) -> None:
        layer: Any = model.get_submodule(site)
        replace(model, site, Rebuilt(layer.in_features, layer.out_features))

    return apply


def at_every_forward(site: str, change: Callable[[Tensor], object]) -> Mutation:
    """``change`` is done in place to every weight of ``site`` whenever it is called."""

    def forward(self: nn.Module, original: Call, *args: Any) -> Any:
        with torch.no_grad():
            for weight in weights(self):
                change(weight)
        return original(*args)

    return lambda model: patch(model.get_submodule(site), forward)


def drawn(globs: tuple[str, ...], how: Callable[[Tensor], object]) -> Mutation:
    """Weights from another distribution."""

    def apply(model: nn.Module) -> None:
        with torch.no_grad():
            for weight in weights(model, globs):
                how(weight)

    return apply


def norms_at_zero(globs: tuple[str, ...]) -> Mutation:
    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            if isinstance(module, NORMS):
                nn.init.zeros_(module.weight)

    return apply


def zero_table(site: str, frozen: bool) -> Mutation:
    def apply(model: nn.Module) -> None:
        for parameter in model.get_submodule(site).parameters():
            nn.init.zeros_(parameter)
            parameter.requires_grad_(not frozen)

    return apply


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


def indices_collapsed(site: str) -> Mutation:
    """Ids clamped into a table that is thought to be smaller: all of them are the same."""
    return lambda model: patch(model.get_submodule(site), lambda self, original, ids: original(ids.clamp(max=0)))


def residual_gain(site: str, factor: float) -> Mutation:
    """The input is scaled before it is added."""

    def forward(self: nn.Module, original: Call, x: Tensor, *others: Any) -> Tensor:
        return original(x, *others) + (factor - 1) * x

    return lambda model: patch(model.get_submodule(site), forward)


def branch_times_zero(site: str) -> Mutation:
    """The branch is multiplied by a buffer that holds zero."""

    def forward(self: nn.Module, original: Call, x: Tensor, *others: Any) -> Tensor:
        return x + self.strength * (original(x, *others) - x)

    def apply(model: nn.Module) -> None:
        block = model.get_submodule(site)
        block.register_buffer("strength", torch.zeros(1))
        patch(block, forward)

    return apply


def method(globs: tuple[str, ...], name: str, function: Callable[..., Tensor]) -> Mutation:
    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            setattr(module, name, function)

    return apply


def number(path: str, value: float) -> Mutation:
    """A parameter without dimensions, or all of another."""

    def apply(model: nn.Module) -> None:
        nn.init.constant_(model.get_parameter(path), value)

    return apply


def without_edges(model: nn.Module) -> None:
    patch(model, lambda self, original, nodes, edges: original(nodes, edges * 0))


def hidden_edges(model: nn.Module) -> None:
    """The complement of the graph, as a mask the wrong way round gives it."""
    patch(model, lambda self, original, nodes, edges: original(nodes, 1 - edges))
