"""Other weights and biases to start from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradhealth.experiment.cures.cure import NORMS, SIZES, STEEP, WEIGHTED, Cure, norms, weighted
from pytest_gradhealth.experiment.subject import Subject
from pytest_gradhealth.measure.passes.nesting import copied
from pytest_gradhealth.measure.runs.state import isolated_rng
from pytest_gradhealth.record import Check

__all__ = ["EARLY", "LATE", "initialisations"]

FEW = 4
"""Layers up to which only the culprits are given new weights."""
LARGE_BIAS = 1.0
"""Beside an input of order one a larger bias decides alone."""
LSUV_ROUNDS = 4
SHRUNK, GROWN = 0.2, 5.0
"""Gains of a normalisation that are no gains of one."""


def default(model: nn.Module, names: frozenset[str] | None) -> bool:
    """Each module's own ``reset_parameters``."""
    found = False
    for name, module in model.named_modules():
        reset = getattr(module, "reset_parameters", None)
        below = names is None or any(name == one or name.startswith(f"{one}.") for one in names)
        if below and callable(reset):
            with suppress(AttributeError, TypeError):  # a weight that was taken away, or a parametrised one
                reset()
                found = True
    return found


def drawn(how: Callable[[Tensor], Any], model: nn.Module, names: frozenset[str] | None) -> bool:
    """Weights by a function of ``nn.init``."""
    found = list(weighted(model, names))
    for module in found:
        how(module.weight)  # type: ignore[arg-type]
    return bool(found)


HE = partial(drawn, partial(nn.init.kaiming_normal_, nonlinearity="relu"))
XAVIER = partial(drawn, nn.init.xavier_normal_)
ORTHOGONAL = partial(drawn, nn.init.orthogonal_)


def lsuv(subject: Subject) -> bool:
    """Scale each layer's weights until its outputs have variance one (Mishkin and Matas, 2016)."""
    handles = [module.register_forward_hook(_to_unit_variance) for module in weighted(subject.model)]
    try:
        with isolated_rng(subject.seed), torch.no_grad():
            drawn(nn.init.orthogonal_, subject.model, None)
            for _ in range(LSUV_ROUNDS):
                subject.step(subject.model, copied(subject.batches[0], next(subject.model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return bool(handles)


def _to_unit_variance(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    deviation = float(output.detach().float().std())
    if not math.isfinite(deviation) or deviation < 1e-30:
        return output
    module.weight.data.div_(deviation)  # type: ignore[operator]
    return output / deviation


def scaled_branches(model: nn.Module, names: frozenset[str] | None) -> bool:
    """The last layer of each repeated block by one over the root of twice their number, as in GPT-2."""
    blocks = [
        b
        for m in model.modules()
        if isinstance(m, nn.Sequential | nn.ModuleList)
        for b in m
        if len(list(b.children())) > 1
    ]
    if len(blocks) < 2:
        return False
    with torch.no_grad():
        for block in blocks:
            for last in list(weighted(block))[-1:]:
                last.weight.div_(math.sqrt(2 * len(blocks)))  # type: ignore[operator]
    return True


def biases(subject: Subject) -> bool:
    """Biases of zero, where one is large."""
    found = [b for b in _biases(subject.model) if b.abs().max() > LARGE_BIAS]
    with torch.no_grad():
        for bias in found:
            bias.zero_()
    return bool(found)


def _biases(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter) and isinstance(module, (*WEIGHTED, *NORMS)):
            yield bias


def gains(subject: Subject) -> bool:
    """Normalisations that hand on what they normalise: a gain of one, a shift of zero."""
    changed = False
    with torch.no_grad():
        for norm in norms(subject.model):
            weight, bias = norm.weight, getattr(norm, "bias", None)
            if isinstance(weight, Tensor) and not SHRUNK < float(weight.abs().mean()) < GROWN:
                weight.fill_(1.0)
                changed = True
            if isinstance(bias, Tensor) and bias.abs().max() > LARGE_BIAS:
                bias.zero_()
                changed = True
    return changed


def usual_eps(subject: Subject) -> bool:
    """The constant that keeps a normalisation from dividing by zero, at its usual size."""
    odd = [norm for norm in norms(subject.model) if isinstance(norm.eps, float) and norm.eps > 1e-2]
    for norm in odd:
        norm.eps = 1e-5  # type: ignore[assignment]
    return bool(odd)


def off_zero(subject: Subject) -> bool:
    """Weights that are all zeros drawn small: a product of two of them never moves."""
    found = [
        p for name, p in subject.model.named_parameters() if "bias" not in name and p.requires_grad and not p.any()
    ]
    with isolated_rng(subject.seed), torch.no_grad():
        for weight in found:
            weight.normal_(std=1 / math.sqrt(weight[0].numel()) if weight.ndim > 1 else 0.1)
    return bool(found)


def recurrent(subject: Subject) -> bool:
    """Orthogonal recurrent weights; an LSTM's forget gate opened."""
    found = [m for m in subject.model.modules() if isinstance(m, nn.RNNBase | nn.RNNCellBase)]
    with torch.no_grad():
        for module in found:
            for name, parameter in module.named_parameters(recurse=False):
                if name.startswith("weight_hh"):
                    for part in parameter.split(parameter.size(1)):  # type: ignore[no-untyped-call]
                        nn.init.orthogonal_(part)
                if name.startswith("bias_hh") and isinstance(module, nn.LSTM | nn.LSTMCell):
                    size = parameter.size(0) // 4
                    parameter[size : 2 * size].fill_(3.0)
    return bool(found)


def _everywhere(
    how: Callable[[nn.Module, frozenset[str] | None], bool], names: frozenset[str] | None
) -> Callable[[Subject], bool]:
    def apply(subject: Subject) -> bool:
        with isolated_rng(subject.seed):
            return how(subject.model, names)

    return apply


def initialisations(check: Check) -> Iterator[Cure]:
    """New weights for the culprits alone where they are few, and for all layers."""
    culprits = frozenset(layer for finding in check.findings for layer in finding.layers)
    if 0 < len(culprits) <= FEW and "" not in culprits and len(culprits) < len(check.record):
        where = f" of {', '.join(sorted(culprits))}"
        yield from _drawn(where, culprits)
    yield from _drawn("", None)


def _drawn(where: str, names: frozenset[str] | None) -> Iterator[Cure]:
    for name, how, sentence in (
        ("PyTorch's default initialisation", default, "call reset_parameters() once more"),
        ("He initialisation", HE, "nn.init.kaiming_normal_(weight, nonlinearity='relu')"),
        ("Xavier initialisation", XAVIER, "nn.init.xavier_normal_(weight)"),
    ):
        yield Cure(
            name=f"{name}{where}",
            sentence=sentence,
            cause=f"the initialisation{where}",
            kinds=SIZES,
            words=("initialis",),
            apply=_everywhere(how, names),
        )


EARLY = (
    Cure(
        name="usual eps",
        words=("usual eps",),
        sentence="eps=1e-5 in every normalisation",
        cause="eps of the normalisation",
        kinds=SIZES,
        apply=usual_eps,
    ),
    Cure(
        name="gains of one",
        sentence="start normalisations at weight 1, bias 0",
        cause="the weights of the normalisation",
        kinds=SIZES,
        apply=gains,
    ),
    Cure(
        name="biases of zero",
        words=("bias",),
        sentence="start biases at zero",
        cause="the biases",
        kinds=SIZES,
        apply=biases,
    ),
)
LATE = (
    Cure(
        name="weights off zero",
        sentence="start one of two factors away from zero",
        cause="the initialisation at zero",
        words=("all zero", "away from zero"),
        kinds=SIZES,
        apply=off_zero,
    ),
    Cure(
        name="orthogonal recurrent weights",
        words=("recurrent weights", "forget gate", "forget bias"),
        sentence="nn.init.orthogonal_(weight_hh), the forget gate's bias at 3",
        cause="the recurrent weights",
        kinds=SIZES,
        apply=recurrent,
    ),
    Cure(
        name="orthogonal initialisation",
        sentence="nn.init.orthogonal_(weight)",
        cause="the initialisation",
        kinds=SIZES,
        apply=_everywhere(ORTHOGONAL, None),
    ),
    Cure(
        name="LSUV initialisation",
        sentence="scale each layer's weights until its outputs have variance one (Mishkin and Matas, 2016)",
        cause="the scale of the weights",
        kinds=SIZES,
        apply=lsuv,
    ),
    Cure(
        name="scaled residual branches",
        sentence="divide the last weight of each branch by sqrt(2 * blocks), as GPT-2 does",
        cause="the scale of the residual branches",
        kinds=STEEP,
        apply=_everywhere(scaled_branches, None),
    ),
)
