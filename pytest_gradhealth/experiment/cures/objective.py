"""Other losses, and outputs that are handed to them differently."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pytest_gradhealth.experiment.calls import Call, Rewrite, rewrite
from pytest_gradhealth.experiment.cures.cure import SIZES, Cure
from pytest_gradhealth.experiment.subject import Subject

__all__ = ["LOGIT_LOSSES", "OBJECTIVE", "REGRESSIONS", "SCALED"]

SQUASHING = frozenset({"softmax", "log_softmax", "sigmoid", "logsigmoid", "tanh", "relu", "softplus", "hardsigmoid"})
LOGIT_LOSSES = frozenset({"cross_entropy", "binary_cross_entropy_with_logits", "nll_loss"})
REGRESSIONS = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
DIFFERENCES = frozenset({"sub", "__sub__", "__rsub__", "rsub"})
ODD = 1e3
"""A loss farther from one than by this factor is scaled."""
OUTPUTS = SIZES | {"objective"}


def raw_scores(subject: Subject) -> bool:
    """Hand the loss what came before the last activation."""
    seen = [False]

    def begin() -> Rewrite:
        before: dict[int, tuple[Tensor, Tensor]] = {}  # holds the outputs, so that no id comes twice

        def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if name in SQUASHING:
                result = function(*args, **kwargs)
                if isinstance(args[0], Tensor):
                    before[id(result)] = (result, args[0])
                return result
            given, rest = (args[0], args[1:]) if args else (kwargs.pop("input"), ())
            scores = given
            while id(scores) in before:
                scores = before[id(scores)][1]
            if name == "nll_loss":
                seen[0] = True
                return function(scores.log_softmax(1), *rest, **kwargs)
            seen[0] = seen[0] or scores is not given
            return function(scores, *rest, **kwargs)

        return change

    rewrite(subject, SQUASHING | LOGIT_LOSSES, begin)
    subject.dry_run()
    return seen[0]


def unbounded_output(subject: Subject) -> bool:
    """A regression without an activation at the end of the model."""
    seen = [False]

    def begin() -> Rewrite:
        before: dict[int, tuple[Tensor, Tensor]] = {}

        def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if name in SQUASHING:
                result = function(*args, **kwargs)
                before[id(result)] = (result, args[0])
                return result
            found = [before.get(id(a), (a, a))[1] for a in args]
            seen[0] = seen[0] or any(new is not old for new, old in zip(found, args, strict=True))
            return function(*found, **kwargs)

        return change

    rewrite(subject, SQUASHING | REGRESSIONS | DIFFERENCES, begin)
    subject.dry_run()
    return seen[0]


def alike(subject: Subject) -> bool:
    """Outputs and targets of one shape, where they hold as many numbers."""
    seen = [False]

    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) < 2 or not (isinstance(args[0], Tensor) and isinstance(args[1], Tensor)):
            return NotImplemented
        first, second = args[:2]
        if first.shape == second.shape or first.numel() != second.numel() or first.numel() < 2:
            return NotImplemented
        seen[0] = True
        return function(first, second.reshape(first.shape), *args[2:], **kwargs)

    rewrite(subject, REGRESSIONS | DIFFERENCES | {"binary_cross_entropy"}, lambda: change)
    subject.dry_run()
    return seen[0]


def squared(subject: Subject) -> bool:
    """Differences squared one by one, where they are averaged or added up as they are."""
    seen = [False]

    def begin() -> Rewrite:
        differences: dict[int, Tensor] = {}

        def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if name in DIFFERENCES:
                result = function(*args, **kwargs)
                differences[id(result)] = result
                return result
            if id(args[0]) not in differences:
                return NotImplemented
            seen[0] = True
            return function(args[0].square(), *args[1:], **kwargs)

        return change

    rewrite(subject, DIFFERENCES | {"mean", "sum"}, begin)
    subject.dry_run()
    return seen[0]


def minimised(subject: Subject) -> bool:
    """The loss with the other sign."""
    step = subject.step
    subject.step = lambda model, batch: -step(model, batch)
    return True


def of_order_one(subject: Subject) -> bool:
    """The loss divided by its own size."""
    step = subject.step
    size = abs(float(subject.dry_run().detach()))
    if not size or not math.isfinite(size) or 1 / ODD < size < ODD:
        return False
    subject.step = lambda model, batch: step(model, batch) / size
    return True


def in_range(subject: Subject) -> bool:
    """Targets of a binary cross entropy from 0 to 1."""
    seen = [False]

    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) < 2 or (args[1].min() >= 0 and args[1].max() <= 1):
            return NotImplemented
        seen[0] = True
        target = args[1] - args[1].min()
        return function(args[0], target / target.max().clamp(min=1e-12), *args[2:], **kwargs)

    rewrite(subject, frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"}), lambda: change)
    subject.dry_run()
    return seen[0]


def standardised_targets(subject: Subject) -> bool:
    """Targets of a regression with mean 0 and deviation 1."""
    seen = [False]

    def change(name: str, function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) < 2 or not all(isinstance(a, Tensor) for a in args[:2]) or args[1].requires_grad:
            return NotImplemented
        seen[0] = True
        target = (args[1] - args[1].mean()) / args[1].std().clamp(min=1e-12)
        return function(args[0], target, *args[2:], **kwargs)

    rewrite(subject, REGRESSIONS, lambda: change)
    subject.dry_run()
    return seen[0]


def _cure(
    name: str,
    sentence: str,
    cause: str,
    apply: Callable[[Subject], bool],
    kinds: frozenset[str],
    *words: str,
) -> Cure:
    return Cure(name=name, sentence=sentence, cause=cause, kinds=kinds, apply=apply, words=words)


WRONG = frozenset({"objective"})
OBJECTIVE = (
    _cure(
        "raw scores for the loss",
        "hand cross_entropy (or binary_cross_entropy_with_logits) raw scores, with no activation in between",
        "the activation between the model and its loss",
        raw_scores,
        OUTPUTS,
        "logits",
        "raw scores",
        "log_softmax",
        "applies its own",
    ),
    _cure(
        "outputs and targets of one shape",
        "output.squeeze(1), or target.unsqueeze(1)",
        "the shapes of outputs and targets",
        alike,
        WRONG,
    ),
    _cure("the loss with the other sign", "remove the minus", "the sign of the loss", minimised, WRONG),
    _cure(
        "differences squared one by one",
        "(output - target).square().mean()",
        "differences that are added up before they are squared",
        squared,
        WRONG,
    ),
    _cure("targets from 0 to 1", "scale the targets to 0..1", "the scale of the targets", in_range, WRONG),
    _cure(
        "no activation at the end",
        "leave out the last activation of a regression",
        "the activation at the end of the model",
        unbounded_output,
        OUTPUTS,
    ),
    _cure(
        "targets standardised",
        "scale the targets to mean 0 and deviation 1",
        "the scale of the targets",
        standardised_targets,
        OUTPUTS - {"non-finite"},
    ),
)
SCALED = _cure(
    "the loss scaled to order one",
    "scale the loss to order one",
    "the scale of the loss",
    of_order_one,
    OUTPUTS,
    "scale the loss",
    "loss is multiplied",
    "loss is scaled",
)
