"""Gradients on their way back through time."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge import explain
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, Signal

__all__ = ["GATED", "forgetful", "forgetting", "forgotten"]

GATED = frozenset({"LSTM", "GRU", "LSTMCell", "GRUCell"})
RECURRENT = GATED | {"RNN", "RNNCell"}
LONG = 100
"""Steps from which a recurrence is judged by what it carries back."""
SHORT = 8
"""Steps from which it is known what one of them carries back."""
FEW = 3
"""Calls from which they are steps: of two the first may have been a look at what comes out."""
SHUT = 0.3
"""What a step carries back at least through gates that stand half open is 0.5; below this they are shut."""


def forgetting(view: View) -> Iterator[Finding]:
    """The gradient does not reach back through time (Bengio et al., 1994): the first steps teach nothing.

    Short sequences are not judged: what they forget, a few updates teach them to keep. Nor are gated cells, unless
    the user sets a limit, or their gates are shut: training opens those that stand half open, and many tasks are
    learnt from the last steps.
    """
    limit = view.limits.min_time_reach
    if limit is None:
        return
    yield from (_shut(signal) for signal in view.leaves if _is_shut(signal))
    for signal in forgetful(view):
        if not _is_shut(signal) and (signal.kind not in GATED or limit != Limits().min_time_reach):
            yield Finding(
                kind="vanishing",
                layers=(signal.name,),
                message=f"over {signal.steps} steps of {signal.name!r} the gradient falls to {signal.time_reach:.1e} "
                f"at the first quarter (limit {limit:.0e})",
                value=signal.time_reach,
                limit=limit,
                limit_name="min_time_reach",
                provisional=True,
                **explain.forgetting(signal),
            )


def forgotten(view: View) -> Iterator[Finding]:
    """What one step hands to the next never reaches the loss, where each step is a call of its own."""
    for layer in view.trained:
        signal, memory = (
            view.signal(layer.name),
            next((name for name in layer.zero_gradients if "weight_hh" in name), ""),
        )
        if layer.kind in RECURRENT and memory and layer.norm and signal is not None and signal.calls >= FEW:
            yield Finding(
                kind="dead",
                layers=(layer.name,),
                message=f"the gradient of {memory} in {layer.name!r} is exactly zero over {signal.calls} steps",
                cause="each step begins from a state of zeros, or only the output of the first one is read",
                remedy="hand the state on (h = cell(x, h)), and read the last output or all of them",
            )


def _is_shut(signal: Signal) -> bool:
    return (
        signal.kind in GATED and signal.steps >= SHORT and signal.step_factor is not None and signal.step_factor < SHUT
    )


def _shut(signal: Signal) -> Finding:
    return Finding(
        kind="vanishing",
        layers=(signal.name,),
        message=f"each of {signal.steps} steps of {signal.name!r} carries {signal.step_factor:.2g} of the "
        f"gradient back, {signal.time_reach:.0e} in all",
        value=signal.time_reach,
        provisional=True,
        cause=f"the gates that keep the memory of this {signal.kind} stand shut (half open ones carry 0.5)",
        remedy="start the bias of the forget (LSTM) or update gate (GRU) at 0 or above",
    )


def forgetful(view: View) -> Iterator[Signal]:
    """Recurrences whose first steps receive less than the limit allows."""
    limit = view.limits.min_time_reach
    for signal in view.leaves:
        if limit is not None and signal.steps >= LONG and signal.time_reach is not None and signal.time_reach < limit:
            yield signal
