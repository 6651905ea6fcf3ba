"""Where it is lost: which layers a finding names, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from records import changed, layer, record, signal

from pytest_gradhealth import Limits
from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import GradientRecord, Operation


def view(given: GradientRecord) -> View:
    return View(given, Limits())


def of_signals(**columns: Sequence[Any]) -> View:
    """A view of layers whose modules have these values."""
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    layers, signals = [layer(i) for i in range(len(rows))], [signal(i, **row) for i, row in enumerate(rows)]
    return view(record(layers, signals=tuple(signals)))


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ([1, 1.24, 1, 1], ["fc0"]),  # nothing grows by a quarter
        ([1, 1.26, 1, 1], ["fc1"]),
        ([1, 10, 101, 101], ["fc2"]),  # one accounts for half of it
        ([1, 10, 100, 1100], ["fc3", "fc1", "fc2"]),
        ([0, 10, 100, 1000], ["fc2"]),  # what is not known is not compared
    ],
)
def test_where_a_signal_grows(sizes: Sequence[float], named: list[str]) -> None:
    assert localise.growing_stretch(of_signals(rms=sizes)) == named


@pytest.mark.parametrize(
    ("sizes", "named"),
    [([1, 0.81, 1, 1], ["fc0"]), ([1, 0.79, 1, 1], ["fc1"]), ([1, 0.09, 0.009, 0.0007], ["fc3", "fc1", "fc2"])],
)
def test_where_a_signal_fades(sizes: Sequence[float], named: list[str]) -> None:
    assert localise.dimming_stretch(of_signals(rms=sizes)) == named
    assert localise.collapse_stretch(of_signals(sample_variation=sizes), "samples") == named
    assert localise.collapse_stretch(of_signals(token_variation=sizes), "tokens") == named


def test_where_samples_become_alike_rounding_is_not_compared() -> None:
    assert localise.collapse_stretch(of_signals(sample_variation=[1e-3, 1e-5, 1e-7, 1e-9]), "samples") == ["fc1"]


def test_where_late_positions_begin_to_count() -> None:
    assert localise.overlooking_stretch(of_signals(position_reach=[1e-3, 1e-2, 1.0, 1.0])) == ["fc2"]
    assert localise.overlooking_stretch(of_signals(position_reach=[None, None, 1.0, 1.0])) == ["fc0"]


def test_the_value_behind_a_layer_is_that_of_the_last_module_in_front_of_the_next() -> None:
    """An activation belongs to the layer before it."""
    relu = replace(signal(1), name="relu", kind="ReLU", order=3, rms=0.1)
    given = record([layer(0), layer(1), layer(2)], signals=(signal(0), signal(1), relu, signal(2, rms=0.1)))
    assert localise.dimming_stretch(view(given)) == ["fc1"]


@pytest.mark.parametrize(
    ("gains", "named"),
    [
        ([None, 0.81, 1, 1], ["fc0"]),  # none loses: the last of the front
        ([None, 0.79, 1, 1], ["fc1"]),
        ([None, 0.1, 0.1, 0.09], ["fc3", "fc1", "fc2"]),
        ([None, 1e-9, float("inf"), 0.0], ["fc1"]),
    ],
)
def test_where_a_gradient_vanishes(gains: Sequence[float | None], named: list[str]) -> None:
    assert localise.vanishing_stretch(view(record([layer(i, gain=gain) for i, gain in enumerate(gains)]))) == named


@pytest.mark.parametrize(
    ("gains", "named"),
    [([None, 1.24, 1, 1], ["fc2"]), ([None, 1.26, 1, 1], ["fc1"]), ([None, 10, 10, 11], ["fc3", "fc1", "fc2"])],
)
def test_where_a_gradient_explodes(gains: Sequence[float | None], named: list[str]) -> None:
    """Where it grows nowhere it is the steepest layer."""
    layers = [layer(i, gain=gain, sensitivity=9.0 if i == 2 else 1.0) for i, gain in enumerate(gains)]
    assert localise.exploding_stretch(view(record(layers))) == named


def test_in_front_of_which_activations_that_saturate() -> None:
    tanhs = [replace(signal(i), name=f"tanh{i}", kind="Tanh", order=2 * i + 1, saturation=s) for i, s in enumerate((0.7, 0.9, 0.8))]  # fmt: skip
    signals = tuple(sorted([*map(signal, range(3)), *tanhs], key=lambda one: one.order))
    given = record([layer(i) for i in range(3)], signals=signals)
    assert localise.saturated_stretch(view(given)) == ["fc1", "fc2", "fc0"]
    alone = record([layer(5)], signals=tuple(tanhs))
    assert localise.saturated_stretch(view(alone)) == ["tanh1"]  # there is no layer in front of them


def test_a_stretch_in_words() -> None:
    given = view(record())
    assert localise.span(given, ["fc3"]) == "at 'fc3'"
    assert localise.span(given, [""]) == "at 'the model'"
    assert localise.span(given, ["fc3", "fc1", "fc2"]) == "over 3 layers from 'fc1' to 'fc3'"


def test_the_end_of_the_dead_is_in_front_of_what_is_given_nothing() -> None:
    fed, starved = signal(2), replace(signal(3), input_min=0.0, input_max=0.0)
    given = view(record(changed(2, norm=0.0), signals=(fed, starved)))
    silent = [given.record["fc2"], given.record["fc3"]]
    assert localise.dead_end(given, silent) == "fc2"
    assert localise.dead_end(given, silent[1:]) == "fc3"
    uncalled = replace(given.record["fc2"], order=None, name="uncalled")
    assert localise.dead_end(given, [silent[0], uncalled]) == "fc2"


@pytest.mark.parametrize(
    ("fields", "shuts"),
    [
        ({"zeros": 0.98}, False),
        ({"zeros": 0.99}, True),
        ({"zeros": 1.0, "input_min": 0.0, "input_max": 0.0}, False),  # it is given nothing
    ],
)
def test_a_module_that_sends_nothing_back(fields: dict[str, Any], shuts: bool) -> None:
    off = replace(signal(3), name="relu", order=7, **fields)
    given = view(record(signals=(*map(signal, range(4)), off, *map(signal, range(4, 8)))))
    assert [found.name for found in localise.shutters(given, "fc3")] == ["relu"] * shuts
    assert list(localise.shutters(given, "fc4")) == []


@pytest.mark.parametrize(
    ("fields", "shuts"),
    [({"zero_slope": 0.98}, False), ({"zero_slope": 0.99}, True), ({"constant": 0.0}, True), ({}, False)],
)
def test_an_operation_that_sends_nothing_back(fields: dict[str, Any], shuts: bool) -> None:
    given = view(record(operations=(Operation(name="clamp", order=6, **fields),)))
    assert [found.name for found in localise.shutters(given, "fc3")] == ["clamp"] * shuts
    assert list(localise.shutters(given, "fc5")) == []


def test_weights_of_zero_behind_a_layer_send_nothing_back() -> None:
    given = view(record(changed(4, zero_weights=("weight",))))
    assert [found.name for found in localise.shutters(given, "fc3")] == ["fc4"]
    assert list(localise.shutters(given, "fc2")) == []


def test_behind_the_last_layer_are_the_last_two_modules() -> None:
    offs = [replace(signal(7), name=f"off{i}", order=15 + i, zeros=1.0) for i in range(3)]
    given = view(record(signals=(*map(signal, range(8)), *offs)))
    assert [found.name for found in localise.shutters(given, "fc7")] == ["off1", "off2"]


@pytest.mark.parametrize(
    ("name", "inside", "is_inside"),
    [("a.b", "a", True), ("a", "a", False), ("ab", "a", False), ("a", "", True), ("", "", False)],
)
def test_what_is_a_part_of_a_module(name: str, inside: str, is_inside: bool) -> None:
    assert localise.is_inside(name, inside) is is_inside


CUT = {"attached": False}
RESTART = {"input_attached": False}


@pytest.mark.parametrize(
    ("fields", "later", "record_fields", "cut"),
    [
        ({}, {}, {}, False),
        (CUT, {}, {}, True),
        ({}, RESTART, {}, True),
        ({}, RESTART | {"gradient": None}, {}, False),
        ({}, {}, {"operations": (Operation(name="detach", order=5, upstream=("fc2",)),)}, True),
        ({}, {}, {"operations": (Operation(name="detach", order=5, upstream=("fc1",)),)}, False),
    ],
)
def test_a_layer_lost_its_way_or_nobody_uses_it(
    fields: dict[str, Any], later: dict[str, Any], record_fields: dict[str, Any], cut: bool
) -> None:
    signals = tuple(signal(n, **{2: fields, 4: later}.get(n, {})) for n in range(8))
    given = view(record(changed(2, norm=None), signals=signals, **record_fields))
    assert localise.is_cut(given, given.record["fc2"]) is cut


@pytest.mark.parametrize(("loss", "cut"), [(1.0, True), (None, False)])
def test_where_nothing_is_trained_the_loss_has_no_graph(loss: float | None, cut: bool) -> None:
    given = view(record([layer(n, norm=None) for n in range(3)], loss=loss))
    assert localise.is_cut(given, given.record["fc1"]) is cut


@pytest.mark.parametrize(("norm", "cut"), [(None, True), (0.1, False)])
def test_a_projection_goes_with_the_attention_that_uses_its_weights(norm: float | None, cut: bool) -> None:
    inner, outer = replace(layer(1), name="attention.out", norm=None), replace(layer(1), name="attention", norm=norm)
    given = view(record([outer, inner], signals=(replace(signal(1, attached=False), name="attention"),)))
    assert localise.is_cut(given, given.record["attention.out"]) is cut
    assert not localise.is_cut(given, replace(layer(3), name="alone"))


def test_without_layers_the_first_module_is_named() -> None:
    silent = [replace(layer(n), order=None) for n in range(2)]
    assert localise.growing_stretch(view(record(silent))) == ["fc0"]
    named = tuple(replace(signal(n), name=f"m{n}") for n in (3, 4))
    assert localise.growing_stretch(view(record(silent, signals=named))) == ["m3"]
    assert localise.growing_stretch(view(record(silent, signals=()))) == [""]


def test_the_last_of_the_layers_that_are_cut_off() -> None:
    layers = [layer(0), layer(5), replace(layer(1), order=None), layer(3)]
    assert localise.cut_site(view(record(layers)), layers) == "fc5"


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({"nonfinite": 2}, "fc2", "arises in 'fc2' (2 values of its output)"),
        ({"nonfinite_input": 3}, "fc2", "arises in front of 'fc2' (3 values)"),
        ({}, "fc7", "the loss is nan: NaN or infinity arises behind 'fc7', the last module"),
    ],
)
def test_where_a_loss_that_is_no_number_arises(fields: dict[str, Any], where: str, said: str) -> None:
    signals = tuple(signal(i, **(fields if i >= 2 else {})) for i in range(8))
    found, message = localise.first_nonfinite(view(record(signals=signals, loss=float("nan"))))
    assert found == where
    assert said in message


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({"nonfinite_gradient": 1}, "fc5", "turns NaN or infinite right behind 'fc5'"),
        ({"nonfinite_input_gradient": 1}, "fc5", "turns NaN or infinite inside 'fc5'"),
        ({"nonfinite": 9}, "fc3", "the gradient of 'fc3' is NaN or infinite"),  # the loss is finite all the same
    ],
)
def test_where_a_gradient_that_is_no_number_arises(fields: dict[str, Any], where: str, said: str) -> None:
    signals = tuple(signal(i, **(fields if i <= 5 else {})) for i in range(8))
    layers = [layer(i, nan=1 if i in (1, 3) else 0) for i in range(8)]
    found, message = localise.first_nonfinite(view(record(layers, signals=signals, loss=1.0)))
    assert found == where
    assert said in message
