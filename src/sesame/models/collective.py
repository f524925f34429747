"""What the processes of a team compute together, with gradients: sums, joined rows, batch norm over the whole step.

The engine adds gradients up over the processes, each of which computes its own part of the loss. So the gradient of a
sum that all of them have is the sum of all of theirs. Alone, everything here is the identity.
"""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def summed(x: Tensor) -> Tensor:
    """The sum of every process's `x`."""
    return _Sum.apply(x) if world() > 1 else x


def joined(x: Float[Tensor, "mine width"]) -> tuple[Float[Tensor, "all width"], int]:
    """The rows of all processes, in order of their rank, and where the own ones begin.

    Each process writes its rows into zeros and all are added up: they may be of different numbers.
    """
    if world() == 1:
        return x, 0
    sizes = torch.zeros(world(), dtype=torch.int64)
    sizes[dist.get_rank()] = len(x)
    dist.all_reduce(sizes)
    begin, total = int(sizes[: dist.get_rank()].sum()), int(sizes.sum())
    return summed(nn.functional.pad(x, (0, 0, begin, total - begin - len(x)))), begin


class JointBatchNorm(_BatchNorm):
    """Batch norm (Ioffe & Szegedy 2015) by the mean and variance of the whole step, on a CPU too.

    `torch.nn.SyncBatchNorm` does so on GPUs alone.
    """

    @classmethod
    def of(cls, norm: _BatchNorm) -> "JointBatchNorm":
        """With the weights and the running statistics of `norm`, which are shared."""
        joint = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        for name in ("weight", "bias"):
            setattr(joint, name, getattr(norm, name))
        for name, buffer in norm.named_buffers():
            setattr(joint, name, buffer)
        return joint.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Of any shape, channels second."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world() == 1:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        count = summed(wide.new_tensor(float(x.numel() // x.shape[1])))
        mean = summed(wide.sum(axes)) / count
        centred = wide - mean.view(shape)
        variance = summed(centred.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        found = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            found = found * self.weight.view(shape)
        if self.bias is not None:
            found = found + self.bias.view(shape)
        return found.to(x.dtype)

    def _remember(self, mean: Float[Tensor, " channel"], unbiased: Float[Tensor, " channel"]) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def join_batch_norm(module: nn.Module) -> None:
    """Put a joint one in place of every batch norm inside `module`; parameters keep their names."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm) and not isinstance(child, JointBatchNorm):
            setattr(module, name, JointBatchNorm.of(child))
        else:
            join_batch_norm(child)
