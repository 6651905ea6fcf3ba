"""Backward passes that run where nobody watches: a fixture's training belongs to no single test."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch

from pytest_gradhealth.measure import torch_private
from pytest_gradhealth.measure.passes.pause import is_paused
from pytest_gradhealth.measure.watching.patches import is_watching

__all__ = ["Unwatched"]


class Unwatched:
    """A context in which backward passes are counted, other than those that a watch sees or that are our own."""

    backwards = 0

    def __enter__(self) -> Self:
        self._run: Callable[..., Any] | None = getattr(torch.autograd, torch_private.ENGINE, None)
        if self._run is not None:
            setattr(torch.autograd, torch_private.ENGINE, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if getattr(torch.autograd, torch_private.ENGINE, None) == self._count:
            setattr(torch.autograd, torch_private.ENGINE, self._run)

    def _count(self, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        assert self._run is not None
        trains = kwargs.get("accumulate_grad")  # what autograd.grad asks for trains nothing by itself
        if trains and not (is_watching() or is_paused() or torch_private.inside_backward()):
            self.backwards += 1
        return self._run(*args, **kwargs)


torch_private.hide_from_dynamo(Unwatched._count.__code__, callees=False)
