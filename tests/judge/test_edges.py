"""Both sides of every number that a verdict hangs on: the last healthy value, and the first sick one.

The record is that of the rule's own sick network, or a healthy one made by hand; one field of it is set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from records import found, layer, record, signal
from test_rules import examined

from pytest_gradhealth import Limits
from pytest_gradhealth.judge.copies import told_once
from pytest_gradhealth.judge.registry import entries
from pytest_gradhealth.judge.rule import Rule
from pytest_gradhealth.record import (
    CustomFunction,
    Finding,
    GradientRecord,
    LossGraph,
    ModelInput,
    Operation,
    OptimiserUse,
)

RULES = {entry.rule.slug: entry.rule for entry in entries()}
MEASURED = [rule for rule in RULES.values() if rule.sick and rule.limits]


@cache
def sick(slug: str) -> GradientRecord:
    """What was measured of a rule's sick network, without the second look."""
    return replace(examined(RULES[slug].sick).record, later=None)


def put(holder: Any, path: str, value: Any) -> Any:
    """The record with one field set: ``layers[0].norm`` by place, ``signals[Tanh].zeros`` by kind or name, ``[*]``."""
    head, _, rest = path.partition(".")
    name, _, where = head.rstrip("]").partition("[")
    old = getattr(holder, name)
    if not where:
        return replace(holder, **{name: put(old, rest, value) if rest else value})
    names = [(str(i),) if where.isdigit() else ("*", getattr(x, "kind", ""), x.name) for i, x in enumerate(old)]
    chosen = [i for i, known in enumerate(names) if where in known]
    assert chosen, f"nothing is {path}"
    return replace(holder, **{name: tuple(put(x, rest, value) if i in chosen else x for i, x in enumerate(old))})


def of_kind(slug: str, given: GradientRecord, **limits: Any) -> Finding | None:
    return next((finding for finding in found(given, **limits) if finding.kind == slug), None)


@pytest.mark.parametrize("rule", MEASURED, ids=lambda rule: rule.slug)
def test_a_value_at_the_limit_is_healthy_and_beyond_it_sick(rule: Rule) -> None:
    given, (limit,) = sick(rule.slug), rule.limits
    assert limit.default is not None
    own = limit.default * 1.001  # the default itself may give way to what is known of the network
    off = dict.fromkeys(Limits.names())
    broken = of_kind(rule.slug, given, **{**off, limit.name: own})
    assert broken is not None
    assert broken.value is not None
    assert broken.limit is not None
    at = broken.value / round(broken.limit / own)
    stricter = at * (1 - 1e-12) if limit.name.startswith("max") else at * (1 + 1e-12)
    assert of_kind(rule.slug, given, **{**off, limit.name: at}) is None
    assert of_kind(rule.slug, given, **{**off, limit.name: stricter}) is not None


PIXELS = ModelInput(name="0", shape=(8, 3, 4, 4), low=0.0, high=255.0, whole=True)
SWISH = CustomFunction(name="Swish", forward=1.0, backward=0.5)
SAME = {"signals[*].sample_variation": 1e-4, "layers[*].reach": 5e-3, "layers[8].reach": 1.0}

EDGES: list[tuple[str, dict[str, Any], str, Sequence[Any], Sequence[Any]]] = [
    # rule, what is changed of its sick network's record, the field, healthy values of it, and sick ones
    ("single-class", {}, "loss_graph.classes", [2], [1]),
    ("clamped-probabilities", {}, "loss_graph.clamped", [0.0, 0.5], [0.51, 1.0]),
    ("ignored-targets", {}, "loss_graph.ignored_targets", [0.99], [1.0]),
    ("scores-as-log-probabilities", {}, "loss_graph.probability_sum", [None, 1.0, 1.5], [1.51]),
    ("targets-out-of-range", {}, "loss_graph.target_excess", [0.0, 1e-3], [1.1e-3]),
    ("unreachable-targets", {}, "loss_graph.unreachable", [0.15, 0.4], [0.41]),
    ("large-initial-loss", {}, "loss_graph.initial_loss", [None, 1.0, 30.0], [30.1]),
    ("large-outputs", {}, "loss_graph.output_scale", [None, 1.0, 30.0], [30.1]),
    ("closed-recurrent-gate", {}, "signals[rnn].time_reach", [None, 0.301**15], [0.299**15]),
    ("closed-recurrent-gate", {}, "signals[rnn].steps", [7], [8]),
    ("closed-recurrent-gate", {}, "signals[rnn].kind", ["RNN"], ["LSTM", "GRU"]),
    ("vanishing-over-time", {}, "signals[rnn].steps", [99], [100]),
    ("vanishing-over-time", {}, "signals[rnn].time_reach", [None, 1e-6], [0.9e-6]),
    ("vanishing-over-time", {}, "signals[rnn].kind", ["GRU"], ["RNN"]),
    ("vanishing-gradient", SAME, "layers[*].reach", [1.0, 0.01], [0.0099]),
    ("vanishing-gradient", SAME, "signals[*].sample_variation", [1e-3, 0.5], [0.9e-3]),
    ("vanishing-over-positions", {}, "steps", [], [0, 1]),
    ("vanishing-over-positions", {"signals[1].position_reach": 5e-4}, "steps", [0], [1]),
    ("collapsed-samples", {}, "samples", [None, 0, 1], [2]),
    ("constant-input", {}, "samples", [None, 1], [2]),
    ("constant-input", {}, "signals[1].input_variation", [None, 0.01], [0.0099]),
    ("constant-input", {}, "signals[*].sample_variation", [0.1], [0.099]),
    ("fading-signal", {}, "samples", [None, 1], [2]),
    ("unused-recurrent-state", {}, "signals[cell].calls", [2], [3]),
    ("unused-recurrent-state", {}, "layers[cell].zero_gradients", [("weight_ih",)], [("weight_hh",)]),
    ("excessive-dropout", {}, "signals[Dropout].dropout", [0.0, 0.9, 1.0], [0.91, 0.999]),
    ("dead-units", {}, "layers[0].dead", [0.5], [0.51]),
    ("dead-units", {"layers[0].dead": 0.8}, "layers[0].dead_by_bias", [0.0, 0.5], [0.51]),
    ("dead-units", {}, "layers[0].units", [0], [16]),
    ("identical-units", {}, "layers[*].identical_units", [False], [True]),
    ("mixed-samples", {"signals[*].taken_for_time": 0}, "sample_mixing", [None], [1e-3]),
    ("mixed-samples", {"sample_mixing": None}, "signals[GRU].taken_for_time", [0, 7], [8]),
    ("mixed-samples", {"sample_mixing": None}, "signals[GRU].taken_for_batch", [8, 16], [1, 7]),
    ("mixed-samples", {"sample_mixing": None}, "loss_graph.single_targets", [0, 7], [8]),
    ("negligible-gradients", {}, "loss", [None], [0.0, 1e-9]),
    ("insensitive-loss", {"loss": 1e3, "layers[*].sensitivity": 0.05}, "steps", [0], [1]),
    ("insensitive-loss", {"loss": 1e3, "layers[*].sensitivity": 0.11}, "steps", [0, 1], []),
    ("ineffective-normalisation", {}, "signals[LayerNorm].rms", [0.03], [0.0299]),
    ("ineffective-normalisation", {}, "signals[2].kind", ["Identity"], ["LayerNorm", "RMSNorm"]),
    ("saturated-activations", {"signals[2].kind": "GELU"}, "signals[4].kind", ["GELU"], ["Tanh", "Hardtanh"]),
    ("starved-layer", {}, "precision", ["float64"], ["float32", "bfloat16"]),
    ("unscaled-input", {}, "inputs[0].feature_scale", [99.0], [100.0, 1e6]),
    ("unscaled-input", {}, "inputs[0].high", [999.0], [1000.0]),
    ("unscaled-input", {"inputs[0].high": 0.0}, "inputs[0].low", [-999.0], [-1000.0]),
    ("unscaled-input", {}, "inputs[0].feature", [None], [0, 3]),
    ("unscaled-input", {"inputs": (PIXELS,)}, "inputs[0].high", [1.0, 128.0, 256.0], [129.0, 255.0]),
    ("unscaled-input", {"inputs": (PIXELS,)}, "inputs[0].low", [-1.0], [0.0, 9.0]),
    ("unscaled-input", {"inputs": (PIXELS,)}, "inputs[0].whole", [False], [True]),
    ("unscaled-input", {"inputs": (PIXELS,)}, "inputs[0].shape", [(8, 3), (8, 5, 4, 4)], [(8, 1, 4, 4), (8, 4, 2, 2)]),
    ("unscaled-input", {}, "signals[1].kind", ["BatchNorm1d"], ["Linear"]),
    ("unscaled-input", {}, "signals[2].kind", ["LayerNorm"], ["ReLU"]),
    ("unscaled-input", {}, "signals[3].kind", [], ["BatchNorm1d"]),
    ("wrong-backward", {"custom_functions": (SWISH,)}, "custom_functions[0].backward", [0.9992, 1.0], [0.998, -1.0]),
    ("wrong-backward", {"custom_functions": (replace(SWISH, precision="float32"),)}, "custom_functions[0].backward", [0.91], [0.89]),
    ("wrong-backward", {"custom_functions": (replace(SWISH, forward=1000.0),)}, "custom_functions[0].backward", [999.0], [998.9]),
    ("wrong-backward", {"custom_functions": (replace(SWISH, forward=10.0, precision="float32"),)}, "custom_functions[0].backward", [9.0], [8.9]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("slug", "changes", "path", "value", "is_sick"),
    [
        (slug, changes, path, value, is_sick)
        for slug, changes, path, healthy, ill in EDGES
        for is_sick, values in ((False, healthy), (True, ill))
        for value in values
    ],
)
def test_a_number_on_either_side(slug: str, changes: dict[str, Any], path: str, value: Any, is_sick: bool) -> None:
    given = sick(slug)
    for where, what in (changes | {path: value}).items():
        given = put(given, where, what)
    assert (of_kind(slug, given) is not None) is is_sick


def test_a_layer_of_few_calls_is_no_network() -> None:
    """A loss that one layer alone hardly changes may be a part of another."""
    given = sick("insensitive-loss")
    assert of_kind("insensitive-loss", given) is not None
    assert of_kind("insensitive-loss", put(given, "layers[1].order", None)) is None


CUT = Operation(name="item", order=0, where="a.py:3", detaches=True)
ENCODER = 1
"""Position of the layer that the sick network detaches."""
IN_RANGE = {"signals[1].input_min": -1.0, "signals[1].input_max": 1.0, "inputs": ()}
CAUSES: list[tuple[str, dict[str, Any], str]] = [
    # rule, what is changed of its sick network's record, and what the finding then says
    ("dead-units", {}, r"units of '0' have zero gradient \(max_dead=0.9, 0.5 here\)"),
    ("dead-units", {}, "the biases of .*% of its units keep ReLU at zero, whatever the input"),
    ("dead-units", {"layers[0].dead": 0.95, "layers[0].dead_by_bias": 0.0}, r"gradient \(max_dead=0.9\)"),
    (
        "dead-units",
        {"layers[0].dead": 0.95, "layers[0].dead_by_bias": 0.0, "signals[ReLU].zeros": 0.049},
        "nothing behind it is zero as often",
    ),
    (
        "dead-units",
        {"layers[0].dead": 0.95, "layers[0].dead_by_bias": 0.0, "signals[ReLU].zeros": 0.05},
        r"ReLU behind it is zero for every sample in those units \(5% of all outputs\)",
    ),
    ("fading-signal", {"signals[1].input_min": -9e-4, "signals[1].input_max": 0.0}, "the input has no value above 9e-04"),
    ("fading-signal", {"signals[1].input_min": -1e-3, "signals[1].input_max": 0.0}, "small weights shrink the signal"),
    ("exploding-gradient", {}, "grows .*x per layer on its way back; 12 Tanh layers are saturated"),
    ("exploding-gradient", {"signals[Tanh].saturation": 0.51}, "; 12 Tanh layers are saturated"),
    ("exploding-gradient", {"signals[Tanh].saturation": 0.5}, "per layer on its way back; use He"),
    ("exploding-gradient", {"signals[1].input_max": 50.0}, "per layer on its way back"),
    ("exploding-gradient", {"signals[1].input_min": -51.0}, "the input has values up to 51"),
    (
        "large-initial-loss",
        {"inputs[0].feature_scale": 101.0, "inputs[0].high": 51.0},
        "feature 5 of the input is 101 times as large as the others",
    ),
    ("large-initial-loss", {"inputs[0].feature_scale": 100.0, "inputs[0].high": 51.0}, "enlarge the signal at '2'"),
    ("large-initial-loss", {"inputs[0].feature_scale": 101.0, "inputs[0].high": 50.0}, "enlarge the signal at '2'"),
    ("insensitive-loss", IN_RANGE | {"signals[2].saturation": 0.51}, r"\(Linear\) is saturated"),
    ("insensitive-loss", IN_RANGE | {"signals[*].saturation": 0.5}, "the output, and with it the loss, hardly depends"),
    ("collapsed-samples", {}, "behind 'second' all samples are the same: averaged over the batch"),
    ("collapsed-samples", {"signals[*].sample_variation": 2e-6}, "each layer shrinks the differences between samples"),
    ("excessive-dropout", {"signals[Dropout].dropout": 0.99}, "drops 0.99 of its input.*noise it adds is 10 times as large"),
    ("vanishing-gradient", {}, "the signal shrinks 6.9x per layer through 8 Sigmoid layers; sigmoid's slope is at most 0.25"),
    ("vanishing-gradient", {"layers[*].gain": 1.0, "layers[8].gain": 1e-4}, "shrinks 1e[+]04 times per layer at '16'"),
    ("vanishing-gradient", {}, "is at most 0.25; use ReLU or GELU with He"),
    ("vanishing-gradient", {"signals[Sigmoid].kind": "Softsign"}, "through 8 Softsign layers; use ReLU or GELU with He"),
    ("vanishing-gradient", {"signals[Sigmoid].kind": "GELU"}, "through 8 GELU layers; use He initialisation .*, or add"),
    ("vanishing-gradient", {"layers[*].gain": 0.75}, "the signal shrinks 1.3x per layer through 8 Sigmoid"),
    ("vanishing-gradient", {"layers[*].gain": 1.0}, "the signal is lost "),
    ("exploding-gradient", {"layers[*].gain": 1.25}, "the signal grows 1.2x per layer on its way back"),
    ("vanishing-gradient", SAME, "and samples differ by only 1.0e-04 at the output"),
    ("vanishing-over-time", {}, "each step multiplies the gradient by about .*use an LSTM or GRU"),
    ("unscaled-input", {}, "feature 3 of input 0 is 22130 times as large as the median feature, and reaches 1.99e[+]04"),
    ("unscaled-input", {"inputs": (PIXELS,)}, "input 0 holds whole numbers from 0 to 255"),
    ("unreachable-targets", {}, "keeps 100% of a constant guess's loss out of reach"),
    ("unreachable-targets", {"loss_graph.unreachable": 0.5}, "keeps 50% of a constant guess's loss out of reach"),
    ("exploding-gradient", {"layers[*].gain": None}, "'0' is too steep"),
    ("detached-layer", {"operations": (CUT,), "operations[0].order": ENCODER}, "item.. at a.py:3 turns a tensor"),
    ("detached-layer", {"operations": (CUT,), "operations[0].order": ENCODER - 1}, "the graph ends right behind 'encoder'"),
    ("negligible-gradients", {}, "no layer's gradient is larger than .* per element"),
]  # fmt: skip


@pytest.mark.parametrize(("slug", "changes", "said"), CAUSES)
def test_the_cause_follows_from_the_numbers(slug: str, changes: dict[str, Any], said: str) -> None:
    given = sick(slug)
    for where, what in changes.items():
        given = put(given, where, what)
    finding = of_kind(slug, given)
    assert finding is not None
    assert re.search(said, f"{finding.message}; {finding.cause}; {finding.remedy}")


def use(**fields: Any) -> OptimiserUse:
    return OptimiserUse(**{"kind": "Adam", "steps": 4, "parameters": 4, "reached": 0, "learning_rate": 1e-3, **fields})


@pytest.mark.parametrize(("steps", "reached", "is_sick"), [(1, 0, False), (2, 0, True), (2, 1, False)])
def test_an_optimiser_is_idle_from_its_second_step(steps: int, reached: int, is_sick: bool) -> None:
    given = record(optimisers=(use(steps=steps, reached=reached),))
    assert (of_kind("idle-optimiser", given) is not None) is is_sick


@pytest.mark.parametrize(
    ("fields", "is_sick"),
    [({}, True), ({"steps": 1}, False), ({"reached": 0}, False), ({"foreign": 0}, False), ({"steps": 2}, True)],
)
def test_a_layer_is_in_no_optimiser_beside_one_that_holds_others(fields: dict[str, Any], is_sick: bool) -> None:
    given = record(
        [layer(i, optimised=i != 3) for i in range(8)], optimisers=(use(**{"reached": 2, "foreign": 2, **fields}),)
    )
    assert (of_kind("unoptimised-layer", given) is not None) is is_sick


def test_those_layers_alone_are_in_no_optimiser() -> None:
    held = {2: False, 3: None, 5: False, 6: False}  # None: not known
    stale = use(reached=2, foreign=2)
    finding = of_kind(
        "unoptimised-layer",
        record(
            [layer(i, optimised=held.get(i, True), norm=0.0 if i == 6 else 0.1) for i in range(8)], optimisers=(stale,)
        ),
    )
    assert finding is not None
    assert finding.layers == ("fc2", "fc5")
    assert finding.message.startswith("'fc2' and 1 other layer received")


@pytest.mark.parametrize(("number", "more"), [(1, ""), (2, " of 1 other layer"), (3, " of 2 other layers")])
def test_layers_of_identical_units_are_counted(number: int, more: str) -> None:
    finding = of_kind("identical-units", record([layer(i, identical_units=i < number) for i in range(8)]))
    assert finding is not None
    assert finding.message == "all 24 units of 'fc0' hold the same weights" + (
        f", and so do those{more}" if more else ""
    )


@pytest.mark.parametrize(("saturation", "is_sick"), [(0.0, False), (0.0002, True)])
def test_nothing_saturated_is_below_any_limit(saturation: float, is_sick: bool) -> None:
    flat = [replace(signal(i, saturation=saturation), kind="Tanh") for i in range(4)]
    assert (of_kind("saturated-activations", record(signals=tuple(flat)), max_saturation=1e-4) is not None) is is_sick
    assert of_kind("saturated-activations", record(signals=tuple(flat[:2])), max_saturation=1e-4) is None


@pytest.mark.parametrize(
    ("loss", "said"), [("log", "a logarithm is given the output of a"), ("cross_entropy", "cross_entropy is given the")]
)
def test_what_is_given_an_activation(loss: str, said: str) -> None:
    finding = of_kind("activation-before-loss", put(sick("activation-before-loss"), "loss_graph.activated_loss", loss))
    assert finding is not None
    assert finding.message.startswith(said)


@pytest.mark.parametrize("norm", [0.0, 0.5])
def test_the_norm_is_told_as_it_is(norm: float) -> None:
    finding = of_kind("small-norm", record([layer(i, norm=norm if i == 4 else 2.0) for i in range(8)]), min_norm=1.0)
    assert finding is not None
    assert (finding.layers, finding.value) == (("fc4",), norm)
    assert of_kind("small-norm", record([layer(i, norm=1.0) for i in range(8)]), min_norm=1.0) is None


@pytest.mark.parametrize(
    ("shares", "rate", "is_sick"),
    [
        ([0.91, 0.91, 0.1], 1e-3, True),
        ([0.9, 0.9, 0.1], 1e-3, False),
        ([0.91, 0.91, 0.1, 0.1], 1e-3, False),
        ([0.91, None, None, None], 1e-3, True),
        ([0.91, 0.91, 0.1], 0.0, False),
    ],
)
def test_updates_are_lost_where_most_of_most_layers_are(shares: list[float | None], rate: float, is_sick: bool) -> None:
    layers = [layer(i, lost_update=share) for i, share in enumerate(shares)]
    given = record(layers, precision="float16", optimisers=(use(reached=4, learning_rate=rate),))
    assert (of_kind("lost-update", given) is not None) is is_sick


def grown(sizes: Sequence[float], norms: int = 0, **fields: Any) -> GradientRecord:
    """A record in which the signal has these sizes, behind some batch normalisations."""
    signals = [
        replace(signal(i, rms=size), kind="BatchNorm1d" if i < norms else "Linear") for i, size in enumerate(sizes)
    ]
    return record([layer(i) for i in range(len(sizes))], signals=tuple(signals), **fields)


@pytest.mark.parametrize(
    ("sizes", "is_sick"),
    [
        ([1, 1, 10, 30, 101, 1], True),
        ([1, 1, 10, 30, 100, 1], False),
        ([2, 2, 10, 30, 101, 1], False),  # twice as large from the start
        ([1, 2, 10, 30, 101, 1], False),  # the first quarter of five are two
        ([0.1, 0.1, 1, 10, 99, 1], False),  # what begins below one has room
        ([0.1, 0.1, 1, 10, 101, 1], True),
        ([1, 1, 1, 1, 999, 1], False),  # one layer alone
        ([1, 1, 1, 1, 1000, 1], False),
        ([1, 1, 1, 1, 1001, 1], True),
        ([1, 1, 1, 1, 1, 1001], False),  # the last may be the unit of the target
        ([1, 1001], False),
        ([1, 1001, 1], True),
    ],
)
def test_how_far_a_signal_may_grow(sizes: Sequence[float], is_sick: bool) -> None:
    assert (of_kind("exploding-signal", grown(sizes)) is not None) is is_sick


@pytest.mark.parametrize(
    ("norms", "steepest", "is_sick"),
    [
        (0, 999, False),
        (0, 1000, False),
        (0, 1001, True),
        (1, 1210, False),
        (1, 1212, True),
        (8, 4600, False),
        (8, 4660, True),
    ],
)
def test_each_batch_normalisation_adds_room(norms: int, steepest: float, is_sick: bool) -> None:
    layers = [layer(i, sensitivity=steepest if i == 7 else 1.0) for i in range(8)]
    given = replace(grown([1e-9] * 8, norms, loss=1.0), layers=tuple(layers))
    assert (of_kind("exploding-gradient", given) is not None) is is_sick
    assert of_kind("exploding-gradient", given, max_elasticity=1000.5) is not None or steepest <= 1000


@pytest.mark.parametrize(("steepest", "is_sick"), [(0.99e5, False), (1.01e5, True)])
def test_a_hundred_batch_normalisations_add_no_more_room_than_thirty(steepest: float, is_sick: bool) -> None:
    layers = [layer(i, sensitivity=steepest) for i in range(100)]
    given = replace(grown([1e-9] * 100, 100, loss=1.0), layers=tuple(layers))
    assert (of_kind("exploding-gradient", given) is not None) is is_sick


@pytest.mark.parametrize(
    ("fields", "record_fields", "said"),
    [
        ({"foreign": 4}, {}, "the optimiser was made before layers were replaced"),
        ({"foreign": 3}, {}, "the model's output is cut off"),
        ({"frozen": 4}, {}, "requires_grad is False for all of them"),
        ({"frozen": 3}, {}, "the model's output is cut off"),
        ({"frozen": 3}, {"detached_loss": True}, "the loss has no graph"),
        ({}, {}, "the model's output is cut off"),
    ],
)
def test_why_an_optimiser_is_idle(fields: dict[str, Any], record_fields: dict[str, Any], said: str) -> None:
    finding = of_kind("idle-optimiser", record(optimisers=(use(**fields),), **record_fields))
    assert finding is not None
    assert finding.cause.startswith(said)


def test_the_ratio_to_a_gradient_of_zero_is_infinite() -> None:
    layers = [layer(i, norm=0.0 if i == 1 else 0.1) for i in range(8)]
    finding = of_kind("uneven-norms", record(layers), max_ratio=1e30)
    assert finding is not None
    assert finding.value == float("inf")
    assert finding.layers[0] == "fc1"
    assert of_kind("uneven-norms", record([layer(0)]), max_ratio=1.0) is None
    assert of_kind("uneven-norms", record([layer(0), layer(1)]), max_ratio=1.0) is None


@pytest.mark.parametrize(("module", "said"), [("rnn", "in front of 'rnn' or in it"), ("", "in the model another")])
def test_where_samples_are_mixed(module: str, said: str) -> None:
    finding = of_kind("mixed-samples", record(sample_mixing=0.5, mixed_at=module))
    assert finding is not None
    assert said in finding.cause


@pytest.mark.parametrize(("samples", "is_sick"), [(1, False), (2, True), (3, True)])
def test_two_samples_can_be_taken_for_time(samples: int, is_sick: bool) -> None:
    given = record(
        samples=samples,
        loss_graph=LossGraph(single_targets=samples),
        signals=(signal(0), replace(signal(1), kind="GRU", taken_for_time=samples, taken_for_batch=2 * samples + 1)),
    )
    assert (of_kind("mixed-samples", given) is not None) is is_sick


@pytest.mark.parametrize(("size", "is_sick"), [(0.03, False), (0.0299, True)])
@pytest.mark.parametrize("number", [2, 3])
def test_the_median_of_three_normalisations(size: float, is_sick: bool, number: int) -> None:
    signals = [replace(signal(i, rms=size), name=f"norm{i}", kind="LayerNorm") for i in range(number)]
    finding = of_kind("ineffective-normalisation", record(signals=tuple(signals)))
    assert (finding is not None) is (is_sick and number == 3)


def test_copies_of_a_model_are_told_once() -> None:
    sick_one, other = record(model="A"), record(model="B")
    finding = of_kind("uneven-norms", record([layer(0), layer(1, norm=9.0)]), max_ratio=2)
    assert finding is not None
    told = told_once(
        [(sick_one, (finding,)), (other, (finding,)), (sick_one, (finding,)), (sick_one, ()), (sick_one, ())]
    )
    assert [(given.model, len(findings)) for given, findings in told] == [("A", 1), ("B", 1), ("A", 0), ("A", 0)]
    assert [len(given.notes) for given, _ in told] == [1, 0, 0, 0]
    assert told[0][0].notes[0].startswith("2 models of this make were trained")


def test_of_dead_units_those_are_told_that_are_still_dead() -> None:
    later = record([layer(i, dead=0.97 if i == 5 else 0.0) for i in range(8)], steps=4)
    first = record([layer(i, dead=0.95 if i in (2, 5) else 0.0) for i in range(8)])
    assert [finding.layer for finding in found(first)] == ["fc2", "fc5"]
    assert [(finding.layer, finding.value) for finding in found(replace(first, later=later))] == [("fc5", 0.97)]
    assert found(replace(first, later=record(steps=4))) == []
