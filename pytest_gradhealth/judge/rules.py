"""Record and limits in, findings out: one function a rule, each with the reason for its threshold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge import design, explain, localise
from pytest_gradhealth.judge.limits import Limits
from pytest_gradhealth.judge.view import View, highest
from pytest_gradhealth.record import Finding, GradientRecord, LayerGradient, Signal

__all__ = ["designed", "judge", "remarks"]

WITNESS = 1e-2
"""Reach from which a gradient counts as lost where the forward signal is lost too: half of the way, in decades."""

FOLLOWS = {
    "symmetric": ("dead", "vanishing", "collapse", "faint"),
    "dead": ("vanishing", "collapse", "faint"),
    "vanishing": ("collapse", "faint"),
    "collapse": ("faint",),
    "exploding": ("saturated",),
}
"""What is only the consequence of a graver finding."""
GATED = frozenset({"LSTM", "GRU", "LSTMCell", "GRUCell"})
LONG = 100
"""Steps from which a recurrence is judged by what it carries back."""
SHORT = 8
"""Steps from which it is known what one of them carries back."""
SHUT = 0.3
"""What a step carries back at least through gates that stand half open is 0.5; below this they are shut."""
SEVERAL = 3
"""Activations from which their median tells of the whole stack: one that is saturated the others make up for."""
FADING = frozenset({"vanishing", "collapse", "dead", "faint", "symmetric"})
STEEP = frozenset({"exploding", "saturated", "non-finite"})

NORMAL = 0.03
"""Share of the size that a normalisation should give its output, below which it does not normalise."""

Rule = Callable[[View], Iterator[Finding]]


def judge(record: GradientRecord, limits: Limits) -> tuple[Finding, ...]:
    """Every fact of the record that breaks a limit, the gravest first.

    A finding with ``gate`` set could be explained by a gate that is closed on purpose. It stands only where the
    record's second look, if it has one, still shows it.
    """
    view = View(record, limits)
    findings = _found(view)
    if view.later is None:
        return findings
    later = _found(view.later)
    still = {finding.kind for finding in later}
    confirmed = (_confirmed(f, later) for f in findings if not f.gate or not _family(f.kind).isdisjoint(still))
    return tuple(dict.fromkeys(confirmed))


def _found(view: View) -> tuple[Finding, ...]:
    """A graver fault hides what follows from it: NaN gradients have no size, a vanished signal has no variation."""
    grave = tuple(non_finite(view))
    if grave:
        return grave
    if view.silencing:
        return tuple(finding for rule in UNSILENCED for finding in rule(view))
    forgotten = tuple(forgetting(view))
    found = [finding for rule in RULES for finding in rule(view)]
    if FADING.isdisjoint(finding.kind for finding in found):
        found += starved(view)
    kinds = {finding.kind for finding in found}
    hidden = FADING if forgotten else next((FOLLOWS[kind] for kind in FOLLOWS if kind in kinds), ())
    return (*forgotten, *(finding for finding in found if finding.kind not in hidden))


def _confirmed(finding: Finding, later: Sequence[Finding]) -> Finding:
    """Of dead layers those that are still dead: others only waited for a gate."""
    if finding.kind != "dead":
        return finding
    same = (other for other in later if other.kind == "dead" and other.layer in finding.layers)
    return next(same, next((other for other in later if other.kind == "dead"), finding))


def _family(kind: str) -> frozenset[str]:
    """Kinds that are one fault at different strength: a collapsed signal vanishes after the first steps, and what
    explodes becomes infinite, or saturates.
    """
    return next((family for family in (FADING, STEEP) if kind in family), frozenset({kind}))


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
        *(_memory(signal) for signal in _forgetful(view) if signal.kind in GATED),
    )


def _memory(signal: Signal) -> str:
    return (
        f"over {signal.steps} steps of {signal.name!r} the gradient falls to {signal.carry:.0e} at the first quarter: "
        "what the first steps hold is out of reach until training opens the gates; a forget bias above 0 helps"
    )


def _sameness(view: View) -> tuple[str, ...]:
    samples = not view.samples_differ and (view.record.samples or 0) > 1
    alike = (
        ("samples of the batch", "samples", samples),
        ("positions of the input", "positions", not view.tokens_differ),
    )
    return tuple(
        f"the {given} are all alike: whether the model tells {what} apart was not judged"
        for given, what, so in alike
        if so
    )


def _silence(view: View) -> tuple[str, ...]:
    silencing = view.silencing
    if silencing is None:
        return ()
    return (
        f"the loss does not depend on what {silencing.name!r} ({silencing.kind}) normalises: it is a plain sum or mean "
        "of the output, or the batch has too few values. Gradients in front of it are rounding noise, not judged",
    )


def non_finite(view: View) -> Iterator[Finding]:
    """NaN or infinity in the loss or in any gradient; masked logits alone (minus infinity forward) are no fault."""
    sick = [layer for layer in view.judged if layer.nan or layer.inf]
    loss = view.record.loss
    if not sick and (loss is None or math.isfinite(loss)):
        return
    culprit, where = localise.first_nonfinite(view)
    affected = [layer.name for layer in sick if layer.name != culprit]
    share = f"; {len(sick)} of {len(view.judged)} layers have NaN or infinite gradients" if sick else ""
    yield Finding(
        kind="non-finite",
        layers=(culprit, *affected),
        message=f"{where}{share}",
        value=None if loss is None else loss,
        **explain.non_finite(view, culprit),
    )


def missing(view: View) -> Iterator[Finding]:
    """A trainable parameter that receives no gradient in any batch: cut off, skipped, or never used."""
    lost = [layer for layer in view.judged if layer.missing and not design.reason(view, layer)]
    whole = [layer for layer in lost if layer.norm is None]
    cut = [layer for layer in whole if localise.is_cut(view, layer)]
    cut_off = {layer.name for layer in cut}
    unused = [layer for layer in lost if layer.name not in cut_off]
    if cut:
        culprit = localise.cut_site(view, cut)
        names = [layer.name for layer in cut if layer.name != culprit]
        behind = f"; neither it nor {counted(len(names), 'other layer')} can learn" if names else "; it cannot learn"
        yield Finding(
            kind="missing",
            layers=(culprit, *names),
            message=f"no gradient reaches {culprit or 'the model'!r}{behind}",
            value=float(len(cut)),
            **explain.cut(view, culprit),
        )
    for group in localise.families(unused):
        yield _unused(view, group)


def _unused(view: View, group: Sequence[LayerGradient]) -> Finding:
    first = group[0]
    whole = len(group) > 1 or not localise.is_alive(view, first)
    what = f"{first.name!r}" if whole else f"parameter {first.missing[0]!r} of {first.name or 'the model'!r}"
    more = f" (and {counted(len(group) - 1, 'layer')} with it)" if len(group) > 1 else ""
    return Finding(
        kind="missing",
        layers=tuple(layer.name for layer in group),
        message=f"{what}{more} never receives a gradient",
        **explain.unused(view, first),
    )


def dead(view: View) -> Iterator[Finding]:
    """Layers whose gradient is exactly zero, and layers most of whose units are."""
    silent = [layer for layer in view.trained if layer.norm == 0 and not _is_excused(view, layer)]
    if silent:
        yield _dead_end(view, silent, "exactly zero")
        return
    for layer in _hidden(view.trained):
        allowed = view.limits.of(layer.name).max_dead
        alive = layer.norm and not view.is_given_nothing(layer)  # else it is silent as a whole, or has nothing to show
        if allowed is not None and alive and layer.units and layer.dead > allowed:
            yield Finding(
                kind="dead",
                layers=(layer.name,),
                message=f"{layer.dead:.0%} of the {layer.units} units of {layer.name!r} have zero gradient "
                f"(limit {allowed:.0%})",
                value=layer.dead,
                limit=allowed,
                limit_name="max_dead",
                gate=True,
                **explain.dead_units(view, layer),
            )


def starved(view: View) -> Iterator[Finding]:
    """Layers whose gradient is nothing beside the others', though it fades neither on its way back nor forward."""
    silent = [layer for layer in view.trained if view.is_starved(layer) and not _is_excused(view, layer)]
    if silent:
        yield _dead_end(view, silent, "nothing beside the others'")


def _dead_end(view: View, silent: Sequence[LayerGradient], zero: str) -> Finding:
    culprit = localise.dead_end(view, silent)
    names = [layer.name for layer in silent if layer.name != culprit]
    more = f", and so is that of {counted(len(names), 'other layer')}" if names else ""
    return Finding(
        kind="dead",
        layers=(culprit, *names),
        message=f"the gradient of {culprit!r} is {zero}{more}",
        value=view.record[culprit].norm,
        gate=True,
        **explain.dead_end(view, culprit),
    )


def _is_excused(view: View, layer: LayerGradient) -> bool:
    """By design, or by a batch that is all zeros, or whose positions are all alike: attention has nothing to choose."""
    if design.reason(view, layer):
        return True
    if view.leaves and view.leaves[0].low == view.leaves[0].high == 0:
        return view.is_given_nothing(layer)
    return not view.tokens_differ and bool(view.trained[0].norm)


def _hidden(layers: Sequence[LayerGradient]) -> Sequence[LayerGradient]:
    """All but the last called: a loss may ask for a few outputs only (the action taken, the class sampled)."""
    called = [layer for layer in layers if layer.order is not None]
    return called[:-1]


def vanishing(view: View) -> Iterator[Finding]:
    """The gradient does not arrive in the early part of the network.

    In the ordered phase of a deep network, gradients and the differences between samples die out at the same rate
    per layer (Schoenholz et al., 2017, https://arxiv.org/abs/1611.01232): two witnesses of one fault, so that half
    of the evidence from each is enough.
    """
    limit = view.limits.min_reach
    if limit is None or not view.front or not view.strongest:
        return
    last = view.front[-1]
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
        gate=True,
        **explain.vanishing(view, stretch),
    )


def forgetting(view: View) -> Iterator[Finding]:
    """The gradient does not reach back through time (Bengio et al., 1994): the first steps teach nothing.

    Short sequences are not judged: what they forget, a few updates teach them to keep. Nor are gated cells, unless
    the user sets a limit, or their gates are shut: training opens those that stand half open, and many tasks are
    learnt from the last steps.
    """
    limit = view.limits.min_carry
    if limit is None:
        return
    yield from (_shut(signal) for signal in view.leaves if _is_shut(signal))
    for signal in _forgetful(view):
        if not _is_shut(signal) and (signal.kind not in GATED or limit != Limits().min_carry):
            yield Finding(
                kind="vanishing",
                layers=(signal.name,),
                message=f"over {signal.steps} steps of {signal.name!r} the gradient falls to {signal.carry:.1e} "
                f"at the first quarter (limit {limit:.0e})",
                value=signal.carry,
                limit=limit,
                limit_name="min_carry",
                gate=True,
                **explain.forgetting(signal),
            )


def _is_shut(signal: Signal) -> bool:
    rate = explain.rate_of(signal)
    return signal.kind in GATED and signal.steps >= SHORT and rate is not None and rate < SHUT


def _shut(signal: Signal) -> Finding:
    return Finding(
        kind="vanishing",
        layers=(signal.name,),
        message=f"each of {signal.steps} steps of {signal.name!r} carries {explain.rate_of(signal):.2f} of the "
        f"gradient back, {signal.carry:.0e} in all",
        value=signal.carry,
        gate=True,
        cause=f"the gates that keep the memory of this {signal.kind} stand shut (half open ones carry 0.5)",
        remedy="start the bias of the forget (LSTM) or update gate (GRU) at 0 or above",
    )


def _forgetful(view: View) -> Iterator[Signal]:
    limit = view.limits.min_carry
    for signal in view.leaves:
        if limit is not None and signal.steps >= LONG and signal.carry is not None and signal.carry < limit:
            yield signal


def collapse(view: View) -> Iterator[Finding]:
    """Samples become indistinguishable on the way forward, so that gradients of normal size say nothing."""
    several = (view.record.samples or 0) > 1 and view.samples_differ
    samples = view.variation if several else None
    tokens = highest([signal.tokens for signal in view.back]) if view.tokens_differ else None
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
            gate=True,
            **explain.collapse(view, stretch, what),
        )
        return


def exploding(view: View) -> Iterator[Finding]:
    """The loss is so steep, or the signal so large, that no step size suits."""
    loss, limit = view.loss_scale, view.limits.max_elasticity
    if limit is not None and loss and view.strongest / loss > limit:
        worst = localise.exploding_stretch(view)
        yield Finding(
            kind="exploding",
            layers=tuple(worst),
            message=f"1 % on the weights of {worst[0]!r} changes the loss by {view.strongest / loss:.0e} % "
            f"(limit {limit:.0e})",
            value=view.strongest / loss,
            limit=limit,
            limit_name="max_elasticity",
            gate=True,
            **explain.exploding(view, worst),
        )
        return
    yield from _overgrown(view)


def _overgrown(view: View) -> Iterator[Finding]:
    """The forward side: a homogeneous network hides an explosion from every ratio of gradients."""
    limit = view.limits.max_growth
    sizes = [signal for signal in view.leaves if signal.rms and math.isfinite(signal.rms)]
    body = sizes[:-1]  # a last scaling may be the unit of the target
    if limit is None or len(body) < 2:
        return
    start = max(max(signal.rms for signal in body[: math.ceil(len(body) / 4)]), 1.0)
    largest = max(body, key=lambda signal: signal.rms)
    if largest.rms / start <= limit:
        return
    stretch = localise.growing_stretch(view)
    yield Finding(
        kind="exploding",
        layers=tuple(stretch),
        message=f"the signal grows {largest.rms / start:.0e} times on its way forward (limit {limit:.0e}), "
        f"{localise.span(view, stretch)}",
        value=largest.rms / start,
        limit=limit,
        limit_name="max_growth",
        gate=True,
        **explain.exploding(view, stretch),
    )


def saturated(view: View) -> Iterator[Finding]:
    """Most of what goes through the activations comes to where they have no slope (Glorot & Bengio, 2010)."""
    limit, several = view.limits.max_flat, view.bounded
    if limit is None or len(several) < SEVERAL:
        return
    middle = statistics.median(signal.flat or 0.0 for signal in several)
    if middle <= limit:
        return
    kind = several[0].kind
    yield Finding(
        kind="saturated",
        layers=tuple(localise.saturated_stretch(view)),
        message=f"{middle:.0%} of the outputs of {len(several)} {kind} modules lie where the slope is next to zero "
        f"(median, limit {limit:.0%})",
        value=middle,
        limit=limit,
        limit_name="max_flat",
        gate=True,
        **explain.saturated(view, kind),
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
        gate=True,
        **explain.dim(view, stretch),
    )


def unnormalised(view: View) -> Iterator[Finding]:
    """Normalisations that only scale down, since their ``eps`` outweighs what they are given."""
    sizes = view.normalised
    if len(sizes) < SEVERAL or (middle := statistics.median(sizes.values())) >= NORMAL:
        return
    yield Finding(
        kind="faint",
        layers=tuple(name for name, size in sizes.items() if size < NORMAL),
        message=f"{len(sizes)} normalisations return {middle:.0e} of the size that they should "
        f"(median; at least {NORMAL:.0%})",
        value=middle,
        gate=True,
        cause="what they are given is far smaller than their eps, so that they scale down instead of normalising",
        remedy="lower eps (1e-5 is usual), or make the signal in front of the first of them larger",
    )


def _drowned(view: View) -> Iterator[Finding]:
    """Every gradient is so small that an optimiser's own constants drown it (Kingma & Ba, 2015, section 2)."""
    limit = view.limits.min_gradient
    if limit is None or not 0 < view.densest < limit:
        return
    yield Finding(
        kind="faint",
        layers=(view.trained[-1].name,),
        message=f"no gradient is larger than {view.densest:.0e} an element (limit {limit:.0e})",
        value=view.densest,
        limit=limit,
        limit_name="min_gradient",
        gate=True,
        **explain.drowned(view),
    )


def faint(view: View) -> Iterator[Finding]:
    """Every gradient is tiny beside the loss: changing any layer's weights by 100 % would not be felt."""
    limit, loss = view.limits.min_elasticity, view.loss_scale
    if limit is None or not loss or not view.strongest or view.strongest / loss >= limit:
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
        gate=True,
        **explain.faint(view),
    )


def objective(view: View) -> Iterator[Finding]:
    """What the loss is computed from says that it is not the one that was meant."""
    record = view.record
    last = next((layer.name for layer in reversed(record.layers) if layer.order is not None), "")
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
            remedy="remove the minus; where it is meant, list the layer in ignore=[...]",
        )


def symmetric(view: View) -> Iterator[Finding]:
    """Units that began alike and receive the same gradient stay alike: the layer has one unit, however wide."""
    alike = [layer for layer in _hidden(view.trained) if layer.alike]
    if not alike:
        return
    first = alike[0]
    more = f", and {counted(len(alike) - 1, 'layer')} more" if len(alike) > 1 else ""
    yield Finding(
        kind="symmetric",
        layers=tuple(layer.name for layer in alike),
        message=f"all {first.units} units of {first.name!r} hold the same weights{more}",
        value=float(len(alike)),
        gate=True,
        cause="a constant initialisation: units that start alike receive the same gradient and never differ",
        remedy="initialise with random weights, He (ReLU) or Xavier (tanh) scale",
    )


def bounds(view: View) -> Iterator[Finding]:
    """The user's own limits on gradient norms."""
    for layer in view.trained:
        limits, norm = view.limits.of(layer.name), layer.norm or 0.0
        if limits.min_norm is not None and norm < limits.min_norm:
            yield _bound(layer, norm, limits.min_norm, "min_norm", "vanishing", "below")
        if limits.max_norm is not None and norm > limits.max_norm:
            yield _bound(layer, norm, limits.max_norm, "max_norm", "exploding", "above")


def _bound(layer: LayerGradient, norm: float, limit: float, name: str, kind: str, side: str) -> Finding:
    return Finding(
        kind=kind,
        layers=(layer.name,),
        message=f"gradient norm of {layer.name or '(model)'!r} is {norm:.1e}, {side} {name}={limit:g}",
        value=norm,
        limit=limit,
        limit_name=name,
    )


def ratio(view: View) -> Iterator[Finding]:
    """The user's own bound on strongest over weakest layer."""
    limit = view.limits.max_ratio
    if limit is None or len(view.trained) < 2:
        return
    weakest = min(view.trained, key=lambda layer: layer.norm or 0.0)
    strongest = max(view.trained, key=lambda layer: layer.norm or 0.0)
    low, high = weakest.norm or 0.0, strongest.norm or 0.0
    value = high / low if low else math.inf
    if value > limit:
        yield Finding(
            kind="ratio",
            layers=(weakest.name, strongest.name),
            message=f"gradient norm of {weakest.name!r} is {value:.1e} times smaller than that of "
            f"{strongest.name!r} (max_ratio={limit:g})",
            value=value,
            limit=limit,
            limit_name="max_ratio",
        )


RULES: tuple[Rule, ...] = (
    missing,
    dead,
    vanishing,
    collapse,
    exploding,
    saturated,
    dim,
    unnormalised,
    faint,
    objective,
    symmetric,
    bounds,
    ratio,
)
UNSILENCED: tuple[Rule, ...] = (missing, objective, symmetric, bounds, ratio)
"""Rules for which the size of a gradient in front of a silencing normalisation does not matter."""
