"""What a reader should know of a record beside its findings."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge import design
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.recurrence import GATED, forgetful
from pytest_gradhealth.judge.rules.lost_update import LOST
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import GradientRecord, Signal

__all__ = ["designed", "remarks"]


def designed(record: GradientRecord, limits: Limits) -> dict[str, str]:
    """Layers whose odd numbers are healthy by design, with the reason."""
    view = View(record, limits)
    return {layer.name: reason for layer in record if (reason := design.reason(view, layer))}


def remarks(record: GradientRecord, limits: Limits) -> tuple[str, ...]:
    """What a reader should know of a record beside its findings."""
    view = View(record, limits)
    return (
        *_silence(view),
        *_sameness(view),
        *_lost_updates(view),
        *(_memory(signal) for signal in forgetful(view) if signal.kind in GATED),
    )


def _lost_updates(view: View) -> Iterator[str]:
    """Formats that weights cannot be kept in: most layers would lose most of their updates.

    Nobody keeps them in float8: they are cast to it for each product.
    """
    forecasts = [(layer.name, one) for layer in view.trained for one in layer.underflow if one.lost_update is not None]
    forms = dict.fromkeys(one.format for _, one in forecasts if not one.format.startswith("float8"))
    for form in (one for one in forms if one != view.record.precision):
        shares = {name: one.lost_update or 0.0 for name, one in forecasts if one.format == form}
        lost = [name for name, share in shares.items() if share > LOST]
        if 2 * len(lost) > len(shares):
            worst = max(lost, key=shares.__getitem__)
            yield (
                f"weights kept in {form} would lose most updates of {len(lost)} of {counted(len(shares), 'layer')} "
                f"({shares[worst]:.0%} in {worst or '(model)'!r}): keep them in float32, as autocast does"
            )


def _memory(signal: Signal) -> str:
    return (
        f"over {signal.steps} steps of {signal.name!r} the gradient falls to {signal.time_reach:.0e} at the first "
        "quarter: the model cannot learn from the first steps until training opens the gates; a forget bias above 0 "
        "helps"
    )


def _sameness(view: View) -> Iterator[str]:
    if view.targets_are_constant:
        yield "all targets are the same: the last bias learns them alone. What fades was not judged"
    if not view.samples_differ and (view.record.samples or 0) > 1:
        yield "all samples of the batch are equal: whether the model tells samples apart is not judged"
    if not view.tokens_differ:
        yield "all positions of the input are equal: whether the model tells positions apart is not judged"


def _silence(view: View) -> tuple[str, ...]:
    silencing = view.silencing
    if silencing is None:
        return ()
    return (
        f"the loss does not depend on what {silencing.name!r} ({silencing.kind}) normalises: it is a plain sum or mean "
        "of the output, or the batch has too few values. The gradients in front of it are rounding noise and are not "
        "judged",
    )
