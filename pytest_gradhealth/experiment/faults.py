"""Faults that are seeded into copies of a healthy model, each in one place: mutants, as in mutation testing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradhealth.experiment.calls import Call, rewrite
from pytest_gradhealth.experiment.cures.cure import NORMS, WEIGHTED
from pytest_gradhealth.experiment.subject import Change, Subject
from pytest_gradhealth.record import parent_of

__all__ = ["SITES", "Fault", "faults"]

SITES = 6
"""Layers that each fault is seeded into at most: the first, the last, and those evenly between."""
SHUT = -10.0
"""A bias that no input of order one overcomes."""
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.SELU, nn.Tanh, nn.Softplus, nn.Mish)
ACTIVATING = frozenset({"relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "selu", "tanh", "softplus", "mish"})


@dataclass(frozen=True, kw_only=True)
class Fault(Change):
    """A change that makes a healthy model sick, or so one would think."""

    layer: str
    """Where it is; the empty string: in the model as a whole."""


AtLayer = Callable[[nn.Module], bool]


def faults(model: nn.Module, called: Collection[str]) -> Iterator[Fault]:
    """Every fault of the whole model, and every fault at every site: layers that are called as modules."""
    yield from _everywhere()
    for name in _sites(model, called):
        for fault, sentence, seed in AT_LAYER:
            yield Fault(name=fault, sentence=sentence, layer=name, apply=_at(name, seed))


def _sites(model: nn.Module, called: Collection[str]) -> list[str]:
    names = [name for name, m in model.named_modules() if isinstance(m, WEIGHTED) and name and name in called]
    if len(names) <= SITES:
        return names
    return [names[round(i * (len(names) - 1) / (SITES - 1))] for i in range(SITES)]


def _at(name: str, seed: AtLayer) -> Callable[[Subject], bool]:
    return lambda subject: seed(subject.model.get_submodule(name))


# --- at one layer --------------------------------------------------------------------------------


def _output(change: Callable[[Tensor], Tensor]) -> AtLayer:
    """Something done to what a layer gives."""

    def seed(module: nn.Module) -> bool:
        module.register_forward_hook(lambda m, args, output: change(output) if isinstance(output, Tensor) else output)
        return True

    return seed


def _weights(factor: float) -> AtLayer:
    def seed(module: nn.Module) -> bool:
        weight = module.weight
        if not isinstance(weight, nn.Parameter) or not weight.requires_grad:
            return False
        with torch.no_grad():
            weight.mul_(factor)
        return True

    return seed


def _shut(module: nn.Module) -> bool:
    if not isinstance(module.bias, nn.Parameter):
        return False
    with torch.no_grad():
        module.bias.fill_(SHUT)
    return True


def _frozen(module: nn.Module) -> bool:
    module.requires_grad_(False)
    return True


def _root_of_zero(x: Tensor) -> Tensor:
    return x + (x - x).square().sum(-1, keepdim=True).sqrt()


def _mixed(x: Tensor) -> Tensor:
    return x.mean(0, keepdim=True).expand_as(x)


AT_LAYER: tuple[tuple[str, str, AtLayer], ...] = (
    ("detach", "the layer's output is detached", _output(lambda x: x.detach())),
    ("x0.1", "its weights are a tenth", _weights(0.1)),
    ("x5", "its weights are five times as large", _weights(5.0)),
    ("zero", "its weights are zero", _weights(0.0)),
    ("shut", "its biases are -10", _shut),
    ("frozen", "its parameters ask for no gradient", _frozen),
    ("nan", "a root of zero behind it: NaN in backward", _output(_root_of_zero)),
    ("mask", "a mask hides all of its output", _output(lambda x: x * torch.zeros_like(x))),
    ("mixed", "its output is averaged over the batch", _output(_mixed)),
)


# --- in the whole model --------------------------------------------------------------------------


def _sigmoid(subject: Subject) -> bool:
    """Sigmoid in place of every activation, by class and by call."""
    found = [(name, m) for name, m in subject.model.named_modules() if isinstance(m, ACTIVATIONS) and name]
    for name, _ in found:
        setattr(subject.model.get_submodule(parent_of(name)), name.rpartition(".")[2], nn.Sigmoid())
    seen = [bool(found)]

    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        seen[0] = True
        return torch.sigmoid(args[0])

    rewrite(subject, ACTIVATING, lambda: change)
    subject.dry_run()
    return seen[0]


def _without_norms(subject: Subject) -> bool:
    found = [name for name, m in subject.model.named_modules() if isinstance(m, NORMS) and name]
    for name in found:
        setattr(subject.model.get_submodule(parent_of(name)), name.rpartition(".")[2], nn.Identity())
    return bool(found)


def _without_skips(subject: Subject) -> bool:
    """Where what a module was given is added to something of its shape, the something alone is handed on."""
    given: dict[int, Tensor] = {}  # holds the inputs, so that no id comes twice
    seen = [False]

    def note(module: nn.Module, args: Any) -> None:
        given.update((id(a), a) for a in args if isinstance(a, Tensor))

    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pair = args[:2]
        if len(pair) < 2 or not all(isinstance(x, Tensor) and x.requires_grad for x in pair):
            return NotImplemented
        skips = [id(x) in given for x in pair]
        if pair[0].shape != pair[1].shape or sum(skips) != 1:
            return NotImplemented
        seen[0] = True
        return pair[skips.index(False)].clone()

    def begin() -> Any:
        given.clear()
        return change

    for module in subject.model.modules():
        module.register_forward_pre_hook(note)
    rewrite(subject, frozenset({"add", "__add__", "__radd__", "__iadd__"}), begin)
    subject.dry_run()
    given.clear()
    return seen[0]


def _unused(subject: Subject) -> bool:
    first = next(subject.model.parameters())
    subject.model.register_parameter("gradhealth_unused", nn.Parameter(torch.ones_like(first.flatten()[:1])))
    return True


def _negated(subject: Subject) -> bool:
    step = subject.step
    subject.step = lambda model, batch: -step(model, batch)
    return True


def _everywhere() -> Iterator[Fault]:
    for name, sentence, apply in (
        ("sigmoid", "sigmoid in place of every activation", _sigmoid),
        ("no norm", "every normalisation bypassed", _without_norms),
        ("no skip", "every residual connection cut", _without_skips),
        ("unused", "a parameter that the forward pass does not use", _unused),
        ("sign", "the loss with the wrong sign", _negated),
    ):
        yield Fault(name=name, sentence=sentence, layer="", apply=apply)
