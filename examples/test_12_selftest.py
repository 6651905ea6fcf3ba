"""A gate that tests itself: would it find what can go wrong in this network?

A green check says that nothing was found. Whether anything would have been is told by seeding faults into copies of
the network and checking those, as mutation testing does for test suites (DeMillo, Lipton and Sayward, 1978). Where a
fault survives, the table names the limit that would have found it; a fault that trains as well as the network itself
is none.
"""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import nn

STOPPED = ("detach", "nan", "mask")
"""Faults that stop the gradient."""


def network() -> nn.Sequential:
    layers = [nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def result(gradhealth, digits):
    return gradhealth.selftest(network, digits.batches[:2], loss=F.cross_entropy, seconds=120)


def test_no_fault_that_stops_the_gradient_gets_through(result, record_property):
    record_property("kill rate", f"{result.kill_rate:.0%}")
    assert not [mutant for mutant in result.survivors if mutant.fault in STOPPED]


def test_a_frozen_layer_is_taken_as_meant(result):
    """No limit finds what ``requires_grad_(False)`` asked for; the table says so."""
    frozen = [mutant for mutant in result.mutants if mutant.fault == "frozen"]
    assert frozen
    assert all(mutant.outcome != "found" for mutant in frozen)


def test_a_stricter_limit_finds_more(gradhealth, digits, result):
    limits = {"min_amplitude": 0.3, "min_elasticity": 0.1}
    stricter = gradhealth.selftest(network, digits.batches[:2], loss=F.cross_entropy, seconds=120, **limits)
    assert stricter.kill_rate > result.kill_rate
