"""Many processes on one model: `torchrun` starts them, FSDP2 shards the weights, this file joins them.

Numbers on the host (counts, the clock, a wish to stop) travel over gloo, so that a GPU is never waited for.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sesame.engine.optim import gathered, place_like


@dataclass(frozen=True)
class Team:
    """The processes that train one model; alone, every operation is the identity."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: torch.device) -> "Team":
        """The team that torchrun's environment describes."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        if not dist.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    def total(self, numbers: Sequence[float | int]) -> list[float]:
        """Element-wise sum over the processes."""
        if self.world == 1:
            return [float(number) for number in numbers]
        values = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(values)
        return values.tolist()

    def wait(self) -> None:
        if self.world > 1:
            dist.barrier()

    def leave(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()


def is_block(name: str) -> bool:
    """Whether a module's name is that of one Transformer block."""
    parent, _, last = name.rpartition(".")
    return last.isdigit() and parent.split(".")[-1] == "blocks"


def shard(objective: nn.Module, device: torch.device, world: int) -> None:
    """Shard every Transformer block and then the rest over the processes, in place.

    Gradients are summed, not averaged: each process already divides by the counts of the whole step.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(device.type, (world,), mesh_dim_names=("data",))
    for name, module in list(objective.named_modules()):
        if is_block(name):
            fully_shard(module, mesh=mesh)
    fully_shard(objective, mesh=mesh)
    for module in objective.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def sync_gradients(objective: Any, now: bool) -> None:
    """Whether the next backward pass of a sharded objective sums gradients over the processes."""
    objective.set_requires_gradient_sync(now)


def reshard(objective: nn.Module) -> None:
    """Forget the gathered weights that a forward pass without a backward pass leaves in the root: they go stale when
    the sharded ones are changed.
    """
    for module in objective.modules():
        forget: Any = getattr(module, "reshard", None)  # FSDP2 gives it to the modules that it shards
        if forget:
            forget()


def whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every sharded tensor put together, on the host. All processes must call this together."""
    return {name: gathered(value).detach().cpu() for name, value in tensors.items()}


@torch.no_grad()
def fill(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put whole tensors from the host into a module that may be sharded; names must agree exactly."""
    own = module.state_dict()
    if own.keys() != tensors.keys():
        raise KeyError(f"tensors differ: {sorted(own.keys() ^ tensors.keys())[:5]}")
    for name, target in own.items():
        target.copy_(place_like(tensors[name], target))
