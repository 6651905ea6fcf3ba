"""What a gradient would lose in a narrower format, by hand: whom it is told of, and what helps."""

from __future__ import annotations

from typing import Any

import pytest
from records import found, layer, record

from pytest_gradhealth.record import Finding, Underflow


def lost(shares: dict[int, Underflow], **limits: Any) -> list[Finding]:
    given = record([layer(n, underflow=(shares[n],) if n in shares else ()) for n in range(4)])
    return [finding for finding in found(given, **limits) if finding.kind == "underflow"]


def half(zero: float, scale: float | None = 1024.0, most: float | None = 65536.0, **fields: Any) -> Underflow:
    return Underflow(format="float16", zero=zero, loss_scale=scale, max_loss_scale=most, **fields)


@pytest.mark.parametrize(("zero", "told"), [(0.0, False), (0.25, False), (0.2501, True)])
def test_a_share_beyond_the_limit_is_told(zero: float, told: bool) -> None:
    assert bool(lost({1: half(zero)}, max_underflow=0.25)) is told
    assert lost({1: half(zero)}, max_underflow=None) == []
    assert lost({1: half(zero)}, max_underflow=0.0, layers={"fc1": {"max_underflow": None}}) == []


def test_the_layer_that_loses_most_comes_first() -> None:
    (finding,) = lost({0: half(0.5), 1: half(0.9), 2: half(0.1)}, max_underflow=0.4)
    assert finding.layers == ("fc1", "fc0")
    assert finding.value == 0.9
    assert finding.message.startswith("90% of the gradient of 'fc1' becomes zero in float16")
    assert finding.message.endswith("; 2 of 3 layers lose too much")
    (finding,) = lost({1: half(0.9), 2: half(0.1)}, max_underflow=0.4)
    assert "lose too much" not in finding.message


@pytest.mark.parametrize(("subnormal", "told"), [(0.0, False), (0.3, True)])
def test_digits_that_are_lost(subnormal: float, told: bool) -> None:
    (finding,) = lost({1: half(0.9, subnormal=subnormal)}, max_underflow=0.4)
    assert (" and 30% loses digits" in finding.message) is told


@pytest.mark.parametrize(
    ("scales", "said"),
    [
        ([(1024.0, 65536.0)], "scale the loss by 1024 (torch.amp.GradScaler; up to 65536 nothing overflows)"),
        ([(1024.0, 65536.0), (2048.0, 4096.0)], "scale the loss by 2048 (torch.amp.GradScaler; up to 4096"),
        ([(1024.0, 1024.0)], "scale the loss by 1024"),
        ([(2048.0, 1024.0)], "train in bfloat16: a loss scale of 2048 is needed, and above 1024 a gradient overflows"),
        ([(2.0**17, 2.0**30)], "scale the loss by 2**17 (torch.amp.GradScaler; up to 2**30"),
        ([(2.0**-9, 2.0**16)], "scale the loss by 0.00195312 (torch.amp.GradScaler; up to 65536"),
        ([(2.0**-10, 2.0**16)], "scale the loss by 2**-10 (torch.amp.GradScaler; up to 65536"),
        ([(1024.0, None)], "keep this gradient in float8_e5m2 or bfloat16"),
        ([(2.0**20, 2.0**30)], "scale the loss by 2**20 (torch.amp.GradScaler; up to 2**30"),
        ([(None, None)], "keep this gradient in float8_e5m2 or bfloat16, or scale smaller blocks"),
    ],
)
def test_which_loss_scale_helps_all_layers(scales: list[tuple[float | None, float | None]], said: str) -> None:
    (finding,) = lost({n: half(0.9, *pair) for n, pair in enumerate(scales)}, max_underflow=0.4)
    assert finding.remedy.startswith(said)
    assert finding.cause.endswith("can hold" if scales[0][0] else "even scaled by its largest element")
