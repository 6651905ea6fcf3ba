"""The modules of torch.nn at their default initialisation, in the arrangements the documentation and courses show."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import (
    SPECIAL,
    Apply,
    Kwargs,
    Maker,
    case,
    cast,
    fit,
    generator,
    mlp,
    next_token,
    only,
    patterns,
    pictures,
    pooled_head,
    progressions,
    reconstruct,
    regression,
    sequences_first,
    supervised,
    token_classes,
    waves,
)

VECTORS = patterns(16)
IMAGES = pictures(3, 16)
TOKENS = token_classes(classes=4)
SEQUENCES = sequences_first(waves(32))
SHORT = sequences_first(waves(10))
COUNTING = progressions()


# --- perceptrons ------------------------------------------------------------------------------------------------


def selu_mlp() -> nn.Module:
    """A self-normalising network: LeCun initialisation and alpha dropout, as its paper prescribes."""
    net = nn.Sequential(
        nn.Linear(16, 32), nn.SELU(), nn.AlphaDropout(0.05), nn.Linear(32, 32), nn.SELU(), nn.Linear(32, 4)
    )
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)
    return net


def normed_mlp(norm: Callable[[int], nn.Module], drop: float = 0.0) -> nn.Module:
    """Two hidden layers, each followed by a normalisation."""
    layers: list[nn.Module] = []
    for wide in (16, 32):
        layers += [nn.Linear(wide, 32), norm(32), nn.ReLU(), nn.Dropout(drop)]
    return nn.Sequential(*layers, nn.Linear(32, 4))


def perceptrons() -> list[Case]:
    """Multi-layer perceptrons with every common activation, depth and normalisation."""
    activations: dict[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU,
        "prelu": nn.PReLU, "softplus": nn.Softplus, "mish": nn.Mish, "hardswish": nn.Hardswish, "celu": nn.CELU,
    }  # fmt: skip
    cases = [
        case(f"nn_mlp_{name}", "nn/mlp", partial(mlp, [16, 32, 32, 4], activation), VECTORS)
        for name, activation in activations.items()
    ]
    for depth in (1, 2, 4, 5, 6):
        sizes = [16] + [64] * depth + [4]
        cases.append(case(f"nn_mlp_relu_{depth}_hidden", "nn/mlp", partial(mlp, sizes), VECTORS))
    norms: dict[str, Callable[[int], nn.Module]] = {
        "batchnorm": nn.BatchNorm1d, "layernorm": nn.LayerNorm, "rmsnorm": nn.RMSNorm,
        "groupnorm": partial(nn.GroupNorm, 4),
    }  # fmt: skip
    cases += [case(f"nn_mlp_{k}", f"nn/mlp_{k}", partial(normed_mlp, v), VECTORS) for k, v in norms.items()]
    return [
        *cases,
        case("nn_mlp_selu", "nn/mlp_selu", selu_mlp, VECTORS),
        case("nn_mlp_dropout", "nn/mlp_dropout", partial(normed_mlp, lambda _: nn.Identity(), 0.5), VECTORS),
        case("nn_mlp_glu", "nn/glu", lambda: nn.Sequential(nn.Linear(16, 64), nn.GLU(), nn.Linear(32, 4)), VECTORS),
        case("nn_logistic", "nn/logistic", partial(nn.Linear, 16, 4), VECTORS),
        case("nn_linear_regression", "nn/linear", partial(nn.Linear, 16, 1), regression(), fit),
        case("nn_mlp_wide", "nn/mlp", partial(mlp, [16, 1024, 4]), VECTORS),
        case("nn_mlp_float64", "nn/mlp_float64", lambda: mlp([16, 32, 4]).double(), cast(VECTORS, torch.float64)),
        case("nn_mlp_bfloat16", "nn/mlp_bf16", lambda: mlp([16, 32, 4]).bfloat16(), cast(VECTORS, torch.bfloat16)),
    ]


# --- convolutions -----------------------------------------------------------------------------------------------


def conv_net(norm: Callable[[int], nn.Module] | None = None, depth: int = 3, width: int = 16) -> nn.Module:
    """Convolutions with a normalisation between them and the activation, pooled at the end."""
    layers: list[nn.Module] = []
    for index in range(depth):
        layers.append(nn.Conv2d(width if index else 3, width, 3, padding=1, stride=2 if index == 1 else 1))
        layers += [norm(width)] if norm else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, *pooled_head(width))


def depthwise() -> nn.Module:
    """Depthwise convolutions, each followed by a pointwise one."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1)]
    for _ in range(2):
        layers += [nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1)]
    return nn.Sequential(*layers, nn.ReLU(), *pooled_head(16))


def dilated() -> nn.Module:
    """Dilated convolutions."""
    layers: list[nn.Module] = []
    for channels, gap in ((3, 1), (16, 2), (16, 4)):
        layers += [nn.Conv2d(channels, 16, 3, padding=gap, dilation=gap), nn.ReLU()]
    return nn.Sequential(*layers, *pooled_head(16))


def autoencoder() -> nn.Module:
    """Strided convolutions down, transposed convolutions up."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(24, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1),
    )  # fmt: skip


def upsampling() -> nn.Module:
    """Down by pooling, up by pixel shuffle."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 12, 3, padding=1), nn.PixelShuffle(2),
    )  # fmt: skip


def conv1d() -> nn.Module:
    """Convolutions over time."""
    return nn.Sequential(
        nn.Conv1d(1, 16, 5, padding=2), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip


def conv3d() -> nn.Module:
    """Convolutions over a small volume."""
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(8, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip


def parametrised(kind: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A conv net whose weights go through a parametrisation."""
    return nn.Sequential(
        kind(nn.Conv2d(3, 16, 3, padding=1)), nn.ReLU(), kind(nn.Conv2d(16, 16, 3, stride=2, padding=1)), nn.ReLU(),
        *pooled_head(16),
    )  # fmt: skip


def convolutions() -> list[Case]:
    """Convolutional networks with and without normalisation, in one to three dimensions."""
    norms: dict[str, Callable[[int], nn.Module] | None] = {
        "plain": None, "batchnorm": nn.BatchNorm2d, "groupnorm": partial(nn.GroupNorm, 4),
        "instancenorm": partial(nn.InstanceNorm2d, affine=True),
    }  # fmt: skip
    cases = [case(f"nn_conv_{k}", f"nn/conv_{k}", partial(conv_net, v), IMAGES) for k, v in norms.items()]
    kinds: dict[str, Callable[[nn.Module], nn.Module]] = {
        "weight_norm": parametrizations.weight_norm, "spectral_norm": parametrizations.spectral_norm,
        "orthogonal": parametrizations.orthogonal,
    }  # fmt: skip
    cases += [case(f"nn_{k}", f"nn/{k}", partial(parametrised, v), IMAGES) for k, v in kinds.items()]
    return [
        *cases,
        case("nn_conv_batchnorm_8_layers", "nn/conv_batchnorm", partial(conv_net, nn.BatchNorm2d, 8), IMAGES),
        case("nn_conv_depthwise", "nn/conv_depthwise", depthwise, IMAGES),
        case("nn_conv_dilated", "nn/conv_dilated", dilated, IMAGES),
        case("nn_conv_transposed", "nn/conv_transposed", autoencoder, only(IMAGES), reconstruct),
        case("nn_pixel_shuffle", "nn/pixel_shuffle", upsampling, only(IMAGES), reconstruct),
        case("nn_conv1d", "nn/conv1d", conv1d, waves(32)),
        case("nn_conv3d", "nn/conv3d", conv3d, patterns(1, 8, 8, 8)),
    ]


# --- recurrence -------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    """A recurrent layer of torch.nn and a linear head on its last output, or on the mean where it reads both ways."""

    def __init__(self, layer: nn.RNNBase, classes: int = 4) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), classes)

    def forward(self, x: Tensor) -> Tensor:
        states = self.layer(x)[0]
        out: Tensor = self.head(states.mean(dim=1) if self.layer.bidirectional else states[:, -1])
        return out


class CellLoop(nn.Module):
    """A recurrent cell applied step by step."""

    def __init__(self, cell: nn.LSTMCell | nn.GRUCell) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(cell.hidden_size, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for moment in x.unbind(1):
            state = self.cell(moment, state)
        out: Tensor = self.head(state[0] if isinstance(state, tuple) else state)
        return out


class LanguageModel(nn.Module):
    """Embedding, recurrent layer and a decoder over the vocabulary."""

    def __init__(self, layer: nn.RNNBase, vocab: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, layer.input_size)
        self.layer = layer
        self.decode = nn.Linear(layer.hidden_size, vocab)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.decode(self.layer(self.embed(tokens))[0])
        return out


def recurrent() -> list[Case]:
    """RNN, GRU and LSTM: one and several layers, both directions, as classifiers and language models."""
    kinds: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
    cases = []
    for name, kind in kinds.items():
        forms: dict[str, Kwargs] = {"": {}, "_2_layers": {"num_layers": 2}, "_bidirectional": {"bidirectional": True}}
        for suffix, options in forms.items():
            layer = partial(kind, 1, 32, batch_first=True, **options)
            build = partial(lambda made: Recurrent(made()), layer)
            cases.append(case(f"nn_{name}{suffix}", f"nn/{name}", build, SHORT if name == "rnn" else SEQUENCES))
        words = partial(lambda made: LanguageModel(made(32, 32, batch_first=True)), kind)
        cases.append(case(f"nn_{name}_language_model", f"nn/{name}", words, COUNTING, next_token))
    return [
        *cases,
        case("nn_rnn_relu", "nn/rnn", lambda: Recurrent(nn.RNN(1, 32, nonlinearity="relu", batch_first=True)), SHORT),
        case("nn_lstm_cell", "nn/lstm_cell", lambda: CellLoop(nn.LSTMCell(1, 32)), SHORT),
        case("nn_gru_cell", "nn/gru_cell", lambda: CellLoop(nn.GRUCell(1, 32)), SHORT),
        case("nn_lstm_4_layers_dropout", "nn/lstm", deep_lstm, SEQUENCES),
        case("nn_lstm_projected", "nn/lstm", lambda: Tagger(nn.LSTM(8, 32, proj_size=8, batch_first=True)), tagging()),
    ]


def deep_lstm() -> nn.Module:
    """Four stacked LSTM layers with dropout between them."""
    return Recurrent(nn.LSTM(1, 32, num_layers=4, dropout=0.2, batch_first=True))


class Tagger(nn.Module):
    """A label for every token, from a projected LSTM."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, layer.input_size)
        self.layer = layer
        self.head = nn.Linear(layer.proj_size, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(self.embed(tokens))[0]).flatten(0, 1)
        return out


def tagging() -> Maker:
    """Tokens and whether each is larger than the one before."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        tokens = torch.randint(SPECIAL, 64, (size, 12), generator=generator(seed))
        return tokens, (tokens.diff(dim=1, prepend=tokens[:, :1]) > 0).long().flatten()

    return make


# --- attention --------------------------------------------------------------------------------------------------


class Positions(nn.Module):
    """Token embeddings plus learnt positions."""

    def __init__(self, width: int = 32, vocab: int = 64, length: int = 32) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        self.places = nn.Embedding(length, width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        return out


def encoder(layers: int, before: bool, activation: str = "relu", dropout: float = 0.1) -> nn.Module:
    """nn.TransformerEncoder over tokens, mean pooling and a classifier."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout, activation, batch_first=True, norm_first=before)
    norm = nn.LayerNorm(32) if before else None
    stack = nn.TransformerEncoder(layer, layers, norm, enable_nested_tensor=False)
    return nn.Sequential(Positions(), stack, Apply(lambda x: x.mean(dim=1)), nn.Linear(32, 4))


class Causal(nn.Module):
    """A decoder-only language model out of encoder layers and a causal mask."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.embed = Positions()
        self.stack = nn.TransformerEncoder(layer, layers, nn.LayerNorm(32), enable_nested_tensor=False)
        self.head = nn.Linear(32, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        out: Tensor = self.head(self.stack(self.embed(tokens), mask=mask, is_causal=True))
        return out


class Translator(nn.Module):
    """nn.Transformer, which copies its source."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = Positions(), Positions()
        self.core = nn.Transformer(32, 4, 2, 2, 64, batch_first=True)
        self.head = nn.Linear(32, 64)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        out: Tensor = self.head(self.core(self.source(source), self.target(target), tgt_mask=mask))
        return out


class Decoder(nn.Module):
    """nn.TransformerDecoder that reads an image-like memory."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True)
        self.memory, self.embed = nn.Linear(16, 32), Positions()
        self.stack = nn.TransformerDecoder(layer, 3)
        self.head = nn.Linear(32, 64)

    def forward(self, memory: Tensor, target: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        out: Tensor = self.head(self.stack(self.embed(target), self.memory(memory), tgt_mask=mask))
        return out


class Attention(nn.Module):
    """A single nn.MultiheadAttention between two linear layers."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.inside = nn.Linear(1, 32)
        self.places = nn.Parameter(torch.randn(32, 32) * 0.02)
        self.attention = nn.MultiheadAttention(32, 4, bias=bias, add_bias_kv=not bias, batch_first=True)
        self.outside = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inside(x) + self.places
        out: Tensor = self.outside(self.attention(h, h, h, need_weights=False)[0].mean(dim=1))
        return out


def copied(model: nn.Module, tokens: Batch) -> Tensor:
    """Teacher forcing on the source itself."""
    logits = model(tokens, tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def told(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of a text that belongs to the class of the memory."""
    memory, label = batch
    text = SPECIAL + (label[:, None] * 7 + torch.arange(8)) % 60
    return F.cross_entropy(model(memory, text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())


def attention() -> list[Case]:
    """Transformers of torch.nn, normalised before and after, two to twelve layers."""
    cases = []
    for layers in (2, 6, 12):
        for before in (True, False):
            name = f"nn_transformer_encoder_{'pre' if before else 'post'}_{layers}"
            build = partial(encoder, layers, before)
            cases.append(case(name, f"nn/encoder_{'pre' if before else 'post'}", build, TOKENS))
    return [
        *cases,
        case("nn_transformer_encoder_gelu", "nn/encoder_gelu", partial(encoder, 3, True, "gelu", 0.0), TOKENS),
        case("nn_transformer_causal_4", "nn/causal", partial(Causal, 4), COUNTING, next_token),
        case("nn_transformer_causal_12", "nn/causal", partial(Causal, 12), COUNTING, next_token),
        case("nn_transformer", "nn/transformer", Translator, COUNTING, copied),
        case("nn_transformer_decoder", "nn/decoder", Decoder, patterns(6, 16), told),
        case("nn_multihead_attention", "nn/attention", Attention, SEQUENCES),
        case("nn_multihead_attention_no_bias", "nn/attention", partial(Attention, False), SEQUENCES),
    ]


# --- embeddings and particular losses ---------------------------------------------------------------------------


class Bag(nn.Module):
    """nn.EmbeddingBag and a linear layer: fastText."""

    def __init__(self, mode: str = "mean", sparse: bool = False) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(64, 16, mode=mode, sparse=sparse)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.bag(tokens))
        return out


def averaged(sparse: bool = False, vocab: int = 64) -> nn.Module:
    """Embeddings, their mean and a classifier."""
    embed = nn.Embedding(vocab, 16, padding_idx=0, sparse=sparse)
    return nn.Sequential(embed, Apply(lambda x: x.mean(dim=1)), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))


class Pairing(nn.Module):
    """nn.Bilinear over two views of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 16), nn.Linear(8, 16)
        self.both = nn.Bilinear(16, 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        out: Tensor = self.both(torch.tanh(self.left(left)), torch.tanh(self.right(right)))
        return out


class Adaptive(nn.Module):
    """A language model with nn.AdaptiveLogSoftmaxWithLoss at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, 32)
        self.layer = nn.GRU(32, 32, batch_first=True)
        self.loss = nn.AdaptiveLogSoftmaxWithLoss(32, 64, [16, 40], div_value=2.0)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.layer(self.embed(tokens[:, :-1]))[0]
        loss: Tensor = self.loss(hidden.flatten(0, 1), tokens[:, 1:].flatten()).loss
        return loss


class Listener(nn.Module):
    """A bidirectional GRU trained with CTC."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(8, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 6)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.layer(x)[0]), dim=-1).transpose(0, 1)


def dictation() -> Maker:
    """Three symbols, each held for six frames."""

    def make(seed: int, size: int) -> tuple[Tensor, Tensor]:
        g = generator(seed)
        words = torch.randint(1, 6, (size, 3), generator=g)
        frames = F.one_hot(words.repeat_interleave(6, dim=1), 8).float()
        return frames + 0.3 * torch.randn(frames.shape, generator=g), words

    return make


def ctc(model: nn.Module, batch: Batch) -> Tensor:
    """The CTC loss of the whole batch."""
    x, words = batch
    logits = model(x)
    frames = torch.full((x.shape[0],), logits.shape[0])
    return F.ctc_loss(logits, words, frames, torch.full((x.shape[0],), words.shape[1]))


def triplet(model: nn.Module, batch: Batch) -> Tensor:
    """Triplet margin loss between noisy copies and the next example."""
    x, _ = batch
    return F.triplet_margin_loss(model(x), model(x + 0.1), model(x.roll(1, 0)))


def cosine(model: nn.Module, batch: Batch) -> Tensor:
    """Cosine embedding loss: same class together, others apart."""
    x, y = batch
    same = torch.where(y == y.roll(1), 1.0, -1.0)
    return F.cosine_embedding_loss(model(x), model(x.roll(1, 0)), same, margin=0.2)


def priced() -> nn.Module:
    """A regressor that works in standard units and answers in dollars, so that its loss is of the order of 1e10."""
    return nn.Sequential(mlp([16, 32, 1]), Apply(lambda x: 3e5 + 1e5 * x))


def gaussian(model: nn.Module, batch: Batch) -> Tensor:
    """Gaussian negative log likelihood with a predicted variance."""
    x, y = batch
    mean, spread = model(x).chunk(2, dim=1)
    return F.gaussian_nll_loss(mean, y, F.softplus(spread) + 1e-4)


def mixture(model: nn.Module, batch: Batch, parts: int = 3) -> Tensor:
    """Negative log likelihood of a mixture density network."""
    x, y = batch
    weight, mean, scale = model(x).chunk(3, dim=1)
    parts_log = torch.distributions.Normal(mean, scale.exp()).log_prob(y)  # type: ignore[no-untyped-call]
    return -torch.logsumexp(F.log_softmax(weight, dim=1) + parts_log, dim=1).mean()


def binary(model: nn.Module, batch: Batch) -> Tensor:
    """Multi-label binary cross entropy."""
    x, y = batch
    return F.binary_cross_entropy_with_logits(model(x), F.one_hot(y, 4).float())


def poisson(model: nn.Module, batch: Batch) -> Tensor:
    """Poisson regression of counts."""
    x, y = batch
    return F.poisson_nll_loss(model(x), (4 * (y + 1)).round().clamp(min=0))


def quantiles(model: nn.Module, batch: Batch) -> Tensor:
    """Pinball loss of three quantiles."""
    x, y = batch
    levels = torch.tensor([0.1, 0.5, 0.9])
    miss = y - model(x)
    return torch.maximum(levels * miss, (levels - 1) * miss).mean()


def ranking(model: nn.Module, batch: Batch) -> Tensor:
    """Margin ranking of each example against the next."""
    x, y = batch
    score = model(x)
    return F.margin_ranking_loss(score, score.roll(1, 0), torch.sign(y - y.roll(1, 0)), margin=0.1)


def losses() -> list[Case]:
    """Embeddings, and the losses of torch.nn that are not cross entropy or squared error."""
    net, scalar = partial(mlp, [16, 32, 8]), partial(mlp, [16, 32, 1])
    numbers = regression()
    return [
        case("nn_embedding", "nn/embedding", averaged, TOKENS),
        case("nn_embedding_large_vocabulary", "nn/embedding", partial(averaged, vocab=5000), TOKENS),
        case("nn_embedding_sparse", "nn/embedding_sparse", partial(averaged, sparse=True), TOKENS),
        case("nn_embedding_bag", "nn/embedding_bag", Bag, TOKENS),
        case("nn_embedding_bag_sparse", "nn/embedding_bag", partial(Bag, "sum", True), TOKENS),
        case("nn_bilinear", "nn/bilinear", Pairing, VECTORS),
        case("nn_adaptive_softmax", "nn/adaptive_softmax", Adaptive, COUNTING, lambda model, t: model(t)),
        case("nn_ctc", "nn/ctc", Listener, dictation(), ctc),
        case("nn_triplet_margin", "nn/triplet", net, VECTORS, triplet),
        case("nn_cosine_embedding", "nn/cosine_embedding", net, VECTORS, cosine),
        case("nn_gaussian_nll", "nn/gaussian_nll", partial(mlp, [16, 32, 2]), numbers, gaussian),
        case("nn_mixture_density", "nn/mixture_density", partial(mlp, [16, 32, 9], nn.Tanh), numbers, mixture),
        case("nn_multilabel_bce", "nn/bce", partial(mlp, [16, 32, 4]), VECTORS, binary),
        case("nn_poisson", "nn/poisson", scalar, numbers, poisson),
        case("nn_quantiles", "nn/quantile", partial(mlp, [16, 32, 3]), numbers, quantiles),
        case("nn_huber", "nn/huber", scalar, numbers, supervised(F.huber_loss)),
        case("nn_l1", "nn/l1", scalar, numbers, supervised(F.l1_loss)),
        case("nn_margin_ranking", "nn/ranking", scalar, numbers, ranking),
        case("nn_hinge", "nn/hinge", partial(mlp, [16, 32, 4]), VECTORS, supervised(F.multi_margin_loss)),
        case("nn_house_prices", "nn/house_prices", priced, regression(scale=1e5, offset=3e5), fit),
        case("nn_temperatures", "nn/unnormalised", scalar, regression(scale=5, offset=10), fit),
        case("nn_small_targets", "nn/small_targets", scalar, regression(scale=1e-3), fit),
        case("nn_summed_loss", "nn/summed", scalar, numbers, supervised(partial(F.mse_loss, reduction="sum")), 64),
        case("nn_label_smoothing", "nn/smoothing", partial(mlp, [16, 64, 4]), VECTORS, SMOOTHED),
    ]


SMOOTHED = supervised(partial(F.cross_entropy, label_smoothing=0.1))


def cases() -> list[Case]:
    """All cases of this module."""
    return perceptrons() + convolutions() + recurrent() + attention() + losses()
