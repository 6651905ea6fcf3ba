"""The hosts: small networks that learn their small task, into which ``faults.py`` puts what can go wrong.

Most hosts have the children ``stem``, ``body`` (an ``nn.Sequential`` of blocks) and ``head``; residual blocks carry a
``residual`` attribute, activations are modules or the name of a function in an attribute ``function``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ..cases import Case
from . import dense, fourth, fourth_tasks, second, second_tasks, sequence, tasks, third, third_tasks, vision
from .tasks import Task

Build = Callable[[], nn.Module]


@dataclass(frozen=True, kw_only=True)
class Host:
    """``chain`` names the ``nn.Sequential`` that carries the signal; ``sites`` places early, midway and late in it;
    ``trunk`` globs everything but the read-out; ``round`` is that of the cases made of it."""

    name: str
    build: Build
    task: Task
    chain: str = "body"
    sites: tuple[str, ...] = ()
    trunk: tuple[str, ...] = ("stem*", "body*")
    steps: int = 160
    batch_size: int = 8
    train_batch: int = 48
    round: int = 1

    def step(self, model: nn.Module, batch: Any) -> Tensor:
        inputs, target = batch
        return self.task.loss(model(*inputs), target)

    def places(self) -> tuple[str, ...]:
        """Early, midway and late in the chain, unless ``sites`` says otherwise."""
        if self.sites:
            return self.sites
        last = blocks(self) - 1
        return tuple(f"{self.chain}.{i}" for i in sorted({0, last // 2, last}))


@cache
def blocks(host: Host) -> int:
    """How many blocks the chain has."""
    with torch.random.fork_rng():
        return len(host.build().get_submodule(host.chain))  # type: ignore[arg-type]


def case(host: Host) -> Case:
    """The host itself, with nothing wrong."""
    return Case(
        name=f"host/{host.name}",
        host=host.name,
        build=host.build,
        batch=host.task.batch,
        step=host.step,
        batch_size=host.batch_size,
        round=host.round,
    )


def _mlps() -> list[Host]:
    def mlp(name: str, depth: int, act: dense.Activation, init: dense.Init | None) -> Host:
        return Host(name=name, build=lambda: dense.mlp(depth, act, init), task=tasks.sectors())

    return [
        mlp("mlp4-relu", 4, nn.ReLU, dense.he),
        mlp("mlp6-default", 6, nn.ReLU, None),
        mlp("mlp8-leaky", 8, nn.LeakyReLU, dense.he),
        mlp("mlp12-gelu", 12, nn.GELU, dense.he),
        mlp("mlp12-tanh", 12, nn.Tanh, dense.xavier),
        mlp("mlp12-selu", 12, nn.SELU, dense.lecun),
        mlp("mlp20-relu", 20, nn.ReLU, dense.he),
        Host(name="mlp8-functional", build=dense.functional_mlp, task=tasks.sectors()),
        Host(name="mlp10-batchnorm", build=dense.batchnorm_mlp, task=tasks.sectors(), batch_size=16),
        Host(name="mlp5-dropout", build=dense.dropout_mlp, task=tasks.sectors()),
        Host(name="resmlp12", build=dense.residual_mlp, task=tasks.sectors()),
        Host(name="highway10", build=dense.highway, task=tasks.sectors()),
    ]


def _dense() -> list[Host]:
    coder = {"chain": "encoder", "sites": ("encoder.0", "bottleneck", "decoder.1")}
    return [
        Host(
            name="discriminator",
            build=lambda: dense.mlp(4, nn.LeakyReLU, None, inputs=2, outputs=1),
            task=tasks.real_or_fake(),
        ),
        Host(name="dqn", build=lambda: dense.mlp(4, nn.ReLU, dense.he, outputs=3), task=tasks.action_values()),
        Host(
            name="autoencoder",
            build=dense.Autoencoder,
            task=tasks.regress(tasks.manifold()),
            trunk=("encoder*", "bottleneck*", "decoder*"),
            **coder,  # type: ignore[arg-type]
        ),
        Host(
            name="vae",
            build=dense.Variational,
            task=tasks.variational(),
            chain="encoder",
            sites=("encoder.0", "mean", "decoder.1"),
            trunk=("encoder*", "mean*", "logvar*", "decoder*"),
        ),
        Host(
            name="multitask",
            build=dense.MultiTask,
            task=tasks.two_questions(),
            chain="trunk",
            trunk=("trunk*", "tower*"),
        ),
        Host(name="moe", build=dense.mixture, task=tasks.sectors()),
        Host(name="recommender", build=dense.Recommender, task=tasks.ratings(), trunk=("user*", "item*", "body*")),
        Host(name="pointnet", build=dense.Points, task=tasks.shapes(), trunk=("body*", "post*")),
        Host(name="deepsets", build=dense.DeepSets, task=tasks.shapes(), trunk=("body*", "post*")),
        Host(
            name="gcn",
            build=dense.GraphNet,
            task=tasks.neighbourhoods(),
            chain="",
            sites=("layers.0", "layers.1", "layers.2"),
            trunk=("layers*",),
        ),
    ]


def _vision() -> list[Host]:
    def net(name: str, build: Build, **more: Any) -> Host:
        return Host(name=name, build=build, task=tasks.directions(), **{"steps": 100, "train_batch": 32, **more})

    lenet = {"chain": "", "sites": ("conv1", "conv2", "fc2"), "trunk": ("conv*", "fc*")}
    unet = {"chain": "", "sites": ("down1", "middle", "up1"), "trunk": ("down*", "middle*", "up*")}
    return [
        net("vgg-plain", lambda: vision.vgg(False)),
        net("vgg-bn", lambda: vision.vgg(True)),
        net("lenet", vision.LeNet, **lenet),
        net("resnet", vision.resnet),
        net("preact-resnet", vision.preact),
        net("se-resnet", lambda: vision.resnet(3, squeeze=True)),
        net("convnext", vision.convnext),
        net("mobilenet", vision.mobilenet),
        net("densenet", vision.densenet),
        net("normfree", vision.normfree),
        net("mixer", vision.mixer),
        net("vit", sequence.vit),
        Host(name="unet", build=vision.UNet, task=tasks.textures(), steps=100, train_batch=24, **unet),  # type: ignore[arg-type]
    ]


def _recurrent() -> list[Host]:
    def host(name: str, build: Build) -> Host:
        parts = ("embed", "rnn")
        return Host(name=name, build=build, task=tasks.first_token(), chain="", sites=parts, trunk=("embed*", "rnn*"))

    unrolled = Host(
        name="rnn-unrolled",
        build=sequence.Unrolled,
        task=tasks.first_token(),
        chain="",
        sites=("embed", "inward", "recur"),
        trunk=("embed*", "inward*", "recur*"),
    )
    return [
        host("lstm", lambda: sequence.Recurrent(nn.LSTM)),
        host("gru", lambda: sequence.Recurrent(nn.GRU)),
        host("rnn", lambda: sequence.Recurrent(nn.RNN)),
        unrolled,
        Host(name="tcn", build=sequence.tcn, task=tasks.first_token()),
    ]


def _attention() -> list[Host]:
    def net(name: str, build: Build, steps: int = 120) -> Host:
        return Host(name=name, build=build, task=tasks.looked_up(), steps=steps, train_batch=24)

    towers = {
        "chain": "image",
        "sites": ("image.0", "image", "text"),
        "trunk": ("image*", "text*", "join*"),
    }
    translator = {
        "chain": "encoder",
        "sites": ("source", "encoder.0", "decoder.1"),
        "trunk": ("source*", "target*", "encoder*", "decoder*", "norm*"),
    }
    return [
        net("encoder4-pre", lambda: sequence.encoder(4)),
        net("encoder4-post", lambda: sequence.encoder(4, sequence.PostNorm)),
        net("encoder6-post", lambda: sequence.encoder(6, sequence.PostNorm)),
        net("encoder12-pre", lambda: sequence.encoder(12), 80),
        net("encoder24-pre", lambda: sequence.encoder(24), 60),
        net("encoder3-torch", sequence.torch_encoder),
        net("lora", sequence.adapted),
        Host(name="gpt", build=sequence.GPT, task=tasks.echo(), trunk=("stem*", "body*", "norm*")),
        Host(name="translator", build=sequence.Translator, task=tasks.reversal(), **translator),  # type: ignore[arg-type]
        Host(name="two-towers", build=sequence.TwoTowers, task=tasks.caption_matches(), **towers),  # type: ignore[arg-type]
        Host(name="ft-transformer", build=sequence.TableNet, task=tasks.table()),
    ]


def _second_signals() -> list[Host]:
    """Fresh hosts on images and sequences."""

    def net(name: str, build: Build, task: Task, **more: Any) -> Host:
        return Host(name=name, build=build, task=task, round=2, **more)

    image: dict[str, Any] = {"steps": 100, "train_batch": 32}
    pyramid = {"chain": "", "sites": ("up1", "up3", "smooth"), "trunk": ("up*", "side*", "smooth*")}
    return [
        net("repvgg", second.repvgg, second_tasks.glyphs(), **image),
        net("inception", second.inception, second_tasks.glyphs(noise=0.15), steps=140, train_batch=24),
        net("pyramid", second.Pyramid, second_tasks.chequered(), **image, **pyramid),
        net("tagger", second.Tagger, second_tasks.taller(), chain="", sites=("embed", "rnn"), trunk=("embed*", "rnn*")),
        net("gated-conv", second.gated_conv, second_tasks.sums()),
        net("llama", second.llama, second_tasks.strides(), train_batch=32),
        net("mingru", second.mingru, second_tasks.leaky(), train_batch=32),
        net("nhits", second.Forecast, second_tasks.seasons(), trunk=("body*", "back*", "heads*")),
    ]


def _second_vectors() -> list[Host]:
    """Fresh hosts on vectors, ids, points and graphs."""

    def net(name: str, build: Build, task: Task, **more: Any) -> Host:
        return Host(name=name, build=build, task=task, round=2, **more)

    layers = {"chain": "layers", "trunk": ("stem*", "layers*", "own")}
    towers = {"chain": "query", "sites": ("query.0", "query", "document"), "trunk": ("query*", "document*")}
    field = {"chain": "", "sites": ("stem", "body", "body.fc2")}
    return [
        net("siren", second.siren, second_tasks.surface()),
        net("dcn", second.Clicks, second_tasks.clicks(), trunk=("tables*", "cross*", "body*")),
        net("gin", second.Isomorphism, second_tasks.topologies(), **layers),
        net("flow", second.Flow, second_tasks.circle_density(), steps=240, trunk=("body*",)),
        net("retrieval", second.Retrieval, second_tasks.partners(), **towers),
        net("actor-critic", second.ActorCritic, second_tasks.bandit(), steps=320, train_batch=256, trunk=("body*",)),
        net("ode", second.Ode, second_tasks.rings(), steps=320, **field),
        net("denoiser", second.Denoiser, second_tasks.noised(), train_batch=96, trunk=("stem*", "time*", "body*")),
    ]


def _third() -> list[Host]:
    """Fresh hosts of the third part."""

    def net(name: str, build: Build, task: Task, **more: Any) -> Host:
        return Host(name=name, build=build, task=task, round=3, **{"steps": 120, "train_batch": 32, **more})

    coder = {"chain": "encoder", "sites": ("encoder.0", "bottleneck", "decoder.2")}
    painted = ("encoder*", "bottleneck*", "open*", "decoder*")
    graph = {"chain": "layers", "sites": ("stem", "layers.0", "layers.1"), "trunk": ("stem*", "layers*")}
    spoken = {"chain": "", "sites": ("source", "encoder", "cell")}
    heard = ("source*", "target*", "encoder*", "reader*", "cell*")
    written = {"chain": "", "sites": ("embed", "rnn"), "trunk": ("embed*", "rnn*")}
    return [
        net("fourier", third.fourier, third_tasks.colours(), train_batch=64),
        net("quantiles", third.quantiles, third_tasks.spreads(), steps=160, train_batch=64),
        net("deep-cnn", third.deep_cnn, third_tasks.gaps(), steps=100),
        net("localiser", third.Localiser, third_tasks.found_where()),
        net("bars", third.Bars, third_tasks.bars(), steps=160, trunk=painted, **coder),
        net("siamese", third.Siamese, third_tasks.alike(), steps=100),
        net("gat", third.Signposts, third_tasks.signposts(), **graph),
        net("set-transformer", third.set_transformer, third_tasks.ranges()),
        net("seq2seq", third.Seq2Seq, third_tasks.rotated(), trunk=heard, **spoken),
        net("lstm-lm", third.LanguageModel, third_tasks.braided(), **written),
        net("elman", third.Elman, third_tasks.added(), chain="", sites=("cell",), trunk=("cell*",), steps=240),
    ]


def _fourth() -> list[Host]:
    """Fresh hosts of the fourth part."""

    def net(name: str, build: Build, task: Task, sites: tuple[str, ...], trunk: tuple[str, ...], **more: Any) -> Host:
        settings = {"steps": 120, "train_batch": 32, "chain": "", **more}
        return Host(name=name, build=build, task=task, sites=sites, trunk=trunk, round=4, **settings)

    coded, wide = ("enc.2", "fc_mu", "dec.2"), {"train_batch": 64}
    painted = ("enc*", "fc_mu*", "fc_logvar*", "fc_up*", "dec.[0-3]")
    staged = ("conv1", "gn1", "layer*")
    bought = ("bot_l", "emb_l.0", "top_l.0")
    read = ("word_embeddings", "gru", "attention")
    return [
        net("char-gpt", fourth.CharGPT, fourth_tasks.written(), ("h.0", "h.3", "h.5"), ("wte", "wpe", "h*", "ln_f"),
            steps=80),
        net("bracket-encoder", fourth.BracketEncoder, tasks.before_after(length=8),
            ("embedding", "encoder.layers.1", "encoder"), ("embedding*", "encoder*")),
        net("perceiver", fourth.Perceiver, fourth_tasks.top_of_the_heap(), ("to_tokens", "blocks.0", "blocks.1"),
            ("", "to_tokens*", "blocks*")),
        net("all-conv", fourth.AllConv, fourth_tasks.counted(), ("convs.1", "convs.5", "convs.8"), ("convs*",)),
        net("groupnorm-resnet", fourth.GroupNormResNet, fourth_tasks.beside(), ("layer1.0", "layer1.1", "layer2.1"),
            staged, steps=60),
        net("conv-vae", fourth.ConvVAE, fourth_tasks.spots(), coded, painted, **wide),
        net("attentive-gru", fourth.AttentiveGRU, fourth_tasks.opinions(), read[:2], tuple(f"{r}*" for r in read)),
        net("mamba", fourth.Mamba, fourth_tasks.last_marked(), ("inlet", "layers.0", "layers.1"), ("inlet*", "layers*"),
            steps=100),
        net("tall-regressor", fourth.tall_regressor, fourth_tasks.friedman(), ("2", "10", "20"),
            ("?", "1?", "2[0-3]"), **wide),
        net("dlrm", fourth.DLRM, fourth_tasks.bought(), bought, ("bot_l*", "emb_l*", "top_l.[0-3]"), **wide),
        net("sage-jump", fourth.GraphSAGE, fourth_tasks.rumours(), ("convs.0", "convs.1", "convs.2"), ("convs*",)),
        net("pinn", fourth.PINN, fourth_tasks.poisson(), ("net.0", "net.2", "net.4"), ("net.[0-5]",), **wide),
    ]  # fmt: skip


def _all() -> list[Host]:
    groups = (_mlps, _dense, _vision, _recurrent, _attention, _second_signals, _second_vectors, _third, _fourth)
    return [host for group in groups for host in group()]


HOSTS: dict[str, Host] = {host.name: host for host in _all()}
