"""A suite of tests that mention nothing of this plugin: without a flag, and under ``pytest --gradhealth``."""

from __future__ import annotations

import pytest

from .conftest import Run

SICK = {
    "test_deep_sigmoid_trains_without_error": ("vanishing", "network"),
    "test_detached_encoder_runs": ("missing", "encoder"),
    "test_detached_encoder_single_step": ("missing", "encoder"),
    "TestUnittestStyle::test_sick_step": ("vanishing", "network"),
    "test_async": ("vanishing", "network"),
    "test_autograd_grad_of_a_sick_model": ("vanishing", "network"),
    "test_dying_relu": ("non-finite", "any"),
    "test_nan_in_training": ("non-finite", "fc1"),
    "test_exploding": ("exploding", "any"),
    "test_constant_initialisation": ("symmetric", "0"),
    "test_unused_layer": ("missing", "forgotten"),
    "test_backward_in_another_thread": ("vanishing", "network"),
    "test_layers_called_one_by_one": ("vanishing", "network"),
    "test_forward_called_directly": ("missing", "encoder"),
    "test_grad_scaler_hides_a_sick_model": ("vanishing", "network"),
    "test_checkpointing[deep_sigmoid-reentrant]": ("vanishing", "network"),
    "test_checkpointing[deep_sigmoid-not_reentrant]": ("vanishing", "network"),
    "test_functional_call[deep_sigmoid]": ("vanishing", "network"),
    "test_compile[deep_sigmoid-eager]": ("vanishing", "network"),
    "test_compile[deep_sigmoid-aot_eager]": ("vanishing", "network"),
    "test_data_parallel": ("vanishing", "network"),
    "test_distributed[Detached]": ("missing", "encoder"),
}
"""The sick models, what they suffer from, and the layer to name; ``network``: any layer of the stack, all are alike."""

UNSEEN = {
    "test_model_trained_in_a_fixture": "a fixture belongs to no single test",
    "test_evaluation_only": "no gradient",
    "test_forward_without_backward": "no gradient",
    "test_func_grad_and_vmap": "torch.func differentiates without a backward pass",
    "test_compiled_step": "the model is called inside the compiled function only",
    "test_two_processes": "in other processes",
    "test_flop_counter": "operations are being counted",
    "test_own_dispatch_mode": "operations are being counted",
    "test_profiler": "operations are being counted",
    "test_fake_tensors": "there are no numbers",
    "test_gradcheck": "no gradient of any parameter",
    "test_call_is_as_it_was_or_ours": "no gradient",
    "test_own_function_mode": "operations are being counted",
    "test_meta_device": "there are no numbers",
    "test_export": "no gradient",
    "test_jit_trace": "a traced module hides its layers",
}
"""Tests whose models are not measured, with the reason."""


def test_the_suite_is_large_and_passes_without_the_flag(plain: Run) -> None:
    assert len(plain.outcomes) > 100
    assert set(plain.outcomes.values()) <= {"passed", "xfail"}, plain.output


def test_every_sick_model_is_named_and_no_healthy_one(watched: Run) -> None:
    failed = {test for test, outcome in watched.outcomes.items() if outcome not in ("passed", "xfail")}
    ran = set(SICK) & set(watched.outcomes)  # what a test needs may not be installed
    assert len(ran) > 15
    assert failed == ran, watched.output[-4000:]
    assert {test for test in watched.checks if watched.findings(test)} == ran


@pytest.mark.parametrize("test", SICK)
def test_a_sick_model_is_explained(watched: Run, test: str) -> None:
    if test not in watched.outcomes:
        pytest.skip("not run here")
    kind, culprit = SICK[test]
    found = watched.findings(test)
    assert kind in {kind for kind, _ in found}
    if culprit not in ("network", "any"):
        assert (kind, culprit) in found


def test_watching_changes_no_number(plain: Run, watched: Run) -> None:
    """Losses, parameters, gradients, buffers, random numbers and operation counts, bit for bit."""
    assert len(plain.ledger) > 90
    assert watched.ledger == plain.ledger


def test_whatever_sends_a_backward_pass_through_a_module_is_measured(watched: Run) -> None:
    unseen = {test for test in watched.outcomes if test not in watched.checks}
    unseen -= {test for test in unseen if "expected_failure" in test or "grad_scaler_overflows_once" in test}
    assert unseen <= set(UNSEEN), unseen - set(UNSEEN)


@pytest.mark.parametrize(
    ("test", "models"),
    [
        ("test_gan", {"Sequential", "Sequential #2"}),
        ("test_teacher_and_student", {"Sequential"}),
        ("test_actor_and_critic", {"Sequential", "Sequential #2"}),
        ("test_recurrent_cell_by_hand", {"GRUCell", "Linear"}),
        ("test_methods_instead_of_forward", {"VAE"}),
        ("test_layers_called_one_by_one", {"Deep"}),
        ("test_part_of_a_model", {"Sequential"}),
        ("test_distributed[healthy]", {"Sequential"}),
        ("test_compile[healthy-eager]", {"Sequential"}),
    ],
)
def test_each_model_has_its_own_record(watched: Run, test: str, models: set[str]) -> None:
    assert {check["name"] for check in watched.checks[test]} == models
