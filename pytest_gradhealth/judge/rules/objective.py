"""A loss that is not the one that was meant."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding

__all__ = ["objective"]


def objective(view: View) -> Iterator[Finding]:
    """What the loss is computed from says that it is not the one that was meant."""
    record = view.record
    last = view.called[-1].name if view.called else ""
    if not view.limits.judges(last):
        return
    if record.crossed:
        yield Finding(
            kind="objective",
            layers=(last,),
            message=f"each of {record.crossed} outputs is compared with each of {record.crossed} targets",
            cause="outputs of shape (n, 1) and targets of shape (n,), or the reverse, broadcast to (n, n)",
            remedy="give both the same shape: output.squeeze(1), or target.unsqueeze(1)",
        )
    if record.raised:
        yield Finding(
            kind="objective",
            layers=(last,),
            message=f"training makes {record.raised} larger",
            cause="it enters the loss with a negative sign",
            remedy=f"remove the minus; where it is meant, say ignore=[{last!r}]",
        )
