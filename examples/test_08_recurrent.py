"""Two hundred steps back in time: a vanilla recurrent network against an LSTM.

The network reads the eight rows of a digit, waits 192 steps, and is asked then which digit it was. Training has to
carry the gradient 200 steps back to the layer that reads the rows. In a vanilla RNN every step multiplies it by the
same matrix and the slope of tanh, so it vanishes (Hochreiter, 1991; Bengio, Simard and Frasconi, 1994). The LSTM
(Hochreiter and Schmidhuber, 1997) multiplies its memory by the forget gate alone, which helps where that gate starts
near 1. PyTorch's default starts it near 1/2, and half of it 200 times over is nothing as well; with biases drawn for
memories of 1 to 200 steps (Tallec and Ollivier, 2018, "Can recurrent neural networks warp time?") the gradient
arrives. Watch the first row of each table: only the reading layer has to look that far back.
"""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_gradhealth import GradientHealthError

STEPS = 200


class Recall(nn.Module):
    """Read a digit row by row, wait, then name it."""

    def __init__(self, memory: nn.Module) -> None:
        super().__init__()
        self.read = nn.Linear(8, 32, bias=False)
        self.memory = memory
        self.answer = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.squeeze(1)
        sequence = F.pad(rows, (0, 0, 0, STEPS - rows.shape[1]))
        states, _ = self.memory(self.read(sequence))
        return self.answer(states[:, -1])


def long_term_lstm() -> nn.LSTM:
    lstm = nn.LSTM(32, 32, batch_first=True)
    input_gate, forget_gate, *_ = lstm.bias_ih_l0.detach().chunk(4)
    forget_gate.uniform_(1, STEPS - 1).log_()
    input_gate.copy_(-forget_gate)
    nn.init.zeros_(lstm.bias_hh_l0)
    return lstm


@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="200 times the same matrix and the slope of tanh")
def test_vanilla_rnn_forgets(gradhealth, digits):
    gradhealth.check(lambda: Recall(nn.RNN(32, 32, batch_first=True)), digits.batches, loss=F.cross_entropy)


@pytest.mark.xfail(strict=True, raises=GradientHealthError, reason="forget gates that start at 1/2")
def test_lstm_with_default_biases_forgets(gradhealth, digits):
    gradhealth.check(lambda: Recall(nn.LSTM(32, 32, batch_first=True)), digits.batches, loss=F.cross_entropy)


def test_lstm_for_long_memories_is_healthy(gradhealth, digits):
    gradhealth.check(lambda: Recall(long_term_lstm()), digits.batches, loss=F.cross_entropy)
