"""Two measurements of one model by hand: what rounding explains, and where a difference begins."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from records import layer, record, signal

from pytest_gradhealth import Limits
from pytest_gradhealth.judge.disagreement import disagreement
from pytest_gradhealth.record import Finding, GradientRecord


def measured(
    norms: dict[int, float | None] | None = None, sizes: dict[int, float] | None = None, **fields: Any
) -> GradientRecord:
    own = [layer(n, norm=(norms or {}).get(n, 1.0)) for n in range(4)]
    signals = tuple(signal(n, rms=(sizes or {}).get(n, 1.0)) for n in range(4))
    return replace(record(own), signals=signals, **{"precision": "float32", "device": "cpu", **fields})


def judged(here: GradientRecord, there: GradientRecord, **limits: Any) -> Finding | None:
    return disagreement(here, there, Limits(**limits))


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({"precision": "float64"}, 2**-53),
        ({"precision": "float32"}, 2**-18),
        ({"precision": "float32", "device": "cuda:0"}, 2**-11),
        ({"precision": "float64", "device": "cuda:0"}, 2**-53),
        ({"precision": "float16"}, 2**-11),
        ({"precision": "autocast-bfloat16"}, 2**-8),
    ],
)
def test_a_difference_counts_in_roundings_of_the_coarser(fields: dict[str, str], unit: float) -> None:
    exact = measured(precision="float64")
    for here, there in (({1: 1 - 4 * unit}, {}), ({}, {1: 1 - 4 * unit})):
        pair = (measured(here, **fields), replace(exact, layers=measured(there).layers))
        for one, other in (pair, pair[::-1]):
            assert judged(one, other, max_disagreement=4) is None
            finding = judged(one, other, max_disagreement=3.9)
            assert finding is not None
            assert finding.value == pytest.approx(4)
            assert (finding.limit, finding.limit_name) == (3.9, "max_disagreement")
            assert judged(one, other, max_disagreement=None) is None


def test_it_begins_at_the_last_layer_where_all_outputs_agree() -> None:
    finding = judged(measured({0: 0.5, 1: 0.4}), measured())
    assert finding is not None
    assert finding.layers == ("fc1", "fc0")
    assert finding.cause == "it begins on the way back at 'fc1': forward, all outputs agree"
    assert "of 'fc1' is 0.4 on cpu in float32 and 1 on cpu in float32" in finding.message
    assert finding.message.endswith("; 2 layers differ")


def test_it_begins_at_the_first_output_that_differs() -> None:
    finding = judged(measured({0: 0.5, 1: 0.4}, {2: 0.9, 3: 0.5}), measured())
    assert finding is not None
    assert finding.layers == ("fc2", "fc1", "fc0") or finding.layers == ("fc2", "fc0", "fc1")
    assert finding.cause.startswith("it begins on the way forward at 'fc2': its output has a size of 0.9 on cpu")
    assert "of 'fc1' is 0.4" in finding.message  # of those that differ the one that differs most


def test_a_module_that_holds_others_begins_nothing() -> None:
    here, there = measured({0: 0.5}, {0: 0.5}), measured()
    inner = replace(here.signals[1], name="fc0.inner", rms=0.5)
    finding = judged(
        replace(here, signals=(*here.signals, inner)), replace(there, signals=(*there.signals, replace(inner, rms=1.0)))
    )
    assert finding is not None
    assert finding.layers[0] == "fc0.inner"


def test_what_is_no_number_on_both_sides_is_no_difference() -> None:
    finding = judged(measured({0: 0.5}, {1: math.nan}), measured({}, {1: math.nan}))
    assert finding is not None
    assert "forward, all outputs agree" in finding.cause
    finding = judged(measured({0: 0.5}, {1: math.nan}), measured())
    assert finding is not None
    assert finding.layers[0] == "fc1"


@pytest.mark.parametrize(("size", "told"), [(1e-3, False), (1.01e-3, True)])
def test_next_to_a_large_gradient_a_small_one_is_rounding(size: float, told: bool) -> None:
    for norms in ((size, 0.0), (0.0, size), (size, None)):
        finding = judged(measured({0: norms[0]}), measured({0: norms[1]}))
        assert (finding is not None) is told


@pytest.mark.parametrize("largest", [math.inf, math.nan])
def test_a_reference_that_exploded_tells_nothing(largest: float) -> None:
    assert judged(measured({1: 0.5}), measured({0: largest})) is None


def test_layers_that_are_ignored_frozen_or_in_one_alone_are_left_out() -> None:
    here, there = measured({0: 0.5}), measured()
    assert judged(here, there, ignore=["fc0"]) is None
    frozen = replace(here, layers=(replace(here.layers[0], trainable=0), *here.layers[1:]))
    assert judged(frozen, there) is None
    assert judged(here, replace(there, layers=there.layers[1:])) is None


def test_a_gradient_that_never_arrives_is_zero() -> None:
    finding = judged(measured({0: None}), measured())
    assert finding is not None
    assert "of 'fc0' is 0 on cpu in float32 and 1 on cpu" in finding.message
    assert finding.value == 2**18


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_size_of_all_gradients_does_not_matter(scale: float) -> None:
    finding = judged(
        measured({0: 0.5 * scale, **dict.fromkeys((1, 2, 3), scale)}), measured(dict.fromkeys(range(4), scale))
    )
    assert finding is not None
    assert finding.value == pytest.approx(2**17)
