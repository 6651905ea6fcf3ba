"""What a watched pass is evidence of, and which of several counts: on records made by hand, on either side of a number."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from records import changed, layer, record, signal

from pytest_gradhealth import Limits
from pytest_gradhealth.judge.evidence import circumstances, is_set, is_trained
from pytest_gradhealth.judge.passes import combined, has_opening_gate, verdict
from pytest_gradhealth.record import GradientRecord, LayerGradient, LossGraph, OptimiserUse

DEAD = changed(3, norm=0.0)
"""Layers of which one is dead."""


def kinds(*passes: GradientRecord, **limits: Any) -> list[str]:
    return [finding.kind for finding in verdict(passes, Limits(**limits))[1]]


def notes(given: GradientRecord, number: int = 1) -> str:
    return "; ".join(one.note for one in circumstances(given, [given] * number))


@pytest.mark.parametrize(
    ("fields", "opens"),
    [
        ({"shape": (100,), "trainable": 100, "weight_norm": 0.099}, True),
        ({"shape": (100,), "trainable": 100, "weight_norm": 0.101}, False),
        ({"shape": (10, 10), "trainable": 100, "weight_norm": 2.9e-3}, True),
        ({"shape": (10, 10), "trainable": 100, "weight_norm": 3.1e-3}, False),
        ({"weight_norm": 0.0}, False),
        ({"weight_norm": 0.0, "zero_weights": ("weight",)}, True),
        ({"weight_norm": 0.0, "zero_weights": ("bias",)}, False),
        ({"zero_weights": ("weight",), "zero_gradients": ("weight",)}, False),
        ({"zero_weights": ("weight",), "norm": 0.0}, False),
        ({"zero_weights": ("weight",), "norm": None}, False),
    ],
)
def test_a_gate_that_is_about_to_open(fields: dict[str, Any], opens: bool) -> None:
    assert has_opening_gate(record([layer(0), layer(1, **fields)])) is opens


@pytest.mark.parametrize(("steps", "found"), [(1, []), (3, []), (4, ["dead-layer"]), (5, ["dead-layer"])])
def test_behind_a_gate_a_layer_may_be_silent_for_some_steps(steps: int, found: list[str]) -> None:
    gated = [replace(one, shape=(24,), weight_norm=0.1) if one.name == "fc6" else one for one in DEAD]
    assert kinds(record(gated), record(gated, steps=steps)) == found
    assert kinds(record(DEAD), record(DEAD, steps=steps)) == ["dead-layer"]


def test_a_gate_that_still_stands_at_zero_has_not_opened() -> None:
    gated = [replace(one, zero_weights=("weight",)) if one.name == "fc6" else one for one in DEAD]
    assert kinds(record(gated), record(gated, steps=9)) == []


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [(1.0, 0.5, ["dead-layer"]), (1.0, 0.49, []), (-1.0, -0.5, ["dead-layer"]), (None, 1.0, []), (1.0, None, [])],
)
def test_where_everything_is_zero_it_is_a_fault_unless_the_model_has_learnt(
    first: float | None, last: float | None, found: list[str]
) -> None:
    silent = [layer(i, norm=0.0) for i in range(8)]
    assert kinds(record(loss=first), record(silent, loss=last, steps=5)) == found


def test_the_pass_that_was_judged_is_the_one_that_is_shown() -> None:
    shown, (finding,) = verdict([record(), record(DEAD, steps=5)], Limits())
    assert finding.kind == "dead-layer"
    assert shown.steps == 5
    assert "this is pass 6 of the test; nothing was found in its first" in shown.notes


def test_gradients_that_fade_later_have_learnt() -> None:
    faded = [layer(i, reach=1e-9) for i in range(7)] + [layer(7)]
    assert kinds(record(), record(faded, steps=9)) == []
    assert kinds(record(faded), record(faded, steps=9)) == ["vanishing-gradient"]


def test_units_that_are_alike_may_be_set_so_in_a_single_pass() -> None:
    alike = changed(2, identical_units=True)
    assert kinds(record(alike)) == []
    assert kinds(record(alike), record(alike, steps=1)) == ["identical-units"]


@pytest.mark.parametrize(("steps", "known"), [(0, False), (3, False), (4, True)])
def test_what_the_loss_is_made_of_tells_where_the_test_trains(steps: int, known: bool) -> None:
    first = record(changed(2, silent_units=(0, 7)), loss_graph=LossGraph(classes=3))
    shown = combined([first, replace(first, steps=steps)])
    assert (shown.loss_graph is not None) is known
    assert bool(shown["fc2"].silent_units) is known
    assert shown.later is not None
    assert bool(shown.later["fc2"].silent_units) is known
    assert not bool(combined([record(), replace(first, steps=9)]).later["fc2"].silent_units)  # type: ignore[index]


def test_a_loss_that_was_no_number_between_is_the_later_pass() -> None:
    nan, last = record(loss=math.nan, steps=2), record(steps=9)
    later = combined([record(), record(steps=1), nan, last]).later
    assert later is not None
    assert (later.steps, math.isnan(later.loss or 0.0)) == (2, True)
    assert combined([record(), record(loss=math.inf, steps=2), last]).later == last
    assert combined([record()]).later is None


@pytest.mark.parametrize(
    ("layers", "optimisers", "trained"),
    [
        (changed(2, update=1e-3), (), True),
        (changed(2, weight_norm=5.1), (), True),
        (changed(2), (), False),
        ([layer(9, weight_norm=1.0)], (), False),  # it came later
    ],
)
def test_a_test_that_moves_the_weights_trains(
    layers: list[LayerGradient], optimisers: tuple[OptimiserUse, ...], trained: bool
) -> None:
    assert is_trained([record(), record(layers, optimisers=optimisers)]) is trained


@pytest.mark.parametrize(("steps", "trained"), [(0, False), (1, True)])
def test_a_test_in_which_an_optimiser_makes_a_step_trains(steps: int, trained: bool) -> None:
    assert is_trained([record(optimisers=(OptimiserUse(kind="SGD", steps=steps, parameters=1, reached=1),))]) is trained


@pytest.mark.parametrize(("samples", "found"), [(0, []), (1, ["dead-layer"]), (None, ["dead-layer"])])
def test_a_batch_without_samples(samples: int | None, found: list[str]) -> None:
    assert kinds(record(DEAD, samples=samples)) == found


@pytest.mark.parametrize(("loss", "alive", "explained"), [(0.0, False, True), (0.0, True, False), (1.0, False, False)])
def test_a_loss_of_exactly_zero(loss: float, alive: bool, explained: bool) -> None:
    given = record([layer(i, norm=0.1 * alive) for i in range(8)], loss=loss)
    assert ("the loss is exactly zero" in notes(given)) is explained


@pytest.mark.parametrize(
    ("loss", "fields", "explained"),
    [
        (1.1e-4, {}, True),
        (-1.1e-4, {}, True),
        (0.9e-4, {}, False),  # half precision may have lost the gradient
        (1.0, {"step_function": "round"}, False),
        (None, {}, False),
    ],
)
def test_a_loss_that_does_not_change_with_the_output(
    loss: float | None, fields: dict[str, Any], explained: bool
) -> None:
    silent = [layer(i, norm=0.0) for i in range(8)]
    given = record(silent, loss=loss, signals=tuple(signal(i, gradient=0.0) for i in range(8)), **fields)
    assert ("the loss did not change with the output" in notes(given)) is explained
    heard = record(silent, loss=loss, signals=tuple(signal(i, gradient=0.1) for i in range(8)), **fields)
    assert "the loss did not change" not in notes(heard)


def test_what_came_back_to_a_part_of_a_module_is_not_asked() -> None:
    signals = (replace(signal(0), name="block", gradient=0.0), replace(signal(1), name="block.fc", gradient=0.1))
    given = record([layer(i, norm=0.0) for i in range(8)], loss=1.0, signals=signals)
    assert "the loss did not change with the output" in notes(given)


@pytest.mark.parametrize("trained", [False, True])
def test_a_single_number_of_the_output(trained: bool) -> None:
    given = record([replace(one, update=1e-3 if trained else None) for one in DEAD], toy_loss="element")
    assert ("one number of the output was sent back" in notes(given)) is not trained
    assert kinds(given) == ["dead-layer"] * trained


@pytest.mark.parametrize(("kind", "told"), [("BatchNorm1d", True), ("Linear", False)])
def test_the_plain_sum_of_an_output_behind_a_normalisation(kind: str, told: bool) -> None:
    signals = tuple(replace(signal(i), kind=kind) for i in range(8))
    given = record(toy_loss="sum", signals=signals)
    assert "how much it depends on the weights was not judged" in notes(given)
    assert ("gradients were not compared" in notes(given)) is told
    assert "gradients were not compared" not in notes(record(toy_loss="element", signals=signals))


@pytest.mark.parametrize(("place", "told"), [(0, True), (1, False)])
def test_a_batch_that_is_no_number(place: int, told: bool) -> None:
    signals = tuple(signal(i, nonfinite_input=1 if i == place else 0) for i in range(8))
    assert ("the batch itself holds NaN" in notes(record(signals=signals))) is told


@pytest.mark.parametrize(("number", "excused"), [(1, True), (2, True), (3, False)])
@pytest.mark.parametrize("random", [False, True])
def test_blocks_that_are_dropped_at_random(number: int, excused: bool, random: bool) -> None:
    layers = [replace(layer(i, norm=0.0 if i == 2 else 0.1), name=f"blocks.{i}") for i in range(4)]
    passes = [record(layers, random=random, steps=i) for i in range(number)]
    assert kinds(*passes) == ([] if random and excused else ["dead-layer"])


@pytest.mark.parametrize(
    ("reach", "found"), [(0.51e-4, []), (0.49e-4, ["vanishing-gradient"]), (1e-9, ["vanishing-gradient"])]
)
def test_what_is_near_its_limit_in_a_single_pass(reach: float, found: list[str]) -> None:
    faded = [layer(i, reach=reach) for i in range(7)] + [layer(7)]
    assert kinds(record(faded)) == found
    assert kinds(record(faded), record(faded, steps=1)) == ["vanishing-gradient"]
    assert kinds(record(faded), min_reach=0.99e-4) == ["vanishing-gradient"]  # what the user sets holds exactly


@pytest.mark.parametrize(("share", "found"), [(0.94, []), (0.951, ["dead-units"]), (1.0, ["dead-units"])])
def test_a_share_is_near_its_limit_by_what_is_left_of_it(share: float, found: list[str]) -> None:
    assert kinds(record(changed(2, dead=share))) == found


@pytest.mark.parametrize(("positions", "found"), [(1, []), (2, ["dead-layer"])])
def test_attention_over_a_single_position(positions: int, found: list[str]) -> None:
    signals = tuple(signal(i, positions=positions if i == 3 else 0) for i in range(8))
    assert kinds(record(DEAD, signals=signals)) == found


def test_a_limit_that_the_user_has_set() -> None:
    assert is_set(Limits(min_reach=1e-3), "min_reach")
    assert not is_set(Limits(), "min_reach")
    assert not is_set(Limits(), "")


def tower(name: str, norm: float, **fields: Any) -> LayerGradient:
    return replace(layer(0), name=name, norm=norm, predecessors=(), **fields)


@pytest.mark.parametrize(
    ("other", "number", "excused"),
    [
        ({}, 1, True),
        ({}, 2, True),
        ({}, 3, False),
        ({"kind": "Conv2d"}, 1, False),
        ({"shape": (24, 8)}, 1, False),
        ({"norm": 0.0}, 1, False),
        ({"predecessors": ("second",)}, 1, False),  # behind it
    ],
)
def test_one_of_two_towers_that_was_not_chosen(other: dict[str, Any], number: int, excused: bool) -> None:
    twins = [
        tower("second", 0.0),
        replace(tower("first", 0.1), **other),
        replace(layer(5), kind="Head", predecessors=("first",)),
    ]
    passes = [record(twins, steps=i, signals=tuple(replace(signal(i), name=x.name) for i, x in enumerate(twins))) for i in range(number)]  # fmt: skip
    assert ("dead-layer" in kinds(*passes)) is not excused


def test_a_tower_that_comes_in_another_pass() -> None:
    silent = [tower("second", 0.0), tower("first", 0.1)]
    passes = [record(silent), record([tower("second", 0.1), tower("first", 0.1)], steps=1), record(silent, steps=2)]
    assert kinds(*passes) == []
