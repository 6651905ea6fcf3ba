"""What a public bug report becomes: a small network as it was repaired, and the same network as it was reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from benchmarks.detection.cases import Case, Loss, Step
from benchmarks.detection.hosts.host import Host, case
from benchmarks.detection.vocabulary.tasks import Task

ROUND = 5
GITHUB = "https://github.com/"


@dataclass(frozen=True, kw_only=True)
class Report:
    """``build(broken)`` makes the network; ``wrong_loss`` stands in for the task's where the fault is in the loss.

    ``source`` is the address of the report, in which its authors confirm the cause; ``fault`` names the kind. Without a
    ``culprit`` there is no fault: what was reported is healthy, and an alarm on it would be false.
    """

    name: str
    source: str
    task: Task
    build: Callable[[bool], nn.Module]
    fault: str = ""
    culprit: tuple[str, ...] = ()
    wrong_loss: Loss | None = None
    steps: int = 160
    batch_size: int = 8
    train_batch: int = 48
    host: Host = field(init=False)

    def __post_init__(self) -> None:
        host = Host(
            name=self.name,
            build=lambda: self.build(False),
            task=self.task,
            chain="",
            steps=self.steps,
            batch_size=self.batch_size,
            train_batch=self.train_batch,
            round=ROUND,
            source=self.source,
        )
        object.__setattr__(self, "host", host)

    @property
    def case(self) -> Case:
        """The network as it was reported."""
        repaired = case(self.host)
        return Case(
            name=f"{self.name}/{self.fault}",
            host=self.name,
            build=lambda: self.build(True),
            batch=repaired.batch,
            step=self._step if self.wrong_loss else repaired.step,
            operator=self.fault,
            culprit=self.culprit,
            batch_size=self.batch_size,
            round=ROUND,
            source=self.source,
        )

    @property
    def _step(self) -> Step:
        loss = self.wrong_loss
        assert loss is not None
        return lambda model, batch: loss(model(*batch[0]), batch[1])
