"""One pass of a model that several ranks train together, as the one pass that it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from pytest_gradhealth.errors import MeasurementError
from pytest_gradhealth.measure.passes.probe import Pass
from pytest_gradhealth.measure.passes.summary import Weight, whole_loss_graph
from pytest_gradhealth.measure.sharding.ranks import Ranks, ranks_of, wrapper_of
from pytest_gradhealth.measure.sharding.shares import averaged, shares, whole_gradients, whole_weights
from pytest_gradhealth.measure.sharding.signals import by_data, whole_loss, whole_modules
from pytest_gradhealth.record import GradientRecord

__tracebackhide__ = True

__all__ = ["Team", "team_of"]


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
        ranks: Ranks,
        model: nn.Module,
        wrapper: nn.parallel.DistributedDataParallel | None,
        *,
        histograms: bool = False,
    ) -> None:
        self.ranks, self._model, self._wrapper, self._histograms = ranks, model, wrapper, histograms
        self.weights: Mapping[str, Weight] = {}
        """Norms of whole weights, as of the last pass."""
        self._batches = 1
        self._regathers = _is_fully_sharded(model)
        """Whether the graph holds parameters put together for one pass, which belong to no layer that is known."""

    def run(self, one_pass: Callable[[], Pass]) -> Pass:
        """Run a forward and backward pass on every rank, and have what all of them saw.

        Gradients are averaged here and not by the wrapper, which would wait for ever for a parameter that one rank
        does not use.

        Raises:
            MeasurementError: the pass failed on another rank, or a parameter is unused on some ranks only.
            RankLostError: a rank did not come.
        """
        with self._unaveraged():
            everyone = self.ranks.together(one_pass)
        gradients = self._gradients()
        if self._wrapper is not None:
            gradients = averaged(self._used(gradients, self._wrapper), self._wrapper.process_group)
        return self._whole(everyone, gradients)

    def read(self, one_pass: Callable[[], Pass], before: Mapping[str, Tensor]) -> Pass:
        """What all ranks saw of a pass that a test made; ``before`` holds what gradients were there earlier."""
        everyone = self.ranks.together(one_pass)
        came = {
            name: gradient - before[name] if name in before else gradient
            for name, gradient in self._gradients().items()
        }
        return self._whole(everyone, came)

    def told(self, record: GradientRecord) -> GradientRecord:
        """The record of the first rank on every rank, with what belongs to no number, and who measured it."""
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
        with self._wrapper.no_sync():
            yield

    def _gradients(self) -> dict[str, Tensor]:
        return {name: p.grad for name, p in self._model.named_parameters() if p.grad is not None}

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
            upstream={} if self._regathers else everyone[0].upstream,
            objective=whole_loss_graph([one.objective for one in everyone if one.objective]),
        )


def _is_fully_sharded(model: nn.Module) -> bool:
    """Whether ``fully_shard`` was applied to a part of the model; who has not imported it has not."""
    kind = getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", ())
    return any(isinstance(module, kind) for module in model.modules())


def team_of(called: nn.Module, model: nn.Module, *, histograms: bool = False) -> Team | None:
    """Whoever trains a model together with this process; None: nobody does.

    Args:
        called: the model with what wraps it.
        model: what holds the parameters.
        histograms: count the elements of the gradients.
    """
    ranks = ranks_of(called)
    return None if ranks is None else Team(ranks, model, wrapper_of(called), histograms=histograms)
