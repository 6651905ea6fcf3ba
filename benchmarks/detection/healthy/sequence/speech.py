"""Speech: recognition, synthesis, speakers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import SPECIAL, VOCAB, WIDTH, generator, prototypes, sequences_first, waves
from benchmarks.detection.vocabulary.blocks import feed_forward
from benchmarks.detection.vocabulary.losses import own_loss


class Frames(nn.Module):
    """Layers over the frames of a sound, averaged and classified."""

    def __init__(self, *layers: nn.Module, inputs: int = 4) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(inputs, WIDTH), nn.Sequential(*layers), nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean(1))


class Macaron(nn.Module):
    """A conformer: half feed-forward, attention, a gated depthwise convolution, half feed-forward, norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = (nn.Sequential(nn.LayerNorm(WIDTH), feed_forward(act=nn.SiLU)) for _ in range(2))
        self.norm, self.attention = nn.LayerNorm(WIDTH), nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.norm_conv, self.up = nn.LayerNorm(WIDTH), nn.Conv1d(WIDTH, 2 * WIDTH, 1)
        self.depthwise, self.batch = nn.Conv1d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH), nn.BatchNorm1d(WIDTH)
        self.down, self.end = nn.Conv1d(WIDTH, WIDTH, 1), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.first(x) / 2
        normed = self.norm(x)
        x = x + self.attention(normed, normed, normed)[0]
        hidden = F.glu(self.up(self.norm_conv(x).transpose(1, 2)), 1)
        x = x + self.down(F.silu(self.batch(self.depthwise(hidden)))).transpose(1, 2)
        return self.end(x + self.last(x) / 2)


class Transducer(nn.Module):
    """RNN-T: encoder, prediction net and joint net, with the sum over all alignments."""

    def __init__(self, letters: int = 5) -> None:
        super().__init__()
        self.encoder, self.predict = nn.LSTM(4, WIDTH, batch_first=True), nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.embed, self.joint = nn.Embedding(letters, WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, letters)

    def forward(self, sound: Tensor, text: Tensor) -> Tensor:
        heard = self.encoder(sound)[0][:, ::2]
        said = self.predict(self.embed(F.pad(text, (1, 0))))[0]
        pairs = torch.cat(torch.broadcast_tensors(heard[:, :, None], said[:, None]), -1)  # type: ignore[no-untyped-call]
        logits = self.head(self.joint(pairs).tanh()).log_softmax(-1)
        blank, emit = (
            logits[..., 0],
            logits[:, :, :-1].gather(3, text[:, None, :, None].expand(-1, heard.shape[1], -1, 1)),
        )
        return -self.likelihood(blank, emit[..., 0]).mean()

    @staticmethod
    def likelihood(blank: Tensor, emit: Tensor) -> Tensor:
        row = F.pad(emit[:, 0].cumsum(1), (1, 0))
        for t in range(1, blank.shape[1]):
            stay, new = row + blank[:, t - 1], list[Tensor]()
            for u in range(blank.shape[2]):
                new.append(stay[:, 0] if u == 0 else torch.logaddexp(stay[:, u], new[-1] + emit[:, t, u - 1]))
            row = torch.stack(new, 1)
        return row[:, -1] + blank[:, -1, -1]


def spoken(frames: int = 16) -> Maker:
    """Noisy frames of four pitches, in two halves, and what they say."""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        text = torch.randint(1, 5, (size, 2), generator=g)
        sound = F.one_hot(text - 1, 4).float().repeat_interleave(frames // 2, 1)
        return sound + 0.3 * torch.randn(size, frames, 4, generator=g), text

    return make


class Tacotron(nn.Module):
    """Text to spectrum: convolved text, a prenet with dropout, attention that knows its past, frames with a stop."""

    def __init__(self, bands: int = 6) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.convs = nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 5, padding=2), nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.read = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.prenet = nn.ModuleList(nn.Linear(n, 16) for n in (bands, 16))
        self.cell, self.query = nn.LSTMCell(16 + WIDTH, WIDTH), nn.Linear(WIDTH, 16, bias=False)
        self.key, self.where = nn.Linear(WIDTH, 16, bias=False), nn.Conv1d(1, 16, 5, padding=2, bias=False)
        self.energy, self.frame = nn.Linear(16, 1, bias=False), nn.Linear(2 * WIDTH, bands)
        self.stop = nn.Linear(2 * WIDTH, 1)

    def forward(self, tokens: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.read(self.convs(self.embed(tokens).transpose(1, 2)).transpose(1, 2))[0]
        keys, seen = self.key(memory), torch.zeros(tokens.shape[0], 1, tokens.shape[1])
        context, state, made = torch.zeros_like(memory[:, 0]), None, []
        for t in range(frames.shape[1]):
            x = frames[:, t - 1] if t else torch.zeros_like(frames[:, 0])
            for layer in self.prenet:
                x = F.dropout(F.relu(layer(x)), 0.5, True)
            state = self.cell(torch.cat([x, context], 1), state)
            energy = self.energy((self.query(state[0])[:, None] + keys + self.where(seen).transpose(1, 2)).tanh())
            weight = energy.softmax(1)
            seen, context = seen + weight.transpose(1, 2), (weight * memory).sum(1)
            made.append(torch.cat([state[0], context], 1))
        hidden = torch.stack(made, 1)
        return self.frame(hidden), self.stop(hidden)[..., 0]


def readings(length: int = 6, bands: int = 6) -> Maker:
    """Tokens, and a frame of sines for each."""

    def make(seed: int, size: int) -> Batch:
        tokens = torch.randint(SPECIAL, VOCAB, (size, length), generator=generator(seed))
        return tokens, (tokens[..., None] * torch.arange(1, bands + 1) / 10).sin()

    return make


def read_aloud(model: nn.Module, batch: Batch) -> Tensor:
    """Squared error of the frames and cross entropy of the stop."""
    tokens, frames = batch
    guess, stop = model(tokens, frames)
    end = torch.zeros_like(stop)
    end[:, -1] = 1
    return F.mse_loss(guess, frames) + F.binary_cross_entropy_with_logits(stop, end)


class ClippedReLU(nn.Hardtanh):
    """min(max(x, 0), 20)."""

    def __init__(self) -> None:
        super().__init__(0.0, 20.0)


class DeepSpeech(nn.Module):
    """Deep Speech: three dense layers with a clipped ReLU, a bidirectional RNN, one more layer, CTC."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        layers = [nn.Linear(12, width), ClippedReLU(), nn.Linear(width, width), ClippedReLU()]
        self.front = nn.Sequential(*layers, nn.Linear(width, width), ClippedReLU())
        self.rnn = nn.RNN(width, width, nonlinearity="relu", bidirectional=True, batch_first=True)
        self.back = nn.Sequential(nn.Linear(width, width), ClippedReLU(), nn.Linear(width, 8))

    def forward(self, x: Tensor, spoken: Tensor) -> Tensor:
        seen = self.rnn(self.front(x))[0]
        scores = self.back(sum(seen.chunk(2, -1))).log_softmax(-1).transpose(0, 1)
        frames, letters = (torch.full((len(x),), n) for n in (x.shape[1], spoken.shape[1]))
        return F.ctc_loss(scores, spoken, frames, letters)


def utterances(seed: int, size: int) -> Batch:
    """Four letters of seven, each for five noisy frames."""
    g = generator(seed)
    spoken = torch.randint(1, 8, (size, 4), generator=g)
    frames = prototypes(8, 12)[spoken].repeat_interleave(5, 1)
    return frames + 0.3 * torch.randn(frames.shape, generator=g), spoken


class ListenAttendSpell(nn.Module):
    """A pyramid of bidirectional LSTMs listens; a decoder attends and spells, taught by the truth."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.low = nn.LSTM(12, width // 2, bidirectional=True, batch_first=True)
        self.high = nn.LSTM(2 * width, width // 2, bidirectional=True, batch_first=True)
        self.embed, self.spell = nn.Embedding(8, width), nn.LSTMCell(2 * width, width)
        self.query, self.key, self.out = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(2 * width, 8)

    def forward(self, x: Tensor, spoken: Tensor) -> Tensor:
        heard = self.high(self.low(x)[0].unflatten(1, (-1, 2)).flatten(2))[0]
        keys, context = self.key(heard), torch.zeros_like(heard[:, 0])
        state, scores = (context, context), []
        for letter in F.pad(spoken, (1, 0))[:, :-1].unbind(1):
            state = self.spell(torch.cat([self.embed(letter), context], 1), state)
            weight = (keys @ self.query(state[0])[:, :, None]).softmax(1)
            context = (weight * heard).sum(1)
            scores.append(self.out(torch.cat([state[0], context], 1)))
        return F.cross_entropy(torch.stack(scores, 2), spoken)


class StatisticsPooling(nn.Module):
    """x-vector: mean and standard deviation over time."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(2), x.var(2).clamp(min=1e-5).sqrt()], 1)


def x_vector() -> nn.Module:
    """A time-delay net, statistics pooling, two segment layers, as for speakers."""
    layers: list[nn.Module] = []
    for inputs, size, dilation in ((4, 5, 1), (24, 3, 2), (24, 3, 3), (24, 1, 1)):
        layers += [nn.Conv1d(inputs, 24, size, dilation=dilation), nn.ReLU(), nn.BatchNorm1d(24)]
    segment = [nn.Linear(48, 24), nn.ReLU(), nn.BatchNorm1d(24), nn.Linear(24, 24), nn.ReLU(), nn.BatchNorm1d(24)]
    return nn.Sequential(*layers, StatisticsPooling(), *segment, nn.Linear(24, 4))


class Res2Block(nn.Module):
    """ECAPA: a dilated convolution in four scales between two of size one, squeeze and excitation, a residual."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.inward, self.outward = nn.Conv1d(width, width, 1), nn.Conv1d(width, width, 1)
        part = width // 4
        self.convs = nn.ModuleList(nn.Conv1d(part, part, 3, padding=dilation, dilation=dilation) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in (width, part, part, part, width))
        self.squeeze = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, width), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.norms[0](F.relu(self.inward(x))).chunk(4, 1))
        for i, conv in enumerate(self.convs):
            before = parts[i + 1] + parts[i] if i else parts[i + 1]
            parts[i + 1] = self.norms[i + 1](F.relu(conv(before)))
        out = self.norms[4](F.relu(self.outward(torch.cat(parts, 1))))
        return x + out * self.squeeze(out.mean(2))[:, :, None]


class Ecapa(nn.Module):
    """ECAPA-TDNN: all blocks are read together, attentive statistics, an additive angular margin."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(4, width, 5, padding=2), nn.ReLU(), nn.BatchNorm1d(width))
        self.blocks = nn.ModuleList(Res2Block(width, dilation) for dilation in (2, 3, 4))
        self.join = nn.Sequential(nn.Conv1d(3 * width, 32, 1), nn.ReLU())
        self.attend = nn.Sequential(nn.Conv1d(96, 8, 1), nn.ReLU(), nn.BatchNorm1d(8), nn.Tanh(), nn.Conv1d(8, 32, 1))
        self.embed = nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 16), nn.BatchNorm1d(16))
        self.speakers = nn.Parameter(torch.empty(4, 16))
        nn.init.xavier_normal_(self.speakers, gain=1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        seen = [self.stem(x)]
        for block in self.blocks:
            seen.append(block(sum(seen)))
        x = self.join(torch.cat(seen[1:], 1))
        mean, std = x.mean(2, keepdim=True), x.var(2, keepdim=True).clamp(min=1e-4).sqrt()
        weight = self.attend(torch.cat([x, mean.expand_as(x), std.expand_as(x)], 1)).softmax(2)
        mean = (weight * x).sum(2)
        std = ((weight * x.square()).sum(2) - mean.square()).clamp(min=1e-4).sqrt()
        cosine = F.normalize(self.embed(torch.cat([mean, std], 1))) @ F.normalize(self.speakers).T
        angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos() + 0.2 * F.one_hot(label, 4)
        return F.cross_entropy(30 * angle.cos(), label)


class QuartzNet(nn.Module):
    """QuartzNet: separable time-channel convolutions in residual blocks, normalised features, CTC."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first = self.unit(20, width, 5)
        self.blocks = nn.ModuleList(
            nn.Sequential(self.unit(width, width, 7), self.unit(width, width, 7, False)) for _ in range(2)
        )
        self.sides = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, width, 1, bias=False), nn.BatchNorm1d(width)) for _ in range(2)
        )
        self.head = nn.Conv1d(width, 6, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)

    @staticmethod
    def unit(inputs: int, outputs: int, size: int, bent: bool = True) -> nn.Sequential:
        """Over time within channels, then across channels."""
        deep = nn.Conv1d(inputs, inputs, size, padding=size // 2, groups=inputs, bias=False)
        layers = [deep, nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs, eps=1e-3)]
        return nn.Sequential(*layers, *([nn.ReLU()] if bent else []))

    def forward(self, x: Tensor, letters: Tensor) -> Tensor:
        y = self.first((x - x.mean(2, keepdim=True)) / (x.std(2, keepdim=True) + 1e-5))
        for block, side in zip(self.blocks, self.sides, strict=True):
            y = F.relu(block(y) + side(y))
        chances = self.head(y).log_softmax(1).permute(2, 0, 1)
        lengths = torch.full((len(x),), 24), torch.full((len(x),), 3)
        return F.ctc_loss(chances, letters, *lengths)


def spectra(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Log spectrograms of twenty bands that rise and fall through three letters, and the letters."""
    g = generator(seed)
    letters = torch.randint(1, 6, (size, 3), generator=g)
    frames = letters.repeat_interleave(8, 1)
    x = -6 + 2 * prototypes(6, 20)[frames] + 0.7 * torch.randn(size, 24, 20, generator=g)
    return x.transpose(1, 2), letters


class FastSpeech(nn.Module):
    """FastSpeech 2: phonemes' durations and pitch are predicted, true ones used; transformers write the spectrum."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed, self.pitch = nn.Embedding(12, width, padding_idx=0), nn.Embedding(16, width)
        layer = nn.TransformerEncoderLayer(width, 2, 64, 0.1, batch_first=True)
        self.encode = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.decode = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.heads, self.mel = nn.ModuleList(nn.Linear(width, 1) for _ in range(2)), nn.Linear(width, 20)

    def predict(self, x: Tensor, which: int) -> Tensor:
        """Two convolutions, norms, dropped channels and one number for every phoneme."""
        for i in (2 * which, 2 * which + 1):
            x = self.norms[i](F.relu(self.convs[i](x.transpose(1, 2))).transpose(1, 2))
            x = F.dropout(x, 0.5, self.training)
        return self.heads[which](x)[..., 0]

    @staticmethod
    def places(x: Tensor) -> Tensor:
        """The input plus sinusoids."""
        angle = torch.arange(x.shape[1])[:, None] * (-math.log(10000) * torch.arange(16) / 16).exp()
        return x + torch.cat([angle.sin(), angle.cos()], 1)

    def forward(self, phonemes: Tensor, durations: Tensor, pitch: Tensor, mel: Tensor) -> Tensor:
        x = self.encode(self.places(self.embed(phonemes)))
        lengths, heights = self.predict(x, 0), self.predict(x, 1)
        x = x + self.pitch(torch.bucketize(pitch, torch.linspace(-2, 2, 15)))
        owner = (durations.cumsum(1)[:, None] <= torch.arange(mel.shape[1])[:, None]).sum(2).clamp(max=x.shape[1] - 1)
        long = x.gather(1, owner[..., None].expand(-1, -1, x.shape[2]))
        spoken = self.mel(self.decode(self.places(long)))
        inside = (torch.arange(mel.shape[1]) < durations.sum(1, keepdim=True))[..., None]
        error = ((spoken - mel).abs() * inside).sum() / (20 * inside.sum())
        return error + F.mse_loss(lengths, durations.float().log1p()) + F.mse_loss(heights, pitch)


def phonemes(seed: int, size: int) -> Batch:
    """Six phonemes with their durations in frames, their pitch, and the log spectrum they make."""
    g = generator(seed)
    phonemes = torch.randint(1, 12, (size, 6), generator=g)
    durations = 1 + phonemes % 4 + torch.randint(2, (size, 6), generator=g)
    pitch = prototypes(12, 1)[phonemes][..., 0] + 0.3 * torch.randn(size, 6, generator=g)
    owner = (durations.cumsum(1)[:, None] <= torch.arange(30)[:, None]).sum(2).clamp(max=5)
    mel = -5 + 1.5 * prototypes(12, 20)[phonemes.gather(1, owner)] + pitch.gather(1, owner)[..., None]
    return phonemes, durations, pitch, mel + 0.3 * torch.randn(mel.shape, generator=g)


class SpeakerMargin(nn.Module):
    """GE2E: LSTM embeddings of speakers' utterances against centroids that leave out the utterance itself."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.rnn, self.project = nn.LSTM(20, width, 2, batch_first=True), nn.Linear(width, 16)
        self.weight, self.bias = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(-5.0))
        for name, weight in self.rnn.named_parameters():
            nn.init.zeros_(weight) if "bias" in name else nn.init.xavier_normal_(weight)

    def forward(self, x: Tensor) -> Tensor:
        code = F.normalize(F.relu(self.project(self.rnn(x.flatten(0, 1))[0][:, -1])), dim=1, eps=1e-5)
        code = code.view(*x.shape[:2], -1)
        count = x.shape[1]
        mean, rest = code.mean(1), (code.sum(1, keepdim=True) - code) / (count - 1)
        across = F.cosine_similarity(code[:, :, None], mean, dim=-1)
        own = torch.eye(len(x), dtype=torch.bool)[:, None].expand_as(across)
        scores = torch.where(own, F.cosine_similarity(code, rest, dim=-1)[..., None], across)
        truth = torch.arange(len(x)).repeat_interleave(count)
        return F.cross_entropy((self.weight * scores + self.bias).flatten(0, 1), truth)


def speakers(seed: int, size: int) -> Tensor:
    """Four utterances of every speaker, as twelve frames of twenty log bands."""
    g = generator(seed)
    voice = torch.randn(size, 1, 1, 20, generator=g)
    return voice + torch.randn(size, 4, 12, 20, generator=g)


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case(
            "second_sequence_conformer",
            "second/conformer",
            lambda: Frames(Macaron(), Macaron()),
            sequences_first(waves(channels=4)),
            round=2,
        ),
        case("second_sequence_transducer", "second/transducer", Transducer, spoken(), own_loss, round=2),
        case("second_sequence_tacotron", "second/tacotron", Tacotron, readings(), read_aloud, round=2),
        case("third_signal_deepspeech", "third/deepspeech", DeepSpeech, utterances, own_loss, round=3),
        case(
            "third_signal_listen_attend_spell",
            "third/listen_attend_spell",
            ListenAttendSpell,
            utterances,
            own_loss,
            round=3,
        ),
        case("third_signal_x_vector", "third/x_vector", x_vector, waves(channels=4), round=3),
        case("third_signal_ecapa_tdnn", "third/ecapa_tdnn", Ecapa, waves(channels=4), own_loss, round=3),
        case("fourth_series_quartznet", "fourth/quartznet", QuartzNet, spectra, own_loss, round=4),
        case("fourth_series_fastspeech2", "fourth/fastspeech2", FastSpeech, phonemes, own_loss, round=4),
        case("fourth_series_ge2e", "fourth/ge2e", SpeakerMargin, speakers, own_loss, round=4),
    ]
