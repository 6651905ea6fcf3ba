import torch
from torch import nn


def data(samples=16, features=20, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, features, generator=generator)
    return x, torch.randint(classes, (samples,), generator=generator)


def images(samples=8, size=16, classes=5):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(samples, 3, size, size, generator=generator)
    return x, torch.randint(classes, (samples,), generator=generator)


def mlp(*sizes, act=nn.ReLU):
    torch.manual_seed(3)
    layers = []
    for given, made in zip(sizes, sizes[1:]):
        layers += [nn.Linear(given, made), act()]
    return nn.Sequential(*layers[:-1])


def healthy():
    return mlp(20, 32, 32, 5)


def deep_sigmoid(depth=12):
    return mlp(20, *[32] * depth, 5, act=nn.Sigmoid)


class Detached(nn.Module):
    """Its encoder is cut off from the loss."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.encoder = nn.Linear(20, 32)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(torch.relu(self.encoder(x)).detach())


class ConvNet(nn.Module):
    def __init__(self, norm=True):
        super().__init__()
        torch.manual_seed(5)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(32) if norm else nn.Identity()
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean(dim=(2, 3)))


class Block(nn.Module):
    """A residual block whose branch starts at zero."""

    def __init__(self, width):
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))


def zero_init_residual():
    torch.manual_seed(6)
    return nn.Sequential(nn.Linear(20, 32), *[Block(32) for _ in range(6)], nn.Linear(32, 5))


class ViT(nn.Module):
    """A small vision transformer, its head initialised with zeros."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.patch = nn.Conv2d(3, 32, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 32))
        self.position = nn.Parameter(torch.randn(1, 17, 32) * 0.02)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.head(self.encoder(x)[:, 0])


class LoRA(nn.Module):
    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, base.in_features) / rank)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + x @ self.a.T @ self.b.T


class Mixture(nn.Module):
    """Eight experts, of which each sample goes to the best two."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(8)
        self.gate = nn.Linear(20, 8)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 20)) for _ in range(8))
        self.head = nn.Linear(20, 5)

    def forward(self, x):
        weights, chosen = self.gate(x).softmax(-1).topk(2)
        out = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            rows, place = (chosen == index).nonzero(as_tuple=True)
            if len(rows):
                out = out.index_add(0, rows, weights[rows, place, None] * expert(x[rows]))
        return self.head(x + out)


class VAE(nn.Module):
    def __init__(self, act=nn.ReLU):
        super().__init__()
        torch.manual_seed(9)
        self.encoder = nn.Sequential(nn.Linear(20, 32), act(), nn.Linear(32, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 32), act(), nn.Linear(32, 20))

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=-1)

    def decode(self, z):
        return self.decoder(z)

    def loss(self, x):
        mean, log_variance = self.encode(x)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()
        return (self.decode(z) - x).square().mean() + kl
