"""What must not matter does not matter: the verdict (kinds and culprit) stays the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import HEALTHY, SICK, Build, Functional, Wrapper, examined, kinds, verdict
from torch import nn

Verdict = tuple[frozenset[str], int | None]

ALL = [*HEALTHY, *SICK]
FEW = settings(max_examples=3, derandomize=True)
"""Each example is a whole check; the same ones every time."""

every_network = pytest.mark.parametrize("name", ALL)


def parts(name: str) -> tuple[Build, Callable[..., Any]]:
    found = HEALTHY.get(name) or SICK[name]
    return found[0], found[1]


def judged(name: str, build: Build | None = None, size: int = 8, dtype: torch.dtype = torch.float32, **how: Any) -> Any:
    """The verdict on a network of the collection, or on another one over its batches."""
    own, batch = parts(name)
    return verdict(examined(build or own, [batch(size, seed, dtype) for seed in (1, 2)], **how))


@cache
def usual(name: str) -> Verdict:
    found: Verdict = judged(name)
    return found


@every_network
def test_what_each_network_is_like(name: str) -> None:
    found, _ = usual(name)
    assert SICK[name][2] in found if name in SICK else not found


@every_network
@FEW
@given(factor=st.sampled_from([1e-6, 1.0, 65536.0]))
def test_the_loss_may_be_multiplied(name: str, factor: float) -> None:
    assert judged(name, loss=lambda output, target: F.cross_entropy(output, target) * factor) == usual(name)


@every_network
@settings(FEW, max_examples=6)
@given(size=st.sampled_from([2, 3, 5, 16, 33, 64]))
def test_the_batch_may_be_small_or_large(name: str, size: int) -> None:
    assert judged(name, size=size)[0] == usual(name)[0]


@every_network
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_precision_may_be_lower_or_higher(name: str, dtype: torch.dtype) -> None:
    build = parts(name)[0]
    assert judged(name, lambda: build().to(dtype), dtype=dtype)[0] == usual(name)[0]


# --- ReLU(a x) = a ReLU(x) ---------------------------------------------------------------------------------------

RECTIFIED = ["relu mlp", "detach", "dead relu", "nan in backward"]


@pytest.mark.parametrize("name", RECTIFIED)
@settings(FEW, max_examples=5)
@given(exponent=st.floats(-2, 2), first=st.integers(0, 5), last=st.integers(0, 5))
def test_layers_of_a_relu_network_may_be_rescaled(name: str, exponent: float, first: int, last: int) -> None:
    build = parts(name)[0]

    def rescaled() -> nn.Module:
        model, factor = build(), 10.0**exponent
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        start, end = sorted((first, last + 1)) if first != last + 1 else (first, last + 2)
        with torch.no_grad():
            for layer in linear[start:end]:  # what is added in between has the scale of what it is added to
                layer.bias.mul_(factor)
            linear[start].weight.mul_(factor)
            linear[end].weight.div_(factor)
        return model

    batch = parts(name)[1](8, 1)
    torch.manual_seed(0)
    plain = build()
    torch.manual_seed(0)
    torch.testing.assert_close(rescaled()(batch[0]), plain(batch[0]), rtol=1e-3, atol=1e-4)
    assert judged(name, rescaled) == usual(name)


# --- nesting and wrapping ----------------------------------------------------------------------------------------


def nested(model: nn.Module) -> nn.Module:
    assert isinstance(model, nn.Sequential)
    half = len(model) // 2
    return nn.Sequential(nn.Sequential(nn.Sequential(*model[:half])), nn.Sequential(*model[half:]))


WRAPPINGS: dict[str, Callable[[Any], nn.Module]] = {
    "nested": nested,
    "wrapped": Wrapper,
    "wrapped twice": lambda model: Wrapper(Wrapper(model)),
    "data parallel": nn.DataParallel,
    "functional": Functional,
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", [name for name in ALL if name != "lstm"])
def test_modules_may_be_nested_and_wrapped(name: str, wrapping: str) -> None:
    build = parts(name)[0]
    assert judged(name, lambda: WRAPPINGS[wrapping](build())) == usual(name)


@pytest.mark.parametrize("wrapping", ["wrapped", "wrapped twice", "data parallel"])
def test_a_recurrent_network_may_be_wrapped(wrapping: str) -> None:
    build = parts("lstm")[0]
    assert judged("lstm", lambda: WRAPPINGS[wrapping](build())) == usual("lstm")


@pytest.mark.parametrize("seed", range(6))
@every_network
def test_the_seed_does_not_matter(name: str, seed: int) -> None:
    build, batch = parts(name)
    check = examined(build, [batch(8, 10 * seed), batch(8, 10 * seed + 1)], seed=seed)
    assert set(kinds(check)) == usual(name)[0]
