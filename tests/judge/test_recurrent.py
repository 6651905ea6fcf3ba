"""Gradients on their way back through time: what forgets, and what may."""

from __future__ import annotations

from functools import partial

import pytest
from networks import CLASSES, WIDTH, Recurrent, examined, kinds, only, sequences
from torch import Tensor, nn


@pytest.mark.parametrize("steps", [120, 200])
def test_forgetting_a_long_vanilla_rnn(steps: int) -> None:
    batches = [sequences(seed=1, length=steps), sequences(seed=2, length=steps)]
    finding = examined(lambda: Recurrent(nn.RNN), batches).findings[0]
    assert finding.fault == "vanishing"
    assert finding.layer == "rnn"
    assert f"{steps} steps" in finding.message
    assert not kinds(examined(lambda: Recurrent(nn.LSTM, forget=5.0), batches))
    strict = examined(lambda: Recurrent(nn.LSTM), batches, min_time_reach=1e-5)
    assert kinds(strict) == ["vanishing"]  # gates that start half open are judged on request only
    assert not kinds(examined(lambda: Recurrent(nn.LSTM), batches))


@pytest.mark.parametrize(("bias", "alarm"), [(0.0, False), (-1.0, False), (-12.0, True)])
def test_forgetting_through_shut_gates(bias: float, alarm: bool) -> None:
    batches = [sequences(seed=1, length=12), sequences(seed=2, length=12)]
    check = examined(lambda: Recurrent(nn.LSTM, forget=bias), batches)
    assert kinds(check) == (["vanishing"] if alarm else [])
    if alarm:
        assert check.findings[0].layer == "rnn"
        assert "shut" in check.findings[0].cause
        assert not kinds(examined(lambda: Recurrent(nn.LSTM, forget=bias), batches, min_time_reach=None))


class Stepwise(nn.Module):
    """A cell called once for each step, with the state handed on or not."""

    def __init__(self, kind: type[nn.Module], handed: bool = True, read: int = -1) -> None:
        super().__init__()
        self.cell, self.head = kind(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.handed, self.read = handed, read

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for t in range(x.shape[1]):
            given = x[:, t] if isinstance(self.cell, nn.RNNCellBase) else x[:, t : t + 1]
            result = self.cell(given, state if self.handed else None)
            state = result[-1] if isinstance(result, tuple) and not isinstance(self.cell, nn.LSTMCell) else result
            outputs.append(result[0] if isinstance(result, tuple) else result)
        output: Tensor = self.head(outputs[self.read].reshape(len(x), WIDTH))
        return output


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_state_that_is_forgotten(kind: type[nn.Module]) -> None:
    batch = [sequences(seed=1, length=5)]
    assert not kinds(examined(lambda: Stepwise(kind), batch))
    for sick in (Stepwise(kind, handed=False), Stepwise(kind, read=0)):
        finding = only(examined(sick, batch), "dead")
        assert finding.layer == "cell"
        assert "weight_hh" in finding.message
    assert not kinds(examined(lambda: Stepwise(kind, handed=False), [sequences(seed=1, length=1)]))


def test_a_module_called_step_by_step_without_its_state() -> None:
    build = lambda **how: nn.Sequential(Stepwise(partial(nn.LSTM, batch_first=True), **how))  # type: ignore[arg-type]  # noqa: E731
    assert only(examined(build(handed=False), [sequences(length=5)]), "dead").layer == "0.cell"


def test_a_short_rnn_may_forget() -> None:
    assert not kinds(examined(lambda: Recurrent(nn.RNN), [sequences(length=30)]))
