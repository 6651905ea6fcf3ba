"""Reports on gradients that are withheld: by a detach, a copy, an own backward or a clamp."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

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

WIDTH, EXPERTS, PATCHES, FRAMES, JOINTS = 16, 4, 6, 6, 5


def captions(g: Generator, size: int) -> TaskBatch:
    """Patches of an image, one of which shows the class, and a word that says which half of the answers it is in."""
    patches, kind = torch.randn(size, PATCHES, 8, generator=g), randint(g, 4, size)
    place = randint(g, PATCHES, size)
    patches[torch.arange(size), place] = 3 * F.one_hot(kind, 8).float()
    return (patches, kind // 2), kind


class Extractor(nn.Module):
    """Keeps what a layer of a model returns; ``clone`` says how."""

    def __init__(self, model: nn.Module, layer: nn.Module, detach: bool) -> None:
        super().__init__()
        self.model, self.detach = model, detach
        layer.register_forward_hook(self._keep)
        self.kept: Tensor | None = None

    def _keep(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.kept = output.clone().detach() if self.detach else output.clone()

    def forward(self, x: Tensor) -> Tensor:
        self.model(x)
        kept, self.kept = self.kept, None
        assert kept is not None
        return kept


class Captioner(nn.Module):
    """CoCa: patches from an image encoder's embedding extractor, attended to from the text."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        encoder = nn.Sequential(nn.Linear(8, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH))
        self.encoder = Extractor(encoder, encoder[-1], detach=broken)
        self.words, self.query = nn.Embedding(2, WIDTH), nn.Parameter(torch.randn(WIDTH) * 0.1)
        self.attend = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, patches: Tensor, word: Tensor) -> Tensor:
        seen = self.encoder(patches)
        asked = (self.words(word) + self.query)[:, None]
        return self.head((asked + self.attend(asked, seen, seen, need_weights=False)[0])[:, 0])


def frames(g: Generator, size: int) -> TaskBatch:
    """Points that move at their own speed, and where they are next."""
    start, speed = torch.randn(size, 1, 4, generator=g), torch.randn(size, 1, 4, generator=g)
    path = start + speed * torch.arange(FRAMES + 1)[None, :, None] * 0.3
    return (path[:, :-1],), path[:, 1:]


class Decoupled(nn.Module):
    """PredRNN's two memories, whose increments an adapter maps to where their likeness is punished."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.memory = nn.GRUCell(4, WIDTH), nn.GRUCell(4, WIDTH)
        self.head, self.adapter = nn.Linear(2 * WIDTH, 4), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        h = m = x.new_zeros(len(x), WIDTH)
        outputs, likeness = [], []
        for step in x.unbind(1):
            before_h, before_m = h, m
            h, m = self.cell(step, h), self.memory(step, m)
            a, b = F.normalize(self.adapter(h - before_h), dim=1), F.normalize(self.adapter(m - before_m), dim=1)
            likeness.append((a * b).sum(1).abs().mean())
            outputs.append(self.head(torch.cat([h, m], 1)) + step)
        return torch.stack(outputs, 1), likeness


def decoupled(out: tuple[Tensor, list[Tensor]], target: Tensor) -> Tensor:
    return F.mse_loss(out[0], target) + 0.05 * torch.stack(out[1]).mean()


def decoupled_in_numbers(out: tuple[Tensor, list[Tensor]], target: Tensor) -> Tensor:
    return F.mse_loss(out[0], target) + 0.05 * torch.mean(torch.tensor([float(term) for term in out[1]]))


def skeletons(g: Generator, size: int) -> TaskBatch:
    """Joints of which the one that is marked tells the class by its neighbour's value."""
    joints, kind = torch.randn(size, JOINTS, 8, generator=g), randint(g, 4, size)
    place = randint(g, JOINTS, size)
    joints[torch.arange(size), place] = 3 * F.one_hot(kind + 4, 8).float()
    return (joints,), kind


class LearntGraph(nn.Module):
    """A graph convolution over an adjacency that two embeddings of the joints make."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.theta, self.phi = nn.Linear(8, WIDTH), nn.Linear(8, WIDTH)
        self.weight, self.head = nn.Linear(8, WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        adjacency = (self.theta(x) @ self.phi(x).transpose(1, 2) / WIDTH**0.5).softmax(-1)
        if self.broken:
            adjacency = adjacency.detach()
        return self.head((adjacency @ self.weight(x)).relu().mean(1))


class Unsort(torch.autograd.Function):
    """Adds up what the chosen experts said, weighed; the first backward forgets the weights."""

    forgets = False

    @staticmethod
    def forward(ctx: Any, answers: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(answers, weights)
        return (answers * weights[..., None]).sum(1)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        answers, weights = ctx.saved_tensors
        return grads[0][:, None] * weights[..., None], (grads[0][:, None] * answers).sum(-1)


class UnsortForgets(Unsort):
    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        _, weights = ctx.saved_tensors
        return grads[0][:, None] * weights[..., None], None


class Routed(nn.Module):
    """Top two of four experts; what they say is brought back and weighed by a function with a backward of its own."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.combine = UnsortForgets if broken else Unsort
        self.stem, self.router = nn.Linear(6, WIDTH), nn.Linear(WIDTH, EXPERTS, bias=False)
        self.experts = nn.ModuleList(perceptron(WIDTH, WIDTH) for _ in range(EXPERTS))
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        weight, chosen = self.router(x).softmax(-1).topk(2, -1)
        answers = torch.stack([expert(x) for expert in self.experts], 1)
        picked = answers.gather(1, chosen[..., None].expand(-1, -1, WIDTH))
        return self.head(x + self.combine.apply(picked, weight))  # type: ignore[no-untyped-call]


class Gates(nn.Module):
    """A mixture of experts whose gate was moved to the device where it was made a parameter."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        gate = nn.Parameter(torch.zeros(6, EXPERTS), requires_grad=True)
        self.w_gate = gate.to("cpu", copy=True) if broken else gate  # on a processor, only a copy shows what .to does
        self.experts = nn.ModuleList(perceptron(6, 4) for _ in range(EXPERTS))

    def forward(self, x: Tensor) -> Tensor:
        weights = (x @ self.w_gate).softmax(-1)
        return (torch.stack([expert(x) for expert in self.experts], 1) * weights[..., None]).sum(1)


def endmembers(g: Generator, size: int) -> TaskBatch:
    """Spectra mixed of three, and the shares of each."""
    pure = torch.rand(3, 12, generator=torch.Generator().manual_seed(5))
    share = torch.rand(size, 3, generator=g).pow(2)
    share = share / share.sum(1, keepdim=True)
    return (share @ pure + 0.02 * torch.randn(size, 12, generator=g),), share


class Unmixing(nn.Module):
    """MiSiCNet with its second layer, or with that layer made and passed by."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.layer1 = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.LeakyReLU())
        self.layer2 = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.LeakyReLU())
        self.layer3 = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.LeakyReLU())
        self.layer4 = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(x)
        x = x if self.broken else self.layer2(x)
        return self.layer4(self.layer3(x)).softmax(-1)


class Poincare(nn.Module):
    """Hyperbolic embeddings of a learnt length, which starts at ``size`` and is clamped."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.net, self.scale = perceptron(6, WIDTH), nn.Parameter(torch.tensor([size]))
        self.places = nn.Parameter(torch.randn(4, WIDTH) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.scale.clamp_min(1e-2).clamp_max(1 - 1e-3)
        return F.normalize(self.net(x), dim=1) * scale @ self.places.T * 10


def stages(g: Generator, size: int) -> TaskBatch:
    points, _ = angles(g, size, 6)
    return (points,), torch.stack([points[:, 0] * points[:, 1], points[:, 0].abs()], 1)


class Unfolding(nn.Module):
    """Restoration in three stages, each of which is held to the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([perceptron(6, 2), perceptron(8, 2), perceptron(8, 2)])

    def forward(self, x: Tensor) -> list[Tensor]:
        restored = [self.stages[0](x)]
        for stage in self.stages[1:]:
            restored.append(restored[-1] + stage(torch.cat([x, restored[-1]], 1)))
        return restored


def every_stage(out: list[Tensor], target: Tensor) -> Tensor:
    return torch.stack([F.mse_loss(stage, target) for stage in out]).sum()


def every_stage_anew(out: list[Tensor], target: Tensor) -> Tensor:
    terms = [float(F.mse_loss(stage, target)) for stage in out]
    return torch.tensor(terms, requires_grad=True).sum()


class Conditioned(nn.Module):
    """A block of a diffusion autoencoder: modulated normalisation in front of a last layer at zero, beside a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.code = nn.Linear(6, WIDTH), nn.Linear(6, 2 * WIDTH)
        self.norm, self.out, self.head = nn.GroupNorm(4, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        scale, shift = self.code(x).chunk(2, 1)
        return self.head(h + self.out(F.silu(self.norm(h) * (1 + scale) + shift)))


class Actor(nn.Module):
    """A squashed Gaussian policy and its critic; an entropy that leaves the mean alone is as it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.log_std = perceptron(6, WIDTH), nn.Linear(WIDTH, 2), nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x).relu()
        policy = torch.distributions.Normal(self.mean(h), self.log_std(h).clamp(-5, 2).exp())
        action = policy.rsample()
        return action, policy.log_prob(action).sum(1)  # type: ignore[no-untyped-call]


def soft_policy(out: tuple[Tensor, Tensor], best: Tensor) -> Tensor:
    return (0.05 * out[1] + (out[0] - best).square().sum(1)).mean()


REPORTS = (
    Report(
        name="coca-extractor",
        source=f"{GITHUB}lucidrains/CoCa-pytorch/issues/6",
        fault="detached-extractor",
        culprit=("encoder*",),
        task=classify(captions, 4),
        build=Captioner,
    ),
    Report(
        name="predrnn-decoupling",
        source=f"{GITHUB}thuml/predrnn-pytorch/issues/11",
        fault="loss-term-in-numbers",
        culprit=("adapter",),
        task=Task(frames, decoupled, lambda out, target: explained(out[0], target)),
        build=lambda broken: Decoupled(),
        wrong_loss=decoupled_in_numbers,
    ),
    Report(
        name="learnt-adjacency",
        source=f"{GITHUB}queenie88/A-GCN/issues/4",
        fault="detached-adjacency",
        culprit=("theta", "phi"),
        task=classify(skeletons, 4),
        build=LearntGraph,
    ),
    Report(
        name="ragged-unsort",
        source=f"{GITHUB}AI-Hypercomputer/maxtext/pull/5042",
        fault="backward-returns-none",
        culprit=("router",),
        task=classify(sectors, 4),
        build=Routed,
    ),
    Report(
        name="moe-gates",
        source=f"{GITHUB}davidmrau/mixture-of-experts/issues/12",
        fault="parameter-moved",
        culprit=("", "w_gate"),
        task=classify(sectors, 4),
        build=Gates,
    ),
    Report(
        name="unmixing-layer",
        source=f"{GITHUB}inria-thoth/HySUPP/issues/3",
        fault="layer-passed-by",
        culprit=("layer2*",),
        task=regress(endmembers),
        build=Unmixing,
        batch_size=16,
    ),
    Report(
        name="hyperbolic-scale",
        source=f"{GITHUB}HazyResearch/HypHC/issues/7",
        fault="starts-outside-clamp",
        culprit=("",),
        task=classify(sectors, 4),
        build=lambda broken: Poincare(1e-3 if broken else 0.1),
    ),
    Report(
        name="unfolding-stages",
        source=f"{GITHUB}MC-E/Deep-Generalized-Unfolding-Networks-for-Image-Restoration/issues/6",
        fault="loss-made-anew",
        culprit=("*",),
        task=Task(stages, every_stage, lambda out, target: explained(out[-1], target)),
        build=lambda broken: Unfolding(),
        wrong_loss=every_stage_anew,
    ),
    Report(
        name="diffusion-zero-block",
        source=f"{GITHUB}ckczzj/PDAE/issues/3",
        task=classify(sectors, 4),
        build=lambda broken: Conditioned(),
    ),
    Report(
        name="soft-actor",
        source=f"{GITHUB}DLR-RM/stable-baselines3/issues/2096",
        task=Task(stages, soft_policy, lambda out, best: explained(out[0], best)),
        build=lambda broken: Actor(),
    ),
)
