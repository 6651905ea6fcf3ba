"""What experiments are made on: a copy of a model, its batches, and how a batch becomes a loss."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pluggy
import torch
from torch import Tensor, nn

from pytest_gradhealth.checks import Checker
from pytest_gradhealth.errors import GradientHealthError
from pytest_gradhealth.judge.judge import judge
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.measure.passes.nesting import copied
from pytest_gradhealth.measure.passes.pause import paused
from pytest_gradhealth.measure.runs.runner import Runner
from pytest_gradhealth.measure.runs.state import isolated_rng, preserved
from pytest_gradhealth.record import Check, GradientRecord
from pytest_gradhealth.settings import Settings

__all__ = ["STRICTEST", "Change", "Subject", "examined", "is_over", "value_of"]

Step = Callable[[nn.Module, Any], Tensor]

STRICTEST: dict[str, float] = {
    "min_reach": 1.0,
    "max_dead": 0.0,
    "min_variation": 1.0,
    "min_token_variation": 1.0,
    "min_amplitude": 1e30,
    "max_elasticity": 0.0,
    "min_elasticity": 1e30,
    "max_growth": 1.0,
    "max_initial_loss": 1.0,
    "max_saturation": 0.0,
    "min_time_reach": 1.0,
    "min_gradient_rms": 1e30,
}
"""Every limit at the value that nothing meets: what breaks it then tells its number."""


@dataclass
class Subject:
    """A model that may be changed, with what is sent through it."""

    model: nn.Module
    batches: Sequence[Any]
    step: Step
    """``step(model, batch)`` returns the loss."""
    seed: int = 0

    @classmethod
    def of(cls, runner: Runner, seed: int, deadline: float = math.inf) -> Subject:
        """A copy of what a runner measures.

        Args:
            runner: what measures the model.
            seed: of what is drawn in experiments.
            deadline: time of ``perf_counter`` after which no pass begins: its step raises ``TimeoutError`` then.

        Raises:
            Exception: whatever a model raises that cannot be copied.
        """

        def step(model: nn.Module, batch: Any) -> Tensor:
            if is_over(deadline):
                raise TimeoutError("the time for experiments is over")
            return runner.step(model, batch)

        return cls(runner.copy_of_model(), runner.batches, step, seed)

    def dry_run(self) -> Tensor:
        """The loss of the first batch; leaves no trace on the model."""
        with paused(), isolated_rng(self.seed), preserved(self.model), torch.enable_grad():
            self.model.train()
            return self.step(self.model, copied(self.batches[0], next(self.model.parameters()).device))


@dataclass(frozen=True, kw_only=True)
class Change:
    """One respect in which a copy of a model differs from it."""

    name: str
    """What a table calls it."""
    sentence: str
    """What it does, and why."""
    apply: Callable[[Subject], bool]
    """Changes a copy in place; False: there is nothing in it to change."""


def is_over(deadline: float) -> bool:
    """Whether a time of ``perf_counter`` has passed."""
    return time.perf_counter() > deadline


def examined(subject: Subject, settings: Settings, hook: pluggy.HookRelay | None = None) -> Check:
    """The verdict on a subject, as ``gradhealth.check`` gives it. Warnings of its passes are not shown again."""
    kept: list[Check] = []
    health = Checker(replace(settings, histograms=False), sink=kept.append, hook=hook, show=lambda check: "")
    with warnings.catch_warnings(action="ignore"):
        try:
            health.check(subject.model, list(subject.batches), step=subject.step)
        except GradientHealthError as error:
            if not kept:
                raise AssertionError("a check failed without a record") from error
    return kept[-1]


def value_of(record: GradientRecord, limit: str) -> float | None:
    """The number that a limit is compared with, as the rule itself reports it; None: no rule asks here.

    Args:
        record: what was measured.
        limit: name of the limit, as in ``min_reach``.
    """
    if limit not in STRICTEST:
        return None
    opened: dict[str, Any] = dict.fromkeys(STRICTEST, None)
    limits = Limits(**{**opened, limit: STRICTEST[limit]})
    values = [f.value for f in judge(replace(record, later=None), limits) if f.limit_name == limit]
    found = [value for value in values if value is not None]
    if not found:
        return None
    return min(found) if limit.startswith("min_") else max(found)
