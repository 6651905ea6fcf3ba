"""A record as the rules look at it, on either side of every number in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from records import changed, layer, record, signal

from pytest_gradhealth import Limits
from pytest_gradhealth.judge.remarks import remarks
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.record import GradientRecord, LossGraph, Signal


def view(given: GradientRecord, **limits: Any) -> View:
    return View(given, Limits(**limits))


def seen(*signals: Signal, **fields: Any) -> View:
    """A view of a record with these modules, one behind the other."""
    return view(record(signals=tuple(replace(one, order=2 * i) for i, one in enumerate(signals)), **fields))


@pytest.mark.parametrize(("number", "front", "back"), [(1, 1, 1), (4, 1, 2), (5, 2, 2), (8, 2, 2), (9, 3, 3)])
def test_the_front_and_the_back_are_a_quarter_each_and_the_back_is_two_modules(
    number: int, front: int, back: int
) -> None:
    given = view(record([layer(i) for i in range(number)]))
    assert [x.name for x in given.front] == [f"fc{i}" for i in range(front)]
    assert [x.name for x in given.back] == [f"fc{i}" for i in range(number - back, number)]


def test_layers_that_tell_nothing_do_not_count() -> None:
    layers = [
        layer(0, trainable=0),
        layer(1, norm=None),
        layer(2, norm=math.inf),
        layer(3, weight_norm=0.0, zero_weights=("weight",)),
        layer(4, order=None),
        layer(5),
        layer(6),
    ]
    given = view(record(layers), ignore=["fc6"])
    assert [x.name for x in given.judged] == [f"fc{i}" for i in range(1, 6)]
    assert [x.name for x in given.trained] == ["fc3", "fc4", "fc5"]
    assert [x.name for x in given.called] == ["fc0", "fc1", "fc2", "fc3", "fc5", "fc6"]
    assert [x.name for x in given.front] == ["fc5"]
    assert [x.name for x in given.hidden] == ["fc3", "fc5"]  # fc6 is the last, though it is ignored


def test_a_layer_of_weights_that_are_zero_by_half_is_in_front() -> None:
    given = view(record([layer(0, zero_weights=("bias",)), *[layer(i) for i in range(1, 4)]]))
    assert [x.name for x in given.front] == ["fc0"]


@pytest.mark.parametrize(
    ("norm", "steps", "precision", "starved"),
    [
        (1e-13, 0, "float32", True),
        (1.1e-13, 0, "float32", False),
        (1e-14, 1, "float32", True),
        (1.1e-14, 1, "float32", False),
        (0.0, 0, "float64", False),
    ],
)
def test_a_gradient_that_is_as_good_as_zero_beside_the_others(
    norm: float, steps: int, precision: str, starved: bool
) -> None:
    given = view(record(changed(2, norm=norm), steps=steps, precision=precision))
    assert given.is_starved(given.record["fc2"]) is starved


def test_gradients_are_compared_element_by_element() -> None:
    given = view(record([layer(0), layer(1, norm=0.1, trainable=6)]))
    assert given.densest == pytest.approx(0.1 / 6**0.5)
    assert given.largest_norm == 0.1


def normalisation(**fields: Any) -> Signal:
    return replace(signal(1), **{"kind": "LayerNorm", **fields})


@pytest.mark.parametrize(
    ("input_gradient", "fields", "silences"),
    [
        (2.9e-5, {}, True),  # below 1e-4 of gradient times peak, over the peak of the input
        (3.1e-5, {}, False),
        (2.9e-5, {"kind": "Linear"}, False),
        (2.9e-5, {"kind": "BatchNorm2d"}, True),
        (2.9e-5, {"gradient": 0.0}, False),
        (2.9e-5, {"input_min": 0.0, "input_max": 0.0}, False),
        (2.9e-5, {"saturation": 0.51}, False),
        (2.9e-5, {"saturation": 0.5}, True),
        (0.0, {}, False),  # exactly zero in the midst of a model is a hook's work
        (None, {}, False),
    ],
)
def test_a_normalisation_that_cancels_every_gradient(
    input_gradient: float | None, fields: dict[str, Any], silences: bool
) -> None:
    whole = {"gradient": 1.0, "peak": 3.0, "input_min": -9.0, "input_max": 10.0}
    norm = normalisation(**{**whole, "input_gradient": input_gradient, **fields})
    given = seen(signal(0), norm, signal(2))
    assert (given.silencing is not None) is silences
    assert bool(remarks(given.record, given.limits)) is silences


@pytest.mark.parametrize("kind", ["Softmax", "LayerNorm"])
def test_at_the_end_a_gradient_of_exactly_zero_is_cancelled_too(kind: str) -> None:
    norm = replace(normalisation(input_gradient=0.0), kind=kind)
    assert seen(signal(0), norm).silencing == replace(norm, order=2)
    behind = seen(signal(0), replace(norm, input_gradient=1e-12), signal(2)).silencing
    assert (behind is None) is (kind == "Softmax")


@pytest.mark.parametrize(
    ("gradient", "size", "is_sum"),
    [
        (8.0, 64, True),  # the sum: one for each of 64 elements
        (1 / 8, 64, True),  # the mean
        (8.0007, 64, True),
        (8.002, 64, False),
        (1.0, 64, False),
        (1.0, 1, False),
        (2**0.5, 2, True),
        (None, 64, False),
        (0.0, 64, False),
    ],
)
def test_a_loss_that_is_the_plain_sum_of_the_output(gradient: float | None, size: int, is_sum: bool) -> None:
    whole = replace(signal(0), name="", gradient=gradient, size=size)
    assert seen(whole, signal(1)).is_plain_sum is is_sum


@pytest.mark.parametrize(("samples", "constant"), [(None, False), (3, False), (4, True)])
def test_targets_that_are_all_the_same(samples: int | None, constant: bool) -> None:
    given = view(record(samples=samples, loss_graph=LossGraph(constant_targets=True)))
    assert given.targets_are_constant is constant
    assert any("all targets are the same" in note for note in remarks(given.record, given.limits)) is constant
    assert not view(record(samples=samples, loss_graph=LossGraph())).targets_are_constant


@pytest.mark.parametrize(
    ("fields", "differ"),
    [
        ({"input_variation": 1e-6}, True),
        ({"input_variation": 0.9e-6}, False),
        ({"input_variation": None}, True),
        ({"input_variation": 1.0, "input_min": 1.0, "input_max": 1.0}, False),
        ({"input_min": None, "input_max": None, "sample_variation": 1e-6}, True),
        ({"input_min": None, "input_max": None, "sample_variation": 0.9e-6}, False),
    ],
)
@pytest.mark.parametrize("samples", [1, 2])
def test_samples_that_are_all_the_same(fields: dict[str, Any], differ: bool, samples: int) -> None:
    given = seen(replace(signal(0), input_attached=False, **fields), replace(signal(1), input_attached=True), samples=samples)  # fmt: skip
    assert given.samples_differ is differ
    told = any("all samples of the batch are equal" in note for note in remarks(given.record, given.limits))
    assert told is (not differ and samples > 1)


@pytest.mark.parametrize(("variations", "differ"), [([None, 1e-6, 0.0], True), ([0.9e-6, 1.0], False), ([None], True)])
def test_positions_that_are_all_the_same(variations: Sequence[float | None], differ: bool) -> None:
    given = seen(*(signal(i, token_variation=variation) for i, variation in enumerate(variations)))
    assert given.tokens_differ is differ
    assert any("all positions of the input" in note for note in remarks(given.record, given.limits)) is not differ


@pytest.mark.parametrize(
    ("installed", "lost", "trained", "cut"),
    [(True, 3, 2, False), (False, 2, 2, False), (False, 3, 2, True), (True, 3, 0, True), (False, 0, 2, False)],
)
def test_most_layers_of_an_installed_model_without_a_gradient(
    installed: bool, lost: int, trained: int, cut: bool
) -> None:
    layers = [layer(i, installed=True, norm=None if i < lost else 0.1) for i in range(lost + trained)]
    assert view(record(layers, installed=installed)).installed_is_cut is cut


@pytest.mark.parametrize(
    ("weight_norm", "rms", "weak"),
    [(5.0, 0.0299, True), (5.0, 0.0301, False), (0.0, 0.03, False), (10.0, 0.0599, True)],
)
def test_a_normalisation_that_does_not_normalise(weight_norm: float, rms: float, weak: bool) -> None:
    """Its output over its weight's, of 25 elements here."""
    layers = [replace(layer(1), kind="LayerNorm", weight_norm=weight_norm, shape=(25,))]
    given = view(record(layers, signals=(normalisation(rms=rms),)))
    assert given.unnormalised == ["fc1"] * weak
    fed_nothing = normalisation(rms=0.0, input_min=2.0, input_max=2.0)
    assert view(record(layers, signals=(fed_nothing,))).unnormalised == []
    assert view(record(layers, signals=(normalisation(rms=0.0),)), ignore=["fc1"]).unnormalised == []


@pytest.mark.parametrize(("place", "first"), [(0, True), (1, True), (2, False)])
def test_a_normalisation_that_comes_first(place: int, first: bool) -> None:
    given = seen(*(normalisation() if i == place else signal(i) for i in range(4)))
    assert given.normalises_input is first


def test_what_tells_samples_apart_is_the_most_of_the_back_unless_both_ends_know_nothing() -> None:
    whole = replace(signal(0), name="", sample_variation=1.0)
    last = [signal(i, sample_variation=0.2 + i / 10) for i in range(3)]
    assert seen(whole, *last).variation == 0.4
    assert seen(replace(whole, sample_variation=0.9e-6), *last).variation == 0.4
    last[2] = replace(last[2], sample_variation=1e-7)
    assert seen(replace(whole, sample_variation=0.9e-6), *last).variation == 0.9e-6
    assert seen(replace(whole, sample_variation=1e-6), *last).variation == pytest.approx(0.3)
    last[2] = replace(last[2], gradient=None)  # the loss does not depend on it
    assert seen(replace(whole, sample_variation=0.9e-6), *last).variation == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("loss", "gradient", "scale"),
    [(0.0, 0.1, 0.6), (0.5, 0.1, 0.6), (-0.7, 0.1, 0.7), (None, 0.1, 0.6), (None, 1e-6, 6e-6), (0.0, None, 0.0)],
)
def test_what_a_change_of_the_loss_is_compared_with(loss: float | None, gradient: float | None, scale: float) -> None:
    """The loss, or how much it changes with what the last layer gives."""
    last = signal(1, gradient=gradient, rms=2.0, size=9)
    given = view(record([layer(0), layer(1)], signals=(replace(signal(0), gradient=None), last), loss=loss))
    assert given.loss_scale == pytest.approx(scale)


def test_of_which_module_that_is() -> None:
    """A layer that lies in front of no other; in a loop the last layer; without a layer the last module."""
    act = replace(signal(2, gradient=1.0, rms=100.0, size=1), name="act")
    signals = (signal(0, gradient=1.0, rms=3.0, size=1), signal(1, gradient=1.0, rms=5.0, size=1), act)
    chain = [layer(0, predecessors=()), layer(1, predecessors=("fc0",))]
    loop = [layer(0, predecessors=("fc1",)), layer(1, predecessors=("fc0",))]
    beside = [layer(0, predecessors=()), layer(1, predecessors=())]
    scales = [view(record(layers, signals=signals, loss=0.0)).loss_scale for layers in (chain, loop, beside)]
    assert scales == [5.0, 5.0, 5.0]
    large = (replace(signals[0], rms=7.0), *signals[1:])
    scales = [view(record(layers, signals=large, loss=0.0)).loss_scale for layers in (chain, loop, beside)]
    assert scales == [5.0, 5.0, 7.0]
    assert view(record(chain, signals=(act,), loss=0.0)).loss_scale == 100.0


def test_modules_and_operations_between_two_layers() -> None:
    given = view(record())
    assert [one.name for one in given.between("fc2", "fc4")] == ["fc3", "fc4"]
    assert [one.name for one in given.between("unknown", "fc1")] == ["fc0", "fc1"]


def test_layers_that_are_silent_one_behind_the_other() -> None:
    layers = [layer(i, norm=0.0 if i in (1, 2, 4) else 0.1) for i in range(6)]
    runs = view(record(layers)).silent_runs
    assert {name: [one.name for one in run] for name, run in runs.items()} == {
        "fc1": ["fc1", "fc2"],
        "fc2": ["fc1", "fc2"],
        "fc4": ["fc4"],
    }


@pytest.mark.parametrize(("low", "high", "nothing"), [(0.0, 0.0, True), (-1.0, 0.0, False), (0.0, 1.0, False)])
def test_a_model_that_is_fed_zeros(low: float, high: float, nothing: bool) -> None:
    whole = replace(signal(0), name="", input_min=low, input_max=high, input_variation=0.0)
    first = replace(signal(1), input_min=0.0, input_max=0.0)
    assert seen(whole, first, signal(2)).is_fed_zeros is nothing
    assert seen(first, signal(2)).is_fed_zeros
    assert not view(record([], signals=())).is_fed_zeros
