"""A loss that is not the one that was meant, or that asks for what the model cannot give."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, LossGraph

__all__ = ["objective", "single"]

SUM = 1.5
"""What probabilities may add up to: 1, but for the rounding of half precision."""
ROUNDING = 1e-3
"""What a probability in half precision may lie outside 0 to 1."""
OUT_OF_REACH = 0.8
"""Share of the best constant's loss from which what is left is not worth learning."""


def objective(view: View) -> Iterator[Finding]:
    """What the loss is computed from says that it is not the one that was meant."""
    for rule in (_crossed, _raised, _bare, _across, _improbable, _beyond, _out_of_reach):
        yield from _of(view, rule)


def single(view: View) -> Iterator[Finding]:
    """A loss that is zero whatever the model says, and with it every gradient."""
    yield from _of(view, _single)


def _of(view: View, rule: Callable[[LossGraph, str], Iterator[Finding]]) -> Iterator[Finding]:
    last = view.called[-1].name if view.called else ""
    if view.record.loss_graph is not None and view.limits.judges(last):
        yield from rule(view.record.loss_graph, last)


def _wrong(last: str, message: str, cause: str, remedy: str, value: float | None = None) -> Finding:
    """The objective is wrong at the last layer, whose outputs the loss is given."""
    return Finding(kind="objective", layers=(last,), message=message, cause=cause, remedy=remedy, value=value)


def _crossed(seen: LossGraph, last: str) -> Iterator[Finding]:
    if seen.broadcast:
        yield _wrong(
            last,
            message=f"each of {seen.broadcast} outputs is compared with each of {seen.broadcast} targets",
            cause="outputs of shape (n, 1) and targets of shape (n,), or the reverse, broadcast to (n, n)",
            remedy="give both the same shape: output.squeeze(1), or target.unsqueeze(1)",
        )


def _raised(seen: LossGraph, last: str) -> Iterator[Finding]:
    if seen.maximised:
        yield _wrong(
            last,
            message=f"training makes {seen.maximised} larger",
            cause="it enters the loss with a negative sign",
            remedy=f"remove the minus; where it is meant, say ignore=[{last!r}]",
        )


def _bare(seen: LossGraph, last: str) -> Iterator[Finding]:
    if seen.unbounded:
        yield _wrong(
            last,
            message="the loss is the bare difference between outputs and targets",
            cause="it falls without end as the outputs fall, whatever the targets are",
            remedy="square it or take its absolute value, sample by sample: mse_loss, l1_loss",
        )
    if seen.signed_mean:
        yield _wrong(
            last,
            message="differences between outputs and targets are averaged before they are squared",
            cause="errors of either sign cancel: the mean of the outputs is all that is learnt",
            remedy="square first: (output - target).square().mean()",
        )


def _single(seen: LossGraph, last: str) -> Iterator[Finding]:
    if seen.classes == 1:
        yield _wrong(
            last,
            message="the cross entropy is over a single class: it is 0, whatever the model says",
            cause="a softmax over one number is 1",
            remedy="use binary_cross_entropy_with_logits for one output, or give the model an output for each class",
        )


def _across(seen: LossGraph, last: str) -> Iterator[Finding]:
    if seen.wrong_dim:
        yield _wrong(
            last,
            message="log_softmax runs over another dimension than nll_loss looks for the classes in",
            cause="what adds up to 1 are not the probabilities of a sample, but those of a class over the batch",
            remedy="use log_softmax(dim=1): dimension 1 holds the classes",
        )


def _improbable(seen: LossGraph, last: str) -> Iterator[Finding]:
    """Raw scores in the place of log-probabilities: the loss falls without end as they all grow."""
    if seen.probability_sum is not None and seen.probability_sum > SUM:
        yield _wrong(
            last,
            message=f"nll_loss is given numbers whose exponentials add up to {seen.probability_sum:.3g}, and not to 1",
            value=seen.probability_sum,
            cause="it expects log-probabilities, and was given raw scores or probabilities",
            remedy="use cross_entropy on the raw scores, or put log_softmax(dim=1) behind them",
        )


def _beyond(seen: LossGraph, last: str) -> Iterator[Finding]:
    """Targets that are no probabilities: the loss falls without end as the outputs grow."""
    if seen.target_excess > ROUNDING:
        yield _wrong(
            last,
            message=f"the targets of a binary cross entropy lie up to {seen.target_excess:.3g} outside 0 to 1",
            value=seen.target_excess,
            cause="it expects probabilities; pixels of 0 to 255 or labels of -1 and 1 have no least loss",
            remedy="scale the targets to 0..1, or use a loss for numbers of any size",
        )


def _out_of_reach(seen: LossGraph, last: str) -> Iterator[Finding]:
    """Targets beyond what the function at the end of the model can give, or a loss that applies it once more."""
    if seen.unreachable > OUT_OF_REACH:
        yield _wrong(
            last,
            message=f"behind the {seen.output_bound} at the end of the model, {min(seen.unreachable, 1):.0%} of a "
            "constant guess's loss are out of reach",
            value=seen.unreachable,
            cause=f"what {seen.output_bound} gives never comes near what the loss asks for",
            remedy=f"remove {seen.output_bound} (a cross entropy applies its own), or scale the targets into its range",
        )
