"""The ways a model is broken: each operator changes a freshly built host in place.

A fault in a forward pass is put there by giving the module a subclass with another ``forward``, which is what a
wrong line of code would be: parameter names, children and hooks stay as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Mutation = Callable[[nn.Module], None]
Change = Callable[[Tensor], Tensor]
Call = Callable[..., Any]


# --- changing forward --------------------------------------------------------------------------------------------


def patch(module: nn.Module, forward: Callable[..., Any]) -> None:
    """``forward(self, original, *inputs)`` takes the place of the module's own."""
    base = type(module)

    def replaced(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return forward(self, partial(base.forward, self, **kwargs), *args)

    module.__class__ = type(base.__name__, (base,), {"forward": replaced})


def floats(change: Change, value: Any) -> Any:
    """``change`` applied to every floating tensor of a (nested tuple) value."""
    if isinstance(value, tuple):
        return tuple(floats(change, item) for item in value)
    return change(value) if isinstance(value, Tensor) and value.is_floating_point() else value


def after(site: str, change: Change) -> Mutation:
    """Changes what the module at ``site`` returns."""
    return lambda model: patch(model.get_submodule(site), lambda self, original, *args: floats(change, original(*args)))


def before(site: str, change: Change) -> Mutation:
    """Changes what the module at ``site`` is given."""
    return lambda model: patch(model.get_submodule(site), lambda self, original, *args: original(*floats(change, args)))


def between(site: str, change: Change) -> Mutation:
    """Changes the signal behind ``site`` in the forward of its parent, an ``nn.Sequential``: no module shows it."""
    parent, _, index = site.rpartition(".")

    def forward(self: nn.Module, original: Call, x: Tensor) -> Tensor:
        for name, child in self.named_children():
            x = change(child(x)) if name == index else child(x)
        return x

    return lambda model: patch(model.get_submodule(parent), forward)


def skipped(site: str) -> Mutation:
    """The block is there, its parent (an ``nn.Sequential``) never calls it."""
    parent, _, index = site.rpartition(".")

    def forward(self: nn.Module, original: Call, x: Tensor) -> Tensor:
        for name, child in self.named_children():
            x = x if name == index else child(x)
        return x

    return lambda model: patch(model.get_submodule(parent), forward)


def without_grad(site: str) -> Mutation:
    def forward(self: nn.Module, original: Call, *args: Any) -> Any:
        with torch.no_grad():
            return original(*args)

    return lambda model: patch(model.get_submodule(site), forward)


# --- what a wrong line does to a tensor --------------------------------------------------------------------------


def detach(x: Tensor) -> Tensor:
    return x.detach()


def through_data(x: Tensor) -> Tensor:
    return x.data


def through_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(x.detach().numpy().copy())


def through_item(x: Tensor) -> Tensor:
    return torch.tensor(x.tolist())


def step(x: Tensor) -> Tensor:
    return (x > 0).float()


def one_hot(x: Tensor) -> Tensor:
    """The greatest entry along the last dimension becomes one, the others zero."""
    return F.one_hot(x.argmax(-1), x.shape[-1]).float()


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


def batch_mean(x: Tensor) -> Tensor:
    """A mean over dimension 0 where dimension 1 was meant: every example becomes the same."""
    return x.mean(0, keepdim=True).expand_as(x)


def feature_mean(x: Tensor) -> Tensor:
    return x.mean(-1, keepdim=True).expand_as(x)


def centred_away(x: Tensor) -> Tensor:
    """Normalised over a dimension of size one."""
    return (x[..., None] - x[..., None].mean(-1, keepdim=True))[..., 0]


def softmax_of_one(x: Tensor) -> Tensor:
    return x[..., None].softmax(-1)[..., 0]


def clamp(low: float, high: float) -> Change:
    return lambda x: x.clamp(low, high)


def times(factor: float) -> Change:
    return lambda x: x * factor


def dropout(p: float) -> Change:
    return lambda x: F.dropout(x, p, training=True)


def clipped_backward(limit: float) -> Change:
    """A hook that was meant to tame the gradient and extinguishes it."""

    def change(x: Tensor) -> Tensor:
        if x.requires_grad:
            x.register_hook(lambda grad: grad.clamp(-limit, limit))  # type: ignore[no-untyped-call]
        return x

    return change


# --- structure ---------------------------------------------------------------------------------------------------


def matching(model: nn.Module, globs: tuple[str, ...]) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if any(fnmatchcase(name, glob) for glob in globs):
            yield name, module


def replace(model: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)


ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.SELU, nn.SiLU, nn.ReLU6)
NORMS = (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d)


def weights(model: nn.Module, globs: tuple[str, ...] = ("*",)) -> Iterator[nn.Parameter]:
    """The matrices and kernels of the modules matching ``globs``, once each."""
    seen: set[int] = set()
    for _, module in matching(model, globs):
        for parameter in module.parameters(recurse=False):
            if parameter.dim() >= 2 and id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter


def activation(name: str, gain: float = 1.0, globs: tuple[str, ...] = ("*",)) -> Mutation:
    """Every activation becomes ``name``; the weights are scaled by ``gain``, so that it saturates."""
    modules = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "hardtanh": nn.Hardtanh, "hardsigmoid": nn.Hardsigmoid}

    def apply(model: nn.Module) -> None:
        for path, module in list(matching(model, globs)):
            if isinstance(module, ACTIVATIONS):
                replace(model, path, modules[name]())
            elif hasattr(module, "function"):
                module.function = name  # type: ignore[assignment]
        scaled(gain, globs)(model)

    return apply


def no_residual(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "residual"):
            module.residual = False  # type: ignore[assignment]


def no_norm(model: nn.Module) -> None:
    for path, module in list(model.named_modules()):
        if isinstance(module, NORMS):
            replace(model, path, nn.Identity())


def norm_eps(eps: float) -> Mutation:
    def apply(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, NORMS):
                module.eps = eps

    return apply


def frozen_statistics(model: nn.Module) -> None:
    """BatchNorm left in eval mode: it divides by the statistics it was born with."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            patch(
                module,
                lambda self, original, x: F.batch_norm(
                    x, self.running_mean, self.running_var, self.weight, self.bias, False
                ),
            )


def all_of(*mutations: Mutation) -> Mutation:
    def apply(model: nn.Module) -> None:
        for mutation in mutations:
            mutation(model)

    return apply


# --- initialisation ----------------------------------------------------------------------------------------------


def scaled(factor: float, globs: tuple[str, ...] = ("*",)) -> Mutation:
    def apply(model: nn.Module) -> None:
        with torch.no_grad():
            for weight in weights(model, globs):
                weight.mul_(factor)

    return apply


def filled(value: float | None, globs: tuple[str, ...] = ("*",)) -> Mutation:
    """One constant in every weight; None takes one that keeps the size of the signal. Biases become zero."""

    def apply(model: nn.Module) -> None:
        with torch.no_grad():
            for weight in weights(model, globs):
                weight.fill_(1 / weight[0].numel() if value is None else value)
            for _, module in matching(model, globs):
                if isinstance(getattr(module, "bias", None), nn.Parameter) and not isinstance(module, NORMS):
                    module.bias.zero_()  # type: ignore[operator]

    return apply


def dead_units(globs: tuple[str, ...], share: float, bias: float = -10.0) -> Mutation:
    """The first ``share`` of the units of every matching layer get a bias no input overcomes."""

    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv1d | nn.BatchNorm2d | nn.BatchNorm1d):
                with torch.no_grad():
                    module.bias[: math.ceil(share * len(module.bias))] = bias  # type: ignore[index, arg-type]

    return apply


def gain_two(model: nn.Module) -> None:
    """A deep linear stack whose every layer doubles the signal."""
    for path, module in list(model.named_modules()):
        if isinstance(module, ACTIVATIONS):
            replace(model, path, nn.Identity())
        elif isinstance(module, nn.Linear) and not path.startswith("head"):
            nn.init.orthogonal_(module.weight, gain=2.0)


# --- parameters --------------------------------------------------------------------------------------------------


class Unregistered(nn.Module):
    """Keeps its layers in a plain list: they compute, and no optimiser ever hears of them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def unregistered(sites: tuple[str, ...]) -> Mutation:
    def apply(model: nn.Module) -> None:
        for site in sites:
            replace(model, site, Unregistered(model.get_submodule(site)))

    return apply


def plain_tensor(site: str) -> Mutation:
    """The weight is a tensor, not a Parameter."""

    def apply(model: nn.Module) -> None:
        module = model.get_submodule(site)
        weight = module._parameters.pop("weight")
        module.weight = weight.detach().clone()  # type: ignore[union-attr]

    return apply


def unused(model: nn.Module) -> None:
    model.spare = nn.Linear(8, 8)


def frozen(globs: tuple[str, ...]) -> Mutation:
    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            module.requires_grad_(False)

    return apply


def zero_mask(site: str, share: float) -> Mutation:
    """The weight is multiplied by a mask of zeros (pruning gone wrong)."""

    def apply(model: nn.Module) -> None:
        module = model.get_submodule(site)
        weight: Tensor = module.weight  # type: ignore[assignment]
        mask = (torch.rand(weight.shape) >= share).float()
        module.register_buffer("mask", mask)
        del module._parameters["weight"]
        module.weight_orig = nn.Parameter(weight.detach().clone())

        module.weight = None  # type: ignore[assignment]

        def forward(self: nn.Module, original: Call, x: Tensor) -> Tensor:
            self.weight = self.weight_orig * self.mask  # type: ignore[operator]
            out = original(x)
            self.weight = None  # type: ignore[assignment]  # a graph left behind could not be deep-copied
            return out

        patch(module, forward)

    return apply


def double_gate(site: str) -> Mutation:
    """The branch of a residual block behind two gates, both zero: neither ever gets a gradient."""

    def apply(model: nn.Module) -> None:
        block = model.get_submodule(site)
        block.gate_a, block.gate_b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        patch(block, lambda self, original, x: x + self.gate_a * self.gate_b * (original(x) - x))

    return apply


def zero_branch(site: str, parameters: tuple[str, ...]) -> Mutation:
    """Several factors of one product start at zero."""

    def apply(model: nn.Module) -> None:
        for name, parameter in model.get_submodule(site).named_parameters():
            if any(fnmatchcase(name, glob) for glob in parameters):
                nn.init.zeros_(parameter)

    return apply


def filled_parameter(path: str, value: float, start: int = 0, stop: int | None = None) -> Mutation:
    def apply(model: nn.Module) -> None:
        model.get_parameter(path).detach()[start:stop].fill_(value)

    return apply


def attribute(globs: tuple[str, ...], name: str, value: object) -> Mutation:
    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            setattr(module, name, value)

    return apply


def set_dropout(p: float) -> Mutation:
    def apply(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = p

    return apply


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


def after_scores(factor: float) -> Mutation:
    """Attention scores divided by a temperature of nearly zero."""

    def apply(model: nn.Module) -> None:
        for module in model.modules():
            if hasattr(module, "scale"):
                module.scale *= factor  # type: ignore[operator,assignment]

    return apply


def to_half(model: nn.Module) -> None:
    model.half()
