"""Exactly at a number, just beyond it, and each of several conditions alone: records made by hand, rule by rule.

``test_edges.py`` asks the same of what was measured of the rules' own networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from records import changed, found, layer, record, signal
from test_edges import use

from pytest_gradhealth import Limits
from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.design import is_last_alone
from pytest_gradhealth.judge.evidence import circumstances
from pytest_gradhealth.judge.passes import verdict
from pytest_gradhealth.judge.remarks import designed, remarks
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import (
    CustomFunction,
    Finding,
    GradientRecord,
    LayerGradient,
    LossGraph,
    ModelInput,
    Operation,
    Signal,
    Underflow,
    UnregisteredParameter,
)


def has(slug: str, given: GradientRecord, **limits: Any) -> bool:
    return slug in {finding.kind for finding in found(given, **limits)}


def ending(number: int = 2, first: dict[str, Any] | None = None, **fields: Any) -> GradientRecord:
    """A record whose last modules have these values, and the first of all some of its own."""
    signals = [signal(i, **(fields if i >= 8 - number else (first or {}) if i == 0 else {})) for i in range(8)]
    return record(signals=tuple(signals))


def pixels(shape: tuple[int, ...], peak: float = 255.0) -> GradientRecord:
    given = ModelInput(name="0", shape=shape, high=255.0, whole=True)
    return record(inputs=(given,), signals=(signal(0, input_max=peak), *(signal(i) for i in range(1, 8))))


def fading(reach: float, **fields: Any) -> GradientRecord:
    return record([layer(i, reach=reach if i < 7 else 1.0) for i in range(8)], **fields)


def position(front: float | None, last: float | None = 1.0, steps: int = 0) -> GradientRecord:
    values = [front, front, *[1.0] * 5, last]
    return record(signals=tuple(signal(i, positions=9, position_reach=x) for i, x in enumerate(values)), steps=steps)


def tokens(first: float, last: float) -> GradientRecord:
    signals = [signal(i, token_variation=first if i == 0 else last if i > 5 else 0.5) for i in range(8)]
    return record(signals=tuple(signals))


def steep(strongest: float, **fields: Any) -> GradientRecord:
    return record([layer(i, sensitivity=strongest if i == 5 else 0.0) for i in range(8)], loss=2.0, **fields)


def lossy(**fields: Any) -> GradientRecord:
    return record(loss_graph=LossGraph(output_bound="tanh", **fields))


def recurrent(kind: str, steps: int, reach: float | None) -> GradientRecord:
    return record(
        [layer(0), layer(1)], signals=(signal(0), replace(signal(1), kind=kind, steps=steps, time_reach=reach))
    )


def nearly_constant(given: float | None, left: float, samples: int | None = 8) -> GradientRecord:
    signals = [signal(i, input_variation=given, sample_variation=left, input_attached=bool(i)) for i in range(8)]
    return record(signals=tuple(signals), samples=samples)


def normalising(size: float, number: int = 3) -> GradientRecord:
    norms = [replace(signal(i, rms=size), kind="LayerNorm", name=f"norm{i}") for i in range(number)]
    return record(signals=(*(signal(i) for i in range(3)), *norms))


def derived(backward: float, precision: str = "float64") -> GradientRecord:
    return record(custom_functions=(CustomFunction(name="F", forward=1.0, backward=backward, precision=precision),))


def feature(scale: float, peak: float) -> GradientRecord:
    given = ModelInput(name="0", shape=(8, 5), high=peak, feature=3, feature_scale=scale)
    return record(inputs=(given,), signals=(signal(0, input_max=peak), *(signal(i) for i in range(1, 8))))


SMALL = {"sample_variation": 0.99e-3}
LIMITS: list[tuple[str, GradientRecord, bool]] = [
    ("collapsed-positions", tokens(0.5, 1e-5), False),
    ("collapsed-positions", tokens(0.5, 0.99e-5), True),
    ("collapsed-positions", tokens(1e-6, 0.99e-5), True),
    ("collapsed-positions", tokens(0.99e-6, 0.99e-6), False),  # they were alike from the start
    ("collapsed-samples", ending(sample_variation=1e-3), False),
    ("collapsed-samples", ending(**SMALL), True),
    ("collapsed-samples", ending(1, **SMALL), False),  # the last alone may be constant by design
    ("collapsed-samples", replace(ending(**SMALL), samples=1), False),
    ("collapsed-samples", replace(ending(**SMALL), samples=2), True),
    ("collapsed-samples", replace(ending(**SMALL), samples=None), False),
    ("collapsed-samples", ending(8, **SMALL, input_variation=0.9e-6), False),
    ("fading-signal", ending(rms=1e-4, sample_variation=1.0), False),
    ("fading-signal", ending(rms=0.99e-4, sample_variation=1.0), True),
    ("fading-signal", replace(ending(rms=0.99e-4, sample_variation=1.0), samples=1), False),
    ("fading-signal", ending(8, rms=0.99e-4, sample_variation=1.0, input_variation=0.9e-6), False),
    ("vanishing-gradient", fading(1e-4), False),
    ("vanishing-gradient", fading(0.99e-4), True),
    ("insensitive-loss", steep(2e-5), False),
    ("insensitive-loss", steep(1.99e-5), True),
    ("insensitive-loss", steep(1.99e-4, steps=1), True),
    ("insensitive-loss", steep(2e-4, steps=1), False),
    ("insensitive-loss", steep(0.0), False),
    ("vanishing-over-positions", position(1e-4), False),
    ("vanishing-over-positions", position(0.99e-4), True),
    ("vanishing-over-positions", position(0.0), False),
    ("vanishing-over-positions", position(0.49e-4, 0.5), True),  # the loss itself looks less at the last
    ("vanishing-over-positions", position(0.5e-4, 0.5), False),
    ("vanishing-over-positions", position(0.99e-4, 2.0), True),
    ("vanishing-over-positions", position(1e-4, 2.0), False),
    ("vanishing-over-positions", position(1e-30, 0.0), False),
    ("unscaled-input", pixels((8, 256)), True),
    ("unscaled-input", pixels((8, 255)), False),
    ("unscaled-input", pixels((8, 16, 16)), False),
    ("unscaled-input", pixels((8, 3, 16, 16)), True),
    ("unscaled-input", pixels((8, 256), 127.5), True),
    ("unscaled-input", pixels((8, 256), 127.4), False),  # the model scales it by itself
    ("large-initial-loss", record(loss_graph=LossGraph(initial_loss=30.0)), False),
    ("large-initial-loss", record(loss_graph=LossGraph(initial_loss=30.1)), True),
    ("large-outputs", record(loss_graph=LossGraph(output_scale=30.0)), False),
    ("large-outputs", record(loss_graph=LossGraph(output_scale=30.1)), True),
    ("excessive-dropout", record(signals=(signal(0, dropout=0.9),)), False),
    ("excessive-dropout", record(signals=(signal(0, dropout=0.91),)), True),
    ("excessive-dropout", record(signals=(signal(0, dropout=1.0),)), False),
    ("saturated-activations", record(signals=tuple(replace(signal(i, saturation=0.65), kind="Tanh") for i in range(3))), False),
    ("saturated-activations", record(signals=tuple(replace(signal(i, saturation=0.66), kind="Tanh") for i in range(3))), True),
    ("saturated-activations", record(signals=tuple(replace(signal(i, saturation=0.66), kind="Tanh") for i in range(2))), False),
    ("dead-units", record(changed(3, dead=0.9)), False),
    ("dead-units", record(changed(3, dead=0.91)), True),
    ("dead-units", record(changed(3, dead=0.6, dead_by_bias=0.5)), False),
    ("dead-units", record(changed(3, dead=0.6, dead_by_bias=0.51)), True),
    ("dead-units", record(changed(3, dead=0.5, dead_by_bias=0.51)), False),
    ("dead-units", record(changed(7, dead=1.0)), False),  # a loss may ask for a few outputs only
    ("negligible-gradients", record([layer(i, norm=1e-12 * 600**0.5) for i in range(8)]), True),
    ("negligible-gradients", record([layer(i, norm=1.01e-11 * 600**0.5) for i in range(8)]), False),
    ("mixed-samples", record(sample_mixing=0.0), True),
    ("unreachable-targets", lossy(unreachable=0.4), False),
    ("unreachable-targets", lossy(unreachable=0.41), True),
    ("clamped-probabilities", lossy(clamped=0.5), False),
    ("clamped-probabilities", lossy(clamped=0.51), True),
    ("ignored-targets", lossy(ignored_targets=0.99), False),
    ("ignored-targets", lossy(ignored_targets=1.0), True),
    ("scores-as-log-probabilities", lossy(probability_sum=1.5), False),
    ("scores-as-log-probabilities", lossy(probability_sum=1.51), True),
    ("targets-out-of-range", lossy(target_excess=1e-3), False),
    ("targets-out-of-range", lossy(target_excess=1.1e-3), True),
    ("single-class", lossy(classes=2), False),
    ("single-class", lossy(classes=1), True),
    ("closed-recurrent-gate", recurrent("LSTM", 8, 0.301**6), False),
    ("closed-recurrent-gate", recurrent("LSTM", 8, 0.299**6), True),
    ("closed-recurrent-gate", recurrent("LSTM", 7, 1e-9), False),
    ("closed-recurrent-gate", recurrent("RNN", 8, 1e-9), False),
    ("vanishing-over-time", recurrent("RNN", 100, 1e-6), False),
    ("vanishing-over-time", recurrent("RNN", 100, 0.99e-6), True),
    ("vanishing-over-time", recurrent("RNN", 99, 1e-9), False),
    ("constant-input", nearly_constant(0.01, 0.05), False),
    ("constant-input", nearly_constant(0.0099, 0.099), True),
    ("constant-input", nearly_constant(0.0099, 0.1), False),
    ("constant-input", nearly_constant(None, 0.05), False),
    ("constant-input", nearly_constant(0.0099, 0.05, samples=1), False),
    ("ineffective-normalisation", normalising(0.03), False),
    ("ineffective-normalisation", normalising(0.0299), True),
    ("ineffective-normalisation", normalising(0.0299, 2), False),
    ("wrong-backward", derived(0.9991), False),
    ("wrong-backward", derived(0.9989), True),
    ("wrong-backward", derived(0.91, "float32"), False),
    ("wrong-backward", derived(0.89, "float32"), True),
    ("unscaled-input", feature(100, 1000), True),
    ("unscaled-input", feature(99, 1000), False),
    ("unscaled-input", feature(100, 999), False),
    ("exploding-signal", record(signals=tuple(signal(i, rms=[1, math.inf, math.nan, 0, 1, 1][i]) for i in range(6))), False),
    ("exploding-signal", record(signals=tuple(signal(i, rms=[0, 1, math.inf, 1001, 1][i]) for i in range(5))), True),
]  # fmt: skip


@pytest.mark.parametrize(("slug", "given", "is_sick"), LIMITS)
def test_both_sides_of_a_default(slug: str, given: GradientRecord, is_sick: bool) -> None:
    assert has(slug, given) is is_sick


@pytest.mark.parametrize(
    ("slug", "given"), [(slug, given) for slug, given, is_sick in LIMITS if is_sick], ids=lambda one: str(one)[:30]
)
def test_what_is_not_asked_for_is_not_found(slug: str, given: GradientRecord) -> None:
    limits = {name: None for name in Limits.names() if Limits().is_default(name)}
    assert has(slug, given, select=[slug])
    assert not has(slug, given, ignore=[slug])
    of_the_rule = [finding.limit_name for finding in found(given, select=[slug])]
    assert not of_the_rule[0] or not has(slug, given, **limits)


# Numbers, names and counts in messages


def only(slug: str, given: GradientRecord, **limits: Any) -> Finding:
    (finding,) = (one for one in found(given, **limits) if one.kind == slug)
    return finding


def fused(*numbers: int, **fields: Any) -> GradientRecord:
    return record([layer(i, **({"silent_units": (8, 15), **fields} if i in numbers else {})) for i in range(8)])


def cut(*numbers: int, **fields: Any) -> GradientRecord:
    layers = [layer(i, **({"norm": None, "missing": ("weight",)} if i in numbers else {})) for i in range(8)]
    signals = tuple(signal(i, attached=i not in numbers) for i in range(8))
    return record(layers, **{"signals": signals, **fields})


def sized(*sizes: float, **fields: Any) -> GradientRecord:
    """The signal behind each of eight layers, the last of these to the end."""
    return record(signals=tuple(signal(i, rms=sizes[min(i, len(sizes) - 1)], sample_variation=1.0) for i in range(8)))


MESSAGES: list[tuple[str, GradientRecord, dict[str, Any], str]] = [
    ("dead-slice", fused(2), {}, "units 8 to 15 of the 24 of 'fc2' have zero gradient, and only those"),
    ("dead-slice", fused(2, 4), {}, "and only those, and so in 1 other layer"),
    ("dead-slice", fused(2, 4, 5), {}, "and only those, and so in 2 other layers"),
    ("detached-layer", cut(2), {}, "no gradient reaches 'fc2'; it cannot learn"),
    ("detached-layer", cut(2, 4), {}, "no gradient reaches 'fc4'; neither it nor 1 other layer can learn"),
    ("dead-layer", record(changed(3, norm=0.0)), {}, "the gradient of 'fc3' is exactly zero"),
    ("dead-layer", record([layer(i, norm=0.0 if i in (2, 3) else 0.1) for i in range(8)]), {}, "'fc3' is exactly zero, and so is that of 1 other layer"),
    ("exploding-gradient", steep(4e3), {}, "changes the loss by 2e+03 %"),
    ("insensitive-loss", steep(1e-5), {}, "would change the loss by only 5.0e-06 of itself"),
    ("exploding-signal", sized(2, 2, 9, 30, 300, 3000), {}, "the signal grows 2e+03 times on its way forward (max_growth=100), over"),
    ("exploding-signal", sized(2, 2, 2, 2, 2, 2002), {}, "the signal grows 1e+03 times on its way forward (max_growth=100, 1000 here), at 'fc5'"),
    ("large-norm", record([replace(layer(0), name="")]), {"max_norm": 0.01}, "gradient norm of '(model)' is 1.0e-01, above max_norm=0.01"),
    ("large-norm", record([layer(0)]), {"max_norm": 0.01}, "gradient norm of 'fc0' is 1.0e-01"),
    ("small-norm", record([replace(layer(0), name="")]), {"min_norm": 1.0}, "gradient norm of '(model)' is 1.0e-01"),
    ("small-norm", record([layer(0)]), {"min_norm": 1.0}, "gradient norm of 'fc0' is 1.0e-01"),
    ("uneven-norms", record(changed(3, norm=0.01)), {"max_ratio": 2}, "of 'fc3' is 1.0e+01 times smaller than that of 'fc0'"),
    ("mixed-samples", record(sample_mixing=0.25, mixed_at="fc2"), {}, "what 'fc2' returns for a sample changes by 2.5e-01"),
    ("mixed-samples", record(sample_mixing=0.25), {}, "the model's output for a sample changes by 2.5e-01"),
    ("identical-units", record(changed(3, identical_units=True)), {}, "all 24 units of 'fc3' hold the same weights"),
    ("unused-parameter", record(changed(3, norm=None, missing=("weight",))), {}, "'fc3' never receives a gradient"),
    ("unused-parameter", record(changed(3, missing=("weight",))), {}, "parameter 'weight' of 'fc3' never receives a gradient"),
    ("underflow", record(changed(3, underflow=(Underflow(format="float16", zero=0.5, subnormal=0.005),))), {}, " and 0% loses digits"),
    ("underflow", record(changed(3, underflow=(Underflow(format="float16", zero=0.5, subnormal=0.0049),))), {}, "(max_underflow=0.25)"),
    ("underflow", record([replace(layer(0), name="", underflow=(Underflow(format="float16", zero=0.5),))]), {}, "of the gradient of '(model)' becomes"),
    ("non-finite", record(changed(3, nan=2), loss=1.0), {}, "'fc3' is NaN or infinite; 1 of 8 layers have NaN or infinite gradients"),
]  # fmt: skip


@pytest.mark.parametrize(("slug", "given", "limits", "said"), MESSAGES)
def test_a_message_counts_and_names(slug: str, given: GradientRecord, limits: dict[str, Any], said: str) -> None:
    message = only(slug, given, **limits).message
    assert said in message
    assert not said.endswith(("those", "cannot learn", "exactly zero", "same weights", "gradient", "=0.25)")) or message.endswith(said)  # fmt: skip


def test_two_parts_of_one_block_are_one_group_and_counted() -> None:
    lost = {"norm": None, "missing": ("weight",)}
    layers = [replace(layer(i, **(lost if i < 2 else {})), name=f"block.{'ab'[i % 2]}" if i < 2 else f"x{i}") for i in range(5)]  # fmt: skip
    finding = only("unused-parameter", record(layers))
    assert finding.layers == ("block.a", "block.b")
    assert finding.message == "'block' never receives a gradient (2 layers in all)"
    alone = [replace(one, **lost) if one.name == "x3" else one for one in layers]
    assert [one.layers for one in found(record(alone))] == [("block.a", "block.b"), ("x3",)]
    half = [replace(one, norm=0.1, missing=("bias",)) if one.name == "block.a" else one for one in layers]
    assert only("unused-parameter", record(half)).message == "'block.a' never receives a gradient (2 layers in all)"


@pytest.mark.parametrize(
    ("layers", "groups"),
    [
        ({"a.b.c": None, "a.b.d": 0.1}, [("a.b.c", ["a.b.c"])]),
        ({"a.b.c": None, "a.x": 0.1}, [("a.b", ["a.b.c"])]),
        ({"a.b.c": None, "a.b.d": None, "a.x": 0.1}, [("a.b", ["a.b.c", "a.b.d"])]),
        ({"a.b": None, "c.d": None, "e": 0.1}, [("a", ["a.b"]), ("c", ["c.d"])]),
        ({"a": None, "e": 0.1}, [("a", ["a"])]),
    ],
)
def test_what_was_left_out_as_a_whole(layers: dict[str, float | None], groups: list[tuple[str, list[str]]]) -> None:
    named = [replace(layer(i, norm=norm), name=name) for i, (name, norm) in enumerate(layers.items())]
    families = localise.families(View(record(named), Limits()), [one for one in named if one.norm is None])
    assert [(whole, [one.name for one in group]) for whole, group in families] == groups


def test_a_finding_names_the_culprit_first_and_once() -> None:
    sick = record([layer(i, nan=1 if i in (1, 3) else 0) for i in range(8)], loss=1.0)
    assert only("non-finite", sick).layers == ("fc3", "fc1")
    assert only("dead-layer", record([layer(i, norm=0.0 if i in (2, 3) else 0.1) for i in range(8)])).layers == ("fc3", "fc2")  # fmt: skip
    assert only("detached-layer", cut(2, 4)).layers == ("fc4", "fc2")


def test_what_is_ignored_for_one_rule_is_no_culprit_of_it() -> None:
    dead = record([layer(i, norm=0.0 if i in (3, 5) else 0.1) for i in range(8)])
    assert only("dead-layer", dead).layers == ("fc5", "fc3")
    assert only("dead-layer", dead, ignore=["GH201:fc5"]).layers == ("fc3",)
    assert only("dead-layer", dead, ignore=["fc5"]).layers == ("fc3",)


# Causes


def softmax(order: int) -> Operation:
    return Operation(name="softmax", order=order, constant=1.0)


def test_of_what_is_still_dead_later_the_first_look_tells_the_cause() -> None:
    def dead(*numbers: int, **fields: Any) -> GradientRecord:
        return record([layer(i, norm=0.0 if i in numbers else 0.1) for i in range(8)], **fields)

    first = dead(3, operations=(softmax(6),))
    finding = only("dead-layer", replace(first, later=dead(3, steps=8)))
    assert finding.cause.startswith("softmax() runs over a single element")
    finding = only("dead-layer", replace(first, later=dead(3, 6, steps=8)))
    assert finding.layers == ("fc6", "fc3")
    assert finding.cause.startswith("something between it and the loss")


def test_of_units_that_are_dead_later_each_is_told_by_its_own_number() -> None:
    first = record([layer(i, dead=0.95 if i in (5, 6) else 0.0) for i in range(8)])
    later = record([layer(i, dead=0.9 + i / 100 if i in (5, 6) else 0.0) for i in range(8)], steps=8)
    findings = found(replace(first, later=later))
    assert [(one.layer, one.value) for one in findings] == [("fc5", 0.9 + 5 / 100), ("fc6", 0.9 + 6 / 100)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dead": 0.95, "dead_by_bias": 0.6}, "the biases of 60% of its units keep the activation at zero"),
        ({"dead": 0.95}, "nothing behind it is zero as often"),
    ],
)
def test_dead_units_where_nothing_behind_them_is_zero(fields: dict[str, Any], said: str) -> None:
    assert said in only("dead-units", record(changed(3, **fields))).cause


def test_of_several_activations_the_one_of_most_zeros_is_blamed() -> None:
    acts = [replace(signal(3), name=f"a{i}", kind=kind, order=7, zeros=zeros) for i, (kind, zeros) in enumerate([("GELU", 0.1), ("ReLU", 0.95)])]  # fmt: skip
    signals = (*map(signal, range(4)), *acts, *map(signal, range(4, 8)))
    assert only("dead-units", record(changed(3, dead=0.95), signals=signals)).cause.startswith("ReLU behind it is zero")


@pytest.mark.parametrize(("clamped", "peak", "said"), [(0.6, 51.0, "the input has values up to 51"), (0.6, 50.0, "the outputs are saturated")])  # fmt: skip
def test_why_probabilities_are_cut_off(clamped: float, peak: float, said: str) -> None:
    signals = (signal(0, input_max=peak), *map(signal, range(1, 8)))
    assert said in only("clamped-probabilities", record(signals=signals, loss_graph=LossGraph(clamped=clamped))).cause


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((1.0, 1.0, 1.0, 1e-6), "small weights shrink the signal at 'fc3'"),
        ((1.0, 1e-2, 1e-4, 0.99e-6), "small weights shrink the signal over 3 layers"),
    ],
)
def test_over_how_many_layers_a_signal_fades(sizes: tuple[float, ...], said: str) -> None:
    assert said in only("fading-signal", sized(*sizes)).cause


@pytest.mark.parametrize(
    ("gains", "acts", "said"),
    [
        ([1e-2, 1e-2, 1e-2], ["Sigmoid", "Sigmoid"], "the signal shrinks 100.0x per layer through 2 Sigmoid layers"),
        ([1e-2, 1e-2, 1e-2], ["Sigmoid"], "the signal shrinks 100.0x per layer at 'fc3'; sigmoid's"),
        ([1e-2, 1e-2, 1e-2], [], "the signal shrinks 100.0x per layer at 'fc3'"),
        ([1e-9], [], "the signal shrinks 1e+09 times per layer at 'fc3'; check the weights of 'fc3': use He"),
    ],
)
def test_what_shrinks_a_gradient(gains: list[float], acts: list[str], said: str) -> None:
    between = [replace(signal(i + 3), name=f"act{i}", kind=kind, order=2 * i + 7) for i, kind in enumerate(acts)]
    signals = tuple(sorted([*map(signal, range(8)), *between], key=lambda one: one.order))
    layers = [layer(i, reach=1e-6 if i < 7 else 1.0, gain=gains[i - 3] if 3 <= i < 3 + len(gains) else 1.0) for i in range(8)]  # fmt: skip
    finding = only("vanishing-gradient", record(layers, signals=signals))
    assert said in f"{finding.cause}; {finding.remedy}"


@pytest.mark.parametrize(("rates", "said"), [((1.0, 1.0, 1.0), "lose 1e+08 times per layer over 1 layer"), ((1e-6, 1e-4, 1e-2), "lose 100.0x per layer over 4 layers")])  # fmt: skip
def test_how_fast_late_positions_drown(rates: tuple[float, ...], said: str) -> None:
    values = [1e-8, 1e-8, *rates, *[1.0] * 3]
    signals = tuple(signal(i, positions=9, position_reach=x) for i, x in enumerate(values))
    finding = only("vanishing-over-positions", record(signals=signals))
    assert said in finding.cause


# What carries a difference to the positions that are read


def reading(*kinds: str, carried: float = 0.8, length: int = 5, reader: dict[str, Any] | None = None, own: bool = False) -> GradientRecord:  # fmt: skip
    """Layers over sequences, and one behind them that reads a position at which all samples are alike."""
    last, kinds = len(kinds), (*kinds, "Linear")
    given = {"sample_variation": 1e-7, "input_variation": 0.0, **(reader or {})}
    signals = [signal(i, positions=length, sample_variation=carried if i == last - 1 else 0.8) for i in range(last)]
    signals = [replace(one, kind=kind) for one, kind in zip([*signals, signal(last, **given)], kinds, strict=True)]
    whole = Signal(name="", kind="Net", order=-1, sample_variation=1e-7)
    layers = [replace(layer(i), kind=kind) for i, kind in enumerate(kinds)]
    return record([replace(layer(0, order=-1), name="")] * own + layers, signals=(whole, *signals))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (reading("Linear", "GRU", "Linear"), ["fc1"]),
        (reading("Linear", "GRU", "Linear", own=True), ["fc1"]),
        (reading("Linear", "Linear", "Linear"), ["fc2"]),  # the last over positions
        (reading("GRU", "LSTM", "Conv1d", "SelfAttention"), ["fc3", "fc2", "fc1"]),  # three at most
        (reading("Linear", "GRU", "Linear", length=1), ["fc3"]),
        (reading("Linear", "GRU", "Linear", length=2), ["fc1"]),
        (reading("Linear", "GRU", "Linear", carried=1e-3), ["fc1"]),
        (reading("Linear", "GRU", "Linear", carried=0.99e-3), ["fc3"]),  # they tell nothing apart either
        (reading("Linear", "GRU", "Linear", reader={"input_variation": 0.99e-6}), ["fc1"]),
        (reading("Linear", "GRU", "Linear", reader={"input_variation": 1e-6}), ["fc3"]),
        (reading("Linear", "GRU", "Linear", reader={"input_variation": None}), ["fc3"]),
        (reading("Linear", "GRU", "Linear", reader={"positions": 5}), ["fc3"]),
    ],
)
def test_what_should_have_carried_a_difference(given: GradientRecord, named: list[str]) -> None:
    assert list(only("collapsed-samples", given).layers) == named


def test_a_layer_that_holds_others_may_carry_and_one_that_was_never_called_does_not() -> None:
    given = reading("Linear", "Block", "Linear")
    inner = replace(signal(1), name="fc1.inner", order=3, positions=5)
    held = tuple(sorted([*given.signals, inner], key=lambda one: one.order))
    assert only("collapsed-samples", replace(given, signals=held)).layers == ("fc1",)
    silent = reading("Linear", "GRU", "Linear")
    uncalled = tuple(one for one in silent.signals if one.name != "fc1")
    assert only("collapsed-samples", replace(silent, signals=uncalled)).layers == ("fc2",)


def test_the_reader_itself_carries_nothing() -> None:
    given = reading("Linear", "Linear", "Linear")
    layers = [replace(one, kind="GRU") if one.name == "fc3" else one for one in given]
    assert only("collapsed-samples", replace(given, layers=tuple(layers))).layers == ("fc2",)


# Where it is lost


@pytest.mark.parametrize(("sizes", "named"), [([1, 1.25, 1, 1], "fc0"), ([1, 1.251, 1, 1], "fc1")])
def test_a_quarter_more_is_no_growth(sizes: Sequence[float], named: str) -> None:
    signals = tuple(signal(i, rms=size, sample_variation=1.0 / size) for i, size in enumerate(sizes))
    view = View(record([layer(i) for i in range(4)], signals=signals), Limits())
    assert localise.growing_stretch(view) == [named]
    gains = View(record([layer(i, gain=1.0 / size, reach=0.0) for i, size in enumerate(sizes)]), Limits())
    assert localise.vanishing_stretch(gains) == [named]


@pytest.mark.parametrize(("saturation", "shuts"), [(None, False), (0.98, False), (0.99, True), (1.0, True)])
def test_an_activation_that_is_flat_sends_nothing_back(saturation: float | None, shuts: bool) -> None:
    flat = replace(signal(3), name="tanh", kind="Tanh", order=7, saturation=saturation)
    view = View(record(signals=(*map(signal, range(4)), flat, *map(signal, range(4, 8)))), Limits())
    assert [one.name for one in localise.shutters(view, "fc3")] == ["tanh"] * shuts


def test_a_module_that_is_given_no_graph_does_not_cut_itself_off() -> None:
    given = changed(2, norm=None, missing=("weight",))
    signals = tuple(signal(i, input_attached=False if i == 2 else None) for i in range(8))
    view = View(record(given, signals=signals), Limits())
    assert not localise.is_cut(view, view.record["fc2"])


# What is healthy by design


@pytest.mark.parametrize(
    ("operation", "shut"),
    [
        (Operation(name="mul", order=6, constant=0.0), True),
        (Operation(name="mul", order=6, constant=0.0, installed=True), False),
        (Operation(name="softmax", order=6, constant=1.0), False),
        (Operation(name="round", order=6, zero_slope=1.0, installed=True), True),
    ],
)
def test_what_is_not_asked_for_unless_it_is_shut(operation: Operation, shut: bool) -> None:
    names = ("b.0.x", "b.0.y", "b.1.x", "b.1.y")
    layers = [replace(layer(i, norm=0.0 if i == 3 else 0.1), name=name) for i, name in enumerate(names)]
    signals = tuple(replace(signal(i), name=name) for i, name in enumerate(names))
    given = record(layers, signals=signals, operations=(operation,))
    assert designed(given, Limits()) == ({} if shut else {"b.1.y": "not asked for in the last block"})


@pytest.mark.parametrize(("norm", "is_shift"), [(1e-6 * 0.1, False), (0.99e-6 * 0.1, True)])
def test_a_shift_at_the_edge_of_rounding(norm: float, is_shift: bool) -> None:
    layers = [replace(one, kind="LayerNorm") if one.name == "fc3" else one for one in changed(2, norm=norm)]
    assert bool(designed(record(layers), Limits())) is is_shift


@pytest.mark.parametrize(
    ("norms", "reason"),
    [
        ((0.1, 0.1, 0.0, None), {}),  # its mate is silent too
        ((0.1, 0.1, 0.1, None), {"b.1.y": "by-product of the last block"}),
    ],
)
def test_a_by_product_has_a_mate_that_is_trained(norms: Sequence[float | None], reason: dict[str, str]) -> None:
    names = ("b.0.x", "b.0.y", "b.1.x", "b.1.y")
    layers = [replace(layer(i, norm=norm, missing=("weight",) if norm is None else ()), name=name) for i, (name, norm) in enumerate(zip(names, norms, strict=True))]  # fmt: skip
    signals = tuple(replace(signal(i), name=name) for i, name in enumerate(names))
    assert designed(record([*layers, layer(9)], signals=signals), Limits()) == reason


def test_experts_none_of_which_is_trained_were_not_left_out_by_a_router() -> None:
    layers = [replace(layer(i, norm=0.0), name=f"experts.{i}") for i in range(3)]
    signals = tuple(replace(signal(i, size=0), name=one.name) for i, one in enumerate(layers))
    assert designed(record([*layers, layer(9)], signals=signals), Limits()) == {}


@pytest.mark.parametrize(("weight_norm", "is_copy"), [(0.5, True), (0.0, False)])
def test_a_copy_holds_the_same_weights_and_some(weight_norm: float, is_copy: bool) -> None:
    teacher = replace(layer(0, norm=None, missing=("weight",), weight_norm=weight_norm), name="teacher.fc")
    student = replace(layer(1, weight_norm=weight_norm), name="student.fc")
    signals = tuple(replace(signal(i), name=one.name) for i, one in enumerate((teacher, student)))
    given = designed(record([teacher, student, layer(5)], signals=signals), Limits())
    assert ("copy of a trained twin" in given.values()) is is_copy


def test_no_layer_is_its_own_twin() -> None:
    own = replace(layer(0, missing=("weight",), kind="Custom"), name="teacher.fc")
    assert designed(record([own], signals=(replace(signal(0), name="teacher.fc"),)), Limits()) == {}


@pytest.mark.parametrize(
    ("silent", "number", "alone"), [((2,), 3, True), ((1,), 3, False), ((1, 2), 3, False), ((0,), 1, False)]
)
def test_a_share_that_is_silent_in_the_last_block_alone(silent: tuple[int, ...], number: int, alone: bool) -> None:
    layers = [replace(layer(i, silent_units=(0, 7) if i in silent else ()), name=f"b.{i}.qkv") for i in range(number)]
    view = View(record(layers), Limits())
    assert is_last_alone(view, layers[silent[-1]]) is alone
    assert has("dead-slice", record([*layers, layer(9)])) is not alone


@pytest.mark.parametrize(("kind", "found_here"), [("Linear", True), ("Conv1D", True), ("Conv2d", True), ("Embedding", False)])  # fmt: skip
def test_which_layers_make_several_things_at_once(kind: str, found_here: bool) -> None:
    assert has("dead-slice", fused(2, kind=kind)) is found_here
    assert not has("dead-slice", fused(2, kind=kind, installed=True))
    assert not has("dead-slice", fused(7, kind=kind))  # the last


# What is no evidence


def about(given: GradientRecord, word: str, number: int = 1) -> Iterator[Any]:
    return (one for one in circumstances(given, [given] * number) if word in one.note)


@pytest.mark.parametrize(
    ("value", "limit", "name", "near"),
    [
        (None, 1.0, "", False),
        (0.0, 1.0, "", False),
        (1.0, None, "", False),
        (1.0, 0.0, "", False),
        (math.inf, 1.0, "", False),
        (math.nan, 1.0, "", False),
        (-1.0, 1.0, "", False),
        (1.0, -1.0, "", False),
        (1.9, 1.0, "", True),
        (2.0, 1.0, "", False),
        (1.0, 1.9, "", True),
        (1.0, 2.0, "", False),
        (4e-4, 3e-4, "", True),
        (0.875, 0.75, "max_dead", False),  # an eighth is left, and a quarter may be
        (0.86, 0.75, "max_dead", True),
        (0.86, 0.75, "max_saturation", True),
        (0.875, 0.75, "max_saturation", False),
        (0.875, 0.75, "min_reach", True),
        (1.0, 0.9, "max_dead", False),
        (0.95, 1.0, "max_dead", False),
    ],
)
def test_what_is_near_its_limit(value: float | None, limit: float | None, name: str, near: bool) -> None:
    (one,) = about(record(), "near its limit")
    finding = Finding(kind="x", family="vanishing", layers=("fc0",), message="", value=value, limit=limit, limit_name=name)  # fmt: skip
    assert one.explains(finding) is near
    assert not one.explains(replace(finding, family="missing"))
    assert list(about(record(), "near its limit", 2)) == []


@pytest.mark.parametrize(("loss", "deaf"), [(1e-4, False), (1.01e-4, True)])
def test_a_loss_that_half_precision_may_have_lost(loss: float, deaf: bool) -> None:
    silent = [layer(i, norm=0.0) for i in range(8)]
    given = record(silent, loss=loss, signals=tuple(signal(i, gradient=0.0) for i in range(8)))
    assert bool(list(about(given, "did not change with the output"))) is deaf


@pytest.mark.parametrize(
    ("fields", "deaf"),
    [({"gradient": 0.0}, True), ({"gradient": 0.0, "attached": False}, False), ({"gradient": None}, False)],
)
def test_outputs_without_a_graph_or_a_gradient_tell_nothing(fields: dict[str, Any], deaf: bool) -> None:
    silent = [layer(i, norm=0.0) for i in range(8)]
    given = record(silent, loss=1.0, signals=tuple(signal(i, **fields) for i in range(8)))
    assert bool(list(about(given, "did not change with the output"))) is deaf


@pytest.mark.parametrize(
    ("layers", "dropped"),
    [
        (("b.1",), True),
        (("b.0",), False),  # it has a gradient
        (("b.1", "b.0"), False),
        (("b.1", "head"), False),  # not one of several alike
        (("b.1", "unknown"), False),
        (("c.0",), False),  # nor is any other of these
    ],
)
def test_what_chance_may_have_dropped(layers: tuple[str, ...], dropped: bool) -> None:
    norms = {"b.0": 0.1, "b.1": None, "c.0": None, "c.1": 0.0, "head": None}
    given = record([replace(layer(i, norm=norm), name=name) for i, (name, norm) in enumerate(norms.items())], random=True)  # fmt: skip
    (one,) = about(given, "random numbers were drawn")
    assert one.explains(Finding(kind="x", family="missing", layers=layers, message="")) is dropped
    assert list(about(given, "random numbers", 3)) == []
    assert len(list(about(given, "random numbers", 2))) == 1


def test_what_explains_nothing_is_not_told() -> None:
    """Chance, near limits, towers alike and single positions are worth a line only where they excuse something."""
    given = record(random=True, signals=tuple(signal(i, positions=1) for i in range(8)))
    assert verdict([given], Limits())[0].notes == ()


# Which of several passes counts


def kinds(*passes: GradientRecord) -> list[str]:
    return [finding.kind for finding in verdict(passes, Limits())[1]]


def test_a_fault_of_the_first_pass_is_shown_in_the_first() -> None:
    dead, alive = record(changed(3, norm=0.0)), record()
    for first, last, steps in ((dead, dead, 0), (alive, dead, 5), (alive, alive, 0)):
        shown, _ = verdict([first, replace(last, steps=5)], Limits())
        assert shown.steps == steps
    unused = {"norm": None, "missing": ("weight",)}
    both = [layer(i, **(unused if i == 5 else {"norm": 0.0} if i == 3 else {})) for i in range(8)]
    shown, there = verdict([record(changed(5, **unused)), record(both, steps=5)], Limits())
    assert (shown.steps, [one.kind for one in there]) == (0, ["unused-parameter", "dead-layer"])


@pytest.mark.parametrize(("last", "silent"), [(1.0, ["dead-layer"]), (0.99, [])])
def test_half_of_the_first_loss_is_not_learnt(last: float, silent: list[str]) -> None:
    nothing = [layer(i, norm=0.0) for i in range(8)]
    assert kinds(record(loss=2.0), record(nothing, loss=last, steps=5)) == silent


def test_what_comes_in_the_second_pass_is_not_missing() -> None:
    lost = record(changed(3, norm=None, missing=("weight",)))
    assert kinds(lost, record(steps=1)) == []
    assert kinds(lost, replace(lost, steps=1)) == ["unused-parameter"]


@pytest.mark.parametrize(
    ("first", "last", "kinds_found"),
    [
        ({"loss": math.inf}, {"loss": 1.0}, []),
        ({"loss": math.inf}, {"loss": math.inf}, ["non-finite"]),
        ({"loss": math.nan}, {"loss": 1.0}, ["non-finite"]),
        ({"loss": 1.0}, {"loss": math.inf}, ["non-finite"]),
    ],
)
def test_what_overflows_once_may_be_the_gradient_scaler(first: dict[str, Any], last: dict[str, Any], kinds_found: list[str]) -> None:  # fmt: skip
    assert kinds(record(**first), record(**last, steps=5)) == kinds_found


# Recurrences


@pytest.mark.parametrize(
    ("kind", "reach", "told"), [("LSTM", 0.9e-6, True), ("LSTM", 1e-6, False), ("GRU", 0.9e-6, True), ("RNN", 0.9e-6, False)]
)  # fmt: skip
def test_what_a_gated_recurrence_forgets_is_remarked(kind: str, reach: float, told: bool) -> None:
    signals = (signal(0), replace(signal(1), kind=kind, steps=100, time_reach=reach))
    given = record([layer(0), layer(1)], signals=signals)
    assert any("the gradient falls to" in note for note in remarks(given, Limits())) is told
    assert has("vanishing-over-time", given) is (kind == "RNN")
    assert has("vanishing-over-time", given, min_time_reach=0.99e-6) is (reach < 0.99e-6)
    assert not has("vanishing-over-time", given, min_time_reach=None)


# Layers without an optimiser, and optimisers without layers


@pytest.mark.parametrize(
    ("foreign", "named"),
    [(0, ("fc6", "fc2")), (4, ("fc1",))],
)
def test_which_layers_an_idle_optimiser_names(foreign: int, named: tuple[str, ...]) -> None:
    held: dict[int, bool | None] = {1: False, 3: None}
    layers: list[LayerGradient] = [layer(i, norm=None if i in (2, 6, 3) else 0.1, optimised=held.get(i, True)) for i in range(8)]  # fmt: skip
    assert only("idle-optimiser", record(layers, optimisers=(use(foreign=foreign),))).layers == named


@pytest.mark.parametrize(("shares", "said", "value"), [((0.95, 0.91, 0.99), "a step left 91% of the weights of 3 layers", 0.91), ((0.95,), "of 1 layer exactly", 0.95)])  # fmt: skip
def test_of_lost_updates_the_least_is_told(shares: Sequence[float], said: str, value: float) -> None:
    layers = [layer(i, lost_update=share) for i, share in enumerate(shares)]
    finding = only("lost-update", record(layers, precision="float16", optimisers=(use(reached=4),)))
    assert said in finding.message
    assert (finding.value, finding.layers) == (value, tuple(f"fc{i}" for i in range(len(shares))))


# Numbers that are none


LOG = Operation(name="log_", order=6, nonfinite=2, upstream=("fc3", "fc2"), where="a.py:3")


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({}, "fc3"),
        ({"operations": (replace(LOG, upstream=()),)}, "fc7"),
        ({"operations": (replace(LOG, nonfinite=0),)}, "fc7"),
        ({"operations": (replace(LOG, upstream=()), replace(LOG, upstream=("fc1",)))}, "fc1"),
        ({"layers": tuple(changed(5, weight_norm=math.inf))}, "fc7"),  # the weights are broken already
        ({"signals": tuple(signal(i, nonfinite=int(i > 4), nonfinite_input=int(i > 5)) for i in range(8))}, "fc5"),
        ({"signals": tuple(signal(i, nonfinite=1, nonfinite_input=1) for i in range(8))}, "fc3"),
        ({"loss": 1.0, "layers": tuple(changed(6, nan=1))}, "fc6"),
        ({"loss": None, "layers": tuple(changed(6, nan=1))}, "fc6"),
    ],
)
def test_behind_which_layer_an_operation_left_its_domain(fields: dict[str, Any], first: str) -> None:
    finding = only("non-finite", record(**{"loss": math.nan, "operations": (LOG,), **fields}))
    assert finding.layer == first
    assert ("arises behind 'fc3'" in finding.message) is (first == "fc3")


@pytest.mark.parametrize(("place", "is_batch"), [(0, True), (1, False)])
def test_a_batch_that_is_none_from_the_start(place: int, is_batch: bool) -> None:
    signals = tuple(signal(i, nonfinite_input=int(i >= place)) for i in range(8))
    cause = only("non-finite", record(loss=math.nan, signals=signals)).cause
    assert (cause == "the batch itself contains NaN or infinity") is is_batch


def test_an_operation_is_told_with_the_places_where_it_left_its_domain() -> None:
    finding = only("non-finite", record(loss=math.nan, operations=(LOG,)))
    assert finding.cause == "log() at a.py:3 gives NaN or infinity at 2 places"
    assert finding.message.endswith("arises behind 'fc3'")
    assert finding.where == "a.py:3"
    steep_one = replace(LOG, name="sqrt", nonfinite=0, infinite_slope=1)
    finding = only("non-finite", record(changed(6, nan=1), operations=(steep_one,)))
    assert finding.cause == "sqrt() at a.py:3 is 0 at 1 place, where its slope is infinite"


@pytest.mark.parametrize(
    ("names", "upstream", "said"),
    [
        (("argmin", "detach"), ("fc2",), "enters the loss by a choice (argmin) and a detach() alone"),
        (("detach",), ("fc2",), "detach() detaches the signal"),
        (("argmin",), ("fc2",), "argmin() makes a discrete choice"),
        (("argmin", "detach"), ("fc1",), "argmin() makes a discrete choice"),
    ],
)
def test_a_code_book_is_chosen_and_detached(names: tuple[str, ...], upstream: tuple[str, ...], said: str) -> None:
    operations = [Operation(name=name, order=9, detaches=True, upstream=upstream) for name in names]
    again = Operation(name="detach", order=5, detaches=False, upstream=("fc2",))
    lost = changed(2, norm=None, missing=("weight",))
    signals = tuple(signal(i, input_attached=False if i == 5 else None) for i in range(8))
    assert said in only("detached-layer", record(lost, signals=signals, operations=(*operations, again))).cause


@pytest.mark.parametrize(("order", "said"), [(4, "item() turns"), (3, "the graph ends right behind 'fc2'")])
def test_what_cuts_comes_behind_what_it_cuts(order: int, said: str) -> None:
    signals = tuple(signal(i, input_attached=False if i == 5 else None) for i in range(8))
    cutting = (Operation(name="item", order=order, detaches=True),)
    lost = changed(2, norm=None, missing=("weight",))
    assert said in only("detached-layer", record(lost, signals=signals, operations=cutting)).cause


# What the model was given


@pytest.mark.parametrize(("first", "differ"), [(0.0, False), (0.8, True)])
def test_where_a_graph_comes_in_everywhere_the_first_module_tells(first: float, differ: bool) -> None:
    signals = tuple(signal(i, input_attached=True, input_variation=first if i == 0 else 0.8) for i in range(4))
    assert View(record(signals=signals), Limits()).samples_differ is differ


@pytest.mark.parametrize(("dead", "is_sick"), [((3,), False), ((0,), True), ((0, 3), True)])
def test_positions_that_are_all_alike_excuse_what_lies_behind_a_layer_that_learns(dead: tuple[int, ...], is_sick: bool) -> None:  # fmt: skip
    layers = [layer(i, norm=0.0 if i in dead else 0.1) for i in range(8)]
    signals = tuple(signal(i, token_variation=0.0) for i in range(8))
    assert has("dead-layer", record(layers, signals=signals)) is is_sick


@pytest.mark.parametrize(("gradient", "silences"), [(1e-4, False), (0.99e-4, True)])
def test_a_normalisation_at_the_edge_of_noise(gradient: float, silences: bool) -> None:
    norm = signal(1, gradient=1.0, peak=1.0, input_gradient=gradient, input_min=-1.0, input_max=1.0)
    signals = (signal(0), replace(norm, kind="LayerNorm"), signal(2))
    assert (View(record(signals=signals), Limits()).silencing is not None) is silences


@pytest.mark.parametrize(("module", "said"), [("", "the Linear that 'the model' creates"), ("block", "the Linear that 'block' creates")])  # fmt: skip
def test_where_parameters_are_made_anew(module: str, said: str) -> None:
    made = UnregisteredParameter(module=module, name="Linear", where="a.py:3", parameters=5)
    finding = only("unregistered-parameter", record(unregistered=(made,)))
    assert finding.message.startswith(f"{said} in its forward pass has 5 parameters")
    assert "in 1 other place" not in finding.message
    two = only("unregistered-parameter", record(unregistered=(made, replace(made, module="other"))))
    assert two.message.endswith("(and in 1 other place)")
    assert (two.value, two.layers) == (10.0, (module, "other"))


@pytest.mark.parametrize(("free", "said"), [((2,), "'fc2' received"), ((2, 5), "'fc2' and 1 other layer received")])
def test_how_many_layers_are_in_no_optimiser(free: tuple[int, ...], said: str) -> None:
    layers = [layer(i, optimised=i not in free) for i in range(8)]
    given = record(layers, optimisers=(use(reached=2, foreign=2),))
    assert only("unoptimised-layer", given).message.startswith(said)


@pytest.mark.parametrize(
    ("shares", "fields", "said"),
    [
        (dict.fromkeys(range(5), 0.91), {}, "most updates of 5 of 8 layers (91% in 'fc0')"),
        ({i: 0.9 + i / 100 for i in range(1, 6)}, {}, "most updates of 5 of 8 layers (95% in 'fc5')"),
        (dict.fromkeys(range(4), 0.91), {}, None),  # half of them
        (dict.fromkeys(range(8), 0.9), {}, None),
        (dict.fromkeys(range(8), 0.91), {"precision": "bfloat16"}, None),  # they are kept in it already
    ],
)
def test_updates_that_weights_in_another_format_would_lose(shares: dict[int, float], fields: dict[str, Any], said: str | None) -> None:  # fmt: skip
    forecasts = [Underflow(format="bfloat16", lost_update=shares.get(i, 0.0)) for i in range(8)]
    eighths = [Underflow(format="float8_e4m3fn", lost_update=1.0), Underflow(format="float16")]
    given = record([layer(i, underflow=(one, *eighths)) for i, one in enumerate(forecasts)], **fields)
    notes = [note for note in remarks(given, Limits()) if "updates" in note]
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]


def swept(
    count: int = 8, update: float = 1.0, grown: float = 1.0, *, steps: int = 33, loss: float = 1.0, dead: int = -1
) -> GradientRecord:
    """A training whose first step changed so many of eight layers by that share of their weights."""
    layers = [layer(i, update=update if i < count else 0.0) for i in range(8)]
    later = [
        replace(x, weight_norm=x.weight_norm * (grown if i < count else 1.0), norm=0.0 if i == dead else x.norm)
        for i, x in enumerate(layers)
    ]
    return record(
        layers, loss=1.0, optimisers=(use(reached=16, steps=steps),), later=record(later, loss=loss, steps=steps)
    )


@pytest.mark.parametrize(
    ("given", "is_found"),
    [
        (swept(), True),
        (swept(update=0.99), False),
        (swept(update=0.5, grown=5.0), True),
        (swept(update=0.5, grown=4.99), False),
        (swept(5), True),
        (swept(4), False),
        (swept(steps=31), False),
        (swept(loss=0.99), False),
        (swept(loss=0.99, dead=3), True),
    ],
)
def test_steps_are_excessive_where_most_layers_are_swept_away(given: GradientRecord, is_found: bool) -> None:
    assert has("excessive-steps", given) is is_found


def test_what_excessive_steps_did_is_told() -> None:
    assert "the loss has gone from 1 to 2" in only("excessive-steps", swept(loss=2.0)).message
    assert "'fc3' has died since" in only("excessive-steps", swept(loss=0.5, dead=3)).message
