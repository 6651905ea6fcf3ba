"""A probe for tests that train by themselves: it raises nothing, and is not seen by those who count operations."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pytest_gradhealth.measure.passes.interrupts import uninterrupted
from pytest_gradhealth.measure.passes.nesting import floating
from pytest_gradhealth.measure.passes.probe import Probe
from pytest_gradhealth.measure.passes.reductions import Reductions
from pytest_gradhealth.measure.passes.sampling import Samples
from pytest_gradhealth.measure.passes.seen import Seen
from pytest_gradhealth.measure.torch_private import counts_operations, is_batched, is_wrapped, unseen, without_graph
from pytest_gradhealth.measure.watching.keras import leaves

__all__ = ["OuterCall", "QuietProbe", "describe_error"]


class OuterCall:
    """A call of a model from outside, in a pass that is measured."""

    def __init__(self, probe: QuietProbe, root: str, view: nn.Module) -> None:
        self._probe, self._root, self._view, self._root_seen = probe, root, view, False

    def inner_returned(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Note a module that was called inside."""
        name = self._probe.known_name_of(module)
        if name is not None:
            self._root_seen = self._root_seen or name == self._root
            self._probe.note(name, module, args, kwargs, output)

    def returned(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """The model itself has returned, and has made the last of its parameters if it is lazy."""
        if not self._root_seen:  # where the model was wrapped, it was called inside
            self._probe.note(self._root, module, args, kwargs, output)
        with unseen():
            attached = any(tensor.requires_grad for tensor in floating(output))
        if attached:
            self._probe.hook_parameters()
            self._probe.whole_returned(output)


class QuietProbe(Probe):
    """A probe that is told of calls, raises nothing, and is not seen by those who count a test's operations."""

    def __init__(self, model: nn.Module, *, histograms: bool = False) -> None:
        self.problem, self.came, self.muted = "", False, False
        self._recent: list[Seen] = []
        super().__init__(model, histograms=histograms, sampled=None)  # a pass of a test cannot be repeated
        self._names: dict[int, str] = {}
        self.compiled = False

    def observe(self, view: nn.Module, model: nn.Module) -> None:
        """The model is about to be called; it may have got new parts since the last call."""
        self._model = weakref.ref(view)
        named = view.named_modules() if view is model else [("", model), *leaves(model)]
        self._names = {id(module): name for name, module in named}

    def known_name_of(self, module: nn.Module) -> str | None:
        """Name of a module of the model; None: it is none of it."""
        return self._names.get(id(module))

    def note(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """One call of a module has returned."""
        self._quietly(self.module_returned, name, module, args, kwargs, output)

    def hook_parameters(self) -> None:
        """Observe the gradients of parameters that are there by now."""
        with uninterrupted():  # a hook without its handle would stay
            self._quietly(super().hook_parameters)

    def gradient_came(self, name: str, collected: Tensor | None, gradient: Tensor) -> None:
        """Note one contribution to a parameter's gradient."""
        if not self.muted and _is_ordinary(gradient):
            self.came = True
            self._quietly(super().gradient_came, name, collected, gradient)

    def forget_modules(self) -> None:
        """Begin again with the modules; gradients of parameters may still come."""
        self._release()
        self._traces, self._seen, self._latest = {}, [], {}

    def mark(self) -> None:
        """Remember where the gradients of one backward begin."""
        self.came = False
        self._recent.clear()

    def whole_returned(self, output: Any) -> None:
        """A model, or a part that is called from outside, has given its output."""
        self._quietly(lambda: self.paths.returned(list(floating(output))))  # not even its search may be seen

    def follow(self, outputs: tuple[Any, ...]) -> None:
        """Note which layers lie in front of which."""
        self._quietly(self.paths.follow, outputs)

    def back_to_mark(self) -> None:
        """Forget the gradients of one backward."""
        for seen in self._recent:
            seen.forget_last()
        self._recent.clear()

    def signal_came(self, seen: Seen, gradient: Tensor | None) -> None:
        """A gradient came to what a module has returned."""
        if not self.muted and _is_ordinary(gradient) and self._quietly(Seen.on_gradient, seen, gradient):
            self._recent.append(seen)

    def offers_more(self, roots: dict[str, bool]) -> bool:
        """Whether the model returned values of which this backward used some only."""
        traces = [self._traces[root] for root in roots if root in self._traces]
        offered = [bool(seen.came) for trace in traces for seen in trace.outputs if seen.hooked]
        return any(offered) and not all(offered)

    def close(self) -> None:
        """Leave nothing behind."""
        self._quietly(self.unhook_parameters)

    def _entry(self, tensor: Tensor, kind: str) -> Seen:
        return _QuietSeen(tensor, kind, self._samples, self._reductions, self)

    def _quietly(self, action: Callable[..., Any], *args: Any) -> bool:
        if self.problem:
            return False
        if counts_operations():
            self.problem = "the test itself looks at every operation, and would have seen ours"
            return False
        try:
            with unseen():
                without_graph(action, *args)
        except Exception as error:
            self.problem = describe_error(error)
            return False
        return True


class _QuietSeen(Seen):
    def __init__(self, tensor: Tensor, kind: str, samples: Samples, reductions: Reductions, probe: QuietProbe) -> None:
        self._probe = weakref.ref(probe)
        super().__init__(tensor, kind, samples, reductions)

    def on_gradient(self, gradient: Tensor | None) -> None:
        probe = self._probe()
        if probe is not None:
            probe.signal_came(self, gradient)


def _is_ordinary(gradient: Tensor | None) -> bool:
    """False for many backward passes at once (``is_grads_batched``), and where torch tests a function with None."""
    return gradient is not None and not is_wrapped(gradient) and not is_batched(gradient)


def describe_error(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
