"""Causes, and what is healthy by design, on records made by hand: for each kind of evidence what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from records import changed, found, layer, record, signal

from pytest_gradhealth import Limits
from pytest_gradhealth.judge.remarks import designed
from pytest_gradhealth.judge.view import View
from pytest_gradhealth.judge.wording import activations, cut_by, factor, geometric_mean, place
from pytest_gradhealth.record import GradientRecord, LayerGradient, Operation, Signal

DEAD = changed(3, norm=0.0)


def of_the_dead(given: GradientRecord) -> str:
    (finding,) = found(given)
    assert finding.kind == "dead-layer"
    return f"{finding.cause}; {finding.remedy}"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "softmax", "constant": 1.0}, "softmax() runs over a single element, so its result is always 1"),
        ({"name": "mul", "constant": 0.0, "where": "a.py:3"}, "mul() at a.py:3 returns only zeros"),
        ({"name": "mul", "constant": 2.0, "zero_slope": 0.995}, "at 100% of its values, mul() has slope zero"),
        ({"name": "round_", "zero_slope": 1.0}, "round_() has slope zero everywhere"),
        ({"name": "clamp", "zero_slope": 0.99}, "at 99% of its values, clamp() has slope zero"),
        ({"name": "clamp", "zero_slope": 0.98}, "something between it and the loss has slope zero"),
    ],
)
def test_an_operation_behind_the_dead(fields: dict[str, Any], said: str) -> None:
    assert said in of_the_dead(record(DEAD, operations=(Operation(order=6, **fields),)))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Dropout", "'off' drops everything"),
        ("GroupNorm", "'off' (GroupNorm) normalises over a single value, so its output is always zero"),
        ("EmbeddingBag", "'off' (EmbeddingBag) returns only zeros: all indices are padding"),
        ("ReLU", "every output of 'off' (ReLU) is zero: its units are dead"),
    ],
)
def test_a_module_of_zeros_behind_the_dead(kind: str, said: str) -> None:
    off = replace(signal(3), name="off", kind=kind, order=7, zeros=1.0)
    signals = (*map(signal, range(4)), off, *map(signal, range(4, 8)))
    assert said in of_the_dead(record(DEAD, signals=signals))


@pytest.mark.parametrize(("peak", "said"), [(50.0, "its units are dead"), (51.0, "the input has values up to 51")])
def test_an_input_out_of_scale_explains_dead_units(peak: float, said: str) -> None:
    off = replace(signal(3), name="off", kind="ReLU", order=7, zeros=1.0)
    first = signal(0, input_max=peak)
    assert said in of_the_dead(record(DEAD, signals=(first, *map(signal, range(1, 4)), off, signal(4))))


def test_a_rectifier_at_the_end() -> None:
    off = replace(signal(7), name="off", kind="ReLU", order=15, zeros=1.0)
    given = record([layer(i, norm=0.0 if i == 7 else 0.1) for i in range(8)], signals=(*map(signal, range(8)), off))
    assert "every output of 'off' (ReLU) at the end of the model is zero" in of_the_dead(given)


@pytest.mark.parametrize(
    ("following", "said"),
    [
        ({"zero_weights": ("weight",)}, "the weights of 'fc4' behind it are all zero and stay zero"),
        ({}, "something between it and the loss"),
    ],
)
def test_the_layer_behind_the_dead(following: dict[str, Any], said: str) -> None:
    layers = [replace(one, **following) if one.name == "fc4" else one for one in DEAD]
    assert said in of_the_dead(record(layers))


@pytest.mark.parametrize(
    ("zero", "kind", "said"),
    [((3, 5), "Linear", "the weights of 2 layers are all zero"), ((3,), "Linear", "something"), ((4, 5), "Linear", "'fc4' behind it"), ((3, 5), "Embedding", "something")],
)  # fmt: skip
def test_several_layers_of_zeros(zero: tuple[int, ...], kind: str, said: str) -> None:
    layers = [replace(one, kind=kind, zero_weights=("weight",)) if i in zero else one for i, one in enumerate(DEAD)]
    assert said in of_the_dead(record(layers))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("item", "turns a tensor into plain numbers"),
        ("multinomial", "draws a random sample"),
        ("argmax", "makes a discrete choice"),
        ("checkpoint", "records no graph"),
        ("detach", "detaches the signal from the graph"),
    ],
)
def test_what_ended_the_graph(name: str, said: str) -> None:
    assert said in cut_by(Operation(name=name, order=0, where="a.py:3"))["cause"]
    assert "at a.py:3" in cut_by(Operation(name=name, order=0, where="a.py:3"))["cause"].replace("checkpoint at", "at")
    assert place(Operation(name=name, order=0)) == ""


def test_factors_in_words() -> None:
    assert (factor(2.04), factor(999.4), factor(1000.0), factor(25000.0)) == ("2.0x", "999.4x", "1e+03 times", "2e+04 times")  # fmt: skip
    assert geometric_mean([8.0, 2.0]) == pytest.approx(4.0)
    assert geometric_mean([8.0, 0.0, 2.0]) == pytest.approx(4.0)
    assert geometric_mean([]) == geometric_mean([0.0]) == 1.0


def test_which_activations_stand_around_a_stretch() -> None:
    kinds = ["Tanh", "Sigmoid", "ReLU", "Dropout", "GELU"]
    between = [replace(signal(i), name=f"act{i}", kind=kind, order=2 * i + 1) for i, kind in enumerate(kinds)]
    signals = tuple(sorted([*map(signal, range(6)), *between], key=lambda one: one.order))
    given = View(record([layer(i) for i in range(6)], signals=signals), Limits())
    assert activations(given, ["fc2"]) == {"Sigmoid": 1, "ReLU": 1}
    assert activations(given, ["fc1", "fc2"]) == {"Tanh": 1, "Sigmoid": 1, "ReLU": 1}
    assert activations(given, ["fc3"]) == {"ReLU": 1}
    assert activations(given, ["unknown"]) == {}


def test_functions_count_where_there_are_no_modules() -> None:
    operations = tuple(Operation(name=name, order=order) for name, order in (("tanh", 1), ("relu_", 4), ("gelu", 9)))
    given = View(record(operations=operations), Limits())
    assert activations(given, ["fc2"]) == {"Relu": 1}


# What is healthy by design


def reasons(layers: list[LayerGradient], *signals: Signal, **fields: Any) -> dict[str, str]:
    seen = signals or tuple(replace(signal(i), name=one.name) for i, one in enumerate(layers))
    return designed(record(layers, signals=seen, **fields), Limits())


def named(name: str, number: int = 0, **fields: Any) -> LayerGradient:
    return replace(layer(number), name=name, **fields)


@pytest.mark.parametrize(
    ("norm", "kind", "reason"),
    [
        (0.99e-7, "LayerNorm", {"fc2": "shift before a normalisation"}),
        (1.01e-7, "LayerNorm", {}),
        (0.99e-7, "Linear", {}),
    ],
)
def test_rounding_in_front_of_a_normalisation(norm: float, kind: str, reason: dict[str, str]) -> None:
    layers = [replace(one, kind=kind) if one.name == "fc3" else one for one in changed(2, norm=norm)]
    assert reasons(layers) == reason


@pytest.mark.parametrize(
    ("teacher", "attached", "is_twin"),
    [
        ({}, True, True),  # it still holds the weights that it was copied from
        ({"weight_norm": 4.0}, True, False),
        ({"weight_norm": 4.0}, False, True),  # it was called without a graph
        ({"weight_norm": 0.0}, True, False),
        ({"kind": "Conv2d"}, False, False),
        ({"shape": (8, 8)}, False, False),
        ({"name": "student.head"}, False, False),
        ({"name": "fc"}, False, False),
        ({"name": "teacher.other"}, False, False),
    ],
)
def test_a_copy_of_a_trained_twin(teacher: dict[str, Any], attached: bool, is_twin: bool) -> None:
    copy = replace(named("teacher.fc", 0, norm=None, missing=("weight",)), **teacher)
    signals = replace(signal(0), name=copy.name, attached=attached), replace(signal(1), name="student.fc")
    found = reasons([copy, named("student.fc", 1), named("student.x", 2)], *signals)
    assert ("copy of a trained twin" in found.values()) is is_twin


def test_a_twin_that_is_not_trained_is_none() -> None:
    layers = [named("teacher.fc", 0, norm=None, missing=("weight",)), named("student.fc", 1, norm=0.0), layer(5)]
    assert "copy of a trained twin" not in reasons(layers).values()


@pytest.mark.parametrize(
    ("missing", "norm", "kind", "tied", "sees"),
    [
        (("bias",), 0.1, "Linear", (), True),
        (("bias",), 0.1, "Conv2d", (), True),
        (("weight",), 0.1, "Linear", (), False),
        (("bias",), None, "Linear", (), False),
        (("bias",), 0.1, "Custom", (), False),
        (("bias",), 0.1, "Linear", ("other",), False),
    ],
)
def test_a_last_bias_that_a_derivative_does_not_see(
    missing: tuple[str, ...], norm: float | None, kind: str, tied: tuple[str, ...], sees: bool
) -> None:
    layers = changed(7, missing=missing, norm=norm, kind=kind, tied=tied)
    assert ("shift that a derivative does not see" in reasons(layers).values()) is sees


@pytest.mark.parametrize(
    ("silent", "number", "excused"), [(1, 4, True), (2, 8, True), (3, 8, False), (1, 3, False), (2, 7, False)]
)
def test_a_quarter_of_an_installed_model_may_be_left_alone(silent: int, number: int, excused: bool) -> None:
    """Each a run of its own."""
    dead = [number - 1 - 2 * i for i in range(silent)]
    layers = [layer(i, installed=True, norm=0.0 if i in dead else 0.1) for i in range(number)]
    assert ("not used by this model" in reasons(layers).values()) is excused


def experts(*sizes: int, name: str = "experts", silent: float | None = 0.0, **fields: Any) -> dict[str, str]:
    """The first expert is silent; each was given so many elements."""
    layers = [named(f"{name}.{i}", i, norm=silent if i == 0 else 0.1, missing=("weight",) if i == 0 and silent is None else (), **fields) for i in range(len(sizes))]  # fmt: skip
    signals = [replace(signal(i), name=one.name, size=size) for i, (one, size) in enumerate(zip(layers, sizes, strict=True))]  # fmt: skip
    return reasons([*layers, layer(9)], *signals)


def test_experts_that_no_sample_is_routed_to() -> None:
    routed = {"experts.0": "expert not routed to"}
    assert experts(0, 64, 64) == routed
    assert experts(64, 64, 64) == routed  # given everything, and multiplied by zero
    assert experts(0, 64, 32, name="layers") == {"layers.0": "expert not routed to"}  # rows as a router gives them
    assert experts(0, 64, 64, name="layers") == {}
    assert experts(0, 64, 32, name="layers", shape=(24,)) == {}
    assert experts(64, 64, 32, name="layers") == {}
    assert experts(0, 64, 64, silent=None) == routed
    assert experts(64, 64, 64, silent=None) == {}


def blocks(*parts: tuple[str, float | None]) -> list[LayerGradient]:
    """Layers of these names and norms; what is called ``r`` is of another kind."""
    return [
        named(
            name,
            number,
            norm=norm,
            missing=("weight",) if norm is None else (),
            kind="Conv1d" if name.startswith("r") else "Linear",
        )
        for number, (name, norm) in enumerate(parts)
    ]


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (blocks(("b.0.x", 0.1), ("b.0.y", 0.1), ("b.1.x", 0.1), ("b.1.y", None)), {"b.1.y": "by-product of the last block"}),
        (blocks(("b.0.x", 0.1), ("b.0.y", 0.1), ("b.1.x", 0.1), ("b.1.y", 0.0)), {"b.1.y": "not asked for in the last block"}),
        (blocks(("b.0.x", 0.1), ("b.0.y", None), ("b.1.x", 0.1), ("b.1.y", None)), {}),  # nor is it in the first
        (blocks(("b.0.x", 0.1), ("b.0.y", None), ("b.1.x", 0.1), ("b.1.y", 0.1)), {}),  # it is not the last
        (blocks(("b.0.x", 0.1), ("b.0.y", 0.1), ("b.1.x", None), ("b.1.y", None), ("head", 0.1)), {}),  # the whole block
        (blocks(("b.0.x", 0.1), ("b.0.y", 0.1), ("b.1.x", 0.0), ("b.1.y", 0.0), ("head", 0.1)), {}),
        (blocks(("b.0.x", 0.1), ("b.0.y", None), ("head", 0.1)), {}),  # there is only one
        (blocks(("s.0", 0.1), ("r.0", 0.1), ("s.1", 0.1), ("r.1", None)), {"r.1": "by-product of the last block"}),
    ],
)  # fmt: skip
def test_what_the_last_block_makes_for_nobody(layers: list[LayerGradient], reason: dict[str, str]) -> None:
    assert reasons(layers) == reason


def test_a_parallel_list_tells_of_layers_that_were_called() -> None:
    layers = blocks(("s.0", 0.1), ("r.0", 0.1), ("s.1", 0.1), ("r.1", None))
    assert reasons(layers, *(replace(signal(i), name=one.name) for i, one in enumerate(layers[:3]))) == {}
