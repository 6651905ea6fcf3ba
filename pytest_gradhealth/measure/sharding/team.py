"""One pass of a model that several ranks train together, as the one pass that it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure.passes.nesting import shard_of
from pytest_gradhealth.measure.passes.paths import Upstream
from pytest_gradhealth.measure.passes.results import Pass
from pytest_gradhealth.measure.passes.summary import Weight, whole_loss_graph
from pytest_gradhealth.measure.sharding.ranks import Alone, Ranks, ranks_of, wrapper_of
from pytest_gradhealth.measure.sharding.shares import averaged, shares, whole_gradients, whole_weights
from pytest_gradhealth.measure.sharding.signals import by_data, whole_loss, whole_modules
from pytest_gradhealth.record import GradientRecord

__tracebackhide__ = True

__all__ = ["Team", "team_of"]

STATIC = (
    "DistributedDataParallel(static_graph=True) would take a check's backward pass for the first of the training: "
    "check the model before it is wrapped, or train it in a watched test"
)


class Team:
    """The ranks of one model, and what they measure together.

    Args:
        ranks: who they are.
        model: what holds the parameters, without what wraps it.
        wrapper: what averages the gradients after each backward pass; None: the parameters do so themselves.
        histograms: count the elements of the gradients.
    """

    def __init__(
        self,
        ranks: Ranks | Alone,
        model: nn.Module,
        wrapper: nn.parallel.DistributedDataParallel | None,
        *,
        histograms: bool = False,
    ) -> None:
        self.ranks, self._model, self._wrapper, self._histograms = ranks, model, wrapper, histograms
        self.weights: Mapping[str, Weight] = {}
        """Norms of whole weights, as of the last pass."""
        self._batches = 1
        self._marked: dict[str, tuple[int, int]] = {}
        self._before: dict[str, Tensor] | None = None
        self._gathering = _fully_sharded(model)
        """Modules whose parameters are put together for one pass; those in the graph belong to no layer known."""
        self.reshard()
        self._parameters = dict(model.named_parameters())
        """As the optimiser knows them, and not as they are put together between a forward and its backward."""

    def run(self, one_pass: Callable[[], Pass]) -> Pass:
        """Run a forward and backward pass on every rank, and have what all of them saw.

        Gradients are averaged here and not by the wrapper, which would wait for ever for a parameter that one rank
        does not use.

        Raises:
            MeasurementError: the pass failed on another rank, or a parameter is unused on some ranks only.
            RankLostError: a rank did not come.
        """
        everyone: list[Pass] = []
        self.reduce(lambda: everyone.append(one_pass()))
        return self._whole(self.ranks.gathered(everyone[0]), self._gradients())

    def reduce(self, action: Callable[[], object]) -> None:
        """Run passes on every rank, and leave to each the gradients that the optimiser is given.

        Raises:
            MeasurementError: as :meth:`run`.
            RankLostError: a rank did not come.
        """
        with self._unaveraged():
            self.ranks.together(lambda: action() and None)
        if self._wrapper is None:
            return
        mean = averaged(self._used(self._gradients(), self._wrapper), self._wrapper.process_group)
        for name, parameter in self._model.named_parameters():
            if name in mean:
                parameter.grad = mean[name]

    def reshard(self) -> None:
        """Give up what was put together for a pass that had no backward, or did not come to its end."""
        for module in self._gathering:
            module.reshard()

    def mark(self) -> None:
        """A backward pass of a test begins: what gradients hold by now is none of its own."""
        held = self._gradients()
        self._marked = {name: _state(gradient) for name, gradient in held.items()}
        if self._before is None:  # those of several backward passes in a row belong together
            self._before = {name: gradient.detach().clone() for name, gradient in held.items()}

    @property
    def came(self) -> bool:
        """Whether the optimiser has been given gradients since; under ``no_sync`` it has not, yet."""
        if self._wrapper is not None and not self._wrapper.require_backward_grad_sync:
            return False
        return any(self._marked.get(name) != _state(gradient) for name, gradient in self._gradients().items())

    def read(self, one_pass: Callable[[], Pass], divided_by: int = 1) -> Pass:
        """What all ranks saw of the pass that a test has made.

        Args:
            one_pass: what this rank saw.
            divided_by: by what gradients were divided since, with what they held before.
        """
        everyone = self.ranks.together(one_pass)
        before = self._before or {}
        came = {
            name: gradient - before[name] / divided_by if name in before else gradient
            for name, gradient in self._gradients().items()
        }
        return self._whole(everyone, came)

    def told(self, record: GradientRecord) -> GradientRecord:
        """The record of the first rank on every rank, with what belongs to no number, and who measured it."""
        if len(self.ranks) == 1:
            return record
        everyone = self.ranks.gathered(record)
        unregistered = tuple(dict.fromkeys(found for one in everyone for found in one.unregistered))
        return replace(everyone[0], unregistered=unregistered, notes=(*everyone[0].notes, self._note()))

    def _note(self) -> str:
        batches = "one batch for all" if self._batches == 1 else f"{self._batches} different batches"
        return f"measured on {len(self.ranks)} ranks together, with {batches}; norms are those of whole tensors"

    @contextmanager
    def _unaveraged(self) -> Iterator[None]:
        if self._wrapper is None:
            yield
            return
        if self._wrapper.static_graph:
            raise MeasurementError(STATIC)
        with self._wrapper.no_sync():
            yield

    def _gradients(self) -> dict[str, Tensor]:
        return {name: p.grad for name, p in self._parameters.items() if p.grad is not None}

    def _used(self, gradients: dict[str, Tensor], wrapper: nn.parallel.DistributedDataParallel) -> dict[str, Tensor]:
        """The gradients in one order on all ranks, zeros where only others have one and the wrapper allows it."""
        everyone = self.ranks.gathered(set(gradients))
        union: set[str] = set().union(*everyone)
        partly = [name for name, _ in self._model.named_parameters() if name in union - union.intersection(*everyone)]
        if partly and not wrapper.find_unused_parameters:
            raise MeasurementError(self._unused(partly[0], everyone))
        trainable = {name: p for name, p in self._model.named_parameters() if name in union}
        return {name: gradients.get(name, torch.zeros_like(p)) for name, p in trainable.items()}

    def _unused(self, name: str, everyone: Sequence[set[str]]) -> str:
        without = [str(rank) for rank, used in zip(self.ranks.members, everyone, strict=True) if name not in used]
        return (
            f"parameter {name!r} receives a gradient on some ranks and none on rank {', '.join(without)}: "
            "DistributedDataParallel would wait for it for ever. Use it in every forward pass, or give the wrapper "
            "find_unused_parameters=True"
        )

    def _whole(self, everyone: Sequence[Pass], gradients: Mapping[str, Tensor]) -> Pass:
        held = self.ranks.gathered(shares(self._model, gradients, histograms=self._histograms))
        self.weights = whole_weights(held)
        groups = by_data(everyone)
        self._batches = len(groups)
        return Pass(
            modules=whole_modules(groups),
            parameters=whole_gradients(held),
            loss=whole_loss(everyone),
            upstream=Upstream() if self._gathering else everyone[0].upstream,
            objective=whole_loss_graph([one.objective for one in everyone if one.objective]),
        )


def _state(gradient: Tensor) -> tuple[int, int]:
    """Something that is another once a backward pass has added to a gradient."""
    return id(gradient), shard_of(gradient)._version


def _fully_sharded(model: nn.Module) -> list[Any]:
    """Every module that ``fully_shard`` was applied to; who has not imported it has applied it to none."""
    kind = getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", ())
    return [module for module in model.modules() if isinstance(module, kind)]


def team_of(called: nn.Module, model: nn.Module, *, histograms: bool = False) -> Team | None:
    """Whoever trains a model together with this process; None: nobody does.

    Args:
        called: the model with what wraps it.
        model: what holds the parameters.
        histograms: count the elements of the gradients.
    """
    ranks = ranks_of(called)
    return None if ranks is None else Team(ranks, model, wrapper_of(called), histograms=histograms)
