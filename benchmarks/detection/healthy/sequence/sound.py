"""Sound: synthesis, separation, tagging."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.healthy.case import case
from benchmarks.detection.vocabulary.batches import generator, waves
from benchmarks.detection.vocabulary.losses import fit, own_loss


class WaveNet(nn.Module):
    """Gated dilated causal convolutions with residual and skip outputs, over eight amplitude levels."""

    def __init__(self, width: int = 16, depth: int = 5) -> None:
        super().__init__()
        self.embed = nn.Conv1d(8, width, 1)
        self.gated = nn.ModuleList([nn.Conv1d(width, 2 * width, 2, dilation=2**i) for i in range(depth)])
        self.residual = nn.ModuleList([nn.Conv1d(width, width, 1) for _ in range(depth)])
        self.skip = nn.ModuleList([nn.Conv1d(width, width, 1) for _ in range(depth)])
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(width, width, 1), nn.ReLU(), nn.Conv1d(width, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.embed(x), 0.0
        for index, (gated, residual, skip) in enumerate(zip(self.gated, self.residual, self.skip, strict=True)):
            signal, gate = gated(F.pad(x, (2**index, 0))).chunk(2, dim=1)
            h = torch.tanh(signal) * torch.sigmoid(gate)
            total, x = total + skip(h), x + residual(h)
        out: Tensor = self.head(total)
        return out


def amplitudes(model: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy of the next quantised sample."""
    x, _ = batch
    level = ((x[:, 0].clamp(-1.2, 1.2) + 1.2) / 2.4 * 7.99).long()
    code = F.one_hot(level, 8).float().transpose(1, 2)
    return F.cross_entropy(model(code)[..., :-1], level[:, 1:])


class Separator(nn.Module):
    """Conv-TasNet: learnt filters, a dilated net with global norms that makes masks, filters back to sound."""

    def __init__(self, filters: int = 32, narrow: int = 16) -> None:
        super().__init__()
        self.encode = nn.Conv1d(1, filters, 8, 4, bias=False)
        self.decode = nn.ConvTranspose1d(filters, 1, 8, 4, bias=False)
        self.stem = nn.Sequential(nn.GroupNorm(1, filters), nn.Conv1d(filters, narrow, 1))
        self.body = nn.ModuleList(self.block(narrow, filters, 2**i) for i in range(3))
        self.mask = nn.Sequential(nn.PReLU(), nn.Conv1d(narrow, 2 * filters, 1), nn.Sigmoid())

    @staticmethod
    def block(narrow: int, wide: int, dilation: int) -> nn.Module:
        depthwise = nn.Conv1d(wide, wide, 3, padding=dilation, dilation=dilation, groups=wide)
        tail = [depthwise, nn.PReLU(), nn.GroupNorm(1, wide), nn.Conv1d(wide, narrow, 1)]
        return nn.Sequential(nn.Conv1d(narrow, wide, 1), nn.PReLU(), nn.GroupNorm(1, wide), *tail)

    def forward(self, mixture: Tensor) -> Tensor:
        code = F.relu(self.encode(mixture[:, None]))
        hidden = self.stem(code)
        for block in self.body:
            hidden = hidden + block(hidden)
        masked = self.mask(hidden).unflatten(1, (2, -1)) * code[:, None]
        return self.decode(masked.flatten(0, 1)).unflatten(0, (len(mixture), 2))[:, :, 0]


def mixtures(length: int = 128) -> Maker:
    """The sum of a slow and a fast sine, and the two of them."""

    def make(seed: int, size: int) -> Batch:
        g = generator(seed)
        phase, speed = 6.283 * torch.rand(size, 2, 1, generator=g), torch.tensor([[4.0], [24.0]])
        speed = speed * (1 + 0.3 * torch.rand(size, 2, 1, generator=g))
        parts = (speed * torch.linspace(0, 6.283, length) + phase).sin()
        return parts.sum(1), parts

    return make


def unmixed(model: nn.Module, batch: Batch) -> Tensor:
    """The negative scale-invariant signal-to-noise ratio, in a fixed order."""
    mixture, parts = batch
    guess = model(mixture)[..., : parts.shape[-1]]
    target = parts[..., : guess.shape[-1]]
    target, guess = target - target.mean(-1, keepdim=True), guess - guess.mean(-1, keepdim=True)
    along = (guess * target).sum(-1, keepdim=True) / (target.square().sum(-1, keepdim=True) + 1e-8) * target
    return -10 * (along.square().sum(-1) / ((guess - along).square().sum(-1) + 1e-8) + 1e-8).log10().mean()


class Demucs(nn.Module):
    """A wave U-Net with gated convolutions, an LSTM in the middle, and rescaled initial weights (0.1)."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv1d(1, width, 8, 4, 2), nn.ReLU(), nn.Conv1d(width, 2 * width, 1), nn.GLU(1))
        self.down2 = nn.Sequential(
            nn.Conv1d(width, 2 * width, 8, 4, 2), nn.ReLU(), nn.Conv1d(2 * width, 4 * width, 1), nn.GLU(1)
        )
        self.rnn = nn.LSTM(2 * width, 2 * width, batch_first=True, bidirectional=True)
        self.project = nn.Linear(4 * width, 2 * width)
        self.up2 = nn.Sequential(
            nn.Conv1d(2 * width, 4 * width, 1), nn.GLU(1), nn.ConvTranspose1d(2 * width, width, 8, 4, 2), nn.ReLU()
        )
        self.up1 = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1), nn.GLU(1), nn.ConvTranspose1d(width, 2, 8, 4, 2)
        )  # fmt: skip
        self.rescale()

    def rescale(self, reference: float = 0.1) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
                scale = (module.weight.std().detach() / reference) ** 0.5
                module.weight.data /= scale
                module.bias.data /= scale  # type: ignore[union-attr]

    def forward(self, mixture: Tensor) -> Tensor:
        one = self.down1(mixture[:, None])
        two = self.down2(one)
        middle = self.project(self.rnn(two.transpose(1, 2))[0]).transpose(1, 2)
        return self.up1(self.up2(middle + two) + one)


def separated(model: nn.Module, batch: Batch) -> Tensor:
    """L1 of the sources."""
    return F.l1_loss(model(batch[0]), batch[1])


class Sinc(nn.Module):
    """SincNet's filters: only the two frequencies of every band are learnt; they start on the mel scale."""

    window: Tensor
    time: Tensor

    def __init__(self, filters: int = 12, size: int = 33, rate: float = 4000) -> None:
        super().__init__()
        top = 2595 * math.log10(1 + (rate / 2 - 100) / 700)
        edges = 700 * (10 ** (torch.linspace(2595 * math.log10(1 + 30 / 700), top, filters + 1) / 2595) - 1)
        self.low, self.band, self.rate = nn.Parameter(edges[:-1]), nn.Parameter(edges.diff()), rate
        self.register_buffer("window", torch.hamming_window(size, periodic=False))
        self.register_buffer("time", 2 * math.pi * (torch.arange(size) - size // 2) / rate)

    def forward(self, x: Tensor) -> Tensor:
        low = 50 + self.low.abs()
        high = (low + 50 + self.band.abs()).clamp(max=self.rate / 2)
        middle = len(self.time) // 2
        half = self.time[middle + 1 :]
        right = ((high[:, None] * half).sin() - (low[:, None] * half).sin()) / (half / 2)
        centre = 2 * (high - low)[:, None]
        bank = torch.cat([right.flip(1), centre, right], 1) / (2 * (high - low)[:, None]) * self.window
        return F.conv1d(x, bank[:, None])


def sincnet() -> nn.Module:
    """Learnt band-pass filters on the raw waveform, then usual convolutions with layer normalisation."""
    front = [nn.LayerNorm(200), Sinc(), nn.MaxPool1d(3), nn.LayerNorm([12, 56]), nn.LeakyReLU()]
    second = [nn.Conv1d(12, 16, 5), nn.MaxPool1d(3), nn.LayerNorm([16, 17]), nn.LeakyReLU()]
    dense = [nn.Flatten(), nn.Linear(272, 32), nn.BatchNorm1d(32), nn.LeakyReLU(), nn.Linear(32, 4)]
    return nn.Sequential(*front, *second, *dense)


class Period(nn.Module):
    """A HiFi-GAN discriminator for one period; what it sees on the way is kept."""

    def __init__(self, period: int) -> None:
        super().__init__()
        norm, self.period = nn.utils.parametrizations.weight_norm, period
        sizes = ((1, 8, 3), (8, 16, 3), (16, 16, 1))
        self.convs = nn.ModuleList(norm(nn.Conv2d(a, b, (5, 1), (s, 1), (2, 0))) for a, b, s in sizes)
        self.post = norm(nn.Conv2d(16, 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.pad(x, (0, -x.shape[2] % self.period), mode="reflect").unflatten(2, (-1, self.period))  # type: ignore[no-untyped-call]
        seen = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
            seen.append(x)
        return [*seen, self.post(x)]


class HifiGenerator(nn.Module):
    """HiFi-GAN's generator with its losses: least squares, matching features, L1 of the spectrogram."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.pre, self.post = norm(nn.Conv1d(8, width, 7, padding=3)), norm(nn.Conv1d(width // 4, 1, 7, padding=3))
        sizes = ((width, width // 2), (width // 2, width // 4))
        self.ups = nn.ModuleList(norm(nn.ConvTranspose1d(a, b, 8, 4, 2)) for a, b in sizes)
        mix = (nn.Conv1d(b, b, 3, padding=d, dilation=d) for _, b in sizes for d in (1, 3))
        self.mix = nn.ModuleList(norm(conv) for conv in mix)
        self.judges = nn.ModuleList(Period(p) for p in (2, 3)).requires_grad_(False)
        for conv in (*self.ups, *self.mix, self.post):
            nn.init.normal_(conv.parametrizations.weight.original1, std=0.01)

    def generate(self, mel: Tensor) -> Tensor:
        """A waveform for a spectrogram."""
        x = self.pre(mel)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            for conv in self.mix[2 * i : 2 * i + 2]:
                x = x + conv(F.leaky_relu(x, 0.1))
        return self.post(F.leaky_relu(x)).tanh()

    def forward(self, sound: Tensor) -> Tensor:
        made = self.generate(self.mel(sound))
        cost = 45 * F.l1_loss(self.mel(made), self.mel(sound))
        for judge in self.judges:
            false, true = judge(made), judge(sound)
            pairs = zip(false[:-1], true[:-1], strict=True)
            cost = cost + (1 - false[-1]).square().mean() + 2 * sum(F.l1_loss(a, b) for a, b in pairs)
        return cost

    @staticmethod
    def mel(sound: Tensor) -> Tensor:
        """The logarithm of eight bands of the spectrogram."""
        padded = F.pad(sound, (8, 8), mode="reflect")[:, 0]
        window = torch.hann_window(32)
        frames = torch.stft(padded, 32, 16, window=window, center=False, return_complex=True)
        power = (torch.view_as_real(frames).square().sum(-1) + 1e-9).sqrt()
        return F.avg_pool1d(power.transpose(1, 2), 2).transpose(1, 2)[:, :8].clamp(min=1e-5).log()


def tones(seed: int, size: int) -> Tensor:
    """Chords of two tones."""
    g = generator(seed)
    pitch, time = 0.1 + 0.6 * torch.rand(size, 2, 1, generator=g), torch.arange(160.0)
    return 0.4 * (pitch * time + 6.283 * torch.rand(size, 2, 1, generator=g)).sin().sum(1, keepdim=True)


class WaveUNet(nn.Module):
    """A U-Net on the waveform: decimation down, interpolation up, tanh at the end."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        widths = [1, width, 2 * width, 3 * width]
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(nn.Conv1d(a, b, 15, padding=7) for a, b in pairs)
        self.deep = nn.Conv1d(3 * width, 4 * width, 15, padding=7)
        self.up = nn.ModuleList(nn.Conv1d(b + (i + 2) * width, b, 5, padding=2) for i, (_, b) in enumerate(pairs))
        self.head = nn.Conv1d(width + 1, 1, 1)

    def forward(self, sound: Tensor) -> Tensor:
        x, kept = sound, []
        for conv in self.down:
            x = F.leaky_relu(conv(x), 0.2)
            kept.append(x)
            x = x[:, :, ::2]
        x = F.leaky_relu(self.deep(x), 0.2)
        for conv, skip in zip(reversed(self.up), reversed(kept), strict=True):
            x = F.interpolate(x, skip.shape[2], mode="linear", align_corners=True)
            x = F.leaky_relu(conv(torch.cat([x, skip], 1)), 0.2)
        return self.head(torch.cat([x, sound], 1)).tanh()


def noisy_tones(seed: int, size: int) -> Batch:
    """Chords in noise, and without it."""
    clean = tones(seed, size)
    return clean + 0.3 * torch.randn(clean.shape, generator=generator(seed + 1)), clean


class DualPathRNN(nn.Module):
    """DPRNN: one LSTM within chunks, one across them, each with a projection, a norm and a residual; SI-SNR."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.encode, self.decode = nn.Conv1d(1, width, 8, 4, bias=False), nn.ConvTranspose1d(width, 1, 8, 4, bias=False)
        self.rnns = nn.ModuleList(nn.LSTM(width, width, bidirectional=True, batch_first=True) for _ in range(4))
        self.projections = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(4))
        self.norms = nn.ModuleList(nn.GroupNorm(1, width, eps=1e-8) for _ in range(4))
        self.act, self.mask = nn.PReLU(), nn.Conv1d(width, width, 1)

    def forward(self, sound: Tensor) -> Tensor:
        code = self.encode(sound)
        x = code[:, :, :36].unflatten(2, (6, 6))
        for i, (rnn, projection, norm) in enumerate(zip(self.rnns, self.projections, self.norms, strict=True)):
            rows = x if i % 2 == 0 else x.transpose(2, 3)
            line = rnn(rows.permute(0, 2, 3, 1).flatten(0, 1))[0]
            out = norm(projection(line).unflatten(0, (len(x), -1)).permute(0, 3, 1, 2))
            x = x + (out if i % 2 == 0 else out.transpose(2, 3))
        mask = F.relu(self.mask(self.act(x).flatten(2)))
        return self.decode(code[:, :, :36] * mask)


def signal_to_noise(model: nn.Module, batch: Batch) -> Tensor:
    """The scale-invariant ratio of signal to noise, in decibels, with the sign of a loss."""
    mixed, clean = batch
    made = model(mixed)[:, 0]
    clean = clean[:, 0, : made.shape[1]]
    made, clean = made - made.mean(1, keepdim=True), clean - clean.mean(1, keepdim=True)
    part = (made * clean).sum(1, keepdim=True) / (clean.square().sum(1, keepdim=True) + 1e-8) * clean
    return -10 * (part.square().sum(1) / ((made - part).square().sum(1) + 1e-8) + 1e-8).log10().mean()


class SoundTagger(nn.Module):
    """Weakly labelled sound events: a log spectrogram, convolutions, a GRU and attention over frames."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(17)
        conv = [nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.AvgPool2d((4, 1))]
        self.conv, self.rnn = nn.Sequential(*conv), nn.GRU(4 * width, width, bidirectional=True, batch_first=True)
        self.attend, self.tell = nn.Conv1d(2 * width, 4, 1), nn.Conv1d(2 * width, 4, 1)
        for layer in (self.conv[0], self.attend, self.tell):
            nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]

    def forward(self, sound: Tensor) -> Tensor:
        window = torch.hann_window(32)
        power = torch.stft(sound[:, 0], 32, 16, window=window, return_complex=True).abs().square()
        x = self.conv(self.norm((power + 1e-5).log())[:, None])
        x = self.rnn(x.flatten(1, 2).transpose(1, 2))[0].transpose(1, 2)
        weight = self.attend(x).tanh().softmax(2)
        return (weight * self.tell(x).sigmoid()).sum(2).clamp(1e-6, 1 - 1e-6)


def events(seed: int, size: int) -> Batch:
    """Noise in which some of four tones sound for a while."""
    g = generator(seed)
    present, time = (torch.rand(size, 4, generator=g) < 0.4).float(), torch.arange(160.0)
    start = 80 * torch.rand(size, 4, 1, generator=g)
    heard = (torch.tensor([0.3, 0.8, 1.4, 2.2])[:, None] * time).sin() * ((time > start) & (time < start + 80))
    return (present[:, :, None] * heard).sum(1, keepdim=True) + 0.2 * torch.randn(size, 1, 160, generator=g), present


def tagged(model: nn.Module, batch: Batch) -> Tensor:
    """Binary cross entropy of every event."""
    x, y = batch
    return F.binary_cross_entropy(model(x), y)


class Unmix(nn.Module):
    """Open-Unmix: a normalised spectrum, a bidirectional LSTM with a skip around it, a mask by ReLU."""

    def __init__(self, bands: int = 24, width: int = 32) -> None:
        super().__init__()
        self.mean, self.scale = nn.Parameter(torch.full((bands,), -1.0)), nn.Parameter(torch.full((bands,), 0.7))
        self.out_mean, self.out_scale = nn.Parameter(torch.ones(bands)), nn.Parameter(torch.ones(bands))
        self.fc1, self.bn1 = nn.Linear(bands, width, bias=False), nn.BatchNorm1d(width)
        self.rnn = nn.LSTM(width, width // 2, 2, batch_first=True, bidirectional=True, dropout=0.4)
        self.fc2, self.bn2 = nn.Linear(2 * width, width, bias=False), nn.BatchNorm1d(width)
        self.fc3, self.bn3 = nn.Linear(width, bands, bias=False), nn.BatchNorm1d(bands)

    @staticmethod
    def flat(norm: nn.Module, x: Tensor) -> Tensor:
        """Batch norm over frames."""
        return norm(x.flatten(0, 1)).view_as(x)

    def forward(self, x: Tensor) -> Tensor:
        y = self.flat(self.bn1, self.fc1((x + self.mean) * self.scale)).tanh()
        y = torch.cat([y, self.rnn(y)[0]], -1)
        y = F.relu(self.flat(self.bn2, self.fc2(y)))
        return F.relu(self.flat(self.bn3, self.fc3(y)) * self.out_scale + self.out_mean) * x


def voices_over_noise(seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Magnitudes of a voice with harmonics over noise, and of the voice alone."""
    g = generator(seed)
    base = torch.randint(3, 7, (size, 1, 1), generator=g) + torch.randint(2, (size, 16, 1), generator=g)
    voice = ((torch.arange(24) + 1) % base == 0).float() * (0.5 + 2 * torch.rand(size, 16, 1, generator=g))
    return voice + torch.randn(size, 16, 24, generator=g).abs() * 0.6, voice


class Harmonics(nn.Module):
    """DDSP: loudness and pitch give amplitudes of harmonics and filtered noise; multi-scale spectral loss."""

    def __init__(self, width: int = 32, harmonics: int = 8) -> None:
        super().__init__()
        ins = (self.mlp(1, width), self.mlp(1, width))
        self.ins, self.rnn = nn.ModuleList(ins), nn.GRU(2 * width, width, batch_first=True)
        self.out, self.amps, self.noise = (
            self.mlp(3 * width, width),
            nn.Linear(width, harmonics + 1),
            nn.Linear(width, 9),
        )

    @staticmethod
    def mlp(inputs: int, width: int) -> nn.Sequential:
        """Two layers with norms and leaky ReLU."""
        layers: list[nn.Module] = []
        for size in (inputs, width):
            layers += [nn.Linear(size, width), nn.LayerNorm(width), nn.LeakyReLU()]
        return nn.Sequential(*layers)

    @staticmethod
    def positive(x: Tensor) -> Tensor:
        """The scaled sigmoid."""
        return 2 * x.sigmoid().pow(math.log(10)) + 1e-7

    def forward(self, pitch: Tensor, loudness: Tensor, sound: Tensor) -> Tensor:
        given = torch.cat([self.ins[0](pitch[..., None] / 1000), self.ins[1](loudness[..., None])], -1)
        x = self.out(torch.cat([self.rnn(given)[0], given], -1))
        total, parts = self.positive(self.amps(x)).split([1, 8], -1)  # type: ignore[no-untyped-call]
        number = torch.arange(1, 9)
        parts = parts * ((pitch[..., None] * number < 4000).float() + 1e-4)
        amps = (total * parts / parts.sum(-1, keepdim=True)).repeat_interleave(64, 1)
        phase = (6.283 * pitch.repeat_interleave(64, 1) / 8000).cumsum(1)
        tone = (amps * (phase[..., None] * number).sin()).sum(-1)
        shape = torch.fft.irfft(self.positive(self.noise(x) - 5).to(torch.cfloat), dim=-1)
        hiss = torch.rand(*x.shape[:2], 64) * 2 - 1
        hiss = torch.fft.irfft(torch.fft.rfft(hiss, 128) * torch.fft.rfft(shape, 128), dim=-1)[..., :64].flatten(1)
        made, loss = tone + hiss, torch.zeros(())
        for size in (256, 128, 64):
            window = torch.hann_window(size)
            a, b = (torch.stft(s, size, size // 4, window=window, return_complex=True).abs() for s in (made, sound))
            loss = loss + (a - b).abs().mean() + ((a + 1e-7).log() - (b + 1e-7).log()).abs().mean()
        return loss


def notes(seed: int, size: int) -> Batch:
    """Pitch in hertz and loudness of eight frames, and the sound of an instrument with falling harmonics."""
    g = generator(seed)
    pitch = (200 + 400 * torch.rand(size, 1, generator=g)).expand(-1, 8)
    loud = torch.rand(size, 8, generator=g)
    phase = (6.283 * pitch.repeat_interleave(64, 1) / 8000).cumsum(1)
    tone = sum((phase * n).sin() / n**1.5 for n in range(1, 7))
    sound = 0.5 * loud.repeat_interleave(64, 1) * tone + 0.01 * torch.randn(size, 512, generator=g)
    return pitch, loud * 2 - 1, sound


class DeepSvdd(nn.Module):
    """Deep SVDD: no biases anywhere, and a fixed centre that the features shall come close to."""

    centre: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv1d(4, 16, 5, padding=2, bias=False), nn.BatchNorm1d(16, affine=False), nn.LeakyReLU()]
        deep = [nn.MaxPool1d(2), nn.Conv1d(16, 16, 5, padding=2, bias=False), nn.BatchNorm1d(16, affine=False)]
        self.net = nn.Sequential(*layers, *deep, nn.LeakyReLU(), nn.Flatten(), nn.Linear(256, 8, bias=False))
        with torch.no_grad():
            centre = self.net(waves(channels=4)(99, 32)[0]).mean(0)
        self.register_buffer("centre", torch.where(centre.abs() < 0.1, 0.1 * centre.sign(), centre))

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        return (self.net(x) - self.centre).square().sum(1).mean()


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        case("seq_wavenet", "seq/wavenet", WaveNet, waves(32), amplitudes),
        case("second_sequence_conv_tasnet", "second/conv_tasnet", Separator, mixtures(132), unmixed, round=2),
        case("second_sequence_demucs", "second/demucs", Demucs, mixtures(), separated, round=2),
        case("third_signal_sincnet", "third/sincnet", sincnet, waves(200), round=3),
        case("third_signal_hifigan_generator", "third/hifigan_generator", HifiGenerator, tones, own_loss, round=3),
        case("third_signal_wave_u_net", "third/wave_u_net", WaveUNet, noisy_tones, fit, round=3),
        case("third_signal_dual_path_rnn", "third/dual_path_rnn", DualPathRNN, noisy_tones, signal_to_noise, round=3),
        case("third_signal_sound_tagger", "third/sound_tagger", SoundTagger, events, tagged, round=3),
        case("fourth_series_open_unmix", "fourth/open_unmix", Unmix, voices_over_noise, fit, round=4),
        case("fourth_series_ddsp", "fourth/ddsp", Harmonics, notes, own_loss, round=4),
        case("third_signal_deep_svdd", "third/deep_svdd", DeepSvdd, waves(channels=4), own_loss, round=3),
    ]
