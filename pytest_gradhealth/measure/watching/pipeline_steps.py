"""Steps of a pipeline's schedule (``torch.distributed.pipelining``), told to whoever watches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from pytest_gradhealth.measure.passes.source import frames

__all__ = ["PipelineSteps", "runs_microbatch"]

SCHEDULES = "torch.distributed.pipelining.schedules"
KINDS = ("PipelineScheduleSingle", "PipelineScheduleMulti")
ONE_CHUNK = frozenset({"forward_one_chunk", "backward_one_chunk", "backward_weight_one_chunk"})
"""What a stage does with one microbatch. Before the first it may run its module to learn the shapes of tensors."""

Handler = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]


class PipelineSteps:
    """The ``step`` of every schedule, handed to a function while a watch is open.

    Args:
        handler: is given the schedule's own ``step``, the schedule and its arguments; returns what that returns.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._original: dict[type, Any] = {}
        self._missed = False

    def is_in_missed_step(self) -> bool:
        """Whether a step is under way of which nobody was told, as the schedules were imported since."""
        if not self._original and SCHEDULES in sys.modules:
            self.wrap()
            self._missed = True
        if self._missed:
            codes = {getattr(step, "__code__", None) for step in self._original.values()}
            self._missed = any(frame.f_code in codes for frame in frames())
        return self._missed

    def wrap(self) -> None:
        """Take the place of ``step``, where anybody has imported it."""
        for name in KINDS:
            kind = getattr(sys.modules.get(SCHEDULES), name, None)
            if kind is not None and kind not in self._original:
                self._original[kind] = kind.step
                kind.step = _standing_in(kind.step, self._handler)

    def unwrap(self) -> None:
        """Put it back."""
        for kind, original in self._original.items():
            kind.step = original  # type: ignore[attr-defined]
        self._original.clear()
        self._missed = False


def runs_microbatch() -> bool:
    """Whether a stage is at work on one."""
    return any(frame.f_code.co_name in ONE_CHUNK for frame in frames())


def _standing_in(original: Callable[..., Any], handler: Handler) -> Callable[..., Any]:
    @wraps(original)
    def step(schedule: Any, /, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return handler(original, schedule, args, kwargs)

    return step
