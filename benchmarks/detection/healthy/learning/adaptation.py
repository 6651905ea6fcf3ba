"""A trained network adapted to a new task."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Build, Case
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import (
    COUNTING,
    IMAGES_16,
    TOKENS,
    VECTORS,
    only,
    patterns,
    pictures,
    progressions,
    token_classes,
)
from benchmarks.detection.vocabulary.blocks import (
    Apply,
    Basic,
    CausalAttention,
    Positions,
    Residual,
    conv_bn,
    gpt,
    mlp,
    staged,
    token_encoder,
)
from benchmarks.detection.vocabulary.initialisation import he
from benchmarks.detection.vocabulary.losses import next_token, own_loss


class Control(nn.Module):
    """ControlNet: a trained copy that joins a frozen network through convolutions that start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(conv_bn(3, 16), conv_bn(16, 16)).requires_grad_(False)
        self.head = nn.Conv2d(16, 3, 1).requires_grad_(False)
        self.copy, self.hint = copy.deepcopy(self.frozen).requires_grad_(True), nn.Conv2d(3, 3, 1)
        self.join = nn.Conv2d(16, 16, 1)
        for layer in (self.hint, self.join):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        noisy = x + 0.5 * torch.randn_like(x)
        controlled = self.join(self.copy(noisy + self.hint(x)))
        return F.mse_loss(self.head(self.frozen(noisy) + controlled), x)


class LoRA(nn.Module):
    """A frozen linear layer with a low-rank update: A as a linear layer's, B zero."""

    def __init__(self, base: nn.Linear, rank: int = 4, alpha: float = 8.0) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / rank
        self.a = nn.Parameter(torch.empty(rank, base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.scale * F.linear(F.linear(x, self.a), self.b)
        return out


def lora_mlp() -> nn.Module:
    """A frozen perceptron with LoRA on every hidden layer and a fresh head."""
    return nn.Sequential(LoRA(nn.Linear(16, 64)), nn.ReLU(), LoRA(nn.Linear(64, 64)), nn.ReLU(), nn.Linear(64, 4))


def lora_gpt() -> nn.Module:
    """A frozen GPT with LoRA on its attention projections: the usual recipe for language models."""
    net = gpt(4).requires_grad_(False)
    for module in net.modules():
        if isinstance(module, CausalAttention):
            module.project = LoRA(module.project)  # type: ignore[assignment]
    return net


def adapter(width: int = 32, narrow: int = 8) -> nn.Module:
    """Houlsby's bottleneck with a residual, close to the identity at the start."""
    down, up = nn.Linear(width, narrow), nn.Linear(narrow, width)
    for layer in (down, up):
        nn.init.trunc_normal_(layer.weight, std=1e-3)
        nn.init.zeros_(layer.bias)
    return Residual(down, nn.GELU(), up)


def adapted_encoder() -> nn.Module:
    """A frozen post-norm encoder with an adapter after every layer, and a trained head."""
    layers: list[nn.Module] = [Positions().requires_grad_(False)]
    for _ in range(3):
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        layers += [layer.requires_grad_(False), adapter()]
    return nn.Sequential(*layers, Apply(lambda x: x.mean(dim=1)), nn.Linear(32, 4))


class PromptTuning(nn.Module):
    """Prompt tuning: trained vectors in front of the input of a frozen encoder."""

    def __init__(self, length: int = 4) -> None:
        super().__init__()
        self.embed = Positions().requires_grad_(False)
        self.prompt = nn.Parameter(torch.randn(1, length, 32) * 0.5)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).requires_grad_(False)
        self.head = nn.Linear(32, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        prompt = self.prompt.expand(tokens.shape[0], -1, -1)
        out: Tensor = self.head(self.body(torch.cat([prompt, self.embed(tokens)], dim=1)).mean(dim=1))
        return out


def bitfit() -> nn.Module:
    """Only biases and the head are trained."""
    net = token_encoder(3, True)
    for name, weight in net.named_parameters():
        weight.requires_grad_(name.endswith("bias") or name.startswith("3."))
    return net


def probe() -> nn.Module:
    """A frozen backbone in front of a linear classifier."""
    return nn.Sequential(he(staged(Basic, 1))[:-1].requires_grad_(False), nn.Linear(32, 4))  # type: ignore[index]


def partly() -> nn.Module:
    """The first half of a network frozen, the rest fine-tuned."""
    net = mlp([16, 64, 64, 64, 4])
    net[:4].requires_grad_(False)
    return net


class Hyper(nn.Module):
    """A hypernetwork that makes the weights of a small classifier from a task embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.task, self.make = nn.Embedding(3, 8), mlp([8, 32, 16 * 16 + 16 * 4])

    def forward(self, x: Tensor) -> Tensor:
        weights = self.make(self.task(torch.arange(x.shape[0]) % 3))
        first, second = weights.split([256, 64], dim=1)
        h = torch.relu((x[:, None] @ first.reshape(-1, 16, 16)) / 4)
        out: Tensor = (h @ second.reshape(-1, 16, 4))[:, 0]
        return out


class Scaled(nn.Module):
    """IA3: a frozen layer's output times a vector of ones."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), nn.Parameter(torch.ones(layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.scale


class Decomposed(nn.Module):
    """DoRA: magnitude and direction of a frozen weight, the direction moved by a low rank."""

    def __init__(self, layer: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.magnitude = nn.Parameter(layer.weight.norm(dim=1))
        self.down, self.up = (
            nn.Parameter(torch.empty(rank, layer.in_features)),
            nn.Parameter(torch.zeros(layer.out_features, rank)),
        )
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        moved = self.layer.weight + self.up @ self.down
        return F.linear(x, self.magnitude[:, None] * moved / moved.norm(dim=1, keepdim=True).detach(), self.layer.bias)


class Shared(nn.Module):
    """VeRA: frozen random matrices, and two vectors, one of them zero."""

    def __init__(self, layer: nn.Linear, rank: int = 16) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.register_buffer("down", nn.init.kaiming_uniform_(torch.empty(rank, layer.in_features)))
        self.register_buffer("up", nn.init.kaiming_uniform_(torch.empty(layer.out_features, rank)))
        self.inner, self.outer = nn.Parameter(torch.full((rank,), 0.1)), nn.Parameter(torch.zeros(layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + F.linear(F.linear(x, self.down) * self.inner, self.up) * self.outer  # type: ignore[arg-type]


def adapted(kind: type[Scaled] | type[Decomposed] | type[Shared]) -> Build:
    """A frozen perceptron, adapted in every hidden layer, with a new head."""

    def build() -> nn.Module:
        body = [kind(nn.Linear(16, 48)), nn.ReLU(), kind(nn.Linear(48, 48)), nn.ReLU()]
        return nn.Sequential(*body, nn.Linear(48, 4))

    return build


class Prefix(nn.Module):
    """Prefix tuning: keys and values in front of every layer of a frozen decoder, made by a perceptron."""

    def __init__(self, width: int = 32, length: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, width).requires_grad_(False)
        self.layers = nn.ModuleList(nn.MultiheadAttention(width, 2, batch_first=True) for _ in range(layers))
        self.feed = nn.ModuleList(mlp([width, 64, width], nn.GELU) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))
        for part in (self.layers, self.feed, self.norms):
            part.requires_grad_(False)
        self.table, self.make = nn.Embedding(length, width), mlp([width, 48, layers * width], nn.Tanh)
        self.head = nn.Linear(width, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x, prefixes = self.embed(tokens), self.make(self.table.weight).chunk(len(self.layers), 1)
        for i, prefix in enumerate(prefixes):
            normed = self.norms[2 * i](x)
            seen = torch.cat([prefix.expand(len(x), -1, -1), normed], 1)
            x = x + self.layers[i](normed, seen, seen)[0]
            x = x + self.feed[i](self.norms[2 * i + 1](x))
        return self.head(x.mean(1))


class Adapted(nn.Module):
    """LayerNorm tuning: a frozen transformer in which only norms, the class token and the head learn."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(12, width)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False).requires_grad_(
            False
        )
        self.embed.requires_grad_(False)
        for module in self.body.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)
        self.token, self.head = nn.Parameter(0.02 * torch.randn(1, 1, width)), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2))
        return self.head(self.body(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))[:, 0])


class OrthogonalTuning(nn.Module):
    """OFT: a frozen layer turned by blocks of Cayley rotations that start at the identity."""

    def __init__(self, base: nn.Linear, blocks: int = 4) -> None:
        super().__init__()
        self.base, size = base.requires_grad_(False), base.in_features // blocks
        self.skew = nn.Parameter(torch.zeros(blocks, size, size))

    def forward(self, x: Tensor) -> Tensor:
        skew, eye = 0.5 * (self.skew - self.skew.transpose(1, 2)), torch.eye(self.skew.shape[1])
        turn = (eye + skew) @ torch.linalg.inv(eye - skew)
        turned = torch.einsum("nbi,bij->nbj", x.view(len(x), len(turn), -1), turn).flatten(1)
        out: Tensor = self.base(turned)
        return out


class OftClassifier(nn.Module):
    """A pretrained perceptron tuned by rotations, with a new head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = (
            OrthogonalTuning(nn.Linear(32, 64)),
            OrthogonalTuning(nn.Linear(64, 64)),
            nn.Linear(64, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.gelu(self.second(F.gelu(self.first(x)))))


class ZeroGated(nn.Module):
    """A frozen decoder layer of the LLaMA-Adapter: a learnt prompt is attended to behind a gate that starts at zero."""

    def __init__(self, width: int = 32, prompt: int = 4) -> None:
        super().__init__()
        self.norm, self.between = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.feed = mlp([width, 2 * width, width], nn.SiLU)
        self.requires_grad_(False)
        self.prompt, self.gate = nn.Parameter(torch.randn(prompt, width)), nn.Parameter(torch.zeros(2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        _, a, b = self.qkv(self.prompt).chunk(3, -1)
        a, b = (part.unflatten(-1, (2, -1)).transpose(0, 1) for part in (a, b))
        read = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        read = read + self.gate.tanh() * ((q @ a.transpose(-1, -2) / 4).softmax(-1) @ b)
        x = x + self.out(read.transpose(1, 2).flatten(2))
        out: Tensor = x + self.feed(self.between(x))
        return out


class AdapterWriter(nn.Module):
    """Frozen embedding and layers of an untrained LLaMA with adapters, and a head that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Embedding(64, 32), nn.Sequential(ZeroGated(), ZeroGated())
        self.norm, self.head = nn.RMSNorm(32), nn.Linear(32, 64, bias=False)
        self.embed.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embed(tokens))))


class VisualPrompts(nn.Module):
    """Visual prompt tuning, deep: every layer of a frozen ViT gets learnt tokens of its own; a linear head."""

    def __init__(self, width: int = 32, prompts: int = 3) -> None:
        super().__init__()
        self.patch, self.places = nn.Conv2d(3, width, 4, 4), nn.Parameter(0.02 * torch.randn(17, width))
        self.start = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(3)
        )
        self.norm = nn.LayerNorm(width)
        self.requires_grad_(False)
        bound = (6 / (3 * 16 + width)) ** 0.5
        self.prompts = nn.ParameterList(
            nn.Parameter(torch.empty(prompts, width).uniform_(-bound, bound)) for _ in range(3)
        )
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.start.expand(len(x), -1, -1), patches], 1) + self.places
        for layer, prompt in zip(self.layers, self.prompts, strict=True):
            y = layer(torch.cat([y[:, :1], prompt.expand(len(x), -1, -1), y[:, 1:]], 1))
            y = torch.cat([y[:, :1], y[:, 1 + len(prompt) :]], 1)
        return self.head(self.norm(y[:, 0]))


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("part_controlnet", "part/controlnet", Control, only(IMAGES_16), own_loss),
        case("part_lora_mlp", "part/lora_mlp", lora_mlp, VECTORS),
        case("part_lora_gpt", "part/lora_gpt", lora_gpt, COUNTING, next_token),
        case("part_adapters", "part/adapters", adapted_encoder, TOKENS),
        case("part_prompt_tuning", "part/prompt_tuning", PromptTuning, TOKENS),
        case("part_bitfit", "part/bitfit", bitfit, TOKENS),
        case("part_linear_probe", "part/linear_probe", probe, IMAGES_16),
        case("part_half_frozen", "part/half_frozen", partly, VECTORS),
        case("part_hypernetwork", "part/hypernetwork", Hyper, VECTORS),
        case("second_learning_ia3", "second/ia3", adapted(Scaled), patterns(16), size=16, round=2),
        case("second_learning_dora", "second/dora", adapted(Decomposed), patterns(16), size=16, round=2),
        case("second_learning_vera", "second/vera", adapted(Shared), patterns(16), size=16, round=2),
        case("second_learning_prefix_tuning", "second/prefix_tuning", Prefix, token_classes(64, 12), size=16, round=2),
        case("third_learning_norm_tuning", "third/norm_tuning", Adapted, pictures(side=8), round=3),
        case("fourth_learning_orthogonal_tuning", "fourth/orthogonal_tuning", OftClassifier, patterns(32), round=4),
        case(
            "fourth_learning_llama_adapter",
            "fourth/llama_adapter",
            AdapterWriter,
            progressions(64, 14),
            next_token,
            round=4,
        ),
        case("fourth_learning_visual_prompts", "fourth/visual_prompts", VisualPrompts, pictures(side=16), round=4),
    ]
