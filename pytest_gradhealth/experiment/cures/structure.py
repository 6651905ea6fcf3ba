"""Other activations, normalisations and connections, and inputs of another scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth.experiment.calls import Rewrite, rewrite
from pytest_gradhealth.experiment.cures.affine import is_affine
from pytest_gradhealth.experiment.cures.cure import SIZES, STEEP, WEIGHTED, Cure, weighted
from pytest_gradhealth.experiment.subject import Subject
from pytest_gradhealth.measure.passes.nesting import map_leaves
from pytest_gradhealth.record import parent_of

__all__ = ["ACTIVATED", "ACTIVATION", "INPUTS", "LEAKY", "STRUCTURE"]

BOUNDED = (nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Tanhshrink)
BOUNDED_CALLS = frozenset({"sigmoid", "hardsigmoid", "logsigmoid", "tanh", "hardtanh", "softsign", "tanhshrink"})
RECTIFIERS = (nn.ReLU, nn.ReLU6)
USUAL = (0.3, 3.0)
"""Deviation of an input that needs no scaling; its mean lies within as many deviations."""


def unbounded(subject: Subject) -> bool:
    """ReLU in place of bounded activations, by class and by call; the model's last module keeps its own."""
    last = [name for name, module in subject.model.named_modules() if not list(module.children())][-1:]
    found = _replaced(subject.model, BOUNDED, nn.ReLU, keep=set(last))
    calls = [False]

    def begin() -> Rewrite:
        return lambda name, function, args, kwargs: _rectified(calls, args)

    rewrite(subject, BOUNDED_CALLS, begin)
    return found or _calls_any(subject, calls)


def _rectified(calls: list[bool], args: tuple[Any, ...]) -> Any:
    calls[0] = True
    return F.relu(args[0]) if isinstance(args[0], Tensor) and args[0].requires_grad else NotImplemented


def _calls_any(subject: Subject, calls: list[bool]) -> bool:
    """Whether one pass makes such a call."""
    subject.dry_run()
    return calls[0]


def leaky(subject: Subject) -> bool:
    """LeakyReLU in place of ReLU: a unit that is shut still learns."""
    found = _replaced(subject.model, RECTIFIERS, lambda: nn.LeakyReLU(0.1), keep=set())
    rewrite(subject, frozenset({"relu", "relu6"}), lambda: lambda name, f, args, kwargs: F.leaky_relu(args[0], 0.1))
    return found or any(isinstance(m, WEIGHTED) for m in subject.model.modules())


def activated(subject: Subject) -> bool:
    """ReLU behind each layer but the last, where all of them are one affine map."""
    if not is_affine(subject):
        return False
    for layer in list(weighted(subject.model))[:-1]:
        layer.register_forward_hook(lambda module, args, output: F.relu(output))
    return True


def _replaced(model: nn.Module, kinds: tuple[type, ...], make: Callable[[], nn.Module], keep: set[str]) -> bool:
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, kinds) and name and name not in keep]
    for name, _ in found:
        setattr(model.get_submodule(parent_of(name)), name.rpartition(".")[2], make())
    return bool(found)


def gru(subject: Subject) -> bool:
    """A GRU for a plain recurrence: it is called alike."""
    found = [(n, m) for n, m in subject.model.named_modules() if type(m) is nn.RNN and n]
    for name, old in found:
        new = nn.GRU(
            old.input_size, old.hidden_size, old.num_layers, bias=old.bias, batch_first=old.batch_first,
            dropout=old.dropout, bidirectional=old.bidirectional,
        ).to(next(old.parameters()))  # fmt: skip
        setattr(subject.model.get_submodule(parent_of(name)), name.rpartition(".")[2], new)
    return bool(found)


def normalised(subject: Subject) -> bool:
    """A normalisation behind each layer but the last, over the features of each sample."""
    layers = list(weighted(subject.model))[:-1]
    for layer in layers:
        layer.register_forward_hook(_normalise)
    return bool(layers)


def _normalise(module: nn.Module, args: Any, output: Any) -> Any:
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.ndim < 2:
        return output
    if isinstance(module, nn.Linear):
        return F.layer_norm(output, output.shape[-1:]) if output.size(-1) > 1 else output
    return F.group_norm(output, 1)


def skips(subject: Subject) -> bool:
    """A connection past each block, or layer, that gives as many numbers as it is given."""
    blocks = list(_blocks(subject.model))
    for block in blocks:
        block.register_forward_hook(_with_input)
    return bool(blocks)


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Members of sequences that hold layers of their own; without such, the layers."""
    sequences = [m for m in model.modules() if isinstance(m, nn.Sequential | nn.ModuleList)]
    members = [b for s in sequences for b in s if any(True for _ in b.parameters()) and list(b.children())]
    inner = {id(part) for block in members for part in block.modules() if part is not block}
    outer = [block for block in members if id(block) not in inner]
    yield from outer or weighted(model)


def _with_input(module: nn.Module, args: Any, output: Any) -> Any:
    given = args[0] if args else None
    first = output[0] if isinstance(output, tuple) and output else output
    if not (isinstance(given, Tensor) and isinstance(first, Tensor) and given.shape == first.shape):
        return output
    added = first + given
    return (added, *output[1:]) if isinstance(output, tuple) else added


def branches(subject: Subject) -> bool:
    """A connection past attention and past the layers behind it, each for itself."""
    found = list(_attentions(subject.model))
    for module in found:
        module.register_forward_hook(_with_input)
    return bool(found)


def _attentions(model: nn.Module) -> Iterator[nn.Module]:
    for block in _blocks(model):
        for child in block.children():
            if list(child.children()) and any(True for _ in child.parameters()):
                yield child


def standardised(subject: Subject) -> bool:
    """Inputs of mean 0 and deviation 1, where they are far from it."""
    changed = [False]

    def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return map_leaves(args, lambda leaf: _scaled(leaf, changed)), map_leaves(
            kwargs, lambda leaf: _scaled(leaf, changed)
        )

    subject.model.register_forward_pre_hook(before, with_kwargs=True)
    subject.dry_run()
    return changed[0]


def _scaled(leaf: Any, changed: list[bool]) -> Any:
    if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or leaf.numel() < 2 or leaf.requires_grad:
        return leaf
    finite = leaf.nan_to_num(0.0, 0.0, 0.0)
    mean, deviation = finite.mean(), finite.std()
    if finite.eq(leaf).all() and _is_usual(float(mean), float(deviation)):
        return leaf
    changed[0] = True
    return (finite - mean) / deviation.clamp(min=1e-12)


def _is_usual(mean: float, deviation: float) -> bool:
    if not math.isfinite(deviation) or deviation == 0:
        return deviation == 0
    return USUAL[0] <= deviation <= USUAL[1] and abs(mean) <= USUAL[1] * deviation


INPUTS = Cure(
    name="inputs standardised",
    words=("the input",),
    sentence="scale the inputs to mean 0 and deviation 1",
    cause="the scale of the inputs",
    kinds=SIZES | {"unscaled"},
    apply=standardised,
)
ACTIVATION = Cure(
    name="ReLU for bounded activations",
    words=("relu or gelu", "gelu or relu", "use relu"),
    sentence="use ReLU or GELU in place of sigmoid, tanh and their kin",
    cause="the activation",
    kinds=SIZES,
    apply=unbounded,
)
ACTIVATED = Cure(
    name="ReLU between layers",
    sentence="put an activation behind each layer but the last",
    cause="the lack of activations",
    kinds=SIZES,
    apply=activated,
)
LEAKY = Cure(
    name="LeakyReLU for ReLU",
    words=("leakyrelu",),
    sentence="use LeakyReLU, GELU or ELU, whose slope is nowhere zero",
    cause="ReLU's slope of zero",
    kinds=frozenset({"dead"}),
    apply=leaky,
)
STRUCTURE = (
    Cure(
        name="GRU for RNN",
        words=("lstm or gru",),
        sentence="use a GRU or an LSTM",
        cause="the plain recurrence",
        kinds=SIZES,
        apply=gru,
    ),
    Cure(
        name="skip connections in blocks",
        words=("the skip connection",),
        sentence="add the input of attention, and of what follows it, to its output: x + f(x)",
        cause="the lack of skip connections",
        kinds=SIZES,
        apply=branches,
    ),
    Cure(
        name="skip connections",
        words=("the skip connection",),
        sentence="add its input to the output of each block: x + f(x)",
        cause="the lack of skip connections",
        kinds=SIZES - STEEP,
        apply=skips,
    ),
    Cure(
        name="normalisation inserted",
        sentence="put a normalisation behind each layer: LayerNorm, or BatchNorm behind convolutions",
        cause="the missing normalisation",
        kinds=SIZES,
        apply=normalised,
    ),
)
