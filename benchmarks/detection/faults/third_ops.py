"""Further ways a model is broken, for the third round: what people ask about in forums, as changes to a built host."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from .first_ops import ACTIVATIONS, Call, Change, Mutation, matching, patch, replace, weights

# --- operations with a backward pass of their own ----------------------------------------------------------------


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


# --- what a wrong line does to a tensor --------------------------------------------------------------------------


def sampled(x: Tensor) -> Tensor:
    """``sample`` where ``rsample`` was meant."""
    return torch.distributions.Normal(x, 0.1, validate_args=False).sample()  # type: ignore[no-untyped-call]


def resampled(x: Tensor) -> Tensor:
    return torch.distributions.Normal(x, 0.1, validate_args=False).rsample()


def coins(x: Tensor) -> Tensor:
    """Stochastic binary units without an estimator for their gradient."""
    return torch.bernoulli(x.sigmoid().nan_to_num())


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


def winner_only(x: Tensor) -> Tensor:
    """Only the greatest of the features is let through."""
    return x * (x == x.amax(-1, keepdim=True))


def as_integers(x: Tensor) -> Tensor:
    """Cast to integers and back, for a layer that asked for another type."""
    return x.long().float()


def as_bytes(x: Tensor) -> Tensor:
    return x.clamp(0, 255).byte().float() / 255


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


def noisy(size: float) -> Change:
    """Noise for regularisation, far larger than what it is added to."""
    return lambda x: x + size * torch.randn_like(x)


def pooled_away(x: Tensor) -> Tensor:
    """The mean over all places, where they were still needed."""
    return x.mean(tuple(range(2, x.dim())), keepdim=True).expand_as(x)


def normalised(dim: int) -> Change:
    return lambda x: F.normalize(x, dim=dim)


def offset(by: float) -> Change:
    """A constant that swamps the signal in float32."""
    return lambda x: (x + by) - by


def cumulated(x: Tensor) -> Tensor:
    """A running product where a sum was meant."""
    return x.cumprod(-1)


# --- what is done to modules -------------------------------------------------------------------------------------


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


class Reshaped(nn.Module):
    """A parametrization that computes the weight with ``change``."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change

    def forward(self, weight: Tensor) -> Tensor:
        return self.change(weight)


def parametrized(sites: tuple[str, ...], change: Change) -> Mutation:
    def apply(model: nn.Module) -> None:
        for site in sites:
            parametrize.register_parametrization(model.get_submodule(site), "weight", Reshaped(change))

    return apply


def over_its_norm(weight: Tensor) -> Tensor:
    """Every weight over the norm of all, twice."""
    return weight / weight.norm().square() / weight.numel()


def rows_as_shares(weight: Tensor) -> Tensor:
    """Weights that are to be positive and to sum to one, all alike."""
    return (0.01 * weight).softmax(-1)


def without_recording(site: str) -> Mutation:
    """The layer is called as a function with ``weight.data``: it passes the gradient on and keeps none."""

    def forward(self: Any, original: Call, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.data
        if isinstance(self, nn.Conv2d):
            return F.conv2d(x, self.weight.data, bias, self.stride, self.padding)
        if isinstance(self, nn.Conv1d):
            return F.conv1d(x, self.weight.data, bias, self.stride, self.padding)
        return F.linear(x, self.weight.data, bias)

    return lambda model: patch(model.get_submodule(site), forward)


def parameter_anew(site: str) -> Mutation:
    """The weight is wrapped as a new Parameter in every forward: the optimiser holds the old one."""

    def forward(self: Any, original: Call, *args: Any) -> Any:
        self.weight = nn.Parameter(self.weight.detach().clone())
        return original(*args)

    return lambda model: patch(model.get_submodule(site), forward)


def copied(site: str) -> Mutation:
    """A deep copy of the layer is called, made anew each time."""

    def forward(self: nn.Module, original: Call, *args: Any) -> Any:
        twin = copy.deepcopy(self)
        return type(self).__mro__[1].forward(twin, *args)  # type: ignore[attr-defined]

    return lambda model: patch(model.get_submodule(site), forward)


def stale_copy(site: str) -> Mutation:
    """The forward pass uses a copy of the layer that was made when the model was built (a target net, say)."""

    def apply(model: nn.Module) -> None:
        layer = model.get_submodule(site)
        twin = [copy.deepcopy(layer)]
        patch(layer, lambda self, original, *args: twin[0](*args))

    return apply


def checkpointed(site: str) -> Mutation:
    """Re-entrant checkpointing, which needs an input that asks for a gradient."""

    def forward(self: nn.Module, original: Call, *args: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it does say that there will be no gradient
            return checkpoint(original, *args, use_reentrant=True)

    return lambda model: patch(model.get_submodule(site), forward)


def activations_replaced(new: Callable[[], nn.Module], globs: tuple[str, ...] = ("*",)) -> Mutation:
    """Every activation becomes ``new()``."""

    def apply(model: nn.Module) -> None:
        for path, module in list(matching(model, globs)):
            if isinstance(module, ACTIVATIONS):
                replace(model, path, new())

    return apply


def rows_repeated(globs: tuple[str, ...]) -> Mutation:
    """All units of a layer start from the same random weights."""

    def apply(model: nn.Module) -> None:
        with torch.no_grad():
            for weight in weights(model, globs):
                weight.copy_(weight[:1].expand_as(weight))

    return apply


def slope_mistaken(weight: Tensor) -> object:
    """``a`` of Kaiming's initialisation is the slope of the activation, not a gain."""
    return nn.init.kaiming_normal_(weight, 100)


def mean_mistaken(weight: Tensor) -> object:
    """The first argument is the mean: the deviation stays one."""
    return nn.init.normal_(weight, 0.02)


def narrow(weight: Tensor) -> object:
    """What large language models start from, in a net without norms."""
    return nn.init.trunc_normal_(weight, std=0.005)


def max_norm(site: str, limit: float) -> Mutation:
    """The rows of a table are renormalised whenever they are looked up."""

    def apply(model: nn.Module) -> None:
        model.get_submodule(site).max_norm = limit  # type: ignore[assignment]

    return apply


def padding_at(site: str, index: int) -> Mutation:
    """A real token is taken for the padding."""

    def apply(model: nn.Module) -> None:
        table: Any = model.get_submodule(site)
        table.padding_idx = index
        with torch.no_grad():
            table.weight[index] = 0

    return apply


def bias_of(path: str, value: float) -> Mutation:
    """The prior of a read-out, with too many zeros."""

    def apply(model: nn.Module) -> None:
        nn.init.constant_(model.get_parameter(path), value)

    return apply


def own_methods(site: str, name: str, function: Callable[..., Tensor]) -> Mutation:
    """A method of one module is another."""

    def apply(model: nn.Module) -> None:
        module = model.get_submodule(site)
        setattr(module, name, function.__get__(module))

    return apply


def mask_multiplied(self: Any, parts: Tensor, edges: Tensor) -> Tensor:
    """Scores times the mask before the softmax: what is hidden still takes part."""
    sent, received = (parts * self.sender).sum(-1), (parts * self.receiver).sum(-1)
    scores = self.slope(received.transpose(1, 2)[..., None] + sent.transpose(1, 2)[..., None, :])
    weight: Tensor = (scores * edges[:, None]).softmax(self.axis)
    return weight


def mask_after(self: Any, parts: Tensor, edges: Tensor) -> Tensor:
    """Only the diagonal is left: the edges are multiplied by the identity."""
    return (torch.eye(edges.shape[-1]) * edges)[:, None].expand(-1, len(self.sender), -1, -1)


def unscaled_by_width(factor: float) -> Mutation:
    """Scores times the width's root instead of over it."""

    def apply(model: nn.Module) -> None:
        for module in model.modules():
            if hasattr(module, "scale") and hasattr(module, "query"):
                module.scale = factor * math.sqrt(module.query.out_features)  # type: ignore[union-attr, assignment, arg-type]

    return apply


# --- losses that do not fit --------------------------------------------------------------------------------------


def on_class_index(out: Tensor, target: Tensor) -> Tensor:
    """A regression on the number of the class."""
    return F.mse_loss(out.flatten(0, -2), target.flatten()[:, None].float().expand_as(out.flatten(0, -2)))


def swapped(out: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with its arguments the wrong way round."""
    probabilities = out.flatten(0, -2).softmax(-1)
    return F.cross_entropy(F.one_hot(target.flatten(), out.shape[-1]).float(), probabilities)


def smoothed(out: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(out.flatten(0, -2), target.flatten(), label_smoothing=1.0)


def all_ignored(out: Tensor, target: Tensor) -> Tensor:
    """Every target carries the index that is ignored."""
    return F.cross_entropy(out.flatten(0, -2), torch.full_like(target.flatten(), -100))


def weightless(out: Tensor, target: Tensor) -> Tensor:
    """Class weights of zero but for one class."""
    weight = F.one_hot(torch.tensor(0), out.shape[-1]).float()
    return F.cross_entropy(out.flatten(0, -2), target.flatten(), weight=weight)


def divergence_of_probabilities(out: Tensor, target: Tensor) -> Tensor:
    """``kl_div`` is given probabilities where it asks for their logarithms."""
    right = F.one_hot(target.flatten(), out.shape[-1]).float()
    return F.kl_div(out.flatten(0, -2).softmax(-1), right, reduction="batchmean")


def viewed_targets(out: Tensor, target: Tensor) -> Tensor:
    """(N, T, C) viewed as if it were (N, C, T): logits of other places and classes are mixed."""
    return F.cross_entropy(out.reshape(len(out), out.shape[-1], -1), target)


def over_batch(out: Tensor, target: Tensor) -> Tensor:
    """Log-probabilities over the batch."""
    return F.nll_loss(out.flatten(0, -2).log_softmax(0), target.flatten())


def focal(out: Tensor, target: Tensor) -> Tensor:
    """The focusing exponent swallows every example that is not hopeless."""
    likely = out.flatten(0, -2).log_softmax(-1).gather(1, target.flatten()[:, None])
    return -((1 - likely.exp()) ** 200 * likely).mean()


def hard_dice(out: Tensor, target: Tensor) -> Tensor:
    """Dice on a thresholded mask, with an offset that lets it be differentiated."""
    mask = (out > 0).float() + 0 * out
    return 1 - 2 * (mask * target).sum() / (mask.sum() + target.sum() + 1)


def flat(out: Tensor, target: Tensor) -> Tensor:
    """Huber's loss with a threshold that nothing reaches."""
    return F.smooth_l1_loss(out, target, beta=1e12)


def far_margin(out: Any, target: Any) -> Tensor:
    """The margin carries the wrong sign: the loss is zero as it is."""
    anchor, like, unlike = out
    near, far = (anchor - like).norm(dim=1), (anchor - unlike).norm(dim=1)
    return (near - far - 100).relu().mean()


def likes_only(out: Any, target: Any) -> Tensor:
    """What is alike is drawn together, and nothing apart."""
    return (out[0] - out[1]).square().mean()


def one_to_itself(out: Any, target: Any) -> Tensor:
    """The anchor is compared with itself, by a root without an epsilon."""
    anchor, _, unlike = out
    near = (anchor - anchor).square().sum(1).sqrt()
    return (near - (anchor - unlike).square().sum(1).sqrt() + 1).relu().mean()


def bytes_as_targets(out: Tensor, target: Tensor) -> Tensor:
    """Pictures of 0 to 255 where probabilities were expected."""
    return F.binary_cross_entropy_with_logits(out, 255 * target)
