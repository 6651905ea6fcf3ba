"""Reports on tables, graphs, decisions and what stands by itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.detection.hosts.reported.report import GITHUB, Report
from benchmarks.detection.vocabulary.tasks import Task, TaskBatch, accuracy_gain, angles, classify, regress

NODES, RELATIONS = 6, 3


def line(g: Generator, size: int) -> TaskBatch:
    """The linear regression of the report: 10 + 9 x - 2 y."""
    x = torch.randn(size, 2, generator=g)
    return (x,), 10 + 9 * x[:, :1] - 2 * x[:, 1:] + 0.1 * torch.randn(size, 1, generator=g)


def sectors(g: Generator, size: int) -> TaskBatch:
    """Which of three pairs of opposite sectors a point lies in."""
    points, turn = angles(g, size, 4)
    return (points,), (turn * 6).long() % 3


def graphs(g: Generator, size: int) -> TaskBatch:
    """Graphs with edges of three kinds; the answer is where the sum over the edges of one kind points."""
    nodes = torch.randn(size, NODES, 4, generator=g)
    edges = (torch.rand(size, RELATIONS, NODES, NODES, generator=g) < 0.3).float()
    message = (edges @ nodes[:, None])[:, 1].sum(1)
    return (nodes, edges), (message[:, 0] > 0).long() + 2 * (message[:, 1] > 0)


def atoms(g: Generator, size: int) -> TaskBatch:
    """Features of nodes with one that is constant in every graph, and the energy."""
    nodes = torch.randn(size, NODES, 4, generator=g)
    nodes[..., 3] = 1.0
    return (nodes,), nodes[..., :2].prod(-1).mean(1, keepdim=True) + nodes[..., 2].square().mean(1, keepdim=True)


def opinions(g: Generator, size: int) -> TaskBatch:
    """Votes of several people on four answers, as a distribution."""
    x = torch.randn(size, 6, generator=g)
    mix = torch.randn(6, 4, generator=torch.Generator().manual_seed(5))
    return (x,), (1.5 * x @ mix).softmax(1)


def layouts(g: Generator, size: int) -> TaskBatch:
    """Features of a program in their own units, from flags to bytes, and the time that it takes."""
    latent = torch.randn(size, 8, generator=g)
    units = torch.tensor([1.0, 1.0, 1.0, 2.0, 1.0, 50.0, 30_000.0, 1.0])
    kind = (latent[:, 0] > 0).long() + 2 * (latent[:, 1] * latent[:, 2] > 0)
    return (latent * units,), kind


class Relations(nn.Module):
    """One weight for each relation, in a plain dict."""

    def __init__(self, broken: bool, width: int = 24) -> None:
        super().__init__()
        made = {str(r): nn.Linear(4, width) for r in range(RELATIONS)}
        self.relations = made if broken else nn.ModuleDict(made)
        self.head = nn.Linear(width, 4)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        messages = [edges[:, int(r)] @ layer(nodes) for r, layer in self.relations.items()]
        return self.head(torch.stack(messages).sum(0).relu().mean(1))


class Gated(nn.Module):
    """A residual branch whose gate consists of two layers, both of which start at zero."""

    def __init__(self, broken: bool, width: int = 32) -> None:
        super().__init__()
        self.stem, self.branch, self.head = nn.Linear(4, width), nn.Linear(width, width), nn.Linear(width, 3)
        self.gate = nn.Sequential(
            nn.Linear(width, width, bias=False), nn.ReLU(), nn.Linear(width, width, bias=False), nn.Tanh()
        )
        nn.init.zeros_(self.gate[2].weight)  # type: ignore[arg-type]
        if broken:
            nn.init.zeros_(self.gate[0].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        branch = self.branch(x).relu()
        return self.head((x + self.gate(branch) * branch).relu())


class AdaptiveGate(nn.Module):
    """A gate from conditions, its weight at zero and its bias at -2: it was reported as dead, and opens by itself."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem, self.condition = nn.Linear(4, width), nn.Linear(4, width)
        self.transition = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 64), nn.SiLU(), nn.Linear(64, width))
        self.gamma, self.head = nn.Linear(width, width), nn.Linear(width, 3)
        nn.init.zeros_(self.gamma.weight)
        nn.init.constant_(self.gamma.bias, -2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.stem(x)
        return self.head(hidden + self.gamma(self.condition(x)).sigmoid() * self.transition(hidden))


def last_at_zero() -> nn.Module:
    """The last layer starts at zero: it moves first, and the others after it."""
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    nn.init.zeros_(model[4].weight)  # type: ignore[arg-type]
    nn.init.zeros_(model[4].bias)  # type: ignore[arg-type]
    return model


class Moments(nn.Module):
    """Layers that carry a mean and a variance, made of memory that nobody initialised: nearly all zeros."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 3)])
        if broken:
            for layer in self.layers:
                nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(second(first(x).relu()).relu())


class NodeNorm(nn.Module):
    """Normalises each feature over the nodes of a graph."""

    def __init__(self, inside: bool) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
        return centred / ((variance + 1e-5).sqrt() if self.inside else variance.sqrt() + 1e-5)


class Molecule(nn.Module):
    """Features are gated, normalised over the nodes, and summed."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.norm = NodeNorm(not broken)
        self.first, self.second, self.skip = nn.Linear(8, 48), nn.Linear(48, 48), nn.Linear(48, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        both = torch.cat([nodes, self.norm(nodes * self.scale)], -1)
        return self.skip(self.second(self.first(both).relu()).relu()).mean(1)


def perceptron(inputs: int, outputs: int, width: int = 48) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


class Layouts(nn.Module):
    """A network on features of a program, repaired by a scaling to 0..1."""

    scale: Tensor

    def __init__(self, broken: bool) -> None:
        super().__init__()
        units = torch.tensor([1.0, 1.0, 1.0, 2.0, 1.0, 50.0, 30_000.0, 1.0])
        self.register_buffer("scale", torch.ones(8) if broken else units)
        self.net = perceptron(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x / self.scale)


class Actor(nn.Module):
    """Probabilities of actions, by a softmax over the wrong dimension."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.net, self.dim = perceptron(4, 3), 0 if broken else 1

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).softmax(self.dim)


def rewarded(out: Tensor, right: Tensor) -> Tensor:
    """Minus the logarithm of the probability of the action that is rewarded."""
    return -out.gather(1, right[:, None]).log().mean()


def transposed(out: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(out, target[:, 0])


def kept(out: Tensor, target: Tensor) -> Tensor:
    return F.kl_div(out.log_softmax(1), target, reduction="batchmean")


def of_probabilities(out: Tensor, target: Tensor) -> Tensor:
    """kl_div is given probabilities where it expects their logarithms."""
    return F.kl_div(out.softmax(1), target, reduction="batchmean")


def agreement(out: Tensor, target: Tensor) -> float:
    """Share of the divergence of the mean opinion that is explained."""
    probabilities = out.softmax(1)
    constant = (target * (target / target.mean(0)).log()).sum(1).mean()
    return float(1 - (target * (target / probabilities).log()).sum(1).mean() / constant)


REPORTS = (
    Report(
        name="mse-column",
        source=f"{GITHUB}pytorch/pytorch/issues/16045",
        fault="broadcast-n-by-1",
        culprit=("", "0"),
        task=regress(line),
        build=lambda broken: nn.Sequential(nn.Linear(2, 1)),
        wrong_loss=transposed,
        steps=320,
    ),
    Report(
        name="relations-dict",
        source=f"{GITHUB}pytorch/pytorch/issues/632",
        fault="dict-of-layers",
        culprit=("", "relations*"),
        task=classify(graphs, 4),
        build=Relations,
    ),
    Report(
        name="lavt-gate",
        source=f"{GITHUB}yz93/LAVT-RIS/issues/25",
        fault="two-zero-layers",
        culprit=("gate*",),
        task=classify(sectors, 3),
        build=Gated,
        steps=240,
    ),
    Report(
        name="adf-layers",
        source=f"{GITHUB}mattiasegu/uncertainty_estimation_deep_learning/pull/7",
        fault="uninitialised-zeros",
        culprit=("layers*",),
        task=classify(sectors, 3),
        build=Moments,
        steps=240,
    ),
    Report(
        name="graph-instance-norm",
        source=f"{GITHUB}pyg-team/pytorch_geometric/issues/2559",
        fault="sqrt-of-no-variance",
        culprit=("norm", "first", ""),
        task=regress(atoms),
        build=Molecule,
        steps=320,
    ),
    Report(
        name="layout-features",
        source=f"{GITHUB}thanhhau097/google_fast_or_slow/pull/1",
        fault="unscaled-features",
        culprit=("net.0", "net*"),
        task=classify(layouts, 4),
        build=Layouts,
        steps=240,
    ),
    Report(
        name="action-softmax",
        source=f"{GITHUB}DeepReinforcementLearning/DeepReinforcementLearningInAction/issues/32",
        fault="softmax-over-batch",
        culprit=("net*", ""),
        task=Task(sectors, rewarded, accuracy_gain(3)),
        build=Actor,
        steps=240,
    ),
    Report(
        name="pmsn-divergence",
        source=f"{GITHUB}lightly-ai/lightly/issues/1194",
        fault="divergence-of-probabilities",
        culprit=("*",),
        task=Task(opinions, kept, agreement),
        build=lambda broken: perceptron(6, 4),
        wrong_loss=of_probabilities,
    ),
    Report(
        name="adaln-zero-gate",
        source=f"{GITHUB}lucidrains/alphafold3-pytorch/pull/303",
        task=classify(sectors, 3),
        build=lambda broken: AdaptiveGate(),
        steps=240,
    ),
    Report(
        name="last-layer-zero",
        source=f"{GITHUB}smallflyingpig/universal_adversarial_perturbation_generative_network_for_speaker_recognition/issues/4",
        task=classify(sectors, 3),
        build=lambda broken: last_at_zero(),
        steps=240,
    ),
)
