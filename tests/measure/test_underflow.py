"""What a gradient would lose in another format, beside what torch's own conversion takes from it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth.checks import Checker
from pytest_gradhealth.errors import GradientHealthError
from pytest_gradhealth.record import GradientRecord, Underflow
from pytest_gradhealth.settings import FORMATS, Settings

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
Y = torch.arange(64) % 4
RESOLUTION = 0.03
"""Elements are counted in bins an eighth of a power of two wide."""


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))


class Wide(nn.Module):
    """A layer whose gradient spans forty powers of two."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.head = nn.Linear(16, 64), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.inner(x)) * torch.logspace(0, -12, 64))


def measured(model: nn.Module, scale: float, formats: tuple[str, ...] = FORMATS) -> GradientRecord:
    health = Checker(Settings(device="cpu", formats=formats))
    return health.measure(model, (X, Y), lambda output, target: scale * F.cross_entropy(output, target))


def forecast(record: GradientRecord, layer: str, form: str) -> Underflow:
    return next(one for one in record[layer].underflow if one.format == form)


def rounded(gradient: Tensor, form: str) -> tuple[float, float]:
    """Shares of a gradient's elements that torch's conversion makes zero, and that it makes subnormal."""
    kind = getattr(torch, form)
    numbers = torch.finfo(kind)
    factor = numbers.max / gradient.abs().max() if form.startswith("float8") else 1.0
    given = gradient[gradient != 0] * factor
    there = given.to(kind).float().abs()
    zero = (there == 0).float().mean().item()
    return zero, ((there > 0) & (given.abs() < numbers.smallest_normal)).float().mean().item()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("make", "scale", "layer"), [(network, 1e-5, "0"), (network, 1.0, "0"), (Wide, 1.0, "inner")])
def test_a_forecast_is_what_rounding_through_the_format_takes(make, scale: float, layer: str, form: str) -> None:
    model = make()
    record = measured(model, scale)
    (scale * F.cross_entropy(model(X), Y)).backward()
    parts = [p.grad.flatten() for p in model.get_submodule(layer).parameters()]
    shares = [rounded(part, form) for part in parts]
    sizes = [int((part != 0).sum()) for part in parts]
    zero, subnormal = (sum(s[i] * n for s, n in zip(shares, sizes, strict=True)) / sum(sizes) for i in (0, 1))
    told = forecast(record, layer, form)
    assert told.zero == pytest.approx(zero, abs=RESOLUTION)
    assert told.subnormal == pytest.approx(subnormal, abs=RESOLUTION)


def test_the_loss_scale_of_the_message_cures_it() -> None:
    sick = forecast(measured(network(), 1e-6), "0", "float16")
    assert sick.zero > 0.9
    cured = forecast(measured(network(), 1e-6 * sick.loss_scale), "0", "float16")
    assert cured.zero < 0.02
    assert forecast(measured(network(), 1e-6 * sick.loss_scale / 2), "0", "float16").zero > cured.zero
    largest = forecast(measured(network(), 1e-6 * sick.max_loss_scale), "0", "float16")
    assert largest.max_loss_scale == 1


def test_nothing_is_forecast_where_nobody_asked() -> None:
    assert not any(layer.underflow for layer in measured(network(), 1e-9, formats=()))


def test_an_underflow_is_found_with_the_loss_scale_that_cures_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest, torch, torch.nn.functional as F
        from torch import nn

        def loss(output, target): return 1e-6 * F.cross_entropy(output, target)
        def batch(): return torch.randn(64, 16), torch.arange(64) % 4
        def net(): return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))

        def test_plain(gradhealth): gradhealth.check(net, batch(), loss=loss)

        @pytest.mark.gradhealth(formats=["float16", "bfloat16"])
        def test_marked(gradhealth): gradhealth.check(net, batch(), loss=loss)

        @pytest.mark.gradhealth(formats="float16")
        def test_watched():
            x, y = batch()
            loss(net()(x), y).backward()

        @pytest.mark.gradhealth(formats=["float8"])
        def test_unknown(gradhealth): pass
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=2, errors=1)
    found = "*GH109 gradient underflow in Sequential: * of the gradient of '0' becomes zero in float16 (max_underflow=*"
    result.stdout.fnmatch_lines_random([found, "*scale the loss by * (torch.amp.GradScaler;*"])
    result.stdout.fnmatch_lines("*'float8' must be one of bfloat16, float16, float8_e4m3fn*")
    result.stdout.no_fnmatch_line("*becomes zero in bfloat16*")
    result.stdout.fnmatch_lines("*for this test: *max_underflow=1)")  # and no limit that is refused
    told = pytester.runpytest("-p", "no:cacheprovider", "-k", "plain", "--gradhealth-formats=float16,bfloat16")
    told.assert_outcomes(failed=1)


def test_a_gradient_that_spans_more_than_a_float8_names_a_wider_format() -> None:
    health = Checker(Settings(device="cpu", formats=("float8_e4m3fn",)))
    with pytest.raises(GradientHealthError, match=r"GH109 .*'inner' becomes zero in float8_e4m3fn") as caught:
        health.check(Wide(), (X, Y), F.cross_entropy, select=["GH109"])
    assert "float8_e5m2" in str(caught.value)
