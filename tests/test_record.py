"""Records are plain data: they cross processes and files whole."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pytest_gradhealth
from pytest_gradhealth import record as data
from pytest_gradhealth.record import (
    Check,
    CustomFunction,
    Finding,
    GradientRecord,
    Histogram,
    LayerGradient,
    Operation,
    ParameterGradient,
    Signal,
    upstream_of,
)
from pytest_gradhealth.report import store


def layer(name: str = "fc", **fields: Any) -> LayerGradient:
    return LayerGradient(
        **{"name": name, "kind": "Linear", "order": 0, "parameters": 6, "trainable": 6, "norm": 1.0, **fields}
    )


def record(*layers: LayerGradient, **fields: Any) -> GradientRecord:
    return GradientRecord(model="Net", layers=layers, **fields)


def test_a_layer_by_name_and_by_place() -> None:
    found = record(layer("stem"), layer("head"))
    assert found["head"] is found[1] is found.layers[1]
    assert [x.name for x in found] == list(found.names) == ["stem", "head"]
    assert len(found) == 2


def test_a_tied_layer_by_either_name_and_its_own_row_first() -> None:
    found = record(layer("embed", tied=("head", "alias")), layer("head"))
    assert found["alias"].name == "embed"
    assert found["head"].name == "head"
    assert "alias" in found
    assert "nothing" not in found


def test_an_unknown_layer_names_those_there_are() -> None:
    with pytest.raises(KeyError, match="no layer 'haed' in Net; its layers are stem, head"):
        record(layer("stem"), layer("head"))["haed"]


def test_layers_by_pattern() -> None:
    found = record(layer("a.conv"), layer("a.norm"), layer("b.conv"))
    assert [x.name for x in found.matching("*.conv")] == ["a.conv", "b.conv"]


def test_two_layers_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unique, got \['a'\]"):
        record(layer("a"), layer("a"), layer("b"))


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer().norm = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (np.float64(0.5), 0.5),
        (np.float32(0.25), 0.25),
        (torch.tensor(2.5), 2.5),
        (1, 1),
        (1.23456789e-30, 1.23457e-30),
    ],
)
def test_numbers_become_plain_scalars(given: Any, written: Any) -> None:
    data = layer(weight_norm=given).to_dict()["weight_norm"]
    assert data == written
    assert type(data) in (float, int, str)


@pytest.mark.parametrize("value", [np.int64(3), True])
def test_counts_become_plain_integers(value: Any) -> None:
    data = layer(nan=value).to_dict()["nan"]
    assert type(data) in (int, bool, float)
    assert data == value


def test_a_string_of_another_type_becomes_plain() -> None:
    class Name(str):
        pass

    assert type(layer(name=Name("fc")).to_dict()["name"]) is str


def test_what_is_not_data_is_refused() -> None:
    with pytest.raises(TypeError, match=r"<object object at .*> is neither a number, a string, nor a list or mapping"):
        Check(name="x", record=record(), metadata={"a": object()}).to_dict()


def test_defaults_are_left_out() -> None:
    assert set(layer(name="a").to_dict()) == {"name", "kind", "order", "parameters", "trainable", "norm"}


def test_what_a_layer_tells_of_itself() -> None:
    assert (layer().arrived, layer(norm=0.0).arrived, layer(norm=None).arrived) == (True, True, False)
    assert (layer().frozen, layer(trainable=0).frozen) == (False, True)
    assert (layer(zero_weights=("bias",)).starts_at_zero, layer(zero_weights=("weight",)).starts_at_zero) == (
        False,
        True,
    )


def signal(**fields: Any) -> Signal:
    return Signal(**{"name": "fc", "kind": "Linear", "order": 0, **fields})


def test_what_a_module_tells_of_itself() -> None:
    assert (signal(rms=2.0).amplitude, signal(rms=2.0, sample_variation=0.75).amplitude) == (None, 1.5)
    assert (signal().input_peak, signal(input_min=-3.0, input_max=2.0).input_peak) == (0.0, 3.0)
    assert signal(input_min=0.0, input_max=0.0).input_is_zero
    assert not signal(input_min=0.0, input_max=1.0).input_is_zero
    assert not signal(input_min=-1.0, input_max=0.0).input_is_zero
    assert not signal().input_is_zero


def test_what_one_step_of_a_recurrence_passes_on() -> None:
    assert signal(steps=8, time_reach=1e-6).step_factor == pytest.approx(0.1)
    assert signal(steps=8).step_factor is None
    assert signal(time_reach=1e-6).step_factor is None


@pytest.mark.parametrize(("name", "is_step"), [("round", True), ("round_", True), ("relu_", False), ("relu", False)])
def test_functions_without_a_slope(name: str, is_step: bool) -> None:
    assert Operation(name=name, order=0).is_step is is_step


@pytest.mark.parametrize(
    ("forward", "backward", "difference"),
    [(4.0, 2.0, 0.5), (2.0, 4.0, 0.5), (1.0, -1.0, 2.0), (0.0, 0.0, 0.0), (0.0, 1e-200, 1.0)],
)
def test_how_far_two_derivatives_are_apart(forward: float, backward: float, difference: float) -> None:
    assert CustomFunction(name="f", forward=forward, backward=backward).difference == difference


def test_what_lies_in_front_of_a_layer() -> None:
    """Two towers that meet, in a model of which one layer does not say what it comes behind."""
    ahead = upstream_of(
        [
            layer("a", predecessors=()),
            layer("b", predecessors=("unknown",)),
            layer("c", predecessors=("a",)),
            layer("d", predecessors=("b", "c")),
            layer("e"),
        ]
    )
    assert {name: set(found) for name, found in ahead.items()} == {
        "a": set(),
        "b": set(),
        "c": {"a"},
        "d": {"a", "b", "c"},
        "e": {"a", "b", "c", "d"},
    }
    assert [len(found) for found in ahead.values()] == [0, 0, 1, 3, 4]
    assert "a" in ahead["c"]
    assert "b" not in ahead["c"]
    assert 0 not in ahead["c"]
    assert set(ahead["b"] | ahead["c"]) == {"a"}
    assert set(ahead["c"] | {"x"}) == {"a", "x"}


def test_a_loop_lies_in_front_of_itself() -> None:
    ahead = upstream_of(
        [layer("a", predecessors=("c",)), layer("b", predecessors=("a",)), layer("c", predecessors=("b",))]
    )
    assert all(set(found) == {"a", "b", "c"} for found in ahead.values())


KINDS = [kind for kind in vars(data).values() if dataclasses.is_dataclass(kind)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_data_is_frozen_small_and_made_by_name(kind: Any) -> None:
    fields = dataclasses.fields(kind)
    made = kind(**{field.name: () for field in fields})
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, fields[0].name, "another")
    assert not hasattr(made, "__dict__")
    with pytest.raises(TypeError, match="takes 1 positional argument"):
        kind("by place")


SCHEMA = json.loads(Path(store.__file__).with_name("schema-1.json").read_text("utf-8"))["$defs"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.__name__ in SCHEMA], ids=lambda kind: kind.__name__)
def test_what_a_report_leaves_out_is_what_its_schema_says(kind: Any) -> None:
    """Whoever knows the schema alone reads the same."""
    told = SCHEMA[kind.__name__]
    for found in dataclasses.fields(kind):
        if found.name == "histogram":
            continue  # on the page and in TensorBoard only
        if found.name in told["required"]:
            assert found.default is found.default_factory is dataclasses.MISSING
        elif found.default_factory is dataclasses.MISSING:
            written = json.loads(json.dumps(found.default))
            assert (found.name, written) == (found.name, told["properties"][found.name]["default"])


def test_unknown_keys_are_ignored_and_missing_ones_take_their_default() -> None:
    data = layer(dead=0.5, units=4).to_dict() | {"invented": 1}
    del data["units"]
    assert LayerGradient.from_dict(data) == layer(dead=0.5)


number = st.floats(allow_nan=False, width=16)
histograms = st.builds(
    Histogram,
    lowest=number,
    highest=number,
    total=number,
    squares=number,
    edges=st.lists(number).map(tuple),
    counts=st.lists(st.integers(0, 10**12)).map(tuple),
)
layers = st.builds(
    LayerGradient,
    name=st.text(),
    kind=st.text(),
    order=st.none() | st.integers(0, 99),
    parameters=st.integers(0, 10**12),
    trainable=st.integers(0, 10**12),
    shape=st.lists(st.integers(0, 9)).map(tuple),
    norm=st.none() | number,
    signal=st.none() | number,
    dead=number,
    nan=st.integers(0, 9),
    missing=st.lists(st.text()).map(tuple),
    histogram=st.none() | histograms,
)
signals = st.builds(
    Signal, name=st.text(), kind=st.text(), order=st.integers(0, 9), input_attached=st.none() | st.booleans()
)
records = st.builds(
    GradientRecord,
    model=st.text(),
    loss=st.none() | number,
    layers=st.lists(layers, unique_by=lambda found: found.name, max_size=3).map(tuple),
    signals=st.lists(signals, max_size=2).map(tuple),
    notes=st.lists(st.text()).map(tuple),
)
names = st.lists(st.text()).map(tuple)
findings = st.builds(Finding, kind=st.text(), layers=names, message=st.text(), provisional=st.booleans())
checks = st.builds(
    Check,
    name=st.text(),
    record=records.flatmap(lambda first: records.map(lambda later: dataclasses.replace(first, later=later))),
    findings=st.lists(findings, max_size=2).map(tuple),
    judged=st.booleans(),
    metadata=st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.booleans())),
)


@given(checks)
def test_a_check_survives_json_and_back(check: Check) -> None:
    text = json.dumps(check.to_dict(), allow_nan=False)
    again = Check.from_dict(json.loads(text))
    assert again.to_dict() == check.to_dict()
    assert (again.name, again.findings, again.record.names) == (check.name, check.findings, check.record.names)


def test_nan_survives_json_and_back() -> None:
    again = LayerGradient.from_dict(json.loads(json.dumps(layer(norm=math.nan, reach=math.inf).to_dict())))
    assert math.isnan(again.norm or 0.0)
    assert again.reach == math.inf


def test_a_record_can_be_pickled() -> None:
    found = record(layer(), later=record(layer("other")))
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("name", [name for name in pytest_gradhealth.__all__ if name != "__version__"])
def test_public_names_are_there_and_show_the_public_package(name: str) -> None:
    found = getattr(pytest_gradhealth, name)
    assert found.__module__.startswith("pytest_gradhealth")


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert pytest_gradhealth.__version__ == version("pytest-gradhealth")


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = pytest_gradhealth.Nothing


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("models/net.py:12", ("models/net.py", 12)),
        ("net.py:1", ("net.py", 1)),
        ("", None),
        ("net.py", None),
        (":3", None),
        ("net.py:x", None),
        ("/etc/passwd:3", None),
        ("../net.py:3", None),
        ("a/../../net.py:3", None),
        ("C:\\net.py:3", None),
    ],
)
def test_the_place_of_a_fault_is_inside_the_project(where: str, place: tuple[str, int] | None) -> None:
    assert Finding(kind="detached-layer", layers=(), message="", where=where).place == place


def parameter(name: str, largest: float | None = None) -> ParameterGradient:
    return ParameterGradient(name=name, shape=(2, 3), norm=1.0, largest=largest)


def test_the_gradient_of_a_parameter_by_name() -> None:
    found = layer(gradients=(parameter("weight"), parameter("bias")))
    assert [found[name].name for name in ("weight", "bias")] == ["weight", "bias"]
    with pytest.raises(KeyError, match="no trainable parameter 'wieght' in 'fc'; it has weight, bias"):
        found["wieght"]
    with pytest.raises(KeyError, match="in 'the model itself'; it has none"):
        layer("")["weight"]


@pytest.mark.parametrize(
    ("largest", "norm"),
    [((2.0, 3.0), 3.0), ((3.0, None), 3.0), ((math.nan, 3.0), math.nan), ((3.0, math.nan), math.nan)],
)
def test_the_largest_element_of_a_layer(largest: tuple[float | None, float | None], norm: float) -> None:
    found = layer(gradients=tuple(parameter(str(i), size) for i, size in enumerate(largest)))
    assert found.vector_norm(math.inf) == pytest.approx(norm, nan_ok=True)
    assert found.vector_norm() == found.vector_norm(2) == 1.0


def test_norms_that_were_not_measured_or_never_came() -> None:
    assert layer(norm=None).vector_norm(math.inf) is None
    with pytest.raises(ValueError, match="ord=1 is not measured: a record has norms of order 2 and inf"):
        layer().vector_norm(1)
    with pytest.raises(ValueError, match="on request only: give histograms=True"):
        layer(gradients=(parameter("weight"),)).vector_norm(math.inf)


@pytest.mark.parametrize(
    ("where", "seen"),
    [("/work/net.py:3", "net.py:3"), ("/other/net.py:3", "/other/net.py:3"), ("", ""), ("net.py:3", "net.py:3")],
)
def test_a_place_as_seen_from_the_root_of_the_tests(where: str, seen: str) -> None:
    finding = Finding(kind="detached-layer", layers=(), message="", where=where)
    assert finding.relative_to(PurePosixPath("/work")).where == seen
