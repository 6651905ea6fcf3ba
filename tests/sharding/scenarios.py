"""What the ranks of a group do, all in one group: starting processes takes longer than all of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import sharded_networks
import torch
import torch.distributed as dist
import torch.nn.functional as F
from sharded_networks import Network
from torch import Tensor, nn

from pytest_gradhealth import GradHealth
from pytest_gradhealth.errors import GradientHealthError, MeasurementError
from pytest_gradhealth.measure.runs.placing import placed
from pytest_gradhealth.record import Check, GradientRecord


def measured(ways: list[str]) -> dict[str, Any]:
    """The record of the whole network, and of the same one spread over ranks in each way."""
    found: dict[str, Any] = {"whole": record(Network(), sharded_networks.batch())}
    found["whole, frozen"] = record(sharded_networks.without_stem(Network()), sharded_networks.batch())
    found["halves in bfloat16"] = halves_in_bfloat16()
    for way in ways:
        found[way] = record(*sharded_networks.WAYS[way](Network))
    return found


def record(model: nn.Module, mine: tuple[Tensor, Tensor]) -> dict[str, Any]:
    return GradHealth().measure(model, mine, F.cross_entropy, device="cpu").to_dict()


def halves_in_bfloat16() -> dict[str, float]:
    """Norms by autograd alone: each rank's gradient in bfloat16, their mean in float32."""
    model, total = Network().bfloat16(), dict[str, Tensor]()
    for index in range(dist.get_world_size()):
        x, y = sharded_networks.part(index, dist.get_world_size())
        gradients = torch.autograd.grad(F.cross_entropy(model(x.bfloat16()), y), list(model.parameters()))
        for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
            total[name] = total.get(name, 0) + gradient.float() / dist.get_world_size()
    layers: dict[str, list[Tensor]] = {}
    for name, gradient in total.items():
        layers.setdefault(name.rpartition(".")[0], []).append(gradient)
    return {name: float(torch.cat([g.flatten() for g in held]).norm()) for name, held in layers.items()}


def watched(ways: list[str]) -> dict[str, Any]:
    """The same of three steps that a test makes by itself."""
    found = {"whole": train(Network(), sharded_networks.batch())}
    for way in ways:
        found[way] = train(*sharded_networks.WAYS[way](Network))
    return found


def train(model: nn.Module, mine: tuple[Tensor, Tensor]) -> dict[str, Any]:
    checks: list[Check] = []
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    with GradHealth(sink=checks.append).watch(model):
        for _ in range(3):
            loss = F.cross_entropy(model(mine[0]), mine[1])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return checks[0].record.to_dict()


def accumulated() -> dict[str, Any]:
    """Two micro-batches before a step, with and without a reduction after the first of them."""
    found = {"whole": accumulate(Network(), by_turns())}
    model, mine = sharded_networks.ddp(Network)
    found["ddp"] = accumulate(model, mine, wait=model.no_sync)
    model, mine = sharded_networks.fsdp(Network)
    found["fsdp"] = accumulate(model, mine, wait=partial(Unsynced, model))
    model, mine = sharded_networks.fsdp(Network)
    found["each reduced"] = accumulate(model, mine)
    return found


def by_turns() -> tuple[Tensor, Tensor]:
    """The global batch, the first half of every rank's samples first."""
    parts = [sharded_networks.part(rank, dist.get_world_size()) for rank in range(dist.get_world_size())]
    x, y = (torch.cat([mine[i].chunk(2)[half] for half in (0, 1) for mine in parts]) for i in (0, 1))
    return x, y


class Unsynced:
    """FSDP's way to keep gradients unreduced, as a context."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __enter__(self) -> None:
        self._model.set_requires_gradient_sync(False)

    def __exit__(self, *error: object) -> None:
        self._model.set_requires_gradient_sync(True)


def accumulate(model: nn.Module, mine: tuple[Tensor, Tensor], wait: Callable[[], Any] | None = None) -> dict[str, Any]:
    """The record of the last micro-batch, or where the first ones wait for it, of all; and the norms in ``.grad``."""
    checks: list[Check] = []
    xs, ys = mine[0].chunk(2), mine[1].chunk(2)
    with GradHealth(sink=checks.append).watch(model):
        if wait is None:
            F.cross_entropy(model(xs[0]), ys[0]).backward()
        else:
            with wait():
                F.cross_entropy(model(xs[0]), ys[0]).backward()
        F.cross_entropy(model(xs[1]), ys[1]).backward()
    last = checks[0].record.later or checks[0].record
    return last.to_dict()


def sick(ways: list[str]) -> dict[str, Any]:
    """What is found in sick networks, whole and spread, and the whole message."""
    found: dict[str, Any] = {}
    for name, make in SICK.items():
        found[name] = {"whole": verdict(lambda make=make: (make(), sharded_networks.batch()))}
        for way in ways:
            found[name][way] = verdict(partial(sharded_networks.WAYS[way], make))
    return found


def verdict(spread: Callable[[], tuple[nn.Module, Any]]) -> dict[str, Any]:
    model, mine = spread()
    try:
        GradHealth().check(model, mine, F.cross_entropy, device="cpu")
    except GradientHealthError as error:
        return {"found": [(f.kind, f.layer) for f in error.check.findings], "message": str(error)}
    return {"found": [], "message": ""}


def dead_block() -> nn.Module:
    model = Network()
    with torch.no_grad():
        model.blocks[1].up.bias.fill_(-100.0)
    return model


def forgotten_layer() -> nn.Module:
    model = Network()
    model.forgotten = nn.Linear(sharded_networks.HIDDEN, sharded_networks.HIDDEN)
    return model


SICK: dict[str, sharded_networks.Make] = {
    "vanishing-gradient": partial(Network, nn.Sigmoid, 10),
    "dead-layer": dead_block,
    "unused-parameter": forgotten_layer,
}


class OnOneRank(nn.Module):
    """A network that a rank fails in, or leaves a layer out of."""

    def __init__(self, what: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if dist.get_rank() == 1 and self.what == "raises":
            raise ValueError("no such sample")
        if dist.get_rank() == 1 and self.what == "is unused":
            return self.head(x)
        return self.head(self.second(x).relu())


def pipelined() -> dict[str, Any]:
    """Networks cut into stages, in training, beside whole ones."""
    found: dict[str, Any] = {"whole": train(Network(blocks=4), sharded_networks.batch())}
    for kind in sharded_networks.SCHEDULES:
        found[kind] = trained_in_stages(partial(Network, blocks=4), kind)["record"]
    sick = {"severed": Severed, **{name: SICK[name] for name in ("vanishing-gradient", "dead-layer")}}
    for name, make in sick.items():
        found[name] = {"whole": verdict_of_training(make), "GPipe": trained_in_stages(make)}
    found["one name in two stages"] = trained_in_stages(None)
    found["gradients kept"] = trained_in_stages(Network, keeps_gradients=True)
    return found


class Severed(Network):
    """A network whose first layers get no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks[0].down.register_forward_hook(lambda module, args, output: output.detach().requires_grad_())


def halves(index: int, parts: int) -> nn.Module:
    """Stages whose layers have the same names."""
    torch.manual_seed(index)
    sizes = (8, 16, 16) if index == 0 else (16, 16, 3)
    return nn.Sequential(nn.Linear(sizes[0], sizes[1]), nn.ReLU(), nn.Linear(sizes[1], sizes[2]))


def trained_in_stages(
    make: sharded_networks.Make | None, kind: str = "GPipe", *, keeps_gradients: bool = False
) -> dict[str, Any]:
    """Three steps of a pipeline: its record, what is found, and the message."""
    whole = make() if make else None
    cut = halves if whole is None else partial(sharded_networks.Part, whole)
    pipeline, checks = sharded_networks.Pipeline(cut, kind), list[Check]()
    message = ""
    try:
        with GradHealth(sink=checks.append).watch():
            for _ in range(2 if keeps_gradients else 3):
                pipeline.step()
                if not keeps_gradients:
                    pipeline.optimiser.step()
                    pipeline.optimiser.zero_grad()
    except GradientHealthError as error:
        message = str(error)
    return told(checks, message)


def verdict_of_training(make: sharded_networks.Make) -> dict[str, Any]:
    """The same of a whole network."""
    checks, message = list[Check](), ""
    model, (x, y) = make(), sharded_networks.batch()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    try:
        with GradHealth(sink=checks.append).watch():
            for _ in range(3):
                F.cross_entropy(model(x), y).backward()
                optimiser.step()
                optimiser.zero_grad()
    except GradientHealthError as error:
        message = str(error)
    return told(checks, message)


def told(checks: list[Check], message: str) -> dict[str, Any]:
    (check,) = checks
    return {
        "record": check.record.to_dict(),
        "found": [(f.kind, f.layers) for f in check.findings],
        "message": message,
    }


def disagreeing() -> dict[str, str]:
    """What each rank is told where only one of them fails."""
    found = {}
    for what in ("raises", "is unused"):
        model, mine = sharded_networks.ddp(lambda what=what: OnOneRank(what))
        try:
            GradHealth().check(model, mine, F.cross_entropy, device="cpu")
        except (MeasurementError, ValueError) as error:
            found[what] = f"{type(error).__name__}: {error}"
    model, mine = sharded_networks.ddp(lambda: OnOneRank("is unused"), find_unused_parameters=True)
    found["is allowed"] = GradHealth().measure(model, mine, F.cross_entropy)["second"].norm > 0
    return found


def refused() -> list[str]:
    """What is said of FSDP1."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    model, told = FullyShardedDataParallel(Network(), device_id=torch.device("cpu")), []
    x, y = sharded_networks.batch()
    try:
        GradHealth().measure(model, (x, y), F.cross_entropy, device="cpu")
    except MeasurementError as error:
        told.append(str(error))
    try:
        with GradHealth().watch():
            F.cross_entropy(model(x), y).backward()
    except MeasurementError as error:
        told.append(str(error))
    return told


def static() -> str:
    """What a check says of a model whose graph must be the same in every backward."""
    model, mine = sharded_networks.ddp(Network, static_graph=True)
    try:
        GradHealth().measure(model, mine, F.cross_entropy, device="cpu")
    except MeasurementError as error:
        return str(error)
    return ""


def embedded() -> dict[str, Any]:
    """What is found in a model of tokens that deep sigmoid layers keep from learning, whole and spread."""
    return {"whole": examined(sharded_networks.tokens()), "tensor parallel": examined(sharded_networks.spread_tokens())}


def examined(model: nn.Module) -> dict[str, Any]:
    checks: list[Check] = []
    given = torch.arange(64).view(8, 8) % sharded_networks.TOKENS, torch.arange(8) % sharded_networks.CLASSES
    health = GradHealth(sink=checks.append, tolerate=lambda check: None)
    health.check(model, given, F.cross_entropy, device="cpu")
    found = [(finding.kind, finding.layers) for finding in checks[0].findings]
    return {"record": checks[0].record.to_dict(), "found": found}


def unchanged() -> list[str]:
    """Names of parameters that a check has left in another state."""
    left: list[str] = []
    for way in ("ddp", "fsdp", "tensor parallel"):
        model, mine = sharded_networks.WAYS[way](partial(Network, nn.Sigmoid, 10))
        before = {name: held(p) for name, p in model.named_parameters()}
        verdict(lambda model=model, mine=mine: (model, mine))
        left += [f"{way}: moved"] if placed(model, torch.device("meta")) is not model else []
        left += [f"{way}: {name}" for name, p in model.named_parameters() if p.grad is not None]
        left += [f"{way}: {name}" for name, p in model.named_parameters() if not torch.equal(held(p), before[name])]
    return left


def held(parameter: Tensor) -> Tensor:
    local = parameter.to_local() if hasattr(parameter, "to_local") else parameter
    return local.detach().clone()


def on_two_ranks() -> dict[str, Any]:
    ways = [way for way in sharded_networks.WAYS if way not in ("hybrid", "two dimensions")]
    return {
        "measured": measured(ways),
        "watched": watched(["ddp", "hooked", "fsdp", "checkpointed", "tensor parallel"]),
        "embedded": embedded(),
        "accumulated": accumulated(),
        "sick": sick(["ddp", "fsdp", "tensor parallel"]),
        "disagreeing": disagreeing(),
        "unchanged": unchanged(),
        "refused": refused(),
        "static": static(),
        "pipelined": pipelined(),
    }


def on_four_ranks() -> dict[str, Any]:
    ways = ["fsdp", "hybrid", "two dimensions"]
    return {"measured": measured(ways), "watched": watched(["two dimensions"]), "sick": sick(["two dimensions"])}


def named(data: dict[str, Any]) -> GradientRecord:
    return GradientRecord.from_dict(data)
