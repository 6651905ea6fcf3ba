"""Ways to change a built model that several families of faults share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.detection.cases import Build
from benchmarks.detection.hosts.graphs import PerceiverBlock
from benchmarks.detection.hosts.language import GPTBlock
from benchmarks.detection.hosts.sequence import MambaLayer
from benchmarks.detection.hosts.vision import GroupNormBlock

Mutation = Callable[[nn.Module], None]
Change = Callable[[Tensor], Tensor]
Call = Callable[..., Any]
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.SELU, nn.SiLU, nn.ReLU6)
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d)


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


def detach(x: Tensor) -> Tensor:
    return x.detach()


def matching(model: nn.Module, globs: tuple[str, ...]) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if any(fnmatchcase(name, glob) for glob in globs):
            yield name, module


def replace(model: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)


def weights(model: nn.Module, globs: tuple[str, ...] = ("*",)) -> Iterator[nn.Parameter]:
    """The matrices and kernels of the modules matching ``globs``, once each."""
    seen: set[int] = set()
    for _, module in matching(model, globs):
        for parameter in module.parameters(recurse=False):
            if parameter.dim() >= 2 and id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter


def all_of(*mutations: Mutation) -> Mutation:
    def apply(model: nn.Module) -> None:
        for mutation in mutations:
            mutation(model)

    return apply


def scaled(factor: float, globs: tuple[str, ...] = ("*",)) -> Mutation:
    def apply(model: nn.Module) -> None:
        with torch.no_grad():
            for weight in weights(model, globs):
                weight.mul_(factor)

    return apply


def attribute(globs: tuple[str, ...], name: str, value: object) -> Mutation:
    def apply(model: nn.Module) -> None:
        for _, module in matching(model, globs):
            setattr(module, name, value)

    return apply


def rewritten(kind: type[nn.Module], **methods: Callable[..., Any]) -> Mutation:
    """All modules of a kind get these methods in the place of their own."""

    def apply(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, kind):
                module.__class__ = type(type(module).__name__, (type(module),), methods)

    return apply


def activations_to(new: Build, globs: tuple[str, ...] = ("*",)) -> Mutation:
    """Activations become ``new()``, be they modules or functions kept in an attribute."""

    def apply(model: nn.Module) -> None:
        for path, module in list(matching(model, globs)):
            if isinstance(module, ACTIVATIONS):
                replace(model, path, new())
            for name in ("activation", "nonlinearity"):
                if callable(getattr(module, name, None)):
                    setattr(module, name, new())

    return apply


def gpt_plain(self: Any, x: Tensor) -> Any:
    return self.feed(self.ln_2(self.attn(self.ln_1(x))))


def encoder_plain(self: Any, x: Tensor, *masks: Any, **more: Any) -> Any:
    return self.norm2(self._ff_block(self.norm1(self._sa_block(x, None, None))))


def perceiver_plain(self: Any, latents: Tensor, inputs: Tensor) -> Any:
    source = self.norm_inputs(inputs)
    own = self.norm_self(self.cross(self.norm_latents(latents), source, source, need_weights=False)[0])
    return self.ff(self.self_attention(own, own, own, need_weights=False)[0])


def resnet_plain(self: Any, x: Tensor) -> Any:
    return self.relu(self.branch(x))


def mamba_plain(self: Any, x: Tensor) -> Any:
    return self.mixer(self.norm(x))


WITHOUT_RESIDUAL: dict[type[nn.Module], Callable[..., Any]] = {
    GPTBlock: gpt_plain,
    nn.TransformerEncoderLayer: encoder_plain,
    PerceiverBlock: perceiver_plain,
    GroupNormBlock: resnet_plain,
    MambaLayer: mamba_plain,
}


def no_residual(model: nn.Module) -> None:
    """Blocks give what their branch makes and nothing else: by a switch of their own, or by another forward."""
    for kind, forward in WITHOUT_RESIDUAL.items():
        rewritten(kind, forward=forward)(model)
    for module in model.modules():
        if hasattr(module, "residual"):
            module.residual = False  # type: ignore[assignment]
        if isinstance(module, GroupNormBlock):
            module.downsample = nn.Identity()  # a projection that nobody calls would be another fault


def parameters_at(path: str, value: float) -> Mutation:
    """All of one parameter, or of the part of it between two places, is one number."""

    def apply(model: nn.Module) -> None:
        nn.init.constant_(model.get_parameter(path), value)

    return apply


def past_of(self: Any, q: Tensor) -> Any:
    return self.seen[: q.shape[-2], : q.shape[-2]]


def without_edges(model: nn.Module) -> None:
    patch(model, lambda self, original, nodes, edges: original(nodes, edges * 0))
