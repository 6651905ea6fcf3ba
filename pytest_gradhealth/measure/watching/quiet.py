"""A probe for tests that train by themselves: it raises nothing, and is not seen by those who count operations.

Most forward calls of a suite are never sent back. So a call is only noted: small samples of what the modules return, and
where in the graph that stands. Hooks are set once a backward begins, and nothing that a call has made is kept alive.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pytest_gradhealth.measure.passes.interrupts import uninterrupted
from pytest_gradhealth.measure.passes.nesting import floating
from pytest_gradhealth.measure.passes.paths import place_of
from pytest_gradhealth.measure.passes.probe import Probe, Seen
from pytest_gradhealth.measure.passes.sampling import Samples
from pytest_gradhealth.measure.passes.structure import modules_of, parameters_of
from pytest_gradhealth.measure.torch_private import counts_operations, is_batched, is_wrapped, unseen, without_graph
from pytest_gradhealth.measure.watching.keras import leaves

__all__ = ["OuterCall", "QuietProbe", "describe_error"]


class OuterCall:
    """A call of a model from outside, in a pass that is measured."""

    def __init__(self, probe: QuietProbe, root: str, view: nn.Module) -> None:
        self._probe, self._root, self._view, self._root_seen = probe, root, view, False
        probe.call_begins()

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
        self._probe.whole_returned(output)


class QuietProbe(Probe):
    """A probe that is told of calls, raises nothing, and is not seen by those who count a test's operations."""

    def __init__(self, model: nn.Module, *, histograms: bool = False) -> None:
        self.problem, self.came, self.muted = "", False, False
        self._recent: list[Seen] = []
        self._met: dict[int, tuple[str, weakref.ref[nn.Parameter]]] = {}
        """Parameters whose gradients will be observed once a backward begins."""
        self._earlier: list[tuple[list[weakref.ref[_Sign]], Samples]] = []
        """Calls from outside that have returned: signs of life of their graphs, and what was sampled."""
        super().__init__(model, histograms=histograms)
        self._names: dict[int, str] = {}
        self.compiled = False

    def observe(self, view: nn.Module, model: nn.Module) -> None:
        """The model is about to be called; it may have got new parts since the last call."""
        self._model = weakref.ref(view)
        named = modules_of(view).items() if view is model else [("", model), *leaves(model)]
        self._names = {id(module): name for name, module in named}

    def known_name_of(self, module: nn.Module) -> str | None:
        """Name of a module of the model; None: it is none of it."""
        return self._names.get(id(module))

    def call_begins(self) -> None:
        """What earlier calls have made may have been thrown away by now, so that no backward will come by there."""
        self._earlier = [(signs, samples) for signs, samples in self._earlier if any(sign() for sign in signs)]
        self._samples = Samples(self._sampled)

    def note(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """One call of a module has returned."""
        self._quietly(self.module_returned, name, module, args, kwargs, output)

    def whole_returned(self, output: Any) -> None:
        """A model, or a part that is called from outside, has given its output."""
        self._quietly(self._note_output, output)

    def _note_output(self, output: Any) -> None:
        outputs = [tensor for tensor in floating(output) if tensor.requires_grad]
        if outputs:
            self._meet_parameters()
            self.paths.returned(outputs)
        nodes = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None]
        signs = [_Sign() for _ in nodes]
        for node, sign in zip(nodes, signs, strict=True):
            node.metadata.setdefault(_Sign, []).append(sign)
        self._earlier.append(([weakref.ref(sign) for sign in signs], self._samples))

    def _meet_parameters(self) -> None:
        """Those that are there by now; ``functional_call`` puts others in their place, and takes them away again."""
        model = self._model()
        for name, parameter in parameters_of(modules_of(model)).items() if model is not None else ():
            key = id(parameter)
            if parameter.requires_grad and key not in self._hooked and key not in self._met and not is_lazy(parameter):
                self._met[key] = name, weakref.ref(parameter)

    def backward_begins(self, outputs: tuple[Any, ...]) -> None:
        """Note which layers lie in front of which, and look out for what the backward will bring."""
        self.came = False
        self._recent.clear()
        with uninterrupted():  # a hook without its handle would stay
            self._quietly(self._look_out, outputs)

    def _look_out(self, outputs: tuple[Any, ...]) -> None:
        for name, reference in self._met.values():
            parameter = reference()
            if parameter is not None:
                self.hook_parameter(name, parameter)
        self._met.clear()
        waiting: dict[int, list[_QuietSeen]] = {}
        for seen in self._seen:
            if isinstance(seen, _QuietSeen) and seen.waits:
                waiting.setdefault(seen.place, []).append(seen)

        def visit(place: int, node: Any) -> None:
            for seen in waiting.pop(place, ()):
                seen.hook(node)

        self.paths.follow(outputs, visit)
        for several in waiting.values():
            for seen in several:
                seen.hook_tensor()

    def gradient_came(self, name: str, collected: Tensor | None, gradient: Tensor) -> None:
        """Note one contribution to a parameter's gradient."""
        if not self.muted and _is_ordinary(gradient):
            self.came = True
            self._quietly(super().gradient_came, name, collected, gradient)

    def forget_modules(self) -> None:
        """Begin again with the modules; gradients of parameters may still come."""
        self._release()
        self._traces, self._seen, self._latest, self._earlier = {}, [], {}, []

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
        offered = [bool(seen.gradients) for trace in traces for seen in trace.outputs if seen.hooked]
        return any(offered) and not all(offered)

    def close(self) -> None:
        """Leave nothing behind."""
        self._quietly(self.unhook_parameters)

    def _entry(self, tensor: Tensor, kind: str) -> Seen:
        return _QuietSeen(tensor, kind, self._samples, self)

    def _collect(self) -> None:
        for _, samples in self._earlier:
            samples.collect()
        super()._collect()

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


class _Sign:
    """Hangs on a node of a graph, and is gone as soon as the node is."""


class _QuietSeen(Seen):
    """What a module returned, by its place in the graph until a backward begins."""

    def __init__(self, tensor: Tensor, kind: str, samples: Samples, probe: QuietProbe) -> None:
        self._probe = weakref.ref(probe)
        self.place, self._number = 0, 0
        super().__init__(tensor, kind, samples)

    def await_gradient(self, tensor: Tensor) -> None:
        self.place, self._number = place_of(tensor), tensor.output_nr

    @property
    def hooked(self) -> bool:
        return self.place != 0

    @property
    def waits(self) -> bool:
        """Whether a gradient may come, and nothing looks out for it yet."""
        return self.place != 0 and self._handle is None

    def hook(self, node: Any) -> None:
        """Look out for it where the tensor came from."""
        self._handle = node.register_prehook(self._gradients_came)

    def hook_tensor(self) -> None:
        """The same for a tensor that came from no node, or from none that was found."""
        tensor = self._tensor()
        if tensor is not None:
            self._handle = tensor.register_hook(self.on_gradient)  # type: ignore[no-untyped-call]

    def release(self) -> None:
        if self._handle is not None:
            self._handle.remove()

    def _gradients_came(self, gradients: tuple[Tensor | None, ...]) -> None:
        self.on_gradient(gradients[self._number])

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
