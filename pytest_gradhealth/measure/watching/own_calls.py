"""Modules with a ``__call__`` of their own, which never comes to that of ``nn.Module``: GPyTorch's are such."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from pytest_gradhealth.measure.torch_private import hide_from_dynamo

__all__ = ["OwnCalls"]

Handler = Callable[[Callable[..., Any], nn.Module, tuple[Any, ...], dict[str, Any]], Any]


class OwnCalls:
    """Classes whose calls are handed to a function while a watch is open.

    Args:
        handler: is given the class's own ``__call__``, the module and its arguments; returns what that returns.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._original: dict[type, Any] = {}

    def covers(self, module: nn.Module) -> bool:
        """Whether a module is called in a way of its own."""
        return any(kind in self._original for kind in type(module).__mro__)

    def wrap(self) -> None:
        """Take the place of every such ``__call__`` that there is by now."""
        for kind in _kinds():
            original = vars(kind)["__call__"]
            if kind not in self._original:
                self._original[kind] = original
                kind.__call__ = _standing_in(original, self._handler)  # type: ignore[method-assign]

    def unwrap(self) -> None:
        """Put them back."""
        for kind, original in self._original.items():
            kind.__call__ = original  # type: ignore[method-assign]
        self._original.clear()


def _kinds() -> Iterator[type]:
    """Subclasses outside torch that define a ``__call__`` which does not ask a base class for its own."""
    waiting, seen = list(nn.Module.__subclasses__()), set[type]()
    while waiting:
        kind = waiting.pop()
        if kind in seen:
            continue
        seen.add(kind)
        waiting += kind.__subclasses__()
        names = getattr(getattr(vars(kind).get("__call__"), "__code__", None), "co_names", ("super",))
        if "super" not in names and not kind.__module__.startswith(("torch.", "keras.")):
            yield kind


def _standing_in(original: Callable[..., Any], handler: Handler) -> Callable[..., Any]:
    def call(module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return handler(original, module, args, kwargs)

    return call


hide_from_dynamo(_standing_in(nn.Module.__call__, lambda *given: None).__code__, callees=False)
