"""Models spread over ranks: one record, the same as the whole model's, and one verdict, the same on every rank."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_gradhealth.measure.sharding.launch import Answer, run_ranks
from pytest_gradhealth.record import GradientRecord

sys.path.insert(0, str(Path(__file__).parent))
import example_networks
import scenarios

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or torch.__version__.startswith("2.6."),
    reason="torch 2.6 cannot fully_shard on the CPU; Windows has not been tried",
)

TWO = ["ddp", "hooked", "fsdp", "checkpointed", "offloaded", "tensor parallel"]
FOUR = ["fsdp", "hybrid", "two dimensions"]


@pytest.fixture(scope="module")
def two() -> list[Any]:
    return values(run_ranks(scenarios.on_two_ranks, count=2, timeout=240))


@pytest.fixture(scope="module")
def four() -> list[Any]:
    return values(run_ranks(scenarios.on_four_ranks, count=4, timeout=240))


def values(answers: list[Answer]) -> list[Any]:
    assert not any(answer.error for answer in answers), answers[0].error
    return [answer.value for answer in answers]


def about(expected: float | None) -> Any:
    return expected and pytest.approx(expected, rel=1e-5)


def agree(spread: dict[str, Any], whole: dict[str, Any]) -> None:
    """Hold every number that a verdict rests on to that of the whole model."""
    one, other = GradientRecord.from_dict(spread), GradientRecord.from_dict(whole)
    assert (one.model, one.source, one.names) == (other.model, other.source, other.names)
    assert one.loss == about(other.loss)
    for mine, its in zip(one, other, strict=True):
        for name in ("norm", "weight_norm", "signal", "update"):
            assert getattr(mine, name) == about(getattr(its, name)), f"{mine.name}.{name}"
        for name in ("shape", "parameters", "trainable", "units", "dead", "missing", "identical_units", "nan", "inf"):
            assert getattr(mine, name) == getattr(its, name), f"{mine.name}.{name}"
    for seen, there in zip(one.signals, other.signals, strict=True):
        assert seen.name == there.name
        for name in ("rms", "peak", "gradient", "zeros"):
            assert getattr(seen, name) == about(getattr(there, name)), f"{seen.name}.{name}"


@pytest.mark.parametrize("way", TWO)
def test_two_ranks_measure_what_the_whole_model_does(two: list[Any], way: str) -> None:
    agree(two[0]["measured"][way], two[0]["measured"]["whole"])


@pytest.mark.parametrize("way", FOUR)
def test_four_ranks_measure_what_the_whole_model_does(four: list[Any], way: str) -> None:
    agree(four[0]["measured"][way], four[0]["measured"]["whole"])


def test_a_frozen_part_is_frozen_on_every_rank(two: list[Any]) -> None:
    agree(two[0]["measured"]["frozen"], two[0]["measured"]["whole, frozen"])


def test_an_embedding_whose_gradient_comes_spread_otherwise_than_its_weights(two: list[Any]) -> None:
    """Each rank holds some rows; what comes back to them is a sum, or whole."""
    whole, spread = (two[0]["embedded"][name] for name in ("whole", "tensor parallel"))
    agree(spread["record"], whole["record"])
    assert whole["record"]["operations"]
    assert spread["found"] == whole["found"]


def test_a_mixed_precision_policy_changes_gradients_as_it_does_without_us(two: list[Any]) -> None:
    record = GradientRecord.from_dict(two[0]["measured"]["bfloat16"])
    expected = two[0]["measured"]["halves in bfloat16"]
    assert {layer.name: layer.norm for layer in record} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("way", ["ddp", "hooked", "fsdp", "checkpointed", "tensor parallel"])
def test_a_watched_test_is_measured_as_the_whole_model_is(two: list[Any], way: str) -> None:
    agree(two[0]["watched"][way], two[0]["watched"]["whole"])
    agree(two[0]["watched"][way]["later"], two[0]["watched"]["whole"]["later"])


def test_a_watched_test_on_a_mesh_of_two_dimensions(four: list[Any]) -> None:
    agree(four[0]["watched"]["two dimensions"], four[0]["watched"]["whole"])


def test_gradients_that_are_reduced_late_are_measured_when_the_optimiser_gets_them(two: list[Any]) -> None:
    """Two micro-batches of one pass add up: the mean loss of the halves counts twice."""
    whole = GradientRecord.from_dict(two[0]["measured"]["whole"])
    for way in ("ddp", "fsdp"):
        record = GradientRecord.from_dict(two[0]["accumulated"][way])
        for layer in record:
            assert layer.norm == pytest.approx(2 * whole[layer.name].norm, rel=1e-5), f"{way}: {layer.name}"


def test_of_gradients_that_add_up_each_pass_has_its_own(two: list[Any]) -> None:
    agree_on_norms(two[0]["accumulated"]["each reduced"], two[0]["accumulated"]["whole"])


def agree_on_norms(spread: dict[str, Any], whole: dict[str, Any]) -> None:
    one, other = GradientRecord.from_dict(spread), GradientRecord.from_dict(whole)
    assert {x.name: x.norm for x in one} == pytest.approx({x.name: x.norm for x in other}, rel=1e-5)


@pytest.mark.parametrize("fault", list(scenarios.SICK))
def test_a_fault_is_named_by_the_same_layer_however_the_model_is_spread(
    two: list[Any], four: list[Any], fault: str
) -> None:
    expected = two[0]["sick"][fault]["whole"]["found"]
    assert expected
    assert expected[0][0] == fault
    for way in ("ddp", "fsdp", "tensor parallel"):
        assert two[0]["sick"][fault][way]["found"] == expected, way
    assert four[0]["sick"][fault]["two dimensions"]["found"] == expected


@pytest.fixture(scope="module")
def examples() -> list[Any]:
    return values(run_ranks(example_networks.on_two_ranks, count=2, timeout=240))


@pytest.mark.parametrize("name", list(example_networks.NETWORKS))
def test_a_sick_network_of_the_examples_is_named_by_the_same_layer_when_sharded(examples: list[Any], name: str) -> None:
    first, second = ({way: list(map(tuple, found)) for way, found in answers[name].items()} for answers in examples)
    whole = first.pop("whole", None) or second.pop("whole", None)
    assert whole
    assert first == second
    assert all(found == whole for found in first.values()), (whole, first)


@pytest.mark.parametrize("scene", ["measured", "watched", "sick", "accumulated"])
def test_every_rank_has_the_same_records_and_messages(two: list[Any], scene: str) -> None:
    spread = [{k: v for k, v in answers[scene].items() if "whole" not in k} for answers in two]
    assert spread[0] == spread[1]


@pytest.mark.parametrize("kind", ["GPipe", "1F1B", "interleaved"])
def test_the_stages_of_a_pipeline_have_one_record_whose_norms_are_those_of_the_whole_model(
    two: list[Any], kind: str
) -> None:
    whole, stages = (GradientRecord.from_dict(two[0]["pipelined"][name]) for name in ("whole", kind))
    for one, other in ((stages, whole), (stages.later, whole.later)):
        assert one.names == other.names
        assert (one.loss, one.samples) == (about(other.loss), other.samples)
        for mine, its in zip(one, other, strict=True):
            for name in ("norm", "weight_norm", "signal", "reach", "gain"):
                assert getattr(mine, name) == about(getattr(its, name)), f"{mine.name}.{name}"
            for name in ("shape", "units", "dead", "missing", "predecessors", "optimised"):
                assert getattr(mine, name) == getattr(its, name), f"{mine.name}.{name}"
    assert [layer.update for layer in stages] == [about(layer.update) for layer in whole]


@pytest.mark.parametrize("fault", ["vanishing-gradient", "dead-layer", "severed"])
def test_a_fault_in_a_stage_is_named_with_its_layer(two: list[Any], fault: str) -> None:
    whole, stages = (two[0]["pipelined"][fault][name] for name in ("whole", "GPipe"))
    assert whole["found"]
    assert stages["found"] == whole["found"]


def test_every_rank_of_a_pipeline_has_the_same_records_and_messages(two: list[Any]) -> None:
    assert two[0]["pipelined"] == two[1]["pipelined"]


def test_layers_of_one_name_in_several_stages_are_told_apart(two: list[Any]) -> None:
    record = GradientRecord.from_dict(two[0]["pipelined"]["one name in two stages"]["record"])
    assert record.names == ("stage0.0", "stage0.2", "stage1.0", "stage1.2")
    assert record["stage1.0"].predecessors == ("stage0.2",)


def test_a_step_of_a_pipeline_has_only_its_own_gradient(two: list[Any]) -> None:
    record = GradientRecord.from_dict(two[0]["pipelined"]["gradients kept"]["record"])
    assert {x.name: x.norm for x in record.later} == pytest.approx({x.name: x.norm for x in record}, rel=1e-5)


def test_an_error_on_one_rank_is_an_error_on_all_with_its_number(two: list[Any]) -> None:
    told = [answers["disagreeing"]["raises"] for answers in two]
    assert told == ["MeasurementError: rank 1 of 2 raised ValueError: no such sample", "ValueError: no such sample"]


def test_a_parameter_that_one_rank_does_not_use_is_named(two: list[Any]) -> None:
    first, second = (answers["disagreeing"] for answers in two)
    assert first["is unused"] == second["is unused"]
    assert "parameter 'second.weight' receives a gradient on some ranks and none on rank 1" in first["is unused"]
    assert "find_unused_parameters=True" in first["is unused"]
    assert first["is allowed"]


def test_a_graph_that_is_static_from_its_first_backward_on_is_not_given_one(two: list[Any]) -> None:
    assert two[0]["static"] == two[1]["static"]
    assert "static_graph=True) would take a check's backward pass for the first" in two[0]["static"]


def test_parameters_that_fsdp1_flattens_are_refused(two: list[Any]) -> None:
    for answers in two:
        checked, watched = answers["refused"]
        assert "FullyShardedDataParallel around the model is not supported" in checked
        assert "could not measure FullyShardedDataParallel: " in watched
        assert "torch.distributed.fsdp.fully_shard" in watched


def test_a_check_leaves_no_trace_on_any_rank(two: list[Any]) -> None:
    assert [answers["unchanged"] for answers in two] == [[], []]
