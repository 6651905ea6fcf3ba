"""GH402: the positions of a sequence become indistinguishable."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gradhealth.judge import localise
from pytest_gradhealth.judge.families import COLLAPSE
from pytest_gradhealth.judge.rule import Limit, Rule
from pytest_gradhealth.judge.view import View, highest
from pytest_gradhealth.record import Finding

__all__ = ["RULE", "find"]

MIN_TOKEN_VARIATION = Limit(
    "min_token_variation", 1e-5, 0, 1, "SHARE", "Smallest difference between the positions of a sequence"
)
RULE = Rule(
    code="GH402",
    slug="collapsed-positions",
    title="collapsed positions",
    summary="All positions of a sequence look alike after some layer (rank collapse).",
    family=COLLAPSE,
    limits=(MIN_TOKEN_VARIATION,),
    provisional=True,
    when_silenced=True,
    also_follows=frozenset({"collapsed-samples"}),
    theory="""\
Self-attention without skip connections makes all positions alike, doubly exponentially with depth ([Dong et al.,
2021](https://arxiv.org/abs/2103.03404)); the gradient norms of such an encoder look healthy while it never leaves
chance ([Noci et al., 2022](https://arxiv.org/abs/2206.03126)). What is near float32's rounding (1e-7) carries no
information; the limit stays two decades above.""",
    remedies=("Add the skip connection: `x + attention(x)`.",),
    sick="""\
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 1, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks, self.head = nn.Sequential(*(Attention() for _ in range(6))), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.blocks(x))

model = Encoder
batch = torch.randn(8, 10, 16), torch.randn(8, 10, 4)
loss = F.mse_loss
""",
    healthy="""\
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 1, batch_first=True)

    def forward(self, x):
        return x + self.attention(x, x, x)[0]

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks, self.head = nn.Sequential(*(Attention() for _ in range(6))), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.blocks(x))

model = Encoder
batch = torch.randn(8, 10, 16), torch.randn(8, 10, 4)
loss = F.mse_loss
""",
)


def find(view: View) -> Iterator[Finding]:
    """Positions hardly differ in the last quarter of the modules, maps of attention weights left out."""
    limit = view.limits.min_token_variation
    if limit is None or not view.tokens_differ:
        return
    variation = highest([signal.token_variation for signal in view.back if view.layer(signal.name)])
    if variation is None or variation >= limit:
        return
    stretch = localise.collapse_stretch(view, "tokens")
    yield RULE.finding(
        stretch,
        f"positions differ by {variation:.1e} of the signal at the output ({MIN_TOKEN_VARIATION.at(limit)}), "
        f"lost {localise.span(view, stretch)}",
        value=variation,
        limit=limit,
        limit_name=MIN_TOKEN_VARIATION.name,
        cause="attention averages over positions until they are alike; without a skip connection nothing keeps them "
        "apart",
        remedy="add the skip connection: x + attention(x) (Dong et al., 2021)",
    )
