"""Pipelines (``torch.distributed.pipelining``): each rank measures its stages, and all of them have one record.

A pass is a step of the schedule. It sends several microbatches forward and back, in an order of its own, and leaves to
the parameters what the optimiser is given.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

from torch import Tensor, nn

from pytest_gradhealth.errors import RankLostError
from pytest_gradhealth.measure.passes.results import Pass
from pytest_gradhealth.measure.passes.summary import whole_loss_graph
from pytest_gradhealth.measure.precisions.scaling import unscaled
from pytest_gradhealth.measure.sharding.ranks import Alone, Ranks, ranks_of_group
from pytest_gradhealth.measure.sharding.stages import whole_model
from pytest_gradhealth.measure.sharding.team import Team, team_of
from pytest_gradhealth.measure.torch_private import stages_of
from pytest_gradhealth.measure.watching.callers import unwrapped
from pytest_gradhealth.measure.watching.model import WHOLE, Records, Watched
from pytest_gradhealth.measure.watching.pipeline_steps import runs_microbatch
from pytest_gradhealth.measure.watching.quiet import OuterCall, QuietProbe, describe_error
from pytest_gradhealth.measure.watching.schedule import FORWARDS, is_due
from pytest_gradhealth.record import GradientRecord, LossGraph

__all__ = ["Pipeline", "Stage"]

Told = Callable[["Stage"], tuple[GradientRecord, ...]]
"""The records of a stage with what is known of its optimisers."""


class Stage(Watched):
    """One stage under watch: its pass begins and ends with a step of the schedule."""

    def __init__(self, stage: Any, **options: Any) -> None:
        super().__init__(unwrapped(stage.submod), **options)
        self._called, self.whole = weakref.ref(stage.submod), True
        self.index, self._is_last = int(stage.stage_index), bool(stage.is_last)
        self._losses: list[Tensor] = []
        self._objectives: list[LossGraph] = []
        self._divided = False

    def step_begins(self, divided: bool) -> None:
        """A step of the schedule begins; ``divided``: it divides gradients by the number of microbatches."""
        self._losses.clear()
        self._objectives.clear()
        self._divided = divided
        called = self._called()
        if called is not None:
            self._begin_pass(called)
        if self._team is not None:
            self._team.mark()

    def step_ended(self) -> None:
        """It has left to the parameters what the optimiser is given."""
        self._finished = True
        if self._probe is not None:
            self._measure(None, 1.0, None)
        self.close()

    def told(self) -> tuple[GradientRecord, ...]:
        """The records of the measured steps, whether a gradient came or not."""
        return tuple(self._records.get(WHOLE, ()))

    def forward_begins(
        self, called: nn.Module, root: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> OuterCall | None:
        """A microbatch; whatever else the module is called for belongs to no pass."""
        if self._finished or self._forwards >= FORWARDS or not runs_microbatch():
            return None
        return super().forward_begins(called, root, args, kwargs)

    def backward_begins(self, outputs: tuple[Any, ...], trains: bool) -> None:
        """Microbatches are sent back one by one."""
        if self._probe is not None and runs_microbatch():
            self._probe.backward_begins(outputs)

    @property
    def was_reached(self) -> bool:
        """Whether the last of them brought parameters a gradient."""
        return self._probe is not None and self._probe.came

    def backward_done(self, loss: Tensor | None, scale: float, objective: LossGraph | None = None) -> None:
        """Note the loss of one microbatch; what came is measured once the step has ended."""
        if self._probe is None or not runs_microbatch():
            return
        if loss is not None and self._is_last:
            self._losses.append(loss.detach())
        if objective is not None:
            self._objectives.append(objective)

    def _team_of(self, called: nn.Module, model: nn.Module) -> Team:
        found = team_of(called, model, histograms=self._histograms)
        return found or Team(Alone(), model, None, histograms=self._histograms)

    def _read(self, probe: QuietProbe, loss: Tensor | None, objective: LossGraph | None) -> Pass:
        seen = super()._read(probe, loss, objective)
        losses = [float(one) for one in self._losses]
        mean = (fmean(losses) if self._divided else sum(losses)) if losses else None
        seen = unscaled(seen, self._microbatches if self._divided else 1.0)
        return replace(seen, loss=mean, objective=whole_loss_graph(self._objectives))

    def _of_team(self, team: Team, read: Callable[[], Pass]) -> Pass:
        return team.read(read, divided_by=self._microbatches if self._divided else 1)

    @property
    def _microbatches(self) -> int:
        return max(self._forwards, 1)

    def _judgeable(self, record: GradientRecord, probe: QuietProbe, scale: float) -> Records:
        """All of it: whether something came is seen of the whole pipeline."""
        samples = None if self._samples is None else self._samples * self._microbatches
        return {WHOLE: replace(self._described(record, probe), samples=samples)}


class Pipeline:
    """One schedule under watch, with the stages that this rank holds.

    Args:
        schedule: of ``torch.distributed.pipelining``.
        add: has a stage watched.
    """

    def __init__(self, schedule: Any, add: Callable[[Any], Stage]) -> None:
        stages = stages_of(schedule)
        self.name = type(schedule).__name__
        self._divides = bool(getattr(schedule, "scale_grads", False))
        self._ranks: Ranks | Alone = ranks_of_group(stages[0].group)
        self._stages = [add(stage) for stage in stages]
        self._everyone: Mapping[int, tuple[GradientRecord, ...]] = {}
        self._steps, self._failed = 0, ""
        self.problem = ""
        """Why it could not be measured, as all ranks know."""

    def step_begins(self) -> None:
        """A step of the schedule begins."""
        self._steps += 1
        try:
            for stage in self._stages:
                stage.step_begins(self._divides)
        except RankLostError:
            raise
        except Exception as error:
            self._failed = describe_error(error)

    def step_failed(self) -> None:
        """It has raised: other ranks may be anywhere."""
        self.problem = self.problem or "a step of its schedule raised"
        for stage in self._stages:
            stage.close()

    def step_ended(self, told: Told) -> None:
        """Have what all ranks measured of it, where this one was measured.

        Raises:
            RankLostError: a rank did not come.
        """
        for stage in self._stages:
            stage.step_ended()
        if self.problem or not is_due(self._steps):
            return
        mine = {stage.index: told(stage) for stage in self._stages}
        problem = self._failed or next((stage.problem for stage in self._stages if stage.problem), "")
        answers = self._ranks.gathered((mine, problem))
        problems = zip(self._ranks.members, answers, strict=True)
        self.problem = next((f"rank {rank}: {text}" for rank, (_, text) in problems if text), "")
        self._everyone = {index: records for held, _ in answers for index, records in held.items()}

    def passes(self) -> tuple[GradientRecord, ...]:
        """The records of the whole model; none where no gradient ever came, or a stage could not be measured."""
        by_stage = [self._everyone[index] for index in sorted(self._everyone)]
        if self.problem or not by_stage:
            return ()
        note = f"a pipeline of {len(by_stage)} stages ({self.name}): a pass holds all microbatches of a step"
        whole = [whole_model(stages) for stages in zip(*by_stage, strict=False)]
        return tuple(replace(x, notes=(*x.notes, note)) for x in whole if any(layer.arrived for layer in x))
