"""GH104: late positions of a sequence count for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_gradhealth.errors import counted
from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import VANISHING
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View, highest
from pytest_gradhealth.judge.wording import Explanation, factor
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MIN_POSITION_REACH = Limit(
    "min_position_reach", 1e-4, 0, 1, "SHARE", "Smallest gradient at a sequence's last positions over that at its first"
)
RULE = Rule(
    code="GH104",
    slug="vanishing-over-positions",
    title="gradient vanishing over positions",
    summary="Late positions of a sequence hardly influence the loss, so that the model learns nothing from them.",
    family=VANISHING,
    limits=(MIN_POSITION_REACH,),
    provisional=True,
    theory="""\
Causal attention mixes each position with all positions before it. Without skip connections all positions converge
to the first, which alone stays apart ([Wu et al., 2024](https://arxiv.org/abs/2405.18781)). Samples and positions
still differ, but what stands late in the sequence no longer matters, although half of the loss lies there. At
initialisation the last quarter loses about a decade per layer against the first; with skip connections the two are
equal.""",
    remedies=("Add the skip connection: `x + attention(x)`.",),
    sick="""\
class CausalAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 1, batch_first=True)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.attention(x, x, x, attn_mask=mask, is_causal=True)[0]

model = lambda: nn.Sequential(nn.Linear(8, 16), *(CausalAttention() for _ in range(8)), nn.Linear(16, 8))
batch = torch.randn(4, 32, 8), torch.randn(4, 32, 8)
loss = F.mse_loss
""",
    healthy="""\
class CausalAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 1, batch_first=True)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return x + self.attention(x, x, x, attn_mask=mask, is_causal=True)[0]

model = lambda: nn.Sequential(nn.Linear(8, 16), *(CausalAttention() for _ in range(8)), nn.Linear(16, 8))
batch = torch.randn(4, 32, 8), torch.randn(4, 32, 8)
loss = F.mse_loss
""",
)

OPENED = 10
"""How far above the limit a second look must be: a gate that opens does more than rounding noise."""


def find(view: View) -> Iterator[Finding]:
    """The last positions at the front count little, although the loss looks at the last positions at the end."""
    limit = view.limits.min_position_reach
    sequence = [signal for signal in view.leaves if signal.position_reach is not None]
    if limit is None or not sequence:
        return
    last, front = sequence[-1], {layer.name for layer in view.front}
    known = [s.position_reach for s in sequence if s.name in front and s.positions == last.positions]
    late = highest(known)
    clear = OPENED if view.record.steps else 1
    if late is None or not 0 < late < limit * clear * min(last.position_reach or 0.0, 1.0):
        return
    stretch = localise.overlooking_stretch(view)
    yield RULE.finding(
        stretch,
        f"the last quarter of {last.positions} positions receives {late:.1e} of the gradient of the first quarter "
        f"({MIN_POSITION_REACH.at(limit)}), lost {localise.span(view, stretch)}",
        value=late,
        limit=limit,
        limit_name=MIN_POSITION_REACH.name,
        **_explanation(view, stretch),
    )


def _explanation(view: View, stretch: Sequence[str]) -> Explanation:
    """Averaging over all positions before, and the rate at which a position drowns in them."""
    rate = min(signal.position_reach for signal in view.leaves if signal.position_reach) ** (-1 / len(stretch))
    cause = (
        "causal attention mixes each position with all positions before it; without a skip connection nothing keeps "
        f"late ones apart, and they lose {factor(rate)} per layer over {counted(len(stretch), 'layer')}"
    )
    return Explanation(cause=cause, remedy="add the skip connection: x + attention(x) (Wu et al., 2024)")
