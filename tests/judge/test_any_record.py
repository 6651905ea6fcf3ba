"""Whatever numbers a record holds, it is judged, and each finding is whole."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gradhealth import Limits
from pytest_gradhealth.judge.judge import judge
from pytest_gradhealth.judge.remarks import designed, remarks
from pytest_gradhealth.record import GradientRecord, LayerGradient, LossGraph, Operation, Signal, UnregisteredParameter

sizes = st.sampled_from([0.0, 1e-300, 1e-12, 1e-3, 1.0, 1e6, 1e300, math.inf, math.nan])
shares = st.sampled_from([0.0, 1e-9, 0.5, 1.0])
NAMES = ("", "stem", "blocks.0", "blocks.0.fc", "blocks.0.fc.1", "blocks.1", "blocks.1.fc", "blocks.1.fc.1", "head")


@st.composite
def layers(draw: st.DrawFn, name: str, order: int) -> LayerGradient:
    norm, weight = draw(st.none() | sizes), draw(sizes)
    return LayerGradient(
        name=name,
        kind=draw(st.sampled_from(["Linear", "LayerNorm", "LSTM"])),
        order=draw(st.none() | st.just(order)),
        parameters=6,
        trainable=draw(st.sampled_from([0, 6])),
        shape=(3, 2),
        norm=norm,
        weight_norm=weight,
        sensitivity=(norm or 0.0) * weight,
        reach=draw(shares),
        gain=draw(st.none() | sizes),
        dead=draw(shares),
        dead_by_bias=draw(shares),
        units=draw(st.sampled_from([0, 3])),
        identical_units=draw(st.booleans()),
        nan=draw(st.sampled_from([0, 2])),
        missing=("weight",) if norm is None else (),
        zero_weights=draw(st.sampled_from([(), ("weight",), ("bias",)])),
        installed=draw(st.booleans()),
    )


@st.composite
def signals(draw: st.DrawFn, name: str, order: int) -> Signal:
    return Signal(
        name=name,
        kind=draw(st.sampled_from(["Linear", "BatchNorm1d", "Tanh", "LSTM", "Softmax"])),
        order=order,
        gradient=draw(st.none() | sizes),
        input_gradient=draw(st.none() | sizes),
        rms=draw(sizes),
        peak=draw(sizes),
        sample_variation=draw(st.none() | sizes),
        token_variation=draw(st.none() | sizes),
        saturation=draw(st.none() | shares),
        dropout=draw(shares),
        input_min=draw(st.none() | sizes),
        input_max=draw(st.none() | sizes),
        input_variation=draw(st.none() | sizes),
        steps=draw(st.sampled_from([0, 8, 200])),
        time_reach=draw(st.none() | sizes),
        size=draw(st.sampled_from([0, 12])),
    )


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    return Operation(
        name=draw(st.sampled_from(["softmax", "mul", "relu", "round", "detach"])),
        order=draw(st.integers(0, 9)),
        installed=draw(st.booleans()),
        detaches=draw(st.booleans()),
        upstream=tuple(name for name in NAMES if draw(st.booleans())),
        zero_slope=draw(shares),
        constant=draw(st.sampled_from([None, 0.0, 1.0])),
    )


def objectives() -> st.SearchStrategy[LossGraph]:
    return st.builds(
        LossGraph,
        maximised=st.sampled_from(["", "mse_loss"]),
        broadcast=st.sampled_from([0, 8]),
        initial_loss=st.none() | sizes,
        probability_sum=st.none() | sizes,
        output_scale=st.none() | sizes,
        output_bound=st.just("tanh"),
        unreachable=shares,
    )


@st.composite
def records(draw: st.DrawFn) -> GradientRecord:
    measured = [name for name in NAMES if draw(st.booleans())]
    called = [name for name in NAMES if draw(st.booleans())]
    return GradientRecord(
        model="Net",
        samples=draw(st.sampled_from([None, 1, 8])),
        loss=draw(st.none() | sizes),
        loss_graph=draw(st.none() | objectives()),
        unregistered=tuple(
            draw(
                st.lists(
                    st.builds(UnregisteredParameter, module=st.sampled_from(NAMES), name=st.just("kept")), max_size=2
                )
            )
        ),
        operations=tuple(draw(st.lists(operations(), max_size=3))),
        layers=tuple(draw(layers(name, order)) for order, name in enumerate(measured)),
        signals=tuple(draw(signals(name, order)) for order, name in enumerate(called)),
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(record=records(), later=st.none() | records())
def test_any_record_can_be_judged(record: GradientRecord, later: GradientRecord | None) -> None:
    given_later = GradientRecord.from_dict(record.to_dict() | ({"later": later.to_dict()} if later else {}))
    for finding in judge(given_later, Limits()):
        assert finding.layers
        assert finding.message
    assert all(remarks(record, Limits()))
    assert all(designed(record, Limits()).values())
