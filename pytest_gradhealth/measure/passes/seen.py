"""One tensor on its way through the model: what it held, and the gradients that came back to it."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from pytest_gradhealth.measure.passes import statistics
from pytest_gradhealth.measure.passes.nesting import shard_of
from pytest_gradhealth.measure.passes.reductions import Came, Reductions
from pytest_gradhealth.measure.passes.sampling import Samples
from pytest_gradhealth.measure.torch_private import is_batched

__all__ = ["Seen", "is_freed"]


def is_freed(tensor: Tensor) -> bool:
    """Whether its memory was given back, as reversible networks do with their inputs: reading it would crash."""
    if type(tensor) not in statistics.ORDINARY:
        return False
    try:
        return tensor.numel() > 0 and tensor.untyped_storage().nbytes() == 0
    except (RuntimeError, NotImplementedError):  # sparse, or of a transform: it has no storage of its own
        return False


ENDS = ("first", "last")
"""The quarters of a sequence, by the names that they have in a description."""


class Seen:
    """A tensor at one version, however many modules it passes through. It is not kept alive."""

    __slots__ = (
        "__weakref__",
        "_handle",
        "_is_long",
        "_reductions",
        "_samples",
        "_tensor",
        "_version",
        "came",
        "description",
    )

    def __init__(self, tensor: Tensor, kind: str, samples: Samples, reductions: Reductions) -> None:
        self._tensor, self._version = weakref.ref(tensor), _version(tensor)
        self._samples, self._reductions = samples, reductions
        self.description = self.describe(tensor, kind)
        self.came: list[Came] = []
        self._is_long = statistics.count_positions(tensor) >= statistics.POSITIONS and not tensor.is_complex()
        self._handle: RemovableHandle | None = None
        if tensor.requires_grad:
            self.await_gradient(tensor)

    def describe(self, tensor: Tensor, kind: str) -> dict[str, float]:
        """What it holds; filled in later."""
        return {} if tensor.ndim == 0 or tensor.is_complex() or is_freed(tensor) else self._samples.add(tensor, kind)

    def await_gradient(self, tensor: Tensor) -> None:
        """Note what comes back to the tensor, which carries a graph."""
        self._handle = tensor.register_hook(self.on_gradient)  # type: ignore[no-untyped-call]

    @property
    def tensor(self) -> Tensor | None:
        """None: it is not there any more."""
        return self._tensor()

    @property
    def hooked(self) -> bool:
        """Whether a gradient can come back."""
        return self._handle is not None

    @property
    def reach(self) -> Iterator[float]:
        """Sensitivity at the last quarter of a long sequence over that at the first, for each gradient that came."""
        for came in self.came if self._is_long else ():
            if came.quarters is not None:
                first, last = (norm * self.description[end] for norm, end in zip(came.quarters, ENDS, strict=True))
                yield last / first if first else math.inf if last else math.nan

    def release(self) -> None:
        """Take the hook off: parameters, and whatever else the user holds, pass through modules too."""
        if self._handle is not None and self._tensor() is not None:
            self._handle.remove()

    def is_of(self, tensor: Tensor) -> bool:
        """Whether it is this tensor at this version."""
        return self._tensor() is tensor and self._version == _version(tensor)

    def forget_last(self) -> None:
        """Forget the gradient that came last."""
        del self.came[-1:]

    def on_gradient(self, gradient: Tensor | None) -> None:
        """Note one gradient that came back."""
        if gradient is None or is_batched(gradient):
            return  # a custom backward may send nothing back, and a vectorised Jacobian many at once: it is no loss's
        gradient = shard_of(gradient)
        is_long = self._is_long and statistics.count_positions(gradient) >= statistics.POSITIONS
        self.came.append(self._reductions.passed_on(gradient, sequence=is_long))


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version
