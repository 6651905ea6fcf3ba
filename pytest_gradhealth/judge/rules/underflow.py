"""GH109: a gradient becomes zero in a narrower format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge.families import UNDERFLOW
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import Finding, LayerGradient, Underflow

__all__ = ["RULE", "find"]

MAX_UNDERFLOW = Limit(
    "max_underflow", 0.25, 0, 1, "SHARE", "Largest share of a layer's gradient that becomes zero in another format"
)
RULE = Rule(
    code="GH109",
    slug="underflow",
    title="gradient underflow",
    summary="Much of a layer's gradient becomes zero in the number format that the model is to be trained in.",
    family=UNDERFLOW,
    limits=(MAX_UNDERFLOW,),
    theory="""\
float16 has nothing between zero and 6e-8, where a mean loss of many samples sends many gradients. [Micikevicius et
al. (2018)](https://arxiv.org/abs/1710.03740) report that 31 % of the activation gradients of Multibox SSD became zero
and training diverged, and that a loss scale of 8 cured it. float8 is scaled tensor by tensor, so that the largest
element is the format's ([Micikevicius et al., 2022](https://arxiv.org/abs/2209.05433)); what is lost then is what lies
too far below it.

It is looked for only where formats are asked for: `--gradhealth-formats float16`, `formats=["float8_e4m3fn"]` on the
marker. The share is a forecast from the gradient as it was measured, and counts elements that are not zero already. The
loss scale in the message is the smallest power of two that keeps 99 % of every layer's elements.""",
    remedies=(
        "Scale the loss (`torch.amp.GradScaler`) by the number in the message.",
        "Train in bfloat16, whose range is that of float32.",
        "For gradients in float8 use e5m2, whose range is larger than that of e4m3.",
    ),
)

SHOWN = 0.005
"""Share from which it is worth telling that elements lose digits."""


def find(view: View) -> Iterator[Finding]:
    """For each format the layers that lose more than the limit, the worst first."""
    formats = dict.fromkeys(one.format for layer in view.trained for one in layer.underflow)
    for name in formats:
        forecasts = [(layer, one) for layer in view.trained for one in layer.underflow if one.format == name]
        lost = [(layer, one) for layer, one in forecasts if _is_lost(view, layer, one)]
        if lost:
            yield _finding(view, sorted(lost, key=lambda pair: -pair[1].zero), [one for _, one in forecasts])


def _is_lost(view: View, layer: LayerGradient, forecast: Underflow) -> bool:
    limit = view.limits.of(layer.name).max_underflow
    return limit is not None and forecast.zero > limit


def _finding(view: View, lost: Sequence[tuple[LayerGradient, Underflow]], everyone: Sequence[Underflow]) -> Finding:
    (worst, forecast), limit = lost[0], view.limits.of(lost[0][0].name).max_underflow
    assert limit is not None
    short = f" and {forecast.subnormal:.0%} loses digits" if forecast.subnormal >= SHOWN else ""
    others = f"; {len(lost)} of {counted(len(everyone), 'layer')} lose too much" if len(lost) > 1 else ""
    return RULE.finding(
        [layer.name for layer, _ in lost],
        f"{forecast.zero:.0%} of the gradient of {worst.name or '(model)'!r} becomes zero in {forecast.format} "
        f"({MAX_UNDERFLOW.at(limit)}){short}{others}",
        value=forecast.zero,
        limit=limit,
        limit_name=MAX_UNDERFLOW.name,
        cause=f"its elements are smaller than {forecast.format} can hold"
        + ("" if forecast.loss_scale else ", even scaled by its largest element"),
        remedy=_remedy(everyone),
    )


def _remedy(everyone: Sequence[Underflow]) -> str:
    """The loss scale that helps every layer, where none overflows with it."""
    known = [(one.loss_scale, one.max_loss_scale) for one in everyone]
    scales = [(needed, most) for needed, most in known if needed is not None and most is not None]
    if not scales:
        return "keep this gradient in float8_e5m2 or bfloat16, or scale smaller blocks"
    needed, most = max(needed for needed, _ in scales), min(most for _, most in scales)
    needs, allows = _power(needed), _power(most)
    if needed > most:
        return f"train in bfloat16: a loss scale of {needs} is needed, and above {allows} a gradient overflows"
    scale = f"{needs} (torch.amp.GradScaler; up to {allows} nothing overflows)"
    return f"scale the loss by {scale}, or use bfloat16"


def _power(scale: float) -> str:
    """A power of two as one writes it."""
    return f"{scale:g}" if 1e-3 < scale < 1e5 else f"2**{math.log2(scale):.0f}"
