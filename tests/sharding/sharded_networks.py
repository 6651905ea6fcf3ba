"""One network, whole and spread over ranks in every way that torch has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe, ScheduleInterleaved1F1B
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

FEATURES, HIDDEN, CLASSES, SAMPLES, TOKENS = 8, 32, 3, 32, 16


class Block(nn.Module):
    """Two layers, as a transformer's feed-forward part."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(HIDDEN, HIDDEN), activation(), nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(x)))


class Network(nn.Module):
    """A small network with biases, a normalisation and as many blocks as are asked for."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU, blocks: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(FEATURES, HIDDEN)
        self.blocks = nn.ModuleList(Block(activation) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


Make = Callable[[], nn.Module]


def batch() -> tuple[Tensor, Tensor]:
    """The global batch."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(SAMPLES, FEATURES, generator=generator), torch.randint(
        0, CLASSES, (SAMPLES,), generator=generator
    )


def part(index: int, parts: int) -> tuple[Tensor, Tensor]:
    """One rank's samples of it."""
    x, y = batch()
    return x.chunk(parts)[index], y.chunk(parts)[index]


def ddp(make: Make, **options: Any) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    return nn.parallel.DistributedDataParallel(make(), **options), part(dist.get_rank(), dist.get_world_size())


def hooked(make: Make) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """Gradients that are views of buckets, reduced by a hook of the user's."""
    model, mine = ddp(make, gradient_as_bucket_view=True)
    model.register_comm_hook(None, allreduce_hook)
    return model, mine


def fsdp(make: Make, mesh: DeviceMesh | None = None, **options: Any) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    mesh = mesh or init_device_mesh("cpu", (dist.get_world_size(),))
    model = make()
    for block in model.blocks:
        fully_shard(block, mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options), part(mesh.get_local_rank(0), mesh.size(0))


def checkpointed(make: Make) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    def recomputing() -> nn.Module:
        model = make()
        apply_activation_checkpointing(model, check_fn=lambda module: isinstance(module, Block))
        return model

    return fsdp(recomputing)


def bfloat16(make: Make) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    return fsdp(make, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32))


def offloaded(make: Make) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    return fsdp(make, offload_policy=CPUOffloadPolicy(pin_memory=False))


def hybrid(make: Make) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    mesh = init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("replicate", "shard"))
    model, _ = fsdp(make, mesh=mesh)
    return model, part(dist.get_rank(), dist.get_world_size())


def frozen(make: Make) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    return fsdp(lambda: without_stem(make()))


def without_stem(model: nn.Module) -> nn.Module:
    """The model with a part that does not train."""
    model.stem.requires_grad_(False)
    return model


def _tensor_parallel(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    for block in model.blocks:
        parallelize_module(block, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    return model


def tensor_parallel(make: Make) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    return _tensor_parallel(make(), init_device_mesh("cpu", (dist.get_world_size(),))), batch()


def two_dimensions(make: Make) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    mesh = init_device_mesh("cpu", (dist.get_world_size() // 2, 2), mesh_dim_names=("dp", "tp"))
    return fsdp(lambda: _tensor_parallel(make(), mesh["tp"]), mesh=mesh["dp"])


def tokens() -> nn.Sequential:
    """A model of tokens, too deep for its sigmoids."""
    torch.manual_seed(0)
    deep = [part for _ in range(10) for part in (nn.Linear(HIDDEN, HIDDEN), nn.Sigmoid())]
    return nn.Sequential(nn.Embedding(TOKENS, HIDDEN), nn.Flatten(), nn.Linear(8 * HIDDEN, HIDDEN), *deep)


def spread_tokens() -> nn.Module:
    """The same with the rows of the table, and the units of a layer, spread over the ranks."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    plan = {"0": RowwiseParallel(input_layouts=Replicate()), "3": ColwiseParallel(output_layouts=Replicate())}
    return parallelize_module(tokens(), mesh, plan)


WAYS = {
    "ddp": ddp,
    "hooked": hooked,
    "fsdp": fsdp,
    "checkpointed": checkpointed,
    "bfloat16": bfloat16,
    "offloaded": offloaded,
    "frozen": frozen,
    "hybrid": hybrid,
    "tensor parallel": tensor_parallel,
    "two dimensions": two_dimensions,
}


class Part(nn.Module):
    """One of several parts of a network, with the names that its layers have there."""

    def __init__(self, whole: nn.Module, index: int, parts: int) -> None:
        super().__init__()
        size = len(whole.blocks) // parts
        self.blocks = nn.ModuleDict({str(i): whole.blocks[i] for i in range(index * size, (index + 1) * size)})
        self.stem = whole.stem if index == 0 else nn.Identity()
        self.norm, self.head = (whole.norm, whole.head) if index == parts - 1 else (nn.Identity(), nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks.values():
            x = block(x)
        return self.head(self.norm(x))


SCHEDULES = {"GPipe": ScheduleGPipe, "1F1B": Schedule1F1B, "interleaved": ScheduleInterleaved1F1B}


class Pipeline:
    """A schedule in which each rank holds one part of a network, or two of four.

    Args:
        cut: makes the part of an index, given how many there are.
        kind: a name in ``SCHEDULES``.
    """

    def __init__(self, cut: Callable[[int, int], nn.Module], kind: str = "GPipe") -> None:
        rank, ranks, several = dist.get_rank(), dist.get_world_size(), kind == "interleaved"
        indices = [rank, rank + ranks] if several else [rank]
        parts = 2 * ranks if several else ranks
        self.parts = [cut(index, parts) for index in indices]
        stages = [
            PipelineStage(part, index, parts, torch.device("cpu"))
            for part, index in zip(self.parts, indices, strict=True)
        ]
        self.schedule = SCHEDULES[kind](stages if several else stages[0], 4, loss_fn=F.cross_entropy)
        self.optimiser = torch.optim.SGD([p for part in self.parts for p in part.parameters()], 0.1)

    def step(self) -> None:
        """Send the global batch, of which the first rank takes the inputs and the last the targets."""
        x, y = batch()
        first, last = dist.get_rank() == 0, dist.get_rank() == dist.get_world_size() - 1
        self.schedule.step(*([x] if first else []), **({"target": y} if last else {}))
