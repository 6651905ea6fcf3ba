"""Gradients and signals that fade, until they tell nothing any more."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge import explain, localise
from pytest_gradhealth.judge.view import NORMAL, View, highest
from pytest_gradhealth.record import Finding

__all__ = ["collapse", "dim", "faint", "overlooked", "symmetric", "undistinguished", "unnormalised", "vanishing"]

WITNESS = 1e-2
"""Reach from which a gradient counts as lost where the forward signal is lost too: half of the way, in decades."""
SEVERAL = 3
"""Normalisations from which their median tells of the whole network."""
OFFSET = 1e-2
"""Deviation of the input over its size, below which its mean is ten thousand times as steep as its differences."""
OPENED = 10
"""How far above the limit a second look must find what a gate that opens brings: rounding noise comes and goes."""


def vanishing(view: View) -> Iterator[Finding]:
    """The gradient does not arrive in the early part of the network.

    In the ordered phase of a deep network, gradients and the differences between samples die out at the same rate
    per layer (Schoenholz et al., 2017, https://arxiv.org/abs/1611.01232): two witnesses of one fault, so that half
    of the evidence from each is enough.
    """
    limit = view.limits.min_reach
    if limit is None or not view.front or not view.strongest:
        return
    last = max(view.front, key=lambda layer: layer.reach)
    variation = view.variation
    constant = view.samples_differ and variation is not None and variation < (view.limits.min_variation or 0.0)
    if last.reach >= limit and not (constant and last.reach < WITNESS):
        return
    stretch = localise.vanishing_stretch(view)
    if last.reach >= limit:
        message = f"reach is {last.reach:.1e} up to {last.name!r}, and samples differ by {variation:.1e} at the output"
    else:
        message = f"reach is {last.reach:.1e} up to {last.name!r} (limit {limit:.0e})"
    yield Finding(
        kind="vanishing",
        layers=tuple(stretch),
        message=f"{message}, lost {localise.span(view, stretch)}",
        value=last.reach,
        limit=limit,
        limit_name="min_reach",
        provisional=True,
        **explain.vanishing(view, stretch),
    )


def overlooked(view: View) -> Iterator[Finding]:
    """What stands late in a sequence does not count, although the loss looks at what comes out there.

    Causal attention mixes each position with all before it. Without skip connections positions converge to the first
    (Wu et al., 2024, https://arxiv.org/abs/2405.18781), which alone stays apart: the others learn nothing of their own.
    """
    limit = view.limits.min_reach
    sequence = [signal for signal in view.leaves if signal.position_reach is not None]
    if limit is None or not sequence:
        return
    last, front = sequence[-1], {layer.name for layer in view.front}
    known = [s.position_reach for s in sequence if s.name in front and s.positions == last.positions]
    late = highest(known)
    clear = OPENED if view.record.steps else 1
    if late is None or not 0 < late < limit * clear * min(last.position_reach or 0.0, 1.0):
        return
    stretch = localise.overlooking_stretch(view)
    yield Finding(
        kind="vanishing",
        layers=tuple(stretch),
        message=f"the last quarter of {last.positions} positions counts {late:.1e} of what the first does "
        f"(limit {limit:.0e}), lost {localise.span(view, stretch)}",
        value=late,
        limit=limit,
        limit_name="min_reach",
        provisional=True,
        **explain.overlooked(view, stretch),
    )


def collapse(view: View) -> Iterator[Finding]:
    """Samples become indistinguishable on the way forward, so that gradients of normal size say nothing."""
    several = (view.record.samples or 0) > 1 and view.samples_differ
    samples = view.variation if several else None
    stream = [
        signal.token_variation for signal in view.back if view.layer(signal.name)
    ]  # and not a map of attention weights
    tokens = highest(stream) if view.tokens_differ else None
    for name, what, variation in (("min_variation", "samples", samples), ("min_token_variation", "tokens", tokens)):
        limit = getattr(view.limits, name)
        if limit is None or variation is None or variation >= limit:
            continue
        stretch = localise.collapse_stretch(view, what)
        yield Finding(
            kind="collapse",
            layers=tuple(stretch),
            message=f"{what} differ by {variation:.1e} of the signal at the output (limit {limit:.0e}), "
            f"lost {localise.span(view, stretch)}",
            value=variation,
            limit=limit,
            limit_name=name,
            provisional=True,
            **explain.collapse(view, stretch, what),
        )
        return


def undistinguished(view: View) -> Iterator[Finding]:
    """What the model is given is nearly a constant, and so is what it makes of it.

    A mean of m deviations makes the loss m^2 times as steep in one direction as in the others, and the step that it
    allows as much too small for those (LeCun et al., 1998, section 4.3). A normalisation over the batch takes it away.
    """
    given = [signal.input_variation for signal in view.entries if signal.input_variation is not None]
    variation = view.variation
    if not given or variation is None or not view.samples_differ or (view.record.samples or 0) < 2:
        return
    if max(given) >= OFFSET or variation >= OFFSET * OPENED:
        return
    yield Finding(
        kind="collapse",
        layers=(view.entries[0].name,),
        message=f"samples differ by {max(given):.1e} of what the model is given (at least {OFFSET:.0e}), "
        f"and by {variation:.1e} at the output",
        value=max(given),
        provisional=True,
        cause="the input is nearly a constant: scaled twice, or far from zero",
        remedy="subtract its mean and divide by its deviation, once",
    )


def dim(view: View) -> Iterator[Finding]:
    """The signal dies out on its way forward, so that outputs of order one are out of reach."""
    limit = view.limits.min_amplitude
    amplitude = highest([signal.amplitude for signal in view.back])
    if limit is None or (view.record.samples or 0) < 2 or amplitude is None or amplitude >= limit:
        return
    if not view.samples_differ:
        return
    stretch = localise.dimming_stretch(view)
    yield Finding(
        kind="faint",
        layers=tuple(stretch),
        message=f"what differs between samples arrives at the output with {amplitude:.1e} (limit {limit:.0e}), "
        f"lost {localise.span(view, stretch)}",
        value=amplitude,
        limit=limit,
        limit_name="min_amplitude",
        provisional=True,
        **explain.dim(view, stretch),
    )


def unnormalised(view: View) -> Iterator[Finding]:
    """Normalisations that only scale down, since their ``eps`` outweighs what they are given."""
    sizes = view.normalised
    if len(sizes) < SEVERAL or (middle := statistics.median(sizes.values())) >= NORMAL:
        return
    yield Finding(
        kind="faint",
        layers=tuple(view.unnormalised),
        message=f"{len(sizes)} normalisations return {middle:.0e} of the size that they should "
        f"(median; at least {NORMAL:.0%})",
        value=middle,
        provisional=True,
        cause="what they are given is far smaller than their eps, so that they scale down instead of normalising",
        remedy="lower eps (1e-5 is usual), or make the signal in front of the first of them larger",
    )


def faint(view: View) -> Iterator[Finding]:
    """Every gradient is tiny beside the loss: changing any layer's weights by 100 % would not be felt.

    A single layer begins anywhere: whatever its weights are beside the targets, one large step finds them.
    """
    limit, loss = view.limits.min_elasticity, view.loss_scale
    clear = OPENED if view.record.steps else 1
    several = len(view.called) > 1
    if limit is None or not (several and loss and view.strongest) or view.strongest / loss >= limit * clear:
        yield from _drowned(view)
        return
    strongest = max(view.trained, key=lambda layer: layer.sensitivity)
    yield Finding(
        kind="faint",
        layers=(strongest.name,),
        message=f"doubling the weights of {strongest.name!r}, the strongest layer, would change the loss by "
        f"{view.strongest / loss:.1e} of itself (limit {limit:.0e})",
        value=view.strongest / loss,
        limit=limit,
        limit_name="min_elasticity",
        provisional=True,
        **explain.faint(view),
    )


def _drowned(view: View) -> Iterator[Finding]:
    """Every gradient is so small that an optimiser's own constants drown it (Kingma & Ba, 2015, section 2)."""
    limit = view.limits.min_gradient_rms
    if limit is None or view.record.loss is None or not 0 < view.densest < limit:
        return
    yield Finding(
        kind="faint",
        layers=(view.trained[-1].name,),
        message=f"no gradient is larger than {view.densest:.0e} an element (limit {limit:.0e})",
        value=view.densest,
        limit=limit,
        limit_name="min_gradient_rms",
        provisional=True,
        **explain.drowned(view),
    )


def symmetric(view: View) -> Iterator[Finding]:
    """Units that began alike and receive the same gradient stay alike: the layer has one unit, however wide."""
    alike = [layer for layer in view.hidden if layer.identical_units]
    if not alike:
        return
    first = alike[0]
    more = f", and {counted(len(alike) - 1, 'layer')} more" if len(alike) > 1 else ""
    yield Finding(
        kind="symmetric",
        layers=tuple(layer.name for layer in alike),
        message=f"all {first.units} units of {first.name!r} hold the same weights{more}",
        value=float(len(alike)),
        provisional=True,
        cause="a constant initialisation: units that start alike receive the same gradient and never differ",
        remedy="initialise with random weights, He (ReLU) or Xavier (tanh) scale",
    )
