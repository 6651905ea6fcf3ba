"""Reports on experts, attention and detectors: what a choice, a normalisation or a detach takes away."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.distributions import Categorical

from benchmarks.detection.hosts.reported.report import GITHUB, Report
from benchmarks.detection.vocabulary.blocks import perceptron
from benchmarks.detection.vocabulary.tasks import (
    Task,
    TaskBatch,
    angles,
    classify,
    explained,
    randint,
    regress,
    sectors,
)

WIDTH, EXPERTS, WORDS = 16, 4, 6


def marked(g: Generator, size: int) -> TaskBatch:
    """Sequences in which the one marked word tells the class."""
    words, kind = torch.randn(size, WORDS, 8, generator=g), randint(g, 4, size)
    place = randint(g, WORDS, size)
    words[torch.arange(size), place] = 3 * F.one_hot(kind, 8).float()
    words[torch.arange(size), place, 7] = 3
    return (words,), kind


class Experts(nn.Module):
    """One expert for each sample; ``weigh`` says how the score of the chosen one becomes its weight."""

    def __init__(self, weigh: str) -> None:
        super().__init__()
        self.weigh, self.stem, self.gate = weigh, nn.Linear(6, WIDTH), nn.Linear(WIDTH, EXPERTS, bias=False)
        self.experts = nn.ModuleList(perceptron(WIDTH, WIDTH) for _ in range(EXPERTS))
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        scores = self.gate(x)
        weight, chosen = (scores if self.weigh == "softmax" else scores.softmax(-1)).topk(1, -1)
        if self.weigh == "softmax":
            weight = weight.softmax(-1)
        elif self.weigh == "sum":
            weight = weight / (weight.sum(-1, keepdim=True) + 1e-20)
        answers = torch.stack([expert(x) for expert in self.experts], 1)
        answer = answers.gather(1, chosen[..., None].expand(-1, -1, WIDTH)).squeeze(1)
        return self.head(x + weight * answer)


class WordAttention(nn.Module):
    """A recurrence whose outputs are weighed by one score each."""

    def __init__(self, over: int) -> None:
        super().__init__()
        self.over = over
        self.rnn, self.attn, self.head = nn.GRU(8, WIDTH, batch_first=True), nn.Linear(24, 1), nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x)
        weights = self.attn(torch.cat([x, states], -1)).softmax(self.over)
        return self.head((weights * states).sum(1))


class AdditiveAttention(nn.Module):
    """SwiftFormer's: queries weighed by a learnt vector."""

    def __init__(self, over: int) -> None:
        super().__init__()
        self.over, self.stem = over, nn.Linear(8, WIDTH)
        self.query, self.key, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)
        self.w_g = nn.Parameter(torch.randn(WIDTH, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        query, key = self.query(x), self.key(x)
        weights = (query @ self.w_g * WIDTH**-0.5).softmax(self.over)
        whole = (weights * query).sum(1, keepdim=True)
        return self.head((whole * key + query).mean(1))


class TwoStage(nn.Module):
    """A detector that proposes a box and refines it."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken, self.stem, self.proposal = broken, perceptron(6, WIDTH), nn.Linear(WIDTH, 2)
        self.decoder = perceptron(WIDTH + 2, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x).relu()
        box = self.proposal(x)
        refined = self.decoder(torch.cat([x, box.detach()], -1)) + box.detach()
        return (box.detach() if self.broken else box), refined


def boxes(g: Generator, size: int) -> TaskBatch:
    points, _ = angles(g, size, 6)
    return (points,), torch.stack([points[:, 0] * points[:, 1], points[:, 0].abs()], 1)


def both_stages(out: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    return F.mse_loss(out[0], target) + F.mse_loss(out[1], target)


def refined(out: tuple[Tensor, Tensor], target: Tensor) -> float:
    return explained(out[1], target)


class Quantised(nn.Module):
    """An encoder whose codes are quantised straight-through, and then rounded once more."""

    levels: Tensor

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken, self.encoder, self.decoder = broken, perceptron(6, 4), perceptron(4, 2)
        self.register_buffer("levels", torch.arange(-2.0, 3.0))

    def forward(self, x: Tensor) -> Tensor:
        distance = -((self.encoder(x)[..., None] - self.levels) ** 2)
        soft, hard = (distance.softmax(-1) * self.levels).sum(-1), self.levels[distance.argmax(-1)]
        code = (hard - soft).detach() + soft
        return self.decoder(code.round() if self.broken else code)


class Lens(nn.Module):
    """A profile of two branches; ``safe`` keeps each branch's input where the branch is defined."""

    def __init__(self, safe: bool) -> None:
        super().__init__()
        self.safe, self.net = safe, perceptron(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        radius = 2 * F.softplus(self.net(x))
        inner, outer = (radius.clamp(max=0.999), radius.clamp(min=1.001)) if self.safe else (radius, radius)
        return torch.where(radius < 1, 1 - (1 - inner**2).sqrt(), (outer**2 - 1).sqrt())


def profiles(g: Generator, size: int) -> TaskBatch:
    points, _ = angles(g, size, 6)
    return (points,), points[:, :1].abs()


class ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = perceptron(6, 4), perceptron(6, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.actor(x), self.critic(x).squeeze(-1)


def policy_gradient(out: tuple[Tensor, Tensor], best: Tensor, broken: bool = False) -> Tensor:
    """REINFORCE over all actions tried once, with a baseline; ``broken`` collects the terms in a new tensor."""
    logits, value = out
    policy = Categorical(logits=logits)
    action = (torch.arange(len(best)) * 7) % 4
    reward = (action == best).float()
    terms: Tensor = policy.log_prob(action)  # type: ignore[no-untyped-call]
    terms = torch.tensor([float(term) for term in terms]) if broken else terms
    return -(terms * (reward - value.detach())).mean() + F.mse_loss(value, reward)


def acts(out: tuple[Tensor, Tensor], best: Tensor) -> float:
    return ((out[0].argmax(-1) == best).float().mean().item() - 0.25) / 0.75


class Biaffine(nn.Module):
    """A parser's scores of heads, from weights that start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.dependent, self.head = perceptron(8, WIDTH), perceptron(8, WIDTH)
        self.weight = nn.Parameter(torch.zeros(WIDTH + 1, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        dependent = F.pad(self.dependent(x[:, 0]), (0, 1), value=1.0)
        return torch.einsum("bi,ij,btj->bt", dependent, self.weight, self.head(x))


def heads(g: Generator, size: int) -> TaskBatch:
    """Which word is the marked one."""
    words, place = torch.randn(size, WORDS, 8, generator=g), randint(g, WORDS, size)
    words[torch.arange(size), place, 0] += 4
    return (words,), place


REPORTS = (
    Report(
        name="moe-top-one",
        source=f"{GITHUB}davidmrau/mixture-of-experts/issues/27",
        fault="softmax-over-one",
        culprit=("gate",),
        task=classify(sectors, 4),
        build=lambda broken: Experts("softmax" if broken else ""),
    ),
    Report(
        name="moe-normalised-one",
        source=f"{GITHUB}jingyaogong/minimind/pull/859",
        fault="divided-by-itself",
        culprit=("gate",),
        task=classify(sectors, 4),
        build=lambda broken: Experts("sum" if broken else ""),
    ),
    Report(
        name="word-attention",
        source=f"{GITHUB}DEEP-PolyU/KEQA_WSDM19/issues/2",
        fault="softmax-over-one",
        culprit=("attn",),
        task=classify(marked, 4),
        build=lambda broken: WordAttention(-1 if broken else 1),
    ),
    Report(
        name="additive-attention",
        source=f"{GITHUB}Amshaker/SwiftFormer/issues/2",
        fault="softmax-over-one",
        culprit=("",),
        task=classify(marked, 4),
        build=lambda broken: AdditiveAttention(-1 if broken else 1),
    ),
    Report(
        name="two-stage-detector",
        source=f"{GITHUB}huggingface/transformers/pull/44441",
        fault="detached-proposal",
        culprit=("proposal",),
        task=Task(boxes, both_stages, refined),
        build=TwoStage,
    ),
    Report(
        name="rounded-codes",
        source=f"{GITHUB}Justin-Tan/generative-compression/issues/51",
        fault="round-after-straight-through",
        culprit=("encoder*",),
        task=regress(boxes),
        build=Quantised,
    ),
    Report(
        name="lens-profile",
        source=f"{GITHUB}Ciela-Institute/caustics/pull/83",
        fault="where-off-branch",
        culprit=("net*", ""),
        task=regress(profiles),
        build=lambda broken: Lens(not broken),
    ),
    Report(
        name="actor-critic-terms",
        source=f"{GITHUB}kengz/SLM-Lab/pull/133",
        fault="loss-in-numbers",
        culprit=("actor*",),
        task=Task(sectors, policy_gradient, acts),
        build=lambda broken: ActorCritic(),
        wrong_loss=lambda out, best: policy_gradient(out, best, broken=True),
    ),
    Report(
        name="biaffine-zeros",
        source=f"{GITHUB}yzhangcs/parser/issues/100",
        task=classify(heads, WORDS),
        build=lambda broken: Biaffine(),
    ),
)
