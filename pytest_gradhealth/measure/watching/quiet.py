"""A probe for tests that train by themselves: it raises nothing, and is not seen by those who count operations.

Most forward calls of a suite are never sent back. So a call is only noted: small samples of what the modules return,
and where in the graph that stands. Hooks are set once a backward begins, and nothing that a call made is kept alive.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from pytest_gradhealth.measure.passes import statistics
from pytest_gradhealth.measure.passes.interrupts import uninterrupted
from pytest_gradhealth.measure.passes.nesting import floating
from pytest_gradhealth.measure.passes.paths import leaves_behind, place_of
from pytest_gradhealth.measure.passes.probe import Probe, batched, layout_of
from pytest_gradhealth.measure.passes.sampling import Samples
from pytest_gradhealth.measure.passes.seen import Seen
from pytest_gradhealth.measure.passes.source import class_of
from pytest_gradhealth.measure.passes.structure import modules_of, parameters_of
from pytest_gradhealth.measure.passes.traces import ModuleTrace
from pytest_gradhealth.measure.torch_private import counts_operations, is_batched, is_wrapped, unseen, without_graph
from pytest_gradhealth.measure.watching.calls import Call, Met, Note
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
        self.problem, self.came, self.muted, self.passed_over = "", False, False, False
        self._recent: list[Seen] = []
        self._met: dict[int, tuple[str, weakref.ref[nn.Parameter]]] = {}
        """Parameters whose gradients will be observed once a backward begins."""
        self._calls: list[Call] = []
        """Calls from outside, the latest last, of which no backward has come yet."""
        self._told: list[Samples] = []
        super().__init__(model, histograms=histograms)
        self._arrived = weakref.WeakMethod(self.signal_came)
        self._names: dict[int, str] = {}
        self._may_rename = self.compiled = False

    def observe(self, view: nn.Module, model: nn.Module) -> None:
        """The model is about to be called. ``view`` is what stands in for it, or itself."""
        self._model, self._may_rename = weakref.ref(view), view is model
        if not self._names:
            self._name_modules(view, model)

    def _name_modules(self, view: nn.Module, model: nn.Module) -> None:
        named = modules_of(model).items() if view is model else [("", model), *leaves(model)]
        self._names = {id(module): name for name, module in named}

    def known_name_of(self, module: nn.Module) -> str | None:
        """Name of a module of the model, which may have got new parts meanwhile; None: it is none of it."""
        name = self._names.get(id(module))
        model = self._model() if name is None and self._may_rename else None
        if model is not None:
            self._may_rename = False
            self._name_modules(model, model)
            name = self._names.get(id(module))
        return name

    def all_is_gone(self) -> bool:
        """Whether all that the calls so far have made was thrown away, as a test does that sends nothing back."""
        return bool(self._calls) and all(call.is_gone() for call in self._calls)

    def call_begins(self) -> None:
        """What earlier calls have made may have been thrown away by now."""
        for call in self._calls:
            call.strip()
        self._calls.append(Call(Samples(self._sampled), self._reductions))

    def note(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """One call of a module has returned."""
        self._quietly(self._note_call, name, module, args, kwargs, output)

    def _note_call(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        call, kind = self._calls[-1], class_of(module).__name__
        if call.is_counted_only(name):
            return
        inputs = floating(args[0] if len(args) == 1 and not kwargs else (args, kwargs))
        outputs = floating(output)
        given = inputs[:1] if inputs or name else [*islice(batched(args, kwargs), 1)]
        attached = any(map(_has_graph, outputs))
        call.add(
            Note(
                name,
                kind,
                float(module.p) if isinstance(module, _DropoutNd) and module.training else 0.0,
                [call.meet(tensor, "", self._arrived) for tensor in given],
                any(map(_has_graph, inputs)) if inputs else None,
                [call.meet(tensor, kind, self._arrived) for tensor in outputs],
                attached,
                [place_of(tensor) for tensor in inputs if tensor.requires_grad]
                if attached and module._parameters
                else None,
                layout_of(module, args),
            )
        )

    def whole_returned(self, output: Any) -> None:
        """A model, or a part that is called from outside, has given its output."""
        self._quietly(self._note_output, output)

    def _note_output(self, output: Any) -> None:
        outputs = [tensor for tensor in floating(output) if tensor.requires_grad]
        if outputs:
            self._meet_parameters()
            self.paths.returned(outputs)
            self._calls[-1].returned(outputs)

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
        if not self.passed_over:
            with uninterrupted():  # a hook without its handle would stay
                self._quietly(self._look_out, outputs)

    def _look_out(self, outputs: tuple[Any, ...]) -> None:
        for name, reference in self._met.values():
            parameter = reference()
            if parameter is not None:
                self.hook_parameter(name, parameter)
        self._met.clear()
        self._tell_calls()
        waiting: dict[int, list[Met]] = {}
        for met in self._seen:
            if isinstance(met, Met) and met.waits:
                waiting.setdefault(met.place, []).append(met)

        def visit(place: int, node: Any) -> None:
            for met in waiting.pop(place, ()):
                met.hook(node)

        self.paths.follow(outputs, visit)
        for met in (met for several in waiting.values() for met in several):
            met.hook_tensor()

    def _tell_calls(self) -> None:
        """What was noted counts from now on."""
        for call in self._calls:
            call.strip()
            for met in call.met:
                met.begin()
                self._seen.append(met)
            for note in call.notes:
                self._tell(note)
            self._told.append(call.samples)
        self._calls.clear()

    def _tell(self, note: Note) -> None:
        trace = self._traces.setdefault(note.name, ModuleTrace(note.kind, len(self._traces)))
        trace.dropped, trace.calls, trace.layout = note.dropped, trace.calls + note.calls, note.layout
        trace.attached = trace.attached or note.attached
        if note.fed is not None:
            trace.fed = bool(trace.fed) or note.fed
        if note.places is not None:
            self.paths.called(note.name, note.places)
        trace.inputs += note.given
        trace.outputs += note.returned
        trace.size = max([trace.size, *(met.size for met in note.returned)])
        trace.positions = max([0, *(met.positions for met in note.returned)])
        if note.returned and statistics.has_slope(note.kind):
            trace.saturating.append(note.returned[0])

    def gradient_came(self, name: str, collected: Tensor | None, gradient: Tensor) -> None:
        """Note one contribution to a parameter's gradient."""
        if not self.muted and _is_ordinary(gradient):
            self.came = True
            self._quietly(super().gradient_came, name, collected, gradient)

    def forget_modules(self) -> None:
        """Begin again with the modules; gradients of parameters may still come."""
        self._release()
        self._traces, self._seen = {}, []
        self._calls.clear()
        self._told.clear()

    def back_to_mark(self) -> None:
        """Forget the gradients of one backward."""
        for seen in self._recent:
            seen.forget_last()
        self._recent.clear()

    def signal_came(self, seen: Seen, gradient: Tensor | None) -> None:
        """A gradient came to what a module has returned."""
        ignored = self.muted or self.passed_over
        if not ignored and _is_ordinary(gradient) and self._quietly(Seen.on_gradient, seen, gradient):
            self._recent.append(seen)

    def offers_more(self, roots: dict[str, bool]) -> bool:
        """Whether the model returned values of which this backward used some only."""
        offered = [bool(seen.came) for seen in self._offered(roots)]
        return any(offered) and not all(offered)

    def fed_elsewhere(self, roots: dict[str, bool]) -> set[str]:
        """Parameters that a value depends on which this backward did not use, such as the state of a cell.

        What a value that is gone depended on is not known: it may be each that the called module holds itself.
        """
        model = self._model()
        left = [seen.tensor for seen in self._offered(roots) if not seen.came]
        places = leaves_behind(tensor for tensor in left if tensor is not None)
        gone = any(tensor is None for tensor in left)
        held = parameters_of(modules_of(model)).items() if model is not None else ()
        return {
            name
            for name, parameter in held
            if place_of(parameter) in places or (gone and name.rpartition(".")[0] in roots)
        }

    def _offered(self, roots: dict[str, bool]) -> list[Seen]:
        traces = [self._traces[root] for root in roots if root in self._traces]
        return [seen for trace in traces for seen in trace.outputs if seen.hooked]

    def close(self) -> None:
        """Leave nothing behind, whatever went wrong."""
        with suppress(Exception):  # of a tensor of a kind not thought of
            self.unhook_parameters()

    def _collect(self) -> None:
        for samples in self._told:
            samples.collect()

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


def _has_graph(tensor: Tensor) -> bool:
    return tensor.requires_grad


def _is_ordinary(gradient: Tensor | None) -> bool:
    """False for many backward passes at once (``is_grads_batched``), and where torch tests a function with None."""
    return gradient is not None and not is_wrapped(gradient) and not is_batched(gradient)


def describe_error(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
